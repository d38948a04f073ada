/* test_samples.c -- the samplers as operations: distributions, independence, derivatives in their parameters,
 * maps and loops, dtypes, shapes, messages. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "statistics.h"

enum { N = 200000 };

/* --- distribution functions ----------------------------------------------------------------------------- */

static double normal_below(double x) { return 0.5*erfc(-x*sqrt(0.5)); }
static double F_uniform(double x) { return (x + 1)/4; }                       /* on [-1, 3) */
static double F_normal(double x) { return normal_below((x - 2)/0.5); }
static double F_exponential(double x) { return -expm1(-3*x); }
static double F_laplace(double x) { return x < 1 ? 0.5*exp((x - 1)/2) : 1 - 0.5*exp(-(x - 1)/2); }
static double F_gumbel(double x) { return exp(-exp(-(x + 1)/0.25)); }
static double F_middle(double x) {                                       /* normal (2, 0.5) within [1.5, 3] */
  return (F_normal(x) - F_normal(1.5))/(F_normal(3) - F_normal(1.5));
}
static double F_tail(double x) {                                              /* standard normal beyond 6 */
  const double all = erfc(6*sqrt(0.5));
  return (all - erfc(x*sqrt(0.5)))/all;
}
static double F_left(double x) { return normal_below(x)/normal_below(0.5); }  /* standard normal below 0.5 */

/* Euler's constant, and zeta(3). */
#define GAMMA 0.57721566490153286061
#define ZETA_3 1.20205690315959428540
#define PI 3.14159265358979323846

static ad_var draw_uniform(ad_var key, ad_type t) { return ad_random_uniform(key, -1, 3.0, t); }
static ad_var draw_normal(ad_var key, ad_type t) { return ad_random_normal(key, 2, 0.5, t); }
static ad_var draw_exponential(ad_var key, ad_type t) { return ad_random_exponential(key, 3, t); }
static ad_var draw_laplace(ad_var key, ad_type t) { return ad_random_laplace(key, 1, 2.0, t); }
static ad_var draw_gumbel(ad_var key, ad_type t) { return ad_random_gumbel(key, -1, 0.25, t); }
static ad_var draw_middle(ad_var key, ad_type t) {
  return ad_random_truncated_normal(key, 2, 0.5, 1.5, 3, t);
}
static ad_var draw_tail(ad_var key, ad_type t) {
  return ad_random_truncated_normal(key, 0, 1, 6, INFINITY, t);
}
static ad_var draw_left(ad_var key, ad_type t) {
  return ad_random_truncated_normal(key, 0, 1, -INFINITY, 0.5, t);
}

/* moment[k - 1]: the mean of (x - mean)^k; nan: not compared. */
typedef struct sampler {
  const char *name;
  ad_var (*draw)(ad_var key, ad_type t);
  double (*F)(double x);
  double mean, moment[4];
} sampler;

static const sampler samplers[] = {
  { "uniform", draw_uniform, F_uniform, 1, { 0, 16.0/12, 0, 256.0/80 } },
  { "normal", draw_normal, F_normal, 2, { 0, 0.25, 0, 3*0.0625 } },
  { "exponential", draw_exponential, F_exponential, 1.0/3, { 0, 1.0/9, 2.0/27, 9.0/81 } },
  { "laplace", draw_laplace, F_laplace, 1, { 0, 8, 0, 24*16 } },
  { "gumbel", draw_gumbel, F_gumbel, -1 + GAMMA/4,
    { 0, PI*PI/6/16, 2*ZETA_3/64, (PI*PI*PI*PI*3/20)/256 } },
  { "truncated", draw_middle, F_middle, 0, { NAN, NAN, NAN, NAN } },
  { "tail", draw_tail, F_tail, 0, { NAN, NAN, NAN, NAN } },
  { "left", draw_left, F_left, 0, { NAN, NAN, NAN, NAN } } };
enum { SAMPLERS = sizeof samplers/sizeof *samplers };

/* Pairs of numbers in [0, 1], a[i*step] and b[i*step], in 16 x 16 cells: as a score. */
static double pairs_score(int64_t n, const double *a, const double *b, int step) {
  int64_t count[256] = { 0 };
  double expected[256];
  for (int i = 0; i < 256; i++) expected[i] = (double)n/256;
  for (int64_t i = 0; i < n; i++)
    count[(int)fmin(a[i*step]*16, 15)*16 + (int)fmin(b[i*step]*16, 15)]++;
  return chi_square_score(256, count, expected);
}

