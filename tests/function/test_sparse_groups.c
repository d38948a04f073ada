/* test_sparse_groups.c -- products with one sparse matrix as one, and products that read columns: values,
 * tangents, cotangents and maps against dense matrices of small whole numbers, which are exact; how many
 * products there are; what must stay apart; memory that runs out. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "failing.h"
#include "folder.h"
#include "function/count.h"

#include "adit.h"
#include "adit/code.h"

#include <stdlib.h>
#include <string.h>

/* x (BOTTOM, width) -> A x (MIDDLE, width) -> B A x (TOP, width). */
enum { BOTTOM = 7, MIDDLE = 9, TOP = 5, ENTRIES = 24, WIDTH_MOST = 24, ARRAYS_MOST = 20 };

typedef struct sparse {
  int64_t rows, columns, entries, start[10], column[ENTRIES];
  double v[ENTRIES];
} sparse;
typedef double dense[9][9];

static sparse a, b;
static const char *folder;

static void fill(sparse *s, int64_t rows, int64_t columns, int seed) {
  *s = (sparse){ .rows = rows, .columns = columns };
  for (int64_t i = 0; i < rows; i++) {
    s->start[i] = s->entries;
    for (int64_t k = 0; k < (i*5 + seed)%4 && s->entries < ENTRIES; k++, s->entries++) {
      s->column[s->entries] = (3*i + 5*k + seed)%columns;
      s->v[s->entries] = (double)((s->entries*7 + seed)%9 - 4);
    }
  }
  s->start[rows] = s->entries;
}

static void make_dense(const sparse *s, const double v[], double scale, dense d) {
  memset(d, 0, sizeof(dense));
  for (int64_t i = 0; i < s->rows; i++)
    for (int64_t e = s->start[i]; e < s->start[i + 1]; e++) d[i][s->column[e]] += scale*v[e];
}

/* LOOKED_AT: the first A x is an output, too. AFTER: the second array depends on the first result. OTHER:
 * every second matrix is another one. COPIES: constants are recorded again. SLICED: B reads all columns but
 * the first and the last. AXES: arrays (BOTTOM, width/2, 2). BACK: B reads columns, or where the array is the
 * first one rows, from the last to the first; which it does twice. EVEN: B reads columns 0, 2, .. */
enum { LOOKED_AT = 1, AFTER = 2, OTHER = 4, COPIES = 8, SLICED = 16, AXES = 32, BACK = 64, EVEN = 128 };
typedef struct setting { ad_dtype dtype; int n; int64_t width[ARRAYS_MOST]; unsigned how; } setting;

static ad_var numbers(ad_tape *t, ad_dtype dtype, const sparse *s, double scale) {
  double v[ENTRIES];
  char data[ENTRIES*sizeof(double)];
  for (int64_t e = 0; e < s->entries; e++) check_set_element(dtype, data, e, v[e] = scale*s->v[e]);
  return ad_constant(t, ad_type_make(dtype, 1, &s->entries), data);
}

static ad_var times(ad_tape *t, const sparse *s, ad_var v, ad_var x) {
  return ad_sparse_matmul(ad_constant(t, AD_I64(s->rows + 1), s->start),
                          ad_constant(t, AD_I64(s->entries), s->column), v, x);
}

static double scale_of(const setting *s, int k) { return s->how & OTHER && k%2 ? 2 : 1; }

/* How many columns B reads, and which. */
static int64_t seen_of(const setting *s, int k) {
  return s->how & EVEN ? (s->width[k] + 1)/2 : s->width[k] - (s->how & SLICED ? 2 : 0);
}
static int64_t column_of(const setting *s, int64_t j) {
  return s->how & EVEN ? 2*j : j + (s->how & SLICED ? 1 : 0);
}

/* From the last to the first along an axis. */
static ad_var turned(ad_var y, int axis) {
  const int64_t n = ad_type_of(y).dim[axis];
  return ad_slice(y, axis, n - 1, n, -1);
}

