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
  uint32_t *slot_of;                /* where scalar programs, or parts of written code, find it; NOWHERE: none looks */
  uint32_t *region_slot;            /* what regions need while places are chosen, or they are lowered */
  uint32_t *input_of;               /* one more than the input it is (planner_input), 0: none */
  unsigned char *is_target;
  /* Of each place: */
  struct lifetime {
    uint32_t first, last, node;
    bool pinned, scalar;
    int64_t low, high;              /* elements it has, from where the first array in it begins */
    uint32_t named;                 /* written code: the last node there, others by next_named */
    bool moved;                     /* what was there has gone to another place */
  } *life;
  size_t life_capacity;
  /* For written code: slices of rows are other names of parts of operands (node_view), loops overwrite what
   * they read last, results lie around operands (glue). Of each graph node then, else NULL: */
  bool views;
  int64_t *begin;                   /* its first element in its place, counted as low is */
  uint32_t *next_named;             /* another node in the same place */
  unsigned char *zero_added;        /* x + 0 is stored for x */
  uint32_t attribute_slot;          /* the next attribute's constant slot, in schedule order */
} planner;

/* Which input node i is; NOWHERE: none. */
static inline uint32_t planner_input(const planner *q, uint32_t i) { return q->input_of[i] - 1u; }

/* Begins with a graph and a schedule, q->g and q->s, and ends with them. False when memory fails. */
bool planner_open(planner *q);
void planner_close(planner *q);

/* The elements of node x where they are known when a plan is made, else NULL. */
const void *planner_constant(const planner *q, uint32_t x);
/* Can an operation of node i not fail, by its trait or by the operands that are constant? */
bool planner_sure(const planner *q, uint32_t i, const ad_operation *op);

/* Is node i another name for its operand, or for the part of it that begins with element *first? */
bool node_view(const planner *q, uint32_t i, int64_t *first);

/* Each appends to the last step of the plan. False when memory fails. */
bool lower_scalars(planner *q, const schedule_step *s);
bool lower_region(planner *q, const schedule_step *s);

/* From now on node is at a place. */
void put_at(planner *q, uint32_t node, uint32_t at);

/* Puts node, which is made of others, around one of these if that can be, growing its place, and other parts
 * that have memory of their own into that place. */
bool glue(planner *q, uint32_t node);
/* Is the place all of it node's, from its first element to its last? */
bool fills_place(const planner *q, uint32_t node);
/* Nodes without operands that nobody looks at, as all users were put around other operands: no step makes
 * them. */
bool is_unread(const planner *q, uint32_t i);
/* Sizes of places that have grown, or are not needed. */
void grow_glued(planner *q);

/* What is still to be written of such a node: elements [first, first + count), from x, or zeros (NOWHERE).
 * False: of all others. */
enum { GLUED_PARTS = 16 };
typedef struct glued_rest {
  int n;
  struct glued_part { int64_t first, count; uint32_t x; } part[GLUED_PARTS];
} glued_rest;
bool find_rest(const planner *q, uint32_t node, glued_rest *r);
/* The operand that node was put around, the biggest of those that are there; NOWHERE: none. */
uint32_t glued_part(const planner *q, uint32_t node);
/* As find_rest: all but that operand, be they there or not. */
bool find_around(const planner *q, uint32_t node, glued_rest *r);

/* Slots for all that scalar programs read and write: constants first, then inputs, then results. */
bool number_slots(planner *q);
/* Places for all that array steps read and write, and their memory. */
bool choose_places(planner *q);
/* Outputs are computed where the caller wants them, as far as that goes; the others are copied at the end. */
bool place_outputs(planner *q);
bool assign_memory(planner *q);
/* Of all places, once the steps are made. */
void note_times(plan *p);
/* Bytes of a line of the cache. */
enum { CACHE_LINE = 64 };

/* Of arrays of one type only, in a memory of their own, counted in elements: *count of them are needed. */
bool assign_pool(planner *q, ad_dtype dtype, size_t *count);

#endif
