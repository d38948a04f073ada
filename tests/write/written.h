/* written.h -- functions written out as C, compiled strictly, loaded, and called beside ad_function_call. */
#ifndef ADIT_TESTS_WRITE_WRITTEN_H
#define ADIT_TESTS_WRITE_WRITTEN_H

#include "adit/code.h"
#include "check.h"
#include "folder.h"

#include <dlfcn.h>
#include <stdlib.h>

enum { WRITTEN_MOST = 64, WRITTEN_ARRAYS_MOST = 24 };
#define WRITTEN_FLAGS "-std=c11 -O1 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -shared -fPIC"

/* A shared library of n functions, whose entry points take their arrays as a list. */
typedef struct written {
  int n;
  ad_function *f[WRITTEN_MOST];
  const char *folder;
  void *library;
} written;

/* call_0(void *const *a) and so on: inputs, outputs; work memory is static. */
static bool written_shim(const written *s) {
  static const char *const pool[] = { "_F32", "_I64", "_I32", "_BOOL" };
  static const char *const type[] = { "float", "int64_t", "int32_t", "unsigned char" };
  FILE *file = fopen(folder_path(s->folder, "call.c"), "w");
  if (!file) return false;
  fprintf(file, "#include \"t.h\"\n");
  for (int i = 0; i < s->n; i++) {
    fprintf(file, "int call_%d(void *const *a);\nint call_%d(void *const *a) {\n", i, i);
    fprintf(file, "  static t_real w[t_e%d_WORK + 1];\n", i);
    for (int d = 0; d < 4; d++)
      fprintf(file, "#ifdef t_e%d_WORK%s\n  static %s w%d[t_e%d_WORK%s + 1];\n#endif\n", i, pool[d], type[d],
              d, i, pool[d]);
    fprintf(file, "  return t_e%d(", i);
    const int n = ad_function_inputs(s->f[i]) + ad_function_outputs(s->f[i]);
    for (int k = 0; k < n; k++) fprintf(file, "a[%d], ", k);
    fprintf(file, "w\n");
    for (int d = 0; d < 4; d++) fprintf(file, "#ifdef t_e%d_WORK%s\n  , w%d\n#endif\n", i, pool[d], d);
    fprintf(file, "  );\n}\n");
  }
  return fclose(file) == 0;
}

static bool written_emit(written *s, const ad_code *how) {
  char names[WRITTEN_MOST][8];
  const char *name[WRITTEN_MOST];
  ad_code options = how ? *how : (ad_code){ 0 };
  ad_report report = { 0 };
  options.name = "t";
  for (int i = 0; i < s->n; i++) {
    snprintf(names[i], sizeof names[i], "e%d", i);
    name[i] = names[i];
  }
  FILE *source = fopen(folder_path(s->folder, "t.c"), "w"),
       *header = fopen(folder_path(s->folder, "t.h"), "w");
  const bool open = source && header;
  ad_status status = AD_ERROR_IO;
  if (open) status = ad_functions_emit_c(s->n, s->f, name, source, header, &options, &report);
  if (source) fclose(source);
  if (header) fclose(header);
  return CHECK_THAT(status == AD_OK, "writing: %s", report.message);
}

/* Compiled as float too, to see that it compiles. */
static bool written_open(written *s, const ad_code *how, const char *link) {
  char command[700];
  s->library = NULL;
  if (!(s->folder = folder_make()) || !written_emit(s, how) || !CHECK(written_shim(s))) return false;
  snprintf(command, sizeof command, "cd '%s' && cc " WRITTEN_FLAGS " -Dt_FLOAT -o float.so t.c call.c",
           s->folder);
  if (!CHECK_THAT(system(command) == 0, "the text does not compile with floats")) return false;
  snprintf(command, sizeof command, "cd '%s' && cc " WRITTEN_FLAGS " -o t.so t.c call.c %s -lm", s->folder,
           link);
  if (!CHECK_THAT(system(command) == 0, "the text does not compile")) return false;
  s->library = dlopen(folder_path(s->folder, "t.so"), RTLD_NOW | RTLD_LOCAL);
  return CHECK_THAT(s->library != NULL, "%s", s->library ? "" : dlerror());
}

