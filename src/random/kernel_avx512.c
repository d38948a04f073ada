/* kernel_avx512.c -- the kernels for AVX-512. */
#include "random/kernel.h"

#if RANDOM_X86

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
#endif
#include <immintrin.h>
#include "base/blas_vector.h"
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw"))), \
                               apply_to = function)
#endif

#define VEC __m512i
#define VEC_LANES 8
#define LOAD(p) _mm512_loadu_si512(p)
#define SPLAT(x) _mm512_set1_epi64((int64_t)(x))
#define RAMP _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0)
#define ADD(a, b) _mm512_add_epi64(a, b)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define AND(a, b) _mm512_and_si512(a, b)
#define OR(a, b) _mm512_or_si512(a, b)
#define HIGH(v) _mm512_srli_epi64(v, 32)
#define UP(v) _mm512_slli_epi64(v, 32)
#define MUL(a, b) _mm512_mul_epu32(a, b)
#define STORE_PAIRS(p, a, b) store_pairs(p, a, b)

INLINE void store_pairs(uint64_t *p, VEC a, VEC b) {
  const VEC lower = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
  const VEC upper = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  _mm512_storeu_si512(p, _mm512_permutex2var_epi64(a, lower, b));
  _mm512_storeu_si512(p + 8, _mm512_permutex2var_epi64(a, upper, b));
}

#define NAME(x) x##_avx512
#define KERNELS random_avx512
#define KERNELS_NAME "avx512"
#include "random/kernel.inc"

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int random_avx512_is_empty; /* C wants a declaration */
#endif
