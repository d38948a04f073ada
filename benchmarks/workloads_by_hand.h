/* workloads_by_hand.h -- values and gradients of workloads.inc as one would write them: loops forwards that
 * keep what the loops backwards need, nothing else. save has room for by_hand_doubles(workload, n) numbers.
 * Returns the value; grad gets the gradient.
 */
#ifndef ADIT_BENCHMARKS_WORKLOADS_BY_HAND_H
#define ADIT_BENCHMARKS_WORKLOADS_BY_HAND_H

#include <math.h>
#include <stddef.h>

enum { WIDTH = 64, TERMS = 8, MOST_INPUTS = WIDTH + WIDTH*WIDTH };
enum { CHAIN, POLYNOMIALS, DENSE, TANH_CHAIN, TANH_WIDE, WORKLOADS };

static const char *const workload_names[WORKLOADS] = {
  "chain: z a + b - c", "wide: 64 polynomials", "wide: 64 x 64 products", "chain, every 8th a tanh",
  "wide, every 8th a tanh"
};
static const int workload_inputs[WORKLOADS] = { 4, WIDTH + TERMS, MOST_INPUTS, 4, WIDTH + 3 };

/* Values and adjoints that neither grow nor die in ten million operations: an adjoint that halves a thousand
 * times would get stuck among the denormal numbers, which are slow. */
static inline void workload_fill(int workload, double x[]) {
  const double chain[4] = { 1, 1 + 1e-9, 0.25, 0.25 }, tanh_chain[4] = { 0.3, 1e-7, 1.5, -0.7 };
  for (int i = 0; i < workload_inputs[workload]; i++) {
    const double u = (double)((unsigned)i*2654435761u % 1000003u)/1000003;
    if (workload == CHAIN) x[i] = chain[i];
    else if (workload == TANH_CHAIN) x[i] = tanh_chain[i];
    else if (workload == POLYNOMIALS) x[i] = i < WIDTH ? 1 - 1e-6*u : u;
    else if (workload == DENSE) x[i] = i < WIDTH ? u : 2*u/WIDTH;
    else x[i] = i < WIDTH ? u : tanh_chain[i - WIDTH + 1];
  }
}

static inline size_t by_hand_doubles(int workload, long n) {
  return (size_t)(workload == CHAIN ? n/3 + 1 : workload == POLYNOMIALS ? n/2 + WIDTH
                  : workload == DENSE ? n/(2*WIDTH - 1) + 2*WIDTH : n/4 + 4*WIDTH);
}

static inline double chain_by_hand(long n, const double in[], double grad[], double *save) {
  const double a = in[1], b = in[2], c = in[3];
  long steps = (n + 2)/3;
  double z = in[0], g = 1, ga = 0, gb = 0;
  for (long i = 0; i < steps; i++) save[i] = z, z = z*a + b - c;
  for (long i = steps; i-- > 0;) gb += g, ga += g*save[i], g *= a;
  grad[0] = g, grad[1] = ga, grad[2] = gb, grad[3] = -gb;
  return z;
}

static inline double polynomials_by_hand(long n, const double in[], double grad[], double *save) {
  const double *x = in, *c = in + WIDTH;
  const long steps = n/(2*WIDTH);
  double z[WIDTH], g[WIDTH], gx[WIDTH] = { 0 }, gc[TERMS] = { 0 }, value = 0;
  for (int p = 0; p < WIDTH; p++) z[p] = x[p], g[p] = 1;
  for (long i = 0; i < steps; i++) {
    const double term = i % 2 ? -c[i % TERMS] : c[i % TERMS];
    for (int p = 0; p < WIDTH; p++) save[i*WIDTH + p] = z[p], z[p] = z[p]*x[p] + term;
  }
  for (int p = 0; p < WIDTH; p++) value += z[p];
  for (long i = steps; i-- > 0;) {
    double sum = 0;
    for (int p = 0; p < WIDTH; p++) sum += g[p];
    gc[i % TERMS] += i % 2 ? -sum : sum;
    for (int p = 0; p < WIDTH; p++) gx[p] += g[p]*save[i*WIDTH + p], g[p] *= x[p];
  }
  for (int p = 0; p < WIDTH; p++) grad[p] = gx[p] + g[p];
  for (int k = 0; k < TERMS; k++) grad[WIDTH + k] = gc[k];
  return value;
}

