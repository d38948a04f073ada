/* elementwise.h -- what one row of elementwise.def gives: numbers for the passes, text for the rule reader.
 */
#ifndef ADIT_PRIMITIVES_ELEMENTWISE_H
#define ADIT_PRIMITIVES_ELEMENTWISE_H

#include "adit/types.h"

/* How the data types of a row go.
 *   FLOAT      operands promoted to one float type (integers and bool become f64); z the same
 *   NUMERIC    operands promoted to one of i32 i64 f32 f64 (bool becomes i32); z the same
 *   COMPARE    operands promoted as NUMERIC (bool allowed as i32), z is bool
 *   PREDICATE  one float operand (integers become f64), z is bool
 *   LOGICAL    operands converted to bool (x != 0), z is bool
 *   CHOICE     x converted to bool; y and w promoted to one type of any kind, bool kept; z is that type  */
typedef enum elementwise_class {
  CLASS_FLOAT, CLASS_NUMERIC, CLASS_COMPARE, CLASS_PREDICATE, CLASS_LOGICAL, CLASS_CHOICE
} elementwise_class;

/* Traits that the passes ask for. LINEAR_k: linear in operand k with the others fixed. */
enum {
  ROW_LINEAR_X = 1, ROW_LINEAR_Y = 2, ROW_LINEAR_W = 4,
  ROW_COMMUTATIVE = 8,            /* f(x, y) = f(y, x), bit for bit */
};

/* Row numbers: ROW_sqrt, ROW_add, ... in the order of the table; ROW_COUNT of them. */
typedef enum elementwise_id {
#define UNARY(name, ...)           ROW_##name,
#define UNARY_ATTRIBUTE(name, ...) ROW_##name,
#define BINARY(name, ...)          ROW_##name,
#define TERNARY(name, ...)         ROW_##name,
#include "elementwise.def"
  ROW_COUNT
} elementwise_id;

typedef struct elementwise_row {
  const char *name, *doc;
  int arity;                      /* 1 to 3 */
  bool attributed;                /* takes the attribute a */
  elementwise_class kind;
  unsigned traits;
  double lo[3], hi[3];            /* tests sample operand k in [lo[k], hi[k]] */
  double attribute;               /* a value of a that tests use; 0 if not attributed */
  const char *value;              /* text of z in x y w a */
  const char *rule[3];            /* text of the rules by x, y, w in x y w z g a; NULL beyond arity */

  /* One element, through scalar libm calls. Operands and result as double: bool as 0 or 1.
   * evaluate_f32 does the same arithmetic in float. */
  double (*evaluate)(double x, double y, double w, double a);
  float  (*evaluate_f32)(float x, float y, float w, double a);
  /* The rules on numbers. d[k] is the contribution that operand k gets of g. NONE, "not connected", is the
   * number -0.0, and no connected contribution is ever -0.0 (they are normalised by + 0.0). */
  void (*propagate)(double d[3], double x, double y, double w, double z, double g, double a);
} elementwise_row;

/* The whole table, indexed by elementwise_id. Constant. */
extern const elementwise_row elementwise_rows[ROW_COUNT];

/* z[i] = value(x[i], y[i], w[i]) for i < n. Arrays beyond the row's arity are NULL. Elements have the
 * operands' dtype (after promotion; for CHOICE x is bool and the dtype is that of y and w); z has the
 * result's dtype. bool is uint8_t 0 or 1. z may be the very same array as x, y or w, or else must not
 * overlap. a is the attribute. */
typedef void block_kernel(size_t n, void *z, const void *x, const void *y, const void *w, double a);

struct chain_table;

/* All block kernels for one instruction set. row[dtype][id] is NULL where the row has no such dtype.
 * cast[from][to] converts n elements from x to z: float to integer truncates, saturates, and gives 0 for nan;
 * anything to bool is x != 0. */
typedef struct kernel_table {
  const char *name;               /* "baseline", "avx2", "avx512" */
  block_kernel *row[AD_DTYPES][ROW_COUNT];
  block_kernel *cast[AD_DTYPES][AD_DTYPES];
  /* Cheap rows in registers, see run/kernels/chain.h: f32 and f64, and NULL where the compiler cannot. */
  const struct chain_table *chain[AD_DTYPES];
} kernel_table;

/* The best table for this processor. Constant data; no state. */
const kernel_table *kernels_best(void);
/* All tables this processor can run, for the tests: table i, or NULL when i is beyond the last. */
const kernel_table *kernels_available(int i);

#endif
