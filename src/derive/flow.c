/* flow.c -- one node's derivative, recorded: rows by their text, structured primitives by their rules. */
#include "derive/flow.h"
#include "adit/arrays.h"
#include "primitives/axes.h"
#include "primitives/construct.h"
#include "primitives/library.h"

bool flow_passes(const ad_tape *t, uint32_t i, int k) {
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  if (!node_is_float(t, i) || !node_is_float(t, x[k])) return false;
  unsigned never = node_primitive(t, i)->not_connected;
  return k >= 32 || !(never >> k & 1);
}

/* --- masks ---------------------------------------------------------------------------------------- */

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

static ad_var shaped_like(ad_var v, const ad_type *type) {
  if (!ad_is_valid(v) || same_shape(type_of(v), type)) return v;
  return ad_broadcast_to(v, type->rank, type->dim);
}

static ad_var both(ad_var m, ad_var n) {
  if (ad_is_none(m)) return n;
  return ad_is_none(n) ? m : ad_logical_and(m, n);
}

static ad_var positive(ad_var weight) { return ad_greater(weight, 0); }

/* A slice_add or scatter_add into zeros: where nothing was added, there is no connection. */
static bool adds_into(const ad_tape *t, ad_var v) {
  return ad_is_valid(v) && (node_primitive(t, v.at.node.index)->traits & AD_TRAIT_ADDS_INTO);
}

static ad_var operand_var(ad_tape *t, uint32_t i, int k) {
  int n;
  return handle(t, node_operands(t, i, &n)[k]);
}

/* The base of a chain of additions into one buffer. */
static ad_var chain_base(ad_tape *t, ad_var v) {
  while (adds_into(t, v)) v = operand_var(t, v.at.node.index, 0);
  return v;
}

static ad_var ones_of(ad_tape *t, ad_type type, ad_dtype dtype) {
  type.dtype = dtype;
  return ad_ones(t, type);
}

/* Records node i again on other operands. */
static ad_var record_again(ad_tape *t, uint32_t i, int n, const ad_var x[]) {
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
  for (int k = 1; k < n && k < 3; k++)
    if (flow_passes(t, i, k)) x[k] = ones_of(t, *type_of(x[k]), type_of(base)->dtype);
  return record_again(t, i, n, x);
}

/* Replays the chain of additions that ends in v, oldest first, on ones. Chains hang together by operand 0, so
 * they are walked into a list first. */
static ad_var chain_mask(ad_tape *t, ad_var v) {
  size_t length = 0;
  for (ad_var c = v; adds_into(t, c); c = operand_var(t, c.at.node.index, 0)) length++;
  uint32_t *node = memory_get(&t->allocator, length*sizeof *node);
  if (!node) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
  ad_var c = v;
  for (size_t k = length; k-- > 0; c = operand_var(t, c.at.node.index, 0)) node[k] = c.at.node.index;
  ad_var count = ad_zeros(t, *type_of(v));
  for (size_t k = 0; k < length; k++) count = count_added(t, node[k], count);
  memory_release(&t->allocator, node, length*sizeof *node);
  return positive(count);
}

/* A flow whose structural zeros are only implied by how its value was put together, with its mask made
 * explicit. */
static flow with_mask(ad_tape *t, flow f) {
  if (!ad_is_none(f.mask) || !adds_into(t, f.value)) return f;
  if (is_zeros(chain_base(t, f.value))) f.mask = chain_mask(t, f.value);
  return f;
}

ad_var flow_value(ad_tape *t, flow f, const ad_type *type) {
  if (!flow_connected(f)) return ad_zeros(t, *type);
  return shaped_like(flow_settle(f), type);
}

/* --- sums ----------------------------------------------------------------------------------------- */

/* b is something placed into zeros: place it into a instead, so that n elements of one array cost n
 * additions. */
static bool add_in_place(ad_tape *t, ad_var a, ad_var b, ad_var *sum) {
  if (!adds_into(t, b)) return false;
  uint32_t i = b.at.node.index;
  if (!is_zeros(operand_var(t, i, 0))) return false;
  ad_var x[4];
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  if (n > 4) return false;
  for (int k = 0; k < n; k++) x[k] = handle(t, operand[k]);
  x[0] = a;
  *sum = record_again(t, i, n, x);
  return true;
}

