/* test_report.c -- costs against closed forms, against what really runs (callbacks count it) and against
 * what is really allocated.
 */
#include "adit.h"
#include "check.h"
#include "primitives/elementwise.h"
#include "primitives/library.h"
#include "run/cost.h"

#include <stdlib.h>

static const ad_type number = { .dtype = AD_F64 };

static ad_function *traced(const char *name, ad_body *body, void *context, int n_in, const ad_type in[],
                           int n_out) {
  ad_report report;
  ad_function *f = ad_function_trace_report(name, body, context, n_in, in, n_out, &report);
  CHECK_THAT(f != NULL, "%s: %s", name, report.message);
  return f;
}

static ad_cost cost_of(ad_function *f) {
  ad_cost c;
  CHECK_STATUS(ad_function_cost(f, &c), AD_OK);
  return c;
}

/* Cost of f, which is let go. */
static ad_cost taken(ad_function *f) {
  const ad_cost c = cost_of(f);
  ad_function_free(f);
  return c;
}

#define CHECK_COUNT(got, want) \
  CHECK_THAT((double)(got) == (double)(want), "%s is %.17g, not %.17g", #got, (double)(got), (double)(want))

/* --- closed forms --------------------------------------------------------------------------------------- */

static void horner(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var z = in[1];
  (void)t;
  for (int i = 0; i < *(int *)context; i++) z = ad_add(ad_mul(z, in[0]), 0.5 + i);
  out[0] = z;
}

static void test_polynomial(void) {
  for (int n = 1; n <= 1000; n *= 10) {
    const ad_cost c = taken(traced("horner", horner, &n, 2, (const ad_type[]){ number, number }, 1));
    CHECK_COUNT(c.flops, 2*n);
    CHECK_COUNT(c.operations, 2*n);
    CHECK_COUNT(c.scalars, 2*n);
    CHECK_COUNT(c.runs, 2*n);
    CHECK_COUNT(c.bytes_read, 16);
    CHECK_COUNT(c.bytes_written, 8);
    CHECK_COUNT(c.calls + (double)(c.regions + c.structured + c.buffers + c.open + c.at_most + c.unknown), 0);
    CHECK_COUNT(c.functions, 1);
  }
}

static void product(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_matmul(in[0], in[1]);
}

static void test_product(void) {
  const double flops = 2.0*4*7*5*3;
  const ad_type type[2] = { AD_F64(4, 7, 5), AD_F32(5, 3) };
  ad_function *f = traced("product", product, NULL, 2, type, 1);
  ad_function *vjp = ad_function_vjp(f), *jvp = ad_function_jvp(f);
  CHECK_COUNT(cost_of(f).flops, flops);
  CHECK_COUNT(cost_of(vjp).flops, 3*flops);
  CHECK_COUNT(cost_of(jvp).flops, 3*flops + 4*7*3);
  ad_function_free(f), ad_function_free(vjp), ad_function_free(jvp);
  const ad_cost c = taken(traced("dot", product, NULL, 2, (const ad_type[]){ AD_F64(9), AD_F64(9) }, 1));
  CHECK_COUNT(c.flops, 18);
  CHECK_COUNT(c.bytes_read, 2*9*8 + 8);             /* the scalar goes out as a copy */
}

static void linear(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_solve(in[0], in[1]);
  out[1] = ad_cholesky(in[0]);
  out[2] = ad_solve_triangular(in[0], in[1], true, false);
}

static void test_linear(void) {
  const double n = 6, k = 4;
  const ad_type type[2] = { AD_F64(6, 6), AD_F64(6, 4) };
  const ad_cost c = taken(traced("linear", linear, NULL, 2, type, 3));
  /* cholesky works on (a + a^T)/2, two operations for each element */
  CHECK_NUMBER(c.flops, 2*n*n*n/3 + 2*n*n*k + n*n*n/3 + 2*n*n + n*n*k, 1e-15);
  CHECK_COUNT(c.calls, 0);
}

static void fused(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_fma(in[1], ad_exp(ad_mul(in[0], in[1])), ad_floor(in[1]));
}

/* mul 1, exp a call, floor 1, fma 2. What is inside the region does not touch memory. */
static void test_region(void) {
  const ad_cost c = taken(traced("fused", fused, NULL, 2, (const ad_type[]){ number, AD_F64(1000) }, 1));
  CHECK_COUNT(c.flops, 4000);
  CHECK_COUNT(c.calls, 1000);
  CHECK_COUNT(c.regions, 1);
  CHECK_COUNT(c.fused, 4);
  CHECK_COUNT(c.bytes_read, 8008);
  CHECK_COUNT(c.bytes_written, 8000);
  CHECK_COUNT(c.buffers, 0);
}

static void moving(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var i = ad_full(t, AD_I64(2), 3);
  (void)context;
  out[0] = ad_transpose(in[0], NULL);
  out[1] = ad_slice(in[0], 0, 1, 2, 1);
  out[2] = ad_take(in[0], i, 0);
  out[3] = ad_slice_add(in[0], ad_ones(t, AD_F64(1, 8)), 0, 4, 1);
}

static void test_movement(void) {
  const ad_cost c = taken(traced("moving", moving, NULL, 1, (const ad_type[]){ AD_F64(10, 8) }, 4));
  CHECK_COUNT(c.flops, 8);
  CHECK_COUNT(c.calls, 0);
  /* transposed 640, slice 128, take 128 and 16 of indices, addition 640 for the copy, twice 64; what is
   * made of numbers is only written */
  CHECK_COUNT(c.bytes_read, 640 + 128 + 128 + 16 + 640 + 2*64);
  CHECK_COUNT(c.bytes_written, 640 + 128 + 128 + 640 + 64 + 16 + 64);
}

/* An input that is an output is copied, once for each; the number 2 is read, too. */
static void handing_on(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = out[1] = in[0];
  out[2] = ad_mul(in[0], 2);
}

static void test_copies(void) {
  const ad_cost c = taken(traced("handing on", handing_on, NULL, 1, (const ad_type[]){ AD_F64(10, 8) }, 3));
  CHECK_COUNT(c.flops, 80);
  CHECK_COUNT(c.bytes_read, 3*640 + 8);
  CHECK_COUNT(c.bytes_written, 3*640);
}

static void reducing(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(in[0], AD_AXES(0), false);
  out[1] = ad_norm(in[0], AD_AXES(1), false);
  out[2] = ad_logsumexp(in[0], AD_ALL_AXES, false);
  out[3] = ad_variance(in[0], AD_ALL_AXES, false, 0);
  out[4] = ad_argsort(in[0], 1, false);
  out[5] = ad_cumsum(in[0], 1);
}

static void test_reductions(void) {
  const double n = 10*8;
  const ad_cost c = taken(traced("reducing", reducing, NULL, 1, (const ad_type[]){ AD_F64(10, 8) }, 6));
  CHECK_COUNT(c.flops, n + 2*n + (3*n + 1) + 4*n + 3*n + n);
  CHECK_COUNT(c.calls, 10 + (n + 1));
}

/* --- loops ---------------------------------------------------------------------------------------------- */

static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[1], 0.5), ad_sin(in[0]));
}

