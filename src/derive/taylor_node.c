/* taylor_node.c -- nodes as series: elementwise ones by their rules, structured ones by what they are linear
 * in.
 *
 * A primitive that is linear acts on each coefficient; one that is linear in each of several operands makes
 * Cauchy products. For any other the derivative is recorded once, on a stand-in for the tangent. What was
 * recorded is an expression of the operands, the result and the stand-in: with x' for the stand-in its series
 * is z', whose coefficient k - 1 is k z_k.
 */
#include "derive/taylor_series.h"
#include "tape/tuple.h"
#include "adit/arrays.h"

#include <stdlib.h>

enum {
  FEW = 16,
  PRODUCT_OPERANDS = 32             /* linear_in tells of so many: only those may move in a product */
};

/* n flows or variables: on the stack where they are few. */
typedef struct flow_room { flow few[FEW], *flow; size_t bytes; } flow_room;

static bool make_room(taylor *e, flow_room *r, int n) {
  r->bytes = n > FEW ? (size_t)n*sizeof *r->flow : 0;
  r->flow = r->bytes ? memory_get(&e->t->allocator, r->bytes) : r->few;
  if (!r->flow) tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
  return r->flow != NULL;
}

static void leave_room(taylor *e, flow_room *r) {
  if (r->bytes) memory_release(&e->t->allocator, r->flow, r->bytes);
}

static bool is_elementwise(const ad_primitive *p) { return p->row || !p->type; }

static int operand_count(const ad_tape *t, uint32_t i) {
  int n;
  node_operands(t, i, &n);
  return n;
}

static uint32_t operand_of(const ad_tape *t, uint32_t i, int k) {
  int n;
  return node_operands(t, i, &n)[k];
}

/* --- making --------------------------------------------------------------------------------------------- */

/* Operand k of node i, series x, moves the node. */
static bool moves_node(const taylor *e, uint32_t i, int k, int x) {
  return e->series[x].moving && flow_passes(e->t, i, k);
}

/* Its value is not that of the tape, at order 0 or beyond. */
static bool differs(const taylor *e, uint32_t i, int k, int x) {
  return (e->series[x].moving || e->series[x].sloped) && flow_passes(e->t, i, k);
}

static series_kind structured_kind(const taylor *e, uint32_t i, int n, const int x[]) {
  const ad_primitive *p = node_primitive(e->t, i);
  if (p->traits & AD_TRAIT_LINEAR) return SERIES_LINEAR;
  int differing = 0;
  for (int k = 0; k < n; k++) {
    if (!differs(e, i, k, x[k])) continue;
    if (k >= 32 || !(p->linear_in >> k & 1)) return SERIES_NODE;
    differing++;
  }
  return differing > 1 ? SERIES_PRODUCT : SERIES_LINEAR;
}

static int make_structured(taylor *e, uint32_t i, int n, const int x[]) {
  const size_t listed = e->listed + (size_t)n;
  if (!memory_reserve(&e->t->allocator, &e->list, &e->list_capacity, listed, sizeof *e->list)) {
    tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
    return -1;
  }
  const series_kind kind = structured_kind(e, i, n, x);
  series z = { .kind = kind, .node = i, .x = { (int)e->listed, -1, -1 }, .operands = n };
  for (int k = 0; k < n; k++) {
    e->list[e->listed++] = x[k];
    z.moving |= moves_node(e, i, k, x[k]);
    z.sloped |= e->series[x[k]].sloped;
  }
  return series_make(e, z);
}

int series_node(taylor *e, uint32_t i, int n, const int x[]) {
  ad_tape *t = e->t;
  int id;
  for (int k = 0; k < n; k++)
    if (x[k] < 0) return -1;
  if (is_elementwise(node_primitive(t, i))) {
    int operand[3] = { -1, -1, -1 };
    for (int k = 0; k < n && k < 3; k++) operand[k] = x[k];
    id = series_elementwise(e, node_primitive_number(&t->node[i]), i, n, operand, node_row_attribute(t, i));
  } else id = make_structured(e, i, n, x);
  if (id < 0 || !series_know(e, i, id)) return -1;
  series *s = &e->series[id];
  if (s->done == 0 && !s->sloped) {
    e->coefficient[(size_t)id*((size_t)e->order + 1)] = flow_of(handle(t, i));
    s->done = 1;
  }
  return id;
}

/* --- what a derivative has recorded --------------------------------------------------------------------- */

/* True when node i may depend on what moves and has no series yet. On tapes that find equal nodes, a
 * derivative may use nodes from long ago, and even nodes of the path that have not had their turn. */
static bool is_open(const taylor *e, uint32_t i) {
  const taylor_path *p = &e->path;
  if (i < p->low || node_is_leaf(e->t, i) || series_known(e, i) >= 0) return false;
  if (i >= p->high) return true;
  if (!(p->mark[i - p->low] & PATH_FROM_X)) return false;
  return p->place[i - p->low] == NONE_INDEX || i >= e->current;
}

