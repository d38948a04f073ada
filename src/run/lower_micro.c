/* lower_micro.c -- see lower_micro.h. */
#include "run/lower_micro.h"
#include "primitives/axes.h"
#include "primitives/library.h"
#include "run/region.h"
#include "tape/tuple.h"

#include <string.h>

/* SCRATCH: bytes that a structured operation may ask for. */
enum { MICRO_ALIGN = 8, MICRO_LINE = 64, MICRO_SCRATCH = 4096, MICRO_OPERANDS = 16 };

/* --- the program ---------------------------------------------------------------------------------------- */

/* A rule `elements` does not say why it gives up: the scratch tape's memory tells. */
static void *watch(void *user, void *pointer, size_t old_size, size_t new_size) {
  micro_builder *b = user;
  void *block = b->allocator.reallocate(b->allocator.user, pointer, old_size, new_size);
  if (!block && new_size) b->full = true;
  return block;
}

bool micro_open(micro_builder *b, const ad_allocator *a, micro_program *m) {
  *m = (micro_program){ 0 };
  *b = (micro_builder){ .allocator = *a, .m = m };
  const ad_allocator watched = { watch, b };
  b->scratch = ad_tape_new_with(&watched);
  return b->scratch != NULL;
}

static size_t aligned(size_t bytes, size_t unit) { return (bytes + unit - 1)/unit*unit; }

uint32_t micro_reserve(micro_builder *b, size_t bytes) {
  const size_t at = b->room;
  b->room += aligned(bytes ? bytes : 1, MICRO_ALIGN);
  if (b->room < MICRO_CONSTANT/2) return (uint32_t)at;
  b->full = true;
  return MICRO_NOWHERE;
}

uint32_t micro_constant(micro_builder *b, const void *data, size_t bytes) {
  micro_program *m = b->m;
  const size_t at = m->constants, end = at + aligned(bytes ? bytes : 1, MICRO_ALIGN);
  if (end >= MICRO_CONSTANT/2 || !memory_reserve(&b->allocator, &m->image, &m->image_capacity, end, 1))
    return MICRO_NOWHERE;
  memset(m->image + at, 0, end - at);
  if (bytes) memcpy(m->image + at, data, bytes);
  m->constants = end;
  return (uint32_t)at | MICRO_CONSTANT;
}

bool micro_emit(micro_builder *b, micro i) {
  micro_program *m = b->m;
  if (!memory_reserve(&b->allocator, &m->code, &m->code_capacity, m->count + 1, sizeof *m->code))
    return false;
  m->code[m->count++] = i;
  return true;
}

bool micro_copy(micro_builder *b, uint32_t z, uint32_t x, size_t bytes) {
  const unsigned code = bytes == 1 ? MICRO_COPY_1 : bytes == 8 ? MICRO_COPY_8 : bytes == 16 ? MICRO_COPY_16
                                                                                            : MICRO_COPY;
  return micro_emit(b, (micro){ .code = (uint16_t)code, .n = (uint16_t)bytes, .z = z, .x = x });
}

uint32_t micro_place(const micro_program *m, uint32_t at) {
  return at & MICRO_CONSTANT ? at & ~MICRO_CONSTANT : at + (uint32_t)aligned(m->constants, MICRO_LINE);
}

bool micro_close(micro_builder *b, bool good) {
  micro_program *m = b->m;
  ad_tape_free(b->scratch);
  if (!good || b->full || !micro_emit(b, (micro){ .code = MICRO_END })) return false;
  for (uint32_t k = 0; k < m->count; k++) {
    micro *i = &m->code[k];
    i->z = micro_place(m, i->z), i->x = micro_place(m, i->x);
    i->y = micro_place(m, i->y), i->w = micro_place(m, i->w);
  }
  for (uint32_t k = 0; k < m->operations; k++) {
    micro_operation *o = &m->operation[k];
    for (int j = 0; j < o->op.n; j++) o->x[j] = micro_place(m, o->x[j]);
    o->z = micro_place(m, o->z), o->list = micro_place(m, o->list), o->scratch = micro_place(m, o->scratch);
  }
  m->frame = aligned(m->constants, MICRO_LINE) + aligned(b->room, MICRO_LINE);
  return true;
}

/* --- elementwise operations ----------------------------------------------------------------------------- */

typedef struct operands { const uint32_t *of; uint32_t n; } operands;

static operands operands_of(const run_graph *g, uint32_t i) {
  const uint32_t first = g->operand_start[i];
  return (operands){ g->operand + first, g->operand_start[i + 1] - first };
}

