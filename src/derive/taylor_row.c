/* taylor_row.c -- elementwise primitives on series.
 *
 * The four operations, and what is made of them, have recurrences of their own, exact where the function is:
 * x^3 at 0, 1/x at a pole. Every other row goes by the text of its rules: with g = x', the sum of the rules
 * is z', and its coefficient k - 1 is k z_k. The steps of a rule are series themselves. Where a rule does not
 * change along the curve (its factors are constant or conditions), z_k gets the rule of x_k with nothing
 * multiplied and divided.
 *
 * The cost is quadratic in the order wherever the rules close (exp, sin and cos, tanh and sech2, ...). The
 * gamma functions satisfy no algebraic differential equation (Hoelder's theorem), each derivative is a new
 * function: along a curve other than a straight line they cost order^3/6.
 */
#include "derive/taylor_series.h"
#include "adit/elementwise.h"
#include "primitives/library.h"

#include <math.h>
#include <string.h>

/* Powers take coefficients 1..POWER_BY_RULE from the chain x^y, x^(y-1), ..., right at x = 0 too, higher ones
 * from a recurrence. */
enum { POWER_BY_RULE = 4 };

static const ad_primitive *primitive_of(const ad_tape *t, uint32_t number) {
  return number < ROW_COUNT ? &elementwise_primitives[number] : t->primitive[number - PRIMITIVE_FIRST_OTHER];
}

static bool is_number(const taylor *e, int id) { return e->series[id].kind == SERIES_NUMBER; }

/* --- rows with a recurrence of their own ---------------------------------------------------------------- */

/* x^n, n >= 1, by squaring. */
static int whole_power(taylor *e, int x, double n) {
  int z = -1;
  for (uint32_t left = (uint32_t)n;; left /= 2) {
    if (left & 1) z = z < 0 ? x : series_binary(e, SERIES_MUL, z, x);
    if (left < 2) return z;
    x = series_unary(e, SERIES_SQUARE, x);
    if (x < 0 || (z < 0 && left & 1)) return -1;
  }
}

static bool is_whole(double n) { return n == floor(n) && fabs(n) <= 1 << 30; }

static int fixed_power(taylor *e, int x, double n) {
  if (n > 0) return whole_power(e, x, n);
  int one = series_number(e, 1);
  if (n == 0) return one;
  return whole_power(e, series_binary(e, SERIES_DIV, one, x), -n);
}

/* The value of a series that is one number for good. */
static bool number_of(const taylor *e, int id, double *value) {
  const series *s = &e->series[id];
  *value = s->a;
  if (s->kind == SERIES_NUMBER) return true;
  if (s->kind != SERIES_GIVEN || s->moving || !node_is_constant(e->t, s->node)) return false;
  const scalar *v = &e->t->value[s->node];
  const ad_type *type = &node_type(e->t, s->node)->type;
  if (type->rank) return false;
  *value = type->dtype == AD_F32 ? (double)v->f32 : v->f64;
  return type->dtype >= AD_F32;
}

/* Steps are constant along the curve: no rule connects them to an operand. */
static bool is_step(const ad_primitive *p) {
  for (int k = 0; k < p->arity; k++)
    if (!p->rule[k] || strcmp(p->rule[k], "NONE")) return false;
  return true;
}

static int by_rules(taylor *e, uint32_t primitive, uint32_t node, int n, const int x[], double a) {
  const series_kind kind = is_step(primitive_of(e->t, primitive)) ? SERIES_STEP : SERIES_ROW;
  series z = {
    .kind = kind, .primitive = primitive, .a = a, .node = node, .x = { -1, -1, -1 }, .operands = n
  };
  for (int k = 0; k < n; k++) {
    if (x[k] < 0) return -1;
    z.x[k] = x[k];
    z.moving |= e->series[x[k]].moving && z.kind == SERIES_ROW;
    z.sloped |= e->series[x[k]].sloped;
  }
  return series_make(e, z);
}

