/* test_depth.c -- a million operations in a chain, and 100,000 nested ones, on a small stack: no
 * pass recurses. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"

#include <pthread.h>
#include <stdlib.h>

/* 100,000 calls deep would need megabytes. Sanitizers keep more of everything on the stack, and OpenMP
 * runtimes read their settings there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK = 1 << 20 };
#else
enum { STACK = 256 << 10 };
#endif
enum { LONG = 1000000, DEEP = 100000 };

/* y = x*c + y, over and over: value and derivative are known. */
static ad_var chain(ad_var x, int n) {
  ad_var y = x;
  for (int i = 0; i < n; i += 2) y = ad_add(ad_mul(y, -1), x);
  return y;
}

static void test_long_chain(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), y = chain(x, LONG);
  CHECK(ad_tape_size(t) >= LONG);
  CHECK_NUMBER(ad_value(y), 3.0, 0);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_NUMBER(ad_adjoint(x), 1.0, 0);
  ad_var g;
  CHECK_STATUS(ad_grad(y, 1, &x, &g), AD_OK);
  CHECK_NUMBER(ad_value(g), 1.0, 0);
  CHECK_STATUS(ad_set_value(x, 5), AD_OK);
  CHECK_NUMBER(ad_value(y), 5.0, 0);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

static void deep_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(chain(in[0], DEEP), AD_ALL_AXES, false);
}

static void test_deep_function(ad_type type) {
  ad_function *f = ad_function_trace("deep", deep_body, NULL, 1, &type, 1),
              *g = ad_function_gradient(f, 0, NULL);
  double x[2] = { 3, 4 }, z = 0, d[2] = { 0 };
  CHECK(f && g);
  CHECK_STATUS(ad_function_call(g, (const void *const[]){ x }, (void *const[]){ &z, d }, NULL), AD_OK);
  CHECK_NUMBER(z, type.rank ? 7.0 : 3.0, 0);
  CHECK_NUMBER(d[0], 1.0, 0);
  ad_function_free(f);
  ad_function_free(g);
}

/* Forward mode, second derivatives, Taylor series, arrays. */
static void test_deep_derivatives(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), one = ad_constant(t, AD_F64(), (const double[]){ 1 });
  const ad_var y = ad_square(chain(x, DEEP)), v = ad_array(t, AD_F64(2), (const double[]){ 1, 2 });
  ad_var ydot, second, c[3];
  const ad_var xc[2] = { one, ad_sub(x, x) };
  CHECK_STATUS(ad_jvp(1, &x, &one, 1, &y, &ydot), AD_OK);
  CHECK_STATUS(ad_grad(ydot, 1, &x, &second), AD_OK);
  CHECK_NUMBER(ad_value(ydot), 6.0, 0);
  CHECK_NUMBER(ad_value(second), 2.0, 0);
  CHECK_STATUS(ad_taylor(2, 1, &x, xc, 1, &y, c), AD_OK);
  CHECK_NUMBER(ad_value(c[2]), 1.0, 0);
  const ad_var s = ad_sum(chain(v, DEEP), AD_ALL_AXES, false);
  double d[2] = { 0 };
  CHECK_NUMBER(ad_value(s), 3.0, 0);
  CHECK_STATUS(ad_backward(s), AD_OK);
  CHECK_STATUS(ad_read_adjoint(v, d), AD_OK);
  CHECK(d[0] == 1 && d[1] == 1);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* One array read in 20,000 places: linear time and memory. */
static void test_wide_use(void) {
  enum { USES = 20000 };
  ad_tape *t = ad_tape_new();
  const ad_var v = ad_array(t, AD_F64(USES), NULL);
  ad_var *part = malloc(USES*sizeof *part);
  double *d = malloc(USES*sizeof *d);
  for (int64_t i = 0; i < USES; i++) part[i] = ad_exp(ad_at(v, 1, &i));
  const ad_var y = ad_sum(ad_stack(USES, part, 0), AD_ALL_AXES, false);
  CHECK_NUMBER(ad_value(y), (double)USES, 0);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_STATUS(ad_read_adjoint(v, d), AD_OK);
  CHECK(d[0] == 1 && d[USES - 1] == 1);
  CHECK(ad_tape_status(t) == AD_OK);
  free(part);
  free(d);
  ad_tape_free(t);
}

static void *run(void *argument) {
  (void)argument;
  test_long_chain();
  test_deep_function(AD_F64());
  test_deep_function(AD_F64(2));
  test_deep_derivatives();
  test_wide_use();
  return NULL;
}

int main(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  CHECK(!pthread_attr_init(&attributes));
  CHECK(!pthread_attr_setstacksize(&attributes, STACK));
  const bool started = !pthread_create(&thread, &attributes, run, NULL);
  if (started) pthread_join(thread, NULL);
  CHECK(started);
  pthread_attr_destroy(&attributes);
  return check_summary();
}
