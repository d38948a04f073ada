/* kernels_select.c -- the kernel tables that this processor can run, worst first. */
#include "run/kernels/kernels.h"

#ifdef __x86_64__

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
         && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

/* Every processor with AVX-512 has AVX2. */
const kernel_table *kernels_available(int i) {
  if (i == 0) return &kernels_baseline;
  if (i == 1 && has_avx2()) return &kernels_avx2;
  if (i == 2 && has_avx512()) return &kernels_avx512;
  return NULL;
}

#else

const kernel_table *kernels_available(int i) { return i == 0 ? &kernels_baseline : NULL; }

#endif

const kernel_table *kernels_best(void) {
  int i = 0;
  while (kernels_available(i + 1)) i++;
  return kernels_available(i);
}
