/* kernels_avx512.c -- block kernels for x86-64 with AVX-512. Options: see kernels.inc, and -mavx512f
 * -mavx512dq -mavx512vl -mavx512bw -mfma -mprefer-vector-width=512. */
#include "run/kernels/kernels.h"

#ifdef __x86_64__
#ifndef __AVX512DQ__
#error "compile this file with -mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma -mprefer-vector-width=512"
#endif
#define KERNELS kernels_avx512
#define KERNELS_NAME "avx512"
#include "run/kernels/kernels.inc"
#endif
