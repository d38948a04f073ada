/* plan.h -- a graph made ready to run: steps, buffers at fixed offsets of one workspace, nothing left to
 * decide.
 *
 * The workspace begins with the slots of scalar programs (constants first), goes on with array buffers,
 * scratch, and the table of where each place is during a call. A plan is constant once made; any number of
 * threads may run it, each with a workspace of its own.
 */
#ifndef ADIT_RUN_PLAN_H
#define ADIT_RUN_PLAN_H

#include "run/graph.h"
#include "run/program.h"
#include "run/region.h"
#include "run/segment.h"

typedef enum place_kind {
  PLACE_FIXED,                      /* constants, and what a tape keeps */
  PLACE_WORK,                       /* in the workspace */
  PLACE_INPUT,                      /* the caller's */
  PLACE_OUTPUT                      /* the caller's; in the workspace instead where that is also an input */
} place_kind;

typedef struct place {
  place_kind kind;
  uint32_t number;                  /* which input or output */
  void *fixed;
  size_t offset, bytes;
  /* When an input is read last, and when an output is written first: one may take the other's memory where
   * the former is not later. See in_place.c. */
  uint64_t last_read, first_write;
} place;

typedef struct kernel_step {
  ad_operation op;
  /* op.x; types and attributes are the tape's, which lives as long as the plan */
  const ad_type **types;
  uint32_t z, *x;                   /* places */
  /* Operations with several results: how to run it, and the place of each result (none: not wanted). */
  struct prepared *call;
  uint32_t *result, results;
} kernel_step;
#define NO_PLACE UINT32_MAX

typedef struct plan_step {
  node_kind kind;
  uint32_t first, count;            /* KIND_SCALAR: instructions */
  region region;                    /* KIND_ELEMENTWISE */
  kernel_step kernel;               /* KIND_STRUCTURED */
  uint32_t segment;                 /* number + 1 of the one that begins here and runs instead; 0: none */
} plan_step;

/* Scalars on their way in and out: slot from input, output from slot; bool is converted. */
typedef struct transfer { uint32_t number, slot; bool is_bool; } transfer;
/* Outputs that are not computed into the caller's memory: given values, scalars of array steps, second names
 * of a value. */
typedef struct plan_copy { uint32_t place, number; } plan_copy;

/* On a tape: a node that the run makes known. Scalars are found at an offset of the workspace, as a number of
 * a program or in their own type; arrays are in place already. */
typedef struct plan_result {
  uint32_t node;
  enum { RESULT_NUMBER, RESULT_BYTES, RESULT_ARRAY } form;
  size_t offset;
} plan_result;

typedef struct plan {
  ad_allocator allocator;
  plan_step *step;
  instruction *code;
  double *image;                    /* initial values of slots [0, constants) */
  place *place;
  transfer *load, *store;
  plan_copy *copy;
  plan_result *result;
  segment *segment;                 /* of steps on very small arrays */
  bool whole;                       /* one segment is all there is */
  uint32_t segments;
  uint32_t inputs;                  /* of a call, read or not */
  uint32_t results, steps, instructions, constants, slots, places, loads, stores, copies, most_operands;
  size_t step_capacity, code_capacity, image_capacity, place_capacity, load_capacity, store_capacity,
      copy_capacity, result_capacity, segment_capacity;
  /* Offsets in the workspace, in bytes, and its size. zeros stands in for inputs that are not given. */
  size_t scratch, table, operands, zeros, zero_bytes, workspace;
  int threads;
} plan;

typedef struct plan_request {
  ad_tape *t;
  int n_in, n_out;
  const uint32_t *in, *out;         /* nodes; out INVALID_INDEX: not wanted */
  /* values stay on the tape: known nodes are given, what is computed becomes known */
  bool keep;
  bool lanes;                       /* all scalars, run at many points: one region over the points */
  char *message;                    /* what could not be made ready; NULL: not asked */
  size_t size;
} plan_request;

ad_status plan_make(plan *p, const plan_request *q);
void plan_free(plan *p);

/* in[i] NULL: zeros. memory: p->workspace bytes, 64-byte aligned. message (may be NULL) gets the operation
 * that failed. */
/* The same at n points, for plans with lanes: in[i] and out[j] are arrays of n. Extra memory for inputs that
 * are not given: n*8 bytes behind p->workspace. AD_ERROR_UNSUPPORTED for plans that are more than one region.
 */
ad_status plan_run_lanes(const plan *p, int64_t n, const void *const in[], void *const out[], void *memory);
ad_status plan_run(const plan *p, const void *const in[], void *const out[], void *memory, char *message,
                   size_t size);
/* The same of a loop that has made its limit of steps. */
ad_status explain_limit(const char *condition, int64_t limit, char *message, size_t size);
/* The message of an operation that failed on x and gave that status, unless what runs inside it has left one.
 * Returns status. */
ad_status explain_failure(const ad_operation *op, const void *const x[], ad_status status, char *message,
                          size_t size);
/* plan_run in two parts, for loops: what stays from call to call in memory that nothing else writes to, and
 * the call. */
void plan_begin(const plan *p, void *memory);
ad_status plan_continue(const plan *p, const void *const in[], void *const out[], void *memory, char *message,
                        size_t size);

#endif
