/* adit/elementwise.h -- operations on each element, one for each row of the library's table.
 *
 * The law. Operands broadcast as in NumPy and promote as in C (adit/types.h); integers and bool become f64
 * where the function is one of the reals. An operand of an operation with two or three may be a number of any
 * arithmetic type. The value is that of the C function of the same name; derivatives exist to any order and
 * follow the conventions of docs/design.md. An invalid operand, operands of two tapes and shapes that do not
 * broadcast give an invalid handle.
 */
#ifndef ADIT_ELEMENTWISE_H
#define ADIT_ELEMENTWISE_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- Arithmetic. Integers wrap; their x/0 is 0 and INT_MIN/-1 is INT_MIN. --- */
AD_API ad_var ad_add(ad_var x, ad_var y);                        /* sum */
AD_API ad_var ad_sub(ad_var x, ad_var y);                        /* difference */
AD_API ad_var ad_mul(ad_var x, ad_var y);                        /* product */
AD_API ad_var ad_div(ad_var x, ad_var y);                        /* quotient; integers truncate */
AD_API ad_var ad_fmod(ad_var x, ad_var y);                       /* remainder of x/y with the sign of x */
AD_API ad_var ad_fma(ad_var x, ad_var y, ad_var w);              /* x*y + w, rounded once */
AD_API ad_var ad_neg(ad_var x);                                  /* negation */
AD_API ad_var ad_square(ad_var x);                               /* square */
AD_API ad_var ad_reciprocal(ad_var x);                           /* 1/x */

/* --- Powers and roots. --- */
AD_API ad_var ad_powi(ad_var x, double a);                       /* x to the constant integer power a */
/* x to the power y; a literal integer y is exact: see below */
AD_API ad_var ad_pow(ad_var x, ad_var y);
AD_API ad_var ad_sqrt(ad_var x);                                 /* square root */
AD_API ad_var ad_rsqrt(ad_var x);                                /* 1/sqrt(x) */
AD_API ad_var ad_cbrt(ad_var x);                                 /* cube root */
/* sqrt(x*x + y*y) without overflow; slope 0 at (0, 0) */
AD_API ad_var ad_hypot(ad_var x, ad_var y);

/* --- Steps: derivative 0, at the jumps too. --- */
AD_API ad_var ad_sign(ad_var x);                                 /* -1, 0 or 1 */
AD_API ad_var ad_floor(ad_var x);                                /* largest integer not above x */
AD_API ad_var ad_ceil(ad_var x);                                 /* smallest integer not below x */
AD_API ad_var ad_round(ad_var x);                                /* nearest integer, halves away from 0 */
AD_API ad_var ad_trunc(ad_var x);                                /* x without its fraction */
AD_API ad_var ad_less(ad_var x, ad_var y);                       /* true where x < y */
AD_API ad_var ad_less_equal(ad_var x, ad_var y);                 /* true where x <= y */
AD_API ad_var ad_greater(ad_var x, ad_var y);                    /* true where x > y */
AD_API ad_var ad_greater_equal(ad_var x, ad_var y);              /* true where x >= y */
AD_API ad_var ad_equal(ad_var x, ad_var y);                      /* true where x equals y */
AD_API ad_var ad_not_equal(ad_var x, ad_var y);                  /* true where x differs from y */
AD_API ad_var ad_logical_not(ad_var x);                          /* true where x is 0 */
AD_API ad_var ad_logical_and(ad_var x, ad_var y);                /* true where x and y differ from 0 */
AD_API ad_var ad_logical_or(ad_var x, ad_var y);                 /* true where x or y differs from 0 */
AD_API ad_var ad_logical_xor(ad_var x, ad_var y);                /* true where one of x, y is 0 */
AD_API ad_var ad_is_nan(ad_var x);                               /* true where x is nan */
AD_API ad_var ad_is_inf(ad_var x);                               /* true where x is infinite */
/* true where x is neither infinite nor nan */
AD_API ad_var ad_is_finite(ad_var x);

