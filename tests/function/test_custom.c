/* test_custom.c -- derivatives of a user's own: functions whose value is a callback, and recorded functions
 * with another derivative. The oracle is the same mathematics recorded: with every choice of rules, by itself
 * and inside maps, loops and branches, values and derivatives of every mode and of second order must agree.
 */
#include "check.h"
#include "heap.h"
#include "adit.h"
#include "function/own_rule.h"

#include <stdlib.h>

/* --- comparing two functions ---------------------------------------------------------------------------- */

enum { MOST = 40, ROOM = 4096 };

/* Calls both on the same numbers between 0.3 and 1.2; ints are 0 to 2. */
static void same(const char *what, ad_function *got, ad_function *want) {
  if (!CHECK_THAT(got && want, "%s: could not be made", what)) return;
  if (!CHECK_THAT(ad_function_inputs(got) == ad_function_inputs(want)
                      && ad_function_outputs(got) == ad_function_outputs(want),
                  "%s: other numbers of inputs, outputs", what))
    return;
  const int n = ad_function_inputs(got), m = ad_function_outputs(got);
  void *in[MOST], *out[2][MOST];
  uint64_t state = 7;
  for (int i = 0; i < n; i++) {
    const ad_type type = ad_function_input_type(got, i);
    in[i] = calloc(ROOM, 1);
    for (int64_t e = 0; e < ad_type_count(type); e++)
      check_set_element(type.dtype, in[i], e,
                        type.dtype < AD_F32 ? check_below(&state, 3) : check_uniform(&state, 0.3, 1.2));
  }
  for (int j = 0; j < m; j++) out[0][j] = calloc(ROOM, 1), out[1][j] = calloc(ROOM, 1);
  const ad_status status = ad_function_call(got, (const void *const *)in, out[0], NULL);
  CHECK_STATUS(status, AD_OK);
  CHECK_STATUS(ad_function_call(want, (const void *const *)in, out[1], NULL), AD_OK);
  for (int j = 0; j < m && status == AD_OK; j++) {
    const ad_type type = ad_function_output_type(want, j);
    CHECK_THAT(ad_type_equal(type, ad_function_output_type(got, j)), "%s: type of output %d", what, j);
    for (int64_t e = 0; e < ad_type_count(type); e++) {
      const double a = check_element(type.dtype, out[0][j], e), b = check_element(type.dtype, out[1][j], e);
      CHECK_THAT(check_near(a, b, type.dtype == AD_F32 ? 1e-5 : 1e-12),
                 "%s: output %d[%lld] is %.17g, not %.17g", what, j, (long long)e, a, b);
    }
  }
  for (int i = 0; i < n; i++) free(in[i]);
  for (int j = 0; j < m; j++) free(out[0][j]), free(out[1][j]);
}

/* The same of what is derived from them, which is given back. */
static void same_of(const char *what, const char *which, ad_function *got, ad_function *want) {
  char text[160];
  snprintf(text, sizeof text, "%s, %s", what, which);
  same(text, got, want);
  ad_function_free(got);
  ad_function_free(want);
}

static void same_derivatives(const char *what, ad_function *got, ad_function *want) {
  same(what, got, want);
  same_of(what, "jvp", ad_function_jvp(got), ad_function_jvp(want));
  same_of(what, "vjp", ad_function_vjp(got), ad_function_vjp(want));
  if (ad_function_outputs(want) != 1) return;
  same_of(what, "gradient", ad_function_gradient(got, 0, NULL), ad_function_gradient(want, 0, NULL));
  same_of(what, "hessian", ad_function_hessian(got, 0, NULL), ad_function_hessian(want, 0, NULL));
  same_of(what, "hvp", ad_function_hvp(got, 0, NULL), ad_function_hvp(want, 0, NULL));
}

/* --- the mathematics: (x[3], k int, s) -> (y[2], e) ----------------------------------------------- */

static void recorded_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var x0 = ad_at(in[0], 1, (const int64_t[]){ 0 }), x1 = ad_at(in[0], 1, (const int64_t[]){ 1 }),
               x2 = ad_at(in[0], 1, (const int64_t[]){ 2 }), s = in[2];
  const ad_var y[2] = { ad_add(ad_mul(x0, x1), ad_mul(in[1], s)), ad_mul(ad_sin(x2), s) };
  out[0] = ad_stack(2, y, 0);
  out[1] = ad_exp(ad_neg(ad_mul(x0, x2)));
}

static ad_status callback(void *context, const void *const in[], void *const out[], char *message,
                          size_t size) {
  const double *x = in[0], s = *(const double *)in[2];
  int32_t k;
  memcpy(&k, in[1], sizeof k);
  if (context) ++*(int *)context;
  if (x[0] < 0) {
    snprintf(message, size, "x[0] = %g", x[0]);
    return AD_ERROR_NUMERIC;
  }
  if (out[0]) ((double *)out[0])[0] = x[0]*x[1] + k*s, ((double *)out[0])[1] = sin(x[2])*s;
  if (out[1]) *(double *)out[1] = exp(-x[0]*x[2]);
  return AD_OK;
}

