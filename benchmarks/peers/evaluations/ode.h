/* ode.h -- y_0' = x_0, y_i' = x_i y_{i-1}, y(0) = 0, to t = 2 in s steps of the classical Runge-Kutta method;
 * the derivative asked for is the gradient of the last y_i. GradBench's evals/ode, from an_ode of cmpad (B.
 * M. Bell).
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Ode {
  static constexpr const char *module = "ode", *value_name = "primal", *gradient_name = "gradient";
  std::vector<double> x;
  std::size_t s;

  explicit Ode(const json &input) : x(input.at("x")), s(size_of(input, "s", 1)) {
    if (x.empty()) throw std::invalid_argument("x is empty");
  }

  template <class T> static void rate(std::size_t n, const T *at, const T *y, T *dy) {
    dy[0] = at[0];
    for (std::size_t i = 1; i < n; i++) dy[i] = at[i]*y[i - 1];
  }
  template <class T> std::vector<T> solve(const T *at) const {
    const std::size_t n = x.size();
    const double h = 2/static_cast<double>(s);
    std::vector<T> y(n), stage(n), k1(n), k2(n), k3(n), k4(n);
    for (T &v : y) v = T(0.0);
    for (std::size_t step = 0; step < s; step++) {
      rate(n, at, y.data(), k1.data());
      for (std::size_t i = 0; i < n; i++) stage[i] = y[i] + h/2*k1[i];
      rate(n, at, stage.data(), k2.data());
      for (std::size_t i = 0; i < n; i++) stage[i] = y[i] + h/2*k2[i];
      rate(n, at, stage.data(), k3.data());
      for (std::size_t i = 0; i < n; i++) stage[i] = y[i] + h*k3[i];
      rate(n, at, stage.data(), k4.data());
      for (std::size_t i = 0; i < n; i++) y[i] += h/6*(k1[i] + 2.0*(k2[i] + k3[i]) + k4[i]);
    }
    return y;
  }
  template <class T> T operator()(const T *at) const { return solve(at).back(); }
  std::vector<double> value() const { return solve(x.data()); }
  json gradient_output(const std::vector<double> &g) const { return g; }
};

}  // namespace peers
