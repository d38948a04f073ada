/* control_scenarios.h -- programs in two ways: with the operations that carry functions, and as plain
 * formulas or unrolled. Each body is traced for one data type and one policy of memory. */
#ifndef ADIT_TESTS_CONTROL_SCENARIOS_H
#define ADIT_TESTS_CONTROL_SCENARIOS_H

#include "function/control_checks.h"

typedef struct setting { ad_dtype dtype; ad_loop loop; } setting;

#define ROW(...) (const int64_t[]){ __VA_ARGS__ }

static inline ad_var at(ad_var x, int64_t i) { return ad_at(x, 1, &i); }
static inline ad_var total(ad_var x) { return ad_sum(x, AD_ALL_AXES, false); }
static inline ad_type scalar_of(const setting *s) { return ad_type_make(s->dtype, 0, NULL); }
static inline ad_type vector_of(const setting *s, int64_t n) { return ad_type_make(s->dtype, 1, &n); }
static inline ad_type matrix_of(const setting *s, int64_t n,
                                int64_t m) { return ad_type_make(s->dtype, 2, ROW(n, m)); }

/* outer: where variables may come from; NULL: none are used. */
static ad_function *inner_of(ad_tape *outer, const char *name, ad_body *body, const void *context, int n,
                             const ad_type in[], int m) {
  ad_report report = { AD_OK, "" };
  void *given = (void *)(uintptr_t)context;
  ad_function *f = outer ? ad_function_trace_inside(outer, name, body, given, n, in, m, &report)
                         : ad_function_trace_report(name, body, given, n, in, m, &report);
  CHECK_THAT(f != NULL, "%s: %s", name, report.message);
  return f;
}

static inline ad_function *inner(const char *name, ad_body *body, const setting *s, int n, const ad_type in[],
                                 int m) {
  return inner_of(NULL, name, body, s, n, in, m);
}

#define BODY(name) static inline void name(ad_tape *t, const ad_var in[], ad_var out[], void *context)
#define SETTING const setting *s = context; (void)t, (void)s

/* --- calls and branches --------------------------------------------------------------------------------- */

/* x sin y in 300 pieces: too long to be copied in place. */
BODY(long_body) {
  SETTING;
  ad_var sum = ad_mul(in[0], 0);
  const ad_var piece = ad_div(ad_mul(in[0], ad_sin(in[1])), 300);
  for (int i = 0; i < 300; i++) sum = ad_add(ad_add(sum, piece), ad_mul(0.25*(i%3 - 1), ad_square(in[1])));
  out[0] = sum;
  out[1] = ad_cos(in[0]);
}
static inline void long_call(ad_tape *t, const ad_var in[], ad_var out[], void *context, bool checkpoint) {
  SETTING;
  ad_function *f = inner("long", long_body, s, 2, (const ad_type[]){ scalar_of(s), scalar_of(s) }, 2);
  ad_var y[2];
  if (checkpoint) ad_checkpoint(f, in, y);
  else ad_function_apply(f, in, y);
  out[0] = ad_mul(y[0], in[0]);
  out[1] = ad_mul(y[1], y[0]);
  ad_function_free(f);
}
BODY(call_body) { long_call(t, in, out, context, false); }
BODY(checkpoint_body) { long_call(t, in, out, context, true); }
BODY(call_plain) {
  SETTING;
  const ad_var y = ad_mul(in[0], ad_sin(in[1]));
  out[0] = ad_mul(y, in[0]);
  out[1] = ad_mul(ad_cos(in[0]), y);
}

