/* text.h -- text that grows. What cannot be had any more because memory failed is
 * noticed once, at the end. */
#ifndef ADIT_WRITE_TEXT_H
#define ADIT_WRITE_TEXT_H

#include <stdarg.h>

#include "base/memory.h"

typedef struct text {
  ad_allocator allocator;
  char *at;                         /* terminated; NULL while there is none */
  size_t length, capacity;
  bool failed;
} text;

static inline text text_on(const ad_allocator *a) { return (text){ .allocator = *a }; }
static inline const char *text_of(const text *t) { return t->at ? t->at : ""; }
void written_free(text *t);

void text_put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_put_list(text *t, const char *format, va_list list) __attribute__((format(printf, 2, 0)));
void text_put_bytes(text *t, const char *bytes, size_t n);
/* Appends *from, which has the same allocator and is empty afterwards: an empty text becomes it without a copy. */
void text_take(text *t, text *from);
/* In place; the word is not empty. */
void text_replace(text *t, char mark, const char *word);

/* The 64-bit FNV-1a hash of bytes, going on from h; TEXT_HASH to begin with. */
#define TEXT_HASH UINT64_C(14695981039346656037)
uint64_t text_hash(uint64_t h, const void *bytes, size_t n);

#endif
