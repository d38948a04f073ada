/* test_written_implicit_slow.c -- roots, fixed points, minima and differential equations as C: values,
 * derivatives and failures as the interpreter has them; callbacks are refused by name. */
#define _POSIX_C_SOURCE 200809L
#include "equations.h"

static void fill(int i, int trial, int k, ad_type type, void *to) {
  uint64_t seed = (uint64_t)(1000*i + 100*trial + k + 1);
  for (int64_t e = 0; e < ad_type_count(type); e++) check_set_element(type.dtype, to, e,
      check_uniform(&seed, 0.3, 1.2));
}

/* --- equations: (x, p) ---------------------------------------------------------------------------------- */

/* Not convex: sum of (x^2 - p)^2 + x/4 + coupling. */
static void wells_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  const ad_var s = ad_sum(x[0], AD_ALL_AXES, false);
  const ad_var wells = ad_add(ad_square(ad_sub(ad_square(x[0]), x[1])), ad_mul(0.25, x[0]));
  y[0] = ad_add(ad_sum(wells, AD_ALL_AXES, false), ad_mul(0.05, ad_square(s)));
}

typedef struct solving { int kind; ad_function *f; const ad_solver *how; } solving;

/* (guess, p) -> the solution; its sum of squares, so that cotangents are no ones. */
static void solve_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const solving *s = context;
  (void)t;
  if (s->kind == 0) ad_root(s->f, s->how, in, out);
  else if (s->kind == 1) ad_fixed_point(s->f, s->how, in, out);
  else ad_minimize(s->f, s->how, in, out);
  out[1] = ad_sum(ad_mul(out[0], ad_square(out[0])), AD_ALL_AXES, false);
}

static ad_function *solver_of(int kind, ad_body *body, ad_type x, ad_type p, const ad_solver *how) {
  const ad_type in[2] = { x, p };
  ad_function *f = ad_function_trace("equation", body, NULL, 2, in, 1);
  solving s = { kind, f, how };
  ad_function *g = ad_function_trace("solution", solve_body, &s, 2, in, 2);
  ad_function_free(f);
  return g;
}

static ad_function *solver(int kind, ad_body *body, ad_type type, const ad_solver *how) {
  return solver_of(kind, body, type, type, how);
}

static void add_with_derivatives(compiled *w, ad_function *f, bool second) {
  compiled_add(w, f);
  compiled_add(w, ad_function_jvp(f));
  ad_function *back = ad_function_vjp(f);
  compiled_add(w, back);
  if (second) compiled_add(w, ad_function_jvp(back));
}

static void test_solutions(void) {
  static ad_body *const body[3] = { cubic_body, contraction_body, wells_body };
  static const ad_solver plain = { .mixing = -1 };
  for (int single = 0; single < 2; single++) {
    compiled w = { .n = 0 };
    const ad_dtype d = single ? AD_F32 : AD_F64;
    const ad_type type[] = { ad_type_make(d, 0, NULL), SHAPE(d, 3), SHAPE(d, 2, 2), SHAPE(d, 30), SHAPE(d,
        0) };
    for (int kind = 0; kind < 3; kind++)
      for (int i = 0; i < 5; i++) add_with_derivatives(&w, solver(kind, body[kind], type[i], NULL), i < 3);
    compiled_add(&w, solver(1, contraction_body, type[1], &plain));
    all_run(&w, 2, tolerance, fill);
  }
}

/* Other types than the unknown's, parameters and the function itself: digits are those of f32. */
static void coarse_wells_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  wells_body(t, x, y, context);
  y[0] = ad_cast(y[0], AD_F32);
}
static void coarse_cubic_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  cubic_body(t, x, y, context);
  y[0] = ad_cast(y[0], ad_type_of(x[0]).dtype);
}
static void coarse_contraction_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  contraction_body(t, x, y, context);
  y[0] = ad_cast(y[0], ad_type_of(x[0]).dtype);
}

static const struct { int kind; ad_body *body; ad_dtype x, p; } mixture[] = {
  { 0, coarse_cubic_body, AD_F32, AD_F64 },       { 0, cubic_body, AD_F64, AD_F32 },
  { 1, coarse_contraction_body, AD_F32, AD_F64 }, { 1, contraction_body, AD_F64, AD_F32 },
  { 2, wells_body, AD_F32, AD_F64 },              { 2, wells_body, AD_F64, AD_F32 },
  { 2, coarse_wells_body, AD_F64, AD_F64 },       { 2, coarse_wells_body, AD_F32, AD_F64 },
  { 0, cubic_body, AD_F64, AD_I32 },              { 2, wells_body, AD_F32, AD_I64 },
};
enum { MIXTURES = sizeof mixture/sizeof *mixture };
static const double coarse[2] = { 2e-4, 2e-4 };

