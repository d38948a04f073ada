/* plan.c -- making a plan: needed nodes, schedule, places, then each step lowered. */
#include "run/carrier.h"
#include "run/lower.h"
#include "primitives/library.h"

#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

/* --- structured steps ----------------------------------------------------------------------------- */

/* Of an operation with several results: where each goes, and what runs it. */
static bool lower_results(planner *q, uint32_t node) {
  plan *p = q->p;
  const run_graph *g = &q->g;
  kernel_step *k = &p->step[p->steps - 1].kernel;
  const tuple_rules *rules = k->op.primitive->tuple;
  k->results = (uint32_t)rules->results(&k->op);
  k->result = memory_get(&p->allocator, k->results*sizeof *k->result + 1);
  bool *wanted = memory_get_zeroed(&p->allocator, k->results + 1u, 1);
  q->status = AD_ERROR_MEMORY;
  if (k->result && wanted) {
    memset(k->result, 0xFF, k->results*sizeof *k->result);
    for (uint32_t e = g->user_start[node]; e < g->user_start[node + 1]; e++) {
      const int j = result_number(g->t, g->node[g->user[e]]);
      k->result[j] = q->place_of[g->user[e]];
      wanted[j] = true;
    }
    q->status = AD_OK;
    const preparation make = { &k->op, k->op.attribute, wanted, p->allocator, p->threads, q->request->message,
                               q->request->size };
    if (!rules->run) q->status = carrier_prepare(&make, &k->call);
  }
  memory_release(&p->allocator, wanted, k->results + 1u);
  const uint32_t addresses = (uint32_t)k->op.n + k->results;
  if (addresses > p->most_operands) p->most_operands = addresses;
  return q->status == AD_OK;
}

const void *planner_constant(const planner *q, uint32_t x) {
  const bool constant = q->g.kind[x] == KIND_GIVEN && planner_input(q, x) == NOWHERE;
  return constant && node_is_constant(q->g.t, q->g.node[x]) ? node_data(q->g.t, q->g.node[x]) : NULL;
}

enum { SURE_OPERANDS = 8 };

bool planner_sure(const planner *q, uint32_t i, const ad_operation *op) {
  const run_graph *g = &q->g;
  const void *x[SURE_OPERANDS];
  if (op->primitive->traits & AD_TRAIT_NEVER_FAILS) return true;
  if (!op->primitive->sure || op->n > SURE_OPERANDS) return false;
  for (int k = 0; k < op->n; k++) x[k] = planner_constant(q, g->operand[g->operand_start[i] + (uint32_t)k]);
  return op->primitive->sure(op, x);
}

static bool lower_kernel_step(planner *q, uint32_t node) {
  plan *p = q->p;
  const run_graph *g = &q->g;
  kernel_step *k = &p->step[p->steps - 1].kernel;
  const uint32_t first = g->operand_start[node], n = g->operand_start[node + 1] - first;
  k->types = memory_get(&p->allocator, n*sizeof *k->types + 1);
  k->x = memory_get(&p->allocator, n*sizeof *k->x + 1);
  k->op.n = (int)n;
  if (!k->types || !k->x) return false;
  k->op = node_operation(g->t, g->node[node], k->types);
  k->op.sure = planner_sure(q, node, &k->op);
  k->z = q->place_of[node];
  for (uint32_t e = 0; e < n; e++) k->x[e] = q->place_of[g->operand[first + e]];
  if (n > p->most_operands) p->most_operands = n;
  return !k->op.primitive->tuple || lower_results(q, node);
}

/* A reshape that shares its operand's place has nothing to do. */
static bool is_another_name(const planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  return (node_primitive(g->t, g->node[node])->traits & AD_TRAIT_ALIAS)
      && q->place_of[g->operand[g->operand_start[node]]] == q->place_of[node];
}

