/* test_estimators.c -- gradients of expectations: estimates against closed forms, within their standard
 * errors. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "statistics.h"

enum { N = 200000 };

/* --- the score function --------------------------------------------------------------------------------- */

/* Samples x of a normal variable with mean m and deviation s, and f = x^2 + m: E f = m^2 + s^2 + m. */
typedef struct problem {
  ad_tape *tape;
  ad_var m, s, x, f, log_p;
} problem;

static const double m_value = 0.8, s_value = 1.3;

static problem open_problem(uint64_t seed) {
  problem p = { .tape = ad_tape_new() };
  p.m = ad_scalar(p.tape, m_value);
  p.s = ad_scalar(p.tape, s_value);
  p.x = ad_stop_gradient(ad_random_normal(ad_key(p.tape, seed), p.m, p.s, AD_F64(N)));
  p.f = ad_add(ad_square(p.x), p.m);
  p.log_p = ad_normal_log_density(p.x, p.m, p.s);
  return p;
}

/* How far the mean of estimate is from want, in standard errors of it; *spread: its variance. */
static double score_of(ad_var estimate, double want, double *spread) {
  *spread = ad_value(ad_variance(estimate, AD_ALL_AXES, false, 1));
  return (ad_value(ad_mean(estimate, AD_ALL_AXES, false)) - want)/sqrt(*spread/N);
}

/* The derivative of each sample's surrogate by a parameter of all: forward mode, one sample an element. */
static ad_var each_slope(ad_var y, ad_var parameter, ad_tape *t) {
  ad_var one = ad_scalar(t, 1), dot;
  CHECK_STATUS(ad_jvp(1, &parameter, &one, 1, &y, &dot), AD_OK);
  return dot;
}

static void test_score_function(void) {
  double spread[3] = { 0 }, other;
  for (int b = 0; b < 3; b++) {
    const problem p = open_problem(101);
    const ad_var baseline = b == 0 ? ad_real(0) : b == 1 ? ad_real(2.5) : ad_leave_one_out_mean(p.f, 0);
    const ad_var y = ad_score_function(p.f, p.log_p, baseline);
    CHECK(same_bits(y, p.f));
    const ad_var by_m = each_slope(y, p.m, p.tape), by_s = each_slope(y, p.s, p.tape);
    const double at_m = score_of(by_m, 2*m_value + 1, &spread[b]), at_s = score_of(by_s, 2*s_value, &other);
    CHECK_THAT(fabs(at_m) < 5, "baseline %d: by the mean %g errors off", b, at_m);
    CHECK_THAT(fabs(at_s) < 5, "baseline %d: by the deviation %g errors off", b, at_s);
    /* each slope is 1 + (f - b)(x - m)/s^2, and the reverse sweep sums them */
    double *x = doubles_of(p.x), *f = doubles_of(p.f), *got = doubles_of(by_m);
    double *base = b == 2 ? doubles_of(baseline) : NULL;
    for (int i = 0; i < N; i += 997) {
      const double level = base ? base[i] : b == 0 ? 0 : 2.5;
      CHECK_NUMBER(got[i], 1 + (f[i] - level)*(x[i] - m_value)/(s_value*s_value), 1e-13);
    }
    ad_var g;
    CHECK_STATUS(ad_grad(ad_mean(y, AD_ALL_AXES, false), 1, &p.m, &g), AD_OK);
    CHECK_NUMBER(ad_value(g), ad_value(ad_mean(by_m, AD_ALL_AXES, false)), 1e-12);
    CHECK_STATUS(ad_tape_status(p.tape), AD_OK);
    free(x), free(f), free(got), free(base);
    ad_tape_free(p.tape);
  }
  CHECK_THAT(spread[2] < 0.8*spread[0], "variances %g with and %g without a baseline", spread[2], spread[0]);
}

/* d2/dm2 E f = 2, d2/ds2 E f = 2, d2/dm ds E f = 0, from the same surrogate. */
static void test_second_order(void) {
  double spread;
  for (int b = 0; b < 2; b++) {
    const problem p = open_problem(202);
    const ad_var y = ad_score_function(p.f, p.log_p, b ? 2.5 : 0);
    const ad_var by_m = each_slope(y, p.m, p.tape), by_s = each_slope(y, p.s, p.tape);
    const double mm = score_of(each_slope(by_m, p.m, p.tape), 2, &spread);
    const double ss = score_of(each_slope(by_s, p.s, p.tape), 2, &spread);
    const double ms = score_of(each_slope(by_m, p.s, p.tape), 0, &spread);
    CHECK_THAT(fabs(mm) < 5 && fabs(ss) < 5 && fabs(ms) < 5, "baseline %d: %g %g %g errors off", b, mm, ss,
               ms);
    ad_tape_free(p.tape);
  }
}

