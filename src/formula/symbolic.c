/* symbolic.c -- expressions read into the algebra, and derivatives from the rules of the table.
 *
 * The arithmetic rows become sums and products, whose derivative is the product rule; every other row stays a
 * call and is differentiated by the text of its row, or where that is written for accuracy rather than for
 * the eye, by its textbook form below (the tests compare both).
 */
#include "formula/symbolic.h"
#include "formula/names.h"
#include "formula/scalar_calls.h"

#include <stdio.h>
#include <string.h>

/* Rules as textbooks print them, by operand; NULL: none. */
static const struct { elementwise_id row; const char *rule[2]; } textbook[] = {
  { ROW_abs,       { "sign(x)" } },
  { ROW_relu,      { "x > 0 ? 1 : 0" } },
  { ROW_max,       { "x > y ? 1 : x < y ? 0 : 1/2", "x > y ? 0 : x < y ? 1 : 1/2" } },
  { ROW_min,       { "x < y ? 1 : x > y ? 0 : 1/2", "x < y ? 0 : x > y ? 1 : 1/2" } },
  { ROW_tanh,      { "1/cosh(x)^2" } },
  { ROW_sech2,     { "-2*tanh(x)/cosh(x)^2" } },
  { ROW_asinh,     { "1/sqrt(1 + x^2)" } },
  { ROW_acosh,     { "1/sqrt(x^2 - 1)" } },
  { ROW_log2,      { "1/(x*log(2))" } },
  { ROW_log10,     { "1/(x*log(10))" } },
  { ROW_erf,       { "2*exp(-x^2)/sqrt(pi)" } },
  { ROW_erfc,      { "-2*exp(-x^2)/sqrt(pi)" } },
  { ROW_erfinv,    { "sqrt(pi)/2*exp(z^2)" } },
  { ROW_sinpi,     { "pi*cospi(x)" } },
  { ROW_cospi,     { "-pi*sinpi(x)" } },
  { ROW_sigmoid,   { "z*(1 - z)" } },
  { ROW_logaddexp, { "exp(x)/(exp(x) + exp(y))", "exp(y)/(exp(x) + exp(y))" } },
  { ROW_atan2,     { "y/(x^2 + y^2)", "-x/(x^2 + y^2)" } },
};

static const char *rule_text(elementwise_id row, int k) {
  for (size_t i = 0; i < sizeof textbook/sizeof *textbook; i++)
    if (textbook[i].row == row) return textbook[i].rule[k];
  return elementwise_rows[row].rule[k];
}

/* --- rows as terms ---------------------------------------------------------------------------- */

static int half(algebra *a, int64_t sign) { return algebra_number(a, fraction_make(sign, 2)); }
static int none(algebra *a) { return algebra_symbol(a, "NONE", 4, true); }
static int not_a_number(algebra *a) { return algebra_symbol(a, "nan", 3, true); }

static int row_add(algebra *a, const int x[]) { return algebra_add(a, x[0], x[1]); }
static int row_sub(algebra *a, const int x[]) { return algebra_subtract(a, x[0], x[1]); }
static int row_mul(algebra *a, const int x[]) { return algebra_multiply(a, x[0], x[1]); }
static int row_div(algebra *a, const int x[]) { return algebra_divide(a, x[0], x[1]); }
static int row_neg(algebra *a, const int x[]) { return algebra_scale(a, fraction_integer(-1), x[0]); }
static int row_fma(algebra *a, const int x[]) {
  return algebra_add(a, algebra_multiply(a, x[0], x[1]), x[2]);
}
static int row_pow(algebra *a, const int x[]) { return algebra_power(a, x[0], x[1]); }
static int row_powi(algebra *a, const int x[]) { return algebra_power(a, x[1], x[0]); }
static int row_square(algebra *a, const int x[]) { return algebra_power(a, x[0], algebra_integer(a, 2)); }
static int row_reciprocal(algebra *a, const int x[]) {
  return algebra_power(a, x[0], algebra_integer(a, -1));
}
static int row_sqrt(algebra *a, const int x[]) { return algebra_power(a, x[0], half(a, 1)); }
static int row_rsqrt(algebra *a, const int x[]) { return algebra_power(a, x[0], half(a, -1)); }
static int row_exp(algebra *a, const int x[]) { return algebra_power(a, algebra_e(a), x[0]); }
static int row_exp2(algebra *a, const int x[]) { return algebra_power(a, algebra_integer(a, 2), x[0]); }
static int row_sech2(algebra *a, const int x[]) {
  return algebra_power(a, algebra_call(a, "cosh", 4, 1, x), algebra_integer(a, -2));
}

