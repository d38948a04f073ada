/* test_ode.c -- integration of differential equations. Oracles: solutions in closed form, recorded, whose
 * derivatives in every mix of modes both adjoints must give to about the tolerances; differences, for steps
 * of fixed size; orders of convergence.
 */
#include "adit.h"
#include "failing.h"
#include "function/same.h"

#include <stdlib.h>

/* --- equations: (t, y, p) -> y', and solutions: (y0, times, p) -> y at the times ------------------------ */

typedef struct equation {
  const char *name;
  ad_body *slope, *solution;
  ad_type y, p;
} equation;

typedef struct problem {
  const equation *e;
  ad_function *f;
  const ad_ode *options;
  const double *times;              /* not NULL: of (y0, p) with these times */
  int m;
} problem;

static ad_var element(ad_var x, int64_t i) { return ad_at(x, 1, &i); }

/* t - t0 for all times, with as many axes as (m, y) has. */
static ad_var elapsed(ad_var times, int rank) {
  ad_var s = ad_sub(times, element(times, 0));
  for (int k = 0; k < rank; k++) s = ad_expand(s, -1);
  return s;
}

static void growth(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[2], in[1]);
}
static void growth_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var factor = ad_exp(ad_mul(elapsed(in[1], ad_type_of(in[0]).rank), in[2]));
  out[0] = ad_cast(ad_mul(in[0], factor), ad_type_of(in[0]).dtype);
}

/* y' = p t y */
static void gaussian(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_mul(in[2], in[0]), in[1]);
}
static void gaussian_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var squares = ad_sub(ad_square(in[1]), ad_square(element(in[1], 0)));
  out[0] = ad_mul(in[0], ad_exp(ad_mul(ad_mul(in[2], squares), 0.5)));
}

/* y' = p y (1 - y) */
static void logistic(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[2], ad_mul(in[1], ad_sub(1, in[1])));
}
static void logistic_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var decay = ad_exp(ad_neg(ad_mul(in[2], elapsed(in[1], 1))));
  out[0] = ad_reciprocal(ad_add(1, ad_mul(ad_sub(ad_reciprocal(in[0]), 1), decay)));
}

/* y'' = -p^2 y */
static void oscillator(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var y[2] = { element(in[1], 1), ad_neg(ad_mul(ad_square(in[2]), element(in[1], 0))) };
  out[0] = ad_stack(2, y, 0);
}
static void oscillator_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var phase = ad_mul(in[2], elapsed(in[1], 0)), c = ad_cos(phase), s = ad_sin(phase);
  const ad_var x = element(in[0], 0), v = element(in[0], 1);
  const ad_var both[2] = { ad_add(ad_mul(x, c), ad_mul(ad_div(v, in[2]), s)),
                           ad_sub(ad_mul(v, c), ad_mul(ad_mul(x, in[2]), s)) };
  out[0] = ad_stack(2, both, 1);
}

/* Y' = p J Y for a matrix Y: its columns turn. */
static void rotation(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  static const double j[4] = { 0, -1, 1, 0 };
  (void)context;
  out[0] = ad_mul(in[2], ad_matmul(ad_constant(t, AD_F64(2, 2), j), in[1]));
}
static void rotation_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var phase = ad_mul(in[2], elapsed(in[1], 1)), c = ad_cos(phase), s = ad_sin(phase);
  const ad_var x = element(in[0], 0), y = element(in[0], 1);
  const ad_var rows[2] = { ad_sub(ad_mul(c, x), ad_mul(s, y)), ad_add(ad_mul(s, x), ad_mul(c, y)) };
  out[0] = ad_stack(2, rows, 1);
}

static void van_der_pol(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var x = element(in[1], 0), v = element(in[1], 1);
  const ad_var y[2] = { v, ad_sub(ad_mul(ad_mul(in[2], ad_sub(1, ad_square(x))), v), x) };
  out[0] = ad_stack(2, y, 0);
}

