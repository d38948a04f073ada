/* fold_slice.c -- simplification of slices in the bodies of functions: what is cut out of arrays put together
 * is cut out of one of them, and products with sparse matrices read columns of an array where they are. No
 * copies are made of either. */
#include "tape/tape.h"
#include "adit/arrays.h"
#include "primitives/construct.h"
#include "primitives/sparse.h"

/* Is node i a slice along one axis? Of *origin then. */
static bool is_slice(const ad_tape *t, uint32_t i, uint32_t *origin, int *axis, int64_t *first,
                     int64_t *step) {
  const ad_type *types[1];
  int n;
  if (node_is_leaf(t, i)) return false;
  const uint32_t *x = node_operands(t, i, &n);
  if (n != 1) return false;
  const ad_operation op = node_operation(t, i, types);
  *origin = x[0];
  return slice_along(&op, axis, first, step);
}

/* The axis along which node i is a concatenation, -1: it is none. */
static int joined_axis(const ad_tape *t, uint32_t i) {
  int axis;
  if (node_is_leaf(t, i)) return -1;
  ad_operation op = { .primitive = node_primitive(t, i) };
  op.attribute = node_attribute(t, i, &op.attribute_size);
  return concat_along(&op, &axis) ? axis : -1;
}

/* Which operand of node i, arrays one behind the other along axis, elements low to high are of, counted there
 * from *begin on; INVALID_INDEX: none has all of them. */
static uint32_t part_with(const ad_tape *t, uint32_t i, int axis, int64_t low, int64_t high, int64_t *begin) {
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  *begin = 0;
  for (int k = 0; k < n; k++) {
    const int64_t own = node_type(t, x[k])->type.dim[axis];
    if (low >= *begin && low < *begin + own) return high < *begin + own ? x[k] : INVALID_INDEX;
    *begin += own;
  }
  return INVALID_INDEX;
}

/* op: on node i. Concatenations within concatenations are gone through one after the other: they may be as
 * deep as a user's loop is long. */
uint32_t tape_fold_slice(ad_tape *t, const ad_operation *op, uint32_t i) {
  int axis;
  int64_t first, step, begin;
  if (!slice_along(op, &axis, &first, &step) || op->z.dim[axis] == 0) return INVALID_INDEX;
  const uint32_t whole = i;
  const int64_t last = (op->z.dim[axis] - 1)*step;
  while (joined_axis(t, i) == axis) {
    const int64_t low = step < 0 ? first + last : first, high = step < 0 ? first : first + last;
    const uint32_t part = part_with(t, i, axis, low, high, &begin);
    if (part == INVALID_INDEX) break;
    i = part, first -= begin;
  }
  if (i == whole) return INVALID_INDEX;
  const ad_var z = ad_slice(handle(t, i), axis, first, op->z.dim[axis], step);
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}

/* Node i as columns of an array of which it is a slice, from *from on, which is added to; slices of slices,
 * too. INVALID_INDEX: it is none. */
static uint32_t array_of(const ad_tape *t, uint32_t i, int64_t *from) {
  uint32_t origin, found = INVALID_INDEX;
  int axis;
  int64_t first, step;
  while (node_type(t, i)->type.rank == 2 && is_slice(t, i, &origin, &axis, &first, &step) && axis == 1
         && step == 1) {
    *from += first;
    found = i = origin;
  }
  return found;
}

/* op: on nodes x. */
uint32_t tape_fold_sparse(ad_tape *t, const ad_operation *op, const uint32_t x[]) {
  ad_var of[SPARSE_OPERANDS];
  int64_t first, count;
  bool all;
  if (!sparse_is_product(op, &first, &count, &all)) return INVALID_INDEX;
  const uint32_t columns = all ? tape_origin(t, x[SPARSE_ARRAY]) : x[SPARSE_ARRAY];
  const ad_type *type = &node_type(t, columns)->type;
  if (type->rank != 2 || type->dim[0] != op->x[SPARSE_ARRAY]->dim[0]) return INVALID_INDEX;
  const uint32_t array = array_of(t, columns, &first);
  if (array == INVALID_INDEX) return INVALID_INDEX;
  for (int k = 0; k < SPARSE_OPERANDS; k++) of[k] = handle(t, k == SPARSE_ARRAY ? array : x[k]);
  const ad_var z = ad_reshape(sparse_product_of_columns(of, first, count), op->z.rank, op->z.dim);
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}
