/* statistics.h -- tests of samples. Keys are fixed, so that results are too; the thresholds are those of a
 * significance of 1e-6 or less for each test: a right sampler misses them for one key in a million. */
#ifndef ADIT_TESTS_STATISTICS_H
#define ADIT_TESTS_STATISTICS_H

#include "check.h"

#include "adit/tape.h"

#include <stdlib.h>

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* sqrt(n) times the largest distance of the empirical distribution function from F. Kolmogorov's limit:
 * P(> t) = 2 exp(-2 t^2), 1e-6 at t = 2.694. Sorts x. */
enum { KS_LIMIT_1000 = 2694 };
static inline double ks_distance(int64_t n, double *x, double (*F)(double)) {
  double most = 0;
  qsort(x, (size_t)n, sizeof *x, compare_doubles);
  for (int64_t i = 0; i < n; i++) {
    const double p = F(x[i]), below = p - (double)i/(double)n, above = (double)(i + 1)/(double)n - p;
    most = fmax(most, fmax(below, above));
  }
  return most*sqrt((double)n);
}

/* How many standard errors the mean of x^k, x taken from `mean`, is away from `want`. |.| < 5: 6e-7. */
static inline double moment_score(int64_t n, const double *x, double mean, int k, double want) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) {
    const double p = pow(x[i] - mean, k) - want;
    sum += p;
    squares += p*p;
  }
  return sum/sqrt(squares);
}

/* Pearson's chi-square as a standard normal score, by Wilson and Hilferty's cube root. < 5: 3e-7. */
static inline double chi_square_score(int cells, const int64_t *count, const double *expected) {
  double chi = 0;
  const double df = cells - 1;
  for (int i = 0; i < cells; i++) {
    const double off = (double)count[i] - expected[i];
    chi += off*off/expected[i];
  }
  return (cbrt(chi/df) - (1 - 2/(9*df)))/sqrt(2/(9*df));
}

/* The elements of x as doubles, to be freed. */
static inline double *doubles_of(ad_var x) {
  const ad_type t = ad_type_of(x);
  const int64_t n = t.rank < 0 ? 0 : ad_type_count(t);
  void *data = calloc(ad_type_bytes(t) + 8, 1);
  double *out = calloc((size_t)n + 1, sizeof *out);
  if (!data || !out) abort();
  CHECK_STATUS(ad_read(x, data), AD_OK);
  for (int64_t i = 0; i < n; i++) out[i] = check_element(t.dtype, data, i);
  free(data);
  return out;
}

/* Same type, same bytes. */
static inline bool same_bits(ad_var x, ad_var y) {
  const ad_type t = ad_type_of(x);
  if (t.rank < 0 || !ad_type_equal(t, ad_type_of(y))) return false;
  const size_t bytes = ad_type_bytes(t);
  char *a = calloc(bytes + 1, 1), *b = calloc(bytes + 1, 1);
  if (!a || !b) abort();
  const bool same = ad_read(x, a) == AD_OK && ad_read(y, b) == AD_OK && memcmp(a, b, bytes) == 0;
  free(a);
  free(b);
  return same;
}

/* The last call failed with this status, and the message contains text. Clears the error. */
#define CHECK_FAILS(tape, z, status, text)                                                                   \
  do {                                                                                                       \
    CHECK(!ad_is_valid(z));                                                                                  \
    CHECK_STATUS(ad_tape_status(tape), status);                                                              \
    CHECK_THAT(strstr(ad_tape_message(tape), text) != NULL, "message \"%s\"", ad_tape_message(tape));        \
    ad_tape_clear(tape);                                                                                     \
  } while (0)

#endif
