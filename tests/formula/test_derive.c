/* test_derive.c -- symbolic derivatives: as a textbook writes them, and equal to reverse mode everywhere. */
#include "adit/derive.h"
#include "adit/formula.h"
#include "heap.h"
#include "formula/derive.h"
#include "formula/fraction.h"
#include "primitives/elementwise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void fail(const char *what, const char *text, const char *got) {
  printf("FAIL %s: %s -> %s\n", what, text, got);
  failures++;
}

/* --- what is written -------------------------------------------------------------------------- */

static void derives(const char *text, ad_notation notation, const char *want) {
  char got[2000];
  ad_formula_report r;
  if (ad_formula_derive(text, notation, 1, (const char *const[]){ "x" }, got, sizeof got, NULL, NULL, &r))
    fail("derives", text, r.message);
  else if (strcmp(got, want)) fail("derives", text, got);
}

static const char *const answers[][2] = {
  { "sin(x + x^2)/sqrt(x)", "(1 + 2*x)*cos(x + x^2)/sqrt(x) - sin(x + x^2)/(2*x^(3/2))" },
  { "7", "0" }, { "x", "1" }, { "y", "0" }, { "x^2", "2*x" }, { "3*x^4 - x/2", "12*x^3 - 1/2" },
  { "0.1*x^3", "0.3*x^2" },
  { "1/x", "-1/x^2" }, { "sqrt(x)", "1/(2*sqrt(x))" }, { "x^(1/3)", "1/(3*x^(2/3))" },
  { "cbrt(x)", "1/(3*cbrt(x)^2)" },
  { "x*sin(x)", "sin(x) + x*cos(x)" }, { "sin(x)/x", "cos(x)/x - sin(x)/x^2" },
  { "sin(x)^2", "2*sin(x)*cos(x)" },
  { "sin(x)^2 + cos(x)^2", "0" }, { "(x^2 + 2*x)*exp(x)", "(2 + 4*x + x^2)*exp(x)" },
  { "exp(-x^2)", "-2*x*exp(-x^2)" },
  { "exp(2*x)*sin(3*x)", "(2*sin(3*x) + 3*cos(3*x))*exp(2*x)" }, { "x^2*exp(-x)", "(2*x - x^2)*exp(-x)" },
  { "(x - 1)/(x + 1)", "2/(1 + x)^2" }, { "x/(1 + x)", "1/(1 + x)^2" }, { "1/(1 - x)", "1/(1 - x)^2" },
  { "1/(1 + x^2)", "-2*x/(1 + x^2)^2" }, { "sqrt(1 + x^2)", "x/sqrt(1 + x^2)" },
  { "sqrt(2*x)", "1/sqrt(2*x)" },
  { "(1 + x)^2", "2 + 2*x" }, { "(1 - x)^3", "-3*(1 - x)^2" }, { "(x + 1)^2*(x - 2)", "3*x^2 - 3" },
  { "log(x)", "1/x" }, { "log(cos(x))", "-tan(x)" }, { "log(1 + exp(x))", "exp(x)/(1 + exp(x))" },
  { "log2(x)", "1/(x*log(2))" },
  { "2^x", "2^x*log(2)" }, { "x^x", "(1 + log(x))*x^x" }, { "x^y", "y*x^(y - 1)" }, { "y^x", "y^x*log(y)" },
  { "tan(x)", "1 + tan(x)^2" }, { "asin(x)", "1/sqrt(1 - x^2)" }, { "acos(x/2)", "-1/sqrt(4 - x^2)" },
  { "atan(x)", "1/(1 + x^2)" },
  { "atan(x/y)", "y/(x^2 + y^2)" }, { "sinh(x)", "cosh(x)" }, { "tanh(x)", "1/cosh(x)^2" },
  { "asinh(x)", "1/sqrt(1 + x^2)" },
  { "acosh(x)", "1/sqrt(x^2 - 1)" }, { "atanh(x)", "1/(1 - x^2)" }, { "erf(x)", "2*exp(-x^2)/sqrt(pi)" },
  { "lgamma(x)", "digamma(x)" }, { "tgamma(x)", "tgamma(x)*digamma(x)" },
  { "polygamma(1, x)", "polygamma(2, x)" },
  { "sigmoid(x)", "(1 - sigmoid(x))*sigmoid(x)" }, { "softplus(x)", "sigmoid(x)" }, { "abs(x)", "sign(x)" },
  { "floor(x)", "0" },
  { "max(x, y)", "x > y ? 1 : x < y ? 0 : 1/2" }, { "relu(x)", "x > 0 ? 1 : 0" },
  { "x > 0 ? x^2 : -x", "x > 0 ? 2*x : -1" },
  { "leaky_relu(0.1, x)", "x > 0 ? 1 : 0.1" }, { "hypot(x, y)", "x/hypot(x, y)" },
  { "atan2(y, x)", "-y/(x^2 + y^2)" },
  { "xlogy(x, y)", "log(y)" }, { "v = x*y; w = sin(v); w^2", "2*y*sin(x*y)*cos(x*y)" }, { "e^x", "exp(x)" },
  { "pi*x", "pi" },
  { "x*y + y*y + y", "y" }, { "exp(log(x))", "1" }, { "(x^2)^3", "6*x^5" }, { "sqrt(x)*sqrt(x)", "1" },
  { "x/x", "0" },
};

