/* kmeans.h -- the cost of k-means, sum_i min_j |c_j - p_i|^2, and Newton's direction for it: the gradient by
 * the centroids over the diagonal of the Hessian, which is all there is of it. GradBench's evals/kmeans.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Kmeans {
  std::size_t n, k, d;
  std::vector<double> points;  // n x d
  std::vector<double> x;       // the centroids, k x d

  explicit Kmeans(const json &input) {
    auto rows = [](std::vector<double> &to, const json &from) {
      for (const json &row : from)
        for (const json &v : row) to.push_back(v);
      return from.size();
    };
    n = rows(points, input.at("points"));
    k = rows(x, input.at("centroids"));
    d = input.at("points").at(0).size();
    if (k == 0 || d == 0 || points.size() != n*d || x.size() != k*d)
      throw std::invalid_argument("wrong sizes");
  }

  template <class T> T operator()(const T *centroids) const {
    T cost(0.0);
    for (std::size_t i = 0; i < n; i++) {
      T closest(0.0);
      for (std::size_t j = 0; j < k; j++) {
        T distance(0.0);
        for (std::size_t l = 0; l < d; l++) {
          T difference = centroids[j*d + l] - points[i*d + l];
          distance += difference*difference;
        }
        closest = j == 0 ? distance : smaller(closest, distance);
      }
      cost += closest;
    }
    return cost;
  }
  double value() const { return (*this)(x.data()); }

  json direction_output(const std::vector<double> &direction) const {
    json out = json::array();
    for (std::size_t j = 0; j < k; j++)
      out.push_back(std::vector<double>(&direction[j*d], &direction[j*d] + d));
    return out;
  }
};

}  // namespace peers
