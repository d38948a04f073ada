/* functions.c -- softmax, normalisation, dropout. */
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/losses.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "primitives/axes.h"
#include "primitives/operands.h"

/* x as a float, or an invalid handle with the error on its tape. */
static ad_var as_float(ad_var x) {
  const ad_type type = ad_type_of(x);
  return type.rank >= 0 && type.dtype < AD_F32 ? ad_cast(x, AD_F64) : x;
}

/* x less its largest element along axis: exp then neither overflows nor, in the sum, vanishes, and what is
 * added to it is at most log n, so that no digits are lost where x is large. The shift is constant to
 * derivatives, since softmax does not change by it. */
static ad_var shifted(ad_var x, int axis, const char *name) {
  const ad_type type = ad_type_of(x);
  char text[192];
  if (type.rank < 0) return x;
  const int along = axis_resolve(axis, type.rank);
  if (along < 0) return fail_axis(x, name, axis);
  if (type.dim[along] == 0)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE, "%s: axis %d of %s is empty", name, axis,
                   ad_type_print(type, text, sizeof text));
  x = as_float(x);
  return ad_sub(x, ad_stop_gradient(ad_reduce_max(x, AD_AXES(along), true)));
}

ad_var ad_log_softmax(ad_var x, int axis) {
  const ad_var y = shifted(x, axis, "log_softmax");
  return ad_sub(y, ad_logsumexp(y, AD_AXES(axis), true));
}

ad_var ad_softmax(ad_var x, int axis) {
  const ad_var y = shifted(x, axis, "softmax");
  return ad_exp(ad_sub(y, ad_logsumexp(y, AD_AXES(axis), true)));
}

ad_var ad_layer_norm(ad_var x, ad_axes axes, double epsilon) {
  if (!(epsilon >= 0))
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "layer_norm: epsilon %g is not 0 or more", epsilon);
  x = as_float(x);
  const ad_var d = ad_sub(x, ad_mean(x, axes, true));
  return ad_mul(d, ad_rsqrt(ad_add(ad_mean(ad_square(d), axes, true), epsilon)));
}

ad_var ad_dropout(ad_var x, double rate, ad_var key) {
  ad_var both[2] = { x, key };
  ad_tape *tape = ad_tape_of(2, both);
  const ad_type type = ad_type_of(as_float(x));
  if (!(rate >= 0 && rate <= 1))
    return ad_fail(tape, AD_ERROR_ARGUMENT, "dropout: rate %g is not in [0, 1]", rate);
  if (type.rank < 0) return x;
  x = as_float(x);
  if (rate == 0) return x;
  if (ad_type_of(key).dtype != AD_I64 || operand_is_literal(key))
    return ad_fail(tape, AD_ERROR_DTYPE, "dropout: the key is no i64 variable");
  ad_type mask = type;
  mask.dtype = AD_BOOL;
  const ad_var stays = ad_random_bernoulli(key, 1 - rate, mask);
  return ad_select(stays, ad_mul(x, 1/(1 - rate)), 0);
}
