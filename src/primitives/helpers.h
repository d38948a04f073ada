/* helpers.h -- the functions that rows call and C does not have.
 *
 * One text for several uses: it is compiled into the sweeps and the kernels, once for double and once for
 * float, and is written out at the head of generated C. So it needs C11 and <math.h> and nothing else,
 * and has no include guard. Before including it define
 *   REAL            double or float
 *   C(k)            the constant k as a REAL
 *   MATH(name)      <math.h>'s function for REAL: exp, or expf
 *   HELPER(name)    what the functions below shall be called
 * Two kinds. The short ones have no branches but ?:, so that loops around them become vector code; they
 * work in REAL. The long ones work in double for either REAL. All are pure: no errno is looked at, no
 * state is touched. */

/* log|gamma(x)|. <math.h>'s lgamma writes the global signgam, a data race; where POSIX systems offer
 * lgamma_r, it does not. The prototype is repeated because strict C modes hide it. */
#if defined(__unix__) || defined(__APPLE__)
extern double lgamma_r(double, int *);
static inline REAL HELPER(lgamma)(REAL x) { int sign; return (REAL)lgamma_r((double)x, &sign); }
#else
static inline REAL HELPER(lgamma)(REAL x) { return (REAL)lgamma((double)x); }
#endif

/* C's fmax as a selection: an operand that is nan loses. */
static inline REAL HELPER(max)(REAL x, REAL y) { return x > y || y != y ? x : y; }

/* And fmin. */
static inline REAL HELPER(min)(REAL x, REAL y) { return x < y || y != y ? x : y; }

static inline REAL HELPER(rsqrt)(REAL x) { return 1/MATH(sqrt)(x); }

/* x^a for a constant a: by repeated squaring where a is a small integer, with a relative error below |a|
 * rounding errors, |a| being the condition number; else by pow. */
static inline REAL HELPER(powi)(double a, REAL x) {
  if (!(a > -64 && a < 64 && a == (int)a)) return MATH(pow)(x, (REAL)a);
  REAL z = 1;
  for (int left = (int)(a < 0 ? -a : a);; x *= x) {
    if (left & 1) z *= x;
    left >>= 1;
    if (!left) return a < 0 ? 1/z : z;
  }
}

/* With e = exp(-|x|) in (0, 1] nothing overflows and nothing cancels:
 * 1/(1 + exp(-x)) is 1/(1 + e) for x >= 0 and e/(1 + e) below. */
static inline REAL HELPER(sigmoid)(REAL x) {
  const REAL e = MATH(exp)(-MATH(fabs)(x));
  return (x < 0 ? e : 1)/(1 + e);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + e). */
static inline REAL HELPER(softplus)(REAL x) {
  return (x > 0 ? x : 0) + MATH(log1p)(MATH(exp)(-MATH(fabs)(x)));
}

/* 1/cosh(x)^2 = 4 e^2/(1 + e^2)^2. */
static inline REAL HELPER(sech2)(REAL x) {
  const REAL e = MATH(exp)(-2*MATH(fabs)(x)), h = 1 + e;
  return 4*e/(h*h);
}

/* max(x, y) + log(1 + exp(-|x - y|)); equal infinities differ by 0 here. */
static inline REAL HELPER(logaddexp)(REAL x, REAL y) {
  const REAL d = x == y ? 0 : MATH(fabs)(x - y);
  return (x > y ? x : y) + MATH(log1p)(MATH(exp)(-d));
}

/* exp(x)/(exp(x) + exp(y)); equal infinities share evenly. */
static inline REAL HELPER(share)(REAL x, REAL y) { return HELPER(sigmoid)(x == y ? 0 : x - y); }

/* x held within [-1000, 1000], nan kept: beyond, exp(-|x|) is 0 in either type, and 0*inf must not become
 * nan. */
static inline REAL HELPER(held)(REAL x) { return x < -1000 ? -1000 : x > 1000 ? 1000 : x; }

static inline REAL HELPER(silu)(REAL x) { return (x < -1000 ? -1000 : x)*HELPER(sigmoid)(x); }

/* s + x s (1 - s) with s = sigmoid(x), and 1 - s = sigmoid(-x) without cancellation. */
static inline REAL HELPER(silu_slope)(REAL x) {
  const REAL e = MATH(exp)(-MATH(fabs)(x)), h = 1 + e;
  const REAL s = (x < 0 ? e : 1)/h, t = (x < 0 ? 1 : e)/h;
  return s*(1 + HELPER(held)(x)*t);
}

/* x Phi(x), Phi(x) = erfc(-x/sqrt(2))/2: the exact gelu, accurate in its left tail. */
static inline REAL HELPER(gelu)(REAL x) {
  return C(0.5)*(x < -1000 ? -1000 : x)*MATH(erfc)(-x*C(0.70710678118654752440));
}

