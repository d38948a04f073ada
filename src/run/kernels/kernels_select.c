/* kernels_select.c -- the kernel tables that this processor can run, worst first. */
#include "run/kernels/chain.h"
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

int chain_find(elementwise_id row, uint32_t place) {
  static const struct { elementwise_id row; uint32_t place; chain_id link; } links[] = {
#define LINK_1(name, value)     { ROW_##name, 0, LINK_##name },
#define LINK_2(name, at, value) { ROW_##name, at, LINK_##name##_##at },
#include "run/kernels/chain.def"
  };
  for (size_t i = 0; i < sizeof links/sizeof *links; i++)
    if (links[i].row == row && (links[i].place == place || links[i].place == 2)) return (int)links[i].link;
  return CHAIN_NONE;
}

const kernel_table *kernels_best(void) {
  int i = 0;
  while (kernels_available(i + 1)) i++;
  return kernels_available(i);
}
