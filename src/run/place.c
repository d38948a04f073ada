/* place.c -- which values are stored, and where in the workspace.
 *
 * A value has a place if an array step reads it, or writes it for another step or for the caller. What only
 * lives inside a region or a scalar program has none. Buffers whose lifetimes do not meet share memory (first
 * fit); a primitive that may work in place takes over the buffer of its dying first operand; a reshape is
 * another name for its operand.
 */
#include "primitives/construct.h"
#include "run/lower.h"
#include "tape/tuple.h"

#include <string.h>

void put_at(planner *q, uint32_t node, uint32_t at) {
  q->place_of[node] = at;
  if (!q->views) return;
  q->next_named[node] = q->life[at].named;
  q->life[at].named = node;
}

static bool add_place(planner *q, uint32_t node, place_kind kind, uint32_t number, void *fixed) {
  plan *p = q->p;
  const ad_allocator *a = &p->allocator;
  if (!memory_reserve(a, &p->place, &p->place_capacity, p->places + 1, sizeof *p->place)) return false;
  if (!memory_reserve(a, &q->life, &q->life_capacity, p->places + 1, sizeof *q->life)) return false;
  const size_t bytes = ad_type_bytes(*graph_type(&q->g, node));
  p->place[p->places] = (place){ .kind = kind, .number = number, .fixed = fixed, .bytes = bytes };
  /* A result is written by the step of the operation it belongs to. */
  const bool result = q->g.kind[node] == KIND_RESULT;
  const uint32_t step = q->s.step_of[result ? q->g.operand[q->g.operand_start[node]] : node];
  q->life[p->places] = (struct lifetime){ step == NOWHERE ? 0 : step, step == NOWHERE ? 0 : step, node, false,
                                          graph_type(&q->g, node)->rank == 0, 0,
                                          ad_type_count(*graph_type(&q->g, node)), NOWHERE, false };
  put_at(q, node, p->places++);
  return true;
}

static bool place_given(planner *q, uint32_t node) {
  if (q->place_of[node] != NOWHERE) return true;
  if (planner_input(q, node) != NOWHERE) return add_place(q, node, PLACE_INPUT, planner_input(q, node), NULL);
  return add_place(q, node, PLACE_FIXED, 0, (void *)(uintptr_t)node_data(q->g.t, q->g.node[node]));
}

/* Scalars made by a program: a slot, of which a bool has a second one for the byte that array steps read. */
static bool place_scalar(planner *q, uint32_t node) {
  return q->place_of[node] != NOWHERE || add_place(q, node, PLACE_WORK, 0, NULL);
}

/* Scalars on a tape stay known: the numeric sweep reads them all. */
static bool used_elsewhere(const planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  if (q->is_target[node] || (q->request->keep && graph_type(g, node)->rank == 0)) return true;
  for (uint32_t k = g->user_start[node]; k < g->user_start[node + 1]; k++)
    if (q->s.step_of[g->user[k]] != q->s.step_of[node]) return true;
  return false;
}

/* All other readers of x come before node's step, nobody needs x afterwards, and its memory is ours. */
static bool may_take_over(const planner *q, uint32_t node, uint32_t x) {
  const run_graph *g = &q->g;
  if (g->kind[x] == KIND_GIVEN || g->kind[x] == KIND_SCALAR || q->is_target[x] || q->place_of[x] == NOWHERE)
    return false;
  /* A scalar on a tape stays known; elsewhere scalar programs look for it in the workspace, where outputs are
   * not. */
  if (graph_type(g, x)->rank == 0 && (q->request->keep || graph_type(g, node)->rank > 0)) return false;
  if (q->life[q->place_of[x]].pinned
      || q->p->place[q->place_of[x]].bytes != ad_type_bytes(*graph_type(g, node)))
    return false;
  /* Users are in rising order, and mostly run so: the last one tells at once that x is still wanted. */
  const uint32_t last = g->user[g->user_start[x + 1] - 1];
  if (last != node && q->s.step_of[last] >= q->s.step_of[node]) return false;
  uint32_t uses = 0;
  for (uint32_t k = g->user_start[x]; k < g->user_start[x + 1]; k++) {
    uint32_t user = g->user[k];
    if (user == node) uses++;
    else if (q->s.step_of[user] >= q->s.step_of[node]) return false;
  }
  return uses == 1;
}

static void take_over(planner *q, uint32_t node, uint32_t x) {
  const uint32_t at = q->place_of[x];
  put_at(q, node, at);
  q->life[at].node = node;
  q->life[at].last = q->s.step_of[node];
}

