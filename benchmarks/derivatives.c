/* derivatives.c -- gradients of loops, maps and reductions as they come in fitting and learning: native code
 * against the interpreter, and against plain C by hand where that is short. One thread. */
#include "measure.h"

#include <adit/arrays.h>
#include <adit/code.h>
#include <adit/control.h>
#include <adit/elementwise.h>

#include <string.h>

static const char *only;            /* of the names, or all */

/* A gradient twice, once compiled, and its arguments. */
typedef struct subject {
  const char *name;
  ad_function *f;                   /* a scalar */
  ad_function *native, *interpreted;
  ad_workspace *workspace;
  int n_in;
  const void *in[8];
  void *out[8], *want[8];
  int64_t count[8];                 /* elements of the inputs, and of the gradients */
  void (*by_hand)(void *);
} subject;

static void fail(const char *name, const char *message) {
  fprintf(stderr, "benchmark: %s: %s\n", name, message);
  exit(1);
}

static void run_native(void *data) {
  subject *s = data;
  if (ad_function_call(s->native, s->in, s->out, s->workspace) != AD_OK)
    fail(s->name, ad_workspace_message(s->workspace));
}

static void run_interpreted(void *data) {
  subject *s = data;
  if (ad_function_call(s->interpreted, s->in, s->want, s->workspace) != AD_OK)
    fail(s->name, ad_workspace_message(s->workspace));
}

static double *values(int64_t n, double scale, int seed) {
  double *x = doubles((size_t)n);
  for (int64_t i = 0; i < n; i++) x[i] = scale*sin(1.7*(double)i + seed + 0.3*sin((double)(i*seed)));
  return x;
}

static void input(subject *s, ad_type type, double scale) {
  const int k = s->n_in++;
  int64_t n = 1;
  for (int d = 0; d < type.rank; d++) n *= type.dim[d];
  s->count[k] = n;
  s->in[k] = values(s->count[k], scale, k + 1);
}

/* f: traced; its gradient for the first `active` inputs. */
static void contest_gradient(subject *s, double units, int active) {
  if (only && !strstr(s->name, only)) return;
  ad_report report;
  int index[8];
  for (int k = 0; k < active; k++) index[k] = k;
  s->native = need(ad_function_gradient(s->f, active, index));
  s->interpreted = need(ad_function_gradient(s->f, active, index));
  s->workspace = need(ad_workspace_new());
  s->out[0] = doubles(1), s->want[0] = doubles(1);
  for (int k = 0; k < active; k++)
    s->out[k + 1] = doubles((size_t)s->count[k]), s->want[k + 1] = doubles((size_t)s->count[k]);
  if (ad_function_compile(s->native, &(ad_native){ .cache = own_folder() }, &report) != AD_OK)
    fail(s->name, report.message);
  run_native(s);
  run_interpreted(s);
  expect(s->name, *(double *)s->out[0], *(double *)s->want[0], 1e-11);
  for (int k = 0; k < active; k++)
    for (int64_t i = 0; i < s->count[k]; i++)
      expect(s->name, ((double *)s->out[k + 1])[i], ((double *)s->want[k + 1])[i], 1e-9);
  if (s->by_hand) {
    s->by_hand(s);
    for (int k = 0; k <= active; k++)
      for (int64_t i = 0; i < (k ? s->count[k - 1] : 1); i++)
        expect(s->name, ((double *)s->out[k])[i], ((double *)s->want[k])[i], 1e-9);
  }
  const entrant e[3] = { { run_native, s }, { run_interpreted, s }, { s->by_hand, s } };
  timing t[3];
  contest(s->by_hand ? 3 : 2, e, 9, cpu_seconds, t);
  printf("| %s | %.3f (%.3f) | %.3f (%.3f) | %.2f |", s->name, 1e9*t[0].median/units, 1e9*t[0].best/units,
         1e9*t[1].median/units, 1e9*t[1].best/units, t[0].median/t[1].median);
  if (s->by_hand) printf(" %.3f | **%.2f** |\n", 1e9*t[2].median/units, t[0].median/t[2].median);
  else printf(" | |\n");
  fflush(stdout);
}


static ad_function *traced(const char *name, ad_body *body, int n, const ad_type in[]) {
  ad_report report;
  ad_function *f = ad_function_trace_with(NULL, name, body, NULL, n, in, 1, &report);
  if (!f) fail(name, report.message);
  return f;
}

static ad_axes axis(int i) { return ad_axes_make(1, &i); }

