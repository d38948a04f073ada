/* carrier_rules.c -- derivatives of carriers: see carrier.h for the four formulas. */
#include "function/carrier.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "function/derived.h"
#include "primitives/library.h"

#include <string.h>

/* --- one rule at work ----------------------------------------------------------------------------------- */

/* Room for all lists of a rule, taken at once. old is the node's attribute, which does not move. */
typedef struct work {
  ad_tape *t;
  const carrier *old;
  int n;                            /* operands of the node */
  uint32_t *x;                      /* them */
  bool *in, *out;                   /* which inputs and outputs of f are differentiated */
  bool *f_out, *g_out;              /* a branch: outputs that each side connects */
  carrier *c;                       /* the carrier that is being made */
  uint32_t *y;                      /* its operands, as they come */
  int count;
  size_t room;                      /* for operands */
  size_t bytes;
  bool failed;
} work;

static size_t aligned(size_t bytes) { return (bytes + 15) & ~(size_t)15; }

/* times: by how much inputs and outputs may become more. */
static bool open_work(work *w, ad_tape *t, uint32_t i, int times) {
  size_t size;
  *w = (work){ .t = t, .old = node_attribute(t, i, &size) };
  const uint32_t *x = node_operands(t, i, &w->n);
  const size_t n_in = (size_t)w->old->n_in, n_out = (size_t)w->old->n_out, grow = (size_t)times;
  const size_t made = aligned(carrier_bytes((int)(grow*n_in), (int)(grow*n_out)));
  w->bytes = made + aligned((size_t)w->n*sizeof *w->x) + n_in + 3*n_out + 1;
  char *block = grow*n_in < INT32_MAX/4 && grow*n_out < INT32_MAX/4
                  ? memory_get_zeroed(&t->allocator, w->bytes, 1) : NULL;
  if (!block) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  w->c = (carrier *)(void *)block;
  w->x = (uint32_t *)(void *)(block + made);
  w->in = (bool *)(block + made + aligned((size_t)w->n*sizeof *w->x));
  w->out = w->in + n_in;
  w->f_out = w->out + n_out;
  w->g_out = w->f_out + n_out;
  memcpy(w->x, x, (size_t)w->n*sizeof *x);
  return true;
}

static bool close_work(work *w) {
  const bool good = !w->failed;
  memory_release(&w->t->allocator, w->y, w->room*sizeof *w->y);
  memory_release(&w->t->allocator, w->c, w->bytes);
  return good;
}

static void put_node(work *w, uint32_t i) {
  const size_t need = (size_t)w->count + 1;
  if (!memory_reserve(&w->t->allocator, &w->y, &w->room, need, sizeof *w->y)) {
    tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
    w->failed = true;
    return;
  }
  w->y[w->count++] = i;
  w->failed |= i == INVALID_INDEX;
}

static void put_operands(work *w, int from, int n) {
  for (int k = 0; k < n; k++) put_node(w, w->x[from + k]);
}

static void put_var(work *w, ad_var v) {
  put_node(w, ad_is_valid(v) && !is_literal(v) ? v.at.node.index : INVALID_INDEX);
}

/* The value of a flow, or zeros, as node i is. */
static void put_flow(work *w, flow f, uint32_t i) {
  const ad_type type = node_type(w->t, i)->type;
  ad_var v = flow_connected(f) ? flow_settle(f) : ad_zeros(w->t, type);
  if (ad_is_valid(v) && ad_type_of(v).rank != type.rank) v = ad_broadcast_to(v, type.rank, type.dim);
  put_var(w, v);
}

static int index_of(const bool flag[], int i) {
  int k = 0;
  for (int m = 0; m < i; m++) k += flag[m];
  return k;
}

static int count_flags(int n, const bool flag[]) { return index_of(flag, n); }

/* --- which derivatives ---------------------------------------------------------------------------------- */

static bool reach(work *w) {
  const carrier *c = w->old;
  bool good = derived_reached(c->f, w->in, w->f_out);
  if (c->kind == CARRIER_BRANCH) good = good && derived_reached(c->g, w->in, w->g_out);
  for (int j = 0; j < c->n_out; j++) w->out[j] = w->f_out[j] || w->g_out[j];
  if (!good) tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
  return good;
}

