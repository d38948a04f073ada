/* Which states of loops have cotangents, and which loops become one: against closed forms, and by what is
 * recorded. */
#include "check.h"
#include "failing.h"

#include "adit.h"
#include "function/carrier.h"

#include <math.h>

enum { U, V, COUNT, A, B, STEPS };

/* u <- b u, v <- v + a u, count <- count + 1 while count < steps. */
static void more(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[COUNT], in[STEPS]);
}
static void step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[U] = ad_mul(in[B], in[U]);
  out[V] = ad_add(in[V], ad_mul(in[A], out[U]));
  out[COUNT] = ad_add(in[COUNT], ad_integer(1));
}

typedef struct series { ad_dtype dtype; bool sum; } series;

/* (u0, v0, a, b, steps) -> u, or v: u0 b^n, or v0 + a u0 (b + .. + b^n). */
static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const series *s = context;
  const ad_type real = ad_type_make(s->dtype, 0, NULL);
  const ad_type types[6] = { real, real, AD_I64(), real, real, AD_I64() };
  ad_function *condition = ad_function_trace("more", more, NULL, 6, types, 1);
  ad_function *body = ad_function_trace("step", step, NULL, 6, types, 3);
  const int64_t zero = 0;
  ad_var end[3];
  ad_while(condition, body, &(ad_loop){ .limit = 50 },
           (const ad_var[]){ in[0], in[1], ad_constant(t, AD_I64(), &zero), in[2], in[3], in[4] }, end);
  out[0] = end[s->sum ? V : U];
  ad_function_free(body);
  ad_function_free(condition);
}

/* The first adjoint of a loop in f's body; NULL: none. */
static const carrier *adjoint_in(const ad_function *f) {
  size_t size;
  for (uint32_t i = 0; i < f->body->count; i++)
    if (!node_is_leaf(f->body, i) && node_primitive(f->body, i) == &adjoint_primitives[CARRIER_SCAN])
      return node_attribute(f->body, i, &size);
  return NULL;
}

static ad_function *trace_series(series *s) {
  const ad_type real = ad_type_make(s->dtype, 0, NULL);
  const ad_type types[5] = { real, real, real, real, AD_I64() };
  return ad_function_trace("series", series_body, s, 5, types, 1);
}

/* value and gradient by the four numbers against the closed form, if memory lasts. */
static bool check_call(ad_function *g, ad_dtype dtype, bool sum, int64_t n, double tolerance) {
  const double u0 = 1.5, v0 = -0.25, a = 0.75, b = 1.125;
  double x[4] = { u0, v0, a, b }, z[5] = { 0 }, total = 0, slope = 0;
  float x32[4] = { 1.5f, -0.25f, 0.75f, 1.125f }, z32[5] = { 0 };
  const void *in[5] = { x, x + 1, x + 2, x + 3, &n };
  void *out[5];
  for (int k = 0; k < 4 && dtype == AD_F32; k++) in[k] = x32 + k;
  for (int k = 0; k < 5; k++) out[k] = dtype == AD_F32 ? (void *)(z32 + k) : (void *)(z + k);
  for (int64_t k = 1; k <= n; k++) total += pow(b, (double)k), slope += (double)k*pow(b, (double)k - 1);
  const ad_status status = ad_function_call(g, in, out, NULL);
  CHECK(status == AD_OK || status == AD_ERROR_MEMORY);
  if (status != AD_OK) return false;
  for (int k = 0; k < 5 && dtype == AD_F32; k++) z[k] = (double)z32[k];
  const double m = (double)n, power = pow(b, m);
  const double want_u[5] = { u0*power, power, 0, 0, n ? m*u0*pow(b, m - 1) : 0 };
  const double want_v[5] = { v0 + a*u0*total, a*total, 1, u0*total, a*u0*slope };
  for (int k = 0; k < 5; k++) CHECK_NUMBER(z[k], sum ? want_v[k] : want_u[k], tolerance);
  return true;
}
static void check_series(ad_function *g, ad_dtype dtype, bool sum, int64_t n, double tolerance) {
  CHECK(check_call(g, dtype, sum, n, tolerance));
}