static bool fold_numbers(taylor *e, const elementwise_row *row, const int x[], double a, double *value) {
  double v[3] = { 0, 0, 0 };
  for (int k = 0; k < row->arity; k++) {
    if (!is_number(e, x[k])) return false;
    v[k] = e->series[x[k]].a;
  }
  *value = row->evaluate(v[0], v[1], v[2], a);
  return true;
}

int series_row(taylor *e, elementwise_id row, const int x[], double a) {
  const elementwise_row *r = &elementwise_rows[row];
  double value;
  for (int k = 0; k < r->arity; k++)
    if (x[k] < 0) return -1;
  if (fold_numbers(e, r, x, a, &value)) return series_number(e, value);
  switch (row) {
    case ROW_neg: return series_unary(e, SERIES_NEG, x[0]);
    case ROW_add: return series_binary(e, SERIES_ADD, x[0], x[1]);
    case ROW_sub: return series_binary(e, SERIES_SUB, x[0], x[1]);
    case ROW_mul: return series_binary(e, SERIES_MUL, x[0], x[1]);
    case ROW_div: return series_binary(e, SERIES_DIV, x[0], x[1]);
    case ROW_fma: return series_binary(e, SERIES_ADD, series_binary(e, SERIES_MUL, x[0], x[1]), x[2]);
    case ROW_square: return series_unary(e, SERIES_SQUARE, x[0]);
    case ROW_reciprocal: return series_binary(e, SERIES_DIV, series_number(e, 1), x[0]);
    case ROW_select: return series_select(e, x[0], x[1], x[2]);
    case ROW_powi:
      if (is_whole(a)) return fixed_power(e, x[0], a);
      break;
    case ROW_pow:
      if (number_of(e, x[1], &value) && is_whole(value)) return fixed_power(e, x[0], value);
      break;
    default: break;
  }
  return by_rules(e, row, NO_NODE, r->arity, x, a);
}

int series_elementwise(taylor *e, uint32_t primitive, uint32_t node, int n, const int x[], double a) {
  if (primitive < ROW_COUNT) return series_row(e, (elementwise_id)primitive, x, a);
  return by_rules(e, primitive, node, n, x, a);
}

/* --- rules as series ------------------------------------------------------------------------------------ */

/* Piecewise linear rows: along any curve z_k is the rule of x_k. (Their texts have a factor x for nan.) */
static bool is_piecewise_linear(uint32_t primitive) {
  switch (primitive) {
    case ROW_abs: case ROW_copysign: case ROW_clamp: case ROW_relu: case ROW_fmod: return true;
    default: return false;
  }
}

/* True when nothing that g meets in the rule changes along the curve. */
static bool is_plain(const taylor *e, const series *z, const rule *r) {
  enum { MOVES = 1, HAS_G = 2 };
  unsigned state[RULE_STEPS];
  for (int i = 0; i < r->count; i++) {
    const rule_step *s = &r->step[i];
    state[i] = 0;
    if (s->kind == RULE_LETTER) {
      if (s->letter == LETTER_G) state[i] = HAS_G;
      else if (s->letter == LETTER_Z) state[i] = MOVES;
      else if (s->letter < z->operands && e->series[z->x[s->letter]].moving) state[i] = MOVES;
    }
    if (s->kind != RULE_ROW || is_step(&elementwise_primitives[s->row])) continue;
    for (int k = s->row == ROW_select; k < elementwise_rows[s->row].arity; k++)
      state[i] |= state[s->operand[k]];
    if (s->row != ROW_select && state[i] == (MOVES | HAS_G)) return false;
  }
  return true;
}

