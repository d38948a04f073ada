/* rule.c -- from the parsed text of a rule to rows and letters. */
#include "primitives/rule.h"
#include "primitives/expression.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

elementwise_id row_named(const char *name, int length) {
  static const struct { const char *name; elementwise_id row; } c_names[] = {
    { "fabs", ROW_abs }, { "fmin", ROW_min }, { "fmax", ROW_max },
  };
  for (int i = 0; i < ROW_COUNT; i++)
    if (expression_is(name, length, elementwise_rows[i].name)) return (elementwise_id)i;
  for (size_t i = 0; i < sizeof c_names/sizeof *c_names; i++)
    if (expression_is(name, length, c_names[i].name)) return c_names[i].row;
  return ROW_COUNT;
}

typedef struct reader {
  const expression *e;
  rule *out;
  int *step_of;                     /* the step that expression node i became */
  char *message;
  size_t size;
} reader;

static ad_status refuse(reader *r, const expression_node *n, const char *what) {
  if (r->message) snprintf(r->message, r->size, "%s: \"%.*s\"", what, n->name_length, n->name ? n->name : "");
  return AD_ERROR_SYNTAX;
}

static ad_status read_name(reader *r, const expression_node *n, rule_step *s) {
  static const char letters[] = "xywzga";
  const char *letter = n->name_length == 1 ? strchr(letters, n->name[0]) : NULL;
  s->kind = RULE_NUMBER;
  if (letter) {
    s->kind = RULE_LETTER;
    s->letter = (int)(letter - letters);
    r->out->letters |= 1u << s->letter;
  } else if (expression_is(n->name, n->name_length, "NONE")) {
    s->kind = RULE_NONE;
    r->out->has_none = true;
  } else if (expression_is(n->name, n->name_length, "NAN")) s->number = NAN;
  else if (expression_is(n->name, n->name_length, "INFINITY")) s->number = INFINITY;
  else return refuse(r, n, "unknown name");
  return AD_OK;
}

static ad_status read_call(reader *r, const expression_node *n, rule_step *s) {
  s->kind = RULE_ROW;
  s->row = row_named(n->name, n->name_length);
  if (s->row == ROW_COUNT) return refuse(r, n, "unknown function");
  const elementwise_row *row = &elementwise_rows[s->row];
  if (n->argument_count != row->arity + row->attributed) return refuse(r, n, "wrong number of arguments");
  int argument = n->first_argument;
  if (row->attributed) {
    s->attribute = r->step_of[argument];
    argument = r->e->node[argument].next_argument;
  }
  for (int k = 0; k < row->arity; k++, argument = r->e->node[argument].next_argument)
    s->operand[k] = r->step_of[argument];
  return AD_OK;
}

/* C(0.5) is a literal in the precision of the kernel: here just its argument. */
static bool is_literal_mark(const expression_node *n) {
  return n->kind == EXPRESSION_CALL && n->argument_count == 1 && expression_is(n->name, n->name_length, "C");
}

static ad_status read_node(reader *r, int i) {
  const expression_node *n = &r->e->node[i];
  if (is_literal_mark(n)) {
    r->step_of[i] = r->step_of[n->first_argument];
    return AD_OK;
  }
  if (r->out->count == RULE_STEPS) return refuse(r, n, "too long a rule");
  rule_step *s = &r->out->step[r->out->count];
  *s = (rule_step){ .kind = RULE_NUMBER, .number = n->number, .operand = { -1, -1, -1 }, .attribute = -1 };
  r->step_of[i] = r->out->count++;
  if (n->kind == EXPRESSION_NAME) return read_name(r, n, s);
  if (n->kind == EXPRESSION_CALL) return read_call(r, n, s);
  return n->kind == EXPRESSION_NUMBER ? AD_OK : refuse(r, n, "not a number");
}

ad_status rule_read(const ad_allocator *a, const char *text, rule *out, char *message, size_t size) {
  expression e;
  expression_error error;
  out->count = 0;
  out->letters = 0;
  out->has_none = false;
  ad_status status = expression_read(a, text, 0, &e, &error);
  if (status != AD_OK) {
    if (message) snprintf(message, size, "%s", error.message);
    return status;
  }
  int step_of[2*RULE_STEPS];
  reader r = { &e, out, step_of, message, size };
  if (e.node_count > 2*RULE_STEPS) status = AD_ERROR_SYNTAX;
  for (int i = 0; i < e.node_count && status == AD_OK; i++) status = read_node(&r, i);
  expression_free(a, &e);
  return status;
}
