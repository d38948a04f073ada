/* test_implicit.c -- roots, fixed points and minima. The oracle is the solution in closed form, recorded:
 * value, derivatives of order 1 to 3 in every mix of modes and Taylor coefficients must agree, by themselves
 * and inside maps, loops, branches and checkpoints.
 */
#include "check.h"
#include "failing.h"
#include "adit.h"

#include <stdlib.h>

/* --- comparing two functions ---------------------------------------------------------------------------- */

enum { MOST = 64, ROOM = 4096 };

typedef struct numbers { void *in[MOST], *out[2][MOST]; } numbers;

/* Random inputs between 0.3 and 1.2; integers are 1 to 3. */
static void fill(numbers *w, ad_function *f) {
  uint64_t state = 11;
  for (int i = 0; i < ad_function_inputs(f); i++) {
    const ad_type type = ad_function_input_type(f, i);
    w->in[i] = calloc(ROOM, 1);
    for (int64_t e = 0; e < ad_type_count(type); e++)
      check_set_element(type.dtype, w->in[i], e, type.dtype < AD_F32 ? 1 + check_below(&state, 3)
                                                                     : check_uniform(&state, 0.3, 1.2));
  }
  for (int j = 0; j < ad_function_outputs(f); j++)
    for (int side = 0; side < 2; side++) w->out[side][j] = calloc(ROOM, 1);
}

static void empty(numbers *w, ad_function *f) {
  for (int i = 0; i < ad_function_inputs(f); i++) free(w->in[i]);
  for (int j = 0; j < ad_function_outputs(f); j++) free(w->out[0][j]), free(w->out[1][j]);
}

/* Where anything is of f32, all digits are its. */
static bool is_wide(const ad_function *f) {
  bool wide = ad_function_output_type(f, 0).dtype == AD_F64;
  for (int i = 0; i < ad_function_inputs(f); i++) wide &= ad_function_input_type(f, i).dtype != AD_F32;
  return wide;
}

/* To 1e-12; f32 to what its third derivatives need. */
static void same(const char *what, ad_function *got, ad_function *want) {
  if (!CHECK_THAT(got && want, "%s: could not be made", what)) return;
  const int m = ad_function_outputs(got);
  if (!CHECK_THAT(ad_function_inputs(got) == ad_function_inputs(want) && m == ad_function_outputs(want)
                      && ad_function_inputs(got) <= MOST && m <= MOST,
                  "%s: other numbers of inputs, outputs", what))
    return;
  numbers w;
  fill(&w, got);
  ad_workspace *space = ad_workspace_new();
  const ad_status status = ad_function_call(got, (const void *const *)w.in, w.out[0], space);
  CHECK_THAT(status == AD_OK, "%s: %s: %s", what, ad_status_sentence(status), ad_workspace_message(space));
  CHECK_STATUS(ad_function_call(want, (const void *const *)w.in, w.out[1], NULL), AD_OK);
  for (int j = 0; j < m && status == AD_OK; j++) {
    const ad_type type = ad_function_output_type(want, j);
    CHECK_THAT(ad_type_equal(type, ad_function_output_type(got, j)), "%s: type of output %d", what, j);
    for (int64_t e = 0; e < ad_type_count(type); e++) {
      const double a = check_element(type.dtype, w.out[0][j], e),
                   b = check_element(type.dtype, w.out[1][j], e);
      const double tolerance = is_wide(want) ? 1e-12 : 2e-5;
      CHECK_THAT(check_near(a, b, tolerance), "%s: output %d[%lld] is %.17g, not %.17g", what, j,
                 (long long)e, a, b);
    }
  }
  empty(&w, got);
  ad_workspace_free(space);
}

/* Every mix of jvp and vjp up to that order. */
static void same_to_order(const char *what, int order, ad_function *got, ad_function *want) {
  same(what, got, want);
  for (int mode = 0; mode < 2 && order > 0; mode++) {
    char text[160];
    ad_function *f = mode ? ad_function_vjp(got) : ad_function_jvp(got);
    ad_function *g = mode ? ad_function_vjp(want) : ad_function_jvp(want);
    snprintf(text, sizeof text, "%.140s, %s", what, mode ? "vjp" : "jvp");
    same_to_order(text, order - 1, f, g);
    ad_function_free(f);
    ad_function_free(g);
  }
}

/* (x.., coefficients 1.. of each float x) -> coefficients of the output. */
enum { ORDER = 4 };