/* (numbers of B, x..) -> B A (k + 1) x[k] .., and A x[0] */
static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  for (int k = 0; k < s->n; k++) {
    ad_var x = ad_mul(in[1 + k], k + 1);
    if (s->how & AFTER && k == 1) x = ad_add(x, ad_at(out[0], 1, (const int64_t[]){ 1 }));
    if (s->how & AXES) x = ad_reshape(x, 3, (const int64_t[]){ BOTTOM, s->width[k]/2, 2 });
    ad_var y = times(t, &a, numbers(t, s->dtype, &a, scale_of(s, k)), x);
    if (s->how & LOOKED_AT && k == 0) out[s->n] = y;
    if (s->how & AXES) y = ad_reshape(y, 2, (const int64_t[]){ MIDDLE, s->width[k] });
    if (s->how & BACK) y = turned(turned(y, k > 0), k > 0);
    const int64_t step = column_of(s, 1) - column_of(s, 0);
    out[k] = times(t, &b, in[0], ad_slice(y, 1, column_of(s, 0), seen_of(s, k), step));
  }
}

static ad_function *traced(const ad_allocator *m, setting *s) {
  ad_type in[ARRAYS_MOST + 1] = { ad_type_make(s->dtype, 1, &b.entries) };
  for (int k = 0; k < s->n; k++)
    in[1 + k] = ad_type_make(s->dtype, 2, (const int64_t[]){ BOTTOM, s->width[k] });
  return ad_function_trace_with(m, "products", body, s, s->n + 1, in, s->n + (s->how & LOOKED_AT ? 1 : 0),
                                NULL);
}

/* --- values --------------------------------------------------------------------------------------------- */

static double x_at(int k, int64_t i, int64_t j) { return (double)((k + 3*i + 5*j)%7 - 3); }
static double dx_at(int k, int64_t i, int64_t j) { return (double)((2*k + i + 4*j)%5 - 2); }
static double dv_at(int64_t e) { return (double)(e%3 - 1); }
static double ybar_at(int k, int64_t i, int64_t j) { return (double)((k + i + 2*j)%4 - 1); }

/* z (TOP, width) = B A (k + 1) x; the array that follows another one has a row of its result added. */
static void product_of(const setting *s, int k, dense top, double (*at)(int, int64_t, int64_t),
                       double z[TOP][WIDTH_MOST]) {
  static dense bottom;
  static double y[MIDDLE][WIDTH_MOST], first[TOP][WIDTH_MOST];
  const int64_t n = s->width[k];
  if (s->how & AFTER && k == 1) product_of(s, 0, top, at, first);
  make_dense(&a, a.v, scale_of(s, k), bottom);
  for (int64_t i = 0; i < MIDDLE; i++)
    for (int64_t j = 0; j < n; j++) {
      y[i][j] = 0;
      for (int64_t p = 0; p < BOTTOM; p++)
        y[i][j] += bottom[i][p]*((k + 1)*at(k, p, j) + (s->how & AFTER && k == 1 ? first[1][j] : 0));
    }
  for (int64_t i = 0; i < TOP; i++)
    for (int64_t j = 0; j < seen_of(s, k); j++) {
      z[i][j] = 0;
      for (int64_t p = 0; p < MIDDLE; p++) z[i][j] += top[i][p]*y[p][column_of(s, j)];
    }
}

typedef struct values { char v[ENTRIES*8], dv[ENTRIES*8], x[ARRAYS_MOST][BOTTOM*WIDTH_MOST*8],
  dx[ARRAYS_MOST][BOTTOM*WIDTH_MOST*8], ybar[ARRAYS_MOST][TOP*WIDTH_MOST*8]; } values;

