/* random.c -- samples as operations: bits, and the distributions that are a location and a scale.
 *
 * Standard samples are primitives of a key: integers in, so nothing to differentiate. Location and scale are
 * recorded around them, and numbers that change nothing are left out.
 */
#include "random/record.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/work.h"
#include "random/random_text.h"
#include "random/sample.h"

#include <string.h>

#undef ad_random_uniform
#undef ad_random_normal
#undef ad_random_exponential
#undef ad_random_laplace
#undef ad_random_gumbel

static const ad_primitive samplers[RANDOM_SAMPLERS];

/* --- standard samples: key (..) -> (.., dim) ------------------------------------------------------------ */

/* The dtype, and the dimensions of what each key makes. */
typedef struct sampler_attribute {
  int64_t dtype;
  int64_t dim[AD_MAX_RANK];
} sampler_attribute;

static int attribute_rank(const ad_operation *op) {
  return (int)((op->attribute_size - offsetof(sampler_attribute, dim))/sizeof(int64_t));
}

static ad_status sampler_type(ad_operation *op) {
  const sampler_attribute *a = op->attribute;
  const ad_type *key = op->x[0];
  const int rank = attribute_rank(op);
  int64_t dim[AD_MAX_RANK];
  char text[192];
  if (key->dtype != AD_I64)
    return ad_refuse(op, AD_ERROR_DTYPE, "a key is i64, not %s", ad_type_print(*key, text, sizeof text));
  if (key->rank + rank > AD_MAX_RANK) return ad_refuse(op, AD_ERROR_SIZE, "more than %d axes", AD_MAX_RANK);
  for (int d = 0; d < key->rank; d++) dim[d] = key->dim[d];
  for (int d = 0; d < rank; d++) dim[key->rank + d] = a->dim[d];
  op->z = ad_type_make((ad_dtype)a->dtype, key->rank + rank, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static ad_status sampler_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const random_draw draw = {
    .purpose = (random_purpose)(op->primitive - samplers), .wide = ad_dtype_bytes(op->z.dtype) == 8,
    .keys = ad_type_count(*op->x[0]), .each = axes_product(&op->z, op->x[0]->rank, op->z.rank), .key = x[0] };
  random_sample(random_kernels_best(), &draw, 0, z);
  return AD_OK;
}

static ad_status sampler_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int64_t each = axes_product(&op->z, op->x[0]->rank, op->z.rank);
  return write_samples(w, op, (random_purpose)(op->primitive - samplers), each, z, x[0]);
}

#define SAMPLER(id, text)                                                                                    \
  { .name = #id, .doc = text, .traits = AD_TRAIT_NO_FOLD, .not_connected = 1, .type = sampler_type,          \
    .run = sampler_run, .work = work_call, .batch = batch_leading, .write = sampler_write }
static const ad_primitive samplers[RANDOM_SAMPLERS] = {
  [RANDOM_BITS] = SAMPLER(random_bits, "random integers"),
  [RANDOM_UNIFORM] = SAMPLER(random_uniform, "random numbers, uniform on [0, 1)"),
  [RANDOM_NORMAL] = SAMPLER(random_normal, "random numbers, standard normal"),
  [RANDOM_EXPONENTIAL] = SAMPLER(random_exponential, "random numbers, exponential of rate 1"),
  [RANDOM_LAPLACE] = SAMPLER(random_laplace, "random numbers, standard Laplace"),
  [RANDOM_GUMBEL] = SAMPLER(random_gumbel, "random numbers, standard Gumbel") };

/* --- arguments ------------------------------------------------------------------------------------------ */

ad_var random_failed(ad_tape *tape) { return ad_fail(tape, AD_ERROR_HANDLE, "a variable is invalid"); }

bool random_is_number(ad_var x, double value) {
  return operand_is_literal(x) && (x.tape ? (double)x.at.integer : x.at.real) == value;
}

bool random_is_float(ad_tape *tape, const char *name, ad_type type) {
  char text[192];
  if (!ad_type_valid(type)) {
    ad_fail(tape, AD_ERROR_SIZE, "%s: not a type adit can hold", name);
    return false;
  }
  if (type.dtype >= AD_F32) return true;
  ad_fail(tape, AD_ERROR_DTYPE, "%s: samples are f32 or f64, not %s", name,
          ad_type_print(type, text, sizeof text));
  return false;
}

/* True where the shape of t broadcasts to that of type. */
static bool fits(ad_type t, ad_type type) {
  ad_type both;
  return ad_type_broadcast(type, t, &both) == AD_OK && ad_type_equal(both, type);
}

ad_var random_parameter(ad_tape *tape, const char *name, const char *what, ad_var x, ad_type type) {
  char text[192], other[192];
  if (operand_is_literal(x)) return x;
  const ad_type t = ad_type_of(x);
  if (t.rank < 0) return random_failed(tape);
  if (fits(t, type)) return cast_to(x, type.dtype);
  return ad_fail(tape, AD_ERROR_SHAPE, "%s: %s is %s, which does not broadcast to %s", name, what,
                 ad_type_print(t, text, sizeof text), ad_type_print(type, other, sizeof other));
}

