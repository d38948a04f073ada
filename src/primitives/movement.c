/* movement.c -- the elements of x in another shape or order: reshape, transpose, broadcast_to, flip.
 *
 * Each primitive is linear with weights 0 and 1, so its tangent is the primitive itself. The transpose is
 * again one of them, but for broadcasting, whose transpose sums. Dimensions, permutations and starts are
 * int64_t arrays in the attribute: its size gives the rank.
 */
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/construct.h"
#include "primitives/elements.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "primitives/work.h"

#include <string.h>

enum { MOVES = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS };

static const ad_primitive reshape_primitive, transpose_primitive, broadcast_to_primitive, flip_primitive;

static int attribute_rank(const ad_operation *op) { return (int)(op->attribute_size/sizeof(int64_t)); }

/* "(2,3)" of dimensions that need not be those of a type. */
static const char *print_dims(int rank, const int64_t dim[], char text[192]) {
  ad_type t = { AD_F64, rank, { 0 } };
  if (rank) memcpy(t.dim, dim, (size_t)rank*sizeof *dim);
  ad_type_print(t, text, 192);
  return strchr(text, '(');
}

static bool shape_given(int rank, const int64_t dim[]) {
  return rank >= 0 && rank <= AD_MAX_RANK && (dim || rank == 0);
}

static ad_var refuse_shape(ad_var x, const char *name, int rank) {
  if (rank >= 0 && rank <= AD_MAX_RANK)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: no dimensions given", name);
  return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: rank %d is not within 0 and %d", name, rank,
                 AD_MAX_RANK);
}

static ad_var record_dims(const ad_primitive *p, ad_var x, int rank, const int64_t dim[]) {
  return ad_record(NULL, p, 1, &x, rank ? dim : NULL, (size_t)rank*sizeof *dim);
}

/* Same bytes, same order: what the run of a movement comes to when nothing moves. */
static ad_status copy_all(const ad_operation *op, void *z, const void *x) {
  size_t bytes = ad_type_bytes(op->z);
  if (z != x && bytes) memcpy(z, x, bytes);
  return AD_OK;
}

/* --- reshape: the same elements in the same order ------------------------------------------------------- */

static ad_status reshape_type(ad_operation *op) {
  char from[192], to[192];
  const int64_t *dim = op->attribute;
  op->z = ad_type_make(op->x[0]->dtype, attribute_rank(op), dim);
  if (op->z.rank >= 0 && ad_type_count(op->z) == ad_type_count(*op->x[0])) return AD_OK;
  return ad_refuse(op, AD_ERROR_SHAPE, "%s and %s differ in the number of elements",
                   ad_type_print(*op->x[0], from, sizeof from), print_dims(attribute_rank(op), dim, to));
}

static ad_status reshape_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  return copy_all(op, z, x[0]);
}

static ad_status reshape_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_copy(w, ad_type_count(op->z), z, x[0]);
  return AD_OK;
}

static ad_var reshape_vjp(ad_rule *r, int k) { return ad_reshape(r->g, r->op->x[k]->rank, r->op->x[k]->dim); }

static ad_var reshape_batch(const ad_batch *b) { return batch_result(b, b->x[0]); }

static ad_var reshape_trail(const ad_batch *b) { return trail_result(b, b->x[0]); }

static const ad_primitive reshape_primitive = {
  .name = "reshape", .doc = "the same elements in another shape",
  .traits = MOVES | AD_TRAIT_ALIAS | AD_TRAIT_IN_PLACE,
  .type = reshape_type, .run = reshape_run, .work = work_move, .vjp = reshape_vjp, .batch = reshape_batch,
  .trail = reshape_trail,
  .write = reshape_write, .elements = moved_elements };

/* Puts the dimension that is left over where dim has a -1. It stays -1 (and is refused) where no whole
 * number fits. */
static void fill_missing(int rank, int64_t dim[], int64_t count) {
  int missing = -1;
  int64_t others = 1;
  for (int d = 0; d < rank; d++) {
    if (dim[d] == -1 && missing < 0) missing = d;
    else if (dim[d] < 0 || __builtin_mul_overflow(others, dim[d], &others)) return;
  }
  if (missing >= 0 && others > 0 && count%others == 0) dim[missing] = count/others;
}

