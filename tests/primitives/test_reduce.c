/* test_reduce.c -- reductions over axes and scans along one: values against long double, bits, conventions
 * at ties, zeros and infinities, messages. Derivatives away from those are in test_structured.c. */
#include "primitives/array_checks.h"
#include "primitives/axes.h"
#include "primitives/reduce.h"
#include "tape/tape.h"

#include <float.h>
/* The library's OpenMP, if it has one: tests are compiled without. */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

/* --- oracles: n elements that come to one element of z -------------------------------------------------- */

typedef long double oracle(int64_t n, const long double *x);

static long double sum_of(int64_t n, const long double *x) {
  long double s = 0;
  for (int64_t i = 0; i < n; i++) s += x[i];
  return s;
}
static long double prod_of(int64_t n, const long double *x) {
  long double p = 1;
  for (int64_t i = 0; i < n; i++) p *= x[i];
  return p;
}
static long double mean_of(int64_t n, const long double *x) { return sum_of(n, x)/(long double)n; }
static long double variance_of(int64_t n, const long double *x) {
  long double m = mean_of(n, x), s = 0;
  for (int64_t i = 0; i < n; i++) s += (x[i] - m)*(x[i] - m);
  return s/(long double)n;
}
static long double least_of(int64_t n, const long double *x) {
  long double m = NAN;
  for (int64_t i = 0; i < n; i++) m = fminl(m, x[i]);
  return m;
}
static long double most_of(int64_t n, const long double *x) {
  long double m = NAN;
  for (int64_t i = 0; i < n; i++) m = fmaxl(m, x[i]);
  return m;
}
static long double place_of(int64_t n, const long double *x, long double m) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] == m) return (long double)i;
  return 0;
}
static long double argmin_of(int64_t n, const long double *x) { return place_of(n, x, least_of(n, x)); }
static long double argmax_of(int64_t n, const long double *x) { return place_of(n, x, most_of(n, x)); }
static long double any_of(int64_t n, const long double *x) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] != 0) return 1;
  return 0;
}
static long double all_of(int64_t n, const long double *x) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] == 0) return 0;
  return 1;
}
static long double logsumexp_of(int64_t n, const long double *x) {
  long double m = most_of(n, x), s = 0;
  for (int64_t i = 0; i < n; i++)
    if (isnan(x[i])) return NAN;
  if (n == 0) return -INFINITY;
  if (isinf(m)) return m;
  for (int64_t i = 0; i < n; i++) s += expl(x[i] - m);
  return m + logl(s);
}
static long double norm_of(int64_t n, const long double *x) {
  long double s = 0;
  for (int64_t i = 0; i < n; i++) s += x[i]*x[i];
  return sqrtl(s);
}

static ad_var plain_variance(ad_var x, ad_axes axes, bool keep) { return ad_variance(x, axes, keep, 0); }
static ad_var argmin_along(ad_var x, ad_axes axes, bool keep) { return ad_argmin(x, axes.axis[0], keep); }
static ad_var argmax_along(ad_var x, ad_axes axes, bool keep) { return ad_argmax(x, axes.axis[0], keep); }

/* kind: the dtype of z is SAME as x's; WIDE, i64 for integers; REAL, f64 for integers; TRUTH bool; PLACE
 * i64, of one axis. */
enum { SAME, WIDE, REAL, TRUTH, PLACE };
enum { NEEDS_ELEMENTS = 1, EXACT = 2 };
static const struct reduction_case {
  const char *name;
  ad_var (*record)(ad_var x, ad_axes axes, bool keep);
  oracle *value;
  int kind;
  unsigned flags;
} cases[] = {
  { "sum", ad_sum, sum_of, WIDE, 0 },
  { "prod", ad_prod, prod_of, WIDE, 0 },
  { "mean", ad_mean, mean_of, REAL, 0 },
  { "variance", plain_variance, variance_of, REAL, 0 },
  { "reduce_min", ad_reduce_min, least_of, SAME, NEEDS_ELEMENTS | EXACT },
  { "reduce_max", ad_reduce_max, most_of, SAME, NEEDS_ELEMENTS | EXACT },
  { "argmin", argmin_along, argmin_of, PLACE, NEEDS_ELEMENTS | EXACT },
  { "argmax", argmax_along, argmax_of, PLACE, NEEDS_ELEMENTS | EXACT },
  { "any", ad_any, any_of, TRUTH, EXACT },
  { "all", ad_all, all_of, TRUTH, EXACT },
  { "logsumexp", ad_logsumexp, logsumexp_of, REAL, 0 },
  { "norm", ad_norm, norm_of, REAL, 0 },
};
enum { CASES = sizeof cases/sizeof cases[0] };

static ad_dtype result_dtype(int kind, ad_dtype x) {
  if (kind == TRUTH) return AD_BOOL;
  if (kind == PLACE) return AD_I64;
  if (kind == WIDE && x < AD_F32) return AD_I64;
  return kind == REAL && x < AD_F32 ? AD_F64 : x;
}

