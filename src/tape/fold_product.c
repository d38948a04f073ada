/* fold_product.c -- products of matrices in the bodies of functions read a transposed second operand as it is
 * stored: no transposed copy is made. */
#include "tape/tape.h"
#include "primitives/construct.h"
#include "primitives/matmul.h"

/* The order of a sum over k depends on how the operands are stored where one has few rows and they are long
 * (src/base/blas.h), and where a batch is summed, which becomes a part of k if they allow it: those products
 * stay, for the sake of their bits. */
enum { FEW_ROWS = 8, LONG_ROWS = 64 };

static bool keeps_bits(int64_t m, int64_t k, int64_t n) {
  const int64_t fewer = m < n ? m : n;
  return fewer > FEW_ROWS || (fewer > 1 && k < LONG_ROWS);
}

/* Are matrices of node i those of its operand with rows for columns? */
static bool is_transposed(const ad_tape *t, uint32_t i, uint32_t *origin) {
  const ad_type *types[1];
  int64_t perm[AD_MAX_RANK];
  int n;
  if (node_is_leaf(t, i)) return false;
  const uint32_t *x = node_operands(t, i, &n);
  if (n != 1) return false;
  const ad_operation op = node_operation(t, i, types);
  const int rank = op.z.rank;
  if (!transpose_axes(&op, perm) || rank < 2) return false;
  for (int d = 0; d < rank - 2; d++)
    if (perm[d] != d) return false;
  *origin = x[0];
  return perm[rank - 1] == rank - 2 && perm[rank - 2] == rank - 1;
}

/* The second operand: batches of the first one, in order as they are, may be one matrix that meets it. */
uint32_t tape_fold_product(ad_tape *t, const ad_operation *op, const uint32_t x[]) {
  product a;
  uint32_t y;
  if (!product_of_matrices(op, &a) || a.sum) return INVALID_INDEX;
  const ad_type *p = op->x[0], *q = op->x[1];
  const int64_t m = p->dim[p->rank - 1 - !a.tx], k = p->dim[p->rank - 1 - a.tx];
  const int64_t n = q->dim[q->rank - 1 - a.ty];
  if (!keeps_bits(m, k, n) || !is_transposed(t, x[1], &y)) return INVALID_INDEX;
  a.ty ^= 1;
  const ad_var z = product_record(a, handle(t, x[0]), handle(t, y));
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}
