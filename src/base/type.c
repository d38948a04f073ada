/* type.c -- data types and shapes. */
#include "adit/types.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *name; size_t bytes; } dtypes[AD_DTYPES] = {
  [AD_BOOL] = { "bool", 1 }, [AD_I32] = { "i32", 4 }, [AD_I64] = { "i64", 8 },
  [AD_F32] = { "f32", 4 },   [AD_F64] = { "f64", 8 },
};

static bool known(ad_dtype d) { return (int)d >= 0 && d < AD_DTYPES; }

size_t ad_dtype_bytes(ad_dtype dtype) { return known(dtype) ? dtypes[dtype].bytes : 0; }
const char *ad_dtype_name(ad_dtype dtype) { return known(dtype) ? dtypes[dtype].name : "?"; }

ad_dtype ad_dtype_promote(ad_dtype a, ad_dtype b) {
  ad_dtype later = a > b ? a : b;
  return later == AD_BOOL ? AD_I32 : later;
}

static const ad_type invalid_type = { AD_F64, -1, { 0 } };

/* Dimensions of size 0 do not excuse the others: strides are computed from them. */
static bool fits(ad_dtype dtype, int rank, const int64_t dim[]) {
  int64_t bytes = (int64_t)dtypes[dtype].bytes;
  for (int i = 0; i < rank; i++) {
    if (dim[i] < 0) return false;
    if (dim[i] > 0 && __builtin_mul_overflow(bytes, dim[i], &bytes)) return false;
  }
  return bytes <= PTRDIFF_MAX/2;
}

ad_type ad_type_make(ad_dtype dtype, int rank, const int64_t *dim) {
  if (!known(dtype) || rank < 0 || rank > AD_MAX_RANK || (rank > 0 && !dim)) return invalid_type;
  if (!fits(dtype, rank, dim)) return invalid_type;
  ad_type type = { dtype, rank, { 0 } };
  for (int i = 0; i < rank; i++) type.dim[i] = dim[i];
  return type;
}

bool ad_type_valid(ad_type type) {
  return known(type.dtype) && type.rank >= 0 && type.rank <= AD_MAX_RANK
         && fits(type.dtype, type.rank, type.dim);
}

bool ad_type_equal(ad_type a, ad_type b) {
  if (a.dtype != b.dtype || a.rank != b.rank) return false;
  return a.rank <= 0 || !memcmp(a.dim, b.dim, (size_t)a.rank*sizeof *a.dim);
}

int64_t ad_type_count(ad_type type) {
  int64_t count = 1;
  for (int i = 0; i < type.rank; i++) count *= type.dim[i];
  return count;
}

size_t ad_type_bytes(ad_type type) {
  return type.rank < 0 ? 0 : (size_t)ad_type_count(type)*ad_dtype_bytes(type.dtype);
}

char *ad_type_print(ad_type type, char *text, size_t size) {
  if (!text || size == 0) return text;
  if (type.rank < 0) {
    snprintf(text, size, "invalid");
    return text;
  }
  int used = snprintf(text, size, "%s(", ad_dtype_name(type.dtype));
  for (int i = 0; i < type.rank && used >= 0 && (size_t)used < size; i++)
    used += snprintf(text + used, size - (size_t)used, i ? ",%lld" : "%lld", (long long)type.dim[i]);
  if (used >= 0 && (size_t)used < size) snprintf(text + used, size - (size_t)used, ")");
  return text;
}

ad_status ad_type_broadcast(ad_type a, ad_type b, ad_type *out) {
  ad_type z = { a.dtype, a.rank > b.rank ? a.rank : b.rank, { 0 } };
  for (int i = 1; i <= z.rank; i++) {
    int64_t m = i <= a.rank ? a.dim[a.rank - i] : 1, n = i <= b.rank ? b.dim[b.rank - i] : 1;
    if (m != n && m != 1 && n != 1) return AD_ERROR_SHAPE;
    z.dim[z.rank - i] = m == 1 ? n : m;
  }
  if (!ad_type_valid(z)) return AD_ERROR_SIZE;
  *out = z;
  return AD_OK;
}
