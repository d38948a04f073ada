/* region.c -- running a fused elementwise region. */
#include "run/region.h"

#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

/* FAR: elements of arrays that the L1 and most of the L2 do not hold. */
enum { ELEMENTS_PER_THREAD = 8192, FAR = 32768 };

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

/* What one thread works with. */
typedef struct worker {
  const region *r;
  void *const *memory;
  void **at;                        /* where each slot is for this block */
  char *buffers;
  bool far;
} worker;

static int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1)/multiple*multiple; }
static size_t buffer_bytes(const region *r) { return (size_t)r->block*8; }

static char *buffer_of(const worker *u, const region_slot *s) {
  return u->buffers + s->buffer*buffer_bytes(u->r);
}

/* The slots that stay where they are. */
static void place_fixed_slots(const worker *u) {
  const region *r = u->r;
  for (uint32_t i = 0; i < r->slots; i++) {
    const region_slot *s = &r->slot[i];
    u->at[i] = buffer_of(u, s);
    if (s->kind == SLOT_SPLAT && s->spread) splat(u->at[i], u->memory[s->place], s->size, r->block);
    else if (s->kind == SLOT_SPLAT) u->at[i] = u->memory[s->place];
  }
}

/* The others. A block of a multiple of pad works in place; a shorter one goes through buffers. */
static void place_slots(const worker *u, int64_t first, int64_t n, int64_t padded) {
  const region *r = u->r;
  for (uint32_t i = 0; i < r->slots; i++) {
    const region_slot *s = &r->slot[i];
    if (s->kind == SLOT_TEMPORARY || s->kind == SLOT_SPLAT) continue;
    char *own = buffer_of(u, s), *from = (char *)u->memory[s->place] + first*(int64_t)s->size;
    u->at[i] = own;
    if (s->kind == SLOT_STRIDED) fill_strided(r, s, u->memory[s->place], first, n, own);
    else if (n == padded) u->at[i] = from;
    else if (s->kind == SLOT_DIRECT) memcpy(own, from, (size_t)n*s->size);
    if (s->kind != SLOT_OUTPUT) pad(u->at[i], s->size, n, padded);
  }
}

static void store_outputs(const worker *u, int64_t first, int64_t n) {
  for (uint32_t i = 0; i < u->r->slots; i++) {
    const region_slot *s = &u->r->slot[i];
    if (s->kind == SLOT_OUTPUT)
      memcpy((char *)u->memory[s->place] + first * (int64_t)s->size, u->at[i], (size_t)n * s->size);
  }
}

static void run_steps(const worker *u, int64_t n, int64_t padded) {
  void *const *at = u->at;
  const size_t kernel_n = (size_t)up_to(n, REGION_PAD);
  for (uint32_t i = 0; i < u->r->steps; i++) {
    const region_step *s = &u->r->step[i];
    if (s->chain) {
      s->chain->run(u->r->link + (u->far ? s->far : s->first), (size_t)padded, at);
      continue;
    }
    const void *x = at[s->at.x], *y = s->at.y == NO_SLOT ? NULL : at[s->at.y],
               *w = s->at.w == NO_SLOT ? NULL : at[s->at.w];
    if (s->kernel) s->kernel(kernel_n, at[s->at.z], x, y, w, s->attribute);
    else s->own(kernel_n, at[s->at.z], x, y, w);
  }
}

static void run_block(const worker *u, int64_t first, int64_t n) {
  const int64_t padded = up_to(n, u->r->pad);
  place_slots(u, first, n, padded);
  run_steps(u, n, padded);
  if (n != padded) store_outputs(u, first, n);
}

static size_t thread_bytes(const region *r) {
  size_t pointers = (r->slots*sizeof(void *) + 63) & ~(size_t)63;
  return pointers + r->buffers*buffer_bytes(r);
}

size_t region_scratch(const region *r, int threads) {
  return thread_bytes(r) * (size_t)(threads > 1 ? threads : 1);
}

/* Elements [from, to) of count. */
static void run_part(const region *r, int64_t count, int64_t from, int64_t to, void *const memory[],
                     char *scratch) {
  char *buffers = scratch + thread_bytes(r) - r->buffers*buffer_bytes(r);
  const worker u = { r, memory, (void **)(void *)scratch, buffers, count >= FAR };
  place_fixed_slots(&u);
  for (int64_t first = from; first < to; first += r->block)
    run_block(&u, first, to - first < r->block ? to - first : r->block);
}

void region_run(const region *r, int64_t count, void *const memory[], void *scratch, int threads) {
  (void)threads;
  if (count == 0) return;
#ifdef _OPENMP
  if (threads > 1 && count >= 2*ELEMENTS_PER_THREAD && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
    {
      const int64_t team = omp_get_num_threads(), me = omp_get_thread_num(),
                    blocks = up_to(count, REGION_BLOCK)/REGION_BLOCK,
                    from = blocks*me/team*REGION_BLOCK, to = blocks*(me + 1)/team*REGION_BLOCK;
      run_part(r, count, from, to < count ? to : count, memory, (char *)scratch + (size_t)me*thread_bytes(r));
    }
    return;
  }
#endif
  run_part(r, count, 0, count, memory, scratch);
}

void region_free(const ad_allocator *a, region *r) {
  memory_release(a, r->slot, r->slot_capacity*sizeof *r->slot);
  memory_release(a, r->step, r->step_capacity*sizeof *r->step);
  memory_release(a, r->link, r->link_capacity*sizeof *r->link);
  memory_release(a, r->operation, r->operations*sizeof *r->operation);
}
