/* test_scalar_tanh.c -- at most 1.4 units of the last place from tanh, by MPFR; odd; exact at the ends. */
#include "check.h"

#include "primitives/scalar_tanh.h"

#include <mpfr.h>

/* |got - tanh(x)| in units of the last place of tanh(x). */
static double error_at(double x, double got) {
  mpfr_t m;
  mpfr_init2(m, 120);
  mpfr_set_d(m, x, MPFR_RNDN);
  mpfr_tanh(m, m, MPFR_RNDN);
  int exponent;
  (void)frexp(mpfr_get_d(m, MPFR_RNDN), &exponent);
  mpfr_sub_d(m, m, got, MPFR_RNDN);
  const double error = fabs(ldexp(mpfr_get_d(m, MPFR_RNDN), 53 - exponent));
  mpfr_clear(m);
  return error;
}

static void test_between(double low, double high, int points) {
  double worst = 0, at = 0;
  for (int i = 0; i <= points; i++) {
    const double x = low + (high - low)*i/points, error = error_at(x, scalar_tanh(x));
    if (error > worst) worst = error, at = x;
    CHECK(scalar_tanh(-x) == -scalar_tanh(x));
  }
  CHECK_THAT(worst <= 1.4, "error of %.3f units in the last place at %.17g", worst, at);
}

int main(void) {
  static const double edge[] = { 1e-300, 1e-9, 0.01, 0.3, 0.5, 0.624, 0.626, 0.7, 1, 2, 5, 18, 19, 23 };
  for (size_t k = 0; k + 1 < sizeof edge/sizeof *edge; k++) test_between(edge[k], edge[k + 1], 20000);
  CHECK(scalar_tanh(0.0) == 0 && !signbit(scalar_tanh(0.0)) && signbit(scalar_tanh(-0.0)));
  CHECK(scalar_tanh(5e-324) == 5e-324 && scalar_tanh(-2e-310) == -2e-310);
  CHECK(scalar_tanh(INFINITY) == 1 && scalar_tanh(-INFINITY) == -1 && scalar_tanh(1e308) == 1);
  CHECK(isnan(scalar_tanh(NAN)));
  return check_summary();
}