/* --- log sum exp of a long vector ----------------------------------------------------------------------- */

enum { LONG = 100000 };

static void logsumexp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_logsumexp(in[0], AD_ALL_AXES, false);
}

static void logsumexp_by_hand(void *data) {
  subject *s = data;
  const double *x = s->in[0];
  double *g = s->want[1], top = x[0], sum = 0;
  for (int i = 0; i < LONG; i++) top = x[i] > top ? x[i] : top;
  for (int i = 0; i < LONG; i++) sum += g[i] = exp(x[i] - top);
  for (int i = 0; i < LONG; i++) g[i] /= sum;
  *(double *)s->want[0] = top + log(sum);
}

static void contest_logsumexp(void) {
  subject s = { .name = "log sum exp, an element of 1e5", .by_hand = logsumexp_by_hand };
  const ad_type in[1] = { AD_F64(LONG) };
  input(&s, in[0], 3);
  s.f = traced("logsumexp", logsumexp_body, 1, in);
  contest_gradient(&s, LONG, 1);
}

/* --- a sum over elementwise operations ------------------------------------------------------------------ */

static void residuals_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var r = ad_sub(ad_add(ad_mul(in[0], ad_exp(ad_mul(in[1], in[2]))), in[4]), in[3]);
  out[0] = ad_sum(ad_square(r), AD_ALL_AXES, false);
}

static void residuals_by_hand(void *data) {
  subject *s = data;
  const double a = *(const double *)s->in[0], b = *(const double *)s->in[1], *x = s->in[2], *y = s->in[3],
    c = *(const double *)s->in[4];
  double sum = 0, abar = 0, bbar = 0;
  for (int i = 0; i < LONG; i++) {
    const double e = exp(b*x[i]), r = a*e + c - y[i];
    sum += r*r, abar += 2*r*e, bbar += 2*r*a*e*x[i];
  }
  *(double *)s->want[0] = sum, *(double *)s->want[1] = abar, *(double *)s->want[2] = bbar;
}

static void contest_residuals(void) {
  subject s = { .name = "sum (a exp(b x) + c - y)^2, an element of 1e5", .by_hand = residuals_by_hand };
  const ad_type in[5] = { AD_F64(), AD_F64(), AD_F64(LONG), AD_F64(LONG), AD_F64() };
  for (int k = 0; k < 5; k++) input(&s, in[k], 1);
  s.f = traced("residuals", residuals_body, 5, in);
  contest_gradient(&s, LONG, 2);
}

/* --- a mixture of normal distributions ------------------------------------------------------------------ */

enum { POINTS = 200, PARTS = 25, DIMENSION = 10 };

/* x; log weights, means, log diagonals and strict lower triangles of the precision's factors. */
static void mixture_point(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var d = ad_sub(in[0], in[2]), terms[2] = { ad_tril(in[4], -1), d };
  const ad_var r = ad_add(ad_mul(ad_exp(in[3]), d), ad_einsum("kij,kj->ki", 2, terms));
  const ad_var exponent = ad_sub(ad_add(in[1], ad_sum(in[3], axis(1), false)),
                                 ad_mul(0.5, ad_sum(ad_square(r), axis(1), false)));
  out[0] = ad_logsumexp(exponent, AD_ALL_AXES, false);
}

static void mixture_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_type of[5] = { AD_F64(DIMENSION), AD_F64(PARTS), AD_F64(PARTS, DIMENSION),
                          AD_F64(PARTS, DIMENSION),
                          AD_F64(PARTS, DIMENSION, DIMENSION) };
  ad_function *f = ad_function_trace("point", mixture_point, NULL, 5, of, 1);
  (void)t;
  const ad_var x[5] = { in[4], in[0], in[1], in[2], in[3] };
  ad_var z[1];
  ad_map(f, x, z);
  out[0] = ad_sub(ad_sum(z[0], AD_ALL_AXES, false), ad_mul(POINTS, ad_logsumexp(in[0], AD_ALL_AXES, false)));
  ad_function_free(f);
}