/* A state moves when its input or its output does: both then. True when an input was added. */
static bool link_states(work *w) {
  const carrier *c = w->old;
  bool added = false;
  for (int i = 0, j = 0; i < c->n_in; i++) {
    if (role_in(c)[i] != ROLE_STATE) continue;
    while (role_out(c)[j] != ROLE_STATE) j++;
    if (w->out[j] && !w->in[i]) added = w->in[i] = true;
    if (w->in[i]) w->out[j] = true;
    j++;
  }
  return added;
}

/* From the inputs that move to all that moves. */
static bool find_active(work *w) {
  do
    if (!reach(w)) return false;
  while (link_states(w));
  return true;
}

/* --- making carriers ------------------------------------------------------------------------------------ */

/* The carrier of D, the derivative of order `times` of f (and g): inputs and outputs with their coefficients
 * behind them, in the roles of what they are coefficients of. */
static void carry_derivative(work *w, int times, ad_function *f, ad_function *g) {
  const carrier *old = w->old;
  carrier *c = w->c;
  const int n = count_flags(old->n_in, w->in), m = count_flags(old->n_out, w->out);
  *c = *old;
  c->f = f;
  c->g = g;
  c->n_in = old->n_in + times*n;
  c->n_out = old->n_out + times*m;
  c->v = c->r = NULL;
  c->adjoint = c->recorded = false;
  memset(c->flag, 0, carrier_bytes(c->n_in, c->n_out) - sizeof *c);
  unsigned char *in = c->flag, *out = c->flag + c->n_in;
  memcpy(in, role_in(old), (size_t)old->n_in);
  memcpy(out, role_out(old), (size_t)old->n_out);
  in += old->n_in, out += old->n_out;
  for (int o = 0; o < times; o++) {
    for (int i = 0; i < old->n_in; i++)
      if (w->in[i]) *in++ = role_in(old)[i];
    for (int j = 0; j < old->n_out; j++)
      if (w->out[j]) *out++ = role_out(old)[j];
  }
  w->failed |= !f || (old->kind == CARRIER_BRANCH && !g);
}

/* A loop's condition looks at the first inputs alone, whatever comes behind them. */
static void carry_jvp(work *w) {
  const carrier *old = w->old;
  ad_function *g = old->kind == CARRIER_BRANCH ? derived_jvp(w->t, old->g, w->in, w->out) : old->g;
  carry_derivative(w, 1, derived_jvp(w->t, old->f, w->in, w->out), g);
}

static uint32_t record(work *w) {
  const uint32_t i = w->failed ? INVALID_INDEX : carrier_record(w->t, w->c, w->count, w->y);
  w->failed |= i == INVALID_INDEX;
  w->count = 0;
  return i;
}

static ad_var result(work *w, uint32_t node, int j) {
  const uint32_t i = w->failed ? INVALID_INDEX : tuple_result(w->t, node, j);
  w->failed |= i == INVALID_INDEX;
  return handle(w->t, i);
}

/* The two parts of the vjp that the steps of the adjoint in w->c run. */
static bool split_steps(work *w, ad_function **early, ad_function **late) {
  const carrier *c = w->c;
  const size_t n = (size_t)c->n_in, m = (size_t)c->n_out;
  bool *in = memory_get_zeroed(&w->t->allocator, 2*n + m + 1, 1), *sums = in + n, *out = sums + n;
  bool good = in != NULL;
  if (good) {
    carrier_step_flags(c, in, out, sums);
    good = derived_split(w->t, c->f, in, out, sums, early, late);
  } else tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
  memory_release(&w->t->allocator, in, 2*n + m + 1);
  w->failed |= !good;
  return good;
}

/* Can what a step computes beside f's outputs be stacked? */
static bool stackable(const carrier *c, const ad_function *early) {
  for (int k = c->n_out; k < early->n_out; k++)
    if (node_type(early->body, early->out[k])->type.rank == AD_MAX_RANK) return false;
  return true;
}

/* VALUES_MOST: bytes of values that are kept where they are cheap to compute. */
enum { VALUES_MOST = 1 << 24 };

/* Would writing and reading the values of n steps behind the outputs of c->f, beyond the caches, take longer
 * than computing them again? So it is where there are many of them, from elementwise operations, sums and
 * movement alone. */
