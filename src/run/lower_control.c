/* lower_control.c -- calls, branches and loops within micro programs: the functions that they carry,
 * lowered where they stand. */
#include "run/lower_micro.h"
#include "function/carrier.h"

#include <string.h>

static const carrier *carrier_of(const run_graph *g, uint32_t i) {
  size_t size;
  return node_attribute(g->t, g->node[i], &size);
}

/* --- do they fit? --------------------------------------------------------------------------------------- */

static micro_answer function_fits(const ad_function *f, uint32_t *budget) {
  run_graph g;
  const ad_status status = graph_open(&g, f->body, f->n_out, f->out, 0);
  if (status != AD_OK) return status == AD_ERROR_MEMORY ? MICRO_FAILED : MICRO_NO;
  micro_answer answer = g.n <= *budget ? MICRO_YES : MICRO_NO;
  if (answer == MICRO_YES) *budget -= g.n;
  for (uint32_t i = 0; i < g.n && answer == MICRO_YES; i++) {
    if (g.kind[i] == KIND_GIVEN) answer = micro_is_small(&g, i) ? MICRO_YES : MICRO_NO;
    else if (g.kind[i] != KIND_RESULT) answer = micro_fits(&g, i, budget);
  }
  graph_close(&g);
  return answer;
}

/* Operands and results of the node: nothing stacked. */
static bool has_small_ends(const run_graph *g, uint32_t i) {
  for (uint32_t e = g->operand_start[i]; e < g->operand_start[i + 1]; e++)
    if (!micro_is_small(g, g->operand[e])) return false;
  for (uint32_t e = g->user_start[i]; e < g->user_start[i + 1]; e++)
    if (!micro_is_small(g, g->user[e])) return false;
  return true;
}

static bool is_condition(const ad_function *f) {
  const ad_type *type = &node_type(f->body, f->out[0])->type;
  return type->dtype == AD_BOOL && type->rank == 0;
}

micro_answer micro_control_fits(const run_graph *g, uint32_t i, uint32_t *budget) {
  const ad_primitive *p = node_primitive(g->t, g->node[i]);
  const carrier *c = carrier_of(g, i);
  const bool call = p == &carrier_primitives[CARRIER_CALL], branch = p == &carrier_primitives[CARRIER_BRANCH],
             loop = p == &carrier_primitives[CARRIER_LOOP];
  if ((!call && !branch && !loop) || c->r || c->counted || !has_small_ends(g, i)) return MICRO_NO;
  if (loop && !is_condition(c->g)) return MICRO_NO;
  const micro_answer first = function_fits(c->f, budget);
  return first == MICRO_YES && c->g ? function_fits(c->g, budget) : first;
}

/* --- functions ------------------------------------------------------------------------------------------ */

/* Places of a carrier's inputs and outputs. */
typedef struct ends {
  uint32_t *in, *out, *second;      /* second: the outputs again, for what has them twice */
  size_t bytes;
} ends;

static bool open_ends(micro_builder *b, const carrier *c, ends *e) {
  e->bytes = ((size_t)c->n_in + 2*(size_t)c->n_out + 1)*sizeof *e->in;
  e->in = memory_get(&b->allocator, e->bytes);
  if (!e->in) return false;
  memset(e->in, 0xFF, e->bytes);
  e->out = e->in + c->n_in;
  e->second = e->out + c->n_out;
  return true;
}

static void close_ends(micro_builder *b, const ends *e) { memory_release(&b->allocator, e->in, e->bytes); }

static bool lower_nodes(micro_builder *b, const micro_scope *s) {
  const run_graph *g = s->g;
  for (uint32_t i = 0; i < g->n; i++) {
    if (g->kind[i] == KIND_RESULT || s->at[i] != MICRO_NOWHERE) continue;
    if (g->kind[i] != KIND_GIVEN) {
      if (!micro_node(b, s, i)) return false;
      continue;
    }
    s->at[i] = micro_constant(b, node_data(g->t, g->node[i]), node_type(g->t, g->node[i])->bytes);
    if (s->at[i] == MICRO_NOWHERE) return false;
  }
  return true;
}

