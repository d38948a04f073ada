/* sparse_rows.h -- rows of products with sparse matrices, in the vectors of a processor. */
#ifndef ADIT_PRIMITIVES_SPARSE_ROWS_H
#define ADIT_PRIMITIVES_SPARSE_ROWS_H

#include <stdint.h>

/* z[i] = sum of v[e] x[column[e]] for start[i] <= e < start[i + 1], begin <= i < end; rows of x and z have n
 * elements, those of x begin every `pitch` elements. Columns are in range. The sum is one chain for each
 * element of z, in the order of the entries. */
typedef struct sparse_rows {
  const int64_t *start, *column;
  const void *v, *x;
  void *z;
  int64_t begin, end, n, pitch;
} sparse_rows;

typedef void sparse_rows_kernel(const sparse_rows *a);

#if defined(__x86_64__) && defined(__GNUC__) && !defined(ADIT_PORTABLE_KERNELS)
#  define SPARSE_X86 1
sparse_rows_kernel sparse_rows_f64_avx2, sparse_rows_f32_avx2, sparse_rows_f64_avx512, sparse_rows_f32_avx512;
#else
#  define SPARSE_X86 0
#endif

#endif
