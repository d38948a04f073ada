/* rewrite.c -- simplification while a function is traced: constants folded, the rows of rewrites.def applied,
 * commutative operands in one order so that value numbering sees a + b and b + a as one.
 *
 * The left sides of a root's rows are read when a tape first meets the root in a place where one of them may
 * match, right sides when they are first needed; both stay with the tape.
 *
 * A row whose left side goes past an inner node, as x + -y goes past -y, makes a node that no longer depends
 * on that inner node. Whoever holds a handle of it may ask for a derivative by it. So such rows wait for a
 * closed tape, the body of a function, where nobody can; arrays filled with one number count as numbers there
 * only, for the same reason. */
#include "tape/tape.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "primitives/construct.h"
#include "primitives/library.h"
#include "primitives/rule.h"

#include <math.h>
#include <string.h>

typedef struct rewrite_text {
  elementwise_id root;
  bool floats;
  const char *left, *right;
} rewrite_text;

static const rewrite_text texts[] = {
#define REWRITE(root, left, right)       { ROW_##root, false, #left, #right },
#define REWRITE_FLOAT(root, left, right) { ROW_##root, true, #left, #right },
#define REWRITE_BOOL(root, left, right)  { ROW_##root, false, #left, #right },
#include "primitives/rewrites.def"
};
enum { TEXTS = sizeof texts/sizeof *texts, DEPTH = 16 };

typedef struct rewrite {
  struct rewrite *next;
  const rewrite_text *text;
  bool past;                        /* goes past an inner node that may carry a derivative */
  int lefts, rights;                /* numbers of steps; the last one is the side */
  rule_step *right;                 /* NULL until needed */
  rule_step left[];
} rewrite;

struct rewrite_table {
  rewrite *first[ROW_COUNT];
  bool read[ROW_COUNT];
  int depth;                        /* rewrites at work inside each other */
};

/* --- reading the rows of one root ----------------------------------------------------------------------- */

/* Steps on numbers become numbers: -1 is one. */
static void fold_steps(rule *r) {
  for (int i = 0; i < r->count; i++) {
    rule_step *s = &r->step[i];
    if (s->kind != RULE_ROW || s->attribute >= 0) continue;
    const int arity = elementwise_rows[s->row].arity;
    double v[3] = { 0, 0, 0 };
    bool all = true;
    for (int k = 0; k < arity; k++) {
      all &= r->step[s->operand[k]].kind == RULE_NUMBER;
      v[k] = r->step[s->operand[k]].number;
    }
    if (!all) continue;
    s->kind = RULE_NUMBER;
    s->number = elementwise_rows[s->row].evaluate(v[0], v[1], v[2], 0);
  }
}

static bool carries_derivative(elementwise_id row) {
  const elementwise_class kind = elementwise_rows[row].kind;
  return kind == CLASS_FLOAT || kind == CLASS_NUMERIC || kind == CLASS_CHOICE;
}

static bool commutes(const rule_step *s) {
  return s->kind == RULE_ROW && (elementwise_rows[s->row].traits & ROW_COMMUTATIVE);
}

static bool goes_past(const rule *left) {
  for (int i = 0; i < left->count - 1; i++)
    if (left->step[i].kind == RULE_ROW && carries_derivative(left->step[i].row)) return true;
  return false;
}

/* The rewrite as it stands; the bits of swaps say which of the commutative steps on the left have their
 * operands exchanged. */
static rewrite *make_rewrite(ad_tape *t, const rewrite_text *text, const rule *left, unsigned swaps) {
  rewrite *w = memory_get(&t->allocator, sizeof *w + (size_t)left->count*sizeof *w->left);
  if (!w) return NULL;
  *w = (rewrite){ .text = text, .past = goes_past(left), .lefts = left->count };
  memcpy(w->left, left->step, (size_t)left->count*sizeof *w->left);
  for (int i = 0; i < left->count; i++) {
    rule_step *s = &w->left[i];
    if (!commutes(s)) continue;
    if (swaps & 1) {
      const int first = s->operand[0];
      s->operand[0] = s->operand[1];
      s->operand[1] = first;
    }
    swaps >>= 1;
  }
  return w;
}

static bool read_left(ad_tape *t, const rewrite_text *text, rewrite ***end) {
  rule left;
  if (rule_read(&t->allocator, text->left, &left, NULL, 0) != AD_OK) return false;
  fold_steps(&left);
  unsigned orders = 1;
  for (int i = 0; i < left.count; i++)
    if (commutes(&left.step[i])) orders *= 2;
  for (unsigned swaps = 0; swaps < orders; swaps++) {
    if (!(**end = make_rewrite(t, text, &left, swaps))) return false;
    *end = &(**end)->next;
  }
  return true;
}

