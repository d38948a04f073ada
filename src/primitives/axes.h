/* axes.h -- the arithmetic of axes and shapes that structured primitives share. */
#ifndef ADIT_PRIMITIVES_AXES_H
#define ADIT_PRIMITIVES_AXES_H

#include "adit/arrays.h"
#include "adit/primitive.h"

/* An axis in [-rank, rank) as one in [0, rank); -1 if it is outside. */
int axis_resolve(int axis, int rank);
/* Bit i: axis i chosen. False for repeated axes or axes outside the rank. */
bool axes_resolve(ad_axes axes, int rank, unsigned *mask);
/* x without the masked axes, or with size 1 there. */
ad_type axes_reduce(ad_type x, unsigned mask, bool keep);
/* The product of dim[from..to). */
int64_t axes_product(const ad_type *x, int from, int to);
/* The element of an operand of type x that element e of a result of type z meets; last axes are aligned. */
int64_t axes_met_element(const ad_type *x, const ad_type *z, int64_t e);

/* g (a cotangent of the broadcast shape) summed to the shape of type: the transpose of broadcasting. Records.
 */
ad_var sum_to_shape(ad_var g, ad_type type);
/* x converted to dtype; x itself where it has it already. Records. */
ad_var cast_to(ad_var x, ad_dtype dtype);

#endif
