/* segment.c -- see segment.h.
 *
 * A segment reads all it needs before it computes, and writes what others need when all is computed, so
 * that it may run in the place of its first step whatever memory its values share. */
#include "run/segment.h"
#include "run/lower.h"
#include "run/lower_micro.h"
#include "tape/tuple.h"

#include <string.h>

/* --- running -------------------------------------------------------------------------------------------- */

void segment_begin(const segment *s, char *memory) {
  if (s->m.constants) memcpy(memory + s->frame, s->m.image, s->m.constants);
}

static inline void move(char *to, const char *from, size_t bytes) {
  if (bytes == 8) memcpy(to, from, 8);
  else if (bytes == 16) memcpy(to, from, 16);
  else memcpy(to, from, bytes);
}

static void bring_in(const segment *s, const void *const in[], void **where, char *memory) {
  char *frame = memory + s->frame;
  for (uint32_t k = 0; k < s->ins; k++) {
    const transport *t = &s->in[k];
    const double *slot = (const double *)(const void *)memory + t->number;
    if (t->kind == MOVE_INPUT && !in[t->number]) memset(frame + t->at, 0, t->bytes);
    else if (t->kind == MOVE_INPUT) move(frame + t->at, in[t->number], t->bytes);
    else if (t->kind == MOVE_PLACE) move(frame + t->at, where[t->number], t->bytes);
    else if (t->kind == MOVE_SLOT) memcpy(frame + t->at, slot, sizeof *slot);
    else frame[t->at] = *slot != 0;
  }
}

static void bring_out(const segment *s, void *const out[], void **where, char *memory) {
  const char *frame = memory + s->frame;
  for (uint32_t k = 0; k < s->outs; k++) {
    const transport *t = &s->out[k];
    double *slot = (double *)(void *)memory + t->number;
    if (t->kind == MOVE_OUTPUT) move(out[t->number], frame + t->at, t->bytes);
    else if (t->kind == MOVE_PLACE) move(where[t->number], frame + t->at, t->bytes);
    else if (t->kind == MOVE_SLOT) memcpy(slot, frame + t->at, sizeof *slot);
    else *slot = frame[t->at];
  }
}

ad_status segment_run(const segment *s, const void *const in[], void *const out[], void **where, char *memory,
                      micro_failure *failure) {
  bring_in(s, in, where, memory);
  const ad_status status = micro_run(&s->m, 0, memory + s->frame, failure);
  if (status == AD_OK) bring_out(s, out, where, memory);
  return status;
}

void segment_free(const ad_allocator *a, segment *s) {
  micro_free(a, &s->m);
  memory_release(a, s->in, s->in_capacity*sizeof *s->in);
  memory_release(a, s->out, s->out_capacity*sizeof *s->out);
}

/* --- which steps ---------------------------------------------------------------------------------------- */

typedef struct cutter {
  planner *q;
  const uint32_t *scheduled;
  micro_builder b;
  micro_scope scope;
  segment *s;
  uint32_t first, end;              /* steps of the schedule */
  bool whole;                       /* nothing else is in the plan */
} cutter;

/* Results of a carrier are written by it. */
static bool is_neutral(const planner *q, uint32_t step) {
  return q->g.kind[q->s.order[q->s.step[step].first]] == KIND_RESULT;
}

/* A region pays for finding its operands once, an instruction for every few elements of each operation: many
 * operations on more than a few elements are faster as a region. */
enum { FEW_ELEMENTS = 8, ELEMENTS_MOST = 512 };

static micro_answer step_fits(const planner *q, uint32_t step) {
  const schedule_step *s = &q->s.step[step];
  const int64_t n = node_type(q->g.t, q->g.node[q->s.order[s->first]])->count;
  micro_answer answer = MICRO_YES;
  if (s->kind == KIND_ELEMENTWISE && n > FEW_ELEMENTS && n*s->count > ELEMENTS_MOST) return MICRO_NO;
  for (uint32_t k = 0; k < s->count && answer == MICRO_YES; k++) {
    uint32_t budget = MICRO_BUDGET;
    answer = micro_fits(&q->g, q->s.order[s->first + k], &budget);
  }
  return answer;
}

/* Of a result its carrier decides. */
static bool is_inside(const cutter *c, uint32_t node) {
  const planner *q = c->q;
  const bool result = q->g.kind[node] == KIND_RESULT;
  const uint32_t step = q->s.step_of[result ? q->g.operand[q->g.operand_start[node]] : node];
  return step != NOWHERE && step >= c->first && step < c->end;
}

/* --- in ------------------------------------------------------------------------------------------------- */

static bool add_transport(const cutter *c, bool out, transport t) {
  segment *s = c->s;
  transport **list = out ? &s->out : &s->in;
  uint32_t *count = out ? &s->outs : &s->ins;
  size_t *capacity = out ? &s->out_capacity : &s->in_capacity;
  if (!memory_reserve(&c->b.allocator, list, capacity, *count + 1, sizeof **list))
    return false;
  (*list)[(*count)++] = t;
  return true;
}

