/* test_revolve.c -- the binomial schedule reverses every step from the right state, in the slots it has, at
 * the least cost: against the closed form, an independent dynamic programme, and published values.
 *
 * Published: the theorem of Griewank and Walther, Algorithm 799, ACM TOMS 26 (2000), that t = r l - beta(s+1,
 * r-1) is least. The figures below are that formula by hand; 14 steps with 3 snapshots is the case that the
 * driver in the algorithm's distribution runs.
 */
#include "check.h"
#include "run/revolve.h"

#include <stdlib.h>

enum { MANY = 128, NO_STATE = -1 };

/* What a schedule does to a chain whose state i is the number i. */
typedef struct trial {
  int64_t steps, snapshots, current, left, computed, slot[MANY];
  int64_t restores, stores, actions, most_repeated;
  int32_t *times;                   /* how often each step was computed; may be NULL */
} trial;

/* False when the action cannot be what the chain needs. */
static bool perform(trial *t, revolve_action a) {
  t->actions++;
  if (a.kind == REVOLVE_ADVANCE) {
    const bool good = a.from == t->current && a.to > a.from && a.to < t->left;
    for (int64_t i = a.from; good && t->times && i < a.to; i++)
      if (++t->times[i] > t->most_repeated) t->most_repeated = t->times[i];
    t->computed += a.to - a.from;
    t->current = a.to;
    return good;
  }
  if (a.kind == REVOLVE_REVERSE) return a.from == t->current && a.from == --t->left;
  if (a.slot < 0 || a.slot >= t->snapshots || a.slot >= MANY) return false;
  if (a.kind == REVOLVE_STORE) {
    t->stores++;
    t->slot[a.slot] = t->current;
    return a.from == t->current;
  }
  t->restores++;
  t->current = t->slot[a.slot];
  return a.kind == REVOLVE_RESTORE && t->current != NO_STATE && t->current == a.from;
}

static bool run_schedule(trial *t, int64_t steps, int64_t snapshots, int32_t *times) {
  static int64_t stack[MANY + 1];
  revolve v;
  *t = (trial){ .steps = steps, .snapshots = snapshots, .left = steps, .times = times };
  for (int64_t i = 0; i < MANY; i++) t->slot[i] = NO_STATE;
  const int64_t room = snapshots < MANY ? snapshots : MANY;
  stack[room] = 987654321;
  revolve_begin(&v, steps, snapshots, stack);
  for (;;) {
    const revolve_action a = revolve_next(&v);
    if (a.kind == REVOLVE_DONE) break;
    if (!perform(t, a)) return false;
  }
  return t->left == 0 && revolve_next(&v).kind == REVOLVE_DONE && stack[room] == 987654321;
}

/* --- all small chains ----------------------------------------------------------------------------------- */

enum { STEPS = 200, SNAPSHOTS = 20 };

/* t(l, s) = min over m of m + t(l-m, s-1) + t(m, s), and l(l-1)/2 with one snapshot. */
static int64_t programme[STEPS + 1][SNAPSHOTS + 1];

static void fill_programme(void) {
  for (int s = 1; s <= SNAPSHOTS; s++)
    for (int l = 0; l <= STEPS; l++) {
      int64_t least = (int64_t)l*(l - 1)/2;
      for (int m = 1; m < l && s > 1; m++) {
        const int64_t t = m + programme[l - m][s - 1] + programme[m][s];
        if (t < least) least = t;
      }
      programme[l][s] = least;
    }
}

static void test_all_small_chains(void) {
  static int32_t times[STEPS];
  fill_programme();
  for (int l = 0; l <= STEPS; l++)
    for (int s = 1; s <= SNAPSHOTS; s++) {
      trial t;
      memset(times, 0, sizeof times);
      const bool good = run_schedule(&t, l, s, times);
      CHECK_THAT(good, "%d steps, %d snapshots: a wrong action", l, s);
      CHECK_THAT(t.computed == programme[l][s] && revolve_cost(l, s) == programme[l][s],
                 "%d steps, %d snapshots: %lld computed, %lld said, %lld at least", l, s,
                 (long long)t.computed, (long long)revolve_cost(l, s), (long long)programme[l][s]);
      CHECK_THAT(t.most_repeated == revolve_repetition(l, s), "%d steps, %d snapshots: %lld times, not %lld",
                 l, s, (long long)t.most_repeated, (long long)revolve_repetition(l, s));
      CHECK_THAT(t.restores == (l > 1 ? l - 1 : 0), "%d steps: %lld restores", l, (long long)t.restores);
    }
}

