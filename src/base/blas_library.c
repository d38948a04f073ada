/* blas_library.c -- products through a CBLAS, in builds with -DADIT_CBLAS on processors without AVX2. */
#ifdef ADIT_CBLAS

#include <cblas.h>
#include <limits.h>

#include "blas_kernel.h"

/* Multiplications below which a call of the library costs more than it saves. */
enum { LIBRARY_WORK = 16*16*16 };

/* The leading dimension as the library wants it: at least the width, whatever it is for a single row. */
static bool fits(int64_t rows, int64_t width, int64_t *ld) {
  if (rows == 1 && *ld < width) *ld = width;
  return rows <= INT_MAX && *ld >= width && *ld <= INT_MAX;
}

bool gemm_library(const gemm_job *job) {
  int64_t lda = job->lda, ldb = job->ldb, ldc = job->c_row;
  if ((double)job->m*(double)job->n*(double)job->k < LIBRARY_WORK) return false;
  if (!fits(job->ta ? job->k : job->m, job->ta ? job->m : job->k, &lda)) return false;
  if (!fits(job->tb ? job->n : job->k, job->tb ? job->k : job->n, &ldb)) return false;
  if (!fits(job->m, job->n, &ldc)) return false;
  int m = (int)job->m, n = (int)job->n, k = (int)job->k;
  enum CBLAS_TRANSPOSE ta = job->ta ? CblasTrans : CblasNoTrans, tb = job->tb ? CblasTrans : CblasNoTrans;
  if (job->wide)
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, job->a, (int)lda, job->b, (int)ldb, job->add, job->c,
                (int)ldc);
  else
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, job->a, (int)lda, job->b, (int)ldb, job->add, job->c,
                (int)ldc);
  return true;
}

#else
typedef int blas_library_is_empty; /* C wants a declaration */
#endif