/* Whether a condition holds at single points only: x == c, or that and something else. */
static bool pointwise(const algebra *a, int t) {
  if (term_is_call(a, t, "equal")) return true;
  if (!term_is_call(a, t, "logical_and")) return false;
  return term_is_call(a, term_parts(a, t)[0].term, "equal")
         || term_is_call(a, term_parts(a, t)[1].term, "equal");
}

/* c ? x : y. What is NAN is outside of the domain; NONE at single points gives way to the rule around them,
 * and is 0 elsewhere. */
static int row_select(algebra *a, const int x[]) {
  const int nothing = none(a), bad = not_a_number(a);
  if (a->term[x[0]].kind == TERM_NUMBER) return fraction_is(a->term[x[0]].number, 0) ? x[2] : x[1];
  if (x[1] == x[2] || x[1] == bad || (x[1] == nothing && pointwise(a, x[0]))) return x[2];
  const int zero = algebra_integer(a, 0);
  const int argument[3] = { x[0], x[1] == nothing ? zero : x[1], x[2] == nothing ? zero : x[2] };
  if (argument[1] == argument[2]) return argument[1];
  return algebra_call(a, "select", 6, 3, argument);
}

static const struct { elementwise_id row; int (*build)(algebra *a, const int x[]); } built[] = {
  { ROW_add, row_add }, { ROW_sub, row_sub }, { ROW_mul, row_mul }, { ROW_div, row_div },
  { ROW_neg, row_neg },
  { ROW_fma, row_fma }, { ROW_pow, row_pow }, { ROW_powi, row_powi }, { ROW_square, row_square },
  { ROW_reciprocal, row_reciprocal }, { ROW_sqrt, row_sqrt }, { ROW_rsqrt, row_rsqrt }, { ROW_exp, row_exp },
  { ROW_exp2, row_exp2 }, { ROW_sech2, row_sech2 }, { ROW_select, row_select },
};

/* The call's value when all arguments are numbers and it is exact: any arithmetic, and functions at -1, 0, 1
 * that give an integer. */
static int folded(algebra *a, elementwise_id row, int count, const int x[]) {
  const elementwise_row *r = &elementwise_rows[row];
  const bool arithmetic = r->kind != CLASS_FLOAT && r->kind != CLASS_PREDICATE;
  double v[4] = { 0 };
  for (int i = 0; i < count; i++) {
    const term *t = &a->term[x[i]];
    if (t->kind != TERM_NUMBER || !t->number.q || t->number.decimal) return -1;
    if (!arithmetic && (t->number.q != 1 || t->number.p < -1 || t->number.p > 1)) return -1;
    v[i] = fraction_value(t->number);
  }
  double z = r->attributed ? r->evaluate(v[1], 0, 0, v[0]) : r->evaluate(v[0], v[1], v[2], 0);
  fraction f = fraction_read(z, true);
  return f.q == 1 ? algebra_number(a, f) : -1;
}

/* x == x is true, x < x is false. */
static int same_operands(algebra *a, elementwise_id row, const int x[]) {
  if (elementwise_rows[row].kind != CLASS_COMPARE || x[0] != x[1]) return -1;
  return algebra_integer(a, row == ROW_equal || row == ROW_less_equal || row == ROW_greater_equal);
}

