/* particle.h -- a charged particle is to hit the origin: of two fixed charges, at (10, 10 - w) and (10, 0), w
 * is found by gradient descent so that the path from (0, 8) with velocity (0.75, 0), by Euler's method with
 * steps of 0.1, meets the x axis there. The force is the derivative of the potential sum 1/|x - charge|, and
 * the descent needs the derivative of the path by w: one derivative inside another. In the names ff, fr, rf,
 * rr the first letter is the mode (forward, reverse) of the descent's, the second of the force's. GradBench's
 * evals/particle, from Siskind and Pearlmutter.
 */
#pragma once

#include "../protocol.h"
#include "descent.h"

namespace peers {

/* at: the place (2). */
template <class W> struct Potential {
  W w;
  template <class T> T operator()(const T *at) const {
    const W one(1.0), ten(10.0), top = ten - w;  // of w's type: not every T goes together with a double
    T x = at[0] - ten, y = at[1], above = at[1] - top;
    return one/sqrt(x*x + above*above) + one/sqrt(x*x + y*y);
  }
};

/* Where on the x axis the particle arrives, squared. Slope: (Potential, const T place[2], T slope[2])
 * differentiates the potential. */
template <class T, class Slope> T arrival(const T &w, Slope slope) {
  const double dt = 0.1;
  T place[2] = {T(0.0), T(8.0)}, velocity[2] = {T(0.75), T(0.0)}, pull[2];
  const Potential<T> potential{w};
  for (;;) {
    slope(potential, place, pull);
    for (int i = 0; i < 2; i++) place[i] += dt*velocity[i];
    if (place[1] <= 0.0) break;
    for (int i = 0; i < 2; i++) velocity[i] -= dt*pull[i];
  }
  T x = place[0] - place[1]/velocity[1]*velocity[0];
  return x*x;
}

/* value(w) and slope(w) of the arrival; the w found. */
template <class Value, class Slope> double particle(const json &input, Value value, Slope slope) {
  using one = std::array<double, 1>;
  return least<1>(one{input.at("w").get<double>()}, [&](const one &w) { return value(w[0]); },
                  [&](const one &w) { return one{slope(w[0])}; })[0];
}

}  // namespace peers
