/* test_blas.c -- the product seam against long double loops: every kernel, transposition, shape and stride.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/blas.h"
#include "../../src/base/blas_kernel.h"

static int passed, failed;

static void check(bool ok, const char *what) {
  if (ok) passed++;
  else failed++, printf("FAILED %s\n", what);
}

/* A small generator of its own (Marsaglia's xorshift, 2003): the same numbers on every machine. */
static uint64_t state = 88172645463325252u;
static uint64_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
static int64_t below(uint64_t n) { return (int64_t)(next()%n); }
static double uniform(void) { return (double)(next() >> 11)*0x1p-53*2 - 1; }

/* One product: operands in buffers with rows further apart than they are wide, and shifted off alignment. */
typedef struct problem {
  bool wide, ta, tb, add;
  int64_t m, n, k, lda, ldb, ldc;
  size_t size;
  char *block_a, *block_b, *block_c, *block_before;
  char *a, *b, *c, *before;
} problem;

static double get(const problem *p, const char *x, int64_t i) {
  return p->wide ? ((const double *)(const void *)x)[i] : (double)((const float *)(const void *)x)[i];
}
static void put(const problem *p, char *x, int64_t i, double v) {
  if (p->wide) ((double *)(void *)x)[i] = v;
  else ((float *)(void *)x)[i] = (float)v;
}

static char *filled(const problem *p, int64_t rows, int64_t ld, int64_t shift, char **block) {
  int64_t count = rows*ld + shift;
  *block = malloc((size_t)count*p->size + 64);
  if (!*block) exit(2);
  char *x = *block + (size_t)shift*p->size;
  for (int64_t i = 0; i < rows*ld; i++) put(p, x, i, uniform());
  return x;
}

/* way: bit 0 transposes A, bit 1 B, bit 2 adds to C. */
static problem make_problem(bool wide, int way, int64_t m, int64_t n, int64_t k, int64_t pad, int64_t shift) {
  bool ta = way & 1, tb = way & 2;
  problem p = {.wide = wide, .ta = ta, .tb = tb, .add = way & 4, .m = m, .n = n, .k = k};
  p.size = wide ? sizeof(double) : sizeof(float);
  p.lda = (ta ? m : k) + pad, p.ldb = (tb ? k : n) + 2*pad, p.ldc = n + 3*pad;
  p.a = filled(&p, ta ? k : m, p.lda, shift, &p.block_a);
  p.b = filled(&p, tb ? n : k, p.ldb, 2*shift, &p.block_b);
  p.c = filled(&p, m, p.ldc, 3*shift, &p.block_c);
  p.before = filled(&p, m, p.ldc, 3*shift, &p.block_before);
  memcpy(p.before, p.c, (size_t)(m*p.ldc)*p.size);
  return p;
}

static void free_problem(problem *p) {
  free(p->block_a), free(p->block_b), free(p->block_c), free(p->block_before);
}

static void run(const problem *p, const gemm_kernels *kernels, int threads, char *c) {
  gemm_job job = {.wide = p->wide, .ta = p->ta, .tb = p->tb, .add = p->add, .m = p->m, .n = p->n, .k = p->k,
                  .a = p->a, .b = p->b, .c = c, .lda = p->lda, .ldb = p->ldb, .c_row = p->ldc, .c_col = 1};
  if (kernels) gemm_run(kernels, &job, threads);
  else if (p->wide)
    (p->add ? gemm_add_f64 : gemm_f64)(p->ta, p->tb, p->m, p->n, p->k, (void *)p->a, p->lda, (void *)p->b,
                                       p->ldb, (void *)c, p->ldc);
  else
    (p->add ? gemm_add_f32 : gemm_f32)(p->ta, p->tb, p->m, p->n, p->k, (void *)p->a, p->lda, (void *)p->b,
                                       p->ldb, (void *)c, p->ldc);
}

/* |error| <= (k + 2) u sum |a||b|, the bound for any order of summation; and nothing written between rows. */
static bool right(const problem *p) {
  double unit = p->wide ? 0x1p-53 : 0x1p-24;
  for (int64_t i = 0; i < p->m; i++) {
    for (int64_t j = 0; j < p->n; j++) {
      long double sum = p->add ? get(p, p->before, i*p->ldc + j) : 0, size = fabsl(sum);
      for (int64_t q = 0; q < p->k; q++) {
        long double term = (long double)get(p, p->a, p->ta ? q*p->lda + i : i*p->lda + q)
                           *(long double)get(p, p->b, p->tb ? j*p->ldb + q : q*p->ldb + j);
        sum += term, size += fabsl(term);
      }
      long double error = fabsl((long double)get(p, p->c, i*p->ldc + j) - sum);
      if (!(error <= (long double)(p->k + 2)*unit*size)) return false;
    }
    size_t row = (size_t)(i*p->ldc + p->n)*p->size, gap = (size_t)(p->ldc - p->n)*p->size;
    if (memcmp(p->c + row, p->before + row, gap)) return false;
  }
  return true;
}

