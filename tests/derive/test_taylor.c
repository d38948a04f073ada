/* test_taylor.c -- Taylor mode against exact differences in MPFR, nested forward mode, closed forms and
 * conventions. */
#include "adit.h"
#include "heap.h"
#include "primitives/elementwise_oracle.h"
#include "primitives/library.h"
#include "tape/tape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int passed, failed;

static void check(bool ok, const char *what, int k, double got, double want) {
  if (ok) { passed++; return; }
  if (failed++ < 100) printf("FAILED %s, order %d: %.17g, expected %.17g\n", what, k, got, want);
}

static bool same(double a, double b) { return a == b || (a != a && b != b); }

static uint64_t random_state = 88172645463325252u;

static double uniform(double lo, double hi) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return lo + (hi - lo)*((double)(random_state >> 11)*0x1p-53);
}

/* Coefficients of y along x(t) = x + t. */
static ad_status along_line(int order, ad_var x, ad_var y, double c[]) {
  ad_var *xc = malloc(((size_t)order + 1)*sizeof *xc), *yc = malloc(((size_t)order + 1)*sizeof *yc);
  for (int k = 0; k < order; k++) xc[k] = k ? ad_none() : ad_real(1);
  ad_status status = ad_taylor(order, 1, &x, xc, 1, &y, yc);
  for (int k = 0; k <= order; k++) c[k] = status == AD_OK ? ad_value(yc[k]) : NAN;
  free(xc);
  free(yc);
  return status;
}

/* Compares with the greatest coefficient so far as the scale. */
static void check_close(const char *what, int order, const double got[], const double want[],
                        double tolerance) {
  double scale = 0;
  for (int k = 0; k <= order; k++) {
    if (fabs(want[k]) > scale) scale = fabs(want[k]);
    check(same(got[k], want[k]) || fabs(got[k] - want[k]) <= tolerance*scale, what, k, got[k], want[k]);
  }
}

/* --- rows of the table along random curves -------------------------------------------------------------- */

enum { ORDER = 8 };

typedef struct curve { double c[3][ORDER + 1]; } curve;

static curve random_curve(const elementwise_row *r) {
  curve p;
  for (int m = 0; m < 3; m++) {
    const double margin = 0.02*(r->hi[m] - r->lo[m]);
    p.c[m][0] = uniform(r->lo[m] + margin, r->hi[m] - margin);
    for (int k = 1; k <= ORDER; k++) p.c[m][k] = uniform(-0.5, 0.5);
  }
  if (r->kind == CLASS_CHOICE) p.c[0][0] = p.c[0][0] < 0.5 ? 0 : 1;
  return p;
}

/* Row r on the curve at t, exactly. */
static void exact_at(mpfr_ptr z, const elementwise_row *r, const curve *p, mpfr_srcptr t) {
  mpfr_t x[3];
  for (int m = 0; m < 3; m++) {
    mpfr_init2(x[m], PRECISION);
    mpfr_set_zero(x[m], 1);
    for (int k = ORDER; k >= 0; k--) {
      mpfr_mul(x[m], x[m], t, N);
      mpfr_add_d(x[m], x[m], r->kind == CLASS_CHOICE && m == 0 && k ? 0 : p->c[m][k], N);
    }
  }
  oracles[r - elementwise_rows](z, x[0], x[1], x[2], r->attribute);
  for (int m = 0; m < 3; m++) mpfr_clear(x[m]);
}

/* (1/k!) times the central difference of order k, step h = 2^-40: good to 70 bits for every order up to 8. */
static double exact_coefficient(const elementwise_row *r, const curve *p, int k) {
  mpfr_t sum, z, t;
  mpfr_init2(sum, PRECISION), mpfr_init2(z, PRECISION), mpfr_init2(t, PRECISION);
  mpfr_set_zero(sum, 1);
  double binomial = 1;
  for (int j = 0; j <= k; j++) {
    mpfr_set_d(t, 0.5*k - j, N);
    mpfr_mul_2si(t, t, -40, N);
    exact_at(z, r, p, t);
    mpfr_mul_d(z, z, j % 2 ? -binomial : binomial, N);
    mpfr_add(sum, sum, z, N);
    binomial = binomial*(k - j)/(j + 1);
  }
  mpfr_mul_2si(sum, sum, 40*k, N);
  for (int j = 2; j <= k; j++) mpfr_div_ui(sum, sum, (unsigned long)j, N);
  const double value = mpfr_get_d(sum, N);
  mpfr_clear(sum), mpfr_clear(z), mpfr_clear(t);
  return value;
}

static ad_var call_row(const elementwise_row *r, const ad_var x[]) {
  return ad_record(NULL, &elementwise_primitives[r - elementwise_rows], r->arity, x, &r->attribute,
                   r->attributed ? sizeof r->attribute : 0);
}

