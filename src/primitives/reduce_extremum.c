/* reduce_extremum.c -- the smallest and the largest element over axes, and where it is.
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

static const ad_primitive min_primitive, max_primitive, argmin_primitive, argmax_primitive;

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

static void write_extremum(ad_writer *w, const char *z, ad_dtype dtype, const written_fold *fold,
                           const written_line *line) {
  char value[WRITTEN_CALL];
  ad_write(w, "%s = %s;", z, written_fold_call(w, value, dtype, fold, line, NULL));
}

static void write_min(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold smallest[2] = {
    { "smallest", "REAL", "v", "b < a ? b : a", "0", NULL },
    { "smallest", "REAL", "v", "a == a ? (b < a ? b : a) : b", "0", NULL } };
  write_extremum(w, z, op->z.dtype, &smallest[op->z.dtype >= AD_F32], line);
}

static void write_max(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold of_integers = { "largest", "REAL", "v", "b > a ? b : a", "0", NULL };
  write_extremum(w, z, op->z.dtype, op->z.dtype < AD_F32 ? &of_integers : &written_max, line);
}

static ad_status min_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_min, "0");
}

static ad_status max_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_max, "0");
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
  .batch = reduction_batch, .write = min_write };
static const ad_primitive max_primitive = {
  .name = "reduce_max", .doc = "largest element over axes", .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = extremum_type, .run = reduction_run, .work = work_fold,
  .scratch_bytes = reduction_scratch, .jvp = extremum_jvp, .vjp = extremum_vjp,
  .batch = reduction_batch, .write = max_write };

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

/* --- argmin, argmax: the first place of what reduce_min, reduce_max gives; 0 where all are nan ---------- */

typedef struct place_attribute { int32_t axis; uint32_t keep; } place_attribute;

enum { PLACE_COLUMNS = 64 };

/* n rows, stride apart, of w columns: the place of the best in each. */
typedef void place_kernel(int64_t n, int64_t stride, int64_t w, int64_t *z, const void *x);

/* BETTER(a, b): b goes before a. */
#define PLACE(name, T, BETTER)                                                         \
  static void name(int64_t n, int64_t stride, int64_t w, int64_t *z, const void *vx) { \
    const T *x = vx;                                                                   \
    T best[PLACE_COLUMNS];                                                             \
    for (int64_t j = 0; j < w; j++) best[j] = x[j], z[j] = 0;                          \
    for (int64_t i = 1; i < n; i++)                                                    \
      for (int64_t j = 0; j < w; j++) {                                                \
        const T v = x[i*stride + j];                                                   \
        const bool better = BETTER(best[j], v);                                        \
        best[j] = better ? v : best[j];                                                \
        z[j] = better ? i : z[j];                                                      \
      }                                                                                \
  }
#define LESS(a, b) ((b) < (a))
#define GREATER(a, b) ((b) > (a))
#define LESS_OR_FIRST(a, b) ((b) < (a) || ((a) != (a) && (b) == (b)))
#define GREATER_OR_FIRST(a, b) ((b) > (a) || ((a) != (a) && (b) == (b)))
PLACE(argmin_bool, uint8_t, LESS)
PLACE(argmin_i32, int32_t, LESS)
PLACE(argmin_i64, int64_t, LESS)
PLACE(argmin_f32, float, LESS_OR_FIRST)
PLACE(argmin_f64, double, LESS_OR_FIRST)
PLACE(argmax_bool, uint8_t, GREATER)
PLACE(argmax_i32, int32_t, GREATER)
PLACE(argmax_i64, int64_t, GREATER)
PLACE(argmax_f32, float, GREATER_OR_FIRST)
PLACE(argmax_f64, double, GREATER_OR_FIRST)

static place_kernel *place_kernel_of(const ad_operation *op) {
  static place_kernel *const least[AD_DTYPES] = { argmin_bool, argmin_i32, argmin_i64,
                                                argmin_f32, argmin_f64 };
  static place_kernel *const most[AD_DTYPES] = { argmax_bool, argmax_i32, argmax_i64,
                                               argmax_f32, argmax_f64 };
  return (op->primitive == &argmin_primitive ? least : most)[op->x[0]->dtype];
}

