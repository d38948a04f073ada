/* kernels_baseline.c -- block kernels for every processor of the architecture. Options: see kernels.inc. */
#define KERNELS kernels_baseline
#define KERNELS_NAME "baseline"
#include "run/kernels/kernels.inc"
