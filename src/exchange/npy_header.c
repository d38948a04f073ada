/* npy_header.c -- reads the header of an array: a dictionary in the notation of Python with three keys. */
#include "exchange/npy_header.h"

#include <stdio.h>
#include <string.h>

typedef struct cursor {
  const char *at, *end;
  const file_place *place;
} cursor;

static ad_status refuse(const cursor *c, const char *what) {
  return file_fail(c->place, AD_ERROR_IO, "is damaged: %s in the array's header", what);
}

static void skip_spaces(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

/* Takes this character if it comes next. */
static bool take(cursor *c, char what) {
  skip_spaces(c);
  if (c->at == c->end || *c->at != what) return false;
  c->at++;
  return true;
}

static bool take_word(cursor *c, const char *word) {
  const size_t length = strlen(word);
  skip_spaces(c);
  if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length)) return false;
  c->at += length;
  return true;
}

/* 'text' or "text" without escapes, into text[size]. */
static bool take_string(cursor *c, char *text, size_t size) {
  const char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : 0;
  const char *end = quote ? memchr(c->at, quote, (size_t)(c->end - c->at)) : NULL;
  if (!end || (size_t)(end - c->at) >= size) return false;
  memcpy(text, c->at, (size_t)(end - c->at));
  text[end - c->at] = 0;
  c->at = end + 1;
  return true;
}

/* Digits, perhaps with the L of Python 2 behind. */
static bool take_number(cursor *c, int64_t *number) {
  skip_spaces(c);
  const char *begin = c->at;
  int64_t value = 0;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
    if (value > (INT64_MAX - 9)/10) return false;
    value = 10*value + (*c->at - '0');
  }
  *number = value;
  const bool some = c->at > begin;
  if (some && c->at < c->end && *c->at == 'L') c->at++;
  return some;
}

/* "<f8": byte order, kind, size. */
static ad_status read_dtype(cursor *c, npy_layout *out) {
  static const struct { const char *name; ad_dtype dtype; } known[] = {
    { "f8", AD_F64 }, { "f4", AD_F32 }, { "i8", AD_I64 }, { "i4", AD_I32 }, { "b1", AD_BOOL } };
  const uint16_t one = 1;
  const bool little = *(const uint8_t *)&one == 1;
  char text[16];
  if (!take_string(c, text, sizeof text)) {
    if (take(c, '[')) return file_fail(c->place, AD_ERROR_UNSUPPORTED, "is an array of records");
    return refuse(c, "no data type");
  }
  for (size_t i = 0; i < sizeof known/sizeof *known; i++) {
    const char order = text[0];
    if (!order || strcmp(text + 1, known[i].name)) continue;
    if (!strchr(known[i].dtype == AD_BOOL ? "<>=|" : "<>=", order)) continue;
    out->type.dtype = known[i].dtype;
    out->swapped = order == (little ? '>' : '<');
    return AD_OK;
  }
  for (const char *t = text; *t; t++)
    if (*t < ' ' || *t > '~') return refuse(c, "no data type");
  return file_fail(c->place, AD_ERROR_UNSUPPORTED,
                   "has elements of type '%s': adit reads f8, f4, i8, i4 and b1",
                   text);
}

static ad_status read_order(cursor *c, npy_layout *out) {
  out->fortran = take_word(c, "True");
  return out->fortran || take_word(c, "False") ? AD_OK : refuse(c, "fortran_order is neither True nor False");
}

/* "(3, 4)", "(3,)", "()" */
static ad_status read_shape(cursor *c, npy_layout *out) {
  int rank = 0;
  if (!take(c, '(')) return refuse(c, "no shape");
  while (!take(c, ')')) {
    if (rank == AD_MAX_RANK)
      return file_fail(c->place, AD_ERROR_UNSUPPORTED, "has more than %d axes", AD_MAX_RANK);
    if (!take_number(c, &out->type.dim[rank++])) return refuse(c, "no number in the shape");
    if (take(c, ',')) continue;
    if (!take(c, ')') || rank == 1) return refuse(c, "no shape");      /* (3) is a number to Python */
    break;
  }
  out->type.rank = rank;
  return AD_OK;
}

static ad_status read_entry(cursor *c, npy_layout *out, unsigned *seen) {
  static const struct { const char *name; ad_status (*read)(cursor *, npy_layout *); } key[] = {
    { "descr", read_dtype }, { "fortran_order", read_order }, { "shape", read_shape } };
  char name[16];
  if (!take_string(c, name, sizeof name) || !take(c, ':')) return refuse(c, "no key");
  for (unsigned i = 0; i < sizeof key/sizeof *key; i++) {
    if (strcmp(name, key[i].name)) continue;
    if (*seen & 1u << i) return refuse(c, "a key twice");
    *seen |= 1u << i;
    return key[i].read(c, out);
  }
  return refuse(c, "an unknown key");
}

ad_status npy_header_read(const file_place *at, const char *text, size_t size, npy_layout *out) {
  cursor c = { text, text + size, at };
  unsigned seen = 0;
  *out = (npy_layout){ .fortran = false };
  if (!take(&c, '{')) return refuse(&c, "no dictionary");
  while (!take(&c, '}')) {
    const ad_status status = read_entry(&c, out, &seen);
    if (status != AD_OK) return status;
    if (take(&c, ',')) continue;
    if (!take(&c, '}')) return refuse(&c, "no end");
    break;
  }
  skip_spaces(&c);
  if (seen != 7 || c.at != c.end) return refuse(&c, seen == 7 ? "something behind the end" : "a key missing");
  out->type = ad_type_make(out->type.dtype, out->type.rank, out->type.dim);
  return out->type.rank < 0 ? refuse(&c, "a size that overflows") : AD_OK;
}
