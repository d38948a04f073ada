/* strided_write.c -- see strided_write.h. */
#include "primitives/strided_write.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- texts ---------------------------------------------------------------------------------------------- */

static void append(char *to, size_t size, const char *format, ...) {
  const size_t length = strlen(to);
  va_list list;
  va_start(list, format);
  vsnprintf(to + length, size - length, format, list);
  va_end(list);
}

char *written_index(char to[WRITTEN_INDEX], int rank, const int64_t stride[], int64_t first) {
  to[0] = 0;
  if (first) append(to, WRITTEN_INDEX, "%lld", (long long)first);
  for (int d = 0; d < rank; d++) {
    const long long s = stride[d], size = s < 0 ? -s : s;
    if (s == 0) continue;
    append(to, WRITTEN_INDEX, "%s", s < 0 ? *to ? " - " : "-" : *to ? " + " : "");
    append(to, WRITTEN_INDEX, size == 1 ? "i%d" : "i%d*%lld", d, size);
  }
  if (!*to) append(to, WRITTEN_INDEX, "0");
  return to;
}

/* Whole numbers stand as they are, others are read from a constant. */
const char *written_value(ad_writer *w, char to[WRITTEN_INDEX], ad_dtype dtype, const void *data) {
  double real = 0.5;
  float single;
  if (dtype == AD_BOOL) real = *(const uint8_t *)data != 0;
  else if (dtype == AD_F64) memcpy(&real, data, sizeof real);
  else if (dtype == AD_F32) {
    memcpy(&single, data, sizeof single);
    real = (double)single;
  }
  const bool negative_zero = real == 0 && signbit(real);
  if (real == rint(real) && fabs(real) < 1000 && !negative_zero) snprintf(to, WRITTEN_INDEX, "%.0f", real);
  else snprintf(to, WRITTEN_INDEX, "%s[0]", ad_write_constants(w, dtype, data, 1));
  return to;
}

/* --- loops ---------------------------------------------------------------------------------------------- */

void write_open_loops(ad_writer *w, const int64_t dim[], int from, int to) {
  for (int d = from; d < to; d++)
    ad_write(w, "for (int64_t i%d = 0; i%d < %lld; i%d++) {", d, d, (long long)dim[d], d);
}

void write_close_loops(ad_writer *w, int n) {
  while (n-- > 0) ad_write(w, "}");
}

/* False where there is nothing to do; else the box in few axes. */
static bool smaller_box(const strided *given, strided *s) {
  *s = *given;
  for (int d = 0; d < s->rank; d++)
    if (s->dim[d] == 0) return false;
  strided_merge(s);
  return true;
}

void write_strided_copy(ad_writer *w, const strided *given, const char *z, int64_t to, const char *x,
                        int64_t from) {
  char at[WRITTEN_INDEX], element[WRITTEN_INDEX];
  strided s;
  if (!smaller_box(given, &s)) return;
  write_open_loops(w, s.dim, 0, s.rank);
  ad_write(w, "%s[%s] = %s[%s];", z, written_index(at, s.rank, s.to, to), x,
           written_index(element, s.rank, s.from, from));
  write_close_loops(w, s.rank);
}

void write_addition(ad_writer *w, ad_dtype dtype, const char *z, const char *x) {
  const char *type = ad_write_type(dtype), *wide = dtype == AD_I32 ? "uint32_t" : "uint64_t";
  if (dtype >= AD_F32) ad_write(w, "%s += %s;", z, x);
  else if (dtype == AD_BOOL) ad_write(w, "%s = (%s)(%s | %s);", z, type, z, x);
  else ad_write(w, "%s = (%s)((%s)%s + (%s)%s);", z, type, wide, z, wide, x);
}

void write_strided_add(ad_writer *w, const strided *given, ad_dtype dtype, const char *z, int64_t to,
                       const char *x, int64_t from) {
  char at[WRITTEN_INDEX], target[2*WRITTEN_INDEX], term[2*WRITTEN_INDEX];
  strided s;
  if (!smaller_box(given, &s)) return;
  write_open_loops(w, s.dim, 0, s.rank);
  snprintf(target, sizeof target, "%s[%s]", z, written_index(at, s.rank, s.to, to));
  snprintf(term, sizeof term, "%s[%s]", x, written_index(at, s.rank, s.from, from));
  write_addition(w, dtype, target, term);
  write_close_loops(w, s.rank);
}

void write_copy(ad_writer *w, int64_t n, const char *z, const char *x) {
  const strided s = { 1, { n }, { 1 }, { 1 } };
  if (strcmp(z, x)) write_strided_copy(w, &s, z, 0, x, 0);
}

void write_fill(ad_writer *w, int64_t n, const char *z, const char *value) {
  if (n == 0) return;
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) %s[i] = %s;", (long long)n, z, value);
}
