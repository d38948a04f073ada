/* ode.c -- the Runge-Kutta method and its adjoint by hand. It is the derivative of the computed solution, as
 * the tools give it; the derivative of the exact one has a closed form, which would be another problem.
 */
#include "manual.h"

#include <string.h>

/* Of the slopes k at `from` -- k_0 = x_0, k_i = x_i from_{i-1} -- the next stage y + reach k, and their
 * part of the step, to = base + weight k. */
static void advance(size_t n, const double *restrict x, const double *restrict from, const double *restrict y,
                    double reach, double *restrict stage, double weight, const double *base, double *to) {
  stage[0] = y[0] + reach*x[0];
  to[0] = base[0] + weight*x[0];
  for (size_t i = 1; i < n; i++) {
    double k = x[i]*from[i - 1];
    stage[i] = y[i] + reach*k;
    to[i] = base[i] + weight*k;
  }
}

/* One step from y to `to`; the stages 2 to 4 stay in s2, s3, s4. */
static void step(size_t n, const double *x, double h, const double *y, double *to, double *s2, double *s3,
                 double *s4) {
  advance(n, x, y, y, h/2, s2, h/6, y, to);
  advance(n, x, s2, y, h/2, s3, h/3, to, to);
  advance(n, x, s3, y, h, s4, h/3, to, to);
  to[0] += h/6*x[0];
  for (size_t i = 1; i < n; i++) to[i] += h/6*x[i]*s4[i - 1];
}

void ode_value(size_t n, const double *x, size_t s, double *y, double *work) {
  double *next = work, *s2 = next + n, *s3 = s2 + n, *s4 = s3 + n;
  memset(y, 0, n*sizeof *y);
  for (size_t i = 0; i < s; i++) {
    step(n, x, 2/(double)s, y, next, s2, s3, s4);
    memcpy(y, next, n*sizeof *y);
  }
}

/* The adjoint of rate: xbar += kbar dk/dx, ybar = kbar dk/dy. */
static void pull(size_t n, const double *restrict x, const double *restrict y, const double *restrict kbar,
                 double *restrict xbar, double *restrict ybar) {
  xbar[0] += kbar[0];
  for (size_t i = 1; i < n; i++) {
    xbar[i] += kbar[i]*y[i - 1];
    ybar[i - 1] = x[i]*kbar[i];
  }
  ybar[n - 1] = 0;
}

/* The adjoint of one step: ybar of the state after it becomes that before it. kbar, sbar, sum: n each. */
static void step_back(size_t n, const double *x, double h, const double *y, const double *s2,
                      const double *s3,
                      const double *s4, double *restrict ybar, double *xbar, double *restrict kbar,
                      double *restrict sbar, double *restrict sum) {
  const double *stage[] = {s4, s3, s2, y};
  const double weight[] = {h/6, h/3, h/3, h/6}, reach[] = {0, h, h/2, h/2};
  memset(sbar, 0, n*sizeof *sbar);
  memcpy(sum, ybar, n*sizeof *sum);
  for (int i = 0; i < 4; i++) {
    for (size_t j = 0; j < n; j++) kbar[j] = weight[i]*ybar[j] + reach[i]*sbar[j];
    pull(n, x, stage[i], kbar, xbar, sbar);
    for (size_t j = 0; j < n; j++) sum[j] += sbar[j];
  }
  memcpy(ybar, sum, n*sizeof *ybar);
}

/* Forwards the states are kept, s + 1 of them; backwards the stages are computed again from them. */
void ode_gradient(size_t n, const double *x, size_t s, double *gradient, double *work) {
  const double h = 2/(double)s;
  double *states = work, *s2 = states + (s + 1)*n, *s3 = s2 + n, *s4 = s3 + n, *kbar = s4 + n;
  double *sbar = kbar + n, *ybar = sbar + n, *sum = ybar + n;
  memset(states, 0, n*sizeof *states);
  for (size_t i = 0; i < s; i++) step(n, x, h, states + i*n, states + (i + 1)*n, s2, s3, s4);
  memset(ybar, 0, n*sizeof *ybar);
  memset(gradient, 0, n*sizeof *gradient);
  ybar[n - 1] = 1;
  for (size_t i = s; i-- > 0;) {
    step(n, x, h, states + i*n, sum, s2, s3, s4);
    step_back(n, x, h, states + i*n, s2, s3, s4, ybar, gradient, kbar, sbar, sum);
  }
}
