/* clip.c -- gradients kept within bounds: of their norm, of each element. */
#include "adit/arrays.h"
#include "adit/optimisers.h"
#include "adit/primitive.h"
#include "base/memory.h"
#include "learn/hyperparameter.h"

static ad_status all_invalid(ad_tape *tape, int n, ad_var out[]) {
  const ad_status status = tape ? ad_tape_status(tape) : AD_ERROR_ARGUMENT;
  for (int i = 0; i < n; i++) out[i] = ad_fail(tape, status, "clip");
  return status == AD_OK ? AD_ERROR_HANDLE : status;
}

static ad_tape *tape_of(int n, const ad_var x[]) { return x ? ad_tape_of(n, x) : NULL; }

/* Norms of the norms of arrays: neither step squares what could overflow. */
ad_var ad_global_norm(int n, const ad_var x[]) {
  ad_tape *tape = tape_of(n, x);
  if (!tape) return ad_real(0);
  const size_t bytes = (size_t)n*sizeof(ad_var);
  ad_var *norm = memory_get(&tape->allocator, bytes);
  if (!norm) return ad_fail(tape, AD_ERROR_MEMORY, "global norm: out of memory");
  int used = 0;
  for (int i = 0; i < n; i++)
    if (!ad_is_none(x[i])) norm[used++] = beside(ad_norm(x[i], AD_ALL_AXES, false), AD_F64);
  const ad_var all = used == 1 ? norm[0] : ad_norm(ad_stack(used, norm, 0), AD_ALL_AXES, false);
  memory_release(&tape->allocator, norm, bytes);
  return all;
}

ad_status (ad_clip_by_norm)(int n, const ad_var g[], ad_var limit, ad_var out[]) {
  ad_tape *tape = tape_of(n, g);
  const ad_var most = as_real(limit), norm = ad_global_norm(n, g);
  bool good = true;
  if (is_literal(most) && !(literal_value(most) > 0)) {
    ad_fail(tape, AD_ERROR_ARGUMENT, "clip by norm: the limit %g is not positive", literal_value(most));
    return all_invalid(tape, n, out);
  }
  if (!tape) return AD_OK;
  const ad_var factor = ad_select(ad_greater(norm, most), ad_div(most, norm), 1.0);
  for (int i = 0; i < n; i++) {
    out[i] = ad_is_none(g[i]) ? g[i] : ad_mul(g[i], beside(factor, ad_type_of(g[i]).dtype));
    good = good && (ad_is_none(out[i]) || ad_is_valid(out[i]));
  }
  return good ? AD_OK : all_invalid(tape, n, out);
}

ad_status (ad_clip_by_value)(int n, const ad_var g[], ad_var limit, ad_var out[]) {
  ad_tape *tape = tape_of(n, g);
  const ad_var most = as_real(limit);
  bool good = true;
  if (is_literal(most) && !(literal_value(most) > 0)) {
    ad_fail(tape, AD_ERROR_ARGUMENT, "clip by value: the limit %g is not positive", literal_value(most));
    return all_invalid(tape, n, out);
  }
  for (int i = 0; i < n; i++) {
    if (ad_is_none(g[i])) { out[i] = g[i]; continue; }
    const ad_var edge = beside(most, ad_type_of(g[i]).dtype);
    out[i] = ad_clamp(g[i], ad_sub(0.0, edge), edge);
    good = good && ad_is_valid(out[i]);
  }
  return good ? AD_OK : all_invalid(tape, n, out);
}
