/* taylor.c -- Taylor mode: coefficients of y(t) from those of x(t), node by node up the tape, recorded.
 *
 * A node is visited once, with all orders: coefficient k needs coefficients up to k of its operands, which
 * come earlier. Only nodes on a path from some x to some y are touched, and a structural zero is not
 * recorded.
 */
#include "derive/taylor_series.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "tape/tuple.h"

static const taylor_slot empty_slot = { NONE_INDEX, NONE_INDEX };

/* --- paths ---------------------------------------------------------------------------------------------- */

static void mark_from_x(taylor_path *p, const ad_tape *t) {
  for (uint32_t i = p->low; i < p->high; i++) {
    int n;
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++)
      if (x[k] >= p->low && (p->mark[x[k] - p->low] & PATH_FROM_X) && flow_passes(t, i, k))
        p->mark[i - p->low] |= PATH_FROM_X;
  }
}

static bool on_path(unsigned char mark) { return (mark & PATH_FROM_X) && (mark & PATH_TO_Y); }

static void mark_to_y(taylor_path *p, const ad_tape *t) {
  for (uint32_t i = p->high; i-- > p->low;) {
    int n;
    if (!on_path(p->mark[i - p->low]) || node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++)
      if (x[k] >= p->low && flow_passes(t, i, k)) p->mark[x[k] - p->low] |= PATH_TO_Y;
  }
}

static bool inside(const taylor_path *p, uint32_t i) { return i >= p->low && i < p->high; }

/* Every node of the path gets a place for its coefficients. */
static ad_status make_places(taylor *e) {
  taylor_path *p = &e->path;
  const size_t nodes = p->high - p->low;
  for (size_t i = 0; i < nodes; i++)
    p->place[i] = on_path(p->mark[i]) ? (uint32_t)p->places++ : NONE_INDEX;
  const size_t slots = p->places*(size_t)e->order;
  if (slots == 0) return AD_OK;
  if (slots > SIZE_MAX/sizeof *p->slot || !(p->slot = memory_get(&e->t->allocator, slots*sizeof *p->slot)))
    return tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
  for (size_t i = 0; i < slots; i++) p->slot[i] = empty_slot;
  return AD_OK;
}

static ad_status find_path(taylor *e, int n, const uint32_t x[], int m, const uint32_t y[]) {
  taylor_path *p = &e->path;
  p->low = UINT32_MAX;
  for (int i = 0; i < n; i++) p->low = x[i] < p->low ? x[i] : p->low;
  for (int j = 0; j < m; j++) p->high = y[j] + 1 > p->high ? y[j] + 1 : p->high;
  if (p->high <= p->low) p->high = p->low = 0;
  const size_t nodes = p->high - p->low;
  if (nodes == 0) return AD_OK;
  p->mark = memory_get_zeroed(&e->t->allocator, nodes, 1);
  p->place = memory_get(&e->t->allocator, nodes*sizeof *p->place);
  if (!p->mark || !p->place) return tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
  for (int i = 0; i < n; i++)
    if (inside(p, x[i])) p->mark[x[i] - p->low] = PATH_FROM_X | PATH_IS_X;
  mark_from_x(p, e->t);
  for (int j = 0; j < m; j++)
    if (inside(p, y[j])) p->mark[y[j] - p->low] |= PATH_TO_Y;
  mark_to_y(p, e->t);
  return make_places(e);
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

static ad_status broken(const ad_tape *t) { return t->status == AD_OK ? AD_ERROR_MEMORY : t->status; }

/* Coefficient k of node i, in the node's type. */
static ad_status store(taylor *e, uint32_t i, int k, flow f) {
  if (!flow_connected(f)) return AD_OK;
  const ad_type type = node_type(e->t, i)->type;
  const ad_var mask = f.mask;
  f.mask = ad_none();
  ad_var v = coefficient_value(e->t, f, &type);
  if (!ad_is_valid(v) || (!ad_is_none(mask) && !ad_is_valid(mask))) return broken(e->t);
  taylor_slots(e, i)[k - 1] = (taylor_slot){ v.at.node.index, mask.at.node.index };
  return AD_OK;
}

/* A structured primitive that is linear in all operands together, however many: on each coefficient. */
static ad_status visit_linear(taylor *e, uint32_t i) {
  ad_tape *t = e->t;
  ad_status status = AD_OK;
  int n;
  node_operands(t, i, &n);
  const size_t bytes = (size_t)n*sizeof(flow);
  flow *x = memory_get(&t->allocator, bytes);
  if (!x) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 1; k <= e->order && status == AD_OK; k++) {
    bool any = false;
    const uint32_t *operand = node_operands(t, i, &n);
    for (int m = 0; m < n; m++) {
      x[m] = flow_passes(t, i, m) ? taylor_stored(e, operand[m], k) : flow_none();
      any |= flow_connected(x[m]);
    }
    if (any) status = store(e, i, k, flow_forward(t, i, x, FLOW_ASKED));
  }
  memory_release(&t->allocator, x, bytes);
  return status;
}

