/* gmm.h -- the log posterior of a Gaussian mixture of k components in d dimensions for n points, with a
 * Wishart prior on the precision matrices Q'Q (formulas: GradBench's evals/gmm/README.md):
 *
 *     beta_ik = alpha_k + sum_j q_kj - |Q_k (x_i - mu_k)|^2/2
 *     F = -n (d/2 log(2 pi) + lse(alpha)) + sum_i lse_k(beta_ik)
 *       + k (nu d log(gamma/sqrt(2)) - log Gamma_d(nu/2)) - gamma^2/2 sum_k |Q_k|^2 + m sum_kj q_kj
 *
 * where nu = d + m + 1 and Q_k is lower triangular, exp(q_k) on the diagonal, l_k below it by columns.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Gmm {
  static constexpr const char *module = "gmm", *value_name = "objective", *gradient_name = "jacobian";
  std::size_t d, k, n, lower;   // lower = d (d - 1)/2 entries below the diagonal
  std::vector<double> x;        // alpha (k), mu (k x d), q (k x d), l (k x lower)
  std::vector<double> points;   // n x d
  double gamma;
  int m;

  explicit Gmm(const json &input)
      : d(size_of(input, "d", 1)), k(size_of(input, "k", 1)), n(size_of(input, "n")), lower(d*(d - 1)/2),
        gamma(input.at("gamma")), m(input.at("m")) {
    x = input.at("alpha").get<std::vector<double>>();
    for (const char *name : {"mu", "q", "l"}) append(x, input.at(name));
    append(points, input.at("x"));
    if (x.size() != k*(1 + 2*d + lower) || points.size() != n*d) throw std::invalid_argument("wrong sizes");
  }

  static void append(std::vector<double> &to, const json &rows) {
    for (const json &row : rows)
      for (const json &v : row) to.push_back(v);
  }

  /* What does not depend on the parameters. */
  double constant() const {
    const double pi = std::acos(-1.0), dim = static_cast<double>(d), nu = dim + m + 1;
    double log_gamma = dim*(dim - 1)/4*std::log(pi);
    for (std::size_t j = 0; j < d; j++) log_gamma += std::lgamma((nu - static_cast<double>(j))/2);
    return static_cast<double>(k)*(nu*dim*(std::log(gamma) - std::log(2.0)/2) - log_gamma)
      - static_cast<double>(n)*dim/2*std::log(2*pi);
  }

  /* |Q (x - mu)|^2; w is room for d numbers. */
  template <class T>
  T distance(const double *point, const T *mu, const T *diagonal, const T *l, T *w, T *c) const {
    for (std::size_t i = 0; i < d; i++) c[i] = point[i] - mu[i];
    for (std::size_t i = 0; i < d; i++) w[i] = diagonal[i]*c[i];
    for (std::size_t j = 0; j < d; j++)
      for (std::size_t i = j + 1; i < d; i++) w[i] += *l++*c[j];
    T sum = w[0]*w[0];
    for (std::size_t i = 1; i < d; i++) sum += w[i]*w[i];
    return sum;
  }

  template <class T> T operator()(const T *at) const {
    const T *alpha = at, *mu = alpha + k, *q = mu + k*d, *l = q + k*d;
    std::vector<T> diagonal(k*d), offset(k), beta(k), w(d), c(d);
    T squares(0.0), logs(0.0), sum(0.0);
    for (std::size_t j = 0; j < k; j++) {
      T log_det(0.0);
      for (std::size_t i = j*d; i < (j + 1)*d; i++) {
        diagonal[i] = exp(q[i]);
        log_det += q[i];
        squares += diagonal[i]*diagonal[i];
      }
      logs += log_det;
      offset[j] = alpha[j] + log_det;
    }
    for (std::size_t i = 0; i < k*lower; i++) squares += l[i]*l[i];
    for (std::size_t i = 0; i < n; i++) {
      for (std::size_t j = 0; j < k; j++)
        beta[j] = offset[j]
          - 0.5*distance(&points[i*d], mu + j*d, &diagonal[j*d], l + j*lower, w.data(), c.data());
      sum += log_sum_exp(k, beta.data());
    }
    return constant() + sum - static_cast<double>(n)*log_sum_exp(k, alpha) - gamma*gamma/2*squares
      + static_cast<double>(m)*logs;
  }
  double value() const { return (*this)(x.data()); }

  json gradient_output(const std::vector<double> &g) const {
    auto rows = [this](const double *from, std::size_t columns) {
      json out = json::array();
      for (std::size_t j = 0; j < k; j++)
        out.push_back(std::vector<double>(from + j*columns, from + (j + 1)*columns));
      return out;
    };
    const double *mu = g.data() + k, *q = mu + k*d, *l = q + k*d;
    return {{"alpha", std::vector<double>(g.data(), mu)},
            {"mu", rows(mu, d)}, {"q", rows(q, d)}, {"l", rows(l, lower)}};
  }
};

}  // namespace peers