static bool is_dear(const carrier *c, const ad_function *early) {
  const unsigned moves = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS;
  const ad_tape *t = early->body;
  double bytes = 0;
  for (int k = c->n_out; k < early->n_out; k++) bytes += (double)node_type(t, early->out[k])->bytes;
  if (bytes*(double)c->n <= VALUES_MOST) return false;
  for (uint32_t i = 0; i < t->count; i++) {
    const ad_primitive *p = node_is_leaf(t, i) ? &cast_primitive : node_primitive(t, i);
    if (!p->row && p != &cast_primitive && (p->traits & moves) != moves) return false;
  }
  return true;
}

/* Lets the scan keep what its adjoint uses of the values inside, if it does not keep something else for
 * another adjoint already. On a tape that traces, nothing has been computed yet, and results are recorded as
 * they are asked for: a node may still learn to give more. */
static void put_values(work *w, uint32_t primal) {
  carrier *c = w->c;
  size_t size;
  carrier *scan = (carrier *)(uintptr_t)node_attribute(w->t, primal, &size);
  ad_function *early, *late;
  if (!split_steps(w, &early, &late) || (scan->r && scan->r != early) || !stackable(c, early)
      || is_dear(c, early)) return;
  scan->r = early;
  w->failed |= carrier_hold(w->t, scan) != AD_OK;
  c->v = late;
  const int first = c->n_out + carrier_states(c);
  for (int k = c->n_out; k < early->n_out; k++) put_var(w, result(w, primal, first + k - c->n_out));
}

/* The adjoint of the carrier in w->c, whose operands x (with selectors) stand in w->y already; its cotangents
 * are put by the caller, who has set which outputs and inputs are active. primal: the node of the carrier
 * itself, or INVALID_INDEX. A scan's adjoint reads the states that the scan has stacked. */
static void put_record(work *w, uint32_t primal) {
  carrier *c = w->c;
  const int states = carrier_states(c);
  c->v = c->r = NULL;
  c->recorded = primal != INVALID_INDEX && carrier_has_record(c);
  if (!c->recorded) return;
  for (int k = 0; k < states; k++) put_var(w, result(w, primal, c->n_out + k));
  if (c->policy == KEEP_ALL && w->t->tracing) put_values(w, primal);
}

/* A loop that has run is a counted scan to its adjoint. */
static void count_steps(work *w, uint32_t primal) {
  if (w->c->kind != CARRIER_LOOP) return;
  put_var(w, result(w, primal, w->c->n_out));
  w->c->kind = CARRIER_SCAN;
  w->c->counted = true;
  w->c->n = -1;
  w->c->g = NULL;
}

/* --- primal --------------------------------------------------------------------------------------------- */

static int base_operands(const carrier *c) { return c->n_in + selectors(c); }

static ad_var condition(const work *w) { return handle(w->t, w->x[w->old->n_in]); }

/* An output or input that only one side of a branch connects is connected when that side is taken. */
static ad_var branch_mask(const work *w, bool f, bool g) {
  if (w->old->kind != CARRIER_BRANCH || f == g) return ad_none();
  return f ? condition(w) : ad_logical_not(condition(w));
}

static bool forward_primal(work *w, const flow xdot[], flow zdot[]) {
  const carrier *c = w->old;
  for (int k = 0; k < c->n_in; k++) w->in[k] = flow_connected(xdot[k]) && node_is_float(w->t, w->x[k]);
  if (!find_active(w)) return false;
  if (count_flags(c->n_out, w->out) == 0) return true;
  carry_jvp(w);
  put_operands(w, 0, c->n_in);
  for (int k = 0; k < c->n_in; k++)
    if (w->in[k]) put_flow(w, xdot[k], w->x[k]);
  put_operands(w, c->n_in, selectors(c));
  const uint32_t node = record(w);
  for (int j = 0, k = c->n_out; j < c->n_out && !w->failed; j++)
    if (w->out[j]) zdot[j] = (flow){ result(w, node, k++), branch_mask(w, w->f_out[j], w->g_out[j]), false };
  return true;
}