/* --- values --------------------------------------------------------------------------------------------- */

static double uniform(double lo, double hi) { return lo + (hi - lo)*(double)(random_bits() >> 11)/0x1p53; }

/* Floats: uniform numbers, many of them equal where `few`, with nan and infinities among them where `odd`. */
static void *mixed_data(ad_type type, bool few, bool odd) {
  void *data = random_data(type);
  for (int64_t i = 0; i < ad_type_count(type) && type.dtype >= AD_F32; i++) {
    if (!few) set_element(type.dtype, data, i, uniform(-2, 2));
    if (odd && below(4) == 0)
      set_element(type.dtype, data, i, (double[]){ NAN, INFINITY, -INFINITY, 0 }[below(4)]);
  }
  for (int64_t i = 0; i < ad_type_count(type) && type.dtype < AD_F32 && type.dtype > AD_BOOL; i++)
    if (!few) set_element(type.dtype, data, i, (double)(below(2) ? 1 : below(5) - 2));
  return data;
}

/* The elements of x that come to each element of z, z in row-major order: column[j] is where element j's
 * begin. */
static long double *columns_of(ad_type x, unsigned mask, const void *data, int64_t *columns, int64_t *each) {
  ad_type z = axes_reduce(x, mask, true);
  int64_t count = ad_type_count(x), index[AD_MAX_RANK];
  *columns = ad_type_count(z);
  *each = reduction_count(&x, mask);
  long double *out = calloc((size_t)count + 1, sizeof *out);
  int64_t *used = calloc((size_t)*columns + 1, sizeof *used);
  if (!out || !used) abort();
  for (int64_t i = 0; i < count; i++) {
    unravel(x, i, index);
    for (int d = 0; d < x.rank; d++)
      if (mask >> d & 1) index[d] = 0;
    int64_t j = ravel(z, index);
    out[j * *each + used[j]++] = x.dtype == AD_I64 ? (long double)((const int64_t *)data)[i]
                                                   : element(x.dtype, data, i);
  }
  free(used);
  return out;
}

static bool near(ad_dtype dtype, double got, long double want, double slack) {
  if (isnan(want)) return isnan(got);
  if (isinf(want) || isinf(got)) return (long double)got == want;
  double eps = dtype == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
  double least = dtype == AD_F32 ? FLT_MIN : DBL_MIN;
  return fabsl((long double)got - want) <= (long double)(slack*eps + least);
}

/* What an error of a few roundings in the elements would do to z. */
static double slack_of(const struct reduction_case *c, int64_t n, const long double *x, long double z) {
  double size = 1;
  if (c->flags & EXACT) return 0;
  for (int64_t i = 0; i < n; i++) size = fmax(size, (double)fabsl(x[i]));
  if (c->value == prod_of) return (double)(n + 4)*fabs((double)z);
  if (c->value == logsumexp_of) return 4*(size + fabs((double)z));
  if (c->value == variance_of) return 8*(size*size + fabs((double)z));
  return (c->value == sum_of ? 8 + sqrt((double)n) : 4)*fmax(size, fabs((double)z));
}

static void check_reduction(const struct reduction_case *c, ad_tape *t, ad_type type, unsigned mask,
                            ad_axes axes, bool keep, const void *data) {
  ad_var x = ad_array(t, type, data), z = c->record(x, axes, keep);
  ad_type want = axes_reduce(type, mask, keep);
  int64_t columns, each;
  char text[192];
  want.dtype = result_dtype(c->kind, type.dtype);
  if (!check_type(t, z, want, c->name)) {
    ad_tape_clear(t);
    return;
  }
  long double *column = columns_of(type, mask, data, &columns, &each);
  void *got = read_all(z);
  bool good = got != NULL;
  for (int64_t j = 0; good && j < columns; j++) {
    long double value = c->value(each, column + j*each);
    double slack = slack_of(c, each, column + j*each, value), g = element(want.dtype, got, j);
    good = near(want.dtype, g, value, slack);
    if (!good) printf("%s of %s, mask %u, element %lld: %.17g, not %.17Lg\n", c->name,
                      ad_type_print(type, text, sizeof text), mask, (long long)j, g, value);
  }
  check(good, c->name);
  free(got);
  free(column);
}

/* The axes of the mask in a random order, some of them counted from the end. */
static ad_axes axes_of_mask(unsigned mask, int rank) {
  ad_axes axes = { 0, { 0 } };
  for (int d = 0; d < rank; d++)
    if (mask >> d & 1) axes.axis[axes.count++] = below(2) ? d : d - rank;
  for (int i = axes.count - 1; i > 0; i--) {
    int j = (int)below(i + 1), a = axes.axis[i];
    axes.axis[i] = axes.axis[j];
    axes.axis[j] = a;
  }
  return axes;
}

