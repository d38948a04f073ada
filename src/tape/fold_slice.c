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

/* op: on node i. */
uint32_t tape_fold_slice(ad_tape *t, const ad_operation *op, uint32_t i) {
  int axis, n;
  int64_t first, step;
  if (!slice_along(op, &axis, &first, &step) || joined_axis(t, i) != axis) return INVALID_INDEX;
  const uint32_t *x = node_operands(t, i, &n);
  const int64_t last = first + (op->z.dim[axis] - 1)*step, low = step < 0 ? last : first;
  if (op->z.dim[axis] == 0) return INVALID_INDEX;
  for (int64_t begin = 0, k = 0; k < n; k++) {
    const int64_t own = node_type(t, x[k])->type.dim[axis];
    if (low >= begin && (step < 0 ? first : last) < begin + own) {
      const ad_var z = ad_slice(handle(t, x[k]), axis, first - begin, op->z.dim[axis], step);
      return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
    }
    begin += own;
  }
  return INVALID_INDEX;
}

/* op: on nodes x. */
uint32_t tape_fold_sparse(ad_tape *t, const ad_operation *op, const uint32_t x[]) {
  ad_var of[SPARSE_OPERANDS];
  uint32_t origin;
  int64_t first, count, from, step;
  int axis;
  bool all;
  if (!sparse_is_product(op, &first, &count, &all)) return INVALID_INDEX;
  const uint32_t columns = all ? tape_origin(t, x[SPARSE_ARRAY]) : x[SPARSE_ARRAY];
  const ad_type *type = &node_type(t, columns)->type;
  if (!is_slice(t, columns, &origin, &axis, &from, &step) || type->rank != 2 || axis != 1 || step != 1
      || type->dim[0] != op->x[SPARSE_ARRAY]->dim[0])
    return INVALID_INDEX;
  for (int k = 0; k < SPARSE_OPERANDS; k++) of[k] = handle(t, k == SPARSE_ARRAY ? origin : x[k]);
  const ad_var z = ad_reshape(sparse_product_of_columns(of, from + first, count), op->z.rank, op->z.dim);
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}
