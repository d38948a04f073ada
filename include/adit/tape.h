/* adit/tape.h -- variables and the tape they are recorded on.
 *
 * The law. A tape is an append-only list of operations; it owns everything recorded on it, and ad_tape_free
 * gives it all back at once. One thread uses a tape at a time; different tapes are independent. Every
 * recording call returns a handle; a call that fails returns an invalid handle, operations on invalid handles
 * return invalid handles, and the first error stays on the tape until ad_tape_clear. So a long formula needs
 * one check at its end.
 */
#ifndef ADIT_TAPE_H
#define ADIT_TAPE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_tape ad_tape;

/* A handle to one value: a tape and an index into it, or a bare literal that belongs to no tape. 16 bytes,
 * passed by value. The fields are the library's; make variables with the calls below. */
typedef struct ad_var {
  ad_tape *tape;
  union {
    struct { uint32_t index, epoch; } node;
    double real;
    int64_t integer;
  } at;
} ad_var;

/* --- tapes ---------------------------------------------------------------------------------------- */

/* Memory comes from one realloc-like hook: size 0 frees and returns NULL, pointer NULL allocates, NULL for a
 * size > 0 means failure and leaves the old block as it was. Blocks are aligned to 16 bytes at least. The
 * hook may be called from any thread that uses the objects made with it. */
typedef struct ad_allocator {
  void *(*reallocate)(void *user, void *pointer, size_t old_size, size_t new_size);
  void *user;
} ad_allocator;

/* A new, empty tape; NULL when memory fails. */
AD_API ad_tape *ad_tape_new(void);
/* The same on the caller's memory. The allocator is copied; NULL means the standard one. */
AD_API ad_tape *ad_tape_new_with(const ad_allocator *allocator);
/* Frees the tape and everything on it. NULL is fine. Handles to it must not be used afterwards. */
AD_API void ad_tape_free(ad_tape *tape);

/* The first error since the tape was made or cleared, AD_OK if there was none; AD_ERROR_ARGUMENT for NULL. */
AD_API ad_status ad_tape_status(const ad_tape *tape);
/* What, which operation, which types: "matmul: inner dimensions differ, (3,4) x (5,2)"; "" if there was no
 * error. Owned by the tape, valid until the next call that uses it. */
AD_API const char *ad_tape_message(const ad_tape *tape);
/* Forgets the error. Invalid handles stay invalid. */
AD_API void ad_tape_clear(ad_tape *tape);

/* A place to go back to. */
typedef struct ad_mark { uint32_t nodes, words, epoch; } ad_mark;
AD_API ad_mark ad_tape_mark(const ad_tape *tape);
/* Forgets everything recorded since the mark; its memory is kept for what comes next. Handles from after the
 * mark become invalid (using one is AD_ERROR_HANDLE). A mark that was itself forgotten is AD_ERROR_ARGUMENT.
 */
AD_API ad_status ad_tape_rewind(ad_tape *tape, ad_mark mark);
/* Number of nodes recorded, and bytes of memory held now. */
AD_API size_t ad_tape_size(const ad_tape *tape);
AD_API size_t ad_tape_bytes(const ad_tape *tape);

/* --- inputs and literals -------------------------------------------------------------------------- */

/* An input, rank 0, f64. Invalid handle when the tape is NULL or memory fails. */
AD_API ad_var ad_scalar(ad_tape *tape, double value);
/* An input of any type; data (ad_type_bytes(type) of it, dense, row-major) is copied; NULL means zeros. */
AD_API ad_var ad_array(ad_tape *tape, ad_type type, const void *data);
/* The same as a constant: no derivative is ever taken with respect to it, and ad_set refuses it. */
AD_API ad_var ad_constant(ad_tape *tape, ad_type type, const void *data);

/* Literals: variables of no tape, weakly typed. A real literal takes the float type of the other operand (f64
 * beside integers); an integer literal takes any numeric type. Arithmetic of literals alone gives a literal.
 */
static inline ad_var ad_real(double value) {
  ad_var v;
  v.tape = (ad_tape *)0;
  v.at.real = value;
  return v;
}
#define AD_INTEGER_LITERAL_ ((ad_tape *)(uintptr_t)16)
static inline ad_var ad_integer(long long value) {
  ad_var v;
  v.tape = AD_INTEGER_LITERAL_;
  v.at.integer = (int64_t)value;
  return v;
}

/* --- looking at a variable ------------------------------------------------------------------------ */

/* False for what a failed call returned, and for handles from before a rewind. Literals are valid. */
AD_API bool ad_is_valid(ad_var x);
/* The type; rank -1 for an invalid handle. */
AD_API ad_type ad_type_of(ad_var x);
/* The name of the operation that x came from ("mul", "input"), a static string; "" for an invalid handle. */
AD_API const char *ad_operation_name(ad_var x);

/* The value of a scalar of any dtype, as a double; computed now if it was not yet. nan when x is invalid or
 * not a scalar, with the error on the tape. Runs only what x needs and what is not computed already. */
AD_API double ad_value(ad_var x);
/* Copies the value of x, of any type, into out (ad_type_bytes of it; a literal is a double or an int64_t).
 * Errors as ad_value; AD_STALE comes with the value copied. */
AD_API ad_status ad_read(ad_var x, void *out);
/* Changes an input; what depends on it is recomputed when next asked. data as in ad_array, not NULL. If a
 * computed value that was read while recording (so that the caller's `if` may have depended on it) turns out
 * different, reading anything recorded after that gives AD_STALE: the value is computed all the same, but the
 * recording may have taken the wrong branch. */
AD_API ad_status ad_set(ad_var x, const void *data);
/* ad_set for a scalar of any dtype. */
AD_API ad_status ad_set_value(ad_var x, double value);

/* --- operands that may be numbers ----------------------------------------------------------------- */

static inline ad_var ad_self_(ad_var x) { return x; }
static inline ad_var ad_real_l_(long double x) { return ad_real((double)x); }
static inline ad_var ad_unsigned_(unsigned long long x) {
  return x <= INT64_MAX ? ad_integer((long long)x) : ad_real((double)x);
}

/* AD_VAR(x): x as an operand, whether it is a variable or a number of any arithmetic type. Written so that x
 * is expanded once: nested calls would otherwise double their text at every level. */
#ifndef __cplusplus
#  define AD_LITERAL_CASES_ \
     ad_var: ad_self_, float: ad_real, double: ad_real, long double: ad_real_l_, _Bool: ad_integer, \
     char: ad_integer, signed char: ad_integer, unsigned char: ad_integer, short: ad_integer, \
     unsigned short: ad_integer, int: ad_integer, unsigned: ad_integer, long: ad_integer, \
     unsigned long: ad_unsigned_, long long: ad_integer, unsigned long long: ad_unsigned_
#  ifdef __GNUC__
#    define AD_VAR(x) AD_VAR_1_(x, __COUNTER__)
#    define AD_VAR_1_(x, n) AD_VAR_2_(x, n)
#    define AD_VAR_2_(x, n) __extension__ ({ __auto_type ad_operand_##n##_ = (x); \
       _Generic(ad_operand_##n##_, AD_LITERAL_CASES_)(ad_operand_##n##_); })
#  else
#    define AD_VAR(x) _Generic((x), AD_LITERAL_CASES_)(x)
#  endif
#endif

#ifdef __cplusplus
}
#endif
#endif
