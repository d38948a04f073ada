/* ba.c -- the reprojection error of bundle adjustment by hand. With a = r/|r|, c = cos|r|, s = sin|r|, the
 * rotated point is R x with R = c I + s [a] + (1 - c) a a', and by r_k (da = (e_k - a_k a)/|r|)
 *
 *     a_k (-s x + c a*x + s (a.x) a) + s da*x + (1 - c) ((a.x) da + (da.x) a).
 */
#include "manual.h"

#include <math.h>

static double dot(const double x[3], const double y[3]) { return x[0]*y[0] + x[1]*y[1] + x[2]*y[2]; }
static void cross(const double x[3], const double y[3], double out[3]) {
  out[0] = x[1]*y[2] - x[2]*y[1];
  out[1] = x[2]*y[0] - x[0]*y[2];
  out[2] = x[0]*y[1] - x[1]*y[0];
}

static void rotate(const double r[3], const double x[3], double out[3]) {
  double square = dot(r, r), turned[3];
  cross(r, x, turned);
  if (square == 0) {
    for (int i = 0; i < 3; i++) out[i] = x[i] + turned[i];
    return;
  }
  double angle = sqrt(square), inverse = 1/angle, c = cos(angle), s = sin(angle)*inverse;
  double along = dot(r, x)*(1 - c)*inverse*inverse;
  for (int i = 0; i < 3; i++) out[i] = x[i]*c + turned[i]*s + r[i]*along;
}

/* by_r[i][k]: of entry i by r_k; by_x: R. */
static void rotate_jacobian(const double r[3], const double x[3], double out[3], double by_r[3][3],
                            double by_x[3][3]) {
  const double square = dot(r, r), angle = sqrt(square), c = cos(angle), s = sin(angle);
  double a[3], ax[3];
  if (square == 0) {
    const double zero[3][3] = {{0, x[2], -x[1]}, {-x[2], 0, x[0]}, {x[1], -x[0], 0}};
    for (int i = 0; i < 3; i++)
      for (int k = 0; k < 3; k++) by_r[i][k] = zero[i][k], by_x[i][k] = i == k;
    rotate(r, x, out);
    return;
  }
  const double inverse = 1/angle;
  for (int i = 0; i < 3; i++) a[i] = r[i]*inverse;
  cross(a, x, ax);
  const double along = dot(a, x), v = 1 - c;
  const double skew[3][3] = {{0, -a[2], a[1]}, {a[2], 0, -a[0]}, {-a[1], a[0], 0}};
  for (int i = 0; i < 3; i++) out[i] = c*x[i] + s*ax[i] + v*along*a[i];
  for (int k = 0; k < 3; k++) {
    double da[3], dax[3];
    for (int i = 0; i < 3; i++) da[i] = ((i == k) - a[k]*a[i])*inverse;
    cross(da, x, dax);
    const double change = dot(da, x);
    for (int i = 0; i < 3; i++) {
      by_r[i][k] = a[k]*(-s*x[i] + c*ax[i] + s*along*a[i]) + s*dax[i] + v*(along*da[i] + change*a[i]);
      by_x[i][k] = c*(i == k) + s*skew[i][k] + v*a[i]*a[k];
    }
  }
}

void ba_reprojection(const double cam[11], const double point[3], double w, const double feature[2],
                     double error[2]) {
  double centred[3] = {point[0] - cam[3], point[1] - cam[4], point[2] - cam[5]}, seen[3];
  rotate(cam, centred, seen);
  double inverse = 1/seen[2], u = seen[0]*inverse, v = seen[1]*inverse, square = u*u + v*v;
  double scale = (1 + square*(cam[9] + cam[10]*square))*cam[6];
  error[0] = w*(u*scale + cam[7] - feature[0]);
  error[1] = w*(v*scale + cam[8] - feature[1]);
}

void ba_jacobian(const double cam[11], const double point[3], double w, const double feature[2],
                 double *restrict jacobian) {
  double centred[3] = {point[0] - cam[3], point[1] - cam[4], point[2] - cam[5]}, seen[3];
  double by_r[3][3], by_x[3][3];
  rotate_jacobian(cam, centred, seen, by_r, by_x);
  const double inverse = 1/seen[2], plane[2] = {seen[0]*inverse, seen[1]*inverse};
  const double square = plane[0]*plane[0] + plane[1]*plane[1], f = cam[6];
  const double scale = 1 + square*(cam[9] + cam[10]*square), slope = 2*(cam[9] + 2*cam[10]*square);
  for (int row = 0; row < 2; row++) {
    double *out = jacobian + 15*row, by_plane[2], by_seen[3];
    for (int i = 0; i < 2; i++) by_plane[i] = w*f*(scale*(i == row) + slope*plane[row]*plane[i]);
    by_seen[0] = by_plane[0]*inverse;
    by_seen[1] = by_plane[1]*inverse;
    by_seen[2] = -(by_seen[0]*plane[0] + by_seen[1]*plane[1]);
    for (int k = 0; k < 3; k++) {
      out[k] = by_seen[0]*by_r[0][k] + by_seen[1]*by_r[1][k] + by_seen[2]*by_r[2][k];
      out[11 + k] = by_seen[0]*by_x[0][k] + by_seen[1]*by_x[1][k] + by_seen[2]*by_x[2][k];
      out[3 + k] = -out[11 + k];
    }
    out[6] = w*plane[row]*scale;
    out[7] = row == 0 ? w : 0;
    out[8] = row == 1 ? w : 0;
    out[9] = w*f*plane[row]*square;
    out[10] = out[9]*square;
    out[14] = plane[row]*scale*f + cam[7 + row] - feature[row];
  }
}

double ba_weight_error(double w) { return 1 - w*w; }
double ba_weight_derivative(double w) { return -2*w; }
