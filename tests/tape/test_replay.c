/* test_replay.c -- a tape of scalars with changed inputs, alone and with an array and choices on it, against
 * one recorded with those values from the start: every value and every adjoint, bit for bit. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"

enum { NODES = 700 };

static unsigned next_random(unsigned *state) { return *state = *state*1664525u + 1013904223u, *state >> 8; }

static bool same_bits(double a, double b) {
  uint64_t x, y;
  memcpy(&x, &a, sizeof x);
  memcpy(&y, &b, sizeof y);
  return x == y || (a != a && b != b);
}

/* One operation on what was recorded before: often on the last ones, which replay keeps in registers. */
static ad_var operation(unsigned *state, const ad_var v[], int n, bool mixed) {
  const unsigned kind = next_random(state)%(mixed ? 16 : 14);
  const int reach = next_random(state)%4 ? 3 : n;
  const ad_var x = v[n - 1 - (int)(next_random(state)%(unsigned)(reach < n ? reach : n))],
               y = v[n - 1 - (int)(next_random(state)%(unsigned)n)];
  switch (kind) {
    case 0: case 1:   return ad_add(x, y);
    case 2:           return ad_add(y, x);
    case 3:           return ad_sub(x, y);
    case 4: case 5:   return ad_mul(x, y);
    case 6:           return ad_tanh(x);
    case 7:           return ad_sin(y);
    case 8:           return ad_fma(x, y, v[n - 1]);
    case 9:           return ad_clamp(x, -2, 3);
    case 10:          return ad_powi(ad_tanh(y), 3);
    case 11:          return ad_atan2(x, ad_add(ad_square(y), 1));
    case 12:          return ad_max(x, y);
    case 14:          return ad_select(ad_less(x, 0.25), y, v[n - 1]);
    case 15:          return ad_clamp(v[n - 1], ad_min(x, y), ad_max(x, y));
    default:          return ad_exp(ad_neg(ad_abs(x)));
  }
}

/* Every seventh node an input. inputs[k] says which node is input k. */
static int record(ad_tape *t, unsigned seed, bool mixed, const double value[], ad_var v[NODES],
                  int inputs[NODES]) {
  int count = 0;
  if (mixed) ad_sum(ad_array(t, AD_F64(3), value), AD_ALL_AXES, false);
  for (int n = 0; n < NODES; n++) {
    if (n%7 == 0) v[inputs[count] = n] = ad_scalar(t, value[count]), count++;
    else v[n] = operation(&seed, v, n, mixed);
  }
  return count;
}

static void compare(unsigned seed, unsigned changes, bool mixed) {
  static ad_var a[NODES], b[NODES];
  static int inputs[NODES];
  double value[NODES];
  unsigned state = seed + 77;
  for (int k = 0; k < NODES; k++) value[k] = next_random(&state)%2001/1000.0 - 1;
  ad_tape *t = ad_tape_new(), *fresh = ad_tape_new();
  const int count = record(t, seed, mixed, value, a, inputs);
  for (unsigned k = 0; k < changes; k++) {
    const int which = (int)(next_random(&state)%(unsigned)count);
    value[which] = k%5 == 4 ? -0.0 : next_random(&state)%2001/1000.0 - 1;
    CHECK_STATUS(ad_set_value(a[inputs[which]], value[which]), AD_OK);
  }
  record(fresh, seed, mixed, value, b, inputs);
  CHECK_STATUS(ad_backward(a[NODES - 1]), AD_OK);
  CHECK_STATUS(ad_backward(b[NODES - 1]), AD_OK);
  for (int n = 0; n < NODES; n++) {
    const double va = ad_value(a[n]), vb = ad_value(b[n]), ga = ad_adjoint(a[n]), gb = ad_adjoint(b[n]);
    CHECK_THAT(same_bits(va, vb), "seed %u, node %d: %.17g, not %.17g", seed, n, va, vb);
    CHECK_THAT(same_bits(ga, gb), "seed %u, adjoint of node %d: %.17g, not %.17g", seed, n, ga, gb);
  }
  ad_tape_free(t);
  ad_tape_free(fresh);
}

/* 1/x tells 0 from -0, and what was +inf becomes -inf. */
static void test_sign_of_zero(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 0.0), y = ad_reciprocal(x), z = ad_atan(y);
  CHECK(ad_value(z) > 1.5);
  ad_set_value(x, -0.0);
  CHECK(ad_value(y) < 0 && ad_value(z) < -1.5);
  ad_tape_free(t);
}

/* The first node of a block uses the last two of the block before. */
static void test_block_ends(void) {
  for (int before = 0; before < 40; before++) {
    ad_tape *t = ad_tape_new();
    ad_var v = ad_scalar(t, 3), last = v;
    for (int i = 0; i < before; i++) last = v, v = ad_add(v, v);
    const ad_var sum = ad_add(last, v), x = ad_scalar(t, 1), y = ad_mul(x, sum);
    const double want = ad_value(sum);
    ad_set_value(x, 2);
    CHECK_NUMBER(ad_value(y), 2*want, 0);
    CHECK_NUMBER(ad_value(sum), want, 0);
    ad_tape_free(t);
  }
}

int main(void) {
  for (unsigned seed = 1; seed <= 60; seed++)
    for (unsigned changes = 1; changes <= 81; changes *= 3)
      compare(seed, changes, false), compare(seed, changes, true);
  test_sign_of_zero();
  test_block_ends();
  return check_summary();
}
