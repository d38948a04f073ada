/* sweep.c -- forward and reverse mode over the nodes between x and y, recorded.
 *
 * Only nodes on a path from some x to some y are touched. Both sweeps are loops over an index range; what
 * belongs to a node is kept in arrays over that range, made before and given back after.
 */
#include "derive/flow.h"
#include "derive/mask.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "tape/note.h"
#include "tape/tuple.h"

#include <string.h>

/* Handles without their tape: 8 bytes a node. */
typedef struct slot { uint32_t value, mask; } slot;
static const slot empty_slot = { NONE_INDEX, NONE_INDEX };

typedef struct sweep {
  ad_tape *t;
  uint32_t low, high;               /* nodes [low, high) */
  slot *slot;
  unsigned char *on_path;           /* see below */
  unsigned how;                     /* of the whole, see flow.h */
  bool arrays;                      /* there are some on the path */
  bool *wanted;                     /* one node's operands */
  flow *flow;
  size_t operands;                  /* room in wanted and flow */
  /* of operations with several results: the flows of all of them, from where the operation's slot says */
  flow *result;
  size_t results, result_capacity;
  char label[NOTE_TEXT];            /* of the tape before the sweep: what is recorded goes under operands' */
} sweep;

/* Depends on an x; some y depends on it; is an x (its tangent is given); above
 * them, FLOW_MASK and FLOW_POLE of its tangent or adjoint; its flow is 0 outside its mask. */
enum { FROM_X = 1, TO_Y = 2, IS_X = 4, ASKED_SHIFT = 3, ZEROS = 32 };

