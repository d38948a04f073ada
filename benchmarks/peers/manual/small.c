/* small.c -- hello, llsq, lse, det, kmeans and saddle by hand. */
#include "manual.h"

#include <math.h>

double hello_square(double x) { return x*x; }
double hello_double(double x) { return 2*x; }

double saddle_value(const double own[2], const double other[2]) {
  return (own[0]*own[0] + own[1]*own[1]) - (other[0]*other[0] + other[1]*other[1]);
}
void saddle_gradient(const double own[2], double gradient[2]) {
  gradient[0] = 2*own[0];
  gradient[1] = 2*own[1];
}

static double llsq_t(size_t i, size_t n) { return -1 + 2*(double)i/(double)(n - 1); }
static double sign(double t) { return (t > 0) - (t < 0); }

double llsq_value(size_t n, size_t m, const double *x) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double t = llsq_t(i, n), power = 1, residual = sign(t);
    for (size_t j = 0; j < m; j++, power *= t) residual -= x[j]*power;
    sum += residual*residual;
  }
  return sum/2;
}

/* d/dx_j = -sum_i residual_i t_i^j; work holds the powers of one t. */
void llsq_gradient(size_t n, size_t m, const double *restrict x, double *restrict gradient,
                   double *restrict work) {
  for (size_t j = 0; j < m; j++) gradient[j] = 0;
  for (size_t i = 0; i < n; i++) {
    double t = llsq_t(i, n), power = 1, residual = sign(t);
    for (size_t j = 0; j < m; j++, power *= t) {
      work[j] = power;
      residual -= x[j]*power;
    }
    for (size_t j = 0; j < m; j++) gradient[j] -= residual*work[j];
  }
}

static double largest(size_t n, const double *x) {
  double most = x[0];
  for (size_t i = 1; i < n; i++) most = most < x[i] ? x[i] : most;
  return most;
}

double lse_value(size_t n, const double *x) {
  double most = largest(n, x), sum = 0;
  for (size_t i = 0; i < n; i++) sum += exp(x[i] - most);
  return most + log(sum);
}

/* d/dx_i = exp(x_i - most)/sum */
void lse_gradient(size_t n, const double *restrict x, double *restrict gradient) {
  double most = largest(n, x), sum = 0;
  for (size_t i = 0; i < n; i++) {
    gradient[i] = exp(x[i] - most);
    sum += gradient[i];
  }
  double scale = 1/sum;
  for (size_t i = 0; i < n; i++) gradient[i] *= scale;
}

static void det_columns(int n, int *next) {
  for (int j = 0; j < n; j++) next[j] = j + 1;
  next[n] = 0;
}

/* Rows from `row` on, the columns in the list that begins with next[n]. */
static double det_minor(int n, const double *a, int row, int *next) {
  int column = next[n];
  if (row == n - 1) return a[row*n + column];
  double sum = 0, sign = 1;
  for (int before = n; column < n; before = column, column = next[column], sign = -sign) {
    next[before] = next[column];
    sum += sign*a[row*n + column]*det_minor(n, a, row + 1, next);
    next[before] = column;
  }
  return sum;
}
double det_value(int n, const double *a, int *work) {
  det_columns(n, work);
  return det_minor(n, a, 0, work);
}

/* The same minor, and its derivatives times `seed` added to the gradient: the factor of a smaller minor is
 * known on the way down, so one walk through the products serves both. */
static double det_minor_gradient(int n, const double *a, int row, int *next, double seed, double *gradient) {
  int column = next[n];
  if (row == n - 1) {
    gradient[row*n + column] += seed;
    return a[row*n + column];
  }
  double sum = 0, sign = 1;
  for (int before = n; column < n; before = column, column = next[column], sign = -sign) {
    double factor = sign*a[row*n + column];
    next[before] = next[column];
    double minor = det_minor_gradient(n, a, row + 1, next, seed*factor, gradient);
    next[before] = column;
    sum += factor*minor;
    gradient[row*n + column] += seed*sign*minor;
  }
  return sum;
}
void det_gradient(int n, const double *a, double *gradient, int *work) {
  for (int i = 0; i < n*n; i++) gradient[i] = 0;
  det_columns(n, work);
  det_minor_gradient(n, a, 0, work, 1, gradient);
}

static double distance(size_t d, const double *x, const double *y) {
  double sum = 0;
  for (size_t l = 0; l < d; l++) sum += (x[l] - y[l])*(x[l] - y[l]);
  return sum;
}
static size_t closest(size_t k, size_t d, const double *point, const double *centroids, double *least) {
  size_t best = 0;
  *least = INFINITY;
  for (size_t j = 0; j < k; j++) {
    double here = distance(d, point, centroids + j*d);
    if (here < *least) *least = here, best = j;
  }
  return best;
}

double kmeans_value(size_t n, size_t k, size_t d, const double *points, const double *centroids) {
  double cost = 0, least;
  for (size_t i = 0; i < n; i++) {
    closest(k, d, points + i*d, centroids, &least);
    cost += least;
  }
  return cost;
}

/* The gradient at a centroid is 2 (count c - sum of its points), the Hessian 2 count. */
void kmeans_direction(size_t n, size_t k, size_t d, const double *points, const double *centroids,
                      double *direction, size_t *work) {
  double least;
  for (size_t j = 0; j < k; j++) work[j] = 0;
  for (size_t i = 0; i < k*d; i++) direction[i] = 0;
  for (size_t i = 0; i < n; i++) {
    size_t j = closest(k, d, points + i*d, centroids, &least);
    work[j]++;
    for (size_t l = 0; l < d; l++) direction[j*d + l] += points[i*d + l];
  }
  for (size_t j = 0; j < k; j++)
    for (size_t l = j*d; l < (j + 1)*d; l++) direction[l] = centroids[l] - direction[l]/(double)work[j];
}