static void set_values(const setting *s, values *p) {
  for (int64_t e = 0; e < b.entries; e++) {
    check_set_element(s->dtype, p->v, e, b.v[e]);
    check_set_element(s->dtype, p->dv, e, dv_at(e));
  }
  for (int k = 0; k < s->n; k++) {
    for (int64_t i = 0; i < BOTTOM*s->width[k]; i++) {
      check_set_element(s->dtype, p->x[k], i, x_at(k, i/s->width[k], i%s->width[k]));
      check_set_element(s->dtype, p->dx[k], i, dx_at(k, i/s->width[k], i%s->width[k]));
    }
    const int64_t seen = seen_of(s, k);
    for (int64_t i = 0; i < TOP*seen; i++)
      check_set_element(s->dtype, p->ybar[k], i, ybar_at(k, i/seen, i%seen));
  }
}

static bool are(const setting *s, int k, const void *data, double z[TOP][WIDTH_MOST]) {
  const int64_t seen = seen_of(s, k);
  bool good = true;
  for (int64_t i = 0; i < TOP*seen; i++) good &= check_element(s->dtype, data, i) == z[i/seen][i%seen];
  return good;
}

static void check_values(ad_function *f, const setting *s, const values *p, const char *how) {
  static char z[ARRAYS_MOST + 1][MIDDLE*WIDTH_MOST*8];
  static double want[TOP][WIDTH_MOST];
  const void *in[ARRAYS_MOST + 1] = { p->v };
  void *out[ARRAYS_MOST + 1];
  dense top;
  for (int k = 0; k <= s->n; k++) out[k] = z[k];
  for (int k = 0; k < s->n; k++) in[1 + k] = p->x[k];
  make_dense(&b, b.v, 1, top);
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  for (int k = 0; k < s->n; k++) {
    product_of(s, k, top, x_at, want);
    CHECK_THAT(are(s, k, z[k], want), "%s: product %d of %d, how %u", how, k, s->n, s->how);
  }
}

/* Tangents of all inputs, forwards. */
static void check_tangents(ad_function *f, const setting *s, const values *p) {
  static char z[2*ARRAYS_MOST][TOP*WIDTH_MOST*8];
  static double by_v[TOP][WIDTH_MOST], by_x[TOP][WIDTH_MOST];
  const void *in[2*ARRAYS_MOST + 2];
  void *out[2*ARRAYS_MOST];
  double dv[ENTRIES];
  dense top, dtop;
  ad_function *d = ad_function_jvp(f);
  if (!CHECK(d)) return;
  in[0] = p->v, in[s->n + 1] = p->dv;
  for (int k = 0; k < s->n; k++) in[1 + k] = p->x[k], in[s->n + 2 + k] = p->dx[k];
  for (int k = 0; k < 2*s->n; k++) out[k] = z[k];
  for (int64_t e = 0; e < b.entries; e++) dv[e] = dv_at(e);
  make_dense(&b, b.v, 1, top), make_dense(&b, dv, 1, dtop);
  CHECK_STATUS(ad_function_call(d, in, out, NULL), AD_OK);
  for (int k = 0; k < s->n; k++) {
    product_of(s, k, dtop, x_at, by_v), product_of(s, k, top, dx_at, by_x);
    for (int i = 0; i < TOP; i++)
      for (int64_t j = 0; j < seen_of(s, k); j++) by_x[i][j] += by_v[i][j];
    CHECK_THAT(are(s, k, z[s->n + k], by_x), "tangent %d of %d, how %u", k, s->n, s->how);
  }
  ad_function_free(d);
}