static bool read_right(ad_tape *t, rewrite *w) {
  rule right;
  if (w->right) return true;
  if (rule_read(&t->allocator, w->text->right, &right, NULL, 0) != AD_OK) return false;
  fold_steps(&right);
  w->right = memory_get(&t->allocator, (size_t)right.count*sizeof *w->right);
  if (!w->right) return false;
  w->rights = right.count;
  memcpy(w->right, right.step, (size_t)right.count*sizeof *w->right);
  return true;
}

static void drop_list(ad_tape *t, rewrite **first) {
  while (*first) {
    rewrite *w = *first;
    *first = w->next;
    memory_release(&t->allocator, w->right, (size_t)w->rights*sizeof *w->right);
    memory_release(&t->allocator, w, sizeof *w + (size_t)w->lefts*sizeof *w->left);
  }
}

void tape_free_rewrites(ad_tape *t) {
  if (!t->rewrites) return;
  for (int i = 0; i < ROW_COUNT; i++) drop_list(t, &t->rewrites->first[i]);
  memory_release(&t->allocator, t->rewrites, sizeof *t->rewrites);
  t->rewrites = NULL;
}

/* The rows of a root in their order. Without memory there are none, and what is recorded is only longer. */
static rewrite *rewrites_of(ad_tape *t, uint32_t root) {
  struct rewrite_table *table = t->rewrites;
  if (table->read[root]) return table->first[root];
  rewrite **end = &table->first[root];
  bool good = true;
  for (int i = 0; i < TEXTS && good; i++)
    if (texts[i].root == root) good = read_left(t, &texts[i], &end);
  if (!good) drop_list(t, &table->first[root]);
  table->read[root] = good;
  return table->first[root];
}

/* --- constants ------------------------------------------------------------------------------------------ */

bool tape_is_filled(const ad_tape *t, uint32_t i, scalar *bits) {
  const tape_node *e = &t->node[i];
  const uint32_t p = node_primitive_number(e);
  if (p == PRIMITIVE_CONSTANT) {
    *bits = t->value[i];
    return node_type(t, i)->type.rank == 0;
  }
  const bool has_operands = e->head & NODE_WIDE || e->head >> NODE_COUNT_SHIFT & 3;
  if (!t->closed || p < PRIMITIVE_FIRST_OTHER || has_operands) return false;
  const ad_operation op = node_operation(t, i, NULL);
  uint64_t element;
  if (!construct_is_filled(&op, &element)) return false;
  memcpy(bits, &element, sizeof element);
  return true;
}

double tape_number(ad_dtype dtype, scalar v) {
  switch (dtype) {
    case AD_BOOL: return v.boolean;
    case AD_I32: return v.i32;
    case AD_I64: return (double)v.i64;
    case AD_F32: return (double)v.f32;
    default: return v.f64;
  }
}

static bool is_number(const ad_tape *t, uint32_t i, double number) {
  scalar v;
  return tape_is_filled(t, i, &v) && tape_number(node_type(t, i)->type.dtype, v) == number;
}

/* A constant of the type from its bits. Zeros of floats stay as they are recorded: passes take an array of
 * zeros for one that is connected nowhere. ad_full takes a double, which not every i64 is. */
uint32_t tape_filled(ad_tape *t, uint32_t type, scalar v) {
  const ad_type z = t->type[type]->type;
  if (z.rank == 0) return tape_constant_bits(t, z.dtype, v);
  if (v.i64 == 0 && z.dtype >= AD_F32) return INVALID_INDEX;
  if (z.dtype == AD_I64 && (v.i64 > 1LL << 53 || v.i64 < -(1LL << 53))) return INVALID_INDEX;
  const ad_var full = ad_full(t, z, tape_number(z.dtype, v));
  return ad_is_valid(full) ? full.at.node.index : INVALID_INDEX;
}

/* An operation on constants alone. */
static uint32_t fold(ad_tape *t, uint32_t primitive, const ad_primitive *p, uint32_t type, int n,
                     const uint32_t x[],
                     const void *attribute, size_t size) {
  scalar v[3], z = { .i64 = 0 };
  uint32_t operand[3];
  double a = 0;
  if (n < 1 || n > 3) return INVALID_INDEX;
  for (int k = 0; k < n; k++)
    if (!tape_is_filled(t, x[k], &v[k])) return INVALID_INDEX;
  const ad_dtype from = node_type(t, x[0])->type.dtype, to = t->type[type]->type.dtype;
  if (p->row && size == sizeof a) memcpy(&a, attribute, size);
  for (int k = 0; k < n; k++) {
    operand[k] = tape_constant_bits(t, node_type(t, x[k])->type.dtype, v[k]);
    if (operand[k] == INVALID_INDEX) return INVALID_INDEX;
  }
  if (p->row) z = tape_compute_row(t, primitive, type, n, operand, a);
  else primitive_kernel(p, from, to)(1, &z, &v[0], NULL, NULL, 0);
  return tape_filled(t, type, z);
}

