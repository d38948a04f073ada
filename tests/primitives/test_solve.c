/* test_solve.c -- linear systems, inverses and determinants: values, what singular matrices give, derivatives
 * where the general tests (test_structured.c) do not go, and how often a matrix is factorised.
 *
 * Solutions are checked against whole numbers that the right hand sides were made from, in long double;
 * cofactors against their definition, minors by expansion.
 */
#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/linear.h"
#include "check.h"
#include "tape/tape.h"

#include <float.h>
#include <stdlib.h>

enum { MOST = 4096 };

static uint64_t state = 1;
static double whole(int size) { return check_below(&state, 2*size + 1) - size; }

static ad_var array_of(ad_tape *t, ad_type type, const double *x) {
  static uint64_t data[MOST];
  for (int64_t i = 0; i < ad_type_count(type); i++) check_set_element(type.dtype, data, i, x[i]);
  return ad_array(t, type, data);
}

static bool read_into(ad_var x, double *out) {
  static uint64_t data[MOST];
  const ad_type type = ad_type_of(x);
  if (type.rank < 0 || ad_type_count(type) > MOST || ad_read(x, data) != AD_OK) return false;
  for (int64_t i = 0; i < ad_type_count(type); i++) out[i] = check_element(type.dtype, data, i);
  return true;
}

static bool is_shape(ad_var x, ad_dtype dtype, int rank, const int64_t *dim) {
  return ad_type_equal(ad_type_of(x), ad_type_make(dtype, rank, dim));
}

/* Largest |x - want|, relative to 1 or the largest of want; infinite where x cannot be read. */
static double distance(ad_var x, const double *want) {
  static double got[MOST];
  double error = 0, scale = 1;
  if (!read_into(x, got)) return INFINITY;
  const int64_t n = ad_type_count(ad_type_of(x));
  for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(want[i]));
  for (int64_t i = 0; i < n; i++) {
    const double e = fabs(got[i] - want[i])/scale;
    if (!(e <= error)) error = e;
  }
  return error;
}

/* --- values --------------------------------------------------------------------------------------------- */

typedef struct shape { int rank; int64_t dim[5]; } shape;

static const struct { shape a, b, z; } systems[] = {
  { { 2, { 1, 1 } }, { 1, { 1 } }, { 1, { 1 } } },
  { { 2, { 3, 3 } }, { 1, { 3 } }, { 1, { 3 } } },
  { { 2, { 3, 3 } }, { 2, { 3, 1 } }, { 2, { 3, 1 } } },
  { { 2, { 4, 4 } }, { 2, { 4, 5 } }, { 2, { 4, 5 } } },
  { { 2, { 17, 17 } }, { 2, { 17, 3 } }, { 2, { 17, 3 } } },
  { { 2, { 40, 40 } }, { 1, { 40 } }, { 1, { 40 } } },
  { { 3, { 2, 3, 3 } }, { 1, { 3 } }, { 2, { 2, 3 } } },
  { { 3, { 2, 3, 3 } }, { 2, { 3, 2 } }, { 3, { 2, 3, 2 } } },
  { { 3, { 3, 3, 3 } }, { 3, { 3, 3, 1 } }, { 3, { 3, 3, 1 } } },
  { { 2, { 3, 3 } }, { 4, { 2, 2, 3, 1 } }, { 4, { 2, 2, 3, 1 } } },
  { { 2, { 2, 2 } }, { 3, { 4, 2, 3 } }, { 3, { 4, 2, 3 } } },
  { { 4, { 2, 1, 3, 3 } }, { 3, { 4, 3, 2 } }, { 4, { 2, 4, 3, 2 } } },
  { { 4, { 1, 3, 2, 2 } }, { 4, { 2, 1, 2, 1 } }, { 4, { 2, 3, 2, 1 } } },
  { { 2, { 0, 0 } }, { 1, { 0 } }, { 1, { 0 } } },
  { { 2, { 0, 0 } }, { 2, { 0, 3 } }, { 2, { 0, 3 } } },
  { { 2, { 3, 3 } }, { 2, { 3, 0 } }, { 2, { 3, 0 } } },
  { { 3, { 0, 3, 3 } }, { 1, { 3 } }, { 2, { 0, 3 } } },
  { { 3, { 2, 3, 3 } }, { 4, { 0, 1, 3, 2 } }, { 4, { 0, 2, 3, 2 } } },
};
enum { SYSTEMS = sizeof systems/sizeof *systems };

