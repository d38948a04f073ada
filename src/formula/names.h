/* names.h -- a table from names to numbers, for programs of any length. */
#ifndef ADIT_FORMULA_NAMES_H
#define ADIT_FORMULA_NAMES_H

#include "base/memory.h"

typedef struct name_entry { const char *name; int length, value; } name_entry;     /* name NULL: free */

/* Open addressing; capacity is 0 or a power of two. The names must outlive the table. Zero it to begin. */
typedef struct name_table {
  name_entry *entry;
  size_t capacity, used;
} name_table;

/* The entry of a name, NULL if it has none. */
name_entry *names_find(const name_table *t, const char *name, int length);
/* Enters a name or changes its value. False when memory fails. */
bool names_put(const ad_allocator *a, name_table *t, const char *name, int length, int value);
void names_free(const ad_allocator *a, name_table *t);

#endif
