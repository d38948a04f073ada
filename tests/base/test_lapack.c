/* test_lapack.c -- LAPACK is found once, by whoever is first, and its routines are those they are taken for;
 * where it, or one of its routines, is not there, there is none. */
#include "check.h"

#include "base/lapack.h"

#include <float.h>
#include <pthread.h>

/* The search once more, on a machine that has a C library alone. */
#undef ADIT_LAPACK
#define ADIT_LAPACK "libadit-knows-no-such-library.so.0", "libc.so.6"
#define lapack_find lapack_elsewhere
#include "base/lapack.c"
#undef lapack_find

enum { THREADS = 8, N = 3 };

static void *find(void *at) {
  *(const lapack **)at = lapack_find();
  return NULL;
}

static void test_threads_find_the_same(void) {
  pthread_t thread[THREADS];
  const lapack *seen[THREADS];
  int started = 0;
  while (started < THREADS && !pthread_create(&thread[started], NULL, find, &seen[started])) started++;
  CHECK(started > 0 && lapack_find() != NULL);
  for (int k = 0; k < started; k++) {
    pthread_join(thread[k], NULL);
    CHECK(seen[k] == lapack_find());
  }
}

/* A, column by column, is positive definite; A (1, 2, 3) = (8, 17, 23). Through LU, which needs no exchange
 * of rows here, then through A = L L^T. */
#define TEST(T, prefix)                                                                                      \
  static void test_##prefix(void) {                                                                          \
    const lapack *l = lapack_find();                                                                         \
    T lu[N*N] = { 4, 2, 0, 2, 6, 1, 0, 1, 7 }, c[N*N], b[2][N] = { { 8, 17, 23 }, { 8, 17, 23 } };           \
    const int n = N, one = 1;                                                                                \
    const T unit = 1;                                                                                        \
    int pivot[N] = { 0 }, info = -1;                                                                         \
    if (!CHECK(l != NULL)) return;                                                                           \
    memcpy(c, lu, sizeof c);                                                                                 \
    l->prefix##getrf(&n, &n, lu, &n, pivot, &info);                                                          \
    CHECK(info == 0 && pivot[0] == 1 && pivot[1] == 2 && pivot[2] == 3);                                     \
    l->prefix##getrs("N", &n, &one, lu, &n, pivot, b[0], &n, &info, 1);                                      \
    CHECK(info == 0);                                                                                        \
    l->prefix##potrf("L", &n, c, &n, &info, 1);                                                              \
    CHECK(info == 0 && c[0] == 2);                                                                           \
    l->prefix##trsm("L", "L", "N", "N", &n, &one, &unit, c, &n, b[1], &n, 1, 1, 1, 1);                       \
    l->prefix##trsm("L", "L", "T", "N", &n, &one, &unit, c, &n, b[1], &n, 1, 1, 1, 1);                       \
    for (int i = 0; i < 2*N; i++) {                                                                          \
      const double error = fabs((double)b[i/N][i%N] - (i%N + 1));                                            \
      CHECK_THAT(error <= 32*(sizeof(T) == 8 ? DBL_EPSILON : (double)FLT_EPSILON), "unknown %d", i);         \
    }                                                                                                        \
  }
TEST(double, d)
TEST(float, s)

static void test_missing(void) {
  for (int k = 0; k < 2; k++) CHECK(lapack_elsewhere() == NULL);
}

int main(void) {
  test_missing();
  test_threads_find_the_same();
  test_d();
  test_s();
  return check_summary();
}
