/* test_pitfalls.c -- what automatic differentiation gets wrong most often: shared variables, leftover
 * gradients, two tapes, values read twice, handles from before a rewind, replay on a wrong branch, errors
 * that come late. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"

static void check_clean(ad_tape *t, int line) {
  check_that(ad_tape_status(t) == AD_OK, __FILE__, line, "tape has the error \"%s\"", ad_tape_message(t));
}
#define CLEAN(t) check_clean((t), __LINE__)

/* The tape has this error and the message has these words; then it is cleared. */
static void check_error(ad_tape *t, ad_status want, const char *const words[], int line) {
  check_that(ad_tape_status(t) == want, __FILE__, line, "error \"%s\", not \"%s\"",
             ad_status_sentence(ad_tape_status(t)), ad_status_sentence(want));
  for (; *words; words++)
    check_that(strstr(ad_tape_message(t), *words), __FILE__, line, "\"%s\" does not say \"%s\"",
               ad_tape_message(t), *words);
  ad_tape_clear(t);
}
#define ERROR(t, want, ...) check_error((t), (want), (const char *const[]){ __VA_ARGS__, NULL }, __LINE__)

/* --- one variable in many places ------------------------------------------------------------------------ */

static void test_variable_used_many_times(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), y = ad_scalar(t, 5);
  ad_backward(ad_add(ad_add(ad_mul(x, y), ad_mul(y, y)), y));
  CHECK_NUMBER(ad_adjoint(x), 5.0, 0);
  CHECK_NUMBER(ad_adjoint(y), 3.0 + 10 + 1, 0);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_inner_variable_used_many_times(void) {
  ad_tape *t = ad_tape_new();
  const ad_var a = ad_scalar(t, 2), x = ad_scalar(t, 7), u = ad_add(a, a), z = ad_add(ad_mul(u, x), u);
  ad_backward(z);
  CHECK_NUMBER(ad_adjoint(u), 8.0, 0);
  CHECK_NUMBER(ad_adjoint(a), 16.0, 0);
  CHECK_NUMBER(ad_adjoint(x), 4.0, 0);
  CHECK_NUMBER(ad_adjoint(z), 1.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_both_operands_are_one_variable(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), v = ad_array(t, AD_F64(2), (const double[]){ 3, -4 });
  double d[2];
  ad_var g, h;
  ad_backward(ad_mul(x, x));
  CHECK_NUMBER(ad_adjoint(x), 6.0, 0);
  ad_backward(ad_sub(x, x));
  CHECK_NUMBER(ad_adjoint(x), 0.0, 0);
  ad_backward(ad_sum(ad_mul(v, v), AD_ALL_AXES, false));
  CHECK_STATUS(ad_read_adjoint(v, d), AD_OK);
  CHECK(d[0] == 6 && d[1] == -8);
  const ad_var one = ad_constant(t, AD_F64(), (const double[]){ 1 }), square = ad_mul(x, x);
  ad_jvp(1, &x, &one, 1, &square, &g);
  CHECK_NUMBER(ad_value(g), 6.0, 0);
  ad_grad(square, 1, &x, &g);
  ad_grad(g, 1, &x, &h);
  CHECK_NUMBER(ad_value(h), 2.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

/* 40 operations, not 2^40 paths: the same for recorded reverse and forward mode. */
static void test_forty_doublings(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 1);
  const ad_var one = ad_constant(t, AD_F64(), (const double[]){ 1 });
  ad_var v = x, g, ydot;
  const size_t before = ad_tape_size(t);
  for (int i = 0; i < 40; i++) v = ad_add(v, v);
  CHECK(ad_tape_size(t) - before == 40);
  CHECK_NUMBER(ad_value(v), 0x1p40, 0);
  ad_backward(v);
  CHECK_NUMBER(ad_adjoint(x), 0x1p40, 0);
  CHECK(ad_tape_size(t) - before == 40);
  ad_grad(v, 1, &x, &g);
  ad_jvp(1, &x, &one, 1, &v, &ydot);
  CHECK_NUMBER(ad_value(g), 0x1p40, 0);
  CHECK_NUMBER(ad_value(ydot), 0x1p40, 0);
  CHECK(ad_tape_size(t) - before < 40 + 40*4);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_gradients_start_from_zero(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), y = ad_scalar(t, 4), z = ad_mul(x, y),
               v = ad_array(t, AD_F64(2), (const double[]){ 1, 2 });
  const ad_var s = ad_sum(ad_mul(v, x), AD_ALL_AXES, false);
  for (int i = 0; i < 3; i++) {
    CHECK_STATUS(ad_backward(z), AD_OK);
    CHECK_NUMBER(ad_adjoint(x), 4.0, 0);
    CHECK_NUMBER(ad_adjoint(y), 3.0, 0);
    CHECK_STATUS(ad_backward(s), AD_OK);
    CHECK_NUMBER(ad_adjoint(x), 3.0, 0);
    CHECK_NUMBER(ad_adjoint(y), 0.0, 0);
  }
  ad_backward(ad_sin(x));
  CHECK_NUMBER(ad_adjoint(z), 0.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_adjoint_before_and_after_its_time(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3);
  CHECK(isnan(ad_adjoint(x)));
  ERROR(t, AD_ERROR_ARGUMENT, "adjoint", "no ad_backward");
  ad_backward(ad_square(x));
  const ad_var late = ad_scalar(t, 1);
  CHECK(isnan(ad_adjoint(late)));
  ERROR(t, AD_ERROR_ARGUMENT, "after the last ad_backward");
  const ad_var v = ad_array(t, AD_F64(2), NULL), i = ad_array(t, AD_I64(), NULL);
  CHECK_STATUS(ad_backward(i), AD_ERROR_DTYPE);
  ERROR(t, AD_ERROR_DTYPE, "backward", "i64");
  ad_var g;
  CHECK_STATUS(ad_grad(v, 1, &x, &g), AD_ERROR_SHAPE);
  CHECK(!ad_is_valid(g));
  ERROR(t, AD_ERROR_SHAPE, "grad", "scalar");
  CHECK_STATUS(ad_grad(x, 1, &i, &g), AD_ERROR_DTYPE);
  ad_tape_free(t);
}

static void test_unconnected_input_gets_zeros(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x[] = { ad_scalar(t, 3), ad_array(t, AD_F32(2, 3), NULL) }, y = ad_exp(x[0]);
  float zeros[6] = { 1, 1, 1, 1, 1, 1 };
  ad_var g[2];
  CHECK_STATUS(ad_grad(y, 2, x, g), AD_OK);
  CHECK(ad_type_equal(ad_type_of(g[1]), AD_F32(2, 3)));
  CHECK_STATUS(ad_read(g[1], zeros), AD_OK);
  for (int i = 0; i < 6; i++) CHECK(zeros[i] == 0);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_STATUS(ad_read_adjoint(x[1], zeros), AD_OK);
  for (int i = 0; i < 6; i++) CHECK(zeros[i] == 0);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_stop_gradient(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), y = ad_mul(ad_stop_gradient(ad_square(x)), x);
  CHECK_NUMBER(ad_value(y), 27.0, 0);
  ad_backward(y);
  CHECK_NUMBER(ad_adjoint(x), 9.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

/* --- IEEE arithmetic is not an error -------------------------------------------------------------------- */

static void test_ieee_values(void) {
  ad_tape *t = ad_tape_new();
  const ad_var zero = ad_scalar(t, 0), one = ad_scalar(t, 1), huge = ad_scalar(t, 1e300);
  CHECK_NUMBER(ad_value(ad_div(one, zero)), INFINITY, 0);
  CHECK_NUMBER(ad_value(ad_div(ad_neg(one), zero)), -INFINITY, 0);
  CHECK_NUMBER(ad_value(ad_div(zero, zero)), NAN, 0);
  CHECK_NUMBER(ad_value(ad_log(zero)), -INFINITY, 0);
  CHECK_NUMBER(ad_value(ad_pow(zero, zero)), 1.0, 0);
  CHECK_NUMBER(ad_value(ad_sqrt(ad_neg(one))), NAN, 0);
  CHECK_NUMBER(ad_value(ad_mul(huge, huge)), INFINITY, 0);
  CHECK_NUMBER(ad_value(ad_exp(huge)), INFINITY, 0);
  CHECK(signbit(ad_value(ad_mul(ad_neg(one), zero))));
  CLEAN(t);
  ad_tape_free(t);
}

/* --- two tapes ------------------------------------------------------------------------------------------ */

static void test_two_tapes(void) {
  ad_tape *s = ad_tape_new(), *t = ad_tape_new();
  const ad_var x = ad_scalar(s, 1), y = ad_scalar(t, 2), v = ad_array(t, AD_F64(3), NULL);
  CHECK(!ad_is_valid(ad_add(x, y)));
  ERROR(s, AD_ERROR_TAPES, "add", "two tapes");
  CHECK(!ad_is_valid(ad_mul(x, v)));
  ERROR(s, AD_ERROR_TAPES, "mul");
  CHECK(!ad_is_valid(ad_select(x, y, x)));
  ERROR(s, AD_ERROR_TAPES, "select");
  CHECK(!ad_is_valid(ad_concat(2, (const ad_var[]){ ad_array(s, AD_F64(1), NULL), v }, 0)));
  ERROR(s, AD_ERROR_TAPES, "concat");
  ad_var g;
  CHECK_STATUS(ad_grad(x, 1, &y, &g), AD_ERROR_TAPES);
  ERROR(s, AD_ERROR_TAPES, "vjp");
  CHECK_STATUS(ad_jvp(1, &x, &y, 1, &x, &g), AD_ERROR_TAPES);
  ad_tape_clear(s);
  CLEAN(t);
  CHECK_NUMBER(ad_value(ad_add(x, 1)), 2.0, 0);
  CHECK_NUMBER(ad_value(ad_add(y, 1)), 3.0, 0);
  ad_tape_free(s);
  ad_tape_free(t);
}

/* --- reading computes once ------------------------------------------------------------------------------ */

static int runs;                    /* of the two primitives below; this program has one thread */

static ad_status same_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status twice_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  runs++;
  for (int64_t i = 0; i < ad_type_count(op->z); i++) ((double *)z)[i] = 2*((const double *)x[0])[i];
  return AD_OK;
}
static const ad_primitive twice = {
  .name = "twice", .doc = "2 x", .traits = AD_TRAIT_LINEAR, .type = same_type, .run = twice_run
};

static void thrice_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  runs++;
  for (size_t i = 0; i < n; i++) z[i] = 3*x[i];
}
static const ad_primitive thrice = {
  .name = "thrice", .doc = "3 x", .arity = 1, .block = thrice_block, .rule = { "3*g" }
};

static void test_reading_computes_once(const ad_primitive *p, double factor, ad_type type) {
  ad_tape *t = ad_tape_new();
  double x[3] = { 1, 2, 3 }, y[3];
  const ad_var a = ad_array(t, type, x), b = ad_record(t, p, 1, &a, NULL, 0), c = ad_add(b, 1),
               unread = ad_record(t, p, 1, &b, NULL, 0);
  runs = 0;
  CHECK_STATUS(ad_read(b, y), AD_OK);
  CHECK(y[0] == factor);
  const int first = runs;
  CHECK(first == 1);
  CHECK_STATUS(ad_read(b, y), AD_OK);
  CHECK_STATUS(ad_read(c, y), AD_OK);
  CHECK(y[0] == factor + 1);
  CHECK_THAT(runs == first, "%s ran %d times", p->name, runs);
  CHECK_STATUS(ad_read(unread, y), AD_OK);
  CHECK(runs == 2 && y[0] == factor*factor);
  x[0] = 10;
  CHECK_STATUS(ad_set(a, x), AD_OK);
  CHECK(runs == 2);
  ad_read(b, y);
  CHECK(y[0] == 10*factor);
  ad_read(c, y);
  CHECK_THAT(runs == 3 && y[0] == 10*factor + 1, "%s ran %d times", p->name, runs);
  ad_tape_free(t);
}

/* A loop that reads as it goes is linear: each step runs its own operation only. */
static void test_define_by_run_is_linear(void) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(3), (const double[]){ 1, 2, 3 });
  double y[3];
  runs = 0;
  for (int i = 0; i < 200; i++) {
    v = ad_mul(ad_record(t, &twice, 1, &v, NULL, 0), 0.5);
    CHECK_STATUS(ad_read(v, y), AD_OK);
  }
  CHECK_THAT(runs == 200, "%d runs", runs);
  CHECK(y[2] == 3);
  CLEAN(t);
  ad_tape_free(t);
}

static ad_status refuses_to_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)op, (void)z, (void)x, (void)scratch;
  return AD_ERROR_NUMERIC;
}
static void test_failing_kernel(void) {
  static const ad_primitive p = {
    .name = "stubborn", .doc = "fails", .type = same_type, .run = refuses_to_run
  };
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_array(t, AD_F64(2), NULL), y = ad_record(t, &p, 1, &x, NULL, 0);
  double out[2];
  ad_var g;
  CHECK(ad_is_valid(y));
  CHECK_STATUS(ad_read(y, out), AD_ERROR_NUMERIC);
  ERROR(t, AD_ERROR_NUMERIC, "stubborn");
  CHECK_STATUS(ad_read(ad_add(y, 1), out), AD_ERROR_NUMERIC);
  ad_tape_clear(t);
  CHECK_STATUS(ad_vjp(1, &y, NULL, 1, &x, &g), AD_ERROR_DERIVATIVE);
  ERROR(t, AD_ERROR_DERIVATIVE, "stubborn", "no rule");
  CHECK_STATUS(ad_jvp(1, &x, &x, 1, &y, &g), AD_ERROR_DERIVATIVE);
  ad_tape_free(t);
}