static const ad_type *input_types(void) {
  static ad_type type[3];
  type[0] = AD_F64(3), type[1] = AD_I32(), type[2] = AD_F64();
  return type;
}

static const ad_type *output_types(void) {
  static ad_type type[2];
  type[0] = AD_F64(2), type[1] = AD_F64();
  return type;
}

static ad_function *recorded(void) {
  return ad_function_trace("recorded", recorded_body, NULL, 3, input_types(), 2);
}

/* jvp with tangents alone, by hand. */
static void tangents_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_var x[3], v[3];
  for (int64_t i = 0; i < 3; i++) x[i] = ad_at(in[0], 1, &i), v[i] = ad_at(in[3], 1, &i);
  const ad_var s = in[2], sdot = in[5];
  const ad_var y[2] = { ad_add(ad_add(ad_mul(v[0], x[1]), ad_mul(x[0], v[1])), ad_mul(in[1], sdot)),
                        ad_add(ad_mul(ad_mul(ad_cos(x[2]), v[2]), s), ad_mul(ad_sin(x[2]), sdot)) };
  out[0] = ad_stack(2, y, 0);
  out[1] = ad_neg(ad_mul(ad_exp(ad_neg(ad_mul(x[0], x[2]))), ad_add(ad_mul(v[0], x[2]), ad_mul(x[0], v[2]))));
}

static ad_function *tangents(void) {
  const ad_type *in = input_types();
  const ad_type type[6] = { in[0], in[1], in[2], in[0], in[1], in[2] };
  return ad_function_trace("tangents", tangents_body, NULL, 6, type, 2);
}

/* --- every choice of rules ------------------------------------------------------------------------------ */

enum { JVP = 1, VJP = 2, JACOBIAN = 4, BY_HAND = 8, PATTERN = 16, CUSTOM = 32 };

static const bool pattern[6] = { true, false, true, true, false, false };

/* The callback (or, CUSTOM, the recorded function) with those rules. */
static ad_function *made(unsigned choice) {
  ad_function *f = recorded();
  ad_report report;
  ad_external e = { .name = "callback", .n_in = 3, .n_out = 2, .in = input_types(), .out = output_types(),
                    .call = callback };
  if (choice & JVP) e.rule.jvp = choice & BY_HAND ? tangents() : ad_function_jvp(f);
  if (choice & VJP) e.rule.vjp = ad_function_vjp(f);
  if (choice & JACOBIAN) e.rule.derivative = ad_function_jacobian(f, 0, NULL);
  if (choice & PATTERN) e.rule.depends = pattern;
  ad_function *g = choice & CUSTOM ? ad_custom(f, &e.rule, &report) : ad_function_external(&e, &report);
  CHECK_THAT(g != NULL, "choice %u: %s", choice, report.message);
  ad_function_free(e.rule.jvp);
  ad_function_free(e.rule.vjp);
  ad_function_free(e.rule.derivative);
  ad_function_free(f);
  return g;
}

/* --- settings: scalar functions of (x[3], s) that use f ------------------------------------------- */

static ad_var loss(const ad_var y[2]) {
  return ad_add(ad_dot(y[0], y[0]), ad_mul(y[1], ad_sum(y[0], AD_ALL_AXES, false)));
}

static void plain_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = loss(y);
}

/* (x, k, s) -> loss */
static void inner_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_var y[2];
  ad_function_apply(f, in, y);
  out[0] = loss(y);
}

static ad_function *inner(ad_function *f) {
  return ad_function_trace("inner", inner_body, f, 3, input_types(), 1);
}

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = inner(f);
  const int64_t dim[2] = { 4, 3 };
  const ad_var rows = ad_mul(ad_broadcast_to(in[0], 2, dim),
                             ad_expand(ad_cast(ad_arange(t, 1, 5, 1, AD_F64), AD_F64), 1));
  const ad_var x[3] = { rows, ad_cast(ad_arange(t, 0, 4, 1, AD_I32), AD_I32), in[1] };
  ad_var y;
  ad_map(g, x, &y);
  out[0] = ad_sum(y, AD_ALL_AXES, false);
  ad_function_free(g);
}

/* (state s, x, k) -> s */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_var x[3] = { in[1], in[2], in[0] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = ad_tanh(ad_add(ad_sum(y[0], AD_ALL_AXES, false), y[1]));
}

static ad_function *step(ad_function *f) {
  const ad_type *in = input_types();
  const ad_type type[3] = { in[2], in[0], in[1] };
  return ad_function_trace("step", step_body, f, 3, type, 1);
}

static void scan_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = step(f);
  const ad_var x[3] = { in[1], in[0], ad_cast(ad_arange(t, 0, 5, 1, AD_I32), AD_I32) };
  ad_scan(g, 1, NULL, x, out);
  ad_function_free(g);
}

static void binomial_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = step(f);
  const ad_loop how = { .keep = AD_KEEP_BINOMIAL, .k = 2 };
  const ad_var x[3] = { in[1], in[0], ad_cast(ad_arange(t, 0, 5, 1, AD_I32), AD_I32) };
  ad_scan(g, 1, &how, x, out);
  ad_function_free(g);
}

