/* blas_avx2.c -- the product kernels for AVX2 with FMA: 6 rows x 2 vectors fill 12 of the 16 registers. */
#include "blas_kernel.h"

#if GEMM_X86

#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#include "blas_vector.h"
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#endif

/* Masks are windows into these. */
static const int64_t window_f64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
static const int32_t window_f32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

INLINE double sum_lanes_f64_avx2(__m256d v) {
  __m128d x = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

INLINE float sum_lanes_f32_avx2(__m256 v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#define ROWS 6
#define VECTORS 2
#define CLEAN_UPPER() _mm256_zeroupper()
#define DOT_ROWS 2
#define DOT_COLUMNS 2
#define PANELS 12

#define REAL double
#define VEC __m256d
#define LANES 4
#define VIRTUAL 8
#define MASK __m256i
#define MASK_OF(count) _mm256_loadu_si256((const __m256i *)(const void *)(window_f64 + 4 - (count)))
#define LOAD(p) _mm256_loadu_pd(p)
#define LOADM(p, mask) _mm256_maskload_pd(p, mask)
#define STORE(p, v) _mm256_storeu_pd(p, v)
#define STOREM(p, mask, v) _mm256_maskstore_pd(p, mask, v)
#define SPLAT(x) _mm256_set1_pd(x)
#define FMA(x, y, w) _mm256_fmadd_pd(x, y, w)
#define SQUARE 4
#define SUM_LANES(v) sum_lanes_f64_avx2(v)
#define DEPTH 256
#define NAME(x) x##_f64_avx2
#include "blas_kernel.inc"

#define REAL float
#define VEC __m256
#define LANES 8
#define VIRTUAL 16
#define MASK __m256i
#define MASK_OF(count) _mm256_loadu_si256((const __m256i *)(const void *)(window_f32 + 8 - (count)))
#define LOAD(p) _mm256_loadu_ps(p)
#define LOADM(p, mask) _mm256_maskload_ps(p, mask)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define STOREM(p, mask, v) _mm256_maskstore_ps(p, mask, v)
#define SPLAT(x) _mm256_set1_ps(x)
#define FMA(x, y, w) _mm256_fmadd_ps(x, y, w)
#define SQUARE 8
#define SUM_LANES(v) sum_lanes_f32_avx2(v)
#define DEPTH 256
#define NAME(x) x##_f32_avx2
#include "blas_kernel.inc"

const gemm_kernels gemm_avx2 = {"avx2", product_f64_avx2, product_f32_avx2};

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int blas_avx2_is_empty; /* C wants a declaration */
#endif