/* --- marks and rewinds ---------------------------------------------------------------------------------- */

static void test_rewind(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), y = ad_square(x);
  const ad_mark first = ad_tape_mark(t);
  const ad_var a = ad_exp(y);
  CHECK_STATUS(ad_tape_rewind(t, first), AD_OK);
  CHECK(!ad_is_valid(a) && ad_is_valid(x) && ad_is_valid(y));
  CHECK(ad_tape_size(t) == 2);
  CHECK(isnan(ad_value(a)));
  ERROR(t, AD_ERROR_HANDLE, "value", "rewind");
  const ad_var b = ad_sin(y);       /* takes the place of a */
  CHECK(!ad_is_valid(a) && ad_is_valid(b));
  CHECK(!ad_is_valid(ad_add(a, x)));
  ERROR(t, AD_ERROR_HANDLE, "add", "rewind");
  const ad_mark second = ad_tape_mark(t);
  const ad_var c = ad_mul(b, b);
  CHECK_STATUS(ad_tape_rewind(t, second), AD_OK);
  const ad_var d = ad_mul(b, y);
  CHECK(ad_is_valid(b) && ad_is_valid(d) && !ad_is_valid(c) && !ad_is_valid(a));
  CHECK_NUMBER(ad_value(d), 4*sin(4), 1e-15);
  CHECK_STATUS(ad_tape_rewind(t, first), AD_OK);
  CHECK_STATUS(ad_tape_rewind(t, second), AD_ERROR_ARGUMENT);
  ERROR(t, AD_ERROR_ARGUMENT, "rewind");
  CHECK_STATUS(ad_tape_rewind(t, first), AD_OK);
  const ad_var e = ad_cos(y), f = ad_cos(e);
  CHECK(ad_is_valid(e) && ad_is_valid(f) && !ad_is_valid(b) && !ad_is_valid(d));
  CLEAN(t);
  CHECK_NUMBER(ad_value(y), 4.0, 0);
  ad_tape_free(t);
}

