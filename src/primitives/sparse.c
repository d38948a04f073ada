/* sparse.c -- products with a sparse matrix by rows (CSR): row i of the matrix has the entries start[i] <= e
 * < start[i+1], entry e the number v[e] in column column[e]; start begins with 0 and ends with the number of
 * entries. With row(e) the row of an entry:
 *   product       z[i,..] = sum of v[e] x[column[e],..] over the entries of row i
 *   transposed    z[j,..] = sum of v[e] x[row(e),..] over the entries in column j
 *   sampled       z[e]    = sum over .. of x[row(e),..] y[column[e],..]
 *
 * All three are linear in each of their floats, and each is the adjoint of the others: the pattern stays
 * what it is under derivatives of any order, in both modes. Rows of x are read whole, so what an entry costs
 * is a multiple of a row of x, such as the tangents of many directions. A product may read some columns of x
 * alone, where they are: a window. */
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "base/parallel.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/sparse.h"
#include "primitives/sparse_rows.h"

#include <stdio.h>
#include <string.h>

static const ad_primitive product_primitive, transposed_primitive, sampled_primitive;

/* FIRST, SECOND: v and x, or x and y */
enum { START = SPARSE_START, COLUMN, FIRST, SECOND, OPERANDS = SPARSE_OPERANDS };
enum { PATTERN = 1u << START | 1u << COLUMN, FLOATS = 1u << FIRST | 1u << SECOND };

static int64_t rows_of(const ad_operation *op) { return op->x[START]->dim[0] - 1; }
static int64_t entries_of(const ad_operation *op) { return op->x[COLUMN]->dim[0]; }
/* Of a product: the columns of x (n, m) that it reads; its attribute, if it does not read all of x. */
typedef struct window { int64_t first, count; } window;

static const window *window_of(const ad_operation *op) {
  return op->primitive == &product_primitive && op->attribute_size ? op->attribute : NULL;
}

/* Elements of a row of x; of those, what is read. */
static int64_t row_of(const ad_operation *op) {
  const ad_type *x = op->x[SECOND];
  return axes_product(x, 1, x->rank);
}
static int64_t width_of(const ad_operation *op) {
  const window *w = window_of(op);
  return w ? w->count : row_of(op);
}
/* Where in a row that begins. */
static int64_t first_of(const ad_operation *op) {
  const window *w = window_of(op);
  return w ? w->first : 0;
}
/* Columns of the matrix: what column numbers are less than. */
static int64_t columns_of(const ad_operation *op) {
  return op->primitive == &transposed_primitive ? *(const int64_t *)op->attribute : op->x[SECOND]->dim[0];
}

/* --- types ---------------------------------------------------------------------------------------------- */

static bool is_pattern(const ad_operation *op) {
  const ad_type *start = op->x[START], *column = op->x[COLUMN];
  return start->dtype == AD_I64 && start->rank == 1 && start->dim[0] > 0 && column->dtype == AD_I64
         && column->rank == 1;
}

static ad_status refuse_operands(ad_operation *op) {
  char start[192], column[192], first[192], second[192];
  return ad_refuse(op, AD_ERROR_SHAPE, "operands %s, %s, %s, %s do not fit",
                   ad_type_print(*op->x[START], start, sizeof start),
                   ad_type_print(*op->x[COLUMN], column, sizeof column),
                   ad_type_print(*op->x[FIRST], first, sizeof first),
                   ad_type_print(*op->x[SECOND], second, sizeof second));
}

/* rows: those of x. */
static ad_status product_type_of(ad_operation *op, int64_t rows, int64_t results) {
  const ad_type *v = op->x[FIRST], *x = op->x[SECOND];
  if (!is_pattern(op) || v->rank != 1 || v->dim[0] != entries_of(op) || v->dtype != x->dtype
      || v->dtype < AD_F32 || x->rank < 1 || (rows >= 0 && x->dim[0] != rows) || results < 0)
    return refuse_operands(op);
  op->z = *x;
  op->z.dim[0] = results;
  return ad_type_valid(op->z) ? AD_OK : ad_refuse(op, AD_ERROR_SIZE, "the result is too big");
}

