/* test_lbfgs.c -- L-BFGS on functions whose minima are known, its Wolfe conditions, and what it refuses. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/optimisers.h"
#include "learn/line_search.h"

#include <math.h>

/* --- functions ------------------------------------------------------------------------------------------ */

/* sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2: the minimum is 0 at ones. */
static void rosenbrock(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t n = ad_type_of(in[0]).dim[0];
  const ad_var x = ad_slice(in[0], 0, 0, n - 1, 1), next = ad_slice(in[0], 0, 1, n - 1, 1);
  (void)t, (void)context;
  out[0] = ad_sum(ad_add(ad_mul(100, ad_square(ad_sub(next, ad_square(x)))), ad_square(ad_sub(1, x))),
                  AD_ALL_AXES,
                  false);
}

/* (x, y, b): sum a x^2/2 - b x with a = 1..n, and |y - 3|^2: the minimum is at b/a and 3. */
static void quadratic(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t n = ad_type_of(in[0]).dim[0];
  const ad_var a = ad_arange(t, 1, (double)n + 1, 1, ad_type_of(in[0]).dtype);
  (void)context;
  const ad_var first = ad_sub(ad_mul(0.5, ad_mul(a, ad_square(in[0]))), ad_mul(in[2], in[0]));
  out[0] = ad_add(ad_sum(first, AD_ALL_AXES, false), ad_sum(ad_square(ad_sub(in[1], 3)), AD_ALL_AXES, false));
}

/* x - log x: not finite for x <= 0, the minimum at 1. */
static void walled(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(ad_sub(in[0], ad_log(in[0])), AD_ALL_AXES, false);
}

static void unbounded(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(ad_neg(in[0]), AD_ALL_AXES, false);
}

static ad_function *gradient_of(ad_body *body, int n_in, const ad_type in[], int n_x) {
  const int wrt[2] = { 0, 1 };
  ad_function *f = ad_function_trace("f", body, NULL, n_in, in, 1), *g = ad_function_gradient(f, n_x, wrt);
  ad_function_free(f);
  return g;
}

/* --- convergence ---------------------------------------------------------------------------------------- */

static void test_rosenbrock(int n, int memory, ad_dtype dtype, double tolerance) {
  const int64_t dim = n;
  const ad_type type = ad_type_make(dtype, 1, &dim);
  double room[100], history[2000];
  void *x[1] = { room };
  for (int i = 0; i < n; i++) check_set_element(dtype, room, i, i%2 ? 1 : -1.2);
  ad_function *f = gradient_of(rosenbrock, 1, &type, 1);
  const ad_lbfgs_options how = { .memory = memory, .history = history, .room = 2000,
                                 .gradient = dtype == AD_F32 ? 1e-3 : 1e-9 };
  ad_lbfgs_result found;
  CHECK_STATUS(ad_lbfgs(f, 1, x, NULL, &how, &found), AD_OK);
  CHECK_THAT(found.last.gradient <= how.gradient, "%s", found.message);
  for (int i = 0; i < n; i++) CHECK_NUMBER(check_element(dtype, room, i), 1, tolerance);
  CHECK(found.recorded == found.last.iteration + 1 && history[found.recorded - 1] == found.last.value);
  for (int64_t k = 1; k < found.recorded; k++) CHECK(history[k] <= history[k - 1]*(1 + 1e-6));
  if (n == 2) CHECK_THAT(found.last.iteration < 60 && found.last.evaluations < 80, "%s", found.message);
  ad_function_free(f);
}

static void test_quadratic(void) {
  const ad_type in[3] = { AD_F64(50), AD_F32(2, 2), AD_F64(50) };
  double x[50] = { 0 }, b[50];
  float y[4] = { 0 };
  for (int i = 0; i < 50; i++) b[i] = i - 20;
  ad_function *f = gradient_of(quadratic, 3, in, 2);
  ad_lbfgs_result found;
  CHECK_STATUS(ad_lbfgs(f, 2, (void *[]){ x, y }, (const void *[]){ b }, NULL, &found), AD_OK);
  for (int i = 0; i < 50; i++) CHECK_NUMBER(x[i], b[i]/(i + 1), 1e-4);
  for (int i = 0; i < 4; i++) CHECK_NUMBER((double)y[i], 3, 1e-4);
  ad_function_free(f);
}

static void test_walled(void) {
  const ad_type type = AD_F64(3);
  double x[3] = { 1e-3, 5, 300 };
  void *at[1] = { x };
  ad_function *f = gradient_of(walled, 1, &type, 1);
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, NULL, NULL), AD_OK);
  for (int i = 0; i < 3; i++) CHECK_NUMBER(x[i], 1, 1e-7);
  x[1] = -1;
  ad_lbfgs_result found;
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, NULL, &found), AD_ERROR_NUMERIC);
  CHECK(strstr(found.message, "not finite") && x[1] == -1);
  ad_function_free(f);
}