static ad_function *mixed_solver(int i, int64_t n) {
  return solver_of(mixture[i].kind, mixture[i].body, SHAPE(mixture[i].x, n), SHAPE(mixture[i].p, n), NULL);
}

static void test_mixed_types(void) {
  compiled w = { .n = 0 };
  for (int i = 0; i < MIXTURES; i++)
    for (int64_t n = 3; n < 60; n += 40) add_with_derivatives(&w, mixed_solver(i, n), n == 3);
  all_run(&w, 2, coarse, fill);
}

/* --- failures ------------------------------------------------------------------------------------------- */

static void no_root_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(ad_square(x[0]), x[1]);
}
static void flat_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(ad_mul(0, x[0]), x[1]);
}
static void growing_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(ad_square(x[0]), ad_add(x[1], 2));
}
static void descending_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sum(ad_mul(x[0], x[1]), AD_ALL_AXES, false);
}
static void undefined_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_log(ad_sub(x[0], ad_add(x[1], 5)));
}

/* all_run compares the statuses; here they must be failures, too. */
static void test_failures(void) {
  static const struct { int kind; ad_body *body; ad_status status; ad_solver how; } wrong[] = {
    { 0, no_root_body, AD_ERROR_CONVERGENCE, { .iterations = 0 } }, { 0, flat_body, AD_ERROR_SINGULAR,
        { .iterations = 0 } },
    { 0, undefined_body, AD_ERROR_CONVERGENCE, { .iterations = 0 } }, { 0, cubic_body, AD_ERROR_CONVERGENCE,
        { .iterations = 1 } },
    { 1, growing_body, AD_ERROR_CONVERGENCE, { .mixing = -1 } }, { 1, undefined_body, AD_ERROR_CONVERGENCE,
        { .iterations = 0 } },
    { 1, contraction_body, AD_ERROR_CONVERGENCE, { .iterations = 2 } },
    { 2, descending_body, AD_ERROR_CONVERGENCE, { .iterations = 0 } }, { 2, wells_body,
        AD_ERROR_CONVERGENCE, { .iterations = 1 } } };
  compiled w = { .n = 0 };
  for (size_t i = 0; i < sizeof wrong/sizeof *wrong; i++) {
    ad_function *f = solver(wrong[i].kind, wrong[i].body, SHAPE(AD_F64, 3), &wrong[i].how);
    double guess[3], p[3], x[3], sum;
    fill((int)i, 0, 0, SHAPE(AD_F64, 3), guess), fill((int)i, 0, 1, SHAPE(AD_F64, 3), p);
    const ad_status status = ad_function_call(f, (const void *[]){ guess, p }, (void *[]){ x, &sum }, NULL);
    CHECK_THAT(status == wrong[i].status, "failure %d is %d", (int)i, (int)status);
    compiled_add(&w, f);
  }
  all_run(&w, 1, tolerance, fill);
}

/* --- inside loops and maps ------------------------------------------------------------------------------ */

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_map(context, in, out);
}

/* (x, p) -> (the solution, p + 0.1 of its sum), over and over. */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_var y[2];
  if (ad_function_apply(context, in, y) != AD_OK) return;
  out[0] = y[0];
  out[1] = ad_add(in[1], ad_mul(0.01, y[1]));
}
static void loop_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_scan(context, 2, &(ad_loop){ .steps = 4 }, in, out);
}

static void test_inside(void) {
  compiled w = { .n = 0 };
  const ad_type x = SHAPE(AD_F64, 3), in[2] = { x, x }, many[2] = { SHAPE(AD_F64, 6, 3), SHAPE(AD_F64, 6,
      3) };
  ad_function *f = solver(0, cubic_body, x, NULL);
  ad_function *step = ad_function_trace("step", step_body, f, 2, in, 2);
  add_with_derivatives(&w, ad_function_trace("map", map_body, f, 2, many, 2), true);
  add_with_derivatives(&w, ad_function_trace("loop", loop_body, step, 2, in, 2), true);
  all_run(&w, 2, tolerance, fill);
  ad_function_free(step);
  ad_function_free(f);
}

