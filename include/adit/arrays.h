/* adit/arrays.h -- structured operations on n-d arrays: reductions, movement, indexing, products.
 *
 * The law. Everything here records (adit/tape.h) and has derivatives of any order. Axes count from 0,
 * negative ones from the end. Shapes are written (a, b, c); integer and bool operands are fine wherever the
 * operation makes sense, and are constants to derivatives. Errors leave an invalid handle and a message on
 * the tape. Arguments called "var or number" take literals through AD_VAR.
 */
#ifndef ADIT_ARRAYS_H
#define ADIT_ARRAYS_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A choice of axes: AD_AXES(0, -1), or AD_ALL_AXES. Repeated or missing axes are AD_ERROR_ARGUMENT. */
typedef struct ad_axes { int count; int axis[AD_MAX_RANK]; } ad_axes;      /* count -1: all axes */
AD_API ad_axes ad_axes_make(int count, const int *axis);                  /* more than 8: an invalid choice */
#ifndef __cplusplus
#  define AD_AXES(...) ad_axes_make((int)(sizeof((const int[]){0, __VA_ARGS__})/sizeof(int)) - 1, \
                                    (const int[]){0, __VA_ARGS__} + 1)
#endif
#define AD_ALL_AXES ad_axes_make(-1, NULL)

/* --- reductions over axes; keep: the reduced axes stay with size 1 -------------------------------- */
AD_API ad_var ad_sum(ad_var x, ad_axes axes, bool keep);         /* empty: 0. bool and i32 sum in i64 */
AD_API ad_var ad_prod(ad_var x, ad_axes axes, bool keep);        /* empty: 1. Never divides by x */
AD_API ad_var ad_mean(ad_var x, ad_axes axes, bool keep);        /* integers as f64; empty: nan */
/* sum (x - mean)^2/(n - ddof), two passes */
AD_API ad_var ad_variance(ad_var x, ad_axes axes, bool keep, int ddof);
/* fmin over elements; empty: AD_ERROR_SHAPE; ties share */
AD_API ad_var ad_reduce_min(ad_var x, ad_axes axes, bool keep);
AD_API ad_var ad_reduce_max(ad_var x, ad_axes axes, bool keep);
AD_API ad_var ad_argmin(ad_var x, int axis, bool keep);          /* i64, the first of ties; nan never wins */
AD_API ad_var ad_argmax(ad_var x, int axis, bool keep);
AD_API ad_var ad_any(ad_var x, ad_axes axes, bool keep);         /* bool; empty: false */
AD_API ad_var ad_all(ad_var x, ad_axes axes, bool keep);         /* bool; empty: true */
AD_API ad_var ad_logsumexp(ad_var x, ad_axes axes, bool keep);   /* log sum exp x, no overflow; empty: -inf */
/* sqrt(sum x^2), no overflow; derivative 0 at the zero vector */
AD_API ad_var ad_norm(ad_var x, ad_axes axes, bool keep);
AD_API ad_var ad_cumsum(ad_var x, int axis);
AD_API ad_var ad_cumprod(ad_var x, int axis);                    /* never divides by x */

/* --- shape and movement --------------------------------------------------------------------------- */
AD_API ad_var ad_reshape(ad_var x, int rank, const int64_t dim[]);       /* one dim may be -1 */
/* z axis i is x axis perm[i]; NULL reverses */
AD_API ad_var ad_transpose(ad_var x, const int perm[]);
AD_API ad_var ad_broadcast_to(ad_var x, int rank, const int64_t dim[]);
/* AD_ALL_AXES: every axis of size 1 */
AD_API ad_var ad_squeeze(ad_var x, ad_axes axes);
/* a new axis of size 1 before axis (of the result) */
AD_API ad_var ad_expand(ad_var x, int axis);
/* z[i] = x[start + i*step], i < count, along axis; step may be negative, not 0. start in [-dim, dim), count
 * >= 0, all inside. */
AD_API ad_var ad_slice(ad_var x, int axis, int64_t start, int64_t count, int64_t step);
/* base with part added at that slice: the transpose of ad_slice. */
AD_API ad_var ad_slice_add(ad_var base, ad_var part, int axis, int64_t start, int64_t step);
/* x[index[0], ...]: n leading axes picked; n = rank: a scalar */
AD_API ad_var ad_at(ad_var x, int n, const int64_t index[]);
/* base with part, of the shape that ad_at gives there, added at that index: the transpose of ad_at. */
AD_API ad_var ad_at_add(ad_var base, ad_var part, int n, const int64_t index[]);
AD_API ad_var ad_concat(int n, const ad_var x[], int axis);
/* along a new axis; scalars give a vector */
AD_API ad_var ad_stack(int n, const ad_var x[], int axis);
/* size NULL: n equal parts */
AD_API ad_status ad_split(ad_var x, int axis, int n, const int64_t size[], ad_var out[]);
/* constant padding, per axis */
AD_API ad_var ad_pad(ad_var x, const int64_t before[], const int64_t after[], ad_var value);
AD_API ad_var ad_flip(ad_var x, ad_axes axes);
AD_API ad_var ad_tile(ad_var x, int rank, const int64_t reps[]);         /* as numpy.tile */
AD_API ad_var ad_repeat(ad_var x, int axis, int64_t times);              /* as numpy.repeat with a number */

