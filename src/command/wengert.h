/* wengert.h -- the recorded problem as a numbered list: v_-1 = x, v_0 = y, v_1 = v_0^2, ... */
#ifndef ADIT_COMMAND_WENGERT_H
#define ADIT_COMMAND_WENGERT_H

#include "command/command.h"
#include "tape/tape.h"

typedef struct wengert_node {
  uint32_t index;                     /* on the tape */
  int number;                         /* i of v_i: inputs up to 0, operations from 1 on */
  const char *variable;               /* its name, NULL for an operation */
  char *formula;                      /* in names v_k and numbers */
} wengert_node;

/* What the outputs are computed from, in the order of the tape, after all variables. Constants stand inside
 * the formulas. */
typedef struct wengert {
  ad_tape *tape;
  int count;
  wengert_node *node;
  int *place;                         /* from tape indices below `limit` to places in the list, -1: none */
  uint32_t limit;
  int width;                          /* of the formulas as a column */
  bool scalar;                        /* everything has rank 0, so sweeps can be written out */
} wengert;

int wengert_open(wengert *w, const problem *p, const options *o);
void wengert_close(wengert *w);

/* A sweep at one node: what operand k gets (reverse) or gives (forward), as text and as a number. */
typedef struct contribution {
  int operand;                        /* place in the list */
  char *formula;                      /* to be freed; NULL when there is no connection or no rule to write */
  double value;
} contribution;

/* The contribution of operand k of the node at place i, for a sweep whose values are written `letter`_i
 * ("vbar", "vdot"): in reverse g is the adjoint of the node, forwards the tangent of the operand. False: not
 * connected. *status FAILED: no memory. */
bool wengert_contribution(const wengert *w, const options *o, int i, int k, const char *letter, bool reverse,
                          double g,
                          contribution *c, int *status);
int wengert_operands(const wengert *w, int i);
/* Place of operand k; -1: a constant. */
int wengert_operand(const wengert *w, int i, int k);
double wengert_value(const wengert *w, int i);
int wengert_place(const wengert *w, ad_var x);

#endif
