/* batch.c -- a function on n instances at once: its operations, one after the other, on operands with a
 * leading axis for the instances.
 *
 * A node none of whose operands is batched stays a single value. The others are recorded by one of three
 * rules:
 *   elementwise   on operands aligned so that broadcasting pairs instance with instance
 *   structured    by the primitive's own batch rule
 *   `each`        a primitive of this file that runs another one once for every instance
 *
 * Or the axis is the last one, which is what columns of a Jacobian are made of: z[.., c] from x[.., c], such
 * as the tangents of n directions, lie side by side for loops over c, and products and sums of the other
 * axes stay what they are. Operations without a rule for that are batched as above, between two
 * transpositions. */
#include "function/batch.h"
#include "function/batch_carrier.h"
#include "adit/arrays.h"
#include "primitives/batching.h"
#include "primitives/library.h"
#include "primitives/matmul.h"
#include "primitives/work.h"
#include "tape/tuple.h"

#include <string.h>

/* --- each: a primitive on every instance by itself ------------------------------------------------------ */

/* The attribute: this head, the inner attribute, and one byte for each operand: is it batched? */
typedef struct each_head {
  const ad_primitive *inner;
  int64_t n;
  uint64_t size;                    /* of the inner attribute */
  uint64_t scratch;                 /* bytes that the inner operation asks for */
  ad_type z;                        /* of one instance */
} each_head;

enum { ALIGNED = 64 };
#define ROUND(bytes, to) (((bytes) + (to) - 1)/(to)*(to))
#define HEAD_BYTES ROUND(sizeof(each_head), 16)

static const void *each_inner_attribute(const each_head *a) {
  return a->size ? (const char *)a + HEAD_BYTES : NULL;
}
static const uint8_t *each_flags(const each_head *a) { return (const uint8_t *)a + HEAD_BYTES + a->size; }

/* One instance of x. */
static ad_type instance_type(const ad_type *x, bool batched) {
  return batched ? ad_type_make(x->dtype, x->rank - 1, x->dim + 1) : *x;
}

/* The type of an instance was found by the inner primitive's own rule; the operands must fit the flags. */
static ad_status each_type(ad_operation *op) {
  const each_head *a = op->attribute;
  const uint8_t *batched = each_flags(a);
  for (int k = 0; k < op->n; k++)
    if (batched[k] && (op->x[k]->rank < 1 || op->x[k]->dim[0] != a->n))
      return ad_refuse(op, AD_ERROR_SHAPE, "operand %d of %s has no axis of %lld instances", k,
                       a->inner->name, (long long)a->n);
  op->z = batch_type(&a->z, a->n);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

/* Scratch: that of the inner operation, then these. */
typedef struct each_lists {
  ad_type *type;
  const ad_type **types;
  const void **x;
  size_t *step;                     /* bytes from one instance to the next, 0: the same for all */
} each_lists;

static size_t each_scratch(const ad_operation *op) {
  const each_head *a = op->attribute;
  const each_lists l = { 0 };
  const size_t one = sizeof *l.type + sizeof *l.types + sizeof *l.x + sizeof *l.step;
  return ROUND((size_t)a->scratch, ALIGNED) + (size_t)op->n*one;
}

static each_lists open_lists(const ad_operation *op, const void *const x[], void *scratch) {
  const each_head *a = op->attribute;
  const uint8_t *batched = each_flags(a);
  const size_t n = (size_t)op->n;
  each_lists l = { .type = (ad_type *)(void *)((char *)scratch + ROUND((size_t)a->scratch, ALIGNED)) };
  l.types = (const ad_type **)(void *)(l.type + n);
  l.x = (const void **)(void *)(l.types + n);
  l.step = (size_t *)(void *)(l.x + n);
  for (size_t k = 0; k < n; k++) {
    l.type[k] = instance_type(op->x[k], batched[k] != 0);
    l.types[k] = &l.type[k];
    l.x[k] = x[k];
    l.step[k] = batched[k] ? ad_type_bytes(l.type[k]) : 0;
  }
  return l;
}

static ad_status each_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const each_head *a = op->attribute;
  const size_t bytes = ad_type_bytes(a->z);
  if (a->n == 0) return AD_OK;
  each_lists l = open_lists(op, x, scratch);
  const ad_operation inner = { .primitive = a->inner, .n = op->n, .x = l.types, .z = a->z,
                               .attribute = each_inner_attribute(a), .attribute_size = (size_t)a->size,
                               .message = op->message, .message_size = op->message_size };
  ad_status status = AD_OK;
  char *to = z;
  for (int64_t i = 0; i < a->n && status == AD_OK; i++) {
    status = a->inner->run(&inner, to, l.x, scratch);
    if (bytes) to += bytes;
    for (int k = 0; k < op->n; k++)
      if (l.step[k]) l.x[k] = (const char *)l.x[k] + l.step[k];
  }
  return status;
}