/* p = (sigma, rho, beta) */
static void lorenz(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var x = element(in[1], 0), y = element(in[1], 1), z = element(in[1], 2);
  const ad_var d[3] = { ad_mul(element(in[2], 0), ad_sub(y, x)),
                        ad_sub(ad_mul(x, ad_sub(element(in[2], 1), z)), y),
                        ad_sub(ad_mul(x, y), ad_mul(element(in[2], 2), z)) };
  out[0] = ad_stack(3, d, 0);
}

static int equations(equation to[]) {
  const equation all[] = {
    { "growth", growth, growth_solution, AD_F64(), AD_F64() },
    { "growth with an integer", growth, growth_solution, AD_F64(2), AD_I32() },
    { "growth f32", growth, growth_solution, AD_F32(2), AD_F32() },
    { "growth of nothing", growth, growth_solution, AD_F64(0), AD_F64() },
    { "gaussian", gaussian, gaussian_solution, AD_F64(), AD_F64() },
    { "logistic", logistic, logistic_solution, AD_F64(3), AD_F64(3) },
    { "oscillator", oscillator, oscillator_solution, AD_F64(2), AD_F64() },
    { "rotation", rotation, rotation_solution, AD_F64(2, 2), AD_F64() },
  };
  memcpy(to, all, sizeof all);
  return (int)(sizeof all/sizeof *all);
}

static void integrate(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  if (!p->times) {
    ad_odeint(p->f, p->options, in, out);
    return;
  }
  const ad_var all[3] = { in[0], ad_constant(t, AD_F64(p->m), p->times), in[1] };
  ad_odeint(p->f, p->options, all, out);
}

static ad_function *slope_of(const equation *e) {
  const ad_type type[3] = { ad_type_make(e->y.dtype, 0, NULL), e->y, e->p };
  return ad_function_trace(e->name, e->slope, NULL, 3, type, 1);
}

/* (y0, times, p), or (y0, p) with times that are given. */
static ad_function *integral(problem *p) {
  const ad_type with[3] = { p->e->y, AD_F64(p->m), p->e->p }, without[2] = { p->e->y, p->e->p };
  return ad_function_trace("integral", integrate, p, p->times ? 2 : 3, p->times ? without : with, 1);
}

/* --- comparing two functions ---------------------------------------------------------------------------- */

/* Inputs between 0.3 and 1.2; the second one increases, or decreases. */
static void fill(ad_function *f, const void *how, void *const in[]) {
  const bool backwards = *(const bool *)how;
  uint64_t state = 5;
  for (int i = 0; i < ad_function_inputs(f); i++) {
    const ad_type type = ad_function_input_type(f, i);
    const int64_t n = ad_type_count(type);
    for (int64_t e = 0; e < n; e++) {
      const double time = (double)e + check_uniform(&state, 0.2, 0.8);
      check_set_element(type.dtype, in[i], e, i == 1 && n > 1       ? (backwards ? 1 - time : time)/2
                                              : type.dtype < AD_F32 ? 1 + check_below(&state, 2)
                                                                    : check_uniform(&state, 0.3, 1.2));
    }
  }
}

static void same(const char *what, ad_function *got, ad_function *want, bool backwards, double tolerance) {
  same_on(what, got, want, fill, &backwards, (const double[2]){ tolerance, tolerance });
}

/* looser: by how much the tolerance grows with each order. */
static void same_to_order(const char *what, int order, ad_function *got, ad_function *want, bool backwards,
                          double tolerance, double looser) {
  same(what, got, want, backwards, tolerance);
  for (int mode = 0; mode < 2 && order > 0; mode++) {
    char text[160];
    ad_function *f = mode ? ad_function_vjp(got) : ad_function_jvp(got);
    ad_function *g = mode ? ad_function_vjp(want) : ad_function_jvp(want);
    snprintf(text, sizeof text, "%.140s, %s", what, mode ? "vjp" : "jvp");
    same_to_order(text, order - 1, f, g, backwards, tolerance*looser, looser);
    ad_function_free(f);
    ad_function_free(g);
  }
}

