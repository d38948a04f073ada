/* kept.c -- loops that run until a condition fails, and whose adjoints are in the same unit: the loop writes
 * its states into rows of work memory as it goes, and the adjoint reads them there instead of running the
 * loop again. Rows are the unit's own memory, since other steps may come between the two. */
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
