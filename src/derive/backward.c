/* backward.c -- the numeric reverse sweep: adjoints as numbers, nothing recorded.
 *
 * Scalars run through one loop down the tape; the partials are the rules of the table, compiled. "Not
 * connected" is the number -0.0, which sums of connected contributions never are (each is normalised by +
 * 0.0), so one comparison tells whether a node has an adjoint at all, and a zero adjoint that is connected
 * still makes nan with an infinite partial.
 *
 * A tape with arrays on the path is differentiated by the recording sweep on its own tail, which is evaluated
 * (fused, like any program) and forgotten again. The adjoints of inputs are kept; others are computed when
 * asked for.
 */
#include "derive/flow.h"
#include "adit/arrays.h"
#include "primitives/library.h"

#include <math.h>
#include <string.h>

#define C(k) ((double)k)
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#include "primitives/row_names.h"
#include "primitives/scalar_tanh.h"

static inline bool is_minus_zero(double v) {
  int64_t bits, less;
  memcpy(&bits, &v, sizeof bits);
  return __builtin_sub_overflow(bits, 1, &less);
}

/* Most adjoints are no zeros, which one comparison tells without leaving the floating-point registers. */
static inline bool is_connected(double adjoint) {
  return __builtin_expect(islessgreater(adjoint, 0), 1) || !is_minus_zero(adjoint);
}

static inline double node_double(const ad_tape *t, uint32_t i) {
  const scalar v = t->value[i];
  switch (node_type(t, i)->type.dtype) {
    case AD_F64: return v.f64;
    case AD_F32: return v.f32;
    case AD_I64: return (double)v.i64;
    case AD_I32: return v.i32;
    default:     return v.boolean;
  }
}

/* --- one node, any way ---------------------------------------------------------------------------- */

/* Other float scalars: the same rules through the table. */
static void send_any(const ad_tape *t, uint32_t i, double g, double *adjoint) {
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  double v[3] = { 0, 0, 0 }, d[3];
  for (int k = 0; k < n; k++) v[k] = node_double(t, x[k]);
  elementwise_rows[node_primitive_number(&t->node[i])].propagate(
      d, v[0], v[1], v[2], node_double(t, i), g, node_row_attribute(t, i));
  for (int k = 0; k < n; k++) adjoint[x[k]] += d[k];
}

/* False when the node is beyond this sweep: an array, or a primitive that is no row. */
static bool send_other(const ad_tape *t, uint32_t i, double g, double *adjoint) {
  const ad_primitive *p = node_primitive(t, i);
  if (node_is_leaf(t, i)) return node_type(t, i)->type.rank == 0;
  if (node_type(t, i)->type.rank || (!p->row && p != &cast_primitive)) return false;
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  for (int k = 0; k < n; k++)
    if (node_type(t, x[k])->type.rank) return false;
  if (p->row) send_any(t, i, g, adjoint);
  else if (node_is_float(t, x[0])) adjoint[x[0]] += g;
  return true;
}

/* --- the sweep over scalars ----------------------------------------------------------------------- */

static ad_status open_adjoints(ad_tape *t, uint32_t y) {
  size_t n = (size_t)y + 1;
  tape_drop_adjoints(t);
  if (!memory_reserve(&t->allocator, &t->adjoint, &t->adjoint_capacity, n, sizeof *t->adjoint))
    return tape_fail(t, AD_ERROR_MEMORY, "backward: out of memory");
  for (size_t i = 0; i < n; i++) t->adjoint[i] = -0.0;
  t->adjoints = n;
  return AD_OK;
}

/* Operands are reached before the sweep comes to them, which the processor's own prefetching does not
 * foresee: on tapes beyond the caches, 64 interleaved chains take four times as long without this. */
enum { SWEEP_AHEAD = 2048, SWEEP_BLOCK = 8 };

/* Asks for a block of nodes, values and adjoints, from i on. */
static inline void ask_for(const ad_tape *t, uint32_t i) {
  const tape_node *node = t->node;
  const char *line = (const char *)&node[i];
  __builtin_prefetch(&t->adjoint[i], 1, 2);
  __builtin_prefetch(&t->value[i], 0, 2);
  for (size_t k = 0; k < SWEEP_BLOCK*sizeof *node; k += 64) __builtin_prefetch(line + k, 0, 2);
}

