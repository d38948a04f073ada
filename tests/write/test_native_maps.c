/* test_native_maps.c -- maps of scalar functions as native code: blocks that are full and not, long maps in
 * parts, rows chosen by an index, sums of shared cotangents; against loops over instances written here. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"
#include "heap.h"

#include "adit/arrays.h"
#include "adit/code.h"
#include "adit/control.h"
#include "adit/derive.h"
#include "adit/elementwise.h"

#include <float.h>
#include <stdlib.h>

extern void omp_set_num_threads(int n) __attribute__((weak));

static const char *folder;

enum { X = 9, P = 3, S = 2, Y = 10, ROWS = 7 };

/* One instance in numbers. x: 9, p: 3, shared s: 2, a number a. y: 10, and a number b. */
static void instance(const double x[X], const double p[P], const double s[S], double a, double y[Y],
                     double *b) {
  for (int i = 0; i < X; i++) y[i] = x[i] > 0 ? x[i]*p[i%P] + s[0] : s[1]*a - x[i];
  y[9] = sin(x[0])*s[1];
  *b = x[8]*a + p[2];
}

/* What cotangents u of y and v of b give to x, p, s and a; those of s are added. */
static void instance_adjoint(const double x[X], const double p[P], const double s[S], double a,
                             const double u[Y], double v, double xbar[X], double pbar[P], double sbar[S],
                             double *abar) {
  for (int k = 0; k < P; k++) pbar[k] = 0;
  *abar = 0;
  for (int i = 0; i < X; i++) {
    xbar[i] = x[i] > 0 ? u[i]*p[i%P] : -u[i];
    if (x[i] > 0) pbar[i%P] += u[i]*x[i], sbar[0] += u[i];
    else sbar[1] += u[i]*a, *abar += s[1]*u[i];
  }
  xbar[0] += u[9]*cos(x[0])*s[1];
  sbar[1] += u[9]*sin(x[0]);
  xbar[8] += v*a;
  pbar[2] += v;
  *abar += v*x[8];
}

static ad_var at(ad_var x, int64_t i) { return ad_at(x, 1, &i); }

static void record(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y[Y];
  (void)t, (void)context;
  for (int i = 0; i < X; i++) {
    const ad_var x = at(in[0], i);
    y[i] = ad_select(ad_greater(x, 0), ad_add(ad_mul(x, at(in[1], i%P)), at(in[2], 0)),
                     ad_sub(ad_mul(at(in[2], 1), in[3]), x));
  }
  y[9] = ad_mul(ad_sin(at(in[0], 0)), at(in[2], 1));
  out[0] = ad_stack(Y, y, 0);
  out[1] = ad_add(ad_mul(at(in[0], 8), in[3]), at(in[1], 2));
}

/* (table of x, index, p, s, a) -> the map of it. */
typedef struct question { ad_function *f; ad_dtype dtype, index; int64_t n; bool derivative; } question;

static void record_map(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const question *q = context;
  (void)t;
  ad_map(q->f, (const ad_var[]){ ad_take(in[0], in[1], 0), in[2], in[3], in[4] }, out);
}

/* (table, index, p, s, a, u, v) -> cotangents of x (n, 9), p, s and a. */
static void record_adjoint(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const question *q = context;
  ad_var y[2];
  (void)t;
  const ad_var x = ad_take(in[0], in[1], 0), all[4] = { x, in[2], in[3], in[4] };
  ad_map(q->f, all, y);
  ad_vjp(2, y, in + 5, 4, all, out);
}

