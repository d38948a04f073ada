/* einsum_parse.c -- reads equations of einsum.
 *
 *   equation   = subscripts ("," subscripts)* ["->" subscripts]
 *   subscripts = (letter | "...")*        at most one "..."; blanks are skipped everywhere
 *
 * Without "->" the result has the axes of "..." and then, in the order of ASCII, the letters that occur once.
 */
#include "primitives/einsum.h"

#include <string.h>

typedef struct reader {
  ad_tape *tape;
  const char *text;
  int at;                           /* offset of the next character */
} reader;

/* Subscripts as written. */
typedef struct subscripts {
  int position;                     /* where they begin in the text */
  int letters;
  uint8_t letter[AD_MAX_RANK];
  int letter_position[AD_MAX_RANK];
  int ellipsis;                     /* letters before "...", -1: none */
} subscripts;

/* The character of a label, for messages. */
static char letter_of(int label) {
  if (label >= EINSUM_LETTERS) return '.';
  return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[label];
}

/* Not by isalpha, which asks the locale. -1: no letter. */
static int label_of(char c) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const char *found = c ? strchr(letters, c) : NULL;
  return found ? (int)(found - letters) : -1;
}

static char peek(reader *r) {
  while (r->text[r->at] == ' ') r->at++;
  return r->text[r->at];
}

static bool wrong(reader *r, const char *what) {
  ad_fail(r->tape, AD_ERROR_SYNTAX, "einsum: %s at position %d of \"%.80s\"", what, r->at, r->text);
  return false;
}

/* What a label of an operand or of the result is wrong about; position is in the text. */
static bool wrong_label(reader *r, int label, int position, const char *what) {
  ad_fail(r->tape, AD_ERROR_SYNTAX, "einsum: '%c' at position %d of \"%.80s\" %s", letter_of(label),
          position, r->text, what);
  return false;
}

static bool read_ellipsis(reader *r, subscripts *s) {
  if (strncmp(r->text + r->at, "...", 3)) return wrong(r, "\"...\" is incomplete");
  if (s->ellipsis >= 0) return wrong(r, "a second \"...\" in one operand");
  s->ellipsis = s->letters;
  r->at += 3;
  return true;
}

static bool read_subscripts(reader *r, subscripts *s) {
  *s = (subscripts){ .ellipsis = -1 };
  char c = peek(r);
  s->position = r->at;
  for (; c && c != ',' && c != '-'; c = peek(r)) {
    int label = label_of(c);
    if (c == '.') {
      if (!read_ellipsis(r, s)) return false;
      continue;
    }
    if (label < 0) return wrong(r, "no letter");
    if (s->letters == AD_MAX_RANK) return wrong(r, "more than 8 axes");
    s->letter[s->letters] = (uint8_t)label;
    s->letter_position[s->letters++] = r->at++;
  }
  return true;
}

/* Labels in order, with `broadcast` axes in the place of "...". */
static bool expand(reader *r, const subscripts *s, int broadcast, einsum_axes *axes) {
  if (s->letters + broadcast > AD_MAX_RANK) {
    ad_fail(r->tape, AD_ERROR_SHAPE, "einsum: the result of \"%.80s\" has more than 8 axes", r->text);
    return false;
  }
  axes->rank = 0;
  for (int i = 0; i <= s->letters; i++) {
    for (int j = broadcast; i == s->ellipsis && j > 0; j--)
      axes->label[axes->rank++] = (uint8_t)(EINSUM_LETTERS + j - 1);
    if (i < s->letters) axes->label[axes->rank++] = s->letter[i];
  }
  return true;
}