static void test_adjoints_are_forgotten_with_their_nodes(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), v = ad_array(t, AD_F64(2), NULL);
  const ad_mark m = ad_tape_mark(t);
  ad_backward(ad_mul(x, ad_sum(v, AD_ALL_AXES, false)));
  CHECK_STATUS(ad_tape_rewind(t, m), AD_OK);
  CHECK(isnan(ad_adjoint(x)));
  ERROR(t, AD_ERROR_ARGUMENT, "adjoint");
  ad_tape_free(t);
}

/* Memory is kept on rewind, not piled up; the inputs stay good all the time. */
static void test_many_rewinds(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), v = ad_array(t, AD_F64(3), (const double[]){ 1, 2, 3 });
  const ad_mark m = ad_tape_mark(t);
  ad_var old = x;
  size_t bytes = 0;
  for (int i = 0; i < 20000; i++) {
    ad_var parts[] = { ad_square(x), ad_exp(x), ad_sin(x), ad_cos(x), x };
    const ad_var y = ad_mul(ad_sum(v, AD_ALL_AXES, false), ad_sum(ad_stack(5, parts, 0), AD_ALL_AXES, false));
    if (i%1000 == 0) CHECK_STATUS(ad_backward(y), AD_OK);
    if (i) CHECK(!ad_is_valid(old));
    old = parts[0];
    CHECK_STATUS(ad_tape_rewind(t, m), AD_OK);
    if (i == 100) bytes = ad_tape_bytes(t);
  }
  CHECK(ad_tape_bytes(t) <= bytes);
  CHECK_NUMBER(ad_value(x), 2.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

/* Marks at every depth, rewound to in any order that is allowed: exactly the handles below stay good. */
static void test_random_rewinds(void) {
  enum { DEPTH = 40, STEPS = 4000 };
  ad_tape *t = ad_tape_new();
  ad_mark mark[DEPTH + 1];
  ad_var good[DEPTH + 1], lost[64];
  int depth = 0, losses = 0;
  uint64_t state = 5;
  good[0] = ad_scalar(t, 1);
  mark[0] = ad_tape_mark(t);
  for (int step = 0; step < STEPS; step++) {
    if (depth < DEPTH && check_below(&state, 4)) {
      depth++;
      good[depth] = ad_add(good[depth - 1], 1);
      mark[depth] = ad_tape_mark(t);
      continue;
    }
    const int to = check_below(&state, depth + 1);
    for (int i = to + 1; i <= depth; i++) lost[losses++ % 64] = good[i];
    CHECK_STATUS(ad_tape_rewind(t, mark[to]), AD_OK);
    depth = to;
    bool all_good = true, all_lost = true;
    for (int i = 0; i <= depth; i++) all_good &= ad_is_valid(good[i]) && ad_value(good[i]) == i + 1;
    for (int i = 0; i < losses && i < 64; i++) all_lost &= !ad_is_valid(lost[i]);
    CHECK(all_good);
    CHECK(all_lost);
  }
  CLEAN(t);
  ad_tape_free(t);
}

/* --- replay --------------------------------------------------------------------------------------------- */

/* A product that goes from 0 to -0 is another value to what divides by it. */
static void test_replay_of_signed_zero(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 1), zero = ad_mul(x, 0.0), z = ad_reciprocal(zero);
  CHECK_NUMBER(ad_value(z), INFINITY, 0);
  CHECK_STATUS(ad_set_value(x, -1), AD_OK);
  CHECK_NUMBER(ad_value(z), -INFINITY, 0);
  ad_tape_free(t);
}

