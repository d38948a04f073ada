/* manual.cpp -- the derivatives written by hand, those of the directory manual, as a tool. */
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
#include "manual/manual.h"

using namespace peers;

/* Of each problem the functions in C with their room: value() and gradient(g), made once before the runs. */
struct HelloByHand {
  Hello p;
  explicit HelloByHand(const json &input) : p(input) {}
  double value() { return hello_square(p.x[0]); }
  void gradient(double *g) { *g = hello_double(p.x[0]); }
};

struct LlsqByHand {
  Llsq p;
  std::vector<double> work;
  explicit LlsqByHand(const json &input) : p(input), work(p.x.size()) {}
  double value() { return llsq_value(p.n, p.x.size(), p.x.data()); }
  void gradient(double *g) { llsq_gradient(p.n, p.x.size(), p.x.data(), g, work.data()); }
};

struct LseByHand {
  Lse p;
  explicit LseByHand(const json &input) : p(input) {}
  double value() { return lse_value(p.x.size(), p.x.data()); }
  void gradient(double *g) { lse_gradient(p.x.size(), p.x.data(), g); }
};

struct DetByHand {
  Det p;
  std::vector<int> work;
  explicit DetByHand(const json &input) : p(input), work(static_cast<std::size_t>(p.n) + 1) {}
  double value() { return det_value(p.n, p.x.data(), work.data()); }
  void gradient(double *g) { det_gradient(p.n, p.x.data(), g, work.data()); }
};

struct OdeByHand {
  Ode p;
  std::vector<double> y, work;
  explicit OdeByHand(const json &input) : p(input), y(p.x.size()), work((p.s + 8)*p.x.size()) {}
  std::vector<double> &value() {
    ode_value(p.x.size(), p.x.data(), p.s, y.data(), work.data());
    return y;
  }
  void gradient(double *g) { ode_gradient(p.x.size(), p.x.data(), p.s, g, work.data()); }
};

struct GmmByHand {
  Gmm p;
  gmm a;
  std::vector<double> work;
  explicit GmmByHand(const json &input)
      : p(input), a{p.d, p.k, p.n, p.points.data(), p.gamma, p.constant(), p.m}, work(3*p.k*p.d + 4*p.k) {}
  double value() { return gmm_value(&a, p.x.data(), work.data()); }
  void gradient(double *g) { gmm_gradient(&a, p.x.data(), g, work.data()); }
};

struct LstmByHand {
  Lstm p;
  lstm a;
  std::vector<double> work;
  explicit LstmByHand(const json &input)
      : p(input), a{p.layers, p.b, p.c, p.state.data(), p.sequence.data()},
        work((8*p.layers + 2)*p.b*p.c + (2*p.layers + 3)*p.b) {}
  double value() { return lstm_value(&a, p.x.data(), work.data()); }
  void gradient(double *g) { lstm_gradient(&a, p.x.data(), g, work.data()); }
};

template <class ByHand, class Problem> void add_gradient(Tool &tool) {
  tool.add(Problem::module, Problem::value_name, [](const json &input, Runs &runs) -> json {
    ByHand f = runs.prepare([&] { return ByHand(input); });
    decltype(f.p.value()) y{};
    runs.repeat([&] { y = f.value(); });
    return y;
  });
  tool.add(Problem::module, Problem::gradient_name, [](const json &input, Runs &runs) -> json {
    ByHand f = runs.prepare([&] { return ByHand(input); });
    std::vector<double> g(f.p.x.size());
    runs.repeat([&] { f.gradient(g.data()); });
    return f.p.gradient_output(g);
  });
}

static void add_ba(Tool &tool) {
  tool.add("ba", "objective", [](const json &input, Runs &runs) -> json {
    const Ba a(input);
    BaErrors e(a);
    runs.repeat([&] {
      for (std::size_t i = 0; i < a.p; i++) {
        ba_reprojection(a.camera(i), a.point(i), a.weights[i], &a.features[2*i], &e.reprojection[2*i]);
        e.weight[i] = ba_weight_error(a.weights[i]);
      }
    });
    return e.output();
  });
  tool.add("ba", "jacobian", [](const json &input, Runs &runs) -> json {
    const Ba a(input);
    BaJacobian j(a);
    runs.repeat([&] {
      for (std::size_t i = 0; i < a.p; i++) {
        ba_jacobian(a.camera(i), a.point(i), a.weights[i], &a.features[2*i], j.block(i));
        *j.weight(i, a.p) = ba_weight_derivative(a.weights[i]);
      }
    });
    return j.output();
  });
}

static void add_kmeans(Tool &tool) {
  tool.add("kmeans", "cost", [](const json &input, Runs &runs) -> json {
    const Kmeans a(input);
    double cost = 0;
    runs.repeat([&] { cost = kmeans_value(a.n, a.k, a.d, a.points.data(), a.x.data()); });
    return cost;
  });
  tool.add("kmeans", "dir", [](const json &input, Runs &runs) -> json {
    const Kmeans a(input);
    std::vector<double> direction(a.k*a.d);
    std::vector<std::size_t> work(a.k);
    runs.repeat([&] {
      kmeans_direction(a.n, a.k, a.d, a.points.data(), a.x.data(), direction.data(), work.data());
    });
    return a.direction_output(direction);
  });
}

