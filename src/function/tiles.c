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
  role *role;                       /* of the nodes up to the array, until the blocks are traced */
  uint32_t *node;                   /* those that are EACH or WHOLE, and then the search */
  role *given;                      /* the roles of those */
  int nodes;
  size_t bytes;
  ad_function *one, *last;          /* a block; the rest */
} search;

/* The searches of a function, in the order of their nodes. */
typedef struct tiling {
  ad_function *f;
  search *search;
  int searches;
  size_t room;
} tiling;

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

/* Do blocks get node i? */
static bool is_given(const search *s, uint32_t i) {
  return (s->role[i].is == EACH || s->role[i].is == WHOLE) && !is_number(s, i);
}

/* The nodes that blocks get, in order, and the search behind. */
static bool list_nodes(search *s) {
  size_t n = 1;
  for (uint32_t i = 0; i <= s->array; i++) n += is_given(s, i);
  s->bytes = n*(sizeof *s->node + sizeof *s->given);
  s->node = memory_get(&s->f->body->allocator, s->bytes);
  if (!s->node) return false;
  s->given = (role *)(void *)(s->node + n);
  for (uint32_t i = 0; i <= s->array; i++)
    if (is_given(s, i)) s->given[s->nodes] = s->role[i], s->node[s->nodes++] = i;
  s->node[s->nodes] = s->place;
  return true;
}

/* The k-th of them for `length` places. */
static ad_type type_in_block(const search *s, int k, int64_t length) {
  ad_type x = node_type(s->f->body, s->node[k])->type;
  if (s->given[k].is == EACH) x.dim[s->given[k].axis] = length;
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

static ad_function *trace_block(const search *s, int64_t length) {
  const ad_allocator *a = &s->f->body->allocator;
  const size_t bytes = (size_t)s->nodes*sizeof(ad_type) + 1;
  ad_type *in = memory_get(a, bytes);
  if (!in) return NULL;
  for (int k = 0; k < s->nodes; k++) in[k] = type_in_block(s, k, length);
  ad_function *f = ad_function_trace_with(a, "block", block_body, (void *)(uintptr_t)s, s->nodes, in, 1, NULL);
  memory_release(a, in, bytes);
  return f;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

/* Places [first, first + count) of the nodes, count = blocks of so many or, with blocks = 0, one part. */
static void parts_of(const search *s, const ad_var x[], int64_t first, int64_t length, int64_t blocks,
                     ad_var part[]) {
  for (int k = 0; k < s->nodes; k++) {
    const role r = s->given[k];
    part[k] = x[k];
    if (r.is != EACH) continue;
    ad_type type = type_in_block(s, k, length);
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

/* As the body was, with what the searches get, and their places, given: node[] and x[] have room for all of
 * them and the inputs, part[] for what one gets. */
static void record_searches(ad_tape *t, const tiling *g, const ad_var in[], ad_var out[], uint32_t node[],
                            ad_var x[], ad_var part[]) {
  ad_function *f = g->f;
  int known = f->n_in;
  ad_status status = AD_OK;
  memcpy(node, f->in, (size_t)known*sizeof *node);
  memcpy(x, in, (size_t)known*sizeof *x);
  for (int k = 0; k < g->searches && status == AD_OK; k++) {
    const search *s = &g->search[k];
    ad_var *own = x + known;
    memcpy(node + known, s->node, ((size_t)s->nodes + 1)*sizeof *node);
    status = function_copy(t, f->body, known, node, x, s->nodes, s->node, own);
    if (status == AD_OK) own[s->nodes] = record_blocks(s, own, part), status = t->status;
    known += s->nodes + 1;
  }
  if (status == AD_OK) function_copy(t, f->body, known, node, x, f->n_out, f->out, out);
}

static void tiled_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const tiling *g = context;
  size_t all = (size_t)g->f->n_in, most = 0;
  for (int k = 0; k < g->searches; k++) {
    const size_t n = (size_t)g->search[k].nodes;
    all += n + 1;
    if (n > most) most = n;
  }
  const size_t bytes = (all + most)*sizeof(ad_var) + all*sizeof(uint32_t);
  ad_var *x = memory_get(&t->allocator, bytes);
  if (!x) {
    ad_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  record_searches(t, g, in, out, (uint32_t *)(void *)(x + all + most), x, x + all);
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

static void close_search(const search *s, const ad_allocator *a) {
  ad_function_free(s->one);
  ad_function_free(s->last);
  memory_release(a, s->node, s->bytes);
}

/* Can it go in blocks? Traces them. */
static bool open_search(search *s, const ad_allocator *a) {
  memset(s->role, 0, ((size_t)s->array + 1)*sizeof *s->role);
  if (!find_roles(s)) return false;
  bool good = list_nodes(s);
  s->one = good ? trace_block(s, s->block) : NULL;
  s->last = s->one && s->rest ? trace_block(s, s->rest) : NULL;
  good = s->one && (s->last || !s->rest);
  if (!good) close_search(s, a);
  return good;
}

/* Where memory fails, those that are found by then. */
static void find_searches(tiling *g, const ad_allocator *a) {
  const size_t count = g->f->body->count;
  role *roles = NULL;
  for (uint32_t i = 0; i < count; i++) {
    search s = { .f = g->f };
    if (!is_big(&s, i)) continue;
    if (!roles) roles = memory_get(a, count*sizeof *roles);
    if (!roles) return;
    s.role = roles;
    if (!open_search(&s, a)) continue;
    if (memory_reserve(a, &g->search, &g->room, (size_t)g->searches + 1, sizeof s))
      g->search[g->searches++] = s;
    else close_search(&s, a);
  }
  memory_release(a, roles, count*sizeof *roles);
}

static ad_function *in_blocks(tiling *g, const ad_allocator *a) {
  const ad_function *f = g->f;
  const size_t bytes = (size_t)f->n_in*sizeof(ad_type) + 1;
  ad_type *in = memory_get(a, bytes);
  ad_function *tiled = NULL;
  for (int i = 0; i < f->n_in && in; i++) in[i] = node_type(f->body, f->in[i])->type;
  if (in) tiled = ad_function_trace_with(a, f->name, tiled_body, g, f->n_in, in, f->n_out, NULL);
  memory_release(a, in, bytes);
  return tiled;
}

ad_function *function_tiled(ad_function *f) {
  const ad_allocator *a = &f->body->allocator;
  tiling g = { .f = f };
  find_searches(&g, a);
  ad_function *tiled = g.searches ? in_blocks(&g, a) : NULL;
  for (int k = 0; k < g.searches; k++) close_search(&g.search[k], a);
  memory_release(a, g.search, g.room*sizeof *g.search);
  return tiled;
}
