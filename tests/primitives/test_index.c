/* test_index.c -- take, gather, their transposes, one_hot, sort, argsort, topk: against index arithmetic
 * and a plain stable sort, for every dtype and both index types, with exact derivatives; sizes at which
 * threads share the work; errors. */
#include "array_checks.h"

#include <float.h>

/* OpenMP's, where the library is built with it. */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

enum { TRIALS = 30 };

/* --- index arrays --------------------------------------------------------------------------------------- */

/* Indices into [0, n) as a constant of either type, a third of them counted from the end; k receives them
 * counted from the front. */
static ad_var random_index(ad_tape *t, ad_type shape, int64_t n, int64_t k[]) {
  ad_type type = ad_type_make(below(2) ? AD_I32 : AD_I64, shape.rank, shape.dim);
  void *data = room_for(type);
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    k[i] = below(n);
    set_element(type.dtype, data, i, (double)(below(3) ? k[i] : k[i] - n));
  }
  ad_var index = ad_constant(t, type, data);
  free(data);
  return index;
}

/* One choice along an axis: what is chosen from, by what, and for each element of the result the element
 * chosen. */
typedef struct choice {
  ad_type x, z;
  int axis, given_axis;
  ad_var index;
  int64_t *from;
} choice;

static bool make_room(choice *c, ad_type index, int64_t **k) {
  *k = calloc((size_t)ad_type_count(index) + 1, sizeof **k);
  c->from = calloc((size_t)ad_type_count(c->z) + 1, sizeof *c->from);
  return *k && c->from;
}

static int random_axis(choice *c) {
  c->axis = (int)below(c->x.rank);
  c->given_axis = below(2) ? c->axis : c->axis - c->x.rank;
  return c->axis;
}

static bool random_take(ad_tape *t, ad_type x, ad_type index, choice *c) {
  int64_t *k, zi[AD_MAX_RANK], xi[AD_MAX_RANK];
  *c = (choice){ .x = x, .z = { x.dtype, x.rank - 1 + index.rank, { 0 } } };
  const int axis = random_axis(c);
  if (x.dim[axis] == 0 && ad_type_count(index)) return false;
  for (int d = 0; d < c->z.rank; d++)
    c->z.dim[d] = d < axis ? x.dim[d]
                : d < axis + index.rank ? index.dim[d - axis] : x.dim[d - index.rank + 1];
  if (!make_room(c, index, &k)) abort();
  c->index = random_index(t, index, x.dim[axis], k);
  for (int64_t i = 0; i < ad_type_count(c->z); i++) {
    unravel(c->z, i, zi);
    for (int d = 0; d < x.rank; d++)
      xi[d] = d < axis ? zi[d] : d == axis ? k[ravel(index, zi + axis)] : zi[d + index.rank - 1];
    c->from[i] = ravel(x, xi);
  }
  free(k);
  return true;
}

/* Index and array agree beside the axis, or one of them has size 1 there. */
static bool random_gather(ad_tape *t, ad_type x, choice *c) {
  int64_t *k, zi[AD_MAX_RANK], xi[AD_MAX_RANK], ii[AD_MAX_RANK];
  *c = (choice){ .x = x, .z = x };
  ad_type index = { AD_I64, x.rank, { 0 } };
  const int axis = random_axis(c);
  for (int d = 0; d < x.rank; d++) {
    index.dim[d] = d == axis ? below(5) : below(3) ? x.dim[d] : 1;
    if (d != axis && x.dim[d] == 1) index.dim[d] = 1 + below(3);
    c->z.dim[d] = d == axis || x.dim[d] == 1 ? index.dim[d] : x.dim[d];
  }
  if (x.dim[axis] == 0) index.dim[axis] = c->z.dim[axis] = 0;
  if (!make_room(c, index, &k)) abort();
  c->index = random_index(t, index, x.dim[axis], k);
  for (int64_t i = 0; i < ad_type_count(c->z); i++) {
    unravel(c->z, i, zi);
    for (int d = 0; d < x.rank; d++) ii[d] = index.dim[d] == 1 ? 0 : zi[d];
    for (int d = 0; d < x.rank; d++) xi[d] = d == axis ? k[ravel(index, ii)] : x.dim[d] == 1 ? 0 : zi[d];
    c->from[i] = ravel(x, xi);
  }
  free(k);
  return true;
}

