/* test_control_errors.c -- what calls, branches, maps and loops refuse, and in which words; limits reached
 * when they run; branches not taken that hold NaN, infinities and endless loops; memory that fails at every
 * n-th call.
 */
#include "function/control_scenarios.h"
#include "heap.h"

/* --- refused when recorded ------------------------------------------------------------------------------ */

static const setting wide = { .dtype = AD_F64 };

BODY(two_in) { (void)t, (void)context; out[0] = ad_mul(in[0], total(in[1])); }
BODY(state_and_row) { (void)t, (void)context; out[0] = ad_add(in[0], total(in[1])), out[1] = in[1]; }
BODY(grows) { (void)t, (void)context; out[0] = ad_stack(2, (const ad_var[]){ in[0], in[0] }, 0); }
BODY(is_small) { (void)t, (void)context; out[0] = ad_less(in[0], 10); }
BODY(are_small) { (void)t, (void)context; out[0] = ad_less(in[1], 10); }
BODY(one_more) { (void)t, (void)context; out[0] = ad_add(in[0], 1); }

/* f64(4) and a scalar come in many functions here. */
typedef struct kit {
  ad_tape *t;
  ad_function *two, *scan, *grows, *small, *arrays_small, *more, *more32;
  ad_var x, v, i, m, out[4];        /* a scalar, a vector of 4, an integer, a matrix (3, 4) */
} kit;

static kit open_kit(void) {
  const ad_type pair[2] = { AD_F64(), AD_F64(4) }, narrow = AD_F32();
  kit k = { .t = ad_tape_new() };
  k.two = inner("two", two_in, &wide, 2, pair, 1);
  k.scan = inner("step", state_and_row, &wide, 2, pair, 2);
  k.grows = inner("grows", grows, &wide, 1, pair, 1);
  k.small = inner("small", is_small, &wide, 1, pair, 1);
  k.arrays_small = inner("elementwise", are_small, &wide, 2, pair, 1);
  k.more = inner("more", one_more, &wide, 1, pair, 1);
  k.more32 = inner("more32", one_more, &wide, 1, &narrow, 1);
  k.x = ad_scalar(k.t, 1);
  k.v = ad_array(k.t, AD_F64(4), NULL);
  k.i = ad_array(k.t, AD_I64(), NULL);
  k.m = ad_array(k.t, AD_F64(3, 4), NULL);
  return k;
}

static void close_kit(kit *k) {
  ad_function *const all[] = { k->two, k->scan, k->grows, k->small, k->arrays_small, k->more, k->more32 };
  for (int i = 0; i < 7; i++) ad_function_free(all[i]);
  ad_tape_free(k->t);
}

/* The call's status and the tape's, the message, and that outputs are invalid. Clears the error. */
static void refused(kit *k, int line, ad_status got, ad_status want, int n_out, const char *text) {
  check_that(got == want && ad_tape_status(k->t) == want, __FILE__, line, "status \"%s\" and \"%s\"",
             ad_status_sentence(got),
             ad_status_sentence(ad_tape_status(k->t)));
  check_that(strcmp(ad_tape_message(k->t), text) == 0, __FILE__, line, "\"%s\", not \"%s\"",
             ad_tape_message(k->t), text);
  for (int j = 0; j < n_out; j++) check_that(!ad_is_valid(k->out[j]), __FILE__, line, "output %d is valid",
                                             j);
  ad_tape_clear(k->t);
}
#define REFUSED(k, call, status, n_out, text) refused(k, __LINE__, call, status, n_out, text)
#define IN(...) (const ad_var[]){ __VA_ARGS__ }

