/* count.h -- what the body of a function is made of. */
#ifndef ADIT_TESTS_COUNT_H
#define ADIT_TESTS_COUNT_H

#include "function/function.h"

#include <stdlib.h>
#include <string.h>

/* How many operations of that name the outputs need; -1 without memory. */
static inline int count_named(const ad_function *f, const char *name) {
  int n = 0;
  unsigned char *needed = calloc(f->body->count + 1, 1);
  for (int j = 0; needed && j < f->n_out; j++) needed[f->out[j]] = 1;
  for (uint32_t i = (uint32_t)f->body->count; needed && i-- > 0;) {
    int operands;
    if (!needed[i] || node_is_leaf(f->body, i)) continue;
    const uint32_t *x = node_operands(f->body, i, &operands);
    for (int k = 0; k < operands; k++) needed[x[k]] = 1;
    n += !strcmp(node_primitive(f->body, i)->name, name);
  }
  if (!needed) n = -1;
  free(needed);
  return n;
}

#endif
