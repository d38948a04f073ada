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
  /* The last of the inputs are variables that the body used of the tape it was traced inside; callers do not
   * see them. outer NULL: none. */
  ad_tape *outer;
  ad_var *captured;
  int captures;
  int depth;                        /* 1 + that of the deepest function it calls */
  size_t name_bytes, node_bytes;
  size_t size;                      /* operations that the outputs need */
  /* How to run it is a higher floor's business: plans by set of wanted outputs, and workspaces that wait for
   * a call. */
  _Atomic(void *) plans;
  _Atomic(void *) derived;          /* functions made from this one, see derived.c */
  _Atomic(ad_workspace *) spare[FUNCTION_SPARES];
  /* and a still higher one's, see native/load.c: compiled code, and the compilation that goes on */
  _Atomic(struct native_code *) native;
  _Atomic(struct native_job *) job;
};

/* Compiled code of a function, of all its outputs. */
typedef struct native_code {
  /* memory: bytes of them, 64-byte aligned; in[] and out[] as ad_function_call, all outputs wanted */
  ad_status (*call)(const struct native_code *n, const void *const in[], void *const out[], void *memory,
                    char *message, size_t size);
  void (*free)(struct native_code *n);
  size_t bytes;
} native_code;
/* Waits for the compilation of f that goes on, if there is one. Defined by src/native. */
void native_end_job(ad_function *f);

/* Running is a higher floor: it defines this. Lets go of the plans and spare workspaces of a function that
 * nobody calls any more. */
void function_free_plans(ad_function *f);

/* Records the nodes of src that out[] need onto dst, with in[i] replaced by x[i]; y[j] becomes what out[j] is
 * there. Inputs of src that are not among in[] become constants of their value. On failure y[] is invalid. */
ad_status function_copy(ad_tape *dst, ad_tape *src, int n_in, const uint32_t in[], const ad_var x[],
                        int n_out, const uint32_t out[], ad_var y[]);

/* How deep functions may be nested: planning, running and freeing go down by recursion. */
enum { FUNCTION_MAX_DEPTH = 128 };

/* Lets go of the functions derived from f that f keeps. */
void function_free_derived(ad_function *f);

/* Inputs that a caller gives: without the captured variables. */
static inline int function_visible(const ad_function *f) { return f->n_in - f->captures; }

/* ad_function_trace_with, of a body that may use variables of outer (NULL: of no tape) and of those outer is
 * inside of. */
ad_function *function_trace_inside(ad_tape *outer, const ad_allocator *allocator, const char *name,
                                   ad_body *body, void *context, int n_in, const ad_type in[], int n_out,
                                   ad_report *report);

/* Traces body as a function named after f ("f" + "_jvp"), on f's memory and
 * inside the tape f is inside of. */
ad_function *function_derive(const ad_function *f, const char *suffix, ad_body *body, void *context, int n_in,
                             const ad_type in[], int n_out);

#endif
