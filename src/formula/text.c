/* text.c -- what was recorded as text again. */
#include "formula/text.h"
#include "primitives/library.h"

#include <stdlib.h>
#include <string.h>

static double scalar_value(const ad_tape *t, uint32_t i) {
  const scalar *v = &t->value[i];
  switch (node_type(t, i)->type.dtype) {
    case AD_F64: return v->f64;
    case AD_F32: return (double)v->f32;
    case AD_I64: return (double)v->i64;
    case AD_I32: return (double)v->i32;
    default: return v->boolean;
  }
}

/* A constant as a number; an array of up to 8 numbers as a list, a longer one by its name. */
static int constant_note(const ad_tape *t, uint32_t i, sheet *s) {
  const tape_type *type = node_type(t, i);
  if (type->type.rank == 0) return sheet_number(s, scalar_value(t, i));
  return sheet_name(s, "constant", 8);
}

/* A conversion is written as the formula's function of that name: f64(x). */
static int cast_note(const ad_tape *t, uint32_t i, const int operand[], sheet *s) {
  return sheet_call1(s, ad_dtype_name(node_type(t, i)->type.dtype), operand[0]);
}

static int call_note(const ad_tape *t, uint32_t i, const int operand[], sheet *s) {
  enum { MOST = 16 };
  const ad_primitive *p = node_primitive(t, i);
  const elementwise_row *row = p->row;
  const int length = (int)strlen(p->name);
  int n, argument[MOST];
  node_operands(t, i, &n);
  if (!row || !row->attributed) return sheet_call(s, p->name, length, n, operand);
  argument[0] = sheet_number(s, node_row_attribute(t, i));
  argument[1] = operand[0];
  return sheet_call(s, p->name, length, 2, argument);
}

int text_node(const ad_tape *t, uint32_t i, const int operand[], sheet *s) {
  if (node_is_constant(t, i)) return constant_note(t, i, s);
  if (node_is_leaf(t, i)) return sheet_value(s, (int)i);
  if (node_primitive(t, i) == &cast_primitive) return cast_note(t, i, operand, s);
  return call_note(t, i, operand, s);
}

/* --- public ----------------------------------------------------------------------------------- */

/* Marks what node y was computed from: -2; the others are -1. */
static void mark(const ad_tape *t, uint32_t y, int state[]) {
  memset(state, 0xff, ((size_t)y + 1)*sizeof *state);
  state[y] = -2;
  for (uint32_t i = y + 1; i-- > 0; ) {
    int n;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; state[i] == -2 && k < n; k++) state[x[k]] = -2;
  }
}

/* Lays out node i; operands are collected from their notes. */
static int lay_out(const ad_tape *t, uint32_t i, const int state[], sheet *s) {
  int few[16], *operand = few, n;
  const uint32_t *x = node_operands(t, i, &n);
  const size_t bytes = (size_t)n*sizeof *operand;
  if (n > 16 && !(operand = memory_get(s->allocator, bytes))) return -1;
  for (int k = 0; k < n; k++) operand[k] = state[x[k]];
  int z = text_node(t, i, operand, s);
  if (operand != few) memory_release(s->allocator, operand, bytes);
  return z;
}

static int named(const ad_tape *t, uint32_t i, int n, const char *const names[], const ad_var vars[],
                 sheet *s) {
  for (int k = 0; k < n; k++)
    if (vars[k].tape == t && vars[k].at.node.index == i)
      return sheet_name(s, names[k], (int)strlen(names[k]));
  return -1;
}

ad_status ad_formula_text(ad_var y, ad_notation notation, int n, const char *const names[],
                          const ad_var vars[],
                          char *out, size_t size, size_t *needed) {
  ad_tape *t = handle_check(y, "ad_formula_text");
  if (!t || n < 0 || (n && (!names || !vars)) || (size && !out)) return AD_ERROR_ARGUMENT;
  const uint32_t last = y.at.node.index;
  const size_t bytes = ((size_t)last + 1)*sizeof(int);
  sheet s = { .allocator = &t->allocator };
  text written = { .allocator = &t->allocator };
  int *state = memory_get(&t->allocator, bytes);
  if (!state) return AD_ERROR_MEMORY;
  mark(t, last, state);
  for (int k = 0; k < n; k++)
    if (vars[k].tape == t && vars[k].at.node.index <= last && state[vars[k].at.node.index] == -2)
      state[vars[k].at.node.index] = named(t, vars[k].at.node.index, n, names, vars, &s);
  for (uint32_t i = 0; i <= last && !s.status; i++) if (state[i] == -2) state[i] = lay_out(t, i, state, &s);
  sheet_write(&s, state[last], notation, &written);
  ad_status status = text_copy(&written, out, size, needed);
  text_free(&written);
  sheet_free(&s);
  memory_release(&t->allocator, state, bytes);
  return status;
}