static void mixture_by_hand(void *data) {
  subject *s = data;
  const double *alpha = s->in[0], *mean = s->in[1], *q = s->in[2], *l = s->in[3], *x = s->in[4];
  double *abar = s->want[1], *mbar = s->want[2], *qbar = s->want[3], *lbar = s->want[4];
  static double e[PARTS*DIMENSION], sum_q[PARTS], d[PARTS][DIMENSION], r[PARTS][DIMENSION], m[PARTS],
    rbar[DIMENSION];
  double total = 0;
  memset(abar, 0, PARTS*sizeof *abar), memset(mbar, 0, PARTS*DIMENSION*sizeof *mbar);
  memset(qbar, 0, PARTS*DIMENSION*sizeof *qbar), memset(lbar, 0, PARTS*DIMENSION*DIMENSION*sizeof *lbar);
  for (int k = 0; k < PARTS; k++) {
    sum_q[k] = 0;
    for (int i = 0; i < DIMENSION; i++)
      e[k*DIMENSION + i] = exp(q[k*DIMENSION + i]), sum_q[k] += q[k*DIMENSION + i];
  }
  for (int n = 0; n < POINTS; n++) {
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < PARTS; k++) {
      double square = 0;
      for (int i = 0; i < DIMENSION; i++) d[k][i] = x[n*DIMENSION + i] - mean[k*DIMENSION + i];
      for (int i = 0; i < DIMENSION; i++) {
        r[k][i] = e[k*DIMENSION + i]*d[k][i];
        for (int j = 0; j < i; j++) r[k][i] += l[(k*DIMENSION + i)*DIMENSION + j]*d[k][j];
        square += r[k][i]*r[k][i];
      }
      m[k] = alpha[k] + sum_q[k] - 0.5*square;
      if (m[k] > top) top = m[k];
    }
    for (int k = 0; k < PARTS; k++) sum += m[k] = exp(m[k] - top);
    total += top + log(sum);
    for (int k = 0; k < PARTS; k++) {
      const double w = m[k]/sum;
      abar[k] += w;
      for (int i = 0; i < DIMENSION; i++) {
        const int at = k*DIMENSION + i;
        rbar[i] = -w*r[k][i];
        qbar[at] += w + rbar[i]*d[k][i]*e[at], mbar[at] -= rbar[i]*e[at];
        for (int j = 0; j < i; j++) {
          lbar[at*DIMENSION + j] += rbar[i]*d[k][j];
          mbar[k*DIMENSION + j] -= rbar[i]*l[at*DIMENSION + j];
        }
      }
    }
  }
  double top = -INFINITY, sum = 0;
  for (int k = 0; k < PARTS; k++) top = alpha[k] > top ? alpha[k] : top;
  for (int k = 0; k < PARTS; k++) sum += exp(alpha[k] - top);
  for (int k = 0; k < PARTS; k++) abar[k] -= POINTS*exp(alpha[k] - top)/sum;
  *(double *)s->want[0] = total - POINTS*(top + log(sum));
}

static void contest_mixture(void) {
  subject s = { .name = "mixture, 25 normals in R^10, a point of 200", .by_hand = mixture_by_hand };
  const ad_type in[5] = { AD_F64(PARTS), AD_F64(PARTS, DIMENSION), AD_F64(PARTS, DIMENSION),
                          AD_F64(PARTS, DIMENSION, DIMENSION), AD_F64(POINTS, DIMENSION) };
  for (int k = 0; k < 5; k++) input(&s, in[k], k == 3 ? 0.2 : 1);
  s.f = traced("mixture", mixture_body, 5, in);
  contest_gradient(&s, POINTS, 4);
}

/* --- k means -------------------------------------------------------------------------------------------- */

enum { SAMPLES = 1000, CENTRES = 30, FEATURES = 16 };

static void nearest_point(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_reduce_min(ad_sum(ad_square(ad_sub(in[0], in[1])), axis(1), false), AD_ALL_AXES, false);
}

static void nearest_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_type of[2] = { AD_F64(FEATURES), AD_F64(CENTRES, FEATURES) };
  ad_function *f = ad_function_trace("point", nearest_point, NULL, 2, of, 1);
  const ad_var x[2] = { in[1], in[0] };
  ad_var z[1];
  ad_map(f, x, z);
  out[0] = ad_sum(z[0], AD_ALL_AXES, false);
  ad_function_free(f);
}

static void nearest_by_hand(void *data) {
  subject *s = data;
  const double *c = s->in[0], *x = s->in[1];
  double *cbar = s->want[1], total = 0;
  memset(cbar, 0, CENTRES*FEATURES*sizeof *cbar);
  for (int n = 0; n < SAMPLES; n++) {
    int best = 0;
    double least = INFINITY;
    for (int k = 0; k < CENTRES; k++) {
      double square = 0;
      for (int i = 0; i < FEATURES; i++) {
        const double d = x[n*FEATURES + i] - c[k*FEATURES + i];
        square += d*d;
      }
      if (square < least) least = square, best = k;
    }
    total += least;
    for (int i = 0; i < FEATURES; i++)
      cbar[best*FEATURES + i] -= 2*(x[n*FEATURES + i] - c[best*FEATURES + i]);
  }
  *(double *)s->want[0] = total;
}

