/* Products of matrices, systems, factorisations and determinants as C, against the interpreter; and with
 * CBLAS. */
#define _POSIX_C_SOURCE 200809L
#include "written.h"
#include "heap.h"

#include "adit.h"
#include "write/writer.h"

#define SHAPE(dtype, ...)                                                                                    \
  ad_type_make(dtype, (int)(sizeof (int64_t[]){ __VA_ARGS__ }/sizeof(int64_t)),                              \
               (const int64_t[]){ __VA_ARGS__ })

/* --- products ------------------------------------------------------------------------------------------- */

static void product_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_matmul(in[0], in[1]);
}
static void dot_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_dot(in[0], in[1]);
}
static void outer_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_outer(in[0], in[1]);
}
static void einsum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_einsum(context, 2, in);
}

/* f, its vjp and the vjp of that: all flags of transposition and sums over batches. */
static void add_with_adjoints(written *s, const char *name, ad_body *body, void *context, int n,
                              const ad_type in[]) {
  ad_function *f = ad_function_trace(name, body, context, n, in, 1);
  if (written_add(s, f) < 0 || in[0].dtype < AD_F32) return;
  const int vjp = written_add(s, ad_function_vjp(f));
  if (vjp >= 0 && in[0].dtype == AD_F64) written_add(s, ad_function_vjp(s->f[vjp]));
}

static void add_products(written *s, ad_dtype d) {
  const struct { ad_type x, y; } shape[] = {
    { SHAPE(d, 3, 4), SHAPE(d, 4, 5) },             { SHAPE(d, 17, 23), SHAPE(d, 23, 9) },
    { SHAPE(d, 7), SHAPE(d, 7, 3) },                { SHAPE(d, 5, 300), SHAPE(d, 300) },
    { SHAPE(d, 2, 3, 4), SHAPE(d, 4, 2) },          { SHAPE(d, 13, 12), SHAPE(d, 6, 12, 2) },
    { SHAPE(d, 4, 1, 8, 6), SHAPE(d, 5, 6, 2) },    { SHAPE(d, 3, 0), SHAPE(d, 0, 4) },
    { SHAPE(d, 0, 3), SHAPE(d, 3, 4) },             { SHAPE(d, 1, 1), SHAPE(d, 1, 1) },
    { SHAPE(d, 20, 24), SHAPE(d, 24, 21) },         { SHAPE(d, 1, 9), SHAPE(d, 9, 1) },
  };
  for (size_t i = 0; i < sizeof shape/sizeof *shape; i++)
    add_with_adjoints(s, "product", product_body, NULL, 2, (ad_type[]){ shape[i].x, shape[i].y });
}

static void test_products(void) {
  static const ad_dtype dtype[] = { AD_F64, AD_F32, AD_I32, AD_I64 };
  for (size_t d = 0; d < sizeof dtype/sizeof *dtype; d++) {
    written s = { 0 };
    add_products(&s, dtype[d]);
    const ad_type vectors[4] = { SHAPE(dtype[d], 1003), SHAPE(dtype[d], 1003), SHAPE(dtype[d], 6),
                                 SHAPE(dtype[d], 31) };
    add_with_adjoints(&s, "dot", dot_body, NULL, 2, vectors);
    add_with_adjoints(&s, "outer", outer_body, NULL, 2, vectors + 2);
    if (written_open(&s, NULL, ""))
      for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, NULL);
    written_close(&s);
  }
}

static void test_einsum(void) {
  static const char *const equation[] = { "bij,bjk->bik", "ij,kj->ki", "ij,ij->", "bi,bi->b" };
  written s = { 0 };
  add_with_adjoints(&s, "einsum", einsum_body, (void *)(uintptr_t)equation[0], 2,
                    (ad_type[]){ SHAPE(AD_F64, 3, 4, 5), SHAPE(AD_F64, 3, 5, 2) });
  for (int i = 1; i < 4; i++)
    add_with_adjoints(&s, "einsum", einsum_body, (void *)(uintptr_t)equation[i], 2,
                      (ad_type[]){ SHAPE(AD_F64, 4, 6), SHAPE(AD_F64, 4, 6) });
  if (written_open(&s, NULL, ""))
    for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, NULL);
  written_close(&s);
}

