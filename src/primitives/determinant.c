/* determinant.c -- determinants and their logarithms, by the factors of lu.
 *
 * The derivative of det is the matrix of cofactors, C = det(a) a^-T where a is regular, and a polynomial of
 * the elements everywhere. It is computed as one: with a^T = P L U (solve.c), and the adjugate of a product
 * the product of the adjugates in the opposite order,
 *
 *   C = adj(a)^T = adj(a^T) = adj(U) L^-1 det(P) P^T
 *
 * and adj(U) needs no division. So it is right where a is singular.
 */
#include "primitives/solve.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/linear.h"
#include "base/lapack.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/work.h"
#include "primitives/written.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const ad_primitive det_primitive, logabsdet_primitive, cofactor_primitive;

/* --- kernels -------------------------------------------------------------------------------------------- */

static double element(ad_dtype dtype, const void *x, int64_t i) {
  return dtype == AD_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void put(ad_dtype dtype, void *x, int64_t i, double v) {
  if (dtype == AD_F64) ((double *)x)[i] = v;
  else ((float *)x)[i] = (float)v;
}

/* The product of the pivots; an exponent of its own keeps it from overflow on the way. det(P) changes sign
 * with every row that changed place. */
static double det_of(ad_dtype dtype, int64_t n, const void *lu) {
  double product = 1;
  int64_t exponent = 0;
  for (int64_t i = 0; i < n; i++) {
    int e = 0;
    product *= element(dtype, lu, i*n + i);
    if (isfinite(product)) product = frexp(product, &e);
    exponent += e;
    if (element(dtype, lu, n*n + i) != (double)(i + 1)) product = -product;
  }
  return ldexp(product, exponent > 10000 ? 10000 : exponent < -10000 ? -10000 : (int)exponent);
}

static double logabsdet_of(ad_dtype dtype, int64_t n, const void *lu) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += log(fabs(element(dtype, lu, i*n + i)));
  return sum;
}

typedef double number_of(ad_dtype dtype, int64_t n, const void *lu);

static ad_status numbers_run(const ad_operation *op, void *z, const void *factors, number_of *f) {
  const ad_type *t = op->x[1];
  const int64_t n = t->dim[t->rank - 1], count = ad_type_count(op->z);
  const char *lu = factors;
  for (int64_t i = 0; i < count; i++, lu += (size_t)((n + 1)*n)*ad_dtype_bytes(t->dtype))
    put(t->dtype, z, i, f(t->dtype, n, lu));
  return AD_OK;
}

static ad_status det_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  return numbers_run(op, z, x[1], det_of);
}

static ad_status logabsdet_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  return numbers_run(op, z, x[1], logabsdet_of);
}

/* Row i of V = adj(U), U by columns: V U = det(U) I. With the pivots above i as V_ii so far,
 *
 *   for j = i+1..:  v_j = -sum_(i<=m<j) v_m u_mj,  then v_m times u_jj for i <= m < j
 *
 * leaves in v_m the pivots beside m and, without dividing, what substitution would.
 *
 * C = V L^-1 det(P) P^T lies by rows, so LAPACK sees C^T = P L^-T V^T det(P). */
#define COFACTORS(T, suffix, prefix)                                                                         \
  static void adjugate_##suffix(int64_t n, const T *u, T *v) {                                               \
    T above = 1;                                                                                             \
    for (int64_t i = 0; i < n; i++, v += n) {                                                                \
      for (int64_t m = 0; m < i; m++) v[m] = 0;                                                              \
      v[i] = above;                                                                                          \
      for (int64_t j = i + 1; j < n; j++) {                                                                  \
        const T *column = u + j*n;                                                                           \
        T sum = 0;                                                                                           \
        for (int64_t m = i; m < j; m++) {                                                                    \
          sum += v[m]*column[m];                                                                             \
          v[m] *= column[j];                                                                                 \
        }                                                                                                    \
        v[j] = -sum;                                                                                         \
      }                                                                                                      \
      above *= u[i*n + i];                                                                                   \
    }                                                                                                        \
  }                                                                                                          \
  static void cofactors_##suffix(const lapack *l, int n, const T *lu, T *z) {                                \
    const T *swap = lu + (int64_t)n*n;                                                                       \
    T sign = 1;                                                                                              \
    for (int i = 0; i < n; i++)                                                                              \
      if ((int64_t)swap[i] != i + 1) sign = -sign;                                                           \
    adjugate_##suffix(n, lu, z);                                                                             \
    l->prefix##trsm("L", "L", "T", "U", &n, &n, &sign, lu, &n, z, &n, 1, 1, 1, 1);                           \
    for (int64_t row = 0; row < n; row++, z += n)                                                            \
      for (int64_t i = n - 1; i >= 0; i--) {                                                                 \
        const int64_t other = (int64_t)swap[i] - 1;                                                          \
        const T t = z[i];                                                                                    \
        z[i] = z[other];                                                                                     \
        z[other] = t;                                                                                        \
      }                                                                                                      \
  }