/* Values, first and second derivatives by the start, the times and the parameter, in both directions. Those
 * by the times are the interpolant's, and lose an order each. */
static void test_closed_forms(void) {
  equation e[10];
  const int n = equations(e);
  for (int i = 0; i < 4*n; i++) {
    const bool wide = e[i/4].y.dtype == AD_F64, backwards = i%2;
    const double tolerance = wide ? 1e-11 : 1e-6;
    const ad_ode options = { .relative = tolerance, .absolute = tolerance,
                             .adjoint = (ad_ode_adjoint)(i/2%2) };
    for (int m = 1; m <= 4; m += m == 2 ? 2 : 1) {
      problem p = { &e[i/4], slope_of(&e[i/4]), &options, NULL, m };
      const ad_type type[3] = { p.e->y, AD_F64(m), p.e->p };
      ad_function *f = integral(&p), *g = ad_function_trace("solution", p.e->solution, NULL, 3, type, 1);
      char text[100];
      snprintf(text, sizeof text, "%s, %d times%s, %s adjoint", p.e->name, m, backwards ? " backwards" : "",
               i/2%2 ? "continuous" : "discrete");
      same_to_order(text, m == 4 ? 2 : 1, f, g, backwards, wide ? 1e-9 : 1e-4, wide ? 100 : 10);
      ad_function_free(f);
      ad_function_free(g);
      ad_function_free(p.f);
    }
  }
}

typedef struct solution { ad_body *body; const double *times; int m; } solution;

static void solve_at(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const solution *s = context;
  const ad_var all[3] = { in[0], ad_constant(t, AD_F64(s->m), s->times), in[1] };
  s->body(t, all, out, NULL);
}

/* Second derivatives by the start and the parameter lose nothing. */
static void test_constant_times(void) {
  static const double times[4] = { 0.1, 0.4, 0.9, 1.2 };
  equation e[10];
  const int n = equations(e);
  for (int i = 0; i < 2*n; i++) {
    const ad_ode options = { .relative = 1e-11, .absolute = 1e-11, .adjoint = (ad_ode_adjoint)(i%2) };
    problem p = { &e[i/2], slope_of(&e[i/2]), &options, times, 4 };
    solution s = { p.e->solution, times, 4 };
    if (p.e->y.dtype == AD_F64) {
      ad_function *f = integral(&p);
      ad_function *g = ad_function_trace("solution", solve_at, &s, 2, (const ad_type[]){ p.e->y, p.e->p }, 1);
      same_to_order(p.e->name, 2, f, g, false, 1e-9, 1);
      ad_function_free(f);
      ad_function_free(g);
    }
    ad_function_free(p.f);
  }
}

static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y;
  (void)t;
  ad_function_apply(context, in, &y);
  ad_taylor(2, 3, in, in + 3, 1, &y, out);
}

static ad_function *series(ad_function *f) {
  ad_type type[9];
  for (int i = 0; i < 3; i++) type[i] = type[3 + 2*i] = type[4 + 2*i] = ad_function_input_type(f, i);
  return ad_function_trace("series", series_body, f, 9, type, 3);
}

static void test_taylor(void) {
  equation e[10];
  const int n = equations(e);
  for (int i = 0; i < 2*n; i++) {
    const ad_ode options = { .relative = 1e-11, .absolute = 1e-11, .adjoint = (ad_ode_adjoint)(i%2) };
    problem p = { &e[i/2], slope_of(&e[i/2]), &options, NULL, 3 };
    const ad_type type[3] = { p.e->y, AD_F64(3), p.e->p };
    if (p.e->y.dtype == AD_F64 && p.e->p.dtype == AD_F64) {
      ad_function *f = integral(&p), *g = ad_function_trace("solution", p.e->solution, NULL, 3, type, 1);
      ad_function *s = series(f), *r = series(g);
      same(p.e->name, s, r, false, 1e-5);
      ad_function_free(s);
      ad_function_free(r);
      ad_function_free(f);
      ad_function_free(g);
    }
    ad_function_free(p.f);
  }
}

/* --- accuracy ------------------------------------------------------------------------------------------- */

