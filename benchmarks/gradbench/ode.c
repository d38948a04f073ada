/* ode.c -- y'[0] = x[0], y'[i] = x[i] y[i-1] from y = 0 over [0, 2] by s steps of the classical
 * Runge-Kutta method. */
#include "job.h"

enum { PRIMAL, GRADIENT, MOST_STEPS = 1 << 24 };

typedef struct sizes { int64_t n, s; } sizes;

/* x times (1, y[0], .., y[n-2]). */
static ad_var rate(ad_var x, ad_var y) {
  const int64_t n = ad_type_of(y).dim[0];
  const ad_var parts[2] = { ad_ones(y.tape, AD_F64(1)), ad_slice(y, 0, 0, n - 1, 1) };
  return ad_mul(x, ad_concat(2, parts, 0));
}

static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const double h = *(const double *)context;
  const ad_var y = in[0], x = in[1];
  const ad_var k1 = rate(x, y), k2 = rate(x, ad_add(y, ad_mul(h/2, k1))),
               k3 = rate(x, ad_add(y, ad_mul(h/2, k2))),
               k4 = rate(x, ad_add(y, ad_mul(h, k3)));
  (void)t;
  out[0] = ad_add(y, ad_mul(h/6, ad_add(ad_add(k1, ad_mul(2, k2)), ad_add(ad_mul(2, k3), k4))));
}

static void solution(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sizes *s = context;
  double h = 2/(double)s->s;
  const ad_type types[2] = { AD_F64(s->n), AD_F64(s->n) };
  ad_function *f = ad_function_trace("step", step, &h, 2, types, 1);
  ad_scan(f, 1, &(ad_loop){ .steps = s->s }, (const ad_var[]){ ad_zeros(t, types[0]), in[0] }, out);
  ad_function_free(f);
}

static void last(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t end = ((const sizes *)context)->n - 1;
  ad_var y = ad_none();
  solution(t, in, &y, context);
  out[0] = ad_at(y, 1, &end);
}

static bool prepare(job *j, const json_t *input) {
  sizes s;
  if (!read_array(j, input, "x", 1, &s.n) || !read_integer(j, input, "s", 1, MOST_STEPS, &s.s)) return false;
  if (s.n == 0) return job_refuse(j, "x is empty");
  const ad_type x = AD_F64(s.n);
  if (j->function == PRIMAL)
    return job_take(j, ad_function_trace("ode", solution, &s, 1, &x, 1));
  return job_take_gradient(j, ad_function_trace("ode", last, &s, 1, &x, 1), 1, (const int[]){ 0 });
}

static json_t *answer(const job *j) {
  const int64_t n = ad_function_input_type(j->f, 0).dim[0];
  return answer_array(j->out[0], 1, &n);
}

const evaluation evaluation_ode = { "ode", { "primal", "gradient" }, prepare, answer };
