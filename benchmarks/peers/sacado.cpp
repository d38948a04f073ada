/* sacado.cpp -- Sacado, of Trilinos: gradients in reverse mode (RAD), which records anew at every evaluation;
 * Jacobians of few inputs in forward mode with so many derivatives in each number (SFad); second derivatives
 * and derivatives inside derivatives by one over the other.
 *
 * Left out: particle and saddle in the modes fr and rr. RAD keeps one global record, so there is no reverse
 * sweep inside a recording.
 */
#include "evaluations.h"

#include <Sacado.hpp>

using namespace peers;
using Reverse = Sacado::Rad::ADvar<double>;
template <int n, class T = double> using Forward = Sacado::Fad::SFad<T, n>;

template <class Problem> struct Gradient {
  const Problem &p;
  explicit Gradient(const Problem &problem) : p(problem) {}
  void operator()(double *g) {
    std::vector<Reverse> at(p.x.begin(), p.x.end());
    Reverse y = p(at.data());
    Sacado::Rad::ADcontext<double>::Gradcomp();
    for (std::size_t i = 0; i < at.size(); i++) g[i] = at[i].adj();
  }
};

struct Bundle {
  const Ba &a;
  explicit Bundle(const Ba &problem) : a(problem) {}
  void operator()(BaJacobian &j) {
    double x[15];
    Forward<15> at[15], error[2];
    for (std::size_t i = 0; i < a.p; i++) {
      a.gather(i, x);
      for (int k = 0; k < 15; k++) at[k] = Forward<15>(15, k, x[k]);
      Reprojection<double>{&a.features[2*i]}(at, error);
      for (int row = 0; row < 2; row++) std::copy_n(error[row].dx(), 15, j.block(i) + 15*row);
      Forward<1> w(1, 0, a.weights[i]), difference;
      WeightError()(&w, &difference);
      *j.weight(i, a.p) = difference.dx(0);
    }
  }
};

template <int n> static void hand(const Ht &a, double *jacobian) {
  std::vector<Forward<n>> x(a.x.size()), error(a.errors());
  for (std::size_t i = 0; i < x.size(); i++) x[i] = Forward<n>(n, static_cast<int>(a.direction(i)), a.x[i]);
  a(x.data(), error.data());
  for (std::size_t i = 0; i < error.size(); i++) std::copy_n(error[i].dx(), n, jacobian + n*i);
}

struct Hand {
  const Ht &a;
  explicit Hand(const Ht &problem) : a(problem) {}
  void operator()(double *jacobian) { a.with_us ? hand<28>(a, jacobian) : hand<26>(a, jacobian); }
};

/* Forward numbers in the direction of ones under the reverse sweep: their derivatives are the Hessian's
 * diagonal. */
struct Newton {
  using Inner = Forward<1>;
  using Outer = Sacado::Rad::ADvar<Inner>;
  const Kmeans &a;
  explicit Newton(const Kmeans &problem) : a(problem) {}
  void operator()(double *g, double *hessian) {
    std::vector<Outer> at;
    at.reserve(a.x.size());
    for (double v : a.x) at.emplace_back(Inner(1, 0, v));
    Outer y = a(at.data());
    Sacado::Rad::ADcontext<Inner>::Gradcomp();
    for (std::size_t i = 0; i < at.size(); i++) {
      g[i] = at[i].adj().val();
      hessian[i] = at[i].adj().dx(0);
    }
  }
};

/* The force in forward mode, of numbers of any kind. */
template <class T> static T path(const T &w) {
  return arrival(w, [](const auto &potential, const T *place, T *pull) {
    Forward<2, T> at[2] = {Forward<2, T>(2, 0, place[0]), Forward<2, T>(2, 1, place[1])};
    const Forward<2, T> y = potential(at);
    pull[0] = y.dx(0), pull[1] = y.dx(1);
  });
}

static double path_forwards(double w) { return path(Forward<1>(1, 0, w)).dx(0); }
static double path_backwards(double w) {
  Reverse at = w, y = path(at);
  Sacado::Rad::ADcontext<double>::Gradcomp();
  return at.adj();
}

static Pair pair_forwards(const SaddleOf &f, const Pair &at) {
  Forward<2> x[2] = {Forward<2>(2, 0, at[0]), Forward<2>(2, 1, at[1])}, y = f(x);
  return {y.dx(0), y.dx(1)};
}
static Pair pair_backwards(const SaddleOf &f, const Pair &at) {
  Reverse x[2] = {at[0], at[1]}, y = f(x);
  Sacado::Rad::ADcontext<double>::Gradcomp();
  return {x[0].adj(), x[1].adj()};
}

int main() {
  Tool tool("sacado");
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
  const auto value = [](double w) { return path(w); };
  add_particle(tool, "ff", value, path_forwards);
  add_particle(tool, "rf", value, path_backwards);
  add_saddle(tool, "ff", pair_forwards, pair_forwards);
  add_saddle(tool, "fr", pair_forwards, pair_backwards);
  add_saddle(tool, "rf", pair_backwards, pair_forwards);
  add_saddle(tool, "rr", pair_backwards, pair_backwards);
  return tool.serve(std::cin, std::cout);
}