/* --- ends ----------------------------------------------------------------------------------------------- */

static bool third(const ad_lbfgs_iteration *now, void *context) {
  ++*(int *)context;
  return now->iteration < 3;
}

static void test_ends(void) {
  const ad_type type = AD_F64(10);
  double x[10] = { 0 };
  void *at[1] = { x };
  int calls = 0;
  ad_function *f = gradient_of(rosenbrock, 1, &type, 1), *g = gradient_of(unbounded, 1, &type, 1);
  ad_lbfgs_result found;
  ad_lbfgs_options how = { .watch = third, .context = &calls };
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, &how, &found), AD_OK);
  CHECK(found.last.iteration == 3 && calls == 4 && strstr(found.message, "stopped"));
  how = (ad_lbfgs_options){ .iterations = 2 };
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, &how, &found), AD_ERROR_CONVERGENCE);
  CHECK(found.last.iteration == 2 && strstr(found.message, "no convergence after 2"));
  how = (ad_lbfgs_options){ .decrease = 0.5 };
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, &how, &found), AD_OK);
  CHECK(strstr(found.message, "the function changed by"));
  how = (ad_lbfgs_options){ .iterations = 5 };
  CHECK_STATUS(ad_lbfgs(g, 1, at, NULL, &how, &found), AD_ERROR_CONVERGENCE);
  ad_function_free(g);
  ad_function_free(f);
}

static void test_refusals(void) {
  const ad_type in[2] = { AD_F64(4), AD_I64() };
  double x[4] = { 0 };
  void *at[2] = { x, x };
  ad_function *f = gradient_of(rosenbrock, 1, in, 1);
  ad_lbfgs_result found;
  const ad_lbfgs_options backwards = { .sufficient = 0.9, .curvature = 0.1 };
  CHECK_STATUS(ad_lbfgs(f, 2, at, NULL, NULL, &found), AD_ERROR_ARGUMENT);
  CHECK(strstr(found.message, "no function and gradient of 2 arrays"));
  CHECK_STATUS(ad_lbfgs(f, 1, at, NULL, &backwards, &found), AD_ERROR_ARGUMENT);
  CHECK(strstr(found.message, "sufficient"));
  CHECK_STATUS(ad_lbfgs(NULL, 1, at, NULL, NULL, &found), AD_ERROR_ARGUMENT);
  ad_function_free(f);
}

/* --- the line search ------------------------------------------------------------------------------------ */

typedef struct line { int which, calls; double last; } line;

/* Curves of Moré and Thuente, ACM TOMS 20 (1994), (5.1) and (5.2), and two of our own. */
static ad_status curve(void *context, double a, double *f, double *slope) {
  line *l = context;
  const double b = a + 0.004;
  l->calls++, l->last = a;
  switch (l->which) {
    case 0: *f = -a/(a*a + 2), *slope = (a*a - 2)/((a*a + 2)*(a*a + 2)); break;
    case 1: *f = pow(b, 5) - 2*pow(b, 4), *slope = 5*pow(b, 4) - 8*pow(b, 3); break;
    case 2: *f = cos(a) - 1 - 0.1*a, *slope = -sin(a) - 0.1; break;
    default: *f = -a - log(1 - a), *slope = -1 + 1/(1 - a) - 0.5, *f -= 0.5*a; break;
  }
  return AD_OK;
}

static void test_line(int which, double first, double curvature) {
  line l = { .which = which };
  line_search s = { .at = curve, .context = &l, .sufficient = 1e-3, .curvature = curvature };
  double a, f, slope;
  curve(&l, 0, &s.f, &s.slope);
  CHECK_STATUS(line_search_run(&s, first, &a), AD_OK);
  CHECK_THAT(a > 0 && l.last == a && l.calls < 40, "curve %d from %g: a = %g after %d", which, first, a,
             l.calls);
  curve(&l, a, &f, &slope);
  CHECK_THAT(f <= s.f + s.sufficient*a*s.slope && fabs(slope) <= -curvature*s.slope,
             "curve %d from %g: f = %g, slope %g of %g", which, first, f, slope, s.slope);
}

int main(void) {
  test_rosenbrock(2, 0, AD_F64, 1e-8);
  test_rosenbrock(100, 0, AD_F64, 1e-8);
  test_rosenbrock(100, 3, AD_F64, 1e-8);
  test_rosenbrock(2, 0, AD_F32, 1e-2);
  test_quadratic();
  test_walled();
  test_ends();
  test_refusals();
  for (int which = 0; which < 4; which++)
    for (double first = 1e-3; first < 1e4; first *= 10)
      for (int c = 0; c < 2; c++) test_line(which, first, c ? 0.9 : 0.1);
  return check_summary();
}
