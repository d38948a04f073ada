/* tuple.h -- operations with several results: calls, maps, loops.
 *
 * Such a node has no value of its own; its type is an empty array. Its results are nodes of the primitive
 * `result` that follow it, each with a number. A tape that computes values records all of them right behind
 * the node; a tape that traces records those that are asked for. Results beyond the visible ones are records
 * that the reverse sweep uses; what nobody asks for is not computed.
 */
#ifndef ADIT_TAPE_TUPLE_H
#define ADIT_TAPE_TUPLE_H

#include "tape/replay.h"

struct plan_parts;

/* A primitive's part in that. Rules return false with the error on the tape. */
typedef struct tuple_rules {
  int (*results)(const ad_operation *op);
  int (*visible)(const ad_operation *op);     /* how many of them, the first ones, a caller gets */
  ad_type (*result_type)(const ad_operation *op, int j);
  /* Flows into operands to flows out of results, and back. wanted[k]: xbar[k] is asked for. zbar and zdot
   * have one entry for each result. */
  bool (*forward)(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]);
  bool (*reverse)(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]);
  /* Coefficients 1..order of operands, x[k*order + m - 1] (ad_none: zero), to those of results. */
  bool (*taylor)(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]);
  /* Computes the results z (NULL: not wanted) from operands x; message receives why not. NULL for what
   * carries functions, which has to be made ready first. */
  ad_status (*run)(const ad_operation *op, const void *const x[], void *const z[], char *message,
                   size_t size);
  /* What a run runs, see run/parts.h. NULL: what was made ready says so, or nobody can tell. */
  ad_status (*parts)(const ad_operation *op, struct plan_parts *parts);
} tuple_rules;

extern const ad_primitive result_primitive;

static inline const tuple_rules *node_tuple(const ad_tape *t, uint32_t i) {
  const uint32_t p = node_primitive_number(&t->node[i]);
  return p < PRIMITIVE_FIRST_OTHER ? NULL : t->primitive[p - PRIMITIVE_FIRST_OTHER]->tuple;
}
static inline bool node_is_result(const ad_tape *t, uint32_t i) {
  const uint32_t p = node_primitive_number(&t->node[i]);
  return p >= PRIMITIVE_FIRST_OTHER && t->primitive[p - PRIMITIVE_FIRST_OTHER] == &result_primitive;
}
/* Which result node i, a result, is. */
int result_number(const ad_tape *t, uint32_t i);

/* How many results node i has, and how many of them callers get; 0 when memory fails. */
int tuple_results(ad_tape *t, uint32_t i);
int tuple_visible(ad_tape *t, uint32_t i);

/* Records a primitive with several results on operands that are nodes of t. INVALID_INDEX on failure. */
uint32_t tuple_record(ad_tape *t, const ad_primitive *p, int n, const uint32_t x[], const void *attribute,
                      size_t size);
/* Result j of node i: recorded now if it is not there yet. INVALID_INDEX on failure. */
uint32_t tuple_result(ad_tape *t, uint32_t i, int j);

/* The node on t that stands for a variable of a tape further out, for bodies that are traced inside it: a
 * hidden input. INVALID_INDEX, with the error on t, when v's tape is none of those. */
uint32_t tape_lift(ad_tape *t, ad_var v, const char *what);

#endif