static bool is_bool(const planner *q, uint32_t node) { return graph_type(&q->g, node)->dtype == AD_BOOL; }

/* A value from outside; an input goes through its slot if it has one, since it may be written over
 * meanwhile. */
static transport way_in(const cutter *c, uint32_t node) {
  const planner *q = c->q;
  transport t = { .at = c->scope.at[node], .bytes = (uint32_t)node_type(q->g.t, q->g.node[node])->bytes };
  const bool input = q->g.kind[node] == KIND_GIVEN, slot = q->slot_of[node] != NOWHERE;
  if (input && c->whole) t.kind = MOVE_INPUT, t.number = planner_input(q, node);
  else if (slot) t.kind = is_bool(q, node) ? MOVE_BOOL_SLOT : MOVE_SLOT, t.number = q->slot_of[node];
  else t.kind = MOVE_PLACE, t.number = q->place_of[node];
  return t;
}

static bool bring_node(cutter *c, uint32_t node) {
  const planner *q = c->q;
  const tape_type *type = node_type(q->g.t, q->g.node[node]);
  if (c->scope.at[node] != MICRO_NOWHERE) return true;
  const bool constant = q->g.kind[node] == KIND_GIVEN && planner_input(q, node) == NOWHERE;
  c->scope.at[node] = constant ? micro_constant(&c->b, node_data(q->g.t, q->g.node[node]), type->bytes)
                               : micro_reserve(&c->b, type->bytes);
  if (c->scope.at[node] == MICRO_NOWHERE) return false;
  return constant || add_transport(c, false, way_in(c, node));
}

static bool bring_operands(cutter *c, uint32_t node) {
  const run_graph *g = &c->q->g;
  if (g->kind[node] == KIND_RESULT) return true;
  for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++)
    if (!is_inside(c, g->operand[e]) && !bring_node(c, g->operand[e])) return false;
  return true;
}

static bool each_node(cutter *c, bool (*visit)(cutter *c, uint32_t node)) {
  const planner *q = c->q;
  for (uint32_t s = c->first; s < c->end; s++)
    for (uint32_t k = 0; k < q->s.step[s].count; k++) {
      const uint32_t node = q->s.order[q->s.step[s].first + k];
      if (!visit(c, node)) return false;
    }
  return true;
}

static bool lower_node(cutter *c, uint32_t node) {
  return c->q->g.kind[node] == KIND_RESULT || micro_node(&c->b, &c->scope, node);
}

/* --- out ------------------------------------------------------------------------------------------------ */

static bool is_used_outside(const cutter *c, uint32_t node) {
  const planner *q = c->q;
  if (q->is_target[node]) return true;
  for (uint32_t k = q->g.user_start[node]; k < q->g.user_start[node + 1]; k++)
    if (!is_inside(c, q->g.user[k])) return true;
  return false;
}

/* Another name of an operand: what is there already need not be written, and must not be where it is an
 * input. */
static uint32_t named(const cutter *c, uint32_t node) {
  const planner *q = c->q;
  const run_graph *g = &q->g;
  while (is_inside(c, node) && g->kind[node] == KIND_STRUCTURED
         && (node_primitive(g->t, g->node[node])->traits & AD_TRAIT_ALIAS)
         && q->place_of[g->operand[g->operand_start[node]]] == q->place_of[node])
    node = g->operand[g->operand_start[node]];
  return node;
}

static bool take_value(cutter *c, uint32_t node) {
  const planner *q = c->q;
  if (!is_used_outside(c, node) || !is_inside(c, named(c, node))) return true;
  const uint32_t at = c->scope.at[node], bytes = (uint32_t)node_type(q->g.t, q->g.node[node])->bytes;
  const transport slot = { is_bool(q, node) ? MOVE_BOOL_SLOT : MOVE_SLOT, q->slot_of[node], at, bytes };
  if (slot.number != NOWHERE && !add_transport(c, true, slot)) return false;
  if (q->place_of[node] == NOWHERE || (q->slot_of[node] != NOWHERE && !is_bool(q, node))) return true;
  return add_transport(c, true, (transport){ MOVE_PLACE, q->place_of[node], at, bytes });
}

/* Results of a carrier may be scheduled behind the segment. */
static bool take_node(cutter *c, uint32_t node) {
  const run_graph *g = &c->q->g;
  if (g->kind[node] == KIND_RESULT) return true;
  if (!node_tuple(g->t, g->node[node])) return take_value(c, node);
  for (uint32_t k = g->user_start[node]; k < g->user_start[node + 1]; k++)
    if (!take_value(c, g->user[k])) return false;
  return true;
}