/* Neighbours are independent, those of one block of the generator (0, 1), (2, 3), .. and others (1, 2), .. */
static void check_neighbours(const sampler *p, const double *x, ad_dtype dtype) {
  double *u = malloc(N*sizeof *u);
  if (!u) abort();
  for (int i = 0; i < N; i++) u[i] = p->F(x[i]);
  for (int first = 0; first < 2; first++) {
    const double score = pairs_score(N/2 - 1, u + first, u + first + 1, 2);
    CHECK_THAT(fabs(score) < 5, "%s %s: pairs from %d on, score %g", p->name, ad_dtype_name(dtype), first,
               score);
  }
  free(u);
}

/* Kolmogorov-Smirnov, four moments, and neighbours. */
static void test_distributions(void) {
  for (int s = 0; s < SAMPLERS; s++)
    for (int d = AD_F32; d <= AD_F64; d++) {
      const sampler *p = &samplers[s];
      const int64_t dim[2] = { 10, N/10 };
      ad_tape *t = ad_tape_new();
      double *x = doubles_of(p->draw(ad_key(t, (uint64_t)(77 + s)), ad_type_make((ad_dtype)d, 2, dim)));
      for (int k = 1; k <= 4 && !isnan(p->moment[k - 1]); k++) {
        const double score = moment_score(N, x, p->mean, k, p->moment[k - 1]);
        CHECK_THAT(fabs(score) < 5, "%s %s: moment %d is %g errors off", p->name, ad_dtype_name((ad_dtype)d),
                   k, score);
      }
      check_neighbours(p, x, (ad_dtype)d);
      const double distance = ks_distance(N, x, p->F);
      CHECK_THAT(distance < KS_LIMIT_1000/1000.0, "%s %s: distance %g", p->name, ad_dtype_name((ad_dtype)d),
                 distance);
      free(x);
      ad_tape_free(t);
    }
}

/* Beyond 4 deviations: 63.3 of a million are expected, and their squares are distributed as the tail says. */
static void test_normal_tails(void) {
  enum { MILLION = 1000000 };
  for (int d = AD_F32; d <= AD_F64; d++) {
    ad_tape *t = ad_tape_new();
    const ad_type type = ad_type_make((ad_dtype)d, 1, &(int64_t){ MILLION });
    double *x = doubles_of(ad_random_normal(ad_key(t, 5), 0, 1, type));
    int beyond_3 = 0, beyond_4 = 0;
    for (int i = 0; i < MILLION; i++) beyond_3 += fabs(x[i]) > 3, beyond_4 += fabs(x[i]) > 4;
    const double want_3 = MILLION*erfc(3*sqrt(0.5)), want_4 = MILLION*erfc(4*sqrt(0.5));
    CHECK_THAT(fabs(beyond_3 - want_3) < 5*sqrt(want_3), "%d beyond 3, not %g", beyond_3, want_3);
    CHECK_THAT(fabs(beyond_4 - want_4) < 5*sqrt(want_4), "%d beyond 4, not %g", beyond_4, want_4);
    free(x);
    ad_tape_free(t);
  }
}

static void test_discrete(void) {
  static const double p[3] = { 0.3, 1e-4, 0.999 };
  ad_tape *t = ad_tape_new();
  const ad_var keys = ad_key_split(ad_key(t, 11), 8);
  for (int i = 0; i < 3; i++) {
    const ad_var key = ad_at(keys, 1, &(int64_t){ i });
    const ad_var hits = ad_random_bernoulli(key, p[i], AD_F32(N));
    const double sum = ad_value(ad_sum(ad_cast(hits, AD_F64), AD_ALL_AXES, false)), want = N*p[i];
    CHECK_THAT(fabs(sum - want) < 5*sqrt(want*(1 - p[i])), "bernoulli %g: %g hits", p[i], sum);
    CHECK(same_bits(ad_cast(hits, AD_BOOL), ad_random_bernoulli(key, p[i], AD_BOOL(N))));
  }
  CHECK(ad_value(ad_any(ad_random_bernoulli(ad_key(t, 1), 0, AD_BOOL(N)), AD_ALL_AXES, false)) == 0);
  CHECK(ad_value(ad_all(ad_random_bernoulli(ad_key(t, 1), 1, AD_BOOL(N)), AD_ALL_AXES, false)) == 1);
  ad_tape_free(t);
}

