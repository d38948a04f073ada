/* saddle.h -- min over x in R^2 of max over y in R^2 of |x|^2 - |y|^2, by gradient descent inside gradient
 * descent: each value of the outer function is a whole search for y. The gradient of the outer function at x
 * is that by x at the y found (the envelope theorem). In ff, fr, rf, rr the first letter is the mode of the
 * outer gradient, the second of the inner; the last search, for y at the x found, is in the mode of the
 * outer. GradBench's evals/saddle, from Siskind and Pearlmutter.
 */
#pragma once

#include "../protocol.h"
#include "descent.h"

namespace peers {

using Pair = std::array<double, 2>;

/* f as a function of x, y given; or -f as one of y, x given, for the maximum of f is the minimum of -f. */
struct SaddleOf {
  Pair other;
  template <class T> T operator()(const T *at) const {
    return (at[0]*at[0] + at[1]*at[1]) - (other[0]*other[0] + other[1]*other[1]);
  }
};

/* outer(SaddleOf, Pair), inner(SaddleOf, Pair): gradients. */
template <class Outer, class Inner>
std::array<double, 4> saddle(const Pair &start, Outer outer, Inner inner) {
  auto highest = [&](const Pair &x, auto &gradient) {
    SaddleOf down{x};
    return least<2>(start, [&](const Pair &y) { return down(y.data()); },
                    [&](const Pair &y) { return gradient(down, y); });
  };
  const Pair x = least<2>(start, [&](const Pair &at) { return SaddleOf{highest(at, inner)}(at.data()); },
                          [&](const Pair &at) { return outer(SaddleOf{highest(at, inner)}, at); });
  const Pair y = highest(x, outer);
  return {x[0], x[1], y[0], y[1]};
}

}  // namespace peers
