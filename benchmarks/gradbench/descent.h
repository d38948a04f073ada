/* descent.h -- gradient descent as an operation, with derivatives in either mode, itself differentiable in
 * either. */
#ifndef GRADBENCH_DESCENT_H
#define GRADBENCH_DESCENT_H

#include <adit.h>

typedef enum mode { FORWARD, REVERSE } mode;

/* dy/dx of a scalar y by a vector x, in that mode. */
ad_var descent_gradient(mode how, ad_var y, ad_var x);

/* f: (x, shared..) -> a scalar; n inputs in all, x a vector. Records in `least` the x to which the descent
 * from in[0] comes, with derivatives of f by x in that mode. The rate is doubled after ten good steps and
 * halved after a bad one; the end is a gradient or a step of length 1e-5. in[0] is a vector, the other
 * inputs are shared. */
void descent(ad_tape *t, ad_function *f, mode how, int n, const ad_var in[], ad_var *least);

#endif
