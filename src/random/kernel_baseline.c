/* kernel_baseline.c -- the kernels for any processor; on x86-64 that means SSE2. */
#include "base/blas_vector.h"
#include "random/kernel.h"

#include <math.h>
#include <string.h>

#if RANDOM_X86
#include <emmintrin.h>

#define VEC __m128i
#define VEC_LANES 2
#define LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define SPLAT(x) _mm_set1_epi64x((int64_t)(x))
#define RAMP _mm_set_epi64x(1, 0)
#define ADD(a, b) _mm_add_epi64(a, b)
#define XOR(a, b) _mm_xor_si128(a, b)
#define AND(a, b) _mm_and_si128(a, b)
#define OR(a, b) _mm_or_si128(a, b)
#define HIGH(v) _mm_srli_epi64(v, 32)
#define UP(v) _mm_slli_epi64(v, 32)
#define MUL(a, b) _mm_mul_epu32(a, b)
#define STORE_PAIRS(p, a, b) store_pairs(p, a, b)

INLINE void store_pairs(uint64_t *p, VEC a, VEC b) {
  _mm_storeu_si128((__m128i *)(void *)p, _mm_unpacklo_epi64(a, b));
  _mm_storeu_si128((__m128i *)(void *)(p + 2), _mm_unpackhi_epi64(a, b));
}

#else

#define VEC uint64_t
#define VEC_LANES 1
#define LOAD(p) (*(p))
#define SPLAT(x) ((uint64_t)(x))
#define RAMP 0
#define ADD(a, b) ((a) + (b))
#define XOR(a, b) ((a) ^ (b))
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))
#define HIGH(v) ((v) >> 32)
#define UP(v) ((v) << 32)
#define MUL(a, b) ((uint64_t)(uint32_t)(a)*(uint32_t)(b))
#define STORE_PAIRS(p, a, b) ((p)[0] = (a), (p)[1] = (b))

#endif

#define NAME(x) x##_baseline
#define KERNELS random_baseline
#define KERNELS_NAME "baseline"
#include "random/kernel.inc"
