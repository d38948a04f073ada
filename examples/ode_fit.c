/* ode_fit.c -- fitting an equation to what was observed of it. Van der Pol's oscillator
 *
 *   x' = v,   v' = mu (1 - x^2) v - k x
 *
 * is observed at 12 times; mu and k are found again from its positions alone by least squares, with the exact
 * Jacobian of the trajectory. Then the gradient of the misfit, by both adjoints: that of the steps made, and
 * that of the exact solution, integrated backwards.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { TIMES = 12 };

/* in: t, y (2), p (2); out: dy/dt. */
static void slope(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  const int64_t first = 0, second = 1;
  ad_var x = ad_at(in[1], 1, &first), v = ad_at(in[1], 1, &second);
  ad_var mu = ad_at(in[2], 1, &first), k = ad_at(in[2], 1, &second);
  ad_var damping = ad_mul(mu, ad_mul(ad_sub(1, ad_square(x)), v));
  out[0] = ad_stack(2, (const ad_var[]){ v, ad_sub(damping, ad_mul(k, x)) }, 0);
}

typedef struct problem { ad_function *slope; ad_ode options; } problem;

/* in: p (2); out: x at the times. */
static void positions(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  const double start[2] = { 1, 0 };
  ad_var y, times = ad_linspace(ad_full(tape, AD_F64(), 0), ad_full(tape, AD_F64(), 8), TIMES);
  ad_odeint(p->slope, &p->options, (const ad_var[]){ ad_constant(tape, AD_F64(2), start), times, in[0] }, &y);
  out[0] = ad_squeeze(ad_slice(y, 1, 0, 1, 1), AD_AXES(1));
}

/* One step of Gauss and Newton's method, for two parameters: J^T J step = J^T r. */
static void improve(double p[2], const double r[TIMES], double j[TIMES][2]) {
  double a = 0, b = 0, c = 0, g[2] = { 0, 0 };
  for (int i = 0; i < TIMES; i++) {
    a += j[i][0]*j[i][0], b += j[i][0]*j[i][1], c += j[i][1]*j[i][1];
    g[0] += j[i][0]*r[i], g[1] += j[i][1]*r[i];
  }
  p[0] += (c*g[0] - b*g[1])/(a*c - b*b);
  p[1] += (a*g[1] - b*g[0])/(a*c - b*b);
}

int main(void) {
  const ad_type type[3] = { AD_F64(), AD_F64(2), AD_F64(2) };
  problem p = { .options = { .relative = 1e-9, .absolute = 1e-9 } };
  p.slope = ad_function_trace("van_der_pol", slope, NULL, 3, type, 1);
  ad_function *f = ad_function_trace("positions", positions, &p, 1, &type[2], 1);
  ad_function *jacobian = ad_function_jacobian(f, 0, NULL), *vjp[2] = { ad_function_vjp(f), NULL };
  p.options.adjoint = AD_ADJOINT_CONTINUOUS;
  ad_function *g = ad_function_trace("positions", positions, &p, 1, &type[2], 1);
  vjp[1] = ad_function_vjp(g);

  const double truth[2] = { 1.5, 0.8 };
  double guess[2] = { 1, 1 }, seen[TIMES], x[TIMES], r[TIMES], j[TIMES][2], pbar[2][2] = { { 0 } };
  ad_status status = ad_function_call(f, (const void *[]){ truth }, (void *[]){ seen }, NULL);
  for (int step = 0; step < 7 && !status; step++) {
    status = ad_function_call(f, (const void *[]){ guess }, (void *[]){ x }, NULL);
    if (!status) status = ad_function_call(jacobian, (const void *[]){ guess }, (void *[]){ j }, NULL);
    double misfit = 0;
    for (int i = 0; i < TIMES; i++) r[i] = seen[i] - x[i], misfit += r[i]*r[i];
    printf("mu = %.5f, k = %.5f, misfit %.4f\n", guess[0], guess[1], misfit);
    if (step == 0)
      for (int i = 0; i < 2 && !status; i++)
        status = ad_function_call(vjp[i], (const void *[]){ guess, r }, (void *[]){ NULL, pbar[i] }, NULL);
    improve(guess, r, j);
  }
  printf("J^T r at the guess: %.5f %.5f by the steps' adjoint\n", pbar[0][0], pbar[0][1]);
  printf("                    %.5f %.5f by the equation's\n", pbar[1][0], pbar[1][1]);
  if (status) fprintf(stderr, "%s\n", ad_status_sentence(status));
  for (int i = 0; i < 2; i++) ad_function_free(vjp[i]);
  ad_function_free(jacobian);
  ad_function_free(g);
  ad_function_free(f);
  ad_function_free(p.slope);
  return status != AD_OK;
}
