/* ht.h -- hand tracking: 26 parameters pose a skeleton of bones, which carries the vertices of a mesh (linear
 * blend skinning); the errors are the distances of N measured points from their places on the posed mesh.
 *
 *     absolute_b = absolute_parent(b) base_b euler(angles_b)     bone by bone, a parent before its children
 *     vertex_v   = R(theta_0..2) sum_b weight_bv absolute_b inverse_b base_v + theta_3..5
 *     error_i    = point_i - vertex_c(i)                                             without us
 *     error_i    = point_i - (u0 v_0 + u1 v_1 + (1 - u0 - u1) v_2), triangle c(i)    with us
 *
 * The Jacobian has the columns of theta, before them two for u0 and u1 of each error's own point. GradBench's
 * evals/ht, from ADBench.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"
#include <array>

namespace peers {

/* [A b; 0 1], its first three rows. */
template <class T> struct Affine {
  T a[3][4];
};

template <class A, class B, class T> void compose(const Affine<A> &x, const Affine<B> &y, Affine<T> *z) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 4; j++) {
      T sum = x.a[i][0]*y.a[0][j] + x.a[i][1]*y.a[1][j] + x.a[i][2]*y.a[2][j];
      if (j == 3) sum += x.a[i][3];
      z->a[i][j] = sum;
    }
}

struct Ht {
  struct Influence { int bone; double weight; };
  std::vector<int> parents;
  std::vector<Affine<double>> base, inverse;
  std::vector<std::array<double, 3>> vertices;
  std::vector<std::vector<Influence>> influences;  // of each vertex, those bones whose weight is not zero
  std::vector<std::array<int, 3>> triangles;
  std::vector<int> correspondences;
  std::vector<double> points;                      // N x 3
  std::vector<double> x;                           // theta (26), us (2 N, or none)
  bool mirrored, with_us;

  explicit Ht(const json &input) {
    const json &data = input.at("data"), &model = data.at("model");
    parents = model.at("parents").get<std::vector<int>>();
    for (const json &m : model.at("base_relatives")) base.push_back(affine(m));
    for (const json &m : model.at("inverse_base_absolutes")) inverse.push_back(affine(m));
    for (const json &v : model.at("base_positions")) vertices.push_back({v.at(0), v.at(1), v.at(2)});
    for (const json &weights : model.at("weights")) {
      influences.emplace_back();
      for (std::size_t b = 0; b < weights.size(); b++)
        if (weights[b] != 0.0) influences.back().push_back({static_cast<int>(b), weights[b]});
    }
    triangles = model.at("triangles").get<std::vector<std::array<int, 3>>>();
    mirrored = model.at("is_mirrored");
    correspondences = data.at("correspondences").get<std::vector<int>>();
    for (const json &p : data.at("points")) points.insert(points.end(), {p.at(0), p.at(1), p.at(2)});
    x = input.at("theta").get<std::vector<double>>();
    with_us = !input.at("us").empty();
    for (const json &u : input.at("us")) x.insert(x.end(), {u.at(0), u.at(1)});
    check();
  }
  void check() const {
    const std::size_t bones = parents.size(), measured = correspondences.size();
    bool right = x.size() == 26 + (with_us ? 2*measured : 0) && points.size() == 3*measured
      && base.size() == bones && inverse.size() == bones && influences.size() == vertices.size();
    for (int c : correspondences)
      right = right && c >= 0 && static_cast<std::size_t>(c) < (with_us ? triangles.size() : vertices.size());
    for (const auto &t : triangles)
      for (int v : t) right = right && v >= 0 && static_cast<std::size_t>(v) < vertices.size();
    for (std::size_t b = 0; b < bones; b++)
      right = right && parents[b] >= -1 && parents[b] < static_cast<int>(b);
    for (const auto &of_vertex : influences)
      for (Influence f : of_vertex) right = right && static_cast<std::size_t>(f.bone) < bones;
    if (!right) throw std::invalid_argument("wrong sizes");
  }
  static Affine<double> affine(const json &rows) {
    Affine<double> m;
    for (std::size_t i = 0; i < 3; i++)
      for (std::size_t j = 0; j < 4; j++) m.a[i][j] = rows.at(i).at(j);
    for (std::size_t j = 0; j < 4; j++)
      if (rows.at(3).at(j) != (j == 3 ? 1.0 : 0.0))
        throw std::invalid_argument("a bone's transformation is not affine");
    return m;
  }

  std::size_t errors() const { return 3*correspondences.size(); }
  std::size_t columns() const { return with_us ? 28 : 26; }

  /* The directions of the Jacobian's columns: entry i of x moves in direction(i) alone, and no error feels
   * two of them in one direction. */
  std::size_t direction(std::size_t i) const { return i >= 26 ? (i - 26)%2 : with_us ? i + 2 : i; }