static void contest_nearest(void) {
  subject s = { .name = "nearest of 30 centres in R^16, a point of 1000", .by_hand = nearest_by_hand };
  const ad_type in[2] = { AD_F64(CENTRES, FEATURES), AD_F64(SAMPLES, FEATURES) };
  input(&s, in[0], 1), input(&s, in[1], 1);
  s.f = traced("nearest", nearest_body, 2, in);
  contest_gradient(&s, SAMPLES, 1);
}

/* --- a recurrent cell, with diagonal weights ------------------------------------------------------------ */

enum { STEPS = 200, CELLS = 14 };

/* h, c, x, weights (4, CELLS), biases -> h, c */
static void cell_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_var gate[4];
  for (int k = 0; k < 4; k++) {
    const int64_t at[1] = { k };
    gate[k] = ad_add(ad_mul(k % 2 ? in[0] : in[2], ad_at(in[3], 1, at)), ad_at(in[4], 1, at));
    gate[k] = k == 3 ? ad_tanh(gate[k]) : ad_sigmoid(gate[k]);
  }
  out[1] = ad_add(ad_mul(in[1], gate[0]), ad_mul(gate[1], gate[3]));
  out[0] = ad_mul(gate[2], ad_tanh(out[1]));
}

static void cell_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_type one = AD_F64(CELLS), of[5] = { one, one, one, AD_F64(4, CELLS), AD_F64(4, CELLS) };
  ad_function *f = ad_function_trace("cell", cell_step, NULL, 5, of, 2);
  const ad_var x[5] = { ad_zeros(t, one), ad_zeros(t, one), in[2], in[0], in[1] };
  ad_var z[2];
  ad_scan(f, 2, NULL, x, z);
  out[0] = ad_add(ad_sum(ad_square(z[0]), AD_ALL_AXES, false), ad_sum(z[1], AD_ALL_AXES, false));
  ad_function_free(f);
}

static double logistic(double x) { return 1/(1 + exp(-x)); }

static void cell_by_hand(void *data) {
  subject *s = data;
  const double *w = s->in[0], *b = s->in[1], *x = s->in[2];
  double *wbar = s->want[1], *bbar = s->want[2];
  static double hs[STEPS + 1][CELLS], cs[STEPS + 1][CELLS], g[STEPS][4][CELLS], th[STEPS][CELLS];
  memset(wbar, 0, 4*CELLS*sizeof *wbar), memset(bbar, 0, 4*CELLS*sizeof *bbar);
  for (int n = 0; n < STEPS; n++)
    for (int i = 0; i < CELLS; i++) {
      for (int k = 0; k < 4; k++) {
        const double a = (k % 2 ? hs[n][i] : x[n*CELLS + i])*w[k*CELLS + i] + b[k*CELLS + i];
        g[n][k][i] = k == 3 ? tanh(a) : logistic(a);
      }
      cs[n + 1][i] = cs[n][i]*g[n][0][i] + g[n][1][i]*g[n][3][i];
      th[n][i] = tanh(cs[n + 1][i]);
      hs[n + 1][i] = g[n][2][i]*th[n][i];
    }
  double sum = 0, hbar[CELLS], cbar[CELLS];
  for (int i = 0; i < CELLS; i++) {
    const double h = hs[STEPS][i];
    sum += h*h + cs[STEPS][i], hbar[i] = 2*h, cbar[i] = 1;
  }
  for (int n = STEPS; n-- > 0;)
    for (int i = 0; i < CELLS; i++) {
      const double t = th[n][i], *q[4] = { g[n][0], g[n][1], g[n][2], g[n][3] };
      cbar[i] += hbar[i]*q[2][i]*(1 - t*t);
      double gbar[4] = { cbar[i]*cs[n][i], cbar[i]*q[3][i], hbar[i]*t, cbar[i]*q[1][i] };
      cbar[i] *= q[0][i];
      hbar[i] = 0;
      for (int k = 0; k < 4; k++) {
        const double a = gbar[k]*(k == 3 ? 1 - q[k][i]*q[k][i] : q[k][i]*(1 - q[k][i]));
        wbar[k*CELLS + i] += a*(k % 2 ? hs[n][i] : x[n*CELLS + i]), bbar[k*CELLS + i] += a;
        if (k % 2) hbar[i] += a*w[k*CELLS + i];
      }
    }
  *(double *)s->want[0] = sum;
}

