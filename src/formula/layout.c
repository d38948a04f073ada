/* layout.c -- the order in which a textbook writes things, and where it puts fractions and roots.
 *
 * A sum is written by ascending degree, then what is no polynomial; a summand without minus comes first if
 * there is one. A product is a fraction: numbers, constants, variables, sums, exponentials, functions above
 * and below the line; b^(1/2) is sqrt(b).
 */
#include "formula/layout.h"

#include <string.h>

typedef struct layout {
  const algebra *a;
  sheet *s;
  int *note;                          /* of every term that was laid out */
} layout;

/* A factor as it is written, with what orders it. */
typedef struct factor { int base, class; fraction exponent; int symbolic; } factor;

/* --- order ------------------------------------------------------------------------------------ */

enum { CLASS_NUMBER, CLASS_CONSTANT, CLASS_VARIABLE, CLASS_SUM, CLASS_EXPONENTIAL, CLASS_FUNCTION };

static int class_of(const algebra *a, int base) {
  const term *t = &a->term[base];
  if (t->kind == TERM_NUMBER) return CLASS_NUMBER;
  if (term_is_e(a, base)) return CLASS_EXPONENTIAL;
  if (t->kind == TERM_SYMBOL) return t->constant ? CLASS_CONSTANT : CLASS_VARIABLE;
  return t->kind == TERM_CALL ? CLASS_FUNCTION : CLASS_SUM;
}

static int compare_names(const term *s, const term *t) {
  int n = s->length < t->length ? s->length : t->length;
  int c = n ? memcmp(s->name, t->name, (size_t)n) : 0;
  return c ? c : s->length - t->length;
}

static int compare_factors(const algebra *a, const factor *x, const factor *y) {
  if (x->class != y->class) return x->class - y->class;
  if (x->class == CLASS_VARIABLE) return compare_names(&a->term[x->base], &a->term[y->base]);
  return x->base - y->base;
}

/* The factors of x in writing order; returns how many (at most `most`). */
static int collect_factors(const algebra *a, int x, int most, factor out[]) {
  const term *t = &a->term[x];
  const part self = { fraction_integer(1), x, -1 };
  int n = t->kind == TERM_PRODUCT ? t->count : 1;
  if (n > most) n = most;
  for (int i = 0; i < n; i++) {
    const part p = t->kind == TERM_PRODUCT ? term_parts(a, x)[i] : self;
    const term *e = p.exponent < 0 ? NULL : &a->term[p.exponent];
    factor f = { p.term, class_of(a, p.term), fraction_integer(1), -1 };
    if (e && e->kind == TERM_NUMBER) f.exponent = e->number;
    else if (e) f.symbolic = p.exponent, f.class = CLASS_EXPONENTIAL;
    int j = i;
    for (; j > 0 && compare_factors(a, &f, &out[j - 1]) < 0; j--) out[j] = out[j - 1];
    out[j] = f;
  }
  return n;
}

/* The degree of x in its variables, and whether it is a polynomial: a product of non-negative integer powers
 * of variables. */
static int64_t degree(const algebra *a, int x, bool *polynomial) {
  const term *t = &a->term[x];
  int64_t d = 0;
  *polynomial = t->kind == TERM_SYMBOL || t->kind == TERM_PRODUCT;
  if (t->kind == TERM_SYMBOL) return !t->constant;
  for (int i = 0; t->kind == TERM_PRODUCT && i < t->count; i++) {
    const part *p = term_parts(a, x) + i;
    const term *base = &a->term[p->term], *e = &a->term[p->exponent];
    bool power = base->kind == TERM_SYMBOL && e->kind == TERM_NUMBER && e->number.q == 1 && e->number.p >= 0;
    if (power && !base->constant) d += e->number.p;
    *polynomial = *polynomial && power;
  }
  return d;
}

/* x^2 before x*y before y^2. */
static int compare_products(const algebra *a, int x, int y) {
  enum { MOST = 16 };
  factor f[MOST], g[MOST];
  int n = collect_factors(a, x, MOST, f), m = collect_factors(a, y, MOST, g);
  for (int i = 0; i < n && i < m; i++) {
    int c = compare_factors(a, &f[i], &g[i]);
    if (!c) c = -fraction_compare(f[i].exponent, g[i].exponent);
    if (c) return c;
  }
  return x - y;
}

/* Polynomials before the rest, by degree. */
static int compare_summands(const algebra *a, const part *x, const part *y) {
  bool p, q;
  int64_t d = degree(a, x->term, &p), e = degree(a, y->term, &q);
  if (p != q) return p ? -1 : 1;
  if (d != e) return d < e ? -1 : 1;
  return compare_products(a, x->term, y->term);
}

/* --- products --------------------------------------------------------------------------------- */

static int number_note(layout *l, fraction f) {
  if (f.q == 1 || f.q == 0 || f.decimal) return sheet_number(l->s, fraction_value(f));
  int q = sheet_number(l->s, (double)f.q), p = sheet_number(l->s, (double)(f.p < 0 ? -f.p : f.p));
  int z = sheet_call2(l->s, "div", p, q);
  return f.p < 0 ? sheet_call1(l->s, "neg", z) : z;
}

/* base^exponent for a positive or symbolic exponent. */
static int power_note(layout *l, const factor *f) {
  const int base = l->note[f->base];
  if (term_is_e(l->a, f->base)) {
    int u = f->symbolic >= 0 ? l->note[f->symbolic] : number_note(l, f->exponent);
    return f->symbolic < 0 && fraction_is(f->exponent, 1) ? base : sheet_call1(l->s, "exp", u);
  }
  if (f->symbolic >= 0) return sheet_call2(l->s, "pow", base, l->note[f->symbolic]);
  if (fraction_is(f->exponent, 1)) return base;
  if (f->exponent.p == 1 && f->exponent.q == 2) return sheet_call1(l->s, "sqrt", base);
  return sheet_call2(l->s, "pow", base, number_note(l, f->exponent));
}