static void row_by_taylor(const elementwise_row *r, const curve *p, ad_dtype dtype, double got[]) {
  ad_tape *t = ad_tape_new();
  ad_var x[3], xc[3*ORDER], yc[ORDER + 1];
  for (int m = 0; m < r->arity; m++) {
    const bool condition = r->kind == CLASS_CHOICE && m == 0;
    x[m] = ad_cast(ad_scalar(t, p->c[m][0]), dtype);
    for (int k = 1; k <= ORDER; k++) xc[m*ORDER + k - 1] = condition ? ad_none() : ad_scalar(t, p->c[m][k]);
  }
  ad_var y = call_row(r, x);
  ad_status status = ad_taylor(ORDER, r->arity, x, xc, 1, &y, yc);
  check(status == AD_OK, r->name, -1, (double)status, 0);
  if (status) printf("  %s\n", ad_tape_message(t));
  for (int k = 0; k <= ORDER; k++) {
    check(ad_type_of(yc[k]).dtype == dtype, "dtype of a coefficient", k, (double)ad_type_of(yc[k]).dtype,
          (double)dtype);
    got[k] = ad_value(yc[k]);
  }
  ad_tape_free(t);
}

/* The same by forward mode in t, again and again. */
static void row_by_jvp(const elementwise_row *r, const curve *p, int order, double want[]) {
  ad_tape *tape = ad_tape_new();
  ad_var t = ad_scalar(tape, 0), x[3], one = ad_real(1);
  for (int m = 0; m < r->arity; m++) {
    x[m] = ad_scalar(tape, p->c[m][0]);
    for (int k = 1; k <= ORDER && !(r->kind == CLASS_CHOICE && m == 0); k++)
      x[m] = ad_add(x[m], ad_mul(p->c[m][k], ad_pow(t, k)));
  }
  ad_var y = call_row(r, x);
  double factorial = 1;
  for (int k = 0; k <= order; k++) {
    want[k] = ad_value(y)/factorial;
    factorial *= k + 1;
    ad_jvp(1, &t, &one, 1, &y, &y);
  }
  ad_tape_free(tape);
}

static void test_row(const elementwise_row *r) {
  const elementwise_id id = (elementwise_id)(r - elementwise_rows);
  /* their oracles are differences already */
  const bool differences = id != ROW_trigamma && id != ROW_polygamma;
  for (int trial = 0; trial < 3; trial++) {
    const curve p = random_curve(r);
    double got[ORDER + 1], single[ORDER + 1], want[ORDER + 1];
    row_by_taylor(r, &p, AD_F64, got);
    row_by_taylor(r, &p, AD_F32, single);
    for (int k = 0; k <= ORDER; k++) want[k] = differences ? exact_coefficient(r, &p, k) : got[k];
    check_close(r->name, ORDER, got, want, 1e-11);
    check_close(r->name, ORDER, single, want, 2e-3);
    row_by_jvp(r, &p, 4, want);
    check_close(r->name, 4, got, want, 1e-11);
  }
}

static void test_rows(void) {
  for (int i = 0; i < ROW_COUNT; i++)
    if (oracles[i]) test_row(&elementwise_rows[i]);
}

/* --- closed forms --------------------------------------------------------------------------------------- */

enum { MANY = 30 };

static void test_closed_forms(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 0), x1 = ad_add(x, 1);
  double got[MANY + 1], want[MANY + 1], f = 1, b = 1;
  for (int k = 0; k <= MANY; f /= ++k) want[k] = f;
  along_line(MANY, x, ad_exp(x), got);
  check_close("exp", MANY, got, want, 0x1p-52);
  for (int k = 0; k <= MANY; k++) want[k] = (k & 1 ? want[k] : 0)*(k & 2 ? -1 : 1);
  along_line(MANY, x, ad_sin(x), got);
  for (int k = 0; k <= MANY; k++)
    check(fabs(got[k] - want[k]) <= 4e-16 * fabs(want[k]), "sin", k, got[k], want[k]);
  for (int k = 0; k <= MANY; k++) want[k] = 1;
  along_line(MANY, x, ad_div(1, ad_sub(1, x)), got);
  check_close("1/(1 - x)", MANY, got, want, 0);
  for (int k = 0; k <= MANY; k++) want[k] = k ? (k & 1 ? 1.0 : -1.0)/k : 0;
  along_line(MANY, x, ad_log(x1), got);
  check_close("log(1 + x)", MANY, got, want, 0x1p-50);
  along_line(MANY, x, ad_log1p(x), got);
  check_close("log1p", MANY, got, want, 0x1p-50);
  for (int k = 0; k <= MANY; b = b*(0.5 - k)/(k + 1), k++) want[k] = b;
  along_line(MANY, x, ad_sqrt(x1), got);
  check_close("sqrt(1 + x)", MANY, got, want, 1e-14);
  along_line(MANY, x, ad_pow(x1, 0.5), got);
  check_close("(1 + x)^0.5", MANY, got, want, 1e-14);
  along_line(MANY, x, ad_pow(x1, ad_scalar(t, 0.5)), got);
  check_close("(1 + x)^y, y = 0.5", MANY, got, want, 1e-14);
  for (int k = 0; k <= MANY; k++) want[k] = k & 1 ? (k & 2 ? -1.0 : 1.0)/k : 0;
  along_line(MANY, x, ad_atan(x), got);
  check_close("atan", MANY, got, want, 1e-14);
  b = 1;
  for (int k = 0; k <= MANY; b = b*(-3 - k)/(k + 1), k++) want[k] = b;
  along_line(MANY, x, ad_pow(x1, -3), got);
  check_close("(1 + x)^-3", MANY, got, want, 1e-14);
  check(ad_tape_status(t) == AD_OK, "closed forms: status", 0, (double)ad_tape_status(t), 0);
  ad_tape_free(t);
}

