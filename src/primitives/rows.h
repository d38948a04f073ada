/* rows.h -- rows of contiguous elements that an index chooses: the inner kernel of take and scatter_add,
 * whose rows are often so short that a call for each would take longer than the row. */
#ifndef ADIT_PRIMITIVES_ROWS_H
#define ADIT_PRIMITIVES_ROWS_H

#include "adit/types.h"

/* n rows of m elements; index k[i] counts from the end of `length` when negative.
 *   copies      z[i*to + j] = x[k[i]*from + j]
 *   additions   z[k[i]*to + j] += x[i*from + j], in the order of i
 * for 0 <= i < n, 0 <= j < m. z and x do not overlap. False when an index is out of range; rows before it are
 * done. */
typedef bool rows_kernel(int64_t n, int64_t m, int64_t to, int64_t from, int64_t length, void *z,
                         const void *x, const void *k);

/* wide: k is i64, else i32. NULL where there is none: for elements of 1 byte, and other than floats. */
rows_kernel *rows_copy(size_t bytes, bool wide);
rows_kernel *rows_add(ad_dtype dtype, bool wide);

enum { ROWS_STREAMS = 4 };

/* As many additions side by side, of n rows each, into sums of their own: as rows_add for each of them. */
typedef bool sums_kernel(int64_t n, int64_t m, int64_t to, int64_t from, int64_t length, void *const z[],
                         const void *const x[], const void *const k[]);
sums_kernel *rows_sums(ad_dtype dtype, bool wide);

#endif
