/* slice.c -- parts of arrays: slice and at, their transposes slice_add and at_add, pad, split.
 *
 * The transposes add a part into a base. Reverse mode records them on a base of zeros, and the sweep then
 * chains all that goes into one variable through a single buffer (AD_TRAIT_ADDS_INTO): a loop that reads n
 * elements costs O(n), not O(n^2).
 */
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/construct.h"
#include "primitives/elements.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "adit/elementwise.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

enum {
  MOVES = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS,
  ADDS = MOVES | AD_TRAIT_IN_PLACE | AD_TRAIT_ADDS_INTO
};

static const ad_primitive slice_primitive, slice_add_primitive, at_primitive, at_add_primitive, pad_primitive;

/* Elements start + i*step, 0 <= i < count, of one axis; the attribute has one for each axis. */
typedef struct range { int64_t start, count, step; } range;

/* --- slice: z[i..] = x[start + i*step ..] --------------------------------------------------------------- */

static bool range_fits(const range *a, int64_t dim) {
  int64_t last;
  if (a->count < 0 || a->step == 0) return false;
  if (a->count == 0) return a->start >= 0 && a->start <= dim;
  return a->start >= 0 && a->start < dim && !__builtin_mul_overflow(a->count - 1, a->step, &last)
      && !__builtin_add_overflow(a->start, last, &last) && last >= 0 && last < dim;
}

/* The type of the slice of x that the attribute says. */
static ad_status sliced_type(ad_operation *op, const ad_type *x, ad_type *z) {
  const range *a = op->attribute;
  char text[192];
  *z = *x;
  if (op->attribute_size != (size_t)x->rank*sizeof *a)
    return ad_refuse(op, AD_ERROR_ARGUMENT, "ranges for another rank");
  for (int d = 0; d < x->rank; d++) {
    z->dim[d] = a[d].count;
    if (a[d].step == 0) return ad_refuse(op, AD_ERROR_ARGUMENT, "a step of 0 along axis %d", d);
    if (!range_fits(&a[d], x->dim[d]))
      return ad_refuse(op, AD_ERROR_ARGUMENT, "start %lld, count %lld, step %lld do not fit axis %d of %s",
                       (long long)a[d].start, (long long)a[d].count, (long long)a[d].step, d,
                       ad_type_print(*x, text, sizeof text));
  }
  return AD_OK;
}

static ad_status slice_type(ad_operation *op) { return sliced_type(op, op->x[0], &op->z); }

/* Strides of the slice within an array of type x, and the element where it begins. */
static int64_t slice_strides(const ad_type *x, const range *a, int64_t stride[]) {
  int64_t first = 0;
  dense_strides(x->rank, x->dim, stride);
  for (int d = 0; d < x->rank; d++) {
    first += a[d].start*stride[d];
    stride[d] *= a[d].step;
  }
  return first;
}

/* *first: the element of x where the slice begins. */
static strided slice_box(const ad_operation *op, int64_t *first) {
  strided s = { .rank = op->z.rank };
  memcpy(s.dim, op->z.dim, sizeof s.dim);
  dense_strides(s.rank, s.dim, s.to);
  *first = slice_strides(op->x[0], op->attribute, s.from);
  return s;
}

/* Do the elements lie one behind the other, on both sides? */
static bool is_range(const strided *s) {
  for (int d = 0; d < s->rank; d++)
    if (s->dim[d] == 0 || (s->dim[d] > 1 && s->from[d] != s->to[d])) return false;
  return true;
}

static ad_status slice_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const size_t width = ad_dtype_bytes(op->z.dtype);
  int64_t first;
  if (ad_type_count(op->z) == 0) return AD_OK;
  const strided s = slice_box(op, &first);
  strided_copy(&s, width, z, (const char *)x[0] + first*(int64_t)width);
  return AD_OK;
}

static ad_status slice_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  int64_t first;
  const strided s = slice_box(op, &first);
  write_strided_copy(w, &s, z, 0, x[0], first);
  return AD_OK;
}

