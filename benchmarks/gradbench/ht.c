/* ht.c -- hand tracking: how far points seen are from the surface of a posed hand.
 *
 * theta is the rotation of the hand as axis times angle (3), its translation (3) and four angles for each
 * of five fingers. Bones make a tree; a vertex moves with the bones by its weights. A point belongs to a
 * vertex, or, where there are `us`, to the place (u, v, 1 - u - v) in a triangle.
 *
 * Points are rows, and a frame is four of them, (4, 3): its axes and its origin. What a bone carries has four
 * coordinates in the bone's frame, and a vertex is a sum over the few bones that carry it: a row of a sparse
 * matrix, whose columns are the rows of all frames. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECTIVE, JACOBIAN };
enum { THETA = 26, FINGERS = 5, MOST_BONES = 64 };
enum { RELATIVES, INVERSES, POSITIONS, WEIGHTS, SEEN, ARRAYS };

/* Rows of sums: entries start[i] <= e < start[i + 1], value[e] times row column[e]. */
typedef struct sums {
  int64_t rows, entries, *start, *column;
  double *value;
} sums;

typedef struct hand {
  int64_t bones, vertices, points;
  int64_t parent[MOST_BONES], *corner;   /* corner: vertices of points, (points) or (points, 3) */
  /* Bones by their distance from a root: order[level[l]] .. order[level[l + 1] - 1]; order[place[bone]] is
   * bone. */
  int64_t levels, level[MOST_BONES + 1], order[MOST_BONES], place[MOST_BONES];
  double *array[ARRAYS];
  bool mirrored, inside;                 /* inside: points lie in triangles */
  sums skin;                             /* rows: vertices, or corners of points where those are fewer */
  sums triangles;                        /* rows: points; columns: rows of skin; the values are variables */
} hand;

static ad_var element(ad_var x, int64_t i) { return ad_at(x, 1, &i); }

/* Rows of variables and numbers as one array. */
static ad_var matrix(int64_t n, const ad_var x[], int rank, const int64_t dim[]) {
  return ad_reshape(ad_stack((int)n, x, 0), rank, dim);
}

/* Of points as rows: rotation about an axis by its length; the identity where that is nearly nothing. */
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
      else e[3*i + k] = (k - i + 3)%3 == 1 ? ad_add(product, turn) : ad_sub(product, turn);
    }
  return ad_select(turns, matrix(9, e, 2, (const int64_t[]){ 3, 3 }), ad_eye(t, 3, 3, 0, AD_F64));
}

/* The angles about x and z of all bones, in order, from theta: fingers have two at their first joint, one at
 * two more. */
static void angles(ad_tape *t, const hand *h, ad_var theta, ad_var of[2]) {
  int64_t at[2][MOST_BONES] = { { 0 }, { 0 } }, next = 1 + 6;
  const ad_var parts[2] = { ad_zeros(t, AD_F64(1)), theta }, padded = ad_concat(2, parts, 0);
  for (int64_t finger = 0; finger < FINGERS; finger++)
    for (int64_t joint = 0; joint < 3; joint++) {
      const int64_t bone = 2 + 4*finger + joint;
      if (bone < h->bones) at[0][h->place[bone]] = next;
      next++;
      if (joint == 0 && bone < h->bones) at[1][h->place[bone]] = next;
      next += joint == 0;
    }
  for (int k = 0; k < 2; k++) of[k] = ad_take(padded, ad_constant(t, AD_I64(h->bones), at[k]), 0);
}

/* Rz Rx of every bone, transposed: (bones, 3, 3). */
static ad_var bends(ad_tape *t, const hand *h, ad_var theta) {
  ad_var angle[2];
  angles(t, h, theta, angle);
  const ad_var cx = ad_cos(angle[0]), sx = ad_sin(angle[0]), cz = ad_cos(angle[1]), sz = ad_sin(angle[1]);
  const ad_var e[9] = { cz, sz, ad_zeros(t, AD_F64(h->bones)),
                        ad_neg(ad_mul(sz, cx)), ad_mul(cz, cx), sx,
                        ad_mul(sz, sx), ad_neg(ad_mul(cz, sx)), cx };
  return ad_reshape(ad_stack(9, e, 1), 3, (const int64_t[]){ h->bones, 3, 3 });
}

/* (bones, 4, 3): each frame in that of its parent. The numbers are (bones, 4, 4), for points as columns. */
static ad_var local_frames(ad_tape *t, const hand *h, ad_var theta) {
  double axes[MOST_BONES][3][3], origin[MOST_BONES][1][3];
  for (int64_t b = 0; b < h->bones; b++)
    for (int i = 0; i < 3; i++) {
      const double *row = h->array[RELATIVES] + 16*h->order[b] + 4*i;
      for (int k = 0; k < 3; k++) axes[b][k][i] = row[k];
      origin[b][0][i] = row[3];
    }
  const ad_var parts[2] = {
    ad_matmul(bends(t, h, theta), ad_constant(t, AD_F64(h->bones, 3, 3), axes)),
    ad_constant(t, AD_F64(h->bones, 1, 3), origin)
  };
  return ad_concat(2, parts, 1);
}

