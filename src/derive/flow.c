/* flow.c -- one node's derivative, recorded: rows by their text, structured primitives by their rules. */
#include "derive/flow.h"
#include "adit/arrays.h"
#include "derive/mask.h"
#include "primitives/axes.h"
#include "primitives/construct.h"
#include "primitives/library.h"
#include "primitives/matmul.h"
#include "tape/tuple.h"

bool flow_passes(const ad_tape *t, uint32_t i, int k) {
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  if (node_is_result(t, i)) return node_is_float(t, i);
  if ((!node_is_float(t, i) && !node_tuple(t, i)) || !node_is_float(t, x[k])) return false;
  unsigned never = node_primitive(t, i)->not_connected;
  return k >= 32 || !(never >> k & 1);
}

/* Rank -1 for what could not be recorded. */
static const ad_type *type_of(ad_var v) {
  static const ad_type invalid = { AD_F64, -1, { 0 } };
  return !is_literal(v) && ad_is_valid(v) ? &node_type(v.tape, v.at.node.index)->type : &invalid;
}

static bool same_shape(const ad_type *a, const ad_type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

ad_var flow_value(ad_tape *t, flow f, const ad_type *type) {
  if (!flow_connected(f)) return ad_zeros(t, *type);
  return mask_shaped(flow_settle(f), type);
}

/* --- sums ----------------------------------------------------------------------------------------- */

/* b is something placed into zeros: place it into a instead, so that n elements of one array cost n
 * additions. */
static bool add_in_place(ad_tape *t, ad_var a, ad_var b, ad_var *sum) {
  if (!mask_is_addition(t, b)) return false;
  uint32_t i = b.at.node.index;
  ad_var x[4];
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  if (n > 4 || !is_zeros(handle(t, operand[0]))) return false;
  for (int k = 0; k < n; k++) x[k] = handle(t, operand[k]);
  x[0] = a;
  *sum = mask_record_again(t, i, n, x);
  return true;
}

flow flow_add(ad_tape *t, flow a, flow b, unsigned how) {
  if (!flow_connected(a)) return b;
  if (!flow_connected(b)) return a;
  ad_var sum;
  const bool plain = ad_is_none(a.mask) && ad_is_none(b.mask);
  if (plain && add_in_place(t, a.value, b.value, &sum)) return flow_of(sum);
  if (plain && add_in_place(t, b.value, a.value, &sum)) return flow_of(sum);
  if (how & FLOW_MASK) {
    a = mask_explicit(t, a);
    b = mask_explicit(t, b);
  }
  /* under one mask the sum is too; of two where one holds as the other does not, one is chosen */
  if (mask_same(a.mask, b.mask)) return (flow){ ad_add(a.value, b.value), a.mask, a.zeros && b.zeros };
  ad_var first, within;
  if (mask_is_choice(t, a.mask, b.mask, &first, &within))
    return (flow){ ad_select(first, a.value, b.value), within, false };
  ad_var va = flow_settle(a), vb = flow_settle(b);
  return (flow){ ad_add(va, vb), mask_either(a.mask, b.mask), true };
}

/* --- rows of the table ---------------------------------------------------------------------------- */

static bool is_elementwise(const ad_primitive *p) { return p->row || !p->type; }

/* Rule k of node i on g; the mask of g goes on. */
static flow apply_rule(ad_tape *t, uint32_t i, int k, flow g, unsigned how) {
  ad_var letter[LETTERS];
  int n;
  const rule *r = tape_rule(t, node_primitive_number(&t->node[i]), k);
  if (!r) return flow_of(handle_invalid(t));
  if (mask_is_addition(t, g.value) && (how & FLOW_MASK || mask_counts(t, i, k))) g = mask_explicit(t, g);
  const uint32_t *x = node_operands(t, i, &n);
  for (int l = 0; l < 3; l++) letter[l] = l < n ? handle(t, x[l]) : ad_none();
  letter[LETTER_Z] = handle(t, i);
  letter[LETTER_G] = g.value;
  letter[LETTER_A] = ad_none();
  flow f = tape_replay(t, r, letter, node_row_attribute(t, i));
  if (is_literal(f.value))
    f.value = ad_fail(t, AD_ERROR_DERIVATIVE, "%s: the rule for operand %d does not depend on g",
                      node_primitive(t, i)->name, k + 1);
  if (!flow_connected(f)) return f;
  f.zeros = g.zeros && ad_is_none(f.mask) && mask_keeps_zeros(t, i, k);
  f.mask = mask_both(g.mask, f.mask);
  return f;
}

static flow forward_elementwise(ad_tape *t, uint32_t i, const flow xdot[], unsigned how) {
  flow zdot = flow_none();
  int n;
  node_operands(t, i, &n);
  for (int k = 0; k < n; k++) {
    if (!flow_connected(xdot[k]) || !flow_passes(t, i, k)) continue;
    flow f = apply_rule(t, i, k, xdot[k], how);
    zdot = flow_add(t, zdot, f, how);
  }
  if (!flow_connected(zdot)) return zdot;
  zdot.value = mask_shaped(zdot.value, &node_type(t, i)->type);
  return zdot;
}

/* Does broadcasting `to` to `from` repeat along the last axis but one? No rows at all are not repeated: their
 * sum is 0 whatever the matrix. */
static bool repeats_rows(const ad_type *from, const ad_type *to) {
  const int rows = from->rank - 2, leading = from->rank - to->rank;
  if (rows < 0 || leading < 0 || from->dim[rows] < 2) return false;
  return rows < leading || to->dim[rows - leading] == 1;
}

/* The sum over the rows of a product of matrices, or of its negative, is the product of the sum over the
 * rows of its first factor: one row goes through the matrix for all. What rows have in common (the centre of
 * points that a matrix multiplies) has such a cotangent. The axis is kept; ad_none() where g is something
 * else. */
static ad_var sum_rows(ad_tape *t, ad_var g) {
  const ad_type *types[2];
  bool negative = false;
  int n = 0;
  if (is_literal(g) || !ad_is_valid(g)) return ad_none();
  uint32_t i = g.at.node.index;
  for (; node_primitive_number(&t->node[i]) == ROW_neg; i = *node_operands(t, i, &n)) negative = !negative;
  const uint32_t *x = node_is_leaf(t, i) ? NULL : node_operands(t, i, &n);
  if (!x || n != 2 || node_tuple(t, i) || !node_is_float(t, i)) return ad_none();
  const ad_var factors[2] = { handle(t, x[0]), handle(t, x[1]) };
  const ad_operation op = node_operation(t, i, types);
  const ad_var z = product_sum_rows(&op, factors);
  if (ad_is_none(z)) return z;
  return ad_expand(negative ? ad_neg(z) : z, -2);
}

/* The transpose of broadcasting `to` to `from`. */
static flow sum_flow(ad_tape *t, flow f, const ad_type *from, const ad_type *to, unsigned how) {
  const ad_var g = mask_shaped(flow_settle(f), from);
  const ad_var rows = repeats_rows(from, to) ? sum_rows(t, g) : ad_none();
  flow z = flow_of(sum_to_shape(ad_is_none(rows) ? g : rows, *to));
  if (ad_is_none(f.mask) || type_of(f.mask)->rank == 0) z.mask = f.mask;
  else if (how & FLOW_MASK) z.mask = mask_of_numbers(sum_to_shape(mask_as_numbers(f.mask, from), *to));
  return z;
}

static flow reverse_elementwise(ad_tape *t, uint32_t i, int k, flow zbar, unsigned how) {
  flow f = apply_rule(t, i, k, zbar, how);
  if (!flow_connected(f) || !ad_is_valid(f.value)) return f;
  int n;
  const ad_type *z = &node_type(t, i)->type, *x = &node_type(t, node_operands(t, i, &n)[k])->type;
  return same_shape(z, x) ? (flow){ mask_shaped(f.value, x), f.mask, f.zeros } : sum_flow(t, f, z, x, how);
}

/* --- rules of structured primitives --------------------------------------------------------------- */

/* What a rule of node i sees. operand and types have room for n entries each. */
static ad_rule rule_of(ad_tape *t, uint32_t i, ad_operation *op, const ad_type **types, ad_var x[]) {
  *op = node_operation(t, i, types);
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) x[k] = handle(t, operand[k]);
  return (ad_rule){ op, t, x, handle(t, i), ad_none(), ad_none(), { 0, 0 } };
}