/* f with its inputs at in; where its outputs are goes to out. */
static bool lower_function(micro_builder *b, const ad_function *f, const uint32_t in[], uint32_t out[]) {
  run_graph g;
  if (graph_open(&g, f->body, f->n_out, f->out, 0) != AD_OK) return false;
  const size_t bytes = g.n*sizeof(uint32_t) + 1;
  const micro_scope s = { &g, memory_get(&b->allocator, bytes) };
  bool good = s.at != NULL;
  if (good) memset(s.at, 0xFF, bytes - 1);
  for (int k = 0; k < f->n_in && good; k++) {
    const uint32_t node = graph_find(&g, f->in[k]);
    if (node != UINT32_MAX) s.at[node] = in[k];
  }
  good = good && lower_nodes(b, &s);
  for (int j = 0; j < f->n_out && good; j++) out[j] = s.at[graph_find(&g, f->out[j])];
  memory_release(&b->allocator, s.at, bytes);
  graph_close(&g);
  return good;
}

/* --- carriers ------------------------------------------------------------------------------------------- */

/* Results are found at out; those behind the outputs at `more`. */
static void name_results(const micro_scope *s, uint32_t i, const carrier *c, const uint32_t out[],
                         uint32_t more) {
  const run_graph *g = s->g;
  for (uint32_t e = g->user_start[i]; e < g->user_start[i + 1]; e++) {
    const int j = result_number(g->t, g->node[g->user[e]]);
    s->at[g->user[e]] = j < c->n_out ? out[j] : more;
  }
}

static size_t output_bytes(const carrier *c, int j) { return node_type(c->f->body, c->f->out[j])->bytes; }
static uint32_t operand(const micro_scope *s, uint32_t i, int k) {
  return s->at[s->g->operand[s->g->operand_start[i] + (uint32_t)k]];
}

static bool lower_branch(micro_builder *b, const micro_scope *s, uint32_t i, const carrier *c, ends *e) {
  micro_program *m = b->m;
  const uint32_t unless = m->count;
  bool good = micro_emit(b, (micro){ .code = MICRO_UNLESS, .x = operand(s, i, c->n_in) })
           && lower_function(b, c->f, e->in, e->out);
  for (int j = 0; j < c->n_out && good; j++) {
    e->second[j] = micro_reserve(b, output_bytes(c, j));
    good = !b->full && micro_copy(b, e->second[j], e->out[j], output_bytes(c, j));
  }
  const uint32_t go = m->count;
  good = good && micro_emit(b, (micro){ .code = MICRO_GO });
  if (good) m->code[unless].to = m->count;
  good = good && lower_function(b, c->g, e->in, e->out);
  for (int j = 0; j < c->n_out && good; j++)
    good = micro_copy(b, e->second[j], e->out[j], output_bytes(c, j));
  if (good) m->code[go].to = m->count;
  if (good) name_results(s, i, c, e->second, MICRO_NOWHERE);
  return good;
}

/* The states of a loop, by the number of the output: where they are kept, and bytes. */
static uint32_t state_of(const carrier *c, const ends *e, int j) {
  int k = 0, i = 0;
  for (int o = 0; o < j; o++) k += role_out(c)[o] == ROLE_STATE;
  for (; i < c->n_in; i++)
    if (role_in(c)[i] == ROLE_STATE && k-- == 0) break;
  return e->in[i];
}

static bool begin_states(micro_builder *b, const micro_scope *s, uint32_t i, const carrier *c, ends *e) {
  for (int k = 0; k < c->n_in; k++) {
    if (role_in(c)[k] != ROLE_STATE) continue;
    const size_t bytes = node_type(c->f->body, c->f->in[k])->bytes;
    const uint32_t from = operand(s, i, k), at = e->in[k] = micro_reserve(b, bytes);
    if (at == MICRO_NOWHERE || !micro_copy(b, at, from, bytes)) return false;
  }
  return true;
}

