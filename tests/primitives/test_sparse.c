/* test_sparse.c -- products with sparse matrices by rows against dense ones: empty and long rows, repeated
 * entries, narrow and wide arrays, both data types, tangents and cotangents; what is not connected; patterns
 * that are none. */
#include "check.h"
#include "heap.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "primitives/sparse_rows.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 9, COLUMNS = 7, MOST = 100, ENTRIES = 80 };

typedef struct sparse {
  int64_t entries, width, start[ROWS + 1], column[ENTRIES];
  double value[ENTRIES], x[ROWS*MOST], dense[ROWS][COLUMNS];
} sparse;

/* Rows of 0 to 9 entries; numbers that products and sums of are exact. */
static void fill(sparse *s, uint64_t *state, int64_t width) {
  memset(s, 0, sizeof *s);
  s->width = width;
  for (int i = 0; i < ROWS; i++) {
    const int n = check_below(state, 10);
    s->start[i] = s->entries;
    for (int k = 0; k < n && s->entries < ENTRIES; k++, s->entries++) {
      s->column[s->entries] = check_below(state, COLUMNS);
      s->value[s->entries] = check_below(state, 17) - 8;
      s->dense[i][s->column[s->entries]] += s->value[s->entries];
    }
  }
  s->start[ROWS] = s->entries;
  for (int64_t i = 0; i < ROWS*width; i++) s->x[i] = check_below(state, 33) - 16;
}

/* (value, x (COLUMNS, width)) -> z, or x (ROWS, width) where it is transposed. */
typedef struct recording { const sparse *s; bool transposed; } recording;

static void product_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const recording *r = context;
  const ad_var start = ad_constant(t, AD_I64(ROWS + 1), r->s->start);
  const ad_var column = ad_constant(t, AD_I64(r->s->entries), r->s->column);
  out[0] = r->transposed ? ad_sparse_matmul_transposed(start, column, in[0], in[1], COLUMNS)
                         : ad_sparse_matmul(start, column, in[0], in[1]);
}

static double dense_element(const sparse *s, bool transposed, int64_t i, int64_t j) {
  double sum = 0;
  for (int k = 0; k < (transposed ? ROWS : COLUMNS); k++)
    sum += (transposed ? s->dense[k][i] : s->dense[i][k])*s->x[k*s->width + j];
  return sum;
}

static void check_product(const sparse *s, ad_dtype dtype, bool transposed) {
  static double value[ENTRIES], x[ROWS*MOST], z[ROWS*MOST], slope[ENTRIES], back[ROWS*MOST];
  recording r = { s, transposed };
  const int64_t rows = transposed ? COLUMNS : ROWS, columns = transposed ? ROWS : COLUMNS;
  ad_type in[2] = { AD_F64(s->entries), AD_F64(columns, s->width) };
  for (int k = 0; k < 2; k++) in[k].dtype = dtype;
  ad_function *f = ad_function_trace("product", product_body, &r, 2, in, 1), *v = ad_function_vjp(f);
  if (!CHECK(f && v)) return;
  for (int64_t e = 0; e < s->entries; e++) check_set_element(dtype, value, e, s->value[e]);
  for (int64_t i = 0; i < columns*s->width; i++) check_set_element(dtype, x, i, s->x[i]);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ value, x }, (void *const[]){ z }, NULL), AD_OK);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < s->width; j++)
      CHECK_NUMBER(check_element(dtype, z, i*s->width + j), dense_element(s, transposed, i, j), 0);
  /* With cotangents of one everywhere: sums of rows of x, and of the matrix. */
  for (int64_t i = 0; i < rows*s->width; i++) check_set_element(dtype, z, i, 1);
  void *const out[3] = { NULL, slope, back };
  CHECK_STATUS(ad_function_call(v, (const void *const[]){ value, x, z }, out, NULL), AD_OK);
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t e = s->start[i]; e < s->start[i + 1]; e++) {
      double sum = 0;
      for (int64_t j = 0; j < s->width; j++) sum += s->x[(transposed ? i : s->column[e])*s->width + j];
      CHECK_NUMBER(check_element(dtype, slope, e), sum, 0);
    }
  for (int64_t k = 0; k < columns; k++) {
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += transposed ? s->dense[k][i] : s->dense[i][k];
    for (int64_t j = 0; j < s->width; j++) CHECK_NUMBER(check_element(dtype, back, k*s->width + j), sum, 0);
  }
  ad_function_free(v);
  ad_function_free(f);
}

