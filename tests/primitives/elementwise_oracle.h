/* elementwise_oracle.h -- every real-valued row of elementwise.def once more, in MPFR, by the definition
 * of the function.
 *
 * oracles[id] is NULL for rows that give bool. Derivatives come from these by central differences: with
 * PRECISION bits and a step of 2^-90 they are good to 150 bits or so, so that nothing is written twice. */
#ifndef ADIT_TESTS_ELEMENTWISE_ORACLE_H
#define ADIT_TESTS_ELEMENTWISE_ORACLE_H

#include "primitives/elementwise.h"

#include <mpfr.h>

enum { PRECISION = 400 };

typedef void oracle(mpfr_ptr z, mpfr_srcptr x, mpfr_srcptr y, mpfr_srcptr w, double a);

#define N MPFR_RNDN
#define ORACLE(name) \
  static void oracle_##name(mpfr_ptr z, mpfr_srcptr x, mpfr_srcptr y, mpfr_srcptr w, double a)
#define UNUSED (void)x, (void)y, (void)w, (void)a
#define ORACLE_1(name, call) ORACLE(name) { UNUSED; call(z, x, N); }
#define ORACLE_2(name, call) ORACLE(name) { UNUSED; call(z, x, y, N); }
#define BEGIN(t) UNUSED; mpfr_t t; mpfr_init2(t, PRECISION)
#define END(t) mpfr_clear(t)

ORACLE_2(add, mpfr_add)     ORACLE_2(sub, mpfr_sub)     ORACLE_2(mul, mpfr_mul)    ORACLE_2(div, mpfr_div)
ORACLE_2(fmod, mpfr_fmod)   ORACLE_2(pow, mpfr_pow)     ORACLE_2(hypot, mpfr_hypot)
ORACLE_2(atan2, mpfr_atan2)
ORACLE_2(max, mpfr_max)     ORACLE_2(min, mpfr_min)     ORACLE_2(copysign, mpfr_copysign)
ORACLE_1(neg, mpfr_neg)     ORACLE_1(abs, mpfr_abs)     ORACLE_1(square, mpfr_sqr) ORACLE_1(sqrt, mpfr_sqrt)
ORACLE_1(rsqrt, mpfr_rec_sqrt) ORACLE_1(cbrt, mpfr_cbrt)
ORACLE_1(floor, mpfr_rint_floor) ORACLE_1(ceil, mpfr_rint_ceil) ORACLE_1(round, mpfr_rint_round)
ORACLE_1(trunc, mpfr_rint_trunc)
ORACLE_1(exp, mpfr_exp)     ORACLE_1(exp2, mpfr_exp2)   ORACLE_1(expm1, mpfr_expm1)
ORACLE_1(log, mpfr_log)     ORACLE_1(log2, mpfr_log2)   ORACLE_1(log10, mpfr_log10)
ORACLE_1(log1p, mpfr_log1p)
ORACLE_1(sin, mpfr_sin)     ORACLE_1(cos, mpfr_cos)     ORACLE_1(tan, mpfr_tan)
ORACLE_1(asin, mpfr_asin)   ORACLE_1(acos, mpfr_acos)   ORACLE_1(atan, mpfr_atan)
ORACLE_1(sinh, mpfr_sinh)   ORACLE_1(cosh, mpfr_cosh)   ORACLE_1(tanh, mpfr_tanh)
ORACLE_1(asinh, mpfr_asinh) ORACLE_1(acosh, mpfr_acosh) ORACLE_1(atanh, mpfr_atanh)
ORACLE_1(sinpi, mpfr_sinpi) ORACLE_1(cospi, mpfr_cospi)
ORACLE_1(erf, mpfr_erf)     ORACLE_1(erfc, mpfr_erfc)   ORACLE_1(tgamma, mpfr_gamma)
ORACLE_1(digamma, mpfr_digamma)