/* Records a rule on r->g. */
typedef ad_var recorder(ad_rule *r, uint32_t i, int k);

static ad_var record_jvp(ad_rule *r, uint32_t i, int k) {
  (void)i;
  return r->op->primitive->jvp(r, k);
}

static ad_var record_vjp(ad_rule *r, uint32_t i, int k) {
  (void)i;
  return r->op->primitive->vjp(r, k);
}

/* A primitive that is linear in operand k: itself, on the tangent. */
static ad_var record_linear(ad_rule *r, uint32_t i, int k) {
  ad_var *x = (ad_var *)r->x, kept = x[k];
  x[k] = r->g;
  ad_var z = mask_record_again(r->tape, i, r->op->n, x);
  x[k] = kept;
  return z;
}

/* How a flow gets through an operand. transposed: by the rule of the other direction. record NULL: not at
 * all. */
typedef struct passage { recorder *record; bool reverse, transposed; } passage;

static passage forwards(const ad_primitive *p, int k) {
  if (p->jvp) return (passage){ record_jvp, false, false };
  if (mask_is_linear(p, k)) return (passage){ record_linear, false, false };
  return (passage){ p->vjp ? record_vjp : NULL, false, true };
}

static passage backwards(const ad_primitive *p) {
  if (p->vjp) return (passage){ record_vjp, true, false };
  return (passage){ p->jvp ? record_jvp : NULL, true, true };
}

