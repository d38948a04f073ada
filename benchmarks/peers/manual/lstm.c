/* lstm.c -- the recurrent network by hand: what the backward pass needs is kept on the way forwards, 8
 * numbers for a cell and time, 2 for a prediction.
 */
#include "manual.h"

#include <math.h>
#include <string.h>

enum { FORGET, IN, OUT, CHANGE, GATES };
enum { KEPT_HIDDEN = GATES, KEPT_CELL, KEPT_TANH, KEPT_INPUT, KEPT };

static double sigmoid(double v) { return 1/(1 + exp(-v)); }

/* One layer; kept: KEPT x b. */
static void layer(size_t b, const double *restrict w, const double *restrict u, double *restrict h,
                  double *restrict z,
                  double *restrict kept) {
  const double *bias = w + GATES*b;
  for (size_t i = 0; i < b; i++) {
    double forget = sigmoid(u[i]*w[i] + bias[i]), in = sigmoid(h[i]*w[b + i] + bias[b + i]);
    double out = sigmoid(u[i]*w[2*b + i] + bias[2*b + i]), change = tanh(h[i]*w[3*b + i] + bias[3*b + i]);
    kept[FORGET*b + i] = forget;
    kept[IN*b + i] = in;
    kept[OUT*b + i] = out;
    kept[CHANGE*b + i] = change;
    kept[KEPT_HIDDEN*b + i] = h[i];
    kept[KEPT_CELL*b + i] = z[i];
    kept[KEPT_INPUT*b + i] = u[i];
    z[i] = z[i]*forget + in*change;
    double t = tanh(z[i]);
    kept[KEPT_TANH*b + i] = t;
    h[i] = out*t;
  }
}

/* Adjoints of the layer: hbar and zbar of the state after it become those before it, ubar those of its
 * input. */
static void layer_back(size_t b, const double *restrict w, const double *restrict kept, double *restrict hbar,
                       double *restrict zbar, double *restrict ubar, double *restrict wbar) {
  double *bias = wbar + GATES*b;
  for (size_t i = 0; i < b; i++) {
    double forget = kept[FORGET*b + i], in = kept[IN*b + i];
    double out = kept[OUT*b + i], change = kept[CHANGE*b + i];
    double h = kept[KEPT_HIDDEN*b + i], u = kept[KEPT_INPUT*b + i], t = kept[KEPT_TANH*b + i];
    double z = zbar[i] + hbar[i]*out*(1 - t*t);
    double a_forget = z*kept[KEPT_CELL*b + i]*forget*(1 - forget), a_in = z*change*in*(1 - in);
    double a_out = hbar[i]*t*out*(1 - out), a_change = z*in*(1 - change*change);
    wbar[i] += a_forget*u;
    wbar[b + i] += a_in*h;
    wbar[2*b + i] += a_out*u;
    wbar[3*b + i] += a_change*h;
    bias[i] += a_forget;
    bias[b + i] += a_in;
    bias[2*b + i] += a_out;
    bias[3*b + i] += a_change;
    ubar[i] = a_forget*w[i] + a_out*w[2*b + i];
    hbar[i] = a_in*w[b + i] + a_change*w[3*b + i];
    zbar[i] = z*forget;
  }
}

/* exp(p)/(2 + sum exp(p)) of the prediction p = h out_weight + out_bias, which is what its derivative
 * needs. */
static void shares_of(size_t b, const double *extra, const double *h, double *share) {
  double sum = 2;
  for (size_t i = 0; i < b; i++) {
    share[i] = exp(h[i]*extra[b + i] + extra[2*b + i]);
    sum += share[i];
  }
  for (size_t i = 0; i < b; i++) share[i] /= sum;
}

