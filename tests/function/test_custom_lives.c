/* test_custom_lives.c -- rules of a user's own that are missing, refused or fail; how long contexts live,
 * under failing memory too; a primitive with one result; patterns of dependence by themselves.
 */
#include "function/custom.h"
#include "heap.h"
#include "function/own_rule.h"

/* --- errors --------------------------------------------------------------------------------------------- */

static void count_release(void *context) { ++*(int *)context; }

static void test_missing(void) {
  ad_function *f = made(0);
  CHECK(f && !ad_function_jvp(f) && !ad_function_vjp(f) && !ad_function_jacobian(f, 0, NULL));
  ad_tape *t = ad_tape_new();
  const ad_var in[3] = { ad_array(t, AD_F64(3), NULL), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var y[2], d;
  ad_function_apply(f, in, y);
  CHECK_STATUS(ad_grad(y[1], 1, in, &d), AD_ERROR_DERIVATIVE);
  CHECK_THAT(!strcmp(ad_tape_message(t), "callback: has no vjp, nor a rule that gives one"), "%s",
             ad_tape_message(t));
  ad_tape_clear(t);
  CHECK_STATUS(ad_jvp(1, in, in, 1, y, &d), AD_ERROR_DERIVATIVE);
  CHECK_THAT(strstr(ad_tape_message(t), "callback: has no jvp"), "%s", ad_tape_message(t));
  ad_tape_clear(t);
  ad_var series[3];
  const ad_var xc[2] = { in[0], in[0] };
  CHECK_STATUS(ad_taylor(2, 1, in, xc, 1, y, series), AD_ERROR_DERIVATIVE);
  ad_tape_free(t);
  ad_function_free(f);
}

/* A jvp that is itself a callback has no transpose. */
static ad_status product_tangent(void *context, const void *const in[], void *const out[], char *message,
                                 size_t size) {
  (void)context, (void)message, (void)size;
  const double *x = in[0], *v = in[1];
  *(double *)out[0] = 2**x**v;
  return AD_OK;
}
static ad_status product(void *context, const void *const in[], void *const out[], char *message,
                         size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = *(const double *)in[0]**(const double *)in[0];
  return AD_OK;
}

static void test_opaque(void) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  ad_external e = {
    .name = "tangent", .n_in = 2, .n_out = 1, .in = type, .out = type, .call = product_tangent
  };
  ad_function *tangent = ad_function_external(&e, NULL);
  e = (ad_external){ .name = "square", .n_in = 1, .n_out = 1, .in = type, .out = type, .call = product,
                     .rule.jvp = tangent };
  ad_function *f = ad_function_external(&e, NULL), *j = ad_function_jvp(f);
  const double x = 3, v = 0.5;
  double y = 0, d = 0;
  CHECK_STATUS(ad_function_call(j, (const void *const[]){ &x, &v }, (void *const[]){ &y, &d }, NULL), AD_OK);
  CHECK(y == 9 && d == 3);
  CHECK(!ad_function_jvp(j));
  ad_tape *t = ad_tape_new();
  const ad_var in = ad_scalar(t, 2);
  ad_var out, g;
  ad_function_apply(f, &in, &out);
  CHECK_STATUS(ad_grad(out, 1, &in, &g), AD_ERROR_DERIVATIVE);
  CHECK_THAT(
      !strcmp(ad_tape_message(t), "square: has no vjp: tangent: has no vjp, nor a rule that gives one"), "%s",
      ad_tape_message(t));
  ad_tape_free(t);
  ad_function_free(j);
  ad_function_free(f);
  ad_function_free(tangent);
}

