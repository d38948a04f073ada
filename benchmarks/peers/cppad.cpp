/* cppad.cpp -- CppAD, the version in the headers of r-cran-tmb. A function is recorded and optimised once,
 * then evaluated forwards and backwards; maxima and minima are conditional expressions, so the recording
 * holds for other inputs too. Derivatives inside derivatives (particle) record AD<double> on AD<AD<double>>,
 * at every evaluation, since the number of steps depends on the input.
 */
#include "evaluations.h"

/* Names that TMB's changes to CppAD take from TMB.hpp and from R. */
#define CSKIP(...) __VA_ARGS__
template <class T> struct isDouble { enum { value = false }; };
template <> struct isDouble<double> { enum { value = true }; };
static std::ostream &Rcout = std::cerr;
#include <cppad/cppad.hpp>

namespace CppAD {
template <class T> AD<T> larger(const AD<T> &a, const AD<T> &b) { return CondExpLt(a, b, b, a); }
template <class T> AD<T> smaller(const AD<T> &a, const AD<T> &b) { return CondExpLt(b, a, b, a); }
}  // namespace CppAD

using namespace peers;
using CppAD::AD;
using CppAD::ADFun;
using Vector = std::vector<double>;

/* f has n outputs. */
template <class F, class T> static void record(ADFun<T> &tape, const std::vector<T> &x, std::size_t n, F f) {
  std::vector<AD<T>> at(x.begin(), x.end()), y(n);
  CppAD::Independent(at);
  f(at.data(), y.data());
  tape.Dependent(at, y);
}

template <class Problem> struct Gradient {
  const Problem &p;
  ADFun<double> tape;
  explicit Gradient(const Problem &problem) : p(problem) {
    record(tape, p.x, 1, [&](const AD<double> *at, AD<double> *y) { *y = p(at); });
    tape.optimize();
  }
  void operator()(double *g) {
    tape.Forward(0, p.x);
    const Vector slope = tape.Reverse(1, Vector{1.0});
    std::copy(slope.begin(), slope.end(), g);
  }
};

/* The measured feature is an input of the tape as well: this version has no parameters that may change. */
struct Bundle {
  const Ba &a;
  ADFun<double> block, weight;
  Vector x;
  explicit Bundle(const Ba &problem) : a(problem), x(17) {
    gather(0);
    record(block, x, 2, [](const auto *at, auto *y) { Reprojection<AD<double>>{at + 15}(at, y); });
    record(weight, Vector{a.weights[0]}, 1,
           [&](const AD<double> *at, AD<double> *y) { WeightError()(at, y); });
    block.optimize();
    weight.optimize();
  }
  void gather(std::size_t i) {
    a.gather(i, x.data());
    x[15] = a.features[2*i];
    x[16] = a.features[2*i + 1];
  }
  void operator()(BaJacobian &j) {
    Vector one(1), rows[2] = {{1, 0}, {0, 1}};
    for (std::size_t i = 0; i < a.p; i++) {
      gather(i);
      block.Forward(0, x);
      for (std::size_t row = 0; row < 2; row++) {
        const Vector slope = block.Reverse(1, rows[row]);
        std::copy_n(slope.begin(), 15, j.block(i) + 15*row);
      }
      one[0] = a.weights[i];
      weight.Forward(0, one);
      one[0] = 1;
      *j.weight(i, a.p) = weight.Forward(1, one)[0];
    }
  }
};

/* Forwards, a direction at a time: 26 or 28 of them against three outputs for each of the points. */
struct Hand {
  const Ht &a;
  ADFun<double> tape;
  explicit Hand(const Ht &problem) : a(problem) {
    record(tape, a.x, a.errors(), [&](const AD<double> *at, AD<double> *y) { a(at, y); });
    tape.optimize();
  }
  void operator()(double *jacobian) {
    Vector direction(a.x.size());
    tape.Forward(0, a.x);
    for (std::size_t j = 0; j < a.columns(); j++) {
      for (std::size_t i = 0; i < direction.size(); i++) direction[i] = a.direction(i) == j;
      const Vector slope = tape.Forward(1, direction);
      for (std::size_t i = 0; i < slope.size(); i++) jacobian[i*a.columns() + j] = slope[i];
    }
  }
};

/* The Hessian is diagonal, so its product with ones is the diagonal: one direction forwards, two orders
 * backwards. */
struct Newton {
  const Kmeans &a;
  ADFun<double> tape;
  explicit Newton(const Kmeans &problem) : a(problem) {
    record(tape, a.x, 1, [&](const AD<double> *at, AD<double> *y) { *y = a(at); });
    tape.optimize();
  }
  void operator()(double *g, double *hessian) {
    const std::size_t n = a.x.size();
    tape.Forward(0, a.x);
    tape.Forward(1, Vector(n, 1.0));
    const Vector slopes = tape.Reverse(2, Vector{1.0});
    for (std::size_t i = 0; i < n; i++) g[i] = slopes[2*i], hessian[i] = slopes[2*i + 1];
  }
};

/* The derivatives of f at x, forwards or backwards, T being double or again of CppAD. */
template <bool reverse, class F, class T> static void slope(const F &f, const T *x, T *out, std::size_t n) {
  ADFun<T> tape;
  record(tape, std::vector<T>(x, x + n), 1, [&](const AD<T> *at, AD<T> *y) { *y = f(at); });
  tape.Forward(0, std::vector<T>(x, x + n));
  if (reverse) {
    const std::vector<T> g = tape.Reverse(1, std::vector<T>{T(1.0)});
    for (std::size_t i = 0; i < n; i++) out[i] = g[i];
  } else {
    for (std::size_t i = 0; i < n; i++) {
      std::vector<T> direction(n, T(0.0));
      direction[i] = T(1.0);
      out[i] = tape.Forward(1, direction)[0];
    }
  }
}

template <bool reverse> struct Path {
  template <class T> T operator()(const T *w) const {
    return arrival(w[0], [](const auto &potential, const T *place, T *pull) {
      slope<reverse>(potential, place, pull, 2);
    });
  }
};

template <bool outer, bool inner> static void add_nested(Tool &tool, const char *mode) {
  add_particle(tool, mode, [](double w) { return Path<inner>()(&w); },
               [](double w) {
                 double out;
                 slope<outer>(Path<inner>(), &w, &out, 1);
                 return out;
               });
  auto pair = [](auto by) {
    return [by](const SaddleOf &f, const Pair &at) {
      Pair g;
      slope<decltype(by)::value>(f, at.data(), g.data(), 2);
      return g;
    };
  };
  add_saddle(tool, mode, pair(std::bool_constant<outer>()), pair(std::bool_constant<inner>()));
}

int main() {
  Tool tool("cppad");
  add_gradient<Hello, Gradient<Hello>>(tool);
  add_gradient<Llsq, Gradient<Llsq>>(tool);
  add_gradient<Lse, Gradient<Lse>>(tool);
  add_gradient<Det, Gradient<Det>>(tool);
  add_gradient<Ode, Gradient<Ode>>(tool);
  add_gradient<Gmm, Gradient<Gmm>>(tool);
  add_gradient<Lstm, Gradient<Lstm>>(tool);
  add_ba<Bundle>(tool);
  add_ht<Hand>(tool);
  add_kmeans<Newton>(tool);
  add_nested<false, false>(tool, "ff");
  add_nested<false, true>(tool, "fr");
  add_nested<true, false>(tool, "rf");
  add_nested<true, true>(tool, "rr");
  return tool.serve(std::cin, std::cout);
}
