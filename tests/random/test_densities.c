/* test_densities.c -- log-densities, entropies and divergences against closed forms, integrals and
 * differences. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "statistics.h"

#define PI_L 3.14159265358979323846264338327950288L

/* --- closed forms in long double ------------------------------------------------------------------------ */

static long double normal_form(long double x, long double m, long double s) {
  return -(x - m)*(x - m)/(2*s*s) - logl(s*sqrtl(2*PI_L));
}
static long double laplace_form(long double x, long double m, long double s) {
  return -fabsl(x - m)/s - logl(2*s);
}
static long double exponential_form(long double x, long double a, long double r) {
  (void)a;
  return x < 0 ? -INFINITY : logl(r) - r*x;
}
static long double gumbel_form(long double x, long double m, long double s) {
  return -(x - m)/s - expl(-(x - m)/s) - logl(s);
}
static long double uniform_form(long double x, long double a, long double s) {
  return x < a || x > a + s ? -INFINITY : -logl(s);
}

static ad_var normal_of(ad_var x, ad_var a, ad_var b) { return ad_normal_log_density(x, a, b); }
static ad_var laplace_of(ad_var x, ad_var a, ad_var b) { return ad_laplace_log_density(x, a, b); }
static ad_var exponential_of(ad_var x, ad_var a, ad_var b) {
  (void)a;
  return ad_exponential_log_density(x, b);
}
static ad_var gumbel_of(ad_var x, ad_var a, ad_var b) { return ad_gumbel_log_density(x, a, b); }
static ad_var uniform_of(ad_var x, ad_var a, ad_var b) { return ad_uniform_log_density(x, a, ad_add(a, b)); }

/* [from, to] in scales from the location, beyond which less than 1e-15 is left; the kink, if any, in the
 * middle. */
typedef struct density {
  const char *name;
  ad_var (*log_density)(ad_var x, ad_var a, ad_var b);
  long double (*form)(long double x, long double a, long double b);
  double from, to, location, scale;
  int smooth_order;                 /* derivatives by x exist up to this order at the test's points */
} density;

static const density densities[] = {
  { "normal", normal_of, normal_form, -9, 9, 0.3, 1.7, 3 },
  { "laplace", laplace_of, laplace_form, -36, 36, 0.3, 1.7, 3 },
  { "exponential", exponential_of, exponential_form, 0, 36, 0, 1, 3 },
  { "gumbel", gumbel_of, gumbel_form, -4.5, 36, -0.5, 0.8, 3 },
  { "uniform", uniform_of, uniform_form, 0, 1, -2, 3, 3 } };
enum { DENSITIES = sizeof densities/sizeof *densities };

static void test_against_closed_forms(void) {
  enum { M = 500 };
  for (int k = 0; k < DENSITIES; k++)
    for (int d = AD_F32; d <= AD_F64; d++) {
      uint64_t state = 5;
      double x[M], a[M], b[M];
      for (int i = 0; i < M; i++) {
        x[i] = (double)(float)check_uniform(&state, -3, 5);
        a[i] = (double)(float)check_uniform(&state, -1, 1);
        b[i] = (double)(float)check_uniform(&state, 0.1, 4);
      }
      ad_tape *t = ad_tape_new();
      const ad_var v[3] = { ad_array(t, AD_F64(M), x), ad_array(t, AD_F64(M), a), ad_array(t, AD_F64(M), b) };
      const ad_var x_d = ad_cast(v[0], (ad_dtype)d), a_d = ad_cast(v[1], (ad_dtype)d);
      double *got = doubles_of(densities[k].log_density(x_d, a_d, ad_cast(v[2], (ad_dtype)d)));
      const double scale = d == AD_F64 ? 4e-15 : 2e-6;
      for (int i = 0; i < M; i++) {
        const double e = fabs(x[i] - a[i])/b[i], size = k == 0 ? e*e : k == 3 ? (1 + e)*exp(e) : e;
        const long double want = densities[k].form((long double)x[i], (long double)a[i], (long double)b[i]);
        CHECK_NUMBER(got[i], (double)want, scale*(1 + size));
      }
      free(got);
      ad_tape_free(t);
    }
}

