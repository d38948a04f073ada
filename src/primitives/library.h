/* library.h -- the primitives that higher floors know by name. All others are reached through the nodes that
 * use them. */
#ifndef ADIT_PRIMITIVES_LIBRARY_H
#define ADIT_PRIMITIVES_LIBRARY_H

#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/elementwise.h"

/* One for each row of the table, by row number. */
extern const ad_primitive elementwise_primitives[ROW_COUNT];
extern const ad_primitive input_primitive, constant_primitive;
extern const ad_primitive cast_primitive, stop_gradient_primitive;

/* The block kernel of a table row or of a cast, for operands of dtype from (select: of its second operand)
 * and a result of dtype to; NULL for primitives that have none. */
block_kernel *primitive_kernel(const ad_primitive *p, ad_dtype from, ad_dtype to);

#endif