static ad_status each_hold(ad_tape *t, const void *attribute) {
  const each_head *a = attribute;
  return a->inner->hold ? a->inner->hold(t, each_inner_attribute(a)) : AD_OK;
}

/* That of an instance, as often as there are instances; of very many operands it is left unknown. */
static void each_work(const ad_operation *op, ad_work *w) {
  enum { OPERANDS = 16 };
  const each_head *a = op->attribute;
  ad_type type[OPERANDS];
  const ad_type *x[OPERANDS];
  w->unknown = !a->inner->work || op->n > OPERANDS;
  if (w->unknown) return;
  ad_work one = { .bytes_written = (double)ad_type_bytes(a->z) };
  for (int k = 0; k < op->n; k++) {
    type[k] = instance_type(op->x[k], each_flags(a)[k] != 0);
    x[k] = &type[k];
    one.bytes_read += (double)ad_type_bytes(type[k]);
  }
  const ad_operation inner = { .primitive = a->inner, .n = op->n, .x = x, .z = a->z,
                               .attribute = each_inner_attribute(a), .attribute_size = (size_t)a->size };
  a->inner->work(&inner, &one);
  const double n = (double)a->n;
  *w = (ad_work){ n*one.flops, n*one.calls, n*one.bytes_read, n*one.bytes_written, one.unknown };
}

static const ad_primitive each_primitive = {
  .name = "each", .doc = "another operation on every instance of a batch", .traits = AD_TRAIT_NO_FOLD,
  .type = each_type, .run = each_run, .work = each_work, .scratch_bytes = each_scratch, .hold = each_hold };

static ad_var record_each(const ad_batch *b) {
  const ad_operation *op = b->op;
  const ad_allocator *m = &b->tape->allocator;
  const size_t bytes = HEAD_BYTES + op->attribute_size + (size_t)op->n;
  char *attribute = memory_get_zeroed(m, bytes, 1);
  if (!attribute) return ad_fail(b->tape, AD_ERROR_MEMORY, "out of memory");
  each_head *a = (each_head *)(void *)attribute;
  a->inner = op->primitive;
  a->n = b->n;
  a->size = op->attribute_size;
  a->scratch = op->primitive->scratch_bytes ? op->primitive->scratch_bytes(op) : 0;
  a->z = op->z;
  if (a->size) memcpy(attribute + HEAD_BYTES, op->attribute, op->attribute_size);
  for (int k = 0; k < op->n; k++) attribute[HEAD_BYTES + op->attribute_size + (size_t)k] = b->batched[k];
  const ad_var z = ad_record(b->tape, &each_primitive, op->n, b->x, attribute, bytes);
  memory_release(m, attribute, bytes);
  return z;
}

/* --- one function --------------------------------------------------------------------------------------- */

enum { NEEDED = 1, INPUT = 2, BATCHED = 4 };

