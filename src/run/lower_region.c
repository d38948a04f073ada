/* lower_region.c -- nodes of one shape become a region.
 *
 * They are put into an order in which most of them follow their own operand, depth first from the values that
 * leave the region. Where cheap ones follow each other they become a chain: a value that only the next node
 * wants is in registers and has no slot.
 */
#include "run/lower.h"
#include "primitives/library.h"

#include <string.h>

/* What slot_of says of nodes that have no slot, besides NOWHERE. */
#define VISITED (NOWHERE - 1)       /* in the order */
#define STORED  (NOWHERE - 2)       /* shall have one: somebody reads it from memory */

/* CHAIN_LEAST: nodes that are worth a chain. CHAIN_NODES: the most; each has at most a load, its link and a
 * store.
 * CALL_TILE: bytes of a tile that is worth calling a kernel for. CACHE_SHARE: bytes of L1 for temporaries. */
enum { CHAIN_LEAST = 3, CHAIN_NODES = 32, CALL_TILE = 256, CACHE_SHARE = 16384 };

typedef struct builder {
  planner *q;
  region *r;
  const schedule_step *s;
  const ad_type *shape;
  uint32_t *order;                  /* the region's nodes as they are run */
  uint32_t *slot_of;                /* of each graph node that the region touches */
  uint32_t *last_use;               /* by slot: when it is read last, see now() */
  size_t last_capacity;
} builder;

/* Operands of a node. */
typedef struct operands { const uint32_t *of; uint32_t n; } operands;

static operands operands_of(const builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  const uint32_t first = g->operand_start[node];
  return (operands){ g->operand + first, g->operand_start[node + 1] - first };
}

static bool is_inside(const builder *b, uint32_t node) {
  return b->q->s.step_of[node] == b->q->s.step_of[b->q->s.order[b->s->first]];
}

/* Steps and links are numbered together, as they are run. */
static uint32_t now(const builder *b) { return b->r->steps + b->r->links; }

/* --- order ---------------------------------------------------------------------------------------------- */

static const elementwise_row *row_of(const builder *b, uint32_t node) {
  return node_primitive(b->q->g.t, b->q->g.node[node])->row;
}

/* The link that computes node, whose operand number at is the running value; CHAIN_NONE: there is none. */
static int link_of(const builder *b, uint32_t node, uint32_t at) {
  const elementwise_row *row = row_of(b, node);
  const bool chains = row && kernels_best()->chain[graph_type(&b->q->g, node)->dtype];
  return chains ? chain_find((elementwise_id)(row - elementwise_rows), at) : CHAIN_NONE;
}

static bool is_cheap(const builder *b, uint32_t node) { return link_of(b, node, 0) != CHAIN_NONE; }

/* The chains that node can be in: its operands and it are of one float type. NULL: none. */
static const chain_table *chains_for(const builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  const ad_dtype dtype = graph_type(g, node)->dtype;
  const operands x = operands_of(b, node);
  if (!row_of(b, node) || row_of(b, node)->kind > CLASS_NUMERIC) return NULL;
  for (uint32_t k = 0; k < x.n; k++)
    if (graph_type(g, x.of[k])->dtype != dtype) return NULL;
  return kernels_best()->chain[dtype];
}

/* Cheap ones last, so that the node itself comes next in their chain. NOWHERE: all are in the order. */
static uint32_t next_operand(const builder *b, uint32_t node) {
  const operands x = operands_of(b, node);
  uint32_t cheap = NOWHERE;
  for (uint32_t k = 0; k < x.n; k++) {
    if (!is_inside(b, x.of[k]) || b->slot_of[x.of[k]] == VISITED) continue;
    if (!is_cheap(b, x.of[k])) return x.of[k];
    if (cheap == NOWHERE) cheap = x.of[k];
  }
  return cheap;
}

static bool leaves_region(const builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  for (uint32_t k = g->user_start[node]; k < g->user_start[node + 1]; k++)
    if (is_inside(b, g->user[k])) return false;
  return true;
}