static void count_values(ad_var x, int64_t low, int cells, int64_t count[]) {
  const int64_t n = ad_type_count(ad_type_of(x));
  double *v = doubles_of(x);
  for (int i = 0; i < cells; i++) count[i] = 0;
  for (int64_t i = 0; i < n; i++) {
    const int64_t k = (int64_t)v[i] - low;
    if (CHECK(k >= 0 && k < cells)) count[k]++;
  }
  free(v);
}

static void test_categorical_and_integers(void) {
  static const double logits[5] = { 0.5, -1, 2, -INFINITY, 0 };
  double expected[7], sum = 0;
  int64_t count[7];
  for (int i = 0; i < 5; i++) sum += exp(logits[i]);
  ad_tape *t = ad_tape_new();
  for (int d = AD_F32; d <= AD_F64; d++) {
    const ad_var l = ad_cast(ad_constant(t, AD_F64(5), logits), (ad_dtype)d);
    const ad_var k = ad_random_categorical(ad_key(t, 21), l, AD_I32(100, N/100));
    CHECK(ad_type_equal(ad_type_of(k), AD_I32(100, N/100)));
    count_values(k, 0, 5, count);
    CHECK(count[3] == 0);
    for (int i = 0; i < 5; i++) expected[i] = N*exp(logits[i])/sum;
    count[3] = count[4], expected[3] = expected[4];
    const double score = chi_square_score(4, count, expected);
    CHECK_THAT(score < 5, "categorical %s: score %g", ad_dtype_name((ad_dtype)d), score);
  }
  for (int d = AD_I32; d <= AD_I64; d++) {
    const ad_type type = ad_type_make((ad_dtype)d, 1, &(int64_t){ N });
    count_values(ad_random_integers(ad_key(t, 8), -3, 4, type), -3, 7, count);
    for (int i = 0; i < 7; i++) expected[i] = N/7.0;
    const double score = chi_square_score(7, count, expected);
    CHECK_THAT(score < 5, "integers: score %g", score);
  }
  ad_tape_free(t);
}

/* Each row a permutation; 24 orders of four equally often. Shuffle takes parts whole. */
static void test_permutations(void) {
  enum { KEYS = 48000, LONG = 5000 };
  ad_tape *t = ad_tape_new();
  double *p = doubles_of(ad_random_permutation(ad_key_split(ad_key(t, 4), KEYS), 4)), expected[24];
  int64_t count[256] = { 0 }, cell[24] = { 0 };
  int cells = 0;
  for (int i = 0; i < KEYS; i++) count[(int)(p[4*i]*64 + p[4*i + 1]*16 + p[4*i + 2]*4 + p[4*i + 3])]++;
  for (int i = 0; i < 256; i++)
    if (count[i] && cells < 24) cell[cells] = count[i], expected[cells++] = KEYS/24.0;
  CHECK(cells == 24);
  const double score = chi_square_score(24, cell, expected);
  CHECK_THAT(score < 5, "orders of four: score %g", score);
  free(p);
  const ad_var sorted = ad_sort(ad_random_permutation(ad_key(t, 6), LONG), 0, false);
  CHECK(same_bits(sorted, ad_arange(t, 0, LONG, 1, AD_I64)));
  const ad_var x = ad_reshape(ad_arange(t, 0, 60, 1, AD_F64), 2, (int64_t[]){ 20, 3 });
  const ad_var y = ad_random_shuffle(ad_key(t, 6), x, -2);
  CHECK(!same_bits(x, y) && same_bits(ad_sort(y, 0, false), x));
  ad_var g, z = ad_sum(ad_mul(y, ad_stop_gradient(y)), AD_ALL_AXES, false);
  CHECK_STATUS(ad_grad(z, 1, &x, &g), AD_OK);                       /* every part comes back to its place */
  CHECK(same_bits(g, x));
  ad_tape_free(t);
}

/* --- independence --------------------------------------------------------------------------------------- */

static double F_unit(double x) { return x; }

static void check_independent(ad_var x, ad_var y, const char *what) {
  double *a = doubles_of(x), *b = doubles_of(y);
  const double score = pairs_score(ad_type_count(ad_type_of(x)), a, b, 1);
  CHECK_THAT(fabs(score) < 5, "%s: score %g", what, score);
  free(a);
  free(b);
}

static ad_var unit(ad_var key) { return ad_random_uniform(key, 0, 1, AD_F64(N)); }