/* z' = z cos(x), s' = c, c' = -s, each recurrence by hand in long double. */
static void exp_of_sin(int order, long double x, double want[]) {
  const long double s = sinl(x), c = cosl(x);
  long double f = 1, *slope = malloc(((size_t)order + 1) * sizeof *slope),
              *z = malloc(((size_t)order + 1) * sizeof *z);
  for (int k = 0; k <= order; f *= ++k) slope[k] = (k & 1 ? k & 2 ? s : -s : k & 2 ? -c : c)/f;
  z[0] = expl(s);
  for (int k = 1; k <= order; k++) {
    z[k] = 0;
    for (int j = 0; j < k; j++) z[k] += slope[j]*z[k - 1 - j];
    z[k] /= k;
  }
  for (int k = 0; k <= order; k++) want[k] = (double)z[k];
  free(slope);
  free(z);
}

static void test_order_100(void) {
  enum { HIGH = 100 };
  double got[HIGH + 1], want[HIGH + 1];
  exp_of_sin(HIGH, 0.5L, want);
  double best = INFINITY;
  size_t nodes = 0;
  for (int run = 0; run < 5; run++) {
    ad_tape *t = ad_tape_new();
    ad_var x = ad_scalar(t, 0.5), y = ad_exp(ad_sin(x));
    struct timespec a, b;
    timespec_get(&a, TIME_UTC);
    along_line(HIGH, x, y, got);
    timespec_get(&b, TIME_UTC);
    best = fmin(best, 1e3*(double)(b.tv_sec - a.tv_sec) + 1e-6*(double)(b.tv_nsec - a.tv_nsec));
    nodes = ad_tape_size(t);
    ad_tape_free(t);
  }
  for (int k = 0; k <= HIGH; k++)
    check(fabs(got[k] - want[k]) <= 1e-13 * fabs(want[k]) + 1e-14 * pow(0.7, k), "exp(sin(x))", k, got[k],
          want[k]);
  check(nodes < 2 * HIGH * HIGH, "exp(sin(x)): operations quadratic in the order", HIGH, (double)nodes,
        2 * HIGH * HIGH);
  printf("exp(sin(x)) to order 100: %zu operations, %.2f ms\n", nodes, best);
}

/* Twice the order, four times the operations, along curves with all coefficients. */
static void test_cost(void) {
  enum { HALF = 24 };
  size_t size[2];
  for (int i = 0; i < ROW_COUNT; i++) {
    const elementwise_row *r = &elementwise_rows[i];
    const bool gamma = i == ROW_lgamma || i == ROW_tgamma || i == ROW_digamma || i == ROW_trigamma
                       || i == ROW_polygamma;
    if (!oracles[i] || gamma) continue;
    for (int pass = 0; pass < 2; pass++) {
      ad_tape *t = ad_tape_new();
      const int order = HALF << pass;
      ad_var x[3], xc[6*HALF], yc[2*HALF + 1];
      for (int m = 0; m < 3; m++)
        x[m] = ad_scalar(t, r->kind == CLASS_CHOICE && m == 0 ? 1 : 0.5*(r->lo[m] + r->hi[m]) + 0.1);
      for (int k = 0; k < r->arity * order; k++)
        xc[k] = r->kind == CLASS_CHOICE && k < order ? ad_none() : ad_real(0.01);
      ad_var y = call_row(r, x);
      const size_t before = ad_tape_size(t);
      ad_taylor(order, r->arity, x, xc, 1, &y, yc);
      size[pass] = ad_tape_size(t) - before;
      ad_tape_free(t);
    }
    check(size[1] <= 5*size[0], r->name, 2*HALF, (double)size[1], 5*(double)size[0]);
  }
}

/* --- special points, kinks, what is not connected ------------------------------------------------------- */

static void check_line(const char *what, ad_var x, ad_var y, int order, const double want[]) {
  double got[16];
  ad_status status = along_line(order, x, y, got);
  check(status == AD_OK, what, -1, (double)status, 0);
  for (int k = 0; k <= order; k++) check(same(got[k], want[k]), what, k, got[k], want[k]);
}

