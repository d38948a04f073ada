/* test_movement.c -- reshape, transpose, broadcast_to, squeeze, expand, flip, slices, joins, tile, repeat:
 * against index arithmetic, for every dtype, with exact derivatives; sizes at which threads share the
 * work; errors. */
#include "array_checks.h"

enum { TRIALS = 25 };

static place *places_for(ad_type z) {
  place *p = calloc((size_t)ad_type_count(z) + 1, sizeof *p);
  if (!p) abort();
  return p;
}

/* One array in, one out: from[i] comes from the index that `map` makes of i's. */
typedef void index_map(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]);

static void check_map(ad_tape *t, ad_var x, ad_var z, ad_type want, index_map *map, const void *how,
                      const char *what) {
  int64_t zi[AD_MAX_RANK], xi[AD_MAX_RANK];
  place *from = places_for(want);
  for (int64_t i = 0; i < ad_type_count(want); i++) {
    unravel(want, i, zi);
    map(how, ad_type_of(x), zi, xi);
    from[i].flat = ravel(ad_type_of(x), xi);
  }
  check_places(t, 1, &x, z, want, from, 0, what);
  free(from);
}

/* Calls body(tape, type) on random types of every dtype. */
typedef void body_function(ad_tape *t, ad_type type);

static void on_random_types(int low_rank, int high_rank, body_function *body) {
  for (int i = 0; i < TRIALS; i++)
    for (int dtype = 0; dtype < AD_DTYPES; dtype++) {
      ad_tape *t = ad_tape_new();
      body(t, random_type((ad_dtype)dtype, low_rank, high_rank));
      check(ad_tape_status(t) == AD_OK, "no error is left");
      ad_tape_free(t);
    }
}

/* --- shapes --------------------------------------------------------------------------------------------- */

static void keeps_order(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  unravel(x, ravel(*(const ad_type *)how, z_index), x_index);
}

static void reshape_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  const int64_t flat = ad_type_count(type), matrix[2] = { 1, flat }, missing[2] = { -1, 1 };
  ad_type z = ad_type_make(type.dtype, 1, &flat);
  check_map(t, x, ad_reshape(x, 1, &flat), z, keeps_order, &z, "reshape to a vector");
  z = ad_type_make(type.dtype, 2, matrix);
  check_map(t, x, ad_reshape(x, 2, matrix), z, keeps_order, &z, "reshape to a matrix");
  z = ad_type_make(type.dtype, 2, (const int64_t[]){ flat, 1 });
  check_map(t, x, ad_reshape(x, 2, missing), z, keeps_order, &z, "reshape with a missing dimension");
  ad_var same = ad_reshape(x, type.rank, type.dim);
  check(ad_type_equal(ad_type_of(same), type) && ad_is_valid(same), "reshape to the same shape");
}

static void expand_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  int axis = (int)below(type.rank + 1);
  ad_type z = { type.dtype, type.rank + 1, { 0 } };
  for (int d = 0; d <= type.rank; d++) z.dim[d] = d < axis ? type.dim[d] : d == axis ? 1 : type.dim[d - 1];
  ad_var wide = ad_expand(x, below(2) ? axis : axis - type.rank - 1);
  check_map(t, x, wide, z, keeps_order, &z, "expand");
  check(ad_type_equal(ad_type_of(ad_squeeze(wide, AD_AXES(axis))), type), "squeeze takes expand's axis away");
  ad_type no_ones = { type.dtype, 0, { 0 } };
  for (int d = 0; d < type.rank; d++)
    if (type.dim[d] != 1) no_ones.dim[no_ones.rank++] = type.dim[d];
  check(ad_type_equal(ad_type_of(ad_squeeze(wide, AD_ALL_AXES)), no_ones), "squeeze of all axes of size 1");
}

static void by_permutation(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  for (int d = 0; d < x.rank; d++) x_index[((const int *)how)[d]] = z_index[d];
}

