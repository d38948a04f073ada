/* function.c -- making functions and letting go of them. */
#include "function/function.h"
#include "adit/control.h"
#include "function/carrier.h"
#include "function/cone.h"
#include "function/merge.h"
#include "function/sparse_groups.h"
#include "function/tiles.h"
#include "tape/note.h"

#include <stdio.h>
#include <string.h>

/* --- copying nodes -------------------------------------------------------------------------------- */

/* Of a node of the tape that is copied: it is needed; it is an input; it has been copied. */
enum { NEEDED = 1, GIVEN = 2, COPIED = 4 };

/* Marks what out[] need, from the last node down. Inputs end the search. */
static void mark_needed(ad_tape *src, unsigned char *needed, int n_in, const uint32_t in[],
                        uint32_t highest) {
  for (int i = 0; i < n_in; i++)
    if (in[i] <= highest) needed[in[i]] |= GIVEN;
  for (uint32_t i = highest + 1; i-- > 0;) {
    if (needed[i] != NEEDED || node_is_leaf(src, i)) continue;
    int n;
    const uint32_t *x = node_operands(src, i, &n);
    for (int k = 0; k < n; k++) needed[x[k]] |= NEEDED;
  }
}

static uint32_t copy_leaf(ad_tape *dst, const ad_tape *src, uint32_t i) {
  const ad_type type = node_type(src, i)->type;
  if (src->node[i].x == LEAF_WITHOUT_VALUE) {
    tape_fail(dst, AD_ERROR_NO_VALUE,
              "an input of the traced body that is not among the function's inputs has no value");
    return INVALID_INDEX;
  }
  if (type.rank == 0) return tape_constant_bits(dst, type.dtype, src->value[i]);
  return tape_leaf(dst, PRIMITIVE_CONSTANT, &type, node_data(src, i));
}

/* A copy that is being made. */
typedef struct copying {
  ad_tape *dst, *src;
  uint32_t highest;                 /* of the nodes that are needed */
  unsigned char *needed;
  uint32_t *map;                    /* of each node: where it is on dst */
  uint32_t *x, few[8];              /* operands of the node being copied */
  size_t room;
  /* The outputs of calls that were opened: those of one call begin where its entry in the map says. */
  uint32_t *opened;
  size_t outputs, opened_room;
  loop_index loops;                 /* open once there is a loop */
  merge *merge;                     /* loops that took the place of several */
  size_t merges, merge_room;
  sparse_groups products;           /* open once there is a product */
  int n_out;
  const uint32_t *out;
} copying;

/* A derivative of a call computes the call again, unless it sees inside: the nodes of a call are worth that
 * up to some number. */
enum { OPEN_BELOW = 100000 };

static const carrier *call_to_open(const copying *p, uint32_t i) {
  size_t size;
  if (!p->dst->inlines || node_primitive(p->src, i) != &carrier_primitives[CARRIER_CALL]) return NULL;
  const carrier *c = node_attribute(p->src, i, &size);
  return !c->checkpoint && c->f->size < OPEN_BELOW ? c : NULL;
}

static uint32_t open_call(copying *p, const carrier *c) {
  ad_tape *dst = p->dst;
  const size_t n = (size_t)c->n_in + (size_t)c->n_out, bytes = n*sizeof(ad_var) + 1;
  const size_t room = p->outputs + (size_t)c->n_out;
  ad_var *v = memory_get(&dst->allocator, bytes);
  bool good = v && memory_reserve(&dst->allocator, &p->opened, &p->opened_room, room, sizeof *p->opened);
  if (!good) tape_fail(dst, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < c->n_in && good; k++) v[k] = handle(dst, p->x[k]);
  if (good)
    good = function_copy(dst, c->f->body, c->n_in, c->f->in, v, c->n_out, c->f->out, v + c->n_in) == AD_OK;
  for (int j = 0; j < c->n_out && good; j++) p->opened[p->outputs++] = v[c->n_in + j].at.node.index;
  memory_release(&dst->allocator, v, bytes);
  return good ? (uint32_t)(p->outputs - (size_t)c->n_out) : INVALID_INDEX;
}

