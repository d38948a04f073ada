/* discrete.c -- choices: yes or no, whole numbers, categories, orders. None of them has a derivative but
 * shuffle, which is linear. */
#include "random/record.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/operands.h"

#undef ad_random_bernoulli

static ad_type with_dtype(ad_type type, ad_dtype dtype) {
  type.dtype = dtype;
  return type;
}

/* u < p with u uniform in f64: its steps of 2^-53 are fine enough for any p of a float. */
ad_var ad_random_bernoulli(ad_var key, ad_var probability, ad_type type) {
  static const char name[] = "random_bernoulli";
  ad_var x[2] = { key, probability };
  ad_tape *tape = ad_tape_of(2, x);
  if (!ad_type_valid(type)) return ad_fail(tape, AD_ERROR_SIZE, "%s: not a type adit can hold", name);
  const ad_type wide = with_dtype(type, AD_F64);
  probability = random_parameter(tape, name, "the probability", probability, wide);
  if (!ad_is_valid(probability)) return probability;
  return ad_cast(ad_less(random_standard(tape, name, RANDOM_UNIFORM, key, wide), probability), type.dtype);
}

ad_var ad_random_integers(ad_var key, int64_t low, int64_t high, ad_type type) {
  static const char name[] = "random_integers";
  char text[192];
  ad_tape *tape = ad_tape_of(1, &key);
  const uint64_t count = (uint64_t)high - (uint64_t)low;
  if (type.dtype != AD_I32 && type.dtype != AD_I64 && ad_type_valid(type))
    return ad_fail(tape, AD_ERROR_DTYPE, "%s: i32 or i64, not %s", name,
                   ad_type_print(type, text, sizeof text));
  if (low >= high || count > (uint64_t)1 << 53)
    return ad_fail(tape, AD_ERROR_ARGUMENT, "%s: no numbers, or more than 2^53, from %lld to %lld - 1", name,
                   (long long)low, (long long)high);
  if (type.dtype == AD_I32 && (low < INT32_MIN || high - 1 > INT32_MAX))
    return ad_fail(tape, AD_ERROR_ARGUMENT, "%s: %lld to %lld - 1 do not fit into i32", name, (long long)low,
                   (long long)high);
  const ad_var u = random_standard(tape, name, RANDOM_UNIFORM, key, with_dtype(type, AD_F64));
  const ad_var step = ad_cast(ad_floor(ad_mul(u, (double)count)), AD_I64);
  return ad_cast(low == 0 ? step : ad_add(step, low), type.dtype);
}

/* The Gumbel-max trick: argmax of logits + noise. */
ad_var ad_random_categorical(ad_var key, ad_var logits, ad_type type) {
  static const char name[] = "random_categorical";
  char text[192], other[192];
  ad_var x[2] = { key, logits };
  ad_tape *tape = ad_tape_of(2, x);
  const ad_type l = ad_type_of(logits);
  if (l.rank < 0) return random_failed(tape);
  if (!ad_type_valid(type)) return ad_fail(tape, AD_ERROR_SIZE, "%s: not a type adit can hold", name);
  if (type.dtype != AD_I32 && type.dtype != AD_I64)
    return ad_fail(tape, AD_ERROR_DTYPE, "%s: indices are i32 or i64, not %s", name,
                   ad_type_print(type, text, sizeof text));
  if (l.rank == 0 || l.dim[l.rank - 1] == 0 || type.rank == AD_MAX_RANK)
    return ad_fail(tape, AD_ERROR_SHAPE, "%s: no axis of categories, or no room for one: logits %s for %s",
                   name, ad_type_print(l, text, sizeof text), ad_type_print(type, other, sizeof other));
  ad_type wide = with_dtype(type, l.dtype == AD_F32 ? AD_F32 : AD_F64);
  wide.dim[wide.rank++] = l.dim[l.rank - 1];
  wide = ad_type_make(wide.dtype, wide.rank, wide.dim);
  if (!ad_type_valid(wide)) return ad_fail(tape, AD_ERROR_SIZE, "%s: the noise is too big", name);
  logits = random_parameter(tape, name, "logits", logits, wide);
  if (!ad_is_valid(logits)) return logits;
  const ad_var noise = random_standard(tape, name, RANDOM_GUMBEL, key, wide);
  return ad_cast(ad_argmax(ad_add(logits, noise), -1, false), type.dtype);
}

/* Two equal words among n have probability n^2/2^65; the stable order then leaves these two as they were. */
ad_var ad_random_permutation(ad_var key, int64_t n) {
  static const char name[] = "random_permutation";
  ad_tape *tape = ad_tape_of(1, &key);
  ad_type type = ad_type_of(key);
  if (type.rank < 0) return random_failed(tape);
  if (n < 0) return ad_fail(tape, AD_ERROR_ARGUMENT, "%s: of %lld numbers", name, (long long)n);
  if (type.rank == AD_MAX_RANK) return ad_fail(tape, AD_ERROR_SIZE, "%s: no room for one more axis", name);
  type.dim[type.rank] = n;
  type = ad_type_make(AD_I64, type.rank + 1, type.dim);
  if (!ad_type_valid(type)) return ad_fail(tape, AD_ERROR_SIZE, "%s: the result is too big", name);
  return ad_argsort(random_standard(tape, name, RANDOM_BITS, key, type), -1, false);
}

ad_var ad_random_shuffle(ad_var key, ad_var x, int axis) {
  ad_var operand[2] = { key, x };
  ad_tape *tape = ad_tape_of(2, operand);
  const ad_type t = ad_type_of(x), k = ad_type_of(key);
  const int64_t along = axis_or_given(axis, t.rank);
  if (t.rank < 0 || k.rank < 0) return random_failed(tape);
  if (along < 0 || along >= t.rank) return fail_axis(x, "random_shuffle", axis);
  if (k.rank > 0) return ad_fail(tape, AD_ERROR_SHAPE, "random_shuffle: one key, of rank 0");
  return ad_take(x, ad_random_permutation(key, t.dim[along]), (int)along);
}
