/* triangular.c -- triangular systems, and the factor of Cholesky, whose derivatives are made of them.
 *
 * solve_triangular reads one triangle of its matrix; the other is not connected. Matrices lie by rows, so
 * LAPACK sees the transpose: a lower triangle is an upper one there, and solutions are found from the right.
 */
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/linear.h"
#include "base/lapack.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/solve.h"
#include "primitives/work.h"
#include "primitives/written.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const ad_primitive triangular_primitive, cholesky_primitive;

/* The attribute of solve_triangular: no padding. */
typedef struct triangle { uint8_t lower, transposed, vector; } triangle;

/* --- kernels -------------------------------------------------------------------------------------------- */

/* substitute: z, n rows of k, holds b and gets the solution; false where the diagonal has a 0. factorise:
 * a = L L^T in place, from the lower triangle of a; false where a is not positive definite. */
#define KERNELS(T, suffix, prefix)                                                                           \
  static bool substitute_##suffix(const lapack *l, triangle how, int n, int k, const void *matrix,           \
                                  void *z) {                                                                 \
    const T *a = matrix, one = 1;                                                                            \
    for (int64_t i = 0; i < n; i++)                                                                          \
      if (a[i*n + i] == 0) return false;                                                                     \
    l->prefix##trsm("R", how.lower ? "U" : "L", how.transposed ? "T" : "N", "N", &k, &n, &one, a, &n, z, &k, \
                    1, 1, 1, 1);                                                                             \
    return true;                                                                                             \
  }                                                                                                          \
  static bool factorise_##suffix(const lapack *l, int n, void *matrix) {                                     \
    T *a = matrix;                                                                                           \
    int info;                                                                                                \
    l->prefix##potrf("U", &n, a, &n, &info, 1);                                                              \
    for (int64_t i = 0; i < n; i++)                                                                          \
      for (int64_t j = i + 1; j < n; j++) a[i*n + j] = 0;                                                    \
    return info == 0;                                                                                        \
  }
KERNELS(double, f64, d)
KERNELS(float, f32, s)

/* --- solve_triangular ----------------------------------------------------------------------------------- */

static triangle triangle_of(const ad_operation *op) { return *(const triangle *)op->attribute; }

static systems systems_here(const ad_operation *op) {
  systems s;
  systems_of(op->x[0], op->x[1], triangle_of(op).vector, &s);
  return s;
}

static ad_status triangular_type(ad_operation *op) {
  return systems_type(op, op->x[1], triangle_of(op).vector);
}

static ad_status triangular_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const triangle how = triangle_of(op);
  const size_t width = ad_dtype_bytes(op->z.dtype), bytes = ad_type_bytes(op->z);
  const lapack *l = lapack_find();
  if (bytes == 0) return AD_OK;
  if (!l) return AD_ERROR_UNSUPPORTED;
  const systems s = systems_here(op);
  const size_t each = (size_t)(s.n*s.k)*width;
  systems_place at = { 0 };
  for (char *to = z, *end = to + bytes; to < end; to += each) {
    const char *a = (const char *)x[0] + (size_t)at.a*width;
    memcpy(to, (const char *)x[1] + (size_t)at.b*width, each);
    if (!(op->z.dtype == AD_F64 ? substitute_f64 : substitute_f32)(l, how, (int)s.n, (int)s.k, a, to))
      return AD_ERROR_SINGULAR;
    systems_next(&s, &at, s.n*s.n);
  }
  return AD_OK;
}

static ad_status triangular_write(ad_writer *w, const ad_operation *op, const char *z,
                                  const char *const x[]) {
  const triangle how = triangle_of(op);
  const systems s = systems_here(op);
  const char *call[2] = { x[1], x[0] };
  char before[112];
  if (ad_type_count(op->z) == 0) return AD_OK;
  snprintf(before, sizeof before, "%s(%d, %d", written_substitute(w, op->z.dtype), how.lower, how.transposed);
  systems_write(w, &s, before, z, call, s.n*s.n);
  return AD_OK;
}

static ad_var triangular_record(ad_var a, ad_var b, triangle how) {
  const ad_var x[2] = { a, b };
  return ad_record(ad_tape_of(2, x), &triangular_primitive, 2, x, &how, sizeof how);
}

static ad_var part_of(triangle how, ad_var a) { return how.lower ? ad_tril(a, 0) : ad_triu(a, 0); }

/* zdot = a^-1 (bdot - adot z), of adot the triangle; transposed throughout for a^T z = b. */
static ad_var triangular_jvp(ad_rule *r, int k) {
  const triangle how = triangle_of(r->op);
  const systems s = systems_here(r->op);
  if (k == 1) return triangular_record(r->x[0], r->g, how);
  const ad_var moved = systems_apply(&s, how.transposed, part_of(how, r->g), r->z);
  return triangular_record(r->x[0], ad_neg(moved), how);
}

/* bbar = a^-T zbar and abar = the triangle of -bbar z^T; for a^T z = b, bbar = a^-1 zbar and abar = that of
 * -z bbar^T. */
static ad_var triangular_vjp(ad_rule *r, int k) {
  const triangle how = triangle_of(r->op), back = { how.lower, !how.transposed, how.vector };
  const systems s = systems_here(r->op);
  ad_var bbar = triangular_record(r->x[0], r->g, back);
  if (k == 1) return sum_to_shape(bbar, *r->op->x[1]);
  ad_type ones = *r->op->x[0];
  ones.dtype = AD_BOOL;
  r->connected = part_of(how, ad_ones(r->tape, ones));
  bbar = ad_neg(bbar);
  return part_of(how, how.transposed ? systems_outer(&s, r->z, bbar) : systems_outer(&s, bbar, r->z));
}

