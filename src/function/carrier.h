/* carrier.h -- operations that carry functions: call, branch, map, scan, loop; and their adjoints.
 *
 * A carrier P(f) takes the inputs of f and gives its outputs. Its adjoint A(f) takes the same inputs and the
 * cotangents of some outputs, and gives the cotangents of some inputs; it computes what it needs of the
 * values again, by a schedule of its own. With D the jvp of f that is all there is to know:
 *
 *   tangent of P(f)(x) along p:        P(D)(x, p)
 *   cotangent of P(f)(x):              A(f)(x, ybar)
 *   tangent of A(f)(x, u) along p, q:  A(D)(x, p; cotangent q for y and u for ydot), the part of x
 *   cotangent of A(f)(x, u) along p:   the same with q = 0 for x; ydot of P(D)(x, p) for u
 *
 * because A(f)(x, u) is the gradient of <u, f(x)>, whose second derivative is symmetric. So every order keeps
 * the form, and the memory policy, of the first.
 */
#ifndef ADIT_FUNCTION_CARRIER_H
#define ADIT_FUNCTION_CARRIER_H

#include "function/function.h"
#include "tape/tuple.h"

typedef enum carrier_kind {
  CARRIER_CALL,                     /* y = f(x) */
  CARRIER_BRANCH,                   /* y = p ? f(x) : g(x) */
  CARRIER_MAP,                      /* y[i] = f(x[i]) */
  CARRIER_SCAN,                     /* (c, y[i]) = f(c, x[i]), i = 0, 1, .. */
  CARRIER_LOOP                      /* while (g(c)) c = f(c) */
} carrier_kind;

/* Of an input: one value for all instances or steps; the state of a loop; one for each instance or step. Of
 * an output: a state or a stack; the k-th state among the outputs belongs to the k-th among the inputs. */
enum { ROLE_SHARED, ROLE_STATE, ROLE_EACH };

/* What a reverse sweep over a loop keeps. */
typedef enum keep_policy { KEEP_STATES, KEEP_EVERY, KEEP_BINOMIAL, KEEP_ALL } keep_policy;

/* The attribute of a carrier. Operands: the inputs x, then a branch's condition or a counted loop's number of
 * steps; an adjoint's go on with the cotangents of active outputs, and then, if recorded, the stacked states.
 * Results: the outputs, then what a reverse sweep may want: a scan's stacked states and, of r, what is behind
 * the outputs; a loop's number of steps.
 * Of an adjoint: the cotangents of active inputs. */
typedef struct carrier {
  ad_function *f, *g;               /* g: the other branch, or the loop's condition */
  ad_function *v;                   /* an adjoint's: the vjp to run, where it is not derived from f */
  /* a scan's, KEEP_ALL: f with the values behind its outputs that the steps of its adjoint use; NULL while it
   * has none */
  ad_function *r;
  int64_t n;                        /* instances or steps; of a counted scan at most; -1: no bound */
  int64_t limit;                    /* a loop's steps, at most */
  int64_t keep;                     /* KEEP_EVERY: how many steps; KEEP_BINOMIAL: how many states */
  int64_t bytes;                    /* for the states of loops, at most */
  int32_t n_in, n_out;
  int32_t kind, policy;
  bool adjoint, backwards, counted, recorded;
  bool checkpoint;                  /* a call that is never opened */
  unsigned char padding[3];
  /* roles of inputs and outputs; which of them are active; which inputs are states without a cotangent */
  unsigned char flag[];
} carrier;

static inline size_t carrier_bytes(int n_in, int n_out) {
  return sizeof(carrier) + 3*(size_t)n_in + 2*(size_t)n_out;
}
static inline const unsigned char *role_in(const carrier *c) { return c->flag; }
static inline const unsigned char *role_out(const carrier *c) { return c->flag + c->n_in; }
static inline const unsigned char *active_in(const carrier *c) { return c->flag + c->n_in + c->n_out; }
static inline const unsigned char *active_out(const carrier *c) { return c->flag + 2*c->n_in + c->n_out; }
static inline const unsigned char *still_in(const carrier *c) { return c->flag + 2*(c->n_in + c->n_out); }
static inline int selectors(const carrier *c) { return c->kind == CARRIER_BRANCH || c->counted; }
/* Which output is the next value of the state that input k is. */
int carrier_next(const carrier *c, int k);
/* Number of states among the inputs; does a scan stack them for its adjoint? */
int carrier_states(const carrier *c);
bool carrier_has_record(const carrier *c);
/* Of a scan's or loop's adjoint whose active inputs and outputs are set: marks the states that no active
 * input reaches, or that reach no active output, as still. trim: active inputs and outputs between which
 * nothing flows are no longer active. False when memory fails. */
bool carrier_narrow(carrier *c, bool trim);
/* The vjp that the adjoint of a call, branch or scan runs: for which inputs and outputs of f (of a scan the
 * states that are floats and not still, too), and to which inputs' cotangents it adds a sum. */
void carrier_step_flags(const carrier *c, bool in[], bool out[], bool sums[]);
int carrier_count(int n, const unsigned char flag[]);

/* The primitives, by kind: their carriers and their adjoints. */
extern const ad_primitive carrier_primitives[5], adjoint_primitives[5];

/* Keeps the functions of a carrier alive with t. */
ad_status carrier_hold(ad_tape *t, const void *attribute);

/* Carrier c on x[0..n), its operands, as a node of t; c is copied. INVALID_INDEX on failure. */
uint32_t carrier_record(ad_tape *t, const carrier *c, int n, const uint32_t x[]);

/* The rules, which tuple.h describes. */
bool carrier_forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]);
bool carrier_reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]);
bool carrier_taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]);

#endif
