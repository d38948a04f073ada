/* blas.c -- which way a product of floats goes: degenerate shapes, path, threads, batches. */
#include "blas.h"

#include <stddef.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

#include "blas_kernel.h"

/* Multiplications that a thread should have at least: 10 or 20 us of work, against 1 or 2 us to start it on
 * an idle core and milliseconds if another process has that core. Products with a vector are bound by memory.
 */
enum { THREAD_WORK = 1 << 20, VECTOR_WORK = 1 << 19 };
/* Few enough rows that dot products beat rearranging the other operand, and long enough rows. */
enum { DOT_MOST_ROWS = 8, DOT_LEAST_DEPTH = 64 };

int gemm_kernels_at_hand(const gemm_kernels *out[3]) {
  int n = 0;
#if GEMM_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    out[n++] = &gemm_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = &gemm_avx2;
#endif
  out[n++] = &gemm_portable;
  return n;
}

static const gemm_kernels *best_kernels(void) {
  const gemm_kernels *at_hand[3];
  gemm_kernels_at_hand(at_hand);
  return at_hand[0];
}

const char *gemm_kernels_name(void) {
#ifdef ADIT_CBLAS
  if (best_kernels() == &gemm_portable) return "cblas";
#endif
  return best_kernels()->name;
}

/* C' = op(B)' op(A)': the same product, transposed. */
static void transpose_job(gemm_job *job) {
  gemm_job was = *job;
  job->ta = !was.tb, job->tb = !was.ta;
  job->m = was.n, job->n = was.m;
  job->a = was.b, job->b = was.a;
  job->lda = was.ldb, job->ldb = was.lda;
  job->c_row = was.c_col, job->c_col = was.c_row;
}

/* Vectors have two readings, as a row and as a column: take the one whose kernel runs along them. Sets the
 * path. */
static void choose_path(gemm_job *job) {
  if (job->m == 1 && job->ta && job->lda == 1) job->ta = false, job->lda = job->k;
  if (job->n == 1 && !job->tb && job->ldb == 1) job->tb = true, job->ldb = job->k;
  if (job->k == 1 && job->tb && job->ldb == 1) job->tb = false, job->ldb = job->n;
  int64_t fewer = job->m < job->n ? job->m : job->n;
  bool dots = fewer == 1 || (fewer <= DOT_MOST_ROWS && job->k >= DOT_LEAST_DEPTH);
  job->path = !job->ta && job->tb && dots ? GEMM_DOTS : GEMM_TILES;
  if (job->path == GEMM_DOTS && job->m > job->n) transpose_job(job);
  if (job->path == GEMM_TILES && job->n == 1 && job->m > 1 && job->c_row == 1) {
    transpose_job(job);
    job->c_row = job->n, job->c_col = 1;
  }
}

static void run_serial(const gemm_kernels *kernels, const gemm_job *job) {
  (job->wide ? kernels->f64 : kernels->f32)(job);
}

/* Rows [i, i + m) and columns [j, j + n) of C. */
static gemm_job part_of(const gemm_job *job, int64_t i, int64_t m, int64_t j, int64_t n) {
  gemm_job part = *job;
  int64_t size = job->wide ? (int64_t)sizeof(double) : (int64_t)sizeof(float);
  part.m = m, part.n = n;
  part.a = (const char *)job->a + (job->ta ? i : i*job->lda)*size;
  part.b = (const char *)job->b + (job->tb ? j*job->ldb : j)*size;
  part.c = (char *)job->c + (i*job->c_row + j*job->c_col)*size;
  return part;
}

static int64_t round_up(int64_t x, int64_t to) { return (x + to - 1)/to*to; }

/* C in down x across rectangles of height x width entries. */
typedef struct grid { int64_t height, width, down, across; } grid;

/* The grid of down x (threads/down) in whole tiles. */
static grid grid_of(const gemm_job *job, int64_t down, int threads) {
  int64_t across = threads/down;
  grid g = {round_up((job->m + down - 1)/down, 24), round_up((job->n + across - 1)/across, 48), 0, 0};
  g.down = (job->m + g.height - 1)/g.height, g.across = (job->n + g.width - 1)/g.width;
  return g;
}

/* A thread's time, in units of k: its entries of C; and its rows of A and columns of B, some 8 entries each.
 */
static double cost_of(grid g) {
  double m = (double)g.height, n = (double)g.width;
  return m*n + 8*(m + n);
}

static void run_parallel(const gemm_kernels *kernels, const gemm_job *job, int threads) {
  grid g = grid_of(job, 1, threads);
  for (int down = 2; down <= threads; down++) {
    grid other = grid_of(job, down, threads);
    if (cost_of(other) < cost_of(g)) g = other;
  }
#ifdef _OPENMP
#  pragma omp parallel for num_threads(threads) schedule(static)
#endif
  for (int64_t t = 0; t < g.down*g.across; t++) {
    int64_t i = t/g.across*g.height, j = t%g.across*g.width;
    int64_t m = job->m - i < g.height ? job->m - i : g.height;
    int64_t n = job->n - j < g.width ? job->n - j : g.width;
    gemm_job part = part_of(job, i, m, j, n);
    run_serial(kernels, &part);
  }
}