/* The largest error of the oscillator from (1, 0) with frequency 1 at time k of m. */
static double oscillator_error(const ad_ode *options, int m, const double times[], int k) {
  const equation e = { "oscillator", oscillator, oscillator_solution, AD_F64(2), AD_F64() };
  problem p = { &e, slope_of(&e), options, times, m };
  ad_function *f = integral(&p);
  double y[2*64];
  const double y0[2] = { 1, 0 }, one = 1, s = times[k] - times[0];
  CHECK_STATUS(ad_function_call(f, (const void *[]){ y0, &one }, (void *[]){ y }, NULL), AD_OK);
  ad_function_free(f);
  ad_function_free(p.f);
  return fmax(fabs(y[2*k] - cos(s)), fabs(y[2*k + 1] + sin(s)));
}

static void check_order(const char *what, double coarse, double fine, double want) {
  const double order = log2(coarse/fine);
  CHECK_THAT(fabs(order - want) < 0.3, "%s: order %.3f, not %g", what, order, want);
}

/* Over a fixed time the error is of order 5; of one step it is of order 6, and within it of order 5: that of
 * an interpolant of order 4. */
static void test_orders(void) {
  const double span[2] = { 0, 2 };
  double error[2], within[2], once[2];
  for (int i = 0; i < 2; i++) {
    const double h = i ? 0.05 : 0.1, step[3] = { 0, 0.37*h, h };
    const ad_ode fixed = { .fixed = true, .first_step = h };
    error[i] = oscillator_error(&fixed, 2, span, 1);
    const double wider[3] = { 0, 0.37*4*h, 4*h };
    const ad_ode one = { .fixed = true, .first_step = 4*h };
    within[i] = oscillator_error(&one, 3, wider, 1);
    once[i] = oscillator_error(&one, 3, wider, 2);
    CHECK(oscillator_error(&fixed, 3, step, 2) < 1e-8);
  }
  check_order("fixed steps", error[0], error[1], 5);
  check_order("within a step", within[0], within[1], 5);
  check_order("one step", once[0], once[1], 6);
}

static void test_error_control(void) {
  double times[21], last = 1;
  for (int i = 0; i < 21; i++) times[i] = i;
  for (double tolerance = 1e-3; tolerance > 1e-12; tolerance /= 10) {
    const ad_ode options = { .relative = tolerance, .absolute = tolerance };
    double worst = 0;
    for (int k = 1; k < 21; k += 6) worst = fmax(worst, oscillator_error(&options, 21, times, k));
    CHECK_THAT(worst < 30*tolerance && worst < last, "error %g for a tolerance of %g", worst, tolerance);
    last = worst;
  }
}

/* --- the adjoints --------------------------------------------------------------------------------------- */

/* The derivative of f: (y0 (2), p) -> y (8) along v by Richardson's extrapolation of central differences. */
static void differences(ad_function *f, const double x[3], const double v[3], double d[8]) {
  enum { LEVELS = 6 };
  double table[LEVELS][8], y[2][8], z[3];
  for (int k = 0; k < LEVELS; k++) {
    const double h = ldexp(0.25, -k);
    for (int side = 0; side < 2; side++) {
      for (int i = 0; i < 3; i++) z[i] = x[i] + (side ? h : -h)*v[i];
      CHECK_STATUS(ad_function_call(f, (const void *[]){ z, z + 2 }, (void *[]){ y[side] }, NULL), AD_OK);
    }
    for (int i = 0; i < 8; i++) table[k][i] = (y[1][i] - y[0][i])/(2*h);
  }
  for (int level = 1; level < LEVELS; level++)
    for (int k = LEVELS - 1; k >= level; k--)
      for (int i = 0; i < 8; i++) table[k][i] += (table[k][i] - table[k - 1][i])/(ldexp(1, 2*level) - 1);
  memcpy(d, table[LEVELS - 1], 8*sizeof *d);
}

/* Steps of fixed size make a smooth function of the start and the parameter: its tangents and cotangents are
 * those of the steps, to rounding. */
