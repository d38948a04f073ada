/* test_choices.c -- derivatives that meet again behind choices: those of both sides of a select, each added
 * up under the condition of its side, against the side's own derivative. What is not chosen has poles that
 * must not show. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "derive/flow.h"
#include "derive/mask.h"

enum { CONDITIONS = 4, POINTS = 18, MODES = 4 };

/* The condition, as the number and as the variable has it. */
static bool holds(int condition, double x) {
  switch (condition) {
    case 0: return x != 0;
    case 1: return x > 1;
    case 2: return !(x > 1);
    default: return x == 2;
  }
}

static ad_var record_condition(int condition, ad_var x) {
  switch (condition) {
    case 0: return ad_not_equal(x, 0);
    case 1: return ad_greater(x, 1);
    case 2: return ad_logical_not(ad_greater(x, 1));
    default: return ad_equal(x, 2);
  }
}

/* y > 0 ? (c ? x exp(y) + x log(x) : x + y sqrt(x)) : x y, x read on each side more than once. */
static ad_var record(int condition, ad_var x, ad_var y) {
  const ad_var c = record_condition(condition, x);
  const ad_var first = ad_add(ad_mul(x, ad_exp(y)), ad_mul(x, ad_log(x)));
  const ad_var second = ad_add(x, ad_mul(y, ad_sqrt(x)));
  return ad_select(ad_greater(y, 0), ad_select(c, first, second), ad_mul(x, y));
}

static void slopes(int condition, double x, double y, double *by_x, double *by_y) {
  if (!(y > 0)) *by_x = y, *by_y = x;
  else if (holds(condition, x)) *by_x = exp(y) + (log(x) + x*(1/x)), *by_y = x*exp(y);
  else *by_x = 1 + y/(2*sqrt(x)), *by_y = sqrt(x);
}

typedef struct question { int condition; ad_type type; } question;

static void read_numbers(ad_var v, ad_type type, double to[]) {
  if (type.dtype == AD_F64) {
    ad_read(v, to);
    return;
  }
  float single[POINTS];
  ad_read(v, single);
  for (int64_t i = 0; i < ad_type_count(type); i++) to[i] = (double)single[i];
}

/* The same in a function that is traced: forwards (mode 2), in reverse (mode 3). */
static void sweep(const question *q, bool reverse, ad_tape *t, const ad_var x[2], ad_var slope[]) {
  const ad_var z = record(q->condition, x[0], x[1]), ones = ad_ones(t, q->type);
  if (reverse) ad_vjp(1, &z, &ones, 2, x, slope);
  else for (int k = 0; k < 2; k++) ad_jvp(1, &x[k], &ones, 1, &z, &slope[k]);
}

static void forward_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  sweep(context, false, t, in, out);
}

static void reverse_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  sweep(context, true, t, in, out);
}

/* by[0], by[1]: of each element of the result by the same of x and of y. */
static void differentiate(const question *q, int mode, ad_tape *t, const ad_var x[2], double by[2][POINTS]) {
  ad_var slope[2] = { ad_none(), ad_none() };
  if (mode < 2) sweep(q, mode == 1, t, x, slope);
  else {
    const ad_type types[2] = { q->type, q->type };
    ad_function *f = ad_function_trace("choices", mode == 3 ? reverse_body : forward_body,
                                       (void *)(uintptr_t)q, 2, types, 2);
    CHECK(f && ad_function_apply(f, x, slope) == AD_OK);
    ad_function_free(f);
  }
  for (int k = 0; k < 2; k++) read_numbers(slope[k], q->type, by[k]);
}

static void test_question(const question *q, int mode, const double x[], const double y[]) {
  ad_tape *t = ad_tape_new();
  const int64_t n = ad_type_count(q->type);
  float single[2][POINTS];
  double by[2][POINTS];
  for (int64_t i = 0; i < n; i++) single[0][i] = (float)x[i], single[1][i] = (float)y[i];
  const bool wide = q->type.dtype == AD_F64;
  const ad_var both[2] = { ad_array(t, q->type, wide ? (const void *)x : single[0]),
                           ad_array(t, q->type, wide ? (const void *)y : single[1]) };
  differentiate(q, mode, t, both, by);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s", ad_tape_message(t));
  for (int64_t i = 0; i < n; i++) {
    double want[2];
    slopes(q->condition, x[i], y[i], &want[0], &want[1]);
    for (int k = 0; k < 2; k++)
      CHECK_THAT(check_near(by[k][i], want[k], wide ? 1e-14 : 1e-6),
                 "condition %d, mode %d, at (%g, %g), by %d: %.17g, not %.17g",
                 q->condition, mode, x[i], y[i], k, by[k][i], want[k]);
  }
  ad_tape_free(t);
}