static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *f = context;
  const int n = ad_function_inputs(f);
  ad_var x[MOST], y, c[MOST];
  int floats = 0;
  (void)t;
  ad_function_apply(f, in, &y);
  for (int i = 0; i < n; i++) {
    if (ad_function_input_type(f, i).dtype < AD_F32) continue;
    x[floats] = in[i];
    memcpy(c + floats++*ORDER, in + n + i*ORDER, ORDER*sizeof *c);
  }
  ad_taylor(ORDER, floats, x, c, 1, &y, out);
}

static ad_function *series(ad_function *f) {
  const int n = ad_function_inputs(f);
  ad_type type[MOST];
  for (int i = 0; i < n; i++) type[i] = ad_function_input_type(f, i);
  for (int i = 0; i < n*ORDER; i++) type[n + i] = type[i/ORDER];
  return ad_function_trace("series", series_body, f, n*(1 + ORDER), type, ORDER + 1);
}

static void checked(const char *what, ad_function *f) {
  numbers w;
  ad_check_result result;
  fill(&w, f);
  CHECK_STATUS(ad_check(f, (const void *const *)w.in, &result), AD_OK);
  const bool wide = is_wide(f);
  CHECK_THAT(result.error < (wide ? 1e-9 : 1e-3) && result.transpose_error < (wide ? 1e-14 : 1e-6),
             "%s: errors %g, %g", what, result.error, result.transpose_error);
  empty(&w, f);
}

static void same_everywhere(const char *what, ad_function *got, ad_function *want) {
  char text[160];
  same_to_order(what, 3, got, want);
  ad_function *s = series(got), *r = series(want);
  snprintf(text, sizeof text, "%s, Taylor", what);
  same(text, s, r);
  checked(what, got);
  ad_function_free(s);
  ad_function_free(r);
}

/* --- problems: inputs are the guess, then parameters ---------------------------------------------------- */

enum { ROOT, FIXED, PLAIN, MINIMUM };       /* PLAIN: a fixed point without mixing */

typedef struct problem {
  const char *name;
  int kind;
  ad_body *body, *solution;
  int n;
  ad_type type[4];
  ad_function *f;
} problem;

static void solve_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  const ad_solver plain = { .mixing = -1 };
  (void)t;
  switch (p->kind) {
    case ROOT:  ad_root(p->f, NULL, in, out); break;
    case FIXED: ad_fixed_point(p->f, NULL, in, out); break;
    case PLAIN: ad_fixed_point(p->f, &plain, in, out); break;
    default:    ad_minimize(p->f, NULL, in, out);
  }
}

static ad_var total(ad_var x) { return ad_sum(x, AD_ALL_AXES, false); }
static ad_var ones_of(ad_tape *t, ad_var x) { return ad_ones(t, ad_type_of(x)); }

/* x^3 = a b */
static void cube_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_mul(x[0], ad_square(x[0])), ad_mul(x[1], x[2]));
}
static void cube_root(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_cbrt(ad_mul(x[1], x[2]));
}

/* x + s sum(x) = p; the minimum of |x|^2/2 + s sum(x)^2/2 - p.x is the same. */
static void coupled_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_add(x[0], ad_mul(x[2], total(x[0]))), x[1]);
}
static void quadratic_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  const ad_var squares = ad_add(total(ad_square(x[0])), ad_mul(x[2], ad_square(total(x[0]))));
  y[0] = ad_sub(ad_mul(squares, 0.5), total(ad_mul(x[0], x[1])));
}
static void coupled_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)context;
  const ad_var n = total(ones_of(t, x[1]));
  y[0] = ad_sub(x[1], ad_div(ad_mul(x[2], total(x[1])), ad_add(ad_mul(n, x[2]), 1)));
}

/* A x^2 = p with a constant A */
static ad_var matrix(ad_tape *t) {
  static const double a[9] = { 1, -0.2, 0.1, 0.05, 0.8, -0.15, -0.1, 0.1, 1.1 };
  return ad_constant(t, AD_F64(3, 3), a);
}
static void squares_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)context;
  y[0] = ad_sub(ad_matmul(matrix(t), ad_square(x[0])), x[1]);
}
static void squares_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)context;
  y[0] = ad_sqrt(ad_solve(matrix(t), x[1]));
}

/* x = (x + p k/x)/2, elementwise */
static void heron_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_mul(ad_add(x[0], ad_div(ad_mul(x[1], x[2]), x[0])), 0.5);
}
static void heron_residual(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_square(x[0]), ad_mul(x[1], x[2]));
}
static void heron_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sqrt(ad_mul(x[1], x[2]));
}