COFACTORS(double, f64, d)
COFACTORS(float, f32, s)

static ad_status cofactor_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const ad_type *t = &op->z;
  const int64_t n = t->dim[t->rank - 1], count = axes_product(t, 0, t->rank - 2);
  const lapack *l = lapack_find();
  if (n == 0) return AD_OK;
  if (!l) return AD_ERROR_UNSUPPORTED;
  for (int64_t i = 0; i < count; i++)
    if (t->dtype == AD_F64) cofactors_f64(l, (int)n, (const double *)x[1] + i*(n + 1)*n, (double *)z + i*n*n);
    else cofactors_f32(l, (int)n, (const float *)x[1] + i*(n + 1)*n, (float *)z + i*n*n);
  return AD_OK;
}

/* --- as C ----------------------------------------------------------------------------------------------- */

/* "(z + at)[0] = routine(n, lu);", or "routine(n, lu, z + at);" for matrices. */
static void write_matrices(ad_writer *w, const ad_type *lu, const char *routine, const char *z, const char *x,
                           bool numbers) {
  const int64_t n = lu->dim[lu->rank - 1];
  written_loops l = { .w = w, .axes = 1, .arrays = 2 };
  l.axis[0].size = axes_product(lu, 0, lu->rank - 2);
  l.axis[0].step[0] = (n + 1)*n;
  l.axis[0].step[1] = numbers ? 1 : n*n;
  if (l.axis[0].size == 0 || (n == 0 && !numbers)) return;
  written_loops_open(&l);
  if (numbers)
    ad_write(w, "(%s + %s)[0] = %s(%" PRId64 ", %s + %s);", z, l.offset[1], routine, n, x, l.offset[0]);
  else ad_write(w, "%s(%" PRId64 ", %s + %s, %s + %s);", routine, n, x, l.offset[0], z, l.offset[1]);
  written_loops_close(&l);
}

static ad_status det_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_matrices(w, op->x[1], written_determinant(w, op->z.dtype), z, x[1], true);
  return AD_OK;
}

static ad_status logabsdet_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_matrices(w, op->x[1], written_log_determinant(w, op->z.dtype), z, x[1], true);
  return AD_OK;
}

static ad_status cofactor_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_matrices(w, op->x[1], written_cofactors(w, op->z.dtype), z, x[1], false);
  return AD_OK;
}

/* --- shapes --------------------------------------------------------------------------------------------- */

static ad_status number_type(ad_operation *op) {
  const ad_status status = matrix_check(op, op->x[0]);
  op->z = ad_type_make(op->x[0]->dtype, op->x[0]->rank - 2, op->x[0]->dim);
  return status;
}

static ad_status cofactor_type(ad_operation *op) {
  op->z = *op->x[0];
  return matrix_check(op, op->x[0]);
}

/* A number for each matrix as a matrix of one element, and the other way round. */
static ad_var as_matrix(ad_var x) { return ad_expand(ad_expand(x, -1), -1); }
static ad_var sum_of_matrix(ad_var x, bool keep) { return ad_sum(x, AD_AXES(-2, -1), keep); }

/* --- derivatives ---------------------------------------------------------------------------------------- */

static ad_var record(const ad_primitive *p, ad_var a, ad_var lu) {
  const ad_var x[2] = { a, lu };
  return ad_record(NULL, p, 2, x, NULL, 0);
}