/* What a pass backwards gives, at(..) in the place of x: by the numbers of B, and by the last array. */
static void pull_back(const setting *s, double (*at)(int, int64_t, int64_t), double vbar[ENTRIES],
                      double xbar[BOTTOM][WIDTH_MOST]) {
  static dense bottom, top;
  const int last = s->n - 1;
  memset(vbar, 0, ENTRIES*sizeof *vbar);
  memset(xbar, 0, BOTTOM*sizeof *xbar);
  make_dense(&b, b.v, 1, top);
  for (int k = 0; k < s->n; k++) {
    make_dense(&a, a.v, scale_of(s, k), bottom);
    for (int64_t j = 0; j < seen_of(s, k); j++)
      for (int64_t p = 0; p < BOTTOM; p++) {
        for (int64_t i = 0; i < TOP; i++)
          for (int64_t e = b.start[i]; e < b.start[i + 1]; e++)
            vbar[e] += ybar_at(k, i, j)*bottom[b.column[e]][p]*(k + 1)*at(k, p, column_of(s, j));
        for (int64_t i = 0; i < TOP && k == last; i++)
          for (int64_t q = 0; q < MIDDLE; q++)
            xbar[p][column_of(s, j)] += ybar_at(k, i, j)*top[i][q]*bottom[q][p]*(k + 1);
      }
  }
}

/* Cotangents, and the tangents of those of v along dx. */
static void check_cotangents(ad_function *f, const setting *s, const values *p) {
  static char vbar[ENTRIES*8], xbar[BOTTOM*WIDTH_MOST*8];
  static double want_v[ENTRIES], want_x[BOTTOM][WIDTH_MOST];
  const void *in[4*ARRAYS_MOST + 4] = { p->v };
  void *out[4*ARRAYS_MOST + 4] = { NULL };
  const int n = s->n, last = n - 1, given = 2*n + 1, made = 2*n + 1;
  ad_function *v = ad_function_vjp(f), *second = ad_function_jvp(v);
  if (!CHECK(v && second)) return;
  for (int k = 0; k < n; k++) in[1 + k] = p->x[k], in[n + 1 + k] = p->ybar[k];
  out[n] = vbar, out[2*n] = xbar;
  CHECK_STATUS(ad_function_call(v, in, out, NULL), AD_OK);
  pull_back(s, x_at, want_v, want_x);
  for (int64_t e = 0; e < b.entries; e++) CHECK_NUMBER(check_element(s->dtype, vbar, e), want_v[e], 0);
  for (int64_t i = 0; i < BOTTOM*s->width[last]; i++)
    CHECK_NUMBER(check_element(s->dtype, xbar, i), want_x[i/s->width[last]][i%s->width[last]], 0);
  memset(out, 0, sizeof out);
  for (int k = 0; k < n; k++) in[given + 1 + k] = p->dx[k];
  in[given] = NULL;
  for (int k = 0; k < n; k++) in[given + n + 1 + k] = NULL;
  out[made + n] = vbar;
  CHECK_STATUS(ad_function_call(second, in, out, NULL), AD_OK);
  pull_back(s, dx_at, want_v, want_x);
  for (int64_t e = 0; e < b.entries; e++) CHECK_NUMBER(check_element(s->dtype, vbar, e), want_v[e], 0);
  ad_function_free(second);
  ad_function_free(v);
}

/* The Jacobian by the last array: tangents in all directions at once. */
static void check_jacobian(ad_function *f, const setting *s, const values *p) {
  static char z[TOP*WIDTH_MOST*BOTTOM*WIDTH_MOST*8];
  const void *in[ARRAYS_MOST + 1] = { p->v };
  void *out[ARRAYS_MOST] = { NULL };
  const int last = s->n - 1;
  const int64_t width = s->width[last], seen = seen_of(s, last);
  dense bottom, top;
  bool good = true;
  for (int k = 0; k < s->n; k++) in[1 + k] = p->x[k];
  ad_function *d = ad_function_jacobian(f, 1, (const int[]){ s->n });
  if (!CHECK(d)) return;
  out[last] = z;
  CHECK_STATUS(ad_function_call(d, in, out, NULL), AD_OK);
  make_dense(&a, a.v, scale_of(s, last), bottom), make_dense(&b, b.v, 1, top);
  for (int64_t i = 0; i < TOP*seen*BOTTOM*width; i++) {
    const int64_t row = i/(BOTTOM*width), column = i%(BOTTOM*width);
    double want = 0;
    for (int q = 0; q < MIDDLE && column_of(s, row%seen) == column%width; q++)
      want += top[row/seen][q]*bottom[q][column/width]*s->n;
    good &= check_element(s->dtype, z, i) == want;
  }
  CHECK_THAT(good, "Jacobian by array %d, how %u", last, s->how);
  ad_function_free(d);
}