/* Of the whole plan: straight to where the caller wants them. */
static bool take_outputs(cutter *c) {
  const plan_request *r = c->q->request;
  const run_graph *g = &c->q->g;
  for (int j = 0; j < r->n_out; j++) {
    if (r->out[j] == INVALID_INDEX) continue;
    const uint32_t node = graph_find(g, r->out[j]);
    const uint32_t bytes = (uint32_t)node_type(g->t, r->out[j])->bytes;
    const transport t = { MOVE_OUTPUT, (uint32_t)j, c->scope.at[node], bytes };
    if (!add_transport(c, true, t)) return false;
  }
  return true;
}

/* --- one segment ---------------------------------------------------------------------------------------- */

/* Finds the steps of the plan in it, behind those of the one before. Scalars alone are as fast as scalar
 * programs, and a single operation needs no frame around it. */
static bool is_worth(cutter *c, uint32_t *first, uint32_t *steps) {
  const plan *p = c->q->p;
  uint32_t regions = 0, others = 0, k = *first + *steps;
  bool control = false;
  while (k < p->steps && c->scheduled[k] < c->first) k++;
  for (*first = k; k < p->steps && c->scheduled[k] < c->end; k++) {
    regions += p->step[k].kind == KIND_ELEMENTWISE;
    others += p->step[k].kind == KIND_STRUCTURED;
    control |= p->step[k].kind == KIND_STRUCTURED && p->step[k].kernel.op.primitive->tuple;
  }
  *steps = k - *first;
  return regions > 0 || others > 1 || control;
}

static bool is_small(const run_graph *g, uint32_t node) {
  const int64_t n = node_type(g->t, node)->count;
  return n > 0 && n <= MICRO_ARRAY;
}

/* Is there nothing that comes or goes but small arrays? */
static bool is_whole(const cutter *c) {
  const plan_request *r = c->q->request;
  if (c->first != 0 || c->end != c->q->s.steps) return false;
  for (int j = 0; j < r->n_out; j++)
    if (r->out[j] != INVALID_INDEX && !is_small(&c->q->g, r->out[j])) return false;
  return true;
}

static bool bring_outputs(cutter *c) {
  const plan_request *r = c->q->request;
  for (int j = 0; j < r->n_out; j++) {
    if (r->out[j] == INVALID_INDEX) continue;
    const uint32_t node = graph_find(&c->q->g, r->out[j]);
    if (c->q->g.kind[node] == KIND_GIVEN && !bring_node(c, node)) return false;
  }
  return true;
}

static void place_transports(segment *s) {
  for (uint32_t k = 0; k < s->ins; k++) s->in[k].at = micro_place(&s->m, s->in[k].at);
  for (uint32_t k = 0; k < s->outs; k++) s->out[k].at = micro_place(&s->m, s->out[k].at);
}

static bool build(cutter *c) {
  bool good = micro_open(&c->b, &c->q->p->allocator, &c->s->m);
  memset(c->scope.at, 0xFF, c->q->g.n*sizeof *c->scope.at);
  good = good && each_node(c, bring_operands) && each_node(c, lower_node);
  if (good && c->whole) good = bring_outputs(c) && take_outputs(c);
  else if (good) good = each_node(c, take_node);
  if (!micro_close(&c->b, good)) return false;
  place_transports(c->s);
  return true;
}

static bool add_segment(cutter *c, uint32_t first, uint32_t steps) {
  plan *p = c->q->p;
  if (!memory_reserve(&p->allocator, &p->segment, &p->segment_capacity, p->segments + 1, sizeof *p->segment))
    return false;
  c->s = &p->segment[p->segments++];
  *c->s = (segment){ .steps = steps };
  c->whole = is_whole(c);
  if (!build(c)) return false;
  p->step[first].segment = p->segments;
  p->whole = c->whole;
  return true;
}

static bool cut(cutter *c) {
  const planner *q = c->q;
  uint32_t first = 0, steps = 0;
  for (c->first = 0; c->first < q->s.steps; c->first = c->end + 1) {
    micro_answer fits = MICRO_YES;
    for (c->end = c->first; c->end < q->s.steps; c->end++) {
      fits = is_neutral(q, c->end) ? MICRO_YES : step_fits(q, c->end);
      if (fits != MICRO_YES) break;
    }
    if (fits == MICRO_FAILED) return false;
    if (is_worth(c, &first, &steps) && !add_segment(c, first, steps)) return false;
  }
  return true;
}

bool add_segments(planner *q, const uint32_t scheduled[]) {
  cutter c = { .q = q, .scheduled = scheduled };
  const size_t bytes = q->g.n*sizeof *c.scope.at + 1;
  if (q->request->keep || q->request->lanes) return true;
  c.scope = (micro_scope){ &q->g, memory_get(&q->p->allocator, bytes) };
  const bool good = c.scope.at && cut(&c);
  memory_release(&q->p->allocator, c.scope.at, bytes);
  return good;
}
