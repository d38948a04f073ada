/* program_shrink.h -- makes a failing program smaller while it fails: statements become constants, or give
 * way to earlier values of the same type; outputs go, options go, bodies' results become what was there
 * before. Every step keeps the program well typed, so each can be tried blindly. */
#ifndef ADIT_TESTS_PROGRAM_SHRINK_H
#define ADIT_TESTS_PROGRAM_SHRINK_H

#include "function/program.h"

typedef bool failing(const program *p, void *context);

typedef struct shrinking {
  program *best;                    /* the smallest that failed */
  program trial;
  failing *fails;
  void *context;
  int accepted;
} shrinking;

static bool attempt(shrinking *k) {
  if (memcmp(&k->trial, k->best, sizeof k->trial) == 0) return false;
  const bool good = k->fails(&k->trial, k->context);
  if (good) *k->best = k->trial;
  else k->trial = *k->best;
  k->accepted += good;
  return good;
}

static void fill_statement(statement *s) {
  s->op = OP_FILL;
  s->n_args = 0;
  s->counted = false;
  s->body = s->other = -1;
}

/* A clock without its tick would never stop. */
static bool keeps_time(const statement *s) {
  return s->op == OP_TICK || s->op == OP_TOCK || s->op == OP_BELOW || s->op == OP_BELOW_INTEGER;
}

static void drop_outputs(shrinking *k) {
  for (int j = k->best->b[0].n_outputs; j-- > 0 && k->best->b[0].n_outputs > 1;) {
    body *own = &k->trial.b[0];
    for (int i = j; i + 1 < own->n_outputs; i++) own->out[i] = own->out[i + 1];
    own->n_outputs--;
    attempt(k);
  }
}

/* Statements with one result; carriers become one constant for each. */
static void drop_statements(shrinking *k, int b) {
  for (int i = k->best->b[b].n_statements; i-- > 0;) {
    statement *s = &k->trial.b[b].s[i];
    if (keeps_time(s) || s->op == OP_FILL || s->n_results != 1) continue;
    fill_statement(s);
    attempt(k);
  }
}

/* Each reference to the first value of its type: parameters come first. */
static void move_reference(shrinking *k, int b, reference *r) {
  const body *own = &k->trial.b[b];
  if (r->up < 0) return;
  const ad_type type = type_of(&k->trial, b, *r);
  const int end = r->up ? own->n_params : r->value;
  const reference old = *r;
  for (int i = 0; i < end; i++) {
    if (!ad_type_equal(own->type[i], type)) continue;
    *r = (reference){ 0, i };
    if (attempt(k)) return;
    *r = old;
  }
}

static void move_references(shrinking *k, int b) {
  body *own = &k->trial.b[b];
  const bool clock = own->n_outputs && own->n_statements && keeps_time(&own->s[own->n_statements - 1]);
  for (int j = clock; j < own->n_outputs; j++) move_reference(k, b, &own->out[j]);
  for (int i = own->n_statements; i-- > 0;) {
    statement *s = &own->s[i];
    for (int m = 0; m < s->n_args; m++)
      if (!(m == 0 && (keeps_time(s) || s->op == OP_WHILE))) move_reference(k, b, &s->arg[m]);
  }
}

static void drop_options(shrinking *k, int b) {
  for (int i = 0; i < k->best->b[b].n_statements; i++) {
    statement *s = &k->trial.b[b].s[i];
    if (!is_carrier(s->op)) continue;
    s->keep = AD_KEEP_STATES, s->k = s->bytes = 0;
    attempt(k);
    s->backwards = false;
    attempt(k);
    s->inside = false;
    attempt(k);
    if (s->n >= 0 && s->counted) s->counted = false;
    attempt(k);
    if (s->op == OP_COND || s->op == OP_CALL) s->op = OP_CHECKPOINT;
    attempt(k);
  }
}

static void shrink_program(program *p, failing *fails, void *context) {
  static shrinking k;
  k.best = p;
  k.trial = *p;
  k.fails = fails;
  k.context = context;
  for (int round = 0; round < 20; round++) {
    k.accepted = 0;
    drop_outputs(&k);
    for (int b = 0; b < p->n_bodies; b++) drop_statements(&k, b);
    for (int b = 0; b < p->n_bodies; b++) move_references(&k, b);
    for (int b = 0; b < p->n_bodies; b++) drop_options(&k, b);
    if (k.accepted == 0) return;
  }
}

#endif