/* --- maps ----------------------------------------------------------------------------------------------- */

enum { INSTANCES = 3 };
typedef struct mapped { ad_function *f; const setting *s; bool numbers; } mapped;

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const mapped *m = context;
  (void)t;
  ad_map(m->f, in, out);
}

/* Instances are multiples of the arrays, and of the numbers of B if those are mapped, too. */
static void check_map(ad_function *f, const setting *s, const values *p, bool by_numbers) {
  static char x[ARRAYS_MOST + 1][INSTANCES*BOTTOM*WIDTH_MOST*8], z[ARRAYS_MOST][INSTANCES*TOP*WIDTH_MOST*8];
  static double want[TOP][WIDTH_MOST];
  mapped m = { f, s, by_numbers };
  ad_type in[ARRAYS_MOST + 1];
  const void *from[ARRAYS_MOST + 1];
  void *to[ARRAYS_MOST];
  dense top;
  for (int k = 0; k <= s->n; k++) {
    const int64_t count = k ? BOTTOM*s->width[k - 1] : b.entries;
    const void *one = k ? p->x[k - 1] : p->v;
    for (int64_t i = 0; i < INSTANCES*count; i++)
      check_set_element(s->dtype, x[k], i, check_element(s->dtype, one, i%count)*(double)(1 + i/count));
    const int64_t dim[3] = { INSTANCES, k ? BOTTOM : b.entries, k ? s->width[k - 1] : 0 };
    in[k] = k || by_numbers ? ad_type_make(s->dtype, k ? 3 : 2, dim) : ad_type_make(s->dtype, 1, &b.entries);
    from[k] = x[k];
    if (k) to[k - 1] = z[k - 1];
  }
  ad_function *g = ad_function_trace("map", map_body, &m, s->n + 1, in, s->n);
  if (!CHECK(g)) return;
  CHECK_STATUS(ad_function_call(g, from, to, NULL), AD_OK);
  make_dense(&b, b.v, 1, top);
  for (int k = 0; k < s->n; k++) {
    product_of(s, k, top, x_at, want);
    const int64_t seen = seen_of(s, k), count = TOP*seen;
    bool good = true;
    for (int64_t i = 0; i < INSTANCES*count; i++) {
      const double times = (double)(1 + i/count)*(by_numbers ? (double)(1 + i/count) : 1);
      good &= check_element(s->dtype, z[k], i) == times*want[i%count/seen][i%seen];
    }
    CHECK_THAT(good, "map of product %d of %d, numbers %d, how %u", k, s->n, by_numbers, s->how);
  }
  ad_function_free(g);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

/* products: how many there are. */
static void check(setting s, int products) {
  static values p;
  ad_function *f = traced(NULL, &s);
  if (!CHECK(f)) return;
  set_values(&s, &p);
  CHECK_THAT(count_named(f, "sparse_matmul") == products, "%d arrays, how %u: %d products, not %d", s.n,
             s.how, count_named(f, "sparse_matmul"), products);
  check_values(f, &s, &p, "interpreter");
  if (!(s.how & (LOOKED_AT | AFTER))) {
    check_tangents(f, &s, &p);
    check_cotangents(f, &s, &p);
    if (s.n < ARRAYS_MOST) check_jacobian(f, &s, &p);
    for (int k = 0; k < 2; k++) check_map(f, &s, &p, k);
  }
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  check_values(f, &s, &p, "native");
  ad_function_free(f);
}

static void test_groups(void) {
  for (int d = 0; d < 2; d++) {
    const ad_dtype dtype = d ? AD_F32 : AD_F64;
    check((setting){ dtype, 1, { 5 }, 0 }, 2);
    check((setting){ dtype, 2, { 5, 3 }, 0 }, 3);
    check((setting){ dtype, 3, { 15, 1, 24 }, COPIES }, 4);
    check((setting){ dtype, 2, { 15, 8 }, COPIES | SLICED }, 3);
    check((setting){ dtype, 3, { 6, 4, 24 }, AXES }, 4);
    check((setting){ dtype, 3, { 6, 4, 24 }, AXES | SLICED }, 4);
    check((setting){ dtype, 2, { 5, 3 }, BACK }, 4);
    check((setting){ dtype, 2, { 5, 8 }, EVEN }, 4);
  }
}

static void test_apart(void) {
  check((setting){ AD_F64, 4, { 2, 5, 3, 4 }, OTHER }, 6);
  check((setting){ AD_F64, 3, { 2, 5, 3 }, LOOKED_AT }, 5);
  check((setting){ AD_F64, 2, { 2, 5 }, LOOKED_AT }, 4);
  check((setting){ AD_F64, 2, { 4, 4 }, AFTER }, 4);
  check((setting){ AD_F64, 4, { 4, 4, 3, 2 }, AFTER }, 6);
  setting many = { AD_F64, ARRAYS_MOST, { 0 }, 0 };
  for (int k = 0; k < ARRAYS_MOST; k++) many.width[k] = 1 + k%4;
  check(many, ARRAYS_MOST + 2);
}

/* --- rows of whole lines -------------------------------------------------------------------------------- */

/* Many entries for few rows of the array: rows of its result are lengthened for the product behind it. */
enum { LONG_ROWS = 40, LONG_ENTRIES = 120, LONG_WIDTH = 23, FROM = 3, COUNT = 17 };

static void long_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  int64_t start[LONG_ROWS + 1], column[LONG_ENTRIES], second[2] = { 0, LONG_ROWS }, all[LONG_ROWS];
  double v[LONG_ENTRIES], ones[LONG_ROWS];
  for (int64_t i = 0; i <= LONG_ROWS; i++) start[i] = 3*i;
  for (int64_t e = 0; e < LONG_ENTRIES; e++) column[e] = e%2, v[e] = (double)(e%5);
  for (int64_t i = 0; i < LONG_ROWS; i++) all[i] = i, ones[i] = 1;
  const ad_var y = ad_sparse_matmul(ad_constant(t, AD_I64(LONG_ROWS + 1), start),
                                    ad_constant(t, AD_I64(LONG_ENTRIES), column),
                                    ad_constant(t, AD_F64(LONG_ENTRIES), v), in[0]);
  out[0] = ad_sparse_matmul(ad_constant(t, AD_I64(2), second), ad_constant(t, AD_I64(LONG_ROWS), all),
                            ad_constant(t, AD_F64(LONG_ROWS), ones), y);
  if (context) out[1] = y;
  /* Columns that are copied to whole lines. */
  out[context ? 2 : 1] = ad_sparse_matmul(ad_constant(t, AD_I64(LONG_ROWS + 1), start),
                                          ad_constant(t, AD_I64(LONG_ENTRIES), column), in[1],
                                          ad_slice(in[0], 1, FROM, COUNT, 1));
}

