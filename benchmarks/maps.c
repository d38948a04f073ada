/* maps.c -- a map of a hundred thousand instances of a body of two hundred operations: value, jvp along eight
 * directions, vjp; one thread and all; against plain C, which the compiler may vectorise over the
 * instances. */
#include "measure.h"

#include <adit/arrays.h>
#include <adit/control.h>
#include <adit/derive.h>
#include <adit/elementwise.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { INSTANCES = 100000, ROUNDS = 20, OPERATIONS = 10*ROUNDS, DIRECTIONS = 8, INPUTS = 2, SHARED = 2 };

/* Ten operations a round on (u, v), with the instance's (x, y) and the parameters (a, b). */
#define ROUND(ADD, SUB, MUL) \
  u = ADD(MUL(u, a), MUL(x, v)); \
  v = SUB(MUL(v, b), MUL(y, u)); \
  u = MUL(ADD(u, v), C(0.5)); \
  v = ADD(v, MUL(u, u));

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var x = in[0], y = in[1], a = in[2], b = in[3];
  ad_var u = x, v = y;
  (void)t, (void)context;
#define C(k) ad_real(k)
  for (int i = 0; i < ROUNDS; i++) {
    ROUND(ad_add, ad_sub, ad_mul)
    v = ad_mul(v, C(0.9));
  }
#undef C
  out[0] = ad_add(u, v);
}
/* One operation a round is the damping; one of the last round's is the sum. */

#define PLUS(x, y) ((x) + (y))
#define MINUS(x, y) ((x) - (y))
#define TIMES(x, y) ((x)*(y))
#define C(k) (k)

static void value_by_hand(const double *restrict xs, const double *restrict ys, double a, double b,
                          double *restrict z, long from, long to) {
  for (long k = from; k < to; k++) {
    const double x = xs[k], y = ys[k];
    double u = x, v = y;
    for (int i = 0; i < ROUNDS; i++) {
      ROUND(PLUS, MINUS, TIMES)
      v = v*0.9;
    }
    z[k] = u + v;
  }
}

/* Tangents along eight directions: the directions are the inner loop. */
static void jvp_by_hand(const double *restrict xs, const double *restrict ys, double a, double b,
                        const double *restrict xdot, const double *restrict ydot, double *restrict z,
                        double *restrict zdot, long from, long to) {
  for (long k = from; k < to; k++) {
    const double x = xs[k], y = ys[k];
    double u = x, v = y, ud[DIRECTIONS], vd[DIRECTIONS];
    for (int d = 0; d < DIRECTIONS; d++) ud[d] = xdot[k*DIRECTIONS + d], vd[d] = ydot[k*DIRECTIONS + d];
    for (int i = 0; i < ROUNDS; i++) {
      const double u1 = u*a + x*v, v1 = v*b - y*u1, u2 = (u1 + v1)*0.5, v2 = (v1 + u2*u2)*0.9;
      for (int d = 0; d < DIRECTIONS; d++) {
        const double dx = xdot[k*DIRECTIONS + d], dy = ydot[k*DIRECTIONS + d];
        const double du1 = ud[d]*a + dx*v + x*vd[d], dv1 = vd[d]*b - dy*u1 - y*du1, du2 = (du1 + dv1)*0.5;
        ud[d] = du2;
        vd[d] = (dv1 + 2*u2*du2)*0.9;
      }
      u = u2, v = v2;
    }
    z[k] = u + v;
    for (int d = 0; d < DIRECTIONS; d++) zdot[k*DIRECTIONS + d] = ud[d] + vd[d];
  }
}

