/* eigen.cpp -- Eigen's AutoDiffScalar: forward mode, the derivatives of a number beside it in a vector. Its
 * place are functions of few inputs, so that ba has 15 derivatives of fixed size, ht 28 at most; for llsq and
 * det the vector is as long as the input.
 *
 * Left out: lse, ode, gmm, lstm, kmeans. With thousands of inputs forward mode is no way to a gradient.
 * Saddle in modes other than ff: there is no reverse mode. Particle: an AutoDiffScalar of AutoDiffScalars
 * does not go together with constants that are double.
 */
#include "evaluations.h"

#include <Eigen/Core>
#include <unsupported/Eigen/AutoDiff>

using namespace peers;
template <int n> using Number = Eigen::AutoDiffScalar<Eigen::Matrix<double, n, 1>>;

template <class T> static std::vector<T> seeded(const std::vector<double> &x) {
  std::vector<T> at(x.size());
  const int n = static_cast<int>(x.size());
  for (int i = 0; i < n; i++) at[static_cast<std::size_t>(i)] = T(x[static_cast<std::size_t>(i)], n, i);
  return at;
}

template <class Problem> struct Gradient {
  using T = Number<Eigen::Dynamic>;
  const Problem &p;
  explicit Gradient(const Problem &problem) : p(problem) {}
  void operator()(double *g) {
    const T y = p(seeded<T>(p.x).data());
    std::copy(y.derivatives().begin(), y.derivatives().end(), g);
  }
};

struct Bundle {
  const Ba &a;
  explicit Bundle(const Ba &problem) : a(problem) {}
  void operator()(BaJacobian &j) {
    double x[15];
    Number<15> at[15], error[2];
    for (std::size_t i = 0; i < a.p; i++) {
      a.gather(i, x);
      for (int k = 0; k < 15; k++) at[k] = Number<15>(x[k], 15, k);
      Reprojection<double>{&a.features[2*i]}(at, error);
      for (int row = 0; row < 2; row++)
        std::copy(error[row].derivatives().begin(), error[row].derivatives().end(), j.block(i) + 15*row);
      Number<1> w(a.weights[i], 1, 0), difference;
      WeightError()(&w, &difference);
      *j.weight(i, a.p) = difference.derivatives()[0];
    }
  }
};

template <int n> static void hand(const Ht &a, double *jacobian) {
  std::vector<Number<n>> x(a.x.size()), error(a.errors());
  for (std::size_t i = 0; i < x.size(); i++) x[i] = Number<n>(a.x[i], n, static_cast<int>(a.direction(i)));
  a(x.data(), error.data());
  for (std::size_t i = 0; i < error.size(); i++)
    std::copy(error[i].derivatives().begin(), error[i].derivatives().end(), jacobian + n*i);
}

struct Hand {
  const Ht &a;
  explicit Hand(const Ht &problem) : a(problem) {}
  void operator()(double *jacobian) { a.with_us ? hand<28>(a, jacobian) : hand<26>(a, jacobian); }
};

int main() {
  Tool tool("eigen");
  add_gradient<Hello, Gradient<Hello>>(tool);
  add_gradient<Llsq, Gradient<Llsq>>(tool);
  add_gradient<Det, Gradient<Det>>(tool);
  add_ba<Bundle>(tool);
  add_ht<Hand>(tool);
  auto pair = [](const SaddleOf &f, const Pair &at) {
    Number<2> x[2] = {Number<2>(at[0], 2, 0), Number<2>(at[1], 2, 1)}, y = f(x);
    return Pair{y.derivatives()[0], y.derivatives()[1]};
  };
  add_saddle(tool, "ff", pair, pair);
  return tool.serve(std::cin, std::cout);
}
