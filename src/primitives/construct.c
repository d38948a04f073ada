/* construct.c -- arrays made from nothing but numbers: zeros, ones, full, eye, arange, linspace.
 *
 * zeros, full, eye and arange are primitives without operands: a node and a few words however big the array
 * is, and nothing to differentiate. Zeros are a primitive of their own, so that passes can tell by the node
 * (is_zeros) without looking at values.
 */
#include "primitives/construct.h"
#include "primitives/elements.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "adit/elementwise.h"
#include "primitives/work.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const ad_primitive zeros_primitive, full_primitive, eye_primitive, arange_primitive;

/* value as an element of dtype: integers truncate and saturate, nan becomes 0, bool is value != 0. */
static void put_element(ad_dtype dtype, double value, void *to) {
  const bool truth = value != 0;
  const float single = (float)value;
  const double whole = value == value ? value : 0;
  const double two_31 = 2147483648.0, two_63 = 9223372036854775808.0;
  const int32_t half = whole >= two_31 ? INT32_MAX : whole <= -two_31 ? INT32_MIN : (int32_t)whole;
  const int64_t full = whole >= two_63 ? INT64_MAX : whole <= -two_63 ? INT64_MIN : (int64_t)whole;
  const uint8_t byte = truth;
  const void *const from[AD_DTYPES] = { &byte, &half, &full, &single, &value };
  memcpy(to, from[dtype], ad_dtype_bytes(dtype));
}

/* --- zeros and full: the attribute is dtype, the element's bits, and the dimensions --------------------- */

typedef struct filling {
  int64_t dtype;
  uint64_t element;
  int64_t dim[AD_MAX_RANK];
} filling;

static ad_status full_type(ad_operation *op) {
  const filling *a = op->attribute;
  const int rank = (int)((op->attribute_size - offsetof(filling, dim))/sizeof *a->dim);
  op->z = ad_type_make((ad_dtype)a->dtype, rank, a->dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static ad_status zeros_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)x, (void)scratch;
  const size_t bytes = ad_type_bytes(op->z);
  if (bytes) memset(z, 0, bytes);
  return AD_OK;
}

static ad_status full_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)x, (void)scratch;
  const filling *a = op->attribute;
  strided_fill(ad_type_count(op->z), ad_dtype_bytes(op->z.dtype), z, &a->element);
  return AD_OK;
}

static ad_status zeros_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  (void)x;
  write_fill(w, ad_type_count(op->z), z, "0");
  return AD_OK;
}

static ad_status full_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char value[WRITTEN_INDEX];
  (void)x;
  write_fill(w, ad_type_count(op->z), z,
             written_value(w, value, op->z.dtype, &((const filling *)op->attribute)->element));
  return AD_OK;
}

static const ad_primitive zeros_primitive = {
  .name = "zeros", .doc = "an array of zeros",
  .traits = AD_TRAIT_NO_FOLD | AD_TRAIT_NEVER_FAILS, .type = full_type,
  .run = zeros_run, .work = work_move, .write = zeros_write, .elements = constant_elements };
static const ad_primitive full_primitive = {
  .name = "full", .doc = "an array of one number",
  .traits = AD_TRAIT_NO_FOLD | AD_TRAIT_NEVER_FAILS, .type = full_type,
  .run = full_run, .work = work_move, .write = full_write, .elements = constant_elements };

/* Names of primitives are static strings: the same pointer is the same primitive. */
bool is_zeros(ad_var x) { return !operand_is_literal(x) && ad_operation_name(x) == zeros_primitive.name; }

bool construct_is_filled(const ad_operation *op, uint64_t *element) {
  if (op->primitive != &zeros_primitive && op->primitive != &full_primitive) return false;
  *element = ((const filling *)op->attribute)->element;
  return true;
}

static ad_var refuse_type(ad_tape *tape, const char *name) {
  return ad_fail(tape, AD_ERROR_SIZE,
                 "%s: not a type adit can hold (rank 0 to %d, no negative sizes, no overflow)", name,
                 AD_MAX_RANK);
}

static ad_var fill_type(ad_tape *tape, const char *name, ad_type type, double value) {
  filling a = { .dtype = (int64_t)type.dtype };
  if (!ad_type_valid(type)) return refuse_type(tape, name);
  put_element(type.dtype, value, &a.element);
  if (type.rank == 0) return ad_constant(tape, type, &a.element);
  memcpy(a.dim, type.dim, (size_t)type.rank*sizeof *a.dim);
  return ad_record(tape, a.element ? &full_primitive : &zeros_primitive, 0, NULL, &a,
                   offsetof(filling, dim) + (size_t)type.rank*sizeof *a.dim);
}