/* Does input k alone reach an active output on that side? */
static bool side_connects(work *w, ad_function *f, int k, const bool active[], bool *reached) {
  memset(w->in, 0, (size_t)w->old->n_in);
  w->in[k] = true;
  w->failed |= !derived_reached(f, w->in, reached);
  for (int j = 0; j < w->old->n_out; j++)
    if (active[j] && reached[j]) return true;
  return false;
}

static void mask_branch(work *w, const bool wanted[], flow xbar[]) {
  for (int k = 0; k < w->old->n_in && w->old->kind == CARRIER_BRANCH; k++) {
    if (!wanted[k] || !flow_connected(xbar[k])) continue;
    const bool f = side_connects(w, w->old->f, k, w->out, w->f_out),
               g = side_connects(w, w->old->g, k, w->out, w->g_out);
    if (!f && !g) xbar[k] = flow_none();
    else xbar[k].mask = branch_mask(w, f, g), xbar[k].zeros = false;
  }
}

/* What of an adjoint in w->c takes part. */
static bool narrow(work *w, bool trim) {
  if (w->c->kind != CARRIER_SCAN && w->c->kind != CARRIER_LOOP) return true;
  if (carrier_narrow(w->c, trim)) return true;
  tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
  return false;
}

static bool reverse_primal(work *w, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  const carrier *old = w->old;
  carrier *c = w->c;
  memcpy(c, old, carrier_bytes(old->n_in, old->n_out));
  c->adjoint = true;
  unsigned char *in = c->flag + c->n_in + c->n_out, *out = in + c->n_in;
  bool any = false;
  for (int j = 0; j < c->n_out; j++) any |= out[j] = w->out[j] = flow_connected(zbar[j]);
  if (!any) return true;
  for (int k = 0; k < c->n_in; k++) in[k] = wanted[k];
  if (!narrow(w, true)) return false;
  for (int k = 0; k < c->n_in; k++) xbar[k] = flow_none();
  if (carrier_count(c->n_in, in) == 0) return true;
  put_operands(w, 0, base_operands(old));
  count_steps(w, i);
  for (int j = 0; j < c->n_out && !w->failed; j++)
    if (out[j]) put_flow(w, zbar[j], tuple_result(w->t, i, j));
  put_record(w, i);
  const uint32_t node = record(w);
  for (int k = 0, j = 0; k < c->n_in && !w->failed; k++)
    if (in[k]) xbar[k] = flow_of(result(w, node, j++));
  mask_branch(w, wanted, xbar);
  return true;
}

/* --- adjoint -------------------------------------------------------------------------------------------- */

/* Where the cotangent of output j is among the operands of an adjoint; cotangents begin behind the base. */
static int cotangent_at(const carrier *c, int j) {
  return base_operands(c) + carrier_count(j, active_out(c));
}

/* The adjoint of D, whose carrier is in w->c and whose operands are in w->y, with cotangent y (may be NULL,
 * or not connected) for outputs and those of the old adjoint for their tangents; xbar receives what comes out
 * at inputs with wanted[k]. primal: the node of P(D), or INVALID_INDEX. */
static void adjoint_of_jvp(work *w, uint32_t primal, const flow ydot[], const bool wanted[], flow xbar[]) {
  const carrier *old = w->old;
  carrier *c = w->c;
  unsigned char *in = c->flag + c->n_in + c->n_out, *out = in + c->n_in;
  c->adjoint = true;
  for (int k = 0; k < old->n_in; k++) in[k] = wanted[k];
  for (int j = 0, k = old->n_out; j < old->n_out; j++) {
    const bool given = active_out(old)[j] && ydot && flow_connected(ydot[cotangent_at(old, j)]);
    out[j] = given;
    if (given) put_flow(w, ydot[cotangent_at(old, j)], w->x[cotangent_at(old, j)]);
    if (w->out[j]) out[k++] = active_out(old)[j];
  }
  for (int j = 0; j < old->n_out; j++)
    if (w->out[j] && active_out(old)[j]) put_node(w, w->x[cotangent_at(old, j)]);
  if (carrier_count(c->n_out, out) == 0) {
    w->count = 0;
    return;
  }
  w->failed |= !narrow(w, false);
  put_record(w, primal);
  const uint32_t node = record(w);
  for (int k = 0, j = 0; k < old->n_in && !w->failed; k++)
    if (wanted[k]) xbar[k] = flow_of(result(w, node, j++));
}

