/* logsumexp.c -- z = log sum exp x over axes, without overflow and without cancellation.
 *
 * With m the largest element: z = m + log(sum of exp(x - m)). Where m is small and the sum below 2, only the
 * largest element gives 1, and z = m + log1p(sum over the others) keeps terms that the sum has rounded away.
 * Exponentials below the smallest normal number are 0: subnormal ones would cost much and change nothing. A
 * row of -inf gives -inf, a row with +inf gives +inf, nan gives nan.
 *
 * The weight of an element in the derivative is exp(x - z). Where z is infinite the elements equal to it
 * share equally, as two do in logaddexp: that is the limit where there is one.
 */
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "base/parallel.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/elementwise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const ad_primitive logsumexp_primitive, weights_primitive;

enum { BUFFER = 1024 };

/* What is subtracted from x: its largest element m, or 0 where that is infinite or nan. */
static double shift_of(double m) { return m - m == 0 ? m : 0; }

/* True where z = shift + log(sum) may have lost terms that matter. */
static bool is_coarse(double shift, double sum) { return sum >= 1 && sum < 2 && fabs(shift) < 1; }

static void log_of_f64(int64_t n, double *z, const double *x) {
  kernels_best()->row[AD_F64][ROW_log]((size_t)n, z, x, NULL, NULL, 0);
}

#define REAL double
#define LEAST (-708.0)
#define TINY 4e-308                  /* a little above exp(LEAST) */
#define EXP(n, z, x) kernels_best()->row[AD_F64][ROW_exp](n, z, x, NULL, NULL, 0)
#define NAME(name) logsumexp_f64_##name
#define PEAK max_of_f64
#include "primitives/logsumexp.inc"

#define REAL float
#define LEAST (-87.0f)
#define TINY 1.7e-38f
#define EXP(n, z, x) kernels_best()->row[AD_F32][ROW_exp](n, z, x, NULL, NULL, 0)
#define NAME(name) logsumexp_f32_##name
#define PEAK max_of_f32
#include "primitives/logsumexp.inc"
#include "primitives/work.h"

const reduction_kernel *logsumexp_kernel(const ad_operation *op) {
  if (op->primitive != &logsumexp_primitive) return NULL;
  return op->z.dtype == AD_F32 ? &logsumexp_f32_kernel : &logsumexp_f64_kernel;
}

/* --- weights of (x, z, g): y = g exp(x - z), z and g of the reduced shape ------------------------------- */

static ad_var record_weights(const ad_rule *r, ad_var x, ad_var z, ad_var g) {
  const ad_var operands[] = { x, z, g };
  return ad_record(r->tape, &weights_primitive, 3, operands, r->op->attribute, r->op->attribute_size);
}

static ad_status weights_type(ad_operation *op) {
  ad_status status = reduction_type(op, op->x[0]->dtype);
  if (status != AD_OK) return status;
  if (!ad_type_equal(op->z, *op->x[1]) || !ad_type_equal(op->z, *op->x[2]))
    return ad_refuse(op, AD_ERROR_SHAPE, "operands of different types");
  op->z = *op->x[0];
  return AD_OK;
}

/* Lines, or columns of a tile, `along` of them and so many at once. */
typedef struct weights_job {
  reduction_plan plan;
  bool f64, lines;
  int64_t along, most, tiles;
  void *y;
  const void *const *v;
} weights_job;

static void weights_task(const void *context, int64_t i) {
  const weights_job *j = context;
  const int64_t first = i%j->tiles*j->most, rest = j->along - first, w = rest < j->most ? rest : j->most;
  if (j->lines)
    (j->f64 ? logsumexp_f64_short_lines : logsumexp_f32_short_lines)(&j->plan, first, w, j->y, j->v);
  else (j->f64 ? logsumexp_f64_tile : logsumexp_f32_tile)(&j->plan, i/j->tiles, first, w, j->y, j->v);
}