/* The text must call CBLAS, or the test has shown nothing. */
static void test_cblas(void) {
  char line[512];
  bool found = false;
  written s = { 0 };
  add_products(&s, AD_F64);
  add_products(&s, AD_F32);
  if (written_open(&s, &(ad_code){ .cblas = true }, "-lopenblas"))
    for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, NULL);
  FILE *file = s.folder ? fopen(folder_path(s.folder, "t.c"), "r") : NULL;
  while (file && fgets(line, sizeof line, file)) found |= strstr(line, "default: cblas_dgemm") != NULL;
  if (file) fclose(file);
  CHECK(found);
  written_close(&s);
}

/* --- systems -------------------------------------------------------------------------------------------- */

static void solve_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_solve(in[0], in[1]);
}
static void triangular_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int how = *(const int *)context;
  (void)t;
  out[0] = ad_solve_triangular(in[0], in[1], how & 1, how & 2);
}
static void inverse_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_inv(in[0]);
}
static void det_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_det(in[0]);
}
static void logabsdet_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_logabsdet(in[0]);
}
static void cholesky_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_cholesky(in[0]);
}

/* A multiple of the identity is added to the matrices in input 0, where they are square. */
static void shift_diagonal(written_arrays *v, double by) {
  const ad_type a = v->type[0];
  const int64_t n = a.dim[a.rank - 1];
  for (int64_t e = 0; n > 0 && e < ad_type_count(a); e++)
    if (e/n%n == e%n) check_set_element(a.dtype, v->a[0], e, check_element(a.dtype, v->a[0], e) + by);
}
static void make_positive(written_arrays *v) { shift_diagonal(v, 9); }
static void make_regular(written_arrays *v) { shift_diagonal(v, 3); }

static void add_systems(written *s, ad_dtype d) {
  const struct { ad_type a, b; } shape[] = {
    { SHAPE(d, 3, 3), SHAPE(d, 3) },              { SHAPE(d, 12, 12), SHAPE(d, 12, 5) },
    { SHAPE(d, 4, 4), SHAPE(d, 6, 4, 1) },        { SHAPE(d, 2, 1, 4, 4), SHAPE(d, 3, 4, 2) },
    { SHAPE(d, 1, 1), SHAPE(d, 1) },              { SHAPE(d, 0, 0), SHAPE(d, 0, 2) },
  };
  static int how[4] = { 0, 1, 2, 3 };
  for (size_t i = 0; i < sizeof shape/sizeof *shape; i++) {
    ad_type in[2] = { shape[i].a, shape[i].b };
    add_with_adjoints(s, "solve", solve_body, NULL, 2, in);
    if (i < 4) add_with_adjoints(s, "solve_triangular", triangular_body, &how[i], 2, in);
  }
}

static void test_systems(void) {
  for (ad_dtype d = AD_F32; d <= AD_F64; d++) {
    written s = { 0 };
    add_systems(&s, d);
    if (written_open(&s, NULL, ""))
      for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, make_regular);
    written_close(&s);
  }
}

static void add_factors(written *s, ad_dtype d) {
  static const struct { const char *name; ad_body *body; } of[] = {
    { "inv", inverse_body }, { "det", det_body }, { "logabsdet", logabsdet_body },
    { "cholesky", cholesky_body }
  };
  const ad_type shape[] = { SHAPE(d, 3, 3), SHAPE(d, 9, 9), SHAPE(d, 2, 3, 4, 4), SHAPE(d, 0, 0) };
  for (size_t i = 0; i < sizeof of/sizeof *of; i++)
    for (size_t k = 0; k < sizeof shape/sizeof *shape; k++)
      add_with_adjoints(s, of[i].name, of[i].body, NULL, 1, &shape[k]);
}