/* --- take and gather, scatter_add and gather_add -------------------------------------------------------- */

typedef ad_var choose(ad_var x, ad_var index, int axis);
typedef ad_var add_at(ad_var base, ad_var index, ad_var updates, int axis);

static void check_choice(ad_tape *t, const choice *c, choose *f, add_at *transposed, const char *what) {
  ad_var x = random_input(t, c->x), base = random_input(t, c->x), updates = random_input(t, c->z);
  place *from = calloc((size_t)ad_type_count(c->z) + 1, sizeof *from);
  for (int64_t i = 0; from && i < ad_type_count(c->z); i++) from[i] = (place){ 0, c->from[i] };
  check_places(t, 1, &x, f(x, c->index, c->given_axis), c->z, from, 0, what);
  check_addition(t, base, updates, transposed(base, c->index, updates, c->given_axis), c->from, what);
  check(ad_tape_status(t) == AD_OK, what);
  free(from);
}

static void test_choices(void) {
  choice c;
  for (int i = 0; i < TRIALS; i++)
    for (int dtype = 0; dtype < AD_DTYPES; dtype++) {
      ad_tape *t = ad_tape_new();
      ad_type index = random_type(AD_I64, 0, 3);
      if (random_take(t, random_type((ad_dtype)dtype, 1, 4), index, &c)) {
        check_choice(t, &c, ad_take, ad_scatter_add, "take and scatter_add");
        free(c.from);
      }
      if (random_gather(t, random_type((ad_dtype)dtype, 1, 6), &c)) {
        check_choice(t, &c, ad_gather, ad_gather_add, "gather and gather_add");
        free(c.from);
      }
      ad_tape_free(t);
    }
}

static void test_large_choices(void) {
  static const struct { ad_type x; int64_t indices; } size[] = {
    { { AD_F64, 2, { 50, 300 } }, 500 }, { { AD_F32, 3, { 40, 3, 50 } }, 120 },
    { { AD_F64, 1, { 1000 } }, 120000 },
    { { AD_I32, 2, { 7, 20000 } }, 6 } };
  choice c;
  for (size_t i = 0; i < sizeof size/sizeof *size; i++) {
    ad_tape *t = ad_tape_new();
    if (random_take(t, size[i].x, ad_type_make(AD_I64, 1, &size[i].indices), &c)) {
      check_choice(t, &c, ad_take, ad_scatter_add, "large take and scatter_add");
      free(c.from);
    }
    ad_type wide = size[i].x;
    wide.dim[0] *= 130000/ad_type_count(wide) + 1;
    if (random_gather(t, wide, &c)) {
      check_choice(t, &c, ad_gather, ad_gather_add, "large gather and gather_add");
      free(c.from);
    }
    ad_tape_free(t);
  }
}

static void test_updates_that_are_numbers(void) {
  ad_tape *t = ad_tape_new();
  const int64_t k[5] = { 2, 0, 2, -1, 2 };
  ad_var index = ad_constant(t, AD_I64(5), k);
  ad_var counts = ad_scatter_add(ad_zeros(t, AD_I32(4)), index, ad_integer(1), 0);
  check_values(counts, (double[]){ 1, 0, 3, 1 }, "a histogram");
  check(ad_type_of(counts).dtype == AD_I32, "of i32");
  check_values(ad_take(ad_arange(t, 0, 4, 1, AD_F32), ad_integer(-1), 0), (double[]){ 3 },
               "take at a number");
  check(ad_type_of(ad_scatter_add(ad_zeros(t, AD_F32(4)), index, ad_real(0.5), 0)).dtype == AD_F32,
        "a literal is weak");
  ad_tape_free(t);
}

