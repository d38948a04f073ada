/* cost.c -- counting what a plan does, and the plans that it runs. */
#include "run/cost.h"
#include "primitives/library.h"
#include "primitives/work.h"

#include <stdlib.h>
#include <string.h>

/* --- operations of one plan ----------------------------------------------------------------------------- */

/* Called for each operation of a plan, with the work of all its elements; k is NULL but for structured
 * ones. */
typedef bool cost_visitor(void *context, const ad_primitive *p, double elements, const ad_work *w,
                          const kernel_step *k);

static void add_work(ad_work *sum, const ad_work *w, double times) {
  if (times == 0) return;
  sum->flops += times*w->flops;
  sum->calls += times*w->calls;
  sum->bytes_read += times*w->bytes_read;
  sum->bytes_written += times*w->bytes_written;
  sum->unknown |= w->unknown;
}

/* Conversions are movement. Of a user's own row the operands are like the result: it is made of broadcast
 * ones. */
static ad_work element_work(const cost_account *a, const ad_primitive *p, ad_dtype dtype, double count) {
  ad_work w = { 0 }, one = { 0 };
  if (p->row) one = a->row[(const elementwise_row *)p->row - elementwise_rows];
  else if (p != &cast_primitive && p->work) {
    const ad_type type = ad_type_make(dtype, 0, NULL), *x[3] = { &type, &type, &type };
    const ad_operation op = { .primitive = p, .n = p->arity, .x = x, .z = type };
    p->work(&op, &one);
  } else if (p != &cast_primitive) one.unknown = true;
  one.bytes_read = one.bytes_written = 0;
  add_work(&w, &one, count);
  return w;
}

static bool visit_scalars(const cost_account *a, const plan *p, const plan_step *s, cost_visitor *visit,
                          void *context) {
  for (uint32_t i = s->first; i < s->first + s->count; i++) {
    const uint32_t row = p->code[i].row & ~(uint32_t)(PROGRAM_FROM_X | PROGRAM_FROM_Y);
    if (row == PROGRAM_TO_BYTE) continue;
    const ad_primitive *primitive = row < ROW_COUNT ? &elementwise_primitives[row] : &cast_primitive;
    const ad_work w = element_work(a, primitive, AD_F64, 1);
    if (!visit(context, primitive, 1, &w, NULL)) return false;
  }
  return true;
}

static bool visit_region(const cost_account *a, const region *r, cost_visitor *visit, void *context) {
  for (uint32_t k = 0; k < r->operations; k++) {
    const ad_work w = element_work(a, r->operation[k], AD_F64, (double)r->count);
    if (!visit(context, r->operation[k], (double)r->count, &w, NULL)) return false;
  }
  return true;
}

/* What adds into its first operand copies that first where it may not have its memory. */
static ad_work kernel_work(const kernel_step *k) {
  const ad_operation *op = &k->op;
  ad_work w = { .bytes_written = (double)ad_type_bytes(op->z) };
  const tuple_rules *several = op->primitive->tuple;
  if (several) return (ad_work){ .unknown = several->run && !several->parts };
  for (int i = 0; i < op->n; i++) w.bytes_read += (double)ad_type_bytes(*op->x[i]);
  if (op->primitive->work) op->primitive->work(op, &w);
  else w.unknown = true;
  if ((op->primitive->traits & AD_TRAIT_ADDS_INTO) && k->z != k->x[0]) {
    w.bytes_read += (double)ad_type_bytes(*op->x[0]);
    w.bytes_written += (double)ad_type_bytes(*op->x[0]);
  }
  return w;
}

static bool visit_plan(const cost_account *a, const plan *p, cost_visitor *visit, void *context) {
  for (uint32_t i = 0; i < p->steps; i++) {
    const plan_step *s = &p->step[i];
    bool good;
    if (s->kind == KIND_SCALAR) good = visit_scalars(a, p, s, visit, context);
    else if (s->kind == KIND_ELEMENTWISE) good = visit_region(a, &s->region, visit, context);
    else {
      const bool several = s->kernel.op.primitive->tuple != NULL;
      const ad_work w = kernel_work(&s->kernel);
      good = visit(context, s->kernel.op.primitive, several ? 1 : (double)ad_type_count(s->kernel.op.z), &w,
                   &s->kernel);
    }
    if (!good) return false;
  }
  return true;
}

/* --- bytes that go through memory without being an operation's ------------------------------------------ */

/* What a region reads from arrays, once for each that it uses, and writes to them. */
static void region_bytes(const plan *p, const region *r, ad_work *w) {
  for (uint32_t i = 0; i < r->slots; i++) {
    const region_slot *s = &r->slot[i];
    if (s->kind == SLOT_TEMPORARY) continue;
    const double bytes = (double)p->place[s->place].bytes;
    if (s->kind == SLOT_OUTPUT) w->bytes_written += bytes;
    else w->bytes_read += bytes;
  }
}