/* --- indexing ------------------------------------------------------------------------------------- */
/* take: along axis, z = x with that axis replaced by the shape of index (i32 or i64, negative counts from the
 * end). An index out of range is AD_ERROR_ARGUMENT when run. */
AD_API ad_var ad_take(ad_var x, ad_var index, int axis);
/* scatter_add: base with updates added at index along axis: the transpose of ad_take; repeated indices add
 * up. */
AD_API ad_var ad_scatter_add(ad_var base, ad_var index, ad_var updates, int axis);
/* gather: z[i,j,..] = x[..index[i,j,..]..] along axis, index of the same rank, equal or broadcast elsewhere
 * (numpy.take_along_axis). */
AD_API ad_var ad_gather(ad_var x, ad_var index, int axis);
AD_API ad_var ad_gather_add(ad_var base, ad_var index, ad_var updates, int axis);    /* its transpose */
/* new last axis; out of range: all zeros */
AD_API ad_var ad_one_hot(ad_var index, int64_t depth, ad_dtype dtype);
AD_API ad_var ad_sort(ad_var x, int axis, bool descending);              /* stable; nan last */
AD_API ad_var ad_argsort(ad_var x, int axis, bool descending);           /* i64, stable; nan last */
/* largest first; either may be NULL */
AD_API ad_status ad_topk(ad_var x, int64_t k, int axis, ad_var *values, ad_var *indices);

/* --- matrices ------------------------------------------------------------------------------------- */
/* (n) -> (n+|k|, n+|k|) with x on diagonal k; (.., n, m) -> its diagonal k */
AD_API ad_var ad_diag(ad_var x, int k);
/* elements on and below diagonal k of the last two axes, 0 elsewhere */
AD_API ad_var ad_tril(ad_var x, int k);
AD_API ad_var ad_triu(ad_var x, int k);
AD_API ad_var ad_trace(ad_var x);                /* sum of the main diagonal of the last two axes */
/* as numpy.matmul: (.., m, k) (.., k, n), vectors, batch broadcast */
AD_API ad_var ad_matmul(ad_var x, ad_var y);
AD_API ad_var ad_dot(ad_var x, ad_var y);        /* (n) . (n): a scalar */
AD_API ad_var ad_outer(ad_var x, ad_var y);      /* (n), (m) -> (n, m) */
/* einsum: "ij,jk->ik", explicit or implicit output, "..." for broadcast axes, repeated letters in one operand
 * for diagonals. */
AD_API ad_var ad_einsum(const char *equation, int n, const ad_var x[]);

/* Products with a sparse matrix by rows (CSR): row i, of start's length - 1, has the entries start[i] <= e <
 * start[i+1], start from 0 to the number of entries; entry e is value[e] in column column[e]. start and
 * column are i64 vectors, value a vector, x (columns, ..): z[i,..] = sum of value[e] x[column[e],..], (rows,
 * ..). Transposed, x is (rows, ..): z[j,..] = sum of value[e] x[row of e,..] over the entries in column j,
 * (columns, ..). Entries may repeat, rows may be empty. What is no such pattern is AD_ERROR_ARGUMENT when
 * run. */
AD_API ad_var ad_sparse_matmul(ad_var start, ad_var column, ad_var value, ad_var x);
AD_API ad_var ad_sparse_matmul_transposed(ad_var start, ad_var column, ad_var value, ad_var x,
                                          int64_t columns);

/* --- making arrays -------------------------------------------------------------------------------- */
AD_API ad_var ad_zeros(ad_tape *tape, ad_type type);
AD_API ad_var ad_ones(ad_tape *tape, ad_type type);
AD_API ad_var ad_full(ad_tape *tape, ad_type type, double value);
AD_API ad_var ad_eye(ad_tape *tape, int64_t n, int64_t m, int k, ad_dtype dtype);
AD_API ad_var ad_arange(ad_tape *tape, double start, double stop, double step, ad_dtype dtype);
/* n points, both ends; differentiable in the ends */
AD_API ad_var ad_linspace(ad_var start, ad_var stop, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
