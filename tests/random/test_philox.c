/* test_philox.c -- the generator: published answers, every instruction set, any cutting into pieces, and what
 * C programs get without a tape. */
#include "check.h"

#include "random/sample.h"
#include "statistics.h"

/* The library's OpenMP, if it has one. */
#if defined(__GNUC__)
extern void omp_set_num_threads(int n) __attribute__((weak));
static void set_threads(int n) { if (omp_set_num_threads) omp_set_num_threads(n); }
#else
static void set_threads(int n) { (void)n; }
#endif

/* The lines "philox4x32 10" of kat_vectors, in the authors' Random123 package. */
static void test_known_answers(void) {
  static const struct { uint32_t counter[4], key[2], answer[4]; } known[] = {
    { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } } };
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    ad_philox(known[i].key, known[i].counter, out);
    CHECK_THAT(memcmp(out, known[i].answer, sizeof out) == 0, "answer %d: %08x %08x %08x %08x", i, out[0],
               out[1], out[2], out[3]);
    memcpy(out, known[i].counter, sizeof out);
    ad_philox(known[i].key, out, out);
    CHECK(memcmp(out, known[i].answer, sizeof out) == 0);
  }
}

/* Blocks of the vector kernels are those of ad_philox, across the carry into the upper half of the index. */
static void test_blocks_of_every_instruction_set(void) {
  static const uint64_t firsts[] = { 0, 1, 0xFFFFFFF8u, 0xFFFFFFFFFFFFFF00u };
  for (int k = 0; random_kernels_available(k); k++)
    for (int f = 0; f < 4; f++) {
      random_words words, of_list;
      uint64_t key[RANDOM_LANES], index[RANDOM_LANES];
      const uint64_t seed = 0xA4093822299F31D0u + (uint64_t)f;
      for (int i = 0; i < RANDOM_LANES; i++) {
        key[i] = seed + (uint64_t)(i*i);
        index[i] = firsts[f] ^ (uint64_t)(3*i);
      }
      random_kernels_available(k)->stream(seed, firsts[f], RANDOM_NORMAL, RANDOM_LANES, &words);
      random_kernels_available(k)->each(key, index, RANDOM_FOLD, RANDOM_LANES, &of_list);
      long wrong = 0;
      for (int i = 0; i < RANDOM_LANES; i++) {
        uint64_t a[2], b[2];
        philox_block(seed, firsts[f] + (uint64_t)i, RANDOM_NORMAL, a);
        philox_block(key[i], index[i], RANDOM_FOLD, b);
        wrong += memcmp(a, words.word + 2*i, sizeof a) != 0 || memcmp(b, of_list.word + 2*i, sizeof b) != 0;
      }
      CHECK_THAT(wrong == 0, "%s: %ld wrong blocks", random_kernels_available(k)->name, wrong);
    }
}

/* --- numbers from words --------------------------------------------------------------------------------- */

/* Words at the edges, then any. */
static void make_words(random_words *w, uint64_t state) {
  static const uint64_t edges[] = { 0, 1, 2, 7, 0x7FFFFFFFFFFFFFFFu, 0x8000000000000000u, UINT64_MAX,
                                    UINT64_MAX - 1, 0x00000000FFFFFFFFu, 0xFFFFFFFF00000000u,
                                    0xB504F333F9DE6484u, 0x5E2D58D8B3BCDF1Au, 0x7FFFFFFF80000000u,
                                    0xFFFFFFFE00000001u };
  enum { EDGES = sizeof edges/sizeof *edges };
  for (int i = 0; i < 2*RANDOM_LANES; i++) {
    w->word[i] = check_bits(&state);
    if (i < 2*EDGES) w->word[i] = edges[i%2 ? (i/2 + 3)%EDGES : i/2];
    else if (i < 200) w->word[i] >>= i%64;
    else if (i < 328) w->word[i] = ~(w->word[i] >> i%64);
  }
}

/* -log u, u = (x + 1/2)/2^bits */
static long double exponential_of(uint64_t x, int bits) {
  const long double scale = ldexpl(1, -bits), top = ldexpl(1, bits) - 1;
  const bool upper = (long double)x > top/2;
  return upper ? -log1pl(-(top - (long double)x + 0.5L)*scale) : -logl(((long double)x + 0.5L)*scale);
}

/* The two normal numbers of a pair of words. */
static void normals_of(uint64_t x, uint64_t turn, int bits, long double out[2], long double *radius) {
  const long double quarter_pi = atanl(1.0L);
  const long double a = ((long double)(turn >> 3) + 0.5L)*ldexpl(quarter_pi, 3 - bits);
  const long double s = sinl(a), c = cosl(a);
  *radius = sqrtl(2*exponential_of(x, bits));
  out[0] = *radius*(turn & 1 ? s : c)*(turn & 2 ? -1 : 1);
  out[1] = *radius*(turn & 1 ? c : s)*(turn & 4 ? -1 : 1);
}

