/* custom.h -- what the tests of a user's own derivatives share: a callback and the same mathematics recorded,
 * every choice of rules for it, settings that use it, and comparisons of values and derivatives.
 */
#ifndef ADIT_TESTS_CUSTOM_H
#define ADIT_TESTS_CUSTOM_H

#include "adit.h"
#include "function/same.h"

/* --- comparing two functions ---------------------------------------------------------------------------- */

/* Numbers between 0.3 and 1.2; ints are 0 to 2. */
static inline void custom_fill(ad_function *f, const void *how, void *const in[]) {
  uint64_t state = 7;
  (void)how;
  for (int i = 0; i < ad_function_inputs(f); i++) {
    const ad_type type = ad_function_input_type(f, i);
    for (int64_t e = 0; e < ad_type_count(type); e++)
      check_set_element(type.dtype, in[i], e,
                        type.dtype < AD_F32 ? check_below(&state, 3) : check_uniform(&state, 0.3, 1.2));
  }
}

static inline void same(const char *what, ad_function *got, ad_function *want) {
  same_on(what, got, want, custom_fill, NULL, (const double[2]){ 1e-12, 1e-5 });
}

/* The same of what is derived from them, which is given back. */
static inline void same_of(const char *what, const char *which, ad_function *got, ad_function *want) {
  char text[160];
  snprintf(text, sizeof text, "%.120s, %.30s", what, which);
  same(text, got, want);
  ad_function_free(got);
  ad_function_free(want);
}

static inline void same_derivatives(const char *what, ad_function *got, ad_function *want) {
  same(what, got, want);
  same_of(what, "jvp", ad_function_jvp(got), ad_function_jvp(want));
  same_of(what, "vjp", ad_function_vjp(got), ad_function_vjp(want));
  if (ad_function_outputs(want) != 1) return;
  same_of(what, "gradient", ad_function_gradient(got, 0, NULL), ad_function_gradient(want, 0, NULL));
  same_of(what, "hessian", ad_function_hessian(got, 0, NULL), ad_function_hessian(want, 0, NULL));
  same_of(what, "hvp", ad_function_hvp(got, 0, NULL), ad_function_hvp(want, 0, NULL));
}

/* --- the mathematics: (x[3], k int, s) -> (y[2], e) ----------------------------------------------- */

static inline void recorded_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var x0 = ad_at(in[0], 1, (const int64_t[]){ 0 }), x1 = ad_at(in[0], 1, (const int64_t[]){ 1 }),
               x2 = ad_at(in[0], 1, (const int64_t[]){ 2 }), s = in[2];
  const ad_var y[2] = { ad_add(ad_mul(x0, x1), ad_mul(in[1], s)), ad_mul(ad_sin(x2), s) };
  out[0] = ad_stack(2, y, 0);
  out[1] = ad_exp(ad_neg(ad_mul(x0, x2)));
}

static inline ad_status callback(void *context, const void *const in[], void *const out[], char *message,
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

static inline const ad_type *input_types(void) {
  static ad_type type[3];
  type[0] = AD_F64(3), type[1] = AD_I32(), type[2] = AD_F64();
  return type;
}

static inline const ad_type *output_types(void) {
  static ad_type type[2];
  type[0] = AD_F64(2), type[1] = AD_F64();
  return type;
}

static inline ad_function *recorded(void) {
  return ad_function_trace("recorded", recorded_body, NULL, 3, input_types(), 2);
}

/* jvp with tangents alone, by hand. */
static inline void tangents_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_var x[3], v[3];
  for (int64_t i = 0; i < 3; i++) x[i] = ad_at(in[0], 1, &i), v[i] = ad_at(in[3], 1, &i);
  const ad_var s = in[2], sdot = in[5];
  const ad_var y[2] = { ad_add(ad_add(ad_mul(v[0], x[1]), ad_mul(x[0], v[1])), ad_mul(in[1], sdot)),
                        ad_add(ad_mul(ad_mul(ad_cos(x[2]), v[2]), s), ad_mul(ad_sin(x[2]), sdot)) };
  out[0] = ad_stack(2, y, 0);
  out[1] = ad_neg(ad_mul(ad_exp(ad_neg(ad_mul(x[0], x[2]))), ad_add(ad_mul(v[0], x[2]), ad_mul(x[0], v[2]))));
}

static inline ad_function *tangents(void) {
  const ad_type *in = input_types();
  const ad_type type[6] = { in[0], in[1], in[2], in[0], in[1], in[2] };
  return ad_function_trace("tangents", tangents_body, NULL, 6, type, 2);
}

/* --- every choice of rules ------------------------------------------------------------------------------ */

enum { JVP = 1, VJP = 2, JACOBIAN = 4, BY_HAND = 8, PATTERN = 16, CUSTOM = 32 };

static const bool pattern[6] = { true, false, true, true, false, false };

/* The callback (or, CUSTOM, the recorded function) with those rules. */
static inline ad_function *made(unsigned choice) {
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

static inline ad_var loss(const ad_var y[2]) {
  return ad_add(ad_dot(y[0], y[0]), ad_mul(y[1], ad_sum(y[0], AD_ALL_AXES, false)));
}

static inline void plain_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = loss(y);
}

/* (x, k, s) -> loss */
static inline void inner_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_var y[2];
  ad_function_apply(f, in, y);
  out[0] = loss(y);
}

static inline ad_function *inner(ad_function *f) {
  return ad_function_trace("inner", inner_body, f, 3, input_types(), 1);
}

static inline void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
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
static inline void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_var x[3] = { in[1], in[2], in[0] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = ad_tanh(ad_add(ad_sum(y[0], AD_ALL_AXES, false), y[1]));
}

static inline ad_function *step(ad_function *f) {
  const ad_type *in = input_types();
  const ad_type type[3] = { in[2], in[0], in[1] };
  return ad_function_trace("step", step_body, f, 3, type, 1);
}

static inline void scan_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = step(f);
  const ad_var x[3] = { in[1], in[0], ad_cast(ad_arange(t, 0, 5, 1, AD_I32), AD_I32) };
  ad_scan(g, 1, NULL, x, out);
  ad_function_free(g);
}

static inline void binomial_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *g = step(f);
  const ad_loop how = { .keep = AD_KEEP_BINOMIAL, .k = 2 };
  const ad_var x[3] = { in[1], in[0], ad_cast(ad_arange(t, 0, 5, 1, AD_I32), AD_I32) };
  ad_scan(g, 1, &how, x, out);
  ad_function_free(g);
}

static inline void cond_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
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
static inline void below_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], ad_real(3));
}

static inline void while_step(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[1], in[2], in[3] };
  out[0] = ad_add(in[0], ad_real(1));
  step_body(t, x, out + 1, f);
}

static inline void while_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
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

static inline ad_function *in_setting(int k, ad_function *f) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  return ad_function_trace(settings[k].name, settings[k].body, f, 2, type, 1);
}

/* A derivative of 3 x^2 where the function rounds. */
static inline void cubic_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_mul(ad_real(3), ad_square(in[0])), in[1]);
}

#endif
