/* test_jacobian_sweeps.c -- Jacobians and Hessians of array code, whose sweeps are done at once, against
 * closed forms and against directions one by one; what is not connected stays exactly 0 there too. */
#include "check.h"
#include "heap.h"

#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"

enum { ROWS = 6, COLUMNS = 8, COUNT = ROWS*COLUMNS };

/* --- forwards, backwards, matrices ---------------------------------------------------------------------- */

/* (x (6,8), v (8)) -> x sin v (6), sum of squares of x v */
static void product_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_matmul(in[0], ad_sin(in[1]));
  out[1] = ad_square(ad_mul(in[0], in[1]));
}

static void fill(double x[ROWS][COLUMNS], double v[COLUMNS]) {
  for (int i = 0; i < ROWS; i++)
    for (int k = 0; k < COLUMNS; k++) x[i][k] = cos(i + 0.3*k);
  for (int k = 0; k < COLUMNS; k++) v[k] = 0.2*k - 0.7;
}

static void test_jacobian(void) {
  static double x[ROWS][COLUMNS], v[COLUMNS], yx[ROWS][ROWS][COLUMNS], yv[ROWS][COLUMNS], zx[COUNT][COUNT],
      zv[COUNT][COLUMNS];
  const ad_type in[2] = { AD_F64(ROWS, COLUMNS), AD_F64(COLUMNS) };
  ad_function *f = ad_function_trace("product", product_body, NULL, 2, in, 2);
  ad_function *j = ad_function_jacobian(f, 0, NULL);
  void *const out[4] = { yx, yv, zx, zv };
  fill(x, v);
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, v }, out, NULL), AD_OK);
  CHECK_THAT(ad_function_size(j) < 200, "%zu operations", ad_function_size(j));
  for (int i = 0; i < ROWS; i++)
    for (int k = 0; k < COLUMNS; k++) {
      for (int r = 0; r < ROWS; r++) CHECK_NUMBER(yx[r][i][k], r == i ? sin(v[k]) : 0, 1e-15);
      CHECK_NUMBER(yv[i][k], x[i][k]*cos(v[k]), 1e-15);
      const int e = i*COLUMNS + k;
      for (int d = 0; d < COUNT; d++) CHECK_NUMBER(zx[e][d], d == e ? 2*x[i][k]*v[k]*v[k] : 0, 1e-15);
      for (int d = 0; d < COLUMNS; d++) CHECK_NUMBER(zv[e][d], d == k ? 2*x[i][k]*x[i][k]*v[k] : 0, 1e-15);
    }
  ad_function_free(j);
  ad_function_free(f);
}

/* x (100) -> 40 running sums of x^2: by rows. */
static void wide_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_cumsum(ad_square(ad_slice(in[0], 0, 0, 40, 1)), 0);
}

static void test_rows(void) {
  enum { N = 100, M = 40 };
  static float x[N], jacobian[M][N];
  const ad_type in = AD_F32(N);
  ad_function *f = ad_function_trace("wide", wide_body, NULL, 1, &in, 1);
  ad_function *j = ad_function_jacobian(f, 0, NULL);
  for (int i = 0; i < N; i++) x[i] = (float)(i%7 - 3);
  void *const out[1] = { jacobian };
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ x }, out, NULL), AD_OK);
  for (int r = 0; r < M; r++)
    for (int i = 0; i < N; i++) CHECK_NUMBER((double)jacobian[r][i], i <= r ? 2*(double)x[i] : 0, 0);
  ad_function_free(j);
  ad_function_free(f);
}

/* --- what is not connected ------------------------------------------------------------------------------ */

/* sqrt(x) y: where x is 0 the slope is infinite, and 0 for all other elements. */
static void root_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_sqrt(in[0]), in[1]);
}