static void cond_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = inner(f);
  ad_function *h = recorded(), *other = inner(h);
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 1), in[1] };
  ad_var a, b;
  ad_cond(ad_greater(in[1], ad_real(0)), g, other, x, &a);
  ad_cond(ad_less(in[1], ad_real(0)), g, other, x, &b);
  out[0] = ad_add(a, ad_mul(b, ad_real(3)));
  ad_function_free(g);
  ad_function_free(other);
  ad_function_free(h);
}

/* while (count < 3) (count, s, x, k) = .. */
static void below_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], ad_real(3));
}

static void while_step(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[1], in[2], in[3] };
  out[0] = ad_add(in[0], ad_real(1));
  step_body(t, x, out + 1, f);
}

static void while_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_type *type = input_types();
  const ad_type types[4] = { AD_F64(), type[2], type[0], type[1] };
  ad_function *c = ad_function_trace("below", below_body, NULL, 1, types, 1),
              *g = ad_function_trace("while_step", while_step, f, 4, types, 2);
  const ad_var x[4] = { ad_full(t, AD_F64(), 0), in[1], in[0], ad_full(t, AD_I32(), 2) };
  ad_var y[2];
  ad_while(c, g, NULL, x, y);
  out[0] = y[1];
  ad_function_free(c);
  ad_function_free(g);
}

static const struct { const char *name; ad_body *body; } settings[] = {
  { "plain", plain_body }, { "map", map_body }, { "scan", scan_body }, { "binomial", binomial_body },
  { "cond", cond_body }, { "while", while_body }
};

static ad_function *in_setting(int k, ad_function *f) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  return ad_function_trace(settings[k].name, settings[k].body, f, 2, type, 1);
}

static void test_choices(void) {
  ad_function *f = recorded();
  for (unsigned choice = 0; choice < 64; choice++) {
    char name[80];
    if (!(choice & (JVP | VJP | JACOBIAN | CUSTOM)) || (choice & BY_HAND && !(choice & JVP))) continue;
    snprintf(name, sizeof name, "rules %u", choice);
    ad_function *g = made(choice);
    same_derivatives(name, g, f);
    for (int k = 0; k < (int)(sizeof settings/sizeof *settings); k++) {
      snprintf(name, sizeof name, "rules %u in %s", choice, settings[k].name);
      if (k > 0 && choice != JVP && choice != VJP && choice != (CUSTOM | JVP | PATTERN)
          && choice != (JACOBIAN | PATTERN))
        continue;
      ad_function *a = in_setting(k, g), *b = in_setting(k, f);
      same_derivatives(name, a, b);
      ad_function_free(a);
      ad_function_free(b);
    }
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* Coefficients to order 4, with a curve through both inputs and through one alone. */
static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_var y[2], yc[10], xc[8];
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_function_apply(f, x, y);
  for (int k = 0; k < 4; k++) {
    xc[k] = k == 2 ? ad_none() : ad_mul(in[0], ad_real(0.3 + 0.2*k));
    xc[4 + k] = k == 1 ? ad_none() : ad_mul(in[1], ad_real(0.7 - 0.1*k));
  }
  const ad_var variable[2] = { in[0], in[1] };
  ad_taylor(4, 2, variable, xc, 2, y, yc);
  for (int k = 0; k < 10; k++) out[k] = yc[k];
  ad_taylor(3, 1, variable + 1, xc + 4, 2, y, yc);
  for (int k = 0; k < 8; k++) out[10 + k] = yc[k];
}

static void test_taylor(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  ad_function *f = recorded();
  for (unsigned choice = 1; choice < 8; choice++) {
    char name[40];
    snprintf(name, sizeof name, "series, rules %u", choice);
    ad_function *g = made(choice);
    ad_function *a = ad_function_trace("a", series_body, g, 2, type, 18),
                *b = ad_function_trace("b", series_body, f, 2, type, 18);
    same(name, a, b);
    ad_function_free(a);
    ad_function_free(b);
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* --- on a tape that computes ---------------------------------------------------------------------------- */

static void test_tape(void) {
  ad_function *f = recorded();
  for (unsigned choice = 1; choice < 5; choice *= 2) {
    ad_function *g = made(choice);
    double got[3], want[3];
    for (int k = 0; k < 2; k++) {
      ad_tape *t = ad_tape_new();
      const double at[3] = { 0.5, 0.25, 1.5 };
      const ad_var in[3] = { ad_array(t, AD_F64(3), at), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
      ad_var y[2];
      ad_function_apply(k ? f : g, in, y);
      CHECK_NUMBER(ad_value(y[1]), exp(-0.75), 1e-15);
      CHECK_STATUS(ad_backward(loss(y)), AD_OK);
      CHECK_STATUS(ad_read_adjoint(in[0], k ? want : got), AD_OK);
      ad_var d[1];
      const ad_var x[1] = { in[2] };
      ad_grad(loss(y), 1, x, d);
      CHECK_NUMBER(ad_value(d[0]),
                   4 * (0.5 * 0.25 + 1.5) + 2 * 0.75 * sin(1.5) * sin(1.5) + exp(-0.75) * (2 + sin(1.5)),
                   1e-13);
      ad_tape_free(t);
    }
    for (int i = 0; i < 3; i++) CHECK_NUMBER(got[i], want[i], 1e-14);
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* --- structural zeros ----------------------------------------------------------------------------------- */

/* sqrt(y[1]) at 0 is not differentiable; along s the recorded e does not move, so nothing meets infinity. */
static void kink_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = ad_add(ad_sum(y[0], AD_ALL_AXES, false), ad_sqrt(ad_sub(y[1], ad_real(1))));
}

static void test_pattern(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  const double x[3] = { 0, 1, 1 }, s = 0.5;
  for (unsigned choice = 1; choice < 5; choice *= 2) {
    ad_function *f = made(choice | PATTERN), *g = ad_function_trace("kink", kink_body, f, 2, type, 1);
    ad_function *d = ad_function_gradient(g, 1, (const int[]){ 1 });
    double value, slope;
    CHECK_STATUS(ad_function_call(d, (const void *const[]){ x, &s }, (void *const[]){ &value, &slope }, NULL),
                 AD_OK);
    CHECK_NUMBER(slope, 2 + sin(1.0), 1e-14);
    ad_function *j = ad_function_jvp(g);
    const double one = 1;
    CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, &s, NULL, &one },
                                  (void *const[]){ &value, &slope }, NULL),
                 AD_OK);
    CHECK(isnan(slope));            /* tangents of all inputs are connected here, and 0 meets infinity */
    ad_function_free(j);
    ad_function_free(d);
    ad_function_free(g);
    ad_function_free(f);
  }
}

/* --- another derivative than its own -------------------------------------------------------------------- */

static void round_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_floor(ad_add(in[0], ad_real(0.5)));
}
static void through_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = in[1];
}
/* A derivative of 3 x^2 where the function rounds. */
static void cubic_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_mul(ad_real(3), ad_square(in[0])), in[1]);
}