static void random_reduction(const struct reduction_case *c, ad_dtype dtype, int trial) {
  ad_tape *t = ad_tape_new();
  ad_type type = random_type(dtype, c->kind == PLACE, 8);
  unsigned mask = (unsigned)below((int64_t)1 << type.rank);
  if (c->kind == PLACE) mask = 1u << below(type.rank);
  bool all = c->kind != PLACE && trial%5 == 0, few = trial%2 == 0;
  bool odd = (c->flags & EXACT || c->value == logsumexp_of) && trial%3 == 0;
  if (all) mask = (1u << type.rank) - 1;
  if (c->flags & NEEDS_ELEMENTS && reduction_count(&type, mask) == 0)
    for (int d = 0; d < type.rank; d++) type.dim[d] += type.dim[d] == 0;
  void *data = mixed_data(type, few && c->value != prod_of, odd);
  check_reduction(c, t, type, mask, all ? AD_ALL_AXES : axes_of_mask(mask, type.rank), below(2) != 0, data);
  free(data);
  ad_tape_free(t);
}

static long double *scan_of(ad_type type, int axis, const void *data, bool product) {
  int64_t n = type.dim[axis], inner = axes_product(&type, axis + 1, type.rank), count = ad_type_count(type);
  long double *z = calloc((size_t)count + 1, sizeof *z);
  if (!z) abort();
  for (int64_t i = 0; i < count; i++) {
    long double x = element(type.dtype, data, i);
    bool first = i/inner%n == 0;
    z[i] = first ? x : product ? z[i - inner]*x : z[i - inner] + x;
  }
  return z;
}

static void random_scan(ad_dtype dtype, bool product) {
  ad_tape *t = ad_tape_new();
  ad_type type = random_type(dtype, 1, 6), want = type;
  const char *name = product ? "cumprod" : "cumsum";
  int axis = (int)below(type.rank);
  void *data = mixed_data(type, false, false);
  ad_var x = ad_array(t, type, data);
  int given = below(2) ? axis : axis - type.rank;
  ad_var z = product ? ad_cumprod(x, given) : ad_cumsum(x, given);
  want.dtype = dtype < AD_F32 ? AD_I64 : dtype;
  if (check_type(t, z, want, name)) {
    void *got = read_all(z);
    long double *value = scan_of(type, axis, data, product);
    bool good = got != NULL;
    for (int64_t i = 0; good && i < ad_type_count(type); i++)
      good = near(want.dtype, element(want.dtype, got, i), value[i], 8*fmax(2, (double)fabsl(value[i])));
    check(good, name);
    free(value);
    free(got);
  }
  free(data);
  ad_tape_free(t);
}

static void test_random_values(void) {
  for (int i = 0; i < CASES; i++)
    for (int d = AD_BOOL; d < AD_DTYPES; d++)
      for (int trial = 0; trial < 60; trial++) random_reduction(&cases[i], (ad_dtype)d, trial);
  for (int d = AD_BOOL; d < AD_DTYPES; d++)
    for (int trial = 0; trial < 60; trial++) random_scan((ad_dtype)d, trial%2 == 0);
}

/* Shapes that take every way through the walk: split rows, tiles of columns, short lines, outer axes of both
 * kinds. */
static void test_big_arrays(void) {
  static const struct { int rank; int64_t dim[4]; unsigned mask;
  } shapes[] = {
    { 1, { 150001 }, 1 },        { 2, { 30000, 5 }, 1 },       { 2, { 5, 30000 }, 1 },
    { 2, { 30000, 5 }, 2 },      { 2, { 300, 400 }, 1 },       { 2, { 300, 400 }, 2 },
    { 3, { 40, 7, 500 }, 5 },    { 3, { 40, 7, 500 }, 2 },     { 3, { 20, 130, 50 }, 2 },
    { 4, { 9, 20, 30, 21 }, 5 }, { 4, { 9, 20, 30, 21 }, 10 }, { 2, { 3, 513 }, 2 },
    { 2, { 512, 3 }, 1 },        { 2, { 1025, 65 }, 1 },       { 2, { 17, 64 }, 1 },
    { 2, { 2, 1024 }, 2 },
  };
  for (size_t s = 0; s < sizeof shapes/sizeof shapes[0]; s++)
    for (int i = 0; i < CASES; i++) {
      ad_dtype dtype = (s + (size_t)i)%2 ? AD_F64 : AD_F32;
      ad_type type = ad_type_make(dtype, shapes[s].rank, shapes[s].dim);
      unsigned mask = shapes[s].mask;
      if (cases[i].kind == PLACE && (mask & (mask - 1))) continue;
      ad_tape *t = ad_tape_new();
      void *data = mixed_data(type, false, false);
      for (int64_t k = 0; k < ad_type_count(type) && cases[i].value == prod_of; k++)
        set_element(dtype, data, k, (below(2) ? 1 : -1)*uniform(.99, 1.0101));
      check_reduction(&cases[i], t, type, mask, axes_of_mask(mask, type.rank), true, data);
      free(data);
      ad_tape_free(t);
    }
}