ad_var ad_zeros(ad_tape *tape, ad_type type) { return fill_type(tape, "zeros", type, 0); }
ad_var ad_ones(ad_tape *tape, ad_type type) { return fill_type(tape, "ones", type, 1); }
ad_var ad_full(ad_tape *tape, ad_type type, double value) { return fill_type(tape, "full", type, value); }

/* --- eye: z[i, j] = 1 where j - i = k ------------------------------------------------------------------- */

typedef struct diagonal { int64_t n, m, k, dtype; } diagonal;

static ad_status eye_type(ad_operation *op) {
  const diagonal *a = op->attribute;
  const int64_t dim[2] = { a->n, a->m };
  if (a->n < 0 || a->m < 0)
    return ad_refuse(op, AD_ERROR_ARGUMENT, "a negative size, (%lld,%lld)", (long long)a->n, (long long)a->m);
  if (ad_dtype_bytes((ad_dtype)a->dtype) == 0) return ad_refuse(op, AD_ERROR_DTYPE, "no such data type");
  op->z = ad_type_make((ad_dtype)a->dtype, 2, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

/* The number of ones, 0 or less if there are none, and where the first is. */
static int64_t eye_length(const diagonal *a, int64_t *first) {
  const int64_t row = a->k < 0 ? -a->k : 0, column = a->k > 0 ? a->k : 0;
  const int64_t down = a->n - row, right = a->m - column;
  *first = row*a->m + column;
  return down < right ? down : right;
}

static ad_status eye_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const diagonal *a = op->attribute;
  const size_t width = ad_dtype_bytes(op->z.dtype);
  int64_t first;
  const int64_t length = eye_length(a, &first);
  uint64_t one = 0;
  put_element(op->z.dtype, 1, &one);
  zeros_run(op, z, x, scratch);
  if (length > 0) strided_copy_line(width)(length, (char *)z + (size_t)first*width, a->m + 1, &one, 0);
  return AD_OK;
}

static ad_status eye_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const diagonal *a = op->attribute;
  int64_t first;
  const int64_t length = eye_length(a, &first);
  zeros_write(w, op, z, x);
  if (length > 0)
    ad_write(w, "for (int64_t i = 0; i < %lld; i++) %s[%lld + i*%lld] = 1;", (long long)length, z,
             (long long)first, (long long)a->m + 1);
  return AD_OK;
}

static const ad_primitive eye_primitive = {
  .name = "eye", .doc = "ones on a diagonal, zeros elsewhere", .traits = AD_TRAIT_NEVER_FAILS,
  .type = eye_type, .run = eye_run, .work = work_move,
  .write = eye_write, .elements = constant_elements };

ad_var ad_eye(ad_tape *tape, int64_t n, int64_t m, int k, ad_dtype dtype) {
  const diagonal a = { n, m, k, (int64_t)dtype };
  return ad_record(tape, &eye_primitive, 0, NULL, &a, sizeof a);
}

/* --- arange: z[i] = start + i*step ---------------------------------------------------------------------- */

/* With whole start and step in an integer type the arithmetic is exact; else it is done in double, each
 * element by itself, and converted. */
typedef struct progression { double start, step; int64_t count, dtype; } progression;

static ad_status arange_type(ad_operation *op) {
  const progression *a = op->attribute;
  op->z = ad_type_make((ad_dtype)a->dtype, 1, &a->count);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static bool is_whole(double v) { return v == floor(v) && fabs(v) < 9.2e18; }

static ad_status arange_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)x, (void)scratch;
  const progression *a = op->attribute;
  const double start = a->start, step = a->step;
  if (op->z.dtype == AD_F64) {
    for (int64_t i = 0; i < a->count; i++) ((double *)z)[i] = start + (double)i*step;
  } else if (op->z.dtype == AD_F32) {
    for (int64_t i = 0; i < a->count; i++) ((float *)z)[i] = (float)(start + (double)i*step);
  } else if (op->z.dtype == AD_I64 && is_whole(start) && is_whole(step)) {
    for (int64_t i = 0; i < a->count; i++) ((int64_t *)z)[i] = (int64_t)start + i*(int64_t)step;
  } else {
    const size_t width = ad_dtype_bytes(op->z.dtype);
    for (int64_t i = 0; i < a->count; i++)
      put_element(op->z.dtype, start + (double)i*step, (char *)z + (size_t)i*width);
  }
  return AD_OK;
}

/* start + i*step: in integers where both are whole and the result is, else in the file's real numbers. */
static void written_element(ad_writer *w, const ad_operation *op, char to[WRITTEN_INDEX]) {
  const progression *a = op->attribute;
  const double ends[2] = { a->start, a->step };
  if (op->z.dtype < AD_F32 && is_whole(a->start) && is_whole(a->step))
    snprintf(to, WRITTEN_INDEX, "INT64_C(%lld) + i*INT64_C(%lld)", (long long)a->start, (long long)a->step);
  else {
    const char *end = ad_write_constants(w, AD_F64, ends, 2);
    snprintf(to, WRITTEN_INDEX, "%s[0] + (%s)i*%s[1]", end, ad_write_type(AD_F64), end);
  }
}

