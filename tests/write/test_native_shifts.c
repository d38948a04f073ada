/* Loops over rows that read each other's results some elements before or behind, which native code makes one
 * loop over vectors of: random chains of sums, products, quotients and shifts, bit by bit against the same in
 * plain C (but for the signs of zeros: a shift of a shift may do without an addition of 0), values and
 * gradients against the interpreter's. Arrays end where memory ends. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"
#include "heap.h"
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/code.h"

#include <dirent.h>
#include <sys/mman.h>

enum { INPUTS = 3, OPERATIONS = 24, VALUES = INPUTS + OPERATIONS, MOST = 256, PROGRAMS = 16, OUTPUTS = 2 };

/* What value k is made of: of x and y, or of x alone shifted by `by` elements (before: element i is
 * x[i - by], in front of which number is). added: put in place by addition into zeros. */
typedef enum word { ADD, SUB, MUL, DIV, NEG, SCALE, BEFORE, BEHIND, ADDED_BEFORE, ADDED_BEHIND, KINDS } word;
typedef struct operation { word kind; int x, y; int64_t by; double number; } operation;
/* n elements in rows of one or two, which are what shifts go by. */
typedef struct program { operation of[VALUES]; int64_t n, row; ad_dtype dtype; bool gradient; } program;

static unsigned long long seed = 12345;

static int pick(int n) {
  seed = seed*6364136223846793005u + 1442695040888963407u;
  return (int)((seed >> 33)%(unsigned)n);
}

/* Operands are among the last few values, so that loops follow each other. */
static void draw(program *p, int64_t n, ad_dtype dtype, int most) {
  p->n = n, p->dtype = dtype, p->row = 1 + (n%2 == 0 && pick(3) == 0);
  for (int k = INPUTS; k < VALUES; k++) {
    const int from = k < 4 ? 0 : k - 4;
    const word kind = k%2 ? (word)pick(SCALE + 1) : (word)(BEFORE + pick(KINDS - BEFORE));
    /* a quotient by an input, so that no sign of a zero is looked at */
    p->of[k] = (operation){ kind, from + pick(k - from), kind == DIV ? pick(INPUTS) : from + pick(k - from),
                            1 + pick(most), 0.25*(1 + pick(8)) };
  }
}

/* --- as adit has it ------------------------------------------------------------------------------------- */

static ad_type rows_of(const program *p, int64_t n) {
  return ad_type_make(p->dtype, p->row > 1 ? 2 : 1, (const int64_t[]){ n, p->row });
}

static ad_var shift(const program *p, ad_var x, const operation *o) {
  const ad_type type = ad_type_of(x);
  const int64_t n = type.dim[0], by = o->by;
  const bool before = o->kind == BEFORE || o->kind == ADDED_BEFORE;
  const ad_var part = ad_slice(x, 0, before ? 0 : by, n - by, 1);
  const ad_var around = ad_full(x.tape, rows_of(p, by), o->number);
  if (o->kind >= ADDED_BEFORE) return ad_slice_add(ad_zeros(x.tape, type), part, 0, before ? by : 0, 1);
  return ad_concat(2, (const ad_var[]){ before ? around : part, before ? part : around }, 0);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const program *p = context;
  ad_var v[VALUES];
  (void)t;
  for (int k = 0; k < VALUES; k++) {
    const operation *o = &p->of[k];
    if (k < INPUTS) v[k] = in[k];
    else if (o->kind >= BEFORE) v[k] = shift(p, v[o->x], o);
    else switch (o->kind) {
      case ADD: v[k] = ad_add(v[o->x], v[o->y]); break;
      case SUB: v[k] = ad_sub(v[o->x], v[o->y]); break;
      case MUL: v[k] = ad_mul(v[o->x], v[o->y]); break;
      case DIV: v[k] = ad_div(v[o->x], v[o->y]); break;
      case NEG: v[k] = ad_neg(v[o->x]); break;
      default: v[k] = ad_mul(v[o->x], o->number); break;
    }
  }
  out[0] = v[VALUES - 1];
  out[1] = v[VALUES - 2];
  if (p->gradient) ad_grad(ad_sum(ad_mul(out[0], out[1]), AD_ALL_AXES, false), INPUTS, in, out + OUTPUTS);
}

/* --- as C has it: + 0 is what an addition into zeros does to -0 ----------------------------------------- */

