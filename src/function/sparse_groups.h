/* sparse_groups.h -- products with one sparse matrix as one product.
 *
 * A value and its tangents, or tangents in several sweeps, are products with the same matrix: the entries are
 * gone through once for each. Where a function's body is made, their arrays are put side by side as columns
 * of one, in rows of whole lines of the cache, and each result is columns of one product. That pays where
 * nothing else reads the results than products, which read columns where they are (tape/fold_slice.c). A
 * product on its own gets rows of whole lines so, too. */
#ifndef ADIT_FUNCTION_SPARSE_GROUPS_H
#define ADIT_FUNCTION_SPARSE_GROUPS_H

#include "tape/tape.h"

enum { SPARSE_GROUP_MOST = 16 };

typedef struct sparse_groups {
  const ad_tape *src;
  const unsigned char *needed;      /* of each node of src that is copied: see cone.h */
  int64_t *used;                    /* of each node: how many columns such readers look at, -1: others do, too */
  unsigned char *reached;           /* of each node, zero: room for paths */
  uint32_t nodes;
} sparse_groups;

/* Nodes of src up to highest; some may be given, and some are outputs. False when memory fails. */
bool sparse_groups_open(sparse_groups *g, const ad_allocator *a, const ad_tape *src,
                        const unsigned char *needed, uint32_t highest, int n_out, const uint32_t out[]);
/* Is node i of src a product, of at least one element? */
bool sparse_groups_product(const ad_tape *src, uint32_t i);
/* The products that may take the place of node i, rising from there, and their number; 0: it stays. */
int sparse_groups_find(const sparse_groups *g, uint32_t i, uint32_t node[SPARSE_GROUP_MOST]);
/* Records the product of n of them on dst, map[] of src's nodes; map[] of theirs becomes columns of it. */
bool sparse_groups_record(const sparse_groups *g, ad_tape *dst, int n, const uint32_t node[], uint32_t map[]);
void sparse_groups_close(sparse_groups *g, const ad_allocator *a);

#endif
