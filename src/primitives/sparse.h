/* sparse.h -- what passes ask about products with sparse matrices. */
#ifndef ADIT_PRIMITIVES_SPARSE_H
#define ADIT_PRIMITIVES_SPARSE_H

#include "adit/primitive.h"

/* Operands of a product: the first entry of each row, the columns and the numbers of the entries, and the
 * array, of which each entry reads a row. */
enum { SPARSE_START, SPARSE_COLUMN, SPARSE_VALUE, SPARSE_ARRAY, SPARSE_OPERANDS };

/* Is the operation a product with a sparse matrix? It reads elements [*first, *first + *count) of a row of the
 * array, *all: of all that there are. */
bool sparse_is_product(const ad_operation *op, int64_t *first, int64_t *count, bool *all);
/* Are there so many more entries than rows of the array that these may be copied for their sake? */
bool sparse_reads_often(const ad_operation *op);
/* The product with columns [first, first + count) of the array x[SPARSE_ARRAY] (n, m): (rows, count). */
ad_var sparse_product_of_columns(const ad_var x[SPARSE_OPERANDS], int64_t first, int64_t count);

#endif
