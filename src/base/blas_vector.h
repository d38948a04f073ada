/* blas_vector.h -- the compiler's side of the product kernels: inlining and unrolling. */
#ifndef ADIT_BASE_BLAS_VECTOR_H
#define ADIT_BASE_BLAS_VECTOR_H

/* The kernels' inner loops must vanish: accumulators are registers only if every index is a constant. */
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#  define UNROLL _Pragma("clang loop unroll(full)")
#else
#  define UNROLL _Pragma("GCC unroll 8")
#endif

#endif
