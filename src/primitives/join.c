/* join.c -- several arrays as one: concat, stack; one array several times: tile, repeat.
 *
 * concat and stack are linear in all operands jointly, with weights 0 and 1: their tangent is the same join
 * of the tangents, their transpose takes the joined cotangent apart.
 */
#include "primitives/axes.h"
#include "primitives/construct.h"
#include "primitives/batching.h"
#include "primitives/elements.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "base/memory.h"
#include "primitives/work.h"

#include <string.h>

enum { JOINS = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS };

static const ad_primitive concat_primitive, stack_primitive;

static int64_t join_axis(const ad_operation *op) { return *(const int64_t *)op->attribute; }

static ad_status refuse_operand(ad_operation *op, int k) {
  char first[192], other[192];
  return ad_refuse(op, op->x[0]->dtype == op->x[k]->dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                   "array %d is %s, which does not fit the first, %s", k,
                       ad_type_print(*op->x[k], other, sizeof other),
                   ad_type_print(*op->x[0], first, sizeof first));
}

/* --- concat: one after the other along an axis they have ------------------------------------------------ */

static bool differ_beside_axis(const ad_type *x, const ad_type *y, int64_t axis) {
  if (x == y) return false;
  if (x->dtype != y->dtype || x->rank != y->rank) return true;
  for (int d = 0; d < x->rank; d++)
    if (d != axis && x->dim[d] != y->dim[d]) return true;
  return false;
}

static ad_status concat_type(ad_operation *op) {
  const int64_t axis = join_axis(op);
  if (axis < 0 || axis >= op->x[0]->rank) return refuse_axis(op, axis, op->x[0]);
  op->z = *op->x[0];
  int64_t *dim = &op->z.dim[axis];
  for (int k = 1; k < op->n; k++) {
    if (differ_beside_axis(op->x[0], op->x[k], axis)) return refuse_operand(op, k);
    if (__builtin_add_overflow(*dim, op->x[k]->dim[axis], dim))
      return ad_refuse(op, AD_ERROR_SIZE, "the result is too big");
  }
  return ad_type_valid(op->z) ? AD_OK : ad_refuse(op, AD_ERROR_SIZE, "the result is too big");
}

/* outer runs of `run` elements from x, put every `step` elements into z. */
static void put_runs(int64_t outer, int64_t run, int64_t step, size_t width, void *z, const void *x) {
  const strided s = { 2, { outer, run }, { step, 1 }, { run, 1 } };
  if (outer == 1 && run && run < PARALLEL_ELEMENTS) memcpy(z, x, (size_t)run*width);
  else strided_copy(&s, width, z, x);
}

static ad_status concat_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int axis = (int)join_axis(op);
  const int64_t outer = axes_product(&op->z, 0, axis), inner = axes_product(&op->z, axis + 1, op->z.rank);
  const int64_t step = op->z.dim[axis]*inner;
  const size_t width = ad_dtype_bytes(op->z.dtype);
  char *to = z;
  if (ad_type_count(op->z) == 0) return AD_OK;
  for (int k = 0; k < op->n; k++) {
    const int64_t run = op->x[k]->dim[axis]*inner;
    put_runs(outer, run, step, width, to, x[k]);
    to += (size_t)run*width;
  }
  return AD_OK;
}

/* As put_runs. */
static void write_runs(ad_writer *w, int64_t outer, int64_t run, int64_t step, const char *z, int64_t first,
                       const char *x) {
  const strided s = { 2, { outer, run }, { step, 1 }, { run, 1 } };
  write_strided_copy(w, &s, z, first, x, 0);
}

static ad_status concat_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int axis = (int)join_axis(op);
  const int64_t outer = axes_product(&op->z, 0, axis), inner = axes_product(&op->z, axis + 1, op->z.rank);
  int64_t first = 0;
  for (int k = 0; k < op->n; k++) {
    const int64_t run = op->x[k]->dim[axis]*inner;
    write_runs(w, outer, run, op->z.dim[axis]*inner, z, first, x[k]);
    first += run;
  }
  return AD_OK;
}

static ad_var concat_vjp(ad_rule *r, int k) {
  const int axis = (int)join_axis(r->op);
  int64_t *next = &r->memo[0], *start = &r->memo[1];         /* *start: where operand *next begins */
  if (*next > k) *next = *start = 0;
  for (; *next < k; (*next)++) *start += r->op->x[*next]->dim[axis];
  return ad_slice(r->g, axis, *start, r->op->x[k]->dim[axis], 1);
}