static void test_replaced(void) {
  const ad_type type[2] = { AD_F64(4), AD_F64(4) };
  ad_function *f = ad_function_trace("round", round_body, NULL, 1, type, 1);
  ad_function *through = ad_function_trace("through", through_body, NULL, 2, type, 1),
              *cubic = ad_function_trace("cubic", cubic_body, NULL, 2, type, 1);
  const double x[4] = { 0.2, 0.7, -1.4, 2.5 }, one[4] = { 1, 1, 1, 1 };
  for (int k = 0; k < 4; k++) {
    ad_custom_rule given = { 0 };
    *(k & 1 ? &given.jvp : &given.vjp) = k & 2 ? cubic : through;
    ad_function *g = ad_custom(f, &given, NULL), *v = ad_function_vjp(g), *j = ad_function_jvp(g),
                *h = ad_function_vjp(v), *hj = ad_function_jvp(j);
    double y[4], d[4], e[4];
    CHECK_STATUS(ad_function_call(v, (const void *const[]){ x, one }, (void *const[]){ y, d }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, one }, (void *const[]){ NULL, e }, NULL),
                 AD_OK);
    for (int i = 0; i < 4; i++) {
      CHECK_NUMBER(y[i], floor(x[i] + 0.5), 0);
      CHECK_NUMBER(d[i], k & 2 ? 3*x[i]*x[i] : 1, 1e-15);
      CHECK_NUMBER(e[i], k & 2 ? 3*x[i]*x[i] : 1, 1e-15);
    }
    /* vjp of the vjp, with cotangent 1 for xbar alone, and jvp of the jvp along x: 6 x */
    CHECK_STATUS(ad_function_call(h, (const void *const[]){ x, one, NULL, one },
                                  (void *const[]){ NULL, NULL, d, NULL }, NULL),
                 AD_OK);
    CHECK_STATUS(ad_function_call(hj, (const void *const[]){ x, one, one, NULL },
                                  (void *const[]){ NULL, NULL, NULL, e }, NULL), AD_OK);
    for (int i = 0; i < 4; i++) {
      CHECK_NUMBER(d[i], k & 2 ? 6*x[i] : 0, 1e-15);
      CHECK_NUMBER(e[i], k & 2 ? 6*x[i] : 0, 1e-15);
    }
    ad_function_free(hj);
    ad_function_free(h);
    ad_function_free(j);
    ad_function_free(v);
    ad_function_free(g);
  }
  ad_function_free(f);
  ad_function_free(through);
  ad_function_free(cubic);
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void count_release(void *context) { ++*(int *)context; }

