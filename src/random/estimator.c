/* estimator.c -- gradients of expectations where samples have none, and samples that stand in for such. */
#include "random/record.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/axes.h"
#include "primitives/operands.h"

#undef ad_score_function
#undef ad_random_bernoulli_straight_through
#undef ad_random_gumbel_softmax

ad_var ad_score_function(ad_var f, ad_var log_probability, ad_var baseline) {
  const ad_var b = ad_exp(ad_sub(log_probability, ad_stop_gradient(log_probability)));
  if (!operand_is_literal(baseline)) baseline = ad_stop_gradient(baseline);
  if (random_is_number(baseline, 0)) return ad_mul(f, b);
  return ad_add(ad_mul(f, b), ad_mul(baseline, ad_sub(1, b)));
}

ad_var ad_leave_one_out_mean(ad_var f, int axis) {
  const ad_type t = ad_type_of(f);
  const int along = axis_resolve(axis, t.rank);
  if (t.rank < 0) return random_failed(ad_tape_of(1, &f));
  if (along < 0) return fail_axis(f, "leave_one_out_mean", axis);
  if (t.dim[along] < 2)
    return ad_fail(ad_tape_of(1, &f), AD_ERROR_SHAPE, "leave_one_out_mean: two samples at least, not %lld",
                   (long long)t.dim[along]);
  if (t.dtype < AD_F32) f = ad_cast(f, AD_F64);
  return ad_div(ad_sub(ad_sum(f, AD_AXES(along), true), f), (double)(t.dim[along] - 1));
}

/* hard + (soft - soft): exactly hard, as long as soft is finite. */
ad_var ad_straight_through(ad_var hard, ad_var soft) {
  char text[192], other[192];
  ad_var x[2] = { hard, soft };
  const ad_type h = ad_type_of(hard), s = ad_type_of(soft);
  if (h.rank >= 0 && s.rank >= 0 && !ad_type_equal(h, s))
    return ad_fail(ad_tape_of(2, x), AD_ERROR_SHAPE, "straight_through: %s and %s",
                   ad_type_print(h, text, sizeof text), ad_type_print(s, other, sizeof other));
  return ad_add(ad_stop_gradient(hard), ad_sub(soft, ad_stop_gradient(soft)));
}

ad_var ad_random_bernoulli_straight_through(ad_var key, ad_var probability, ad_type type) {
  static const char name[] = "random_bernoulli_straight_through";
  ad_var x[2] = { key, probability };
  ad_tape *tape = ad_tape_of(2, x);
  if (!random_is_float(tape, name, type)) return random_failed(tape);
  probability = random_parameter(tape, name, "the probability", probability, type);
  if (!ad_is_valid(probability)) return probability;
  const ad_var hard = (ad_random_bernoulli)(key, probability, type);
  if (operand_is_literal(probability)) return hard;
  return ad_straight_through(hard, operand_with_shape(probability, &type));
}

ad_var ad_random_gumbel_softmax(ad_var key, ad_var logits, ad_var temperature, bool hard) {
  static const char name[] = "random_gumbel_softmax";
  ad_var x[3] = { key, logits, temperature };
  ad_tape *tape = ad_tape_of(3, x);
  if (ad_type_of(logits).rank >= 0 && ad_type_of(logits).dtype < AD_F32) logits = ad_cast(logits, AD_F64);
  const ad_type t = ad_type_of(logits);
  if (t.rank < 0) return random_failed(tape);
  if (t.rank == 0 || t.dim[t.rank - 1] == 0)
    return ad_fail(tape, AD_ERROR_SHAPE, "%s: the last axis of logits must hold one category at least", name);
  temperature = random_parameter(tape, name, "the temperature", temperature, t);
  if (!ad_is_valid(temperature)) return temperature;
  const ad_var noisy = ad_add(logits, random_standard(tape, name, RANDOM_GUMBEL, key, t));
  const ad_var e = ad_div(noisy, temperature);
  const ad_var soft = ad_exp(ad_sub(e, ad_logsumexp(e, AD_AXES(-1), true)));
  if (!hard) return soft;
  return ad_straight_through(ad_one_hot(ad_argmax(noisy, -1, false), t.dim[t.rank - 1], t.dtype), soft);
}
