/* axes.c -- the arithmetic of axes and shapes that structured primitives share. */
#include "primitives/axes.h"

#include "adit/elementwise.h"

#include <string.h>

ad_axes ad_axes_make(int count, const int *axis) {
  ad_axes axes = { count, { 0 } };
  if (count < 0 && count != -1) axes.count = AD_MAX_RANK + 1;
  if (count > AD_MAX_RANK || (count > 0 && !axis)) axes.count = AD_MAX_RANK + 1;
  else if (count > 0) memcpy(axes.axis, axis, (size_t)count*sizeof *axis);
  return axes;
}

int axis_resolve(int axis, int rank) {
  if (axis < -rank || axis >= rank) return -1;
  return axis < 0 ? axis + rank : axis;
}

bool axes_resolve(ad_axes axes, int rank, unsigned *mask) {
  *mask = 0;
  if (axes.count == -1) {
    *mask = (1u << rank) - 1;
    return true;
  }
  if (axes.count < 0 || axes.count > AD_MAX_RANK) return false;
  for (int i = 0; i < axes.count; i++) {
    int a = axis_resolve(axes.axis[i], rank);
    if (a < 0 || *mask >> a & 1) return false;
    *mask |= 1u << a;
  }
  return true;
}

ad_type axes_reduce(ad_type x, unsigned mask, bool keep) {
  ad_type z = { x.dtype, 0, { 0 } };
  for (int d = 0; d < x.rank; d++) {
    bool gone = mask >> d & 1;
    if (!gone || keep) z.dim[z.rank++] = gone ? 1 : x.dim[d];
  }
  return z;
}

int64_t axes_met_element(const ad_type *x, const ad_type *z, int64_t e) {
  int64_t at = 0, step = 1;
  for (int d = z->rank - 1, k = x->rank - 1; k >= 0; d--, k--) {
    if (x->dim[k] != 1) at += e%z->dim[d]*step;
    step *= x->dim[k];
    e /= z->dim[d];
  }
  return at;
}

int64_t axes_product(const ad_type *x, int from, int to) {
  int64_t product = 1;
  for (int d = from; d < to; d++) product *= x->dim[d];
  return product;
}

/* Broadcasting repeats along new leading axes, and along axes that had size 1: those are summed. */
ad_var sum_to_shape(ad_var g, ad_type type) {
  const ad_type t = ad_type_of(g);
  const int leading = t.rank - type.rank;
  ad_axes axes = { 0, { 0 } };
  if (t.rank < 0 || leading < 0) return g;
  for (int d = 0; d < t.rank; d++)
    if (d < leading || (type.dim[d - leading] == 1 && t.dim[d] != 1)) axes.axis[axes.count++] = d;
  if (axes.count) g = ad_reshape(ad_sum(g, axes, false), type.rank, type.dim);
  return cast_to(g, type.dtype);
}

ad_var cast_to(ad_var x, ad_dtype dtype) { return ad_type_of(x).dtype == dtype ? x : ad_cast(x, dtype); }
