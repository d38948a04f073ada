/* adit/derive.h -- derivatives of variables: numeric sweeps, and derivatives as further variables.
 *
 * The law. Conventions at kinks and singular points are those of docs/design.md. All calls need variables of
 * one tape and leave the first error on it. xdot is a tangent, xbar an adjoint (cotangent).
 */
#ifndef ADIT_DERIVE_H
#define ADIT_DERIVE_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The numeric reverse sweep: adjoints of everything y depends on, dy/dv, with y a float scalar (an array is
 * seeded with ones: the gradient of its sum). Starts from zero at each call. Appends nothing; derivatives of
 * the result are not available (use ad_grad for those). */
AD_API ad_status ad_backward(ad_var y);
/* The adjoint of a scalar from the last ad_backward; 0 where y does not depend on x. nan with an error when
 * there was no sweep, when x was recorded after y, or when x is not a scalar. */
AD_API double ad_adjoint(ad_var x);
/* The adjoint of any variable, of its type, into out. */
AD_API ad_status ad_read_adjoint(ad_var x, void *out);

/* dx[i] = dy/dx[i], a new variable of the type of x[i]. y a float scalar. Unconnected x[i] get zeros. */
AD_API ad_status ad_grad(ad_var y, int n, const ad_var x[], ad_var dx[]);
/* Reverse mode: out[i] = sum_j (dy[j]/dx[i])^T cotangent[j], of the type of x[i]. cotangent[j] has the shape
 * of y[j]; an entry that is ad_none(), or cotangent == NULL, means ones. x may be inner variables as well as
 * inputs. */
AD_API ad_status ad_vjp(int m, const ad_var y[], const ad_var cotangent[], int n, const ad_var x[],
                        ad_var out[]);
/* Forward mode: out[j] = sum_i (dy[j]/dx[i]) tangent[i], of the type of y[j]. tangent[i] has the shape of
 * x[i]; ad_none() means zero. */
AD_API ad_status ad_jvp(int n, const ad_var x[], const ad_var tangent[], int m, const ad_var y[],
                        ad_var out[]);
/* The same with the directions packed along a new leading axis comes with functions: see
 * ad_function_jacobian. */

/* Taylor mode. x[i](t) = x[i] + sum_{k=1..order} xc[i*order + k-1] t^k; an entry that is ad_none() is zero.
 * yc[j*(order+1) + k] becomes the k-th Taylor coefficient of y[j](t), k = 0..order: (1/k!) d^k y/dt^k at t =
 * 0. Cost O(order^2) operations. Source: Griewank & Walther, Evaluating Derivatives, 2nd ed., ch. 13. */
AD_API ad_status ad_taylor(int order, int n, const ad_var x[], const ad_var xc[], int m, const ad_var y[],
                           ad_var yc[]);

/* x itself, but constant to every derivative. */
AD_API ad_var ad_stop_gradient(ad_var x);

#ifdef __cplusplus
}
#endif
#endif
