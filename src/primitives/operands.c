/* operands.c -- bringing the operands of joins, pads and additions to one type. */
#include "primitives/operands.h"
#include "primitives/axes.h"

#include <string.h>

bool operand_is_literal(ad_var x) { return x.tape == NULL || x.tape == AD_INTEGER_LITERAL_; }

static ad_dtype smallest_integer_type(int64_t value) {
  if (value == 0 || value == 1) return AD_BOOL;
  return value >= INT32_MIN && value <= INT32_MAX ? AD_I32 : AD_I64;
}

ad_dtype operands_dtype(int n, const ad_var x[]) {
  ad_dtype dtype = AD_BOOL, holds = AD_BOOL;
  bool real = false, strong = false;
  for (int k = 0; k < n; k++) {
    if (!operand_is_literal(x[k])) {
      ad_type t = ad_type_of(x[k]);
      if (t.rank >= 0 && t.dtype > dtype) dtype = t.dtype;
      strong = true;
    } else if (x[k].tape == NULL) real = true;
    else if (smallest_integer_type(x[k].at.integer) > holds) holds = smallest_integer_type(x[k].at.integer);
  }
  if (real) return dtype < AD_F32 ? AD_F64 : dtype;
  if (!strong) return AD_I64;
  return holds > dtype ? holds : dtype;
}

static ad_var constant_of(ad_tape *tape, ad_var x, ad_dtype dtype) {
  const bool real = x.tape == NULL;
  const double value = real ? x.at.real : (double)x.at.integer;
  const float single = (float)value;
  const int64_t whole = real ? 0 : x.at.integer;
  const int32_t half = (int32_t)whole;
  const uint8_t truth = value != 0;
  const void *const data[AD_DTYPES] = { &truth, &half, &whole, &single, &value };
  return ad_constant(tape, ad_type_make(dtype, 0, NULL), data[dtype]);
}

ad_var operand_with_dtype(ad_tape *tape, ad_var x, ad_dtype dtype) {
  if (operand_is_literal(x)) return constant_of(tape, x, dtype);
  return ad_is_valid(x) ? cast_to(x, dtype) : x;
}

ad_var operand_with_shape(ad_var x, const ad_type *type) {
  ad_type t = ad_type_of(x), want = *type, both;
  if (t.rank < 0 || type->rank < 0) return x;
  want.dtype = t.dtype;
  if (ad_type_equal(t, want) || ad_type_broadcast(t, want, &both) != AD_OK) return x;
  if (!ad_type_equal(both, want)) return x;
  return ad_broadcast_to(x, want.rank, want.dim);
}

ad_var zeros_like_cotangent(const ad_rule *r, const ad_type *type) {
  return ad_zeros(r->tape, type_with_dtype(type, ad_type_of(r->g).dtype));
}

ad_status refuse_axis(ad_operation *op, int64_t axis, const ad_type *type) {
  char text[192];
  return ad_refuse(op, AD_ERROR_ARGUMENT, "axis %lld is not in %s", (long long)axis,
                   ad_type_print(*type, text, sizeof text));
}

ad_var fail_axis(ad_var x, const char *name, int axis) {
  char text[192];
  return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: axis %d is not in %s", name, axis,
                 ad_type_print(ad_type_of(x), text, sizeof text));
}

int64_t axis_or_given(int axis, int rank) {
  int resolved = axis_resolve(axis, rank);
  return resolved < 0 ? axis : resolved;
}
