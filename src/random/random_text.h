/* random_text.h -- the write rules of random operations: samplers, keys, truncated normal variables. */
#ifndef ADIT_RANDOM_RANDOM_TEXT_H
#define ADIT_RANDOM_RANDOM_TEXT_H

#include "adit/primitive.h"
#include "random/philox.h"

/* `each` standard samples of z's type for each key of x. */
ad_status write_samples(ad_writer *w, const ad_operation *op, random_purpose purpose, int64_t each,
                        const char *z, const char *x);
/* z[i] = the key that is made of key[from] and of the number `index`, texts that may have i in them; i < n.
 */
void write_keys(ad_writer *w, random_purpose purpose, int64_t n, const char *z, const char *key,
                const char *from, const char *index);
/* As ad_primitive.write, for u, a and b of truncated.c. */
ad_status truncated_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]);

#endif