/* Frames in the frames of their parents, (n, 4, 3) both, as the latter are. */
static ad_var placed(ad_var local, ad_var parents) {
  const ad_var frames = ad_matmul(local, ad_slice(parents, 1, 0, 3, 1));
  return ad_slice_add(frames, ad_slice(parents, 1, 3, 1, 1), 1, 3, 1);
}

/* The frames of all bones, in order, and the translation: (4 bones + 1, 3). */
static ad_var frames(ad_tape *t, const hand *h, ad_var theta) {
  const double mirror[9] = { h->mirrored ? -1 : 1, [4] = 1, [8] = 1 };
  const ad_var turn[3] = { element(theta, 0), element(theta, 1), element(theta, 2) }, local =
    local_frames(t, h, theta);
  const ad_var whole = ad_matmul(ad_constant(t, AD_F64(3, 3), mirror), rotation(t, turn));
  ad_var part[MOST_BONES + 1];
  for (int64_t l = 0; l < h->levels; l++) {
    const int64_t first = h->level[l], n = h->level[l + 1] - first;
    int64_t parent[MOST_BONES];
    part[l] = ad_slice(local, 0, first, n, 1);
    for (int64_t i = 0; i < n && l > 0; i++)
      parent[i] = h->place[h->parent[h->order[first + i]]] - h->level[l - 1];
    if (l > 0) part[l] = placed(part[l], ad_take(part[l - 1], ad_constant(t, AD_I64(n), parent), 0));
    else part[l] = ad_matmul(part[l], whole);
  }
  for (int64_t l = 0; l < h->levels; l++) part[l] = ad_reshape(part[l], 2, (const int64_t[]){ -1, 3 });
  part[h->levels] = ad_reshape(ad_slice(theta, 0, 3, 3, 1), 2, (const int64_t[]){ 1, 3 });
  return ad_concat((int)h->levels + 1, part, 0);
}

static ad_var apply_sums(ad_tape *t, const sums *s, ad_var value, ad_var x) {
  return ad_sparse_matmul(ad_constant(t, AD_I64(s->rows + 1), s->start),
                          ad_constant(t, AD_I64(s->entries), s->column), value, x);
}

/* (theta[, us]) -> errors (points, 3). Weights of corners are negative: a place is subtracted from what is
 * seen. */
static void objective(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const hand *h = context;
  const ad_var seen = ad_constant(t, AD_F64(h->points, 3), h->array[SEEN]);
  const ad_var weight = ad_constant(t, AD_F64(h->skin.entries), h->skin.value);
  const ad_var place = apply_sums(t, &h->skin, weight, frames(t, h, in[0]));
  if (!h->inside) {
    const bool few = h->skin.rows == h->points;
    out[0] = ad_sub(seen, few ? place : ad_take(place, ad_constant(t, AD_I64(h->points), h->corner), 0));
    return;
  }
  const ad_var rest = ad_sub(ad_sum(in[1], AD_AXES(1), true), 1), parts[2] = { ad_neg(in[1]), rest };
  const ad_var value = ad_reshape(ad_concat(2, parts, 1), 1, (const int64_t[]){ -1 });
  out[0] = ad_add(seen, apply_sums(t, &h->triangles, value, place));
}

/* The same of (0, 0, theta), so that the Jacobian has two columns for u and v in front. */
static void objective_behind(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var own[2] = { ad_slice(in[0], 0, 2, THETA, 1), in[1] };
  objective(t, own, out, context);
}

/* (points, 3, 2). A point depends on its own u and v alone: two directions for all points give these
 * columns. */
static ad_var by_place(ad_tape *t, const hand *h, ad_function *f, const ad_var in[]) {
  const int64_t dim[2] = { h->points, 2 };
  ad_var y, part[2];
  ad_function_apply(f, in, &y);
  for (int k = 0; k < 2; k++) {
    const double basis[2] = { k == 0, k == 1 };
    const ad_var direction = ad_broadcast_to(ad_constant(t, AD_F64(2), basis), 2, dim);
    ad_jvp(1, &in[1], &direction, 1, &y, &part[k]);
  }
  return ad_stack(2, part, 2);
}