static ad_var slice_vjp(ad_rule *r, int k) {
  ad_var x[2] = { zeros_like_cotangent(r, r->op->x[k]), r->g };
  return ad_record(r->tape, &slice_add_primitive, 2, x, r->op->attribute, r->op->attribute_size);
}

/* A batch: the first axis whole, then the ranges of an instance. Returns the attribute's size. */
static size_t batch_ranges(const ad_batch *b, range a[AD_MAX_RANK]) {
  const size_t size = b->op->attribute_size;
  a[0] = (range){ 0, b->n, 1 };
  if (size) memcpy(a + 1, b->op->attribute, size);
  return size + sizeof *a;
}

static ad_var slice_batch(const ad_batch *b) {
  range a[AD_MAX_RANK];
  return batch_record(b, a, batch_ranges(b, a));
}

static ad_var slice_trail(const ad_batch *b) {
  range a[AD_MAX_RANK];
  const size_t size = b->op->attribute_size;
  if (size) memcpy(a, b->op->attribute, size);
  a[size/sizeof *a] = (range){ 0, b->n, 1 };
  return trail_record(b, a, size + sizeof *a);
}

static const ad_primitive slice_primitive = {
  .name = "slice", .doc = "every step-th element of a range, along each axis", .traits = MOVES,
  .type = slice_type, .run = slice_run, .work = work_part, .vjp = slice_vjp, .batch = slice_batch,
  .trail = slice_trail, .write = slice_write, .elements = moved_elements };

/* --- slice_add: base with part added at the slice ------------------------------------------------------- */

static ad_status slice_add_type(ad_operation *op) {
  ad_type part;
  char want[192], given[192];
  ad_status status = sliced_type(op, op->x[0], &part);
  if (status != AD_OK) return status;
  op->z = *op->x[0];
  if (ad_type_equal(part, *op->x[1])) return AD_OK;
  return ad_refuse(op, part.dtype == op->x[1]->dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                   "the slice is %s, the part %s",
                   ad_type_print(part, want, sizeof want), ad_type_print(*op->x[1], given, sizeof given));
}

static void copy_base(const ad_operation *op, void *z, const void *base) {
  size_t bytes = ad_type_bytes(op->z);
  if (z != base && bytes) memcpy(z, base, bytes);
}

/* *first: the element of z where the part goes. */
static strided slice_add_box(const ad_operation *op, int64_t *first) {
  const ad_type *part = op->x[1];
  strided s = { .rank = part->rank };
  memcpy(s.dim, part->dim, sizeof s.dim);
  dense_strides(s.rank, s.dim, s.from);
  *first = slice_strides(&op->z, op->attribute, s.to);
  return s;
}

static ad_status slice_add_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  int64_t first;
  const strided s = slice_add_box(op, &first);
  write_copy(w, ad_type_count(op->z), z, x[0]);
  write_strided_add(w, &s, op->z.dtype, z, first, x[1], 0);
  return AD_OK;
}

static ad_status slice_add_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const ad_type *part = op->x[1];
  int64_t first;
  copy_base(op, z, x[0]);
  if (ad_type_count(*part) == 0) return AD_OK;
  const strided s = slice_add_box(op, &first);
  strided_add(&s, part->dtype, (char *)z + first*(int64_t)ad_dtype_bytes(part->dtype), x[1]);
  return AD_OK;
}

static ad_var slice_add_vjp(ad_rule *r, int k) {
  if (k == 0) return r->g;
  return ad_record(r->tape, &slice_primitive, 1, &r->g, r->op->attribute, r->op->attribute_size);
}

static const ad_primitive slice_add_primitive = {
  .name = "slice_add", .doc = "an array with another one added to a slice of it", .traits = ADDS,
  .type = slice_add_type, .run = slice_add_run, .work = work_add_into,
  .vjp = slice_add_vjp, .batch = slice_batch, .trail = slice_trail,
  .write = slice_add_write, .elements = added_elements };

/* --- recording slices ----------------------------------------------------------------------------------- */

/* Slices that are the same get the same attribute: starts from the front, step 1 where there are fewer
 * than two elements. */
