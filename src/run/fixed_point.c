/* fixed_point.c -- x = g(x), with Anderson's mixing.
 *
 * With f_k = g(x_k) - x_k and the last q differences df_i = f_i+1 - f_i, dg_i =
 * g_i+1 - g_i, the next point is
 *
 *   x_k+1 = g_k - sum c_i dg_i        c the least squares solution of sum c_i df_i = f_k
 *
 * The df are made orthonormal, and the dg go along: then c_i = <f_k, df_i>. The newest comes first, so that
 * old ones that lie in the span of newer ones drop out. Source: Walker and Ni, SIAM
 * J. Numer. Anal. 49 (2011).
 */
#include "run/iterate.h"

#include <math.h>
#include <string.h>

typedef struct mixing {
  iteration s;
  int depth, count, newest;         /* differences kept, in a ring */
  double *f, *f_old, *g, *g_old, *next;
  double *df, *dg;                  /* depth vectors each */
  double *qf, *qg;                  /* the same, orthonormal */
  double *plain;                    /* the last point that g gave by itself */
  bool mixed;                       /* the current point is not one of those */
} mixing;

static ad_status open_mixing(mixing *w, const ad_operation *op, const void *const x[], char *message,
                             size_t size) {
  const implicit *a = op->attribute;
  const size_t n = (size_t)ad_type_count(*op->x[0]);
  *w = (mixing){ .depth = a->mixing < (int64_t)n ? (int)a->mixing : (int)n };
  const size_t vectors = n*(size_t)w->depth;
  const ad_status status = iteration_open(&w->s, op, x, 6*n + 4*vectors, message, size);
  if (status != AD_OK) return status;
  w->f = w->s.number, w->f_old = w->f + n;
  w->g = w->f_old + n, w->g_old = w->g + n;
  w->next = w->g_old + n, w->plain = w->next + n;
  w->df = w->plain + n, w->dg = w->df + vectors;
  w->qf = w->dg + vectors, w->qg = w->qf + vectors;
  return AD_OK;
}

static void subtract(int n, double z[], const double x[], const double y[]) {
  for (int i = 0; i < n; i++) z[i] = x[i] - y[i];
}

/* x -= c y */
static void take_off(int n, double x[], double c, const double y[]) {
  for (int i = 0; i < n; i++) x[i] -= c*y[i];
}

/* The residual of the node is x - g: so f is minus that, and g = x + f. */
static ad_status evaluate(mixing *w) {
  iteration *s = &w->s;
  const ad_status status = iteration_call(s, s->residual, s->x, (size_t)s->n, w->f);
  for (int i = 0; i < s->n; i++) w->f[i] = -w->f[i];
  iteration_step(s, w->g, s->x, 1, w->f);
  return status;
}

static void remember(mixing *w) {
  const int n = w->s.n;
  w->newest = (w->newest + 1)%w->depth;
  subtract(n, w->df + (size_t)w->newest*(size_t)n, w->f, w->f_old);
  subtract(n, w->dg + (size_t)w->newest*(size_t)n, w->g, w->g_old);
  if (w->count < w->depth) w->count++;
}

/* The age-th newest difference against those before it; false where nothing of it is left. */
static bool orthonormal(mixing *w, int age, int made) {
  const size_t n = (size_t)w->s.n, from = (size_t)((w->newest + w->depth - age)%w->depth)*n;
  double *f = w->qf + (size_t)made*n, *g = w->qg + (size_t)made*n;
  memcpy(f, w->df + from, n*sizeof *f);
  memcpy(g, w->dg + from, n*sizeof *g);
  const double before = euclidean(w->s.n, f);
  for (int i = 0; i < made; i++) {
    const double c = product_of(w->s.n, f, w->qf + (size_t)i*n);
    take_off(w->s.n, f, c, w->qf + (size_t)i*n);
    take_off(w->s.n, g, c, w->qg + (size_t)i*n);
  }
  const double after = euclidean(w->s.n, f);
  if (!(after > 1e-8*before)) return false;
  for (size_t i = 0; i < n; i++) f[i] /= after, g[i] /= after;
  return true;
}

static void mix(mixing *w) {
  const size_t n = (size_t)w->s.n;
  int made = 0;
  memcpy(w->next, w->g, n*sizeof *w->next);
  for (int age = 0; age < w->count; age++) {
    if (!orthonormal(w, age, made)) continue;
    take_off(w->s.n, w->next, product_of(w->s.n, w->f, w->qf + (size_t)made*n), w->qg + (size_t)made*n);
    made++;
  }
  w->mixed = made > 0;
}

static void advance(mixing *w) {
  const size_t bytes = (size_t)w->s.n*sizeof(double);
  mix(w);
  if (!isfinite(largest(w->s.n, w->next))) {
    memcpy(w->next, w->g, bytes);
    w->mixed = false, w->count = 0;
  }
  memcpy(w->plain, w->g, bytes);
  memcpy(w->f_old, w->f, bytes);
  memcpy(w->g_old, w->g, bytes);
  iteration_step(&w->s, w->next, w->next, 0, w->next);
  iteration_move(&w->s, w->next);
}

/* A mixed point where g is undefined, or much worse than before: the plain one instead. */
static bool go_back(mixing *w, double before) {
  const double now = euclidean(w->s.n, w->f);
  if (!w->mixed || now <= 10*before) return false;
  iteration_move(&w->s, w->plain);
  w->mixed = false;
  w->count = 0;
  return true;
}

static ad_status iterate(mixing *w) {
  iteration *s = &w->s;
  double before = INFINITY;
  bool compared = false;            /* f_old and g_old belong to the step that led here */
  for (int64_t k = 0;; k++) {
    const ad_status status = evaluate(w);
    if (status != AD_OK) return status;
    const double length = largest(s->n, w->f);
    if (length <= s->how->absolute || iteration_small(s, length, s->how->relative)) return AD_OK;
    if (k == s->how->iterations) return iteration_fail(s, k, length, "no convergence");
    if (go_back(w, before)) {
      compared = false;
      continue;
    }
    if (!isfinite(length)) return iteration_fail(s, k, length, "the residual is not finite");
    if (compared && w->depth) remember(w);
    before = euclidean(s->n, w->f);
    advance(w);
    compared = true;
  }
}

ad_status fixed_point_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                          size_t size) {
  mixing w;
  if (!z[0] || ad_type_count(*op->x[0]) == 0) return AD_OK;
  ad_status status = open_mixing(&w, op, x, message, size);
  if (status == AD_OK) status = iterate(&w);
  if (status == AD_OK) iteration_move(&w.s, w.g);
  return iteration_close(&w.s, status, z[0]);
}
