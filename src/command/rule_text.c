/* rule_text.c -- one pass over the rule's postorder nodes, which carries a note and a value of each. */
#include "command/rule_text.h"

#include <math.h>

#include "formula/scalar_calls.h"

/* A node of the rule: its note (-1: NONE), its value, and whether it is a number whatever the operands
 * are. */
typedef struct piece {
  int note;
  double value;
  bool fixed;
} piece;

static piece number_piece(sheet *s, double value) { return (piece){ sheet_number(s, value), value, true }; }

static piece name_piece(sheet *s, const expression_node *n, const rule_letters *letters) {
  static const char *const letter[RULE_LETTERS] = { "x", "y", "w", "z", "g", "a" };
  for (int i = 0; i < RULE_LETTERS; i++)
    if (expression_is(n->name, n->name_length, letter[i]))
      return (piece){ letters->note[i], letters->value[i], i == RULE_A };
  if (expression_is(n->name, n->name_length, "INFINITY")) return number_piece(s, INFINITY);
  if (expression_is(n->name, n->name_length, "NAN")) return number_piece(s, NAN);
  return (piece){ -1, 0, true };
}

static piece call_piece(sheet *s, const expression *e, const expression_node *n, const piece piece_of[]) {
  piece x[3];
  int operand[3], count = 0;
  bool fixed = true;
  for (int a = n->first_argument; a >= 0 && count < 3; a = e->node[a].next_argument) {
    x[count] = piece_of[a];
    operand[count] = x[count].note;
    fixed = fixed && x[count].fixed;
    count++;
  }
  scalar_call call;
  int row = scalar_call_find(n->name, n->name_length, &call);
  if (row < 0) return x[0];                                /* C(0.5) */
  if (call.row == ROW_select) return x[0].value != 0 ? x[1] : x[2];
  const elementwise_row *r = &elementwise_rows[row];
  double v[3] = { x[0].value, count > 1 ? x[1].value : 0, count > 2 ? x[2].value : 0 };
  double value = r->attributed ? r->evaluate(v[1], 0, 0, v[0]) : r->evaluate(v[0], v[1], v[2], 0);
  if (fixed && (call.row == ROW_add || call.row == ROW_sub || call.row == ROW_neg))
    return number_piece(s, value);
  return (piece){ sheet_call(s, n->name, n->name_length, count, operand), value, fixed };
}

int rule_note(sheet *s, const char *rule, const rule_letters *letters) {
  expression e;
  if (expression_read(s->allocator, rule, 0, &e, NULL)) return -2;
  piece *p = memory_get(s->allocator, (size_t)e.node_count*sizeof *p);
  int z = -2;
  for (int i = 0; p && i < e.node_count; i++) {
    const expression_node *n = &e.node[i];
    if (n->kind == EXPRESSION_NUMBER) p[i] = number_piece(s, n->number);
    else if (n->kind == EXPRESSION_NAME) p[i] = name_piece(s, n, letters);
    else p[i] = call_piece(s, &e, n, p);
    z = p[i].note;
  }
  if (s->status) z = -2;
  memory_release(s->allocator, p, (size_t)e.node_count*sizeof *p);
  expression_free(s->allocator, &e);
  return z;
}