/* Operands that a primitive may have and still be a view. */
enum { VIEW_OPERANDS = 4 };

bool node_view(const planner *q, uint32_t i, int64_t *first) {
  const run_graph *g = &q->g;
  const ad_type *types[VIEW_OPERANDS];
  const uint32_t n = g->operand_start[i + 1] - g->operand_start[i];
  *first = 0;
  if (g->kind[i] != KIND_STRUCTURED || n == 0 || n > VIEW_OPERANDS) return false;
  if (node_primitive(g->t, g->node[i])->traits & AD_TRAIT_ALIAS) return true;
  if (!q->views) return false;
  const ad_operation op = node_operation(g->t, g->node[i], types);
  return slice_is_range(&op, first);
}

static bool place_result(planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  const unsigned traits = node_primitive(g->t, g->node[node])->traits;
  const uint32_t first = g->operand_start[node];
  const bool structured = g->kind[node] == KIND_STRUCTURED && g->operand_start[node + 1] > first;
  if (glue(q, node)) return true;
  if (structured && (traits & AD_TRAIT_IN_PLACE) && may_take_over(q, node, g->operand[first])) {
    take_over(q, node, g->operand[first]);
    return true;
  }
  int64_t part;
  if (structured && node_view(q, node, &part) && !q->is_target[node] && !q->request->keep) {
    const uint32_t x = g->operand[first], at = q->place_of[x];
    /* Scalar programs look for their operands in the workspace. */
    const bool reachable = at != NOWHERE
                           && (graph_type(g, node)->rank > 0 || q->p->place[at].kind == PLACE_WORK);
    if (reachable && g->kind[x] != KIND_SCALAR) {
      put_at(q, node, at);
      q->life[at].pinned = true;
      if (q->views) q->begin[node] = q->begin[x] + part;
      return true;
    }
  }
  return add_place(q, node, PLACE_WORK, 0, NULL);
}

/* Arrays that a region was the last to read, at the nodes placed so far: written loops may put there what
 * they write from now on, at the same indices. */
enum { DYING_MOST = 16 };
typedef struct dying { uint32_t node[DYING_MOST], count; } dying;

/* How often the region of this step reads x, whose other readers come before; 0 if some come behind, or if
 * the memory is not x's alone. */
static uint32_t last_readings(const planner *q, uint32_t step, uint32_t x) {
  const run_graph *g = &q->g;
  const uint32_t at = q->place_of[x], end = g->user_start[x + 1];
  uint32_t here = 0;
  if (g->kind[x] == KIND_GIVEN || g->kind[x] == KIND_SCALAR || q->s.step_of[x] == step || at == NOWHERE
      || graph_type(g, x)->rank == 0 || q->life[at].pinned || q->life[at].node != x || q->is_target[x]
      || q->s.step_of[g->user[end - 1]] > step)
    return 0;
  for (uint32_t e = g->user_start[x]; e < end; e++) {
    if (q->s.step_of[g->user[e]] > step) return 0;
    here += q->s.step_of[g->user[e]] == step;
  }
  return here;
}

/* The node of a region reads its operands. region_slot counts what is left to read. */
static void note_readings(planner *q, uint32_t node, dying *d) {
  const run_graph *g = &q->g;
  for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++) {
    const uint32_t x = g->operand[e];
    if (q->region_slot[x] == NOWHERE) q->region_slot[x] = last_readings(q, q->s.step_of[node], x);
    if (q->region_slot[x] == 0 || --q->region_slot[x] > 0) continue;
    if (d->count < DYING_MOST) d->node[d->count++] = x;
  }
}

static void forget_readings(planner *q, const schedule_step *s) {
  const run_graph *g = &q->g;
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t node = q->s.order[s->first + k];
    for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++)
      q->region_slot[g->operand[e]] = NOWHERE;
  }
}

static bool overwrite(planner *q, uint32_t node, dying *d) {
  const ad_type *z = graph_type(&q->g, node);
  for (uint32_t i = 0; i < d->count; i++) {
    const ad_type *x = graph_type(&q->g, d->node[i]);
    if (x->rank != z->rank || x->dtype != z->dtype || memcmp(x->dim, z->dim, sizeof x->dim)) continue;
    take_over(q, node, d->node[i]);
    d->node[i] = d->node[--d->count];
    return true;
  }
  return false;
}

