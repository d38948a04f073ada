/* reduce_product.c -- products over axes.
 *
 * Floats are multiplied in f64, by the tree of reduce.h. bool, i32 and i64 multiply in i64 and wrap. Where
 * the plain product is 0, infinite or nan, it is done again with the exponent held apart, so that a product
 * never depends on what overflows on the way: 1e200*1e200*1e-300 is 1e100, and 0 times 1e200*1e200 is 0.
 *
 * The derivative by an element is the product of all the others, made of running products from both ends: no
 * division, so zeros are exact.
 */
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/cumulative.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const ad_primitive prod_primitive, others_primitive;

/* --- scaled numbers: m*2^(512 e), |m| within [2^-511, 2^511] unless it is 0, infinite or nan ------------ */

enum { SCALE = 512 };
#define BIG 0x1p511
#define SMALL 0x1p-511

typedef struct scaled { double m; int64_t e; } scaled;

static scaled scaled_of(double m, int64_t e) {
  const double size = fabs(m);
  if (size > BIG) return (scaled){ m*0x1p-512, e + 1 };
  if (size < SMALL && m != 0) return (scaled){ m*0x1p512, e - 1 };
  return (scaled){ m, e };
}

/* Subnormal numbers need the second step. */
static scaled scaled_from(double x) {
  const scaled s = scaled_of(x, 0);
  return scaled_of(s.m, s.e);
}

static scaled scaled_product(scaled a, scaled b) { return scaled_of(a.m*b.m, a.e + b.e); }

static double scaled_value(scaled a) {
  const int64_t e = a.e > 4 ? 4 : a.e < -4 ? -4 : a.e;
  return ldexp(a.m, (int)e*SCALE);
}

/* --- folds: z = prod x ---------------------------------------------------------------------------------- */

#define FOLD(name) prod_f64_##name
#define KERNEL static const reduction_kernel plain_prod_of_f64
#define ELEMENT double
#define CELL f64
#define COMBINE(a, b) ((a)*(b))
#define EMPTY 1
#include "primitives/fold.inc"
#include "primitives/work.h"

#define FOLD(name) prod_f32_##name
#define KERNEL static const reduction_kernel plain_prod_of_f32
#define ELEMENT float
#define RESULT double
#define ACC double
#define CELL f64
#define TERM(x) ((double)(x))
#define COMBINE(a, b) ((a)*(b))
#define EMPTY 1
#include "primitives/fold.inc"

#define FOLD(name) prod_i64_##name
#define KERNEL static const reduction_kernel prod_of_i64
#define ELEMENT int64_t
#define ACC uint64_t
#define CELL u64
#define TERM(x) ((uint64_t)(x))
#define COMBINE(a, b) ((a)*(b))
#define FINISH(a) ((int64_t)(a))
#define EMPTY 1
#include "primitives/fold.inc"

#define FOLD(name) prod_i32_##name
#define KERNEL static const reduction_kernel prod_of_i32
#define ELEMENT int32_t
#define RESULT int64_t
#define ACC uint64_t
#define CELL u64
#define TERM(x) ((uint64_t)(x))
#define COMBINE(a, b) ((a)*(b))
#define FINISH(a) ((int64_t)(a))
#define EMPTY 1
#include "primitives/fold.inc"

#define FOLD(name) prod_bool_##name
#define KERNEL static const reduction_kernel prod_of_bool
#define ELEMENT uint8_t
#define RESULT int64_t
#define ACC uint64_t
#define CELL u64
#define COMBINE(a, b) ((a)*(b))
#define FINISH(a) ((int64_t)(a))
#define EMPTY 1
#include "primitives/fold.inc"

/* Pass 0 is the plain fold. Where a column came out 0, infinite or nan, pass 1 multiplies scaled numbers one
 * after the other: mantissas in the first row of cells, exponents in the second. */