/* Whole numbers, big beside the diagonal: regular, with rows in an order that needs pivots. */
static void fill_matrices(int64_t n, int64_t count, double *a) {
  for (; count > 0; count--, a += n*n)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++) a[i*n + j] = whole(3) + (j == (i + 1)%n ? 4.0*(double)n : 0);
}

/* a z, with broadcast batches: element by element, from the definition. */
static double product_at(const double *a, const double *z, int64_t n, int64_t k, int64_t row, int64_t c) {
  long double sum = 0;
  for (int64_t j = 0; j < n; j++) sum += (long double)a[row*n + j]*(long double)z[j*k + c];
  return (double)sum;
}

static int64_t batch_offset(const shape *s, int core, const int64_t *index, int rank) {
  int64_t at = 0;
  const int own = s->rank - core;
  for (int d = 0; d < own; d++) at = at*s->dim[d] + (s->dim[d] == 1 ? 0 : index[rank - own + d]);
  return at;
}

/* Largest |a z - b| relative to |a||z| + |b|, over the whole result. */
static double residual(int which, const double *a, const double *b, const double *z) {
  const shape *sa = &systems[which].a, *sb = &systems[which].b, *sz = &systems[which].z;
  const int core = sb->rank == 1 ? 1 : 2, batch = sz->rank - core;
  const int64_t n = sa->dim[sa->rank - 1], k = core == 1 ? 1 : sb->dim[sb->rank - 1];
  int64_t index[5] = { 0 }, count = 1;
  double worst = 0;
  for (int d = 0; d < batch; d++) count *= sz->dim[d];
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i;
    for (int d = batch - 1; d >= 0; d--) index[d] = rest%sz->dim[d], rest /= sz->dim[d];
    const double *m = a + batch_offset(sa, 2, index, batch)*n*n;
    const double *y = b + batch_offset(sb, core, index, batch)*n*k;
    for (int64_t row = 0; row < n; row++)
      for (int64_t c = 0; c < k; c++) {
        double scale = fabs(y[row*k + c]);
        for (int64_t j = 0; j < n; j++) scale += fabs(m[row*n + j]*z[(i*n + j)*k + c]);
        const double e = fabs(product_at(m, z + i*n*k, n, k, row, c) - y[row*k + c])/(scale > 0 ? scale : 1);
        if (!(e <= worst)) worst = e;
      }
  }
  return worst;
}

static void check_system(int which, ad_dtype da, ad_dtype db) {
  static double a[MOST], b[MOST], z[MOST];
  const shape *sa = &systems[which].a, *sb = &systems[which].b, *sz = &systems[which].z;
  const ad_type ta = ad_type_make(da, sa->rank, sa->dim), tb = ad_type_make(db, sb->rank, sb->dim);
  const int64_t n = sa->dim[sa->rank - 1];
  fill_matrices(n, n ? ad_type_count(ta)/(n*n) : 0, a);
  for (int64_t i = 0; i < ad_type_count(tb); i++) b[i] = whole(9);
  if (da == AD_BOOL)
    for (int64_t i = 0; i < ad_type_count(ta); i++) a[i] = i/n%n == i%n || (i/n%n == 0 && i%n == n - 1);
  for (int64_t i = 0; i < ad_type_count(tb) && db == AD_BOOL; i++) b[i] = b[i] > 0;
  ad_tape *t = ad_tape_new();
  const ad_dtype both = ad_dtype_promote(da, db), dtype = both < AD_F32 ? AD_F64 : both;
  ad_var x = ad_solve(array_of(t, ta, a), array_of(t, tb, b));
  const double eps = dtype == AD_F64 ? DBL_EPSILON : FLT_EPSILON;
  if (CHECK_THAT(is_shape(x, dtype, sz->rank, sz->dim), "system %d: the type; %s", which, ad_tape_message(t))
      && CHECK(read_into(x, z))) {
    const double r = residual(which, a, b, z);
    CHECK_THAT(r <= 4*eps, "system %d, %s and %s: residual %.3g", which, ad_dtype_name(da), ad_dtype_name(db),
               r);
  }
  ad_tape_free(t);
}

static void test_solutions(void) {
  for (int which = 0; which < SYSTEMS; which++)
    for (int da = 0; da < AD_DTYPES; da++)
      for (int db = 0; db < AD_DTYPES; db++) check_system(which, (ad_dtype)da, (ad_dtype)db);
}

