/* lower_region.c -- nodes of one shape become a region. */
#include "run/lower.h"
#include "primitives/library.h"

#include <string.h>

#define ABSORBED (NOWHERE - 1)      /* in slot_of: the step of the node's only user computes it in passing */

typedef struct builder {
  planner *q;
  region *r;
  const schedule_step *s;
  const ad_type *shape;
  uint32_t *slot_of;                /* of each graph node that the region touches */
  uint32_t *last_use;               /* by slot: the step that reads it last */
  size_t last_capacity;
} builder;

static bool add_slot(builder *b, uint32_t node, slot_kind kind, uint32_t *slot) {
  const ad_allocator *a = &b->q->p->allocator;
  region *r = b->r;
  if (!memory_reserve(a, &r->slot, &r->slot_capacity, r->slots + 1, sizeof *r->slot)) return false;
  if (!memory_reserve(a, &b->last_use, &b->last_capacity, r->slots + 1, sizeof *b->last_use)) return false;
  const ad_type *type = graph_type(&b->q->g, node);
  r->slot[r->slots] = (region_slot){ .kind = kind,
                                     .place = b->q->place_of[node],
                                     .size = ad_dtype_bytes(type->dtype) };
  b->last_use[r->slots] = 0;
  *slot = b->slot_of[node] = r->slots++;
  return true;
}

static bool operand_slot(builder *b, uint32_t node, uint32_t *slot) {
  *slot = b->slot_of[node];
  if (*slot == NOWHERE) {
    int64_t stride[AD_MAX_RANK] = { 0 };
    slot_kind kind = region_classify(graph_type(&b->q->g, node), b->shape, stride);
    if (b->q->request->lanes && b->q->p->place[b->q->place_of[node]].kind == PLACE_FIXED) kind = SLOT_SPLAT;
    if (!add_slot(b, node, kind, slot)) return false;
    memcpy(b->r->slot[*slot].stride, stride, sizeof stride);
  }
  b->last_use[*slot] = b->r->steps;
  return true;
}

/* --- pairs: two operations in one pass ------------------------------------------------------------------ */

/* Which of node's operands is absorbed; the number of its operands if none is. */
static uint32_t find_absorbed(const builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  const uint32_t first = g->operand_start[node], n = g->operand_start[node + 1] - first;
  uint32_t k = 0;
  while (k < n && b->slot_of[g->operand[first + k]] != ABSORBED) k++;
  return k;
}

static bool absorbs(const builder *b, uint32_t node) {
  return find_absorbed(b, node) < b->q->g.operand_start[node + 1] - b->q->g.operand_start[node];
}

/* A kernel for node and its operand number k together, if nobody else wants that operand. */
static block_kernel *pair_kernel(const builder *b, uint32_t node, uint32_t k) {
  const run_graph *g = &b->q->g;
  const uint32_t x = g->operand[g->operand_start[node] + k];
  if (g->kind[x] != KIND_ELEMENTWISE || b->q->place_of[x] != NOWHERE) return NULL;
  if (g->user_start[x + 1] - g->user_start[x] != 1) return NULL;
  const elementwise_row *first = node_primitive(g->t, g->node[x])->row;
  const elementwise_row *second = node_primitive(g->t, g->node[node])->row;
  if (!first || !second) return NULL;
  return kernels_pair(kernels_best(), (elementwise_id)(first - elementwise_rows),
                      (elementwise_id)(second - elementwise_rows), k, graph_type(g, node)->dtype);
}

/* A pair is no part of another pair; what the operands absorb is settled, they come before their user. */
static void choose_pair(builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  for (uint32_t k = 0; k < g->operand_start[node + 1] - g->operand_start[node]; k++) {
    const uint32_t x = g->operand[g->operand_start[node] + k];
    if (!pair_kernel(b, node, k) || absorbs(b, x)) continue;
    b->slot_of[x] = ABSORBED;
    return;
  }
}

/* --- steps ---------------------------------------------------------------------------------------------- */

/* The kernel and the operands of node alone. */
static void single_step(const builder *b, uint32_t node, region_step *step, uint32_t operand[3]) {
  const run_graph *g = &b->q->g;
  const uint32_t first = g->operand_start[node], n = g->operand_start[node + 1] - first;
  for (uint32_t k = 0; k < n; k++) operand[k] = g->operand[first + k];
  const ad_primitive *p = node_primitive(g->t, g->node[node]);
  step->kernel = primitive_kernel(p, graph_type(g, operand[n == 3])->dtype, graph_type(g, node)->dtype);
  if (!step->kernel) step->own = p->block;
  if (p->row) step->attribute = node_row_attribute(g->t, g->node[node]);
}

/* Those of node and its operand number k. */
static void pair_step(const builder *b, uint32_t node, uint32_t k, region_step *step, uint32_t operand[3]) {
  const run_graph *g = &b->q->g;
  const uint32_t *second = g->operand + g->operand_start[node];
  const uint32_t *first = g->operand + g->operand_start[second[k]];
  operand[0] = first[0], operand[1] = first[1], operand[2] = second[1 - k];
  step->kernel = pair_kernel(b, node, k);
}