/* (points, 3, columns). */
static void jacobian(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const hand *h = context;
  const ad_type types[2] = { AD_F64(THETA + 2*h->inside), AD_F64(h->points, 2) };
  ad_function *f = ad_function_trace("hand", h->inside ? objective_behind : objective, context,
                                     h->inside ? 2 : 1, types, 1);
  ad_function *by_theta = f ? ad_function_jacobian(f, 1, (const int[]){ 0 }) : NULL;
  const ad_var behind[2] = { ad_zeros(t, AD_F64(2)), in[0] };
  const ad_var x[2] = { h->inside ? ad_concat(2, behind, 0) : in[0], h->inside ? in[1] : in[0] };
  if (by_theta) ad_function_apply(by_theta, x, &out[0]);
  if (by_theta && h->inside) out[0] = ad_slice_add(out[0], by_place(t, h, f, x), 2, 0, 1);
  ad_function_free(by_theta);
  ad_function_free(f);
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

/* --- what follows from the model ------------------------------------------------------------------------ */

/* Bones by their distance from a root. */
static void order_bones(hand *h) {
  int64_t depth[MOST_BONES], n = 0;
  for (int64_t b = 0; b < h->bones; b++) depth[b] = h->parent[b] < 0 ? 0 : depth[h->parent[b]] + 1;
  for (h->levels = 0; n < h->bones; h->levels++) {
    h->level[h->levels] = n;
    for (int64_t b = 0; b < h->bones; b++)
      if (depth[b] == h->levels) h->order[n] = b, h->place[b] = n, n++;
  }
  h->level[h->levels] = n;
}

/* Where a vertex lies in the frame of a bone, times its weight there, as four entries. */
static void carry(hand *h, int64_t vertex, int64_t bone) {
  const double *inverse = h->array[INVERSES] + 16*bone, *at = h->array[POSITIONS] + 4*vertex;
  const double weight = h->array[WEIGHTS][vertex*h->bones + bone];
  sums *s = &h->skin;
  for (int i = 0; i < 4 && weight != 0; i++) {
    double sum = 0;
    for (int k = 0; k < 4; k++) sum += inverse[4*i + k]*at[k];
    s->column[s->entries] = 4*h->place[bone] + i;
    s->value[s->entries++] = weight*sum;
  }
}

/* Only vertices that points ask for are placed, unless that is more than all of them. */
static bool make_skin(job *j, hand *h) {
  const int64_t corners = h->points*(h->inside ? 3 : 1), most = h->vertices*(4*h->bones + 1);
  const bool few = corners < h->vertices;
  sums *s = &h->skin;
  s->rows = few ? corners : h->vertices;
  const size_t room = (size_t)(few ? corners*(4*h->bones + 1) : most) + 1;
  s->start = malloc((size_t)(s->rows + 1)*sizeof *s->start);
  s->column = malloc(room*sizeof *s->column);
  s->value = malloc(room*sizeof *s->value);
  if (!s->start || !s->column || !s->value) return job_refuse(j, "out of memory");
  for (int64_t i = 0; i < s->rows; i++) {
    s->start[i] = s->entries;
    for (int64_t b = 0; b < h->bones; b++) carry(h, few ? h->corner[i] : i, b);
    s->column[s->entries] = 4*h->bones;
    s->value[s->entries++] = 1;
  }
  s->start[s->rows] = s->entries;
  return true;
}

/* A point is a sum of three rows of the skin. */
static bool make_triangles(job *j, hand *h) {
  sums *s = &h->triangles;
  const bool few = h->skin.rows == 3*h->points;
  s->rows = h->points;
  s->entries = 3*h->points;
  s->start = malloc((size_t)(s->rows + 1)*sizeof *s->start);
  s->column = malloc((size_t)s->entries*sizeof *s->column);
  if (!s->start || !s->column) return job_refuse(j, "out of memory");
  for (int64_t i = 0; i <= s->rows; i++) s->start[i] = 3*i;
  for (int64_t e = 0; e < s->entries; e++) s->column[e] = few ? e : h->corner[e];
  return true;
}

static bool read_hand(job *j, const json_t *input, hand *h) {
  const json_t *data = json_object_get(input, "data");
  int64_t dim[2];
  if (!read_model(j, json_object_get(data, "model"), h)
      || !read_part(j, data, "points", 2, (const int64_t[]){ -1, 3 }, dim, &h->array[SEEN])) return false;
  h->points = dim[0];
  h->inside = json_array_size(json_object_get(input, "us")) > 0;
  if (h->points == 0) return job_refuse(j, "there are no points");
  if (!read_corners(j, data, h)) return false;
  order_bones(h);
  return make_skin(j, h) && (!h->inside || make_triangles(j, h));
}

static void free_hand(hand *h) {
  for (int k = 0; k < ARRAYS; k++) free(h->array[k]);
  free(h->corner);
  free(h->skin.start), free(h->skin.column), free(h->skin.value);
  free(h->triangles.start), free(h->triangles.column);
}

static bool record(job *j, hand *h) {
  const ad_type types[2] = { AD_F64(THETA), AD_F64(h->points, 2) };
  const bool value = j->function == OBJECTIVE;
  ad_function *f = ad_function_trace("ht", value ? objective : jacobian, h, h->inside ? 2 : 1, types, 1);
  return job_take(j, f);
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

const evaluation evaluation_ht = { "ht", { "objective", "jacobian" }, prepare, answer };
