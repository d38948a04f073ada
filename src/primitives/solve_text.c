/* solve_text.c -- factorisations and solutions as routines of C, for one matrix each; see solve.c.
 *
 * With a^T = P L U stored by columns, the rows of the factors hold U^T up to the diagonal and L^T, which has
 * ones on it, behind: a = U^T L^T P^T. So both are triangles of one matrix by rows, and all that solves goes
 * along rows.
 */
#include "primitives/written.h"

/* Right-looking: Golub and Van Loan, Matrix Computations, 4th ed., algorithm 3.4.1. The pivot is the first of
 * the greatest magnitude. */
static const char factorise_text[] =
  "/* z (n + 1, n): the factors of the transpose of a by columns, a^T = P L U, then the pivots from 1. */\n"
  "static void HELPER(lu_factors)(int64_t n, const REAL *a, REAL *z) {\n"
  "  for (int64_t i = 0; i < n*n; i++) z[i] = a[i];\n"
  "  for (int64_t j = 0; j < n; j++) {\n"
  "    REAL *column = z + j*n;\n"
  "    int64_t pivot = j;\n"
  "    for (int64_t i = j + 1; i < n; i++)\n"
  "      if (MATH(fabs)(column[i]) > MATH(fabs)(column[pivot])) pivot = i;\n"
  "    z[n*n + j] = (REAL)(pivot + 1);\n"
  "    for (int64_t k = 0; k < n && pivot != j; k++) {\n"
  "      const REAL t = z[k*n + j];\n"
  "      z[k*n + j] = z[k*n + pivot];\n"
  "      z[k*n + pivot] = t;\n"
  "    }\n"
  "    if (column[j] == 0) continue;\n"
  "    for (int64_t i = j + 1; i < n; i++) column[i] /= column[j];\n"
  "    for (int64_t k = j + 1; k < n; k++) {\n"
  "      REAL *other = z + k*n;\n"
  "      const REAL b = other[j];\n"
  "      for (int64_t i = j + 1; i < n; i++) other[i] -= column[i]*b;\n"
  "    }\n"
  "  }\n"
  "}\n";

static const char triangle_text[] =
  "/* z, a vector, = t^-1 z, or t^-T z, for a triangle t of a (n, n); unit: its diagonal is ones. */\n"
  "static void HELPER(vector_by_triangle)(int lower, int transposed, int unit, int64_t n, const REAL *a,\n"
  "                                       REAL *z) {\n"
  "  for (int64_t step = 0; step < n; step++) {\n"
  "    const int64_t i = lower != transposed ? step : n - 1 - step, from = lower ? 0 : i + 1,\n"
  "                  to = lower ? i : n;\n"
  "    const REAL *row = a + i*n;\n"
  "    REAL sum = z[i];\n"
  "    if (!transposed)\n"
  "      for (int64_t j = from; j < to; j++) sum -= row[j]*z[j];\n"
  "    if (!unit) sum /= row[i];\n"
  "    z[i] = sum;\n"
  "    if (transposed)\n"
  "      for (int64_t j = from; j < to; j++) z[j] -= row[j]*sum;\n"
  "  }\n"
  "}\n";

static const char triangles_text[] =
  "/* The same for k columns: z (n, k). */\n"
  "static void HELPER(by_triangle)(int lower, int transposed, int unit, int64_t n, int64_t k,\n"
  "                                const REAL *a, REAL *z) {\n"
  "  if (k == 1) {\n"
  "    HELPER(vector_by_triangle)(lower, transposed, unit, n, a, z);\n"
  "    return;\n"
  "  }\n"
  "  for (int64_t step = 0; step < n; step++) {\n"
  "    const int64_t i = lower != transposed ? step : n - 1 - step, from = lower ? 0 : i + 1,\n"
  "                  to = lower ? i : n;\n"
  "    const REAL *row = a + i*n;\n"
  "    REAL *own = z + i*k;\n"
  "    for (int64_t j = from; j < to && !transposed; j++)\n"
  "      for (int64_t c = 0; c < k; c++) own[c] -= row[j]*z[j*k + c];\n"
  "    for (int64_t c = 0; c < k && !unit; c++) own[c] /= row[i];\n"
  "    for (int64_t j = from; j < to && transposed; j++)\n"
  "      for (int64_t c = 0; c < k; c++) z[j*k + c] -= row[j]*own[c];\n"
  "  }\n"
  "}\n";

