/* test_fold_index.c -- what an index chooses from arrays of one number, or adds of them, in the bodies of
 * functions: against plain C, in every dtype; what stays because an index may be out of range, or because
 * sums are not exact; memory that runs out. */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "check.h"
#include "failing.h"
#include "function/count.h"

#include <math.h>
#include <string.h>

/* What a body is made of: ROWS x COLUMNS of dtype, by the places of the least of POINTS lines, or by a given
 * index. */
enum { ROWS = 3, COLUMNS = 4, POINTS = 5 };
typedef struct setting { ad_dtype dtype; double base, update; bool given; } setting;

static ad_var index_of(const ad_var in[], const setting *s) {
  return s->given ? in[1] : ad_argmin(in[0], 0, false);
}

static void body_of_take(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const int64_t dim[2] = { ROWS, COLUMNS };
  out[0] = ad_take(ad_full(t, ad_type_make(s->dtype, 2, dim), s->update), index_of(in, s), 0);
}

static void body_of_scatter(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const int64_t to[3] = { 2, ROWS, COLUMNS }, from[3] = { 2, POINTS, COLUMNS };
  out[0] = ad_scatter_add(ad_full(t, ad_type_make(s->dtype, 3, to), s->base), index_of(in, s),
                          ad_full(t, ad_type_make(s->dtype, 3, from), s->update), 1);
}

static ad_function *traced(ad_body *body, setting *s) {
  const ad_type in[2] = { AD_F64(ROWS, POINTS), AD_I64(POINTS) };
  return ad_function_trace("f", body, s, 2, in, 1);
}

static double element_of(ad_dtype dtype, const void *z, int64_t i) {
  switch (dtype) {
    case AD_BOOL: return ((const uint8_t *)z)[i];
    case AD_I32: return ((const int32_t *)z)[i];
    case AD_I64: return (double)((const int64_t *)z)[i];
    case AD_F32: return (double)((const float *)z)[i];
    default: return ((const double *)z)[i];
  }
}

static const double lines[ROWS*POINTS] = { 3, 1, 2, 9, 7,  1, 5, 2, 4, 6,  0, 5, 8, 4, 5 };
static const int64_t places[POINTS] = { 2, 0, 0, 1, 2 };
static const int64_t negative[POINTS] = { -1, 0, -3, 1, 2 };

static void check_take(setting s, bool folds) {
  ad_function *f = traced(body_of_take, &s);
  double z[POINTS*COLUMNS];
  bool good = true;
  CHECK_THAT(f && count_named(f, "take") == !folds, "dtype %d: take", (int)s.dtype);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ lines, negative }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < POINTS*COLUMNS; i++) good &= element_of(s.dtype, z, i) == s.update;
  CHECK_THAT(good, "dtype %d: values of take", (int)s.dtype);
  ad_function_free(f);
}

static void check_scatter(setting s, bool folds) {
  ad_function *f = traced(body_of_scatter, &s);
  double z[2*ROWS*COLUMNS];
  bool good = true;
  CHECK_THAT(f && count_named(f, "scatter_add") == 1, "dtype %d: scatter_add", (int)s.dtype);
  CHECK_THAT(f && count_named(f, "broadcast_to") == folds, "dtype %d: one slice is added", (int)s.dtype);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ lines, negative }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < 2*ROWS*COLUMNS; i++) {
    double want = s.base;
    for (int k = 0; k < POINTS; k++)
      if (places[k] == i/COLUMNS%ROWS) want = s.dtype == AD_BOOL ? 1 : want + s.update;
    good &= fabs(element_of(s.dtype, z, i) - want) <= 1e-15*fabs(want);
  }
  CHECK_THAT(good, "dtype %d: values of scatter_add", (int)s.dtype);
  ad_function_free(f);
}

static void test_one_number(void) {
  for (int dtype = 0; dtype < AD_DTYPES; dtype++)
    for (int given = 0; given < 2; given++) {
      check_take((setting){ (ad_dtype)dtype, 0, 1, given != 0 }, !given);
      check_scatter((setting){ (ad_dtype)dtype, 0, 1, given != 0 }, true);
    }
  check_take((setting){ AD_F64, 0, 2.5, true }, false);
  check_scatter((setting){ AD_F64, 0.5, 2, false }, false);
  check_scatter((setting){ AD_F64, 0, 0.1, false }, false);
  check_scatter((setting){ AD_F64, 1, 0x1p52, false }, false);
  check_scatter((setting){ AD_I32, 7, -3, true }, true);
}

/* Sums that are not exact have the bits of the arrays as they are: these are so long that they are made in
 * parts, of which one slice has none. */
enum { UPDATES = 1000, SUMS = 2, WIDE = 40 };

static ad_var sums_of(ad_var base, ad_var index, ad_var updates) {
  return ad_scatter_add(base, index, updates, 0);
}