/* The numbers that the right hand side was made from come back. */
static void test_known_solution(void) {
  const double a[9] = { 0, 2, 1, 4, -1, 3, -2, 5, 7 }, z[6] = { 3, -1, -2, 8, 5, 0 };
  double b[6];
  for (int64_t i = 0; i < 6; i++) b[i] = product_at(a, z, 3, 2, i/2, i%2);
  const double back[6] = { 3, -2, 5, -1, 8, 0 };
  ad_tape *t = ad_tape_new();
  ad_var m = array_of(t, AD_F64(3, 3), a), y = array_of(t, AD_F64(3, 2), b);
  CHECK(distance(ad_solve(m, y), z) < 1e-15);
  CHECK(distance(ad_matmul(m, ad_inv(m)), (double[9]){ 1, 0, 0, 0, 1, 0, 0, 0, 1 }) < 1e-15);
  CHECK(distance(ad_transpose(ad_solve(m, y), NULL), back) < 1e-15);
  CHECK(distance(ad_det(m), (double[1]){ -50 }) < 1e-15);
  CHECK(distance(ad_logabsdet(m), (double[1]){ log(50) }) < 1e-15);
  ad_tape_free(t);
}

/* The matrix of Hilbert, 1/(i+j+1): inverse of whole numbers, condition 4.77e5 for n = 5; its determinant is
 * 1/266716800000. Source: Choi, Tricks or treats with the Hilbert matrix, Amer. Math. Monthly 90 (1983). */
static void test_hilbert(void) {
  static const double inverse[25] = {
    25,    -300,    1050,    -1400,   630,   -300, 4800, -18900, 26880, -12600, 1050,  -18900, 79380,
    -117600, 56700, -1400,   26880, -117600, 179200, -88200, 630,  -12600, 56700, -88200, 44100 };
  double h[25];
  for (int i = 0; i < 25; i++) h[i] = 1./(i/5 + i%5 + 1);
  ad_tape *t = ad_tape_new();
  ad_var a = array_of(t, AD_F64(5, 5), h), ones = ad_ones(t, AD_F64(5));
  const double sums[5] = { 5, -120, 630, -1120, 630 };
  CHECK(distance(ad_inv(a), inverse) < 4.77e5*DBL_EPSILON);
  CHECK(distance(ad_solve(a, ones), sums) < 4.77e5*DBL_EPSILON);
  CHECK(fabs(ad_value(ad_det(a))*266716800000. - 1) < 4.77e5*DBL_EPSILON);
  CHECK(fabs(ad_value(ad_logabsdet(a)) + log(266716800000.)) < 4.77e5*DBL_EPSILON);
  ad_tape_free(t);
}

/* --- determinants --------------------------------------------------------------------------------------- */

/* The minor of a without the rows and columns whose bits are set; exact for small whole numbers. */
static double minor(const double *a, int n, unsigned rows, unsigned columns) {
  int first = 0, sign = 1;
  while (first < n && rows >> first & 1) first++;
  if (first == n) return 1;
  double sum = 0;
  for (int j = 0; j < n; j++) {
    if (columns >> j & 1) continue;
    sum += sign*a[first*n + j]*minor(a, n, rows | 1u << first, columns | 1u << j);
    sign = -sign;
  }
  return sum;
}

/* Random matrices of whole numbers: n rows of rank `rank`, as a product. */
static void fill_of_rank(int n, int rank, double *a) {
  double left[36], right[36];
  for (int i = 0; i < n*rank; i++) left[i] = whole(2), right[i] = whole(2);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      a[i*n + j] = 0;
      for (int k = 0; k < rank; k++) a[i*n + j] += left[i*rank + k]*right[k*n + j];
    }
}

