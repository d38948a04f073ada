/* product_text.c -- products of matrices as C: loops over a batch, and routines that read along rows.
 *
 * Where y lies by rows, rows of z are sums of rows of y, four at a time, so that z is read and stored once
 * for four; where it is transposed, elements of z are sums of products along the rows of both.
 */
#include "primitives/written.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* --- loops over a batch --------------------------------------------------------------------------------- */

static void put_offset(const written_loops *l, int array, char *to) {
  size_t used = 0;
  to[0] = 0;
  for (int i = l->axes - 1; i >= 0; i--) {
    const int64_t step = l->axis[i].step[array];
    if (step == 0 || l->axis[i].size == 1) continue;
    used += (size_t)snprintf(to + used, WRITTEN_OFFSET - used, "%si%d*%" PRId64, used ? " + " : "",
                             l->axes - 1 - i, step);
    if (used >= WRITTEN_OFFSET) used = WRITTEN_OFFSET - 1;
  }
  if (!used) snprintf(to, WRITTEN_OFFSET, "0");
}

void written_loops_open(written_loops *l) {
  for (int i = l->axes - 1; i >= 0; i--) {
    const int k = l->axes - 1 - i;
    if (l->axis[i].size != 1)
      ad_write(l->w, "for (int64_t i%d = 0; i%d < %" PRId64 "; i%d++) {", k, k, l->axis[i].size, k);
  }
  for (int k = 0; k < l->arrays; k++) put_offset(l, k, l->offset[k]);
}

void written_loops_close(const written_loops *l) {
  for (int i = 0; i < l->axes; i++)
    if (l->axis[i].size != 1) ad_write(l->w, "}");
}

void write_elements(ad_writer *w, const char *z, const char *x, int64_t n) {
  if (n == 0 || (x && !strcmp(x, z))) return;
  ad_write(w, "for (int64_t i = 0; i < %" PRId64 "; i++) {", n);
  if (x) ad_write(w, "(%s)[i] = (%s)[i];", z, x);
  else ad_write(w, "(%s)[i] = 0;", z);
  ad_write(w, "}");
}

/* --- routines ------------------------------------------------------------------------------------------- */

/* The error is at most about (BLOCK/8 + n/BLOCK) eps |x|.|y| with blocks of 256 and eight sums in each:
 * Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2. */
static const char dot_text[] =
  "/* The sum of x[i] y[i], in blocks of eight sums each. */\n"
  "static REAL HELPER(sum_of_products)(int64_t n, const REAL *x, const REAL *y) {\n"
  "  REAL total = 0;\n"
  "  int64_t i = 0;\n"
  "  while (i + 8 <= n) {\n"
  "    const int64_t end = n - i < 256 ? i + (n - i)/8*8 : i + 256;\n"
  "    REAL sum[8] = { 0 };\n"
  "    for (; i < end; i += 8)\n"
  "      for (int j = 0; j < 8; j++) sum[j] += x[i + j]*y[i + j];\n"
  "    total += ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));\n"
  "  }\n"
  "  for (; i < n; i++) total += x[i]*y[i];\n"
  "  return total;\n"
  "}\n";

const char *written_dot(ad_writer *w, ad_dtype dtype) {
  return ad_write_routine(w, dtype, "sum_of_products", dot_text);
}

