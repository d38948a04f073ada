/* gmm.c -- log-posterior of a mixture of Gaussians with a Wishart prior. Component k has the weight
 * exp(alpha[k]), the mean mu[k] and the precision Q'Q with Q lower triangular: its diagonal is exp(q[k]),
 * what lies below it is l[k], column by column. */
#include "job.h"

#include <math.h>
#include <stdlib.h>

enum { OBJECTIVE, JACOBIAN };
enum { ALPHA, MU, LOG_DIAGONAL, BELOW, POINTS, INPUTS };

typedef struct sizes { int64_t d, k, n, m; double gamma; } sizes;

/* Q from its diagonal and the list of what is below: Q[row][column] is element at[row*d + column] of
 * (0, diagonal, below). */
static ad_var triangle(ad_tape *t, int64_t d, ad_var diagonal, ad_var below) {
  int64_t *at = calloc((size_t)(d*d) + 1, sizeof *at), next = 1 + d;
  const ad_var parts[3] = { ad_zeros(t, AD_F64(1)), diagonal, below };
  for (int64_t column = 0; at && column < d; column++) {
    at[column*d + column] = 1 + column;
    for (int64_t row = column + 1; row < d; row++) at[row*d + column] = next++;
  }
  const ad_var q = at ? ad_take(ad_concat(3, parts, 0), ad_constant(t, AD_I64(d, d), at), 0) : ad_none();
  free(at);
  return q;
}

/* (alpha, mu, q, l, points) of one component -> (its term for every point, its part of the prior). */
static void component(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sizes *s = context;
  const ad_var diagonal = ad_exp(in[LOG_DIAGONAL]), trace = ad_sum(in[LOG_DIAGONAL], AD_ALL_AXES, false);
  const ad_var q = triangle(t, s->d, diagonal, in[BELOW]);
  const ad_var z = ad_matmul(ad_sub(in[POINTS], in[MU]), ad_transpose(q, NULL));
  out[0] = ad_sub(ad_add(in[ALPHA], trace), ad_mul(0.5, ad_sum(ad_square(z), AD_AXES(1), false)));
  const ad_var frobenius = ad_add(ad_sum(ad_square(diagonal), AD_ALL_AXES, false),
                                  ad_sum(ad_square(in[BELOW]), AD_ALL_AXES, false));
  out[1] = ad_sub(ad_mul((double)s->m, trace), ad_mul(0.5*s->gamma*s->gamma, frobenius));
}

/* Over the first axis. The shift changes nothing but the range of exp. */
static ad_var logsumexp(ad_var x) {
  const ad_var shift = ad_stop_gradient(ad_reduce_max(x, AD_AXES(0), true));
  const ad_var sum = ad_sum(ad_exp(ad_sub(x, shift)), AD_AXES(0), true);
  return ad_sum(ad_add(shift, ad_log(sum)), AD_ALL_AXES, false);
}

static double log_multivariate_gamma(double a, int64_t d) {
  double sum = 0.25*(double)(d*(d - 1))*log(acos(-1));
  for (int64_t i = 1; i <= d; i++) sum += lgamma(a + 0.5*(double)(1 - i));
  return sum;
}

static void objective(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sizes *s = context;
  const double d = (double)s->d, n = (double)s->n, freedom = d + (double)s->m + 1;
  const ad_type types[INPUTS] = { AD_F64(), AD_F64(s->d), AD_F64(s->d), AD_F64(s->d*(s->d - 1)/2),
                                  AD_F64(s->n, s->d) };
  ad_function *f = ad_function_trace("component", component, context, INPUTS, types, 2);
  ad_var part[2] = { ad_none(), ad_none() };
  (void)t;
  ad_map(f, in, part);
  ad_function_free(f);
  const double constant = -n*d*0.5*log(2*acos(-1))
                          + (double)s->k*(freedom*d*log(s->gamma/sqrt(2))
                                          - log_multivariate_gamma(freedom/2, s->d));
  const ad_var likelihood = ad_sub(logsumexp(part[0]), ad_mul(n, logsumexp(in[ALPHA])));
  out[0] = ad_add(constant, ad_add(likelihood, ad_sum(part[1], AD_ALL_AXES, false)));
}

static bool read_sizes(job *j, const json_t *input, sizes *s) {
  const int64_t most = 1 << 20;
  return read_integer(j, input, "d", 1, most, &s->d) && read_integer(j, input, "k", 1, most, &s->k)
         && read_integer(j, input, "n", 1, (int64_t)1 << 30, &s->n)
         && read_integer(j, input, "m", 0, most, &s->m)
         && read_number(j, input, "gamma", &s->gamma);
}

static bool prepare(job *j, const json_t *input) {
  static const char *const names[INPUTS] = { "alpha", "mu", "q", "l", "x" };
  sizes s;
  int64_t dim[INPUTS][2];
  if (!read_sizes(j, input, &s)) return false;
  for (int i = 0; i < INPUTS; i++)
    if (!read_array(j, input, names[i], i == ALPHA ? 1 : 2, dim[i])) return false;
  const int64_t below = s.d*(s.d - 1)/2,
                want[INPUTS][2] = { { s.k, 0 }, { s.k, s.d }, { s.k, s.d }, { s.k, below }, { s.n, s.d } };
  ad_type types[INPUTS];
  for (int i = 0; i < INPUTS; i++) {
    if (dim[i][0] != want[i][0] || (i != ALPHA && dim[i][1] != want[i][1]))
      return job_refuse(j, "%s does not fit d, k and n", names[i]);
    types[i] = ad_type_make(AD_F64, i == ALPHA ? 1 : 2, want[i]);
  }
  ad_function *f = ad_function_trace("gmm", objective, &s, INPUTS, types, 1);
  return j->function == OBJECTIVE ? job_take(j, f)
         : job_take_gradient(j, f, POINTS, (const int[]){ ALPHA, MU, LOG_DIAGONAL, BELOW });
}

static json_t *part(const job *j, int i) {
  const ad_type type = ad_function_input_type(j->f, i);
  return answer_array(j->out[i], type.rank, type.dim);
}

static json_t *answer(const job *j) {
  if (j->function == OBJECTIVE) return answer_number(j, 0);
  return json_pack("{s:o, s:o, s:o, s:o}", "alpha", part(j, ALPHA), "mu", part(j, MU), "q",
                   part(j, LOG_DIAGONAL), "l", part(j, BELOW));
}

const evaluation evaluation_gmm = { "gmm", { "objective", "jacobian" }, prepare, answer };
