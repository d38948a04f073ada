/* taylor_series.c -- the pool of series, their arithmetic, and the work list that computes coefficients in
 * order.
 *
 * Source of the recurrences: Griewank & Walther, Evaluating Derivatives, 2nd ed., section 13.2.
 */
#include "derive/taylor_series.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "primitives/construct.h"

#include <math.h>

/* --- flows ---------------------------------------------------------------------------------------------- */

static bool same_mask(ad_var m, ad_var n) { return m.at.node.index == n.at.node.index; }

static flow combined(flow a, flow b, bool minus) {
  const bool same = same_mask(a.mask, b.mask);
  ad_var va = same ? a.value : flow_settle(a), vb = same ? b.value : flow_settle(b);
  ad_var sum = minus ? ad_sub(va, vb) : ad_add(va, vb);
  return (flow){ sum, same ? a.mask : mask_either(a.mask, b.mask), false };
}

flow flow_plus(flow a, flow b) {
  if (!flow_connected(a)) return b;
  return flow_connected(b) ? combined(a, b, false) : a;
}

flow flow_minus(flow a, flow b) {
  if (!flow_connected(b)) return a;
  return flow_connected(a) ? combined(a, b, true) : (flow){ ad_neg(b.value), b.mask, false };
}

flow flow_times(flow a, flow b) {
  if (!flow_connected(a) || !flow_connected(b)) return flow_none();
  ad_var value = ad_mul(a.value, b.value);
  return (flow){ value, mask_both(a.mask, b.mask), false };
}

flow flow_scaled(flow a, double factor) {
  if (flow_connected(a) && factor != 1) a.value = ad_mul(factor, a.value);
  return a;
}

flow flow_over(flow a, double divisor) {
  if (flow_connected(a) && divisor != 1) a.value = ad_div(a.value, divisor);
  return a;
}

ad_var coefficient_value(ad_tape *t, flow f, const ad_type *type) {
  if (!flow_connected(f)) return ad_zeros(t, *type);
  if (is_literal(f.value)) f.value = ad_full(t, *type, literal_value(f.value));
  ad_var v = flow_value(t, f, type);
  return ad_is_valid(v) ? ad_cast(v, type->dtype) : v;
}

/* --- the pool ------------------------------------------------------------------------------------------- */

static int out_of_memory(taylor *e) {
  tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
  return -1;
}

static bool same_number(double a, double b) { return a == b ? signbit(a) == signbit(b) : a != a && b != b; }

/* Series of the same kind on the same operands are one: sin finds the cos whose rule needs it. */
static int find(const taylor *e, const series *s) {
  if (s->kind == SERIES_GIVEN || s->kind >= SERIES_LINEAR) return -1;
  for (size_t i = 0; i < e->count; i++) {
    const series *o = &e->series[i];
    if (o->kind != s->kind || o->primitive != s->primitive || !same_number(o->a, s->a)) continue;
    if (o->x[0] == s->x[0] && o->x[1] == s->x[1] && o->x[2] == s->x[2]) return (int)i;
  }
  return -1;
}

int series_make(taylor *e, series s) {
  int found = find(e, &s);
  if (found >= 0) return found;
  const ad_allocator *a = &e->t->allocator;
  const size_t terms = (size_t)e->order + 1;
  const size_t count = e->count + 1;
  if (count > INT32_MAX/terms || !memory_reserve(a, &e->series, &e->capacity, count, sizeof *e->series)
      || !memory_reserve(a, &e->coefficient, &e->coefficient_capacity, count*terms, sizeof *e->coefficient))
    return out_of_memory(e);
  s.slope = s.late = SERIES_UNMADE;
  s.guard = ad_none();
  for (size_t k = 0; k < terms; k++) e->coefficient[e->count*terms + k] = flow_none();
  e->series[e->count] = s;
  return (int)e->count++;
}

static void set_given(taylor *e, int id, flow f) {
  e->coefficient[(size_t)id*((size_t)e->order + 1)] = f;
  e->series[id].done = e->order + 1;
}

int series_number(taylor *e, double value) {
  const bool is_nan = value != value;
  int id = series_make(e, (series){ .kind = SERIES_NUMBER, .a = value, .moving = is_nan, .node = NO_NODE });
  if (id < 0) return id;
  for (int k = 0; k <= e->order && is_nan; k++)
    e->coefficient[(size_t)id*((size_t)e->order + 1) + (size_t)k] = flow_of(ad_real(value));
  set_given(e, id, flow_of(ad_real(value)));
  return id;
}

int series_none(taylor *e) {
  int id = series_make(e, (series){ .kind = SERIES_NONE, .node = NO_NODE });
  if (id >= 0) set_given(e, id, flow_none());
  return id;
}

int series_unary(taylor *e, series_kind kind, int x) {
  if (x < 0) return x;
  const series *s = &e->series[x];
  if (kind == SERIES_NEG && s->kind == SERIES_NEG) return s->x[0];
  if (kind == SERIES_SLOPE && !s->moving) return series_none(e);
  series z = { .kind = kind, .moving = s->moving, .sloped = s->sloped || kind == SERIES_SLOPE,
               .node = NO_NODE, .x = { x, -1, -1 }, .operands = 1 };
  return series_make(e, z);
}