static range normalised(int64_t start, int64_t count, int64_t step, int64_t dim) {
  range a = { start < 0 && start >= -dim ? start + dim : start, count, step };
  if (count == 0 && a.start >= 0 && a.start <= dim) a.start = 0;
  if ((count == 0 || count == 1) && step) a.step = 1;
  return a;
}

/* One axis sliced, the others whole; x has that axis. Returns the attribute's size. */
static size_t slice_of_axis(const ad_type *x, int axis, range given, range a[]) {
  int chosen = axis_resolve(axis, x->rank);
  for (int d = 0; d < x->rank; d++) a[d] = normalised(0, x->dim[d], 1, x->dim[d]);
  a[chosen] = normalised(given.start, given.count, given.step, x->dim[chosen]);
  return (size_t)x->rank*sizeof *a;
}

static bool is_whole(const ad_type *x, const range a[]) {
  for (int d = 0; d < x->rank; d++)
    if (a[d].start != 0 || a[d].step != 1 || a[d].count != x->dim[d]) return false;
  return true;
}

ad_var ad_slice(ad_var x, int axis, int64_t start, int64_t count, int64_t step) {
  range a[AD_MAX_RANK];
  ad_type t = ad_type_of(x);
  if (t.rank < 0) return ad_record(NULL, &slice_primitive, 1, &x, NULL, 0);
  if (axis_resolve(axis, t.rank) < 0) return fail_axis(x, "slice", axis);
  size_t size = slice_of_axis(&t, axis, (range){ start, count, step }, a);
  return is_whole(&t, a) ? x : ad_record(NULL, &slice_primitive, 1, &x, a, size);
}

ad_var ad_slice_add(ad_var base, ad_var part, int axis, int64_t start, int64_t step) {
  ad_var x[2] = { base, part };
  range a[AD_MAX_RANK];
  ad_tape *tape = ad_tape_of(2, x);
  ad_type b = ad_type_of(base), p = ad_type_of(part);
  if (b.rank < 0 || p.rank < 0) return ad_record(tape, &slice_add_primitive, 2, x, NULL, 0);
  if (axis_resolve(axis, b.rank) < 0) return fail_axis(base, "slice_add", axis);
  int64_t count = p.rank == b.rank ? p.dim[axis_resolve(axis, b.rank)] : 1;
  size_t size = slice_of_axis(&b, axis, (range){ start, count, step }, a);
  ad_dtype dtype = operands_dtype(2, x);
  for (int k = 0; k < 2; k++) x[k] = operand_with_dtype(tape, x[k], dtype);
  return ad_record(tape, &slice_add_primitive, 2, x, a, size);
}

/* --- at: z = x[index[0], .., index[n-1]], the remaining axes whole: one contiguous piece ---------------- */

static int index_count(const ad_operation *op) { return (int)(op->attribute_size/sizeof(int64_t)); }

static ad_status picked_type(ad_operation *op, const ad_type *x, ad_type *z) {
  const int64_t *index = op->attribute;
  const int n = index_count(op);
  char text[192];
  if (n > x->rank)
    return ad_refuse(op, AD_ERROR_ARGUMENT, "%d indices into %s", n, ad_type_print(*x, text, sizeof text));
  for (int d = 0; d < n; d++)
    if (index[d] < 0 || index[d] >= x->dim[d])
      return ad_refuse(op, AD_ERROR_ARGUMENT, "index %lld is outside of axis %d of %s", (long long)index[d],
                       d, ad_type_print(*x, text, sizeof text));
  *z = ad_type_make(x->dtype, x->rank - n, x->dim + n);
  return AD_OK;
}

static ad_status at_type(ad_operation *op) { return picked_type(op, op->x[0], &op->z); }

/* The element where the piece begins. */
static int64_t piece_begin(const ad_operation *op, int64_t piece) {
  const int64_t *index = op->attribute;
  int64_t row = 0;
  for (int d = 0; d < index_count(op); d++) row = row*op->x[0]->dim[d] + index[d];
  return row*piece;
}

