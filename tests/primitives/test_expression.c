/* test_expression.c -- the expression reader: precedence, numbers, lists, errors and their places, failing
 * memory. */
#include "primitives/expression.h"
#include "heap.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void fail(const char *what, const char *text, const char *got) {
  printf("FAIL %s: %s -> %s\n", what, text, got);
  failures++;
}

/* --- the tree as text: (add x (mul 2 y)) ------------------------------------------------------ */

static void print_node(const expression *e, int i, char *out, size_t size) {
  const expression_node *n = &e->node[i];
  size_t used = strlen(out);
  if (n->keyword) used += (size_t)snprintf(out + used, size - used, "%.*s=", n->keyword_length, n->keyword);
  if (n->kind == EXPRESSION_NUMBER) snprintf(out + used, size - used, n->integer ? "%g" : "%g.", n->number);
  else if (n->kind == EXPRESSION_NAME) snprintf(out + used, size - used, "%.*s", n->name_length, n->name);
  else if (n->kind == EXPRESSION_TEXT) snprintf(out + used, size - used, "\"%.*s\"", n->name_length, n->name);
  else {
    snprintf(out + used, size - used, "(%.*s", n->kind == EXPRESSION_LIST ? 4 : n->name_length,
             n->kind == EXPRESSION_LIST ? "list" : n->name);
    for (int k = n->first_argument; k >= 0; k = e->node[k].next_argument) {
      used = strlen(out), snprintf(out + used, size - used, " ");
      print_node(e, k, out, size);
    }
    used = strlen(out), snprintf(out + used, size - used, ")");
  }
}

static void reads_as(const char *text, int flags, const char *want) {
  char got[512] = "";
  expression e;
  expression_error error;
  if (expression_read(&memory_standard, text, flags, &e, &error)) {
    fail("reads_as", text, error.message);
    return;
  }
  for (int i = 0; i < e.statement_count; i++) {
    const expression_statement *s = &e.statement[i];
    size_t used = strlen(got);
    snprintf(got + used, sizeof got - used, "%s%.*s%s", i ? "; " : "", s->name_length, s->name ? s->name : "",
             s->name ? " = " : "");
    print_node(&e, s->root, got, sizeof got);
  }
  if (strcmp(got, want)) fail("reads_as", text, got);
  expression_free(&memory_standard, &e);
}

static void test_precedence_is_that_of_c_with_powers(void) {
  static const char *const pair[][2] = {
    { "x + y*w", "(add x (mul y w))" }, { "x*y + w", "(add (mul x y) w)" },
    { "x - y - w", "(sub (sub x y) w)" },
    { "x/y/w", "(div (div x y) w)" },   { "x - (y - w)", "(sub x (sub y w))" }, { "-x^2", "(neg (pow x 2))" },
    { "2^-1", "(pow 2 (neg 1))" },      { "x^y^w", "(pow x (pow y w))" }, { "-x*y", "(mul (neg x) y)" },
    { "x^-y^w", "(pow x (neg (pow y w)))" }, { "+x", "x" }, { "- -x", "(neg (neg x))" },
    { "!x", "(logical_not x)" },
    { "x > 0 ? g : NONE", "(select (greater x 0) g NONE)" },
    { "x > y ? 1 : x < y ? 2 : 3", "(select (greater x y) 1 (select (less x y) 2 3))" },
    { "x ? y ? 1 : 2 : 3", "(select x (select y 1 2) 3)" },
    { "a || b && c == d < e + 1", "(logical_or a (logical_and b (equal c (less d (add e 1)))))" },
    { "x <= y", "(less_equal x y)" }, { "x >= y", "(greater_equal x y)" }, { "x != y", "(not_equal x y)" },
    { "x < y + 1 == w", "(equal (less x (add y 1)) w)" },
    { "g*C(0.5)/sqrt(x)", "(div (mul g (C 0.5.)) (sqrt x))" }, { "f()", "(f)" },
    { "pow(x, y - 1)", "(pow x (sub y 1))" },
    { " sin ( x )\n", "(sin x)" }, { "e1 + 2e1 + e", "(add (add e1 20.) e)" }, { "((x))", "x" },
  };
  for (size_t i = 0; i < sizeof pair/sizeof *pair; i++) {
    reads_as(pair[i][0], 0, pair[i][1]);
    reads_as(pair[i][0], EXPRESSION_FORMULA, pair[i][1]);
  }
}

