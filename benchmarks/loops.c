/* loops.c -- a scan of a million steps with a body of twenty operations: value and reverse gradient, for each
 * operation, against the same loop in plain C; the memory that each policy takes; and how long it takes to
 * make the gradient, which must not depend on the number of steps. */
#include "measure.h"

#include <adit/control.h>
#include <adit/elementwise.h>
#include <adit/primitive.h>

enum { OPERATIONS = 20 };

/* A pendulum with friction and a driving force, symplectic Euler with a correction: state (q, p), parameters
 * (a, b), step h. Twenty additions, multiplications and divisions; sin is a polynomial, so that no library
 * function hides the cost of the loop. */
#define STEP(T, ADD, MUL, DIV) \
  const T q2 = MUL(q, q); \
  const T c1 = MUL(q2, T##_OF(-1./5040)), c2 = ADD(c1, T##_OF(1./120)), c3 = MUL(q2, c2); \
  const T c4 = ADD(c3, T##_OF(-1./6)), c5 = MUL(q2, c4), c6 = ADD(c5, T##_OF(1)); \
  const T s = MUL(q, c6), f1 = MUL(a, s), f2 = MUL(b, p), f3 = ADD(f1, f2); \
  const T p1 = MUL(T##_OF(-0.001), f3), pn = ADD(p, p1), h1 = MUL(T##_OF(0.001), pn), qn = ADD(q, h1); \
  const T r1 = MUL(qn, qn), r2 = ADD(r1, T##_OF(1)), r3 = DIV(qn, r2), qo = ADD(qn, MUL(T##_OF(1e-4), r3));

#define ad_var_OF(k) ad_real(k)
#define double_OF(k) (k)
#define PLUS(x, y) ((x) + (y))
#define TIMES(x, y) ((x)*(y))
#define OVER(x, y) ((x)/(y))

static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var q = in[0], p = in[1], a = in[2], b = in[3];
  (void)t, (void)context;
  STEP(ad_var, ad_add, ad_mul, ad_div)
  out[0] = qo, out[1] = pn;
}

typedef struct program { ad_function *step; ad_loop loop; } program;

/* (q0, p0, a, b) -> q^2 + p at the end */
static void whole(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const program *g = context;
  ad_var end[2] = { ad_none(), ad_none() };
  (void)t;
  ad_fold(g->step, 2, &g->loop, in, end);
  out[0] = ad_add(ad_mul(end[0], end[0]), end[1]);
}

static double by_hand(long n, const double x[4]) {
  double q = x[0], p = x[1];
  const double a = x[2], b = x[3];
  for (long i = 0; i < n; i++) {
    STEP(double, PLUS, TIMES, OVER)
    q = qo, p = pn;
  }
  return q*q + p;
}

/* The gradient as it would be written: states stored, then the steps backwards. */
static double gradient_by_hand(long n, const double x[4], double *state, double g[4]) {
  double q = x[0], p = x[1], da = 0, db = 0;
  const double a = x[2], b = x[3];
  for (long i = 0; i < n; i++) {
    state[2*i] = q, state[2*i + 1] = p;
    STEP(double, PLUS, TIMES, OVER)
    q = qo, p = pn;
  }
  const double value = q*q + p;
  double dq = 2*q, dp = 1;
  for (long i = n; i-- > 0;) {
    q = state[2*i], p = state[2*i + 1];
    STEP(double, PLUS, TIMES, OVER)
    (void)qo;
    const double dr3 = 1e-4*dq, dr2 = -dr3*r3/r2, dqn = dq + dr3/r2 + 2*qn*dr2;
    const double dpn = dp + 0.001*dqn, df3 = -0.001*dpn, ds = df3*a;
    da += df3*s, db += df3*p;
    const double dc6 = ds*q, dc4 = dc6*q2, dc2 = dc4*q2, dq2 = dc6*c4 + dc4*c2 + dc2*(-1./5040);
    dq = dqn + ds*c6 + 2*q*dq2;
    dp = dpn + df3*b;
  }
  g[0] = dq, g[1] = dp, g[2] = da, g[3] = db;
  return value;
}

/* --- contests ------------------------------------------------------------------------------------- */

typedef struct run {
  long n;
  const double *x;
  double *state, g[5];
  ad_function *f;
  ad_workspace *workspace;
  int outputs;
} run;

static void run_value_by_hand(void *data) {
  run *r = data;
  r->g[0] = by_hand(r->n, r->x);
}
static void run_gradient_by_hand(void *data) {
  run *r = data;
  r->g[0] = gradient_by_hand(r->n, r->x, r->state, r->g + 1);
}
static void run_adit(void *data) {
  run *r = data;
  const void *in[4];
  void *out[5];
  for (int i = 0; i < 4; i++) in[i] = &r->x[i];
  for (int i = 0; i < r->outputs; i++) out[i] = &r->g[i];
  if (ad_function_call(r->f, in, out, r->workspace) == AD_OK) return;
  fprintf(stderr, "benchmark: %s\n", ad_workspace_message(r->workspace));
  exit(1);
}

static ad_function *make(ad_function *body, ad_loop loop, bool gradient) {
  const ad_type in[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  program g = { body, loop };
  ad_function *f = need(ad_function_trace("loop", whole, &g, 4, in, 1));
  if (!gradient) return f;
  ad_function *d = need(ad_function_gradient(f, 0, NULL));
  ad_function_free(f);
  return d;
}

static const double start[4] = { 0.5, 0.1, 1.1, 0.2 };

typedef struct policy { const char *name; ad_loop loop; } policy;
typedef struct memory_request { ad_function *body; ad_loop loop; long n; } memory_request;

/* Growth of the resident memory by one gradient, in a fresh process. */
static void measure_memory(const void *data, double result[]) {
  const memory_request *m = data;
  run r = { .n = m->n, .x = start, .outputs = 5 };
  r.f = make(m->body, m->loop, true);
  r.workspace = need(ad_workspace_new());
  const double before = peak_bytes();
  run_adit(&r);
  result[0] = peak_bytes() - before;
}

static double seconds_to_make(ad_function *body, ad_loop loop) {
  double seen[21];
  for (int i = 0; i < 21; i++) {
    const double begin = cpu_seconds();
    ad_function *g = make(body, loop, true);
    seen[i] = cpu_seconds() - begin;
    ad_function_free(g);
  }
  return median(21, seen);
}

int main(void) {
  const long n = 1000000;
  const ad_type in[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  ad_function *body = need(ad_function_trace("step", step, NULL, 4, in, 2));
  double *state = doubles(2*(size_t)n);
  run hand = { .n = n, .x = start, .state = state }, value = { .n = n, .x = start, .outputs = 1 };
  value.workspace = need(ad_workspace_new());
  value.f = make(body, (ad_loop){ .steps = n }, false);
  const policy policies[] = {
    { "all values", { .steps = n, .keep = AD_KEEP_ALL } }, { "all states", { .steps = n } },
    { "every 1000th", { .steps = n, .keep = AD_KEEP_EVERY, .k = 1000 } },
    { "binomial, 1000", { .steps = n, .keep = AD_KEEP_BINOMIAL, .k = 1000 } },
    { "binomial, 100", { .steps = n, .keep = AD_KEEP_BINOMIAL, .k = 100 } },
    { "binomial, 10", { .steps = n, .keep = AD_KEEP_BINOMIAL, .k = 10 } },
  };
  timing t[3];
  entrant e[3] = { { run_value_by_hand, &hand }, { run_adit, &value }, { run_gradient_by_hand, &hand } };
  contest(3, e, 5, cpu_seconds, t);
  expect("value", value.g[0], hand.g[0], 1e-9);
  const double operations = (double)n*OPERATIONS;
  printf("%ld steps of %d operations, ns for an operation of the value\n\n", n, OPERATIONS);
  printf("| | adit | by hand | ratio | memory, MiB |\n| --- | --- | --- | --- | --- |\n");
  printf("| value | %.2f | %.2f | %.1f | |\n", 1e9*t[1].median/operations, 1e9*t[0].median/operations,
         t[1].median/t[0].median);
  for (size_t k = 0; k < sizeof policies/sizeof *policies; k++) {
    run g = { .n = n, .x = start, .outputs = 5, .workspace = value.workspace };
    memory_request m = { body, policies[k].loop, n };
    double bytes, mine;
    in_child(measure_memory, &m, 1, &bytes);
    g.f = make(body, policies[k].loop, true);
    timing s[2];
    entrant two[2] = { { run_gradient_by_hand, &hand }, { run_adit, &g } };
    contest(2, two, 3, cpu_seconds, s);
    for (int i = 0; i < 5; i++) expect("gradient", g.g[i], hand.g[i], 1e-8);
    mine = s[1].median;
    printf("| gradient, %s | %.2f | %.2f | %.1f | %.2f |\n", policies[k].name, 1e9*mine/operations,
           1e9*s[0].median/operations, mine/s[0].median, bytes/1048576);
    ad_function_free(g.f);
  }
  printf("\nmaking the gradient: %.2f ms for 10 steps, %.2f ms for a million\n",
         1e3*seconds_to_make(body, (ad_loop){ .steps = 10 }),
         1e3*seconds_to_make(body, (ad_loop){ .steps = n }));
  ad_function_free(value.f);
  ad_workspace_free(value.workspace);
  ad_function_free(body);
  free(state);
}
