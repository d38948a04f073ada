/* test_tiles.c -- searches for the least and the greatest in blocks: against plain C on small whole numbers,
 * where ties are exact, for both axes, with a rest and without, natively too; functions that must stay as
 * they are; derivatives past the search; memory that runs out. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "failing.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"
#include "function/function.h"

#include <stdlib.h>

extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

static const char *folder;

/* n points and k centres in d dimensions. ROWS: the array that is searched is n x k, not k x n. LOOKED_AT: it
 * is an output, too; ADDED_UP: its sum is; SELF: points are compared with themselves; TURNED, of ROWS: the
 * product takes the transpose of its first operand; CAST: what is searched is f32. */
enum {
  ROWS = 1, GREATEST = 2, KEEP = 4, LOOKED_AT = 8, SELF = 16, NEAREST = 32, ADDED_UP = 64, TURNED = 128,
  CAST = 256
};
typedef struct setting { ad_dtype dtype; int64_t n, k, d; unsigned how; } setting;

/* |c|^2 - 2 c p, with a number for each point that changes no place. */
static ad_var apart(const ad_var in[], unsigned how) {
  const ad_var points = in[0], centres = how & SELF ? in[0] : in[1];
  const ad_var norms = ad_sum(ad_square(centres), AD_AXES(1), true), own = ad_sum(points, AD_AXES(1), true);
  if (how & ROWS) {
    const ad_var turned[2] = { ad_transpose(points, NULL), centres };
    const ad_var products = how & TURNED ? ad_einsum("ln,cl->nc", 2, turned)
                                         : ad_matmul(points, ad_transpose(centres, NULL));
    return ad_add(ad_sub(ad_transpose(norms, NULL), ad_mul(2, products)), own);
  }
  return ad_add(ad_sub(norms, ad_mul(2, ad_matmul(centres, ad_transpose(points, NULL)))),
                ad_reshape(own, 1, ad_type_of(own).dim));
}

static ad_var place(const ad_var in[], unsigned how, ad_var of) {
  const int axis = how & ROWS ? 1 : 0;
  (void)in;
  return how & GREATEST ? ad_argmax(of, axis, (how & KEEP) != 0) : ad_argmin(of, axis, (how & KEEP) != 0);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const ad_var as_given = apart(in, s->how), of = s->how & CAST ? ad_cast(as_given, AD_F32) : as_given;
  (void)t;
  out[0] = place(in, s->how, of);
  if (s->how & LOOKED_AT) out[1] = of;
  if (s->how & ADDED_UP) out[1] = ad_sum(of, AD_ALL_AXES, false);
  if (s->how & NEAREST)
    out[0] = ad_sum(ad_square(ad_sub(ad_take(in[1], out[0], 0), in[0])), AD_ALL_AXES, false);
}

static ad_function *traced(const ad_allocator *a, setting *s) {
  const int64_t points[2] = { s->n, s->d }, centres[2] = { s->k, s->d };
  const ad_type in[2] = { ad_type_make(s->dtype, 2, points), ad_type_make(s->dtype, 2, centres) };
  return ad_function_trace_with(a, "search", body, s, 2, in, s->how & (LOOKED_AT | ADDED_UP) ? 2 : 1, NULL);
}

static int maps_in(const ad_function *f) {
  int n = 0;
  for (uint32_t i = 0; i < f->body->count; i++)
    n += !node_is_leaf(f->body, i) && !strcmp(node_primitive(f->body, i)->name, "map");
  return n;
}

/* Small whole numbers, so that many centres are equally far. */
static void fill(ad_dtype dtype, int64_t n, void *data, unsigned seed) {
  for (int64_t i = 0; i < n; i++) {
    seed = seed*1664525u + 1013904223u;
    const int v = (int)(seed >> 28) - 8;
    if (dtype == AD_F64) ((double *)data)[i] = v;
    else if (dtype == AD_F32) ((float *)data)[i] = (float)v;
    else ((int32_t *)data)[i] = v;
  }
}

static double number(ad_dtype dtype, const void *data, int64_t i) {
  return dtype == AD_F64 ? ((const double *)data)[i]
       : dtype == AD_F32 ? (double)((const float *)data)[i] : (double)((const int32_t *)data)[i];
}

static double score(const setting *s, const void *points, const void *centres, int64_t i, int64_t c) {
  double norm = 0, product = 0;
  for (int64_t l = 0; l < s->d; l++) {
    const double v = number(s->dtype, centres, c*s->d + l);
    norm += v*v, product += v*number(s->dtype, points, i*s->d + l);
  }
  return s->how & GREATEST ? 2*product - norm : norm - 2*product;
}

static void plain(const setting *s, const void *points, const void *centres, int64_t z[]) {
  for (int64_t i = 0; i < s->n; i++) {
    double best = score(s, points, centres, i, 0);
    z[i] = 0;
    for (int64_t c = 1; c < s->k; c++) {
      const double v = score(s, points, centres, i, c);
      if (v < best) best = v, z[i] = c;
    }
  }
}

