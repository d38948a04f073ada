/* newton.c -- zeros of f(x) = x exp(x) - 3 by Newton's method, and by Halley's with second derivatives.
 *
 *   Newton:  x - f/f'                              the error is squared at each step
 *   Halley:  x - 2 f f'/(2 f'^2 - f f'')           the error is cubed
 *
 * f is written once for each kind of number; the derivatives come along with the values. No library is
 * linked: adit/dual.h is all there is.
 */
#include <adit/dual.h>
#define AD_DUAL_ORDER 2
#include <adit/dual.h>
#include <stdio.h>

static ad_dual f(ad_dual x) {
  return ad_dual_shift(ad_dual_mul(x, ad_dual_exp(x)), -3);
}

static ad_dual_dual f2(ad_dual_dual x) {
  return ad_dual_dual_shift(ad_dual_dual_mul(x, ad_dual_dual_exp(x)), -3);
}

static double newton_step(double x) {
  ad_dual y = f(ad_dual_variable(x));
  return x - y.v/y.d;
}

static double halley_step(double x) {
  ad_dual_dual y = f2(ad_dual_dual_variable(x));
  double value = y.v.v, first = y.v.d, second = y.d.d;
  return x - 2*value*first/(2*first*first - value*second);
}

static void iterate(const char *name, double step(double), double x) {
  printf("%s\n", name);
  for (int i = 0; i < 10; i++) {
    double next = step(x), change = fabs(next - x);
    x = next;
    printf("  step %d: x = %.12f\n", i + 1, x);
    if (change < 1e-12) break;
  }
}

int main(void) {
  iterate("Newton from x = 3", newton_step, 3);
  iterate("Halley from x = 3", halley_step, 3);
  return 0;
}
