/* reduce.h -- what the reductions over axes share: the attribute, the walk over the elements, the folds.
 *
 * The result of a reduction is defined by one tree, whatever the layout of the array, the number of threads
 * and the instruction set. The elements that come to one element of z, in row-major order, are cut into
 * blocks of REDUCE_BLOCK. Within a block, element r goes to lane r mod REDUCE_LANES, each lane folds its
 * elements one after the other, and the lanes are combined pairwise. Blocks are combined pairwise too, by a
 * binary counter. So the error of a sum of n elements grows like log n, and the sum of a column has the same
 * bits as that of the same numbers in a row.
 *
 * A fold works on `columns` neighbouring elements of z at once; their elements are the columns of a matrix
 * whose rows come in order, in as many calls as one likes: where the calls are cut does not change the bits.
 */
#ifndef ADIT_PRIMITIVES_REDUCE_H
#define ADIT_PRIMITIVES_REDUCE_H

#include "adit/arrays.h"
#include "adit/primitive.h"

/* --- the attribute of every reduction over axes --------------------------------------------------------- */

typedef struct reduction { uint32_t mask, keep; } reduction;

/* Type rule: the axes of the mask removed, or kept with size 1. */
ad_status reduction_type(ad_operation *op, ad_dtype dtype);
/* Records p over these axes, or leaves an error about the axes. */
ad_var reduction_record(const ad_primitive *p, ad_var x, ad_axes axes, bool keep);
/* True when each element of z comes from exactly one of x: *z is then its type (dtype that of x). */
bool reduction_is_reshape(ad_var x, ad_axes axes, bool keep, ad_type *z);
/* How many elements of x come to one of z. */
int64_t reduction_count(const ad_type *x, unsigned mask);
/* Batch rule of every operation whose attribute begins with a reduction: the axes are one further right. */
ad_var reduction_batch(const ad_batch *b);

/* For derivative rules. v has the type of z: with the reduced axes back as size 1; and broadcast to the
 * shape of x. */
ad_var reduction_kept(const ad_rule *r, ad_var v);
ad_var reduction_spread(const ad_rule *r, ad_var v);
/* v, of the shape of x, summed over the axes, to the shape of z. */
ad_var reduction_sum(const ad_rule *r, ad_var v);

/* --- folds ---------------------------------------------------------------------------------------------- */

enum {
  REDUCE_LANES = 16,
  REDUCE_BLOCK = 512,
  REDUCE_COLUMNS = 64,              /* of one fold, at most */
  REDUCE_LEVELS = 48,               /* of the counter: 2^57 rows */
  REDUCE_CELLS = (REDUCE_LANES + REDUCE_LEVELS)*REDUCE_COLUMNS
};

/* The state of a fold. cell: LANES rows of `columns` lanes, then LEVELS rows for the counter. */
typedef struct reduction_partial {
  int64_t columns;
  int64_t filled;                   /* rows in the open block */
  uint64_t blocks;                  /* whole blocks so far; bit k: level k is in use */
  int pass;                         /* folds that look at the elements more than once: 0, 1, .. */
  const void *attribute;            /* of the operation; single-pass folds do not look at it */
  double shift[REDUCE_COLUMNS];     /* what an earlier pass found for each column */
  bool coarse[REDUCE_COLUMNS];      /* which columns want a further pass */
  union {
    double f64[REDUCE_CELLS];
    float f32[REDUCE_CELLS];
    int64_t i64[REDUCE_CELLS];
    uint64_t u64[REDUCE_CELLS];
    int32_t i32[REDUCE_CELLS];
    uint8_t boolean[REDUCE_CELLS];
  } cell;
} reduction_partial;

/* One fold for one dtype of x:
 *
 *   p->pass = 0; p->attribute = op->attribute;
 *   do {
 *     begin(p, columns);
 *     rows(p, n, x, stride);  ...       x[i*stride + j] for i < n, j < columns; rows in order
 *   } while (end(p, z));                writes z[0 .. columns); true: the elements are needed once more
 *
 * Folds of a single pass (sum, prod, min, max, any, all) never ask for more, so that what produces the
 * elements block by block may throw them away: such a fold can be fused with its producer, with the bits of
 * the plain kernel. */
typedef struct reduction_kernel {
  bool single_pass;
  bool in_order;                    /* passes after the first take all rows in one go */
  void (*begin)(reduction_partial *p, int64_t columns);
  void (*rows)(reduction_partial *p, int64_t n, const void *x, int64_t stride);
  bool (*end)(reduction_partial *p, void *z);
  /* Appends the rows of `later`, begun at a multiple of REDUCE_BLOCK*2^k rows and at most that many rows
   * long. */
  void (*join)(reduction_partial *p, const reduction_partial *later);
  /* z[i] from the n elements at x + i*n, for i < lines, n <= REDUCE_BLOCK; NULL: no short way. */
  void (*lines)(int64_t lines, int64_t n, const void *x, void *z);
} reduction_kernel;

/* The fold behind a reduction over axes; NULL when op is no such reduction. For the planner. */
const reduction_kernel *reduction_kernel_of(const ad_operation *op);

/* Those of each file; NULL for primitives of other files. */
const reduction_kernel *sum_kernel(const ad_operation *op);
const reduction_kernel *product_kernel(const ad_operation *op);
const reduction_kernel *extremum_kernel(const ad_operation *op);
const reduction_kernel *logic_kernel(const ad_operation *op);
const reduction_kernel *norm_kernel(const ad_operation *op);
const reduction_kernel *logsumexp_kernel(const ad_operation *op);

/* Sums of floats: what the folds of several passes are built on. */
extern const reduction_kernel sum_of_f64, sum_of_f32, max_of_f64, max_of_f32;

/* Before a loop whose iterations are independent, but for a count that whole numbers add up to. */
#ifdef _OPENMP
#  define REDUCE_SIMD _Pragma("omp simd")
#  define REDUCE_SIMD_COUNT _Pragma("omp simd reduction(+: count)")
#else
#  define REDUCE_SIMD
#  define REDUCE_SIMD_COUNT
#endif

/* --- the walk ------------------------------------------------------------------------------------------- */

/* x as boxes: neighbouring axes of one kind are one axis, axes of size 1 are gone. The last two, `rows`
 * reduced and `width` kept (1 where the last axis is reduced), lie densely; before them come outer axes of
 * either kind, strides in elements. */
typedef struct reduction_plan {
  int64_t rows, width;
  int kept, reduced;
  int64_t kept_dim[AD_MAX_RANK], kept_stride[AD_MAX_RANK];
  int64_t reduced_dim[AD_MAX_RANK], reduced_stride[AD_MAX_RANK];
  int64_t outer, segments;          /* products of kept_dim and reduced_dim */
  int64_t elements;                 /* of x */
} reduction_plan;

reduction_plan reduction_plan_of(const ad_type *x, unsigned mask);
/* Offset of element i of the outer kept axes, and of the outer reduced axes. */
int64_t reduction_kept_offset(const reduction_plan *plan, int64_t i);
int64_t reduction_segment_offset(const reduction_plan *plan, int64_t i);

/* z from x by the fold k of reduction_kernel_of(op). */
ad_status reduction_run(const ad_operation *op, void *z, const void *const x[], void *scratch);
size_t reduction_scratch(const ad_operation *op);

#endif