static void test_factors(void) {
  for (ad_dtype d = AD_F32; d <= AD_F64; d++) {
    written s = { 0 };
    add_factors(&s, d);
    if (written_open(&s, NULL, ""))
      for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, make_positive);
    written_close(&s);
  }
}

/* Rows that have to change place; a determinant of 1e400 on the way; a singular matrix, an indefinite one. */
static void permuted(written_arrays *v) {
  for (int64_t i = 0; i < 3; i++)
    for (int64_t j = 0; j < 3; j++)
      check_set_element(AD_F64, v->a[0], i*3 + j, (double)((i + j)%3 == 1) + .1*(double)(i*j));
}
static void singular(written_arrays *v) {
  for (int64_t e = 0; e < 9; e++) check_set_element(AD_F64, v->a[0], e, 0);
  check_set_element(AD_F64, v->a[0], 0, -1);
}
static void huge(written_arrays *v) {
  static const double diagonal[3] = { 1e200, 1e200, 1e-200 };
  for (int64_t e = 0; e < 9; e++) check_set_element(AD_F64, v->a[0], e, e%4 ? 0 : diagonal[e/4]);
}

static void test_edges(void) {
  static int lower = 1;
  written s = { 0 };
  const ad_type in[2] = { SHAPE(AD_F64, 3, 3), SHAPE(AD_F64, 3) };
  written_add(&s, ad_function_trace("solve", solve_body, NULL, 2, in, 1));
  written_add(&s, ad_function_trace("triangular", triangular_body, &lower, 2, in, 1));
  written_add(&s, ad_function_trace("det", det_body, NULL, 1, in, 1));
  written_add(&s, ad_function_trace("cholesky", cholesky_body, NULL, 1, in, 1));
  written_add(&s, ad_function_trace("logabsdet", logabsdet_body, NULL, 1, in, 1));
  written_add(&s, ad_function_gradient(s.f[2], 0, NULL));
  if (written_open(&s, NULL, ""))
    for (int i = 0; i < s.n; i++) {
      written_compare(&s, i, 1e-12, permuted);
      written_compare(&s, i, 1e-12, singular);
      if (i != 5) written_compare(&s, i, 1e-12, huge);
    }
  written_close(&s);
}

/* --- small arrays as scalars ---------------------------------------------------------------------------- */

/* v -> R v + t, R turned by an angle about an axis: Rodrigues' formula, with the matrix of the cross
 * product. */
static void turn_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var k = in[0], zero = ad_real(0);
  ad_var e[3], row[3];
  (void)context;
  for (int64_t i = 0; i < 3; i++) e[i] = ad_at(k, 1, &i);
  row[0] = ad_stack(3, (ad_var[]){ ad_mul(e[0], zero), ad_neg(e[2]), e[1] }, 0);
  row[1] = ad_stack(3, (ad_var[]){ e[2], ad_mul(e[1], zero), ad_neg(e[0]) }, 0);
  row[2] = ad_stack(3, (ad_var[]){ ad_neg(e[1]), e[0], ad_mul(e[2], zero) }, 0);
  const ad_var cross = ad_stack(3, row, 0), angle = in[1];
  ad_var turn = ad_add(ad_eye(t, 3, 3, 0, AD_F64), ad_mul(ad_sin(angle), cross));
  turn = ad_add(turn, ad_mul(ad_sub(1, ad_cos(angle)), ad_matmul(cross, cross)));
  out[0] = ad_add(ad_matmul(turn, in[2]), in[3]);
  out[1] = ad_sum(ad_square(out[0]), AD_ALL_AXES, false);
}

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_map(context, in, out);
}

