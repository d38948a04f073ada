/* batching.h -- what the batch rules of structured primitives share. Instances lie along a leading axis, or,
 * in the rules whose names begin with trail, along a trailing one.
 *
 * A batch rule is called with one batched operand at least, and with operands and result that have room for
 * one more axis. All functions here record. */
#ifndef ADIT_PRIMITIVES_BATCHING_H
#define ADIT_PRIMITIVES_BATCHING_H

#include "adit/primitive.h"

/* t with a leading axis of n. */
ad_type batch_type(const ad_type *t, int64_t n);

/* Operand k with a leading axis of n: repeated where it is one value for all. */
ad_var batch_spread(const ad_batch *b, int k);
/* Operand k with a leading axis, of size 1 where it is one value for all: for primitives that broadcast. */
ad_var batch_lift(const ad_batch *b, int k);
/* Operand k, batched, as (n, 1.., its axes) of that many axes of an instance: what broadcasting, which aligns
 * last axes, needs. */
ad_var batch_align(const ad_batch *b, int k, int rank);
/* z, of the type of an instance but for leading axes, as (n, axes of the result). */
ad_var batch_result(const ad_batch *b, ad_var z);

/* The operation with another attribute on all operands, spread. */
ad_var batch_record(const ad_batch *b, const void *attribute, size_t size);
/* Batch rules. Of operations that take leading axes as they come: */
ad_var batch_leading(const ad_batch *b);
/* and of those whose attribute begins with an axis, an int64_t or an int32_t, which is one further right. */
ad_var batch_along(const ad_batch *b);
ad_var batch_along_narrow(const ad_batch *b);

/* The same with a trailing axis of n: types; an operand that is repeated; one that is of size 1 there where
 * it is one value for all, and left alone where it has no axes; results. */
ad_type trail_type(const ad_type *t, int64_t n);
ad_var trail_spread(const ad_batch *b, int k);
ad_var trail_lift(const ad_batch *b, int k);
ad_var trail_result(const ad_batch *b, ad_var z);
/* The operation with another attribute on all operands, spread; and with its own: the rule of operations
 * whose attribute counts axes from the front and that leave further ones alone. */
ad_var trail_record(const ad_batch *b, const void *attribute, size_t size);
ad_var trail_alike(const ad_batch *b);

#endif
