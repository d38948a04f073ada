/* sample.c -- arrays of samples: which blocks they need, and where the numbers of a block go.
 *
 * The blocks of all keys are numbered one after the other, and worked on RANDOM_LANES at a time: words, then
 * numbers. Long streams have one key for all of these; short ones, as a map over many keys makes them, have a
 * list of keys and block numbers. Where a part does not end with a block, numbers go through a buffer.
 */
#include "random/sample.h"
#include "base/parallel.h"

#include <string.h>

#if RANDOM_X86
static bool has_avx2(void) { return __builtin_cpu_supports("avx2"); }
static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
         && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

const random_kernels *random_kernels_available(int i) {
  if (i == 0) return &random_baseline;
  if (i == 1 && has_avx2()) return &random_avx2;
  if (i == 2 && has_avx512()) return &random_avx512;
  return NULL;
}
#else
const random_kernels *random_kernels_available(int i) { return i == 0 ? &random_baseline : NULL; }
#endif

const random_kernels *random_kernels_best(void) {
  int i = 0;
  while (random_kernels_available(i + 1)) i++;
  return random_kernels_available(i);
}

typedef struct sampling {
  const random_kernels *kernels;
  const random_draw *draw;
  int64_t per_block, blocks;        /* elements of a block; blocks of a key */
  size_t width;                     /* bytes of an element */
  char *z;
} sampling;

static int64_t round_up(int64_t n) { return (n + RANDOM_STEP - 1)/RANDOM_STEP*RANDOM_STEP; }

/* The words of n blocks from block number `at` on, which belong to several keys. */
static void words_of_keys(const sampling *s, int64_t at, int64_t n, random_words *words) {
  uint64_t key[RANDOM_LANES], index[RANDOM_LANES];
  int64_t k = at/s->blocks, q = at%s->blocks;
  for (int64_t i = 0; i < n; i++) {
    key[i] = s->draw->key[k];
    index[i] = (uint64_t)q;
    if (++q == s->blocks) k++, q = 0;
  }
  for (int64_t i = n; i < round_up(n); i++) key[i] = index[i] = 0;
  s->kernels->each(key, index, s->draw->purpose, n, words);
}

/* The numbers of n blocks, in a buffer, to where they belong. */
static void spread(const sampling *s, int64_t at, int64_t n, const char *from) {
  const int64_t each = s->draw->each;
  while (n > 0) {
    const int64_t k = at/s->blocks, q = at%s->blocks, run = n < s->blocks - q ? n : s->blocks - q;
    const int64_t first = q*s->per_block, left = each - first;
    const int64_t count = run*s->per_block < left ? run*s->per_block : left;
    memcpy(s->z + (size_t)(k*each + first)*s->width, from, (size_t)count*s->width);
    from += (size_t)(run*s->per_block)*s->width;
    at += run;
    n -= run;
  }
}

static void sample_blocks(const sampling *s, int64_t at, int64_t n) {
  const random_draw *d = s->draw;
  const int64_t k = at/s->blocks, q = at%s->blocks;
  random_transform *const transform = s->kernels->transform[d->purpose][d->wide];
  random_words words, buffer;
  if (q + n <= s->blocks) s->kernels->stream(d->key[k], (uint64_t)q, d->purpose, n, &words);
  else words_of_keys(s, at, n, &words);
  if (d->each%s->per_block == 0 || (q + n)*s->per_block <= d->each) {
    transform(n*s->per_block, &words, s->z + (size_t)(k*d->each + q*s->per_block)*s->width);
  } else {
    transform(round_up(n)*s->per_block, &words, &buffer);
    spread(s, at, n, (const char *)&buffer);
  }
}

static void sample_range(const sampling *s, int64_t begin, int64_t end) {
  for (int64_t at = begin, n; at < end; at += n) {
    const int64_t of_key = s->blocks - at%s->blocks;
    n = end - at < RANDOM_LANES ? end - at : RANDOM_LANES;
    if (of_key < n && of_key > RANDOM_LANES/4) n = of_key;          /* one key is faster than a list */
    sample_blocks(s, at, n);
  }
}

void random_sample(const random_kernels *kernels, const random_draw *draw, int parts, void *z) {
  const int64_t per_block = draw->wide ? 2 : 4;
  const int64_t of_key = (draw->each + per_block - 1)/per_block, blocks = of_key*draw->keys;
  const sampling s = { kernels, draw, per_block, of_key, draw->wide ? 8 : 4, z };
  if (blocks == 0) return;
  if (parts < 1) parts = blocks*per_block < PARALLEL_ELEMENTS ? 1 : PARALLEL_PARTS;
  if (parts == 1) {
    sample_range(&s, 0, blocks);
    return;
  }
  PARALLEL_FOR
  for (int w = 0; w < parts; w++)
    sample_range(&s, part_begin(blocks, w, parts), part_begin(blocks, w + 1, parts));
}
