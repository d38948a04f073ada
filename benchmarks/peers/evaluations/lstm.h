/* lstm.h -- the loss of a recurrent network of `layers` layers of b cells with diagonal weights, which
 * predicts the next of c characters of b bits each. In a layer, with input u, hidden h and cell z (sigma the
 * logistic function):
 *
 *     forget = sigma(u w_f + b_f)   in = sigma(h w_i + b_i)
 *     out = sigma(u w_o + b_o)      change = tanh(h w_c + b_c)
 *     z <- z forget + in change     h <- out tanh(z)
 *
 * u of the first layer is the character times in_weight, the prediction p = h out_weight + out_bias of the
 * last, and the loss -1/(b (c - 1)) sum_t sum_i next_ti (p_ti - log(2 + sum_j exp(p_tj))). GradBench's
 * evals/lstm, from ADBench.
 */
#pragma once

#include "../protocol.h"
#include "scalar.h"

namespace peers {

struct Lstm {
  static constexpr const char *module = "lstm", *value_name = "objective", *gradient_name = "jacobian";
  std::size_t layers, b, c;
  std::vector<double> x;         // main (layers x 8 b: weights f i o c, biases f i o c), extra (3 b)
  std::vector<double> state;     // layers x (hidden, cell) x b
  std::vector<double> sequence;  // c x b

  explicit Lstm(const json &input) {
    auto append = [](std::vector<double> &to, const json &rows) {
      for (const json &row : rows)
        for (const json &v : row) to.push_back(v);
    };
    layers = input.at("main_params").size()/2;
    c = input.at("sequence").size();
    b = input.at("extra_params").at(0).size();
    append(x, input.at("main_params"));
    append(x, input.at("extra_params"));
    append(state, input.at("state"));
    append(sequence, input.at("sequence"));
    if (layers == 0 || b == 0 || x.size() != (8*layers + 3)*b || state.size() != 2*layers*b
        || sequence.size() != c*b || c < 2)
      throw std::invalid_argument("wrong sizes");
  }

  template <class T> static T sigmoid(const T &v) { return 1.0/(1.0 + exp(-v)); }

  /* One layer, cell by cell; u its input, h and z its state. */
  template <class T> void layer(const T *w, const T *u, T *h, T *z) const {
    const T *bias = w + 4*b;
    for (std::size_t i = 0; i < b; i++) {
      T forget = sigmoid<T>(u[i]*w[i] + bias[i]);
      T in = sigmoid<T>(h[i]*w[b + i] + bias[b + i]);
      T out = sigmoid<T>(u[i]*w[2*b + i] + bias[2*b + i]);
      T change = tanh(h[i]*w[3*b + i] + bias[3*b + i]);
      z[i] = z[i]*forget + in*change;
      h[i] = out*tanh(z[i]);
    }
  }

  template <class T> T operator()(const T *at) const {
    const T *extra = at + 8*layers*b;
    std::vector<T> s(state.begin(), state.end()), u(b), p(b);
    T total(0.0);
    for (std::size_t t = 0; t + 1 < c; t++) {
      const double *now = &sequence[t*b], *next = now + b;
      for (std::size_t i = 0; i < b; i++) u[i] = now[i]*extra[i];
      const T *below = u.data();
      for (std::size_t k = 0; k < layers; k++) {
        T *h = &s[2*k*b];
        layer(at + 8*k*b, below, h, h + b);
        below = h;
      }
      T sum(2.0);
      for (std::size_t i = 0; i < b; i++) {
        p[i] = below[i]*extra[b + i] + extra[2*b + i];
        sum += exp(p[i]);
      }
      T lse = log(sum);
      for (std::size_t i = 0; i < b; i++) total += next[i]*(p[i] - lse);
    }
    return -total/static_cast<double>(b*(c - 1));
  }
  double value() const { return (*this)(x.data()); }
  json gradient_output(const std::vector<double> &g) const { return g; }
};

}  // namespace peers