/* Rows of few and of many columns, longer and shorter than a tile, with ties, nan and infinities. */
static void test_places_in_columns(void) {
  static const int64_t widths[] = { 1, 7, 64, 255, 256, 257, 515 };
  for (int i = 0; i < CASES; i++)
    for (int d = AD_BOOL; d < AD_DTYPES && cases[i].kind == PLACE; d++)
      for (size_t k = 0; k < 3*sizeof widths/sizeof widths[0]; k++) {
        ad_tape *t = ad_tape_new();
        const int64_t dim[2] = { 1 + (int64_t)(k%3)*9, widths[k/3] };
        const ad_type type = ad_type_make((ad_dtype)d, 2, dim);
        void *data = mixed_data(type, k%2 == 0, true);
        check_reduction(&cases[i], t, type, 1, axes_of_mask(1, 2), false, data);
        free(data);
        ad_tape_free(t);
      }
}

/* --- bits ----------------------------------------------------------------------------------------------- */

enum { MANY = 70000 };
static double many[MANY];

static double reduced(const struct reduction_case *c, int rank, const int64_t dim[], unsigned mask,
                      int64_t at, const double *data) {
  ad_tape *t = ad_tape_new();
  ad_var z = c->record(ad_array(t, ad_type_make(AD_F64, rank, dim), data), axes_of_mask(mask, rank), false);
  void *out = read_all(z);
  double value = out ? element(ad_type_of(z).dtype, out, at) : NAN;
  free(out);
  ad_tape_free(t);
  return value;
}

/* The same numbers as a row, as a column among others, and spread over two axes. */
static void test_bits_do_not_depend_on_the_layout(void) {
  static double wide[3*MANY];
  for (int i = 0; i < CASES; i++) {
    const struct reduction_case *c = &cases[i];
    if (c->kind == PLACE || c->kind == TRUTH) continue;
    for (int64_t n = 1; n <= MANY; n = n*3 + 1) {
      for (int64_t k = 0; k < n; k++) {
        many[k] = c->value == prod_of ? uniform(.9, 1.1) : uniform(-1, 1);
        for (int j = 0; j < 3; j++) wide[3*k + j] = j == 1 ? many[k] : uniform(-1, 1);
      }
      double row = reduced(c, 1, &n, 1, 0, many), column = reduced(c, 2, (int64_t[]){ n, 3 }, 1, 1, wide);
      check(row == column, c->name);
      if (n%2) continue;
      check(row == reduced(c, 3, (int64_t[]){ 2, 1, n/2 }, 5, 0, many), c->name);
    }
  }
}

/* Zeros of both signs are equal: which of them is the least and the greatest depends on the tree alone. */
static void test_signs_of_zeros(void) {
  static double wide[3*MANY];
  for (int i = 0; i < CASES; i++) {
    const struct reduction_case *c = &cases[i];
    if (c->value != least_of && c->value != most_of) continue;
    for (int64_t n = 1; n < 4000; n = n < 40 ? n + 1 : 2*n + 7) {
      for (int64_t k = 0; k < n; k++) {
        many[k] = below(2) ? 0.0 : -0.0;
        for (int j = 0; j < 3; j++) wide[3*k + j] = j == 1 ? many[k] : uniform(-1, 1);
      }
      const double row = reduced(c, 1, &n, 1, 0, many);
      const double column = reduced(c, 2, (int64_t[]){ n, 3 }, 1, 1, wide);
      check(row == 0 && column == 0 && signbit(row) == signbit(column), "zeros of a row and a column");
    }
  }
}

static void test_bits_do_not_depend_on_the_threads(void) {
  if (!omp_set_num_threads || !omp_get_max_threads) return;
  static double big[400000];
  const int threads = omp_get_max_threads();
  for (int64_t k = 0; k < 400000; k++) big[k] = uniform(-1, 1);
  for (int i = 0; i < CASES; i++) {
    double value[3];
    for (int k = 0; k < 3; k++) {
      omp_set_num_threads(1 << k);
      value[k] = reduced(&cases[i], 1, (int64_t[]){ 400000 }, 1, 0, big);
    }
    check(value[0] == value[1] && value[1] == value[2], cases[i].name);
  }
  omp_set_num_threads(threads);
}

