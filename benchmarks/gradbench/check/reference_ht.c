/* reference_ht.c -- hand tracking, vertex by vertex; derivatives by complex steps. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

enum { THETA = 26, BONES = 22, FRAME = 16 };

typedef struct hand {
  int64_t points, vertices;
  const double *parents, *relatives, *inverses, *positions, *weights, *triangles, *at, *seen;
  bool mirrored, inside;
} hand;

/* --- input: a wrist, five fingers of four bones, a forearm ---------------------------------------------- */

static json_t *make_frame(chance *r) {
  json_t *frame = chance_rows(r, 3, 4, -1, 1);
  json_array_append_new(frame, json_pack("[i, i, i, i]", 0, 0, 0, 1));
  return frame;
}

static json_t *make_model(chance *r, int64_t vertices, int64_t triangles) {
  json_t *names = json_array(), *parents = json_array(), *relatives = json_array(), *inverses = json_array(),
         *corners = json_array(), *positions = chance_rows(r, vertices, 4, -1, 1);
  for (int64_t b = 0; b < BONES; b++) {
    json_array_append_new(names, json_string("bone"));
    json_array_append_new(parents, json_integer(b == 0 ? -1 : b%4 == 1 ? 0 : b - 1));
    json_array_append_new(relatives, make_frame(r));
    json_array_append_new(inverses, make_frame(r));
  }
  for (int64_t v = 0; v < vertices; v++)
    json_array_set_new(json_array_get(positions, (size_t)v), 3, json_integer(1));
  for (int64_t i = 0; i < triangles; i++) {
    json_t *corner = json_array();
    for (int k = 0; k < 3; k++)
      json_array_append_new(corner, json_integer(chance_integer(r, 0, vertices - 1)));
    json_array_append_new(corners, corner);
  }
  return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "bone_count", BONES, "bone_names", names,
                   "parents", parents, "base_relatives", relatives, "inverse_base_absolutes", inverses,
                   "base_positions", positions, "weights", chance_rows(r, vertices, BONES, -0.1, 0.3),
                   "triangles", corners, "is_mirrored", (int)chance_integer(r, 0, 1));
}

static json_t *make_ht(chance *r, int scale) {
  const int64_t vertices = chance_integer(r, 3, 20*scale), points = chance_integer(r, 1, 20*scale),
                triangles = 2*vertices;
  const bool inside = chance_integer(r, 0, 1);
  json_t *model = make_model(r, vertices, triangles), *at = json_array(),
         *theta = chance_row(r, THETA, -1, 1);
  for (int64_t i = 0; i < points; i++)
    json_array_append_new(at, json_integer(chance_integer(r, 0, (inside ? triangles : vertices) - 1)));
  if (chance_integer(r, 0, 3) == 0)
    for (size_t i = 0; i < 3; i++) json_array_set_new(theta, i, json_real(0));
  json_t *data = json_pack("{s:o, s:o, s:o}", "model", model, "correspondences", at, "points",
                           chance_rows(r, points, 3, -1, 1));
  return json_pack("{s:o, s:o, s:o}", "theta", theta, "data", data, "us",
                   chance_rows(r, inside ? points : 0, 2, 0, 0.5));
}

/* --- the pose ------------------------------------------------------------------------------------------- */

static void multiply(int64_t n, const cplx a[], const cplx b[], cplx to[]) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < n; k++) {
      to[i*n + k] = 0;
      for (int64_t j = 0; j < n; j++) to[i*n + k] += a[i*n + j]*b[j*n + k];
    }
}

/* Bends a bone by x about the first axis and then by z about the third: (4, 4). */
static void bend(cplx x, cplx z, cplx to[FRAME]) {
  const cplx first[FRAME] = { 1, 0, 0, 0, 0, ccosl(x), -csinl(x), 0, 0, csinl(x), ccosl(x), 0, 0, 0, 0, 1 };
  const cplx third[FRAME] = { ccosl(z), -csinl(z), 0, 0, csinl(z), ccosl(z), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1 };
  multiply(4, third, first, to);
}

/* From the resting hand to the posed one, for each bone. Angles 6 .. 25 are those of the fingers: x and z of
 * the first of their joints, x of two more; the fourth bone of a finger, the wrist and the forearm do not
 * bend. */
static void pose(const hand *h, const cplx theta[], cplx transforms[BONES][FRAME]) {
  cplx absolutes[BONES][FRAME];
  for (int b = 0; b < BONES; b++) {
    const int joint = b - 2 >= 0 && b - 2 < 20 ? (b - 2)%4 : 3, finger = (b - 2)/4;
    const cplx *angle = theta + 6 + 4*finger;
    cplx bent[FRAME], relative[FRAME], base[FRAME], inverse[FRAME];
    bend(joint == 3 ? 0 : angle[joint == 0 ? 0 : joint + 1], joint == 0 ? angle[1] : 0, bent);
    for (int i = 0; i < FRAME; i++)
      base[i] = h->relatives[b*FRAME + i], inverse[i] = h->inverses[b*FRAME + i];
    multiply(4, base, bent, relative);
    if (h->parents[b] < 0)
      for (int i = 0; i < FRAME; i++) absolutes[b][i] = relative[i];
    else multiply(4, absolutes[(int)h->parents[b]], relative, absolutes[b]);
    multiply(4, absolutes[b], inverse, transforms[b]);
  }
}

