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
#include "primitives/scalar_tanh.h"

#define IS_REAL(kind) (CLASS_##kind == CLASS_FLOAT || CLASS_##kind == CLASS_NUMERIC)
#define SET(kind, expression) \
  if (!IS_REAL(kind)) return false; \
  value[i].f64 = (double)(expression); \
  return true;
#define X const double x = value[operand[0]].f64
#define Y const double y = value[operand[1]].f64
#define W const double w = value[operand[2]].f64
#define A const double a = node_row_attribute(t, i)
#define UNARY(id, kind, traits, lo, hi, expression, ...) case ROW_##id: { X; SET(kind, expression) }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, ...) \
  case ROW_##id: { X; A; SET(kind, expression) }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, ...) \
  case ROW_##id: { X; Y; SET(kind, expression) }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, ...) \
  case ROW_##id: { X; Y; W; SET(kind, expression) }

/* Computes node i, a row on known f64 scalars; false for anything else. */
static inline bool compute(const ad_tape *t, uint32_t i, const uint32_t operand[]) {
  scalar *value = t->value;
  switch (node_primitive_number(&t->node[i])) {
#include "primitives/elementwise.def"
    default: return false;
  }
}

static inline bool is_ready(const tape_node *e) { return (e->head & NODE_FAST_MASK) == NODE_KNOWN; }

/* Computes known node i again from its operands; false, nothing done, unless it is a row of f64 scalars that
 * are all known. */
static inline bool refresh_scalar(ad_tape *t, uint32_t i) {
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  if (!is_ready(&t->node[i]) || n == 0 || n > 3) return false;
  for (int k = 0; k < n; k++)
    if (!is_ready(&t->node[operand[k]])) return false;
  return compute(t, i, operand);
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

/* --- plain tapes ---------------------------------------------------------------------------------- */

/* A tape of nothing but known f64 scalars: nothing has to be asked of an operand. Arithmetic is computed
 * whether its operands changed or not, which costs less than to find out; functions are called only when
 * something changed near an operand: in the same block of nodes. changed[] has a byte for each block. */
enum { REFRESH_BLOCK = 16, REFRESH_AHEAD = 256 };

typedef struct refreshing {
  const tape_node *node;
  scalar *value;
  uint32_t first, end;              /* nodes; first is the beginning of a block */
  unsigned char *changed;           /* by block, from the one of `first` on */
} refreshing;

/* In any bit: -0 and 0 lead to different infinities. */
static inline uint64_t difference(double a, double b) {
  uint64_t x, y;
  memcpy(&x, &a, sizeof x);
  memcpy(&y, &b, sizeof y);
  return x ^ y;
}

/* Each row ends in a jump of its own to the next one's, like the reverse sweep (derive/backward.c). */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

/* Nothing but rows and leaves is known when it is recorded, so there is nothing else on a plain tape. */
#define VISIT goto *row[node_primitive_number(e)];
#define LEAVE { \
    if (++i == stop) goto block; \
    e++; \
    VISIT \
  }
/* The value of an operand. Those of the two nodes before, so often asked for (z*a + b, sum + x*y), are in
 * registers: what was just stored comes back from memory later than the sum is done. */
#define VALUE(to) ((to) == i - 1 ? last : value[to].f64)
#define FIRST_VALUE(to) ((to) == i - 2 ? before : VALUE(to))
#define CHANGED(to) ((to) >= r->first && r->changed[((to) - r->first)/REFRESH_BLOCK])
#define RENEW(kind, needed, expression) \
  if (CLASS_##kind == CLASS_FLOAT) { \
    *changed |= differences != 0; \
    if (!(needed)) goto leaf; \
  } \
  if (CLASS_##kind == CLASS_FLOAT || CLASS_##kind == CLASS_NUMERIC) { \
    before = last; \
    last = (double)(expression); \
    differences |= difference(last, value[i].f64); \
    value[i].f64 = last; \
  } \
  LEAVE