int series_binary(taylor *e, series_kind kind, int x, int y) {
  if (x < 0 || y < 0) return -1;
  if (kind == SERIES_MUL && x == y) return series_unary(e, SERIES_SQUARE, x);
  const series *p = &e->series[x], *q = &e->series[y];
  series z = { .kind = kind, .moving = p->moving || q->moving, .sloped = p->sloped || q->sloped,
               .node = NO_NODE, .x = { x, y, -1 }, .operands = 2 };
  return series_make(e, z);
}

static bool is_zero(const taylor *e, int id) {
  const series *s = &e->series[id];
  double number = s->a;
  if (s->kind == SERIES_NUMBER) return number == 0;
  if (s->kind != SERIES_GIVEN || s->node == NO_NODE) return false;
  return mask_constant(e->t, s->node, &number) ? number == 0 : is_zeros(handle(e->t, s->node));
}

/* In a derivative the 0 beside a slope is what was not chosen. */
static int chosen_slope(taylor *e, int x, int other) {
  return e->series[other].sloped && is_zero(e, x) ? series_none(e) : x;
}

int series_select(taylor *e, int condition, int x, int y) {
  if (condition < 0 || x < 0 || y < 0) return -1;
  x = chosen_slope(e, x, y);
  y = chosen_slope(e, y, x);
  if (x < 0 || y < 0) return -1;
  const series *c = &e->series[condition], *p = &e->series[x], *q = &e->series[y];
  if (c->kind == SERIES_NUMBER) return c->a != 0 ? x : y;
  series z = { .kind = SERIES_SELECT, .moving = p->moving || q->moving, .sloped = p->sloped || q->sloped,
               .node = NO_NODE, .x = { condition, x, y }, .operands = 3 };
  return series_make(e, z);
}

bool series_know(taylor *e, uint32_t node, int id) {
  if (!memory_reserve(&e->t->allocator, &e->known, &e->known_capacity, e->knowns + 1, sizeof *e->known)) {
    out_of_memory(e);
    return false;
  }
  e->known[e->knowns++] = (series_of_node){ node, id };
  return true;
}

int series_known(const taylor *e, uint32_t node) {
  for (size_t i = 0; i < e->knowns; i++)
    if (e->known[i].node == node) return e->known[i].id;
  return -1;
}

taylor_slot *taylor_slots(const taylor *e, uint32_t node) {
  const taylor_path *p = &e->path;
  if (node < p->low || node >= p->high || p->place[node - p->low] == NONE_INDEX) return NULL;
  return &p->slot[(size_t)p->place[node - p->low]*(size_t)e->order];
}

static ad_var unpack(ad_tape *t, uint32_t i) { return i == NONE_INDEX ? ad_none() : handle(t, i); }

flow taylor_stored(const taylor *e, uint32_t node, int k) {
  const taylor_slot *slot = taylor_slots(e, node);
  if (!slot) return flow_none();
  return (flow){ unpack(e->t, slot[k - 1].value), unpack(e->t, slot[k - 1].mask), false };
}

int series_of_tape(taylor *e, uint32_t node) {
  int id = series_known(e, node);
  if (id >= 0) return id;
  id = series_make(e, (series){ .kind = SERIES_GIVEN, .node = node, .x = { -1, -1, -1 } });
  if (id < 0 || !series_know(e, node, id)) return -1;
  set_given(e, id, flow_of(handle(e->t, node)));
  flow *c = &e->coefficient[(size_t)id*((size_t)e->order + 1)];
  for (int k = 1; k <= e->order && node < e->current; k++) {
    c[k] = taylor_stored(e, node, k);
    e->series[id].moving |= flow_connected(c[k]);
  }
  return id;
}

/* --- arithmetic of series ------------------------------------------------------------------------------- */

/* z_k = sum_j x_j y_(k-j) */
static flow product_at(const taylor *e, int x, int y, int k) {
  flow z = flow_none();
  for (int j = 0; j <= k; j++) z = flow_plus(z, flow_times(series_at(e, x, j), series_at(e, y, k - j)));
  return z;
}

/* z_k = 2 sum_(j < k/2) x_j x_(k-j) + x_(k/2)^2 */
static flow square_at(const taylor *e, int x, int k) {
  flow z = flow_none();
  for (int j = 0; 2*j < k; j++) z = flow_plus(z, flow_times(series_at(e, x, j), series_at(e, x, k - j)));
  z = flow_scaled(z, 2);
  flow middle = k%2 ? flow_none() : series_at(e, x, k/2);
  if (flow_connected(middle)) middle.value = ad_square(middle.value);
  return flow_plus(z, middle);
}

/* z_k = (x_k - sum_(j=1..k) y_j z_(k-j))/y_0 */
static flow quotient_at(const taylor *e, int z, int x, int y, int k) {
  flow f = series_at(e, x, k);
  for (int j = 1; j <= k; j++) f = flow_minus(f, flow_times(series_at(e, y, j), series_at(e, z, k - j)));
  flow divisor = series_at(e, y, 0);
  if (!flow_connected(f)) return f;
  f.value = ad_div(f.value, flow_connected(divisor) ? divisor.value : ad_real(0));
  f.mask = mask_both(f.mask, divisor.mask);
  return f;
}

