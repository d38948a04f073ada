/* written_all.h -- functions written into one file, compiled by gcc and clang without and with optimisation,
 * and compared with the interpreter; and what the text must keep to. */
#ifndef ADIT_TESTS_WRITTEN_ALL_H
#define ADIT_TESTS_WRITTEN_ALL_H

#include "check.h"
#include "compiled.h"

enum { ALL_ARRAYS = 32 };

#define SHAPE(dtype, ...)                                                                                    \
  ad_type_make(dtype, (int)(sizeof (int64_t[]){ __VA_ARGS__ }/sizeof(int64_t)),                              \
               (const int64_t[]){ __VA_ARGS__ })

/* Inputs of entry i for trial number `trial`. */
typedef void all_fill(int i, int trial, int k, ad_type type, void *to);

/* Both on the same inputs: equal statuses, and outputs within the tolerance (0: bit by bit) of f64, f32. */
static void all_compare(const compiled *w, int i, int trial, const char *how, const double tolerance[2],
                        all_fill *fill) {
  ad_function *f = w->f[i];
  const int n = ad_function_inputs(f), m = ad_function_outputs(f);
  void *in[ALL_ARRAYS], *want[ALL_ARRAYS], *got[ALL_ARRAYS];
  if (!CHECK(n <= ALL_ARRAYS && m <= ALL_ARRAYS)) return;
  for (int k = 0; k < n; k++) {
    const ad_type type = ad_function_input_type(f, k);
    in[k] = calloc(ad_type_bytes(type) + 8, 1);
    fill(i, trial, k, type, in[k]);
  }
  for (int j = 0; j < m; j++) {
    want[j] = calloc(ad_type_bytes(ad_function_output_type(f, j)) + 8, 1);
    got[j] = calloc(ad_type_bytes(ad_function_output_type(f, j)) + 8, 1);
  }
  const ad_status status = ad_function_call(f, (const void *const *)in, want, NULL);
  const int written = compiled_run(w, i, (const void *const *)in, got);
  CHECK_THAT(written == (int)status, "%s: %s, entry %d, trial %d: %d, not %d", how, ad_function_name(f), i,
      trial,
             written, (int)status);
  for (int j = 0; j < m && status == AD_OK; j++) {
    const ad_type type = ad_function_output_type(f, j);
    const double most = tolerance[type.dtype == AD_F32];
    if (most == 0)
      CHECK_THAT(!memcmp(got[j], want[j], ad_type_bytes(type)), "%s: %s, entry %d, output %d: other bits",
          how,
                 ad_function_name(f), i, j);
    for (int64_t e = 0; e < ad_type_count(type) && most > 0; e++) {
      const double a = check_element(type.dtype, got[j], e), b = check_element(type.dtype, want[j], e);
      if (!CHECK_THAT(check_near(a, b, most),
          "%s: %s, entry %d, trial %d, output %d[%lld]: %.17g, not %.17g", how,
                      ad_function_name(f), i, trial, j, (long long)e, a, b))
        break;
    }
  }
  for (int k = 0; k < n; k++) free(in[k]);
  for (int j = 0; j < m; j++) free(want[j]), free(got[j]);
}

/* p.o calls mathematics alone, has no memory of its own, and is the same text when written again. */
static void all_check_text(const compiled *w) {
  char command[1200];
  snprintf(command, sizeof command,
           "cd '%s' && ! nm p.o | grep -E ' [bBdDC] ' "
           "&& ! nm -u p.o | grep -E 'alloc|free|abort|exit|print|rand'",
           w->folder);
  CHECK_THAT(system(command) == 0, "the object has memory of its own, or calls what it must not");
  compiled again = { .n = w->n };
  memcpy(again.f, w->f, sizeof again.f);
  memcpy(again.name, w->name, sizeof again.name);
  if (CHECK_THAT(compiled_write(&again, NULL), "%s", again.error)) {
    snprintf(command, sizeof command, "cmp '%s/p.c' '%s/p.c' && cmp '%s/p.h' '%s/p.h'", w->folder,
             again.folder, w->folder, again.folder);
    CHECK_THAT(system(command) == 0, "written twice, the text differs");
  }
  compiled_close(&again);
}

/* Native code, too: a call before f is compiled, and one after. f ends here. */
static void all_native(ad_function *f, const char *cache, const double tolerance[2], all_fill *fill) {
  if (!CHECK(f != NULL)) return;
  const int n = ad_function_inputs(f), m = ad_function_outputs(f);
  void *in[ALL_ARRAYS], *out[2][ALL_ARRAYS];
  ad_status status[2];
  ad_report report = { 0 };
  for (int k = 0; k < n; k++) {
    in[k] = calloc(ad_type_bytes(ad_function_input_type(f, k)) + 8, 1);
    fill(3, 0, k, ad_function_input_type(f, k), in[k]);
  }
  for (int side = 0; side < 2; side++) {
    for (int j = 0; j < m; j++) out[side][j] = calloc(ad_type_bytes(ad_function_output_type(f, j)) + 8, 1);
    status[side] = ad_function_call(f, (const void *const *)in, out[side], NULL);
    if (side == 0) {
      const ad_status made = ad_function_compile(f, &(ad_native){ .cache = cache }, &report);
      CHECK_THAT(made == AD_OK, "%s: %s", ad_function_name(f), report.message);
      CHECK_STATUS(ad_function_compiled(f, true, NULL), AD_OK);
    }
  }
  CHECK(status[0] == status[1]);
  for (int j = 0; j < m && status[0] == AD_OK; j++) {
    const ad_type type = ad_function_output_type(f, j);
    for (int64_t e = 0; e < ad_type_count(type); e++)
      CHECK(check_near(check_element(type.dtype, out[1][j], e), check_element(type.dtype, out[0][j], e),
                       tolerance[type.dtype == AD_F32]));
  }
  for (int k = 0; k < n; k++) free(in[k]);
  for (int j = 0; j < m; j++) free(out[0][j]), free(out[1][j]);
  ad_function_free(f);
}

/* By the first `builds` of the compilers. The functions are the list's from here on. */
static void all_run_by(int builds, compiled *w, int trials, const double tolerance[2], all_fill *fill) {
  static const char *const compiler[] = { "gcc", "gcc", "clang", "clang", "gcc" };
  static const char *const flags[] = { "-O0 -fsanitize=undefined -fsanitize-undefined-trap-on-error", "-O3",
      "-O0",
                                       "-O3", "-O1 -Dp_FLOAT" };
  for (int i = 0; i < w->n; i++)
    if (!CHECK_THAT(w->f[i] != NULL, "function %d could not be made", i)) return;
  if (CHECK_THAT(compiled_write(w, NULL), "%s", w->error))
    for (int c = 0; c < builds; c++) {
      if (!CHECK_THAT(compiled_build(w, compiler[c], flags[c]), "%s", w->error)) break;
      for (int i = 0; i < w->n && c < 4; i++)
        for (int trial = 0; trial < trials; trial++) all_compare(w, i, trial, flags[c], tolerance, fill);
      if (c == 1) all_check_text(w);
      compiled_unload(w);
    }
  for (int i = 0; i < w->n; i++) ad_function_free(w->f[i]);
  compiled_close(w);
}

static inline void all_run(compiled *w, int trials, const double tolerance[2], all_fill *fill) {
  all_run_by(5, w, trials, tolerance, fill);
}

#endif
