/* test_threads.c -- two threads record on two tapes at once; many threads call, apply and derive one
 * function.
 *
 * Arrays stay below the size at which the library starts threads of its own, so that a race detector that
 * does not know OpenMP has nothing to say about it. Each thread counts its own failures; main checks the
 * counts. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 40, N = 300 };

typedef struct worker {
  pthread_t thread;
  int number;
  ad_function *f, *scalar;
  int failures;
} worker;

static void expect(worker *w, bool ok) { w->failures += !ok; }

/* --- tapes of their own --------------------------------------------------------------------------------- */

static void record_scalars(worker *w, ad_tape *t) {
  const ad_mark m = ad_tape_mark(t);
  const double a = 0.1*(w->number + 1);
  ad_var x = ad_scalar(t, a), y = x, g;
  for (int i = 0; i < 500; i++) y = ad_sin(ad_add(ad_mul(y, 0.5), x));
  double v = a, d = 1;
  for (int i = 0; i < 500; i++) {
    const double u = 0.5*v + a;
    d = cos(u)*(0.5*d + 1), v = sin(u);
  }
  expect(w, check_near(ad_value(y), v, 1e-12));
  expect(w, ad_backward(y) == AD_OK && check_near(ad_adjoint(x), d, 1e-12));
  expect(w, ad_grad(y, 1, &x, &g) == AD_OK && check_near(ad_value(g), d, 1e-12));
  expect(w, ad_tape_status(t) == AD_OK && ad_tape_rewind(t, m) == AD_OK);
}

static void record_arrays(worker *w, ad_tape *t) {
  double x[N], d[N];
  for (int i = 0; i < N; i++) x[i] = 0.01*i + w->number;
  const ad_var v = ad_array(t, AD_F64(N), x), y = ad_sum(ad_mul(ad_exp(ad_neg(v)), v), AD_ALL_AXES, false);
  expect(w, ad_backward(y) == AD_OK && ad_read_adjoint(v, d) == AD_OK);
  for (int i = 0; i < N; i += 37) expect(w, check_near(d[i], exp(-x[i])*(1 - x[i]), 1e-13));
  x[0] = 50;
  expect(w, ad_set(v, x) == AD_OK && isfinite(ad_value(y)));
}

static void *record(void *argument) {
  worker *w = argument;
  for (int round = 0; round < ROUNDS; round++) {
    ad_tape *t = ad_tape_new();
    record_scalars(w, t);
    record_scalars(w, t);
    record_arrays(w, t);
    ad_tape_free(t);
  }
  return NULL;
}

/* --- one function for all ------------------------------------------------------------------------------- */

/* (x(N), a) -> (a tanh(x), sum x^2 + a, max(x, a)) */
static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_tanh(in[0]), in[1]);
  out[1] = ad_add(ad_sum(ad_square(in[0]), AD_ALL_AXES, false), in[1]);
  out[2] = ad_max(in[0], in[1]);
}
static void scalar_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_exp(in[0]), ad_sin(in[1]));
}

static void call_once(worker *w, int round, ad_workspace *workspace) {
  double x[N], a = 1 + w->number, y[N], sum = 0, z[N], want = a;
  const unsigned wanted = (unsigned)(round + w->number)%7 + 1;
  for (int i = 0; i < N; i++) {
    x[i] = 0.02*(i - round) - 1;
    want += x[i]*x[i];
  }
  void *out[] = { wanted & 1 ? y : NULL, wanted & 2 ? &sum : NULL, wanted & 4 ? z : NULL };
  expect(w, ad_function_call(w->f, (const void *const[]){ x, &a }, out, workspace) == AD_OK);
  for (int i = 0; i < N && wanted & 1; i += 11) expect(w, check_near(y[i], a*tanh(x[i]), 1e-13));
  if (wanted & 2) expect(w, check_near(sum, want, 1e-12));
  for (int i = 0; i < N && wanted & 4; i += 11) expect(w, z[i] == fmax(x[i], a));
}

