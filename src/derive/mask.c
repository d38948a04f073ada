/* mask.c -- connected elements: where sums and additions lead them, and which rules ask for them. */
#include "derive/mask.h"
#include "adit/arrays.h"
#include "derive/flow.h"
#include "primitives/construct.h"
#include "primitives/library.h"

#include <math.h>

/* --- logic ------------------------------------------------------------------------------------------ */

static bool same_node(ad_var m, ad_var n) { return m.tape == n.tape && m.at.node.index == n.at.node.index; }

bool mask_same(ad_var m, ad_var n) {
  if (ad_is_none(m) || ad_is_none(n)) return ad_is_none(m) && ad_is_none(n);
  return same_node(m, n);
}

static const uint32_t *operands_of(const ad_tape *t, ad_var m, elementwise_id row) {
  int n;
  const bool is_row = node_primitive(t, m.at.node.index) == &elementwise_primitives[row];
  return is_row ? node_operands(t, m.at.node.index, &n) : NULL;
}

static bool is_negation(const ad_tape *t, ad_var m, ad_var n) {
  const uint32_t *x = operands_of(t, m, ROW_logical_not);
  return x && x[0] == n.at.node.index;
}

/* x == y and x != y are opposites for nan too. */
static bool are_opposite(const ad_tape *t, ad_var m, ad_var n) {
  const uint32_t *x = operands_of(t, m, ROW_equal), *y = operands_of(t, n, ROW_not_equal);
  return x && y && ((x[0] == y[0] && x[1] == y[1]) || (x[0] == y[1] && x[1] == y[0]));
}

static bool is_complement(const ad_tape *t, ad_var m, ad_var n) {
  return is_negation(t, m, n) || is_negation(t, n, m) || are_opposite(t, m, n) || are_opposite(t, n, m);
}

bool mask_is_choice(ad_tape *t, ad_var m, ad_var n, ad_var *first, ad_var *within) {
  if (ad_is_none(m) || ad_is_none(n) || !ad_is_valid(m) || !ad_is_valid(n)) return false;
  *first = m;
  *within = ad_none();
  if (is_complement(t, m, n)) return true;
  const uint32_t *x = operands_of(t, m, ROW_logical_and), *y = operands_of(t, n, ROW_logical_and);
  for (int k = 0; k < 4 && x && y; k++) {       /* both are a part in common and another */
    const int i = k/2, j = k%2;
    *first = handle(t, x[1 - i]);
    *within = handle(t, x[i]);
    if (x[i] == y[j] && is_complement(t, *first, handle(t, y[1 - j]))) return true;
  }
  return false;
}

ad_var mask_both(ad_var m, ad_var n) {
  if (ad_is_none(m) || same_node(m, n)) return n;
  return ad_is_none(n) ? m : ad_logical_and(m, n);
}

ad_var mask_either(ad_var m, ad_var n) {
  if (ad_is_none(m) || same_node(m, n)) return m;
  return ad_is_none(n) ? n : ad_logical_or(m, n);
}

bool mask_is_array(ad_var mask) {
  return !ad_is_none(mask) && ad_is_valid(mask) && ad_type_of(mask).rank > 0;
}

ad_var mask_shaped(ad_var v, const ad_type *type) {
  if (!ad_is_valid(v)) return v;
  ad_type its = ad_type_of(v);
  its.dtype = type->dtype;
  return ad_type_equal(its, *type) ? v : ad_broadcast_to(v, type->rank, type->dim);
}

ad_var mask_as_numbers(ad_var mask, const ad_type *type) {
  return mask_shaped(ad_cast(mask, type->dtype), type);
}

ad_var mask_of_numbers(ad_var v) { return ad_greater(v, 0); }

ad_var mask_of_any(ad_var mask) { return mask_is_array(mask) ? ad_any(mask, AD_ALL_AXES, false) : mask; }

/* --- what a rule multiplies by ---------------------------------------------------------------------- */

enum { HAS_G = 1 << LETTER_G, EVERYTHING = (1 << LETTERS) - 1 };

/* Letters that a step, a call of a row on operands that depend on from[], multiplies g by, or divides it by.
 * Sums of things with g do not; conditions only choose, but a branch without g stands for another value. */
