/* test_formula.c -- text to tape and back: values, arrays, names, errors and their places, length, failing
 * memory. */
#include "adit/derive.h"
#include "adit/formula.h"
#include "heap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void fail(const char *what, const char *text, const char *got) {
  printf("FAIL %s: %s -> %s\n", what, text, got);
  failures++;
}

static bool close_to(double a, double b) {
  return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 1e-13*(1 + fabs(b));
}

/* x = 2, y = 3, v = [1, 2, 3], m = [[1, 2], [3, 4]] */
typedef struct place {
  ad_tape *tape;
  const char *names[4];
  ad_var vars[4];
} place;

static place open_place(void) {
  static const double v[3] = { 1, 2, 3 }, m[4] = { 1, 2, 3, 4 };
  place p = { .tape = ad_tape_new(), .names = { "x", "y", "v", "m" } };
  p.vars[0] = ad_scalar(p.tape, 2);
  p.vars[1] = ad_scalar(p.tape, 3);
  p.vars[2] = ad_array(p.tape, AD_F64(3), v);
  p.vars[3] = ad_array(p.tape, AD_F64(2, 2), m);
  return p;
}

static void gives(const char *text, double want) {
  place p = open_place();
  ad_var z = ad_formula(p.tape, text, 4, p.names, p.vars);
  char got[300];
  if (!ad_is_valid(z)) fail("gives", text, ad_tape_message(p.tape));
  else if (!close_to(ad_value(z), want)) {
    snprintf(got, sizeof got, "%.17g", ad_value(z));
    fail("gives", text, got);
  }
  ad_tape_free(p.tape);
}

/* The output is an f64 array with these elements. */
static void gives_array(const char *text, ad_type type, const double want[]) {
  place p = open_place();
  double got[64] = { 0 };
  ad_var z = ad_formula(p.tape, text, 4, p.names, p.vars);
  if (!ad_is_valid(z) || !ad_type_equal(ad_type_of(z), type)) {
    char have[192];
    fail("gives_array", text,
         ad_is_valid(z) ? ad_type_print(ad_type_of(z), have, sizeof have) : ad_tape_message(p.tape));
  } else if (ad_read(z, got)) fail("gives_array", text, ad_tape_message(p.tape));
  else
    for (int64_t i = 0; i < ad_type_count(type); i++)
      if (!close_to(got[i], want[i])) fail("gives_array", text, "wrong element");
  ad_tape_free(p.tape);
}

static void test_scalars(void) {
  gives("sin(x + y^2)/sqrt(x)", sin(11)/sqrt(2));
  gives("-x^2", -4);
  gives("2^-1", .5);
  gives("2^3^2", 512);
  gives("1/2", .5);
  gives("7/2*x", 7);
  gives("10000000000*10000000000*x", 2e20);
  gives("x > y ? 1 : 2", 2);
  gives("(x < y) + (x <= 2) + (x == 2) + (x != 2)", 3);
  gives("!(x > y) && y >= 3 || x > 100", 1);
  gives("pi", 3.14159265358979323846);
  gives("exp(1) - e", 0);
  gives("1/inf", 0);
  gives("nan", NAN);
  gives("a = x*y; b = a + 1; a*b", 42);
  gives("x = x + 1; x = x*x; x", 9);
  gives("1; 2; x", 2);
  gives("fabs(-x) + abs(-x) + fmin(x, y) + fmax(x, y)", 9);
  gives("max(x, y, 7, 1) + min(x, y, 7, 1)", 8);
  gives("log1p(x) + expm1(x) + atan2(y, x) + hypot(x, y)", log1p(2) + expm1(2) + atan2(3, 2) + hypot(2, 3));
  gives("lgamma(y) + tgamma(y) + erf(x)", lgamma(3) + 2 + erf(2));
  gives("digamma(1) + x", 2 - .57721566490153286061);
  gives("polygamma(1, x)", 3.14159265358979323846*3.14159265358979323846/6 - 1);
  gives("leaky_relu(-x, 0.1) + leaky_relu(0.1, -x) + elu(x, 1)", 1.6);
  gives("powi(3, x)", 8);
  gives("select(x > 1, x, y) + where(0, x, y)", 5);
  gives("clamp(y, 0, 1) + sign(-x) + floor(2.5)", 2);
  gives("stop_gradient(x)*x", 4);
  gives("x^0 + x^1 + x^2 + x^-1 + x^0.5", 7.5 + sqrt(2));
}

