/* adolc.cpp -- ADOL-C. A function is traced once and its tape evaluated again and again (the manual's
 * "repeated use of one trace"): maxima and minima are operations of the tape, so it holds for other inputs
 * too. The buffers are made as large as the trace, so that it stays in memory. Few directions (ba, ht) go
 * through the traceless forward mode.
 *
 * Left out: particle. A tape cannot be differentiated while another is being recorded, nor do the traceless
 * numbers nest, so there is no derivative inside another. (saddle needs none: its inner search ends in plain
 * numbers.)
 */
#include "evaluations.h"

#include <adolc/adolc.h>
#include <adolc/adtl.h>

inline adouble larger(const adouble &a, const adouble &b) { return fmax(a, b); }
inline adouble smaller(const adouble &a, const adouble &b) { return fmin(a, b); }

using namespace peers;

enum tag : short { GRADIENT = 1, SADDLE, TAGS };
static bool recorded[TAGS];

/* Records f: from inputs to outputs, by adoubles. The first recording, into buffers of ordinary size,
 * tells how large they have to be for the trace, and the values kept for a second derivative, to stay in
 * memory; no larger, since every evaluation asks the system for a buffer of that size. */
template <class F> static void record(short tag, const std::vector<double> &x, std::size_t outputs, F f) {
  auto once = [&](bool sized, std::size_t *stat) {
    // the buffers of the tape before, of another size perhaps, would be used on
    if (recorded[tag]) removeTape(tag, ADOLC_REMOVE_COMPLETELY);
    recorded[tag] = true;
    auto room = [&](int which) { return static_cast<uint>(stat[which] + stat[which]/8 + 200); };
    if (sized)
      trace_on(tag, 1, room(NUM_OPERATIONS), room(NUM_LOCATIONS), room(NUM_VALUES), 4*room(TAY_STACK_SIZE));
    else trace_on(tag, 1);
    {
      std::vector<adouble> at(x.size()), y(outputs);
      double out;
      for (std::size_t i = 0; i < x.size(); i++) at[i] <<= x[i];
      f(at.data(), y.data());
      for (adouble &v : y) v >>= out;
    }
    trace_off();
  };
  std::size_t stat[STAT_SIZE];
  once(false, nullptr);
  tapestats(tag, stat);
  once(true, stat);
}

template <class Problem> struct Gradient {
  const Problem &p;
  explicit Gradient(const Problem &problem) : p(problem) {
    record(GRADIENT, p.x, 1, [&](const adouble *at, adouble *y) { *y = p(at); });
  }
  void operator()(double *g) {
    if (gradient(GRADIENT, static_cast<int>(p.x.size()), p.x.data(), g) < 0)
      throw std::runtime_error("the tape does not hold here");
  }
};

/* How many directions the traceless numbers carry; said again only for another number, since ADOL-C then
 * warns. */
static void directions(std::size_t n) {
  if (adtl::getNumDir() != n) adtl::setNumDir(n);
}

/* Replaying a tape of the block costs eight times as much. */
struct Bundle {
  const Ba &a;
  explicit Bundle(const Ba &problem) : a(problem) { directions(15); }
  void operator()(BaJacobian &j) {
    double x[15];
    for (std::size_t i = 0; i < a.p; i++) {
      a.gather(i, x);
      adtl::adouble at[15], error[2], weight;
      for (unsigned k = 0; k < 15; k++) {
        at[k] = x[k];
        at[k].setADValue(k, 1);
      }
      Reprojection<double>{&a.features[2*i]}(at, error);
      for (int row = 0; row < 2; row++) std::copy_n(error[row].getADValue(), 15, j.block(i) + 15*row);
      WeightError()(at + 14, &weight);
      *j.weight(i, a.p) = weight.getADValue(14);
    }
  }
};

struct Hand {
  const Ht &a;
  explicit Hand(const Ht &problem) : a(problem) { directions(a.columns()); }
  void operator()(double *jacobian) {
    std::vector<adtl::adouble> x(a.x.begin(), a.x.end()), error(a.errors());
    for (std::size_t i = 0; i < x.size(); i++) x[i].setADValue(static_cast<unsigned>(a.direction(i)), 1);
    a(x.data(), error.data());
    for (std::size_t i = 0; i < error.size(); i++) {
      const double *from = error[i].getADValue();
      for (std::size_t j = 0; j < a.columns(); j++) jacobian[i*a.columns() + j] = from[j];
    }
  }
};

/* The Hessian is diagonal, so its product with ones is the diagonal. */
struct Newton {
  const Kmeans &a;
  std::vector<double> ones;
  explicit Newton(const Kmeans &problem) : a(problem), ones(a.x.size(), 1.0) {
    record(GRADIENT, a.x, 1, [&](const adouble *at, adouble *y) { *y = a(at); });
  }
  void operator()(double *g, double *hessian) {
    const int n = static_cast<int>(a.x.size());
    std::vector<double> x = a.x;
    ::gradient(GRADIENT, n, x.data(), g);
    ::hess_vec(GRADIENT, n, x.data(), ones.data(), hessian);
  }
};

/* Recorded once, what the other pair adds being a parameter. */
static Pair pair_backwards(const SaddleOf &f, const Pair &at) {
  static bool ready = false;
  double rest = f.other[0]*f.other[0] + f.other[1]*f.other[1];
  if (!ready)
    record(SADDLE, {at[0], at[1]}, 1, [&](const adouble *x, adouble *y) {
      *y = x[0]*x[0] + x[1]*x[1] - mkparam(rest);
    });
  ready = true;
  Pair g;
  set_param_vec(SADDLE, 1, &rest);
  gradient(SADDLE, 2, at.data(), g.data());
  return g;
}
static Pair pair_forwards(const SaddleOf &f, const Pair &at) {
  directions(2);
  adtl::adouble x[2] = {at[0], at[1]};
  for (unsigned i = 0; i < 2; i++) x[i].setADValue(i, 1);
  const adtl::adouble y = f(x);
  return {y.getADValue(0), y.getADValue(1)};
}

int main() {
  Tool tool("adolc");
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
  add_saddle(tool, "ff", pair_forwards, pair_forwards);
  add_saddle(tool, "fr", pair_forwards, pair_backwards);
  add_saddle(tool, "rf", pair_backwards, pair_forwards);
  add_saddle(tool, "rr", pair_backwards, pair_backwards);
  return tool.serve(std::cin, std::cout);
}