typedef struct arrays { void *points, *centres, *of; int64_t *got, *want; } arrays;

static arrays open_arrays(const setting *s) {
  const size_t n = (size_t)s->n, k = (size_t)s->k, d = (size_t)s->d;
  const arrays a = { malloc(n*d*8 + 8), malloc(k*d*8 + 8), malloc(n*(n > k ? n : k)*8), malloc(n*8),
                     malloc(n*8) };
  if (!a.points || !a.centres || !a.of || !a.got || !a.want) abort();
  fill(s->dtype, s->n*s->d, a.points, 3);
  fill(s->dtype, s->k*s->d, a.centres, 4);
  if (s->how & SELF) memcpy(a.centres, a.points, (size_t)(s->k < s->n ? s->k : s->n)*d*8);
  return a;
}

static void close_arrays(arrays *a) {
  free(a->points), free(a->centres), free(a->of), free(a->got), free(a->want);
}

static void check_places(const setting *s, ad_function *f, arrays *a, const char *how) {
  memset(a->got, 0xff, (size_t)s->n*8);
  const void *const in[] = { a->points, a->centres };
  CHECK_STATUS(ad_function_call(f, in, (void *[]){ a->got, a->of }, NULL), AD_OK);
  CHECK_THAT(!memcmp(a->got, a->want, (size_t)s->n*8), "%d points, %d centres, how %u, dtype %d: %s",
             (int)s->n, (int)s->k, s->how, (int)s->dtype, how);
}

static void check_search(setting s, bool in_blocks) {
  const int threads = omp_get_max_threads ? omp_get_max_threads() : 1;
  arrays a = open_arrays(&s);
  ad_function *f = traced(NULL, &s);
  if (!CHECK(f != NULL)) return;
  CHECK_THAT((maps_in(f) == 1) == in_blocks, "%d points, %d centres, how %u", (int)s.n, (int)s.k, s.how);
  plain(&s, a.points, a.centres, a.want);
  check_places(&s, f, &a, "interpreter");
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  for (int n = 1; n <= 3 && omp_set_num_threads; n++) {
    omp_set_num_threads(n);
    check_places(&s, f, &a, "native");
  }
  if (omp_set_num_threads) omp_set_num_threads(threads);
  close_arrays(&a);
  ad_function_free(f);
}

static void test_places(void) {
  for (unsigned how = 0; how < 8; how++) {
    check_search((setting){ AD_F64, 7001, 10, 3, how }, true);
    check_search((setting){ AD_F32, 20000, 7, 8, how }, true);
  }
  check_search((setting){ AD_I32, 3001, 90, 2, 0 }, true);
  check_search((setting){ AD_F64, 300, 1100, 5, ROWS }, true);
  check_search((setting){ AD_F64, 128*6, 600, 5, 0 }, true);
  check_search((setting){ AD_F64, 7001, 10, 3, ROWS | TURNED }, true);
  check_search((setting){ AD_F64, 15000, 10, 3, CAST }, true);
  check_search((setting){ AD_I32, 15000, 10, 3, ROWS | CAST }, true);
}

static void test_what_stays(void) {
  check_search((setting){ AD_F64, 500, 10, 8, 0 }, false);
  check_search((setting){ AD_F64, 7000, 10, 3, LOOKED_AT }, false);
  check_search((setting){ AD_F64, 7000, 10, 3, ADDED_UP }, false);
  check_search((setting){ AD_F64, 100, 1100, 3, 0 }, false);
  check_search((setting){ AD_F64, 700, 700, 3, SELF }, false);
}

/* An array that is given, times a number: places along axis 1 of its rows, and along axis 0 of its columns,
 * parts of which do not lie together. */
enum { LONG = 7001, SHORT = 10 };

static void given_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int *axis = context;
  (void)t;
  out[0] = ad_argmax(ad_mul(in[0], in[1]), *axis, false);
}

static void test_given(int axis) {
  static double x[LONG*SHORT];
  int64_t z[LONG];
  const double minus = -1;
  const ad_type in[2] = { axis ? AD_F64(LONG, SHORT) : AD_F64(SHORT, LONG), AD_F64() };
  ad_function *f = ad_function_trace("given", given_body, &axis, 2, in, 1);
  fill(AD_F64, LONG*SHORT, x, 7);
  if (!CHECK(f && maps_in(f) == axis)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x, &minus }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < LONG; i++) {
    const double *first = axis ? x + i*SHORT : x + i;
    int64_t want = 0;
    for (int k = 1; k < SHORT; k++)
      if (first[axis ? k : k*LONG] < first[axis ? want : want*LONG]) want = k;
    CHECK_THAT(z[i] == want, "axis %d of what is given: place %d", axis, i);
  }
  ad_function_free(f);
}