/* A producer that hands its elements over block by block gets the bits of the plain kernel. */
static void test_folds_in_pieces(void) {
  static reduction_partial p;
  for (int i = 0; i < CASES; i++) {
    ad_tape *t = ad_tape_new();
    const int64_t n = 20000 + below(5000);
    for (int64_t k = 0; k < n; k++) many[k] = uniform(-1, 1);
    ad_var z = cases[i].record(ad_array(t, AD_F64(n), many), AD_AXES(0), false);
    const ad_type *types[4];
    ad_operation op = node_operation(t, z.at.node.index, types);
    const reduction_kernel *kernel = reduction_kernel_of(&op);
    if (kernel && kernel->single_pass && op.x[0]->dtype == AD_F64) {
      double got = 0;
      p.pass = 0;
      p.attribute = op.attribute;
      kernel->begin(&p, 1);
      for (int64_t k = 0, m; k < n; k += m) {
        m = 1 + below(700);
        if (m > n - k) m = n - k;
        kernel->rows(&p, m, many + k, 1);
      }
      check(!kernel->end(&p, &got) && got == ad_value(z), cases[i].name);
    }
    ad_tape_free(t);
  }
  ad_tape *t = ad_tape_new();
  const ad_type *types[4];
  ad_var x = ad_array(t, AD_F64(3), NULL);
  ad_operation sum = node_operation(t, ad_sum(x, AD_ALL_AXES, false).at.node.index, types);
  check(reduction_kernel_of(&sum) && reduction_kernel_of(&sum)->single_pass, "sum can be fused");
  ad_operation scan = node_operation(t, ad_cumsum(x, 0).at.node.index, types);
  check(!reduction_kernel_of(&scan), "cumsum is no reduction");
  ad_tape_free(t);
}

/* --- accuracy and range --------------------------------------------------------------------------------- */

static double of_f64(ad_var (*record)(ad_var, ad_axes, bool), int64_t n, const double *x) {
  ad_tape *t = ad_tape_new();
  double z = ad_value(record(ad_array(t, AD_F64(n), x), AD_ALL_AXES, false));
  ad_tape_free(t);
  return z;
}
#define OF(record, ...) \
  of_f64(record, (int64_t)(sizeof((double[]){ __VA_ARGS__ }) / sizeof(double)), (double[]){ __VA_ARGS__ })

static bool close_to(double got, double want) {
  return got == want || fabs(got - want) <= 4 * DBL_EPSILON * fabs(want);
}

static void test_accuracy(void) {
  static float tenth[1000000];
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < 1000000; i++) tenth[i] = .1f;
  ad_var x = ad_array(t, AD_F32(1000000), tenth);
  check(ad_value(ad_sum(x, AD_ALL_AXES, false)) == (double)(float)(1e6 * (double).1f),
        "a million f32 sum to the nearest f32");
  float last = 0;
  ad_read(ad_at(ad_cumsum(x, 0), 1, (int64_t[]){ -1 }), &last);
  check(fabs(last - 1e6*(double).1f) < .01, "running f32 sums are carried in f64");
  ad_tape_free(t);
  check(close_to(OF(ad_norm, 3e200, 4e200), 5e200), "norm does not overflow");
  check(close_to(OF(ad_norm, 3e-200, 4e-200), 5e-200), "norm does not underflow");
  check(close_to(OF(ad_norm, 3e-320, 4e-320, 0), 5e-320), "norm of subnormal numbers");
  check(OF(ad_norm, 1e200, 1e-200) == 1e200, "norm of both");
  check(OF(ad_norm, -INFINITY, 1) == INFINITY && isnan(OF(ad_norm, NAN, 1)), "norm of inf, of nan");
  check(OF(ad_norm, 0, 0) == 0 && OF(ad_norm, -2) == 2, "norm of 0, of one element");
  check(close_to(OF(ad_logsumexp, 0, -40), log1p(exp(-40))), "logsumexp keeps small terms");
  check(close_to(OF(ad_logsumexp, 1000, 1000), 1000 + log(2)), "logsumexp does not overflow");
  check(close_to(OF(ad_logsumexp, -1000, -1000, -5000), -1000 + log(2)), "logsumexp does not underflow");
  check(OF(ad_logsumexp, -INFINITY, -INFINITY) == -INFINITY, "logsumexp of -inf");
  check(OF(ad_logsumexp, INFINITY, -INFINITY, 3) == INFINITY, "logsumexp of inf");
  check(isnan(OF(ad_logsumexp, 1, NAN, 2)) && isnan(OF(ad_logsumexp, NAN, INFINITY)), "logsumexp of nan");
  check(close_to(OF(ad_prod, 1e200, 1e200, 1e-300), 1e100), "prod does not overflow on the way");
  check(close_to(OF(ad_prod, 1e200, 1e-300, 1e-300, 1e300, 1e200, 1e200), 1e300),
        "prod does not underflow on the way");
  check(OF(ad_prod, 1e200, 1e200, 0) == 0 && isnan(OF(ad_prod, INFINITY, 0)), "prod with 0");
  check(OF(ad_prod, 1e200, -1e200) == -INFINITY && OF(ad_prod, 1e-200, 1e-200) == 0, "prod out of range");
  check(close_to(OF(plain_variance, 1e9 + 1, 1e9 + 2, 1e9 + 3), 2./3), "variance far from 0");
  check(isnan(OF(ad_reduce_max, NAN, NAN)) && OF(ad_reduce_max, NAN, -INFINITY) == -INFINITY, "max of nan");
}