static void test_not_connected(void) {
  static double x[COUNT], y[COUNT], by_x[COUNT][COUNT], by_y[COUNT][COUNT];
  const ad_type in[2] = { AD_F64(COUNT), AD_F64(COUNT) };
  ad_function *f = ad_function_trace("root", root_body, NULL, 2, in, 1);
  ad_function *j = ad_function_jacobian(f, 0, NULL);
  void *const out[2] = { by_x, by_y };
  for (int i = 0; i < COUNT; i++) x[i] = i%5, y[i] = i + 1;
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, y }, out, NULL), AD_OK);
  for (int i = 0; i < COUNT; i++)
    for (int k = 0; k < COUNT; k++) {
      CHECK_NUMBER(by_x[i][k], i == k ? y[i]*0.5/sqrt(x[i]) : 0, 1e-15);
      CHECK_NUMBER(by_y[i][k], i == k ? sqrt(x[i]) : 0, 1e-15);
    }
  ad_function_free(j);
  ad_function_free(f);
}

/* --- some columns, against directions one by one -------------------------------------------------------- */

enum { FEW = 5, MANY = 30 };

/* s -> s sin s + x for each of the rows x of (4,5) */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[0], ad_sin(in[0])), in[1]);
}

/* x (5), c (4,5) -> products on either side, chosen and sorted elements, sums, a loop, an inner product. */
static void varied_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t places[MANY] = { 3, 1, 4, 1, 0, 2, 2, 4 }, five[2] = { FEW, 1 };
  const ad_var chosen = ad_take(in[0], ad_constant(t, AD_I64(MANY), places), 0);
  const ad_var box = ad_reshape(ad_mul(chosen, ad_cos(chosen)), 3, (const int64_t[]){ 2, 3, FEW });
  const ad_var left = ad_matmul(in[1], ad_reshape(ad_exp(in[0]), 2, five));
  const ad_var right = ad_matmul(box, ad_transpose(in[1], NULL));
  const ad_var looped[2] = { ad_sin(in[0]), in[1] };
  ad_scan(context, 1, NULL, looped, &out[0]);
  out[1] = ad_sum(ad_mul(right, ad_reshape(left, 1, (const int64_t[]){ 4 })), AD_AXES(1), false);
  out[2] = ad_cumsum(ad_concat(2, (const ad_var[]){ ad_sort(chosen, 0, true), in[0] }, 0), 0);
  out[3] = ad_dot(ad_square(chosen), chosen);
  out[4] = ad_outer(ad_sqrt(ad_relu(in[0])), ad_slice(chosen, 0, 1, 7, 4));
}

enum { OUTPUTS = 5 };

static ad_function *varied(ad_dtype dtype, const ad_allocator *allocator) {
  ad_type step[2] = { AD_F64(FEW), AD_F64(FEW) }, in[2] = { AD_F64(FEW), AD_F64(4, FEW) };
  for (int i = 0; i < 2; i++) step[i].dtype = in[i].dtype = dtype;
  ad_function *loop = ad_function_trace_with(allocator, "step", step_body, NULL, 2, step, 1, NULL);
  ad_function *f = loop ? ad_function_trace_with(allocator, "varied", varied_body, loop, 2, in, OUTPUTS, NULL)
                        : NULL;
  ad_function_free(loop);
  return f;
}