  /* R = Rz(b) Ry(c) Rx(a) */
  template <class T> static void euler(const T &a, const T &b, const T &c, Affine<T> *out) {
    T ca = cos(a), sa = sin(a), cb = cos(b), sb = sin(b), cc = cos(c), sc = sin(c);
    T m[3][3] = {{cb*cc, cb*sc*sa - sb*ca, cb*sc*ca + sb*sa},
                 {sb*cc, sb*sc*sa + cb*ca, sb*sc*ca - cb*sa},
                 {-sc, cc*sa, cc*ca}};
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) out->a[i][j] = m[i][j];
      out->a[i][3] = T(0.0);
    }
  }

  /* The rotation about an axis by its length; none below 1e-4, as in ADBench. */
  template <class T> static void rotation(const T *r, T m[3][3]) {
    T angle = sqrt(r[0]*r[0] + r[1]*r[1] + r[2]*r[2]);
    if (angle < 1e-4) {
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) m[i][j] = T(i == j ? 1.0 : 0.0);
      return;
    }
    T x = r[0]/angle, y = r[1]/angle, z = r[2]/angle, s = sin(angle), c = cos(angle), v = 1.0 - c;
    m[0][0] = x*x*v + c, m[0][1] = x*y*v - z*s, m[0][2] = x*z*v + y*s;
    m[1][0] = x*y*v + z*s, m[1][1] = y*y*v + c, m[1][2] = y*z*v - x*s;
    m[2][0] = x*z*v - y*s, m[2][1] = y*z*v + x*s, m[2][2] = z*z*v + c;
  }

  /* The angles of a bone: of each finger's four bones (from the second bone on, first finger first) three
   * are bent, by four parameters; wrist, fingertips and forearm are not. */
  template <class T> void angles(const T *theta, std::size_t bone, T *bend, T *spread) const {
    *bend = T(0.0), *spread = T(0.0);
    if (bone < 2 || bone > 20 || (bone - 2)%4 == 3) return;
    const T *finger = theta + 6 + (bone - 2)/4*4;
    const std::size_t joint = (bone - 2)%4;
    *bend = finger[joint == 0 ? 0 : joint + 1];
    if (joint == 0) *spread = finger[1];
  }

  template <class T> std::vector<Affine<T>> pose(const T *theta) const {
    std::vector<Affine<T>> absolute(parents.size()), carried(parents.size());
    for (std::size_t b = 0; b < parents.size(); b++) {
      T bend, spread, none(0.0);
      Affine<T> turn, relative;
      angles(theta, b, &bend, &spread);
      euler(bend, spread, none, &turn);
      compose(base[b], turn, &relative);
      if (parents[b] < 0) absolute[b] = relative;
      else compose(absolute[static_cast<std::size_t>(parents[b])], relative, &absolute[b]);
      compose(absolute[b], inverse[b], &carried[b]);
    }
    return carried;
  }

  template <class T> std::vector<std::array<T, 3>> skin(const T *theta) const {
    const std::vector<Affine<T>> bones = pose(theta);
    std::vector<std::array<T, 3>> out(vertices.size());
    T turn[3][3];
    rotation(theta, turn);
    for (std::size_t v = 0; v < vertices.size(); v++) {
      T sum[3] = {T(0.0), T(0.0), T(0.0)};
      for (Influence f : influences[v])
        for (int i = 0; i < 3; i++) {
          const T *row = bones[static_cast<std::size_t>(f.bone)].a[i];
          sum[i] += (row[0]*vertices[v][0] + row[1]*vertices[v][1] + row[2]*vertices[v][2] + row[3])*f.weight;
        }
      if (mirrored) sum[0] = -sum[0];
      for (std::size_t i = 0; i < 3; i++)
        out[v][i] = turn[i][0]*sum[0] + turn[i][1]*sum[1] + turn[i][2]*sum[2] + theta[3 + i];
    }
    return out;
  }

  template <class T> void operator()(const T *at, T *error) const {
    const std::vector<std::array<T, 3>> vertex = skin(at);
    for (std::size_t i = 0; i < correspondences.size(); i++) {
      const std::size_t c = static_cast<std::size_t>(correspondences[i]);
      for (std::size_t j = 0; j < 3; j++) {
        if (!with_us) {
          error[3*i + j] = points[3*i + j] - vertex[c][j];
          continue;
        }
        const T *u = at + 26 + 2*i;
        const auto corner = [&](std::size_t k) -> const T & {
          return vertex[static_cast<std::size_t>(triangles[c][k])][j];
        };
        error[3*i + j] = points[3*i + j] - (u[0]*corner(0) + u[1]*corner(1) + (1.0 - u[0] - u[1])*corner(2));
      }
    }
  }
  std::vector<double> value() const {
    std::vector<double> error(errors());
    (*this)(x.data(), error.data());
    return error;
  }

  /* jacobian: by rows, errors() x columns(). */
  json jacobian_output(const std::vector<double> &jacobian) const {
    json out = json::array();
    for (std::size_t i = 0; i < errors(); i++)
      out.push_back(std::vector<double>(&jacobian[i*columns()], &jacobian[i*columns()] + columns()));
    return out;
  }
};

}  // namespace peers
