/* carrier.c -- what carriers are to a tape: their results, types, and the functions they hold on to. */
#include "function/carrier.h"

#include <string.h>

int carrier_count(int n, const unsigned char flag[]) {
  int count = 0;
  for (int i = 0; i < n; i++) count += flag[i] != 0;
  return count;
}

int carrier_states(const carrier *c) {
  int count = 0;
  for (int i = 0; i < c->n_in; i++) count += role_in(c)[i] == ROLE_STATE;
  return count;
}

int carrier_next(const carrier *c, int k) {
  int number = 0, j = 0;
  for (int i = 0; i < k; i++) number += role_in(c)[i] == ROLE_STATE;
  while (role_out(c)[j] != ROLE_STATE || number-- > 0) j++;
  return j;
}

void carrier_step_flags(const carrier *c, bool in[], bool out[], bool sums[]) {
  const ad_tape *t = c->f->body;
  for (int k = 0; k < c->n_in; k++) {
    const bool moves = role_in(c)[k] == ROLE_STATE && node_is_float(t, c->f->in[k]) && !still_in(c)[k];
    in[k] = active_in(c)[k] || moves;
    sums[k] = c->kind == CARRIER_SCAN && active_in(c)[k] && role_in(c)[k] == ROLE_SHARED;
  }
  for (int j = 0, k = 0; j < c->n_out; j++) {
    out[j] = active_out(c)[j];
    if (role_out(c)[j] != ROLE_STATE) continue;
    while (role_in(c)[k] != ROLE_STATE) k++;
    out[j] |= in[k++];
  }
}

/* --- results -------------------------------------------------------------------------------------------- */

static ad_type stacked(ad_type type, int64_t n) {
  const ad_type none = { AD_F64, -1, { 0 } };
  if (type.rank >= AD_MAX_RANK) return none;
  for (int i = type.rank; i > 0; i--) type.dim[i] = type.dim[i - 1];
  type.dim[0] = n;
  type.rank++;
  return type;
}

/* States can be stacked where the number of steps is known, and one axis more is possible. */
bool carrier_has_record(const carrier *c) {
  bool room = c->policy == KEEP_STATES || c->policy == KEEP_ALL;
  if (c->kind != CARRIER_SCAN || c->counted || c->n < 0) return false;
  for (int k = 0; k < c->n_in && room; k++)
    room = role_in(c)[k] != ROLE_STATE || node_type(c->f->body, c->f->in[k])->type.rank < AD_MAX_RANK;
  return room;
}

static int primal_results(const carrier *c) {
  if (carrier_has_record(c)) return c->n_out + carrier_states(c) + (c->r ? c->r->n_out - c->n_out : 0);
  return c->n_out + (c->kind == CARRIER_LOOP);
}

static int results(const ad_operation *op) {
  const carrier *c = op->attribute;
  return c->adjoint ? carrier_count(c->n_in, active_in(c)) : primal_results(c);
}

static int visible(const ad_operation *op) {
  const carrier *c = op->attribute;
  return c->adjoint ? carrier_count(c->n_in, active_in(c)) : c->n_out;
}

/* The k-th flagged one, or the k-th with that value. */
static int nth(int n, const unsigned char flag[], unsigned char value, int k) {
  for (int i = 0; i < n; i++)
    if (flag[i] == value && k-- == 0) return i;
  return 0;
}

static ad_type result_type(const ad_operation *op, int j) {
  const carrier *c = op->attribute;
  if (c->adjoint) return *op->x[nth(c->n_in, active_in(c), 1, j)];
  if (j < c->n_out) {
    const ad_type type = node_type(c->f->body, c->f->out[j])->type;
    return role_out(c)[j] == ROLE_EACH ? stacked(type, c->n) : type;
  }
  if (c->kind == CARRIER_LOOP) return ad_type_make(AD_I64, 0, NULL);
  const int states = carrier_states(c);
  if (j >= c->n_out + states) return stacked(node_type(c->r->body, c->r->out[j - states])->type, c->n);
  return stacked(*op->x[nth(c->n_in, role_in(c), ROLE_STATE, j - c->n_out)], c->n);
}

/* --- holding -------------------------------------------------------------------------------------------- */

static void retain(void *f) { ad_function_retain(f); }
static void release(void *f) { ad_function_free(f); }

static ad_status hold_one(ad_tape *t, ad_function *f) {
  if (!f) return AD_OK;
  if (f->depth > t->depth) t->depth = f->depth;
  return ad_tape_hold(t, f, retain, release);
}

ad_status carrier_hold(ad_tape *t, const void *attribute) {
  const carrier *c = attribute;
  ad_status status = hold_one(t, c->f);
  if (status == AD_OK) status = hold_one(t, c->g);
  if (status == AD_OK) status = hold_one(t, c->v);
  return status == AD_OK ? hold_one(t, c->r) : status;
}

static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "is recorded by the functions of adit/control.h");
}

static const tuple_rules carrier_rules = {
  results, visible, result_type, carrier_forward, carrier_reverse, carrier_taylor, NULL, NULL
};

#define CARRIER(title, text) \
  { .name = title, .doc = text, .traits = AD_TRAIT_NO_FOLD, .type = refuse_type, .hold = carrier_hold, \
    .tuple = &carrier_rules }

const ad_primitive carrier_primitives[5] = {
  CARRIER("call", "a function of its operands"),
  CARRIER("branch", "one of two functions, by a condition"),
  CARRIER("map", "a function of each of many instances"),
  CARRIER("scan", "a function of a state and of each of many steps"),
  CARRIER("loop", "a function of a state, while a condition holds"),
};
const ad_primitive adjoint_primitives[5] = {
  CARRIER("call_adjoint", "cotangents through a call"),
  CARRIER("branch_adjoint", "cotangents through a branch"),
  CARRIER("map_adjoint", "cotangents through a map"),
  CARRIER("scan_adjoint", "cotangents through a scan"),
  CARRIER("loop_adjoint", "cotangents through a loop"),
};

uint32_t carrier_record(ad_tape *t, const carrier *c, int n, const uint32_t x[]) {
  const ad_primitive *p = c->adjoint ? &adjoint_primitives[c->kind] : &carrier_primitives[c->kind];
  return tuple_record(t, p, n, x, c, carrier_bytes(c->n_in, c->n_out));
}
