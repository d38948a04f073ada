/* reference_small.c -- hello, llsq, lse, det, ode, kmeans: closed forms, and elimination for determinants. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

/* --- hello ---------------------------------------------------------------------------------------------- */

static json_t *make_hello(chance *r, int scale) { return json_real(chance_uniform(r, -scale, scale)); }

static json_t *answer_hello(const json_t *input, int function) {
  const double x = json_number_value(input);
  return json_real(function == 0 ? x*x : 2*x);
}

const reference reference_hello = { "hello", { "square", "double" }, 1e-15, false, make_hello, answer_hello };

/* --- llsq: r[i] = sign t[i] - sum_k x[k] t[i]^k, gradient -sum_i r[i] t[i]^k ---------------------------- */

static json_t *make_llsq(chance *r, int scale) {
  json_t *x = chance_row(r, chance_integer(r, 1, 8*scale), -1, 1);
  return json_pack("{s:o, s:I}", "x", x, "n", (json_int_t)chance_integer(r, 2, 50*scale));
}

static json_t *answer_llsq(const json_t *input, int function) {
  int64_t m;
  double *x = flat_member(input, "x", &m), *gradient = take_memory((size_t)m, sizeof *gradient);
  long double *sum = take_memory((size_t)m, sizeof *sum), value = 0;
  const int64_t n = member_integer(input, "n");
  for (int64_t i = 0; i < n; i++) {
    const long double t = (long double)(2*i - (n - 1))/(long double)(n - 1);
    long double left = (t > 0) - (t < 0), power = 1;
    for (int64_t k = 0; k < m; k++, power *= t) left -= x[k]*power;
    power = 1;
    for (int64_t k = 0; k < m; k++, power *= t) sum[k] -= left*power;
    value += left*left/2;
  }
  for (int64_t k = 0; k < m; k++) gradient[k] = (double)sum[k];
  json_t *answer = function == 0 ? json_real((double)value) : number_list(gradient, m);
  free(x), free(gradient), free(sum);
  return answer;
}

const reference reference_llsq = { "llsq", { "primal", "gradient" }, 1e-10, false, make_llsq, answer_llsq };

/* --- lse: long double holds exp of everything that is drawn --------------------------------------------- */

static json_t *make_lse(chance *r, int scale) {
  json_t *x = chance_row(r, chance_integer(r, 1, 100*scale), -1000, 1000);
  if (json_array_size(x) > 1) json_array_set(x, 1, json_array_get(x, 0));
  return json_pack("{s:o}", "x", x);
}

static json_t *answer_lse(const json_t *input, int function) {
  int64_t n;
  double *x = flat_member(input, "x", &n), *gradient = take_memory((size_t)n, sizeof *gradient);
  long double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += expl(x[i]);
  for (int64_t i = 0; i < n; i++) gradient[i] = (double)(expl(x[i])/sum);
  json_t *answer = function == 0 ? json_real((double)logl(sum)) : number_list(gradient, n);
  free(x), free(gradient);
  return answer;
}

const reference reference_lse = { "lse", { "primal", "gradient" }, 1e-12, false, make_lse, answer_lse };

/* --- det: elimination with pivots ----------------------------------------------------------------------- */

static json_t *make_det(chance *r, int scale) {
  const int64_t n = chance_integer(r, 1, scale < 5 ? 2 + scale : 7);
  return json_pack("{s:o, s:I}", "A", chance_row(r, n*n, -1, 1), "ell", (json_int_t)n);
}

static void swap_rows(cplx *a, int64_t n, int64_t i, int64_t k) {
  for (int64_t c = 0; c < n; c++) {
    const cplx kept = a[i*n + c];
    a[i*n + c] = a[k*n + c], a[k*n + c] = kept;
  }
}

static void determinant(const void *problem, const cplx x[], cplx y[]) {
  const int64_t n = *(const int64_t *)problem;
  cplx *a = take_memory((size_t)(n*n), sizeof *a);
  for (int64_t i = 0; i < n*n; i++) a[i] = x[i];
  y[0] = 1;
  for (int64_t p = 0; p < n; p++) {
    int64_t best = p;
    for (int64_t i = p + 1; i < n; i++)
      if (fabsl(creall(a[i*n + p])) > fabsl(creall(a[best*n + p]))) best = i;
    if (best != p) swap_rows(a, n, p, best), y[0] = -y[0];
    y[0] *= a[p*n + p];
    for (int64_t i = p + 1; i < n; i++)
      for (int64_t c = n - 1; c >= p; c--) a[i*n + c] -= a[i*n + p]/a[p*n + p]*a[p*n + c];
  }
  free(a);
}

