/* test_written_loops.c -- loops over arrays as they are written: compiled natively, and as plain C. Values
 * and gradients against formulas in long double; arrays end where memory ends, so that nothing can be read or
 * written behind them unseen. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "compiled.h"
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"

#include <float.h>
#include <math.h>
#include <sys/mman.h>

enum { ARRAYS = 4, MOST = 256, OUTPUTS = 3 };

typedef long double number;

/* Inputs of n elements each, and up to three outputs of at most n. */
typedef struct loops_case {
  const char *name;
  void (*body)(ad_tape *t, const ad_var in[], ad_var out[], void *context);
  void (*oracle)(int64_t n, const number *const x[], number *const z[]);
  int inputs, outputs;
} loops_case;

/* --- memory that ends ----------------------------------------------------------------------------------- */

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* The last `bytes` of readable pages. */
static char *edge(size_t bytes) {
  const size_t page = page_bytes(), size = (bytes + page - 1)/page*page;
  char *at = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED || mprotect(at + size, page, PROT_NONE)) abort();
  return at + size - bytes;
}

static void edge_free(char *p, size_t bytes) {
  const size_t page = page_bytes(), size = (bytes + page - 1)/page*page;
  munmap(p + bytes - size, size + page);
}

static void put(ad_dtype dtype, char *to, int64_t i, number value) {
  if (dtype == AD_F32) ((float *)(void *)to)[i] = (float)value;
  else ((double *)(void *)to)[i] = (double)value;
}
static number get(ad_dtype dtype, const char *from, int64_t i) {
  return dtype == AD_F32 ? (number)((const float *)(const void *)from)[i]
                         : (number)((const double *)(const void *)from)[i];
}

/* --- cases ---------------------------------------------------------------------------------------------- */

static ad_var total(ad_var x) { return ad_sum(x, AD_ALL_AXES, false); }

/* Functions of <math.h> and of adit in one loop, and their slopes: z = s(x) tanh(y) + exp(x y), its sum's
 * gradient by x and y. */
static void calls_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(ad_sigmoid(in[0]), ad_tanh(in[1])), ad_exp(ad_mul(in[0], in[1])));
  ad_grad(total(out[0]), 2, in, out + 1);
}
static void calls_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n; i++) {
    const number a = x[0][i], b = x[1][i], s = 1/(1 + expl(-a)), u = tanhl(b), e = expl(a*b);
    z[0][i] = s*u + e;
    z[1][i] = s/(1 + expl(a))*u + b*e;
    z[2][i] = s/(coshl(b)*coshl(b)) + a*e;
  }
}

/* A pole and the edge of a domain just behind the values: log(x + 3), sqrt(x + 3). */
static void poles_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var up = ad_add(in[0], 3);
  out[0] = ad_mul(ad_log(up), ad_sqrt(up));
  out[1] = ad_sin(ad_cos(in[1]));
  ad_grad(total(out[0]), 1, in, out + 2);
}
static void poles_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n; i++) {
    const number up = x[0][i] + 3;
    z[0][i] = logl(up)*sqrtl(up);
    z[1][i] = sinl(cosl(x[1][i]));
    z[2][i] = 1/sqrtl(up) + logl(up)/(2*sqrtl(up));
  }
}

/* Arrays that a loop reads for the last time, before and after it stores what may lie there. */
static void overwritten_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var c = ad_cumsum(in[0], 0), d = ad_cumsum(in[1], 0);
  const ad_var u = ad_mul(c, d), v = ad_add(c, u), w = ad_sub(u, d);
  const ad_var e = ad_cumsum(u, 0), f = ad_cumsum(v, 0), g = ad_cumsum(w, 0);
  out[0] = ad_add(ad_mul(e, 2), f);
  out[1] = ad_sub(ad_mul(f, 3), g);
  out[2] = ad_add(ad_mul(g, in[2]), e);
}
static void overwritten_oracle(int64_t n, const number *const x[], number *const z[]) {
  number c = 0, d = 0, e = 0, f = 0, g = 0;
  for (int64_t i = 0; i < n; i++) {
    c += x[0][i], d += x[1][i];
    const number u = c*d, v = c + u, w = u - d;
    e += u, f += v, g += w;
    z[0][i] = 2*e + f;
    z[1][i] = 3*f - g;
    z[2][i] = g*x[2][i] + e;
  }
}

