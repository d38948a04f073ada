/* replay.c -- recording the rules of the table.
 *
 * Conditions that depend on numbers and the attribute alone are decided here, and what is not needed then is
 * not recorded. NONE leaves turn into a mask: c ? g : NONE is the flow of g under the mask c.
 */
#include "tape/replay.h"
#include "primitives/library.h"

#include <string.h>

/* --- rules, read once per tape -------------------------------------------------------------------- */

typedef struct rule_cache {
  rule **entry;
  size_t capacity;
} rule_cache;

static void free_rules(ad_tape *t) {
  rule_cache *c = t->rules;
  for (size_t i = 0; i < c->capacity; i++) memory_release(&t->allocator, c->entry[i], sizeof(rule));
  memory_release(&t->allocator, c->entry, c->capacity*sizeof *c->entry);
  memory_release(&t->allocator, c, sizeof *c);
}

static rule **cache_slot(ad_tape *t, size_t i) {
  rule_cache *c = t->rules;
  if (!c) {
    c = t->rules = memory_get_zeroed(&t->allocator, 1, sizeof *c);
    if (!c) return NULL;
    t->free_rules = free_rules;
  }
  size_t old = c->capacity, need = 3*(size_t)PRIMITIVE_FIRST_OTHER;
  if (need <= i) need = i + 1;
  if (!memory_reserve(&t->allocator, &c->entry, &c->capacity, need, sizeof *c->entry)) return NULL;
  memset(c->entry + old, 0, (c->capacity - old)*sizeof *c->entry);
  return &c->entry[i];
}

const rule *tape_rule(ad_tape *t, uint32_t primitive, int k) {
  rule **slot = cache_slot(t, 3*(size_t)primitive + (size_t)k);
  if (slot && *slot) return *slot;
  const ad_primitive *p = primitive < ROW_COUNT ? &elementwise_primitives[primitive]
                                                : t->primitive[primitive - PRIMITIVE_FIRST_OTHER];
  rule *r = slot ? memory_get(&t->allocator, sizeof *r) : NULL;
  char message[160] = "";
  if (!r) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  ad_status status = !p->rule[k] ? AD_ERROR_DERIVATIVE
                                 : rule_read(&t->allocator, p->rule[k], r, message, sizeof message);
  if (status == AD_OK) return *slot = r;
  memory_release(&t->allocator, r, sizeof *r);
  if (p->rule[k])
    tape_fail(t, status, "%s: its derivative \"%s\" cannot be read: %s", p->name, p->rule[k], message);
  else tape_fail(t, status, "%s: has no derivative by operand %d", p->name, k + 1);
  return NULL;
}

/* --- replay --------------------------------------------------------------------------------------- */

/* What a step came to. */
typedef struct result {
  bool number;                      /* known now: value.at.real */
  bool never;                       /* NONE */
  ad_var value, mask;               /* mask ad_none(): everywhere */
} result;

static result number(double v) { return (result){ .number = true, .value = ad_real(v), .mask = ad_none() }; }

/* Steps that are numbers, bottom up: letters other than a are not. */
static void find_numbers(const rule *r, double a, result out[]) {
  for (int i = 0; i < r->count; i++) {
    const rule_step *s = &r->step[i];
    out[i] = (result){ .value = ad_none(), .mask = ad_none() };
    if (s->kind == RULE_NUMBER) out[i] = number(s->number);
    else if (s->kind == RULE_LETTER && s->letter == LETTER_A) out[i] = number(a);
    if (s->kind != RULE_ROW) continue;
    const elementwise_row *row = &elementwise_rows[s->row];
    double v[3] = { 0, 0, 0 };
    bool all = true;
    for (int k = 0; k < row->arity; k++) {
      all &= out[s->operand[k]].number;
      if (all) v[k] = out[s->operand[k]].value.at.real;
    }
    if (all)
      out[i] = number(
          row->evaluate(v[0], v[1], v[2], s->attribute < 0 ? 0 : out[s->attribute].value.at.real));
  }
}

