/* parts.h -- of an operation that runs functions: which plans, and how often; for those who count what a
 * function costs before it runs (cost.h).
 */
#ifndef ADIT_RUN_PARTS_H
#define ADIT_RUN_PARTS_H

#include <stdbool.h>
#include <stdint.h>

struct plan;

/* What a part is of the function it belongs to. */
typedef enum part_role {
  PART_VALUE,                       /* the function itself */
  PART_SECOND,                      /* the other side of a branch; the condition of a loop */
  PART_COTANGENTS,                  /* its vjp, with what that needs of the value */
  PART_SECOND_COTANGENTS,
  PART_AGAIN,                       /* the states of a loop, computed again */
  PART_RESIDUAL, PART_JACOBIAN      /* of an equation */
} part_role;

typedef struct plan_part {
  const struct plan *plan;
  part_role role;
  double times;                     /* that it runs when the operation does */
} plan_part;

enum { PARTS_MOST = 3, POLICY_NONE = -1 };

typedef struct plan_parts {
  plan_part part[PARTS_MOST];
  int n;
  bool either;                      /* one of the parts runs, not all */
  bool open;                        /* how often is known only when it runs: these are for one step */
  bool at_most;                     /* it may run less often */
  double flops;                     /* beside the parts */
  bool loop;                        /* or a map: there are steps, or instances */
  int64_t steps;                    /* of them; -1: known only when it runs */
  int64_t again;                    /* steps computed again by a reverse sweep; -1: known only when it runs */
  int64_t states;                   /* sets of states that it keeps while it runs */
  double stored;                    /* bytes of these */
  int policy;                       /* a keep_policy; POLICY_NONE: nothing goes backwards */
  bool recorded;                    /* the states come from the loop forwards */
} plan_parts;

static inline void parts_add(plan_parts *p, const struct plan *code, part_role role, double times) {
  if (code) p->part[p->n++] = (plan_part){ code, role, times };
}

#endif