static void test_slopes(void) {
  static const double xs[6] = { -1, 0, 0.5, 1, 2, NAN }, ys[3] = { -1.5, 0, 0.75 };
  double x[POINTS], y[POINTS];
  for (int i = 0; i < POINTS; i++) x[i] = xs[i%6], y[i] = ys[i/6];
  for (int condition = 0; condition < CONDITIONS; condition++)
    for (int mode = 0; mode < MODES; mode++)
      for (int wide = 0; wide < 2; wide++) {
        const ad_dtype dtype = wide ? AD_F64 : AD_F32;
        const int64_t all = POINTS, none = 0;
        test_question(&(question){ condition, ad_type_make(dtype, 1, &all) }, mode, x, y);
        test_question(&(question){ condition, ad_type_make(dtype, 1, &none) }, mode, x, y);
        for (int i = 0; i < POINTS; i++)
          test_question(&(question){ condition, ad_type_make(dtype, 0, NULL) }, mode, x + i, y + i);
      }
}

/* Sums of flows under p and c, and under p and not c, are under p alone; under one mask they stay so. */
static void test_sums(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3), y = ad_scalar(t, 5), p = ad_greater(x, 1), c = ad_greater(y, x);
  const ad_var q = ad_greater(x, 2);
  const ad_var not_c = ad_logical_not(c), equal = ad_equal(x, y), unequal = ad_not_equal(y, x);
  const struct { ad_var m, n; bool choice; ad_var within; } cases[] = {
    { c, not_c, true, ad_none() },      { not_c, c, true, ad_none() },
    { equal, unequal, true, ad_none() }, { unequal, equal, true, ad_none() },
    { ad_logical_and(p, c), ad_logical_and(p, not_c), true, p },
    { ad_logical_and(c, p), ad_logical_and(p, not_c), true, p },
    { ad_logical_and(p, not_c), ad_logical_and(c, p), true, p },
    { p, c, false, ad_none() },         { p, not_c, false, ad_none() },
    { ad_logical_and(p, c), not_c, false, ad_none() },
    { ad_logical_and(p, c), ad_logical_and(q, not_c), false, ad_none() },
    { ad_logical_and(c, p), ad_logical_and(not_c, q), false, ad_none() },
    { equal, ad_not_equal(x, 5), false, ad_none() },
    { ad_none(), c, false, ad_none() }, { equal, ad_not_equal(x, p), false, ad_none() },
    { ad_less(x, y), ad_greater_equal(x, y), false, ad_none() }       /* not for nan */
  };
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    ad_var first, within;
    const bool choice = mask_is_choice(t, cases[i].m, cases[i].n, &first, &within);
    CHECK_THAT(choice == cases[i].choice, "case %zu", i);
    if (!choice || !cases[i].choice) continue;
    CHECK_THAT(mask_same(within, cases[i].within), "case %zu: within another mask", i);
    const flow sum = flow_add(t, (flow){ x, cases[i].m, false }, (flow){ y, cases[i].n, false }, 0);
    CHECK_THAT(mask_same(sum.mask, cases[i].within), "case %zu: the sum is under another mask", i);
    double got;
    bool holds_first;
    ad_read(sum.value, &got);
    ad_read(cases[i].m, &holds_first);
    CHECK_THAT(got == (holds_first ? 3 : 5), "case %zu: %g", i, got);
  }
  const flow same = flow_add(t, (flow){ x, c, false }, (flow){ y, c, false }, 0);
  double got;
  ad_read(same.value, &got);
  CHECK_THAT(mask_same(same.mask, c) && got == 8, "%g", got);
  ad_tape_free(t);
}

int main(void) {
  test_slopes();
  test_sums();
  return check_summary();
}