/* x = p + s mean(x)/2: the sum is sum(p)/(1 - s/2) */
static void mean_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(x[1], ad_mul(ad_mul(x[2], 0.5), ad_mean(x[0], AD_ALL_AXES, false)));
}
static void mean_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  const ad_var half = ad_mul(x[2], 0.5);
  y[0] = ad_add(x[1], ad_div(ad_mul(half, ad_mean(x[1], AD_ALL_AXES, false)), ad_sub(1, half)));
}

/* min of sum(exp(x) - p x) */
static void entropy_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = total(ad_sub(ad_exp(x[0]), ad_mul(x[1], x[0])));
}
static void entropy_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_log(x[1]);
}

/* Unknown and parameters of other types: what is computed is of the wider one, and rounded where x is not. */
static ad_var rounded(ad_var y) { return ad_cast(y, AD_F32); }
static ad_var widened(ad_var p) { return ad_cast(p, AD_F64); }

static void cube_narrow_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  cube_body(t, x, y, context);
  y[0] = rounded(y[0]);
}
static void cube_narrow_root(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  cube_root(t, x, y, context);
  y[0] = rounded(y[0]);
}
static void mean_narrow_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  mean_body(t, x, y, context);
  y[0] = rounded(y[0]);
}
static void mean_narrow_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  mean_solution(t, x, y, context);
  y[0] = rounded(y[0]);
}
static void mean_wide_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  mean_solution(t, (const ad_var[]){ x[0], widened(x[1]), widened(x[2]) }, y, context);
}
static void coupled_narrow_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  coupled_solution(t, x, y, context);
  y[0] = rounded(y[0]);
}
static void entropy_narrow_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = rounded(ad_log(x[1]));
}
static void entropy_wide_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_log(widened(x[1]));
}
static void heron_wide_solution(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sqrt(ad_mul(widened(x[1]), x[2]));
}

static void entropy_coarse_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  entropy_body(t, x, y, context);
  y[0] = rounded(y[0]);
}

#define THREE(x, p, s) 3, { x, p, s }
#define TWO(x, p) 2, { x, p }

static int problems(problem to[]) {
  const problem all[] = {
    { "cube", ROOT, cube_body, cube_root, THREE(AD_F64(), AD_F64(), AD_F64()), NULL },
    { "cube f32", ROOT, cube_body, cube_root, THREE(AD_F32(), AD_F32(), AD_F32()), NULL },
    { "coupled", ROOT, coupled_body, coupled_solution, THREE(AD_F64(3), AD_F64(3), AD_F64()), NULL },
    { "coupled f32", ROOT, coupled_body, coupled_solution, THREE(AD_F32(3), AD_F32(3), AD_F32()), NULL },
    { "coupled matrix", ROOT, coupled_body, coupled_solution, THREE(AD_F64(2, 3), AD_F64(2, 3), AD_F64()),
      NULL },
    { "coupled of 30", ROOT, coupled_body, coupled_solution, THREE(AD_F64(30), AD_F64(30), AD_F64()), NULL },
    { "coupled of 1", ROOT, coupled_body, coupled_solution, THREE(AD_F64(1), AD_F64(1), AD_F64()), NULL },
    { "empty root", ROOT, coupled_body, coupled_solution, THREE(AD_F64(0), AD_F64(0), AD_F64()), NULL },
    { "squares", ROOT, squares_body, squares_solution, TWO(AD_F64(3), AD_F64(3)), NULL },
    { "integer", ROOT, heron_residual, heron_solution, THREE(AD_F64(2), AD_F64(2), AD_I32(2)), NULL },
    { "heron", FIXED, heron_body, heron_solution, THREE(AD_F64(), AD_F64(), AD_F64()), NULL },
    { "heron plain", PLAIN, heron_body, heron_solution, THREE(AD_F64(2), AD_F64(2), AD_I64(2)), NULL },
    { "mean", FIXED, mean_body, mean_solution, THREE(AD_F64(4), AD_F64(4), AD_F64()), NULL },
    { "mean plain", PLAIN, mean_body, mean_solution, THREE(AD_F64(2, 2), AD_F64(2, 2), AD_F64()), NULL },
    { "mean f32", FIXED, mean_body, mean_solution, THREE(AD_F32(4), AD_F32(4), AD_F32()), NULL },
    { "empty fixed point", FIXED, coupled_body, coupled_solution, THREE(AD_F64(0), AD_F64(0), AD_F64()),
      NULL },
    { "entropy", MINIMUM, entropy_body, entropy_solution, TWO(AD_F64(), AD_F64()), NULL },
    { "entropy f32", MINIMUM, entropy_body, entropy_solution, TWO(AD_F32(2), AD_F32(2)), NULL },
    { "entropy matrix", MINIMUM, entropy_body, entropy_solution, TWO(AD_F64(2, 2), AD_F64(2, 2)), NULL },
    { "quadratic", MINIMUM, quadratic_body, coupled_solution, THREE(AD_F64(3), AD_F64(3), AD_F64()), NULL },
    { "quadratic of 30", MINIMUM, quadratic_body, coupled_solution, THREE(AD_F64(30), AD_F64(30), AD_F64()),
      NULL },
    { "cube of f64", ROOT, cube_narrow_body, cube_narrow_root, THREE(AD_F32(), AD_F64(), AD_F64()), NULL },
    { "heron of f32", ROOT, heron_residual, heron_wide_solution, THREE(AD_F64(2), AD_F32(2), AD_I64(2)),
      NULL },
    { "heron f32, integer", ROOT, heron_residual, heron_solution, THREE(AD_F32(2), AD_F32(2), AD_I32(2)),
      NULL },
    { "mean of f64", FIXED, mean_narrow_body, mean_narrow_solution, THREE(AD_F32(4), AD_F64(4), AD_F64()),
      NULL },
    { "mean of f32", FIXED, mean_body, mean_wide_solution, THREE(AD_F64(4), AD_F32(4), AD_F32()), NULL },
    { "quadratic of f64", MINIMUM, quadratic_body, coupled_narrow_solution,
      THREE(AD_F32(3), AD_F64(3), AD_F64()), NULL },
    { "quadratic of 30 f64", MINIMUM, quadratic_body, coupled_narrow_solution,
      THREE(AD_F32(30), AD_F64(30), AD_F64()), NULL },
    { "entropy of f64", MINIMUM, entropy_body, entropy_narrow_solution, TWO(AD_F32(), AD_F64()), NULL },
    { "entropy of f32", MINIMUM, entropy_body, entropy_wide_solution, TWO(AD_F64(2), AD_F32(2)), NULL },
    { "empty minimum", MINIMUM, quadratic_body, coupled_solution, THREE(AD_F64(0), AD_F64(0), AD_F64()),
      NULL },
  };
  memcpy(to, all, sizeof all);
  return (int)(sizeof all/sizeof *all);
}

