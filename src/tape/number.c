/* number.c -- value numbering: on a tape that traces a function, equal operations, and equal constants, are
 * one node. */
#include "tape/tape.h"

#include <string.h>

static uint64_t mix(uint64_t h, uint64_t word) {
  h = (h ^ word)*0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

static bool is_scalar_constant(const ad_tape *t, uint32_t i) {
  return node_is_constant(t, i) && node_type(t, i)->type.rank == 0;
}

static uint64_t scalar_bits(const ad_tape *t, uint32_t i) {
  uint64_t bits = 0;
  memcpy(&bits, &t->value[i], node_type(t, i)->bytes);
  return bits;
}

static size_t hash_array(uint64_t h, const unsigned char *data, size_t bytes) {
  uint64_t word = 0;
  for (; bytes >= 8; bytes -= 8, data += 8) {
    memcpy(&word, data, 8);
    h = mix(h, word);
  }
  word = 0;
  if (bytes) memcpy(&word, data, bytes);
  return (size_t)mix(h, word);
}

static size_t hash_node(const ad_tape *t, uint32_t i) {
  const uint32_t head = t->node[i].head;
  uint64_t h = mix(head & NODE_PRIMITIVE, head >> NODE_TYPE_SHIFT);
  if (is_scalar_constant(t, i)) return (size_t)mix(h, scalar_bits(t, i));
  if (node_is_constant(t, i)) return hash_array(h, node_data(t, i), node_type(t, i)->bytes);
  int n;
  size_t size;
  const uint32_t *x = node_operands(t, i, &n);
  const unsigned char *a = node_attribute(t, i, &size);
  for (int k = 0; k < n; k++) h = mix(h, x[k]);
  for (size_t k = 0; k + 8 <= size; k += 8) {
    uint64_t word;
    memcpy(&word, a + k, 8);
    h = mix(h, word);
  }
  return (size_t)(h ^ h >> 32);
}

static bool same_node(const ad_tape *t, uint32_t i, uint32_t j) {
  const uint32_t keep = ~(uint32_t)(NODE_KNOWN | NODE_OBSERVED);
  if ((t->node[i].head & keep) != (t->node[j].head & keep)) return false;
  if (is_scalar_constant(t, i)) return scalar_bits(t, i) == scalar_bits(t, j);
  if (node_is_constant(t, i)) {
    const size_t bytes = node_type(t, i)->bytes;
    return !bytes || !memcmp(node_data(t, i), node_data(t, j), bytes);
  }
  if (node_is_leaf(t, i)) return false;
  int m, n;
  size_t p, q;
  const uint32_t *x = node_operands(t, i, &m), *y = node_operands(t, j, &n);
  const void *a = node_attribute(t, i, &p), *b = node_attribute(t, j, &q);
  return m == n && p == q && !memcmp(x, y, (size_t)m*sizeof *x) && (!p || !memcmp(a, b, p));
}

static bool grow(ad_tape *t) {
  value_numbers *v = &t->numbers;
  size_t capacity = v->capacity ? 2*v->capacity : 256;
  uint32_t *slot = memory_get_zeroed(&t->allocator, capacity, sizeof *slot);
  if (!slot) return false;
  for (size_t i = 0; i < v->capacity; i++) {
    if (!v->slot[i]) continue;
    size_t h = hash_node(t, v->slot[i] - 1);
    while (slot[h & (capacity - 1)]) h++;
    slot[h & (capacity - 1)] = v->slot[i];
  }
  memory_release(&t->allocator, v->slot, v->capacity*sizeof *slot);
  v->slot = slot;
  v->capacity = capacity;
  return true;
}

uint32_t tape_number_last(ad_tape *t) {
  value_numbers *v = &t->numbers;
  uint32_t last = (uint32_t)t->count - 1;
  /* Without memory for the table nodes merely stay apart. */
  if (2*v->used >= v->capacity && !grow(t)) return last;
  size_t h = hash_node(t, last);
  for (; v->slot[h & (v->capacity - 1)]; h++) {
    uint32_t i = v->slot[h & (v->capacity - 1)] - 1;
    if (same_node(t, i, last)) return i;
  }
  v->slot[h & (v->capacity - 1)] = last + 1;
  v->used++;
  return last;
}

void tape_forget_numbers(ad_tape *t) {
  memory_release(&t->allocator, t->numbers.slot, t->numbers.capacity*sizeof *t->numbers.slot);
  t->numbers = (value_numbers){ NULL, 0, 0 };
}