/* Loops of several shapes that wait for each other: the big one is one loop behind the small ones. */
static void shapes_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const int64_t n = ad_type_of(in[0]).dim[0], column[2] = { n, 1 }, row[2] = { 1, n };
  const ad_var a = ad_reshape(in[0], 2, column), b = ad_reshape(in[1], 2, row), outer = ad_mul(a, b);
  const ad_var twice = ad_mul(outer, 2), norm = total(ad_square(in[0]));
  const ad_var apart = ad_sub(norm, twice);
  out[0] = ad_sum(apart, AD_AXES(1), false);
  out[1] = ad_sum(ad_mul(apart, outer), AD_AXES(0), false);
}
static void shapes_oracle(int64_t n, const number *const x[], number *const z[]) {
  number norm = 0;
  for (int64_t i = 0; i < n; i++) norm += x[0][i]*x[0][i], z[0][i] = z[1][i] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      const number outer = x[0][i]*x[1][j], apart = norm - 2*outer;
      z[0][i] += apart;
      z[1][j] += apart*outer;
    }
}

/* Rows of a matrix, each of which ends within a vector: z_i = sum_j sigmoid(x_i y_j), and its gradient. */
static void rows_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const int64_t n = ad_type_of(in[0]).dim[0], column[2] = { n, 1 };
  const ad_var s = ad_sigmoid(ad_mul(ad_reshape(in[0], 2, column), in[1]));
  out[0] = ad_sum(s, AD_AXES(1), false);
  ad_grad(total(out[0]), 2, in, out + 1);
}
static void rows_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n; i++) z[0][i] = z[1][i] = z[2][i] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      const number e = expl(-x[0][i]*x[1][j]), slope = e/((1 + e)*(1 + e));
      z[0][i] += 1/(1 + e);
      z[1][i] += slope*x[1][j];
      z[2][j] += slope*x[0][i];
    }
}

/* An array that others lie around: shifted by a number in front, by one behind, by another in front (which
 * has no room then), twice in a row; used again afterwards, and each of them more than once. */
static ad_var joined(ad_var first, ad_var second) {
  const ad_var parts[2] = { first, second };
  return ad_concat(2, parts, 0);
}
static void around_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type x = ad_type_of(in[0]);
  const int64_t n = x.dim[0], one = 1;
  (void)context;
  if (n < 2) {
    for (int j = 0; j < OUTPUTS; j++) out[j] = ad_add(in[0], j);
    return;
  }
  const ad_var a = ad_full(t, ad_type_make(x.dtype, 1, &one), 1), b = ad_add(a, 1);
  const ad_var y = ad_mul(in[0], in[1]);
  const ad_var front = ad_slice(y, 0, 0, n - 1, 1), back = ad_slice(y, 0, 1, n - 1, 1);
  const ad_var u = ad_mul(joined(a, front), in[0]), v = ad_mul(joined(back, b), in[1]);
  const ad_var w = ad_mul(joined(b, front), y), twice = joined(y, y);
  out[0] = ad_add(ad_add(u, v), w);
  out[1] = ad_add(ad_mul(ad_slice(twice, 0, 1, n, 1), y), ad_slice(twice, 0, n - 1, n, 1));
  out[2] = joined(ad_slice(ad_add(u, y), 0, 1, n - 1, 1), a);
}
static void around_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n && n < 2; i++)
    for (int j = 0; j < OUTPUTS; j++) z[j][i] = x[0][i] + j;
  for (int64_t i = 0; i < n && n >= 2; i++) {
    const number y = x[0][i]*x[1][i], before = i ? x[0][i - 1]*x[1][i - 1] : 0;
    const int64_t k = (i + 1)%n, l = (i + n - 1)%n;
    const number next = x[0][k]*x[1][k], last = x[0][l]*x[1][l];
    z[0][i] = (i ? before : 1)*x[0][i] + (k ? next : 2)*x[1][i] + (i ? before : 2)*y;
    z[1][i] = next*y + last;
    z[2][i] = k ? y*x[0][k] + next : 1;
  }
}

