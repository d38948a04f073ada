/* matmul.h -- the product that matmul, dot, outer and einsum are cases of. */
#ifndef ADIT_PRIMITIVES_MATMUL_H
#define ADIT_PRIMITIVES_MATMUL_H

#include "adit/primitive.h"

/* z[b,m,n] = sum_k x[b,m,k] y[b,k,n]. Batch axes b broadcast; they are counted from the last one, the one
 * beside the matrix, as broadcasting aligns them. The attribute of the primitive: no padding. */
typedef struct product {
  uint8_t tx, ty;               /* x is stored (.., k, m), y (.., n, k) */
  uint8_t no_m, no_k, no_n;     /* axes that the operands, and z, do not have */
  uint8_t rank;                 /* batch axes of z; those beyond it are summed, or have size 1 */
  uint8_t sum;                  /* bit i: the product is summed over batch axis i, whose size in z is 1 */
  uint8_t zero;
} product;

/* Records a product of two operands of the same dtype, not bool. */
ad_var product_record(product a, ad_var x, ad_var y);
/* The sum over the first axis of z = x y, as a product of the same operands; ad_none() where op is no
 * product, or that axis is not one of both operands. */
ad_var product_sum_first(const ad_operation *op, const ad_var x[]);
/* The sum over m of z = x y, as the product of x's sum over m with y, without axis m; ad_none() where op is
 * no product of matrices. */
ad_var product_sum_rows(const ad_operation *op, const ad_var x[]);
/* Is it a product of matrices, over a batch or not, and not of vectors? *a: how they are stored. */
bool product_of_matrices(const ad_operation *op, product *a);
/* Multiplications in one product of matrices of the operation; 0 where it is no product. */
int64_t product_size(const ad_operation *op);

#endif