/* The solver and the closed form, as functions of (guess, p..). */
static void open_problem(problem *p, ad_function *pair[2]) {
  p->f = ad_function_trace(p->name, p->body, NULL, p->n, p->type, 1);
  pair[0] = ad_function_trace("solve", solve_body, p, p->n, p->type, 1);
  pair[1] = ad_function_trace("solution", p->solution, NULL, p->n, p->type, 1);
}

static void close_problem(problem *p, ad_function *pair[2]) {
  ad_function_free(pair[0]);
  ad_function_free(pair[1]);
  ad_function_free(p->f);
}

static void test_closed_forms(void) {
  problem p[40];
  const int n = problems(p);
  for (int i = 0; i < n; i++) {
    ad_function *pair[2];
    open_problem(&p[i], pair);
    same_everywhere(p[i].name, pair[0], pair[1]);
    close_problem(&p[i], pair);
  }
}

/* --- inside other operations ---------------------------------------------------------------------------- */

static void mapped(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_map(f, in, out);
}
static void looped(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_var state;
  (void)t;
  if (ad_fold(f, 1, &(ad_loop){ .steps = 3 }, in, &state) == AD_OK) out[0] = state;
}
static void branched(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_cond(ad_less(in[1], ad_real(10)), f, f, in, out);
}
static void recomputed(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_checkpoint(f, in, out);
}
/* A root of a root: the p with x(p, q) = s. */
static void nested_body(ad_tape *t, const ad_var x[], ad_var y[], void *f) {
  ad_var z;
  (void)t;
  ad_function_apply(f, (const ad_var[]){ x[0], x[0], x[1] }, &z);
  y[0] = ad_sub(z, x[2]);
}
static void nested(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *g = ad_function_trace("nested", nested_body, f, 3, type, 1);
  ad_root(g, NULL, in, out);
  ad_function_free(g);
}