typedef struct loop { ad_function *f; ad_loop options; } loop;

static void scanning(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const loop *l = context;
  (void)t;
  ad_scan(l->f, 1, &l->options, in, out);
}

static void test_scan(void) {
  ad_function *body = traced("step", step, NULL, 2, (const ad_type[]){ number, number }, 1);
  for (int64_t n = 0; n <= 1000; n = 10*n + 1) {
    loop l = { .f = body, .options.steps = n };
    ad_function *f = traced("inner", scanning, &l, 2, (const ad_type[]){ number, number }, 1);
    ad_cost c = cost_of(f);
    CHECK_COUNT(c.flops, 2*n);
    CHECK_COUNT(c.calls, n);
    CHECK_COUNT(c.steps, n);
    CHECK_COUNT(c.runs, 1 + 3*n);
    CHECK_COUNT(c.operations, 4);
    CHECK_COUNT(c.functions, 2);
    loop outer = { .f = f, .options.steps = 7 };
    c = taken(traced("outer", scanning, &outer, 2, (const ad_type[]){ number, number }, 1));
    CHECK_COUNT(c.flops, 7*2*n);
    CHECK_COUNT(c.calls, 7*n);
    CHECK_COUNT(c.steps, 7 + 7*n);
    CHECK_COUNT(c.loops, 2);
    ad_function_free(f);
  }
  ad_function_free(body);
}

/* A callback that is not linear, so that steps backwards need states; each of its calls is counted. */
static ad_status squared(void *context, const void *const in[], void *const out[], char *message,
                         size_t size) {
  (void)message, (void)size;
  ++*(long *)context;
  *(double *)out[0] = 0.5**(const double *)in[0]**(const double *)in[0];
  return AD_OK;
}
static void squared_vjp(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], in[1]);
}

/* How often a callback is run, by the account. */
static double runs_of_callback(ad_function *f) {
  cost_account a;
  double runs = -1;
  if (!CHECK(cost_open(&a, f) == AD_OK)) return runs;
  for (uint32_t i = 0; i < a.kinds; i++)
    if (!strcmp(a.kind[i].primitive->name, "external")) runs = a.kind[i].runs;
  cost_close(&a);
  return runs;
}

