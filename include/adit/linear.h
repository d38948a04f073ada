/* adit/linear.h -- systems of linear equations, inverses, determinants.
 *
 * The law. Everything here records (adit/tape.h) and has derivatives of any order but where said. Matrices
 * are the last two axes, all axes before them a batch; f64 and f32, integers count as f64. The factorisation,
 * by LAPACK with partial pivoting, is an operation of its own, which the value and all derivatives share:
 * within a traced function everything asked of one matrix does, on a tape each call here factorises once.
 *
 * A matrix is singular when its factorisation meets a pivot of exactly 0. That shows when the operation runs:
 * AD_ERROR_SINGULAR from the call or the reading that ran it. Rounding hides most singular matrices; how many
 * digits of a solution hold is for the caller to judge. NaN and infinity in a matrix give NaN, not an error.
 */
#ifndef ADIT_LINEAR_H
#define ADIT_LINEAR_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The z with a z = b. a is (.., n, n). b of rank 1 is one vector (n), for all matrices: z is (.., n). b of
 * any other rank is a matrix (.., n, k): z is (.., n, k). This is NumPy 2's rule; vectors of a batch are
 * given as (.., n, 1). Batch axes broadcast as in ad_matmul. */
AD_API ad_var ad_solve(ad_var a, ad_var b);
/* The inverse, (.., n, n). ad_solve(a, b) is faster and closer than ad_matmul(ad_inv(a), b). */
AD_API ad_var ad_inv(ad_var a);
/* The determinant, of the shape of the batch; 1 for n = 0. The first derivative is the matrix of cofactors,
 * right for singular matrices too. The second and higher ones need a regular matrix: AD_ERROR_SINGULAR. */
AD_API ad_var ad_det(ad_var a);
/* log|det a|, where the determinant itself may be out of range; -inf for a singular matrix, whose derivatives
 * are AD_ERROR_SINGULAR. */
AD_API ad_var ad_logabsdet(ad_var a);

/* The solution of a z = b, or of a^T z = b if transposed, reading one triangle of a, which need not be zero
 * elsewhere. Shapes as for ad_solve. A 0 on the diagonal is AD_ERROR_SINGULAR. */
AD_API ad_var ad_solve_triangular(ad_var a, ad_var b, bool lower, bool transposed);
/* The lower triangular L with L L^T = (a + a^T)/2: of a itself where it is symmetric. What is not positive
 * definite is AD_ERROR_NUMERIC. */
AD_API ad_var ad_cholesky(ad_var a);

#ifdef __cplusplus
}
#endif
#endif
