/* matrix.c -- parts of matrices: diag, tril, triu, trace. Matrices are the last two axes, all axes before
 * them a batch.
 *
 * Diagonal k is where column - row = k. All of it is linear with weights 0 and 1, so each operation's
 * derivative is itself, and its adjoint its transpose: tril and triu are their own, taking a diagonal and
 * placing one are each other's.
 */
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/elements.h"
#include "primitives/strided_write.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

enum { MOVES = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS };

static const ad_primitive diag_primitive, diag_embed_primitive, tril_primitive, triu_primitive;

/* Of diag_embed: a vector of length `length` becomes diagonal k of a (rows, columns) matrix. */
typedef struct placement { int64_t k, rows, columns; } placement;

/* --- diagonals ------------------------------------------------------------------------------------------ */

/* Diagonal k of a (rows, columns) matrix: its length, 0 if it misses the matrix, and the offset of its
   first element. */
typedef struct diagonal { int64_t length, first; } diagonal;

static diagonal diagonal_of(int64_t k, int64_t rows, int64_t columns) {
  int64_t row = k < 0 ? -k : 0, column = k > 0 ? k : 0;
  int64_t down = rows - row, right = columns - column;
  int64_t length = down < right ? down : right;
  if (length <= 0) return (diagonal){ 0, 0 };
  return (diagonal){ length, row*columns + column };
}

/* A loop over diagonals with elements of one size: to[i*to_step] = from[i*from_step]. The types are
 * unsigned integers: only bits move. */
#define MOVE(T)                                                                                              \
  static void move_##T(int64_t n, void *to, int64_t to_step, const void *from, int64_t from_step) {          \
    T *z = to;                                                                                               \
    const T *x = from;                                                                                       \
    for (int64_t i = 0; i < n; i++) z[i*to_step] = x[i*from_step];                                           \
  }
MOVE(uint8_t)
MOVE(uint32_t)
MOVE(uint64_t)

static void move_elements(size_t width, int64_t n, void *to, int64_t to_step, const void *from,
                          int64_t from_step) {
  if (width == 8) move_uint64_t(n, to, to_step, from, from_step);
  else if (width == 4) move_uint32_t(n, to, to_step, from, from_step);
  else move_uint8_t(n, to, to_step, from, from_step);
}

/* diag: z[b,i] = x[b, i + max(-k,0), i + max(k,0)], (.., n, m) -> (.., length) */
static ad_status diag_type(ad_operation *op) {
  const ad_type *x = op->x[0];
  if (x->rank < 2)
    return ad_refuse(op, AD_ERROR_SHAPE, "a matrix is needed, not a %s", x->rank ? "vector" : "scalar");
  const int64_t *k = op->attribute, *matrix = &x->dim[x->rank - 2];
  op->z = *x;
  op->z.rank--;
  op->z.dim[x->rank - 1] = 0;
  op->z.dim[x->rank - 2] = diagonal_of(*k, matrix[0], matrix[1]).length;
  return AD_OK;
}

static ad_status diag_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const ad_type *t = op->x[0];
  size_t width = ad_dtype_bytes(t->dtype);
  int64_t rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1];
  diagonal d = diagonal_of(*(const int64_t *)op->attribute, rows, columns);
  if (d.length == 0) return AD_OK;
  const char *from = (const char *)x[0] + (size_t)d.first*width;
  char *to = z;
  for (int64_t count = axes_product(t, 0, t->rank - 2); count > 0; count--) {
    move_elements(width, d.length, to, 1, from, columns + 1);
    to += (size_t)d.length*width;
    from += (size_t)(rows*columns)*width;
  }
  return AD_OK;
}

static ad_status diag_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const ad_type *t = op->x[0];
  const int64_t rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1];
  const diagonal d = diagonal_of(*(const int64_t *)op->attribute, rows, columns);
  const strided s = { 2, { axes_product(t, 0, t->rank - 2), d.length }, { d.length, 1 },
                      { rows*columns, columns + 1 } };
  write_strided_copy(w, &s, z, 0, x[0], d.first);
  return AD_OK;
}

/* Where zbar reaches xbar: p on ones. The rest of the matrix is not connected. */
static void reach(ad_rule *r, const ad_primitive *p, const void *attribute, size_t size) {
  ad_type type = r->op->z;
  type.dtype = AD_BOOL;
  const ad_var ones = ad_ones(r->tape, type);
  r->connected = ad_record(r->tape, p, 1, &ones, attribute, size);
}