static void test_textbook_answers(void) {
  for (size_t i = 0; i < sizeof answers/sizeof *answers; i++) derives(answers[i][0], AD_TEXT, answers[i][1]);
}

static void test_latex_answers(void) {
  derives("sin(x + x^2)/sqrt(x)", AD_LATEX,
          "\\frac{\\left(1 + 2 x\\right) \\cos\\left(x + x^{2}\\right)}{\\sqrt{x}} - "
          "\\frac{\\sin\\left(x + x^{2}\\right)}{2 x^{\\frac{3}{2}}}");
  derives("tanh(x)", AD_LATEX, "\\frac{1}{\\cosh^{2}\\left(x\\right)}");
  derives("exp(-x^2)", AD_LATEX, "-2 x e^{-x^{2}}");
  derives("alpha_1*x + omega*x*x0", AD_LATEX, "\\alpha_{1} + \\omega x_{0}");
  derives("asin(x)", AD_LATEX, "\\frac{1}{\\sqrt{1 - x^{2}}}");
  derives("speed*x", AD_LATEX, "\\mathrm{speed}");
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* The derivative's text, evaluated, against reverse mode at x, y, w. */
static void agrees(const char *text, double x, double y, double w) {
  static const char *const names[] = { "x", "y", "w" };
  char written[8000], got[300];
  ad_formula_report r;
  if (ad_formula_derive(text, AD_TEXT, 3, names, written, sizeof written, NULL, NULL, &r)) {
    fail("agrees", text, r.message);
    return;
  }
  ad_tape *t = ad_tape_new();
  const ad_var v[3] = { ad_scalar(t, x), ad_scalar(t, y), ad_scalar(t, w) };
  ad_var d[3], f = ad_formula(t, text, 3, names, v);
  if (ad_type_of(f).dtype >= AD_F32 && !ad_grad(f, 3, v, d)) {
    const char *s = written;
    for (int i = 0; i < 3; i++, s += strlen(s) + 1) {
      ad_var z = ad_formula(t, s, 3, names, v);
      double a = ad_is_valid(z) ? ad_value(z) : NAN, b = ad_value(d[i]);
      if (a == b || fabs(a - b) <= 1e-10*(1 + fabs(b))) continue;
      snprintf(got, sizeof got, "d/d%s = %.200s is %.17g, should be %.17g", names[i], s, a, b);
      fail("agrees", text, got);
    }
  }
  ad_tape_free(t);
}

static void test_answers_agree_with_reverse_mode(void) {
  for (size_t i = 0; i < sizeof answers/sizeof *answers; i++)
    if (!strstr(answers[i][0], "acosh")) agrees(answers[i][0], .37, .81, -.4);
  agrees("acosh(x)", 1.7, 0, 0);
}

/* Every row of the table inside of other functions, where tests sample it. */
static void test_every_row_agrees_with_reverse_mode(void) {
  static const char *const around[] = { "%s", "sin(%s)*x", "sqrt(2 + (%s)^2)/(1 + x^2)" };
  for (int r = 0; r < ROW_COUNT; r++) {
    const elementwise_row *row = &elementwise_rows[r];
    char call[100], text[200], attribute[40] = "";
    if (row->attributed) snprintf(attribute, sizeof attribute, "%.17g, ", row->attribute);
    snprintf(call, sizeof call, "%s(%s%s)", row->name, attribute,
             row->arity == 1 ? "x" : row->arity == 2 ? "x, y" : "x, y, w");
    for (int k = 0; k < 3; k++)
      for (int sample = 0; sample < 5; sample++) {
        double at[3];
        for (int i = 0; i < 3; i++)
          at[i] = row->lo[i] + (row->hi[i] - row->lo[i])*(.137 + .19*sample - .011*i);
        if (k == 0) snprintf(text, sizeof text, "%s", call);
        else snprintf(text, sizeof text, around[k], call);
        agrees(text, at[0], at[1], at[2]);
      }
  }
}

/* --- random formulas -------------------------------------------------------------------------- */

static uint64_t state = 88172645463325252u;
static unsigned pick(unsigned n) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (unsigned)(state >> 33) % n;
}