static void test_set_recomputes(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), y = ad_scalar(t, 3), v = ad_array(t, AD_F64(2), (const double[]){ 1, 2 });
  const ad_var z = ad_mul(x, y), s = ad_sum(ad_mul(v, z), AD_ALL_AXES, false), other = ad_square(y);
  double d[2];
  CHECK_STATUS(ad_set_value(x, 10), AD_OK);
  CHECK_NUMBER(ad_value(s), 90.0, 0);
  CHECK_STATUS(ad_backward(s), AD_OK);
  CHECK_NUMBER(ad_adjoint(x), 9.0, 0);
  CHECK_STATUS(ad_set(v, (const double[]){ 5, 6 }), AD_OK);
  CHECK_STATUS(ad_backward(s), AD_OK);
  CHECK_NUMBER(ad_adjoint(z), 11.0, 0);
  CHECK_STATUS(ad_read_adjoint(v, d), AD_OK);
  CHECK(d[0] == 30 && d[1] == 30);
  CHECK_NUMBER(ad_value(other), 9.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

/* Recorded derivatives are nodes: they follow. So do nodes recorded between ad_set and the next read. */
static void test_set_reaches_derivatives(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), y = ad_pow(x, 3);
  ad_var g, h;
  ad_grad(y, 1, &x, &g);
  ad_grad(g, 1, &x, &h);
  ad_set_value(x, 3);
  const ad_var sum = ad_add(g, h);
  CHECK_NUMBER(ad_value(sum), 27.0 + 18, 1e-15);
  CHECK_NUMBER(ad_value(y), 27.0, 1e-15);
  CLEAN(t);
  ad_tape_free(t);
}

