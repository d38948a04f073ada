/* micro.h -- micro programs: operations on scalars and very small arrays, one instruction each.
 *
 * A region spends hundreds of instructions of the processor on finding its operands before it computes the
 * first element. Where arrays have a few elements, that is all the time there is. A micro program has
 * decided it beforehand: all values lie in one frame of memory, dense and in their own types, and an
 * instruction knows where. Loops and branches over such values are jumps.
 *
 * Bits are those of the kernels and scalar programs: rows whose elements do not depend on their neighbours
 * are computed here, from the same text, and for others the kernels themselves are called. */
#ifndef ADIT_RUN_MICRO_H
#define ADIT_RUN_MICRO_H

#include "adit/primitive.h"
#include "base/memory.h"
#include "primitives/elementwise.h"

/* Rows have an instruction for each data type and length: one element, two, or any number. Operands have as
 * many elements, or one: then their stride is 0. Instructions for one element do not look at strides. */
enum { MICRO_ONE, MICRO_TWO, MICRO_MANY, MICRO_LENGTHS };
#define MICRO_ROW(dtype, length, row) \
  (((unsigned)(dtype)*MICRO_LENGTHS + (unsigned)(length))*ROW_COUNT + (unsigned)(row))

enum {
  MICRO_END = AD_DTYPES*MICRO_LENGTHS*ROW_COUNT,
  MICRO_COPY_1, MICRO_COPY_8, MICRO_COPY_16,
  MICRO_COPY,                       /* n bytes, which may overlap */
  MICRO_REAL_OF_BOOL, MICRO_BOOL_OF_REAL,
  MICRO_CALL,                       /* call number to, on n elements of z, x and y */
  MICRO_RUN,                        /* operation number to */
  MICRO_GO,                         /* on with instruction to */
  MICRO_UNLESS,                     /* the same where x is false */
  /* Loop number n, of which z steps are done: where the condition x holds, and another step is allowed,
   * counts it, and goes on: WHILE with the next instruction, or with `to` where it does not hold; AGAIN the
   * other way round. */
  MICRO_WHILE, MICRO_AGAIN,
  MICRO_CODES
};

/* z, x, y, w: where in the frame, in bytes. The attribute of a row is where y is. sx, sy, sw: strides. */
typedef struct micro { uint16_t code, n; uint8_t sx, sy, sw, more; uint32_t z, x, y, w, to; } micro;

typedef struct micro_call { block_kernel *kernel; double attribute; uint8_t x_size, y_size; } micro_call;

/* One structured operation: op.x and x are of op.n. Addresses of operands are put at `list`. */
typedef struct micro_operation {
  ad_operation op;
  const ad_type **types;
  uint32_t *x, z, list, scratch;
} micro_operation;

typedef struct micro_loop { const char *condition; int64_t limit; } micro_loop;

typedef struct micro_program {
  micro *code;
  micro_call *call;
  micro_loop *loop;
  micro_operation *operation;
  char *image;                      /* what the frame begins with: constants */
  uint32_t count, calls, loops, operations;
  size_t code_capacity, call_capacity, loop_capacity, operation_capacity, image_capacity;
  size_t constants, frame;          /* bytes of the image and of the frame */
} micro_program;

/* MICRO_MOST: elements of an array that rows work on; MICRO_ARRAY: of one that other operations do. */
enum { MICRO_MOST = 32, MICRO_ARRAY = 64 };

/* Is there an instruction for this row on operands of that type? Rows on one element are there for f64
 * always, others only where an element is the same alone and within an array. */
bool micro_has_row(ad_dtype dtype, unsigned length, elementwise_id row);

/* What failed: an operation, or a loop that has come to its limit; the other one is left alone. */
typedef struct micro_failure { const micro_operation *operation; const micro_loop *loop; } micro_failure;

/* Runs from instruction `first` on. The frame is 64-byte aligned and begins with the image. */
ad_status micro_run(const micro_program *p, uint32_t first, char *frame, micro_failure *failure);
void micro_free(const ad_allocator *a, micro_program *p);

#endif