static void test_elements_not_chosen_have_no_slope(void) {
  ad_tape *t = ad_tape_new();
  const double d[3] = { 0, 4, 0 };
  const int32_t one[1] = { 1 };
  ad_var x = ad_array(t, AD_F64(3), d), index = ad_constant(t, AD_I32(1), one), root = ad_sqrt(x), dx;
  ad_var y[3] = { ad_take(root, index, 0), ad_gather(root, index, 0),
                  ad_slice(ad_sort(root, 0, true), 0, 0, 1, 1) };
  for (int k = 0; k < 3; k++) {
    char what[64];
    snprintf(what, sizeof what, "elements not chosen by an index, case %d", k);
    check(ad_vjp(1, &y[k], NULL, 1, &x, &dx) == AD_OK && has_values(dx, (double[]){ 0, 0.25, 0 }), what);
  }
  ad_tape_free(t);
}

/* --- many updates of few elements ----------------------------------------------------------------------- */

/* Rows of a table of (rows, width), the first of which gets no update. */
typedef struct table { ad_dtype dtype; int64_t rows, width, updates; bool wide, gathers; } table;

static ad_var table_sums(ad_tape *t, const table *c, const void *base, const void *k, const void *u) {
  const int64_t z[2] = { c->rows, c->width }, x[2] = { c->updates, c->width }, one[2] = { c->updates, 1 };
  const ad_type index = ad_type_make(c->wide ? AD_I64 : AD_I32, c->gathers ? 2 : 1, one);
  const ad_var to = ad_constant(t, ad_type_make(c->dtype, 2, z), base), at = ad_constant(t, index, k);
  const ad_var from = ad_constant(t, ad_type_make(c->dtype, 2, x), u);
  return c->gathers ? ad_gather_add(to, at, from, 0) : ad_scatter_add(to, at, from, 0);
}

/* Against sums in long double: within (n - 1) eps times the sum of the absolute values, Higham, Accuracy and
 * Stability of Numerical Algorithms, 2nd ed., (4.4); those of integers are exact. */
static bool are_sums(const table *c, const void *z, const void *base, const void *k, const void *u) {
  const double eps = c->dtype == AD_F64 ? DBL_EPSILON : c->dtype == AD_F32 ? (double)FLT_EPSILON : 0;
  const ad_dtype by = c->wide ? AD_I64 : AD_I32;
  bool good = true;
  for (int64_t j = 0; j < c->rows*c->width; j++) {
    long double sum = element(c->dtype, base, j), size = fabsl(sum);
    int64_t n = 0;
    for (int64_t i = 0; i < c->updates; i++) {
      const double row = element(by, k, i);
      if (row + (double)(row < 0 ? c->rows : 0) != (double)(j/c->width)) continue;
      const double v = element(c->dtype, u, i*c->width + j%c->width);
      sum += v, size += fabsl(v), n++;
    }
    const double v = element(c->dtype, z, j);
    good &= fabsl(v - sum) <= (double)n*eps*size && (n || signbit(v) == signbit(element(c->dtype, base, j)));
  }
  return good;
}

/* Of integers, so small that no sum wraps around. */
static double update_for(ad_dtype dtype) {
  if (dtype < AD_F32) return (double)below(2001) - 1000;
  return ldexp((double)random_bits(), (int)below(8) - 32) - (double)below(5);
}