static void contest_cell(void) {
  subject s = { .name = "recurrent cell, diagonal weights, 14 numbers, a step of 200",
                .by_hand = cell_by_hand };
  const ad_type in[3] = { AD_F64(4, CELLS), AD_F64(4, CELLS), AD_F64(STEPS, CELLS) };
  for (int k = 0; k < 3; k++) input(&s, in[k], 1);
  s.f = traced("cell", cell_body, 3, in);
  contest_gradient(&s, STEPS, 2);
}

/* --- a differential equation by Runge and Kutta --------------------------------------------------------- */

enum { UNKNOWNS = 50, RK_STEPS = 200 };

static ad_var slope(ad_tape *t, ad_var x, ad_var y) {
  const ad_var part[2] = { ad_ones(t, AD_F64(1)), ad_slice(y, 0, 0, UNKNOWNS - 1, 1) };
  return ad_mul(x, ad_concat(2, part, 0));
}

static void rk_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const double h = 1.0/RK_STEPS;
  const ad_var y = in[0], x = in[1], k1 = slope(t, x, y), k2 = slope(t, x, ad_add(y, ad_mul(h/2, k1)));
  const ad_var k3 = slope(t, x, ad_add(y, ad_mul(h/2, k2))), k4 = slope(t, x, ad_add(y, ad_mul(h, k3)));
  out[0] = ad_add(y, ad_mul(h/6, ad_add(ad_add(k1, k4), ad_mul(2, ad_add(k2, k3)))));
}

static void rk_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_type of[2] = { AD_F64(UNKNOWNS), AD_F64(UNKNOWNS) };
  ad_function *f = ad_function_trace("rk", rk_step, NULL, 2, of, 1);
  const ad_var x[2] = { ad_zeros(t, of[0]), in[0] };
  ad_var z[1];
  ad_scan(f, 1, &(ad_loop){ .steps = RK_STEPS }, x, z);
  out[0] = ad_sum(z[0], AD_ALL_AXES, false);
  ad_function_free(f);
}

static void slope_by_hand(const double *x, const double *y, double *z) {
  z[0] = x[0];
  for (int i = 1; i < UNKNOWNS; i++) z[i] = x[i]*y[i - 1];
}
static void slope_back(const double *x, const double *y, const double *zbar, double *xbar, double *ybar) {
  xbar[0] += zbar[0];
  for (int i = 1; i < UNKNOWNS; i++) xbar[i] += zbar[i]*y[i - 1], ybar[i - 1] += zbar[i]*x[i];
}

static void rk_by_hand(void *data) {
  subject *s = data;
  const double *x = s->in[0], h = 1.0/RK_STEPS;
  static double y[RK_STEPS + 1][UNKNOWNS], at[3][UNKNOWNS], k[4][UNKNOWNS], kbar[4][UNKNOWNS], abar[UNKNOWNS],
    ybar[UNKNOWNS];
  const double c[3] = { h/2, h/2, h };
  double *xbar = s->want[1], sum = 0;
  memset(xbar, 0, UNKNOWNS*sizeof *xbar);
  for (int n = 0; n < RK_STEPS; n++) {
    slope_by_hand(x, y[n], k[0]);
    for (int m = 0; m < 3; m++) {
      for (int i = 0; i < UNKNOWNS; i++) at[m][i] = y[n][i] + c[m]*k[m][i];
      slope_by_hand(x, at[m], k[m + 1]);
    }
    for (int i = 0; i < UNKNOWNS; i++)
      y[n + 1][i] = y[n][i] + h/6*(k[0][i] + k[3][i] + 2*(k[1][i] + k[2][i]));
  }
  for (int i = 0; i < UNKNOWNS; i++) sum += y[RK_STEPS][i], ybar[i] = 1;
  for (int n = RK_STEPS; n-- > 0;) {
    slope_by_hand(x, y[n], k[0]);
    for (int m = 0; m < 3; m++) {
      for (int i = 0; i < UNKNOWNS; i++) at[m][i] = y[n][i] + c[m]*k[m][i];
      slope_by_hand(x, at[m], k[m + 1]);
    }
    for (int i = 0; i < UNKNOWNS; i++) {
      kbar[0][i] = kbar[3][i] = h/6*ybar[i];
      kbar[1][i] = kbar[2][i] = h/3*ybar[i];
    }
    for (int m = 3; m-- > 0;) {
      memset(abar, 0, sizeof abar);
      slope_back(x, at[m], kbar[m + 1], xbar, abar);
      for (int i = 0; i < UNKNOWNS; i++) ybar[i] += abar[i], kbar[m][i] += c[m]*abar[i];
    }
    slope_back(x, y[n], kbar[0], xbar, ybar);
  }
  *(double *)s->want[0] = sum;
}