static void *call(void *argument) {
  worker *w = argument;
  ad_workspace *own = ad_workspace_new();
  for (int round = 0; round < ROUNDS; round++) {
    call_once(w, round, NULL);
    call_once(w, round, own);
  }
  ad_workspace_free(own);
  return NULL;
}

static void *call_lanes(void *argument) {
  worker *w = argument;
  double x[N], y[N], z[N];
  for (int i = 0; i < N; i++) x[i] = 0.01*i, y[i] = w->number + 0.5;
  for (int round = 0; round < ROUNDS; round++) {
    expect(w, ad_function_call_lanes(w->scalar, N, (const void *const[]){ x, y }, (void *const[]){ z }, NULL)
                  == AD_OK);
    expect(w, check_near(z[N - 1], exp(x[N - 1])*sin(y[0]), 1e-13));
    expect(w,
           ad_function_call(w->scalar, (const void *const[]){ x, y }, (void *const[]){ z }, NULL) == AD_OK);
    expect(w, check_near(z[0], sin(y[0]), 1e-13));
  }
  return NULL;
}

static void *transform(void *argument) {
  worker *w = argument;
  for (int round = 0; round < ROUNDS/4; round++) {
    ad_function *f = ad_function_retain(w->scalar), *g = ad_function_gradient(f, 0, NULL),
                *h = ad_function_hessian(f, 0, NULL);
    const double x = 0.3, y = w->number;
    double z = 0, dx = 0, dy = 0, second = 0;
    expect(w,
           g
               && ad_function_call(g, (const void *const[]){ &x, &y }, (void *const[]){ &z, &dx, &dy }, NULL)
                      == AD_OK);
    expect(w, check_near(dx, exp(x)*sin(y), 1e-14) && check_near(dy, exp(x)*cos(y), 1e-14));
    expect(w, h
                  && ad_function_call(h, (const void *const[]){ &x, &y },
                                      (void *const[]){ NULL, &second, NULL, NULL }, NULL)
                         == AD_OK);
    expect(w, check_near(second, exp(x)*cos(y), 1e-14));
    ad_tape *t = ad_tape_new();
    const ad_var in[] = { ad_scalar(t, x), ad_scalar(t, y) };
    ad_var out;
    expect(w, ad_function_apply(f, in, &out) == AD_OK && check_near(ad_value(out), exp(x)*sin(y), 1e-14));
    ad_tape_free(t);
    ad_function_free(g);
    ad_function_free(h);
    ad_function_free(f);
  }
  return NULL;
}

/* --- running all ---------------------------------------------------------------------------------------- */

typedef void *entry(void *);

static void run_threads(const char *what, entry *const entries[THREADS], ad_function *f,
                        ad_function *scalar) {
  worker w[THREADS];
  for (int i = 0; i < THREADS; i++) {
    w[i] = (worker){ .number = i, .f = f, .scalar = scalar };
    if (!CHECK(!pthread_create(&w[i].thread, NULL, entries[i], &w[i]))) return;
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(w[i].thread, NULL);
    CHECK_THAT(w[i].failures == 0, "%s: thread %d: %d failures", what, i, w[i].failures);
  }
}

int main(void) {
  const ad_type types[] = { AD_F64(N), AD_F64() }, scalars[] = { AD_F64(), AD_F64() };
  for (int repeat = 0; repeat < 3; repeat++) {
    ad_function *f = ad_function_trace("f", body, NULL, 2, types, 3),
                *s = ad_function_trace("s", scalar_body, NULL, 2, scalars, 1);
    CHECK(f && s);
    run_threads("record", (entry *const[]){ record, record, record, record }, f, s);
    run_threads("call", (entry *const[]){ call, call, call, call }, f, s);
    run_threads("lanes", (entry *const[]){ call_lanes, call_lanes, call_lanes, call_lanes }, f, s);
    run_threads("transform", (entry *const[]){ transform, transform, transform, transform }, f, s);
    run_threads("all", (entry *const[]){ record, call, call_lanes, transform }, f, s);
    ad_function_free(f);
    ad_function_free(s);
  }
  return check_summary();
}