static void test_independence_of_keys(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 2024), children = ad_key_split(key, 2);
  const ad_var one = ad_at(children, 1, &(int64_t){ 0 }), two = ad_at(children, 1, &(int64_t){ 1 });
  check_independent(unit(one), unit(two), "two children");
  check_independent(unit(key), unit(one), "parent and child");
  check_independent(unit(ad_key(t, 1)), unit(ad_key(t, 2)), "seeds 1 and 2");
  check_independent(unit(ad_key_fold(key, 0)), unit(ad_key_fold(key, 1)), "folds 0 and 1");
  check_independent(unit(ad_key_fold(key, 0)), unit(one), "fold and child");
  const ad_var u = unit(key);
  check_independent(ad_slice(u, 0, 0, N - 1, 1), ad_slice(u, 0, 1, N - 1, 1), "neighbours");
  const ad_var e = ad_random_exponential(key, 1, AD_F64(N));
  check_independent(u, ad_sub(1, ad_exp(ad_neg(e))), "two distributions of one key");
  ad_tape_free(t);
}

/* The first number of each of many keys is as good a sample as many numbers of one key. */
static void test_one_number_of_many_keys(void) {
  ad_tape *t = ad_tape_new();
  const ad_var count = ad_arange(t, 0, N, 1, AD_I64), key = ad_key(t, 3);
  const ad_var keys[3] = { ad_key_split(key, N), ad_key_fold(key, count), count };
  for (int i = 0; i < 3; i++) {
    const ad_var first = ad_random_uniform(keys[i], 0, 1, AD_F64(N));
    check_independent(ad_slice(first, 0, 0, N - 1, 1), ad_slice(first, 0, 1, N - 1, 1), "neighbouring keys");
    double *x = doubles_of(first);
    const double distance = ks_distance(N, x, F_unit);
    CHECK_THAT(distance < KS_LIMIT_1000/1000.0, "keys of kind %d: distance %g", i, distance);
    free(x);
  }
  ad_tape_free(t);
}

/* --- keys ----------------------------------------------------------------------------------------------- */

static void test_keys(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 0xFFFFFFFFFFFFFFFFu), grid = ad_key_split(ad_key_split(key, 3), 4);
  CHECK(ad_type_equal(ad_type_of(key), AD_I64()) && ad_type_equal(ad_type_of(grid), AD_I64(3, 4)));
  const ad_var row = ad_at(ad_key_split(key, 3), 1, &(int64_t){ 2 });
  CHECK(same_bits(ad_at(grid, 1, &(int64_t){ 2 }), ad_key_split(row, 4)));
  CHECK(same_bits(ad_slice(ad_key_split(key, 9), 0, 0, 4, 1), ad_key_split(key, 4)));
  CHECK(ad_type_equal(ad_type_of(ad_key_split(key, 0)), AD_I64(0)));
  int64_t number;
  CHECK_STATUS(ad_read(ad_key_fold(key, 5), &number), AD_OK);
  CHECK((uint64_t)number == ad_seed_fold(0xFFFFFFFFFFFFFFFFu, 5));
  const ad_var column = ad_reshape(ad_key_split(key, 3), 2, (int64_t[]){ 3, 1 });
  const ad_var folded = ad_key_fold(column, ad_arange(t, 0, 4, 1, AD_I32));
  CHECK(ad_type_equal(ad_type_of(folded), AD_I64(3, 4)));
  const ad_var second = ad_at(column, 2, (int64_t[]){ 1, 0 });
  CHECK(same_bits(ad_at(folded, 2, (int64_t[]){ 1, 3 }), ad_key_fold(second, 3)));
  /* an array of keys makes what each of them makes */
  const ad_var all = ad_random_normal(grid, 0, 1, AD_F32(3, 4, 5));
  const ad_var part = ad_random_normal(ad_at(grid, 2, (int64_t[]){ 2, 1 }), 0, 1, AD_F32(5));
  CHECK(same_bits(ad_at(all, 2, (int64_t[]){ 2, 1 }), part));
  CHECK_STATUS(ad_tape_status(t), AD_OK);
  ad_tape_free(t);
}

/* Setting a key makes its numbers, which are those of the call without a tape. */
static void test_another_key(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 16), x = ad_random_normal(key, 0, 1, AD_F64(7));
  double filled[7], got[7];
  for (int64_t seed = 16; seed < 18; seed++) {
    CHECK_STATUS(ad_set(key, &seed), AD_OK);
    CHECK_STATUS(ad_random_fill_normal((uint64_t)seed, AD_F64, 7, filled), AD_OK);
    CHECK(ad_read(x, got) == AD_OK && memcmp(got, filled, sizeof got) == 0);
  }
  ad_tape_free(t);
}