static void test_fixed_steps_against_differences(void) {
  const equation e = { "van_der_pol", van_der_pol, NULL, AD_F64(2), AD_F64() };
  const double times[4] = { 0, 0.33, 1.7, 2.05 }, x[3] = { 1.5, -0.3, 1.2 };
  const ad_ode options = { .fixed = true, .first_step = 0.11 };
  problem p = { &e, slope_of(&e), &options, times, 4 };
  ad_function *f = integral(&p), *jvp = ad_function_jvp(f);
  for (int i = 0; i < 3; i++) {
    const double v[3] = { i == 0, i == 1, i == 2 };
    double d[8], ydot[8];
    differences(f, x, v, d);
    CHECK_STATUS(ad_function_call(jvp, (const void *[]){ x, x + 2, v, v + 2 }, (void *[]){ NULL, ydot },
                                  NULL), AD_OK);
    for (int k = 0; k < 8; k++) CHECK_NUMBER(ydot[k], d[k], 1e-11);
  }
  ad_check_result r;
  CHECK_STATUS(ad_check(f, (const void *[]){ x, x + 2 }, &r), AD_OK);
  CHECK_THAT(r.error < 2e-9 && r.transpose_error < 1e-13, "errors %g, %g", r.error, r.transpose_error);
  ad_function_free(jvp);
  ad_function_free(f);
  ad_function_free(p.f);
}

static void sum_of_squares(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y;
  integrate(t, in, &y, context);
  out[0] = ad_sum(ad_square(y), AD_ALL_AXES, false);
}

/* The gradient of |y|^2 over all times by y0 and p, of Lorenz' equations; its steps are chosen. */
static void lorenz_gradient(const ad_ode *options, double g[6]) {
  const equation e = { "lorenz", lorenz, NULL, AD_F64(3), AD_F64(3) };
  const double times[4] = { 0, 0.3, 0.5, 1 }, y0[3] = { 1, 1, 20 }, q[3] = { 10, 28, 8./3 };
  problem p = { &e, slope_of(&e), options, times, 4 };
  const ad_type type[2] = { e.y, e.p };
  ad_function *f = ad_function_trace("squares", sum_of_squares, &p, 2, type, 1);
  ad_function *d = ad_function_gradient(f, 0, NULL);
  ad_workspace *w = ad_workspace_new();
  const ad_status status = ad_function_call(d, (const void *[]){ y0, q }, (void *[]){ NULL, g, g + 3 }, w);
  CHECK_THAT(status == AD_OK, "%s: %s", ad_status_sentence(status), ad_workspace_message(w));
  ad_workspace_free(w);
  ad_function_free(d);
  ad_function_free(f);
  ad_function_free(p.f);
}

static void test_adjoints_agree(void) {
  double discrete[6], continuous[6];
  for (double tolerance = 1e-7; tolerance > 1e-12; tolerance /= 100) {
    ad_ode options = { .relative = tolerance, .absolute = tolerance };
    lorenz_gradient(&options, discrete);
    options.adjoint = AD_ADJOINT_CONTINUOUS;
    lorenz_gradient(&options, continuous);
    double size = 0;
    for (int i = 0; i < 6; i++) size = fmax(size, fabs(discrete[i]));
    for (int i = 0; i < 6; i++)
      CHECK_THAT(fabs(discrete[i] - continuous[i]) < 1000*tolerance*size, "tolerance %g: %.12g and %.12g",
                 tolerance, discrete[i], continuous[i]);
  }
}

static void test_policies(void) {
  const ad_ode policy[5] = { { .keep = AD_KEEP_STATES },
                             { .keep = AD_KEEP_ALL },
                             { .keep = AD_KEEP_EVERY, .k = 7 },
                             { .keep = AD_KEEP_BINOMIAL, .k = 5 },
                             { .keep = AD_KEEP_BINOMIAL, .bytes = 4096 } };
  double g[6], want[6];
  lorenz_gradient(&policy[0], want);
  for (int i = 1; i < 5; i++) {
    lorenz_gradient(&policy[i], g);
    for (int k = 0; k < 6; k++) CHECK_NUMBER(g[k], want[k], 1e-12);
  }
}