/* Scalars that come in and go out, regions, and outputs that are copied. */
static void transfer_bytes(const plan *p, ad_work *w) {
  for (uint32_t i = 0; i < p->loads; i++) w->bytes_read += p->load[i].is_bool ? 1 : sizeof(double);
  for (uint32_t i = 0; i < p->stores; i++) w->bytes_written += p->store[i].is_bool ? 1 : sizeof(double);
  for (uint32_t i = 0; i < p->copies; i++) {
    const double bytes = (double)p->place[p->copy[i].place].bytes;
    w->bytes_read += bytes;
    w->bytes_written += bytes;
  }
  for (uint32_t i = 0; i < p->steps; i++)
    if (p->step[i].kind == KIND_ELEMENTWISE) region_bytes(p, &p->step[i].region, w);
}

/* --- sections ------------------------------------------------------------------------------------------- */

static size_t place_of(const cost_account *a, const plan *p) {
  size_t i = (size_t)((uintptr_t)p >> 4)*0x9E3779B97F4A7C15u >> 7 & (a->slots - 1);
  while (a->slot[i] && a->section[a->slot[i] - 1].plan != p) i = (i + 1) & (a->slots - 1);
  return i;
}

static bool grow_slots(cost_account *a) {
  if (2*((size_t)a->sections + 1) < a->slots) return true;
  const size_t old = a->slots;
  memory_release(&a->allocator, a->slot, old*sizeof *a->slot);
  a->slots = old ? 2*old : 64;
  a->slot = memory_get_zeroed(&a->allocator, a->slots, sizeof *a->slot);
  if (!a->slot) a->slots = 0;
  for (uint32_t i = 0; i < a->sections && a->slot; i++) a->slot[place_of(a, a->section[i].plan)] = i + 1;
  return a->slot != NULL;
}

static ad_status count_plan(cost_account *a, const plan *p, const char *name, part_role role,
                            uint32_t *section);

typedef struct counting {
  cost_account *a;
  const plan *p;
  const char *name;
  cost_section s;
  ad_status status;
} counting;

static const char *name_of(const ad_operation *op, part_role role) {
  if (op->primitive->tuple->run) return op->primitive->name;
  const carrier *c = op->attribute;
  const bool second = role == PART_SECOND || role == PART_SECOND_COTANGENTS;
  return (second && c->g ? c->g : c->f)->name;
}

/* The dearer side of a branch, by flops and calls, then by bytes. */
static bool is_dearer(const ad_work *x, const ad_work *y) {
  const double a = x->flops + x->calls, b = y->flops + y->calls;
  return a > b || (a == b && x->bytes_read + x->bytes_written > y->bytes_read + y->bytes_written);
}

/* A scan's stacked states and values, for its adjoint; *states are bytes that the scan itself copies. */
static double recorded_bytes(const plan *p, const kernel_step *k, double *states) {
  const carrier *c = k->op.attribute;
  double bytes = 0;
  *states = 0;
  if (k->op.primitive != &carrier_primitives[CARRIER_SCAN]) return 0;
  for (uint32_t j = (uint32_t)c->n_out; j < k->results; j++) {
    if (k->result[j] == NO_PLACE) continue;
    const double one = (double)p->place[k->result[j]].bytes;
    if ((int)j < c->n_out + carrier_states(c)) *states += one;
    bytes += one;
  }
  return bytes;
}

static ad_status find_parts(const kernel_step *k, plan_parts *parts) {
  *parts = (plan_parts){ .policy = POLICY_NONE };
  if (k->call) return k->call->parts(k->call, parts), AD_OK;
  return k->op.primitive->tuple->parts ? k->op.primitive->tuple->parts(&k->op, parts) : AD_OK;
}

/* Adds what an operation runs to the section it is in. */
static void add_parts(counting *c, cost_operation *o) {
  const cost_account *a = c->a;
  const plan_parts *p = &o->parts;
  for (int i = 0; i < p->n; i++) o->times[i] = p->part[i].times;
  if (p->either) {
    const bool second = is_dearer(&a->section[o->to[1]].total, &a->section[o->to[0]].total);
    o->times[second ? 0 : 1] = 0;
  }
  for (int i = 0; i < p->n; i++) {
    add_work(&c->s.total, &a->section[o->to[i]].total, o->times[i]);
    c->s.all_operations += o->times[i]*a->section[o->to[i]].all_operations;
  }
}

