/* operands.h -- bringing the operands of joins, pads and additions to one type. */
#ifndef ADIT_PRIMITIVES_OPERANDS_H
#define ADIT_PRIMITIVES_OPERANDS_H

#include "adit/primitive.h"

bool operand_is_literal(ad_var x);
/* The dtype that operands of one array come to: the latest of the variables'. Literals are weak: a real
 * one takes the float type of the others (f64 beside integers and alone), an integer one any type that
 * holds it (i64 alone). */
ad_dtype operands_dtype(int n, const ad_var x[]);
/* x with that dtype; a literal becomes a scalar constant. Invalid operands stay what they are. Records. */
ad_var operand_with_dtype(ad_tape *tape, ad_var x, ad_dtype dtype);
/* x broadcast to the shape of type where it can be, x itself where it cannot or need not. Records. */
ad_var operand_with_shape(ad_var x, const ad_type *type);

/* The shape of type with another dtype. */
static inline ad_type type_with_dtype(const ad_type *type, ad_dtype dtype) {
  ad_type t = *type;
  t.dtype = dtype;
  return t;
}
/* Zeros of the shape of type, in the dtype of g: what a cotangent is added into. Records. */
ad_var zeros_like_cotangent(const ad_rule *r, const ad_type *type);

/* Result is AD_OK, or a refusal that names the axis and the type it is not in. */
ad_status refuse_axis(ad_operation *op, int64_t axis, const ad_type *type);
/* An invalid handle, after leaving "name: axis 3 is not in f64(2,4)" on the tape of x. */
ad_var fail_axis(ad_var x, const char *name, int axis);
/* Axes as derivative rules and kernels want them: [0, rank). An axis outside stays as it is, for the type
 * rule to refuse. */
int64_t axis_or_given(int axis, int rank);

#endif
