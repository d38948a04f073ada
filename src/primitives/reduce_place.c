/* reduce_place.c -- argmin, argmax: the first place of what reduce_min, reduce_max gives; 0 where all are
 * nan.
 *
 * Lines along an axis are walked side by side, so that vectors hold neighbouring lines; the loops are
 * compiled for the vectors of newer processors too. */
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "base/parallel.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/construct.h"
#include "primitives/operands.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

static const ad_primitive argmin_primitive, argmax_primitive;

typedef struct place_attribute { int32_t axis; uint32_t keep; } place_attribute;

/* --- kernels -------------------------------------------------------------------------------------------- */

enum { PLACE_COLUMNS = 256 };

/* n rows, stride apart, of w columns: the place of the best in each. */
typedef void place_kernel(int64_t n, int64_t stride, int64_t w, int64_t *restrict z, const void *x);

typedef struct place_kernels { place_kernel *least[AD_DTYPES], *most[AD_DTYPES]; } place_kernels;

#define PLACE(name) name##_baseline
#include "primitives/reduce_place.inc"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define PLACE(name) name##_avx2
#include "primitives/reduce_place.inc"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
#endif
#define PLACE(name) name##_avx512
#include "primitives/reduce_place.inc"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const place_kernels *best_kernels(void) {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) return &kernels_avx512;
  return __builtin_cpu_supports("avx2") ? &kernels_avx2 : &kernels_baseline;
}
#else
static const place_kernels *best_kernels(void) { return &kernels_baseline; }
#endif

static place_kernel *place_kernel_of(const ad_operation *op) {
  const place_kernels *k = best_kernels();
  return (op->primitive == &argmin_primitive ? k->least : k->most)[op->x[0]->dtype];
}

/* --- the primitives ------------------------------------------------------------------------------------- */

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
  .traits = AD_TRAIT_NEVER_FAILS,
  .type = place_type, .run = place_run, .work = work_fold,
  .batch = batch_along_narrow, .trail = trail_alike, .write = place_write };
static const ad_primitive argmax_primitive = {
  .name = "argmax", .doc = "first place of the largest element along an axis", .not_connected = 1,
  .traits = AD_TRAIT_NEVER_FAILS,
  .type = place_type, .run = place_run, .work = work_fold,
  .batch = batch_along_narrow, .trail = trail_alike, .write = place_write };

int64_t places_of(const ad_operation *op, int *axis) {
  if (op->primitive != &argmin_primitive && op->primitive != &argmax_primitive) return 0;
  *axis = ((const place_attribute *)op->attribute)->axis;
  return op->x[0]->dim[*axis];
}

static ad_var record_place(const ad_primitive *p, ad_var x, int axis, bool keep) {
  const ad_type t = ad_type_of(x);
  if (t.rank >= 0 && axis_resolve(axis, t.rank) < 0) return fail_axis(x, p->name, axis);
  const place_attribute a = { t.rank < 0 ? 0 : axis_resolve(axis, t.rank), keep };
  return ad_record(NULL, p, 1, &x, &a, sizeof a);
}

ad_var ad_argmin(ad_var x, int axis, bool keep) { return record_place(&argmin_primitive, x, axis, keep); }
ad_var ad_argmax(ad_var x, int axis, bool keep) { return record_place(&argmax_primitive, x, axis, keep); }
