/* test_native_rows.c -- rows that native code adds where an index wants them as it computes them: the bits of
 * the interpreter, whatever the number of threads; rows that somebody else looks at; indices out of range. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"

#include <stdlib.h>

extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

static const char *folder;

/* LOOKED_AT: the rows are an output, too. COMPUTED: the table is computed. OTHER: the rows of the table come
 * by another index. PLAIN: no table. BASE: sums begin with an input. OWN: they begin with sums of inputs, of
 * which the rows are made. SHIFTED: no table, and each row is made of the one before. ADDED: the rows are
 * added up elsewhere, too; TAKEN: the rows of the table are. ZEROS: all points are -0, and the table is 0. */
enum {
  LOOKED_AT = 1, COMPUTED = 2, OTHER = 4, PLAIN = 8, BASE = 16, OWN = 32, SHIFTED = 64, ADDED = 128,
  ZEROS = 256,
  TAKEN = 512
};
typedef struct setting { ad_dtype dtype, index; int64_t n, m, length; unsigned how; } setting;

/* The squares of the points, each with the row before. */
static ad_var shifted(const setting *s, ad_tape *t, ad_var points) {
  const ad_var squares = ad_square(points), part = ad_slice(squares, 0, 0, s->n - 1, 1);
  const ad_var first = ad_ones(t, ad_type_make(s->dtype, 2, (const int64_t[]){ 1, s->m }));
  return ad_add(ad_concat(2, (const ad_var[]){ first, part }, 0), squares);
}

/* (points, table, index) -> sums of 2 (table[index] - points) |points| at index. */
static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const ad_var table = s->how & COMPUTED ? ad_mul(in[1], 3) : in[1];
  const ad_var by = s->how & OTHER ? ad_sub(-1, in[2]) : in[2];
  const ad_var from = s->how & SHIFTED ? shifted(s, t, in[0])
                    : s->how & PLAIN ? ad_sqrt(ad_abs(in[0])) : ad_take(table, by, 0);
  const ad_var base = s->how & OWN ? ad_cumsum(in[1], 0)
                    : s->how & BASE ? ad_neg(in[1]) : ad_zeros(t, ad_type_of(in[1]));
  const ad_var factor = s->how & OWN ? ad_slice(base, 0, 0, s->n, 1) : s->how & SHIFTED ? in[0]
                        : ad_abs(in[0]);
  const ad_var rows = ad_mul(ad_mul(2, ad_sub(from, in[0])), factor);
  out[0] = ad_scatter_add(base, in[2], rows, 0);
  out[1] = s->how & LOOKED_AT ? rows : s->how & ADDED ? ad_cumsum(rows, 0)
           : s->how & TAKEN ? ad_cumsum(from, 0) : ad_sum(base, AD_ALL_AXES, false);
}

static double numbers[1 << 20], table[1 << 16];
static int64_t places[1 << 18];

static void fill(const setting *s) {
  unsigned seed = 9;
  for (int64_t i = 0; i < s->n*s->m + s->length*s->m; i++) {
    double *const to = i < s->n*s->m ? numbers : table;
    const int64_t at = i < s->n*s->m ? i : i - s->n*s->m;
    seed = seed*1664525u + 1013904223u;
    const double v = s->how & ZEROS ? (to == numbers ? -0.0 : 0) : (double)(seed >> 8)/0x1p23 - 1;
    if (s->dtype == AD_F32) ((float *)to)[at] = (float)v;
    else to[at] = v;
  }
  for (int64_t i = 0; i < s->n; i++) {
    seed = seed*1664525u + 1013904223u;
    const int64_t k = (int64_t)(seed >> 8)%(2*s->length) - s->length;
    if (s->index == AD_I32) ((int32_t *)places)[i] = (int32_t)k;
    else places[i] = k;
  }
}

static void spoil(const setting *s, int64_t k) {
  if (s->index == AD_I32) ((int32_t *)places)[s->n - 1] = (int32_t)k;
  else places[s->n - 1] = k;
}

static ad_function *traced(setting *s) {
  const int64_t points[2] = { s->n, s->m }, rows[2] = { s->length, s->m };
  const ad_type in[3] = { ad_type_make(s->dtype, 2, points), ad_type_make(s->dtype, 2, rows),
                          ad_type_make(s->index, 1, points) };
  return ad_function_trace("rows", body, s, 3, in, 2);
}

