/* sweep.c -- forward and reverse mode over the nodes between x and y, recorded.
 *
 * Only nodes on a path from some x to some y are touched. Both sweeps are loops over an index range; what
 * belongs to a node is kept in arrays over that range, made before and given back after.
 */
#include "derive/flow.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"

#include <string.h>

/* Handles without their tape: 8 bytes a node. */
typedef struct slot { uint32_t value, mask; } slot;
static const slot empty_slot = { NONE_INDEX, NONE_INDEX };

typedef struct sweep {
  ad_tape *t;
  uint32_t low, high;               /* nodes [low, high) */
  slot *slot;
  /* bit 0: depends on an x; bit 1: some y depends on it; bit 2: is an x (its tangent is given) */
  unsigned char *on_path;
  bool *wanted;                     /* one node's operands */
  flow *flow;
  size_t operands;                  /* room in wanted and flow */
} sweep;

enum { FROM_X = 1, TO_Y = 2, IS_X = 4 };

static ad_var unpack(ad_tape *t, uint32_t i) {
  if (i == NONE_INDEX) return ad_none();
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

static flow get(const sweep *s, uint32_t i) {
  const slot *e = &s->slot[i - s->low];
  return (flow){ unpack(s->t, e->value), unpack(s->t, e->mask) };
}

static void put(sweep *s, uint32_t i, flow f) {
  s->slot[i - s->low] = (slot){ f.value.at.node.index, f.mask.at.node.index };
}

static bool inside(const sweep *s, uint32_t i) { return i >= s->low && i < s->high; }

static void close_sweep(sweep *s) {
  const ad_allocator *a = &s->t->allocator;
  size_t n = s->high - s->low;
  memory_release(a, s->slot, n*sizeof *s->slot);
  memory_release(a, s->on_path, n);
  memory_release(a, s->wanted, s->operands*sizeof *s->wanted);
  memory_release(a, s->flow, s->operands*sizeof *s->flow);
}

/* The range from the first x to the last y; empty when every y comes before every x. */
static ad_status open_sweep(sweep *s, ad_tape *t, int n, const uint32_t x[], int m, const uint32_t y[]) {
  *s = (sweep){ .t = t, .low = UINT32_MAX };
  for (int i = 0; i < n; i++) s->low = x[i] < s->low ? x[i] : s->low;
  for (int j = 0; j < m; j++) s->high = y[j] + 1 > s->high ? y[j] + 1 : s->high;
  if (s->high <= s->low) s->high = s->low = 0;
  size_t nodes = s->high - s->low;
  if (nodes == 0) return AD_OK;
  s->slot = memory_get(&t->allocator, nodes*sizeof *s->slot);
  s->on_path = memory_get_zeroed(&t->allocator, nodes, 1);
  if (!s->slot || !s->on_path) {
    close_sweep(s);
    return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  }
  for (size_t i = 0; i < nodes; i++) s->slot[i] = empty_slot;
  return AD_OK;
}

/* Marks the nodes that lie between: from x upwards, then from y downwards. */
static ad_status find_paths(sweep *s, int n, const uint32_t x[], int m, const uint32_t y[]) {
  ad_tape *t = s->t;
  int most = 0, count;
  for (int i = 0; i < n; i++)
    if (inside(s, x[i])) s->on_path[x[i] - s->low] = FROM_X | IS_X;
  for (uint32_t i = s->low; i < s->high; i++) {
    if (node_is_leaf(t, i)) continue;
    const uint32_t *operand = node_operands(t, i, &count);
    if (count > most) most = count;
    for (int k = 0; k < count; k++)
      if (inside(s, operand[k]) && (s->on_path[operand[k] - s->low] & FROM_X) && flow_passes(t, i, k))
        s->on_path[i - s->low] |= FROM_X;
  }
  for (int j = 0; j < m; j++)
    if (inside(s, y[j])) s->on_path[y[j] - s->low] |= TO_Y;
  for (uint32_t i = s->high; i-- > s->low;) {
    if ((s->on_path[i - s->low] & (FROM_X | TO_Y)) != (FROM_X | TO_Y) || node_is_leaf(t, i)) continue;
    const uint32_t *operand = node_operands(t, i, &count);
    for (int k = 0; k < count; k++)
      if (inside(s, operand[k]) && flow_passes(t, i, k)) s->on_path[operand[k] - s->low] |= TO_Y;
  }
  s->operands = (size_t)most;
  if (most == 0) return AD_OK;
  s->wanted = memory_get(&t->allocator, s->operands*sizeof *s->wanted);
  s->flow = memory_get(&t->allocator, s->operands*sizeof *s->flow);
  return s->wanted && s->flow ? AD_OK : tape_fail(t, AD_ERROR_MEMORY, "out of memory");
}

static bool on_path(const sweep *s, uint32_t i) {
  return inside(s, i) && (s->on_path[i - s->low] & (FROM_X | TO_Y)) == (FROM_X | TO_Y);
}

/* --- reverse -------------------------------------------------------------------------------------- */

static ad_status reverse_node(sweep *s, uint32_t i) {
  ad_tape *t = s->t;
  flow zbar = get(s, i);
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  bool any = false;
  for (int k = 0; k < n; k++) any |= s->wanted[k] = on_path(s, operand[k]) && flow_passes(t, i, k);
  if (!any) return AD_OK;
  flow_reverse(t, i, zbar, s->wanted, s->flow);
  for (int k = 0; k < n; k++) {
    if (!s->wanted[k]) continue;
    uint32_t x = node_operands(t, i, &n)[k];
    flow sum = flow_add(t, get(s, x), s->flow[k]);
    if (flow_connected(sum) && !ad_is_valid(sum.value))
      return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
    put(s, x, sum);
  }
  return AD_OK;
}

static ad_status run_reverse(sweep *s, int m, const uint32_t y[], const flow ybar[]) {
  for (int j = 0; j < m; j++)
    if (on_path(s, y[j]) && flow_connected(ybar[j])) put(s, y[j], flow_add(s->t, get(s, y[j]), ybar[j]));
  for (uint32_t i = s->high; i-- > s->low;) {
    if (!on_path(s, i) || node_is_leaf(s->t, i) || s->slot[i - s->low].value == NONE_INDEX) continue;
    ad_status status = reverse_node(s, i);
    if (status != AD_OK) return status;
  }
  return AD_OK;
}

ad_status sweep_reverse(ad_tape *t, int m, const uint32_t y[], const flow ybar[], int n, const uint32_t x[],
                        flow xbar[]) {
  sweep s;
  ad_status status = open_sweep(&s, t, n, x, m, y);
  if (status != AD_OK) return status;
  status = find_paths(&s, n, x, m, y);
  if (status == AD_OK) status = run_reverse(&s, m, y, ybar);
  for (int i = 0; i < n && status == AD_OK; i++) xbar[i] = inside(&s, x[i]) ? get(&s, x[i]) : flow_none();
  close_sweep(&s);
  return status;
}

/* --- forward -------------------------------------------------------------------------------------- */

static ad_status forward_node(sweep *s, uint32_t i) {
  ad_tape *t = s->t;
  int n;
  bool any = false;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) {
    s->flow[k] = on_path(s, operand[k]) ? get(s, operand[k]) : flow_none();
    any |= flow_connected(s->flow[k]) && flow_passes(t, i, k);
  }
  if (!any) return AD_OK;
  flow zdot = flow_forward(t, i, s->flow);
  if (flow_connected(zdot) && !ad_is_valid(zdot.value))
    return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
  put(s, i, zdot);
  return AD_OK;
}

