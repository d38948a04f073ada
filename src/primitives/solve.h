/* solve.h -- systems of equations as the primitives of adit/linear.h share them: shapes, batches, adjoints;
 * and solutions with a factorised matrix. */
#ifndef ADIT_PRIMITIVES_SOLVE_H
#define ADIT_PRIMITIVES_SOLVE_H

#include "adit/primitive.h"

/* --- operands of public functions ----------------------------------------------------------------------- */

/* Whether a is a square matrix, or a batch of them; says so on the tape, in the name of the public function,
 * where it is none. */
bool matrix_given(const char *name, ad_var a);
/* The same of a system a z = b, whose operands are brought to one float type; b is one vector if its rank
 * is 1. */
bool system_given(const char *name, ad_var *a, ad_var *b, bool *vector);
/* What a public function returns that was given something else; x is what it was given. */
ad_var invalid_of(int n, const ad_var x[]);
/* Integers as f64. Records. */
ad_var matrix_of_floats(ad_var a);
/* The last two axes exchanged. Records. */
ad_var matrix_transposed(ad_var x);

/* --- systems a z = b ------------------------------------------------------------------------------------ */

/* Batch axes are counted from the last one, the one beside the matrix, as broadcasting aligns them; axis i
 * has size a[i] in the matrices, b[i] in the right hand sides (1 where it is missing) and all[i] in the
 * result. b is (.., n, k), or (.., n) if vector. */
typedef struct systems {
  int64_t n, k;
  bool vector;
  int batch, batch_a, batch_b;
  int64_t a[AD_MAX_RANK], b[AD_MAX_RANK], all[AD_MAX_RANK];
} systems;

/* For type rules. Operand 0 is a matrix of floats, and square. */
ad_status matrix_check(ad_operation *op, const ad_type *a);
/* Operand 0 is a, and b fits; writes op->z. */
ad_status systems_type(ad_operation *op, const ad_type *b, bool vector);
/* What does not fit, or NULL: then *s is filled in. */
const char *systems_of(const ad_type *a, const ad_type *b, bool vector, systems *s);

/* A system of the batch, in the order of the result: how far its matrix and its right hand side are from the
 * first ones, in elements. Begins as zeros. step: elements of one matrix. */
typedef struct systems_place { int64_t a, b, index[AD_MAX_RANK]; } systems_place;
void systems_next(const systems *s, systems_place *at, int64_t step);

/* For write rules: loops over the batch that copy a right hand side x[0] to z and call
 * "call, n, k, a, z)", with a in x[1], of step_a elements; where that is not 0, the system is singular. */
void systems_write(ad_writer *w, const systems *s, const char *call, const char *z, const char *const x[],
                   int64_t step_a);

/* a z or a^T z, for an a and a z of the shapes of the system. Records. */
ad_var systems_apply(const systems *s, bool transposed, ad_var a, ad_var z);
/* x y^T, for x and y of the shape of the result, summed over the batch to the shape of a. Records. */
ad_var systems_outer(const systems *s, ad_var x, ad_var y);
/* Operands of an operation, all like a but the last, like b, with one more batch axis, the outermost: an
 * operand gets axes of size 1 between it and its own where the other one has more. False: too many axes. */
bool systems_align(const ad_batch *b, const systems *s, ad_var x[]);

/* --- factors -------------------------------------------------------------------------------------------- */

/* The factors of a, (.., n, n) -> (.., n + 1, n): in the first n rows L and U of P L U = a^T, column by
 * column, L below the diagonal, which is 1; in the last row the pivots, counted from 1. Never fails. */
ad_var lu_record(ad_var a);

/* The attribute of lu_solve: no padding. */
typedef struct solution {
  uint8_t transposed;           /* a^T z = b */
  uint8_t vector;               /* b is (.., n) and so is z, not (.., n, k) */
} solution;

/* The solution of a z = b by the factors lu of a. */
ad_var lu_solve_record(ad_var a, ad_var lu, ad_var b, solution how);
/* The inverse of a, or of its transpose, by the factors. */
ad_var lu_inverse(ad_tape *t, ad_var a, ad_var lu, bool transposed);

#endif