static void test_failing(void) {
  ad_function *f = made(JVP);
  ad_workspace *w = ad_workspace_new();
  const double x[3] = { -2, 1, 1 }, s = 0.5;
  const int32_t k = 1;
  double y[2], e;
  const void *const in[3] = { x, &k, &s };
  CHECK_STATUS(ad_function_call(f, in, (void *const[]){ y, &e }, w), AD_ERROR_NUMERIC);
  CHECK_THAT(!strcmp(ad_workspace_message(w), "callback: x[0] = -2"), "%s", ad_workspace_message(w));
  for (int setting = 0; setting < (int)(sizeof settings/sizeof *settings); setting++) {
    ad_function *g = in_setting(setting, f), *d = ad_function_gradient(g, 0, NULL);
    double gradient[3], slope;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ x, &s }, (void *const[]){ &e }, w),
                 AD_ERROR_NUMERIC);
    CHECK_THAT(strstr(ad_workspace_message(w), "callback: x[0] = "), "%s: %s", settings[setting].name,
               ad_workspace_message(w));
    CHECK_STATUS(
        ad_function_call(d, (const void *const[]){ x, &s }, (void *const[]){ &e, gradient, &slope }, w),
        AD_ERROR_NUMERIC);
    ad_function_free(d);
    ad_function_free(g);
  }
  ad_tape *t = ad_tape_new();
  const ad_var v[3] = { ad_array(t, AD_F64(3), x), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var z[2];
  ad_function_apply(f, v, z);
  CHECK(isnan(ad_value(z[1])));
  CHECK_STATUS(ad_tape_status(t), AD_ERROR_NUMERIC);
  CHECK_THAT(!strcmp(ad_tape_message(t), "callback: x[0] = -2"), "%s", ad_tape_message(t));
  ad_tape_free(t);
  ad_workspace_free(w);
  ad_function_free(f);
}

static void test_refused(void) {
  ad_report report;
  ad_function *f = recorded(), *other = tangents();
  ad_custom_rule given = { .jvp = f };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  CHECK_THAT(!strcmp(report.message, "recorded: its jvp has 3 inputs and 2 outputs, not 6 and 2"), "%s",
             report.message);
  given = (ad_custom_rule){ .vjp = other };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  given = (ad_custom_rule){ .derivative = other };
  CHECK(!ad_custom(f, &given, &report) && report.status == AD_ERROR_SHAPE);
  CHECK(!ad_custom(NULL, &given, &report) && report.status == AD_ERROR_ARGUMENT);
  int released = 0;
  ad_external e = { .name = "none", .n_in = 1, .n_out = 1, .in = input_types(), .release = count_release,
                    .context = &released };
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_ARGUMENT);
  const ad_type bad = { AD_F64, -1, { 0 } };
  e.out = &bad, e.call = callback;
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_SIZE);
  e.out = output_types(), e.rule.jvp = other;
  CHECK(!ad_function_external(&e, &report) && report.status == AD_ERROR_SHAPE);
  CHECK(!ad_function_external(NULL, NULL) && released == 0);
  ad_function_free(f);
  ad_function_free(other);
}

typedef struct nest { ad_function *made[2]; ad_report report[2]; ad_var outside; } nest;

static void closure_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], ((nest *)context)->outside);
}

static void outer_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  nest *n = context;
  const ad_type type[2] = { AD_F64(), AD_F64() };
  n->outside = in[0];
  ad_function *f = ad_function_trace_inside(t, "closure", closure_body, n, 1, type, 1, NULL);
  ad_function *g = ad_function_trace_inside(t, "closure2", closure_body, n, 2, type, 1, NULL);
  ad_external e = {
    .name = "x", .n_in = 1, .n_out = 1, .in = type, .out = type, .call = product, .rule.jvp = g
  };
  n->made[0] = ad_custom(f, NULL, &n->report[0]);
  n->made[1] = ad_function_external(&e, &n->report[1]);
  ad_function_free(f);
  ad_function_free(g);
  out[0] = in[0];
}

static void test_closures(void) {
  nest n = { 0 };
  const ad_type type = AD_F64();
  ad_function *f = ad_function_trace("outer", outer_body, &n, 1, &type, 1);
  for (int k = 0; k < 2; k++) {
    CHECK(!n.made[k] && n.report[k].status == AD_ERROR_ARGUMENT);
    CHECK_THAT(strstr(n.report[k].message, "captured"), "%s", n.report[k].message);
  }
  ad_function_free(f);
}

/* --- lives ---------------------------------------------------------------------------------------------- */