static void refresh_plain(const ad_tape *t, const refreshing *r) {
  static const void *const row[] = {
#define UNARY(id, ...)           [ROW_##id] = &&at_##id,
#define UNARY_ATTRIBUTE(id, ...) [ROW_##id] = &&at_##id,
#define BINARY(id, ...)          [ROW_##id] = &&at_##id,
#define TERNARY(id, ...)         [ROW_##id] = &&at_##id,
#include "primitives/elementwise.def"
    [PRIMITIVE_INPUT] = &&leaf, [PRIMITIVE_CONSTANT] = &&leaf
  };
  const tape_node *e = r->node + r->first;
  scalar *value = r->value;
  unsigned char *changed = r->changed;
  double last = r->first > 0 ? value[r->first - 1].f64 : 0;
  double before = r->first > 1 ? value[r->first - 2].f64 : 0;
  for (uint32_t i = r->first, stop; i < r->end; e++, changed++) {
    uint64_t differences = 0;
    stop = r->end - i < REFRESH_BLOCK ? r->end : i + REFRESH_BLOCK;
    for (size_t k = 0; k < REFRESH_BLOCK*sizeof *e; k += 64)
      __builtin_prefetch((const char *)(e + REFRESH_AHEAD) + k, 0, 2);
    for (size_t k = 0; k < REFRESH_BLOCK*sizeof *value; k += 64)
      __builtin_prefetch((const char *)(value + i + REFRESH_AHEAD) + k, 1, 2);
    VISIT
#define UNARY(id, kind, traits, lo, hi, expression, ...) \
  at_##id: { \
    const double x = VALUE(e->x); \
    RENEW(kind, CHANGED(e->x), expression) \
  }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, ...) \
  at_##id: { \
    const double x = VALUE(e->x), a = node_row_attribute(t, i); \
    RENEW(kind, CHANGED(e->x), expression) \
  }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, ...) \
  at_##id: { \
    const double x = FIRST_VALUE(e->x), y = VALUE(e->y); \
    RENEW(kind, CHANGED(e->x) || CHANGED(e->y), expression) \
  }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, ...) \
  at_##id: { \
    const uint32_t *at = (const uint32_t *)(arena_at(&t->arena, e->x) + 1); \
    const double x = VALUE(at[0]), y = VALUE(at[1]), w = VALUE(at[2]); \
    RENEW(kind, CHANGED(at[0]) || CHANGED(at[1]) || CHANGED(at[2]), expression) \
  }
#include "primitives/elementwise.def"
  leaf:
    before = last;
    last = value[i].f64;
    LEAVE
  block:
    *changed |= differences != 0;
  }
}
#pragma GCC diagnostic pop

static ad_status refresh_plain_from(ad_tape *t, uint32_t from) {
  const uint32_t first = from/REFRESH_BLOCK*REFRESH_BLOCK, end = (uint32_t)t->count;
  const size_t blocks = (end - first + REFRESH_BLOCK - 1)/REFRESH_BLOCK;
  unsigned char *changed = memory_get_zeroed(&t->allocator, blocks, 1);
  if (!changed) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (size_t k = 0; k < t->changes; k++) changed[(t->changed[k] - first)/REFRESH_BLOCK] = 1;
  const refreshing r = { t->node, t->value, first, end, changed };
  refresh_plain(t, &r);
  memory_release(&t->allocator, changed, blocks);
  return AD_OK;
}

/* --- any tape ------------------------------------------------------------------------------------- */

static ad_status refresh_any_from(ad_tape *t, uint32_t from) {
  const size_t n = t->count - from;
  unsigned char *old = memory_get_zeroed(&t->allocator, n, 1);
  if (!old) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (size_t k = 0; k < t->changes; k++) old[t->changed[k] - from] = 1;
  for (size_t k = 1; k < n; k++) {
    const uint32_t i = (uint32_t)(from + k);
    if (!any_old(t, i, from, old)) continue;
    old[k] = 1;
    if (!refresh_scalar(t, i)) t->node[i].head &= ~(uint32_t)NODE_KNOWN;
  }
  memory_release(&t->allocator, old, n);
  return AD_OK;
}

ad_status refresh_dependents(ad_tape *t) {
  uint32_t from = UINT32_MAX;
  for (size_t k = 0; k < t->changes; k++)
    if (t->changed[k] < from) from = t->changed[k];
  return t->plain ? refresh_plain_from(t, from) : refresh_any_from(t, from);
}
