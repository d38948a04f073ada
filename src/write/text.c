/* text.c -- see text.h. */
#include "write/text.h"

#include <stdio.h>
#include <string.h>

void written_free(text *t) {
  memory_release(&t->allocator, t->at, t->capacity);
  *t = text_on(&t->allocator);
}

static bool reserve(text *t, size_t more) {
  if (t->failed || !memory_reserve(&t->allocator, &t->at, &t->capacity, t->length + more + 1, 1))
    t->failed = true;
  return !t->failed;
}

void text_put_bytes(text *t, const char *bytes, size_t n) {
  if (!reserve(t, n)) return;
  memcpy(t->at + t->length, bytes, n);
  t->length += n;
  t->at[t->length] = 0;
}

void text_put_list(text *t, const char *format, va_list list) {
  va_list again;
  va_copy(again, list);
  const int n = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (n < 0) t->failed = true;
  if (n <= 0 || !reserve(t, (size_t)n)) return;
  vsnprintf(t->at + t->length, (size_t)n + 1, format, list);
  t->length += (size_t)n;
}

void text_put(text *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  text_put_list(t, format, list);
  va_end(list);
}

void text_take(text *t, text *from) {
  if (t->length || t->failed) {
    text_put_bytes(t, text_of(from), from->length);
    t->failed |= from->failed;
    written_free(from);
    return;
  }
  written_free(t);
  *t = *from;
  *from = text_on(&t->allocator);
}

/* From the end, so that nothing is written over before it has moved. */
void text_replace(text *t, char mark, const char *word) {
  const size_t n = strlen(word);
  size_t marks = 0;
  for (const char *at = text_of(t); (at = strchr(at, mark)) != NULL; at++) marks++;
  if (!marks || !reserve(t, marks*n)) return;
  char *end = t->at + t->length, *to = end + marks*n - marks;
  t->length = (size_t)(to - t->at);
  for (char *at = end; marks; at--, to--) {
    if (*at != mark) *to = *at;
    else {
      to -= n - 1;
      memcpy(to, word, n);
      marks--;
    }
  }
}

uint64_t text_hash(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *b = bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ b[i])*UINT64_C(1099511628211);
  return h;
}
