/* region.h -- elementwise operations on one shape, fused: run block by block, so that intermediates stay in
 * the L1 cache and the dispatch is paid once a block.
 *
 * A region is a little program over slots. A slot is one block of values: read from or written to memory in
 * place where the array is contiguous, else filled from a broadcast operand, else a buffer of the thread. A
 * step is one kernel over the block, or a chain: cheap operations in a row on values in registers, tile by
 * tile. Blocks that are not full are padded, so that the bits of a result do not depend on where its element
 * stands: to a multiple of REGION_PAD for kernels, of the tile for chains.
 */
#ifndef ADIT_RUN_REGION_H
#define ADIT_RUN_REGION_H

#include "adit/primitive.h"
#include "base/memory.h"
#include "run/kernels/chain.h"

enum { REGION_BLOCK = 256, REGION_PAD = 16 };

/* How a slot gets its values. */
typedef enum slot_kind {
  SLOT_TEMPORARY,                   /* an operation writes it */
  SLOT_DIRECT,                      /* contiguous input of the region's shape */
  SLOT_SPLAT,                       /* one value for all elements */
  SLOT_STRIDED,                     /* any other broadcast */
  SLOT_OUTPUT                       /* an operation writes it, and it goes to memory */
} slot_kind;

typedef struct region_slot {
  slot_kind kind;
  uint32_t place;                   /* the caller's number for its memory */
  uint32_t buffer;                  /* which thread buffer it uses */
  bool spread;                      /* SLOT_SPLAT: a kernel wants it as a block */
  bool met;                         /* SLOT_DIRECT: some step has read it */
  size_t size;                      /* bytes of an element */
  int64_t stride[AD_MAX_RANK];      /* SLOT_STRIDED: in elements, for the region's axes */
} region_slot;

typedef void own_block(size_t n, double *z, const double *x, const double *y, const double *w);

typedef struct region_step {
  block_kernel *kernel;             /* a row or a cast; or: */
  own_block *own;                   /* a user's; or: */
  const chain_table *chain;         /* links [first, first + links) */
  uint32_t first, links;
  uint32_t far;                     /* where the links are that look ahead; first: there are none */
  double attribute;
  step_slots at;
} region_step;

typedef struct region {
  int64_t count;                    /* elements */
  int64_t block, pad;               /* elements of a block; a multiple of pad, as all that is run in place */
  int rank;                         /* axes that SLOT_STRIDED strides are for */
  int64_t dim[AD_MAX_RANK];
  region_slot *slot;
  region_step *step;
  chain_step *link;
  uint32_t slots, steps, links, buffers;
  size_t slot_capacity, step_capacity, link_capacity;
  const ad_primitive **operation;   /* what it is made of, for those who count */
  uint32_t operations;
} region;

/* Strides of an operand of type x in a region of shape z, and the kind of slot it needs. */
slot_kind region_classify(const ad_type *x, const ad_type *z, int64_t stride[AD_MAX_RANK]);

/* Bytes of scratch memory for a run on that many threads. */
size_t region_scratch(const region *r, int threads);
/* Runs elements [0, count). memory[place] is where each place's array is; scratch is region_scratch bytes,
 * 64-byte aligned. */
void region_run(const region *r, int64_t count, void *const memory[], void *scratch, int threads);
void region_free(const ad_allocator *a, region *r);

#endif
