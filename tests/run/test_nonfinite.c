/* test_nonfinite.c -- finding the operation that makes a NaN or an infinity: the function is built so that it
 * is known which one it is, at which element, of which operands, in which step. */
#include "check.h"
#include "heap.h"
#include "adit.h"


static ad_type scalar, vector;

static ad_nonfinite found_in(ad_function *f, const void *const in[], bool derivative, const char *operation) {
  ad_nonfinite r;
  CHECK_STATUS(ad_find_nonfinite(f, in, &r), AD_OK);
  CHECK_THAT(r.found && r.derivative == derivative && !strcmp(r.operation, operation), "%s: %s", operation,
             r.message);
  return r;
}

static ad_function *traced(const char *name, ad_body *body, void *context, int n, const ad_type in[], int m) {
  ad_function *f = ad_function_trace(name, body, context, n, in, m);
  CHECK_THAT(f != NULL, "%s could not be traced", name);
  return f;
}

/* --- plain functions ------------------------------------------------------------------------------------ */

/* sum(log(x - s)/3): number 0 is sub, 1 log. */
static void log_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  ad_note(t, "distance");
  const ad_var d = ad_sub(in[0], in[1]);
  ad_note(t, "energy");
  const ad_var e = ad_log(d);
  ad_note(t, NULL);
  out[0] = ad_sum(ad_div(e, ad_real(3)), AD_ALL_AXES, false);
}

static void test_plain(void) {
  const ad_type type[2] = { vector, scalar };
  ad_function *f = traced("entropy", log_body, NULL, 2, type, 1);
  double x[3] = { 2, 3, 1 }, s = 1;
  const void *const in[2] = { x, &s };
  ad_nonfinite r = found_in(f, in, false, "log");
  CHECK(r.element == 2 && r.value == -INFINITY && r.operands == 1 && r.operand[0] == 0 && r.number == 1);
  CHECK(!strcmp(r.function, "entropy") && !strcmp(r.note, "energy") && !strcmp(r.path, "entropy")
        && r.step == -1);
  CHECK_THAT(!strcmp(r.message,
                     "entropy: log makes -inf at element 2 of 0; operation 1 of entropy, noted \"energy\""),
             "%s", r.message);
  x[1] = 0;
  r = found_in(f, in, false, "log");
  CHECK(r.element == 1 && isnan(r.value) && r.operand[0] == -1);
  x[1] = x[2] = 3;
  CHECK_STATUS(ad_find_nonfinite(f, in, &r), AD_OK);
  CHECK_THAT(!r.found && r.input == -1 && !strcmp(r.message,
             "entropy: no operation makes a NaN or an infinity, nor does the derivative."), "%s", r.message);
  /* what comes in is not made here, but the other elements are looked at all the same */
  x[1] = INFINITY;
  CHECK_STATUS(ad_find_nonfinite(f, in, &r), AD_OK);
  CHECK(!r.found && r.input == 0 && r.input_element == 1);
  CHECK_THAT(strstr(r.message, "entropy: input 0 is not finite at element 1."), "%s", r.message);
  x[2] = 0.5;
  r = found_in(f, in, false, "log");
  CHECK(r.element == 2 && r.input == 0 && r.input_element == 1);
  CHECK_STATUS(ad_find_nonfinite(NULL, in, &r), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_find_nonfinite(f, in, NULL), AD_ERROR_ARGUMENT);
  ad_function_free(f);
}

/* Broadcasting, and an operation on whole arrays: x/s with a row of s zero; a product that overflows. */
static void quotient_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_div(in[0], ad_expand(in[1], 1));
  out[1] = ad_matmul(in[0], in[2]);
}

static void test_arrays(void) {
  const ad_type type[3] = { AD_F64(2, 3), AD_F64(2), AD_F64(3) };
  ad_function *f = traced("arrays", quotient_body, NULL, 3, type, 2);
  const double x[6] = { 1, 2, 3, 4, 0, -1e200 }, s[2] = { 1, 0 };
  double v[3] = { 1, 2, 3 };
  ad_nonfinite r = found_in(f, (const void *const[]){ x, s, v }, false, "div");
  CHECK(r.element == 3 && r.value == INFINITY && r.operands == 2 && r.operand[0] == 4 && r.operand[1] == 0);
  const double one[2] = { 1, 1 };
  v[2] = 1e200;
  r = found_in(f, (const void *const[]){ x, one, v }, false, "matmul");
  CHECK(r.element == 1 && r.value == -INFINITY && r.operand[0] == -1e200 && r.operand[1] == 1e200);
  ad_function_free(f);
}

