/* adit/implicit.h -- solutions of equations as operations: roots, fixed points, minima.
 *
 * The law. The solution x of r(x, p) = 0 is found by iteration when the operation runs, and differentiated by
 * the implicit function theorem, not through the iteration: with J = dr/dx and r_p = dr/dp at the solution,
 *
 *   xdot = -J^-1 (r_p pdot)            pbar = -r_p^T lambda,  J^T lambda = xbar
 *
 * recorded as ordinary operations that depend on x itself, so that derivatives of every order, in every mix
 * of modes, follow by themselves. Every derivative is as accurate as x is. J must be regular at the solution:
 * what is divided by a singular one is AD_ERROR_SINGULAR, or infinite for scalars.
 *
 * x is f64 or f32, of any shape, and flattened inside: J is the dense matrix of its n elements. The other
 * inputs of the function are parameters of any types; captured variables (ad_function_trace_inside) are
 * parameters too. The starting guess in[0] is only that: no derivative flows into it. Iterations are made in
 * f64 on values and derivatives of x's own type; what is minimized may be of the other one. Where either is
 * f32, precision and tolerances are those of f32.
 *
 * An iteration that does not converge is AD_ERROR_CONVERGENCE, from the call or the reading that ran it, with
 * a message that says after how many iterations and with which residual (the largest element of |r|).
 */
#ifndef ADIT_IMPLICIT_H
#define ADIT_IMPLICIT_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* When an iteration has converged: as soon as
 *
 *   max |r| <= absolute, or max |step| <= relative * max |x|
 *
 * where step is a whole one, and is still made. An x that is zero but for rounding counts too: it and the
 * step are below 1024 units in the last place of the largest |x| met so far. For root and minimize the step
 * is Newton's, whose next one would be about its square: the default of relative, 1e-10 (f32: 1e-4), gives x
 * to the last digits. The steps of a fixed point shrink slowly: its default is 1e-13 (f32: 1e-6). Zeros mean
 * the defaults; absolute is 0 then. */
typedef struct ad_solver {
  double relative, absolute;
  int64_t iterations;               /* at most; 0: 100, for fixed_point 1000 */
  /* fixed_point: how many earlier steps Anderson's mixing looks at; 0: 5, negative: none, x = g(x, p) as it
   * is. At most 20. */
  int mixing;
} ad_solver;

/* The x with f(x, p..) = 0, from the guess in[0], for f: (x, p..) -> r of the type of x. Newton's method with
 * the Jacobian of f; a step is halved until it makes the residual smaller. A Jacobian that is singular on the
 * way is AD_ERROR_SINGULAR. options NULL: the defaults. */
AD_API ad_status ad_root(ad_function *f, const ad_solver *options, const ad_var in[], ad_var *x);

/* The x with x = g(x, p..), for g: (x, p..) -> y of the type of x. The iteration x = g(x, p), sped up by
 * Anderson's mixing, which begins anew when the residual g(x, p) - x grows. Source: Walker and Ni, SIAM J.
 * Numer. Anal. 49 (2011). */
AD_API ad_status ad_fixed_point(ad_function *g, const ad_solver *options, const ad_var in[], ad_var *x);

/* The x that makes f(x, p..), a float scalar, least: a local minimum near the guess. Newton's method with the
 * exact Hessian, made positive definite by a multiple of the identity where it is not, and a line search. The
 * derivative is that of the stationary point, df/dx = 0. A stationary point that is no minimum (a guess on a
 * saddle) is AD_ERROR_CONVERGENCE. Sources: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms
 * 3.1 and 3.3. */
AD_API ad_status ad_minimize(ad_function *f, const ad_solver *options, const ad_var in[], ad_var *x);

#ifdef __cplusplus
}
#endif
#endif