static bool enlist(taylor *e, uint32_t i) {
  for (size_t w = 0; w < e->works; w++)
    if (e->work[w] == i) return true;
  if (!memory_reserve(&e->t->allocator, &e->work, &e->work_capacity, e->works + 1, sizeof *e->work)) {
    tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  e->work[e->works++] = i;
  return true;
}

static int by_index(const void *p, const void *q) {
  const uint32_t a = *(const uint32_t *)p, b = *(const uint32_t *)q;
  return a < b ? -1 : a > b;
}

/* The open nodes that root is made of, operands first. */
static bool enlist_open(taylor *e, uint32_t root) {
  e->works = 0;
  if (!is_open(e, root)) return true;
  if (!enlist(e, root)) return false;
  for (size_t w = 0; w < e->works; w++)
    for (int k = 0; k < operand_count(e->t, e->work[w]); k++) {
      uint32_t x = operand_of(e->t, e->work[w], k);
      if (is_open(e, x) && !enlist(e, x)) return false;
    }
  qsort(e->work, e->works, sizeof *e->work, by_index);
  return true;
}

/* Node i on the series of its operands; constants get none until somebody asks. */
static bool build(taylor *e, uint32_t i) {
  if (node_tuple(e->t, i) || node_is_result(e->t, i)) {
    tape_fail(e->t, AD_ERROR_UNSUPPORTED, "taylor: a rule that records a %s",
              node_is_result(e->t, i) ? "call" : node_primitive(e->t, i)->name);
    return false;
  }
  const int n = operand_count(e->t, i);
  const size_t bytes = (size_t)n*sizeof(int);
  int few[FEW], *x = n > FEW ? memory_get(&e->t->allocator, bytes) : few;
  bool moving = false, good = x != NULL;
  if (!good) tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < n && good; k++) {
    good = (x[k] = series_of_tape(e, operand_of(e->t, i, k))) >= 0;
    moving |= good && (e->series[x[k]].moving || e->series[x[k]].sloped);
  }
  if (good && moving) good = series_node(e, i, n, x) >= 0;
  if (n > FEW) memory_release(&e->t->allocator, x, bytes);
  return good;
}

int series_recorded(taylor *e, uint32_t root) {
  if (!enlist_open(e, root)) return -1;
  for (size_t w = 0; w < e->works; w++)
    if (!build(e, e->work[w])) return -1;
  return series_of_tape(e, root);
}

/* A stand-in for the tangent of operand k of series id; its series is the slope of the operand. */
static ad_var stand_in(taylor *e, int id, int k) {
  ad_tape *t = e->t;
  const ad_type *type = &node_type(t, operand_of(t, e->series[id].node, k))->type;
  uint32_t i = tape_leaf(t, PRIMITIVE_INPUT, type, NULL);
  int slope = i == INVALID_INDEX ? -1 : series_unary(e, SERIES_SLOPE, e->list[e->series[id].x[0] + k]);
  return slope < 0 || !series_know(e, i, slope) ? handle_invalid(t) : handle(t, i);
}

static bool record_derivative(taylor *e, int id, flow tangent[], flow *z) {
  const series s = e->series[id];
  for (int k = 0; k < s.operands; k++) {
    tangent[k] = flow_none();
    if (!moves_node(e, s.node, k, e->list[s.x[0] + k])) continue;
    tangent[k] = flow_of(stand_in(e, id, k));
    if (!ad_is_valid(tangent[k].value)) return false;
  }
  *z = flow_forward(e->t, s.node, tangent, FLOW_ASKED);
  return !flow_connected(*z) || ad_is_valid(z->value);
}

static bool make_slope(taylor *e, int id) {
  flow_room r;
  flow z;
  if (!make_room(e, &r, e->series[id].operands)) return false;
  const bool good = record_derivative(e, id, r.flow, &z);
  leave_room(e, &r);
  if (!good) return false;
  int slope = SERIES_ABSENT;
  if (flow_connected(z)) {
    slope = series_recorded(e, z.value.at.node.index);
    if (slope < 0) return false;
  }
  e->series[id].slope = slope;
  e->series[id].guard = z.mask;
  return true;
}

/* --- coefficients --------------------------------------------------------------------------------------- */

bool series_node_ready(taylor *e, int id, int k) {
  if (e->series[id].kind == SERIES_NODE && k > 0) {
    if (e->series[id].slope == SERIES_UNMADE && !make_slope(e, id)) return false;
    return e->series[id].slope < 0 || series_have(e, e->series[id].slope, k - 1);
  }
  const series s = e->series[id];
  for (int m = 0; m < s.operands; m++)
    if (!series_have(e, e->list[s.x[0] + m], k) || !series_have(e, e->list[s.x[0] + m], 0)) return false;
  return true;
}

/* Operand m at order k as the node wants it. */
static ad_var operand_at(taylor *e, const series *s, int m, int k) {
  const uint32_t x = operand_of(e->t, s->node, m);
  if (!node_is_float(e->t, x)) return handle(e->t, x);
  const ad_type type = node_type(e->t, x)->type;
  return coefficient_value(e->t, series_at(e, e->list[s->x[0] + m], k), &type);
}

