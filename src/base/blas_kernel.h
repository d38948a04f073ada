/* blas_kernel.h -- what blas.c asks of a set of kernels: one product, on one thread. */
#ifndef ADIT_BASE_BLAS_KERNEL_H
#define ADIT_BASE_BLAS_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* GEMM_TILES: tiles of C in registers, one row of B against a column of A for each p < k. c_col is 1.
 * GEMM_DOTS:  A is m x k and B is n x k, both running along p (tb and not ta): vectors of partial sums. */
typedef enum gemm_path { GEMM_TILES, GEMM_DOTS } gemm_path;

/* C (m x n) = op(A) op(B), or C += if add. C[i][j] is c[i*c_row + j*c_col]; the rest as in blas.h. m, n, k >
 * 0. */
typedef struct gemm_job {
  gemm_path path;
  bool wide;                      /* elements are double, else float */
  bool ta, tb, add;
  int64_t m, n, k;
  const void *a, *b;
  void *c;
  int64_t lda, ldb, c_row, c_col;
} gemm_job;

typedef struct gemm_kernels {
  const char *name;
  void (*f64)(const gemm_job *job);
  void (*f32)(const gemm_job *job);
} gemm_kernels;

extern const gemm_kernels gemm_portable;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(ADIT_PORTABLE_KERNELS)
#  define GEMM_X86 1
extern const gemm_kernels gemm_avx2, gemm_avx512;
#else
#  define GEMM_X86 0
#endif

/* The kernels at hand on this processor, best first; writes at most 3, returns how many. */
int gemm_kernels_at_hand(const gemm_kernels *out[3]);

/* Runs a product with given kernels: chooses the path (rewriting job), splits over at most `threads` threads.
 * c_col must be 1. */
void gemm_run(const gemm_kernels *kernels, gemm_job *job, int threads);

#ifdef ADIT_CBLAS
/* The product through a CBLAS. False, and nothing done, if a size does not fit its int or is too small to
 * pay. */
bool gemm_library(const gemm_job *job);
#endif

#endif