/* --- inside other functions ----------------------------------------------------------------------------- */

static void captured_slope(ad_tape *t, const ad_var in[], ad_var out[], void *p) {
  (void)t;
  out[0] = ad_mul(*(const ad_var *)p, in[1]);
}

typedef struct capture { const ad_ode *options; } capture;

/* (y0, times, p) with p captured */
static void capturing(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const capture *c = context;
  ad_var p = in[2];
  ad_report report = { AD_OK, "" };
  ad_function *f = ad_function_trace_inside(t, "captured", captured_slope, &p, 2,
                                            (const ad_type[]){ AD_F64(), AD_F64() }, 1, &report);
  if (!CHECK_THAT(f != NULL, "%s", report.message)) return;
  ad_odeint(f, c->options, in, out);
  ad_function_free(f);
}

static void test_captured(void) {
  const ad_type type[3] = { AD_F64(), AD_F64(3), AD_F64() };
  ad_function *g = ad_function_trace("solution", growth_solution, NULL, 3, type, 1);
  for (int adjoint = 0; adjoint < 2; adjoint++) {
    const ad_ode options = { .relative = 1e-11, .absolute = 1e-11, .adjoint = (ad_ode_adjoint)adjoint };
    capture c = { &options };
    ad_function *f = ad_function_trace("capturing", capturing, &c, 3, type, 1);
    same_to_order("captured", 2, f, g, false, 1e-9, 100);
    ad_function_free(f);
  }
  ad_function_free(g);
}

static void mapped(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_map(f, in, out);
}
static void checkpointed(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_checkpoint(f, in, out);
}

static void test_inside(void) {
  const equation e = { "oscillator", oscillator, oscillator_solution, AD_F64(2), AD_F64() };
  const ad_type plain[3] = { e.y, AD_F64(3), e.p }, many[3] = { AD_F64(4, 2), AD_F64(3), AD_F64(4) };
  for (int i = 0; i < 4; i++) {
    const ad_ode options = { .relative = 1e-11, .absolute = 1e-11, .adjoint = (ad_ode_adjoint)(i%2) };
    problem p = { &e, slope_of(&e), &options, NULL, 3 };
    ad_function *f = integral(&p), *g = ad_function_trace("solution", e.solution, NULL, 3, plain, 1);
    ad_body *body = i < 2 ? mapped : checkpointed;
    ad_function *inside = ad_function_trace("inside", body, f, 3, i < 2 ? many : plain, 1);
    ad_function *outside = ad_function_trace("outside", body, g, 3, i < 2 ? many : plain, 1);
    same_to_order(i < 2 ? "in a map" : "in a checkpoint", 2, inside, outside, false, 1e-9, 100);
    ad_function_free(outside);
    ad_function_free(inside);
    ad_function_free(g);
    ad_function_free(f);
    ad_function_free(p.f);
  }
}

/* y' = y over one step from 1: exp(h) to order 5, and h^6/600. */
static double growth_of_one_step(double h) {
  return 1 + h*(1 + h*(1./2 + h*(1./6 + h*(1./24 + h*(1./120 + h/600)))));
}

/* One equation with options that differ in one thing only: each has its own way. */
static void test_options_are_kept_apart(void) {
  const equation e = { "growth", growth, growth_solution, AD_F64(), AD_F64() };
  const ad_ode options[3] = { { .fixed = true, .first_step = 1 }, { .fixed = true, .first_step = 0.5 },
                              { .fixed = true, .first_step = 1 } };
  const double times[2] = { 0, 1 };
  ad_function *f = slope_of(&e);
  ad_tape *t = ad_tape_new();
  const ad_var in[3] = { ad_scalar(t, 1), ad_constant(t, AD_F64(2), times), ad_scalar(t, 1) };
  ad_var y;
  double z[3][2];
  for (int i = 0; i < 3; i++) {
    CHECK_STATUS(ad_odeint(f, &options[i], in, &y), AD_OK);
    CHECK_STATUS(ad_read(y, z[i]), AD_OK);
  }
  CHECK_NUMBER(z[0][1], growth_of_one_step(1), 1e-15);
  CHECK_NUMBER(z[1][1], growth_of_one_step(0.5)*growth_of_one_step(0.5), 1e-15);
  CHECK(z[0][1] == z[2][1]);
  ad_tape_free(t);
  ad_function_free(f);
}

