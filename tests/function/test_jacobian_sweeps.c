/* test_jacobian_sweeps.c -- Jacobians and Hessians of so many elements that their sweeps are instances of a
 * map, against closed forms; what is not connected stays exactly 0 there too. */
#include "check.h"

#include "adit/arrays.h"
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
  test_hessian();
  test_refused();
  return check_summary();
}
