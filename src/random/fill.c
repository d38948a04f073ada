/* fill.c -- random numbers for programs without a tape. */
#include "random/sample.h"

#include <string.h>

static ad_status fill(uint64_t seed, random_purpose purpose, bool wide, int64_t n, void *out) {
  const random_draw draw = { purpose, wide, 1, n, &seed };
  if (n < 0 || (n > 0 && !out) || (uint64_t)n > (uint64_t)PTRDIFF_MAX/8) return AD_ERROR_ARGUMENT;
  random_sample(random_kernels_best(), &draw, 0, out);
  return AD_OK;
}

ad_status ad_random_fill_bits(uint64_t seed, int64_t n, uint64_t *out) {
  return fill(seed, RANDOM_BITS, true, n, out);
}

ad_status ad_random_fill_uniform(uint64_t seed, ad_dtype dtype, int64_t n, void *out) {
  if (dtype != AD_F32 && dtype != AD_F64) return AD_ERROR_DTYPE;
  return fill(seed, RANDOM_UNIFORM, dtype == AD_F64, n, out);
}

ad_status ad_random_fill_normal(uint64_t seed, ad_dtype dtype, int64_t n, void *out) {
  if (dtype != AD_F32 && dtype != AD_F64) return AD_ERROR_DTYPE;
  return fill(seed, RANDOM_NORMAL, dtype == AD_F64, n, out);
}

/* --- permutations --------------------------------------------------------------------------------------- */

/* A stream of words, a buffer of them at a time. */
typedef struct word_stream {
  uint64_t key, next;               /* the next block to make */
  int used;
  random_words words;
} word_stream;

static uint64_t next_word(word_stream *s) {
  if (s->used == 2*RANDOM_LANES) {
    random_kernels_best()->stream(s->key, s->next, RANDOM_PERMUTATION, RANDOM_LANES, &s->words);
    s->next += RANDOM_LANES;
    s->used = 0;
  }
  return s->words.word[s->used++];
}

/* The product of two words, in two. */
static uint64_t high_product(uint64_t a, uint64_t b, uint64_t *low) {
  const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  const uint64_t middle = a1*b0 + (a0*b0 >> 32), other = a0*b1 + (uint32_t)middle;
  *low = a*b;
  return a1*b1 + (middle >> 32) + (other >> 32);
}

/* Uniform on 0 .. n-1 without bias: the upper half of word*n, refused where the lower half is among the 2^64
 * mod n values that some results have too many of (Lemire, "Fast random integer generation in an interval",
 * ACM TOMACS 29, 2019). */
static uint64_t below(word_stream *s, uint64_t n) {
  uint64_t low, result = high_product(next_word(s), n, &low);
  if (low >= n) return result;
  const uint64_t refused = (0 - n)%n;
  while (low < refused) result = high_product(next_word(s), n, &low);
  return result;
}

/* Durstenfeld's form of Fisher and Yates' shuffle, filling as it goes: element i comes to a place j <= i,
 * what was there to place i. */
ad_status ad_random_fill_permutation(uint64_t seed, uint64_t counter, int64_t n, int64_t *out) {
  word_stream s = { .key = ad_seed_fold(seed, counter), .used = 2*RANDOM_LANES };
  if (n < 0 || (n > 0 && !out) || (uint64_t)n > (uint64_t)PTRDIFF_MAX/8) return AD_ERROR_ARGUMENT;
  for (int64_t i = 0; i < n; i++) {
    const int64_t j = (int64_t)below(&s, (uint64_t)i + 1);
    if (j != i) out[i] = out[j];
    out[j] = i;
  }
  return AD_OK;
}
