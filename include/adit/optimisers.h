/* adit/optimisers.h -- steps of optimisers as recorded functions: parameters, gradients and state in, new
 * parameters and new state out.
 *
 * The law. A step records like any other operation, so it runs fused, and one can differentiate through it:
 * by the parameters, the state, the gradients and every hyperparameter, to any order. An ad_optimiser is a
 * value: it owns nothing and may be copied. Its numbers are literals, or scalar variables of the tape on
 * which the step is recorded. The state begins as zeros. Errors leave invalid handles and a message on the
 * tape; who draws several arrays out of one call gets none of them then. Different threads may record on
 * different tapes.
 *
 * Where sqrt(v) of an accumulated square is met at v = 0, its derivative counts as 0 (the least subgradient,
 * as of a norm): a unit that never had a gradient does not make nan of a derivative through its step.
 */
#ifndef ADIT_OPTIMISERS_H
#define ADIT_OPTIMISERS_H

#include "parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- schedules: factors of the rate ------------------------------------------------------------------- */

typedef enum ad_schedule_kind {
  AD_SCHEDULE_CONSTANT,             /* 1 */
  AD_SCHEDULE_STEPS,                /* factor^floor(t/period) */
  AD_SCHEDULE_COSINE,               /* factor + (1 - factor) (1 + cos(pi min(t/period, 1)))/2 */
  AD_SCHEDULE_OWN                   /* own(t, context) */
} ad_schedule_kind;

/* A function of the number of steps made before: 0 at the first one. With warmup w > 0 it is (t + 1)/w for t
 * < w, and the function above at t - w from there on. All zeros: 1. Source of the cosine: Loshchilov and
 * Hutter, "SGDR", ICLR 2017. */
typedef struct ad_schedule {
  ad_schedule_kind kind;
  int64_t warmup, period;           /* period at least 1 where it is used */
  ad_var factor;                    /* a literal or a variable */
  ad_var (*own)(ad_var t, void *context);       /* of an f64 scalar; returns a scalar */
  void *context;
} ad_schedule;

AD_API ad_schedule ad_schedule_steps(int64_t period, ad_var factor);
AD_API ad_schedule ad_schedule_cosine(int64_t period, ad_var end);
AD_API ad_schedule ad_schedule_own(ad_var (*own)(ad_var t, void *context), void *context);
/* After that many steps of warm-up, what `then` gives. A warm-up that `then` has itself is replaced. */
AD_API ad_schedule ad_schedule_warmup(int64_t steps, ad_schedule then);
/* The factor at step, an i64 or f64 scalar (var or number): an f64 scalar; a literal where nothing varies. */
AD_API ad_var ad_schedule_at(const ad_schedule *schedule, ad_var step);

/* --- optimisers --------------------------------------------------------------------------------------- */

/* With g the gradient, p the parameter, all elementwise, r = rate * schedule, and g + decay p in the place of
 * g (but for adamw):
 *
 *   sgd      p - r g;  with momentum: b' = momentum b + g, p - r b';  nesterov: p - r (g + momentum b')
 *   rmsprop  v' = beta2 v + (1 - beta2) g^2, u = g/(sqrt(v') + epsilon), then as sgd with u in the place of g
 *   adam     m' = beta1 m + (1 - beta1) g, v' as above, p - r mhat/(sqrt(vhat) + epsilon), where
 *            mhat = m'/(1 - beta1^t), vhat = v'/(1 - beta2^t) at the t-th step
 *   adamw    adam from (1 - r decay) p instead of p
 *
 * Sources: Sutskever et al., ICML 2013 (nesterov, in the form that needs the gradient at p alone); Tieleman
 * and Hinton, lecture 6.5, 2012; Kingma and Ba, ICLR 2015, algorithm 1; Loshchilov and Hutter, ICLR 2019,
 * with the rate in front of the decay. */
