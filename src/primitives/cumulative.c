/* cumulative.c -- running sums and products along an axis, and the recurrence that their derivatives are.
 *
 * Everything here is a scan: rows in order, forward or in reverse, each from the row before. f32 is carried
 * in f64 and rounded row by row; bool, i32 and i64 give i64 and wrap. With e the row before (in scan order):
 *   cumsum        z[i] = z[e] + x[i]
 *   cumprod       z[i] = z[e] x[i];             exclusive: z[i] = z[e] x[e], beginning with 1
 *   recurrence    z[i] = x[i] z[e] + y[i];      lagged:    z[i] = x[e] z[e] + y[i]
 *   shift         z[i] = x[e], beginning with 0
 * The tangent of cumprod is a recurrence, the adjoint of a recurrence is the recurrence in the other
 * direction with the other lag: so all of them are closed under differentiation, in O(n), and none divides.
 */
#include "primitives/cumulative.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

/* late: exclusive, lagged. */
typedef struct scan_attribute { int32_t axis; uint32_t reverse, late; } scan_attribute;

static const ad_primitive cumsum_primitive, cumprod_primitive, recurrence_primitive, shift_primitive;

/* --- kernels -------------------------------------------------------------------------------------------- */

enum { SCAN_COLUMNS = 64 };

/* n rows of `columns` neighbouring elements; the pointers are at the first row in scan order, step leads to
 * the next. */
typedef struct scan { int64_t n, step, columns; } scan;

typedef void scan_kernel(const scan *s, void *z, const void *x, const void *y);

#ifdef __GNUC__
#  define INLINE static inline __attribute__((always_inline))
#else
#  define INLINE static inline
#endif

/* body sees the row number i, the column j, the element v, and the state s of the column, which begins as
 * `first`. The case of one column is compiled on its own: there the state is a register. */
#define SCAN(name, T, R, A, first, body)                                               \
  INLINE void name##_columns(const scan *l, int64_t w, R *z, const T *x, const T *y) { \
    A state[SCAN_COLUMNS];                                                             \
    for (int64_t j = 0; j < w; j++) state[j] = first;                                  \
    for (int64_t i = 0; i < l->n; i++) {                                               \
      for (int64_t j = 0; j < w; j++) {                                                \
        const A v = (A)x[i*l->step + j];                                               \
        A s = state[j];                                                                \
        R *to = &z[i*l->step + j];                                                     \
        body;                                                                          \
        state[j] = s;                                                                  \
      }                                                                                \
    }                                                                                  \
    (void)y;                                                                           \
  }                                                                                    \
  static void name(const scan *l, void *z, const void *x, const void *y) {             \
    if (l->columns == 1) name##_columns(l, 1, z, x, y);                                \
    else name##_columns(l, l->columns, z, x, y);                                       \
  }
#define ROW_OF(A, y) ((A)(y)[i*l->step + j])