static void test_missing(void) {
  ad_function *f = made(0);
  CHECK(f && !ad_function_jvp(f) && !ad_function_vjp(f) && !ad_function_jacobian(f, 0, NULL));
  ad_tape *t = ad_tape_new();
  const ad_var in[3] = { ad_array(t, AD_F64(3), NULL), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var y[2], d;
  ad_function_apply(f, in, y);
  CHECK_STATUS(ad_grad(y[1], 1, in, &d), AD_ERROR_DERIVATIVE);
  CHECK_THAT(!strcmp(ad_tape_message(t), "callback: has no vjp, nor a rule that gives one"), "%s",
             ad_tape_message(t));
  ad_tape_clear(t);
  CHECK_STATUS(ad_jvp(1, in, in, 1, y, &d), AD_ERROR_DERIVATIVE);
  CHECK_THAT(strstr(ad_tape_message(t), "callback: has no jvp"), "%s", ad_tape_message(t));
  ad_tape_clear(t);
  ad_var series[3];
  const ad_var xc[2] = { in[0], in[0] };
  CHECK_STATUS(ad_taylor(2, 1, in, xc, 1, y, series), AD_ERROR_DERIVATIVE);
  ad_tape_free(t);
  ad_function_free(f);
}

/* A jvp that is itself a callback has no transpose. */
static ad_status product_tangent(void *context, const void *const in[], void *const out[], char *message,
                                 size_t size) {
  (void)context, (void)message, (void)size;
  const double *x = in[0], *v = in[1];
  *(double *)out[0] = 2**x**v;
  return AD_OK;
}
static ad_status product(void *context, const void *const in[], void *const out[], char *message,
                         size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = *(const double *)in[0]**(const double *)in[0];
  return AD_OK;
}

static void test_opaque(void) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  ad_external e = {
    .name = "tangent", .n_in = 2, .n_out = 1, .in = type, .out = type, .call = product_tangent
  };
  ad_function *tangent = ad_function_external(&e, NULL);
  e = (ad_external){ .name = "square", .n_in = 1, .n_out = 1, .in = type, .out = type, .call = product,
                     .rule.jvp = tangent };
  ad_function *f = ad_function_external(&e, NULL), *j = ad_function_jvp(f);
  const double x = 3, v = 0.5;
  double y = 0, d = 0;
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ &x, &v }, (void *const[]){ &y, &d }, NULL), AD_OK);
  CHECK(y == 9 && d == 3);
  CHECK(!ad_function_jvp(j));
  ad_tape *t = ad_tape_new();
  const ad_var in = ad_scalar(t, 2);
  ad_var out, g;
  ad_function_apply(f, &in, &out);
  CHECK_STATUS(ad_grad(out, 1, &in, &g), AD_ERROR_DERIVATIVE);
  CHECK_THAT(
      !strcmp(ad_tape_message(t), "square: has no vjp: tangent: has no vjp, nor a rule that gives one"), "%s",
      ad_tape_message(t));
  ad_tape_free(t);
  ad_function_free(j);
  ad_function_free(f);
  ad_function_free(tangent);
}

static void test_failing(void) {
  ad_function *f = made(JVP);
  ad_workspace *w = ad_workspace_new();
  const double x[3] = { -2, 1, 1 }, s = 0.5;
  const int32_t k = 1;
  double y[2], e;
  const void *const in[3] = { x, &k, &s };
  CHECK_STATUS(ad_function_call(f, in, (void *const[]){ y, &e }, w), AD_ERROR_NUMERIC);
  CHECK_THAT(!strcmp(ad_workspace_message(w), "callback: x[0] = -2"), "%s", ad_workspace_message(w));
  for (int setting = 0; setting < (int)(sizeof settings/sizeof *settings); setting++) {
    ad_function *g = in_setting(setting, f), *d = ad_function_gradient(g, 0, NULL);
    double gradient[3], slope;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ x, &s }, (void *const[]){ &e }, w),
                 AD_ERROR_NUMERIC);
    CHECK_THAT(strstr(ad_workspace_message(w), "callback: x[0] = "), "%s: %s", settings[setting].name,
               ad_workspace_message(w));
    CHECK_STATUS(
        ad_function_call(d, (const void *const[]){ x, &s }, (void *const[]){ &e, gradient, &slope }, w),
        AD_ERROR_NUMERIC);
    ad_function_free(d);
    ad_function_free(g);
  }
  ad_tape *t = ad_tape_new();
  const ad_var v[3] = { ad_array(t, AD_F64(3), x), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var z[2];
  ad_function_apply(f, v, z);
  CHECK(isnan(ad_value(z[1])));
  CHECK_STATUS(ad_tape_status(t), AD_ERROR_NUMERIC);
  CHECK_THAT(!strcmp(ad_tape_message(t), "callback: x[0] = -2"), "%s", ad_tape_message(t));
  ad_tape_free(t);
  ad_workspace_free(w);
  ad_function_free(f);
}

