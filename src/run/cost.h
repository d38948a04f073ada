/* cost.h -- what a function costs, in pieces: by kind of operation, by function inside, by loop.
 *
 * Each plan that a call comes to is a section. Sections are listed in an order in which what a plan runs
 * comes before it, so that the function itself is the last one.
 */
#ifndef ADIT_RUN_COST_H
#define ADIT_RUN_COST_H

#include "adit/report.h"
#include "primitives/elementwise.h"
#include "run/carrier.h"

typedef struct cost_section {
  const plan *plan;
  const char *name;                 /* of the function it belongs to */
  part_role role;
  double runs;                      /* in one call */
  ad_work own, total;               /* of one run: without and with what it runs */
  double operations, all_operations;/* the same */
} cost_section;

/* An operation that runs others. */
typedef struct cost_operation {
  const kernel_step *step;
  plan_parts parts;
  uint32_t section, to[PARTS_MOST]; /* where it is, and the sections of its parts */
  double times[PARTS_MOST];         /* of the parts, the cheaper side of a branch 0 */
  double stored;                    /* bytes that a loop keeps for its reverse sweep */
} cost_operation;

typedef struct cost_kind {
  const ad_primitive *primitive;
  int64_t operations;               /* in all sections */
  double runs, elements;            /* of results */
  double flops, calls;
  bool unknown;
} cost_kind;

typedef struct cost_account {
  ad_allocator allocator;
  cost_section *section;
  cost_operation *operation;
  cost_kind *kind;                  /* the dearest first */
  uint32_t sections, operations, kinds;
  size_t section_capacity, operation_capacity, kind_capacity;
  uint32_t *slot;                   /* hash table of section numbers + 1, by plan */
  size_t slots;
  uint32_t row_kind[ROW_COUNT];     /* the kind of a row + 1 */
  ad_work row[ROW_COUNT];
  ad_cost cost;
} cost_account;

/* Counts. On failure there is nothing to close. */
ad_status cost_open(cost_account *a, ad_function *f);
void cost_close(cost_account *a);

/* ad_function_report with gradient, Jacobian and Hessian by these inputs; jvp and vjp always go through all.
 * NULL: by all. */
ad_status function_report(ad_function *f, unsigned what, int n_wrt, const int wrt[], char *out, size_t size,
                          size_t *needed, ad_report *report);

/* What is put behind the name of a function for that part of it: "", " backwards". */
const char *cost_role(part_role role);

#endif
