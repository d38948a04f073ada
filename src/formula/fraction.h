/* fraction.h -- the numbers of the simplifier: exact fractions while they fit, doubles when they do not. */
#ifndef ADIT_FORMULA_FRACTION_H
#define ADIT_FORMULA_FRACTION_H

#include <stdbool.h>
#include <stdint.h>

/* p/q in lowest terms with q > 0; or, with q = 0, the double real. decimal: came from a number written with a
 * point, and is written so again. */
typedef struct fraction {
  int64_t p, q;
  double real;
  bool decimal;
} fraction;

fraction fraction_integer(int64_t n);
fraction fraction_make(int64_t p, int64_t q);
/* A number as it was written: 0.1 is 1/10, not the nearest double. */
fraction fraction_read(double value, bool integer);
double fraction_value(fraction a);

fraction fraction_add(fraction a, fraction b);
fraction fraction_multiply(fraction a, fraction b);
fraction fraction_negate(fraction a);
fraction fraction_invert(fraction a);
fraction fraction_power(fraction a, int64_t n);
/* *out = a^(1/n) if a is exactly the n-th power of a positive fraction. */
bool fraction_root(fraction a, int64_t n, fraction *out);

bool fraction_equal(fraction a, fraction b);
bool fraction_is(fraction a, int64_t n);
static inline bool fraction_is_integer(fraction a) { return a.q == 1; }
static inline bool fraction_is_exact(fraction a) { return a.q != 0; }
static inline bool fraction_is_negative(fraction a) { return a.q ? a.p < 0 : a.real < 0; }
/* -1, 0, 1 as a <, =, > b. */
int fraction_compare(fraction a, fraction b);
/* The largest c > 0 such that a/c and b/c are integers; 1 unless both are exact. */
fraction fraction_content(fraction a, fraction b);

#endif
