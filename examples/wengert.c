/* wengert.c -- the list of operations behind y = x0 x1 + x1/x0 at (3, 5), as a textbook writes it.
 *
 * Each recorded operation is a line v_i = formula: a Wengert list. Going up the list gives the values;
 * going down, each line hands its adjoint vbar_i = dy/dv_i to its operands. A variable used twice collects
 * both contributions. The list is then drawn in Graphviz' language: wengert | sed -n '/digraph/,$p' | dot
 * -Tsvg
 */
#include <adit.h>
#include <stdio.h>

typedef struct line {
  const char *name, *formula, *adjoint;      /* adjoint: what it collects from the lines that use it */
  ad_var v;
  int operand[2];                            /* lines, -1: none */
} line;

enum { LINES = 5 };

static void print_list(const line list[LINES]) {
  printf("forward                      reverse\n");
  for (int i = 0; i < LINES; i++)
    printf("%s = %-10s %9.6g    %sbar = %-24s %9.6g\n", list[i].name, list[i].formula, ad_value(list[i].v),
           list[i].name, list[i].adjoint, ad_adjoint(list[i].v));
}

static void print_graph(const line list[LINES]) {
  printf("\ndigraph wengert {\n  rankdir=LR; node [shape=box];\n");
  for (int i = 0; i < LINES; i++) {
    printf("  %s [label=\"%s: %s\\n%.6g, adjoint %.6g\"];\n", list[i].name, list[i].name,
           ad_operation_name(list[i].v), ad_value(list[i].v), ad_adjoint(list[i].v));
    for (int k = 0; k < 2; k++)
      if (list[i].operand[k] >= 0) printf("  %s -> %s;\n", list[list[i].operand[k]].name, list[i].name);
  }
  printf("}\n");
}

int main(void) {
  ad_tape *tape = ad_tape_new();
  ad_var x0 = ad_scalar(tape, 3), x1 = ad_scalar(tape, 5);
  ad_var v2 = ad_mul(x0, x1);
  ad_var v3 = ad_div(x1, x0);
  ad_var y = ad_add(v2, v3);
  if (ad_backward(y) != AD_OK) {
    fprintf(stderr, "%s\n", ad_tape_message(tape));
    ad_tape_free(tape);
    return 1;
  }

  const line list[LINES] = {
    { "v0", "x0",      "v2bar*v1 - v3bar*v3/v0", x0, { -1, -1 } },
    { "v1", "x1",      "v2bar*v0 + v3bar/v0",    x1, { -1, -1 } },
    { "v2", "v0*v1",   "v4bar",                  v2, { 0, 1 } },
    { "v3", "v1/v0",   "v4bar",                  v3, { 1, 0 } },
    { "v4", "v2 + v3", "1",                      y,  { 2, 3 } },
  };
  print_list(list);
  print_graph(list);
  ad_tape_free(tape);
  return 0;
}
