/* key.c -- keys as variables: made, split, and numbered. */
#include "random/random_text.h"

#include "adit/arrays.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/work.h"

#include <stdio.h>

#undef ad_key_fold

ad_var ad_key(ad_tape *tape, uint64_t seed) { return ad_array(tape, ad_type_make(AD_I64, 0, NULL), &seed); }

static ad_status refuse_key(ad_operation *op) {
  char text[192];
  return ad_refuse(op, AD_ERROR_DTYPE, "a key is i64, not %s", ad_type_print(*op->x[0], text, sizeof text));
}

/* --- split: z[.., i] = the key number i of key[..] ------------------------------------------------------ */

static ad_status split_type(ad_operation *op) {
  const int64_t n = *(const int64_t *)op->attribute;
  const ad_type *key = op->x[0];
  int64_t dim[AD_MAX_RANK];
  if (key->dtype != AD_I64) return refuse_key(op);
  if (n < 0) return ad_refuse(op, AD_ERROR_ARGUMENT, "%lld keys", (long long)n);
  for (int d = 0; d < key->rank; d++) dim[d] = key->dim[d];
  if (key->rank < AD_MAX_RANK) dim[key->rank] = n;
  op->z = ad_type_make(AD_I64, key->rank < AD_MAX_RANK ? key->rank + 1 : -1, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static ad_status split_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int64_t n = *(const int64_t *)op->attribute, keys = ad_type_count(*op->x[0]);
  const uint64_t *key = x[0];
  uint64_t *to = z;
  for (int64_t k = 0; k < keys; k++)
    for (int64_t i = 0; i < n; i++) *to++ = philox_key(key[k], (uint64_t)i, RANDOM_SPLIT);
  return AD_OK;
}

static ad_status split_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char from[32], index[32];
  const long long n = (long long)*(const int64_t *)op->attribute;
  snprintf(from, sizeof from, "i/%lld", n);
  snprintf(index, sizeof index, "(i%%%lld)", n);
  write_keys(w, RANDOM_SPLIT, ad_type_count(op->z), z, x[0], from, index);
  return AD_OK;
}

static const ad_primitive split_primitive = {
  .name = "key_split", .doc = "several random keys made of each key", .traits = AD_TRAIT_NO_FOLD,
  .not_connected = 1, .type = split_type, .run = split_run, .work = work_call, .batch = batch_leading,
  .write = split_write };

ad_var ad_key_split(ad_var key, int64_t n) {
  return ad_record(NULL, &split_primitive, 1, &key, &n, sizeof n);
}

/* --- fold: z[i] = the key number counter[i] of key[i] --------------------------------------------------- */

static ad_status fold_type(ad_operation *op) {
  char text[192];
  if (op->x[0]->dtype != AD_I64) return refuse_key(op);
  if (op->x[1]->dtype != AD_I64)
    return ad_refuse(op, AD_ERROR_DTYPE, "a counter is i32 or i64, not %s",
                     ad_type_print(*op->x[1], text, sizeof text));
  if (!ad_type_equal(*op->x[0], *op->x[1]))
    return ad_refuse(op, AD_ERROR_SHAPE, "key and counter do not broadcast");
  op->z = *op->x[0];
  return AD_OK;
}

static ad_status fold_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int64_t n = ad_type_count(op->z);
  const uint64_t *key = x[0], *counter = x[1];
  uint64_t *to = z;
  for (int64_t i = 0; i < n; i++) to[i] = philox_key(key[i], counter[i], RANDOM_FOLD);
  return AD_OK;
}

static ad_status fold_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char counter[128];
  snprintf(counter, sizeof counter, "%s[i]", x[1]);
  write_keys(w, RANDOM_FOLD, ad_type_count(op->z), z, x[0], "i", counter);
  return AD_OK;
}

static const ad_primitive fold_primitive = {
  .name = "key_fold", .doc = "a random key made of a key and a number", .traits = AD_TRAIT_NO_FOLD,
  .not_connected = 3, .type = fold_type, .run = fold_run, .work = work_call, .batch = batch_leading,
  .write = fold_write };

ad_var ad_key_fold(ad_var key, ad_var counter) {
  ad_var x[2] = { key, counter };
  ad_tape *tape = ad_tape_of(2, x);
  for (int k = 0; k < 2 && tape; k++) {
    const bool whole = x[k].tape == AD_INTEGER_LITERAL_;
    if (whole || (k == 1 && ad_type_of(x[k]).dtype == AD_I32)) x[k] = operand_with_dtype(tape, x[k], AD_I64);
  }
  const ad_type a = ad_type_of(x[0]), b = ad_type_of(x[1]);
  ad_type both;
  if (a.rank >= 0 && b.rank >= 0 && ad_type_broadcast(a, b, &both) == AD_OK)
    for (int k = 0; k < 2; k++) x[k] = operand_with_shape(x[k], &both);
  return ad_record(tape, &fold_primitive, 2, x, NULL, 0);
}