/* The branch that a decided condition takes, -1: not decided. */
static int decided(const rule_step *s, const result out[]) {
  if (s->kind != RULE_ROW || s->row != ROW_select || !out[s->operand[0]].number) return -1;
  return s->operand[out[s->operand[0]].value.at.real != 0 ? 1 : 2];
}

static void find_needed(const rule *r, const result out[], bool needed[]) {
  for (int i = 0; i < r->count; i++) needed[i] = i == r->count - 1;
  for (int i = r->count - 1; i >= 0; i--) {
    const rule_step *s = &r->step[i];
    if (!needed[i] || out[i].number || s->kind != RULE_ROW) continue;
    int branch = decided(s, out);
    if (branch >= 0) needed[branch] = true;
    for (int k = 0; branch < 0 && k < elementwise_rows[s->row].arity; k++) needed[s->operand[k]] = true;
  }
}

/* Where c ? a : b is connected. */
static ad_var select_mask(ad_var c, const result *a, const result *b) {
  bool always_a = !a->never && ad_is_none(a->mask), always_b = !b->never && ad_is_none(b->mask);
  if (always_a && always_b) return ad_none();
  if (always_a && b->never) return c;
  if (a->never && always_b) return ad_logical_not(c);
  if (b->never) return ad_logical_and(c, a->mask);
  if (a->never) {
    ad_var not_c = ad_logical_not(c);
    return ad_logical_and(not_c, b->mask);
  }
  if (always_a) return ad_logical_or(c, b->mask);
  if (always_b) {
    ad_var not_c = ad_logical_not(c);
    return ad_logical_or(not_c, a->mask);
  }
  return ad_select(c, a->mask, b->mask);
}

static result choose(ad_var c, const result *a, const result *b) {
  if (a->never && b->never) return *a;
  result z = { .mask = select_mask(c, a, b) };
  z.value = a->never ? b->value : b->never ? a->value : ad_select(c, a->value, b->value);
  return z;
}

/* Rows write a condition as x != 0; a bool is one already. */
static bool is_condition(const rule_step *s, const result out[]) {
  const result *x = &out[s->operand[0]], *y = &out[s->operand[1]];
  return s->row == ROW_not_equal && y->number && y->value.at.real == 0 && !x->number
         && ad_type_of(x->value).dtype == AD_BOOL;
}

static result replay_row(const rule_step *s, const result out[]) {
  ad_var x[3];
  const elementwise_row *row = &elementwise_rows[s->row];
  if (is_condition(s, out)) return out[s->operand[0]];
  if (s->row == ROW_select) return choose(out[s->operand[0]].value, &out[s->operand[1]], &out[s->operand[2]]);
  for (int k = 0; k < row->arity; k++) x[k] = out[s->operand[k]].value;
  double a = s->attribute < 0 ? 0 : out[s->attribute].value.at.real;
  return (result){ .value = tape_record_row(s->row, row->arity, x, a), .mask = ad_none() };
}

flow tape_replay(ad_tape *t, const rule *r, const ad_var letter[LETTERS], double a) {
  result out[RULE_STEPS];
  bool needed[RULE_STEPS];
  (void)t;
  find_numbers(r, a, out);
  find_needed(r, out, needed);
  for (int i = 0; i < r->count; i++) {
    const rule_step *s = &r->step[i];
    if (!needed[i] || out[i].number) continue;
    int branch = decided(s, out);
    if (s->kind == RULE_NONE) out[i].never = true;
    else if (s->kind == RULE_LETTER) out[i].value = letter[s->letter];
    else out[i] = branch >= 0 ? out[branch] : replay_row(s, out);
  }
  const result *z = &out[r->count - 1];
  return z->never ? flow_none() : (flow){ z->value, z->mask, false };
}

ad_var flow_settle(flow f) {
  return ad_is_none(f.mask) || f.zeros ? f.value : ad_select(f.mask, f.value, 0);
}