static void check_problem(const gemm_kernels *kernels, int threads, bool wide, int way, int64_t m, int64_t n,
                          int64_t k, int64_t pad, int64_t shift) {
  problem p = make_problem(wide, way, m, n, k, pad, shift);
  run(&p, kernels, threads, p.c);
  char what[200];
  snprintf(what, sizeof what, "%s %s%s%s%s %lld x %lld x %lld, pad %lld, shift %lld, %d threads",
           kernels ? kernels->name : "seam", wide ? "f64" : "f32", way & 1 ? " A'" : "", way & 2 ? " B'" : "",
           way & 4 ? " +=" : "", (long long)m, (long long)n, (long long)k, (long long)pad, (long long)shift,
           threads);
  check(right(&p), what);
  free_problem(&p);
}

/* Every shape out of a list of sizes, through the seam itself; 0 included. */
static void test_seam_shapes(void) {
  static const int64_t sizes[] = {0, 1, 2, 3, 5, 17, 33, 64, 65, 100};
  enum { SIZES = sizeof sizes/sizeof *sizes };
  for (int t = 0; t < SIZES*SIZES*SIZES; t++)
    for (int way = 0; way < 8; way++) {
      int64_t m = sizes[t%SIZES], n = sizes[t/SIZES%SIZES], k = sizes[t/SIZES/SIZES];
      if (m*n*k > 65*65*65 && way != t%8) continue;
      check_problem(NULL, 0, (t + way)%2, way, m, n, k, (t/3)%2*5, (t/2)%4);
    }
}

/* Every set of kernels at hand, both types, random shapes about the edges of tiles, panels and blocks. */
static void test_each_kernel(void) {
  const gemm_kernels *at_hand[3];
  int count = gemm_kernels_at_hand(at_hand);
  for (int e = 0; e < count; e++)
    for (int t = 0; t < 400; t++) {
      int64_t m = below(40) + 1, n = below(t%4 ? 60 : 160) + 1, k = below(t%5 ? 40 : 600) + 1;
      int way = (int)below(8);
      check_problem(at_hand[e], 1 + t%3, t%2, way, m, n, k, below(4), below(4));
    }
  for (int e = 0; e < count; e++)
    for (int way = 0; way < 8; way++) {
      check_problem(at_hand[e], 1, way%2, way, 150, 77, 300, 0, 0);      /* the heap block */
      check_problem(at_hand[e], 2, way%2, way, 140, 530, 40, 1000, 1);   /* rows far apart */
      check_problem(at_hand[e], 3, way%2, way, 1, 1000, 513, 3, 1);      /* vectors */
      check_problem(at_hand[e], 3, way%2, way, 1000, 1, 513, 0, 1);
      check_problem(at_hand[e], 3, way%2, way, 7, 3, 3000, 0, 1);
    }
}

/* The same bits for 1, 2, 3 and 5 threads, for AVX-512 and AVX2, for other leading dimensions. */
static void test_bits(void) {
  const gemm_kernels *at_hand[3];
  int count = gemm_kernels_at_hand(at_hand);
  static const int64_t shapes[][3] = {
    {150, 90, 700}, {1, 333, 500}, {333, 1, 500}, {6, 100, 999}, {31, 47, 10}, {4, 4, 4}
  };
  for (int s = 0; s < 6; s++)
    for (int way = 0; way < 8; way++) {
      problem p = make_problem(s%2, way, shapes[s][0], shapes[s][1], shapes[s][2], s%3, 1);
      size_t bytes = (size_t)(p.m*p.ldc)*p.size;
      char *other = malloc(bytes + 64);
      if (!other) exit(2);
      run(&p, at_hand[0], 1, p.c);
      for (int threads = 2; threads <= 5; threads++) {
        memcpy(other, p.before, bytes);
        run(&p, at_hand[0], threads, other);
        check(!memcmp(p.c, other, bytes), "same bits for any number of threads");
      }
      for (int e = 1; e < count - 1; e++) {
        memcpy(other, p.before, bytes);
        run(&p, at_hand[e], 1, other);
        check(!memcmp(p.c, other, bytes), "same bits for AVX-512 and AVX2");
      }
      free(other);
      free_problem(&p);
    }
}

