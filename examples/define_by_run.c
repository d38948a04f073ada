/* define_by_run.c -- a loop whose length depends on what is being computed, differentiated.
 *
 * Heron's iteration for the square root of a: s <- (s + a/s)/2 until s^2 is close to a. ad_value gives the
 * number in the middle of recording, so C's own while decides; the tape holds the steps that were taken,
 * and the derivative is that of those steps: 1/(2 sqrt(a)), and -1/(4 a^(3/2)) for the second.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

static ad_var square_root(ad_var a, int *steps) {
  ad_var s = a, r = ad_abs(ad_sub(ad_square(s), a));
  for (*steps = 0; ad_value(r) > 1e-12; ++*steps) {
    s = ad_mul(0.5, ad_add(s, ad_div(a, s)));
    r = ad_abs(ad_sub(ad_square(s), a));
  }
  return s;
}

int main(void) {
  const double points[] = { 2, 30, 1000 };
  ad_tape *tape = ad_tape_new();
  ad_mark start = ad_tape_mark(tape);
  for (int i = 0; i < 3 && !ad_tape_status(tape); i++) {
    int steps;
    ad_var a = ad_scalar(tape, points[i]), first, second;
    ad_var s = square_root(a, &steps);
    ad_grad(s, 1, &a, &first);
    ad_grad(first, 1, &a, &second);
    printf("a = %4g: %2d steps, root %.6f, derivative %.6f (%.6f), second %.4e (%.4e)\n", points[i], steps,
           ad_value(s), ad_value(first), 0.5/sqrt(points[i]), ad_value(second), -0.25/pow(points[i], 1.5));
    ad_tape_rewind(tape, start);               /* forgets this recording and keeps its memory for the next */
  }
  ad_status status = ad_tape_status(tape);
  if (status) fprintf(stderr, "%s\n", ad_tape_message(tape));
  ad_tape_free(tape);
  return status != AD_OK;
}