static void apply_callback(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_function_apply(context, in, out);
}

/* Steps computed again: the account's, the formulas', and those that really run. */
static void test_policies(void) {
  long calls = 0;
  uint64_t state = 4;
  ad_function *vjp = traced("vjp", squared_vjp, NULL, 2, (const ad_type[]){ number, number }, 1);
  const ad_external e = { .name = "squared", .n_in = 1, .n_out = 1, .in = &number, .out = &number,
                          .call = squared, .context = &calls, .rule.vjp = vjp };
  ad_function *callback = ad_function_external(&e, NULL);
  ad_function *body = traced("body", apply_callback, callback, 1, &number, 1);
  for (int trial = 0; trial < 200; trial++) {
    const int64_t n = 1 + check_below(&state, 60), k = 1 + check_below(&state, 20);
    const ad_keep keep = (ad_keep)(trial%4);
    loop l = { .f = body, .options = { .keep = keep, .k = k, .steps = n } };
    ad_function *f = traced("chain", scanning, &l, 1, &number, 1), *g = ad_function_vjp(f);
    const ad_cost c = cost_of(g);
    const double x = 0.9, one = 1;
    double y, xbar;
    calls = 0;
    const void *const in[2] = { &x, &one };
    CHECK_STATUS(ad_function_call(g, in, (void *const[]){ &y, &xbar }, NULL), AD_OK);
    CHECK_COUNT(runs_of_callback(g), calls);
    CHECK_COUNT(c.again, calls - n);
    if (keep == AD_KEEP_BINOMIAL) CHECK_COUNT(c.again, ad_binomial_cost(n, k));
    if (keep == AD_KEEP_BINOMIAL) CHECK_COUNT(c.stored_bytes, 8*((k < n ? k : n) + 1));
    if (keep == AD_KEEP_STATES) CHECK_COUNT(c.stored_bytes, 8*n);
    CHECK_COUNT(c.steps, 2*n);
    CHECK(c.unknown > 0);
    ad_function_free(f), ad_function_free(g);
  }
  ad_function_free(body), ad_function_free(callback), ad_function_free(vjp);
}

/* u sin u with u = x + 1, or W times that. Steps backwards use sin u, cos u, and u, which the state gives. */
static void wave(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var u = ad_add(in[0], 1), z = ad_mul(u, ad_sin(u));
  (void)t;
  out[0] = *(const bool *)context ? ad_mul(ad_matmul(in[1], u), z) : z;
}

typedef struct waving { ad_function *f; ad_loop options; } waving;

static void waves(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const waving *w = context;
  (void)t;
  ad_scan(w->f, 1, &w->options, in, out);
}

/* What is cheap to make of other values is not kept; nor are, where that is much, values of which none is
 * dear: m elements of W u are. */
static void test_values(void) {
  static const struct { int64_t m, n; bool product; int64_t values; } c[] = {
    { 5, 100, false, 2 }, { 1000, 1000, false, 2 }, { 2000, 1000, false, 0 }, { 2000, 1000, true, 3 }
  };
  for (size_t i = 0; i < sizeof c/sizeof *c; i++) {
    const ad_type types[2] = { AD_F64(c[i].m), AD_F64(c[i].m, c[i].m) };
    const int n_in = 1 + c[i].product;
    bool product = c[i].product;
    waving w = { traced("wave", wave, &product, n_in, types, 1), { .keep = AD_KEEP_ALL, .steps = c[i].n } };
    ad_function *f = traced("waves", waves, &w, n_in, types, 1), *g = ad_function_vjp(f);
    CHECK_COUNT(cost_of(g).stored_bytes, 8*c[i].m*c[i].n*(1 + c[i].values));
    ad_function_free(f), ad_function_free(g), ad_function_free(w.f);
  }
}

static void below_one(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], 1);
}
static void twice(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], 2);
}
static void whiling(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_while(((ad_function **)context)[0], ((ad_function **)context)[1], NULL, in, out);
}

/* One step of it: a comparison and a product. */
static void test_while(void) {
  ad_function *part[2] = { traced("below_one", below_one, NULL, 1, &number, 1),
                           traced("twice", twice, NULL, 1, &number, 1) };
  ad_function *f = traced("whiling", whiling, part, 1, &number, 1), *g = ad_function_vjp(f);
  const ad_cost c = cost_of(f), d = cost_of(g);
  CHECK_COUNT(c.flops, 2);
  CHECK_COUNT(c.open, 1);
  CHECK_COUNT(c.loops, 1);
  CHECK_COUNT(c.steps, 0);
  CHECK(d.open == 2 && d.flops > c.flops);
  ad_function_free(f), ad_function_free(g), ad_function_free(part[0]), ad_function_free(part[1]);
}

