/* solve.c -- linear systems: the factorisation of a matrix, and solutions with it.
 *
 * Two operations. lu takes a matrix apart and has no derivative: what it gives only helps to solve. lu_solve
 * takes the matrix, its factors and the right hand side; it computes with the factors and is differentiated
 * as the function of the matrix that it is. So every derivative, of any order, is made of products and of
 * solutions with the same factors. Source: Giles, Collected matrix derivative results for forward and reverse
 * mode algorithmic differentiation, 2008, section 2.2.
 *
 * LAPACK stores matrices by columns, so it sees the transpose of what is here, and factorises that:
 * a^T = P L U. A vector is solved for with the flag of transposition turned; a matrix of k columns, which it
 * sees as k rows, from the right: z^T = b^T U^-1 L^-1 P^T. Nothing is transposed in memory.
 */
#include "primitives/solve.h"
#include "adit/elementwise.h"
#include "adit/linear.h"
#include "base/lapack.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/matmul.h"
#include "primitives/written.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const ad_primitive lu_primitive, lu_solve_primitive;

#define T double
#define NAME(name) name##_f64
#define LAPACK(name) l->d##name
#include "primitives/solve.inc"

#define T float
#define NAME(name) name##_f32
#define LAPACK(name) l->s##name
#include "primitives/solve.inc"
#include "primitives/work.h"

/* --- operands ------------------------------------------------------------------------------------------- */

ad_status matrix_check(ad_operation *op, const ad_type *a) {
  char text[192];
  const int64_t n = a->rank < 2 ? 0 : a->dim[a->rank - 1];
  if (a->dtype < AD_F32) return ad_refuse(op, AD_ERROR_DTYPE, "takes floats");
  if (a->rank < 2 || a->dim[a->rank - 2] != n)
    return ad_refuse(op, AD_ERROR_SHAPE, "a square matrix is needed, not %s",
                     ad_type_print(*a, text, sizeof text));
  /* LAPACK counts in int; a float holds the number of a pivot exactly up to 2^24 */
  const bool fits = n <= (a->dtype == AD_F32 ? 1 << 24 : INT_MAX);
  if (!fits) return ad_refuse(op, AD_ERROR_SIZE, "the matrix is too big");
  return lapack_find() ? AD_OK : ad_refuse(op, AD_ERROR_UNSUPPORTED, "there is no LAPACK here");
}

/* An error that is on the tape already stays the first. */
ad_var invalid_of(int n, const ad_var x[]) {
  return ad_fail(ad_tape_of(n, x), AD_ERROR_HANDLE, "%s", ad_status_sentence(AD_ERROR_HANDLE));
}

bool matrix_given(const char *name, ad_var a) {
  const ad_type t = ad_type_of(a);
  char text[192];
  if (t.rank >= 2 && t.dim[t.rank - 1] == t.dim[t.rank - 2]) return true;
  if (t.rank >= 0)
    ad_fail(ad_tape_of(1, &a), AD_ERROR_SHAPE, "%s: a square matrix is needed, not %s", name,
            ad_type_print(t, text, sizeof text));
  return false;
}

ad_var matrix_of_floats(ad_var a) { return ad_type_of(a).dtype < AD_F32 ? cast_to(a, AD_F64) : a; }

/* --- lu ------------------------------------------------------------------------------------------------- */

static ad_status lu_type(ad_operation *op) {
  const ad_type *a = op->x[0];
  const ad_status status = matrix_check(op, a);
  if (status != AD_OK) return status;
  int64_t dim[AD_MAX_RANK];
  memcpy(dim, a->dim, sizeof dim);
  dim[a->rank - 2]++;
  op->z = ad_type_make(a->dtype, a->rank, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the matrix is too big") : AD_OK;
}

static size_t pivot_bytes(const ad_operation *op) {
  return (size_t)op->x[0]->dim[op->x[0]->rank - 1]*sizeof(int);
}

static ad_status lu_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const ad_type *a = op->x[0];
  const int n = (int)a->dim[a->rank - 1];
  const int64_t count = axes_product(a, 0, a->rank - 2);
  const lapack *l = lapack_find();
  if (n == 0 || count == 0) return AD_OK;
  if (!l) return AD_ERROR_UNSUPPORTED;
  if (a->dtype == AD_F64) factorise_f64(l, count, n, z, x[0], scratch);
  else factorise_f32(l, count, n, z, x[0], scratch);
  return AD_OK;
}

