/* algebra.c -- the store of terms, and the two constructors that keep the normal form: sums and products. */
#include "formula/algebra.h"
#include "primitives/expression.h"

#include <string.h>

enum { MAX_TERMS = 400000, MAX_PARTS = 4000000, MAX_FACTORS = 1000 };

/* --- the store -------------------------------------------------------------------------------- */

bool algebra_begin(algebra *a, const ad_allocator *allocator) {
  *a = (algebra){ .allocator = allocator };
  algebra_integer(a, 0);
  return !a->status;
}

void algebra_free(algebra *a) {
  memory_release(a->allocator, a->term, a->term_capacity*sizeof *a->term);
  memory_release(a->allocator, a->part, a->part_capacity*sizeof *a->part);
  memory_release(a->allocator, a->slot, a->slots*sizeof *a->slot);
  *a = (algebra){ .allocator = a->allocator };
}

int algebra_refuse(algebra *a, ad_status status) {
  if (!a->status) a->status = status;
  return 0;
}

bool part_list_add(algebra *a, part_list *l, part p) {
  if (!memory_reserve(a->allocator, &l->item, &l->capacity, (size_t)l->count + 1, sizeof p)) {
    algebra_refuse(a, AD_ERROR_MEMORY);
    return false;
  }
  l->item[l->count++] = p;
  return true;
}

void part_list_free(algebra *a, part_list *l) {
  memory_release(a->allocator, l->item, l->capacity*sizeof *l->item);
  *l = (part_list){ 0 };
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x)*0x9E3779B97F4A7C15u ^ (h >> 29); }

static uint64_t hash_fraction(uint64_t h, fraction f) {
  uint64_t bits;
  double real = f.q ? 0 : f.real;
  memcpy(&bits, &real, sizeof bits);
  return mix(mix(mix(h, (uint64_t)f.p), (uint64_t)f.q), bits);
}

static uint64_t hash_term(const term *t, const part *p) {
  uint64_t h = hash_fraction(mix(1, (uint64_t)t->kind + 8*(uint64_t)t->constant), t->number);
  for (int i = 0; i < t->length; i++) h = mix(h, (unsigned char)t->name[i]);
  for (int i = 0; i < t->count; i++)
    h = mix(hash_fraction(h, p[i].coefficient), (uint64_t)p[i].term << 32 | (uint64_t)p[i].exponent);
  return h ^ h >> 31;
}

static bool same(const algebra *a, const term *t, const part *p, const term *s) {
  if (t->kind != s->kind || t->constant != s->constant || t->count != s->count || t->length != s->length)
    return false;
  if (!fraction_equal(t->number, s->number) || (t->length && memcmp(t->name, s->name, (size_t)t->length)))
    return false;
  const part *q = a->part + s->first;
  for (int i = 0; i < t->count; i++)
    if (p[i].term != q[i].term || p[i].exponent != q[i].exponent
        || !fraction_equal(p[i].coefficient, q[i].coefficient))
      return false;
  return true;
}

static bool grow_slots(algebra *a) {
  size_t slots = a->slots ? 2*a->slots : 256;
  int *slot = memory_get_zeroed(a->allocator, slots, sizeof *slot);
  if (!slot) return false;
  for (int t = 0; t < a->count; t++) {
    size_t i = hash_term(&a->term[t], term_parts(a, t)) & (slots - 1);
    while (slot[i]) i = (i + 1) & (slots - 1);
    slot[i] = t + 1;
  }
  memory_release(a->allocator, a->slot, a->slots*sizeof *a->slot);
  a->slot = slot, a->slots = slots;
  return true;
}

static uint32_t capped(uint64_t cost) { return cost > UINT32_MAX/2 ? UINT32_MAX/2 : (uint32_t)cost; }

static uint64_t number_cost(fraction f) {
  if (!f.q) return 3;
  uint64_t digits = 1;
  for (int64_t n = f.p < 0 ? -(f.p/10) : f.p/10; n; n /= 10) digits++;
  return (digits > 2 ? digits - 1 : 1) + (f.q != 1 && !f.decimal ? 1 : 0);
}