static ad_var record_on(ad_rule *r, uint32_t i, int k, recorder *record, ad_var g) {
  r->g = g;
  r->connected = ad_none();
  return record(r, i, k);
}

/* A stand-in for a tangent or cotangent, to find out how a rule depends on it. */
static ad_var probe_of(ad_tape *t, const ad_type *type) {
  uint32_t i = t->tracing ? tape_placeholder(t, type) : tape_leaf(t, PRIMITIVE_INPUT, type, NULL);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

static flow broken(ad_tape *t) { return flow_of(handle_invalid(t)); }

/* g through what the rule records, node by node and under its mask: the rule is recorded on a stand-in. A
 * transposed rule is gone through the other way: it is the transpose that is wanted. */
static flow through_rule(ad_rule *r, uint32_t i, int k, flow g, passage p, unsigned how) {
  ad_tape *t = r->tape;
  const bool by_result = p.reverse != p.transposed;          /* the rule takes something of z's type */
  const ad_var probe = probe_of(t, by_result ? &r->op->z : r->op->x[k]);
  if (!ad_is_valid(probe)) return broken(t);
  const ad_var image = record_on(r, i, k, p.record, probe);
  if (ad_is_none(image)) return flow_none();
  if (!ad_is_valid(image) || !ad_is_valid(g.value)) return broken(t);
  const uint32_t from = probe.at.node.index, to = image.at.node.index;
  flow f;
  how |= FLOW_IN_RULE;
  if (p.transposed) {
    g.zeros &= ad_is_none(r->connected);
    g.mask = mask_both(g.mask, r->connected);
    return sweep_reverse(t, 1, &to, &g, 1, &from, &f, how) == AD_OK ? f : broken(t);
  }
  if (sweep_forward(t, 1, &from, &g, 1, &to, &f, how) != AD_OK) return broken(t);
  if (!flow_connected(f)) return f;
  f.zeros &= ad_is_none(r->connected);
  f.mask = mask_both(f.mask, r->connected);
  return f;
}

/* --- structured primitives ------------------------------------------------------------------------ */

enum { FEW = 8 };

/* A flow as the rules of p take it: zeros where it is not connected. weight is its mask in numbers, where the
 * rule itself, on the mask, says what is reached: where every weight is 1 or 0. */
typedef struct settled { flow flow; ad_var value, weight; } settled;

static settled settle(const ad_primitive *p, flow g, unsigned how) {
  settled s = { g, flow_settle(g), ad_none() };
  const bool counts = mask_is_array(g.mask) && how & FLOW_MASK;
  if (counts && p->traits & AD_TRAIT_UNIT_WEIGHTS) s.weight = mask_as_numbers(g.mask, type_of(g.value));
  return s;
}

/* The rule on settled values, and what of the result is connected when the elements under `mask` are. */
static flow apply_settled(ad_rule *r, uint32_t i, int k, const settled *g, recorder *record,
                          ad_var mask) {
  const ad_var value = record_on(r, i, k, record, g->value);
  return ad_is_none(value) ? flow_none() : (flow){ value, mask_both(mask, r->connected), false };
}

static flow apply_unit_weights(ad_rule *r, uint32_t i, int k, const settled *g, recorder *record) {
  const ad_var value = record_on(r, i, k, record, g->value);
  if (ad_is_none(value)) return flow_none();
  const ad_var reached = record_on(r, i, k, record, g->weight);
  return (flow){ value, mask_both(mask_of_numbers(reached), r->connected), false };
}

/* A flow through operand k of node i. */
static flow pass(ad_rule *r, uint32_t i, int k, const settled *g, passage p, unsigned how) {
  const bool linear = mask_is_linear(r->op->primitive, k);
  const bool asked = how & (r->op->primitive->traits & AD_TRAIT_UNIT_WEIGHTS ? FLOW_MASK : FLOW_POLE);
  const ad_var mask = g->flow.mask;
  if (!p.record)
    return flow_of(ad_fail(r->tape, AD_ERROR_DERIVATIVE, "%s: has no rule for its %s derivative",
                           r->op->primitive->name, p.reverse ? "reverse" : "forward"));
  if (p.transposed) return through_rule(r, i, k, g->flow, p, how);
  if (!mask_is_array(mask)) return apply_settled(r, i, k, g, p.record, mask);
  if (!asked && linear) return apply_settled(r, i, k, g, p.record, ad_none());
  if (!ad_is_none(g->weight)) return apply_unit_weights(r, i, k, g, p.record);
  if (linear && !p.reverse) return apply_settled(r, i, k, g, p.record, mask_reached(r->tape, i, k, mask));
  if (how & FLOW_IN_RULE && !linear) return apply_settled(r, i, k, g, p.record, mask_of_any(mask));
  return through_rule(r, i, k, g->flow, p, how);
}

/* The tangents of all operands are there, and connected everywhere. */
static bool is_everywhere(const ad_tape *t, uint32_t i, const flow xdot[]) {
  int n;
  node_operands(t, i, &n);
  for (int k = 0; k < n; k++) {
    if (!flow_passes(t, i, k)) continue;
    const flow f = xdot[k];
    if (!flow_connected(f) || !ad_is_none(f.mask) || mask_is_addition(t, f.value)) return false;
  }
  return true;
}

/* The elements that the flows reach; x has room for the operands. */
static ad_var reached_by_ones(ad_tape *t, uint32_t i, const flow xdot[], int n, ad_var x[]) {
  for (int k = 0; k < n; k++) {
    if (!flow_passes(t, i, k)) continue;
    const ad_type type = *type_of(x[k]);
    const flow f = mask_explicit(t, xdot[k]);
    if (!flow_connected(f)) x[k] = ad_zeros(t, type);
    else x[k] = ad_is_none(f.mask) ? ad_ones(t, type) : mask_as_numbers(f.mask, &type);
  }
  return mask_of_numbers(mask_record_again(t, i, n, x));
}

/* The same, one operand after the other. */
static ad_var reached_jointly(ad_tape *t, uint32_t i, const flow xdot[], int n) {
  bool any = false;
  ad_var reached = ad_none();
  for (int k = 0; k < n; k++) {
    if (!flow_connected(xdot[k]) || !flow_passes(t, i, k)) continue;
    const flow f = mask_explicit(t, xdot[k]);
    if (ad_is_none(f.mask)) return f.mask;
    const ad_var its = mask_reached(t, i, k, f.mask);
    reached = any ? mask_either(reached, its) : its;
    any = true;
  }
  return reached;
}

/* A primitive that is linear in all operands together: itself on the tangents. Operands without one count as
 * zeros, and as not connected. */
static flow forward_jointly(ad_tape *t, uint32_t i, const flow xdot[], ad_var x[], unsigned how) {
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) x[k] = handle(t, operand[k]);
  for (int k = 0; k < n; k++)
    if (flow_passes(t, i, k)) x[k] = flow_value(t, xdot[k], type_of(x[k]));
  flow z = flow_of(mask_record_again(t, i, n, x));
  if (n == 1 && flow_connected(xdot[0]) && !ad_is_none(xdot[0].mask) && !mask_is_array(xdot[0].mask))
    return (flow){ z.value, xdot[0].mask, false };
  const bool unit = node_primitive(t, i)->traits & AD_TRAIT_UNIT_WEIGHTS;
  if (!(how & (unit ? FLOW_MASK : FLOW_POLE)) || is_everywhere(t, i, xdot)) return z;
  z.mask = unit ? reached_by_ones(t, i, xdot, n, x) : reached_jointly(t, i, xdot, n);
  return z;
}