/* Simpson's rule with `panels` panels on the interval of a density. */
static ad_var integral(const density *p, ad_tape *t, ad_var (*of)(ad_var x, ad_var log_p, void *context),
                       void *context) {
  enum { PANELS = 40000 };
  const double low = p->location + p->from*p->scale, high = p->location + p->to*p->scale;
  static double weight[PANELS + 1];
  for (int i = 0; i <= PANELS; i++)
    weight[i] = (i == 0 || i == PANELS ? 1 : i%2 ? 4 : 2)*(high - low)/PANELS/3;
  const ad_var x = ad_linspace(ad_scalar(t, low), ad_real(high), PANELS + 1);
  const ad_var log_p = p->log_density(x, ad_real(p->location), ad_real(p->scale));
  const ad_var term = ad_mul(ad_exp(log_p), of(x, log_p, context));
  return ad_sum(ad_mul(ad_array(t, AD_F64(PANELS + 1), weight), term), AD_ALL_AXES, false);
}

static ad_var of_one(ad_var x, ad_var log_p, void *context) {
  (void)x, (void)log_p, (void)context;
  return ad_real(1);
}
static ad_var of_minus_log(ad_var x, ad_var log_p, void *context) {
  (void)x, (void)context;
  return ad_neg(log_p);
}
static ad_var of_log_ratio(ad_var x, ad_var log_p, void *context) {
  const double *q = context;
  return ad_sub(log_p, ad_normal_log_density(x, q[0], q[1]));
}

static void test_densities_integrate_to_one(void) {
  for (int k = 0; k < DENSITIES; k++) {
    ad_tape *t = ad_tape_new();
    const double one = ad_value(integral(&densities[k], t, of_one, NULL));
    CHECK_THAT(fabs(one - 1) < 1e-10, "%s: %.15g", densities[k].name, one);
    ad_tape_free(t);
  }
}

static void test_entropy_and_divergence_of_normals(void) {
  ad_tape *t = ad_tape_new();
  const density *p = &densities[0];
  double q[2] = { -0.4, 0.9 };
  const double entropy = ad_value(integral(p, t, of_minus_log, NULL));
  CHECK_NUMBER(ad_value(ad_normal_entropy(ad_scalar(t, p->scale))), entropy, 1e-12);
  const ad_var kl = ad_normal_kl(ad_scalar(t, p->location), p->scale, q[0], q[1]);
  CHECK_NUMBER(ad_value(kl), ad_value(integral(p, t, of_log_ratio, q)), 1e-11);
  /* near each other: KL = t^2/2 + (t - log(1 + t)) = t^2 - t^3/3 + .., t the relative difference */
  for (int k = 2; k < 7; k++) {
    const double s = 1 + pow(10, -k), small = s - 1;
    const double want = small*small - small*small*small/3 + small*small*small*small/4 - pow(small, 5)/5;
    const double got = ad_value(ad_normal_kl(ad_scalar(t, 5), s, 5, 1));
    CHECK_THAT(fabs(got - want) < 1e-16*small*4 + 1e-2*pow(small, 5), "%g: %g, not %g", small, got, want);
  }
  /* the same where the quotient of the deviations is rounded, but their difference is not */
  for (int k = 10; k < 24; k++) {
    const double small = ldexp(1, -k)/3, want = small*small*(1 - small/3 + small*small/4 - pow(small, 3)/5);
    const double got = ad_value(ad_normal_kl(ad_scalar(t, 5), 3 + ldexp(1, -k), 5, 3));
    CHECK_THAT(fabs(got - want) < 4e-16*small, "2^-%d/3: %g, not %g", k, got, want);
  }
  CHECK_NUMBER(ad_value(ad_normal_kl(ad_scalar(t, 0), 1e-30, 0, 1)), 30*log(10) - 0.5, 1e-14);
  CHECK_NUMBER(ad_value(ad_normal_kl(ad_scalar(t, 3), 2, 3, 2)), 0, 0);
  ad_tape_free(t);
}

/* --- probabilities -------------------------------------------------------------------------------------- */

static long double log_sigmoid(long double z) { return z > 0 ? -log1pl(expl(-z)) : z - log1pl(expl(z)); }