/* About how many symbols it takes to write the term. */
static uint32_t cost_of(const algebra *a, const term *t, const part *p) {
  uint64_t cost = t->kind == TERM_CALL ? 2 : t->kind == TERM_NUMBER ? number_cost(t->number)
      : t->kind == TERM_SYMBOL;
  if (t->kind == TERM_SUM) {
    bool constant = !fraction_is(t->number, 0);
    cost = (constant ? number_cost(t->number) : 0) + (uint64_t)t->count - !constant;
  }
  for (int i = 0; i < t->count; i++) {
    const term *s = &a->term[p[i].term];
    cost += s->cost;
    if (t->kind == TERM_SUM && !fraction_is(p[i].coefficient, 1) && !fraction_is(p[i].coefficient, -1))
      cost += number_cost(p[i].coefficient);
    if (t->kind == TERM_PRODUCT && !term_is_number(a, p[i].exponent, 1))
      cost += 1 + a->term[p[i].exponent].cost;
    if (t->kind == TERM_PRODUCT && s->kind == TERM_SUM) cost += 1;
  }
  return capped(cost);
}

/* The term with these parts: the one that is there, or a new one. */
static int intern(algebra *a, term t, int count, const part p[]) {
  if (a->status) return 0;
  t.count = count;
  if (2*(size_t)a->count >= a->slots && !grow_slots(a)) return algebra_refuse(a, AD_ERROR_MEMORY);
  size_t i = hash_term(&t, p) & (a->slots - 1);
  for (; a->slot[i]; i = (i + 1) & (a->slots - 1))
    if (same(a, &t, p, &a->term[a->slot[i] - 1])) return a->slot[i] - 1;
  if (a->count >= MAX_TERMS || a->parts + count > MAX_PARTS) return algebra_refuse(a, AD_ERROR_LIMIT);
  if (!memory_reserve(a->allocator, &a->term, &a->term_capacity, (size_t)a->count + 1, sizeof t)
      || !memory_reserve(a->allocator, &a->part, &a->part_capacity, (size_t)a->parts + (size_t)count,
                         sizeof *p))
    return algebra_refuse(a, AD_ERROR_MEMORY);
  t.first = a->parts;
  t.cost = cost_of(a, &t, p);
  if (count) memcpy(a->part + a->parts, p, (size_t)count*sizeof *p);
  a->parts += count;
  a->term[a->count] = t;
  a->slot[i] = a->count + 1;
  return a->count++;
}

/* --- leaves ----------------------------------------------------------------------------------- */

int algebra_number(algebra *a, fraction number) {
  return intern(a, (term){ .kind = TERM_NUMBER, .number = number }, 0, NULL);
}
int algebra_integer(algebra *a, int64_t n) { return algebra_number(a, fraction_integer(n)); }

int algebra_symbol(algebra *a, const char *name, int length, bool constant) {
  return intern(a, (term){ .kind = TERM_SYMBOL, .name = name, .length = length, .constant = constant }, 0,
                NULL);
}
int algebra_e(algebra *a) { return algebra_symbol(a, "e", 1, true); }

bool term_is_call(const algebra *a, int t, const char *name) {
  return a->term[t].kind == TERM_CALL && expression_is(a->term[t].name, a->term[t].length, name);
}

bool term_is_e(const algebra *a, int t) {
  return a->term[t].kind == TERM_SYMBOL && a->term[t].constant
         && expression_is(a->term[t].name, a->term[t].length, "e");
}

void term_split(const algebra *a, int x, fraction *c, int *rest) {
  const term *t = &a->term[x];
  *c = fraction_integer(1), *rest = x;
  if (t->kind != TERM_SUM || t->count != 1 || !fraction_is(t->number, 0)) return;
  *c = term_parts(a, x)->coefficient;
  *rest = term_parts(a, x)->term;
}

/* --- lists ------------------------------------------------------------------------------------ */

/* Shell's sort by term: lists are short, and nothing is allocated. */
static void sort_parts(part_list *l) {
  int gap = 1;
  while (gap < l->count/3) gap = 3*gap + 1;
  for (; gap > 0; gap /= 3)
    for (int i = gap; i < l->count; i++) {
      part p = l->item[i];
      int j = i;
      for (; j >= gap && l->item[j - gap].term > p.term; j -= gap) l->item[j] = l->item[j - gap];
      l->item[j] = p;
    }
}