static ad_status weights_run(const ad_operation *op, void *y, const void *const v[], void *scratch) {
  (void)scratch;
  weights_job j = { .plan = reduction_plan_of(op->x[0], ((const reduction *)op->attribute)->mask),
                    .f64 = op->z.dtype == AD_F64, .y = y, .v = v };
  const reduction_plan *plan = &j.plan;
  j.lines = plan->width == 1 && plan->segments == 1 && plan->kept <= 1 && plan->rows <= BUFFER/2;
  j.most = j.lines ? BUFFER : REDUCE_COLUMNS;
  j.along = j.lines ? plan->outer : plan->width;
  j.tiles = (j.along + j.most - 1)/j.most;
  if (plan->elements > 0)
    parallel_tasks(plan->elements, j.lines ? j.tiles : plan->outer*j.tiles, 1, weights_task, &j);
  return AD_OK;
}

/* --- written -------------------------------------------------------------------------------------------- */

static const char *write_exponential(ad_writer *w, ad_dtype dtype) {
  static const char text[] =
    "/* exp(d); what would be subnormal is 0. */\n"
    "static inline REAL HELPER(normal_exp)(REAL d) {\n"
    "  const REAL e = MATH(exp)(d < C(%s) ? C(%s) : d);\n"
    "  return e <= C(%s) ? 0 : e;\n"
    "}\n"
    "\n"
    "static inline REAL HELPER(below_one)(REAL e) { return e == 1 ? 0 : e; }\n";
  const char *const least = dtype == AD_F32 ? "-87.0" : "-708.0";
  const char *const tiny = dtype == AD_F32 ? "1.7e-38" : "4e-308";
  char routine[sizeof text + 40];
  snprintf(routine, sizeof routine, text, least, least, tiny);
  return ad_write_routine(w, dtype, "normal_exp", routine);
}

/* y = g exp(x - z); where z is infinite, the elements equal to it share. */
static ad_status weights_write(ad_writer *w, const ad_operation *op, const char *y, const char *const v[]) {
  const written_walk a = written_walk_of(op->x[0], ((const reduction *)op->attribute)->mask);
  const char *type = ad_write_type(op->z.dtype), *exponential = write_exponential(w, op->z.dtype);
  char at[WRITTEN_INDEX], of_z[WRITTEN_INDEX];
  if (ad_type_count(op->z) == 0) return AD_OK;
  written_index(of_z, a.kept, a.z, 0);
  written_index(at, a.rank, a.x, 0);
  write_open_loops(w, a.dim, 0, a.kept);
  ad_write(w, "const %s sum = %s[%s], factor = %s[%s];", type, v[1], of_z, v[2], of_z);
  ad_write(w, "if (sum == (%s)INFINITY || sum == -(%s)INFINITY) {", type, type);
  ad_write(w, "int64_t count = 0;");
  write_open_loops(w, a.dim, a.kept, a.rank);
  ad_write(w, "count += %s[%s] == sum;", v[0], at);
  write_close_loops(w, a.rank - a.kept);
  write_open_loops(w, a.dim, a.kept, a.rank);
  ad_write(w, "%s[%s] = %s[%s] == sum ? factor/(%s)count : 0;", y, at, v[0], at, type);
  write_close_loops(w, a.rank - a.kept);
  ad_write(w, "} else {");
  write_open_loops(w, a.dim, a.kept, a.rank);
  ad_write(w, "%s[%s] = factor*%s(%s[%s] - sum);", y, at, exponential, v[0], at);
  write_close_loops(w, a.rank - a.kept);
  ad_write(w, "}");
  write_close_loops(w, a.kept);
  return AD_OK;
}

static void write_logsumexp(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold total = { "sum_exp", "R",
                                      "(R)HELPER(normal_exp)(v - c)", "a + b", "0", "REAL" };
  static const written_fold rest = { "sum_exp_below", "R",
                                     "(R)HELPER(below_one)(HELPER(normal_exp)(v - c))", "a + b", "0",
                                     "REAL" };
  const ad_dtype dtype = op->z.dtype;
  const char *type = ad_write_type(dtype), *real = ad_write_type(AD_F64);
  char sum[WRITTEN_CALL];
  write_exponential(w, dtype);
  ad_write(w, "const %s peak = %s;", type, written_fold_call(w, sum, dtype, &written_max, line, NULL));
  ad_write(w, "const %s shift = peak - peak == 0 ? peak : 0;", type);
  ad_write(w, "const %s sum = %s;", real, written_fold_call(w, sum, dtype, &total, line, "shift"));
  ad_write(w, "if (sum >= 1 && sum < 2 && shift > -1 && shift < 1)");
  ad_write(w, "  %s = (%s)((%s)shift + M(log1p)(%s));", z, type, real,
           written_fold_call(w, sum, dtype, &rest, line, "shift"));
  ad_write(w, "else %s = (%s)((%s)shift + M(log)(sum));", z, type, real);
}