static void test_special_points(void) {
  ad_tape *t = ad_tape_new();
  ad_var o = ad_scalar(t, 0), m2 = ad_scalar(t, -2), m1 = ad_scalar(t, -1), two = ad_scalar(t, 2);
  check_line("x^0 at 0", o, ad_pow(o, 0), 3, (double[]){ 1, 0, 0, 0 });
  check_line("x^1 at 0", o, ad_pow(o, 1), 3, (double[]){ 0, 1, 0, 0 });
  check_line("x^2 at 0", o, ad_pow(o, 2), 3, (double[]){ 0, 0, 1, 0 });
  check_line("square at 0", o, ad_square(o), 3, (double[]){ 0, 0, 1, 0 });
  check_line("x^3 at 0", o, ad_pow(o, 3), 4, (double[]){ 0, 0, 0, 1, 0 });
  check_line("x^3 at -2", m2, ad_pow(m2, 3), 4, (double[]){ -8, 12, -6, 1, 0 });
  check_line("x^5 at -2", m2, ad_pow(m2, 5), 6, (double[]){ -32, 80, -80, 40, -10, 1, 0 });
  check_line("x^y at 0, y = 2", o, ad_pow(o, two), 7, (double[]){ 0, 0, 1, 0, 0, 0, 0, 0 });
  check_line("x^y at -2, y = 2", m2, ad_pow(m2, two), 7, (double[]){ 4, -4, 1, 0, 0, 0, 0, 0 });
  check_line("x^2.5 at 0", o, ad_pow(o, 2.5), 3, (double[]){ 0, 0, 0, INFINITY });
  check_line("x^5.5 at 0", o, ad_pow(o, 5.5), 6, (double[]){ 0, 0, 0, 0, 0, 0, INFINITY });
  check_line("x^0.5 at 0", o, ad_pow(o, 0.5), 2, (double[]){ 0, INFINITY, -INFINITY });
  check_line("sqrt at 0", o, ad_sqrt(o), 2, (double[]){ 0, INFINITY, -INFINITY });
  check_line("log at 0", o, ad_log(o), 1, (double[]){ -INFINITY, INFINITY });
  check_line("1/x at 0", o, ad_reciprocal(o), 2, (double[]){ INFINITY, -INFINITY, INFINITY });
  check_line("x^-1 at 0", o, ad_pow(o, -1), 2, (double[]){ INFINITY, -INFINITY, INFINITY });
  check_line("log at -1", m1, ad_log(m1), 3, (double[]){ NAN, NAN, NAN, NAN });
  check_line("sqrt at -1", m1, ad_sqrt(m1), 3, (double[]){ NAN, NAN, NAN, NAN });
  check_line("sqrt(x^2) at 0", o, ad_sqrt(ad_square(o)), 1, (double[]){ 0, NAN });
  check_line("x*x*x at 0", o, ad_mul(ad_mul(o, o), o), 4, (double[]){ 0, 0, 0, 1, 0 });
  check_line("pow(0.0, x) at 2", two, ad_pow(ad_constant(t, AD_F64(), (double[]){ 0 }), two), 2,
             (double[]){ 0, 0, 0 });
  ad_tape_free(t);
}

static void test_kinks(void) {
  ad_tape *t = ad_tape_new();
  ad_var o = ad_scalar(t, 0), m1 = ad_scalar(t, -1), x = ad_scalar(t, 2), inf = ad_scalar(t, INFINITY);
  check_line("abs at 0", o, ad_abs(o), 2, (double[]){ 0, 0, 0 });
  check_line("relu at 0", o, ad_relu(o), 2, (double[]){ 0, 0, 0 });
  check_line("max(x, 0) at 0", o, ad_max(o, 0), 2, (double[]){ 0, 0.5, 0 });
  check_line("max(x, x)", x, ad_max(x, x), 2, (double[]){ 2, 1, 0 });
  check_line("hypot(x, x) at 0", o, ad_hypot(o, o), 2, (double[]){ 0, 0, 0 });
  check_line("floor", x, ad_floor(x), 2, (double[]){ 2, 0, 0 });
  check_line("clamp at its edge", o, ad_clamp(o, 0, 1), 2, (double[]){ 0, 0.5, 0 });
  check_line("max(sqrt(x), 1) at 0", o, ad_max(ad_sqrt(o), 1), 4, (double[]){ 1, 0, 0, 0, 0 });
  check_line("sqrt(relu(x)) at -1", m1, ad_sqrt(ad_relu(m1)), 4, (double[]){ 0, 0, 0, 0, 0 });
  check_line("log(relu(x)) sin(x)^2 at -1", m1, ad_log(ad_relu(m1)), 2, (double[]){ -INFINITY, 0, 0 });
  ad_var chosen = ad_select(ad_greater(x, 1), ad_mul(x, x), ad_log(ad_sub(x, 2)));
  check_line("select leaves out log at 0", x, chosen, 3, (double[]){ 4, 4, 1, 0 });
  check_line("cube of what was not chosen", o, ad_pow(ad_max(ad_sqrt(o), 2), 3), 3, (double[]){ 8, 0, 0, 0 });
  check_line("product with what was not chosen", o, ad_mul(ad_max(ad_sqrt(o), 2), ad_add(o, 1)), 3,
             (double[]){ 2, 2, 0, 0 });
  check_line("x - x at inf", inf, ad_sub(inf, inf), 2, (double[]){ NAN, 0, 0 });
  check_line("tanh at inf", inf, ad_tanh(inf), 1, (double[]){ 1, 0 });
  check_line("stop_gradient", x, ad_mul(x, ad_stop_gradient(x)), 2, (double[]){ 4, 2, 0 });
  ad_tape_free(t);
}

/* --- the call itself ------------------------------------------------------------------------------------ */