static ad_var unpack(ad_tape *t, uint32_t i) {
  if (i == NONE_INDEX) return ad_none();
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

static flow get(const sweep *s, uint32_t i) {
  const slot *e = &s->slot[i - s->low];
  const bool zeros = s->on_path[i - s->low] & ZEROS;
  return (flow){ unpack(s->t, e->value), unpack(s->t, e->mask), zeros };
}

static void put(sweep *s, uint32_t i, flow f) {
  unsigned char *flags = &s->on_path[i - s->low];
  s->slot[i - s->low] = (slot){ f.value.at.node.index, f.mask.at.node.index };
  *flags = (unsigned char)((*flags & ~ZEROS) | (f.zeros ? ZEROS : 0));
}

static bool inside(const sweep *s, uint32_t i) { return i >= s->low && i < s->high; }

static void close_sweep(sweep *s) {
  const ad_allocator *a = &s->t->allocator;
  size_t n = s->high - s->low;
  memory_release(a, s->slot, n*sizeof *s->slot);
  memory_release(a, s->on_path, n);
  memory_release(a, s->wanted, s->operands*sizeof *s->wanted);
  memory_release(a, s->flow, s->operands*sizeof *s->flow);
  memory_release(a, s->result, s->result_capacity*sizeof *s->result);
  if (s->t->notes) tape_set_note(s->t, s->label);
}

/* The range from the first x to the last y; empty when every y comes before every x. */
static ad_status open_sweep(sweep *s, ad_tape *t, int n, const uint32_t x[], int m, const uint32_t y[],
                            unsigned how) {
  *s = (sweep){ .t = t, .low = UINT32_MAX, .how = how };
  tape_save_note(t, s->label);
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
    s->arrays |= node_type_number(&t->node[i]) != 0 && node_type(t, i)->type.rank > 0;
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

/* --- masks that are asked for: mask.h -------------------------------------------------------------
 *
 * Operations with several results settle what they take, and ask for none. */

static bool carries(const sweep *s, uint32_t i, int k) {
  int n;
  const uint32_t x = node_operands(s->t, i, &n)[k];
  return on_path(s, x) && flow_passes(s->t, i, k);
}

static unsigned how_for(const sweep *s, uint32_t i) {
  return (s->how & FLOW_IN_RULE) | (s->on_path[i - s->low] >> ASKED_SHIFT & FLOW_ASKED);
}

static void ask(sweep *s, uint32_t i, unsigned how) {
  s->on_path[i - s->low] |= (unsigned char)((how & FLOW_ASKED) << ASKED_SHIFT);
}

static void ask_all(sweep *s, int n, const uint32_t node[]) {
  for (int i = 0; i < n; i++)
    if (inside(s, node[i])) ask(s, node[i], s->how);
}

/* Looking at rules may fail, which leaves the error on the tape. */
static ad_status failed_since(const ad_tape *t, ad_status before) {
  return before == AD_OK ? t->status : AD_OK;
}

/* An adjoint goes on to those of the operands. */
static ad_status find_asked_reverse(sweep *s, int n, const uint32_t x[]) {
  ad_tape *t = s->t;
  const ad_status before = t->status;
  int count;
  ask_all(s, n, x);
  if (!s->arrays && !(s->how & FLOW_ASKED)) return AD_OK;
  for (uint32_t i = s->low; i < s->high; i++) {
    if (!on_path(s, i) || node_is_leaf(t, i) || node_tuple(t, i)) continue;
    node_operands(t, i, &count);
    for (int k = 0; k < count; k++)
      if (carries(s, i, k)) ask(s, i, mask_counts(t, i, k) | how_for(s, node_operands(t, i, &count)[k]));
  }
  return failed_since(t, before);
}

/* A tangent goes on to those of the users. */
static ad_status find_asked_forward(sweep *s, int m, const uint32_t y[]) {
  ad_tape *t = s->t;
  const ad_status before = t->status;
  int count;
  ask_all(s, m, y);
  if (!s->arrays && !(s->how & FLOW_ASKED)) return AD_OK;
  for (uint32_t i = s->high; i-- > s->low;) {
    if (!on_path(s, i) || node_is_leaf(t, i) || node_tuple(t, i)) continue;
    node_operands(t, i, &count);
    for (int k = 0; k < count; k++) {
      if (!carries(s, i, k)) continue;
      const unsigned how = how_for(s, i) | mask_counts(t, i, k);
      ask(s, node_operands(t, i, &count)[k], how);
    }
  }
  return failed_since(t, before);
}

/* --- several results ------------------------------------------------------------------------------ */

/* The flows of the results of node i, made now if there are none yet; NULL without memory. */
static flow *results_of(sweep *s, uint32_t i) {
  slot *e = &s->slot[i - s->low];
  if (e->value != NONE_INDEX) return s->result + e->value;
  const size_t n = (size_t)tuple_results(s->t, i), need = s->results + n;
  if (need >= NONE_INDEX
      || !memory_reserve(&s->t->allocator, &s->result, &s->result_capacity, need + 1, sizeof *s->result)) {
    tape_fail(s->t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  e->value = (uint32_t)s->results;
  for (size_t k = 0; k < n; k++) s->result[s->results++] = flow_none();
  return s->result + e->value;
}

static ad_status failed(const ad_tape *t) { return t->status == AD_OK ? AD_ERROR_MEMORY : t->status; }

static uint32_t owner_of(const ad_tape *t, uint32_t i) {
  int n;
  return node_operands(t, i, &n)[0];
}

/* A result's cotangent waits for the others of its operation. */
static ad_status collect_result(sweep *s, uint32_t i) {
  const uint32_t owner = owner_of(s->t, i);
  if (!inside(s, owner)) return AD_OK;
  if (!results_of(s, owner)) return AD_ERROR_MEMORY;
  const size_t at = s->slot[owner - s->low].value + (size_t)result_number(s->t, i);
  const flow sum = flow_add(s->t, s->result[at], get(s, i), how_for(s, i));
  s->result[at] = sum;
  return !flow_connected(sum) || ad_is_valid(sum.value) ? AD_OK : failed(s->t);
}

/* --- reverse -------------------------------------------------------------------------------------- */

static ad_status reverse_node(sweep *s, uint32_t i) {
  ad_tape *t = s->t;
  if (node_is_result(t, i)) return collect_result(s, i);
  tape_copy_note(t, t, i);
  flow zbar = node_tuple(t, i) ? flow_none() : get(s, i);
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  bool any = false;
  for (int k = 0; k < n; k++) any |= s->wanted[k] = on_path(s, operand[k]) && flow_passes(t, i, k);
  if (!any) return AD_OK;
  unsigned how = 0;
  for (int k = 0; k < n; k++)
    if (s->wanted[k]) how |= how_for(s, operand[k]);
  const tuple_rules *several = node_tuple(t, i);
  for (int k = 0; k < n && several; k++) s->flow[k] = flow_none();
  if (!several) flow_reverse(t, i, zbar, s->wanted, s->flow, how);
  else if (!several->reverse(t, i, results_of(s, i), s->wanted, s->flow)) return failed(t);
  for (int k = 0; k < n; k++) {
    if (!s->wanted[k]) continue;
    uint32_t x = node_operands(t, i, &n)[k];
    flow sum = flow_add(t, get(s, x), s->flow[k], how_for(s, x));
    if (flow_connected(sum) && !ad_is_valid(sum.value))
      return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
    put(s, x, sum);
  }
  return AD_OK;
}

static ad_status run_reverse(sweep *s, int m, const uint32_t y[], const flow ybar[]) {
  for (int j = 0; j < m; j++)
    if (on_path(s, y[j]) && flow_connected(ybar[j]))
      put(s, y[j], flow_add(s->t, get(s, y[j]), ybar[j], how_for(s, y[j])));
  for (uint32_t i = s->high; i-- > s->low;) {
    if (!on_path(s, i) || node_is_leaf(s->t, i) || s->slot[i - s->low].value == NONE_INDEX) continue;
    ad_status status = reverse_node(s, i);
    if (status != AD_OK) return status;
  }
  return AD_OK;
}

ad_status sweep_reverse(ad_tape *t, int m, const uint32_t y[], const flow ybar[], int n, const uint32_t x[],
                        flow xbar[], unsigned how) {
  sweep s;
  ad_status status = open_sweep(&s, t, n, x, m, y, how);
  if (status != AD_OK) return status;
  status = find_paths(&s, n, x, m, y);
  if (status == AD_OK) status = find_asked_reverse(&s, n, x);
  if (status == AD_OK) status = run_reverse(&s, m, y, ybar);
  for (int i = 0; i < n && status == AD_OK; i++) xbar[i] = inside(&s, x[i]) ? get(&s, x[i]) : flow_none();
  close_sweep(&s);
  return status;
}

/* --- forward -------------------------------------------------------------------------------------- */

static ad_status forward_results(sweep *s, uint32_t i) {
  flow *z = results_of(s, i);
  if (!z) return AD_ERROR_MEMORY;
  return node_tuple(s->t, i)->forward(s->t, i, s->flow, z) ? AD_OK : failed(s->t);
}

static ad_status forward_node(sweep *s, uint32_t i) {
  ad_tape *t = s->t;
  int n;
  if (node_is_result(t, i)) {
    const uint32_t owner = owner_of(t, i);
    if (inside(s, owner) && s->slot[owner - s->low].value != NONE_INDEX)
      put(s, i, s->result[s->slot[owner - s->low].value + (size_t)result_number(t, i)]);
    return AD_OK;
  }
  bool any = false;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) {
    s->flow[k] = on_path(s, operand[k]) ? get(s, operand[k]) : flow_none();
    any |= flow_connected(s->flow[k]) && flow_passes(t, i, k);
  }
  if (!any) return AD_OK;
  tape_copy_note(t, t, i);
  if (node_tuple(t, i)) return forward_results(s, i);
  flow zdot = flow_forward(t, i, s->flow, how_for(s, i));
  if (flow_connected(zdot) && !ad_is_valid(zdot.value))
    return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
  put(s, i, zdot);
  return AD_OK;
}

ad_status sweep_forward(ad_tape *t, int n, const uint32_t x[], const flow xdot[], int m, const uint32_t y[],
                        flow ydot[], unsigned how) {
  sweep s;
  ad_status status = open_sweep(&s, t, n, x, m, y, how);
  if (status != AD_OK) return status;
  status = find_paths(&s, n, x, m, y);
  if (status == AD_OK) status = find_asked_forward(&s, m, y);
  for (int i = 0; i < n && status == AD_OK; i++)
    if (inside(&s, x[i])) put(&s, x[i], flow_add(t, get(&s, x[i]), xdot[i], how_for(&s, x[i])));
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
    index[i] = t == l->t ? v[i].at.node.index : tape_lift(l->t, v[i], what);
    if (index[i] == INVALID_INDEX) return failed(l->t);
    t = l->t;
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
  if (status == AD_OK) status = sweep_reverse(l.t, m, l.y, l.fy, n, l.x, l.fx, 0);
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
  if (status == AD_OK) status = sweep_forward(l.t, n, l.x, l.fx, m, l.y, l.fy, 0);
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
