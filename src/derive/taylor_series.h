/* taylor_series.h -- truncated power series whose coefficients are recorded when somebody asks for them.
 *
 * A series stands for v(t) = v_0 + v_1 t + v_2 t^2 + ..., one for each intermediate value of one node of the
 * tape: its operands, the steps of its rules, the node itself. A coefficient is a flow (tape/replay.h):
 * ad_none() is a structural zero, so that straight lines cost less than other curves, and what is not
 * connected stays so.
 *
 * Series refer to each other in cycles (sin needs cos needs sin), coefficients do not: coefficient k of a
 * node needs those below k of what its rule reads. So they are computed on demand, order by order, from a
 * work list. Series are named by their number in the pool: the pool grows while series are made, pointers do
 * not last.
 */
#ifndef ADIT_DERIVE_TAYLOR_SERIES_H
#define ADIT_DERIVE_TAYLOR_SERIES_H

#include "derive/flow.h"
#include "derive/mask.h"

typedef enum series_kind {
  SERIES_GIVEN,                     /* all coefficients are there */
  SERIES_NUMBER,                    /* a number; nan is nan in every coefficient */
  SERIES_NONE,                      /* NONE of a rule: no connection */
  SERIES_NEG, SERIES_ADD, SERIES_SUB, SERIES_MUL, SERIES_SQUARE, SERIES_DIV,
  SERIES_SLOPE,                     /* x'(t) */
  SERIES_SELECT,                    /* the condition looks at order 0 */
  SERIES_STEP,                      /* f(x_0), constant along the curve */
  SERIES_ROW,                       /* an elementwise primitive, by the text of its rules */
  SERIES_LINEAR,                    /* a structured primitive on each coefficient */
  SERIES_PRODUCT,                   /* a structured primitive that is linear in each of several operands */
  SERIES_NODE                       /* any other structured primitive, by its recorded derivative */
} series_kind;

enum { SERIES_UNMADE = -1, SERIES_ABSENT = -2 };
#define NO_NODE UINT32_MAX

typedef struct series {
  series_kind kind;
  bool moving;                      /* may have coefficients beyond order 0 */
  bool sloped;                      /* made of slopes: has another value than the node it was read from */
  uint32_t primitive;               /* ROW, STEP: the primitive's number; a is its attribute */
  double a;                         /* NUMBER: the number */
  uint32_t node;                    /* the node it was read from, or NO_NODE */
  int x[3];                         /* operands; structured kinds: x[0] is where their list begins */
  int operands;
  /* ROW: bit k: rule k is constant along the curve, so z_m gets rule(x_m) */
  unsigned plain;
  int slope;                        /* ROW, NODE: z' without the plain rules */
  int late;                         /* ROW: z' for the high orders of powers */
  ad_var guard;                     /* NODE: mask of the slope; powers: where x_0 is 0 */
  int done;                         /* number of coefficients that are there */
} series;

typedef struct series_demand { int id, k; } series_demand;
typedef struct series_of_node { uint32_t node; int id; } series_of_node;

/* Nodes between x and y, with their coefficients of order 1..order: slot[place[i - low]*order + k - 1]. */
typedef struct taylor_slot { uint32_t value, mask; } taylor_slot;
enum { PATH_FROM_X = 1, PATH_TO_Y = 2, PATH_IS_X = 4 };
typedef struct taylor_path {
  uint32_t low, high;
  unsigned char *mark;
  uint32_t *place;
  taylor_slot *slot;
  size_t places;
} taylor_path;

/* The pool of one node's series; emptied from node to node. */
typedef struct taylor {
  ad_tape *t;
  int order;
  taylor_path path;
  uint32_t current;                 /* the node that is worked on: those before it have their coefficients */
  series *series;
  flow *coefficient;                /* of series i, order k: [i*(order + 1) + k] */
  size_t count, capacity, coefficient_capacity;
  int *list;                        /* operands of structured kinds */
  size_t listed, list_capacity;
  series_of_node *known;
  size_t knowns, known_capacity;
  series_demand *stack;
  size_t depth, stack_capacity;
  /* of operations with several results: order coefficients of each, from where the operation's slot says */
  ad_var *several;
  size_t severals, several_capacity;
  uint32_t *work;                   /* nodes of a recorded derivative */
  size_t works, work_capacity;
} taylor;

/* --- making
 * -------------------------------------------------------------------------------------------------- Every
 * call gives the number of a series, or -1 after leaving the error on the tape; so do operands of -1. */

int series_make(taylor *e, series s);
int series_number(taylor *e, double value);
int series_none(taylor *e);
/* NEG, SQUARE, SLOPE of x; ADD, SUB, MUL, DIV of x and y; SELECT of x, y, w. */
int series_unary(taylor *e, series_kind kind, int x);
int series_binary(taylor *e, series_kind kind, int x, int y);
int series_select(taylor *e, int condition, int x, int y);
/* The series of a node that has its coefficients already, or is constant. */
int series_of_tape(taylor *e, uint32_t node);
/* A row of the table on series, and any elementwise primitive (by number; node: where it was read from). */
int series_row(taylor *e, elementwise_id row, const int x[], double a);
int series_elementwise(taylor *e, uint32_t primitive, uint32_t node, int n, const int x[], double a);
/* Node i on series of its n operands. Other series that are made may refer to it by its node from then on. */
int series_node(taylor *e, uint32_t i, int n, const int x[]);
/* The series of a node that was recorded as part of a derivative; the nodes it is made of get theirs too. */
int series_recorded(taylor *e, uint32_t root);
bool series_know(taylor *e, uint32_t node, int id);
/* -1: not known. */
int series_known(const taylor *e, uint32_t node);

/* --- coefficients --------------------------------------------------------------------------------------- */

/* Records coefficients of the series up to order k. */
bool series_compute(taylor *e, int id, int k);
/* Coefficient k, which must be there. */
static inline flow series_at(const taylor *e, int id, int k) {
  return e->coefficient[(size_t)id*((size_t)e->order + 1) + (size_t)k];
}
/* True when coefficient k is there; asks for it otherwise. */
bool series_have(taylor *e, int id, int k);

/* Kinds of the other files: is there what coefficient k needs (false after asking for it, or on failure); and
 * the coefficient. */
bool series_row_ready(taylor *e, int id, int k);
flow series_row_at(taylor *e, int id, int k);
bool series_node_ready(taylor *e, int id, int k);
flow series_node_at(taylor *e, int id, int k);

/* The coefficients 1..order of a node of the tape, NULL if it is not on the path; and the k-th. */
taylor_slot *taylor_slots(const taylor *e, uint32_t node);
flow taylor_stored(const taylor *e, uint32_t node, int k);
/* The coefficient as a variable of that type: zeros where it is not connected. */
ad_var coefficient_value(ad_tape *t, flow f, const ad_type *type);

/* Arithmetic of flows. */
flow flow_plus(flow a, flow b);
flow flow_minus(flow a, flow b);
flow flow_times(flow a, flow b);
flow flow_scaled(flow a, double factor);
flow flow_over(flow a, double divisor);

#endif
