/* manual.h -- the derivatives of GradBench's evaluations written by hand in plain C, with the objectives
 * beside them.
 *
 * What somebody would write who knows the mathematics and the language: the right algorithm, simple loops,
 * nothing computed twice without need; no intrinsics, no blocking for caches, no threads. Formulas and shapes
 * are in ../evaluations. Matrices are by rows. `work` is the caller's room, of the size said; none of these
 * allocate or fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

double hello_square(double x);
double hello_double(double x);

/* x: m. work: m. */
double llsq_value(size_t n, size_t m, const double *x);
void llsq_gradient(size_t n, size_t m, const double *x, double *gradient, double *work);

double lse_value(size_t n, const double *x);
void lse_gradient(size_t n, const double *x, double *gradient);

/* a: n x n. work: n + 1. */
double det_value(int n, const double *a, int *work);
void det_gradient(int n, const double *a, double *gradient, int *work);

/* y: n, gradient of y[n - 1]: n. work: 4 n for the value, (s + 8) n for the gradient. */
void ode_value(size_t n, const double *x, size_t s, double *y, double *work);
void ode_gradient(size_t n, const double *x, size_t s, double *gradient, double *work);

struct gmm {
  size_t d, k, n;
  const double *points;  // n x d
  double gamma, constant; // constant: what does not depend on x
  int m;
};
/* x and gradient: alpha (k), mu (k x d), q (k x d), l (k x d (d - 1)/2). work: 3 k d + 4 k. */
double gmm_value(const struct gmm *a, const double *x, double *work);
void gmm_gradient(const struct gmm *a, const double *x, double *gradient, double *work);

/* One observation; jacobian: 2 x 15, by camera (11), point (3), weight. */
void ba_reprojection(const double cam[11], const double point[3], double w, const double feature[2],
                     double error[2]);
void ba_jacobian(const double cam[11], const double point[3], double w, const double feature[2],
                 double *jacobian);
double ba_weight_error(double w);
double ba_weight_derivative(double w);

struct lstm {
  size_t layers, b, c;
  const double *state, *sequence;
};
/* x and gradient: main (layers x 8 b), extra (3 b). work: 2 layers b + 2 b for the value,
 * (8 layers + 2) b c + (2 layers + 1) b for the gradient. */
double lstm_value(const struct lstm *a, const double *x, double *work);
void lstm_gradient(const struct lstm *a, const double *x, double *gradient, double *work);

struct affine { double a[3][4]; };
struct influence { int bone; double weight; };
struct ht {
  size_t bones, vertices, errors;   // errors: of three coordinates each
  const int *parents;
  const struct affine *base, *inverse;
  const double *positions;          // vertices x 3
  const size_t *first;              // of vertex v the influences first[v] to first[v + 1]
  const struct influence *influences;
  const int (*triangles)[3], *correspondences;
  const double *points;             // errors x 3
  bool mirrored, with_us;
};
struct ht_work {
  struct affine *relative, *absolute, *carried;  // bones each
  struct affine *slope, *carried_slope;          // bones x 4: by the parameters of the bone's own finger
  double *position;                              // vertices x 3
  double *slopes;                                // vertices x 3 x 26
};
/* x: theta (26), us (2 errors). error: 3 errors; jacobian: 3 errors x 26, or 28. */
void ht_value(const struct ht *a, const double *x, double *error, const struct ht_work *work);
void ht_jacobian(const struct ht *a, const double *x, double *jacobian, const struct ht_work *work);

/* The direction -H^-1 grad with its sign turned, k x d. work: k. */
double kmeans_value(size_t n, size_t k, size_t d, const double *points, const double *centroids);
void kmeans_direction(size_t n, size_t k, size_t d, const double *points, const double *centroids,
                      double *direction, size_t *work);

/* Where the particle arrives, squared, and its derivative by w, by tangents or by adjoints (those need
 * room for `most` steps of 2 numbers, and say nan for a longer path). */
double particle_value(double w);
double particle_tangent(double w);
double particle_adjoint(double w, size_t most, double *path);

/* |own|^2 - |other|^2 and its derivatives by `own`. */
double saddle_value(const double own[2], const double other[2]);
void saddle_gradient(const double own[2], double gradient[2]);

#ifdef __cplusplus
}
#endif
