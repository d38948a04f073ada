/* tanh_series.c -- see tanh_series.h. */
#include "primitives/tanh_series.h"

const double tanh_series[TANH_ROWS][TANH_TERMS] = {
#include "primitives/tanh_series.inc"
};
