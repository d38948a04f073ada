/* ht.c -- hand tracking by hand. A finger's four parameters turn its own bones alone, so a bone has at most
 * four columns of the Jacobian that are not zero, and a vertex those of the bones that carry it; the global
 * rotation turns what the bones have carried, the translation is the identity.
 */
#include "manual.h"

#include <math.h>
#include <string.h>

enum { OWN = 4, PARAMETERS = 26 };  // parameters of a finger; of the hand

/* z = x y for [x; 0 0 0 last] and [y; 0 0 0 1]: last is 1 for a transformation, 0 for the derivative of
 * one. */
static void compose(const struct affine *x, const struct affine *y, struct affine *z) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 4; j++)
      z->a[i][j] = x->a[i][0]*y->a[0][j] + x->a[i][1]*y->a[1][j] + x->a[i][2]*y->a[2][j]
          + (j == 3 ? x->a[i][3] : 0);
}
/* The same for [y; 0 0 0 0]. */
static void compose_linear(const struct affine *x, const struct affine *y, struct affine *z) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 4; j++)
      z->a[i][j] = x->a[i][0]*y->a[0][j] + x->a[i][1]*y->a[1][j] + x->a[i][2]*y->a[2][j];
}

/* Which finger a bone belongs to and which joint of it it is; false for wrist and forearm. */
static bool joint_of(size_t bone, size_t *finger, size_t *joint) {
  if (bone < 2 || bone > 21) return false;
  *finger = (bone - 2)/4;
  *joint = (bone - 2)%4;
  return *finger < 5;
}

/* Rz(spread) Rx(bend); by_bend and by_spread may be NULL. */
static void turn(double bend, double spread, struct affine *out, struct affine *by_bend,
                 struct affine *by_spread) {
  const double ca = cos(bend), sa = sin(bend), cb = cos(spread), sb = sin(spread);
  *out = (struct affine){{{cb, -sb*ca, sb*sa, 0}, {sb, cb*ca, -cb*sa, 0}, {0, sa, ca, 0}}};
  if (by_bend) *by_bend = (struct affine){{{0, sb*sa, sb*ca, 0}, {0, -cb*sa, -cb*ca, 0}, {0, ca, -sa, 0}}};
  if (by_spread)
    *by_spread = (struct affine){{{-sb, -cb*ca, cb*sa, 0}, {cb, -sb*ca, sb*sa, 0}, {0, 0, 0, 0}}};
}

/* Two fingers' bones only hang together through the wrist, whose pose is fixed, so a bone's derivatives
 * are by the parameters of its own finger: slope[4 bone + j]. */
static void bone_pose(const struct ht *a, const double *theta, size_t bone, const struct ht_work *r,
                      bool derivative) {
  size_t finger, joint;
  const bool bends = joint_of(bone, &finger, &joint) && joint < 3;
  const double *own = bends ? theta + 6 + OWN*finger : NULL;
  const size_t column = bends && joint > 0 ? joint + 1 : 0;
  const struct affine *parent = a->parents[bone] < 0 ? NULL : r->absolute + a->parents[bone];
  struct affine local, by_bend, by_spread, *slope = r->slope + OWN*bone;
  turn(bends ? own[column] : 0, bends && joint == 0 ? own[1] : 0, &local, &by_bend, &by_spread);
  compose(a->base + bone, &local, r->relative + bone);
  if (parent) compose(parent, r->relative + bone, r->absolute + bone);
  else r->absolute[bone] = r->relative[bone];
  compose(r->absolute + bone, a->inverse + bone, r->carried + bone);
  if (!derivative) return;
  for (size_t j = 0; j < OWN; j++) {
    if (parent) compose(r->slope + OWN*(size_t)a->parents[bone] + j, r->relative + bone, slope + j);
    else memset(slope + j, 0, sizeof *slope);
  }
  for (size_t j = 0; bends && j < (joint == 0 ? 2 : 1); j++) {
    struct affine through, moved;
    compose_linear(a->base + bone, j == 0 ? &by_bend : &by_spread, &through);
    if (parent) compose_linear(parent, &through, &moved);
    else moved = through;
    for (int i = 0; i < 12; i++) slope[j == 0 ? column : 1].a[i/4][i%4] += moved.a[i/4][i%4];
  }
  for (size_t j = 0; j < OWN; j++) compose(slope + j, a->inverse + bone, r->carried_slope + OWN*bone + j);
}

/* R and its derivatives by the three angles: with a = r/|r|, R = c I + s [a] + (1 - c) a a'. */
static void rotation(const double r[3], double out[3][3], double by[3][3][3]) {
  const double angle = sqrt(r[0]*r[0] + r[1]*r[1] + r[2]*r[2]);
  memset(by, 0, 27*sizeof(double));
  for (int i = 0; i < 9; i++) out[i/3][i%3] = i%4 == 0;
  if (angle < 1e-4) return;
  const double a[3] = {r[0]/angle, r[1]/angle, r[2]/angle}, s = sin(angle), c = cos(angle), v = 1 - c;
  const double skew[3][3] = {{0, -a[2], a[1]}, {a[2], 0, -a[0]}, {-a[1], a[0], 0}};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) out[i][j] = c*(i == j) + s*skew[i][j] + v*a[i]*a[j];
  for (int k = 0; k < 3; k++) {
    double da[3];
    for (int i = 0; i < 3; i++) da[i] = ((i == k) - a[k]*a[i])/angle;
    const double dskew[3][3] = {{0, -da[2], da[1]}, {da[2], 0, -da[0]}, {-da[1], da[0], 0}};
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++)
        by[k][i][j] = a[k]*(-s*(i == j) + c*skew[i][j] + s*a[i]*a[j]) + s*dskew[i][j]
            + v*(da[i]*a[j] + a[i]*da[j]);
  }
}