static void test_arrays(void) {
  gives("sum(v)", 6);
  gives("mean((v*x + y - 1)^2)", (16 + 36 + 64)/3.);
  gives("max(v) + min(v)", 4);
  gives("max(v, axis=0)", 3);
  gives("dot(v, [1, 0, 1])", 4);
  gives("v @ v", 14);
  gives("trace(m)", 5);
  gives("sum(einsum(\"ij,jk->ik\", m, m))", 54);
  gives("at(m, 1, 0)", 3);
  gives("norm([3, 4])", 5);
  gives("logsumexp(log(v))", log(6));
  gives("sum([x, y, 1]*v)", 11);
  gives("prod([[x, 1], [1, y]])", 6);
  gives("variance(v) + variance(v, ddof=1)", 2./3 + 1);
  gives("argmax(v)", 2);
  gives("sum(take(v, [0, 2]))", 4);
  gives("sum(topk(v, 2))", 5);
  gives("sum(i64(v)/2)", 3);
  gives("sum(zeros((2, 3)) + ones(3) + full((2, 1), 2))", 18);
  gives("s = (3, 1); sum(reshape(v, s)*reshape(v, (1, 3)))", 36);
  gives_array("cumsum(v)", AD_F64(3), (const double[]){ 1, 3, 6 });
  gives_array("sum(m, axis=0)", AD_F64(2), (const double[]){ 4, 6 });
  gives_array("sum(m, axis=(1,), keep=1)", AD_F64(2, 1), (const double[]){ 3, 7 });
  gives_array("sum(m, 1)", AD_F64(2), (const double[]){ 3, 7 });
  gives_array("transpose(m)", AD_F64(2, 2), (const double[]){ 1, 3, 2, 4 });
  gives_array("transpose(m, (1, 0))", AD_F64(2, 2), (const double[]){ 1, 3, 2, 4 });
  gives_array("m @ [1, 1]", AD_F64(2), (const double[]){ 3, 7 });
  gives_array("[[1, 2], [3, 4]]", AD_F64(2, 2), (const double[]){ 1, 2, 3, 4 });
  gives_array("[[x, 2], [3, y]]", AD_F64(2, 2), (const double[]){ 2, 2, 3, 3 });
  gives_array("[]", AD_F64(0), NULL);
  gives_array("[[], []]", AD_F64(2, 0), NULL);
  gives_array("concat(v, [9], axis=0)", AD_F64(4), (const double[]){ 1, 2, 3, 9 });
  gives_array("stack(x, y)", AD_F64(2), (const double[]){ 2, 3 });
  gives_array("slice(v, 0, start=-1, count=3, step=-1)", AD_F64(3), (const double[]){ 3, 2, 1 });
  gives_array("pad(v, 1, 0, value=x)", AD_F64(4), (const double[]){ 2, 1, 2, 3 });
  gives_array("sort(v, descending=1)", AD_F64(3), (const double[]){ 3, 2, 1 });
  gives_array("flip(v)", AD_F64(3), (const double[]){ 3, 2, 1 });
  gives_array("outer([1, 2], v)", AD_F64(2, 3), (const double[]){ 1, 2, 3, 2, 4, 6 });
  gives_array("linspace(0, x, 3)", AD_F64(3), (const double[]){ 0, 1, 2 });
  gives_array("arange(3)", AD_F64(3), (const double[]){ 0, 1, 2 });
  gives_array("eye(2)*x", AD_F64(2, 2), (const double[]){ 2, 0, 0, 2 });
  gives_array("expand(v, 0)", AD_F64(1, 3), (const double[]){ 1, 2, 3 });
  gives_array("exp(v)/sum(exp(v))*0 + v", AD_F64(3), (const double[]){ 1, 2, 3 });
}