static bool lower_step(planner *q, const schedule_step *s) {
  plan *p = q->p;
  if (s->kind == KIND_STRUCTURED && q->g.kind[q->s.order[s->first]] == KIND_RESULT) return true;
  if (s->kind == KIND_STRUCTURED && is_another_name(q, q->s.order[s->first])) return true;
  if (!memory_reserve(&p->allocator, &p->step, &p->step_capacity, p->steps + 1, sizeof *p->step))
    return false;
  p->step[p->steps++] = (plan_step){ .kind = s->kind };
  if (s->kind == KIND_SCALAR) return lower_scalars(q, s);
  if (s->kind == KIND_ELEMENTWISE) return lower_region(q, s);
  return lower_kernel_step(q, q->s.order[s->first]);
}

/* --- outputs -------------------------------------------------------------------------------------- */

static bool add_store(planner *q, uint32_t node, uint32_t number) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->store, &p->store_capacity, p->stores + 1, sizeof *p->store))
    return false;
  p->store[p->stores++] = (transfer){ number, q->slot_of[node], graph_type(&q->g, node)->dtype == AD_BOOL };
  return true;
}

static bool add_copy(planner *q, uint32_t at, uint32_t number) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->copy, &p->copy_capacity, p->copies + 1, sizeof *p->copy))
    return false;
  p->copy[p->copies++] = (plan_copy){ at, number };
  return true;
}

static bool place_output(planner *q, uint32_t node, uint32_t number) {
  const run_graph *g = &q->g;
  /* stored from its slot, once slots have numbers */
  if (g->kind[node] == KIND_SCALAR) return true;
  place *at = &q->p->place[q->place_of[node]];
  if (at->kind == PLACE_WORK && (graph_type(g, node)->rank > 0 || q->request->lanes)
      && (!q->life[q->place_of[node]].pinned || fills_place(q, node))) {
    at->kind = PLACE_OUTPUT;
    at->number = number;
    return true;
  }
  return add_copy(q, q->place_of[node], number);
}

bool place_outputs(planner *q) {
  const plan_request *r = q->request;
  for (int j = 0; j < r->n_out && !r->keep; j++)
    if (r->out[j] != INVALID_INDEX && !place_output(q, graph_find(&q->g, r->out[j]), (uint32_t)j))
      return false;
  return true;
}

static bool store_outputs(planner *q) {
  const plan_request *r = q->request;
  for (int j = 0; j < r->n_out && !r->keep; j++) {
    if (r->out[j] == INVALID_INDEX) continue;
    const uint32_t node = graph_find(&q->g, r->out[j]);
    if (q->g.kind[node] == KIND_SCALAR && !add_store(q, node, (uint32_t)j)) return false;
  }
  return true;
}

/* On a tape arrays live in memory that the tape owns; of those that share a buffer the last one has it. */
static bool keep_arrays(planner *q) {
  for (uint32_t i = 0; i < q->p->places && q->request->keep; i++) {
    place *at = &q->p->place[i];
    const uint32_t node = q->life[i].node;
    if (at->kind != PLACE_WORK || graph_type(&q->g, node)->rank == 0) continue;
    if (!tape_own_value(q->g.t, q->g.node[node])) return false;
    at->kind = PLACE_FIXED;
    at->fixed = q->g.t->value[q->g.node[node]].data;
  }
  return true;
}

static bool add_result(planner *q, uint32_t node, plan_result r) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->result, &p->result_capacity, p->results + 1, sizeof *p->result))
    return false;
  r.node = q->g.node[node];
  p->result[p->results++] = r;
  return true;
}

/* Everything that is still there at the end of the run stays known. */
static bool list_results(planner *q) {
  for (uint32_t i = 0; i < q->g.n && q->request->keep; i++) {
    const uint32_t at = q->place_of[i];
    bool good = true;
    if (q->g.kind[i] == KIND_GIVEN || node_tuple(q->g.t, q->g.node[i])) continue;
    if (q->g.kind[i] == KIND_SCALAR)
      good = add_result(q, i, (plan_result){ 0, RESULT_NUMBER, q->slot_of[i]*sizeof(double) });
    else if (at != NOWHERE && graph_type(&q->g, i)->rank == 0)
      good = add_result(q, i, (plan_result){ 0, RESULT_BYTES, q->p->place[at].offset });
    else if (at != NOWHERE && q->life[at].node == i)
      good = add_result(q, i, (plan_result){ 0, RESULT_ARRAY, 0 });
    if (!good) return false;
  }
  return true;
}