static flow forward_structured(ad_tape *t, uint32_t i, const flow xdot[], const ad_type **types, ad_var x[],
                               unsigned how) {
  int n;
  node_operands(t, i, &n);
  const ad_primitive *p = node_primitive(t, i);
  if (p->traits & AD_TRAIT_LINEAR && !p->jvp) return forward_jointly(t, i, xdot, x, how);
  ad_operation op;
  flow z = flow_none();
  ad_rule r = rule_of(t, i, &op, types, x);
  for (int k = 0; k < n; k++) {
    if (!flow_connected(xdot[k]) || !flow_passes(t, i, k)) continue;
    const unsigned asks = how & FLOW_MASK || mask_counts(t, i, k);
    const settled g = settle(p, asks ? mask_explicit(t, xdot[k]) : xdot[k], how);
    z = flow_add(t, z, pass(&r, i, k, &g, forwards(p, k), how), how);
  }
  return z;
}

static void reverse_structured(ad_tape *t, uint32_t i, flow zbar, const bool wanted[], flow xbar[],
                               const ad_type **types, ad_var x[], unsigned how) {
  ad_operation op;
  ad_rule r = rule_of(t, i, &op, types, x);
  bool asks = how & FLOW_MASK;
  for (int k = 0; k < op.n && !asks; k++) asks = wanted[k] && mask_counts(t, i, k);
  if (asks) zbar = mask_explicit(t, zbar);
  const settled g = settle(op.primitive, zbar, how);         /* once: a stack may have a million operands */
  for (int k = 0; k < op.n; k++)
    if (wanted[k]) xbar[k] = pass(&r, i, k, &g, backwards(op.primitive), how);
}

