/* tiles.c -- see tiles.h. */
#include "function/tiles.h"
#include "adit/arrays.h"
#include "adit/control.h"
#include "primitives/construct.h"
#include "primitives/library.h"
#include "primitives/matmul.h"
#include "tape/tuple.h"

#include <string.h>

/* Bytes of an array from which on it goes in blocks; bytes of a block, and places in one at least. */
enum { TILED_BYTES = 1 << 19, BLOCK_BYTES = 1 << 17, BLOCK_LEAST = 128, OPERANDS_MOST = 3 };

/* What a node is to the search. INSIDE: computed block by block; EACH: in rows, of which a block gets its
 * own; WHOLE: the same for all blocks. */
enum { APART, INSIDE, EACH, WHOLE };

typedef struct role { unsigned char is, axis; } role;

typedef struct search {
  ad_function *f;
  uint32_t place, array;            /* the search, and what is searched */
  int axis;                         /* of the array: goes in blocks */
  int64_t n, block, blocks, rest;   /* its length: blocks*block + rest */
  role *role;                       /* of the nodes up to the array */
  uint32_t *node;                   /* those that are EACH or WHOLE, and then the search */
  int nodes;
  size_t bytes;
  ad_function *one, *last;          /* a block; the rest */
} search;

/* --- which axis goes with which ------------------------------------------------------------------------- */

/* Of an operand that has the axis of the result: which one of its own it is; -1: it has not. */
static int aligned_axis(const ad_operation *op, int k, int axis) {
  const int own = axis - (op->z.rank - op->x[k]->rank);
  return own >= 0 && op->x[k]->dim[own] != 1 ? own : -1;
}

/* Operations whose result can be computed for a part of an axis alone. */
static bool goes_along(const ad_operation *op) {
  const ad_primitive *p = op->primitive;
  int64_t perm[AD_MAX_RANK];
  if (p->row || p == &cast_primitive) return true;
  if (transpose_axes(op, perm)) return true;
  product a;
  return product_of_matrices(op, &a) && op->z.rank == 2 && op->x[0]->rank == 2 && op->x[1]->rank == 2;
}

static int operand_axis(const ad_operation *op, int k, int axis) {
  int64_t perm[AD_MAX_RANK];
  product a;
  if (transpose_axes(op, perm)) return (int)perm[axis];
  if (!product_of_matrices(op, &a)) return aligned_axis(op, k, axis);
  return axis != k ? -1 : k == 0 ? a.tx : !a.ty;
}

/* --- what belongs to it --------------------------------------------------------------------------------- */

/* Rows of a block follow each other in memory. */
static bool is_leading(const ad_type *x, int axis) {
  for (int d = 0; d < axis; d++)
    if (x->dim[d] != 1) return false;
  return true;
}

/* Node i gets a role; false where it has another one. */
static bool give_role(search *s, uint32_t i, role r) {
  const bool first = s->role[i].is == APART;
  if (first) s->role[i] = r;
  return first || (s->role[i].is == r.is && s->role[i].axis == r.axis);
}

/* What is computed in blocks, if it is to be, asks its operands for theirs. */
static bool spread_role(search *s, uint32_t i) {
  const ad_tape *t = s->f->body;
  const ad_type *types[OPERANDS_MOST];
  const int axis = s->role[i].axis;
  int n = 0;
  const uint32_t *x = node_is_leaf(t, i) ? NULL : node_operands(t, i, &n);
  bool inside = x && n >= 1 && n <= OPERANDS_MOST && !node_is_result(t, i);
  ad_operation op = { 0 };
  if (inside) {
    op = node_operation(t, i, types);
    inside = goes_along(&op);
  }
  if (!inside) {
    s->role[i].is = EACH;
    return is_leading(&node_type(t, i)->type, axis);
  }
  for (int k = 0; k < n; k++) {
    const int along = operand_axis(&op, k, axis);
    const role r = along < 0 ? (role){ WHOLE, 0 } : (role){ INSIDE, (unsigned char)along };
    if (!give_role(s, x[k], r)) return false;
  }
  return true;
}

/* Nobody else looks at what is as big as the array. */
static bool is_alone(const search *s) {
  const ad_tape *t = s->f->body;
  const int64_t most = node_type(t, s->array)->count;
  for (int j = 0; j < s->f->n_out; j++) {
    const uint32_t i = s->f->out[j];
    if (i <= s->array && s->role[i].is == INSIDE && node_type(t, i)->count >= most) return false;
  }
  for (uint32_t i = 0; i < t->count; i++) {
    int n = 0;
    if (node_is_leaf(t, i) || i == s->place || (i <= s->array && s->role[i].is == INSIDE)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++)
      if (x[k] <= s->array && s->role[x[k]].is == INSIDE && node_type(t, x[k])->count >= most) return false;
  }
  return true;
}