static void test_conversions(void) {
  ad_tape *t = ad_tape_new();
  ad_var big = ad_array(t, AD_I64(2), (int64_t[]){ INT64_MAX, 2 }),
         small = ad_array(t, AD_I32(2), (int32_t[]){ INT32_MAX, 2 });
  check_values(ad_sum(small, AD_ALL_AXES, false), (double[]){ 2147483649. }, "i32 sums in i64");
  check_values(ad_prod(small, AD_ALL_AXES, false), (double[]){ 4294967294. }, "i32 multiplies in i64");
  check_values(ad_sum(big, AD_ALL_AXES, false), (double[]){ -9223372036854775807. }, "i64 wraps");
  check_values(ad_prod(big, AD_ALL_AXES, false), (double[]){ -2 }, "i64 products wrap");
  check_values(ad_mean(small, AD_ALL_AXES, false), (double[]){ 1073741824.5 }, "the mean of integers is f64");
  check_values(ad_variance(small, AD_AXES(0), false, 1), (double[]){ 2147483645.*2147483645./2 }, "ddof 1");
  check(isnan(ad_value(ad_variance(ad_array(t, AD_F64(1), NULL), AD_AXES(0), false, 1))),
        "variance of one with ddof 1");
  check_values(ad_any(ad_array(t, AD_F64(2), (double[]){ 0, NAN }), AD_AXES(0), false), (double[]){ 1 },
               "nan is not 0");
  ad_var empty = ad_array(t, AD_F64(0), NULL);
  check_values(ad_sum(empty, AD_ALL_AXES, false), (double[]){ 0 }, "empty sum");
  check(!signbit(ad_value(ad_sum(empty, AD_ALL_AXES, false))), "an empty sum is +0");
  check_values(ad_prod(empty, AD_ALL_AXES, false), (double[]){ 1 }, "empty product");
  check_values(ad_logsumexp(empty, AD_ALL_AXES, false), (double[]){ -INFINITY }, "empty logsumexp");
  check_values(ad_norm(empty, AD_ALL_AXES, false), (double[]){ 0 }, "empty norm");
  check(isnan(ad_value(ad_mean(empty, AD_ALL_AXES, false))), "empty mean");
  check_values(ad_any(empty, AD_ALL_AXES, false), (double[]){ 0 }, "empty any");
  check_values(ad_all(empty, AD_ALL_AXES, false), (double[]){ 1 }, "empty all");
  ad_tape_free(t);
}

/* --- derivatives where it matters ----------------------------------------------------------------------- */

enum { POINTS = 4 };

/* The gradient of record(x) is want, by ad_grad, ad_backward and ad_jvp. */
static void check_gradient(ad_var (*record)(ad_var, ad_axes, bool), int64_t n, const double *x,
                           const double *want, const char *what) {
  ad_tape *t = ad_tape_new();
  ad_var in = ad_array(t, AD_F64(n), x), y = record(in, AD_ALL_AXES, false), dx = ad_none();
  double by_grad[POINTS], by_sweep[POINTS], direction[POINTS];
  bool good = ad_grad(y, 1, &in, &dx) == AD_OK && ad_read(dx, by_grad) == AD_OK;
  good = good && ad_backward(y) == AD_OK && ad_read_adjoint(in, by_sweep) == AD_OK;
  for (int64_t i = 0; good && i < n; i++) {
    for (int64_t j = 0; j < n; j++) direction[j] = i == j;
    ad_var v = ad_array(t, AD_F64(n), direction), ydot = ad_none();
    good = ad_jvp(1, &in, &v, 1, &y, &ydot) == AD_OK;
    const double d[3] = { by_grad[i], by_sweep[i], ad_value(ydot) };
    for (int k = 0; k < 3; k++) {
      if (close_to(d[k], want[i])) continue;
      printf("%s: element %lld by way %d is %.17g, not %.17g\n", what, (long long)i, k, d[k], want[i]);
      good = false;
    }
  }
  if (!good) printf("%s: %s\n", what, ad_tape_message(t));
  check(good, what);
  ad_tape_free(t);
}
#define GRADIENT(record, n, what, x, want) \
  check_gradient(record, n, (double[])UNPACK x, (double[])UNPACK want, what)
#define UNPACK(...) { __VA_ARGS__ }

static ad_var max_of_roots(ad_var x, ad_axes axes, bool keep) {
  return ad_reduce_max(ad_sqrt(x), axes, keep);
}
static ad_var norm_of_roots(ad_var x, ad_axes axes, bool keep) { return ad_norm(ad_sqrt(x), axes, keep); }
static ad_var max_of_logs(ad_var x, ad_axes axes, bool keep) { return ad_reduce_max(ad_log(x), axes, keep); }