static void test_bernoulli(void) {
  static const double logits[9] = { 0, 1, -1, 30, -30, 700, -700, 1e-8, -5 };
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < 9; i++) {
    const ad_var l = ad_scalar(t, logits[i]);
    const long double z = (long double)logits[i], log_p = log_sigmoid(z), log_q = log_sigmoid(-z);
    const long double p = expl(log_p), q = expl(log_q);
    const double yes = ad_value(ad_bernoulli_log_probability(true, l));
    const double no = ad_value(ad_bernoulli_log_probability(0.0, l));
    CHECK_THAT(fabsl((long double)yes - log_p) <= 1e-15L*fabsl(log_p), "log p(1) at %g: %g", logits[i], yes);
    CHECK_THAT(fabsl((long double)no - log_q) <= 1e-15L*fabsl(log_q) + 1e-18L*fabsl(z), "log p(0) at %g: %g",
               logits[i], no);
    const long double entropy = -p*log_p - q*log_q, m = 0.5L - z;
    const double got = ad_value(ad_bernoulli_entropy(l));
    CHECK_THAT(fabsl((long double)got - entropy) <= 2e-15L*entropy, "entropy at %g: %g", logits[i], got);
    const long double kl = p*(log_p - log_sigmoid(m)) + q*(log_q - log_sigmoid(-m));
    CHECK_NUMBER(ad_value(ad_bernoulli_kl(l, 0.5 - logits[i])), (double)kl, 4e-15);
  }
  CHECK_NUMBER(ad_value(ad_bernoulli_log_probability(1, ad_scalar(t, INFINITY))), 0, 0);
  ad_tape_free(t);
}

static void test_categorical(void) {
  static const double p[2][3] = { { 1, -2, 0.5 }, { 3, -INFINITY, 3 } };
  static const double q[2][3] = { { 0, 0, 1 }, { 1, 2, 3 } };
  static const int64_t index[2] = { 2, 1 };
  ad_tape *t = ad_tape_new();
  const ad_var l = ad_array(t, AD_F64(2, 3), p), m = ad_array(t, AD_F64(2, 3), q);
  double *entropy = doubles_of(ad_categorical_entropy(l)), *kl = doubles_of(ad_categorical_kl(l, m));
  double *reverse = doubles_of(ad_categorical_kl(m, l));
  double *log_p = doubles_of(ad_categorical_log_probability(ad_array(t, AD_I64(2), index), l));
  for (int r = 0; r < 2; r++) {
    double zp = 0, zq = 0, h = 0, d = 0;
    for (int k = 0; k < 3; k++) zp += exp(p[r][k]), zq += exp(q[r][k]);
    for (int k = 0; k < 3; k++) {
      const double a = exp(p[r][k])/zp, b = exp(q[r][k])/zq;
      if (a > 0) h -= a*log(a), d += a*log(a/b);
    }
    CHECK_NUMBER(entropy[r], h, 1e-14);
    CHECK_NUMBER(kl[r], d, 1e-14);
    CHECK_NUMBER(log_p[r], p[r][index[r]] - log(zp), 1e-14);
  }
  CHECK(reverse[1] == INFINITY && log_p[1] == -INFINITY);
  ad_var g;                           /* an impossible category: the others' derivatives stay finite */
  CHECK_STATUS(ad_grad(ad_sum(ad_categorical_entropy(l), AD_ALL_AXES, false), 1, &l, &g), AD_OK);
  double *slope = doubles_of(g);
  for (int k = 0; k < 6; k++) CHECK_THAT(isfinite(slope[k]), "slope %d is %g", k, slope[k]);
  CHECK_NUMBER(slope[4], 0, 0);
  const ad_var many = ad_categorical_log_probability(ad_zeros(t, AD_I32(4, 5)), ad_zeros(t, AD_F32(3)));
  CHECK(ad_type_equal(ad_type_of(many), AD_F32(4, 5)));
  CHECK_NUMBER(ad_value(ad_mean(many, AD_ALL_AXES, false)), -log(3), 1e-7);
  CHECK_NUMBER(ad_value(ad_categorical_log_probability(ad_integer(1), ad_at(l, 1, &(int64_t){ 0 }))),
               -2 - log(exp(1) + exp(-2) + exp(0.5)), 1e-14);
  CHECK_STATUS(ad_tape_status(t), AD_OK);
  free(entropy), free(kl), free(reverse), free(log_p), free(slope);
  ad_tape_free(t);
}