static bool find_roles(search *s) {
  s->role[s->array] = (role){ INSIDE, (unsigned char)s->axis };
  for (uint32_t i = s->array + 1; i-- > 0;)
    if (s->role[i].is == INSIDE && !spread_role(s, i)) return false;
  return s->role[s->array].is == INSIDE && is_alone(s);
}

/* --- a block -------------------------------------------------------------------------------------------- */

/* A number that all blocks have: they keep it as one. */
static bool is_number(const search *s, uint32_t i) {
  const ad_tape *t = s->f->body;
  return s->role[i].is == WHOLE && node_is_constant(t, i) && node_type(t, i)->type.rank == 0;
}

/* Node i for `length` places. */
static ad_type type_in_block(const search *s, uint32_t i, int64_t length) {
  ad_type x = node_type(s->f->body, i)->type;
  if (s->role[i].is == EACH) x.dim[s->role[i].axis] = length;
  return x;
}

/* map: of the nodes up to the search. */
static void record_block(const search *s, ad_tape *t, const ad_var in[], ad_var map[]) {
  const ad_tape *src = s->f->body;
  const ad_type *types[OPERANDS_MOST];
  for (int k = 0; k < s->nodes; k++) map[s->node[k]] = in[k];
  for (uint32_t i = 0; i <= s->place && t->status == AD_OK; i++) {
    ad_var x[OPERANDS_MOST];
    int n;
    if (i <= s->array && is_number(s, i))
      map[i] = handle(t, tape_constant_bits(t, node_type(src, i)->type.dtype, src->value[i]));
    if (i != s->place && (i > s->array || s->role[i].is != INSIDE)) continue;
    const uint32_t *operand = node_operands(src, i, &n);
    const ad_operation op = node_operation(src, i, types);
    for (int k = 0; k < n; k++) x[k] = map[operand[k]];
    map[i] = ad_record(t, op.primitive, n, x, op.attribute, op.attribute_size);
  }
}

static void block_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const search *s = context;
  const size_t bytes = ((size_t)s->place + 1)*sizeof(ad_var);
  ad_var *map = memory_get(&t->allocator, bytes);
  if (!map) {
    ad_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  record_block(s, t, in, map);
  if (t->status == AD_OK) {
    const int64_t length = ad_type_count(ad_type_of(map[s->place]));
    out[0] = ad_reshape(map[s->place], 1, &length);
  }
  memory_release(&t->allocator, map, bytes);
}