/* --- times ---------------------------------------------------------------------------------------------- */

static ad_status at_times(ad_body *slope, const ad_ode *options, int m, const double times[], double y[],
                          char *text) {
  const equation e = { "slope", slope, NULL, AD_F64(), AD_F64() };
  problem p = { &e, slope_of(&e), options, times, m };
  ad_function *f = integral(&p);
  ad_workspace *w = ad_workspace_new();
  const double one = 1;
  const ad_status status = ad_function_call(f, (const void *[]){ &one, &one }, (void *[]){ y }, w);
  snprintf(text, 256, "%s", ad_workspace_message(w));
  ad_workspace_free(w);
  ad_function_free(f);
  ad_function_free(p.f);
  return status;
}

static void test_times(void) {
  const ad_ode options = { .relative = 1e-10, .absolute = 1e-10 },
               fixed = { .fixed = true, .first_step = 0.1 };
  char text[256];
  double y[4];
  CHECK_STATUS(at_times(growth, &options, 4, (const double[]){ 0, 0.5, 0.5, 1 }, y, text), AD_OK);
  CHECK(y[1] == y[2]);
  CHECK_NUMBER(y[2], exp(0.5), 1e-9);
  CHECK_NUMBER(y[3], exp(1), 1e-9);
  CHECK_STATUS(at_times(growth, &options, 2, (const double[]){ 0.7, 0.7 }, y, text), AD_OK);
  CHECK(y[0] == 1 && y[1] == 1);
  CHECK_STATUS(at_times(growth, &options, 1, (const double[]){ 0.7 }, y, text), AD_OK);
  CHECK(y[0] == 1);
  const ad_ode *const both[2] = { &options, &fixed };
  for (int i = 0; i < 2; i++) {
    CHECK_STATUS(at_times(growth, both[i], 3, (const double[]){ 0, 2, 1 }, y, text), AD_OK);
    CHECK(isnan(y[1]) && isnan(y[2]));
    CHECK_STATUS(at_times(growth, both[i], 4, (const double[]){ 0, 2, 1, 3 }, y, text), AD_OK);
    CHECK(isnan(y[2]));
    CHECK_STATUS(at_times(growth, both[i], 2, (const double[]){ 0, NAN }, y, text), AD_OK);
    CHECK(isnan(y[1]));
    CHECK_STATUS(at_times(growth, both[i], 3, (const double[]){ 0, NAN, 1 }, y, text), AD_OK);
    CHECK(isnan(y[1]));
  }
}

/* --- what fails ----------------------------------------------------------------------------------------- */

static void squared(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[2], ad_square(in[1]));
}
static void undefined(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sqrt(ad_sub(ad_mul(in[1], in[2]), 5));
}

static void test_limits(void) {
  const double span[2] = { 0, 2 };
  const ad_ode options[3] = { { .steps = 3000 }, { .steps = 3000 }, { .steps = 2, .relative = 1e-10 } };
  ad_body *const slope[3] = { squared, undefined, growth };
  for (int i = 0; i < 3; i++) {
    char text[256];
    double y[2];
    CHECK_STATUS(at_times(slope[i], &options[i], 2, span, y, text), AD_ERROR_LIMIT);
    char want[80];
    snprintf(want, sizeof want, "odeint_not_at_the_next_time still holds after %lld steps",
             (long long)options[i].steps);
    CHECK_THAT(strstr(text, want), "\"%s\" does not say \"%s\"", text, want);
  }
}

