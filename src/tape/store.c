/* store.c -- what nodes refer to: interned types, primitives by number, and the arena for operand lists and
 * attributes. */
#include "tape/tape.h"

#include <string.h>

/* --- types ---------------------------------------------------------------------------------------- */

static size_t hash_type(const ad_type *type) {
  uint64_t h = (uint64_t)type->dtype*8 + (uint64_t)type->rank;
  for (int i = 0; i < type->rank; i++) h = (h ^ (uint64_t)type->dim[i])*0x9E3779B97F4A7C15u, h ^= h >> 29;
  return (size_t)(h ^ h >> 32);
}

static bool rehash_types(ad_tape *t) {
  size_t slots = t->type_slots ? 2*t->type_slots : 32;
  uint16_t *slot = memory_get_zeroed(&t->allocator, slots, sizeof *slot);
  if (!slot) return false;
  for (size_t i = 0; i < t->types; i++) {
    size_t h = hash_type(&t->type[i]->type);
    while (slot[h & (slots - 1)]) h++;
    slot[h & (slots - 1)] = (uint16_t)(i + 1);
  }
  memory_release(&t->allocator, t->type_slot, t->type_slots*sizeof *slot);
  t->type_slot = slot;
  t->type_slots = slots;
  return true;
}

static bool add_type(ad_tape *t, const ad_type *type, size_t slot) {
  if (t->types == MAX_TYPES - 2) {
    tape_fail(t, AD_ERROR_LIMIT, "more than %d different types on one tape", MAX_TYPES - 2);
    return false;
  }
  tape_type *e = NULL;
  if (memory_reserve(&t->allocator, &t->type, &t->type_capacity, t->types + 1, sizeof *t->type))
    e = memory_get_zeroed(&t->allocator, 1, sizeof *e);
  if (!e) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  e->type = ad_type_make(type->dtype, type->rank, type->dim);
  e->count = ad_type_count(*type);
  e->bytes = ad_type_bytes(*type);
  t->type[t->types++] = e;
  t->type_slot[slot] = (uint16_t)t->types;
  return true;
}

bool tape_intern_type(ad_tape *t, const ad_type *type, uint32_t *number) {
  if (2*t->types >= t->type_slots && !rehash_types(t)) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  size_t mask = t->type_slots - 1, h = hash_type(type);
  for (; t->type_slot[h & mask]; h++) {
    *number = (uint32_t)t->type_slot[h & mask] - 1;
    if (ad_type_equal(t->type[*number]->type, *type)) return true;
  }
  *number = (uint32_t)t->types;
  return add_type(t, type, h & mask);
}

/* --- primitives ----------------------------------------------------------------------------------- */

/* A program uses a few dozen, the last one used most likely again. */
bool tape_number_primitive(ad_tape *t, const ad_primitive *p, uint32_t *number) {
  if (p->row) {
    *number = (uint32_t)((const elementwise_row *)p->row - elementwise_rows);
    return true;
  }
  for (size_t i = t->primitives; i-- > 0;)
    if (t->primitive[i] == p) {
      *number = (uint32_t)i + PRIMITIVE_FIRST_OTHER;
      return true;
    }
  if (t->primitives == MAX_PRIMITIVES - PRIMITIVE_FIRST_OTHER) {
    tape_fail(t, AD_ERROR_LIMIT, "more than %d different primitives on one tape", (int)t->primitives);
    return false;
  }
  if (!memory_reserve(&t->allocator, &t->primitive, &t->primitive_capacity, t->primitives + 1,
                      sizeof *t->primitive)) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  *number = (uint32_t)t->primitives + PRIMITIVE_FIRST_OTHER;
  t->primitive[t->primitives++] = p;
  return true;
}

/* --- the arena ------------------------------------------------------------------------------------ */

static bool add_chunks(ad_tape *t, size_t n) {
  arena *a = &t->arena;
  const ad_allocator *m = &t->allocator;
  if (!memory_reserve(m, &a->chunk, &a->chunk_capacity, a->chunks + n, sizeof *a->chunk)) return false;
  if (!memory_reserve(m, &a->owned, &a->owned_capacity, a->chunks + n, sizeof *a->owned)) return false;
  size_t bytes = n*ARENA_CHUNK*sizeof(uint64_t);
  uint64_t *block = memory_get(m, bytes);
  if (!block) return false;
  for (size_t i = 0; i < n; i++) {
    a->chunk[a->chunks] = block + i*ARENA_CHUNK;
    a->owned[a->chunks++] = i ? 0 : bytes;
  }
  return true;
}

/* True when words [at, at + words) are one piece of memory that exists. */
static bool in_one_block(const arena *a, size_t at, size_t words) {
  size_t first = at/ARENA_CHUNK, last = (at + words - 1)/ARENA_CHUNK;
  if (last >= a->chunks) return false;
  for (size_t i = first + 1; i <= last; i++)
    if (a->owned[i]) return false;
  return true;
}

/* The record begins at an even word: attributes are 16-byte aligned. Chunks that stay after a rewind are used
 * again; a record too long for what is left there begins at a later chunk. */
bool arena_reserve(ad_tape *t, size_t words, uint32_t *at) {
  arena *a = &t->arena;
  size_t from = (a->used + 1u) & ~(size_t)1;
  while (from / ARENA_CHUNK < a->chunks && !in_one_block(a, from, words))
    from = (from / ARENA_CHUNK + 1) * ARENA_CHUNK;
  if (from/ARENA_CHUNK >= a->chunks) from = a->chunks*ARENA_CHUNK;
  if (from + words > UINT32_MAX || (!in_one_block(a, from, words) && !add_chunks(t, words/ARENA_CHUNK + 1))) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  *at = (uint32_t)from;
  a->used = (uint32_t)(from + words);
  return true;
}

void arena_free(ad_tape *t) {
  arena *a = &t->arena;
  for (size_t i = 0; i < a->chunks; i++)
    if (a->owned[i]) memory_release(&t->allocator, a->chunk[i], a->owned[i]);
  memory_release(&t->allocator, a->chunk, a->chunk_capacity*sizeof *a->chunk);
  memory_release(&t->allocator, a->owned, a->owned_capacity*sizeof *a->owned);
}
