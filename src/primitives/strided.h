/* strided.h -- moving and adding elements between two strided boxes: the kernel behind movement, slices and
 * joins.
 *
 * z[sum_d i_d*to[d]] = x[sum_d i_d*from[d]] (or += for strided_add) for all 0 <= i_d < dim[d]. Strides count
 * elements and may be 0 in x (broadcasting) or negative. The two boxes must not overlap, and the addresses in
 * z must be different ones.
 */
#ifndef ADIT_PRIMITIVES_STRIDED_H
#define ADIT_PRIMITIVES_STRIDED_H

#include "base/parallel.h"

typedef struct strided {
  int rank;
  int64_t dim[AD_MAX_RANK], to[AD_MAX_RANK], from[AD_MAX_RANK];
} strided;

/* One line of it: z[i*to] = x[i*from], or +=, for i < n. */
typedef void strided_line(int64_t n, void *z, int64_t to, const void *x, int64_t from);
/* For elements of 1, 4 or 8 bytes. */
strided_line *strided_copy_line(size_t bytes);
/* Integers wrap; a sum of bools is "or". */
strided_line *strided_add_line(ad_dtype dtype);

void strided_copy(const strided *s, size_t bytes, void *z, const void *x);
void strided_add(const strided *s, ad_dtype dtype, void *z, const void *x);
/* z[i] = *value for i < n. */
void strided_fill(int64_t n, size_t bytes, void *z, const void *value);

/* The same box with fewer axes: those of size 1 go, neighbours that continue each other become one. */
void strided_merge(strided *s);
/* The strides of a dense array. */
void dense_strides(int rank, const int64_t dim[], int64_t stride[]);

#endif
