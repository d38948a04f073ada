/* fraction.c -- exact arithmetic in 64 bits; whatever overflows goes on as a double. */
#include "formula/fraction.h"

#include <math.h>

static fraction real_number(double value, bool decimal) { return (fraction){ 0, 0, value, decimal }; }

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b, b = r;
  }
  return a < 0 ? -a : a;
}

fraction fraction_integer(int64_t n) { return (fraction){ n, 1, 0, false }; }

fraction fraction_make(int64_t p, int64_t q) {
  if (q == 0 || p == INT64_MIN || q == INT64_MIN) return real_number((double)p/(double)q, false);
  if (q < 0) p = -p, q = -q;
  int64_t g = gcd(p, q);
  return (fraction){ p/g, q/g, 0, false };
}

/* The shortest decimal that is this double: m/10^k is correctly rounded while m and 10^k are below 2^53. */
fraction fraction_read(double value, bool integer) {
  double power = 1;
  for (int k = 0; k <= 15; k++, power *= 10) {
    double m = nearbyint(value*power);
    if (!(fabs(m) < 9007199254740992.0)) break;
    if (m/power != value) continue;
    fraction z = fraction_make((int64_t)m, (int64_t)power);
    z.decimal = !integer;
    return z;
  }
  return real_number(value, true);
}

double fraction_value(fraction a) { return a.q ? (double)a.p/(double)a.q : a.real; }

static fraction with_decimal(fraction z, fraction a, fraction b) {
  z.decimal = a.decimal || b.decimal;
  return z;
}

fraction fraction_add(fraction a, fraction b) {
  int64_t x, y, p, q;
  if (a.q && b.q && !__builtin_mul_overflow(a.p, b.q, &x) && !__builtin_mul_overflow(b.p, a.q, &y)
      && !__builtin_add_overflow(x, y, &p) && !__builtin_mul_overflow(a.q, b.q, &q))
    return with_decimal(fraction_make(p, q), a, b);
  return real_number(fraction_value(a) + fraction_value(b), a.decimal || b.decimal);
}

fraction fraction_multiply(fraction a, fraction b) {
  int64_t p, q;
  if (fraction_is(a, 1)) return b;
  if (fraction_is(b, 1)) return a;
  if (a.q && b.q) {
    int64_t g = gcd(a.p, b.q), h = gcd(b.p, a.q);
    if (g && h && !__builtin_mul_overflow(a.p/g, b.p/h, &p) && !__builtin_mul_overflow(a.q/h, b.q/g, &q))
      return with_decimal(fraction_make(p, q), a, b);
  }
  return real_number(fraction_value(a)*fraction_value(b), a.decimal || b.decimal);
}

fraction fraction_negate(fraction a) {
  if (a.q && a.p != INT64_MIN) a.p = -a.p;
  else a = real_number(-fraction_value(a), a.decimal);
  return a;
}

fraction fraction_invert(fraction a) {
  return with_decimal(a.q ? fraction_make(a.q, a.p) : real_number(1/a.real, a.decimal), a, a);
}

fraction fraction_power(fraction a, int64_t n) {
  fraction z = fraction_integer(1), square = n < 0 ? fraction_invert(a) : a;
  for (uint64_t k = n < 0 ? 0 - (uint64_t)n : (uint64_t)n; k; k /= 2) {
    if (k % 2) z = fraction_multiply(z, square);
    if (k > 1) square = fraction_multiply(square, square);
  }
  return with_decimal(z, a, a);
}

/* r with r^n = m, -1 if there is none. */
static int64_t exact_root(int64_t m, int64_t n) {
  if (n < 1 || n > 62 || m < 0) return -1;
  int64_t r = (int64_t)llround(pow((double)m, 1/(double)n)), z = 1;
  for (int64_t k = 0; k < n; k++) if (__builtin_mul_overflow(z, r, &z)) return -1;
  return z == m ? r : -1;
}

bool fraction_root(fraction a, int64_t n, fraction *out) {
  if (!a.q || a.p <= 0) return false;
  int64_t p = exact_root(a.p, n), q = exact_root(a.q, n);
  if (p < 0 || q < 0) return false;
  *out = with_decimal(fraction_make(p, q), a, a);
  return true;
}

bool fraction_equal(fraction a, fraction b) {
  return a.q == b.q && a.p == b.p && (a.q || a.real == b.real || (a.real != a.real && b.real != b.real));
}

bool fraction_is(fraction a, int64_t n) { return a.q == 1 ? a.p == n : !a.q && a.real == (double)n; }

int fraction_compare(fraction a, fraction b) {
  if (fraction_equal(a, b)) return 0;
  return fraction_is_negative(fraction_add(a, fraction_negate(b))) ? -1 : 1;
}

fraction fraction_content(fraction a, fraction b) {
  int64_t q;
  if (!a.q || !b.q || a.p == INT64_MIN || b.p == INT64_MIN) return fraction_integer(1);
  if (__builtin_mul_overflow(a.q/gcd(a.q, b.q), b.q, &q)) return fraction_integer(1);
  int64_t p = gcd(a.p, b.p);
  return with_decimal(p ? fraction_make(p, q) : fraction_integer(1), a, b);
}
