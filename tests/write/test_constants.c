/* test_constants.c -- constants that begin alike and end otherwise, as they are and times a number, in native
 * code and in written C with the vectors of this processor: compilers make vectors of them by themselves. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "compiled.h"
#include "heap.h"
#include "adit/arrays.h"
#include "adit/code.h"
#include "adit/elementwise.h"
#include "adit/function.h"

enum { ARRAYS = 24, MOST = 64 };

typedef struct constants {
  ad_dtype dtype;
  int64_t n[ARRAYS];
  double of[ARRAYS][MOST];
} constants;

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const constants *c = context;
  for (int k = 0; k < ARRAYS; k++) {
    const ad_var a = ad_cast(ad_constant(t, AD_F64(c->n[k]), c->of[k]), c->dtype);
    out[k] = k%2 ? ad_mul(a, in[0]) : a;
  }
}

/* 10 to 50 elements: 4, then 6 many times, and 0 to 2 at the end. */
static void fill(constants *c, ad_dtype dtype) {
  c->dtype = dtype;
  for (int k = 0; k < ARRAYS; k++) {
    c->n[k] = 10 + k*7%41;
    for (int64_t i = 0; i < c->n[k]; i++) c->of[k][i] = i == 0 ? 4 : i < c->n[k] - 1 - k%7 ? 6 : k%3;
  }
}

typedef struct results { double z[ARRAYS][MOST]; void *out[ARRAYS]; } results;

static void open_results(results *r) {
  memset(r->z, 0, sizeof r->z);
  for (int k = 0; k < ARRAYS; k++) r->out[k] = r->z[k];
}

static void check_results(const constants *c, const results *r, const char *about) {
  for (int k = 0; k < ARRAYS; k++)
    for (int64_t i = 0; i < c->n[k]; i++) {
      const double z = check_element(c->dtype, r->z[k], i);
      CHECK_THAT(z == c->of[k][i], "%s: element %lld of %lld is %g, not %g", about, (long long)i,
                 (long long)c->n[k], z, c->of[k][i]);
    }
}

static void check_native(ad_function *f, const constants *c, const void *const in[], const char *cache) {
  static results r;
  open_results(&r);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, in, r.out, NULL), AD_OK);
  check_results(c, &r, "native");
}

static void check_written(ad_function *f, const constants *c, const void *const in[]) {
  static const char *const flags[] = { "-O2 -march=native", "-O3 -march=native", "-O0" };
  static results r;
  compiled w = { 0 };
  compiled_add(&w, f);
  if (!CHECK_THAT(compiled_write(&w, NULL), "%s", w.error)) return;
  for (int k = 0; k < 6; k++) {
    open_results(&r);
    if (!CHECK_THAT(compiled_build(&w, k < 3 ? "gcc" : "clang", flags[k%3]), "%s", w.error)) break;
    CHECK(compiled_run(&w, 0, in, r.out) == AD_OK);
    check_results(c, &r, flags[k%3]);
    compiled_unload(&w);
  }
  compiled_close(&w);
}

/* The text of f; NULL: it was not written. */
static char *emitted(ad_function *f, ad_status *status) {
  char *text = NULL;
  size_t size = 0;
  FILE *const to = open_memstream(&text, &size);
  if (!to) abort();
  *status = ad_function_emit_c(f, to, NULL, NULL, NULL);
  fclose(to);
  return text;
}

/* Any allocation may fail, within a list of numbers too: then emitting does, or the text is whole. */
static void check_memory(const constants *c) {
  const ad_type scalar = ad_type_make(c->dtype, 0, NULL);
  heap h = { .fail_at = 0 };
  const ad_allocator a = heap_allocator(&h);
  ad_function *f = ad_function_trace_with(&a, "constants", body, (void *)(uintptr_t)c, 1, &scalar, ARRAYS,
                                          NULL);
  ad_status status = AD_ERROR_MEMORY;
  char *const whole = CHECK(f != NULL) ? emitted(f, &status) : NULL;
  CHECK_STATUS(status, AD_OK);
  for (long k = 1, done = 0; whole && !done && CHECK(k < 10000); k++) {
    heap_fail(&h, k, false);
    char *const text = emitted(f, &status);
    done = heap_has_served(&h);
    CHECK(status == AD_ERROR_MEMORY || (status == AD_OK && !strcmp(text, whole)));
    CHECK(!done || status == AD_OK);
    free(text);
  }
  free(whole);
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
}

int main(void) {
  static constants c;
  const char *const cache = folder_make();
  const float single = 1;
  const double one = 1;
  if (!CHECK(cache != NULL)) return 1;
  for (ad_dtype dtype = AD_F32; dtype <= AD_F64; dtype++) {
    const ad_type scalar = ad_type_make(dtype, 0, NULL);
    const void *const in[1] = { dtype == AD_F32 ? (const void *)&single : &one };
    fill(&c, dtype);
    ad_function *f = ad_function_trace("constants", body, &c, 1, &scalar, ARRAYS);
    check_written(f, &c, in);
    check_native(f, &c, in, cache);
    check_memory(&c);
    ad_function_free(f);
  }
  folder_remove(cache);
  return check_summary();
}
