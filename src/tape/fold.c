/* fold.c -- simplification of array operations in the bodies of functions: what depends on constants
 * alone is computed once, when the body is made, and elementwise operations read what a broadcast
 * repeats instead of the copies.
 *
 * On closed tapes only: on others a derivative may still be asked for, which wants to see additions
 * into zeros and broadcasts as they were recorded. */
#include "tape/tape.h"
#include "adit/arrays.h"
#include "primitives/construct.h"
#include "primitives/library.h"

#include <string.h>

/* --- constants ------------------------------------------------------------------------------------------ */

/* Elements of a constant that is made so: it is kept, and written out in C. 256 KiB of f64 are still read
 * faster than most operations are done. */
enum { FOLDED_MOST = 32768, OPERANDS_MOST = 8 };

typedef struct folding {
  ad_tape *t;
  void *data[OPERANDS_MOST];        /* room for operands that are not constants themselves, or NULL */
  const void *x[OPERANDS_MOST];
  const ad_type *types[OPERANDS_MOST];
  void *z, *scratch;
  size_t z_bytes, scratch_bytes;
} folding;

/* What i is another shape of. */
static uint32_t same_elements(const ad_tape *t, uint32_t i) {
  int n;
  while (!node_is_leaf(t, i) && node_primitive(t, i)->traits & AD_TRAIT_ALIAS) i = *node_operands(t, i, &n);
  return i;
}

/* A constant, or an operation without operands: a filled array, an identity, a range; in any shape. */
static bool is_fixed(const ad_tape *t, uint32_t i) {
  int n;
  i = same_elements(t, i);
  if (node_is_constant(t, i)) return true;
  if (node_is_leaf(t, i) || node_type(t, i)->count > FOLDED_MOST) return false;
  const ad_primitive *p = node_primitive(t, i);
  node_operands(t, i, &n);
  return n == 0 && p->run && !p->tuple && !p->scratch_bytes;
}

static bool open_operand(folding *f, int k, uint32_t i) {
  ad_tape *t = f->t;
  f->types[k] = &node_type(t, i)->type;
  i = same_elements(t, i);
  if (node_is_constant(t, i)) f->x[k] = node_data(t, i);
  else {
    const ad_operation op = node_operation(t, i, NULL);
    f->x[k] = f->data[k] = memory_get(&t->allocator, node_type(t, i)->bytes + 1);
    if (!f->data[k] || op.primitive->run(&op, f->data[k], NULL, NULL) != AD_OK) return false;
  }
  return true;
}

static void close_folding(folding *f, int n, const uint32_t x[]) {
  const ad_allocator *a = &f->t->allocator;
  for (int k = 0; k < n; k++)
    if (f->data[k]) memory_release(a, f->data[k], node_type(f->t, x[k])->bytes + 1);
  memory_release(a, f->z, f->z_bytes);
  memory_release(a, f->scratch, f->scratch_bytes);
}

/* A row on arrays: operands of one element are repeated, others have the result's shape or are not
 * dealt with. */
static bool run_row(folding *f, const ad_primitive *p, const ad_type *type, int n, double attribute) {
  const size_t count = (size_t)ad_type_count(*type);
  const ad_dtype dtype = f->types[n == 3 ? 1 : 0]->dtype;
  block_kernel *kernel = primitive_kernel(p, dtype, type->dtype);
  char *room = memory_get(&f->t->allocator, 3*count*sizeof(scalar) + 1);
  const void *x[3] = { NULL, NULL, NULL };
  bool good = room && kernel && n <= 3;
  for (int k = 0; k < n && good; k++) {
    const size_t have = (size_t)ad_type_count(*f->types[k]), width = ad_dtype_bytes(f->types[k]->dtype);
    x[k] = f->x[k];
    good = have == 1 || (have == count && f->types[k]->rank == type->rank);
    for (size_t i = 0; i < count && have == 1 && good; i++)
      memcpy(room + (size_t)k*count*sizeof(scalar) + i*width, f->x[k], width);
    if (have == 1) x[k] = room + (size_t)k*count*sizeof(scalar);
  }
  if (good) kernel(count, f->z, x[0], x[1], x[2], attribute);
  memory_release(&f->t->allocator, room, 3*count*sizeof(scalar) + 1);
  return good;
}

static bool run_other(folding *f, const ad_primitive *p, const ad_type *type, int n, const void *attribute,
                      size_t size) {
  const ad_operation op = { .primitive = p, .n = n, .x = f->types, .z = *type, .attribute = attribute,
                            .attribute_size = size };
  if (p->scratch_bytes) {
    f->scratch_bytes = p->scratch_bytes(&op) + 64;
    f->scratch = memory_get(&f->t->allocator, f->scratch_bytes);
    if (!f->scratch) return false;
  }
  void *aligned = f->scratch ? (void *)(((uintptr_t)f->scratch + 63)/64*64) : NULL;
  return p->run(&op, f->z, f->x, aligned) == AD_OK;
}

/* An array of one number is a filled one, but for zeros of floats: passes take those for what is connected
 * nowhere. */