static void test_life(void) {
  int calls = 0;                    /* of the callback, and then of release */
  ad_function *f = recorded();
  ad_external e = { .name = "callback", .n_in = 3, .n_out = 2, .in = input_types(), .out = output_types(),
                    .call = callback, .context = &calls, .release = count_release };
  e.rule.jvp = ad_function_jvp(f);
  ad_function *g = ad_function_external(&e, NULL), *v = ad_function_vjp(g);
  ad_function_free(e.rule.jvp);
  ad_function_free(f);
  ad_tape *t = ad_tape_new();
  const ad_var in[3] = { ad_array(t, AD_F64(3), NULL), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
  ad_var y[2];
  ad_function_apply(g, in, y);
  ad_function_free(g);
  CHECK_NUMBER(ad_value(y[1]), 1, 0);
  CHECK(calls == 1);
  ad_tape_free(t);
  CHECK(calls == 1);
  ad_function_free(v);
  CHECK(calls == 2);
}

/* What is not wanted: an allocation, or NULL. */
static ad_status partial(void *context, const void *const in[], void *const out[], char *message,
                         size_t size) {
  int *seen = context;
  (void)message, (void)size;
  seen[0] += out[0] != NULL, seen[1] += out[1] != NULL;
  if (out[0]) *(double *)out[0] = *(const uint8_t *)in[0];
  if (out[1]) memset(out[1], 1, 16);
  return AD_OK;
}

static void positive_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  const ad_var p = ad_greater(in[0], ad_real(1));
  ad_function_apply(f, &p, out);
}

static void test_partial(void) {
  const ad_type in = AD_BOOL(), out[2] = { AD_F64(), AD_F64(2) }, real = AD_F64();
  for (int k = 0; k < 2; k++) {
    int seen[2] = { 0, 0 };
    const ad_external e = { .n_in = 1, .n_out = 2, .in = &in, .out = out, .call = partial, .context = seen,
                            .partial = k };
    ad_function *f = ad_function_external(&e, NULL),
                *g = ad_function_trace("g", positive_body, f, 1, &real, 2);
    double x = 2, y = 5;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x }, (void *const[]){ &y, NULL }, NULL), AD_OK);
    CHECK(y == 1 && seen[0] == 1 && seen[1] == !k);
    x = 0;
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x }, (void *const[]){ &y, NULL }, NULL), AD_OK);
    CHECK(y == 0);
    ad_function_free(g);
    ad_function_free(f);
  }
}

static ad_status fill(void *context, const void *const in[], void *const out[], char *message, size_t size) {
  (void)in, (void)message, (void)size;
  memcpy(out[0], context, 16);
  return AD_OK;
}

/* No inputs, empty inputs, f32 with its own kind of derivative. */
static ad_status halves(void *context, const void *const in[], void *const out[], char *message,
                        size_t size) {
  (void)context, (void)message, (void)size;
  const float *x = in[1];
  float *y = out[0];
  y[0] = 0.5f*x[0]*x[0], y[1] = x[0]*x[1];
  return AD_OK;
}

static void halves_jacobian(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_var x0 = ad_at(in[1], 1, (const int64_t[]){ 0 }), x1 = ad_at(in[1], 1, (const int64_t[]){ 1 });
  const ad_var row[2][2] = { { x0, ad_full(t, AD_F32(), 0) }, { x1, x0 } };
  const ad_var rows[2] = { ad_stack(2, row[0], 0), ad_stack(2, row[1], 0) };
  out[0] = ad_zeros(t, AD_F32(2, 0, 3));
  out[1] = ad_stack(2, rows, 0);
}

static void test_types(void) {
  double two[2] = { 4, 5 }, got[2] = { 0, 0 };
  const ad_type vector = AD_F64(2);
  const ad_external none = { .n_out = 1, .out = &vector, .call = fill, .context = two };
  ad_function *f = ad_function_external(&none, NULL);
  CHECK_STATUS(ad_function_call(f, NULL, (void *const[]){ got }, NULL), AD_OK);
  CHECK(got[0] == 4 && got[1] == 5);
  ad_function_free(f);
  const ad_type in[2] = { AD_F64(0, 3), AD_F32(2) }, out = AD_F32(2);
  ad_external e = { .name = "halves", .n_in = 2, .n_out = 1, .in = in, .out = &out, .call = halves };
  e.rule.derivative = ad_function_trace("d", halves_jacobian, NULL, 2, in, 2);
  f = ad_function_external(&e, NULL);
  ad_function *v = ad_function_vjp(f), *j = ad_function_jvp(f);
  const float x[2] = { 3, 5 }, u[2] = { 2, 7 };
  float y[2], d[2], ydot[2];
  CHECK_STATUS(ad_function_call(v, (const void *const[]){ NULL, x, u }, (void *const[]){ y, NULL, d }, NULL),
               AD_OK);
  CHECK_STATUS(
      ad_function_call(j, (const void *const[]){ NULL, x, NULL, u }, (void *const[]){ NULL, ydot }, NULL),
      AD_OK);
  CHECK(y[0] == 4.5f && y[1] == 15 && d[0] == 2 * 3 + 7 * 5 && d[1] == 7 * 3 && ydot[0] == 3 * 2
        && ydot[1] == 5 * 2 + 3 * 7);
  ad_function_free(v);
  ad_function_free(j);
  ad_function_free(f);
  ad_function_free(e.rule.derivative);
}

