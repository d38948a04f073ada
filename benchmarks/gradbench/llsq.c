/* llsq.c -- a polynomial fitted to the sign of t in [-1, 1]: half the sum of squares of what is left. */
#include "job.h"

enum { PRIMAL, GRADIENT, MOST_POINTS = 1 << 26 };

/* (t, x) -> (sign(t) - x[0] - x[1] t - x[2] t^2 - ..)^2, by Horner's rule. */
static void residual_squared(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t m = *(const int64_t *)context;
  ad_var sum = ad_scalar(t, 0);
  for (int64_t k = m - 1; k >= 0; k--) sum = ad_add(ad_mul(sum, in[0]), ad_at(in[1], 1, &k));
  out[0] = ad_square(ad_sub(ad_sign(in[0]), sum));
}

typedef struct sizes { int64_t m, n; } sizes;

static void objective(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  sizes *s = context;
  const ad_type types[2] = { AD_F64(), AD_F64(s->m) };
  ad_function *point = ad_function_trace("point", residual_squared, &s->m, 2, types, 1);
  const ad_var grid = s->n > 1 ? ad_linspace(ad_scalar(t, -1), ad_real(1), s->n) : ad_full(t, AD_F64(1), -1);
  ad_var each = ad_none();
  ad_map(point, (const ad_var[]){ grid, in[0] }, &each);
  out[0] = ad_mul(0.5, ad_sum(each, AD_ALL_AXES, false));
  ad_function_free(point);
}

static bool prepare(job *j, const json_t *input) {
  sizes s;
  if (!read_array(j, input, "x", 1, &s.m) || !read_integer(j, input, "n", 1, MOST_POINTS, &s.n)) return false;
  if (s.m == 0) return job_refuse(j, "x is empty");
  const ad_type x = AD_F64(s.m);
  ad_function *f = ad_function_trace("llsq", objective, &s, 1, &x, 1);
  return j->function == PRIMAL ? job_take(j, f) : job_take_gradient(j, f, 1, (const int[]){ 0 });
}

static json_t *answer(const job *j) {
  const int64_t m = ad_function_input_type(j->f, 0).dim[0];
  return j->function == PRIMAL ? answer_number(j, 0) : answer_array(j->out[0], 1, &m);
}

const evaluation evaluation_llsq = { "llsq", { "primal", "gradient" }, prepare, answer };