static const char diagonal_text[] =
  "static int HELPER(has_zero_pivot)(int64_t n, const REAL *a) {\n"
  "  for (int64_t i = 0; i < n; i++)\n"
  "    if (a[i*n + i] == 0) return 1;\n"
  "  return 0;\n"
  "}\n";

static const char solve_text[] =
  "/* z = a^-1 z, or a^-T z, z (n, k), by the factors of a. 1: a is singular. */\n"
  "static int HELPER(solve_by_factors)(int transposed, int64_t n, int64_t k, const REAL *lu, REAL *z) {\n"
  "  if (HELPER(has_zero_pivot)(n, lu)) return 1;\n"
  "  if (!transposed) {\n"
  "    HELPER(by_triangle)(1, 0, 0, n, k, lu, z);\n"
  "    HELPER(by_triangle)(0, 0, 1, n, k, lu, z);\n"
  "  }\n"
  "  for (int64_t step = 0; step < n; step++) {\n"
  "    const int64_t i = transposed ? step : n - 1 - step;\n"
  "    REAL *one = z + i*k, *other = z + ((int64_t)lu[n*n + i] - 1)*k;\n"
  "    for (int64_t c = 0; c < k && one != other; c++) {\n"
  "      const REAL t = one[c];\n"
  "      one[c] = other[c];\n"
  "      other[c] = t;\n"
  "    }\n"
  "  }\n"
  "  if (transposed) {\n"
  "    HELPER(by_triangle)(0, 1, 1, n, k, lu, z);\n"
  "    HELPER(by_triangle)(1, 1, 0, n, k, lu, z);\n"
  "  }\n"
  "  return 0;\n"
  "}\n";

static const char substitute_text[] =
  "/* z = t^-1 z, or t^-T z, z (n, k), for a triangle t of a. 1: t is singular. */\n"
  "static int HELPER(solve_triangle)(int lower, int transposed, int64_t n, int64_t k, const REAL *a,\n"
  "                                  REAL *z) {\n"
  "  if (HELPER(has_zero_pivot)(n, a)) return 1;\n"
  "  HELPER(by_triangle)(lower, transposed, 0, n, k, a, z);\n"
  "  return 0;\n"
  "}\n";

static const char cholesky_text[] =
  "/* z = L L^T from its lower triangle becomes L. 1: it is not positive definite. */\n"
  "static int HELPER(cholesky_factor)(int64_t n, REAL *z) {\n"
  "  for (int64_t i = 0; i < n; i++) {\n"
  "    REAL *row = z + i*n;\n"
  "    for (int64_t j = 0; j < i; j++)\n"
  "      row[j] = (row[j] - HELPER(sum_of_products)(j, row, z + j*n))/z[j*n + j];\n"
  "    const REAL square = row[i] - HELPER(sum_of_products)(i, row, row);\n"
  "    if (!(square > 0)) return 1;\n"
  "    row[i] = MATH(sqrt)(square);\n"
  "    for (int64_t j = i + 1; j < n; j++) row[j] = 0;\n"
  "  }\n"
  "  return 0;\n"
  "}\n";

/* An exponent of its own keeps the product from overflow on the way. */
static const char determinant_text[] =
  "/* The product of the pivots, turned once for each row that changed place. */\n"
  "static REAL HELPER(determinant_by_factors)(int64_t n, const REAL *lu) {\n"
  "  REAL product = 1;\n"
  "  int64_t exponent = 0;\n"
  "  for (int64_t i = 0; i < n; i++) {\n"
  "    int e = 0;\n"
  "    product *= lu[i*n + i];\n"
  "    if (isfinite(product)) product = MATH(frexp)(product, &e);\n"
  "    exponent += e;\n"
  "    if (lu[n*n + i] != (REAL)(i + 1)) product = -product;\n"
  "  }\n"
  "  return MATH(ldexp)(product, exponent > 10000 ? 10000 : exponent < -10000 ? -10000 : (int)exponent);\n"
  "}\n";

