/* scan.h -- what a scan and its adjoint know of the body's states. */
#ifndef ADIT_RUN_SCAN_H
#define ADIT_RUN_SCAN_H

#include "run/carrier.h"

#include <string.h>

typedef struct scan_body {
  const ad_function *f;
  int states;
  size_t *row;                      /* of each input: bytes of a row, if there is one for each step; else 0 */
  size_t *state_at;                 /* of each state: where it lies in a set of states */
  int *state_in, *state_out;        /* its number among the inputs and among the outputs */
  size_t state_bytes;               /* of a set */
  size_t bytes;
} scan_body;

/* States lie packed, but for arrays of a cache line or more. */
static inline size_t round_state(size_t bytes) {
  return bytes < 64 ? (bytes + 7) & ~(size_t)7 : round_up(bytes);
}

bool scan_body_open(scan_body *b, const preparation *q, ad_function *f);
void scan_body_close(scan_body *b, const ad_allocator *a);
size_t scan_state_size(const scan_body *b, int k);

/* Empty arrays may have no address, which memcpy does not take. */
static inline void copy_state(void *to, const void *from, size_t bytes) {
  if (bytes) memcpy(to, from, bytes);
}

/* How many steps to make: as recorded, or what the operand behind the inputs says. */
ad_status scan_steps(const carrier *c, const void *const x[], int64_t *n, char *message, size_t size);

#endif