/* The sweep is as fast as the processor gets through its instructions. So each row ends in a jump of its own
 * to the next one's (an extension that gcc and clang share): a tenth less time than a loop around a switch.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

/* Primitive and type at once: below ROW_COUNT for rows of type 0, the f64 scalar; leaves are right after. */
#define KIND_OF(e) ((e)->head & (0xFFFF0000u | NODE_PRIMITIVE))
/* Goes on to node e, the one above node `below`. `next` is the adjoint of node `below`, which is so often an
 * operand: it stays in a register. */
#define VISIT { \
    g = *adjoint_of_e = next; \
    next = adjoint_of_e[-1]; \
    if (!is_connected(g)) goto leave; \
    if (KIND_OF(e) > PRIMITIVE_CONSTANT) goto other; \
    goto *row[KIND_OF(e)]; \
  }
#define LEAVE { \
    if (below == stop) goto block; \
    below--, e--, adjoint_of_e--; \
    VISIT \
  }

/* A contribution of -0.0 must not leave "not connected" as it is: somewhere 0.0 is added, where the chain of
 * arithmetic does not wait for it. g itself is connected already. */
#define NONE (none = true, 0.0)
#define SEND(to, rule) { \
    bool none = false; \
    const double c = (double)(rule); \
    if (none) { } \
    else if ((to) == below) next = (next + 0.0) + c; \
    else adjoint[to] += sizeof #rule == sizeof "g" ? c : c + 0.0; \
  }
/* The rule by an exponent may cost a logarithm; constants, which are common there, do not ask for it. */
#define SEND_UNLESS_CONSTANT(kind, to, rule) \
  if (CLASS_##kind != CLASS_FLOAT || node_primitive_number(&node[to]) != PRIMITIVE_CONSTANT) SEND(to, rule)

/* False when an array is on the way. */
static bool sweep_scalars(ad_tape *t, uint32_t top) {
  static const void *const row[] = {
#define UNARY(id, ...)           [ROW_##id] = &&at_##id,
#define UNARY_ATTRIBUTE(id, ...) [ROW_##id] = &&at_##id,
#define BINARY(id, ...)          [ROW_##id] = &&at_##id,
#define TERNARY(id, ...)         [ROW_##id] = &&at_##id,
#include "primitives/elementwise.def"
    [PRIMITIVE_INPUT] = &&leave, [PRIMITIVE_CONSTANT] = &&leave
  };
  const tape_node *node = t->node, *e = &node[top];
  const scalar *value = t->value;
  double *adjoint = t->adjoint, *adjoint_of_e = &adjoint[top];
  double g, next = 1;
  for (uint32_t below = top - 1, stop; e > node; below--, e--, adjoint_of_e--) {
    stop = below/SWEEP_BLOCK*SWEEP_BLOCK;
    if (stop >= SWEEP_AHEAD) ask_for(t, stop - SWEEP_AHEAD);
    VISIT
#define UNARY(id, kind, traits, lo, hi, expression, rx, doc) \
  at_##id: { \
    const double z = value[below + 1].f64, x = value[e->x].f64; \
    (void)z, (void)x; \
    SEND(e->x, rx) LEAVE \
  }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, rx, doc) \
  at_##id: { \
    const double z = value[below + 1].f64, x = value[e->x].f64, a = node_row_attribute(t, below + 1); \
    (void)z, (void)x, (void)a; \
    SEND(e->x, rx) LEAVE \
  }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, rx, ry, doc) \
  at_##id: { \
    const uint32_t ix = e->x, iy = e->y; \
    const double z = value[below + 1].f64, x = value[ix].f64, y = value[iy].f64; \
    (void)z, (void)x, (void)y; \
    SEND_UNLESS_CONSTANT(kind, ix, rx) SEND_UNLESS_CONSTANT(kind, iy, ry) LEAVE \
  }
