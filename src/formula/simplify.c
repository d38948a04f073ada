/* simplify.c -- choosing how an expression is written: among the expanded form, the one with common factors
 * taken out and the one over a common denominator, the shortest wins; a form must be shorter to replace the
 * one that is there.
 *
 * The candidates are those that textbooks choose between: (1 - x)(1 + x) or 1 - x^2; e^x (2x + x^2) + ... or
 * the sum; 1/(1 + x) - x/(1 + x)^2 or 1/(1 + x)^2. Powers of plain variables are never taken out of a sum: x
 * + x^2 stays.
 */
#include "formula/algebra.h"

#include <string.h>

enum { MAX_EXPANDED = 64, MAX_POWER = 6 };

static bool small_integer(const algebra *a, int e, int64_t *n) {
  const term *t = &a->term[e];
  if (t->kind != TERM_NUMBER || !fraction_is_integer(t->number)) return false;
  *n = t->number.p;
  return *n >= -64 && *n <= 64;
}

/* --- multiplying out -------------------------------------------------------------------------- */

/* Multiplies every summand of l by every summand of the sum s. False when that gets long. */
static bool cross(algebra *a, part_list *l, int s) {
  const term t = a->term[s];
  const bool constant = !fraction_is(t.number, 0);
  part_list z = { 0 };
  if (l->count*(t.count + constant) > MAX_EXPANDED) return false;
  for (int i = 0; i < l->count; i++) {
    part p = l->item[i];
    if (constant) part_list_add(a, &z, (part){ fraction_multiply(p.coefficient, t.number), p.term, 0 });
    for (int k = 0; k < t.count; k++) {
      part q = a->part[t.first + k];
      part_list_add(a, &z,
                    (part){ fraction_multiply(p.coefficient, q.coefficient),
                            algebra_multiply(a, p.term, q.term), 0 });
    }
  }
  part_list_free(a, l);
  *l = z;
  return !a->status;
}

/* The product p with its sums multiplied out; p itself when there is nothing to do or too much. */
static int expand_product(algebra *a, int p) {
  const term t = a->term[p];
  part_list rest = { 0 }, l = { 0 };
  int64_t n;
  bool any = false, fine = true;
  for (int i = 0; i < t.count; i++) {
    part q = a->part[t.first + i];
    bool sum = a->term[q.term].kind == TERM_SUM && small_integer(a, q.exponent, &n) && n > 0
        && n <= MAX_POWER;
    any = any || sum;
    if (!sum) part_list_add(a, &rest, q);
  }
  int other = algebra_product(a, fraction_integer(1), &rest);
  fine = any && part_list_add(a, &l, (part){ fraction_integer(1), other, 0 });
  for (int i = 0; i < t.count && fine; i++) {
    part q = a->part[t.first + i];
    if (a->term[q.term].kind != TERM_SUM || !small_integer(a, q.exponent, &n) || n <= 0 || n > MAX_POWER)
      continue;
    for (; n > 0 && fine; n--) fine = cross(a, &l, q.term);
  }
  if (fine) return algebra_sum(a, fraction_integer(0), &l);
  part_list_free(a, &l);
  return p;
}

/* All summands of x multiplied out. */
static int expand(algebra *a, int x) {
  const term t = a->term[x];
  if (t.kind == TERM_PRODUCT) return expand_product(a, x);
  if (t.kind != TERM_SUM) return x;
  part_list l = { 0 };
  for (int i = 0; i < t.count; i++) {
    part p = a->part[t.first + i];
    if (a->term[p.term].kind == TERM_PRODUCT) p.term = expand_product(a, p.term);
    part_list_add(a, &l, (part){ p.coefficient, p.term, 0 });
  }
  return algebra_sum(a, t.number, &l);
}

/* --- common factors --------------------------------------------------------------------------- */

/* The exponent of base in x, seen as a product: -1 if it has none. */
static int exponent_in(algebra *a, int x, int base) {
  const term t = a->term[x];
  if (x == base) return algebra_integer(a, 1);
  if (t.kind == TERM_PRODUCT)
    for (int i = 0; i < t.count; i++)
      if (a->part[t.first + i].term == base) return a->part[t.first + i].exponent;
  return -1;
}

/* The power of base that all summands of the sum s have: -1 if none. Equal exponents, or the smallest of
 * positive ones; but of plain variables no positive integer power. */
static int common_exponent(algebra *a, int s, int base) {
  const term t = a->term[s];
  int common = -1, one = algebra_integer(a, 1);
  if (!fraction_is(t.number, 0)) return -1;
  for (int i = 0; i < t.count; i++) {
    int e = exponent_in(a, a->part[t.first + i].term, base);
    if (e < 0) return -1;
    if (common < 0 || e == common) {
      common = e;
      continue;
    }
    const term *x = &a->term[e], *y = &a->term[common];
    if (x->kind != TERM_NUMBER || y->kind != TERM_NUMBER) return -1;
    if (fraction_is_negative(x->number) || fraction_is_negative(y->number)) return -1;
    if (fraction_compare(x->number, y->number) < 0) common = e;
  }
  const term *e = common < 0 ? NULL : &a->term[common];
  bool variable = a->term[base].kind == TERM_SYMBOL && !a->term[base].constant;
  if (e && variable && e->kind == TERM_NUMBER && !fraction_is_negative(e->number)
      && (fraction_is_integer(e->number) || common == one))
    return -1;
  return common;
}

