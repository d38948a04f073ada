/* stan.cpp -- Stan Math, in the headers of r-cran-stanheaders: reverse mode with an arena that is recorded
 * anew at every evaluation. Written as its users do, with the library's functions of vectors and matrices
 * where it has them (llsq, lse, gmm), whose derivatives it brings along; the other objectives scalar by
 * scalar. Forward mode (fvar) for ht; fvar of var for the second derivatives of kmeans and for a force inside
 * a reverse sweep.
 *
 * Left out: particle and saddle in the modes fr and rr. A gradient inside the recording of another gives
 * plain numbers.
 */
#include <stan/math/mix/mat.hpp>

#include "evaluations.h"

using namespace peers;
using stan::math::fvar;
using stan::math::var;
template <class T> using Vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
static Vector<double> vector_of(const std::vector<double> &x) {
  return Eigen::Map<const Vector<double>>(x.data(), static_cast<long>(x.size()));
}
template <class T> using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

/* The objective as it is, scalar by scalar. */
template <class Problem> struct Scalars {
  const Problem &p;
  explicit Scalars(const Problem &problem) : p(problem) {}
  template <class T> T operator()(const Vector<T> &x) const { return p(x.data()); }
};

struct LlsqByMatrix {
  Matrix<double> powers;
  Vector<double> signs;
  explicit LlsqByMatrix(const Llsq &p) {
    const long n = static_cast<long>(p.n), m = static_cast<long>(p.x.size());
    powers.resize(n, m);
    signs.resize(n);
    for (long i = 0; i < n; i++) {
      double t = -1 + 2*static_cast<double>(i)/static_cast<double>(n - 1), power = 1;
      signs[i] = (t > 0) - (t < 0);
      for (long j = 0; j < m; j++, power *= t) powers(i, j) = power;
    }
  }
  template <class T> T operator()(const Vector<T> &x) const {
    return 0.5*stan::math::dot_self(stan::math::subtract(signs, stan::math::multiply(powers, x)));
  }
};

struct LseByVector {
  explicit LseByVector(const Lse &) {}
  template <class T> T operator()(const Vector<T> &x) const {
    const T most = stan::math::max(x);
    return most + log(stan::math::sum(stan::math::exp(stan::math::subtract(x, most))));
  }
};

struct GmmByMatrix {
  const Gmm &p;
  Matrix<double> points;  // d x n
  explicit GmmByMatrix(const Gmm &problem) : p(problem) {
    const long d = static_cast<long>(p.d), n = static_cast<long>(p.n);
    points = Eigen::Map<const Matrix<double>>(p.points.data(), d, n);
  }

  template <class T> T operator()(const Vector<T> &x) const {
    using namespace stan::math;
    const long d = static_cast<long>(p.d), k = static_cast<long>(p.k), n = static_cast<long>(p.n);
    const long lower = static_cast<long>(p.lower);
    const Vector<T> alpha = x.head(k), q = x.segment(k + k*d, k*d), diagonal = exp(q);
    Matrix<T> beta(k, n);
    for (long j = 0; j < k; j++) {
      Matrix<T> root = Matrix<T>::Zero(d, d);
      const T *l = x.data() + k + 2*k*d + j*lower;
      for (long c = 0; c < d; c++) {
        root(c, c) = diagonal[j*d + c];
        for (long r = c + 1; r < d; r++) root(r, c) = *l++;
      }
      // Q (X - mu) = Q X - (Q mu): the product with the points has constants on one side
      const Vector<T> mu = x.segment(k + j*d, d), shift = multiply(root, mu);
      const Matrix<T> moved = multiply(root, points);
      const T offset = alpha[j] + sum(Vector<T>(q.segment(j*d, d)));
      for (long i = 0; i < n; i++) beta(j, i) = offset - 0.5*squared_distance(Vector<T>(moved.col(i)), shift);
    }
    std::vector<T> parts;
    for (long i = 0; i < n; i++) parts.push_back(log_sum_exp(Vector<T>(beta.col(i))));
    const T squares = dot_self(diagonal) + dot_self(Vector<T>(x.tail(k*lower)));
    return p.constant() + sum(parts) - static_cast<double>(n)*log_sum_exp(alpha) - p.gamma*p.gamma/2*squares
      + static_cast<double>(p.m)*sum(q);
  }
};

template <class Problem, class F = Scalars<Problem>> struct Gradient {
  F f;
  Vector<double> x;
  explicit Gradient(const Problem &p) : f(p), x(vector_of(p.x)) {}
  void operator()(double *g) {
    double y;
    Vector<double> slope;
    stan::math::gradient(f, x, y, slope);
    std::copy_n(slope.data(), slope.size(), g);
  }
};