/* Bits 2 and 6 of XINUSE: upper halves of vector registers that are not zero. Left so, they slow down every
 * SSE instruction after the call (five times, on Zen 5). 0 where the processor does not say. */
static unsigned upper_halves_in_use(void) {
  unsigned used = 0;
#if GEMM_X86
  unsigned a = 13, b, c = 1, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (!(a & 4) || !__builtin_cpu_supports("avx")) return 0;
  __asm__ volatile("xgetbv" : "=a"(used), "=d"(d) : "c"(1));
#endif
  return used & 0x44;
}

static void test_upper_halves_clean(void) {
  const gemm_kernels *at_hand[3];
  int count = gemm_kernels_at_hand(at_hand);
  static const int64_t shapes[][3] = {
    {3, 3, 3}, {64, 64, 64}, {1, 50, 300}, {5, 60, 100}, {1, 300, 50}, {150, 90, 300}
  };
#if GEMM_X86
  if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroupper" ::: "memory");
#endif
  if (upper_halves_in_use()) return;   /* a processor that never says clean */
  for (int e = 0; e < count; e++)
    for (int s = 0; s < 6; s++)
      for (int way = 0; way < 8; way++) {
        problem p = make_problem(s%2, way, shapes[s][0], shapes[s][1], shapes[s][2], 1, 1);
        run(&p, at_hand[e], 1, p.c);
        check(!upper_halves_in_use(), "upper halves of vector registers are clean after a product");
        free_problem(&p);
      }
}

static void test_empty_and_nan(void) {
  double c[6] = {NAN, NAN, NAN, NAN, NAN, NAN}, a[3] = {0, INFINITY, 1}, b[3] = {1, 0, 2};
  gemm_f64(false, false, 2, 3, 0, NULL, 1, NULL, 3, c, 3);
  check(c[0] == 0 && c[5] == 0 && !signbit(c[3]), "k = 0 gives zeros over nan");
  gemm_add_f64(false, false, 2, 3, 0, NULL, 1, NULL, 3, c, 3);
  check(c[2] == 0, "k = 0 adds nothing");
  gemm_f64(false, false, 0, 3, 5, NULL, 5, NULL, 3, NULL, 3);
  gemm_f64(false, false, 3, 0, 5, NULL, 5, NULL, 1, NULL, 1);
  check(true, "m or n = 0 touches nothing");
  c[0] = NAN;
  gemm_f64(false, false, 1, 1, 3, b, 3, b, 1, c, 1);
  check(c[0] == 5, "an overwritten nan is not read");
  gemm_f64(false, false, 1, 1, 3, a, 3, b, 1, c, 1);
  check(isnan(c[0]), "inf times 0 is nan");
}

/* A leading dimension of 0 is one row read again and again. */
static void test_repeated_row(void) {
  double a[5] = {1, 2, 3, 4, 5}, b[5*7], c[9*7];
  for (int i = 0; i < 35; i++) b[i] = i - 9;
  gemm_f64(false, false, 9, 7, 5, a, 0, b, 7, c, 7);
  bool same = true;
  for (int j = 0; j < 7; j++)
    for (int i = 1; i < 9; i++) same = same && c[i*7 + j] == c[j];
  check(same, "lda = 0: equal rows");
  gemm_f64(false, false, 9, 7, 5, a, 0, b, 0, c, 7);
  for (int j = 0; j < 7; j++) same = same && c[8*7 + j] == 15*b[j];
  check(same, "ldb = 0: equal rows of B");
}

