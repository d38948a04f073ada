/* blas.h -- the one seam for dense products: C = op(A) op(B), for every data type.
 *
 * What is behind it. Own register-blocked kernels for AVX-512 and AVX2, picked at run time by what processor
 * and system offer, and the same in portable C (vectors of 16 bytes). No BLAS is needed: on x86-64 with AVX2
 * nothing that Debian 12 packages is faster without the user's help (benchmarks/RESULTS.md, "Dense
 * products"). For other machines build with -DADIT_CBLAS and link any CBLAS: f64 and f32 products beyond the
 * smallest then go through it where neither AVX2 nor AVX-512 is there. -DADIT_PORTABLE_KERNELS leaves the x86
 * kernels out.
 *
 * What a build needs. Nothing beyond the compiler; -fopenmp for more than one thread. The kernels carry their
 * own target pragmas, so no per-file flags, and -O2 suffices. benchmarks/blas.c needs -ldl. With
 * -DADIT_CBLAS: the apt package libopenblas-openmp-dev (not -pthread: that is a second pool of threads) and
 * -lopenblas.
 *
 * Threads. Any number of threads may call anything here. A big product is split over omp_get_max_threads()
 * threads, never from inside a parallel region; each thread owns a rectangle of C. Under TSan build without
 * -fopenmp: it cannot see libgomp's barriers. Valgrind 3.19 knows no AVX-512 and hides it, and so runs AVX2.
 *
 * Numbers. The sum over k is one chain per entry of C, in order, in blocks of k whose length depends on k
 * only; where both operands run along k and one has few rows, 8 (f64) or 16 (f32) interleaved chains and a
 * fixed tree. So the bits depend neither on the number of threads, nor on leading dimensions other than those
 * of vectors (which path a vector takes depends on whether it is contiguous), nor on AVX2 against AVX-512;
 * the portable kernels round twice per term where the compiler has no fma. nan and inf propagate. C is not
 * read unless added to.
 *
 * Memory. Up to 64 KiB of stack. Products with m > 128 that need B rearranged take a block of at most 480 KiB
 * per thread from malloc, and do without it when there is none.
 */
#ifndef ADIT_BASE_BLAS_H
#define ADIT_BASE_BLAS_H

#include <stdbool.h>
#include <stdint.h>

/* C (m x n) = op(A) op(B), or C += with _add; all row-major.
 *   A is m x k, or k x m if ta;  B is k x n, or n x k if tb;  k = 0 gives zeros;  m or n = 0 does nothing.
 * Leading dimensions count elements from row to row: at least the width of the matrix; those of A and B may
 * also be 0, one row read again and again. C must not overlap A or B. Pointers need no alignment beyond their
 * element's, and may be NULL where nothing is read or written. Integers wrap around. */
void gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
              const double *b, int64_t ldb, double *c, int64_t ldc);
void gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
              const float *b, int64_t ldb, float *c, int64_t ldc);
void gemm_i64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int64_t *a, int64_t lda,
              const int64_t *b, int64_t ldb, int64_t *c, int64_t ldc);
void gemm_i32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int32_t *a, int64_t lda,
              const int32_t *b, int64_t ldb, int32_t *c, int64_t ldc);
void gemm_add_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                  const double *b, int64_t ldb, double *c, int64_t ldc);
void gemm_add_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float *c, int64_t ldc);
void gemm_add_i64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int64_t *a, int64_t lda,
                  const int64_t *b, int64_t ldb, int64_t *c, int64_t ldc);
void gemm_add_i32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const int32_t *a, int64_t lda,
                  const int32_t *b, int64_t ldb, int32_t *c, int64_t ldc);

/* `batch` products; product i is at a + i*stride_a, b + i*stride_b, c + i*stride_c. A stride of 0 for A or B
 * is one operand for all. Where A and C follow each other densely and B is shared, it runs as one product of
 * batch*m rows; otherwise the bits are those of the single calls. Many small products are shared out to the
 * threads whole. */
void gemm_batch_f64(bool ta, bool tb, int64_t batch, int64_t m, int64_t n, int64_t k,
                    const double *a, int64_t lda, int64_t stride_a, const double *b, int64_t ldb,
                    int64_t stride_b, double *c, int64_t ldc, int64_t stride_c);
void gemm_batch_f32(bool ta, bool tb, int64_t batch, int64_t m, int64_t n, int64_t k,
                    const float *a, int64_t lda, int64_t stride_a, const float *b, int64_t ldb,
                    int64_t stride_b, float *c, int64_t ldc, int64_t stride_c);

/* The name of the kernels in use: "avx512", "avx2", "portable" or "cblas". A static string. */
const char *gemm_kernels_name(void);

#endif
