/* losses.c -- losses of single elements, and what becomes of them all. */
#include "adit/losses.h"

#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

#undef ad_binary_cross_entropy
#undef ad_mse
#undef ad_l1
#undef ad_huber

static ad_var as_float(ad_var x) {
  const ad_type type = ad_type_of(x);
  return type.rank >= 0 && type.dtype < AD_F32 && !operand_is_literal(x) ? ad_cast(x, AD_F64) : x;
}

static ad_var reduce(ad_var each, ad_reduction reduction, const char *name) {
  const ad_type type = ad_type_of(each);
  ad_tape *tape = ad_tape_of(1, &each);
  char text[192];
  switch (reduction) {
    case AD_NONE: return each;
    case AD_SUM:  return ad_sum(each, AD_ALL_AXES, false);
    case AD_MEAN:
      if (type.rank >= 0 && ad_type_count(type) == 0)
        return ad_fail(tape, AD_ERROR_SHAPE, "%s: there is no mean of no losses, %s", name,
                       ad_type_print(type, text, sizeof text));
      return ad_mean(each, AD_ALL_AXES, false);
  }
  return ad_fail(tape, AD_ERROR_ARGUMENT, "%s: no such reduction", name);
}

/* Both are valid, and target has the shape of x or rank 0; or the error is on the tape. */
static bool fit(const char *name, ad_var x, ad_var target) {
  const ad_var both[2] = { x, target };
  ad_type a = ad_type_of(x), b = ad_type_of(target);
  char one[192], two[192];
  if (a.rank < 0 || b.rank < 0) return false;
  a.dtype = b.dtype;
  if (b.rank == 0 || ad_type_equal(a, b)) return true;
  ad_fail(ad_tape_of(2, both), AD_ERROR_SHAPE, "%s: %s against a target of %s", name,
          ad_type_print(ad_type_of(x), one, sizeof one), ad_type_print(b, two, sizeof two));
  return false;
}

static ad_var failed(ad_var x, ad_var target) {
  const ad_var both[2] = { x, target };
  return ad_fail(ad_tape_of(2, both), AD_ERROR_HANDLE, "a loss of an invalid variable");
}

/* --- element by element --------------------------------------------------------------------------------- */

ad_var ad_mse(ad_var x, ad_var target, ad_reduction reduction) {
  if (!fit("mse", x, target)) return failed(x, target);
  return reduce(ad_square(as_float(ad_sub(as_float(x), target))), reduction, "mse");
}

ad_var ad_l1(ad_var x, ad_var target, ad_reduction reduction) {
  if (!fit("l1", x, target)) return failed(x, target);
  return reduce(ad_abs(as_float(ad_sub(as_float(x), target))), reduction, "l1");
}

/* c (d - c/2) with c = d kept within [-delta, delta]: its slope is c. */
ad_var ad_huber(ad_var x, ad_var target, double delta, ad_reduction reduction) {
  if (!fit("huber", x, target)) return failed(x, target);
  if (!(delta > 0)) {
    const ad_var both[2] = { x, target };
    return ad_fail(ad_tape_of(2, both), AD_ERROR_ARGUMENT, "huber: delta %g is not positive", delta);
  }
  const ad_var d = ad_sub(as_float(x), target);
  const ad_var c = ad_clamp(d, -delta, delta);
  return reduce(ad_mul(c, ad_sub(d, ad_mul(0.5, c))), reduction, "huber");
}

/* t softplus(-x) + (1 - t) softplus(x): nothing cancels, for t = 1 and large x neither. */
ad_var ad_binary_cross_entropy(ad_var x, ad_var target, ad_reduction reduction) {
  if (!fit("binary_cross_entropy", x, target)) return failed(x, target);
  x = as_float(x);
  if (!operand_is_literal(target) && ad_type_of(target).dtype == AD_BOOL)
    target = ad_cast(target, ad_type_of(x).dtype);
  const ad_var one = ad_mul(target, ad_softplus(ad_neg(x))), zero = ad_mul(ad_sub(1, target), ad_softplus(x));
  return reduce(ad_add(one, zero), reduction, "binary_cross_entropy");
}

/* --- along the last axis -------------------------------------------------------------------------------- */

/* weight*value, and 0 where the weight is 0 and the value infinite. */
static ad_var weighted(ad_var weight, ad_var value) {
  const ad_var off = ad_logical_and(ad_equal(weight, 0), ad_is_inf(value));
  return ad_select(off, 0, ad_mul(weight, value));
}

/* x has a last axis that is not empty, or the error is on the tape. */
static bool has_classes(const char *name, ad_var x) {
  const ad_type type = ad_type_of(x);
  char text[192];
  if (type.rank < 0) return false;
  if (type.rank > 0 && type.dim[type.rank - 1] > 0) return true;
  ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE, "%s: %s has no classes", name,
          ad_type_print(type, text, sizeof text));
  return false;
}

static ad_var of_probabilities(ad_var logits, ad_var target) {
  if (!fit("cross_entropy", logits, target)) return failed(logits, target);
  return ad_neg(ad_sum(weighted(target, ad_log_softmax(logits, -1)), AD_AXES(-1), false));
}

ad_var ad_kl_divergence(ad_var log_q, ad_var p, ad_reduction reduction) {
  if (!has_classes("kl_divergence", log_q) || !fit("kl_divergence", log_q, p)) return failed(log_q, p);
  p = as_float(p);
  const ad_var term = ad_select(ad_equal(p, 0), 0, ad_mul(p, ad_sub(ad_log(p), as_float(log_q))));
  return reduce(ad_sum(term, AD_AXES(-1), false), reduction, "kl_divergence");
}