#define SCALED_PASS(T, suffix)                                                                              \
  static void product_##suffix##_begin(reduction_partial *p, int64_t columns) {                             \
    plain_prod_of_##suffix.begin(p, columns);                                                               \
    for (int64_t j = 0; j < columns && p->pass == 1; j++) p->cell.f64[j] = 1, p->cell.f64[columns + j] = 0; \
  }                                                                                                         \
  static void product_##suffix##_rows(reduction_partial *p, int64_t n, const void *vx, int64_t stride) {    \
    const T *x = vx;                                                                                        \
    const int64_t w = p->columns;                                                                           \
    if (p->pass == 0) plain_prod_of_##suffix.rows(p, n, x, stride);                                         \
    else for (int64_t i = 0; i < n; i++)                                                                    \
      for (int64_t j = 0; j < w; j++) multiply_into(p, j, scaled_from((double)x[i*stride + j]));            \
  }                                                                                                         \
  static bool product_##suffix##_end(reduction_partial *p, void *vz) {                                      \
    T *z = vz;                                                                                              \
    double value[REDUCE_COLUMNS];                                                                           \
    bool again = false;                                                                                     \
    if (p->pass == 0) plain_prod_of_##suffix.end(p, value);                                                 \
    else for (int64_t j = 0; j < p->columns; j++) value[j] = scaled_value(factor_of(p, j));                 \
    for (int64_t j = 0; j < p->columns; j++) {                                                              \
      if (p->pass == 0 || p->coarse[j]) z[j] = (T)value[j];                                                 \
      p->coarse[j] = value[j] == 0 || !(fabs(value[j]) < (double)INFINITY);                                 \
      again |= p->coarse[j];                                                                                \
    }                                                                                                       \
    return p->pass++ == 0 && again;                                                                         \
  }                                                                                                         \
  static void product_##suffix##_join(reduction_partial *p, const reduction_partial *later) {               \
    if (p->pass == 0) plain_prod_of_##suffix.join(p, later);                                                \
    else for (int64_t j = 0; j < p->columns; j++) multiply_into(p, j, factor_of(later, j));                 \
  }                                                                                                         \
  static const reduction_kernel prod_of_##suffix = {                                                        \
    .in_order = true,                                                                                       \
    .begin = product_##suffix##_begin, .rows = product_##suffix##_rows,                                     \
    .end = product_##suffix##_end, .join = product_##suffix##_join };

static scaled factor_of(const reduction_partial *p, int64_t j) {
  return (scaled){ p->cell.f64[j], (int64_t)p->cell.f64[p->columns + j] };
}

static void multiply_into(reduction_partial *p, int64_t j, scaled factor) {
  const scaled s = scaled_product(factor_of(p, j), factor);
  p->cell.f64[j] = s.m;
  p->cell.f64[p->columns + j] = (double)s.e;
}

SCALED_PASS(double, f64)
SCALED_PASS(float, f32)

const reduction_kernel *product_kernel(const ad_operation *op) {
  static const reduction_kernel *const products[AD_DTYPES] = { &prod_of_bool, &prod_of_i32, &prod_of_i64,
                                                               &prod_of_f32, &prod_of_f64 };
  return op->primitive == &prod_primitive ? products[op->x[0]->dtype] : NULL;
}

/* --- written -------------------------------------------------------------------------------------------- */

/* As numbers m*2^e with |m| in [1/2, 1), unless it is 0, infinite or nan: the limits above are those of
 * double, and the file's real numbers may be float. */
static const char scaled_text[] =
  "/* m of v = m*2^e; e is added to *power. */\n"
  "static inline R HELPER(mantissa)(R v, int64_t *power) {\n"
  "  int e;\n"
  "  if (v == 0 || !(M(fabs)(v) < (R)INFINITY)) return v;\n"
  "  v = M(frexp)(v, &e);\n"
  "  *power += e;\n"
  "  return v;\n"
  "}\n"
  "\n"
  "static inline R HELPER(from_mantissa)(R m, int64_t power) {\n"
  "  return M(ldexp)(m, power > 4000 ? 4000 : power < -4000 ? -4000 : (int)power);\n"
  "}\n";

static const char product_text[] =
  "static R HELPER(scaled_product)(const REAL *x, int64_t n, int64_t step) {\n"
  "  R m = 1;\n"
  "  int64_t power = 0;\n"
  "  for (int64_t i = 0; i < n; i++)\n"
  "    m = HELPER(mantissa)(m*HELPER(mantissa)((R)x[i*step], &power), &power);\n"
  "  return HELPER(from_mantissa)(m, power);\n"
  "}\n";

static const char others_text[] =
  "static void HELPER(product_of_others)(REAL *y, const REAL *x, int64_t n, int64_t step, R *left,\n"
  "                                      int64_t *power) {\n"
  "  R m = 1;\n"
  "  int64_t i, e = 0;\n"
  "  for (i = 0; i < n; i++) {\n"
  "    left[i] = m;\n"
  "    power[i] = e;\n"
  "    m = HELPER(mantissa)(m*HELPER(mantissa)((R)x[i*step], &e), &e);\n"
  "  }\n"
  "  m = 1;\n"
  "  e = 0;\n"
  "  for (i = n - 1; i >= 0; i--) {\n"
  "    y[i*step] = (REAL)HELPER(from_mantissa)(left[i]*m, power[i] + e);\n"
  "    m = HELPER(mantissa)(m*HELPER(mantissa)((R)x[i*step], &e), &e);\n"
  "  }\n"
  "}\n";

