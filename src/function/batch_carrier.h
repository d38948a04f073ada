/* batch_carrier.h -- calls and loops on a batch: the functions they carry are batched in their turn. */
#ifndef ADIT_FUNCTION_BATCH_CARRIER_H
#define ADIT_FUNCTION_BATCH_CARRIER_H

#include "function/carrier.h"

/* One carrier on n instances: x[k], with a leading axis of n where batched[k]. */
typedef struct carrier_batch {
  ad_tape *t;
  const carrier *c;
  int64_t n;
  int operands;
  const ad_var *x;
  const bool *batched;
} carrier_batch;

/* Records it and writes its results, each with a leading axis of n, to z. False with *possible false where
 * instances would have to take different ways (a branch, a number of steps), or a function cannot be batched;
 * false with the error on t on failure. */
bool batch_carrier(const carrier_batch *b, ad_var z[], bool *possible);

#endif