/* Memory that fails at any allocation: nothing leaks and release is not called twice. */
static void test_memory(void) {
  const ad_type type[2] = { AD_F64(2), AD_F64(2) };
  bool done = false;
  for (long k = 1; k <= 4000 && !done; k++) {
    heap h = { 0 };
    const ad_allocator a = heap_allocator(&h);
    int released = 0;
    ad_function *cubic = ad_function_trace_with(&a, "cubic", cubic_body, NULL, 2, type, 1, NULL);
    const ad_external e = { .name = "x",
                            .n_in = 1,
                            .n_out = 1,
                            .in = type,
                            .out = type,
                            .call = fill,
                            .context = &released,
                            .release = count_release,
                            .rule.jvp = cubic,
                            .allocator = &a };
    heap_fail(&h, k, true);
    ad_report report;
    ad_function *f = ad_function_external(&e, &report), *v = f ? ad_function_vjp(f) : NULL;
    ad_function *c = cubic ? ad_custom(cubic, NULL, NULL) : NULL;
    done = heap_has_served(&h);
    CHECK(!done || (f && v && c));
    CHECK(f || report.status == AD_ERROR_MEMORY);
    const bool has = f != NULL;
    ad_function_free(c);
    ad_function_free(v);
    ad_function_free(f);
    ad_function_free(cubic);
    CHECK_THAT(released == has && heap_is_empty(&h), "allocation %ld: %d released, %s", k, released,
               heap_text(&h));
  }
  CHECK(done);
}

/* --- a user's primitive with one result ----------------------------------------------------------- */

static ad_status cumulate_type(ad_operation *op) {
  if (op->n != 1 || op->x[0]->rank != 1 || op->x[0]->dtype != AD_F64)
    return ad_refuse(op, AD_ERROR_SHAPE, "wants a vector");
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status cumulate_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  double sum = 0;
  (void)scratch;
  for (int64_t i = 0; i < op->z.dim[0]; i++)
    ((double *)z)[i] = sum += ((const double *)x[0])[i] * ((const double *)x[0])[i];
  return AD_OK;
}
static ad_var cumulate_jvp(ad_rule *r, int k) {
  (void)k;
  return ad_cumsum(ad_mul(ad_mul(r->x[0], r->g), ad_real(2)), 0);
}
static const ad_primitive cumulate = { .name = "cumulate", .doc = "sums of squares", .type = cumulate_type,
                                       .run = cumulate_run, .jvp = cumulate_jvp };

static void twist(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)w;
  for (size_t i = 0; i < n; i++) z[i] = sin(x[i])*y[i];
}
static const ad_primitive twisted = { .name = "twisted",
                                      .doc = "sin(x) y",
                                      .traits = AD_TRAIT_ELEMENTWISE,
                                      .arity = 2,
                                      .block = twist,
                                      .rule = { "g*y*cos(x)", "g*sin(x)" } };

typedef struct flavour { bool own; } flavour;

/* (state s, x[3]) -> s */
static void own_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const bool own = ((const flavour *)context)->own;
  ad_var a = own ? ad_record(t, &cumulate, 1, &in[1], NULL, 0) : ad_cumsum(ad_square(in[1]), 0);
  const ad_var pair[2] = { a, in[0] };
  a = own ? ad_record(t, &twisted, 2, pair, NULL, 0) : ad_mul(ad_sin(a), in[0]);
  out[0] = ad_sum(a, AD_ALL_AXES, false);
}