/* -0 is what changes no sum: the first element comes out as it is. */
#define SUM(T, R, A, suffix, zero) SCAN(cumsum_##suffix, T, R, A, zero, { s += v; *to = (R)s; })
#define PRODUCT(T, R, A, suffix)                              \
  SCAN(cumprod_##suffix, T, R, A, 1, { s *= v; *to = (R)s; }) \
  SCAN(cumprod_late_##suffix, T, R, A, 1, { *to = (R)s; s *= v; })
#define RECURRENCE(T, suffix)                                                                        \
  SCAN(recurrence_##suffix, T, T, double, 0, { s = ROW_OF(double, y) + (i ? v*s : 0); *to = (T)s; }) \
  SCAN(recurrence_late_##suffix, T, T, double, 0, { s += ROW_OF(double, y); *to = (T)s; s *= v; })
#define SHIFT(T, suffix) SCAN(shift_##suffix, T, T, T, 0, { *to = s; s = v; })

SUM(double, double, double, f64, -0.0)
SUM(float, float, double, f32, -0.0)
SUM(int64_t, int64_t, uint64_t, i64, 0)
SUM(int32_t, int64_t, uint64_t, i32, 0)
SUM(uint8_t, int64_t, uint64_t, bool, 0)
PRODUCT(double, double, double, f64)
PRODUCT(float, float, double, f32)
PRODUCT(int64_t, int64_t, uint64_t, i64)
PRODUCT(int32_t, int64_t, uint64_t, i32)
PRODUCT(uint8_t, int64_t, uint64_t, bool)
RECURRENCE(double, f64)
RECURRENCE(float, f32)
SHIFT(double, f64)
SHIFT(float, f32)

#define ALL(name) { name##bool, name##i32, name##i64, name##f32, name##f64 }
#define FLOATS(name) { NULL, NULL, NULL, name##f32, name##f64 }
static scan_kernel *const cumsum_kernels[AD_DTYPES] = ALL(cumsum_);
static scan_kernel *const cumprod_kernels[2][AD_DTYPES] = { ALL(cumprod_), ALL(cumprod_late_) };
static scan_kernel *const recurrence_kernels[2][AD_DTYPES] = { FLOATS(recurrence_),
                                                               FLOATS(recurrence_late_) };
static scan_kernel *const shift_kernels[AD_DTYPES] = FLOATS(shift_);

/* A kernel and its arrays of (.., n, inner) elements, as bytes; y may be NULL. */
typedef struct scan_job {
  scan_kernel *kernel;
  char *z;
  const char *x, *y;
  int64_t z_size, x_size, n, inner, tiles;
  bool reverse;
} scan_job;

/* Task i: a tile of neighbouring lines. */
static void run_tile(const void *context, int64_t i) {
  const scan_job *j = context;
  const int64_t first = i%j->tiles*SCAN_COLUMNS, left = j->inner - first;
  const int64_t at = i/j->tiles*j->n*j->inner + first + (j->reverse ? (j->n - 1)*j->inner : 0);
  const scan s = { j->n, j->reverse ? -j->inner : j->inner, left < SCAN_COLUMNS ? left : SCAN_COLUMNS };
  j->kernel(&s, j->z + at*j->z_size, j->x + at*j->x_size, j->y ? j->y + at*j->x_size : NULL);
}

/* Runs the kernel on every line along the axis. */
static ad_status run_scan(const ad_operation *op, scan_kernel *kernel, void *z, const void *x,
                          const void *y) {
  const scan_attribute *a = op->attribute;
  const ad_type *t = op->x[0];
  const int64_t inner = axes_product(t, a->axis + 1, t->rank);
  const scan_job j = { .kernel = kernel, .z = z, .x = x, .y = y,
                       .z_size = (int64_t)ad_dtype_bytes(op->z.dtype),
                       .x_size = (int64_t)ad_dtype_bytes(t->dtype),
                       .n = t->dim[a->axis], .inner = inner,
                       .tiles = (inner + SCAN_COLUMNS - 1)/SCAN_COLUMNS, .reverse = a->reverse != 0 };
  if (j.n > 0) parallel_tasks(ad_type_count(*t), axes_product(t, 0, a->axis)*j.tiles, 16, run_tile, &j);
  return AD_OK;
}

/* The scan, written: one line of elements after the other, with a state of its own. body sees the place `at`
 * of the row, the row's number i, and the state. */
static ad_status write_scan(ad_writer *w, const ad_operation *op, const char *first,
                            const char *const body[]) {
  const scan_attribute *a = op->attribute;
  const ad_type *t = op->x[0];
  const long long n = t->dim[a->axis], inner = axes_product(t, a->axis + 1, t->rank);
  const char *type = op->z.dtype < AD_F32 ? "uint64_t" : ad_write_type(AD_F64);
  if (ad_type_count(*t) == 0) return AD_OK;
  ad_write(w, "for (int64_t k = 0; k < %lld; k += %lld) {", (long long)ad_type_count(*t), n*inner);
  ad_write(w, "for (int64_t j = 0; j < %lld; j++) {", inner);
  ad_write(w, "%s state = %s;", type, first);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", n);
  if (a->reverse) ad_write(w, "const int64_t at = k + (%lld - i)*%lld + j;", n - 1, inner);
  else ad_write(w, "const int64_t at = k + i*%lld + j;", inner);
  for (int s = 0; body[s]; s++) ad_write(w, "%s", body[s]);
  write_close_loops(w, 3);
  return AD_OK;
}

enum { STATEMENT = 256 };

/* "z[at] = (type)state;" */
static void written_store(char to[STATEMENT], const ad_operation *op, const char *z) {
  snprintf(to, STATEMENT, "%s[at] = (%s)state;", z, ad_write_type(op->z.dtype));
}

/* The element of x at this row, in the state's type. */
static void written_load(char to[STATEMENT], const ad_operation *op, const char *x) {
  snprintf(to, STATEMENT, "(%s)%s[at]", op->z.dtype < AD_F32 ? "uint64_t" : ad_write_type(AD_F64), x);
}

/* --- recording ------------------------------------------------------------------------------------------ */

static ad_status scan_type(ad_operation *op) {
  const scan_attribute *a = op->attribute;
  const ad_dtype d = op->x[0]->dtype;
  if (a->axis < 0 || a->axis >= op->x[0]->rank) return refuse_axis(op, a->axis, op->x[0]);
  op->z = *op->x[0];
  op->z.dtype = d < AD_F32 ? AD_I64 : d;
  return AD_OK;
}

static ad_var record_scan(const ad_primitive *p, int n, const ad_var x[], scan_attribute a) {
  return ad_record(NULL, p, n, x, &a, sizeof a);
}

static ad_var record_along(const ad_primitive *p, ad_var x, int axis) {
  const ad_type t = ad_type_of(x);
  if (t.rank >= 0 && axis_resolve(axis, t.rank) < 0) return fail_axis(x, p->name, axis);
  const int a = t.rank < 0 ? 0 : axis_resolve(axis, t.rank);
  if (t.rank > 0 && t.dim[a] == 1) return cast_to(x, t.dtype < AD_F32 ? AD_I64 : t.dtype);
  return record_scan(p, 1, &x, (scan_attribute){ a, 0, 0 });
}

static scan_attribute attribute_of(const ad_rule *r) { return *(const scan_attribute *)r->op->attribute; }
static scan_attribute turned(scan_attribute a) { return (scan_attribute){ a.axis, !a.reverse, a.late }; }

/* --- shift ---------------------------------------------------------------------------------------------- */

static ad_var shifted(ad_var x, scan_attribute a) {
  a.late = 0;
  return record_scan(&shift_primitive, 1, &x, a);
}

static ad_status shift_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  return run_scan(op, shift_kernels[op->z.dtype], z, x[0], NULL);
}

static ad_status shift_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char store[STATEMENT], load[STATEMENT], next[2*STATEMENT];
  written_store(store, op, z);
  written_load(load, op, x[0]);
  snprintf(next, sizeof next, "state = %s;", load);
  return write_scan(w, op, "0", (const char *const[]){ store, next, NULL });
}

static ad_var shift_vjp(ad_rule *r, int k) {
  (void)k;
  return shifted(r->g, turned(attribute_of(r)));
}

static const ad_primitive shift_primitive = {
  .name = "shift", .doc = "the element before, 0 for the first, along an axis",
  .traits = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS,
  .type = scan_type, .run = shift_run, .work = work_move,
  .vjp = shift_vjp,
  .batch = batch_along_narrow, .trail = trail_alike, .write = shift_write };

/* --- cumsum; its adjoint sums from the other end -------------------------------------------------------- */

static ad_status cumsum_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  return run_scan(op, cumsum_kernels[op->x[0]->dtype], z, x[0], NULL);
}

static ad_status cumsum_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char store[STATEMENT], load[STATEMENT], next[2*STATEMENT];
  written_store(store, op, z);
  written_load(load, op, x[0]);
  snprintf(next, sizeof next, "state += %s;", load);
  return write_scan(w, op, op->z.dtype < AD_F32 ? "0" : "-0.0f", (const char *const[]){ next, store, NULL });
}

