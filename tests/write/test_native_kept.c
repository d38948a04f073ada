/* What scans keep for their adjoints in written C: states and values side by side, states of several types,
 * and states that nobody looks at, which are left out. Compiled natively, and run by the interpreter,
 * against tangents computed in extended precision. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 14, STEPS = 33 };

typedef struct setting {
  int n;
  int64_t steps;
  ad_dtype dtype;
  ad_loop loop;
  bool value;                       /* the sum is an output too */
} setting;

/* h <- tanh(a h + c/2 + x), c <- c sigmoid(h), total <- total + sum w log(2 + c^2); seen, which adds up the
 * totals, and the number of steps go nowhere. */
enum { H, C, TOTAL, SEEN, COUNT, STATES, X = STATES, A, W, INPUTS };

static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[H] = ad_tanh(ad_add(ad_add(ad_mul(in[A], in[H]), ad_mul(0.5, in[C])), in[X]));
  out[C] = ad_mul(in[C], ad_sigmoid(out[H]));
  const ad_var loss = ad_mul(in[W], ad_log(ad_add(2, ad_square(out[C]))));
  out[TOTAL] = ad_add(in[TOTAL], ad_sum(loss, AD_ALL_AXES, false));
  out[SEEN] = ad_add(in[SEEN], out[TOTAL]);
  out[COUNT] = ad_add(in[COUNT], ad_integer(1));
}

static ad_type row(const setting *s) {
  const int64_t n = s->n;
  return ad_type_make(s->dtype, 1, &n);
}

/* (h, c, x, a, w) -> gradients of the total by h, c, a, and the total. */
static void gradients(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const ad_type one = ad_type_make(s->dtype, 0, NULL), r = row(s);
  const ad_type types[INPUTS] = { r, r, one, one, AD_I64(), r, r, r };
  const int64_t zero = 0;
  ad_function *f = ad_function_trace("step", step, NULL, INPUTS, types, STATES);
  ad_var end[STATES];
  const ad_var start[INPUTS] = { in[0], in[1], ad_zeros(t, one), ad_zeros(t, one),
                                 ad_constant(t, AD_I64(), &zero), in[2], in[3], in[4] };
  ad_scan(f, STATES, &s->loop, start, end);
  ad_function_free(f);
  ad_grad(end[TOTAL], 3, (const ad_var[]){ in[0], in[1], in[3] }, out);
  if (s->value) out[3] = end[TOTAL];
}

static ad_function *trace(const setting *s) {
  const int64_t dim[2] = { s->steps, s->n };
  const ad_type r = row(s), types[5] = { r, r, ad_type_make(s->dtype, 2, dim), r, r };
  return ad_function_trace("kept", gradients, (void *)(uintptr_t)s, 5, types, 3 + s->value);
}

/* The total of element i and its tangents by h, c, a. */
typedef long double number;
typedef struct dual { number v, d[3]; } dual;

static dual scaled(dual x, number v, number slope) {
  return (dual){ v, { slope*x.d[0], slope*x.d[1], slope*x.d[2] } };
}

static dual follow(const setting *s, int i, double v[5][STEPS*MOST]) {
  dual h = { v[0][i], { 1, 0, 0 } }, c = { v[1][i], { 0, 1, 0 } }, total = { 0, { 0 } };
  const number a = v[3][i];
  for (int64_t k = 0; k < s->steps; k++) {
    const int64_t at = s->loop.backwards ? s->steps - 1 - k : k;
    dual u = { a*h.v + c.v/2 + v[2][at*s->n + i], { 0 } }, z;
    for (int j = 0; j < 3; j++) u.d[j] = a*h.d[j] + c.d[j]/2 + (j == 2 ? h.v : 0);
    h = scaled(u, tanhl(u.v), 1 - tanhl(u.v)*tanhl(u.v));
    const number share = 1/(1 + expl(-h.v));
    z = scaled(h, c.v*share, c.v*share*(1 - share));
    for (int j = 0; j < 3; j++) z.d[j] += share*c.d[j];
    c = z;
    const dual loss = scaled(c, v[4][i]*logl(2 + c.v*c.v), v[4][i]*2*c.v/(2 + c.v*c.v));
    total.v += loss.v;
    for (int j = 0; j < 3; j++) total.d[j] += loss.d[j];
  }
  return total;
}