/* Reads rule r of z with g = slope. Steps that are never asked for are never recorded. */
static int read_rule(taylor *e, int z, const rule *r, int slope) {
  const series s = e->series[z];
  int step[RULE_STEPS], out = -1;
  for (int i = 0; i < r->count; i++) {
    const rule_step *p = &r->step[i];
    if (p->kind == RULE_NUMBER) out = series_number(e, p->number);
    else if (p->kind == RULE_NONE) out = series_none(e);
    else if (p->kind == RULE_LETTER) {
      if (p->letter == LETTER_A) out = series_number(e, s.a);
      else out = p->letter == LETTER_G ? slope : p->letter == LETTER_Z ? z : s.x[p->letter];
    } else {
      int x[3] = { -1, -1, -1 };
      for (int k = 0; k < elementwise_rows[p->row].arity; k++) x[k] = step[p->operand[k]];
      out = series_row(e, p->row, x, p->attribute < 0 ? 0 : e->series[step[p->attribute]].a);
    }
    if (out < 0) {
      const char *name = primitive_of(e->t, s.primitive)->name;
      tape_fail(e->t, AD_ERROR_DERIVATIVE, "%s: its derivative cannot be read", name);
      return -1;
    }
    step[i] = out;
  }
  return out;
}

/* z' = the sum of the rules of the operands that move; plain ones are only noted. */
static bool make_slope(taylor *e, int id) {
  int sum = SERIES_ABSENT;
  for (int k = 0; k < e->series[id].operands; k++) {
    const series s = e->series[id];
    if (!e->series[s.x[k]].moving) continue;
    const rule *r = tape_rule(e->t, s.primitive, k);
    if (!r) return false;
    if (is_piecewise_linear(s.primitive) || is_plain(e, &s, r)) {
      e->series[id].plain |= 1u << k;
      continue;
    }
    int slope = series_unary(e, SERIES_SLOPE, s.x[k]), part = slope < 0 ? -1 : read_rule(e, id, r, slope);
    if (part >= 0) sum = sum == SERIES_ABSENT ? part : series_binary(e, SERIES_ADD, sum, part);
    if (part < 0 || sum < 0) return false;
  }
  e->series[id].slope = sum;
  return true;
}

/* --- high orders of powers ------------------------------------------------------------------------------ */

static bool is_power_of_moving(const taylor *e, const series *s) {
  return (s->primitive == ROW_pow || s->primitive == ROW_powi) && e->series[s->x[0]].moving;
}

/* z = x^y satisfies x z' = (y x' + x log(x) y') z: a quotient instead of a chain of ever lower powers. */
static bool make_late(taylor *e, int id) {
  const series s = e->series[id];
  const int x = s.x[0], y = s.primitive == ROW_pow ? s.x[1] : series_number(e, s.a);
  if (y < 0) return false;
  int w = series_binary(e, SERIES_MUL, series_unary(e, SERIES_SLOPE, x), y);
  if (e->series[y].moving) {
    int log = series_row(e, ROW_log, &x, 0), factor = series_binary(e, SERIES_MUL, x, log);
    int by_y = series_binary(e, SERIES_MUL, series_unary(e, SERIES_SLOPE, y), factor);
    w = series_binary(e, SERIES_ADD, w, by_y);
  }
  const int late = series_binary(e, SERIES_DIV, series_binary(e, SERIES_MUL, w, id), x);
  if (late < 0) return false;
  e->series[id].late = late;
  return true;
}

/* Coefficient k of x^y where x_0 is 0 and y is constant: 0 below the order y; at y and above, what x_0 + x_1
 * t gives: binomial(y, k) x_0^(y-k) x_1^k. */
static ad_var power_at_zero(const taylor *e, const series *s, int k) {
  const ad_var x = series_at(e, s->x[0], 0).value;
  const flow x1 = series_at(e, s->x[0], 1);
  ad_var power = flow_connected(x1) ? ad_powi(x1.value, k) : ad_real(NAN);
  double y = s->a;
  if (s->primitive == ROW_powi || number_of(e, s->x[1], &y)) {
    double binomial = 1;
    if (k < y) return ad_real(0);
    for (int i = 0; i < k; i++) binomial *= (y - i)/(i + 1);
    ad_var steep = ad_pow(x, ad_real(y - k)), scaled = ad_mul(binomial, steep);
    return ad_mul(scaled, power);
  }
  /* An exponent that is known only when running. Above it whole powers of straight lines end; the rest is
   * nan. */
  ad_var y0 = series_at(e, s->x[1], 0).value, is_equal = ad_equal(y0, k), is_above = ad_greater(y0, k);
  bool straight = !e->series[s->x[1]].moving;
  for (int j = 2; j <= k; j++) straight &= !flow_connected(series_at(e, s->x[0], j));
  ad_var rest = ad_real(NAN);
  if (straight) {
    ad_var floor_y = ad_floor(y0), whole = ad_equal(floor_y, y0), positive = ad_greater_equal(y0, 0);
    ad_var ends = ad_logical_and(whole, positive), zero = ad_mul(0.0, y0);
    rest = ad_select(ends, zero, NAN);
  }
  ad_var below = ad_select(is_equal, power, rest);
  return ad_select(is_above, 0, below);
}