static void test_bits_and_shapes(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 12);
  uint64_t words[4], block[4];
  uint32_t halves[8];
  CHECK_STATUS(ad_read(ad_random_bits(key, AD_I64(4)), words), AD_OK);
  CHECK_STATUS(ad_random_fill_bits(12, 4, block), AD_OK);
  CHECK(memcmp(words, block, sizeof words) == 0);
  CHECK_STATUS(ad_read(ad_random_bits(key, AD_I32(2, 4)), halves), AD_OK);
  for (int i = 0; i < 8; i++) CHECK(halves[i] == (uint32_t)(words[i/2] >> 32*(i%2)));
  for (int s = 0; s < SAMPLERS; s++)
    for (int d = AD_F32; d <= AD_F64; d++) {
      const ad_var scalar = samplers[s].draw(key, ad_type_make((ad_dtype)d, 0, NULL));
      const ad_var first = samplers[s].draw(key, ad_type_make((ad_dtype)d, 1, &(int64_t){ 3 }));
      const ad_var none = samplers[s].draw(key, ad_type_make((ad_dtype)d, 3, (int64_t[]){ 2, 0, 3 }));
      CHECK(same_bits(scalar, ad_at(first, 1, &(int64_t){ 0 })));
      CHECK(ad_type_equal(ad_type_of(none), ad_type_make((ad_dtype)d, 3, (int64_t[]){ 2, 0, 3 })));
      CHECK_NUMBER(ad_value(ad_sum(none, AD_ALL_AXES, false)), 0, 0);
    }
  CHECK(ad_type_equal(ad_type_of(ad_random_permutation(key, 0)), AD_I64(0)));
  CHECK(isfinite(ad_value(ad_random_categorical(key, ad_zeros(t, AD_F64(4)), AD_I64()))));
  CHECK_STATUS(ad_tape_status(t), AD_OK);
  ad_tape_free(t);
}

/* --- derivatives in the parameters ---------------------------------------------------------------------- */

/* With z = p + q e and the like, dz/dp and dz/dq follow from z, p, q alone. a, b: the parameters. */
static void test_derivatives_of_location_and_scale(void) {
  enum { M = 64 };
  for (int d = AD_F32; d <= AD_F64; d++) {
    const double tolerance = d == AD_F32 ? 2e-6 : 1e-14;
    ad_tape *t = ad_tape_new();
    const ad_var key = ad_key(t, 31);
    const ad_var x[2] = { ad_cast(ad_scalar(t, 0.7), (ad_dtype)d), ad_cast(ad_scalar(t, 1.6), (ad_dtype)d) };
    const double a = ad_value(x[0]), b = ad_value(x[1]);
    const ad_type type = ad_type_make((ad_dtype)d, 1, &(int64_t){ M });
    const ad_var z[5] = { ad_random_uniform(key, x[0], x[1], type), ad_random_normal(key, x[0], x[1], type),
                          ad_random_laplace(key, x[0], x[1], type), ad_random_gumbel(key, x[0], x[1], type),
                          ad_random_exponential(key, x[1], type) };
    for (int k = 0; k < 5; k++)
      for (int p = 0; p < 2; p++) {
        ad_var dot, one = ad_cast(ad_scalar(t, 1), (ad_dtype)d);
        CHECK_STATUS(ad_jvp(1, &x[p], &one, 1, &z[k], &dot), AD_OK);
        double *v = doubles_of(z[k]), *got = doubles_of(dot);
        for (int i = 0; i < M; i++) {
          const double e = k == 0 ? (v[i] - a)/(b - a) : (v[i] - a)/b;
          const double want = k == 4 ? (p ? -v[i]/b : 0) : k == 0 ? (p ? e : 1 - e) : p ? e : 1;
          CHECK_NUMBER(got[i], want, tolerance);
        }
        free(v);
        free(got);
      }
    ad_tape_free(t);
  }
}

static void truncated_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_random_truncated_normal(in[0], in[1], in[2], in[3], in[4], AD_F64(40));
}
static void half_infinite_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var z = ad_random_truncated_normal(in[0], in[1], in[2], in[3], INFINITY, AD_F64(40));
  out[0] = ad_sum(ad_sin(z), AD_ALL_AXES, false);
}