static ad_status visit_any(taylor *e, uint32_t i) {
  ad_tape *t = e->t;
  e->count = e->listed = e->knowns = 0;
  int n;
  node_operands(t, i, &n);
  int few[8], *x = n > 8 ? memory_get(&t->allocator, (size_t)n*sizeof *x) : few;
  if (!x) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int m = 0; m < n; m++) x[m] = series_of_tape(e, node_operands(t, i, &n)[m]);
  const int id = series_node(e, i, n, x);
  if (n > 8) memory_release(&t->allocator, x, (size_t)n*sizeof *x);
  ad_status status = id < 0 ? broken(t) : AD_OK;
  for (int k = 1; k <= e->order && status == AD_OK; k++)
    status = series_compute(e, id, k) ? store(e, i, k, series_at(e, id, k)) : broken(t);
  return status;
}

/* The coefficients of all results, until the results are visited. */
static ad_var *take_results(taylor *e, uint32_t i) {
  const size_t n = (size_t)tuple_results(e->t, i)*(size_t)e->order, need = e->severals + n;
  if (need >= NONE_INDEX
      || !memory_reserve(&e->t->allocator, &e->several, &e->several_capacity, need + 1, sizeof *e->several)) {
    tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  taylor_slots(e, i)[0].value = (uint32_t)e->severals;
  for (size_t k = 0; k < n; k++) e->several[e->severals++] = ad_none();
  return e->several + need - n;
}

static ad_status visit_several(taylor *e, uint32_t i) {
  ad_tape *t = e->t;
  int n;
  node_operands(t, i, &n);
  const size_t order = (size_t)e->order, bytes = (size_t)n*order*sizeof(ad_var) + 1;
  ad_var *x = memory_get(&t->allocator, bytes), *z = x ? take_results(e, i) : NULL;
  ad_status status = x && z ? AD_OK : tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int m = 0; m < n && status == AD_OK; m++)
    for (size_t k = 0; k < order; k++) {
      const uint32_t operand = node_operands(t, i, &n)[m];
      const flow f = flow_passes(t, i, m) ? taylor_stored(e, operand, (int)k + 1) : flow_none();
      const ad_type type = node_type(t, operand)->type;
      x[(size_t)m*order + k] = flow_connected(f) ? coefficient_value(t, f, &type) : ad_none();
    }
  if (status == AD_OK && !node_tuple(t, i)->taylor(t, i, e->order, x, z)) status = broken(t);
  memory_release(&t->allocator, x, bytes);
  return status;
}

static ad_status visit_result(taylor *e, uint32_t i) {
  int n;
  const uint32_t owner = node_operands(e->t, i, &n)[0];
  const size_t from = taylor_slots(e, owner)[0].value + (size_t)result_number(e->t, i)*(size_t)e->order;
  ad_status status = AD_OK;
  for (int k = 1; k <= e->order && status == AD_OK; k++) {
    const ad_var v = e->several[from + (size_t)k - 1];
    status = store(e, i, k, ad_is_none(v) ? flow_none() : flow_of(v));
  }
  return status;
}

static bool has_coefficients(const taylor *e, uint32_t i) {
  int n;
  const uint32_t *x = node_operands(e->t, i, &n);
  for (int m = 0; m < n; m++) {
    const taylor_slot *slot = flow_passes(e->t, i, m) ? taylor_slots(e, x[m]) : NULL;
    for (int k = 0; slot && k < e->order; k++)
      if (slot[k].value != NONE_INDEX) return true;
  }
  return false;
}

static ad_status sweep(taylor *e) {
  ad_status status = AD_OK;
  const taylor_path *p = &e->path;
  for (uint32_t i = p->low; i < p->high && status == AD_OK && e->order > 0; i++) {
    const unsigned char mark = p->mark[i - p->low];
    if (!on_path(mark) || (mark & PATH_IS_X) || !has_coefficients(e, i)) continue;
    e->current = i;
    if (node_tuple(e->t, i) || node_is_result(e->t, i)) {
      status = node_tuple(e->t, i) ? visit_several(e, i) : visit_result(e, i);
      continue;
    }
    const ad_primitive *q = node_primitive(e->t, i);
    const bool linear = !q->row && q->type && (q->traits & AD_TRAIT_LINEAR);
    status = linear ? visit_linear(e, i) : visit_any(e, i);
  }
  return status;
}

/* --- the call ------------------------------------------------------------------------------------------- */

static ad_status take_nodes(ad_tape *t, int n, const ad_var v[], uint32_t index[]) {
  for (int i = 0; i < n; i++) {
    if (is_literal(v[i])) return tape_fail(t, AD_ERROR_ARGUMENT, "taylor: a number has no derivative");
    ad_tape *its = handle_check(v[i], "taylor");
    if (!its) return AD_ERROR_HANDLE;
    if (its != t) return tape_fail(t, AD_ERROR_TAPES, "taylor: variables of two tapes");
    index[i] = v[i].at.node.index;
    if (!node_is_float(t, index[i]))
      return tape_fail(t, AD_ERROR_DTYPE, "taylor: a %s variable has no derivative",
                       ad_dtype_name(node_type(t, index[i])->type.dtype));
  }
  return AD_OK;
}