/* Two stages of a method with shifted arrays: k = x (1, y[0], .., y[n-2]), z = y + k/2, then again; and the
 * gradient of the sum of squares. */
static ad_var shifted(ad_var x, ad_var y) {
  const ad_type type = ad_type_of(y);
  const int64_t n = type.dim[0], one = 1;
  const ad_var parts[2] = { ad_full(x.tape, ad_type_make(type.dtype, 1, &one), 1),
                            ad_slice(y, 0, 0, n > 0 ? n - 1 : 0, 1) };
  return ad_mul(x, n > 0 ? ad_concat(2, parts, 0) : y);
}
static void stages_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var first = ad_add(in[1], ad_mul(0.5, shifted(in[0], in[1])));
  out[0] = ad_add(in[1], ad_mul(0.5, shifted(in[0], first)));
  ad_grad(total(ad_square(out[0])), 2, in, out + 1);
}
static void stages_oracle(int64_t n, const number *const x[], number *const z[]) {
  number first[MOST] = { 0 }, bar[MOST] = { 0 };
  for (int64_t i = 0; i < n; i++) first[i] = x[1][i] + x[0][i]*(i ? x[1][i - 1] : 1)/2;
  for (int64_t i = 0; i < n; i++) z[0][i] = x[1][i] + x[0][i]*(i ? first[i - 1] : 1)/2;
  for (int64_t i = 0; i < n; i++) {
    z[1][i] = z[0][i]*(i ? first[i - 1] : 1);
    z[2][i] = 2*z[0][i];
    bar[i] = i + 1 < n ? z[0][i + 1]*x[0][i + 1] : 0;
  }
  for (int64_t i = 0; i < n; i++) {
    z[1][i] += bar[i]*(i ? x[1][i - 1] : 1)/2;
    z[2][i] += bar[i] + (i + 1 < n ? bar[i + 1]*x[0][i + 1]/2 : 0);
  }
}

/* Rows of a stack, taken out and put together again, and what goes back into them. */
static void stacked_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var rows[3] = { ad_mul(in[0], in[1]), ad_sub(in[0], in[1]), in[0] };
  const ad_var stack = ad_stack(3, rows, 0), curved = ad_mul(stack, stack);
  const ad_var a = ad_at(curved, 1, (const int64_t[]){ 0 }), b = ad_at(curved, 1, (const int64_t[]){ 1 });
  out[0] = ad_add(ad_mul(a, b), ad_at(stack, 1, (const int64_t[]){ 2 }));
  ad_grad(total(out[0]), 2, in, out + 1);
}
static void stacked_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n; i++) {
    const number p = x[0][i]*x[1][i], d = x[0][i] - x[1][i];
    z[0][i] = p*p*d*d + x[0][i];
    z[1][i] = 2*p*x[1][i]*d*d + 2*p*p*d + 1;
    z[2][i] = 2*p*x[0][i]*d*d - 2*p*p*d;
  }
}

/* -0 added into zeros is 0: the sign of a shifted array of negative zeros. (Not in few elements, which become
 * scalars: a sum with the constant 0 is the other operand there.) */
static void signs_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type x = ad_type_of(in[0]);
  const int64_t n = x.dim[0];
  (void)context;
  const ad_var zeros = ad_mul(ad_add(ad_abs(in[0]), 1), ad_full(t, x, -0.0));
  const ad_var part = ad_slice(zeros, 0, 0, n > 0 ? n - 1 : 0, 1);
  const ad_var moved = n > 0 ? ad_slice_add(ad_zeros(t, x), part, 0, 1, 1) : zeros;
  out[0] = n > 9 ? ad_copysign(ad_ones(t, x), moved) : ad_ones(t, x);
  out[1] = ad_add(in[0], moved);
}
static void signs_oracle(int64_t n, const number *const x[], number *const z[]) {
  for (int64_t i = 0; i < n; i++) z[0][i] = 1, z[1][i] = x[0][i];
}

