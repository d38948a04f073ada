/* implicit_rules.c -- the implicit function theorem: adit/implicit.h has the formulas.
 *
 * Here x is the solution, a node like others, and the residual r and its Jacobian J are applied at it.
 */
#include "function/implicit.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "derive/flow.h"
#include "function/derived.h"
#include "function/wrt.h"
#include "primitives/solve.h"

#include <string.h>

/* One node at work: its operands with the solution for the guess, room behind them for `more` further
 * arguments, and a flag for each operand. */
typedef struct theorem {
  ad_tape *t;
  const implicit *a;
  int n;
  ad_var *v;
  size_t room;
  bool *in;
  bool failed;
} theorem;

static bool out_of_memory(ad_tape *t) { return tape_fail(t, AD_ERROR_MEMORY, "out of memory") != AD_OK; }

static bool open_theorem(theorem *h, ad_tape *t, uint32_t i, size_t more) {
  size_t size;
  *h = (theorem){ .t = t, .a = node_attribute(t, i, &size) };
  const uint32_t *x = node_operands(t, i, &h->n);
  h->room = (size_t)h->n + more;
  h->v = vars_get(t, h->room);
  h->in = memory_get_zeroed(&t->allocator, (size_t)h->n + 1, 1);
  if (h->v && !h->in) out_of_memory(t);
  for (int k = 0; h->v && k < h->n; k++) h->v[k] = handle(t, x[k]);
  const uint32_t x0 = h->v && h->in ? tuple_result(t, i, 0) : INVALID_INDEX;
  h->failed = x0 == INVALID_INDEX;
  if (!h->failed) h->v[0] = handle(t, x0);
  return !h->failed;
}

static bool close_theorem(theorem *h) {
  memory_release(&h->t->allocator, h->in, (size_t)h->n + 1);
  if (h->v) vars_release(h->t, h->v, h->room);
  return !h->failed;
}

/* f on what stands in v: one of its outputs. */
static ad_var apply(theorem *h, ad_function *f, int which) {
  ad_var *out = f && !h->failed ? vars_get(h->t, (size_t)f->n_out) : NULL, y = handle_invalid(h->t);
  h->failed |= !out || ad_function_apply(f, h->v, out) != AD_OK;
  if (!h->failed) y = out[which];
  if (out) vars_release(h->t, out, (size_t)f->n_out);
  return y;
}

/* -J^-1 b, or -J^-T b. */
static ad_var solved(theorem *h, ad_var b, bool transposed) {
  const ad_var j = apply(h, h->a->jacobian, 0);
  if (h->failed) return j;
  const ad_var z = ad_type_of(j).rank == 0
                     ? ad_div(b, j)
                     : lu_solve_record(j, lu_record(j), b,
                                       (solution){ .transposed = transposed, .vector = 1 });
  const ad_var minus = ad_neg(z);
  h->failed |= !ad_is_valid(minus);
  return minus;
}

static const bool whole[1] = { true };

/* Does the residual depend on the inputs flagged? */
static bool depends(theorem *h) {
  bool reached = false;
  if (!derived_reached(h->a->residual, h->in, &reached)) h->failed = out_of_memory(h->t);
  return reached && !h->failed;
}

bool implicit_forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]) {
  theorem h;
  int n;
  node_operands(t, i, &n);
  if (!open_theorem(&h, t, i, (size_t)n)) return close_theorem(&h);
  int count = 0;
  for (int k = 1; k < n; k++) {
    h.in[k] = flow_connected(xdot[k]) && node_is_float(t, h.v[k].at.node.index);
    if (!h.in[k]) continue;
    const ad_type type = ad_type_of(h.v[k]);
    h.v[n + count++] = flow_value(t, xdot[k], &type);
  }
  if (count && depends(&h)) {
    const ad_var rdot = apply(&h, derived_jvp(t, h.a->residual, h.in, whole), 1);
    zdot[0] = flow_of(solved(&h, rdot, false));
  }
  return close_theorem(&h);
}

/* Flags the wanted parameters that the residual depends on, each by itself. */
static bool find_wanted(theorem *h, const bool wanted[]) {
  bool any = false;
  for (int k = 1; k < h->n; k++) {
    if (!wanted[k]) continue;
    memset(h->in, 0, (size_t)h->n);
    h->in[k] = true;
    h->v[h->n + k] = depends(h) ? h->v[k] : ad_none();
  }
  h->in[0] = false;
  for (int k = 1; k < h->n; k++) any |= h->in[k] = wanted[k] && !ad_is_none(h->v[h->n + k]);
  return any && !h->failed;
}

bool implicit_reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  theorem h;
  int n;
  node_operands(t, i, &n);
  if (!flow_connected(zbar[0])) return true;
  if (!open_theorem(&h, t, i, (size_t)n)) return close_theorem(&h);
  if (find_wanted(&h, wanted)) {
    const ad_type type = ad_type_of(h.v[0]);
    h.v[n] = solved(&h, flow_value(t, zbar[0], &type), true);
    bool *none = memory_get_zeroed(&t->allocator, (size_t)n, 1);
    if (!none) out_of_memory(t);
    ad_function *f = none ? derived_vjp(t, h.a->residual, h.in, whole, none) : NULL;
    ad_var *pbar = f ? vars_get(t, (size_t)f->n_out) : NULL;
    h.failed |= !pbar || ad_function_apply(f, h.v, pbar) != AD_OK;
    for (int k = 1, j = 0; k < n && !h.failed; k++)
      if (h.in[k]) xbar[k] = flow_of(pbar[j++]);
    if (pbar) vars_release(t, pbar, (size_t)f->n_out);
    memory_release(&t->allocator, none, (size_t)n);
  }
  return close_theorem(&h);
}

/* --- Taylor --------------------------------------------------------------------------------------------- */

/* Coefficients 1..k of the flagged inputs, in the order that derived_taylor takes them. */
static void put_coefficients(theorem *h, int k, int order, const ad_var x[], const ad_var z[]) {
  ad_var *to = h->v + h->n;
  for (int m = 0; m < k; m++)
    for (int j = 0; j < h->n; j++) {
      if (!h->in[j]) continue;
      const ad_var c = j ? x[(size_t)j*(size_t)order + (size_t)m] : m + 1 < k ? z[m] : ad_none();
      *to++ = ad_is_none(c) ? ad_zeros(h->t, ad_type_of(h->v[j])) : c;
    }
}

/* With x_1 .. x_(k-1) known and x_k = 0, coefficient k of r(x(t), p(t)) is c, and J x_k + c = 0. */
bool implicit_taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  theorem h;
  int n;
  node_operands(t, i, &n);
  if (!open_theorem(&h, t, i, (size_t)n*(size_t)order)) return close_theorem(&h);
  int first = order + 1;            /* the lowest coefficient that is not zero */
  for (int k = 1; k < n; k++)
    for (int m = 0; m < order && node_is_float(t, h.v[k].at.node.index); m++) {
      if (ad_is_none(x[(size_t)k*(size_t)order + (size_t)m])) continue;
      h.in[k] = true;
      if (m + 1 < first) first = m + 1;
    }
  const bool any = first <= order && depends(&h);
  h.in[0] = true;
  for (int k = first; any && k <= order && !h.failed; k++) {
    put_coefficients(&h, k, order, x, z);
    z[k - 1] = solved(&h, apply(&h, derived_taylor(t, h.a->residual, k, h.in, whole), k), false);
  }
  return close_theorem(&h);
}
