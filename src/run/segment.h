/* segment.h -- successive steps of a plan as one micro program, and how values come in and go out. */
#ifndef ADIT_RUN_SEGMENT_H
#define ADIT_RUN_SEGMENT_H

#include "run/micro.h"

/* Where a value comes from: an input (none: zeros), an array's place, a slot of scalar programs, where a
 * bool is a number; and where it goes. */
typedef enum transport_kind { MOVE_INPUT, MOVE_OUTPUT, MOVE_PLACE, MOVE_SLOT, MOVE_BOOL_SLOT } transport_kind;
typedef struct transport { transport_kind kind; uint32_t number, at, bytes; } transport;

typedef struct segment {
  micro_program m;
  transport *in, *out;
  uint32_t ins, outs, steps;        /* steps of the plan that it stands for */
  size_t in_capacity, out_capacity;
  size_t frame;                     /* where in the workspace */
} segment;

struct planner;
struct plan;

/* Finds segments, once the steps are made; scheduled[k]: which step of the schedule step k of the plan is. */
bool add_segments(struct planner *q, const uint32_t scheduled[]);
void segment_free(const ad_allocator *a, segment *s);

/* What the frame begins with; and a run. where: the plan's places, NULL when the segment is the whole
 * plan. */
void segment_begin(const segment *s, char *memory);
ad_status segment_run(const segment *s, const void *const in[], void *const out[], void **where, char *memory,
                      micro_failure *failure);

#endif