static void check_table(const table *c) {
  const int64_t z[2] = { c->rows, c->width }, x[2] = { c->updates, c->width };
  const ad_type to = ad_type_make(c->dtype, 2, z), from = ad_type_make(c->dtype, 2, x);
  void *base = random_data(to), *u = random_data(from), *sums[3];
  void *k = room_for(ad_type_make(c->wide ? AD_I64 : AD_I32, 1, &c->updates));
  for (int64_t j = 0; j < c->width; j++) set_element(c->dtype, base, j, -0.0);
  for (int64_t i = 0; i < ad_type_count(from); i++)
    set_element(c->dtype, u, i, update_for(c->dtype));
  for (int64_t i = 0; i < c->updates; i++)
    set_element(c->wide ? AD_I64 : AD_I32, k, i, (double)(below(2) ? 1 + below(c->rows - 1) : -1));
  const int threads = omp_get_max_threads ? omp_get_max_threads() : 1;
  for (int n = 0; n < 3; n++) {
    ad_tape *t = ad_tape_new();
    if (omp_set_num_threads) omp_set_num_threads(n + 1);
    sums[n] = room_for(to);
    check(ad_read(table_sums(t, c, base, k, u), sums[n]) == AD_OK, "sums of many updates");
    ad_tape_free(t);
  }
  if (omp_set_num_threads) omp_set_num_threads(threads);
  check(are_sums(c, sums[0], base, k, u), "many updates of few elements");
  check(!memcmp(sums[0], sums[1], ad_type_bytes(to)) && !memcmp(sums[0], sums[2], ad_type_bytes(to)),
        "bits of sums do not depend on threads");
  ad_tape *t = ad_tape_new();
  set_element(c->wide ? AD_I64 : AD_I32, k, c->updates - 1, (double)c->rows);
  check(ad_read(table_sums(t, c, base, k, u), sums[0]) == AD_ERROR_ARGUMENT, "out of range in the last part");
  ad_tape_free(t);
  for (int n = 0; n < 3; n++) free(sums[n]);
  free(base), free(u), free(k);
}

/* Sizes around those from which on sums are made in parts; widths that vectors fill, and others. */
static void test_many_updates_of_few_elements(void) {
  static const int64_t size[][3] = {
    { 2, 1, 2047 }, { 2, 1, 2049 }, { 5, 3, 701 }, { 2, 1, 65537 }, { 10, 8, 10000 },
    { 7, 5, 13108 }, { 33, 16, 4097 }, { 200, 3, 22000 }, { 5, 64, 2000 }, { 3, 32, 2100 },
    { 2, 8, 257 }               /* 32 parts of 9 rows each: the last ones have none */
  };
  for (size_t i = 0; i < sizeof size/sizeof *size; i++)
    for (int how = 0; how < 8; how++) {
      static const ad_dtype dtype[4] = { AD_F64, AD_F32, AD_I32, AD_I64 };
      const table c = { dtype[how/4*2 + how%2], size[i][0], size[i][1], size[i][2], (how & 2) != 0,
                        how%4 == 3 };
      check_table(&c);
    }
}

/* --- one_hot -------------------------------------------------------------------------------------------- */

static void test_one_hot(void) {
  for (int dtype = 0; dtype < AD_DTYPES; dtype++) {
    ad_tape *t = ad_tape_new();
    const int32_t k[4] = { 1, 3, -1, 0 };
    const int64_t wide[1] = { INT64_MIN };
    ad_var z = ad_one_hot(ad_constant(t, AD_I32(2, 2), k), 3, (ad_dtype)dtype);
    check_values(z, (double[]){ 0, 1, 0,  0, 0, 0,  0, 0, 0,  1, 0, 0 }, "one_hot, out of range: zeros");
    check(ad_type_of(z).rank == 3 && ad_type_of(z).dtype == (ad_dtype)dtype, "one_hot has a new last axis");
    check_values(ad_one_hot(ad_constant(t, AD_I64(1), wide), 2, (ad_dtype)dtype), (double[]){ 0, 0 },
                 "one_hot far out of range");
    check(ad_tape_status(t) == AD_OK, "one_hot");
    ad_tape_free(t);
  }
}

/* --- sorting -------------------------------------------------------------------------------------------- */

/* a before b: nan after everything, equal ones not before each other. */
static bool before(double a, double b, bool descending) {
  if (a != a || b != b) return a == a && b != b;
  return descending ? a > b : a < b;
}

