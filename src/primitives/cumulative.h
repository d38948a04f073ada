/* cumulative.h -- running products that leave out the element itself, for the derivative of prod. */
#ifndef ADIT_PRIMITIVES_CUMULATIVE_H
#define ADIT_PRIMITIVES_CUMULATIVE_H

#include "adit/tape.h"

/* z[i] = x[0] x[1] .. x[i-1] along axis; reverse: x[i+1] .. x[n-1]. No division; all of it differentiable.
 * Records. */
ad_var cumprod_exclusive(ad_var x, int axis, bool reverse);
/* Its tangent from that of x, and the adjoint of x from that of z. */
ad_var cumprod_exclusive_jvp(ad_var x, ad_var z, ad_var g, int axis, bool reverse);
ad_var cumprod_exclusive_vjp(ad_var x, ad_var z, ad_var g, int axis, bool reverse);

#endif
