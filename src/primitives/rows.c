/* rows.c -- rows that an index chooses, for the vectors of each processor. */
#include "primitives/rows.h"
#include "primitives/reduce.h"

typedef uint32_t __attribute__((may_alias)) word_4;
typedef uint64_t __attribute__((may_alias)) word_8;

/* [0]: by i32, [1]: by i64. */
typedef struct rows_kernels {
  rows_kernel *copy_4[2], *copy_8[2], *add_f32[2], *add_f64[2];
  sums_kernel *sums_f32[2], *sums_f64[2];
} rows_kernels;

#define ROWS(name) name##_baseline
#include "primitives/rows.inc"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define ROWS(name) name##_avx2
#include "primitives/rows.inc"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
#endif
#define ROWS(name) name##_avx512
#include "primitives/rows.inc"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const rows_kernels *best_kernels(void) {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) return &rows_avx512;
  return __builtin_cpu_supports("avx2") ? &rows_avx2 : &rows_baseline;
}
#else
static const rows_kernels *best_kernels(void) { return &rows_baseline; }
#endif

rows_kernel *rows_copy(size_t bytes, bool wide) {
  const rows_kernels *k = best_kernels();
  return bytes == 8 ? k->copy_8[wide] : bytes == 4 ? k->copy_4[wide] : NULL;
}

rows_kernel *rows_add(ad_dtype dtype, bool wide) {
  const rows_kernels *k = best_kernels();
  return dtype == AD_F64 ? k->add_f64[wide] : dtype == AD_F32 ? k->add_f32[wide] : NULL;
}

sums_kernel *rows_sums(ad_dtype dtype, bool wide) {
  const rows_kernels *k = best_kernels();
  return dtype == AD_F64 ? k->sums_f64[wide] : dtype == AD_F32 ? k->sums_f32[wide] : NULL;
}
