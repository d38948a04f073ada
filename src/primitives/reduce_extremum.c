/* reduce_extremum.c -- the smallest and the largest element over axes.
 *
 * As C's fmin and fmax: nan counts only where there is nothing else. */
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "base/parallel.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"

#include <stdio.h>
#include <string.h>

static const ad_primitive min_primitive, max_primitive;

/* --- folds ---------------------------------------------------------------------------------------------- */

/* The one that is less, or greater; the other one where one is nan. The first line is one instruction of the
 * processor, the second a choice that is hardly ever taken. */
#define NUMBER(name, T, before)        \
  static inline T name(T a, T b) {     \
    const T best = b before a ? b : a; \
    return a == a ? best : b;          \
  }
NUMBER(less_of_f64, double, <)
NUMBER(less_of_f32, float, <)
NUMBER(greater_of_f64, double, >)
NUMBER(greater_of_f32, float, >)
#define LESS_OF(a, b) ((b) < (a) ? (b) : (a))
#define GREATER_OF(a, b) ((b) > (a) ? (b) : (a))

#define FOLD(name) min_f64_##name
#define KERNEL static const reduction_kernel min_of_f64
#define ELEMENT double
#define CELL f64
#define COMBINE(a, b) less_of_f64(a, b)
#include "primitives/fold.inc"

#define FOLD(name) min_f32_##name
#define KERNEL static const reduction_kernel min_of_f32
#define ELEMENT float
#define CELL f32
#define COMBINE(a, b) less_of_f32(a, b)
#include "primitives/fold.inc"

#define FOLD(name) min_i64_##name
#define KERNEL static const reduction_kernel min_of_i64
#define ELEMENT int64_t
#define CELL i64
#define COMBINE(a, b) LESS_OF(a, b)
#include "primitives/fold.inc"

#define FOLD(name) min_i32_##name
#define KERNEL static const reduction_kernel min_of_i32
#define ELEMENT int32_t
#define CELL i32
#define COMBINE(a, b) LESS_OF(a, b)
#include "primitives/fold.inc"
#include "primitives/work.h"

#define FOLD(name) min_bool_##name
#define KERNEL static const reduction_kernel min_of_bool
#define ELEMENT uint8_t
#define CELL boolean
#define COMBINE(a, b) LESS_OF(a, b)
#include "primitives/fold.inc"

#define FOLD(name) max_f64_##name
#define KERNEL const reduction_kernel max_of_f64
#define ELEMENT double
#define CELL f64
#define COMBINE(a, b) greater_of_f64(a, b)
#include "primitives/fold.inc"

#define FOLD(name) max_f32_##name
#define KERNEL const reduction_kernel max_of_f32
#define ELEMENT float
#define CELL f32
#define COMBINE(a, b) greater_of_f32(a, b)
#include "primitives/fold.inc"

#define FOLD(name) max_i64_##name
#define KERNEL static const reduction_kernel max_of_i64
#define ELEMENT int64_t
#define CELL i64
#define COMBINE(a, b) GREATER_OF(a, b)
#include "primitives/fold.inc"

#define FOLD(name) max_i32_##name
#define KERNEL static const reduction_kernel max_of_i32
#define ELEMENT int32_t
#define CELL i32
#define COMBINE(a, b) GREATER_OF(a, b)
#include "primitives/fold.inc"

#define FOLD(name) max_bool_##name
#define KERNEL static const reduction_kernel max_of_bool
#define ELEMENT uint8_t
#define CELL boolean
#define COMBINE(a, b) GREATER_OF(a, b)
#include "primitives/fold.inc"

const reduction_kernel *extremum_kernel(const ad_operation *op) {
  static const reduction_kernel *const least[AD_DTYPES] = { &min_of_bool, &min_of_i32, &min_of_i64,
                                                            &min_of_f32, &min_of_f64 };
  static const reduction_kernel *const most[AD_DTYPES] = { &max_of_bool, &max_of_i32, &max_of_i64,
                                                           &max_of_f32, &max_of_f64 };
  if (op->primitive == &min_primitive) return least[op->x[0]->dtype];
  return op->primitive == &max_primitive ? most[op->x[0]->dtype] : NULL;
}

