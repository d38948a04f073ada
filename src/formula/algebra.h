/* algebra.h -- expressions in a normal form: sums of multiples, products of powers, calls; equal ones are one
 * term.
 *
 * Terms are numbers in an append-only array, arguments before what uses them, so that every pass is a loop.
 * The normal form:
 *   NUMBER   a fraction
 *   SYMBOL   a variable; or, with constant, pi and e
 *   SUM      number + sum of coefficient * term: terms distinct, none a NUMBER, coefficients not 0; no SUM
 *            inside but for the multiple of a single one, 2 (1 + x), which is kept until something is added
 *   PRODUCT  product of base ^ exponent: bases distinct, no number in front (that is a SUM of one multiple),
 *            never a single base^1
 *   CALL     name(arguments)
 * exp(u) is the power e^u, sqrt(u) is u^(1/2). Term 0 is the number 0, and what functions return once
 * something has failed (status says what): terms are always there, and one look at the end is enough.
 * Identities hold where both sides are defined: x/x is 1.
 */
#ifndef ADIT_FORMULA_ALGEBRA_H
#define ADIT_FORMULA_ALGEBRA_H

#include "base/memory.h"
#include "formula/fraction.h"

typedef enum term_kind { TERM_NUMBER, TERM_SYMBOL, TERM_SUM, TERM_PRODUCT, TERM_CALL } term_kind;

/* A summand (coefficient * term), a factor (term ^ exponent), or an argument (term). */
typedef struct part {
  fraction coefficient;
  int term, exponent;
} part;

typedef struct term {
  term_kind kind;
  bool constant;                      /* SYMBOL: pi or e */
  fraction number;                    /* NUMBER, and the constant of a SUM */
  const char *name;                   /* SYMBOL, CALL: not terminated, outlives the algebra */
  int length;
  int first, count;                   /* parts */
  uint32_t cost;                      /* about how long it is when written out; saturates */
} term;

typedef struct algebra {
  const ad_allocator *allocator;
  term *term;
  part *part;
  int *slot;                          /* hash table of terms + 1 */
  int count, parts;
  size_t term_capacity, part_capacity, slots;
  ad_status status;
} algebra;

/* Parts that are being put together; zero it to begin. */
typedef struct part_list {
  part *item;
  int count;
  size_t capacity;
} part_list;

/* False when memory fails; nothing is to be freed then. */
bool algebra_begin(algebra *a, const ad_allocator *allocator);
void algebra_free(algebra *a);
int algebra_refuse(algebra *a, ad_status status);

bool part_list_add(algebra *a, part_list *l, part p);
void part_list_free(algebra *a, part_list *l);

int algebra_number(algebra *a, fraction number);
int algebra_integer(algebra *a, int64_t n);
int algebra_symbol(algebra *a, const char *name, int length, bool constant);
int algebra_e(algebra *a);
int algebra_call(algebra *a, const char *name, int length, int count, const int argument[]);
/* number + sum of parts; takes the list (frees it). */
int algebra_sum(algebra *a, fraction number, part_list *l);
/* number * product of parts; takes the list. */
int algebra_product(algebra *a, fraction number, part_list *l);

int algebra_add(algebra *a, int x, int y);
int algebra_subtract(algebra *a, int x, int y);
int algebra_multiply(algebra *a, int x, int y);
int algebra_divide(algebra *a, int x, int y);
int algebra_scale(algebra *a, fraction c, int x);
int algebra_power(algebra *a, int base, int exponent);

static inline const part *term_parts(const algebra *a, int t) { return a->part + a->term[t].first; }
static inline bool term_is_number(const algebra *a, int t, int64_t n) {
  return t >= 0 && a->term[t].kind == TERM_NUMBER && fraction_is(a->term[t].number, n);
}
bool term_is_call(const algebra *a, int t, const char *name);
bool term_is_e(const algebra *a, int t);
/* x = *c * *rest with the largest number taken out that stands in front. */
void term_split(const algebra *a, int x, fraction *c, int *rest);

/* The same value, simplified as a textbook would (simplify.c). */
int algebra_simplify(algebra *a, int x);

#endif
