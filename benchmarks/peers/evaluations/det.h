/* det.h -- the determinant of an n x n matrix by expansion along the first row, all n! products of it: a
 * program of many scalar operations. GradBench's evals/det, from det_by_minor of cmpad (B. M. Bell).
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Det {
  static constexpr const char *module = "det", *value_name = "primal", *gradient_name = "gradient";
  std::vector<double> x;  // row by row
  int n;

  explicit Det(const json &input) : x(input.at("A")), n(static_cast<int>(size_of(input, "ell", 1))) {
    if (x.size() != static_cast<std::size_t>(n)*static_cast<std::size_t>(n))
      throw std::invalid_argument("A is not ell x ell");
  }

  /* The minor of rows `row` to n - 1 and of the columns in the list that begins with next[n]; m = n - row
   * of them. */
  template <class T> T minor(const T *a, int row, int *next) const {
    int column = next[n];
    if (row == n - 1) return a[row*n + column];
    T sum(0.0);
    for (int before = n, sign = 1; column < n; before = column, column = next[column], sign = -sign) {
      next[before] = next[column];
      T rest = minor(a, row + 1, next);
      next[before] = column;
      if (sign > 0) sum += a[row*n + column]*rest;
      else sum -= a[row*n + column]*rest;
    }
    return sum;
  }
  template <class T> T operator()(const T *a) const {
    std::vector<int> next(static_cast<std::size_t>(n) + 1);
    for (int j = 0; j < n; j++) next[static_cast<std::size_t>(j)] = j + 1;
    next[static_cast<std::size_t>(n)] = 0;
    return minor(a, 0, next.data());
  }
  double value() const { return (*this)(x.data()); }
  json gradient_output(const std::vector<double> &g) const { return g; }
};

}  // namespace peers