static void transpose_body(ad_tape *t, ad_type type) {
  int perm[AD_MAX_RANK], given[AD_MAX_RANK];
  ad_var x = random_input(t, type);
  ad_type z = type;
  for (int d = 0; d < type.rank; d++) perm[d] = d;
  for (int d = type.rank - 1; d > 0; d--) {
    int e = (int)below(d + 1), kept = perm[d];
    perm[d] = perm[e];
    perm[e] = kept;
  }
  for (int d = 0; d < type.rank; d++) {
    z.dim[d] = type.dim[perm[d]];
    given[d] = below(2) ? perm[d] : perm[d] - type.rank;
  }
  check_map(t, x, ad_transpose(x, given), z, by_permutation, perm, "transpose");
  for (int d = 0; d < type.rank; d++) perm[d] = type.rank - 1 - d, z.dim[d] = type.dim[perm[d]];
  check_map(t, x, ad_transpose(x, NULL), z, by_permutation, perm, "transpose reversing all axes");
}

static void by_broadcast(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  const int new = ((const ad_type *)how)->rank - x.rank;
  for (int d = 0; d < x.rank; d++) x_index[d] = x.dim[d] == 1 ? 0 : z_index[d + new];
}

static void broadcast_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  int new = (int)below(3);
  ad_type z = { type.dtype, type.rank + new, { 0 } };
  for (int d = 0; d < z.rank; d++)
    z.dim[d] = d < new || type.dim[d - new] == 1 ? below(5) : type.dim[d - new];
  check_map(t, x, ad_broadcast_to(x, z.rank, z.dim), z, by_broadcast, &z, "broadcast_to");
}

static void by_flip(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  for (int d = 0; d < x.rank; d++)
    x_index[d] = *(const unsigned *)how >> d & 1 ? x.dim[d] - 1 - z_index[d] : z_index[d];
}

static void flip_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  unsigned mask = (unsigned)below(1 << type.rank);
  ad_axes axes = { 0 };
  for (int d = 0; d < type.rank; d++)
    if (mask >> d & 1) axes.axis[axes.count++] = below(2) ? d : d - type.rank;
  check_map(t, x, ad_flip(x, axes), type, by_flip, &mask, "flip");
  mask = ~0u;
  check_map(t, x, ad_flip(x, AD_ALL_AXES), type, by_flip, &mask, "flip of all axes");
}

/* --- slices --------------------------------------------------------------------------------------------- */

typedef struct cut { int axis; int64_t start, count, step; } cut;

static cut random_cut(ad_type type) {
  cut c = { (int)below(type.rank), 0, 0, 1 };
  const int64_t dim = type.dim[c.axis];
  if (dim == 0) return c;
  c.start = below(dim);
  c.step = 1 + below(3);
  if (below(2)) c.step = -c.step;
  int64_t most = c.step > 0 ? (dim - 1 - c.start)/c.step + 1 : c.start/-c.step + 1;
  c.count = below(most + 1);
  return c;
}

static void by_cut(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  const cut *c = how;
  for (int d = 0; d < x.rank; d++) x_index[d] = d == c->axis ? c->start + z_index[d]*c->step : z_index[d];
}

static void slice_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  cut c = random_cut(type);
  ad_type z = type;
  z.dim[c.axis] = c.count;
  int64_t start = below(2) ? c.start : c.start - type.dim[c.axis];
  int axis = below(2) ? c.axis : c.axis - type.rank;
  check_map(t, x, ad_slice(x, axis, start, c.count, c.step), z, by_cut, &c, "slice");
}

static void slice_add_body(ad_tape *t, ad_type type) {
  cut c = random_cut(type);
  ad_type part = type;
  int64_t zi[AD_MAX_RANK], xi[AD_MAX_RANK];
  part.dim[c.axis] = c.count;
  ad_var base = random_input(t, type), added = random_input(t, part);
  int64_t *to = calloc((size_t)ad_type_count(part) + 1, sizeof *to);
  for (int64_t i = 0; to && i < ad_type_count(part); i++) {
    unravel(part, i, zi);
    by_cut(&c, type, zi, xi);
    to[i] = ravel(type, xi);
  }
  check_addition(t, base, added, ad_slice_add(base, added, c.axis, c.start, c.step), to, "slice_add");
  free(to);
}