static ad_status arange_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int64_t count = ad_type_count(op->z);
  char element[WRITTEN_INDEX];
  (void)x;
  if (count == 0) return AD_OK;
  written_element(w, op, element);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) %s[i] = (%s)(%s%s);", (long long)count, z,
           ad_write_type(op->z.dtype), element, op->z.dtype == AD_BOOL ? " != 0" : "");
  return AD_OK;
}

static void arange_work(const ad_operation *op, ad_work *w) { w->flops = 2*(double)ad_type_count(op->z); }

static const ad_primitive arange_primitive = {
  .name = "arange", .doc = "numbers at equal distances",
  .type = arange_type, .run = arange_run, .work = arange_work,
  .write = arange_write, .elements = constant_elements };

static bool fits_dtype(double v, ad_dtype dtype) {
  if (dtype == AD_I32) return v > -2147483649.0 && v < 2147483648.0;
  if (dtype == AD_I64) return v >= -9223372036854775808.0 && v < 9223372036854775808.0;
  return true;
}

/* The number of elements, ceil((stop - start)/step), none where step leads away from stop. */
ad_var ad_arange(ad_tape *tape, double start, double stop, double step, ad_dtype dtype) {
  const double count = ceil((stop - start)/step);
  if (dtype == AD_BOOL || ad_dtype_bytes(dtype) == 0)
    return ad_fail(tape, AD_ERROR_DTYPE, "arange: %s is not a type of numbers", ad_dtype_name(dtype));
  if (step == 0 || !isfinite(start) || !isfinite(stop) || !isfinite(step))
    return ad_fail(tape, AD_ERROR_ARGUMENT, "arange: no such numbers, from %g to %g by %g", start, stop,
                   step);
  if (count > 9e18) return ad_fail(tape, AD_ERROR_SIZE, "arange: too many numbers, from %g to %g by %g",
                                   start, stop, step);
  const progression a = { start, step, count > 0 ? (int64_t)count : 0, (int64_t)dtype };
  if (a.count > 0 && (!fits_dtype(start, dtype) || !fits_dtype(start + (double)(a.count - 1)*step, dtype)))
    return ad_fail(tape, AD_ERROR_ARGUMENT, "arange: numbers from %g to %g do not fit into %s", start, stop,
                   ad_dtype_name(dtype));
  return ad_record(tape, &arange_primitive, 0, NULL, &a, sizeof a);
}

/* --- linspace: z[i] = start*(n-1-i)/(n-1) + stop*i/(n-1) ------------------------------------------------ */

/* Both ends come out exactly, and linspace(a, b) is linspace(b, a) backwards. */
static ad_var end_weights(ad_tape *tape, int64_t n, bool of_stop, ad_dtype dtype) {
  const double last = (double)(n - 1);
  ad_var steps = of_stop ? ad_arange(tape, 0, (double)n, 1, AD_F64) : ad_arange(tape, last, -1, -1, AD_F64);
  return operand_with_dtype(tape, ad_div(steps, ad_real(last)), dtype);
}

ad_var ad_linspace(ad_var start, ad_var stop, int64_t n) {
  ad_var end[2] = { start, stop };
  ad_tape *tape = ad_tape_of(2, end);
  ad_type a = ad_type_of(start), b = ad_type_of(stop);
  if (n < 0) return ad_fail(tape, AD_ERROR_ARGUMENT, "linspace: %lld points", (long long)n);
  if (a.rank > 0 || b.rank > 0) return ad_fail(tape, AD_ERROR_SHAPE, "linspace: the ends must be scalars");
  if (!tape) return ad_fail(tape, AD_ERROR_ARGUMENT, "linspace: no tape, both ends are numbers");
  if (a.rank < 0 || b.rank < 0 || !ad_type_valid(ad_type_make(AD_F64, 1, &n)))
    return a.rank < 0 || b.rank < 0 ? ad_add(start, stop) : refuse_type(tape, "linspace");
  ad_dtype dtype = operands_dtype(2, end);
  if (dtype < AD_F32) dtype = AD_F64;
  for (int k = 0; k < 2; k++) end[k] = operand_with_dtype(tape, end[k], dtype);
  if (n < 2) return ad_broadcast_to(end[0], 1, &n);
  ad_var near = ad_mul(end[0], end_weights(tape, n, false, dtype));
  return ad_add(near, ad_mul(end[1], end_weights(tape, n, true, dtype)));
}
