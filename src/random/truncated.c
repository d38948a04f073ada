/* truncated.c -- a normal variable within an interval, by inversion.
 *
 * Standardised, to a <= e <= b: e solves Q(e) = Q(b) + (1 - u)(Q(a) - Q(b)) with u uniform on [0, 1) and Q
 * the upper tail erfc(e/sqrt 2)/2. Where the right side is more than 1/2, or a < 0 and b too, the same is
 * done for -e, so that Q is always a small number that is known to full relative accuracy. u is f64 whatever
 * the dtype. By implicit differentiation, with the density phi,
 *
 *   de/da = (1 - u) phi(a)/phi(e) = (1 - u) exp((e^2 - a^2)/2),    de/db = u exp((e^2 - b^2)/2).
 *
 * Source for the derivatives: Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", 2018.
 */
#include "random/record.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "base/parallel.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/work.h"
#include "random/random_text.h"

#include <math.h>

#undef ad_random_truncated_normal

static double upper_tail(double x) { return 0.5*erfc(x*0.70710678118654752440); }

/* The x >= 0 with Q(x) = q, 0 < q <= 1/2: formula 26.2.23 of Abramowitz and Stegun, Handbook of mathematical
 * functions, to 4.5e-4; then Halley's step twice, which is cubic: with h = (Q - q)/phi, Q'' = x phi, it is
 * x + h/(1 - x h/2). */
static double quantile(double q) {
  const double t = sqrt(-2*log(q));
  double x = t - (2.515517 + t*(0.802853 + t*0.010328))/(1 + t*(1.432788 + t*(0.189269 + t*0.001308)));
  for (int step = 0; step < 2; step++) {
    const double h = (upper_tail(x) - q)*2.50662827463100050242*exp(0.5*x*x);
    x += h/(1 - 0.5*x*h);
  }
  return x;
}

/* 0 < u < 1 */
static double between(double u, double a, double b) {
  if (!(a <= b)) return NAN;
  if (a < 0 && -a > b) return -between(1 - u, -b, -a);            /* the side that reaches further is above */
  const double top = upper_tail(a), bottom = upper_tail(b), q = bottom + (1 - u)*(top - bottom);
  const double lower = upper_tail(-a) + u*(top - bottom);           /* 1 - q without cancellation */
  const double e = q <= 0.5 ? quantile(q) : -quantile(lower);
  return e < a ? a : e > b ? b : e;
}

/* u is a multiple of 2^-53, and 0 stands for half of that. */
static double truncated(double u, double a, double b) { return between(u > 0 ? u : 0x1p-54, a, b); }

static ad_status truncated_type(ad_operation *op) {
  for (int k = 0; k < 2; k++)
    if (!ad_type_equal(type_with_dtype(op->x[k], op->x[2]->dtype), *op->x[2]))
      return ad_refuse(op, AD_ERROR_SHAPE, "operands of different types");
  op->z = *op->x[2];
  return AD_OK;
}

static void truncated_range(bool wide, int64_t begin, int64_t end, void *z, const void *const x[]) {
  const double *u = x[0], *a = x[1], *b = x[2];
  const float *a32 = x[1], *b32 = x[2];
  for (int64_t i = begin; i < end; i++) {
    if (wide) ((double *)z)[i] = truncated(u[i], a[i], b[i]);
    else ((float *)z)[i] = (float)truncated(u[i], (double)a32[i], (double)b32[i]);
  }
}

static ad_status truncated_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int64_t n = ad_type_count(op->z);
  const bool wide = op->z.dtype == AD_F64;
  const int parts = n < PARALLEL_ELEMENTS/16 ? 1 : PARALLEL_PARTS;
  if (parts == 1) {
    truncated_range(wide, 0, n, z, x);
    return AD_OK;
  }
  PARALLEL_FOR
  for (int w = 0; w < parts; w++)
    truncated_range(wide, part_begin(n, w, parts), part_begin(n, w + 1, parts), z, x);
  return AD_OK;
}

/* An infinite end moves nothing, and is not connected. */
static ad_var truncated_jvp(ad_rule *r, int k) {
  const ad_var finite = ad_is_finite(r->x[k]), end = ad_select(finite, r->x[k], 0);
  const ad_var part = k == 1 ? ad_sub(1, r->x[0]) : r->x[0];
  const ad_var ratio = ad_exp(ad_mul(0.5, ad_mul(ad_sub(r->z, end), ad_add(r->z, end))));
  r->connected = finite;
  return ad_mul(ad_mul(ad_cast(part, r->op->z.dtype), ratio), r->g);
}

static const ad_primitive truncated_primitive = {
  .name = "random_truncated_normal", .doc = "a standard normal variable within an interval, of a uniform one",
  .not_connected = 1, .type = truncated_type, .run = truncated_run, .work = work_call, .jvp = truncated_jvp,
  .vjp = truncated_jvp, .batch = batch_leading, .write = truncated_write };

/* (end - mean)/deviation, and an infinite end as it is. */
static ad_var standardised(ad_tape *tape, ad_var end, ad_var mean, ad_var deviation, ad_type type) {
  end = operand_with_dtype(tape, end, type.dtype);
  end = ad_select(ad_is_finite(end), ad_div(ad_sub(end, mean), deviation), end);
  return operand_with_shape(end, &type);
}

ad_var ad_random_truncated_normal(ad_var key, ad_var mean, ad_var deviation, ad_var low, ad_var high,
                                  ad_type type) {
  static const char *const what[4] = { "the mean", "the deviation", "low", "high" };
  const char *name = truncated_primitive.name;
  ad_var x[5] = { mean, deviation, low, high, key }, operand[3];
  ad_tape *tape = ad_tape_of(5, x);
  if (!random_is_float(tape, name, type)) return random_failed(tape);
  for (int k = 0; k < 4; k++) {
    x[k] = random_parameter(tape, name, what[k], x[k], type);
    if (!ad_is_valid(x[k])) return x[k];
  }
  operand[0] = random_standard(tape, name, RANDOM_UNIFORM, key, type_with_dtype(&type, AD_F64));
  for (int k = 1; k < 3; k++) operand[k] = standardised(tape, x[k + 1], x[0], x[1], type);
  const ad_var e = ad_record(tape, &truncated_primitive, 3, operand, NULL, 0);
  return ad_add(x[0], ad_mul(x[1], e));
}
