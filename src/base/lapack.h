/* lapack.h -- the routines of LAPACK and BLAS that linear algebra calls.
 *
 * Matrices are stored column by column there. Character arguments carry their length behind all others, as
 * gfortran passes it; libraries written in C do not look at it.
 */
#ifndef ADIT_BASE_LAPACK_H
#define ADIT_BASE_LAPACK_H

#include <stddef.h>

#define LAPACK_ROUTINES(T, prefix)                                                                           \
  void (*prefix##getrf)(const int *m, const int *n, T *a, const int *lda, int *pivot, int *info);            \
  void (*prefix##getrs)(const char *trans, const int *n, const int *nrhs, const T *a, const int *lda,        \
                        const int *pivot, T *b, const int *ldb, int *info, size_t);                          \
  void (*prefix##potrf)(const char *uplo, const int *n, T *a, const int *lda, int *info, size_t);            \
  void (*prefix##trsm)(const char *side, const char *uplo, const char *trans, const char *diag,              \
                       const int *m, const int *n, const T *alpha, const T *a, const int *lda, T *b,         \
                       const int *ldb, size_t, size_t, size_t, size_t);
typedef struct lapack {
  LAPACK_ROUTINES(float, s)
  LAPACK_ROUTINES(double, d)
} lapack;
#undef LAPACK_ROUTINES

/* The library is loaded by the first call, in whichever thread, and stays. NULL: there is none. */
const lapack *lapack_find(void);

#endif