flow flow_add(ad_tape *t, flow a, flow b) {
  if (!flow_connected(a)) return b;
  if (!flow_connected(b)) return a;
  ad_var sum;
  bool plain = ad_is_none(a.mask) && ad_is_none(b.mask);
  if (plain && add_in_place(t, a.value, b.value, &sum)) return flow_of(sum);
  if (plain && add_in_place(t, b.value, a.value, &sum)) return flow_of(sum);
  if (plain) return flow_of(ad_add(a.value, b.value));
  ad_var va = flow_settle(a), vb = flow_settle(b);
  ad_var mask = ad_is_none(a.mask) || ad_is_none(b.mask) ? ad_none() : ad_logical_or(a.mask, b.mask);
  return (flow){ ad_add(va, vb), mask };
}

/* --- rows of the table ---------------------------------------------------------------------------- */

static bool is_elementwise(const ad_primitive *p) { return p->row || !p->type; }

/* Rule k of node i on g; the mask of g goes on. Rules that read nothing but g (sums, differences) cannot make
 * 0*inf: they need no mask for what is merely implied. */
static flow apply_rule(ad_tape *t, uint32_t i, int k, flow g) {
  ad_var letter[LETTERS];
  int n;
  const rule *r = tape_rule(t, node_primitive_number(&t->node[i]), k);
  if (!r) return flow_of(handle_invalid(t));
  const uint32_t *x = node_operands(t, i, &n);
  for (int l = 0; l < 3; l++) letter[l] = l < n ? handle(t, x[l]) : ad_none();
  if (r->letters & ~(1u << LETTER_G)) g = with_mask(t, g);
  letter[LETTER_Z] = handle(t, i);
  letter[LETTER_G] = g.value;
  letter[LETTER_A] = ad_none();
  flow f = tape_replay(t, r, letter, node_row_attribute(t, i));
  if (is_literal(f.value))
    f.value = ad_fail(t, AD_ERROR_DERIVATIVE, "%s: the rule for operand %d does not depend on g",
                      node_primitive(t, i)->name, k + 1);
  if (flow_connected(f)) f.mask = both(g.mask, f.mask);
  return f;
}

static flow forward_elementwise(ad_tape *t, uint32_t i, const flow xdot[]) {
  flow zdot = flow_none();
  int n;
  node_operands(t, i, &n);
  for (int k = 0; k < n; k++) {
    if (!flow_connected(xdot[k]) || !flow_passes(t, i, k)) continue;
    flow f = apply_rule(t, i, k, xdot[k]);
    zdot = flow_add(t, zdot, f);
  }
  if (!flow_connected(zdot)) return zdot;
  const ad_type *type = &node_type(t, i)->type;
  zdot.value = shaped_like(zdot.value, type);
  return zdot;
}

static flow sum_flow(ad_tape *t, flow f, const ad_type *from, const ad_type *to) {
  flow z = flow_of(sum_to_shape(shaped_like(flow_settle(f), from), *to));
  if (ad_is_none(f.mask)) return z;
  ad_var weight = ad_cast(shaped_like(f.mask, from), to->dtype);
  z.mask = positive(sum_to_shape(weight, *to));
  (void)t;
  return z;
}

static flow reverse_elementwise(ad_tape *t, uint32_t i, int k, flow zbar) {
  flow f = apply_rule(t, i, k, zbar);
  if (!flow_connected(f) || !ad_is_valid(f.value)) return f;
  const ad_type *z = &node_type(t, i)->type, *x = type_of(operand_var(t, i, k));
  return same_shape(z, x) ? (flow){ shaped_like(f.value, x), f.mask } : sum_flow(t, f, z, x);
}

/* --- structured primitives ------------------------------------------------------------------------ */

enum { FEW = 8 };