typedef struct batching {
  ad_function *f;
  int64_t n;
  const bool *mapped;
  bool last;                        /* instances lie along the last axis */
  bool impossible;                  /* f has an operation that cannot be batched */
  ad_tape *t;                       /* the new function's */
  uint32_t nodes;                   /* of f's body, as far as the outputs need them */
  unsigned char *mark;
  uint32_t *map;                    /* nodes of t */
  /* the operands of the node at hand: room for as many as any node has */
  size_t room, bytes;
  ad_var *x;
  const ad_type **types;
  bool *batched;
  /* results of operations that have several; such a node's entry in map says where its own begin */
  ad_var *several;
  size_t severals, several_capacity;
} batching;

/* Marks inputs, and what the outputs need; finds the longest list of operands. */
static void mark_needed(batching *b) {
  const ad_function *f = b->f;
  for (int i = 0; i < f->n_in; i++)
    if (f->in[i] < b->nodes) b->mark[f->in[i]] = (unsigned char)(INPUT | (b->mapped[i] ? BATCHED : 0));
  for (int j = 0; j < f->n_out; j++) b->mark[f->out[j]] |= NEEDED;
  for (uint32_t i = b->nodes; i-- > 0;) {
    if ((b->mark[i] & (NEEDED | INPUT)) != NEEDED || node_is_leaf(f->body, i)) continue;
    int n;
    const uint32_t *x = node_operands(f->body, i, &n);
    for (int k = 0; k < n; k++) b->mark[x[k]] |= NEEDED;
    if ((size_t)n > b->room) b->room = (size_t)n;
  }
}

static bool open_batching(batching *b, ad_tape *t) {
  const ad_allocator *m = &t->allocator;
  b->t = t;
  b->nodes = 0;
  for (int j = 0; j < b->f->n_out; j++)
    if (b->f->out[j] >= b->nodes) b->nodes = b->f->out[j] + 1;
  b->mark = memory_get_zeroed(m, (size_t)b->nodes + 1, 1);
  b->map = memory_get(m, (size_t)b->nodes*sizeof *b->map + 1);
  if (!b->mark || !b->map) return false;
  mark_needed(b);
  b->bytes = b->room*(sizeof *b->x + sizeof *b->types + sizeof *b->batched) + 1;
  b->x = memory_get(m, b->bytes);
  if (!b->x) return false;
  b->types = (const ad_type **)(void *)(b->x + b->room);
  b->batched = (bool *)(b->types + b->room);
  return true;
}

static void close_batching(batching *b) {
  const ad_allocator *m = &b->t->allocator;
  memory_release(m, b->mark, (size_t)b->nodes + 1);
  memory_release(m, b->map, (size_t)b->nodes*sizeof *b->map + 1);
  memory_release(m, b->x, b->bytes);
  memory_release(m, b->several, b->several_capacity*sizeof *b->several);
}

static ad_var not_batchable(batching *b) {
  b->impossible = true;
  return handle_invalid(b->t);
}

/* --- one node ------------------------------------------------------------------------------------------- */

static ad_var constant_node(const batching *b, uint32_t i) {
  const ad_tape *src = b->f->body;
  const ad_type type = node_type(src, i)->type;
  if (type.rank == 0) return handle(b->t, tape_constant_bits(b->t, type.dtype, src->value[i]));
  return handle(b->t, tape_leaf(b->t, PRIMITIVE_CONSTANT, &type, node_data(src, i)));
}

/* The node as it is, on operands that are all single. */
static ad_var single_node(const batching *b, uint32_t i, const ad_operation *op) {
  ad_tape *src = b->f->body, *t = b->t;
  if (node_is_result(src, i)) return handle(t, tuple_result(t, b->x[0].at.node.index, result_number(src, i)));
  if (!node_tuple(src, i)) return ad_record(t, op->primitive, op->n, b->x, op->attribute, op->attribute_size);
  const size_t bytes = (size_t)op->n*sizeof(uint32_t) + 1;
  uint32_t *x = memory_get(&t->allocator, bytes);
  if (!x) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < op->n; k++) x[k] = b->x[k].at.node.index;
  const uint32_t z = tuple_record(t, op->primitive, op->n, x, op->attribute, op->attribute_size);
  memory_release(&t->allocator, x, bytes);
  return handle(t, z);
}

