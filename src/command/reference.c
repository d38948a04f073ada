/* reference.c -- the rows of the table in long double, and a forward sweep through their rules.
 *
 * The rules are the texts of the table, evaluated with the functions below. What the C library has in long
 * double is taken from there; the rest is written out, or falls back to double, and the caller is told.
 */
#define _GNU_SOURCE
#include "command/reference.h"

#include <math.h>
#include <stdlib.h>

#include "formula/scalar_calls.h"
#include "primitives/library.h"

#define PI_L 3.14159265358979323846264338327950288L

/* --- functions that <math.h> does not have ---------------------------------------------------- */

static long double sigmoid_l(long double x) { return x >= 0 ? 1/(1 + expl(-x)) : expl(x)/(1 + expl(x)); }
static long double softplus_l(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }
static long double density_l(long double x) { return expl(-x*x/2)/sqrtl(2*PI_L); }
static long double gelu_l(long double x) { return x*erfcl(-x/sqrtl(2))/2; }
static long double gelu_slope_l(long double x) { return erfcl(-x/sqrtl(2))/2 + x*density_l(x); }
static long double silu_slope_l(long double x) { return sigmoid_l(x)*(1 + x*sigmoid_l(-x)); }

/* sin(pi x) with the whole turns taken off, which is exact. */
static long double sinpi_l(long double x) {
  long double r = remainderl(x, 2);
  if (fabsl(r) > 0.5L) r = copysignl(1, r) - r;
  return sinl(PI_L*r);
}
static long double cospi_l(long double x) {
  long double r = fabsl(remainderl(x, 2));
  return r < 0.25L ? cosl(PI_L*r) : sinl(PI_L*(0.5L - r));
}

/* Bernoulli numbers B_2, B_4, ... B_24. */
static const long double bernoulli[] = {
  1/6.0L, -1/30.0L, 1/42.0L, -1/30.0L, 5/66.0L, -691/2730.0L, 7/6.0L, -3617/510.0L, 43867/798.0L,
  -174611/330.0L,
  854513/138.0L, -236364091/2730.0L,
};
enum { BERNOULLI = sizeof bernoulli/sizeof *bernoulli };

/* psi(x) = log x - 1/(2x) - sum B_2k/(2k x^2k) for large x, psi(x) = psi(x + 1) - 1/x before. x > 0. */
static long double digamma_l(long double x) {
  long double shift = 0;
  if (x <= 0) return x == floorl(x) ? NAN : digamma_l(1 - x) - PI_L*cospi_l(x)/sinpi_l(x);
  for (; x < 24; x++) shift += 1/x;
  long double sum = logl(x) - 1/(2*x), power = 1;
  for (int k = 1; k <= BERNOULLI; k++) {
    power /= x*x;
    sum -= bernoulli[k - 1]/(2*k)*power;
  }
  return sum - shift;
}

/* psi_n(x) = (-1)^(n+1) ((n-1)!/x^n + n!/(2 x^(n+1)) + sum B_2k (2k+n-1)!/((2k)! x^(2k+n))) for large x, n >=
 * 1, x > 0. */
static long double polygamma_l(int n, long double x) {
  long double factorial = tgammal(n), shift = 0;
  for (; x < 24 + n; x++) shift += factorial*n/powl(x, n + 1);
  long double sum = factorial/powl(x, n) + factorial*n/(2*powl(x, n + 1)), ratio = factorial;
  for (int k = 1; k <= BERNOULLI; k++) {
    ratio *= (2*k + n - 1)*(k == 1 ? (long double)n : (long double)(2*k + n - 2));
    ratio /= 2*k*(2*k - 1);
    sum += bernoulli[k - 1]*ratio/powl(x, 2*k + n);
  }
  return (n % 2 ? 1 : -1)*(sum + shift);
}

/* Newton's method on erf from the double. */
static long double erfinv_l(double start, long double x) {
  long double z = start;
  for (int i = 0; i < 3 && isfinite(z); i++) z -= (erfl(z) - x)*sqrtl(PI_L)/2*expl(z*z);
  return z;
}

/* --- the rows --------------------------------------------------------------------------------- */

