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

#define UNARY(id, kind, traits, lo, hi, expression, ...) \
  case ROW_##id: { const double x = slot[i->x]; slot[i->z] = (double)(expression); break; }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, ...) \
  case ROW_##id: { const double x = slot[i->x], a = slot[i->y]; slot[i->z] = (double)(expression); break; }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, ...) \
  case ROW_##id: { const double x = slot[i->x], y = slot[i->y]; slot[i->z] = (double)(expression); break; }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, ...) \
  case ROW_##id: { \
    const double x = slot[i->x], y = slot[i->y], w = slot[i->w]; \
    slot[i->z] = (double)(expression); \
    break; \
  }

void program_run(const instruction *code, size_t n, double *slot) {
  for (const instruction *i = code, *end = code + n; i < end; i++) {
    switch (i->row) {
#include "primitives/elementwise.def"
      case PROGRAM_TO_BOOL: slot[i->z] = slot[i->x] != 0; break;
      case PROGRAM_TO_BYTE: {
        const unsigned char byte = slot[i->x] != 0;
        memcpy(&slot[i->z], &byte, 1);
        break;
      }
      default: slot[i->z] = slot[i->x]; break;
    }
  }
}