static ad_status at_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int64_t piece = ad_type_count(op->z), width = (int64_t)ad_dtype_bytes(op->z.dtype);
  const char *from = (const char *)x[0] + piece_begin(op, piece)*width;
  if (piece*width == sizeof(double)) memcpy(z, from, sizeof(double));      /* no call for one number */
  else if (piece) memcpy(z, from, (size_t)(piece*width));
  return AD_OK;
}

static ad_status at_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int64_t piece = ad_type_count(op->z);
  const strided s = { 1, { piece }, { 1 }, { 1 } };
  write_strided_copy(w, &s, z, 0, x[0], piece_begin(op, piece));
  return AD_OK;
}

static ad_var at_vjp(ad_rule *r, int k) {
  ad_var x[2] = { zeros_like_cotangent(r, r->op->x[k]), r->g };
  return ad_record(r->tape, &at_add_primitive, 2, x, r->op->attribute, r->op->attribute_size);
}

/* A batch: a slice of one element along each axis of the index. */
static size_t batch_index(const ad_batch *b, range a[AD_MAX_RANK]) {
  const int64_t *index = b->op->attribute;
  const ad_type *x = b->op->x[0];
  const int n = index_count(b->op);
  a[0] = (range){ 0, b->n, 1 };
  for (int d = 0; d < x->rank; d++)
    a[d + 1] = d < n ? (range){ index[d], 1, 1 } : (range){ 0, x->dim[d], 1 };
  return ((size_t)x->rank + 1)*sizeof *a;
}

static ad_var at_batch(const ad_batch *b) {
  range a[AD_MAX_RANK];
  const size_t size = batch_index(b, a);
  return batch_result(b, ad_record(b->tape, &slice_primitive, 1, b->x, a, size));
}

static const ad_primitive at_primitive = {
  .name = "at", .doc = "the element, or the part, at an index of the leading axes", .traits = MOVES,
  .type = at_type, .run = at_run, .work = work_part, .vjp = at_vjp, .batch = at_batch,
  .trail = trail_alike, .write = at_write, .elements = moved_elements };

/* at_add: base with part added at the index. */
static ad_status at_add_type(ad_operation *op) {
  ad_type part;
  char want[192], given[192];
  ad_status status = picked_type(op, op->x[0], &part);
  if (status != AD_OK) return status;
  op->z = *op->x[0];
  if (ad_type_equal(part, *op->x[1])) return AD_OK;
  return ad_refuse(op, AD_ERROR_SHAPE, "the place is %s, the part %s", ad_type_print(part, want, sizeof want),
                   ad_type_print(*op->x[1], given, sizeof given));
}

static ad_status at_add_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int64_t piece = ad_type_count(*op->x[1]), width = (int64_t)ad_dtype_bytes(op->z.dtype);
  copy_base(op, z, x[0]);
  if (piece) strided_add_line(op->z.dtype)(piece, (char *)z + piece_begin(op, piece)*width, 1, x[1], 1);
  return AD_OK;
}

static ad_status at_add_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int64_t piece = ad_type_count(*op->x[1]);
  const strided s = { 1, { piece }, { 1 }, { 1 } };
  write_copy(w, ad_type_count(op->z), z, x[0]);
  write_strided_add(w, &s, op->z.dtype, z, piece_begin(op, piece), x[1], 0);
  return AD_OK;
}

static ad_var at_add_vjp(ad_rule *r, int k) {
  if (k == 0) return r->g;
  return ad_record(r->tape, &at_primitive, 1, &r->g, r->op->attribute, r->op->attribute_size);
}

static ad_var at_add_batch(const ad_batch *b) {
  range a[AD_MAX_RANK];
  int64_t dim[AD_MAX_RANK];
  const size_t size = batch_index(b, a);
  const int rank = b->op->z.rank + 1;
  for (int d = 0; d < rank; d++) dim[d] = a[d].count;
  ad_var x[2] = { batch_spread(b, 0), ad_reshape(batch_spread(b, 1), rank, dim) };
  return ad_record(b->tape, &slice_add_primitive, 2, x, a, size);
}

static const ad_primitive at_add_primitive = {
  .name = "at_add", .doc = "an array with another one added at an index of the leading axes", .traits = ADDS,
  .type = at_add_type, .run = at_add_run, .work = work_add_into, .vjp = at_add_vjp, .batch = at_add_batch,
  .trail = trail_alike,
  .write = at_add_write, .elements = added_elements };

