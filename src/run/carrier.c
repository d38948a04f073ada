/* carrier.c -- calls and branches made ready, and their adjoints: one plan for each side. */
#include "run/carrier.h"
#include "function/derived.h"

#include <stdio.h>
#include <string.h>

typedef ad_status prepare_function(const preparation *q, prepared **result);

ad_status carrier_prepare(const preparation *q, prepared **result) {
  static prepare_function *const primal[5] = {
    [CARRIER_CALL] = prepare_call, [CARRIER_BRANCH] = prepare_call, [CARRIER_MAP] = prepare_map,
    [CARRIER_SCAN] = prepare_scan, [CARRIER_LOOP] = prepare_scan
  };
  static prepare_function *const adjoint[5] = {
    [CARRIER_CALL] = prepare_call, [CARRIER_BRANCH] = prepare_call, [CARRIER_MAP] = prepare_map_adjoint,
    [CARRIER_SCAN] = prepare_scan_adjoint, [CARRIER_LOOP] = prepare_scan_adjoint
  };
  return (q->c->adjoint ? adjoint : primal)[q->c->kind](q, result);
}

/* A batched adjoint brings its own. Derived functions leave their errors on a tape: one for the occasion. */
/* d, made on behalf of t, which ends here. */
static ad_function *made(const preparation *q, ad_tape *t, ad_function *d, ad_status *status) {
  *status = d ? AD_OK : t && ad_tape_status(t) != AD_OK ? ad_tape_status(t) : AD_ERROR_MEMORY;
  if (!d && t && q->size) snprintf(q->message, q->size, "%s", ad_tape_message(t));
  ad_tape_free(t);
  return d;
}

ad_function *prepare_vjp(const preparation *q, ad_function *f, const bool in[], const bool out[],
                         const bool sums[], ad_status *status) {
  *status = AD_OK;
  if (q->c->v) return q->c->v;
  ad_tape *t = ad_tape_new_with(&q->allocator);
  return made(q, t, t ? derived_vjp(t, f, in, out, sums) : NULL, status);
}

ad_function *prepare_opened(const preparation *q, ad_function *f, ad_status *status) {
  ad_tape *t = ad_tape_new_with(&q->allocator);
  return made(q, t, t ? derived_opened(t, f) : NULL, status);
}

/* --- calls ---------------------------------------------------------------------------------------------- */

typedef struct call {
  prepared base;
  const plan *side[2];              /* the second one NULL: no branch */
  bool adjoint;
  int selector;                     /* the operand that chooses */
  int n, cotangents;                /* inputs of the function; those of them behind the selector */
  size_t list;                      /* bytes for their addresses */
} call;

static ad_status run_call(const prepared *base, const void *const x[], void *const z[], char *scratch,
                          char *message, size_t size) {
  const call *p = (const call *)base;
  const bool second = p->side[1] && !*(const unsigned char *)x[p->selector];
  const void **in = (const void **)(void *)scratch;
  const int inputs = p->n - p->cotangents, skip = p->side[1] != NULL;
  for (int k = 0; k < p->n; k++) in[k] = x[k < inputs ? k : k + skip];
  return plan_run(p->side[second], in, z, scratch + p->list, message, size);
}

static void call_parts(const prepared *base, plan_parts *parts) {
  const call *p = (const call *)base;
  const bool backwards = p->adjoint;
  parts->either = p->side[1] != NULL;
  parts->at_most = parts->either;
  parts_add(parts, p->side[0], backwards ? PART_COTANGENTS : PART_VALUE, 1);
  parts_add(parts, p->side[1], backwards ? PART_SECOND_COTANGENTS : PART_SECOND, 1);
}

static void free_call(prepared *base) { memory_release(&base->allocator, base, sizeof(call)); }

static ad_status side_plan(const preparation *q, ad_function *f, call *p, int side) {
  const carrier *c = q->c;
  ad_status status = AD_OK;
  if (c->adjoint) {
    const size_t bytes = (size_t)c->n_in + 1;
    bool *none = memory_get_zeroed(&q->allocator, bytes, 1);
    if (!none) return AD_ERROR_MEMORY;
    f = prepare_vjp(q, f, (const bool *)active_in(c), (const bool *)active_out(c), none, &status);
    memory_release(&q->allocator, none, bytes);
  }
  if (status == AD_OK) status = function_plan(f, q->wanted, &p->side[side]);
  if (status == AD_OK && p->base.scratch < p->side[side]->workspace)
    p->base.scratch = p->side[side]->workspace;
  if (status == AD_OK) p->n = f->n_in;
  return status;
}

ad_status prepare_call(const preparation *q, prepared **result) {
  const carrier *c = q->c;
  call *p = memory_get_zeroed(&q->allocator, 1, sizeof *p);
  if (!p) return AD_ERROR_MEMORY;
  p->base = (prepared){ run_call, free_call, call_parts, q->allocator, 0 };
  p->adjoint = c->adjoint;
  p->selector = c->n_in;
  p->cotangents = c->adjoint ? carrier_count(c->n_out, active_out(c)) : 0;
  ad_status status = side_plan(q, c->f, p, 0);
  if (status == AD_OK && c->kind == CARRIER_BRANCH) status = side_plan(q, c->g, p, 1);
  p->list = round_up((size_t)p->n*sizeof(void *));
  p->base.scratch += p->list;
  if (status == AD_OK) *result = &p->base;
  else free_call(&p->base);
  return status;
}