/* One kernel on rows that lie further apart in x than in z. Rows from `cut` on come first, and neither part
 * writes beyond its end: not to the other's rows, nor behind the last one. */
static void check_kernel(const sparse *s, ad_dtype dtype, sparse_rows_kernel *kernel, int64_t cut) {
  enum { BEHIND = 16 };
  static double value[ENTRIES], x[COLUMNS*(MOST + 3)], z[ROWS*MOST + BEHIND];
  const int64_t pitch = s->width + 3, end = ROWS*s->width;
  for (int64_t e = 0; e < s->entries; e++) check_set_element(dtype, value, e, s->value[e]);
  for (int64_t i = 0; i < COLUMNS; i++)
    for (int64_t j = 0; j < pitch; j++)
      check_set_element(dtype, x, i*pitch + j, j < s->width ? s->x[i*s->width + j] : NAN);
  for (int64_t i = 0; i < end + BEHIND; i++) check_set_element(dtype, z, i, 99);
  kernel(&(sparse_rows){ s->start, s->column, value, x, z, cut, ROWS, s->width, pitch });
  kernel(&(sparse_rows){ s->start, s->column, value, x, z, 0, cut, s->width, pitch });
  for (int64_t i = end; i < end + BEHIND; i++) CHECK_NUMBER(check_element(dtype, z, i), 99, 0);
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t j = 0; j < s->width; j++)
      CHECK_NUMBER(check_element(dtype, z, i*s->width + j), dense_element(s, false, i, j), 0);
}

static void check_kernels(const sparse *s, int64_t cut) {
#if SPARSE_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    check_kernel(s, AD_F64, sparse_rows_f64_avx2, cut);
    check_kernel(s, AD_F32, sparse_rows_f32_avx2, cut);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    check_kernel(s, AD_F64, sparse_rows_f64_avx512, cut);
    check_kernel(s, AD_F32, sparse_rows_f32_avx512, cut);
  }
#else
  (void)s, (void)cut, (void)check_kernel;
#endif
}

/* Every place of a row's end within a vector. */
static void test_kernels(void) {
  static sparse s;
  uint64_t state = 11;
  for (int64_t width = 1; width <= 40; width++)
    for (int64_t cut = 0; cut <= ROWS; cut++) {
      fill(&s, &state, width);
      check_kernels(&s, cut);
    }
}

static void test_products(void) {
  static const int64_t widths[] = { 1, 3, 7, 8, 9, 31, 84, 100 };
  static sparse s;
  uint64_t state = 5;
  for (size_t k = 0; k < sizeof widths/sizeof *widths; k++)
    for (int trial = 0; trial < 8; trial++) {
      fill(&s, &state, widths[k]);
      check_kernels(&s, ROWS);
      for (int which = 0; which < 4; which++) check_product(&s, which & 1 ? AD_F32 : AD_F64, which & 2);
    }
}

/* --- many rows, which threads share --------------------------------------------------------------------- */