/* What a rule of node i sees. operand and types have room for n entries each. */
static ad_rule rule_of(ad_tape *t, uint32_t i, ad_operation *op, const ad_type **types, ad_var x[]) {
  *op = node_operation(t, i, types);
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) x[k] = handle(t, operand[k]);
  return (ad_rule){ op, t, x, handle(t, i), ad_none(), ad_none(), { 0, 0 } };
}

static bool is_linear_in(const ad_primitive *p, int k) {
  return (p->traits & AD_TRAIT_LINEAR) || (k < 32 && (p->linear_in >> k & 1));
}

static ad_var reject(ad_tape *t, const ad_primitive *p, const char *mode) {
  return ad_fail(t, AD_ERROR_DERIVATIVE, "%s: has no rule for its %s derivative", p->name, mode);
}

/* The transpose of the linear map probe -> image, both nodes, on the cotangent: an ordinary reverse sweep. */
static ad_var transpose(ad_tape *t, ad_var probe, ad_var image, ad_var cotangent) {
  if (ad_is_none(image)) return image;
  if (!ad_is_valid(image) || !ad_is_valid(cotangent)) return handle_invalid(t);
  const uint32_t y = image.at.node.index, x = probe.at.node.index;
  const flow seed = flow_of(cotangent);
  flow out;
  if (sweep_reverse(t, 1, &y, &seed, 1, &x, &out) != AD_OK) return handle_invalid(t);
  return flow_connected(out) ? flow_settle(out) : out.value;
}