ORACLE(fma) { UNUSED; mpfr_fma(z, x, y, w, N); }
ORACLE(reciprocal) { UNUSED; mpfr_ui_div(z, 1, x, N); }
ORACLE(powi) { BEGIN(t); mpfr_set_d(t, a, N); mpfr_pow(z, x, t, N); END(t); }
ORACLE(sign) { UNUSED; if (mpfr_nan_p(x)) mpfr_set_nan(z); else mpfr_set_si(z, mpfr_sgn(x), N); }
ORACLE(lgamma) { UNUSED; int sign; mpfr_lgamma(z, &sign, x, N); }
ORACLE(select) { UNUSED; mpfr_set(z, mpfr_zero_p(x) ? w : y, N); }
ORACLE(clamp) { BEGIN(t); mpfr_max(t, x, y, N); mpfr_min(z, t, w, N); END(t); }
ORACLE(relu) { UNUSED; if (mpfr_sgn(x) < 0) mpfr_set_zero(z, 1); else mpfr_set(z, x, N); }
ORACLE(leaky_relu) { UNUSED; if (mpfr_sgn(x) > 0) mpfr_set(z, x, N); else mpfr_mul_d(z, x, a, N); }
ORACLE(elu) {
  BEGIN(t);
  mpfr_expm1(t, x, N);
  if (mpfr_sgn(x) > 0) mpfr_set(z, x, N); else mpfr_mul_d(z, t, a, N);
  END(t);
}

