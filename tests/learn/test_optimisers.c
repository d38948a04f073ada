/* test_optimisers.c -- each optimiser against its published formulas in plain C, in place too; derivatives
 * through several steps; schedules; clipping; what is refused. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/optimisers.h"
#include "adit/primitive.h"

#include <math.h>

/* --- the published formulas ----------------------------------------------------------------------------- */

enum { MOST = 8, STEPS = 100 };

typedef struct settings {
  const char *name;
  ad_optimiser_kind kind;
  bool nesterov;
  double rate, momentum, beta1, beta2, epsilon, decay;
} settings;

static const settings all[] = {
  { "sgd", AD_SGD, false, 0.05, 0, 0, 0, 0, 0 },
  { "sgd, decay", AD_SGD, false, 0.05, 0, 0, 0, 0, 0.1 },
  { "momentum", AD_SGD, false, 0.05, 0.9, 0, 0, 0, 0 },
  { "momentum, decay", AD_SGD, false, 0.05, 0.8, 0, 0, 0, 0.01 },
  { "nesterov", AD_SGD, true, 0.05, 0.9, 0, 0, 0, 0.01 },
  { "rmsprop", AD_RMSPROP, false, 0.01, 0, 0, 0.99, 1e-8, 0 },
  { "rmsprop, momentum, decay", AD_RMSPROP, false, 0.01, 0.5, 0, 0.9, 1e-6, 0.02 },
  { "adam", AD_ADAM, false, 0.02, 0, 0.9, 0.999, 1e-8, 0 },
  { "adam, decay", AD_ADAM, false, 0.02, 0, 0.8, 0.99, 1e-3, 0.1 },
  { "adamw", AD_ADAMW, false, 0.02, 0, 0.9, 0.999, 1e-8, 0.1 },
};
enum { KINDS = sizeof all/sizeof *all };

typedef struct reference { double p[MOST], m[MOST], v[MOST], b[MOST]; } reference;

/* The gradient of sum (i + 1) p^2/2 + cos p. */
static double slope(int i, double p) { return (i + 1)*p - sin(p); }

static void reference_adam(const settings *s, reference *r, int i, double g, int t) {
  if (s->kind == AD_ADAMW) r->p[i] -= s->rate*s->decay*r->p[i];
  else g += s->decay*r->p[i];
  r->m[i] = s->beta1*r->m[i] + (1 - s->beta1)*g;
  r->v[i] = s->beta2*r->v[i] + (1 - s->beta2)*g*g;
  const double mhat = r->m[i]/(1 - pow(s->beta1, t)), vhat = r->v[i]/(1 - pow(s->beta2, t));
  r->p[i] -= s->rate*mhat/(sqrt(vhat) + s->epsilon);
}

static void reference_descent(const settings *s, reference *r, int i, double g) {
  double u = g + s->decay*r->p[i];
  if (s->kind == AD_RMSPROP) {
    r->v[i] = s->beta2*r->v[i] + (1 - s->beta2)*u*u;
    u /= sqrt(r->v[i]) + s->epsilon;
  }
  r->b[i] = s->momentum*r->b[i] + u;
  r->p[i] -= s->rate*(s->nesterov ? u + s->momentum*r->b[i] : r->b[i]);
}

static void reference_step(const settings *s, reference *r, int t) {
  for (int i = 0; i < MOST; i++) {
    const double g = slope(i, r->p[i]);
    if (s->kind == AD_ADAM || s->kind == AD_ADAMW) reference_adam(s, r, i, g, t);
    else reference_descent(s, r, i, g);
  }
}

/* --- the same, recorded --------------------------------------------------------------------------------- */

static ad_optimiser optimiser_of(const settings *s) {
  return (ad_optimiser){ .kind = s->kind, .nesterov = s->nesterov, .rate = ad_real(s->rate),
                         .momentum = ad_real(s->momentum), .beta1 = ad_real(s->beta1),
                         .beta2 = ad_real(s->beta2), .epsilon = ad_real(s->epsilon),
                           .decay = ad_real(s->decay) };
}

