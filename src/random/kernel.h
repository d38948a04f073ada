/* kernel.h -- blocks of random words, and what samplers make of them, for one instruction set.
 *
 * All arithmetic is +, -, *, / and sqrt of IEEE and operations on integers, in one order and without
 * contraction, and no function of <math.h>: so every instruction set gives the same bits.
 */
#ifndef ADIT_RANDOM_KERNEL_H
#define ADIT_RANDOM_KERNEL_H

#include "random/philox.h"

/* So many counters at a time: the words stay in the first cache. A multiple of RANDOM_STEP, the number of
 * counters that every kernel can round up to. */
enum { RANDOM_LANES = 256, RANDOM_STEP = 8 };

/* Block i of Philox is word[2i] and word[2i + 1], lower 32 bits first. */
typedef struct random_words { uint64_t word[2*RANDOM_LANES]; } random_words;

/* Half a word: number i ^ RANDOM_HIGH_FIRST of the array is the i-th in the order of Philox. */
typedef uint32_t __attribute__((may_alias)) random_half;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { RANDOM_HIGH_FIRST = 1 };
#else
enum { RANDOM_HIGH_FIRST = 0 };
#endif

/* n elements of the result from as many words; n a multiple of what a block gives: 2 elements of 8 bytes, 4
 * of 4 bytes. z need not be aligned beyond its elements. */
typedef void random_transform(int64_t n, const random_words *words, void *z);

typedef struct random_kernels {
  const char *name;
  /* The blocks first, first + 1, .. of one key. n <= RANDOM_LANES; writes up to the next multiple of
   * RANDOM_STEP. */
  void (*stream)(uint64_t key, uint64_t first, random_purpose purpose, int64_t n, random_words *z);
  /* Block index[i] of key[i]: both have room up to a multiple of RANDOM_STEP. */
  void (*each)(const uint64_t *key, const uint64_t *index, random_purpose purpose, int64_t n,
               random_words *z);
  random_transform *transform[RANDOM_SAMPLERS][2];                /* [0] for 4 bytes, [1] for 8 */
} random_kernels;

extern const random_kernels random_baseline;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(ADIT_PORTABLE_KERNELS)
#  define RANDOM_X86 1
extern const random_kernels random_avx2, random_avx512;
#else
#  define RANDOM_X86 0
#endif

/* The kernels that this processor can run, worst first; NULL beyond the last one. */
const random_kernels *random_kernels_available(int i);

#endif