typedef struct leading { int n; int64_t index[AD_MAX_RANK]; } leading;

static void by_leading(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  const leading *l = how;
  for (int d = 0; d < x.rank; d++) x_index[d] = d < l->n ? l->index[d] : z_index[d - l->n];
}

static void at_body(ad_tape *t, ad_type type) {
  leading l = { 0 };
  int64_t given[AD_MAX_RANK] = { 0 };
  ad_var x = random_input(t, type);
  while (l.n < type.rank && type.dim[l.n] && below(3)) {
    l.index[l.n] = below(type.dim[l.n]);
    given[l.n] = below(2) ? l.index[l.n] : l.index[l.n] - type.dim[l.n];
    l.n++;
  }
  ad_type z = ad_type_make(type.dtype, type.rank - l.n, type.dim + l.n);
  check_map(t, x, ad_at(x, l.n, given), z, by_leading, &l, "at");
}

static void split_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type), part[3], equal[2];
  cut c = { (int)below(type.rank), 0, 0, 1 };
  const int64_t dim = type.dim[c.axis], first = below(dim + 1), size[3] = { first, 0, dim - first };
  check(ad_split(x, c.axis - type.rank, 3, size, part) == AD_OK, "split");
  for (int k = 0; k < 3; k++) {
    ad_type z = type;
    z.dim[c.axis] = c.count = size[k];
    check_map(t, x, part[k], z, by_cut, &c, "split");
    c.start += size[k];
  }
  if (dim%2) return;
  check(ad_split(x, c.axis, 2, NULL, equal) == AD_OK, "split into equal parts");
  check(ad_type_of(equal[1]).dim[c.axis] == dim/2, "equal parts");
}

static void pad_body(ad_tape *t, ad_type type) {
  int64_t before[AD_MAX_RANK], after[AD_MAX_RANK], zi[AD_MAX_RANK];
  ad_var x[2] = { random_input(t, type), random_input(t, ad_type_make(type.dtype, 0, NULL)) };
  ad_type z = type;
  for (int d = 0; d < type.rank; d++) {
    before[d] = below(3), after[d] = below(3);
    z.dim[d] = before[d] + type.dim[d] + after[d];
  }
  place *from = places_for(z);
  for (int64_t i = 0; i < ad_type_count(z); i++) {
    bool inside = true;
    unravel(z, i, zi);
    for (int d = 0; d < z.rank; d++) {
      zi[d] -= before[d];
      inside = inside && zi[d] >= 0 && zi[d] < type.dim[d];
    }
    from[i] = inside ? (place){ 0, ravel(type, zi) } : (place){ 1, 0 };
  }
  check_places(t, 2, x, ad_pad(x[0], before, after, x[1]), z, from, 0, "pad with a variable");
  for (int64_t i = 0; i < ad_type_count(z); i++)
    if (from[i].operand == 1) from[i].operand = -1;
  check_places(t, 1, x, ad_pad(x[0], before, after, AD_VAR(1)), z, from, 1, "pad with a number");
  free(from);
}

/* --- joins ---------------------------------------------------------------------------------------------- */

static void concat_body(ad_tape *t, ad_type type) {
  const int axis = (int)below(type.rank), n = 1 + (int)below(4);
  int64_t zi[AD_MAX_RANK];
  ad_var x[4];
  ad_type z = type, each[4];
  z.dim[axis] = 0;
  for (int k = 0; k < n; k++) {
    each[k] = type;
    each[k].dim[axis] = below(4);
    z.dim[axis] += each[k].dim[axis];
    x[k] = random_input(t, each[k]);
  }
  place *from = places_for(z);
  for (int64_t i = 0; i < ad_type_count(z); i++) {
    unravel(z, i, zi);
    int k = 0;
    while (zi[axis] >= each[k].dim[axis]) zi[axis] -= each[k++].dim[axis];
    from[i] = (place){ k, ravel(each[k], zi) };
  }
  check_places(t, n, x, ad_concat(n, x, below(2) ? axis : axis - type.rank), z, from, 0, "concat");
  free(from);
}

