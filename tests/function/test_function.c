/* test_function.c -- functions: traced, cut, called, applied, and their derivatives as functions, under
 * each other. */
#include "check.h"
#include "heap.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"

#include <stdlib.h>
#include <string.h>

#define IN(...) ((const void *const[]){ __VA_ARGS__ })
#define OUT(...) ((void *const[]){ __VA_ARGS__ })
#define FUNCTION(name) static void name(ad_tape *t, const ad_var in[], ad_var out[], void *context)
#define UNUSED (void)t, (void)in, (void)context

static ad_function *trace(const char *name, ad_body *body, int n_in, const ad_type in[], int n_out) {
  ad_report report;
  ad_function *f = ad_function_trace_report(name, body, NULL, n_in, in, n_out, &report);
  CHECK_THAT(f, "%s: %s", name, report.message);
  CHECK(!f || report.status == AD_OK);
  return f;
}

/* sin(x + y^2)/sqrt(x) */
FUNCTION(textbook) {
  UNUSED;
  out[0] = ad_div(ad_sin(ad_add(in[0], ad_pow(in[1], 2))), ad_sqrt(in[0]));
}
static ad_function *textbook_function(void) {
  return trace("textbook", textbook, 2, (const ad_type[]){ AD_F64(), AD_F64() }, 1);
}

/* (x0^2 + x1^2, x0 x1, sin x0 + cos x1) of a vector: tall. */
FUNCTION(tall) {
  UNUSED;
  const ad_var x = ad_at(in[0], 1, (const int64_t[]){ 0 }), y = ad_at(in[0], 1, (const int64_t[]){ 1 });
  const ad_var parts[] = { ad_add(ad_square(x), ad_square(y)), ad_mul(x, y), ad_add(ad_sin(x), ad_cos(y)) };
  out[0] = ad_stack(3, parts, 0);
}

/* --- questions ------------------------------------------------------------------------------------------ */

static void test_questions(void) {
  ad_function *f = textbook_function();
  CHECK(!strcmp(ad_function_name(f), "textbook"));
  CHECK(ad_function_inputs(f) == 2 && ad_function_outputs(f) == 1);
  CHECK(ad_type_equal(ad_function_input_type(f, 1), AD_F64()) && ad_function_input_type(f, 2).rank == -1);
  CHECK(ad_function_output_type(f, 0).rank == 0 && ad_function_output_type(f, -1).rank == -1);
  CHECK(ad_function_size(f) == 5);
  ad_function *g = ad_function_gradient(f, 0, NULL);
  CHECK(strstr(ad_function_name(g), "textbook") && ad_function_inputs(g) == 2 && ad_function_outputs(g) == 3);
  ad_function_free(g);
  ad_function_free(f);
  CHECK(ad_function_inputs(NULL) == 0 && ad_function_outputs(NULL) == 0
        && ad_function_input_type(NULL, 0).rank == -1);
  CHECK(!strcmp(ad_function_name(NULL), "") && ad_function_size(NULL) == 0);
}

static void test_lifetime(void) {
  ad_function *f = textbook_function();
  double x = 2, y = 1, z = 0;
  CHECK(ad_function_retain(f) == f);
  ad_function_free(f);
  CHECK_STATUS(ad_function_call(f, IN(&x, &y), OUT(&z), NULL), AD_OK);
  CHECK_NUMBER(z, sin(3)/sqrt(2), 1e-15);
  ad_function_free(f);
  ad_function_free(NULL);
  ad_workspace_free(NULL);
  CHECK(ad_function_retain(NULL) == NULL);
}

/* A derived function does not need its parent, nor a cut one its tape. */
static void test_parents_may_go(void) {
  ad_function *f = textbook_function(), *g = ad_function_gradient(f, 0, NULL);
  ad_function_free(f);
  double x = 2, y = 1, z = 0, d[2];
  CHECK_STATUS(ad_function_call(g, IN(&x, &y), OUT(&z, &d[0], &d[1]), NULL), AD_OK);
  CHECK_NUMBER(d[0], -0.724977, 1e-6);
  ad_function_free(g);
  ad_tape *t = ad_tape_new();
  const ad_var a = ad_scalar(t, 2), b = ad_exp(ad_mul(a, 3));
  f = ad_function_new("cut", 1, &a, 1, &b);
  ad_tape_free(t);
  CHECK_STATUS(ad_function_call(f, IN(&y), OUT(&z), NULL), AD_OK);
  CHECK_NUMBER(z, exp(3), 1e-15);
  ad_function_free(f);
}

/* --- derivatives ---------------------------------------------------------------------------------------- */