static void test_series(ad_dtype dtype, bool sum, double tolerance) {
  series s = { dtype, sum };
  ad_function *f = trace_series(&s);
  ad_function *g = f ? ad_function_gradient(f, 4, (const int[]){ 0, 1, 2, 3 }) : NULL;
  if (!CHECK(g != NULL)) return;
  const carrier *c = adjoint_in(g);
  if (CHECK(c != NULL)) {
    CHECK(!still_in(c)[U] && still_in(c)[V] == !sum);
    CHECK(active_in(c)[U] && active_in(c)[V] == sum && active_in(c)[A] == sum && active_in(c)[B]);
  }
  const int64_t n[4] = { 0, 1, 2, 17 };
  for (int k = 0; k < 4; k++) check_series(g, dtype, sum, n[k], tolerance);
  ad_function_compile(g, NULL, NULL);
  for (int k = 0; k < 4; k++) check_series(g, dtype, sum, n[k], tolerance);
  ad_function_free(g);
  ad_function_free(f);
}

/* What no active input reaches has no cotangent, though it is asked for: u, and rows of x alone. */
static void reached_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], in[2]);
  out[1] = ad_add(in[1], out[0]);
  out[2] = ad_square(in[2]);
  out[3] = ad_mul(in[1], in[2]);
}
static void unreached_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type number = AD_F64(), types[3] = { number, number, number };
  ad_function *f = ad_function_trace("reached", reached_body, NULL, 3, types, 4);
  ad_var z[4];
  (void)t, (void)context;
  ad_scan(f, 2, NULL, in, z);
  out[0] = ad_add(ad_add(z[0], z[1]), ad_sum(ad_add(z[2], z[3]), AD_ALL_AXES, false));
  ad_function_free(f);
}

/* By v alone: v_n + the sum of v_i x_i, v_i = v + something: 1 + the sum of x. */
static void test_unreached(void) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace("unreached", unreached_body, NULL, 3, types, 1),
              *g = f ? ad_function_gradient(f, 1, (const int[]){ 1 }) : NULL;
  const double u = 0.5, v = -0.25, x[3] = { 2, -1, 0.5 };
  double slope = 0;
  const carrier *c = g ? adjoint_in(g) : NULL;
  if (!CHECK(c != NULL)) return;
  CHECK(!active_out(c)[0] && active_out(c)[1] && !active_out(c)[2] && active_out(c)[3]);
  CHECK(!active_in(c)[0] && active_in(c)[1] && !active_in(c)[2]);
  CHECK_STATUS(ad_function_call(g, (const void *[]){ &u, &v, x }, (void *[]){ NULL, &slope }, NULL), AD_OK);
  CHECK_NUMBER(slope, 1 + 2 - 1 + 0.5, 1e-15);
  ad_function_free(g);
  ad_function_free(f);
}

/* u does not depend on a: nothing is recorded for its cotangent. */
static void test_nothing(void) {
  series s = { AD_F64, false };
  ad_function *f = trace_series(&s), *g = f ? ad_function_gradient(f, 1, (const int[]){ 2 }) : NULL;
  const double x[4] = { 1.5, -0.25, 0.75, 1.125 };
  const int64_t n = 5;
  double value = 0, slope = 1;
  CHECK(g && !adjoint_in(g));
  if (g) CHECK(ad_function_call(g, (const void *[]){ x, x + 1, x + 2, x + 3, &n },
                                (void *[]){ &value, &slope }, NULL) == AD_OK);
  CHECK_NUMBER(value, 1.5*pow(1.125, 5), 1e-14);
  CHECK(slope == 0);
  ad_function_free(g);
  ad_function_free(f);
}

/* d/db of dv/db: the adjoint of the tangent loop, in which v's tangent reaches no cotangent but its own. */
static void test_second(void) {
  series s = { AD_F64, true };
  ad_function *f = trace_series(&s), *h = f ? ad_function_hessian(f, 1, (const int[]){ 3 }) : NULL;
  const double x[4] = { 1.5, -0.25, 0.75, 1.125 };
  double second = 0, want = 0;
  const int64_t n = 9;
  for (int k = 2; k <= n; k++) want += 0.75*1.5*k*(k - 1)*pow(1.125, k - 2);
  if (CHECK(h != NULL))
    CHECK(ad_function_call(h, (const void *[]){ x, x + 1, x + 2, x + 3, &n }, (void *[]){ &second }, NULL)
          == AD_OK);
  CHECK_NUMBER(second, want, 1e-13);
  ad_function_free(h);
  ad_function_free(f);
}

/* --- loops that become one ------------------------------------------------------------------------------ */

static int count_of(const ad_function *f, const ad_primitive *p, const carrier **last) {
  int n = 0;
  size_t size;
  for (uint32_t i = 0; i < f->body->count; i++)
    if (!node_is_leaf(f->body, i) && node_primitive(f->body, i) == p) {
      if (last) *last = node_attribute(f->body, i, &size);
      n++;
    }
  return n;
}

