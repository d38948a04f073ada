/* vector_math.h -- which functions of <math.h> have a vector form.
 *
 * gcc calls glibc's libmvec from a vectorised loop, without -ffast-math, once it has seen a prototype
 * with the simd attribute. clang lacks the attribute; its option -fveclib=libmvec does the same for fewer
 * functions. Elsewhere the prototypes are plain and the loops call the scalar functions. Include this
 * after <math.h>. */
#ifndef ADIT_RUN_VECTOR_MATH_H
#define ADIT_RUN_VECTOR_MATH_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#  if __GLIBC_PREREQ(2, 35)
#    define VECTOR_MATH __attribute__((simd("notinbranch")))
#  endif
#endif

#ifdef VECTOR_MATH
#define VECTOR_1(name) VECTOR_MATH double name(double); VECTOR_MATH float name##f(float);
#define VECTOR_2(name) VECTOR_MATH double name(double, double); VECTOR_MATH float name##f(float, float);
VECTOR_1(exp)  VECTOR_1(exp2) VECTOR_1(expm1) VECTOR_1(log)   VECTOR_1(log2)  VECTOR_1(log10) VECTOR_1(log1p)
VECTOR_1(sin)  VECTOR_1(cos)  VECTOR_1(tan)   VECTOR_1(asin)  VECTOR_1(acos)  VECTOR_1(atan)
VECTOR_1(sinh) VECTOR_1(cosh) VECTOR_1(tanh)  VECTOR_1(asinh) VECTOR_1(acosh) VECTOR_1(atanh)
VECTOR_1(cbrt) VECTOR_1(erf)  VECTOR_1(erfc)
VECTOR_2(pow)  VECTOR_2(hypot) VECTOR_2(atan2)
#undef VECTOR_1
#undef VECTOR_2
#endif

#endif