static bool add_step(builder *b, uint32_t node) {
  const ad_allocator *a = &b->q->p->allocator;
  region *r = b->r;
  if (b->slot_of[node] == ABSORBED) return true;
  if (!memory_reserve(a, &r->step, &r->step_capacity, r->steps + 1, sizeof *r->step)) return false;
  region_step step = { .kernel = NULL };
  uint32_t operand[3] = { NOWHERE, NOWHERE, NOWHERE };
  if (absorbs(b, node)) pair_step(b, node, find_absorbed(b, node), &step, operand);
  else single_step(b, node, &step, operand);
  for (int k = 0; k < 3; k++)
    if (operand[k] != NOWHERE && !operand_slot(b, operand[k], &operand[k])) return false;
  const slot_kind kind = b->q->place_of[node] == NOWHERE ? SLOT_TEMPORARY : SLOT_OUTPUT;
  if (!add_slot(b, node, kind, &step.z)) return false;
  step.x = operand[0], step.y = operand[1], step.w = operand[2];
  b->last_use[step.z] = r->steps;
  r->step[r->steps++] = step;
  return true;
}

/* --- buffers: linear scan over the steps ---------------------------------------------------------------- */

typedef struct buffers { uint32_t *free; size_t count, capacity; } buffers;

static bool release(builder *b, buffers *f, uint32_t slot) {
  if (!memory_reserve(&b->q->p->allocator, &f->free, &f->capacity, f->count + 1, sizeof *f->free))
    return false;
  f->free[f->count++] = b->r->slot[slot].buffer;
  return true;
}

static uint32_t acquire(builder *b, buffers *f) { return f->count ? f->free[--f->count] : b->r->buffers++; }

/* A kernel may write over an operand of its own element size, so such operands give back their buffers first.
 */
static bool release_operands(builder *b, buffers *f, uint32_t i, bool before) {
  const region_step *s = &b->r->step[i];
  const uint32_t operand[3] = { s->x, s->y, s->w };
  for (int k = 0; k < 3; k++) {
    uint32_t o = operand[k];
    if (o == NOWHERE || b->r->slot[o].kind != SLOT_TEMPORARY || b->last_use[o] != i) continue;
    bool repeated = (k > 0 && operand[0] == o) || (k > 1 && operand[1] == o);
    bool same_size = b->r->slot[o].size == b->r->slot[s->z].size;
    if (!repeated && same_size == before && !release(b, f, o)) return false;
  }
  return true;
}

/* Inputs and outputs keep theirs: a short last block goes through them as a whole. */
static bool assign_buffers(builder *b) {
  region *r = b->r;
  buffers f = { NULL, 0, 0 };
  bool good = true;
  for (uint32_t i = 0; i < r->slots; i++)
    if (r->slot[i].kind != SLOT_TEMPORARY) r->slot[i].buffer = r->buffers++;
  for (uint32_t i = 0; i < r->steps && good; i++) {
    good = release_operands(b, &f, i, true);
    region_slot *z = &r->slot[r->step[i].z];
    if (z->kind == SLOT_TEMPORARY) z->buffer = acquire(b, &f);
    good = good && release_operands(b, &f, i, false);
  }
  memory_release(&b->q->p->allocator, f.free, f.capacity*sizeof *f.free);
  return good;
}

/* The region's slots are looked up through one array of the planner, left as it was found. */
static void forget_slots(builder *b, const uint32_t *order) {
  const run_graph *g = &b->q->g;
  for (uint32_t k = 0; k < b->s->count; k++) {
    b->slot_of[order[k]] = NOWHERE;
    for (uint32_t e = g->operand_start[order[k]]; e < g->operand_start[order[k] + 1]; e++)
      b->slot_of[g->operand[e]] = NOWHERE;
  }
}

bool lower_region(planner *q, const schedule_step *s) {
  plan_step *step = &q->p->step[q->p->steps - 1];
  const uint32_t *order = q->s.order + s->first;
  builder b = {
    .q = q, .r = &step->region, .s = s, .shape = graph_type(&q->g, order[0]), .slot_of = q->region_slot
  };
  step->region.count = ad_type_count(*b.shape);
  step->region.rank = b.shape->rank;
  memcpy(step->region.dim, b.shape->dim, sizeof step->region.dim);
  bool good = true;
  for (uint32_t k = 0; k < s->count; k++) choose_pair(&b, order[k]);
  for (uint32_t k = 0; k < s->count && good; k++) good = add_step(&b, order[k]);
  good = good && assign_buffers(&b);
  forget_slots(&b, order);
  memory_release(&q->p->allocator, b.last_use, b.last_capacity*sizeof *b.last_use);
  return good;
}