static void check_determinant(int n, int rank, ad_dtype dtype) {
  double a[36], cofactors[36], v[36], along = 0, scale = 1;
  fill_of_rank(n, rank, a);
  for (int i = 0; i < n*n; i++) {
    cofactors[i] = ((i/n + i%n)%2 ? -1 : 1)*minor(a, n, 1u << i/n, 1u << i%n);
    v[i] = whole(3);
    along += cofactors[i]*v[i];
    scale += fabs(cofactors[i]*v[i]);
  }
  const double eps = 200*(dtype == AD_F64 ? DBL_EPSILON : FLT_EPSILON);
  double size = 1;
  for (int i = 0; i < n*n; i++) size = fmax(size, fabs(a[i]));
  size = pow(size, n - 1);          /* of what cancels in a cofactor */
  ad_tape *t = ad_tape_new();
  const ad_type type = ad_type_make(dtype, 2, (int64_t[]){ n, n });
  ad_var x = array_of(t, type, a), xdot = array_of(t, type, v), z = ad_det(x), zdot, xbar, one = ad_real(1);
  const double det = minor(a, n, 0, 0);
  CHECK_THAT(fabs(ad_value(z) - det) <= eps*size*n, "det %d rank %d: %g, not %g", n, rank, ad_value(z), det);
  ad_jvp(1, &x, &xdot, 1, &z, &zdot);
  ad_vjp(1, &z, &one, 1, &x, &xbar);
  CHECK_THAT(fabs(ad_value(zdot) - along) <= eps*size*scale, "det %d rank %d: along v %g, not %g", n, rank,
             ad_value(zdot), along);
  double got[36] = { 0 }, worst = 0;
  CHECK(read_into(xbar, got));
  for (int i = 0; i < n*n; i++) worst = fmax(worst, fabs(got[i] - cofactors[i]));
  CHECK_THAT(worst <= eps*size, "cofactors %d rank %d, %s: off by %g", n, rank, ad_dtype_name(dtype), worst);
  CHECK_STATUS(ad_backward(z), AD_OK);
  CHECK(distance(xbar, got) == 0);
  ad_tape_free(t);
}

static void test_determinants(void) {
  for (int n = 1; n <= 5; n++)
    for (int rank = 0; rank <= n; rank++)
      for (int i = 0; i < 20; i++) check_determinant(n, rank, i%4 ? AD_F64 : AD_F32);
}

/* Exact ranks: nothing cancels, and the pivots are exactly 0. */
static void test_cofactors_of_singular_matrices(void) {
  static const double a[3][9] = { { 0, 1, 0, 0, 0, 2, 0, 0, 0 }, { 1, 2, 3, 2, 4, 6, 0, 0, 5 }, { 0 } };
  static const double c[3][9] = { { 0, 0, 0, 0, 0, 0, 2, 0, 0 }, { 20, -10, 0, -10, 5, 0, 0, 0, 0 }, { 0 } };
  for (int i = 0; i < 3; i++) {
    ad_tape *t = ad_tape_new();
    ad_var x = array_of(t, AD_F64(3, 3), a[i]), z = ad_det(x), bar;
    CHECK(ad_value(z) == 0);
    ad_grad(z, 1, &x, &bar);
    CHECK(distance(bar, c[i]) < 1e-15);
    ad_var log_z = ad_logabsdet(x);
    CHECK(ad_value(log_z) == -INFINITY);
    ad_tape_free(t);
  }
}

static void test_range_of_determinants(void) {
  ad_tape *t = ad_tape_new();
  const double d[6] = { 1e200, 1e200, 1e-200, -1e-200, 3e300, 1e-300 };
  CHECK(fabs(ad_value(ad_det(ad_diag(array_of(t, AD_F64(6), d), 0))) + 3) < 1e-14);
  ad_var small = ad_mul(ad_eye(t, 30, 30, 0, AD_F64), 1e-20);
  CHECK(ad_value(ad_det(small)) == 0);
  CHECK(fabs(ad_value(ad_logabsdet(small)) - 30*log(1e-20)) < 1e-11);
  CHECK(ad_value(ad_det(ad_mul(ad_eye(t, 30, 30, 0, AD_F64), -1e20))) == INFINITY);
  CHECK(ad_value(ad_det(ad_zeros(t, AD_F64(0, 0)))) == 1);
  CHECK(ad_value(ad_logabsdet(ad_zeros(t, AD_F64(0, 0)))) == 0);
  CHECK(is_shape(ad_det(ad_zeros(t, AD_I32(2, 0, 3, 3))), AD_F64, 2, (int64_t[]){ 2, 0 }));
  CHECK(is_shape(ad_inv(ad_zeros(t, AD_F32(4, 0, 0))), AD_F32, 3, (int64_t[]){ 4, 0, 0 }));
  CHECK(ad_value(ad_det(ad_constant(t, AD_I64(2, 2), (int64_t[]){ 3, 1, 4, 2 }))) == 2);
  ad_tape_free(t);
}