/* --- the workspace -------------------------------------------------------------------------------- */

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static size_t step_scratch(const plan *p, const plan_step *s) {
  if (s->kind == KIND_ELEMENTWISE) return region_scratch(&s->region, p->threads);
  if (s->kind == KIND_STRUCTURED && s->kernel.call) return s->kernel.call->scratch;
  if (s->kind == KIND_STRUCTURED && s->kernel.op.primitive->scratch_bytes)
    return s->kernel.op.primitive->scratch_bytes(&s->kernel.op);
  return 0;
}

/* Offsets of array buffers counted from the end of the slots until now. */
static void shift_memory(planner *q) {
  plan *p = q->p;
  const size_t slots = rounded(p->slots*sizeof(double));
  for (uint32_t i = 0; i < p->places; i++) {
    place *at = &p->place[i];
    const bool slot = q->g.kind[q->life[i].node] == KIND_SCALAR;
    if ((at->kind == PLACE_WORK && !slot) || at->kind == PLACE_OUTPUT || at->kind == PLACE_INPUT)
      at->offset += slots;
    if (at->kind == PLACE_INPUT && at->bytes > p->zero_bytes) p->zero_bytes = at->bytes;
  }
  p->scratch += slots;
}

static void lay_out(plan *p) {
  size_t scratch = 0;
  for (uint32_t i = 0; i < p->steps; i++) {
    size_t bytes = step_scratch(p, &p->step[i]);
    if (bytes > scratch) scratch = bytes;
  }
  p->table = p->scratch + rounded(scratch);
  p->operands = p->table + rounded(p->places*sizeof(void *));
  p->zeros = p->operands + rounded(p->most_operands*sizeof(void *));
  p->workspace = p->zeros + rounded(p->zero_bytes) + 64;
  if (p->whole) p->workspace = 0;
  for (uint32_t i = 0; i < p->segments; i++) {
    p->segment[i].frame = p->workspace;
    p->workspace += rounded(p->segment[i].m.frame) + 64;
  }
}

/* --- the whole ------------------------------------------------------------------------------------ */

/* Written code gives out slots when the last region has been looked at: these lists are one there. */
static size_t numbers_of_nodes(const planner *q) { return (q->views ? 2 : 3)*(size_t)q->g.n; }
/* Of each node, nothing for most of them: input_of, is_target. */
enum { GIVEN_BYTES = sizeof(uint32_t) + 1 };
/* Of each node, for written code: begin, next_named, zero_added. */
enum { PLANNER_BYTES = sizeof(int64_t) + sizeof(uint32_t) + 1 };

bool planner_open(planner *q) {
  const ad_allocator *a = &q->p->allocator;
  const size_t n = q->g.n, numbers = numbers_of_nodes(q);
  uint32_t *block = memory_get(a, numbers*sizeof *block + 1);
  q->input_of = memory_get_zeroed(a, n + 1, GIVEN_BYTES);
  q->place_of = block;
  if (!block || !q->input_of) return false;
  q->is_target = (unsigned char *)(q->input_of + n);
  memset(block, 0xFF, numbers*sizeof *block);
  q->region_slot = block + n;
  q->slot_of = q->views ? q->region_slot : block + 2*n;
  if (q->views) {
    q->begin = memory_get_zeroed(a, n + 1, PLANNER_BYTES);
    if (!q->begin) return false;
    q->next_named = (uint32_t *)(q->begin + n);
    q->zero_added = (unsigned char *)(q->next_named + n);
  }
  const plan_request *r = q->request;
  for (int i = 0; i < r->n_in; i++) {
    const uint32_t k = graph_find(&q->g, r->in[i]);
    if (k != NOWHERE) q->input_of[k] = (uint32_t)i + 1;
  }
  for (int j = 0; j < r->n_out; j++)
    if (r->out[j] != INVALID_INDEX) q->is_target[graph_find(&q->g, r->out[j])] = 1;
  return true;
}