/* --- Choices. What is not chosen is not connected; what ties shares. --- */
AD_API ad_var ad_select(ad_var x, ad_var y, ad_var w);           /* y where x is true, else w */
AD_API ad_var ad_max(ad_var x, ad_var y);                        /* larger one, or the one that is not nan */
AD_API ad_var ad_min(ad_var x, ad_var y);                        /* smaller one, or the one that is not nan */
AD_API ad_var ad_clamp(ad_var x, ad_var y, ad_var w);            /* x kept within [y, w]; w where y > w */
AD_API ad_var ad_abs(ad_var x);                                  /* absolute value, slope 0 at 0 */
/* abs(x) with the sign of y; slope 0 at x = 0 */
AD_API ad_var ad_copysign(ad_var x, ad_var y);

/* --- Exponentials and logarithms. --- */
AD_API ad_var ad_exp(ad_var x);                                  /* exponential */
AD_API ad_var ad_exp2(ad_var x);                                 /* 2 to the power x */
AD_API ad_var ad_expm1(ad_var x);                                /* exp(x) - 1, accurate near 0 */
AD_API ad_var ad_log(ad_var x);                                  /* natural logarithm */
AD_API ad_var ad_log2(ad_var x);                                 /* logarithm to base 2 */
AD_API ad_var ad_log10(ad_var x);                                /* logarithm to base 10 */
AD_API ad_var ad_log1p(ad_var x);                                /* log(1 + x), accurate near 0 */
AD_API ad_var ad_logaddexp(ad_var x, ad_var y);                  /* log(exp(x) + exp(y)) without overflow */
/* exp(x)/(exp(x) + exp(y)): the slope of logaddexp */
AD_API ad_var ad_share(ad_var x, ad_var y);
AD_API ad_var ad_xlogy(ad_var x, ad_var y);                      /* x*log(y), and 0 where x is 0 */
AD_API ad_var ad_xlog1py(ad_var x, ad_var y);                    /* x*log1p(y), and 0 where x is 0 */

/* --- Circular functions. --- */
AD_API ad_var ad_sin(ad_var x);                                  /* sine */
AD_API ad_var ad_cos(ad_var x);                                  /* cosine */
AD_API ad_var ad_tan(ad_var x);                                  /* tangent */
AD_API ad_var ad_asin(ad_var x);                                 /* arc sine */
AD_API ad_var ad_acos(ad_var x);                                 /* arc cosine */
AD_API ad_var ad_atan(ad_var x);                                 /* arc tangent */
AD_API ad_var ad_atan2(ad_var x, ad_var y);                      /* angle of the point (y, x) */
/* x/(x*x + y*y) without overflow: the slope of atan2, the real part of 1/(x + iy) */
AD_API ad_var ad_over_norm2(ad_var x, ad_var y);
AD_API ad_var ad_sinpi(ad_var x);                                /* sin(pi*x) */
AD_API ad_var ad_cospi(ad_var x);                                /* cos(pi*x) */

/* --- Hyperbolic functions. --- */
AD_API ad_var ad_sinh(ad_var x);                                 /* hyperbolic sine */
AD_API ad_var ad_cosh(ad_var x);                                 /* hyperbolic cosine */
AD_API ad_var ad_tanh(ad_var x);                                 /* hyperbolic tangent */
AD_API ad_var ad_sech2(ad_var x);                                /* 1/cosh(x)^2: the slope of tanh */
AD_API ad_var ad_asinh(ad_var x);                                /* inverse hyperbolic sine */
AD_API ad_var ad_acosh(ad_var x);                                /* inverse hyperbolic cosine */
AD_API ad_var ad_atanh(ad_var x);                                /* inverse hyperbolic tangent */

/* --- Error and gamma functions. --- */
AD_API ad_var ad_erf(ad_var x);                                  /* error function */
AD_API ad_var ad_erfc(ad_var x);                                 /* 1 - erf(x), accurate for large x */
AD_API ad_var ad_erfinv(ad_var x);                               /* inverse of erf */
AD_API ad_var ad_lgamma(ad_var x);                               /* log(abs(gamma(x))) */
AD_API ad_var ad_tgamma(ad_var x);                               /* gamma function */
AD_API ad_var ad_digamma(ad_var x);                              /* slope of lgamma */
AD_API ad_var ad_trigamma(ad_var x);                             /* slope of digamma; nan at -1, -2, ... */
AD_API ad_var ad_polygamma(ad_var x, double a);                  /* a-th derivative of digamma */

