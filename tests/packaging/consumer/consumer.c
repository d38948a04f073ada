/* consumer.c -- a program as a user of the installed library writes it: by tape and by dual numbers. */
#include <adit.h>
#include <adit/dual.h>
#include <stdio.h>

int main(void) {
  ad_tape *tape = ad_tape_new();
  ad_var x = ad_scalar(tape, 2), y = ad_scalar(tape, 1);
  ad_var z = ad_div(ad_sin(ad_add(x, ad_square(y))), ad_sqrt(x));
  ad_backward(z);
  printf("tape: %.6g, %.6g, %.6g\n", ad_value(z), ad_adjoint(x), ad_adjoint(y));
  ad_var a = ad_array(tape, AD_F64(2, 2), (double[]){ 2, 1, 1, 3 });
  ad_var s = ad_sum(ad_solve(a, ad_array(tape, AD_F64(2), (double[]){ 3, 4 })), AD_ALL_AXES, false);
  printf("solve: %.6g\n", ad_value(s));
  ad_tape_free(tape);

  ad_dual u = ad_dual_variable(2), w = ad_dual_of(1);
  ad_dual v = ad_dual_div(ad_dual_sin(ad_dual_add(u, ad_dual_square(w))), ad_dual_sqrt(u));
  printf("dual: %.6g, %.6g\n", v.v, v.d);
  return 0;
}
