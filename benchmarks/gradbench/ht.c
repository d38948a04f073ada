/* ht.c -- hand tracking: how far points seen are from the surface of a posed hand.
 *
 * theta is the rotation of the hand as axis times angle (3), its translation (3) and four angles for each
 * of five fingers. Bones make a tree; a vertex moves with the bones by its weights. A point belongs to a
 * vertex, or, where there are `us`, to the place (u, v, 1 - u - v) in a triangle. */
#include "job.h"

#include <stdlib.h>

enum { OBJECTIVE, JACOBIAN };
enum { THETA = 26, FINGERS = 5, MOST_BONES = 64 };
enum { RELATIVES, INVERSES, POSITIONS, WEIGHTS, SEEN, ARRAYS };

typedef struct hand {
  int64_t bones, vertices, points;
  int64_t parent[MOST_BONES], *corner;   /* corner: vertices of points, (points) or (points, 3) */
  double *array[ARRAYS];
  bool mirrored, inside;                 /* inside: points lie in triangles */
} hand;

static ad_var element(ad_var x, int64_t i) { return ad_at(x, 1, &i); }
static ad_var constant_of(ad_tape *t, const hand *h, int which, ad_type type) {
  return ad_constant(t, type, h->array[which]);
}

/* Rows of variables and numbers as one array. */
static ad_var matrix(int64_t n, const ad_var x[], int rank, const int64_t dim[]) {
  return ad_reshape(ad_stack((int)n, x, 0), rank, dim);
}

/* Rotation about an axis by its length; the identity where that is nearly nothing. */
static ad_var rotation(ad_tape *t, const ad_var r[3]) {
  const ad_var square = ad_add(ad_add(ad_square(r[0]), ad_square(r[1])), ad_square(r[2]));
  const ad_var turns = ad_greater_equal(square, 1e-8), angle = ad_sqrt(ad_select(turns, square, 1));
  const ad_var c = ad_cos(angle), s = ad_sin(angle), rest = ad_sub(1, c);
  ad_var axis[3], e[9];
  for (int i = 0; i < 3; i++) axis[i] = ad_div(r[i], angle);
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 3; k++) {
      const ad_var product = ad_mul(ad_mul(axis[i], axis[k]), rest),
                   turn = ad_mul(s, axis[(3 - i - k + 3)%3]);
      if (i == k) e[3*i + k] = ad_add(product, c);
      else e[3*i + k] = (k - i + 3)%3 == 1 ? ad_sub(product, turn) : ad_add(product, turn);
    }
  return ad_select(turns, matrix(9, e, 2, (const int64_t[]){ 3, 3 }), ad_eye(t, 3, 3, 0, AD_F64));
}

/* The angles about x, z and y of all bones, from theta: fingers have two at their first joint, one at two
 * more. */
static void angles(ad_tape *t, ad_var theta, int64_t bones, ad_var of[3]) {
  int64_t at[2][MOST_BONES] = { { 0 }, { 0 } }, next = 1 + 6;
  const ad_var parts[2] = { ad_zeros(t, AD_F64(1)), theta }, padded = ad_concat(2, parts, 0);
  for (int64_t finger = 0; finger < FINGERS; finger++)
    for (int64_t joint = 0; joint < 3; joint++) {
      const int64_t bone = 2 + 4*finger + joint;
      if (bone < bones) at[0][bone] = next;
      next++;
      if (joint == 0 && bone < bones) at[1][bone] = next;
      next += joint == 0;
    }
  for (int k = 0; k < 2; k++) of[k] = ad_take(padded, ad_constant(t, AD_I64(bones), at[k]), 0);
  of[2] = ad_zeros(t, AD_F64(bones));
}

/* Rz Ry Rx of every bone as the upper left of a (bones, 4, 4). */
static ad_var bends(ad_tape *t, ad_var theta, int64_t bones) {
  ad_var angle[3];
  angles(t, theta, bones, angle);
  const ad_var cx = ad_cos(angle[0]), sx = ad_sin(angle[0]), cz = ad_cos(angle[1]), sz = ad_sin(angle[1]),
               cy = ad_cos(angle[2]), sy = ad_sin(angle[2]), zero = ad_zeros(t, AD_F64(bones)),
               one = ad_ones(t, AD_F64(bones));
  const ad_var e[16] = {
    ad_mul(cz, cy), ad_sub(ad_mul(ad_mul(cz, sy), sx), ad_mul(sz, cx)),
    ad_add(ad_mul(ad_mul(cz, sy), cx), ad_mul(sz, sx)), zero,
    ad_mul(sz, cy), ad_add(ad_mul(ad_mul(sz, sy), sx), ad_mul(cz, cx)),
    ad_sub(ad_mul(ad_mul(sz, sy), cx), ad_mul(cz, sx)), zero,
    ad_neg(sy), ad_mul(cy, sx), ad_mul(cy, cx), zero,
    zero, zero, zero, one
  };
  return ad_reshape(ad_stack(16, e, 1), 3, (const int64_t[]){ bones, 4, 4 });
}