static ad_var triangular_batch(const ad_batch *b) {
  const systems s = systems_here(b->op);
  ad_var x[2];
  if (!systems_align(b, &s, x)) return ad_none();
  return batch_result(b, triangular_record(x[0], x[1], triangle_of(b->op)));
}

/* n^2 for each right hand side. */
static void triangular_work(const ad_operation *op, ad_work *w) {
  w->flops = (double)ad_type_count(op->z)*(double)op->x[0]->dim[op->x[0]->rank - 1];
}

static const ad_primitive triangular_primitive = {
  .name = "solve_triangular", .doc = "solution of a linear system whose matrix is a triangle", .linear_in = 2,
  .type = triangular_type, .run = triangular_run, .work = triangular_work,
  .jvp = triangular_jvp, .vjp = triangular_vjp,
  .batch = triangular_batch, .write = triangular_write,
};

/* --- cholesky ------------------------------------------------------------------------------------------- */

static ad_status cholesky_type(ad_operation *op) {
  op->z = *op->x[0];
  return matrix_check(op, op->x[0]);
}

static ad_status cholesky_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const ad_type *t = &op->z;
  const int64_t n = t->dim[t->rank - 1];
  const size_t bytes = ad_type_bytes(*t), each = (size_t)(n*n)*ad_dtype_bytes(t->dtype);
  const lapack *l = lapack_find();
  if (bytes == 0) return AD_OK;
  if (!l) return AD_ERROR_UNSUPPORTED;
  if (z != x[0]) memcpy(z, x[0], bytes);
  for (char *to = z, *end = to + bytes; to < end; to += each)
    if (!(t->dtype == AD_F64 ? factorise_f64 : factorise_f32)(l, (int)n, to)) return AD_ERROR_NUMERIC;
  return AD_OK;
}

static ad_status cholesky_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const ad_type *t = &op->z;
  const int64_t n = t->dim[t->rank - 1];
  written_loops loops = { .w = w, .axes = 1, .arrays = 1 };
  loops.axis[0].size = axes_product(t, 0, t->rank - 2);
  loops.axis[0].step[0] = n*n;
  if (ad_type_count(*t) == 0) return AD_OK;
  write_elements(w, z, x[0], ad_type_count(*t));
  written_loops_open(&loops);
  ad_write(w, "if (%s(%" PRId64 ", %s + %s)) {", written_cholesky(w, t->dtype), n, z, loops.offset[0]);
  ad_write_failure(w, AD_ERROR_NUMERIC);
  ad_write(w, "}");
  written_loops_close(&loops);
  return AD_OK;
}

/* L^-1 x, or L^-T x. */
static ad_var by_factor(ad_var l, ad_var x, bool transposed) {
  return triangular_record(l, x, (triangle){ .lower = 1, .transposed = transposed });
}

/* x L^-1, or x L^-T. */
static ad_var from_the_right(ad_var x, ad_var l, bool transposed) {
  return matrix_transposed(by_factor(l, matrix_transposed(x), !transposed));
}

/* The lower triangle with half its diagonal. */
static ad_var half_of(ad_var x) { return ad_mul(ad_add(ad_tril(x, 0), ad_tril(x, -1)), ad_real(.5)); }

/* With h for half_of:
 *
 *   zdot = L h(L^-1 adot L^-T),   abar = L^-T h(L^T zbar) L^-1
 *
 * for symmetric adot, and up to a skew part of abar, which a + a^T does not let through. Source: Murray,
 * Differentiation of the Cholesky decomposition, arXiv:1602.07527, section 3. */
static ad_var cholesky_jvp(ad_rule *r, int k) {
  (void)k;
  return ad_matmul(r->z, half_of(from_the_right(by_factor(r->z, r->g, false), r->z, true)));
}
static ad_var cholesky_vjp(ad_rule *r, int k) {
  (void)k;
  const ad_var inner = half_of(ad_matmul(matrix_transposed(r->z), r->g));
  return from_the_right(by_factor(r->z, inner, true), r->z, false);
}

/* n^3/3 for each matrix. */
static void cholesky_work(const ad_operation *op, ad_work *w) {
  w->flops = (double)ad_type_count(op->z)*(double)op->z.dim[op->z.rank - 1]/3;
}

static const ad_primitive cholesky_primitive = {
  .name = "cholesky", .doc = "lower factor of a symmetric positive definite matrix",
  .traits = AD_TRAIT_IN_PLACE,
  .type = cholesky_type, .run = cholesky_run, .work = cholesky_work, .jvp = cholesky_jvp, .vjp = cholesky_vjp,
  .batch = batch_leading, .write = cholesky_write,
};

/* --- recording ------------------------------------------------------------------------------------------ */

ad_var ad_solve_triangular(ad_var a, ad_var b, bool lower, bool transposed) {
  bool vector;
  if (!system_given("solve_triangular", &a, &b, &vector)) return invalid_of(2, (ad_var[]){ a, b });
  return triangular_record(a, b, (triangle){ lower, transposed, vector });
}

ad_var ad_cholesky(ad_var a) {
  if (!matrix_given("cholesky", a)) return invalid_of(1, &a);
  a = matrix_of_floats(a);
  const ad_var symmetric = ad_mul(ad_add(a, matrix_transposed(a)), ad_real(.5));
  return ad_record(NULL, &cholesky_primitive, 1, &symmetric, NULL, 0);
}
