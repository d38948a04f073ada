/* reduce_sum.c -- sums over axes, and what is made of them: mean, variance.
 *
 * Floats are summed in f64, by the tree of reduce.h; f32 sums are rounded once, at the end. bool, i32 and
 * i64 sum in i64 and wrap.
 */
#include "primitives/elements.h"
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "primitives/axes.h"
#include "primitives/batching.h"

#include <math.h>
#include <string.h>

static const ad_primitive sum_primitive, variance_primitive;

/* --- folds: z = sum x ----------------------------------------------------------------------------------- */

#define FOLD(name) sum_f64_##name
#define KERNEL const reduction_kernel sum_of_f64
#define ELEMENT double
#define CELL f64
#define COMBINE(a, b) ((a) + (b))
#include "primitives/fold.inc"

#define FOLD(name) sum_f32_##name
#define KERNEL const reduction_kernel sum_of_f32
#define ELEMENT float
#define ACC double
#define CELL f64
#define TERM(x) ((double)(x))
#define COMBINE(a, b) ((a) + (b))
#define FINISH(a) ((float)(a))
#include "primitives/fold.inc"

#define FOLD(name) sum_i64_##name
#define KERNEL static const reduction_kernel sum_of_i64
#define ELEMENT int64_t
#define ACC uint64_t
#define CELL u64
#define TERM(x) ((uint64_t)(x))
#define COMBINE(a, b) ((a) + (b))
#define FINISH(a) ((int64_t)(a))
#include "primitives/fold.inc"

#define FOLD(name) sum_i32_##name
#define KERNEL static const reduction_kernel sum_of_i32
#define ELEMENT int32_t
#define RESULT int64_t
#define ACC int64_t
#define CELL i64
#define COMBINE(a, b) ((a) + (b))
#include "primitives/fold.inc"
#include "primitives/work.h"

#define FOLD(name) sum_bool_##name
#define KERNEL static const reduction_kernel sum_of_bool
#define ELEMENT uint8_t
#define RESULT int64_t
#define ACC int64_t
#define CELL i64
#define COMBINE(a, b) ((a) + (b))
#include "primitives/fold.inc"

/* --- folds: z = sum (x - mean)^2/divisor, the mean in a first pass -------------------------------------- */

/* What variance is asked for. The divisor is n - ddof, at least 0. */
typedef struct variance_attribute {
  reduction r;
  double divisor;
} variance_attribute;

enum { BUFFER = 1024 };

/* Pass 0 sums x; the shift becomes the mean. Pass 1 sums the squares of what is left. */
#define VARIANCE(T, suffix)                                                                                  \
  /* term = (x - mean)^2 */                                                                                  \
  static void squares_##suffix(int64_t m, int64_t w, const T *restrict x, int64_t stride,                    \
                               const double *mean, double *restrict term) {                                  \
    const double only = mean[0];                                                                             \
    if (w == 1 && stride == 1) {                                                                             \
      REDUCE_SIMD for (int64_t i = 0; i < m; i++) term[i] = ((double)x[i] - only)*((double)x[i] - only);     \
    } else for (int64_t i = 0; i < m; i++)                                                                   \
      REDUCE_SIMD for (int64_t j = 0; j < w; j++) {                                                          \
        const double d = (double)x[i*stride + j] - mean[j];                                                  \
        term[i*w + j] = d*d;                                                                                 \
      }                                                                                                      \
  }                                                                                                          \
  static void variance_##suffix##_rows(reduction_partial *p, int64_t n, const void *vx, int64_t stride) {    \
    const T *x = vx;                                                                                         \
    const int64_t most = BUFFER/p->columns;                                                                  \
    double term[BUFFER];                                                                                     \
    if (p->pass == 0) {                                                                                      \
      sum_##suffix##_rows(p, n, x, stride);                                                                  \
      return;                                                                                                \
    }                                                                                                        \
    for (int64_t m; n > 0; n -= m, x += m*stride) {                                                          \
      m = n < most ? n : most;                                                                               \
      squares_##suffix(m, p->columns, x, stride, p->shift, term);                                            \
      sum_f64_rows(p, m, term, p->columns);                                                                  \
    }                                                                                                        \
  }                                                                                                          \
  static bool variance_##suffix##_end(reduction_partial *p, void *vz) {                                      \
    T *z = vz;                                                                                               \
    const double divisor = ((const variance_attribute *)p->attribute)->divisor;                              \
    const double n = (double)(p->blocks*REDUCE_BLOCK) + (double)p->filled;                                   \
    double sum[REDUCE_COLUMNS];                                                                              \
    sum_f64_end(p, sum);                                                                                     \
    for (int64_t j = 0; j < p->columns; j++) {                                                               \
      p->shift[j] = sum[j]/n;                                                                                \
      if (p->pass == 1) z[j] = (T)(sum[j]/divisor);                                                          \
    }                                                                                                        \
    return p->pass++ == 0;                                                                                   \
  }                                                                                                          \
  static const reduction_kernel variance_of_##suffix = {                                                     \
    .begin = sum_f64_begin, .rows = variance_##suffix##_rows,                                                \
    .end = variance_##suffix##_end, .join = sum_f64_join };