/* (bones, 3, 4): from the resting position of a vertex to where each bone takes it. */
static ad_var transforms(ad_tape *t, const hand *h, ad_var theta) {
  const ad_type each = AD_F64(h->bones, 4, 4);
  const ad_var relative = ad_matmul(constant_of(t, h, RELATIVES, each), bends(t, theta, h->bones));
  ad_var absolute[MOST_BONES];
  for (int64_t b = 0; b < h->bones; b++) {
    absolute[b] = element(relative, b);
    if (h->parent[b] >= 0) absolute[b] = ad_matmul(absolute[h->parent[b]], absolute[b]);
  }
  return ad_slice(ad_matmul(ad_stack((int)h->bones, absolute, 0), constant_of(t, h, INVERSES, each)), 1, 0, 3,
                  1);
}

/* The rows of (vertices, width) that the points ask for. */
static ad_var of_corners(ad_tape *t, const hand *h, ad_var rows) {
  const int64_t corners = h->points*(h->inside ? 3 : 1);
  return ad_take(rows, ad_constant(t, AD_I64(corners), h->corner), 0);
}

/* Where the vertices are that points ask for: (points, 3), or (3 points, 3). Only those are posed, unless that is
 * more than all of them. */
static ad_var posed_corners(ad_tape *t, const hand *h, ad_var theta) {
  const bool few = h->points*(h->inside ? 3 : 1) < h->vertices;
  const ad_var flat = ad_reshape(transforms(t, h, theta), 2, (const int64_t[]){ h->bones, 12 });
  ad_var weights = constant_of(t, h, WEIGHTS, AD_F64(h->vertices, h->bones));
  ad_var resting = constant_of(t, h, POSITIONS, AD_F64(h->vertices, 4));
  if (few) weights = of_corners(t, h, weights), resting = of_corners(t, h, resting);
  const ad_var frames = ad_reshape(ad_matmul(weights, flat), 3, (const int64_t[]){ -1, 3, 4 });
  ad_var place = ad_sum(ad_mul(frames, ad_expand(resting, 1)), AD_AXES(2), false);
  if (h->mirrored) place = ad_mul(place, ad_constant(t, AD_F64(3), (const double[]){ -1, 1, 1 }));
  const ad_var turn[3] = { element(theta, 0), element(theta, 1), element(theta, 2) };
  place = ad_add(ad_matmul(place, ad_transpose(rotation(t, turn), NULL)), ad_slice(theta, 0, 3, 3, 1));
  return few ? place : of_corners(t, h, place);
}

/* (theta[, us]) -> errors (points, 3). */
static void objective(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const hand *h = context;
  ad_var place = posed_corners(t, h, in[0]);
  if (h->inside) {
    const ad_var rest = ad_sub(1, ad_sum(in[1], AD_AXES(1), true)), parts[2] = { in[1], rest };
    const ad_var corners = ad_reshape(place, 3, (const int64_t[]){ h->points, 3, 3 });
    place = ad_sum(ad_mul(ad_expand(ad_concat(2, parts, 1), 2), corners), AD_AXES(1), false);
  }
  out[0] = ad_sub(constant_of(t, h, SEEN, AD_F64(h->points, 3)), place);
}