static const ad_primitive *primitive_of(const run_graph *g, uint32_t i) {
  return node_primitive(g->t, g->node[i]);
}
static int64_t count_of(const run_graph *g, uint32_t i) { return node_type(g->t, g->node[i])->count; }
static size_t bytes_of(const run_graph *g, uint32_t i) { return node_type(g->t, g->node[i])->bytes; }

bool micro_is_small(const run_graph *g, uint32_t i) {
  return count_of(g, i) > 0 && count_of(g, i) <= MICRO_ARRAY;
}

/* The type that a row works on, which is not that of a condition. */
static ad_dtype row_dtype(const run_graph *g, uint32_t i) {
  const operands x = operands_of(g, i);
  return graph_type(g, x.of[x.n == 3])->dtype;
}

/* The row's instruction for n elements; -1: there is none, or its bits are not those of the row's kernel.
 * Scalar programs have functions of their own. */
static int row_code(const run_graph *g, uint32_t i, int64_t n) {
  const elementwise_row *row = primitive_of(g, i)->row;
  if (!row) return -1;
  const ad_dtype dtype = row_dtype(g, i);
  const elementwise_id id = (elementwise_id)(row - elementwise_rows);
  const unsigned length = n == 1 ? MICRO_ONE : n == 2 && dtype == AD_F64 ? MICRO_TWO : MICRO_MANY;
  if (g->kind[i] != KIND_SCALAR && !micro_has_row(dtype, MICRO_MANY, id)) return -1;
  return micro_has_row(dtype, length, id) ? (int)MICRO_ROW(dtype, length, id) : -1;
}

static block_kernel *kernel_of(const run_graph *g, uint32_t i) {
  return primitive_kernel(primitive_of(g, i), row_dtype(g, i), graph_type(g, i)->dtype);
}

/* Primitives of a user's own are called for blocks of their own length. */
static bool fits_elementwise(const run_graph *g, uint32_t i) {
  const int64_t n = count_of(g, i);
  const ad_primitive *p = primitive_of(g, i);
  if (n < 1 || n > MICRO_MOST || (!p->row && p != &cast_primitive)) return false;
  return row_code(g, i, n) >= 0 || (operands_of(g, i).n <= 2 && kernel_of(g, i));
}

/* Operand k of node i as an instruction reads it. */
static bool add_operand(micro_builder *b, const micro_scope *s, uint32_t i, uint32_t k, uint32_t *at,
                        uint8_t *stride) {
  const uint32_t node = operands_of(s->g, i).of[k];
  const ad_type *x = graph_type(s->g, node), *z = graph_type(s->g, i);
  const size_t size = ad_dtype_bytes(x->dtype);
  int64_t strides[AD_MAX_RANK];
  const slot_kind kind = region_classify(x, z, strides);
  *at = s->at[node];
  *stride = kind != SLOT_SPLAT;
  if (kind != SLOT_STRIDED) return true;
  const int64_t n = count_of(s->g, i);
  const uint32_t from = *at;
  *at = micro_reserve(b, (size_t)n*size);
  for (int64_t e = 0; e < n; e++)
    if (*at == MICRO_NOWHERE || !micro_copy(b, *at + (uint32_t)((size_t)e*size),
                                            from + (uint32_t)((size_t)axes_met_element(x, z, e)*size), size))
      return false;
  return true;
}

static bool add_call(micro_builder *b, const run_graph *g, uint32_t i, micro *code) {
  micro_program *m = b->m;
  const operands x = operands_of(g, i);
  if (!memory_reserve(&b->allocator, &m->call, &m->call_capacity, m->calls + 1, sizeof *m->call))
    return false;
  const bool row = primitive_of(g, i)->row;
  m->call[m->calls] = (micro_call){
    .kernel = kernel_of(g, i), .attribute = row ? node_row_attribute(g->t, g->node[i]) : 0,
    .x_size = (uint8_t)ad_dtype_bytes(graph_type(g, x.of[0])->dtype),
    .y_size = x.n == 2 ? (uint8_t)ad_dtype_bytes(graph_type(g, x.of[1])->dtype) : 0
  };
  code->code = MICRO_CALL;
  code->to = m->calls++;
  return true;
}

/* Conversions between numbers and conditions are all over loops. */
static int cast_code(const run_graph *g, uint32_t i, int64_t n) {
  const ad_dtype from = row_dtype(g, i), to = graph_type(g, i)->dtype;
  if (primitive_of(g, i) != &cast_primitive || n != 1) return -1;
  if (from == to) return ad_dtype_bytes(from) == 8 ? MICRO_COPY_8 : -1;
  return from == AD_BOOL && to == AD_F64 ? MICRO_REAL_OF_BOOL
         : from == AD_F64 && to == AD_BOOL ? MICRO_BOOL_OF_REAL : -1;
}

