/* parameters_vector.c -- parameters as variables, and as one vector: data and variables. */
#include "adit/arrays.h"
#include "adit/primitive.h"
#include "learn/parameters.h"

#include <string.h>

ad_status ad_parameters_record(const ad_parameters *p, ad_tape *tape, ad_var out[]) {
  if (!p || !tape) {
    ad_fail(tape, AD_ERROR_ARGUMENT, "parameters: none");
    return AD_ERROR_ARGUMENT;
  }
  for (int i = 0; i < p->entries; i++) {
    out[i] = ad_array(tape, p->type[i], p->data[i]);
    if (!ad_is_valid(out[i])) return ad_tape_status(tape);
  }
  return AD_OK;
}

/* AD_OK where all entries have one dtype; sets its width. */
static ad_status one_dtype(const ad_parameters *p, size_t *width) {
  if (!p) return AD_ERROR_ARGUMENT;
  for (int i = 1; i < p->entries; i++)
    if (p->type[i].dtype != p->type[0].dtype) return AD_ERROR_DTYPE;
  *width = p->entries ? ad_dtype_bytes(p->type[0].dtype) : 0;
  return AD_OK;
}

ad_status ad_parameters_flatten(const ad_parameters *p, void *vector) {
  size_t width = 0;
  const ad_status status = vector ? one_dtype(p, &width) : AD_ERROR_ARGUMENT;
  char *at = vector;
  for (int i = 0; status == AD_OK && i < p->entries; i++) {
    memcpy(at, p->data[i], ad_type_bytes(p->type[i]));
    at += ad_type_bytes(p->type[i]);
  }
  return status;
}

ad_status ad_parameters_unflatten(ad_parameters *p, const void *vector) {
  size_t width = 0;
  const ad_status status = vector ? one_dtype(p, &width) : AD_ERROR_ARGUMENT;
  const char *at = vector;
  for (int i = 0; status == AD_OK && i < p->entries; i++) {
    memcpy(p->data[i], at, ad_type_bytes(p->type[i]));
    at += ad_type_bytes(p->type[i]);
  }
  return status;
}

/* --- variables ------------------------------------------------------------------------------------------ */

static ad_status refuse(ad_tape *tape, const ad_parameters *p, ad_status status) {
  if (status == AD_ERROR_DTYPE) ad_fail(tape, status, "parameters: entries of several dtypes make no vector");
  else ad_fail(tape, status, p ? "parameters: no entries" : "parameters: none");
  return status;
}

ad_var ad_parameters_flatten_vars(const ad_parameters *p, const ad_var in[]) {
  const int n = p ? p->entries : 0;
  ad_tape *tape = ad_tape_of(n, in);
  size_t width = 0;
  ad_status status = n ? one_dtype(p, &width) : AD_ERROR_ARGUMENT;
  if (status != AD_OK) {
    refuse(tape, p, status);
    return ad_fail(tape, status, "parameters");
  }
  const size_t bytes = (size_t)n*sizeof(ad_var);
  ad_var *flat = memory_get(&p->allocator, bytes);
  if (!flat) return ad_fail(tape, AD_ERROR_MEMORY, "parameters: out of memory");
  for (int i = 0; i < n; i++) {
    char name[192], given[192];
    const ad_type is = ad_type_of(in[i]);
    if (is.rank >= 0 && !ad_type_equal(is, p->type[i]))
      ad_fail(tape, AD_ERROR_SHAPE, "parameters: %.60s is %s, not %s", p->entry[i].name,
              ad_type_print(is, given, sizeof given), ad_type_print(p->type[i], name, sizeof name));
    flat[i] = is.rank >= 0 && !ad_type_equal(is, p->type[i]) ? ad_fail(tape, AD_ERROR_SHAPE, "parameters")
                                                             : ad_reshape(in[i], 1, (const int64_t[]){ -1 });
  }
  ad_var vector = ad_concat(n, flat, 0);
  memory_release(&p->allocator, flat, bytes);
  return vector;
}

ad_status ad_parameters_unflatten_var(const ad_parameters *p, ad_var vector, ad_var out[]) {
  ad_tape *tape = ad_tape_of(1, &vector);
  size_t width = 0;
  ad_status status = one_dtype(p, &width);
  if (status != AD_OK) return refuse(tape, p, status);
  const ad_type is = ad_type_of(vector);
  char given[192];
  if (is.rank != 1 || is.dim[0] != ad_parameters_count(p)) {
    ad_fail(tape, AD_ERROR_SHAPE, "parameters: %s is no vector of their %lld elements",
            ad_type_print(is, given, sizeof given), (long long)ad_parameters_count(p));
    return AD_ERROR_SHAPE;
  }
  int64_t at = 0;
  for (int i = 0; i < p->entries; i++) {
    const int64_t count = ad_type_count(p->type[i]);
    out[i] = ad_reshape(ad_slice(vector, 0, at, count, 1), p->type[i].rank, p->type[i].dim);
    if (!ad_is_valid(out[i])) return ad_tape_status(tape);
    at += count;
  }
  return AD_OK;
}