/* The gradient of sum |c[nearest] - p|^2 is 2 sum (c - p) over the points of each centre. */
static void test_derivatives(void) {
  setting s = { AD_F64, 7001, 10, 3, NEAREST };
  arrays a = open_arrays(&s);
  ad_function *f = traced(NULL, &s), *g = ad_function_gradient(f, 1, (const int[]){ 1 });
  double y, slope[10*3], want[10*3] = { 0 };
  plain(&s, a.points, a.centres, a.want);
  for (int64_t i = 0; i < s.n; i++)
    for (int64_t l = 0; l < s.d; l++) {
      const int64_t c = a.want[i]*s.d + l;
      want[c] += 2*(((const double *)a.centres)[c] - ((const double *)a.points)[i*s.d + l]);
    }
  const void *const in[] = { a.points, a.centres };
  CHECK_STATUS(ad_function_call(g, in, (void *[]){ &y, slope }, NULL), AD_OK);
  for (int i = 0; i < 30; i++) CHECK_NUMBER(slope[i], want[i], 0);
  close_arrays(&a);
  ad_function_free(f);
  ad_function_free(g);
}

/* --- several searches ----------------------------------------------------------------------------------- */

enum { CHAIN = 12, CENTRES = 10, SPACE = 3 };

/* Search k is for the nearest of centres + k, or the farthest of them for points of which the one before has
 * found one of the first five. */
static void chain_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  for (int k = 0; k < CHAIN; k++) {
    const ad_var centres[2] = { in[0], ad_add(in[1], ad_real(k)) };
    const ad_var of = apart(centres, 0);
    if (k == 0) out[k] = ad_argmin(of, 0, false);
    else out[k] = ad_argmin(ad_select(ad_less(out[k - 1], ad_integer(5)), ad_neg(of), of), 0, false);
  }
}

static void plain_chain(int64_t n, const double points[], const double centres[], int64_t *const z[]) {
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < CHAIN; k++) {
      const double sign = k && z[k - 1][i] < 5 ? -1 : 1;
      double best = INFINITY;
      for (int c = 0; c < CENTRES; c++) {
        double v = 0;
        for (int l = 0; l < SPACE; l++) {
          const double x = centres[c*SPACE + l] + k;
          v += sign*(x*x - 2*x*points[i*SPACE + l]);
        }
        for (int l = 0; l < SPACE; l++) v += sign*points[i*SPACE + l];
        if (v < best) best = v, z[k][i] = c;
      }
    }
}

static void test_chain(void) {
  setting s = { AD_F64, 7001, CENTRES, SPACE, 0 };
  const ad_type in[2] = { AD_F64(s.n, SPACE), AD_F64(CENTRES, SPACE) };
  ad_function *f = ad_function_trace("chain", chain_body, NULL, 2, in, CHAIN);
  arrays a = open_arrays(&s);
  int64_t *got[CHAIN], *want[CHAIN];
  void *out[CHAIN];
  for (int k = 0; k < CHAIN; k++) got[k] = out[k] = malloc((size_t)s.n*8), want[k] = malloc((size_t)s.n*8);
  if (!CHECK(f && maps_in(f) == CHAIN)) return;
  plain_chain(s.n, a.points, a.centres, want);
  for (int native = 0; native < 2; native++) {
    if (native) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(f, (const void *[]){ a.points, a.centres }, out, NULL), AD_OK);
    for (int k = 0; k < CHAIN; k++) CHECK_THAT(!memcmp(got[k], want[k], (size_t)s.n*8), "search %d", k);
  }
  for (int k = 0; k < CHAIN; k++) free(got[k]), free(want[k]);
  close_arrays(&a);
  ad_function_free(f);
}

/* A body with many of them takes memory in proportion. */
static void many_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int *n = context;
  (void)t;
  for (int k = 0; k < *n; k++) out[k] = ad_argmin(ad_mul(in[0], ad_real(k + 2)), 1, false);
}

static size_t peak_of(int n) {
  const ad_type in = AD_F64(7001, 10);
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  ad_function *f = ad_function_trace_with(&a, "many", many_body, &n, 1, &in, n, NULL);
  CHECK(f && maps_in(f) == n);
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
  return h.peak;
}

/* Where blocks cannot be had for want of memory the function stays as it was. */
static bool trace_with(const ad_allocator *a, void *context) {
  setting s = { AD_F64, 7001, 10, 3, 0 };
  ad_function *f = traced(a, &s);
  const bool blocks = f && maps_in(f) == 1;
  (void)context;
  ad_function_free(f);
  return blocks;
}

int main(void) {
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  test_places();
  test_what_stays();
  test_given(0);
  test_given(1);
  test_derivatives();
  test_chain();
  CHECK(peak_of(400) < 6*peak_of(100));
  for (int keep = 0; keep < 2; keep++) CHECK(failing_calls(trace_with, NULL, keep) > 100);
  folder_remove(folder);
  return check_summary();
}