static void test_support_and_shapes(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, -1), r = ad_scalar(t, 2);
  ad_var both[2] = { x, r }, g[2];
  CHECK_NUMBER(ad_value(ad_exponential_log_density(x, r)), -INFINITY, 0);
  CHECK_STATUS(ad_grad(ad_exponential_log_density(x, r), 2, both, g), AD_OK);
  CHECK(ad_value(g[0]) == 0 && ad_value(g[1]) == 0);
  CHECK_NUMBER(ad_value(ad_uniform_log_density(x, 0, r)), -INFINITY, 0);
  CHECK_NUMBER(ad_value(ad_uniform_log_density(x, -1, 3)), -log(4), 1e-15);
  CHECK_NUMBER(ad_value(ad_uniform_log_density(3, x, 3)), -log(4), 1e-15);
  CHECK(isnan(ad_value(ad_uniform_log_density(ad_scalar(t, NAN), 0, 1))));
  CHECK(isnan(ad_value(ad_exponential_log_density(ad_scalar(t, NAN), 1))));
  const ad_var v = ad_array(t, AD_F64(2, 3), (double[]){ 1, 2, 3, 4, 5, 6 });
  const ad_var rows = ad_normal_diagonal_log_density(v, 1, 2);
  const ad_var each = ad_normal_log_density(v, 1, 2);
  CHECK(ad_type_equal(ad_type_of(rows), AD_F64(2)));
  CHECK(same_bits(rows, ad_sum(each, AD_AXES(1), false)));
  CHECK(ad_type_equal(ad_type_of(ad_normal_log_density(ad_zeros(t, AD_F32(0, 2)), 0, 1)), AD_F32(0, 2)));
  CHECK(ad_type_equal(ad_type_of(ad_normal_log_density(ad_zeros(t, AD_F32(3)), 0, 1)), AD_F32(3)));
  CHECK_STATUS(ad_tape_status(t), AD_OK);
  CHECK_FAILS(t, ad_normal_diagonal_log_density(x, 0, 1), AD_ERROR_SHAPE, "no axis of components");
  CHECK_FAILS(t, ad_categorical_entropy(x), AD_ERROR_SHAPE, "categorical_entropy: the last axis");
  CHECK_FAILS(t, ad_categorical_kl(v, x), AD_ERROR_SHAPE, "categorical_kl: the last axis");
  CHECK_FAILS(t, ad_categorical_log_probability(ad_integer(0), x), AD_ERROR_SHAPE, "the last axis");
  CHECK_FAILS(t, ad_categorical_log_probability(x, v), AD_ERROR_DTYPE, "gather");
  const ad_var beyond = ad_categorical_log_probability(ad_zeros(t, AD_I64(2)), v);
  const ad_var three = ad_categorical_log_probability(ad_integer(3), ad_at(v, 1, &(int64_t){ 0 }));
  CHECK(ad_is_valid(beyond) && isnan(ad_value(three)));
  CHECK_STATUS(ad_tape_status(t), AD_ERROR_ARGUMENT);
  ad_tape_free(t);
}

/* --- derivatives ---------------------------------------------------------------------------------------- */

typedef struct traced { const char *name; int n; ad_var (*f)(const ad_var x[]); double at[4]; } traced;

static ad_var f_normal(const ad_var x[]) { return ad_normal_log_density(x[0], x[1], x[2]); }
static ad_var f_laplace(const ad_var x[]) { return ad_laplace_log_density(x[0], x[1], x[2]); }
static ad_var f_exponential(const ad_var x[]) { return ad_exponential_log_density(x[0], x[1]); }
static ad_var f_gumbel(const ad_var x[]) { return ad_gumbel_log_density(x[0], x[1], x[2]); }
static ad_var f_uniform(const ad_var x[]) { return ad_uniform_log_density(x[0], x[1], x[2]); }
static ad_var f_bernoulli(const ad_var x[]) { return ad_bernoulli_log_probability(1, x[0]); }
static ad_var f_bernoulli_entropy(const ad_var x[]) { return ad_bernoulli_entropy(x[0]); }
static ad_var f_bernoulli_kl(const ad_var x[]) { return ad_bernoulli_kl(x[0], x[1]); }
static ad_var f_normal_entropy(const ad_var x[]) { return ad_normal_entropy(x[0]); }
static ad_var f_normal_kl(const ad_var x[]) { return ad_normal_kl(x[0], x[1], x[2], x[3]); }
static ad_var f_categorical(const ad_var x[]) {
  return ad_categorical_log_probability(ad_integer(1), ad_stack(4, x, 0));
}
static ad_var f_categorical_entropy(const ad_var x[]) { return ad_categorical_entropy(ad_stack(4, x, 0)); }
static ad_var f_categorical_kl(const ad_var x[]) {
  return ad_categorical_kl(ad_stack(2, x, 0), ad_stack(2, x + 2, 0));
}