/* A state of four numbers: x' = A x + B u, with gain on its parts; and what movement there is. */
static void state_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_var x = in[0], u = in[1], a = in[2];
  const ad_var front = ad_slice(x, 0, 0, 2, 1), back = ad_flip(ad_slice(x, 0, 2, 2, 1), AD_ALL_AXES);
  const ad_var moved = ad_concat(2, (ad_var[]){ back, front }, 0);
  ad_var square = ad_add(ad_tril(a, 0), ad_mul(ad_transpose(ad_triu(a, 1), NULL), ad_real(.5)));
  square = ad_sub(square, ad_outer(ad_diag(a, 0), ad_full(t, ad_type_of(x), .25)));
  ad_var next = ad_add(ad_tanh(ad_matmul(square, x)), ad_mul(moved, u));
  next = ad_slice_add(next, ad_mul(front, ad_real(.125)), 0, 1, 2);
  out[0] = ad_add(next, ad_pad(back, (int64_t[]){ 1 }, (int64_t[]){ 1 }, ad_real(.5)));
  out[1] = ad_dot(x, next);
}

/* All types, parts put into others, batches of products, sums over some axes. x (2, 3), k (3) of i32. */
static void mixed_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var x = in[0], k = in[1], positive = ad_greater(x, 0);
  const int64_t first = 1, stack[3] = { 2, 3, 2 }, wide[3] = { 4, 2, 3 };
  (void)context;
  const ad_var both = ad_select(positive, ad_mul(x, k), ad_exp(x));
  const ad_var pair = ad_reshape(ad_concat(2, (ad_var[]){ both, x }, 1), 3, stack);
  const ad_var other = ad_broadcast_to(ad_eye(t, 2, 3, 1, AD_F64), 3, wide);
  out[0] = ad_matmul(pair, ad_slice(other, 0, 0, 2, 1));
  out[1] = ad_sum(positive, AD_AXES(0), true);
  out[2] = ad_at_add(both, ad_cast(k, AD_F64), 1, &first);
  out[3] = ad_matmul(ad_outer(k, k), k);
  out[4] = ad_add(ad_sum(ad_mul(other, x), AD_AXES(0, -1), false), ad_arange(t, 0, 2, 1, AD_F64));
  out[5] = ad_diag(ad_pad(x, (int64_t[]){ 0, 1 }, (int64_t[]){ 2, 0 }, in[2]), -1);
}

static void scan_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_scan(context, 1, NULL, in, out);
}

static bool is_all_scalar(const ad_function *f) {
  for (int k = 0; k < ad_function_inputs(f); k++)
    if (ad_function_input_type(f, k).rank) return false;
  return f != NULL;
}

/* The form itself runs in the interpreter too: element by element the same numbers. */
static void check_form(ad_function *f) {
  ad_function *form = write_scalar_form(f, true);
  double x[64], a[64] = { 0 }, b[64] = { 0 };
  const void *in[64], *in_form[64];
  void *out[64], *out_form[64];
  uint64_t seed = 3;
  int n = 0, m = 0;
  if (!CHECK(form != NULL) || !CHECK(is_all_scalar(form)) || !CHECK(write_scalar_form(f, true) == form))
    return;
  for (int k = 0; k < 64; k++) x[k] = check_uniform(&seed, -1, 1);
  for (int k = 0; k < 64; k++) in_form[k] = &x[k], out_form[k] = &b[k];
  for (int k = 0; k < ad_function_inputs(f); k++) {
    in[k] = &x[n];
    n += (int)ad_type_count(ad_function_input_type(f, k));
  }
  for (int j = 0; j < ad_function_outputs(f); j++) {
    out[j] = &a[m];
    m += (int)ad_type_count(ad_function_output_type(f, j));
  }
  CHECK(ad_function_inputs(form) == n && ad_function_outputs(form) == m);
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(form, in_form, out_form, NULL), AD_OK);
  for (int j = 0; j < m; j++) CHECK_NUMBER(b[j], a[j], 1e-13);
}

/* All inputs floats: check_form gives them all that it has. */
static void check_form_of_vjp(ad_function *f) {
  ad_function *vjp = ad_function_vjp(f);
  if (CHECK(vjp != NULL)) check_form(vjp);
  ad_function_free(vjp);
}