static void check_values(const setting *s, ad_function *f, const char *how) {
  static double v[5][STEPS*MOST];
  static float narrow[5][STEPS*MOST];
  double got[4][MOST];
  float got_narrow[4][MOST];
  const bool single = s->dtype == AD_F32;
  const double tolerance = single ? 3e-5 : 1e-13;
  number sum = 0;
  for (int k = 0; k < 5; k++)
    for (int i = 0; i < STEPS*MOST; i++)
      narrow[k][i] = (float)(v[k][i] = (double)((5*i + 3*k)%13)/8 - 0.6);
  const void *in[5];
  void *out[4];
  for (int k = 0; k < 5; k++) in[k] = single ? (const void *)narrow[k] : v[k];
  for (int k = 0; k < 4; k++) out[k] = single ? (void *)got_narrow[k] : got[k];
  for (int k = 0; k < 5 && single; k++)
    for (int i = 0; i < STEPS*MOST; i++) v[k][i] = (double)narrow[k][i];
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  for (int i = 0; i < s->n; i++) {
    const dual want = follow(s, i, v);
    sum += want.v;
    for (int k = 0; k < 3; k++) {
      const double z = single ? (double)got_narrow[k][i] : got[k][i];
      CHECK_THAT(fabs(z - (double)want.d[k]) <= tolerance*(1 + fabs((double)want.d[k])),
                 "%s, n %d, steps %d, policy %d: gradient %d[%d] is %.17g, not %.17g", how, s->n,
                 (int)s->steps, (int)s->loop.keep, k, i, z, (double)want.d[k]);
    }
  }
  if (s->value)
    CHECK_NUMBER(single ? (double)got_narrow[3][0] : got[3][0], (double)sum, tolerance*(1 + s->n));
}

/* Is there a call of log in the text, of which only values have need? */
static bool has_log(ad_function *f) {
  char *text = NULL;
  size_t size;
  FILE *file = open_memstream(&text, &size);
  CHECK_STATUS(ad_function_emit_c(f, file, NULL, NULL, NULL), AD_OK);
  fclose(file);
  const bool found = strstr(text, "M(log)(") || strstr(text, "logf(");
  free(text);
  return found;
}

static void test_setting(setting s, const char *cache) {
  for (int value = 0; value < 2; value++) {
    s.value = value;
    ad_report report;
    ad_function *f = trace(&s);
    if (!CHECK(f != NULL)) return;
    check_values(&s, f, "interpreter");
    CHECK(has_log(f) == value);
    const ad_status status = ad_function_compile(f, &(ad_native){ .cache = cache }, &report);
    CHECK_THAT(status == AD_OK, "%s", report.message);
    check_values(&s, f, "native");
    ad_function_free(f);
  }
}

/* h <- tanh h, d <- d + table[index]: d is left alone unless the index may be wrong, which is an error. */
static void fragile(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_tanh(in[0]);
  out[1] = ad_add(in[1], ad_take(in[3], in[2], 0));
}

/* (h, indices, table) -> dh_end/dh */
static void fragile_gradient(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[4] = { AD_F64(), AD_F64(), AD_I64(), AD_F64(3) };
  ad_function *f = ad_function_trace("fragile", fragile, NULL, 4, types, 2);
  ad_var end[2];
  (void)context;
  ad_scan(f, 2, NULL, (const ad_var[]){ in[0], ad_scalar(t, 0), in[1], in[2] }, end);
  ad_function_free(f);
  ad_grad(end[0], 1, in, out);
}