typedef enum ad_optimiser_kind { AD_SGD, AD_RMSPROP, AD_ADAM, AD_ADAMW } ad_optimiser_kind;

typedef struct ad_optimiser {
  ad_optimiser_kind kind;
  bool nesterov;                    /* sgd and rmsprop; needs momentum */
  ad_var rate;
  ad_var momentum;                  /* sgd and rmsprop; the literal 0: none, and no memory for it */
  ad_var beta1, beta2, epsilon;
  ad_var decay;                     /* the literal 0: none */
  ad_schedule schedule;
} ad_optimiser;

/* With the customary values: rmsprop beta2 0.99, epsilon 1e-8; adam 0.9, 0.999, 1e-8. Others are set in the
 * struct. rate, momentum and decay: var or number. */
AD_API ad_optimiser ad_sgd(ad_var rate);
AD_API ad_optimiser ad_sgd_momentum(ad_var rate, ad_var momentum, bool nesterov);
AD_API ad_optimiser ad_rmsprop(ad_var rate);
AD_API ad_optimiser ad_adam(ad_var rate);
AD_API ad_optimiser ad_adamw(ad_var rate, ad_var decay);

AD_API const char *ad_optimiser_name(const ad_optimiser *o);     /* "sgd", ..; "?" for no kind */
/* Arrays of state for each parameter: 0 to 2, and their names ("momentum", "mean", "square"; NULL beyond). */
AD_API int ad_optimiser_slots(const ad_optimiser *o);
AD_API const char *ad_optimiser_slot_name(const ad_optimiser *o, int slot);
/* The state for n parameters is 1 + slots*n variables: the number of steps made (i64), then slot k of
 * parameter i, of its type, at 1 + k*n + i. */
AD_API int ad_optimiser_state_count(const ad_optimiser *o, int n);
AD_API void ad_optimiser_state_types(const ad_optimiser *o, int n, const ad_type parameter[],
                                     ad_type state[]);
/* The same as arrays of zeros, "step" and "SLOT/NAME", on the memory of p. NULL without memory, or where a
 * name becomes longer than names may be. To be freed by ad_parameters_free. */
AD_API ad_parameters *ad_optimiser_state(const ad_optimiser *o, const ad_parameters *p);

/* Records a step. gradient[i] is of the type of parameter[i], a float; ad_none(): the parameter is frozen, it
 * and its state stay as they are. The results may be written over the arrays of handles given.
 * Hyperparameters out of their range (rate and decay >= 0, momentum and betas in [0, 1), epsilon >= 0, where
 * they are literals) are AD_ERROR_ARGUMENT; AD_ERROR_SHAPE and AD_ERROR_DTYPE where a gradient or a state
 * does not fit. */
AD_API ad_status ad_optimiser_step(const ad_optimiser *o, int n, const ad_var parameter[],
                                   const ad_var gradient[], const ad_var state[], ad_var parameter_out[],
                                   ad_var state_out[]);

/* --- clipping ----------------------------------------------------------------------------------------- */

/* sqrt(sum of squares of all elements of all x[i]), an f64 scalar, without overflow; derivative 0 at zero.
 * Entries that are ad_none() do not count. */
AD_API ad_var ad_global_norm(int n, const ad_var x[]);
/* out[i] = g[i] min(1, limit/norm), norm = ad_global_norm(n, g): the direction stays. limit: var or number.
 * nan stays nan. Source: Pascanu et al., ICML 2013. out may be g. */
AD_API ad_status ad_clip_by_norm(int n, const ad_var g[], ad_var limit, ad_var out[]);
/* out[i] = g[i] kept within [-limit, limit], element by element. out may be g. */
AD_API ad_status ad_clip_by_value(int n, const ad_var g[], ad_var limit, ad_var out[]);

/* --- full batches: L-BFGS ----------------------------------------------------------------------------- */

/* One iteration, for those who want to watch. */
typedef struct ad_lbfgs_iteration {
  int64_t iteration, evaluations;   /* made so far */
  double value, gradient, step;     /* f, max |df/dx|, and the step length that led here */
} ad_lbfgs_iteration;