static const ad_primitive concat_primitive = {
  .name = "concat", .doc = "arrays one after the other along an axis", .traits = JOINS,
  .type = concat_type, .run = concat_run, .work = work_move, .vjp = concat_vjp, .batch = batch_along,
  .trail = trail_alike,
  .write = concat_write, .elements = moved_elements };

bool join_is_runs(const ad_operation *op) {
  return (op->primitive == &concat_primitive || op->primitive == &stack_primitive)
         && axes_product(&op->z, 0, (int)join_axis(op)) == 1;
}

bool concat_along(const ad_operation *op, int *axis) {
  if (op->primitive != &concat_primitive) return false;
  *axis = (int)join_axis(op);
  return true;
}

/* --- stack: one after the other along a new axis -------------------------------------------------------- */

static ad_status stack_type(ad_operation *op) {
  const int64_t axis = join_axis(op);
  const ad_type *x = op->x[0];
  int64_t dim[AD_MAX_RANK];
  char text[192];
  if (x->rank == AD_MAX_RANK)
    return ad_refuse(op, AD_ERROR_SHAPE, "%s has %d axes already", ad_type_print(*x, text, sizeof text),
                     AD_MAX_RANK);
  if (axis < 0 || axis > x->rank)
    return ad_refuse(op, AD_ERROR_ARGUMENT, "axis %lld is not in a result of rank %d", (long long)axis,
                     x->rank + 1);
  for (int k = 1; k < op->n; k++)
    if (op->x[k] != x && !ad_type_equal(*op->x[k], *x)) return refuse_operand(op, k);
  for (int d = 0; d <= x->rank; d++) dim[d] = d < axis ? x->dim[d] : d == axis ? op->n : x->dim[d - 1];
  op->z = ad_type_make(x->dtype, x->rank + 1, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static ad_status stack_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int axis = (int)join_axis(op);
  const int64_t outer = axes_product(&op->z, 0, axis), inner = axes_product(&op->z, axis + 1, op->z.rank);
  const size_t width = ad_dtype_bytes(op->z.dtype);
  if (outer == 0 || inner == 0) return AD_OK;
  for (int k = 0; k < op->n; k++)
    put_runs(outer, inner, op->n*inner, width, (char *)z + (size_t)(k*inner)*width, x[k]);
  return AD_OK;
}

/* Elements side by side: one loop, of which compilers make vectors. */
enum { BESIDE = 8 };
static void write_beside(ad_writer *w, int64_t outer, int n, const char *z, const char *const x[]) {
  if (outer == 0) return;
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", (long long)outer);
  for (int k = 0; k < n; k++) ad_write(w, "%s[i*%d + %d] = %s[i];", z, n, k, x[k]);
  ad_write(w, "}");
}

static ad_status stack_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int axis = (int)join_axis(op);
  const int64_t outer = axes_product(&op->z, 0, axis), inner = axes_product(&op->z, axis + 1, op->z.rank);
  if (inner == 1 && op->n <= BESIDE) write_beside(w, outer, op->n, z, x);
  else for (int k = 0; k < op->n; k++) write_runs(w, outer, inner, op->n*inner, z, k*inner, x[k]);
  return AD_OK;
}

static ad_var stack_vjp(ad_rule *r, int k) {
  const int axis = (int)join_axis(r->op);
  const int64_t index = k;
  if (axis == 0) return ad_at(r->g, 1, &index);
  return ad_reshape(ad_slice(r->g, axis, k, 1, 1), r->op->x[k]->rank, r->op->x[k]->dim);
}

static const ad_primitive stack_primitive = {
  .name = "stack", .doc = "arrays one after the other along a new axis", .traits = JOINS,
  .type = stack_type, .run = stack_run, .work = work_move, .vjp = stack_vjp, .batch = batch_along,
  .trail = trail_alike,
  .write = stack_write, .elements = moved_elements };

/* --- recording joins ------------------------------------------------------------------------------------ */

static bool all_have_dtype(int n, const ad_var x[], ad_dtype dtype) {
  for (int k = 0; k < n; k++)
    if (operand_is_literal(x[k]) || ad_type_of(x[k]).dtype != dtype) return false;
  return true;
}

