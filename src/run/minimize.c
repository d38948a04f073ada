/* minimize.c -- Newton's method for minima: steps of a positive definite matrix near the Hessian, and a line
 * search.
 *
 * Sources: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 3.1 (the search) and 3.3 (the
 * matrix); Hager and Zhang, SIAM J. Optim. 16 (2005), for the end of the search, where rounding hides the
 * decrease of f and the gradient decides.
 */
#include "run/iterate.h"
#include "base/lapack.h"

#include <math.h>
#include <string.h>

typedef struct descent {
  iteration s;
  const lapack *l;
  double f, f_trial;
  double *g, *g_trial, *step, *trial, *h, *factor;
} descent;

static const double shortest = 0x1p-60, promised = 1e-4;

static ad_status open_descent(descent *w, const ad_operation *op, const void *const x[], char *message,
                              size_t size) {
  const size_t n = (size_t)ad_type_count(*op->x[0]);
  const ad_status status = iteration_open(&w->s, op, x, 4*n + 2*n*n, message, size);
  if (status != AD_OK) return status;
  w->g = w->s.number, w->g_trial = w->g + n;
  w->step = w->g_trial + n, w->trial = w->step + n;
  w->h = w->trial + n, w->factor = w->h + n*n;
  w->l = lapack_find();
  return w->l ? AD_OK : AD_ERROR_UNSUPPORTED;
}

static ad_status evaluate(descent *w, const double x[], double *f, double g[]) {
  iteration *s = &w->s;
  const ad_status status = iteration_call(s, s->value, x, 1, f);
  return status == AD_OK ? iteration_call(s, s->residual, x, (size_t)s->n, g) : status;
}

/* Cholesky's factor of H + shift I; false if that is not positive definite. H is
 * taken as its own transpose. */
static bool factorise(descent *w, double shift) {
  const size_t n = (size_t)w->s.n;
  int info;
  memcpy(w->factor, w->h, n*n*sizeof *w->h);
  for (size_t i = 0; i < n; i++) w->factor[i*n + i] += shift;
  w->l->dpotrf("L", &w->s.n, w->factor, &w->s.n, &info, 1);
  return info == 0;
}

/* The shift that is needed, 0 if none; negative if none helps, which only happens without finite numbers. */
static double make_definite(descent *w) {
  const int n = w->s.n;
  double size = largest(n*n, w->h), lowest = INFINITY;
  if (!isfinite(size)) return -1;
  if (factorise(w, 0)) return 0;
  if (size == 0) size = 1;
  for (int i = 0; i < n; i++) lowest = fmin(lowest, w->h[(size_t)i*(size_t)n + (size_t)i]);
  for (double shift = (lowest > 0 ? 0 : -lowest) + 1e-3*size; isfinite(shift); shift *= 4)
    if (factorise(w, shift)) return shift;
  return -1;
}

static void find_step(descent *w) {
  const int n = w->s.n, one = 1;
  const double unit = 1;
  for (int i = 0; i < n; i++) w->step[i] = -w->g[i];
  w->l->dtrsm("L", "L", "N", "N", &n, &one, &unit, w->factor, &n, w->step, &n, 1, 1, 1, 1);
  w->l->dtrsm("L", "L", "T", "N", &n, &one, &unit, w->factor, &n, w->step, &n, 1, 1, 1, 1);
}

/* slope: of f along the step, negative. Rounding of f is some units in its last place. */
static bool better(const descent *w, double a, double slope) {
  const int n = w->s.n;
  if (w->f_trial <= w->f + promised*a*slope) return isfinite(euclidean(n, w->g_trial));
  const double rounding = 16*precision(&w->s)*fabs(w->f);
  return w->f_trial <= w->f + rounding && euclidean(n, w->g_trial) <= 0.9*euclidean(n, w->g);
}

static ad_status search(descent *w, bool *moved) {
  iteration *s = &w->s;
  const double slope = product_of(s->n, w->g, w->step);
  *moved = false;
  for (double a = 1; a >= shortest && !*moved; a /= 2) {
    iteration_step(s, w->trial, s->x, a, w->step);
    const ad_status status = evaluate(w, w->trial, &w->f_trial, w->g_trial);
    if (status != AD_OK) return status;
    *moved = better(w, a, slope);
  }
  if (!*moved) return AD_OK;
  iteration_move(s, w->trial);
  w->f = w->f_trial;
  memcpy(w->g, w->g_trial, (size_t)s->n*sizeof *w->g);
  return AD_OK;
}

/* Where the gradient is zero: a minimum, unless the Hessian is indefinite beyond rounding. */
static ad_status stationary(descent *w, int64_t k) {
  const int n = w->s.n;
  const double size = largest(n*n, w->h);
  if (size == 0 || factorise(w, sqrt(precision(&w->s))*size)) return AD_OK;
  return iteration_fail(&w->s, k, largest(n, w->g), "the point is stationary, but no minimum,");
}

static ad_status stuck(descent *w, int64_t k, double length, double shift) {
  if (shift == 0 && iteration_small(&w->s, length, sqrt(precision(&w->s)))) return AD_OK;
  return iteration_fail(&w->s, k, largest(w->s.n, w->g), "no step makes the function smaller");
}

static ad_status iterate(descent *w) {
  iteration *s = &w->s;
  const size_t n = (size_t)s->n;
  ad_status status = evaluate(w, s->x, &w->f, w->g);
  for (int64_t k = 0; status == AD_OK; k++) {
    bool moved;
    const double gradient = largest(s->n, w->g);
    if (!isfinite(gradient) || isnan(w->f))
      return iteration_fail(s, k, gradient, "the function is not finite");
    status = iteration_call(s, s->jacobian, s->x, n*n, w->h);
    if (status != AD_OK) return status;
    if (gradient <= s->how->absolute) return stationary(w, k);
    if (k == s->how->iterations) return iteration_fail(s, k, gradient, "no convergence");
    const double shift = make_definite(w);
    if (shift < 0) return iteration_fail(s, k, gradient, "the Hessian is not finite");
    find_step(w);
    const double length = largest(s->n, w->step);
    if (shift == 0 && iteration_small(s, length, s->how->relative)) {
      iteration_step(s, s->x, s->x, 1, w->step);
      return AD_OK;
    }
    status = search(w, &moved);
    if (status == AD_OK && !moved) return stuck(w, k, length, shift);
  }
  return status;
}

ad_status minimize_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                       size_t size) {
  descent w;
  if (!z[0] || ad_type_count(*op->x[0]) == 0) return AD_OK;
  ad_status status = open_descent(&w, op, x, message, size);
  if (status == AD_OK) status = iterate(&w);
  return iteration_close(&w.s, status, z[0]);
}
