/* Loops in written C: states of few and of many elements, states that the loop keeps for its adjoint, by
 * every policy and number of steps. Compiled natively against closed forms, and by what the text has. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"

#include <stdlib.h>

enum { MOST = 9, WRITTEN_STEPS = 1000 };      /* that is most_steps by default */

typedef struct setting { int n; ad_dtype dtype; ad_loop loop; } setting;

/* x <- x - x^2/1024 elementwise, scale <- scale w, while count < steps. */
enum { X, SCALE, COUNT, W, LIMIT };

static void more(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[COUNT], in[LIMIT]);
}
static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[X] = ad_sub(in[X], ad_mul(0x1p-10, ad_square(in[X])));
  out[SCALE] = ad_mul(in[SCALE], in[W]);
  out[COUNT] = ad_add(in[COUNT], ad_integer(1));
}

static ad_type row(const setting *s) {
  const int64_t n = s->n;
  return ad_type_make(s->dtype, 1, &n);
}

/* (x, w, steps) -> x after the steps, times w^steps. */
static void shrink(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  const ad_type one = ad_type_make(s->dtype, 0, NULL);
  const ad_type types[5] = { row(s), one, AD_I64(), one, AD_I64() };
  const int64_t zero = 0;
  ad_function *p = ad_function_trace("more", more, NULL, 5, types, 1),
              *f = ad_function_trace("shrink", step, NULL, 5, types, 3);
  ad_var end[3];
  const ad_var count = ad_constant(t, AD_I64(), &zero);
  ad_while(p, f, &s->loop, (const ad_var[]){ in[0], ad_ones(t, one), count, in[1], in[2] }, end);
  out[0] = ad_mul(end[X], end[SCALE]);
  ad_function_free(p);
  ad_function_free(f);
}

/* The value, and two adjoints of the one loop: of the sum, and of the first element. */
static void two_gradients(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t zero = 0;
  shrink(t, in, out, context);
  ad_grad(ad_sum(out[0], AD_ALL_AXES, false), 2, in, out + 1);
  ad_grad(ad_at(out[0], 1, &zero), 2, in, out + 3);
}

static ad_function *trace(const setting *s) {
  const ad_type types[3] = { row(s), ad_type_make(s->dtype, 0, NULL), AD_I64() };
  return ad_function_trace("two", two_gradients, (void *)(uintptr_t)s, 3, types, 5);
}

/* --- values --------------------------------------------------------------------------------------------- */

typedef struct numbers { double d[MOST]; float f[MOST]; } numbers;

static void *address(numbers *v, ad_dtype dtype) { return dtype == AD_F32 ? (void *)v->f : (void *)v->d; }
static double number(const numbers *v, ad_dtype dtype, int i) {
  return dtype == AD_F32 ? (double)v->f[i] : v->d[i];
}

static ad_status call(ad_function *f, const setting *s, int64_t steps, const double x[], double w,
                      numbers z[5]) {
  numbers from = { { 0 }, { 0 } }, factor = { { w }, { (float)w } };
  for (int i = 0; i < s->n; i++) from.d[i] = x[i], from.f[i] = (float)x[i];
  void *out[5];
  for (int k = 0; k < 5; k++) out[k] = address(&z[k], s->dtype);
  const void *in[] = { address(&from, s->dtype), address(&factor, s->dtype), &steps };
  return ad_function_call(f, in, out, NULL);
}

/* y = x_n w^n with dx_n/dx the product of all 1 - x_k/512. */
static void check_values(ad_function *f, const setting *s, int64_t steps, double tolerance) {
  double x[MOST], w = 1 - 0x1p-10, sum_w = 0;
  numbers z[5];
  memset(z, 0, sizeof z);
  for (int i = 0; i < s->n; i++) x[i] = 0.5 + 0.25*i;
  CHECK_STATUS(call(f, s, steps, x, w, z), AD_OK);
  for (int i = 0; i < s->n; i++) {
    double at = x[i], slope = 1;
    const double power = pow(w, (double)steps), by_w = steps ? (double)steps*pow(w, (double)steps - 1) : 0;
    for (int64_t k = 0; k < steps; k++) slope *= 1 - at/512, at -= at*at/1024;
    CHECK_NUMBER(number(&z[0], s->dtype, i), at*power, tolerance);
    CHECK_NUMBER(number(&z[1], s->dtype, i), slope*power, tolerance);
    CHECK_NUMBER(number(&z[3], s->dtype, i), i ? 0 : slope*power, tolerance);
    if (i == 0) CHECK_NUMBER(number(&z[4], s->dtype, 0), at*by_w, tolerance*(double)(1 + steps));
    sum_w += at*by_w;
  }
  CHECK_NUMBER(number(&z[2], s->dtype, 0), sum_w, tolerance*(double)(1 + steps));
}