/* select's condition is bool. */
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, rx, ry, rw, doc) \
  at_##id: { \
    const uint32_t *at = (const uint32_t *)(arena_at(&t->arena, e->x) + 1); \
    const double x = CLASS_##kind == CLASS_CHOICE ? value[at[0]].boolean : value[at[0]].f64; \
    const double z = value[below + 1].f64, y = value[at[1]].f64, w = value[at[2]].f64; \
    (void)z, (void)x, (void)y, (void)w; \
    if (CLASS_##kind != CLASS_CHOICE) SEND(at[0], rx) \
    SEND(at[1], ry) SEND(at[2], rw) LEAVE \
  }
#include "primitives/elementwise.def"
  other:
    if (!send_other(t, below + 1, g, adjoint)) return false;
    next = adjoint_of_e[-1];
  leave: LEAVE
  block:;
  }
  adjoint[0] = next;
  return !is_connected(next) || send_other(t, 0, next, adjoint);
}
#pragma GCC diagnostic pop

/* --- arrays --------------------------------------------------------------------------------------- */

/* Lists for n nodes, in one block. */
typedef struct targets {
  flow *xbar;
  uint32_t *node, *x;
  void **out;
  size_t bytes;
} targets;

static bool open_targets(ad_tape *t, targets *l, size_t n) {
  l->bytes = n*(sizeof *l->xbar + sizeof *l->out + sizeof *l->node + sizeof *l->x) + 1;
  l->xbar = memory_get_zeroed(&t->allocator, l->bytes, 1);
  if (!l->xbar) {
    tape_fail(t, AD_ERROR_MEMORY, "backward: out of memory");
    return false;
  }
  l->out = (void **)(l->xbar + n);
  l->node = (uint32_t *)(l->out + n);
  l->x = l->node + n;
  return true;
}

/* Records the adjoints of l->x[0..n) at the tail of the tape, evaluates them together, and copies them out.
 */
static ad_status record_and_evaluate(ad_tape *t, uint32_t y, int n, const targets *l) {
  const flow seed = flow_of(ad_ones(t, node_type(t, y)->type));
  ad_status status = t->status;
  if (ad_is_valid(seed.value)) status = sweep_reverse(t, 1, &y, &seed, n, l->x, l->xbar, 0);
  for (int i = 0; i < n && status == AD_OK; i++) {
    ad_type type = node_type(t, l->x[i])->type;
    ad_var v = flow_value(t, l->xbar[i], &type);
    if (ad_is_valid(v)) l->node[i] = v.at.node.index;
    else status = t->status;
  }
  if (status == AD_OK) status = tape_evaluate(t, n, l->node);
  for (int i = 0; i < n && status == AD_OK; i++)
    if (node_type(t, l->x[i])->bytes)
      memcpy(l->out[i], node_data(t, l->node[i]), node_type(t, l->x[i])->bytes);
  return status;
}

static ad_status evaluate_adjoints(ad_tape *t, uint32_t y, int n, const targets *l) {
  const ad_mark m = ad_tape_mark(t);
  ad_status status = record_and_evaluate(t, y, n, l);
  tape_truncate(t, m);
  return status;
}

static bool wants_adjoint(const ad_tape *t, uint32_t i) {
  return node_primitive_number(&t->node[i]) == PRIMITIVE_INPUT && node_is_float(t, i);
}

static ad_status keep_input_adjoints(ad_tape *t, uint32_t y) {
  size_t inputs = 0, kept = 0;
  targets l;
  for (uint32_t i = 0; i <= y; i++) inputs += wants_adjoint(t, i);
  if (!open_targets(t, &l, inputs)) return AD_ERROR_MEMORY;
  t->array_adjoint = memory_get_zeroed(&t->allocator, (size_t)y + 1, sizeof *t->array_adjoint);
  t->array_adjoints = t->array_adjoint ? (size_t)y + 1 : 0;
  ad_status status = t->array_adjoint ? AD_OK : tape_fail(t, AD_ERROR_MEMORY, "backward: out of memory");
  for (uint32_t i = 0; i <= y && status == AD_OK; i++) {
    if (!wants_adjoint(t, i)) continue;
    size_t bytes = node_type(t, i)->bytes;
    l.x[kept] = i;
    l.out[kept] = t->array_adjoint[i] = memory_get(&t->allocator, bytes);
    if (bytes && !l.out[kept++]) status = tape_fail(t, AD_ERROR_MEMORY, "backward: out of memory");
  }
  if (status == AD_OK) status = evaluate_adjoints(t, y, (int)kept, &l);
  memory_release(&t->allocator, l.xbar, l.bytes);
  return status;
}

