/* written.h -- what the write rules of matrix operations share: loops over a batch, and routines of C. */
#ifndef ADIT_PRIMITIVES_WRITTEN_H
#define ADIT_PRIMITIVES_WRITTEN_H

#include "adit/primitive.h"

enum { WRITTEN_ARRAYS = 3, WRITTEN_OFFSET = 176 };

/* Loops over the axes of a batch: sizes, and in elements the steps of up to three arrays. offset[k] is where
 * array k is in the loops that are open: "i0*12 + i1*4", or "0". */
typedef struct written_loops {
  ad_writer *w;
  int axes, arrays;
  struct { int64_t size, step[WRITTEN_ARRAYS]; } axis[AD_MAX_RANK];     /* innermost first */
  char offset[WRITTEN_ARRAYS][WRITTEN_OFFSET];
} written_loops;

void written_loops_open(written_loops *l);
void written_loops_close(const written_loops *l);
/* z[0..n) = x[0..n), or 0 where x is NULL. */
void write_elements(ad_writer *w, const char *z, const char *x, int64_t n);

/* --- products: product_text.c -------------------------------------------------------------------------- */

/* z (m, n) = x y, or z += x y: x is (m, k) or, if tx, (k, m), y is (k, n) or, if ty, (n, k). The three are
 * texts of addresses. */
typedef struct written_product {
  int64_t m, k, n;
  bool tx, ty, add;
  const char *x, *y, *z;
} written_product;

void write_product(ad_writer *w, ad_dtype dtype, const written_product *a);

/* --- systems: solve_text.c ------------------------------------------------------------------------------ */

/* Names of routines; they stay good as those of ad_write_routine.
 *
 *   REAL sum_of_products(int64_t n, const REAL *x, const REAL *y)
 *   void lu_factors(int64_t n, const REAL *a, REAL *z)   z (n + 1, n), as lu_record of solve.h has it
 *   int solve_by_factors(int transposed, int64_t n, int64_t k, const REAL *lu, REAL *z)   1: singular
 *   int solve_triangle(int lower, int transposed, int64_t n, int64_t k, const REAL *a, REAL *z)   1: singular
 *   int cholesky_factor(int64_t n, REAL *z)          in place; 1: not positive definite
 *   REAL determinant_by_factors(int64_t n, const REAL *lu)
 *   REAL log_determinant_by_factors(int64_t n, const REAL *lu)
 *   void cofactors_by_factors(int64_t n, const REAL *lu, REAL *z) */
const char *written_dot(ad_writer *w, ad_dtype dtype);
const char *written_factorise(ad_writer *w, ad_dtype dtype);
const char *written_solve(ad_writer *w, ad_dtype dtype);
const char *written_substitute(ad_writer *w, ad_dtype dtype);
const char *written_cholesky(ad_writer *w, ad_dtype dtype);
const char *written_determinant(ad_writer *w, ad_dtype dtype);
const char *written_log_determinant(ad_writer *w, ad_dtype dtype);
const char *written_cofactors(ad_writer *w, ad_dtype dtype);

#endif