static void body_of_sums(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const int64_t to[2] = { SUMS, WIDE }, from[2] = { UPDATES, WIDE };
  out[0] = sums_of(ad_full(t, ad_type_make(s->dtype, 2, to), s->base), in[0],
                   ad_full(t, ad_type_make(s->dtype, 2, from), s->update));
}

static ad_var array_of(ad_tape *t, ad_dtype dtype, int64_t rows, double v) {
  static double wide[UPDATES*WIDE];
  static float single[UPDATES*WIDE];
  const int64_t dim[2] = { rows, WIDE };
  for (int64_t i = 0; i < rows*WIDE; i++) wide[i] = v, single[i] = (float)v;
  const void *data = dtype == AD_F64 ? (const void *)wide : single;
  return ad_constant(t, ad_type_make(dtype, 2, dim), data);
}

static void check_bits_of(setting s) {
  const ad_type in = AD_I64(UPDATES);
  int64_t k[UPDATES];
  double got[SUMS*WIDE] = { 0 }, want[SUMS*WIDE] = { 0 };
  for (int i = 0; i < UPDATES; i++) k[i] = i%3 == 0;
  ad_function *f = ad_function_trace("sums", body_of_sums, &s, 1, &in, 1);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ k }, (void *[]){ got }, NULL), AD_OK);
  ad_function_free(f);
  ad_tape *t = ad_tape_new();
  const ad_var z = sums_of(array_of(t, s.dtype, SUMS, s.base), ad_constant(t, in, k),
                           array_of(t, s.dtype, UPDATES, s.update));
  CHECK_STATUS(ad_read(z, want), AD_OK);
  ad_tape_free(t);
  CHECK_THAT(!memcmp(got, want, sizeof got), "bits of sums of %a and %a, dtype %d", s.base, s.update,
             (int)s.dtype);
}

static void test_bits(void) {
  static const setting all[] = {
    { AD_F64, 3, 7, true }, { AD_F64, 0, 0.1, true }, { AD_F64, 0.5, 1, true }, { AD_F64, 0x1p53, 1, true },
    { AD_F64, -0x1p53, 1, true }, { AD_F64, 1, 0x1p50 + 1, true }, { AD_F32, 3, 7, true },
    { AD_F32, 0, 0x1p20 + 1, true }, { AD_F32, 0x1p24, 1, true }
  };
  for (size_t i = 0; i < sizeof all/sizeof *all; i++) check_bits_of(all[i]);
}

/* Places in an array that is longer than what is chosen from; in one that is as long. */
static void body_of_longer(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  out[0] = ad_take(ad_ones(t, AD_F64(ROWS - 1)), ad_argmin(in[0], 0, false), 0);
  out[1] = ad_take(ad_ones(t, AD_F64(ROWS)), ad_argmax(ad_transpose(in[0], NULL), 1, true), 0);
}

/* Of places, their squares. */
static void body_of_squares(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  out[0] = ad_take(ad_ones(t, AD_F64(ROWS)), ad_square(ad_argmin(in[0], 0, false)), 0);
}