static void test_call(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 3), z = ad_scalar(t, 5), y = ad_mul(x, x), out[12];
  ad_var xc[4] = { ad_real(1), ad_scalar(t, 2), ad_none(), ad_none() };
  const ad_status status = ad_taylor(0, 1, &x, NULL, 1, &y, out);
  check(status == AD_OK && ad_value(out[0]) == 9, "order 0", 0, ad_value(out[0]), 9);
  ad_taylor(2, 1, &x, xc, 1, &z, out);
  check(ad_value(out[0]) == 5 && ad_value(out[1]) == 0 && ad_value(out[2]) == 0, "not connected", 0,
        ad_value(out[1]), 0);
  ad_taylor(2, 1, &x, xc, 1, &x, out);
  check(ad_value(out[0]) == 3 && ad_value(out[1]) == 1 && ad_value(out[2]) == 2, "x itself", 0,
        ad_value(out[2]), 2);
  ad_taylor(2, 2, (ad_var[]){ x, x }, (ad_var[]){ xc[0], ad_none(), xc[0], xc[1] }, 1, &y, out);
  check(ad_value(out[1]) == 12 && ad_value(out[2]) == 16, "x listed twice", 2, ad_value(out[2]), 16);
  ad_var inner = ad_sin(x), top = ad_mul(inner, x);
  ad_taylor(1, 1, &inner, xc, 1, &top, out);
  check(ad_value(out[1]) == 3, "an inner variable as x", 1, ad_value(out[1]), 3);
  ad_taylor(1, 1, &y, xc, 2, (ad_var[]){ x, y }, out);
  check(ad_value(out[1]) == 0 && ad_value(out[3]) == 1, "x that depends on y", 1, ad_value(out[1]), 0);
  ad_taylor(2, 1, &x, xc, 2, (ad_var[]){ y, ad_exp(y) }, out);
  ad_var slope;       /* of exp(x^2) (1 + 4 x + 2 x^2), coefficient 2 of exp(x(t)^2) */
  ad_jvp(1, &x, xc, 1, &out[5], &slope);
  double ratio = ad_value(slope)/ad_value(out[5]);
  check(fabs(ratio - 202/31.0) <= 1e-14, "a coefficient has derivatives", 2, ratio, 202/31.0);
  check(ad_tape_status(t) == AD_OK, "status", 0, (double)ad_tape_status(t), 0);
  ad_tape_free(t);
}

/* Nothing is read while recording: the coefficients hold on the other side of every kink. */
static void test_replay(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 3), y = ad_mul(ad_relu(x), ad_pow(x, 2.5)), xc[5] = { ad_real(1), ad_real(2) },
         yc[6];
  for (int k = 2; k < 5; k++) xc[k] = ad_none();
  ad_taylor(5, 1, &x, xc, 1, &y, yc);
  double want[6];
  ad_tape *u = ad_tape_new();
  ad_var p = ad_scalar(u, 0.5), q = ad_mul(p, ad_pow(p, 2.5)), pc[5] = { ad_real(1), ad_real(2) }, qc[6];
  for (int k = 2; k < 5; k++) pc[k] = ad_none();
  ad_taylor(5, 1, &p, pc, 1, &q, qc);
  ad_set_value(x, 0.5);
  for (int k = 0; k <= 5; k++) {
    want[k] = ad_value(qc[k]);
    check(same(ad_value(yc[k]), want[k]), "coefficients follow ad_set", k, ad_value(yc[k]), want[k]);
  }
  ad_set_value(x, 0);
  for (int k = 0; k <= 2; k++)
    check(ad_value(yc[k]) == 0, "coefficients follow ad_set to 0", k, ad_value(yc[k]), 0);
  check(ad_tape_status(t) == AD_OK, "replay: status", 0, (double)ad_tape_status(t), 0);
  ad_tape_free(t);
  ad_tape_free(u);
}

static void expect_error(const char *what, ad_tape *t, ad_status got, ad_status want, ad_var out) {
  check(got == want && !ad_is_valid(out) && ad_tape_message(t)[0], what, 0, (double)got, (double)want);
  ad_tape_clear(t);
}

static void test_errors(void) {
  ad_tape *t = ad_tape_new(), *other = ad_tape_new();
  ad_var x = ad_scalar(t, 3), y = ad_mul(x, x), out[3], one = ad_real(1);
  ad_var n = ad_array(t, AD_I32(), NULL), v = ad_zeros(t, AD_F64(2));
  ad_var far = ad_scalar(other, 1);
  out[0] = ad_none();
  check(ad_taylor(-1, 1, &x, &one, 1, &y, out) == AD_ERROR_ARGUMENT, "order -1", 0, 0, 0);
  ad_tape_clear(t);
  expect_error("integer y", t, ad_taylor(1, 1, &x, &one, 1, &n, out), AD_ERROR_DTYPE, out[0]);
  expect_error("a number as x", t, ad_taylor(1, 1, &one, &one, 1, &y, out), AD_ERROR_ARGUMENT, out[0]);
  expect_error("shape of a coefficient", t, ad_taylor(1, 1, &x, &v, 1, &y, out), AD_ERROR_SHAPE, out[0]);
  expect_error("coefficient of another tape", t, ad_taylor(1, 1, &x, &far, 1, &y, out), AD_ERROR_TAPES,
               out[1]);
  expect_error("x of another tape", t, ad_taylor(1, 1, &far, &one, 1, &y, out), AD_ERROR_TAPES, out[1]);
  ad_tape_free(t);
  ad_tape_free(other);
}

