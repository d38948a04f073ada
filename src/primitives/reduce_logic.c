/* reduce_logic.c -- whether any, whether all elements over axes differ from 0. nan does. */
#include "primitives/reduce_write.h"

#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"

#include <string.h>

static const ad_primitive any_primitive, all_primitive;

#define FOLD(name) any_##name
#define KERNEL static const reduction_kernel any_of_bool
#define ELEMENT uint8_t
#define CELL boolean
#define COMBINE(a, b) ((uint8_t)((a) | (b)))
#include "primitives/fold.inc"

#define FOLD(name) all_##name
#define KERNEL static const reduction_kernel all_of_bool
#define ELEMENT uint8_t
#define CELL boolean
#define COMBINE(a, b) ((uint8_t)((a) & (b)))
#define EMPTY 1
#include "primitives/fold.inc"
#include "primitives/work.h"

const reduction_kernel *logic_kernel(const ad_operation *op) {
  if (op->primitive == &any_primitive) return &any_of_bool;
  return op->primitive == &all_primitive ? &all_of_bool : NULL;
}

static void write_any(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold fold = { "any", "REAL", "v", "(REAL)(a | b)", "0", NULL };
  char any[WRITTEN_CALL];
  ad_write(w, "%s = %s;", z, written_fold_call(w, any, op->z.dtype, &fold, line, NULL));
}

static void write_all(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold fold = { "all", "REAL", "v", "(REAL)(a & b)", "1", NULL };
  char all[WRITTEN_CALL];
  ad_write(w, "%s = %s;", z, written_fold_call(w, all, op->z.dtype, &fold, line, NULL));
}

static ad_status any_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_any, "0");
}

static ad_status all_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_all, "1");
}

static ad_status logic_type(ad_operation *op) {
  if (op->x[0]->dtype != AD_BOOL) return ad_refuse(op, AD_ERROR_DTYPE, "takes bool");
  return reduction_type(op, AD_BOOL);
}

static const ad_primitive any_primitive = {
  .name = "any", .doc = "true where an element over the axes is", .not_connected = 1,
  .type = logic_type, .run = reduction_run, .work = work_fold, .scratch_bytes = reduction_scratch,
  .batch = reduction_batch, .trail = trail_alike, .write = any_write };
static const ad_primitive all_primitive = {
  .name = "all", .doc = "true where every element over the axes is", .not_connected = 1,
  .type = logic_type, .run = reduction_run, .work = work_fold, .scratch_bytes = reduction_scratch,
  .batch = reduction_batch, .trail = trail_alike, .write = all_write };

static ad_var record_logic(const ad_primitive *p, ad_var x, ad_axes axes, bool keep) {
  ad_type z;
  if (ad_type_of(x).rank >= 0 && !operand_is_literal(x)) x = cast_to(x, AD_BOOL);
  if (reduction_is_reshape(x, axes, keep, &z)) return ad_reshape(x, z.rank, z.dim);
  return reduction_record(p, x, axes, keep);
}

ad_var ad_any(ad_var x, ad_axes axes, bool keep) { return record_logic(&any_primitive, x, axes, keep); }
ad_var ad_all(ad_var x, ad_axes axes, bool keep) { return record_logic(&all_primitive, x, axes, keep); }
