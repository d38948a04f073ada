/* blas_portable.c -- the product kernels in the compiler's vectors of 16 bytes: any architecture. */
#include "blas_kernel.h"

#include <stdlib.h>
#include <string.h>

#include "blas_vector.h"

typedef double double2 __attribute__((vector_size(16)));
typedef float float4 __attribute__((vector_size(16)));

#define VECTOR_HELPERS(real, vec, type) \
  INLINE vec load_##type(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; } \
  INLINE void store_##type(real *p, vec v) { memcpy(p, &v, sizeof v); } \
  INLINE vec load_mask_##type(const real *p, int count) { \
    if (count == (int)(sizeof(vec)/sizeof(real))) return load_##type(p); \
    vec v = {0}; \
    for (int i = 0; i < count; i++) v[i] = p[i]; \
    return v; \
  } \
  INLINE void store_mask_##type(real *p, int count, vec v) { \
    if (count == (int)(sizeof(vec)/sizeof(real))) store_##type(p, v); \
    else for (int i = 0; i < count; i++) p[i] = v[i]; \
  }
VECTOR_HELPERS(double, double2, f64)
VECTOR_HELPERS(float, float4, f32)

INLINE double2 splat_f64(double x) { return (double2){x, x}; }
INLINE float4 splat_f32(float x) { return (float4){x, x, x, x}; }

#define ROWS 4
#define VECTORS 2
#define CLEAN_UPPER() ((void)0)
#define DOT_ROWS 1
#define DOT_COLUMNS 2
#define PANELS 12

#define REAL double
#define VEC double2
#define LANES 2
#define VIRTUAL 8
#define MASK int
#define MASK_OF(count) (count)
#define LOAD(p) load_f64(p)
#define LOADM(p, mask) load_mask_f64(p, mask)
#define STORE(p, v) store_f64(p, v)
#define STOREM(p, mask, v) store_mask_f64(p, mask, v)
#define SPLAT(x) splat_f64(x)
#define FMA(x, y, w) ((x)*(y) + (w))
#define SQUARE 4
#define SUM_LANES(v) ((v)[0] + (v)[1])
#define DEPTH 256
#define NAME(x) x##_f64_portable
#include "blas_kernel.inc"

#define REAL float
#define VEC float4
#define LANES 4
#define VIRTUAL 16
#define MASK int
#define MASK_OF(count) (count)
#define LOAD(p) load_f32(p)
#define LOADM(p, mask) load_mask_f32(p, mask)
#define STORE(p, v) store_f32(p, v)
#define STOREM(p, mask, v) store_mask_f32(p, mask, v)
#define SPLAT(x) splat_f32(x)
#define FMA(x, y, w) ((x)*(y) + (w))
#define SQUARE 4
#define SUM_LANES(v) (((v)[0] + (v)[2]) + ((v)[1] + (v)[3]))
#define DEPTH 256
#define NAME(x) x##_f32_portable
#include "blas_kernel.inc"

const gemm_kernels gemm_portable = {"portable", product_f64_portable, product_f32_portable};
