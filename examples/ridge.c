/* ridge.c -- choosing the weight of a ridge regression by the gradient of its validation loss.
 *
 *   w(lambda) = (X^T X + lambda I)^-1 X^T t        the fit to 8 training points
 *   L(lambda) = |V w - u|^2/5                      its error on 5 others
 *
 * ad_solve is differentiable, so L is; Newton's method then takes lambda to the best weight. The closed form
 * of the gradient, by hand, is L' = -2/5 <V w - u, V A^-1 w> with A = X^T X + lambda I.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { TRAINING = 8, VALIDATION = 5, POWERS = 4 };

/* Rows 1, s, s^2, s^3, and noisy values of a line, at n points from a on. */
static void make_data(int n, double a, double x[], double t[]) {
  for (int i = 0; i < n; i++) {
    double s = a + 0.25*i;
    for (int k = 0; k < POWERS; k++) x[i*POWERS + k] = pow(s, k);
    t[i] = 1 - 0.5*s + 0.3*sin(25*s);
  }
}

typedef struct parts { ad_var loss, closed; } parts;

static parts record_loss(ad_tape *tape, ad_var lambda) {
  double x[TRAINING*POWERS], t[TRAINING], v[VALIDATION*POWERS], u[VALIDATION];
  make_data(TRAINING, -1, x, t);
  make_data(VALIDATION, -0.6, v, u);
  ad_var X = ad_constant(tape, AD_F64(TRAINING, POWERS), x), T = ad_constant(tape, AD_F64(TRAINING), t);
  ad_var V = ad_constant(tape, AD_F64(VALIDATION, POWERS), v), U = ad_constant(tape, AD_F64(VALIDATION), u);
  ad_var Xt = ad_transpose(X, NULL), identity = ad_eye(tape, POWERS, POWERS, 0, AD_F64);

  ad_var A = ad_add(ad_matmul(Xt, X), ad_mul(lambda, identity));
  ad_var w = ad_solve(A, ad_matmul(Xt, T));
  ad_var error = ad_sub(ad_matmul(V, w), U);
  return (parts){ ad_div(ad_dot(error, error), VALIDATION),
                  ad_mul(ad_dot(error, ad_matmul(V, ad_solve(A, w))), -2./VALIDATION) };
}

int main(void) {
  ad_tape *tape = ad_tape_new();
  double value = 0.05;
  ad_var lambda = ad_scalar(tape, value), first, second;
  parts p = record_loss(tape, lambda);
  ad_grad(p.loss, 1, &lambda, &first);
  ad_grad(first, 1, &lambda, &second);

  for (int step = 0; step < 6; step++) {
    double g = ad_value(first), closed = ad_value(p.closed);
    printf("lambda %.6f  loss %.8f  gradient %10.3e  as by hand: %s\n", value, ad_value(p.loss), g,
           fabs(g - closed) < 1e-12 ? "yes" : "no");
    value -= g/ad_value(second);
    ad_set_value(lambda, value);
  }
  const bool good = ad_tape_status(tape) == AD_OK;
  if (!good) fprintf(stderr, "%s\n", ad_tape_message(tape));
  ad_tape_free(tape);
  return !good;
}