/* The parameters are two arrays, (2, 3) and (2), which the loss joins. */
static void gradient_of(ad_tape *t, const ad_var p[2], ad_var g[2]) {
  const int64_t flat = 6;
  const ad_var x = ad_concat(2, (const ad_var[]){ ad_reshape(p[0], 1, &flat), p[1] }, 0);
  const ad_var weight = ad_arange(t, 1, MOST + 1, 1, ad_type_of(p[0]).dtype);
  const ad_var loss = ad_add(ad_mul(0.5, ad_dot(weight, ad_square(x))),
                             ad_sum(ad_cos(x), AD_ALL_AXES, false));
  ad_grad(loss, 2, p, g);
}

static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var g[2];
  gradient_of(t, in, g);
  ad_optimiser_step(context, 2, in, g, in + 2, out, out + 2);
}

typedef union numbers { double wide[MOST]; float narrow[MOST]; } numbers;

typedef struct running {
  numbers p[2], state[5];
  int64_t step;
  void *in[7];
} running;

static void start(running *r, ad_dtype dtype) {
  memset(r, 0, sizeof *r);
  for (int i = 0; i < MOST; i++)
    check_set_element(dtype, &r->p[i >= 6], i >= 6 ? i - 6 : i, i%2 ? 0.25*(i + 1) : -0.5);
  r->in[0] = &r->p[0], r->in[1] = &r->p[1], r->in[2] = &r->step;
  for (int k = 0; k < 4; k++) r->in[3 + k] = &r->state[k];
}

static double parameter_at(const running *r, ad_dtype dtype, int i) {
  return check_element(dtype, &r->p[i >= 6], i >= 6 ? i - 6 : i);
}

static void test_formulas(const settings *s, ad_dtype dtype, double tolerance) {
  ad_optimiser o = optimiser_of(s);
  const int64_t first[2] = { 2, 3 }, second = 2;
  const ad_type p[2] = { ad_type_make(dtype, 2, first), ad_type_make(dtype, 1, &second) };
  ad_type in[8] = { p[0], p[1] };
  ad_optimiser_state_types(&o, 2, p, in + 2);
  const int n = 2 + ad_optimiser_state_count(&o, 2);
  ad_report report;
  ad_function *f = ad_function_trace_report("step", step_body, &o, n, in, n, &report);
  if (!CHECK_THAT(f, "%s: %s", s->name, report.message)) return;
  running r;
  reference want = { 0 };
  start(&r, dtype);
  for (int i = 0; i < MOST; i++) want.p[i] = parameter_at(&r, dtype, i);
  for (int t = 1; t <= STEPS; t++) {
    CHECK_STATUS(ad_function_call(f, (const void *const *)r.in, r.in, NULL), AD_OK);
    reference_step(s, &want, t);
    for (int i = 0; i < MOST; i++)
      CHECK_THAT(check_near(parameter_at(&r, dtype, i), want.p[i], tolerance),
                 "%s: step %d: p[%d] = %.17g, not %.17g",
                 s->name, t, i, parameter_at(&r, dtype, i), want.p[i]);
  }
  CHECK(r.step == STEPS);
  ad_function_free(f);
}

/* In place and to memory of its own: the same bits. */
static void test_in_place(const settings *s) {
  ad_optimiser o = optimiser_of(s);
  const ad_type p[2] = { AD_F32(2, 3), AD_F32(2) };
  ad_type in[8] = { p[0], p[1] };
  ad_optimiser_state_types(&o, 2, p, in + 2);
  const int n = 2 + ad_optimiser_state_count(&o, 2);
  ad_function *f = ad_function_trace("step", step_body, &o, n, in, n);
  running a, b, c;
  start(&a, AD_F32), start(&b, AD_F32), start(&c, AD_F32);
  for (int t = 1; t <= 20; t++) {
    ad_function_call(f, (const void *const *)a.in, a.in, NULL);
    ad_function_call(f, (const void *const *)b.in, c.in, NULL);
    memcpy(b.p, c.p, sizeof b.p), memcpy(b.state, c.state, sizeof b.state);
    b.step = c.step;
  }
  CHECK_THAT(!memcmp(a.p, b.p, sizeof a.p) && !memcmp(a.state, b.state, sizeof a.state), "%s: in place",
             s->name);
  ad_function_free(f);
}

