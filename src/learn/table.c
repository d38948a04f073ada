/* table.c -- parameters as a table for people.
 *
 *   name      type          elements    bytes
 *   0/weight  f32(784,512)    401408  1605632
 *   0/bias    f32(512)           512     2048
 *   2 entries                 401920  1607680
 */
#include "learn/parameters.h"

#include <stdarg.h>
#include <string.h>

/* Takes the text, a line at a time: a buffer that may be too small, or a file. */
typedef struct sink {
  char *text;
  size_t size, length;
  FILE *file;
  bool failed;
} sink;

typedef struct table { int name, type, elements, bytes; } table;

static void put_line(sink *s, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 2, 3)))
#endif
  ;
static void put_line(sink *s, const char *format, ...) {
  const bool room = s->text && s->length < s->size;
  va_list list;
  va_start(list, format);
  const int length = s->file ? vfprintf(s->file, format, list)
                             : vsnprintf(room ? s->text + s->length : NULL, room ? s->size - s->length : 0,
                                         format, list);
  va_end(list);
  if (length < 0) s->failed = true;
  else s->length += (size_t)length;
}

static void widen(int *width, int length) {
  if (length > *width) *width = length;
}

static int digits(int64_t value) { return snprintf(NULL, 0, "%lld", (long long)value); }

static int64_t bytes_of_all(const ad_parameters *p) {
  int64_t bytes = 0;
  for (int i = 0; i < p->entries; i++) bytes += (int64_t)ad_type_bytes(p->type[i]);
  return bytes;
}

static table widths(const ad_parameters *p, const char *sum) {
  table w = { (int)strlen(sum), 4, 8, 5 };
  char type[192];
  widen(&w.elements, digits(ad_parameters_count(p)));
  widen(&w.bytes, digits(bytes_of_all(p)));
  for (int i = 0; i < p->entries; i++) {
    widen(&w.name, (int)strlen(p->entry[i].name));
    widen(&w.type, (int)strlen(ad_type_print(p->type[i], type, sizeof type)));
  }
  return w;
}

static void put_row(sink *s, table w, const char *name, const char *type, int64_t elements, int64_t bytes) {
  put_line(s, "%-*s  %-*s  %*lld  %*lld\n", w.name, name, w.type, type, w.elements, (long long)elements,
           w.bytes, (long long)bytes);
}

static void put_table(sink *s, const ad_parameters *p) {
  char sum[40], type[192];
  snprintf(sum, sizeof sum, "%d %s", p->entries, p->entries == 1 ? "entry" : "entries");
  const table w = widths(p, sum);
  put_line(s, "%-*s  %-*s  %*s  %*s\n", w.name, "name", w.type, "type", w.elements, "elements", w.bytes,
           "bytes");
  for (int i = 0; i < p->entries; i++)
    put_row(s, w, p->entry[i].name, ad_type_print(p->type[i], type, sizeof type), ad_type_count(p->type[i]),
            (int64_t)ad_type_bytes(p->type[i]));
  put_row(s, w, sum, "", ad_parameters_count(p), bytes_of_all(p));
}

size_t ad_parameters_print(const ad_parameters *p, char *text, size_t size) {
  sink s = { .text = size ? text : NULL, .size = size };
  if (s.text) s.text[0] = 0;
  if (p) put_table(&s, p);
  return s.length;
}

ad_status ad_parameters_print_to(const ad_parameters *p, FILE *file) {
  if (!p || !file) return AD_ERROR_ARGUMENT;
  sink s = { .file = file };
  put_table(&s, p);
  return s.failed ? AD_ERROR_IO : AD_OK;
}
