/* notation.c -- the sheet an expression is laid out on, and the text it is written to. */
#include "formula/notation.h"
#include "primitives/expression.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add_note(sheet *s, note n, int count, const int argument[]) {
  for (int i = 0; i < count; i++) if (argument[i] < 0) return -1;
  if (s->status || !memory_reserve(s->allocator, &s->note, &s->note_capacity, (size_t)s->count + 1, sizeof n)
      || !memory_reserve(s->allocator, &s->argument, &s->argument_capacity,
                         (size_t)s->arguments + (size_t)count, sizeof(int))) {
    if (!s->status) s->status = AD_ERROR_MEMORY;
    return -1;
  }
  n.first = s->arguments, n.count = count;
  for (int i = 0; i < count; i++) s->argument[s->arguments++] = argument[i];
  s->note[s->count] = n;
  return s->count++;
}

int sheet_number(sheet *s, double number) {
  return add_note(s, (note){ .kind = NOTE_NUMBER, .number = number }, 0, NULL);
}
int sheet_value(sheet *s, int index) {
  return add_note(s, (note){ .kind = NOTE_VALUE, .index = index }, 0, NULL);
}

int sheet_name(sheet *s, const char *name, int length) {
  return add_note(s, (note){ .kind = NOTE_NAME, .name = name, .length = length }, 0, NULL);
}

/* The operand of a note that is a negation, else -1. */
static int negated(const sheet *s, int i) {
  if (i < 0 || s->note[i].kind != NOTE_CALL || !expression_is(s->note[i].name, s->note[i].length, "neg"))
    return -1;
  return s->argument[s->note[i].first];
}

/* Minus signs move outwards: (-x)*y is -(x*y), x + -y is x - y. The values are the same bit for bit. */
int sheet_call(sheet *s, const char *name, int length, int count, const int argument[]) {
  const note call = { .kind = NOTE_CALL, .name = name, .length = length };
  const bool mul = expression_is(name, length, "mul"), div = expression_is(name, length, "div");
  int left = count == 2 && (mul || div) ? negated(s, argument[0]) : -1;
  if (left >= 0) return sheet_call1(s, "neg", add_note(s, call, 2, (const int[]){ left, argument[1] }));
  int right = count == 2 && expression_is(name, length, "add") ? negated(s, argument[1]) : -1;
  if (right >= 0) return sheet_call2(s, "sub", argument[0], right);
  return add_note(s, call, count, argument);
}

int sheet_call1(sheet *s, const char *name, int x) { return sheet_call(s, name, (int)strlen(name), 1, &x); }
int sheet_call2(sheet *s, const char *name, int x, int y) {
  return sheet_call(s, name, (int)strlen(name), 2, (const int[]){ x, y });
}

void sheet_free(sheet *s) {
  memory_release(s->allocator, s->note, s->note_capacity*sizeof *s->note);
  memory_release(s->allocator, s->argument, s->argument_capacity*sizeof *s->argument);
  *s = (sheet){ .allocator = s->allocator };
}

/* --- text ------------------------------------------------------------------------------------- */

void text_add(text *t, const char *s, size_t length) {
  if (t->status) return;
  if (t->used + length > TEXT_LIMIT) {
    t->status = AD_ERROR_LIMIT;
    return;
  }
  if (!memory_reserve(t->allocator, &t->s, &t->capacity, t->used + length + 1, 1)) {
    t->status = AD_ERROR_MEMORY;
    return;
  }
  memcpy(t->s + t->used, s, length);
  t->used += length;
  t->s[t->used] = 0;
}

void text_free(text *t) {
  memory_release(t->allocator, t->s, t->capacity);
  *t = (text){ .allocator = t->allocator };
}

ad_status text_copy(const text *t, char *out, size_t size, size_t *needed) {
  size_t n = t->used < size ? t->used : size ? size - 1 : 0;
  if (n) memcpy(out, t->s, n);
  if (size) out[n] = 0;
  if (needed) *needed = t->used + 1;
  return t->status ? t->status : t->used + 1 > size ? AD_ERROR_SIZE : AD_OK;
}

char *number_write(double value, char out[32]) {
  if (isnan(value)) return memcpy(out, "nan", 4);
  if (isinf(value)) return memcpy(out, value < 0 ? "-inf" : "inf", value < 0 ? 5 : 4);
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(out, 32, "%.*g", digits, value);
    if (strtod(out, NULL) == value) break;
  }
  if (fabs(value) < 1e15 && value == floor(value)) snprintf(out, 32, "%.0f", value);
  for (char *c = out; *c; c++)
    if ((*c < '0' || *c > '9') && *c != '-' && *c != '+' && *c != 'e') *c = '.';
  return out;
}