static void test_failure(const char *cache) {
  const ad_type types[3] = { AD_F64(), AD_I64(2), AD_F64(3) };
  const int64_t right[2] = { 0, 2 }, wrong[2] = { 0, 3 };
  const double h = 0.5, table[3] = { 1, 2, 3 }, y = tanh(h), z = tanh(y);
  ad_function *f = ad_function_trace("gradient", fragile_gradient, NULL, 3, types, 1);
  for (int native = 0; native < 2; native++) {
    double slope = 0;
    if (native) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    const void *const good[] = { &h, right, table }, *const bad[] = { &h, wrong, table };
    CHECK_STATUS(ad_function_call(f, good, (void *[]){ &slope }, NULL), AD_OK);
    CHECK_NUMBER(slope, (1 - y*y)*(1 - z*z), 1e-15);
    CHECK(ad_function_call(f, bad, (void *[]){ &slope }, NULL) != AD_OK);
  }
  ad_function_free(f);
}

/* Each state goes into the one before it only, and the first one is all that is wanted. */
enum { LINKS = 5 };

static void link_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  for (int k = 0; k + 1 < LINKS; k++) out[k] = ad_add(ad_mul(0.5, in[k]), in[k + 1]);
  out[LINKS - 1] = ad_neg(in[LINKS - 1]);
}

static void links(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_type types[LINKS];
  ad_var end[LINKS];
  (void)t, (void)context;
  for (int k = 0; k < LINKS; k++) types[k] = ad_type_of(in[k]);
  ad_function *f = ad_function_trace("link", link_step, NULL, LINKS, types, LINKS);
  ad_scan(f, LINKS, &(ad_loop){ .steps = STEPS }, in, end);
  ad_function_free(f);
  out[0] = end[0];
}

static void test_links(int64_t n, const char *cache) {
  const ad_type x = AD_F64(n), types[LINKS] = { x, x, x, x, x };
  double v[LINKS][MOST], z[MOST];
  const void *in[LINKS];
  ad_function *f = ad_function_trace("links", links, NULL, LINKS, types, 1);
  for (int native = 0; native < 2; native++) {
    for (int k = 0; k < LINKS; k++) {
      in[k] = v[k];
      for (int i = 0; i < n; i++) v[k][i] = (double)((3*i + 5*k)%7)/8 - 0.4;
    }
    if (native) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(f, in, (void *[]){ z }, NULL), AD_OK);
    for (int i = 0; i < n; i++) {
      for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k + 1 < LINKS; k++) v[k][i] = 0.5*v[k][i] + v[k + 1][i];
        v[LINKS - 1][i] = -v[LINKS - 1][i];
      }
      CHECK_NUMBER(z[i], v[0][i], 1e-15);
    }
  }
  ad_function_free(f);
}

/* The number of steps, which may be none, comes with the call. Other sums lie in front of the rows. */
static void tanh_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_tanh(ad_add(in[0], in[1]));
}

static void counted(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[2] = { ad_type_of(in[0]), ad_type_of(in[0]) };
  const ad_var sums = ad_cumsum(in[3], 0);
  ad_loop loop = *(const ad_loop *)context;
  ad_function *f = ad_function_trace("step", tanh_step, NULL, 2, types, 1);
  ad_var end, slope;
  (void)t;
  loop.count = in[2], loop.counted = true;
  ad_scan(f, 1, &loop, in, &end);
  ad_function_free(f);
  ad_grad(ad_sum(end, AD_ALL_AXES, false), 1, in, &slope);
  out[0] = ad_cumsum(ad_add(slope, sums), 0);
}