static void test_values(const setting *s, const char *cache) {
  static const int64_t steps[] = { 0, 1, 2, 7, 100, WRITTEN_STEPS };
  const double tolerance = s->dtype == AD_F32 ? 1e-5 : 1e-13;
  ad_function *f = trace(s);
  ad_report report;
  if (!CHECK(f != NULL)) return;
  for (int k = 0; k < 6; k++) check_values(f, s, steps[k], tolerance*(double)(1 + steps[k]/8));
  CHECK_THAT(ad_function_compile(f, &(ad_native){ .cache = cache }, &report) == AD_OK, "%s", report.message);
  for (int k = 0; k < 6; k++) check_values(f, s, steps[k], tolerance*(double)(1 + steps[k]/8));
  ad_function_free(f);
}

/* More steps than native code has room for the states of: the interpreter takes over. More than the loop may
 * make are refused. */
static void test_limits(const char *cache) {
  const setting s[2] = { { 2, AD_F64, { .limit = 5000 } }, { 2, AD_F64, { .limit = 20 } } };
  const double x[2] = { 0.5, 0.75 };
  for (int k = 0; k < 2; k++) {
    numbers z[5];
    const int64_t most = s[k].loop.limit;
    ad_function *f = trace(&s[k]);
    CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    check_values(f, &s[k], k ? 20 : WRITTEN_STEPS, 1e-11);
    check_values(f, &s[k], k ? 20 : WRITTEN_STEPS + 1, 1e-11);
    check_values(f, &s[k], most, 1e-11);
    CHECK_STATUS(call(f, &s[k], most + 1, x, 0.5, z), AD_ERROR_LIMIT);
    ad_function_free(f);
  }
}

/* --- text ----------------------------------------------------------------------------------------------- */

static int count_text(const char *text, const char *word) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, word)) != NULL; at++) n++;
  return n;
}

/* One way forwards for value and both gradients, where all states are kept. */
static void test_text(const setting *s, bool keeps) {
  char *text[2] = { NULL, NULL };
  size_t size[2];
  ad_function *f = trace(s);
  FILE *source = open_memstream(&text[0], &size[0]), *header = open_memstream(&text[1], &size[1]);
  CHECK_STATUS(ad_function_emit_c(f, source, header, NULL, NULL), AD_OK);
  fclose(source), fclose(header);
  CHECK(count_text(text[0], "for (;; steps++)") == 1);
  CHECK((count_text(text[0], "step + 1 <") + count_text(text[0], "step < to") > 0) == !keeps);
  CHECK(count_text(text[0], "const before = c0;") == (s->n <= 8 ? 0 : 1 + (keeps ? 0 : 2)));
  free(text[0]), free(text[1]);
  ad_function_free(f);
}

int main(void) {
  static const int n[] = { 1, 2, 8, 9 };
  const char *const cache = folder_make();
  if (!CHECK(cache != NULL)) return 1;
  for (int k = 0; k < 4; k++) {
    const ad_dtype dtype = k%2 ? AD_F32 : AD_F64;
    const setting all = { n[k], dtype, { .limit = 1000000 } };
    const setting every = { n[k], dtype, { .limit = 1000000, .keep = AD_KEEP_EVERY, .k = 3 } };
    const setting most = { n[k], dtype, { .limit = 1000, .keep = AD_KEEP_EVERY, .k = 2000 } };
    const setting few = { n[k], dtype, { .limit = 20, .keep = AD_KEEP_EVERY, .k = 30 } };
    const setting binomial = { n[k], dtype, { .limit = 1000000, .keep = AD_KEEP_BINOMIAL, .k = 4 } };
    test_values(&all, cache);
    test_values(&every, cache);
    test_values(&most, cache);
    test_values(&binomial, cache);
    test_text(&all, true);
    test_text(&most, true);
    test_text(&few, true);
    test_text(&every, false);
    test_text(&binomial, false);
  }
  test_limits(cache);
  folder_remove(cache);
  return check_summary();
}
