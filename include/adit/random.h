/* adit/random.h -- random numbers without hidden state: keys, samples, densities, estimators of gradients.
 *
 * The law. A key is 64 bits, and a sample is a pure function of key, distribution and type: the same key
 * gives the same numbers again, bit for bit, on any number of threads, on any instruction set, in a map, in a
 * loop and on a plain tape. So use a key once, and make more by ad_key_split or ad_key_fold; sampling from a
 * key and splitting it, and samples of different distributions from one key, are independent. The generator
 * is Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
 * block i of a stream is philox(key, counter = (i low, i high, 0, distribution)), and no block depends on
 * another.
 *
 * Not for secrets: keys can be guessed from samples with effort, and 2^32 random keys are likely to contain
 * two that are equal. Errors leave an invalid handle and a message on the tape. Arguments called "var or
 * number" take literals through AD_VAR. Keys have no derivatives.
 */
#ifndef ADIT_RANDOM_H
#define ADIT_RANDOM_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- keys: variables of i64, of any shape ---------------------------------------------------------- */

/* The key that seed stands for, an input of rank 0. Any seed is as good as any other; ad_set gives another
 * one. Functions take keys as inputs of type AD_I64(). */
AD_API ad_var ad_key(ad_tape *tape, uint64_t seed);
/* n keys for each key: (..) -> (.., n). AD_ERROR_ARGUMENT for n < 0, AD_ERROR_DTYPE where key is not i64. */
AD_API ad_var ad_key_split(ad_var key, int64_t n);
/* The key number `counter` (i32 or i64, var or number) of this key, broadcast: what a loop makes of one key
 * and its step. Different from the keys that ad_key_split gives. */
AD_API ad_var ad_key_fold(ad_var key, ad_var counter);

/* --- samples ---------------------------------------------------------------------------------------- */

/* In each: type is that of the result. The shape of key is that of the leading axes of type, and each key
 * makes the samples of its part; a key of rank 0 makes all. Element i of a part does not depend on how many
 * there are. Parameters (var or number) are taken in the dtype of type and broadcast to its shape; samples
 * are differentiable in them at fixed noise (location and scale, inverse transform: Kingma and Welling,
 * "Auto-encoding variational Bayes", 2014). dtype f32 or f64 unless said otherwise. AD_ERROR_DTYPE,
 * AD_ERROR_SHAPE and AD_ERROR_ARGUMENT say what does not fit; parameters are not checked for their values. */

/* i32 or i64, all values equally likely: the words of Philox in their order (i64: the lower word first). */
AD_API ad_var ad_random_bits(ad_var key, ad_type type);
/* low + (high - low) u, with u in [0, 1) a multiple of 2^-53 (f64) or 2^-24 (f32). The result may round to
 * high. */
AD_API ad_var ad_random_uniform(ad_var key, ad_var low, ad_var high, ad_type type);
/* mean + deviation e, e standard normal by Box and Muller (Ann. Math. Stat. 29, 1958): exact but for
 * rounding, with tails to 9.5 (f64) and 6.7 (f32) deviations. */
AD_API ad_var ad_random_normal(ad_var key, ad_var mean, ad_var deviation, ad_type type);
/* e/rate, e = -log u: mean 1/rate */
AD_API ad_var ad_random_exponential(ad_var key, ad_var rate, ad_type type);
/* location + scale e, the density of e being exp(-|e|)/2 */
AD_API ad_var ad_random_laplace(ad_var key, ad_var location, ad_var scale, ad_type type);
/* location + scale e, e = -log(-log u): the distribution function of e is exp(-exp(-e)) */
AD_API ad_var ad_random_gumbel(ad_var key, ad_var location, ad_var scale, ad_type type);
/* A normal variable given that it lies in [low, high], by inversion; in the tails and for narrow intervals
 * too (low < high; either may be infinite). Differentiable in all four parameters. Not for intervals that
 * begin more than 37 deviations from the mean. Uses erfc and exp of <math.h>: another C library may give
 * another last bit. */
AD_API ad_var ad_random_truncated_normal(ad_var key, ad_var mean, ad_var deviation, ad_var low, ad_var high,
                                         ad_type type);

/* 1 with this probability, else 0; type of any dtype. Resolves probabilities to 2^-53 whatever the dtype. No
 * derivative: see ad_random_bernoulli_straight_through and ad_score_function. */
AD_API ad_var ad_random_bernoulli(ad_var key, ad_var probability, ad_type type);
/* Whole numbers low, .., high - 1 (i32 or i64, 0 < high - low <= 2^53), to within 2^-53 (high - low) equally
 * likely. AD_ERROR_ARGUMENT where there are none, or where they do not fit into the dtype. */
