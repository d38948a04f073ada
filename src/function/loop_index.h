/* loop_index.h -- the scans and loops among the nodes of a tape that are copied: their results that are
 * looked at, and which of them have a schedule and a first operand in common. */
#ifndef ADIT_FUNCTION_LOOP_INDEX_H
#define ADIT_FUNCTION_LOOP_INDEX_H

#include "function/carrier.h"

#define NO_LOOP UINT32_MAX

typedef struct loop_entry {
  uint32_t node;
  uint32_t next;                    /* the next loop like it, NO_LOOP: none */
  uint32_t first, results;          /* in result[]: the numbers of its results that are looked at */
  bool recorded;                    /* results beyond the outputs are, but for a loop's number of steps */
  uint32_t merge;                   /* for the copier: 1 + the merge that it is a member of, 0: none */
  int member;
} loop_entry;

typedef struct loop_index {
  loop_entry *loop;                 /* in the order of nodes */
  uint32_t *result;
  unsigned char *reached;           /* of each node, zero: room for who looks for paths */
  uint32_t loops, results, highest;
} loop_index;

/* Is node i a scan or a loop? */
bool loop_is(const ad_tape *t, uint32_t i);
/* Of the nodes of src up to highest; needed: of each node 1, with 2 where it is given. False, and nothing to
 * close, when memory fails. In nearly linear time. */
bool loop_index_open(loop_index *x, const ad_allocator *a, const ad_tape *src, const unsigned char *needed,
                     uint32_t highest);
/* Where node i is in loop[], NO_LOOP: nowhere. */
uint32_t loop_find(const loop_index *x, uint32_t i);
void loop_index_close(loop_index *x, const ad_allocator *a);

#endif
