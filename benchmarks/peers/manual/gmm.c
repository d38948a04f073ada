/* gmm.c -- the Gaussian mixture by hand. With c = x - mu, w = Q c and the share r of a component in a point,
 *
 *     d/dmu = r Q'w,   d/dq_i = r (1 - exp(q_i) c_i w_i),   d/dl_ij = -r w_i c_j,   d/dalpha = r
 *
 * summed over points, and the derivatives of the prior.
 */
#include "manual.h"

#include <math.h>
#include <string.h>

struct room { double *diagonal, *offset, *beta, *c, *w; };  // k d, k, k, k d, k d

static struct room rooms(const struct gmm *a, double *work) {
  const size_t kd = a->k*a->d;
  return (struct room){work, work + 3*kd, work + 3*kd + a->k, work + kd, work + 2*kd};
}

/* exp(q), alpha + sum q; returns the part of the prior. */
static double prepare(const struct gmm *a, const double *x, struct room r) {
  const size_t d = a->d, k = a->k, lower = d*(d - 1)/2;
  const double *q = x + k + k*d, *l = q + k*d;
  double squares = 0, logs = 0;
  for (size_t j = 0; j < k; j++) {
    double log_det = 0;
    for (size_t i = j*d; i < (j + 1)*d; i++) {
      r.diagonal[i] = exp(q[i]);
      log_det += q[i];
      squares += r.diagonal[i]*r.diagonal[i];
    }
    r.offset[j] = x[j] + log_det;
    logs += log_det;
  }
  for (size_t i = 0; i < k*lower; i++) squares += l[i]*l[i];
  return a->m*logs - a->gamma*a->gamma/2*squares;
}

/* c = point - mu, w = Q c; returns |w|^2. */
static double transform(size_t d, const double *restrict point, const double *restrict mu,
                        const double *restrict diagonal, const double *restrict l, double *restrict c,
                        double *restrict w) {
  double sum = 0;
  for (size_t i = 0; i < d; i++) {
    c[i] = point[i] - mu[i];
    w[i] = diagonal[i]*c[i];
  }
  for (size_t j = 0; j < d; j++) {
    for (size_t i = j + 1; i < d; i++) w[i] += l[i - j - 1]*c[j];
    l += d - j - 1;
  }
  for (size_t i = 0; i < d; i++) sum += w[i]*w[i];
  return sum;
}

/* log(sum exp(x)); shares = exp(x)/sum. */
static double shares(size_t n, const double *x, double *share) {
  double most = x[0], sum = 0;
  for (size_t i = 1; i < n; i++) most = most < x[i] ? x[i] : most;
  for (size_t i = 0; i < n; i++) {
    share[i] = exp(x[i] - most);
    sum += share[i];
  }
  for (size_t i = 0; i < n; i++) share[i] /= sum;
  return most + log(sum);
}

static double log_sum_exp(size_t n, const double *x) {
  double most = x[0], sum = 0;
  for (size_t i = 1; i < n; i++) most = most < x[i] ? x[i] : most;
  for (size_t i = 0; i < n; i++) sum += exp(x[i] - most);
  return most + log(sum);
}

double gmm_value(const struct gmm *a, const double *x, double *work) {
  const size_t d = a->d, k = a->k, lower = d*(d - 1)/2;
  const double *mu = x + k, *l = mu + 2*k*d;
  struct room r = rooms(a, work);
  double prior = prepare(a, x, r), sum = 0;
  for (size_t i = 0; i < a->n; i++) {
    for (size_t j = 0; j < k; j++)
      r.beta[j] = r.offset[j]
        - transform(d, a->points + i*d, mu + j*d, r.diagonal + j*d, l + j*lower, r.c, r.w)/2;
    sum += log_sum_exp(k, r.beta);
  }
  return a->constant + sum - (double)a->n*log_sum_exp(k, x) + prior;
}

/* What one component gets from one point. */
static void accumulate(size_t d, double share, const double *restrict diagonal, const double *restrict l,
                       const double *restrict c, const double *restrict w, double *restrict mu_bar,
                       double *restrict q_bar, double *restrict l_bar) {
  for (size_t i = 0; i < d; i++) {
    mu_bar[i] += share*diagonal[i]*w[i];
    q_bar[i] += share*(1 - diagonal[i]*c[i]*w[i]);
  }
  for (size_t j = 0; j < d; j++) {
    const double rc = share*c[j];
    double sum = 0;
    for (size_t i = j + 1; i < d; i++) {
      sum += l[i - j - 1]*w[i];
      l_bar[i - j - 1] -= rc*w[i];
    }
    mu_bar[j] += share*sum;
    l += d - j - 1;
    l_bar += d - j - 1;
  }
}

static void prior_gradient(const struct gmm *a, const double *x, struct room r, double *gradient) {
  const size_t d = a->d, k = a->k, lower = d*(d - 1)/2;
  const double square = a->gamma*a->gamma, *l = x + k + 2*k*d;
  double *q_bar = gradient + k + k*d, *l_bar = q_bar + k*d;
  shares(k, x, r.beta);
  for (size_t j = 0; j < k; j++) gradient[j] -= (double)a->n*r.beta[j];
  for (size_t i = 0; i < k*d; i++) q_bar[i] += a->m - square*r.diagonal[i]*r.diagonal[i];
  for (size_t i = 0; i < k*lower; i++) l_bar[i] -= square*l[i];
}

void gmm_gradient(const struct gmm *a, const double *x, double *gradient, double *work) {
  const size_t d = a->d, k = a->k, lower = d*(d - 1)/2;
  const double *mu = x + k, *l = mu + 2*k*d;
  double *mu_bar = gradient + k, *q_bar = mu_bar + k*d, *l_bar = q_bar + k*d;
  struct room r = rooms(a, work);
  memset(gradient, 0, (k + 2*k*d + k*lower)*sizeof *gradient);
  prepare(a, x, r);
  for (size_t i = 0; i < a->n; i++) {
    for (size_t j = 0; j < k; j++)
      r.beta[j] = r.offset[j]
        - transform(d, a->points + i*d, mu + j*d, r.diagonal + j*d, l + j*lower, r.c + j*d, r.w + j*d)/2;
    shares(k, r.beta, r.beta);
    for (size_t j = 0; j < k; j++) {
      gradient[j] += r.beta[j];
      accumulate(d, r.beta[j], r.diagonal + j*d, l + j*lower, r.c + j*d, r.w + j*d, mu_bar + j*d, q_bar + j*d,
                 l_bar + j*lower);
    }
  }
  prior_gradient(a, x, r, gradient);
}