static void test_textbook(void) {
  ad_function *f = textbook_function(), *jvp = ad_function_jvp(f), *vjp = ad_function_vjp(f),
              *g = ad_function_gradient(f, 0, NULL), *h = ad_function_hessian(f, 0, NULL),
              *hvp = ad_function_hvp(f, 0, NULL), *j = ad_function_jacobian(f, 0, NULL);
  const double x = 2, y = 1, one = 1, zero = 0, s = sin(3), c = cos(3), r = sqrt(2);
  const double fx = c/r - s/(4*r), fy = 2*c/r;
  const double fxx = -s/r - c/(2*r) + 3*s/(16*r), fxy = -2*s/r - c/(2*r), fyy = (2*c - 4*s)/r;
  double z, d[2], hz[4], hv[2];
  CHECK_STATUS(ad_function_call(jvp, IN(&x, &y, &one, &zero), OUT(&z, &d[0]), NULL), AD_OK);
  CHECK_NUMBER(z, s/r, 1e-15);
  CHECK_NUMBER(d[0], fx, 1e-15);
  CHECK_STATUS(ad_function_call(vjp, IN(&x, &y, &one), OUT(NULL, &d[0], &d[1]), NULL), AD_OK);
  CHECK_NUMBER(d[0], fx, 1e-15);
  CHECK_NUMBER(d[1], fy, 1e-15);
  CHECK_STATUS(ad_function_call(g, IN(&x, &y), OUT(&z, &d[0], &d[1]), NULL), AD_OK);
  CHECK_NUMBER(d[0], fx, 1e-15);
  CHECK_STATUS(ad_function_call(j, IN(&x, &y), OUT(&d[0], &d[1]), NULL), AD_OK);
  CHECK_NUMBER(d[1], fy, 1e-15);
  CHECK_STATUS(ad_function_call(h, IN(&x, &y), OUT(&hz[0], &hz[1], &hz[2], &hz[3]), NULL), AD_OK);
  CHECK_NUMBER(hz[0], fxx, 1e-14);
  CHECK_NUMBER(hz[1], fxy, 1e-14);
  CHECK_NUMBER(hz[2], fxy, 1e-14);
  CHECK_NUMBER(hz[3], fyy, 1e-14);
  CHECK_STATUS(ad_function_call(hvp, IN(&x, &y, &x, &y), OUT(&z, &d[0], &d[1], &hv[0], &hv[1]), NULL), AD_OK);
  CHECK_NUMBER(hv[0], fxx*2 + fxy, 1e-14);
  CHECK_NUMBER(hv[1], fxy*2 + fyy, 1e-14);
  ad_function *const all[] = { f, jvp, vjp, g, h, hvp, j };
  for (int i = 0; i < 7; i++) ad_function_free(all[i]);
}

/* Third derivatives in every mix of transformations: each takes one more derivative by x. */
static ad_function *derive_by(ad_function *f, int how) {
  if (how == 0) return ad_function_gradient(f, 1, (const int[]){ 0 });
  return how == 1 ? ad_function_jacobian(f, 1, (const int[]){ 0 })
       : how == 2 ? ad_function_jvp(f)
                  : ad_function_vjp(f);
}
/* f by x alone, so that every transformation applies again. */
typedef struct layer { ad_function *f; int how; } layer;
FUNCTION(derived_output) {
  UNUSED;
  const layer *l = context;
  ad_function *d = derive_by(l->f, l->how);
  const ad_var one = ad_ones(t, AD_F64()), with_seed[2] = { in[0], one };
  ad_var results[2] = { ad_none(), ad_none() };
  ad_function_apply(d, with_seed, results);
  out[0] = l->how == 1 ? results[0] : results[1];
  ad_function_free(d);
}
FUNCTION(exp_sin) { UNUSED; out[0] = ad_exp(ad_sin(in[0])); }

static void test_closure(void) {
  const ad_type type = AD_F64();
  const double x = 0.7, s = sin(x), c = cos(x), want = exp(s)*c*(c*c - 3*s - 1);
  for (int mix = 0; mix < 64; mix++) {
    ad_function *f = trace("exp_sin", exp_sin, 1, &type, 1);
    for (int order = 0, rest = mix; order < 3; order++, rest /= 4) {
      layer l = { f, rest%4 };
      ad_function *d = ad_function_trace("d", derived_output, &l, 1, &type, 1);
      CHECK(d);
      ad_function_free(f);
      f = d;
    }
    double z = 0;
    CHECK_STATUS(ad_function_call(f, IN(&x), OUT(&z), NULL), AD_OK);
    CHECK_THAT(check_near(z, want, 1e-14), "mix %d: %.17g, not %.17g", mix, z, want);
    ad_function_free(f);
  }
}

/* --- Jacobians ------------------------------------------------------------------------------------------ */

static void test_tall_jacobian(void) {
  const ad_type type = AD_F64(2);
  ad_function *f = trace("tall", tall, 1, &type, 1), *j = ad_function_jacobian(f, 0, NULL);
  const double x[2] = { 2, 3 }, want[6] = { 4, 6, 3, 2, cos(2), -sin(3) };
  double z[6] = { 0 };
  CHECK(ad_type_equal(ad_function_output_type(j, 0), AD_F64(3, 2)));
  CHECK_STATUS(ad_function_call(j, IN(x), OUT(z), NULL), AD_OK);
  for (int i = 0; i < 6; i++) CHECK_NUMBER(z[i], want[i], 1e-15);
  ad_function_free(f);
  ad_function_free(j);
}

