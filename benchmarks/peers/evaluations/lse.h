/* lse.h -- y = log(sum_i exp(x_i)), by its parts: a maximum, a sum, a logarithm. GradBench's evals/lse asks
 * for the parts, not for a library's own log-sum-exp.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Lse {
  static constexpr const char *module = "lse", *value_name = "primal", *gradient_name = "gradient";
  std::vector<double> x;

  explicit Lse(const json &input) : x(input.at("x")) {
    if (x.empty()) throw std::invalid_argument("x is empty");
  }

  template <class T> T operator()(const T *at) const {
    T most = at[0];
    for (std::size_t i = 1; i < x.size(); i++) most = larger(most, at[i]);
    T sum(0.0);
    for (std::size_t i = 0; i < x.size(); i++) sum += exp(at[i] - most);
    return most + log(sum);
  }
  double value() const { return (*this)(x.data()); }
  json gradient_output(const std::vector<double> &g) const { return g; }
};

}  // namespace peers