static void stack_body(ad_tape *t, ad_type type) {
  const int axis = (int)below(type.rank + 1), n = 1 + (int)below(4);
  int64_t zi[AD_MAX_RANK], xi[AD_MAX_RANK];
  ad_var x[4];
  ad_type z = { type.dtype, type.rank + 1, { 0 } };
  for (int k = 0; k < n; k++) x[k] = random_input(t, type);
  for (int d = 0; d < z.rank; d++) z.dim[d] = d < axis ? type.dim[d] : d == axis ? n : type.dim[d - 1];
  place *from = places_for(z);
  for (int64_t i = 0; i < ad_type_count(z); i++) {
    unravel(z, i, zi);
    for (int d = 0; d < type.rank; d++) xi[d] = zi[d < axis ? d : d + 1];
    from[i] = (place){ (int)zi[axis], ravel(type, xi) };
  }
  check_places(t, n, x, ad_stack(n, x, below(2) ? axis : axis - z.rank), z, from, 0, "stack");
  free(from);
}

static void by_modulus(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  const int new = *(const int *)how;
  for (int d = 0; d < x.rank; d++) x_index[d] = z_index[d + new]%x.dim[d];
}

static void tile_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  int64_t reps[AD_MAX_RANK];
  int rank = (int)below(5), new = rank > type.rank ? rank - type.rank : 0;
  ad_type z = { type.dtype, type.rank + new, { 0 } };
  for (int d = 0; d < rank; d++) reps[d] = below(4);
  for (int d = 0; d < z.rank; d++)
    z.dim[d] = (d < new ? 1 : type.dim[d - new])*(d < z.rank - rank ? 1 : reps[d - (z.rank - rank)]);
  check_map(t, x, ad_tile(x, rank, reps), z, by_modulus, &new, "tile");
}

static void by_quotient(const void *how, ad_type x, const int64_t z_index[], int64_t x_index[]) {
  const int64_t *a = how;
  for (int d = 0; d < x.rank; d++) x_index[d] = d == a[0] ? z_index[d]/a[1] : z_index[d];
}

static void repeat_body(ad_tape *t, ad_type type) {
  ad_var x = random_input(t, type);
  const int64_t how[2] = { below(type.rank), below(4) };
  ad_type z = type;
  z.dim[how[0]] *= how[1];
  check_map(t, x, ad_repeat(x, (int)how[0] - type.rank, how[1]), z, by_quotient, how, "repeat");
}

/* --- sizes that threads share --------------------------------------------------------------------------- */

static void test_large_arrays(void) {
  static const ad_type shape[] = {
    { AD_F64, 2, { 333, 410 } }, { AD_F32, 3, { 67, 3, 701 } }, { AD_BOOL, 3, { 70000, 2, 1 } },
    { AD_I32, 4, { 2, 31, 2, 1050 } }, { AD_F64, 1, { 150000 } }, { AD_F32, 3, { 3, 50000, 1 } } };
  for (size_t i = 0; i < sizeof shape/sizeof *shape; i++) {
    ad_tape *t = ad_tape_new();
    transpose_body(t, shape[i]);
    slice_body(t, shape[i]);
    slice_add_body(t, shape[i]);
    flip_body(t, shape[i]);
    repeat_body(t, shape[i]);
    concat_body(t, shape[i]);
    check(ad_tape_status(t) == AD_OK, "large arrays");
    ad_tape_free(t);
  }
}

/* --- mixed operands ------------------------------------------------------------------------------------- */

