/* saddle.c -- min over x of max over y of |x|^2 - |y|^2 in the plane, one descent inside another, each
 * with derivatives in a mode of its own. Source: Siskind and Pearlmutter, "Using programming language
 * theory to make automatic differentiation sound and efficient", AD 2008. */
#include "descent.h"
#include "job.h"

typedef struct modes { mode outer, inner; } modes;

static ad_var payoff(ad_var x, ad_var y) {
  return ad_sub(ad_sum(ad_square(x), AD_ALL_AXES, false), ad_sum(ad_square(y), AD_ALL_AXES, false));
}

/* (y, x) -> what is least where the payoff is largest. */
static void loss(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_neg(payoff(in[1], in[0]));
}

static ad_var best_answer(ad_tape *t, mode how, ad_var x, ad_var start) {
  const ad_type types[2] = { AD_F64(2), AD_F64(2) };
  ad_function *f = ad_function_trace("loss", loss, NULL, 2, types, 1);
  ad_var y = ad_none();
  descent(t, f, how, 2, (const ad_var[]){ start, x }, &y);
  ad_function_free(f);
  return y;
}

/* (x, start) -> max over y. */
static void worst_case(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const modes *how = context;
  out[0] = payoff(in[0], best_answer(t, how->inner, in[0], in[1]));
}

/* start -> (x, y). */
static void saddle_point(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const modes *how = context;
  const ad_type types[2] = { AD_F64(2), AD_F64(2) };
  ad_function *f = ad_function_trace("worst_case", worst_case, context, 2, types, 1);
  ad_var at[2] = { ad_none(), ad_none() };
  descent(t, f, how->outer, 2, (const ad_var[]){ in[0], in[0] }, &at[0]);
  ad_function_free(f);
  at[1] = best_answer(t, how->outer, at[0], in[0]);
  out[0] = ad_concat(2, at, 0);
}

static bool prepare(job *j, const json_t *input) {
  static const modes all[4] = { { FORWARD, FORWARD }, { FORWARD, REVERSE }, { REVERSE, FORWARD },
                                { REVERSE, REVERSE } };
  modes how = all[j->function];
  int64_t n;
  if (!read_array(j, input, "start", 1, &n)) return false;
  if (n != 2) return job_refuse(j, "start does not have 2 elements");
  const ad_type start = AD_F64(2);
  return job_take(j, ad_function_trace("saddle", saddle_point, &how, 1, &start, 1));
}

static json_t *answer(const job *j) {
  const int64_t n = 4;
  return answer_array(j->out[0], 1, &n);
}

const evaluation evaluation_saddle = { "saddle", { "ff", "fr", "rf", "rr" }, prepare, answer };
