/* reduce_norm.c -- the Euclidean norm over axes.
 *
 * z = sqrt(sum x^2). f32 is squared and summed in f64, where nothing overflows. f64 is summed as it is;
 * where the sum is infinite, or so small that squares may have underflowed, it is summed again with x times
 * 2^-600 or 2^600.
 */
#include "primitives/reduce_write.h"

#include "adit/elementwise.h"
#include "primitives/axes.h"
#include "primitives/batching.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const ad_primitive norm_primitive;

#define FOLD(name) squares_f64_##name
#define KERNEL static const reduction_kernel squares_of_f64
#define ELEMENT double
#define CELL f64
#define TERM(x) ((x)*(x))
#define COMBINE(a, b) ((a) + (b))
#include "primitives/fold.inc"

#define FOLD(name) norm_f32_##name
#define KERNEL static const reduction_kernel norm_of_f32
#define ELEMENT float
#define ACC double
#define CELL f64
#define TERM(x) ((double)(x)*(double)(x))
#define COMBINE(a, b) ((a) + (b))
#define FINISH(a) ((float)sqrt(a))
#include "primitives/fold.inc"
#include "primitives/work.h"

/* What makes the sum of squares s safe: 1 where it is. An element that matters is above 2^-512 where s is
 * above 2^-900; one whose square overflows is above 2^511, and so scaled, has a square that does not
 * underflow. */
static double scale_of(double s) { return s > DBL_MAX ? 0x1p-600 : s < 0x1p-900 ? 0x1p600 : 1; }

enum { BUFFER = 1024 };

/* Pass 1: the shift of each column is its scale. */
static void norm_rows(reduction_partial *p, int64_t n, const void *vx, int64_t stride) {
  const double *x = vx;
  const int64_t w = p->columns, most = BUFFER/w;
  double buffer[BUFFER];
  if (p->pass == 0) {
    squares_of_f64.rows(p, n, x, stride);
    return;
  }
  for (int64_t m; n > 0; n -= m) {
    m = n < most ? n : most;
    for (int64_t i = 0; i < m; i++, x += stride)
      for (int64_t j = 0; j < w; j++) buffer[i*w + j] = x[j]*p->shift[j];
    squares_of_f64.rows(p, m, buffer, w);
  }
}

static bool norm_end(reduction_partial *p, void *vz) {
  double *z = vz;
  bool again = false;
  squares_of_f64.end(p, z);
  for (int64_t j = 0; j < p->columns; j++) {
    const double scale = p->pass ? p->shift[j] : 1;
    p->shift[j] = p->pass ? 1 : scale_of(z[j]);
    again |= p->shift[j] != 1;
    z[j] = sqrt(z[j])/scale;
  }
  p->pass++;
  return again;
}

/* Short rows that need the second pass take the long way, one by one. */
static void norm_lines(int64_t lines, int64_t n, const void *vx, void *vz) {
  const double *x = vx;
  double *z = vz;
  squares_of_f64.lines(lines, n, x, z);
  for (int64_t i = 0; i < lines; i++) {
    reduction_partial p;
    if (scale_of(z[i]) == 1) {
      z[i] = sqrt(z[i]);
      continue;
    }
    p.pass = 0;
    do {
      squares_of_f64.begin(&p, 1);
      norm_rows(&p, n, x + i*n, 1);
    } while (norm_end(&p, &z[i]));
  }
}

const reduction_kernel *norm_kernel(const ad_operation *op) {
  static const reduction_kernel norm_of_f64 = { .begin = squares_f64_begin,
                                                .rows = norm_rows,
                                                .end = norm_end,
                                                .join = squares_f64_join,
                                                .lines = norm_lines };
  if (op->primitive != &norm_primitive) return NULL;
  return op->z.dtype == AD_F32 ? &norm_of_f32 : &norm_of_f64;
}

/* Written in double whatever the file's real numbers are: so the limits above hold. */
static void write_norm(ad_writer *w, const ad_operation *op, const char *z, const written_line *line) {
  static const written_fold squares = { "squares", "double",
                                        "((double)v*c)*((double)v*c)", "a + b", "0", "double" };
  const ad_dtype dtype = op->z.dtype;
  char sum[WRITTEN_CALL];
  ad_write(w, "double sum = %s;", written_fold_call(w, sum, dtype, &squares, line, "1"));
  ad_write(w, "const double scale = sum > 0x1.fffffffffffffp+1023 ? 0x1p-600 : sum < 0x1p-900 ? 0x1p+600 "
              ": 1;");
  ad_write(w, "if (scale != 1) sum = %s;", written_fold_call(w, sum, dtype, &squares, line, "scale"));
  ad_write(w, "%s = (%s)(sqrt(sum)/scale);", z, ad_write_type(dtype));
}

static ad_status norm_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  return write_lines(w, op, ((const reduction *)op->attribute)->mask, z, x[0], write_norm, "0");
}

static ad_status norm_type(ad_operation *op) {
  if (op->x[0]->dtype < AD_F32) return ad_refuse(op, AD_ERROR_DTYPE, "takes floats");
  return reduction_type(op, op->x[0]->dtype);
}

/* x/z, and 0 where z is: z + 1 there, so that nothing divides by 0. As hypot, the zero vector is not
 * connected. */
static ad_var slope(const ad_rule *r, ad_var *connected) {
  ad_var z = reduction_kept(r, r->z), zero = ad_equal(z, 0);
  *connected = ad_logical_not(zero);
  ad_var divisor = ad_add(z, ad_cast(zero, r->op->z.dtype));
  return ad_div(r->x[0], divisor);
}

/* zdot = sum (x/z) xdot */
static ad_var norm_jvp(ad_rule *r, int k) {
  (void)k;
  ad_var connected, weights = slope(r, &connected);
  r->connected = ad_reshape(connected, r->op->z.rank, r->op->z.dim);
  return reduction_sum(r, ad_mul(weights, r->g));
}

/* xbar = (x/z) zbar */
static ad_var norm_vjp(ad_rule *r, int k) {
  (void)k;
  ad_var connected, weights = slope(r, &connected);
  r->connected = ad_broadcast_to(connected, r->op->x[0]->rank, r->op->x[0]->dim);
  return ad_mul(weights, reduction_kept(r, r->g));
}

static void norm_work(const ad_operation *op, ad_work *w) {
  work_fold_twice(op, w);
  w->calls = (double)ad_type_count(op->z);
}

static const ad_primitive norm_primitive = {
  .name = "norm",
  .doc = "square root of the sum of squares over axes, without overflow; slope 0 at the zero vector",
  .traits = AD_TRAIT_FINITE_WEIGHTS,
  .type = norm_type, .run = reduction_run, .work = norm_work, .scratch_bytes = reduction_scratch,
  .jvp = norm_jvp, .vjp = norm_vjp, .batch = reduction_batch, .trail = trail_alike, .write = norm_write };

ad_var ad_norm(ad_var x, ad_axes axes, bool keep) {
  const ad_type t = ad_type_of(x);
  ad_type z;
  if (t.rank >= 0 && t.dtype < AD_F32) x = cast_to(x, AD_F64);
  if (reduction_is_reshape(x, axes, keep, &z)) return ad_reshape(ad_abs(x), z.rank, z.dim);
  return reduction_record(&norm_primitive, x, axes, keep);
}