static int loops_in(const ad_function *f, const carrier **last) {
  return count_of(f, &carrier_primitives[CARRIER_LOOP], last);
}

static int scans_in(const ad_function *f, const carrier **last) {
  return count_of(f, &carrier_primitives[CARRIER_SCAN], last);
}

/* y and its tangents by each of some inputs, one ad_jvp for each. */
static void tangents(const ad_var y, int n, const ad_var x[], ad_var out[]) {
  for (int k = 0; k < n; k++) {
    const ad_var one = ad_ones(y.tape, ad_type_of(x[k]));
    ad_jvp(1, &x[k], &one, 1, &y, &out[k]);
  }
}

/* As series_body, with tangents by all four numbers. */
static void series_tangents(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  series_body(t, in, out, context);
  tangents(out[0], 4, in, out + 1);
}

/* The states are u, v, count, and tangents: of u and v by u0 and b, of v by v0 and a. Where u is asked for, v
 * has none. */
static void test_directions(ad_dtype dtype, bool sum, double tolerance) {
  series s = { dtype, sum };
  const ad_type real = ad_type_make(dtype, 0, NULL);
  const ad_type types[5] = { real, real, real, real, AD_I64() };
  ad_function *f = ad_function_trace("tangents", series_tangents, &s, 5, types, 5);
  const carrier *c = NULL;
  if (!CHECK(f != NULL)) return;
  if (CHECK(loops_in(f, &c) == 1)) CHECK(c->n_out == (sum ? 3 + 6 : 3 + 2));
  const int64_t n[4] = { 0, 1, 2, 17 };
  for (int k = 0; k < 4; k++) check_series(f, dtype, sum, n[k], tolerance);
  ad_function_compile(f, NULL, NULL);
  for (int k = 0; k < 4; k++) check_series(f, dtype, sum, n[k], tolerance);
  const int64_t many = 51;
  double x[4] = { 0 }, z[5];
  const void *in[5] = { x, x, x, x, &many };
  void *out[5] = { z, z + 1, z + 2, z + 3, z + 4 };
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_ERROR_LIMIT);
  ad_function_free(f);
}

/* Second derivatives by ad_jvp of ad_jvp: all is one loop, too, and so is the gradient's own, of each. */
static void second_tangents(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var first = ad_none();
  series_body(t, in, out, context);
  tangents(out[0], 1, &in[3], &first);
  tangents(first, 1, &in[3], &out[1]);
  tangents(first, 1, &in[0], &out[2]);
  out[3] = first;
}

static void test_orders(void) {
  series s = { AD_F64, true };
  const ad_type types[5] = { AD_F64(), AD_F64(), AD_F64(), AD_F64(), AD_I64() };
  ad_function *f = ad_function_trace("second", second_tangents, &s, 5, types, 4);
  const double x[4] = { 1.5, -0.25, 0.75, 1.125 };
  const int64_t n = 9;
  double z[4] = { 0 }, total = 0, slope = 0, second = 0;
  for (int k = 1; k <= n; k++) {
    total += pow(1.125, k), slope += k*pow(1.125, k - 1);
    second += k*(k - 1)*pow(1.125, k - 2);
  }
  if (!CHECK(f && loops_in(f, NULL) == 1)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x, x + 1, x + 2, x + 3, &n },
                                (void *[]){ z, z + 1, z + 2, z + 3 }, NULL), AD_OK);
  CHECK_NUMBER(z[0], -0.25 + 0.75*1.5*total, 1e-13);
  CHECK_NUMBER(z[1], 0.75*1.5*second, 1e-13);
  CHECK_NUMBER(z[2], 0.75*slope, 1e-13);
  CHECK_NUMBER(z[3], 0.75*1.5*slope, 1e-13);
  ad_function_free(f);
}

/* --- loops that stay apart ------------------------------------------------------------------------------ */

static void half(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], 0.5);
  out[1] = ad_add(in[1], ad_integer(*(const int *)context));
}
static void below_ten(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[1], ad_integer(10));
}