/* Adds up the coefficients of equal terms and drops zeros. */
static void merge_summands(part_list *l) {
  int n = 0;
  sort_parts(l);
  for (int i = 0; i < l->count; ) {
    part p = l->item[i];
    for (i++; i < l->count && l->item[i].term == p.term; i++)
      p.coefficient = fraction_add(p.coefficient, l->item[i].coefficient);
    if (!fraction_is(p.coefficient, 0)) l->item[n++] = p;
  }
  l->count = n;
}

/* --- sums ------------------------------------------------------------------------------------- */

/* Opens the sums among the summands: numbers go to *number, a multiple of a sum is opened a second time. */
static bool open_summands(algebra *a, fraction *number, part_list *l) {
  for (int i = 0; i < l->count; ) {
    part p = l->item[i];
    const term t = a->term[p.term];
    if (t.kind != TERM_NUMBER && t.kind != TERM_SUM) {
      i++;
      continue;
    }
    *number = fraction_add(*number, fraction_multiply(p.coefficient, t.number));
    l->item[i] = l->item[--l->count];
    for (int k = 0; k < t.count; k++) {
      part q = a->part[t.first + k];
      q.coefficient = fraction_multiply(p.coefficient, q.coefficient);
      if (!part_list_add(a, l, q)) return false;
    }
  }
  return true;
}

/* The product t without factor k. */
static int without_factor(algebra *a, int t, int k) {
  part_list l = { 0 };
  for (int i = 0; i < a->term[t].count; i++) if (i != k) part_list_add(a, &l, term_parts(a, t)[i]);
  return algebra_product(a, fraction_integer(1), &l);
}

/* If t is rest * name(u)^2: the index of that factor, else -1. */
static int squared_call(const algebra *a, int t, const char *name) {
  if (a->term[t].kind != TERM_PRODUCT) return -1;
  const part *p = term_parts(a, t);
  for (int k = 0; k < a->term[t].count; k++)
    if (term_is_call(a, p[k].term, name) && term_is_number(a, p[k].exponent, 2)) return k;
  return -1;
}

/* c r sin(u)^2 + c r cos(u)^2 = c r. True if a pair was found, which is then one part. */
static bool pythagoras(algebra *a, part_list *l) {
  if (l->count > 64) return false;
  for (int i = 0; i < l->count; i++) {
    int k = squared_call(a, l->item[i].term, "sin");
    if (k < 0) continue;
    int u = term_parts(a, term_parts(a, l->item[i].term)[k].term)->term,
        rest = without_factor(a, l->item[i].term, k);
    int cosine = algebra_call(a, "cos", 3, 1, &u);
    int other = algebra_multiply(a, rest, algebra_power(a, cosine, algebra_integer(a, 2)));
    for (int j = 0; j < l->count && !a->status; j++)
      if (l->item[j].term == other && fraction_equal(l->item[i].coefficient, l->item[j].coefficient)) {
        l->item[i].term = rest;
        l->item[j] = l->item[--l->count];
        return true;
      }
  }
  return false;
}

/* A single multiple of a sum, which stays as it is, but for -(1 + x). */
static bool is_multiple_of_sum(const algebra *a, fraction number, const part_list *l) {
  if (l->count != 1 || !fraction_is(number, 0)) return false;
  const term *t = &a->term[l->item[0].term];
  fraction c = l->item[0].coefficient;
  return t->kind == TERM_SUM && !(t->count == 1 && fraction_is(t->number, 0))
         && !fraction_is(c, 0) && !fraction_is(c, 1) && !fraction_is(c, -1);
}

int algebra_sum(algebra *a, fraction number, part_list *l) {
  const part unit = { fraction_integer(1), 0, algebra_integer(a, 1) };
  bool fine = !a->status;
  for (int i = 0; i < l->count && fine; i++) l->item[i].exponent = unit.exponent;
  const bool open = fine && !is_multiple_of_sum(a, number, l);
  if (open) fine = open_summands(a, &number, l);
  if (fine) {
    merge_summands(l);
    while (pythagoras(a, l)) {
      fine = open_summands(a, &number, l);
      merge_summands(l);
    }
  }
  int z = 0;
  if (fine && l->count == 0) z = algebra_number(a, number);
  else if (fine && l->count == 1 && fraction_is(number, 0) && fraction_is(l->item[0].coefficient, 1))
    z = l->item[0].term;
  else if (fine) z = intern(a, (term){ .kind = TERM_SUM, .number = number }, l->count, l->item);
  part_list_free(a, l);
  return z;
}

/* --- products --------------------------------------------------------------------------------- */