/* --- ranges -------------------------------------------------------------------------------------------- */

bool slice_is_range(const ad_operation *op, int64_t *first) {
  if (op->primitive == &at_primitive) {
    *first = piece_begin(op, ad_type_count(op->z));
    return op->z.rank > 0 && ad_type_count(op->z) > 0;
  }
  if (op->primitive != &slice_primitive) return false;
  const strided s = slice_box(op, first);
  return is_range(&s);
}

bool slice_along(const ad_operation *op, int *axis, int64_t *first, int64_t *step) {
  int found = 0;
  if (op->primitive != &slice_primitive) return false;
  const range *a = op->attribute;
  for (int d = 0; d < op->z.rank; d++) {
    if (a[d].count == op->x[0]->dim[d] && a[d].step == 1) continue;
    *axis = d, *first = a[d].start, *step = a[d].step;
    found++;
  }
  return found == 1;
}

bool slice_adds_range(const ad_operation *op, int64_t *first) {
  if (op->primitive == &at_add_primitive) {
    *first = piece_begin(op, ad_type_count(*op->x[1]));
    return ad_type_count(*op->x[1]) > 0;
  }
  if (op->primitive != &slice_add_primitive) return false;
  const strided s = slice_add_box(op, first);
  return is_range(&s);
}

/* --- recording indices ---------------------------------------------------------------------------------- */

/* Indices from the end become indices from the front; those that are outside are left for the type rule to
 * refuse. */
static bool index_from_front(ad_type t, int n, const int64_t index[], int64_t out[AD_MAX_RANK]) {
  if (n < 0 || n > AD_MAX_RANK || (n && !index)) return false;
  for (int d = 0; d < n; d++)
    out[d] = index[d] < 0 && d < t.rank && index[d] >= -t.dim[d] ? index[d] + t.dim[d] : index[d];
  return true;
}

static ad_var fail_index(ad_tape *tape, const char *what, int n, const int64_t index[]) {
  return ad_fail(tape, AD_ERROR_ARGUMENT, "%s: %d indices%s", what, n, n && !index ? ", none given" : "");
}

ad_var ad_at(ad_var x, int n, const int64_t index[]) {
  int64_t from_front[AD_MAX_RANK] = { 0 };
  ad_type t = ad_type_of(x);
  if (!index_from_front(t, n, index, from_front)) return fail_index(ad_tape_of(1, &x), "at", n, index);
  if (n == 0 && t.rank >= 0 && !operand_is_literal(x)) return x;
  return ad_record(NULL, &at_primitive, 1, &x, n ? from_front : NULL, (size_t)n*sizeof *index);
}

ad_var ad_at_add(ad_var base, ad_var part, int n, const int64_t index[]) {
  int64_t from_front[AD_MAX_RANK] = { 0 };
  ad_var x[2] = { base, part };
  ad_tape *tape = ad_tape_of(2, x);
  if (!index_from_front(ad_type_of(base), n, index, from_front)) return fail_index(tape, "at_add", n, index);
  ad_dtype dtype = operands_dtype(2, x);
  for (int k = 0; k < 2; k++) x[k] = operand_with_dtype(tape, x[k], dtype);
  return ad_record(tape, &at_add_primitive, 2, x, n ? from_front : NULL, (size_t)n*sizeof *index);
}

/* --- pad: z = x with value around it -------------------------------------------------------------------- */

