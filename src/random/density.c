/* density.c -- log-densities, entropies and divergences, recorded in stable formulas. */
#include "random/record.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/operands.h"

#include <math.h>

#undef ad_normal_log_density
#undef ad_laplace_log_density
#undef ad_exponential_log_density
#undef ad_gumbel_log_density
#undef ad_uniform_log_density
#undef ad_bernoulli_log_probability
#undef ad_normal_diagonal_log_density
#undef ad_normal_kl
#undef ad_bernoulli_kl

static const double half_log_2_pi = 0.91893853320467274178, log_2 = 0.69314718055994530942;

/* --- log-densities -------------------------------------------------------------------------------------- */

static ad_var standardise(ad_var x, ad_var location, ad_var scale) {
  return ad_div(ad_sub(x, location), scale);
}

/* -(x - m)^2/(2 s^2) - log s - log(2 pi)/2 */
ad_var ad_normal_log_density(ad_var x, ad_var mean, ad_var deviation) {
  const ad_var e = standardise(x, mean, deviation);
  return ad_sub(ad_mul(-0.5, ad_square(e)), ad_add(ad_log(deviation), half_log_2_pi));
}

/* -|x - m|/s - log(2 s) */
ad_var ad_laplace_log_density(ad_var x, ad_var location, ad_var scale) {
  const ad_var e = standardise(x, location, scale);
  return ad_neg(ad_add(ad_abs(e), ad_add(ad_log(scale), log_2)));
}

/* log r - r x for x >= 0 */
ad_var ad_exponential_log_density(ad_var x, ad_var rate) {
  const ad_var inside = ad_sub(ad_log(rate), ad_mul(rate, x));
  return ad_select(ad_less(x, 0), -INFINITY, inside);
}

/* -(e + exp(-e)) - log s, e = (x - m)/s */
ad_var ad_gumbel_log_density(ad_var x, ad_var location, ad_var scale) {
  const ad_var e = standardise(x, location, scale);
  return ad_neg(ad_add(ad_add(e, ad_exp(ad_neg(e))), ad_log(scale)));
}

/* -log(high - low) inside; nan stays nan */
ad_var ad_uniform_log_density(ad_var x, ad_var low, ad_var high) {
  const ad_var outside = ad_logical_or(ad_less(x, low), ad_greater(x, high));
  const ad_var density = ad_select(outside, -INFINITY, ad_neg(ad_log(ad_sub(high, low))));
  return ad_select(ad_is_nan(x), x, density);
}

ad_var ad_bernoulli_log_probability(ad_var x, ad_var logit) {
  return ad_logsigmoid(ad_select(ad_not_equal(x, 0), logit, ad_neg(logit)));
}

ad_var ad_normal_diagonal_log_density(ad_var x, ad_var mean, ad_var deviation) {
  const ad_type t = ad_type_of(x);
  if (t.rank == 0)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE,
                   "normal_diagonal_log_density: x has no axis of components");
  return ad_sum(ad_normal_log_density(x, mean, deviation), AD_AXES(-1), false);
}

/* --- categories ----------------------------------------------------------------------------------------- */

/* False, with the error on the tape, where logits have no last axis of categories. */
static bool has_categories(ad_tape *tape, ad_var logits, const char *name) {
  const ad_type t = ad_type_of(logits);
  if (t.rank > 0 && t.dim[t.rank - 1] > 0) return true;
  if (t.rank >= 0)
    ad_fail(tape, AD_ERROR_SHAPE, "%s: the last axis of logits must hold one category at least", name);
  return false;
}

static ad_var log_softmax(ad_var logits) { return ad_sub(logits, ad_logsumexp(logits, AD_AXES(-1), true)); }

static ad_var float_of(ad_var x) { return ad_type_of(x).dtype < AD_F32 ? ad_cast(x, AD_F64) : x; }