static ad_status sweep_forward(ad_tape *t, int n, const uint32_t x[], const flow xdot[], int m,
                               const uint32_t y[], flow ydot[]) {
  sweep s;
  ad_status status = open_sweep(&s, t, n, x, m, y);
  if (status != AD_OK) return status;
  status = find_paths(&s, n, x, m, y);
  for (int i = 0; i < n && status == AD_OK; i++)
    if (inside(&s, x[i])) put(&s, x[i], flow_add(t, get(&s, x[i]), xdot[i]));
  for (uint32_t i = s.low; i < s.high && status == AD_OK; i++)
    if (on_path(&s, i) && !(s.on_path[i - s.low] & IS_X) && !node_is_leaf(t, i)) status = forward_node(&s, i);
  for (int j = 0; j < m && status == AD_OK; j++) ydot[j] = inside(&s, y[j]) ? get(&s, y[j]) : flow_none();
  close_sweep(&s);
  return status;
}

/* --- the calls ------------------------------------------------------------------------------------ */

/* The lists of one call: indices and flows of n inputs and m outputs, in one block. */
typedef struct lists {
  ad_tape *t;
  uint32_t *x, *y;
  flow *fx, *fy;
  size_t bytes;
} lists;

static ad_status check_all(lists *l, const char *what, int n, const ad_var v[], uint32_t index[],
                           bool floats) {
  for (int i = 0; i < n; i++) {
    if (is_literal(v[i])) return tape_fail(l->t, AD_ERROR_ARGUMENT, "%s: a number has no derivative", what);
    ad_tape *t = handle_check(v[i], what);
    if (!t) return AD_ERROR_HANDLE;
    if (t != l->t) return tape_fail(l->t, AD_ERROR_TAPES, "%s: variables of two tapes", what);
    index[i] = v[i].at.node.index;
    if (floats && !node_is_float(t, index[i]))
      return tape_fail(t, AD_ERROR_DTYPE, "%s: a %s variable has no derivative", what,
                       ad_dtype_name(node_type(t, index[i])->type.dtype));
  }
  return AD_OK;
}

static void close_lists(lists *l) { memory_release(&l->t->allocator, l->fx, l->bytes); }