/* Against differences, and second derivatives through an infinite end. */
static void test_derivatives_of_truncated_normal(void) {
  static const double cases[4][4] = {
    { 0, 1, -1, 2 }, { 0, 2, 4, 9 }, { 1, 0.5, -3, 0.5 }, { -1, 1, 0.5, 0.8 } };
  const ad_type in[5] = { AD_I64(), AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("truncated", truncated_body, NULL, 5, in, 1);
  ad_function *h = ad_function_trace("half", half_infinite_body, NULL, 4, in, 1);
  ad_function *g = ad_function_gradient(h, 0, NULL);
  const int64_t key = 9;
  ad_check_result r;
  for (int c = 0; c < 4; c++) {
    const double *p = cases[c];
    const void *const x[5] = { &key, p, p + 1, p + 2, p + 3 };
    CHECK_STATUS(ad_check(f, x, &r), AD_OK);
    CHECK_THAT(r.error < 1e-8 && r.transpose_error < 1e-12, "case %d: %g %g", c, r.error, r.transpose_error);
    if (CHECK(g != NULL)) CHECK_STATUS(ad_check(g, x, &r), AD_OK);
    CHECK_THAT(r.error < 1e-7 && r.transpose_error < 1e-10, "half, case %d: %g %g", c, r.error,
               r.transpose_error);
  }
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(h);
}

/* exp(m + t + s e) = z (1 + t + t^2/2 + ..), and the numeric sweep. */
static void test_other_modes(void) {
  ad_tape *t = ad_tape_new();
  const ad_var m = ad_scalar(t, 0.2), s = ad_scalar(t, 0.5), xc[2] = { ad_scalar(t, 1), ad_none() };
  const ad_var z = ad_exp(ad_random_normal(ad_key(t, 4), m, s, AD_F64(6)));
  ad_var zc[3];
  CHECK_STATUS(ad_taylor(2, 1, &m, xc, 1, &z, zc), AD_OK);
  double *v = doubles_of(z), *first = doubles_of(zc[1]), *second = doubles_of(zc[2]), sum = 0, by_s = 0;
  for (int i = 0; i < 6; i++) {
    CHECK_NUMBER(first[i], v[i], 1e-15);
    CHECK_NUMBER(second[i], v[i]/2, 1e-15);
    sum += v[i], by_s += v[i]*(log(v[i]) - 0.2)/0.5;
  }
  CHECK_STATUS(ad_backward(z), AD_OK);
  CHECK_NUMBER(ad_adjoint(m), sum, 1e-14);
  CHECK_NUMBER(ad_adjoint(s), by_s, 1e-14);
  free(v), free(first), free(second);
  ad_tape_free(t);
}

/* --- functions, maps, loops ----------------------------------------------------------------------------- */

static void draw_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var keys = ad_key_split(in[0], 3);
  const ad_var x = ad_random_normal(ad_at(keys, 1, &(int64_t){ 0 }), in[1], 2, AD_F64(5));
  const ad_var k = ad_random_categorical(ad_at(keys, 1, &(int64_t){ 1 }), x, AD_I64(2));
  const ad_var s = ad_random_laplace(ad_key_fold(ad_at(keys, 1, &(int64_t){ 2 }), k), in[1], 1, AD_F64(2));
  out[0] = ad_add(ad_sum(x, AD_ALL_AXES, false), ad_sum(s, AD_ALL_AXES, false));
  const ad_var more[5] = {
    ad_random_shuffle(in[0], x, 0), ad_random_truncated_normal(in[0], in[1], 1, -1, x, AD_F64(5)),
    ad_random_bernoulli(in[0], ad_sigmoid(x), AD_F64(5)), ad_random_gumbel_softmax(in[0], x, 0.5, true),
    ad_random_uniform(ad_key_split(in[0], 5), x, ad_add(x, 1), AD_F64(5)) };
  out[1] = ad_concat(5, more, 0);
}

