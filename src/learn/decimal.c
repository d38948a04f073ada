/* decimal.c -- numbers in files.
 *
 * strtod and printf use the point of the current locale. So for reading the point is removed, 12.5e3 being
 * 125e2: digits and an integer exponent mean the same everywhere. What is written has something that is no
 * digit where the point belongs.
 */
#include "learn/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1000 };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits from *at on, without the point; *fraction counts those behind it. */
static size_t copy_digits(const char **at, const char *end, char *to, int *fraction) {
  size_t n = 0;
  bool point = false;
  for (; *at < end && (is_digit(**at) || (**at == '.' && !point)); ++*at) {
    if (**at == '.') point = true;
    else to[n++] = **at, *fraction += point;
  }
  return n;
}

/* e, a sign, digits; false where digits are missing. Exponents beyond all numbers stay beyond them. */
static bool read_exponent(const char **at, const char *end, long *exponent) {
  if (*at == end || (**at != 'e' && **at != 'E')) return true;
  const char *digit = *at + 1;
  const bool negative = digit < end && *digit == '-';
  if (digit < end && (*digit == '-' || *digit == '+')) digit++;
  if (digit == end) return false;
  for (; digit < end && is_digit(*digit); digit++)
    if (*exponent < 100000000) *exponent = 10**exponent + (*digit - '0');
  if (negative) *exponent = -*exponent;
  *at = digit;
  return true;
}

bool decimal_read(const char *text, size_t length, double *value) {
  char digits[LONGEST + 40];
  const char *at = text, *end = text + length;
  long exponent = 0;
  int fraction = 0;
  if (length > LONGEST) return false;
  const bool negative = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) at++;
  const size_t n = copy_digits(&at, end, digits, &fraction);
  if (n == 0 || !read_exponent(&at, end, &exponent) || at != end) return false;
  snprintf(digits + n, 40, "e%ld", exponent - fraction);
  const double size = strtod(digits, NULL);
  *value = negative ? -size : size;
  return isfinite(size);
}

/* What is between the digits, some bytes of one character, becomes a point. */
static void set_point(char *text) {
  char *to = text;
  for (const char *c = text; *c; c++) {
    const bool mark = is_digit(*c) || *c == '-' || *c == '+' || *c == 'e';
    if (mark) *to++ = *c;
    else if (to == text || to[-1] != '.') *to++ = '.';
  }
  *to = 0;
}

char *decimal_write(double value, char text[DECIMAL_TEXT]) {
  double again = 0;
  if (!isfinite(value)) return strcpy(text, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, DECIMAL_TEXT, "%.*g", digits, value);
    set_point(text);
    if (decimal_read(text, strlen(text), &again) && again == value) break;
  }
  return text;
}