static unsigned factors_in_step(const rule *r, const rule_step *s, const unsigned from[]) {
  unsigned all = 0;
  bool each = true;
  for (int k = s->row == ROW_select; k < elementwise_rows[s->row].arity; k++) {
    all |= from[s->operand[k]];
    each &= from[s->operand[k]] & HAS_G || r->step[s->operand[k]].kind == RULE_NONE;
  }
  if (!(all & HAS_G)) return 0;
  if (s->row == ROW_select || s->row == ROW_add || s->row == ROW_sub) return each ? 0u : (unsigned)EVERYTHING;
  return all & ~(unsigned)HAS_G;
}

static unsigned factors_of(const rule *r) {
  unsigned from[RULE_STEPS], factors = 0;
  for (int i = 0; i < r->count; i++) {
    const rule_step *s = &r->step[i];
    from[i] = s->kind == RULE_LETTER ? 1u << s->letter : 0;
    if (s->kind != RULE_ROW) continue;
    for (int k = s->row == ROW_select; k < elementwise_rows[s->row].arity; k++)
      from[i] |= from[s->operand[k]];
    factors |= factors_in_step(r, s, from);
  }
  return factors & ~(1u << LETTER_A);
}

bool mask_constant(const ad_tape *t, uint32_t i, double *number) {
  if (!node_is_constant(t, i) || node_type(t, i)->type.rank) return false;
  const scalar v = t->value[i];
  switch (node_type(t, i)->type.dtype) {
    case AD_F64: *number = v.f64; break;
    case AD_F32: *number = (double)v.f32; break;
    case AD_I64: *number = (double)v.i64; break;
    case AD_I32: *number = v.i32; break;
    default: *number = v.boolean; break;
  }
  return true;
}

/* A number that turns no zero into anything else, multiplying or dividing. */
static bool is_harmless(const ad_tape *t, uint32_t i) {
  double number;
  return mask_constant(t, i, &number) && number != 0 && isfinite(number);
}

bool mask_keeps_zeros(const ad_tape *t, uint32_t i, int k) {
  const uint32_t primitive = node_primitive_number(&t->node[i]);
  double number;
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  if (primitive == ROW_add || (primitive == ROW_sub && k == 0)) return true;
  if (primitive != ROW_mul && (primitive != ROW_div || k != 0)) return false;
  return mask_constant(t, x[1 - k], &number) && number > 0 && isfinite(number);
}

/* What the slopes of a row may be where none of the values is nan: always finite; finite where operands and
 * value are (no square roots, no poles); anything. */
unsigned mask_slopes(const ad_tape *t, uint32_t i) {
  switch (node_primitive_number(&t->node[i])) {
    case ROW_abs: case ROW_copysign: case ROW_clamp: case ROW_relu: case ROW_elu: case ROW_atan:
    case ROW_tanh: case ROW_sech2: case ROW_sigmoid: case ROW_logsigmoid: case ROW_softplus:
    case ROW_erf: case ROW_erfc:
      return 0;
    case ROW_mul: case ROW_fma: case ROW_square: case ROW_exp: case ROW_exp2: case ROW_expm1:
    case ROW_logaddexp: case ROW_share: case ROW_sin: case ROW_cos: case ROW_sinpi: case ROW_cospi:
    case ROW_sinh: case ROW_cosh: case ROW_asinh: case ROW_silu: case ROW_silu_slope: case ROW_gelu:
    case ROW_normal_density:
      return FLOW_MASK;
    case ROW_powi: return node_row_attribute(t, i) >= 1 ? FLOW_MASK : FLOW_ASKED;
    default: return FLOW_ASKED;
  }
}

static unsigned row_counts(ad_tape *t, uint32_t i, int k) {
  const unsigned slopes = mask_slopes(t, i);
  if (slopes == 0) return 0;
  const uint32_t primitive = node_primitive_number(&t->node[i]);
  const rule *r = node_primitive(t, i)->rule[k] ? tape_rule(t, primitive, k) : NULL;
  if (!r) return slopes;
  unsigned factors = factors_of(r);
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  for (int l = 0; l < n; l++)
    if (is_harmless(t, x[l])) factors &= ~(1u << l);
  return factors ? slopes : 0;
}