/* (2) <- (2, 2), (): a matrix times a fixed vector, plus a number; wide. */
FUNCTION(wide) {
  UNUSED;
  const ad_var v = ad_constant(t, AD_F64(2), (const double[]){ 10, 20 });
  out[0] = ad_add(ad_matmul(in[0], v), ad_square(in[1]));
}
static void test_wide_jacobian(void) {
  const ad_type types[] = { AD_F64(2, 2), AD_F64() };
  ad_function *f = trace("wide", wide, 2, types, 1), *j = ad_function_jacobian(f, 0, NULL),
              *j1 = ad_function_jacobian(f, 1, (const int[]){ 1 });
  const double a[4] = { 1, 2, 3, 4 }, b = 5;
  double da[8], db[2], only[2];
  CHECK(ad_type_equal(ad_function_output_type(j, 0), AD_F64(2, 2, 2))
        && ad_type_equal(ad_function_output_type(j, 1), AD_F64(2)));
  CHECK_STATUS(ad_function_call(j, IN(a, &b), OUT(da, db), NULL), AD_OK);
  const double want[8] = { 10, 20, 0, 0, 0, 0, 10, 20 };
  for (int i = 0; i < 8; i++) CHECK_NUMBER(da[i], want[i], 0);
  CHECK(db[0] == 10 && db[1] == 10);
  CHECK_STATUS(ad_function_call(j1, IN(a, &b), OUT(only), NULL), AD_OK);
  CHECK(ad_function_outputs(j1) == 1 && only[0] == 10 && only[1] == 10);
  ad_function_free(f);
  ad_function_free(j);
  ad_function_free(j1);
}

/* Several outputs and inputs of several types; the integer input has no derivative. */
FUNCTION(mixed) {
  UNUSED;
  out[0] = ad_mul(in[0], in[1]);
  out[1] = ad_mul(ad_cast(in[2], AD_F64), ad_sum(in[1], AD_ALL_AXES, false));
}
static void test_mixed_types(void) {
  const ad_type types[] = { AD_F32(), AD_F64(2), AD_I64() };
  ad_function *f = trace("mixed", mixed, 3, types, 2), *j = ad_function_jacobian(f, 0, NULL),
              *v = ad_function_vjp(f), *d = ad_function_jvp(f);
  const float a = 3;
  const double b[2] = { 5, 7 }, one[2] = { 1, 1 };
  const int64_t n = 11;
  double j01[4], j10[1] = { 9 }, j11[2], y[2], y1, bbar[2], ydot[2], y1dot;
  float j00[2], abar;
  int64_t nbar = 99;
  CHECK(ad_function_outputs(j) == 4);
  CHECK(ad_function_output_type(j, 0).dtype == AD_F64 || ad_function_output_type(j, 0).dtype == AD_F32);
  double wide00[2];
  const bool narrow = ad_function_output_type(j, 0).dtype == AD_F32;
  CHECK_STATUS(ad_function_call(j, IN(&a, b, &n), OUT(narrow ? (void *)j00 : wide00, j01, j10, j11), NULL),
               AD_OK);
  CHECK(narrow ? j00[0] == 5 && j00[1] == 7 : wide00[0] == 5 && wide00[1] == 7);
  CHECK(j01[0] == 3 && j01[1] == 0 && j01[2] == 0 && j01[3] == 3);
  CHECK(j11[0] == 11 && j11[1] == 11);
  CHECK(ad_function_inputs(v) == 5 && ad_function_outputs(v) == 5);
  CHECK_STATUS(ad_function_call(v, IN(&a, b, &n, one, one), OUT(y, &y1, &abar, bbar, &nbar), NULL), AD_OK);
  CHECK(y[1] == 21 && y1 == 132 && abar == 12 && bbar[0] == 14 && bbar[1] == 14 && nbar == 0);
  CHECK_STATUS(ad_function_call(d, IN(&a, b, &n, NULL, one, NULL), OUT(y, &y1, ydot, &y1dot), NULL), AD_OK);
  CHECK(ydot[0] == 3 && ydot[1] == 3 && y1dot == 22);
  CHECK(!ad_function_gradient(f, 0, NULL) && !ad_function_hessian(f, 0, NULL));
  CHECK(!ad_function_jacobian(f, 1, (const int[]){ 2 }) && !ad_function_jacobian(f, 1, (const int[]){ 3 }));
  ad_function *const all[] = { f, j, v, d };
  for (int i = 0; i < 4; i++) ad_function_free(all[i]);
}