/* --- matching and replacing ----------------------------------------------------------------------------- */

typedef struct matcher {
  const ad_tape *t;
  const rule_step *step;
  uint32_t bound[LETTERS];
} matcher;

static bool match(matcher *m, int step, uint32_t i) {
  const rule_step *s = &m->step[step];
  const tape_node *e = &m->t->node[i];
  if (s->kind == RULE_LETTER) {
    if (m->bound[s->letter] == NONE_INDEX) m->bound[s->letter] = i;
    return m->bound[s->letter] == i;
  }
  if (s->kind == RULE_NUMBER) return is_number(m->t, i, s->number);
  if (s->kind != RULE_ROW || node_primitive_number(e) != (uint32_t)s->row) return false;
  if (s->attribute >= 0 && m->step[s->attribute].number != node_row_attribute(m->t, i)) return false;
  int n;
  const uint32_t *x = node_operands(m->t, i, &n);
  for (int k = 0; k < n; k++)
    if (!match(m, s->operand[k], x[k])) return false;
  return true;
}

static bool match_root(matcher *m, const rewrite *w, int n, const uint32_t x[], double a) {
  const rule_step *s = &w->left[w->lefts - 1];
  m->step = w->left;
  for (int l = 0; l < LETTERS; l++) m->bound[l] = NONE_INDEX;
  if (s->attribute >= 0 && w->left[s->attribute].number != a) return false;
  for (int k = 0; k < n; k++)
    if (!match(m, s->operand[k], x[k])) return false;
  return true;
}

/* Records the right side from a step down; as deep as the row's text. Whole numbers are weak in every
 * dtype. */
static ad_var replay(ad_tape *t, const matcher *m, int step) {
  const rule_step *s = &m->step[step];
  if (s->kind == RULE_LETTER) return handle(t, m->bound[s->letter]);
  if (s->kind != RULE_ROW)
    return s->number == floor(s->number) ? ad_integer((long long)s->number) : ad_real(s->number);
  ad_var x[3];
  const int n = elementwise_rows[s->row].arity;
  for (int k = 0; k < n; k++) x[k] = replay(t, m, s->operand[k]);
  return tape_record_row(s->row, n, x, s->attribute < 0 ? 0 : m->step[s->attribute].number);
}

static uint32_t replace(ad_tape *t, matcher *m, rewrite *w, uint32_t type) {
  if (!read_right(t, w)) return INVALID_INDEX;
  const rule_step *s = &w->right[w->rights - 1];
  m->step = w->right;
  if (s->kind == RULE_LETTER) return m->bound[s->letter];
  if (s->kind == RULE_NUMBER) {
    const uint32_t one = tape_constant(t, t->type[type]->type.dtype, s->number);
    return one == INVALID_INDEX ? one : tape_filled(t, type, t->value[one]);
  }
  const ad_var z = replay(t, m, w->rights - 1);
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}

/* Whether a row may match: see the head of rewrites.def. On open tapes the operations within carry no
 * derivatives. */
static bool worth_trying(const ad_tape *t, uint32_t row, int n, const uint32_t x[]) {
  const bool twice = (n > 1 && x[0] == x[1]) || (n > 2 && (x[1] == x[2] || x[0] == x[2]));
  if (elementwise_rows[row].attributed || twice) return true;
  for (int k = 0; k < n; k++) {
    const uint32_t p = node_primitive_number(&t->node[x[k]]);
    if (p == PRIMITIVE_CONSTANT || (t->closed && p != PRIMITIVE_INPUT)) return true;
    if (p < ROW_COUNT && !carries_derivative((elementwise_id)p)) return true;
  }
  return false;
}

static uint32_t apply_rows(ad_tape *t, uint32_t row, uint32_t type, int n, const uint32_t x[], double a) {
  if (!worth_trying(t, row, n, x)) return INVALID_INDEX;
  if (!t->rewrites) t->rewrites = memory_get_zeroed(&t->allocator, 1, sizeof *t->rewrites);
  if (!t->rewrites || t->rewrites->depth == DEPTH) return INVALID_INDEX;
  const bool floats = t->type[type]->type.dtype >= AD_F32;
  matcher m = { .t = t };
  for (rewrite *w = rewrites_of(t, row); w; w = w->next) {
    if ((w->text->floats && !floats) || (w->past && !t->closed) || !match_root(&m, w, n, x, a)) continue;
    t->rewrites->depth++;
    const uint32_t i = replace(t, &m, w, type);
    t->rewrites->depth--;
    if (i != INVALID_INDEX && node_type_number(&t->node[i]) == type) return i;
  }
  return INVALID_INDEX;
}

