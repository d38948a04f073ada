/* Which states of loops have cotangents: against closed forms, and by the flags of what is recorded. */
#include "check.h"

#include "adit.h"
#include "function/carrier.h"

#include <math.h>

enum { U, V, COUNT, A, B, STEPS };

/* u <- b u, v <- v + a u, count <- count + 1 while count < steps. */
static void more(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[COUNT], in[STEPS]);
}
static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[U] = ad_mul(in[B], in[U]);
  out[V] = ad_add(in[V], ad_mul(in[A], out[U]));
  out[COUNT] = ad_add(in[COUNT], ad_integer(1));
}

typedef struct series { ad_dtype dtype; bool sum; } series;

/* (u0, v0, a, b, steps) -> u, or v: u0 b^n, or v0 + a u0 (b + .. + b^n). */
static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const series *s = context;
  const ad_type real = ad_type_make(s->dtype, 0, NULL);
  const ad_type types[6] = { real, real, AD_I64(), real, real, AD_I64() };
  ad_function *condition = ad_function_trace("more", more, NULL, 6, types, 1);
  ad_function *body = ad_function_trace("step", step, NULL, 6, types, 3);
  const int64_t zero = 0;
  ad_var end[3];
  ad_while(condition, body, &(ad_loop){ .limit = 50 },
           (const ad_var[]){ in[0], in[1], ad_constant(t, AD_I64(), &zero), in[2], in[3], in[4] }, end);
  out[0] = end[s->sum ? V : U];
  ad_function_free(body);
  ad_function_free(condition);
}

/* The first adjoint of a loop in f's body; NULL: none. */
static const carrier *adjoint_in(const ad_function *f) {
  size_t size;
  for (uint32_t i = 0; i < f->body->count; i++)
    if (!node_is_leaf(f->body, i) && node_primitive(f->body, i) == &adjoint_primitives[CARRIER_SCAN])
      return node_attribute(f->body, i, &size);
  return NULL;
}

static ad_function *trace_series(series *s) {
  const ad_type real = ad_type_make(s->dtype, 0, NULL);
  const ad_type types[5] = { real, real, real, real, AD_I64() };
  return ad_function_trace("series", series_body, s, 5, types, 1);
}

/* value and gradient by the four numbers against the closed form. */
static void check_series(ad_function *g, ad_dtype dtype, bool sum, int64_t n, double tolerance) {
  const double u0 = 1.5, v0 = -0.25, a = 0.75, b = 1.125;
  double x[4] = { u0, v0, a, b }, z[5] = { 0 }, total = 0, slope = 0;
  float x32[4] = { 1.5f, -0.25f, 0.75f, 1.125f }, z32[5] = { 0 };
  const void *in[5] = { x, x + 1, x + 2, x + 3, &n };
  void *out[5];
  for (int k = 0; k < 4 && dtype == AD_F32; k++) in[k] = x32 + k;
  for (int k = 0; k < 5; k++) out[k] = dtype == AD_F32 ? (void *)(z32 + k) : (void *)(z + k);
  for (int64_t k = 1; k <= n; k++) total += pow(b, (double)k), slope += (double)k*pow(b, (double)k - 1);
  CHECK(ad_function_call(g, in, out, NULL) == AD_OK);
  for (int k = 0; k < 5 && dtype == AD_F32; k++) z[k] = (double)z32[k];
  const double m = (double)n, power = pow(b, m);
  const double want_u[5] = { u0*power, power, 0, 0, n ? m*u0*pow(b, m - 1) : 0 };
  const double want_v[5] = { v0 + a*u0*total, a*total, 1, u0*total, a*u0*slope };
  for (int k = 0; k < 5; k++) CHECK_NUMBER(z[k], sum ? want_v[k] : want_u[k], tolerance);
}

static void test_series(ad_dtype dtype, bool sum, double tolerance) {
  series s = { dtype, sum };
  ad_function *f = trace_series(&s);
  ad_function *g = f ? ad_function_gradient(f, 4, (const int[]){ 0, 1, 2, 3 }) : NULL;
  if (!CHECK(g != NULL)) return;
  const carrier *c = adjoint_in(g);
  if (CHECK(c != NULL)) {
    CHECK(!still_in(c)[U] && still_in(c)[V] == !sum);
    CHECK(active_in(c)[U] && active_in(c)[V] == sum && active_in(c)[A] == sum && active_in(c)[B]);
  }
  const int64_t n[4] = { 0, 1, 2, 17 };
  for (int k = 0; k < 4; k++) check_series(g, dtype, sum, n[k], tolerance);
  ad_function_compile(g, NULL, NULL);
  for (int k = 0; k < 4; k++) check_series(g, dtype, sum, n[k], tolerance);
  ad_function_free(g);
  ad_function_free(f);
}

/* u does not depend on a: nothing is recorded for its cotangent. */
static void test_nothing(void) {
  series s = { AD_F64, false };
  ad_function *f = trace_series(&s), *g = f ? ad_function_gradient(f, 1, (const int[]){ 2 }) : NULL;
  const double x[4] = { 1.5, -0.25, 0.75, 1.125 };
  const int64_t n = 5;
  double value = 0, slope = 1;
  CHECK(g && !adjoint_in(g));
  if (g) CHECK(ad_function_call(g, (const void *[]){ x, x + 1, x + 2, x + 3, &n },
                                (void *[]){ &value, &slope }, NULL) == AD_OK);
  CHECK_NUMBER(value, 1.5*pow(1.125, 5), 1e-14);
  CHECK(slope == 0);
  ad_function_free(g);
  ad_function_free(f);
}

/* d/db of dv/db: the adjoint of the tangent loop, in which v and its tangent reach no cotangent but v's own. */
static void test_second(void) {
  series s = { AD_F64, true };
  ad_function *f = trace_series(&s), *h = f ? ad_function_hessian(f, 1, (const int[]){ 3 }) : NULL;
  const double x[4] = { 1.5, -0.25, 0.75, 1.125 };
  double second = 0, want = 0;
  const int64_t n = 9;
  for (int k = 2; k <= n; k++) want += 0.75*1.5*k*(k - 1)*pow(1.125, k - 2);
  if (CHECK(h != NULL))
    CHECK(ad_function_call(h, (const void *[]){ x, x + 1, x + 2, x + 3, &n }, (void *[]){ &second }, NULL)
          == AD_OK);
  CHECK_NUMBER(second, want, 1e-13);
  ad_function_free(h);
  ad_function_free(f);
}

int main(void) {
  for (int sum = 0; sum < 2; sum++) {
    test_series(AD_F64, sum, 1e-13);
    test_series(AD_F32, sum, 1e-5);
  }
  test_nothing();
  test_second();
  return check_summary();
}
