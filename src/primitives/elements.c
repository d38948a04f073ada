/* elements.c -- operations element by element, by their own kernels on numbers of elements. */
#include "primitives/elements.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "base/memory.h"

#include <string.h>

ad_var zero_element(ad_tape *tape, ad_dtype dtype) {
  const uint64_t zero = 0;
  return ad_constant(tape, ad_type_make(dtype, 0, NULL), &zero);
}

/* --- a kernel on numbers of elements -------------------------------------------------------------------- */

/* Operands and result as i64, and what the kernel needs: in one block. */
typedef struct numbers {
  ad_operation op;
  ad_type *type;
  const ad_type **types;
  const void **x;
  int64_t *z, **operand;
  const ad_allocator *allocator;
  char *memory, *scratch;
  size_t bytes, scratch_bytes;
} numbers;

static void lay_out(numbers *n) {
  const size_t operands = (size_t)n->op.n;
  n->type = (ad_type *)(void *)n->memory;
  n->types = (const ad_type **)(void *)(n->type + operands);
  n->x = (const void **)(void *)(n->types + operands);
  n->operand = (int64_t **)(void *)(n->x + operands);
  n->z = (int64_t *)(void *)(n->operand + operands);
}

static bool numbers_open(numbers *n, const ad_operation *op, ad_tape *tape) {
  const size_t each = sizeof *n->type + sizeof *n->types + sizeof *n->x + sizeof *n->operand;
  const size_t operands = (size_t)op->n;
  int64_t elements = ad_type_count(op->z);
  *n = (numbers){ .op = *op, .allocator = memory_of_tape(tape) };
  for (int k = 0; k < op->n; k++) elements += ad_type_count(*op->x[k]);
  n->bytes = operands*each + (size_t)elements*sizeof(int64_t) + 1;
  n->memory = memory_get_zeroed(n->allocator, n->bytes, 1);
  if (!n->memory) return false;
  lay_out(n);
  n->op.z.dtype = AD_I64;
  int64_t *next = n->z + ad_type_count(op->z);
  for (size_t k = 0; k < operands; k++) {
    n->type[k] = *op->x[k];
    n->type[k].dtype = AD_I64;
    n->types[k] = &n->type[k];
    n->x[k] = n->operand[k] = next;
    next += ad_type_count(*op->x[k]);
  }
  n->op.x = n->types;
  n->scratch_bytes = op->primitive->scratch_bytes ? op->primitive->scratch_bytes(&n->op) : 0;
  n->scratch = n->scratch_bytes ? memory_get(n->allocator, n->scratch_bytes) : NULL;
  return n->scratch || !n->scratch_bytes;
}

static void numbers_close(const numbers *n) {
  memory_release(n->allocator, n->scratch, n->scratch_bytes);
  memory_release(n->allocator, n->memory, n->bytes);
}

static bool numbers_run(const numbers *n) {
  return n->op.primitive->run(&n->op, n->z, n->x, n->scratch) == AD_OK;
}

/* --- rules ---------------------------------------------------------------------------------------------- */

/* Elements of all operands are numbered from 1 in order; 0 is what no operand has. */
static ad_var numbered_element(const ad_operation *op, ad_tape *tape, const ad_var *const x[],
                               int64_t number) {
  if (number == 0) return zero_element(tape, op->z.dtype);
  for (int k = 0; k < op->n; k++) {
    const int64_t count = ad_type_count(*op->x[k]);
    if (number <= count) return x[k][number - 1];
    number -= count;
  }
  return ad_none();
}

bool moved_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]) {
  numbers n;
  int64_t number = 0;
  bool good = numbers_open(&n, op, tape);
  for (int k = 0; k < op->n && good; k++)
    for (int64_t e = 0; e < ad_type_count(*op->x[k]); e++) n.operand[k][e] = ++number;
  good = good && numbers_run(&n);
  for (int64_t e = 0; e < ad_type_count(op->z) && good; e++) {
    z[e] = numbered_element(op, tape, x, n.z[e]);
    good = ad_is_valid(z[e]);
  }
  numbers_close(&n);
  return good;
}

/* The second operand's numbers are multiples of what the first one's cannot reach: a sum tells both. */
bool added_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]) {
  numbers n;
  const int64_t base = ad_type_count(op->z) + 1;
  if (op->z.dtype == AD_BOOL) return false;
  bool good = numbers_open(&n, op, tape);
  for (int64_t e = 0; e + 1 < base && good; e++) n.operand[0][e] = e + 1;
  for (int64_t e = 0; good && e < ad_type_count(*op->x[1]); e++) n.operand[1][e] = (e + 1)*base;
  good = good && numbers_run(&n);
  for (int64_t e = 0; e + 1 < base && good; e++) {
    const int64_t part = n.z[e]/base;
    z[e] = x[0][n.z[e]%base - 1];
    if (part) z[e] = ad_add(z[e], x[1][part - 1]);
    good = ad_is_valid(z[e]);
  }
  numbers_close(&n);
  return good;
}

bool constant_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]) {
  const ad_allocator *m = memory_of_tape(tape);
  const size_t bytes = ad_type_bytes(op->z), width = ad_dtype_bytes(op->z.dtype);
  const ad_type one = ad_type_make(op->z.dtype, 0, NULL);
  char *value = memory_get_zeroed(m, bytes + 1, 1);
  (void)x;
  bool good = value && op->n == 0 && !op->primitive->scratch_bytes
           && op->primitive->run(op, value, NULL, NULL) == AD_OK;
  for (size_t e = 0; e*width < bytes && good; e++) {
    z[e] = ad_constant(tape, one, value + e*width);
    good = ad_is_valid(z[e]);
  }
  memory_release(m, value, bytes + 1);
  return good;
}