/* f32 overflows where f64 does not: in the cast. */
static void cast_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_cast(ad_mul(in[0], in[0]), AD_F32);
}

static void test_cast(void) {
  ad_function *f = traced("narrow", cast_body, NULL, 1, &scalar, 1);
  const double x = 1e30;
  const ad_nonfinite r = found_in(f, (const void *const[]){ &x }, false, "cast");
  CHECK(r.value == INFINITY && r.operand[0] == x*x);
  ad_function_free(f);
}

/* --- the derivative ------------------------------------------------------------------------------------- */

/* sum(sqrt(x^2)): finite at 0, but the slope of sqrt is not. */
static void root_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_var square = ad_mul(in[0], in[0]);
  ad_note(t, "root");
  out[0] = ad_sum(ad_sqrt(square), AD_ALL_AXES, false);
}

static void test_derivative(void) {
  ad_function *f = traced("length", root_body, NULL, 1, &vector, 1);
  const double x[3] = { 1, 0, 2 };
  const ad_nonfinite r = found_in(f, (const void *const[]){ x }, true, "div");
  CHECK(!strcmp(r.of, "sqrt") && r.element == 1 && r.value == INFINITY && r.operand[0] == 1
        && r.operand[1] == 0);
  CHECK(r.number == 1 && !strcmp(r.note, "root"));
  CHECK_THAT(!strcmp(r.message, "length: in the derivative of sqrt, div makes inf at element 1 of 1, 0; "
                                "operation 1 of length, noted \"root\""), "%s", r.message);
  ad_function_free(f);
}

/* x > 0 ? log x : 0, whose derivative at 0 goes nowhere near 1/x: nothing is found in it. */
static void guarded_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var positive = ad_greater(in[0], ad_real(0));
  out[0] = ad_sum(ad_select(positive, ad_sqrt(in[0]), in[0]), AD_ALL_AXES, false);
}

static void test_guarded(void) {
  ad_function *f = traced("guarded", guarded_body, NULL, 1, &vector, 1);
  const double x[3] = { 1, 0, 2 };
  ad_nonfinite r;
  CHECK_STATUS(ad_find_nonfinite(f, (const void *const[]){ x }, &r), AD_OK);
  CHECK_THAT(!r.found, "%s", r.message);
  ad_function_free(f);
}

/* The sum of two contributions overflows, and no single one does. */
static void sum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], ad_real(1e308));
  out[1] = ad_mul(in[0], ad_real(1.5e308));
}

static void test_sum(void) {
  ad_function *f = traced("sum", sum_body, NULL, 1, &scalar, 2);
  const double x = 0.1;
  const ad_nonfinite r = found_in(f, (const void *const[]){ &x }, true, "add");
  CHECK(r.operands == 2 && fmin(r.operand[0], r.operand[1]) == 1e308
        && fmax(r.operand[0], r.operand[1]) == 1.5e308);
  ad_function_free(f);
}

/* --- inside other functions ----------------------------------------------------------------------- */

/* (c, x) -> c + 2/(x - 3): the third row of x is 3. */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  ad_note(t, "force");
  out[0] = ad_add(in[0], ad_div(ad_real(2), ad_sub(in[1], ad_real(3))));
}

/* (c, x) -> sqrt(c^2) + x: finite; the derivative is infinite where c is 0. */
static void root_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_sqrt(ad_square(in[0])), in[1]);
}

enum { CALL, BRANCH, CUSTOM, MAP, SCAN, ALL, BACKWARDS, COUNTED, WHILE, SETTINGS };
typedef struct setting { int kind; ad_function *f; } setting;

static void below_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], ad_real(4));
}

/* (i, c, x) -> (i + 1, f(c, x[i])) */
static void while_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_var x[2] = { in[1], ad_take(in[2], ad_cast(in[0], AD_I64), 0) };
  out[0] = ad_add(in[0], ad_real(1));
  ad_checkpoint(f, x, &out[1]);
}

static void record_while(ad_tape *t, ad_function *f, const ad_var in[], ad_var out[]) {
  const ad_type type[3] = { scalar, scalar, AD_F64(4) };
  ad_function *below = traced("below", below_body, NULL, 1, type, 1),
              *body = traced("body", while_body, f, 3, type, 2);
  const ad_var x[3] = { ad_full(t, scalar, 0), in[0], in[1] };
  ad_var y[2];
  ad_while(below, body, NULL, x, y);
  out[0] = y[1];
  ad_function_free(below);
  ad_function_free(body);
}

