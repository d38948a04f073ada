/* names.c -- a hash table of names with linear probing, at most half full. */
#include "formula/names.h"

#include <string.h>

/* FNV-1a. */
static size_t hash(const char *name, int length) {
  uint64_t h = 14695981039346656037u;
  for (int i = 0; i < length; i++) h = (h ^ (unsigned char)name[i])*1099511628211u;
  return (size_t)(h ^ h >> 32);
}

static name_entry *slot(const name_table *t, const char *name, int length) {
  size_t i = hash(name, length) & (t->capacity - 1);
  while (t->entry[i].name) {
    if (t->entry[i].length == length && !memcmp(t->entry[i].name, name, (size_t)length)) break;
    i = (i + 1) & (t->capacity - 1);
  }
  return &t->entry[i];
}

static bool grow(const ad_allocator *a, name_table *t) {
  name_table bigger = { .capacity = t->capacity ? 2*t->capacity : 32, .used = t->used };
  bigger.entry = memory_get_zeroed(a, bigger.capacity, sizeof *bigger.entry);
  if (!bigger.entry) return false;
  for (size_t i = 0; i < t->capacity; i++)
    if (t->entry[i].name) *slot(&bigger, t->entry[i].name, t->entry[i].length) = t->entry[i];
  names_free(a, t);
  *t = bigger;
  return true;
}

name_entry *names_find(const name_table *t, const char *name, int length) {
  name_entry *e = t->capacity ? slot(t, name, length) : NULL;
  return e && e->name ? e : NULL;
}

bool names_put(const ad_allocator *a, name_table *t, const char *name, int length, int value) {
  if (2*t->used >= t->capacity && !grow(a, t)) return false;
  name_entry *e = slot(t, name, length);
  t->used += !e->name;
  *e = (name_entry){ name, length, value };
  return true;
}

void names_free(const ad_allocator *a, name_table *t) {
  memory_release(a, t->entry, t->capacity*sizeof *t->entry);
  *t = (name_table){ 0 };
}