static void test_mixed_types_are_promoted(void) {
  ad_tape *t = ad_tape_new();
  const float f[2] = { 1.5f, 2.5f };
  const int32_t i[2] = { 7, 8 };
  const uint8_t b[2] = { 1, 0 };
  ad_var x = ad_array(t, AD_F32(2), f), y = ad_array(t, AD_I32(2), i), w = ad_array(t, AD_BOOL(2), b);
  check_values(ad_concat(2, (ad_var[]){ x, y }, 0), (double[]){ 1.5, 2.5, 7, 8 }, "concat of f32 and i32");
  check(ad_type_of(ad_concat(2, (ad_var[]){ x, y }, 0)).dtype == AD_F32, "f32 and i32 give f32");
  check(ad_type_of(ad_concat(2, (ad_var[]){ w, w }, 0)).dtype == AD_BOOL, "bools stay bool");
  ad_var s = ad_at(x, 1, (const int64_t[]){ 0 });
  check(ad_type_of(ad_stack(2, (ad_var[]){ s, ad_real(0.25) }, 0)).dtype == AD_F32, "a literal is weak");
  check_values(ad_stack(3, (ad_var[]){ ad_integer(3), s, ad_real(0.25) }, 0), (double[]){ 3, 1.5, 0.25 },
               "stack of literals");
  const int64_t one[1] = { 1 }, none[1] = { 0 };
  check(ad_type_of(ad_pad(y, one, none, ad_real(0.5))).dtype == AD_F64, "a real literal makes integers f64");
  check(ad_type_of(ad_pad(w, one, none, ad_integer(1))).dtype == AD_BOOL, "1 fits into bool");
  check_values(ad_pad(w, one, none, ad_integer(5)), (double[]){ 5, 1, 0 }, "5 does not: i32");
  check_values(ad_slice_add(y, x, 0, 0, 1), (double[]){ 8.5, 10.5 }, "slice_add promotes");
  check(ad_tape_status(t) == AD_OK, "mixed types");
  ad_tape_free(t);
}

static void test_names(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = random_input(t, AD_F64(2, 3));
  check(!strcmp(ad_operation_name(ad_transpose(x, NULL)), "transpose"), "transpose is named");
  check(!strcmp(ad_operation_name(ad_slice(x, 1, 0, 2, 1)), "slice"), "slice is named");
  check(!strcmp(ad_operation_name(ad_flip(x, AD_ALL_AXES)), "flip"), "flip is named");
  check(!strcmp(ad_operation_name(ad_at(x, 1, (const int64_t[]){ 1 })), "at"), "at is named");
  check(!strcmp(ad_operation_name(ad_stack(1, &x, 0)), "stack"), "stack is named");
  size_t before = ad_tape_size(t);
  ad_transpose(x, (const int[]){ 0, 1 });
  ad_slice(x, 0, 0, 2, 1);
  ad_reshape(x, 2, (const int64_t[]){ 2, -1 });
  ad_broadcast_to(x, 2, (const int64_t[]){ 2, 3 });
  ad_flip(x, ad_axes_make(0, NULL));
  check(ad_tape_size(t) == before, "what moves nothing records nothing");
  ad_tape_free(t);
}

/* --- what is not connected ------------------------------------------------------------------------------ */

/* sqrt has an infinite slope at 0; elements of it that are not chosen must give 0, not nan. */
static void test_elements_not_chosen_have_no_slope(void) {
  ad_tape *t = ad_tape_new();
  const double d[4] = { 0, 4, 0, 16 };
  ad_var x = ad_array(t, AD_F64(4), d), root = ad_sqrt(x), dx, y[6];
  const int64_t one[1] = { 1 };
  y[0] = ad_at(root, 1, one);
  y[1] = ad_sum(ad_slice(root, 0, 1, 1, 1), AD_ALL_AXES, false);
  y[2] = ad_at(ad_transpose(ad_reshape(root, 2, (const int64_t[]){ 2, 2 }), NULL), 2,
               (const int64_t[]){ 1, 0 });
  y[3] = ad_at(ad_flip(root, AD_ALL_AXES), 1, (const int64_t[]){ 2 });
  y[4] = ad_at(ad_concat(2, (ad_var[]){ x, root }, 0), 1, (const int64_t[]){ 5 });
  y[5] = ad_at(ad_pad(root, one, one, ad_real(0)), 1, (const int64_t[]){ 2 });
  for (int k = 0; k < 6; k++) {
    char what[64];
    snprintf(what, sizeof what, "elements not chosen, case %d", k);
    check(ad_grad(y[k], 1, &x, &dx) == AD_OK && has_values(dx, (double[]){ 0, 0.25, 0, 0 }), what);
    double bar[4] = { 1, 1, 1, 1 };
    check(ad_backward(y[k]) == AD_OK && ad_read_adjoint(x, bar) == AD_OK && bar[0] == 0 && bar[1] == 0.25
          && bar[2] == 0 && bar[3] == 0, what);
  }
  ad_tape_free(t);
}

