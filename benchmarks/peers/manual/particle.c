/* particle.c -- the path of the charged particle, its tangent and its adjoint by hand. Of 1/|v| the
 * derivative is -v/|v|^3, the second one 3 v v'/|v|^5 - I/|v|^3.
 */
#include "manual.h"

#include <math.h>

static const double dt = 0.1;

static void charge(double x, double y, double pull[2], double second[3]) {
  double square = x*x + y*y, inverse = 1/sqrt(square), cube = inverse/square, fifth = 3*cube/square;
  pull[0] = -x*cube;
  pull[1] = -y*cube;
  second[0] = fifth*x*x - cube; // xx, xy, yy
  second[1] = fifth*x*y;
  second[2] = fifth*y*y - cube;
}

/* The derivatives of the potential by place, and the second ones; moving: those of the charge that w
 * moves, whose place it enters as y - (10 - w). */
static void potential(const double place[2], double w, double pull[2], double second[3], double moving[3]) {
  double fixed_pull[2], fixed[3];
  charge(place[0] - 10, place[1] - 10 + w, pull, moving);
  charge(place[0] - 10, place[1], fixed_pull, fixed);
  for (int i = 0; i < 2; i++) pull[i] += fixed_pull[i];
  for (int i = 0; i < 3; i++) second[i] = moving[i] + fixed[i];
}

static void force(const double place[2], double w, double pull[2]) {
  double x = place[0] - 10, y = place[1], above = y - 10 + w;
  double a = x*x + above*above, b = x*x + y*y, fa = 1/(a*sqrt(a)), fb = 1/(b*sqrt(b));
  pull[0] = -x*(fa + fb);
  pull[1] = -above*fa - y*fb;
}

double particle_value(double w) {
  double place[2] = {0, 8}, velocity[2] = {0.75, 0}, pull[2];
  for (;;) {
    force(place, w, pull);
    for (int i = 0; i < 2; i++) place[i] += dt*velocity[i];
    if (place[1] <= 0) break;
    for (int i = 0; i < 2; i++) velocity[i] -= dt*pull[i];
  }
  double x = place[0] - place[1]/velocity[1]*velocity[0];
  return x*x;
}

/* x = p0 - p1/v1 v0; its derivatives by p0, p1, v0, v1 times 2 x, which are those of x^2. */
static void arrival(const double place[2], const double velocity[2], double by[4]) {
  double t = place[1]/velocity[1], x = place[0] - t*velocity[0];
  by[0] = 2*x;
  by[1] = -2*x*velocity[0]/velocity[1];
  by[2] = -2*x*t;
  by[3] = 2*x*t*velocity[0]/velocity[1];
}

double particle_tangent(double w) {
  double place[2] = {0, 8}, velocity[2] = {0.75, 0}, pull[2], second[3], moving[3];
  double p[2] = {0, 0}, v[2] = {0, 0}, by[4];
  for (;;) {
    potential(place, w, pull, second, moving);
    double f[2] = {second[0]*p[0] + second[1]*p[1] + moving[1], second[1]*p[0] + second[2]*p[1] + moving[2]};
    for (int i = 0; i < 2; i++) place[i] += dt*velocity[i], p[i] += dt*v[i];
    if (place[1] <= 0) break;
    for (int i = 0; i < 2; i++) velocity[i] -= dt*pull[i], v[i] -= dt*f[i];
  }
  arrival(place, velocity, by);
  return by[0]*p[0] + by[1]*p[1] + by[2]*v[0] + by[3]*v[1];
}

double particle_adjoint(double w, size_t most, double *path) {
  double place[2] = {0, 8}, velocity[2] = {0.75, 0}, pull[2], second[3], moving[3], by[4], wbar = 0;
  size_t steps = 0;
  for (;; steps++) {
    if (steps == most) return NAN;
    for (size_t i = 0; i < 2; i++) path[2*steps + i] = place[i];
    force(place, w, pull);
    for (int i = 0; i < 2; i++) place[i] += dt*velocity[i];
    if (place[1] <= 0) break;
    for (int i = 0; i < 2; i++) velocity[i] -= dt*pull[i];
  }
  arrival(place, velocity, by);
  double p[2] = {by[0], by[1]}, v[2] = {by[2] + dt*by[0], by[3] + dt*by[1]};
  while (steps-- > 0) { // back over velocity -= dt pull(place, w), then place += dt velocity
    potential(path + 2*steps, w, pull, second, moving);
    wbar -= dt*(moving[1]*v[0] + moving[2]*v[1]);
    double f[2] = {second[0]*v[0] + second[1]*v[1], second[1]*v[0] + second[2]*v[1]};
    for (int i = 0; i < 2; i++) {
      v[i] += dt*p[i];
      p[i] -= dt*f[i];
    }
  }
  return wbar;
}