/* Depth first, operands before their users. stack has room for all. */
static void arrange(builder *b, uint32_t *stack) {
  const uint32_t *nodes = b->q->s.order + b->s->first;
  uint32_t done = 0;
  for (uint32_t k = 0; k < b->s->count; k++) {
    if (!leaves_region(b, nodes[k])) continue;
    uint32_t depth = 0, node = nodes[k];
    for (;;) {
      b->slot_of[node] = VISITED;
      stack[depth++] = node;
      while (depth > 0 && (node = next_operand(b, stack[depth - 1])) == NOWHERE)
        b->order[done++] = stack[--depth];
      if (depth == 0) break;
    }
  }
}

/* --- chains --------------------------------------------------------------------------------------------- */

/* May order[k] and the node before it be in one chain? */
static bool continues(const builder *b, uint32_t k) {
  if (k % CHAIN_NODES == 0 || k >= b->s->count) return false;
  const chain_table *chains = chains_for(b, b->order[k]);
  return chains && chains_for(b, b->order[k - 1]) == chains;
}

/* Which operand of order[k] is the running value of its chain; the number of its operands if none is. */
static uint32_t running_operand(const builder *b, uint32_t k) {
  const operands x = operands_of(b, b->order[k]);
  uint32_t at = 0;
  const bool running = continues(b, k) && is_cheap(b, b->order[k]) && is_cheap(b, b->order[k - 1]);
  while (at < x.n && !(running && x.of[at] == b->order[k - 1])) at++;
  return at;
}

static void mark_stored(builder *b) {
  for (uint32_t k = 0; k < b->s->count; k++) {
    const operands x = operands_of(b, b->order[k]);
    const uint32_t running = running_operand(b, k);
    if (b->q->place_of[b->order[k]] != NOWHERE) b->slot_of[b->order[k]] = STORED;
    for (uint32_t i = 0; i < x.n; i++)
      if (i != running && is_inside(b, x.of[i])) b->slot_of[x.of[i]] = STORED;
  }
}

/* --- slots ---------------------------------------------------------------------------------------------- */

static bool add_slot(builder *b, uint32_t node, slot_kind kind, uint32_t *slot) {
  const ad_allocator *a = &b->q->p->allocator;
  region *r = b->r;
  if (!memory_reserve(a, &r->slot, &r->slot_capacity, r->slots + 1, sizeof *r->slot)) return false;
  if (!memory_reserve(a, &b->last_use, &b->last_capacity, r->slots + 1, sizeof *b->last_use)) return false;
  const ad_type *type = graph_type(&b->q->g, node);
  r->slot[r->slots] = (region_slot){ .kind = kind,
                                     .place = b->q->place_of[node],
                                     .size = ad_dtype_bytes(type->dtype) };
  b->last_use[r->slots] = now(b);
  *slot = b->slot_of[node] = r->slots++;
  return true;
}

static bool result_slot(builder *b, uint32_t node, uint32_t *slot) {
  return add_slot(b, node, b->q->place_of[node] == NOWHERE ? SLOT_TEMPORARY : SLOT_OUTPUT, slot);
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
  b->last_use[*slot] = now(b);
  return true;
}

/* --- steps ---------------------------------------------------------------------------------------------- */

static region_step *add_step(builder *b) {
  const ad_allocator *a = &b->q->p->allocator;
  region *r = b->r;
  if (!memory_reserve(a, &r->step, &r->step_capacity, r->steps + 1, sizeof *r->step)) return NULL;
  r->step[r->steps] = (region_step){ .first = r->links, .at = { NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT } };
  return &r->step[r->steps++];
}

static const step_slots no_slots = { NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT };

/* All slots of node, for a kernel, which reads blocks. */
static bool kernel_slots(builder *b, uint32_t node, step_slots *at) {
  const operands x = operands_of(b, node);
  uint32_t *const to[3] = { &at->x, &at->y, &at->w };
  *at = no_slots;
  for (uint32_t k = 0; k < x.n; k++) {
    if (!operand_slot(b, x.of[k], to[k])) return false;
    b->r->slot[*to[k]].spread = true;
  }
  return result_slot(b, node, &at->z);
}

static block_kernel *kernel_of(const builder *b, uint32_t node) {
  const run_graph *g = &b->q->g;
  const operands x = operands_of(b, node);
  return primitive_kernel(node_primitive(g->t, g->node[node]), graph_type(g, x.of[x.n == 3])->dtype,
                          graph_type(g, node)->dtype);
}

