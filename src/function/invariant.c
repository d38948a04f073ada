/* invariant.c -- see invariant.h. */
#include "function/invariant.h"
#include "derive/flow.h"
#include "derive/mask.h"
#include "function/derived.h"
#include "primitives/construct.h"
#include "primitives/library.h"
#include "tape/tuple.h"

#include <stdio.h>
#include <string.h>

/* STAYS: it depends on more than shared inputs, or must not be moved. DEPENDS: it does on one of those.
 * COSTLY: itself or what it is computed from. */
enum { STAYS = 1, DEPENDS = 2, COSTLY = 4, WANTED = 8, MOVED = 16 };

/* Elements of all that is moved out of a body, and steps from which on that pays. */
enum { MOVED_ELEMENTS = 1 << 20, FEW_STEPS = 3 };

/* --- may it be moved? ----------------------------------------------------------------------------------- */

static bool is_row_of(const ad_tape *t, uint32_t i, elementwise_id row) {
  return node_primitive_number(&t->node[i]) == (uint32_t)row;
}

static bool is_sum(const ad_tape *t, uint32_t i) {
  return is_row_of(t, i, ROW_add) || is_row_of(t, i, ROW_sub) || is_row_of(t, i, ROW_neg);
}

/* A cheap row costs no more than to read what it gives. */
static bool is_cheap(const ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  if (!p->row) return p == &cast_primitive;
  const elementwise_row *row = p->row;
  return is_sum(t, i) || row->kind >= CLASS_COMPARE || is_row_of(t, i, ROW_mul) || is_row_of(t, i, ROW_square)
         || is_row_of(t, i, ROW_abs) || is_row_of(t, i, ROW_fma);
}

/* Only more of the same: better done in the loop. */
static bool is_light(const ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  return (p->traits & AD_TRAIT_ALIAS) || is_broadcast(p);
}

static bool is_linear_in_all(const ad_primitive *p, int n) {
  if (p->traits & AD_TRAIT_LINEAR) return true;
  return n > 0 && n < 32 && (p->linear_in & ((1u << n) - 1)) == (1u << n) - 1;
}

/* FLOW_ASKED for what is never moved, else what its slopes may do to a zero. What may fail is not moved: a
 * loop that makes no step does not come to it. */
static unsigned zeros_of(const ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  int n;
  node_operands(t, i, &n);
  if (p->tuple || node_is_result(t, i) || !p->name) return FLOW_ASKED;
  if (p == &cast_primitive || is_sum(t, i)) return 0;
  if (p->row) return ((const elementwise_row *)p->row)->kind >= CLASS_COMPARE ? 0 : mask_slopes(t, i);
  if (!p->type || p->not_connected || !(p->traits & AD_TRAIT_NEVER_FAILS)) return FLOW_ASKED;
  if (!is_linear_in_all(p, n)) return FLOW_ASKED;
  return p->traits & AD_TRAIT_LINEAR ? 0 : FLOW_MASK;
}

/* May a rule of the operation say that there is no connection? */
static bool chooses(const ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  int n;
  node_operands(t, i, &n);
  const elementwise_row *row = p->row;
  if (p == &cast_primitive) return false;
  if (!row) return !p->type || p->tuple || !(p->traits & AD_TRAIT_CONNECTS_ALL || is_linear_in_all(p, n));
  for (int k = 0; k < n && k < 3; k++)
    if (p->rule[k] && strstr(p->rule[k], "NONE") && row->kind < CLASS_COMPARE) return true;
  return row->kind == CLASS_CHOICE;
}

/* --- which nodes ---------------------------------------------------------------------------------------- */

static void mark_inputs(const ad_function *f, const bool shared[], unsigned char mark[]) {
  for (int k = 0; k < f->n_in; k++) mark[f->in[k]] = shared[k] ? DEPENDS : STAYS;
}

/* worst: what slopes of moved operations may do. */
static void mark_nodes(const ad_function *f, unsigned worst, unsigned char mark[]) {
  const ad_tape *t = f->body;
  for (uint32_t i = 0; i < t->count; i++) {
    int n;
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) mark[i] |= mark[x[k]] & (STAYS | DEPENDS | COSTLY);
    if (zeros_of(t, i) & ~worst) mark[i] |= STAYS;
    if (!is_cheap(t, i) && !is_light(t, i)) mark[i] |= COSTLY;
  }
}

/* May something that stays cut connections? */
static bool any_chooses(const ad_function *f, const unsigned char mark[]) {
  for (uint32_t i = 0; i < f->body->count; i++)
    if (mark[i] & STAYS && !node_is_leaf(f->body, i) && chooses(f->body, i)) return true;
  return false;
}

/* Operands of what stays are moved, or, where that is not worth it, stay themselves. Returns the
 * elements moved. */