static void test_conventions(void) {
  GRADIENT(ad_reduce_max, 4, "max shares among ties", (3, 1, 3, 2), (.5, 0, .5, 0));
  GRADIENT(ad_reduce_min, 4, "min shares among ties", (1, 1, 3, 1), (1./3, 1./3, 0, 1./3));
  GRADIENT(ad_reduce_max, 3, "max goes past nan", (NAN, 1, 0), (0, 1, 0));
  GRADIENT(ad_reduce_min, 2, "nan comes from all", (NAN, NAN), (.5, .5));
  GRADIENT(max_of_roots, 3, "what is not the largest is not connected", (0, 4, 1), (0, .25, 0));
  GRADIENT(max_of_logs, 3, "nor is what is outside the domain", (-1, 4, 0), (0, .25, 0));
  GRADIENT(ad_norm, 3, "norm at the zero vector", (0, 0, 0), (0, 0, 0));
  GRADIENT(norm_of_roots, 2, "nor is the zero vector connected", (0, 0), (0, 0));
  GRADIENT(ad_norm, 2, "norm of large numbers", (3e200, 4e200), (.6, .8));
  GRADIENT(ad_norm, 2, "norm of small numbers", (3e-200, 4e-200), (.6, .8));
  GRADIENT(ad_prod, 3, "prod with one zero", (2, 0, 5), (0, 10, 0));
  GRADIENT(ad_prod, 3, "prod with two zeros", (0, 0, 5), (0, 0, 0));
  GRADIENT(ad_prod, 4, "prod that overflows from one side", (1e200, 1e200, 1e-200, 1e-200),
           (1e-200, 1e-200, 1e200, 1e200));
  GRADIENT(ad_prod, 4, "prod that overflows beside a zero", (0, 1e-300, 1e200, 1e200), (1e100, 0, 0, 0));
  GRADIENT(ad_logsumexp, 2, "logsumexp of -inf shares", (-INFINITY, -INFINITY), (.5, .5));
  GRADIENT(ad_logsumexp, 1, "logsumexp of one -inf", (-INFINITY), (1));
  GRADIENT(ad_logsumexp, 3, "logsumexp with -inf", (-INFINITY, 2, 2), (0, .5, .5));
  GRADIENT(ad_logsumexp, 3, "logsumexp with inf", (INFINITY, 2, -INFINITY), (1, 0, 0));
  GRADIENT(ad_logsumexp, 2, "logsumexp far out", (1000, -1000), (1, 0));
  GRADIENT(plain_variance, 3, "variance", (1, 2, 6), (-4./3, -2./3, 2));
}

/* Along x + s v the product of n elements is a polynomial: its derivatives of order 1 to 3 at s = 0, in
 * whole numbers. */
static void product_taylor(int n, const double *x, const double *v, double d[4]) {
  double c[4] = { 1, 0, 0, 0 };
  for (int i = 0; i < n; i++)
    for (int k = 3; k >= 0; k--) c[k] = c[k]*x[i] + (k ? c[k - 1]*v[i] : 0);
  for (int k = 0, f = 1; k < 4; k++, f *= k) d[k] = c[k]*f;
}

static void test_products_of_whole_numbers(void) {
  for (int trial = 0; trial < 200; trial++) {
    enum { MOST = 6 };
    int n = 1 + (int)below(MOST);
    double x[MOST], v[MOST], want[4], running[MOST];
    for (int i = 0; i < n; i++) x[i] = (double)(below(4) ? below(7) - 3 : 0), v[i] = (double)(below(7) - 3);
    ad_tape *t = ad_tape_new();
    ad_var in = ad_array(t, AD_F64(n), x), dir = ad_array(t, AD_F64(n), v);
    ad_var y = ad_prod(in, AD_ALL_AXES, false), z = ad_cumprod(in, 0);
    for (int order = 0; order < 4; order++) {
      product_taylor(n, x, v, want);
      check(ad_value(y) == want[order], "derivatives of prod");
      for (int i = 0; i < n; i++) {
        product_taylor(i + 1, x, v, want);
        running[i] = want[order];
      }
      check_values(z, running, "derivatives of cumprod");
      /* by reverse mode from here on: <grad y, v>, and <grad of the sum of z, v> */
      if (order == 1) {
        ad_var g = ad_none();
        ad_grad(ad_prod(in, AD_ALL_AXES, false), 1, &in, &g);
        y = ad_sum(ad_mul(g, dir), AD_ALL_AXES, false);
        product_taylor(n, x, v, want);
        check(ad_value(y) == want[1], "gradient of prod");
      }
      ad_jvp(1, &in, &dir, 1, &y, &y);
      ad_jvp(1, &in, &dir, 1, &z, &z);
    }
    ad_tape_free(t);
  }
}