static void test_set_refuses(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), c = ad_constant(t, AD_F64(), (const double[]){ 1 }),
               v = ad_array(t, AD_F64(2), NULL);
  CHECK_STATUS(ad_set_value(ad_square(x), 1), AD_ERROR_ARGUMENT);
  ERROR(t, AD_ERROR_ARGUMENT, "set", "square");
  CHECK_STATUS(ad_set_value(c, 1), AD_ERROR_ARGUMENT);
  ERROR(t, AD_ERROR_ARGUMENT, "set", "constant");
  CHECK_STATUS(ad_set(x, NULL), AD_ERROR_ARGUMENT);
  ad_tape_clear(t);
  CHECK_STATUS(ad_set_value(v, 1), AD_ERROR_SHAPE);
  ad_tape_clear(t);
  CHECK_STATUS(ad_set_value(AD_VAR(1.5), 1), AD_ERROR_ARGUMENT);
  CLEAN(t);
  ad_tape_free(t);
}

/* if (ad_value(a) > 0) was taken for a = x - 1 > 0: after ad_set it may not have been. */
static void test_stale_branch(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), before = ad_exp(x), a = ad_sub(x, 1);
  CHECK(ad_value(a) > 0);
  const ad_var y = ad_mul(2, x);
  double out;
  ad_set_value(x, 0.5);
  CHECK_STATUS(ad_read(before, &out), AD_OK);
  CHECK_NUMBER(out, exp(0.5), 1e-15);
  CHECK_STATUS(ad_read(y, &out), AD_STALE);
  CHECK_NUMBER(out, 1.0, 0);
  ERROR(t, AD_STALE, "read while recording");
  ad_set_value(x, 3);
  CHECK_STATUS(ad_read(y, &out), AD_OK);
  CHECK_NUMBER(out, 6.0, 0);
  CLEAN(t);
  ad_tape_free(t);
}

