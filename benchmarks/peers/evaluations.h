/* evaluations.h -- puts evaluations into a tool, given the peer's way to differentiate. The objectives
 * themselves, and what a run computes besides derivatives, are the same templates for every peer.
 */
#pragma once

#include "evaluations/ba.h"
#include "evaluations/det.h"
#include "evaluations/gmm.h"
#include "evaluations/hello.h"
#include "evaluations/ht.h"
#include "evaluations/kmeans.h"
#include "evaluations/llsq.h"
#include "evaluations/lse.h"
#include "evaluations/lstm.h"
#include "evaluations/ode.h"
#include "evaluations/particle.h"
#include "evaluations/saddle.h"

namespace peers {

/* R^n -> R. Differentiate: made from the problem (which is "prepare": what serves many evaluations), then
 * called with room for the gradient at problem.x. */
template <class Problem, class Differentiate> void add_gradient(Tool &tool) {
  tool.add(Problem::module, Problem::value_name, [](const json &input, Runs &runs) -> json {
    const Problem p(input);
    decltype(p.value()) y{};
    runs.repeat([&] { y = p.value(); });
    return y;
  });
  tool.add(Problem::module, Problem::gradient_name, [](const json &input, Runs &runs) -> json {
    const Problem p(input);
    auto differentiate = runs.prepare([&] { return std::make_unique<Differentiate>(p); });
    std::vector<double> g(p.x.size());
    runs.repeat([&] { (*differentiate)(g.data()); });
    return p.gradient_output(g);
  });
}

/* Differentiate: made from the Ba, then called with the BaJacobian. */
template <class Differentiate> void add_ba(Tool &tool) {
  tool.add("ba", "objective", [](const json &input, Runs &runs) -> json {
    const Ba a(input);
    BaErrors e(a);
    runs.repeat([&] {
      for (std::size_t i = 0; i < a.p; i++) {
        const Reprojection<double> f{&a.features[2*i]};
        f(a.camera(i), a.point(i), &a.weights[i], &e.reprojection[2*i]);
        WeightError()(&a.weights[i], &e.weight[i]);
      }
    });
    return e.output();
  });
  tool.add("ba", "jacobian", [](const json &input, Runs &runs) -> json {
    const Ba a(input);
    BaJacobian j(a);
    auto differentiate = runs.prepare([&] { return std::make_unique<Differentiate>(a); });
    runs.repeat([&] { (*differentiate)(j); });
    return j.output();
  });
}

/* Differentiate: made from the Ht, then called with room for the Jacobian, by rows. */
template <class Differentiate> void add_ht(Tool &tool) {
  tool.add("ht", "objective", [](const json &input, Runs &runs) -> json {
    const Ht a(input);
    std::vector<double> error;
    runs.repeat([&] { error = a.value(); });
    return error;
  });
  tool.add("ht", "jacobian", [](const json &input, Runs &runs) -> json {
    const Ht a(input);
    std::vector<double> jacobian(a.errors()*a.columns());
    auto differentiate = runs.prepare([&] { return std::make_unique<Differentiate>(a); });
    runs.repeat([&] { (*differentiate)(jacobian.data()); });
    return a.jacobian_output(jacobian);
  });
}

/* Differentiate: made from the Kmeans, then called with room for the gradient and the Hessian's diagonal. */
template <class Differentiate> void add_kmeans(Tool &tool) {
  tool.add("kmeans", "cost", [](const json &input, Runs &runs) -> json {
    const Kmeans a(input);
    double cost = 0;
    runs.repeat([&] { cost = a.value(); });
    return cost;
  });
  tool.add("kmeans", "dir", [](const json &input, Runs &runs) -> json {
    const Kmeans a(input);
    auto differentiate = runs.prepare([&] { return std::make_unique<Differentiate>(a); });
    std::vector<double> direction(a.k*a.d), hessian(a.k*a.d);
    runs.repeat([&] {
      (*differentiate)(direction.data(), hessian.data());
      for (std::size_t i = 0; i < direction.size(); i++) direction[i] /= hessian[i];
    });
    return a.direction_output(direction);
  });
}

/* value(w): the arrival; slope(w): its derivative. */
template <class Value, class Slope> void add_particle(Tool &tool, const char *mode, Value value,
                                                      Slope slope) {
  tool.add("particle", mode, [=](const json &input, Runs &runs) -> json {
    double w = 0;
    runs.repeat([&] { w = particle(input, value, slope); });
    return w;
  });
}

/* outer, inner: the gradient of a SaddleOf at a Pair. */
template <class Outer, class Inner> void add_saddle(Tool &tool, const char *mode, Outer outer, Inner inner) {
  tool.add("saddle", mode, [=](const json &input, Runs &runs) -> json {
    const Pair start = input.at("start").get<Pair>();
    std::array<double, 4> out{};
    runs.repeat([&] { out = saddle(start, outer, inner); });
    return out;
  });
}

}  // namespace peers