static const char rows_text[] =
  "/* z (m, n) = x y, or z += x y; y (k, n), x[i, p] = x[i*xi + p*xp]. */\n"
  "static void HELPER(product_of_rows)(int add, int64_t m, int64_t n, int64_t k, const REAL *x, int64_t xi,\n"
  "                                    int64_t xp, const REAL *y, REAL *z) {\n"
  "  for (int64_t i = 0; i < m; i++, x += xi, z += n) {\n"
  "    int64_t p = 0;\n"
  "    if (!add && k > 0)\n"
  "      for (int64_t j = 0; j < n; j++) z[j] = x[0]*y[j];\n"
  "    if (!add) p = 1;\n"
  "    for (; p + 4 <= k; p += 4) {\n"
  "      const REAL a = x[p*xp], b = x[(p + 1)*xp], c = x[(p + 2)*xp], d = x[(p + 3)*xp];\n"
  "      const REAL *y0 = y + p*n, *y1 = y0 + n, *y2 = y1 + n, *y3 = y2 + n;\n"
  "      for (int64_t j = 0; j < n; j++) z[j] += (a*y0[j] + b*y1[j]) + (c*y2[j] + d*y3[j]);\n"
  "    }\n"
  "    for (; p < k; p++) {\n"
  "      const REAL a = x[p*xp], *row = y + p*n;\n"
  "      for (int64_t j = 0; j < n; j++) z[j] += a*row[j];\n"
  "    }\n"
  "  }\n"
  "}\n";

static const char dots_text[] =
  "/* z (m, n) = x y, or z += x y; x (m, k), y is stored (n, k). */\n"
  "static void HELPER(product_of_dots)(int add, int64_t m, int64_t n, int64_t k, const REAL *x,\n"
  "                                    const REAL *y, REAL *z) {\n"
  "  for (int64_t i = 0; i < m; i++, x += k, z += n)\n"
  "    for (int64_t j = 0; j < n; j++) {\n"
  "      const REAL sum = HELPER(sum_of_products)(k, x, y + j*k);\n"
  "      z[j] = add ? z[j] + sum : sum;\n"
  "    }\n"
  "}\n";

/* A column of x at a time is made a row of its own. */
static const char turned_text[] =
  "/* z (m, n) = x y, or z += x y; x is stored (k, m), y (n, k); row has k elements. */\n"
  "static void HELPER(product_of_transposes)(int add, int64_t m, int64_t n, int64_t k, const REAL *x,\n"
  "                                          const REAL *y, REAL *z, REAL *row) {\n"
  "  for (int64_t i = 0; i < m; i++, z += n) {\n"
  "    for (int64_t p = 0; p < k; p++) row[p] = x[p*m + i];\n"
  "    HELPER(product_of_dots)(add, 1, n, k, row, y, z);\n"
  "  }\n"
  "}\n";

/* Overflow wraps. */
static const char integer_text[] =
  "/* z (m, n) = x y, or z += x y; x[i, p] = x[i*xi + p*xp], y[p, j] = y[p*yp + j*yj]. */\n"
  "static void HELPER(product_of_matrices)(int add, int64_t m, int64_t n, int64_t k, const REAL *x,\n"
  "                                        int64_t xi, int64_t xp, const REAL *y, int64_t yp, int64_t yj,\n"
  "                                        REAL *z) {\n"
  "  for (int64_t i = 0; i < m; i++, x += xi, z += n) {\n"
  "    for (int64_t j = 0; j < n && !add; j++) z[j] = 0;\n"
  "    for (int64_t p = 0; p < k; p++)\n"
  "      for (int64_t j = 0; j < n; j++)\n"
  "        z[j] = (REAL)((UNSIGNED)z[j] + (UNSIGNED)x[p*xp]*(UNSIGNED)y[p*yp + j*yj]);\n"
  "  }\n"
  "}\n";

/* Both, whichever the scalar type is in the end. Enumerations are passed as int. */
static const char cblas_text[] =
  "void cblas_dgemm(int order, int transposed_a, int transposed_b, int m, int n, int k, double alpha,\n"
  "                 const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);\n"
  "void cblas_sgemm(int order, int transposed_a, int transposed_b, int m, int n, int k, float alpha,\n"
  "                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);\n";

/* --- small ones: sizes as numbers, for the compiler to unroll ------------------------------------------- */

enum { SMALL_WORK = 4096, SMALL_ROW = 64, SMALL_TEXT = 2048 };

