/* elementwise.c -- ad_add, ad_sin and the rest, one function for each row of the table.
 *
 * The common case, known f64 scalars of one tape, is written out here: a node is filled in and its value
 * computed by the row's own expression. Everything else (arrays, other types, literals, tracing, errors) goes
 * through tape_record_row.
 */
#include "tape/tape.h"
#include "adit/arrays.h"
#include "primitives/library.h"

#include <math.h>

#define C(k) ((double)k)
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#include "primitives/row_names.h"
#include "primitives/scalar_tanh.h"

/* Tapes lie above the sentinels that mark literals and lost tapes. */
static inline bool on_tape(const ad_tape *t) { return (uintptr_t)t > (uintptr_t)NO_TAPE; }

/* Handles of this epoch are good; of older ones those that no rewind ever reached. (Invalid handles have an
 * epoch that no tape reaches.) */
static inline bool is_fresh(const ad_tape *t, ad_var v) {
  return v.at.node.epoch == t->epoch || v.at.node.index < t->stable;
}
static inline bool is_known_f64(const ad_tape *t, ad_var v) {
  return (t->node[v.at.node.index].head & NODE_FAST_MASK) == NODE_KNOWN;
}
/* A tape that records functions has no room, so that a plain one knows the value of every node. */
#define READY_1(t, v) (is_fresh(t, v) && ((t)->plain || is_known_f64(t, v)))
#define READY_2(t, v, w) \
  (is_fresh(t, v) && is_fresh(t, w) && ((t)->plain || (is_known_f64(t, v) && is_known_f64(t, w))))

/* Lines of the tape are asked for before they are written. */
enum { RECORD_AHEAD = 128 };

static inline ad_var push(ad_tape *t, uint32_t row, uint32_t n, uint32_t x, uint32_t y, double value) {
  const size_t i = t->count++;
  tape_node *e = &t->node[i];
  __builtin_prefetch(e + RECORD_AHEAD, 1);
  __builtin_prefetch(&t->value[i] + RECORD_AHEAD, 1);
  *e = (tape_node){ row | NODE_KNOWN | n << NODE_COUNT_SHIFT, x, y };
  t->value[i].f64 = value;
  return (ad_var){ t, { .node = { (uint32_t)i, t->epoch } } };
}

/* A literal beside a known f64 scalar becomes a constant of its tape: 2*x is nearly as fast as y*x. Elsewhere
 * it may have to become another type, which is tape_record_row's business. */
static __attribute__((noinline)) ad_var binary(elementwise_id row, ad_var x, ad_var y) {
  const ad_var operand[2] = { x, y };
  ad_tape *t = on_tape(x.tape) ? x.tape : y.tape;
  if (!on_tape(t) || is_literal(x) == is_literal(y) || t->count >= t->room
      || elementwise_rows[row].kind > CLASS_NUMERIC || !READY_1(t, is_literal(x) ? y : x))
    return tape_record_row(row, 2, operand, 0);
  const uint32_t constant = tape_constant(t, AD_F64, literal_value(is_literal(x) ? x : y));
  if (constant == INVALID_INDEX || t->count >= t->room) return tape_record_row(row, 2, operand, 0);
  const uint32_t ix = is_literal(x) ? constant : x.at.node.index,
                 iy = is_literal(y) ? constant : y.at.node.index;
  return push(t, row, 2, ix, iy,
              elementwise_rows[row].evaluate(t->value[ix].f64, t->value[iy].f64, 0, 0));
}

#define IS_REAL(kind) (CLASS_##kind == CLASS_FLOAT || CLASS_##kind == CLASS_NUMERIC)
#define VALUE_OF(v) (t->value[(v).at.node.index].f64)

#define UNARY(id, kind, traits, lo, hi, expression, rx, doc) \
  ad_var (ad_##id)(ad_var px) { \
    ad_tape *t = px.tape; \
    if (IS_REAL(kind) && on_tape(t) && t->count < t->room && READY_1(t, px)) { \
      const double x = VALUE_OF(px); \
      return push(t, ROW_##id, 1, px.at.node.index, 0, expression); \
    } \
    return tape_record_row(ROW_##id, 1, &px, 0); \
  }
#define UNARY_ATTRIBUTE(id, kind, traits, sample, lo, hi, expression, rx, doc) \
  ad_var (ad_##id)(ad_var px, double a) { return tape_record_row(ROW_##id, 1, &px, a); }
#define BINARY(id, kind, traits, lo1, hi1, lo2, hi2, expression, rx, ry, doc) \
  ad_var (ad_##id)(ad_var px, ad_var py) { \
    ad_tape *t = px.tape; \
    if (IS_REAL(kind) && t == py.tape && on_tape(t) && t->count < t->room && READY_2(t, px, py)) { \
      const double x = VALUE_OF(px), y = VALUE_OF(py); \
      return push(t, ROW_##id, 2, px.at.node.index, py.at.node.index, expression); \
    } \
    return binary(ROW_##id, px, py); \
  }
#define TERNARY(id, kind, traits, lo1, hi1, lo2, hi2, lo3, hi3, expression, rx, ry, rw, doc) \
  ad_var (ad_##id)(ad_var px, ad_var py, ad_var pw) { \
    return tape_record_row(ROW_##id, 3, (const ad_var[]){ px, py, pw }, 0); \
  }

/* ad_pow is below: a literal exponent may mean another row. */
#undef ad_pow
#define ad_pow general_power
static ad_var general_power(ad_var px, ad_var py);
#include "primitives/elementwise.def"
#undef ad_pow

static ad_var ones_like(ad_var x) {
  ad_type type = ad_type_of(x);
  ad_var one = handle(x.tape, tape_constant(x.tape, type.dtype == AD_BOOL ? AD_I32 : type.dtype, 1));
  return type.rank ? ad_broadcast_to(one, type.rank, type.dim) : one;
}

/* x^n, exact for every x. */
static ad_var integer_power(ad_var x, double n) {
  if (n == 0) return ones_like(x);
  if (n == 1) return x;
  if (n == 2) return ad_square(x);
  return n == -1 ? ad_reciprocal(x) : ad_powi(x, n);
}

ad_var (ad_pow)(ad_var x, ad_var y) {
  enum { LARGEST = 1 << 30 };
  if (!is_literal(y) || is_literal(x) || !ad_is_valid(x)) return general_power(x, y);
  double n = literal_value(y);
  if (n != floor(n) || fabs(n) > LARGEST) return general_power(x, y);
  bool real = y.tape == NULL || n < 0;
  return integer_power(real && ad_type_of(x).dtype < AD_F32 ? ad_cast(x, AD_F64) : x, n);
}
