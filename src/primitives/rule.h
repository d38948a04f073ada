/* rule.h -- a text of the row language, resolved: names become rows of the table, letters become places. */
#ifndef ADIT_PRIMITIVES_RULE_H
#define ADIT_PRIMITIVES_RULE_H

#include "base/memory.h"
#include "primitives/elementwise.h"

/* The letters: operands x y w, result z, g what is propagated, a the attribute. */
enum { LETTER_X, LETTER_Y, LETTER_W, LETTER_Z, LETTER_G, LETTER_A, LETTERS };
enum { RULE_STEPS = 64 };

typedef enum rule_kind { RULE_NUMBER, RULE_LETTER, RULE_NONE, RULE_ROW } rule_kind;

/* Steps stand before the steps that use them; the last is the result. */
typedef struct rule_step {
  rule_kind kind;
  int letter;
  double number;
  elementwise_id row;
  int operand[3];                   /* steps */
  int attribute;                    /* the step that gives the row's attribute, -1: none */
} rule_step;

typedef struct rule {
  int count;
  /* bit l: letter l occurs. What a reverse sweep needs falls out of this. */
  unsigned letters;
  bool has_none;
  rule_step step[RULE_STEPS];
} rule;

/* Reads text into *out. AD_ERROR_SYNTAX with a message (may be NULL; size bytes) when it is not in the row
 * language. */
ad_status rule_read(const ad_allocator *a, const char *text, rule *out, char *message, size_t size);
/* The row that a name of the row language means (C's spellings too), ROW_COUNT if none. */
elementwise_id row_named(const char *name, int length);

#endif
