/* lanes.c -- a scalar function of a hundred operations at a hundred thousand points: lanes of the interpreter
 * against the same formula in a loop that the C compiler vectorises, and against calling the function point
 * by point. One thread. */
#include "measure.h"
#include "run/kernels/vector_math.h"

#include <adit/elementwise.h>
#include <adit/function.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { POINTS = 100000, STEPS = 20 };
static double *x, *y, *mine, *dx, *dy, *theirs, *theirs_dx, *theirs_dy;

/* Twenty times five operations: v = (v x + y) x - y, and u = v + v; the mix ends each fourth time with a
 * tanh. */
static void arithmetic(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var v = in[0];
  (void)t, (void)context;
  for (int i = 0; i < STEPS; i++) {
    v = ad_mul(ad_add(ad_mul(v, in[0]), in[1]), in[0]);
    v = ad_sub(v, in[1]);
    v = ad_add(v, in[0]);
  }
  out[0] = v;
}
static inline double step_by_hand(double v, double a, double b) { return (v*a + b)*a - b + a; }

static void mixed(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var v = in[0];
  (void)t, (void)context;
  for (int i = 0; i < STEPS; i++) {
    v = ad_mul(ad_add(ad_mul(v, in[0]), in[1]), in[0]);
    v = ad_sub(v, in[1]);
    v = i % 4 == 3 ? ad_tanh(v) : ad_add(v, in[0]);
  }
  out[0] = v;
}
static inline double mixed_step_by_hand(int i, double v, double a, double b) {
  return i % 4 == 3 ? tanh((v*a + b)*a - b) : step_by_hand(v, a, b);
}

#define EACH _Pragma("omp simd") for (int k = 0; k < POINTS; k++)

static void arithmetic_by_hand(void *unused) {
  (void)unused;
  EACH {
    double v = x[k];
#pragma GCC unroll 20
    for (int i = 0; i < STEPS; i++) v = step_by_hand(v, x[k], y[k]);
    theirs[k] = v;
  }
}
static void mixed_by_hand(void *unused) {
  (void)unused;
  EACH {
    double v = x[k];
#pragma GCC unroll 20
    for (int i = 0; i < STEPS; i++) v = mixed_step_by_hand(i, v, x[k], y[k]);
    theirs[k] = v;
  }
}

/* Backwards through z = (v a + b) a - b + a. */
#define BACK(v, a, b, g, ga, gb) \
  { const double h = (g)*(a); ga += (g)*((v)*(a) + (b) + 1) + h*(v); gb += h - (g); g = h*(a); }
static void arithmetic_gradient_by_hand(void *unused) {
  (void)unused;
  EACH {
    double v[STEPS + 1], g = 1, ga = 0, gb = 0;
    v[0] = x[k];
#pragma GCC unroll 20
    for (int i = 0; i < STEPS; i++) v[i + 1] = step_by_hand(v[i], x[k], y[k]);
#pragma GCC unroll 20
    for (int i = STEPS; i-- > 0;) BACK(v[i], x[k], y[k], g, ga, gb)
    theirs[k] = v[STEPS], theirs_dx[k] = ga + g, theirs_dy[k] = gb;
  }
}
static void mixed_gradient_by_hand(void *unused) {
  (void)unused;
  EACH {
    double v[STEPS + 1], g = 1, ga = 0, gb = 0;
    v[0] = x[k];
#pragma GCC unroll 20
    for (int i = 0; i < STEPS; i++) v[i + 1] = mixed_step_by_hand(i, v[i], x[k], y[k]);
#pragma GCC unroll 20
    for (int i = STEPS; i-- > 0;) {
      if (i % 4 == 3) g *= 1 - v[i + 1]*v[i + 1], ga -= g;
      BACK(v[i], x[k], y[k], g, ga, gb)
    }
    theirs[k] = v[STEPS], theirs_dx[k] = ga + g, theirs_dy[k] = gb;
  }
}

typedef struct call { ad_function *f; ad_workspace *workspace; } call;

static void run_lanes(void *data) {
  const call *c = data;
  const void *in[] = { x, y };
  void *out[] = { mine, dx, dy };
  ad_function_call_lanes(c->f, POINTS, in, out, c->workspace);
}
static void run_points(void *data) {
  const call *c = data;
  for (int k = 0; k < POINTS; k++) {
    const void *in[] = { &x[k], &y[k] };
    void *out[] = { &mine[k], &dx[k], &dy[k] };
    ad_function_call(c->f, in, out, c->workspace);
  }
}

static void row(const char *what, ad_function *f, int outputs, void (*by_hand)(void *)) {
  call c = { need(f), need(ad_workspace_new()) };
  const entrant e[] = { { run_lanes, &c }, { by_hand, NULL }, { run_points, &c } };
  timing t[3];
  contest(3, e, 31, cpu_seconds, t);
  run_lanes(&c);
  for (int k = 0; k < POINTS; k++) {
    expect(what, mine[k], theirs[k], 1e-9);
    if (outputs > 1) expect(what, dx[k], theirs_dx[k], 1e-9), expect(what, dy[k], theirs_dy[k], 1e-9);
  }
  const double ns = 1e9/POINTS/(double)ad_function_size(f);
  printf("| %s | %zu | **%.3f** (%.3f) | %.3f | %.2f | %.1f |\n", what, ad_function_size(f), ns*t[0].median,
         ns*t[0].best, ns*t[1].median, ns*t[2].median, t[0].median/t[1].median);
  ad_workspace_free(c.workspace);
}

int main(void) {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
  double **const arrays[] = { &x, &y, &mine, &dx, &dy, &theirs, &theirs_dx, &theirs_dy };
  for (int i = 0; i < 8; i++) *arrays[i] = doubles(POINTS);
  for (int k = 0; k < POINTS; k++) x[k] = 0.1 + 0.8*k/POINTS, y[k] = 0.9 - 0.8*k/POINTS;
  const ad_type scalars[] = { AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("arithmetic", arithmetic, NULL, 2, scalars, 1);
  ad_function *g = ad_function_trace("mixed", mixed, NULL, 2, scalars, 1);
  ad_function *df = ad_function_gradient(f, 0, NULL), *dg = ad_function_gradient(g, 0, NULL);
  printf("%d points, ns an operation and point, median (best), one thread.\n\n"
         "| function | operations | lanes | by hand | point by point | lanes/by hand |\n"
         "| --- | --- | --- | --- | --- | --- |\n", POINTS);
  row("+ - *", f, 1, arithmetic_by_hand);
  row("its value and gradient", df, 3, arithmetic_gradient_by_hand);
  row("+ - * and five tanh", g, 1, mixed_by_hand);
  row("its value and gradient", dg, 3, mixed_gradient_by_hand);
  ad_function_free(f), ad_function_free(g), ad_function_free(df), ad_function_free(dg);
  for (int i = 0; i < 8; i++) free(*arrays[i]);
  return 0;
}
