/* schedule.h -- in which order and in which groups the nodes of a graph are run. */
#ifndef ADIT_RUN_SCHEDULE_H
#define ADIT_RUN_SCHEDULE_H

#include "run/graph.h"

/* Nodes order[first .. first + count) of one kind: a scalar program, one fused region (all of one shape), or
 * one structured node. */
typedef struct schedule_step { node_kind kind; uint32_t first, count; } schedule_step;

typedef struct schedule {
  uint32_t *order;                  /* every node that is not given */
  uint32_t *step_of;                /* of each graph node; UINT32_MAX for given ones */
  schedule_step *step;
  uint32_t count, steps;
  size_t step_capacity, nodes;
} schedule;

/* Greedy: runs what is ready, scalars first, then structured operations, and only then a region, of the
 * smallest arrays first, so that regions become as large as they can; then in tape order. Deterministic. */
ad_status schedule_make(schedule *s, const run_graph *g);
void schedule_free(schedule *s, const ad_allocator *a);

#endif