static void test_settings(void) {
  static const struct { const char *name; ad_body *body; } setting[] = {
    { "map", mapped }, { "fold", looped }, { "cond", branched }, { "checkpoint", recomputed },
    { "root", nested }
  };
  problem p[40];
  const int n = problems(p);
  for (int i = 0; i < n; i++) {
    if (strcmp(p[i].name, "cube") && strcmp(p[i].name, "heron")) continue;
    ad_function *pair[2];
    open_problem(&p[i], pair);
    for (int s = 0; s < 5; s++) {
      const ad_type mapped_type[3] = { AD_F64(), AD_F64(3), AD_F64() };
      const ad_type *type = s ? p[i].type : mapped_type;
      char text[80];
      ad_function *f = ad_function_trace("inside", setting[s].body, pair[0], 3, type, 1);
      ad_function *g = ad_function_trace("closed", setting[s].body, pair[1], 3, type, 1);
      snprintf(text, sizeof text, "%s in %s", p[i].name, setting[s].name);
      same_to_order(text, 2, f, g);
      ad_function_free(f);
      ad_function_free(g);
    }
    close_problem(&p[i], pair);
  }
}

/* --- an f32 function of an f64 unknown ------------------------------------------------------------------ */

/* The value in f32 hides what a step gains below its rounding; the solution is good to that. */
static void test_coarse_value(void) {
  const ad_type type[2] = { AD_F64(2), AD_F64(2) };
  problem p = { "coarse", MINIMUM, entropy_coarse_body, entropy_solution, 2, { type[0], type[1] }, NULL };
  ad_function *pair[2];
  open_problem(&p, pair);
  for (int trial = 0; trial < 3; trial++) {
    const double guess[2] = { 3, -trial }, q[2] = { 0.4 + trial, 2.5 };
    double x[2] = { 9, 9 };
    CHECK_STATUS(ad_function_call(pair[0], (const void *[]){ guess, q }, (void *[]){ x }, NULL), AD_OK);
    for (int e = 0; e < 2; e++) CHECK_NUMBER(x[e], log(q[e]), 1e-6);
  }
  ad_function *slope = ad_function_jvp(pair[0]);
  const double guess[2] = { 1, 1 }, q[2] = { 0.5, 2 }, qdot[2] = { 1, -3 };
  double x[2], xdot[2] = { 9, 9 };
  const void *const in[4] = { guess, q, NULL, qdot };
  CHECK_STATUS(ad_function_call(slope, in, (void *[]){ x, xdot }, NULL), AD_OK);
  for (int e = 0; e < 2; e++) CHECK_NUMBER(xdot[e], qdot[e]/q[e], 1e-6);
  ad_function_free(slope);
  close_problem(&p, pair);
}

/* --- captured variables --------------------------------------------------------------------------------- */

typedef struct capture { ad_var a; int kind; } capture;

/* x^2 = a p, a and p from outside */
static void captured_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  const capture *c = context;
  (void)t;
  const ad_var ap = ad_mul(c->a, x[1]), square = ad_square(x[0]);
  if (c->kind == ROOT) y[0] = ad_sub(square, ap);
  else if (c->kind == MINIMUM) y[0] = total(ad_sub(ad_div(ad_mul(x[0], square), 3), ad_mul(ap, x[0])));
  else y[0] = ad_mul(ad_add(x[0], ad_div(ap, x[0])), 0.5);
}

/* (a, p) -> x */
static void capturing_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  capture c = { in[0], *(const int *)context };
  const ad_var given[2] = { ad_real(1), in[1] };
  ad_report report = { AD_OK, "" };
  ad_function *f = ad_function_trace_inside(t, "captured", captured_body, &c, 2,
                                            (const ad_type[]){ AD_F64(2), AD_F64(2) }, 1, &report);
  if (!CHECK_THAT(f != NULL, "%s", report.message)) return;
  if (c.kind == ROOT) ad_root(f, NULL, given, out);
  else if (c.kind == MINIMUM) ad_minimize(f, NULL, given, out);
  else ad_fixed_point(f, NULL, given, out);
  ad_function_free(f);
}
static void captured_solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sqrt(ad_mul(in[0], in[1]));
}

static void test_captured(void) {
  const ad_type type[2] = { AD_F64(), AD_F64(2) };
  ad_function *g = ad_function_trace("solution", captured_solution, NULL, 2, type, 1);
  for (int kind = ROOT; kind <= MINIMUM; kind++) {
    ad_function *f = ad_function_trace("capturing", capturing_body, &kind, 2, type, 1);
    same_everywhere("captured", f, g);
    ad_function_free(f);
  }
  ad_function_free(g);
}

/* --- on a tape with values ------------------------------------------------------------------------------ */

