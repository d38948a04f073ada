/* test_row_sums.c -- what the rows of a factor have in common: its cotangent is a sum over the rows of a
 * product of matrices, which is made of one row only. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "function/function.h"

#include <string.h>

enum { BATCH = 2, ROWS = 5, INNER = 3, COLUMNS = 4, MOST = BATCH*ROWS*COLUMNS };

/* L = sum w z^2/2 with z = y M, y = x - c, c - x, -(x - c) or x + c; x (b, rows, inner), c (b, 1, inner) with
 * size 1 for b or without it, M (inner, columns) or stored the other way round. */
typedef struct setting {
  ad_dtype dtype;
  int64_t rows;
  bool batch, transposed, thin, each;   /* thin: c has no axis for rows; each: c has the batch */
  int sign;
  bool traced, infinite;
} setting;

static ad_type type_of(const setting *s, int64_t a, int64_t b) {
  const int64_t dim[3] = { BATCH, a, b };
  return ad_type_make(s->dtype, 2 + s->batch, s->batch ? dim : dim + 1);
}

static void types_of(const setting *s, ad_type type[4]) {
  const int64_t centre[3] = { s->each ? BATCH : 1, 1, INNER };
  const int64_t matrix[2] = { s->transposed ? COLUMNS : INNER, s->transposed ? INNER : COLUMNS };
  type[0] = type_of(s, s->rows, INNER);
  type[1] = s->thin ? ad_type_make(s->dtype, 1, centre + 2)
                    : ad_type_make(s->dtype, 2 + s->batch, centre + !s->batch);
  type[2] = ad_type_make(s->dtype, 2, matrix);
  type[3] = type_of(s, s->rows, COLUMNS);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  ad_var y = s->sign == 3 ? ad_add(in[0], in[1])
             : s->sign == 1 ? ad_sub(in[1], in[0]) : ad_sub(in[0], in[1]);
  (void)t;
  if (s->sign == 2) y = ad_neg(y);
  const ad_var z = ad_matmul(y, s->transposed ? ad_transpose(in[2], NULL) : in[2]);
  ad_grad(ad_sum(ad_mul(ad_mul(0.5, in[3]), ad_square(z)), AD_ALL_AXES, false), 1, &in[1], out);
}

static double element(const setting *s, const double m[], int j, int n) {
  return m[s->transposed ? n*INNER + j : j*COLUMNS + n];
}

/* The gradient row by row. */
static void oracle(const setting *s, const double x[], const double c[], const double m[], const double w[],
                   double want[], double size[]) {
  const double sx = s->sign == 1 || s->sign == 2 ? -1 : 1, sc = s->sign == 0 ? -1 : 1;
  for (int b = 0; b < (s->batch ? BATCH : 1); b++)
    for (int64_t i = b*s->rows; i < (b + 1)*s->rows; i++)
      for (int n = 0; n < COLUMNS; n++) {
        const double *centre = c + (s->each ? b*INNER : 0);
        double z = 0, *const to = want + (s->each ? b*INNER : 0), *const big = size + (s->each ? b*INNER : 0);
        for (int j = 0; j < INNER; j++) z += (sx*x[i*INNER + j] + sc*centre[j])*element(s, m, j, n);
        for (int j = 0; j < INNER; j++) {
          const double term = w[i*COLUMNS + n]*z*sc*element(s, m, j, n);
          to[j] += term;
          big[j] += fabs(term);
        }
      }
}

static void put(ad_dtype dtype, int64_t n, const double from[], float narrow[], const void **to) {
  for (int64_t i = 0; i < n; i++) narrow[i] = (float)from[i];
  *to = dtype == AD_F32 ? (const void *)narrow : from;
}

/* Are all products of as many rows as there are gone but the one that makes z? */
static int long_products(const ad_function *f, int64_t elements) {
  int count = 0;
  for (uint32_t i = 0; i < f->body->count; i++)
    count += !node_is_leaf(f->body, i) && !strcmp(node_primitive(f->body, i)->name, "matmul")
             && node_type(f->body, i)->count >= elements;
  return count;
}

