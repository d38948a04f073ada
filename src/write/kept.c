/* kept.c -- what loops keep for adjoints in the same unit.
 *
 * A loop that runs until a condition fails writes its states into rows of work memory as it goes, and the
 * adjoint reads them there instead of running the loop again. Rows are the unit's own memory, since other
 * steps may come between the two.
 *
 * A scan's states and values for its adjoint are results with a row for each step. Where nobody else looks at
 * them, those of one step lie side by side: a step writes and reads one piece of memory and not one for each
 * array, of which there may be more than the cache has ways, or the processor follows. */
#include "write/carriers.h"

#include <string.h>

int64_t text_bound(const ad_writer *w, const carrier *c) {
  const int64_t most = w->options.most_steps;
  if (c->n >= 0) return c->n;
  return c->limit > 0 && c->limit < most ? c->limit : most;
}

bool text_keeps_all(const ad_writer *w, const carrier *c) {
  return c->policy != KEEP_BINOMIAL && (c->policy != KEEP_EVERY || c->keep >= text_bound(w, c));
}

static const carrier *carrier_at(const unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  const tuple_rules *rules = g->kind[i] == KIND_GIVEN ? NULL : node_tuple(g->t, g->node[i]);
  size_t size;
  if (!rules || rules->run) return NULL;
  return node_attribute(g->t, g->node[i], &size);
}

/* The loop whose number of steps the adjoint goes back. */
static uint32_t loop_of(const unit *u, uint32_t adjoint, const carrier *a) {
  const run_graph *g = &u->q.g;
  const uint32_t *x = g->operand + g->operand_start[adjoint], steps = x[a->n_in];
  if (g->kind[steps] != KIND_RESULT) return NOWHERE;
  const uint32_t loop = g->operand[g->operand_start[steps]], *y = g->operand + g->operand_start[loop];
  const carrier *c = carrier_at(u, loop);
  if (!c || c->adjoint || c->kind != CARRIER_LOOP || c->f != a->f) return NOWHERE;
  for (int k = 0; k < c->n_in; k++)
    if (x[k] != y[k]) return NOWHERE;
  return loop;
}

static bool reads_states(const unit *u, const carrier *a) {
  return a && a->adjoint && a->kind == CARRIER_SCAN && a->counted && a->n < 0 && !a->recorded
         && text_keeps_all(u->w, a) && !u->shape->lanes;
}

static const kept_states *find_kept(const unit *u, uint32_t loop) {
  for (size_t i = 0; i < u->keeps; i++)
    if (u->kept[i].loop == loop) return &u->kept[i];
  return NULL;
}

static bool keep(unit *u, uint32_t loop) {
  if (loop == NOWHERE || find_kept(u, loop)) return true;
  const carrier *c = carrier_at(u, loop);
  if (!memory_reserve(&u->w->allocator, &u->kept, &u->kept_room, u->keeps + 1, sizeof *u->kept))
    return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  kept_states *s = &u->kept[u->keeps++];
  s->loop = loop;
  memcpy(s->at, u->own, sizeof s->at);
  for (int k = 0; k < c->n_in; k++) {
    const tape_type *type = node_type(c->f->body, c->f->in[k]);
    if (role_in(c)[k] == ROLE_STATE)
      u->own[type->type.dtype] += (size_t)text_bound(u->w, c)*(size_t)type->count;
  }
  return true;
}

bool unit_keep_states(unit *u) {
  for (uint32_t i = 0; i < u->q.g.n; i++) {
    const carrier *a = carrier_at(u, i);
    if (reads_states(u, a) && !keep(u, loop_of(u, i, a))) return false;
  }
  return true;
}

bool text_is_kept(const carrier_text *c) {
  if (c->c->adjoint) return reads_states(c->u, c->c) && find_kept(c->u, loop_of(c->u, c->node, c->c));
  return find_kept(c->u, c->node) != NULL;
}

const char *text_kept(const carrier_text *c, int k) {
  const uint32_t loop = c->c->adjoint ? loop_of(c->u, c->node, c->c) : c->node;
  const kept_states *s = find_kept(c->u, loop);
  const ad_function *f = c->c->f;
  const ad_dtype dtype = node_type(f->body, f->in[k])->type.dtype;
  size_t at = s->at[dtype];
  for (int i = 0; i < k; i++) {
    const tape_type *type = node_type(f->body, f->in[i]);
    if (role_in(c->c)[i] == ROLE_STATE && type->type.dtype == dtype)
      at += (size_t)text_bound(c->u->w, c->c)*(size_t)type->count;
  }
  return writer_text(c->u->w, at ? "(%s + %zu)" : "%s", write_pool(dtype), at);
}

/* --- rows side by side ---------------------------------------------------------------------------------- */

/* ROW_LEAST: elements of a row that begins where vectors do. */
enum { ROW_LEAST = 4, STEP_MOST = 1 << 20 };