/* Positions of x[i*step], i < n, in order: each is inserted behind its equals. */
static void plain_sort(ad_dtype dtype, const void *x, int64_t first, int64_t step, int64_t n, bool descending,
                       int64_t position[]) {
  for (int64_t i = 0; i < n; i++) {
    int64_t k = i;
    double v = element(dtype, x, first + i*step);
    for (; k > 0 && before(v, element(dtype, x, first + position[k - 1]*step), descending); k--)
      position[k] = position[k - 1];
    position[k] = i;
  }
}

/* The order of every line of x along axis, as argsort gives it, as an array of doubles and as places. */
static void plain_order(ad_type type, const void *x, int axis, bool descending, double *order, place *from) {
  int64_t inner = 1, n = type.dim[axis], *position = calloc((size_t)n + 1, sizeof *position);
  for (int d = axis + 1; d < type.rank; d++) inner *= type.dim[d];
  const int64_t lines = n ? ad_type_count(type)/n : 0;
  for (int64_t l = 0; position && l < lines; l++) {
    const int64_t first = l/inner*n*inner + l%inner;
    plain_sort(type.dtype, x, first, inner, n, descending, position);
    for (int64_t i = 0; i < n; i++) {
      order[first + i*inner] = (double)position[i];
      from[first + i*inner] = (place){ 0, first + position[i]*inner };
    }
  }
  free(position);
}

static void check_sort(ad_type type, const void *data, int axis, bool descending) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, type, data);
  const size_t count = (size_t)ad_type_count(type) + 1;
  double *order = calloc(count, sizeof *order);
  place *from = calloc(count, sizeof *from);
  if (!order || !from) abort();
  plain_order(type, data, axis, descending, order, from);
  ad_var z = ad_argsort(x, axis - type.rank, descending);
  check(ad_type_of(z).dtype == AD_I64, "argsort gives i64");
  check_values(z, order, "argsort");
  bool any_nan = false;
  for (int64_t i = 0; i < ad_type_count(type); i++) any_nan |= isnan(element(type.dtype, data, i));
  if (!any_nan) check_places(t, 1, &x, ad_sort(x, axis, descending), type, from, 0, "sort");
  free(order);
  free(from);
  ad_tape_free(t);
}

static void test_sort(void) {
  for (int i = 0; i < TRIALS; i++)
    for (int dtype = 0; dtype < AD_DTYPES; dtype++) {
      ad_type type = random_type((ad_dtype)dtype, 1, 4);
      void *data = random_data(type);
      check_sort(type, data, (int)below(type.rank), below(2) != 0);
      free(data);
    }
}

/* Lines beyond the few that are sorted by insertion, values of all magnitudes, and special ones. */
static void test_sort_of_long_lines(void) {
  static const double special[8] = { 0, -0.0, INFINITY, -INFINITY, NAN, 5e-324, -5e-324, 1 };
  for (int dtype = 0; dtype < AD_DTYPES; dtype++)
    for (int direction = 0; direction < 2; direction++)
      for (int specials = 0; specials < 2; specials++) {
        const int64_t dim[2] = { 700, 2 };
        ad_type type = ad_type_make((ad_dtype)dtype, 2, dim);
        void *data = room_for(type);
        for (int64_t i = 0; i < ad_type_count(type); i++) {
          double v = dtype < AD_F32 ? (double)(int32_t)random_bits()
              : ldexp((double)below(1000) - 500, (int)below(100) - 50);
          if (specials && dtype >= AD_F32 && below(4) == 0) v = special[below(8)];
          set_element(type.dtype, data, i, v);
        }
        check_sort(type, data, 0, direction != 0);
        free(data);
      }
}

static void test_sort_of_many_lines(void) {
  const ad_type type = AD_F32(1200, 101);
  void *data = random_data(type);
  check_sort(type, data, 1, false);
  check_sort(type, data, 0, true);
  free(data);
}