static void test_lines(void) {
  static double x[2*LONG_WIDTH], z[LONG_WIDTH], y[LONG_ROWS*LONG_WIDTH], part[LONG_ROWS*COUNT];
  double v[LONG_ENTRIES], sum[2] = { 0, 0 };
  for (int i = 0; i < 2*LONG_WIDTH; i++) x[i] = i%7 - 3;
  for (int e = 0; e < LONG_ENTRIES; e++) sum[e%2] += e%5, v[e] = e%4;
  for (int seen = 0; seen < 2; seen++) {
    ad_function *f = ad_function_trace("long", long_body, seen ? x : NULL, 2,
                                       (const ad_type[]){ AD_F64(2, LONG_WIDTH), AD_F64(LONG_ENTRIES) },
                                       2 + seen);
    if (!CHECK(f)) return;
    CHECK(count_named(f, "concat") == !seen && count_named(f, "sparse_matmul") == 3);
    for (int native = 0; native < 2; native++) {
      if (native) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
      void *const out[3] = { z, seen ? y : part, part };
      CHECK_STATUS(ad_function_call(f, (const void *[]){ x, v }, out, NULL), AD_OK);
      for (int j = 0; j < LONG_WIDTH; j++) CHECK_NUMBER(z[j], sum[0]*x[j] + sum[1]*x[LONG_WIDTH + j], 0);
      for (int i = 0; i < LONG_ROWS*COUNT; i++) {
        double want = 0;
        for (int e = i/COUNT*3; e < i/COUNT*3 + 3; e++) want += v[e]*x[e%2*LONG_WIDTH + FROM + i%COUNT];
        CHECK_NUMBER(part[i], want, 0);
      }
    }
    ad_function_free(f);
  }
}

