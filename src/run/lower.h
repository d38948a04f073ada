/* lower.h -- the planner's working state, shared by the files that lower one kind of step each. */
#ifndef ADIT_RUN_LOWER_H
#define ADIT_RUN_LOWER_H

#include "run/plan.h"
#include "run/schedule.h"

#define NOWHERE UINT32_MAX

typedef struct planner {
  const plan_request *request;
  ad_status status;                 /* why a step could not be lowered, if not for memory */
  plan *p;
  run_graph g;
  schedule s;
  /* Of each graph node: */
  uint32_t *place_of;               /* where array steps find it; NOWHERE: none looks */
  uint32_t *slot_of;                /* where scalar programs find it; NOWHERE: none looks */
  uint32_t *region_slot;            /* lower_region's own */
  uint32_t *input_of;               /* which input it is; NOWHERE: none */
  unsigned char *is_target;
  /* Of each place: */
  struct lifetime { uint32_t first, last, node; bool pinned, scalar; } *life;
  size_t life_capacity;
  /* of each graph node, or NULL: its user reads the operands instead, so that it has no place */
  const unsigned char *skipped;
  bool views;                       /* slices of rows may be other names of parts of operands: node_view */
  uint32_t attribute_slot;          /* the next attribute's constant slot, in schedule order */
} planner;

/* Begins with a graph and a schedule, q->g and q->s, and ends with them. False when memory fails. */
bool planner_open(planner *q);
void planner_close(planner *q);

/* Is node i another name for its operand, or for the part of it that begins with element *first? */
bool node_view(const planner *q, uint32_t i, int64_t *first);

/* Each appends to the last step of the plan. False when memory fails. */
bool lower_scalars(planner *q, const schedule_step *s);
bool lower_region(planner *q, const schedule_step *s);

/* Slots for all that scalar programs read and write: constants first, then inputs, then results. */
bool number_slots(planner *q);
/* Places for all that array steps read and write, and their memory. */
bool choose_places(planner *q);
/* Outputs are computed where the caller wants them, as far as that goes; the others are copied at the end. */
bool place_outputs(planner *q);
bool assign_memory(planner *q);
/* Of all places, once the steps are made. */
void note_times(plan *p);
/* Of arrays of one type only, in a memory of their own, counted in elements: *count of them are needed. */
bool assign_pool(planner *q, ad_dtype dtype, size_t *count);

#endif
