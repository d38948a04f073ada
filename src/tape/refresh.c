/* refresh.c -- new values for old nodes, where that is one operation: f64 scalars whose operands are known
 * f64 scalars.
 *
 * A replay goes up the tape once and computes these in passing, as recording did; what is left is planned
 * when asked for.
 */
#include "tape/refresh.h"

#include <math.h>
#include <string.h>

#define C(k) ((double)k)
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#include "primitives/row_names.h"

#define IS_REAL(kind) (CLASS_##kind == CLASS_FLOAT || CLASS_##kind == CLASS_NUMERIC)
#define SET(kind, expression) \
  if (!IS_REAL(kind)) return false; \
  e->value.f64 = (double)(expression); \
  return true;
#define X const double x = node[e->x].value.f64
#define Y const double y = node[e->y].value.f64
#define W const double w = node[e->w].value.f64
#define A const double a = node_row_attribute(t, i)
#define UNARY(id, kind, traits, lo, hi, expression, ...) case ROW_##id: { X; SET(kind, expression) }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, ...) \
  case ROW_##id: { X; A; SET(kind, expression) }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, ...) \
  case ROW_##id: { X; Y; SET(kind, expression) }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, ...) \
  case ROW_##id: { X; Y; W; SET(kind, expression) }

/* Computes node i, a row on known f64 scalars; false for anything else. */
static inline bool compute(const ad_tape *t, tape_node *node, uint32_t i) {
  tape_node *e = &node[i];
  switch (node_primitive_number(e)) {
#include "primitives/elementwise.def"
    default: return false;
  }
}

static inline bool is_ready(const tape_node *e) { return (e->head & NODE_FAST_MASK) == NODE_KNOWN; }

/* Computes known node i again from its operands; false, nothing done, unless it is a row of f64 scalars that
 * are all known. */
static inline bool refresh_scalar(ad_tape *t, uint32_t i) {
  tape_node *node = t->node, *e = &node[i];
  const uint32_t n = e->head >> NODE_COUNT_SHIFT & 3;
  if (!is_ready(e) || e->head & NODE_WIDE || n == 0 || !is_ready(&node[e->x])) return false;
  if ((n > 1 && !is_ready(&node[e->y])) || (n > 2 && !is_ready(&node[e->w]))) return false;
  return compute(t, node, i);
}

/* Does node i have an operand that is old? */
static inline bool any_old(const ad_tape *t, uint32_t i, uint32_t from, const unsigned char *old) {
  const tape_node *e = &t->node[i];
  const uint32_t few = e->head >> NODE_COUNT_SHIFT & 3;
  if (node_primitive_number(e) < ROW_COUNT && !(e->head & NODE_WIDE) && (few == 1 || few == 2))
    return (e->x >= from && old[e->x - from]) || (few == 2 && e->y >= from && old[e->y - from]);
  int n;
  if (node_is_leaf(t, i)) return false;
  const uint32_t *x = node_operands(t, i, &n);
  for (int k = 0; k < n; k++)
    if (x[k] >= from && old[x[k] - from]) return true;
  return false;
}

/* A tape of nothing but known f64 scalars: nothing has to be asked of an operand. Arithmetic is computed
 * whether its operands changed or not, which costs less than to find out; calls of functions are not. old then
 * says whose value is another. */
#define CHANGED(i) ((i) >= from && old[(i) - from])
#define RENEW(kind, needed, expression) \
  if (CLASS_##kind == CLASS_NUMERIC || (CLASS_##kind == CLASS_FLOAT && (needed))) { \
    const double z = (double)(expression); \
    old[k] = differs(z, e->value.f64); \
    e->value.f64 = z; \
  } \
  break;
#define UNARY(id, kind, traits, lo, hi, expression, ...) \
  case ROW_##id: { X; RENEW(kind, CHANGED(e->x), expression) }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, ...) \
  case ROW_##id: { X; A; RENEW(kind, CHANGED(e->x), expression) }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, ...) \
  case ROW_##id: { X; Y; RENEW(kind, CHANGED(e->x) || CHANGED(e->y), expression) }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, ...) \
  case ROW_##id: { X; Y; W; RENEW(kind, CHANGED(e->x) || CHANGED(e->y) || CHANGED(e->w), expression) }

/* In any bit: -0 and 0 lead to different infinities. */
static inline bool differs(double a, double b) {
  uint64_t x, y;
  memcpy(&x, &a, sizeof x);
  memcpy(&y, &b, sizeof y);
  return x != y;
}

static void refresh_plain(ad_tape *t, uint32_t from, size_t n, unsigned char old[]) {
  tape_node *node = t->node;
  for (size_t k = 1; k < n; k++) {
    const uint32_t i = (uint32_t)(from + k);
    tape_node *e = &node[i];
    switch (node_primitive_number(e)) {
#include "primitives/elementwise.def"
      default: break;
    }
  }
}

void refresh_dependents(ad_tape *t, uint32_t from, size_t n, unsigned char old[]) {
  if (t->plain) {
    refresh_plain(t, from, n, old);
    return;
  }
  for (size_t k = 1; k < n; k++) {
    const uint32_t i = (uint32_t)(from + k);
    if (!any_old(t, i, from, old)) continue;
    old[k] = 1;
    if (!refresh_scalar(t, i)) t->node[i].head &= ~(uint32_t)NODE_KNOWN;
  }
}