static bool count_parts(counting *c, const kernel_step *k) {
  cost_account *a = c->a;
  cost_operation o = { .step = k };
  double copied;
  c->status = find_parts(k, &o.parts);
  for (int i = 0; i < o.parts.n && c->status == AD_OK; i++) {
    const plan_part *part = &o.parts.part[i];
    c->status = count_plan(a, part->plan, name_of(&k->op, part->role), part->role, &o.to[i]);
  }
  if (c->status != AD_OK) return false;
  c->status = AD_ERROR_MEMORY;
  if (!memory_reserve(&a->allocator, &a->operation, &a->operation_capacity, a->operations + 1u, sizeof o))
    return false;
  c->status = AD_OK;
  o.stored = recorded_bytes(c->p, k, &copied) + o.parts.stored;
  const ad_work beside = { .flops = o.parts.flops, .bytes_read = copied, .bytes_written = copied };
  add_work(&c->s.own, &beside, 1);
  add_work(&c->s.total, &beside, 1);
  add_parts(c, &o);
  o.section = UINT32_MAX;             /* known when the section is complete */
  a->operation[a->operations++] = o;
  return true;
}

static bool count_operation(void *context, const ad_primitive *p, double elements, const ad_work *w,
                            const kernel_step *k) {
  counting *c = context;
  (void)elements;
  c->s.operations++;
  c->s.all_operations++;
  add_work(&c->s.own, w, 1);
  add_work(&c->s.total, w, 1);
  return !p->tuple || count_parts(c, k);
}

/* Goes down by recursion, as deep as functions are nested. */
static ad_status count_plan(cost_account *a, const plan *p, const char *name, part_role role,
                            uint32_t *section) {
  if (a->slots && a->slot[place_of(a, p)]) {
    *section = a->slot[place_of(a, p)] - 1;
    return AD_OK;
  }
  counting c = { .a = a, .p = p, .name = name, .s = { .plan = p, .name = name, .role = role } };
  const uint32_t first = a->operations;
  transfer_bytes(p, &c.s.own);
  c.s.total = c.s.own;
  if (!visit_plan(a, p, count_operation, &c)) return c.status;
  if (!memory_reserve(&a->allocator, &a->section, &a->section_capacity, a->sections + 1u, sizeof c.s)
      || !grow_slots(a)) return AD_ERROR_MEMORY;
  for (uint32_t i = first; i < a->operations; i++)
    if (a->operation[i].section == UINT32_MAX) a->operation[i].section = a->sections;
  *section = a->sections;
  a->slot[place_of(a, p)] = a->sections + 1;
  a->section[a->sections++] = c.s;
  return AD_OK;
}

/* An operation is listed behind all those in the functions that it runs. */
static void count_runs(cost_account *a) {
  a->section[a->sections - 1].runs = 1;
  for (uint32_t i = a->operations; i-- > 0;) {
    const cost_operation *o = &a->operation[i];
    for (int k = 0; k < o->parts.n; k++)
      if (o->times[k] != 0) a->section[o->to[k]].runs += o->times[k]*a->section[o->section].runs;
  }
}

/* --- kinds ---------------------------------------------------------------------------------------------- */

typedef struct sorting { cost_account *a; double runs; } sorting;

static uint32_t find_kind(cost_account *a, const ad_primitive *p) {
  uint32_t i = 0;
  if (p->row) {
    i = a->row_kind[(const elementwise_row *)p->row - elementwise_rows];
    return i ? i - 1 : a->kinds;
  }
  while (i < a->kinds && a->kind[i].primitive != p) i++;
  return i;
}

static bool add_to_kind(void *context, const ad_primitive *p, double elements, const ad_work *w,
                        const kernel_step *k) {
  const sorting *s = context;
  cost_account *a = s->a;
  const uint32_t i = find_kind(a, p);
  (void)k;
  if (i == a->kinds) {
    if (!memory_reserve(&a->allocator, &a->kind, &a->kind_capacity, a->kinds + 1u, sizeof *a->kind))
      return false;
    a->kind[a->kinds++] = (cost_kind){ .primitive = p };
    if (p->row) a->row_kind[(const elementwise_row *)p->row - elementwise_rows] = a->kinds;
  }
  cost_kind *to = &a->kind[i];
  to->operations++;
  to->runs += s->runs;
  to->elements += s->runs*elements;
  to->flops += s->runs*w->flops;
  to->calls += s->runs*w->calls;
  to->unknown |= w->unknown;
  return true;
}

static int compare_kinds(const void *x, const void *y) {
  const cost_kind *a = x, *b = y;
  const double p = a->flops + a->calls, q = b->flops + b->calls;
  if (p != q) return p > q ? -1 : 1;
  if (a->elements != b->elements) return a->elements > b->elements ? -1 : 1;
  return strcmp(a->primitive->name, b->primitive->name);
}