static void run(const setting *s, const ad_type type[4], const void *const in[], void *out) {
  if (s->traced) {
    ad_function *f = ad_function_trace("gradient", body, (void *)(uintptr_t)s, 4, type, 1);
    CHECK_STATUS(ad_function_call(f, in, (void *[]){ out }, NULL), AD_OK);
    if (s->rows == ROWS) CHECK(long_products(f, ROWS*INNER) == 1);
    ad_function_free(f);
    return;
  }
  ad_tape *t = ad_tape_new();
  ad_var x[4], z = ad_none();
  for (int k = 0; k < 4; k++) x[k] = ad_array(t, type[k], in[k]);
  body(t, x, &z, (void *)(uintptr_t)s);
  CHECK_STATUS(ad_read(z, out), AD_OK);
  ad_tape_free(t);
}

static void check_setting(const setting *s) {
  double x[4][MOST] = { { 0 } }, want[BATCH*INNER] = { 0 }, size[BATCH*INNER] = { 0 }, got[BATCH*INNER];
  float narrow[4][MOST], got_narrow[BATCH*INNER];
  const void *in[4];
  ad_type type[4];
  types_of(s, type);
  for (int k = 0; k < 4; k++)
    for (int64_t i = 0; i < ad_type_count(type[k]); i++) x[k][i] = (double)((7*i + 3*k + 2)%11)/8 - 0.5;
  if (s->infinite) x[0][1] = INFINITY;
  oracle(s, x[0], x[1], x[2], x[3], want, size);
  for (int k = 0; k < 4; k++) put(s->dtype, ad_type_count(type[k]), x[k], narrow[k], &in[k]);
  run(s, type, in, s->dtype == AD_F32 ? (void *)got_narrow : got);
  for (int64_t i = 0; i < ad_type_count(type[1]); i++) {
    const bool single = s->dtype == AD_F32;
    const double z = single ? (double)got_narrow[i] : got[i], eps = single ? 1e-6 : 1e-14;
    CHECK_THAT(isfinite(want[i]) ? fabs(z - want[i]) <= eps*(size[i] + fabs(want[i])) : !isfinite(z),
               "rows %d, batch %d, transposed %d, thin %d, each %d, sign %d, traced %d: [%d] is %g, not %g",
               (int)s->rows, s->batch, s->transposed, s->thin, s->each, s->sign, s->traced, (int)i, z,
               want[i]);
  }
}

/* --- other places of the rows --------------------------------------------------------------------------- */

/* The gradient of the body's scalar by c, the second input, in one trace. */
typedef ad_var scalar_body(const ad_var in[]);

static void gradient_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_grad((*(scalar_body **)context)(in), 1, &in[1], out);
}

static void check_gradient(const char *what, scalar_body *body_of, int n, const ad_type type[],
                           const void *const in[], const double want[]) {
  double got[64];
  ad_function *f = ad_function_trace(what, gradient_body, &body_of, n, type, 1);
  if (!CHECK_THAT(f, "%s", what)) return;
  CHECK_STATUS(ad_function_call(f, in, (void *[]){ got }, NULL), AD_OK);
  ad_function_free(f);
  for (int64_t i = 0; i < ad_type_count(type[1]); i++)
    CHECK_THAT(fabs(got[i] - want[i]) <= 1e-13*fabs(want[i]), "%s: [%d] is %g, not %g", what, (int)i, got[i],
               want[i]);
}

static void draw(int64_t n, double x[], int seed) {
  for (int64_t i = 0; i < n; i++) x[i] = (double)((7*i + seed)%11)/8 - 0.5;
}

/* A product of matrices with a vector has its rows elsewhere. The adjoint of A v, at u = x - c, is u v^T;
 * L = sum A u v^T, dL/dc[m] = -sum_bn A[b,m,n] v[n]. */
static ad_var vectors(const ad_var in[]) {
  const ad_var z = ad_matmul(in[3], in[2]), u = ad_sub(in[0], in[1]);
  ad_var slope = ad_none();
  ad_vjp(1, &z, &u, 1, &in[3], &slope);
  return ad_sum(ad_mul(in[3], slope), AD_ALL_AXES, false);
}

