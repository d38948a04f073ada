/* dual_numbers.c -- one derivative three ways: f(x, y) = sin(x + y^2)/sqrt(x) at (2, 1).
 *
 * A dual number carries a value v and a derivative d; every operation computes both. Which derivative it is
 * depends on the seed: the variable whose d is 1. That is forward mode, one sweep per variable. Reverse
 * mode records the operations once and gets all derivatives in one sweep backwards.
 */
#include <adit.h>
#include <adit/dual.h>
#include <stdio.h>

static ad_dual f(ad_dual x, ad_dual y) {
  return ad_dual_div(ad_dual_sin(ad_dual_add(x, ad_dual_square(y))), ad_dual_sqrt(x));
}

static void forward(void) {
  ad_dual by_x = f(ad_dual_variable(2), ad_dual_of(1));        /* dx = 1, dy = 0 */
  ad_dual by_y = f(ad_dual_of(2), ad_dual_variable(1));        /* dx = 0, dy = 1 */
  printf("forward mode:  f = %.6g, df/dx = %.6g\n", by_x.v, by_x.d);
  printf("second sweep:  f = %.6g, df/dy = %.6g\n", by_y.v, by_y.d);
}

static void reverse(void) {
  ad_tape *tape = ad_tape_new();
  ad_var x = ad_scalar(tape, 2), y = ad_scalar(tape, 1);
  ad_var z = ad_div(ad_sin(ad_add(x, ad_square(y))), ad_sqrt(x));
  ad_backward(z);
  printf("reverse mode:  f = %.6g, df/dx = %.6g, df/dy = %.6g\n", ad_value(z), ad_adjoint(x), ad_adjoint(y));
  ad_tape_free(tape);
}

int main(void) {
  forward();
  reverse();
  return 0;
}