BODY(left_body) {
  SETTING;
  out[0] = ad_mul(ad_sin(in[0]), in[1]);
  out[1] = in[0];
}
BODY(right_body) {
  SETTING;
  out[0] = ad_mul(ad_exp(in[0]), ad_square(in[1]));
  out[1] = ad_mul(in[1], in[2]);
}
/* (p, x, y, n) with an integer n, which is the condition, too */
BODY(cond_body) {
  SETTING;
  const ad_type type[3] = { scalar_of(s), scalar_of(s), AD_I64() };
  ad_function *f = inner("left", left_body, s, 3, type, 2), *g = inner("right", right_body, s, 3, type, 2);
  ad_var a[2], b[2];
  ad_cond(ad_less(in[0], in[1]), f, g, in, a);
  ad_cond(in[2], g, f, (const ad_var[]){ a[1], in[1], in[2] }, b);
  out[0] = ad_mul(a[0], b[0]);
  out[1] = b[1];
  ad_function_free(f);
  ad_function_free(g);
}
BODY(cond_plain) {
  SETTING;
  const ad_var p = ad_less(in[0], in[1]), q = ad_not_equal(in[2], 0);
  const ad_var a1 = ad_select(p, in[0], ad_mul(in[1], in[2]));
  const ad_var a0 = ad_select(p, ad_mul(ad_sin(in[0]), in[1]), ad_mul(ad_exp(in[0]), ad_square(in[1])));
  const ad_var b0 = ad_select(q, ad_mul(ad_exp(a1), ad_square(in[1])), ad_mul(ad_sin(a1), in[1]));
  out[0] = ad_mul(a0, b0);
  out[1] = ad_select(q, ad_mul(in[1], in[2]), a1);
}

/* --- maps ----------------------------------------------------------------------------------------------- */

BODY(point_body) {
  SETTING;
  out[0] = ad_mul(in[0], ad_sin(in[1]));
  out[1] = ad_mul(ad_exp(ad_mul(in[0], in[1])), total(ad_mul(in[2], in[0])));
}
BODY(map_body) {
  SETTING;
  ad_function *f = inner("point", point_body, s, 3,
                         (const ad_type[]){ scalar_of(s), scalar_of(s), vector_of(s, 2) }, 2);
  ad_map(f, in, out);
  ad_function_free(f);
}
BODY(map_plain) {
  SETTING;
  out[0] = ad_mul(in[0], ad_sin(in[1]));
  out[1] = ad_mul(ad_exp(ad_mul(in[0], in[1])), ad_mul(in[0], total(in[2])));
}

/* (A, b, C, index) -> A b, largest elements, rows, a solution, a cumulative product */
BODY(array_body) {
  SETTING;
  out[0] = ad_matmul(in[0], in[1]);
  out[1] = ad_mul(ad_sort(ad_matmul(in[1], in[2]), 0, true), ad_arange(t, 1, 4, 1, s->dtype));
  out[2] = ad_take(in[1], in[3], 0);
  out[3] = ad_solve(ad_add(in[0], ad_mul(4, ad_eye(t, 3, 3, 0, s->dtype))), in[1]);
  out[4] = ad_add(ad_cumprod(in[0], 1), ad_logsumexp(in[2], AD_AXES(0), true));
}
static const int64_t instances = 4;
/* A, index mapped; b, C shared. */
BODY(map_arrays_body) {
  SETTING;
  ad_function *f = inner("arrays", array_body, s, 4, (const ad_type[]){ matrix_of(s, 3, 3), vector_of(s, 3),
                                                                      matrix_of(s, 3, 3), AD_I64(2) }, 5);
  ad_map(f, in, out);
  ad_function_free(f);
}
BODY(map_arrays_plain) {
  SETTING;
  ad_var y[4][5], column[4];
  for (int64_t i = 0; i < instances; i++)
    array_body(t, (const ad_var[]){ at(in[0], i), in[1], in[2], at(in[3], i) }, y[i], context);
  for (int j = 0; j < 5; j++) {
    for (int i = 0; i < instances; i++) column[i] = y[i][j];
    out[j] = ad_stack((int)instances, column, 0);
  }
}