/* --- differential equations ----------------------------------------------------------------------------- */

/* A pendulum with friction p. */
static void pendulum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var angle = ad_at(in[1], 1, (const int64_t[]){ 0 }), speed = ad_at(in[1], 1,
      (const int64_t[]){ 1 });
  const ad_var slope[2] = { speed, ad_sub(ad_neg(ad_sin(angle)), ad_mul(in[2], speed)) };
  out[0] = ad_stack(2, slope, 0);
}

typedef struct integrating { ad_function *f; ad_ode how; } integrating;

/* (y0, friction) -> y at 0, 0.4, 1. */
static void integrate_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const integrating *s = context;
  const double times[3] = { 0, 0.4, 1 };
  const ad_var x[3] = { in[0], ad_array(t, SHAPE(AD_F64, 3), times), in[1] };
  ad_odeint(s->f, &s->how, x, out);
}

static void test_equations(void) {
  compiled w = { .n = 0 };
  const ad_type in[3] = { AD_F64(), SHAPE(AD_F64, 2), AD_F64() };
  ad_function *f = ad_function_trace("pendulum", pendulum_body, NULL, 3, in, 1);
  integrating way[] = { { f, { .steps = 60 } }, { f, { .adjoint = AD_ADJOINT_CONTINUOUS, .steps = 60 } },
                        { f, { .fixed = true, .first_step = 0.05, .steps = 60 } }, { f, { .steps = 1 } } };
  for (size_t i = 0; i < sizeof way/sizeof *way; i++)
    add_with_derivatives(&w, ad_function_trace("way", integrate_body, &way[i], 2, in + 1, 1), i < 3);
  all_run(&w, 2, tolerance, fill);
  ad_function_free(f);
}

/* --- native code: small systems as text, large ones by calls of the library ----------------------------- */

static void test_native(void) {
  static ad_body *const body[3] = { cubic_body, contraction_body, wells_body };
  static const ad_solver hurried = { .iterations = 1 };
  const char *const cache = folder_make();
  const ad_type in[3] = { AD_F64(), SHAPE(AD_F64, 2), AD_F64() };
  if (!CHECK(cache != NULL)) return;
  for (int kind = 0; kind < 3; kind++)
    for (int64_t n = 3; n < 60; n += 40)
      all_native(solver(kind, body[kind], SHAPE(AD_F64, n), NULL), cache, tolerance, fill);
  for (int i = 0; i < MIXTURES; i++)
    for (int64_t n = 3; n < 60; n += 40) all_native(mixed_solver(i, n), cache, coarse, fill);
  all_native(solver(0, cubic_body, SHAPE(AD_F64, 3), &hurried), cache, tolerance, fill);
  ad_function *f = ad_function_trace("pendulum", pendulum_body, NULL, 3, in, 1);
  integrating way = { f, { .adjoint = AD_ADJOINT_CONTINUOUS } };
  ad_function *g = ad_function_trace("way", integrate_body, &way, 2, in + 1, 1);
  all_native(ad_function_vjp(g), cache, tolerance, fill);
  ad_function_free(g);
  ad_function_free(f);
  folder_remove(cache);
}

/* --- what stays in the library -------------------------------------------------------------------------- */

static ad_status callback(void *context, const void *const in[], void *const out[], char *message,
                          size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = *(const double *)in[0] + 1;
  return AD_OK;
}

static void test_callback(void) {
  const ad_type number = AD_F64();
  ad_report report = { 0 };
  ad_function *f = ad_function_external(&(ad_external){ .name = "sensor", .n_in = 1, .n_out = 1,
      .in = &number,
                                                        .out = &number, .call = callback }, NULL);
  FILE *to = tmpfile();
  if (CHECK(f && to)) {
    CHECK_STATUS(ad_function_emit_c(f, to, NULL, NULL, &report), AD_ERROR_UNSUPPORTED);
    CHECK_THAT(strstr(report.message, "sensor") != NULL, "it says \"%s\"", report.message);
  }
  if (to) fclose(to);
  ad_function_free(f);
}

int main(void) {
  test_solutions();
  test_mixed_types();
  test_failures();
  test_inside();
  test_equations();
  test_callback();
  test_native();
  return check_summary();
}