/* Result j of node i: of a loop that was merged with others, another one. */
static int moved_result(const copying *p, uint32_t i, int j) {
  const uint32_t l = p->merges ? loop_find(&p->loops, i) : NO_LOOP;
  if (l == NO_LOOP || !p->loops.loop[l].merge) return j;
  return merge_result(&p->merge[p->loops.loop[l].merge - 1], p->loops.loop[l].member, j);
}

static uint32_t copy_result(const copying *p, uint32_t i) {
  int n;
  const uint32_t from = node_operands(p->src, i, &n)[0];
  const int j = result_number(p->src, i);
  if (call_to_open(p, from)) return p->opened[p->x[0] + (uint32_t)j];
  return tuple_result(p->dst, p->x[0], moved_result(p, from, j));
}

static uint32_t copy_operation(copying *p, uint32_t i) {
  ad_tape *dst = p->dst, *src = p->src;
  int n;
  size_t size;
  uint32_t primitive, type;
  const uint32_t *operand = node_operands(src, i, &n);
  for (int k = 0; k < n; k++) p->x[k] = p->map[operand[k]];
  if (node_is_result(src, i)) return copy_result(p, i);
  const carrier *call = node_tuple(src, i) ? call_to_open(p, i) : NULL;
  if (call) return open_call(p, call);
  const ad_type t = node_type(src, i)->type;
  const void *attribute = node_attribute(src, i, &size);
  if (node_tuple(src, i)) return tuple_record(dst, node_primitive(src, i), n, p->x, attribute, size);
  if (node_primitive_number(&src->node[i]) < ROW_COUNT) primitive = node_primitive_number(&src->node[i]);
  else if (!tape_number_primitive(
               dst, src->primitive[node_primitive_number(&src->node[i]) - PRIMITIVE_FIRST_OTHER], &primitive))
    return INVALID_INDEX;
  if (!tape_intern_type(dst, &t, &type)) return INVALID_INDEX;
  return tape_append_simplified(dst, primitive, type, n, p->x, attribute, size);
}