static inline double dense_by_hand(long n, const double in[], double grad[], double *save) {
  const double *a = in + WIDTH;
  const long steps = (n + (2*WIDTH - 1)*WIDTH - 1)/((2*WIDTH - 1)*WIDTH);
  double g[WIDTH], gx[WIDTH], *ga = grad + WIDTH, value = 0;
  for (int p = 0; p < WIDTH; p++) save[p] = in[p], g[p] = 1;
  for (int i = 0; i < WIDTH*WIDTH; i++) ga[i] = 0;
  for (long i = 0; i < steps; i++) {
    const double *x = save + i*WIDTH;
    double *y = save + (i + 1)*WIDTH;
    for (int p = 0; p < WIDTH; p++) {
      double sum = 0;
      for (int q = 0; q < WIDTH; q++) sum += a[p*WIDTH + q]*x[q];
      y[p] = sum;
    }
  }
  for (int p = 0; p < WIDTH; p++) value += save[steps*WIDTH + p];
  for (long i = steps; i-- > 0;) {
    const double *x = save + i*WIDTH;
    for (int q = 0; q < WIDTH; q++) gx[q] = 0;
    for (int p = 0; p < WIDTH; p++)
      for (int q = 0; q < WIDTH; q++) ga[p*WIDTH + q] += g[p]*x[q], gx[q] += g[p]*a[p*WIDTH + q];
    for (int q = 0; q < WIDTH; q++) g[q] = gx[q];
  }
  for (int p = 0; p < WIDTH; p++) grad[p] = g[p];
  return value;
}

static inline double eight_by_hand(double z, double a, double b, double c, double *t) {
  const double v = z*a + b;
  *t = tanh((v*c - b)*c);
  return z + *t - v;
}
/* One step back from the adjoint g of eight(z, a, b, c), t its tanh: returns that of z, adds to those of a,
 * b, c. */
static inline double eight_back(double z, double t, double a, double b, double c, double g, double gabc[3]) {
  const double v = z*a + b, gu = g*(1 - t*t), gw = gu*c, gv = gw*c - g;
  gabc[0] += gv*z;
  gabc[1] += gv - gw;
  gabc[2] += gu*(v*c - b) + gw*v;
  return g + gv*a;
}

/* save: z and t of each step. */
static inline double tanh_chain_by_hand(long n, const double in[], double grad[], double *save) {
  const double a = in[1], b = in[2], c = in[3];
  const long steps = (n + 7)/8;
  double gabc[3] = { 0 }, g = 1;
  save[0] = in[0];
  for (long i = 0; i < steps; i++) save[2*i + 2] = eight_by_hand(save[2*i], a, b, c, &save[2*i + 1]);
  for (long i = steps; i-- > 0;) g = eight_back(save[2*i], save[2*i + 1], a, b, c, g, gabc);
  grad[0] = g;
  for (int k = 0; k < 3; k++) grad[1 + k] = gabc[k];
  return save[2*steps];
}

static inline double tanh_wide_by_hand(long n, const double in[], double grad[], double *save) {
  const double a = in[WIDTH], b = in[WIDTH + 1], c = in[WIDTH + 2];
  const long steps = (n + 8*WIDTH - 1)/(8*WIDTH);
  double gabc[3] = { 0 }, g[WIDTH], value = 0;
  for (int p = 0; p < WIDTH; p++) save[p] = in[p], g[p] = 1;
  for (long i = 0; i < steps; i++) {
    double *z = save + 2*WIDTH*i, *t = z + WIDTH, *next = t + WIDTH;
    for (int p = 0; p < WIDTH; p++) next[p] = eight_by_hand(z[p], a, b, c, &t[p]);
  }
  for (int p = 0; p < WIDTH; p++) value += save[2*WIDTH*steps + p];
  for (long i = steps; i-- > 0;) {
    const double *z = save + 2*WIDTH*i, *t = z + WIDTH;
    for (int p = 0; p < WIDTH; p++) g[p] = eight_back(z[p], t[p], a, b, c, g[p], gabc);
  }
  for (int p = 0; p < WIDTH; p++) grad[p] = g[p];
  for (int k = 0; k < 3; k++) grad[WIDTH + k] = gabc[k];
  return value;
}

static inline double workload_by_hand(int workload, long n, const double in[], double grad[], double *save) {
  switch (workload) {
    case CHAIN:       return chain_by_hand(n, in, grad, save);
    case POLYNOMIALS: return polynomials_by_hand(n, in, grad, save);
    case DENSE:       return dense_by_hand(n, in, grad, save);
    case TANH_CHAIN:  return tanh_chain_by_hand(n, in, grad, save);
    default:          return tanh_wide_by_hand(n, in, grad, save);
  }
}

#endif