static void test_refused(void) {
  ad_report report;
  ad_function *f = recorded(), *other = tangents();
  ad_custom_rule given = { .jvp = f };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  CHECK_THAT(!strcmp(report.message, "recorded: its jvp has 3 inputs and 2 outputs, not 6 and 2"), "%s",
             report.message);
  given = (ad_custom_rule){ .vjp = other };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  given = (ad_custom_rule){ .derivative = other };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  CHECK(!ad_custom(NULL, &given, &report) && report.status == AD_ERROR_ARGUMENT);
  int released = 0;
  ad_external e = { .name = "none", .n_in = 1, .n_out = 1, .in = input_types(), .release = count_release,
                    .context = &released };
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_ARGUMENT);
  const ad_type bad = { AD_F64, -1, { 0 } };
  e.out = &bad, e.call = callback;
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_SIZE);
  e.out = output_types(), e.rule.jvp = other;
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_SHAPE);
  CHECK(!ad_function_external(NULL, NULL) && released == 0);
  ad_function_free(f);
  ad_function_free(other);
}

typedef struct nest { ad_function *made[2]; ad_report report[2]; ad_var outside; } nest;

static void closure_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], ((nest *)context)->outside);
}

static void outer_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  nest *n = context;
  const ad_type type[2] = { AD_F64(), AD_F64() };
  n->outside = in[0];
  ad_function *f = ad_function_trace_inside(t, "closure", closure_body, n, 1, type, 1, NULL);
  ad_function *g = ad_function_trace_inside(t, "closure2", closure_body, n, 2, type, 1, NULL);
  ad_external e = {
    .name = "x", .n_in = 1, .n_out = 1, .in = type, .out = type, .call = product, .rule.jvp = g
  };
  n->made[0] = ad_custom(f, NULL, &n->report[0]);
  n->made[1] = ad_function_external(&e, &n->report[1]);
  ad_function_free(f);
  ad_function_free(g);
  out[0] = in[0];
}

static void test_closures(void) {
  nest n = { 0 };
  const ad_type type = AD_F64();
  ad_function *f = ad_function_trace("outer", outer_body, &n, 1, &type, 1);
  for (int k = 0; k < 2; k++) {
    CHECK(!n.made[k] && n.report[k].status == AD_ERROR_ARGUMENT);
    CHECK_THAT(strstr(n.report[k].message, "captured"), "%s", n.report[k].message);
  }
  ad_function_free(f);
}

/* --- lives ---------------------------------------------------------------------------------------------- */

static void test_life(void) {
  int calls = 0;                    /* of the callback, and then of release */
  ad_function *f = recorded();
  ad_external e = { .name = "callback", .n_in = 3, .n_out = 2, .in = input_types(), .out = output_types(),
                    .call = callback, .context = &calls, .release = count_release };
  e.rule.jvp = ad_function_jvp(f);
  ad_function *g = ad_function_external(&e, NULL), *v = ad_function_vjp(g);
  ad_function_free(e.rule.jvp);
  ad_function_free(f);
  ad_tape *t = ad_tape_new();
  const ad_var in[3] = { ad_array(t, AD_F64(3), NULL), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var y[2];
  ad_function_apply(g, in, y);
  ad_function_free(g);
  CHECK_NUMBER(ad_value(y[1]), 1, 0);
  CHECK(calls == 1);
  ad_tape_free(t);
  CHECK(calls == 1);
  ad_function_free(v);
  CHECK(calls == 2);
}

/* What is not wanted: an allocation, or NULL. */
static ad_status partial(void *context, const void *const in[], void *const out[], char *message,
                         size_t size) {
  int *seen = context;
  (void)message, (void)size;
  seen[0] += out[0] != NULL, seen[1] += out[1] != NULL;
  if (out[0]) *(double *)out[0] = *(const uint8_t *)in[0];
  if (out[1]) memset(out[1], 1, 16);
  return AD_OK;
}

static void positive_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_var p = ad_greater(in[0], ad_real(1));
  ad_function_apply(f, &p, out);
}

static void test_partial(void) {
  const ad_type in = AD_BOOL(), out[2] = { AD_F64(), AD_F64(2) }, real = AD_F64();
  for (int k = 0; k < 2; k++) {
    int seen[2] = { 0, 0 };
    const ad_external e = { .n_in = 1, .n_out = 2, .in = &in, .out = out, .call = partial, .context = seen,
                            .partial = k };
    ad_function *f = ad_function_external(&e, NULL),
                *g = ad_function_trace("g", positive_body, f, 1, &real, 2);
    double x = 2, y = 5;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x }, (void *const[]){ &y, NULL }, NULL), AD_OK);
    CHECK(y == 1 && seen[0] == 1 && seen[1] == !k);
    x = 0;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x }, (void *const[]){ &y, NULL }, NULL), AD_OK);
    CHECK(y == 0);
    ad_function_free(g);
    ad_function_free(f);
  }
}

static ad_status fill(void *context, const void *const in[], void *const out[], char *message, size_t size) {
  (void)in, (void)message, (void)size;
  memcpy(out[0], context, 16);
  return AD_OK;
}

/* No inputs, empty inputs, f32 with its own kind of derivative. */
static ad_status halves(void *context, const void *const in[], void *const out[], char *message,
                        size_t size) {
  (void)context, (void)message, (void)size;
  const float *x = in[1];
  float *y = out[0];
  y[0] = 0.5f*x[0]*x[0], y[1] = x[0]*x[1];
  return AD_OK;
}

