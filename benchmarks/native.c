/* native.c -- functions compiled natively: the gradient of straight-line scalar code against the one written
 * by hand, the Jacobian of a projection over a hundred thousand instances, loops over arrays against written
 * ones, and what compiling takes. One thread. */
#include "measure.h"

#include <adit/arrays.h>
#include <adit/code.h>
#include <adit/control.h>
#include <adit/elementwise.h>

#include <string.h>
#include "run/kernels/vector_math.h"

static void compile(ad_function *f) {
  ad_report report;
  if (ad_function_compile(f, &(ad_native){ .cache = own_folder() }, &report) == AD_OK) return;
  fprintf(stderr, "benchmark: %s\n", report.message);
  exit(1);
}

typedef struct work {
  ad_function *f;
  ad_workspace *workspace;
  const void *in[16];
  void *out[32];
  int n;                            /* rounds, elements or instances */
  double *memory;
} work;

static void run_function(void *data) {
  work *w = data;
  if (ad_function_call(w->f, w->in, w->out, w->workspace) == AD_OK) return;
  fprintf(stderr, "benchmark: %s\n", ad_workspace_message(w->workspace));
  exit(1);
}

static void report(const char *name, double operations, const timing t[3]) {
  printf("| %s | %.3f (%.3f) | %.3f (%.3f) | %.3f (%.3f) | **%.2f** (%.2f) | %.2f |\n", name,
         1e9*t[1].median/operations, 1e9*t[1].best/operations, 1e9*t[2].median/operations,
         1e9*t[2].best/operations, 1e9*t[0].median/operations,
         1e9*t[0].best/operations, t[1].median/t[0].median, t[1].best/t[0].best, t[2].median/t[0].median);
}

/* The same function twice: one is compiled. */
static void compare(const char *name, double operations, work *hand, void (*by_hand)(void *),
                    ad_function *native,
                    ad_function *interpreted, const work *like) {
  work a = *like, b = *like;
  a.f = native, b.f = interpreted;
  a.workspace = need(ad_workspace_new()), b.workspace = need(ad_workspace_new());
  compile(native);
  const entrant e[3] = { { by_hand, hand }, { run_function, &a }, { run_function, &b } };
  timing t[3];
  contest(3, e, 15, cpu_seconds, t);
  report(name, operations, t);
  ad_workspace_free(a.workspace);
  ad_workspace_free(b.workspace);
}

/* --- straight-line code --------------------------------------------------------------------------------- */

/* Ten operations a round on (x, y); the coefficient is another one each time. */
static double coefficient(int i) { return 0.03 + 0.001*(i%17); }

static void straight(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var x = in[0], y = in[1];
  (void)t;
  for (int i = 0; i < *(const int *)context; i++) {
    const ad_var s = ad_mul(x, y), u = ad_add(s, coefficient(i));
    y = ad_sub(ad_mul(y, 0.9), ad_mul(u, 0.125));
    x = ad_add(ad_mul(x, 0.7), ad_mul(u, y));
    y = ad_mul(y, 0.99);
  }
  out[0] = ad_mul(x, y);
}

/* Value and gradient: what is needed of each round is stored on the way forward. */
static void straight_by_hand(void *data) {
  work *w = data;
  double x = *(const double *)w->in[0], y = *(const double *)w->in[1], *keep = w->memory;
  for (int i = 0; i < w->n; i++, keep += 4) {
    const double u = x*y + coefficient(i), z = 0.9*y - 0.125*u;
    keep[0] = x, keep[1] = y, keep[2] = u, keep[3] = z;
    x = 0.7*x + u*z;
    y = 0.99*z;
  }
  double xbar = y, ybar = x;
  *(double *)w->out[0] = x*y;
  for (int i = w->n; i-- > 0;) {
    keep -= 4;
    const double zbar = 0.99*ybar + keep[2]*xbar, ubar = keep[3]*xbar - 0.125*zbar;
    ybar = 0.9*zbar + keep[0]*ubar;
    xbar = 0.7*xbar + keep[1]*ubar;
  }
  *(double *)w->out[1] = xbar, *(double *)w->out[2] = ybar;
}

static ad_function *straight_gradient(int rounds) {
  const ad_type in[2] = { AD_F64(), AD_F64() };
  ad_function *f = need(ad_function_trace("straight", straight, &rounds, 2, in, 1));
  ad_function *g = need(ad_function_gradient(f, 0, NULL));
  ad_function_free(f);
  return g;
}

static void contest_straight(int rounds) {
  double x = 0.4, y = 0.6, z[3], want[3];
  char name[64];
  work hand = { .n = rounds, .memory = doubles((size_t)rounds*4), .in = { &x, &y },
                .out = { &want[0], &want[1], &want[2] } };
  const work like = { .in = { &x, &y }, .out = { &z[0], &z[1], &z[2] } };
  ad_function *a = straight_gradient(rounds), *b = straight_gradient(rounds);
  snprintf(name, sizeof name, "gradient, straight line, %d operations", 10*rounds);
  compare(name, 10.0*rounds, &hand, straight_by_hand, a, b, &like);
  for (int k = 0; k < 3; k++) expect(name, z[k], want[k], 1e-9);
  ad_function_free(a);
  ad_function_free(b);
}