static void test_on_a_tape(void) {
  ad_tape *t = ad_tape_new();
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("cube", cube_body, NULL, 3, type, 1);
  const ad_var a = ad_scalar(t, 3), b = ad_scalar(t, 9);
  ad_var x, dx[2], ddx[2];
  CHECK_STATUS(ad_root(f, NULL, (const ad_var[]){ ad_real(1), a, b }, &x), AD_OK);
  CHECK_NUMBER(ad_value(x), 3, 1e-15);
  CHECK_STATUS(ad_backward(x), AD_OK);
  CHECK_NUMBER(ad_adjoint(a), 9./27, 1e-14);
  CHECK_NUMBER(ad_adjoint(b), 3./27, 1e-14);
  CHECK_STATUS(ad_grad(x, 2, (const ad_var[]){ a, b }, dx), AD_OK);
  CHECK_STATUS(ad_grad(dx[0], 2, (const ad_var[]){ a, b }, ddx), AD_OK);
  CHECK_NUMBER(ad_value(ddx[0]), -2./9*3/9, 1e-14);        /* x = (ab)^(1/3): -2/9 x/a^2 */
  CHECK_NUMBER(ad_value(ddx[1]), 1./9*3/27, 1e-14);        /* 1/9 x/(a b) */
  ad_set_value(a, 24);
  CHECK_NUMBER(ad_value(x), 6, 1e-15);
  CHECK_NUMBER(ad_value(dx[0]), 6/(3*24.), 1e-14);
  ad_function_free(f);
  ad_tape_free(t);
}

/* --- where it begins ------------------------------------------------------------------------------------ */

/* exp(x) - 1 = p x: for p = 1/2 its root is 0, where x is noise */
static void noisy_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_sub(ad_exp(x[0]), 1), ad_mul(x[1], x[0]));
}
static void parabola_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_square(x[0]), x[1]);
}
static void half_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_mul(x[0], x[1]);
}
static void halfway_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_add(ad_mul(x[0], 0.5), x[1]);
}

static ad_status run(int kind, ad_body *body, const ad_solver *o, double guess, double p, double *x,
                     char *text) {
  ad_tape *t = ad_tape_new();
  ad_function *f = ad_function_trace("f", body, NULL, 2, (const ad_type[]){ AD_F64(), AD_F64() }, 1);
  const ad_var in[2] = { ad_scalar(t, guess), ad_scalar(t, p) };
  ad_var z;
  const ad_status status = kind == ROOT    ? ad_root(f, o, in, &z)
                           : kind == FIXED ? ad_fixed_point(f, o, in, &z)
                                           : ad_minimize(f, o, in, &z);
  if (status == AD_OK) *x = ad_value(z);
  if (text) snprintf(text, 256, "%s", ad_tape_message(t));
  const ad_status seen = ad_tape_status(t);
  ad_function_free(f);
  ad_tape_free(t);
  return seen;
}

static void test_guesses(void) {
  const ad_solver plain = { .mixing = -1 };
  double x = 9;
  CHECK_STATUS(run(ROOT, parabola_body, NULL, 1e8, 2, &x, NULL), AD_OK);
  CHECK_NUMBER(x, sqrt(2), 1e-15);
  CHECK_STATUS(run(ROOT, parabola_body, NULL, 1e-8, 2, &x, NULL), AD_OK);
  CHECK_NUMBER(x, sqrt(2), 1e-15);
  CHECK_STATUS(run(ROOT, noisy_body, NULL, 0.3, 0.5, &x, NULL), AD_OK);
  CHECK_NUMBER(x, 0, 1e-15);
  CHECK_STATUS(run(FIXED, halfway_body, NULL, 1e8, 1, &x, NULL), AD_OK);
  CHECK_NUMBER(x, 2, 1e-13);
  CHECK_STATUS(run(FIXED, halfway_body, &plain, 1e8, 1, &x, NULL), AD_OK);
  CHECK_NUMBER(x, 2, 1e-12);
  CHECK_STATUS(run(FIXED, half_body, &plain, 1, 0.5, &x, NULL), AD_OK);
  CHECK_NUMBER(x, 0, 1e-12);
  CHECK_STATUS(run(MINIMUM, parabola_body, NULL, 1e8, 1, &x, NULL), AD_OK);
  CHECK_NUMBER(x, 0, 1e-15);
}

/* --- what fails ----------------------------------------------------------------------------------------- */

static void check_failure(int kind, ad_body *body, int64_t iterations, double guess, double p, ad_status want,
                          const char *message) {
  const ad_solver o = { .iterations = iterations };
  double x = 0;
  char text[256];
  CHECK_STATUS(run(kind, body, &o, guess, p, &x, text), want);
  CHECK_THAT(isnan(x), "a failure gives %g", x);
  CHECK_THAT(strstr(text, message) && strstr(text, "residual"), "\"%s\" does not say \"%s\"", text, message);
}