static flow late_at(taylor *e, int id, int k) {
  series *s = &e->series[id];
  flow f = flow_over(series_at(e, s->late, k - 1), k);
  if (!flow_connected(f)) return f;
  if (ad_is_none(s->guard)) s->guard = ad_equal(series_at(e, s->x[0], 0).value, 0);
  ad_var edge = power_at_zero(e, s, k);
  f.value = ad_select(s->guard, edge, f.value);
  return f;
}

/* --- coefficients --------------------------------------------------------------------------------------- */

static bool late_ready(taylor *e, int id, int k) {
  if (e->series[id].late == SERIES_UNMADE && !make_late(e, id)) return false;
  const series s = e->series[id];
  return series_have(e, s.late, k - 1) && series_have(e, s.x[0], k);
}

bool series_row_ready(taylor *e, int id, int k) {
  series s = e->series[id];
  for (int m = 0; m < s.operands; m++)
    if (!series_have(e, s.x[m], 0)) return false;
  if (k == 0) return true;
  if (k > POWER_BY_RULE && is_power_of_moving(e, &s)) return late_ready(e, id, k);
  if (s.slope == SERIES_UNMADE && !make_slope(e, id)) return false;
  s = e->series[id];
  for (int m = 0; m < s.operands; m++)
    if (s.plain >> m & 1 && !series_have(e, s.x[m], k)) return false;
  return s.slope < 0 || series_have(e, s.slope, k - 1);
}

static flow record_value(const taylor *e, const series *s) {
  ad_var x[3];
  for (int m = 0; m < s->operands; m++) {
    flow f = series_at(e, s->x[m], 0);
    x[m] = flow_connected(f) ? flow_settle(f) : ad_real(0);
  }
  const int n = s->operands;
  if (s->primitive < ROW_COUNT) return flow_of(tape_record_row((elementwise_id)s->primitive, n, x, s->a));
  return flow_of(ad_record(e->t, primitive_of(e->t, s->primitive), n, x, NULL, 0));
}

/* Rule m on x_k, everything else at order 0. */
static flow plain_rule(taylor *e, int id, int m, int k) {
  const series *s = &e->series[id];
  flow g = series_at(e, s->x[m], k);
  const rule *r = flow_connected(g) ? tape_rule(e->t, s->primitive, m) : NULL;
  if (!r) return flow_none();
  ad_var letter[LETTERS];
  for (int l = 0; l < LETTERS; l++) letter[l] = ad_none();
  for (int l = 0; l < s->operands; l++) letter[l] = series_at(e, s->x[l], 0).value;
  letter[LETTER_Z] = series_at(e, id, 0).value;
  letter[LETTER_G] = g.value;
  flow f = tape_replay(e->t, r, letter, s->a);
  if (flow_connected(f)) f.mask = mask_both(g.mask, f.mask);
  return f;
}

flow series_row_at(taylor *e, int id, int k) {
  const series s = e->series[id];
  if (k == 0) return record_value(e, &s);
  if (k > POWER_BY_RULE && is_power_of_moving(e, &s)) return late_at(e, id, k);
  flow z = flow_none();
  for (int m = 0; m < s.operands; m++)
    if (s.plain >> m & 1) z = flow_plus(z, plain_rule(e, id, m, k));
  return s.slope < 0 ? z : flow_plus(z, flow_over(series_at(e, s.slope, k - 1), k));
}
