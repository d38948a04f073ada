/* in_place.c -- when outputs that are inputs may be written where they are.
 *
 * Which outputs share memory with which inputs shows only in a call. What can be said before is when each
 * input is read last and when each output is written first: an output goes straight into the memory of inputs
 * that nobody reads any more, else it is computed aside and copied. So a step of an optimiser writes
 * parameters and state once. And as a call that fails must leave its inputs as they were, an output is only
 * written so when no operation can fail any more, be the input one that is read or not.
 */
#include "run/lower.h"

/* Time is the step, and in a region its kernels and links, which run in that order on the same elements. What
 * is not read element by element is read until the step is over. 0 is never. */
static uint64_t time_of(uint32_t step, uint32_t within) { return (uint64_t)(step + 1) << 32 | within; }
static uint64_t end_of(uint32_t step) { return time_of(step, UINT32_MAX); }

static void read_at(plan *p, uint32_t at, uint64_t time) {
  if (at != NO_PLACE && time > p->place[at].last_read) p->place[at].last_read = time;
}
static void write_at(plan *p, uint32_t at, uint64_t time) {
  if (at != NO_PLACE && time < p->place[at].first_write) p->place[at].first_write = time;
}

static void note_slots(plan *p, const region *r, const step_slots *s, uint32_t step, uint32_t within) {
  const uint32_t x[3] = { s->x, s->y, s->w };
  for (int k = 0; k < 3; k++) {
    if (x[k] == NO_SLOT) continue;
    const region_slot *slot = &r->slot[x[k]];
    if (slot->kind == SLOT_DIRECT) read_at(p, slot->place, time_of(step, within));
    else if (slot->kind == SLOT_SPLAT || slot->kind == SLOT_STRIDED) read_at(p, slot->place, end_of(step));
  }
  if (s->z != NO_SLOT && r->slot[s->z].kind == SLOT_OUTPUT)
    write_at(p, r->slot[s->z].place, time_of(step, within));
}

static void note_region(plan *p, const region *r, uint32_t step) {
  uint32_t within = 0;
  for (uint32_t i = 0; i < r->steps; i++) {
    note_slots(p, r, &r->step[i].at, step, within++);
    for (uint32_t k = 0; k < r->step[i].links; k++)
      note_slots(p, r, &r->link[r->step[i].first + k].at, step, within++);
  }
}

static void note_kernel(plan *p, const kernel_step *k, uint32_t step) {
  const bool in_place = (k->op.primitive->traits & AD_TRAIT_IN_PLACE) != 0;
  for (int i = 0; i < k->op.n; i++)
    read_at(p, k->x[i], in_place && i == 0 ? time_of(step, 0) : end_of(step));
  if (!k->result) write_at(p, k->z, time_of(step, 0));
  else for (uint32_t j = 0; j < k->results; j++) write_at(p, k->result[j], time_of(step, 0));
}

void note_times(plan *p) {
  uint64_t sure = 0;                /* from there on nothing fails */
  for (uint32_t i = 0; i < p->places; i++) p->place[i].last_read = 0, p->place[i].first_write = UINT64_MAX;
  for (uint32_t s = 0; s < p->steps; s++) {
    const plan_step *step = &p->step[s];
    if (step->kind == KIND_ELEMENTWISE) note_region(p, &step->region, s);
    if (step->kind != KIND_STRUCTURED) continue;
    note_kernel(p, &step->kernel, s);
    if (!(step->kernel.op.primitive->traits & AD_TRAIT_NEVER_FAILS)) sure = end_of(s);
  }
  for (uint32_t i = 0; i < p->copies; i++) read_at(p, p->copy[i].place, UINT64_MAX);
  for (uint32_t i = 0; i < p->places; i++)
    if (p->place[i].first_write < sure) p->place[i].first_write = 0;
}