/* cos(a) I + sin(a)/a K + (1 - cos(a))/a^2 r r', and I where the angle is below 1e-4. */
static void rotation(const cplx r[3], cplx to[9]) {
  const cplx k[9] = { 0, -r[2], r[1], r[2], 0, -r[0], -r[1], r[0], 0 };
  const cplx square = r[0]*r[0] + r[1]*r[1] + r[2]*r[2], angle = csqrtl(square);
  const bool turns = creall(square) >= 1e-8L;
  for (int i = 0; i < 9; i++) {
    to[i] = i%4 == 0;
    if (!turns) continue;
    to[i] = ccosl(angle)*(i%4 == 0) + csinl(angle)/angle*k[i] + (1 - ccosl(angle))/square*r[i/3]*r[i%3];
  }
}

static void place_vertex(const hand *h, int64_t vertex, cplx transforms[BONES][FRAME], const cplx turn[9],
                         const cplx shift[3], cplx to[3]) {
  cplx blend[3] = { 0, 0, 0 };
  for (int b = 0; b < BONES; b++)
    for (int i = 0; i < 3; i++)
      for (int k = 0; k < 4; k++)
        blend[i] += h->weights[vertex*BONES + b]*transforms[b][4*i + k]*h->positions[4*vertex + k];
  if (h->mirrored) blend[0] = -blend[0];
  for (int i = 0; i < 3; i++)
    to[i] = turn[3*i]*blend[0] + turn[3*i + 1]*blend[1] + turn[3*i + 2]*blend[2] + shift[i];
}

/* x: (u, v) of all points where they lie inside triangles, theta. */
static void errors(const void *problem, const cplx x[], cplx y[]) {
  const hand *h = problem;
  const cplx *theta = x + (h->inside ? 2*h->points : 0);
  cplx transforms[BONES][FRAME], turn[9], corner[3];
  pose(h, theta, transforms);
  rotation(theta, turn);
  for (int64_t p = 0; p < h->points; p++) {
    const cplx share[3] = { h->inside ? x[2*p] : 1, h->inside ? x[2*p + 1] : 0,
                            h->inside ? 1 - x[2*p] - x[2*p + 1] : 0 };
    for (int i = 0; i < 3; i++) y[3*p + i] = h->seen[3*p + i];
    for (int k = 0; k < (h->inside ? 3 : 1); k++) {
      const int64_t at = (int64_t)h->at[p], vertex = h->inside ? (int64_t)h->triangles[3*at + k] : at;
      place_vertex(h, vertex, transforms, turn, theta + 3, corner);
      for (int i = 0; i < 3; i++) y[3*p + i] -= share[k]*corner[i];
    }
  }
}

/* --- the answer ----------------------------------------------------------------------------------------- */

static hand read_hand(const json_t *input) {
  const json_t *data = json_object_get(input, "data"), *model = json_object_get(data, "model");
  hand h = { .parents = flat_member(model, "parents", NULL),
             .relatives = flat_member(model, "base_relatives", NULL),
             .inverses = flat_member(model, "inverse_base_absolutes", NULL),
             .positions = flat_member(model, "base_positions", NULL),
             .weights = flat_member(model, "weights", NULL),
             .triangles = flat_member(model, "triangles", NULL),
             .at = flat_member(data, "correspondences", NULL),
             .seen = flat_member(data, "points", NULL) };
  h.points = (int64_t)json_array_size(json_object_get(data, "points"));
  h.vertices = (int64_t)json_array_size(json_object_get(model, "base_positions"));
  h.mirrored = json_is_true(json_object_get(model, "is_mirrored"));
  h.inside = json_array_size(json_object_get(input, "us")) > 0;
  return h;
}

static void free_hand(hand *h) {
  const double *owned[] = { h->parents, h->relatives, h->inverses, h->positions, h->weights, h->triangles,
                            h->at, h->seen };
  for (size_t i = 0; i < sizeof owned/sizeof *owned; i++) free((void *)owned[i]);
}

/* Rows are the errors, columns u and v of the row's own point (where there are any), then theta. */
static json_t *jacobian_rows(const hand *h, const double *slopes) {
  const int64_t errors_count = 3*h->points, first = h->inside ? 2 : 0;
  json_t *rows = json_array();
  for (int64_t row = 0; row < errors_count; row++) {
    double entries[2 + THETA];
    for (int64_t k = 0; k < first; k++) entries[k] = slopes[(2*(row/3) + k)*errors_count + row];
    for (int64_t k = 0; k < THETA; k++)
      entries[first + k] = slopes[((h->inside ? 2*h->points : 0) + k)*errors_count + row];
    json_array_append_new(rows, number_list(entries, first + THETA));
  }
  return rows;
}

static json_t *answer_ht(const json_t *input, int function) {
  hand h = read_hand(input);
  json_t *all = json_pack("[O, O]", json_object_get(input, "us"), json_object_get(input, "theta")), *answer;
  int64_t inputs;
  double *x = flat_numbers(all, &inputs);
  const mapping f = { errors, &h, inputs, 3*h.points };
  double *result = take_memory((size_t)(f.outputs*(function == 0 ? 1 : inputs)), sizeof *result);
  if (function == 0) mapping_value(&f, x, result);
  else mapping_slopes(&f, x, result);
  answer = function == 0 ? number_list(result, f.outputs) : jacobian_rows(&h, result);
  json_decref(all);
  free_hand(&h);
  free(x), free(result);
  return answer;
}

const reference reference_ht = { "ht", { "objective", "jacobian" }, 1e-11, false, make_ht, answer_ht };