/* A sample of categories, its score with respect to logits: E f is sum p_k v_k. */
static void test_score_function_of_categories(void) {
  static const double logits[3] = { 0.2, -0.5, 1 }, value[3] = { 1, 4, -2 };
  double p[3], sum = 0, mean = 0, spread;
  for (int k = 0; k < 3; k++) sum += p[k] = exp(logits[k]);
  for (int k = 0; k < 3; k++) p[k] /= sum, mean += p[k]*value[k];
  ad_tape *t = ad_tape_new();
  const ad_var l = ad_array(t, AD_F64(3), logits), v = ad_constant(t, AD_F64(3), value);
  const ad_var k = ad_random_categorical(ad_key(t, 6), l, AD_I64(N)), f = ad_take(v, k, 0);
  const ad_var y = ad_score_function(f, ad_categorical_log_probability(k, l), ad_leave_one_out_mean(f, -1));
  for (int64_t i = 0; i < 3; i++) {
    ad_var dot, along = ad_one_hot(ad_array(t, AD_I64(), &i), 3, AD_F64);
    CHECK_STATUS(ad_jvp(1, &l, &along, 1, &y, &dot), AD_OK);
    const double score = score_of(dot, p[i]*(value[i] - mean), &spread);
    CHECK_THAT(fabs(score) < 5, "by logit %d: %g errors off", (int)i, score);
  }
  ad_tape_free(t);
}

/* By reparameterisation the same gradient has less variance. */
static void test_reparameterisation(void) {
  double by_path, by_score;
  const problem p = open_problem(303);
  const ad_var z = ad_random_normal(ad_key(p.tape, 303), p.m, p.s, AD_F64(N));
  const double at_m = score_of(each_slope(ad_square(z), p.m, p.tape), 2*m_value, &by_path);
  CHECK_THAT(fabs(at_m) < 5, "%g errors off", at_m);
  const double at_s = score_of(each_slope(ad_square(z), p.s, p.tape), 2*s_value, &by_path);
  CHECK_THAT(fabs(at_s) < 5, "%g errors off", at_s);
  score_of(each_slope(ad_score_function(p.f, p.log_p, 2.5), p.s, p.tape), 2*s_value, &by_score);
  CHECK_THAT(by_path < by_score, "variances %g and %g", by_path, by_score);
  ad_tape_free(p.tape);
}

static void test_leave_one_out(void) {
  ad_tape *t = ad_tape_new();
  const ad_var f = ad_array(t, AD_F64(2, 3), (double[]){ 1, 2, 6, 0, 1, 5 });
  const ad_var want = ad_array(t, AD_F64(2, 3), (double[]){ 4, 3.5, 1.5, 3, 2.5, 0.5 });
  CHECK(same_bits(ad_leave_one_out_mean(f, 1), want));
  CHECK(same_bits(ad_leave_one_out_mean(f, 0), ad_flip(f, AD_AXES(0))));
  CHECK_FAILS(t, ad_leave_one_out_mean(f, 2), AD_ERROR_ARGUMENT, "leave_one_out_mean: axis 2");
  CHECK_FAILS(t, ad_leave_one_out_mean(ad_zeros(t, AD_F64(1)), 0), AD_ERROR_SHAPE,
              "two samples at least, not 1");
  ad_tape_free(t);
}

/* --- stand-ins ------------------------------------------------------------------------------------------ */

static void test_straight_through(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 40), p = ad_array(t, AD_F32(3, 1), (float[]){ 0.1f, 0.5f, 0.9f });
  const ad_var x = ad_random_bernoulli_straight_through(key, p, AD_F32(3, 100));
  CHECK(same_bits(x, ad_random_bernoulli(key, p, AD_F32(3, 100))));
  ad_var g;
  CHECK_STATUS(ad_grad(ad_sum(ad_mul(3, x), AD_ALL_AXES, false), 1, &p, &g), AD_OK);
  CHECK(same_bits(g, ad_full(t, AD_F32(3, 1), 300)));
  CHECK(same_bits(ad_random_bernoulli_straight_through(key, 0.5, AD_F64(9)),
                  ad_random_bernoulli(key, 0.5, AD_F64(9))));
  const ad_var soft = ad_scalar(t, 0.3), y = ad_straight_through(ad_round(soft), soft);
  CHECK_NUMBER(ad_value(y), 0, 0);
  CHECK_STATUS(ad_grad(ad_exp(y), 1, &soft, &g), AD_OK);
  CHECK_NUMBER(ad_value(g), 1, 0);
  CHECK_FAILS(t, ad_straight_through(p, soft), AD_ERROR_SHAPE, "straight_through: f32(3,1) and f64()");
  CHECK_FAILS(t, ad_random_bernoulli_straight_through(key, p, AD_I64(3, 1)), AD_ERROR_DTYPE,
              "samples are f32 or f64");
  ad_tape_free(t);
}