static void check_rows(setting s) {
  const int threads = omp_get_max_threads ? omp_get_max_threads() : 1;
  const size_t bytes = (size_t)((s.n + s.length)*s.m)*8;
  const void *const in[3] = { numbers, table, places };
  char *want = malloc(2*bytes), *got = malloc(2*bytes);
  ad_function *f = traced(&s), *g = traced(&s);
  if (!want || !got || !CHECK(f && g)) exit(1);
  fill(&s);
  memset(want, 0, 2*bytes), memset(got, 0, 2*bytes);
  CHECK_STATUS(ad_function_call(f, in, (void *[]){ want, want + bytes }, NULL), AD_OK);
  CHECK_STATUS(ad_function_compile(g, &(ad_native){ .cache = folder }, NULL), AD_OK);
  for (int k = 1; k <= 3; k++) {
    if (omp_set_num_threads) omp_set_num_threads(k);
    CHECK_STATUS(ad_function_call(g, in, (void *[]){ got, got + bytes }, NULL), AD_OK);
    CHECK_THAT(!memcmp(got, want, (size_t)(s.length*s.m)*ad_dtype_bytes(s.dtype)),
               "bits of %d rows of %d into %d, how %u, %d threads", (int)s.n, (int)s.m, (int)s.length, s.how,
               k);
    const bool looks = s.how & (LOOKED_AT | ADDED | TAKEN);
    const size_t looked_at = looks ? (size_t)(s.n*s.m)*ad_dtype_bytes(s.dtype) : 0;
    CHECK_THAT(!memcmp(got + bytes, want + bytes, looked_at), "bits of the rows, how %u", s.how);
  }
  for (int k = 0; k < 2; k++) {
    spoil(&s, k ? s.length : -s.length - 1);
    CHECK_STATUS(ad_function_call(f, in, (void *[]){ got, got + bytes }, NULL), AD_ERROR_ARGUMENT);
    CHECK_STATUS(ad_function_call(g, in, (void *[]){ got, got + bytes }, NULL), AD_ERROR_ARGUMENT);
  }
  if (omp_set_num_threads) omp_set_num_threads(threads);
  ad_function_free(f);
  ad_function_free(g);
  free(want), free(got);
}

static void test_rows(void) {
  static const int64_t size[][3] = { { 10000, 8, 10 }, { 3000, 5, 33 }, { 513, 8, 4 }, { 511, 8, 4 },
                                     { 2000, 4, 1000 }, { 9001, 16, 3 } };
  for (size_t i = 0; i < sizeof size/sizeof *size; i++)
    for (int how = 0; how < 4; how++)
      check_rows((setting){ how & 1 ? AD_F32 : AD_F64, how & 2 ? AD_I32 : AD_I64, size[i][0], size[i][1],
                            size[i][2], 0 });
}

static void test_others(void) {
  static const unsigned how[] = { LOOKED_AT, COMPUTED, OTHER, PLAIN, BASE, BASE | COMPUTED, PLAIN | BASE,
                                  OTHER | COMPUTED | LOOKED_AT, ADDED, ADDED | PLAIN | BASE, TAKEN,
                                  SHIFTED | BASE | ZEROS };
  for (size_t i = 0; i < sizeof how/sizeof *how; i++) {
    check_rows((setting){ AD_F64, AD_I64, 10000, 8, 10, how[i] });
    check_rows((setting){ AD_F64, AD_I64, 1500, 6, 600, how[i] });
  }
  for (int k = 0; k < 4; k++)
    check_rows((setting){ k & 1 ? AD_F32 : AD_F64, AD_I64, 600, 6, k & 2 ? 600 : 700, OWN | PLAIN });
  check_rows((setting){ AD_F64, AD_I64, 400, 4, 30, SHIFTED });
  check_rows((setting){ AD_F64, AD_I64, 401, 4, 30, SHIFTED | BASE });
  check_rows((setting){ AD_F32, AD_I32, 600, 2, 30, SHIFTED | BASE });
}

int main(void) {
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  test_rows();
  test_others();
  folder_remove(folder);
  return check_summary();
}
