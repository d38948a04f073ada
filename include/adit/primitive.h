/* adit/primitive.h -- what a primitive operation is. Built-in and user-defined ones are the same struct.
 *
 * The law. A primitive is constant data that outlives every tape and function that uses it. Its callbacks may
 * be called from several threads at once, must not keep state, and report failure by status or by an invalid
 * handle.
 */
#ifndef ADIT_PRIMITIVE_H
#define ADIT_PRIMITIVE_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_primitive ad_primitive;
typedef struct ad_writer ad_writer;

/* One operation as its primitive sees it. */
typedef struct ad_operation {
  const ad_primitive *primitive;
  int n;                            /* number of operands */
  const ad_type *const *x;          /* their types, x[0] .. x[n-1] */
  ad_type z;                        /* the type of the result: written by the type rule */
  const void *attribute;            /* what was given to ad_record, copied; 16-byte aligned; NULL if none */
  size_t attribute_size;
  char *message;                    /* where ad_refuse writes (message_size bytes), may be NULL */
  size_t message_size;
  bool sure;                        /* the primitive's `sure` has said so: run need not look for it again */
} ad_operation;

/* Writes "name: text" as the operation's message and returns status: `return ad_refuse(op, AD_ERROR_SHAPE,
 * "...")`. */
AD_API ad_status ad_refuse(ad_operation *op, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;

/* What a derivative rule sees: operands x, result z, and g, the tangent of operand k (jvp) or the cotangent
 * of z (vjp). A rule records operations (ad_mul, ...) and returns the contribution: to the tangent of z (type
 * of z) or to the cotangent of operand k (type of x[k]). ad_none() says "not connected". A rule that connects
 * only some elements returns the contribution (anything where not connected) and sets connected to a bool
 * array of the contribution's shape. */
typedef struct ad_rule {
  const ad_operation *op;
  ad_tape *tape;
  const ad_var *x;
  ad_var z, g;
  ad_var connected;                 /* ad_none() on entry: connected everywhere */
  /* the rule's own: 0 for the first operand of a node, then as the call for the one before left it */
  int64_t memo[2];
} ad_rule;
AD_API ad_var ad_none(void);
AD_API bool ad_is_none(ad_var x);

/* One operation on n instances at once, as its batch rule sees it: x[k] has a leading axis of n where
 * batched[k], and is one value for all of them otherwise. */
typedef struct ad_batch {
  const ad_operation *op;           /* of one instance: types without the leading axis, attribute */
  ad_tape *tape;
  int64_t n;
  const ad_var *x;
  const bool *batched;
} ad_batch;

/* Traits: what passes ask for instead of asking which primitive a node is. */
enum {
  AD_TRAIT_ELEMENTWISE = 1,         /* z[i] depends on x[k][i] alone, operands broadcast */
  AD_TRAIT_LINEAR = 2,              /* linear in every float operand jointly (sum, concat, reshape) */
  /* linear, and each element of z is a sum of elements of x (or 0, or one of them) */
  AD_TRAIT_UNIT_WEIGHTS = 4,
  /* not linear, but partial derivatives are finite wherever operands and value are (max over an axis) */
  AD_TRAIT_FINITE_WEIGHTS = 128,
  AD_TRAIT_ALIAS = 8,               /* z has the very bytes of x[0] (reshape): no copy is needed */
  AD_TRAIT_IN_PLACE = 16,           /* run may get z == x[0] */
  /* z = x[0] + (something of the other operands), in place: scatter_add, slice_add */
  AD_TRAIT_ADDS_INTO = 32,
  AD_TRAIT_NO_FOLD = 64,            /* do not evaluate on constants when recording a function */
  AD_TRAIT_NEVER_FAILS = 256,       /* run gives AD_OK whatever the values are */
  /* every element of the operands is always connected: no rule chooses among them (logsumexp, unlike max) */
  AD_TRAIT_CONNECTS_ALL = 512
};

/* What running an operation costs. */
typedef struct ad_work {
  double flops;                     /* + - * / and comparisons, of numbers of any type */
  double calls;                     /* of elementary functions: exp, sqrt, pow */
  double bytes_read, bytes_written;
  bool unknown;                     /* nobody can tell */
} ad_work;

struct ad_primitive {
  const char *name;                 /* "matmul"; the key in messages, drawings and written code */
  const char *doc;                  /* one line */
  unsigned traits;
  /* bit k: linear in operand k with the others fixed (matmul: 3). With AD_TRAIT_LINEAR: unused */
  unsigned linear_in;
  unsigned not_connected;           /* bit k: operand k never has a derivative (indices, conditions) */

  /* Checks the operands and writes op->z. NULL for elementwise primitives: broadcast, promoted to a float
   * type. */
  ad_status (*type)(ad_operation *op);
  /* Computes z (op->z, dense) from x[k]; scratch has scratch_bytes(op) bytes, 64-byte aligned. NULL
   * scratch_bytes: none. */
  ad_status (*run)(const ad_operation *op, void *z, const void *const x[], void *scratch);
  size_t (*scratch_bytes)(const ad_operation *op);
  /* Asked when an operation is planned, with the values of the operands that are constant then, NULL for the
   * others: can run not fail, whatever those hold? NULL: it can, but for AD_TRAIT_NEVER_FAILS. */
  bool (*sure)(const ad_operation *op, const void *const x[]);
  /* Writes why run failed on these operands (size bytes, "" on entry): "class 12 at [3] is not in 0 .. 9".
   * NULL, or nothing written: the sentence of the status. */
  void (*explain)(const ad_operation *op, const void *const x[], char *message, size_t size);
  /* Derivatives. jvp may be NULL where the primitive is linear in k: the library applies the primitive itself
   * to the tangent. vjp may be NULL: the library transposes the jvp rule; for operands in which the primitive
   * is linear, vjp is its transpose. */
  ad_var (*jvp)(ad_rule *r, int k);
  ad_var (*vjp)(ad_rule *r, int k);
  /* Structural zeros (docs/conventions.md, rule 5), for operands in which the primitive is linear, without
   * AD_TRAIT_UNIT_WEIGHTS. r->g, a bool array of the shape of x[k], says which elements of the operand are
   * connected; returns which elements of z get a term with one of those, whatever its weight: bool, of a
   * shape that broadcasts to that of z. NULL: all of them, as soon as one of the operand is connected. */
  ad_var (*reach)(ad_rule *r, int k);

  /* Elementwise primitives of a user's own: arity 1 to 3, f64. z[i] = f(x[i], y[i], w[i]) for i < n; arrays
   * beyond the arity are NULL, z may be one of the operands. rule[k] is the text of the derivative by operand
   * k in the row language: x y w operands, z result, g the tangent or cotangent, linear in g, e.g.
   * "g*cos(x)", "x > 0 ? g : NONE". NULL: no derivative by that operand. */
  int arity;
  void (*block)(size_t n, double *z, const double *x, const double *y, const double *w);
  const char *rule[3];

  /* And the value itself, where functions that use the primitive are to be written as C (adit/code.h): its
   * text in the row language, "x*exp(-y)". NULL: they cannot. */
  const char *value;

  /* Records the operation on all instances of a batch; returns the results with a leading axis of n. Values
   * only: batches are made after differentiation. NULL, or ad_none() returned: the library loops over the
   * instances. Elementwise primitives need none. */
  ad_var (*batch)(const ad_batch *b);
  /* As batch, but the instances lie along a trailing axis, of x[k] where batched[k] and of what is returned:
   * the columns of a Jacobian. NULL, or ad_none() returned: batch, with the axis moved. */
  ad_var (*trail)(const ad_batch *b);
  /* Writes the C statements of run, through ad_write: z and x[k] are expressions that can be indexed (z[i]),
   * of dense arrays. z may be x[0] where the traits say so, and is no other operand. NULL: the operation
   * cannot be written. */
  ad_status (*write)(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]);
  /* The operation on scalars: z[e], element e of the result, from x[k][e], those of the operands. Values
   * only, as batch. False: not to be had. NULL: never. */
  bool (*elements)(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]);
  /* Called for every node that is recorded: keeps what the attribute refers to alive by ad_tape_hold. NULL:
   * the attribute is all there is. */
  ad_status (*hold)(ad_tape *tape, const void *attribute);

  /* What a run costs, for adit/report.h. On entry bytes_read is that of all operands, bytes_written that of
   * the result, the rest 0. NULL: unknown. */
  void (*work)(const ad_operation *op, ad_work *work);

  const void *row;                  /* the library's own table row; NULL in a user's primitive */
  const struct tuple_rules *tuple;  /* the library's own primitives with several results; NULL in a user's */
};