static const char small_rows_text[] =
  "/* z (%d, %d) %s x y; y (%d, %d), x[i, p] = x[%d i + %d p]. */\n"
  "static inline void HELPER(%s)(const REAL *x, const REAL *y, REAL *z) {\n"
  "  for (int i = 0; i < %d; i++) {\n"
  "    REAL row[%d];\n"
  "    for (int j = 0; j < %d; j++) row[j] = x[i*%d]*y[j];\n"
  "    for (int p = 1; p < %d; p++)\n"
  "      for (int j = 0; j < %d; j++) row[j] += x[i*%d + p*%d]*y[p*%d + j];\n"
  "    for (int j = 0; j < %d; j++) z[i*%d + j] %s row[j];\n"
  "  }\n"
  "}\n";

static const char small_dots_text[] =
  "/* z (%d, %d) %s x y; x (%d, %d), y is stored (%d, %d). */\n"
  "static inline void HELPER(%s)(const REAL *x, const REAL *y, REAL *z) {\n"
  "  for (int i = 0; i < %d; i++)\n"
  "    for (int j = 0; j < %d; j++) {\n"
  "      REAL sum[%d];\n"
  "      for (int p = 0; p < %d; p++) sum[p] = x[i*%d + p]*y[j*%d + p];\n"
  "      for (int q = %d; q + %d <= %d; q += %d)\n"
  "        for (int p = 0; p < %d; p++) sum[p] += x[i*%d + q + p]*y[j*%d + q + p];\n"
  "      for (int p = 0; p < %d; p++) sum[p] += x[i*%d + %d + p]*y[j*%d + %d + p];\n"
  "      for (int l = %d; l > 0; l /= 2)\n"
  "        for (int p = 0; p < l && p + l < %d; p++) sum[p] += sum[p + l];\n"
  "      z[i*%d + j] %s sum[0];\n"
  "    }\n"
  "}\n";

static bool is_small(const written_product *a) {
  if (a->m < 1 || a->n < 1 || a->k < 1) return false;
  if (a->m > SMALL_WORK || a->n > SMALL_WORK || a->k > SMALL_WORK) return false;
  if (a->m*a->n > SMALL_WORK || a->m*a->n*a->k > SMALL_WORK) return false;
  return a->ty ? !a->tx : a->n <= SMALL_ROW;
}

static void write_small_rows(ad_writer *w, ad_dtype dtype, const written_product *a) {
  const int m = (int)a->m, n = (int)a->n, k = (int)a->k, xi = a->tx ? 1 : k, xp = a->tx ? m : 1;
  const char *to = a->add ? "+=" : "=";
  char name[64], text[SMALL_TEXT];
  snprintf(name, sizeof name, "%s_%dx%dx%d%s", a->add ? "add_product" : "product", m, k, n,
           a->tx ? "_tn" : "_nn");
  snprintf(text, sizeof text, small_rows_text, m, n, to, k, n, xi, xp, name, m, n, n, xi, k, n, xi, xp, n, n,
           n, to);
  ad_write(w, "%s(%s, %s, %s);", ad_write_routine(w, dtype, name, text), a->x, a->y, a->z);
}

/* Sums in eight lanes, which are put together pairwise. */
static void write_small_dots(ad_writer *w, ad_dtype dtype, const written_product *a) {
  const int m = (int)a->m, n = (int)a->n, k = (int)a->k, lanes = k < 8 ? k : 8, whole = k/lanes*lanes;
  const char *to = a->add ? "+=" : "=";
  char name[64], text[SMALL_TEXT];
  snprintf(name, sizeof name, "%s_%dx%dx%d_nt", a->add ? "add_product" : "product", m, k, n);
  snprintf(text, sizeof text, small_dots_text, m, n, to, m, k, n, k, name, m, n, lanes, lanes, k, k, lanes,
           lanes, k, lanes, lanes, k, k, k - whole, k, whole, k, whole, 4, lanes, n, to);
  ad_write(w, "%s(%s, %s, %s);", ad_write_routine(w, dtype, name, text), a->x, a->y, a->z);
}

/* --- one product ---------------------------------------------------------------------------------------- */

#define SIZES "%" PRId64 ", %" PRId64 ", %" PRId64