ad_var ad_reshape(ad_var x, int rank, const int64_t dim[]) {
  int64_t full[AD_MAX_RANK] = { 0 };
  ad_type t = ad_type_of(x);
  if (!shape_given(rank, dim)) return refuse_shape(x, "reshape", rank);
  if (rank) memcpy(full, dim, (size_t)rank*sizeof *dim);
  if (t.rank >= 0) fill_missing(rank, full, ad_type_count(t));
  if (t.rank == rank && !operand_is_literal(x) && !memcmp(t.dim, full, sizeof full)) return x;
  return record_dims(&reshape_primitive, x, rank, full);
}

ad_var ad_squeeze(ad_var x, ad_axes axes) {
  ad_type t = ad_type_of(x);
  unsigned mask = 0;
  char text[192];
  if (t.rank < 0) return record_dims(&reshape_primitive, x, 0, NULL);
  if (axes.count == -1) {
    for (int d = 0; d < t.rank; d++) mask |= (unsigned)(t.dim[d] == 1) << d;
  } else if (!axes_resolve(axes, t.rank, &mask))
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "squeeze: axes repeat or are not in %s",
                   ad_type_print(t, text, sizeof text));
  for (int d = 0; d < t.rank; d++)
    if (mask >> d & 1 && t.dim[d] != 1)
      return ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE, "squeeze: axis %d of %s has not size 1", d,
                     ad_type_print(t, text, sizeof text));
  ad_type z = axes_reduce(t, mask, false);
  return ad_reshape(x, z.rank, z.dim);
}

ad_var ad_expand(ad_var x, int axis) {
  ad_type t = ad_type_of(x);
  char text[192];
  if (t.rank < 0) return record_dims(&reshape_primitive, x, 0, NULL);
  if (t.rank == AD_MAX_RANK)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE, "expand: %s has %d axes already",
                   ad_type_print(t, text, sizeof text),
                   AD_MAX_RANK);
  int a = axis_resolve(axis, t.rank + 1);
  if (a < 0)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "expand: axis %d is not within %d and %d", axis,
                   -t.rank - 1, t.rank);
  memmove(t.dim + a + 1, t.dim + a, (size_t)(t.rank - a)*sizeof *t.dim);
  t.dim[a] = 1;
  return ad_reshape(x, t.rank + 1, t.dim);
}

/* --- transpose: z axis i is x axis perm[i] -------------------------------------------------------------- */

static ad_status transpose_type(ad_operation *op) {
  const ad_type *x = op->x[0];
  const int64_t *perm = op->attribute;
  unsigned seen = 0;
  char text[192];
  op->z = *x;
  for (int d = 0; d < x->rank; d++) {
    bool fits = attribute_rank(op) == x->rank && perm[d] >= 0 && perm[d] < x->rank && !(seen >> perm[d] & 1);
    if (!fits) return ad_refuse(op, AD_ERROR_ARGUMENT, "not a permutation of the axes of %s",
                                ad_type_print(*x, text, sizeof text));
    seen |= 1u << perm[d];
    op->z.dim[d] = x->dim[perm[d]];
  }
  return AD_OK;
}

static strided transpose_box(const ad_operation *op) {
  const int64_t *perm = op->attribute;
  strided s = { .rank = op->z.rank };
  int64_t stride[AD_MAX_RANK];
  memcpy(s.dim, op->z.dim, sizeof s.dim);
  dense_strides(s.rank, s.dim, s.to);
  dense_strides(s.rank, op->x[0]->dim, stride);
  for (int d = 0; d < s.rank; d++) s.from[d] = stride[perm[d]];
  return s;
}

static ad_status transpose_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const strided s = transpose_box(op);
  strided_copy(&s, ad_dtype_bytes(op->z.dtype), z, x[0]);
  return AD_OK;
}

static ad_status transpose_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const strided s = transpose_box(op);
  write_strided_copy(w, &s, z, 0, x[0], 0);
  return AD_OK;
}

