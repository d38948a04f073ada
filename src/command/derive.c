/* derive.c -- adit derive: derivatives as simplified expressions, in text or LaTeX, of any order. */
#include "command/command.h"
#include "command/json.h"

#include <stdlib.h>
#include <string.h>

#include "formula/notation.h"

enum { MOST_NAMES = 64 };

/* What derivatives are taken by: --wrt, or every free name of the expression. names is the room for the
 * latter. */
static int choose(const options *o, char *names, size_t size, const char *wrt[MOST_NAMES], int *n) {
  ad_formula_report report;
  ad_status status = ad_formula_names(o->expression, names, size, NULL, &report);
  if (status == AD_ERROR_SIZE) return complain(o, NULL, 0, "too many names; choose with --wrt");
  if (status) return complain(o, o->expression, report.position, "%s", report.message);
  *n = 0;
  if (o->n_wrt > MOST_NAMES) return complain(o, NULL, 0, "more than %d names", MOST_NAMES);
  for (int i = 0; i < o->n_wrt; i++) wrt[(*n)++] = o->wrt[i];
  if (o->wrt) return DONE;
  for (char *s = names; *s; ) {
    size_t length = strcspn(s, " ");
    if (*n == MOST_NAMES) return complain(o, NULL, 0, "too many names; choose with --wrt");
    wrt[(*n)++] = s;
    s += length;
    if (*s) *s++ = 0;
  }
  if (*n == 0) return complain(o, NULL, 0, "the expression has no variable; choose a name with --wrt");
  return DONE;
}

/* The derivatives of formula by n names, each terminated by a zero byte, in a new block. */
static int derivatives(const options *o, const char *formula, ad_notation notation, int n,
                       const char *const wrt[], char **z, int *count) {
  ad_formula_report report;
  size_t size = 1 << 12, needed = 0;
  for (;;) {
    *z = malloc(size);
    if (!*z) return out_of_memory(o);
    ad_status status = ad_formula_derive(formula, notation, n, wrt, *z, size, &needed, count, &report);
    if (!status) return DONE;
    free(*z);
    *z = NULL;
    if (status != AD_ERROR_SIZE || needed <= size) {
      const bool own = formula == o->expression;
      return complain(o, own ? formula : NULL, report.position, "%s", report.message);
    }
    size = needed;
  }
}

/* The order-th derivative of output j by one name: all orders below the last go through text. */
static int higher(const options *o, int order, ad_notation notation, const char *wrt, char **z) {
  int status = DONE, count;
  char *formula = NULL;
  for (int k = 1; k < order && !status; k++) {
    char *next = NULL;
    status = derivatives(o, formula ? formula : o->expression, AD_TEXT, 1, &wrt, &next, &count);
    if (!status && count > 1) status = complain(o, NULL, 0, "--order above 1 takes a single expression");
    free(formula);
    formula = next;
  }
  if (!status) status = derivatives(o, formula ? formula : o->expression, notation, 1, &wrt, z, &count);
  free(formula);
  return status;
}

static void write_one(const options *o, FILE *out, const char *s) {
  if (o->json) json_string(out, s);
  else fputs(s, out);
}

/* df/dx, or \frac{\partial f}{\partial x}. */
static void write_name(const options *o, FILE *out, int j, int count, const char *wrt) {
  char f[32] = "f";
  text x = { .allocator = &memory_standard };
  if (count > 1) snprintf(f, sizeof f, o->latex ? "f_{%d}" : "f%d", j + 1);
  if (o->latex) name_write_latex(wrt, (int)strlen(wrt), &x);
  if (o->latex) fprintf(out, "\\frac{\\partial %s}{\\partial %s} = ", f, x.s ? x.s : wrt);
  else fprintf(out, "d%s/d%s = ", f, wrt);
  text_free(&x);
}

/* A single derivative stands alone; several are named. */
static void write_plain(const options *o, FILE *out, const char *z, int count, int n,
                        const char *const wrt[]) {
  for (int j = 0; j < count; j++)
    for (int i = 0; i < n; i++, z += strlen(z) + 1) {
      if (count*n > 1) write_name(o, out, j, count, wrt[i]);
      write_one(o, out, z);
      fputc('\n', out);
    }
}

/* {"derivative": {"x": ".."}}, a list of such objects for several outputs */
static void write_json(const options *o, FILE *out, const char *z, int count, int n,
                       const char *const wrt[]) {
  fputs("{\"derivative\": ", out);
  if (count > 1) fputc('[', out);
  for (int j = 0; j < count; j++) {
    fputs(j ? ", {" : "{", out);
    for (int i = 0; i < n; i++, z += strlen(z) + 1) {
      if (i) fputs(", ", out);
      json_string(out, wrt[i]);
      fputs(": ", out);
      write_one(o, out, z);
    }
    fputc('}', out);
  }
  fputs(count > 1 ? "]}\n" : "}\n", out);
}

int command_derive(const options *o, FILE *out) {
  const size_t size = 1 << 16;
  const char *wrt[MOST_NAMES];
  char *names = malloc(size), *z = NULL;
  int n = 0, count = 1;
  const ad_notation notation = o->latex ? AD_LATEX : AD_TEXT;
  int status = names ? choose(o, names, size, wrt, &n) : out_of_memory(o);
  if (!status && o->order == 0) status = complain(o, NULL, 0, "--order begins with 1");
  if (!status && o->order > 1 && n > 1)
    status = complain(o, NULL, 0, "--order above 1 takes one name after --wrt");
  if (!status && o->order > 1) status = higher(o, o->order, notation, wrt[0], &z);
  else if (!status) status = derivatives(o, o->expression, notation, n, wrt, &z, &count);
  if (!status && o->json) write_json(o, out, z, count, n, wrt);
  else if (!status) write_plain(o, out, z, count, n, wrt);
  free(names);
  free(z);
  return status;
}