/* One condition, three loops: in steps of 1, in steps of 5, in steps of 1 from where the first has ended. */
static void three_loops(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[2] = { AD_F64(), AD_I64() };
  const int64_t zero = 0;
  int by[2] = { 1, 5 };
  (void)context;
  ad_function *p = ad_function_trace("below ten", below_ten, NULL, 2, types, 1),
              *f = ad_function_trace("by one", half, &by[0], 2, types, 2),
              *g = ad_function_trace("by five", half, &by[1], 2, types, 2);
  const ad_var count = ad_constant(t, AD_I64(), &zero);
  ad_var end[3][2];
  ad_while(p, f, NULL, (const ad_var[]){ in[0], count }, end[0]);
  ad_while(p, g, NULL, (const ad_var[]){ in[0], count }, end[1]);
  ad_while(p, f, NULL, (const ad_var[]){ end[0][0], count }, end[2]);
  for (int k = 0; k < 3; k++) out[k] = end[k][0];
  tangents(out[2], 1, in, &out[3]);
  ad_function_free(p), ad_function_free(f), ad_function_free(g);
}

static void test_apart(void) {
  const ad_type one = AD_F64();
  ad_function *f = ad_function_trace("three", three_loops, NULL, 1, &one, 4);
  const double x = 3;
  double z[4] = { 0 };
  if (!CHECK(f && loops_in(f, NULL) == 3)) return;      /* tangents are with their loops */
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &x }, (void *[]){ z, z + 1, z + 2, z + 3 }, NULL),
               AD_OK);
  CHECK(z[0] == 3*0x1p-10 && z[1] == 3*0x1p-2 && z[2] == 3*0x1p-20 && z[3] == 0x1p-20);
  ad_function_free(f);
}

/* u <- a u + p twice, by loops that differ in one thing. */
typedef struct schedules { ad_loop first, second; } schedules;

static void affine(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[0], in[1]), in[2]);
}
static void two_folds(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const schedules *s = context;
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("affine", affine, NULL, 3, types, 1);
  (void)t;
  ad_fold(f, 1, &s->first, in, &out[0]);
  ad_fold(f, 1, &s->second, (const ad_var[]){ in[0], in[1], ad_mul(in[2], 2) }, &out[1]);
  ad_function_free(f);
}

/* u <- a u + p[i], n times. */
static double affine_end(double u, double a, const double p[], int n, bool backwards) {
  for (int i = 0; i < n; i++) u = u*a + p[backwards ? n - 1 - i : i];
  return u;
}

static void check_folds(const char *what, schedules s, bool rows, int n, int second, int loops) {
  const ad_type types[3] = { AD_F64(), AD_F64(), rows ? AD_F64(4) : AD_F64() };
  ad_function *f = ad_function_trace("folds", two_folds, &s, 3, types, 2);
  const double u = 0.5, a = 0.75, p[4] = { 1, rows ? -2 : 1, rows ? 3 : 1, rows ? 0.25 : 1 };
  const double twice[4] = { 2*p[0], 2*p[1], 2*p[2], 2*p[3] };
  double z[2] = { 0 };
  if (!CHECK_THAT(f && scans_in(f, NULL) == loops, "%s", what)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &u, &a, p }, (void *[]){ z, z + 1 }, NULL), AD_OK);
  CHECK_NUMBER(z[0], affine_end(u, a, p, n, s.first.backwards), 1e-15);
  CHECK_NUMBER(z[1], affine_end(u, a, twice, second, s.second.backwards), 1e-15);
  ad_function_free(f);
}

static void test_schedules(void) {
  const ad_loop three = { .steps = 3 }, four = { .steps = 4 }, little = { .steps = 3, .bytes = 16 };
  const ad_loop every = { .steps = 3, .keep = AD_KEEP_EVERY, .k = 2 };
  const ad_loop rarely = { .steps = 3, .keep = AD_KEEP_EVERY, .k = 3 };
  const ad_loop binomial = { .steps = 3, .keep = AD_KEEP_BINOMIAL, .k = 2 };
  const ad_loop along = { .steps = 4 }, back = { .steps = 4, .backwards = true };
  check_folds("the same", (schedules){ three, three }, false, 3, 3, 1);
  check_folds("the same, of rows", (schedules){ along, along }, true, 4, 4, 1);
  check_folds("the same, backwards", (schedules){ back, back }, true, 4, 4, 1);
  check_folds("steps", (schedules){ three, four }, false, 3, 4, 2);
  check_folds("directions", (schedules){ along, back }, true, 4, 4, 2);
  check_folds("policies", (schedules){ three, every }, false, 3, 3, 2);
  check_folds("policies with the same number", (schedules){ every, binomial }, false, 3, 3, 2);
  check_folds("states kept", (schedules){ every, rarely }, false, 3, 3, 2);
  check_folds("bytes", (schedules){ little, three }, false, 3, 3, 2);
}