ad_var ad_categorical_log_probability(ad_var index, ad_var logits) {
  static const char name[] = "categorical_log_probability";
  ad_var x[2] = { logits, index };
  ad_tape *tape = ad_tape_of(2, x);
  if (!has_categories(tape, logits, name)) return random_failed(tape);
  ad_type want = ad_type_of(index);
  const ad_type l = ad_type_of(logits);
  if (want.rank < 0 || want.rank == AD_MAX_RANK)
    return ad_fail(tape, want.rank < 0 ? AD_ERROR_HANDLE : AD_ERROR_SIZE, "%s: not an index", name);
  want.dim[want.rank] = l.dim[l.rank - 1];
  want = ad_type_make(l.dtype, want.rank + 1, want.dim);
  if (!ad_type_valid(want)) return ad_fail(tape, AD_ERROR_SIZE, "%s: too big", name);
  const ad_var logs = operand_with_shape(log_softmax(float_of(logits)), &want);
  if (operand_is_literal(index)) index = operand_with_dtype(tape, index, index.tape ? AD_I64 : AD_F64);
  return ad_squeeze(ad_gather(logs, ad_expand(index, -1), -1), AD_AXES(-1));
}

/* Terms p t over the last axis, 0 where p is: there t may be infinite. */
static ad_var expected(ad_var log_p, ad_var t) {
  const ad_var possible = ad_greater(log_p, -INFINITY);
  return ad_sum(ad_select(possible, ad_mul(ad_exp(log_p), t), 0), AD_AXES(-1), false);
}

ad_var ad_categorical_entropy(ad_var logits) {
  ad_tape *tape = ad_tape_of(1, &logits);
  if (!has_categories(tape, logits, "categorical_entropy")) return random_failed(tape);
  const ad_var log_p = log_softmax(float_of(logits));
  return ad_neg(expected(log_p, log_p));
}

ad_var ad_categorical_kl(ad_var logits_p, ad_var logits_q) {
  ad_var x[2] = { logits_p, logits_q };
  ad_tape *tape = ad_tape_of(2, x);
  for (int k = 0; k < 2; k++)
    if (!has_categories(tape, x[k], "categorical_kl")) return random_failed(tape);
  const ad_var log_p = log_softmax(float_of(logits_p)), log_q = log_softmax(float_of(logits_q));
  return expected(log_p, ad_sub(log_p, log_q));
}

/* --- two outcomes --------------------------------------------------------------------------------------- */

/* sigmoid(l) softplus(-l) + sigmoid(-l) softplus(l): no differences */
ad_var ad_bernoulli_entropy(ad_var logit) {
  const ad_var minus = ad_neg(logit);
  const ad_var yes = ad_mul(ad_sigmoid(logit), ad_softplus(minus));
  return ad_add(yes, ad_mul(ad_sigmoid(minus), ad_softplus(logit)));
}

/* sigmoid(p)(log sigmoid(p) - log sigmoid(q)) + the same for -p, -q */
ad_var ad_bernoulli_kl(ad_var logit_p, ad_var logit_q) {
  const ad_var p = ad_neg(logit_p), q = ad_neg(logit_q);
  const ad_var yes = ad_mul(ad_sigmoid(logit_p), ad_sub(ad_logsigmoid(logit_p), ad_logsigmoid(logit_q)));
  return ad_add(yes, ad_mul(ad_sigmoid(p), ad_sub(ad_logsigmoid(p), ad_logsigmoid(q))));
}

/* --- normal --------------------------------------------------------------------------------------------- */

ad_var ad_normal_entropy(ad_var deviation) { return ad_add(ad_log(deviation), half_log_2_pi + 0.5); }

/* With r = s_p/s_q, t = r - 1 and d = (m_p - m_q)/s_q: t^2/2 + (t - log r) + d^2/2, where log r is log1p(t)
 * unless r is small. */
ad_var ad_normal_kl(ad_var mean_p, ad_var deviation_p, ad_var mean_q, ad_var deviation_q) {
  const ad_var r = ad_div(deviation_p, deviation_q);
  const ad_var t = ad_div(ad_sub(deviation_p, deviation_q), deviation_q);
  const ad_var d = standardise(mean_p, mean_q, deviation_q);
  const ad_var log_r = ad_select(ad_less(r, 0.5), ad_log(r), ad_log1p(t));
  const ad_var squares = ad_mul(0.5, ad_add(ad_square(t), ad_square(d)));
  return ad_add(squares, ad_sub(t, log_r));
}