/* Of (c, x[4]): f on c and x[2], all x, or one after the other. */
static void setting_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const int64_t two = 2;
  const ad_var x[2] = { in[0], ad_at(in[1], 1, &two) };
  ad_loop how = { .keep = s->kind == ALL ? AD_KEEP_ALL : AD_KEEP_STATES, .backwards = s->kind == BACKWARDS,
                  .counted = s->kind == COUNTED };
  ad_function *g = NULL;
  ad_var y;
  if (s->kind == COUNTED) how.count = ad_full(t, AD_I64(), 3);
  switch (s->kind) {
    case CALL:   ad_checkpoint(s->f, x, out); break;
    case BRANCH:
      ad_cond(ad_greater(in[0], ad_real(100)),
              g = traced("other", root_step, NULL, 2, (ad_type[]){ scalar, scalar }, 1), s->f, x, out);
      break;
    case MAP:
      ad_map(s->f, in, &y);
      out[0] = ad_sum(y, AD_ALL_AXES, false);
      break;
    case WHILE:  record_while(t, s->f, in, out); break;
    case CUSTOM:
      g = ad_custom(s->f, NULL, NULL);
      ad_function_apply(g, x, out);
      break;
    default:     ad_scan(s->f, 1, &how, in, out);
  }
  ad_function_free(g);
}

static ad_function *in_setting(int kind, ad_function *f) {
  const ad_type type[2] = { scalar, AD_F64(4) };
  setting s = { kind, f };
  return traced("outer", setting_body, &s, 2, type, 1);
}