/* --- a value and a Jacobian in a function around both --------------------------------------------------- */

typedef struct outer { ad_function *jacobian; } outer;

enum { WIDTH = 3, COLUMNS = BOTTOM*WIDTH, PARAMETERS = 2 };

/* A of the sum of p[k]^2 c[k], c of whole numbers. */
static ad_var middle(ad_tape *t, ad_var p) {
  double c[PARAMETERS][COLUMNS];
  for (int i = 0; i < PARAMETERS*COLUMNS; i++) c[i/COLUMNS][i%COLUMNS] = i%5 - 2;
  const ad_var x = ad_mul(ad_constant(t, AD_F64(PARAMETERS, COLUMNS), c), ad_expand(ad_square(p), 1));
  return times(t, &a, numbers(t, AD_F64, &a, 1),
               ad_reshape(ad_sum(x, AD_AXES(0), false), 2, (const int64_t[]){ BOTTOM, WIDTH }));
}

static void inner_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  out[0] = times(t, &b, numbers(t, AD_F64, &b, 1), middle(t, in[0]));
}

static void outer_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const outer *o = context;
  ad_function_apply(o->jacobian, in, out);
  out[1] = times(t, &b, numbers(t, AD_F64, &b, 3), middle(t, in[0]));
}

static void test_outer(void) {
  static double z[TOP*WIDTH*PARAMETERS], y[TOP*WIDTH];
  const double p[PARAMETERS] = { 3, -2 };
  const ad_type in = AD_F64(PARAMETERS);
  dense bottom, top, both = { { 0 } };
  make_dense(&a, a.v, 1, bottom), make_dense(&b, b.v, 1, top);
  for (int i = 0; i < TOP; i++)
    for (int j = 0; j < BOTTOM; j++)
      for (int k = 0; k < MIDDLE; k++) both[i][j] += top[i][k]*bottom[k][j];
  ad_function *f = ad_function_trace("inner", inner_body, NULL, 1, &in, 1);
  outer o = { ad_function_jacobian(f, 1, (const int[]){ 0 }) };
  ad_function *g = o.jacobian ? ad_function_trace("outer", outer_body, &o, 1, &in, 2) : NULL;
  if (!CHECK(g)) return;
  /* A once; B of a tangent for each parameter, and of the value. */
  CHECK_THAT(count_named(g, "sparse_matmul") == 4, "%d products", count_named(g, "sparse_matmul"));
  CHECK_STATUS(ad_function_call(g, (const void *[]){ p }, (void *[]){ z, y }, NULL), AD_OK);
  for (int i = 0; i < TOP*WIDTH; i++) {
    double sum[PARAMETERS] = { 0 };
    for (int k = 0; k < PARAMETERS*BOTTOM; k++)
      sum[k/BOTTOM] += both[i/WIDTH][k%BOTTOM]*(double)((k/BOTTOM*COLUMNS + k%BOTTOM*WIDTH + i%WIDTH)%5 - 2);
    for (int k = 0; k < PARAMETERS; k++) CHECK_NUMBER(z[PARAMETERS*i + k], 2*p[k]*sum[k], 0);
    CHECK_NUMBER(y[i], 3*(p[0]*p[0]*sum[0] + p[1]*p[1]*sum[1]), 0);
  }
  ad_function_free(g);
  ad_function_free(o.jacobian);
  ad_function_free(f);
}