/* Enters the sizes of an operand's axes. Sizes of one label are equal, or 1 in another operand: broadcast. */
static bool enter_sizes(reader *r, int operand, const einsum_axes *axes, const ad_type *type, int64_t *dim) {
  int64_t own[EINSUM_LABELS];
  uint64_t seen = 0;
  for (int i = 0; i < axes->rank; i++) {
    int label = axes->label[i];
    int64_t size = type->dim[i];
    bool again = (seen & einsum_bit(label)) != 0;
    int64_t before = again ? own[label] : dim[label];
    bool fits = before == size || (!again && (before == -1 || before == 1 || size == 1));
    if (!fits) {
      ad_fail(r->tape, AD_ERROR_SHAPE,
              "einsum: axis '%c' of operand %d has size %lld, but %lld before, in \"%.80s\"",
              letter_of(label), operand, (long long)size, (long long)before, r->text);
      return false;
    }
    seen |= einsum_bit(label);
    own[label] = size;
    if (dim[label] == -1 || dim[label] == 1) dim[label] = size;
  }
  return true;
}

static bool read_operand(reader *r, int operand, const ad_type *type, int *letter_count, int *broadcast,
                         einsum_axes *axes, einsum_equation *e) {
  subscripts s;
  if (!read_subscripts(r, &s)) return false;
  int rest = type->rank - s.letters;
  if (rest < 0 || (rest > 0 && s.ellipsis < 0)) {
    ad_fail(r->tape, AD_ERROR_SHAPE,
            "einsum: operand %d has %d axes, its subscripts at position %d of \"%.80s\" name %d",
            operand, type->rank, s.position, r->text, s.letters);
    return false;
  }
  for (int i = 0; i < s.letters; i++) letter_count[s.letter[i]]++;
  if (rest > *broadcast) *broadcast = rest;
  return expand(r, &s, rest, axes) && enter_sizes(r, operand, axes, type, e->dim);
}

static bool implicit_result(reader *r, const int *letter_count, int broadcast, einsum_equation *e) {
  subscripts s = { .ellipsis = 0 };
  for (int label = 0; label < EINSUM_LETTERS; label++) {
    if (letter_count[label] != 1) continue;
    if (s.letters == AD_MAX_RANK) return wrong(r, "a result of more than 8 axes");
    s.letter[s.letters++] = (uint8_t)label;
  }
  return expand(r, &s, broadcast, &e->out);
}

static bool explicit_result(reader *r, const int *letter_count, int broadcast, einsum_equation *e) {
  subscripts s;
  uint64_t seen = 0;
  if (!read_subscripts(r, &s)) return false;
  if (peek(r)) return wrong(r, "the end was expected");
  for (int i = 0; i < s.letters; i++) {
    int label = s.letter[i];
    if (seen & einsum_bit(label))
      return wrong_label(r, label, s.letter_position[i], "comes twice in the result");
    if (!letter_count[label]) return wrong_label(r, label, s.letter_position[i], "is in no operand");
    seen |= einsum_bit(label);
  }
  r->at = s.position;
  if (broadcast > 0 && s.ellipsis < 0) return wrong(r, "the result lacks the \"...\" of its operands");
  return expand(r, &s, broadcast, &e->out);
}

bool einsum_read(ad_tape *tape, const char *text, int n, const ad_type types[], einsum_axes axes[],
                 einsum_equation *e) {
  reader r = { tape, text, 0 };
  int letter_count[EINSUM_LETTERS] = { 0 }, broadcast = 0;
  for (int i = 0; i < EINSUM_LABELS; i++) e->dim[i] = -1;
  e->n = n;
  for (int i = 0; i < n; i++) {
    if (!read_operand(&r, i, &types[i], letter_count, &broadcast, &axes[i], e)) return false;
    if (i + 1 == n) break;
    if (peek(&r) != ',') {
      ad_fail(tape, AD_ERROR_SYNTAX, "einsum: \"%.80s\" is for %d operands, %d were given", text, i + 1, n);
      return false;
    }
    r.at++;
  }
  if (!peek(&r)) return implicit_result(&r, letter_count, broadcast, e);
  if (peek(&r) == ',') {
    ad_fail(tape, AD_ERROR_SYNTAX, "einsum: \"%.80s\" is for more than the %d operands given", text, n);
    return false;
  }
  if (strncmp(text + r.at, "->", 2)) return wrong(&r, "\"->\" was expected");
  r.at += 2;
  return explicit_result(&r, letter_count, broadcast, e);
}
