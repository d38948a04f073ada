/* adit/ode.h -- ordinary differential equations as operations: dy/dt = f(t, y, p..).
 *
 * The law. The method is the pair of Dormand and Prince of order 5(4) with step sizes chosen by a PI
 * controller and with its interpolant of order 4 between steps. Integration is recorded as a loop
 * (adit/control.h), once, whatever the number of steps. Derivatives exist to any order and in every mode,
 * with respect to the start, to all float parameters (captured variables included) and to the times. By the
 * times they are those of the interpolant and lose an order each: a second one has about three
 * digits for every five of y.
 * Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, 2nd ed., sections II.4 to II.6.
 */
#ifndef ADIT_ODE_H
#define ADIT_ODE_H

#include "control.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What reverse mode does.
 *
 *   DISCRETE    the adjoint of the steps that were made, their sizes held constant: the exact gradient of the
 *               numbers computed, but for what the choice of steps contributes. Keeps what keep, k and bytes
 *               say of the steps' states, and computes the others again.
 *   CONTINUOUS  integrates the adjoint equation backwards with the same method and tolerances, with y beside
 *               it, which begins anew from its value at each time:
 *                 lambda' = -(df/dy)^T lambda,  pbar' = -(df/dp)^T lambda
 *               Memory does not depend on the number of steps; the gradient is that of the exact solution, to
 *               about the tolerances, which its components (pbar included) are held to.
 *
 * Tangents and Taylor coefficients are those of the steps either way. Reverse mode costs about three times as
 * many steps forwards as the integration, and as many backwards. */
typedef enum ad_ode_adjoint { AD_ADJOINT_DISCRETE, AD_ADJOINT_CONTINUOUS } ad_ode_adjoint;

/* Zeros mean the defaults. */
typedef struct ad_ode {
  /* A step's error, estimated, is held below absolute + relative*|y|, in the root mean square over the
   * elements. Defaults: 1e-6 and 1e-6. */
  double relative, absolute;
  double first_step;                /* its size; 0: chosen. Takes the sign of the direction */
  bool fixed;                       /* all steps have that size but the last one: no error control */
  int64_t steps;                    /* tried between one time and the next, at most; default 100000 */
  ad_ode_adjoint adjoint;
  ad_keep keep;                     /* of the discrete adjoint, as for loops */
  int64_t k, bytes;
} ad_ode;

/* y at the times: in[0] is y0, a float array of any shape; in[1] the times t[0..m), f64, m >= 1, in
 * increasing or decreasing order; in[2..] the parameters of f: (t, y, p..) -> dy/dt, whose t is a float
 * scalar and whose y and result have the type of y0. *out is (m, shape of y0): first y0 itself, which is at
 * t[0], and so on. Steps end at the last time and nowhere else. options NULL: the defaults.
 *
 * AD_ERROR_LIMIT, when it runs, where more steps are needed than allowed: the solution may have no more to
 * give (a pole, a stiff problem, NaN). Times out of order give NaN. */
AD_API ad_status ad_odeint(ad_function *f, const ad_ode *options, const ad_var in[], ad_var *out);

#ifdef __cplusplus
}
#endif
#endif