static void contest_rk(void) {
  subject s = { .name = "Runge-Kutta, 50 unknowns, a step of 200", .by_hand = rk_by_hand };
  const ad_type in[1] = { AD_F64(UNKNOWNS) };
  input(&s, in[0], 1);
  s.f = traced("rk", rk_body, 1, in);
  contest_gradient(&s, RK_STEPS, 1);
}

/* --- a scan over scalars -------------------------------------------------------------------------------- */

enum { TICKS = 10000 };

/* A pendulum with friction, by leapfrog: angle, speed; parameters. */
static void pendulum_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var half = ad_sub(in[1], ad_mul(0.005, ad_mul(in[2], ad_sin(in[0]))));
  out[0] = ad_add(in[0], ad_mul(0.01, half));
  out[1] = ad_mul(ad_sub(half, ad_mul(0.005, ad_mul(in[2], ad_sin(out[0])))),
                  ad_exp(ad_neg(ad_mul(0.01, in[3]))));
}

static void pendulum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_type of[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("pendulum", pendulum_step, NULL, 4, of, 2);
  ad_var z[2];
  ad_scan(f, 2, &(ad_loop){ .steps = TICKS }, in, z);
  out[0] = ad_add(ad_square(z[0]), ad_square(z[1]));
  ad_function_free(f);
}

static void pendulum_by_hand(void *data) {
  subject *s = data;
  static double as[TICKS + 1], vs[TICKS + 1], halfs[TICKS];
  const double g = *(const double *)s->in[2], friction = *(const double *)s->in[3], e = exp(-0.01*friction);
  as[0] = *(const double *)s->in[0], vs[0] = *(const double *)s->in[1];
  for (int n = 0; n < TICKS; n++) {
    halfs[n] = vs[n] - 0.005*g*sin(as[n]);
    as[n + 1] = as[n] + 0.01*halfs[n];
    vs[n + 1] = e*(halfs[n] - 0.005*g*sin(as[n + 1]));
  }
  double abar = 2*as[TICKS], vbar = 2*vs[TICKS], gbar = 0, ebar = 0;
  for (int n = TICKS; n-- > 0;) {
    const double s1 = sin(as[n + 1]), c1 = cos(as[n + 1]), s0 = sin(as[n]), c0 = cos(as[n]);
    ebar += vbar*(halfs[n] - 0.005*g*s1);
    double hbar = e*vbar;
    gbar -= hbar*0.005*s1, abar -= hbar*0.005*g*c1;
    hbar += 0.01*abar;
    gbar -= hbar*0.005*s0, abar -= hbar*0.005*g*c0;
    vbar = hbar;
  }
  *(double *)s->want[0] = as[TICKS]*as[TICKS] + vs[TICKS]*vs[TICKS];
  *(double *)s->want[1] = abar, *(double *)s->want[2] = vbar, *(double *)s->want[3] = gbar;
  *(double *)s->want[4] = -0.01*e*ebar;
}

static void contest_pendulum(void) {
  subject s = { .name = "pendulum, scalars, a step of 10,000", .by_hand = pendulum_by_hand };
  const ad_type in[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  static const double start[4] = { 1, 0.1, 9.81, 0.2 };
  for (int k = 0; k < 4; k++) input(&s, in[k], 1), s.in[k] = &start[k];
  s.f = traced("pendulum", pendulum_body, 4, in);
  contest_gradient(&s, TICKS, 4);
}

int main(int argc, char *argv[]) {
  only = argc > 1 ? argv[1] : NULL;
  printf("gradients: ns of processor time, medians (best) of 9 rounds\n\n");
  printf("| | native | interpreter | native/interpreter | by hand | native/by hand |\n"
         "| --- | --- | --- | --- | --- | --- |\n");
  contest_logsumexp();
  contest_residuals();
  contest_mixture();
  contest_nearest();
  contest_cell();
  contest_rk();
  contest_pendulum();
  return 0;
}