static void test_batch(void) {
  static const int64_t batches[] = {0, 1, 2, 7, 500};
  for (int t = 0; t < 40; t++) {
    int64_t batch = batches[t%5], m = below(9) + 1, n = below(9) + 1, k = below(20);
    bool ta = t & 1, tb = t & 2, shared = t & 4;
    int64_t sa = m*k + (t & 8 ? 3 : 0), sb = shared ? 0 : k*n, sc = m*n;
    double *a = calloc((size_t)(batch*sa + 1), sizeof *a), *b = calloc((size_t)(batch*k*n + 1), sizeof *b);
    double *c = calloc((size_t)(batch*sc + 1), sizeof *c), *d = calloc((size_t)sc, sizeof *d);
    float *af = calloc((size_t)(batch*sa + 1), sizeof *af), *bf = calloc((size_t)(batch*k*n + 1), sizeof *bf);
    float *cf = calloc((size_t)(batch*sc + 1), sizeof *cf);
    if (!a || !b || !c || !d || !af || !bf || !cf) exit(2);
    for (int64_t i = 0; i < batch*sa; i++) af[i] = (float)(a[i] = (double)(next()%9) - 4);
    for (int64_t i = 0; i < batch*k*n; i++) bf[i] = (float)(b[i] = (double)(next()%9) - 4);
    gemm_batch_f64(ta, tb, batch, m, n, k, a, ta ? m : k, sa, b, tb ? k : n, sb, c, n, sc);
    gemm_batch_f32(ta, tb, batch, m, n, k, af, ta ? m : k, sa, bf, tb ? k : n, sb, cf, n, sc);
    bool same = true;
    for (int64_t i = 0; i < batch; i++) {
      gemm_f64(ta, tb, m, n, k, a + i*sa, ta ? m : k, b + i*sb, tb ? k : n, d, n);
      for (int64_t j = 0; j < sc; j++) same = same && c[i*sc + j] == d[j] && (double)cf[i*sc + j] == d[j];
    }
    check(same, "a batch is its products one by one");
    free(a), free(b), free(c), free(d), free(af), free(bf), free(cf);
  }
}

/* Integers are exact, and wrap around. */
static void test_integers(void) {
  static const int64_t sizes[] = {0, 1, 3, 17, 65, 130, 515};
  for (int t = 0; t < 80; t++) {
    int64_t m = sizes[next()%5], n = sizes[next()%7], k = sizes[next()%6];
    bool ta = t & 1, tb = t & 2;
    int64_t lda = (ta ? m : k) + 2, ldb = (tb ? k : n) + 1, ldc = n + 3;
    size_t na = (size_t)((m + k)*(m + k + 2) + 1), nb = (size_t)((n + k)*(n + k + 1) + 1);
    size_t nc = (size_t)(m*ldc + 1);
    int64_t *a = calloc(na, sizeof *a), *b = calloc(nb, sizeof *b), *c = calloc(nc, sizeof *c);
    int32_t *ai = calloc(na, sizeof *ai), *bi = calloc(nb, sizeof *bi), *ci = calloc(nc, sizeof *ci);
    if (!a || !b || !c || !ai || !bi || !ci) exit(2);
    for (size_t i = 0; i < na; i++) a[i] = (int64_t)next(), ai[i] = (int32_t)(a[i] & 0x7fffffff) - (1 << 30);
    for (size_t i = 0; i < nb; i++) b[i] = (int64_t)next(), bi[i] = (int32_t)(b[i] & 0x7fffffff) - (1 << 30);
    for (size_t i = 0; i < nc; i++) c[i] = 5, ci[i] = 5;
    (t & 4 ? gemm_add_i64 : gemm_i64)(ta, tb, m, n, k, a, lda, b, ldb, c, ldc);
    (t & 4 ? gemm_add_i32 : gemm_i32)(ta, tb, m, n, k, ai, lda, bi, ldb, ci, ldc);
    bool same = true;
    for (int64_t i = 0; i < m; i++) {
      for (int64_t j = 0; j < n; j++) {
        uint64_t sum = t & 4 ? 5 : 0;
        uint32_t sum32 = t & 4 ? 5 : 0;
        for (int64_t p = 0; p < k; p++) {
          int64_t x = ta ? p*lda + i : i*lda + p, y = tb ? j*ldb + p : p*ldb + j;
          sum += (uint64_t)a[x]*(uint64_t)b[y], sum32 += (uint32_t)ai[x]*(uint32_t)bi[y];
        }
        same = same && (uint64_t)c[i*ldc + j] == sum && (uint32_t)ci[i*ldc + j] == sum32;
      }
      same = same && c[i*ldc + n] == 5 && ci[i*ldc + n] == 5;
    }
    check(same, "integer product");
    free(a), free(b), free(c), free(ai), free(bi), free(ci);
  }
}

int main(void) {
  test_seam_shapes();
  test_each_kernel();
  test_bits();
  test_upper_halves_clean();
  test_empty_and_nan();
  test_repeated_row();
  test_batch();
  test_integers();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