/* zdot = sum C adot,  abar = C zbar */
static ad_var det_jvp(ad_rule *r, int k) {
  (void)k;
  return sum_of_matrix(ad_mul(record(&cofactor_primitive, r->x[0], r->x[1]), r->g), false);
}
static ad_var det_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_mul(record(&cofactor_primitive, r->x[0], r->x[1]), as_matrix(r->g));
}

/* zdot = sum W adot,  abar = W zbar,  W = a^-T */
static ad_var logabsdet_jvp(ad_rule *r, int k) {
  (void)k;
  return sum_of_matrix(ad_mul(lu_inverse(r->tape, r->x[0], r->x[1], true), r->g), false);
}
static ad_var logabsdet_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_mul(lu_inverse(r->tape, r->x[0], r->x[1], true), as_matrix(r->g));
}

/* C = det(a) W:   Cdot = C (sum W adot) - C adot^T W,   abar = W (sum C Cbar) - W Cbar^T C */
static ad_var cofactor_jvp(ad_rule *r, int k) {
  (void)k;
  const ad_var w = lu_inverse(r->tape, r->x[0], r->x[1], true);
  const ad_var trace = sum_of_matrix(ad_mul(w, r->g), true);
  return ad_sub(ad_mul(r->z, trace), ad_matmul(ad_matmul(r->z, matrix_transposed(r->g)), w));
}
static ad_var cofactor_vjp(ad_rule *r, int k) {
  (void)k;
  const ad_var w = lu_inverse(r->tape, r->x[0], r->x[1], true);
  const ad_var trace = sum_of_matrix(ad_mul(r->z, r->g), true);
  return ad_sub(ad_mul(w, trace), ad_matmul(ad_matmul(w, matrix_transposed(r->g)), r->z));
}

/* A multiplication, or a logarithm and an addition, for each pivot. Of the matrix only the shape is
 * looked at. */
static void det_work(const ad_operation *op, ad_work *w) {
  w->flops = (double)ad_type_count(op->z)*(double)op->x[0]->dim[op->x[0]->rank - 1];
  w->bytes_read -= (double)ad_type_bytes(*op->x[0]);
}
static void logabsdet_work(const ad_operation *op, ad_work *w) {
  det_work(op, w);
  w->calls = w->flops;
}
/* n^3/2 for the adjugate of U, n^3 for L. */
static void cofactor_work(const ad_operation *op, ad_work *w) {
  det_work(op, w);
  w->flops *= 1.5;
}

static const ad_primitive det_primitive = {
  .name = "det", .doc = "determinant, by the factors of the matrix", .not_connected = 2,
  .type = number_type, .run = det_run, .work = det_work,
  .jvp = det_jvp, .vjp = det_vjp, .batch = batch_leading,
  .write = det_write,
};
static const ad_primitive logabsdet_primitive = {
  .name = "logabsdet", .doc = "logarithm of the magnitude of the determinant, by the factors of the matrix",
  .not_connected = 2,
  .type = number_type, .run = logabsdet_run, .work = logabsdet_work,
  .jvp = logabsdet_jvp, .vjp = logabsdet_vjp,
  .batch = batch_leading, .write = logabsdet_write,
};
static const ad_primitive cofactor_primitive = {
  .name = "cofactor", .doc = "matrix of cofactors, by the factors of the matrix", .not_connected = 2,
  .type = cofactor_type, .run = cofactor_run, .work = cofactor_work, .jvp = cofactor_jvp, .vjp = cofactor_vjp,
  .batch = batch_leading, .write = cofactor_write,
};

/* --- recording ------------------------------------------------------------------------------------------ */

ad_var ad_det(ad_var a) {
  if (!matrix_given("det", a)) return invalid_of(1, &a);
  a = matrix_of_floats(a);
  return record(&det_primitive, a, lu_record(a));
}

ad_var ad_logabsdet(ad_var a) {
  if (!matrix_given("logabsdet", a)) return invalid_of(1, &a);
  a = matrix_of_floats(a);
  return record(&logabsdet_primitive, a, lu_record(a));
}