static ad_status lu_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const ad_type *a = op->x[0];
  const int64_t n = a->dim[a->rank - 1], count = axes_product(a, 0, a->rank - 2);
  written_loops loops = { .w = w, .axes = 1, .arrays = 2 };
  loops.axis[0].size = count;
  loops.axis[0].step[0] = n*n;
  loops.axis[0].step[1] = (n + 1)*n;
  if (n == 0 || count == 0) return AD_OK;
  written_loops_open(&loops);
  ad_write(w, "%s(%" PRId64 ", %s + %s, %s + %s);", written_factorise(w, a->dtype), n, x[0], loops.offset[0],
           z, loops.offset[1]);
  written_loops_close(&loops);
  return AD_OK;
}

/* 2/3 n^3 for each matrix. */
static void lu_work(const ad_operation *op, ad_work *w) {
  w->flops = 2*(double)ad_type_count(*op->x[0])*(double)op->x[0]->dim[op->x[0]->rank - 1]/3;
}

static const ad_primitive lu_primitive = {
  .name = "lu", .doc = "triangular factors and pivots of a matrix, for solve", .not_connected = 1,
  .type = lu_type, .run = lu_run, .work = lu_work, .scratch_bytes = pivot_bytes, .batch = batch_leading,
  .write = lu_write,
};

ad_var lu_record(ad_var a) { return ad_record(NULL, &lu_primitive, 1, &a, NULL, 0); }

/* --- systems: shapes, batches, adjoints ----------------------------------------------------------------- */

static int64_t batch_size(const ad_type *t, int rank, int i) { return i < rank ? t->dim[rank - 1 - i] : 1; }

const char *systems_of(const ad_type *a, const ad_type *b, bool vector, systems *s) {
  const int core = vector ? 1 : 2;
  if (b->rank < core) return "the right hand side is a number";
  s->vector = vector;
  s->n = a->dim[a->rank - 1];
  s->k = vector ? 1 : b->dim[b->rank - 1];
  if (b->dim[b->rank - core] != s->n) return "the right hand side has another number of rows";
  s->batch_a = a->rank - 2;
  s->batch_b = b->rank - core;
  s->batch = s->batch_a > s->batch_b ? s->batch_a : s->batch_b;
  for (int i = 0; i < s->batch; i++) {
    const int64_t p = s->a[i] = batch_size(a, s->batch_a, i), q = s->b[i] = batch_size(b, s->batch_b, i);
    if (p != q && p != 1 && q != 1) return "batch dimensions do not broadcast";
    s->all[i] = p == 1 ? q : p;
  }
  return s->batch + core > AD_MAX_RANK ? "the result has too many axes" : NULL;
}

