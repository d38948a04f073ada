/* descent.h -- the gradient descent that GradBench's particle and saddle prescribe: the step length eta
 * begins at 1e-5, doubles after ten steps that were taken, halves after one that would not go down; it ends
 * when the gradient or the step is at most 1e-5 long.
 */
#pragma once

#include "scalar.h"
#include <array>

namespace peers {

/* The x near `start` where value(x) is least; gradient(x) returns its derivatives. */
template <std::size_t n, class Value, class Gradient>
std::array<double, n> least(std::array<double, n> start, Value value, Gradient gradient) {
  auto length = [](const std::array<double, n> &v) {
    double sum = 0;
    for (double e : v) sum += e*e;
    return std::sqrt(sum);
  };
  std::array<double, n> x = start, g = gradient(x), moved, step;
  double y = value(x), eta = 1e-5;
  for (int taken = 0; length(g) > 1e-5;) {
    if (taken == 10) eta *= 2, taken = 0;
    for (std::size_t j = 0; j < n; j++) moved[j] = x[j] - eta*g[j], step[j] = x[j] - moved[j];
    if (length(step) <= 1e-5) break;
    const double below = value(moved);
    if (below < y) {
      x = moved, y = below, g = gradient(x);
      taken++;
    } else {
      eta /= 2, taken = 0;
    }
  }
  return x;
}

}  // namespace peers
