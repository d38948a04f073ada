/* lse.c -- log(sum(exp(x))), shifted by the largest element. */
#include "job.h"

/* The shift is there for the range of exp alone: what comes out does not depend on it. */
static void logsumexp(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var shift = ad_stop_gradient(ad_reduce_max(in[0], AD_ALL_AXES, false));
  out[0] = ad_add(shift, ad_log(ad_sum(ad_exp(ad_sub(in[0], shift)), AD_ALL_AXES, false)));
}

enum { PRIMAL, GRADIENT };

static bool prepare(job *j, const json_t *input) {
  int64_t n;
  if (!read_array(j, input, "x", 1, &n)) return false;
  if (n == 0) return job_refuse(j, "x is empty");
  const ad_type x = AD_F64(n);
  ad_function *f = ad_function_trace("lse", logsumexp, NULL, 1, &x, 1);
  return j->function == PRIMAL ? job_take(j, f) : job_take_gradient(j, f, 1, (const int[]){ 0 });
}

static json_t *answer(const job *j) {
  const int64_t n = ad_function_input_type(j->f, 0).dim[0];
  return j->function == PRIMAL ? answer_number(j, 0) : answer_array(j->out[0], 1, &n);
}

const evaluation evaluation_lse = { "lse", { "primal", "gradient" }, prepare, answer };