/* A formula of about `size` operations that is smooth for positive x, y, w. */
static void random_formula(char *out, int size) {
  static const char *const leaf[] = { "x", "y", "w", "2", "0.5", "3", "x" };
  static const char *const unary[] = { "sin(", "exp(-", "sqrt(1 + ", "log(2 + ", "tanh(", "(", "atan(",
                                       "1/(3 + ", "cos(" };
  static const char *const binary[] = { " + ", " - ", "*", "*", "/" };
  if (size <= 1) {
    strcat(out, leaf[pick(7)]);
    return;
  }
  if (pick(3) == 0) {
    unsigned k = pick(9);
    strcat(out, unary[k]);
    strcat(out, "(");
    random_formula(out, size - 1);
    strcat(out, k == 2 || k == 3 || k == 7 ? ")^2)" : "))");
    return;
  }
  int left = 1 + (int)pick((unsigned)size - 1);
  unsigned k = pick(5);
  strcat(out, "(");
  random_formula(out, left);
  strcat(out, binary[k]);
  if (k == 4) strcat(out, "(2 + (");
  random_formula(out, size - left);
  strcat(out, k == 4 ? ")^2))" : pick(6) ? ")" : ")^2");
}

static void test_random_formulas_agree_with_reverse_mode(void) {
  for (int i = 0; i < 600; i++) {
    char text[4000] = "";
    random_formula(text, 2 + i % 14);
    agrees(text, .3 + pick(100)*.01, .2 + pick(100)*.01, .4 + pick(100)*.01);
  }
}

/* Higher orders go through text again and again. */
static void test_fifth_derivative_of_a_product(void) {
  char text[20000] = "exp(2*x)*sin(x)", next[20000];
  for (int k = 0; k < 5; k++) {
    if (ad_formula_derive(text, AD_TEXT, 1, (const char *const[]){ "x" }, next, sizeof next, NULL, NULL,
                          NULL)) {
      fail("order", text, "an error");
      return;
    }
    strcpy(text, next);
  }
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, .3);
  double z = ad_value(ad_formula(t, text, 1, (const char *const[]){ "x" }, &x));
  double want = exp(.6)*(-38*sin(.3) + 41*cos(.3));
  if (!(fabs(z - want) < 1e-11) || strlen(text) > 60) fail("order", "fifth derivative", text);
  ad_tape_free(t);
}

/* --- errors and limits ------------------------------------------------------------------------ */

static void refuses(const char *text, ad_status status, int position) {
  char got[100];
  ad_formula_report r;
  ad_status s = ad_formula_derive(text, AD_TEXT, 1, (const char *const[]){ "x" }, got, sizeof got, NULL,
                                  NULL, &r);
  if (s != status || r.position != position) fail("refuses", text, r.message);
}

static void test_errors(void) {
  refuses("sum(x)", AD_ERROR_UNSUPPORTED, 0);
  refuses("1 + [1, x]", AD_ERROR_UNSUPPORTED, 4);
  refuses("x + foo(x)", AD_ERROR_SYNTAX, 4);
  refuses("x +", AD_ERROR_SYNTAX, 3);
  refuses("a = x", AD_ERROR_SYNTAX, 5);
  refuses("sin(x, x)", AD_ERROR_SYNTAX, 0);
  char out[4];
  size_t needed;
  if (ad_formula_derive("sin(x)", AD_TEXT, 1, (const char *const[]){ "x" }, out, sizeof out, &needed, NULL,
                        NULL) != AD_ERROR_SIZE
      || needed < 7) fail("size", "sin(x)", "the needed size");
}