AD_API ad_var ad_random_integers(ad_var key, int64_t low, int64_t high, ad_type type);
/* Indices k with probabilities softmax(logits) over the last axis of logits (.., K), whose other axes
 * broadcast to the shape of type (i32 or i64): argmax of logits + Gumbel noise. Logits of -inf are never
 * chosen. */
AD_API ad_var ad_random_categorical(ad_var key, ad_var logits, ad_type type);
/* The numbers 0 .. n-1 in random order, i64 (.., n) for keys of shape (..): the order of n random words of 64
 * bits. */
AD_API ad_var ad_random_permutation(ad_var key, int64_t n);
/* x with its parts along axis in random order: a permutation, linear in x. key of rank 0. */
AD_API ad_var ad_random_shuffle(ad_var key, ad_var x, int axis);

/* --- log-densities, entropies, divergences ----------------------------------------------------------- */

/* Elementwise in all arguments (var or number, broadcast), in stable formulas; differentiable in all of them,
 * to any order. Outside the support: -inf, derivative 0. */
AD_API ad_var ad_normal_log_density(ad_var x, ad_var mean, ad_var deviation);
AD_API ad_var ad_laplace_log_density(ad_var x, ad_var location, ad_var scale);
AD_API ad_var ad_exponential_log_density(ad_var x, ad_var rate);
AD_API ad_var ad_gumbel_log_density(ad_var x, ad_var location, ad_var scale);
AD_API ad_var ad_uniform_log_density(ad_var x, ad_var low, ad_var high);      /* both ends inside */
/* log sigmoid(logit) where x is not 0, else log sigmoid(-logit). Not differentiable in x. */
AD_API ad_var ad_bernoulli_log_probability(ad_var x, ad_var logit);
/* (..), (.., K) -> (..): log softmax(logits)[index]; the leading axes of logits broadcast to those of index.
 * An index out of range is AD_ERROR_ARGUMENT when run. */
AD_API ad_var ad_categorical_log_probability(ad_var index, ad_var logits);
/* The log-density of independent normal variables along the last axis: (.., n) -> (..). */
AD_API ad_var ad_normal_diagonal_log_density(ad_var x, ad_var mean, ad_var deviation);

AD_API ad_var ad_normal_entropy(ad_var deviation);                           /* log(deviation sqrt(2 pi e)) */
AD_API ad_var ad_bernoulli_entropy(ad_var logit);                             /* finite logits */
AD_API ad_var ad_categorical_entropy(ad_var logits);                          /* (.., K) -> (..) */
/* KL(p || q) = E_p log(p/q), without cancellation where p is near q. */
AD_API ad_var ad_normal_kl(ad_var mean_p, ad_var deviation_p, ad_var mean_q, ad_var deviation_q);
AD_API ad_var ad_bernoulli_kl(ad_var logit_p, ad_var logit_q);                /* finite logits */
AD_API ad_var ad_categorical_kl(ad_var logits_p, ad_var logits_q);            /* (.., K) -> (..) */

/* --- gradients of expectations through samples that have no derivative --------------------------------- */

/* The score function estimator. With f = f(x, theta) and log_probability = log p(x, theta) of a sample x that
 * is constant to derivatives, returns a surrogate whose value is f and whose derivatives of any order are
 * unbiased estimates of those of E f:
 *
 *   f b + baseline (1 - b),  b = exp(l - stop_gradient(l)),  l = log_probability,
 *
 * the first being df/dtheta + (f - baseline) dl/dtheta. Any baseline that does not depend on x (var or
 * number, taken as constant) leaves the mean alone; a good one, such as the mean of f over other samples, has
 * less variance. Source: Williams, Machine Learning 8 (1992); for b, Foerster et al., "DiCE", ICML 2018. */
AD_API ad_var ad_score_function(ad_var f, ad_var log_probability, ad_var baseline);
/* For samples along axis (two at least): the mean of f over the others, z[i] = (sum f - f[i])/(n - 1). As a
 * baseline it needs no tuning. Source: Kool et al., "Buy 4 REINFORCE samples", 2019. */
AD_API ad_var ad_leave_one_out_mean(ad_var f, int axis);
/* The value of hard and the derivative of soft; of one shape and dtype. */
AD_API ad_var ad_straight_through(ad_var hard, ad_var soft);
/* ad_random_bernoulli with the derivative of the probability. Source: Bengio et al., arXiv:1308.3432. */
AD_API ad_var ad_random_bernoulli_straight_through(ad_var key, ad_var probability, ad_type type);
/* softmax((logits + Gumbel noise)/temperature) over the last axis, of the type of logits (.., K): tends to
 * one-hot samples of the categorical distribution as temperature (var or number) tends to 0. hard: the
 * one-hot vector of its largest element, with the derivative of the soft one. Source: Jang, Gu and Poole, and
 * Maddison, Mnih and Teh, ICLR 2017. */
