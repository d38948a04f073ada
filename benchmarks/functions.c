/* functions.c -- derivatives as functions: the Hessian of Rosenbrock's function in 100 variables, jvp and vjp
 * of a function with three outputs, and how fast functions are made. One thread. */
#include "measure.h"

#include <adit/arrays.h>
#include <adit/derive.h>
#include <adit/elementwise.h>
#include <adit/function.h>
#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { N = 100 };

/* sum over i of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2 */
static void rosenbrock(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var a = ad_slice(in[0], 0, 0, N - 1, 1), b = ad_slice(in[0], 0, 1, N - 1, 1);
  (void)t, (void)context;
  const ad_var r = ad_sub(b, ad_square(a)), s = ad_sub(1, a);
  out[0] = ad_sum(ad_add(ad_mul(100, ad_square(r)), ad_square(s)), AD_ALL_AXES, false);
}
static __attribute__((noinline)) double rosenbrock_by_hand(const double x[], double grad[]) {
  double sum = 0;
  for (int i = 0; i < N; i++) grad[i] = 0;
  for (int i = 0; i + 1 < N; i++) {
    const double r = x[i + 1] - x[i]*x[i], s = 1 - x[i];
    sum += 100*r*r + s*s;
    grad[i] -= 400*r*x[i] + 2*s;
    grad[i + 1] += 200*r;
  }
  return sum;
}
static __attribute__((noinline)) void rosenbrock_hessian_by_hand(const double x[], double h[]) {
  memset(h, 0, N*N*sizeof *h);
  for (int i = 0; i + 1 < N; i++) {
    h[i*N + i] += 1200*x[i]*x[i] - 400*x[i + 1] + 2;
    h[(i + 1)*N + i + 1] += 200;
    h[i*N + i + 1] = h[(i + 1)*N + i] = -400*x[i];
  }
}

/* R^2 -> R^3: (x0^2 + x1^2, x0 x1, sin x0 + cos x1) */
static void three(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var a = in[0], b = in[1];
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(a, a), ad_mul(b, b));
  out[1] = ad_mul(a, b);
  out[2] = ad_add(ad_sin(a), ad_cos(b));
}
static __attribute__((noinline)) void three_jvp_by_hand(const double x[], double y[]) {
  const double a = x[0], b = x[1], da = x[2], db = x[3];
  y[0] = a*a + b*b, y[1] = a*b, y[2] = sin(a) + cos(b);
  y[3] = 2*a*da + 2*b*db, y[4] = da*b + a*db, y[5] = cos(a)*da - sin(b)*db;
}
static __attribute__((noinline)) void three_vjp_by_hand(const double x[], double y[]) {
  const double a = x[0], b = x[1], *g = x + 2;
  y[0] = a*a + b*b, y[1] = a*b, y[2] = sin(a) + cos(b);
  y[3] = 2*a*g[0] + b*g[1] + cos(a)*g[2], y[4] = 2*b*g[0] + a*g[1] - sin(b)*g[2];
}

/* A function to make: a thousand operations on scalars, no two of them equal. */
static void thousand(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var v = in[0];
  (void)t, (void)context;
  for (int i = 0; i < 250; i++) v = ad_add(ad_mul(ad_sub(ad_mul(v, in[0]), in[1]), in[2]), in[i % 3]);
  out[0] = v;
}

/* --- calls ---------------------------------------------------------------------------------------- */

typedef struct call {
  ad_function *f;
  ad_workspace *workspace;
  const void *in[8];
  void *out[8];
  double *x, *y;
} call;

static void run_adit(void *data) {
  call *c = data;
  ad_function_call(c->f, c->in, c->out, c->workspace);
}

/* Inputs one after the other in x, outputs in y. */
static call call_of(ad_function *f, double *x, double *y) {
  call c = { .f = need(f), .workspace = need(ad_workspace_new()), .x = x, .y = y };
  for (int i = 0; i < ad_function_inputs(f); i++) {
    c.in[i] = x;
    x += ad_type_count(ad_function_input_type(f, i));
  }
  for (int j = 0; j < ad_function_outputs(f); j++) {
    c.out[j] = y;
    y += ad_type_count(ad_function_output_type(f, j));
  }
  return c;
}

static void gradient_by_hand(void *data) { call *c = data; c->y[0] = rosenbrock_by_hand(c->x, c->y + 1); }
static void hessian_by_hand(void *data) { call *c = data; rosenbrock_hessian_by_hand(c->x, c->y); }
static void jvp_by_hand(void *data) { call *c = data; three_jvp_by_hand(c->x, c->y); }
static void vjp_by_hand(void *data) { call *c = data; three_vjp_by_hand(c->x, c->y); }