/* Zeros mean the defaults. It has converged as soon as one of
 *
 *   max |df/dx| <= gradient,  f_before - f <= decrease * max(|f_before|, |f|)
 *
 * holds. */
typedef struct ad_lbfgs_options {
  int memory;                       /* pairs kept, at most; 0: 10 */
  int64_t iterations;               /* at most; 0: 1000 */
  double gradient;                  /* 0: 1e-8 (f32: 1e-4); negative: never */
  double decrease;                  /* 0: never */
  /* Of the Wolfe conditions, 0 < sufficient < curvature < 1; 0: 1e-4, 0.9. */
  double sufficient, curvature;
  /* Receives f at the start and after each iteration, up to room numbers; may be NULL. */
  double *history;
  int64_t room;
  bool (*watch)(const ad_lbfgs_iteration *now, void *context);   /* false: stop (AD_OK); may be NULL */
  void *context;
} ad_lbfgs_options;

typedef struct ad_lbfgs_result {
  ad_status status;
  ad_lbfgs_iteration last;
  int64_t recorded;                 /* numbers in history */
  char message[256];                /* why it ended, whether well or not */
} ad_lbfgs_result;

/* Makes f(x, fixed) least in x, from where x is and in place. f: (x[0], .., fixed[0], ..) -> (f, df/dx[0],
 * ..), which is what ad_function_gradient gives; the first n_x inputs are x, f64 or f32, all others fixed.
 * The direction is that of algorithm 7.4 with the scaling (7.20), the steps satisfy the strong Wolfe
 * conditions (algorithms 3.5 and 3.6); sums are made in f64. Near the minimum, where rounding hides the
 * decrease, the approximate condition of Hager and Zhang, SIAM J. Optim. 16 (2005), stands in for the first
 * one. A point where f or its gradient is not finite counts as too far. Source: Nocedal and Wright, Numerical
 * Optimization, 2nd ed., algorithms 7.4 and 7.5.
 *
 * x is the best point found in any case. AD_ERROR_CONVERGENCE: the iterations came to their end, or no step
 * makes f smaller. AD_ERROR_NUMERIC: not finite at the start. AD_ERROR_ARGUMENT, AD_ERROR_DTYPE,
 * AD_ERROR_SHAPE for what does not fit; else what calling f gave. options and result may be NULL. fixed may
 * be NULL without further inputs. */
AD_API ad_status ad_lbfgs(ad_function *f, int n_x, void *const x[], const void *const fixed[],
                          const ad_lbfgs_options *options, ad_lbfgs_result *result);

/* Arguments may be numbers. The functions behind the macros are called as (ad_adam)(..). */
#ifndef __cplusplus
#  define ad_schedule_steps(period, factor) ad_schedule_steps(period, AD_VAR(factor))
#  define ad_schedule_cosine(period, end) ad_schedule_cosine(period, AD_VAR(end))
#  define ad_schedule_at(schedule, step) ad_schedule_at(schedule, AD_VAR(step))
#  define ad_sgd(rate) ad_sgd(AD_VAR(rate))
#  define ad_sgd_momentum(rate, momentum, nesterov) ad_sgd_momentum(AD_VAR(rate), AD_VAR(momentum), nesterov)
#  define ad_rmsprop(rate) ad_rmsprop(AD_VAR(rate))
#  define ad_adam(rate) ad_adam(AD_VAR(rate))
#  define ad_adamw(rate, decay) ad_adamw(AD_VAR(rate), AD_VAR(decay))
#  define ad_clip_by_norm(n, g, limit, out) ad_clip_by_norm(n, g, AD_VAR(limit), out)
#  define ad_clip_by_value(n, g, limit, out) ad_clip_by_value(n, g, AD_VAR(limit), out)
#endif

#ifdef __cplusplus
}
#endif
#endif
