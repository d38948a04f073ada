/* test_custom.c -- derivatives of a user's own: functions whose value is a callback, and recorded functions
 * with another derivative. The oracle is the same mathematics recorded: with every choice of rules, by itself
 * and inside maps, loops and branches, values and derivatives of every mode and of second order must agree.
 */
#include "function/custom.h"

/* --- every choice of rules, in every setting ------------------------------------------------------------ */

static void test_choices(void) {
  ad_function *f = recorded();
  for (unsigned choice = 0; choice < 64; choice++) {
    char name[80];
    if (!(choice & (JVP | VJP | JACOBIAN | CUSTOM)) || (choice & BY_HAND && !(choice & JVP))) continue;
    snprintf(name, sizeof name, "rules %u", choice);
    ad_function *g = made(choice);
    same_derivatives(name, g, f);
    for (int k = 0; k < (int)(sizeof settings/sizeof *settings); k++) {
      snprintf(name, sizeof name, "rules %u in %s", choice, settings[k].name);
      if (k > 0 && choice != JVP && choice != VJP && choice != (CUSTOM | JVP | PATTERN)
          && choice != (JACOBIAN | PATTERN))
        continue;
      ad_function *a = in_setting(k, g), *b = in_setting(k, f);
      same_derivatives(name, a, b);
      ad_function_free(a);
      ad_function_free(b);
    }
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* Coefficients to order 4, with a curve through both inputs and through one alone. */
static void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_var y[2], yc[10], xc[8];
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_function_apply(f, x, y);
  for (int k = 0; k < 4; k++) {
    xc[k] = k == 2 ? ad_none() : ad_mul(in[0], ad_real(0.3 + 0.2*k));
    xc[4 + k] = k == 1 ? ad_none() : ad_mul(in[1], ad_real(0.7 - 0.1*k));
  }
  const ad_var variable[2] = { in[0], in[1] };
  ad_taylor(4, 2, variable, xc, 2, y, yc);
  for (int k = 0; k < 10; k++) out[k] = yc[k];
  ad_taylor(3, 1, variable + 1, xc + 4, 2, y, yc);
  for (int k = 0; k < 8; k++) out[10 + k] = yc[k];
}

static void test_taylor(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  ad_function *f = recorded();
  for (unsigned choice = 1; choice < 8; choice++) {
    char name[40];
    snprintf(name, sizeof name, "series, rules %u", choice);
    ad_function *g = made(choice);
    ad_function *a = ad_function_trace("a", series_body, g, 2, type, 18),
                *b = ad_function_trace("b", series_body, f, 2, type, 18);
    same(name, a, b);
    ad_function_free(a);
    ad_function_free(b);
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* --- on a tape that computes ---------------------------------------------------------------------------- */

static void test_tape(void) {
  ad_function *f = recorded();
  for (unsigned choice = 1; choice < 5; choice *= 2) {
    ad_function *g = made(choice);
    double got[3], want[3];
    for (int k = 0; k < 2; k++) {
      ad_tape *t = ad_tape_new();
      const double at[3] = { 0.5, 0.25, 1.5 };
      const ad_var in[3] = { ad_array(t, AD_F64(3), at), ad_full(t, AD_I32(), 2), ad_scalar(t, 0.75) };
      ad_var y[2];
      ad_function_apply(k ? f : g, in, y);
      CHECK_NUMBER(ad_value(y[1]), exp(-0.75), 1e-15);
      CHECK_STATUS(ad_backward(loss(y)), AD_OK);
      CHECK_STATUS(ad_read_adjoint(in[0], k ? want : got), AD_OK);
      ad_var d[1];
      const ad_var x[1] = { in[2] };
      ad_grad(loss(y), 1, x, d);
      CHECK_NUMBER(ad_value(d[0]),
                   4 * (0.5 * 0.25 + 1.5) + 2 * 0.75 * sin(1.5) * sin(1.5) + exp(-0.75) * (2 + sin(1.5)),
                   1e-13);
      ad_tape_free(t);
    }
    for (int i = 0; i < 3; i++) CHECK_NUMBER(got[i], want[i], 1e-14);
    ad_function_free(g);
  }
  ad_function_free(f);
}

/* --- structural zeros ----------------------------------------------------------------------------------- */

/* sqrt(y[1]) at 0 is not differentiable; along s the recorded e does not move, so nothing meets infinity. */
static void kink_body(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_var x[3] = { in[0], ad_full(t, AD_I32(), 2), in[1] };
  ad_var y[2];
  ad_function_apply(f, x, y);
  out[0] = ad_add(ad_sum(y[0], AD_ALL_AXES, false), ad_sqrt(ad_sub(y[1], ad_real(1))));
}

static void test_pattern(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64() };
  const double x[3] = { 0, 1, 1 }, s = 0.5;
  for (unsigned choice = 1; choice < 5; choice *= 2) {
    ad_function *f = made(choice | PATTERN), *g = ad_function_trace("kink", kink_body, f, 2, type, 1);
    ad_function *d = ad_function_gradient(g, 1, (const int[]){ 1 });
    double value, slope;
    CHECK_STATUS(ad_function_call(d, (const void *const[]){ x, &s }, (void *const[]){ &value, &slope }, NULL),
                 AD_OK);
    CHECK_NUMBER(slope, 2 + sin(1.0), 1e-14);
    ad_function *j = ad_function_jvp(g);
    const double one = 1;
    CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, &s, NULL, &one },
                                  (void *const[]){ &value, &slope }, NULL),
                 AD_OK);
    CHECK(isnan(slope));            /* tangents of all inputs are connected here, and 0 meets infinity */
    ad_function_free(j);
    ad_function_free(d);
    ad_function_free(g);
    ad_function_free(f);
  }
}