static ad_function *make(const ad_allocator *a, question *q) {
  const int64_t n = q->n, dims[6][2] = { { ROWS, X }, { n, 0 }, { n, P }, { S, 0 }, { n, 0 }, { n, Y } };
  const ad_dtype d = q->dtype;
  const ad_type one[4] = { ad_type_make(d, 1, (int64_t[]){ X }), ad_type_make(d, 1, (int64_t[]){ P }),
                           ad_type_make(d, 1, (int64_t[]){ S }), ad_type_make(d, 0, NULL) };
  const ad_type in[7] = { ad_type_make(d, 2, dims[0]), ad_type_make(q->index, 1, dims[1]),
                          ad_type_make(d, 2, dims[2]), ad_type_make(d, 1, dims[3]),
                          ad_type_make(d, 1, dims[4]), ad_type_make(d, 2, dims[5]),
                          ad_type_make(d, 1, dims[4]) };
  q->f = ad_function_trace_with(a, "instance", record, NULL, 4, one, 2, NULL);
  ad_body *body = q->derivative ? record_adjoint : record_map;
  const int n_in = q->derivative ? 7 : 5, n_out = q->derivative ? 4 : 2;
  ad_function *f = q->f ? ad_function_trace_with(a, "maps", body, q, n_in, in, n_out, NULL) : NULL;
  ad_function_free(q->f);
  return f;
}

/* --- numbers, as doubles and in the type asked for ------------------------------------------------------ */

enum { MOST = 6000 };

static double table[ROWS*X], p[MOST*P], s[S], a[MOST], u[MOST*Y], v[MOST];
static int64_t chosen[MOST];
static const int sizes[7] = { ROWS*X, MOST, MOST*P, S, MOST, MOST*Y, MOST };

static void fill(void) {
  uint64_t state = 7;
  double *const all[6] = { table, p, s, a, u, v };
  const int count[6] = { ROWS*X, MOST*P, S, MOST, MOST*Y, MOST };
  for (int k = 0; k < 6; k++)
    for (int i = 0; i < count[k]; i++) {
      state = state*6364136223846793005u + 1442695040888963407u;
      all[k][i] = (double)(state >> 40)/(1 << 23) - 1;
    }
  /* negative ones count from the end */
  for (int i = 0; i < MOST; i++) chosen[i] = (i*5 + i/11)%(2*ROWS) - ROWS;
}

/* The inputs in their types; freed by the caller. */
static void *converted(const question *q, int k) {
  const double *const from[7] = { table, NULL, p, s, a, u, v };
  void *to = calloc((size_t)sizes[k] + 1, 8);
  for (int i = 0; i < sizes[k]; i++)
    if (k == 1 && q->index == AD_I32) ((int32_t *)to)[i] = (int32_t)chosen[i];
    else if (k == 1) ((int64_t *)to)[i] = chosen[i];
    else if (q->dtype == AD_F64) ((double *)to)[i] = from[k][i];
    else ((float *)to)[i] = (float)from[k][i];
  return to;
}

static double number(const question *q, const void *at, int64_t i) {
  return q->dtype == AD_F64 ? ((const double *)at)[i] : (double)((const float *)at)[i];
}

static void check_all(const question *q, const void *got, const double *want, int64_t n, const char *what) {
  const double tolerance = q->dtype == AD_F64 ? 1e-13 : 3e-6;
  double scale = 1;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(want[i]) && fabs(want[i]) > scale) scale = fabs(want[i]);
  for (int64_t i = 0; i < n; i++)
    if (!check_near(number(q, got, i)/scale, want[i]/scale, tolerance)) {
      CHECK_THAT(false, "%s of %lld instances, type %d: element %lld is %g, not %g", what, (long long)q->n,
                 (int)q->dtype, (long long)i, number(q, got, i), want[i]);
      return;
    }
  CHECK(true);
}

static double y_want[MOST*Y], b_want[MOST], x_want[MOST*X], p_want[MOST*P], s_want[S], a_want[MOST];

static void find_wanted(const question *q) {
  s_want[0] = s_want[1] = 0;
  for (int64_t i = 0; i < q->n; i++) {
    const double *x = table + X*((chosen[i] + ROWS)%ROWS);
    instance(x, p + P*i, s, a[i], y_want + Y*i, b_want + i);
    instance_adjoint(x, p + P*i, s, a[i], u + Y*i, v[i], x_want + X*i, p_want + P*i, s_want, a_want + i);
  }
}

static ad_status call(const question *q, ad_function *f, void *out[4]) {
  void *in[7];
  for (int k = 0; k < 7; k++) in[k] = converted(q, k);
  const ad_status status = ad_function_call(f, (const void *const *)in, out, NULL);
  for (int k = 0; k < 7; k++) free(in[k]);
  return status;
}