typedef long double unary_l(long double);
typedef long double binary_l(long double, long double);

static long double neg_l(long double x) { return -x; }
static long double square_l(long double x) { return x*x; }
static long double reciprocal_l(long double x) { return 1/x; }
static long double rsqrt_l(long double x) { return 1/sqrtl(x); }
static long double sign_l(long double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static long double sech2_l(long double x) { return 1/(coshl(x)*coshl(x)); }
static long double logsigmoid_l(long double x) { return -softplus_l(-x); }
static long double relu_l(long double x) { return x <= 0 ? 0 : x; }
static long double silu_l(long double x) { return x*sigmoid_l(x); }
static long double log_gamma_l(long double x) {
  int sign;
  return lgammal_r(x, &sign);
}
static long double add_l(long double x, long double y) { return x + y; }
static long double sub_l(long double x, long double y) { return x - y; }
static long double mul_l(long double x, long double y) { return x*y; }
static long double div_l(long double x, long double y) { return x/y; }
static long double logaddexp_l(long double x, long double y) {
  return x == y ? x + logl(2) : fmaxl(x, y) + log1pl(expl(-fabsl(x - y)));
}
static long double share_l(long double x, long double y) { return x == y ? 0.5L : sigmoid_l(x - y); }
static long double xlogy_l(long double x, long double y) { return x == 0 && y == y ? 0 : x*logl(y); }
static long double xlog1py_l(long double x, long double y) { return x == 0 && y == y ? 0 : x*log1pl(y); }
static long double over_norm2_l(long double x, long double y) { return x/(x*x + y*y); }

static unary_l *const unary[ROW_COUNT] = {
  [ROW_neg] = neg_l, [ROW_square] = square_l, [ROW_reciprocal] = reciprocal_l, [ROW_sqrt] = sqrtl,
  [ROW_rsqrt] = rsqrt_l,
  [ROW_cbrt] = cbrtl, [ROW_sign] = sign_l, [ROW_floor] = floorl, [ROW_ceil] = ceill, [ROW_round] = roundl,
  [ROW_trunc] = truncl, [ROW_abs] = fabsl, [ROW_exp] = expl, [ROW_exp2] = exp2l, [ROW_expm1] = expm1l,
  [ROW_log] = logl,
  [ROW_log2] = log2l, [ROW_log10] = log10l, [ROW_log1p] = log1pl, [ROW_sin] = sinl, [ROW_cos] = cosl,
  [ROW_tan] = tanl,
  [ROW_asin] = asinl, [ROW_acos] = acosl, [ROW_atan] = atanl, [ROW_sinpi] = sinpi_l, [ROW_cospi] = cospi_l,
  [ROW_sinh] = sinhl, [ROW_cosh] = coshl, [ROW_tanh] = tanhl, [ROW_sech2] = sech2_l, [ROW_asinh] = asinhl,
  [ROW_acosh] = acoshl, [ROW_atanh] = atanhl, [ROW_erf] = erfl, [ROW_erfc] = erfcl,
  [ROW_lgamma] = log_gamma_l,
  [ROW_tgamma] = tgammal, [ROW_digamma] = digamma_l, [ROW_sigmoid] = sigmoid_l,
  [ROW_logsigmoid] = logsigmoid_l,
  [ROW_softplus] = softplus_l, [ROW_relu] = relu_l, [ROW_silu] = silu_l, [ROW_silu_slope] = silu_slope_l,
  [ROW_gelu] = gelu_l, [ROW_gelu_slope] = gelu_slope_l, [ROW_normal_density] = density_l,
};

static binary_l *const binary[ROW_COUNT] = {
  [ROW_add] = add_l, [ROW_sub] = sub_l, [ROW_mul] = mul_l, [ROW_div] = div_l, [ROW_fmod] = fmodl,
  [ROW_pow] = powl,
  [ROW_hypot] = hypotl, [ROW_max] = fmaxl, [ROW_min] = fminl, [ROW_copysign] = copysignl,
  [ROW_logaddexp] = logaddexp_l,
  [ROW_share] = share_l, [ROW_xlogy] = xlogy_l, [ROW_xlog1py] = xlog1py_l, [ROW_atan2] = atan2l,
  [ROW_over_norm2] = over_norm2_l,
};

/* Comparisons and logic, whose value in double decides the same unless the operands differ by less than a
 * double shows. */
static bool decides(elementwise_id row) {
  elementwise_class kind = elementwise_rows[row].kind;
  return kind == CLASS_COMPARE || kind == CLASS_PREDICATE || kind == CLASS_LOGICAL;
}

static bool compare(elementwise_id row, long double x, long double y, long double *z) {
  switch (row) {
    case ROW_less:          return *z = x < y, true;
    case ROW_less_equal:    return *z = x <= y, true;
    case ROW_greater:       return *z = x > y, true;
    case ROW_greater_equal: return *z = x >= y, true;
    case ROW_equal:         return *z = x == y, true;
    case ROW_not_equal:     return *z = x != y, true;
    default:                return false;
  }
}

bool reference_row(elementwise_id row, const long double x[3], long double a, long double *z) {
  const elementwise_row *r = &elementwise_rows[row];
  *z = 0;
  if (unary[row]) *z = unary[row](x[0]);
  else if (binary[row]) *z = binary[row](x[0], x[1]);
  else if (compare(row, x[0], x[1], z)) return true;
  else if (row == ROW_fma) *z = fmal(x[0], x[1], x[2]);
  else if (row == ROW_select) *z = x[0] != 0 ? x[1] : x[2];
  else if (row == ROW_clamp) *z = x[0] > x[2] || x[1] > x[2] ? x[2] : x[0] < x[1] ? x[1] : x[0];
  else if (row == ROW_powi) *z = powl(x[0], a);
  else if (row == ROW_leaky_relu) *z = x[0] > 0 ? x[0] : a*x[0];
  else if (row == ROW_elu) *z = x[0] > 0 ? x[0] : a*expm1l(x[0]);
  else if (row == ROW_trigamma && x[0] > 0) *z = polygamma_l(1, x[0]);
  else if (row == ROW_polygamma && x[0] > 0 && a >= 1 && a < 20) *z = polygamma_l((int)a, x[0]);
  else if (row == ROW_erfinv) *z = erfinv_l(r->evaluate((double)x[0], 0, 0, 0), x[0]);
  else {
    *z = r->evaluate((double)x[0], (double)x[1], (double)x[2], (double)a);
    return decides(row);
  }
  return true;
}

/* --- rules in long double --------------------------------------------------------------------- */

typedef struct operand_set {
  long double x[3], z, g, a;
  const char **doubles;               /* receives the name of a row that was computed in double */
} operand_set;

/* A number of a rule: the constants in it are doubles, but mean these. */
static long double full_constant(double c) {
  static const long double known[] = {
    PI_L, 0.693147180559945309417232121458176568L, 1.442695040888963407359924681001892137L,
    0.434294481903251827651128918916605082L, 1.128379167095512573896158903121545172L,
    0.886226925452758013649083741670572591L, 0.398942280401432677939946059934381868L,
  };
  for (size_t i = 0; i < sizeof known/sizeof *known; i++) if (c == (double)known[i]) return known[i];
  return c;
}

typedef struct piece { long double value; bool none; } piece;

static piece name_piece(const expression_node *n, const operand_set *s) {
  const struct { const char *name; long double value; } letter[] = {
    { "x", s->x[0] }, { "y", s->x[1] }, { "w", s->x[2] }, { "z", s->z }, { "g", s->g }, { "a", s->a },
    { "INFINITY", INFINITY }, { "NAN", NAN },
  };
  for (size_t i = 0; i < sizeof letter/sizeof *letter; i++)
    if (expression_is(n->name, n->name_length, letter[i].name)) return (piece){ letter[i].value, false };
  return (piece){ 0, true };
}

static piece call_piece(const expression *e, const expression_node *n, const operand_set *s,
                        const piece piece_of[]) {
  piece x[3] = { { 0, false }, { 0, false }, { 0, false } };
  int count = 0;
  scalar_call call;
  for (int a = n->first_argument; a >= 0 && count < 3; a = e->node[a].next_argument) x[count++] = piece_of[a];
  if (scalar_call_find(n->name, n->name_length, &call) < 0) return x[0];
  if (call.row == ROW_select) return x[0].value != 0 ? x[1] : x[2];
  const bool attributed = elementwise_rows[call.row].attributed;
  const long double v[3] = { x[attributed ? 1 : 0].value, attributed ? 0 : x[1].value, x[2].value };
  piece z = { 0, false };
  if (!reference_row(call.row, v, x[0].value, &z.value)) *s->doubles = elementwise_rows[call.row].name;
  return z;
}

/* The rule's value; false: not connected, or no memory. */
static bool rule_value(const char *rule, const operand_set *s, long double *z) {
  expression e;
  if (expression_read(&memory_standard, rule, 0, &e, NULL)) return false;
  piece *p = malloc((size_t)e.node_count*sizeof *p);
  for (int i = 0; p && i < e.node_count; i++) {
    const expression_node *n = &e.node[i];
    if (n->kind == EXPRESSION_NUMBER) p[i] = (piece){ full_constant(n->number), false };
    else if (n->kind == EXPRESSION_NAME) p[i] = name_piece(n, s);
    else p[i] = call_piece(&e, n, s, p);
  }
  bool connected = p && !p[e.node_count - 1].none;
  if (connected) *z = p[e.node_count - 1].value;
  free(p);
  expression_free(&memory_standard, &e);
  return connected;
}

/* --- the sweep -------------------------------------------------------------------------------- */

/* A conversion to another data type: the derivative goes through between floats. */
static bool convert(const wengert *w, int i, long double value[], long double d[], bool reached[]) {
  const uint32_t index = w->node[i].index;
  const int operand = wengert_operand(w, i, 0);
  if (node_primitive(w->tape, index) != &cast_primitive) return false;
  const bool exact = operand >= 0 && node_type(w->tape, index)->type.dtype == AD_F64;
  value[i] = exact ? value[operand] : wengert_value(w, i);
  reached[i] = exact && reached[operand] && node_is_float(w->tape, w->node[operand].index);
  d[i] = reached[i] ? d[operand] : 0;
  return true;
}

/* The value and derivative of the operation at place i from those of its operands. */
static bool step(const wengert *w, int i, long double value[], long double d[], bool reached[],
                 const char **doubles) {
  const uint32_t index = w->node[i].index;
  const elementwise_row *row = node_primitive(w->tape, index)->row;
  int n;
  const uint32_t *x = node_operands(w->tape, index, &n);
  operand_set s = { .a = node_row_attribute(w->tape, index), .doubles = doubles };
  if (!row) return convert(w, i, value, d, reached);
  const elementwise_id id = (elementwise_id)(row - elementwise_rows);
  for (int k = 0; k < n; k++)
    s.x[k] = w->place[x[k]] >= 0 ? value[w->place[x[k]]] : ad_value(handle(w->tape, x[k]));
  if (!reference_row(id, s.x, s.a, &value[i])) *doubles = row->name;
  s.z = value[i];
  for (int k = 0; k < n; k++) {
    int operand = w->place[x[k]];
    long double part;
    if (operand < 0 || !reached[operand]) continue;
    s.g = d[operand];
    if (!rule_value(row->rule[k], &s, &part)) continue;
    d[i] += part;
    reached[i] = true;
  }
  return true;
}

int reference_forward(const wengert *w, const options *o, int variable, long double *value,
                      long double *derivative,
                      const char **doubles) {
  bool *reached = calloc((size_t)w->count + 1, sizeof *reached);
  if (!reached) return out_of_memory(o);
  bool fine = true;
  *doubles = NULL;
  for (int i = 0; i < w->count && fine; i++) {
    derivative[i] = i == variable;
    reached[i] = i == variable;
    if (w->node[i].variable) value[i] = wengert_value(w, i);
    else fine = step(w, i, value, derivative, reached, doubles);
  }
  free(reached);
  return fine ? DONE : complain(o, NULL, 0, "check works on functions of scalars");
}