static bool add_elementwise(micro_builder *b, const micro_scope *s, uint32_t i) {
  const run_graph *g = s->g;
  const int64_t n = count_of(g, i);
  const operands x = operands_of(g, i);
  const elementwise_row *row = primitive_of(g, i)->row;
  int code = row_code(g, i, n);
  micro m = { .n = (uint16_t)n };
  uint32_t *const at[3] = { &m.x, &m.y, &m.w };
  uint8_t *const stride[3] = { &m.sx, &m.sy, &m.sw };
  for (uint32_t k = 0; k < x.n; k++)
    if (!add_operand(b, s, i, k, at[k], stride[k])) return false;
  if (code < 0) code = cast_code(g, i, n);
  if (code >= 0 && row && row->attributed) {
    const double a = node_row_attribute(g->t, g->node[i]);
    if ((m.y = micro_constant(b, &a, sizeof a)) == MICRO_NOWHERE) return false;
  }
  m.code = (uint16_t)code;
  if (code < 0 && !add_call(b, g, i, &m)) return false;
  s->at[i] = m.z = micro_reserve(b, bytes_of(g, i));
  return m.z != MICRO_NOWHERE && micro_emit(b, m);
}

/* --- structured operations ------------------------------------------------------------------------------ */

static bool fits_structured(const run_graph *g, uint32_t i) {
  const ad_type *types[MICRO_OPERANDS];
  const operands x = operands_of(g, i);
  const int64_t n = count_of(g, i);
  if (n < 1 || n > MICRO_ARRAY || x.n > MICRO_OPERANDS) return false;
  for (uint32_t k = 0; k < x.n; k++)
    if (!micro_is_small(g, x.of[k])) return false;
  const ad_operation op = node_operation(g->t, g->node[i], types);
  const ad_primitive *p = op.primitive;
  return p->run && (!p->scratch_bytes || p->scratch_bytes(&op) <= MICRO_SCRATCH);
}

static bool add_operation(micro_builder *b, const micro_scope *s, uint32_t i) {
  micro_program *m = b->m;
  const operands x = operands_of(s->g, i);
  if (!memory_reserve(&b->allocator, &m->operation, &m->operation_capacity, m->operations + 1,
                      sizeof *m->operation)) return false;
  micro_operation *o = &m->operation[m->operations++];
  *o = (micro_operation){ .types = memory_get(&b->allocator, x.n*sizeof *o->types + 1),
                          .x = memory_get(&b->allocator, x.n*sizeof *o->x + 1) };
  o->op.n = (int)x.n;
  if (!o->types || !o->x) return false;
  o->op = node_operation(s->g->t, s->g->node[i], o->types);
  for (uint32_t k = 0; k < x.n; k++) o->x[k] = s->at[x.of[k]];
  const ad_primitive *p = o->op.primitive;
  o->list = micro_reserve(b, x.n*sizeof(void *));
  const size_t scratch = p->scratch_bytes ? p->scratch_bytes(&o->op) : 0;
  b->room = aligned(b->room, MICRO_LINE);
  o->scratch = micro_reserve(b, scratch);
  s->at[i] = o->z = micro_reserve(b, bytes_of(s->g, i));
  return !b->full && micro_emit(b, (micro){ .code = MICRO_RUN, .to = m->operations - 1 });
}

/* --- operations that move elements ---------------------------------------------------------------------- */

/* Where each element of a result comes from: its place, or a sum of two. */
typedef struct source { uint32_t x, y; } source;

typedef struct elements {
  ad_var z[MICRO_ARRAY], x[MICRO_OPERANDS*MICRO_ARRAY];
  const ad_var *list[MICRO_OPERANDS];
  uint32_t at[MICRO_OPERANDS*MICRO_ARRAY], count;            /* of x, which are the first nodes */
  source from[MICRO_ARRAY];                                   /* of z */
} elements;

static bool ask(micro_builder *b, const micro_scope *s, uint32_t i, elements *e) {
  const ad_type *types[MICRO_OPERANDS];
  const operands x = operands_of(s->g, i);
  const ad_operation op = node_operation(s->g->t, s->g->node[i], types);
  if (!op.primitive->elements || !(op.primitive->traits & (AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_ALIAS)))
    return false;
  e->count = 0;
  for (uint32_t k = 0; k < x.n; k++) {
    const size_t size = ad_dtype_bytes(types[k]->dtype);
    e->list[k] = e->x + e->count;
    for (size_t n = (size_t)count_of(s->g, x.of[k]), j = 0; j < n; j++) {
      const ad_type one = ad_type_make(types[k]->dtype, 0, NULL);
      const uint64_t number = e->count + 1;
      e->at[e->count] = s->at[x.of[k]] + (uint32_t)(j*size);
      e->x[e->count++] = ad_array(b->scratch, one, &number);
    }
  }
  return op.primitive->elements(&op, b->scratch, e->list, e->z);
}