static bool room_in_several(const ad_operation *op, int results) {
  bool room = true;
  for (int k = 0; k < op->n; k++) room &= op->x[k]->rank < AD_MAX_RANK;
  for (int j = 0; j < results; j++) room &= op->primitive->tuple->result_type(op, j).rank < AD_MAX_RANK;
  return room;
}

/* The axis of the instances of x, from the front to the end or back. */
static ad_var axis_to_end(ad_var x) {
  const int rank = ad_type_of(x).rank;
  int perm[AD_MAX_RANK] = { 0 };
  for (int d = 0; d < rank; d++) perm[d] = d + 1 < rank ? d + 1 : 0;
  return rank < 2 ? x : ad_transpose(x, perm);
}
static ad_var axis_to_front(ad_var x) {
  const int rank = ad_type_of(x).rank;
  int perm[AD_MAX_RANK] = { 0 };
  for (int d = 0; d < rank; d++) perm[d] = d > 0 ? d - 1 : rank - 1;
  return rank < 2 ? x : ad_transpose(x, perm);
}

/* Operations with several results on batched operands: all of them are recorded, and kept for the nodes that
 * stand for them. Only carriers can be batched. */
static ad_var batch_several(batching *b, uint32_t i, const ad_operation *op) {
  const int n = tuple_results(b->f->body, i);
  if (op->primitive->tuple->run || n == 0 || !room_in_several(op, n)) return not_batchable(b);
  if (!memory_reserve(&b->t->allocator, &b->several, &b->several_capacity, b->severals + (size_t)n,
                      sizeof *b->several))
    return ad_fail(b->t, AD_ERROR_MEMORY, "out of memory");
  const carrier_batch one = { b->t, op->attribute, b->n, op->n, b->x, b->batched };
  bool possible;
  for (int k = 0; k < op->n && b->last; k++)
    if (b->batched[k]) b->x[k] = axis_to_front(b->x[k]);
  ad_var *z = b->several + b->severals;
  if (!batch_carrier(&one, z, &possible)) {
    b->impossible |= !possible;
    return handle_invalid(b->t);
  }
  for (int j = 0; j < n && b->last; j++) z[j] = axis_to_end(z[j]);
  b->severals += (size_t)n;
  return handle(b->t, (uint32_t)(b->severals - (size_t)n));
}

static ad_var batch_result_node(const batching *b, uint32_t i) {
  int n;
  const uint32_t owner = node_operands(b->f->body, i, &n)[0];
  return b->several[b->map[owner] + (uint32_t)result_number(b->f->body, i)];
}

/* Broadcasting aligns last axes: a batched operand of lower rank than the result gets axes of size 1 behind
 * the instances. Others align as they are. */
static ad_var batch_elementwise(const ad_batch *b, ad_var x[3]) {
  const ad_operation *op = b->op;
  for (int k = 0; k < op->n; k++)
    x[k] = b->batched[k] && op->x[k]->rank < op->z.rank ? batch_align(b, k, op->z.rank) : b->x[k];
  return ad_record(b->tape, op->primitive, op->n, x, op->attribute, op->attribute_size);
}

/* With a trailing axis they align as they are; single values get one of size 1. */
static ad_var trail_elementwise(const ad_batch *b, ad_var x[3]) {
  const ad_operation *op = b->op;
  for (int k = 0; k < op->n; k++) x[k] = trail_lift(b, k);
  return ad_record(b->tape, op->primitive, op->n, x, op->attribute, op->attribute_size);
}

static bool room_for_an_axis(const ad_operation *op) {
  bool room = op->z.rank < AD_MAX_RANK;
  for (int k = 0; k < op->n; k++) room &= op->x[k]->rank < AD_MAX_RANK;
  return room;
}