static void test_question(question *q) {
  ad_function *f = make(NULL, q);
  void *out[4];
  for (int j = 0; j < 4; j++) out[j] = malloc((size_t)MOST*Y*8);
  find_wanted(q);
  for (int native = 0; native < 2; native++) {
    ad_report report = { AD_OK, "" };
    if (native) ad_function_compile(f, &(ad_native){ .cache = folder }, &report);
    CHECK_THAT(report.status == AD_OK, "%s", report.message);
    for (int j = 0; j < 4; j++) memset(out[j], 0x7F, (size_t)MOST*Y*8);
    CHECK_STATUS(call(q, f, out), AD_OK);
    if (!q->derivative) {
      check_all(q, out[0], y_want, q->n*Y, "values");
      check_all(q, out[1], b_want, q->n, "numbers");
      CHECK(((unsigned char *)out[1])[q->n*(int64_t)ad_dtype_bytes(q->dtype)] == 0x7F);   /* nothing behind */
      continue;
    }
    check_all(q, out[0], x_want, q->n*X, "cotangents of rows");
    check_all(q, out[1], p_want, q->n*P, "cotangents of vectors");
    check_all(q, out[2], s_want, S, "sums");
    check_all(q, out[3], a_want, q->n, "cotangents of numbers");
  }
  for (int j = 0; j < 4; j++) free(out[j]);
  ad_function_free(f);
}

static void test_sizes(void) {
  static const int64_t size[] = { 0, 1, 7, 8, 9, 15, 16, 17, 64, 65, 1000, 1024, 1025, 5000 };
  for (size_t i = 0; i < sizeof size/sizeof *size; i++)
    for (int k = 0; k < 4; k++)
      test_question(&(question){ .dtype = k%2 ? AD_F32 : AD_F64, .index = i%2 ? AD_I32 : AD_I64, .n = size[i],
                                 .derivative = k > 1 });
}

/* An instance that is not finite stays alone, but for the sums it is in. */
static void test_nonfinite(void) {
  static const double special[3] = { NAN, INFINITY, -INFINITY };
  for (int k = 0; k < 3; k++) {
    const double kept = p[P*16 + 1];
    p[P*16 + 1] = special[k];
    for (int derivative = 0; derivative < 2; derivative++)
      test_question(&(question){ .dtype = AD_F64, .index = AD_I64, .n = 21, .derivative = derivative });
    p[P*16 + 1] = kept;
  }
}

static void test_wrong_index(void) {
  static const int64_t wrong[3] = { ROWS, -ROWS - 1, INT64_MAX };
  question q = { .dtype = AD_F64, .index = AD_I64, .n = 3000 };
  for (int derivative = 0; derivative < 2; derivative++) {
    q.derivative = derivative;
    ad_function *f = make(NULL, &q);
    void *out[4];
    for (int j = 0; j < 4; j++) out[j] = malloc((size_t)MOST*Y*8);
    CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
    for (int k = 0; k < 3; k++) {
      const int64_t kept = chosen[2500];
      chosen[2500] = wrong[k];
      CHECK_STATUS(call(&q, f, out), AD_ERROR_ARGUMENT);
      chosen[2500] = kept;
    }
    CHECK_STATUS(call(&q, f, out), AD_OK);
    for (int j = 0; j < 4; j++) free(out[j]);
    ad_function_free(f);
  }
}

/* --- operations that wait for one another --------------------------------------------------------------- */

enum { TERMS = 70 };

/* The square of c[0] + c[1] t + c[2] t^2 + .. at t, by Horner's rule. */
static void record_polynomial(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_var sum = at(in[0], TERMS - 1);
  for (int k = TERMS - 1; k-- > 0;) sum = ad_add(ad_mul(sum, in[1]), at(in[0], k));
  out[0] = ad_square(sum);
}

static void record_total(ad_tape *t, const ad_var in[], ad_var out[], void *each) {
  ad_var z;
  (void)t;
  ad_map(each, in, &z);
  out[0] = ad_sum(z, AD_ALL_AXES, false);
}