/* --- a projection --------------------------------------------------------------------------------------- */

enum { INSTANCES = 100000, CAMERA = 15 };

/* Three angles, a shift, focal length, two distortions, the centre, a point and its weight -> two numbers. */
static void projection(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var s[3], c[3], p[3] = { in[11], in[12], in[13] };
  (void)t, (void)context;
  for (int k = 0; k < 3; k++) {
    s[k] = ad_sin(in[k]), c[k] = ad_cos(in[k]);
    const int i = (k + 1)%3, j = (k + 2)%3;
    const ad_var q = ad_sub(ad_mul(c[k], p[i]), ad_mul(s[k], p[j]));
    p[j] = ad_add(ad_mul(s[k], p[i]), ad_mul(c[k], p[j]));
    p[i] = q;
  }
  for (int k = 0; k < 3; k++) p[k] = ad_add(p[k], in[3 + k]);
  const ad_var u = ad_div(p[0], p[2]), v = ad_div(p[1], p[2]), r = ad_add(ad_square(u), ad_square(v));
  const ad_var d = ad_mul(in[6], ad_add(1, ad_mul(r, ad_add(in[7], ad_mul(r, in[8])))));
  out[0] = ad_mul(in[14], ad_add(ad_mul(d, u), in[9]));
  out[1] = ad_mul(in[14], ad_add(ad_mul(d, v), in[10]));
}

/* Scalar C, instance by instance, by the chain rule: the rotations' derivatives turn about one axis each. */
static void projection_by_hand(void *data) {
  work *w = data;
  const double *const *in = (const double *const *)(const void *)w->in;
  double *const *out = (double *const *)(void *)w->out;
  for (int n = 0; n < INSTANCES; n++) {
    double p[3] = { in[11][n], in[12][n], in[13][n] }, dp[6][3] = { { 0 } };
    for (int k = 0; k < 3; k++) dp[3 + k][k] = 1;
    for (int k = 0; k < 3; k++) {
      const double s = sin(in[k][n]), c = cos(in[k][n]);
      const int i = (k + 1)%3, j = (k + 2)%3;
      for (int m = 0; m < 6; m++) {
        if (m < 3 && m >= k) continue;
        const double a = dp[m][i], b = dp[m][j];
        dp[m][i] = c*a - s*b, dp[m][j] = s*a + c*b;
      }
      dp[k][i] = -s*p[i] - c*p[j], dp[k][j] = c*p[i] - s*p[j], dp[k][k] = 0;
      const double q = c*p[i] - s*p[j];
      p[j] = s*p[i] + c*p[j], p[i] = q;
    }
    for (int k = 0; k < 3; k++) p[k] += in[3 + k][n];
    const double over = 1/p[2], u = p[0]*over, v = p[1]*over, r = u*u + v*v, f = in[6][n], k1 = in[7][n],
      k2 = in[8][n];
    const double g = 1 + r*(k1 + r*k2), d = f*g, weight = in[14][n], slope = f*(k1 + 2*r*k2);
    double *z[2][CAMERA];
    for (int j = 0; j < 2; j++)
      for (int k = 0; k < CAMERA; k++) z[j][k] = out[j*CAMERA + k] + n;
    for (int m = 0; m < 9; m++) {                  /* angles, shift, point */
      double e[3] = { 0 };
      if (m >= 3 && m < 6) e[m - 3] = 1;
      const double *x = m < 3 ? dp[m] : m < 6 ? e : dp[m - 3];
      const double du = (x[0] - u*x[2])*over, dv = (x[1] - v*x[2])*over, dr = 2*(u*du + v*dv);
      const int at = m < 6 ? m : m + 5;
      *z[0][at] = weight*(d*du + slope*dr*u), *z[1][at] = weight*(d*dv + slope*dr*v);
    }
    *z[0][6] = weight*g*u, *z[1][6] = weight*g*v;
    *z[0][7] = weight*f*r*u, *z[1][7] = weight*f*r*v;
    *z[0][8] = weight*f*r*r*u, *z[1][8] = weight*f*r*r*v;
    *z[0][9] = weight, *z[1][9] = 0, *z[0][10] = 0, *z[1][10] = weight;
    *z[0][14] = d*u + in[9][n], *z[1][14] = d*v + in[10][n];
  }
}

