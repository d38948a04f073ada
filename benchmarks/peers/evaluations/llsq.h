/* llsq.h -- linear least squares: a polynomial of degree m - 1 with coefficients x is fitted to the sign of
 * t,
 *
 *     y = 1/2 sum_i (sign(t_i) - sum_j x_j t_i^j)^2,   t_i = -1 + 2 i/(n - 1),   i < n, j < m.
 *
 * GradBench's evals/llsq, from llsq_obj of cmpad (B. M. Bell).
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Llsq {
  static constexpr const char *module = "llsq", *value_name = "primal", *gradient_name = "gradient";
  std::vector<double> x;  // m coefficients
  std::size_t n;

  explicit Llsq(const json &input) : x(input.at("x")), n(size_of(input, "n", 2)) {}

  template <class T> T operator()(const T *at) const {
    T sum(0.0);
    for (std::size_t i = 0; i < n; i++) {
      double t = -1 + 2*static_cast<double>(i)/static_cast<double>(n - 1), power = 1;
      T residual(static_cast<double>((t > 0) - (t < 0)));
      for (std::size_t j = 0; j < x.size(); j++, power *= t) residual -= at[j]*power;
      sum += residual*residual;
    }
    return sum*0.5;
  }
  double value() const { return (*this)(x.data()); }
  json gradient_output(const std::vector<double> &g) const { return g; }
};

}  // namespace peers
