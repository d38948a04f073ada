/* kernels_avx2.c -- block kernels for x86-64 with AVX2. Options: see kernels.inc, and -mavx2 -mfma. */
#include "run/kernels/kernels.h"

#ifdef __x86_64__
#ifndef __AVX2__
#error "compile this file with -mavx2 -mfma"
#endif
#define KERNELS kernels_avx2
#define KERNELS_NAME "avx2"
#include "run/kernels/kernels.inc"
#endif
