/* notation.h -- expressions that are about to be written out: calls of rows, shared where the source shares
 * them. */
#ifndef ADIT_FORMULA_NOTATION_H
#define ADIT_FORMULA_NOTATION_H

#include "adit/formula.h"
#include "base/memory.h"

typedef enum note_kind { NOTE_NUMBER, NOTE_NAME, NOTE_VALUE, NOTE_CALL } note_kind;

/* A number, a name, the value number `index` of a tape (v3), or a call of a row or function with
 * arguments. */
typedef struct note {
  note_kind kind;
  double number;
  const char *name;                   /* not terminated; outlives the sheet */
  int length, index;
  int first, count;                   /* in sheet.argument */
} note;

/* Notes in an array, arguments before their call. */
typedef struct sheet {
  const ad_allocator *allocator;
  note *note;
  int *argument;
  int count, arguments;
  size_t note_capacity, argument_capacity;
  ad_status status;                   /* the first failure */
} sheet;

/* Each returns the note's index, -1 after a failure. */
int sheet_number(sheet *s, double number);
int sheet_name(sheet *s, const char *name, int length);
int sheet_value(sheet *s, int index);
int sheet_call(sheet *s, const char *name, int length, int count, const int argument[]);
int sheet_call1(sheet *s, const char *name, int x);
int sheet_call2(sheet *s, const char *name, int x, int y);
void sheet_free(sheet *s);

/* Text that grows; always terminated once something was written. */
typedef struct text {
  const ad_allocator *allocator;
  char *s;
  size_t used, capacity;
  ad_status status;
} text;

enum { TEXT_LIMIT = 1 << 20 };

void text_add(text *t, const char *s, size_t length);
void text_free(text *t);
/* Copies it out as the public calls do: size and *needed count the final zero. */
ad_status text_copy(const text *t, char *out, size_t size, size_t *needed);

/* Writes note root in the notation. */
void sheet_write(const sheet *s, int root, ad_notation notation, text *out);
/* The shortest decimal that reads back as this double, with a point in every locale. At most 32 bytes. */
char *number_write(double value, char out[32]);
/* A name in LaTeX: x1 is x_{1}, alpha is \alpha. */
void name_write_latex(const char *name, int length, text *out);

#endif