VARIANCE(double, f64)
VARIANCE(float, f32)

const reduction_kernel *sum_kernel(const ad_operation *op) {
  static const reduction_kernel *const sums[AD_DTYPES] = { &sum_of_bool, &sum_of_i32, &sum_of_i64,
                                                           &sum_of_f32, &sum_of_f64 };
  if (op->primitive == &sum_primitive) return sums[op->x[0]->dtype];
  if (op->primitive != &variance_primitive) return NULL;
  return op->z.dtype == AD_F32 ? &variance_of_f32 : &variance_of_f64;
}

/* --- sum ------------------------------------------------------------------------------------------------ */

static ad_status sum_type(ad_operation *op) {
  const ad_dtype d = op->x[0]->dtype;
  return reduction_type(op, d < AD_F32 ? AD_I64 : d);
}

static const written_fold *sum_fold(const ad_operation *op) {
  static const written_fold of_integers = { "sum", "uint64_t", "(uint64_t)v", "a + b", "0", NULL };
  return op->x[0]->dtype < AD_F32 ? &of_integers : &written_sum;
}

static void write_sum(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  char sum[WRITTEN_CALL];
  written_fold_call(w, sum, op->x[0]->dtype, sum_fold(op), line, NULL);
  ad_write(w, "%s = (%s)%s;", z, ad_write_type(op->z.dtype), sum);
}

static ad_status sum_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_fold_lines(w, op, z, x[0], sum_fold(op), write_sum);
}

/* xbar = zbar, for every element that went into z */
static ad_var sum_vjp(ad_rule *r, int k) {
  (void)k;
  return reduction_spread(r, r->g);
}

/* Which element of z element e of x comes to. */
static int64_t reduced_element(const ad_type *x, unsigned mask, int64_t e) {
  int64_t at = 0, step = 1;
  for (int d = x->rank; d-- > 0; e /= x->dim[d]) {
    if (mask >> d & 1) continue;
    at += e%x->dim[d]*step;
    step *= x->dim[d];
  }
  return at;
}

/* The scalars of z as sums of those of x. */
static bool sum_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]) {
  const ad_type *t = op->x[0];
  const unsigned mask = ((const reduction *)op->attribute)->mask;
  const int64_t count = ad_type_count(op->z);
  bool good = true;
  for (int64_t e = 0; e < count; e++) z[e] = ad_none();
  for (int64_t e = 0; e < ad_type_count(*t) && good; e++) {
    ad_var *to = &z[reduced_element(t, mask, e)];
    const ad_var v = cast_to(x[0][e], op->z.dtype);
    *to = ad_is_none(*to) ? v : ad_add(*to, v);
    good = ad_is_valid(*to);
  }
  for (int64_t e = 0; e < count && good; e++)
    if (ad_is_none(z[e])) z[e] = zero_element(tape, op->z.dtype);
  return good;
}

static const ad_primitive sum_primitive = {
  .name = "sum", .doc = "sum over axes",
  .traits = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS | AD_TRAIT_NEVER_FAILS,
  .type = sum_type, .run = reduction_run, .work = work_fold,
  .scratch_bytes = reduction_scratch, .vjp = sum_vjp,
  .batch = reduction_batch, .trail = trail_alike, .write = sum_write, .elements = sum_elements };

