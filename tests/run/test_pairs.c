/* test_pairs.c -- the kernel of a pair gives the bits of its two rows, one after the other, on every instruction set. */
#include <stdio.h>
#include <string.h>

#include "primitives/elementwise.h"

enum { N = 96 };

static const char *const pair_names[] = {
#define PAIR(first, second, place, value) #first " in " #second " at " #place,
#include "primitives/pairs.def"
};
static const struct { elementwise_id first, second; uint32_t place; } pairs[] = {
#define PAIR(first, second, place, value) { ROW_##first, ROW_##second, place },
#include "primitives/pairs.def"
};

static int passed, failed;

static void fill(ad_dtype dtype, void *x, int seed) {
  static const double special[] = { 0.0, -0.0, 1e300, 1e-310, 1.0/3 };
  for (int i = 0; i < N; i++) {
    const double v = i < 5 ? special[(i + seed)%5] : (i*37%19 - 9.1)*(seed + 0.7);
    if (dtype == AD_F64) ((double *)x)[i] = v; else ((float *)x)[i] = (float)v;
  }
}

static void check_pair(const kernel_table *k, int p, uint32_t place, ad_dtype dtype) {
  double x[N], y[N], w[N], t[N], want[N], got[N];
  const size_t bytes = N*ad_dtype_bytes(dtype);
  fill(dtype, x, 1), fill(dtype, y, 2), fill(dtype, w, 3);
  k->row[dtype][pairs[p].first](N, t, x, y, NULL, 0);
  k->row[dtype][pairs[p].second](N, want, place == 0 ? t : w, place == 0 ? w : t, NULL, 0);
  block_kernel *pair = kernels_pair(k, pairs[p].first, pairs[p].second, place, dtype);
  if (pair) pair(N, got, x, y, w, 0);
  const bool same = pair && !memcmp(want, got, bytes);
  if (pair) pair(N, x, x, y, w, 0);
  if (same && !memcmp(want, x, bytes)) passed++;
  else failed++, printf("FAIL %s, %s, %s\n", k->name, pair_names[p], ad_dtype_name(dtype));
}

int main(void) {
  for (int i = 0; kernels_available(i); i++)
    for (int p = 0; p < PAIR_COUNT; p++)
      for (uint32_t place = 0; place < 2; place++) {
        if (pairs[p].place != 2 && pairs[p].place != place) continue;
        check_pair(kernels_available(i), p, place, AD_F64);
        check_pair(kernels_available(i), p, place, AD_F32);
      }
  const bool none = !kernels_pair(kernels_best(), ROW_exp, ROW_add, 0, AD_F64);
  if (none) passed++; else failed++, printf("FAIL exp and add are no pair\n");
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
