/* ode_node.c -- an integration as a node whose cotangents another function computes; its tangents and Taylor
 * coefficients are those of the function that integrates.
 */
#include "function/ode.h"
#include "adit/arrays.h"
#include "derive/flow.h"
#include "function/derived.h"
#include "function/implicit.h"
#include "function/wrt.h"
#include "tape/tuple.h"

static int one_result(const ad_operation *op) {
  (void)op;
  return 1;
}

static ad_type result_type(const ad_operation *op, int j) {
  const ode_pair *p = op->attribute;
  return node_type(p->flow->body, p->flow->out[j])->type;
}

static ad_status hold(ad_tape *t, const void *attribute) {
  const ode_pair *p = attribute;
  const ad_status status = function_hold(t, p->flow);
  return status == AD_OK ? function_hold(t, p->adjoint) : status;
}

static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "is recorded by ad_odeint");
}

/* --- rules ---------------------------------------------------------------------------------------------- */

/* The operands, and room for what else a function of the rule takes. */
typedef struct call {
  ad_tape *t;
  const ode_pair *pair;
  int n;
  ad_var *v;
  size_t room;
  bool *in;
} call;

static bool open_call(call *c, ad_tape *t, uint32_t i, size_t more) {
  size_t size;
  *c = (call){ .t = t, .pair = node_attribute(t, i, &size) };
  const uint32_t *x = node_operands(t, i, &c->n);
  c->room = (size_t)c->n + more;
  c->in = memory_get_zeroed(&t->allocator, (size_t)c->n, 1);
  c->v = vars_get(t, c->room);
  for (int k = 0; k < c->n && c->v; k++) c->v[k] = handle(t, x[k]);
  if (!c->in) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  return c->in && c->v;
}

static void close_call(call *c) {
  memory_release(&c->t->allocator, c->in, (size_t)c->n);
  if (c->v) vars_release(c->t, c->v, c->room);
}

/* All outputs of f on what stands in v; NULL on failure. */
static ad_var *apply(call *c, ad_function *f) {
  ad_var *out = f ? vars_get(c->t, (size_t)f->n_out) : NULL;
  if (!out || ad_function_apply(f, c->v, out) == AD_OK) return out;
  vars_release(c->t, out, (size_t)f->n_out);
  return NULL;
}

static bool is_float(const call *c, int k) { return node_is_float(c->t, c->v[k].at.node.index); }

static const bool whole[1] = { true };

static bool forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]) {
  call c;
  int n, count = 0;
  node_operands(t, i, &n);
  ad_function *f = NULL;
  ad_var *out = NULL;
  if (open_call(&c, t, i, (size_t)n)) {
    for (int k = 0; k < n; k++) {
      c.in[k] = flow_connected(xdot[k]) && is_float(&c, k);
      const ad_type type = ad_type_of(c.v[k]);
      if (c.in[k]) c.v[n + count++] = flow_value(t, xdot[k], &type);
    }
    f = derived_jvp(t, c.pair->flow, c.in, whole);
    out = apply(&c, f);
  }
  if (out) {
    zdot[0] = flow_of(out[1]);
    vars_release(t, out, (size_t)f->n_out);
  }
  close_call(&c);
  return out != NULL;
}

static bool reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  call c;
  if (!flow_connected(zbar[0])) return true;
  ad_var *out = NULL;
  if (open_call(&c, t, i, 2)) {
    const uint32_t z = tuple_result(t, i, 0);
    c.v[c.n] = handle(t, z);
    const ad_type type = ad_type_of(c.v[c.n]);
    c.v[c.n + 1] = z == INVALID_INDEX ? c.v[c.n] : flow_value(t, zbar[0], &type);
    if (z != INVALID_INDEX) out = apply(&c, c.pair->adjoint);
  }
  for (int k = 0, j = 0; k < c.n && out; k++) {
    if (!is_float(&c, k)) continue;
    if (wanted[k]) xbar[k] = flow_of(out[j]);
    j++;
  }
  if (out) vars_release(t, out, (size_t)c.pair->adjoint->n_out);
  close_call(&c);
  return out != NULL;
}

static bool taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  call c;
  int n;
  node_operands(t, i, &n);
  const size_t terms = (size_t)order;
  ad_function *f = NULL;
  ad_var *out = NULL;
  if (open_call(&c, t, i, (size_t)n*terms)) {
    for (size_t k = 0; k < (size_t)n; k++)
      for (size_t m = 0; m < terms; m++) c.in[k] |= is_float(&c, (int)k) && !ad_is_none(x[k*terms + m]);
    ad_var *to = c.v + n;
    for (size_t m = 0; m < terms; m++)
      for (size_t k = 0; k < (size_t)n; k++)
        if (c.in[k])
          *to++ = ad_is_none(x[k*terms + m]) ? ad_zeros(t, ad_type_of(c.v[k])) : x[k*terms + m];
    f = derived_taylor(t, c.pair->flow, order, c.in, whole);
    out = apply(&c, f);
  }
  for (size_t m = 0; m < terms && out; m++) z[m] = out[m + 1];
  if (out) vars_release(t, out, (size_t)f->n_out);
  close_call(&c);
  return out != NULL;
}

static const tuple_rules rules = { one_result, one_result, result_type, forward, reverse, taylor, ode_run,
                                   ode_parts };

static const ad_primitive odeint_primitive = {
  .name = "odeint", .doc = "the solution of an ordinary differential equation", .traits = AD_TRAIT_NO_FOLD,
  .type = refuse_type, .hold = hold, .tuple = &rules,
};

ad_var ode_record(ad_tape *t, ode_pair pair, int n, const ad_var x[]) {
  const size_t bytes = (size_t)n*sizeof(uint32_t);
  uint32_t *node = memory_get(&t->allocator, bytes), i = INVALID_INDEX;
  if (!node) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < n; k++) node[k] = x[k].at.node.index;
  i = tuple_record(t, &odeint_primitive, n, node, &pair, sizeof pair);
  memory_release(&t->allocator, node, bytes);
  return handle(t, i == INVALID_INDEX ? i : tuple_result(t, i, 0));
}