/* A comparison that comes out the same is no wrong branch, whatever the numbers behind it; nor is reading
 * an input. */
static void test_same_branch(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), positive = ad_greater(x, 0);
  double out;
  CHECK(ad_value(x) == 3);
  const ad_var z = ad_value(positive) != 0 ? ad_sqrt(x) : ad_neg(x);
  ad_set_value(x, 16);
  CHECK_STATUS(ad_read(z, &out), AD_OK);
  CHECK_NUMBER(out, 4.0, 0);
  ad_set_value(x, -1);
  CHECK_STATUS(ad_read(z, &out), AD_STALE);
  CHECK(isnan(out));
  ad_tape_free(t);
}

/* What is recorded anew after a rewind below the stale point is good again. */
static void test_stale_is_forgotten_on_rewind(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3);
  const ad_mark m = ad_tape_mark(t);
  double out;
  for (int i = 0; i < 5; i++) {
    ad_set_value(x, i - 2);
    const ad_var a = ad_neg(x);
    const ad_var y = ad_value(a) > 0 ? ad_mul(a, 2) : ad_mul(a, 3);
    CHECK_STATUS(ad_read(y, &out), AD_OK);
    CHECK_NUMBER(out, i < 2 ? 2.0*(2 - i) : 3.0*(2 - i), 0);
    CHECK_STATUS(ad_tape_rewind(t, m), AD_OK);
  }
  CLEAN(t);
  ad_tape_free(t);
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void test_first_error_is_kept(void) {
  ad_tape *t = ad_tape_new();
  const ad_var a = ad_array(t, AD_F64(3, 4), NULL), b = ad_array(t, AD_F32(5), NULL),
               c = ad_array(t, AD_F64(5, 2), NULL);
  const ad_var bad = ad_add(a, b);
  CHECK(!ad_is_valid(bad));
  const ad_var worse = ad_matmul(a, c), chain = ad_exp(ad_mul(bad, worse));
  CHECK(!ad_is_valid(worse) && !ad_is_valid(chain));
  CHECK(ad_type_of(chain).rank == -1);
  CHECK(!strcmp(ad_operation_name(chain), ""));
  CHECK(isnan(ad_value(chain)));
  ERROR(t, AD_ERROR_SHAPE, "add", "f64(3,4)", "f32(5)");
  CHECK(!strcmp(ad_tape_message(t), ""));
  CHECK(!ad_is_valid(bad) && !ad_is_valid(ad_neg(bad)));
  ERROR(t, AD_ERROR_HANDLE, "neg", "invalid");
  ad_matmul(a, c);
  ERROR(t, AD_ERROR_SHAPE, "matmul", "(3,4)", "(5,2)");
  ad_tape_free(t);
}