static bool place_step(planner *q, const schedule_step *s) {
  const run_graph *g = &q->g;
  const bool written = q->views && s->kind == KIND_ELEMENTWISE;
  dying d = { .count = 0 };
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t node = q->s.order[s->first + k];
    for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++) {
      const uint32_t x = g->operand[e];
      if (g->kind[x] == KIND_GIVEN && !place_given(q, x)) return false;
      if (g->kind[x] == KIND_SCALAR && !place_scalar(q, x)) return false;
    }
    if (written) note_readings(q, node, &d);
    if (s->kind != KIND_STRUCTURED && (!used_elsewhere(q, node) || overwrite(q, node, &d))) continue;
    if (!place_result(q, node)) return false;
  }
  if (written) forget_readings(q, s);
  return true;
}

/* A value stays until its last reader, under whatever name; scalars that are copied out at the end stay until
 * then. */
static void find_lifetimes(planner *q) {
  const run_graph *g = &q->g;
  for (uint32_t i = 0; i < g->n; i++) {
    if (q->place_of[i] == NOWHERE) continue;
    struct lifetime *l = &q->life[q->place_of[i]];
    if (q->is_target[i] || (q->request->keep && graph_type(g, i)->rank == 0)) l->last = q->s.steps;
    for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++) {
      const uint32_t step = q->s.step_of[g->user[k]];
      if (step > l->last) l->last = step;
    }
  }
}

bool choose_places(planner *q) {
  for (uint32_t s = 0; s < q->s.steps; s++)
    if (q->s.step[s].kind != KIND_SCALAR && !place_step(q, &q->s.step[s])) return false;
  for (uint32_t i = 0; i < q->g.n; i++)
    if (q->is_target[i] && q->g.kind[i] == KIND_GIVEN && !place_given(q, i)) return false;
  find_lifetimes(q);
  grow_glued(q);
  return true;
}

/* --- memory --------------------------------------------------------------------------------------- */

typedef struct hole { size_t offset, bytes; } hole;
typedef struct pool {
  hole *hole;                       /* by offset */
  size_t holes, capacity, end;
} pool;

static size_t take(pool *m, size_t bytes) {
  for (size_t i = 0; i < m->holes; i++) {
    if (m->hole[i].bytes < bytes) continue;
    size_t offset = m->hole[i].offset;
    m->hole[i].offset += bytes;
    m->hole[i].bytes -= bytes;
    if (m->hole[i].bytes == 0) memmove(&m->hole[i], &m->hole[i + 1], (--m->holes - i)*sizeof *m->hole);
    return offset;
  }
  m->end += bytes;
  return m->end - bytes;
}

static bool give_back(pool *m, const ad_allocator *a, size_t offset, size_t bytes) {
  size_t i = 0;
  while (i < m->holes && m->hole[i].offset < offset) i++;
  if (i > 0 && m->hole[i - 1].offset + m->hole[i - 1].bytes == offset) {
    m->hole[i - 1].bytes += bytes;
    if (i < m->holes && m->hole[i - 1].offset + m->hole[i - 1].bytes == m->hole[i].offset) {
      m->hole[i - 1].bytes += m->hole[i].bytes;
      memmove(&m->hole[i], &m->hole[i + 1], (--m->holes - i)*sizeof *m->hole);
    }
    return true;
  }
  if (i < m->holes && offset + bytes == m->hole[i].offset) {
    m->hole[i].offset = offset;
    m->hole[i].bytes += bytes;
    return true;
  }
  if (!memory_reserve(a, &m->hole, &m->capacity, m->holes + 1, sizeof *m->hole)) return false;
  memmove(&m->hole[i + 1], &m->hole[i], (m->holes++ - i)*sizeof *m->hole);
  m->hole[i] = (hole){ offset, bytes };
  return true;
}

/* Places in lists by the step that writes them, and by the step after which they are free. */
typedef struct timetable {
  uint32_t *begin, *end, *next_begin, *next_end;
  size_t steps, places;
} timetable;

static size_t timetable_bytes(const timetable *t) { return 2*(t->steps + t->places)*sizeof(uint32_t); }

static bool open_timetable(const planner *q, timetable *t) {
  t->steps = q->s.steps + 1u;
  t->places = q->p->places + 1u;
  t->begin = memory_get(&q->p->allocator, timetable_bytes(t));
  if (!t->begin) return false;
  memset(t->begin, 0xFF, timetable_bytes(t));
  t->end = t->begin + t->steps;
  t->next_begin = t->end + t->steps;
  t->next_end = t->next_begin + t->places;
  return true;
}

static void close_timetable(const planner *q, timetable *t) {
  memory_release(&q->p->allocator, t->begin, timetable_bytes(t));
}