static ad_status product_type(ad_operation *op) {
  const window *w = window_of(op);
  const ad_type *x = op->x[SECOND];
  const ad_status status = product_type_of(op, -1, op->x[START]->dim[0] - 1);
  if (status != AD_OK || !w) return status;
  if (x->rank != 2 || w->first < 0 || w->count < 0 || w->count > x->dim[1] || w->first > x->dim[1] - w->count)
    return refuse_operands(op);
  op->z.dim[1] = w->count;
  return AD_OK;
}
static ad_status transposed_type(ad_operation *op) {
  return product_type_of(op, op->x[START]->dim[0] - 1, columns_of(op));
}

static ad_status sampled_type(ad_operation *op) {
  const ad_type *x = op->x[FIRST], *y = op->x[SECOND];
  ad_type row = *x;
  if (!is_pattern(op) || x->rank < 1 || y->rank < 1 || x->dim[0] != rows_of(op) || x->dtype < AD_F32)
    return refuse_operands(op);
  row.dim[0] = y->dim[0];
  if (!ad_type_equal(row, *y)) return refuse_operands(op);
  op->z = ad_type_make(x->dtype, 1, op->x[COLUMN]->dim);
  return AD_OK;
}

/* --- kernels -------------------------------------------------------------------------------------------- */

#if SPARSE_X86
#  define FOR_AVX2 __attribute__((target("avx2")))
#  define FOR_AVX512 __attribute__((target("avx512f")))
#  define HAS(set) __builtin_cpu_supports(set)
#else
#  define FOR_AVX2
#  define FOR_AVX512
#endif
#define SIMD _Pragma("omp simd")

/* Rows of a product where there are no vectors for it. */
#define ROWS(name, T)                                                                                        \
  static void name(const sparse_rows *a) {                                                                   \
    const T *v = a->v, *x = a->x;                                                                            \
    for (int64_t i = a->begin; i < a->end; i++) {                                                            \
      T *restrict z = (T *)a->z + i*a->n;                                                                    \
      for (int64_t j = 0; j < a->n; j++) z[j] = 0;                                                           \
      for (int64_t e = a->start[i]; e < a->start[i + 1]; e++) {                                              \
        const T *from = x + a->column[e]*a->pitch;                                                           \
        SIMD for (int64_t j = 0; j < a->n; j++) z[j] += v[e]*from[j];                                        \
      }                                                                                                      \
    }                                                                                                        \
  }
ROWS(rows_f64, double)
ROWS(rows_f32, float)

/* Rows of n elements; those that half a vector holds are faster in one of that size. */
static sparse_rows_kernel *rows_kernel(ad_dtype dtype, int64_t n) {
  (void)n;
#if SPARSE_X86
  const bool narrow = n*(int64_t)ad_dtype_bytes(dtype) <= 32;
  if (!narrow && HAS("avx512f") && HAS("avx512vl") && HAS("avx512dq") && HAS("avx512bw"))
    return dtype == AD_F64 ? sparse_rows_f64_avx512 : sparse_rows_f32_avx512;
  if (HAS("avx2") && HAS("fma")) return dtype == AD_F64 ? sparse_rows_f64_avx2 : sparse_rows_f32_avx2;
#endif
  return dtype == AD_F64 ? rows_f64 : rows_f32;
}

/* The entries of one row, of a matrix that meets rows of n elements. */
typedef struct row_entries { int64_t count, n; const int64_t *column; const void *v; } row_entries;

/* z[column[e]] += v[e] x for one row. */
#define SPREAD(name, T, TARGET)                                                                              \
  TARGET static void name(const row_entries *a, const void *x_array, void *z_array) {                        \
    const T *v = a->v, *restrict x = x_array;                                                                \
    for (int64_t k = 0; k < a->count; k++) {                                                                 \
      T *z = (T *)z_array + a->column[k]*a->n;                                                               \
      SIMD for (int64_t j = 0; j < a->n; j++) z[j] += v[k]*x[j];                                             \
    }                                                                                                        \
  }
