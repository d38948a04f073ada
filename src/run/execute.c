/* execute.c -- running a plan in a workspace. Nothing is allocated here. */
#include "run/carrier.h"

#include <stdio.h>
#include <string.h>

static void load_inputs(const plan *p, const void *const in[], double *slot) {
  for (uint32_t i = 0; i < p->loads; i++) {
    const transfer *l = &p->load[i];
    const void *from = in[l->number];
    if (!from) slot[l->slot] = 0;
    else if (l->is_bool) slot[l->slot] = *(const unsigned char *)from != 0;
    else memcpy(&slot[l->slot], from, sizeof *slot);
  }
}

static void store_scalar(const double *slot, bool is_bool, void *to) {
  if (is_bool) *(unsigned char *)to = *slot != 0;
  else memcpy(to, slot, sizeof *slot);
}

/* Must an output be computed aside and copied at the end, since it is also an input that is read after it is
 * written, or one, read or not, that a failure must leave alone? */
static bool goes_aside(const plan *p, const place *at, const void *const in[], const void *out) {
  bool input = false;
  for (uint32_t k = 0; k < p->inputs; k++) input |= in[k] == out;
  if (!input || !at->first_write) return input;
  for (uint32_t i = 0; i < p->places; i++) {
    const place *x = &p->place[i];
    if (x->kind == PLACE_INPUT && in[x->number] == out && x->last_read > at->first_write) return true;
  }
  return false;
}

static void *locate(const plan *p, const place *at, const void *const in[], void *const out[], char *memory) {
  switch (at->kind) {
    case PLACE_FIXED: return at->fixed;
    case PLACE_WORK:  return memory + at->offset;
    case PLACE_INPUT:
      if (in[at->number]) return (void *)(uintptr_t)in[at->number];
      memset(memory + p->zeros, 0, at->bytes);
      return memory + p->zeros;
    default:
      return goes_aside(p, at, in, out[at->number]) ? memory + at->offset : out[at->number];
  }
}

static ad_status run_kernel(const plan *p, const kernel_step *k, void **where, char *memory, char *message,
                            size_t size) {
  const void **x = (const void **)(void *)(memory + p->operands);
  for (int i = 0; i < k->op.n; i++) x[i] = where[k->x[i]];
  if (k->result) {
    void **z = (void **)(void *)(x + k->op.n);
    for (uint32_t j = 0; j < k->results; j++) z[j] = k->result[j] == NO_PLACE ? NULL : where[k->result[j]];
    if (!k->call) return k->op.primitive->tuple->run(&k->op, x, z, message, size);
    return k->call->run(k->call, x, z, memory + p->scratch, message, size);
  }
  return k->op.primitive->run(&k->op, where[k->z], x, memory + p->scratch);
}

static ad_status run_step(const plan *p, const plan_step *s, void **where, char *memory, char *message,
                          size_t size) {
  if (s->kind == KIND_SCALAR) program_run(p->code + s->first, s->count, (double *)(void *)memory);
  else if (s->kind == KIND_ELEMENTWISE)
    region_run(&s->region, s->region.count, where, memory + p->scratch, p->threads);
  else return run_kernel(p, &s->kernel, where, memory, message, size);
  return AD_OK;
}

ad_status explain_failure(const ad_operation *op, const void *const x[], ad_status status, char *message,
                          size_t size) {
  const ad_primitive *f = op->primitive;
  if (!message || (f->tuple && message[0])) return status;
  const size_t length = (size_t)snprintf(message, size, "%s: ", f->name);
  if (length >= size) return status;
  if (f->explain && !f->tuple) f->explain(op, x, message + length, size - length);
  if (!message[length]) snprintf(message + length, size - length, "%s", ad_status_sentence(status));
  return status;
}

ad_status explain_limit(const char *condition, int64_t limit, char *message, size_t size) {
  if (message) snprintf(message, size, "while: %s still holds after %lld steps", condition, (long long)limit);
  return AD_ERROR_LIMIT;
}

/* Does a copy other than number i write there? */
static bool is_copied_over(const plan *p, uint32_t i, void *const out[], const void *at) {
  for (uint32_t k = 0; k < p->copies; k++)
    if (k != i && out[p->copy[k].number] == at) return true;
  return false;
}

/* Inputs that are outputs, in memory that another such output goes to, are put aside first: (x, y) -> (y, x)
 * in place. */
static void save_inputs(const plan *p, void *const out[], void **where, char *memory) {
  for (uint32_t i = 0; i < p->copies && p->copies > 1; i++) {
    const uint32_t k = p->copy[i].place;
    const place *at = &p->place[k];
    if (at->kind != PLACE_INPUT || at->bytes == 0 || !is_copied_over(p, i, out, where[k])) continue;
    memcpy(memory + at->offset, where[k], at->bytes);
    where[k] = memory + at->offset;
  }
}