/* xbar[b, i + max(-k,0), i + max(k,0)] = zbar[b,i] */
static ad_var diag_vjp(ad_rule *r, int operand) {
  (void)operand;
  const ad_type *x = r->op->x[0];
  placement a = { *(const int64_t *)r->op->attribute, x->dim[x->rank - 2], x->dim[x->rank - 1] };
  reach(r, &diag_embed_primitive, &a, sizeof a);
  return ad_record(r->tape, &diag_embed_primitive, 1, &r->g, &a, sizeof a);
}

/* diag_embed: z[b, i + max(-k,0), i + max(k,0)] = x[b,i], 0 elsewhere, (.., length) -> (.., rows, columns) */
static ad_status diag_embed_type(ad_operation *op) {
  const placement *a = op->attribute;
  const ad_type *x = op->x[0];
  int64_t length = diagonal_of(a->k, a->rows, a->columns).length;
  if (x->rank < 1 || x->rank >= AD_MAX_RANK || x->dim[x->rank - 1] != length)
    return ad_refuse(op, AD_ERROR_SHAPE, "not the length of the diagonal");
  int64_t dim[AD_MAX_RANK];
  memcpy(dim, x->dim, sizeof dim);
  dim[x->rank - 1] = a->rows;
  dim[x->rank] = a->columns;
  op->z = ad_type_make(x->dtype, x->rank + 1, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the matrix is too big") : AD_OK;
}

static ad_status diag_embed_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const placement *a = op->attribute;
  const ad_type *t = op->x[0];
  size_t width = ad_dtype_bytes(t->dtype), bytes = ad_type_bytes(op->z);
  diagonal d = diagonal_of(a->k, a->rows, a->columns);
  if (bytes) memset(z, 0, bytes);
  if (d.length == 0) return AD_OK;
  const char *from = x[0];
  char *to = (char *)z + (size_t)d.first*width;
  for (int64_t count = axes_product(t, 0, t->rank - 1); count > 0; count--) {
    move_elements(width, d.length, to, a->columns + 1, from, 1);
    from += (size_t)d.length*width;
    to += (size_t)(a->rows*a->columns)*width;
  }
  return AD_OK;
}

static ad_status diag_embed_write(ad_writer *w, const ad_operation *op, const char *z,
                                  const char *const x[]) {
  const placement *a = op->attribute;
  const ad_type *t = op->x[0];
  const diagonal d = diagonal_of(a->k, a->rows, a->columns);
  const strided s = { 2, { axes_product(t, 0, t->rank - 1), d.length },
                      { a->rows*a->columns, a->columns + 1 }, { d.length, 1 } };
  write_fill(w, ad_type_count(op->z), z, "0");
  write_strided_copy(w, &s, z, d.first, x[0], 0);
  return AD_OK;
}

/* xbar[b,i] = zbar[b, i + max(-k,0), i + max(k,0)] */
static ad_var diag_embed_vjp(ad_rule *r, int operand) {
  (void)operand;
  int64_t k = ((const placement *)r->op->attribute)->k;
  return ad_record(r->tape, &diag_primitive, 1, &r->g, &k, sizeof k);
}

static const ad_primitive diag_primitive = {
  .name = "diag", .doc = "a diagonal of a matrix", .traits = MOVES,
  .type = diag_type, .run = diag_run, .work = work_part,
  .vjp = diag_vjp, .batch = batch_leading, .write = diag_write,
  .elements = moved_elements,
};
static const ad_primitive diag_embed_primitive = {
  .name = "diag_embed", .doc = "the matrix with a given diagonal",
  .traits = MOVES,
  .type = diag_embed_type, .run = diag_embed_run, .work = work_move,
  .vjp = diag_embed_vjp, .batch = batch_leading,
  .write = diag_embed_write, .elements = moved_elements,
};

ad_var ad_diag(ad_var x, int k) {
  ad_type t = ad_type_of(x);
  int64_t diagonal_k = k, offset = k < 0 ? -diagonal_k : diagonal_k;
  if (t.rank != 1)
    return ad_record(ad_tape_of(1, &x), &diag_primitive, 1, &x, &diagonal_k, sizeof diagonal_k);
  placement a = { k, t.dim[0] + offset, t.dim[0] + offset };
  return ad_record(ad_tape_of(1, &x), &diag_embed_primitive, 1, &x, &a, sizeof a);
}

/* The main diagonal and its sum, both of which have derivatives already. */
ad_var ad_trace(ad_var x) {
  ad_type t = ad_type_of(x);
  if (t.rank == 0 || t.rank == 1)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_SHAPE, "trace: a matrix is needed, not a %s",
                   t.rank ? "vector" : "scalar");
  return ad_sum(ad_diag(x, 0), ad_axes_make(1, (const int[]){ -1 }), false);
}

/* --- triangles ------------------------------------------------------------------------------------------ */