/* Operands of P(D) and A(D): x, its tangents, selectors. */
static void put_base(work *w, const flow p[]) {
  const carrier *old = w->old;
  put_operands(w, 0, old->n_in);
  for (int k = 0; k < old->n_in; k++)
    if (w->in[k]) put_flow(w, p[k], w->x[k]);
  put_operands(w, old->n_in, selectors(old));
}

/* P(D) is recorded where its states are a record to A(D): it is computed again otherwise. */
static uint32_t record_primal(work *w, const flow p[], bool always) {
  const carrier *c = w->c;
  if (!always && !carrier_has_record(c)) return INVALID_INDEX;
  put_base(w, p);
  return record(w);
}

static bool forward_adjoint(work *w, const flow xdot[], flow zdot[]) {
  const carrier *old = w->old;
  bool *wanted, any = false;
  for (int k = 0; k < old->n_in; k++)
    any |= w->in[k] = flow_connected(xdot[k]) && node_is_float(w->t, w->x[k]);
  for (int j = 0; j < old->n_out; j++)
    any |= active_out(old)[j] && flow_connected(xdot[cotangent_at(old, j)]);
  if (!any) return true;
  if (!find_active(w)) return false;
  carry_jvp(w);
  const uint32_t primal = record_primal(w, xdot, false);
  const size_t bytes = (size_t)old->n_in*(sizeof(flow) + sizeof *wanted) + 1;
  flow *xbar = memory_get(&w->t->allocator, bytes);
  if (!xbar) {
    tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  wanted = (bool *)(xbar + old->n_in);
  for (int k = 0; k < old->n_in; k++) wanted[k] = active_in(old)[k], xbar[k] = flow_none();
  put_base(w, xdot);
  adjoint_of_jvp(w, primal, xdot, wanted, xbar);
  for (int k = 0, j = 0; k < old->n_in; k++)
    if (active_in(old)[k]) zdot[j++] = xbar[k];
  memory_release(&w->t->allocator, xbar, bytes);
  return true;
}

static bool reverse_adjoint(work *w, const flow zbar[], const bool wanted[], flow xbar[]) {
  const carrier *old = w->old;
  const size_t bytes = (size_t)old->n_in*sizeof(flow) + 1;
  flow *p = memory_get(&w->t->allocator, bytes);
  bool values = false, any = false;
  if (!p) {
    tape_fail(w->t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  for (int k = 0, j = 0; k < old->n_in; k++) {
    p[k] = active_in(old)[k] ? zbar[j++] : flow_none();
    any |= w->in[k] = flow_connected(p[k]);
    values |= wanted[k];
  }
  bool good = any && find_active(w);
  if (good && count_flags(old->n_out, w->out)) {
    carry_jvp(w);
    bool seeds = false;
    for (int j = 0; j < old->n_out; j++)
      seeds |= active_out(old)[j] && w->out[j] && wanted[cotangent_at(old, j)];
    const uint32_t primal = record_primal(w, p, seeds);
    for (int j = 0; j < old->n_out && !w->failed && seeds; j++)
      if (active_out(old)[j] && w->out[j] && wanted[cotangent_at(old, j)])
        xbar[cotangent_at(old, j)] = flow_of(result(w, primal, old->n_out + index_of(w->out, j)));
    if (values && !w->failed) {
      put_base(w, p);
      adjoint_of_jvp(w, primal, NULL, wanted, xbar);
    }
  }
  memory_release(&w->t->allocator, p, bytes);
  return good || !any;
}

/* --- the rules ------------------------------------------------------------------------------------------ */

bool carrier_forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]) {
  work w;
  if (!open_work(&w, t, i, 2)) return false;
  w.failed |= !(w.old->adjoint ? forward_adjoint(&w, xdot, zdot) : forward_primal(&w, xdot, zdot));
  return close_work(&w);
}

bool carrier_reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  work w;
  if (!open_work(&w, t, i, 2)) return false;
  w.failed |= !(w.old->adjoint ? reverse_adjoint(&w, zbar, wanted, xbar)
                               : reverse_primal(&w, i, zbar, wanted, xbar));
  return close_work(&w);
}

/* --- Taylor --------------------------------------------------------------------------------------------- */