static void own_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type[2] = { AD_F64(), AD_F64(3) };
  ad_function *f = ad_function_trace("own", own_step, context, 2, type, 1);
  const int64_t dim[2] = { 4, 3 };
  const ad_var rows = ad_mul(ad_broadcast_to(in[0], 2, dim), ad_expand(ad_arange(t, 1, 5, 1, AD_F64), 1));
  const ad_var x[2] = { in[1], rows };
  ad_var mapped, scanned;
  ad_map(f, x, &mapped);
  ad_scan(f, 1, NULL, x, &scanned);
  out[0] = ad_add(ad_sum(mapped, AD_ALL_AXES, false), scanned);
  ad_function_free(f);
}

static void test_primitive(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  flavour own = { true }, library = { false };
  ad_function *a = ad_function_trace("own", own_body, &own, 2, type, 1),
              *b = ad_function_trace("library", own_body, &library, 2, type, 1);
  same_derivatives("a user's primitives", a, b);
  ad_function_free(a);
  ad_function_free(b);
}

/* --- a pattern alone, and what is said of captured variables -------------------------------------------- */

static ad_status sign_and_double(void *context, const void *const in[], void *const out[], char *message,
                                 size_t size) {
  const double x = *(const double *)in[0];
  (void)context, (void)message, (void)size;
  *(double *)out[0] = (x > 0) - (x < 0);
  *(double *)out[1] = 2*x;
  return AD_OK;
}

/* Output 0 depends on nothing, which is a derivative; output 1 does, and has none. */
static void test_pattern_alone(void) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  const bool depends[2] = { false, true };
  const ad_external e = { .name = "pair", .n_in = 1, .n_out = 2, .in = type, .out = type,
                          .call = sign_and_double, .rule = { .depends = depends } };
  ad_function *f = ad_function_external(&e, NULL);
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 3);
  ad_var y[2], dx;
  CHECK_STATUS(ad_function_apply(f, &x, y), AD_OK);
  CHECK_STATUS(ad_grad(y[0], 1, &x, &dx), AD_OK);
  CHECK(ad_value(dx) == 0);
  CHECK_STATUS(ad_backward(y[0]), AD_OK);
  CHECK(ad_adjoint(x) == 0);
  CHECK_STATUS(ad_grad(y[1], 1, &x, &dx), AD_ERROR_DERIVATIVE);
  CHECK(strstr(ad_tape_message(t), "pair: has no vjp") != NULL);
  ad_tape_free(t);
  ad_function_free(f);
}

static void times_captured(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(in[0], *(const ad_var *)context);
}

static void test_nonfinite_of_captured(void) {
  const ad_type type = AD_F64();
  const double at = 3;
  ad_tape *t = ad_tape_new();
  ad_var w = ad_scalar(t, 2);
  ad_function *f = ad_function_trace_inside(t, "times", times_captured, &w, 1, &type, 1, NULL);
  ad_nonfinite found;
  CHECK_STATUS(ad_find_nonfinite(f, (const void *const[]){ &at }, &found), AD_ERROR_ARGUMENT);
  CHECK(!found.found && !strcmp(found.message, "times: has captured variables, which no call supplies"));
  ad_workspace *space = ad_workspace_new();
  double here = 1;
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ &here }, (void *const[]){ &here }, space),
               AD_ERROR_ARGUMENT);
  CHECK(!strcmp(ad_workspace_message(space), "times: has captured variables, which no call supplies"));
  CHECK_STATUS(ad_function_call(NULL, NULL, NULL, space), AD_ERROR_ARGUMENT);
  CHECK(!strcmp(ad_workspace_message(space), "no function"));
  ad_workspace_free(space);
  CHECK_STATUS(ad_find_nonfinite(NULL, NULL, &found), AD_ERROR_ARGUMENT);
  CHECK(!strcmp(found.message, "no function"));
  ad_function_free(f);
  ad_tape_free(t);
}

int main(void) {
  test_missing();
  test_opaque();
  test_failing();
  test_refused();
  test_closures();
  test_life();
  test_partial();
  test_types();
  test_memory();
  test_primitive();
  test_pattern_alone();
  test_nonfinite_of_captured();
  return check_summary();
}