static void test_many(void) {
  enum { N = 5000, WIDTH = 40 };
  int64_t *start = malloc((N + 1)*sizeof *start), *column = malloc(2*N*sizeof *column);
  double *value = malloc(2*N*sizeof *value), *x = malloc((size_t)N*WIDTH*sizeof *x);
  double *z = malloc((size_t)N*WIDTH*sizeof *z);
  for (int64_t i = 0; i <= N; i++) start[i] = 2*i;
  for (int64_t e = 0; e < 2*N; e++) column[e] = e*7%N, value[e] = (double)(e%5);
  for (int64_t i = 0; i < N*WIDTH; i++) x[i] = (double)(i%11);
  ad_tape *t = ad_tape_new();
  const ad_var y = ad_sparse_matmul(ad_constant(t, AD_I64(N + 1), start), ad_constant(t, AD_I64(2*N), column),
                                    ad_constant(t, AD_F64(2*N), value), ad_array(t, AD_F64(N, WIDTH), x));
  CHECK_STATUS(ad_read(y, z), AD_OK);
  for (int64_t i = 0; i < N; i++)
    for (int64_t j = 0; j < WIDTH; j++) {
      double sum = 0;
      for (int64_t e = 2*i; e < 2*i + 2; e++) sum += value[e]*x[column[e]*WIDTH + j];
      if (z[i*WIDTH + j] != sum) CHECK_NUMBER(z[i*WIDTH + j], sum, 0);
    }
  ad_tape_free(t);
  free(start), free(column), free(value), free(x), free(z);
}

/* Few columns that many entries meet, in rows that are no multiple of a vector. */
static void test_repeated(void) {
  enum { N = 50, COUNT = 4*N, WIDTH = 21 };
  int64_t start[N + 1], column[COUNT];
  double value[COUNT], x[3*WIDTH], z[N*WIDTH];
  for (int i = 0; i <= N; i++) start[i] = 4*i;
  for (int e = 0; e < COUNT; e++) column[e] = e*5%3, value[e] = e%7;
  for (int i = 0; i < 3*WIDTH; i++) x[i] = i%13;
  ad_tape *t = ad_tape_new();
  const ad_var in[2] = { ad_constant(t, AD_I64(N + 1), start), ad_constant(t, AD_I64(COUNT), column) };
  const ad_var y = ad_sparse_matmul(in[0], in[1], ad_array(t, AD_F64(COUNT), value),
                                    ad_array(t, AD_F64(3, WIDTH), x));
  CHECK_STATUS(ad_read(y, z), AD_OK);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < WIDTH; j++) {
      double sum = 0;
      for (int e = 4*i; e < 4*i + 4; e++) sum += value[e]*x[column[e]*WIDTH + j];
      CHECK_NUMBER(z[i*WIDTH + j], sum, 0);
    }
  ad_tape_free(t);
}

/* --- what is not connected ------------------------------------------------------------------------------ */

/* sqrt of the rows that no entry with relu(x) > 0 reaches: 0 there, and no nan in the derivative. */
static void test_connections(void) {
  const int64_t start[4] = { 0, 1, 3, 3 }, column[3] = { 0, 1, 2 };
  const double value[3] = { 2, 3, 4 }, x[3] = { -1, 5, -2 }, want_x[3] = { 0, 3/(2*sqrt(15)), 0 };
  double by_x[3], by_value[3];
  ad_tape *t = ad_tape_new();
  ad_var in[2] = { ad_array(t, AD_F64(3), x), ad_array(t, AD_F64(3), value) }, g[2];
  const ad_var z = ad_sparse_matmul(ad_constant(t, AD_I64(4), start), ad_constant(t, AD_I64(3), column),
                                    in[1], ad_relu(in[0]));
  const ad_var sum = ad_sum(ad_sqrt(z), AD_ALL_AXES, false);
  CHECK_STATUS(ad_grad(sum, 1, in, g), AD_OK);
  CHECK_STATUS(ad_read(g[0], by_x), AD_OK);
  for (int i = 0; i < 3; i++) CHECK_NUMBER(by_x[i], want_x[i], 1e-15);
  CHECK_STATUS(ad_grad(ad_sum(ad_sqrt(ad_add(z, 1)), AD_ALL_AXES, false), 2, in, g), AD_OK);
  CHECK_STATUS(ad_read(g[1], by_value), AD_OK);
  CHECK_NUMBER(by_value[0], 0, 0);
  CHECK_NUMBER(by_value[1], 5/(2*sqrt(16)), 1e-15);
  CHECK_NUMBER(by_value[2], 0, 0);
  ad_tape_free(t);
}