static void mapping(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_map(context, in, out);
}

static void test_map(void) {
  ad_function *body = traced("step", step, NULL, 2, (const ad_type[]){ number, number }, 1);
  const int64_t sizes[] = { 0, 1, 7, 300, 100000 };
  for (size_t i = 0; i < sizeof sizes/sizeof *sizes; i++) {
    const int64_t n = sizes[i];
    const ad_type type[2] = { AD_F64(n), AD_F64(n) };
    const ad_cost c = taken(traced("mapping", mapping, body, 2, type, 1));
    CHECK_COUNT(c.flops, 2*n);
    CHECK_COUNT(c.calls, n);
    CHECK_COUNT(c.steps, n);
  }
  ad_function_free(body);
}

static void cheap(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_neg(in[0]);
}
static void branching(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *const *side = context;
  (void)t;
  ad_cond(ad_less(in[0], 0), side[0], side[1], in, out);
}

static void test_branch(void) {
  int terms = 10;
  const ad_type type[2] = { number, number };
  ad_function *side[3] = { traced("cheap", cheap, NULL, 2, type, 1),
                           traced("dear", horner, &terms, 2, type, 1) };
  side[2] = side[0];
  for (int first = 0; first < 2; first++) {
    const ad_cost c = taken(traced("branching", branching, side + first, 2, type, 1));
    CHECK_COUNT(c.flops, 1 + 20);
    CHECK_COUNT(c.at_most, 1);
    CHECK_COUNT(c.functions, 3);
  }
  ad_function_free(side[0]), ad_function_free(side[1]);
}

static void two_calls(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y;
  (void)t;
  ad_checkpoint(context, in, &y);
  ad_checkpoint(context, &y, out);
}

/* 2^40 runs of one function; each function is looked at once. */
static void test_calls(void) {
  ad_function *f = traced("twice", twice, NULL, 1, &number, 1);
  for (int k = 0; k < 40; k++) {
    ad_function *g = traced("calls", two_calls, f, 1, &number, 1);
    ad_function_free(f);
    f = g;
  }
  const ad_cost c = taken(f);
  CHECK_COUNT(c.flops, 0x1p40);
  CHECK_COUNT(c.functions, 41);
}

static void equation(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sub(ad_square(in[0]), in[1]);
}
static void rooting(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_root(context, NULL, in, out);
}

/* An iteration: residual 2, Jacobian 2x, quotient. */
static void test_root(void) {
  ad_function *r = traced("equation", equation, NULL, 2, (const ad_type[]){ number, number }, 1);
  const ad_cost c = taken(traced("rooting", rooting, r, 2, (const ad_type[]){ number, number }, 1));
  CHECK_COUNT(c.open, 1);
  CHECK_NUMBER(c.flops, 2 + 1 + 2.0/3 + 2, 1e-15);
  CHECK_COUNT(c.loops, 0);
  ad_function_free(r);
}

static void slope(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[2], ad_sin(in[1]));
}

/* Least at x = log(p). */
static void potential(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sub(ad_exp(in[0]), ad_mul(in[1], in[0]));
}

typedef struct solved { ad_function *f; int how; } solved;

static void solving(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const solved *s = context;
  const ad_ode discrete = { .adjoint = AD_ADJOINT_DISCRETE };
  const ad_ode continuous = { .adjoint = AD_ADJOINT_CONTINUOUS };
  const ad_var ode[3] = { in[0], ad_linspace(in[1], ad_add(in[1], 1), 4), in[1] };
  (void)t;
  if (s->how == 0) ad_fixed_point(s->f, NULL, in, out);
  if (s->how == 1) ad_minimize(s->f, NULL, in, out);
  if (s->how > 1) ad_odeint(s->f, s->how == 2 ? &discrete : &continuous, ode, out);
  if (s->how > 1) out[0] = ad_sum(out[0], AD_ALL_AXES, false);
}

/* Iterations and integrations are open, in themselves and in what their derivatives are made of; nothing in
 * them is unknown. */
static void test_solutions(void) {
  const ad_type type[3] = { number, number, number };
  for (int how = 0; how < 4; how++) {
    ad_body *const body = how == 0 ? equation : how == 1 ? potential : slope;
    solved s = { traced("solved", body, NULL, how < 2 ? 2 : 3, type, 1), how };
    ad_function *f = traced("solving", solving, &s, 2, type, 1);
    ad_function *g[3] = { f, ad_function_gradient(f, 0, NULL), ad_function_hessian(f, 0, NULL) };
    double flops = 0;
    for (int k = 0; k < 3; k++) {
      const ad_cost c = cost_of(g[k]);
      CHECK_THAT(c.open > 0 && c.unknown == 0 && c.flops > flops, "solution %d, function %d", how, k);
      flops = c.flops;
      ad_function_free(g[k]);
    }
    ad_function_free(s.f);
  }
}