/* c || 0 is c, c && 0 is 0, and so on. */
static int logical(algebra *a, elementwise_id row, const int x[]) {
  if (row != ROW_logical_or && row != ROW_logical_and) return -1;
  for (int i = 0; i < 2; i++) {
    if (a->term[x[i]].kind != TERM_NUMBER) continue;
    bool truth = !fraction_is(a->term[x[i]].number, 0);
    return truth == (row == ROW_logical_or) ? algebra_integer(a, truth) : x[1 - i];
  }
  return -1;
}

/* The row on terms; an attribute is the first of them. */
static int row_term(algebra *a, elementwise_id row, int count, const int x[]) {
  for (size_t i = 0; i < sizeof built/sizeof *built; i++)
    if (built[i].row == row) return built[i].build(a, x);
  int z = folded(a, row, count, x);
  if (z < 0) z = same_operands(a, row, x);
  if (z < 0) z = logical(a, row, x);
  const char *name = elementwise_rows[row].name;
  return z >= 0 ? z : algebra_call(a, name, (int)strlen(name), count, x);
}

/* --- expressions as terms --------------------------------------------------------------------- */

typedef struct reader {
  algebra *a;
  const expression *e;
  name_table names;                   /* to terms */
  int *value;                         /* of every node */
  bool rule;                          /* a text of the table, not a user's */
  uint8_t *deferred;                  /* sums inside of sums, which their outermost sum takes up */
  ad_formula_report *report;
} reader;

static int refuse(reader *r, int node, ad_status status, const char *what, const char *name, int length) {
  if (!r->report->status) {
    r->report->status = status;
    r->report->position = r->e->node[node].position;
    snprintf(r->report->message, sizeof r->report->message, "%.*s%s", length < 60 ? length : 60, name, what);
  }
  return -1;
}

static bool is_sum(const expression_node *n) {
  return n->kind == EXPRESSION_CALL
         && ((n->argument_count == 2
              && (expression_is(n->name, n->name_length, "add")
                  || expression_is(n->name, n->name_length, "sub")))
             || (n->argument_count == 1 && expression_is(n->name, n->name_length, "neg")));
}

static void find_deferred(reader *r) {
  for (int i = 0; i < r->e->node_count; i++)
    if (is_sum(&r->e->node[i]))
      for (int k = r->e->node[i].first_argument; k >= 0; k = r->e->node[k].next_argument)
        r->deferred[k] = is_sum(&r->e->node[k]);
}

/* All summands of an outermost sum at once: a sum of n terms costs n log n. The stack holds nodes with their
 * sign. */
static int sum_term(reader *r, int root) {
  part_list stack = { 0 }, l = { 0 };
  bool fine = part_list_add(r->a, &stack, (part){ fraction_integer(1), root, 0 });
  while (fine && stack.count) {
    part p = stack.item[--stack.count];
    const expression_node *n = &r->e->node[p.term];
    if (p.term != root && !r->deferred[p.term]) {
      fine = part_list_add(r->a, &l, (part){ p.coefficient, r->value[p.term], 0 });
      continue;
    }
    bool minus = !expression_is(n->name, n->name_length, "add");
    int last = n->argument_count == 1 ? n->first_argument : r->e->node[n->first_argument].next_argument;
    if (n->argument_count == 2)
      fine = part_list_add(r->a, &stack, (part){ p.coefficient, n->first_argument, 0 });
    if (minus) p.coefficient = fraction_negate(p.coefficient);
    fine = fine && part_list_add(r->a, &stack, (part){ p.coefficient, last, 0 });
  }
  part_list_free(r->a, &stack);
  if (fine) return algebra_sum(r->a, fraction_integer(0), &l);
  part_list_free(r->a, &l);
  return 0;
}