static void write_product(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold of_integers = { "product", "uint64_t", "(uint64_t)v", "a*b", "1", NULL };
  static const written_fold of_floats = { "product", "R", "(R)v", "a*b", "1", NULL };
  const ad_dtype dtype = op->x[0]->dtype;
  const char *type = ad_write_type(op->z.dtype);
  char product[WRITTEN_CALL];
  if (dtype < AD_F32) {
    ad_write(w, "%s = (%s)%s;", z, type, written_fold_call(w, product, dtype, &of_integers, line, NULL));
    return;
  }
  ad_write_routine(w, dtype, "mantissa", scaled_text);
  ad_write(w, "%s product = %s;", ad_write_type(AD_F64),
           written_fold_call(w, product, dtype, &of_floats, line, NULL));
  ad_write(w, "if (product == 0 || !(M(fabs)(product) < (%s)INFINITY))", ad_write_type(AD_F64));
  ad_write(w, "  product = %s(%s, %lld, %lld);", ad_write_routine(w, dtype, "scaled_product", product_text),
           line->at, (long long)line->n, (long long)line->step);
  ad_write(w, "%s = (%s)product;", z, type);
}

static ad_status prod_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_product, "1");
}

/* --- others: z[i] = product of x[j] along the axis, j != i ---------------------------------------------- */

static int axis_of(const ad_operation *op) { return (int)*(const int64_t *)op->attribute; }

/* One line of n elements, step apart; left holds the products on the left of each. */
#define OTHERS_LINE(T, suffix)                                                           \
  static void others_##suffix(int64_t n, int64_t step, T *z, const T *x, scaled *left) { \
    scaled s = { 1, 0 };                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                    \
      left[i] = s;                                                                       \
      s = scaled_product(s, scaled_from((double)x[i*step]));                             \
    }                                                                                    \
    s = (scaled){ 1, 0 };                                                                \
    for (int64_t i = n - 1; i >= 0; i--) {                                               \
      z[i*step] = (T)scaled_value((scaled){ left[i].m*s.m, left[i].e + s.e });           \
      s = scaled_product(s, scaled_from((double)x[i*step]));                             \
    }                                                                                    \
  }
OTHERS_LINE(double, f64)
OTHERS_LINE(float, f32)

static ad_status others_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}

static ad_status others_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const ad_type *t = op->x[0];
  const int axis = axis_of(op);
  const int64_t n = t->dim[axis];
  const int64_t inner = axes_product(t, axis + 1, t->rank), outer = axes_product(t, 0, axis);
  for (int64_t i = 0; n > 0 && i < outer*inner; i++) {
    const int64_t at = i/inner*n*inner + i%inner;
    if (t->dtype == AD_F64) others_f64(n, inner, (double *)z + at, (const double *)x[0] + at, scratch);
    else others_f32(n, inner, (float *)z + at, (const float *)x[0] + at, scratch);
  }
  return AD_OK;
}

static size_t others_scratch(const ad_operation *op) {
  return (size_t)op->x[0]->dim[axis_of(op)]*sizeof(scaled);
}

static ad_status others_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const ad_type *t = op->x[0];
  const int axis = axis_of(op);
  const long long n = t->dim[axis], inner = axes_product(t, axis + 1, t->rank);
  const long long count = ad_type_count(*t);
  char left[WRITTEN_INDEX], power[WRITTEN_INDEX];
  if (count == 0) return AD_OK;
  ad_write_routine(w, t->dtype, "mantissa", scaled_text);
  snprintf(left, sizeof left, "%s", ad_write_scratch(w, AD_F64, n));
  snprintf(power, sizeof power, "%s", ad_write_scratch(w, AD_I64, n));
  ad_write(w, "for (int64_t k = 0; k < %lld; k += %lld) {", count, n*inner);
  ad_write(w, "for (int64_t j = 0; j < %lld; j++) {", inner);
  ad_write(w, "%s(%s + k + j, %s + k + j, %lld, %lld, %s, %s);",
           ad_write_routine(w, t->dtype, "product_of_others", others_text), z, x[0], n, inner, left, power);
  write_close_loops(w, 2);
  return AD_OK;
}

