/* check.h -- counting checks: a program of tests prints its failures, then "N passed, N failed".
 *
 * nan equals nan, an infinity equals itself, and zeros of either sign are equal; tolerances are relative
 * to 1 + |want|. */
#ifndef ADIT_TESTS_CHECK_H
#define ADIT_TESTS_CHECK_H

#include "adit/types.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static long checks_passed, checks_failed;

/* Counts, and says what failed: the first 60 times. */
#if defined(__GNUC__)
__attribute__((unused, format(printf, 4, 5)))
#endif
static bool check_that(bool ok, const char *file, int line, const char *format, ...) {
  if (ok) {
    checks_passed++;
    return true;
  }
  if (checks_failed++ >= 60) return false;
  const char *name = strrchr(file, '/');
  va_list list;
  va_start(list, format);
  printf("FAILED %s:%d: ", name ? name + 1 : file, line);
  vprintf(format, list);
  printf("\n");
  va_end(list);
  return false;
}

static inline bool check_near(double got, double want, double tolerance) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  if (isinf(want) || isinf(got)) return got == want;
  return fabs(got - want) <= tolerance*(1 + fabs(want));
}

/* The condition, or a condition with printf's text about it. */
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, "%s", #condition)
#define CHECK_THAT(condition, ...) check_that((condition), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_NUMBER(got, want, tolerance)                                                                   \
  check_that(check_near((got), (want), (tolerance)), __FILE__, __LINE__, "%s is %.17g, not %.17g", #got,     \
             (got), (double)(want))
#define CHECK_STATUS(call, want) check_status((call), (want), __FILE__, __LINE__, #call)

static inline bool check_status(ad_status got, ad_status want, const char *file, int line, const char *call) {
  return check_that(got == want, file, line, "%s gives \"%s\", not \"%s\"", call, ad_status_sentence(got),
                    ad_status_sentence(want));
}

/* The last line, and the exit status of main. */
static inline int check_summary(void) {
  printf("%ld passed, %ld failed\n", checks_passed, checks_failed);
  return checks_failed != 0;
}

/* --- numbers without a seed of the moment --------------------------------------------------------------- */

/* SplitMix64. */
static inline uint64_t check_bits(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30)*0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27)*0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static inline double check_uniform(uint64_t *state, double lo, double hi) {
  return lo + (hi - lo)*((double)(check_bits(state) >> 11)*0x1p-53);
}
static inline int check_below(uint64_t *state, int n) { return (int)(check_bits(state)%(uint64_t)n); }

/* --- elements of any type as numbers -------------------------------------------------------------------- */

static inline double check_element(ad_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case AD_BOOL: return ((const uint8_t *)data)[i];
    case AD_I32:  return ((const int32_t *)data)[i];
    case AD_I64:  return (double)((const int64_t *)data)[i];
    case AD_F32:  return (double)((const float *)data)[i];
    default:      return ((const double *)data)[i];
  }
}

static inline void check_set_element(ad_dtype dtype, void *data, int64_t i, double value) {
  switch (dtype) {
    case AD_BOOL: ((uint8_t *)data)[i] = value != 0; break;
    case AD_I32:  ((int32_t *)data)[i] = (int32_t)value; break;
    case AD_I64:  ((int64_t *)data)[i] = (int64_t)value; break;
    case AD_F32:  ((float *)data)[i] = (float)value; break;
    default:      ((double *)data)[i] = value;
  }
}

#endif