static ad_status triangle_type(ad_operation *op) {
  int rank = op->x[0]->rank;
  if (rank < 2)
    return ad_refuse(op, AD_ERROR_SHAPE, "a matrix is needed, not a %s", rank ? "vector" : "scalar");
  op->z = *op->x[0];
  return AD_OK;
}

/* z[b,i,j] = x[b,i,j] where keep_low ? j < i + edge : j >= i + edge, 0 elsewhere: each row is copied on
 * one side of a column and cleared on the other. z may be x. */
static void copy_triangle(const ad_type *t, char *z, const char *x, int64_t edge, bool keep_low) {
  int64_t rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1];
  size_t width = ad_dtype_bytes(t->dtype), row_bytes = (size_t)columns*width;
  if (row_bytes == 0) return;
  int64_t all_rows = axes_product(t, 0, t->rank - 1);
  for (int64_t r = 0; r < all_rows; r++, x += row_bytes, z += row_bytes) {
    int64_t column = r%rows + edge;
    size_t low = (size_t)(column < 0 ? 0 : column > columns ? columns : column)*width;
    size_t from = keep_low ? 0 : low, to = keep_low ? low : row_bytes;
    if (z != x) memcpy(z + from, x + from, to - from);
    memset(z + (keep_low ? low : 0), 0, row_bytes - (to - from));
  }
}

static ad_status tril_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  copy_triangle(&op->z, z, x[0], *(const int64_t *)op->attribute + 1, true);
  return AD_OK;
}

static ad_status triu_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  copy_triangle(&op->z, z, x[0], *(const int64_t *)op->attribute, false);
  return AD_OK;
}

/* As copy_triangle. */
static void write_triangle(ad_writer *w, const ad_type *t, const char *z, const char *x, int64_t edge,
                           bool keep_low) {
  const long long rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1], first = edge;
  const long long count = axes_product(t, 0, t->rank - 2);
  char end[32];
  if (ad_type_count(*t) == 0) return;
  snprintf(end, sizeof end, "%lld", columns);
  const char *const kept[2] = { keep_low ? "0" : "middle", keep_low ? "middle" : end };
  const char *const gone[2] = { keep_low ? "middle" : "0", keep_low ? end : "middle" };
  ad_write(w, "for (int64_t k = 0; k < %lld; k += %lld) {", count*rows*columns, rows*columns);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", rows);
  ad_write(w, "const int64_t edge = i + (%lld), at = k + i*%lld;", first, columns);
  ad_write(w, "const int64_t middle = edge < 0 ? 0 : edge > %lld ? %lld : edge;", columns, columns);
  if (strcmp(z, x))
    ad_write(w, "for (int64_t j = %s; j < %s; j++) %s[at + j] = %s[at + j];", kept[0], kept[1], z, x);
  ad_write(w, "for (int64_t j = %s; j < %s; j++) %s[at + j] = 0;", gone[0], gone[1], z);
  ad_write(w, "}");
  ad_write(w, "}");
}

static ad_status tril_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_triangle(w, &op->z, z, x[0], *(const int64_t *)op->attribute + 1, true);
  return AD_OK;
}

static ad_status triu_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  write_triangle(w, &op->z, z, x[0], *(const int64_t *)op->attribute, false);
  return AD_OK;
}

/* xbar: the same triangle of zbar. */
static ad_var triangle_vjp(ad_rule *r, int operand) {
  (void)operand;
  reach(r, r->op->primitive, r->op->attribute, r->op->attribute_size);
  return ad_record(r->tape, r->op->primitive, 1, &r->g, r->op->attribute, r->op->attribute_size);
}

static const ad_primitive tril_primitive = {
  .name = "tril", .doc = "the lower triangle of a matrix",
  .traits = MOVES | AD_TRAIT_IN_PLACE,
  .type = triangle_type, .run = tril_run, .work = work_move, .vjp = triangle_vjp, .batch = batch_leading,
  .write = tril_write, .elements = moved_elements,
};
static const ad_primitive triu_primitive = {
  .name = "triu", .doc = "the upper triangle of a matrix",
  .traits = MOVES | AD_TRAIT_IN_PLACE,
  .type = triangle_type, .run = triu_run, .work = work_move, .vjp = triangle_vjp, .batch = batch_leading,
  .write = triu_write, .elements = moved_elements,
};

ad_var ad_tril(ad_var x, int k) {
  int64_t attribute = k;
  return ad_record(ad_tape_of(1, &x), &tril_primitive, 1, &x, &attribute, sizeof attribute);
}

ad_var ad_triu(ad_var x, int k) {
  int64_t attribute = k;
  return ad_record(ad_tape_of(1, &x), &triu_primitive, 1, &x, &attribute, sizeof attribute);
}
