/* lower_scalars.c -- nodes that are f64 or bool scalars become instructions over slots. */
#include "run/lower.h"
#include "primitives/library.h"

#include <string.h>

static double given_value(const planner *q, uint32_t node) {
  const scalar *v = node_data(q->g.t, q->g.node[node]);
  return graph_type(&q->g, node)->dtype == AD_BOOL ? (double)v->boolean : v->f64;
}

static bool add_constant(planner *q, double value) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->image, &p->image_capacity, p->constants + 1, sizeof *p->image))
    return false;
  p->image[p->constants++] = value;
  return true;
}

static bool add_load(planner *q, uint32_t node, bool is_bool) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->load, &p->load_capacity, p->loads + 1, sizeof *p->load))
    return false;
  p->load[p->loads++] = (transfer){ planner_input(q, node), q->slot_of[node], is_bool };
  return true;
}

/* Calls f for each scalar node, in schedule order. */
typedef bool node_visitor(planner *q, uint32_t node);

static bool each_scalar(planner *q, node_visitor *f) {
  for (uint32_t s = 0; s < q->s.steps; s++)
    for (uint32_t k = 0; k < q->s.step[s].count && q->s.step[s].kind == KIND_SCALAR; k++)
      if (!f(q, q->s.order[q->s.step[s].first + k])) return false;
  return true;
}

static bool number_constant_operands(planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++) {
    const uint32_t x = g->operand[e];
    if (g->kind[x] != KIND_GIVEN || planner_input(q, x) != NOWHERE || q->slot_of[x] != NOWHERE) continue;
    q->slot_of[x] = q->p->constants;
    if (!add_constant(q, given_value(q, x))) return false;
  }
  return true;
}

static const elementwise_row *row_of(const planner *q, uint32_t node) {
  return node_primitive(q->g.t, q->g.node[node])->row;
}

static bool number_attribute(planner *q, uint32_t node) {
  const elementwise_row *row = row_of(q, node);
  return !row || !row->attributed || add_constant(q, node_row_attribute(q->g.t, q->g.node[node]));
}

static bool number_inputs(planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++) {
    const uint32_t x = g->operand[e];
    if (g->kind[x] != KIND_GIVEN || q->slot_of[x] != NOWHERE) continue;
    q->slot_of[x] = q->p->slots++;
    if (!add_load(q, x, graph_type(g, x)->dtype == AD_BOOL)) return false;
  }
  return true;
}

static bool number_result(planner *q, uint32_t node) {
  q->slot_of[node] = q->p->slots++;
  return true;
}

/* A bool that array steps read has a second slot, for its byte. */
static void place_slots(planner *q) {
  const run_graph *g = &q->g;
  for (uint32_t i = 0; i < g->n; i++) {
    if (g->kind[i] != KIND_SCALAR || q->place_of[i] == NOWHERE) continue;
    const bool is_bool = graph_type(g, i)->dtype == AD_BOOL;
    q->p->place[q->place_of[i]].offset = (is_bool ? q->p->slots++ : q->slot_of[i])*sizeof(double);
  }
}

bool number_slots(planner *q) {
  if (!each_scalar(q, number_constant_operands)) return false;
  q->attribute_slot = q->p->constants;
  if (!each_scalar(q, number_attribute)) return false;
  q->p->slots = q->p->constants;
  if (!each_scalar(q, number_inputs) || !each_scalar(q, number_result)) return false;
  place_slots(q);
  return true;
}

/* --- instructions --------------------------------------------------------------------------------- */

/* Scalars made by array steps lie in the workspace like slots do. */
static uint32_t operand_slot(const planner *q, uint32_t node) {
  if (q->slot_of[node] != NOWHERE) return q->slot_of[node];
  return (uint32_t)(q->p->place[q->place_of[node]].offset/sizeof(double));
}

/* An operand that is the result of the instruction before is at hand. Programs begin with none before. */
static uint32_t chained(const plan *p, const instruction *i, uint32_t operands) {
  const plan_step *step = &p->step[p->steps - 1];
  if (p->instructions == step->first) return 0;
  const instruction *before = &p->code[p->instructions - 1];
  if (before->row == PROGRAM_TO_BYTE) return 0;
  if (operands > 0 && before->z == i->x) return PROGRAM_FROM_X;
  return operands > 1 && before->z == i->y ? PROGRAM_FROM_Y : 0;
}

static bool add_instruction(planner *q, instruction i) {
  plan *p = q->p;
  if (!memory_reserve(&p->allocator, &p->code, &p->code_capacity, p->instructions + 1, sizeof *p->code))
    return false;
  p->code[p->instructions++] = i;
  return true;
}

static bool add_node(planner *q, uint32_t node) {
  const run_graph *g = &q->g;
  const elementwise_row *row = row_of(q, node);
  const uint32_t first = g->operand_start[node], n = g->operand_start[node + 1] - first;
  uint32_t operand[3] = { 0, 0, 0 };
  for (uint32_t k = 0; k < n; k++) operand[k] = operand_slot(q, g->operand[first + k]);
  instruction i = { 0, q->slot_of[node], operand[0], operand[1], operand[2] };
  const bool to_bool = graph_type(g, node)->dtype == AD_BOOL;
  i.row = row       ? (uint32_t)(row - elementwise_rows)
          : to_bool ? (uint32_t)PROGRAM_TO_BOOL
                    : (uint32_t)PROGRAM_COPY;
  if (row) i.row += chained(q->p, &i, n);
  if (row && row->attributed) i.y = q->attribute_slot++;
  if (!add_instruction(q, i)) return false;
  if (!to_bool || q->place_of[node] == NOWHERE) return true;
  const uint32_t byte = (uint32_t)(q->p->place[q->place_of[node]].offset/sizeof(double));
  return add_instruction(q, (instruction){ PROGRAM_TO_BYTE, byte, i.z, 0, 0 });
}

bool lower_scalars(planner *q, const schedule_step *s) {
  plan_step *step = &q->p->step[q->p->steps - 1];
  step->first = q->p->instructions;
  for (uint32_t k = 0; k < s->count; k++)
    if (!add_node(q, q->s.order[s->first + k])) return false;
  step->count = q->p->instructions - step->first;
  return true;
}