/* Phi(x) + x phi(x). */
static inline REAL HELPER(gelu_slope)(REAL x) {
  const REAL density = C(0.39894228040143267794)*MATH(exp)(-C(0.5)*x*x);
  return C(0.5)*MATH(erfc)(-x*C(0.70710678118654752440)) + HELPER(held)(x)*density;
}

/* x/(x*x + y*y), divided through by the larger of the two: with |x| <= |y| and q = x/y it is q/(y + x q),
 * else, with q = y/x, it is 1/(x + y q). */
static inline REAL HELPER(over_norm2)(REAL x, REAL y) {
  const int below = MATH(fabs)(x) <= MATH(fabs)(y);
  const REAL large = below ? y : x, small = below ? x : y, q = small/large;
  return (below ? q : 1)/(large + small*q);
}

/* sin(pi x): x - 2 rint(x/2) is exact and lies in [-1, 1]; folding it at +-1/2 is exact too. */
static inline REAL HELPER(sinpi)(REAL x) {
  const REAL r = x - 2*MATH(rint)(C(0.5)*x), u = MATH(fabs)(r);
  const REAL s = MATH(sin)(C(3.14159265358979323846)*(u > C(0.5) ? 1 - u : u));
  return s == 0 ? 0*x : r < 0 ? -s : s;
}

/* cos(pi x) = sin(pi (1/2 - |r|)). */
static inline REAL HELPER(cospi)(REAL x) {
  const REAL r = x - 2*MATH(rint)(C(0.5)*x);
  return MATH(sin)(C(3.14159265358979323846)*(C(0.5) - MATH(fabs)(r)));
}

/* The inverse of erf. Start: Winitzki's formula (S. Winitzki, "A handy approximation for the error
 * function and its inverse", 2008), 2e-3 relative. Then thrice Halley's step, which is cubic: with u =
 * (erf(z) - x)/erf'(z) it is z - u/(1 + z u), as erf'' = -2 z erf'. From |x| = 1/2 on, the difference is
 * taken as (1 - |x|) - erfc(z), where 1 - |x| is exact. */
static inline REAL HELPER(erfinv)(REAL argument) {
  const double x = (double)argument, m = fabs(x);
  if (!(m < 1)) return (REAL)(m == 1 ? x*INFINITY : NAN);
  const double l = m < 0.5 ? log1p(-m*m) : log((1 - m)*(1 + m));
  const double q = -l/0.147, t = 4.330746750799873 + 0.5*l;         /* 2/(pi 0.147) + l/2 */
  const double r = sqrt(t*t + q);
  double z = sqrt(t > 0 ? q/(r + t) : r - t);
  for (int step = 0; step < 3; step++) {
    const double f = m < 0.5 ? erf(z) - m : (1 - m) - erfc(z);
    const double u = f*0.88622692545275801365*exp(z*z);
    z -= u/(1 + z*u);
  }
  return (REAL)(x < 0 ? -z : z);
}

/* digamma(x)/(x - x0) on [1, 2], x0 = 1.4616... the root: a polynomial in x - 3/2 interpolated at
 * Chebyshev nodes. */
static inline double HELPER(digamma_by_root)(double x) {
  static const double c[] = {
    0.9510558760318328928, -0.423627421281460505, 0.2405424842407742186, -0.1484049230539088572,
    0.09498872445494121325, -0.06192213327306453169, 0.04076083381242073602, -0.02697579675613824879,
    0.0179072524394511994, -0.01190821800156864475, 0.007926944646403796037, -0.005279964873257404208,
    0.003519006401502276047, -0.002345267632540769041, 0.001556631747448683928, -0.001037637409841860467,
    0.0007233266279287554156, -0.0004821990530566788875, 0.0002272331660987375881, -0.000151485868367733659,
    0.0002596848212643074656, -0.0001731226180272739326 };
  const double t = x - 1.5;
  double p = c[21];
  for (int k = 20; k >= 0; k--) p = p*t + c[k];
  return ((x - 1.4616321449683622) - 9.5499954299656977e-17)*p;                  /* x0 in two parts */
}

/* digamma for x > 0. Within [1, 2] about the root; up to 10 by digamma(x) = digamma(x - 1) + 1/(x - 1),
 * where all terms beyond 2 are positive; from 10 on by log(x) - 1/(2x) - sum B_2k/(2k x^2k). */
static inline double HELPER(digamma_positive)(double x) {
  if (x >= 10) {
    const double v = 1/(x*x);
    return log(x) - 0.5/x - v*(1.0/12 - v*(1.0/120 - v*(1.0/252 - v*(1.0/240 - v*(1.0/132 - v*(691.0/32760
           - v*(1.0/12)))))));
  }
  if (x < 1) return HELPER(digamma_by_root)(x + 1) - 1/x;
  double sum = 0;
  while (x > 2) { x -= 1; sum += 1/x; }
  return sum + HELPER(digamma_by_root)(x);
}

/* digamma(x) = digamma(1 - x) - pi/tan(pi x) for x < 0. Poles: -+inf at +-0; nan at -1, -2, .... Near its
 * roots on the negative axis the error is absolute, a few units of the last place of 1. */
