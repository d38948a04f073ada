/* blas_avx512.c -- the product kernels for AVX-512: 8 rows x 3 vectors fill 24 of the 32 registers. */
#include "blas_kernel.h"

#if GEMM_X86

#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#include <immintrin.h>
#include "blas_vector.h"
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                               apply_to = function)
#endif

#define ROWS 8
#define VECTORS 3
#define CLEAN_UPPER() _mm256_zeroupper()
#define DOT_ROWS 4
#define DOT_COLUMNS 4
#define PANELS 10

#define REAL double
#define VEC __m512d
#define LANES 8
#define VIRTUAL 8
#define MASK __mmask8
#define MASK_OF(count) ((__mmask8)((1u << (count)) - 1u))
#define LOAD(p) _mm512_loadu_pd(p)
#define LOADM(p, mask) _mm512_maskz_loadu_pd(mask, p)
#define STORE(p, v) _mm512_storeu_pd(p, v)
#define STOREM(p, mask, v) _mm512_mask_storeu_pd(p, mask, v)
#define SPLAT(x) _mm512_set1_pd(x)
#define FMA(x, y, w) _mm512_fmadd_pd(x, y, w)
#define SQUARE 4
#define SUM_LANES(v) _mm512_reduce_add_pd(v)
#define DEPTH 256
#define NAME(x) x##_f64_avx512
#include "blas_kernel.inc"

#define REAL float
#define VEC __m512
#define LANES 16
#define VIRTUAL 16
#define MASK __mmask16
#define MASK_OF(count) ((__mmask16)((1u << (count)) - 1u))
#define LOAD(p) _mm512_loadu_ps(p)
#define LOADM(p, mask) _mm512_maskz_loadu_ps(mask, p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define STOREM(p, mask, v) _mm512_mask_storeu_ps(p, mask, v)
#define SPLAT(x) _mm512_set1_ps(x)
#define FMA(x, y, w) _mm512_fmadd_ps(x, y, w)
#define SQUARE 8
#define SUM_LANES(v) _mm512_reduce_add_ps(v)
#define DEPTH 256
#define NAME(x) x##_f32_avx512
#include "blas_kernel.inc"

const gemm_kernels gemm_avx512 = {"avx512", product_f64_avx512, product_f32_avx512};

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int blas_avx512_is_empty; /* C wants a declaration */
#endif