/* Coefficient k of node i, given by the caller: of the shape of the node. A variable that is listed twice
 * gets both. */
static ad_status take_coefficient(taylor *e, uint32_t i, int k, ad_var given) {
  ad_tape *t = e->t;
  if (ad_is_none(given)) return AD_OK;
  const ad_type type = node_type(t, i)->type;
  if (is_literal(given)) given = ad_full(t, type, literal_value(given));
  if (!handle_check(given, "taylor")) return AD_ERROR_HANDLE;
  if (given.tape != t) return tape_fail(t, AD_ERROR_TAPES, "taylor: a coefficient from another tape");
  ad_type its = node_type(t, given.at.node.index)->type;
  its.dtype = type.dtype;
  if (!ad_type_equal(its, type)) {
    char a[192], b[192];
    return tape_fail(t, AD_ERROR_SHAPE, "taylor: a coefficient of %s for a variable of %s",
                     ad_type_print(its, a, sizeof a), ad_type_print(type, b, sizeof b));
  }
  if (!taylor_slots(e, i)) return AD_OK;
  flow f = flow_of(ad_cast(given, type.dtype));
  return store(e, i, k, flow_plus(taylor_stored(e, i, k), f));
}

static ad_status give(taylor *e, uint32_t y, ad_var out[]) {
  out[0] = handle(e->t, y);
  for (int k = 1; k <= e->order; k++) {
    const ad_type type = node_type(e->t, y)->type;
    out[k] = coefficient_value(e->t, taylor_stored(e, y, k), &type);
    if (!ad_is_valid(out[k])) return broken(e->t);
  }
  return AD_OK;
}

static void close_taylor(taylor *e) {
  const ad_allocator *a = &e->t->allocator;
  taylor_path *p = &e->path;
  const size_t nodes = p->high - p->low;
  memory_release(a, p->mark, nodes);
  memory_release(a, p->place, nodes*sizeof *p->place);
  memory_release(a, p->slot, p->places*(size_t)e->order*sizeof *p->slot);
  memory_release(a, e->series, e->capacity*sizeof *e->series);
  memory_release(a, e->coefficient, e->coefficient_capacity*sizeof *e->coefficient);
  memory_release(a, e->list, e->list_capacity*sizeof *e->list);
  memory_release(a, e->known, e->known_capacity*sizeof *e->known);
  memory_release(a, e->stack, e->stack_capacity*sizeof *e->stack);
  memory_release(a, e->several, e->several_capacity*sizeof *e->several);
  memory_release(a, e->work, e->work_capacity*sizeof *e->work);
}

static ad_status propagate(taylor *e, int n, const uint32_t x[], const ad_var xc[], int m, const uint32_t y[],
                           ad_var yc[]) {
  ad_status status = find_path(e, n, x, m, y);
  for (int i = 0; i < n; i++)
    for (int k = 1; k <= e->order && status == AD_OK; k++)
      status = take_coefficient(e, x[i], k, xc[(size_t)i*(size_t)e->order + (size_t)k - 1]);
  if (status == AD_OK) status = sweep(e);
  const size_t terms = (size_t)e->order + 1;
  for (int j = 0; j < m && status == AD_OK; j++) status = give(e, y[j], &yc[(size_t)j*terms]);
  close_taylor(e);
  return status;
}

ad_status ad_taylor(int order, int n, const ad_var x[], const ad_var xc[], int m, const ad_var y[],
                    ad_var yc[]) {
  ad_tape *t = m > 0 ? ad_tape_of(m, y) : NULL;
  if (!t && n > 0) t = ad_tape_of(n, x);
  if (!t || n < 0 || m < 0) return tape_fail(t, AD_ERROR_ARGUMENT, "taylor: no variables");
  taylor e = { .t = t, .order = order };
  if (order < 0 || order == INT32_MAX) return tape_fail(t, AD_ERROR_ARGUMENT, "taylor: order %d", order);
  ad_status status = tape_settle(t);
  const size_t bytes = ((size_t)n + (size_t)m + 1)*sizeof(uint32_t);
  uint32_t *index = status == AD_OK ? memory_get(&t->allocator, bytes) : NULL;
  if (status == AD_OK && !index) status = tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (status == AD_OK) status = take_nodes(t, n, x, index);
  if (status == AD_OK) status = take_nodes(t, m, y, index + n);
  if (status == AD_OK) status = propagate(&e, n, index, xc, m, index + n, yc);
  const size_t outputs = (size_t)m*((size_t)order + 1);
  for (size_t j = 0; status != AD_OK && j < outputs; j++) yc[j] = handle_invalid(t);
  memory_release(&t->allocator, index, bytes);
  return status;
}