static void test_derivatives_go_through_formulas(void) {
  place p = open_place();
  ad_var y = ad_formula(p.tape, "mean((v*x + y)^2) + x^3", 4, p.names, p.vars);
  ad_var dx[2];
  if (ad_grad(y, 2, p.vars, dx)) fail("grad", "mean", ad_tape_message(p.tape));
  else if (!close_to(ad_value(dx[0]), (2*5 + 4*7 + 6*9)/3. + 12)) fail("grad", "mean", "dx");
  else if (!close_to(ad_value(dx[1]), 2*(5 + 7 + 9)/3.)) fail("grad", "mean", "dy");
  ad_tape_free(p.tape);
}

/* --- several outputs -------------------------------------------------------------------------- */

static void test_outputs_in_order(void) {
  place p = open_place();
  ad_var out[3];
  int count;
  ad_formula_report report;
  if (ad_formula_all(p.tape, "x; a = x + y; a; 7", 4, p.names, p.vars, 3, out, &count, &report))
    fail("all", "x; a; 7", report.message);
  else if (count != 3 || ad_value(out[0]) != 2 || ad_value(out[1]) != 5 || ad_value(out[2]) != 7)
    fail("all", "x; a; 7", "values");
  if (ad_formula_all(p.tape, "x; y", 4, p.names, p.vars, 1, out, &count, NULL) != AD_ERROR_ARGUMENT
      || count != 2)
    fail("all", "x; y", "too many outputs must be AD_ERROR_ARGUMENT");
  ad_tape_free(p.tape);
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_free_names(void) {
  static const char *const pair[][2] = {
    { "sin(x + y^2)/sqrt(x)", "x y" }, { "a = x; b = a*c; b + d", "x c d" }, { "pi*r^2 + e", "r" },
    { "1 + 2", "" },
    { "x = x + 1; x", "x" }, { "sum(v, axis=0)", "v" },
  };
  for (size_t i = 0; i < sizeof pair/sizeof *pair; i++) {
    char names[64];
    size_t needed;
    if (ad_formula_names(pair[i][0], names, sizeof names, &needed, NULL) || strcmp(names, pair[i][1])
        || needed != strlen(pair[i][1]) + 1) fail("names", pair[i][0], names);
  }
  char small[3];
  size_t needed;
  if (ad_formula_names("abc + de", small, sizeof small, &needed, NULL) != AD_ERROR_SIZE || needed != 7
      || strcmp(small, "ab"))
    fail("names", "abc + de", "a small buffer");
}

/* --- errors ----------------------------------------------------------------------------------- */

static void refuses(const char *text, ad_status status, int position, const char *part) {
  place p = open_place();
  ad_var out[4];
  int count;
  ad_formula_report r;
  ad_status got = ad_formula_all(p.tape, text, 4, p.names, p.vars, 4, out, &count, &r);
  char have[400];
  snprintf(have, sizeof have, "status %d at %d: %s", got, r.position, r.message);
  if (got != status || r.position != position || !strstr(r.message, part)) fail("refuses", text, have);
  if (ad_tape_status(p.tape) != status) fail("refuses", text, "the tape does not have the error");
  if (ad_is_valid(out[0])) fail("refuses", text, "a valid output");
  ad_tape_free(p.tape);
}

static void test_errors_have_places(void) {
  refuses("x + ", AD_ERROR_SYNTAX, 4, "the text ends");
  refuses("x + q", AD_ERROR_SYNTAX, 4, "'q' has no value");
  refuses("1 + foo(x)", AD_ERROR_SYNTAX, 4, "no function is called 'foo'");
  refuses("x + sin", AD_ERROR_SYNTAX, 4, "'sin' is a function");
  refuses("sin(x, y)", AD_ERROR_SYNTAX, 0, "sin takes 1 argument, not 2");
  refuses("a = x", AD_ERROR_SYNTAX, 5, "nothing to compute");
  refuses("v + m @ v", AD_ERROR_SHAPE, 6, "");
  refuses("v + [1, 2]", AD_ERROR_SHAPE, 2, "");
  refuses("sum(v, axis=3)", AD_ERROR_ARGUMENT, 0, "");
  refuses("sum(v, axis=x)", AD_ERROR_ARGUMENT, 12, "literal integer");
  refuses("sum(v, axis=0.5)", AD_ERROR_ARGUMENT, 12, "literal integer");
  refuses("sum(v, axes=0)", AD_ERROR_ARGUMENT, 12, "no parameter has this name");
  refuses("sum(v, 0, axis=0)", AD_ERROR_ARGUMENT, 15, "given twice");
  refuses("reshape(v)", AD_ERROR_ARGUMENT, 0, "the argument shape is missing");
  refuses("dot(v, v, v)", AD_ERROR_ARGUMENT, 10, "too many arguments");
  refuses("x; [[1, 2], [3]]", AD_ERROR_SHAPE, 3, "");
  refuses("sin(x, y=2)", AD_ERROR_SYNTAX, 9, "no named arguments");
  refuses("polygamma(x, y)", AD_ERROR_ARGUMENT, 0, "literal number");
  refuses("\"text\" + 1", AD_ERROR_SYNTAX, 0, "text");
}

static void test_bad_arguments(void) {
  int count;
  ad_var x = ad_formula(NULL, "1", 0, NULL, NULL);
  if (ad_is_valid(x)) fail("arguments", "no tape", "a valid handle");
  ad_tape *t = ad_tape_new();
  if (ad_is_valid(ad_formula(t, NULL, 0, NULL, NULL))) fail("arguments", "no text", "a valid handle");
  ad_tape_clear(t);
  if (ad_formula_all(t, "1", 1, NULL, NULL, 0, NULL, &count, NULL) != AD_ERROR_ARGUMENT)
    fail("arguments", "no names", "accepted");
  if (ad_tape_status(t) != AD_ERROR_ARGUMENT) fail("arguments", "no names", "nothing on the tape");
  if (ad_formula_all(t, "1", 0, NULL, NULL, 0, NULL, NULL, NULL) != AD_ERROR_ARGUMENT)
    fail("arguments", "no count", "accepted");
  ad_tape_free(t);
}

/* --- length ----------------------------------------------------------------------------------- */

static void test_length_needs_no_stack(void) {
  enum { N = 100000 };
  char *text = malloc((size_t)N*40), *p = text;
  if (!text) exit(1);
  for (int i = 0; i < N; i++) p += sprintf(p, "v%d = v%d*0.5 + 1;", i + 1, i);
  p += sprintf(p, "v%d", N);
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 2), dx;
  ad_var y = ad_formula(t, text, 1, (const char *const[]){ "v0" }, &x);
  if (!ad_is_valid(y) || ad_value(y) != 2) fail("length", "100000 statements", ad_tape_message(t));
  if (ad_grad(y, 1, &x, &dx) || ad_value(dx) != 0)
    fail("length", "gradient of 100000 statements", ad_tape_message(t));
  ad_tape_free(t);
  p = text;
  for (int i = 0; i < N; i++) p += sprintf(p, "x + ");
  sprintf(p, "x");
  t = ad_tape_new();
  x = ad_scalar(t, 2);
  y = ad_formula(t, text, 1, (const char *const[]){ "x" }, &x);
  if (!ad_is_valid(y) || ad_value(y) != 2*(N + 1.))
    fail("length", "a sum of 100001 terms", ad_tape_message(t));
  size_t needed;
  if (ad_formula_text(y, AD_TEXT, 1, (const char *const[]){ "x" }, &x, NULL, 0, &needed) != AD_ERROR_SIZE
      || needed != 4*(size_t)N + 2) fail("length", "text of a sum of 100001 terms", "size");
  ad_tape_free(t);
  free(text);
}

