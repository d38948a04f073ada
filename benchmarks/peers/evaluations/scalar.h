/* scalar.h -- what the objectives ask of a scalar type beyond arithmetic and the functions of <cmath>. A peer
 * whose type has something better than the branch below (an operation on its tape that chooses when it is
 * replayed) overloads these in the namespace of its type.
 */
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace peers {

using std::cos;
using std::exp;
using std::log;
using std::sin;
using std::sqrt;
using std::tanh;

template <class T> T larger(const T &a, const T &b) { return a < b ? b : a; }
template <class T> T smaller(const T &a, const T &b) { return b < a ? b : a; }

/* log(sum_i exp(x_i)), shifted by the largest x_i. */
template <class T> T log_sum_exp(std::size_t n, const T *x) {
  T most = x[0];
  for (std::size_t i = 1; i < n; i++) most = larger(most, x[i]);
  T sum(0.0);
  for (std::size_t i = 0; i < n; i++) sum += exp(x[i] - most);
  return most + log(sum);
}

}  // namespace peers