static int name_term(reader *r, int node) {
  static const char *const constants[] = { "pi", "e", "nan", "inf" };
  const expression_node *n = &r->e->node[node];
  const name_entry *bound = names_find(&r->names, n->name, n->name_length);
  if (bound) return bound->value;
  if (expression_is(n->name, n->name_length, "NAN")) return not_a_number(r->a);
  if (expression_is(n->name, n->name_length, "INFINITY")) return algebra_symbol(r->a, "inf", 3, true);
  if (expression_is(n->name, n->name_length, "NONE")) return none(r->a);
  for (size_t i = 0; i < sizeof constants/sizeof *constants; i++)
    if (expression_is(n->name, n->name_length, constants[i]))
      return algebra_symbol(r->a, n->name, n->name_length, true);
  if (formula_has_function(n->name, n->name_length))
    return refuse(r, node, AD_ERROR_SYNTAX, " is a function: its arguments are missing", n->name,
                  n->name_length);
  return algebra_symbol(r->a, n->name, n->name_length, false);
}

/* max and min of more than two, from left to right. */
static int folded_call(algebra *a, elementwise_id row, int count, const int x[]) {
  int z = x[0];
  for (int i = 1; i < count; i++) z = row_term(a, row, 2, (const int[]){ z, x[i] });
  return z;
}

static int call_term(reader *r, int node) {
  enum { MOST = 64 };
  const expression_node *n = &r->e->node[node];
  int x[MOST], count = 0;
  scalar_call s;
  bool named = false;
  if (n->argument_count > MOST) return refuse(r, node, AD_ERROR_LIMIT, "more than 64 arguments", "", 0);
  for (int k = n->first_argument; k >= 0; k = r->e->node[k].next_argument) {
    x[count++] = r->value[k];
    named = named || r->e->node[k].keyword;
  }
  if (expression_is(n->name, n->name_length, "C") && count == 1) return x[0];
  if (expression_is(n->name, n->name_length, "f64") && count == 1) return x[0];
  int row = scalar_call_find(n->name, n->name_length, &s);
  if (row < 0 && !formula_has_function(n->name, n->name_length))
    return refuse(r, node, AD_ERROR_SYNTAX, ": there is no such function", n->name, n->name_length);
  if (row < 0 || named || (s.folds && count == 1))
    return refuse(r, node, AD_ERROR_UNSUPPORTED,
                  " works on arrays; symbolic derivatives are those of scalars", n->name, n->name_length);
  int want = elementwise_rows[row].arity + elementwise_rows[row].attributed;
  if (s.folds && count > want) return folded_call(r->a, s.row, count, x);
  if (count != want)
    return refuse(r, node, AD_ERROR_SYNTAX, ": wrong number of arguments", n->name, n->name_length);
  if (elementwise_rows[row].attributed && r->a->term[x[0]].kind != TERM_NUMBER) {
    int swap = x[0];
    x[0] = x[1], x[1] = swap;
  }
  return row_term(r->a, s.row, count, x);
}

static int node_term(reader *r, int node) {
  const expression_node *n = &r->e->node[node];
  if (n->kind == EXPRESSION_NUMBER) {
    fraction f = fraction_read(n->number, n->integer);
    if (r->rule && f.q && f.q <= 1000) f.decimal = false;             /* C(0.5) in a rule is one half */
    return algebra_number(r->a, f);
  }
  if (n->kind == EXPRESSION_NAME) return name_term(r, node);
  if (n->kind != EXPRESSION_CALL)
    return refuse(r, node, AD_ERROR_UNSUPPORTED, "symbolic derivatives are those of scalars", "", 0);
  if (is_sum(n)) return sum_term(r, node);
  return call_term(r, node);
}