/* The shape of key is that of the first axes of type. */
static bool key_fits(ad_type key, ad_type type) {
  if (key.rank > type.rank) return false;
  for (int d = 0; d < key.rank; d++)
    if (key.dim[d] != type.dim[d]) return false;
  return true;
}

ad_var random_standard(ad_tape *tape, const char *name, random_purpose purpose, ad_var key, ad_type type) {
  char text[192], other[192];
  const ad_type k = ad_type_of(key);
  sampler_attribute a;
  memset(&a, 0, sizeof a);
  if (k.rank < 0) return random_failed(tape);
  if (!ad_type_valid(type)) return ad_fail(tape, AD_ERROR_SIZE, "%s: not a type adit can hold", name);
  if (!key_fits(k, type))
    return ad_fail(tape, AD_ERROR_SHAPE, "%s: the keys are %s, which is not how %s begins", name,
                   ad_type_print(k, text, sizeof text), ad_type_print(type, other, sizeof other));
  const size_t rank = (size_t)(type.rank - k.rank);
  a.dtype = (int64_t)type.dtype;
  if (rank) memcpy(a.dim, type.dim + k.rank, rank*sizeof *a.dim);
  const size_t size = offsetof(sampler_attribute, dim) + rank*sizeof *a.dim;
  return ad_record(tape, &samplers[purpose], 1, &key, &a, size);
}

/* --- distributions -------------------------------------------------------------------------------------- */

ad_var ad_random_bits(ad_var key, ad_type type) {
  char text[192];
  ad_tape *tape = ad_tape_of(1, &key);
  if (ad_type_valid(type) && type.dtype != AD_I32 && type.dtype != AD_I64)
    return ad_fail(tape, AD_ERROR_DTYPE, "random_bits: bits are i32 or i64, not %s",
                   ad_type_print(type, text, sizeof text));
  return random_standard(tape, "random_bits", RANDOM_BITS, key, type);
}

/* location + scale e */
static ad_var location_scale(random_purpose purpose, const char *const what[2], ad_var key, ad_var location,
                             ad_var scale, ad_type type) {
  ad_var x[3] = { key, location, scale };
  ad_tape *tape = ad_tape_of(3, x);
  const char *name = samplers[purpose].name;
  if (!random_is_float(tape, name, type)) return random_failed(tape);
  for (int k = 0; k < 2; k++) {
    x[k + 1] = random_parameter(tape, name, what[k], x[k + 1], type);
    if (!ad_is_valid(x[k + 1])) return x[k + 1];
  }
  ad_var z = random_standard(tape, name, purpose, key, type);
  if (!random_is_number(x[2], 1)) z = ad_mul(x[2], z);
  return random_is_number(x[1], 0) ? z : ad_add(x[1], z);
}

/* high - low comes out of numbers or variables alike. */
ad_var ad_random_uniform(ad_var key, ad_var low, ad_var high, ad_type type) {
  static const char *const what[2] = { "low", "high" };
  ad_var x[3] = { key, low, high };
  ad_tape *tape = ad_tape_of(3, x);
  if (!random_is_float(tape, "random_uniform", type)) return random_failed(tape);
  for (int k = 0; k < 2; k++) {
    x[k + 1] = random_parameter(tape, "random_uniform", what[k], x[k + 1], type);
    if (!ad_is_valid(x[k + 1])) return x[k + 1];
  }
  return location_scale(RANDOM_UNIFORM, what, key, x[1], ad_sub(x[2], x[1]), type);
}

ad_var ad_random_normal(ad_var key, ad_var mean, ad_var deviation, ad_type type) {
  static const char *const what[2] = { "the mean", "the deviation" };
  return location_scale(RANDOM_NORMAL, what, key, mean, deviation, type);
}

ad_var ad_random_laplace(ad_var key, ad_var location, ad_var scale, ad_type type) {
  static const char *const what[2] = { "the location", "the scale" };
  return location_scale(RANDOM_LAPLACE, what, key, location, scale, type);
}

ad_var ad_random_gumbel(ad_var key, ad_var location, ad_var scale, ad_type type) {
  static const char *const what[2] = { "the location", "the scale" };
  return location_scale(RANDOM_GUMBEL, what, key, location, scale, type);
}

ad_var ad_random_exponential(ad_var key, ad_var rate, ad_type type) {
  const char *name = samplers[RANDOM_EXPONENTIAL].name;
  ad_var x[2] = { key, rate };
  ad_tape *tape = ad_tape_of(2, x);
  if (!random_is_float(tape, name, type)) return random_failed(tape);
  rate = random_parameter(tape, name, "the rate", rate, type);
  if (!ad_is_valid(rate)) return rate;
  const ad_var e = random_standard(tape, name, RANDOM_EXPONENTIAL, key, type);
  return random_is_number(rate, 1) ? e : ad_div(e, rate);
}