/* --- triangles ------------------------------------------------------------------------------------------ */

/* The other triangle is full of nan, which nobody reads. */
static void check_triangle(ad_dtype dtype, int64_t n, int64_t k, bool lower, bool transposed, bool vector) {
  static double a[MOST], z[MOST], b[MOST];
  for (int64_t i = 0; i < n*n; i++) {
    const int64_t row = i/n, column = i%n;
    a[i] = row == column ? 4 + whole(2) : (row > column) == lower ? whole(2) : NAN;
  }
  for (int64_t i = 0; i < n*k; i++) z[i] = whole(3);
  for (int64_t row = 0; row < n; row++)
    for (int64_t c = 0; c < k; c++) {
      b[row*k + c] = 0;
      for (int64_t j = 0; j < n; j++) {
        const int64_t at = transposed ? j*n + row : row*n + j;
        if (!isnan(a[at])) b[row*k + c] += a[at]*z[j*k + c];
      }
    }
  ad_tape *t = ad_tape_new();
  const ad_type type = ad_type_make(dtype, vector ? 1 : 2, (int64_t[]){ n, k });
  ad_var m = array_of(t, ad_type_make(dtype, 2, (int64_t[]){ n, n }), a);
  ad_var x = ad_solve_triangular(m, array_of(t, type, b), lower, transposed);
  const double error = distance(x, z);
  CHECK_THAT(ad_type_equal(ad_type_of(x), type) && error <= (dtype == AD_F64 ? 1e-13 : 1e-4),
             "triangle of %lld, %lld columns, lower %d, transposed %d: off by %g; %s", (long long)n,
             (long long)k, lower, transposed, error, ad_tape_message(t));
  ad_tape_free(t);
}

static void test_triangles(void) {
  for (int64_t n = 0; n < 8; n++)
    for (int64_t k = 0; k < 4; k++)
      for (int bits = 0; bits < 8; bits++) {
        check_triangle(AD_F64, n, k, bits & 1, bits & 2, k == 1 && bits & 4);
        check_triangle(AD_F32, n, k, bits & 1, bits & 2, k == 1 && bits & 4);
      }
  ad_tape *t = ad_tape_new();
  double out[2];
  ad_var a = array_of(t, AD_F64(2, 2), (double[]){ 0, 1, 1, 1 }), b = ad_ones(t, AD_F64(2));
  CHECK_STATUS(ad_read(ad_solve_triangular(a, b, true, false), out), AD_ERROR_SINGULAR);
  ad_tape_clear(t);
  ad_var whole_numbers = ad_constant(t, AD_I32(2, 2), (int32_t[]){ 2, 1, 9, 4 });
  ad_var z = ad_solve_triangular(whole_numbers, ad_array(t, AD_F32(1, 2, 3), NULL), false, false);
  CHECK(is_shape(z, AD_F32, 3, (int64_t[]){ 1, 2, 3 }));
  ad_tape_free(t);
}

/* L comes back from L L^T; of an unsymmetric matrix the symmetric part counts. */
static void test_cholesky(void) {
  ad_tape *t = ad_tape_new();
  const double l[18] = { 2, 0, 0, -1, 3, 0, 4, 1, 5, 1, 0, 0, 7, 1, 0, -2, 2, 6 };
  ad_var factor = array_of(t, AD_F64(2, 3, 3), l);
  ad_var product = ad_einsum("bij,bkj->bik", 2, (ad_var[]){ factor, factor });
  CHECK(distance(ad_cholesky(product), l) < 1e-14);
  CHECK(distance(ad_cholesky(ad_cast(product, AD_F32)), l) < 1e-5);
  CHECK(distance(ad_cholesky(ad_cast(product, AD_I64)), l) < 1e-14);
  ad_var skew = array_of(t, AD_F64(3, 3), (double[]){ 0, 3, -1, -3, 0, 8, 1, -8, 0 });
  CHECK(distance(ad_cholesky(ad_add(product, skew)), l) < 1e-14);
  CHECK(is_shape(ad_cholesky(ad_zeros(t, AD_F64(2, 0, 0))), AD_F64, 3, (int64_t[]){ 2, 0, 0 }));
  double out[9];
  CHECK_STATUS(ad_read(ad_cholesky(skew), out), AD_ERROR_NUMERIC);
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_cholesky(ad_ones(t, AD_F64(3, 2)))));
  ad_tape_free(t);
}

