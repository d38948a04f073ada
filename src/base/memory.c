/* memory.c -- the standard allocator and the few calls around an allocation hook. */
#define _DEFAULT_SOURCE
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__) && defined(__LP64__)
#  include <sys/mman.h>
#endif

#if defined(__linux__) && defined(__LP64__)

/* Big blocks are mappings of their own. Each reserves address space far beyond its size, so that growing it
 * moves and copies nothing: a fresh 4 KiB page costs as much as a hundred recorded operations, and a block
 * that moves as it grows has many. A huge page costs as much as fifty small ones, a tenth per byte; but what
 * is not used of it is memory lost. So the first MiB of a block consists of small pages, what follows of huge
 * ones: the block begins that much before a boundary of huge pages. A block of a given size, which is not
 * likely to grow, does not round up to a huge page that it would use less than half of. A block that grows
 * may stop anywhere: it gets huge pages only from three MiB on, of which what it loses is less. How much is
 * reserved follows from the size alone, so nothing needs to be remembered. */
enum { BIG = 128 << 10, SMALL_PART = 1 << 20, HUGE_PAGE = 2 << 20, SMALL_GROWTH = SMALL_PART + HUGE_PAGE };

static size_t rounded(size_t size, size_t page) { return (size + page - 1) & ~(page - 1); }

static size_t reserve_of(size_t size) {
  for (size_t reserve = (size_t)64 << 20; reserve <= (size_t)1 << 38; reserve <<= 6)
    if (size <= reserve) return reserve;
  return rounded(size, HUGE_PAGE);
}

/* How much of a block of that size is usable memory. */
static size_t usable(size_t size) {
  if (size <= SMALL_PART) return SMALL_PART;
  const size_t reserve = reserve_of(size), end = SMALL_PART + rounded(size - SMALL_PART, HUGE_PAGE);
  return end < reserve ? end : reserve;
}

/* Makes [from, to) usable, of which [first, last) may be huge pages. */
static bool commit(char *block, size_t from, size_t to, size_t first, size_t last) {
  if (from >= to) return true;
  if (mprotect(block + from, to - from, PROT_READ | PROT_WRITE)) return false;
#ifdef MADV_HUGEPAGE
  if (first < from) first = from;
  if (first < last) (void)madvise(block + first, last - first, MADV_HUGEPAGE);
#else
  (void)first, (void)last;
#endif
  return true;
}

static void *map_new(size_t size) {
  const size_t reserve = reserve_of(size), more = reserve + HUGE_PAGE, to = usable(size);
  if (more < size) return NULL;
  char *base = mmap(NULL, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return NULL;
  char *block = base + (HUGE_PAGE + SMALL_PART - (uintptr_t)base%HUGE_PAGE)%HUGE_PAGE;
  if (block > base) munmap(base, (size_t)(block - base));
  munmap(block + reserve, (size_t)(base + more - (block + reserve)));
  if (commit(block, 0, to, SMALL_PART, to - size > HUGE_PAGE/2 ? to - HUGE_PAGE : to)) return block;
  munmap(block, reserve);
  return NULL;
}

static void release(void *pointer, size_t size) {
  if (pointer && size >= BIG) munmap(pointer, reserve_of(size));
  else free(pointer);
}

static bool grow(char *block, size_t old_size, size_t new_size) {
  const size_t to = usable(new_size);
  return commit(block, usable(old_size), to, SMALL_GROWTH, to);
}

static void *resize(void *pointer, size_t old_size, size_t new_size) {
  if (new_size < BIG && old_size < BIG) return realloc(pointer, new_size);
  if (pointer && old_size >= BIG && new_size >= BIG && reserve_of(old_size) == reserve_of(new_size))
    return grow(pointer, old_size, new_size) ? pointer : NULL;
  void *block = new_size >= BIG ? map_new(new_size) : malloc(new_size);
  if (!block) return NULL;
  if (pointer) memcpy(block, pointer, old_size < new_size ? old_size : new_size);
  release(pointer, old_size);
  return block;
}

/* Fresh pages are zeros, and cost nothing until they are written to. */
static bool is_zero(size_t size) { return size >= BIG; }

/* A growing list would soon move to a mapping: from a quarter of that size on it begins there. */
static size_t growing(size_t bytes) { return bytes >= BIG/4 && bytes < BIG ? BIG : bytes; }

#else

static void release(void *pointer, size_t size) { (void)size, free(pointer); }
static void *resize(void *pointer, size_t old_size, size_t new_size) {
  (void)old_size;
  return realloc(pointer, new_size);
}
static bool is_zero(size_t size) { (void)size; return false; }
static size_t growing(size_t bytes) { return bytes; }

#endif

static void *standard(void *user, void *pointer, size_t old_size, size_t new_size) {
  (void)user;
  if (new_size) return resize(pointer, old_size, new_size);
  release(pointer, old_size);
  return NULL;
}

const ad_allocator memory_standard = { standard, NULL };

void *memory_get(const ad_allocator *a, size_t size) {
  return size ? a->reallocate(a->user, NULL, 0, size) : NULL;
}

void *memory_get_zeroed(const ad_allocator *a, size_t count, size_t size) {
  if (size && count > SIZE_MAX/size) return NULL;
  void *block = memory_get(a, count*size);
  if (block && !(a->reallocate == standard && is_zero(count*size))) memset(block, 0, count*size);
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
  if (*capacity && a->reallocate == standard) wanted = (growing(wanted*size) + size - 1)/size;
  void *old;
  memcpy(&old, items, sizeof old);
  void *block = memory_resize(a, old, *capacity*size, wanted*size);
  if (!block) return false;
  memcpy(items, &block, sizeof block);
  *capacity = wanted;
  return true;
}
