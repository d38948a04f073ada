/* kernel_avx2.c -- the kernels for AVX2. */
#include "random/kernel.h"

#if RANDOM_X86

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC target("avx2")
#endif
#include <immintrin.h>
#include "base/blas_vector.h"
#ifdef __clang__
#  pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#endif

#define VEC __m256i
#define VEC_LANES 4
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define SPLAT(x) _mm256_set1_epi64x((int64_t)(x))
#define RAMP _mm256_set_epi64x(3, 2, 1, 0)
#define ADD(a, b) _mm256_add_epi64(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define AND(a, b) _mm256_and_si256(a, b)
#define OR(a, b) _mm256_or_si256(a, b)
#define HIGH(v) _mm256_srli_epi64(v, 32)
#define UP(v) _mm256_slli_epi64(v, 32)
#define MUL(a, b) _mm256_mul_epu32(a, b)
#define STORE_PAIRS(p, a, b) store_pairs(p, a, b)

INLINE void store_pairs(uint64_t *p, VEC a, VEC b) {
  const VEC even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);
  _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute2x128_si256(even, odd, 0x20));
  _mm256_storeu_si256((__m256i *)(void *)(p + 4), _mm256_permute2x128_si256(even, odd, 0x31));
}

#define NAME(x) x##_avx2
#define KERNELS random_avx2
#define KERNELS_NAME "avx2"
#include "random/kernel.inc"

#ifdef __clang__
#  pragma clang attribute pop
#endif

#else
typedef int random_avx2_is_empty; /* C wants a declaration */
#endif