static ad_status place_type(ad_operation *op) {
  const place_attribute *a = op->attribute;
  const ad_type *t = op->x[0];
  char text[192];
  if (a->axis < 0 || a->axis >= t->rank) return refuse_axis(op, a->axis, t);
  op->z = axes_reduce(*t, 1u << a->axis, a->keep != 0);
  op->z.dtype = AD_I64;
  if (t->dim[a->axis] > 0 || ad_type_count(op->z) == 0) return AD_OK;
  return ad_refuse(op, AD_ERROR_SHAPE, "nothing to choose from in %s", ad_type_print(*t, text, sizeof text));
}

/* A kernel and its arrays: x of (.., n, inner) elements, as bytes, z of (.., inner). */
typedef struct place_job {
  place_kernel *kernel;
  int64_t *z;
  const char *x;
  int64_t size, n, inner, tiles;
} place_job;

/* Task i: a tile of neighbouring lines along the axis. */
static void place_tile(const void *context, int64_t i) {
  const place_job *j = context;
  const int64_t first = i%j->tiles*PLACE_COLUMNS, left = j->inner - first, outer = i/j->tiles;
  j->kernel(j->n, j->inner, left < PLACE_COLUMNS ? left : PLACE_COLUMNS, j->z + outer*j->inner + first,
            j->x + (outer*j->n*j->inner + first)*j->size);
}

static ad_status place_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int axis = ((const place_attribute *)op->attribute)->axis;
  const ad_type *t = op->x[0];
  const int64_t inner = axes_product(t, axis + 1, t->rank);
  const place_job j = { .kernel = place_kernel_of(op), .z = z, .x = x[0],
                        .size = (int64_t)ad_dtype_bytes(t->dtype), .n = t->dim[axis], .inner = inner,
                        .tiles = (inner + PLACE_COLUMNS - 1)/PLACE_COLUMNS };
  if (j.n > 0) parallel_tasks(ad_type_count(*t), axes_product(t, 0, axis)*j.tiles, 16, place_tile, &j);
  return AD_OK;
}

/* before: the sign between v and the best so far that makes v better. */
static void write_place(ad_writer *w, ad_dtype dtype, const char *name, const char *before, const char *z,
                        const written_line *line) {
  static const char text[] =
    "static int64_t HELPER(%s)(const REAL *x, int64_t n, int64_t step) {\n"
    "  REAL best = x[0];\n"
    "  int64_t place = 0;\n"
    "  for (int64_t i = 1; i < n; i++) {\n"
    "    const REAL v = x[i*step];\n"
    "    if (v %s best%s) best = v, place = i;\n"
    "  }\n"
    "  return place;\n"
    "}\n";
  char routine[sizeof text + 80];
  snprintf(routine, sizeof routine, text, name, before, dtype < AD_F32 ? "" : " || (best != best && v == v)");
  ad_write(w, "%s = %s(%s, %lld, %lld);", z, ad_write_routine(w, dtype, name, routine), line->at,
           (long long)line->n, (long long)line->step);
}

static void write_argmin(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  write_place(w, op->x[0]->dtype, "argmin", "<", z, line);
}

static void write_argmax(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  write_place(w, op->x[0]->dtype, "argmax", ">", z, line);
}

static ad_status place_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const bool least = op->primitive == &argmin_primitive;
  const unsigned mask = 1u << ((const place_attribute *)op->attribute)->axis;
  return write_lines(w, op, mask, z, x[0], least ? write_argmin : write_argmax, "0");
}

static const ad_primitive argmin_primitive = {
  .name = "argmin", .doc = "first place of the smallest element along an axis", .not_connected = 1,
  .type = place_type, .run = place_run, .work = work_fold,
  .batch = batch_along_narrow, .write = place_write };
static const ad_primitive argmax_primitive = {
  .name = "argmax", .doc = "first place of the largest element along an axis", .not_connected = 1,
  .type = place_type, .run = place_run, .work = work_fold,
  .batch = batch_along_narrow, .write = place_write };

static ad_var record_place(const ad_primitive *p, ad_var x, int axis, bool keep) {
  const ad_type t = ad_type_of(x);
  if (t.rank >= 0 && axis_resolve(axis, t.rank) < 0) return fail_axis(x, p->name, axis);
  const place_attribute a = { t.rank < 0 ? 0 : axis_resolve(axis, t.rank), keep };
  return ad_record(NULL, p, 1, &x, &a, sizeof a);
}

ad_var ad_argmin(ad_var x, int axis, bool keep) { return record_place(&argmin_primitive, x, axis, keep); }
ad_var ad_argmax(ad_var x, int axis, bool keep) { return record_place(&argmax_primitive, x, axis, keep); }