static void test_sorted_values(void) {
  ad_tape *t = ad_tape_new();
  const double d[6] = { 2, NAN, -1, -0.0, 0, NAN };
  double z[6];
  ad_var x = ad_array(t, AD_F64(6), d);
  check(ad_read(ad_sort(x, 0, false), z) == AD_OK && z[0] == -1 && signbit(z[1]) && !signbit(z[2])
        && z[3] == 2
        && isnan(z[4]) && isnan(z[5]), "ascending: nan last, zeros in the order they had");
  check(ad_read(ad_sort(x, 0, true), z) == AD_OK && z[0] == 2 && signbit(z[1]) && !signbit(z[2]) && z[3] == -1
        && isnan(z[4]) && isnan(z[5]), "descending: nan last, zeros in the order they had");
  check(!strcmp(ad_operation_name(ad_sort(x, 0, false)), "sort"), "sort is named");
  const int64_t i[3] = { INT64_MAX, INT64_MIN, -1 };
  int64_t sorted[3];
  check(ad_read(ad_sort(ad_array(t, AD_I64(3), i), 0, false), sorted) == AD_OK && sorted[0] == INT64_MIN
        && sorted[2] == INT64_MAX,
        "integers at the ends of their range");
  ad_tape_free(t);
}

static void test_topk(void) {
  ad_tape *t = ad_tape_new();
  const double d[8] = { 1, 5, NAN, 5,  7, -2, 3, 0 };
  ad_var x = ad_array(t, AD_F64(2, 4), d), values, indices, xbar;
  check(ad_topk(x, 2, -1, &values, &indices) == AD_OK, "topk");
  check_values(values, (double[]){ 5, 5, 7, 3 }, "topk values");
  check_values(indices, (double[]){ 1, 3, 0, 2 }, "topk indices, the first of ties first");
  check(ad_vjp(1, &values, NULL, 1, &x, &xbar) == AD_OK
        && has_values(xbar, (double[]){ 0, 1, 0, 1, 1, 0, 1, 0 }), "topk's adjoint");
  check(ad_topk(x, 1, 0, &values, NULL) == AD_OK && ad_type_of(values).dim[0] == 1, "topk without indices");
  check(ad_topk(x, 0, 0, NULL, &indices) == AD_OK && ad_type_count(ad_type_of(indices)) == 0, "topk of none");
  check(ad_topk(x, 5, 1, &values, &indices) == AD_ERROR_ARGUMENT, "topk refuses");
  check_error(t, values, AD_ERROR_ARGUMENT, "topk: 5 of the elements along axis 1 of f64(2,4)");
  check(ad_topk(x, 1, 2, &values, &indices) == AD_ERROR_ARGUMENT, "topk refuses");
  check_error(t, indices, AD_ERROR_ARGUMENT, "topk: axis 2 is not in f64(2,4)");
  ad_tape_free(t);
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void out_of_range(ad_tape *t, ad_var z, const char *what) {
  double room[64];
  check(ad_is_valid(z) && ad_read(z, room) == AD_ERROR_ARGUMENT, what);
  ad_tape_clear(t);
}

static void test_indices_out_of_range_are_errors_when_run(void) {
  ad_tape *t = ad_tape_new();
  const int64_t high[2] = { 0, 3 }, low[2] = { -4, 0 };
  const int32_t far[2] = { INT32_MIN, 0 };
  ad_var x = random_input(t, AD_F64(3)), m = random_input(t, AD_F64(3, 2));
  ad_var index[3] = { ad_constant(t, AD_I64(2), high), ad_constant(t, AD_I64(2), low),
                      ad_constant(t, AD_I32(2), far) };
  for (int k = 0; k < 3; k++) {
    out_of_range(t, ad_take(x, index[k], 0), "take out of range");
    out_of_range(t, ad_take(m, index[k], 0), "take of rows out of range");
    out_of_range(t, ad_gather(x, index[k], 0), "gather out of range");
    out_of_range(t, ad_scatter_add(x, index[k], ad_real(1), 0), "scatter_add out of range");
    out_of_range(t, ad_scatter_add(m, index[k], ad_real(1), 0), "scatter_add of rows out of range");
    out_of_range(t, ad_gather_add(x, index[k], ad_real(1), 0), "gather_add out of range");
  }
  out_of_range(t, ad_take(ad_zeros(t, AD_F64(0, 3)), ad_integer(0), 0), "take from nothing");
  ad_tape_free(t);
}

static void test_errors(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = random_input(t, AD_F64(2, 3)), f = random_input(t, AD_F64(2)), i = ad_zeros(t, AD_I32(4)),
      b = ad_zeros(t, AD_BOOL(2));
  ad_var full = ad_zeros(t, ad_type_make(AD_I32, 8, (const int64_t[]){ 1, 1, 1, 1, 1, 1, 1, 1 }));
  check_error(t, ad_take(x, f, 0), AD_ERROR_DTYPE, "take: the index is f64, it must be i32 or i64");
  check_error(t, ad_take(x, b, 0), AD_ERROR_DTYPE, "take: the index is bool");
  check_error(t, ad_take(x, i, 2), AD_ERROR_ARGUMENT, "take: axis 2 is not in f64(2,3)");
  check_error(t, ad_take(x, i, -3), AD_ERROR_ARGUMENT, "take: axis -3 is not in f64(2,3)");
  check_error(t, ad_take(x, full, 0), AD_ERROR_SHAPE, "take: the result has too many axes");
  check_error(t, ad_gather(x, i, 0), AD_ERROR_SHAPE,
              "gather: array and index differ in rank, f64(2,3) by i32(4) along axis 0");
  check_error(t, ad_gather(x, ad_zeros(t, AD_I32(2, 2)), 0), AD_ERROR_SHAPE,
              "gather: array and index do not broadcast");
  check_error(t, ad_scatter_add(x, i, f, 1), AD_ERROR_SHAPE, "scatter_add: updates are f64(2), not f64(2,4)");
  check_error(t, ad_gather_add(x, ad_zeros(t, AD_I32(2, 1)), f, 1), AD_ERROR_SHAPE,
              "gather_add: updates are f64(2), not f64(2,1)");
  check_error(t, ad_one_hot(f, 3, AD_F64), AD_ERROR_DTYPE, "one_hot: the index is f64");
  check_error(t, ad_one_hot(i, -1, AD_F64), AD_ERROR_ARGUMENT, "one_hot: a negative depth, -1");
  check_error(t, ad_one_hot(i, INT64_MAX/2, AD_F64), AD_ERROR_SIZE, "one_hot: the result is too big");
  check_error(t, ad_one_hot(i, 3, (ad_dtype)9), AD_ERROR_DTYPE, "one_hot: no such data type");
  check_error(t, ad_one_hot(full, 3, AD_F64), AD_ERROR_SHAPE, "one_hot: the index has 8 axes already");
  check_error(t, ad_sort(x, 2, false), AD_ERROR_ARGUMENT, "sort: axis 2 is not in f64(2,3)");
  check_error(t, ad_argsort(x, -3, false), AD_ERROR_ARGUMENT, "argsort: axis -3 is not in f64(2,3)");
  ad_var invalid = ad_sort(x, 2, false);
  ad_tape_clear(t);
  check_error(t, ad_take(invalid, i, 0), AD_ERROR_HANDLE, "take: ");
  check_error(t, ad_scatter_add(x, invalid, x, 0), AD_ERROR_HANDLE, "scatter_add: ");
  check_error(t, ad_sort(invalid, 0, false), AD_ERROR_HANDLE, "argsort: ");
  ad_var values, indices;
  check(ad_topk(invalid, 1, 0, &values, &indices) == AD_ERROR_HANDLE, "topk of an invalid variable");
  check_error(t, values, AD_ERROR_HANDLE, "argsort: ");
  ad_tape_free(t);
}

int main(void) {
  test_choices();
  test_large_choices();
  test_updates_that_are_numbers();
  test_elements_not_chosen_have_no_slope();
  test_many_updates_of_few_elements();
  test_one_hot();
  test_sort();
  test_sort_of_long_lines();
  test_sort_of_many_lines();
  test_sorted_values();
  test_topk();
  test_indices_out_of_range_are_errors_when_run();
  test_errors();
  return report();
}