FUNCTION(quadratic) { UNUSED; out[0] = ad_mul(0.5, ad_dot(in[0], ad_matmul(in[1], in[0]))); }
static void test_hessian_of_arrays(void) {
  const ad_type types[] = { AD_F64(3), AD_F64(3, 3) };
  ad_function *f = trace("quadratic", quadratic, 2, types, 1),
              *h = ad_function_hessian(f, 1, (const int[]){ 0 }), *all = ad_function_hessian(f, 0, NULL),
              *hvp = ad_function_hvp(f, 1, (const int[]){ 0 });
  const double x[3] = { 1, 2, 3 }, a[9] = { 2, 1, 0, 1, 3, 1, 0, 1, 4 }, v[3] = { 1, -1, 2 };
  double z[9], cross[27], value, g[3], hv[3];
  CHECK_STATUS(ad_function_call(h, IN(x, a), OUT(z), NULL), AD_OK);
  for (int i = 0; i < 9; i++) CHECK_NUMBER(z[i], a[i], 1e-15);
  CHECK(ad_type_equal(ad_function_output_type(all, 1), AD_F64(3, 3, 3))
        && ad_type_equal(ad_function_output_type(all, 3), AD_F64(3, 3, 3, 3)));
  CHECK_STATUS(ad_function_call(all, IN(x, a), OUT(NULL, cross, NULL, NULL), NULL), AD_OK);
  for (int i = 0; i < 3; i++)
    for (int p = 0; p < 3; p++)
      for (int q = 0; q < 3; q++)      /* d/dx_i of x_p x_q/2 */
        CHECK_NUMBER(cross[9*i + 3*p + q], 0.5*((i == p)*x[q] + (i == q)*x[p]), 1e-15);
  CHECK_STATUS(ad_function_call(hvp, IN(x, a, v), OUT(&value, g, hv), NULL), AD_OK);
  CHECK_NUMBER(value, 0.5*(2 + 12 + 36 + 2*2 + 2*6), 1e-15);
  CHECK(hv[0] == 1 && hv[1] == 0 && hv[2] == 7);
  ad_function *const drop[] = { f, h, all, hvp };
  for (int i = 0; i < 4; i++) ad_function_free(drop[i]);
}

/* f: x -> y over empty arrays, and functions without inputs. */
FUNCTION(sum_of_squares) { UNUSED; out[0] = ad_sum(ad_square(in[0]), AD_ALL_AXES, false); }
FUNCTION(constant) { UNUSED; out[0] = ad_full(t, AD_F64(2), 3); out[1] = AD_VAR(2.5); out[2] = AD_VAR(7); }
static void test_degenerate(void) {
  const ad_type empty = AD_F64(0);
  ad_function *f = trace("empty", sum_of_squares, 1, &empty, 1), *g = ad_function_gradient(f, 0, NULL),
              *h = ad_function_hessian(f, 0, NULL);
  double z = 9, none = 0;
  CHECK_STATUS(ad_function_call(g, IN(&none), OUT(&z, &none), NULL), AD_OK);
  CHECK(z == 0 && ad_type_equal(ad_function_output_type(g, 1), AD_F64(0)));
  CHECK(ad_type_equal(ad_function_output_type(h, 0), AD_F64(0, 0)));
  CHECK_STATUS(ad_function_call(h, IN(&none), OUT(&none), NULL), AD_OK);
  ad_function *c = trace("constant", constant, 0, NULL, 3);
  double v[2] = { 0 }, real = 0;
  int64_t whole = 0;
  CHECK_STATUS(ad_function_call(c, NULL, OUT(v, &real, &whole), NULL), AD_OK);
  CHECK(v[0] == 3 && v[1] == 3 && real == 2.5 && whole == 7);
  ad_function *const drop[] = { f, g, h, c };
  for (int i = 0; i < 4; i++) ad_function_free(drop[i]);
}

/* --- calls ---------------------------------------------------------------------------------------------- */