/* A function with a rule of its own costs what it costs without. */
static void test_custom(void) {
  int n = 10;
  ad_function *f = traced("horner", horner, &n, 2, (const ad_type[]){ number, number }, 1);
  const ad_custom_rule none = { 0 };
  const ad_cost c = taken(ad_custom(f, &none, NULL));
  CHECK_COUNT(c.flops, cost_of(f).flops);
  CHECK_COUNT(c.unknown, 0);
  ad_function_free(f);
}

/* --- the price of gradients ----------------------------------------------------------------------------- */

static void random_program(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var v[80] = { in[0], in[1], in[2] };
  uint64_t *state = context;
  int n = 3;
  (void)t;
  for (; n < 80; n++) {
    const ad_var x = v[check_below(state, n)], y = v[check_below(state, n)];
    switch (check_below(state, 6)) {
      case 0:  v[n] = ad_add(x, y); break;
      case 1:  v[n] = ad_sub(x, y); break;
      case 2:  v[n] = ad_square(x); break;
      case 3:  v[n] = ad_sin(x); break;
      case 4:  v[n] = ad_exp(x); break;
      default: v[n] = ad_mul(x, y); break;
    }
  }
  out[0] = ad_sum(ad_add(v[n - 1], ad_mul(v[n - 2], v[n - 3])), AD_ALL_AXES, false);
}

/* Value and gradient for at most five times the value, whatever the number of inputs: Griewank and Walther
 * 2008, ch. 4.3, which holds for each of these operations when an addition, a product and a call count the
 * same. */
static void test_cheap_gradient(void) {
  double worst = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t state = seed;
    const ad_type type[2][3] = { { number, number, number }, { AD_F64(50), AD_F64(50), AD_F64(50) } };
    ad_function *f = traced("random", random_program, &state, 3, type[seed%2], 1);
    ad_function *g = ad_function_gradient(f, 0, NULL);
    const ad_cost c = cost_of(f), d = cost_of(g);
    const double ratio = (d.flops + d.calls)/(c.flops + c.calls);
    CHECK_THAT(ratio <= 5, "program %d: the gradient costs %.2f times the value", (int)seed, ratio);
    CHECK(ratio > 1);
    if (ratio > worst) worst = ratio;
    ad_function_free(f), ad_function_free(g);
  }
  CHECK(worst > 2);
}

/* --- memory --------------------------------------------------------------------------------------------- */

/* Sizes of the blocks taken; call number fail_at fails. */
typedef struct hook { long calls, fail_at, blocks; size_t largest; } hook;

static void *reallocate(void *user, void *pointer, size_t old_size, size_t new_size) {
  hook *h = user;
  (void)old_size;
  if (new_size == 0) {
    if (pointer) h->blocks--;
    free(pointer);
    return NULL;
  }
  if (++h->calls == h->fail_at) return NULL;
  if (!pointer) h->blocks++;
  if (new_size > h->largest) h->largest = new_size;
  return realloc(pointer, new_size);
}

static void memory_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const loop *l = context;
  ad_var y[2];
  (void)t;
  const ad_var m = ad_matmul(in[0], in[0]), s = ad_sum(ad_exp(m), AD_ALL_AXES, false);
  if (ad_scan(l->f, 1, &l->options, (const ad_var[]){ s, s }, y) != AD_OK) return;
  out[0] = ad_mul(y[0], ad_sum(ad_matmul(m, in[0]), AD_ALL_AXES, false));
}

/* The block that a call takes is as large as was said; the plan is there already. */
static void test_workspace(void) {
  ad_function *body = traced("step", step, NULL, 2, (const ad_type[]){ number, number }, 1);
  static double x[40*40], y[1 + 40*40];
  for (int n = 1; n <= 40; n += 13) {
    hook h = { .fail_at = -1 };
    const ad_allocator a = { reallocate, &h };
    loop l = { .f = body, .options = { .keep = AD_KEEP_BINOMIAL, .k = 5, .steps = 100 } };
    const ad_type type = AD_F64(n, n);
    ad_function *f = ad_function_trace_with(&a, "memory", memory_body, &l, 1, &type, 1, NULL);
    ad_function *g = ad_function_gradient(f, 0, NULL);
    const ad_cost c = cost_of(g);
    CHECK(c.buffers > 0 && c.buffer_bytes >= 8*n*n);
    h.calls = 0, h.largest = 0;
    void *out[2] = { y, y + 1 };
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ x }, out, NULL), AD_OK);
    CHECK_COUNT(h.largest, c.workspace_bytes);
    CHECK_COUNT(h.calls, 2);
    ad_function_free(f), ad_function_free(g);
    CHECK_COUNT(h.blocks, 0);
  }
  ad_function_free(body);
}