ad_status systems_type(ad_operation *op, const ad_type *b, bool vector) {
  const ad_type *a = op->x[0];
  const ad_status status = matrix_check(op, a);
  if (status != AD_OK) return status;
  if (a->dtype != b->dtype)
    return ad_refuse(op, AD_ERROR_DTYPE, "operands of type %s and %s", ad_dtype_name(a->dtype),
                     ad_dtype_name(b->dtype));
  systems s;
  const char *wrong = systems_of(a, b, vector, &s);
  char p[192], q[192];
  if (wrong)
    return ad_refuse(op, AD_ERROR_SHAPE, "%s, %s and %s", wrong, ad_type_print(*a, p, sizeof p),
                     ad_type_print(*b, q, sizeof q));
  int64_t dim[AD_MAX_RANK];
  for (int i = 0; i < s.batch; i++) dim[s.batch - 1 - i] = s.all[i];
  dim[s.batch] = s.n;
  if (!vector) dim[s.batch + 1] = s.k;
  if (s.k > INT_MAX) return ad_refuse(op, AD_ERROR_SIZE, "too many right hand sides");
  op->z = ad_type_make(a->dtype, s.batch + 2 - vector, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

void systems_next(const systems *s, systems_place *at, int64_t step_a) {
  int64_t step_b = s->n*s->k;
  for (int i = 0; i < s->batch; i++) {
    const int64_t step = at->index[i] + 1 < s->all[i] ? 1 : 1 - s->all[i];
    at->index[i] += step;
    if (s->a[i] > 1) at->a += step*step_a;
    if (s->b[i] > 1) at->b += step*step_b;
    if (step == 1) return;
    step_a *= s->a[i];
    step_b *= s->b[i];
  }
}

void systems_write(ad_writer *w, const systems *s, const char *call, const char *z, const char *const x[],
                   int64_t step_a) {
  written_loops l = { .w = w, .axes = s->batch, .arrays = 3 };
  int64_t step_b = s->n*s->k, step = step_b, a = step_a;
  for (int i = 0; i < s->batch; i++) {
    l.axis[i].size = s->all[i];
    l.axis[i].step[0] = s->b[i] > 1 ? step_b : 0;
    l.axis[i].step[1] = s->a[i] > 1 ? a : 0;
    l.axis[i].step[2] = step;
    step_b *= s->b[i];
    a *= s->a[i];
    step *= s->all[i];
  }
  written_loops_open(&l);
  ad_write(w, "for (int64_t i = 0; i < %" PRId64 "; i++) (%s + %s)[i] = (%s + %s)[i];", s->n*s->k, z,
           l.offset[2], x[0], l.offset[0]);
  ad_write(w, "if (%s, %" PRId64 ", %" PRId64 ", %s + %s, %s + %s)) {", call, s->n, s->k, x[1], l.offset[1],
           z, l.offset[2]);
  ad_write_failure(w, AD_ERROR_SINGULAR);
  ad_write(w, "}");
  written_loops_close(&l);
}

ad_var systems_apply(const systems *s, bool transposed, ad_var a, ad_var z) {
  return product_record((product){ .tx = transposed, .no_n = s->vector, .rank = (uint8_t)s->batch }, a, z);
}

ad_var systems_outer(const systems *s, ad_var x, ad_var y) {
  product p = { .ty = !s->vector, .no_k = s->vector, .rank = (uint8_t)s->batch_a };
  for (int i = 0; i < s->batch; i++)
    if (s->a[i] == 1 && s->all[i] != 1) p.sum = (uint8_t)(p.sum | 1u << i);
  return product_record(p, x, y);
}

bool systems_align(const ad_batch *b, const systems *s, ad_var x[]) {
  const int last = b->op->n - 1;
  for (int k = 0; k <= last; k++) {
    const int rank = b->op->x[k]->rank + s->batch - (k == last ? s->batch_b : s->batch_a);
    if (b->batched[k] && rank >= AD_MAX_RANK) return false;
    x[k] = b->batched[k] ? batch_align(b, k, rank) : b->x[k];
  }
  return true;
}

/* --- lu_solve: the kernel ------------------------------------------------------------------------------- */

static systems systems_here(const ad_operation *op) {
  systems s;
  systems_of(op->x[0], op->x[2], ((const solution *)op->attribute)->vector, &s);
  return s;
}

static bool are_factors(const ad_type *a, const ad_type *lu) {
  ad_type want = *a;
  if (a->rank >= 2) want.dim[a->rank - 2]++;
  return ad_type_equal(*lu, want);
}

static ad_status lu_solve_type(ad_operation *op) {
  if (!are_factors(op->x[0], op->x[1])) return ad_refuse(op, AD_ERROR_SHAPE, "not the factors of the matrix");
  return systems_type(op, op->x[2], ((const solution *)op->attribute)->vector);
}

/* Vectors that share one matrix are solved for together: they come one after the other in b and in z. */
static int64_t together(const ad_operation *op, const systems *s) {
  const int64_t count = ad_type_count(op->z)/(s->n*s->k);
  const bool shared = axes_product(op->x[0], 0, op->x[0]->rank - 2) == 1;
  return shared && s->k == 1 ? count : 1;
}

typedef bool solve_function(const lapack *l, bool transposed, int n, int k, int64_t count, const void *lu,
                            void *z, int *pivot);

static ad_status lu_solve_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const solution *how = op->attribute;
  const size_t width = ad_dtype_bytes(op->z.dtype), bytes = ad_type_bytes(op->z);
  const lapack *l = lapack_find();
  if (bytes == 0) return AD_OK;
  if (!l) return AD_ERROR_UNSUPPORTED;
  const systems s = systems_here(op);
  const int64_t group = together(op, &s);
  solve_function *const solve = op->z.dtype == AD_F64 ? solve_f64 : solve_f32;
  const size_t each = (size_t)(group*s.n*s.k)*width;
  systems_place at = { 0 };
  for (char *to = z, *end = to + bytes; to < end; to += each) {
    const char *lu = (const char *)x[1] + (size_t)at.a*width;
    memcpy(to, (const char *)x[2] + (size_t)at.b*width, each);
    if (!solve(l, how->transposed, (int)s.n, (int)s.k, group, lu, to, scratch)) return AD_ERROR_SINGULAR;
    systems_next(&s, &at, (s.n + 1)*s.n);
  }
  return AD_OK;
}

static ad_status lu_solve_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const systems s = systems_here(op);
  const bool transposed = ((const solution *)op->attribute)->transposed;
  const char *call[2] = { x[2], x[1] };
  char before[112];
  if (ad_type_count(op->z) == 0) return AD_OK;
  snprintf(before, sizeof before, "%s(%d", written_solve(w, op->z.dtype), transposed);
  systems_write(w, &s, before, z, call, (s.n + 1)*s.n);
  return AD_OK;
}

/* --- lu_solve: derivatives ------------------------------------------------------------------------------ */