/* u <- a u + p[i], and u <- a u + (the sum of u p): p is a row for each step of one, and shared by those of
 * the other. */
static void with_sum(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[0], in[1]), ad_sum(ad_mul(in[0], in[2]), AD_ALL_AXES, false));
}
static void two_roles(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() }, whole[3] = { AD_F64(), AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace("affine", affine, NULL, 3, types, 1),
              *g = ad_function_trace("with sum", with_sum, NULL, 3, whole, 1);
  (void)t, (void)context;
  ad_fold(f, 1, &(ad_loop){ .steps = 3 }, in, &out[0]);
  ad_fold(g, 1, &(ad_loop){ .steps = 3 }, in, &out[1]);
  ad_function_free(f), ad_function_free(g);
}

static void test_roles(void) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace("roles", two_roles, NULL, 3, types, 2);
  const double u = 0.5, a = 0.75, p[3] = { 1, -2, 3.5 }, growth = a + 2.5;
  double z[2] = { 0 };
  if (!CHECK(f && scans_in(f, NULL) == 1)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &u, &a, p }, (void *[]){ z, z + 1 }, NULL), AD_OK);
  CHECK_NUMBER(z[0], affine_end(u, a, p, 3, false), 1e-15);
  CHECK_NUMBER(z[1], u*growth*growth*growth, 1e-15);
  ad_function_free(f);
}

/* Scans whose numbers of steps are operands: equal ones make one loop, others do not. */
static void counted_folds(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("affine", affine, NULL, 3, types, 1);
  (void)t, (void)context;
  for (int k = 0; k < 3; k++) {
    const ad_var p = ad_mul(in[2], ad_integer(k + 1));
    const ad_loop loop = { .counted = true, .count = in[3 + k/2] };
    ad_fold(f, 1, &loop, (const ad_var[]){ in[0], in[1], p }, &out[k]);
  }
  ad_function_free(f);
}

static void test_counted(void) {
  const ad_type types[5] = { AD_F64(), AD_F64(), AD_F64(), AD_I64(), AD_I64() };
  ad_function *f = ad_function_trace("counted", counted_folds, NULL, 5, types, 3);
  const double u = 0.5, a = 0.75, p = 1.25, first[4] = { p, p, p, p };
  const double second[4] = { 2*p, 2*p, 2*p, 2*p }, third[4] = { 3*p, 3*p, 3*p, 3*p };
  const int64_t n[2] = { 4, 2 };
  double z[3] = { 0 };
  if (!CHECK(f && scans_in(f, NULL) == 2)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &u, &a, &p, n, n + 1 }, (void *[]){ z, z + 1, z + 2 },
                                NULL), AD_OK);
  CHECK_NUMBER(z[0], affine_end(u, a, first, 4, false), 1e-15);
  CHECK_NUMBER(z[1], affine_end(u, a, second, 4, false), 1e-15);
  CHECK_NUMBER(z[2], affine_end(u, a, third, 2, false), 1e-15);
  ad_function_free(f);
}

/* x halved until the count is ten, within one limit and within another. */
static void two_limits(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int64_t *limit = context, zero = 0;
  const ad_type types[2] = { AD_F64(), AD_I64() };
  int by = 1;
  ad_function *p = ad_function_trace("below ten", below_ten, NULL, 2, types, 1),
              *f = ad_function_trace("by one", half, &by, 2, types, 2);
  const ad_var count = ad_constant(t, AD_I64(), &zero);
  for (int k = 0; k < 2; k++) {
    ad_var end[2];
    ad_while(p, f, &(ad_loop){ .limit = limit[k] }, (const ad_var[]){ in[0], count }, end);
    out[k] = ad_add(end[0], ad_cast(end[1], AD_F64));
  }
  ad_function_free(p), ad_function_free(f);
}

/* Ten steps are more than nine, in whichever loop they are too many. */
static void test_limits(void) {
  const int64_t limits[4][2] = { { 10, 10 }, { 10, 11 }, { 10, 9 }, { 9, 10 } };
  const ad_type one = AD_F64();
  const double x = 3;
  for (int i = 0; i < 4; i++) {
    double z[2] = { 0 };
    int64_t limit[2] = { limits[i][0], limits[i][1] };
    ad_function *f = ad_function_trace("limits", two_limits, limit, 1, &one, 2);
    if (!CHECK(f && loops_in(f, NULL) == (i ? 2 : 1))) return;
    CHECK_STATUS(ad_function_call(f, (const void *[]){ &x }, (void *[]){ z, z + 1 }, NULL),
                 i < 2 ? AD_OK : AD_ERROR_LIMIT);
    for (int k = 0; k < 2 && i < 2; k++) CHECK(z[k] == 10 + 3*0x1p-10);
    ad_function_free(f);
  }
}