static int64_t choose(const ad_function *f, unsigned char mark[]) {
  const ad_tape *t = f->body;
  int64_t elements = 0;
  for (int j = 0; j < f->n_out; j++) mark[f->out[j]] |= WANTED;
  for (uint32_t i = (uint32_t)t->count; i-- > 0;) {
    int n;
    const bool stays = mark[i] & STAYS;
    if (node_is_leaf(t, i) || !(mark[i] & WANTED)) continue;
    if (!stays && (mark[i] & (DEPENDS | COSTLY)) == (DEPENDS | COSTLY) && !is_light(t, i)) {
      mark[i] |= MOVED;
      elements += node_type(t, i)->count;
      continue;
    }
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) mark[x[k]] |= WANTED;
  }
  return elements;
}

/* Shared inputs that only what is moved looks at go with it. */
static bool list_nodes(invariants *v, const ad_function *f, const bool shared[], const unsigned char mark[]) {
  const ad_tape *t = f->body;
  for (uint32_t i = 0; i < t->count; i++) v->count += (mark[i] & MOVED) != 0;
  if (v->count == 0) return false;
  v->bytes = (size_t)v->count*sizeof *v->node + (size_t)f->n_in*sizeof *v->input;
  v->node = memory_get(&t->allocator, v->bytes);
  if (!v->node) return false;
  v->input = (int *)(void *)(v->node + v->count);
  for (uint32_t i = 0, k = 0; i < t->count; i++)
    if (mark[i] & MOVED) v->node[k++] = i;
  for (int k = 0; k < f->n_in; k++)
    if (!shared[k] || mark[f->in[k]] & WANTED) v->input[v->inputs++] = k;
  return true;
}

/* Slopes that depend on values are all right where nothing that stays cuts connections; those with
 * poles never are. */
static bool find_nodes(invariants *v, const ad_function *f, const bool shared[]) {
  const ad_allocator *a = &f->body->allocator;
  const size_t n = f->body->count + 1;
  unsigned char *mark = memory_get_zeroed(a, n, 1);
  if (!mark) return false;
  mark_inputs(f, shared, mark);
  mark_nodes(f, FLOW_MASK, mark);
  if (any_chooses(f, mark)) {
    memset(mark, 0, n);
    mark_inputs(f, shared, mark);
    mark_nodes(f, 0, mark);
  }
  const bool good = choose(f, mark) <= MOVED_ELEMENTS && list_nodes(v, f, shared, mark);
  memory_release(a, mark, n);
  return good;
}

/* --- the body without them ------------------------------------------------------------------------------ */

typedef struct remaining { ad_function *f; const invariants *v; } remaining;

static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const remaining *r = context;
  ad_function *f = r->f;
  const invariants *v = r->v;
  const size_t n = (size_t)v->inputs + (size_t)v->count, bytes = n*sizeof(uint32_t);
  uint32_t *node = memory_get(&t->allocator, bytes);
  if (!node) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  for (int k = 0; k < v->inputs; k++) node[k] = f->in[v->input[k]];
  memcpy(node + v->inputs, v->node, (size_t)v->count*sizeof *node);
  function_copy(t, f->body, (int)n, node, in, f->n_out, f->out, out);
  memory_release(&t->allocator, node, bytes);
}

static ad_function *trace_step(const invariants *v, ad_function *f) {
  const ad_allocator *a = &f->body->allocator;
  const int n = v->inputs + v->count;
  remaining r = { f, v };
  ad_type *in = memory_get(a, (size_t)n*sizeof *in);
  if (!in) return NULL;
  for (int k = 0; k < n; k++)
    in[k] = node_type(f->body, k < v->inputs ? f->in[v->input[k]] : v->node[k - v->inputs])->type;
  ad_function *step = ad_function_trace_with(a, f->name, step_body, &r, n, in, f->n_out, NULL);
  memory_release(a, in, (size_t)n*sizeof *in);
  return step;
}

bool invariants_open(invariants *v, ad_function *f, const bool shared[], int64_t steps) {
  *v = (invariants){ 0 };
  if (steps >= 0 && steps < FEW_STEPS) return false;
  if (!find_nodes(v, f, shared)) return false;
  const size_t bytes = (size_t)f->n_out + 1;
  bool *none = memory_get_zeroed(&f->body->allocator, bytes, 1);
  if (none) v->step = derived_find(f, DERIVED_STEP, 0, shared, none);
  if (none && !v->step) {
    ad_function *step = trace_step(v, f);
    if (step) v->step = derived_keep(f, DERIVED_STEP, 0, shared, none, step);
  }
  memory_release(&f->body->allocator, none, bytes);
  if (v->step) return true;
  invariants_close(v, f);
  return false;
}

void invariants_close(invariants *v, const ad_function *f) {
  memory_release(&f->body->allocator, v->node, v->bytes);
}

ad_status invariants_record(const invariants *v, ad_tape *t, ad_function *f, const bool shared[],
                            const ad_var x[], ad_var z[]) {
  const size_t bytes = (size_t)f->n_in*sizeof(uint32_t) + 1;
  uint32_t *node = memory_get(&t->allocator, bytes);
  int n = 0;
  if (!node) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < f->n_in; k++)
    if (shared[k]) node[n++] = f->in[k];
  const ad_status status = function_copy(t, f->body, n, node, x, v->count, v->node, z);
  memory_release(&t->allocator, node, bytes);
  return status;
}