/* z = left*right, running products that leave the element out: zdot = leftdot*right + left*rightdot */
static ad_var others_jvp(ad_rule *r, int k) {
  (void)k;
  const int axis = axis_of(r->op);
  ad_var x = r->x[0], left = cumprod_exclusive(x, axis, false), right = cumprod_exclusive(x, axis, true);
  ad_var leftdot = cumprod_exclusive_jvp(x, left, r->g, axis, false);
  ad_var rightdot = cumprod_exclusive_jvp(x, right, r->g, axis, true);
  ad_var a = ad_mul(leftdot, right), b = ad_mul(left, rightdot);
  return ad_add(a, b);
}

static ad_var others_vjp(ad_rule *r, int k) {
  (void)k;
  const int axis = axis_of(r->op);
  ad_var x = r->x[0], left = cumprod_exclusive(x, axis, false), right = cumprod_exclusive(x, axis, true);
  ad_var leftbar = ad_mul(r->g, right), rightbar = ad_mul(r->g, left);
  ad_var a = cumprod_exclusive_vjp(x, left, leftbar, axis, false);
  ad_var b = cumprod_exclusive_vjp(x, right, rightbar, axis, true);
  return ad_add(a, b);
}

/* Products from both sides, and their product. */
static void others_work(const ad_operation *op, ad_work *w) { w->flops = 3*(double)ad_type_count(op->z); }

static const ad_primitive others_primitive = {
  .name = "product_of_others", .doc = "product of all elements along an axis but the one at this place",
  .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = others_type, .run = others_run, .work = others_work, .scratch_bytes = others_scratch,
  .jvp = others_jvp, .vjp = others_vjp, .batch = batch_along, .trail = trail_alike, .write = others_write };

/* (outer, n, inner) -> the same */
static ad_var others_along(ad_var x, int64_t outer, int64_t n, int64_t inner) {
  static const int64_t axis = 1;
  ad_var box = ad_reshape(x, 3, (const int64_t[]){ outer, n, inner });
  return ad_record(NULL, &others_primitive, 1, &box, &axis, sizeof axis);
}

/* The product of all other elements that go into the same element of z. Reduced axes that are not neighbours
 * are brought together at the end first. */
static ad_var others_of(const ad_rule *r) {
  const ad_type *t = r->op->x[0];
  const unsigned mask = ((const reduction *)r->op->attribute)->mask;
  const reduction_plan plan = reduction_plan_of(t, mask);
  if (plan.reduced == 0) {
    const int64_t outer = plan.outer, n = plan.rows, inner = plan.width;
    return ad_reshape(others_along(r->x[0], outer, n, inner), t->rank, t->dim);
  }
  int perm[AD_MAX_RANK], back[AD_MAX_RANK], rank = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int d = 0; d < t->rank; d++)
      if ((int)(mask >> d & 1) == pass) perm[rank++] = d;
  for (int d = 0; d < rank; d++) back[perm[d]] = d;
  ad_var turned = ad_transpose(r->x[0], perm);
  const ad_type shape = ad_type_of(turned);
  ad_var z = others_along(turned, plan.outer*plan.width, plan.segments*plan.rows, 1);
  return ad_transpose(ad_reshape(z, rank, shape.dim), back);
}

/* --- prod ----------------------------------------------------------------------------------------------- */

static ad_status prod_type(ad_operation *op) {
  const ad_dtype d = op->x[0]->dtype;
  return reduction_type(op, d < AD_F32 ? AD_I64 : d);
}

static ad_var prod_jvp(ad_rule *r, int k) {
  (void)k;
  return reduction_sum(r, ad_mul(others_of(r), r->g));
}
static ad_var prod_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_mul(others_of(r), reduction_kept(r, r->g));
}

static const ad_primitive prod_primitive = { .name = "prod",
                                             .doc = "product over axes",
                                             .traits = AD_TRAIT_FINITE_WEIGHTS,
                                             .type = prod_type,
                                             .run = reduction_run,
                                             .work = work_fold,
                                             .scratch_bytes = reduction_scratch,
                                             .jvp = prod_jvp,
                                             .vjp = prod_vjp,
                                             .batch = reduction_batch, .trail = trail_alike,
                                             .write = prod_write };

ad_var ad_prod(ad_var x, ad_axes axes, bool keep) {
  ad_type z;
  if (!reduction_is_reshape(x, axes, keep, &z)) return reduction_record(&prod_primitive, x, axes, keep);
  return ad_reshape(cast_to(x, z.dtype < AD_F32 ? AD_I64 : z.dtype), z.rank, z.dim);
}