/* --- many loops ----------------------------------------------------------------------------------------- */

enum { MANY = 200 };

/* (u, a, p[MANY]) -> u <- a u + p[k], three times, summed over k. */
static void many_folds(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("affine", affine, NULL, 3, types, 1);
  ad_var end[MANY];
  (void)t, (void)context;
  for (int64_t k = 0; k < MANY; k++)
    ad_fold(f, 1, &(ad_loop){ .steps = 3 }, (const ad_var[]){ in[0], in[1], ad_at(in[2], 1, &k) }, &end[k]);
  out[0] = ad_sum(ad_stack(MANY, end, 0), AD_ALL_AXES, false);
  ad_function_free(f);
}

/* MANY (u a^3) + (1 + a + a^2) (the sum of p) */
static void test_many_folds(void) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64(MANY) };
  ad_function *f = ad_function_trace("many", many_folds, NULL, 3, types, 1),
              *g = f ? ad_function_gradient(f, 0, NULL) : NULL;
  const double u = 0.5, a = 0.75;
  double p[MANY], z = 0, by_u = 0, by_a = 0, by_p[MANY], sum = 0;
  for (int k = 0; k < MANY; k++) p[k] = (k%7 - 3)*0.125, sum += p[k];
  if (!CHECK(g && scans_in(f, NULL) == 1)) return;
  CHECK_STATUS(ad_function_call(g, (const void *[]){ &u, &a, p }, (void *[]){ &z, &by_u, &by_a, by_p }, NULL),
               AD_OK);
  CHECK_NUMBER(z, MANY*u*a*a*a + (1 + a + a*a)*sum, 1e-13);
  CHECK_NUMBER(by_u, MANY*a*a*a, 1e-13);
  CHECK_NUMBER(by_a, 3*MANY*u*a*a + (1 + 2*a)*sum, 1e-13);
  for (int k = 0; k < MANY; k++) CHECK_NUMBER(by_p[k], 1 + a + a*a, 1e-15);
  ad_function_free(g);
  ad_function_free(f);
}

static void count_and_half(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_add(in[0], ad_integer(*(const int *)context));
  out[1] = ad_mul(in[1], 0.5);
}
static void count_below_ten(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[0], ad_integer(10));
}

/* x + k halved, counting by one and by five in turn, from zero to ten; the last two loops begin where the
 * first ones have ended. Sums over those by one, and over those by five. */
static void many_loops(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[2] = { AD_I64(), AD_F64() };
  const int64_t zero = 0;
  int by[2] = { 1, 5 };
  ad_var end[MANY + 2][2];
  ad_function *step[2], *p = ad_function_trace("below ten", count_below_ten, NULL, 1, types, 1);
  (void)context;
  for (int k = 0; k < 2; k++) step[k] = ad_function_trace("half", count_and_half, &by[k], 2, types, 2);
  const ad_var count = ad_constant(t, AD_I64(), &zero);
  for (int k = 0; k < MANY + 2; k++) {
    const ad_var x = k < MANY ? ad_add(in[0], k) : end[k - MANY][1];
    ad_while(p, step[k%2], NULL, (const ad_var[]){ count, x }, end[k]);
    out[k%2] = k < 2 ? end[k][1] : ad_add(out[k%2], end[k][1]);
  }
  for (int k = 0; k < 2; k++) ad_function_free(step[k]);
  ad_function_free(p);
}

/* Four loops: those by one, those by five, and the two that come after them. */
static void test_many_loops(void) {
  const ad_type one = AD_F64();
  ad_function *f = ad_function_trace("many", many_loops, NULL, 1, &one, 2);
  const double x = 3, half_of[2] = { 0x1p-10, 0x1p-2 };
  double z[2] = { 0 }, want[2] = { 0 };
  for (int k = 0; k < MANY; k++) want[k%2] += (x + k)*half_of[k%2];
  for (int k = 0; k < 2; k++) want[k] += (x + k)*half_of[k]*half_of[k];
  if (!CHECK(f != NULL)) return;
  CHECK_THAT(loops_in(f, NULL) == 4, "%d loops", loops_in(f, NULL));
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &x }, (void *[]){ z, z + 1 }, NULL), AD_OK);
  for (int k = 0; k < 2; k++) CHECK_NUMBER(z[k], want[k], 1e-13);
  ad_function_free(f);
}