static void written_close(written *s) {
  if (s->library) dlclose(s->library);
  folder_remove(s->folder);
  for (int i = 0; i < s->n; i++) ad_function_free(s->f[i]);
}

/* f belongs to the list from here on. */
static int written_add(written *s, ad_function *f) {
  if (!CHECK_THAT(f != NULL, "function %d is missing", s->n) || s->n == WRITTEN_MOST) return -1;
  s->f[s->n] = f;
  return s->n++;
}

static ad_status written_call(const written *s, int i, void *const a[]) {
  char name[24];
  union { void *object; int (*call)(void *const *a); } entry;
  snprintf(name, sizeof name, "call_%d", i);
  entry.object = dlsym(s->library, name);
  if (!CHECK(entry.object != NULL)) return AD_ERROR_ARGUMENT;
  return (ad_status)entry.call(a);
}

/* What one call has: inputs, then outputs, twice. */
typedef struct written_arrays {
  int n, n_in;
  ad_type type[WRITTEN_ARRAYS_MOST];
  void *a[WRITTEN_ARRAYS_MOST], *b[WRITTEN_ARRAYS_MOST];
} written_arrays;

static void written_arrays_open(written_arrays *v, const ad_function *f) {
  v->n_in = ad_function_inputs(f);
  v->n = v->n_in + ad_function_outputs(f);
  for (int k = 0; k < v->n; k++) {
    v->type[k] = k < v->n_in ? ad_function_input_type(f, k) : ad_function_output_type(f, k - v->n_in);
    v->a[k] = calloc(ad_type_bytes(v->type[k]) + 8, 1);
    v->b[k] = k < v->n_in ? v->a[k] : calloc(ad_type_bytes(v->type[k]) + 8, 1);
    if (!v->a[k] || !v->b[k]) abort();
    memset((char *)v->b[k], k < v->n_in ? 0 : 0x55, ad_type_bytes(v->type[k]));
  }
}

static void written_arrays_close(written_arrays *v) {
  for (int k = 0; k < v->n; k++) {
    if (k >= v->n_in) free(v->b[k]);
    free(v->a[k]);
  }
}

/* Largest of |got - want|/(1 + greatest |want|) over the elements of one output. */
static double written_distance(ad_type type, const void *got, const void *want) {
  const int64_t n = ad_type_count(type);
  double size = 0, most = 0;
  for (int64_t e = 0; e < n; e++) {
    const double w = fabs(check_element(type.dtype, want, e));
    if (w > size && isfinite(w)) size = w;
  }
  for (int64_t e = 0; e < n; e++) {
    const double g = check_element(type.dtype, got, e), w = check_element(type.dtype, want, e);
    if ((isnan(g) && isnan(w)) || g == w) continue;
    const double d = fabs(g - w)/(1 + size);
    if (!(d <= most)) most = isnan(d) ? INFINITY : d;
  }
  return most;
}

/* Both on the same inputs, which are uniform in (-1, 1) beside what fill (may be NULL) makes of them. */
static void written_compare(const written *s, int i, double tolerance, void (*fill)(written_arrays *v)) {
  written_arrays v;
  uint64_t seed = 7 + (uint64_t)i;
  if (i < 0) return;
  written_arrays_open(&v, s->f[i]);
  for (int k = 0; k < v.n_in; k++)
    for (int64_t e = 0; e < ad_type_count(v.type[k]); e++)
      check_set_element(v.type[k].dtype, v.a[k], e,
                        check_uniform(&seed, -1, 1)*(v.type[k].dtype < AD_F32 ? 9 : 1));
  if (fill) fill(&v);
  const ad_status want = ad_function_call(s->f[i], (const void *const *)v.a, v.a + v.n_in, NULL);
  const ad_status got = written_call(s, i, v.b);
  CHECK_THAT(got == want, "%s (%d) gives %d, not %d", ad_function_name(s->f[i]), i, (int)got, (int)want);
  for (int k = v.n_in; k < v.n && want == AD_OK; k++) {
    const double d = written_distance(v.type[k], v.b[k], v.a[k]);
    const double most = v.type[k].dtype == AD_F32 ? 2e-5 : tolerance;
    CHECK_THAT(d <= most, "%s (%d), output %d: off by %.3g", ad_function_name(s->f[i]), i, k - v.n_in, d);
  }
  written_arrays_close(&v);
}

#endif
