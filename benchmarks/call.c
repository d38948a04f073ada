/* call.c -- what it costs to call a small function: ten scalar operations, with a workspace and without. */
#include "measure.h"

#include <adit/elementwise.h>
#include <adit/function.h>

/* ((x y + z)(x - y) + z/x)(y + z) - x y z: ten operations, x y is shared. */
static void arithmetic(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var x = in[0], y = in[1], z = in[2], xy = ad_mul(x, y);
  (void)t, (void)context;
  ad_var u = ad_mul(ad_add(xy, z), ad_sub(x, y));
  u = ad_mul(ad_add(u, ad_div(z, x)), ad_add(y, z));
  out[0] = ad_sub(u, ad_mul(xy, z));
}
static __attribute__((noinline)) double arithmetic_by_hand(double x, double y, double z) {
  return ((x*y + z)*(x - y) + z/x)*(y + z) - x*y*z;
}
static __attribute__((noinline)) double arithmetic_gradient_by_hand(const double v[], double grad[]) {
  const double x = v[0], y = v[1], z = v[2], xy = x*y;
  const double s = xy + z, d = x - y, q = z/x, e = y + z, m = s*d + q;
  const double gm = e, gs = gm*d, gd = gm*s, gxy = gs - z;
  grad[0] = gxy*y + gd - gm*q/x;
  grad[1] = gxy*x - gd + m;
  grad[2] = gs + gm/x + m - xy;
  return m*e - xy*z;
}

/* sin(x y) exp(-z^2) + tanh(x + y) sqrt(z): ten operations, four of them calls. */
static void transcendental(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var x = in[0], y = in[1], z = in[2];
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(ad_sin(ad_mul(x, y)), ad_exp(ad_neg(ad_mul(z, z)))),
                  ad_mul(ad_tanh(ad_add(x, y)), ad_sqrt(z)));
}
static __attribute__((noinline)) double transcendental_by_hand(double x, double y, double z) {
  return sin(x*y)*exp(-(z*z)) + tanh(x + y)*sqrt(z);
}
static __attribute__((noinline)) double transcendental_gradient_by_hand(const double v[], double grad[]) {
  const double x = v[0], y = v[1], z = v[2];
  const double s = sin(x*y), c = cos(x*y), e = exp(-(z*z)), t = tanh(x + y), r = sqrt(z);
  const double h = r*(1 - t*t);
  grad[0] = c*e*y + h;
  grad[1] = c*e*x + h;
  grad[2] = -2*z*s*e + t/(2*r);
  return s*e + t*r;
}

typedef struct calls {
  ad_function *f;
  ad_workspace *workspace;
  const void *in[3];
  void *out[4];
  double x[3], y[4];
  double (*value)(double, double, double);
  double (*gradient)(const double [], double []);
} calls;

static void run_adit(void *data) {
  calls *c = data;
  ad_function_call(c->f, c->in, c->out, c->workspace);
}
static void run_value(void *data) {
  calls *c = data;
  c->y[0] = c->value(c->x[0], c->x[1], c->x[2]);
}
static void run_gradient(void *data) {
  calls *c = data;
  c->y[0] = c->gradient(c->x, c->y + 1);
}

static calls prepare(ad_function *f, ad_workspace *w) {
  return (calls){ .f = need(f), .workspace = w, .x = { 1.3, 0.7, 0.4 } };
}
static void point(calls *c) {
  for (int i = 0; i < 3; i++) c->in[i] = &c->x[i];
  for (int j = 0; j < 4; j++) c->out[j] = &c->y[j];
}

static void row(const char *what, ad_function *f, ad_workspace *w, bool gradient, calls plain) {
  calls c[3] = { prepare(f, w), prepare(f, NULL), plain };
  for (int k = 0; k < 3; k++) point(&c[k]);
  const entrant e[] = { { run_adit, &c[0] },
                        { run_adit, &c[1] },
                        { gradient ? run_gradient : run_value, &c[2] } };
  timing t[3];
  contest(3, e, 51, cpu_seconds, t);
  for (int k = 0; k < 2; k++)
    for (int j = 0; j < (gradient ? 4 : 1); j++) expect(what, c[k].y[j], c[2].y[j], 1e-14);
  printf("| %s | %zu | **%.1f** (%.1f) | %.1f (%.1f) | %.1f |\n", what, ad_function_size(f), 1e9*t[0].median,
         1e9*t[0].best, 1e9*t[1].median, 1e9*t[1].best, 1e9*t[2].median);
}

int main(void) {
  const ad_type scalars[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = need(ad_function_trace("arithmetic", arithmetic, NULL, 3, scalars, 1));
  ad_function *g = need(ad_function_trace("transcendental", transcendental, NULL, 3, scalars, 1));
  ad_function *df = need(ad_function_gradient(f, 0, NULL));
  ad_function *dg = need(ad_function_gradient(g, 0, NULL));
  ad_workspace *w = need(ad_workspace_new());
  const calls plain_f = { .x = { 1.3, 0.7, 0.4 }, .value = arithmetic_by_hand,
                          .gradient = arithmetic_gradient_by_hand };
  const calls plain_g = { .x = { 1.3, 0.7, 0.4 }, .value = transcendental_by_hand,
                          .gradient = transcendental_gradient_by_hand };
  printf(
      "Calls, ns, median (best), one thread.\n\n"
      "| function | operations | with a workspace | without | plain C |\n| --- | --- | --- | --- | --- |\n");
  row("+ - * /", f, w, false, plain_f);
  row("its value and gradient", df, w, true, plain_f);
  row("sin, exp, tanh, sqrt", g, w, false, plain_g);
  row("its value and gradient", dg, w, true, plain_g);
  ad_workspace_free(w);
  ad_function_free(f), ad_function_free(g), ad_function_free(df), ad_function_free(dg);
  return 0;
}