/* --- scans, and loops in loops -------------------------------------------------------------------------- */

enum { TERMS = 5 };

/* s <- s x[i] + a, with rows s and s^2; the second one is not looked at. */
static void horner(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[0], in[1]), in[2]);
  out[1] = out[0];
  out[2] = ad_square(out[0]);
}

/* (s, x, a) -> the rows' sum, and its tangents by s and a. */
static void scanned(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const bool *backwards = context;
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("horner", horner, NULL, 3, types, 3);
  ad_var z[3];
  (void)t;
  ad_scan(f, 1, &(ad_loop){ .backwards = *backwards }, in, z);
  out[0] = ad_sum(z[1], AD_ALL_AXES, false);
  tangents(out[0], 1, in, &out[1]);
  tangents(out[0], 1, in + 2, &out[2]);
  ad_function_free(f);
}

static void test_scans(bool backwards) {
  const ad_type types[3] = { AD_F64(), AD_F64(TERMS), AD_F64() };
  ad_function *f = ad_function_trace("scanned", scanned, &backwards, 3, types, 3);
  const double s0 = 0.5, a = 0.25, x[TERMS] = { 1.5, -2, 0.75, 3, 0.125 };
  double z[3] = { 0 }, s = s0, by_s = 1, by_a = 0, want[3] = { 0 };
  const carrier *c = NULL;
  for (int k = 0; k < TERMS; k++) {
    const double xk = x[backwards ? TERMS - 1 - k : k];
    s = s*xk + a, by_s = by_s*xk, by_a = by_a*xk + 1;
    want[0] += s, want[1] += by_s, want[2] += by_a;
  }
  if (!CHECK(f != NULL)) return;
  if (CHECK(scans_in(f, &c) == 1)) CHECK(c->n_out == 6);      /* three states and their rows */
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &s0, x, &a }, (void *[]){ z, z + 1, z + 2 }, NULL),
               AD_OK);
  for (int k = 0; k < 3; k++) CHECK_NUMBER(z[k], want[k], 1e-14);
  ad_function_free(f);
}

/* x <- x + (the series' v from u0 = x): a loop whose step has a loop. */
static void outer_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var v;
  series_body(t, (const ad_var[]){ in[0], in[2], in[2], in[3], in[4] }, &v, context);
  out[0] = ad_add(in[0], v);
  out[1] = ad_add(in[1], ad_integer(1));
}
static void below_three(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[1], ad_integer(3));
}
static void nested(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[5] = { AD_F64(), AD_I64(), AD_F64(), AD_F64(), AD_I64() };
  const int64_t zero = 0;
  ad_function *p = ad_function_trace("below three", below_three, NULL, 2, types, 1),
              *f = ad_function_trace("outer", outer_step, context, 5, types, 2);
  ad_var end[2];
  ad_while(p, f, NULL, (const ad_var[]){ in[0], ad_constant(t, AD_I64(), &zero), in[1], in[2], in[3] }, end);
  out[0] = end[0];
  tangents(out[0], 3, in, out + 1);
  ad_function_free(p), ad_function_free(f);
}

/* x <- x + a + a x s with s = b + .. + b^n, three times: x <- c x + a, c = 1 + a s. */
static void test_nested(void) {
  series s = { AD_F64, true };
  const ad_type types[4] = { AD_F64(), AD_F64(), AD_F64(), AD_I64() };
  ad_function *f = ad_function_trace("nested", nested, &s, 4, types, 4);
  const double x = 0.5, a = 0.25, b = 0.75;
  const int64_t n = 4;
  double z[4] = { 0 }, sum = 0, slope = 0;
  for (int k = 1; k <= n; k++) sum += pow(b, k), slope += k*pow(b, k - 1);
  const double c = 1 + a*sum, want = c*c*c*x + a*(c*c + c + 1);
  const double by_c = 3*c*c*x + a*(2*c + 1);
  const carrier *outer = NULL;
  if (!CHECK(f && loops_in(f, &outer) == 1)) return;
  CHECK(loops_in(outer->f, NULL) == 1);
  for (int compiled = 0; compiled < 2; compiled++) {
    CHECK_STATUS(ad_function_call(f, (const void *[]){ &x, &a, &b, &n }, (void *[]){ z, z + 1, z + 2, z + 3 },
                                  NULL), AD_OK);
    CHECK_NUMBER(z[0], want, 1e-14);
    CHECK_NUMBER(z[1], c*c*c, 1e-14);
    CHECK_NUMBER(z[2], c*c + c + 1 + by_c*sum, 1e-14);
    CHECK_NUMBER(z[3], by_c*a*slope, 1e-14);
    ad_function_compile(f, NULL, NULL);
  }
  ad_function_free(f);
}