/* Element i of a sampler by its definition in long double, and the scale of its rounding errors. */
static long double defined(random_purpose p, int bits, const uint64_t *w, int i, long double *scale) {
  long double pair[2], z, radius;
  *scale = 0;
  switch (p) {
    case RANDOM_UNIFORM:
      return bits == 64 ? ldexpl((long double)(w[i] >> 11), -53) : ldexpl((long double)(w[i] >> 8), -24);
    case RANDOM_NORMAL:
      normals_of(w[i & ~1], w[i | 1], bits, pair, &radius);
      *scale = radius;
      return pair[i & 1];
    case RANDOM_EXPONENTIAL: return *scale = exponential_of(w[i], bits);
    case RANDOM_LAPLACE:
      z = *scale = exponential_of(bits == 64 ? w[i] << 1 | 1 : (uint32_t)(w[i] << 1 | 1), bits);
      return w[i] >> (bits - 1) ? -z : z;
    case RANDOM_GUMBEL:
      z = -logl(exponential_of(w[i], bits));
      *scale = 1 + fabsl(z);
      return z;
    default: return (long double)w[i];
  }
}

/* Every sampler computes its formula to a few units of the last place, at the edges too. */
static void test_numbers_against_their_formulas(void) {
  enum { N = 4*RANDOM_LANES };
  static random_words w;
  static uint64_t word[N];
  for (uint64_t round = 0; round < 20; round++)
    for (int wide = 0; wide < 2; wide++)
      for (int p = RANDOM_UNIFORM; p < RANDOM_SAMPLERS; p++) {
        double f64[N];
        float f32[N];
        make_words(&w, round);
        const int n = wide ? N/2 : N;
        for (int i = 0; i < n; i++) word[i] = wide ? w.word[i] : (uint32_t)(w.word[i/2] >> 32*(i%2));
        random_kernels_best()->transform[p][wide](n, &w, wide ? (void *)f64 : f32);
        double worst = 0;
        for (int i = 0; i < n; i++) {
          long double scale, want = defined((random_purpose)p, wide ? 64 : 32, word, i, &scale);
          const long double got = wide ? (long double)f64[i] : (long double)f32[i];
          const long double unit = scale*(wide ? 0x1p-53L : 0x1p-24L);
          const double error = (double)(scale > 0 ? fabsl(got - want)/unit : got == want ? 0 : INFINITY);
          if (!(error <= worst)) worst = error;
        }
        CHECK_THAT(worst < 8, "sampler %d of %d bytes: %g half units", p, wide ? 8 : 4, worst);
      }
}

/* The same bits from every instruction set. */
static void test_instruction_sets_agree(void) {
  enum { N = 4*RANDOM_LANES };
  static random_words w;
  for (uint64_t round = 0; round < 50; round++)
    for (int wide = 0; wide < 2; wide++)
      for (int p = 0; p < RANDOM_SAMPLERS; p++) {
        static char z[3][8*N];
        const int64_t n = (wide ? N/2 : N) - 4*(int64_t)(round%5);
        make_words(&w, round);
        for (int k = 0; random_kernels_available(k); k++) {
          memset(z[k], 0, sizeof z[k]);
          random_kernels_available(k)->transform[p][wide](n, &w, z[k]);
          CHECK_THAT(memcmp(z[0], z[k], sizeof z[k]) == 0, "sampler %d of %d bytes: %s differs", p,
                     wide ? 8 : 4, random_kernels_available(k)->name);
        }
      }
}

/* --- arrays --------------------------------------------------------------------------------------------- */

/* An array is made of parts that do not depend on what else is made, by whom, in how many pieces. */
static void test_any_cutting(void) {
  static const struct { int64_t keys, each; } shapes[] = {
    { 1, 0 }, { 0, 5 }, { 1, 1 }, { 1, 2049 }, { 7, 1 }, { 1000, 3 }, { 300, 4 }, { 5, 777 }, { 3, 20001 },
    { 2, 1030 } };
  static uint64_t key[1000];
  static char whole[8*3*20001 + 1], other[8*3*20001 + 1], one[8*20001];
  for (int i = 0; i < 1000; i++) key[i] = (uint64_t)i*0x9E3779B97F4A7C15u;
  for (int c = 0; c < 10; c++)
    for (int wide = 0; wide < 2; wide++)
      for (int p = 0; p < RANDOM_SAMPLERS; p++) {
        const random_draw d = { (random_purpose)p, wide != 0, shapes[c].keys, shapes[c].each, key };
        const size_t width = wide ? 8 : 4, bytes = width*(size_t)(d.keys*d.each);
        memset(whole, 1, sizeof whole);
        random_sample(random_kernels_best(), &d, 1, whole);
        CHECK(whole[bytes] == 1);
        for (int parts = 2; parts <= 16; parts += 7) {
          memset(other, 1, sizeof other);
          random_sample(random_kernels_best(), &d, parts, other);
          CHECK_THAT(memcmp(whole, other, bytes + 1) == 0, "%d keys of %d in %d parts", (int)d.keys,
                     (int)d.each, parts);
        }
        for (int64_t k = 0; k < d.keys; k += 1 + d.keys/5) {       /* a key alone, and fewer of its numbers */
          const random_draw alone = { d.purpose, d.wide, 1, d.each - d.each/3, key + k };
          random_sample(random_kernels_available(0), &alone, 1, one);
          CHECK(memcmp(one, whole + (size_t)(k*d.each)*width, width*(size_t)alone.each) == 0);
        }
      }
}