/* A derivative is traced without its table of rewrites when there is no memory for that: it is a longer
 * one then. */
static void test_failing_memory(void) {
  ad_function *body = traced("step", step, NULL, 2, (const ad_type[]){ number, number }, 1);
  loop l = { .f = body, .options = { .keep = AD_KEEP_EVERY, .k = 3, .steps = 10 } };
  bool done[2] = { false, false };
  char text[8192];
  for (int what = 0; what < 2; what++)
    for (long k = 1; !done[what] && k < 100000; k++) {
      hook h = { .fail_at = -1 };
      const ad_allocator a = { reallocate, &h };
      ad_cost c = { 0 };
      const ad_type type = AD_F64(3, 3);
      ad_function *f = ad_function_trace_with(&a, "memory", memory_body, &l, 1, &type, 1, NULL);
      ad_function *g = ad_function_gradient(f, 0, NULL);
      h.calls = 0, h.fail_at = k;
      const ad_status status = what ? ad_function_report(f, AD_REPORT_DETAILS, text, sizeof text, NULL, NULL)
                                    : ad_function_cost(g, &c);
      done[what] = h.calls < k;
      CHECK_THAT(done[what] || (what && strlen(text) > 500) ? status == AD_OK
                 : status == AD_ERROR_MEMORY || (what && status == AD_ERROR_DERIVATIVE),
                 "allocation %ld: %s", k, ad_status_sentence(status));
      CHECK(what || done[what] || (c.flops == 0 && c.operations == 0));
      h.fail_at = -1;
      ad_function_free(f), ad_function_free(g);
      CHECK_THAT(h.blocks == 0, "allocation %ld: %ld blocks are left", k, h.blocks);
    }
  CHECK(done[0] && done[1]);
  ad_function_free(body);
}

/* --- every primitive ------------------------------------------------------------------------------------ */

static void row_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const elementwise_row *row = context;
  out[0] = ad_record(t, &elementwise_primitives[row - elementwise_rows], row->arity, in,
                     row->attributed ? &row->attribute : NULL, row->attributed ? sizeof(double) : 0);
}

/* Each row is one flop, two (fma) or one call for each element, and so says its text. */
static void test_rows(void) {
  static const char *const calls[] = { "sqrt", "exp", "pow", "powi", "sin", "tanh", "gelu", "normal_density",
                                       "logsigmoid", "xlogy", "elu", "fmod", "lgamma", "over_norm2" };
  static const char *const flops[] = { "add", "mul", "div", "neg", "square", "reciprocal", "abs", "max",
                                       "clamp", "select", "floor", "less", "relu", "leaky_relu", "is_inf",
                                       "copysign" };
  int known = 0;
  for (int i = 0; i < ROW_COUNT; i++) {
    const elementwise_row *row = &elementwise_rows[i];
    for (int one = 0; one < 2; one++) {
      ad_type in[3];
      for (int k = 0; k < 3; k++) in[k] = one ? AD_F64() : AD_F64(6);
      if (row->kind == CLASS_CHOICE) in[0] = one ? AD_BOOL() : AD_BOOL(6);
      const ad_cost c = taken(traced(row->name, row_body, (void *)(uintptr_t)row, row->arity, in, 1));
      const double n = one ? 1 : 6, sum = c.flops + c.calls;
      CHECK_THAT(sum == (i == ROW_fma ? 2*n : n) && (c.flops == 0 || c.calls == 0), "%s: %g flops, %g calls",
                 row->name, c.flops, c.calls);
      for (size_t k = 0; k < sizeof calls/sizeof *calls; k++)
        if (!strcmp(calls[k], row->name)) known += CHECK_THAT(c.calls == n, "%s", row->name);
      for (size_t k = 0; k < sizeof flops/sizeof *flops; k++)
        if (!strcmp(flops[k], row->name)) known += CHECK_THAT(c.flops == n, "%s", row->name);
    }
  }
  CHECK_COUNT(known, 2*(sizeof calls/sizeof *calls + sizeof flops/sizeof *flops));
}

