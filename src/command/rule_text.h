/* rule_text.h -- a derivative rule of the table written out at a point: its branch chosen, its letters
 * replaced. */
#ifndef ADIT_COMMAND_RULE_TEXT_H
#define ADIT_COMMAND_RULE_TEXT_H

#include "formula/notation.h"

/* What the letters x y w z g a of a rule stand for: a note of the sheet, and the value that chooses between
 * branches. */
enum { RULE_X, RULE_Y, RULE_W, RULE_Z, RULE_G, RULE_A, RULE_LETTERS };
typedef struct rule_letters {
  int note[RULE_LETTERS];
  double value[RULE_LETTERS];
} rule_letters;

/* The note of the rule; -1 where it is NONE, -2 when memory fails. */
int rule_note(sheet *s, const char *rule, const rule_letters *letters);

#endif
