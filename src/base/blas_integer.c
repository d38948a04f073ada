/* blas_integer.c -- products of integers: plain loops that compilers vectorise, wrapping around like
 * unsigned. */
#include "blas.h"

/* Columns of C taken at once, so that a row of sums stays in the L1, and depth, so that rows of B stay in the
 * L2. */
enum { COLUMNS = 512, DEPTH = 128 };

/* Columns [j0, j1) and terms [p0, p1) of one row: c[j] += sum_p a[p] B[p][j], along the rows of B as it is
 * stored. */
#define INTEGER_PRODUCT(integer, natural, type) \
  static void rows_##type(int64_t p0, int64_t p1, int64_t j0, int64_t j1, const integer *a, \
                          int64_t stride_a, const integer *b, int64_t ldb, integer *c) { \
    for (int64_t p = p0; p < p1; p++) { \
      natural x = (natural)a[p*stride_a]; \
      for (int64_t j = j0; j < j1; j++) c[j] = (integer)((natural)c[j] + x*(natural)b[p*ldb + j]); \
    } \
  } \
  static void dots_##type(int64_t p0, int64_t p1, int64_t j0, int64_t j1, const integer *a, \
                          int64_t stride_a, const integer *b, int64_t ldb, integer *c) { \
    for (int64_t j = j0; j < j1; j++) { \
      natural sum = (natural)c[j]; \
      for (int64_t p = p0; p < p1; p++) sum += (natural)a[p*stride_a]*(natural)b[j*ldb + p]; \
      c[j] = (integer)sum; \
    } \
  } \
  void gemm_add_##type(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const integer *a, int64_t lda, \
                       const integer *b, int64_t ldb, integer *c, int64_t ldc) { \
    for (int64_t p = 0; p < k; p += DEPTH) \
      for (int64_t j = 0; j < n; j += COLUMNS) { \
        int64_t p1 = k - p < DEPTH ? k : p + DEPTH, j1 = n - j < COLUMNS ? n : j + COLUMNS; \
        for (int64_t i = 0; i < m; i++) \
          (tb ? dots_##type : rows_##type)(p, p1, j, j1, ta ? a + i : a + i*lda, ta ? lda : 1, b, ldb, \
                                           c + i*ldc); \
      } \
  } \
  void gemm_##type(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const integer *a, int64_t lda, \
                   const integer *b, int64_t ldb, integer *c, int64_t ldc) { \
    for (int64_t i = 0; i < m; i++) \
      for (int64_t j = 0; j < n; j++) c[i*ldc + j] = 0; \
    gemm_add_##type(ta, tb, m, n, k, a, lda, b, ldb, c, ldc); \
  }
INTEGER_PRODUCT(int64_t, uint64_t, i64)
INTEGER_PRODUCT(int32_t, uint32_t, i32)