static ad_var cumsum_vjp(ad_rule *r, int k) {
  (void)k;
  return record_scan(&cumsum_primitive, 1, &r->g, turned(attribute_of(r)));
}

static const ad_primitive cumsum_primitive = { .name = "cumsum",
                                               .doc = "sums of the elements so far, along an axis",
                                               .traits = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS
                                                         | AD_TRAIT_NEVER_FAILS,
                                               .type = scan_type,
                                               .run = cumsum_run,
                                               .work = work_fold,
                                               .vjp = cumsum_vjp,
                                               .batch = batch_along_narrow, .trail = trail_alike,
                                               .write = cumsum_write };

ad_var ad_cumsum(ad_var x, int axis) { return record_along(&cumsum_primitive, x, axis); }

/* --- recurrence: z[i] = x[i] z[e] + y[i], lagged with x[e] ---------------------------------------------- */

static ad_var recurrence(ad_var x, ad_var y, scan_attribute a) {
  return record_scan(&recurrence_primitive, 2, (const ad_var[]){ x, y }, a);
}

static ad_status recurrence_type(ad_operation *op) {
  if (!ad_type_equal(*op->x[0], *op->x[1])) return ad_refuse(op, AD_ERROR_SHAPE, "operands of two types");
  return scan_type(op);
}