#define ORACLE(type) \
  static void run_##type(const program *p, type v[VALUES][MOST]) { \
    for (int k = INPUTS; k < VALUES; k++) \
      for (int64_t i = 0; i < p->n; i++) { \
        const operation *o = &p->of[k]; \
        const type x = v[o->x][i], y = v[o->y][i], a = (type)o->number; \
        const bool before = o->kind == BEFORE || o->kind == ADDED_BEFORE; \
        const int64_t by = o->by*p->row, j = before ? i - by : i + by; \
        const bool inside = j >= 0 && j < p->n; \
        v[k][i] = o->kind == ADD ? x + y : o->kind == SUB ? x - y : o->kind == MUL ? x*y \
                : o->kind == DIV ? x/y : o->kind == NEG ? -x : o->kind == SCALE ? x*a \
                : o->kind >= ADDED_BEFORE ? (inside ? v[o->x][j] + (type)0 : 0) : inside ? v[o->x][j] : a; \
      } \
  }
ORACLE(double)
ORACLE(float)

static double values_of_double[VALUES][MOST];
static float values_of_float[VALUES][MOST];

/* --- comparing ------------------------------------------------------------------------------------------ */

/* The last `bytes` of readable pages; they stay until the program ends. */
static void *edge(size_t bytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes + page - 1)/page*page;
  char *at = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED || mprotect(at + size, page, PROT_NONE)) abort();
  return at + size - bytes;
}

static double get(ad_dtype dtype, const void *from, int64_t i) {
  return dtype == AD_F32 ? (double)((const float *)from)[i] : ((const double *)from)[i];
}

/* The same numbers; nans are equal. signs: zeros are told apart by theirs. */
static bool same(ad_dtype dtype, const void *a, const void *b, int64_t n, bool signs) {
  for (int64_t i = 0; i < n; i++) {
    const double x = get(dtype, a, i), y = get(dtype, b, i);
    if (!(isnan(x) && isnan(y)) && (x != y || (signs && !signbit(x) != !signbit(y)))) return false;
  }
  return true;
}

/* Numbers about 1, now and then special ones. */
static void fill(const program *p, void *in[INPUTS], bool special) {
  static const double odd[] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1e-310 };
  for (int k = 0; k < INPUTS; k++)
    for (int64_t i = 0; i < p->n; i++) {
      const double x = special && pick(9) == 0 ? odd[pick(6)] : (pick(2) ? 1 : -1)*(0.5 + pick(1000)/1000.0);
      if (p->dtype == AD_F32) ((float *)in[k])[i] = values_of_float[k][i] = (float)x;
      else ((double *)in[k])[i] = values_of_double[k][i] = x;
    }
}

static const void *oracle(const program *p, int value) {
  return p->dtype == AD_F32 ? (const void *)values_of_float[value] : (const void *)values_of_double[value];
}

static void check_program(program *p, const char *cache) {
  const size_t bytes = (size_t)p->n*(p->dtype == AD_F32 ? 4 : 8);
  const ad_type x = rows_of(p, p->n/p->row), types[INPUTS] = { x, x, x };
  const int outputs = OUTPUTS + (p->gradient ? INPUTS : 0);
  void *in[INPUTS], *out[2][OUTPUTS + INPUTS];
  for (int k = 0; k < INPUTS; k++) in[k] = edge(bytes);
  for (int j = 0; j < 2*(OUTPUTS + INPUTS); j++) out[j%2][j/2] = edge(bytes);
  ad_function *f = ad_function_trace("shifts", body, p, INPUTS, types, outputs);
  ad_function *compiled = ad_function_trace("shifts", body, p, INPUTS, types, outputs);
  CHECK_STATUS(ad_function_compile(compiled, &(ad_native){ .cache = cache }, NULL), AD_OK);
  for (int round = 0; round < 3; round++) {
    fill(p, in, round > 0);
    if (p->dtype == AD_F32) run_float(p, values_of_float);
    else run_double(p, values_of_double);
    CHECK_STATUS(ad_function_call(f, (const void *const *)in, out[0], NULL), AD_OK);
    CHECK_STATUS(ad_function_call(compiled, (const void *const *)in, out[1], NULL), AD_OK);
    for (int j = 0; j < OUTPUTS && round == 0; j++)
      CHECK_THAT(same(p->dtype, out[1][j], oracle(p, VALUES - 1 - j), p->n, false),
                 "output %d, n = %lld, f%d", j, (long long)p->n, p->dtype == AD_F32 ? 32 : 64);
    for (int j = 0; j < outputs; j++)
      CHECK_THAT(same(p->dtype, out[0][j], out[1][j], p->n, true),
                 "output %d, n = %lld, f%d: not as interpreted", j, (long long)p->n,
                 p->dtype == AD_F32 ? 32 : 64);
  }
  ad_function_free(f);
  ad_function_free(compiled);
}