static void row(const char *what, ad_function *f, void (*by_hand)(void *), const double start[],
                const char *goal) {
  static double x[2*N], mine[N*N + 1], theirs[N*N + 1];
  for (int i = 0; i < N; i++) x[i] = start[i];
  call c = call_of(f, x, mine), plain = { .x = x, .y = theirs };
  const entrant e[] = { { run_adit, &c }, { by_hand, &plain } };
  timing t[2];
  contest(2, e, 41, cpu_seconds, t);
  int64_t count = 0;
  for (int j = 0; j < ad_function_outputs(f); j++) count += ad_type_count(ad_function_output_type(f, j));
  for (int64_t k = 0; k < count; k++) expect(what, mine[k], theirs[k], 1e-12);
  printf("| %s | %zu | **%.3f** (%.3f) | %.3f | %s |\n", what, ad_function_size(f), 1e6*t[0].median,
         1e6*t[0].best, 1e6*t[1].median, goal);
  ad_workspace_free(c.workspace);
}

/* --- making --------------------------------------------------------------------------------------- */

static void trace_thousand(void *data) {
  (void)data;
  const ad_type scalars[] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function_free(need(ad_function_trace("thousand", thousand, NULL, 3, scalars, 1)));
}
static void gradient_of(void *f) { ad_function_free(need(ad_function_gradient(f, 0, NULL))); }
static void hessian_of(void *f) { ad_function_free(need(ad_function_hessian(f, 0, NULL))); }
/* The first call of a function plans it. */
static void trace_and_plan(void *data) {
  call *c = data;
  const ad_type scalars[] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = need(ad_function_trace("thousand", thousand, NULL, 3, scalars, 1));
  ad_function_call(f, c->in, c->out, c->workspace);
  ad_function_free(f);
}

static void making(ad_function *rosen) {
  static double x[3] = { 0.3, 0.2, 0.1 }, y[4];
  const ad_type scalars[] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("thousand", thousand, NULL, 3, scalars, 1);
  call c = call_of(f, x, y);
  const entrant e[] = { { trace_thousand, NULL },
                        { trace_and_plan, &c },
                        { gradient_of, f },
                        { gradient_of, rosen },
                        { hessian_of, rosen } };
  timing t[5];
  contest(5, e, 31, cpu_seconds, t);
  printf("\nMaking functions, us (ns an operation of the result).\n\n"
         "| what | operations | time |\n| --- | --- | --- |\n");
  const double n = (double)ad_function_size(f);
  printf("| trace | %.0f | %.1f (%.0f) |\n", n, 1e6*t[0].median, 1e9*t[0].median/n);
  printf("| trace, plan and call once | %.0f | %.1f (%.0f) |\n", n, 1e6*t[1].median, 1e9*t[1].median/n);
  ad_function *made[] = { ad_function_gradient(f, 0, NULL), ad_function_gradient(rosen, 0, NULL),
                          ad_function_hessian(rosen, 0, NULL) };
  const char *const names[] = { "gradient of it", "gradient of Rosenbrock's function",
                                "Hessian of Rosenbrock's function" };
  for (int k = 0; k < 3; k++) {
    const double m = (double)ad_function_size(made[k]);
    printf("| %s | %.0f | %.1f (%.0f) |\n", names[k], m, 1e6*t[2 + k].median, 1e9*t[2 + k].median/m);
    ad_function_free(made[k]);
  }
  ad_function_free(f);
  ad_workspace_free(c.workspace);
}

int main(void) {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
  const ad_type vector[] = { AD_F64(N) }, scalars[] = { AD_F64(), AD_F64() };
  ad_function *rosen = need(ad_function_trace("rosenbrock", rosenbrock, NULL, 1, vector, 1));
  ad_function *f = need(ad_function_trace("three", three, NULL, 2, scalars, 3));
  ad_function *made[] = { ad_function_gradient(rosen, 0, NULL), ad_function_hessian(rosen, 0, NULL),
                          ad_function_jvp(f), ad_function_vjp(f) };
  double x[N], point[N] = { 2, 3, 1, 0.5 }, seeds[N] = { 2, 3, 1, 2, 3 };
  for (int i = 0; i < N; i++) x[i] = 0.5 + 0.01*i;
  printf("Calls with a workspace, us, median (best), one thread.\n\n"
         "| what | operations | adit | by hand | goal |\n| --- | --- | --- | --- | --- |\n");
  row("Rosenbrock, 100 variables: value and gradient", made[0], gradient_by_hand, x, "-");
  row("Rosenbrock, 100 variables: dense Hessian", made[1], hessian_by_hand, x, "30");
  row("R^2 -> R^3: jvp", made[2], jvp_by_hand, point, "0.5");
  row("R^2 -> R^3: vjp", made[3], vjp_by_hand, seeds, "0.5");
  making(rosen);
  for (int k = 0; k < 4; k++) ad_function_free(made[k]);
  ad_function_free(rosen), ad_function_free(f);
  return 0;
}