static bool integer_exponent(const algebra *a, int e, int64_t *n) {
  const term *t = &a->term[e];
  *n = t->kind == TERM_NUMBER && fraction_is_integer(t->number) ? t->number.p : 0;
  return t->kind == TERM_NUMBER && fraction_is_integer(t->number) && *n >= -1000 && *n <= 1000;
}

/* (b^p)^e = b^(p e) holds for integers e, for b = e, and where b^p is real for b >= 0 only, as for
 * sqrt(b). */
static bool power_of_power(const algebra *a, const part *inner, bool integer) {
  const term *p = &a->term[inner->exponent];
  return integer || term_is_e(a, inner->term)
         || (p->kind == TERM_NUMBER && p->number.q && p->number.q % 2 == 0);
}

/* The number that divides all coefficients of a sum, with the sign that leaves most of them positive. */
static fraction sum_content(const algebra *a, int t) {
  const part *p = term_parts(a, t);
  const term *s = &a->term[t];
  fraction c = fraction_is(s->number, 0) ? p[0].coefficient : s->number;
  int negative = fraction_is(s->number, 0) ? 0 : fraction_is_negative(s->number) ? 1 : -1;
  for (int i = 0; i < s->count; i++) {
    c = fraction_content(c, p[i].coefficient);
    negative += fraction_is_negative(p[i].coefficient) ? 1 : -1;
  }
  if (fraction_is_negative(c)) c = fraction_negate(c);
  return negative > 0 ? fraction_negate(c) : c;
}

/* t/c for a sum t. */
static int divided_sum(algebra *a, int t, fraction c) {
  part_list l = { 0 };
  const term s = a->term[t];
  fraction inverse = fraction_invert(c);
  for (int i = 0; i < s.count; i++) {
    part p = a->part[s.first + i];
    p.coefficient = fraction_multiply(p.coefficient, inverse);
    part_list_add(a, &l, p);
  }
  return algebra_sum(a, fraction_multiply(s.number, inverse), &l);
}

static void drop_factor(part_list *l, int i) { l->item[i] = l->item[--l->count]; }

/* A number to a power: integer powers, and roots that are exact. */
static bool open_number(const algebra *a, fraction *number, part_list *l, int i) {
  const term *base = &a->term[l->item[i].term], *e = &a->term[l->item[i].exponent];
  fraction root = base->number;
  if (fraction_is(base->number, 1)) {
    drop_factor(l, i);
    return true;
  }
  if (e->kind != TERM_NUMBER || !e->number.q || e->number.p < -1000 || e->number.p > 1000) return false;
  if (e->number.q != 1
      && (e->number.p < -64 || e->number.p > 64
          || !fraction_root(base->number, e->number.q, &root))) return false;
  *number = fraction_multiply(*number, fraction_power(root, e->number.p));
  drop_factor(l, i);
  return true;
}

/* Takes the number out of a sum or of a multiple: (2 + 2x)^3 = 8 (1 + x)^3, (4x)^(1/2) = 2 x^(1/2). */
static bool open_sum(algebra *a, fraction *number, part_list *l, int i) {
  const part p = l->item[i];
  const term e = a->term[p.exponent];
  fraction c, root;
  int rest;
  int64_t n;
  term_split(a, p.term, &c, &rest);
  if (integer_exponent(a, p.exponent, &n)) {
    if (rest == p.term) {
      c = sum_content(a, p.term);
      if (fraction_is(c, 1)) return false;
      rest = divided_sum(a, p.term, c);
    }
    *number = fraction_multiply(*number, fraction_power(c, n));
  } else {
    bool exact = rest != p.term && e.kind == TERM_NUMBER && e.number.q && e.number.p > -64 && e.number.p < 64;
    if (!exact || !fraction_root(c, e.number.q, &root)) return false;
    *number = fraction_multiply(*number, fraction_power(root, e.number.p));
  }
  l->item[i].term = rest;
  return true;
}

/* (x y)^n = x^n y^n, (b^p)^e = b^(p e) where that holds. */
static bool open_product(algebra *a, part_list *l, int i) {
  const part p = l->item[i];
  const term t = a->term[p.term];
  int64_t n;
  bool integer = integer_exponent(a, p.exponent, &n);
  if (!integer && (t.count != 1 || !power_of_power(a, term_parts(a, p.term), integer))) return false;
  drop_factor(l, i);
  for (int k = 0; k < t.count; k++) {
    part q = a->part[t.first + k];
    q.exponent = algebra_multiply(a, q.exponent, p.exponent);
    part_list_add(a, l, q);
  }
  return true;
}