AD_API ad_var ad_random_gumbel_softmax(ad_var key, ad_var logits, ad_var temperature, bool hard);

/* --- without a tape ------------------------------------------------------------------------------------ */

/* Philox 4x32-10 itself; out may be counter. */
AD_API void ad_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* What ad_key_fold makes of the key ad_key(seed). */
AD_API uint64_t ad_seed_fold(uint64_t seed, uint64_t counter);
/* The first n numbers that ad_random_bits (i64), ad_random_uniform on [0, 1) and ad_random_normal with mean 0
 * and deviation 1 make of the key ad_key(seed). dtype AD_F32 or AD_F64; AD_ERROR_DTYPE otherwise,
 * AD_ERROR_ARGUMENT for n < 0 or NULL with n > 0. */
AD_API ad_status ad_random_fill_bits(uint64_t seed, int64_t n, uint64_t *out);
AD_API ad_status ad_random_fill_uniform(uint64_t seed, ad_dtype dtype, int64_t n, void *out);
AD_API ad_status ad_random_fill_normal(uint64_t seed, ad_dtype dtype, int64_t n, void *out);
/* The numbers 0 .. n-1 in random order, the same for the same seed and counter (an epoch, say): Fisher and
 * Yates, all orders equally likely as far as 64-bit seeds go; no memory but out. Another order than that of
 * ad_random_permutation. Errors as above. */
AD_API ad_status ad_random_fill_permutation(uint64_t seed, uint64_t counter, int64_t n, int64_t *out);

/* Parameters may be numbers. The functions behind the macros are called as (ad_random_normal)(..). */
#ifndef __cplusplus
#  define ad_key_fold(key, counter) ad_key_fold(key, AD_VAR(counter))
#  define ad_random_uniform(key, low, high, type) ad_random_uniform(key, AD_VAR(low), AD_VAR(high), type)
#  define ad_random_normal(key, mean, deviation, type) \
     ad_random_normal(key, AD_VAR(mean), AD_VAR(deviation), type)
#  define ad_random_exponential(key, rate, type) ad_random_exponential(key, AD_VAR(rate), type)
#  define ad_random_laplace(key, location, scale, type) \
     ad_random_laplace(key, AD_VAR(location), AD_VAR(scale), type)
#  define ad_random_gumbel(key, location, scale, type) \
     ad_random_gumbel(key, AD_VAR(location), AD_VAR(scale), type)
#  define ad_random_truncated_normal(key, mean, deviation, low, high, type) \
     ad_random_truncated_normal(key, AD_VAR(mean), AD_VAR(deviation), AD_VAR(low), AD_VAR(high), type)
#  define ad_random_bernoulli(key, probability, type) ad_random_bernoulli(key, AD_VAR(probability), type)
#  define ad_normal_log_density(x, mean, deviation) \
     ad_normal_log_density(AD_VAR(x), AD_VAR(mean), AD_VAR(deviation))
#  define ad_laplace_log_density(x, location, scale) \
     ad_laplace_log_density(AD_VAR(x), AD_VAR(location), AD_VAR(scale))
#  define ad_exponential_log_density(x, rate) ad_exponential_log_density(AD_VAR(x), AD_VAR(rate))
#  define ad_gumbel_log_density(x, location, scale) \
     ad_gumbel_log_density(AD_VAR(x), AD_VAR(location), AD_VAR(scale))
#  define ad_uniform_log_density(x, low, high) ad_uniform_log_density(AD_VAR(x), AD_VAR(low), AD_VAR(high))
#  define ad_bernoulli_log_probability(x, logit) ad_bernoulli_log_probability(AD_VAR(x), AD_VAR(logit))
#  define ad_normal_diagonal_log_density(x, mean, deviation) \
     ad_normal_diagonal_log_density(x, AD_VAR(mean), AD_VAR(deviation))
#  define ad_normal_kl(mean_p, deviation_p, mean_q, deviation_q) \
     ad_normal_kl(AD_VAR(mean_p), AD_VAR(deviation_p), AD_VAR(mean_q), AD_VAR(deviation_q))
#  define ad_bernoulli_kl(logit_p, logit_q) ad_bernoulli_kl(AD_VAR(logit_p), AD_VAR(logit_q))
#  define ad_score_function(f, log_probability, baseline) \
     ad_score_function(f, log_probability, AD_VAR(baseline))
#  define ad_random_bernoulli_straight_through(key, probability, type) \
     ad_random_bernoulli_straight_through(key, AD_VAR(probability), type)
#  define ad_random_gumbel_softmax(key, logits, temperature, hard) \
     ad_random_gumbel_softmax(key, logits, AD_VAR(temperature), hard)
#endif

#ifdef __cplusplus
}
#endif
#endif