/* Where c ? a : b is connected, with a or b connected. */
static ad_var select_mask(ad_var c, flow a, flow b) {
  if (!flow_connected(b)) return mask_both(c, a.mask);
  if (!flow_connected(a)) return mask_both(ad_logical_not(c), b.mask);
  if (same_mask(a.mask, b.mask)) return a.mask;
  if (ad_is_none(a.mask)) return ad_logical_or(c, b.mask);
  if (!ad_is_none(b.mask)) return ad_select(c, a.mask, b.mask);
  ad_var not_c = ad_logical_not(c);
  return ad_logical_or(not_c, a.mask);
}

static flow select_at(const taylor *e, const series *s, int k) {
  ad_var c = series_at(e, s->x[0], 0).value;
  flow a = series_at(e, s->x[1], k), b = series_at(e, s->x[2], k);
  if (!flow_connected(a) && !flow_connected(b)) return a;
  flow z = { .mask = select_mask(c, a, b) };
  z.value = !flow_connected(a) ? b.value : !flow_connected(b) ? a.value : ad_select(c, a.value, b.value);
  return z;
}

/* --- coefficients on demand ----------------------------------------------------------------------------- */

bool series_have(taylor *e, int id, int k) {
  const series *s = &e->series[id];
  if (s->done > k || (k > 0 && !s->moving)) return true;
  const ad_allocator *a = &e->t->allocator;
  if (!memory_reserve(a, &e->stack, &e->stack_capacity, e->depth + 1, sizeof *e->stack)) out_of_memory(e);
  else e->stack[e->depth++] = (series_demand){ id, k };
  return false;
}

static bool ready(taylor *e, int id, int k) {
  const series s = e->series[id];
  switch (s.kind) {
    case SERIES_SLOPE: return series_have(e, s.x[0], k + 1);
    case SERIES_SELECT:
      return series_have(e, s.x[0], 0) && series_have(e, s.x[1], k) && series_have(e, s.x[2], k);
    case SERIES_STEP: case SERIES_ROW: return series_row_ready(e, id, k);
    case SERIES_LINEAR: case SERIES_PRODUCT: case SERIES_NODE: return series_node_ready(e, id, k);
    default: break;
  }
  for (int m = 0; m < s.operands; m++)
    if (!series_have(e, s.x[m], k)) return false;
  return true;
}

static flow coefficient(taylor *e, int id, int k) {
  const series s = e->series[id];
  flow f;
  switch (s.kind) {
    case SERIES_NEG:
      f = series_at(e, s.x[0], k);
      if (flow_connected(f)) f.value = ad_neg(f.value);
      return f;
    case SERIES_ADD: return flow_plus(series_at(e, s.x[0], k), series_at(e, s.x[1], k));
    case SERIES_SUB: return flow_minus(series_at(e, s.x[0], k), series_at(e, s.x[1], k));
    case SERIES_MUL: return product_at(e, s.x[0], s.x[1], k);
    case SERIES_SQUARE: return square_at(e, s.x[0], k);
    case SERIES_DIV: return quotient_at(e, id, s.x[0], s.x[1], k);
    case SERIES_SLOPE: return flow_scaled(series_at(e, s.x[0], k + 1), k + 1);
    case SERIES_SELECT: return select_at(e, &s, k);
    case SERIES_STEP: case SERIES_ROW: return series_row_at(e, id, k);
    case SERIES_LINEAR: case SERIES_PRODUCT: case SERIES_NODE: return series_node_at(e, id, k);
    default: return series_at(e, id, k);
  }
}

static bool compute_next(taylor *e, int id) {
  const int k = e->series[id].done;
  flow f = coefficient(e, id, k);
  const bool masked = flow_connected(f) && !ad_is_none(f.mask);
  if ((flow_connected(f) && !ad_is_valid(f.value)) || (masked && !ad_is_valid(f.mask))) return false;
  e->coefficient[(size_t)id*((size_t)e->order + 1) + (size_t)k] = f;
  e->series[id].done++;
  return true;
}

/* Every demand on the list waits for the one above it. A list longer than all there is to compute is a
 * circle. */
bool series_compute(taylor *e, int id, int k) {
  e->depth = 0;
  if (series_have(e, id, k)) return true;
  if (e->depth == 0) return false;
  while (e->depth > 0) {
    const size_t depth = e->depth;
    const series_demand d = e->stack[depth - 1];
    const series *s = &e->series[d.id];
    if (s->done > d.k) {
      e->depth--;
      continue;
    }
    if (ready(e, d.id, s->done)) {
      if (!compute_next(e, d.id)) return false;
      continue;
    }
    if (e->depth == depth) return false;
    if (depth > e->count*((size_t)e->order + 2)) {
      tape_fail(e->t, AD_ERROR_DERIVATIVE, "taylor: a derivative whose rule needs the derivative itself");
      return false;
    }
  }
  return true;
}