static ad_status recurrence_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const scan_attribute *a = op->attribute;
  return run_scan(op, recurrence_kernels[a->late][op->z.dtype], z, x[0], x[1]);
}

static ad_status recurrence_write(ad_writer *w, const ad_operation *op, const char *z,
                                  const char *const x[]) {
  char store[STATEMENT], factor[STATEMENT], term[STATEMENT], add[3*STATEMENT], multiply[2*STATEMENT];
  const bool late = ((const scan_attribute *)op->attribute)->late;
  written_store(store, op, z);
  written_load(factor, op, x[0]);
  written_load(term, op, x[1]);
  if (late) snprintf(add, sizeof add, "state += %s;", term);
  else snprintf(add, sizeof add, "state = %s + (i ? %s*state : 0);", term, factor);
  snprintf(multiply, sizeof multiply, "state *= %s;", factor);
  return write_scan(w, op, "0", (const char *const[]){ add, store, late ? multiply : NULL, NULL });
}

/* zdot[i] = x[i] zdot[e] + (xdot[i] z[e] + ydot[i]), lagged with x[e] and xdot[e] */
static ad_var recurrence_jvp(ad_rule *r, int k) {
  const scan_attribute a = attribute_of(r);
  if (k == 1) return recurrence(r->x[0], r->g, a);
  ad_var y = a.late ? shifted(ad_mul(r->g, r->z), a) : ad_mul(r->g, shifted(r->z, a));
  return recurrence(r->x[0], y, a);
}

/* With f the row after: ybar[i] = zbar[i] + x[f] ybar[f], lagged with x[i]; xbar[i] = ybar[i] z[e], lagged
 * ybar[f] z[i] */
static ad_var recurrence_vjp(ad_rule *r, int k) {
  const scan_attribute a = attribute_of(r);
  ad_var ybar = recurrence(r->x[0], r->g, (scan_attribute){ a.axis, !a.reverse, !a.late });
  if (k == 1) return ybar;
  return a.late ? ad_mul(shifted(ybar, turned(a)), r->z) : ad_mul(ybar, shifted(r->z, a));
}

