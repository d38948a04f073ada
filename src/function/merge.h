/* merge.h -- loops that go the same way as one loop, and loops without the states that nobody looks at.
 *
 * The tangent of a loop is a loop that computes the values again: a value with tangents in several directions
 * would be as many loops as directions, and one more. Where a function's body is made, loops with the same
 * condition are joined when all that it looks at stays the same in both, and scans with the same number of
 * steps when most of their inputs are the same. States are the same when they begin with the same value and
 * one step of both gives the same node: this is supposed of all that begin alike, and taken back where a step
 * tells them apart, until nothing changes.
 */
#ifndef ADIT_FUNCTION_MERGE_H
#define ADIT_FUNCTION_MERGE_H

#include "function/loop_index.h"

/* One loop that takes the place of others; members' operands and outputs one after the other in the lists. */
typedef struct merge {
  ad_tape *dst, *src;               /* errors go to dst */
  int members, inputs, outputs;     /* of all members together */
  uint32_t *node;                   /* members, on src; the first one is where the new one is recorded */
  size_t room;
  const loop_index *loops;          /* of src */
  const unsigned char *needed;      /* of each node of src that they know, as function_copy has it */
  int *first_in, *first_out;        /* of each member: the numbers of its first input and output */
  int *owner;                       /* of each input: its member */
  int *class_of;                    /* of each input: which of the different ones it is */
  int *result_of;                   /* of each output: which one of the new loop it is, -1: none */
  bool *used;                       /* of each output: is it looked at? */
  /* Different inputs: */
  int classes;
  int *place;                       /* number among the members' inputs of the first one of the class */
  int *next;                        /* of a state: which of the members' outputs is its next value, else -1 */
  bool *live;
  int *table;                       /* of find_class, with so many slots */
  unsigned slots;
  ad_function *f;                   /* the step of the new loop, or of all members: retained */
  size_t bytes;
} merge;

/* What may take the place of node i of src, one of the loops, and of others behind it; false: nothing does,
 * or memory has failed, which leaves an error on dst. Close only what has been opened. */
bool merge_open(merge *m, ad_tape *dst, ad_tape *src, const loop_index *loops, uint32_t i,
                const unsigned char *needed);
/* Records it, when all that the members need is there (cone.h); map[] of src's operands; INVALID_INDEX on failure. */
uint32_t merge_record(const merge *m, const uint32_t map[]);
/* What result j of the k-th member is. */
int merge_result(const merge *m, int k, int j);
void merge_close(merge *m);

#endif
