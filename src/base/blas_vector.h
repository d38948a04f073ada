/* blas_vector.h -- the compiler's side of the product kernels: inlining, unrolling, instruction sets per file. */
#ifndef ADIT_BASE_BLAS_VECTOR_H
#define ADIT_BASE_BLAS_VECTOR_H

/* The kernels are loops over constants that must vanish: accumulators are registers only if every index is known. */
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#  define UNROLL _Pragma("clang loop unroll(full)")
#else
#  define UNROLL _Pragma("GCC unroll 8")
#endif

#endif