static void find_polynomial(int64_t n, double want[TERMS + 1], double by_t[]) {
  for (int k = 0; k <= TERMS; k++) want[k] = 0;
  for (int64_t i = 0; i < n; i++) {
    double sum = 0, slope = 0, power = 1;
    for (int k = TERMS; k-- > 0;) slope = slope*a[i] + sum, sum = sum*a[i] + v[k];
    want[TERMS] += sum*sum;
    by_t[i] = 2*sum*slope;
    for (int k = 0; k < TERMS; k++, power *= a[i]) want[k] += 2*sum*power;
  }
}

static void test_deep(ad_dtype dtype, int64_t n) {
  static double in[TERMS], points[MOST], out[3][MOST], by_t[MOST], want[TERMS + 1];
  const int64_t terms = TERMS;
  const ad_type c = ad_type_make(dtype, 1, &terms), one[2] = { c, ad_type_make(dtype, 0, NULL) };
  const ad_type all[2] = { c, ad_type_make(dtype, 1, &n) };
  const question q = { .dtype = dtype, .n = n };
  ad_function *each = ad_function_trace("polynomial", record_polynomial, NULL, 2, one, 1),
              *total = ad_function_trace("total", record_total, each, 2, all, 1),
              *f = ad_function_gradient(total, 2, NULL);
  for (int k = 0; k < TERMS; k++)
    if (dtype == AD_F64) in[k] = v[k];
    else ((float *)in)[k] = (float)v[k];
  for (int64_t i = 0; i < n; i++)
    if (dtype == AD_F64) points[i] = a[i];
    else ((float *)points)[i] = (float)a[i];
  find_polynomial(n, want, by_t);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  void *to[3] = { out[0], out[1], out[2] };
  CHECK_STATUS(ad_function_call(f, (const void *[]){ in, points }, to, NULL), AD_OK);
  check_all(&q, out[0], want + TERMS, 1, "total");
  check_all(&q, out[1], want, TERMS, "deep sums");
  check_all(&q, out[2], by_t, n, "deep slopes");
  ad_function_free(f), ad_function_free(total), ad_function_free(each);
}

/* The same bits however many threads there are. */
static void test_threads(void) {
  question q = { .dtype = AD_F64, .index = AD_I64, .n = 5000, .derivative = true };
  ad_function *f = make(NULL, &q);
  void *out[2][4];
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  for (int threads = 1; threads <= 2; threads++) {
    for (int j = 0; j < 4; j++) out[threads - 1][j] = calloc(MOST*Y, 8);
    if (omp_set_num_threads) omp_set_num_threads(threads);
    CHECK_STATUS(call(&q, f, out[threads - 1]), AD_OK);
  }
  for (int j = 0; j < 4; j++) {
    CHECK(!memcmp(out[0][j], out[1][j], (size_t)MOST*Y*8));
    free(out[0][j]), free(out[1][j]);
  }
  ad_function_free(f);
}

/* Any allocation may fail: then compiling does, and says so, and nothing is lost. */
static void test_memory(void) {
  question q = { .dtype = AD_F64, .index = AD_I64, .n = 9, .derivative = true };
  bool done = false;
  for (long fails = 1; !done && fails < 20000; fails += 1 + fails/16) {
    heap h = { .fail_at = 0 };
    const ad_allocator allocator = heap_allocator(&h);
    ad_function *f = make(&allocator, &q);
    CHECK(f != NULL);
    heap_fail(&h, fails, false);
    const ad_status status = ad_function_compile(f, &(ad_native){ .cache = folder }, NULL);
    CHECK(status == AD_OK || status == AD_ERROR_MEMORY);
    done = heap_has_served(&h);
    CHECK(!done || status == AD_OK);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
  }
  CHECK(done);
}

int main(void) {
  static const int64_t deep[7] = { 8, 16, 21, 33, 64, 1000, 3000 };
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  fill();
  test_sizes();
  test_nonfinite();
  test_wrong_index();
  for (int i = 0; i < 14; i++) test_deep(i%2 ? AD_F32 : AD_F64, deep[i/2]);
  test_threads();
  test_memory();
  folder_remove(folder);
  return check_summary();
}
