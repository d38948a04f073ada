/* quick.c -- derivatives of four small functions. */
#include <adit.h>
#include <stdio.h>

int main(void) {
  ad_tape *tape = ad_tape_new();

  /* f = x^2 y + y + 2 */
  ad_var x = ad_scalar(tape, 2), y = ad_scalar(tape, 3);
  ad_var f = ad_add(ad_add(ad_mul(ad_square(x), y), y), 2);
  ad_backward(f);
  printf("x^2 y + y + 2 at (2, 3): %g, derivatives %g and %g\n", ad_value(f), ad_adjoint(x), ad_adjoint(y));

  /* f = (x^2 + 2x) e^x; numbers and variables mix. */
  x = ad_scalar(tape, 3);
  f = ad_mul(ad_add(ad_square(x), ad_mul(2, x)), ad_exp(x));
  ad_backward(f);
  printf("(x^2 + 2x) e^x at 3: %.6g, derivative %.6g\n", ad_value(f), ad_adjoint(x));

  /* f = e^x + x^2 */
  x = ad_scalar(tape, 2);
  f = ad_add(ad_exp(x), ad_square(x));
  ad_backward(f);
  printf("e^x + x^2 at 2: %.6g, derivative %.6g\n", ad_value(f), ad_adjoint(x));

  /* f = x^3. ad_grad gives the derivative as a variable, which can be differentiated again. */
  x = ad_scalar(tape, 3);
  f = ad_pow(x, 3);
  ad_var first, second;
  ad_grad(f, 1, &x, &first);
  ad_grad(first, 1, &x, &second);
  printf("x^3 at 3: %g, derivatives %g and %g\n", ad_value(f), ad_value(first), ad_value(second));

  ad_status status = ad_tape_status(tape);
  if (status) fprintf(stderr, "%s\n", ad_tape_message(tape));
  ad_tape_free(tape);
  return status != AD_OK;
}