void gemm_run(const gemm_kernels *kernels, gemm_job *job, int threads) {
  choose_path(job);
  if (threads <= 1) run_serial(kernels, job);
  else run_parallel(kernels, job, threads);
}

static double work_of(const gemm_job *job) { return (double)job->m*(double)job->n*(double)job->k; }

/* Threads for `times` such products, out of those there are. */
static int threads_for(const gemm_job *job, int64_t times) {
  double share = work_of(job)*(double)times/(job->m == 1 || job->n == 1 ? VECTOR_WORK : THREAD_WORK);
  int most = 1;
#ifdef _OPENMP
  if (share >= 2 && !omp_in_parallel()) most = omp_get_max_threads();
#endif
  return share < most ? share < 1 ? 1 : (int)share : most;
}

static void zero(const gemm_job *job) {
  for (int64_t i = 0; i < job->m; i++)
    for (int64_t j = 0; j < job->n; j++)
      if (job->wide) ((double *)job->c)[i*job->c_row + j] = 0;
      else ((float *)job->c)[i*job->c_row + j] = 0;
}

/* The product; job is used up. */
static void product(gemm_job *job) {
  if (job->m <= 0 || job->n <= 0) return;
  if (job->k <= 0) {
    if (!job->add) zero(job);
    return;
  }
  const gemm_kernels *kernels = best_kernels();
#ifdef ADIT_CBLAS
  if (kernels == &gemm_portable && gemm_library(job)) return;
#endif
  gemm_run(kernels, job, threads_for(job, 1));
}

/* Products with the same sizes, strides apart. */
typedef struct batch_job {
  const gemm_kernels *kernels;
  gemm_job first;
  int64_t stride_a, stride_b, stride_c;
} batch_job;

static gemm_job nth(const batch_job *b, int64_t i) {
  const int64_t size = b->first.wide ? (int64_t)sizeof(double) : (int64_t)sizeof(float);
  gemm_job one = b->first;
  one.a = (const char *)one.a + i*b->stride_a*size;
  one.b = (const char *)one.b + i*b->stride_b*size;
  one.c = (char *)one.c + i*b->stride_c*size;
  return one;
}

static void run_nth(const batch_job *b, int64_t i) {
  gemm_job one = nth(b, i);
  gemm_run(b->kernels, &one, 1);
}

/* One thread does not enter the runtime of OpenMP at all: that takes longer than a small product. */
static void run_batch(const batch_job *b, int64_t batch, int threads) {
  if (threads <= 1) {
    for (int64_t i = 0; i < batch; i++) run_nth(b, i);
    return;
  }
#ifdef _OPENMP
#  pragma omp parallel for num_threads(threads) schedule(static)
#endif
  for (int64_t i = 0; i < batch; i++) run_nth(b, i);
}

static void batch_product(gemm_job *job, int64_t batch, int64_t stride_a, int64_t stride_b,
                          int64_t stride_c) {
  if (batch <= 0 || job->m <= 0 || job->n <= 0) return;
  bool dense_c = stride_c == job->m*job->c_row, dense_a = !job->ta && stride_a == job->m*job->lda;
  if (batch > 1 && stride_b == 0 && dense_a && dense_c) job->m *= batch, batch = 1;
  const int threads = threads_for(job, batch);
  const batch_job b = { best_kernels(), *job, stride_a, stride_b, stride_c };
  if (batch >= threads && job->k > 0 && threads_for(job, 1) == 1) {
    run_batch(&b, batch, threads);
    return;
  }
  for (int64_t i = 0; i < batch; i++) {
    gemm_job one = nth(&b, i);
    product(&one);
  }
}

#define FLOAT_JOB(real, accumulate) \
  &(gemm_job){.wide = sizeof(real) == sizeof(double), .ta = ta, .tb = tb, .add = accumulate, \
              .m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .lda = lda, .ldb = ldb, \
              .c_row = ldc, .c_col = 1}

#define FLOAT_PRODUCT(real, type) \
  void gemm_##type(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, \
                   const real *b, int64_t ldb, real *c, int64_t ldc) { \
    product(FLOAT_JOB(real, false)); \
  } \
  void gemm_add_##type(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, \
                       const real *b, int64_t ldb, real *c, int64_t ldc) { \
    product(FLOAT_JOB(real, true)); \
  } \
  void gemm_batch_##type(bool ta, bool tb, int64_t batch, int64_t m, int64_t n, int64_t k, \
                         const real *a, int64_t lda, int64_t stride_a, const real *b, int64_t ldb, \
                         int64_t stride_b, real *c, int64_t ldc, int64_t stride_c) { \
    batch_product(FLOAT_JOB(real, false), batch, stride_a, stride_b, stride_c); \
  }
FLOAT_PRODUCT(double, f64)
FLOAT_PRODUCT(float, f32)