/* --- classes -------------------------------------------------------------------------------------------- */

/* The position of the first class outside [0, classes), -1: none. */
static int64_t first_outside(ad_type type, const void *data, int64_t classes) {
  const int64_t count = ad_type_count(type);
  const int32_t *narrow = data;
  const int64_t *wide = data;
  for (int64_t i = 0; i < count; i++) {
    const int64_t k = type.dtype == AD_I64 ? wide[i] : narrow[i];
    if (k < 0 || k >= classes) return i;
  }
  return -1;
}

/* "[2, 0]" of element i */
static void print_place(ad_type type, int64_t i, char *text, size_t size) {
  int64_t index[AD_MAX_RANK];
  int at = snprintf(text, size, "[");
  for (int d = type.rank - 1; d >= 0; d--) {
    index[d] = i%type.dim[d];
    i /= type.dim[d];
  }
  for (int d = 0; d < type.rank && at < (int)size; d++)
    at += snprintf(text + at, size - (size_t)at, "%s%lld", d ? ", " : "", (long long)index[d]);
  if (at < (int)size) snprintf(text + at, size - (size_t)at, "]");
}

ad_status ad_check_classes(ad_type type, const void *data, int64_t classes, ad_report *report) {
  ad_report own, *r = report ? report : &own;
  char place[192];
  *r = (ad_report){ AD_OK, "" };
  if (!ad_type_valid(type) || (!data && ad_type_bytes(type))) r->status = AD_ERROR_ARGUMENT;
  else if (type.dtype != AD_I32 && type.dtype != AD_I64) r->status = AD_ERROR_DTYPE;
  if (r->status != AD_OK) {
    snprintf(r->message, sizeof r->message, "classes are an array of i32 or i64");
    return r->status;
  }
  const int64_t i = first_outside(type, data, classes);
  if (i < 0) return AD_OK;
  const int64_t k = type.dtype == AD_I64 ? ((const int64_t *)data)[i] : ((const int32_t *)data)[i];
  print_place(type, i, place, sizeof place);
  snprintf(r->message, sizeof r->message, "class %lld at %s is not in 0 .. %lld", (long long)k, place,
           (long long)classes - 1);
  return r->status = AD_ERROR_ARGUMENT;
}

/* The classes themselves, once they are found to be in range: a gather counts negative ones from the end. The
 * attribute is their number. */
static ad_status classes_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}

static ad_status classes_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const size_t bytes = ad_type_bytes(op->z);
  int64_t classes;
  (void)scratch;
  memcpy(&classes, op->attribute, sizeof classes);
  if (first_outside(op->z, x[0], classes) >= 0) return AD_ERROR_ARGUMENT;
  if (bytes && z != x[0]) memcpy(z, x[0], bytes);
  return AD_OK;
}

static ad_status classes_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const long long count = ad_type_count(op->z);
  int64_t classes;
  memcpy(&classes, op->attribute, sizeof classes);
  if (count == 0) return AD_OK;
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", count);
  ad_write(w, "if (%s[i] < 0 || %s[i] >= %lld) {", x[0], x[0], (long long)classes);
  ad_write_failure(w, AD_ERROR_ARGUMENT);
  ad_write(w, "}");
  if (strcmp(z, x[0])) ad_write(w, "%s[i] = %s[i];", z, x[0]);
  ad_write(w, "}");
  return AD_OK;
}

static void classes_explain(const ad_operation *op, const void *const x[], char *message, size_t size) {
  int64_t classes;
  ad_report report;
  memcpy(&classes, op->attribute, sizeof classes);
  if (ad_check_classes(op->z, x[0], classes, &report) != AD_OK) snprintf(message, size, "%s", report.message);
}

static const ad_primitive classes_primitive = {
  .name = "cross_entropy", .doc = "classes, once they are found to be in range",
  .traits = AD_TRAIT_NO_FOLD | AD_TRAIT_IN_PLACE, .not_connected = 1,
  .type = classes_type, .run = classes_run, .work = work_move,
  .explain = classes_explain, .batch = batch_leading,
  .write = classes_write
};

static ad_var of_classes(ad_var logits, ad_var target) {
  const ad_var both[2] = { logits, target };
  ad_type expected = ad_type_of(logits), given = ad_type_of(target);
  const int64_t classes = expected.dim[expected.rank - 1];
  char one[192], two[192];
  expected.dim[--expected.rank] = 0;
  expected.dtype = given.dtype;
  if (!ad_type_equal(expected, given))
    return ad_fail(ad_tape_of(2, both), AD_ERROR_SHAPE, "cross_entropy: classes are %s, not %s",
                   ad_type_print(given, two, sizeof two), ad_type_print(expected, one, sizeof one));
  const ad_var checked = ad_record(NULL, &classes_primitive, 1, &target, &classes, sizeof classes);
  const ad_var score = ad_gather(ad_log_softmax(logits, -1), ad_expand(checked, -1), -1);
  return ad_neg(ad_squeeze(score, AD_AXES(-1)));
}

ad_var ad_cross_entropy(ad_var logits, ad_var target, ad_reduction reduction) {
  const ad_var both[2] = { logits, target };
  const ad_type type = ad_type_of(target);
  if (!has_classes("cross_entropy", logits) || type.rank < 0) return failed(logits, target);
  if (operand_is_literal(target) || type.dtype == AD_BOOL)
    return ad_fail(ad_tape_of(2, both), AD_ERROR_DTYPE,
                   "cross_entropy: the target is neither classes, i32 or i64, "
                   "nor probabilities");
  const ad_var each = type.dtype >= AD_F32 ? of_probabilities(logits, target) : of_classes(logits, target);
  return reduce(each, reduction, "cross_entropy");
}
