/* test_backward.c -- the sweep over scalars against the same sweep written out with the table's rules; what
 * is connected and what is not; a tape of one node. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "tape/tape.h"

enum { MOST = 5000 };

static unsigned next_random(unsigned *state) { return *state = *state*1664525u + 1013904223u, *state >> 8; }

/* Rows on f64 scalars, by propagate. */
static void sweep_plainly(const ad_tape *t, uint32_t top, double adjoint[]) {
  for (uint32_t i = 0; i < top; i++) adjoint[i] = -0.0;
  adjoint[top] = 1;
  for (uint32_t i = top; i > 0; i--) {
    if (node_is_leaf(t, i) || (adjoint[i] == 0 && signbit(adjoint[i]))) continue;
    int n;
    const uint32_t *x = node_operands(t, i, &n);
    double v[3] = { 0, 0, 0 }, d[3];
    for (int k = 0; k < n; k++) v[k] = t->value[x[k]].f64;
    elementwise_rows[node_primitive_number(&t->node[i])].propagate(
        d, v[0], v[1], v[2], t->value[i].f64, adjoint[i], node_row_attribute(t, i));
    for (int k = 0; k < n; k++) adjoint[x[k]] += d[k];
  }
}

/* Rows of one and two operands at random, on operands near and far. */
static void compare_with_rules(unsigned seed, int count) {
  static ad_var v[MOST];
  static double want[MOST];
  ad_tape *t = ad_tape_new();
  int n = 0;
  for (; n < 9; n++) v[n] = ad_scalar(t, next_random(&seed)%2001/1000.0 - 1);
  for (; n < count; n++) {
    const ad_var x = v[n - 1 - (int)(next_random(&seed)%(n%3 ? 3 : (unsigned)n))];
    const ad_var y = v[n - 1 - (int)(next_random(&seed)%(unsigned)n)];
    switch (next_random(&seed)%9) {
      case 0: case 1: v[n] = ad_add(x, y); break;
      case 2:         v[n] = ad_sub(x, y); break;
      case 3: case 4: v[n] = ad_mul(y, x); break;
      case 5:         v[n] = ad_tanh(x); break;
      case 6:         v[n] = ad_min(x, y); break;
      case 7:         v[n] = ad_abs(x); break;
      default:        v[n] = ad_sin(y); break;
    }
  }
  const uint32_t top = (uint32_t)ad_tape_size(t) - 1;
  CHECK_STATUS(ad_backward(v[n - 1]), AD_OK);
  sweep_plainly(t, top, want);
  for (int i = 0; i < n; i++)
    CHECK_THAT(check_near(ad_adjoint(v[i]), want[i] + 0.0, 0), "adjoint of node %d of %d: %.17g, not %.17g",
               i, n, ad_adjoint(v[i]), want[i]);
  ad_tape_free(t);
}

/* 0*inf is nan where there is a connection, of either sign, through the node before and through another;
 * where there is none the adjoint is 0. */
static void test_connections(void) {
  for (int apart = 0; apart < 2; apart++)
    for (int sign = -1; sign <= 1; sign += 2) {
      ad_tape *t = ad_tape_new();
      const ad_var x = ad_scalar(t, 0), zero = ad_scalar(t, 0), c = ad_scalar(t, 2*sign);
      const ad_var root = ad_sqrt(x);
      if (apart) (void)ad_add(c, c);
      const ad_var scaled = ad_mul(root, c);
      CHECK_STATUS(ad_backward(ad_mul(scaled, zero)), AD_OK);
      CHECK(isnan(ad_adjoint(x)));
      CHECK_STATUS(ad_backward(ad_neg(ad_mul(zero, root))), AD_OK);
      CHECK(isnan(ad_adjoint(x)));
      CHECK_STATUS(ad_backward(ad_select(ad_less(c, 100), c, root)), AD_OK);
      CHECK_NUMBER(ad_adjoint(x), 0, 0);
      CHECK_NUMBER(ad_adjoint(c), 1, 0);
      ad_tape_free(t);
    }
}

/* Among other types, and with nothing before it. */
static void test_small_and_mixed(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3);
  CHECK_STATUS(ad_backward(x), AD_OK);
  CHECK_NUMBER(ad_adjoint(x), 1, 0);
  const ad_var f = ad_cast(x, AD_F32), g = ad_cast(ad_mul(f, f), AD_F64), y = ad_mul(g, x);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_NUMBER(ad_adjoint(x), 27, 0);
  CHECK_NUMBER(ad_adjoint(f), 18, 0);
  CHECK_NUMBER(ad_adjoint(y), 1, 0);
  ad_tape_free(t);
}

int main(void) {
  for (unsigned seed = 1; seed <= 20; seed++)
    for (int count = 10; count <= MOST; count = count*3 + (int)seed%5) compare_with_rules(seed, count);
  test_connections();
  test_small_and_mixed();
  return check_summary();
}
