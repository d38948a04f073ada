/* sparse_avx2.c -- rows of products with sparse matrices for AVX2. */
#include "primitives/sparse_rows.h"

#if SPARSE_X86

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#endif

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#  define UNROLL_MOST _Pragma("clang loop unroll(full)")
#else
#  define UNROLL_MOST _Pragma("GCC unroll 12")
#endif
enum { MOST = 12, FEW = 2 };

/* Masks are windows into these. */
static const int64_t window_f64[8] = { -1, -1, -1, -1, 0, 0, 0, 0 };
static const int32_t window_f32[16] = { -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0 };

#define REAL double
#define VEC __m256d
#define LANES 4
#define MASK __m256i
#define MASK_OF(count) _mm256_loadu_si256((const __m256i *)(const void *)(window_f64 + 4 - (count)))
#define LOADM(p, mask) _mm256_maskload_pd(p, mask)
#define STOREM(p, mask, v) _mm256_maskstore_pd(p, mask, v)
#define LOAD(p) _mm256_loadu_pd(p)
#define STORE(p, v) _mm256_storeu_pd(p, v)
#define SPLAT(x) _mm256_set1_pd(x)
#define FMA(x, y, w) _mm256_fmadd_pd(x, y, w)
#define NAME(x) x##_f64_avx2
#include "primitives/sparse_rows.inc"

#define REAL float
#define VEC __m256
#define LANES 8
#define MASK __m256i
#define MASK_OF(count) _mm256_loadu_si256((const __m256i *)(const void *)(window_f32 + 8 - (count)))
#define LOADM(p, mask) _mm256_maskload_ps(p, mask)
#define STOREM(p, mask, v) _mm256_maskstore_ps(p, mask, v)
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPLAT(x) _mm256_set1_ps(x)
#define FMA(x, y, w) _mm256_fmadd_ps(x, y, w)
#define NAME(x) x##_f32_avx2
#include "primitives/sparse_rows.inc"

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int sparse_not_here;
#endif