static void contest_projection(void) {
  ad_type in[CAMERA];
  work hand = { .n = INSTANCES }, like = { .n = INSTANCES };
  for (int k = 0; k < CAMERA; k++) {
    double *x = doubles(INSTANCES);
    for (int n = 0; n < INSTANCES; n++) x[n] = 0.1*sin(n + 7.0*k) + (k == 5 ? 4 : k == 14 ? 1 : 0.2);
    hand.in[k] = like.in[k] = x;
    in[k] = AD_F64();
  }
  for (int k = 0; k < 2*CAMERA; k++) hand.out[k] = doubles(INSTANCES), like.out[k] = doubles(INSTANCES);
  ad_function *f = need(ad_function_trace("projection", projection, NULL, CAMERA, in, 2));
  ad_function *j = need(ad_function_jacobian(f, 0, NULL));
  ad_function *a = need(ad_function_map(j, INSTANCES, NULL)), *b = need(ad_function_map(j, INSTANCES, NULL));
  compare("Jacobian 2 x 15 of a projection, an instance", INSTANCES, &hand, projection_by_hand, a, b, &like);
  for (int k = 0; k < 2*CAMERA; k++)
    for (int n = 0; n < INSTANCES; n += 997)
      expect("projection", ((double *)like.out[k])[n], ((double *)hand.out[k])[n], 1e-12);
}

/* --- arrays --------------------------------------------------------------------------------------------- */

enum { ELEMENTS = 1000000 };

static void elementwise(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sub(ad_add(ad_mul(in[0], in[1]), ad_exp(ad_mul(in[0], -0.5))), in[2]);
}
static void elementwise_by_hand(void *data) {
  work *w = data;
  const double *restrict x = w->in[0], *restrict y = w->in[1], *restrict v = w->in[2];
  double *restrict z = w->out[0];
  for (int i = 0; i < ELEMENTS; i++) z[i] = x[i]*y[i] + exp(-0.5*x[i]) - v[i];
}

static void contest_arrays(void) {
  const ad_type in[3] = { AD_F64(ELEMENTS), AD_F64(ELEMENTS), AD_F64(ELEMENTS) };
  work hand = { .n = ELEMENTS };
  for (int k = 0; k < 3; k++) {
    double *x = doubles(ELEMENTS);
    for (int i = 0; i < ELEMENTS; i++) x[i] = sin(i + k);
    hand.in[k] = x;
  }
  work like = hand;
  hand.out[0] = doubles(ELEMENTS), like.out[0] = doubles(ELEMENTS);
  ad_function *a = need(ad_function_trace("elementwise", elementwise, NULL, 3, in, 1));
  ad_function *b = need(ad_function_trace("elementwise", elementwise, NULL, 3, in, 1));
  compare("x y + exp(-x/2) - v, an element of 1e6", ELEMENTS, &hand, elementwise_by_hand, a, b, &like);
}

/* --- what compiling takes ------------------------------------------------------------------------------- */

static void times_of_compiling(void) {
  double x = 0.4, y = 0.6, z[3];
  char command[1200], path[560];
  ad_function *g = straight_gradient(1000);
  snprintf(path, sizeof path, "%s/long.c", own_folder());
  FILE *f = need(fopen(path, "w"));
  double start = wall_seconds();
  if (ad_function_emit_c(g, f, NULL, &(ad_code){ .name = "p" }, NULL) || fclose(f)) exit(1);
  const double written = wall_seconds() - start;
  snprintf(command, sizeof command, "cc -O2 -c %s -o %s/long.o", path, own_folder());
  start = wall_seconds();
  if (system(command)) exit(1);
  printf("\ngradient of %zu operations: written as C in %.3f s, compiled by cc -O2 in %.2f s\n",
         ad_function_size(g), written,
         wall_seconds() - start);
  ad_function_free(g);
  compile(g = straight_gradient(10));
  ad_function_free(g);
  g = straight_gradient(10);
  start = wall_seconds();
  compile(g);
  ad_function_call(g, (const void *[]){ &x, &y }, (void *[]){ &z[0], &z[1], &z[2] }, NULL);
  printf("compiled before: ad_function_compile and the first call take %.2f ms (100 operations)\n",
         1e3*(wall_seconds() - start));
  ad_function_free(g);
  compile(g = straight_gradient(1000));
  ad_function_free(g);
  g = straight_gradient(1000);
  start = wall_seconds();
  compile(g);
  const double found = wall_seconds();
  ad_function_call(g, (const void *[]){ &x, &y }, (void *[]){ &z[0], &z[1], &z[2] }, NULL);
  printf("                 %.2f ms and %.3f ms (10,000 operations)\n", 1e3*(found - start),
         1e3*(wall_seconds() - found));
  ad_function_free(g);
}

int main(void) {
  printf("ns of processor time: medians (best) of 15 rounds\n\n");
  printf("| | native | interpreter | by hand | native/by hand | interpreter/by hand |\n"
         "| --- | --- | --- | --- | --- | --- |\n");
  contest_straight(10);
  contest_straight(100);
  contest_straight(1000);
  contest_projection();
  contest_arrays();
  times_of_compiling();
  return 0;
}