static void test_any_number_of_threads(void) {
  enum { N = 1000003 };
  double *one = malloc(N*sizeof *one), *more = malloc(N*sizeof *more);
  if (!one || !more) abort();
  for (int threads = 1; threads <= 4; threads *= 2) {
    set_threads(threads);
    CHECK_STATUS(ad_random_fill_normal(99, AD_F64, N, threads == 1 ? one : more), AD_OK);
    if (threads > 1) CHECK_THAT(memcmp(one, more, N*sizeof *one) == 0, "%d threads", threads);
  }
  set_threads(2);
  free(one);
  free(more);
}

/* --- without a tape ------------------------------------------------------------------------------------- */

static void test_fill(void) {
  uint64_t bits[7], block[2];
  double x[5];
  float y[5];
  CHECK_STATUS(ad_random_fill_bits(42, 7, bits), AD_OK);
  for (uint64_t i = 0; i < 3; i++) {
    philox_block(42, i, RANDOM_BITS, block);
    CHECK(bits[2*i] == block[0] && bits[2*i + 1] == block[1]);
  }
  CHECK_STATUS(ad_random_fill_uniform(42, AD_F64, 5, x), AD_OK);
  philox_block(42, 0, RANDOM_UNIFORM, block);
  CHECK_NUMBER(x[1], (double)(block[1] >> 11)*0x1p-53, 0);
  CHECK_STATUS(ad_random_fill_uniform(42, AD_F32, 5, y), AD_OK);
  CHECK_NUMBER((double)y[1], (double)(block[0] >> 40)*0x1p-24, 0);
  CHECK_STATUS(ad_random_fill_uniform(42, AD_I64, 5, x), AD_ERROR_DTYPE);
  CHECK_STATUS(ad_random_fill_normal(42, AD_BOOL, 5, x), AD_ERROR_DTYPE);
  CHECK_STATUS(ad_random_fill_normal(42, AD_F64, -1, x), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_random_fill_normal(42, AD_F64, 1, NULL), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_random_fill_bits(42, 0, NULL), AD_OK);
  CHECK_STATUS(ad_random_fill_permutation(42, 0, 0, NULL), AD_OK);
  CHECK_STATUS(ad_random_fill_permutation(42, 0, 1, NULL), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_random_fill_permutation(42, 0, -2, (int64_t *)bits), AD_ERROR_ARGUMENT);
}

/* Every number once, and all 24 orders of four equally often: chi-square. */
static void test_fill_permutation(void) {
  enum { N = 1000, TRIALS = 48000 };
  int64_t p[N], q[N], count[256] = { 0 }, cell[24];
  double expected[24];
  bool seen[N] = { false };
  CHECK_STATUS(ad_random_fill_permutation(3, 0, N, p), AD_OK);
  for (int i = 0; i < N; i++) {
    CHECK(p[i] >= 0 && p[i] < N && !seen[p[i]]);
    seen[p[i]] = true;
  }
  CHECK_STATUS(ad_random_fill_permutation(3, 0, N, q), AD_OK);
  CHECK(memcmp(p, q, sizeof p) == 0);
  CHECK_STATUS(ad_random_fill_permutation(3, 1, N, q), AD_OK);
  CHECK(memcmp(p, q, sizeof p) != 0);
  for (uint64_t i = 0; i < TRIALS; i++) {
    ad_random_fill_permutation(5, i, 4, p);
    count[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
  }
  int cells = 0;
  for (int i = 0; i < 256; i++)
    if (count[i] && cells < 24) cell[cells] = count[i], expected[cells++] = TRIALS/24.0;
  CHECK(cells == 24);
  const double score = chi_square_score(24, cell, expected);
  CHECK_THAT(score < 5, "orders of four: score %g", score);
}

int main(void) {
  test_known_answers();
  test_blocks_of_every_instruction_set();
  test_numbers_against_their_formulas();
  test_instruction_sets_agree();
  test_any_cutting();
  test_any_number_of_threads();
  test_fill();
  test_fill_permutation();
  return check_summary();
}