/* --- derivatives through steps -------------------------------------------------------------------------- */

/* (p, rate, momentum, beta1, beta2, epsilon, decay) -> the loss after some steps, all recorded. */
static void unrolled_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const settings *s = context;
  const ad_optimiser o = { .kind = s->kind, .nesterov = s->nesterov, .rate = in[1], .beta1 = in[3],
                           .beta2 = in[4],
                           .momentum = s->momentum > 0 ? in[2] : ad_real(0), .epsilon = in[5], .decay = in[6],
                           .schedule = ad_schedule_warmup(2, ad_schedule_cosine(8, 0.1)) };
  ad_var p = in[0], state[3], g;
  state[0] = ad_constant(t, AD_I64(), NULL);
  state[1] = state[2] = ad_zeros(t, AD_F64(3));
  for (int k = 0; k < 5; k++) {
    ad_grad(ad_sum(ad_add(ad_square(ad_square(p)), ad_sin(p)), AD_ALL_AXES, false), 1, &p, &g);
    ad_optimiser_step(&o, 1, &p, &g, state, &p, state);
  }
  out[0] = ad_sum(ad_exp(p), AD_ALL_AXES, false);
}

enum { UNKNOWNS = 9 };

/* f, its gradient, and their tangents along xdot: g is (x..) -> (f, df/dx..), its jvp gives twice as many. */
static void call_jvp(ad_function *jvp, const double x[UNKNOWNS], const double xdot[UNKNOWNS],
                     double out[2*(1 + UNKNOWNS)]) {
  const void *in[14];
  void *z[16];
  for (int part = 0; part < 2; part++)
    for (int k = 0; k < 7; k++) {
      in[7*part + k] = (part ? xdot : x) + (k ? 2 + k : 0);
      z[8*part + 1 + k] = out + part*(1 + UNKNOWNS) + 1 + (k ? 2 + k : 0);
    }
  z[0] = out, z[8] = out + 1 + UNKNOWNS;
  CHECK_STATUS(ad_function_call(jvp, in, z, NULL), AD_OK);
}

/* Central differences of 8th order, whose error is about h^8 times the ninth derivative. */
static void differences(ad_function *jvp, const double x[UNKNOWNS], int k, double d[1 + UNKNOWNS]) {
  static const double weight[4] = { 4./5, -1./5, 4./105, -1./280 };
  const double h = 5e-4, none[UNKNOWNS] = { 0 };
  memset(d, 0, (1 + UNKNOWNS)*sizeof *d);
  for (int i = 1; i <= 4; i++)
    for (int side = -1; side <= 1; side += 2) {
      double moved[UNKNOWNS], out[2*(1 + UNKNOWNS)];
      memcpy(moved, x, sizeof moved);
      moved[k] += side*i*h;
      call_jvp(jvp, moved, none, out);
      for (int j = 0; j <= UNKNOWNS; j++) d[j] += side*weight[i - 1]*out[j]/h;
    }
}