/* z[e] = x . y[column[e]] for one row, in eight sums; v of the entries is y. */
#define SAMPLE(name, T, TARGET)                                                                              \
  TARGET static void name(const row_entries *a, const void *x_array, void *z_array) {                        \
    const T *x = x_array;                                                                                    \
    for (int64_t k = 0; k < a->count; k++) {                                                                 \
      const T *y = (const T *)a->v + a->column[k]*a->n;                                                      \
      T sum[8] = { 0 }, rest = 0;                                                                            \
      int64_t j = 0;                                                                                         \
      for (; j + 8 <= a->n; j += 8)                                                                          \
        SIMD for (int64_t l = 0; l < 8; l++) sum[l] += x[j + l]*y[j + l];                                    \
      for (; j < a->n; j++) rest += x[j]*y[j];                                                               \
      ((T *)z_array)[k] = ((sum[0] + sum[4]) + (sum[2] + sum[6]))                                            \
                          + ((sum[1] + sum[5]) + (sum[3] + sum[7])) + rest;                                  \
    }                                                                                                        \
  }
#define FOR_SETS(KERNEL, name, T)                                                                            \
  KERNEL(name##_plain, T, )                                                                                  \
  KERNEL(name##_avx2, T, FOR_AVX2)                                                                           \
  KERNEL(name##_avx512, T, FOR_AVX512)
FOR_SETS(SPREAD, spread_f64, double)
FOR_SETS(SPREAD, spread_f32, float)
FOR_SETS(SAMPLE, sample_f64, double)
FOR_SETS(SAMPLE, sample_f32, float)

typedef void row_kernel(const row_entries *a, const void *x, void *z);
enum { KERNEL_SPREAD, KERNEL_SAMPLE, KERNELS };

/* Rows of a few elements gain nothing from wider vectors. */
static row_kernel *kernel_for(int which, ad_dtype dtype, int64_t width) {
  static row_kernel *const kernel[KERNELS][2][3] = {
    { { spread_f32_plain, spread_f32_avx2, spread_f32_avx512 },
      { spread_f64_plain, spread_f64_avx2, spread_f64_avx512 } },
    { { sample_f32_plain, sample_f32_avx2, sample_f32_avx512 },
      { sample_f64_plain, sample_f64_avx2, sample_f64_avx512 } } };
  int set = 0;
  (void)width;
#if SPARSE_X86
  if (width >= 8) set = HAS("avx512f") ? 2 : HAS("avx2") ? 1 : 0;
#endif
  return kernel[which][dtype == AD_F64][set];
}

/* --- running -------------------------------------------------------------------------------------------- */

/* Sign bits of what must not be negative: x and limit - 1 - x; and steps, of numbers that are in range. */
#define CHECKS(suffix, TARGET)                                                                               \
  TARGET static bool in_range_##suffix(int64_t n, const int64_t *x, int64_t limit) {                         \
    uint64_t bad = 0;                                                                                        \
    _Pragma("omp simd reduction(|: bad)")                                                                    \
    for (int64_t i = 0; i < n; i++) bad |= (uint64_t)x[i] | ((uint64_t)limit - 1 - (uint64_t)x[i]);          \
    return !(bad >> 63);                                                                                     \
  }                                                                                                          \
  TARGET static bool rises_##suffix(int64_t n, const int64_t *x) {                                           \
    uint64_t bad = 0;                                                                                        \
    _Pragma("omp simd reduction(|: bad)")                                                                    \
    for (int64_t i = 1; i < n; i++) bad |= (uint64_t)x[i] - (uint64_t)x[i - 1];                              \
    return !(bad >> 63);                                                                                     \
  }
CHECKS(plain, )
#if SPARSE_X86
CHECKS(avx2, FOR_AVX2)
#endif

static bool is_good(const ad_operation *op, const int64_t *start, const int64_t *column) {
  const int64_t rows = rows_of(op), n = entries_of(op), columns = columns_of(op);
  if (start[0] != 0 || start[rows] != n) return false;
#if SPARSE_X86
  if (HAS("avx2"))
    return in_range_avx2(rows + 1, start, n + 1) && rises_avx2(rows + 1, start)
           && in_range_avx2(n, column, columns);
#endif
  return in_range_plain(rows + 1, start, n + 1) && rises_plain(rows + 1, start)
         && in_range_plain(n, column, columns);
}

static bool pattern_is_known(const ad_operation *op, const void *const x[]) {
  return x[START] && x[COLUMN] && is_good(op, x[START], x[COLUMN]);
}

/* The first row that is wrong, -1 if none is. */
static int64_t wrong_row(const ad_operation *op, const int64_t *start, const int64_t *column) {
  const int64_t rows = rows_of(op), n = entries_of(op), columns = columns_of(op);
  if (start[0] != 0 || start[rows] != n) return rows;
  for (int64_t i = 0; i < rows; i++) {
    if (start[i] < 0 || start[i + 1] < start[i] || start[i + 1] > n) return i;
    bool good = true;
    for (int64_t e = start[i]; e < start[i + 1]; e++) good &= column[e] >= 0 && column[e] < columns;
    if (!good) return i;
  }
  return -1;
}

static void explain(const ad_operation *op, const void *const x[], char *message, size_t size) {
  const int64_t i = wrong_row(op, x[START], x[COLUMN]);
  if (i == rows_of(op))
    snprintf(message, size, "the rows do not begin with 0 and end with %lld", (long long)entries_of(op));
  else if (i >= 0)
    snprintf(message, size, "row %lld is not within %lld entries, or has a column outside of %lld",
             (long long)i, (long long)entries_of(op), (long long)columns_of(op));
}

/* The others, row by row. */
typedef struct sparse_run {
  row_kernel *kernel;
  const int64_t *start, *column;
  const char *first, *second;
  char *z;
  int64_t rows, n;
  size_t bytes;                     /* of an element */
} sparse_run;

/* A product: rows in blocks. */
enum { BLOCK_ROWS = 256 };
typedef struct row_blocks { sparse_rows_kernel *kernel; sparse_rows all; } row_blocks;

static void product_rows(const void *context, int64_t block) {
  const row_blocks *b = context;
  sparse_rows a = b->all;
  a.begin = block*BLOCK_ROWS;
  a.end = b->all.end - a.begin < BLOCK_ROWS ? b->all.end : a.begin + BLOCK_ROWS;
  b->kernel(&a);
}

static void spread_row(const sparse_run *r, int64_t i) {
  const int64_t e = r->start[i];
  const row_entries a = { r->start[i + 1] - e, r->n, r->column + e, r->first + (size_t)e*r->bytes };
  r->kernel(&a, r->second + (size_t)(i*r->n)*r->bytes, r->z);
}

static void sample_row(const sparse_run *r, int64_t i) {
  const int64_t e = r->start[i];
  const row_entries a = { r->start[i + 1] - e, r->n, r->column + e, r->second };
  r->kernel(&a, r->first + (size_t)(i*r->n)*r->bytes, r->z + (size_t)e*r->bytes);
}

static ad_status open_run(sparse_run *r, int kernel, const ad_operation *op, void *z, const void *const x[]) {
  const int64_t n = width_of(op);
  *r = (sparse_run){ kernel_for(kernel, op->z.dtype, n), x[START], x[COLUMN], x[FIRST], x[SECOND], z,
                     rows_of(op), n, ad_dtype_bytes(op->z.dtype) };
  return op->sure || is_good(op, r->start, r->column) ? AD_OK : AD_ERROR_ARGUMENT;
}

enum { LINE = 64 };

bool sparse_reads_often(const ad_operation *op) {
  enum { TIMES = 16 };
  return entries_of(op)/TIMES >= columns_of(op);
}

/* Rows of x that are not whole lines of the cache are copied to where they begin with one, if that is little
 * beside the product: unaligned vectors cost twice as much. Bytes of a row there, 0: they stay where they
 * are. */
static size_t aligned_row(const ad_operation *op) {
  const size_t element = ad_dtype_bytes(op->z.dtype), bytes = (size_t)width_of(op)*element;
  const bool apart = (size_t)row_of(op)*element%LINE || (size_t)first_of(op)*element%LINE;
  return bytes > LINE && apart && sparse_reads_often(op) ? (bytes + LINE - 1)/LINE*LINE : 0;
}

static size_t product_scratch(const ad_operation *op) { return aligned_row(op)*(size_t)columns_of(op); }

static ad_status product_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const int64_t rows = rows_of(op), n = width_of(op), pitch = row_of(op);
  const size_t row = aligned_row(op), width = ad_dtype_bytes(op->z.dtype);
  const char *from = (const char *)x[SECOND] + (size_t)first_of(op)*width;
  row_blocks b = { rows_kernel(op->z.dtype, n),
                   { x[START], x[COLUMN], x[FIRST], from, z, 0, rows, n, pitch } };
  if (!op->sure && !is_good(op, x[START], x[COLUMN])) return AD_ERROR_ARGUMENT;
  for (size_t j = 0; row && j < (size_t)columns_of(op); j++)
    memcpy((char *)scratch + j*row, from + j*(size_t)pitch*width, (size_t)n*width);
  if (row) b.all.x = scratch, b.all.pitch = (int64_t)(row/width);
  if (ad_type_count(op->z) > 0)
    parallel_tasks(entries_of(op)*n, (rows + BLOCK_ROWS - 1)/BLOCK_ROWS, 1, product_rows, &b);
  return AD_OK;
}