void planner_close(planner *q) {
  const ad_allocator *a = &q->p->allocator;
  const size_t n = q->g.n;
  memory_release(a, q->place_of, numbers_of_nodes(q)*sizeof *q->place_of + 1);
  memory_release(a, q->input_of, (n + 1)*GIVEN_BYTES);
  memory_release(a, q->begin, (n + 1)*PLANNER_BYTES);
  memory_release(a, q->life, q->life_capacity*sizeof *q->life);
  schedule_free(&q->s, a);
  graph_close(&q->g);
}

static bool lower_steps(planner *q) {
  const size_t bytes = q->s.steps*sizeof(uint32_t) + 1;
  uint32_t *scheduled = memory_get(&q->p->allocator, bytes);
  bool good = scheduled != NULL;
  for (uint32_t s = 0; s < q->s.steps && good; s++) {
    scheduled[q->p->steps] = s;
    good = lower_step(q, &q->s.step[s]);
  }
  good = good && add_segments(q, scheduled);
  memory_release(&q->p->allocator, scheduled, bytes);
  return good;
}

static bool lower_all(planner *q) {
  if (!choose_places(q) || !place_outputs(q) || !keep_arrays(q) || !assign_memory(q) || !number_slots(q))
    return false;
  shift_memory(q);
  if (!store_outputs(q) || !list_results(q)) return false;
  if (!lower_steps(q)) return false;
  note_times(q->p);
  lay_out(q->p);
  return true;
}

ad_status plan_make(plan *p, const plan_request *r) {
  planner q = { .request = r, .p = p, .status = AD_ERROR_MEMORY };
  *p = (plan){ .allocator = r->t->allocator, .threads = 1, .inputs = (uint32_t)r->n_in };
#ifdef _OPENMP
  p->threads = omp_get_max_threads();
#endif
  ad_status status = graph_open(&q.g, r->t, r->n_out, r->out,
                                (r->keep ? GRAPH_USE_KNOWN : 0u) | (r->lanes ? GRAPH_LANES : 0u));
  if (status != AD_OK) return status;
  status = schedule_make(&q.s, &q.g);
  if (status != AD_OK) {
    graph_close(&q.g);
    return status;
  }
  if (!planner_open(&q) || !lower_all(&q)) status = q.status == AD_OK ? AD_ERROR_MEMORY : q.status;
  planner_close(&q);
  if (status != AD_OK) plan_free(p);
  return status;
}

static void free_step(plan *p, plan_step *s) {
  const size_t n = (size_t)s->kernel.op.n;
  region_free(&p->allocator, &s->region);
  memory_release(&p->allocator, s->kernel.types, n*sizeof *s->kernel.types + 1);
  memory_release(&p->allocator, s->kernel.x, n*sizeof *s->kernel.x + 1);
  if (s->kernel.call) s->kernel.call->free(s->kernel.call);
  if (s->kernel.result)
    memory_release(&p->allocator, s->kernel.result, s->kernel.results*sizeof(uint32_t) + 1);
}

void plan_free(plan *p) {
  const ad_allocator a = p->allocator;
  for (uint32_t i = 0; i < p->steps; i++) free_step(p, &p->step[i]);
  for (uint32_t i = 0; i < p->segments; i++) segment_free(&a, &p->segment[i]);
  memory_release(&a, p->segment, p->segment_capacity*sizeof *p->segment);
  memory_release(&a, p->step, p->step_capacity*sizeof *p->step);
  memory_release(&a, p->code, p->code_capacity*sizeof *p->code);
  memory_release(&a, p->image, p->image_capacity*sizeof *p->image);
  memory_release(&a, p->place, p->place_capacity*sizeof *p->place);
  memory_release(&a, p->load, p->load_capacity*sizeof *p->load);
  memory_release(&a, p->store, p->store_capacity*sizeof *p->store);
  memory_release(&a, p->result, p->result_capacity*sizeof *p->result);
  memory_release(&a, p->copy, p->copy_capacity*sizeof *p->copy);
}