static void test_errors_of_calls(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 1), v = ad_array(t, AD_F64(2), NULL);
  double out;
  ad_var g;
  CHECK(isnan(ad_value(v)));
  ERROR(t, AD_ERROR_SHAPE, "value");
  CHECK_STATUS(ad_read(x, NULL), AD_ERROR_ARGUMENT);
  ad_tape_clear(t);
  CHECK_STATUS(ad_jvp(1, &x, &v, 1, &x, &g), AD_ERROR_SHAPE);
  ERROR(t, AD_ERROR_SHAPE, "jvp", "seed", "f64(2)");
  CHECK_STATUS(ad_read(ad_log(g), &out), AD_ERROR_HANDLE);
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_record(t, NULL, 0, NULL, NULL, 0)));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_record(NULL, &twice, 0, NULL, NULL, 0)));
  CLEAN(t);
  ad_tape_free(t);
}

static void test_without_a_tape(void) {
  const ad_var lost = ad_scalar(NULL, 1);
  CHECK(!ad_is_valid(lost) && !ad_is_valid(ad_add(lost, 1)) && !ad_is_valid(ad_exp(lost))
        && isnan(ad_value(lost)));
  CHECK(!ad_is_valid(ad_array(NULL, AD_F64(), NULL)));
  CHECK(ad_tape_status(NULL) == AD_ERROR_ARGUMENT);
  CHECK(ad_tape_size(NULL) == 0 && ad_tape_bytes(NULL) == 0);
  CHECK_STATUS(ad_backward(lost), AD_ERROR_HANDLE);
  CHECK_STATUS(ad_set_value(lost, 1), AD_ERROR_HANDLE);
  ad_tape_clear(NULL);
  ad_tape_free(NULL);
  CHECK(!ad_is_valid(ad_none()) && ad_is_none(ad_none()) && !ad_is_none(lost));
}

static void reads_while_tracing(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  *(double *)context = ad_value(in[0]);
  out[0] = ad_square(in[0]);
}

static void test_no_value_while_tracing(void) {
  double seen = 0;
  ad_report report;
  ad_type scalar = AD_F64();
  ad_function *f = ad_function_trace_report("f", reads_while_tracing, &seen, 1, &scalar, 1, &report);
  CHECK(!f && isnan(seen));
  CHECK_STATUS(report.status, AD_ERROR_NO_VALUE);
  CHECK(strstr(report.message, "traced"));
  ad_function_free(f);
}

int main(void) {
  test_variable_used_many_times();
  test_inner_variable_used_many_times();
  test_both_operands_are_one_variable();
  test_forty_doublings();
  test_gradients_start_from_zero();
  test_adjoint_before_and_after_its_time();
  test_unconnected_input_gets_zeros();
  test_stop_gradient();
  test_ieee_values();
  test_two_tapes();
  test_reading_computes_once(&twice, 2, AD_F64());
  test_reading_computes_once(&twice, 2, AD_F64(3));
  test_reading_computes_once(&thrice, 3, AD_F64());
  test_reading_computes_once(&thrice, 3, AD_F64(3));
  test_define_by_run_is_linear();
  test_failing_kernel();
  test_rewind();
  test_adjoints_are_forgotten_with_their_nodes();
  test_many_rewinds();
  test_random_rewinds();
  test_set_recomputes();
  test_replay_of_signed_zero();
  test_set_reaches_derivatives();
  test_set_refuses();
  test_stale_branch();
  test_same_branch();
  test_stale_is_forgotten_on_rewind();
  test_first_error_is_kept();
  test_errors_of_calls();
  test_without_a_tape();
  test_no_value_while_tracing();
  return check_summary();
}
