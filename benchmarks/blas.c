/* blas.c -- dense products: adit's kernels against the BLAS libraries of the system, for RESULTS.md.
 *
 *     blas [-t threads] [-d f64|f32] [-s all|small|big] [-k] [name=library.so ...]
 *
 * -k adds the kernels for older processors. A library is a CBLAS (OpenBLAS, BLIS), oneDNN (f32 only) or
 * libxsmm, told apart by its symbols; it is loaded for itself (RTLD_LOCAL), so several can be compared in one
 * run, interleaved: every round times each of them, and the best round counts. Prints GFLOP/s, one row per
 * shape. Build: link libadit.a and -ldl, with -fopenmp.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

#include "../src/base/blas.h"
#include "../src/base/blas_kernel.h"

typedef void cblas_d(int, int, int, int, int, int, double, const double *, int, const double *, int, double,
                     double *, int);
typedef void cblas_s(int, int, int, int, int, int, float, const float *, int, const float *, int, float,
                     float *, int);
typedef int onednn_s(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *,
                     int64_t, float, float *, int64_t);
typedef void fortran_d(const char *, const char *, const int *, const int *, const int *, const double *,
                       const double *, const int *, const double *, const int *, const double *, double *,
                       const int *);
typedef void fortran_s(const char *, const char *, const int *, const int *, const int *, const float *,
                       const float *, const int *, const float *, const int *, const float *, float *,
                       const int *);

typedef struct backend {
  const char *name;
  const gemm_kernels *kernels;    /* adit's; NULL with no library: the seam, as adit uses it */
  bool library;
  cblas_d *d; cblas_s *s; onednn_s *onednn; fortran_d *fd; fortran_s *fs;
} backend;

typedef struct shape { bool ta, tb; int m, n, k; } shape;

