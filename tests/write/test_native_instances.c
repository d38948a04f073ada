/* test_native_instances.c -- maps of functions of arrays as native code, whose instances threads share:
 * against the interpreter, with the same bits however many threads there are; what may fail says so. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"

#include <glob.h>
#include <stdlib.h>

extern void omp_set_num_threads(int n) __attribute__((weak));

static const char *folder;

enum { ROWS = 72, COLUMNS = 9, MOST = 130, SHARED = 7, INPUTS = SHARED + 1, OUTPUTS = INPUTS + 1 };

typedef struct setting { ad_dtype dtype; int64_t n; bool solve; ad_function *each; } setting;

/* (x, w, columns v1, v2, ..) -> |tanh(w x[turned] + v1 + v2^2 + ..)|^2, the rows of x turned by five; or w is
 * solved with instead. All but x are shared. */
static void record_instance(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  int64_t turned[ROWS];
  for (int i = 0; i < ROWS; i++) turned[i] = (i + 5)%ROWS - (i%2 ? ROWS : 0);
  const ad_var x = ad_take(in[0], ad_constant(t, AD_I64(ROWS), turned), 0);
  ad_var y = s->solve ? ad_solve(in[1], x) : ad_matmul(in[1], x);
  for (int k = 2; k < INPUTS; k++) y = ad_add(y, ad_powi(in[k], k - 1));
  out[0] = ad_sum(ad_square(ad_tanh(y)), AD_ALL_AXES, false);
}

static void record_total(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  ad_var each;
  (void)t;
  ad_map(s->each, in, &each);
  out[0] = ad_sum(each, AD_ALL_AXES, false);
}

/* (x of all, w, ..) -> total, its gradients by all. What has no axis of instances is shared. */
static ad_function *make(setting *s) {
  const int64_t one[2] = { ROWS, COLUMNS }, all[3] = { s->n, ROWS, COLUMNS }, square[2] = { ROWS, ROWS };
  const int64_t column[2] = { ROWS, 1 };
  ad_type types[INPUTS] = { ad_type_make(s->dtype, 2, one), ad_type_make(s->dtype, 2, square) };
  for (int k = 2; k < INPUTS; k++) types[k] = ad_type_make(s->dtype, 2, column);
  s->each = ad_function_trace("instance", record_instance, s, INPUTS, types, 1);
  types[0] = ad_type_make(s->dtype, 3, all);
  ad_function *total = ad_function_trace("total", record_total, s, INPUTS, types, 1),
              *f = ad_function_gradient(total, INPUTS, NULL);
  ad_function_free(total);
  ad_function_free(s->each);
  return f;
}

static double x[MOST*ROWS*COLUMNS], w[ROWS*ROWS], v[ROWS];

static void fill(ad_dtype dtype, double *to, int64_t n, double scale) {
  uint32_t state = 7;
  for (int64_t i = 0; i < n; i++) {
    state = state*1664525u + 1013904223u;
    const double drawn = scale*((double)(state >> 8)/0x1p23 - 1);
    if (dtype == AD_F64) to[i] = drawn;
    else ((float *)(void *)to)[i] = (float)drawn;
  }
}

static size_t bytes_of(const ad_function *f, int j) { return ad_type_bytes(ad_function_output_type(f, j)); }

static ad_status call(ad_function *f, char *const out[OUTPUTS]) {
  const void *in[INPUTS] = { x, w };
  for (int k = 2; k < INPUTS; k++) in[k] = v;
  return ad_function_call(f, in, (void *const *)out, NULL);
}

static void compare(const setting *s, const ad_function *f, char *const got[], char *const want[]) {
  const double tolerance = s->dtype == AD_F64 ? 1e-13 : 2e-5;
  for (int j = 0; j < OUTPUTS; j++) {
    const int64_t n = ad_type_count(ad_function_output_type(f, j));
    double most = 0, difference = 0;
    for (int64_t i = 0; i < n; i++) {
      const double a = check_element(s->dtype, got[j], i), b = check_element(s->dtype, want[j], i);
      if (fabs(b) > most) most = fabs(b);
      if (!(fabs(a - b) <= difference)) difference = fabs(a - b);
    }
    CHECK_THAT(difference <= tolerance*most, "%lld instances, output %d: %g of %g", (long long)s->n, j,
               difference, most);
  }
}