static void refuse(ad_type y, ad_type times, const ad_ode *options, ad_status want) {
  ad_tape *t = ad_tape_new();
  const ad_type type[3] = { AD_F64(), y, AD_F64() };
  ad_function *f = ad_function_trace("growth", growth, NULL, 3, type, 1);
  const ad_var in[3] = { ad_array(t, y, NULL), ad_array(t, times, NULL), ad_scalar(t, 1) };
  ad_var out;
  CHECK_STATUS(ad_odeint(f, options, in, &out), want);
  CHECK(!ad_is_valid(out) && ad_tape_status(t) == want && ad_tape_message(t)[0]);
  ad_function_free(f);
  ad_tape_free(t);
}

static void test_refused(void) {
  refuse(AD_I64(2), AD_F64(2), NULL, AD_ERROR_DTYPE);
  refuse(AD_F32(2), AD_F64(2), NULL, AD_ERROR_SHAPE);          /* p, f64, makes f64 of it */
  refuse(AD_F64(2), AD_F32(2), NULL, AD_ERROR_DTYPE);
  refuse(AD_F64(2), AD_F64(), NULL, AD_ERROR_SHAPE);
  refuse(AD_F64(2), AD_F64(0), NULL, AD_ERROR_SHAPE);
  const ad_ode bad[6] = { { .relative = -1 }, { .absolute = NAN }, { .fixed = true }, { .steps = -1 },
                          { .keep = AD_KEEP_EVERY }, { .keep = AD_KEEP_BINOMIAL } };
  for (int i = 0; i < 6; i++) refuse(AD_F64(2), AD_F64(2), &bad[i], AD_ERROR_ARGUMENT);
  ad_var out;
  CHECK_STATUS(ad_odeint(NULL, NULL, NULL, &out), AD_ERROR_ARGUMENT);
}

/* --- memory --------------------------------------------------------------------------------------------- */

static void gradient_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y;
  sum_of_squares(t, in, &y, context);
  ad_grad(y, 2, in, out);
}

static bool use(const ad_allocator *a, void *context) {
  problem *p = context;
  const ad_type slope[3] = { AD_F64(), p->e->y, p->e->p }, type[2] = { p->e->y, p->e->p };
  const double y0 = 0.5, q = 1;
  double g[2];
  ad_report report = { AD_OK, "" };
  p->f = ad_function_trace_with(a, "growth", growth, NULL, 3, slope, 1, &report);
  CHECK_THAT(p->f || report.status == AD_ERROR_MEMORY, "%s", report.message);
  ad_function *d = p->f ? ad_function_trace_with(a, "gradient", gradient_body, p, 2, type, 2, &report) : NULL;
  CHECK_THAT(d || report.status == AD_ERROR_MEMORY, "%s", report.message);
  const ad_status status = d ? ad_function_call(d, (const void *[]){ &y0, &q }, (void *[]){ g, g + 1 }, NULL)
                             : AD_ERROR_MEMORY;
  CHECK_THAT(status == AD_OK || status == AD_ERROR_MEMORY, "%s", ad_status_sentence(status));
  ad_function_free(d);
  ad_function_free(p->f);
  return status == AD_OK;
}

/* With the k-th allocation failing, for every k: an error that says so, nothing left over. */
static void test_memory(void) {
  const equation e = { "growth", growth, growth_solution, AD_F64(), AD_F64() };
  const double times[3] = { 0, 0.5, 1 };
  for (int adjoint = 0; adjoint < 2; adjoint++) {
    const ad_ode options = { .adjoint = (ad_ode_adjoint)adjoint };
    problem p = { &e, NULL, &options, times, 3 };
    CHECK(failing_calls(use, &p, false) > 500);
  }
}

int main(void) {
  test_closed_forms();
  test_constant_times();
  test_taylor();
  test_orders();
  test_error_control();
  test_fixed_steps_against_differences();
  test_adjoints_agree();
  test_policies();
  test_captured();
  test_inside();
  test_options_are_kept_apart();
  test_times();
  test_limits();
  test_refused();
  test_memory();
  return check_summary();
}