/* aside: some were computed elsewhere than the caller wants them. */
static void store_outputs(const plan *p, void *const out[], void **where, char *memory, bool aside) {
  save_inputs(p, out, where, memory);
  for (uint32_t i = 0; i < p->copies; i++) {
    const place *at = &p->place[p->copy[i].place];
    if (at->bytes) memmove(out[p->copy[i].number], where[p->copy[i].place], at->bytes);
  }
  for (uint32_t i = 0; i < p->places && aside; i++) {
    const place *at = &p->place[i];
    if (at->kind == PLACE_OUTPUT && where[i] != out[at->number] && at->bytes)
      memcpy(out[at->number], where[i], at->bytes);
  }
  const double *slot = (const double *)(const void *)memory;
  for (uint32_t i = 0; i < p->stores; i++)
    store_scalar(&slot[p->store[i].slot], p->store[i].is_bool, out[p->store[i].number]);
}

void plan_begin(const plan *p, void *memory) {
  if (p->constants && !p->whole) memcpy(memory, p->image, p->constants*sizeof *p->image);
  for (uint32_t i = 0; i < p->segments; i++) segment_begin(&p->segment[i], memory);
}

static ad_status run_segment(const segment *s, const void *const in[], void *const out[], void **where,
                             char *memory, char *message, size_t size) {
  micro_failure failure = { NULL, NULL };
  const ad_status status = segment_run(s, in, out, where, memory, &failure);
  if (status == AD_OK) return status;
  if (failure.loop) return explain_limit(failure.loop->condition, failure.loop->limit, message, size);
  const void *const *x = (const void *const *)(const void *)(memory + s->frame + failure.operation->list);
  return explain_failure(&failure.operation->op, x, status, message, size);
}

ad_status plan_run(const plan *p, const void *const in[], void *const out[], void *memory, char *message,
                   size_t size) {
  plan_begin(p, memory);
  return plan_continue(p, in, out, memory, message, size);
}

ad_status plan_continue(const plan *p, const void *const in[], void *const out[], void *memory, char *message,
                        size_t size) {
  if (message) message[0] = 0;
  if (p->whole) return run_segment(p->segment, in, out, NULL, memory, message, size);
  void **where = (void **)(void *)((char *)memory + p->table);
  load_inputs(p, in, memory);
  bool aside = false;
  for (uint32_t i = 0; i < p->places; i++) {
    const place *at = &p->place[i];
    where[i] = locate(p, at, in, out, memory);
    aside |= at->kind == PLACE_OUTPUT && where[i] != out[at->number];
  }
  for (uint32_t i = 0, next; i < p->steps; i = next) {
    const plan_step *s = &p->step[i];
    const segment *instead = s->segment ? &p->segment[s->segment - 1] : NULL;
    next = i + (instead ? instead->steps : 1);
    ad_status status = instead ? run_segment(instead, in, out, where, memory, message, size)
                               : run_step(p, s, where, memory, message, size);
    if (status == AD_OK) continue;
    if (instead) return status;
    const void *const *x = (const void *const *)(const void *)((char *)memory + p->operands);
    return explain_failure(&s->kernel.op, x, status, message, size);
  }
  store_outputs(p, out, where, memory, aside);
  return AD_OK;
}

/* --- lanes ---------------------------------------------------------------------------------------- */

static void *locate_lane(const plan *p, const place *at, const void *const in[], void *const out[],
                         char *memory) {
  if (at->kind == PLACE_FIXED) return at->fixed;
  if (at->kind == PLACE_OUTPUT) return out[at->number];
  return in[at->number] ? (void *)(uintptr_t)in[at->number] : memory + p->workspace;
}

/* Outputs that are inputs, constants or other outputs. */
static void copy_lanes(const plan *p, int64_t n, void *const out[], void *const where[]) {
  for (uint32_t i = 0; i < p->copies; i++) {
    const place *at = &p->place[p->copy[i].place];
    char *to = out[p->copy[i].number];
    const char *from = where[p->copy[i].place];
    const size_t step = at->kind == PLACE_FIXED ? 0 : at->bytes;
    if (step) memmove(to, from, (size_t)n*step);
    else for (int64_t k = 0; k < n; k++) memcpy(to + (size_t)k*at->bytes, from, at->bytes);
  }
}

ad_status plan_run_lanes(const plan *p, int64_t n, const void *const in[], void *const out[], void *memory) {
  void **where = (void **)(void *)((char *)memory + p->table);
  if (p->steps > 1 || (p->steps == 1 && p->step[0].kind != KIND_ELEMENTWISE)) return AD_ERROR_UNSUPPORTED;
  for (uint32_t i = 0; i < p->places; i++) {
    if (p->place[i].kind == PLACE_WORK) return AD_ERROR_UNSUPPORTED;
    where[i] = locate_lane(p, &p->place[i], in, out, memory);
  }
  if (p->steps) region_run(&p->step[0].region, n, where, (char *)memory + p->scratch, p->threads);
  copy_lanes(p, n, out, where);
  return AD_OK;
}