static void test_map(void) {
  enum { INSTANCES = 300 };
  const ad_type in[2] = { AD_I64(), AD_F64() };
  ad_function *f = ad_function_trace("draw", draw_body, NULL, 2, in, 2);
  ad_tape *t = ad_tape_new();
  const ad_var x[2] = { ad_key_split(ad_key(t, 1), INSTANCES), ad_scalar(t, 0.3) };
  ad_var z[2], one[2], g, dot, seven = ad_scalar(t, 1);
  CHECK_STATUS(ad_map(f, x, z), AD_OK);
  for (int64_t i = 0; i < INSTANCES; i += 7) {
    const ad_var at[2] = { ad_at(x[0], 1, &i), x[1] };
    CHECK_STATUS(ad_function_apply(f, at, one), AD_OK);
    for (int k = 0; k < 2; k++) CHECK(same_bits(one[k], ad_at(z[k], 1, &i)));
  }
  CHECK_STATUS(ad_grad(ad_sum(z[0], AD_ALL_AXES, false), 1, &x[1], &g), AD_OK);
  CHECK_NUMBER(ad_value(g), 7.0*INSTANCES, 1e-14);
  CHECK_STATUS(ad_jvp(1, &x[1], &seven, 1, &z[0], &dot), AD_OK);
  CHECK_NUMBER(ad_value(ad_mean(dot, AD_ALL_AXES, false)), 7, 1e-14);
  ad_function_free(f);
  ad_tape_free(t);
}

/* (key, x, scale) -> (next key, x + scale e): a random walk that carries its key. */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var keys = ad_key_split(in[0], 2);
  out[0] = ad_at(keys, 1, &(int64_t){ 0 });
  out[1] = ad_random_normal(ad_at(keys, 1, &(int64_t){ 1 }), in[1], in[2], AD_F64(4));
}

static void test_scan(void) {
  enum { STEPS = 50 };
  const ad_type in[3] = { AD_I64(), AD_F64(4), AD_F64() };
  const ad_loop loop = { .keep = AD_KEEP_BINOMIAL, .k = 3, .steps = STEPS };
  ad_function *f = ad_function_trace("step", step_body, NULL, 3, in, 2);
  ad_tape *t = ad_tape_new();
  const ad_var x[3] = { ad_key(t, 5), ad_zeros(t, AD_F64(4)), ad_scalar(t, 0.25) };
  ad_var z[2], by_hand[3] = { x[0], x[1], x[2] }, next[2], g;
  CHECK_STATUS(ad_fold(f, 2, &loop, x, z), AD_OK);
  for (int i = 0; i < STEPS; i++) {
    CHECK_STATUS(ad_function_apply(f, by_hand, next), AD_OK);
    by_hand[0] = next[0], by_hand[1] = next[1];
  }
  CHECK(same_bits(z[0], by_hand[0]) && same_bits(z[1], by_hand[1]));
  const ad_var sum = ad_sum(z[1], AD_ALL_AXES, false);
  CHECK_STATUS(ad_grad(sum, 1, &x[2], &g), AD_OK);
  CHECK_NUMBER(ad_value(g), ad_value(sum)/0.25, 1e-12);             /* the walk is linear in its scale */
  ad_function_free(f);
  ad_tape_free(t);
}

/* A key as an input of a function: other numbers for other keys, the same ones for the same key. */
static void test_key_as_input(void) {
  const ad_type in[2] = { AD_I64(), AD_F64() };
  ad_function *f = ad_function_trace("draw", draw_body, NULL, 2, in, 2);
  double mean = 1, z[3], y[25];
  for (int i = 0; i < 3; i++) {
    const int64_t key = i == 1 ? 8 : 7;
    CHECK_STATUS(ad_function_call(f, (const void *[]){ &key, &mean }, (void *[]){ &z[i], y }, NULL), AD_OK);
  }
  CHECK(z[0] == z[2] && z[0] != z[1]);
  ad_function_free(f);
}

/* --- messages ------------------------------------------------------------------------------------------- */