static double attribute_of(const builder *b, uint32_t node) {
  return row_of(b, node) ? node_row_attribute(b->q->g.t, b->q->g.node[node]) : 0;
}

static bool add_kernel(builder *b, uint32_t node) {
  step_slots at;
  if (!kernel_slots(b, node, &at)) return false;
  region_step *step = add_step(b);
  if (!step) return false;
  step->at = at;
  step->kernel = kernel_of(b, node);
  if (!step->kernel) step->own = node_primitive(b->q->g.t, b->q->g.node[node])->block;
  step->attribute = attribute_of(b, node);
  return true;
}

static chain_step *add_link(builder *b, int id, step_slots at) {
  region *r = b->r;
  if (!memory_reserve(&b->q->p->allocator, &r->link, &r->link_capacity, r->links + 1, sizeof *r->link))
    return NULL;
  region_step *chain = &r->step[r->steps - 1];
  r->link[r->links] = (chain_step){ chain->chain->link[id], chain->chain->far[id], at, NULL, 0 };
  chain->links++;
  return &r->link[r->links++];
}

/* --- two or three links that are one -------------------------------------------------------------------- */

static bool ends_in(const builder *b, uint32_t back, chain_id id) {
  const region_step *chain = &b->r->step[b->r->steps - 1];
  return chain->links >= back && b->r->link[b->r->links - back].link == chain->chain->link[id];
}

/* In place of the last links, so there is memory for it. */
static bool replace_links(builder *b, uint32_t n, int id, uint32_t x, uint32_t y) {
  region_step *chain = &b->r->step[b->r->steps - 1];
  b->r->links -= n;
  chain->links -= n;
  b->last_use[x] = b->last_use[y] = now(b);
  return add_link(b, id, (step_slots){ NO_SLOT, x, y, NO_SLOT });
}

/* p stored, and read again beside x*y: if nobody else reads it, it stays in the registers. */
static bool joins_product(builder *b, int id, uint32_t node, uint32_t p) {
  const run_graph *g = &b->q->g;
  const chain_step *last = b->r->link + b->r->links;
  if (id != LINK_add_2 && id != LINK_sub_0 && id != LINK_sub_1) return false;
  if (!ends_in(b, 1, LINK_product) || !ends_in(b, 2, LINK_store) || last[-2].at.z != p) return false;
  if (b->r->slot[p].kind != SLOT_TEMPORARY) return false;
  if (g->user_start[node + 1] - g->user_start[node] != 1) return false;
  const int joined = id == LINK_add_2 ? LINK_add_product
                   : id == LINK_sub_0 ? LINK_product_sub : LINK_sub_product;
  return replace_links(b, 2, joined, last[-1].at.x, last[-1].at.y);
}

/* Does the link that reads node from slot x become one with those before it? */
static bool joins_last_links(builder *b, int id, uint32_t node, uint32_t x) {
  const chain_step *last = b->r->link + b->r->links;
  if (id == LINK_mul_2 && ends_in(b, 1, LINK_load))
    return replace_links(b, 1, LINK_product, last[-1].at.x, x);
  if (id == LINK_add_2_splat && ends_in(b, 1, LINK_mul_2))
    return replace_links(b, 1, LINK_horner, last[-1].at.x, x);
  return joins_product(b, id, node, x);
}

/* A link that reads operand x; the one for a single value comes after it. */
static bool add_reading_link(builder *b, int id, uint32_t x) {
  uint32_t slot;
  if (!operand_slot(b, x, &slot)) return false;
  if (b->r->slot[slot].kind == SLOT_SPLAT) id++;
  return joins_last_links(b, id, x, slot) || add_link(b, id, (step_slots){ NO_SLOT, slot, NO_SLOT, NO_SLOT });
}

static bool call_node(builder *b, uint32_t node) {
  step_slots at;
  if (!kernel_slots(b, node, &at)) return false;
  chain_step *link = add_link(b, LINK_call, at);
  if (!link) return false;
  link->kernel = kernel_of(b, node);
  link->attribute = attribute_of(b, node);
  return true;
}