static void test_derivative(const settings *s) {
  const ad_type in[7] = { AD_F64(3), AD_F64(), AD_F64(), AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  const double x[UNKNOWNS] = { 0.5, -0.7, 0.9, 0.05, 0.7, 0.8, 0.9, 0.02, 0.03 };
  ad_function *f = ad_function_trace("unrolled", unrolled_body, (void *)(uintptr_t)s, 7, in, 1);
  ad_function *g = ad_function_gradient(f, 0, NULL), *jvp = ad_function_jvp(g);
  for (int k = 0; k < UNKNOWNS; k++) {
    double xdot[UNKNOWNS] = { 0 }, out[2*(1 + UNKNOWNS)], d[1 + UNKNOWNS];
    xdot[k] = 1;
    call_jvp(jvp, x, xdot, out);
    differences(jvp, x, k, d);
    CHECK_NUMBER(out[1 + k], d[0], 1e-11);
    for (int j = 0; j <= UNKNOWNS; j++)
      CHECK_THAT(check_near(out[1 + UNKNOWNS + j], d[j], 1e-9),
                 "%s: by unknown %d, of number %d: %.12g, not %.12g",
                 s->name, k, j, out[1 + UNKNOWNS + j], d[j]);
  }
  ad_function_free(jvp);
  ad_function_free(g);
  ad_function_free(f);
}

/* An element whose gradient is always 0 has v = 0, where sqrt has no slope. */
static void test_dead_unit(const settings *s) {
  ad_tape *t = ad_tape_new();
  const double start_at[2] = { 1, 2 };
  double slopes[2];
  ad_optimiser o = optimiser_of(s);
  ad_var x = ad_array(t, AD_F64(2), start_at), p = x, state[3], g, dx;
  state[0] = ad_constant(t, AD_I64(), NULL);
  state[1] = state[2] = ad_zeros(t, AD_F64(2));
  for (int k = 0; k < 3; k++) {
    const int64_t only = 0;
    ad_grad(ad_square(ad_at(p, 1, &only)), 1, &p, &g);
    CHECK_STATUS(ad_optimiser_step(&o, 1, &p, &g, state, &p, state), AD_OK);
  }
  ad_grad(ad_sum(p, AD_ALL_AXES, false), 1, &x, &dx);
  CHECK_STATUS(ad_read(dx, slopes), AD_OK);
  CHECK_THAT(isfinite(slopes[0]) && isfinite(slopes[1]), "%s: %g, %g", s->name, slopes[0], slopes[1]);
  if (s->decay == 0) CHECK_NUMBER(slopes[1], 1, 1e-15);
  ad_tape_free(t);
}

static void test_frozen(void) {
  ad_tape *t = ad_tape_new();
  const ad_optimiser o = ad_adam(0.1);
  ad_var p[2] = { ad_scalar(t, 1), ad_scalar(t, 2) }, g[2] = { ad_real(0), ad_none() }, state[5];
  g[0] = ad_scalar(t, 3);
  state[0] = ad_array(t, AD_I64(), NULL);
  for (int k = 1; k < 5; k++) state[k] = ad_scalar(t, 0);
  CHECK_STATUS(ad_optimiser_step(&o, 2, p, g, state, p, state), AD_OK);
  CHECK_NUMBER(ad_value(p[0]), 0.9, 1e-8);
  CHECK(ad_value(p[1]) == 2 && ad_value(state[2]) == 0 && ad_value(state[0]) == 1);
  CHECK_NUMBER(ad_value(state[1]), 0.3, 1e-15);
  ad_tape_free(t);
}

/* Parameters without elements are steps like others. */
static void test_empty(void) {
  for (int k = 0; k < KINDS; k++) {
    ad_tape *t = ad_tape_new();
    const ad_optimiser o = optimiser_of(&all[k]);
    ad_var p[2] = { ad_array(t, AD_F32(0, 3), NULL), ad_scalar(t, 1) }, g[2], state[5];
    g[0] = p[0], g[1] = p[1];
    state[0] = ad_array(t, AD_I64(), NULL);
    for (int i = 1; i < 5; i++) state[i] = p[(i + 1)%2];
    CHECK_STATUS(ad_clip_by_norm(2, g, 0.5, g), AD_OK);
    CHECK_STATUS(ad_optimiser_step(&o, 2, p, g, state, p, state), AD_OK);
    CHECK(ad_type_equal(ad_type_of(p[0]), AD_F32(0, 3)) && ad_value(p[1]) < 1);
    ad_tape_free(t);
  }
}

/* --- schedules ------------------------------------------------------------------------------------------ */

static ad_var halves(ad_var t, void *context) {
  (void)context;
  return ad_div(1, ad_add(t, 2));
}

static double schedule_value(int which, double t) {
  const double pi = acos(-1);
  switch (which) {
    case 0: return 1;
    case 1: return pow(0.5, floor(t/10));
    case 2: return t >= 40 ? 0.1 : 0.1 + 0.9*(1 + cos(pi*t/40))/2;
    case 3: return 1/(t + 2);
    default: return t < 5 ? (t + 1)/5 : schedule_value(which - 4, t - 5);
  }
}

static void test_schedule(int which, ad_schedule s) {
  ad_tape *t = ad_tape_new();
  ad_var step = ad_array(t, AD_I64(), NULL), recorded = ad_schedule_at(&s, step);
  for (int i = 0; i < 70; i++) {
    double literal;
    CHECK_STATUS(ad_set_value(step, i), AD_OK);
    CHECK_STATUS(ad_read(ad_schedule_at(&s, i), &literal), AD_OK);
    CHECK_NUMBER(literal, schedule_value(which, i), 1e-15);
    if (which) CHECK_NUMBER(ad_value(recorded), schedule_value(which, i), 1e-15);
  }
  ad_tape_free(t);
}

static void test_schedules(void) {
  const ad_schedule plain[4] = { { .kind = AD_SCHEDULE_CONSTANT }, ad_schedule_steps(10, 0.5),
                                 ad_schedule_cosine(40, 0.1), ad_schedule_own(halves, NULL) };
  for (int k = 0; k < 4; k++) {
    test_schedule(k, plain[k]);
    test_schedule(4 + k, ad_schedule_warmup(5, plain[k]));
  }
  ad_tape *t = ad_tape_new();
  const ad_schedule wrong = ad_schedule_cosine(0, 1);
  CHECK(!ad_is_valid(ad_schedule_at(&wrong, ad_scalar(t, 1))));
  CHECK_STATUS(ad_tape_status(t), AD_ERROR_ARGUMENT);
  CHECK(strstr(ad_tape_message(t), "period"));
  ad_tape_free(t);
}

/* --- clipping ------------------------------------------------------------------------------------------- */

static void clip_norm_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_clip_by_norm(2, in, in[2], out);
  out[2] = ad_global_norm(2, in);
}

