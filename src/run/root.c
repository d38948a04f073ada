/* root.c -- Newton's method with halved steps. */
#include "run/iterate.h"
#include "base/lapack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct newton {
  iteration s;
  const lapack *l;
  double *r, *step, *trial, *r_trial, *j;
  int *pivot;
} newton;

/* How short a step may become, and how much of the decrease that the tangent promises it has to give. */
static const double shortest = 0x1p-40, promised = 1e-4;

static ad_status open_newton(newton *w, const ad_operation *op, const void *const x[], char *message,
                             size_t size) {
  const size_t n = (size_t)ad_type_count(*op->x[0]);
  const ad_status status = iteration_open(&w->s, op, x, 5*n + n*n, message, size);
  if (status != AD_OK) return status;
  w->l = lapack_find();
  w->r = w->s.number;
  w->step = w->r + n;
  w->trial = w->step + n;
  w->r_trial = w->trial + n;
  w->pivot = (int *)(void *)(w->r_trial + n);
  w->j = w->r_trial + 2*n;
  return w->l ? AD_OK : AD_ERROR_UNSUPPORTED;
}

static ad_status singular(const newton *w, int64_t k) {
  if (w->s.size)
    snprintf(w->s.message, w->s.size, "%s: the Jacobian is singular after %lld iterations, residual %.3g",
             w->s.name, (long long)k, largest(w->s.n, w->r));
  return AD_ERROR_SINGULAR;
}

/* step = -J^-1 r. By rows J is its transpose to LAPACK. */
static ad_status newton_step(newton *w, int64_t k) {
  iteration *s = &w->s;
  const size_t n = (size_t)s->n;
  const int one = 1;
  int info;
  const ad_status status = iteration_call(s, s->jacobian, s->x, n*n, w->j);
  if (status != AD_OK) return status;
  const double residual = largest(s->n, w->r);
  if (!isfinite(residual)) return iteration_fail(s, k, residual, "the residual is not finite");
  w->l->dgetrf(&s->n, &s->n, w->j, &s->n, w->pivot, &info);
  if (info > 0) return singular(w, k);
  for (size_t i = 0; i < n; i++) w->step[i] = -w->r[i];
  w->l->dgetrs("T", &s->n, &one, w->j, &s->n, w->pivot, w->step, &s->n, &info, 1);
  return isfinite(largest(s->n, w->step)) ? AD_OK : iteration_fail(s, k, residual, "the step is not finite");
}

/* Goes along the step as far as the residual gets smaller; *moved says whether it did. */
static ad_status search(newton *w, bool *moved) {
  iteration *s = &w->s;
  const double before = euclidean(s->n, w->r);
  *moved = false;
  for (double a = 1; a >= shortest && !*moved; a /= 2) {
    iteration_step(s, w->trial, s->x, a, w->step);
    const ad_status status = iteration_call(s, s->residual, w->trial, (size_t)s->n, w->r_trial);
    if (status != AD_OK) return status;
    *moved = euclidean(s->n, w->r_trial) <= (1 - promised*a)*before;
  }
  if (!*moved) return AD_OK;
  iteration_move(s, w->trial);
  memcpy(w->r, w->r_trial, (size_t)s->n*sizeof *w->r);
  return AD_OK;
}

/* A residual that no step makes smaller is at the level of rounding, if Newton's step is small. */
static ad_status stuck(newton *w, int64_t k, double length) {
  if (iteration_small(&w->s, length, sqrt(precision(&w->s)))) return AD_OK;
  return iteration_fail(&w->s, k, largest(w->s.n, w->r), "no step makes the residual smaller");
}

static ad_status iterate(newton *w) {
  iteration *s = &w->s;
  ad_status status = iteration_call(s, s->residual, s->x, (size_t)s->n, w->r);
  for (int64_t k = 0; status == AD_OK; k++) {
    bool moved;
    if (largest(s->n, w->r) <= s->how->absolute) return AD_OK;
    if (k == s->how->iterations) return iteration_fail(s, k, largest(s->n, w->r), "no convergence");
    status = newton_step(w, k);
    if (status != AD_OK) return status;
    const double length = largest(s->n, w->step);
    if (iteration_small(s, length, s->how->relative)) {
      iteration_step(s, s->x, s->x, 1, w->step);
      return AD_OK;
    }
    status = search(w, &moved);
    if (status == AD_OK && !moved) return stuck(w, k, length);
  }
  return status;
}

ad_status root_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                   size_t size) {
  newton w;
  if (!z[0] || ad_type_count(*op->x[0]) == 0) return AD_OK;
  ad_status status = open_newton(&w, op, x, message, size);
  if (status == AD_OK) status = iterate(&w);
  return iteration_close(&w.s, status, z[0]);
}
