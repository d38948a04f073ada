/* test_memory.c -- blocks of the standard allocator: what is in them survives growing and shrinking, from the
 * C library's blocks to mappings and from one reservation to the next; all of a block is usable. */
#include "check.h"

#include "base/memory.h"

static size_t bytes_of(int k) { return (size_t)1 << k; }

static uint64_t mark(size_t at) { return at*0x9E3779B97F4A7C15u + 1; }

/* A mark in every page, and one at the very end. */
static void fill(char *block, size_t from, size_t to) {
  for (size_t at = (from + 4095)/4096*4096; at + 8 <= to; at += 4096) {
    const uint64_t m = mark(at);
    memcpy(block + at, &m, sizeof m);
  }
  block[to - 1] = (char)(to%100);
}

static bool holds(const char *block, size_t to) {
  for (size_t at = 0; at + 8 <= to; at += 4096) {
    const uint64_t m = mark(at);
    if (memcmp(block + at, &m, sizeof m) && at + 8 <= to - 1) return false;
  }
  return true;
}

/* Through sizes around every boundary: 128 KiB, 1 MiB, 3 MiB, 64 MiB. */
static void test_growing(void) {
  static const int base[] = { 12, 16, 17, 18, 20, 21, 22, 25, 26 };
  const ad_allocator *a = &memory_standard;
  char *block = NULL;
  size_t size = 0;
  for (size_t k = 0; k < sizeof base/sizeof *base; k++)
    for (int around = -1; around <= 1; around++) {
      const size_t wanted = bytes_of(base[k]) + (size_t)(around + 1)*8 - 8;
      char *grown = memory_resize(a, block, size, wanted);
      if (!CHECK(grown != NULL)) return;
      block = grown;
      CHECK_THAT(size == 0 || holds(block, size), "a block of %zu bytes lost something on its way to %zu",
                 size, wanted);
      fill(block, size > 8 ? size - 8 : 0, wanted);
      size = wanted;
    }
  for (int k = 25; k >= 12; k -= 2) {
    block = memory_resize(a, block, size, bytes_of(k));
    if (!CHECK(block != NULL)) return;
    size = bytes_of(k);
    CHECK_THAT(holds(block, size), "a block that shrank to %zu bytes lost something", size);
  }
  memory_release(a, block, size);
}

/* Blocks of a size known from the start. */
static void test_whole(void) {
  const ad_allocator *a = &memory_standard;
  for (int k = 10; k <= 24; k++)
    for (int part = 4; part < 8; part++) {
      const size_t size = bytes_of(k)/4*(size_t)part;
      char *block = memory_get_zeroed(a, size, 1);
      if (!CHECK(block != NULL)) return;
      size_t sum = 0;
      for (size_t at = 0; at < size; at += 1024) sum += (unsigned char)block[at];
      CHECK(sum == 0 && block[size - 1] == 0);
      fill(block, 0, size);
      CHECK(holds(block, size));
      memory_release(a, block, size);
    }
}

static void test_lists(void) {
  const ad_allocator *a = &memory_standard;
  uint64_t *list = NULL;
  size_t capacity = 0;
  bool kept = true;
  for (size_t n = 0; n < 400000; n++) {
    if (n == capacity && !CHECK(memory_reserve(a, &list, &capacity, n + 1, sizeof *list))) return;
    list[n] = mark(n);
  }
  for (size_t n = 0; n < 400000; n++) kept &= list[n] == mark(n);
  CHECK(kept && capacity >= 400000);
  CHECK(!memory_reserve(a, &list, &capacity, SIZE_MAX/4, sizeof *list));
  CHECK(!memory_get(a, SIZE_MAX/2) && !memory_get_zeroed(a, SIZE_MAX/2, 4) && !memory_get(a, 0));
  memory_release(a, list, capacity*sizeof *list);
}

int main(void) {
  test_growing();
  test_whole();
  test_lists();
  return check_summary();
}
