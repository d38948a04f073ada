/* sample.h -- filling arrays with samples, by blocks, on several threads. */
#ifndef ADIT_RANDOM_SAMPLE_H
#define ADIT_RANDOM_SAMPLE_H

#include "random/kernel.h"

/* `each` samples for each of `keys` keys, one after the other. */
typedef struct random_draw {
  random_purpose purpose;           /* < RANDOM_SAMPLERS */
  bool wide;                        /* elements of 8 bytes, else of 4 */
  int64_t keys, each;
  const uint64_t *key;
} random_draw;

const random_kernels *random_kernels_best(void);
/* Element i of a part is made from block i/2 (8 bytes) or i/4 (4 bytes) of its key's stream. parts: how many
 * pieces the work is cut into, which threads share; 0: chosen by size. No choice here changes the result. */
void random_sample(const random_kernels *kernels, const random_draw *draw, int parts, void *z);

#endif