/* --- long ones ------------------------------------------------------------------------------------------ */

static void test_long_chains(void) {
  static const int64_t lengths[] = { 201, 1000, 4096, 9999, 65537, 100000, 999999, 1000000 };
  static const int64_t counts[] = { 2, 3, 5, 10, 17, 31, 64, 99, 100 };
  for (size_t i = 0; i < sizeof lengths/sizeof *lengths; i++)
    for (size_t k = 0; k < sizeof counts/sizeof *counts; k++) {
      trial t;
      const int64_t l = lengths[i], s = counts[k], cost = revolve_cost(l, s);
      CHECK_THAT(run_schedule(&t, l, s, NULL), "%lld steps, %lld snapshots: a wrong action", (long long)l,
                 (long long)s);
      CHECK_THAT(t.computed == cost, "%lld steps, %lld snapshots: %lld, not %lld", (long long)l, (long long)s,
                 (long long)t.computed, (long long)cost);
    }
}

static void test_random_chains(void) {
  uint64_t state = 799;
  for (int i = 0; i < 200; i++) {
    trial t;
    const int64_t l = 1 + check_below(&state, 20000), s = 1 + check_below(&state, 100);
    CHECK_THAT(run_schedule(&t, l, s, NULL) && t.computed == revolve_cost(l, s), "%lld steps, %lld snapshots",
               (long long)l, (long long)s);
  }
}

/* --- figures -------------------------------------------------------------------------------------------- */

/* The longest chains for a number of repetitions are binomial coefficients; one step more is one more. */
static void test_longest_chains(void) {
  static const struct { int64_t s, r, beta; } known[] = {
    { 1, 5, 6 }, { 2, 2, 6 }, { 3, 2, 10 }, { 3, 3, 20 }, { 4, 3, 35 }, { 5, 3, 56 }, { 5, 5, 252 },
    { 10, 3, 286 }, { 10, 10, 184756 }, { 100, 2, 5151 }, { 100, 3, 176851 }, { 30, 30, 118264581564861424 },
  };
  for (size_t i = 0; i < sizeof known/sizeof *known; i++) {
    CHECK(revolve_repetition(known[i].beta, known[i].s) == known[i].r);
    CHECK(revolve_repetition(known[i].beta + 1, known[i].s) == known[i].r + 1);
  }
}

/* r l - beta(s+1, r-1): 3*14 - 15, 2*10 - 5, 3*20 - 15, 3*56 - 28. */
static void test_published_costs(void) {
  CHECK(revolve_cost(14, 3) == 27);
  CHECK(revolve_cost(10, 3) == 15);
  CHECK(revolve_cost(20, 3) == 45);
  CHECK(revolve_cost(56, 5) == 140);
  CHECK(revolve_cost(1, 1) == 0 && revolve_cost(0, 7) == 0 && revolve_cost(2, 1) == 1);
  CHECK(revolve_cost(1000, 1) == 499500);
  CHECK(revolve_cost(1000, 999) == 999 && revolve_cost(1000, 5000) == 999);
}

static void test_no_overflow(void) {
  const int64_t most = REVOLVE_MOST_STEPS;
  CHECK(revolve_repetition(most, 1) == most - 1);
  CHECK(revolve_cost(most, 1) == INT64_MAX);
  CHECK(revolve_cost(most, most) == most - 1);
  CHECK(revolve_cost(most, INT64_MAX) == most - 1);
  CHECK(revolve_cost((int64_t)1 << 32, 1) == ((int64_t)1 << 31)*(((int64_t)1 << 32) - 1));
  CHECK(revolve_repetition(most, 2) > 3000000000 && revolve_cost(most, 2) == INT64_MAX);
  revolve v;
  int64_t stack[4];
  revolve_begin(&v, most, 4, stack);
  int64_t kept = 0, at = 0;
  for (revolve_action a = revolve_next(&v); a.kind != REVOLVE_REVERSE; a = revolve_next(&v)) {
    kept += a.kind == REVOLVE_STORE;
    if (a.kind == REVOLVE_ADVANCE) at = a.to;
  }
  CHECK(kept == 4 && at == most - 1);
  CHECK(revolve_stack_bytes(4) == sizeof stack);
}

int main(void) {
  test_all_small_chains();
  test_long_chains();
  test_random_chains();
  test_longest_chains();
  test_published_costs();
  test_no_overflow();
  return check_summary();
}