static ad_var transpose_vjp(ad_rule *r, int k) {
  const int64_t *perm = r->op->attribute;
  int64_t inverse[AD_MAX_RANK] = { 0 };
  const int rank = r->op->x[k]->rank;
  for (int d = 0; d < rank; d++) inverse[perm[d]] = d;
  return record_dims(&transpose_primitive, r->g, rank, inverse);
}

static ad_var transpose_batch(const ad_batch *b) {
  const int64_t *perm = b->op->attribute;
  int64_t order[AD_MAX_RANK] = { 0 };
  const int rank = b->op->z.rank;
  for (int d = 0; d < rank; d++) order[d + 1] = perm[d] + 1;
  return record_dims(&transpose_primitive, b->x[0], rank + 1, order);
}

static ad_var transpose_trail(const ad_batch *b) {
  int64_t order[AD_MAX_RANK] = { 0 };
  const int rank = b->op->z.rank;
  if (rank) memcpy(order, b->op->attribute, (size_t)rank*sizeof *order);
  order[rank] = rank;
  return record_dims(&transpose_primitive, b->x[0], rank + 1, order);
}

static const ad_primitive transpose_primitive = {
  .name = "transpose", .doc = "axes in another order", .traits = MOVES,
  .type = transpose_type, .run = transpose_run, .work = work_move,
  .vjp = transpose_vjp, .batch = transpose_batch, .trail = transpose_trail,
  .write = transpose_write, .elements = moved_elements };

bool transpose_axes(const ad_operation *op, int64_t perm[AD_MAX_RANK]) {
  if (op->primitive != &transpose_primitive) return false;
  memcpy(perm, op->attribute, (size_t)op->z.rank*sizeof *perm);
  return true;
}

ad_var ad_transpose(ad_var x, const int perm[]) {
  ad_type t = ad_type_of(x);
  int64_t order[AD_MAX_RANK] = { 0 };
  bool moves = false;
  for (int d = 0; d < t.rank; d++) {
    order[d] = perm ? axis_or_given(perm[d], t.rank) : t.rank - 1 - d;
    moves |= order[d] != d;
  }
  if (t.rank >= 0 && !moves && !operand_is_literal(x)) return x;
  return record_dims(&transpose_primitive, x, t.rank < 0 ? 0 : t.rank, order);
}

/* --- broadcast_to: axes of size 1, and missing ones in front, repeated ---------------------------------- */

static ad_status broadcast_to_type(ad_operation *op) {
  const ad_type *x = op->x[0];
  const int rank = attribute_rank(op), new = rank - x->rank;
  const int64_t *dim = op->attribute;
  char from[192], to[192];
  bool fits = new >= 0;
  for (int d = 0; fits && d < rank; d++)
    fits = dim[d] >= 0 && (d < new || x->dim[d - new] == dim[d] || x->dim[d - new] == 1);
  if (!fits) return ad_refuse(op, AD_ERROR_SHAPE, "%s does not broadcast to %s",
                              ad_type_print(*x, from, sizeof from),
                              print_dims(rank, dim, to));
  op->z = ad_type_make(x->dtype, rank, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "%s is too big", print_dims(rank, dim, to)) : AD_OK;
}

static strided broadcast_to_box(const ad_operation *op) {
  const ad_type *t = op->x[0];
  const int new = op->z.rank - t->rank;
  strided s = { .rank = op->z.rank };
  int64_t stride[AD_MAX_RANK];
  memcpy(s.dim, op->z.dim, sizeof s.dim);
  dense_strides(s.rank, s.dim, s.to);
  dense_strides(t->rank, t->dim, stride);
  for (int d = new; d < s.rank; d++) s.from[d] = t->dim[d - new] == 1 ? 0 : stride[d - new];
  return s;
}

static ad_status broadcast_to_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const strided s = broadcast_to_box(op);
  strided_copy(&s, ad_dtype_bytes(op->z.dtype), z, x[0]);
  return AD_OK;
}

static ad_status broadcast_to_write(ad_writer *w, const ad_operation *op, const char *z,
                                    const char *const x[]) {
  const strided s = broadcast_to_box(op);
  write_strided_copy(w, &s, z, 0, x[0], 0);
  return AD_OK;
}