/* --- constants ------------------------------------------------------------------------------------------ */

static void constants(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const double a[3] = { 1, 2, 3 }, b[3] = { 1, 2, 4 };
  const ad_type three = AD_F64(3);
  (void)context;
  out[0] = ad_mul(in[0], ad_constant(t, three, a));
  out[1] = ad_mul(in[0], ad_constant(t, three, a));
  out[2] = ad_mul(in[0], ad_constant(t, three, b));
}

static void test_constants(void) {
  const ad_type three = AD_F64(3);
  ad_function *f = ad_function_trace("constants", constants, NULL, 1, &three, 3);
  const double x[3] = { 1, 10, 100 };
  double z[3][3];
  if (!CHECK(f && ad_function_size(f) == 2 && f->out[0] == f->out[1] && f->out[0] != f->out[2])) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z[0], z[1], z[2] }, NULL), AD_OK);
  for (int k = 0; k < 3; k++)
    CHECK(z[0][k] == x[k]*(k + 1) && z[1][k] == z[0][k] && z[2][k] == x[k]*(k + 1 + (k == 2)));
  ad_function_free(f);
}

/* u <- a u + p, k + 1 times for each k: as many loops, though all begin alike. */
static void folds_of_all_lengths(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type types[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace("affine", affine, NULL, 3, types, 1);
  ad_var end[MANY];
  const bool *counted = context;
  (void)t;
  for (int64_t k = 0; k < MANY; k++) {
    const ad_loop loop = { .steps = *counted ? 0 : k + 1, .counted = *counted,
                           .count = *counted ? ad_at(in[3], 1, &k) : ad_none() };
    ad_fold(f, 1, &loop, in, &end[k]);
  }
  out[0] = ad_stack(MANY, end, 0);
  ad_function_free(f);
}

static void test_all_lengths(bool counted) {
  const ad_type types[4] = { AD_F64(), AD_F64(), AD_F64(), AD_I64(MANY) };
  ad_function *f = ad_function_trace("lengths", folds_of_all_lengths, &counted, 4, types, 1);
  const double u = 0.5, a = 0.75, p = 1.25;
  double z[MANY], want = u;
  int64_t n[MANY];
  for (int64_t k = 0; k < MANY; k++) n[k] = k + 1;
  if (!CHECK(f && scans_in(f, NULL) == MANY)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &u, &a, &p, n }, (void *[]){ z }, NULL), AD_OK);
  for (int k = 0; k < MANY; k++) {
    want = a*want + p;
    CHECK_NUMBER(z[k], want, 1e-13);
  }
  ad_function_free(f);
}

/* --- memory that fails ---------------------------------------------------------------------------------- */

static bool trace_short(const ad_allocator *a, void *context) {
  series s = { AD_F64, true };
  const ad_type types[5] = { AD_F64(), AD_F64(), AD_F64(), AD_F64(), AD_I64() };
  ad_report report;
  ad_function *f = ad_function_trace_with(a, "tangents", series_tangents, &s, 5, types, 5, &report);
  const bool good = f && check_call(f, AD_F64, true, 3, 1e-13);
  (void)context;
  if (!f) CHECK_STATUS(report.status, AD_ERROR_MEMORY);
  ad_function_free(f);
  return good;
}

int main(void) {
  for (int sum = 0; sum < 2; sum++) {
    test_series(AD_F64, sum, 1e-13);
    test_series(AD_F32, sum, 1e-5);
    test_directions(AD_F64, sum, 1e-13);
    test_directions(AD_F32, sum, 1e-5);
    test_scans(sum);
  }
  test_orders();
  test_apart();
  test_schedules();
  test_roles();
  test_counted();
  test_limits();
  test_many_folds();
  test_all_lengths(false);
  test_all_lengths(true);
  test_many_loops();
  test_nested();
  test_constants();
  CHECK(failing_calls(trace_short, NULL, false) > 100);
  test_nothing();
  test_unreached();
  test_second();
  return check_summary();
}
