/* reference_models.c -- gmm, ba, lstm: the objectives by their definitions, derivatives by complex steps. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const long double pi = 3.14159265358979323846264338327950288L;

/* --- gmm: densities of the normal and Wishart distributions, with the precision P = Q'Q written out ----- */

typedef struct mixture { int64_t d, k, n, m; double gamma, *points; } mixture;

static json_t *make_gmm(chance *r, int scale) {
  const int64_t d = chance_integer(r, 1, 2*scale), k = chance_integer(r, 1, 3*scale),
                n = chance_integer(r, 1, 20*scale);
  json_t *input = json_pack("{s:I, s:I, s:I, s:I, s:f}", "d", (json_int_t)d, "k", (json_int_t)k, "n",
                            (json_int_t)n, "m", (json_int_t)chance_integer(r, 0, 3), "gamma",
                            chance_uniform(r, 0.5, 2));
  json_object_set_new(input, "alpha", chance_row(r, k, -1, 1));
  json_object_set_new(input, "mu", chance_rows(r, k, d, 0, 1));
  json_object_set_new(input, "q", chance_rows(r, k, d, -1, 1));
  json_object_set_new(input, "l", chance_rows(r, k, d*(d - 1)/2, -1, 1));
  json_object_set_new(input, "x", chance_rows(r, n, d, -1, 2));
  return input;
}

/* P = Q'Q, row by row; Q has exp(q) on its diagonal and l below, column by column. */
static void precision(int64_t d, const cplx q[], const cplx l[], cplx p[]) {
  cplx *full = take_memory((size_t)(d*d), sizeof *full);
  for (int64_t column = 0; column < d; column++) {
    full[column*d + column] = cexpl(q[column]);
    for (int64_t row = column + 1; row < d; row++) full[row*d + column] = *l++;
  }
  for (int64_t i = 0; i < d; i++)
    for (int64_t k = 0; k < d; k++) {
      p[i*d + k] = 0;
      for (int64_t row = 0; row < d; row++) p[i*d + k] += full[row*d + i]*full[row*d + k];
    }
  free(full);
}

/* log det of a symmetric positive definite matrix, by elimination in a copy. */
static cplx log_determinant(int64_t d, const cplx p[]) {
  cplx *a = take_memory((size_t)(d*d), sizeof *a), sum = 0;
  memcpy(a, p, (size_t)(d*d)*sizeof *a);
  for (int64_t k = 0; k < d; k++) {
    sum += clogl(a[k*d + k]);
    for (int64_t i = k + 1; i < d; i++)
      for (int64_t c = d - 1; c >= k; c--) a[i*d + c] -= a[i*d + k]/a[k*d + k]*a[k*d + c];
  }
  free(a);
  return sum;
}

/* log f(P) of the Wishart distribution with V = I/gamma^2 and n = d + m + 1 degrees of freedom. */
static cplx log_wishart(const mixture *s, const cplx p[], cplx log_det) {
  const long double d = (long double)s->d, n = d + (long double)s->m + 1, gamma = s->gamma;
  cplx trace = 0;
  for (int64_t i = 0; i < s->d; i++) trace += p[i*s->d + i];
  long double log_gamma = d*(d - 1)/4*logl(pi);
  for (int64_t i = 0; i < s->d; i++) log_gamma += lgammal(n/2 - (long double)i/2);
  return (n - d - 1)/2*log_det - gamma*gamma/2*trace - n*d/2*logl(2) + n*d*logl(gamma) - log_gamma;
}

/* log of the normal density at x. */
static cplx log_normal(int64_t d, const double x[], const cplx mu[], const cplx p[], cplx log_det) {
  cplx square = 0;
  for (int64_t i = 0; i < d; i++)
    for (int64_t k = 0; k < d; k++) square += (x[i] - mu[i])*p[i*d + k]*(x[k] - mu[k]);
  return (log_det - square - (long double)d*logl(2*pi))/2;
}