static ad_status open_lists(lists *l, const char *what, int n, const ad_var x[], int m, const ad_var y[]) {
  *l = (lists){ .t = ad_tape_of(m, y) };
  if (!l->t) l->t = ad_tape_of(n, x);
  if (!l->t || n < 0 || m < 0) return AD_ERROR_ARGUMENT;
  size_t count = (size_t)n + (size_t)m;
  l->bytes = count*(sizeof *l->fx + sizeof *l->x) + 1;
  l->fx = memory_get(&l->t->allocator, l->bytes);
  if (!l->fx) return tape_fail(l->t, AD_ERROR_MEMORY, "out of memory");
  l->fy = l->fx + n;
  l->x = (uint32_t *)(l->fx + count);
  l->y = l->x + n;
  ad_status status = tape_settle(l->t);
  if (status == AD_OK) status = check_all(l, what, n, x, l->x, true);
  if (status == AD_OK) status = check_all(l, what, m, y, l->y, true);
  if (status != AD_OK) close_lists(l);
  return status;
}

/* A tangent or cotangent given by the caller: of the shape of node i, in its dtype. NULL list or "none"
 * entry: see default_one. */
static ad_status take_seed(lists *l, const char *what, const ad_var *given, uint32_t i, bool default_one,
                           flow *out) {
  ad_type type = node_type(l->t, i)->type;
  *out = flow_none();
  if (!given || ad_is_none(*given)) {
    if (default_one) *out = flow_of(ad_ones(l->t, type));
    return AD_OK;
  }
  ad_var v = *given;
  if (is_literal(v)) v = ad_full(l->t, type, literal_value(v));
  if (!handle_check(v, what) || v.tape != l->t)
    return tape_fail(l->t, AD_ERROR_TAPES, "%s: a seed that is not on the tape", what);
  ad_type seed = node_type(l->t, v.at.node.index)->type;
  seed.dtype = type.dtype;
  if (!ad_type_equal(seed, type)) {
    char a[192], b[192];
    return tape_fail(l->t, AD_ERROR_SHAPE, "%s: a seed of %s for a variable of %s", what,
                     ad_type_print(seed, a, sizeof a), ad_type_print(type, b, sizeof b));
  }
  *out = flow_of(ad_cast(v, type.dtype));
  return AD_OK;
}

static void fail_outputs(ad_tape *t, int n, ad_var out[]) {
  for (int i = 0; i < n; i++) out[i] = handle_invalid(t);
}

static ad_status give(lists *l, int n, const uint32_t node[], const flow f[], ad_var out[]) {
  for (int i = 0; i < n; i++) {
    ad_type type = node_type(l->t, node[i])->type;
    out[i] = flow_value(l->t, f[i], &type);
    if (!ad_is_valid(out[i])) return l->t->status == AD_OK ? AD_ERROR_MEMORY : l->t->status;
  }
  return AD_OK;
}

ad_status ad_vjp(int m, const ad_var y[], const ad_var cotangent[], int n, const ad_var x[], ad_var out[]) {
  lists l;
  ad_status status = open_lists(&l, "vjp", n, x, m, y);
  if (status != AD_OK) {
    fail_outputs(l.t, n, out);
    return status;
  }
  for (int j = 0; j < m && status == AD_OK; j++)
    status = take_seed(&l, "vjp", cotangent ? &cotangent[j] : NULL, l.y[j], true, &l.fy[j]);
  if (status == AD_OK) status = sweep_reverse(l.t, m, l.y, l.fy, n, l.x, l.fx);
  if (status == AD_OK) status = give(&l, n, l.x, l.fx, out);
  if (status != AD_OK) fail_outputs(l.t, n, out);
  close_lists(&l);
  return status;
}

ad_status ad_jvp(int n, const ad_var x[], const ad_var tangent[], int m, const ad_var y[], ad_var out[]) {
  lists l;
  ad_status status = open_lists(&l, "jvp", n, x, m, y);
  if (status != AD_OK) {
    fail_outputs(l.t, m, out);
    return status;
  }
  for (int i = 0; i < n && status == AD_OK; i++)
    status = take_seed(&l, "jvp", &tangent[i], l.x[i], false, &l.fx[i]);
  if (status == AD_OK) status = sweep_forward(l.t, n, l.x, l.fx, m, l.y, l.fy);
  if (status == AD_OK) status = give(&l, m, l.y, l.fy, out);
  if (status != AD_OK) fail_outputs(l.t, m, out);
  close_lists(&l);
  return status;
}

ad_status ad_grad(ad_var y, int n, const ad_var x[], ad_var dx[]) {
  ad_type type = ad_type_of(y);
  if (ad_is_valid(y) && !is_literal(y) && type.rank > 0) {
    fail_outputs(y.tape, n, dx);
    return tape_fail(y.tape, AD_ERROR_SHAPE, "grad: needs a scalar; ad_vjp takes arrays");
  }
  return ad_vjp(1, &y, NULL, n, x, dx);
}