/* Keeps an object that operations refer to until the tape is freed, or rewound to before the operation that
 * is being recorded: calls retain(object) now and release(object) then. retain may be NULL. */
AD_API ad_status ad_tape_hold(ad_tape *tape, void *object, void (*retain)(void *object),
                              void (*release)(void *object));

/* --- for write rules ------------------------------------------------------------------------------------ */

/* A line of C. What a "{" at its end opens is indented, down to the line that begins with "}". */
AD_API void ad_write(ad_writer *w, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 2, 3)))
#endif
  ;
/* How a data type is written. */
AD_API const char *ad_write_type(ad_dtype dtype);
/* A line that ends the function with that status; write it under a condition. */
AD_API void ad_write_failure(ad_writer *w, ad_status status);
/* Memory for the statements of this operation: n elements; the name of the first. It stays good until seven
 * more names have been asked for. */
AD_API const char *ad_write_scratch(ad_writer *w, ad_dtype dtype, int64_t n);
/* A function for that type, written once in a file; returns its name, which stays good as above. text is one
 * or more lines; in it REAL is the type, UNSIGNED its unsigned form, MATH(exp) a function of <math.h> for it,
 * C(0.5) a constant and HELPER(name) this function and others written so before. */
AD_API const char *ad_write_routine(ad_writer *w, ad_dtype dtype, const char *name, const char *text);
/* An array of constants; returns its name, which stays good as above. */
AD_API const char *ad_write_constants(ad_writer *w, ad_dtype dtype, const void *data, int64_t n);
/* The elements of operand k of the operation that is being written where they are constant, for as long as
 * the rule runs; NULL: they are not, or there is no such operand. */
AD_API const void *ad_write_operand(const ad_writer *w, int k);
/* Is CBLAS there? */
AD_API bool ad_write_cblas(const ad_writer *w);

/* Records primitive on operands x[0..n). Literals are taken as f64 or i64 scalars (elementwise: as the
 * operands' type). attribute (size bytes, padding zeroed; may be NULL) is copied. tape may be NULL when an
 * operand has one; it is needed when n = 0 or when all operands are literals. Returns an invalid handle on
 * error. */
AD_API ad_var ad_record(ad_tape *tape, const ad_primitive *primitive, int n, const ad_var x[],
                        const void *attribute, size_t size);

/* An invalid handle that carries tape (may be NULL), after leaving status and message on it (first error
 * wins). For functions that check their arguments before recording. */
AD_API ad_var ad_fail(ad_tape *tape, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;
/* The tape of the first of n operands that has one; NULL if none has. */
AD_API ad_tape *ad_tape_of(int n, const ad_var x[]);

#ifdef __cplusplus
}
#endif
#endif
