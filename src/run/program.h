/* program.h -- scalar programs: straight-line code over slots of doubles, for what has no arrays in it. */
#ifndef ADIT_RUN_PROGRAM_H
#define ADIT_RUN_PROGRAM_H

#include "primitives/elementwise.h"

/* Instructions beyond the rows. A bool is 0 or 1 inside a program and a byte outside. */
enum {
  PROGRAM_TO_BOOL = ROW_COUNT,      /* z = x != 0 */
  PROGRAM_COPY,                     /* z = x */
  PROGRAM_TO_BYTE,                  /* the first byte of slot z = x */
  /* a row + these: operand x, or y, is the result of the instruction before, which was no PROGRAM_TO_BYTE */
  PROGRAM_FROM_X = 512, PROGRAM_FROM_Y = 1024
};

/* z, x, y, w are slots. A row with an attribute has it in slot y. */
typedef struct instruction { uint32_t row, z, x, y, w; } instruction;

void program_run(const instruction *code, size_t n, double *slot);

#endif