static ad_status transposed_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  sparse_run r;
  (void)scratch;
  if (open_run(&r, KERNEL_SPREAD, op, z, x) != AD_OK) return AD_ERROR_ARGUMENT;
  if (ad_type_count(op->z) == 0) return AD_OK;
  memset(z, 0, ad_type_bytes(op->z));
  for (int64_t i = 0; i < r.rows && r.n > 0; i++) spread_row(&r, i);
  return AD_OK;
}

static ad_status sampled_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  sparse_run r;
  (void)scratch;
  if (open_run(&r, KERNEL_SAMPLE, op, z, x) != AD_OK) return AD_ERROR_ARGUMENT;
  for (int64_t i = 0; i < r.rows; i++) sample_row(&r, i);
  return AD_OK;
}

static void sparse_work(const ad_operation *op, ad_work *w) {
  w->flops = 2*(double)entries_of(op)*(double)width_of(op);
}

/* --- as C: the same loops, with the width of a row as a number ------------------------------------------ */

#define CHECKED_ROWS                                                                                         \
  "  if (start[0] != 0 || start[rows] != entries) return 1;\n"                                               \
  "  for (int64_t i = 0; i < rows; i++) {\n"                                                                 \
  "    if (start[i] < 0 || start[i + 1] < start[i] || start[i + 1] > entries) return 1;\n"                   \
  "    for (int64_t e = start[i]; e < start[i + 1]; e++)\n"                                                  \
  "      if (column[e] < 0 || column[e] >= columns) return 1;\n"                                             \
  "  }\n"