/* --- min, max ------------------------------------------------------------------------------------------- */

/* Every element of z needs one of x at least; z itself may be empty. */
static ad_status extremum_type(ad_operation *op) {
  const unsigned mask = ((const reduction *)op->attribute)->mask;
  const ad_type *t = op->x[0];
  char text[192];
  reduction_type(op, t->dtype);
  if (reduction_count(t, mask) > 0 || ad_type_count(op->z) == 0) return AD_OK;
  return ad_refuse(op, AD_ERROR_SHAPE, "nothing to choose from in %s", ad_type_print(*t, text, sizeof text));
}

static const written_fold *fold_of(const ad_operation *op) {
  static const written_fold smallest[2] = {
    { "smallest", "REAL", "v", "b < a ? b : a", "0", NULL },
    { "smallest", "REAL", "v", "a == a ? (b < a ? b : a) : b", "0", NULL } };
  static const written_fold largest = { "largest", "REAL", "v", "b > a ? b : a", "0", NULL };
  const bool floats = op->z.dtype >= AD_F32;
  if (op->primitive == &min_primitive) return &smallest[floats];
  return floats ? &written_max : &largest;
}

static void write_extremum(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  char value[WRITTEN_CALL];
  ad_write(w, "%s = %s;", z, written_fold_call(w, value, op->z.dtype, fold_of(op), line, NULL));
}

static ad_status extremum_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_fold_lines(w, op, z, x[0], fold_of(op), write_extremum);
}

/* Where an element of x is the one in z; a nan in z comes from every element. Of the shape of x. */
static ad_var chosen(const ad_rule *r) {
  ad_var z = reduction_kept(r, r->z);
  ad_var same = ad_equal(r->x[0], z);
  return ad_logical_or(same, ad_is_nan(z));
}

/* How many share an element of z, in the shape that keeps the axes. */
static ad_var sharers(const ad_rule *r, ad_var where) {
  return reduction_kept(r, reduction_sum(r, ad_cast(where, r->op->z.dtype)));
}

/* zdot = sum of xdot where chosen, over their number */
static ad_var extremum_jvp(ad_rule *r, int k) {
  (void)k;
  ad_var where = chosen(r), picked = ad_select(where, r->g, 0);
  ad_var sum = reduction_kept(r, reduction_sum(r, picked));
  ad_var share = ad_div(sum, sharers(r, where));
  return ad_reshape(share, r->op->z.rank, r->op->z.dim);
}

/* xbar = zbar over the number of those chosen; the others are not connected */
static ad_var extremum_vjp(ad_rule *r, int k) {
  (void)k;
  ad_var where = chosen(r);
  ad_var share = ad_div(reduction_kept(r, r->g), sharers(r, where));
  r->connected = where;
  return ad_broadcast_to(share, r->op->x[0]->rank, r->op->x[0]->dim);
}

static const ad_primitive min_primitive = {
  .name = "reduce_min", .doc = "smallest element over axes", .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = extremum_type, .run = reduction_run, .work = work_fold,
  .scratch_bytes = reduction_scratch, .jvp = extremum_jvp, .vjp = extremum_vjp,
  .batch = reduction_batch, .trail = trail_alike, .write = extremum_write };
static const ad_primitive max_primitive = {
  .name = "reduce_max", .doc = "largest element over axes", .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = extremum_type, .run = reduction_run, .work = work_fold,
  .scratch_bytes = reduction_scratch, .jvp = extremum_jvp, .vjp = extremum_vjp,
  .batch = reduction_batch, .trail = trail_alike, .write = extremum_write };

static ad_var record_extremum(const ad_primitive *p, ad_var x, ad_axes axes, bool keep) {
  ad_type z;
  if (reduction_is_reshape(x, axes, keep, &z)) return ad_reshape(x, z.rank, z.dim);
  return reduction_record(p, x, axes, keep);
}

ad_var ad_reduce_min(ad_var x, ad_axes axes, bool keep) {
  return record_extremum(&min_primitive, x, axes, keep);
}
ad_var ad_reduce_max(ad_var x, ad_axes axes, bool keep) {
  return record_extremum(&max_primitive, x, axes, keep);
}