FUNCTION(two_of_two) {
  UNUSED;
  out[0] = ad_add(ad_mul(in[0], 2), in[1]);
  out[1] = ad_sub(in[0], ad_exp(in[1]));
}
static void test_null_inputs_and_outputs(ad_type type) {
  const ad_type types[] = { type, type };
  ad_function *f = trace("two", two_of_two, 2, types, 2);
  const double x[3] = { 3, 4, 5 };
  double y[3] = { 0 }, z[3] = { 7, 7, 7 };
  CHECK_STATUS(ad_function_call(f, IN(x, NULL), OUT(y, z), NULL), AD_OK);
  CHECK(y[0] == 6 && z[0] == 2);
  CHECK_STATUS(ad_function_call(f, IN(NULL, x), OUT(y, NULL), NULL), AD_OK);
  CHECK(y[0] == 3 && z[0] == 2);
  CHECK_STATUS(ad_function_call(f, IN(NULL, NULL), OUT(NULL, NULL), NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, NULL, OUT(y, z), NULL), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_call(f, IN(x, x), NULL, NULL), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_call(NULL, IN(x, x), OUT(y, z), NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
}

/* Outputs over inputs, straight and crossed, as optimisers update their parameters. */
static void test_aliasing(ad_type type) {
  const ad_type types[] = { type, type };
  const int64_t n = ad_type_count(type);
  ad_function *f = trace("two", two_of_two, 2, types, 2);
  ad_workspace *w = ad_workspace_new();
  double *x = malloc((size_t)n*sizeof *x), *y = malloc((size_t)n*sizeof *y);
  for (int crossed = 0; crossed < 2; crossed++) {
    bool right = true;
    for (int64_t i = 0; i < n; i++) x[i] = (double)i/(double)n, y[i] = 1 - x[i];
    CHECK_STATUS(ad_function_call(f, IN(x, y), crossed ? OUT(y, x) : OUT(x, y), w), AD_OK);
    for (int64_t i = 0; i < n; i++) {
      const double a = (double)i/(double)n, b = 1 - a, first = 2*a + b, second = a - exp(b);
      right &=
          check_near(crossed ? y[i] : x[i], first, 1e-14) && check_near(crossed ? x[i] : y[i], second, 1e-14);
    }
    CHECK(right);
  }
  free(x);
  free(y);
  ad_workspace_free(w);
  ad_function_free(f);
}

/* Outputs that are inputs, the same variable twice, constants, reshapes of inputs. */
FUNCTION(names) {
  UNUSED;
  const int64_t all = -1;
  out[0] = in[0];
  out[1] = in[0];
  out[2] = ad_reshape(in[0], 1, &all);
  out[3] = ad_mul(in[0], 2);
  out[4] = ad_reshape(out[3], 1, &all);
  out[5] = ad_constant(t, AD_F64(2), (const double[]){ 8, 9 });
  out[6] = ad_stop_gradient(in[0]);
}
static void test_many_names_of_a_value(void) {
  const ad_type type = AD_F64(1, 2);
  ad_function *f = trace("names", names, 1, &type, 7);
  double x[2] = { 3, 4 }, y[7][2];
  CHECK_STATUS(ad_function_call(f, IN(x), OUT(y[0], y[1], y[2], y[3], y[4], y[5], y[6]), NULL), AD_OK);
  const double want[7] = { 4, 4, 4, 8, 8, 9, 4 };
  for (int j = 0; j < 7; j++) CHECK_NUMBER(y[j][1], want[j], 0);
  CHECK_STATUS(ad_function_call(f, IN(x), OUT(NULL, y[1], x, y[3], y[4], NULL, NULL), NULL), AD_OK);
  CHECK(x[0] == 3 && x[1] == 4 && y[3][0] == 6 && y[4][0] == 6);
  ad_function *j = ad_function_jacobian(f, 0, NULL);
  CHECK(j && ad_type_equal(ad_function_output_type(j, 2), AD_F64(2, 1, 2)));
  double d[4];
  CHECK_STATUS(ad_function_call(j, IN(x), OUT(NULL, NULL, NULL, NULL, d, NULL, NULL), NULL), AD_OK);
  CHECK(d[0] == 2 && d[1] == 0 && d[2] == 0 && d[3] == 2);
  CHECK_STATUS(ad_function_call(j, IN(x), OUT(NULL, NULL, NULL, NULL, NULL, d, NULL), NULL), AD_OK);
  CHECK(d[0] == 0 && d[3] == 0);
  ad_function_free(f);
  ad_function_free(j);
}

static void test_lanes(void) {
  enum { N = 1000 };
  static double x[N], y[N], z[N], dx[N], dy[N];
  ad_function *f = textbook_function(), *g = ad_function_gradient(f, 0, NULL);
  for (int i = 0; i < N; i++) x[i] = 1 + 0.01*i, y[i] = -2 + 0.003*i;
  CHECK_STATUS(ad_function_call_lanes(g, N, IN(x, y), OUT(z, dx, dy), NULL), AD_OK);
  bool right = true;
  for (int i = 0; i < N; i++) {
    const double s = sin(x[i] + y[i]*y[i]), c = cos(x[i] + y[i]*y[i]), r = sqrt(x[i]);
    right &= check_near(z[i], s / r, 1e-14) && check_near(dx[i], c / r - s / (2 * r * x[i]), 1e-13)
          && check_near(dy[i], 2 * y[i] * c / r, 1e-13);
  }
  CHECK(right);
  CHECK_STATUS(ad_function_call_lanes(g, N, IN(x, NULL), OUT(NULL, NULL, dy), NULL), AD_OK);
  CHECK(dy[17] == 0);
  CHECK_STATUS(ad_function_call_lanes(g, 0, IN(x, y), OUT(z, dx, dy), NULL), AD_OK);
  CHECK_STATUS(ad_function_call_lanes(g, SIZE_MAX/2, IN(x, y), OUT(z, dx, dy), NULL), AD_ERROR_SIZE);
  ad_function *v = trace("vector", sum_of_squares, 1, (const ad_type[]){ AD_F64(3) }, 1);
  CHECK_STATUS(ad_function_call_lanes(v, 1, IN(x), OUT(z), NULL), AD_ERROR_ARGUMENT);
  ad_function_free(v);
  ad_function_free(f);
  ad_function_free(g);
}

/* --- cutting and applying ------------------------------------------------------------------------------- */

/* Inputs of the tape that are not among in[] become constants of the value they have then; inner variables
 * may be inputs. */
static void test_captured_constants(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), a = ad_scalar(t, 10),
               v = ad_array(t, AD_F64(2), (const double[]){ 1, 2 });
  const ad_var u = ad_square(x), y = ad_mul(ad_add(u, a), v);
  ad_function *f = ad_function_new("f", 1, &x, 1, &y), *g = ad_function_new("g", 1, &u, 1, &y);
  CHECK(f && g);
  ad_set_value(a, 1000);
  double in = 3, out[2];
  CHECK_STATUS(ad_function_call(f, IN(&in), OUT(out), NULL), AD_OK);
  CHECK(out[0] == 19 && out[1] == 38);
  CHECK_STATUS(ad_function_call(g, IN(&in), OUT(out), NULL), AD_OK);
  CHECK(out[0] == 13 && out[1] == 26);
  ad_function *late = ad_function_new("late", 1, &x, 1, &y);
  CHECK_STATUS(ad_function_call(late, IN(&in), OUT(out), NULL), AD_OK);
  CHECK(out[0] == 1009);
  CHECK(!ad_function_new("bad", 1, (const ad_var[]){ AD_VAR(1.0) }, 1, &y));
  CHECK(ad_tape_status(t) == AD_ERROR_ARGUMENT);
  ad_tape_clear(t);
  const ad_var lost = ad_log(ad_none());
  CHECK(!ad_function_new("bad", 1, &x, 1, &lost));
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(late);
  ad_tape_free(t);
}

static void test_apply(void) {
  ad_function *f = textbook_function();
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), y = ad_scalar(t, 1);
  ad_var z, g[2];
  CHECK_STATUS(ad_function_apply(f, (const ad_var[]){ x, y }, &z), AD_OK);
  CHECK_NUMBER(ad_value(z), 0.0997869, 1e-6);
  CHECK_STATUS(ad_grad(z, 2, (const ad_var[]){ x, y }, g), AD_OK);
  CHECK_NUMBER(ad_value(g[0]), -0.724977, 1e-6);
  CHECK_STATUS(ad_backward(z), AD_OK);
  CHECK_NUMBER(ad_adjoint(y), ad_value(g[1]), 1e-15);
  CHECK_STATUS(ad_function_apply(f, (const ad_var[]){ x, AD_VAR(1) }, &z), AD_OK);
  CHECK_NUMBER(ad_value(z), 0.0997869, 1e-6);
  const ad_var v = ad_array(t, AD_F64(2), NULL);
  CHECK_STATUS(ad_function_apply(f, (const ad_var[]){ x, v }, &z), AD_ERROR_SHAPE);
  CHECK(!ad_is_valid(z) && strstr(ad_tape_message(t), "textbook") && strstr(ad_tape_message(t), "f64(2)"));
  ad_tape_clear(t);
  CHECK_STATUS(ad_function_apply(f, (const ad_var[]){ x, ad_array(t, AD_F32(), NULL) }, &z), AD_ERROR_DTYPE);
  ad_tape_clear(t);
  ad_tape *other = ad_tape_new();
  CHECK_STATUS(ad_function_apply(f, (const ad_var[]){ x, ad_scalar(other, 1) }, &z), AD_ERROR_TAPES);
  CHECK_STATUS(ad_function_apply(NULL, NULL, NULL), AD_ERROR_ARGUMENT);
  ad_tape_free(other);
  ad_tape_free(t);
  ad_function_free(f);
}