static void test_setting(setting s) {
  char *out[4][OUTPUTS];
  ad_function *f = make(&s);
  if (!CHECK(f != NULL)) return;
  fill(s.dtype, x, s.n*ROWS*COLUMNS, 1);
  fill(s.dtype, w, ROWS*ROWS, 0.2);
  fill(s.dtype, v, ROWS, 0.7);
  for (int i = 0; i < ROWS && s.solve; i++) w[i*ROWS + i] += 16;
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < OUTPUTS; j++) out[k][j] = calloc(bytes_of(f, j) + 8, 1);
  CHECK_STATUS(call(f, out[0]), AD_OK);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  for (int threads = 1; threads <= 3; threads++) {
    if (omp_set_num_threads) omp_set_num_threads(threads);
    CHECK_STATUS(call(f, out[threads]), AD_OK);
    for (int j = 0; j < OUTPUTS; j++)
      CHECK_THAT(!memcmp(out[1][j], out[threads][j], bytes_of(f, j)), "%lld instances, %d threads, output %d",
                 (long long)s.n, threads, j);
  }
  compare(&s, f, out[1], out[0]);
  if (s.solve) {
    memset(w, 0, sizeof w);
    CHECK_STATUS(call(f, out[0]), AD_ERROR_SINGULAR);
  }
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < OUTPUTS; j++) free(out[k][j]);
  ad_function_free(f);
}

/* --- without work memory -------------------------------------------------------------------------------- */

static void record_product(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_matmul(in[1], in[0]);
}
static void record_products(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_map(f, in, out);
}

/* w x[i], an operation that needs no memory but its result's: against sums written here. */
static void test_products(void) {
  enum { N = 410 };
  static double many[N*ROWS*COLUMNS], z[N*ROWS*COLUMNS];
  const ad_type types[2] = { AD_F64(ROWS, COLUMNS), AD_F64(ROWS, ROWS) };
  const ad_type all[2] = { AD_F64(N, ROWS, COLUMNS), types[1] };
  ad_function *each = ad_function_trace("product", record_product, NULL, 2, types, 1),
              *f = ad_function_trace("products", record_products, each, 2, all, 1);
  double worst = 0;
  fill(AD_F64, many, N*ROWS*COLUMNS, 1);
  fill(AD_F64, w, ROWS*ROWS, 0.2);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = folder }, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ many, w }, (void *[]){ z }, NULL), AD_OK);
  for (int e = 0; e < N*ROWS*COLUMNS; e++) {
    const int i = e/(ROWS*COLUMNS), row = e/COLUMNS%ROWS, column = e%COLUMNS;
    double sum = 0;
    for (int k = 0; k < ROWS; k++) sum += w[row*ROWS + k]*many[(i*ROWS + k)*COLUMNS + column];
    if (!(fabs(z[e] - sum) <= worst)) worst = fabs(z[e] - sum);
  }
  CHECK_THAT(worst <= 1e-13, "%g", worst);
  ad_function_free(f);
  ad_function_free(each);
}

static bool mentions(const char *path, const char *word) {
  const size_t n = strlen(word);
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) return false;
  const size_t size = (size_t)ftell(file);
  char *bytes = calloc(size + n, 1);
  rewind(file);
  bool found = false;
  const size_t got = bytes ? fread(bytes, 1, size, file) : 0;
  for (size_t at = 0; at < got && !found; at++) found = !memcmp(bytes + at, word, n);
  free(bytes);
  fclose(file);
  return found;
}

/* What is written for threads is compiled for them: the objects of all such texts begin them, or, where the
 * compiler has none, no object does. */
static void test_threads_of_objects(void) {
  glob_t sources;
  long asked = 0, begun = 0;
  if (!CHECK(glob(folder_path(folder, "*.c"), 0, NULL, &sources) == 0)) return;
  for (size_t i = 0; i < sources.gl_pathc; i++) {
    char object[FOLDER_PATH];
    snprintf(object, sizeof object, "%.*s.so", (int)strlen(sources.gl_pathv[i]) - 2, sources.gl_pathv[i]);
    if (!mentions(sources.gl_pathv[i], "parallel for num_threads")) continue;
    asked++;
    begun += mentions(object, "GOMP_parallel") || mentions(object, "__kmpc_fork");
  }
  globfree(&sources);
  CHECK_THAT(asked >= 7 && (begun == asked || begun == 0), "%ld of %ld", begun, asked);
}

int main(void) {
  static const int64_t n[] = { 0, 1, 2, 3, 25, 65, MOST };
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  for (int k = 0; k < 7; k++)
    for (int wide = 0; wide < 2; wide++)
      test_setting((setting){ .dtype = wide ? AD_F64 : AD_F32, .n = n[k] });
  test_setting((setting){ .dtype = AD_F64, .n = 20, .solve = true });
  test_products();
  test_threads_of_objects();
  folder_remove(folder);
  return check_summary();
}