static void enter(const planner *q, timetable *t, uint32_t i) {
  const struct lifetime *l = &q->life[i];
  t->next_begin[i] = t->begin[l->first], t->begin[l->first] = i;
  t->next_end[i] = t->end[l->last], t->end[l->last] = i;
}

static bool needs_memory(const planner *q, uint32_t i) {
  return q->p->place[i].kind == PLACE_WORK && q->g.kind[q->life[i].node] != KIND_SCALAR && !q->life[i].moved;
}

/* Sizes are multiples of unit; an empty array has an address of its own too. */
static size_t rounded(size_t bytes, size_t unit) { return bytes ? (bytes + unit - 1)/unit*unit : unit; }

/* What a place takes from a pool with that unit: where arrays begin at lines of the cache, so does the array
 * that others are put around, with what comes before it at the end of the line before. */
static size_t room(const planner *q, uint32_t i, size_t unit, size_t *lead) {
  const struct lifetime *l = &q->life[i];
  const size_t before = (size_t)-l->low*ad_dtype_bytes(graph_type(&q->g, l->node)->dtype);
  *lead = (unit - before%unit)%unit;
  return rounded(q->p->place[i].bytes + *lead, unit);
}

static bool run_timetable(planner *q, pool *m, const timetable *t, size_t unit) {
  size_t lead;
  for (uint32_t s = 0; s < q->s.steps; s++) {
    for (uint32_t i = t->begin[s]; i != NOWHERE; i = t->next_begin[i]) {
      const size_t bytes = room(q, i, unit, &lead);
      q->p->place[i].offset = take(m, bytes) + lead;
    }
    for (uint32_t i = t->end[s]; i != NOWHERE; i = t->next_end[i]) {
      const size_t bytes = room(q, i, unit, &lead);
      if (!give_back(m, &q->p->allocator, q->p->place[i].offset - lead, bytes)) return false;
    }
  }
  return true;
}

static bool in_pool(const planner *q, uint32_t i, ad_dtype dtype) {
  return needs_memory(q, i) && !q->life[i].scalar && graph_type(&q->g, q->life[i].node)->dtype == dtype;
}

/* Arrays longer than a line of the cache begin at one, which vectors that cross lines pay for otherwise;
 * where all are shorter, they lie close together. */
bool assign_pool(planner *q, ad_dtype dtype, size_t *count) {
  const size_t size = ad_dtype_bytes(dtype);
  size_t unit = size;
  pool m = { NULL, 0, 0, 0 };
  timetable t;
  if (!open_timetable(q, &t)) return false;
  for (uint32_t i = 0; i < q->p->places; i++) {
    if (!in_pool(q, i, dtype)) continue;
    enter(q, &t, i);
    if (q->p->place[i].bytes > CACHE_LINE) unit = CACHE_LINE;
  }
  const bool good = run_timetable(q, &m, &t, unit);
  for (uint32_t i = 0; i < q->p->places; i++)
    if (in_pool(q, i, dtype)) q->p->place[i].offset /= size;
  *count = m.end/size;
  close_timetable(q, &t);
  memory_release(&q->p->allocator, m.hole, m.capacity*sizeof *m.hole);
  return good;
}

/* Offsets count from the end of the slots. Outputs have a reserve at the end, and so have inputs that
 * are outputs, for calls that work in place. */
bool assign_memory(planner *q) {
  const ad_allocator *a = &q->p->allocator;
  pool m = { NULL, 0, 0, 0 };
  timetable t;
  if (!open_timetable(q, &t)) return false;
  for (uint32_t i = 0; i < q->p->places; i++)
    if (needs_memory(q, i)) enter(q, &t, i);
  bool good = run_timetable(q, &m, &t, CACHE_LINE);
  for (uint32_t i = 0; i < q->p->places; i++)
    if (q->p->place[i].kind == PLACE_OUTPUT) {
      q->p->place[i].offset = m.end;
      m.end += rounded(q->p->place[i].bytes, CACHE_LINE);
    }
  for (uint32_t i = 0; i < q->p->copies && q->p->copies > 1; i++) {
    place *at = &q->p->place[q->p->copy[i].place];
    if (at->kind != PLACE_INPUT) continue;
    at->offset = m.end;
    m.end += rounded(at->bytes, CACHE_LINE);
  }
  q->p->scratch = m.end;
  close_timetable(q, &t);
  memory_release(a, m.hole, m.capacity*sizeof *m.hole);
  return good;
}
