/* batching.c -- operands and attributes with one more axis, the instances of a batch. */
#include "primitives/batching.h"
#include "adit/arrays.h"
#include "base/memory.h"
#include "primitives/construct.h"

#include <string.h>

/* Attributes that begin with an axis are no longer than this. */
enum { SHORT_ATTRIBUTE = 64, FEW = 16 };

ad_type batch_type(const ad_type *t, int64_t n) {
  int64_t dim[AD_MAX_RANK] = { n };
  if (t->rank < 0 || t->rank >= AD_MAX_RANK) return ad_type_make(t->dtype, -1, NULL);
  memcpy(dim + 1, t->dim, (size_t)t->rank*sizeof *dim);
  return ad_type_make(t->dtype, t->rank + 1, dim);
}

/* Zeros stay what passes know as zeros. */
ad_var batch_spread(const ad_batch *b, int k) {
  if (b->batched[k]) return b->x[k];
  const ad_type t = batch_type(b->op->x[k], b->n);
  if (t.rank > 0 && is_zeros(b->x[k])) return ad_zeros(b->tape, t);
  return ad_broadcast_to(b->x[k], t.rank, t.dim);
}

ad_var batch_lift(const ad_batch *b, int k) { return b->batched[k] ? b->x[k] : ad_expand(b->x[k], 0); }

ad_var batch_align(const ad_batch *b, int k, int rank) {
  const ad_type *t = b->op->x[k];
  int64_t dim[AD_MAX_RANK] = { b->n };
  const int new = rank - t->rank;
  for (int d = 0; d < rank; d++) dim[d + 1] = d < new ? 1 : t->dim[d - new];
  return ad_reshape(b->x[k], rank + 1, dim);
}

ad_var batch_result(const ad_batch *b, ad_var z) {
  const ad_type t = batch_type(&b->op->z, b->n);
  return ad_reshape(z, t.rank, t.dim);
}

typedef ad_var spread_rule(const ad_batch *b, int k);

static ad_var record_spread(const ad_batch *b, const void *attribute, size_t size, spread_rule *spread) {
  const int n = b->op->n;
  const size_t bytes = (size_t)n*sizeof *b->x;
  const ad_allocator *m = memory_of_tape(b->tape);
  ad_var few[FEW] = { { .tape = NULL } }, *x = n <= FEW ? few : memory_get(m, bytes);
  if (!x) return ad_fail(b->tape, AD_ERROR_MEMORY, "%s: out of memory", b->op->primitive->name);
  for (int k = 0; k < n; k++) x[k] = spread(b, k);
  ad_var z = ad_record(b->tape, b->op->primitive, n, x, attribute, size);
  if (x != few) memory_release(m, x, bytes);
  return z;
}

ad_var batch_record(const ad_batch *b, const void *attribute, size_t size) {
  return record_spread(b, attribute, size, batch_spread);
}

ad_var batch_leading(const ad_batch *b) { return batch_record(b, b->op->attribute, b->op->attribute_size); }

ad_var batch_along(const ad_batch *b) {
  int64_t word[SHORT_ATTRIBUTE/sizeof(int64_t)];
  if (b->op->attribute_size > sizeof word) return ad_none();
  memcpy(word, b->op->attribute, b->op->attribute_size);
  word[0]++;
  return batch_record(b, word, b->op->attribute_size);
}

ad_var batch_along_narrow(const ad_batch *b) {
  int32_t word[SHORT_ATTRIBUTE/sizeof(int32_t)];
  if (b->op->attribute_size > sizeof word) return ad_none();
  memcpy(word, b->op->attribute, b->op->attribute_size);
  word[0]++;
  return batch_record(b, word, b->op->attribute_size);
}

/* --- a trailing axis ------------------------------------------------------------------------------------ */

ad_type trail_type(const ad_type *t, int64_t n) {
  int64_t dim[AD_MAX_RANK] = { 0 };
  if (t->rank < 0 || t->rank >= AD_MAX_RANK) return ad_type_make(t->dtype, -1, NULL);
  memcpy(dim, t->dim, (size_t)t->rank*sizeof *dim);
  dim[t->rank] = n;
  return ad_type_make(t->dtype, t->rank + 1, dim);
}

ad_var trail_lift(const ad_batch *b, int k) {
  const bool plain = b->batched[k] || b->op->x[k]->rank == 0;
  return plain ? b->x[k] : ad_expand(b->x[k], -1);
}

ad_var trail_spread(const ad_batch *b, int k) {
  if (b->batched[k]) return b->x[k];
  const ad_type t = trail_type(b->op->x[k], b->n);
  if (t.rank > 0 && is_zeros(b->x[k])) return ad_zeros(b->tape, t);
  return ad_broadcast_to(trail_lift(b, k), t.rank, t.dim);
}

ad_var trail_result(const ad_batch *b, ad_var z) {
  const ad_type t = trail_type(&b->op->z, b->n);
  return ad_reshape(z, t.rank, t.dim);
}

ad_var trail_record(const ad_batch *b, const void *attribute, size_t size) {
  return record_spread(b, attribute, size, trail_spread);
}

ad_var trail_alike(const ad_batch *b) { return trail_record(b, b->op->attribute, b->op->attribute_size); }