static void test_what_explodes_is_a_limit(void) {
  char text[2000] = "v0 = x;", *p = text + strlen(text);
  for (int i = 0; i < 60; i++) p += sprintf(p, "v%d = sin(v%d)*cos(v%d);", i + 1, i, i);
  sprintf(p, "v60");
  char out[100];
  ad_status s = ad_formula_derive(text, AD_TEXT, 1, (const char *const[]){ "x" }, out, sizeof out, NULL,
                                  NULL, NULL);
  if (s != AD_ERROR_LIMIT) fail("limit", "60 doublings of a product", ad_status_sentence(s));
  char doubling[1200] = "v0 = x;";
  p = doubling + strlen(doubling);
  for (int i = 0; i < 40; i++) p += sprintf(p, "v%d = v%d + v%d;", i + 1, i, i);
  sprintf(p, "v40");
  derives(doubling, AD_TEXT, "1099511627776");
  char *chain = malloc(400000);
  if (!chain) exit(1);
  p = chain + sprintf(chain, "v0 = x;");
  for (int i = 0; i < 10000; i++) p += sprintf(p, "v%d = sin(v%d);", i + 1, i);
  sprintf(p, "v10000");
  s = ad_formula_derive(chain, AD_TEXT, 1, (const char *const[]){ "x" }, out, sizeof out, NULL, NULL, NULL);
  if (s != AD_ERROR_LIMIT) fail("limit", "10000 sines", ad_status_sentence(s));
  free(chain);
}

static void test_long_sums_are_quick(void) {
  char *text = malloc(400000), *p = text;
  if (!text) exit(1);
  for (int i = 0; i < 20000; i++) p += sprintf(p, "x*y + ");
  sprintf(p, "y");
  derives(text, AD_TEXT, "20000*y");
  free(text);
}

static void test_fractions(void) {
  fraction third = fraction_make(1, 3), tenth = fraction_read(.1, false);
  if (!fraction_is(fraction_multiply(third, fraction_integer(3)), 1)) fail("fraction", "3/3", "not 1");
  if (tenth.p != 1 || tenth.q != 10 || !tenth.decimal) fail("fraction", "0.1", "not 1/10");
  if (fraction_is_exact(fraction_power(fraction_integer(10), 30)))
    fail("fraction", "10^30", "exact in 64 bits");
  if (!(fabs(fraction_value(fraction_power(fraction_integer(10), 30)) - 1e30) < 1e15))
    fail("fraction", "10^30", "wrong");
  fraction root;
  if (!fraction_root(fraction_make(4, 9), 2, &root) || root.p != 2 || root.q != 3)
    fail("fraction", "sqrt(4/9)", "not 2/3");
  if (fraction_root(fraction_integer(2), 2, &root)) fail("fraction", "sqrt(2)", "a fraction");
}

static void test_every_failing_allocation_is_reported(void) {
  for (long n = 1; n < 100000; n += 1 + n/40) {
    heap h = { .fail_at = n };
    const ad_allocator a = heap_allocator(&h);
    char out[1000];
    ad_formula_report r;
    ad_status s = derive_with(&a, "v = x*y; sin(v)^2*exp(v)/(1 + x) + relu(x) + (x - 1)/(x + y)", AD_LATEX, 2,
                              (const char *const[]){ "x", "y" }, out, sizeof out, NULL, NULL, &r);
    if (!heap_is_empty(&h)) fail("memory", "n-th allocation", heap_text(&h));
    if (s == AD_OK && heap_has_served(&h)) return;
    if (s != AD_ERROR_MEMORY) {
      fail("memory", "n-th allocation", ad_status_sentence(s));
      return;
    }
  }
  fail("memory", "n-th allocation", "no end");
}

int main(void) {
  test_textbook_answers();
  test_latex_answers();
  test_answers_agree_with_reverse_mode();
  test_every_row_agrees_with_reverse_mode();
  test_random_formulas_agree_with_reverse_mode();
  test_fifth_derivative_of_a_product();
  test_errors();
  test_what_explodes_is_a_limit();
  test_long_sums_are_quick();
  test_fractions();
  test_every_failing_allocation_is_reported();
  if (failures) printf("%d failures\n", failures);
  return failures != 0;
}