/* Memory that fails at one call after the other, until all goes well; and all of it comes back. */
static void test_memory(void) {
  heap h = { 0 };
  const ad_allocator allocator = heap_allocator(&h);
  const ad_type state[3] = { SHAPE(AD_F64, 4), ad_type_make(AD_F64, 0, NULL), SHAPE(AD_F64, 4, 4) };
  ad_status status = AD_ERROR_MEMORY;
  long calls = 0;
  FILE *nowhere = fopen("/dev/null", "w");
  for (; status != AD_OK && calls < 5000 && CHECK(nowhere != NULL); calls++) {
    heap_fail(&h, 0, false);
    ad_function *f = ad_function_trace_with(&allocator, "step", state_body, NULL, 3, state, 2, NULL);
    if (!CHECK(f != NULL)) break;
    heap_fail(&h, calls + 1, true);
    status = ad_function_emit_c(f, nowhere, NULL, NULL, NULL);
    if (!CHECK(status == AD_OK || status == AD_ERROR_MEMORY)) break;
    ad_function_free(f);
    if (!CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h))) break;
  }
  CHECK(status == AD_OK && calls > 20);
  if (nowhere) fclose(nowhere);
}

static void test_scalars(void) {
  written s = { 0 };
  const ad_type three = SHAPE(AD_F64, 3), many = SHAPE(AD_F64, 150, 3);
  const ad_type number = ad_type_make(AD_F64, 0, NULL);
  const ad_type one[4] = { three, number, three, three };
  const ad_type all[4] = { many, SHAPE(AD_F64, 150), many, three };
  const ad_type state[3] = { SHAPE(AD_F64, 4), number, SHAPE(AD_F64, 4, 4) };
  const ad_type states[3] = { SHAPE(AD_F64, 4), SHAPE(AD_F64, 20), SHAPE(AD_F64, 4, 4) };
  ad_function *turn = ad_function_trace("turn", turn_body, NULL, 4, one, 2);
  ad_function *step = ad_function_trace("step", state_body, NULL, 3, state, 2);
  if (CHECK(turn && step)) {
    check_form(turn);
    check_form(step);
    check_form_of_vjp(turn);
    check_form_of_vjp(step);
    const ad_type mixed[3] = { SHAPE(AD_F64, 2, 3), SHAPE(AD_I32, 3), number };
    written_add(&s, ad_function_trace("mixed", mixed_body, NULL, 3, mixed, 6));
    CHECK(s.n == 1 && write_scalar_form(s.f[0], true) != NULL);
    written_add(&s, ad_function_trace("map", map_body, turn, 4, all, 2));
    written_add(&s, ad_function_trace("scan", scan_body, step, 3, states, 2));
    written_add(&s, ad_function_retain(turn));
    for (int i = 0; i < 4; i++) written_add(&s, ad_function_vjp(s.f[i]));
    if (written_open(&s, NULL, ""))
      for (int i = 0; i < s.n; i++) written_compare(&s, i, 1e-12, NULL);
  }
  ad_function_free(turn);
  ad_function_free(step);
  written_close(&s);
}

/* Long arrays and big products stay as they are. */
static void test_no_scalars(void) {
  const ad_type big[2] = { SHAPE(AD_F64, 12, 12), SHAPE(AD_F64, 12, 12) };
  const ad_type none[2] = { SHAPE(AD_F64, 200), SHAPE(AD_F64, 200) };
  ad_function *f = ad_function_trace("big", product_body, NULL, 2, big, 1);
  ad_function *g = ad_function_trace("long", dot_body, NULL, 2, none, 1);
  const ad_type small[2] = { SHAPE(AD_F64, 3, 3), SHAPE(AD_F64, 3) };
  ad_function *h = ad_function_trace("solve", solve_body, NULL, 2, small, 1);
  CHECK(f && !write_scalar_form(f, true));
  CHECK(g && !write_scalar_form(g, true));
  CHECK(h && !write_scalar_form(h, true));
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(h);
}

int main(void) {
  test_scalars();
  test_memory();
  test_no_scalars();
  test_products();
  test_einsum();
  test_cblas();
  test_systems();
  test_factors();
  test_edges();
  return check_summary();
}