/* The list of factors that all summands of s share. */
static bool common_factors(algebra *a, int s, part_list *shared) {
  const int first = term_parts(a, s)->term;
  const term t = a->term[first];
  int n = t.kind == TERM_PRODUCT ? t.count : 1;
  for (int i = 0; i < n; i++) {
    int base = t.kind == TERM_PRODUCT ? a->part[t.first + i].term : first;
    int e = common_exponent(a, s, base);
    if (e >= 0 && !part_list_add(a, shared, (part){ fraction_integer(1), base, e })) return false;
  }
  return shared->count > 0;
}

/* s with what all its summands share taken out; s itself when they share nothing. */
static int factored(algebra *a, int s) {
  const term t = a->term[s];
  part_list shared = { 0 }, l = { 0 };
  if (t.kind != TERM_SUM || t.count < 2 || !common_factors(a, s, &shared)) {
    part_list_free(a, &shared);
    return s;
  }
  int common = algebra_product(a, fraction_integer(1), &shared);
  for (int i = 0; i < t.count; i++) {
    part p = a->part[t.first + i];
    part_list_add(a, &l, (part){ p.coefficient, algebra_divide(a, p.term, common), 0 });
  }
  int inner = algebra_sum(a, fraction_integer(0), &l), wide = expand(a, inner);
  if (a->term[wide].cost < a->term[inner].cost) inner = wide;
  return algebra_multiply(a, common, inner);
}

/* --- common denominators ---------------------------------------------------------------------- */

/* Enters every sum that a summand of s is divided by, with its highest power. */
static void denominators(algebra *a, int s, part_list *l) {
  const term t = a->term[s];
  int64_t n, m;
  for (int i = 0; i < t.count; i++) {
    const term p = a->term[a->part[t.first + i].term];
    for (int k = 0; p.kind == TERM_PRODUCT && k < p.count; k++) {
      part q = a->part[p.first + k];
      if (a->term[q.term].kind != TERM_SUM || !small_integer(a, q.exponent, &n) || n >= 0) continue;
      int j = 0;
      while (j < l->count && l->item[j].term != q.term) j++;
      if (j == l->count) part_list_add(a, l, q);
      else if (small_integer(a, l->item[j].exponent, &m) && n < m) l->item[j].exponent = q.exponent;
    }
  }
}

/* s over the common denominator of its summands, the numerator multiplied out; s itself when there is
 * none. */
static int over_denominator(algebra *a, int s) {
  const term t = a->term[s];
  part_list below = { 0 }, above = { 0 };
  if (t.kind != TERM_SUM) return s;
  denominators(a, s, &below);
  if (!below.count || t.count + !fraction_is(t.number, 0) < 2 || a->status) {
    part_list_free(a, &below);
    return s;
  }
  int inverse = algebra_product(a, fraction_integer(1), &below);
  int denominator = algebra_power(a, inverse, algebra_integer(a, -1));
  for (int i = 0; i < t.count; i++) {
    part p = a->part[t.first + i];
    part_list_add(a, &above, (part){ p.coefficient, algebra_multiply(a, p.term, denominator), 0 });
  }
  if (!fraction_is(t.number, 0)) part_list_add(a, &above, (part){ t.number, denominator, 0 });
  int numerator = algebra_sum(a, fraction_integer(0), &above);
  int wide = expand(a, numerator);
  if (a->term[wide].cost < a->term[numerator].cost) numerator = wide;
  return algebra_multiply(a, factored(a, numerator), inverse);
}

/* --- fractions in products -------------------------------------------------------------------- */

/* The product p with the sums it is divided by multiplied out together: 1/((1 - x)(1 + x)) = 1/(1 - x^2). */
static int expanded_below(algebra *a, int p) {
  const term t = a->term[p];
  part_list above = { 0 }, below = { 0 };
  int64_t n;
  if (t.kind != TERM_PRODUCT) return p;
  for (int i = 0; i < t.count; i++) {
    part q = a->part[t.first + i];
    bool under = a->term[q.term].kind == TERM_SUM && small_integer(a, q.exponent, &n) && n < 0;
    if (under) q.exponent = algebra_integer(a, -n);
    part_list_add(a, under ? &below : &above, q);
  }
  bool several = below.count > 1;
  int x = algebra_product(a, fraction_integer(1), &above),
      y = algebra_product(a, fraction_integer(1), &below);
  return several ? algebra_divide(a, x, expand(a, y)) : p;
}

/* The highest power of a variable that a summand of s is divided by: *n > 0, and the variable; -1 if there is
 * none. */