static bool link_node(builder *b, uint32_t k) {
  const uint32_t node = b->order[k];
  const operands x = operands_of(b, node);
  uint32_t at = running_operand(b, k), z = b->slot_of[node];
  if (!is_cheap(b, node)) return call_node(b, node);
  if (at == x.n) {
    if (!add_reading_link(b, LINK_load, x.of[0])) return false;
    at = 0;
  }
  if (x.n == 1 && !add_link(b, link_of(b, node, at), no_slots)) return false;
  if (x.n == 2 && !add_reading_link(b, link_of(b, node, at), x.of[1 - at])) return false;
  if (z == VISITED) return true;
  if (z == STORED && !result_slot(b, node, &z)) return false;
  return add_link(b, LINK_store, (step_slots){ z, NO_SLOT, NO_SLOT, NO_SLOT });
}

static bool add_chain(builder *b, uint32_t from, uint32_t to) {
  region_step *step = add_step(b);
  if (!step) return false;
  step->chain = chains_for(b, b->order[from]);
  for (uint32_t k = from; k < to; k++)
    if (!link_node(b, k)) return false;
  return add_link(b, LINK_stop, no_slots);
}

/* Nodes of order[from, to) that a chain would call kernels for: few, as calls for a tile cost more. */
static bool is_worth_a_chain(const builder *b, uint32_t from, uint32_t to) {
  const uint32_t node = b->order[from];
  const chain_table *chains = chains_for(b, node);
  uint32_t calls = 0;
  for (uint32_t k = from; k < to; k++) calls += !is_cheap(b, b->order[k]);
  if (!chains || to - from < CHAIN_LEAST) return false;
  if (calls == 0) return true;
  const size_t bytes = chains->tile*ad_dtype_bytes(graph_type(&b->q->g, node)->dtype);
  return 4*calls < to - from && bytes >= CALL_TILE;
}

/* Cheap nodes in a row, or the one node. */
static uint32_t end_of_cheap(const builder *b, uint32_t from) {
  uint32_t to = from + 1;
  while (is_cheap(b, b->order[from]) && continues(b, to) && is_cheap(b, b->order[to])) to++;
  return to;
}