/* x: alpha, mu, q, l. */
static void log_posterior(const void *problem, const cplx x[], cplx y[]) {
  const mixture *s = problem;
  const int64_t d = s->d, below = d*(d - 1)/2;
  const cplx *mu = x + s->k, *q = mu + s->k*d, *l = q + s->k*d;
  cplx *p = take_memory((size_t)(s->k*d*d), sizeof *p), *log_det = take_memory((size_t)s->k, sizeof *log_det),
       weights = 0;
  y[0] = 0;
  for (int64_t k = 0; k < s->k; k++) {
    precision(d, q + k*d, l + k*below, p + k*d*d);
    log_det[k] = log_determinant(d, p + k*d*d);
    y[0] += log_wishart(s, p + k*d*d, log_det[k]);
    weights += cexpl(x[k]);
  }
  for (int64_t i = 0; i < s->n; i++) {
    cplx density = 0;
    for (int64_t k = 0; k < s->k; k++)
      density += cexpl(x[k] + log_normal(d, s->points + i*d, mu + k*d, p + k*d*d, log_det[k]))/weights;
    y[0] += clogl(density);
  }
  free(p), free(log_det);
}

static json_t *gmm_parts(const mixture *s, const double *g) {
  const int64_t below = s->d*(s->d - 1)/2;
  const double *mu = g + s->k, *q = mu + s->k*s->d, *l = q + s->k*s->d;
  return json_pack("{s:o, s:o, s:o, s:o}", "alpha", number_list(g, s->k), "mu", number_rows(mu, s->k, s->d),
                   "q", number_rows(q, s->k, s->d), "l", number_rows(l, s->k, below));
}

static json_t *answer_gmm(const json_t *input, int function) {
  mixture s = { member_integer(input, "d"), member_integer(input, "k"), member_integer(input, "n"),
                member_integer(input, "m"), member_number(input, "gamma"), flat_member(input, "x", NULL) };
  json_t *all = json_pack("[O, O, O, O]", json_object_get(input, "alpha"), json_object_get(input, "mu"),
                          json_object_get(input, "q"), json_object_get(input, "l")), *answer;
  int64_t inputs;
  double *x = flat_numbers(all, &inputs), value;
  const mapping f = { log_posterior, &s, inputs, 1 };
  if (function == 0) {
    mapping_value(&f, x, &value);
    answer = json_real(value);
  } else {
    double *slopes = take_memory((size_t)inputs, sizeof *slopes);
    mapping_slopes(&f, x, slopes);
    answer = gmm_parts(&s, slopes);
    free(slopes);
  }
  json_decref(all);
  free(x), free(s.points);
  return answer;
}

const reference reference_gmm = { "gmm", { "objective", "jacobian" }, 1e-10, false, make_gmm, answer_gmm };

/* --- ba: the rotation is exp of the cross product's matrix K: I + sin(a)/a K + (1 - cos(a))/a^2 K^2 ----- */

enum { CAMERA = 11, BLOCK = CAMERA + 3 + 1, SHOWN = 30 };

static json_t *make_ba(chance *r, int scale) {
  json_t *camera = chance_row(r, CAMERA, -0.5, 0.5), *point = chance_row(r, 3, -1, 1);
  json_array_set_new(point, 2, json_real(chance_uniform(r, 4, 8)));
  json_array_set_new(camera, 6, json_real(chance_uniform(r, 1, 500)));
  if (chance_integer(r, 0, 3) == 0)
    for (size_t i = 0; i < 3; i++) json_array_set_new(camera, i, json_integer(0));
  return json_pack("{s:I, s:I, s:I, s:o, s:o, s:f, s:o}", "n", (json_int_t)chance_integer(r, 1, 3*scale), "m",
                   (json_int_t)chance_integer(r, 1, 20*scale), "p",
                   (json_int_t)chance_integer(r, SHOWN/3, 50*scale), "cam", camera, "x", point, "w",
                   chance_uniform(r, -2, 2), "feat", chance_row(r, 2, -3, 3));
}