static void root_of_x(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_sqrt(x[0]), x[1]);
}
static void hill_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_neg(ad_mul(ad_square(x[0]), x[1]));
}

static void test_failures(void) {
  check_failure(ROOT, parabola_body, 3, 1e3, 2, AD_ERROR_CONVERGENCE,
                "root: no convergence after 3 iterations");
  check_failure(ROOT, parabola_body, 0, 1e8, -1, AD_ERROR_CONVERGENCE, "root: ");
  check_failure(ROOT, parabola_body, 0, 0.7, -1, AD_ERROR_CONVERGENCE, "root: ");
  check_failure(ROOT, parabola_body, 0, 0, 2, AD_ERROR_SINGULAR,
                "root: the Jacobian is singular after 0 iterations");
  check_failure(ROOT, root_of_x, 0, -1, 2, AD_ERROR_CONVERGENCE, "root: the residual is not finite");
  check_failure(FIXED, parabola_body, 50, 1, -2.5, AD_ERROR_CONVERGENCE, "fixed_point: ");
  check_failure(FIXED, root_of_x, 0, -1, 2, AD_ERROR_CONVERGENCE, "fixed_point: the residual is not finite");
  check_failure(MINIMUM, hill_body, 0, 0, 2, AD_ERROR_CONVERGENCE,
                "minimize: the point is stationary, but no minimum");
  check_failure(MINIMUM, hill_body, 0, 1, 2, AD_ERROR_CONVERGENCE, "minimize: ");
  check_failure(MINIMUM, root_of_x, 0, -1, 2, AD_ERROR_CONVERGENCE, "minimize: the function is not finite");
}

static void saddle_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  static const double sign[2] = { 1, -1 };
  (void)context;
  y[0] = total(ad_mul(ad_square(x[0]), ad_constant(t, AD_F64(2), sign)));
}

static void test_saddle(void) {
  ad_tape *t = ad_tape_new();
  ad_function *f = ad_function_trace("saddle", saddle_body, NULL, 1, (const ad_type[]){ AD_F64(2) }, 1);
  const double zero[2] = { 0, 0 };
  const ad_var guess = ad_array(t, AD_F64(2), zero);
  ad_var x;
  double z[2];
  CHECK_STATUS(ad_minimize(f, NULL, &guess, &x), AD_OK);
  CHECK_STATUS(ad_read(x, z), AD_ERROR_CONVERGENCE);
  CHECK_THAT(strstr(ad_tape_message(t), "the point is stationary, but no minimum"), "%s", ad_tape_message(t));
  ad_function_free(f);
  ad_tape_free(t);
}

/* x^3 = p from the guess 0 with p = 0: a root, but no derivative there. */
static void cubes_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  y[0] = ad_sub(ad_mul(x[0], ad_square(x[0])), x[1]);
}
static void solved_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_root(f, NULL, in, out);
  out[0] = total(out[0]);
}

static void test_singular_derivative(void) {
  for (int rank = 0; rank < 2; rank++) {
    const int64_t two = 2;
    const ad_type one = ad_type_make(AD_F64, rank, &two), type[2] = { one, one };
    ad_function *f = ad_function_trace("cubes", cubes_body, NULL, 2, type, 1);
    ad_function *g = ad_function_trace("solved", solved_body, f, 2, type, 1);
    ad_function *d = ad_function_gradient(g, 0, NULL);
    double y = 1, xbar[2], pbar[2] = { 0, 0 };
    void *const out[3] = { &y, xbar, pbar };
    CHECK_STATUS(ad_function_call(d, (const void *[]){ NULL, NULL }, out, NULL),
                 rank ? AD_ERROR_SINGULAR : AD_OK);
    CHECK_STATUS(ad_function_call(g, (const void *[]){ NULL, NULL }, (void *[]){ &y }, NULL), AD_OK);
    CHECK(y == 0 && (rank || isinf(pbar[0])));
    ad_function_free(d);
    ad_function_free(g);
    ad_function_free(f);
  }
}