static const loops_case cases[] = {
  { "signs", signs_body, signs_oracle, 1, 2 },
  { "around", around_body, around_oracle, 2, 3 },
  { "stages", stages_body, stages_oracle, 2, 3 },
  { "stacked", stacked_body, stacked_oracle, 2, 3 },
  { "rows", rows_body, rows_oracle, 2, 3 },
  { "calls", calls_body, calls_oracle, 2, 3 },
  { "poles", poles_body, poles_oracle, 2, 3 },
  { "overwritten", overwritten_body, overwritten_oracle, 3, 3 },
  { "shapes", shapes_body, shapes_oracle, 2, 2 },
};
enum { CASES = sizeof cases/sizeof *cases };
static const int64_t lengths[] = { 0, 1, 2, 3, 8, 9, 14, 19, 100 };
enum { LENGTHS = sizeof lengths/sizeof *lengths };

/* --- running -------------------------------------------------------------------------------------------- */

typedef struct arrays {
  ad_dtype dtype;
  int64_t n;
  char *in[ARRAYS], *out[ARRAYS];
  number x[ARRAYS][MOST], z[ARRAYS][MOST];
} arrays;

static size_t bytes_of(const arrays *a) { return (size_t)a->n*(a->dtype == AD_F32 ? 4 : 8); }

static void open_arrays(arrays *a, const loops_case *c, ad_dtype dtype, int64_t n) {
  const number *x[ARRAYS];
  number *z[ARRAYS];
  a->dtype = dtype, a->n = n;
  for (int k = 0; k < ARRAYS; k++) {
    a->in[k] = edge(bytes_of(a)), a->out[k] = edge(bytes_of(a));
    x[k] = a->x[k], z[k] = a->z[k];
    for (int64_t i = 0; i < n; i++) {
      put(dtype, a->in[k], i, sinl((number)(i*(k + 2) + k))*1.5L);
      a->x[k][i] = get(dtype, a->in[k], i);
    }
  }
  c->oracle(n, x, z);
}

static void close_arrays(arrays *a) {
  for (int k = 0; k < ARRAYS; k++) edge_free(a->in[k], bytes_of(a)), edge_free(a->out[k], bytes_of(a));
}

/* Rounding errors of sums grow with their largest part. */
static void check_outputs(const arrays *a, const loops_case *c, const char *how) {
  const number eps = a->dtype == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
  for (int j = 0; j < c->outputs; j++) {
    number size = 1;
    bool good = true;
    for (int64_t i = 0; i < a->n; i++) size = fmaxl(size, fabsl(a->z[j][i]));
    for (int64_t i = 0; i < a->n; i++)
      good &= fabsl(get(a->dtype, a->out[j], i) - a->z[j][i]) <= 24*eps*size;
    if (!CHECK(good)) printf("%s, %s: output %d of n = %lld\n", c->name, how, j, (long long)a->n);
  }
}

static ad_function *trace(const loops_case *c, ad_dtype dtype, int64_t n) {
  const ad_type x = ad_type_make(dtype, 1, &n), in[ARRAYS] = { x, x, x, x };
  return ad_function_trace(c->name, c->body, NULL, c->inputs, in, c->outputs);
}

static void test_native(ad_dtype dtype, const char *cache) {
  for (int k = 0; k < CASES; k++)
    for (int i = 0; i < LENGTHS; i++) {
      arrays a;
      ad_function *f = trace(&cases[k], dtype, lengths[i]);
      open_arrays(&a, &cases[k], dtype, lengths[i]);
      CHECK_STATUS(ad_function_call(f, (const void **)a.in, (void **)a.out, NULL), AD_OK);
      check_outputs(&a, &cases[k], "interpreted");
      CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
      for (int j = 0; j < ARRAYS; j++) memset(a.out[j], 0x55, bytes_of(&a));
      CHECK_STATUS(ad_function_call(f, (const void **)a.in, (void **)a.out, NULL), AD_OK);
      check_outputs(&a, &cases[k], "native");
      close_arrays(&a);
      ad_function_free(f);
    }
}