static void step_value(size_t b, const double *restrict w, const double *restrict u, double *restrict h,
                         double *restrict z) {
  const double *bias = w + GATES*b;
  for (size_t i = 0; i < b; i++) {
    double forget = sigmoid(u[i]*w[i] + bias[i]), in = sigmoid(h[i]*w[b + i] + bias[b + i]);
    double out = sigmoid(u[i]*w[2*b + i] + bias[2*b + i]), change = tanh(h[i]*w[3*b + i] + bias[3*b + i]);
    z[i] = z[i]*forget + in*change;
    h[i] = out*tanh(z[i]);
  }
}

double lstm_value(const struct lstm *a, const double *x, double *work) {
  const size_t b = a->b, layers = a->layers;
  const double *extra = x + 8*layers*b;
  double *state = work, *u = state + 2*layers*b, *p = u + b, total = 0;
  memcpy(state, a->state, 2*layers*b*sizeof *state);
  for (size_t t = 0; t + 1 < a->c; t++) {
    const double *now = a->sequence + t*b, *next = now + b, *below = u;
    for (size_t i = 0; i < b; i++) u[i] = now[i]*extra[i];
    for (size_t k = 0; k < layers; k++) {
      double *h = state + 2*k*b;
      step_value(b, x + 8*k*b, below, h, h + b);
      below = h;
    }
    double sum = 2;
    for (size_t i = 0; i < b; i++) {
      p[i] = below[i]*extra[b + i] + extra[2*b + i];
      sum += exp(p[i]);
    }
    double lse = log(sum);
    for (size_t i = 0; i < b; i++) total += next[i]*(p[i] - lse);
  }
  return -total/(double)(b*(a->c - 1));
}

/* Of the prediction at one time: hbar of the last layer, and what the extra parameters get. */
static void predict_back(size_t b, double scale, const double *extra, const double *next, const double *share,
                         const double *h, double *hbar, double *extra_bar) {
  double all = 0;
  for (size_t i = 0; i < b; i++) all += next[i];
  for (size_t i = 0; i < b; i++) {
    double pbar = scale*(next[i] - all*share[i]);
    hbar[i] += pbar*extra[b + i];
    extra_bar[b + i] += pbar*h[i];
    extra_bar[2*b + i] += pbar;
  }
}

void lstm_gradient(const struct lstm *a, const double *x, double *gradient, double *work) {
  const size_t b = a->b, layers = a->layers, steps = a->c - 1;
  const double *extra = x + 8*layers*b, scale = -1/(double)(b*steps);
  double *kept = work, *shares = kept + KEPT*layers*b*a->c, *last = shares + b*a->c, *state = last + b*a->c;
  double *u = state + 2*layers*b, *extra_bar = gradient + 8*layers*b;
  memcpy(state, a->state, 2*layers*b*sizeof *state);
  for (size_t t = 0; t < steps; t++) {
    const double *below = u;
    for (size_t i = 0; i < b; i++) u[i] = a->sequence[t*b + i]*extra[i];
    for (size_t k = 0; k < layers; k++) {
      double *h = state + 2*k*b;
      layer(b, x + 8*k*b, below, h, h + b, kept + KEPT*b*(t*layers + k));
      below = h;
    }
    memcpy(last + t*b, below, b*sizeof *last);
    shares_of(b, extra, below, shares + t*b);
  }
  memset(gradient, 0, (8*layers + 3)*b*sizeof *gradient);
  memset(state, 0, 2*layers*b*sizeof *state); // from here on adjoints
  for (size_t t = steps; t-- > 0;) {
    predict_back(b, scale, extra, a->sequence + (t + 1)*b, shares + t*b, last + t*b,
                 state + 2*(layers - 1)*b, extra_bar);
    for (size_t k = layers; k-- > 0;) {
      double *hbar = state + 2*k*b;
      layer_back(b, x + 8*k*b, kept + KEPT*b*(t*layers + k), hbar, hbar + b, u, gradient + 8*k*b);
      if (k > 0)
        for (size_t i = 0; i < b; i++) hbar[i - 2*b] += u[i];
    }
    for (size_t i = 0; i < b; i++) extra_bar[i] += u[i]*a->sequence[t*b + i];
  }
}