/* Integers, places and truths are constants. */
static void test_no_derivatives(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(3), (double[]){ 1, 3, 2 }), dx = ad_none();
  ad_var y = ad_add(ad_cast(ad_argmax(x, 0, false), AD_F64), ad_cast(ad_any(x, AD_ALL_AXES, false), AD_F64));
  check(ad_grad(y, 1, &x, &dx) == AD_OK && has_values(dx, (double[3]){ 0 }),
        "argmax and any have no derivative");
  ad_tape_free(t);
}

/* --- messages, axes ------------------------------------------------------------------------------------- */

static void test_errors(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(2, 3), NULL), none = ad_array(t, AD_F64(2, 0), NULL);
  check_error(t, ad_sum(x, AD_AXES(2), false), AD_ERROR_ARGUMENT, "sum: axis 2 is not in f64(2,3)");
  check_error(t, ad_prod(x, AD_AXES(0, -3), false), AD_ERROR_ARGUMENT, "prod: axis -3 is not in f64(2,3)");
  check_error(t, ad_norm(x, AD_AXES(1, -1), false), AD_ERROR_ARGUMENT,
              "norm: an axis of f64(2,3) is given twice");
  check_error(t, ad_mean(x, AD_AXES(0, 0), false), AD_ERROR_ARGUMENT,
              "sum: an axis of f64(2,3) is given twice");
  check_error(t, ad_variance(x, AD_AXES(5), false, 0), AD_ERROR_ARGUMENT,
              "variance: axis 5 is not in f64(2,3)");
  check_error(t, ad_any(x, AD_AXES(0, 1, 0, 1, 0, 1, 0, 1, 0), false), AD_ERROR_ARGUMENT,
              "any: not a choice of axes");
  check_error(t, ad_all(x, ad_axes_make(-2, NULL), false), AD_ERROR_ARGUMENT, "all: not a choice of axes");
  check_error(t, ad_sum(x, ad_axes_make(2, NULL), false), AD_ERROR_ARGUMENT, "sum: not a choice of axes");
  check_error(t, ad_reduce_max(none, AD_AXES(1), false), AD_ERROR_SHAPE,
              "reduce_max: nothing to choose from in f64(2,0)");
  check_error(t, ad_argmin(none, 1, false), AD_ERROR_SHAPE, "argmin: nothing to choose from in f64(2,0)");
  check_error(t, ad_argmax(x, 2, false), AD_ERROR_ARGUMENT, "argmax: axis 2 is not in f64(2,3)");
  check_error(t, ad_cumsum(x, -3), AD_ERROR_ARGUMENT, "cumsum: axis -3 is not in f64(2,3)");
  check_error(t, ad_cumprod(ad_scalar(t, 1), 0), AD_ERROR_ARGUMENT, "cumprod: axis 0 is not in f64()");
  check(ad_is_valid(ad_reduce_min(none, AD_AXES(0), false)), "an empty result needs no elements");
  check(!ad_is_valid(ad_sum(ad_none(), AD_ALL_AXES, false)), "no operand");
  ad_tape_free(t);
}

static void test_axes(void) {
  unsigned mask = 0;
  check(axis_resolve(-1, 3) == 2 && axis_resolve(3, 3) == -1 && axis_resolve(-4, 3) == -1
            && axis_resolve(0, 0) == -1,
        "axis_resolve");
  check(axes_resolve(AD_AXES(-1, 0), 3, &mask) && mask == 5, "axes_resolve");
  check(axes_resolve(AD_ALL_AXES, 8, &mask) && mask == 255, "all axes");
  check(axes_resolve(ad_axes_make(0, NULL), 3, &mask) && mask == 0, "no axes");
  check(!axes_resolve(AD_AXES(1, -2), 3, &mask), "an axis given twice");
  ad_type type = AD_F64(2, 3, 4);
  check(ad_type_equal(axes_reduce(type, 5, false), AD_F64(3))
            && ad_type_equal(axes_reduce(type, 5, true), AD_F64(1, 3, 1)),
        "axes_reduce");
  check(axes_product(&type, 1, 3) == 12 && axes_product(&type, 2, 2) == 1, "axes_product");
  ad_tape *t = ad_tape_new();
  ad_var g = ad_ones(t, type), s = sum_to_shape(g, AD_F32(3, 1));
  check(check_type(t, s, AD_F32(3, 1), "sum_to_shape") && has_values(s, (double[]){ 8, 8, 8 }),
        "sum_to_shape");
  check_values(sum_to_shape(g, AD_F64()), (double[]){ 24 }, "sum_to_shape of everything");
  check(sum_to_shape(g, type).at.node.index == g.at.node.index, "sum_to_shape of nothing");
  ad_tape_free(t);
}

int main(void) {
  test_random_values();
  test_big_arrays();
  test_places_in_columns();
  test_bits_do_not_depend_on_the_layout();
  test_signs_of_zeros();
  test_bits_do_not_depend_on_the_threads();
  test_folds_in_pieces();
  test_accuracy();
  test_conversions();
  test_conventions();
  test_products_of_whole_numbers();
  test_no_derivatives();
  test_errors();
  test_axes();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