/* A stand-in for a tangent or cotangent, to find out how a rule depends on it. */
static ad_var probe_of(ad_tape *t, const ad_type *type) {
  uint32_t i = t->tracing ? tape_placeholder(t, type) : tape_leaf(t, PRIMITIVE_INPUT, type, NULL);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

static ad_var forward_rule(ad_rule *r, uint32_t i, int k) {
  const ad_primitive *p = r->op->primitive;
  if (p->jvp) return p->jvp(r, k);
  if (is_linear_in(p, k)) {
    ad_var *x = (ad_var *)r->x, kept = x[k];
    x[k] = r->g;
    ad_var z = record_again(r->tape, i, r->op->n, x);
    x[k] = kept;
    return z;
  }
  if (!p->vjp) return reject(r->tape, p, "forward");
  ad_var tangent = r->g, probe = probe_of(r->tape, &r->op->z);
  if (!ad_is_valid(probe)) return probe;
  r->g = probe;
  ad_var image = p->vjp(r, k);
  r->g = tangent;
  r->connected = ad_none();
  return transpose(r->tape, probe, image, tangent);
}

static ad_var reverse_rule(ad_rule *r, uint32_t i, int k) {
  const ad_primitive *p = r->op->primitive;
  if (p->vjp) return p->vjp(r, k);
  if (!p->jvp) return reject(r->tape, p, "reverse");
  ad_var cotangent = r->g, probe = probe_of(r->tape, r->op->x[k]);
  if (!ad_is_valid(probe)) return probe;
  (void)i;
  r->g = probe;
  ad_var image = p->jvp(r, k);
  r->g = cotangent;
  r->connected = ad_none();
  return transpose(r->tape, probe, image, cotangent);
}

typedef ad_var rule_function(ad_rule *r, uint32_t i, int k);

/* A flow as the rules of p take it: zeros where it is not connected, and its mask as numbers where p can
 * carry it on. */
typedef struct settled { ad_var value, mask, weight; } settled;

static settled settle(const ad_primitive *p, flow g) {
  settled s = { flow_settle(g), g.mask, ad_none() };
  if (ad_is_none(g.mask) || !ad_is_valid(g.mask) || type_of(g.mask)->rank == 0) return s;
  if (!(p->traits & (AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_POSITIVE_WEIGHTS))) return s;
  const ad_type *type = type_of(g.value);
  s.weight = ad_cast(shaped_like(g.mask, type), type->dtype);
  return s;
}

/* Applies a rule to g under its mask. A mask of one element goes on as it is; where every weight is 1 (or 0)
 * the rule itself, on the mask as numbers, says what is reached. */
static flow structured(ad_rule *r, uint32_t i, int k, settled g, rule_function *apply) {
  r->g = g.value;
  r->connected = ad_none();
  ad_var value = apply(r, i, k);
  flow f = { value, r->connected };
  if (ad_is_none(value) || ad_is_none(g.mask) || !ad_is_valid(g.mask)) return f;
  if (type_of(g.mask)->rank == 0) return (flow){ value, both(g.mask, f.mask) };
  if (ad_is_none(g.weight)) return f;
  r->g = g.weight;
  r->connected = ad_none();
  ad_var reached = positive(apply(r, i, k));
  f.mask = both(reached, r->connected);
  return f;
}

/* A primitive that is linear in all operands together: itself on the tangents. Operands without one count as
 * zeros, and as not connected where that can be told. */
static flow forward_jointly(ad_tape *t, uint32_t i, const flow xdot[], ad_var x[]) {
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  bool masked = false;
  for (int k = 0; k < n; k++) {
    x[k] = handle(t, operand[k]);
    if (flow_passes(t, i, k)) masked |= !flow_connected(xdot[k]) || !ad_is_none(xdot[k].mask);
  }
  for (int k = 0; k < n; k++)
    if (flow_passes(t, i, k)) x[k] = flow_value(t, xdot[k], type_of(x[k]));
  flow z = flow_of(record_again(t, i, n, x));
  if (!masked || !(node_primitive(t, i)->traits & AD_TRAIT_UNIT_WEIGHTS)) return z;
  for (int k = 0; k < n; k++) {
    if (!flow_passes(t, i, k)) continue;
    ad_type type = *type_of(x[k]);
    if (!flow_connected(xdot[k])) x[k] = ad_zeros(t, type);
    else if (ad_is_none(xdot[k].mask)) x[k] = ad_ones(t, type);
    else x[k] = ad_cast(shaped_like(xdot[k].mask, &type), type.dtype);
  }
  z.mask = positive(record_again(t, i, n, x));
  return z;
}

static flow forward_structured(ad_tape *t, uint32_t i, const flow xdot[], const ad_type **types, ad_var x[]) {
  int n;
  node_operands(t, i, &n);
  if (node_primitive(t, i)->traits & AD_TRAIT_LINEAR && !node_primitive(t, i)->jvp)
    return forward_jointly(t, i, xdot, x);
  ad_operation op;
  flow z = flow_none();
  ad_rule r = rule_of(t, i, &op, types, x);
  for (int k = 0; k < n; k++)
    if (flow_connected(xdot[k]) && flow_passes(t, i, k))
      z = flow_add(t, z, structured(&r, i, k, settle(op.primitive, xdot[k]), forward_rule));
  return z;
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

flow flow_forward(ad_tape *t, uint32_t i, const flow xdot[]) {
  if (is_elementwise(node_primitive(t, i))) return forward_elementwise(t, i, xdot);
  room r;
  int n;
  node_operands(t, i, &n);
  if (!make_room(t, &r, n)) return flow_of(handle_invalid(t));
  flow z = forward_structured(t, i, xdot, r.types, r.x);
  leave_room(t, &r);
  return z;
}

void flow_reverse(ad_tape *t, uint32_t i, flow zbar, const bool wanted[], flow xbar[]) {
  room r;
  int n;
  node_operands(t, i, &n);
  if (is_elementwise(node_primitive(t, i))) {
    for (int k = 0; k < n; k++) xbar[k] = wanted[k] ? reverse_elementwise(t, i, k, zbar) : flow_none();
    return;
  }
  for (int k = 0; k < n; k++) xbar[k] = flow_none();
  if (!make_room(t, &r, n)) return;
  ad_operation op;
  ad_rule seen = rule_of(t, i, &op, r.types, r.x);
  if (op.primitive->traits & AD_TRAIT_UNIT_WEIGHTS) zbar = with_mask(t, zbar);
  const settled g = settle(op.primitive, zbar);              /* once: a stack may have a million operands */
  for (int k = 0; k < n; k++)
    if (wanted[k]) xbar[k] = structured(&seen, i, k, g, reverse_rule);
  leave_room(t, &r);
}