static bool overlaps(uint32_t x, size_t x_bytes, uint32_t y, size_t y_bytes) {
  return x < y + y_bytes && y < x + x_bytes;
}

/* New states to where states are kept; what one of these still holds for another is put aside first. */
static bool turn_states(micro_builder *b, const carrier *c, ends *e, uint32_t body, uint32_t fresh) {
  for (int j = 0; j < c->n_out; j++)
    for (int k = 0; k < c->n_out; k++) {
      const uint32_t from = e->out[j];
      const size_t bytes = output_bytes(c, j);
      if (k == j || !overlaps(from, bytes, state_of(c, e, k), output_bytes(c, k))) continue;
      e->out[j] = micro_reserve(b, bytes);
      if (b->full || !micro_copy(b, e->out[j], from, bytes)) return false;
      break;
    }
  const uint32_t copies = b->m->count;
  for (int j = 0; j < c->n_out; j++) {
    const uint32_t to = state_of(c, e, j);
    if (e->out[j] != to && !micro_copy(b, to, e->out[j], output_bytes(c, j))) return false;
  }
  micro_compute_there(b, body, copies, fresh);
  return true;
}

static bool add_loop(micro_builder *b, const carrier *c) {
  micro_program *m = b->m;
  if (m->loops > UINT16_MAX) return false;
  if (!memory_reserve(&b->allocator, &m->loop, &m->loop_capacity, m->loops + 1, sizeof *m->loop))
    return false;
  m->loop[m->loops++] = (micro_loop){ c->g->name, c->limit };
  return true;
}

/* The condition stands before the loop and at its end: a jump less in each step. */
static bool lower_loop(micro_builder *b, const micro_scope *s, uint32_t i, const carrier *c, ends *e) {
  micro_program *m = b->m;
  const int64_t none = 0;
  const uint32_t zero = micro_constant(b, &none, sizeof none), steps = micro_reserve(b, sizeof none);
  uint32_t condition = MICRO_NOWHERE;
  if (zero == MICRO_NOWHERE || steps == MICRO_NOWHERE || !add_loop(b, c)) return false;
  micro test = { .code = MICRO_WHILE, .n = (uint16_t)(m->loops - 1), .z = steps };
  bool good = micro_copy(b, steps, zero, sizeof none) && begin_states(b, s, i, c, e)
           && lower_function(b, c->g, e->in, &condition);
  const uint32_t begin = m->count, fresh = (uint32_t)b->room;
  test.x = condition;
  good = good && micro_emit(b, test) && lower_function(b, c->f, e->in, e->out)
      && turn_states(b, c, e, begin + 1, fresh) && lower_function(b, c->g, e->in, &condition);
  test.code = MICRO_AGAIN, test.x = condition, test.to = begin + 1;
  good = good && micro_emit(b, test);
  if (!good) return false;
  m->code[begin].to = m->count;
  for (int j = 0; j < c->n_out; j++) e->out[j] = state_of(c, e, j);
  name_results(s, i, c, e->out, steps);
  return true;
}

bool micro_control(micro_builder *b, const micro_scope *s, uint32_t i) {
  const carrier *c = carrier_of(s->g, i);
  ends e;
  if (!open_ends(b, c, &e)) return false;
  for (int k = 0; k < c->n_in; k++) e.in[k] = operand(s, i, k);
  bool good;
  if (c->kind == CARRIER_LOOP) good = lower_loop(b, s, i, c, &e);
  else if (c->kind == CARRIER_BRANCH) good = lower_branch(b, s, i, c, &e);
  else {
    good = lower_function(b, c->f, e.in, e.out);
    if (good) name_results(s, i, c, e.out, MICRO_NOWHERE);
  }
  close_ends(b, &e);
  return good;
}