/* The attribute: before[rank], then after[rank]. z has before + dim + after elements along each axis. */
static ad_status pad_type(ad_operation *op) {
  const ad_type *x = op->x[0];
  const int64_t *before = op->attribute, *after = before ? before + x->rank : NULL;
  int64_t dim[AD_MAX_RANK];
  char text[192];
  if (op->attribute_size != (size_t)x->rank*2*sizeof *before)
    return ad_refuse(op, AD_ERROR_ARGUMENT, "widths for another rank");
  if (op->x[1]->rank)
    return ad_refuse(op, AD_ERROR_SHAPE, "the value is %s, not a scalar",
                     ad_type_print(*op->x[1], text, sizeof text));
  if (x->dtype != op->x[1]->dtype) return ad_refuse(op, AD_ERROR_DTYPE, "array and value differ in type");
  for (int d = 0; d < x->rank; d++) {
    if (before[d] < 0 || after[d] < 0)
      return ad_refuse(op, AD_ERROR_ARGUMENT, "a negative width along axis %d", d);
    if (__builtin_add_overflow(x->dim[d], before[d], &dim[d])
        || __builtin_add_overflow(dim[d], after[d], &dim[d]))
      return ad_refuse(op, AD_ERROR_SIZE, "axis %d becomes too long", d);
  }
  op->z = ad_type_make(x->dtype, x->rank, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

/* *first: the element of z where x goes. */
static strided pad_box(const ad_operation *op, int64_t *first) {
  const ad_type *t = op->x[0];
  const int64_t *before = op->attribute;
  strided s = { .rank = t->rank };
  *first = 0;
  memcpy(s.dim, t->dim, sizeof s.dim);
  dense_strides(s.rank, t->dim, s.from);
  dense_strides(s.rank, op->z.dim, s.to);
  for (int d = 0; d < s.rank; d++) *first += before[d]*s.to[d];
  return s;
}

static ad_status pad_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char value[WRITTEN_INDEX];
  int64_t first;
  const strided s = pad_box(op, &first);
  snprintf(value, sizeof value, "%s[0]", x[1]);
  write_fill(w, ad_type_count(op->z), z, value);
  write_strided_copy(w, &s, z, first, x[0], 0);
  return AD_OK;
}

static ad_status pad_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const ad_type *t = op->x[0];
  const size_t width = ad_dtype_bytes(op->z.dtype);
  int64_t first;
  strided_fill(ad_type_count(op->z), width, z, x[1]);
  if (ad_type_count(*t) == 0) return AD_OK;
  const strided s = pad_box(op, &first);
  strided_copy(&s, width, (char *)z + first*(int64_t)width, x[0]);
  return AD_OK;
}

/* True where z has the value, false where it has x. */
static ad_var padding(ad_tape *tape, const ad_operation *op) {
  ad_var x[2] = { ad_zeros(tape, type_with_dtype(op->x[0], AD_BOOL)),
                  ad_ones(tape, ad_type_make(AD_BOOL, 0, NULL)) };
  return ad_record(tape, &pad_primitive, 2, x, op->attribute, op->attribute_size);
}

/* xbar is the inner part of g. The adjoint of the value is the sum of the rest, taken without the inner
 * part: its elements may be infinite, and would cancel badly in sum(g) - sum(xbar). */
static ad_var pad_vjp(ad_rule *r, int k) {
  const ad_type *x = r->op->x[0];
  const int64_t *before = r->op->attribute;
  range a[AD_MAX_RANK];
  if (k == 0) {
    for (int d = 0; d < x->rank; d++) a[d] = normalised(before[d], x->dim[d], 1, r->op->z.dim[d]);
    return ad_record(r->tape, &slice_primitive, 1, &r->g, x->rank ? a : NULL, (size_t)x->rank*sizeof *a);
  }
  return ad_sum(ad_select(padding(r->tape, r->op), r->g, ad_integer(0)), AD_ALL_AXES, false);
}

/* The instances get no padding between them. Values of their own come in where a common one would be. */
static ad_var pad_batch(const ad_batch *b) {
  const size_t rank = (size_t)b->op->z.rank;
  int64_t width[2*AD_MAX_RANK] = { 0 };
  if (rank) {
    memcpy(width + 1, b->op->attribute, rank*sizeof *width);
    memcpy(width + rank + 2, (const int64_t *)b->op->attribute + rank, rank*sizeof *width);
  }
  ad_var x[2] = { batch_spread(b, 0), b->x[1] };
  if (b->batched[1]) x[1] = ad_zeros(b->tape, *b->op->x[1]);
  ad_var z = ad_record(b->tape, &pad_primitive, 2, x, width, 2*(rank + 1)*sizeof *width);
  return b->batched[1] ? ad_select(padding(b->tape, b->op), batch_align(b, 1, (int)rank), z) : z;
}