/* An inner node's adjoint, computed now. */
static ad_status adjoint_on_demand(ad_tape *t, uint32_t i, void *out) {
  targets l;
  if (!open_targets(t, &l, 1)) return AD_ERROR_MEMORY;
  l.x[0] = i;
  l.out[0] = out;
  ad_status status = evaluate_adjoints(t, (uint32_t)t->adjoints - 1, 1, &l);
  memory_release(&t->allocator, l.xbar, l.bytes);
  return status;
}

/* --- the calls ------------------------------------------------------------------------------------ */

ad_status ad_backward(ad_var y) {
  ad_tape *t = handle_check(y, "backward");
  if (!t) return is_literal(y) ? AD_ERROR_ARGUMENT : AD_ERROR_HANDLE;
  uint32_t i = y.at.node.index;
  if (t->tracing)
    return tape_fail(t, AD_ERROR_NO_VALUE, "backward: %s", ad_status_sentence(AD_ERROR_NO_VALUE));
  if (!node_is_float(t, i)) return tape_fail(t, AD_ERROR_DTYPE, "backward: a %s variable has no derivative",
                                             ad_dtype_name(node_type(t, i)->type.dtype));
  ad_status status = tape_settle(t);
  if (status == AD_OK && !node_known(&t->node[i])) status = tape_evaluate(t, 1, &i);
  if (status == AD_OK) status = open_adjoints(t, i);
  if (status != AD_OK || (node_type(t, i)->type.rank == 0 && sweep_scalars(t, i))) return status;
  t->adjoints_on_demand = true;
  status = keep_input_adjoints(t, i);
  if (status != AD_OK) tape_drop_adjoints(t);
  return status;
}

static void store(ad_dtype dtype, double value, void *out) {
  kernels_best()->cast[AD_F64][dtype](1, out, &value, NULL, NULL, 0);
}

static ad_status read_adjoint(ad_tape *t, uint32_t i, void *out) {
  const tape_type *type = node_type(t, i);
  if (i >= t->adjoints)
    return tape_fail(t, AD_ERROR_ARGUMENT,
                     t->adjoints ? "adjoint: the variable was recorded after the last ad_backward"
                                 : "adjoint: there was no ad_backward");
  if (!t->adjoints_on_demand) {
    if (type->type.rank || type->type.dtype < AD_F32) memset(out, 0, type->bytes);
    else store(type->type.dtype, t->adjoint[i] + 0.0, out);
    return AD_OK;
  }
  if (type->type.dtype < AD_F32) memset(out, 0, type->bytes);
  else if (t->array_adjoint[i]) memcpy(out, t->array_adjoint[i], type->bytes);
  else return adjoint_on_demand(t, i, out);
  return AD_OK;
}

double ad_adjoint(ad_var x) {
  if (is_literal(x)) return 0;
  ad_tape *t = handle_check(x, "adjoint");
  if (!t) return NAN;
  const uint32_t i = x.at.node.index;
  const bool there = i < t->adjoints && !t->adjoints_on_demand;
  if (there && node_type_number(&t->node[i]) == 0) return t->adjoint[i] + 0.0;
  const tape_type *type = node_type(t, i);
  if (type->type.rank) {
    tape_fail(t, AD_ERROR_SHAPE, "adjoint: the variable is an array; ad_read_adjoint reads arrays");
    return NAN;
  }
  scalar v = { .i64 = 0 };
  if (read_adjoint(t, i, &v) != AD_OK) return NAN;
  return type->type.dtype == AD_F32 ? (double)v.f32 : type->type.dtype == AD_F64 ? v.f64 : 0;
}

ad_status ad_read_adjoint(ad_var x, void *out) {
  ad_tape *t = handle_check(x, "read_adjoint");
  if (!t) return is_literal(x) ? AD_ERROR_ARGUMENT : AD_ERROR_HANDLE;
  if (!out) return tape_fail(t, AD_ERROR_ARGUMENT, "read_adjoint: nowhere to write");
  return read_adjoint(t, x.at.node.index, out);
}