/* a z = b:   zdot = a^-1 (bdot - adot z); transposed throughout for a^T z = b. */
static ad_var lu_solve_jvp(ad_rule *r, int k) {
  const solution how = *(const solution *)r->op->attribute;
  const systems s = systems_here(r->op);
  if (k == 2) return lu_solve_record(r->x[0], r->x[1], r->g, how);
  return lu_solve_record(r->x[0], r->x[1], ad_neg(systems_apply(&s, how.transposed, r->g, r->z)), how);
}

/* a z = b:   bbar = a^-T zbar,  abar = -bbar z^T;     a^T z = b:   bbar = a^-1 zbar,  abar = -z bbar^T. */
static ad_var lu_solve_vjp(ad_rule *r, int k) {
  const solution how = *(const solution *)r->op->attribute, back = { !how.transposed, how.vector };
  const systems s = systems_here(r->op);
  ad_var bbar = lu_solve_record(r->x[0], r->x[1], r->g, back);
  if (k == 2) return sum_to_shape(bbar, *r->op->x[2]);
  bbar = ad_neg(bbar);
  return how.transposed ? systems_outer(&s, r->z, bbar) : systems_outer(&s, bbar, r->z);
}

static ad_var lu_solve_batch(const ad_batch *b) {
  const systems s = systems_here(b->op);
  ad_var x[3];
  if (b->batched[0] != b->batched[1] || !systems_align(b, &s, x)) return ad_none();
  return batch_result(b, lu_solve_record(x[0], x[1], x[2], *(const solution *)b->op->attribute));
}

/* 2 n^2 for each right hand side. Of the matrix only the shape is looked at. */
static void lu_solve_work(const ad_operation *op, ad_work *w) {
  w->flops = 2*(double)ad_type_count(op->z)*(double)op->x[0]->dim[op->x[0]->rank - 1];
  w->bytes_read -= (double)ad_type_bytes(*op->x[0]);
}

static const ad_primitive lu_solve_primitive = {
  .name = "solve", .doc = "solution of a linear system by the factors of its matrix", .linear_in = 4,
  .not_connected = 2, .type = lu_solve_type, .run = lu_solve_run, .work = lu_solve_work,
  .scratch_bytes = pivot_bytes,
  .jvp = lu_solve_jvp, .vjp = lu_solve_vjp, .batch = lu_solve_batch, .write = lu_solve_write,
};

ad_var lu_solve_record(ad_var a, ad_var lu, ad_var b, solution how) {
  const ad_var x[3] = { a, lu, b };
  return ad_record(ad_tape_of(3, x), &lu_solve_primitive, 3, x, &how, sizeof how);
}

ad_var matrix_transposed(ad_var x) {
  const int rank = ad_type_of(x).rank;
  int perm[AD_MAX_RANK];
  if (rank < 2) return x;
  for (int d = 0; d < rank; d++) perm[d] = d < rank - 2 ? d : 2*rank - 3 - d;
  return ad_transpose(x, perm);
}

/* --- recording ------------------------------------------------------------------------------------------ */

bool system_given(const char *name, ad_var *a, ad_var *b, bool *vector) {
  const ad_var x[2] = { *a, *b };
  const ad_type ta = ad_type_of(*a), tb = ad_type_of(*b);
  if (!matrix_given(name, *a) || tb.rank < 0) return false;
  *vector = tb.rank == 1;
  if (tb.rank == 0) {
    ad_fail(ad_tape_of(2, x), AD_ERROR_SHAPE, "%s: the right hand side is a number", name);
    return false;
  }
  ad_dtype dtype = ad_dtype_promote(ta.dtype, tb.dtype);
  if (dtype < AD_F32) dtype = AD_F64;
  *a = cast_to(*a, dtype);
  *b = cast_to(*b, dtype);
  return true;
}

ad_var ad_solve(ad_var a, ad_var b) {
  bool vector;
  if (!system_given("solve", &a, &b, &vector)) return invalid_of(2, (ad_var[]){ a, b });
  return lu_solve_record(a, lu_record(a), b, (solution){ .vector = vector });
}

/* The matrix of ones on the diagonal broadcasts to the batch. */
ad_var lu_inverse(ad_tape *t, ad_var a, ad_var lu, bool transposed) {
  const ad_type type = ad_type_of(a);
  if (type.rank < 2) return a;
  const int64_t n = type.dim[type.rank - 1];
  return lu_solve_record(a, lu, ad_eye(t, n, n, 0, type.dtype), (solution){ .transposed = transposed });
}

ad_var ad_inv(ad_var a) {
  if (!matrix_given("inv", a)) return invalid_of(1, &a);
  a = matrix_of_floats(a);
  return lu_inverse(ad_tape_of(1, &a), a, lu_record(a), false);
}
