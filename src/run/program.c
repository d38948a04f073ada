/* program.c -- the scalar interpreter: one flat switch, generated from the table. */
#include "run/program.h"

#include <math.h>
#include <string.h>

#define C(k) ((double)k)
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#include "primitives/row_names.h"
#include "primitives/scalar_tanh.h"

/* Chains are what scalar programs are made of: an operand that is the result of the instruction before comes
 * from a register, not from the slot it was stored to a moment ago. Such instructions have numbers of their
 * own: see program.h. */
void program_run(const instruction *code, size_t n, double *slot) {
  double last = 0;
  for (const instruction *i = code, *end = code + n; i < end; i++) {
    switch (i->row) {
#define OFFSET 0
#define X slot[i->x]
#define Y slot[i->y]
#include "run/program_rows.inc"
#undef OFFSET
#undef X
#define OFFSET PROGRAM_FROM_X
#define X last
#include "run/program_rows.inc"
#undef OFFSET
#undef X
#undef Y
#define OFFSET PROGRAM_FROM_Y
#define X slot[i->x]
#define Y last
#include "run/program_rows.inc"
      case PROGRAM_TO_BOOL: slot[i->z] = last = slot[i->x] != 0; break;
      case PROGRAM_TO_BYTE: {
        const unsigned char byte = slot[i->x] != 0;
        memcpy(&slot[i->z], &byte, 1);
        break;
      }
      default: slot[i->z] = last = slot[i->x]; break;
    }
  }
}
