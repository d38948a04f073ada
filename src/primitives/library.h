/* library.h -- the primitives that higher floors know by name. All others are reached through the nodes that use them. */
#ifndef ADIT_PRIMITIVES_LIBRARY_H
#define ADIT_PRIMITIVES_LIBRARY_H

#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/elementwise.h"

/* One for each row of the table, by row number. */
extern const ad_primitive elementwise_primitives[ROW_COUNT];
extern const ad_primitive input_primitive, constant_primitive;
extern const ad_primitive cast_primitive, stop_gradient_primitive;

#endif