/* sum_i x[i]^3 through scalars: the adjoints of the elements gather in one array. */
static void test_a_loop_over_elements(void) {
  enum { N = 200 };
  ad_tape *t = ad_tape_new();
  double d[N], want[N];
  for (int i = 0; i < N; i++) d[i] = i%7 - 3, want[i] = 3*d[i]*d[i];
  ad_var x = ad_array(t, AD_F64(N), d), y = ad_real(0), dx;
  for (int64_t i = 0; i < N; i++) {
    ad_var e = ad_at(x, 1, &i);
    y = ad_add(y, ad_mul(e, ad_mul(e, e)));
  }
  check(ad_grad(y, 1, &x, &dx) == AD_OK && has_values(dx, want), "gradient of a loop over elements");
  check(ad_backward(y) == AD_OK && ad_read_adjoint(x, d) == AD_OK && !memcmp(d, want, sizeof d),
        "backward through it");
  ad_tape_free(t);
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void test_shape_errors(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = random_input(t, AD_F64(2, 3)), v = random_input(t, AD_F64(3));
  const int64_t bad[2] = { 4, 2 }, two_missing[2] = { -1, -1 }, huge[2] = { INT64_MAX/8, 3 },
      odd[2] = { 4, -1 };
  check_error(t, ad_reshape(x, 2, bad), AD_ERROR_SHAPE,
              "reshape: f64(2,3) and (4,2) differ in the number of elements");
  check_error(t, ad_reshape(x, 2, two_missing), AD_ERROR_SHAPE, "reshape: f64(2,3) and (-1,-1)");
  check_error(t, ad_reshape(x, 2, odd), AD_ERROR_SHAPE, "reshape: f64(2,3) and (4,-1)");
  check_error(t, ad_reshape(x, 9, bad), AD_ERROR_ARGUMENT, "reshape: rank 9 is not within 0 and 8");
  check_error(t, ad_reshape(x, -1, bad), AD_ERROR_ARGUMENT, "reshape: rank -1");
  check_error(t, ad_reshape(x, 2, NULL), AD_ERROR_ARGUMENT, "reshape: no dimensions");
  check_error(t, ad_transpose(x, (const int[]){ 0, 0 }), AD_ERROR_ARGUMENT,
              "transpose: not a permutation of the axes of f64(2,3)");
  check_error(t, ad_transpose(x, (const int[]){ 0, 2 }), AD_ERROR_ARGUMENT, "transpose: not a permutation");
  check_error(t, ad_broadcast_to(v, 2, bad), AD_ERROR_SHAPE,
              "broadcast_to: f64(3) does not broadcast to (4,2)");
  check_error(t, ad_broadcast_to(x, 1, bad), AD_ERROR_SHAPE,
              "broadcast_to: f64(2,3) does not broadcast to (4)");
  check_error(t, ad_broadcast_to(v, 2, huge), AD_ERROR_SIZE, "broadcast_to: ");
  check_error(t, ad_broadcast_to(v, 9, bad), AD_ERROR_ARGUMENT, "broadcast_to: rank 9");
  check_error(t, ad_squeeze(x, AD_AXES(0)), AD_ERROR_SHAPE, "squeeze: axis 0 of f64(2,3) has not size 1");
  check_error(t, ad_squeeze(x, AD_AXES(2)), AD_ERROR_ARGUMENT, "squeeze: axes repeat or are not in f64(2,3)");
  check_error(t, ad_expand(x, 3), AD_ERROR_ARGUMENT, "expand: axis 3 is not within -3 and 2");
  check_error(t, ad_flip(x, AD_AXES(0, -2)), AD_ERROR_ARGUMENT, "flip: axes repeat");
  ad_var full = ad_zeros(t, ad_type_make(AD_F64, 8, (const int64_t[]){ 1, 1, 1, 1, 1, 1, 1, 1 }));
  check_error(t, ad_expand(full, 0), AD_ERROR_SHAPE, "has 8 axes already");
  check_error(t, ad_stack(1, &full, 0), AD_ERROR_SHAPE, "has 8 axes already");
  check(ad_type_of(ad_flip(ad_transpose(full, NULL), AD_ALL_AXES)).rank == 8, "rank 8 works");
  ad_tape_free(t);
}

static void test_slice_errors(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = random_input(t, AD_F64(2, 5)), out[2];
  const int64_t outside[2] = { 1, 5 }, three[3] = { 0, 0, 0 }, sizes[2] = { 2, 2 }, one[2] = { 1, 1 },
      minus[2] = { -1, 0 };
  const int64_t huge[2] = { INT64_MAX, INT64_MAX };
  check_error(t, ad_slice(x, 2, 0, 1, 1), AD_ERROR_ARGUMENT, "slice: axis 2 is not in f64(2,5)");
  check_error(t, ad_slice(x, 1, 3, 4, 1), AD_ERROR_ARGUMENT,
              "slice: start 3, count 4, step 1 do not fit axis 1 of f64(2,5)");
  check_error(t, ad_slice(x, 1, -6, 1, 1), AD_ERROR_ARGUMENT, "slice: start -6");
  check_error(t, ad_slice(x, 1, 5, 1, 1), AD_ERROR_ARGUMENT, "slice: start 5");
  check_error(t, ad_slice(x, 1, 0, -1, 1), AD_ERROR_ARGUMENT, "count -1");
  check_error(t, ad_slice(x, 1, 0, 1, 0), AD_ERROR_ARGUMENT, "slice: a step of 0 along axis 1");
  check_error(t, ad_slice(x, 1, 0, 3, INT64_MAX), AD_ERROR_ARGUMENT, "do not fit");
  check_error(t, ad_slice(x, 1, 4, INT64_MAX, INT64_MIN), AD_ERROR_ARGUMENT, "do not fit");
  check(ad_type_of(ad_slice(x, 1, 5, 0, 1)).dim[1] == 0, "an empty slice at the end");
  check_error(t, ad_slice_add(x, ad_zeros(t, AD_F64(3, 1)), 1, 0, 1), AD_ERROR_SHAPE,
              "slice_add: the slice is f64(2,1), the part f64(3,1)");
  check_error(t, ad_slice_add(x, ad_zeros(t, AD_F64(2, 6)), 1, 0, 1), AD_ERROR_ARGUMENT,
              "slice_add: start 0, count 6");
  check_error(t, ad_at(x, 2, outside), AD_ERROR_ARGUMENT, "at: index 5 is outside of axis 1 of f64(2,5)");
  check_error(t, ad_at(x, 3, three), AD_ERROR_ARGUMENT, "at: 3 indices into f64(2,5)");
  check_error(t, ad_at(x, -1, three), AD_ERROR_ARGUMENT, "at: -1 indices");
  check(ad_split(x, 1, 2, sizes, out) == AD_ERROR_SHAPE, "split refuses");
  check_error(t, out[1], AD_ERROR_SHAPE, "split: sizes do not add up");
  check(ad_split(x, 1, 2, NULL, out) == AD_ERROR_SHAPE, "split refuses");
  check_error(t, out[0], AD_ERROR_SHAPE, "split: the axis has no such number of equal parts");
  check(ad_split(x, 2, 2, NULL, out) == AD_ERROR_ARGUMENT, "split refuses");
  check_error(t, out[0], AD_ERROR_ARGUMENT, "split: axis 2 is not in f64(2,5)");
  check_error(t, ad_pad(x, minus, one, AD_VAR(0)), AD_ERROR_ARGUMENT, "pad: a negative width along axis 0");
  check_error(t, ad_pad(x, huge, one, AD_VAR(0)), AD_ERROR_SIZE, "pad: axis 0 becomes too long");
  check_error(t, ad_pad(x, one, one, x), AD_ERROR_SHAPE, "pad: the value is f64(2,5), not a scalar");
  check_error(t, ad_pad(x, NULL, one, AD_VAR(0)), AD_ERROR_ARGUMENT, "pad: no widths");
  ad_tape_free(t);
}

static void test_join_errors(void) {
  ad_tape *t = ad_tape_new(), *other = ad_tape_new();
  ad_var x = random_input(t, AD_F64(2, 3)), y = random_input(t, AD_F64(3, 3)),
      away = random_input(other, AD_F64(2, 3));
  check_error(t, ad_concat(2, (ad_var[]){ x, y }, 1), AD_ERROR_SHAPE,
              "concat: array 1 is f64(3,3), which does not fit the first, f64(2,3)");
  check_error(t, ad_concat(2, (ad_var[]){ x, y }, 2), AD_ERROR_ARGUMENT, "concat: axis 2 is not in f64(2,3)");
  check_error(t, ad_stack(2, (ad_var[]){ x, y }, 0), AD_ERROR_SHAPE, "stack: array 1 is f64(3,3)");
  check_error(t, ad_stack(1, &x, 3), AD_ERROR_ARGUMENT, "stack: axis 3 is not in a result of rank 3");
  check_error(t, ad_concat(2, (ad_var[]){ x, away }, 0), AD_ERROR_TAPES, "concat: ");
  check(!ad_is_valid(ad_concat(0, NULL, 0)), "concat of nothing");
  check_error(t, ad_repeat(x, 0, -1), AD_ERROR_ARGUMENT, "repeat: -1 repetitions");
  check_error(t, ad_repeat(x, 0, INT64_MAX/2), AD_ERROR_SIZE, "repeat: the result is too big");
  check_error(t, ad_repeat(x, 2, 2), AD_ERROR_ARGUMENT, "repeat: axis 2 is not in f64(2,3)");
  check_error(t, ad_tile(x, 1, (const int64_t[]){ -2 }), AD_ERROR_ARGUMENT, "tile: -2 repetitions");
  check_error(t, ad_tile(x, 2, (const int64_t[]){ INT64_MAX/8, 9 }), AD_ERROR_SIZE,
              "tile: the result is too big");
  check_error(t, ad_tile(x, 9, NULL), AD_ERROR_ARGUMENT, "tile: 9 numbers");
  ad_var invalid = ad_concat(2, (ad_var[]){ x, y }, 1);
  ad_tape_clear(t);
  check_error(t, ad_slice(invalid, 0, 0, 1, 1), AD_ERROR_HANDLE, "slice: ");
  check_error(t, ad_transpose(invalid, NULL), AD_ERROR_HANDLE, "transpose: ");
  check_error(t, ad_concat(2, (ad_var[]){ x, invalid }, 0), AD_ERROR_HANDLE, "concat: ");
  check_error(t, ad_tile(invalid, 0, NULL), AD_ERROR_HANDLE, "");
  check_error(t, ad_pad(invalid, NULL, NULL, AD_VAR(0)), AD_ERROR_HANDLE, "pad: ");
  ad_tape_free(other);
  ad_tape_free(t);
}

int main(void) {
  on_random_types(0, 8, reshape_body);
  on_random_types(0, 7, expand_body);
  on_random_types(0, 8, transpose_body);
  on_random_types(0, 6, broadcast_body);
  on_random_types(0, 8, flip_body);
  on_random_types(1, 8, slice_body);
  on_random_types(1, 8, slice_add_body);
  on_random_types(0, 8, at_body);
  on_random_types(1, 6, split_body);
  on_random_types(0, 5, pad_body);
  on_random_types(1, 6, concat_body);
  on_random_types(0, 7, stack_body);
  on_random_types(0, 5, tile_body);
  on_random_types(1, 8, repeat_body);
  test_large_arrays();
  test_mixed_types_are_promoted();
  test_names();
  test_elements_not_chosen_have_no_slope();
  test_a_loop_over_elements();
  test_shape_errors();
  test_slice_errors();
  test_join_errors();
  return report();
}