BODY(times_body) { SETTING; out[0] = ad_mul(ad_tanh(in[0]), in[1]); }
/* a row x and a number a -> a tanh x by a map, the product of x by a fold, all sums of x by a scan */
BODY(step_product_body) { SETTING; out[0] = ad_mul(in[0], in[1]); }
BODY(step_sum_body) { SETTING; out[0] = out[1] = ad_add(ad_mul(in[0], in[2]), in[1]); }
BODY(row_body) {
  SETTING;
  const ad_type one = scalar_of(s), three[3] = { one, one, one };
  ad_function *f = inner("times", times_body, s, 2, three, 1),
              *g = inner("product", step_product_body, s, 2, three, 1),
              *h = inner("sum", step_sum_body, s, 3, three, 2);
  ad_var y[2];
  ad_map(f, in, &out[0]);
  ad_fold(g, 1, &s->loop, (const ad_var[]){ in[1], in[0] }, &out[1]);
  ad_scan(h, 1, &s->loop, (const ad_var[]){ in[1], in[0], in[1] }, y);
  out[2] = y[1];
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(h);
}
BODY(nested_map_body) {
  SETTING;
  ad_function *f = inner("row", row_body, s, 2, (const ad_type[]){ vector_of(s, 3), scalar_of(s) }, 3);
  ad_map(f, in, out);
  ad_function_free(f);
}
BODY(nested_map_plain) {
  SETTING;
  ad_var column[3], sum = in[1];
  out[0] = ad_mul(ad_tanh(in[0]), in[1]);
  out[1] = ad_mul(ad_prod(in[0], AD_AXES(1), false), in[1]);
  sum = ad_broadcast_to(sum, 1, ROW(4));
  for (int step = 0; step < 3; step++) {
    const int64_t i = s->loop.backwards ? 2 - step : step;
    sum = ad_add(ad_mul(sum, in[1]), ad_squeeze(ad_slice(in[0], 1, i, 1, 1), AD_AXES(1)));
    column[i] = sum;
  }
  out[2] = ad_stack(3, column, 1);
}

/* while (x < 5) x = 2 x, of each instance: x 2^k, k = max(0, ceil(log2(5/x))). a is shared. */
BODY(below_five) { SETTING; out[0] = ad_less(in[0], 5); }
BODY(double_body) { SETTING; out[0] = ad_mul(in[0], 2), out[1] = ad_mul(in[1], in[2]); }
BODY(while_instance) {
  SETTING;
  const ad_type one = scalar_of(s), three[3] = { one, one, one };
  ad_function *f = inner("double", double_body, s, 3, three, 2),
              *p = inner("below five", below_five, s, 1, three, 1);
  ad_while(p, f, &s->loop, (const ad_var[]){ in[0], in[1], in[1] }, out);
  ad_function_free(f);
  ad_function_free(p);
}
BODY(while_map_body) {
  SETTING;
  ad_function *f = inner("instance", while_instance, s, 2, (const ad_type[]){ scalar_of(s), scalar_of(s) },
                         2);
  ad_map(f, in, out);
  ad_function_free(f);
}
BODY(while_plain) {
  SETTING;
  const ad_var k = ad_stop_gradient(ad_max(ad_ceil(ad_log2(ad_div(5, in[0]))), 0));
  out[0] = ad_mul(in[0], ad_exp2(k));
  out[1] = ad_pow(in[1], ad_add(k, 1));
}

