/* What bodies of functions, maps and loops are spared: operations on constants, broadcasts that elementwise
 * operations see through, and what does not change from step to step. Against closed forms, and by what is
 * left of the bodies. */
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

/* exp of a broadcast row, and a column that is broadcast by hand: exp of the row, a product, a difference. */
static void broadcast_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var row = ad_broadcast_to(in[0], 2, (int64_t[]){ 4, 3 });
  const ad_var column = ad_reshape(in[1], 2, (int64_t[]){ 4, 1 });
  out[0] = ad_sub(ad_mul(ad_exp(row), in[2]), ad_broadcast_to(column, 2, (int64_t[]){ 4, 3 }));
}

static void test_bodies(void) {
  double x[9], z[9], row[3] = { 0.5, -1, 2 }, column[4] = { 1, 2, 3, 4 }, y[12], v[12];
  const ad_type square = SHAPE(AD_F64, 3, 3);
  const ad_type three[3] = { SHAPE(AD_F64, 3), SHAPE(AD_F64, 4), SHAPE(AD_F64, 4, 3) };
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

/* sum of x exp(p): p is moved out up to 2^20 elements. */
static void big_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(ad_mul(in[0], ad_exp(in[1])), AD_ALL_AXES, false);
}

static void test_big(void) {
  const bool shared[2] = { false, true };
  for (int more = 0; more < 2; more++) {
    const ad_type type[2] = { AD_F64(), AD_F64((1 << 20) + more) };
    ad_function *f = ad_function_trace("big", big_body, NULL, 2, type, 1);
    invariants v;
    const bool moved = f && invariants_open(&v, f, shared, N);
    CHECK(moved == !more);
    if (moved) invariants_close(&v, f);
    ad_function_free(f);
  }
}

/* Constants of up to 32768 elements are kept; of larger ones the operations, with the same values. */
static void constants_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t n = *(const int64_t *)context;
  out[0] = ad_add(in[0], ad_sqrt(ad_cumsum(ad_full(t, AD_F64(n), 2), 0)));
}

static void test_constants(void) {
  enum { MOST = 32768 };
  static double x[MOST + 1], z[MOST + 1];
  for (int64_t n = MOST; n <= MOST + 1; n++) {
    const ad_type type = AD_F64(n);
    ad_function *f = ad_function_trace("constants", constants_body, &n, 1, &type, 1);
    CHECK(ad_function_size(f) == (n == MOST ? 1 : 4));
    for (int64_t i = 0; i < n; i++) x[i] = (double)i;
    call(f, (const void *[]){ x }, (void *[]){ z });
    for (int64_t i = 0; i < n; i++) CHECK_NUMBER(z[i], (double)i + sqrt(2*(double)(i + 1)), 1e-15);
    ad_function_free(f);
  }
}

/* So are ones scattered into zeros that were given another shape, as seeds of Jacobians are. */
static void seeds_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  static const int64_t at[3] = { 5, 0, 5 };
  const ad_var zeros = ad_reshape(ad_zeros(t, AD_F64(2, 3)), 1, (const int64_t[]){ 6 });
  (void)context;
  out[0] = ad_add(in[0], ad_scatter_add(zeros, ad_constant(t, AD_I64(3), at), ad_full(t, AD_F64(3), 2), 0));
}

static void test_seeds(void) {
  const ad_type type = AD_F64(6);
  const double x[6] = { 1, 2, 3, 4, 5, 6 }, want[6] = { 3, 2, 3, 4, 5, 10 };
  double z[6];
  ad_function *f = ad_function_trace("seeds", seeds_body, NULL, 1, &type, 1);
  CHECK(ad_function_size(f) == 1);
  call(f, (const void *[]){ x }, (void *[]){ z });
  for (int i = 0; i < 6; i++) CHECK_NUMBER(z[i], want[i], 0);
  ad_function_free(f);
}

/* What is not to be folded is run, though all it depends on is constant. */
static ad_status first_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status noted_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  memcpy(z, x[0], ad_type_bytes(op->z));
  return AD_OK;
}
static void noted_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var two = ad_cumsum(ad_full(t, AD_F64(3), 2), 0);
  out[0] = ad_add(in[0], ad_record(t, context, 1, &two, NULL, 0));
}

