/* philox.c -- one block at a time. */
#include "random/philox.h"

void ad_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < PHILOX_ROUNDS; round++) {
    const uint64_t p0 = (uint64_t)PHILOX_M0*c0, p1 = (uint64_t)PHILOX_M1*c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p0;
    k0 += PHILOX_W0;
    k1 += PHILOX_W1;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void philox_block(uint64_t key, uint64_t index, random_purpose purpose, uint64_t out[2]) {
  const uint32_t k[2] = { (uint32_t)key, (uint32_t)(key >> 32) };
  uint32_t word[4] = { (uint32_t)index, (uint32_t)(index >> 32), 0, (uint32_t)purpose };
  ad_philox(k, word, word);
  out[0] = word[0] | (uint64_t)word[1] << 32;
  out[1] = word[2] | (uint64_t)word[3] << 32;
}

uint64_t philox_key(uint64_t key, uint64_t index, random_purpose purpose) {
  uint64_t out[2];
  philox_block(key, index, purpose, out);
  return out[0];
}

uint64_t ad_seed_fold(uint64_t seed, uint64_t counter) { return philox_key(seed, counter, RANDOM_FOLD); }