/* --- Activations. --- */
AD_API ad_var ad_sigmoid(ad_var x);                              /* 1/(1 + exp(-x)) */
AD_API ad_var ad_logsigmoid(ad_var x);                           /* log(sigmoid(x)) */
AD_API ad_var ad_softplus(ad_var x);                             /* log(1 + exp(x)) */
AD_API ad_var ad_relu(ad_var x);                                 /* x where positive, else 0; slope 0 at 0 */
/* x where positive, else a*x; slope a at 0 */
AD_API ad_var ad_leaky_relu(ad_var x, double a);
/* x where positive, else a*expm1(x); slope a at 0 */
AD_API ad_var ad_elu(ad_var x, double a);
AD_API ad_var ad_silu(ad_var x);                                 /* x*sigmoid(x) */
AD_API ad_var ad_silu_slope(ad_var x);                           /* slope of silu */
/* x times the normal distribution function of x */
AD_API ad_var ad_gelu(ad_var x);
AD_API ad_var ad_gelu_slope(ad_var x);                           /* slope of gelu */
/* density of the standard normal distribution */
AD_API ad_var ad_normal_density(ad_var x);

/* ad_pow with a literal exponent that is an integer n records x^n itself, exact for every x: n = 0 ones, 1 x,
 * 2 ad_square, -1 ad_reciprocal, else ad_powi. A negative power of integers is taken in f64. */

/* --- Data types --- */
/* x as another data type; float to integer truncates */
AD_API ad_var ad_cast(ad_var x, ad_dtype dtype);

/* Operands may be numbers. The functions behind the macros are called as (ad_add)(x, y). */
#ifndef __cplusplus
#  define ad_add(x, y) ad_add(AD_VAR(x), AD_VAR(y))
#  define ad_sub(x, y) ad_sub(AD_VAR(x), AD_VAR(y))
#  define ad_mul(x, y) ad_mul(AD_VAR(x), AD_VAR(y))
#  define ad_div(x, y) ad_div(AD_VAR(x), AD_VAR(y))
#  define ad_fmod(x, y) ad_fmod(AD_VAR(x), AD_VAR(y))
#  define ad_fma(x, y, w) ad_fma(AD_VAR(x), AD_VAR(y), AD_VAR(w))
#  define ad_pow(x, y) ad_pow(AD_VAR(x), AD_VAR(y))
#  define ad_hypot(x, y) ad_hypot(AD_VAR(x), AD_VAR(y))
#  define ad_less(x, y) ad_less(AD_VAR(x), AD_VAR(y))
#  define ad_less_equal(x, y) ad_less_equal(AD_VAR(x), AD_VAR(y))
#  define ad_greater(x, y) ad_greater(AD_VAR(x), AD_VAR(y))
#  define ad_greater_equal(x, y) ad_greater_equal(AD_VAR(x), AD_VAR(y))
#  define ad_equal(x, y) ad_equal(AD_VAR(x), AD_VAR(y))
#  define ad_not_equal(x, y) ad_not_equal(AD_VAR(x), AD_VAR(y))
#  define ad_logical_and(x, y) ad_logical_and(AD_VAR(x), AD_VAR(y))
#  define ad_logical_or(x, y) ad_logical_or(AD_VAR(x), AD_VAR(y))
#  define ad_logical_xor(x, y) ad_logical_xor(AD_VAR(x), AD_VAR(y))
#  define ad_select(x, y, w) ad_select(AD_VAR(x), AD_VAR(y), AD_VAR(w))
#  define ad_max(x, y) ad_max(AD_VAR(x), AD_VAR(y))
#  define ad_min(x, y) ad_min(AD_VAR(x), AD_VAR(y))
#  define ad_clamp(x, y, w) ad_clamp(AD_VAR(x), AD_VAR(y), AD_VAR(w))
#  define ad_copysign(x, y) ad_copysign(AD_VAR(x), AD_VAR(y))
#  define ad_logaddexp(x, y) ad_logaddexp(AD_VAR(x), AD_VAR(y))
#  define ad_share(x, y) ad_share(AD_VAR(x), AD_VAR(y))
#  define ad_xlogy(x, y) ad_xlogy(AD_VAR(x), AD_VAR(y))
#  define ad_xlog1py(x, y) ad_xlog1py(AD_VAR(x), AD_VAR(y))
#  define ad_atan2(x, y) ad_atan2(AD_VAR(x), AD_VAR(y))
#  define ad_over_norm2(x, y) ad_over_norm2(AD_VAR(x), AD_VAR(y))
#endif

#ifdef __cplusplus
}
#endif
#endif
