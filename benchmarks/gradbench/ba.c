/* ba.c -- bundle adjustment: errors of the projections of points by cameras, and their sparse Jacobian.
 *
 * A camera is (rotation as axis times angle (3), centre (3), focal length, principal point (2), radial
 * distortion (2)). Observation i sees point i mod m by camera i mod n. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECTIVE, JACOBIAN };
enum { CAMERAS, POINTS, WEIGHTS, FEATURES, CAMERA_OF, POINT_OF, INPUTS };
enum { CAMERA = 11, POINT = 3, COLUMNS = CAMERA + POINT + 1, SHOWN = 2*COLUMNS };

typedef struct sizes { int64_t n, m, p; } sizes;

static void elements(ad_var x, int n, ad_var to[]) {
  for (int64_t i = 0; i < n; i++) to[i] = ad_at(x, 1, &i);
}

static ad_var dot(const ad_var x[3], const ad_var y[3]) {
  return ad_add(ad_add(ad_mul(x[0], y[0]), ad_mul(x[1], y[1])), ad_mul(x[2], y[2]));
}

/* Rodrigues' formula, x cos a + r cross x sin a / a + r (r.x) (1 - cos a)/a^2 with a = |r|; x + r cross x
 * where r = 0. */
static void rotate(const ad_var r[3], const ad_var x[3], ad_var to[3]) {
  const ad_var square = dot(r, r), turns = ad_not_equal(square, 0), safe = ad_select(turns, square, 1);
  const ad_var angle = ad_sqrt(safe), inverse = ad_reciprocal(angle), c = ad_cos(angle);
  const ad_var s = ad_mul(ad_sin(angle), inverse);
  const ad_var along = ad_mul(ad_mul(dot(r, x), ad_sub(1, c)), ad_square(inverse));
  for (int i = 0; i < 3; i++) {
    const int k = (i + 1)%3, l = (i + 2)%3;
    const ad_var cross = ad_sub(ad_mul(r[k], x[l]), ad_mul(r[l], x[k]));
    const ad_var turned = ad_add(ad_add(ad_mul(x[i], c), ad_mul(cross, s)), ad_mul(r[i], along));
    to[i] = ad_select(turns, turned, ad_add(x[i], cross));
  }
}

/* (camera, point, weight, feature) -> (weighted error of the projection (2), 1 - weight^2). */
static void reprojection(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var camera[CAMERA], point[3], feature[2], seen[3], error[2];
  (void)t, (void)context;
  elements(in[0], CAMERA, camera), elements(in[1], 3, point), elements(in[3], 2, feature);
  for (int i = 0; i < 3; i++) point[i] = ad_sub(point[i], camera[3 + i]);
  rotate(camera, point, seen);
  const ad_var inverse = ad_reciprocal(seen[2]), u = ad_mul(seen[0], inverse), v = ad_mul(seen[1], inverse),
               r2 = ad_add(ad_square(u), ad_square(v));
  const ad_var distortion = ad_add(1, ad_add(ad_mul(camera[9], r2), ad_mul(camera[10], ad_square(r2))));
  error[0] = ad_add(ad_mul(ad_mul(u, distortion), camera[6]), camera[7]);
  error[1] = ad_add(ad_mul(ad_mul(v, distortion), camera[6]), camera[8]);
  for (int i = 0; i < 2; i++) error[i] = ad_mul(in[2], ad_sub(error[i], feature[i]));
  out[0] = ad_stack(2, error, 0);
  out[1] = ad_sub(1, ad_square(in[2]));
}

/* From the Jacobian of that, blocks by camera, point and weight, what the sparse matrix has of it: two rows
 * (2, COLUMNS), and the last output by the weight. */
static void entries(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var block[6];
  const int64_t column[2] = { 2, 1 };
  (void)t;
  if (ad_function_apply(context, in, block) != AD_OK) return;
  const ad_var parts[3] = { block[0], block[1], ad_reshape(block[2], 2, column) };
  out[0] = ad_concat(3, parts, 1);
  out[1] = block[5];
}

/* Applies f to the camera, point, weight and feature of every observation. */
static void observations(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_map(context, (const ad_var[]){ ad_take(in[CAMERAS], in[CAMERA_OF], 0),
                                    ad_take(in[POINTS], in[POINT_OF], 0),
                                    in[WEIGHTS], in[FEATURES] }, out);
}

/* --- input: one camera, point, weight and feature, n, m, p and p times ---------------------------------- */

static void repeat(double *to, int64_t times, const double *from, size_t n) {
  for (int64_t i = 0; i < times; i++) memcpy(to + (size_t)i*n, from, n*sizeof *from);
}

static bool fill(job *j, const json_t *input, const sizes *s, const ad_type types[]) {
  static const char *const names[4] = { "cam", "x", "w", "feat" };
  const int64_t times[4] = { s->n, s->m, s->p, s->p }, want[4] = { CAMERA, POINT, 1, 2 };
  for (int i = 0; i < 4; i++) {
    int64_t count = 1;
    double *to = add_input(j, types[i]),
           *from = read_numbers(j, json_object_get(input, names[i]), names[i], i != WEIGHTS, &count);
    const bool fits = to && from && count == want[i];
    if (fits) repeat(to, times[i], from, (size_t)want[i]);
    free(from);
    if (!fits) return job_refuse(j, "%s does not have %d elements", names[i], (int)want[i]);
  }
  int64_t *camera = add_input(j, types[CAMERA_OF]), *point = camera ? add_input(j, types[POINT_OF]) : NULL;
  for (int64_t i = 0; point && i < s->p; i++) camera[i] = i%s->n, point[i] = i%s->m;
  return point != NULL;
}

