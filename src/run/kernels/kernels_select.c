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

block_kernel *kernels_pair(const kernel_table *k, elementwise_id first, elementwise_id second, uint32_t place,
                           ad_dtype dtype) {
  static const struct { elementwise_id first, second; uint32_t place; } pair[] = {
#define PAIR(first_row, second_row, at, value) { ROW_##first_row, ROW_##second_row, at },
#include "primitives/pairs.def"
  };
  for (int i = 0; i < PAIR_COUNT; i++)
    if (pair[i].first == first && pair[i].second == second && (pair[i].place == place || pair[i].place == 2))
      return k->pair[dtype][i];
  return NULL;
}

const kernel_table *kernels_best(void) {
  int i = 0;
  while (kernels_available(i + 1)) i++;
  return kernels_available(i);
}