static ad_function *trace_block(search *s, int64_t length) {
  const ad_allocator *a = &s->f->body->allocator;
  const size_t bytes = (size_t)s->nodes*sizeof(ad_type) + 1;
  ad_type *in = memory_get(a, bytes);
  if (!in) return NULL;
  for (int k = 0; k < s->nodes; k++) in[k] = type_in_block(s, s->node[k], length);
  ad_function *f = ad_function_trace_with(a, "block", block_body, s, s->nodes, in, 1, NULL);
  memory_release(a, in, bytes);
  return f;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

/* Places [first, first + count) of the nodes, count = blocks of so many or, with blocks = 0, one part. */
static void parts_of(const search *s, const ad_var x[], int64_t first, int64_t length, int64_t blocks,
                     ad_var part[]) {
  for (int k = 0; k < s->nodes; k++) {
    const role r = s->role[s->node[k]];
    part[k] = x[k];
    if (r.is != EACH) continue;
    ad_type type = type_in_block(s, s->node[k], length);
    if (s->rest) part[k] = ad_slice(x[k], r.axis, first, length*(blocks ? blocks : 1), 1);
    if (!blocks) continue;
    memmove(type.dim + 1, type.dim, (size_t)type.rank*sizeof *type.dim);
    type.dim[0] = blocks;
    part[k] = ad_reshape(part[k], type.rank + 1, type.dim);
  }
}

/* The places of all. */
static ad_var record_blocks(const search *s, const ad_var x[], ad_var part[]) {
  const ad_type type = node_type(s->f->body, s->place)->type;
  const int64_t most = s->block*s->blocks;
  ad_var z[2] = { ad_none(), ad_none() };
  parts_of(s, x, 0, s->block, s->blocks, part);
  ad_map(s->one, part, &z[0]);
  z[0] = ad_reshape(z[0], 1, &most);
  if (s->rest) {
    parts_of(s, x, most, s->rest, 0, part);
    ad_function_apply(s->last, part, &z[1]);
    z[0] = ad_concat(2, z, 0);
  }
  return ad_reshape(z[0], type.rank, type.dim);
}

/* As the body was, with the nodes of the search given. */
static void tiled_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const search *s = context;
  ad_function *f = s->f;
  const int n = f->n_in, all = n + s->nodes + 1;
  const size_t bytes = (size_t)(all + s->nodes)*sizeof(ad_var) + (size_t)all*sizeof(uint32_t);
  ad_var *x = memory_get(&t->allocator, bytes);
  if (!x) {
    ad_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  uint32_t *node = (uint32_t *)(void *)(x + all + s->nodes);
  memcpy(node, f->in, (size_t)n*sizeof *node);
  memcpy(node + n, s->node, ((size_t)s->nodes + 1)*sizeof *node);
  memcpy(x, in, (size_t)n*sizeof *x);
  ad_status status = function_copy(t, f->body, n, node, x, s->nodes, node + n, x + n);
  if (status == AD_OK) x[all - 1] = record_blocks(s, x + n, x + all);
  if (t->status == AD_OK) function_copy(t, f->body, all, node, x, f->n_out, f->out, out);
  memory_release(&t->allocator, x, bytes);
}

/* --- the search for searches ---------------------------------------------------------------------------- */

/* Is node i one whose array, of two axes, is big? */
static bool is_big(search *s, uint32_t i) {
  const ad_tape *t = s->f->body;
  const ad_type *types[OPERANDS_MOST];
  int n;
  if (node_is_leaf(t, i) || node_is_result(t, i)) return false;
  const uint32_t *x = node_operands(t, i, &n);
  if (n != 1 || node_type(t, x[0])->bytes < TILED_BYTES || node_type(t, x[0])->type.rank != 2) return false;
  const ad_operation op = node_operation(t, i, types);
  int axis;
  const int64_t places = places_of(&op, &axis), width = (int64_t)ad_dtype_bytes(op.x[0]->dtype);
  if (places == 0) return false;
  s->place = i, s->array = x[0];
  s->axis = 1 - axis;
  s->n = op.x[0]->dim[s->axis];
  const int64_t most = BLOCK_BYTES/width/places, block = most < BLOCK_LEAST ? BLOCK_LEAST : most;
  s->blocks = (s->n + block - 1)/block;
  s->block = s->blocks ? s->n/s->blocks : 0;
  s->rest = s->n - s->block*s->blocks;
  return s->blocks > 1;
}

/* The nodes that blocks get, in order, and the search behind. */
static void list_nodes(search *s) {
  s->nodes = 0;
  for (uint32_t i = 0; i <= s->array; i++)
    if ((s->role[i].is == EACH || s->role[i].is == WHOLE) && !is_number(s, i)) s->node[s->nodes++] = i;
  s->node[s->nodes] = s->place;
}

static ad_function *in_blocks(search *s) {
  const ad_function *f = s->f;
  const ad_allocator *a = &f->body->allocator;
  ad_type *in = memory_get(a, (size_t)f->n_in*sizeof *in + 1);
  ad_function *tiled = NULL;
  list_nodes(s);
  for (int i = 0; i < f->n_in && in; i++) in[i] = node_type(f->body, f->in[i])->type;
  s->one = in ? trace_block(s, s->block) : NULL;
  s->last = s->one && s->rest ? trace_block(s, s->rest) : NULL;
  if (s->one && (s->last || !s->rest))
    tiled = ad_function_trace_with(a, f->name, tiled_body, s, f->n_in, in, f->n_out, NULL);
  ad_function_free(s->one);
  ad_function_free(s->last);
  memory_release(a, in, (size_t)f->n_in*sizeof *in + 1);
  return tiled;
}

ad_function *function_tiled(ad_function *f) {
  const ad_allocator *a = &f->body->allocator;
  search s = { .f = f };
  for (uint32_t i = 0; i < f->body->count; i++) {
    if (!is_big(&s, i)) continue;
    ad_function *tiled = NULL;
    s.bytes = ((size_t)s.array + 2)*(sizeof *s.node + sizeof *s.role);
    s.node = memory_get_zeroed(a, s.bytes, 1);
    if (!s.node) return NULL;
    s.role = (role *)(void *)(s.node + s.array + 2);
    if (find_roles(&s)) tiled = in_blocks(&s);
    memory_release(a, s.node, s.bytes);
    if (tiled) return tiled;
  }
  return NULL;
}