/* The node again, operand m at order[m]. */
static ad_var record_at(taylor *e, const series *s, const int order[]) {
  ad_tape *t = e->t;
  const size_t bytes = (size_t)s->operands*sizeof(ad_var);
  ad_var few[FEW], *x = s->operands > FEW ? memory_get(&t->allocator, bytes) : few;
  if (!x) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int m = 0; m < s->operands; m++) x[m] = operand_at(e, s, m, m < PRODUCT_OPERANDS ? order[m] : 0);
  size_t size;
  const void *attribute = node_attribute(t, s->node, &size);
  ad_var z = ad_record(t, node_primitive(t, s->node), s->operands, x, attribute, size);
  if (x != few) memory_release(&t->allocator, x, bytes);
  return z;
}

/* Coefficient k of a node that is linear in those operands that move. At k = 0, of a part of a derivative,
 * the slopes among them count. */
static flow linear_at(taylor *e, const series *s, int k) {
  flow_room r;
  bool any = false;
  if (!make_room(e, &r, s->operands)) return flow_of(handle_invalid(e->t));
  for (int m = 0; m < s->operands; m++) {
    const int x = e->list[s->x[0] + m];
    const bool counts = k > 0 ? moves_node(e, s->node, m, x) : e->series[x].sloped;
    r.flow[m] = counts ? series_at(e, x, k) : flow_none();
    any |= flow_connected(r.flow[m]);
  }
  flow z = any ? flow_forward(e->t, s->node, r.flow, FLOW_ASKED) : flow_none();
  leave_room(e, &r);
  return z;
}

static bool moves_in_product(const taylor *e, const series *s, int m) {
  return m < s->operands && differs(e, s->node, m, e->list[s->x[0] + m]);
}

/* Moves on to the next orders of the same sum; false after the last. The first operand that moves takes what
 * is left. */
static bool next_orders(const taylor *e, const series *s, int order[]) {
  int first = -1;
  for (int m = 0; m < PRODUCT_OPERANDS; m++) {
    if (!moves_in_product(e, s, m)) continue;
    if (first < 0) {
      first = m;
      continue;
    }
    if (order[first] > 0) {
      order[m]++;
      order[first]--;
      return true;
    }
    order[first] = order[m];
    order[m] = 0;
  }
  return false;
}

static bool all_connected(const taylor *e, const series *s, const int order[]) {
  for (int m = 0; m < PRODUCT_OPERANDS; m++)
    if (moves_in_product(e, s, m) && !flow_connected(series_at(e, e->list[s->x[0] + m], order[m])))
      return false;
  return true;
}

/* What a term reaches: an element needs a connected one of each operand. */
static ad_var reached_at(taylor *e, const series *s, const int order[]) {
  ad_var reached = ad_none();
  for (int m = 0; m < PRODUCT_OPERANDS; m++) {
    if (!moves_in_product(e, s, m)) continue;
    const ad_var mask = series_at(e, e->list[s->x[0] + m], order[m]).mask;
    if (!ad_is_none(mask)) reached = mask_both(reached, mask_reached(e->t, s->node, m, mask));
  }
  return reached;
}

/* z_k = sum over i + j + .. = k of f(x_i, y_j, ..) */
static flow product_at(taylor *e, const series *s, int k) {
  int order[PRODUCT_OPERANDS] = { 0 }, first = 0;
  flow z = flow_none();
  while (!moves_in_product(e, s, first)) first++;
  order[first] = k;
  do {
    if (!all_connected(e, s, order)) continue;
    const ad_var value = record_at(e, s, order);
    z = flow_plus(z, (flow){ value, reached_at(e, s, order), false });
  } while (next_orders(e, s, order));
  return z;
}

/* Coefficient 0 of a part of a derivative. It is linear in the one slope that it is made of. Where it is made
 * of more, of a slope and a result that is one itself, it is the node on their values; nothing where one of
 * them is nothing. */
static flow node_on_slopes(taylor *e, const series *s) {
  const unsigned linear = node_primitive(e->t, s->node)->linear_in;
  const int none[PRODUCT_OPERANDS] = { 0 };
  int sloped = 0;
  bool connected = true;
  for (int m = 0; m < s->operands; m++) {
    const int x = e->list[s->x[0] + m];
    if (!e->series[x].sloped || !flow_passes(e->t, s->node, m)) continue;
    sloped++;
    if (m < PRODUCT_OPERANDS && linear >> m & 1) connected &= flow_connected(series_at(e, x, 0));
  }
  if (sloped == 1) return linear_at(e, s, 0);
  return connected ? flow_of(record_at(e, s, none)) : flow_none();
}

flow series_node_at(taylor *e, int id, int k) {
  const series s = e->series[id];
  if (s.kind == SERIES_LINEAR) return linear_at(e, &s, k);
  if (s.kind == SERIES_PRODUCT) return product_at(e, &s, k);
  if (k == 0) return node_on_slopes(e, &s);
  flow z = s.slope < 0 ? flow_none() : flow_over(series_at(e, s.slope, k - 1), k);
  if (flow_connected(z)) z.mask = mask_both(z.mask, s.guard);
  return z;
}
