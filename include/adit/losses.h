/* adit/losses.h -- losses, and the functions of networks that are more than one elementwise operation.
 *
 * The law. Everything here records ordinary operations (adit/tape.h) in f32 or f64, integers counting as f64,
 * with derivatives of any order in every argument that is a float. Formulas are those that neither overflow
 * nor cancel. A prediction and its target must have one shape, or the target rank 0: broadcasting (n,1)
 * against (n) would silently average over n*n pairs. Errors leave an invalid handle and a message on the
 * tape.
 */
#ifndef ADIT_LOSSES_H
#define ADIT_LOSSES_H

#include "arrays.h"
#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- functions ------------------------------------------------------------------------------------------ */

/* exp(x_i)/sum_k exp(x_k) along axis, and its logarithm, each from x less its largest element. -inf gives 0
 * and -inf; where all elements are -inf, or one is inf, nan. AD_ERROR_SHAPE along an axis of size 0. */
AD_API ad_var ad_softmax(ad_var x, int axis);
AD_API ad_var ad_log_softmax(ad_var x, int axis);
/* (x - mean)/sqrt(variance + epsilon), both over these axes; variance by two passes, with 1/n. epsilon >= 0,
 * 1e-5 say; with 0 constant elements give nan. Scale and shift are the caller's. Source: Ba, Kiros and
 * Hinton, arXiv:1607.06450. */
AD_API ad_var ad_layer_norm(ad_var x, ad_axes axes, double epsilon);
/* x/(1 - rate) with probability 1 - rate, else 0, independently for each element: of mean x. The same key
 * gives the same choice (adit/random.h); use another one at each step. 0 <= rate <= 1; 0 is x itself.
 * Elements that fall out are not connected. Source: Srivastava et al., JMLR 15 (2014). */
AD_API ad_var ad_dropout(ad_var x, double rate, ad_var key);

/* --- losses --------------------------------------------------------------------------------------------- */

/* What becomes of the losses of single elements: their mean (of none: AD_ERROR_SHAPE), sum, or an array. */
typedef enum ad_reduction { AD_MEAN, AD_SUM, AD_NONE } ad_reduction;

/* -log softmax(logits)[target] along the last axis, for logits (.., K). target: classes, i32 or i64 (..),
 * each in 0 .. K-1 (others are AD_ERROR_ARGUMENT when run; ad_check_classes says which); or probabilities,
 * floats (.., K): -sum_k target_k log softmax(logits)_k, in which 0 * -inf counts as 0. */
AD_API ad_var ad_cross_entropy(ad_var logits, ad_var target, ad_reduction reduction);
/* -(t log sigmoid(x) + (1 - t) log sigmoid(-x)) for finite logits x and targets t in [0, 1]; bool and
 * integers too. */
AD_API ad_var ad_binary_cross_entropy(ad_var logits, ad_var target, ad_reduction reduction);
AD_API ad_var ad_mse(ad_var x, ad_var target, ad_reduction reduction);                  /* (x - target)^2 */
AD_API ad_var ad_l1(ad_var x, ad_var target, ad_reduction reduction);                   /* |x - target| */
/* d^2/2 where |d| <= delta, else delta (|d| - delta/2); d = x - target, delta > 0. Source: Huber, Ann. Math.
 * Stat. 35 (1964). */
AD_API ad_var ad_huber(ad_var x, ad_var target, double delta, ad_reduction reduction);
/* KL(p || q) = sum_k p_k (log p_k - log q_k) along the last axis of log_q (.., K) and p (.., K). Where p_k is
 * 0 the term is 0, and not connected. */
AD_API ad_var ad_kl_divergence(ad_var log_q, ad_var p, ad_reduction reduction);

/* Classes in memory: AD_OK where all are in 0 .. classes-1, else AD_ERROR_ARGUMENT and "class 12 at [3] is
 * not in 0 .. 9" in the report (may be NULL). type i32 or i64 (AD_ERROR_DTYPE). Any thread. */
AD_API ad_status ad_check_classes(ad_type type, const void *data, int64_t classes, ad_report *report);

/* Targets may be numbers. The functions behind the macros are called as (ad_mse)(..). */
#ifndef __cplusplus
#  define ad_binary_cross_entropy(logits, target, reduction) \
     ad_binary_cross_entropy(logits, AD_VAR(target), reduction)
#  define ad_mse(x, target, reduction) ad_mse(x, AD_VAR(target), reduction)
#  define ad_l1(x, target, reduction) ad_l1(x, AD_VAR(target), reduction)
#  define ad_huber(x, target, delta, reduction) ad_huber(x, AD_VAR(target), delta, reduction)
#endif

#ifdef __cplusplus
}
#endif
#endif