static void refuse(ad_body *body, const ad_type type[2], int kind, const ad_solver *o, ad_status want) {
  ad_tape *t = ad_tape_new();
  ad_function *f = ad_function_trace("f", body, NULL, 2, type, 1);
  const ad_var in[2] = { ad_array(t, type[0], NULL), ad_array(t, type[1], NULL) };
  ad_var x;
  CHECK_STATUS(kind == ROOT    ? ad_root(f, o, in, &x)
               : kind == FIXED ? ad_fixed_point(f, o, in, &x)
                               : ad_minimize(f, o, in, &x), want);
  CHECK(!ad_is_valid(x) && ad_tape_status(t) == want && ad_tape_message(t)[0]);
  ad_function_free(f);
  ad_tape_free(t);
}

static void test_refused(void) {
  const ad_type integers[2] = { AD_I32(), AD_I32() }, scalars[2] = { AD_F64(), AD_F64() };
  const ad_type grows[2] = { AD_F64(), AD_F64(2) }, vectors[2] = { AD_F64(2), AD_F64(2) };
  refuse(parabola_body, integers, ROOT, NULL, AD_ERROR_DTYPE);
  refuse(parabola_body, grows, ROOT, NULL, AD_ERROR_SHAPE);
  refuse(parabola_body, grows, FIXED, NULL, AD_ERROR_SHAPE);
  refuse(parabola_body, vectors, MINIMUM, NULL, AD_ERROR_SHAPE);
  refuse(parabola_body, scalars, ROOT, &(ad_solver){ .relative = -1 }, AD_ERROR_ARGUMENT);
  refuse(parabola_body, scalars, ROOT, &(ad_solver){ .absolute = NAN }, AD_ERROR_ARGUMENT);
  refuse(parabola_body, scalars, ROOT, &(ad_solver){ .iterations = -1 }, AD_ERROR_ARGUMENT);
  refuse(parabola_body, scalars, FIXED, &(ad_solver){ .mixing = 21 }, AD_ERROR_ARGUMENT);
  ad_var x;
  CHECK_STATUS(ad_root(NULL, NULL, NULL, &x), AD_ERROR_ARGUMENT);
  CHECK(!ad_is_valid(x));
  ad_tape *t = ad_tape_new();
  const ad_var guess = ad_scalar(t, 1);
  CHECK_STATUS(ad_root(NULL, NULL, &guess, &x), AD_ERROR_ARGUMENT);
  CHECK(!ad_is_valid(x) && !strcmp(ad_tape_message(t), "root: no function"));
  ad_tape_free(t);
}

/* --- memory --------------------------------------------------------------------------------------------- */

static void gradient_of_sum(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  ad_var x;
  solve_body(t, in, &x, context);
  ad_grad(total(x), p->n, in, out);
}

/* Everything from the first trace to the gradient's numbers; false when memory failed. */
static bool use(const ad_allocator *a, void *context) {
  problem *p = context;
  double pbar[2];
  static const double guess[2] = { 1, 1 }, q[2] = { 0.5, 2 }, s = 1;
  ad_report report = { AD_OK, "" };
  p->f = ad_function_trace_with(a, p->name, p->body, NULL, p->n, p->type, 1, &report);
  CHECK_THAT(p->f || report.status == AD_ERROR_MEMORY, "%s", report.message);
  ad_function *g = NULL;
  if (p->f) g = ad_function_trace_with(a, "gradient", gradient_of_sum, p, p->n, p->type, p->n, &report);
  CHECK_THAT(g || report.status == AD_ERROR_MEMORY, "%s: %s", p->name, report.message);
  const void *in[3] = { guess, q, &s };
  void *out[3] = { NULL, pbar, NULL };
  const ad_status status = g ? ad_function_call(g, in, out, NULL) : AD_ERROR_MEMORY;
  CHECK_THAT(status == AD_OK || status == AD_ERROR_MEMORY, "%s: %s", p->name, ad_status_sentence(status));
  ad_function_free(g);
  ad_function_free(p->f);
  return status == AD_OK;
}

static void test_memory(void) {
  problem all[3] = {
    { "cubes", ROOT, cubes_body, NULL, TWO(AD_F64(2), AD_F64(2)), NULL },
    { "mean", FIXED, mean_body, NULL, THREE(AD_F64(2), AD_F64(2), AD_F64()), NULL },
    { "entropy", MINIMUM, entropy_body, NULL, TWO(AD_F64(2), AD_F64(2)), NULL },
  };
  for (int i = 0; i < 3; i++)
    CHECK_THAT(failing_calls(use, &all[i], false) > 50, "%s: too few allocations", all[i].name);
}

int main(void) {
  test_closed_forms();
  test_coarse_value();
  test_settings();
  test_captured();
  test_on_a_tape();
  test_guesses();
  test_failures();
  test_saddle();
  test_singular_derivative();
  test_refused();
  test_memory();
  return check_summary();
}