static void test_written(ad_dtype dtype, const char *flags) {
  compiled w = { .n = 0 };
  for (int k = 0; k < CASES; k++)
    for (int i = 0; i < LENGTHS; i++) compiled_add(&w, trace(&cases[k], dtype, lengths[i]));
  if (!CHECK(compiled_write(&w, NULL) && compiled_build(&w, "cc", flags))) printf("%s\n", w.error);
  for (int k = 0, at = 0; k < CASES && w.object; k++)
    for (int i = 0; i < LENGTHS; i++, at++) {
      arrays a;
      open_arrays(&a, &cases[k], dtype, lengths[i]);
      CHECK(compiled_run(&w, at, (const void **)a.in, (void **)a.out) == 0);
      check_outputs(&a, &cases[k], "written");
      close_arrays(&a);
    }
  for (int i = 0; i < w.n; i++) ad_function_free(w.f[i]);
  compiled_close(&w);
}

/* --- tanh ----------------------------------------------------------------------------------------------- */

/* Native code has a tanh of its own: within 4 ulp, odd, with the signs of zeros, and right where it ends. */
enum { TANH_POINTS = 20011, TANH_SPECIAL = 12 };

static void tanh_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_tanh(in[0]);
  out[1] = ad_sech2(in[0]);
}

static bool within_ulps(double got, number want, double ulps) {
  const double unit = fmax(nextafter(fabs((double)want), INFINITY) - fabs((double)want), DBL_TRUE_MIN);
  return fabsl(got - want) <= (number)(ulps*unit);
}

static void test_tanh(const char *cache) {
  static const double special[TANH_SPECIAL] = { 0, -0.0, INFINITY, -INFINITY, DBL_MIN, -DBL_TRUE_MIN, 0.625,
                                                -0.625, DBL_MAX, -DBL_MAX, 22, 400 };
  static double x[TANH_POINTS], z[TANH_POINTS], s[TANH_POINTS];
  const ad_type type = AD_F64(TANH_POINTS);
  for (int i = 0; i < TANH_POINTS; i++) x[i] = (i - TANH_POINTS/2)/1000.0*(i%3 ? 1 : 0.07);
  memcpy(x + 77, special, sizeof special);
  x[5] = NAN;
  ad_function *f = ad_function_trace("tanh", tanh_body, NULL, 1, &type, 2);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z, s }, NULL), AD_OK);
  ad_function_free(f);
  CHECK(isnan(z[5]));
  int bad = 0;
  for (int i = 0; i < TANH_POINTS; i++) {
    const number c = coshl(x[i]);
    if (i == 5) continue;
    bad += !within_ulps(z[i], tanhl(x[i]), 4) || signbit(z[i]) != signbit(x[i]) || fabs(z[i]) > 1;
    bad += fabs(x[i]) < 300 && !within_ulps(s[i], 1/(c*c), 8);
  }
  CHECK_THAT(bad == 0, "%d of %d", bad, TANH_POINTS);
}

/* --- indices that are known ----------------------------------------------------------------------------- */

typedef struct known { int64_t k[2]; bool wide, add; } known;

/* Rows of x that known indices choose, or additions to them. */
static void known_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const known *q = context;
  const int32_t narrow[2] = { (int32_t)q->k[0], (int32_t)q->k[1] };
  const ad_var index = q->wide ? ad_constant(t, AD_I64(2), q->k) : ad_constant(t, AD_I32(2), narrow);
  out[0] = q->add ? ad_scatter_add(in[0], index, in[1], 0) : ad_take(in[0], index, 0);
}