static void clip_value_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_clip_by_value(2, in, in[2], out);
}

static void test_clipping(void) {
  const ad_type in[3] = { AD_F64(2), AD_F64(), AD_F64() };
  const double x[2] = { 3, -4 }, y = 12;
  double a[2], b, norm;
  ad_function *f = ad_function_trace("norm", clip_norm_body, NULL, 3, in, 3);
  ad_function *g = ad_function_trace("value", clip_value_body, NULL, 3, in, 2);
  for (double limit = 6.5; limit < 60; limit *= 4) {
    const double factor = limit < 13 ? limit/13 : 1;
    const void *const at[3] = { x, &y, &limit };
    ad_check_result found;
    CHECK_STATUS(ad_function_call(f, at, (void *[]){ a, &b, &norm }, NULL), AD_OK);
    CHECK_NUMBER(norm, 13, 1e-15);
    CHECK(check_near(a[0], 3*factor, 1e-15) && check_near(a[1], -4*factor, 1e-15)
          && check_near(b, y*factor, 1e-15));
    CHECK(ad_check(f, at, &found) == AD_OK && found.error < 1e-9 && found.transpose_error < 1e-12);
    CHECK_STATUS(ad_function_call(g, (const void *[]){ x, &y, &limit }, (void *[]){ a, &b }, NULL), AD_OK);
    CHECK(a[0] == 3 && a[1] == -4 && b == fmin(12, limit));
    CHECK(ad_check(g, at, &found) == AD_OK && found.error < 1e-9 && found.transpose_error < 1e-12);
  }
  ad_function_free(g);
  ad_function_free(f);
}

