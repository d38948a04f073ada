/* scalar_calls.c -- calls of the table's rows: literals among themselves are computed here, the rest is
 * recorded. */
#include "formula/scalar_calls.h"
#include "adit/elementwise.h"
#include "tape/tape.h"

#include <math.h>
#include <string.h>

/* The public function behind each row: one, two, three variables, or one and the attribute. */
static const union {
  ad_var (*one)(ad_var);
  ad_var (*two)(ad_var, ad_var);
  ad_var (*three)(ad_var, ad_var, ad_var);
  ad_var (*attributed)(ad_var, double);
} recorder[ROW_COUNT] = {
#define UNARY(name, ...)           [ROW_##name] = { .one = ad_##name },
#define UNARY_ATTRIBUTE(name, ...) [ROW_##name] = { .attributed = ad_##name },
#define BINARY(name, ...)          [ROW_##name] = { .two = ad_##name },
#define TERNARY(name, ...)         [ROW_##name] = { .three = ad_##name },
#include "primitives/elementwise.def"
};

static const struct { const char *name; elementwise_id row; } aliases[] = {
  { "fabs", ROW_abs }, { "fmin", ROW_min }, { "fmax", ROW_max }, { "ln", ROW_log }, { "where", ROW_select },
};

int scalar_call_find(const char *name, int length, scalar_call *out) {
  int row = -1;
  for (int i = 0; i < ROW_COUNT && row < 0; i++)
    if (expression_is(name, length, elementwise_rows[i].name)) row = i;
  for (size_t i = 0; i < sizeof aliases/sizeof *aliases && row < 0; i++)
    if (expression_is(name, length, aliases[i].name)) row = (int)aliases[i].row;
  if (row >= 0 && out)
    *out = (scalar_call){ (elementwise_id)row,
                          expression_is(name, length, "max") || expression_is(name, length, "min") };
  return row;
}

/* --- numbers among themselves ----------------------------------------------------------------- */

/* Sums, differences and products of integer literals stay integers while doubles hold them exactly, so that
 * they can index; everything else is real. */
static ad_var fold(elementwise_id row, int n, const ad_var x[], double attribute) {
  double v[3] = { 0 };
  bool integer = row == ROW_add || row == ROW_sub || row == ROW_mul || row == ROW_neg;
  for (int k = 0; k < n; k++) {
    v[k] = literal_value(x[k]);
    integer = integer && x[k].tape == AD_INTEGER_LITERAL_;
  }
  double z = elementwise_rows[row].evaluate(v[0], v[1], v[2], attribute);
  return integer && fabs(z) < 9007199254740992.0 ? ad_integer((long long)z) : ad_real(z);
}

static bool all_literals(int n, const ad_var x[]) {
  for (int k = 0; k < n; k++) if (!is_literal(x[k])) return false;
  return true;
}

/* --- recording -------------------------------------------------------------------------------- */

/* The quotient of a formula is that of the reals, also for integers. */
static ad_var quotient(ad_var x, ad_var y) {
  ad_type a = ad_type_of(x), b = ad_type_of(y);
  bool integers = (is_literal(x) ? x.tape != NULL : a.dtype < AD_F32)
      && (is_literal(y) ? y.tape != NULL : b.dtype < AD_F32);
  if (integers && !is_literal(x)) x = ad_cast(x, AD_F64);
  if (integers && !is_literal(y)) y = ad_cast(y, AD_F64);
  return ad_div(x, y);
}

static ad_var record(elementwise_id row, int n, const ad_var x[], double attribute) {
  if (all_literals(n, x)) return fold(row, n, x, attribute);
  if (row == ROW_div) return quotient(x[0], x[1]);
  if (elementwise_rows[row].attributed) return recorder[row].attributed(x[0], attribute);
  return n == 1 ? recorder[row].one(x[0]) : n == 2 ? recorder[row].two(x[0], x[1])
                                                   : recorder[row].three(x[0], x[1], x[2]);
}

/* The literal number among the two arguments of an attributed row: powi(3, x), leaky_relu(x, 0.1). */
static bool split_attribute(formula_run *f, int node, ad_var x[2], double *attribute) {
  int k = is_literal(x[0]) ? 0 : 1;
  if (!is_literal(x[k])) {
    formula_refuse(f, node, AD_ERROR_ARGUMENT, "one of the two arguments must be a literal number");
    return false;
  }
  *attribute = literal_value(x[k]);
  x[0] = x[1 - k];
  return true;
}

static ad_var refuse_count(formula_run *f, int node, elementwise_id row, int want) {
  return formula_refuse(f, node, AD_ERROR_SYNTAX, "%s takes %d argument%s, not %d",
                        elementwise_rows[row].name, want,
                        want == 1 ? "" : "s", f->e->node[node].argument_count);
}

/* max(x, y, w, ...) from left to right. */
static ad_var fold_many(formula_run *f, int node, elementwise_id row) {
  const expression_node *e = f->e->node;
  int a = e[node].first_argument;
  ad_var pair[2] = { formula_variable(f, a) };
  while ((a = e[a].next_argument) >= 0) {
    pair[1] = formula_variable(f, a);
    pair[0] = record(row, 2, pair, 0);
  }
  return pair[0];
}

ad_var scalar_call_record(formula_run *f, int node, const scalar_call *s) {
  const expression_node *e = f->e->node;
  const elementwise_row *row = &elementwise_rows[s->row];
  int want = row->arity + row->attributed, n = 0;
  ad_var x[3] = { ad_none(), ad_none(), ad_none() };
  for (int a = e[node].first_argument; a >= 0; a = e[a].next_argument)
    if (e[a].keyword) return formula_refuse(f, a, AD_ERROR_SYNTAX, "%s has no named arguments", row->name);
  if (s->folds && e[node].argument_count > want) return fold_many(f, node, s->row);
  if (e[node].argument_count != want) return refuse_count(f, node, s->row, want);
  for (int a = e[node].first_argument; a >= 0; a = e[a].next_argument) x[n++] = formula_variable(f, a);
  if (f->report->status) return handle_invalid(f->tape);
  double attribute = 0;
  if (row->attributed && !split_attribute(f, node, x, &attribute)) return handle_invalid(f->tape);
  return record(s->row, row->arity, x, attribute);
}