/* Column e of the Jacobian by x of output j against the tangent along unit vector e. */
static void check_columns(ad_function *f, ad_dtype dtype, const double values[FEW], double tolerance) {
  ad_function *j = ad_function_jacobian(f, 1, (const int[]){ 0 }), *d = ad_function_jvp(f);
  double x[FEW], c[4*FEW], xdot[FEW], cdot[4*FEW] = { 0 };
  static double whole[OUTPUTS][1000], part[OUTPUTS][200];
  void *out[OUTPUTS], *dout[2*OUTPUTS] = { NULL };
  if (!CHECK(f && j && d)) return;
  CHECK_THAT(ad_function_size(j) < 120, "%zu operations", ad_function_size(j));
  for (int k = 0; k < 4*FEW; k++) check_set_element(dtype, c, k, cos(k));
  for (int k = 0; k < FEW; k++) check_set_element(dtype, x, k, values[k]);
  for (int k = 0; k < OUTPUTS; k++) out[k] = whole[k], dout[OUTPUTS + k] = part[k];
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, c }, out, NULL), AD_OK);
  for (int e = 0; e < FEW; e++) {
    for (int k = 0; k < FEW; k++) check_set_element(dtype, xdot, k, k == e);
    CHECK_STATUS(ad_function_call(d, (const void *const[]){ x, c, xdot, cdot }, dout, NULL), AD_OK);
    for (int k = 0; k < OUTPUTS; k++) {
      const ad_type type = ad_function_output_type(f, k);
      for (int64_t i = 0; i < ad_type_count(type); i++) {
        const double got = check_element(dtype, whole[k], i*FEW + e), want = check_element(dtype, part[k], i);
        CHECK_NUMBER(got, want, tolerance);
      }
    }
  }
  ad_function_free(d);
  ad_function_free(j);
}

static void test_columns(void) {
  const double smooth[FEW] = { 0.3, 1.2, 0.7, 2.1, 0.9 }, kinks[FEW] = { 0, -1, 0.5, -2, 3 };
  const double wild[FEW] = { NAN, 1, INFINITY, 2, 3 };
  ad_function *f = varied(AD_F64, NULL);
  check_columns(f, AD_F64, smooth, 1e-13);
  check_columns(f, AD_F64, kinks, 1e-13);
  check_columns(f, AD_F64, wild, 1e-13);
  ad_function_free(f);
  f = varied(AD_F32, NULL);
  check_columns(f, AD_F32, smooth, 1e-4);
  check_columns(f, AD_F32, kinks, 1e-4);
  ad_function_free(f);
}

/* x (12) -> sum of x[k]^2 sin(k t) over 40 places t: elements taken from the front, the back and the middle.
 */
enum { PARAMETERS = 12, PLACES = 40 };

static void fit_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var places = ad_linspace(ad_scalar(t, 0), ad_scalar(t, 3), PLACES);
  ad_var sum = ad_zeros(t, AD_F64(PLACES));
  (void)context;
  for (int64_t k = 0; k < PARAMETERS; k++) {
    const int64_t index = k%2 ? k - PARAMETERS : k;
    const ad_var x = k%3 ? ad_at(in[0], 1, &index) : ad_slice(in[0], 0, index, 1, 1);
    sum = ad_add(sum, ad_mul(ad_square(x), ad_sin(ad_mul(places, (double)k))));
  }
  out[0] = sum;
}

static void test_picked(void) {
  const ad_type in = AD_F64(PARAMETERS);
  double x[PARAMETERS], jacobian[PLACES][PARAMETERS];
  ad_function *f = ad_function_trace("fit", fit_body, NULL, 1, &in, 1), *j = ad_function_jacobian(f, 0, NULL);
  for (int k = 0; k < PARAMETERS; k++) x[k] = cos(k);
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ x }, (void *const[]){ jacobian }, NULL), AD_OK);
  for (int i = 0; i < PLACES; i++)
    for (int k = 0; k < PARAMETERS; k++)
      CHECK_NUMBER(jacobian[i][k], 2*x[k]*sin(k*(3.0*i/(PLACES - 1))), 1e-14);
  ad_function_free(j);
  ad_function_free(f);
}

/* With the k-th allocation failing, for every k: no Jacobian, or a whole one. */
static void test_memory(void) {
  heap h = { 0 };
  const ad_allocator allocator = heap_allocator(&h);
  ad_function *f = varied(AD_F64, &allocator);
  const long blocks = h.blocks;
  bool done = false;
  for (long k = 1; CHECK(f != NULL) && !done && k < 20000; k++) {
    heap_fail(&h, k, false);
    ad_function *j = ad_function_jacobian(f, 1, (const int[]){ 0 });
    done = heap_has_served(&h);
    CHECK_THAT(j || !done, "allocation %ld", k);
    ad_function_free(j);
    CHECK_THAT(h.blocks >= blocks && h.wrong_sizes == 0, "allocation %ld: %s", k, heap_text(&h));
  }
  CHECK(done);
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
}