static void halves_jacobian(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_var x0 = ad_at(in[1], 1, (const int64_t[]){ 0 }), x1 = ad_at(in[1], 1, (const int64_t[]){ 1 });
  const ad_var row[2][2] = { { x0, ad_full(t, AD_F32(), 0) }, { x1, x0 } };
  const ad_var rows[2] = { ad_stack(2, row[0], 0), ad_stack(2, row[1], 0) };
  out[0] = ad_zeros(t, AD_F32(2, 0, 3));
  out[1] = ad_stack(2, rows, 0);
}

static void test_types(void) {
  double two[2] = { 4, 5 }, got[2] = { 0, 0 };
  const ad_type vector = AD_F64(2);
  const ad_external none = { .n_out = 1, .out = &vector, .call = fill, .context = two };
  ad_function *f = ad_function_external(&none, NULL);
  CHECK_STATUS(ad_function_call(f, NULL, (void *const[]){ got }, NULL), AD_OK);
  CHECK(got[0] == 4 && got[1] == 5);
  ad_function_free(f);
  const ad_type in[2] = { AD_F64(0, 3), AD_F32(2) }, out = AD_F32(2);
  ad_external e = { .name = "halves", .n_in = 2, .n_out = 1, .in = in, .out = &out, .call = halves };
  e.rule.derivative = ad_function_trace("d", halves_jacobian, NULL, 2, in, 2);
  f = ad_function_external(&e, NULL);
  ad_function *v = ad_function_vjp(f), *j = ad_function_jvp(f);
  const float x[2] = { 3, 5 }, u[2] = { 2, 7 };
  float y[2], d[2], ydot[2];
  CHECK_STATUS(ad_function_call(v, (const void *const[]){ NULL, x, u }, (void *const[]){ y, NULL, d }, NULL),
               AD_OK);
  CHECK_STATUS(
      ad_function_call(j, (const void *const[]){ NULL, x, NULL, u }, (void *const[]){ NULL, ydot }, NULL),
      AD_OK);
  CHECK(y[0] == 4.5f && y[1] == 15 && d[0] == 2 * 3 + 7 * 5 && d[1] == 7 * 3 && ydot[0] == 3 * 2
        && ydot[1] == 5 * 2 + 3 * 7);
  ad_function_free(v);
  ad_function_free(j);
  ad_function_free(f);
  ad_function_free(e.rule.derivative);
}

/* Memory that fails at any allocation: nothing leaks and release is not called twice. */
static void test_memory(void) {
  const ad_type type[2] = { AD_F64(2), AD_F64(2) };
  bool done = false;
  for (long k = 1; k <= 4000 && !done; k++) {
    heap h = { 0 };
    const ad_allocator a = heap_allocator(&h);
    int released = 0;
    ad_function *cubic = ad_function_trace_with(&a, "cubic", cubic_body, NULL, 2, type, 1, NULL);
    const ad_external e = { .name = "x",
                            .n_in = 1,
                            .n_out = 1,
                            .in = type,
                            .out = type,
                            .call = fill,
                            .context = &released,
                            .release = count_release,
                            .rule.jvp = cubic,
                            .allocator = &a };
    heap_fail(&h, k, true);
    ad_report report;
    ad_function *f = ad_function_external(&e, &report), *v = f ? ad_function_vjp(f) : NULL;
    ad_function *c = cubic ? ad_custom(cubic, NULL, NULL) : NULL;
    done = heap_has_served(&h);
    CHECK(!done || (f && v && c));
    CHECK(f || report.status == AD_ERROR_MEMORY);
    const bool has = f != NULL;
    ad_function_free(c);
    ad_function_free(v);
    ad_function_free(f);
    ad_function_free(cubic);
    CHECK_THAT(released == has && heap_is_empty(&h), "allocation %ld: %d released, %s", k, released,
               heap_text(&h));
  }
  CHECK(done);
}

/* --- a user's primitive with one result ----------------------------------------------------------- */

static ad_status cumulate_type(ad_operation *op) {
  if (op->n != 1 || op->x[0]->rank != 1 || op->x[0]->dtype != AD_F64)
    return ad_refuse(op, AD_ERROR_SHAPE, "wants a vector");
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status cumulate_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  double sum = 0;
  (void)scratch;
  for (int64_t i = 0; i < op->z.dim[0]; i++)
    ((double *)z)[i] = sum += ((const double *)x[0])[i] * ((const double *)x[0])[i];
  return AD_OK;
}
static ad_var cumulate_jvp(ad_rule *r, int k) {
  (void)k;
  return ad_cumsum(ad_mul(ad_mul(r->x[0], r->g), ad_real(2)), 0);
}
static const ad_primitive cumulate = { .name = "cumulate", .doc = "sums of squares", .type = cumulate_type,
                                       .run = cumulate_run, .jvp = cumulate_jvp };

