/* sparse_avx512.c -- rows of products with sparse matrices for AVX512. */
#include "primitives/sparse_rows.h"

#if SPARSE_X86

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#include <immintrin.h>
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                               apply_to = function)
#endif

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#  define UNROLL_MOST _Pragma("clang loop unroll(full)")
#else
#  define UNROLL_MOST _Pragma("GCC unroll 12")
#endif
enum { MOST = 12, FEW = 2 };

#define REAL double
#define VEC __m512d
#define LANES 8
#define MASK __mmask8
#define MASK_OF(count) ((__mmask8)((1u << (count)) - 1u))
#define LOADM(p, mask) _mm512_maskz_loadu_pd(mask, p)
#define STOREM(p, mask, v) _mm512_mask_storeu_pd(p, mask, v)
#define LOAD(p) _mm512_loadu_pd(p)
#define STORE(p, v) _mm512_storeu_pd(p, v)
#define SPLAT(x) _mm512_set1_pd(x)
#define FMA(x, y, w) _mm512_fmadd_pd(x, y, w)
#define NAME(x) x##_f64_avx512
#include "primitives/sparse_rows.inc"

#define REAL float
#define VEC __m512
#define LANES 16
#define MASK __mmask16
#define MASK_OF(count) ((__mmask16)((1u << (count)) - 1u))
#define LOADM(p, mask) _mm512_maskz_loadu_ps(mask, p)
#define STOREM(p, mask, v) _mm512_mask_storeu_ps(p, mask, v)
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPLAT(x) _mm512_set1_ps(x)
#define FMA(x, y, w) _mm512_fmadd_ps(x, y, w)
#define NAME(x) x##_f32_avx512
#include "primitives/sparse_rows.inc"

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int sparse_not_here;
#endif