static void test_maps_refused(void) {
  kit k = open_kit();
  REFUSED(&k, ad_map(k.two, IN(k.x, k.v), k.out), AD_ERROR_SHAPE, 1,
          "map: no input of two has a leading axis of instances");
  REFUSED(&k, ad_map(k.two, IN(k.m, k.v), k.out), AD_ERROR_SHAPE, 1,
          "map: input 0 of two is f64(3,4), not f64() or with one leading axis more");
  REFUSED(&k, ad_map(k.two, IN(k.v, k.m), k.out), AD_ERROR_SHAPE, 1,
          "map: input 1 has 3 along its first axis, others have 4");
  REFUSED(&k, ad_map(k.two, IN(ad_cast(k.v, AD_F32), k.v), k.out), AD_ERROR_SHAPE, 1,
          "map: input 0 of two is f32(4), not f64() or with one leading axis more");
  REFUSED(&k, ad_map(NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "map: no function");
  CHECK_STATUS(ad_map(k.two, NULL, k.out), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_map(k.two, IN(k.v, k.v), NULL), AD_ERROR_ARGUMENT);
  ad_tape_clear(k.t);
  REFUSED(&k, ad_function_apply(NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "call: no function");
  REFUSED(&k, ad_checkpoint(NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "checkpoint: no function");
  CHECK(ad_map(k.two, IN(ad_real(1), ad_real(2)), k.out) == AD_ERROR_ARGUMENT
        && ad_tape_status(k.t) == AD_OK);
  CHECK(!ad_function_map(k.two, -1, NULL) && !ad_function_map(NULL, 3, NULL));
  ad_function *none = ad_function_map(k.two, 3, (const bool[]){ false, false });
  CHECK(!none);
  close_kit(&k);
}

static void test_branches_refused(void) {
  kit k = open_kit();
  REFUSED(&k, ad_cond(k.x, k.two, k.more, IN(k.x, k.v), k.out), AD_ERROR_ARGUMENT, 1,
          "cond: two has 2 inputs and 1 outputs, more has 1 and 1");
  REFUSED(&k, ad_cond(k.x, k.more, k.more32, IN(k.x), k.out), AD_ERROR_SHAPE, 1,
          "cond: input 0 is f64() in one branch and f32() in the other");
  REFUSED(&k, ad_cond(k.x, k.more, k.grows, IN(k.x), k.out), AD_ERROR_SHAPE, 1,
          "cond: output 0 is f64() in one branch and f64(2) in the other");
  REFUSED(&k, ad_cond(k.v, k.more, k.more, IN(k.x), k.out), AD_ERROR_SHAPE, 1,
          "cond: the condition is no scalar");
  REFUSED(&k, ad_cond(k.x, NULL, k.more, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "cond: no function");
  REFUSED(&k, ad_cond(k.x, k.more, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "cond: no function");
  close_kit(&k);
}

static void test_loops_refused(void) {
  kit k = open_kit();
  const ad_loop bad_keep = { .keep = (ad_keep)9 }, negative = { .steps = -1 },
                no_k = { .keep = AD_KEEP_EVERY },
                no_budget = { .keep = AD_KEEP_BINOMIAL }, five = { .steps = 5 };
  const char *range = "scan: an option is out of range",
             *given = "scan: how many states are kept is not given";
  REFUSED(&k, ad_scan(k.scan, 1, &bad_keep, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2, range);
  REFUSED(&k, ad_scan(k.scan, 1, &negative, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2, range);
  REFUSED(&k, ad_scan(k.scan, 1, &no_k, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2, given);
  REFUSED(&k, ad_scan(k.scan, 1, &no_budget, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2, given);
  REFUSED(&k, ad_scan(k.scan, 1, &five, IN(k.x, k.m), k.out), AD_ERROR_SHAPE, 2,
          "scan: 5 steps, but inputs for 3");
  REFUSED(&k, ad_scan(k.scan, 3, NULL, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2,
          "scan: step has no 3 states");
  REFUSED(&k, ad_scan(k.scan, -1, NULL, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2,
          "scan: step has no -1 states");
  REFUSED(&k, ad_fold(k.grows, 1, &five, IN(k.x), k.out), AD_ERROR_SHAPE, 1,
          "fold: state 0 of grows is f64() before a step and f64(2) after it");
  REFUSED(&k, ad_fold(k.scan, 1, NULL, IN(k.x, k.m), k.out), AD_ERROR_ARGUMENT, 2,
          "fold: step has outputs besides its 1 states");
  const ad_loop real_count = { .counted = true, .count = k.x }, open_end = { .counted = true, .count = k.i },
                vector = { .counted = true, .count = ad_cast(k.v, AD_I64) };
  REFUSED(&k, ad_fold(k.more, 1, &real_count, IN(k.x), k.out), AD_ERROR_DTYPE, 1,
          "scan: the number of steps is no integer scalar");
  REFUSED(&k, ad_fold(k.more, 1, &vector, IN(k.x), k.out), AD_ERROR_DTYPE, 1,
          "scan: the number of steps is no integer scalar");
  REFUSED(&k, ad_scan(k.scan, 1, &open_end, IN(k.x, k.v), k.out), AD_ERROR_ARGUMENT, 2,
          "scan: stacked outputs need a number of steps at most");
  const char *needs = "reduce: needs f(a, b, ..) -> a, and elements along a first axis";
  REFUSED(&k, ad_reduce(k.more, NULL, IN(k.v), k.out), AD_ERROR_ARGUMENT, 1, needs);
  REFUSED(&k, ad_reduce(k.two, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, needs);
  REFUSED(&k, ad_reduce(k.two, NULL, IN(ad_slice(k.v, 0, 0, 0, 1)), k.out), AD_ERROR_ARGUMENT, 1, needs);
  REFUSED(&k, ad_while(k.two, k.more, NULL, IN(k.x, k.v), k.out), AD_ERROR_ARGUMENT, 1,
          "while: two is no condition, one scalar from the first inputs of more");
  REFUSED(&k, ad_while(k.arrays_small, k.two, NULL, IN(k.x, k.v), k.out), AD_ERROR_ARGUMENT, 1,
          "while: elementwise is no condition, one scalar from the first inputs of two");
  REFUSED(&k, ad_while(k.small, k.more32, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1,
          "while: small is no condition, one scalar from the first inputs of more32");
  REFUSED(&k, ad_fold(k.more, 1, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1,
          "fold: no input has an axis of steps, and no option says how many");
  REFUSED(&k, ad_scan(NULL, 1, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "scan: no function");
  REFUSED(&k, ad_fold(NULL, 1, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "fold: no function");
  REFUSED(&k, ad_while(NULL, k.more, NULL, IN(k.x), k.out), AD_ERROR_ARGUMENT, 1, "while: no function");
  REFUSED(&k, ad_reduce(NULL, NULL, IN(k.v), k.out), AD_ERROR_ARGUMENT, 1, "reduce: no function");
  close_kit(&k);
}

/* Variables of two tapes, invalid ones, and functions with captured variables. */
BODY(captures_one) { (void)t; out[0] = ad_mul(in[0], *(const ad_var *)context); }

static void test_variables_refused(void) {
  kit k = open_kit();
  ad_tape *other = ad_tape_new();
  const ad_var y = ad_scalar(other, 2), broken = ad_matmul(k.v, k.m);
  ad_tape_clear(k.t);
  CHECK_STATUS(ad_map(k.two, IN(k.v, ad_array(other, AD_F64(4), NULL)), k.out), AD_ERROR_TAPES);
  ad_tape_clear(k.t), ad_tape_clear(other);
  CHECK_STATUS(ad_checkpoint(k.two, IN(y, k.v), k.out), AD_ERROR_TAPES);
  ad_tape_clear(k.t), ad_tape_clear(other);
  CHECK_STATUS(ad_checkpoint(k.two, IN(k.x, broken), k.out), AD_ERROR_HANDLE);
  ad_tape_clear(k.t);
  CHECK_STATUS(ad_fold(k.more, 1, NULL, IN(broken), k.out), AD_ERROR_HANDLE);
  CHECK(!ad_is_valid(k.out[0]));
  ad_tape_clear(k.t);
  const ad_type one = AD_F64();
  const double x = 3;
  double z;
  ad_function *f = inner_of(k.t, "captures", captures_one, &k.x, 1, &one, 1);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ &x }, (void *const[]){ &z }, NULL),
               AD_ERROR_ARGUMENT);
  ad_report report;
  CHECK(!ad_function_trace_report("plain", captures_one, &k.x, 1, &one, 1, &report)
        && report.status == AD_ERROR_TAPES);
  CHECK_STATUS(ad_checkpoint(f, IN(ad_real(3)), k.out), AD_OK);
  CHECK_NUMBER(ad_value(k.out[0]), 3.0, 0);
  ad_function_free(f);
  ad_tape_free(other);
  close_kit(&k);
}

/* --- nesting -------------------------------------------------------------------------------------------- */

BODY(wraps) { (void)t; ad_checkpoint(context, in, out); }

static void test_depth(void) {
  enum { DEEPEST = 128 };
  const ad_type one = AD_F64();
  ad_report report;
  ad_function *f = inner("level", one_more, &wide, 1, &one, 1);
  for (int depth = 2; depth <= DEEPEST; depth++) {
    ad_function *g = inner_of(NULL, "level", wraps, f, 1, &one, 1);
    ad_function_free(f);
    f = g;
    if (depth != 40) continue;
    const double x = 3;
    double y, d;
    ad_function *gradient = ad_function_gradient(f, 0, NULL);
    CHECK_STATUS(ad_function_call(gradient, (const void *const[]){ &x }, (void *const[]){ &y, &d }, NULL),
                 AD_OK);
    CHECK(y == 4 && d == 1);
    ad_function_free(gradient);
  }
  CHECK(!ad_function_trace_report("level", wraps, f, 1, &one, 1, &report));
  CHECK_STATUS(report.status, AD_ERROR_LIMIT);
  CHECK_THAT(!strcmp(report.message, "level: functions are nested more than 128 deep"), "%s", report.message);
  ad_function_free(f);
}

/* --- limits reached when it runs ------------------------------------------------------------------------ */

BODY(counted_sum) {
  SETTING;
  ad_function *f = inner("more", one_more, s, 1, (const ad_type[]){ AD_F64() }, 1);
  ad_loop o = s->loop;
  o.counted = true;
  o.count = in[1];
  ad_fold(f, 1, &o, in, out);
  ad_function_free(f);
}

/* Value and gradient by functions and on a tape, each of which says the same. */
static void fails_with(const char *what, ad_body *body, const setting *s, double x, int64_t n, ad_status want,
                       const char *text) {
  const ad_type two[2] = { AD_F64(), AD_I64() };
  const void *in[4] = { &x, &n, &x, &n };
  double room[4];
  void *out[4] = { &room[0], &room[1], &room[2], &room[3] };
  ad_function *f = inner(what, body, s, 2, two, 1),
              *all[] = { f, ad_function_gradient(f, 0, NULL), ad_function_jvp(f) };
  ad_workspace *w = ad_workspace_new();
  for (int i = 0; i < 3; i++) {
    const ad_status status = ad_function_call(all[i], in, out, w);
    const char *message = ad_workspace_message(w);
    CHECK_THAT(status == want && strstr(message, text), "%s, %d: \"%s\" (%s)", what, i, message,
               ad_status_sentence(status));
    ad_function_free(all[i]);
  }
  ad_workspace_free(w);
  ad_tape *t = ad_tape_new();
  const ad_var v[2] = { ad_scalar(t, x), ad_array(t, AD_I64(), &n) };
  ad_var y;
  body(t, v, &y, (void *)(uintptr_t)s);
  CHECK(ad_tape_status(t) == AD_OK);
  CHECK(isnan(ad_value(y)) == (want != AD_OK));
  CHECK_THAT(ad_tape_status(t) == want && strstr(ad_tape_message(t), text), "%s on a tape: %s", what,
             ad_tape_message(t));
  ad_tape_clear(t);
  CHECK_STATUS(ad_backward(y), want);
  ad_tape_free(t);
}

static void test_counts_out_of_range(void) {
  const setting five = { .dtype = AD_F64, .loop.steps = 5 },
                binomial = { .dtype = AD_F64, .loop = { .steps = 5, .keep = AD_KEEP_BINOMIAL, .k = 2 } };
  fails_with("sum", counted_sum, &five, 1, 6, AD_ERROR_LIMIT, "scan: 6 steps, of 5");
  fails_with("sum", counted_sum, &binomial, 1, 6, AD_ERROR_LIMIT, "scan: 6 steps, of 5");
  fails_with("sum", counted_sum, &five, 1, -1, AD_ERROR_LIMIT, "scan: -1 steps, of 5");
  fails_with("sum", counted_sum, &wide, 1, -2, AD_ERROR_LIMIT, "scan: -2 steps");
  fails_with("sum", counted_sum, &five, 1, 5, AD_OK, "");
  fails_with("sum", counted_sum, &five, 1, 0, AD_OK, "");
}

/* x = 1, 2, .. while it is below 10: 9 steps. */
BODY(count_to_ten) {
  SETTING;
  const ad_type one = AD_F64();
  ad_function *f = inner("more", one_more, s, 1, &one, 1), *p = inner("small", is_small, s, 1, &one, 1);
  ad_while(p, f, &s->loop, in, out);
  ad_function_free(f);
  ad_function_free(p);
}

static void test_while_limits(void) {
  const setting eight = { .dtype = AD_F64, .loop.limit = 8 }, nine = { .dtype = AD_F64, .loop.limit = 9 };
  const setting bytes = { .dtype = AD_F64, .loop.bytes = 71 }, enough = { .dtype = AD_F64, .loop.bytes = 72 };
  fails_with("ten", count_to_ten, &eight, 1, 0, AD_ERROR_LIMIT, "while: small still holds after 8 steps");
  fails_with("ten", count_to_ten, &nine, 1, 0, AD_OK, "");
  fails_with("ten", count_to_ten, &eight, 2, 0, AD_OK, "");
  fails_with("ten", count_to_ten, &eight, -1e9, 0, AD_ERROR_LIMIT, "while: small still holds after 8 steps");
  const ad_type two[2] = { AD_F64(), AD_I64() };
  const double x = 1;
  const int64_t n = 0;
  for (int i = 0; i < 2; i++) {
    double y, d;
    ad_workspace *w = ad_workspace_new();
    ad_function *f = inner("ten", count_to_ten, i ? &enough : &bytes, 2, two, 1),
                *g = ad_function_gradient(f, 0, NULL);
    const void *const in[] = { &x, &n };
    CHECK_STATUS(ad_function_call(g, in, (void *const[]){ &y, NULL }, w), AD_OK);
    CHECK_STATUS(ad_function_call(g, in, (void *const[]){ &y, &d }, w), i ? AD_OK : AD_ERROR_LIMIT);
    CHECK_THAT(i || strstr(ad_workspace_message(w), "more: the states of 9 steps take 72 bytes, of 71"), "%s",
               ad_workspace_message(w));
    ad_function_free(f);
    ad_function_free(g);
    ad_workspace_free(w);
  }
}

/* What fails inside is what the outside says: a callback in a scan in a map. */
static ad_status refuse_five(void *context, const void *const in[], void *const out[], char *message,
                             size_t size) {
  const double x = *(const double *)in[0];
  (void)context;
  *(double *)out[0] = x;
  if (x < 5) return AD_OK;
  snprintf(message, size, "%g is too much", x);
  return AD_ERROR_NUMERIC;
}
BODY(picky_step) {
  const ad_type one = AD_F64();
  const ad_external e = { .name = "picky", .n_in = 1, .n_out = 1, .in = &one, .out = &one,
                          .call = refuse_five };
  ad_function *f = ad_function_external(&e, NULL);
  (void)t, (void)context;
  ad_function_apply(f, in, out);
  out[0] = ad_add(out[0], in[1]);
  ad_function_free(f);
}
BODY(picky_fold) {
  const ad_type two[2] = { AD_F64(), AD_F64() };
  const ad_loop four = { .steps = 4 };
  ad_function *f = inner("picky step", picky_step, &wide, 2, two, 1);
  (void)t, (void)context;
  ad_fold(f, 1, &four, in, out);
  ad_function_free(f);
}
static void test_failure_inside(void) {
  const ad_type two[2] = { AD_F64(), AD_F64() };
  ad_function *f = inner("picky fold", picky_fold, &wide, 2, two, 1), *m = ad_function_map(f, 3, NULL);
  const double x[3] = { 0, 1, 0 }, good[3] = { 1, 1, 1.5 }, bad[3] = { 1, 1.5, 1.25 };
  double y[3];
  ad_workspace *w = ad_workspace_new();
  CHECK_STATUS(ad_function_call(m, (const void *const[]){ x, good }, (void *const[]){ y }, w), AD_OK);
  CHECK(y[0] == 4 && y[1] == 5 && y[2] == 6);
  CHECK_STATUS(ad_function_call(m, (const void *const[]){ x, bad }, (void *const[]){ y }, w),
               AD_ERROR_NUMERIC);
  CHECK_THAT(strstr(ad_workspace_message(w), "picky: 5.5 is too much"), "%s", ad_workspace_message(w));
  ad_workspace_free(w);
  ad_function_free(f);
  ad_function_free(m);
}

/* --- what is not taken ---------------------------------------------------------------------------------- */

BODY(roots) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(ad_log(in[0]), in[1]), ad_add(ad_div(in[1], in[0]), ad_sqrt(in[0])));
}
BODY(smooth) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_mul(ad_square(in[0]), ad_exp(in[0])), in[1]);
}
BODY(infinite) { (void)t, (void)context; out[0] = ad_div(in[1], ad_mul(in[0], 0)); }
BODY(endless) {
  SETTING;
  const ad_type one = AD_F64();
  ad_function *f = inner("same", smooth, s, 2, (const ad_type[]){ one, one }, 1),
              *p = inner("true", is_small, s, 1, &one, 1);
  ad_while(p, f, NULL, (const ad_var[]){ ad_mul(in[0], 0), in[1] }, out);
  ad_function_free(f);
  ad_function_free(p);
}

typedef struct choice { ad_body *taken, *other; bool first; } choice;

/* x is positive where the first side is to run. */
BODY(choice_body) {
  const choice *c = context;
  const ad_type two[2] = { AD_F64(), AD_F64() };
  ad_function *f = inner("taken", c->taken, &wide, 2, two, 1),
              *g = inner("other", c->other, &wide, 2, two, 1);
  (void)t;
  ad_cond(ad_greater(in[0], 0), c->first ? f : g, c->first ? g : f, in, out);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(choice_plain) { ((const choice *)context)->taken(t, in, out, (void *)(uintptr_t)&wide); }

/* At points where the other side's value or derivatives are nan or infinite. The branch by itself, and in a
 * map, which computes both sides. */
static void check_choice(choice c, double x) {
  const domain d = { x, x, 0 };
  const ad_type two[2] = { AD_F64(), AD_F64() };
  char name[80];
  snprintf(name, sizeof name, "branch at %g", x);
  ad_function *f = inner_of(NULL, name, choice_body, &c, 2, two, 1),
              *g = inner_of(NULL, name, choice_plain, &c, 2, two, 1);
  compare_chains(name, f, g, d, 2, 1e-13, 3);
  compare_series(name, f, g, d, 2, 1e-13, 5);
  if (c.other != endless) {
    ad_function *m = ad_function_map(f, 3, NULL), *n = ad_function_map(g, 3, NULL);
    snprintf(name, sizeof name, "map of branches at %g", x);
    compare_chains(name, m, n, d, 2, 1e-13, 2);
    ad_function_free(m);
    ad_function_free(n);
  }
  ad_function_free(f);
  ad_function_free(g);
}

static void test_not_taken(void) {
  static const double negative[] = { -2, -1e-300, -0.0, 0 };
  for (int i = 0; i < 4; i++) check_choice((choice){ smooth, roots, false }, negative[i]);
  for (int i = 0; i < 4; i++) check_choice((choice){ smooth, infinite, false }, negative[i]);
  check_choice((choice){ smooth, endless, false }, -1);
  check_choice((choice){ roots, infinite, true }, 0.75);
  check_choice((choice){ roots, endless, true }, 0.75);
}

/* --- memory that fails ---------------------------------------------------------------------------------- */

/* A function on the heap; a NULL is what callers get who do not look. */
static ad_function *on_heap(const ad_allocator *a, ad_body *body, ad_tape *outer, const void *context, int n,
                            int m) {
  const ad_type in[3] = { AD_F64(), AD_F64(), AD_F64() };
  return outer ? ad_function_trace_inside(outer, "inner", body, (void *)(uintptr_t)context, n, in, m, NULL)
               : ad_function_trace_with(a, "inner", body, (void *)(uintptr_t)context, n, in, m, NULL);
}

BODY(damped) { (void)t, (void)context; out[0] = ad_mul(ad_sin(in[0]), in[1]); }
BODY(damped_too) { (void)t, (void)context; out[0] = ad_tanh(in[0]), out[1] = ad_mul(out[0], in[1]); }
BODY(shrinks) { (void)t; out[0] = ad_mul(in[0], ad_add(0.5, ad_mul(0.1, *(const ad_var *)context))); }
BODY(is_large) { (void)t, (void)context; out[0] = ad_greater(in[0], 0.125); }

/* (x, a, v) -> one number through every carrier. What a failed call leaves is never used unset. */
BODY(everything) {
  const ad_allocator *a = context;
  ad_var z = ad_none(), y[2] = { z, z }, sum = in[0];
  const ad_loop all = { .keep = AD_KEEP_ALL }, binomial = { .keep = AD_KEEP_BINOMIAL, .k = 2, .steps = 5 };
  ad_function *f = on_heap(a, damped, NULL, NULL, 2, 1), *g = on_heap(a, damped_too, NULL, NULL, 2, 2),
              *h = on_heap(a, shrinks, t, &in[1], 1, 1), *p = on_heap(a, is_large, NULL, NULL, 1, 1);
  if (f) ad_map(f, (const ad_var[]){ in[2], in[1] }, &z), sum = ad_add(sum, total(z));
  if (f) ad_reduce(f, NULL, (const ad_var[]){ in[2] }, &z), sum = ad_add(sum, z);
  if (f) ad_fold(f, 1, &binomial, in, &z), sum = ad_add(sum, z);
  if (g) ad_scan(g, 1, &all, (const ad_var[]){ in[0], in[2] }, y), z = ad_add(y[0], total(y[1]));
  sum = ad_add(sum, z);
  if (p && h) ad_while(p, h, &(ad_loop){ .limit = 100 }, in, &z), sum = ad_add(sum, z);
  if (f) ad_checkpoint(f, in, &z), sum = ad_add(sum, z);
  if (h) ad_cond(ad_less(in[0], in[1]), h, h, in, &z), sum = ad_add(sum, z);
  out[0] = f && g && h && p ? sum : ad_none();
  ad_function *const made[] = { f, g, h, p };
  for (int i = 0; i < 4; i++) ad_function_free(made[i]);
}

typedef struct ledger { double sum; bool failed; } ledger;

static void call_and_free(ledger *l, ad_function *f) {
  static const double x = 0.7, a = 0.4, v[3] = { 0.1, 0.2, 0.3 };
  double room[8][3] = { { 0 } };
  const void *in[] = { &x, &a, v, &a, &x, v };
  void *out[8];
  for (int j = 0; j < 8; j++) out[j] = room[j];
  l->failed |= !f || ad_function_call(f, in, out, NULL) != AD_OK;
  for (int j = 0; j < 8; j++)
    for (int e = 0; e < 3 && !l->failed; e++) l->sum += (j + 1)*room[j][e];
  ad_function_free(f);
}

static void work_on_everything(const ad_allocator *a, ledger *l) {
  const ad_type in[3] = { AD_F64(), AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace_with(a, "everything", everything, (void *)(uintptr_t)a, 3, in, 1, NULL);
  l->failed |= !f;
  if (!f) return;
  call_and_free(l, ad_function_retain(f));
  call_and_free(l, ad_function_jvp(f));
  call_and_free(l, ad_function_hvp(f, 0, NULL));
  ad_function_free(f);
}

/* Every block comes back, and what comes out is right or fails. */
static long run_short(long fail_at, bool keep_failing, double want) {
  heap h = { .fail_at = fail_at, .keep_failing = keep_failing };
  const ad_allocator a = heap_allocator(&h);
  ledger l = { 0, false };
  work_on_everything(&a, &l);
  CHECK_THAT(heap_is_empty(&h), "allocation %ld fails: %s", fail_at, heap_text(&h));
  CHECK_THAT(l.failed || check_near(l.sum, want, 1e-12), "allocation %ld fails: %.17g, not %.17g", fail_at,
             l.sum, want);
  return h.calls;
}

static void test_failing_memory(void) {
  ledger l = { 0, false };
  work_on_everything(NULL, &l);
  CHECK(!l.failed && isfinite(l.sum));
  const long n = run_short(0, false, l.sum);
  long tried = 0;
  for (long k = 1; k <= n; k++, tried++) run_short(k, false, l.sum);
  for (long k = 1; k <= n; k += 1 + k/16, tried++) run_short(k, true, l.sum);
  printf("%ld allocations, %ld of them made to fail\n", n, tried);
}

int main(void) {
  test_maps_refused();
  test_branches_refused();
  test_loops_refused();
  test_variables_refused();
  test_depth();
  test_counts_out_of_range();
  test_while_limits();
  test_failure_inside();
  test_not_taken();
  test_failing_memory();
  return check_summary();
}