/* z[i] has a term with y[i] and with all before it. */
static ad_var recurrence_reach(ad_rule *r, int k) {
  scan_attribute a = attribute_of(r);
  (void)k;
  a.late = 0;
  return ad_greater(record_scan(&cumsum_primitive, 1, &r->g, a), 0);
}

static const ad_primitive recurrence_primitive = {
  .name = "recurrence", .doc = "z = x times the z before, plus y, along an axis",
  .traits = AD_TRAIT_FINITE_WEIGHTS, .linear_in = 2,
  .type = recurrence_type, .run = recurrence_run, .work = work_fold_twice,
  .jvp = recurrence_jvp, .vjp = recurrence_vjp,
  .reach = recurrence_reach, .batch = batch_along_narrow, .trail = trail_alike, .write = recurrence_write };

/* --- cumprod -------------------------------------------------------------------------------------------- */

static ad_status cumprod_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const scan_attribute *a = op->attribute;
  return run_scan(op, cumprod_kernels[a->late][op->x[0]->dtype], z, x[0], NULL);
}

static ad_status cumprod_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  char store[STATEMENT], load[STATEMENT], next[2*STATEMENT];
  const bool late = ((const scan_attribute *)op->attribute)->late;
  written_store(store, op, z);
  written_load(load, op, x[0]);
  snprintf(next, sizeof next, "state *= %s;", load);
  return write_scan(w, op, "1", (const char *const[]){ late ? store : next, late ? next : store, NULL });
}

/* exclusive: zdot[i] = x[e] zdot[e] + xdot[e] z[e] */
ad_var cumprod_exclusive_jvp(ad_var x, ad_var z, ad_var g, int axis, bool reverse) {
  const scan_attribute a = { axis, reverse, 1 };
  return recurrence(x, shifted(ad_mul(g, z), a), a);
}

/* With f the row after: l[i] = zbar[i] + x[i] l[f], xbar[i] = l[f] z[i] */
ad_var cumprod_exclusive_vjp(ad_var x, ad_var z, ad_var g, int axis, bool reverse) {
  const scan_attribute back = { axis, !reverse, 0 };
  return ad_mul(shifted(recurrence(x, g, back), back), z);
}

ad_var cumprod_exclusive(ad_var x, int axis, bool reverse) {
  return record_scan(&cumprod_primitive, 1, &x, (scan_attribute){ axis, reverse, 1 });
}

/* zdot[i] = x[i] zdot[e] + z[e] xdot[i], and z[e] is the exclusive product */
static ad_var cumprod_jvp(ad_rule *r, int k) {
  (void)k;
  const scan_attribute a = attribute_of(r);
  if (a.late) return cumprod_exclusive_jvp(r->x[0], r->z, r->g, a.axis, a.reverse != 0);
  return recurrence(r->x[0], ad_mul(r->g, cumprod_exclusive(r->x[0], a.axis, a.reverse != 0)), a);
}

/* l[i] = zbar[i] + x[f] l[f], xbar[i] = l[i] z[e] */
static ad_var cumprod_vjp(ad_rule *r, int k) {
  (void)k;
  const scan_attribute a = attribute_of(r);
  if (a.late) return cumprod_exclusive_vjp(r->x[0], r->z, r->g, a.axis, a.reverse != 0);
  ad_var l = recurrence(r->x[0], r->g, (scan_attribute){ a.axis, !a.reverse, 1 });
  return ad_mul(l, cumprod_exclusive(r->x[0], a.axis, a.reverse != 0));
}

static const ad_primitive cumprod_primitive = {
  .name = "cumprod", .doc = "products of the elements so far, along an axis",
  .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = scan_type, .run = cumprod_run, .work = work_fold, .jvp = cumprod_jvp, .vjp = cumprod_vjp,
  .batch = batch_along_narrow, .trail = trail_alike, .write = cumprod_write };

ad_var ad_cumprod(ad_var x, int axis) { return record_along(&cumprod_primitive, x, axis); }