static const shape shapes[] = {
  {0, 0, 2, 2, 2}, {0, 0, 4, 4, 4}, {0, 0, 8, 8, 8}, {0, 0, 16, 16, 16}, {0, 0, 24, 24, 24},
  {0, 0, 32, 32, 32}, {0, 0, 33, 33, 33}, {0, 0, 48, 48, 48}, {0, 0, 64, 64, 64}, {0, 1, 64, 64, 64},
  {1, 0, 64, 64, 64}, {0, 0, 96, 96, 96}, {0, 0, 128, 128, 128}, {0, 1, 128, 128, 128},
  {1, 0, 128, 128, 128}, {0, 0, 256, 256, 256}, {0, 1, 256, 256, 256}, {1, 0, 256, 256, 256},
  {0, 0, 512, 512, 512}, {0, 0, 1000, 1000, 1000}, {0, 0, 1024, 1024, 1024}, {0, 1, 1024, 1024, 1024},
  {1, 0, 1024, 1024, 1024}, {0, 0, 2048, 2048, 2048},
  {0, 1, 128, 512, 784}, {0, 0, 128, 784, 512}, {1, 0, 512, 784, 128}, {0, 0, 128, 10, 512},
  {0, 0, 32, 512, 128}, {0, 1, 256, 768, 3072}, {0, 0, 256, 3072, 768}, {0, 0, 10000, 16, 16},
  {1, 0, 16, 16, 10000}, {0, 0, 10000, 3, 3}, {0, 0, 512, 64, 64}, {0, 1, 8, 1024, 1024},
  {0, 0, 8, 1024, 1024}, {0, 0, 1000, 1, 1000}, {1, 0, 1000, 1, 1000}, {0, 0, 100, 1, 100},
  {0, 0, 1, 1, 10000}, {0, 0, 1000, 1000, 1},
};
enum { SHAPES = sizeof shapes/sizeof *shapes, MOST = 12 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

static int threads = 1;

static void multiply(const backend *e, bool wide, shape p, const void *a, const void *b, void *c) {
  int lda = p.ta ? p.m : p.k, ldb = p.tb ? p.k : p.n, ta = p.ta ? 112 : 111, tb = p.tb ? 112 : 111;
  const char *xa = p.ta ? "T" : "N", *xb = p.tb ? "T" : "N";
  const double one = 1, zero = 0;
  const float onef = 1, zerof = 0;
  if (e->kernels)
    gemm_run(e->kernels, &(gemm_job){.wide = wide, .ta = p.ta, .tb = p.tb, .m = p.m, .n = p.n, .k = p.k,
             .a = a, .b = b, .c = c, .lda = lda, .ldb = ldb, .c_row = p.n, .c_col = 1}, threads);
  else if (!e->library && wide) gemm_f64(p.ta, p.tb, p.m, p.n, p.k, a, lda, b, ldb, c, p.n);
  else if (!e->library) gemm_f32(p.ta, p.tb, p.m, p.n, p.k, a, lda, b, ldb, c, p.n);
  else if (e->onednn) e->onednn(*xa, *xb, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n);
  else if (wide && e->fd) e->fd(xb, xa, &p.n, &p.m, &p.k, &one, b, &ldb, a, &lda, &zero, c, &p.n);
  else if (e->fs) e->fs(xb, xa, &p.n, &p.m, &p.k, &onef, b, &ldb, a, &lda, &zerof, c, &p.n);
  else if (wide) e->d(101, ta, tb, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n);
  else e->s(101, ta, tb, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n);
}

/* libxsmm multiplies small matrices; others it hands to a BLAS it was linked with. */
static bool able(const backend *e, bool wide, shape p) {
  if (e->onednn) return !wide;
  if (e->fd) return (double)p.m*p.n*p.k <= 64*64*64 && !p.tb;
  return true;
}

static bool load(backend *e, const char *argument) {
  const char *equals = strchr(argument, '=');
  void *library = equals ? dlopen(equals + 1, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) return false;
  static char names[MOST][32];
  static int used;
  char *name = names[used++];
  snprintf(name, sizeof names[0], "%.*s", (int)(equals - argument), argument);
  *e = (backend){.name = name, .library = true};
  *(void **)(void *)&e->onednn = dlsym(library, "dnnl_sgemm");
  *(void **)(void *)&e->fd = dlsym(library, "libxsmm_dgemm");
  *(void **)(void *)&e->fs = dlsym(library, "libxsmm_sgemm");
  *(void **)(void *)&e->d = dlsym(library, "cblas_dgemm");
  *(void **)(void *)&e->s = dlsym(library, "cblas_sgemm");
  char *(*core)(void);
  *(void **)(void *)&core = dlsym(library, "openblas_get_corename");
  if (core) printf("%s: OpenBLAS took the kernels for %s\n", name, core());
  return e->onednn || e->fd || e->d;
}

static double seconds(const backend *e, bool wide, shape p, const void *a, const void *b, void *c,
                      long times) {
  double start = now();
  for (long i = 0; i < times; i++) multiply(e, wide, p, a, b, c);
  return (now() - start)/(double)times;
}

static double *random_matrix(bool wide, long count) {
  double *x = aligned_alloc(64, (size_t)(count*8 + 127)/64*64);
  if (!x) exit(1);
  for (long i = 0; i < count; i++) {
    double v = (double)(i*2654435761u%1000003)/1000003 - .5;
    if (wide) x[i] = v;
    else ((float *)(void *)x)[i] = (float)v;
  }
  return x;
}

/* The largest difference between two results, relative to the largest entry. */
static double differs(bool wide, long count, const void *x, const void *y) {
  double most = 0, size = 1e-300;
  for (long i = 0; i < count; i++) {
    double u = wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
    double v = wide ? ((const double *)y)[i] : (double)((const float *)y)[i];
    most = fmax(most, fabs(u - v)), size = fmax(size, fabs(u));
  }
  return most/size;
}

static void measure(int n, const backend *e, bool wide, shape p) {
  double *a = random_matrix(wide, (long)p.m*p.k), *b = random_matrix(wide, (long)p.n*p.k);
  double *c = random_matrix(wide, (long)p.m*p.n), *d = random_matrix(wide, (long)p.m*p.n);
  double best[MOST], flops = 2.0*p.m*p.n*p.k;
  long times[MOST];
  multiply(&e[0], wide, p, a, b, d);
  for (int i = 0; i < n; i++) {
    best[i] = INFINITY;
    if (!able(&e[i], wide, p)) continue;
    multiply(&e[i], wide, p, a, b, c);
    if (differs(wide, (long)p.m*p.n, c, d) > (wide ? 1e-12 : 1e-4)) printf("%s is wrong: ", e[i].name);
    for (times[i] = 1; seconds(&e[i], wide, p, a, b, c, times[i])*(double)times[i] < 1e-3; times[i] *= 2) {}
  }
  for (int round = 0; round < 5; round++)
    for (int i = 0; i < n; i++)
      if (able(&e[i], wide, p)) best[i] = fmin(best[i], seconds(&e[i], wide, p, a, b, c, times[i]));
  printf("| %s %s%s%d x %d x %d |", wide ? "f64" : "f32", p.ta ? "A' " : "", p.tb ? "B' " : "", p.m,
         p.n, p.k);
  for (int i = 0; i < n; i++) {
    if (!isfinite(best[i])) printf(" - |");
    else if (flops < 2*17.*17*17) printf(" %.3g (%.0f ns) |", flops/best[i]*1e-9, best[i]*1e9);
    else printf(" %.3g |", flops/best[i]*1e-9);
  }
  printf("\n");
  fflush(stdout);
  free(a), free(b), free(c), free(d);
}

int main(int argc, char **argv) {
  backend e[MOST] = {{.name = "adit"}};
  int n = 1;
  const char *type = "", *sizes = "all";
  const gemm_kernels *at_hand[3];
  int kinds = gemm_kernels_at_hand(at_hand);
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-t") && i + 1 < argc) threads = atoi(argv[++i]);
    else if (!strcmp(argv[i], "-d") && i + 1 < argc) type = argv[++i];
    else if (!strcmp(argv[i], "-s") && i + 1 < argc) sizes = argv[++i];
    else if (!strcmp(argv[i], "-k"))
      for (int k = 1; k < kinds; k++) e[n++] = (backend){.name = at_hand[k]->name, .kernels = at_hand[k]};
    else if (n < MOST && load(&e[n], argv[i])) n++;
    else fprintf(stderr, "%s: not loaded (%s)\n", argv[i], dlerror());
  }
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
  printf("GFLOP/s, %d thread%s, m x n x k; adit's kernels: %s\n\n| shape |", threads, threads > 1 ? "s" : "",
         gemm_kernels_name());
  for (int i = 0; i < n; i++) printf(" %s |", e[i].name);
  printf("\n|---|");
  for (int i = 0; i < n; i++) printf("---|");
  printf("\n");
  for (int wide = 1; wide >= 0; wide--)
    for (int i = 0; i < SHAPES; i++) {
      bool small = (double)shapes[i].m*shapes[i].n*shapes[i].k <= 64*64*64;
      if ((*type && strcmp(type, wide ? "f64" : "f32")) || !strcmp(sizes, small ? "big" : "small")) continue;
      measure(n, e, wide, shapes[i]);
    }
  return 0;
}