/* --- errors --------------------------------------------------------------------------------------------- */

FUNCTION(uses_outer) { UNUSED; out[0] = ad_mul(in[0], *(const ad_var *)context); }
FUNCTION(sets_nothing) { UNUSED; (void)out; }
FUNCTION(fails) { UNUSED; out[0] = ad_add(in[0], ad_zeros(t, AD_F64(5))); }
FUNCTION(returns_outer) { UNUSED; out[0] = *(const ad_var *)context; }

static void expect_failure(const char *name, ad_body *body, void *context, ad_status want, const char *word) {
  const ad_type type = AD_F64(2);
  ad_report report;
  ad_function *f = ad_function_trace_report(name, body, context, 1, &type, 1, &report);
  CHECK_THAT(!f, "%s made a function", name);
  CHECK_THAT(report.status == want && strstr(report.message, word), "%s: \"%s\": %s", name,
             ad_status_sentence(report.status), report.message);
  ad_function_free(f);
}

static void test_trace_errors(void) {
  ad_tape *outer = ad_tape_new();
  ad_var x = ad_scalar(outer, 3);
  expect_failure("uses_outer", uses_outer, &x, AD_ERROR_TAPES, "outer");
  expect_failure("returns_outer", returns_outer, &x, AD_ERROR_TAPES, "output 0");
  expect_failure("sets_nothing", sets_nothing, NULL, AD_ERROR_ARGUMENT, "output 0");
  expect_failure("fails", fails, NULL, AD_ERROR_SHAPE, "f64(5)");
  CHECK(!ad_function_trace("no body", NULL, NULL, 0, NULL, 0));
  const ad_type bad = AD_F64(-1);
  CHECK(!ad_function_trace("bad type", sum_of_squares, NULL, 1, &bad, 1));
  CHECK(ad_tape_status(outer) == AD_OK || ad_tape_status(outer) == AD_ERROR_TAPES);
  CHECK(!ad_function_jvp(NULL) && !ad_function_vjp(NULL) && !ad_function_gradient(NULL, 0, NULL)
        && !ad_function_jacobian(NULL, 0, NULL) && !ad_function_hessian(NULL, 0, NULL)
        && !ad_function_hvp(NULL, 0, NULL));
  ad_tape_free(outer);
}

