/* function.h -- a function inside: a traced tape that nobody records on any more. */
#ifndef ADIT_FUNCTION_FUNCTION_H
#define ADIT_FUNCTION_FUNCTION_H

#include <stdatomic.h>

#include "adit/function.h"
#include "tape/tape.h"

enum { FUNCTION_SPARES = 8 };

struct ad_function {
  atomic_int references;
  char *name;
  ad_tape *body;                    /* only what the outputs need, inputs first */
  int n_in, n_out;
  uint32_t *in, *out;               /* nodes of body */
  size_t name_bytes, node_bytes;
  size_t size;                      /* operations that the outputs need */
  /* How to run it is a higher floor's business: plans by set of wanted outputs, and workspaces that wait for
   * a call. */
  _Atomic(void *) plans;
  _Atomic(ad_workspace *) spare[FUNCTION_SPARES];
};

/* Running is a higher floor: it defines this. Lets go of the plans and spare workspaces of a function that
 * nobody calls any more. */
void function_free_plans(ad_function *f);

/* Records the nodes of src that out[] need onto dst, with in[i] replaced by x[i]; y[j] becomes what out[j] is
 * there. Inputs of src that are not among in[] become constants of their value. On failure y[] is invalid. */
ad_status function_copy(ad_tape *dst, ad_tape *src, int n_in, const uint32_t in[], const ad_var x[],
                        int n_out, const uint32_t out[], ad_var y[]);

/* Traces body as a function named after f ("f" + "_jvp"), on f's memory. */
ad_function *function_derive(const ad_function *f, const char *suffix, ad_body *body, void *context, int n_in,
                             const ad_type in[], int n_out);

#endif