/* --- what is seldom drawn ------------------------------------------------------------------------------- */

static void set(program *p, int k, word kind, int x, int y, int64_t by) {
  p->of[k] = (operation){ kind, x, y, by, 0.5 };
}

/* Each value is the one before, shifted by `by` elements, and that plus an input, in turns; the first is
 * input 0 shifted by `first`. */
static program chain(int64_t n, ad_dtype dtype, word shift, int64_t first, int64_t by) {
  program p = { .n = n, .row = 1, .dtype = dtype };
  for (int k = INPUTS; k < VALUES; k++)
    if ((k - INPUTS)%2) set(&p, k, ADD, k - 1, k/2%INPUTS, 1);
    else set(&p, k, shift, k == INPUTS ? 0 : k - 1, 0, k == INPUTS ? first : by);
  return p;
}

/* Rows with one element, and a few, behind their whole vectors: shifts by more than these, and windows behind
 * whose end lie more. */
static void check_ends(const char *cache) {
  static const word shifts[] = { BEFORE, BEHIND, ADDED_BEFORE, ADDED_BEHIND };
  for (int k = 0; k < 16; k++) {
    const ad_dtype dtype = k & 4 ? AD_F32 : AD_F64;
    const int lanes = dtype == AD_F32 ? 16 : 8, rest = k & 8 ? 3 : 1;
    program window = chain(3*lanes + rest, dtype, shifts[k%4], lanes - 1, 1);
    program more = chain(3*lanes + rest, dtype, shifts[k%4], 1, rest + 1);
    check_program(&window, cache);
    check_program(&more, cache);
  }
}

/* A quotient by what is put into zeros: 0 + -0 is 0. */
static void check_zeros(const char *cache) {
  for (int k = 0; k < 4; k++) {
    program p = { .n = 48, .row = 1, .dtype = k & 2 ? AD_F32 : AD_F64 };
    for (int i = INPUTS; i < VALUES; i += 3) {
      set(&p, i, MUL, i == INPUTS ? 1 : i - 1, (i/3 + 1)%INPUTS, 1);
      set(&p, i + 1, k & 1 ? ADDED_BEFORE : ADDED_BEHIND, i, 0, 1);
      set(&p, i + 2, DIV, (i/3 + 2)%INPUTS, i + 1, 1);
    }
    check_program(&p, cache);
  }
}

/* The memory of x, which the first loop reads, is free when that of the last product is chosen, one element
 * in front of which is put there. */
static void memory_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  static const int64_t row[2] = { 1, 8 };
  const ad_var longer = ad_cumsum(in[0], 0), x = ad_cumsum(in[1], 0), other = ad_cumsum(in[2], 0);
  const ad_var one = ad_full(t, AD_F64(1, 1), 0.25), two = ad_full(t, AD_F64(1, 1), 7);
  (void)context;
  out[0] = ad_add(ad_sum(longer, AD_ALL_AXES, false), ad_sum(other, AD_ALL_AXES, false));
  const ad_var y = ad_mul(x, ad_reshape(in[1], 2, row));
  const ad_var z = ad_mul(ad_concat(2, (const ad_var[]){ ad_slice(y, 1, 1, 7, 1), one }, 1), in[2]);
  const ad_var behind = ad_concat(2, (const ad_var[]){ two, ad_slice(z, 1, 0, 7, 1) }, 1);
  out[1] = ad_add(ad_mul(behind, 3), z);
  out[2] = ad_matmul(behind, ad_reshape(out[1], 2, (const int64_t[]){ 8, 1 }));
}