static void test_inside(void) {
  static const char *const paths[SETTINGS] = { [CALL] = "outer > inverse",
                                               [BRANCH] = "outer > inverse",
                                               [MAP] = "outer > instance 2 of inverse",
                                               [SCAN] = "outer > step 2 of inverse",
                                               [ALL] = "outer > step 2 of inverse",
                                               [BACKWARDS] = "outer > step 1 of inverse",
                                               [COUNTED] = "outer > step 2 of inverse",
                                               [WHILE] = "outer > step 2 of body > inverse",
                                               [CUSTOM] = "outer > inverse" };
  const ad_type type[2] = { scalar, scalar };
  ad_function *f = traced("inverse", step_body, NULL, 2, type, 1);
  const double c = 0.5, x[4] = { 1, 2, 3, 4 };
  for (int kind = 0; kind < SETTINGS; kind++) {
    ad_function *g = in_setting(kind, f);
    const ad_nonfinite r = found_in(g, (const void *const[]){ &c, x }, false, "div");
    CHECK_THAT(!strcmp(r.path, paths[kind]), "%s, not %s", r.path, paths[kind]);
    CHECK(!strcmp(r.function, "inverse") && !strcmp(r.note, "force") && r.operand[0] == 2 && r.operand[1] == 0
          && r.number == 1);
    CHECK(r.step == (strstr(paths[kind], " 1 of") ? 1 : strstr(paths[kind], " 2 of") ? 2 : -1));
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* State c is 0 before step 2, row 2 (backwards: before step 1, row 2). */
static void test_inside_derivative(void) {
  static const char *const paths[SETTINGS] = { [CALL] = "outer > root_vjp",
                                               [BRANCH] = "outer > root_vjp",
                                               [MAP] = "outer > instance 0 of root_vjp",
                                               [SCAN] = "outer > step 2 of root_vjp",
                                               [ALL] = "outer > step 2 of root_vjp",
                                               [BACKWARDS] = "outer > step 2 of root_vjp",
                                               [COUNTED] = "outer > step 2 of root_vjp",
                                               [WHILE] = "outer > step 2 of body_vjp > root_vjp",
                                               [CUSTOM] = "outer" };
  static const char *const of[SETTINGS] = {
    [CALL] = "call",      [BRANCH] = "branch", [MAP] = "map",    [SCAN] = "scan", [ALL] = "scan",
    [BACKWARDS] = "scan", [COUNTED] = "scan",  [WHILE] = "loop", [CUSTOM] = "custom"
  };
  const ad_type type[2] = { scalar, scalar };
  ad_function *f = traced("root", root_step, NULL, 2, type, 1);
  const double zero = 0, one = 1, x[4] = { 1, -2, 3, 4 }, mirrored[4] = { 4, 3, -2, 1 };
  for (int kind = 0; kind < SETTINGS; kind++) {
    ad_function *g = in_setting(kind, f);
    const bool loop = kind >= SCAN;
    const void *const in[2] = { loop ? &one : &zero, kind == BACKWARDS ? mirrored : x };
    ad_nonfinite r = found_in(g, in, true, "reciprocal");
    CHECK_THAT(!strcmp(r.path, paths[kind]) && !strcmp(r.of, of[kind]), "%s of %s, not %s", r.path, r.of,
               paths[kind]);
    CHECK(r.operands == 1 && r.operand[0] == 0 && r.value == INFINITY);
    /* the same in the gradient, where it is an operation like others: 1/(2 sqrt), which does not depend on
     * the cotangent and is kept on the way forwards where all values are */
    ad_function *d = ad_function_gradient(g, 0, NULL);
    r = found_in(d, in, false, "reciprocal");
    const char *inside = kind == CUSTOM ? "" : kind == ALL ? " > step 2 of root" : strstr(paths[kind], " > ");
    CHECK_THAT(!strncmp(r.path, "outer_gradient", 14) && !strcmp(r.path + 14, inside), "%s", r.path);
    ad_function_free(d);
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* --- what fails ----------------------------------------------------------------------------------------- */

static ad_status refuse(void *context, const void *const in[], void *const out[], char *message,
                        size_t size) {
  (void)context, (void)in, (void)out;
  snprintf(message, size, "no");
  return AD_ERROR_NUMERIC;
}
static ad_status infinite(void *context, const void *const in[], void *const out[], char *message,
                          size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = *(const double *)in[0]/0.0;
  return AD_OK;
}

/* A loop that a NaN keeps running. */
static void not_above(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_logical_not(ad_greater(in[0], ad_real(10)));
}
static void to_nan(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sqrt(ad_sub(in[0], ad_real(1)));
}
static void endless_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_loop how = { .limit = 1000 };
  ad_function *g = traced("not_above", not_above, NULL, 1, &scalar, 1),
              *f = traced("to_nan", to_nan, NULL, 1, &scalar, 1);
  ad_while(g, f, &how, in, out);
  ad_function_free(f);
  ad_function_free(g);
}

static void test_failing(void) {
  ad_external e = { .name = "refuses", .n_in = 1, .n_out = 1, .in = &scalar, .out = &scalar, .call = refuse };
  ad_function *f = ad_function_external(&e, NULL);
  const double x = 2;
  ad_nonfinite r;
  CHECK_STATUS(ad_find_nonfinite(f, (const void *const[]){ &x }, &r), AD_ERROR_NUMERIC);
  CHECK_THAT(!r.found && !strcmp(r.message, "refuses: no"), "%s", r.message);
  ad_function_free(f);
  e.name = "pole", e.call = infinite;
  f = ad_function_external(&e, NULL);
  r = found_in(f, (const void *const[]){ &x }, false, "pole");
  CHECK(r.operand[0] == 2 && r.value == INFINITY);
  ad_function_free(f);
  f = traced("endless", endless_body, NULL, 1, &scalar, 1);
  r = found_in(f, (const void *const[]){ &x }, false, "sqrt");
  CHECK_THAT(r.step == 2 && !strcmp(r.path, "endless > step 2 of to_nan") && r.operand[0] == -1, "%s",
             r.message);
  ad_function_free(f);
}

static void memory_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_scan(f, 1, NULL, in, out);
}

/* Memory that fails at any allocation: the status says so, and nothing is left behind. */
static void test_memory(void) {
  const ad_type type[2] = { scalar, AD_F64(4) }, step[2] = { scalar, scalar };
  const double c = 1, x[4] = { 1, -2, 3, 4 };
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  bool done = false;
  for (long k = 1; k <= 5000 && !done; k++) {
    heap_fail(&h, 0, false);
    ad_function *f = ad_function_trace_with(&a, "root", root_step, NULL, 2, step, 1, NULL);
    ad_function *g = ad_function_trace_with(&a, "outer", memory_body, f, 2, type, 1, NULL);
    heap_fail(&h, k, true);
    ad_nonfinite r;
    const ad_status status = ad_find_nonfinite(g, (const void *const[]){ &c, x }, &r);
    done = status == AD_OK;
    CHECK_THAT(done ? r.found && r.step == 2 : status == AD_ERROR_MEMORY && !r.found && r.message[0],
               "allocation %ld: %s", k, r.message);
    ad_function_free(f);
    ad_function_free(g);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", k, heap_text(&h));
  }
  CHECK(done);
}

/* --- labels --------------------------------------------------------------------------------------------- */

static void noted_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_note(t, "outside");
  const ad_var square = ad_mul(in[0], in[0]);
  ad_var y;
  ad_function_apply(f, &square, &y);
  out[0] = ad_exp(y);                 /* again outside */
}

static void test_notes(void) {
  ad_function *f = traced("root", root_body, NULL, 1, &vector, 1),
              *g = traced("noted", noted_body, f, 1, &vector, 1);
  const double x[3] = { 10, 20, 30 };
  ad_nonfinite r = found_in(g, (const void *const[]){ x }, false, "exp");
  CHECK_THAT(!strcmp(r.note, "outside"), "%s", r.note);
  /* derivatives go under the label of what they are derivatives of */
  ad_function *d = ad_function_gradient(f, 0, NULL), *j = ad_function_jvp(f);
  const double kink[3] = { 1, 0, 2 };
  CHECK_STATUS(ad_find_nonfinite(d, (const void *const[]){ kink }, &r), AD_OK);
  CHECK_THAT(r.found && !r.derivative && !strcmp(r.note, "root"), "%s", r.message);
  CHECK_STATUS(ad_find_nonfinite(j, (const void *const[]){ kink, kink }, &r), AD_OK);
  CHECK_THAT(r.found && !r.derivative && !strcmp(r.note, "root"), "%s", r.message);
  ad_function_free(d);
  ad_function_free(j);
  ad_function_free(f);
  ad_function_free(g);
  /* on a tape: rewinding forgets labels, and a long one is cut */
  char text[100];
  memset(text, 'a', sizeof text);
  text[99] = 0;
  ad_tape *t = ad_tape_new();
  const ad_var v = ad_scalar(t, -1);
  CHECK_STATUS(ad_note(t, "first"), AD_OK);
  const ad_var a = ad_mul(v, v);
  const ad_mark m = ad_tape_mark(t);
  for (int k = 0; k < 1000; k++) {
    CHECK_STATUS(ad_note(t, k&1 ? "odd" : text), AD_OK);
    ad_sin(a);
  }
  CHECK_STATUS(ad_tape_rewind(t, m), AD_OK);
  const ad_var y = ad_log(ad_mul(a, v));
  f = ad_function_new("cut", 1, &v, 1, &y);
  const double minus = -1;
  r = found_in(f, (const void *const[]){ &minus }, false, "log");
  CHECK_THAT(!strcmp(r.note, "first"), "%s", r.note);
  ad_function_free(f);
  CHECK_STATUS(ad_note(t, text), AD_OK);
  const ad_var z = ad_log(ad_sub(a, ad_real(3)));
  f = ad_function_new("cut", 1, &v, 1, &z);
  r = found_in(f, (const void *const[]){ &minus }, false, "log");
  CHECK(strlen(r.note) == 59 && strspn(r.note, "a") == 59);
  ad_function_free(f);
  ad_tape_free(t);
  CHECK_STATUS(ad_note(NULL, "x"), AD_ERROR_ARGUMENT);
}

/* A gradient on a tape leaves the label of what comes after it. */
static void test_note_after_gradient(void) {
  ad_tape *t = ad_tape_new();
  const ad_var v = ad_scalar(t, 2);
  ad_note(t, "before");
  const ad_var y = ad_exp(v);
  ad_note(t, "after");
  const ad_var other = ad_sin(v);
  ad_var d;
  CHECK_STATUS(ad_grad(ad_mul(y, other), 1, &v, &d), AD_OK);
  const ad_var z = ad_log(ad_sub(d, d));
  ad_function *f = ad_function_new("tail", 1, &v, 1, &z);
  const double two = 2;
  const ad_nonfinite r = found_in(f, (const void *const[]){ &two }, false, "log");
  CHECK_THAT(!strcmp(r.note, "after"), "%s", r.note);
  ad_function_free(f);
  ad_tape_free(t);
}

int main(void) {
  scalar = AD_F64();
  vector = AD_F64(3);
  test_plain();
  test_arrays();
  test_cast();
  test_derivative();
  test_guarded();
  test_sum();
  test_inside();
  test_inside_derivative();
  test_failing();
  test_memory();
  test_notes();
  test_note_after_gradient();
  return check_summary();
}