static int variable_below(const algebra *a, int s, int64_t *n) {
  int64_t m;
  for (int i = 0; i < a->term[s].count; i++) {
    const term *p = &a->term[term_parts(a, s)[i].term];
    for (int k = 0; p->kind == TERM_PRODUCT && k < p->count; k++) {
      const part *q = a->part + p->first + k;
      if (a->term[q->term].kind != TERM_SYMBOL || !small_integer(a, q->exponent, &m) || m >= 0) continue;
      *n = -m;
      return q->term;
    }
  }
  return -1;
}

/* The product p with fractions inside of its sums cleared: 1/(y (1 + x^2/y^2)) = y/(x^2 + y^2). */
static int cleared(algebra *a, int p) {
  const term t = a->term[p];
  part_list l = { 0 };
  bool any = false;
  int64_t n, m;
  if (t.kind != TERM_PRODUCT) return p;
  for (int i = 0; i < t.count; i++) {
    part q = a->part[t.first + i];
    int y = a->term[q.term].kind == TERM_SUM && small_integer(a, q.exponent, &n)
        ? variable_below(a, q.term, &m) : -1;
    if (y >= 0) {
      int up = algebra_power(a, y, algebra_integer(a, m)), one = algebra_integer(a, 1);
      part_list_add(a, &l,
                    (part){ fraction_integer(1), expand(a, algebra_multiply(a, q.term, up)), q.exponent });
      part_list_add(a, &l, (part){ fraction_integer(1), algebra_power(a, up, algebra_integer(a, -n)), one });
      any = true;
    } else part_list_add(a, &l, q);
  }
  int z = algebra_product(a, fraction_integer(1), &l);
  return any ? z : p;
}

/* --- the pass --------------------------------------------------------------------------------- */

static int shorter(const algebra *a, int x, int y) { return a->term[y].cost < a->term[x].cost ? y : x; }

/* The shortest form of one sum or product whose parts are simplified. */
static int best(algebra *a, int x) {
  if (a->status || (a->term[x].kind != TERM_SUM && a->term[x].kind != TERM_PRODUCT)) return x;
  fraction c;
  int rest;
  term_split(a, x, &c, &rest);
  int wide = expand(a, rest), z = shorter(a, rest, wide);
  z = shorter(a, z, factored(a, wide));
  z = shorter(a, z, over_denominator(a, wide));
  z = shorter(a, z, factored(a, rest));
  z = shorter(a, z, expanded_below(a, rest));
  z = shorter(a, z, cleared(a, rest));
  z = shorter(a, z, over_denominator(a, rest));
  return rest == x ? z : z == rest ? x : algebra_scale(a, c, z);
}

/* Term t again with its parts replaced. */
static int rebuilt(algebra *a, int t, const int replaced[]) {
  const term s = a->term[t];
  part_list l = { 0 };
  int argument[8], z;
  if (s.kind == TERM_NUMBER || s.kind == TERM_SYMBOL) return t;
  if (s.kind == TERM_CALL) {
    for (int i = 0; i < s.count; i++) argument[i] = replaced[a->part[s.first + i].term];
    return algebra_call(a, s.name, s.length, s.count, argument);
  }
  for (int i = 0; i < s.count; i++) {
    part p = a->part[s.first + i];
    p.term = replaced[p.term];
    if (s.kind == TERM_PRODUCT) p.exponent = replaced[p.exponent];
    part_list_add(a, &l, p);
  }
  z = s.kind == TERM_SUM ? algebra_sum(a, s.number, &l) : algebra_product(a, fraction_integer(1), &l);
  return best(a, z);
}

/* Marks what x consists of, downwards. */
static void mark(const algebra *a, int x, uint8_t needed[]) {
  needed[x] = 1;
  for (int t = x; t >= 0; t--) {
    if (!needed[t]) continue;
    const term *s = &a->term[t];
    for (int i = 0; i < s->count; i++) {
      const part *p = term_parts(a, t) + i;
      needed[p->term] = 1;
      if (s->kind == TERM_PRODUCT) needed[p->exponent] = 1;
    }
  }
}

static int pass(algebra *a, int x) {
  const size_t n = (size_t)x + 1;
  int *replaced = memory_get(a->allocator, n*sizeof *replaced);
  uint8_t *needed = memory_get_zeroed(a->allocator, n, 1);
  int z = 0;
  if (replaced && needed) {
    mark(a, x, needed);
    for (int t = 0; t <= x; t++) replaced[t] = needed[t] && !a->status ? rebuilt(a, t, replaced) : 0;
    z = replaced[x];
  } else algebra_refuse(a, AD_ERROR_MEMORY);
  memory_release(a->allocator, replaced, n*sizeof *replaced);
  memory_release(a->allocator, needed, n);
  return a->status ? 0 : z;
}

int algebra_simplify(algebra *a, int x) {
  for (int round = 0; round < 3 && !a->status; round++) {
    int z = pass(a, x);
    if (z == x) break;
    x = z;
  }
  return x;
}