/* The model in the arrays that ht.c takes. */
struct HtByHand {
  Ht p;
  std::vector<std::size_t> first{0};
  std::vector<influence> influences;
  std::vector<affine> base, inverse, bones;
  std::vector<double> positions, position, slopes;
  ht a;
  ht_work work;

  HtByHand(const HtByHand &) = delete;
  explicit HtByHand(const json &input) : p(input) {
    check_fingers();
    for (const auto &of_vertex : p.influences) {
      for (Ht::Influence f : of_vertex) influences.push_back({f.bone, f.weight});
      first.push_back(influences.size());
    }
    for (const auto &v : p.vertices) positions.insert(positions.end(), v.begin(), v.end());
    for (const auto &m : p.base) base.push_back(plain(m));
    for (const auto &m : p.inverse) inverse.push_back(plain(m));
    const std::size_t n = p.parents.size(), vertices = p.vertices.size();
    bones.resize(11*n);
    position.resize(3*vertices);
    slopes.resize(3*26*vertices);
    a = {n, vertices, p.correspondences.size(), p.parents.data(), base.data(), inverse.data(),
         positions.data(), first.data(), influences.data(),
         reinterpret_cast<const int (*)[3]>(p.triangles.data()),
         p.correspondences.data(), p.points.data(), p.mirrored, p.with_us};
    work = {bones.data(), &bones[n], &bones[2*n], &bones[3*n], &bones[7*n], position.data(), slopes.data()};
  }
  static affine plain(const Affine<double> &m) {
    affine out;
    for (int i = 0; i < 12; i++) out.a[i/4][i%4] = m.a[i/4][i%4];
    return out;
  }
  /* ht.c relies on it that no bone hangs on the bent bones of another finger. */
  void check_fingers() const {
    std::vector<int> moved(p.parents.size(), -1);
    for (int b = 0; b < static_cast<int>(moved.size()); b++) {
      const int finger = b >= 2 && b <= 21 ? (b - 2)/4 : -1, parent = p.parents[static_cast<std::size_t>(b)];
      const int from = parent < 0 ? -1 : moved[static_cast<std::size_t>(parent)];
      if (from >= 0 && from != finger) throw std::invalid_argument("a bone hangs on another finger");
      moved[static_cast<std::size_t>(b)] = finger >= 0 && (b - 2)%4 < 3 ? finger : from;
    }
  }
};

static void add_ht(Tool &tool) {
  tool.add("ht", "objective", [](const json &input, Runs &runs) -> json {
    HtByHand f(input);
    std::vector<double> error(f.p.errors());
    runs.repeat([&] { ht_value(&f.a, f.p.x.data(), error.data(), &f.work); });
    return error;
  });
  tool.add("ht", "jacobian", [](const json &input, Runs &runs) -> json {
    HtByHand f(input);
    std::vector<double> jacobian(f.p.errors()*f.p.columns());
    runs.repeat([&] { ht_jacobian(&f.a, f.p.x.data(), jacobian.data(), &f.work); });
    return f.p.jacobian_output(jacobian);
  });
}

/* By hand the force is a formula in any mode; the descent's derivative goes along with the path or back
 * over it. */
static void add_nested(Tool &tool) {
  for (const char *mode : {"ff", "fr", "rf", "rr"}) {
    const bool reverse = mode[0] == 'r';
    tool.add("particle", mode, [reverse](const json &input, Runs &runs) -> json {
      std::vector<double> path(reverse ? 200000 : 0);
      double w = 0;
      runs.repeat([&] {
        w = particle(input, particle_value, [&](double at) {
          return reverse ? particle_adjoint(at, path.size()/2, path.data()) : particle_tangent(at);
        });
      });
      return w;
    });
    tool.add("saddle", mode, [](const json &input, Runs &runs) -> json {
      auto slope = [](const SaddleOf &, const Pair &at) {
        Pair g;
        saddle_gradient(at.data(), g.data());
        return g;
      };
      const Pair start = input.at("start").get<Pair>();
      std::array<double, 4> out{};
      runs.repeat([&] { out = saddle(start, slope, slope); });
      return out;
    });
  }
}

int main() {
  Tool tool("manual");
  add_gradient<HelloByHand, Hello>(tool);
  add_gradient<LlsqByHand, Llsq>(tool);
  add_gradient<LseByHand, Lse>(tool);
  add_gradient<DetByHand, Det>(tool);
  add_gradient<OdeByHand, Ode>(tool);
  add_gradient<GmmByHand, Gmm>(tool);
  add_gradient<LstmByHand, Lstm>(tool);
  add_ba(tool);
  add_kmeans(tool);
  add_ht(tool);
  add_nested(tool);
  return tool.serve(std::cin, std::cout);
}