struct Bundle {
  const Ba &a;
  explicit Bundle(const Ba &problem) : a(problem) {}
  void operator()(BaJacobian &j) {
    double x[15];
    for (std::size_t i = 0; i < a.p; i++) {
      a.gather(i, x);
      stan::math::start_nested();
      var at[15], error[2], weight;
      for (int k = 0; k < 15; k++) at[k] = x[k];
      Reprojection<double>{&a.features[2*i]}(at, error);
      WeightError()(at + 14, &weight);
      for (int row = 0; row < 2; row++) {
        stan::math::set_zero_all_adjoints_nested();
        stan::math::grad(error[row].vi_);
        for (int k = 0; k < 15; k++) j.block(i)[15*row + k] = at[k].adj();
      }
      stan::math::set_zero_all_adjoints_nested();
      stan::math::grad(weight.vi_);
      *j.weight(i, a.p) = at[14].adj();
      stan::math::recover_memory_nested();
    }
  }
};

struct Hand {
  const Ht &a;
  explicit Hand(const Ht &problem) : a(problem) {}
  void operator()(double *jacobian) {
    std::vector<fvar<double>> x(a.x.begin(), a.x.end()), error(a.errors());
    for (std::size_t j = 0; j < a.columns(); j++) {
      for (std::size_t i = 0; i < x.size(); i++) x[i].d_ = a.direction(i) == j;
      a(x.data(), error.data());
      for (std::size_t i = 0; i < error.size(); i++) jacobian[i*a.columns() + j] = error[i].d_;
    }
  }
};

/* The Hessian is diagonal, so its product with ones is the diagonal. */
struct Newton {
  Scalars<Kmeans> f;
  Vector<double> x, ones;
  explicit Newton(const Kmeans &a) : f(a), x(vector_of(a.x)), ones(Vector<double>::Ones(x.size())) {}
  void operator()(double *g, double *hessian) {
    stan::math::start_nested();
    {
      Vector<fvar<var>> at(x.size());
      for (long i = 0; i < x.size(); i++) at[i] = fvar<var>(x[i], ones[i]);
      const fvar<var> y = f(at);
      stan::math::grad(y.d_.vi_);
      for (long i = 0; i < x.size(); i++) hessian[i] = at[i].val_.adj();
      stan::math::set_zero_all_adjoints_nested();
      stan::math::grad(y.val_.vi_);
      for (long i = 0; i < x.size(); i++) g[i] = at[i].val_.adj();
    }
    stan::math::recover_memory_nested();
  }
};

/* The force in forward mode, of numbers of any kind. */
template <class T> static T path(const T &w) {
  return arrival(w, [](const Potential<T> &potential, const T *place, T *pull) {
    const Potential<fvar<T>> lifted{fvar<T>(potential.w)};
    for (int i = 0; i < 2; i++) {
      const fvar<T> at[2] = {fvar<T>(place[0], T(i == 0)), fvar<T>(place[1], T(i == 1))};
      pull[i] = lifted(at).d_;
    }
  });
}

/* f and its derivatives by reverse mode, inside whatever else is recorded. */
template <std::size_t n, class F>
static std::array<double, n> backwards(const F &f, const std::array<double, n> &x) {
  std::array<double, n> g;
  stan::math::start_nested();
  var at[n];
  for (std::size_t i = 0; i < n; i++) at[i] = x[i];
  const var y = f(at);
  stan::math::grad(y.vi_);
  for (std::size_t i = 0; i < n; i++) g[i] = at[i].adj();
  stan::math::recover_memory_nested();
  return g;
}

static Pair pair_forwards(const SaddleOf &f, const Pair &x) {
  Pair g;
  for (std::size_t i = 0; i < 2; i++) {
    const fvar<double> at[2] = {fvar<double>(x[0], i == 0), fvar<double>(x[1], i == 1)};
    g[i] = f(at).d_;
  }
  return g;
}
static Pair pair_backwards(const SaddleOf &f, const Pair &x) { return backwards<2>(f, x); }

int main() {
  Tool tool("stan");
  add_gradient<Hello, Gradient<Hello>>(tool);
  add_gradient<Llsq, Gradient<Llsq, LlsqByMatrix>>(tool);
  add_gradient<Lse, Gradient<Lse, LseByVector>>(tool);
  add_gradient<Det, Gradient<Det>>(tool);
  add_gradient<Ode, Gradient<Ode>>(tool);
  add_gradient<Gmm, Gradient<Gmm, GmmByMatrix>>(tool);
  add_gradient<Lstm, Gradient<Lstm>>(tool);
  add_ba<Bundle>(tool);
  add_ht<Hand>(tool);
  add_kmeans<Newton>(tool);
  const auto value = [](double w) { return path(w); };
  add_particle(tool, "ff", value, [](double w) { return path(fvar<double>(w, 1)).d_; });
  add_particle(tool, "rf", value, [](double w) {
    return backwards<1>([](const var *at) { return path(at[0]); }, {w})[0];
  });
  add_saddle(tool, "ff", pair_forwards, pair_forwards);
  add_saddle(tool, "fr", pair_forwards, pair_backwards);
  add_saddle(tool, "rf", pair_backwards, pair_forwards);
  add_saddle(tool, "rr", pair_backwards, pair_backwards);
  return tool.serve(std::cin, std::cout);
}