/* --- another derivative than its own -------------------------------------------------------------------- */

static void round_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_floor(ad_add(in[0], ad_real(0.5)));
}
static void through_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = in[1];
}

static void test_replaced(void) {
  const ad_type type[2] = { AD_F64(4), AD_F64(4) };
  ad_function *f = ad_function_trace("round", round_body, NULL, 1, type, 1);
  ad_function *through = ad_function_trace("through", through_body, NULL, 2, type, 1),
              *cubic = ad_function_trace("cubic", cubic_body, NULL, 2, type, 1);
  const double x[4] = { 0.2, 0.7, -1.4, 2.5 }, one[4] = { 1, 1, 1, 1 };
  for (int k = 0; k < 4; k++) {
    ad_custom_rule given = { 0 };
    *(k & 1 ? &given.jvp : &given.vjp) = k & 2 ? cubic : through;
    ad_function *g = ad_custom(f, &given, NULL), *v = ad_function_vjp(g), *j = ad_function_jvp(g),
                *h = ad_function_vjp(v), *hj = ad_function_jvp(j);
    double y[4], d[4], e[4];
    CHECK_STATUS(ad_function_call(v, (const void *const[]){ x, one }, (void *const[]){ y, d }, NULL), AD_OK);
    CHECK_STATUS(ad_function_call(j, (const void *const[]){ x, one }, (void *const[]){ NULL, e }, NULL),
                 AD_OK);
    for (int i = 0; i < 4; i++) {
      CHECK_NUMBER(y[i], floor(x[i] + 0.5), 0);
      CHECK_NUMBER(d[i], k & 2 ? 3*x[i]*x[i] : 1, 1e-15);
      CHECK_NUMBER(e[i], k & 2 ? 3*x[i]*x[i] : 1, 1e-15);
    }
    /* vjp of the vjp, with cotangent 1 for xbar alone, and jvp of the jvp along x: 6 x */
    CHECK_STATUS(ad_function_call(h, (const void *const[]){ x, one, NULL, one },
                                  (void *const[]){ NULL, NULL, d, NULL }, NULL),
                 AD_OK);
    CHECK_STATUS(ad_function_call(hj, (const void *const[]){ x, one, one, NULL },
                                  (void *const[]){ NULL, NULL, NULL, e }, NULL), AD_OK);
    for (int i = 0; i < 4; i++) {
      CHECK_NUMBER(d[i], k & 2 ? 6*x[i] : 0, 1e-15);
      CHECK_NUMBER(e[i], k & 2 ? 6*x[i] : 0, 1e-15);
    }
    ad_function_free(hj);
    ad_function_free(h);
    ad_function_free(j);
    ad_function_free(v);
    ad_function_free(g);
  }
  ad_function_free(f);
  ad_function_free(through);
  ad_function_free(cubic);
}

int main(void) {
  test_choices();
  test_taylor();
  test_tape();
  test_pattern();
  test_replaced();
  return check_summary();
}