static const char product_text[] =
  "/* Rows of z (rows, WIDTH) as sums of v[e] x[column[e]], for e from start[i] to start[i + 1]; rows of x\n"
  " * begin every PITCH elements. */\n"
  "static int HELPER(sparse_product_SIZE)(int64_t rows, int64_t columns, int64_t entries,\n"
  "                                       const int64_t *start, const int64_t *column, const REAL *values,\n"
  "                                       const REAL *x, REAL *restrict z) {\n"
  CHECKED_ROWS
  "  for (int64_t i = 0; i < rows; i++, z += WIDTH) {\n"
  "    const int64_t count = start[i + 1] - start[i], *c = column + start[i];\n"
  "    const REAL *v = values + start[i];\n"
  "    for (int64_t j = 0; j < WIDTH; j++) z[j] = 0;\n"
  "    int64_t k = 0;\n"
  "    for (; k + 4 <= count; k += 4) {\n"
  "      const REAL p = v[k], q = v[k + 1], r = v[k + 2], s = v[k + 3];\n"
  "      const REAL *x0 = x + c[k]*PITCH, *x1 = x + c[k + 1]*PITCH;\n"
  "      const REAL *x2 = x + c[k + 2]*PITCH, *x3 = x + c[k + 3]*PITCH;\n"
  "      for (int64_t j = 0; j < WIDTH; j++) z[j] = (((z[j] + p*x0[j]) + q*x1[j]) + r*x2[j]) + s*x3[j];\n"
  "    }\n"
  "    for (; k < count; k++) {\n"
  "      const REAL p = v[k], *from = x + c[k]*PITCH;\n"
  "      for (int64_t j = 0; j < WIDTH; j++) z[j] += p*from[j];\n"
  "    }\n"
  "  }\n"
  "  return 0;\n"
  "}\n";