/* Replaces factor i by equal, simpler ones and a number; true if it did, then the place is looked at
 * again. */
static bool open_factor(algebra *a, fraction *number, part_list *l, int i) {
  const part p = l->item[i];
  if (term_is_number(a, p.exponent, 0)) {
    drop_factor(l, i);
    return true;
  }
  switch (a->term[p.term].kind) {
    case TERM_NUMBER:  return open_number(a, number, l, i);
    case TERM_SUM:     return open_sum(a, number, l, i);
    case TERM_PRODUCT: return open_product(a, l, i);
    default: break;
  }
  if (!term_is_e(a, p.term) || !term_is_call(a, p.exponent, "log")) return false;
  l->item[i] = (part){ fraction_integer(1), term_parts(a, p.exponent)->term, algebra_integer(a, 1) };
  return true;
}

static bool open_factors(algebra *a, fraction *number, part_list *l) {
  for (int i = 0; i < l->count && !a->status; )
    if (!open_factor(a, number, l, i)) i++;
  return !a->status;
}

/* Adds up the exponents of equal bases. True if there were any. */
static bool merge_factors(algebra *a, part_list *l) {
  int n = 0;
  bool merged = false;
  sort_parts(l);
  for (int i = 0; i < l->count; ) {
    part p = l->item[i];
    for (i++; i < l->count && l->item[i].term == p.term; i++, merged = true)
      p.exponent = algebra_add(a, p.exponent, l->item[i].exponent);
    l->item[n++] = p;
  }
  l->count = n;
  return merged && !a->status;
}

/* (x - 1)^n (1 - x)^m = (-1)^n (1 - x)^(n + m) for integers. True if it was so. */
static bool opposites(algebra *a, fraction *number, part_list *l) {
  int64_t n, m;
  for (int i = 0; i < l->count && l->count > 1; i++) {
    if (a->term[l->item[i].term].kind != TERM_SUM || !integer_exponent(a, l->item[i].exponent, &n)) continue;
    int opposite = divided_sum(a, l->item[i].term, fraction_integer(-1));
    for (int j = 0; j < l->count; j++)
      if (l->item[j].term == opposite && integer_exponent(a, l->item[j].exponent, &m)) {
        if (n % 2) *number = fraction_negate(*number);
        l->item[i].term = opposite;
        return !a->status;
      }
  }
  return false;
}

/* sin(u)^n cos(u)^-n = tan(u)^n for n > 0. True if it was so. */
static bool tangents(algebra *a, part_list *l) {
  int64_t n, m;
  for (int i = 0; i < l->count; i++) {
    const int s = l->item[i].term;
    if (!term_is_call(a, s, "sin") || !integer_exponent(a, l->item[i].exponent, &n) || n <= 0) continue;
    for (int j = 0; j < l->count; j++) {
      const int c = l->item[j].term;
      if (!term_is_call(a, c, "cos") || term_parts(a, s)->term != term_parts(a, c)->term
          || !integer_exponent(a, l->item[j].exponent, &m) || m != -n) continue;
      int u = term_parts(a, s)->term;
      l->item[i].term = algebra_call(a, "tan", 3, 1, &u);
      drop_factor(l, j);
      return !a->status;
    }
  }
  return false;
}

int algebra_product(algebra *a, fraction number, part_list *l) {
  const int one = algebra_integer(a, 1);
  int z = 0;
  bool fine = !a->status && open_factors(a, &number, l);
  while (fine && (merge_factors(a, l) || tangents(a, l) || opposites(a, &number, l)))
    fine = open_factors(a, &number, l);
  for (int i = 0; i < l->count && fine; i++) l->item[i].coefficient = fraction_integer(1);
  fine = fine && !a->status;
  if (fine && (l->count == 0 || fraction_is(number, 0))) z = algebra_number(a, number);
  else if (fine && l->count == 1 && l->item[0].exponent == one) z = l->item[0].term;
  else if (fine && l->count > MAX_FACTORS) algebra_refuse(a, AD_ERROR_LIMIT);
  else if (fine) z = intern(a, (term){ .kind = TERM_PRODUCT }, l->count, l->item);
  part_list_free(a, l);
  if (a->status || a->term[z].kind == TERM_NUMBER || fraction_is(number, 1)) return z;
  return algebra_scale(a, number, z);
}

