/* lapack.h -- the routines of LAPACK and BLAS that linear algebra calls, by their Fortran names.
 *
 * Matrices are stored column by column there. Character arguments carry their length behind all others, as
 * gfortran passes it; libraries written in C do not look at it.
 */
#ifndef ADIT_BASE_LAPACK_H
#define ADIT_BASE_LAPACK_H

#include <stddef.h>

#define LAPACK_ROUTINES(T, prefix)                                                                           \
  void prefix##getrf_(const int *m, const int *n, T *a, const int *lda, int *pivot, int *info);              \
  void prefix##getrs_(const char *trans, const int *n, const int *nrhs, const T *a, const int *lda,          \
                      const int *pivot, T *b, const int *ldb, int *info, size_t);                            \
  void prefix##potrf_(const char *uplo, const int *n, T *a, const int *lda, int *info, size_t);              \
  void prefix##trsm_(const char *side, const char *uplo, const char *trans, const char *diag, const int *m,  \
                     const int *n, const T *alpha, const T *a, const int *lda, T *b, const int *ldb, size_t, \
                     size_t, size_t, size_t);
LAPACK_ROUTINES(float, s)
LAPACK_ROUTINES(double, d)
#undef LAPACK_ROUTINES

#endif
