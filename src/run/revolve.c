/* revolve.c -- the binomial schedule, one action at a time.
 *
 * Let l steps that are not reversed yet come after the last state kept, p, and let s - 1 slots be free. The
 * state m steps after p is kept next, if there is a slot: the l - m steps after that one are reversed first,
 * with s - 2 slots free, and then the m steps before it. t(l, s) = m + t(l-m, s-1) + t(m, s) is least for all
 *
 *   max(beta(s, r-2), l - beta(s-1, r)) <= m <= min(beta(s, r-1), l - beta(s-1, r-1))
 *
 * (Griewank and Walther 2000, section 2). The largest of them is taken. With no slot free, p is where every
 * remaining step starts from: t(l, 1) = l(l-1)/2.
 */
#include "run/revolve.h"

#include <stdbool.h>

/* --- binomial coefficients ------------------------------------------------------------------------------ */

static uint64_t greatest_divisor(uint64_t a, uint64_t b) {
  while (b) {
    const uint64_t rest = a%b;
    a = b;
    b = rest;
  }
  return a;
}

/* beta(s, r) = product over i = 1..min(s, r) of (max(s, r) + i)/i, UINT64_MAX if it is more; 0 for r < 0.
 * Partial products are binomial coefficients too, and at least 2^i, so there are 64 factors at most. i/g
 * has no divisor in common with beta/g, so it divides the other factor. s + r < 2^64. */
static uint64_t beta(int64_t s, int64_t r) {
  if (r < 0) return 0;
  const uint64_t more = (uint64_t)(s > r ? s : r), less = (uint64_t)(s > r ? r : s);
  uint64_t product = 1;
  for (uint64_t i = 1; i <= less; i++) {
    const uint64_t g = greatest_divisor(product, i), factor = (more + i)/(i/g);
    if (product/g > UINT64_MAX/factor) return UINT64_MAX;
    product = product/g*factor;
  }
  return product;
}

/* The least r with l <= beta(s, r), which is less than l: doubled until it is enough, then halved. */
static int64_t repetition(int64_t l, int64_t s) {
  int64_t low = -1, high = 1;
  if (l <= 1) return 0;
  while (beta(s, high) < (uint64_t)l) {
    low = high;
    high = high > l/2 ? l : 2*high;
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low)/2;
    if (beta(s, middle) < (uint64_t)l) low = middle;
    else high = middle;
  }
  return high;
}

/* More states than steps are of no use. */
static int64_t useful(int64_t steps, int64_t snapshots) { return snapshots < steps ? snapshots : steps; }

int64_t revolve_repetition(int64_t steps, int64_t snapshots) {
  return repetition(steps, useful(steps, snapshots));
}

/* beta(s+1, r-1) is the sum of beta(s, j) over j < r, whose terms are below l and rise ever faster: about
 * half of r l at most. So t is at least 2^63 where r l is no uint64_t. */
int64_t revolve_cost(int64_t steps, int64_t snapshots) {
  const int64_t s = useful(steps, snapshots), r = repetition(steps, s);
  if (r == 0) return 0;
  if ((uint64_t)r > UINT64_MAX/(uint64_t)steps) return INT64_MAX;
  const uint64_t t = (uint64_t)r*(uint64_t)steps - beta(s + 1, r - 1);
  return t > INT64_MAX ? INT64_MAX : (int64_t)t;
}

/* --- the schedule --------------------------------------------------------------------------------------- */

/* How far to go from a kept state that l > 1 steps are behind: to the last one where no slot is free. */
static int64_t stride(int64_t l, int64_t s) {
  if (s == 1) return l - 1;
  s = useful(l, s);
  const int64_t r = repetition(l, s);
  const uint64_t longest = beta(s, r - 1), behind = beta(s - 1, r - 1);
  const uint64_t rest = (uint64_t)l - behind;
  return (int64_t)(longest < rest ? longest : rest);
}

size_t revolve_stack_bytes(int64_t snapshots) { return (size_t)snapshots*sizeof(int64_t); }

void revolve_begin(revolve *v, int64_t steps, int64_t snapshots, int64_t *stack) {
  *v = (revolve){ .steps = steps, .at = 0, .snapshots = snapshots, .kept = 0, .state = stack };
}

static revolve_action reverse(revolve *v) {
  const int64_t i = --v->steps;
  if (v->kept && v->state[v->kept - 1] == i) v->kept--;
  return (revolve_action){ REVOLVE_REVERSE, 0, i, i };
}

revolve_action revolve_next(revolve *v) {
  if (v->steps == 0) return (revolve_action){ REVOLVE_DONE, 0, 0, 0 };
  if (v->at == v->steps - 1) return reverse(v);
  const int64_t last = v->kept ? v->state[v->kept - 1] : -1;
  if (v->at >= v->steps) {
    v->at = last;
    return (revolve_action){ REVOLVE_RESTORE, v->kept - 1, last, last };
  }
  if (v->at != last) {
    v->state[v->kept++] = v->at;
    return (revolve_action){ REVOLVE_STORE, v->kept - 1, v->at, v->at };
  }
  const int64_t from = v->at;
  v->at += stride(v->steps - from, v->snapshots - v->kept + 1);
  return (revolve_action){ REVOLVE_ADVANCE, 0, from, v->at };
}
