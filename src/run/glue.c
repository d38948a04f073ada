/* glue.c -- arrays put together in the memory of one of their parts, for written code.
 *
 * A concatenation, a stack, and a part added into zeros copy their operands. Where one of these has a buffer
 * of its own, the result is put around it instead: the buffer grows by what comes before and behind, and only
 * that is written. So x times (1, y[0], .., y[n-2]) stores one element for the shift, and not n. Other parts
 * that have buffers of their own move in, so that they are made where they go.
 */
#include "primitives/construct.h"
#include "primitives/library.h"
#include "run/lower.h"
#include "tape/tape.h"

typedef struct parts {
  ad_operation op;
  const ad_type *types[GLUED_PARTS];
  const uint32_t *x;                /* operands, as nodes of the graph */
  bool adds;                        /* into zeros; else all operands, one behind the other */
  int64_t first;                    /* where the part of an addition goes */
} parts;

static bool open_parts(const planner *q, uint32_t node, parts *p) {
  const run_graph *g = &q->g;
  const uint32_t n = g->operand_start[node + 1] - g->operand_start[node];
  if (g->kind[node] != KIND_STRUCTURED || n == 0 || n > GLUED_PARTS) return false;
  p->op = node_operation(g->t, g->node[node], p->types);
  p->x = g->operand + g->operand_start[node];
  p->adds = false;
  if (join_is_runs(&p->op)) return true;
  p->adds = slice_adds_range(&p->op, &p->first);
  return p->adds && is_zeros(handle(g->t, g->node[p->x[0]]));
}

static int64_t count_of(const planner *q, uint32_t node) { return ad_type_count(*graph_type(&q->g, node)); }

/* Memory that this unit has for x alone, or for x and its parts, which nobody wants as an output. */
static bool has_buffer(const planner *q, uint32_t x) {
  const uint32_t at = q->place_of[x];
  if (at == NOWHERE || q->g.kind[x] == KIND_GIVEN || q->g.kind[x] == KIND_SCALAR) return false;
  return q->p->place[at].kind == PLACE_WORK && !q->life[at].scalar && !q->is_target[q->life[at].node]
         && graph_type(&q->g, x)->rank > 0 && count_of(q, x) > 0;
}

bool fills_place(const planner *q, uint32_t node) {
  const struct lifetime *l = &q->life[q->place_of[node]];
  return q->views && q->begin[node] == l->low && q->begin[node] + count_of(q, node) == l->high;
}

/* Do the elements around x, which begins with element `first` of node, lie where the buffer has none? */
static bool has_room(const planner *q, uint32_t node, uint32_t x, int64_t first) {
  const struct lifetime *l = &q->life[q->place_of[x]];
  const int64_t behind = count_of(q, node) - first - count_of(q, x), begin = q->begin[x];
  return (first == 0 || begin == l->low) && (behind == 0 || begin + count_of(q, x) == l->high);
}

/* 0 + x is x but for -0: the loop that makes x stores x + 0 then, so it must be for node alone. */
static bool may_add_zero(planner *q, uint32_t node, uint32_t x) {
  const run_graph *g = &q->g;
  int64_t first;
  for (uint32_t user = node;; user = x, x = g->operand[g->operand_start[x]]) {
    const bool made = g->kind[x] == KIND_ELEMENTWISE;
    for (uint32_t e = g->user_start[x]; e < g->user_start[x + 1]; e++)
      if (g->user[e] != user && !(made && q->s.step_of[g->user[e]] == q->s.step_of[x])) return false;
    if (made) break;
    if (!node_view(q, x, &first)) return false;
  }
  q->zero_added[x] = 1;
  return true;
}

/* A buffer begins with the first of its parts. EARLY_LEAST, EARLY_PARTS: elements of one from which on it does
 * not so for a part that is but a small one of it. */
enum { EARLY_LEAST = 1 << 15, EARLY_PARTS = 8 };

/* May x, of which there is more than one name perhaps, move to the buffer at, where node lies? */
static bool may_move(const planner *q, uint32_t node, uint32_t x) {
  const uint32_t at = q->place_of[node];
  if (!has_buffer(q, x) || q->place_of[x] == at || !fills_place(q, x)) return false;
  const int64_t all = count_of(q, node);
  return q->life[q->place_of[x]].first >= q->life[at].first || all < EARLY_LEAST
         || count_of(q, x) >= all/EARLY_PARTS;
}

/* All that has x's place has node's from now on, x from element begin on. */
static void move(planner *q, uint32_t node, uint32_t x, int64_t begin) {
  const int64_t shift = begin - q->begin[x];
  const uint32_t at = q->place_of[node];
  struct lifetime *from = &q->life[q->place_of[x]], *to = &q->life[at];
  if (from->first < to->first) to->first = from->first;
  if (from->last > to->last) to->last = from->last;
  for (uint32_t i = from->named, next; i != NOWHERE; i = next) {
    next = q->next_named[i];
    q->begin[i] += shift;
    put_at(q, i, at);
  }
  from->named = NOWHERE;
  from->moved = true;
}

