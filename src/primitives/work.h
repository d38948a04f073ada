/* work.h -- how much work the primitives are, for the rules `work` of ad_primitive: what several share.
 *
 * On entry a rule finds the bytes of all operands read, and those of the result written.
 */
#ifndef ADIT_PRIMITIVES_WORK_H
#define ADIT_PRIMITIVES_WORK_H

#include "adit/primitive.h"
#include "primitives/elementwise.h"

/* Of one element of a row of the table, by the text of its value: a row that calls no function of <math.h>
 * or of helpers.h, but for what is an instruction or two (fabs, floor, the larger of two), is one
 * operation; fma is two; any other row is one call. */
ad_work row_work(const elementwise_row *row);

/* Moves its operands as they are. */
void work_move(const ad_operation *op, ad_work *w);
/* Reads only what it gives of operand 0 (slices, gathers). */
void work_part(const ad_operation *op, ad_work *w);
/* Adds the last operand into a part of the first one, in place. */
void work_add_into(const ad_operation *op, ad_work *w);
/* One, or two, operations for each element of operand 0. */
void work_fold(const ad_operation *op, ad_work *w);
void work_fold_twice(const ad_operation *op, ad_work *w);
/* One call for each element of the result: random numbers. */
void work_call(const ad_operation *op, ad_work *w);

#endif