static void twist(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)w;
  for (size_t i = 0; i < n; i++) z[i] = sin(x[i])*y[i];
}
static const ad_primitive twisted = { .name = "twisted",
                                      .doc = "sin(x) y",
                                      .traits = AD_TRAIT_ELEMENTWISE,
                                      .arity = 2,
                                      .block = twist,
                                      .rule = { "g*y*cos(x)", "g*sin(x)" } };

typedef struct flavour { bool own; } flavour;

/* (state s, x[3]) -> s */
static void own_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const bool own = ((const flavour *)context)->own;
  ad_var a = own ? ad_record(t, &cumulate, 1, &in[1], NULL, 0) : ad_cumsum(ad_square(in[1]), 0);
  const ad_var pair[2] = { a, in[0] };
  a = own ? ad_record(t, &twisted, 2, pair, NULL, 0) : ad_mul(ad_sin(a), in[0]);
  out[0] = ad_sum(a, AD_ALL_AXES, false);
}

static void own_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type[2] = { AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace("own", own_step, context, 2, type, 1);
  const int64_t dim[2] = { 4, 3 };
  const ad_var rows = ad_mul(ad_broadcast_to(in[0], 2, dim), ad_expand(ad_arange(t, 1, 5, 1, AD_F64), 1));
  const ad_var x[2] = { in[1], rows };
  ad_var mapped, scanned;
  ad_map(f, x, &mapped);
  ad_scan(f, 1, NULL, x, &scanned);
  out[0] = ad_add(ad_sum(mapped, AD_ALL_AXES, false), scanned);
  ad_function_free(f);
}

static void test_primitive(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  flavour own = { true }, library = { false };
  ad_function *a = ad_function_trace("own", own_body, &own, 2, type, 1),
              *b = ad_function_trace("library", own_body, &library, 2, type, 1);
  same_derivatives("a user's primitives", a, b);
  ad_function_free(a);
  ad_function_free(b);
}

/* --- a pattern alone, and what is said of captured variables -------------------------------------------- */

static ad_status sign_and_double(void *context, const void *const in[], void *const out[], char *message,
                                 size_t size) {
  const double x = *(const double *)in[0];
  (void)context, (void)message, (void)size;
  *(double *)out[0] = (x > 0) - (x < 0);
  *(double *)out[1] = 2*x;
  return AD_OK;
}

/* Output 0 depends on nothing, which is a derivative; output 1 does, and has none. */
static void test_pattern_alone(void) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  const bool depends[2] = { false, true };
  const ad_external e = { .name = "pair", .n_in = 1, .n_out = 2, .in = type, .out = type,
                          .call = sign_and_double, .rule = { .depends = depends } };
  ad_function *f = ad_function_external(&e, NULL);
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3);
  ad_var y[2], dx;
  CHECK_STATUS(ad_function_apply(f, &x, y), AD_OK);
  CHECK_STATUS(ad_grad(y[0], 1, &x, &dx), AD_OK);
  CHECK(ad_value(dx) == 0);
  CHECK_STATUS(ad_backward(y[0]), AD_OK);
  CHECK(ad_adjoint(x) == 0);
  CHECK_STATUS(ad_grad(y[1], 1, &x, &dx), AD_ERROR_DERIVATIVE);
  CHECK(strstr(ad_tape_message(t), "pair: has no vjp") != NULL);
  ad_tape_free(t);
  ad_function_free(f);
}

static void times_captured(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], *(const ad_var *)context);
}

static void test_nonfinite_of_captured(void) {
  const ad_type type = AD_F64();
  const double at = 3;
  ad_tape *t = ad_tape_new();
  ad_var w = ad_scalar(t, 2);
  ad_function *f = ad_function_trace_inside(t, "times", times_captured, &w, 1, &type, 1, NULL);
  ad_nonfinite found;
  CHECK_STATUS(ad_find_nonfinite(f, (const void *const[]){ &at }, &found), AD_ERROR_ARGUMENT);
  CHECK(!found.found && !strcmp(found.message, "times: has captured variables, which no call supplies"));
  ad_workspace *space = ad_workspace_new();
  double here = 1;
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ &here }, (void *const[]){ &here }, space),
               AD_ERROR_ARGUMENT);
  CHECK(!strcmp(ad_workspace_message(space), "times: has captured variables, which no call supplies"));
  CHECK_STATUS(ad_function_call(NULL, NULL, NULL, space), AD_ERROR_ARGUMENT);
  CHECK(!strcmp(ad_workspace_message(space), "no function"));
  ad_workspace_free(space);
  CHECK_STATUS(ad_find_nonfinite(NULL, NULL, &found), AD_ERROR_ARGUMENT);
  CHECK(!strcmp(found.message, "no function"));
  ad_function_free(f);
  ad_tape_free(t);
}

int main(void) {
  test_choices();
  test_taylor();
  test_tape();
  test_pattern();
  test_replaced();
  test_missing();
  test_opaque();
  test_failing();
  test_refused();
  test_closures();
  test_life();
  test_partial();
  test_types();
  test_memory();
  test_primitive();
  test_pattern_alone();
  test_nonfinite_of_captured();
  return check_summary();
}
