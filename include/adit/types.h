/* adit/types.h -- status codes, data types, shapes.
 *
 * The law. The library never prints, exits or aborts. Functions that can fail return an ad_status, or a value
 * that says so (NULL, an invalid ad_var), and the first failure stays readable where it happened
 * (ad_tape_message). Nothing here keeps global state: any thread may call anything in this header at any
 * time.
 */
#ifndef ADIT_TYPES_H
#define ADIT_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#if defined(_WIN32)
#  define AD_API
#elif defined(__GNUC__)
#  define AD_API __attribute__((visibility("default")))
#else
#  define AD_API
#endif

#ifdef __cplusplus
#  include <initializer_list>
extern "C" {
#endif

/* What a call came to. The rows are in adit/status.def: AD_OK is 0, AD_ERROR_MEMORY is 1, and so on. */
typedef enum ad_status {
  AD_OK = 0,
#define STATUS(code, name, sentence) AD_ERROR_##name = code,
#include "status.def"
#undef STATUS
  AD_STATUS_COUNT
} ad_status;

/* The status that a replay gives which took the wrong branch of the caller's own `if` (design 10). */
#define AD_STALE AD_ERROR_STALE

/* The sentence of a status, a static string; "unknown status" for any other number. */
AD_API const char *ad_status_sentence(ad_status status);

/* Data types, in the order of promotion. Arithmetic of two types gives the later one, as in C, and bool
 * counts as i32 in arithmetic. Functions of the reals (exp, ...) take integers as f64. Literals are weak: see
 * adit/tape.h. */
typedef enum ad_dtype { AD_BOOL, AD_I32, AD_I64, AD_F32, AD_F64, AD_DTYPES } ad_dtype;

enum { AD_MAX_RANK = 8 };

/* A data type and a shape. A scalar is an array of rank 0. Arrays are dense and row-major: the last axis is
 * contiguous. A dimension may be 0 (an empty array). Entries of dim beyond rank are 0. */
typedef struct ad_type {
  ad_dtype dtype;
  int rank;
  int64_t dim[AD_MAX_RANK];
} ad_type;

/* The type with these dimensions. A rank outside 0..8, a negative dimension or a byte count beyond
 * PTRDIFF_MAX gives a type of rank -1, which every function refuses. dim may be NULL when rank is 0. */
AD_API ad_type ad_type_make(ad_dtype dtype, int rank, const int64_t *dim);

AD_API bool ad_type_valid(ad_type type);
AD_API bool ad_type_equal(ad_type a, ad_type b);
/* Number of elements: the product of the dimensions, 1 for a scalar. */
AD_API int64_t ad_type_count(ad_type type);
/* Number of bytes an array of this type takes. */
AD_API size_t ad_type_bytes(ad_type type);
/* bool 1, i32 4, i64 8, f32 4, f64 8; 0 for anything else. */
AD_API size_t ad_dtype_bytes(ad_dtype dtype);
/* "bool", "i32", "i64", "f32", "f64"; "?" for anything else. A static string. */
AD_API const char *ad_dtype_name(ad_dtype dtype);
/* "f64(3,4)" into text[size], always terminated; returns text. 192 bytes always suffice. */
AD_API char *ad_type_print(ad_type type, char *text, size_t size);
/* The dtype in which arithmetic of a and b is done (C's conversions; bool counts as i32). */
AD_API ad_dtype ad_dtype_promote(ad_dtype a, ad_dtype b);
/* NumPy's broadcast of two shapes, aligned at the last axis, sizes equal or 1. Writes the result into *out
 * (dtype that of a). AD_ERROR_SHAPE when they do not fit, AD_ERROR_SIZE when the result is too big. */
AD_API ad_status ad_type_broadcast(ad_type a, ad_type b, ad_type *out);

/* AD_F64(3, 4): a 3 x 4 array of doubles. AD_F64(): a scalar. */
#ifndef __cplusplus
#  define AD_TYPE_(dtype, ...) \
     ad_type_make(dtype, (int)(sizeof((const int64_t[]){0, __VA_ARGS__})/sizeof(int64_t)) - 1, \
                  (const int64_t[]){0, __VA_ARGS__} + 1)
#else
}
namespace adit_header {
inline ad_type type(ad_dtype dtype, std::initializer_list<int64_t> dim) {
  return ad_type_make(dtype, static_cast<int>(dim.size()), dim.begin());
}
}
extern "C" {
#  define AD_TYPE_(dtype, ...) adit_header::type(dtype, {__VA_ARGS__})
#endif
#define AD_F64(...)  AD_TYPE_(AD_F64, __VA_ARGS__)
#define AD_F32(...)  AD_TYPE_(AD_F32, __VA_ARGS__)
#define AD_I64(...)  AD_TYPE_(AD_I64, __VA_ARGS__)
#define AD_I32(...)  AD_TYPE_(AD_I32, __VA_ARGS__)
#define AD_BOOL(...) AD_TYPE_(AD_BOOL, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