static const traced functions[] = {
  { "normal", 3, f_normal, { 0.4, -0.3, 0.7, 0 } }, { "laplace", 3, f_laplace, { 0.4, -0.3, 0.7, 0 } },
  { "exponential", 2, f_exponential, { 0.4, 1.3, 0, 0 } }, { "gumbel", 3, f_gumbel, { 0.4, -0.3, 0.7, 0 } },
  { "uniform", 3, f_uniform, { 0.4, -0.3, 0.7, 0 } }, { "bernoulli", 1, f_bernoulli, { 0.4, 0, 0, 0 } },
  { "bernoulli entropy", 1, f_bernoulli_entropy, { 0, 0, 0, 0 } },
  { "bernoulli kl", 2, f_bernoulli_kl, { 0.4, -1.5, 0, 0 } },
  { "normal entropy", 1, f_normal_entropy, { 0.4, 0, 0, 0 } },
  { "normal kl", 4, f_normal_kl, { 0.4, 1.2, -0.3, 0.9 } },
  { "normal kl far", 4, f_normal_kl, { 0.4, 0.8, -0.3, 1.9 } },
  { "normal kl equal", 4, f_normal_kl, { 0.4, 1.2, 0.4, 1.2 } },
  { "categorical", 4, f_categorical, { 0.4, -0.3, 0.7, 2 } },
  { "categorical entropy", 4, f_categorical_entropy, { 0.4, -0.3, 0.7, 2 } },
  { "categorical kl", 4, f_categorical_kl, { 0.4, -0.3, 0.7, 2 } } };

static void trace_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ((const traced *)context)->f(in);
}

/* sum of w_i dy/dx_i, to be differentiated once more */
static void slope_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const traced *c = context;
  ad_var dx[4], y = c->f(in);
  (void)t;
  ad_grad(y, c->n, in, dx);
  out[0] = ad_mul(dx[0], 0.7);
  for (int i = 1; i < c->n; i++) out[0] = ad_add(out[0], ad_mul(dx[i], i%2 ? -1.1 : 0.4));
}

static void check_derivative(ad_function *f, const traced *c, int order) {
  const void *const x[4] = { c->at, c->at + 1, c->at + 2, c->at + 3 };
  ad_check_result r = { .error = INFINITY };
  if (!CHECK_THAT(f != NULL, "%s: order %d", c->name, order)) return;
  CHECK_STATUS(ad_check(f, x, &r), AD_OK);
  CHECK_THAT(r.error < 2e-8 && r.transpose_error < 1e-12, "%s, order %d: %g %g", c->name, order, r.error,
             r.transpose_error);
}

/* Orders 1 to 3, forward and reverse, against differences. */
static void test_derivatives(void) {
  const ad_type in[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  for (size_t k = 0; k < sizeof functions/sizeof *functions; k++) {
    traced c = functions[k];
    ad_function *f = ad_function_trace(c.name, trace_body, &c, c.n, in, 1);
    ad_function *g = ad_function_trace("slope", slope_body, &c, c.n, in, 1);
    ad_function *h = ad_function_gradient(g, 0, NULL);
    check_derivative(f, &c, 1);
    check_derivative(g, &c, 2);
    check_derivative(h, &c, 3);
    ad_function_free(f);
    ad_function_free(g);
    ad_function_free(h);
  }
}

int main(void) {
  test_against_closed_forms();
  test_densities_integrate_to_one();
  test_entropy_and_divergence_of_normals();
  test_bernoulli();
  test_categorical();
  test_support_and_shapes();
  test_derivatives();
  return check_summary();
}