static void test_errors_stay(void) {
  const ad_type in[1] = { AD_F64(ROWS, POINTS) };
  double z[POINTS], y[POINTS];
  ad_function *f = ad_function_trace("longer", body_of_longer, NULL, 1, in, 2);
  CHECK_THAT(f && count_named(f, "take") == 1, "%s", "one take stays");
  CHECK_STATUS(ad_function_call(f, (const void *[]){ lines }, (void *[]){ z, y }, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
  f = ad_function_trace("squares", body_of_squares, NULL, 1, in, 1);
  CHECK_THAT(f && count_named(f, "take") == 1, "%s", "a take by squares stays");
  CHECK_STATUS(ad_function_call(f, (const void *[]){ lines }, (void *[]){ z }, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
  setting s = { AD_F64, 0, 1, true };
  const int64_t far[POINTS] = { 0, 0, 0, 0, ROWS };
  f = traced(body_of_take, &s);
  double room[POINTS*COLUMNS];
  const void *const beyond[] = { lines, far };
  CHECK_STATUS(ad_function_call(f, beyond, (void *[]){ room }, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
  f = traced(body_of_scatter, &s);
  double sums[2*ROWS*COLUMNS];
  CHECK_STATUS(ad_function_call(f, beyond, (void *[]){ sums }, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
}

/* The Hessian of sum (c[k] - p)^2 times a vector of ones: twice the number of points of each row. */
static void body_of_counts(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y, gradient;
  const ad_var ones = ad_ones(t, ad_type_of(in[1]));
  (void)context;
  y = ad_sum(ad_square(ad_take(in[1], ad_argmin(in[0], 0, false), 0)), AD_ALL_AXES, false);
  ad_grad(y, 1, &in[1], &gradient);
  ad_jvp(1, &in[1], &ones, 1, &gradient, out);
}

static ad_function *counting(const ad_allocator *a) {
  const ad_type in[2] = { AD_F64(ROWS, POINTS), AD_F64(ROWS, COLUMNS) };
  return ad_function_trace_with(a, "counts", body_of_counts, NULL, 2, in, 1, NULL);
}

static void test_second_derivatives(void) {
  ad_function *f = counting(NULL);
  const double c[ROWS*COLUMNS] = { 1, 2, 3 };
  double z[ROWS*COLUMNS];
  bool good = true;
  CHECK_THAT(f && count_named(f, "take") == 0, "%s", "no take is left");
  CHECK_STATUS(ad_function_call(f, (const void *[]){ lines, c }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < ROWS*COLUMNS; i++) {
    int n = 0;
    for (int k = 0; k < POINTS; k++) n += places[k] == i/COLUMNS;
    good &= z[i] == 2*n;
  }
  CHECK_THAT(good, "%s", "twice the number of points");
  ad_function_free(f);
}

/* Constant indices in equal steps are slices; others, and those out of range, stay what they are. */
typedef struct steps { int64_t n, k[4]; bool wide, add, slices, good; } steps;

static void body_of_steps(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const steps *s = context;
  int32_t narrow[4];
  for (int i = 0; i < 4; i++) narrow[i] = s->k[i] < INT32_MIN ? INT32_MIN : (int32_t)s->k[i];
  const ad_var k = s->wide ? ad_constant(t, AD_I64(s->n), s->k) : ad_constant(t, AD_I32(s->n), narrow);
  out[0] = s->add ? ad_scatter_add(in[0], k, in[1], 1) : ad_take(in[0], k, 1);
}

static void check_steps(steps *s) {
  const ad_type types[2] = { AD_F64(2, 6, 3), AD_F64(2, s->n, 3) };
  double x[36], y[24], z[36] = { 0 }, want[36] = { 0 };
  bool good = true;
  for (int i = 0; i < 36; i++) x[i] = i + 1;
  for (int i = 0; i < 24; i++) y[i] = 100*(i + 1);
  ad_function *f = ad_function_trace("steps", body_of_steps, s, 2, types, 1);
  CHECK(f && f->body->status == AD_OK && (count_named(f, s->add ? "scatter_add" : "take") == 0) == s->slices);
  const ad_status status = ad_function_call(f, (const void *[]){ x, y }, (void *[]){ z }, NULL);
  CHECK_STATUS(status, s->good ? AD_OK : AD_ERROR_ARGUMENT);
  for (int i = 0; i < 36; i++) want[i] = s->add ? x[i] : 0;
  for (int64_t a = 0; a < 2 && s->good; a++)
    for (int64_t i = 0; i < s->n; i++)
      for (int64_t c = 0; c < 3; c++) {
        const int64_t row = s->k[i] < 0 ? s->k[i] + 6 : s->k[i];
        if (s->add) want[(a*6 + row)*3 + c] += y[(a*s->n + i)*3 + c];
        else want[(a*s->n + i)*3 + c] = x[(a*6 + row)*3 + c];
      }
  for (int64_t i = 0; i < (s->add ? 36 : 6*s->n) && s->good; i++) good &= z[i] == want[i];
  CHECK_THAT(good, "%d indices from %d, add %d", (int)s->n, (int)s->k[0], s->add);
  ad_function_free(f);
}

static void test_steps(void) {
  enum { KEPT = 0, SLICED = 1, WRONG = 2 };
  static const struct { int64_t n, k[4]; int what; } all[] = {
    { 1, { 5 }, SLICED }, { 4, { 1, 2, 3, 4 }, SLICED }, { 3, { 1, 3, 5 }, SLICED }, { 2, { 0, 5 }, SLICED },
    { 2, { 2, 2 }, KEPT }, { 3, { 3, 2, 1 }, KEPT }, { 3, { 0, 1, 3 }, KEPT }, { 2, { -2, -1 }, KEPT },
    { 3, { 4, 5, 6 }, WRONG }, { 3, { 1, 3, 6 }, WRONG }, { 1, { 6 }, WRONG }, { 1, { -7 }, WRONG },
    { 2, { 0, INT32_MAX }, WRONG }, { 3, { INT32_MIN, 0, INT32_MAX }, WRONG },
    { 2, { 1, INT64_MIN }, WRONG }
  };
  for (size_t i = 0; i < 4*sizeof all/sizeof *all; i++) {
    const int what = all[i/4].what;
    steps s = { all[i/4].n, { 0 }, i%2, i/2%2, what == SLICED, what != WRONG };
    memcpy(s.k, all[i/4].k, sizeof s.k);
    check_steps(&s);
  }
}

static bool count_with(const ad_allocator *a, void *context) {
  ad_function *f = counting(a);
  (void)context;
  ad_function_free(f);
  return f != NULL;
}

int main(void) {
  test_one_number();
  test_bits();
  test_errors_stay();
  test_second_derivatives();
  test_steps();
  CHECK(failing_calls(count_with, NULL, true) > 20);
  return check_summary();
}