static inline REAL HELPER(digamma)(REAL argument) {
  const double x = (double)argument, r = x - rint(x);
  if (x > 0) return (REAL)HELPER(digamma_positive)(x);
  if (x == 0) return (REAL)(-1/x);
  if (r == 0) return (REAL)NAN;
  return (REAL)(HELPER(digamma_positive)(1 - x) - 3.14159265358979323846/tan(3.14159265358979323846*r));
}

/* trigamma for x > 0: sum of 1/(x + k)^2 up to 10, then 1/x + 1/(2 x^2) + sum B_2k/x^(2k+1). */
static inline double HELPER(trigamma_positive)(double x) {
  double sum = 0;
  while (x < 10) { sum += 1/(x*x); x += 1; }
  const double v = 1/(x*x);
  return sum + (1 + 0.5/x + v*(1.0/6 - v*(1.0/30 - v*(1.0/42 - v*(1.0/30 - v*(5.0/66 - v*(691.0/2730
         - v*(7.0/6 - v*(3617.0/510 - v*(43867.0/798))))))))))/x;
}

/* trigamma(x) = (pi/sin(pi x))^2 - trigamma(1 - x) for x < 0; inf at 0; nan at -1, -2, ..., where digamma
 * is nan. */
static inline REAL HELPER(trigamma)(REAL argument) {
  const double x = (double)argument, r = x - rint(x);
  if (x > 0) return (REAL)HELPER(trigamma_positive)(x);
  if (x == 0) return (REAL)INFINITY;
  if (r == 0) return (REAL)NAN;
  const double c = 3.14159265358979323846/sin(3.14159265358979323846*r);
  return (REAL)(c*c - HELPER(trigamma_positive)(1 - x));
}

/* (n! / x^s) and then x^s zeta(s, x), s = n + 1 >= 3, x > 0: Hurwitz' zeta by Euler and Maclaurin, with y
 * = x + N:
 *   zeta(s, x) = sum_{k<N} (x + k)^-s + y^(1-s)/(s-1) + y^-s/2
 *              + sum_j B_2j/(2j)! s(s+1)...(s+2j-2) y^(1-s-2j).
 * y >= 8 + s/2 makes ten terms of the last sum enough. The factor n!/x^s is a product of
 * quotients, so that neither part overflows alone. Relative error: s rounding errors, s being the condition
 * number. */
static inline double HELPER(factorial_zeta)(int n, double x) {
  static const double b[] = { 1.0/12, -1.0/720, 1.0/30240, -1.0/1209600, 1.0/47900160, -691.0/1307674368000,
                              1.0/74724249600, -3617.0/10670622842880000, 43867.0/5109094217170944000,
                              -174611.0/802857662698291200000.0 };         /* B_2j/(2j)! */
  const double s = n + 1.0;
  double factor = 1/x, sum = 0, y = x;
  for (int j = 1; j <= n; j++) factor *= j/x;
  while (y < 8 + s/2) {
    const double term = pow(x/y, s);
    sum += term;
    if (term < 1e-18*sum) return factor*sum;
    y += 1;
  }
  double tail = y/(s - 1) + 0.5, power = s/y;
  for (int j = 0; j < 10; j++) {
    tail += b[j]*power;
    power *= (s + 2*j + 1)/y*((s + 2*j + 2)/y);
  }
  return factor*(sum + pow(x/y, s)*tail);
}

/* polygamma(n, x) = (-1)^(n+1) n! zeta(n + 1, x). For x < 0, with d = x - rint(x), both half-axes of
 * poles are summed:
 *   zeta(s, x) = d^-s + zeta(s, 1 + d) + (-1)^s (zeta(s, 1 - d) - zeta(s, 1 - x)).
 * Order 0 is digamma, 1 trigamma; nan at -1, -2, ... and for orders that are negative or no integers. */
static inline REAL HELPER(polygamma)(double order, REAL argument) {
  const double x = (double)argument, d = x - rint(x);
  if (order == 0) return HELPER(digamma)(argument);
  if (order == 1) return HELPER(trigamma)(argument);
  if (!(order > 1 && order < 1e6 && order == rint(order)) || x != x) return (REAL)NAN;
  const int n = (int)order;
  const double even = n % 2 ? 1 : -1;                               /* (-1)^s */
  if (x == 0) return (REAL)(even > 0 ? INFINITY : -1/x);
  if (x > 0) return (REAL)(x < INFINITY ? even*HELPER(factorial_zeta)(n, x) : 0);
  if (!(d != 0)) return (REAL)NAN;
  double pole = 1/d;
  for (int j = 1; j <= n; j++) pole *= j/d;
  const double right = pole + HELPER(factorial_zeta)(n, 1 + d);
  const double left = HELPER(factorial_zeta)(n, 1 - d) - HELPER(factorial_zeta)(n, 1 - x);
  return (REAL)(even*right + left);
}
