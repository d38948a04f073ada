/* ceres.cpp -- the Jets of Ceres Solver, through its cost functions as its users write them:
 * AutoDiffCostFunction for the observations of ba, DynamicAutoDiffCostFunction's way of Jets with a fixed
 * number of derivatives for ht. Its place is ba, which its own example is about; forward mode for few inputs.
 *
 * Left out: lse, ode, gmm, lstm, kmeans, det. With dozens of inputs to a thousand forward mode is no way to a
 * gradient. particle, saddle in modes other than ff: there is no reverse mode.
 */
#include "evaluations.h"

#include <ceres/autodiff_cost_function.h>
#include <ceres/jet.h>

using namespace peers;
template <int n, class T = double> using Jet = ceres::Jet<T, n>;

/* At once with all derivatives in one number: for hello and for the 128 coefficients of llsq. */
template <class Problem, int most> struct Gradient {
  using T = Jet<most>;
  const Problem &p;
  explicit Gradient(const Problem &problem) : p(problem) {
    if (p.x.size() > most) throw std::invalid_argument("more inputs than this was compiled for");
  }
  void operator()(double *g) {
    std::vector<T, Eigen::aligned_allocator<T>> at(p.x.size());
    for (std::size_t i = 0; i < p.x.size(); i++) at[i] = T(p.x[i], static_cast<int>(i));
    const T y = p(at.data());
    std::copy_n(y.v.data(), p.x.size(), g);
  }
};

/* One observation, with the blocks of parameters that a solver would have: camera, point, weight. */
struct Observation {
  const double *feature;
  template <class T> bool operator()(const T *camera, const T *point, const T *w, T *error) const {
    Reprojection<double>{feature}(camera, point, w, error);
    return true;
  }
};
struct Weight {
  template <class T> bool operator()(const T *w, T *error) const {
    WeightError()(w, error);
    return true;
  }
};

struct Bundle {
  using Cost = ceres::AutoDiffCostFunction<Observation, 2, 11, 3, 1>;
  const Ba &a;
  std::vector<std::unique_ptr<Cost>> costs;
  ceres::AutoDiffCostFunction<Weight, 1, 1> weight{new Weight};
  explicit Bundle(const Ba &problem) : a(problem) {
    for (std::size_t i = 0; i < a.p; i++)
      costs.push_back(std::make_unique<Cost>(new Observation{&a.features[2*i]}));
  }
  void operator()(BaJacobian &j) {
    double error[2], by_camera[22], by_point[6], by_weight[2], *blocks[3] = {by_camera, by_point, by_weight};
    for (std::size_t i = 0; i < a.p; i++) {
      const double *inputs[3] = {a.camera(i), a.point(i), &a.weights[i]}, *w = &a.weights[i];
      costs[i]->Evaluate(inputs, error, blocks);
      for (int row = 0; row < 2; row++) {
        double *out = j.block(i) + 15*row;
        std::copy_n(by_camera + 11*row, 11, out);
        std::copy_n(by_point + 3*row, 3, out + 11);
        out[14] = by_weight[row];
      }
      double *slope = j.weight(i, a.p);
      weight.Evaluate(&w, error, &slope);
    }
  }
};

template <int n> static void hand(const Ht &a, double *jacobian) {
  std::vector<Jet<n>> x(a.x.size()), error(a.errors());
  for (std::size_t i = 0; i < x.size(); i++) x[i] = Jet<n>(a.x[i], static_cast<int>(a.direction(i)));
  a(x.data(), error.data());
  for (std::size_t i = 0; i < error.size(); i++) std::copy_n(error[i].v.data(), n, jacobian + n*i);
}

struct Hand {
  const Ht &a;
  explicit Hand(const Ht &problem) : a(problem) {}
  void operator()(double *jacobian) { a.with_us ? hand<28>(a, jacobian) : hand<26>(a, jacobian); }
};

/* The force by Jets of numbers of any kind. */
template <class T> static T path(const T &w) {
  return arrival(w, [](const auto &potential, const T *place, T *pull) {
    Jet<2, T> at[2] = {Jet<2, T>(place[0], 0), Jet<2, T>(place[1], 1)};
    const Jet<2, T> y = potential(at);
    pull[0] = y.v[0], pull[1] = y.v[1];
  });
}

int main() {
  Tool tool("ceres");
  add_gradient<Hello, Gradient<Hello, 1>>(tool);
  add_gradient<Llsq, Gradient<Llsq, 128>>(tool);
  add_ba<Bundle>(tool);
  add_ht<Hand>(tool);
  add_particle(tool, "ff", [](double w) { return path(w); },
               [](double w) { return path(Jet<1>(w, 0)).v[0]; });
  auto pair = [](const SaddleOf &f, const Pair &at) {
    const Jet<2> x[2] = {Jet<2>(at[0], 0), Jet<2>(at[1], 1)}, y = f(x);
    return Pair{y.v[0], y.v[1]};
  };
  add_saddle(tool, "ff", pair, pair);
  return tool.serve(std::cin, std::cout);
}
