/* batch.h -- a function on n instances at once. */
#ifndef ADIT_FUNCTION_BATCH_H
#define ADIT_FUNCTION_BATCH_H

#include "function/function.h"

/* f with a leading axis of n on the inputs where mapped[i] and on every output; the other inputs are one
 * value for all instances. Every operation is recorded on all instances by its primitive's batch rule,
 * elementwise ones by broadcasting, the rest as a loop of its own over the instances; what does not depend on
 * a mapped input stays a single value. Values only: this is made after differentiation. NULL, with *status
 * AD_OK, when f has an operation that cannot be batched (a loop or branch without a batch rule); NULL with
 * *status set on failure. The caller owns the result. */
ad_function *function_batched(ad_function *f, int64_t n, const bool mapped[], ad_status *status);

/* The same with a trailing axis of n in place of the leading one. */
ad_function *function_trailed(ad_function *f, int64_t n, const bool mapped[], ad_status *status);

/* x, of a batch, summed over the instances. Where x is a product of matrices for each instance, such as the
 * cotangent of a shared matrix, or a sum of those, it is one bigger product, and x itself is not computed. */
ad_var batch_sum(ad_var x);

#endif