static int times(layout *l, int x, int y) { return x < 0 ? y : sheet_call2(l->s, "mul", x, y); }

/* |c| * x as a fraction: what has a negative exponent goes below the line, but exponentials stay above. */
static int scaled_note(layout *l, fraction c, int x) {
  enum { MOST = 256 };
  factor f[MOST];
  int above = -1, below = -1;
  bool exact = c.q > 0 && !c.decimal;
  int n = collect_factors(l->a, x, MOST, f);
  if (l->a->term[x].kind == TERM_PRODUCT && l->a->term[x].count > MOST) {
    l->s->status = AD_ERROR_LIMIT;
    return -1;
  }
  if (fraction_is_negative(c)) c = fraction_negate(c);
  if (exact ? c.p != 1 : !fraction_is(c, 1))
    above = sheet_number(l->s, exact ? (double)c.p : fraction_value(c));
  if (exact && c.q != 1) below = sheet_number(l->s, (double)c.q);
  for (int i = 0; i < n; i++) {
    bool under = f[i].symbolic < 0 && fraction_is_negative(f[i].exponent) && f[i].class != CLASS_EXPONENTIAL;
    if (under) f[i].exponent = fraction_negate(f[i].exponent);
    int z = power_note(l, &f[i]);
    if (under) below = times(l, below, z);
    else above = times(l, above, z);
  }
  if (above < 0) above = sheet_number(l->s, 1);
  return below < 0 ? above : sheet_call2(l->s, "div", above, below);
}

/* --- sums ------------------------------------------------------------------------------------- */

static void sort_summands(const algebra *a, int n, part p[]) {
  int gap = 1;
  while (gap < n/3) gap = 3*gap + 1;
  for (; gap > 0; gap /= 3)
    for (int i = gap; i < n; i++) {
      part q = p[i];
      int j = i;
      for (; j >= gap && compare_summands(a, &p[j - gap], &q) > 0; j -= gap) p[j] = p[j - gap];
      p[j] = q;
    }
}

/* The first summand without a minus moves to the front; the constant, if positive, stands there already. */
static void positive_first(int n, part p[]) {
  int i = 0;
  while (i < n && fraction_is_negative(p[i].coefficient)) i++;
  if (i == 0 || i == n) return;
  part first = p[i];
  memmove(p + 1, p, (size_t)i*sizeof *p);
  p[0] = first;
}

static int append_summand(layout *l, int sum, bool negative, int x) {
  if (sum >= 0) return sheet_call2(l->s, negative ? "sub" : "add", sum, x);
  return negative ? sheet_call1(l->s, "neg", x) : x;
}

static int sum_note(layout *l, int x) {
  const term *t = &l->a->term[x];
  const size_t bytes = (size_t)t->count*sizeof(part);
  part *p = memory_get(l->s->allocator, bytes);
  int z = -1;
  bool constant = !fraction_is(t->number, 0), negative = fraction_is_negative(t->number);
  if (!p) return -1;
  memcpy(p, term_parts(l->a, x), bytes);
  sort_summands(l->a, t->count, p);
  if (!constant || negative) positive_first(t->count, p);
  bool later = constant && negative && !fraction_is_negative(p[0].coefficient);
  fraction size = negative ? fraction_negate(t->number) : t->number;
  if (constant && !later) z = append_summand(l, -1, negative, number_note(l, size));
  for (int i = 0; i < t->count; i++) {
    z = append_summand(l, z, fraction_is_negative(p[i].coefficient),
                       scaled_note(l, p[i].coefficient, p[i].term));
    if (z < 0) break;
  }
  if (z >= 0 && later) z = append_summand(l, z, true, number_note(l, size));
  memory_release(l->s->allocator, p, bytes);
  return z;
}

/* --- terms ------------------------------------------------------------------------------------ */

static int term_note(layout *l, int x) {
  const term *t = &l->a->term[x];
  int argument[8];
  if (t->kind == TERM_NUMBER) return number_note(l, t->number);
  if (t->kind == TERM_SYMBOL) return sheet_name(l->s, t->name, t->length);
  if (t->kind == TERM_SUM) return sum_note(l, x);
  if (t->kind == TERM_PRODUCT) return scaled_note(l, fraction_integer(1), x);
  for (int i = 0; i < t->count && i < 8; i++) argument[i] = l->note[term_parts(l->a, x)[i].term];
  return sheet_call(l->s, t->name, t->length, t->count, argument);
}

static void mark(const algebra *a, int x, int state[]) {
  state[x] = -2;
  for (int t = x; t >= 0; t--) {
    const term *s = &a->term[t];
    for (int i = 0; state[t] == -2 && i < s->count; i++) {
      state[term_parts(a, t)[i].term] = -2;
      if (s->kind == TERM_PRODUCT) state[term_parts(a, t)[i].exponent] = -2;
    }
  }
}

int layout_term(const algebra *a, int x, sheet *s) {
  const size_t bytes = ((size_t)x + 1)*sizeof(int);
  layout l = { .a = a, .s = s, .note = memory_get(s->allocator, bytes) };
  if (!l.note) return -1;
  memset(l.note, 0xff, bytes);
  mark(a, x, l.note);
  for (int t = 0; t <= x; t++)
    if (l.note[t] == -2 && (l.note[t] = term_note(&l, t)) < 0) {
      if (!s->status) s->status = AD_ERROR_MEMORY;
      break;
    }
  int z = l.note[x];
  memory_release(s->allocator, l.note, bytes);
  return z;
}
