/* invariant.h -- what the body of a loop or map computes from shared inputs alone is computed before
 * it, once.
 *
 * Values and derivatives gain alike: the cotangents of what was moved out are summed in the loop, and
 * go through its slopes once, behind it. Moved is what costs more than reading its value, cannot fail,
 * and has slopes that make no nan of a zero which the body would have known as not connected.
 */
#ifndef ADIT_FUNCTION_INVARIANT_H
#define ADIT_FUNCTION_INVARIANT_H

#include "function/function.h"

/* The body without what is moved out, which nodes of f's body that is, and which inputs of f are left:
 * the step's inputs are those that are left, then the nodes. */
typedef struct invariants {
  ad_function *step;                /* belongs to f */
  uint32_t *node;
  int *input;
  int count, inputs;
  size_t bytes;
} invariants;

/* shared[k]: input k is the same at every step; steps: how many there are, -1: nobody knows. False
 * where nothing is to be moved, or memory failed: then the loop runs f itself. */
bool invariants_open(invariants *v, ad_function *f, const bool shared[], int64_t steps);
void invariants_close(invariants *v, const ad_function *f);
/* Records what is moved out on t, from x, the shared inputs in their order; z gets their count values. */
ad_status invariants_record(const invariants *v, ad_tape *t, ad_function *f, const bool shared[],
                            const ad_var x[], ad_var z[]);

#endif