static void test_counted(ad_loop loop, const char *cache) {
  enum { LIMIT = 3 };
  const ad_type types[4] = { AD_F64(MOST), AD_F64(LIMIT, MOST), AD_I64(), AD_F64(MOST) };
  double h[MOST], x[LIMIT][MOST], more[MOST], z[MOST];
  ad_function *f = ad_function_trace("counted", counted, &loop, 4, types, 1);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
  for (int i = 0; i < MOST; i++) {
    h[i] = i/9.0 - 0.5, more[i] = i%5;
    for (int k = 0; k < LIMIT; k++) x[k][i] = (i + k)%4/7.0;
  }
  for (int64_t steps = 0; steps <= LIMIT; steps++) {
    number sum = 0, all = 0;
    CHECK_STATUS(ad_function_call(f, (const void *[]){ h, x, &steps, more }, (void *[]){ z }, NULL), AD_OK);
    for (int i = 0; i < MOST; i++) {
      number state = h[i], slope = 1;
      for (int64_t k = 0; k < steps; k++) {
        state = tanhl(state + x[loop.backwards ? steps - 1 - k : k][i]);
        slope *= 1 - state*state;
      }
      sum += more[i], all += slope + sum;
      CHECK_NUMBER(z[i], (double)all, 1e-14);
    }
  }
  ad_function_free(f);
}

/* Rows that are turned round behind loops that end within a vector, in steps that compilers put in line: gcc
 * 12 took what was there before such a loop. */
static void turned_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var h = in[1], x = in[3], zeros = ad_zeros(t, ad_type_of(h));
  const ad_var none = ad_add(zeros, ad_sum(in[2], AD_ALL_AXES, false));
  const ad_var some = ad_slice_add(ad_add(zeros, ad_sum(x, AD_ALL_AXES, false)), x, 0, 0, 1);
  const ad_var once = ad_flip(ad_mul(h, ad_cos(h)), AD_AXES(0));
  const ad_var twice = ad_flip(ad_mul(once, ad_cos(none)), AD_AXES(0));
  (void)context;
  out[0] = in[0], out[2] = in[2];
  out[1] = ad_add(ad_sigmoid(ad_add(ad_sigmoid(twice), ad_mul(0.1, h))), ad_mul(0.1, some));
}

static void turned(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[4] = { ad_type_of(in[0]), ad_type_of(in[1]), AD_F64(0), AD_F64(1) };
  ad_function *f = ad_function_trace("turned", turned_step, NULL, 4, types, 3);
  ad_var end[3], loss = ad_scalar(t, 0);
  (void)context;
  ad_scan(f, 3, &(ad_loop){ .count = in[4], .counted = true }, in, end);
  ad_function_free(f);
  for (int k = 0; k < 2; k++) loss = ad_add(loss, ad_sum(ad_mul(end[k], ad_sin(end[k])), AD_ALL_AXES, false));
  ad_grad(loss, 4, in, out);
  out[4] = loss;
}

static void test_turned(int64_t n, int64_t limit, const char *cache) {
  enum { OUTPUTS = 5 };
  const ad_type types[5] = { AD_F64(9), AD_F64(n), AD_F64(0), AD_F64(limit, 1), AD_I64() };
  double stays[9], h[MOST], x[2] = { 0.3, -0.2 }, z[2][OUTPUTS][MOST] = { { { 0 } } };
  const void *const in[5] = { stays, h, x, x, &limit };
  ad_function *f = ad_function_trace("turned", turned, NULL, 5, types, OUTPUTS);
  for (int i = 0; i < 9; i++) stays[i] = 0.1*i;
  for (int i = 0; i < n; i++) h[i] = 0.9 - 0.37*i;
  for (int k = 0; k < 2; k++) {
    void *const out[OUTPUTS] = { z[k][0], z[k][1], z[k][2], z[k][3], z[k][4] };
    if (k) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  }
  for (int j = 0; j < OUTPUTS; j++)
    for (int i = 0; i < MOST; i++) CHECK_NUMBER(z[1][j][i], z[0][j][i], 1e-14);
  ad_function_free(f);
}

/* The gradient of the sum of squares of a gradient: what the steps of the first adjoint took from the scan,
 * those of another scan and of its adjoint take, too. */