unsigned mask_counts(ad_tape *t, uint32_t i, int k) {
  const ad_primitive *p = node_primitive(t, i);
  if (p->row || !p->type) return row_counts(t, i, k);
  if (mask_is_linear(p, k)) return 0;
  return p->traits & AD_TRAIT_FINITE_WEIGHTS ? FLOW_MASK : FLOW_ASKED;
}

/* --- sums ------------------------------------------------------------------------------------------- */

static ad_var reached_by_rule(ad_tape *t, uint32_t i, int k, ad_var mask, const ad_type *types[],
                              ad_var x[]) {
  const ad_operation op = node_operation(t, i, types);
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int m = 0; m < n; m++) x[m] = handle(t, operand[m]);
  ad_rule r = { &op, t, x, handle(t, i), ad_none(), ad_none(), { 0, 0 } };
  r.g = mask_shaped(mask, types[k]);
  return op.primitive->reach(&r, k);
}

ad_var mask_reached(ad_tape *t, uint32_t i, int k, ad_var mask) {
  const ad_type *few_types[8], **types = few_types;
  ad_var few[8], *x = few;
  int n;
  if (!mask_is_array(mask) || !node_primitive(t, i)->reach) return mask_of_any(mask);
  node_operands(t, i, &n);
  const size_t bytes = n > 8 ? (size_t)n*(sizeof *x + sizeof *types) : 0;
  if (bytes) {
    x = memory_get(&t->allocator, bytes);
    if (!x) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
    types = (const ad_type **)(x + n);
  }
  const ad_var reached = reached_by_rule(t, i, k, mask, types, x);
  if (bytes) memory_release(&t->allocator, x, bytes);
  return reached;
}

/* --- additions into zeros --------------------------------------------------------------------------- */

bool mask_is_addition(const ad_tape *t, ad_var v) {
  if (is_literal(v) || !ad_is_valid(v)) return false;
  return node_primitive(t, v.at.node.index)->traits & AD_TRAIT_ADDS_INTO;
}

static ad_var base_of(ad_tape *t, ad_var v) {
  int n;
  return handle(t, node_operands(t, v.at.node.index, &n)[0]);
}

ad_var mask_record_again(ad_tape *t, uint32_t i, int n, const ad_var x[]) {
  size_t size;
  const void *attribute = node_attribute(t, i, &size);
  return ad_record(t, node_primitive(t, i), n, x, attribute, size);
}

/* slice_add(base, part) with part replaced by ones: counts how many additions reach each element. */
static ad_var count_added(ad_tape *t, uint32_t i, ad_var base) {
  ad_var x[3];
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n && k < 3; k++) x[k] = handle(t, operand[k]);
  x[0] = base;
  for (int k = 1; k < n && k < 3; k++) {
    if (!flow_passes(t, i, k)) continue;
    ad_type type = ad_type_of(x[k]);
    type.dtype = ad_type_of(base).dtype;
    x[k] = ad_ones(t, type);
  }
  return mask_record_again(t, i, n, x);
}

/* Replays the chain of additions that ends in v, oldest first, on ones. Chains hang together by operand 0, so
 * they are walked into a list first. */
static ad_var chain_mask(ad_tape *t, ad_var v) {
  size_t length = 0;
  for (ad_var c = v; mask_is_addition(t, c); c = base_of(t, c)) length++;
  uint32_t *node = memory_get(&t->allocator, length*sizeof *node);
  if (!node) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
  ad_var c = v;
  for (size_t k = length; k-- > 0; c = base_of(t, c)) node[k] = c.at.node.index;
  ad_var count = ad_zeros(t, ad_type_of(v));
  for (size_t k = 0; k < length; k++) count = count_added(t, node[k], count);
  memory_release(&t->allocator, node, length*sizeof *node);
  return mask_of_numbers(count);
}

flow mask_explicit(ad_tape *t, flow f) {
  if (!flow_connected(f) || !ad_is_none(f.mask) || !mask_is_addition(t, f.value)) return f;
  ad_var base = f.value;
  while (mask_is_addition(t, base)) base = base_of(t, base);
  if (!is_zeros(base)) return f;
  f.mask = chain_mask(t, f.value);
  f.zeros = true;
  return f;
}