static void test_gumbel_softmax(void) {
  static const double logits[4] = { 0.5, -1, 1, 0 };
  double expected[4], sum = 0;
  int64_t count[4] = { 0 };
  for (int k = 0; k < 4; k++) sum += exp(logits[k]);
  for (int d = AD_F32; d <= AD_F64; d++) {
    ad_tape *t = ad_tape_new();
    const ad_var key = ad_key(t, 50), l = ad_cast(ad_constant(t, AD_F64(4), logits), (ad_dtype)d);
    const ad_var rows = ad_broadcast_to(l, 2, (int64_t[]){ N/4, 4 });
    double *soft = doubles_of(ad_random_gumbel_softmax(key, rows, 0.5, false));
    double *hard = doubles_of(ad_random_gumbel_softmax(key, rows, 0.5, true));
    memset(count, 0, sizeof count);
    for (int i = 0; i < N/4; i++) {
      double all = 0, ones = 0;
      int most = 0;
      for (int k = 0; k < 4; k++) {
        all += soft[4*i + k], ones += hard[4*i + k];
        if (soft[4*i + k] > soft[4*i + most]) most = k;
      }
      count[most]++;
      if (fabs(all - 1) > 1e-6 || ones != 1 || hard[4*i + most] != 1) CHECK_THAT(false, "row %d", i);
    }
    for (int k = 0; k < 4; k++) expected[k] = N/4*exp(logits[k])/sum;
    const double score = chi_square_score(4, count, expected);
    CHECK_THAT(score < 5, "gumbel_softmax: score %g", score);
    free(soft), free(hard);
    ad_tape_free(t);
  }
}

static void softmax_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  out[0] = ad_random_gumbel_softmax(in[0], in[1], in[2], *(const bool *)context);
  (void)t;
}

/* Soft against differences; hard has the value of a one-hot vector and the derivative of soft. */
static void test_gumbel_softmax_derivatives(void) {
  bool no = false, yes = true;
  const ad_type in[3] = { AD_I64(), AD_F64(3, 5), AD_F64() };
  ad_function *soft = ad_function_trace("soft", softmax_body, &no, 3, in, 1);
  ad_function *hard = ad_function_trace("hard", softmax_body, &yes, 3, in, 1);
  double logits[15], temperature = 0.7;
  uint64_t state = 1;
  const int64_t key = 77;
  for (int i = 0; i < 15; i++) logits[i] = check_uniform(&state, -2, 2);
  const void *const x[3] = { &key, logits, &temperature };
  ad_check_result r;
  CHECK_STATUS(ad_check(soft, x, &r), AD_OK);
  CHECK_THAT(r.error < 1e-8 && r.transpose_error < 1e-12, "%g %g", r.error, r.transpose_error);
  ad_function *a = ad_function_vjp(soft), *b = ad_function_vjp(hard);
  double z[2][15], bar[2][15], slope[2], u[15];
  for (int i = 0; i < 15; i++) u[i] = check_uniform(&state, -1, 1);
  for (int k = 0; k < 2; k++)
    CHECK_STATUS(ad_function_call(k ? b : a, (const void *[]){ &key, logits, &temperature, u },
                                  (void *[]){ z[k], NULL, bar[k], &slope[k] }, NULL), AD_OK);
  for (int i = 0; i < 15; i++) {
    CHECK_NUMBER(bar[1][i], bar[0][i], 1e-15);
    CHECK(z[1][i] == 0 || z[1][i] == 1);
  }
  CHECK_NUMBER(slope[1], slope[0], 1e-15);
  ad_function_free(soft), ad_function_free(hard), ad_function_free(a), ad_function_free(b);
}

/* As temperature goes to 0 soft goes to hard. */
static void test_temperature(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 3), l = ad_zeros(t, AD_F64(1000, 3));
  const ad_var hard = ad_random_gumbel_softmax(key, l, 1, true);
  double before = 1;
  for (double temperature = 1; temperature > 1e-4; temperature /= 10) {
    const ad_var gap = ad_abs(ad_sub(ad_random_gumbel_softmax(key, l, temperature, false), hard));
    const double mean = ad_value(ad_mean(gap, AD_ALL_AXES, false));
    CHECK_THAT(mean < before/2, "%g at temperature %g", mean, temperature);
    before = mean;
  }
  CHECK_FAILS(t, ad_random_gumbel_softmax(key, ad_scalar(t, 0), 1, true), AD_ERROR_SHAPE,
              "random_gumbel_softmax: the last axis");
  CHECK_FAILS(t, ad_random_gumbel_softmax(key, l, ad_zeros(t, AD_F64(2)), true), AD_ERROR_SHAPE,
              "the temperature is f64(2)");
  CHECK_FAILS(t, ad_random_gumbel_softmax(ad_scalar(t, 0), l, 1, true), AD_ERROR_DTYPE, "a key is i64");
  const ad_var of_integers = ad_random_gumbel_softmax(key, ad_zeros(t, AD_I32(2, 3)), 1, true);
  CHECK(ad_type_equal(ad_type_of(of_integers), AD_F64(2, 3)));
  ad_tape_free(t);
}

int main(void) {
  test_score_function();
  test_second_order();
  test_score_function_of_categories();
  test_reparameterisation();
  test_leave_one_out();
  test_straight_through();
  test_gumbel_softmax();
  test_gumbel_softmax_derivatives();
  test_temperature();
  return check_summary();
}
