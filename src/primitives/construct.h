/* construct.h -- what passes ask about arrays that were made, not computed. */
#ifndef ADIT_PRIMITIVES_CONSTRUCT_H
#define ADIT_PRIMITIVES_CONSTRUCT_H

#include "adit/arrays.h"
#include "adit/primitive.h"

/* True when x is known to be all zeros from how it was recorded (ad_zeros, ad_full of 0). False means "cannot
 * tell". */
bool is_zeros(ad_var x);
/* True when the operation fills an array with one number (ad_zeros, ad_full); *element gets its bits, unused
 * bytes are zero. */
bool construct_is_filled(const ad_operation *op, uint64_t *element);
/* Does the operation repeat its operand along axes of size 1 and new leading ones? */
bool is_broadcast(const ad_primitive *p);
/* Is the result elements [*first, *first + count) of the operand, in their order (a slice of rows)? */
bool slice_is_range(const ad_operation *op, int64_t *first);
/* Is the result what lies at *first, and every *step from there, along one axis of the operand? */
bool slice_along(const ad_operation *op, int *axis, int64_t *first, int64_t *step);
/* Are element i of the result, and what is behind it, row index[i] of a table that has rows? */
bool take_is_rows(const ad_operation *op);
/* Does the operation choose slices along an axis (take) or add some there (scatter_add)? */
bool take_along(const ad_operation *op, int *axis);
bool scatter_along(const ad_operation *op, int *axis);
/* Of scatter_add: in how many parts, along the index, its sums are made, each of all the sums but the first
 * one from -0 on, which are then added in order. */
int scatter_parts(const ad_operation *op);
/* Is it a transpose? Axis d of the result is axis perm[d] of the operand. */
bool transpose_axes(const ad_operation *op, int64_t perm[AD_MAX_RANK]);
/* Of argmin and argmax: how many places there are along *axis, all in [0, n); 0 for other operations. */
int64_t places_of(const ad_operation *op, int *axis);
/* Is the result the first operand with the second added to elements [*first, *first + count), in their
 * order? */
bool slice_adds_range(const ad_operation *op, int64_t *first);
/* Are the operands one behind the other in the result (concat or stack along the first axis, or along one
 * that only axes of size 1 come before)? */
bool join_is_runs(const ad_operation *op);
/* Are the operands one behind the other along an axis that they have (concat)? */
bool concat_along(const ad_operation *op, int *axis);

#endif