static void test_vectors(void) {
  const ad_type type[4] = { AD_F64(2, 3), AD_F64(3), AD_F64(4), AD_F64(2, 3, 4) };
  double x[6] = { 0 }, c[3] = { 1, 2, 3 }, v[4] = { 1, -2, 0.5, 3 }, w[24], want[3] = { 0 };
  for (int i = 0; i < 24; i++) w[i] = i%7 - 2.5;
  for (int i = 0; i < 24; i++) want[i/4%3] -= w[i]*v[i%4];
  check_gradient("vectors", vectors, 4, type, (const void *[]){ x, c, v, w }, want);
}

/* The rows of the second factor, whose cotangent is A^T g: L = sum w z^2/2, z = A (y - c), A (3, 5),
 * y (5, 4). dL/dc[n] = -sum_mk A[m,k] w[m,n] z[m,n]. */
static ad_var second_factor(const ad_var in[]) {
  const ad_var z = ad_matmul(in[2], ad_sub(in[0], in[1]));
  return ad_sum(ad_mul(ad_mul(0.5, in[3]), ad_square(z)), AD_ALL_AXES, false);
}

static void test_second_factor(void) {
  const ad_type type[4] = { AD_F64(5, 4), AD_F64(4), AD_F64(3, 5), AD_F64(3, 4) };
  double y[20], c[4], a[15], w[12], want[4] = { 0 };
  draw(20, y, 1), draw(4, c, 2), draw(15, a, 3), draw(12, w, 4);
  for (int mn = 0; mn < 12; mn++) {
    double z = 0;
    for (int k = 0; k < 5; k++) z += a[mn/4*5 + k]*(y[k*4 + mn%4] - c[mn%4]);
    for (int k = 0; k < 5; k++) want[mn%4] -= a[mn/4*5 + k]*w[mn]*z;
  }
  check_gradient("second factor", second_factor, 4, type, (const void *[]){ y, c, a, w }, want);
}

/* What instances have in common, but not rows: z = (x - c) M with x (2, 5, 3), c (5, 3), M (3, 4).
 * dL/dc[i,j] = -sum_bn w[b,i,n] z[b,i,n] M[j,n]. */
static ad_var instances(const ad_var in[]) {
  const ad_var z = ad_matmul(ad_sub(in[0], in[1]), in[2]);
  return ad_sum(ad_mul(ad_mul(0.5, in[3]), ad_square(z)), AD_ALL_AXES, false);
}

static void test_instances(void) {
  const ad_type type[4] = { AD_F64(2, 5, 3), AD_F64(5, 3), AD_F64(3, 4), AD_F64(2, 5, 4) };
  double x[30], c[15], m[12], w[40], want[15] = { 0 };
  draw(30, x, 1), draw(15, c, 2), draw(12, m, 3), draw(40, w, 4);
  for (int e = 0; e < 40; e++) {
    const double *v = x + e/4*3, *centre = c + e/4%5*3;
    double z = 0;
    for (int j = 0; j < 3; j++) z += (v[j] - centre[j])*m[j*4 + e%4];
    for (int j = 0; j < 3; j++) want[e/4%5*3 + j] -= w[e]*z*m[j*4 + e%4];
  }
  check_gradient("instances", instances, 4, type, (const void *[]){ x, c, m, w }, want);
}

/* No rows at all: a sum of nothing is zero, whatever the matrix. */
static void test_no_rows(void) {
  const ad_type type[4] = { AD_F64(0, 3), AD_F64(3), AD_F64(3, 2), AD_F64(0, 2) };
  const double m[6] = { INFINITY, 1, NAN, 2, 3, 4 }, c[3] = { 1, 2, 3 }, want[3] = { 0 };
  check_gradient("no rows", instances, 4, type, (const void *[]){ c, c, m, c }, want);
}

int main(void) {
  for (int bits = 0; bits < 128; bits++)
    for (int sign = 0; sign < 4; sign++) {
      const bool batch = bits & 1, each = bits & 8;
      const setting s = { bits & 16 ? AD_F32 : AD_F64, bits & 32 ? ROWS : 0, batch, bits & 2,
                          (bits & 4) != 0 && !each, each && batch, sign, bits & 64, false };
      setting infinite = s;
      infinite.infinite = s.rows > 0;
      check_setting(&s);
      check_setting(&infinite);
    }
  test_vectors();
  test_second_factor();
  test_instances();
  test_no_rows();
  return check_summary();
}
