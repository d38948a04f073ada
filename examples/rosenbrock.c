/* rosenbrock.c -- minimises f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2 in 100 dimensions; the
 * minimum is 0 at ones.
 *
 * Gradient descent needs thousands of steps in the bent valley. Newton's method needs few: each step solves
 * H p = -g by conjugate gradients, which asks only for products H v, so that the 100 x 100 Hessian is never
 * formed (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.1).
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { N = 100 };

static void rosenbrock(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  ad_var x = ad_slice(in[0], 0, 0, N - 1, 1), next = ad_slice(in[0], 0, 1, N - 1, 1);
  ad_var valley = ad_square(ad_sub(next, ad_square(x)));
  out[0] = ad_sum(ad_add(ad_mul(100, valley), ad_square(ad_sub(1, x))), AD_ALL_AXES, false);
}

typedef struct problem {
  ad_function *gradient;        /* x -> f, g */
  ad_function *hvp;             /* x, v -> f, g, H v */
  ad_workspace *workspace;      /* so that calls allocate nothing */
} problem;

static double value(const problem *p, const double x[N]) {
  double f = NAN;
  ad_function_call(p->gradient, (const void *[]){ x }, (void *[]){ &f, NULL }, p->workspace);
  return f;
}

static double value_and_gradient(const problem *p, const double x[N], double g[N]) {
  double f = NAN;
  ad_function_call(p->gradient, (const void *[]){ x }, (void *[]){ &f, g }, p->workspace);
  return f;
}

static void hessian_times(const problem *p, const double x[N], const double v[N], double hv[N]) {
  ad_function_call(p->hvp, (const void *[]){ x, v }, (void *[]){ NULL, NULL, hv }, p->workspace);
}

static double dot(const double a[N], const double b[N]) {
  double sum = 0;
  for (int i = 0; i < N; i++) sum += a[i]*b[i];
  return sum;
}

/* a += t b */
static void add_scaled(double a[N], double t, const double b[N]) {
  for (int i = 0; i < N; i++) a[i] += t*b[i];
}

/* Goes along direction until f has decreased enough (Armijo), halving from length; returns the length
 * taken. */
static double line_search(const problem *p, double x[N], double f, const double g[N],
                          const double direction[N], double length) {
  double slope = dot(g, direction);
  for (; length > 1e-12; length /= 2) {
    double trial[N];
    for (int i = 0; i < N; i++) trial[i] = x[i] + length*direction[i];
    if (value(p, trial) <= f + 1e-4*length*slope) break;
  }
  add_scaled(x, length, direction);
  return length;
}

static int descend(const problem *p, double x[N], double tolerance, int limit) {
  double g[N], direction[N], length = 1e-3;
  for (int step = 0; step < limit; step++) {
    double f = value_and_gradient(p, x, g);
    if (!(f > tolerance)) return step;
    for (int i = 0; i < N; i++) direction[i] = -g[i];
    length = line_search(p, x, f, g, direction, 2*length);
  }
  return limit;
}

/* direction = -H^-1 g, roughly: stops at |r| <= min(1/2, sqrt|g|) |g|, or where H turns out not to be
 * positive. */
static void newton_direction(const problem *p, const double x[N], const double g[N], double direction[N]) {
  double r[N], d[N], hd[N], rr = dot(g, g), norm = sqrt(rr), enough = fmin(0.5, sqrt(norm))*norm;
  for (int i = 0; i < N; i++) {
    direction[i] = 0;
    r[i] = g[i];
    d[i] = -g[i];
  }
  for (int k = 0; k < 2*N && sqrt(rr) > enough; k++) {
    hessian_times(p, x, d, hd);
    double curvature = dot(d, hd);
    if (!(curvature > 0)) {
      if (k == 0) add_scaled(direction, 1, d);
      return;
    }
    double step = rr/curvature, before = rr;
    add_scaled(direction, step, d);
    add_scaled(r, step, hd);
    rr = dot(r, r);
    for (int i = 0; i < N; i++) d[i] = -r[i] + rr/before*d[i];
  }
}

static int newton(const problem *p, double x[N], double tolerance, int limit) {
  double g[N], direction[N];
  for (int step = 0; step < limit; step++) {
    double f = value_and_gradient(p, x, g);
    if (!(f > tolerance)) return step;
    newton_direction(p, x, g, direction);
    line_search(p, x, f, g, direction, 1);
  }
  return limit;
}

static void start(double x[N]) {
  for (int i = 0; i < N; i++) x[i] = 2;
}

/* How many steps it takes exactly depends on how the machine rounds, so only a bound is printed. */
static void report(const char *method, const double x[N], int steps, int bound) {
  double farthest = 0;
  for (int i = 0; i < N; i++) farthest = fmax(farthest, fabs(x[i] - 1));
  printf("%-17s all x within 0.001 of 1: %s; %s %d steps\n", method, farthest < 1e-3 ? "yes" : "no",
         steps < bound ? "fewer than" : "not done in", bound);
}

int main(void) {
  ad_report trace;
  const ad_type vector = AD_F64(N);
  ad_function *f = ad_function_trace_report("rosenbrock", rosenbrock, NULL, 1, &vector, 1, &trace);
  problem p = { NULL, NULL, ad_workspace_new() };
  if (f) p.gradient = ad_function_gradient(f, 0, NULL);
  if (f) p.hvp = ad_function_hvp(f, 0, NULL);
  bool good = p.gradient && p.hvp && p.workspace;
  if (!good) fprintf(stderr, "%s\n", f ? "out of memory" : trace.message);
  else {
    double x[N];
    start(x);
    int steps = descend(&p, x, 1e-8, 30000);
    report("gradient descent:", x, steps, 30000);
    start(x);
    steps = newton(&p, x, 1e-16, 40);
    report("Newton:", x, steps, 40);
  }
  ad_workspace_free(p.workspace);
  ad_function_free(p.hvp);
  ad_function_free(p.gradient);
  ad_function_free(f);
  return good ? 0 : 1;
}