static json_t *answer_det(const json_t *input, int function) {
  const int64_t n = member_integer(input, "ell");
  const mapping f = { determinant, &n, n*n, 1 };
  double *a = flat_member(input, "A", NULL), *slopes = take_memory((size_t)(n*n), sizeof *slopes), value;
  mapping_value(&f, a, &value);
  mapping_slopes(&f, a, slopes);
  json_t *answer = function == 0 ? json_real(value) : number_list(slopes, n*n);
  free(a), free(slopes);
  return answer;
}

const reference reference_det = { "det", { "primal", "gradient" }, 1e-11, false, make_det, answer_det };

/* --- ode ------------------------------------------------------------------------------------------------ */

/* One step of the classical method on a linear equation with constant coefficients, y' = N (1, y), is p(h N)
 * for p(z) = 1 + z + z^2/2 + z^3/6 + z^4/24. N moves y[i - 1] to y[i] and weighs it by x[i], so after s steps
 * y[i] = x[0] .. x[i] c[i + 1], where c[k] is the coefficient of z^k in p(h z)^s. */
static json_t *make_ode(chance *r, int scale) {
  json_t *x = chance_row(r, chance_integer(r, 1, 10*scale), -2, 2);
  return json_pack("{s:o, s:I}", "x", x, "s", (json_int_t)chance_integer(r, 1, 6*scale));
}

static long double *coefficients(int64_t n, int64_t s) {
  long double *c = take_memory((size_t)n + 1, sizeof *c);
  const long double h = 2/(long double)s, p[5] = { 1, h, h*h/2, h*h*h/6, h*h*h*h/24 };
  c[0] = 1;
  for (int64_t step = 0; step < s; step++)
    for (int64_t k = n; k >= 0; k--)
      for (int64_t j = 1; j <= 4 && j <= k; j++) c[k] += p[j]*c[k - j];
  return c;
}

static json_t *answer_ode(const json_t *input, int function) {
  int64_t n;
  double *x = flat_member(input, "x", &n), *y = take_memory((size_t)n, sizeof *y);
  long double *c = coefficients(n, member_integer(input, "s")), product = 1;
  for (int64_t i = 0; i < n; i++) {
    product *= x[i];
    if (function == 0) y[i] = (double)(product*c[i + 1]);
  }
  for (int64_t i = 0; function == 1 && i < n; i++) {
    long double others = 1;
    for (int64_t k = 0; k < n; k++) others *= k == i ? 1 : x[k];
    y[i] = (double)(others*c[n]);
  }
  json_t *answer = number_list(y, n);
  free(x), free(y), free(c);
  return answer;
}

const reference reference_ode = { "ode", { "primal", "gradient" }, 1e-11, false, make_ode, answer_ode };

/* --- kmeans: gradient and Hessian are 2 n (c - mean) and 2 n for a centroid nearest to n points --------- */

static json_t *make_kmeans(chance *r, int scale) {
  const int64_t d = chance_integer(r, 1, 3*scale), k = chance_integer(r, 1, 5*scale),
                n = k + chance_integer(r, 0, 40*scale);
  json_t *points = chance_rows(r, n, d, 0, 1), *centroids = json_array();
  for (int64_t i = 0; i < k; i++) json_array_append(centroids, json_array_get(points, (size_t)i));
  return json_pack("{s:o, s:o}", "points", points, "centroids", centroids);
}

static int64_t nearest(const double *point, const double *centroids, int64_t k, int64_t d,
                       long double *apart) {
  int64_t best = 0;
  for (int64_t c = 0; c < k; c++) {
    long double square = 0;
    for (int64_t i = 0; i < d; i++) {
      const long double x = (long double)centroids[c*d + i] - point[i];
      square += x*x;
    }
    if (c == 0 || square < *apart) best = c, *apart = square;
  }
  return best;
}

static json_t *answer_kmeans(const json_t *input, int function) {
  int64_t n, k;
  double *points = flat_member(input, "points", &n), *centroids = flat_member(input, "centroids", &k);
  const int64_t d = (int64_t)json_array_size(json_array_get(json_object_get(input, "points"), 0));
  n /= d, k /= d;
  long double *mean = take_memory((size_t)(k*d), sizeof *mean), cost = 0, apart = 0;
  int64_t *members = take_memory((size_t)k, sizeof *members);
  for (int64_t i = 0; i < n; i++) {
    const int64_t c = nearest(points + i*d, centroids, k, d, &apart);
    cost += apart;
    members[c]++;
    for (int64_t j = 0; j < d; j++)
      mean[c*d + j] += ((long double)points[i*d + j] - mean[c*d + j])/(long double)members[c];
  }
  for (int64_t i = 0; i < k*d; i++) centroids[i] = (double)(centroids[i] - mean[i]);
  json_t *answer = function == 0 ? json_real((double)cost) : number_rows(centroids, k, d);
  free(points), free(centroids), free(mean), free(members);
  return answer;
}

const reference reference_kmeans = { "kmeans", { "cost", "dir" }, 1e-11, false, make_kmeans, answer_kmeans };