/* Every structured operation there is. */
static void everything(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var m = in[0], v = in[1], i = ad_argsort(v, 0, false), key = ad_cast(in[2], AD_I64);
  const ad_axes all = AD_ALL_AXES;
  const int64_t one[2] = { 1, 1 };
  ad_var top[2] = { ad_none(), ad_none() };
  (void)context;
  ad_topk(v, 2, 0, &top[0], &top[1]);
  const ad_var list[] = {
    ad_sum(m, all, false), ad_prod(v, all, false), ad_mean(m, all, false), ad_variance(m, all, false, 1),
    ad_reduce_min(m, all, false), ad_reduce_max(m, all, false), ad_cast(ad_argmin(v, 0, false), AD_F64),
    ad_cast(ad_argmax(v, 0, false), AD_F64), ad_cast(ad_any(m, all, false), AD_F64),
    ad_cast(ad_all(m, all, false), AD_F64), ad_logsumexp(m, all, false), ad_norm(m, all, false),
    ad_cumsum(m, 1), ad_cumprod(m, 0), ad_reshape(m, 1, (const int64_t[]){ 16 }), ad_transpose(m, NULL),
    ad_broadcast_to(v, 2, (const int64_t[]){ 3, 4 }), ad_slice(m, 0, 1, 2, 1),
    ad_slice_add(m, ad_mul(2, ad_slice(m, 0, 0, 1, 1)), 0, 1, 1), ad_at(m, 2, one), ad_at_add(m, v, 1, one),
    ad_concat(2, (const ad_var[]){ m, m }, 0), ad_stack(2, (const ad_var[]){ v, v }, 1),
    ad_pad(m, one, one, ad_zeros(t, number)), ad_flip(m, AD_AXES(0)), ad_take(m, i, 0),
    ad_scatter_add(m, i, m, 0), ad_gather(v, i, 0), ad_gather_add(v, i, v, 0), ad_one_hot(i, 4, AD_F64),
    ad_sort(v, 0, true), top[0], ad_diag(m, 0), ad_diag(v, 0), ad_tril(m, 0), ad_triu(m, 0), ad_trace(m),
    ad_matmul(m, m), ad_dot(v, v), ad_outer(v, v), ad_einsum("ij,kj->ik", 2, (const ad_var[]){ m, m }),
    ad_mul(ad_eye(t, 4, 4, 0, AD_F64), m), ad_mul(ad_arange(t, 0, 4, 1, AD_F64), v),
    ad_linspace(ad_at(v, 1, one), in[2], 5), ad_solve(m, v), ad_inv(m), ad_det(m), ad_logabsdet(m),
    ad_solve_triangular(m, v, true, false), ad_cholesky(m), ad_stop_gradient(v),
    ad_random_normal(ad_key_fold(key, 1), 0, 1, AD_F64(4)),
    ad_random_uniform(ad_at(ad_key_split(key, 2), 1, one), 0, 1, AD_F32(4)),
    ad_random_gumbel(key, 0, 1, AD_F64(4)), ad_random_truncated_normal(key, 0, 1, -1, 1, AD_F64(4)),
    ad_cross_entropy(m, i, AD_MEAN)
  };
  out[0] = ad_scalar(t, 0);
  for (size_t k = 0; k < sizeof list/sizeof *list; k++)
    out[0] = ad_add(out[0], ad_sum(ad_sin(ad_cast(list[k], AD_F64)), all, false));
}

/* Each of them has a rule for its work, and so have those that derivatives are made of, batches of them
 * too. */
static void test_every_primitive(void) {
  const ad_type type[3] = { AD_F64(4, 4), AD_F64(4), number };
  ad_function *f = traced("everything", everything, NULL, 3, type, 1);
  ad_function *g[] = { ad_function_retain(f), ad_function_jvp(f), ad_function_gradient(f, 0, NULL),
                       ad_function_hessian(f, 1, (const int[]){ 1 }), ad_function_map(f, 3, NULL) };
  const double value = cost_of(f).flops;
  for (size_t k = 0; k < sizeof g/sizeof *g; k++) {
    cost_account a;
    if (!CHECK_THAT(g[k] != NULL, "function %d", (int)k) || !CHECK(cost_open(&a, g[k]) == AD_OK)) continue;
    for (uint32_t i = 0; i < a.kinds; i++)
      CHECK_THAT(!a.kind[i].unknown, "%s has no rule for its work", a.kind[i].primitive->name);
    CHECK(a.cost.unknown == 0 && isfinite(a.cost.flops) && a.cost.bytes_read > 0);
    CHECK(k == 0 ? a.cost.flops == value : a.cost.flops > value);
    cost_close(&a);
    ad_function_free(g[k]);
  }
  ad_function_free(f);
}