static bool read_statements(reader *r, part_list *out) {
  const expression *e = r->e;
  int node = 0;
  find_deferred(r);
  for (int s = 0; s < e->statement_count; s++) {
    const expression_statement *st = &e->statement[s];
    for (; node <= st->root; node++) {
      if (!r->deferred[node] && (r->value[node] = node_term(r, node)) < 0) return false;
      if (r->a->status) return false;
    }
    if (!st->name) {
      if (!part_list_add(r->a, out, (part){ fraction_integer(1), r->value[st->root], 0 })) return false;
    } else if (!names_put(r->a->allocator, &r->names, st->name, st->name_length, r->value[st->root]))
      return false;
  }
  return true;
}

/* Reads e with the names that are entered already; frees them. */
static bool read_expression(reader *r, part_list *out) {
  const size_t n = (size_t)r->e->node_count;
  r->value = memory_get(r->a->allocator, n*sizeof *r->value);
  r->deferred = memory_get_zeroed(r->a->allocator, n, 1);
  bool fine = r->value && r->deferred && read_statements(r, out);
  if (!fine && !r->report->status && !r->a->status) algebra_refuse(r->a, AD_ERROR_MEMORY);
  memory_release(r->a->allocator, r->value, n*sizeof *r->value);
  memory_release(r->a->allocator, r->deferred, n);
  names_free(r->a->allocator, &r->names);
  return fine;
}

ad_status symbolic_read(algebra *a, const expression *e, int n, const char *const wrt[], part_list *out,
                        ad_formula_report *report) {
  reader r = { .a = a, .e = e, .report = report };
  bool fine = true;
  for (int i = 0; i < n && fine; i++) {
    int length = (int)strlen(wrt[i]), t = algebra_symbol(a, wrt[i], length, false);
    fine = !a->status && names_put(a->allocator, &r.names, wrt[i], length, t);
  }
  if (fine) fine = read_expression(&r, out);
  else names_free(a->allocator, &r.names);
  if (!fine && !report->status) {
    report->status = a->status ? a->status : AD_ERROR_MEMORY;
    snprintf(report->message, sizeof report->message, "%s", ad_status_sentence(report->status));
  }
  return report->status;
}

/* --- derivatives ------------------------------------------------------------------------------ */

/* The k-th rule of a row at its operands: what the row makes of g = 1. */
static int slope(algebra *a, elementwise_id row, int k, const int x[], int z) {
  static const char letter[] = "xyw";
  const elementwise_row *e = &elementwise_rows[row];
  const char *text = rule_text(row, k);
  ad_formula_report report = { 0 };
  expression parsed;
  part_list out = { 0 };
  if (!text) return algebra_refuse(a, AD_ERROR_DERIVATIVE);
  ad_status status = expression_read(a->allocator, text, 0, &parsed, NULL);
  if (status) return algebra_refuse(a, status);
  reader r = { .a = a, .e = &parsed, .rule = true, .report = &report };
  bool fine = names_put(a->allocator, &r.names, "g", 1, algebra_integer(a, 1))
      && names_put(a->allocator, &r.names, "z", 1, z);
  for (int i = 0; i < e->arity && fine; i++)
    fine = names_put(a->allocator, &r.names, letter + i, 1, x[i + e->attributed]);
  if (e->attributed && fine) fine = names_put(a->allocator, &r.names, "a", 1, x[0]);
  if (!fine) algebra_refuse(a, AD_ERROR_MEMORY);
  fine = read_expression(&r, &out) && fine;
  int d = fine && out.count == 1 ? out.item[0].term : algebra_refuse(a, AD_ERROR_DERIVATIVE);
  part_list_free(a, &out);
  expression_free(a->allocator, &parsed);
  return d == none(a) ? algebra_integer(a, 0) : d;
}

static int call_derivative(algebra *a, int t, const int d[]) {
  const term s = a->term[t];
  scalar_call call;
  int x[4] = { 0 }, row = scalar_call_find(s.name, s.length, &call), z = algebra_integer(a, 0);
  if (row < 0 || s.count > 4) return algebra_refuse(a, AD_ERROR_DERIVATIVE);
  for (int i = 0; i < s.count; i++) x[i] = a->part[s.first + i].term;
  for (int i = elementwise_rows[row].attributed; i < s.count && !a->status; i++) {
    if (term_is_number(a, d[x[i]], 0)) continue;
    int k = i - elementwise_rows[row].attributed;
    z = algebra_add(a, z, algebra_multiply(a, slope(a, call.row, k, x, t), d[x[i]]));
  }
  return z;
}