/* Norms do not overflow; zero gradients stay zero; frozen ones are left out; f32 stays f32. */
static void test_clipping_edges(void) {
  ad_tape *t = ad_tape_new();
  const double big[2] = { 3e200, 4e200 };
  const float small[2] = { 3, 4 };
  double out[2];
  ad_var g[3] = { ad_array(t, AD_F64(2), big), ad_none(), ad_array(t, AD_F32(2), small) };
  CHECK_STATUS(ad_clip_by_norm(3, g, 1, g), AD_OK);
  CHECK(ad_is_none(g[1]) && ad_type_of(g[2]).dtype == AD_F32);
  CHECK_STATUS(ad_read(g[0], out), AD_OK);
  CHECK(check_near(out[0], 0.6, 1e-15) && check_near(out[1], 0.8, 1e-15));
  ad_var zero = ad_array(t, AD_F64(2), NULL);
  CHECK_STATUS(ad_clip_by_norm(1, &zero, 1, &zero), AD_OK);
  CHECK(ad_read(zero, out) == AD_OK && out[0] == 0 && out[1] == 0);
  CHECK_STATUS(ad_clip_by_norm(1, &zero, -1, &zero), AD_ERROR_ARGUMENT);
  CHECK(strstr(ad_tape_message(t), "not positive") && !ad_is_valid(zero));
  ad_tape_free(t);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void expect_refusal(const ad_optimiser *o, ad_type parameter, ad_type gradient, ad_type count,
                           ad_status status, const char *says) {
  ad_tape *t = ad_tape_new();
  ad_var p = ad_array(t, parameter, NULL), g = ad_array(t, gradient, NULL), state[3];
  state[0] = ad_array(t, count, NULL);
  state[1] = state[2] = ad_array(t, parameter, NULL);
  CHECK_STATUS(ad_optimiser_step(o, 1, &p, &g, state, &p, state), status);
  CHECK_THAT(strstr(ad_tape_message(t), says), "\"%s\" does not say \"%s\"", ad_tape_message(t), says);
  CHECK(!ad_is_valid(p) && !ad_is_valid(state[0]));
  ad_tape_free(t);
}

static void test_refusals(void) {
  const ad_optimiser good = ad_adam(0.1), negative = ad_sgd(-1), infinite = ad_sgd(INFINITY),
                     still = ad_sgd_momentum(1, 0, true);
  ad_optimiser high = good, kind = good;
  high.beta2 = ad_real(1);
  kind.kind = (ad_optimiser_kind)17;
  expect_refusal(&good, AD_F64(2, 3), AD_F64(3, 2), AD_I64(), AD_ERROR_SHAPE,
                 "gradient of parameter 0 is f64(3,2)");
  expect_refusal(&good, AD_F64(2), AD_F32(2), AD_I64(), AD_ERROR_DTYPE, "is f32(2), not f64(2)");
  expect_refusal(&good, AD_I64(2), AD_I64(2), AD_I64(), AD_ERROR_DTYPE, "no float");
  expect_refusal(&good, AD_F64(2), AD_F64(2), AD_F64(), AD_ERROR_DTYPE, "number of steps");
  expect_refusal(&negative, AD_F64(2), AD_F64(2), AD_I64(), AD_ERROR_ARGUMENT, "the rate is -1");
  expect_refusal(&infinite, AD_F64(2), AD_F64(2), AD_I64(), AD_ERROR_ARGUMENT, "the rate is inf");
  expect_refusal(&high, AD_F64(2), AD_F64(2), AD_I64(), AD_ERROR_ARGUMENT, "beta2 is 1, not in [0, 1)");
  expect_refusal(&kind, AD_F64(2), AD_F64(2), AD_I64(), AD_ERROR_ARGUMENT, "no such kind");
  expect_refusal(&still, AD_F64(2), AD_F64(2), AD_I64(), AD_ERROR_ARGUMENT, "nesterov");
}

static void test_state(void) {
  const ad_optimiser o = ad_adamw(1e-3, 1e-2);
  ad_parameters *p = ad_parameters_new();
  ad_parameters_add(p, "a/weight", AD_F32(2, 3), ad_init_zeros());
  ad_parameters_add(p, "a/bias", AD_F64(3), ad_init_zeros());
  ad_parameters *state = ad_optimiser_state(&o, p);
  CHECK(ad_parameters_entries(state) == ad_optimiser_state_count(&o, 2));
  CHECK(!strcmp(ad_parameters_name(state, 0), "step")
        && !strcmp(ad_parameters_name(state, 4), "square/a/bias"));
  ad_type type[5];
  ad_optimiser_state_types(&o, 2, ad_parameters_types(p), type);
  for (int i = 0; i < 5; i++) CHECK(ad_type_equal(type[i], ad_parameters_type(state, i)));
  ad_parameters_free(state);
  ad_parameters_free(p);
}

int main(void) {
  for (int k = 0; k < KINDS; k++) {
    test_formulas(&all[k], AD_F64, 2e-14);
    test_formulas(&all[k], AD_F32, 2e-5);
    test_in_place(&all[k]);
    test_derivative(&all[k]);
    test_dead_unit(&all[k]);
  }
  test_frozen();
  test_empty();
  test_schedules();
  test_clipping();
  test_clipping_edges();
  test_refusals();
  test_state();
  return check_summary();
}