static void square_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i]*x[i];
}
static void cube_work(const ad_operation *op, ad_work *w) { w->flops = 3*(double)ad_type_count(op->z); }
static const ad_primitive own = { .name = "own", .arity = 1, .block = square_block, .rule = { "2*g*x" } };
static const ad_primitive counted = { .name = "counted", .arity = 1, .block = square_block,
                                      .rule = { "2*g*x" }, .work = cube_work };

static void own_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  out[0] = ad_record(t, context, 1, in, NULL, 0);
}

static void test_own(void) {
  for (int one = 0; one < 2; one++) {
    const ad_type type = one ? number : AD_F64(5);
    const ad_cost c = taken(traced("own", own_body, (void *)(uintptr_t)&own, 1, &type, 1));
    CHECK_COUNT(c.unknown, 1);
    CHECK_COUNT(c.flops, 0);
    const ad_cost d = taken(traced("counted", own_body, (void *)(uintptr_t)&counted, 1, &type, 1));
    CHECK_COUNT(d.unknown, 0);
    CHECK_COUNT(d.flops, one ? 3 : 15);
  }
}

/* --- text ----------------------------------------------------------------------------------------------- */

static void nothing(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  out[0] = ad_array(t, AD_F64(0), NULL);
  out[1] = in[0];
}

static void test_text(void) {
  int n = 3;
  ad_function *f = traced("horner", horner, &n, 2, (const ad_type[]){ number, number }, 1);
  char text[8192], part[100];
  size_t needed = 0;
  ad_report report;
  const unsigned what = AD_REPORT_VALUE | AD_REPORT_GRADIENT | AD_REPORT_HESSIAN | AD_REPORT_DETAILS;
  CHECK_STATUS(ad_function_report(f, what, text, sizeof text, &needed, &report), AD_OK);
  CHECK_COUNT(needed, strlen(text) + 1);
  CHECK(strstr(text, "gradient") && strstr(text, "Hessian") && strstr(text, "mul") && !strstr(text, "jvp"));
  CHECK(!strncmp(text, "horner: (", 9));
  CHECK_STATUS(ad_function_report(f, 0, text, sizeof text, &needed, NULL), AD_OK);
  CHECK(strstr(text, "jvp") && strstr(text, "vjp") && !strstr(text, "gradient"));
  CHECK_STATUS(ad_function_report(f, 0, part, sizeof part, NULL, &report), AD_ERROR_SIZE);
  CHECK(strlen(part) == sizeof part - 1 && !strncmp(part, text, sizeof part - 1));
  size_t again = 0;
  CHECK_STATUS(ad_function_report(f, 0, NULL, 0, &again, NULL), AD_ERROR_SIZE);
  CHECK_COUNT(again, needed);
  CHECK_STATUS(ad_function_report(f, 128, text, sizeof text, NULL, &report), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_report(f, 0, NULL, 10, NULL, &report), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_report(NULL, 0, text, sizeof text, NULL, &report), AD_ERROR_ARGUMENT);
  CHECK(report.status == AD_ERROR_ARGUMENT && report.message[0]);
  ad_cost c;
  CHECK_STATUS(ad_function_cost(NULL, &c), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_cost(f, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
  f = traced("nothing", nothing, NULL, 1, &number, 2);
  CHECK_STATUS(ad_function_report(f, AD_REPORT_VALUE | AD_REPORT_DETAILS, text, sizeof text, NULL, &report),
               AD_OK);
  CHECK_STATUS(ad_function_report(f, AD_REPORT_HESSIAN, text, sizeof text, NULL, &report),
               AD_ERROR_DERIVATIVE);
  CHECK_THAT(strstr(report.message, "Hessian of nothing") != NULL, "%s", report.message);
  ad_function_free(f);
}

static void capturing(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], *(const ad_var *)context);
}

static void test_captured(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 2);
  ad_function *f = ad_function_trace_inside(t, "capturing", capturing, &x, 1, &number, 1, NULL);
  ad_cost c;
  char text[100];
  ad_report report;
  CHECK_STATUS(ad_function_cost(f, &c), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_report(f, 0, text, sizeof text, NULL, &report), AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(report.message, "captured") != NULL, "%s", report.message);
  ad_function_free(f);
  ad_tape_free(t);
}

int main(void) {
  test_polynomial();
  test_product();
  test_linear();
  test_region();
  test_movement();
  test_copies();
  test_reductions();
  test_scan();
  test_policies();
  test_values();
  test_while();
  test_map();
  test_branch();
  test_calls();
  test_root();
  test_solutions();
  test_custom();
  test_cheap_gradient();
  test_workspace();
  test_failing_memory();
  test_rows();
  test_every_primitive();
  test_own();
  test_text();
  test_captured();
  return check_summary();
}
