/* graph.h -- the part of a tape that a run needs, renumbered 0..n-1 in tape order. */
#ifndef ADIT_RUN_GRAPH_H
#define ADIT_RUN_GRAPH_H

#include "tape/tape.h"

/* How a node is run. */
typedef enum node_kind {
  KIND_GIVEN,                       /* its value is there: a constant, an input, a known node */
  /* f64 or bool, rank 0, a row of the table: an instruction of a scalar program */
  KIND_SCALAR,
  KIND_ELEMENTWISE,                 /* an operation of a region */
  KIND_STRUCTURED,                  /* its primitive's own kernel */
  KIND_RESULT                       /* one of the results of a structured node, written by that one's step */
} node_kind;

typedef struct run_graph {
  ad_tape *t;
  uint32_t n;
  uint32_t *node;                   /* tape index of each, rising */
  unsigned char *kind;
  uint32_t *operand_start, *operand;/* operands of i: operand[operand_start[i] .. operand_start[i + 1]) */
  uint32_t *user_start, *user;      /* who uses i, rising, once for each use */
  size_t edges;                     /* operands of all nodes */
} run_graph;

enum {
  GRAPH_USE_KNOWN = 1,              /* known nodes are given */
  GRAPH_LANES = 2,                  /* scalars are operations of a region too: one element for each lane */
  GRAPH_WRITE = 4                   /* elementwise operations on scalars of any type are KIND_SCALAR */
};

/* Everything that targets[0..n) need (INVALID_INDEX: not wanted), down to given nodes. Leaves are always
 * given. */
ad_status graph_open(run_graph *g, ad_tape *t, int n, const uint32_t targets[], unsigned options);
void graph_close(run_graph *g);
/* Who uses what will not be asked any more: users are not there from now on. */
void graph_forget_users(run_graph *g);
/* The number of a tape index: UINT32_MAX if it is not in the graph. */
uint32_t graph_find(const run_graph *g, uint32_t node);
static inline const ad_type *graph_type(const run_graph *g, uint32_t i) {
  return &node_type(g->t, g->node[i])->type;
}

#endif