static void carry(const struct affine *m, const double p[3], double weight, double sum[3]) {
  for (int i = 0; i < 3; i++)
    sum[i] += weight*(m->a[i][0]*p[0] + m->a[i][1]*p[1] + m->a[i][2]*p[2] + m->a[i][3]);
}

static void skin(const struct ht *a, size_t vertex, const struct ht_work *r, double sum[3]) {
  sum[0] = sum[1] = sum[2] = 0;
  for (size_t i = a->first[vertex]; i < a->first[vertex + 1]; i++)
    carry(r->carried + a->influences[i].bone, a->positions + 3*vertex, a->influences[i].weight, sum);
  if (a->mirrored) sum[0] = -sum[0];
}

static double row_times(const double row[3], const double v[3]) {
  return row[0]*v[0] + row[1]*v[1] + row[2]*v[2];
}

/* Of one vertex the derivatives by theta, 3 x 26. */
static void skin_slopes(const struct ht *a, size_t vertex, double turned[3][3], double by[3][3][3],
                        const double sum[3],
                        const struct ht_work *r, double *restrict slopes) {
  double local[PARAMETERS][3] = {{0}};
  bool used[5] = {false};
  for (size_t i = a->first[vertex]; i < a->first[vertex + 1]; i++) {
    size_t finger, joint, bone = (size_t)a->influences[i].bone;
    if (!joint_of(bone, &finger, &joint)) continue;
    used[finger] = true;
    for (size_t j = 0; j < OWN; j++)
      carry(r->carried_slope + OWN*bone + j, a->positions + 3*vertex, a->influences[i].weight,
            local[6 + OWN*finger + j]);
  }
  memset(slopes, 0, 3*PARAMETERS*sizeof *slopes);
  for (int i = 0; i < 3; i++) {
    double *row = slopes + PARAMETERS*i;
    for (int k = 0; k < 3; k++) row[k] = row_times(by[k][i], sum);
    row[3 + i] = 1;
    for (int finger = 0; finger < 5; finger++)
      for (int j = 6 + OWN*finger; used[finger] && j < 6 + OWN*(finger + 1); j++) {
        const double d[3] = {a->mirrored ? -local[j][0] : local[j][0], local[j][1], local[j][2]};
        row[j] = row_times(turned[i], d);
      }
  }
}

static void pose(const struct ht *a, const double *x, const struct ht_work *r, bool derivative) {
  double turned[3][3], by[3][3][3], sum[3];
  for (size_t bone = 0; bone < a->bones; bone++) bone_pose(a, x, bone, r, derivative);
  rotation(x, turned, by);
  for (size_t v = 0; v < a->vertices; v++) {
    skin(a, v, r, sum);
    for (int i = 0; i < 3; i++) r->position[3*v + (size_t)i] = row_times(turned[i], sum) + x[3 + i];
    if (derivative) skin_slopes(a, v, turned, by, sum, r, r->slopes + 3*PARAMETERS*v);
  }
}

void ht_value(const struct ht *a, const double *x, double *error, const struct ht_work *work) {
  pose(a, x, work, false);
  for (size_t i = 0; i < a->errors; i++) {
    const double *u = x + PARAMETERS + 2*i, *p = work->position;
    const int c = a->correspondences[i], *t = a->with_us ? a->triangles[c] : NULL;
    for (size_t j = 0; j < 3; j++) {
      double place = t ? u[0]*p[3*(size_t)t[0] + j] + u[1]*p[3*(size_t)t[1] + j]
          + (1 - u[0] - u[1])*p[3*(size_t)t[2] + j]
        : p[3*(size_t)c + j];
      error[3*i + j] = a->points[3*i + j] - place;
    }
  }
}

void ht_jacobian(const struct ht *a, const double *x, double *restrict jacobian, const struct ht_work *work) {
  const size_t columns = a->with_us ? PARAMETERS + 2 : PARAMETERS;
  pose(a, x, work, true);
  for (size_t i = 0; i < 3*a->errors; i++) {
    const double *u = x + PARAMETERS + 2*(i/3), *slopes = work->slopes, *p = work->position;
    const int c = a->correspondences[i/3];
    double *row = jacobian + columns*i;
    if (!a->with_us) {
      const double *from = slopes + PARAMETERS*(3*(size_t)c + i%3);
      for (int j = 0; j < PARAMETERS; j++) row[j] = -from[j];
      continue;
    }
    const size_t v0 = 3*(size_t)a->triangles[c][0] + i%3, v1 = 3*(size_t)a->triangles[c][1] + i%3;
    const size_t v2 = 3*(size_t)a->triangles[c][2] + i%3;
    const double *d0 = slopes + PARAMETERS*v0, *d1 = slopes + PARAMETERS*v1, *d2 = slopes + PARAMETERS*v2;
    row[0] = p[v2] - p[v0];
    row[1] = p[v2] - p[v1];
    for (int j = 0; j < PARAMETERS; j++) row[2 + j] = -(u[0]*d0[j] + u[1]*d1[j] + (1 - u[0] - u[1])*d2[j]);
  }
}