ORACLE(sigmoid) {
  BEGIN(t);
  mpfr_neg(t, x, N); mpfr_exp(t, t, N); mpfr_add_ui(t, t, 1, N); mpfr_ui_div(z, 1, t, N);
  END(t);
}
ORACLE(softplus) {
  BEGIN(t);
  mpfr_abs(t, x, N); mpfr_neg(t, t, N); mpfr_exp(t, t, N); mpfr_log1p(t, t, N);
  if (mpfr_sgn(x) > 0) mpfr_add(z, x, t, N); else mpfr_set(z, t, N);
  END(t);
}
ORACLE(logsigmoid) {
  BEGIN(t);
  mpfr_neg(t, x, N); oracle_softplus(z, t, y, w, a); mpfr_neg(z, z, N);
  END(t);
}
ORACLE(silu) { BEGIN(t); oracle_sigmoid(t, x, y, w, a); mpfr_mul(z, x, t, N); END(t); }
ORACLE(sech2) { BEGIN(t); mpfr_sech(t, x, N); mpfr_sqr(z, t, N); END(t); }
ORACLE(logaddexp) {
  BEGIN(t);
  mpfr_sub(t, y, x, N); oracle_softplus(t, t, y, w, a); mpfr_add(z, x, t, N);
  END(t);
}
ORACLE(share) { BEGIN(t); mpfr_sub(t, x, y, N); oracle_sigmoid(z, t, y, w, a); END(t); }
ORACLE(over_norm2) {
  BEGIN(t);
  mpfr_sqr(t, y, N); mpfr_fma(t, x, x, t, N); mpfr_div(z, x, t, N);
  END(t);
}
ORACLE(xlogy) {
  BEGIN(t);
  mpfr_log(t, y, N); mpfr_mul(z, x, t, N);
  if (mpfr_zero_p(x)) mpfr_set_zero(z, 1);
  END(t);
}
ORACLE(xlog1py) {
  BEGIN(t);
  mpfr_log1p(t, y, N); mpfr_mul(z, x, t, N);
  if (mpfr_zero_p(x)) mpfr_set_zero(z, 1);
  END(t);
}
ORACLE(normal_density) {
  BEGIN(t);
  mpfr_sqr(t, x, N); mpfr_div_si(t, t, -2, N); mpfr_exp(t, t, N);
  mpfr_const_pi(z, N); mpfr_mul_ui(z, z, 2, N); mpfr_sqrt(z, z, N); mpfr_div(z, t, z, N);
  END(t);
}
static void normal_distribution(mpfr_ptr z, mpfr_srcptr x) {
  mpfr_sqrt_ui(z, 2, N); mpfr_div(z, x, z, N); mpfr_neg(z, z, N); mpfr_erfc(z, z, N); mpfr_div_ui(z, z, 2, N);
}
ORACLE(gelu) { BEGIN(t); normal_distribution(t, x); mpfr_mul(z, x, t, N); END(t); }
ORACLE(gelu_slope) {
  BEGIN(t);
  oracle_normal_density(t, x, y, w, a); mpfr_mul(t, t, x, N);
  mpfr_t u; mpfr_init2(u, PRECISION);
  normal_distribution(u, x); mpfr_add(z, t, u, N);
  mpfr_clear(u);
  END(t);
}
/* s (1 + x sigmoid(-x)), s = sigmoid(x) */
ORACLE(silu_slope) {
  BEGIN(t);
  mpfr_neg(t, x, N); oracle_sigmoid(t, t, y, w, a); mpfr_mul(t, t, x, N); mpfr_add_ui(t, t, 1, N);
  mpfr_t u; mpfr_init2(u, PRECISION);
  oracle_sigmoid(u, x, y, w, a); mpfr_mul(z, t, u, N);
  mpfr_clear(u);
  END(t);
}
/* Newton's method on erf from a double that is right to 40 bits at least. */
ORACLE(erfinv) {
  BEGIN(t);
  mpfr_t u, e; mpfr_init2(u, PRECISION); mpfr_init2(e, PRECISION);
  mpfr_set_d(u, elementwise_rows[ROW_erfinv].evaluate(mpfr_get_d(x, N), 0, 0, 0), N);
  for (int step = 0; step < 5; step++) {
    mpfr_erf(t, u, N); mpfr_sub(t, t, x, N);
    mpfr_sqr(e, u, N); mpfr_exp(e, e, N); mpfr_mul(t, t, e, N);
    mpfr_const_pi(e, N); mpfr_sqrt(e, e, N); mpfr_div_ui(e, e, 2, N); mpfr_mul(t, t, e, N);
    mpfr_sub(u, u, t, N);
  }
  mpfr_set(z, u, N);
  mpfr_clear(u); mpfr_clear(e);
  END(t);
}
/* The central difference of order n: sum (-1)^k binomial(n, k) digamma(x + (n/2 - k) h)/h^n, h = 2^-50. */
static void digamma_difference(mpfr_ptr z, mpfr_srcptr x, int n) {
  mpfr_t t, sum, h; mpfr_init2(t, PRECISION); mpfr_init2(sum, PRECISION); mpfr_init2(h, PRECISION);
  mpfr_set_ui_2exp(h, 1, -50, N); mpfr_set_zero(sum, 1);
  double binomial = 1;
  for (int k = 0; k <= n; k++) {
    mpfr_mul_d(t, h, 0.5*n - k, N); mpfr_add(t, t, x, N); mpfr_digamma(t, t, N);
    mpfr_mul_d(t, t, k % 2 ? -binomial : binomial, N); mpfr_add(sum, sum, t, N);
    binomial = binomial*(n - k)/(k + 1);
  }
  for (int k = 0; k < n; k++) mpfr_div(sum, sum, h, N);
  mpfr_set(z, sum, N);
  mpfr_clear(t); mpfr_clear(sum); mpfr_clear(h);
}
ORACLE(trigamma) { UNUSED; digamma_difference(z, x, 1); }
ORACLE(polygamma) { UNUSED; digamma_difference(z, x, (int)a); }

#define REAL_FLOAT(name)   [ROW_##name] = oracle_##name,
#define REAL_NUMERIC(name) [ROW_##name] = oracle_##name,
#define REAL_CHOICE(name)  [ROW_##name] = oracle_##name,
#define REAL_COMPARE(name)
#define REAL_PREDICATE(name)
#define REAL_LOGICAL(name)
static oracle *const oracles[ROW_COUNT] = {
#define UNARY(name, class, ...)           REAL_##class(name)
#define UNARY_ATTRIBUTE(name, class, ...) REAL_##class(name)
#define BINARY(name, class, ...)          REAL_##class(name)
#define TERNARY(name, class, ...)         REAL_##class(name)
#include "primitives/elementwise.def"
};

#undef UNUSED
#undef BEGIN
#undef END

#endif
