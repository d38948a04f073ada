/* revolve.h -- in which order to go back through a chain of steps when only some states can be kept.
 *
 * Steps i = 0 .. l-1 lead from state i to state i + 1. They are reversed from the last one to the first, each
 * from the state it begins with, and s states can be kept at a time. The schedule computes as few steps as
 * possible. Nothing is allocated, and nothing recurses. Source: Griewank and Walther, Algorithm 799: Revolve,
 * ACM TOMS 26 (2000) 19-45.
 *
 * With beta(s, r) = (s + r)!/(s! r!), the longest chain of which no step is computed more than r times before
 * it is reversed, and r the least with l <= beta(s, r), that number is
 *
 *   t(l, s) = r l - beta(s + 1, r - 1)
 *
 * It counts what the actions of ADVANCE compute, the first way forward included, and not what reversing a
 * step computes of that step.
 */
#ifndef ADIT_RUN_REVOLVE_H
#define ADIT_RUN_REVOLVE_H

#include <stddef.h>
#include <stdint.h>

/* There is one current state, at the beginning state 0.
 *
 *   ADVANCE   compute steps from .. to-1: the current state was `from` and becomes `to`
 *   STORE     keep the current state, `from`, in slot `slot`, 0 <= slot < s, over what was there
 *   RESTORE   make the state in that slot, number `from`, the current one
 *   REVERSE   reverse step `from`, which begins with the current state
 *   DONE      all steps are reversed; so it stays
 */
typedef enum revolve_kind {
  REVOLVE_DONE, REVOLVE_ADVANCE, REVOLVE_STORE, REVOLVE_RESTORE, REVOLVE_REVERSE
} revolve_kind;

typedef struct revolve_action {
  revolve_kind kind;
  int64_t slot, from, to;
} revolve_action;

typedef struct revolve {
  int64_t steps;                    /* not yet reversed */
  int64_t at;                       /* the current state */
  int64_t snapshots, kept;
  int64_t *state;                   /* in slot i, for i < kept: rising numbers */
} revolve;

/* The longest chain that the figures here are made for. */
#define REVOLVE_MOST_STEPS ((int64_t)1 << 62)

/* stack: revolve_stack_bytes(snapshots) of memory, which the schedule uses until it is done. 0 <= steps <=
 * REVOLVE_MOST_STEPS, snapshots >= 1; entries beyond the number of steps are not touched. */
void revolve_begin(revolve *v, int64_t steps, int64_t snapshots, int64_t *stack);
size_t revolve_stack_bytes(int64_t snapshots);
revolve_action revolve_next(revolve *v);

/* The r and the t(l, s) of above; t is INT64_MAX where it is more than that. 0 for l <= 1. */
int64_t revolve_repetition(int64_t steps, int64_t snapshots);
int64_t revolve_cost(int64_t steps, int64_t snapshots);

#endif