/* --- what is no window, and what is not connected ------------------------------------------------------- */

/* Columns in other rows are no columns: (BOTTOM, 9) cut to (BOTTOM, 6) and put into (6, BOTTOM). */
static void other_rows(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t start[2] = { 0, 1 }, column = 4;
  const double two = 2;
  (void)context;
  out[0] = ad_sparse_matmul(ad_constant(t, AD_I64(2), start), ad_constant(t, AD_I64(1), &column),
                            ad_constant(t, AD_F64(1), &two),
                            ad_reshape(ad_slice(in[0], 1, 2, 6, 1), 2, (const int64_t[]){ 6, BOTTOM }));
}

/* The root of what no entry reaches has no slope, and no nan: by a window, of which the first column is
 * connected. */
static void root_of_columns(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t start[3] = { 0, 1, 1 }, column = 1;
  const double two = 2;
  (void)context;
  const ad_var z = ad_sparse_matmul(ad_constant(t, AD_I64(3), start), ad_constant(t, AD_I64(1), &column),
                                    ad_constant(t, AD_F64(1), &two), ad_slice(in[0], 1, 1, 2, 1));
  out[0] = ad_sum(ad_sqrt(z), AD_ALL_AXES, false);
}

static void test_others(void) {
  double x[BOTTOM*9], z[BOTTOM];
  for (int i = 0; i < BOTTOM*9; i++) x[i] = i;
  ad_function *f = ad_function_trace("rows", other_rows, NULL, 1, (const ad_type[]){ AD_F64(BOTTOM, 9) }, 1);
  if (!CHECK(f)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z }, NULL), AD_OK);
  for (int j = 0; j < BOTTOM; j++) CHECK_NUMBER(z[j], 2*x[(4*BOTTOM + j)/6*9 + 2 + (4*BOTTOM + j)%6], 0);
  ad_function_free(f);
}

static void test_connections(void) {
  const double x[2*3] = { 1, 2, 3, 4, 8, 18 }, want[2*3] = { 0, 0, 0, 0, 0.25, 1.0/6 };
  double y, slope[2*3];
  ad_function *f = ad_function_trace("roots", root_of_columns, NULL, 1, (const ad_type[]){ AD_F64(2, 3) }, 1);
  ad_function *again = ad_function_gradient(f, 1, (const int[]){ 0 });
  if (!CHECK(again)) return;
  CHECK_STATUS(ad_function_call(again, (const void *[]){ x }, (void *[]){ &y, slope }, NULL), AD_OK);
  CHECK_NUMBER(y, 10, 0);
  for (int i = 0; i < 6; i++) CHECK_NUMBER(slope[i], want[i], 1e-15);
  ad_function_free(again);
  ad_function_free(f);
}

static bool trace_with(const ad_allocator *m, void *context) {
  ad_function *f = traced(m, context);
  const bool good = f && count_named(f, "sparse_matmul") == 4;
  ad_function_free(f);
  return good;
}

int main(void) {
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  fill(&a, MIDDLE, BOTTOM, 2);
  fill(&b, TOP, MIDDLE, 3);
  test_groups();
  test_apart();
  test_lines();
  test_outer();
  test_others();
  test_connections();
  for (int keep = 0; keep < 2; keep++)
    CHECK(failing_calls(trace_with, &(setting){ AD_F64, 3, { 6, 4, 24 }, COPIES }, keep) > 100);
  folder_remove(folder);
  return check_summary();
}