static const char transposed_text[] =
  "/* z (columns, WIDTH) = 0, z[column[e]] += v[e] x[i], for e from start[i] to start[i + 1]. */\n"
  "static int HELPER(sparse_transposed_SIZE)(int64_t rows, int64_t columns, int64_t entries,\n"
  "                                          const int64_t *start, const int64_t *column, const REAL *v,\n"
  "                                          const REAL *restrict x, REAL *restrict z) {\n"
  CHECKED_ROWS
  "  for (int64_t j = 0; j < columns*WIDTH; j++) z[j] = 0;\n"
  "  for (int64_t i = 0; i < rows; i++, x += WIDTH)\n"
  "    for (int64_t e = start[i]; e < start[i + 1]; e++)\n"
  "      for (int64_t j = 0; j < WIDTH; j++) z[column[e]*WIDTH + j] += v[e]*x[j];\n"
  "  return 0;\n"
  "}\n";

static const char sampled_text[] =
  "/* z[e] = x[i] . y[column[e]], rows of WIDTH, for e from start[i] to start[i + 1]. */\n"
  "static int HELPER(sparse_sampled_SIZE)(int64_t rows, int64_t columns, int64_t entries,\n"
  "                                       const int64_t *start, const int64_t *column, const REAL *x,\n"
  "                                       const REAL *y, REAL *z) {\n"
  CHECKED_ROWS
  "  for (int64_t i = 0; i < rows; i++, x += WIDTH)\n"
  "    for (int64_t e = start[i]; e < start[i + 1]; e++) {\n"
  "      const REAL *row = y + column[e]*WIDTH;\n"
  "      REAL sum[8] = { 0 }, rest = 0;\n"
  "      int64_t j = 0;\n"
  "      for (; j + 8 <= WIDTH; j += 8)\n"
  "        for (int l = 0; l < 8; l++) sum[l] += x[j + l]*row[j + l];\n"
  "      for (; j < WIDTH; j++) rest += x[j]*row[j];\n"
  "      z[e] = ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])) + rest;\n"
  "    }\n"
  "  return 0;\n"
  "}\n";

/* text with numbers in place of each WIDTH and PITCH, and size in place of SIZE. */
static void put_sizes(const char *text, const ad_operation *op, const char *size, char *to, size_t room) {
  char width[24], pitch[24];
  snprintf(width, sizeof width, "%lld", (long long)width_of(op));
  snprintf(pitch, sizeof pitch, "%lld", (long long)row_of(op));
  const char *const word[3] = { "WIDTH", "PITCH", "SIZE" }, *const put[3] = { width, pitch, size };
  size_t used = 0;
  while (*text && used + 1 < room) {
    int k = 0;
    while (k < 3 && strncmp(text, word[k], strlen(word[k]))) k++;
    const int n = k < 3 ? (int)strlen(put[k]) : 1;
    used += (size_t)snprintf(to + used, room - used, "%.*s", n, k < 3 ? put[k] : text);
    text += k < 3 ? strlen(word[k]) : 1;
  }
}

static ad_status write_sparse(ad_writer *w, const ad_operation *op, const char *name, const char *text,
                              const char *z, const char *const x[]) {
  enum { MORE = 40*20 };            /* digits */
  char routine[sizeof product_text + MORE], size[64], called[96], second[96];
  if (ad_type_count(op->z) == 0) return AD_OK;
  const long long width = width_of(op), pitch = row_of(op);
  if (window_of(op)) snprintf(size, sizeof size, "%lld_of_%lld", width, pitch);
  else snprintf(size, sizeof size, "%lld", width);
  snprintf(called, sizeof called, "%s_%s", name, size);
  put_sizes(text, op, size, routine, sizeof routine);
  snprintf(second, sizeof second, first_of(op) ? "%s + %lld" : "%s", x[SECOND], (long long)first_of(op));
  ad_write(w, "if (%s(%lld, %lld, %lld, %s, %s, %s, %s, %s)) {",
           ad_write_routine(w, op->z.dtype, called, routine), (long long)rows_of(op),
           (long long)columns_of(op), (long long)entries_of(op), x[START], x[COLUMN], x[FIRST], second, z);
  ad_write_failure(w, AD_ERROR_ARGUMENT);
  ad_write(w, "}");
  return AD_OK;
}