/* --- what goes wrong ------------------------------------------------------------------------------------ */

static void check_refused(ad_tape *t, ad_var z, ad_status status, const char *text) {
  CHECK_THAT(!ad_is_valid(z) && ad_tape_status(t) == status && !strcmp(ad_tape_message(t), text),
             "\"%s\" was to be \"%s\"", ad_tape_message(t), text);
  ad_tape_clear(t);
}

static void test_refusals(void) {
  ad_tape *t = ad_tape_new();
  ad_var tall = ad_array(t, AD_F64(3, 2), NULL), square = ad_array(t, AD_F64(3, 3), NULL);
  ad_var two = ad_array(t, AD_F64(2), NULL), number = ad_scalar(t, 1);
  ad_var twice = ad_array(t, AD_F64(2, 3, 3), NULL), thrice = ad_array(t, AD_F32(3, 3, 1), NULL);
  check_refused(t, ad_solve(tall, two), AD_ERROR_SHAPE, "solve: a square matrix is needed, not f64(3,2)");
  check_refused(t, ad_solve(number, two), AD_ERROR_SHAPE, "solve: a square matrix is needed, not f64()");
  check_refused(t, ad_solve(square, number), AD_ERROR_SHAPE, "solve: the right hand side is a number");
  check_refused(t, ad_solve(square, ad_real(2)), AD_ERROR_SHAPE, "solve: the right hand side is a number");
  check_refused(t, ad_solve(square, two), AD_ERROR_SHAPE,
                "solve: the right hand side has another number of rows, f64(3,3) and f64(2)");
  check_refused(t, ad_solve(square, ad_array(t, AD_F64(2, 3), NULL)), AD_ERROR_SHAPE,
                "solve: the right hand side has another number of rows, f64(3,3) and f64(2,3)");
  check_refused(t, ad_solve(twice, thrice), AD_ERROR_SHAPE,
                "solve: batch dimensions do not broadcast, f64(2,3,3) and f64(3,3,1)");
  check_refused(t, ad_inv(two), AD_ERROR_SHAPE, "inv: a square matrix is needed, not f64(2)");
  check_refused(t, ad_det(tall), AD_ERROR_SHAPE, "det: a square matrix is needed, not f64(3,2)");
  check_refused(t, ad_logabsdet(number), AD_ERROR_SHAPE, "logabsdet: a square matrix is needed, not f64()");
  ad_var bad = ad_matmul(square, two);
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_solve(bad, two)) && !ad_is_valid(ad_solve(square, bad)) && !ad_is_valid(ad_det(bad)));
  CHECK(!ad_is_valid(ad_inv(bad)) && !ad_is_valid(ad_solve(ad_real(1), ad_real(2))));
  ad_tape_free(t);
}

static void test_singular_on_a_tape(void) {
  double out[2];
  ad_tape *t = ad_tape_new();
  ad_var a = array_of(t, AD_F64(2, 2), (double[]){ 1, 2, 2, 4 });
  ad_var b = array_of(t, AD_F64(2), (double[]){ 1, 3 });
  ad_var z = ad_solve(a, b), slope, second;
  CHECK_STATUS(ad_tape_status(t), AD_OK);
  CHECK_STATUS(ad_read(z, out), AD_ERROR_SINGULAR);
  CHECK_THAT(!strcmp(ad_tape_message(t), "solve: the matrix is singular"), "%s", ad_tape_message(t));
  ad_tape_clear(t);
  ad_set(a, (double[]){ 1, 2, 2, 5 });
  CHECK(ad_read(z, out) == AD_OK && fabs(out[0] + 1) < 1e-14 && fabs(out[1] - 1) < 1e-14);
  ad_set(a, (double[]){ 1, 2, 2, 4 });
  ad_var log_det = ad_logabsdet(a), det = ad_det(a), v = ad_ones(t, AD_F64(2, 2));
  ad_grad(log_det, 1, &a, &slope);
  double full[4];
  CHECK(ad_value(log_det) == -INFINITY);
  CHECK_STATUS(ad_read(slope, full), AD_ERROR_SINGULAR);
  ad_tape_clear(t);
  ad_grad(det, 1, &a, &slope);
  ad_jvp(1, &a, &v, 1, &slope, &second);
  CHECK(ad_read(slope, full) == AD_OK && full[0] == 4 && full[1] == -2 && full[2] == -2 && full[3] == 1);
  CHECK_STATUS(ad_read(second, full), AD_ERROR_SINGULAR);
  ad_tape_free(t);
}

