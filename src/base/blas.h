/* blas.h -- the one seam for dense products: C = op(A) op(B), for every data type.
 *
 * What is behind it. Own register-blocked kernels for AVX-512 and AVX2, picked at run time by what the processor and
 * the system offer, and the same in portable C (vectors of 16 bytes). No BLAS is needed: on x86-64 with AVX2 none that
 * Debian 12 packages is faster without the user's help (benchmarks/RESULTS.md, "Dense products"). Where neither AVX2 nor
 * AVX-512 is there, another architecture say, build with -DADIT_CBLAS and link any CBLAS; big products of f64 and f32
 * then go through it.
 *
 * What a build needs. Nothing beyond the compiler; -fopenmp for more than one thread. The kernels carry their own
 * target pragmas, so no per-file flags; -O2 suffices (the inner loops are written in vectors). benchmarks/blas.c
 * needs -ldl. With -DADIT_CBLAS: apt packages libopenblas-openmp-dev (not -pthread: two thread pools), link -lopenblas.
 *
 * Threads. Any number of threads may call anything here. A big product is split over omp_get_max_threads() threads,
 * never from inside a parallel region; each thread owns a rectangle of C. Under TSan build without -fopenmp: libgomp's
 * barriers are invisible to it. Valgrind 3.19 knows no AVX-512, hides it in cpuid, and so sees the AVX2 kernels.
 *
 * Numbers. The sum over k is one chain per entry of C, in order, in blocks of k whose length depends on k only; where
 * both operands run along k (one of them having few rows), 8 (f64) or 16 (f32) interleaved chains and a fixed tree. So the bits
 * depend neither on the number of threads, nor on leading dimensions, nor on AVX2 against AVX-512 (the portable
 * kernels round twice per term where the compiler has no fma). nan and inf propagate; C is not read unless added to.
 *
 * Memory. Up to 64 KiB of stack. Products with m > 128 that need B rearranged take one block of at most 480 KiB per
 * thread from malloc, and do without it when there is none.
 */
#ifndef ADIT_BASE_BLAS_H
#define ADIT_BASE_BLAS_H

#include <stdbool.h>
#include <stdint.h>

/* C (m x n) = op(A) op(B), or C += with the suffix _add; all row-major.
 *   A is m x k, or k x m if ta;   B is k x n, or n x k if tb;   k = 0 is the empty sum, zeros;   m or n = 0: nothing.
 * Leading dimensions count elements from row to row: at least the width of the matrix; those of A and B may also be 0,
 * one row read again and again. C must not overlap A or B. Pointers need no alignment beyond their element's. They may be
 * NULL where nothing is read or written. Integers wrap around. */
void gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda, const double *b,
              int64_t ldb, double *c, int64_t ldc);
void gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
              int64_t ldb, float *c, int64_t ldc);
void gemm_i64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int64_t *a, int64_t lda, const int64_t *b,
              int64_t ldb, int64_t *c, int64_t ldc);
void gemm_i32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int32_t *a, int64_t lda, const int32_t *b,
              int64_t ldb, int32_t *c, int64_t ldc);
void gemm_add_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda, const double *b,
                  int64_t ldb, double *c, int64_t ldc);
void gemm_add_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                  int64_t ldb, float *c, int64_t ldc);
void gemm_add_i64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int64_t *a, int64_t lda, const int64_t *b,
                  int64_t ldb, int64_t *c, int64_t ldc);
void gemm_add_i32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int32_t *a, int64_t lda, const int32_t *b,
                  int64_t ldb, int32_t *c, int64_t ldc);

/* `batch` products; operand i starts at a + i*stride_a, b + i*stride_b, c + i*stride_c. A stride of 0 for A or B is one
 * operand for all; where A and C follow each other densely and B is shared, it runs as one product of batch*m rows. Many
 * small products are shared out to the threads whole. The bits are those of the single calls, unless it runs as one product. */
void gemm_batch_f64(bool ta, bool tb, int64_t batch, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                    int64_t stride_a, const double *b, int64_t ldb, int64_t stride_b, double *c, int64_t ldc,
                    int64_t stride_c);
void gemm_batch_f32(bool ta, bool tb, int64_t batch, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                    int64_t stride_a, const float *b, int64_t ldb, int64_t stride_b, float *c, int64_t ldc,
                    int64_t stride_c);

/* The name of the kernels in use: "avx512", "avx2", "portable" or "cblas". A static string. */
const char *gemm_kernels_name(void);

#endif