static uint32_t keep_result(folding *f, const ad_type *type) {
  const size_t width = ad_dtype_bytes(type->dtype), bytes = ad_type_bytes(*type);
  scalar v = { .i64 = 0 };
  memcpy(&v, f->z, width);
  for (size_t at = width; at < bytes; at += width)
    if (memcmp((char *)f->z + at, f->z, width)) return tape_leaf(f->t, PRIMITIVE_CONSTANT, type, f->z);
  uint32_t number;
  return tape_intern_type(f->t, type, &number) ? tape_filled(f->t, number, v) : INVALID_INDEX;
}

uint32_t tape_fold_array(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                         const void *attribute, size_t size) {
  const ad_type z = t->type[type]->type;
  const ad_primitive *p = primitive < ROW_COUNT ? &elementwise_primitives[primitive]
                                                : t->primitive[primitive - PRIMITIVE_FIRST_OTHER];
  const bool row = p->row || p == &cast_primitive;
  const int64_t count = ad_type_count(z);
  if (!t->closed || z.rank == 0 || count == 0 || count > FOLDED_MOST) return INVALID_INDEX;
  if (n < 1 || n > OPERANDS_MOST) return INVALID_INDEX;
  if (!row && (p->traits & AD_TRAIT_NO_FOLD || !p->run || p->tuple)) return INVALID_INDEX;
  for (int k = 0; k < n; k++)
    if (!is_fixed(t, x[k])) return INVALID_INDEX;
  folding f = { .t = t, .z_bytes = ad_type_bytes(z) + 1 };
  double a = 0;
  if (size == sizeof a) memcpy(&a, attribute, size);
  f.z = memory_get(&t->allocator, f.z_bytes);
  bool good = f.z != NULL;
  for (int k = 0; k < n && good; k++) good = open_operand(&f, k, x[k]);
  if (good) good = row ? run_row(&f, p, &z, n, a) : run_other(&f, p, &z, n, attribute, size);
  const uint32_t i = good ? keep_result(&f, &z) : INVALID_INDEX;
  close_folding(&f, n, x);
  return i;
}

/* --- broadcasts ----------------------------------------------------------------------------------------- */

/* The shape that elementwise operands have together; false if they have none. */
static bool join_shape(ad_type *z, const ad_type *x) {
  ad_type both = *z;
  if (x->rank > z->rank) return false;
  for (int d = 0; d < x->rank; d++) {
    int64_t *to = &both.dim[z->rank - x->rank + d];
    if (x->dim[d] != 1) *to = x->dim[d];
  }
  *z = both;
  return true;
}

/* Do operands of these nodes still make the shape of z? */
static bool same_shape(const ad_tape *t, const ad_type *z, int n, const uint32_t x[]) {
  ad_type shape = *z;
  for (int d = 0; d < shape.rank; d++) shape.dim[d] = 1;
  bool full = false;
  for (int k = 0; k < n; k++) {
    const ad_type *type = &node_type(t, x[k])->type;
    full |= type->rank == z->rank;
    if (!join_shape(&shape, type)) return false;
  }
  return full && ad_type_equal(shape, *z);
}

/* The operation on the origins of broadcasts alone, repeated afterwards. */
static uint32_t broadcast_later(ad_tape *t, uint32_t primitive, const ad_type *z, int n,
                                const uint32_t origin[], const void *attribute, size_t size) {
  ad_type shape = *z;
  uint32_t number;
  shape.rank = 0;
  for (int k = 0; k < n; k++)
    if (node_type(t, origin[k])->type.rank > shape.rank) shape.rank = node_type(t, origin[k])->type.rank;
  for (int d = 0; d < AD_MAX_RANK; d++) shape.dim[d] = d < shape.rank;
  for (int k = 0; k < n; k++) join_shape(&shape, &node_type(t, origin[k])->type);
  if (2*ad_type_count(shape) > ad_type_count(*z)) return INVALID_INDEX;
  if (!tape_intern_type(t, &shape, &number)) return INVALID_INDEX;
  const uint32_t i = tape_append_simplified(t, primitive, number, n, origin, attribute, size);
  if (i == INVALID_INDEX) return i;
  const ad_var v = ad_broadcast_to(handle(t, i), z->rank, z->dim);
  return ad_is_valid(v) ? v.at.node.index : INVALID_INDEX;
}

uint32_t tape_skip_broadcasts(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                              const void *attribute, size_t size) {
  uint32_t origin[3], some[3];
  int broadcasts = 0, arrays = 0;
  bool any = false;
  const ad_type z = t->type[type]->type;
  if (!t->closed || n < 1 || n > 3 || z.rank == 0) return INVALID_INDEX;
  memcpy(origin, x, (size_t)n*sizeof *x);
  memcpy(some, x, (size_t)n*sizeof *x);
  for (int k = 0; k < n; k++) {
    int count;
    arrays += node_type(t, x[k])->type.rank > 0;
    if (node_is_leaf(t, x[k]) || !is_broadcast(node_primitive(t, x[k]))) continue;
    broadcasts++;
    origin[k] = some[k] = node_operands(t, x[k], &count)[0];
    if (same_shape(t, &z, n, some)) any = true;
    else some[k] = x[k];
  }
  if (broadcasts && broadcasts == arrays) {
    const uint32_t i = broadcast_later(t, primitive, &z, n, origin, attribute, size);
    if (i != INVALID_INDEX) return i;
  }
  return any ? tape_append_simplified(t, primitive, type, n, some, attribute, size) : INVALID_INDEX;
}
