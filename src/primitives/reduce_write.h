/* reduce_write.h -- reductions as written C: a loop over the elements of z, and a routine that folds the
 * elements of x that come to one of them by the tree of reduce.h. */
#ifndef ADIT_PRIMITIVES_REDUCE_WRITE_H
#define ADIT_PRIMITIVES_REDUCE_WRITE_H

#include "primitives/reduce.h"
#include "primitives/strided_write.h"

/* --- the walk ------------------------------------------------------------------------------------------- */

/* Axes [0, kept) are those of z, [kept, rank) the reduced ones, in order; without axes of size 1. line:
 * strides of the reduced ones in a dense list of what comes to one element of z. */
typedef struct written_walk {
  int rank, kept;
  int64_t dim[AD_MAX_RANK + 2], x[AD_MAX_RANK + 2], z[AD_MAX_RANK + 2], line[AD_MAX_RANK + 2];
  int64_t n;                        /* elements of a line */
} written_walk;

written_walk written_walk_of(const ad_type *x, unsigned mask);

/* One line of x: n elements at the address `at`, step apart. */
typedef struct written_line {
  const char *at;
  int64_t n, step;
} written_line;

/* Writes the statements that set z, an expression, from a line. */
typedef void write_line(ad_writer *w, const ad_operation *op, const char *z, const written_line *line);

/* The rule of a reduction of x over the axes of mask. empty: what comes of no elements. */
ad_status write_lines(ad_writer *w, const ad_operation *op, unsigned mask, const char *z, const char *x,
                      write_line *line, const char *empty);

/* --- folds ---------------------------------------------------------------------------------------------- */

/* The routine behind: its texts are those of ad_write_routine. */
typedef struct written_fold {
  const char *name;
  const char *sum;                  /* the type of sums */
  const char *term;                 /* of one element, v, and c; an expression of type sum */
  const char *combine;              /* a with b, which comes behind it */
  const char *empty;
  const char *shift;                /* the type of c, one more argument; NULL: there is none */
} written_fold;

enum { WRITTEN_CALL = 512 };

/* The call of the fold of a line; shift: the argument, or NULL. Returns to. */
const char *written_fold_call(ad_writer *w, char to[WRITTEN_CALL], ad_dtype dtype, const written_fold *fold,
                              const written_line *line, const char *shift);

/* write_lines for a reduction that is such a fold, without an argument, and nothing else: line writes it for
 * one element of z. Neighbouring elements of z, columns of a matrix, are folded side by side, in one way
 * through its rows. */
ad_status write_fold_lines(ad_writer *w, const ad_operation *op, const char *z, const char *x,
                           const written_fold *fold, write_line *line);

/* Those that more than one reduction uses: of floats, in the file's real numbers. */
extern const written_fold written_sum, written_max;

#endif