BODY(branch_instance) {
  SETTING;
  const ad_type type[3] = { scalar_of(s), scalar_of(s), AD_I64() };
  ad_function *f = inner("left", left_body, s, 3, type, 2), *g = inner("right", right_body, s, 3, type, 2);
  ad_cond(in[2], f, g, in, out);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(cond_map_body) {
  SETTING;
  ad_function *f = inner("branch", branch_instance, s, 3,
                         (const ad_type[]){ scalar_of(s), scalar_of(s), AD_I64() }, 2);
  ad_map(f, in, out);
  ad_function_free(f);
}
BODY(cond_map_plain) {
  SETTING;
  ad_var l[2], r[2];
  left_body(t, in, l, context);
  right_body(t, in, r, context);
  for (int j = 0; j < 2; j++) out[j] = ad_select(ad_not_equal(in[2], 0), l[j], r[j]);
}

/* --- loops ---------------------------------------------------------------------------------------------- */

/* s <- a s + x[i], y[i] = s^2 */
BODY(linear_step) {
  SETTING;
  out[0] = ad_add(ad_mul(in[2], in[0]), in[1]);
  out[1] = ad_square(out[0]);
}
static const int64_t terms = 6;
BODY(scan_body) {
  SETTING;
  const ad_type one = scalar_of(s);
  ad_function *f = inner("linear", linear_step, s, 3, (const ad_type[]){ one, one, one }, 2);
  ad_scan(f, 1, &s->loop, in, out);
  ad_function_free(f);
}
BODY(scan_plain) {
  SETTING;
  ad_var state = in[0], y[6], z[2];
  for (int64_t step = 0; step < terms; step++) {
    const int64_t i = s->loop.backwards ? terms - 1 - step : step;
    linear_step(t, (const ad_var[]){ state, at(in[1], i), in[2] }, z, context);
    state = z[0], y[i] = z[1];
  }
  out[0] = state;
  out[1] = ad_stack((int)terms, y, 0);
}

/* h <- tanh(W h + x[i]), y[i] = (sum h, h) */
BODY(cell_step) {
  SETTING;
  out[0] = ad_tanh(ad_add(ad_matmul(in[2], in[0]), in[1]));
  out[1] = total(out[0]);
  out[2] = ad_mul(out[0], in[1]);
}
BODY(cell_body) {
  SETTING;
  ad_function *f = inner("cell", cell_step, s, 3,
                         (const ad_type[]){ vector_of(s, 3), vector_of(s, 3), matrix_of(s, 3, 3) }, 3);
  ad_scan(f, 1, &s->loop, in, out);
  ad_function_free(f);
}
BODY(cell_plain) {
  SETTING;
  ad_var state = in[0], y[4], w[4], z[3];
  for (int64_t step = 0; step < 4; step++) {
    const int64_t i = s->loop.backwards ? 3 - step : step;
    cell_step(t, (const ad_var[]){ state, at(in[1], i), in[2] }, z, context);
    state = z[0], y[i] = z[1], w[i] = z[2];
  }
  out[0] = state;
  out[1] = ad_stack(4, y, 0);
  out[2] = ad_stack(4, w, 0);
}

/* x r^7 */
BODY(power_body) {
  SETTING;
  const ad_type one = scalar_of(s);
  ad_function *f = inner("times", step_product_body, s, 2, (const ad_type[]){ one, one }, 1);
  ad_loop o = s->loop;
  o.steps = 7;
  ad_fold(f, 1, &o, in, out);
  ad_function_free(f);
}
BODY(power_plain) { SETTING; out[0] = ad_mul(in[0], ad_powi(in[1], 7)); }

/* x r^n for an integer n: without a bound, and with one and stacked outputs */
BODY(counted_step) { SETTING; out[0] = ad_mul(in[0], in[1]), out[1] = in[0]; }
BODY(counted_body) {
  SETTING;
  const ad_type one = scalar_of(s), two[2] = { one, one };
  ad_function *f = inner("times", step_product_body, s, 2, two, 1),
              *g = inner("counted", counted_step, s, 2, two, 2);
  ad_loop o = s->loop;
  o.counted = true;
  o.count = in[2];
  ad_fold(f, 1, &o, in, out);
  o.steps = 5;
  ad_scan(g, 1, &o, in, out + 1);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(counted_plain) {
  SETTING;
  const ad_var n = ad_cast(in[2], s->dtype), i = ad_arange(t, 0, 5, 1, s->dtype);
  out[0] = ad_mul(in[0], ad_pow(in[1], n));
  out[1] = out[0];
  const ad_var place = s->loop.backwards ? ad_sub(ad_sub(n, 1), i) : i;
  out[2] = ad_select(ad_less(i, n), ad_mul(in[0], ad_pow(in[1], ad_max(place, 0))), 0);
}

/* x0 x1 .. x5 c^5, and logsumexp */
BODY(scaled_product) { SETTING; out[0] = ad_mul(ad_mul(in[0], in[1]), in[2]); }
BODY(join_step) { SETTING; out[0] = ad_logaddexp(in[0], in[1]); }
BODY(reduce_body) {
  SETTING;
  const ad_type one = scalar_of(s), three[3] = { one, one, one };
  ad_function *f = inner("scaled", scaled_product, s, 3, three, 1),
              *g = inner("join", join_step, s, 2, three, 1);
  ad_reduce(f, &s->loop, in, &out[0]);
  ad_reduce(g, &s->loop, in, &out[1]);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(reduce_plain) {
  SETTING;
  out[0] = ad_mul(ad_prod(in[0], AD_ALL_AXES, false), ad_powi(in[1], 5));
  out[1] = ad_logsumexp(in[0], AD_ALL_AXES, false);
}

/* while of one instance is while_instance, against while_plain. (a, b, n, odd) <- (b, a + b, n + 1, not
 * odd) eight times: 13 a + 21 b. */
BODY(eight) { SETTING; out[0] = ad_less(in[2], 8); }
BODY(fibonacci) {
  SETTING;
  out[0] = in[1];
  out[1] = ad_add(in[0], in[1]);
  out[2] = ad_add(in[2], 1);
  out[3] = ad_logical_not(in[3]);
}
BODY(fibonacci_body) {
  SETTING;
  const ad_type type[4] = { scalar_of(s), scalar_of(s), AD_I64(), AD_BOOL() };
  ad_function *f = inner("fibonacci", fibonacci, s, 4, type, 4), *p = inner("eight", eight, s, 3, type, 1);
  const bool odd = true;
  ad_while(p, f, &s->loop, (const ad_var[]){ in[0], in[1], ad_integer(0), ad_constant(t, AD_BOOL(), &odd) },
           out);
  out[2] = ad_mul(ad_mul(out[0], out[1]), ad_select(out[3], out[2], 0));
  ad_function_free(f);
  ad_function_free(p);
}
BODY(fibonacci_plain) {
  SETTING;
  out[0] = ad_add(ad_mul(13, in[0]), ad_mul(21, in[1]));
  out[1] = ad_add(ad_mul(21, in[0]), ad_mul(34, in[1]));
  out[2] = ad_mul(8, ad_mul(out[0], out[1]));
  out[3] = ad_full(t, AD_BOOL(), 1);
}

/* d times the end of x <- a/(1 + x^2), four times for each element a of a vector. Where only d is mapped,
 * cotangents are, and what loops keep is not. */
BODY(inner_step) { SETTING; out[0] = ad_div(in[1], ad_add(1, ad_square(in[0]))); }
BODY(outer_step) {
  SETTING;
  const ad_type one = scalar_of(s);
  ad_function *f = inner("inner", inner_step, s, 2, (const ad_type[]){ one, one }, 1);
  ad_loop four = s->loop;
  four.steps = 4;
  ad_fold(f, 1, &four, in, out);
  ad_function_free(f);
}
BODY(nested_loop_body) {
  SETTING;
  const ad_type one = scalar_of(s);
  ad_function *f = inner("outer", outer_step, s, 2, (const ad_type[]){ one, one }, 1);
  ad_var x;
  ad_fold(f, 1, &s->loop, in, &x);
  out[0] = ad_mul(x, in[2]);
  ad_function_free(f);
}
BODY(nested_loop_plain) {
  SETTING;
  ad_var x = in[0];
  for (int i = 0; i < 12; i++) {
    const int64_t row = s->loop.backwards ? 2 - i/4 : i/4;
    x = ad_div(at(in[1], row), ad_add(1, ad_square(x)));
  }
  out[0] = ad_mul(x, in[2]);
}

/* --- variables from outside ----------------------------------------------------------------------------- */

typedef struct outside { const setting *s; ad_var c, w; } outside;

BODY(inside_instance) {
  const outside *o = context;
  (void)t;
  out[0] = ad_mul(ad_sin(ad_mul(in[0], o->c)), total(o->w));
}
BODY(inside_step) {
  const outside *o = context;
  ad_function *f = inner_of(t, "instance", inside_instance, o, 1, (const ad_type[]){ scalar_of(o->s) }, 1);
  ad_var y;
  ad_map(f, (const ad_var[]){ ad_mul(o->w, in[0]) }, &y);
  out[0] = ad_add(in[0], ad_mul(total(y), 0.25));
  ad_function_free(f);
}
BODY(inside_condition) {
  const outside *o = context;
  (void)t;
  out[0] = ad_less(in[0], ad_add(ad_mul(o->c, 0), 40));
}
/* (x, c, w): three steps of x <- x + sum_i sin(w_i x c) (sum w)/4, then doubled until it is 40 */
BODY(inside_double) {
  const outside *o = context;
  (void)t;
  out[0] = ad_mul(in[0], ad_add(1, ad_square(o->c)));
}
BODY(inside_body) {
  SETTING;
  const outside o = { s, in[1], in[2] };
  const ad_type one = scalar_of(s);
  ad_function *f = inner_of(t, "step", inside_step, &o, 1, &one, 1),
              *g = inner_of(t, "double", inside_double, &o, 1, &one, 1),
              *p = inner_of(t, "condition", inside_condition, &o, 1, &one, 1);
  ad_loop three = s->loop;
  three.steps = 3;
  ad_fold(f, 1, &three, in, out);
  ad_while(p, g, &s->loop, out, out + 1);
  ad_checkpoint(f, out, out + 2);
  ad_cond(ad_less(in[0], 0), f, g, in, out + 3);
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(p);
}
static inline ad_var inside_once(ad_var x, ad_var c, ad_var w) {
  return ad_add(x, ad_mul(ad_mul(total(ad_sin(ad_mul(ad_mul(w, x), c))), total(w)), 0.25));
}
BODY(inside_plain) {
  SETTING;
  ad_var x = in[0];
  const ad_var factor = ad_add(1, ad_square(in[1]));
  for (int i = 0; i < 3; i++) x = inside_once(x, in[1], in[2]);
  out[0] = x;
  const ad_var k = ad_stop_gradient(ad_ceil(ad_div(ad_log(ad_div(40, x)), ad_log(factor))));
  out[1] = ad_mul(x, ad_pow(factor, k));
  out[2] = inside_once(x, in[1], in[2]);
  out[3] = ad_mul(in[0], factor);
}

/* --- edges ---------------------------------------------------------------------------------------------- */

/* No steps, no instances, no elements. (x, a, empty vector, empty matrix (2, 0)) */
BODY(empty_body) {
  SETTING;
  const ad_type one = scalar_of(s), three[3] = { one, one, one }, none = vector_of(s, 0);
  ad_function *f = inner("linear", linear_step, s, 3, three, 2),
              *g = inner("times", times_body, s, 2, three, 1);
  ad_function *h = inner("empty", linear_step, s, 3, (const ad_type[]){ none, none, one }, 2);
  ad_scan(f, 1, &s->loop, (const ad_var[]){ in[0], in[2], in[1] }, out);
  ad_map(g, (const ad_var[]){ in[2], in[1] }, out + 2);
  ad_scan(h, 1, &s->loop, (const ad_var[]){ in[2], in[3], in[1] }, out + 3);
  ad_loop no_steps = s->loop;
  no_steps.steps = 0;
  ad_fold(g, 1, &no_steps, in, out + 5);
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(h);
}
BODY(empty_plain) {
  SETTING;
  out[0] = out[5] = in[0];
  out[1] = ad_zeros(t, vector_of(s, 0));
  out[2] = ad_zeros(t, vector_of(s, 0));
  out[3] = in[2];
  out[4] = ad_zeros(t, matrix_of(s, 2, 0));
}

/* States of rank 8; instances of rank 7. */
static inline ad_type deep_type(const setting *s, int rank) {
  return ad_type_make(s->dtype, rank, rank == 8 ? ROW(2, 1, 2, 1, 1, 2, 1, 2) : ROW(1, 2, 1, 1, 2, 1, 2));
}
BODY(deep_step) { SETTING; out[0] = ad_mul(ad_sin(in[0]), in[1]); }
BODY(deep_body) {
  SETTING;
  ad_function *f = inner("deep", deep_step, s, 2, (const ad_type[]){ deep_type(s, 8), scalar_of(s) }, 1),
              *g = inner("deep", deep_step, s, 2, (const ad_type[]){ deep_type(s, 7), scalar_of(s) }, 1);
  ad_loop two = s->loop;
  two.steps = 2;
  ad_fold(f, 1, &two, in, out);
  ad_map(g, in, out + 1);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(deep_plain) {
  SETTING;
  out[1] = ad_mul(ad_sin(in[0]), in[1]);
  out[0] = ad_mul(ad_sin(out[1]), in[1]);
}

/* The same one axis below, and a sum through a value of rank 8: what maps cannot give an axis more. */
BODY(wide_instance) {
  SETTING;
  const ad_type seven = deep_type(s, 7), eight = deep_type(s, 8);
  ad_function *f = inner("deep", deep_step, s, 2, (const ad_type[]){ seven, scalar_of(s) }, 1),
              *g = inner("deep", deep_step, s, 2, (const ad_type[]){ eight, scalar_of(s) }, 1);
  ad_loop two = s->loop;
  two.steps = 2;
  ad_var wide;
  ad_fold(f, 1, &two, in, out);
  ad_checkpoint(g, (const ad_var[]){ ad_broadcast_to(total(in[0]), 8, eight.dim), in[1] }, &wide);
  out[1] = total(wide);
  ad_function_free(f);
  ad_function_free(g);
}
BODY(wide_plain) {
  SETTING;
  out[0] = ad_mul(ad_sin(ad_mul(ad_sin(in[0]), in[1])), in[1]);
  out[1] = ad_mul(16, ad_mul(ad_sin(total(in[0])), in[1]));
}

/* A loop in a loop in a branch: sum over i < n of (x + i)^3, cubes by a loop, n known when it runs. */
BODY(cube_step) { SETTING; out[0] = ad_mul(in[0], in[1]); }
BODY(sum_step) {
  SETTING;
  const ad_type one = scalar_of(s);
  ad_function *f = inner("cube", cube_step, s, 2, (const ad_type[]){ one, one }, 1);
  ad_loop three = s->loop;
  three.steps = 3;
  ad_var cube;
  const ad_var term = ad_add(in[2], in[1]);
  ad_fold(f, 1, &three, (const ad_var[]){ ad_real(1), term }, &cube);
  out[0] = ad_add(in[0], cube);
  out[1] = ad_add(in[1], 1);
  ad_function_free(f);
}
BODY(sum_side) {
  SETTING;
  const ad_type type[3] = { scalar_of(s), AD_I64(), scalar_of(s) };
  ad_function *f = inner("sum", sum_step, s, 3, type, 2);
  ad_loop o = s->loop;
  o.counted = true;
  o.count = in[1];
  ad_var z[2];
  ad_fold(f, 2, &o, (const ad_var[]){ ad_real(0), ad_integer(0), in[0] }, z);
  out[0] = z[0];
  ad_function_free(f);
}
BODY(other_side) { SETTING; out[0] = ad_div(in[0], 0.0); }
BODY(cubes_body) {
  SETTING;
  const ad_type type[2] = { scalar_of(s), AD_I64() };
  ad_function *f = inner("cubes", sum_side, s, 2, type, 1), *g = inner("infinite", other_side, s, 2, type, 1);
  ad_cond(ad_greater_equal(in[1], 0), f, g, in, out);
  ad_function_free(f);
  ad_function_free(g);
}
/* sum_(i<n) (x + i)^3 = n x^3 + 3 x^2 S1 + 3 x S2 + S3 */
BODY(cubes_plain) {
  SETTING;
  const ad_var n = ad_cast(in[1], s->dtype), m = ad_sub(n, 1), x = in[0];
  const ad_var s1 = ad_div(ad_mul(m, n), 2), s2 = ad_div(ad_mul(ad_mul(m, n), ad_sub(ad_mul(2, n), 1)), 6);
  const ad_var a = ad_add(ad_mul(n, ad_powi(x, 3)), ad_mul(3, ad_mul(ad_square(x), s1)));
  out[0] = ad_add(a, ad_add(ad_mul(3, ad_mul(x, s2)), ad_square(s1)));
}

/* --- all of them ---------------------------------------------------------------------------------------- */

typedef struct scenario {
  const char *name;
  ad_body *carried, *plain;
  int n_in, n_out;
  ad_type in[4];
  domain d;
  bool loops;
} scenario;

enum { SCENARIOS = 22 };

static inline const scenario *scenarios(void) {
  static scenario all[SCENARIOS];
  const domain usual = { 0.3, 1.2, 2 }, few = { 0.5, 1.1, 4 };
  const scenario list[SCENARIOS] = {
    { "call", call_body, call_plain, 2, 2, { AD_F64(), AD_F64() }, usual, false },
    { "checkpoint", checkpoint_body, call_plain, 2, 2, { AD_F64(), AD_F64() }, usual, false },
    { "cond", cond_body, cond_plain, 3, 2, { AD_F64(), AD_F64(), AD_I64() }, usual, false },
    { "map", map_body, map_plain, 3, 2, { AD_F64(5), AD_F64(), AD_F64(2) }, usual, false },
    { "map of arrays", map_arrays_body, map_arrays_plain, 4, 5,
      { AD_F64(4, 3, 3), AD_F64(3), AD_F64(3, 3), AD_I64(4, 2) }, usual, false },
    { "map, fold and scan in a map", nested_map_body, nested_map_plain, 2, 3, { AD_F64(4, 3), AD_F64() },
      usual, true },
    { "while in a map", while_map_body, while_plain, 2, 2, { AD_F64(5), AD_F64(5) }, usual, true },
    { "cond in a map", cond_map_body, cond_map_plain, 3, 2, { AD_F64(5), AD_F64(5), AD_I64(5) }, usual,
      false },
    { "scan", scan_body, scan_plain, 3, 2, { AD_F64(), AD_F64(6), AD_F64() }, usual, true },
    { "scan of arrays", cell_body, cell_plain, 3, 3, { AD_F64(3), AD_F64(4, 3), AD_F64(3, 3) }, usual, true },
    { "fold", power_body, power_plain, 2, 1, { AD_F64(), AD_F64() }, usual, true },
    { "counted", counted_body, counted_plain, 3, 3, { AD_F64(), AD_F64(), AD_I64() }, few, true },
    { "reduce", reduce_body, reduce_plain, 2, 2, { AD_F64(6), AD_F64() }, usual, true },
    { "while", while_instance, while_plain, 2, 2, { AD_F64(), AD_F64() }, usual, true },
    { "fibonacci", fibonacci_body, fibonacci_plain, 2, 4, { AD_F64(), AD_F64() }, usual, true },
    { "loop in a loop", nested_loop_body, nested_loop_plain, 3, 1, { AD_F64(), AD_F64(3), AD_F64() }, usual,
      true },
    { "captured", inside_body, inside_plain, 3, 4, { AD_F64(), AD_F64(), AD_F64(2) }, usual, true },
    { "empty", empty_body, empty_plain, 4, 6, { AD_F64(), AD_F64(), AD_F64(0), AD_F64(2, 0) }, usual, true },
    { "rank 8", deep_body, deep_plain, 2, 2, { AD_F64(2, 1, 2, 1, 1, 2, 1, 2), AD_F64() }, usual, true },
    { "rank 7", wide_instance, wide_plain, 2, 2, { AD_F64(1, 2, 1, 1, 2, 1, 2), AD_F64() }, usual, true },
    { "cubes", cubes_body, cubes_plain, 2, 1, { AD_F64(), AD_I64() }, { 0.3, 1.2, 4 }, true },
    { "cond of a loop", cubes_body, cubes_plain, 2, 1, { AD_F64(), AD_I64() }, { -1, 1, 0 }, true },
  };
  memcpy(all, list, sizeof all);
  return all;
}

/* One of the two ways as a function. */
static inline ad_function *made_of(const scenario *c, bool carried, const setting *s) {
  ad_type in[4];
  for (int k = 0; k < c->n_in; k++) {
    in[k] = c->in[k];
    if (in[k].dtype == AD_F64) in[k].dtype = s->dtype;
  }
  return inner(c->name, carried ? c->carried : c->plain, s, c->n_in, in, c->n_out);
}

#endif