static void solve_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  (void)context;
  out[0] = ad_solve(in[0], in[1]);
}

static void test_singular_in_functions(void) {
  const ad_type types[2] = { AD_F32(2, 2), AD_F32(2, 3) };
  ad_function *f = ad_function_trace("f", solve_body, NULL, 2, types, 1), *g = ad_function_vjp(f);
  const float singular[4] = { 0, 0, 1, 3 }, regular[4] = { 0, 2, 1, 3 }, b[6] = { 2, 4, 6, 3, 7, 9 };
  float z[6], abar[4], bbar[6];
  const float nan_matrix[4] = { 1, NAN, 0, 1 };
  const void *const bad[3] = { singular, b, b };
  CHECK_STATUS(ad_function_call(f, bad, (void *[]){ z }, NULL), AD_ERROR_SINGULAR);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ regular, b }, (void *[]){ z }, NULL), AD_OK);
  CHECK(z[0] == 0 && z[1] == 1 && z[2] == 0 && z[3] == 1 && z[4] == 2 && z[5] == 3);
  CHECK_STATUS(ad_function_call(g, bad, (void *[]){ z, abar, bbar }, NULL), AD_ERROR_SINGULAR);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ nan_matrix, b }, (void *[]){ z }, NULL), AD_OK);
  CHECK(isnan(z[0]));
  ad_workspace *w = ad_workspace_new();
  CHECK_STATUS(ad_function_call(f, bad, (void *[]){ z }, w), AD_ERROR_SINGULAR);
  CHECK_THAT(!strcmp(ad_workspace_message(w), "solve: the matrix is singular"), "%s",
             ad_workspace_message(w));
  ad_workspace_free(w);
  ad_function_free(g);
  ad_function_free(f);
}

/* --- derivatives ---------------------------------------------------------------------------------------- */

/* One of several matrices without a derivative to ask for, and one that only the factors depend on. */
static int count_nodes(const ad_tape *t, const char *name) {
  int count = 0;
  for (uint32_t i = 0; i < ad_tape_size(t); i++) count += !strcmp(node_primitive(t, i)->name, name);
  return count;
}

static void test_one_factorisation(void) {
  ad_tape *t = ad_tape_new();
  ad_var a = array_of(t, AD_F64(3, 3), (double[]){ 0, 2, 1, 4, -1, 3, -2, 5, 7 });
  ad_var b = array_of(t, AD_F64(3), (double[]){ 1, 2, 3 }), x[2] = { a, b }, bar[2], second[2];
  ad_var s = ad_sum(ad_square(ad_solve(a, b)), AD_ALL_AXES, false), v[2] = { ad_ones(t, AD_F64(3, 3)), b };
  ad_grad(s, 2, x, bar);
  ad_jvp(2, x, v, 2, bar, second);
  CHECK(count_nodes(t, "lu") == 1 && count_nodes(t, "solve") >= 4);
  double h[9];
  CHECK(read_into(second[0], h) && ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* a(t) z(t) = b(t) for polynomials z and a: the coefficients of z come back, and zeros behind them. */
static void test_taylor(void) {
  enum { N = 3, ORDER = 6 };
  double a[ORDER + 1][N*N] = { { 0 } }, z[ORDER + 1][N] = { { 0 } }, b[ORDER + 1][N] = { { 0 } };
  fill_matrices(N, 1, a[0]);
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < N*N && k > 0; i++) a[k][i] = whole(3);
    for (int i = 0; i < N; i++) z[k][i] = whole(5);
  }
  for (int k = 0; k <= ORDER; k++)
    for (int j = 0; j <= k; j++)
      for (int i = 0; i < N; i++) b[k][i] += product_at(a[j], z[k - j], N, 1, i, 0);
  ad_tape *t = ad_tape_new();
  ad_var x[2] = { array_of(t, AD_F64(3, 3), a[0]), array_of(t, AD_F64(3), b[0]) }, xc[2*ORDER], zc[ORDER + 1];
  for (int k = 1; k <= ORDER; k++) {
    xc[k - 1] = array_of(t, AD_F64(3, 3), a[k]);
    xc[ORDER + k - 1] = array_of(t, AD_F64(3), b[k]);
  }
  ad_var y = ad_solve(x[0], x[1]);
  CHECK_STATUS(ad_taylor(ORDER, 2, x, xc, 1, &y, zc), AD_OK);
  for (int k = 0; k <= ORDER; k++)
    CHECK_THAT(distance(zc[k], z[k]) < 1e-13, "taylor: coefficient %d off by %g", k, distance(zc[k], z[k]));
  ad_tape_free(t);
}

