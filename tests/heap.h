/* heap.h -- an allocator for tests that watches its user: it counts calls, blocks and bytes, compares the
 * size that comes with each block with the size it has, fills fresh and given back memory with rubbish, and
 * makes the n-th allocation fail.
 *
 *     heap h = { .fail_at = 3 };
 *     const ad_allocator a = heap_allocator(&h);
 *     ... work with &a ...
 *     CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
 *
 * For one thread at a time. */
#ifndef ADIT_TESTS_HEAP_H
#define ADIT_TESTS_HEAP_H

#include "adit/tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct heap {
  long calls, fail_at;              /* calls that want memory, the failing ones too; 0: none fails */
  bool keep_failing;                /* all from the fail_at-th on, not only that one */
  long blocks, wrong_sizes;
  size_t live, peak;                /* bytes that were asked for, headers not counted */
  char text[100];
} heap;

enum { HEAP_HEADER = 16, HEAP_FRESH = 0xA5, HEAP_FREED = 0xDD };

static inline bool heap_refuses(heap *h) {
  h->calls++;
  return h->fail_at && (h->keep_failing ? h->calls >= h->fail_at : h->calls == h->fail_at);
}

static inline void *heap_reallocate(void *user, void *pointer, size_t old_size, size_t new_size) {
  heap *h = user;
  char *block = pointer ? (char *)pointer - HEAP_HEADER : NULL;
  size_t had = 0;
  if (block) memcpy(&had, block, sizeof had);
  h->wrong_sizes += had != old_size;
  if (new_size && heap_refuses(h)) return NULL;
  h->live += new_size - had;
  h->blocks += (new_size != 0) - (block != NULL);
  if (h->live > h->peak) h->peak = h->live;
  if (new_size < had) memset(block + HEAP_HEADER + new_size, HEAP_FREED, had - new_size);
  if (new_size == 0) {
    free(block);
    return NULL;
  }
  block = realloc(block, HEAP_HEADER + new_size);
  if (!block) abort();
  if (new_size > had) memset(block + HEAP_HEADER + had, HEAP_FRESH, new_size - had);
  memcpy(block, &new_size, sizeof new_size);
  return block + HEAP_HEADER;
}

static inline ad_allocator heap_allocator(heap *h) { return (ad_allocator){ heap_reallocate, h }; }

/* Counts calls from here on; the n-th of them fails, and with `keep` all after it; n = 0: none. */
static inline void heap_fail(heap *h, long n, bool keep) {
  h->calls = 0, h->fail_at = n, h->keep_failing = keep;
}

/* After heap_fail(h, n, ..): there were fewer than n calls, so that none has failed. */
static inline bool heap_has_served(const heap *h) { return h->calls < h->fail_at; }

/* Every block came back, and all of them with the sizes that they had. */
static inline bool heap_is_empty(const heap *h) { return !h->live && !h->blocks && !h->wrong_sizes; }

static inline const char *heap_text(heap *h) {
  snprintf(h->text, sizeof h->text, "%zu bytes in %ld blocks are left, %ld sizes were wrong", h->live,
           h->blocks, h->wrong_sizes);
  return h->text;
}

#endif
