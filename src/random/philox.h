/* philox.h -- Philox 4x32-10: ten rounds of multiplications of 32 bits on a counter of four words.
 *
 *   (c0, c1, c2, c3) -> (high(M1 c2) ^ c1 ^ k0, low(M1 c2), high(M0 c0) ^ c3 ^ k1, low(M0 c0))
 *   (k0, k1) -> (k0 + W0, k1 + W1)
 *
 * Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3
 * and table 2.
 */
#ifndef ADIT_RANDOM_PHILOX_H
#define ADIT_RANDOM_PHILOX_H

#include "adit/random.h"

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u                 /* the golden ratio */
#define PHILOX_W1 0xBB67AE85u                 /* sqrt(3) - 1 */
enum { PHILOX_ROUNDS = 10 };

/* The last word of the counter says what a block is for, so that the numbers for one purpose are independent
 * of those for another. The first ones are samples. */
typedef enum random_purpose {
  RANDOM_BITS, RANDOM_UNIFORM, RANDOM_NORMAL, RANDOM_EXPONENTIAL, RANDOM_LAPLACE, RANDOM_GUMBEL,
  RANDOM_SAMPLERS,
  RANDOM_SPLIT = 16, RANDOM_FOLD, RANDOM_PERMUTATION
} random_purpose;

/* Words 0 and 1, and 2 and 3, of the block number `index`, the lower word in the lower half. */
void philox_block(uint64_t key, uint64_t index, random_purpose purpose, uint64_t out[2]);
/* The key number `index` that is made of this key for a purpose. */
uint64_t philox_key(uint64_t key, uint64_t index, random_purpose purpose);

#endif