/* --- operations that are no rows ------------------------------------------------------------------------ */

/* Every value of `from` is one of `to`. */
static bool holds(ad_dtype to, ad_dtype from) {
  if (to == from || from == AD_BOOL) return true;
  if (from == AD_I32) return to == AD_I64 || to == AD_F64;
  return from == AD_F32 && to == AD_F64;
}

/* A cast of a cast that lost nothing is a cast of the operand, or the operand. */
static uint32_t cast_of_cast(ad_tape *t, uint32_t type, uint32_t x) {
  int n;
  if (!t->closed || node_primitive(t, x) != &cast_primitive) return INVALID_INDEX;
  const uint32_t origin = *node_operands(t, x, &n);
  if (!holds(node_type(t, x)->type.dtype, node_type(t, origin)->type.dtype)) return INVALID_INDEX;
  const ad_var z = ad_cast(handle(t, origin), t->type[type]->type.dtype);
  return ad_is_valid(z) ? z.at.node.index : INVALID_INDEX;
}

/* Linear operations that keep the bytes: reshape and its like. */
static bool keeps_bytes(const ad_primitive *p, int n) {
  const unsigned keeps = AD_TRAIT_ALIAS | AD_TRAIT_LINEAR;
  return (p->traits & keeps) == keeps && n == 1 && !p->not_connected;
}

bool tape_keeps_bytes(const ad_tape *t, uint32_t i) {
  int n;
  if (node_is_leaf(t, i)) return false;
  node_operands(t, i, &n);
  return keeps_bytes(node_primitive(t, i), n);
}

uint32_t tape_origin(const ad_tape *t, uint32_t i) {
  int n;
  while (tape_keeps_bytes(t, i)) i = *node_operands(t, i, &n);
  return i;
}

/* The node that such an operation gives back: its operand, or what that was reshaped from, where the type
 * is the same. */
static uint32_t same_bytes(const ad_tape *t, uint32_t type, uint32_t x) {
  for (int step = 0; step < DEPTH; step++) {
    int n;
    if (node_type_number(&t->node[x]) == type) return x;
    if (!t->closed || node_is_leaf(t, x)) return INVALID_INDEX;
    const uint32_t *origin = node_operands(t, x, &n);
    if (!keeps_bytes(node_primitive(t, x), n)) return INVALID_INDEX;
    x = origin[0];
  }
  return INVALID_INDEX;
}

static uint32_t rewrite_other(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                              const void *attribute, size_t size) {
  scalar v;
  const ad_primitive *p = t->primitive[primitive - PRIMITIVE_FIRST_OTHER];
  if (keeps_bytes(p, n)) {
    const uint32_t same = same_bytes(t, type, x[0]);
    if (same != INVALID_INDEX || !t->closed) return same;
    if (tape_is_filled(t, x[0], &v)) return tape_filled(t, type, v);
    return tape_fold_array(t, primitive, type, n, x, attribute, size);
  }
  if (is_broadcast(p) && tape_is_filled(t, x[0], &v)) return tape_filled(t, type, v);
  if (p != &cast_primitive) {
    const uint32_t chosen = tape_fold_structured(t, primitive, type, n, x, attribute, size);
    return chosen != INVALID_INDEX ? chosen : tape_fold_array(t, primitive, type, n, x, attribute, size);
  }
  const uint32_t i = fold(t, primitive, p, type, n, x, NULL, 0);
  if (i != INVALID_INDEX) return i;
  const uint32_t folded = tape_fold_array(t, primitive, type, n, x, NULL, 0);
  return folded != INVALID_INDEX ? folded : cast_of_cast(t, type, x[0]);
}

uint32_t tape_rewrite(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                      const void *attribute, size_t size) {
  if (primitive >= PRIMITIVE_FIRST_OTHER) return rewrite_other(t, primitive, type, n, x, attribute, size);
  if (primitive >= ROW_COUNT) return INVALID_INDEX;
  double a = 0;
  if (size == sizeof a) memcpy(&a, attribute, size);
  uint32_t i = fold(t, primitive, &elementwise_primitives[primitive], type, n, x, attribute, size);
  if (i == INVALID_INDEX) i = apply_rows(t, primitive, type, n, x, a);
  if (i == INVALID_INDEX) i = tape_fold_array(t, primitive, type, n, x, attribute, size);
  if (i == INVALID_INDEX) i = tape_skip_broadcasts(t, primitive, type, n, x, attribute, size);
  const bool commutative = elementwise_rows[primitive].traits & ROW_COMMUTATIVE;
  if (i != INVALID_INDEX || !commutative || n != 2 || x[0] <= x[1]) return i;
  const uint32_t ordered[2] = { x[1], x[0] };
  return tape_append(t, primitive, type, 2, ordered, attribute, size);
}