static void test_deep(void) {
  enum { DEPTH = 100000 };
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 0.5), y = x;
  for (int i = 0; i < DEPTH/2; i++) y = ad_sin(ad_mul(1.0000001, y));
  double got[4];
  struct timespec a, b;
  timespec_get(&a, TIME_UTC);
  ad_status status = along_line(3, x, y, got);
  timespec_get(&b, TIME_UTC);
  const double time = 1e3*(double)(b.tv_sec - a.tv_sec) + 1e-6*(double)(b.tv_nsec - a.tv_nsec);
  printf("order 3 of an expression 100000 deep: %.0f ms\n", time);
  check(status == AD_OK && isfinite(got[3]), "deep expression", 3, got[3], 0);
  ad_var slope;
  ad_jvp(1, &x, (ad_var[]){ ad_real(1) }, 1, &y, &slope);
  check(fabs(got[1] - ad_value(slope)) <= 1e-9*fabs(got[1]), "deep expression", 1, got[1], ad_value(slope));
  ad_tape_free(t);
}

/* --- structured primitives ------------------------------------------------------------------------------ */

enum { ARRAY_ORDER = 4, ELEMENTS = 12 };

static const double array_value[ELEMENTS] = {
  0.3, -0.7, 1.1, 0.45, 2.2, -1.3, 0.9, 1.7, -0.2, 0.6, -1.9, 0.8
};

typedef ad_var array_function(ad_var x, ad_var y);    /* both f64(3, 4) */

/* x(t), y(t) are polynomials with array coefficients; by ad_taylor and by ad_jvp in t. */
static void test_array(const char *what, array_function *f) {
  ad_tape *t = ad_tape_new();
  double c[2][ARRAY_ORDER + 1][ELEMENTS];
  ad_var x[2], path[2], xc[2*ARRAY_ORDER], yc[ARRAY_ORDER + 1], s = ad_scalar(t, 0), one = ad_real(1);
  for (int m = 0; m < 2; m++) {
    for (int i = 0; i < ELEMENTS; i++)
      c[m][0][i] = m ? 0.5 * array_value[ELEMENTS - 1 - i] + 0.11 : array_value[i];
    x[m] = ad_array(t, AD_F64(3, 4), c[m][0]);
    path[m] = ad_array(t, AD_F64(3, 4), c[m][0]);
    for (int k = 1; k <= ARRAY_ORDER; k++) {
      for (int i = 0; i < ELEMENTS; i++) c[m][k][i] = uniform(-1, 1);
      xc[m*ARRAY_ORDER + k - 1] = ad_array(t, AD_F64(3, 4), c[m][k]);
      path[m] = ad_add(path[m], ad_mul(ad_pow(s, k), xc[m*ARRAY_ORDER + k - 1]));
    }
  }
  ad_var z = f(x[0], x[1]), w = f(path[0], path[1]);
  ad_status status = ad_taylor(ARRAY_ORDER, 2, x, xc, 1, &z, yc);
  check(status == AD_OK, what, -1, (double)status, 0);
  double got[64], want[64], factorial = 1;
  const int count = (int)ad_type_count(ad_type_of(z));
  for (int k = 0; k <= ARRAY_ORDER && status == AD_OK; k++) {
    check(ad_type_equal(ad_type_of(yc[k]), ad_type_of(z)), "type of a coefficient", k, 0, 0);
    ad_read(yc[k], got);
    ad_read(w, want);
    for (int i = 0; i < count; i++)
      check(fabs(got[i] - want[i] / factorial) <= 1e-12 * (1 + fabs(want[i])), what, k, got[i],
            want[i] / factorial);
    factorial *= k + 1;
    ad_jvp(1, &s, &one, 1, &w, &w);
  }
  if (ad_tape_status(t)) printf("  %s: %s\n", what, ad_tape_message(t));
  check(ad_tape_status(t) == AD_OK, what, -2, 0, 0);
  ad_tape_free(t);
}