/* (points, 3, columns). A point depends on its own u and v alone: two directions give their columns. */
static void jacobian(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const hand *h = context;
  const ad_type types[2] = { AD_F64(THETA), AD_F64(h->points, 2) };
  ad_function *f = ad_function_trace("hand", objective, context, h->inside ? 2 : 1, types, 1);
  ad_function *by_theta = f ? ad_function_jacobian(f, 1, (const int[]){ 0 }) : NULL;
  ad_var part[3] = { ad_none(), ad_none(), ad_none() }, y = ad_none();
  if (by_theta) ad_function_apply(by_theta, in, &part[2]);
  if (by_theta && h->inside) {
    ad_function_apply(f, in, &y);
    for (int k = 0; k < 2; k++) {
      const double basis[2] = { k == 0, k == 1 };
      const ad_var direction = ad_broadcast_to(ad_constant(t, AD_F64(2), basis), 2, types[1].dim);
      ad_jvp(1, &in[1], &direction, 1, &y, &part[k]);
      part[k] = ad_expand(part[k], 2);
    }
  }
  ad_function_free(by_theta);
  ad_function_free(f);
  out[0] = h->inside ? ad_concat(3, part, 2) : part[2];
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* An array whose lengths are given, -1 for any; it becomes the hand's. */
static bool read_part(job *j, const json_t *from, const char *name, int rank, const int64_t want[],
                      int64_t dim[], double **to) {
  *to = read_numbers(j, json_object_get(from, name), name, rank, dim);
  for (int r = 0; *to && r < rank; r++)
    if (want[r] >= 0 && dim[r] != want[r])
      return job_refuse(j, "%s has %lld where %lld belong", name, (long long)dim[r], (long long)want[r]);
  return *to != NULL;
}

static bool is_index(double v, int64_t n) { return v >= 0 && v < (double)n && v == (double)(int64_t)v; }

static bool read_parents(job *j, const json_t *model, hand *h) {
  double *parents = NULL;
  int64_t count = 0;
  bool fine = read_part(j, model, "parents", 1, (const int64_t[]){ -1 }, &count, &parents);
  if (fine && (count < 1 || count > MOST_BONES))
    fine = job_refuse(j, "parents: from 1 to %d bones", MOST_BONES);
  for (int64_t b = 0; fine && b < count; b++) {
    if (parents[b] != -1 && !is_index(parents[b], b))
      fine = job_refuse(j, "parents: a bone comes before its parent");
    else h->parent[b] = (int64_t)parents[b];
  }
  h->bones = count;
  free(parents);
  return fine;
}

static bool read_model(job *j, const json_t *model, hand *h) {
  int64_t dim[3];
  if (!read_parents(j, model, h)) return false;
  const int64_t frames[3] = { h->bones, 4, 4 };
  if (!read_part(j, model, "base_relatives", 3, frames, dim, &h->array[RELATIVES])
      || !read_part(j, model, "inverse_base_absolutes", 3, frames, dim, &h->array[INVERSES])
      || !read_part(j, model, "base_positions", 2, (const int64_t[]){ -1, 4 }, dim, &h->array[POSITIONS]))
    return false;
  h->vertices = dim[0];
  h->mirrored = json_is_true(json_object_get(model, "is_mirrored"));
  return read_part(j, model, "weights", 2, (const int64_t[]){ h->vertices, h->bones }, dim,
                   &h->array[WEIGHTS]);
}

/* The vertices of the points, through their triangles where they lie inside. */
static bool read_corners(job *j, const json_t *data, hand *h) {
  double *at = NULL, *triangle = NULL;
  int64_t dim[2] = { 0, 0 }, width = h->inside ? 3 : 1;
  const json_t *model = json_object_get(data, "model");
  bool fine = read_part(j, data, "correspondences", 1, &h->points, dim, &at)
              && (!h->inside || read_part(j, model, "triangles", 2, (const int64_t[]){ -1, 3 }, dim,
                                          &triangle));
  h->corner = calloc((size_t)(h->points*width) + 1, sizeof *h->corner);
  if (!h->corner) fine = job_refuse(j, "out of memory");
  for (int64_t i = 0; fine && i < h->points*width; i++) {
    double v = at[i/width];
    if (h->inside && is_index(v, dim[0])) v = triangle[3*(int64_t)v + i%3];
    else if (h->inside) v = -1;
    if (!is_index(v, h->vertices))
      fine = job_refuse(j, "correspondences: there is no such triangle or vertex");
    else h->corner[i] = (int64_t)v;
  }
  free(at), free(triangle);
  return fine;
}

static bool read_hand(job *j, const json_t *input, hand *h) {
  const json_t *data = json_object_get(input, "data");
  int64_t dim[2];
  if (!read_model(j, json_object_get(data, "model"), h)
      || !read_part(j, data, "points", 2, (const int64_t[]){ -1, 3 }, dim, &h->array[SEEN])) return false;
  h->points = dim[0];
  h->inside = json_array_size(json_object_get(input, "us")) > 0;
  if (h->points == 0) return job_refuse(j, "there are no points");
  return read_corners(j, data, h);
}

static void free_hand(hand *h) {
  for (int k = 0; k < ARRAYS; k++) free(h->array[k]);
  free(h->corner);
}

static bool record(job *j, hand *h) {
  const ad_type types[2] = { AD_F64(THETA), AD_F64(h->points, 2) };
  const bool value = j->function == OBJECTIVE;
  ad_function *f = ad_function_trace("ht", value ? objective : jacobian, h, h->inside ? 2 : 1, types, 1);
  return job_take(j, f) && add_output(j, ad_function_output_type(f, 0));
}

static bool prepare(job *j, const json_t *input) {
  hand h = { .corner = NULL };
  int64_t dim[2];
  bool fine = read_array(j, input, "theta", 1, dim);
  if (fine && dim[0] != THETA) fine = job_refuse(j, "theta does not have %d elements", THETA);
  fine = fine && read_hand(j, input, &h);
  if (fine && h.inside) fine = read_array(j, input, "us", 2, dim);
  if (fine && h.inside && (dim[0] != h.points || dim[1] != 2))
    fine = job_refuse(j, "us does not fit the points");
  fine = fine && record(j, &h);
  free_hand(&h);
  return fine;
}

static json_t *answer(const job *j) {
  const ad_type type = ad_function_output_type(j->f, 0);
  const int64_t rows = type.dim[0]*type.dim[1], dim[2] = { rows, type.dim[2] };
  return answer_array(j->out[0], j->function == OBJECTIVE ? 1 : 2, dim);
}

const evaluation evaluation_ht = { "ht", { "objective", "jacobian" }, prepare, NULL, answer };