/* --- Hessians ------------------------------------------------------------------------------------------- */

/* (x, s) -> sum of s x[i]^3 x[i+1] */
static void chain_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var a = ad_slice(in[0], 0, 0, COUNT - 1, 1), b = ad_slice(in[0], 0, 1, COUNT - 1, 1);
  (void)t, (void)context;
  out[0] = ad_mul(in[1], ad_sum(ad_mul(ad_powi(a, 3), b), AD_ALL_AXES, false));
}

static double entry(const double x[], double s, int i, int k) {
  if (i == k) return i + 1 < COUNT ? 6*s*x[i]*x[i + 1] : 0;
  const int least = i < k ? i : k;
  return i - k == 1 || k - i == 1 ? 3*s*x[least]*x[least] : 0;
}

static void test_hessian(void) {
  static double x[COUNT], s = 1.5, xx[COUNT][COUNT], xs[COUNT], sx[COUNT], ss, dxx[COUNT][COUNT], sdot = 1,
      xdot[COUNT];
  const ad_type in[2] = { AD_F64(COUNT), AD_F64() };
  ad_function *f = ad_function_trace("chain", chain_body, NULL, 2, in, 1);
  ad_function *h = ad_function_hessian(f, 0, NULL), *third = ad_function_jvp(h);
  void *const out[4] = { xx, xs, sx, &ss }, *const dout[8] = { [4] = dxx };
  for (int i = 0; i < COUNT; i++) x[i] = sin(2.0*i), xdot[i] = 0;
  CHECK_STATUS(ad_function_call(h, (const void *const[]){ x, &s }, out, NULL), AD_OK);
  /* Along s, in which the function is linear: the Hessian for s = 1. */
  CHECK_STATUS(ad_function_call(third, (const void *const[]){ x, &s, xdot, &sdot }, dout, NULL), AD_OK);
  CHECK_NUMBER(ss, 0, 0);
  for (int i = 0; i < COUNT; i++) {
    const double left = i > 0 ? x[i - 1]*x[i - 1]*x[i - 1] : 0;
    const double slope = (i + 1 < COUNT ? 3*x[i]*x[i]*x[i + 1] : 0) + left;
    CHECK_NUMBER(xs[i], slope, 1e-15);
    CHECK_NUMBER(sx[i], slope, 1e-15);
    for (int k = 0; k < COUNT; k++) {
      CHECK_NUMBER(xx[i][k], entry(x, s, i, k), 1e-14);
      CHECK_NUMBER(dxx[i][k], entry(x, 1, i, k), 1e-14);
    }
  }
  ad_function_free(third);
  ad_function_free(h);
  ad_function_free(f);
}

/* What there is no such function of. */
static void test_refused(void) {
  const ad_type in[2] = { AD_F64(COUNT), AD_I32() };
  const ad_type floats[2] = { AD_F64(COUNT), AD_F64() };
  ad_function *f = ad_function_trace("root", root_body, NULL, 2, floats, 1);
  CHECK(!ad_function_hessian(f, 0, NULL));                    /* not a scalar */
  CHECK(!ad_function_jacobian(f, 1, (const int[]){ 2 }));     /* no such input */
  ad_function_free(f);
  f = ad_function_trace("root", root_body, NULL, 2, in, 1);
  CHECK(!ad_function_jacobian(f, 1, (const int[]){ 1 }));     /* an integer */
  ad_function_free(f);
}

int main(void) {
  test_jacobian();
  test_rows();
  test_not_connected();
  test_columns();
  test_picked();
  test_memory();
  test_hessian();
  test_refused();
  return check_summary();
}