static ad_status logsumexp_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_logsumexp, "-INFINITY");
}

/* ydot = y xdot, -y zdot, and the weights themselves of gdot */
static ad_var weights_jvp(ad_rule *r, int k) {
  if (k == 0) return ad_mul(r->z, r->g);
  if (k == 1) return ad_neg(ad_mul(r->z, reduction_kept(r, r->g)));
  return record_weights(r, r->x[0], r->x[1], r->g);
}

static ad_var weights_vjp(ad_rule *r, int k) {
  if (k == 0) return ad_mul(r->z, r->g);
  if (k == 1) return ad_neg(reduction_sum(r, ad_mul(r->z, r->g)));
  ad_var ones = ad_ones(r->tape, *r->op->x[1]);
  return reduction_sum(r, ad_mul(record_weights(r, r->x[0], r->x[1], ones), r->g));
}

static ad_var weights_reach(ad_rule *r, int k) {
  (void)k;
  return reduction_kept(r, r->g);
}

static void weights_work(const ad_operation *op, ad_work *w) {
  work_fold_twice(op, w);
  w->calls = (double)ad_type_count(op->z);
}

static const ad_primitive weights_primitive = {
  .name = "logsumexp_weights", .doc = "g*exp(x - z), the slope of logsumexp",
  .traits = AD_TRAIT_FINITE_WEIGHTS | AD_TRAIT_CONNECTS_ALL, .linear_in = 4,
  .type = weights_type, .run = weights_run, .work = weights_work, .jvp = weights_jvp, .vjp = weights_vjp,
  .reach = weights_reach, .batch = reduction_batch, .trail = trail_alike, .write = weights_write };

/* --- logsumexp ------------------------------------------------------------------------------------------ */

static ad_status logsumexp_type(ad_operation *op) {
  if (op->x[0]->dtype < AD_F32) return ad_refuse(op, AD_ERROR_DTYPE, "takes floats");
  return reduction_type(op, op->x[0]->dtype);
}

/* zdot = sum exp(x - z) xdot */
static ad_var logsumexp_jvp(ad_rule *r, int k) {
  (void)k;
  ad_var weights = record_weights(r, r->x[0], r->z, ad_ones(r->tape, r->op->z));
  return reduction_sum(r, ad_mul(weights, r->g));
}

/* xbar = zbar exp(x - z) */
static ad_var logsumexp_vjp(ad_rule *r, int k) {
  (void)k;
  return record_weights(r, r->x[0], r->z, r->g);
}

/* The largest, a difference, an exponential and a sum for each element; a logarithm and a sum at the end. */
static void logsumexp_work(const ad_operation *op, ad_work *w) {
  const double n = (double)ad_type_count(*op->x[0]), m = (double)ad_type_count(op->z);
  w->flops = 3*n + m;
  w->calls = n + m;
}

static const ad_primitive logsumexp_primitive = {
  .name = "logsumexp", .doc = "logarithm of the sum of exponentials over axes, without overflow",
  .traits = AD_TRAIT_FINITE_WEIGHTS | AD_TRAIT_CONNECTS_ALL,
  .type = logsumexp_type, .run = reduction_run, .work = logsumexp_work, .scratch_bytes = reduction_scratch,
  .jvp = logsumexp_jvp, .vjp = logsumexp_vjp, .batch = reduction_batch, .trail = trail_alike,
  .write = logsumexp_write };

ad_var ad_logsumexp(ad_var x, ad_axes axes, bool keep) {
  const ad_type t = ad_type_of(x);
  ad_type z;
  if (t.rank >= 0 && t.dtype < AD_F32) x = cast_to(x, AD_F64);
  if (reduction_is_reshape(x, axes, keep, &z)) return ad_reshape(x, z.rank, z.dim);
  return reduction_record(&logsumexp_primitive, x, axes, keep);
}