static ad_status product_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_sparse(w, op, "sparse_product", product_text, z, x);
}
static ad_status transposed_write(ad_writer *w, const ad_operation *op, const char *z,
                                  const char *const x[]) {
  return write_sparse(w, op, "sparse_transposed", transposed_text, z, x);
}
static ad_status sampled_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_sparse(w, op, "sparse_sampled", sampled_text, z, x);
}

/* --- rules ---------------------------------------------------------------------------------------------- */

static ad_var record(const ad_primitive *p, const ad_var pattern[], ad_var first, ad_var second,
                     int64_t columns) {
  const ad_var x[OPERANDS] = { pattern[START], pattern[COLUMN], first, second };
  const bool sized = p == &transposed_primitive;
  return ad_record(ad_tape_of(OPERANDS, x), p, OPERANDS, x, sized ? &columns : NULL,
                   sized ? sizeof columns : 0);
}

/* What the operation reads of its array, or of instances or a mask of that. */
static ad_var seen(const ad_operation *op, ad_var x) {
  const window *w = window_of(op);
  return w ? ad_slice(x, 1, w->first, w->count, 1) : x;
}

static ad_var product_vjp(ad_rule *r, int k) {
  const window *w = window_of(r->op);
  if (k == FIRST) return record(&sampled_primitive, r->x, r->g, seen(r->op, r->x[SECOND]), 0);
  const ad_var back = record(&transposed_primitive, r->x, r->x[FIRST], r->g, columns_of(r->op));
  return w ? ad_slice_add(ad_zeros(r->tape, *r->op->x[SECOND]), back, 1, w->first, 1) : back;
}
static ad_var transposed_vjp(ad_rule *r, int k) {
  if (k == FIRST) return record(&sampled_primitive, r->x, r->x[SECOND], r->g, 0);
  return record(&product_primitive, r->x, r->x[FIRST], r->g, 0);
}
static ad_var sampled_vjp(ad_rule *r, int k) {
  if (k == FIRST) return record(&product_primitive, r->x, r->g, r->x[SECOND], 0);
  return record(&transposed_primitive, r->x, r->g, r->x[FIRST], columns_of(r->op));
}

/* An element of a product is connected where an entry of its row meets one that is: the product of ones and
 * the mask. Entries that are connected reach whole rows, the product of their mask and a column of ones. */
static ad_var reach(ad_rule *r, int k) {
  const ad_operation *op = r->op;
  const ad_dtype dtype = op->z.dtype;
  ad_type t = *op->x[k == FIRST ? SECOND : FIRST];
  if (k == FIRST)
    for (int d = 1; d < t.rank; d++) t.dim[d] = 1;
  const ad_var g = ad_cast(k == FIRST ? r->g : seen(op, r->g), dtype), ones = ad_ones(r->tape, t);
  const ad_var z = record(op->primitive, r->x, k == FIRST ? g : ones, k == FIRST ? ones : g, columns_of(op));
  return ad_greater(z, 0);
}

/* Instances of x alone are further elements of its rows. */
static ad_var sparse_trail(const ad_batch *b) {
  const bool alone = b->batched[SECOND] && !b->batched[START] && !b->batched[COLUMN] && !b->batched[FIRST];
  if (!alone || b->op->primitive == &sampled_primitive) return ad_none();
  return record(b->op->primitive, b->x, b->x[FIRST], seen(b->op, b->x[SECOND]), columns_of(b->op));
}

/* As one matrix with those of the instances along its diagonal. */
static ad_var sparse_diagonal(const ad_batch *b) {
  const ad_operation *op = b->op;
  const int64_t n = b->n, rows = rows_of(op), entries = entries_of(op), columns = columns_of(op);
  const int64_t all = n*entries;
  ad_var x[OPERANDS], number = ad_expand(ad_arange(b->tape, 0, (double)n, 1, AD_I64), 1);
  x[START] = ad_add(ad_slice(batch_lift(b, START), 1, 0, rows, 1), ad_mul(number, ad_integer(entries)));
  x[COLUMN] = ad_add(batch_lift(b, COLUMN), ad_mul(number, ad_integer(columns)));
  const ad_var starts[2] = { ad_reshape(x[START], 1, (const int64_t[]){ n*rows }),
                             ad_constant(b->tape, AD_I64(1), &all) };
  x[START] = ad_concat(2, starts, 0);
  x[COLUMN] = ad_reshape(x[COLUMN], 1, &all);
  for (int k = FIRST; k < OPERANDS; k++) {
    ad_type t = *op->x[k];
    t.dim[0] *= n;
    x[k] = ad_reshape(batch_spread(b, k), t.rank, t.dim);
  }
  x[SECOND] = seen(op, x[SECOND]);
  return batch_result(b, record(op->primitive, x, x[FIRST], x[SECOND], n*columns));
}

