/* einsum.h -- the equations of einsum, read and resolved against the shapes of the operands. */
#ifndef ADIT_PRIMITIVES_EINSUM_H
#define ADIT_PRIMITIVES_EINSUM_H

#include "adit/arrays.h"
#include "adit/primitive.h"

/* A label is a name of an axis: the letters in the order of ASCII, A-Z then a-z, are 0 to 51; the axes
 * that "..." stands for are 52 and up, counted from the last, as broadcasting aligns them. Sets of labels
 * are bit masks. */
enum { EINSUM_LETTERS = 52, EINSUM_LABELS = EINSUM_LETTERS + AD_MAX_RANK };

/* The axes of one operand or of the result. */
typedef struct einsum_axes {
  int rank;
  uint8_t label[AD_MAX_RANK];
} einsum_axes;

typedef struct einsum_equation {
  int n;                            /* operands */
  einsum_axes out;
  int64_t dim[EINSUM_LABELS];       /* sizes; -1: the label does not occur */
} einsum_equation;

/* Reads text for operands of these types; axes (room for n) and *e are the result. On failure the message
 * is left on the tape and the result is false. */
bool einsum_read(ad_tape *tape, const char *text, int n, const ad_type types[], einsum_axes axes[],
                 einsum_equation *e);

static inline uint64_t einsum_bit(int label) { return (uint64_t)1 << label; }

#endif