static void test_not_folded(void) {
  static const unsigned traits[2] = { 0, AD_TRAIT_NO_FOLD };
  const ad_type type = AD_F64(3);
  for (int k = 0; k < 2; k++) {
    ad_primitive noted = { .name = "noted", .traits = traits[k], .type = first_type, .run = noted_run };
    ad_function *f = ad_function_trace("noted", noted_body, &noted, 1, &type, 1);
    CHECK(ad_function_size(f) == (k ? 2 : 1));
    ad_function_free(f);
  }
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
  ad_function *m = ad_function_trace("map", mapped_body, f, 3, many, 1);
  ad_function *g = m ? ad_function_gradient(m, 0, NULL) : NULL;
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
  ad_function *m = ad_function_trace("map", mapped_body, f, 3, many, 1);
  ad_function *g = m ? ad_function_gradient(m, 0, NULL) : NULL;
  call(g, (const void *[]){ x, &p, &q }, (void *[]){ &value, xbar, &pbar, &qbar });
  CHECK(value == (N*(N + 1)/2.0));
  CHECK(pbar == (0));
  CHECK(qbar == (0));
  for (int i = 0; i < N; i++) CHECK(xbar[i] == (1));
  ad_function_free(g), ad_function_free(m), ad_function_free(f);
}

/* --- what may fail stays where it is ------------------------------------------------------------------- */

/* (x, p) -> something that fails for p = 0 and is 0 otherwise, in x's shape. */
typedef struct picky { const char *name; ad_body *body; } picky;

static ad_status refuse(void *context, const void *const in[], void *const out[], char *message,
                        size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = 0;
  return *(const double *)in[0] == 0 ? AD_ERROR_NUMERIC : AD_OK;
}
static ad_status same_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status linear_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)op, (void)scratch;
  *(double *)z = 2**(const double *)x[0];
  return *(const double *)x[0] == 0 ? AD_ERROR_NUMERIC : AD_OK;
}
static ad_var linear_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_mul(r->g, 2);
}
static const ad_primitive linear_primitive = { .name = "doubled", .doc = "linear, but for where it fails",
                                               .traits = AD_TRAIT_LINEAR, .type = same_type,
                                               .run = linear_run, .vjp = linear_vjp };

static ad_var as_matrix(ad_var p) { return ad_reshape(p, 2, (int64_t[]){ 1, 1 }); }
static ad_var as_vector(ad_var p) { return ad_reshape(p, 1, (int64_t[]){ 1 }); }
static ad_var times_zero(ad_var y) { return ad_sum(ad_mul(y, 0), AD_ALL_AXES, false); }

static void solves(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(in[0], times_zero(ad_solve(as_matrix(in[1]), as_vector(ad_exp(in[1])))));
}
static void factorises(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(in[0], times_zero(ad_cholesky(as_matrix(in[1]))));
}
static void takes(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var index = ad_cast(ad_sub(1, ad_ceil(in[1])), AD_I64);
  out[0] = ad_add(in[0], times_zero(ad_take(as_vector(ad_exp(in[1])), index, 0)));
}
static void calls_back(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type number = AD_F64();
  const ad_external e = { .name = "refuse", .n_in = 1, .n_out = 1, .in = &number, .out = &number,
                          .call = refuse };
  ad_function *f = ad_function_external(&e, NULL);
  const ad_var p = ad_stop_gradient(in[1]);
  ad_var y;
  (void)t, (void)context;
  if (ad_function_apply(f, &p, &y) == AD_OK) out[0] = ad_add(in[0], times_zero(y));
  ad_function_free(f);
}
static void reciprocal(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sub(ad_mul(in[0], in[1]), 1);
}
static void finds_root(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("r", reciprocal, NULL, 2, type, 1);
  ad_var y;
  (void)t, (void)context;
  if (ad_root(f, NULL, (const ad_var[]){ ad_real(3), in[1] }, &y) == AD_OK)
    out[0] = ad_add(in[0], times_zero(y));
  ad_function_free(f);
}
static void doubles(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var y = ad_record(t, &linear_primitive, 1, in + 1, NULL, 0);
  (void)context;
  out[0] = ad_add(in[0], times_zero(ad_exp(ad_mul(0, y))));
}