static ad_var record_join(const ad_primitive *p, int n, const ad_var x[], int64_t axis) {
  ad_tape *tape = ad_tape_of(n, x);
  const ad_dtype dtype = operands_dtype(n, x);
  if (all_have_dtype(n, x, dtype)) return ad_record(tape, p, n, x, &axis, sizeof axis);
  const size_t bytes = (size_t)n*sizeof *x;
  const ad_allocator *m = memory_of_tape(tape);
  ad_var few[16], *same = n <= 16 ? few : memory_get(m, bytes);
  if (!same) return ad_fail(tape, AD_ERROR_MEMORY, "%s: out of memory", p->name);
  for (int k = 0; k < n; k++) same[k] = operand_with_dtype(tape, x[k], dtype);
  ad_var z = ad_record(tape, p, n, same, &axis, sizeof axis);
  if (same != few) memory_release(m, same, bytes);
  return z;
}

ad_var ad_concat(int n, const ad_var x[], int axis) {
  if (n < 1 || !x) return ad_fail(NULL, AD_ERROR_ARGUMENT, "concat: no arrays given");
  return record_join(&concat_primitive, n, x, axis_or_given(axis, ad_type_of(x[0]).rank));
}

ad_var ad_stack(int n, const ad_var x[], int axis) {
  if (n < 1 || !x) return ad_fail(NULL, AD_ERROR_ARGUMENT, "stack: no arrays given");
  return record_join(&stack_primitive, n, x, axis_or_given(axis, ad_type_of(x[0]).rank + 1));
}

/* --- tile and repeat: reshape, broadcast, reshape ------------------------------------------------------- */

/* x as (outer, 1, inner) with the middle axis repeated, then as z. */
static ad_var repeat_middle(ad_var x, int64_t outer, int64_t times, int64_t inner, const ad_type *z) {
  const int64_t split[3] = { outer, 1, inner }, repeated[3] = { outer, times, inner };
  return ad_reshape(ad_broadcast_to(ad_reshape(x, 3, split), 3, repeated), z->rank, z->dim);
}

/* t with axis `times` as long. False where that is too long. */
static bool lengthen(ad_type *t, int axis, int64_t times) {
  return !__builtin_mul_overflow(t->dim[axis], times, &t->dim[axis]) && ad_type_valid(*t);
}

/* A negative or impossible number of repetitions is refused before anything is recorded. */
static ad_var refuse_repetitions(ad_var x, const char *name, int64_t times) {
  if (times < 0)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: %lld repetitions", name, (long long)times);
  return ad_fail(ad_tape_of(1, &x), AD_ERROR_SIZE, "%s: the result is too big with %lld repetitions", name,
                 (long long)times);
}

ad_var ad_repeat(ad_var x, int axis, int64_t times) {
  ad_type t = ad_type_of(x);
  if (t.rank < 0) return ad_reshape(x, 0, NULL);
  int a = axis_resolve(axis, t.rank);
  if (a < 0) return fail_axis(x, "repeat", axis);
  const int64_t outer = axes_product(&t, 0, a + 1), inner = axes_product(&t, a + 1, t.rank);
  if (times < 0 || !lengthen(&t, a, times)) return refuse_repetitions(x, "repeat", times);
  return times == 1 ? x : repeat_middle(x, outer, times, inner, &t);
}

/* The shorter of shape and repetitions gets ones in front. */
static ad_type tile_shape(const ad_type *x, int rank, const int64_t reps[], int64_t all_reps[]) {
  ad_type t = { x->dtype, rank > x->rank ? rank : x->rank, { 0 } };
  for (int d = 0; d < t.rank; d++) {
    int from = d - (t.rank - x->rank), rep = d - (t.rank - rank);
    t.dim[d] = from < 0 ? 1 : x->dim[from];
    all_reps[d] = rep < 0 ? 1 : reps[rep];
  }
  return t;
}

ad_var ad_tile(ad_var x, int rank, const int64_t reps[]) {
  ad_type t = ad_type_of(x);
  int64_t times[AD_MAX_RANK];
  if (t.rank < 0) return ad_reshape(x, 0, NULL);
  if (rank < 0 || rank > AD_MAX_RANK || (rank && !reps))
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "tile: %d numbers of repetitions%s", rank,
                   reps ? "" : ", none given");
  t = tile_shape(&t, rank, reps, times);
  ad_type z = t;
  for (int d = 0; d < t.rank; d++)
    if (times[d] < 0 || !lengthen(&z, d, times[d])) return refuse_repetitions(x, "tile", times[d]);
  x = ad_reshape(x, t.rank, t.dim);
  for (int d = t.rank - 1; d >= 0; d--) {
    if (times[d] == 1) continue;
    const int64_t outer = axes_product(&t, 0, d), inner = axes_product(&t, d, t.rank);
    t.dim[d] *= times[d];
    x = repeat_middle(x, outer, times[d], inner, &t);
  }
  return x;
}