#define ARRAY(name, expression) static ad_var array_##name(ad_var x, ad_var y) { (void)y; return expression; }
ARRAY(sum, ad_sum(x, AD_ALL_AXES, false))
ARRAY(mean, ad_mean(ad_mul(x, y), AD_AXES(0), true))
ARRAY(reshape, ad_reshape(ad_exp(x), 2, (int64_t[]){ 2, 6 }))
ARRAY(transpose, ad_transpose(ad_sin(x), NULL))
ARRAY(concat, ad_concat(2, (ad_var[]){ ad_exp(x), y }, 1))
ARRAY(concat_constant, ad_concat(2, (ad_var[]){ x, ad_ones(x.tape, AD_F64(3, 2)) }, 1))
ARRAY(slice, ad_slice(ad_square(x), 1, 3, 2, -2))
ARRAY(slice_add, ad_slice_add(x, ad_slice(y, 0, 1, 1, 1), 0, 0, 1))
ARRAY(cumsum, ad_cumsum(ad_mul(x, y), 1))
ARRAY(take, ad_take(ad_exp(x), ad_array(x.tape, AD_I64(2), (int64_t[]){ 2, 0 }), 0))
ARRAY(broadcast, ad_mul(ad_sum(x, AD_AXES(0), true), y))
ARRAY(scalar_broadcast, ad_exp(ad_sub(x, ad_sum(ad_square(y), AD_ALL_AXES, false))))
ARRAY(matmul, ad_matmul(x, ad_transpose(y, NULL)))
ARRAY(matmul_one, ad_matmul(ad_ones(x.tape, AD_F64(2, 3)), ad_sin(x)))
ARRAY(matmul_self, ad_matmul(ad_transpose(x, NULL), x))
ARRAY(dot, ad_dot(ad_reshape(x, 1, (int64_t[]){ 12 }), ad_reshape(y, 1, (int64_t[]){ 12 })))
ARRAY(outer, ad_outer(ad_sum(x, AD_AXES(0), false), ad_sum(y, AD_AXES(1), false)))
ARRAY(einsum_three, ad_einsum("ij,kj,kj->ik", 3, (ad_var[]){ x, y, ad_sin(x) }))
ARRAY(einsum, ad_einsum("ij,kj->ik", 2, (ad_var[]){ x, y }))
ARRAY(logsumexp, ad_logsumexp(ad_mul(x, y), AD_AXES(1), false))
ARRAY(norm, ad_norm(ad_add(x, y), AD_ALL_AXES, false))
ARRAY(prod, ad_prod(x, AD_AXES(1), false))
ARRAY(cumprod, ad_cumprod(x, 1))
ARRAY(variance, ad_variance(ad_mul(x, y), AD_AXES(1), true, 1))
ARRAY(reduce_max, ad_reduce_max(ad_exp(x), AD_AXES(1), false))
ARRAY(reduce_min, ad_reduce_min(ad_mul(x, y), AD_ALL_AXES, false))
ARRAY(sort, ad_sort(ad_mul(x, y), 1, false))
ARRAY(softmax, ad_exp(ad_sub(x, ad_logsumexp(x, AD_AXES(1), true))))
ARRAY(layers, ad_tanh(ad_matmul(ad_tanh(ad_matmul(x, ad_transpose(y, NULL))), y)))
ARRAY(norm_of_logs,
      ad_norm(ad_logsumexp(ad_matmul(x, ad_transpose(y, NULL)), AD_AXES(0), false), AD_ALL_AXES, false))
#undef ARRAY

static void test_structured(void) {
  static const struct { const char *name; array_function *f;
  } all[] = {
#define ARRAY(name) { #name, array_##name }
    ARRAY(sum),          ARRAY(mean),       ARRAY(reshape),
    ARRAY(transpose),    ARRAY(concat),     ARRAY(concat_constant),
    ARRAY(slice),        ARRAY(slice_add),  ARRAY(cumsum),
    ARRAY(take),         ARRAY(broadcast),  ARRAY(scalar_broadcast),
    ARRAY(matmul),       ARRAY(matmul_one), ARRAY(matmul_self),
    ARRAY(dot),          ARRAY(outer),      ARRAY(einsum),
    ARRAY(einsum_three), ARRAY(logsumexp),  ARRAY(norm),
    ARRAY(prod),         ARRAY(cumprod),    ARRAY(variance),
    ARRAY(reduce_max),   ARRAY(reduce_min), ARRAY(sort),
    ARRAY(softmax),      ARRAY(layers),     ARRAY(norm_of_logs),
#undef ARRAY
  };
  for (size_t i = 0; i < sizeof all/sizeof *all; i++) test_array(all[i].name, all[i].f);
}

static void test_empty(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(0, 3), NULL), one = ad_ones(t, AD_F64(0, 3)), out[6], y[2];
  y[0] = ad_exp(x), y[1] = ad_sum(ad_exp(x), AD_ALL_AXES, false);
  ad_status status = ad_taylor(2, 1, &x, (ad_var[]){ one, one }, 2, y, out);
  const double sum = status == AD_OK && ad_type_count(ad_type_of(out[2])) == 0 ? ad_value(out[5]) : NAN;
  check(sum == 0, "empty arrays", 2, sum, 0);
  ad_tape_free(t);
}

/* --- primitives of a user's own ------------------------------------------------------------------------- */

static void own_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i]*exp(y[i]);
}
static const ad_primitive own = {
  .name = "own", .doc = "x*exp(y)", .arity = 2, .block = own_block, .rule = { "g*exp(y)", "g*z" }
};
static const ad_primitive own_constant = { .name = "own_constant",
                                           .doc = "x*exp(y), nothing by y",
                                           .arity = 2,
                                           .block = own_block,
                                           .rule = { "g*exp(y)", NULL } };

/* z = sin(x) by a jvp rule alone. */
static ad_status own_type(ad_operation *op) {
  op->z = *op->x[0];
  return op->n == 1 ? AD_OK : ad_refuse(op, AD_ERROR_ARGUMENT, "takes one operand");
}
static ad_status own_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const double *p = x[0];
  double *q = z;
  for (int64_t i = 0; i < ad_type_count(op->z); i++) q[i] = sin(p[i]);
  return AD_OK;
}
static ad_var own_jvp(ad_rule *r, int k) { return ad_mul(r->g, ad_cos(r->x[k])); }
static const ad_primitive own_structured = {
  .name = "own_sine", .doc = "sin(x)", .type = own_type, .run = own_run, .jvp = own_jvp
};
static const ad_primitive no_rule = { .name = "no_rule", .doc = "sin(x)", .type = own_type, .run = own_run };