ad_var ad_sum(ad_var x, ad_axes axes, bool keep) {
  ad_type z;
  if (!reduction_is_reshape(x, axes, keep, &z)) return reduction_record(&sum_primitive, x, axes, keep);
  return ad_reshape(cast_to(x, z.dtype < AD_F32 ? AD_I64 : z.dtype), z.rank, z.dim);
}

/* --- mean = (sum x)/n ----------------------------------------------------------------------------------- */

static ad_var float_of(ad_var x) { return ad_type_of(x).dtype < AD_F32 ? cast_to(x, AD_F64) : x; }

ad_var ad_mean(ad_var x, ad_axes axes, bool keep) {
  const ad_type t = ad_type_of(x);
  ad_var sum = ad_sum(float_of(x), axes, keep);
  unsigned mask;
  if (!ad_is_valid(sum) || t.rank < 0 || !axes_resolve(axes, t.rank, &mask)) return sum;
  const int64_t n = reduction_count(&t, mask);
  return n == 1 ? sum : ad_div(sum, (double)n);
}

/* --- variance = sum (x - mean)^2/divisor ---------------------------------------------------------------- */

static ad_status variance_type(ad_operation *op) { return reduction_type(op, op->x[0]->dtype); }

static void write_variance(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold squares = { "squares_about", "R", "((R)v - c)*((R)v - c)", "a + b", "0", "R" };
  const double divisor = ((const variance_attribute *)op->attribute)->divisor;
  const ad_dtype dtype = op->x[0]->dtype;
  const char *real = ad_write_type(AD_F64);
  char sum[WRITTEN_CALL];
  ad_write(w, "const %s mean = %s/(%s)%lld;", real,
           written_fold_call(w, sum, dtype, &written_sum, line, NULL), real, (long long)line->n);
  ad_write(w, "%s = (%s)(%s/(%s)%.0f);", z, ad_write_type(dtype),
           written_fold_call(w, sum, dtype, &squares, line, "mean"), real, divisor);
}

static ad_status variance_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const variance_attribute *a = op->attribute;
  return write_lines(w, op, a->r.mask, z, x[0], write_variance, a->divisor > 0 ? "0" : "NAN");
}

/* dz/dx = (x - mean)*2/divisor: the mean's own contribution is a sum of x - mean, which is 0. */
static ad_var variance_slope(const ad_rule *r) {
  const reduction a = ((const variance_attribute *)r->op->attribute)->r;
  const double divisor = ((const variance_attribute *)r->op->attribute)->divisor;
  ad_axes axes = { 0, { 0 } };
  for (int d = 0; d < r->op->x[0]->rank; d++)
    if (a.mask >> d & 1) axes.axis[axes.count++] = d;
  return ad_mul(ad_sub(r->x[0], ad_mean(r->x[0], axes, true)), 2/divisor);
}

static ad_var variance_jvp(ad_rule *r, int k) {
  (void)k;
  return reduction_sum(r, ad_mul(variance_slope(r), r->g));
}
static ad_var variance_vjp(ad_rule *r, int k) {
  (void)k;
  return ad_mul(variance_slope(r), reduction_kept(r, r->g));
}

/* The mean, a difference, its square and their sum. */
static void variance_work(const ad_operation *op, ad_work *w) {
  w->flops = 4*(double)ad_type_count(*op->x[0]);
}

static const ad_primitive variance_primitive = {
  .name = "variance", .doc = "mean square of the distances from the mean, over axes",
  .type = variance_type, .run = reduction_run, .work = variance_work, .scratch_bytes = reduction_scratch,
  .jvp = variance_jvp, .vjp = variance_vjp, .batch = reduction_batch, .trail = trail_alike,
  .write = variance_write };

ad_var ad_variance(ad_var x, ad_axes axes, bool keep, int ddof) {
  const ad_type t = ad_type_of(x);
  unsigned mask = 0;
  x = float_of(x);
  if (t.rank < 0 || !axes_resolve(axes, t.rank, &mask))
    return reduction_record(&variance_primitive, x, axes, keep);      /* leaves the error */
  const double divisor = (double)reduction_count(&t, mask) - ddof;
  variance_attribute a;
  memset(&a, 0, sizeof a);
  a.r = (reduction){ mask, keep };
  a.divisor = divisor > 0 ? divisor : 0;
  return ad_record(NULL, &variance_primitive, 1, &x, &a, sizeof a);
}