/* The place of a variable that is an element of an operand, or a constant. */
static uint32_t place_of(micro_builder *b, const elements *e, ad_var v) {
  const uint32_t node = v.at.node.index;
  if (node < e->count) return e->at[node];
  if (!node_is_constant(b->scratch, node)) return MICRO_NOWHERE;
  return micro_constant(b, node_data(b->scratch, node), node_type(b->scratch, node)->bytes);
}

/* Of the result's element v: one element, or the sum of two; more would be a matter of order. */
static bool find_source(micro_builder *b, const elements *e, ad_var v, source *from) {
  const ad_tape *t = b->scratch;
  const uint32_t node = v.at.node.index;
  int n;
  *from = (source){ place_of(b, e, v), MICRO_NOWHERE };
  if (from->x != MICRO_NOWHERE) return true;
  if (node_is_leaf(t, node) || node_primitive_number(&t->node[node]) != ROW_add) return false;
  const uint32_t *x = node_operands(t, node, &n);
  if (node_type(t, node)->type.dtype != AD_F64 || n != 2 || x[0] >= e->count || x[1] >= e->count)
    return false;
  *from = (source){ e->at[x[0]], e->at[x[1]] };
  return true;
}

/* False, without harm, when the operation has to be run. */
static bool find_sources(micro_builder *b, const micro_scope *s, uint32_t i, elements *e) {
  const ad_mark mark = ad_tape_mark(b->scratch);
  const int64_t n = count_of(s->g, i);
  bool good = ask(b, s, i, e);
  for (int64_t k = 0; k < n && good; k++) good = find_source(b, e, e->z[k], &e->from[k]);
  ad_tape_rewind(b->scratch, mark);
  ad_tape_clear(b->scratch);
  return good;
}

/* Elements [k, end) lie as they do in an operand; returns the end. */
static int64_t run_of(const elements *e, int64_t k, int64_t n, size_t size) {
  int64_t end = k + 1;
  while (end < n && e->from[end].y == MICRO_NOWHERE
         && e->from[end].x == e->from[k].x + (uint32_t)((size_t)(end - k)*size)) end++;
  return end;
}

static bool add_moves(micro_builder *b, const micro_scope *s, uint32_t i, const elements *e) {
  const int64_t n = count_of(s->g, i);
  const size_t size = ad_dtype_bytes(graph_type(s->g, i)->dtype);
  if (e->from[0].y == MICRO_NOWHERE && run_of(e, 0, n, size) == n) {
    s->at[i] = e->from[0].x;
    return true;
  }
  const uint32_t z = s->at[i] = micro_reserve(b, (size_t)n*size);
  bool good = z != MICRO_NOWHERE;
  for (int64_t k = 0, end; k < n && good; k = end) {
    const source from = e->from[k];
    const uint32_t to = z + (uint32_t)((size_t)k*size);
    end = from.y == MICRO_NOWHERE ? run_of(e, k, n, size) : k + 1;
    good = from.y == MICRO_NOWHERE
             ? micro_copy(b, to, from.x, (size_t)(end - k)*size)
             : micro_emit(b, (micro){ .code = MICRO_ROW(AD_F64, MICRO_ONE, ROW_add), .n = 1, .z = to,
                                      .x = from.x, .y = from.y });
  }
  return good;
}

static bool add_structured(micro_builder *b, const micro_scope *s, uint32_t i) {
  elements e;
  return find_sources(b, s, i, &e) ? add_moves(b, s, i, &e) : add_operation(b, s, i);
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

micro_answer micro_fits(const run_graph *g, uint32_t i, uint32_t *budget) {
  if (g->kind[i] == KIND_SCALAR || g->kind[i] == KIND_ELEMENTWISE) return fits_elementwise(g, i);
  if (g->kind[i] != KIND_STRUCTURED) return MICRO_NO;
  if (node_tuple(g->t, g->node[i])) return micro_control_fits(g, i, budget);
  return fits_structured(g, i);
}

bool micro_node(micro_builder *b, const micro_scope *s, uint32_t i) {
  if (node_tuple(s->g->t, s->g->node[i])) return micro_control(b, s, i);
  if (s->g->kind[i] == KIND_STRUCTURED) return add_structured(b, s, i);
  return add_elementwise(b, s, i);
}