/* c ? x : y has the derivative c ? x' : y'. */
static int select_derivative(algebra *a, int t, const int d[]) {
  const part *p = term_parts(a, t);
  const int x[3] = { p[0].term, d[p[1].term], d[p[2].term] };
  return row_select(a, x);
}

static int sum_derivative(algebra *a, int t, const int d[]) {
  const term s = a->term[t];
  part_list l = { 0 };
  for (int i = 0; i < s.count; i++) {
    part p = a->part[s.first + i];
    if (!part_list_add(a, &l, (part){ p.coefficient, d[p.term], 0 })) break;
  }
  return algebra_sum(a, fraction_integer(0), &l);
}

/* The summand of the product rule for factor k, base^e: ... e base^(e - 1) base' + ... base^e log(base) e' */
static int factor_derivative(algebra *a, int t, int k, const int d[]) {
  const term s = a->term[t];
  const part f = a->part[s.first + k];
  int z = algebra_integer(a, 0);
  if (!term_is_number(a, d[f.term], 0)) {
    part_list l = { 0 };
    for (int i = 0; i < s.count; i++) {
      part p = a->part[s.first + i];
      if (i == k) p.exponent = algebra_subtract(a, p.exponent, algebra_integer(a, 1));
      part_list_add(a, &l, p);
    }
    int one = algebra_integer(a, 1);
    part_list_add(a, &l, (part){ fraction_integer(1), f.exponent, one });
    part_list_add(a, &l, (part){ fraction_integer(1), d[f.term], one });
    z = algebra_product(a, fraction_integer(1), &l);
  }
  if (!term_is_number(a, d[f.exponent], 0)) {
    int base = f.term, ln = row_term(a, ROW_log, 1, &base);
    z = algebra_add(a, z, algebra_multiply(a, t, algebra_multiply(a, ln, d[f.exponent])));
  }
  return z;
}

static int term_derivative(algebra *a, int t, int x, const int d[]) {
  const term s = a->term[t];
  if (t == x) return algebra_integer(a, 1);
  if (s.kind == TERM_SUM) return sum_derivative(a, t, d);
  if (s.kind == TERM_CALL)
    return term_is_call(a, t, "select") ? select_derivative(a, t, d) : call_derivative(a, t, d);
  int z = algebra_integer(a, 0);
  if (s.kind == TERM_PRODUCT)
    for (int k = 0; k < s.count && !a->status; k++) z = algebra_add(a, z, factor_derivative(a, t, k, d));
  return z;
}

/* Which terms f consists of. */
static void mark(const algebra *a, int f, uint8_t needed[]) {
  needed[f] = 1;
  for (int t = f; t >= 0; t--)
    for (int i = 0; needed[t] && i < a->term[t].count; i++) {
      needed[term_parts(a, t)[i].term] = 1;
      needed[term_parts(a, t)[i].exponent] = 1;
    }
}

int symbolic_derivative(algebra *a, int f, int x) {
  const size_t n = (size_t)(f > x ? f : x) + 1;
  int *d = memory_get_zeroed(a->allocator, n, sizeof *d), z = 0;
  uint8_t *needed = memory_get_zeroed(a->allocator, n, 1);
  if (d && needed) {
    mark(a, f, needed);
    for (int t = 0; t <= f && !a->status; t++) if (needed[t]) d[t] = term_derivative(a, t, x, d);
    z = d[f];
  } else algebra_refuse(a, AD_ERROR_MEMORY);
  memory_release(a->allocator, d, n*sizeof *d);
  memory_release(a->allocator, needed, n);
  return a->status ? 0 : z;
}