static void carry_taylor(work *w, int order) {
  const carrier *old = w->old;
  ad_function *g = old->kind == CARRIER_BRANCH ? derived_taylor(w->t, old->g, order, w->in, w->out) : old->g;
  carry_derivative(w, order, derived_taylor(w->t, old->f, order, w->in, w->out), g);
}

static void put_coefficients(work *w, int order, const ad_var x[]) {
  const carrier *old = w->old;
  put_operands(w, 0, old->n_in);
  for (int m = 0; m < order; m++)
    for (int k = 0; k < old->n_in; k++)
      if (w->in[k]) {
        const ad_var v = x[(size_t)k*(size_t)order + (size_t)m];
        put_flow(w, ad_is_none(v) ? flow_none() : flow_of(v), w->x[k]);
      }
  put_operands(w, old->n_in, selectors(old));
}

static bool moves(const ad_var x[], int k, int order) {
  for (int m = 0; m < order; m++)
    if (!ad_is_none(x[(size_t)k*(size_t)order + (size_t)m])) return true;
  return false;
}

static bool taylor_primal(work *w, int order, ad_var z[]) {
  const carrier *old = w->old;
  const int active = count_flags(old->n_out, w->out);
  const uint32_t node = record(w);
  for (int j = 0, a = 0; j < old->n_out && !w->failed; j++) {
    if (!w->out[j]) continue;
    for (int m = 0; m < order; m++)
      z[(size_t)j*(size_t)order + (size_t)m] = result(w, node, old->n_out + m*active + a);
    a++;
  }
  return true;
}

/* With T the expansion of f, coefficient k of A(f)(x, u) is what A(T) gives at coefficient order - k of x,
 * for cotangent u_(order - m) of coefficient m of y: both sum J_a^T u_b over a + b = k. */
static bool taylor_adjoint(work *w, int order, const ad_var x[], ad_var z[]) {
  const carrier *old = w->old;
  carrier *c = w->c;
  const int n = count_flags(old->n_in, w->in), m = count_flags(old->n_out, w->out);
  unsigned char *in = c->flag + c->n_in + c->n_out, *out = in + c->n_in;
  c->adjoint = true;
  for (int o = 0; o <= order; o++) {
    int place = o ? old->n_out + (o - 1)*m : 0;
    for (int j = 0; j < old->n_out; j++) {
      if (o && !w->out[j]) continue;
      const int at = cotangent_at(old, j);
      if (active_out(old)[j]) {
        const ad_var u = o == order ? handle(w->t, w->x[at])
                                    : x[(size_t)at*(size_t)order + (size_t)(order - o - 1)];
        out[place] = !ad_is_none(u);
        if (out[place]) put_flow(w, flow_of(u), w->x[at]);
      }
      place++;
    }
  }
  for (int o = 0; o < order; o++)
    for (int k = 0, a = 0; k < old->n_in; k++) {
      if (o == 0) in[k] = active_in(old)[k];
      else if (w->in[k]) in[old->n_in + (o - 1)*n + a] = active_in(old)[k];
      a += w->in[k];
    }
  put_record(w, INVALID_INDEX);
  const uint32_t node = record(w);
  int r = 0;
  for (int o = 0; o < order && !w->failed; o++)
    for (int k = 0, j = 0; k < old->n_in && !w->failed; k++) {
      if (!active_in(old)[k]) continue;
      if (o == 0 || w->in[k]) z[(size_t)j*(size_t)order + (size_t)(order - o - 1)] = result(w, node, r++);
      j++;
    }
  return true;
}

bool carrier_taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  work w;
  if (!open_work(&w, t, i, order + 1)) return false;
  const carrier *old = w.old;
  bool any = false;
  for (int k = 0; k < old->n_in; k++) any |= w.in[k] = moves(x, k, order) && node_is_float(t, w.x[k]);
  for (int k = base_operands(old); k < w.n && old->adjoint; k++) any |= moves(x, k, order);
  if (!any) return close_work(&w);
  if (find_active(&w)) {
    carry_taylor(&w, order);
    put_coefficients(&w, order, x);
    w.failed |= !(old->adjoint ? taylor_adjoint(&w, order, x, z) : taylor_primal(&w, order, z));
  } else w.failed = true;
  return close_work(&w);
}
