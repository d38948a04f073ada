/* fold_index.c -- simplification of what an index chooses, in the bodies of functions: an array of one number
 * gives that number wherever it is read, and where one number is added to another one, each slice is like the
 * others. Tangents of a table in all directions at once, and slopes of its rows, are such arrays. Constant
 * indices in equal steps are slices. */
#include "tape/tape.h"
#include "adit/arrays.h"
#include "primitives/construct.h"
#include "primitives/library.h"

#include <math.h>

/* Elements of i are in [0, n) for this n, as they are places in an array; 0: not known. */
static int64_t limit_of(const ad_tape *t, uint32_t i) {
  enum { DEPTH = 8 };
  const unsigned same = AD_TRAIT_ALIAS | AD_TRAIT_LINEAR;
  for (int step = 0; step < DEPTH && !node_is_leaf(t, i); step++) {
    const ad_type *types[1];
    int n, axis;
    const uint32_t *x = node_operands(t, i, &n);
    if (n != 1) return 0;
    const ad_operation op = node_operation(t, i, types);
    const int64_t places = places_of(&op, &axis);
    if (places || (op.primitive->traits & same) != same) return places;
    i = x[0];
  }
  return 0;
}

static int64_t index_at(const ad_tape *t, uint32_t i, int64_t at) {
  const void *k = node_data(t, i);
  return node_type(t, i)->type.dtype == AD_I64 ? ((const int64_t *)k)[at] : ((const int32_t *)k)[at];
}

/* Are the indices constant, *first and every *step from there, all of them in [0, length)? */
static bool is_range(const ad_tape *t, uint32_t i, int64_t length, int64_t *first, int64_t *step) {
  const ad_type *type = &node_type(t, i)->type;
  if (!node_is_constant(t, i) || type->rank != 1 || type->dim[0] == 0) return false;
  const int64_t n = type->dim[0];
  *first = index_at(t, i, 0);
  if (*first < 0 || *first >= length) return false;
  const int64_t second = n > 1 ? index_at(t, i, 1) : *first + 1;
  if (second <= *first || (n > 1 && second >= length)) return false;
  *step = second - *first;
  if ((length - 1 - *first) / *step < n - 1) return false;
  for (int64_t k = 1; k < n; k++)
    if (index_at(t, i, k) != *first + k * *step) return false;
  return true;
}

static uint32_t node_or_none(ad_var z) { return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX; }

/* take: only where no index can be out of range, as that is an error. */
static uint32_t fold_take(ad_tape *t, const ad_operation *op, int axis, uint32_t type, const uint32_t x[]) {
  scalar v;
  int64_t first, step;
  if (is_range(t, x[1], op->x[0]->dim[axis], &first, &step))
    return node_or_none(ad_slice(handle(t, x[0]), axis, first, op->x[1]->dim[0], step));
  if (!tape_is_filled(t, x[0], &v)) return INVALID_INDEX;
  const int64_t limit = limit_of(t, x[1]);
  return limit && limit <= op->x[0]->dim[axis] ? tape_filled(t, type, v) : INVALID_INDEX;
}

/* Are sums of n updates and the base whole numbers that the type holds, whatever the order? */
static bool is_exact(ad_dtype dtype, double base, double update, double n) {
  if (dtype < AD_F32) return fabs(base) <= 0x1p53 && fabs(update) <= 0x1p53;
  const double most = dtype == AD_F64 ? 0x1p53 : 0x1p24;
  return base == rint(base) && update == rint(update) && fabs(base) + n*fabs(update) <= most;
}

/* x with axes [from, from + count) alone, the others of size 1. */
static ad_type narrowed(const ad_type *x, int from, int count) {
  ad_type z = *x;
  for (int d = 0; d < z.rank; d++)
    if (d < from || d >= from + count) z.dim[d] = 1;
  return z;
}

/* scatter_add: done for one slice, which is repeated. */
static uint32_t fold_scatter(ad_tape *t, const ad_operation *op, int axis, const uint32_t x[]) {
  scalar v[2];
  int64_t first, step;
  if (is_range(t, x[1], op->x[0]->dim[axis], &first, &step))
    return node_or_none(ad_slice_add(handle(t, x[0]), handle(t, x[2]), axis, first, step));
  if (!tape_is_filled(t, x[0], &v[0]) || !tape_is_filled(t, x[2], &v[1])) return INVALID_INDEX;
  const ad_dtype dtype = op->z.dtype;
  const double base = tape_number(dtype, v[0]), update = tape_number(dtype, v[1]);
  const ad_type to = narrowed(op->x[0], axis, 1), from = narrowed(op->x[2], axis, op->x[1]->rank);
  if (ad_type_count(to) == ad_type_count(op->z) || ad_type_count(op->z) == 0) return INVALID_INDEX;
  if (!is_exact(dtype, base, update, (double)ad_type_count(from))) return INVALID_INDEX;
  const ad_var sums = ad_scatter_add(ad_full(t, to, base), handle(t, x[1]), ad_full(t, from, update), axis);
  const ad_var z = ad_broadcast_to(sums, op->z.rank, op->z.dim);
  return node_or_none(z);
}

uint32_t tape_fold_structured(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                         const void *attribute, size_t size) {
  const ad_type *types[4];
  int axis;
  if (!t->closed || n < 1 || n > 4) return INVALID_INDEX;
  for (int k = 0; k < n; k++) types[k] = &node_type(t, x[k])->type;
  const ad_operation op = { .primitive = t->primitive[primitive - PRIMITIVE_FIRST_OTHER], .n = n, .x = types,
                            .z = t->type[type]->type, .attribute = attribute, .attribute_size = size };
  if (n == 2 && op.z.rank >= 2) {
    const uint32_t product = tape_fold_product(t, &op, x);
    if (product != INVALID_INDEX) return product;
  }
  if (n == 1) return tape_fold_slice(t, &op, x[0]);
  if (n == 4) return tape_fold_sparse(t, &op, x);
  if (take_along(&op, &axis)) return fold_take(t, &op, axis, type, x);
  return scatter_along(&op, &axis) ? fold_scatter(t, &op, axis, x) : INVALID_INDEX;
}