static void move_parts(planner *q, uint32_t node, const parts *p) {
  int64_t at = q->begin[node];
  for (int k = 0; k < p->op.n; k++) {
    if (may_move(q, node, p->x[k])) move(q, node, p->x[k], at);
    at += count_of(q, p->x[k]);
  }
}

bool glue(planner *q, uint32_t node) {
  parts p;
  if (!q->views || !open_parts(q, node, &p) || (p.adds && q->is_target[node])) return false;
  int best = -1;
  int64_t at = 0, first = 0;
  for (int k = p.adds; k < p.op.n; k++) {
    if (p.adds) at = p.first;
    if (has_buffer(q, p.x[k]) && has_room(q, node, p.x[k], at)
        && (!q->is_target[node] || fills_place(q, p.x[k]))
        && (best < 0 || count_of(q, p.x[k]) > count_of(q, p.x[best])))
      best = k, first = at;
    at += count_of(q, p.x[k]);
  }
  if (best < 0 || (p.adds && !may_add_zero(q, node, p.x[best]))) return false;
  struct lifetime *l = &q->life[q->place_of[p.x[best]]];
  put_at(q, node, q->place_of[p.x[best]]);
  q->begin[node] = q->begin[p.x[best]] - first;
  const int64_t end = q->begin[node] + count_of(q, node);
  if (q->begin[node] < l->low) l->low = q->begin[node];
  if (end > l->high) l->high = end;
  l->pinned = true;
  if (!p.adds) move_parts(q, node, &p);
  if (q->is_target[node]) l->node = node;
  return true;
}

/* Does node, put around one of its parts, leave x alone: the zeros that the part is added into? */
static bool passes_over(const planner *q, uint32_t node, uint32_t x) {
  parts p;
  glued_rest r;
  if (!find_rest(q, node, &r) || !open_parts(q, node, &p) || !p.adds || p.x[0] != x) return false;
  for (int k = 1; k < p.op.n; k++)
    if (p.x[k] == x) return false;
  return true;
}

bool is_unread(const planner *q, uint32_t i) {
  const run_graph *g = &q->g;
  if (!q->views || g->kind[i] != KIND_STRUCTURED || g->operand_start[i] != g->operand_start[i + 1]
      || q->is_target[i])
    return false;
  const uint32_t first = g->user_start[i], end = g->user_start[i + 1];
  for (uint32_t e = first; e < end; e++)
    if (!passes_over(q, g->user[e], i)) return false;
  return end > first;
}

void grow_glued(planner *q) {
  for (uint32_t i = 0; i < q->g.n; i++)
    if (is_unread(q, i)) q->life[q->place_of[i]].high = q->life[q->place_of[i]].low;
  for (uint32_t i = 0; i < q->p->places && q->views; i++) {
    const struct lifetime *l = &q->life[i];
    q->p->place[i].bytes = (size_t)(l->high - l->low)*ad_dtype_bytes(graph_type(&q->g, l->node)->dtype);
  }
}

/* Does x lie where node, made of it, has it from element first on? */
static bool is_there(const planner *q, uint32_t node, uint32_t x, int64_t first) {
  return q->place_of[x] == q->place_of[node] && q->begin[x] == q->begin[node] + first;
}

/* Which of the parts is the biggest that is there; < 0: none. */
static int find_biggest(const planner *q, uint32_t node, const parts *p) {
  int64_t first = p->adds ? p->first : 0;
  int best = -1;
  for (int k = p->adds; k < p->op.n; k++) {
    const int64_t count = count_of(q, p->x[k]);
    if (is_there(q, node, p->x[k], first) && (best < 0 || count > count_of(q, p->x[best]))) best = k;
    first += count;
  }
  return best;
}

uint32_t glued_part(const planner *q, uint32_t node) {
  parts p;
  if (!q->views || q->place_of[node] == NOWHERE || !open_parts(q, node, &p)) return NOWHERE;
  const int best = find_biggest(q, node, &p);
  return best < 0 ? NOWHERE : p.x[best];
}

static void add_rest(glued_rest *r, int64_t first, int64_t count, uint32_t x) {
  if (count > 0) r->part[r->n++] = (struct glued_part){ first, count, x };
}

/* all: with parts that are there, but for the biggest of them. */
static bool list_rest(const planner *q, uint32_t node, bool all, glued_rest *r) {
  parts p;
  int64_t first = 0;
  r->n = 0;
  if (!q->views || q->place_of[node] == NOWHERE || !open_parts(q, node, &p)) return false;
  const int biggest = find_biggest(q, node, &p);
  if (p.adds) first = p.first;
  for (int k = p.adds; k < p.op.n; k++) {
    const int64_t count = count_of(q, p.x[k]);
    if (all ? k != biggest : !is_there(q, node, p.x[k], first)) add_rest(r, first, count, p.x[k]);
    first += count;
  }
  if (!p.adds || biggest < 0) return biggest >= 0;
  add_rest(r, 0, p.first, NOWHERE);
  add_rest(r, first, count_of(q, node) - first, NOWHERE);
  return true;
}

bool find_rest(const planner *q, uint32_t node, glued_rest *r) { return list_rest(q, node, false, r); }
bool find_around(const planner *q, uint32_t node, glued_rest *r) { return list_rest(q, node, true, r); }