static void write_integers(ad_writer *w, ad_dtype dtype, const written_product *a) {
  ad_write(w, "%s(%d, " SIZES ", %s, %" PRId64 ", %" PRId64 ", %s, %" PRId64 ", %" PRId64 ", %s);",
           ad_write_routine(w, dtype, "product_of_matrices", integer_text), a->add, a->m, a->n, a->k, a->x,
           a->tx ? 1 : a->k, a->tx ? a->m : 1, a->y, a->ty ? 1 : a->n, a->ty ? a->k : 1, a->z);
}

static void write_number(ad_writer *w, ad_dtype dtype, const written_product *a) {
  ad_write(w, "(%s)[0] %s %s(%" PRId64 ", %s, %s);", a->z, a->add ? "+=" : "=", written_dot(w, dtype), a->k,
           a->x, a->y);
}

static void write_rows(ad_writer *w, ad_dtype dtype, const written_product *a) {
  ad_write(w, "%s(%d, " SIZES ", %s, %" PRId64 ", %" PRId64 ", %s, %s);",
           ad_write_routine(w, dtype, "product_of_rows", rows_text), a->add, a->m, a->n, a->k, a->x,
           a->tx ? 1 : a->k, a->tx ? a->m : 1, a->y, a->z);
}

static void write_dots(ad_writer *w, ad_dtype dtype, const written_product *a) {
  written_dot(w, dtype);
  const char *dots = ad_write_routine(w, dtype, "product_of_dots", dots_text);
  if (!a->tx) {
    ad_write(w, "%s(%d, " SIZES ", %s, %s, %s);", dots, a->add, a->m, a->n, a->k, a->x, a->y, a->z);
    return;
  }
  ad_write(w, "%s(%d, " SIZES ", %s, %s, %s, %s);",
           ad_write_routine(w, dtype, "product_of_transposes", turned_text), a->add, a->m, a->n, a->k, a->x,
           a->y, a->z, ad_write_scratch(w, dtype, a->k));
}

static bool is_for_cblas(const ad_writer *w, const written_product *a) {
  return ad_write_cblas(w) && a->m > 1 && a->n > 1 && a->k > 1 && a->m <= INT_MAX && a->n <= INT_MAX
      && a->k <= INT_MAX;
}

static void write_cblas(ad_writer *w, ad_dtype dtype, const written_product *a) {
  const int tx = a->tx ? 112 : 111, ty = a->ty ? 112 : 111;         /* CblasTrans or CblasNoTrans */
  ad_write_routine(w, AD_F64, "cblas", cblas_text);
  ad_write(w, "_Generic((%s)0, float: cblas_sgemm, default: cblas_dgemm)(101, %d, %d, " SIZES ", 1, %s, "
           "%" PRId64 ", %s, %" PRId64 ", %d, %s, %" PRId64 ");", ad_write_type(dtype), tx, ty, a->m, a->n,
           a->k, a->x, a->tx ? a->m : a->k, a->y, a->ty ? a->k : a->n, a->add, a->z, a->n);
}

/* A transposed matrix times a vector is the vector times the matrix: z^T = y^T x^T. */
static written_product plain_form(const written_product *a) {
  if (a->n == 1 && a->tx) return (written_product){ 1, a->k, a->m, false, false, a->add, a->y, a->x, a->z };
  written_product plain = *a;
  if (a->n == 1) plain.ty = true;
  return plain;
}

void write_product(ad_writer *w, ad_dtype dtype, const written_product *product) {
  const written_product a = plain_form(product);
  if (dtype < AD_F32) write_integers(w, dtype, &a);
  else if (a.m == 1 && a.n == 1 && a.k > 1) write_number(w, dtype, &a);
  else if (is_for_cblas(w, &a)) write_cblas(w, dtype, &a);
  else if (is_small(&a) && a.ty) write_small_dots(w, dtype, &a);
  else if (is_small(&a)) write_small_rows(w, dtype, &a);
  else if (a.ty) write_dots(w, dtype, &a);
  else write_rows(w, dtype, &a);
}
