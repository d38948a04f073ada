/* narrow.c -- which states of a loop have cotangents. With slots for the states at the seams between steps,
 * one reaches forwards where an active input does (F), and one reaches backwards where it reaches an active
 * output (B), in any number of steps, none among them: cotangents are of use in slots of both F and B. */
#include "function/derived.h"
#include "function/carrier.h"

typedef struct reach {
  carrier *c;
  /* forwards: inputs reached, outputs reached in one more step; backwards: inputs that reach, in one step or
   * more, and outputs that are asked for */
  bool *in, *out, *back_in, *back_out;
} reach;

static bool reach_forwards(reach *r) {
  bool more = true;
  for (int k = 0; k < r->c->n_in; k++) r->in[k] = active_in(r->c)[k];
  while (more) {
    if (!derived_reached(r->c->f, r->in, r->out)) return false;
    more = false;
    for (int k = 0; k < r->c->n_in; k++) {
      if (role_in(r->c)[k] != ROLE_STATE || r->in[k]) continue;
      more |= r->in[k] = r->out[carrier_next(r->c, k)];
    }
  }
  return true;
}

static bool reach_backwards(reach *r) {
  bool more = true;
  for (int j = 0; j < r->c->n_out; j++) r->back_out[j] = active_out(r->c)[j];
  while (more) {
    if (!derived_reaching(r->c->f, r->back_out, r->back_in)) return false;
    more = false;
    for (int k = 0; k < r->c->n_in; k++) {
      if (role_in(r->c)[k] != ROLE_STATE || !r->back_in[k]) continue;
      bool *out = &r->back_out[carrier_next(r->c, k)];
      more |= !*out;
      *out = true;
    }
  }
  return true;
}

static void mark(reach *r, bool trim) {
  carrier *c = r->c;
  unsigned char *in = c->flag + c->n_in + c->n_out, *out = in + c->n_in, *still = out + c->n_out;
  for (int k = 0; k < c->n_in; k++) {
    const bool state = role_in(c)[k] == ROLE_STATE;
    const int j = state ? carrier_next(c, k) : 0;
    const bool reaches = state ? r->back_out[j] : r->back_in[k];
    if (trim && !reaches) in[k] = 0;
    if (!state) continue;
    if (trim && !r->in[k]) out[j] = 0;
    still[k] = !(r->in[k] && reaches) && !in[k] && !out[j];
  }
  for (int j = 0; j < c->n_out && trim; j++)
    if (role_out(c)[j] != ROLE_STATE && !r->out[j]) out[j] = 0;
}

bool carrier_narrow(carrier *c, bool trim) {
  const size_t bytes = 2*((size_t)c->n_in + (size_t)c->n_out) + 1;
  const ad_allocator *a = &c->f->body->allocator;
  bool *room = memory_get_zeroed(a, bytes, 1);
  if (!room) return false;
  reach r = { c, room, room + c->n_in, room + c->n_in + c->n_out, room + 2*c->n_in + c->n_out };
  const bool good = reach_forwards(&r) && reach_backwards(&r);
  if (good) mark(&r, trim);
  memory_release(a, room, bytes);
  return good;
}
