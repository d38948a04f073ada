/* descent.c -- the solver that GradBench's evaluations particle and saddle share. */
#include "descent.h"

enum { X, FX, GRADIENT, RATE, GOOD_STEPS, STATES, MOST = 12 };

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

typedef struct objective { ad_function *f; mode how; } objective;

/* (x, shared..) -> value and gradient by x: a function, whose inputs are independent of each other wherever
 * they come from. */
static void evaluate(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const objective *o = context;
  (void)t;
  ad_function_apply(o->f, in, &out[0]);
  out[1] = descent_gradient(o->how, out[0], in[0]);
}

static ad_var next(const ad_var state[]) { return ad_sub(state[X], ad_mul(state[RATE], state[GRADIENT])); }

/* state -> is neither the gradient nor the step too short? */
static void goes_on(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_logical_and(ad_greater(length(in[GRADIENT]), 1e-5),
                          ad_greater(length(ad_sub(in[X], next(in))), 1e-5));
}

/* (state.., shared..) -> state. */
static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *value_and_gradient = context;
  ad_var at[MOST] = { next(in) }, found[2];
  (void)t;
  for (int i = 1; i < ad_function_inputs(value_and_gradient); i++) at[i] = in[STATES + i - 1];
  ad_function_apply(value_and_gradient, at, found);
  const ad_var better = ad_less(found[0], in[FX]), good = ad_add(in[GOOD_STEPS], ad_integer(1)),
               tenth = ad_equal(good, ad_integer(10));
  out[X] = ad_select(better, at[0], in[X]);
  out[FX] = ad_select(better, found[0], in[FX]);
  out[GRADIENT] = ad_select(better, found[1], in[GRADIENT]);
  out[RATE] = ad_mul(in[RATE], ad_select(better, ad_select(tenth, 2, 1), 0.5));
  out[GOOD_STEPS] = ad_select(ad_logical_and(better, ad_logical_not(tenth)), good, ad_integer(0));
}

void descent(ad_tape *t, ad_function *f, mode how, int n, const ad_var in[], ad_var *least) {
  objective o = { f, how };
  const ad_type x = ad_type_of(in[0]);
  ad_type types[STATES + MOST] = { x, AD_F64(), x, AD_F64(), AD_I64() }, inputs[MOST] = { x };
  ad_var state[STATES + MOST] = { in[0] }, end[STATES], found[2];
  for (int i = 1; i < n; i++) {
    inputs[i] = types[STATES + i - 1] = ad_type_of(in[i]);
    state[STATES + i - 1] = in[i];
  }
  ad_function *value_and_gradient = ad_function_trace("evaluate", evaluate, &o, n, inputs, 2);
  ad_function *condition = ad_function_trace("goes_on", goes_on, NULL, STATES, types, 1);
  ad_function *body = ad_function_trace("step", step, value_and_gradient, STATES + n - 1, types, STATES);
  ad_function_apply(value_and_gradient, in, found);
  state[FX] = found[0], state[GRADIENT] = found[1];
  state[RATE] = ad_scalar(t, 1e-5), state[GOOD_STEPS] = ad_cast(ad_scalar(t, 0), AD_I64);
  ad_while(condition, body, &(ad_loop){ .limit = 10000000 }, state, end);
  *least = end[X];
  ad_function_free(body);
  ad_function_free(condition);
  ad_function_free(value_and_gradient);
}