static void test_own(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 0.4), u[2] = { ad_sin(x), ad_square(x) }, z = ad_record(t, &own, 2, u, NULL, 0);
  double got[ORDER + 1], want[ORDER + 1];
  along_line(ORDER, x, z, got);
  along_line(ORDER, x, ad_mul(u[0], ad_exp(u[1])), want);
  check_close("own elementwise primitive", ORDER, got, want, 1e-14);
  along_line(ORDER, x, ad_record(t, &own_structured, 1, &u[1], NULL, 0), got);
  along_line(ORDER, x, ad_sin(u[1]), want);
  check_close("own primitive with a jvp rule", ORDER, got, want, 1e-14);
  check(ad_tape_status(t) == AD_OK, "own primitives", 0, 0, 0);
  ad_status status = along_line(2, x, ad_record(t, &own_constant, 2, u, NULL, 0), got);
  check(status == AD_ERROR_DERIVATIVE && strstr(ad_tape_message(t), "own_constant"), "missing rule", 0,
        (double)status, 0);
  ad_tape_clear(t);
  status = along_line(2, x, ad_record(t, &no_rule, 1, u, NULL, 0), got);
  check(status == AD_ERROR_DERIVATIVE && strstr(ad_tape_message(t), "no_rule"), "no rule at all", 0,
        (double)status, 0);
  ad_tape_free(t);
}

/* --- traced functions, memory --------------------------------------------------------------------------- */

/* The derivative of logsumexp contains the softmax, which is a later node of the tape. */
static void traced(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  ad_var c = ad_cos(in[0]), s = ad_sin(in[0]), l = ad_logsumexp(in[1], AD_ALL_AXES, false);
  ad_var softmax = ad_exp(ad_sub(in[1], l)), p = ad_prod(ad_add(in[1], s), AD_ALL_AXES, false);
  ad_var y = ad_div(ad_mul(ad_tanh(s), l), ad_add(2, c));
  y = ad_add(y, ad_mul(ad_sum(ad_mul(softmax, ad_relu(in[1])), AD_ALL_AXES, false), ad_pow(in[0], 1.5)));
  y = ad_add(y, ad_mul(p, ad_norm(in[1], AD_ALL_AXES, false)));
  ad_var xc[10];
  for (int k = 0; k < 10; k++) xc[k] = k == 0 ? ad_real(1) : k == 5 ? ad_ones(t, AD_F64(3)) : ad_none();
  ad_taylor(5, 2, in, xc, 1, &y, out);
}

static void test_traced(void) {
  const double x = 0.3, v[3] = { 0.5, -1, 2 };
  double z[6];
  void *out[6] = { &z[0], &z[1], &z[2], &z[3], &z[4], &z[5] };
  ad_function *f = ad_function_trace("traced", traced, NULL, 2, (ad_type[]){ AD_F64(), AD_F64(3) }, 6);
  check(f != NULL, "trace", 0, 0, 0);
  check(ad_function_call(f, (const void *[]){ &x, v }, out, NULL) == AD_OK, "call", 0, 0, 0);
  ad_tape *t = ad_tape_new();
  ad_var in[2] = { ad_scalar(t, x), ad_array(t, AD_F64(3), v) }, yc[6];
  traced(t, in, yc, NULL);
  for (int k = 0; k < 6; k++)
    check(fabs(z[k] - ad_value(yc[k])) <= 1e-14 * (1 + fabs(z[k])), "traced", k, z[k], ad_value(yc[k]));
  ad_tape_free(t);
  ad_function_free(f);
}

static void test_memory(void) {
  bool done = false;
  for (long n = 1; n < 400 && !done; n++) {
    heap h = { .fail_at = n };
    const ad_allocator a = heap_allocator(&h);
    ad_tape *t = ad_tape_new_with(&a);
    ad_var x[2] = { ad_scalar(t, 0.5), ad_array(t, AD_F64(20), NULL) }, xc[6], yc[4];
    for (int k = 0; k < 6; k++) xc[k] = ad_real(1);
    ad_var y = ad_mul(ad_pow(ad_exp(ad_sin(x[0])), 2.5),
                      ad_logsumexp(ad_mul(x[1], x[0]), AD_ALL_AXES, false));
    ad_status status = t ? ad_taylor(3, 2, x, xc, 1, &y, yc) : AD_ERROR_MEMORY;
    done = heap_has_served(&h);
    const bool told = status != AD_OK || ad_tape_status(t) == AD_OK;
    check(done ? status == AD_OK : told, "failing allocation", (int)n, (double)status, 0);
    for (int k = 0; k < 4 && status != AD_OK && t; k++)
      check(!ad_is_valid(yc[k]), "failing allocation: outputs", (int)n, 0, 0);
    ad_tape_free(t);
    check(h.blocks == 0, "failing allocation: blocks left", (int)n, (double)h.blocks, 0);
    check(h.live == 0, "failing allocation: bytes left", (int)n, (double)h.live, 0);
    check(h.wrong_sizes == 0, "failing allocation: wrong sizes", (int)n, (double)h.wrong_sizes, 0);
  }
  check(done, "every allocation failed once", 0, 0, 1);
}

int main(void) {
  test_rows();
  test_closed_forms();
  test_order_100();
  test_cost();
  test_special_points();
  test_kinks();
  test_call();
  test_replay();
  test_errors();
  test_deep();
  test_structured();
  test_empty();
  test_own();
  test_traced();
  test_memory();
  mpfr_free_cache();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