static bool reserve_operands(copying *p, size_t n) {
  if (n <= p->room) return true;
  uint32_t *old = p->x == p->few ? NULL : p->x;
  uint32_t *more = memory_resize(&p->dst->allocator, old, p->room*sizeof *old, n*sizeof *old);
  if (!more) {
    tape_fail(p->dst, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  p->x = more, p->room = n;
  return true;
}

static bool copy_node(copying *p, uint32_t i) {
  int n = 0;
  const bool leaf = node_is_leaf(p->src, i);
  p->needed[i] |= COPIED;
  if (!leaf) {
    node_operands(p->src, i, &n);
    if (!reserve_operands(p, (size_t)n)) return false;
    tape_copy_note(p->dst, p->src, i);
  }
  p->map[i] = leaf ? copy_leaf(p->dst, p->src, i) : copy_operation(p, i);
  return p->map[i] != INVALID_INDEX;
}

/* What nodes need that are copied together at the first of them, node[0]. */
static bool copy_cone(copying *p, int n, const uint32_t node[]) {
  const uint32_t first = node[0], last = node[n - 1];
  const size_t bytes = (size_t)(last - first) + 1;
  unsigned char *cone = memory_get_zeroed(&p->dst->allocator, bytes, 1);
  bool good = cone != NULL;
  if (!cone) tape_fail(p->dst, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < n; k++) p->needed[node[k]] |= COPIED;
  if (good) cone_mark(p->src, p->needed, n, node, cone);
  for (uint32_t i = first; i < last && good; i++)
    if (cone[i - first] && p->needed[i] == NEEDED) good = copy_node(p, i);
  memory_release(&p->dst->allocator, cone, bytes);
  if (good) tape_copy_note(p->dst, p->src, first);
  return good;
}

/* The loop that takes the place of several. */
static bool copy_merged(copying *p, const merge *m, uint32_t number) {
  for (int k = 0; k < m->members; k++) {
    loop_entry *e = &p->loops.loop[loop_find(&p->loops, m->node[k])];
    e->merge = number, e->member = k;
  }
  const uint32_t loop = copy_cone(p, m->members, m->node) ? merge_record(m, p->map) : INVALID_INDEX;
  for (int k = 0; k < m->members; k++) p->map[m->node[k]] = loop;
  return loop != INVALID_INDEX;
}

/* Loops of a function's body are merged when it is made; true: node i is one, or has failed to be. */
static bool copy_loop(copying *p, uint32_t i, bool *good) {
  if (!p->dst->closed || !loop_is(p->src, i)) return false;
  merge m;
  if (!p->loops.loop && !loop_index_open(&p->loops, &p->dst->allocator, p->src, p->needed, p->highest)) {
    tape_fail(p->dst, AD_ERROR_MEMORY, "out of memory");
    *good = false;
    return true;
  }
  if (!merge_open(&m, p->dst, p->src, &p->loops, i, p->needed)) {
    *good = p->dst->status == AD_OK;
    return !*good;
  }
  *good = memory_reserve(&p->dst->allocator, &p->merge, &p->merge_room, p->merges + 1, sizeof m);
  if (*good) p->merge[p->merges++] = m;
  else merge_close(&m), tape_fail(p->dst, AD_ERROR_MEMORY, "out of memory");
  *good = *good && copy_merged(p, &p->merge[p->merges - 1], (uint32_t)p->merges);
  return true;
}

/* Products with one sparse matrix, where a body becomes another one: calls have been opened then. True: node i
 * is one of them, or has failed to be. */
static bool copy_products(copying *p, uint32_t i, bool *good) {
  uint32_t node[SPARSE_GROUP_MOST];
  if (!p->dst->closed || !p->src->closed || !sparse_groups_product(p->src, i)) return false;
  if (!p->products.used && !sparse_groups_open(&p->products, &p->dst->allocator, p->src, p->needed, p->highest,
                                               p->n_out, p->out)) {
    tape_fail(p->dst, AD_ERROR_MEMORY, "out of memory");
    *good = false;
    return true;
  }
  const int n = sparse_groups_find(&p->products, i, node);
  if (n) *good = copy_cone(p, n, node) && sparse_groups_record(&p->products, p->dst, n, node, p->map);
  return n > 0;
}

static ad_status copy_needed(copying *p) {
  bool good = true;
  p->x = p->few;
  p->room = sizeof p->few/sizeof *p->few;
  for (uint32_t i = 0; i <= p->highest && good; i++)
    if (p->needed[i] == NEEDED && !copy_loop(p, i, &good) && !copy_products(p, i, &good))
      good = copy_node(p, i);
  const ad_allocator *a = &p->dst->allocator;
  for (size_t m = 0; m < p->merges; m++) merge_close(&p->merge[m]);
  memory_release(a, p->merge, p->merge_room*sizeof *p->merge);
  if (p->loops.loop) loop_index_close(&p->loops, a);
  if (p->products.used) sparse_groups_close(&p->products, a);
  if (p->x != p->few) memory_release(a, p->x, p->room*sizeof *p->x);
  memory_release(a, p->opened, p->opened_room*sizeof *p->opened);
  return good ? AD_OK : p->dst->status == AD_OK ? AD_ERROR_MEMORY : p->dst->status;
}

static ad_status copy_between(copying *p, int n_in, const uint32_t in[], const ad_var x[], int n_out,
                              const uint32_t out[], ad_var y[]) {
  for (int j = 0; j < n_out; j++) p->needed[out[j]] |= NEEDED;
  mark_needed(p->src, p->needed, n_in, in, p->highest);
  for (int i = 0; i < n_in; i++)
    if (in[i] <= p->highest) p->map[in[i]] = x[i].at.node.index;
  const ad_status status = copy_needed(p);
  for (int j = 0; j < n_out && status == AD_OK; j++) y[j] = handle(p->dst, p->map[out[j]]);
  return status;
}

ad_status function_copy(ad_tape *dst, ad_tape *src, int n_in, const uint32_t in[], const ad_var x[],
                        int n_out, const uint32_t out[], ad_var y[]) {
  uint32_t highest = 0;
  for (int j = 0; j < n_out; j++) {
    y[j] = handle_invalid(dst);
    if (out[j] > highest) highest = out[j];
  }
  const size_t n = (size_t)highest + 1;
  unsigned char *needed = memory_get_zeroed(&dst->allocator, n, 1);
  uint32_t *map = memory_get(&dst->allocator, n*sizeof *map);
  copying p = { .dst = dst, .src = src, .highest = highest, .needed = needed, .map = map, .n_out = n_out,
                .out = out };
  ad_status status = needed && map ? AD_OK : tape_fail(dst, AD_ERROR_MEMORY, "out of memory");
  char label[NOTE_TEXT];            /* what follows is labelled as before */
  tape_save_note(dst, label);
  if (status == AD_OK) status = copy_between(&p, n_in, in, x, n_out, out, y);
  if (src->notes) tape_set_note(dst, label);
  memory_release(&dst->allocator, needed, n);
  memory_release(&dst->allocator, map, n*sizeof *map);
  return status;
}

/* --- making --------------------------------------------------------------------------------------- */

static ad_function *allocate(const ad_allocator *a, const char *name, int n_in, int n_out) {
  ad_function *f = memory_get_zeroed(a, 1, sizeof *f);
  if (!f) return NULL;
  if (!name) name = "function";
  f->name_bytes = strlen(name) + 1;
  f->node_bytes = ((size_t)n_in + (size_t)n_out)*sizeof *f->in + 1;
  f->name = memory_get(a, f->name_bytes);
  f->in = memory_get_zeroed(a, f->node_bytes, 1);
  f->body = ad_tape_new_with(a);
  atomic_init(&f->references, 1);
  if (!f->name || !f->in || !f->body) {
    memory_release(a, f->name, f->name_bytes);
    memory_release(a, f->in, f->node_bytes);
    ad_tape_free(f->body);
    memory_release(a, f, sizeof *f);
    return NULL;
  }
  memcpy(f->name, name, f->name_bytes);
  f->n_in = n_in, f->n_out = n_out;
  f->out = f->in + n_in;
  f->body->tracing = f->body->closed = true;
  f->body->room = 0;
  return f;
}

/* The body's own depth came with what was copied into it. */
static ad_status check_depth(ad_function *f) {
  f->depth = f->body->depth + 1;
  if (f->depth <= FUNCTION_MAX_DEPTH) return AD_OK;
  return tape_fail(f->body, AD_ERROR_LIMIT, "%s: functions are nested more than %d deep", f->name,
                   FUNCTION_MAX_DEPTH);
}

/* Operations that outputs depend on: simplification leaves others behind. */
static bool count_operations(ad_function *f) {
  const ad_allocator *a = &f->body->allocator;
  uint32_t highest = 0;
  for (int j = 0; j < f->n_out; j++)
    if (f->out[j] > highest) highest = f->out[j];
  unsigned char *needed = memory_get_zeroed(a, (size_t)highest + 1, 1);
  if (!needed) return false;
  for (int j = 0; j < f->n_out; j++) needed[f->out[j]] = NEEDED;
  mark_needed(f->body, needed, f->n_in, f->in, highest);
  f->size = 0;
  for (uint32_t i = 0; i <= highest && f->n_out; i++)
    f->size += needed[i] == NEEDED && !node_is_leaf(f->body, i);
  memory_release(a, needed, (size_t)highest + 1);
  return true;
}

/* The part of t between in[] and out[] as a function: one more pass of simplification, and only what is
 * needed. */
static ad_function *copy_part(const char *name, ad_tape *t, int n_in, const uint32_t in[], int n_out,
                              const uint32_t out[]) {
  const ad_allocator *a = &t->allocator;
  ad_function *f = allocate(a, name, n_in, n_out);
  const size_t bytes = ((size_t)n_in + (size_t)n_out)*sizeof(ad_var) + 1;
  ad_var *x = memory_get(a, bytes);
  ad_status status = f && x ? AD_OK : AD_ERROR_MEMORY;
  for (int i = 0; i < n_in && status == AD_OK; i++) {
    const ad_type type = node_type(t, in[i])->type;
    f->in[i] = tape_placeholder(f->body, &type);
    if (f->in[i] == INVALID_INDEX) status = AD_ERROR_MEMORY;
    x[i] = handle(f->body, f->in[i]);
  }
  if (status == AD_OK) status = function_copy(f->body, t, n_in, in, x, n_out, out, x + n_in);
  for (int j = 0; j < n_out && status == AD_OK; j++) f->out[j] = x[n_in + j].at.node.index;
  memory_release(a, x, bytes);
  if (status == AD_OK) status = check_depth(f);
  if (status == AD_OK && !count_operations(f)) status = AD_ERROR_MEMORY;
  if (status == AD_OK) {
    tape_forget_numbers(f->body);
    tape_free_rewrites(f->body);
    return f;
  }
  tape_fail(t, status, "%s", f && f->body->message[0] ? f->body->message : ad_status_sentence(status));
  ad_function_free(f);
  return NULL;
}

static bool has_products(const ad_function *f) {
  for (uint32_t i = 0; i < f->body->count; i++)
    if (sparse_groups_product(f->body, i)) return true;
  return false;
}

/* f once more, now that calls are open. */
static ad_function *copy_again(ad_tape *t, ad_function *f) {
  ad_function *again = copy_part(f->name, f->body, f->n_in, f->in, f->n_out, f->out);
  if (!again) tape_fail(t, f->body->status, "%s", f->body->message);
  ad_function_free(f);
  return again;
}

static ad_function *cut(const char *name, ad_tape *t, int n_in, const uint32_t in[], int n_out,
                        const uint32_t out[]) {
  ad_function *f = copy_part(name, t, n_in, in, n_out, out);
  if (f && has_products(f)) f = copy_again(t, f);
  ad_function *blocks = f ? function_tiled(f) : NULL;
  if (blocks) ad_function_free(f);
  return blocks ? blocks : f;
}

static ad_status output_nodes(ad_tape *t, int n, const ad_var v[], uint32_t node[]) {
  for (int j = 0; j < n; j++) {
    char name[32];
    snprintf(name, sizeof name, "output %d", j);
    if (is_literal(v[j])) node[j] = tape_constant(t, v[j].tape ? AD_I64 : AD_F64, literal_value(v[j]));
    else if (ad_is_none(v[j])) return tape_fail(t, AD_ERROR_ARGUMENT, "output %d was not set", j);
    else if (!handle_check(v[j], "output")) return tape_fail(t, AD_ERROR_HANDLE, "output %d is invalid", j);
    else node[j] = v[j].tape == t ? v[j].at.node.index : tape_lift(t, v[j], name);
    if (node[j] == INVALID_INDEX) return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
  }
  return AD_OK;
}

/* What a trace needs at once: variables and nodes of inputs and outputs. */
typedef struct trace_lists {
  ad_var *x, *y;
  uint32_t *in, *out;
  size_t bytes;
} trace_lists;

static bool open_lists(trace_lists *l, const ad_allocator *a, int n_in, int n_out) {
  const size_t n = (size_t)n_in + (size_t)n_out;
  l->bytes = n*(sizeof *l->x + sizeof *l->in) + 1;
  l->x = memory_get(a, l->bytes);
  if (!l->x) return false;
  l->y = l->x + n_in;
  l->in = (uint32_t *)(l->x + n);
  l->out = l->in + n_in;
  return true;
}

/* The variables of the outer tape that f's last inputs stand for. */
static bool note_captures(ad_function *f, const ad_tape *t) {
  f->captured = memory_get(&t->allocator, t->captures*sizeof *f->captured + 1);
  if (!f->captured) return false;
  f->outer = t->outer;
  f->captures = (int)t->captures;
  for (size_t k = 0; k < t->captures; k++) f->captured[k] = handle(t->outer, t->captured[k].outer);
  return true;
}

/* The function of what the body has recorded, with captured variables behind the inputs. */
static ad_function *cut_with_captures(const char *name, ad_tape *t, int n_in, const uint32_t in[], int n_out,
                                      const uint32_t out[]) {
  if (t->captures == 0) return cut(name, t, n_in, in, n_out, out);
  const size_t n = (size_t)n_in + t->captures;
  uint32_t *all = n <= INT32_MAX ? memory_get(&t->allocator, n*sizeof *all) : NULL;
  ad_function *f = NULL;
  if (all) {
    memcpy(all, in, (size_t)n_in*sizeof *all);
    for (size_t k = 0; k < t->captures; k++) all[(size_t)n_in + k] = t->captured[k].inner;
    f = cut(name, t, (int)n, all, n_out, out);
  }
  memory_release(&t->allocator, all, n*sizeof *all);
  if (f && note_captures(f, t)) return f;
  tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  ad_function_free(f);
  return NULL;
}

static ad_function *trace_on(ad_tape *t, const char *name, ad_body *body, void *context, int n_in,
                             const ad_type in[], int n_out) {
  trace_lists l;
  ad_function *f = NULL;
  if (!open_lists(&l, &t->allocator, n_in, n_out)) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  for (int i = 0; i < n_in; i++) {
    l.in[i] = ad_type_valid(in[i]) ? tape_placeholder(t, &in[i]) : INVALID_INDEX;
    if (l.in[i] == INVALID_INDEX) tape_fail(t, AD_ERROR_SIZE, "input %d: not a type adit can hold", i);
    else l.x[i] = handle(t, l.in[i]);
  }
  for (int j = 0; j < n_out; j++) l.y[j] = ad_none();
  if (t->status == AD_OK) body(t, l.x, l.y, context);
  if (t->status == AD_OK && output_nodes(t, n_out, l.y, l.out) == AD_OK) {
    tape_forget_numbers(t);           /* nothing more is recorded there: make room for the copy */
    f = cut_with_captures(name, t, n_in, l.in, n_out, l.out);
  }
  memory_release(&t->allocator, l.x, l.bytes);
  return f;
}

static void report_failure(ad_report *report, const ad_tape *t, ad_status fallback) {
  if (!report) return;
  report->status = t && t->status != AD_OK ? t->status : fallback;
  snprintf(report->message, sizeof report->message, "%s",
           t && t->message[0] ? t->message : ad_status_sentence(report->status));
}

ad_function *function_trace_inside(ad_tape *outer, const ad_allocator *allocator, const char *name,
                                   ad_body *body, void *context, int n_in, const ad_type in[], int n_out,
                                   ad_report *report) {
  if (report) *report = (ad_report){ AD_OK, "" };
  if (!body || n_in < 0 || n_out < 0 || (n_in && !in)) {
    report_failure(report, NULL, AD_ERROR_ARGUMENT);
    return NULL;
  }
  ad_tape *t = ad_tape_new_with(allocator);
  ad_function *f = NULL;
  if (t) {
    t->tracing = true;
    t->room = 0;
    t->outer = outer;
    t->level = outer ? outer->level + 1 : 0;
    f = t->level <= FUNCTION_MAX_DEPTH ? trace_on(t, name, body, context, n_in, in, n_out) : NULL;
    if (t->level > FUNCTION_MAX_DEPTH) tape_fail(t, AD_ERROR_LIMIT, "traces are nested too deep");
  }
  if (!f) report_failure(report, t, AD_ERROR_MEMORY);
  ad_tape_free(t);
  return f;
}

ad_function *ad_function_trace_with(const ad_allocator *allocator, const char *name, ad_body *body,
                                    void *context, int n_in, const ad_type in[], int n_out,
                                    ad_report *report) {
  return function_trace_inside(NULL, allocator, name, body, context, n_in, in, n_out, report);
}

ad_function *ad_function_trace_inside(ad_tape *outer, const char *name, ad_body *body, void *context,
                                      int n_in, const ad_type in[], int n_out, ad_report *report) {
  if (outer)
    return function_trace_inside(outer, &outer->allocator, name, body, context, n_in, in, n_out, report);
  report_failure(report, NULL, AD_ERROR_ARGUMENT);
  return NULL;
}

ad_function *ad_function_trace_report(const char *name, ad_body *body, void *context, int n_in,
                                      const ad_type in[], int n_out, ad_report *report) {
  return ad_function_trace_with(NULL, name, body, context, n_in, in, n_out, report);
}

ad_function *ad_function_trace(const char *name, ad_body *body, void *context, int n_in, const ad_type in[],
                               int n_out) {
  return ad_function_trace_with(NULL, name, body, context, n_in, in, n_out, NULL);
}

ad_function *ad_function_new(const char *name, int n_in, const ad_var in[], int n_out, const ad_var out[]) {
  ad_tape *t = ad_tape_of(n_out, out);
  if (!t) t = ad_tape_of(n_in, in);
  trace_lists l;
  ad_function *f = NULL;
  if (!t || n_in < 0 || n_out < 0 || tape_settle(t) != AD_OK) return NULL;
  if (!open_lists(&l, &t->allocator, n_in, n_out)) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  bool good = true;
  for (int i = 0; i < n_in && good; i++)
    good = !is_literal(in[i]) || tape_fail(t, AD_ERROR_ARGUMENT, "input %d is a number", i) == AD_OK;
  if (good && output_nodes(t, n_in, in, l.in) == AD_OK && output_nodes(t, n_out, out, l.out) == AD_OK)
    f = cut(name, t, n_in, l.in, n_out, l.out);
  memory_release(&t->allocator, l.x, l.bytes);
  return f;
}

ad_function *function_derive(const ad_function *f, const char *suffix, ad_body *body, void *context, int n_in,
                             const ad_type in[], int n_out) {
  char name[128];
  snprintf(name, sizeof name, "%.100s%s", f->name, suffix);
  return function_trace_inside(f->outer, &f->body->allocator, name, body, context, n_in, in, n_out, NULL);
}

/* --- life ----------------------------------------------------------------------------------------- */

ad_function *ad_function_retain(ad_function *f) {
  if (f) atomic_fetch_add_explicit(&f->references, 1, memory_order_relaxed);
  return f;
}

void ad_function_free(ad_function *f) {
  if (!f || atomic_fetch_sub_explicit(&f->references, 1, memory_order_acq_rel) != 1) return;
  const ad_allocator a = f->body->allocator;
  function_free_plans(f);
  function_free_derived(f);
  memory_release(&a, f->captured, (size_t)f->captures*sizeof *f->captured + 1);
  ad_tape_free(f->body);
  memory_release(&a, f->name, f->name_bytes);
  memory_release(&a, f->in, f->node_bytes);
  memory_release(&a, f, sizeof *f);
}

/* --- questions ------------------------------------------------------------------------------------ */

static const ad_type no_type = { AD_F64, -1, { 0 } };

const char *ad_function_name(const ad_function *f) { return f ? f->name : ""; }
int ad_function_inputs(const ad_function *f) { return f ? function_visible(f) : 0; }
int ad_function_outputs(const ad_function *f) { return f ? f->n_out : 0; }
size_t ad_function_size(const ad_function *f) { return f ? f->size : 0; }

ad_type ad_function_input_type(const ad_function *f, int i) {
  return f && i >= 0 && i < function_visible(f) ? node_type(f->body, f->in[i])->type : no_type;
}

ad_type ad_function_output_type(const ad_function *f, int i) {
  return f && i >= 0 && i < f->n_out ? node_type(f->body, f->out[i])->type : no_type;
}