/* --- batches -------------------------------------------------------------------------------------------- */

static const int *last_two(int rank) {
  static const int plane[] = { 1, 0 }, pile[] = { 0, 2, 1 };
  return rank == 2 ? plane : pile;
}

static void all_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type = ad_type_of(in[0]);
  const int64_t n = type.dim[type.rank - 1];
  (void)context;
  out[0] = ad_solve(in[0], in[1]);
  out[1] = ad_det(in[0]);
  out[2] = ad_logabsdet(in[0]);
  out[3] = ad_inv(in[0]);
  out[4] = ad_solve_triangular(ad_add(in[0], ad_mul(ad_eye(t, n, n, 0, type.dtype), 50)), in[1], true, true);
  out[5] = ad_cholesky(ad_matmul(in[0], ad_transpose(in[0], last_two(type.rank))));
}

/* A map over m instances against m calls, bit for bit where the same routine does the same. */
static void check_map(shape a, shape b, const bool mapped[2]) {
  enum { M = 3, OUTPUTS = 6 };
  static double x[2][MOST], got[OUTPUTS][MOST], want[OUTPUTS][MOST];
  const ad_type types[2] = { ad_type_make(AD_F64, a.rank, a.dim), ad_type_make(AD_F64, b.rank, b.dim) };
  const int64_t n = a.dim[a.rank - 1], na = ad_type_count(types[0]), nb = ad_type_count(types[1]);
  fill_matrices(n, M*na/(n*n), x[0]);
  for (int64_t i = 0; i < M*nb; i++) x[1][i] = whole(9);
  ad_function *f = ad_function_trace("all", all_body, NULL, 2, types, OUTPUTS);
  ad_function *g = ad_function_map(f, M, mapped);
  void *all[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) all[j] = got[j];
  CHECK_STATUS(ad_function_call(g, (const void *[]){ x[0], x[1] }, all, NULL), AD_OK);
  int64_t size[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) size[j] = ad_type_count(ad_function_output_type(f, j));
  for (int64_t i = 0; i < M; i++) {
    const void *in[2] = { x[0] + (mapped[0] ? i*na : 0), x[1] + (mapped[1] ? i*nb : 0) };
    void *out[OUTPUTS];
    for (int j = 0; j < OUTPUTS; j++) out[j] = want[j] + i*size[j];
    CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  }
  double worst = 0;
  for (int j = 0; j < OUTPUTS; j++)
    for (int64_t i = 0; i < M*size[j]; i++)
      worst = fmax(worst, fabs(got[j][i] - want[j][i])/(1 + fabs(want[j][i])));
  CHECK_THAT(worst < 1e-14, "a of rank %d, b of rank %d, mapped %d %d: off by %g", a.rank, b.rank, mapped[0],
             mapped[1], worst);
  ad_function_free(g);
  ad_function_free(f);
}

static void test_maps(void) {
  static const shape a[] = { { 2, { 3, 3 } }, { 3, { 2, 3, 3 } } };
  static const shape b[] = { { 1, { 3 } }, { 2, { 3, 1 } }, { 2, { 3, 4 } }, { 3, { 2, 3, 2 } },
                             { 4, { 5, 1, 3, 2 } } };
  static const bool mapped[3][2] = { { true, false }, { false, true }, { true, true } };
  for (size_t i = 0; i < sizeof a/sizeof *a; i++)
    for (size_t k = 0; k < sizeof b/sizeof *b; k++)
      for (int m = 0; m < 3; m++) check_map(a[i], b[k], mapped[m]);
}

int main(void) {
  test_solutions();
  test_known_solution();
  test_hilbert();
  test_determinants();
  test_cofactors_of_singular_matrices();
  test_range_of_determinants();
  test_triangles();
  test_cholesky();
  test_refusals();
  test_singular_on_a_tape();
  test_singular_in_functions();
  test_one_factorisation();
  test_taylor();
  test_maps();
  return check_summary();
}