static void rotate(const cplx r[3], const cplx x[3], cplx to[3]) {
  const cplx k[3][3] = { { 0, -r[2], r[1] }, { r[2], 0, -r[0] }, { -r[1], r[0], 0 } };
  const cplx square = r[0]*r[0] + r[1]*r[1] + r[2]*r[2], angle = csqrtl(square);
  const bool turns = creall(r[0]) != 0 || creall(r[1]) != 0 || creall(r[2]) != 0;
  const cplx one = turns ? csinl(angle)/angle : 1, two = turns ? (1 - ccosl(angle))/square : 0.5L;
  for (int i = 0; i < 3; i++) {
    to[i] = x[i];
    for (int j = 0; j < 3; j++) {
      cplx twice = 0;
      for (int m = 0; m < 3; m++) twice += k[i][m]*k[m][j];
      to[i] += (one*k[i][j] + two*twice)*x[j];
    }
  }
}

/* (camera, point, weight) -> (error of the projection (2), error of the weight); `problem` is the feature. */
static void observe(const void *problem, const cplx x[], cplx y[]) {
  const double *feature = problem;
  const cplx *point = x + CAMERA, weight = x[CAMERA + 3];
  const cplx centred[3] = { point[0] - x[3], point[1] - x[4], point[2] - x[5] };
  cplx seen[3];
  rotate(x, centred, seen);
  const cplx u = seen[0]/seen[2], v = seen[1]/seen[2], square = u*u + v*v;
  const cplx scale = x[6]*(1 + x[9]*square + x[10]*square*square);
  y[0] = weight*(scale*u + x[7] - feature[0]);
  y[1] = weight*(scale*v + x[8] - feature[1]);
  y[2] = 1 - weight*weight;
}

/* The first elements and the last of the lists of rows' beginnings, columns and values: all observations are
 * alike, so what is shown is rows 0 and 1, of the first observation by the first camera and point, and the
 * last row of weights. */
static json_t *ba_jacobian(const json_t *input, const double slopes[BLOCK*3]) {
  const int64_t n = member_integer(input, "n"), m = member_integer(input, "m"),
                p = member_integer(input, "p");
  json_t *rows = json_array(), *columns = json_array(), *values = json_array();
  for (int64_t i = 0; i < SHOWN; i++) {
    json_array_append_new(rows, json_integer(i <= 2*p ? i*BLOCK : 2*p*BLOCK + i - 2*p));
    const int64_t k = i%BLOCK;
    const int64_t column = k < CAMERA ? k : k < CAMERA + 3 ? CAMERA*n + k - CAMERA : CAMERA*n + 3*m;
    json_array_append_new(columns, json_integer(column));
    json_array_append_new(values, json_real(slopes[k*3 + i/BLOCK]));
  }
  json_array_append_new(rows, json_integer(2*p*BLOCK + p));
  json_array_append_new(columns, json_integer(CAMERA*n + 3*m + p - 1));
  json_array_append_new(values, json_real(slopes[(BLOCK - 1)*3 + 2]));
  return json_pack("{s:o, s:o, s:o}", "rows", rows, "cols", columns, "vals", values);
}

static json_t *answer_ba(const json_t *input, int function) {
  json_t *all = json_pack("[O, O, O]", json_object_get(input, "cam"), json_object_get(input, "x"),
                          json_object_get(input, "w"));
  double *x = flat_numbers(all, NULL), *feature = flat_member(input, "feat", NULL), value[3], slopes[BLOCK*3];
  const mapping f = { observe, feature, BLOCK, 3 };
  const json_int_t p = member_integer(input, "p");
  mapping_value(&f, x, value);
  mapping_slopes(&f, x, slopes);
  json_decref(all);
  free(x), free(feature);
  if (function == 1) return ba_jacobian(input, slopes);
  return json_pack("{s:{s:[f, f], s:I}, s:{s:f, s:I}}", "reproj_error", "elements", value[0], value[1],
                   "repeated", p, "w_err", "element", value[2], "repeated", p);
}

const reference reference_ba = { "ba", { "objective", "jacobian" }, 1e-11, false, make_ba, answer_ba };