static void vjp_by_hand(const double *restrict xs, const double *restrict ys, double a, double b,
                        const double *restrict zbar, double *restrict xbar, double *restrict ybar,
                        double *abar,
                        double *bbar, long from, long to) {
  double sa = 0, sb = 0;
  for (long k = from; k < to; k++) {
    const double x = xs[k], y = ys[k];
    double us[ROUNDS], vs[ROUNDS], u1s[ROUNDS], u2s[ROUNDS], u = x, v = y;
    for (int i = 0; i < ROUNDS; i++) {
      us[i] = u, vs[i] = v;
      const double u1 = u*a + x*v, v1 = v*b - y*u1, u2 = (u1 + v1)*0.5;
      u1s[i] = u1, u2s[i] = u2;
      u = u2, v = (v1 + u2*u2)*0.9;
    }
    double ub = zbar[k], vb = zbar[k], xb = 0, yb = 0;
    for (int i = ROUNDS; i-- > 0;) {
      double dv1 = 0.9*vb;
      const double du2 = ub + 2*u2s[i]*dv1;
      double du1 = 0.5*du2;
      dv1 += 0.5*du2;
      sb += dv1*vs[i], yb -= dv1*u1s[i], du1 -= dv1*y;
      sa += du1*us[i], xb += du1*vs[i];
      ub = du1*a;
      vb = dv1*b + du1*x;
    }
    xbar[k] = xb + ub, ybar[k] = yb + vb;
  }
  *abar = sa, *bbar = sb;
}

/* --- contests ------------------------------------------------------------------------------------- */

typedef struct work {
  double *x, *y, *z, *zbar, *xdot, *ydot, *zdot, *xbar, *ybar, shared[SHARED], sums[SHARED];
  ad_function *f;
  ad_workspace *workspace;
  int threads;
} work;

typedef void part_function(work *w, long from, long to, double sums[2]);
static void value_part(work *w, long from, long to, double sums[2]) {
  (void)sums;
  value_by_hand(w->x, w->y, w->shared[0], w->shared[1], w->z, from, to);
}
static void jvp_part(work *w, long from, long to, double sums[2]) {
  (void)sums;
  jvp_by_hand(w->x, w->y, w->shared[0], w->shared[1], w->xdot, w->ydot, w->z, w->zdot, from, to);
}
static void vjp_part(work *w, long from, long to, double sums[2]) {
  vjp_by_hand(w->x, w->y, w->shared[0], w->shared[1], w->zbar, w->xbar, w->ybar, &sums[0], &sums[1], from,
              to);
}

static void in_parts(work *w, part_function *part) {
  double a = 0, b = 0;
#pragma omp parallel for num_threads(w->threads) reduction(+ : a, b)
  for (int i = 0; i < w->threads; i++) {
    double sums[2] = { 0, 0 };
    part(w, (long)INSTANCES*i/w->threads, (long)INSTANCES*(i + 1)/w->threads, sums);
    a += sums[0], b += sums[1];
  }
  w->sums[0] = a, w->sums[1] = b;
}
static void run_value_by_hand(void *data) { in_parts(data, value_part); }
static void run_jvp_by_hand(void *data) { in_parts(data, jvp_part); }
static void run_vjp_by_hand(void *data) { in_parts(data, vjp_part); }

static void call(work *w, const void *const in[], void *const out[]) {
  if (ad_function_call(w->f, in, out, w->workspace) == AD_OK) return;
  fprintf(stderr, "benchmark: %s\n", ad_workspace_message(w->workspace));
  exit(1);
}
static void run_value(void *data) {
  work *w = data;
  call(w, (const void *[]){ w->x, w->y, &w->shared[0], &w->shared[1] }, (void *[]){ w->z });
}
static void run_jvp(void *data) {
  work *w = data;
  call(w, (const void *[]){ w->x, w->y, &w->shared[0], &w->shared[1], w->xdot, w->ydot },
       (void *[]){ w->z, w->zdot });
}
static void run_vjp(void *data) {
  work *w = data;
  call(w, (const void *[]){ w->x, w->y, &w->shared[0], &w->shared[1], w->zbar },
       (void *[]){ NULL, w->xbar, w->ybar, &w->sums[0], &w->sums[1] });
}

/* (x, y, a, b, xdot[8], ydot[8]) -> (z, zdot[8]) */
static void eight_directions(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var tangent[DIRECTIONS];
  (void)t;
  body(t, in, out, context);
  for (int d = 0; d < DIRECTIONS; d++) {
    const int64_t at = d;
    const ad_var along[2] = { ad_at(in[4], 1, &at), ad_at(in[5], 1, &at) };
    ad_jvp(2, in, along, 1, out, &tangent[d]);
  }
  out[1] = ad_stack(DIRECTIONS, tangent, 0);
}

