/* ba.h -- bundle adjustment: the errors of p observations of m points by n cameras, and their sparse
 * Jacobian.
 *
 * A camera is 11 numbers: rotation r (axis times angle), centre, focal length f, principal point, distortion
 * k1 k2. A point X is rotated by Rodrigues' formula after the centre is taken off, projected (x/z, y/z),
 * distorted by 1 + k1 |.|^2 + k2 |.|^4, scaled by f and shifted; the error is w (projection - feature). A
 * second row of errors is 1 - w^2. GradBench's evals/ba, from ADBench: one camera, point, weight and feature,
 * repeated.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

/* The two errors of one observation; x is camera (11), point (3), weight (1). Feature: double, or whatever
 * of it a tool can change between evaluations of one tape. */
template <class Feature> struct Reprojection {
  static constexpr int inputs = 15, outputs = 2;
  const Feature *feature;

  template <class T> static void rotate(const T *r, const T *x, T *out) {
    T square = r[0]*r[0] + r[1]*r[1] + r[2]*r[2];
    if (square != 0.0) {
      T angle = sqrt(square), c = cos(angle), s = sin(angle), inverse = 1.0/angle;
      T axis[3] = {r[0]*inverse, r[1]*inverse, r[2]*inverse};
      T along = (axis[0]*x[0] + axis[1]*x[1] + axis[2]*x[2])*(1.0 - c);
      out[0] = x[0]*c + (axis[1]*x[2] - axis[2]*x[1])*s + axis[0]*along;
      out[1] = x[1]*c + (axis[2]*x[0] - axis[0]*x[2])*s + axis[1]*along;
      out[2] = x[2]*c + (axis[0]*x[1] - axis[1]*x[0])*s + axis[2]*along;
    } else {
      out[0] = x[0] + r[1]*x[2] - r[2]*x[1];
      out[1] = x[1] + r[2]*x[0] - r[0]*x[2];
      out[2] = x[2] + r[0]*x[1] - r[1]*x[0];
    }
  }

  template <class T> void operator()(const T *cam, const T *point, const T *w, T *error) const {
    T centred[3] = {point[0] - cam[3], point[1] - cam[4], point[2] - cam[5]}, seen[3];
    rotate(cam, centred, seen);
    T u = seen[0]/seen[2], v = seen[1]/seen[2];
    T square = u*u + v*v;
    T scale = (1.0 + square*(cam[9] + cam[10]*square))*cam[6];
    error[0] = w[0]*(u*scale + cam[7] - feature[0]);
    error[1] = w[0]*(v*scale + cam[8] - feature[1]);
  }
  template <class T> void operator()(const T *x, T *error) const { (*this)(x, x + 11, x + 14, error); }
};

struct WeightError {
  static constexpr int inputs = 1, outputs = 1;
  template <class T> void operator()(const T *w, T *error) const { error[0] = 1.0 - w[0]*w[0]; }
};

struct Ba {
  std::size_t n, m, p;
  std::vector<double> cameras, points, weights, features;

  explicit Ba(const json &input)
      : n(size_of(input, "n", 1)), m(size_of(input, "m", 1)), p(size_of(input, "p", 1)),
        weights(p, input.at("w").get<double>()) {
    auto repeat = [](std::vector<double> &to, const json &given, std::size_t size, std::size_t times) {
      const auto one = given.get<std::vector<double>>();
      if (one.size() != size) throw std::invalid_argument("wrong sizes");
      for (std::size_t i = 0; i < times; i++) to.insert(to.end(), one.begin(), one.end());
    };
    repeat(cameras, input.at("cam"), 11, n);
    repeat(points, input.at("x"), 3, m);
    repeat(features, input.at("feat"), 2, p);
  }

  const double *camera(std::size_t i) const { return &cameras[i%n*11]; }
  const double *point(std::size_t i) const { return &points[i%m*3]; }

  /* The inputs of observation i, one after the other. */
  void gather(std::size_t i, double x[15]) const {
    const double *from = camera(i), *at = point(i);
    for (int j = 0; j < 11; j++) x[j] = from[j];
    for (int j = 0; j < 3; j++) x[11 + j] = at[j];
    x[14] = weights[i];
  }
};

/* The Jacobian by rows, 2 p of 15 entries and p of one. Where its entries are is known beforehand; a run
 * of the evaluation fills the values. */
struct BaJacobian {
  std::vector<int> rows, columns;
  std::vector<double> values;

  explicit BaJacobian(const Ba &a) : values(31*a.p) {
    rows.push_back(0);
    for (std::size_t i = 0; i < 2*a.p; i++) {
      const std::size_t observation = i/2;
      for (std::size_t j = 0; j < 11; j++) columns.push_back(static_cast<int>(observation%a.n*11 + j));
      for (std::size_t j = 0; j < 3; j++) columns.push_back(static_cast<int>(11*a.n + observation%a.m*3 + j));
      columns.push_back(static_cast<int>(11*a.n + 3*a.m + observation));
      rows.push_back(static_cast<int>(columns.size()));
    }
    for (std::size_t i = 0; i < a.p; i++) {
      columns.push_back(static_cast<int>(11*a.n + 3*a.m + i));
      rows.push_back(static_cast<int>(columns.size()));
    }
  }
  double *block(std::size_t i) { return &values[30*i]; }         // 2 x 15, by rows
  double *weight(std::size_t i, std::size_t p) { return &values[30*p + i]; }

  /* The first 30 entries and the last, which is what GradBench looks at. */
  json output() const {
    auto some = [](const auto &all) {
      auto few = json::array();
      for (std::size_t i = 0; i < 30; i++) few.push_back(all[i < all.size() ? i : all.size() - 1]);
      few.push_back(all.back());
      return few;
    };
    return {{"rows", some(rows)}, {"cols", some(columns)}, {"vals", some(values)}};
  }
};

struct BaErrors {
  std::vector<double> reprojection, weight;
  explicit BaErrors(const Ba &a) : reprojection(2*a.p), weight(a.p) {}
  json output() const {
    return {{"reproj_error", {{"elements", {reprojection[0], reprojection[1]}}, {"repeated", weight.size()}}},
            {"w_err", {{"element", weight[0]}, {"repeated", weight.size()}}}};
  }
};

}  // namespace peers