static void second(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  setting s = *(const setting *)context;
  ad_var first[4], squares = ad_scalar(t, 0);
  s.value = false;
  gradients(t, in, first, &s);
  for (int k = 0; k < 3; k++)
    squares = ad_add(squares, ad_cast(ad_sum(ad_square(first[k]), AD_ALL_AXES, false), AD_F64));
  ad_grad(squares, 5, in, out);
}

static double second_input(int k, int64_t i) { return (double)((5*i + 3*k)%13)/16 - 0.3; }

/* The sum of squares where element `at` of input k is moved by d. */
static number squares_of(const setting *s, int k, int64_t at, double d) {
  static double v[5][STEPS*MOST];
  number sum = 0;
  for (int j = 0; j < 5; j++)
    for (int64_t i = 0; i < STEPS*MOST; i++) v[j][i] = second_input(j, i) + (j == k && i == at ? d : 0);
  for (int i = 0; i < s->n; i++) {
    const dual total = follow(s, i, v);
    for (int j = 0; j < 3; j++) sum += total.d[j]*total.d[j];
  }
  return sum;
}

static void test_second(setting s, const char *cache) {
  const int64_t dim[2] = { s.steps, s.n };
  const ad_type r = row(&s), types[5] = { r, r, ad_type_make(s.dtype, 2, dim), r, r };
  static double v[5][STEPS*MOST], z[5][STEPS*MOST];
  const double d = 0x1p-10;
  const void *in[5];
  void *out[5];
  ad_function *f = ad_function_trace("second", second, &s, 5, types, 5);
  for (int k = 0; k < 5; k++) {
    in[k] = v[k], out[k] = z[k];
    for (int64_t i = 0; i < STEPS*MOST; i++) v[k][i] = second_input(k, i);
  }
  for (int native = 0; native < 2; native++) {
    if (native) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    memset(z, 0, sizeof z);
    CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
    for (int k = 0; k < 5; k++)
      for (int64_t i = 0; i < ad_type_count(types[k]); i += k == 2 ? 5 : 1) {
        const double by = (double)((squares_of(&s, k, i, d) - squares_of(&s, k, i, -d))/(2*d));
        CHECK_THAT(fabs(z[k][i] - by) <= 1e-5*(1 + fabs(by)),
                   "native %d, policy %d, n %d: %d[%d] is %g, not %g", native, (int)s.loop.keep, s.n, k,
                   (int)i, z[k][i], by);
      }
  }
  ad_function_free(f);
}

int main(void) {
  const char *const cache = folder_make();
  if (!CHECK(cache != NULL)) return 1;
  for (int policy = 0; policy < 2; policy++) {
    const ad_loop loop = { .keep = policy ? AD_KEEP_ALL : AD_KEEP_STATES };
    const ad_loop backwards = { .keep = loop.keep, .backwards = true };
    test_setting((setting){ .n = 1, .steps = STEPS, .dtype = AD_F64, .loop = loop }, cache);
    test_setting((setting){ .n = 7, .steps = STEPS, .dtype = AD_F64, .loop = loop }, cache);
    test_setting((setting){ .n = 14, .steps = STEPS, .dtype = AD_F64, .loop = backwards }, cache);
    test_setting((setting){ .n = 7, .steps = STEPS, .dtype = AD_F32, .loop = loop }, cache);
    test_setting((setting){ .n = 7, .steps = 1, .dtype = AD_F64, .loop = loop }, cache);
    test_setting((setting){ .n = 7, .steps = 0, .dtype = AD_F64, .loop = backwards }, cache);
    test_counted(loop, cache);
    test_counted(backwards, cache);
    test_second((setting){ .n = 2, .steps = 6, .dtype = AD_F64, .loop = loop }, cache);
    test_second((setting){ .n = 9, .steps = 6, .dtype = AD_F64, .loop = backwards }, cache);
  }
  test_failure(cache);
  for (int64_t n = 3; n <= 7; n++)
    for (int64_t limit = 1; limit <= 2; limit++) test_turned(n, limit, cache);
  test_links(3, cache);
  test_links(MOST, cache);
  folder_remove(cache);
  return check_summary();
}