static bool list_kinds(cost_account *a) {
  for (uint32_t i = 0; i < a->sections; i++) {
    sorting s = { a, a->section[i].runs };
    if (!visit_plan(a, a->section[i].plan, add_to_kind, &s)) return false;
  }
  if (a->kinds) qsort(a->kind, a->kinds, sizeof *a->kind, compare_kinds);
  return true;
}

/* --- sums ----------------------------------------------------------------------------------------------- */

static void sum_program(cost_account *a) {
  ad_cost *c = &a->cost;
  c->functions = a->sections;
  for (uint32_t i = 0; i < a->sections; i++) {
    const plan *p = a->section[i].plan;
    c->operations += (int64_t)a->section[i].operations;
    for (uint32_t k = 0; k < p->steps; k++) {
      const plan_step *s = &p->step[k];
      if (s->kind == KIND_ELEMENTWISE) c->regions++, c->fused += s->region.operations;
      if (s->kind == KIND_STRUCTURED) c->structured++;
    }
  }
  c->scalars = c->operations - c->fused - c->structured;
}

/* Arrays lie behind the slots of scalar programs. */
static void sum_memory(cost_account *a) {
  const plan *p = a->section[a->sections - 1].plan;
  const size_t slots = round_up(p->slots*sizeof(double));
  for (uint32_t i = 0; i < p->places; i++) {
    if (p->place[i].kind != PLACE_WORK || p->place[i].offset < slots) continue;
    a->cost.buffers++;
    a->cost.buffer_bytes += (int64_t)p->place[i].bytes;
  }
  a->cost.workspace_bytes = (int64_t)p->workspace + 64;
}

static void sum_loops(cost_account *a) {
  ad_cost *c = &a->cost;
  for (uint32_t i = 0; i < a->operations; i++) {
    const cost_operation *o = &a->operation[i];
    const double runs = a->section[o->section].runs;
    c->open += o->parts.open;
    c->at_most += o->parts.at_most;
    c->loops += o->parts.loop;
    if (o->parts.steps > 0) c->steps += runs*(double)o->parts.steps;
    if (o->parts.again > 0) c->again += runs*(double)o->parts.again;
    c->stored_bytes += o->stored;
  }
  for (uint32_t i = 0; i < a->kinds; i++)
    if (a->kind[i].unknown) c->unknown += a->kind[i].operations;
}

static void sum_work(cost_account *a) {
  const cost_section *s = &a->section[a->sections - 1];
  a->cost.flops = s->total.flops;
  a->cost.calls = s->total.calls;
  a->cost.bytes_read = s->total.bytes_read;
  a->cost.bytes_written = s->total.bytes_written;
  a->cost.runs = s->all_operations;
}

ad_status cost_open(cost_account *a, ad_function *f) {
  const plan *p = NULL;
  uint32_t section;
  *a = (cost_account){ 0 };
  if (!f || f->captures) return AD_ERROR_ARGUMENT;
  a->allocator = f->body->allocator;
  for (int i = 0; i < ROW_COUNT; i++) a->row[i] = row_work(&elementwise_rows[i]);
  ad_status status = function_plan(f, NULL, &p);
  if (status == AD_OK) status = count_plan(a, p, f->name, PART_VALUE, &section);
  if (status == AD_OK) {
    count_runs(a);
    status = list_kinds(a) ? AD_OK : AD_ERROR_MEMORY;
  }
  if (status != AD_OK) {
    cost_close(a);
    return status;
  }
  sum_work(a);
  sum_program(a);
  sum_memory(a);
  sum_loops(a);
  return AD_OK;
}

void cost_close(cost_account *a) {
  memory_release(&a->allocator, a->section, a->section_capacity*sizeof *a->section);
  memory_release(&a->allocator, a->operation, a->operation_capacity*sizeof *a->operation);
  memory_release(&a->allocator, a->kind, a->kind_capacity*sizeof *a->kind);
  memory_release(&a->allocator, a->slot, a->slots*sizeof *a->slot);
  *a = (cost_account){ 0 };
}

const char *cost_role(part_role role) {
  static const char *const text[] = {
    [PART_VALUE] = "", [PART_SECOND] = "", [PART_COTANGENTS] = " backwards",
    [PART_SECOND_COTANGENTS] = " backwards", [PART_AGAIN] = " again", [PART_RESIDUAL] = " residual",
    [PART_JACOBIAN] = " Jacobian"
  };
  return text[role];
}

ad_status ad_function_cost(ad_function *f, ad_cost *cost) {
  cost_account a;
  if (!cost) return AD_ERROR_ARGUMENT;
  *cost = (ad_cost){ 0 };
  const ad_status status = cost_open(&a, f);
  if (status != AD_OK) return status;
  *cost = a.cost;
  cost_close(&a);
  return AD_OK;
}
