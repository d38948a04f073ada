/* chain.h -- runs of cheap operations on values that stay in registers.
 *
 * A kernel for one operation reads its operands from the L1 cache and writes its result there. A chain has a
 * running value t instead, eight vector registers of it, a tile: it is loaded, goes through a link for each
 * operation, and is stored where somebody needs it. A link is a function that gets t as arguments, in the
 * registers where the calling convention has them, and ends by calling the next link in the same way: with
 * optimisation a jump. Without, each link is a call within the last one, so CHAIN_MOST bounds the steps.
 */
#ifndef ADIT_RUN_CHAIN_H
#define ADIT_RUN_CHAIN_H

#include "primitives/elementwise.h"

enum { CHAIN_MOST = 160, CHAIN_NONE = -1 };

/* A link of any element type and instruction set; chain_table.run knows its arguments. */
typedef void chain_link(void);

/* The slots a step reads and writes; NO_SLOT: none. */
#define NO_SLOT UINT32_MAX
typedef struct step_slots { uint32_t z, x, y, w; } step_slots;

typedef struct chain_step {
  chain_link *link;
  chain_link *far;                  /* the same, looking ahead; NULL: no need */
  step_slots at;
  block_kernel *kernel;             /* LINK_call: for a tile */
  double attribute;
} chain_step;

typedef enum chain_id {
#define LINK_1(row, value)        LINK_##row,
#define LINK_2(row, place, value) LINK_##row##_##place, LINK_##row##_##place##_splat,
#include "run/kernels/chain.def"
  LINK_load,                        /* t = x */
  LINK_load_splat,                  /* t = the one value x */
  LINK_store,                       /* z = t */
  LINK_product,                     /* t = x*y */
  LINK_add_product,                 /* t + x*y */
  LINK_sub_product,                 /* t - x*y */
  LINK_product_sub,                 /* x*y - t */
  LINK_horner,                      /* t = t*x + the one value y; several of one x are done at once */
  LINK_call,                        /* z = kernel(x, y, w); t is lost */
  LINK_stop,                        /* the end of a chain */
  CHAIN_LINKS
} chain_id;

/* For one element type and instruction set. */
typedef struct chain_table {
  size_t tile;                      /* elements of t; divides 256 */
  chain_link *link[CHAIN_LINKS];
  /* The same for arrays that no cache near the processor holds: each link that reads or writes memory asks
   * for what comes later in the same arrays. NULL where there is nothing to ask for. */
  chain_link *far[CHAIN_LINKS];
  /* Runs a chain on n elements, a multiple of tile. at[slot] is where each slot's block is. */
  void (*run)(const chain_step *first, size_t n, void *const at[]);
} chain_table;

/* The link for a row whose operand number place is t; the one after it is for an operand that is one value
 * (binary rows). CHAIN_NONE: no such. */
int chain_find(elementwise_id row, uint32_t place);

#endif