/* Do the steps of an adjoint take node i, and does it take it for nothing else? */
static bool is_taken_apart(const unit *u, uint32_t i, uint32_t user) {
  const run_graph *g = &u->q.g;
  const carrier *a = carrier_at(u, user);
  if (!a || !a->adjoint || !a->recorded) return false;
  const uint32_t first = g->operand_start[user];
  const int before = a->n_in + selectors(a) + carrier_count(a->n_out, active_out(a));
  for (int k = 0; k < before; k++)
    if (g->operand[first + (uint32_t)k] == i) return false;
  return true;
}

/* Is node i a result of scan c that only adjoints look at, row by row, in memory of its own? */
static bool is_rows(const unit *u, const carrier *c, uint32_t i) {
  const run_graph *g = &u->q.g;
  const uint32_t at = u->q.place_of[i];
  if (g->kind[i] != KIND_RESULT || result_number(g->t, g->node[i]) < c->n_out || u->q.is_target[i]
      || at == NOWHERE || u->q.p->place[at].kind != PLACE_WORK || u->q.life[at].node != i
      || u->q.life[at].pinned) return false;
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++)
    if (!is_taken_apart(u, i, g->user[k])) return false;
  return g->user_start[i] < g->user_start[i + 1];
}

static int64_t row_count(const unit *u, const carrier *c, uint32_t i) {
  return ad_type_count(*graph_type(&u->q.g, i))/c->n;
}

/* Elements that a row takes among others. */
static int64_t row_room(const unit *u, const carrier *c, uint32_t i, ad_dtype dtype) {
  const int64_t n = row_count(u, c, i), vector = (int64_t)unit_vector(u, dtype);
  return n < ROW_LEAST ? n : (n + vector - 1)/vector*vector;
}

/* The rows of type dtype among the results of a scan, long ones first: counted, and put into the place of the
 * first one where step, their elements, is not 0. */
static int64_t walk_rows(unit *u, uint32_t scan, const carrier *c, ad_dtype dtype, int64_t step) {
  const run_graph *g = &u->q.g;
  uint32_t home = NOWHERE;
  int64_t at = 0;
  for (int small = 0; small < 2; small++)
    for (uint32_t k = g->user_start[scan]; k < g->user_start[scan + 1]; k++) {
      const uint32_t i = g->user[k];
      if (graph_type(g, i)->dtype != dtype || u->row_step[i] || !is_rows(u, c, i)) continue;
      if ((row_count(u, c, i) < ROW_LEAST) != small) continue;
      const int64_t begin = at;
      at += row_room(u, c, i, dtype);
      if (!step) continue;
      struct lifetime *l = &u->q.life[u->q.place_of[i]];
      if (home == NOWHERE) home = u->q.place_of[i];
      else u->q.p->place[u->q.place_of[i]].bytes = 0;
      if (l->last > u->q.life[home].last) u->q.life[home].last = l->last;
      u->q.place_of[i] = home;
      u->q.begin[i] = u->q.life[home].low + begin;
      u->row_step[i] = (uint32_t)step;
    }
  if (home != NOWHERE) u->q.p->place[home].bytes = (size_t)(step*c->n)*ad_dtype_bytes(dtype);
  return at;
}

void unit_join_rows(unit *u) {
  for (uint32_t i = 0; i < u->q.g.n; i++) {
    const carrier *c = carrier_at(u, i);
    if (!c || c->adjoint || !carrier_has_record(c) || c->n < 1) continue;
    for (int d = 0; d < AD_DTYPES; d++) {
      const int64_t vector = (int64_t)unit_vector(u, (ad_dtype)d), n = walk_rows(u, i, c, (ad_dtype)d, 0);
      const int64_t step = (n + vector - 1)/vector*vector;
      if (step > 0 && step <= STEP_MOST) walk_rows(u, i, c, (ad_dtype)d, step);
    }
  }
}

/* The node of result k of a carrier, or of its operand k. */
static uint32_t rows_node(const carrier_text *c, bool result, int k) {
  const run_graph *g = &c->u->q.g;
  uint32_t i = g->operand[g->operand_start[c->node] + (uint32_t)(result ? 0 : k)];
  for (uint32_t e = g->user_start[c->node]; e < g->user_start[c->node + 1] && result; e++)
    if (result_number(g->t, g->node[g->user[e]]) == k) i = g->user[e];
  return i;
}

int64_t text_row_step(const carrier_text *c, bool result, int k) {
  const uint32_t i = rows_node(c, result, k);
  const ad_type *type = graph_type(&c->u->q.g, i);
  if (c->u->row_step[i]) return c->u->row_step[i];
  return type->dim[0] ? ad_type_count(*type)/type->dim[0] : 0;
}

const char *text_kept_row(carrier_text *c, bool result, int k) {
  return text_row(c, result ? c->z[k] : c->x[k], text_row_step(c, result, k));
}