/* (x, p, count): count steps, known when it runs. */
static void counted_steps(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_fold(f, 1, &(ad_loop){ .steps = N, .count = in[2], .counted = true }, in, out);
}
static void unbounded_steps(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_fold(f, 1, &(ad_loop){ .count = in[2], .counted = true }, in, out);
}
static void is_below(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], 1);
}
/* While x < 1, so for x = 1 never; a step that does not fail adds 1. */
static void one_more(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  if (ad_function_apply(f, in, out) == AD_OK) out[0] = ad_add(out[0], 1);
}
static void while_steps(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  ad_function *g = ad_function_trace("below", is_below, NULL, 2, type, 1);
  ad_function *step = ad_function_trace("step", one_more, f, 2, type, 1);
  (void)t;
  ad_while(g, step, NULL, in, out);
  ad_function_free(g), ad_function_free(step);
}

/* As the interpreter has it: no step, no failure; steps, and it fails, before and in derivatives. */
static void check_loop(const picky *of, const char *loop, ad_body *body, ad_function *step) {
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_I64() };
  ad_function *f = ad_function_trace(loop, body, step, 3, type, 1);
  ad_function *g = f ? ad_function_gradient(f, 0, NULL) : NULL;
  if (!CHECK_THAT(f && g, "%s in %s: cannot be made", of->name, loop)) return;
  for (int enter = 0; enter < 2; enter++)
    for (int zero = 0; zero < 2; zero++) {
      const double x = enter ? 0 : 1, p = zero ? 0 : 0.5;
      const int64_t count = enter ? N - 2 : 0;
      double y = 9, xbar = 9, pbar = 9;
      const void *const in[3] = { &x, &p, &count };
      const ad_status value = ad_function_call(f, in, (void *[]){ &y }, NULL);
      CHECK_THAT((value == AD_OK) == !(enter && zero), "%s in %s, entered %d, p = %g: %s", of->name, loop,
                 enter, p, ad_status_sentence(value));
      CHECK(value != AD_OK || y == (enter && body == while_steps ? 1 : x));
      const ad_status slope = ad_function_call(g, in, (void *[]){ &y, &xbar, &pbar }, NULL);
      CHECK_THAT((slope == AD_OK) == !(enter && zero), "%s in %s, entered %d, p = %g, gradient: %s", of->name,
                 loop, enter, p, ad_status_sentence(slope));
      CHECK(slope != AD_OK || (xbar == 1 && pbar == 0));
    }
  ad_function_free(f), ad_function_free(g);
}

/* A map of no instance; one of N fails. */
static void check_map(const picky *of, ad_function *f) {
  for (int n = 0; n <= N; n += N) {
    const ad_type type[2] = { AD_F64(n), AD_F64() };
    ad_function *m = ad_function_trace("map", mapped_body, f, 2, type, 1);
    ad_function *g = m ? ad_function_gradient(m, 0, NULL) : NULL;
    const double x[N] = { 0 }, p = 0;
    double y = 9, xbar[N], pbar = 9;
    if (!CHECK_THAT(m && g, "%s in a map: cannot be made", of->name)) return;
    const void *const in[2] = { x, &p };
    CHECK_THAT((ad_function_call(m, in, (void *[]){ &y }, NULL) == AD_OK) == (n == 0), "%s, map of %d",
               of->name, n);
    CHECK(n || y == 0);
    CHECK_THAT((ad_function_call(g, in, (void *[]){ &y, xbar, &pbar }, NULL) == AD_OK) == (n == 0),
               "%s, gradient of a map of %d", of->name, n);
    CHECK(n || pbar == 0);
    ad_function_free(m), ad_function_free(g);
  }
}

static void test_failures(void) {
  static const picky all[] = { { "solve", solves }, { "cholesky", factorises }, { "take", takes },
                               { "callback", calls_back }, { "root", finds_root }, { "linear", doubles } };
  const ad_type type[2] = { AD_F64(), AD_F64() };
  for (size_t i = 0; i < sizeof all/sizeof *all; i++) {
    ad_function *f = ad_function_trace(all[i].name, all[i].body, NULL, 2, type, 1);
    if (!CHECK_THAT(f != NULL, "%s", all[i].name)) continue;
    check_loop(&all[i], "a counted loop", counted_steps, f);
    check_loop(&all[i], "an unbounded loop", unbounded_steps, f);
    check_loop(&all[i], "a while", while_steps, f);
    check_map(&all[i], f);
    ad_function_free(f);
  }
}

int main(void) {
  test_bodies();
  test_constants();
  test_seeds();
  test_not_folded();
  test_split();
  test_big();
  test_loops();
  test_zeros();
  test_failures();
  return check_summary();
}