/* The first numbers out of range on either side are errors, the last ones in range are not. */
static void test_known_indices(void) {
  static const struct { int64_t k[2]; bool good; } pairs[] = {
    { { 4, -5 }, true }, { { 0, 5 }, false }, { { -6, 0 }, false }, { { 1, -1 }, true }
  };
  const ad_type types[2] = { AD_F64(5, 3), AD_F64(2, 3) };
  compiled w = { 0 };
  for (int i = 0; i < 16; i++) {
    known q = { { pairs[i/4].k[0], pairs[i/4].k[1] }, i%2, i/2%2 };
    compiled_add(&w, ad_function_trace("known", known_body, &q, q.add ? 2 : 1, types, 1));
  }
  if (!CHECK_THAT(compiled_write(&w, NULL) && compiled_build(&w, "gcc", "-O1"), "%s", w.error)) return;
  for (int i = 0; i < 16; i++) {
    double x[15], more[6], want[15], z[15] = { 0 };
    const bool add = i/2%2;
    for (int e = 0; e < 15; e++) x[e] = want[e] = e + 0.5;
    for (int e = 0; e < 6; e++) more[e] = 100*(e + 1);
    for (int e = 0; e < 6; e++) {
      const int64_t k = pairs[i/4].k[e/3], row = k < 0 ? k + 5 : k;
      if (add && pairs[i/4].good) want[row*3 + e%3] += more[e];
      else if (pairs[i/4].good) want[e] = x[row*3 + e%3];
    }
    const void *const in[2] = { x, more };
    const ad_status status = pairs[i/4].good ? AD_OK : AD_ERROR_ARGUMENT;
    CHECK_STATUS((ad_status)compiled_run(&w, i, in, (void *[]){ z }), status);
    for (int e = 0; e < (add ? 15 : 6) && status == AD_OK; e++) CHECK(z[e] == want[e]);
    CHECK_STATUS(ad_function_call(w.f[i], in, (void *[]){ z }, NULL), status);
    for (int e = 0; e < (add ? 15 : 6) && status == AD_OK; e++) CHECK(z[e] == want[e]);
  }
  for (int i = 0; i < 16; i++) ad_function_free(w.f[i]);
  compiled_close(&w);
}

/* exp and sigmoid have formulas of their own there, too: down to the smallest numbers, and up to infinity. */
enum { EXP_POINTS = 20011, EXP_SPECIAL = 17 };

static void exp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_exp(in[0]);
  out[1] = ad_sigmoid(in[0]);
  out[2] = ad_softplus(in[0]);
  ad_grad(ad_sum(out[1], AD_ALL_AXES, false), 1, in, out + 3);
}

static void test_exp(const char *cache) {
  static const double special[EXP_SPECIAL] = { 0, -0.0, INFINITY, -INFINITY, DBL_MIN, -DBL_TRUE_MIN,
                                               709.782, 709.79, 720, DBL_MAX, -DBL_MAX, -708.4, -709, -740,
                                               -742, -745.1, -746 };
  static double x[EXP_POINTS], z[4][EXP_POINTS];
  const ad_type type = AD_F64(EXP_POINTS);
  int bad = 0;
  for (int i = 0; i < EXP_POINTS; i++) x[i] = (i - EXP_POINTS/2)/1000.0*(i%3 ? 1 : 71);
  memcpy(x + 77, special, sizeof special);
  x[5] = NAN;
  ad_function *f = ad_function_trace("exp", exp_body, NULL, 1, &type, 4);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z[0], z[1], z[2], z[3] }, NULL), AD_OK);
  ad_function_free(f);
  for (int k = 0; k < 4; k++) CHECK(isnan(z[k][5]));
  for (int i = 0; i < EXP_POINTS; i++) {
    const number e = expl(-fabsl(x[i])), s = (x[i] < 0 ? e : 1)/(1 + e);
    if (i == 5) continue;
    bad += (double)expl(x[i]) > DBL_MAX ? z[0][i] != (double)INFINITY : !within_ulps(z[0][i], expl(x[i]), 2);
    bad += !within_ulps(z[1][i], s, 4);
    bad += fabs(x[i]) < 1e300 && !within_ulps(z[2][i], fmaxl(x[i], 0) + log1pl(e), 4);
    bad += !within_ulps(z[3][i], e/(1 + e)/(1 + e), 8);
  }
  CHECK_THAT(bad == 0, "%d of %d", bad, EXP_POINTS);
}

int main(void) {
  const char *const cache = folder_make();
  if (!CHECK(cache != NULL)) return 1;
  for (ad_dtype dtype = AD_F32; dtype <= AD_F64; dtype++) {
    test_native(dtype, cache);
    test_written(dtype, "-O1");
    test_written(dtype, "-O3 -march=native");
  }
  test_tanh(cache);
  test_exp(cache);
  test_known_indices();
  folder_remove(cache);
  return check_summary();
}