/* --- prepared calls ------------------------------------------------------------------------------------- */

FUNCTION(sum_and_sines) {
  UNUSED;
  out[0] = ad_sum(in[0], AD_ALL_AXES, false);
  out[1] = ad_sin(ad_cumsum(in[0], 0));
}

static ad_function *prepared_function(heap *h, const ad_allocator *a) {
  const ad_type type = AD_F64(40);
  *h = (heap){ 0 };
  return ad_function_trace_with(a, "prepared", sum_and_sines, NULL, 1, &type, 2, NULL);
}

/* What was prepared is called without an allocation, the first time too; other outputs are not. */
static void test_prepare(void) {
  heap h;
  const ad_allocator a = heap_allocator(&h);
  double x[40], sum = 0, sines[40];
  for (int i = 0; i < 40; i++) x[i] = 1;
  for (int some = 0; some < 2; some++) {
    ad_function *f = prepared_function(&h, &a);
    CHECK_STATUS(ad_function_prepare(f, some ? (const bool[]){ false, true } : NULL, NULL), AD_OK);
    const long calls = h.calls;
    CHECK_STATUS(ad_function_call(f, IN(x), (void *[]){ some ? NULL : &sum, sines }, NULL), AD_OK);
    CHECK_THAT(h.calls == calls, "%ld allocations", h.calls - calls);
    for (int i = 0; i < 40; i++) CHECK_NUMBER(sines[i], sin(i + 1), 1e-15);
    CHECK_STATUS(ad_function_call(f, IN(x), (void *[]){ &sum, some ? (void *)sines : NULL }, NULL), AD_OK);
    CHECK(h.calls > calls && sum == 40);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
  }
}

/* With the k-th allocation failing the status says so, and the function is as good as before. */
static void test_prepare_failing(void) {
  heap h;
  const ad_allocator a = heap_allocator(&h);
  ad_function *f = prepared_function(&h, &a);
  bool done = false;
  double x[40] = { 0 }, sum = 1, sines[40];
  for (long k = 1; !done && k < 1000; k++) {
    heap_fail(&h, k, false);
    const ad_status status = ad_function_prepare(f, NULL, NULL);
    done = heap_has_served(&h);
    CHECK(status == (done ? AD_OK : AD_ERROR_MEMORY));
  }
  heap_fail(&h, 0, false);
  CHECK(done);
  CHECK_STATUS(ad_function_call(f, IN(x), OUT(&sum, sines), NULL), AD_OK);
  CHECK(sum == 0);
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
}

static void test_prepare_refused(void) {
  const ad_type type = AD_F64(40);
  double x[40] = { 0 }, sum = 1;
  ad_workspace *w = ad_workspace_new();
  CHECK_STATUS(ad_function_prepare(NULL, NULL, w), AD_ERROR_ARGUMENT);
  CHECK(strstr(ad_workspace_message(w), "no function"));
  CHECK_STATUS(ad_function_prepare(NULL, NULL, NULL), AD_ERROR_ARGUMENT);
  ad_function *f = trace("sum and sines", sum_and_sines, 1, &type, 2);
  CHECK_STATUS(ad_function_prepare(f, (const bool[]){ true, false }, w), AD_OK);
  CHECK(!*ad_workspace_message(w));
  CHECK_STATUS(ad_function_call(f, IN(x), (void *[]){ &sum, NULL }, w), AD_OK);
  CHECK(sum == 0);
  ad_function_free(f);
  ad_workspace_free(w);
}

/* A failure of a kernel reaches the caller, and the workspace is good for the next call. */
FUNCTION(takes) { UNUSED; out[0] = ad_take(in[0], in[1], 0); }
static void test_run_time_error(void) {
  const ad_type types[] = { AD_F64(3), AD_I64() };
  ad_function *f = trace("takes", takes, 2, types, 1);
  const double x[3] = { 5, 6, 7 };
  int64_t i = 3;
  double z = 0;
  CHECK_STATUS(ad_function_call(f, IN(x, &i), OUT(&z), NULL), AD_ERROR_ARGUMENT);
  i = -1;
  CHECK_STATUS(ad_function_call(f, IN(x, &i), OUT(&z), NULL), AD_OK);
  CHECK(z == 7);
  ad_function_free(f);
}

