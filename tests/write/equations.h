/* equations.h -- what the tests of written implicit operations share: equations in (x, p), element by element
 * and coupled, and how far written code may be from the interpreter. */
#ifndef ADIT_TESTS_EQUATIONS_H
#define ADIT_TESTS_EQUATIONS_H

#include "written_all.h"

#include "adit.h"

static const double tolerance[2] = { 1e-9, 2e-4 };

/* x^3 + x = p + half the mean of sin x */
static inline void cubic_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  const ad_var mean = ad_mean(ad_sin(x[0]), AD_ALL_AXES, false);
  y[0] = ad_sub(ad_add(ad_powi(x[0], 3), x[0]), ad_add(x[1], ad_mul(0.5, mean)));
}

/* x = 0.6 cos(x + p) + a tenth of the mean of x: a contraction, with 0.7 */
static inline void contraction_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(ad_mul(0.6, ad_cos(ad_add(x[0], x[1]))), ad_mul(0.1, ad_mean(x[0], AD_ALL_AXES, false)));
}

#endif