/* --- the usual operations --------------------------------------------------------------------- */

int algebra_scale(algebra *a, fraction c, int x) {
  part_list l = { 0 };
  part_list_add(a, &l, (part){ c, x, 0 });
  return l.count ? algebra_sum(a, fraction_integer(0), &l) : 0;
}

static int combine(algebra *a, int x, int y, int64_t sign) {
  part_list l = { 0 };
  bool fine = part_list_add(a, &l, (part){ fraction_integer(1), x, 0 })
              && part_list_add(a, &l, (part){ fraction_integer(sign), y, 0 });
  if (fine) return algebra_sum(a, fraction_integer(0), &l);
  part_list_free(a, &l);
  return 0;
}

int algebra_add(algebra *a, int x, int y) { return combine(a, x, y, 1); }
int algebra_subtract(algebra *a, int x, int y) { return combine(a, x, y, -1); }

static int multiply(algebra *a, int x, int y, int64_t exponent) {
  part_list l = { 0 };
  int one = algebra_integer(a, 1), e = algebra_integer(a, exponent);
  bool fine = part_list_add(a, &l, (part){ fraction_integer(1), x, one })
              && part_list_add(a, &l, (part){ fraction_integer(1), y, e });
  if (fine) return algebra_product(a, fraction_integer(1), &l);
  part_list_free(a, &l);
  return 0;
}

int algebra_multiply(algebra *a, int x, int y) { return multiply(a, x, y, 1); }
int algebra_divide(algebra *a, int x, int y) { return multiply(a, x, y, -1); }

int algebra_power(algebra *a, int base, int exponent) {
  part_list l = { 0 };
  part_list_add(a, &l, (part){ fraction_integer(1), base, exponent });
  return algebra_product(a, fraction_integer(1), &l);
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool name_in(const char *name, int length, const char *const list[], int n) {
  for (int i = 0; i < n; i++) if (expression_is(name, length, list[i])) return true;
  return false;
}

/* f(-u) = -f(u) and f(-u) = f(u). */
static const char *const odd[] = { "sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "atanh", "erf",
                                   "cbrt", "sinpi", "sign" };
static const char *const even[] = { "cos", "cosh", "abs", "cospi", "sech2", "normal_density" };

/* The sign of a symmetric function's argument, taken out: 0 if there is none. */
static int symmetry(algebra *a, const char *name, int length, int argument, int *positive) {
  fraction c;
  int rest, sign = name_in(name, length, odd, (int)(sizeof odd/sizeof *odd)) ? -1
                 : name_in(name, length, even, (int)(sizeof even/sizeof *even)) ? 1 : 0;
  if (!sign) return 0;
  term_split(a, argument, &c, &rest);
  bool negative = rest != argument ? fraction_is_negative(c)
                                   : a->term[argument].kind == TERM_NUMBER
                                       && fraction_is_negative(a->term[argument].number);
  if (!negative) return 0;
  *positive = algebra_scale(a, fraction_integer(-1), argument);
  return sign;
}

int algebra_call(algebra *a, const char *name, int length, int count, const int argument[]) {
  enum { MOST = 8 };
  part p[MOST];
  int positive = -1, one = algebra_integer(a, 1);
  if (count > MOST) return algebra_refuse(a, AD_ERROR_LIMIT);
  for (int i = 0; i < count; i++) {
    p[i] = (part){ fraction_integer(1), argument[i], one };
  }
  if (count == 1 && expression_is(name, length, "log")) {
    const term *t = &a->term[argument[0]];
    if (term_is_e(a, argument[0])) return one;
    if (t->kind == TERM_PRODUCT && t->count == 1 && term_is_e(a, term_parts(a, argument[0])->term))
      return term_parts(a, argument[0])->exponent;
  }
  int sign = count == 1 ? symmetry(a, name, length, argument[0], &positive) : 0;
  if (sign) {
    int z = algebra_call(a, name, length, 1, &positive);
    return sign < 0 ? algebra_scale(a, fraction_integer(-1), z) : z;
  }
  return intern(a, (term){ .kind = TERM_CALL, .name = name, .length = length }, count, p);
}