/* --- lstm ----------------------------------------------------------------------------------------------- */

typedef struct sequence { int64_t layers, width, steps; const double *state, *text; } sequence;

static json_t *make_lstm(chance *r, int scale) {
  const int64_t layers = chance_integer(r, 1, 1 + scale), width = chance_integer(r, 1, 5*scale);
  return json_pack("{s:o, s:o, s:o, s:o}", "main_params", chance_rows(r, 2*layers, 4*width, -1, 1),
                   "extra_params", chance_rows(r, 3, width, -1, 1), "state",
                   chance_rows(r, 2*layers, width, -1, 1), "sequence",
                   chance_rows(r, chance_integer(r, 2, 15*scale), width, 0, 1));
}

static cplx sigmoid(cplx x) { return 1/(1 + cexpl(-x)); }

/* Unit i of a layer: weights are w[gate*width], biases b[gate*width]; gates: forget, in, out, change. */
static cplx unit(int64_t width, const cplx w[], const cplx b[], cplx input, cplx *hidden, cplx *memory) {
  const cplx forget = sigmoid(input*w[0] + b[0]), in = sigmoid(*hidden*w[width] + b[width]);
  const cplx out = sigmoid(input*w[2*width] + b[2*width]), change = ctanhl(*hidden*w[3*width] + b[3*width]);
  *memory = *memory*forget + in*change;
  *hidden = out*ctanhl(*memory);
  return *hidden;
}

/* x: main_params, extra_params. */
static void prediction_loss(const void *problem, const cplx x[], cplx y[]) {
  const sequence *s = problem;
  const int64_t width = s->width, cells = 2*s->layers*width;
  const cplx *extra = x + 4*cells;
  cplx *state = take_memory((size_t)cells, sizeof *state), *guess = take_memory((size_t)width, sizeof *guess),
       sum = 0;
  for (int64_t i = 0; i < cells; i++) state[i] = s->state[i];
  for (int64_t t = 0; t < s->steps; t++) {
    cplx normaliser = 2;
    for (int64_t i = 0; i < width; i++) {
      cplx signal = s->text[t*width + i]*extra[i];
      for (int64_t layer = 0; layer < s->layers; layer++) {
        const cplx *weights = x + 8*layer*width + i;
        signal = unit(width, weights, weights + 4*width, signal, &state[2*layer*width + i],
                      &state[(2*layer + 1)*width + i]);
      }
      guess[i] = signal*extra[width + i] + extra[2*width + i];
      normaliser += cexpl(guess[i]);
    }
    for (int64_t i = 0; i < width; i++) sum += s->text[(t + 1)*width + i]*(guess[i] - clogl(normaliser));
  }
  y[0] = -sum/(long double)(s->steps*width);
  free(state), free(guess);
}

static json_t *answer_lstm(const json_t *input, int function) {
  int64_t inputs, count;
  double *state = flat_member(input, "state", &count), *text = flat_member(input, "sequence", NULL), value;
  const int64_t layers = (int64_t)json_array_size(json_object_get(input, "state"))/2;
  const int64_t steps = (int64_t)json_array_size(json_object_get(input, "sequence")) - 1;
  const sequence s = { layers, count/(2*layers), steps, state, text };
  json_t *all = json_pack("[O, O]", json_object_get(input, "main_params"),
                          json_object_get(input, "extra_params"));
  double *x = flat_numbers(all, &inputs), *slopes = take_memory((size_t)inputs, sizeof *slopes);
  const mapping f = { prediction_loss, &s, inputs, 1 };
  if (function == 0) mapping_value(&f, x, &value);
  else mapping_slopes(&f, x, slopes);
  json_t *answer = function == 0 ? json_real(value) : number_list(slopes, inputs);
  json_decref(all);
  free(x), free(slopes), free(state), free(text);
  return answer;
}

const reference reference_lstm = { "lstm", { "objective", "jacobian" }, 1e-11, false, make_lstm,
                                   answer_lstm };