/* Between two transpositions; x is room for the operands. */
static ad_var trail_by_front(const ad_batch *b, ad_var x[]) {
  const ad_operation *op = b->op;
  for (int k = 0; k < op->n; k++) x[k] = b->batched[k] ? axis_to_front(b->x[k]) : b->x[k];
  const ad_batch front = { op, b->tape, b->n, x, b->batched };
  ad_var z = op->primitive->batch && room_for_an_axis(op) ? op->primitive->batch(&front) : ad_none();
  if (ad_is_none(z) && b->tape->status == AD_OK) z = record_each(&front);
  return b->tape->status == AD_OK && ad_is_valid(z) && !is_literal(z) ? axis_to_end(z) : z;
}

static ad_var batch_structured(const ad_batch *b, ad_var x[], bool last) {
  const ad_operation *op = b->op;
  ad_var (*const along)(const ad_batch *) = last ? op->primitive->trail : op->primitive->batch;
  ad_var z = along && room_for_an_axis(op) ? along(b) : ad_none();
  if (ad_is_none(z) && b->tape->status == AD_OK) z = last ? trail_by_front(b, x) : record_each(b);
  if (b->tape->status != AD_OK || !ad_is_valid(z) || is_literal(z) || z.tape != b->tape) {
    if (b->tape->status == AD_OK)
      tape_fail(b->tape, AD_ERROR_HANDLE, "%s: its batch rule gives no variable", op->primitive->name);
    return handle_invalid(b->tape);
  }
  const ad_type have = ad_type_of(z), want = last ? trail_type(&op->z, b->n) : batch_type(&op->z, b->n);
  char p[192], q[192];
  if (ad_type_equal(have, want)) return z;
  return ad_fail(b->tape, AD_ERROR_SHAPE, "%s: its batch rule gives %s, not %s", op->primitive->name,
                 ad_type_print(have, p, sizeof p), ad_type_print(want, q, sizeof q));
}

/* Node i, one of whose operands is batched at least. */
static ad_var batched_node(batching *b, uint32_t i, const ad_operation *op) {
  const ad_batch one = { op, b->t, b->n, b->x, b->batched };
  ad_var x[3];
  if (node_is_result(b->f->body, i)) return batch_result_node(b, i);
  if (node_tuple(b->f->body, i)) return batch_several(b, i, op);
  if (op->z.rank == AD_MAX_RANK) return not_batchable(b);
  if (op->primitive->row || !op->primitive->type)
    return b->last ? trail_elementwise(&one, x) : batch_elementwise(&one, x);
  return batch_structured(&one, b->x, b->last);
}

static ad_var record_node(batching *b, uint32_t i) {
  const ad_tape *src = b->f->body;
  bool any = false;
  int n;
  if (node_is_leaf(src, i)) return constant_node(b, i);
  const uint32_t *operand = node_operands(src, i, &n);
  for (int k = 0; k < n; k++) {
    b->x[k] = handle(b->t, b->map[operand[k]]);
    any |= b->batched[k] = (b->mark[operand[k]] & BATCHED) != 0;
  }
  const ad_operation op = node_operation(src, i, b->types);
  if (!any) return single_node(b, i, &op);
  b->mark[i] |= BATCHED;
  return batched_node(b, i, &op);
}

static ad_var whole_output(batching *b, uint32_t i) {
  const ad_var x = handle(b->t, b->map[i]);
  const ad_type *one = &node_type(b->f->body, i)->type;
  if (b->mark[i] & BATCHED) return x;
  const ad_type t = b->last ? trail_type(one, b->n) : batch_type(one, b->n);
  return ad_broadcast_to(b->last && one->rank ? ad_expand(x, -1) : x, t.rank, t.dim);
}

/* --- sums over the instances ---------------------------------------------------------------------------- */

enum { SUM_DEPTH = 8 };             /* additions that a sum is taken into */