/* The axis of instances of x, exchanged with the one before or behind it, all along. */
static ad_var moved(ad_var x, bool to_end) {
  const int rank = ad_type_of(x).rank;
  int perm[AD_MAX_RANK] = { 0 };
  for (int d = 0; d < rank; d++) perm[d] = (d + (to_end ? 1 : rank - 1))%rank;
  return ad_transpose(x, perm);
}

static ad_var sparse_batch(const ad_batch *b) {
  const bool alone = b->batched[SECOND] && !b->batched[START] && !b->batched[COLUMN] && !b->batched[FIRST];
  if (!alone || b->op->primitive == &sampled_primitive) return sparse_diagonal(b);
  const ad_var x = seen(b->op, moved(b->x[SECOND], true));
  const ad_var z = record(b->op->primitive, b->x, b->x[FIRST], x, columns_of(b->op));
  return moved(z, false);
}

#define SPARSE                                                                                               \
  .linear_in = FLOATS, .not_connected = PATTERN, .sure = pattern_is_known, .explain = explain,               \
  .work = sparse_work

static const ad_primitive product_primitive = {
  .name = "sparse_matmul", .doc = "product of a sparse matrix by rows and an array", SPARSE,
  .type = product_type, .run = product_run, .scratch_bytes = product_scratch, .vjp = product_vjp,
  .reach = reach, .batch = sparse_batch, .trail = sparse_trail, .write = product_write };
static const ad_primitive transposed_primitive = {
  .name = "sparse_transposed", .doc = "product of the transpose of a sparse matrix by rows and an array",
  SPARSE, .type = transposed_type, .run = transposed_run, .vjp = transposed_vjp, .reach = reach,
  .batch = sparse_batch, .trail = sparse_trail,
  .write = transposed_write };
static const ad_primitive sampled_primitive = {
  .name = "sparse_sampled", .doc = "products of rows at the entries of a sparse matrix", SPARSE,
  .type = sampled_type, .run = sampled_run, .vjp = sampled_vjp, .batch = sparse_batch,
  .write = sampled_write };

/* --- recording ------------------------------------------------------------------------------------------ */

static ad_var record_public(const ad_primitive *p, ad_var start, ad_var column, ad_var value, ad_var x,
                            int64_t columns) {
  const ad_var floats[2] = { value, x }, pattern[2] = { start, column };
  ad_tape *tape = ad_tape_of(2, floats);
  const ad_dtype common = operands_dtype(2, floats), dtype = common < AD_F32 ? AD_F64 : common;
  value = operand_with_dtype(tape, value, dtype);
  return record(p, pattern, value, operand_with_dtype(tape, x, dtype), columns);
}

ad_var ad_sparse_matmul(ad_var start, ad_var column, ad_var value, ad_var x) {
  return record_public(&product_primitive, start, column, value, x, 0);
}

ad_var ad_sparse_matmul_transposed(ad_var start, ad_var column, ad_var value, ad_var x, int64_t columns) {
  return record_public(&transposed_primitive, start, column, value, x, columns);
}

/* --- passes --------------------------------------------------------------------------------------------- */

bool sparse_is_product(const ad_operation *op, int64_t *first, int64_t *count, bool *all) {
  if (op->primitive != &product_primitive) return false;
  *first = first_of(op), *count = width_of(op), *all = !window_of(op);
  return true;
}

ad_var sparse_product_of_columns(const ad_var x[SPARSE_OPERANDS], int64_t first, int64_t count) {
  const window w = { first, count };
  return ad_record(ad_tape_of(OPERANDS, x), &product_primitive, OPERANDS, x, &w, sizeof w);
}
