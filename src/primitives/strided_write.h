/* strided_write.h -- strided boxes as loops of written C: what the write rules of movement, slices, joins and
 * reductions are made of. Loop variables are i0, i1, .. */
#ifndef ADIT_PRIMITIVES_STRIDED_WRITE_H
#define ADIT_PRIMITIVES_STRIDED_WRITE_H

#include "adit/primitive.h"
#include "primitives/strided.h"

enum { WRITTEN_INDEX = 320 };       /* a text of rank 8, whatever the strides */

/* "first + i0*12 - i1" for the axes [0, rank); "0" where nothing is left. Returns to. */
char *written_index(char to[WRITTEN_INDEX], int rank, const int64_t stride[], int64_t first);

/* Loops over the axes [from, to); axes of size 1 are loops as well, so that their variable is there. */
void write_open_loops(ad_writer *w, const int64_t dim[], int from, int to);
void write_close_loops(ad_writer *w, int n);

/* z[to + ..] = x[from + ..], in the order of the axes. */
void write_strided_copy(ad_writer *w, const strided *s, const char *z, int64_t to, const char *x,
                        int64_t from);
/* The same with +=: integers wrap, a sum of bools is "or". */
void write_strided_add(ad_writer *w, const strided *s, ad_dtype dtype, const char *z, int64_t to,
                       const char *x, int64_t from);
/* z[i] = x[i] for i < n; nothing where both are the same array. */
void write_copy(ad_writer *w, int64_t n, const char *z, const char *x);
/* z[i] = value, an expression, for i < n. */
void write_fill(ad_writer *w, int64_t n, const char *z, const char *value);
/* An expression that has the value of the element, of that type, at data. to: WRITTEN_INDEX bytes. */
const char *written_value(ad_writer *w, char to[WRITTEN_INDEX], ad_dtype dtype, const void *data);
/* A statement that adds x, an expression, to the element z, another one. */
void write_addition(ad_writer *w, ad_dtype dtype, const char *z, const char *x);

#endif
