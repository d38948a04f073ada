/* test_written_programs_slow.c -- random programs with loops, branches, maps and calls, and their
 * derivatives: what the written C computes against the interpreter, compiled with and without optimisation
 * and with the undefined behaviour sanitizer; and native code against it too.
 *
 *     ADIT_PROGRAMS=n         how many
 *     ADIT_PROGRAM_SEED=s     the first one's seed */
#define _DEFAULT_SOURCE
#include "check.h"
#include "function/program.h"
#include "function/program_generate.h"
#include "function/program_run.h"
#include "write/compiled.h"

#include <math.h>

enum { MOST_PORTS = 128, GROUP = 20, FORMS = 3 };

typedef struct bundle {
  int n;
  ad_type type[MOST_PORTS];
  double data[MOST_PORTS][MOST_ELEMENTS*3];
} bundle;

static void whole_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  run_program(context, t, in, out);
}

/* The program, its vjp, and the jvp of that. */
static int make_functions(uint64_t seed, ad_function *f[FORMS]) {
  static program p;
  static liveness live;
  machine m = { .p = &p, .live = &live, .policy = -1 };
  generate_program(&p, seed);
  find_live(&p, &live);
  const body *own = &p.b[0];
  f[0] = ad_function_trace("program", whole_body, &m, own->n_params, own->type, own->n_outputs);
  if (!f[0]) return 0;
  f[1] = ad_function_vjp(f[0]);
  f[2] = f[1] ? ad_function_jvp(f[1]) : NULL;
  if (f[2] && ad_function_size(f[2]) > 4000) ad_function_free(f[2]), f[2] = NULL;
  return f[2] ? 3 : f[1] ? 2 : 1;
}

static void randomize(ad_function *f, bundle *x, uint64_t *state) {
  x->n = ad_function_inputs(f);
  for (int k = 0; k < x->n; k++) {
    x->type[k] = ad_function_input_type(f, k);
    for (int64_t i = 0; i < ad_type_count(x->type[k]); i++) {
      double v = check_uniform(state, -1.5, 1.5);
      if (x->type[k].dtype == AD_I64) v = check_below(state, 9) - 2;
      if (x->type[k].dtype == AD_BOOL) v = check_below(state, 2);
      check_set_element(x->type[k].dtype, x->data[k], i, v);
    }
  }
}

static void addresses(const bundle *x, const void *in[]) {
  for (int k = 0; k < x->n; k++) in[k] = x->data[k];
}

static double distance(const bundle *got, const bundle *want) {
  double scale = 1, most = 0;
  for (int k = 0; k < want->n; k++)
    for (int64_t i = 0; i < ad_type_count(want->type[k]); i++)
      scale = fmax(scale, fabs(check_element(want->type[k].dtype, want->data[k], i)));
  for (int k = 0; k < want->n; k++)
    for (int64_t i = 0; i < ad_type_count(want->type[k]); i++) {
      const double e = fabs(check_element(got->type[k].dtype, got->data[k], i)
                            - check_element(want->type[k].dtype, want->data[k], i))/scale;
      if (!(e <= most)) most = e;
    }
  return most;
}

static void outputs_of(ad_function *f, bundle *z, void *out[]) {
  z->n = ad_function_outputs(f);
  for (int j = 0; j < z->n; j++) {
    z->type[j] = ad_function_output_type(f, j);
    out[j] = z->data[j];
  }
}

static bool has_single(ad_function *f, const bundle *z) {
  bool single = false;
  for (int k = 0; k < ad_function_inputs(f); k++) single |= ad_function_input_type(f, k).dtype == AD_F32;
  for (int j = 0; j < z->n; j++) single |= z->type[j].dtype == AD_F32;
  return single;
}

/* Inside, numbers may be f32 where nothing outside is. */
static double tolerance(ad_function *f, const bundle *z) { return has_single(f, z) ? 2e-3 : 2e-4; }

static bundle x, want, got;
static long compared, refused;
static double worst;