static void test_special_values(void) {
  const int64_t start[4] = { 0, 1, 2, 3 }, column[3] = { 0, 1, 1 };
  const double value[3] = { 0, 1, NAN }, x[2] = { INFINITY, 2 };
  double z[3];
  ad_tape *t = ad_tape_new();
  const ad_var y = ad_sparse_matmul(ad_constant(t, AD_I64(4), start), ad_constant(t, AD_I64(3), column),
                                    ad_array(t, AD_F64(3), value), ad_array(t, AD_F64(2), x));
  CHECK_STATUS(ad_read(y, z), AD_OK);
  CHECK(isnan(z[0]) && z[1] == 2 && isnan(z[2]));
  ad_tape_free(t);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

/* A pattern is looked at once where it is constant, and in every call where it is an input. */
typedef struct pattern { int64_t start[4], column[2]; } pattern;

static void by_constant(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const pattern *p = context;
  out[0] = ad_sparse_matmul(ad_constant(t, AD_I64(4), p->start), ad_constant(t, AD_I64(2), p->column), in[0],
                            in[1]);
}
static void by_input(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sparse_matmul(in[2], in[3], in[0], in[1]);
}

static void check_calls(const pattern *bad) {
  const pattern good = { { 0, 1, 2, 2 }, { 0, 2 } };
  const ad_type types[4] = { AD_F64(2), AD_F64(3), AD_I64(4), AD_I64(2) };
  const double value[2] = { 1, 2 }, x[3] = { 1, 2, 3 };
  double z[3] = { 0 };
  for (int k = 0; k < 3; k++) {
    const pattern *p = k == 0 ? &good : bad;
    ad_function *f = k < 2 ? ad_function_trace("constant", by_constant, (void *)(uintptr_t)p, 2, types, 1)
                           : ad_function_trace("input", by_input, NULL, 4, types, 1);
    const void *const in[4] = { value, x, good.start, good.column };
    const void *const wrong[4] = { value, x, bad->start, bad->column };
    CHECK_STATUS(ad_function_call(f, in, (void *[]){ z }, NULL), k == 1 ? AD_ERROR_ARGUMENT : AD_OK);
    CHECK(k == 1 || (z[0] == 1 && z[1] == 6 && z[2] == 0));
    if (k == 2) CHECK_STATUS(ad_function_call(f, wrong, (void *[]){ z }, NULL), AD_ERROR_ARGUMENT);
    ad_function_free(f);
  }
}

/* On a tape, whose inputs change. */
static void check_tape(const pattern *bad) {
  const int64_t start[4] = { 0, 1, 2, 2 }, column[2] = { 0, 2 };
  const double value[2] = { 1, 2 }, x[3] = { 1, 2, 3 };
  double z[3] = { 0 };
  ad_tape *t = ad_tape_new();
  const ad_var at[2] = { ad_array(t, AD_I64(4), start), ad_array(t, AD_I64(2), column) };
  const ad_var y = ad_sparse_matmul(at[0], at[1], ad_array(t, AD_F64(2), value), ad_array(t, AD_F64(3), x));
  CHECK_STATUS(ad_read(y, z), AD_OK);
  CHECK(z[0] == 1 && z[1] == 6 && z[2] == 0);
  CHECK_STATUS(ad_set(at[0], bad->start), AD_OK);
  CHECK_STATUS(ad_set(at[1], bad->column), AD_OK);
  CHECK_STATUS(ad_read(y, z), AD_ERROR_ARGUMENT);
  ad_tape_free(t);
}

static void refuse_values(const int64_t start[4], const int64_t column[2], const char *words) {
  const double value[2] = { 1, 2 }, x[3] = { 1, 2, 3 };
  double z[3];
  ad_tape *t = ad_tape_new();
  const ad_var y = ad_sparse_matmul(ad_constant(t, AD_I64(4), start), ad_constant(t, AD_I64(2), column),
                                    ad_array(t, AD_F64(2), value), ad_array(t, AD_F64(3), x));
  CHECK_STATUS(ad_read(y, z), AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(ad_tape_message(t), words), "%s", ad_tape_message(t));
  ad_tape_free(t);
  pattern bad;
  memcpy(bad.start, start, sizeof bad.start);
  memcpy(bad.column, column, sizeof bad.column);
  check_calls(&bad);
  check_tape(&bad);
}

static void refuse_types(ad_type start, ad_type column, ad_type value, ad_type x, bool transposed) {
  ad_tape *t = ad_tape_new();
  const ad_var in[4] = { ad_zeros(t, start), ad_zeros(t, column), ad_zeros(t, value), ad_zeros(t, x) };
  const ad_var z = transposed ? ad_sparse_matmul_transposed(in[0], in[1], in[2], in[3], 2)
                              : ad_sparse_matmul(in[0], in[1], in[2], in[3]);
  CHECK(!ad_is_valid(z));
  CHECK_STATUS(ad_tape_status(t), AD_ERROR_SHAPE);
  ad_tape_free(t);
}

static void test_refused(void) {
  const int64_t good[2] = { 0, 2 };
  refuse_values((int64_t[]){ 0, 1, 2, 1 }, good, "end with 2");
  refuse_values((int64_t[]){ 1, 1, 2, 2 }, good, "begin with 0");
  refuse_values((int64_t[]){ 0, 2, 1, 2 }, good, "row 1");
  refuse_values((int64_t[]){ 0, 3, 3, 2 }, good, "row 0");
  refuse_values((int64_t[]){ 0, 1, 2, 2 }, (int64_t[]){ 0, 3 }, "row 1");
  refuse_values((int64_t[]){ 0, 1, 2, 2 }, (int64_t[]){ -1, 0 }, "row 0");
  refuse_types(AD_I64(0), AD_I64(2), AD_F64(2), AD_F64(3), false);
  refuse_types(AD_I32(3), AD_I64(2), AD_F64(2), AD_F64(3), false);
  refuse_types(AD_I64(3), AD_I64(2, 1), AD_F64(2), AD_F64(3), false);
  refuse_types(AD_I64(3), AD_I64(2), AD_F64(3), AD_F64(3), false);
  refuse_types(AD_I64(3), AD_I64(2), AD_F64(2), AD_F64(), false);
  refuse_types(AD_I64(3), AD_I64(2), AD_F64(2), AD_F64(3), true);
}

/* Without rows, columns or entries. */
static void test_empty(void) {
  const int64_t zero[3] = { 0 };
  double z[4] = { 7, 7, 7, 7 };
  ad_tape *t = ad_tape_new();
  const ad_var starts = ad_constant(t, AD_I64(3), zero), none = ad_constant(t, AD_I64(0), zero);
  const ad_var nothing = ad_zeros(t, AD_F64(0));
  CHECK_STATUS(ad_read(ad_sparse_matmul(starts, none, nothing, ad_ones(t, AD_F64(0, 2))), z), AD_OK);
  for (int i = 0; i < 4; i++) CHECK_NUMBER(z[i], 0, 0);
  const ad_var one = ad_constant(t, AD_I64(1), zero), flat = ad_sparse_matmul(one, none, nothing,
                                                                               ad_ones(t, AD_F64(3)));
  CHECK(ad_type_count(ad_type_of(flat)) == 0);
  CHECK_STATUS(ad_read(flat, z), AD_OK);
  const ad_var turned = ad_sparse_matmul_transposed(one, none, nothing, ad_ones(t, AD_F64(0, 2)), 2);
  CHECK_STATUS(ad_read(turned, z), AD_OK);
  for (int i = 0; i < 4; i++) CHECK_NUMBER(z[i], 0, 0);
  ad_tape_free(t);
}

int main(void) {
  test_kernels();
  test_products();
  test_many();
  test_repeated();
  test_connections();
  test_special_values();
  test_refused();
  test_empty();
  return check_summary();
}