/* Room for operands and their types: on the stack for few, else from the tape's memory. */
typedef struct room {
  const ad_type *few_types[FEW], **types;
  ad_var few_x[FEW], *x;
  size_t bytes;
} room;

static bool make_room(ad_tape *t, room *r, int n) {
  r->types = r->few_types;
  r->x = r->few_x;
  r->bytes = n > FEW ? (size_t)n*(sizeof *r->x + sizeof *r->types) : 0;
  if (!r->bytes) return true;
  r->x = memory_get(&t->allocator, r->bytes);
  if (!r->x) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  else r->types = (const ad_type **)(r->x + n);
  return r->x != NULL;
}

static void leave_room(ad_tape *t, room *r) {
  if (r->bytes) memory_release(&t->allocator, r->x, r->bytes);
}

flow flow_forward(ad_tape *t, uint32_t i, const flow xdot[], unsigned how) {
  if (is_elementwise(node_primitive(t, i))) return forward_elementwise(t, i, xdot, how);
  room r;
  int n;
  node_operands(t, i, &n);
  if (!make_room(t, &r, n)) return broken(t);
  flow z = forward_structured(t, i, xdot, r.types, r.x, how);
  leave_room(t, &r);
  return z;
}

void flow_reverse(ad_tape *t, uint32_t i, flow zbar, const bool wanted[], flow xbar[], unsigned how) {
  room r;
  int n;
  node_operands(t, i, &n);
  if (is_elementwise(node_primitive(t, i))) {
    for (int k = 0; k < n; k++) xbar[k] = wanted[k] ? reverse_elementwise(t, i, k, zbar, how) : flow_none();
    return;
  }
  for (int k = 0; k < n; k++) xbar[k] = flow_none();
  if (!make_room(t, &r, n)) return;
  reverse_structured(t, i, zbar, wanted, xbar, r.types, r.x, how);
  leave_room(t, &r);
}