/* One entry of the loaded file against the interpreter. */
static void compare(const compiled *w, int i, uint64_t seed, const char *flags) {
  const void *in[MOST_PORTS];
  void *out[MOST_PORTS];
  ad_function *f = w->f[i];
  uint64_t state = seed + 17;
  randomize(f, &x, &state);
  addresses(&x, in);
  outputs_of(f, &want, out);
  const ad_status status = ad_function_call(f, in, out, NULL);
  outputs_of(f, &got, out);
  const int answer = compiled_run(w, i, in, out);
  CHECK_THAT(answer == (int)status, "seed %llu, %s, %s: status %d, not %d", (unsigned long long)seed,
             ad_function_name(f), flags, answer, (int)status);
  if (status != AD_OK || answer) return;
  const double far = distance(&got, &want);
  if (far > 1e-9) worst = fmax(worst, far);
  CHECK_THAT(far <= tolerance(f, &want), "seed %llu, %s, %s: off by %.3g", (unsigned long long)seed,
             ad_function_name(f), flags, far);
  compared++;
}

static void test_group(uint64_t first, int n) {
  static const char *const flags[] = { "-O0 -fsanitize=undefined -fsanitize-undefined-trap-on-error", "-O3",
                                       "-O1" };
  static const char *const compilers[] = { "gcc", "gcc", "clang" };
  compiled w = { 0 };
  uint64_t seed[COMPILED_MOST];
  for (int k = 0; k < n; k++) {
    ad_function *f[FORMS] = { NULL };
    const int forms = make_functions(first + (uint64_t)k, f);
    for (int form = 0; form < forms; form++) {
      seed[w.n] = first + (uint64_t)k;
      compiled_add(&w, f[form]);
    }
    if (forms == 0) refused++;
  }
  if (!compiled_write(&w, &(ad_code){ .chunk = 60 })) CHECK_THAT(false, "%s", w.error);
  for (size_t o = 0; o < sizeof flags/sizeof *flags && !*w.error; o++) {
    if (!compiled_build(&w, compilers[o], flags[o])) CHECK_THAT(false, "%s", w.error);
    for (int i = 0; i < w.n && w.object; i++) compare(&w, i, seed[i], flags[o]);
    compiled_unload(&w);
  }
  for (int i = 0; i < w.n; i++) ad_function_free(w.f[i]);
  compiled_close(&w);
}

/* Native code gives what the interpreter gives. */
static void test_native(uint64_t first, int n, const char *cache) {
  for (int k = 0; k < n; k++) {
    ad_function *f[FORMS] = { NULL };
    const int forms = make_functions(first + (uint64_t)k, f);
    const void *in[MOST_PORTS];
    void *out[MOST_PORTS];
    ad_report report;
    uint64_t state = first + (uint64_t)k + 17;
    if (forms > 1) {
      randomize(f[1], &x, &state);
      addresses(&x, in);
      outputs_of(f[1], &want, out);
      const ad_status status = ad_function_call(f[1], in, out, NULL);
      const ad_status answer = ad_function_compile(f[1], &(ad_native){ .cache = cache }, &report);
      CHECK_THAT(answer == AD_OK, "seed %llu: %s", (unsigned long long)first + (unsigned)k, report.message);
      outputs_of(f[1], &got, out);
      CHECK(ad_function_call(f[1], in, out, NULL) == status);
      const double far = status == AD_OK ? distance(&got, &want) : 0;
      CHECK_THAT(far <= tolerance(f[1], &want), "native, seed %llu: off by %.3g",
                 (unsigned long long)first + (unsigned)k, far);
    }
    for (int form = 0; form < forms; form++) ad_function_free(f[form]);
  }
}

int main(void) {
  (void)sum_up, (void)print_program;    /* of the shared headers */
  const char *number = getenv("ADIT_PROGRAMS"), *seed = getenv("ADIT_PROGRAM_SEED");
  const int n = number ? atoi(number) : 40;
  const uint64_t first = seed ? strtoull(seed, NULL, 10) : 1000;
  const char *const cache = folder_make();
  for (int k = 0; k < n; k += GROUP) test_group(first + (uint64_t)k, n - k < GROUP ? n - k : GROUP);
  if (CHECK(cache != NULL)) test_native(first, n/6 + 1, cache);
  folder_remove(cache);
  printf("%ld comparisons of %d programs (%ld could not be traced), worst %.2g\n", compared, n, refused,
         worst);
  CHECK(compared > n);
  return check_summary();
}