static const char log_determinant_text[] =
  "static REAL HELPER(log_determinant_by_factors)(int64_t n, const REAL *lu) {\n"
  "  REAL sum = 0;\n"
  "  for (int64_t i = 0; i < n; i++) sum += MATH(log)(MATH(fabs)(lu[i*n + i]));\n"
  "  return sum;\n"
  "}\n";

/* The recurrence of determinant.c. */
static const char cofactors_text[] =
  "/* z (n, n) = adj(U) L^-1 det(P) P^T, the cofactors of a, which may be singular. */\n"
  "static void HELPER(cofactors_by_factors)(int64_t n, const REAL *lu, REAL *z) {\n"
  "  REAL above = 1, sign = 1;\n"
  "  for (int64_t i = 0; i < n; i++)\n"
  "    if (lu[n*n + i] != (REAL)(i + 1)) sign = -sign;\n"
  "  for (int64_t i = 0; i < n; i++, z += n) {\n"
  "    for (int64_t k = 0; k < i; k++) z[k] = 0;\n"
  "    z[i] = above;\n"
  "    for (int64_t j = i + 1; j < n; j++) {\n"
  "      const REAL *column = lu + j*n;\n"
  "      REAL sum = 0;\n"
  "      for (int64_t k = i; k < j; k++) {\n"
  "        sum += z[k]*column[k];\n"
  "        z[k] *= column[j];\n"
  "      }\n"
  "      z[j] = -sum;\n"
  "    }\n"
  "    above *= lu[i*n + i];\n"
  "    for (int64_t k = 0; k < n; k++) z[k] *= sign;\n"
  "    HELPER(vector_by_triangle)(0, 0, 1, n, lu, z);\n"
  "    for (int64_t k = n - 1; k >= 0; k--) {\n"
  "      const int64_t other = (int64_t)lu[n*n + k] - 1;\n"
  "      const REAL t = z[k];\n"
  "      z[k] = z[other];\n"
  "      z[other] = t;\n"
  "    }\n"
  "  }\n"
  "}\n";

/* --- names ---------------------------------------------------------------------------------------------- */

const char *written_factorise(ad_writer *w, ad_dtype dtype) {
  return ad_write_routine(w, dtype, "lu_factors", factorise_text);
}

/* What a routine calls stands before it. */
static void write_triangles(ad_writer *w, ad_dtype dtype) {
  ad_write_routine(w, dtype, "vector_by_triangle", triangle_text);
  ad_write_routine(w, dtype, "by_triangle", triangles_text);
  ad_write_routine(w, dtype, "has_zero_pivot", diagonal_text);
}

const char *written_solve(ad_writer *w, ad_dtype dtype) {
  write_triangles(w, dtype);
  return ad_write_routine(w, dtype, "solve_by_factors", solve_text);
}

const char *written_substitute(ad_writer *w, ad_dtype dtype) {
  write_triangles(w, dtype);
  return ad_write_routine(w, dtype, "solve_triangle", substitute_text);
}

const char *written_cholesky(ad_writer *w, ad_dtype dtype) {
  written_dot(w, dtype);
  return ad_write_routine(w, dtype, "cholesky_factor", cholesky_text);
}

const char *written_determinant(ad_writer *w, ad_dtype dtype) {
  return ad_write_routine(w, dtype, "determinant_by_factors", determinant_text);
}

const char *written_log_determinant(ad_writer *w, ad_dtype dtype) {
  return ad_write_routine(w, dtype, "log_determinant_by_factors", log_determinant_text);
}

const char *written_cofactors(ad_writer *w, ad_dtype dtype) {
  ad_write_routine(w, dtype, "vector_by_triangle", triangle_text);
  return ad_write_routine(w, dtype, "cofactors_by_factors", cofactors_text);
}
