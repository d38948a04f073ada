/* loop_index.c -- see loop_index.h. */
#include "function/loop_index.h"

#include <string.h>

static const carrier *carrier_at(const ad_tape *t, uint32_t i) {
  size_t size;
  return node_attribute(t, i, &size);
}

bool loop_is(const ad_tape *t, uint32_t i) {
  if (node_is_leaf(t, i)) return false;
  const ad_primitive *p = node_primitive(t, i);
  return p == &carrier_primitives[CARRIER_SCAN] || p == &carrier_primitives[CARRIER_LOOP];
}

uint32_t loop_find(const loop_index *x, uint32_t i) {
  uint32_t low = 0, high = x->loops;
  while (low < high) {
    const uint32_t middle = low + (high - low)/2;
    if (x->loop[middle].node < i) low = middle + 1;
    else high = middle;
  }
  return low < x->loops && x->loop[low].node == i ? low : NO_LOOP;
}

/* --- results -------------------------------------------------------------------------------------------- */

/* The loop that node k is a result of, NO_LOOP: it is none that is looked at. */
static uint32_t loop_of_result(const loop_index *x, const ad_tape *t, const unsigned char *needed,
                               uint32_t k) {
  int n;
  if ((needed[k] & 3) != 1 || !node_is_result(t, k)) return NO_LOOP;
  return loop_find(x, *node_operands(t, k, &n));
}

static void count_results(loop_index *x, const ad_tape *t, const unsigned char *needed) {
  for (uint32_t k = 0; k <= x->highest; k++) {
    const uint32_t l = loop_of_result(x, t, needed, k);
    if (l != NO_LOOP) x->loop[l].results++;
  }
  for (uint32_t l = 0; l < x->loops; l++) {
    x->loop[l].first = x->results;
    x->results += x->loop[l].results;
    x->loop[l].results = 0;
  }
}

static void list_results(loop_index *x, const ad_tape *t, const unsigned char *needed) {
  for (uint32_t k = 0; k <= x->highest; k++) {
    const uint32_t l = loop_of_result(x, t, needed, k);
    if (l == NO_LOOP) continue;
    loop_entry *e = &x->loop[l];
    const carrier *c = carrier_at(t, e->node);
    const int j = result_number(t, k);
    e->recorded |= c->kind != CARRIER_LOOP && j >= c->n_out;
    x->result[e->first + e->results++] = (uint32_t)j;
  }
}

/* --- loops that are alike ------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t hash, uint64_t with) {
  hash = (hash ^ with)*UINT64_C(0x9E3779B97F4A7C15);
  return hash ^ hash >> 29;
}

static uint32_t count_operand(const ad_tape *t, uint32_t i) {
  int n;
  const carrier *c = carrier_at(t, i);
  return c->counted ? node_operands(t, i, &n)[c->n_in] : 0;
}

static uint64_t hash_of(const ad_tape *t, uint32_t i) {
  const carrier *c = carrier_at(t, i);
  int n;
  uint64_t hash = mixed((uint64_t)(uint32_t)c->kind, (uint64_t)(uintptr_t)c->g);
  hash = mixed(mixed(hash, (uint64_t)c->n), (uint64_t)c->limit);
  return mixed(mixed(hash, count_operand(t, i)), *node_operands(t, i, &n));
}

static bool are_alike(const ad_tape *t, uint32_t i, uint32_t j) {
  const carrier *a = carrier_at(t, i), *b = carrier_at(t, j);
  int n;
  return a->kind == b->kind && a->g == b->g && a->n == b->n && a->limit == b->limit && a->keep == b->keep
         && a->bytes == b->bytes && a->policy == b->policy && a->backwards == b->backwards
         && a->counted == b->counted && count_operand(t, i) == count_operand(t, j)
         && *node_operands(t, i, &n) == *node_operands(t, j, &n);
}

/* Backwards, so that the table has the next loop of each kind. */
static void link_loops(loop_index *x, const ad_tape *t, uint32_t table[], size_t size) {
  memset(table, 0xFF, size*sizeof *table);
  for (uint32_t l = x->loops; l-- > 0;) {
    const uint32_t i = x->loop[l].node;
    x->loop[l].next = NO_LOOP;
    if (carrier_at(t, i)->r || carrier_at(t, i)->n_in == 0) continue;
    size_t slot = (size_t)hash_of(t, i) & (size - 1);
    while (table[slot] != NO_LOOP && !are_alike(t, x->loop[table[slot]].node, i))
      slot = (slot + 1) & (size - 1);
    x->loop[l].next = table[slot];
    table[slot] = l;
  }
}

static bool find_alike(loop_index *x, const ad_allocator *a, const ad_tape *t) {
  size_t size = 4;
  while (size < 2*(size_t)x->loops) size *= 2;
  uint32_t *table = memory_get(a, size*sizeof *table);
  if (table) link_loops(x, t, table, size);
  memory_release(a, table, size*sizeof *table);
  return table != NULL;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static bool is_listed(const ad_tape *t, const unsigned char *needed, uint32_t i) {
  return (needed[i] & 3) == 1 && loop_is(t, i);
}

static bool list_loops(loop_index *x, const ad_allocator *a, const ad_tape *t, const unsigned char *needed) {
  uint32_t n = 0;
  for (uint32_t i = 0; i <= x->highest; i++) n += is_listed(t, needed, i);
  x->loop = memory_get_zeroed(a, (size_t)n + 1, sizeof *x->loop);
  x->reached = memory_get_zeroed(a, (size_t)x->highest + 1, 1);
  x->loops = n, n = 0;
  for (uint32_t i = 0; i <= x->highest && x->loop; i++)
    if (is_listed(t, needed, i)) x->loop[n++].node = i;
  return x->loop && x->reached;
}

bool loop_index_open(loop_index *x, const ad_allocator *a, const ad_tape *src, const unsigned char *needed,
                     uint32_t highest) {
  *x = (loop_index){ .highest = highest };
  bool good = list_loops(x, a, src, needed);
  if (good) {
    count_results(x, src, needed);
    x->result = memory_get(a, (size_t)x->results*sizeof *x->result + 1);
    good = x->result && find_alike(x, a, src);
  }
  if (good) list_results(x, src, needed);
  else loop_index_close(x, a);
  return good;
}

void loop_index_close(loop_index *x, const ad_allocator *a) {
  memory_release(a, x->loop, ((size_t)x->loops + 1)*sizeof *x->loop);
  memory_release(a, x->result, (size_t)x->results*sizeof *x->result + 1);
  memory_release(a, x->reached, (size_t)x->highest + 1);
  *x = (loop_index){ 0 };
}