static void test_bad_input(void) {
  ad_tape *t = ad_tape_new();
  const ad_var key = ad_key(t, 1), x = ad_scalar(t, 1), three = ad_zeros(t, AD_F64(3));
  const ad_var keys = ad_key_split(key, 3);
  CHECK_FAILS(t, ad_random_normal(x, 0, 1, AD_F64(2)), AD_ERROR_DTYPE,
              "random_normal: a key is i64, not f64()");
  CHECK_FAILS(t, ad_random_normal(key, 0, 1, AD_I64(2)), AD_ERROR_DTYPE,
              "random_normal: samples are f32 or f64, not i64(2)");
  CHECK_FAILS(t, ad_random_normal(key, three, 1, AD_F64(2)), AD_ERROR_SHAPE,
              "random_normal: the mean is f64(3), which does not broadcast to f64(2)");
  CHECK_FAILS(t, ad_random_laplace(key, 0, three, AD_F64()), AD_ERROR_SHAPE,
              "random_laplace: the scale is f64(3)");
  CHECK_FAILS(t, ad_random_uniform(keys, 0, 1, AD_F32(2, 3)), AD_ERROR_SHAPE,
              "random_uniform: the keys are i64(3), which is not how f32(2,3) begins");
  CHECK_FAILS(t, ad_random_uniform(key, 0, 1, AD_F32(-1)), AD_ERROR_SIZE, "random_uniform");
  CHECK_FAILS(t, ad_random_bits(key, AD_F32(3)), AD_ERROR_DTYPE,
              "random_bits: bits are i32 or i64, not f32(3)");
  CHECK_FAILS(t, ad_random_exponential(key, three, AD_F64(4)), AD_ERROR_SHAPE, "the rate is f64(3)");
  CHECK_FAILS(t, ad_random_truncated_normal(key, 0, 1, three, 1, AD_F64(4)), AD_ERROR_SHAPE, "low is f64(3)");
  CHECK_FAILS(t, ad_random_bernoulli(key, three, AD_BOOL(4)), AD_ERROR_SHAPE, "the probability is f64(3)");
  CHECK_FAILS(t, ad_random_integers(key, 3, 3, AD_I64(4)), AD_ERROR_ARGUMENT, "random_integers");
  CHECK_FAILS(t, ad_random_integers(key, INT64_MIN, INT64_MAX, AD_I64(4)), AD_ERROR_ARGUMENT, "2^53");
  CHECK_FAILS(t, ad_random_integers(key, 0, 1LL << 40, AD_I32(4)), AD_ERROR_ARGUMENT, "do not fit into i32");
  CHECK_FAILS(t, ad_random_integers(key, 0, 4, AD_F32(4)), AD_ERROR_DTYPE,
              "random_integers: i32 or i64, not f32(4)");
  CHECK_FAILS(t, ad_random_categorical(key, x, AD_I64(4)), AD_ERROR_SHAPE, "no axis of categories");
  CHECK_FAILS(t, ad_random_categorical(key, three, AD_F64(4)), AD_ERROR_DTYPE, "indices are i32 or i64");
  CHECK_FAILS(t, ad_random_categorical(key, ad_zeros(t, AD_F64(2, 3)), AD_I64(4)), AD_ERROR_SHAPE,
              "logits is f64(2,3)");
  CHECK_FAILS(t, ad_random_permutation(key, -1), AD_ERROR_ARGUMENT, "random_permutation: of -1 numbers");
  CHECK_FAILS(t, ad_random_permutation(x, 4), AD_ERROR_DTYPE, "a key is i64");
  CHECK_FAILS(t, ad_random_shuffle(key, three, 1), AD_ERROR_ARGUMENT,
              "random_shuffle: axis 1 is not in f64(3)");
  CHECK_FAILS(t, ad_random_shuffle(keys, three, 0), AD_ERROR_SHAPE, "one key");
  CHECK_FAILS(t, ad_key_split(x, 2), AD_ERROR_DTYPE, "key_split: a key is i64, not f64()");
  CHECK_FAILS(t, ad_key_split(key, -2), AD_ERROR_ARGUMENT, "key_split: -2 keys");
  CHECK_FAILS(t, ad_key_fold(key, 1.5), AD_ERROR_DTYPE, "key_fold: a counter is i32 or i64");
  CHECK_FAILS(t, ad_key_fold(x, 1), AD_ERROR_DTYPE, "key_fold: a key is i64");
  CHECK_FAILS(t, ad_key_fold(keys, ad_arange(t, 0, 2, 1, AD_I64)), AD_ERROR_SHAPE, "do not broadcast");
  CHECK(!ad_is_valid(ad_random_normal(ad_none(), 0, 1, AD_F64(2))));
  CHECK(!ad_is_valid(ad_random_normal(key, ad_none(), 1, AD_F64(2))));
  ad_tape_clear(t);
  ad_tape_free(t);
}

int main(void) {
  test_distributions();
  test_normal_tails();
  test_discrete();
  test_categorical_and_integers();
  test_permutations();
  test_independence_of_keys();
  test_one_number_of_many_keys();
  test_keys();
  test_another_key();
  test_bits_and_shapes();
  test_derivatives_of_location_and_scale();
  test_derivatives_of_truncated_normal();
  test_other_modes();
  test_map();
  test_scan();
  test_key_as_input();
  test_bad_input();
  return check_summary();
}