/* Node i summed over its first axis by products alone; ad_none() where that cannot be. */
static ad_var sum_by_products(ad_tape *t, uint32_t i, int depth) {
  const ad_type *types[2];
  int n;
  if (node_is_leaf(t, i)) return ad_none();
  const uint32_t *x = node_operands(t, i, &n);
  if (n != 2 || node_tuple(t, i) || node_type(t, i)->type.dtype < AD_F32) return ad_none();
  const ad_var both[2] = { handle(t, x[0]), handle(t, x[1]) };
  const ad_operation op = node_operation(t, i, types);
  if (op.primitive != &elementwise_primitives[ROW_add]) return product_sum_first(&op, both);
  const bool broadcast = !ad_type_equal(*types[0], op.z) || !ad_type_equal(*types[1], op.z);
  if (depth == SUM_DEPTH || broadcast) return ad_none();
  const ad_var a = sum_by_products(t, both[0].at.node.index, depth + 1);
  const ad_var b = ad_is_none(a) ? a : sum_by_products(t, both[1].at.node.index, depth + 1);
  return ad_is_none(b) ? b : ad_add(a, b);
}

ad_var batch_sum(ad_var x) {
  if (!is_literal(x) && x.tape != NO_TAPE && handle_good(x.tape, x)) {
    const ad_var z = sum_by_products(x.tape, x.at.node.index, 0);
    if (!ad_is_none(z)) return z;
  }
  return ad_sum(x, AD_AXES(0), false);
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static void record_all(batching *b, const ad_var in[], ad_var out[]) {
  for (int i = 0; i < b->f->n_in; i++)
    if (b->f->in[i] < b->nodes) b->map[b->f->in[i]] = in[i].at.node.index;
  for (uint32_t i = 0; i < b->nodes; i++) {
    if ((b->mark[i] & (NEEDED | INPUT)) != NEEDED) continue;
    const ad_var z = record_node(b, i);
    if (b->impossible || b->t->status != AD_OK) return;
    b->map[i] = z.at.node.index;
  }
  for (int j = 0; j < b->f->n_out; j++) out[j] = whole_output(b, b->f->out[j]);
}

static void batch_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  batching *b = context;
  if (open_batching(b, t)) record_all(b, in, out);
  else tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  close_batching(b);
}

/* Types of the new function's inputs. False where one has no room for another axis, or an output has not. */
static bool input_types(const batching *b, ad_type in[]) {
  const ad_function *f = b->f;
  bool room = true;
  for (int i = 0; i < f->n_in; i++) {
    const ad_type t = node_type(f->body, f->in[i])->type;
    room &= !b->mapped[i] || t.rank < AD_MAX_RANK;
    in[i] = !b->mapped[i] ? t : b->last ? trail_type(&t, b->n) : batch_type(&t, b->n);
  }
  for (int j = 0; j < f->n_out; j++) room &= node_type(f->body, f->out[j])->type.rank < AD_MAX_RANK;
  return room;
}

static ad_function *batched_along(batching *b, ad_status *status) {
  ad_function *f = b->f;
  const ad_allocator *m = &f->body->allocator;
  const size_t bytes = (size_t)f->n_in*sizeof(ad_type) + 1;
  ad_report report = { AD_OK, "" };
  ad_function *batched = NULL;
  ad_type *in = memory_get(m, bytes);
  *status = in ? AD_OK : AD_ERROR_MEMORY;
  if (in && input_types(b, in)) {
    batched = ad_function_trace_with(m, f->name, batch_body, b, f->n_in, in, f->n_out, &report);
    if (!batched && !b->impossible) *status = report.status == AD_OK ? AD_ERROR_MEMORY : report.status;
  }
  memory_release(m, in, bytes);
  return batched;
}

ad_function *function_batched(ad_function *f, int64_t n, const bool mapped[], ad_status *status) {
  return batched_along(&(batching){ .f = f, .n = n, .mapped = mapped }, status);
}

ad_function *function_trailed(ad_function *f, int64_t n, const bool mapped[], ad_status *status) {
  return batched_along(&(batching){ .f = f, .n = n, .mapped = mapped, .last = true }, status);
}