/* --- tape to text ----------------------------------------------------------------------------- */

static void writes(const char *text, ad_notation notation, const char *want) {
  place p = open_place();
  char got[400] = "";
  ad_var y = ad_formula(p.tape, text, 4, p.names, p.vars);
  ad_status status = ad_formula_text(y, notation, 4, p.names, p.vars, got, sizeof got, NULL);
  if (status || strcmp(got, want)) fail("writes", text, status ? ad_status_sentence(status) : got);
  ad_tape_free(p.tape);
}

static void test_text_has_the_fewest_parentheses(void) {
  static const char *const same[] = {
    "sin(x + y^2)/sqrt(x)", "x - (y - x)", "x*(y + x)", "x/(y*x)", "x/(y/x)", "-x^2", "(-x)^2", "(x + y)^2",
    "x^y^x", "(x^y)^x",
    "x^(y - 1)", "x > y ? x : y < x ? y : 1", "x*y/x", "polygamma(2, x)", "leaky_relu(0.25, x)", "x^2*y^3",
    "max(x, y)",
    "-(x + y)", "x - y + x", "1/x", "m @ v", "exp(-x)",
  };
  for (size_t i = 0; i < sizeof same/sizeof *same; i++)
    if (strcmp(same[i], "m @ v")) writes(same[i], AD_TEXT, same[i]);
}

