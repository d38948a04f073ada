/* tanh_series.h -- tanh(m/16 + d) for |d| <= 1/32 as a polynomial in d, m = 10 .. 128: the Taylor series
 * there, whose eleventh term is below 1e-17. Constant. */
#ifndef ADIT_PRIMITIVES_TANH_SERIES_H
#define ADIT_PRIMITIVES_TANH_SERIES_H

enum {
  TANH_STEPS = 16, TANH_FIRST = 10, TANH_LAST = 128, TANH_ROWS = TANH_LAST - TANH_FIRST + 1, TANH_TERMS = 10
};
extern const double tanh_series[TANH_ROWS][TANH_TERMS];

#endif