static void test_formulas_have_statements_lists_and_named_arguments(void) {
  reads_as("v = x*y; v + 1; v;", EXPRESSION_FORMULA, "v = (mul x y); (add v 1); v");
  reads_as("v == 1", EXPRESSION_FORMULA, "(equal v 1)");
  reads_as("sum(x, axis=0, keep = 1)", EXPRESSION_FORMULA, "(sum x axis=0 keep=1)");
  reads_as("sum(x, axis=(0, -1))", EXPRESSION_FORMULA, "(sum x axis=(list 0 (neg 1)))");
  reads_as("f(axis == 1)", EXPRESSION_FORMULA, "(f (equal axis 1))");
  reads_as("reshape(x, (2, 3))", EXPRESSION_FORMULA, "(reshape x (list 2 3))");
  reads_as("f((3,), (), [])", EXPRESSION_FORMULA, "(f (list 3) (list) (list))");
  reads_as("[[1, 2], [3, 4]] @ x", EXPRESSION_FORMULA, "(matmul (list (list 1 2) (list 3 4)) x)");
  reads_as("x @ y*2", EXPRESSION_FORMULA, "(mul (matmul x y) 2)");
  reads_as("einsum(\"ij,jk\", x, y)", EXPRESSION_FORMULA, "(einsum \"ij,jk\" x y)");
  reads_as("\xce\xb1 + 1", EXPRESSION_FORMULA, "(add \xce\xb1 1)");
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void number_is(const char *text, double want, bool integer) {
  expression e;
  if (expression_read(&memory_standard, text, 0, &e, NULL)) {
    fail("number_is", text, "an error");
    return;
  }
  if (memcmp(&e.node[0].number, &want, sizeof want) || e.node[0].integer != integer) {
    char got[64];
    snprintf(got, sizeof got, "%.17g %d", e.node[0].number, e.node[0].integer);
    fail("number_is", text, got);
  }
  expression_free(&memory_standard, &e);
}

static void test_numbers_are_rounded_correctly(void) {
  number_is("0", 0, true);
  number_is("12", 12, true);
  number_is("1.", 1, false);
  number_is(".5", .5, false);
  number_is("0.1", 0.1, false);
  number_is("6.02214076e23", 6.02214076e23, false);
  number_is("1e-320", 1e-320, false);
  number_is("1E+2", 100, false);
  number_is("4.9406564584124654e-324", 4.9406564584124654e-324, false);
  number_is("1e-99999999999999999999", 0, false);
  number_is("3.141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825"
            "34211706798214808651328230664709384460955058223172535940812848111745028410270193852110555964",
            3.14159265358979323846, false);
  for (int i = 0; i < 1000; i++) {
    char text[64];
    double value = ldexp((double)(rand() % 100000 + 1)*1.2345678901234567, rand() % 600 - 300);
    snprintf(text, sizeof text, "%.16e", value);
    number_is(text, value, false);
  }
}

static void test_numbers_do_not_depend_on_the_locale(void) {
  static const char *const locale[] = { "de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "C.UTF-8" };
  for (size_t i = 0; i < sizeof locale/sizeof *locale; i++)
    if (setlocale(LC_ALL, locale[i])) {
      number_is("1.5", 1.5, false);
      number_is("2.5e-3", 2.5e-3, false);
    }
  setlocale(LC_ALL, "C");
}

/* --- errors ----------------------------------------------------------------------------------- */

static void refuses(const char *text, int flags, int position, const char *part) {
  expression e;
  expression_error error;
  char got[256];
  ad_status status = expression_read(&memory_standard, text, flags, &e, &error);
  if (status != AD_ERROR_SYNTAX || e.node || e.statement) {
    fail("refuses", text, "no error");
    expression_free(&memory_standard, &e);
    return;
  }
  snprintf(got, sizeof got, "%d: %s", error.position, error.message);
  if (error.position != position || !strstr(error.message, part)) fail("refuses", text, got);
}

static void test_errors_say_what_and_where(void) {
  refuses("", 0, 0, "the text ends");
  refuses("x +", 0, 3, "the text ends where a value should stand");
  refuses("sin(x", 0, 3, "this '(' is not closed");
  refuses("(x + 1", 0, 0, "this '(' is not closed");
  refuses("x)", 0, 1, "never opened");
  refuses("2 x", 0, 2, "'x' stands where an operator should");
  refuses("2x", 0, 1, "an operator");
  refuses("x $ y", 0, 2, "'$' stands where");
  refuses("x ** 2", 0, 2, "a power is written with ^");
  refuses("x ? y", 0, 5, "':'");
  refuses("f(x y)", 0, 4, "',' or ')'");
  refuses("f(,)", 0, 2, "a value");
  refuses(".", 0, 0, "a value");
  refuses("1e999", 0, 0, "too large");
  refuses("x; y", 0, 1, "operator");
  refuses("[1]", 0, 0, "a value");
  refuses("x @ y", 0, 2, "'@'");
  refuses("x + 1 = 2", EXPRESSION_FORMULA, 6, "only a name");
  refuses("x;; y", EXPRESSION_FORMULA, 2, "a value");
  refuses("[1, 2", EXPRESSION_FORMULA, 0, "this '[' is not closed");
  refuses("einsum(\"ij", EXPRESSION_FORMULA, 7, "not closed");
  refuses("x & y", EXPRESSION_FORMULA, 2, "'&'");
}

/* before repeated n times, middle, after repeated n times; freed by the caller. */
static char *repeated(const char *before, const char *middle, const char *after, size_t n) {
  size_t a = strlen(before), b = strlen(after), m = strlen(middle);
  char *text = malloc(n*(a + b) + m + 1), *p = text;
  if (!text) exit(1);
  for (size_t i = 0; i < n; i++, p += a) memcpy(p, before, a);
  memcpy(p, middle, m);
  p += m;
  for (size_t i = 0; i < n; i++, p += b) memcpy(p, after, b);
  *p = 0;
  return text;
}

static void test_nesting_is_bounded_and_length_is_not(void) {
  static const char *const deep[][3] = { { "(", "x", ")" }, { "-", "x", "" }, { "x^", "x", "" },
                                         { "f(", "x", ")" },
                                         { "x?", "x", ":x" }, { "x?x:", "x", "" }, { "[", "x", "]" } };
  for (size_t i = 0; i < sizeof deep/sizeof *deep; i++) {
    expression e;
    expression_error error;
    char *fits = repeated(deep[i][0], deep[i][1], deep[i][2], 990);
    if (expression_read(&memory_standard, fits, EXPRESSION_FORMULA, &e, &error))
      fail("nesting", deep[i][0], error.message);
    expression_free(&memory_standard, &e);
    free(fits);
    char *too_deep = repeated(deep[i][0], deep[i][1], deep[i][2], 200000);
    if (expression_read(&memory_standard, too_deep, EXPRESSION_FORMULA, &e, &error) != AD_ERROR_SYNTAX ||
        !strstr(error.message, "nesting")) fail("nesting", deep[i][0], "accepted");
    free(too_deep);
  }
  expression e;
  char *sum = repeated("x*y+", "x", "", 1000000);
  if (expression_read(&memory_standard, sum, 0, &e, NULL)) fail("length", "a long sum", "refused");
  if (e.node_count != 4000001) fail("length", "a long sum", "wrong size");
  for (int i = 0; i < e.node_count; i++)
    for (int k = e.node[i].first_argument; k >= 0; k = e.node[k].next_argument)
      if (k >= i) {
        fail("postorder", "a long sum", "an argument stands behind its call");
        i = e.node_count;
        break;
      }
  expression_free(&memory_standard, &e);
  free(sum);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_every_failing_allocation_is_reported(void) {
  char *text = repeated("v = [x, 1.000000000000000000000000000000000000000000000000000000000000000000000000"
                        "0000000000000000000000000000000000000000000000000000000000000000000];",
                        "v", "", 40);
  bool served = false;
  for (long n = 1; !served; n++) {
    heap h = { .fail_at = n };
    const ad_allocator a = heap_allocator(&h);
    expression e;
    expression_error error;
    ad_status status = expression_read(&a, text, EXPRESSION_FORMULA, &e, &error);
    served = status == AD_OK;
    if (served) {
      expression_free(&a, &e);
      if (n <= 40) fail("memory", "n-th allocation", "too few of them");
    } else if (status != AD_ERROR_MEMORY || e.node || e.statement) {
      fail("memory", "n-th allocation", error.message);
    }
    if (!heap_is_empty(&h)) fail("memory", "n-th allocation", heap_text(&h));
  }
  free(text);
}

int main(void) {
  test_precedence_is_that_of_c_with_powers();
  test_formulas_have_statements_lists_and_named_arguments();
  test_numbers_are_rounded_correctly();
  test_numbers_do_not_depend_on_the_locale();
  test_errors_say_what_and_where();
  test_nesting_is_bounded_and_length_is_not();
  test_every_failing_allocation_is_reported();
  if (failures) printf("%d failures\n", failures);
  return failures != 0;
}
