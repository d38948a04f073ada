/* memory.c -- the standard allocator and the few calls around an allocation hook. */
#define _DEFAULT_SOURCE
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#  include <sys/mman.h>
#endif

/* A fresh 4 KiB page costs about as much as a hundred recorded operations, so big blocks ask for huge pages. */
enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 8 << 20 };

static void ask_for_huge_pages(void *pointer, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (size < HUGE_FROM) return;
  uintptr_t first = ((uintptr_t)pointer + HUGE_PAGE - 1) & ~((uintptr_t)HUGE_PAGE - 1);
  uintptr_t last = ((uintptr_t)pointer + size) & ~((uintptr_t)HUGE_PAGE - 1);
  if (first < last) (void)madvise((void *)first, last - first, MADV_HUGEPAGE);
#else
  (void)pointer, (void)size;
#endif
}

static void *standard(void *user, void *pointer, size_t old_size, size_t new_size) {
  (void)user, (void)old_size;
  if (new_size == 0) {
    free(pointer);
    return NULL;
  }
  void *block = realloc(pointer, new_size);
  if (block) ask_for_huge_pages(block, new_size);
  return block;
}

const ad_allocator memory_standard = { standard, NULL };

void *memory_get(const ad_allocator *a, size_t size) {
  return size ? a->reallocate(a->user, NULL, 0, size) : NULL;
}

void *memory_get_zeroed(const ad_allocator *a, size_t count, size_t size) {
  if (size && count > SIZE_MAX/size) return NULL;
  void *block = memory_get(a, count*size);
  if (block) memset(block, 0, count*size);
  return block;
}

void *memory_resize(const ad_allocator *a, void *pointer, size_t old_size, size_t new_size) {
  return a->reallocate(a->user, pointer, pointer ? old_size : 0, new_size);
}

void memory_release(const ad_allocator *a, void *pointer, size_t size) {
  if (pointer) a->reallocate(a->user, pointer, size, 0);
}

bool memory_reserve(const ad_allocator *a, void *items, size_t *capacity, size_t need, size_t size) {
  if (need <= *capacity) return true;
  size_t wanted = *capacity + *capacity/2;
  if (wanted < need) wanted = need;
  if (wanted < 16) wanted = 16;
  if (wanted > SIZE_MAX/size/2) return false;
  void *old;
  memcpy(&old, items, sizeof old);
  void *block = memory_resize(a, old, *capacity*size, wanted*size);
  if (!block) return false;
  memcpy(items, &block, sizeof block);
  *capacity = wanted;
  return true;
}