static void test_latex(void) {
  writes("sin(x + y^2)/sqrt(x)", AD_LATEX, "\\frac{\\sin\\left(x + y^{2}\\right)}{\\sqrt{x}}");
  writes("sin(x)^2", AD_LATEX, "\\sin^{2}\\left(x\\right)");
  writes("2*x*3", AD_LATEX, "2 x \\cdot 3");
  writes("exp(-x)*abs(y)", AD_LATEX, "e^{-x} \\left|y\\right|");
  writes("x > 0 ? x : -x", AD_LATEX,
         "\\begin{cases} x & \\text{if } x > 0 \\\\ -x & \\text{otherwise} \\end{cases}");
  writes("1e-7*x", AD_LATEX, "1 \\cdot 10^{-7} x");
}

/* What is written reads back as the same value. */
static void test_text_reads_back(void) {
  static const char *const text[] = {
    "sin(x + y^2)/sqrt(x) - (x - y)/(x/y)^2", "x^-2 + y^0.5 - -x", "(x > 1 && y < 9) ? tanh(x)*y : 0",
    "!(x == y) + 2",
    "hypot(x, y)^3/(1 + exp(-x*y))", "clamp(x, 0, 1) - fma(x, y, 1)", "powi(5, x)/elu(0.5, -y)",
    "1e300*x*1e-300 + 0.1",
  };
  for (size_t i = 0; i < sizeof text/sizeof *text; i++) {
    place p = open_place();
    char written[400];
    ad_var y = ad_formula(p.tape, text[i], 4, p.names, p.vars);
    if (ad_formula_text(y, AD_TEXT, 4, p.names, p.vars, written, sizeof written, NULL))
      fail("reads back", text[i], "status");
    ad_var z = ad_formula(p.tape, written, 4, p.names, p.vars);
    if (!ad_is_valid(z) || !close_to(ad_value(z), ad_value(y))) fail("reads back", text[i], written);
    ad_tape_free(p.tape);
  }
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_every_failing_allocation_is_reported(void) {
  bool served = false;
  for (long n = 1; n < 4000 && !served; n++) {
    heap h = { .fail_at = n };
    const ad_allocator a = heap_allocator(&h);
    ad_tape *t = ad_tape_new_with(&a);
    if (!t) continue;
    ad_var x = ad_scalar(t, 2);
    const char *formula = "a = [x, 1, x^2]; b = [[1, 2, 3], [4, 5, 6]] @ a; sum(b, axis=0) + polygamma(2, x)";
    ad_var y = ad_formula(t, formula, 1, (const char *const[]){ "x" }, &x);
    char text[200];
    if (ad_is_valid(y))
      (void)ad_formula_text(y, AD_LATEX, 1, (const char *const[]){ "x" }, &x, text, sizeof text, NULL);
    served = heap_has_served(&h);
    if (!ad_is_valid(y) && (served || ad_tape_status(t) != AD_ERROR_MEMORY))
      fail("memory", "n-th allocation", ad_tape_message(t));
    ad_tape_free(t);
    if (!heap_is_empty(&h)) fail("memory", "n-th allocation", heap_text(&h));
  }
  if (!served) fail("memory", "n-th allocation", "no end");
}

int main(void) {
  test_scalars();
  test_arrays();
  test_derivatives_go_through_formulas();
  test_outputs_in_order();
  test_free_names();
  test_errors_have_places();
  test_bad_arguments();
  test_length_needs_no_stack();
  test_text_has_the_fewest_parentheses();
  test_latex();
  test_text_reads_back();
  test_every_failing_allocation_is_reported();
  if (failures) printf("%d failures\n", failures);
  return failures != 0;
}
