/* region.c -- running a fused elementwise region. */
#include "run/region.h"

#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { BLOCKS_PER_TASK = 32 };

slot_kind region_classify(const ad_type *x, const ad_type *z, int64_t stride[AD_MAX_RANK]) {
  bool whole = true, single = true;
  int64_t step = 1;
  for (int i = z->rank; i-- > 0;) {
    int j = i - (z->rank - x->rank);
    int64_t dim = j >= 0 ? x->dim[j] : 1;
    stride[i] = dim == 1 ? 0 : step;
    if (dim != z->dim[i]) whole = false;
    if (dim != 1) single = false;
    step *= dim;
  }
  return whole ? SLOT_DIRECT : single ? SLOT_SPLAT : SLOT_STRIDED;
}

/* --- filling slots -------------------------------------------------------------------------------------- */

static void splat(void *to, const void *value, size_t size, int64_t n) {
  if (size == 8) {
    uint64_t v, *out = to;
    memcpy(&v, value, 8);
    for (int64_t i = 0; i < n; i++) out[i] = v;
  } else if (size == 4) {
    uint32_t v, *out = to;
    memcpy(&v, value, 4);
    for (int64_t i = 0; i < n; i++) out[i] = v;
  } else memset(to, *(const unsigned char *)value, (size_t)n);
}

/* Elements [first, first + n) of a broadcast operand: runs along the last axis, the outer axes as an
 * odometer. */
static void fill_strided(const region *r, const region_slot *s, const char *from, int64_t first, int64_t n,
                         char *to) {
  int64_t index[AD_MAX_RANK], rest = first, offset = 0;
  const int last = r->rank - 1;
  for (int i = last; i >= 0; i--) {
    index[i] = rest % r->dim[i];
    rest /= r->dim[i];
    offset += index[i]*s->stride[i];
  }
  while (n > 0) {
    int64_t run = r->dim[last] - index[last];
    if (run > n) run = n;
    if (s->stride[last]) memcpy(to, from + offset*(int64_t)s->size, (size_t)run*s->size);
    else splat(to, from + offset*(int64_t)s->size, s->size, run);
    to += run*(int64_t)s->size;
    n -= run;
    offset += run*s->stride[last];
    index[last] += run;
    for (int i = last; i > 0 && index[i] == r->dim[i]; i--) {
      offset += s->stride[i - 1] - index[i]*s->stride[i];
      index[i] = 0;
      index[i - 1]++;
    }
  }
}

/* Repeats the last value up to the padded length. */
static void pad(char *block, size_t size, int64_t n, int64_t padded) {
  if (n < padded) splat(block + n*(int64_t)size, block + (n - 1)*(int64_t)size, size, padded - n);
}

/* --- blocks --------------------------------------------------------------------------------------------- */

/* Where each slot is for this block. A full block works in place; a short one goes through buffers. */
static void place_slots(const region *r, int64_t first, int64_t n, int64_t padded, void *const memory[],
                        char *buffer, void *at[]) {
  for (uint32_t i = 0; i < r->slots; i++) {
    const region_slot *s = &r->slot[i];
    char *own = buffer + (size_t)s->buffer*REGION_BUFFER;
    char *from = s->kind == SLOT_TEMPORARY ? own : (char *)memory[s->place] + first*(int64_t)s->size;
    at[i] = own;
    if (s->kind == SLOT_STRIDED) {
      fill_strided(r, s, memory[s->place], first, n, own);
      pad(own, s->size, n, padded);
    } else if ((s->kind == SLOT_DIRECT || s->kind == SLOT_OUTPUT) && n == padded) at[i] = from;
    else if (s->kind == SLOT_DIRECT) {
      memcpy(own, from, (size_t)n*s->size);
      pad(own, s->size, n, padded);
    }
  }
}

static void store_outputs(const region *r, int64_t first, int64_t n, void *const memory[], void *const at[]) {
  for (uint32_t i = 0; i < r->slots; i++) {
    const region_slot *s = &r->slot[i];
    if (s->kind == SLOT_OUTPUT)
      memcpy((char *)memory[s->place] + first * (int64_t)s->size, at[i], (size_t)n * s->size);
  }
}

static void run_steps(const region *r, int64_t n, void *const at[]) {
  for (uint32_t i = 0; i < r->steps; i++) {
    const region_step *s = &r->step[i];
    const void *x = at[s->x], *y = s->y == UINT32_MAX ? NULL : at[s->y],
               *w = s->w == UINT32_MAX ? NULL : at[s->w];
    if (s->kernel) s->kernel((size_t)n, at[s->z], x, y, w, s->attribute);
    else s->own((size_t)n, at[s->z], x, y, w);
  }
}

static void run_block(const region *r, int64_t first, int64_t n, void *const memory[], char *buffer,
                      void *at[]) {
  int64_t padded = (n + REGION_PAD - 1)/REGION_PAD*REGION_PAD;
  place_slots(r, first, n, padded, memory, buffer, at);
  run_steps(r, padded, at);
  if (n != padded) store_outputs(r, first, n, memory, at);
}

static size_t thread_bytes(const region *r) {
  size_t pointers = (r->slots*sizeof(void *) + 63) & ~(size_t)63;
  return pointers + (size_t)r->buffers*REGION_BUFFER;
}

size_t region_scratch(const region *r, int threads) {
  return thread_bytes(r) * (size_t)(threads > 1 ? threads : 1);
}

static void fill_splats(const region *r, void *const memory[], char *buffer) {
  for (uint32_t i = 0; i < r->slots; i++)
    if (r->slot[i].kind == SLOT_SPLAT)
      splat(buffer + (size_t)r->slot[i].buffer * REGION_BUFFER, memory[r->slot[i].place], r->slot[i].size,
            REGION_BLOCK);
}

static void run_blocks(const region *r, int64_t count, int64_t from, int64_t to, void *const memory[],
                       char *scratch) {
  void **at = (void **)(void *)scratch;
  char *buffer = scratch + thread_bytes(r) - (size_t)r->buffers*REGION_BUFFER;
  fill_splats(r, memory, buffer);
  for (int64_t b = from; b < to; b++) {
    int64_t first = b*REGION_BLOCK;
    run_block(r, first, count - first < REGION_BLOCK ? count - first : REGION_BLOCK, memory, buffer, at);
  }
}

void region_run(const region *r, int64_t count, void *const memory[], void *scratch, int threads) {
  int64_t blocks = (count + REGION_BLOCK - 1)/REGION_BLOCK;
  (void)threads;
  if (blocks == 0) return;
#ifdef _OPENMP
  if (threads > 1 && blocks >= 2*BLOCKS_PER_TASK && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
    {
      int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
      run_blocks(r, count, blocks * me / team, blocks * (me + 1) / team, memory,
                 (char *)scratch + (size_t)me * thread_bytes(r));
    }
    return;
  }
#endif
  run_blocks(r, count, 0, blocks, memory, scratch);
}

void region_free(const ad_allocator *a, region *r) {
  memory_release(a, r->slot, r->slot_capacity*sizeof *r->slot);
  memory_release(a, r->step, r->step_capacity*sizeof *r->step);
}
