/* elements.h -- rules `elements` of adit/primitive.h that many primitives share: what a kernel does with
 * elements is found by running it on their numbers. */
#ifndef ADIT_PRIMITIVES_ELEMENTS_H
#define ADIT_PRIMITIVES_ELEMENTS_H

#include "adit/primitive.h"

/* Each element of z is one of an operand, or 0, wherever the kernel moves it, whatever the dtype. */
bool moved_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]);
/* z = x[0], with some elements of x[1] added to some of it, one to each at most. Not of bools. */
bool added_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]);
/* No operands: the values. */
bool constant_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]);

/* The scalar 0 of that type. */
ad_var zero_element(ad_tape *tape, ad_dtype dtype);

#endif