static ad_var broadcast_to_vjp(ad_rule *r, int k) {
  return sum_to_shape(r->g, type_with_dtype(r->op->x[k], ad_type_of(r->g).dtype));
}

static ad_var broadcast_to_batch(const ad_batch *b) {
  const ad_type z = batch_type(&b->op->z, b->n);
  return ad_broadcast_to(batch_align(b, 0, b->op->z.rank), z.rank, z.dim);
}

static ad_var broadcast_to_trail(const ad_batch *b) {
  const ad_type z = trail_type(&b->op->z, b->n);
  return ad_broadcast_to(b->x[0], z.rank, z.dim);
}

static const ad_primitive broadcast_to_primitive = {
  .name = "broadcast_to", .doc = "repeated along axes of size 1 and new leading axes", .traits = MOVES,
  .type = broadcast_to_type, .run = broadcast_to_run, .work = work_move, .vjp = broadcast_to_vjp,
  .batch = broadcast_to_batch, .trail = broadcast_to_trail, .write = broadcast_to_write,
  .elements = moved_elements };

bool is_broadcast(const ad_primitive *p) { return p == &broadcast_to_primitive; }

ad_var ad_broadcast_to(ad_var x, int rank, const int64_t dim[]) {
  ad_type t = ad_type_of(x);
  if (!shape_given(rank, dim)) return refuse_shape(x, "broadcast_to", rank);
  const bool same = t.rank == rank && (rank == 0 || !memcmp(t.dim, dim, (size_t)rank*sizeof *dim));
  if (same && !operand_is_literal(x)) return x;
  return record_dims(&broadcast_to_primitive, x, rank, dim);
}

/* --- flip: z[.., i, ..] = x[.., dim - 1 - i, ..] along the axes of the mask; its own transpose ---------- */

static ad_status flip_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}

/* *first: the element of x that comes first; of arrays that are not empty. */
static strided flip_box(const ad_operation *op, int64_t *first) {
  const int64_t mask = *(const int64_t *)op->attribute;
  strided s = { .rank = op->z.rank };
  *first = 0;
  memcpy(s.dim, op->z.dim, sizeof s.dim);
  dense_strides(s.rank, s.dim, s.to);
  for (int d = 0; d < s.rank; d++) {
    bool flipped = mask >> d & 1;
    s.from[d] = flipped ? -s.to[d] : s.to[d];
    if (flipped) *first += (s.dim[d] - 1)*s.to[d];
  }
  return s;
}

static ad_status flip_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const size_t width = ad_dtype_bytes(op->z.dtype);
  int64_t first;
  if (ad_type_count(op->z) == 0) return AD_OK;
  const strided s = flip_box(op, &first);
  strided_copy(&s, width, z, (const char *)x[0] + first*(int64_t)width);
  return AD_OK;
}

static ad_status flip_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  int64_t first;
  const strided s = flip_box(op, &first);
  write_strided_copy(w, &s, z, 0, x[0], first);
  return AD_OK;
}

static ad_var flip_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_record(r->tape, &flip_primitive, 1, &r->g, r->op->attribute, r->op->attribute_size);
}

static ad_var flip_batch(const ad_batch *b) {
  const int64_t mask = *(const int64_t *)b->op->attribute << 1;
  return ad_record(b->tape, &flip_primitive, 1, b->x, &mask, sizeof mask);
}

static const ad_primitive flip_primitive = {
  .name = "flip", .doc = "the order of the elements reversed along some axes", .traits = MOVES,
  .type = flip_type, .run = flip_run, .work = work_move,
  .vjp = flip_vjp, .batch = flip_batch, .trail = trail_alike, .write = flip_write,
  .elements = moved_elements };

ad_var ad_flip(ad_var x, ad_axes axes) {
  ad_type t = ad_type_of(x);
  unsigned mask = 0;
  char text[192];
  if (t.rank >= 0 && !axes_resolve(axes, t.rank, &mask))
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "flip: axes repeat or are not in %s",
                   ad_type_print(t, text, sizeof text));
  if (t.rank >= 0 && !mask && !operand_is_literal(x)) return x;
  const int64_t attribute = mask;
  return ad_record(NULL, &flip_primitive, 1, &x, &attribute, sizeof attribute);
}