/* --- the Jacobian as a matrix of compressed rows -------------------------------------------------------- */

typedef struct sparse { sizes s; int64_t *rows, *columns; double *values; } sparse;

static bool open_sparse(job *j, const sizes *s) {
  const size_t p = (size_t)s->p, rows = 3*p + 1, entries = (2*COLUMNS + 1)*p;
  sparse *m = malloc(sizeof *m + rows*sizeof *m->rows + entries*(sizeof *m->columns + sizeof *m->values));
  j->more = m;
  if (!m) return job_refuse(j, "out of memory");
  m->s = *s;
  m->rows = (int64_t *)(m + 1), m->columns = m->rows + rows, m->values = (double *)(m->columns + entries);
  return true;
}

/* Where the entries are: rows 2 i and 2 i + 1 are those of observation i, row 2 p + i that of its weight. */
static void place_entries(const job *j) {
  sparse *m = j->more;
  const int64_t p = m->s.p, *camera = j->in[CAMERA_OF], *point = j->in[POINT_OF];
  const int64_t points = CAMERA*m->s.n, weights = points + POINT*m->s.m;
  for (int64_t i = 0; i < 2*p; i++) {
    int64_t *column = m->columns + i*COLUMNS;
    m->rows[i] = i*COLUMNS;
    for (int64_t k = 0; k < CAMERA; k++) column[k] = CAMERA*camera[i/2] + k;
    for (int64_t k = 0; k < POINT; k++) column[CAMERA + k] = points + POINT*point[i/2] + k;
    column[COLUMNS - 1] = weights + i/2;
  }
  for (int64_t i = 0; i <= p; i++) {
    m->rows[2*p + i] = 2*p*COLUMNS + i;
    if (i < p) m->columns[2*p*COLUMNS + i] = weights + i;
  }
}

/* --- the job -------------------------------------------------------------------------------------------- */

/* The outputs of the Jacobian are the values of the sparse matrix, one behind the other. */
static bool place_outputs(job *j, const sizes *s) {
  if (j->function == OBJECTIVE) return true;
  if (!open_sparse(j, s)) return false;
  double *values = ((sparse *)j->more)->values;
  return place_output(j, values) && place_output(j, values + 2*COLUMNS*s->p);
}

static bool prepare(job *j, const json_t *input) {
  sizes s;
  const int64_t most = 1 << 28;
  if (!read_integer(j, input, "n", 1, most, &s.n) || !read_integer(j, input, "m", 1, most, &s.m)
      || !read_integer(j, input, "p", 1, most, &s.p)) return false;
  const ad_type types[INPUTS] = { AD_F64(s.n, CAMERA), AD_F64(s.m, POINT), AD_F64(s.p), AD_F64(s.p, 2),
                                  AD_I64(s.p), AD_I64(s.p) };
  const ad_type one[4] = { AD_F64(CAMERA), AD_F64(POINT), AD_F64(), AD_F64(2) };
  ad_function *each = ad_function_trace("reprojection", reprojection, NULL, 4, one, 2);
  if (each && j->function == JACOBIAN) {
    ad_function *f = each, *blocks = ad_function_jacobian(f, 3, (const int[]){ 0, 1, 2 });
    each = blocks ? ad_function_trace("entries", entries, blocks, 4, one, 2) : NULL;
    ad_function_free(blocks);
    ad_function_free(f);
  }
  ad_function *all = each ? ad_function_trace("ba", observations, each, INPUTS, types, 2) : NULL;
  ad_function_free(each);
  if (!place_outputs(j, &s)) {
    ad_function_free(all);
    return false;
  }
  if (!job_take(j, all) || !fill(j, input, &s, types)) return false;
  if (j->function == JACOBIAN) place_entries(j);
  return true;
}

static json_t *list_of(const int64_t *x, int64_t last) {
  json_t *list = json_array();
  for (int i = 0; list && i < SHOWN; i++) json_array_append_new(list, json_integer(x[i]));
  json_array_append_new(list, json_integer(x[last]));
  return list;
}

static json_t *answer(const job *j) {
  if (j->function == OBJECTIVE) {
    const int64_t p = ad_function_input_type(j->f, WEIGHTS).dim[0], two = 2;
    const double *error = j->out[0], *weight = j->out[1];
    return json_pack("{s:{s:o, s:I}, s:{s:f, s:I}}", "reproj_error", "elements", answer_array(error, 1, &two),
                     "repeated", (json_int_t)p, "w_err", "element", weight[0], "repeated", (json_int_t)p);
  }
  const sparse *m = j->more;
  const int64_t entries = (2*COLUMNS + 1)*m->s.p;
  const int64_t shown = SHOWN;
  json_t *values = answer_array(m->values, 1, &shown);
  json_array_append_new(values, json_real(m->values[entries - 1]));
  return json_pack("{s:o, s:o, s:o}", "rows", list_of(m->rows, 3*m->s.p), "cols",
                   list_of(m->columns, entries - 1), "vals", values);
}

const evaluation evaluation_ba = { "ba", { "objective", "jacobian" }, prepare, answer };