static void check_memory_apart(const char *cache) {
  const ad_type types[3] = { AD_F64(16), AD_F64(8), AD_F64(8) };
  double x[3][16], z[3][2][8] = { { { 0 } } };
  for (int k = 0; k < 48; k++) x[k/16][k%16] = 1 + k*k%13;
  ad_function *f = ad_function_trace("memory", memory_body, NULL, 3, types, 3);
  for (int k = 0; k < 2; k++) {
    if (k) CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(f, (const void *[]){ x[0], x[1], x[2] },
                                  (void *[]){ z[0][k], z[1][k], z[2][k] }, NULL), AD_OK);
  }
  for (int j = 0; j < 3; j++) CHECK(!memcmp(z[j][0], z[j][1], sizeof z[j][0]));
  ad_function_free(f);
}

/* Zeros into which squares are put, in place of which nothing is made where nobody looks at them: here they
 * are an output, or read by somebody else. */
static void looked_at_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type = ad_type_of(in[0]);
  const ad_var zeros = ad_zeros(t, type), part = ad_slice(ad_square(in[0]), 0, 0, type.dim[0] - 1, 1);
  out[0] = *(const bool *)context ? zeros : ad_slice_add(zeros, ad_slice(in[0], 0, 0, 1, 1), 0, 5, 1);
  out[1] = ad_cumsum(ad_slice_add(zeros, part, 0, 1, 1), 0);
}

static void check_looked_at(bool output, const char *cache) {
  enum { LENGTH = 20 };
  const ad_type type = AD_F64(LENGTH);
  double x[LENGTH], z[2][LENGTH], sum = 0;
  ad_function *f = ad_function_trace("looked_at", looked_at_body, &output, 1, &type, 2);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = cache }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) x[i] = 1 + i%5, z[0][i] = z[1][i] = 77;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z[0], z[1] }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) {
    sum += i ? x[i - 1]*x[i - 1] : 0;
    CHECK(z[0][i] == (!output && i == 5 ? x[0] : 0) && z[1][i] == sum);
  }
  ad_function_free(f);
}

/* Any allocation may fail: then compiling does, and says so, and nothing is lost. */
static void check_memory(const char *cache) {
  program p = { .gradient = true };
  bool done = false;
  draw(&p, 39, AD_F64, 2);
  const ad_type x = rows_of(&p, p.n/p.row), types[INPUTS] = { x, x, x };
  for (long fails = 1; !done && fails < 20000; fails += 1 + fails/16) {
    heap h = { .fail_at = 0 };
    const ad_allocator allocator = heap_allocator(&h);
    ad_function *f = ad_function_trace_with(&allocator, "shifts", body, &p, INPUTS, types, OUTPUTS + INPUTS,
                                            NULL);
    if (!CHECK(f != NULL)) return;
    heap_fail(&h, fails, false);
    const ad_status status = ad_function_compile(f, &(ad_native){ .cache = cache }, NULL);
    CHECK(status == AD_OK || status == AD_ERROR_MEMORY);
    done = heap_has_served(&h);
    CHECK(!done || status == AD_OK);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
  }
  CHECK(done);
}

/* Sources in the cache that have the word. */
static int count_sources(const char *cache, const char *text_of) {
  static char text[1 << 20], path[FOLDER_PATH + 300];
  int count = 0;
  DIR *folder = opendir(cache);
  for (const struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
    if (!strstr(e->d_name, ".c")) continue;
    snprintf(path, sizeof path, "%s/%s", cache, e->d_name);
    FILE *file = fopen(path, "r");
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = 0;
    if (file) fclose(file);
    count += strstr(text, text_of) != NULL;
  }
  if (folder) closedir(folder);
  return count;
}

int main(void) {
  static const int64_t lengths[] = { 10, 12, 13, 16, 17, 24, 31, 32, 33, 39, 64, 71, 100, 128, 203, 256 };
  const char *const cache = folder_make();
  if (!CHECK(cache != NULL)) return 1;
  for (ad_dtype dtype = AD_F32; dtype <= AD_F64; dtype++)
    for (int k = 0; k < 2*PROGRAMS; k++) {
      program p = { .gradient = k%4 == 1 };
      draw(&p, lengths[k/2], dtype, k%2 ? 1 : 3);
      check_program(&p, cache);
    }
  CHECK(count_sources(cache, "__builtin_shuffle(") > PROGRAMS);
  check_ends(cache);
  check_zeros(cache);
  check_memory_apart(cache);
  for (int output = 0; output < 2; output++) check_looked_at(output, cache);
  check_memory(cache);
  folder_remove(cache);
  return check_summary();
}