static work open_work(void) {
  work w = { .shared = { 0.7, 0.6 } };
  double **each[] = { &w.x, &w.y, &w.z, &w.zbar, &w.xbar, &w.ybar },
    **eight[] = { &w.xdot, &w.ydot, &w.zdot };
  for (int k = 0; k < 6; k++) *each[k] = doubles(INSTANCES);
  for (int k = 0; k < 3; k++) *eight[k] = doubles((size_t)INSTANCES*DIRECTIONS);
  for (long i = 0; i < INSTANCES; i++)
    w.x[i] = 0.3*sin((double)i), w.y[i] = 0.3*cos(3.0*(double)i), w.zbar[i] = 1;
  for (long i = 0; i < INSTANCES*DIRECTIONS; i++)
    w.xdot[i] = sin(0.7*(double)i), w.ydot[i] = cos(0.3*(double)i);
  w.workspace = need(ad_workspace_new());
  return w;
}

static double checksum(const work *w) {
  double s = w->sums[0] + w->sums[1];
  for (long i = 0; i < INSTANCES; i++) s += w->z[i] + w->xbar[i]*sin((double)i) + w->ybar[i];
  for (long i = 0; i < INSTANCES*DIRECTIONS; i++) s += w->zdot[i]*cos((double)i);
  return s;
}

static void compare(const char *name, work *mine, void (*run)(void *), work *hand, void (*by_hand)(void *)) {
  const entrant e[2] = { { by_hand, hand }, { run, mine } };
  timing t[2];
  mine->sums[0] = mine->sums[1] = 0;
  contest(2, e, 9, wall_seconds, t);
  expect(name, checksum(mine), checksum(hand), 1e-9);
  const double operations = (double)INSTANCES*OPERATIONS;
  printf("| %s | %d | %.3f (%.3f) | %.3f (%.3f) | **%.2f** (%.2f) |\n", name, mine->threads,
         1e9*t[1].median/operations, 1e9*t[1].best/operations, 1e9*t[0].median/operations,
         1e9*t[0].best/operations, t[1].median/t[0].median, t[1].best/t[0].best);
}

int main(void) {
  const ad_type s = AD_F64(), d = AD_F64(DIRECTIONS), in[6] = { s, s, s, s, d, d };
  const bool mapped[6] = { true, true, false, false, true, true };
  ad_function *f = need(ad_function_trace("body", body, NULL, 4, in, 1));
  ad_function *f8 = need(ad_function_trace("eight", eight_directions, NULL, 6, in, 2));
  ad_function *m = need(ad_function_map(f, INSTANCES, mapped)),
    *m8 = need(ad_function_map(f8, INSTANCES, mapped));
  ad_function *v = need(ad_function_vjp(m));
  printf("%d instances, %zu operations; wall time, ns for an operation of the value and an instance\n\n",
         INSTANCES,
         ad_function_size(f));
  printf("| | threads | adit | by hand | ratio |\n| --- | --- | --- | --- | --- |\n");
  int most = 1;
#ifdef _OPENMP
  most = omp_get_max_threads();
#endif
  for (int threads = 1; threads <= most; threads += most - 1 > 0 ? most - 1 : 1) {
    work mine = open_work(), hand = open_work();
    mine.threads = hand.threads = threads;
#ifdef _OPENMP
    omp_set_num_threads(threads);
#endif
    /* plans are made for the number of threads at their first call: fresh functions for each number */
    mine.f = need(ad_function_map(f, INSTANCES, mapped));
    compare("value", &mine, run_value, &hand, run_value_by_hand);
    mine.f = need(ad_function_map(f8, INSTANCES, mapped));
    compare("jvp, 8 directions", &mine, run_jvp, &hand, run_jvp_by_hand);
    mine.f = need(ad_function_vjp(m));
    compare("vjp", &mine, run_vjp, &hand, run_vjp_by_hand);
    ad_workspace_free(mine.workspace);
    ad_workspace_free(hand.workspace);
  }
  ad_function_free(v);
  ad_function_free(m);
  ad_function_free(m8);
  ad_function_free(f);
  ad_function_free(f8);
}
