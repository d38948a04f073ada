/* What bodies of functions, maps and loops are spared: operations on constants, broadcasts that elementwise operations
 * see through, and what does not change from step to step. Against closed forms, and by what is left of the bodies. */
#include "check.h"

#include "adit.h"
#include "function/invariant.h"

#include <math.h>

#define SHAPE(dtype, ...)                                                                                    \
  ad_type_make(dtype, (int)(sizeof (int64_t[]){ __VA_ARGS__ }/sizeof(int64_t)),                              \
               (const int64_t[]){ __VA_ARGS__ })

enum { N = 7 };

static void call(ad_function *f, const void *const in[], void *const out[]) {
  ad_workspace *w = ad_workspace_new();
  if (CHECK(f && w)) CHECK(ad_function_call(f, in, out, w) == AD_OK);
  ad_workspace_free(w);
}

/* --- constants and broadcasts --------------------------------------------------------------------------- */

/* The strict lower triangle of ones, doubled: one constant; then one product. */
static void triangle_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_var ones = ad_ones(t, SHAPE(AD_F64, 3, 3));
  out[0] = ad_mul(in[0], ad_mul(2, ad_tril(ad_add(ones, ad_eye(t, 3, 3, 0, AD_F64)), -1)));
}

/* exp of a broadcast row, and a column that is broadcast by hand: exp of the row, a product and a difference. */
static void broadcast_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var row = ad_broadcast_to(in[0], 2, (int64_t[]){ 4, 3 }), column = ad_reshape(in[1], 2, (int64_t[]){ 4, 1 });
  out[0] = ad_sub(ad_mul(ad_exp(row), in[2]), ad_broadcast_to(column, 2, (int64_t[]){ 4, 3 }));
}

static void test_bodies(void) {
  double x[9], z[9], row[3] = { 0.5, -1, 2 }, column[4] = { 1, 2, 3, 4 }, y[12], v[12];
  const ad_type square = SHAPE(AD_F64, 3, 3), three[3] = { SHAPE(AD_F64, 3), SHAPE(AD_F64, 4), SHAPE(AD_F64, 4, 3) };
  ad_function *f = ad_function_trace("triangle", triangle_body, NULL, 1, &square, 1);
  ad_function *g = ad_function_trace("broadcast", broadcast_body, NULL, 3, three, 1);
  for (int i = 0; i < 9; i++) x[i] = i + 1;
  for (int i = 0; i < 12; i++) y[i] = 0.25*i - 1;
  CHECK(ad_function_size(f) == 1);
  CHECK(ad_function_size(g) == 4);
  call(f, (const void *[]){ x }, (void *[]){ z });
  for (int i = 0; i < 9; i++) CHECK(z[i] == (i/3 > i%3 ? 2*x[i] : 0));
  call(g, (const void *[]){ row, column, y }, (void *[]){ v });
  for (int i = 0; i < 12; i++) CHECK_NUMBER(v[i], exp(row[i%3])*y[i] - column[i/3], 1e-15);
  ad_function_free(f);
  ad_function_free(g);
}

/* --- loops ---------------------------------------------------------------------------------------------- */

/* x exp(p) q: exp(p) is moved out, and p is no input of what is left. */
static void growth_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], ad_mul(ad_exp(in[1]), in[2]));
}

static void test_split(void) {
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64() };
  const bool shared[3] = { false, true, true }, none[3] = { false };
  ad_function *f = ad_function_trace("growth", growth_body, NULL, 3, type, 1);
  invariants v;
  if (CHECK(f && invariants_open(&v, f, shared, N))) {
    CHECK(v.count == 1 && ad_function_inputs(v.step) == 2 && ad_function_size(v.step) == 1);
    invariants_close(&v, f);
  }
  CHECK(!invariants_open(&v, f, shared, 2));      /* two steps: not worth it */
  CHECK(!invariants_open(&v, f, none, N));
  ad_function_free(f);
}

static void mapped_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var z[1];
  (void)t;
  ad_map(context, in, z);
  out[0] = ad_sum(z[0], AD_ALL_AXES, false);
}
static void folded_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_fold(context, 1, &(ad_loop){ .steps = N }, in, out);
}

/* sum x[i] e^p q with its gradient, and the second derivative of x (e^p q)^N by p. */
static void test_loops(void) {
  const ad_type one[3] = { AD_F64(), AD_F64(), AD_F64() }, many[3] = { AD_F64(N), AD_F64(), AD_F64() };
  double x[N], s = 0, p = -0.3, q = 1.4, value, xbar[N], pbar, qbar, second;
  for (int i = 0; i < N; i++) s += x[i] = cos(i);
  ad_function *f = ad_function_trace("growth", growth_body, NULL, 3, one, 1);
  ad_function *m = ad_function_trace("map", mapped_body, f, 3, many, 1), *g = m ? ad_function_gradient(m, 0, NULL) : NULL;
  call(g, (const void *[]){ x, &p, &q }, (void *[]){ &value, xbar, &pbar, &qbar });
  CHECK_NUMBER(value, s*exp(p)*q, 1e-13);
  CHECK_NUMBER(pbar, s*exp(p)*q, 1e-13);
  CHECK_NUMBER(qbar, s*exp(p), 1e-13);
  for (int i = 0; i < N; i++) CHECK_NUMBER(xbar[i], exp(p)*q, 1e-13);
  ad_function_free(g), ad_function_free(m);
  m = ad_function_trace("fold", folded_body, f, 3, one, 1);
  g = m ? ad_function_hessian(m, 1, (const int[]){ 1 }) : NULL;
  call(g, (const void *[]){ x, &p, &q }, (void *[]){ &second });
  CHECK_NUMBER(second, N*N*x[0]*pow(exp(p)*q, N), 1e-12);
  ad_function_free(g), ad_function_free(m), ad_function_free(f);
}

/* x > 0 ? x : exp(p) sqrt(q): what is not chosen has no slope, not even where that is infinite. */
static void choice_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_select(ad_greater(in[0], 0), in[0], ad_mul(ad_exp(in[1]), ad_sqrt(in[2])));
}

static void test_zeros(void) {
  const ad_type one[3] = { AD_F64(), AD_F64(), AD_F64() }, many[3] = { AD_F64(N), AD_F64(), AD_F64() };
  double x[N], p = 1000, q = 0, value, xbar[N], pbar, qbar;
  for (int i = 0; i < N; i++) x[i] = i + 1;
  ad_function *f = ad_function_trace("choice", choice_body, NULL, 3, one, 1);
  ad_function *m = ad_function_trace("map", mapped_body, f, 3, many, 1), *g = m ? ad_function_gradient(m, 0, NULL) : NULL;
  call(g, (const void *[]){ x, &p, &q }, (void *[]){ &value, xbar, &pbar, &qbar });
  CHECK(value == (N*(N + 1)/2.0));
  CHECK(pbar == (0));
  CHECK(qbar == (0));
  for (int i = 0; i < N; i++) CHECK(xbar[i] == (1));
  ad_function_free(g), ad_function_free(m), ad_function_free(f);
}

int main(void) {
  test_bodies();
  test_split();
  test_loops();
  test_zeros();
  return check_summary();
}
