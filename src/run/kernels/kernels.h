/* kernels.h -- the tables that kernels_select.c chooses from. */
#ifndef ADIT_RUN_KERNELS_H
#define ADIT_RUN_KERNELS_H

#include "primitives/elementwise.h"

extern const kernel_table kernels_baseline;
#ifdef __x86_64__
extern const kernel_table kernels_avx2, kernels_avx512;
#endif

#endif