/* --- the check for users -------------------------------------------------------------------------------- */

static void cube_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i]*x[i]*x[i];
}
static const ad_primitive cube = {
  .name = "cube", .doc = "x^3", .arity = 1, .block = cube_block, .rule = { "3*g*x*x" }
};
static const ad_primitive wrong_cube = {
  .name = "wrong", .doc = "x^3", .arity = 1, .block = cube_block, .rule = { "2*g*x*x" }
};
static ad_status same_type(ad_operation *op) { op->z = *op->x[0]; return AD_OK; }
static ad_status halve(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  for (int64_t i = 0; i < ad_type_count(op->z); i++) ((double *)z)[i] = 0.5*((const double *)x[0])[i];
  return AD_OK;
}
static ad_var wrong_transpose(ad_rule *r, int k) {
  (void)k;
  return ad_mul(r->g, 0.25);
}
static const ad_primitive lopsided = { .name = "lopsided",
                                       .doc = "x/2 whose vjp is not its transpose",
                                       .traits = AD_TRAIT_LINEAR,
                                       .type = same_type,
                                       .run = halve,
                                       .vjp = wrong_transpose };
FUNCTION(own) { UNUSED; out[0] = ad_sin(ad_record(t, context, 1, in, NULL, 0)); }

static void check_own(const ad_primitive *p, bool forward, bool both) {
  const ad_type type = AD_F64(4);
  const double x[4] = { 0.5, -0.3, 0.8, 0.1 };
  ad_check_result result;
  ad_function *f = ad_function_trace(p->name, own, (void *)(uintptr_t)p, 1, &type, 1);
  CHECK_STATUS(ad_check(f, IN(x), &result), AD_OK);
  CHECK_THAT((result.error < 1e-9) == forward, "%s: error %g (%g, %g)", p->name, result.error,
             result.derivative, result.difference);
  CHECK_THAT((result.transpose_error < 1e-12) == both, "%s: transpose error %g", p->name,
             result.transpose_error);
  CHECK(result.output == 0 && result.element >= 0 && result.element < 4);
  ad_function_free(f);
}

static void test_check(void) {
  ad_check_result result;
  const double x = 2, y = 1;
  ad_function *f = textbook_function();
  CHECK_STATUS(ad_check(f, IN(&x, &y), &result), AD_OK);
  CHECK(result.error < 1e-10 && result.transpose_error < 1e-14);
  CHECK_STATUS(ad_check(NULL, NULL, &result), AD_ERROR_ARGUMENT);
  ad_function_free(f);
  check_own(&cube, true, true);
  check_own(&wrong_cube, false, true);
  check_own(&lopsided, true, false);
}

/* --- optimisation --------------------------------------------------------------------------------------- */

/* All minors of a determinant: equal subexpressions are one, so n! terms are about 2^n n operations. */
static ad_var minor(const ad_var in[], int n, unsigned columns, int row) {
  ad_var sum = ad_real(0);
  int sign = 1;
  for (int c = 0; c < n; c++) {
    if (!(columns >> c & 1)) continue;
    const ad_var rest = row + 1 < n ? minor(in, n, columns & ~(1u << c), row + 1) : ad_real(1),
                 term = ad_mul(in[n * row + c], rest);
    sum = sign > 0 ? ad_add(sum, term) : ad_sub(sum, term);
    sign = -sign;
  }
  return sum;
}
FUNCTION(determinant) { UNUSED; out[0] = minor(in, 6, 63, 0); }
static void test_common_subexpressions(void) {
  ad_type types[36];
  double a[36], z = 0;
  const void *in[36];
  for (int i = 0; i < 36; i++) types[i] = AD_F64(), a[i] = i%7 == 0 ? 2 : (i/6 == i%6 + 1), in[i] = &a[i];
  ad_function *f = trace("determinant", determinant, 36, types, 1);
  CHECK_THAT(ad_function_size(f) < 6*64*2, "%zu operations", ad_function_size(f));
  CHECK_STATUS(ad_function_call(f, in, OUT(&z), NULL), AD_OK);
  CHECK_NUMBER(z, 64.0, 0);
  ad_function_free(f);
}

int main(void) {
  test_questions();
  test_lifetime();
  test_parents_may_go();
  test_textbook();
  test_closure();
  test_tall_jacobian();
  test_wide_jacobian();
  test_mixed_types();
  test_hessian_of_arrays();
  test_degenerate();
  test_null_inputs_and_outputs(AD_F64());
  test_null_inputs_and_outputs(AD_F64(3));
  test_aliasing(AD_F64());
  test_aliasing(AD_F64(3));
  test_aliasing(AD_F64(513));
  test_aliasing(AD_F64(40000));
  test_many_names_of_a_value();
  test_lanes();
  test_captured_constants();
  test_apply();
  test_trace_errors();
  test_prepare();
  test_prepare_failing();
  test_prepare_refused();
  test_run_time_error();
  test_check();
  test_common_subexpressions();
  return check_summary();
}