static ad_var pad_trail(const ad_batch *b) {
  const size_t rank = (size_t)b->op->z.rank;
  int64_t width[2*AD_MAX_RANK] = { 0 };
  if (b->batched[1]) return ad_none();
  if (rank) {
    memcpy(width, b->op->attribute, rank*sizeof *width);
    memcpy(width + rank + 1, (const int64_t *)b->op->attribute + rank, rank*sizeof *width);
  }
  return ad_record(b->tape, &pad_primitive, 2, b->x, width, 2*(rank + 1)*sizeof *width);
}

static const ad_primitive pad_primitive = {
  .name = "pad", .doc = "an array with a constant around it", .traits = MOVES,
  .type = pad_type, .run = pad_run, .work = work_move, .vjp = pad_vjp, .batch = pad_batch,
  .trail = pad_trail, .write = pad_write,
  .elements = moved_elements };

ad_var ad_pad(ad_var x, const int64_t before[], const int64_t after[], ad_var value) {
  ad_var operands[2] = { x, value };
  int64_t width[2*AD_MAX_RANK] = { 0 };
  ad_tape *tape = ad_tape_of(2, operands);
  ad_type t = ad_type_of(x);
  const int rank = t.rank < 0 ? 0 : t.rank;
  if (rank && (!before || !after)) return ad_fail(tape, AD_ERROR_ARGUMENT, "pad: no widths given");
  for (int d = 0; d < rank; d++) width[d] = before[d], width[rank + d] = after[d];
  ad_dtype dtype = operands_dtype(2, operands);
  for (int k = 0; k < 2; k++) operands[k] = operand_with_dtype(tape, operands[k], dtype);
  return ad_record(tape, &pad_primitive, 2, operands, rank ? width : NULL, (size_t)rank*2*sizeof *width);
}

/* --- split: consecutive slices that make up the whole axis ---------------------------------------------- */

static ad_status refuse_split(ad_var x, ad_status status, const char *what) {
  ad_fail(ad_tape_of(1, &x), status, "split: %s", what);
  return status;
}

static ad_status check_split(ad_var x, int axis, int n, const int64_t size[], int64_t *dim) {
  ad_type t = ad_type_of(x);
  int a = axis_resolve(axis, t.rank);
  int64_t left;
  if (t.rank < 0) return refuse_split(x, AD_ERROR_HANDLE, "the variable is invalid");
  if (a < 0) return fail_axis(x, "split", axis), AD_ERROR_ARGUMENT;
  if (n < 1) return refuse_split(x, AD_ERROR_ARGUMENT, "a number of parts below 1");
  *dim = left = t.dim[a];
  if (!size && left%n) return refuse_split(x, AD_ERROR_SHAPE, "the axis has no such number of equal parts");
  if (!size) return AD_OK;
  for (int i = 0; i < n; i++) {
    if (size[i] < 0 || size[i] > left)
      return refuse_split(x, AD_ERROR_SHAPE, "sizes are negative or more than the axis has");
    left -= size[i];
  }
  return left ? refuse_split(x, AD_ERROR_SHAPE, "sizes do not add up to that of the axis") : AD_OK;
}

ad_status ad_split(ad_var x, int axis, int n, const int64_t size[], ad_var out[]) {
  int64_t dim = 0, start = 0;
  if (!out && n > 0) return refuse_split(x, AD_ERROR_ARGUMENT, "nowhere to put the parts");
  ad_status status = check_split(x, axis, n, size, &dim);
  for (int i = 0; i < n; i++) {
    int64_t count = size ? size[i] : dim/n;
    if (status == AD_OK) out[i] = ad_slice(x, axis, start, count, 1);
    else out[i] = ad_fail(ad_tape_of(1, &x), status, "split");
    if (status == AD_OK && !ad_is_valid(out[i])) status = ad_tape_status(ad_tape_of(1, &x));
    if (status == AD_OK) start += count;
  }
  return status;
}
