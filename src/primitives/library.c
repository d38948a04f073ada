/* library.c -- primitive structs for the rows of the table, the leaves, and the two operations that are
 * neither: cast and stop_gradient. */
#include "primitives/library.h"
#include "primitives/batching.h"
#include "primitives/strided_write.h"

#include "adit/derive.h"
#include "primitives/work.h"

#define PRIMITIVE(id, n, row_traits, text, ...) \
  [ROW_##id] = { .name = #id, .doc = text, .traits = AD_TRAIT_ELEMENTWISE, .linear_in = (row_traits) & 7u, \
                 .arity = n, .rule = { __VA_ARGS__ }, .row = &elementwise_rows[ROW_##id] },
#define UNARY(id, kind, row_traits, lo, hi, value, rx, text) PRIMITIVE(id, 1, row_traits, text, #rx)
#define UNARY_ATTRIBUTE(id, kind, row_traits, a, lo, hi, value, rx, text) \
  PRIMITIVE(id, 1, row_traits, text, #rx)
#define BINARY(id, kind, row_traits, lo1, hi1, lo2, hi2, value, rx, ry, text) \
  PRIMITIVE(id, 2, row_traits, text, #rx, #ry)
#define TERNARY(id, kind, row_traits, lo1, hi1, lo2, hi2, lo3, hi3, value, rx, ry, rw, text) \
  PRIMITIVE(id, 3, row_traits, text, #rx, #ry, #rw)
const ad_primitive elementwise_primitives[ROW_COUNT] = {
#include "primitives/elementwise.def"
};

const ad_primitive input_primitive = { .name = "input", .doc = "an input" };
const ad_primitive constant_primitive = { .name = "constant", .doc = "a constant" };

/* --- cast: z = x as another dtype ----------------------------------------------------------------- */

static ad_status cast_type(ad_operation *op) {
  const int64_t *dtype = op->attribute;
  if (op->n != 1 || op->attribute_size != sizeof *dtype || *dtype < 0 || *dtype >= AD_DTYPES)
    return ad_refuse(op, AD_ERROR_DTYPE, "no such data type");
  op->z = ad_type_make((ad_dtype)*dtype, op->x[0]->rank, op->x[0]->dim);
  return AD_OK;
}

static ad_status cast_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  kernels_best()->cast[op->x[0]->dtype][op->z.dtype]((size_t)ad_type_count(op->z), z, x[0], NULL, NULL, 0);
  return AD_OK;
}

static ad_var cast_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_cast(r->g, r->op->x[0]->dtype);
}

const ad_primitive cast_primitive = { .name = "cast",
                                      .doc = "conversion to another data type",
                                      .traits = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS,
                                      .type = cast_type,
                                      .run = cast_run,
                                      .work = work_move,
                                      .vjp = cast_vjp,
                                      .batch = batch_leading,
                                      .trail = trail_alike };

ad_var ad_cast(ad_var x, ad_dtype dtype) {
  const int64_t attribute = (int64_t)dtype;
  ad_tape *t = ad_tape_of(1, &x);
  if (t && ad_is_valid(x) && ad_type_of(x).dtype == dtype) return x;
  return ad_record(NULL, &cast_primitive, 1, &x, &attribute, sizeof attribute);
}

block_kernel *primitive_kernel(const ad_primitive *p, ad_dtype from, ad_dtype to) {
  const kernel_table *kernels = kernels_best();
  if (p == &cast_primitive) return kernels->cast[from][to];
  return p->row ? kernels->row[from][(const elementwise_row *)p->row - elementwise_rows] : NULL;
}

/* --- stop_gradient: z = x, never connected -------------------------------------------------------- */

static ad_status stop_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}

static ad_status stop_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  kernels_best()->cast[op->z.dtype][op->z.dtype]((size_t)ad_type_count(op->z), z, x[0], NULL, NULL, 0);
  return AD_OK;
}

static ad_status stop_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_copy(w, ad_type_count(op->z), z, x[0]);
  return AD_OK;
}

const ad_primitive stop_gradient_primitive = { .name = "stop_gradient",
                                               .doc = "x itself, constant to derivatives",
                                               .traits = AD_TRAIT_ALIAS,
                                               .not_connected = 1,
                                               .type = stop_type,
                                               .run = stop_run,
                                               .work = work_move,
                                               .batch = batch_leading,
                                               .trail = trail_alike,
                                               .write = stop_write };

ad_var ad_stop_gradient(ad_var x) { return ad_record(NULL, &stop_gradient_primitive, 1, &x, NULL, 0); }
