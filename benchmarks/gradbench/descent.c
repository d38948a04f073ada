/* descent.c -- the solver that GradBench's evaluations particle and saddle share. */
#include "descent.h"

enum { X, FX, GRADIENT, RATE, GOOD_STEPS, GOES_ON, STATES, MOST = 12 };

ad_var descent_gradient(mode how, ad_var y, ad_var x) {
  const int64_t n = ad_type_of(x).dim[0];
  ad_var g = ad_none(), each[8];
  if (how == REVERSE) {
    ad_grad(y, 1, &x, &g);
    return g;
  }
  for (int64_t i = 0; i < n && i < 8; i++) {
    const ad_var basis = ad_one_hot(ad_constant(x.tape, AD_I64(), &i), n, AD_F64);
    ad_jvp(1, &x, &basis, 1, &y, &each[i]);
  }
  return ad_stack((int)n, each, 0);
}

static ad_var length(ad_var x) { return ad_sqrt(ad_sum(ad_square(x), AD_ALL_AXES, false)); }

typedef struct descent_step { ad_function *f; mode how; int n; } descent_step;

static void goes_on(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = in[GOES_ON];
}

/* Value and gradient at x. */
static void evaluate(const descent_step *s, ad_var x, const ad_var shared[], ad_var *value,
                     ad_var *gradient) {
  ad_var in[MOST] = { x };
  for (int i = 1; i < s->n; i++) in[i] = shared[i - 1];
  ad_function_apply(s->f, in, value);
  *gradient = descent_gradient(s->how, *value, x);
}

/* (state.., shared..) -> state. */
static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const descent_step *s = context;
  ad_var value = ad_none(), gradient = ad_none();
  (void)t;
  const ad_var flat = ad_less_equal(length(in[GRADIENT]), 1e-5),
               ten = ad_equal(in[GOOD_STEPS], ad_integer(10));
  const ad_var x = ad_sub(in[X], ad_mul(in[RATE], in[GRADIENT]));
  const ad_var tries = ad_logical_not(ad_logical_or(flat, ten)),
               still = ad_less_equal(length(ad_sub(in[X], x)), 1e-5);
  evaluate(s, x, in + STATES, &value, &gradient);
  const ad_var better = ad_logical_and(ad_logical_and(tries, ad_logical_not(still)), ad_less(value, in[FX]));
  out[X] = ad_select(better, x, in[X]);
  out[FX] = ad_select(better, value, in[FX]);
  out[GRADIENT] = ad_select(better, gradient, in[GRADIENT]);
  out[RATE] = ad_mul(in[RATE], ad_select(better, 1, ad_select(ten, 2, 0.5)));
  out[GOOD_STEPS] = ad_select(better, ad_add(in[GOOD_STEPS], ad_integer(1)), ad_integer(0));
  out[GOES_ON] = ad_logical_not(ad_logical_or(flat, ad_logical_and(tries, still)));
}

void descent(ad_tape *t, ad_function *f, mode how, int n, const ad_var in[], ad_var *least) {
  descent_step s = { f, how, n };
  const ad_type x = ad_type_of(in[0]);
  ad_type types[STATES + MOST] = { x, AD_F64(), x, AD_F64(), AD_I64(), AD_BOOL() };
  ad_var state[STATES + MOST] = { in[0] }, end[STATES];
  for (int i = 1; i < n; i++) types[STATES + i - 1] = ad_type_of(in[i]), state[STATES + i - 1] = in[i];
  evaluate(&s, in[0], in + 1, &state[FX], &state[GRADIENT]);
  state[RATE] = ad_scalar(t, 1e-5), state[GOOD_STEPS] = ad_scalar(t, 0), state[GOES_ON] = ad_scalar(t, 1);
  state[GOOD_STEPS] = ad_cast(state[GOOD_STEPS], AD_I64), state[GOES_ON] = ad_cast(state[GOES_ON], AD_BOOL);
  ad_function *condition = ad_function_trace("goes_on", goes_on, NULL, STATES, types, 1);
  ad_function *body = ad_function_trace("step", step, &s, STATES + n - 1, types, STATES);
  ad_while(condition, body, &(ad_loop){ .limit = 10000000 }, state, end);
  *least = end[X];
  ad_function_free(body);
  ad_function_free(condition);
}
