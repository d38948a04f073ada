/* wengert.c -- numbering what was recorded, and writing single operations and rules in these numbers. */
#include "command/wengert.h"
#include "command/rule_text.h"

#include <stdlib.h>
#include <string.h>

#include "formula/text.h"
#include "primitives/library.h"

/* --- notes ------------------------------------------------------------------------------------ */

/* Names such as v_-1 that notes point to; they live until the text is written. */
typedef struct name_pool { char name[8][24]; int used; } name_pool;

static int numbered_note(sheet *s, name_pool *pool, const char *letter, int number) {
  char *name = pool->name[pool->used++ % 8];
  int length = snprintf(name, sizeof pool->name[0], "%s_%d", letter, number);
  return sheet_name(s, name, length);
}

/* The note of tape node `index` as an operand: v_i, or the number it is. */
static int value_note(const wengert *w, sheet *s, name_pool *pool, uint32_t index) {
  if (w->place[index] >= 0) return numbered_note(s, pool, "v", w->node[w->place[index]].number);
  return text_node(w->tape, index, NULL, s);
}

/* The note as a new string; NULL when memory fails. */
static char *written(const sheet *s, int root) {
  text t = { .allocator = s->allocator };
  sheet_write(s, root, AD_TEXT, &t);
  char *z = t.status ? NULL : malloc(t.used + 1);
  if (z) memcpy(z, t.s, t.used + 1);
  text_free(&t);
  return z;
}

/* --- the list --------------------------------------------------------------------------------- */

static char *formula_of(const wengert *w, uint32_t index) {
  int n, few[8] = { 0 }, *operand = few;
  const uint32_t *x = node_operands(w->tape, index, &n);
  name_pool few_names, *pools = &few_names;
  sheet s = { .allocator = &memory_standard };
  few_names.used = 0;
  if (n > 8) {
    operand = calloc((size_t)n, sizeof *operand);
    pools = calloc((size_t)n/8 + 1, sizeof *pools);
  }
  char *z = NULL;
  if (operand && pools) {
    for (int k = 0; k < n; k++) operand[k] = value_note(w, &s, &pools[k/8], x[k]);
    z = written(&s, text_node(w->tape, index, operand, &s));
  }
  sheet_free(&s);
  if (operand != few) free(operand);
  if (pools != &few_names) free(pools);
  return z;
}

static void mark(const wengert *w, const problem *p) {
  for (int j = 0; j < p->outputs; j++) w->place[p->out[j].at.node.index] = -2;
  for (uint32_t i = w->limit; i-- > 0; ) {
    int n;
    const uint32_t *x = node_operands(w->tape, i, &n);
    for (int k = 0; w->place[i] == -2 && k < n; k++) w->place[x[k]] = -2;
  }
}

static void add(wengert *w, uint32_t index, int number, const char *variable) {
  const ad_type *type = &node_type(w->tape, index)->type;
  w->place[index] = w->count;
  w->node[w->count++] = (wengert_node){ index, number, variable, NULL };
  const ad_primitive *primitive = node_primitive(w->tape, index);
  w->scalar = w->scalar && type->rank == 0 && (primitive->row || variable || primitive == &cast_primitive);
}

/* Formulas of up to 48 characters share a column of at least 24. */
static int formula_width(const wengert *w) {
  int width = 24;
  for (int i = 0; i < w->count; i++) {
    int length = (int)strlen(w->node[i].variable ? w->node[i].variable : w->node[i].formula);
    if (length > width && length <= 48) width = length;
  }
  return width;
}

int wengert_open(wengert *w, const problem *p, const options *o) {
  *w = (wengert){ .tape = p->tape, .limit = (uint32_t)ad_tape_size(p->tape), .scalar = true };
  w->place = malloc(((size_t)w->limit + 1)*sizeof *w->place);
  w->node = calloc((size_t)w->limit + 1, sizeof *w->node);
  if (!w->place || !w->node) return out_of_memory(o);
  memset(w->place, 0xff, ((size_t)w->limit + 1)*sizeof *w->place);
  mark(w, p);
  for (int i = 0; i < p->n; i++) add(w, p->vars[i].at.node.index, 1 - p->n + i, p->names[i]);
  int number = 0;
  for (uint32_t i = 0; i < w->limit; i++) {
    if (w->place[i] != -2) continue;
    if (node_is_constant(w->tape, i)) w->place[i] = -1;
    else add(w, i, ++number, NULL);
  }
  for (int i = p->n; i < w->count; i++)
    if (!(w->node[i].formula = formula_of(w, w->node[i].index))) return out_of_memory(o);
  w->width = formula_width(w);
  return DONE;
}

void wengert_close(wengert *w) {
  for (int i = 0; i < w->count; i++) free(w->node[i].formula);
  free(w->node);
  free(w->place);
}

int wengert_operands(const wengert *w, int i) {
  int n;
  node_operands(w->tape, w->node[i].index, &n);
  return n;
}

int wengert_operand(const wengert *w, int i, int k) {
  int n;
  return w->place[node_operands(w->tape, w->node[i].index, &n)[k]];
}

double wengert_value(const wengert *w, int i) { return ad_value(handle(w->tape, w->node[i].index)); }
int wengert_place(const wengert *w, ad_var x) { return w->place[x.at.node.index]; }

/* --- contributions ---------------------------------------------------------------------------- */

/* A scalar value of the tape, constants too. */
static double tape_value(const wengert *w, uint32_t index) { return ad_value(handle(w->tape, index)); }

bool wengert_contribution(const wengert *w, const options *o, int i, int k, const char *letter, bool reverse,
                          double g,
                          contribution *c, int *status) {
  const uint32_t index = w->node[i].index;
  const elementwise_row *row = node_primitive(w->tape, index)->row;
  int n;
  const uint32_t *x = node_operands(w->tape, index, &n);
  double v[3] = { 0 }, d[3] = { 0 };
  *c = (contribution){ .operand = w->place[x[k]] };
  if (!row || c->operand < 0 || n > 3) return false;
  rule_letters letters = { .value = { 0 } };
  name_pool pool = { .used = 0 };
  sheet s = { .allocator = &memory_standard };
  for (int m = 0; m < n; m++) {
    letters.value[RULE_X + m] = v[m] = tape_value(w, x[m]);
    letters.note[RULE_X + m] = value_note(w, &s, &pool, x[m]);
  }
  letters.value[RULE_Z] = wengert_value(w, i), letters.note[RULE_Z] = value_note(w, &s, &pool, index);
  letters.value[RULE_A] = node_row_attribute(w->tape, index),
      letters.note[RULE_A] = sheet_number(&s, letters.value[RULE_A]);
  letters.value[RULE_G] = g;
  letters.note[RULE_G] = numbered_note(&s, &pool, letter, w->node[reverse ? i : c->operand].number);
  row->propagate(d, v[0], v[1], v[2], letters.value[RULE_Z], g, letters.value[RULE_A]);
  c->value = d[k];
  int root = rule_note(&s, row->rule[k], &letters);
  if (root >= 0) c->formula = written(&s, root);
  if (root == -2 || (root >= 0 && !c->formula)) *status = out_of_memory(o);
  sheet_free(&s);
  return root >= 0 && !*status;
}