static bool add_steps(builder *b) {
  for (uint32_t from = 0, to; from < b->s->count; from = to) {
    for (to = from + 1; continues(b, to);) to++;
    if (!is_worth_a_chain(b, from, to)) to = end_of_cheap(b, from);
    if (!is_worth_a_chain(b, from, to)) to = from + 1;
    if (!(to - from > 1 ? add_chain(b, from, to) : add_kernel(b, b->order[from]))) return false;
  }
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
static bool release_operands(builder *b, buffers *f, const step_slots *s, uint32_t time, bool before) {
  const uint32_t operand[3] = { s->x, s->y, s->w };
  for (int k = 0; k < 3; k++) {
    uint32_t o = operand[k];
    if (o == NO_SLOT || b->r->slot[o].kind != SLOT_TEMPORARY || b->last_use[o] != time) continue;
    bool repeated = (k > 0 && operand[0] == o) || (k > 1 && operand[1] == o);
    bool same_size = s->z != NO_SLOT && b->r->slot[o].size == b->r->slot[s->z].size;
    if (!repeated && same_size == before && !release(b, f, o)) return false;
  }
  return true;
}

static bool assign_buffer(builder *b, buffers *f, const step_slots *s, uint32_t time) {
  if (!release_operands(b, f, s, time, true)) return false;
  if (s->z != NO_SLOT && b->r->slot[s->z].kind == SLOT_TEMPORARY) b->r->slot[s->z].buffer = acquire(b, f);
  return release_operands(b, f, s, time, false);
}

/* Inputs and outputs keep theirs: a short last block goes through them as a whole. The links of a chain run
 * tile by tile, which comes to the same as block by block, as all they touch has elements of one size. */
static bool assign_buffers(builder *b) {
  region *r = b->r;
  buffers f = { NULL, 0, 0 };
  bool good = true;
  uint32_t time = 0;
  for (uint32_t i = 0; i < r->slots; i++)
    if (r->slot[i].kind != SLOT_TEMPORARY) r->slot[i].buffer = r->buffers++;
  for (uint32_t i = 0; i < r->steps && good; i++) {
    const region_step *s = &r->step[i];
    good = assign_buffer(b, &f, &s->at, time++);
    for (uint32_t k = 0; k < s->links && good; k++)
      good = assign_buffer(b, &f, &r->link[s->first + k].at, time++);
  }
  memory_release(&b->q->p->allocator, f.free, f.capacity*sizeof *f.free);
  return good;
}

/* --- looking ahead -------------------------------------------------------------------------------------- */

/* How many of the arrays that those slots are have not been met before. */
static uint32_t meet(region *r, const step_slots *s) {
  const uint32_t slot[3] = { s->x, s->y, s->w };
  uint32_t fresh = 0;
  for (int k = 0; k < 3; k++) {
    if (slot[k] == NO_SLOT || r->slot[slot[k]].kind != SLOT_DIRECT || r->slot[slot[k]].met) continue;
    r->slot[slot[k]].met = true;
    fresh++;
  }
  return fresh;
}

/* Leaves `far` to the links of a chain that are the first to read an array, or write one that leaves the
 * region; false when there are no two arrays to read: a single one the processor sees ahead by itself. */
static bool look_ahead(region *r, const region_step *chain) {
  uint32_t arrays = 0;
  for (uint32_t k = 0; k < chain->links; k++) {
    chain_step *s = &r->link[chain->first + k];
    const uint32_t fresh = meet(r, &s->at);
    const bool writes = s->at.z != NO_SLOT && r->slot[s->at.z].kind == SLOT_OUTPUT;
    if (s->far) arrays += fresh;
    if (!fresh && !writes) s->far = NULL;
  }
  return arrays > 1;
}

/* A second set of links for chains over big arrays. */
static bool add_far_links(builder *b) {
  region *r = b->r;
  for (uint32_t i = 0; i < r->steps; i++) {
    region_step *chain = &r->step[i];
    chain->far = chain->first;
    if (!chain->chain) meet(r, &chain->at);
    if (!chain->chain || !look_ahead(r, chain)) continue;
    chain->far = r->links;
    if (!memory_reserve(&b->q->p->allocator, &r->link, &r->link_capacity, (size_t)r->links + chain->links,
                        sizeof *r->link)) return false;
    for (uint32_t k = 0; k < chain->links; k++) {
      chain_step s = r->link[chain->first + k];
      if (s.far) s.link = s.far;
      r->link[r->links++] = s;
    }
  }
  return true;
}

/* --- the region ----------------------------------------------------------------------------------------- */

/* Kernels want long blocks; chains do not mind short ones, when there are many temporaries. */
static void choose_block(region *r) {
  uint32_t still = 0;
  bool chains_only = true;
  for (uint32_t i = 0; i < r->slots; i++)
    still += r->slot[i].kind != SLOT_TEMPORARY && r->slot[i].kind != SLOT_STRIDED;
  r->block = REGION_BLOCK, r->pad = REGION_PAD;
  for (uint32_t i = 0; i < r->steps; i++) {
    const chain_table *chain = r->step[i].chain;
    if (!chain) chains_only = false;
    else if ((int64_t)chain->tile > r->pad) r->pad = (int64_t)chain->tile;
  }
  while (chains_only && r->block > r->pad && (r->buffers - still)*r->block*8 > CACHE_SHARE) r->block /= 2;
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

static bool build(builder *b) {
  const ad_allocator *a = &b->q->p->allocator;
  const size_t bytes = 2*b->s->count*sizeof *b->order;
  b->order = memory_get(a, bytes);
  if (!b->order) return false;
  arrange(b, b->order + b->s->count);
  mark_stored(b);
  const bool good = add_steps(b) && assign_buffers(b) && add_far_links(b);
  if (good) choose_block(b->r);
  memory_release(a, b->order, bytes);
  return good;
}

static bool list_operations(const planner *q, const schedule_step *s, region *r) {
  r->operation = memory_get(&q->p->allocator, s->count*sizeof *r->operation);
  if (!r->operation) return false;
  r->operations = s->count;
  for (uint32_t k = 0; k < s->count; k++)
    r->operation[k] = node_primitive(q->g.t, q->g.node[q->s.order[s->first + k]]);
  return true;
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
  const bool good = list_operations(q, s, &step->region) && build(&b);
  forget_slots(&b, order);
  memory_release(&q->p->allocator, b.last_use, b.last_capacity*sizeof *b.last_use);
  return good;
}
