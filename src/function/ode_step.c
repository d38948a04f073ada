/* ode_step.c -- one step of Dormand and Prince's method, recorded: stages, error, the next step's size.
 *
 * Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, 2nd ed.: tables II.4.6 and
 * II.5.2, section II.4 for the first step and the controller; the constants of the code DOPRI5.
 *
 * Whatever has to do with step sizes is constant to derivatives. A step that is refused leaves the state as
 * it was, but for the size of the next.
 */
#include "function/ode.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "function/wrt.h"

#include <math.h>
#include <string.h>

enum { STAGES = 7 };

static const double node[STAGES] = { 0, 1./5, 3./10, 4./5, 8./9, 1, 1 };
static const double weight[STAGES][STAGES] = {
  { 0 },
  { 1./5 },
  { 3./40, 9./40 },
  { 44./45, -56./15, 32./9 },
  { 19372./6561, -25360./2187, 64448./6561, -212./729 },
  { 9017./3168, -355./33, 46732./5247, 49./176, -5103./18656 },
  { 35./384, 0, 500./1113, 125./192, -2187./6784, 11./84 },
};
/* Order 5 minus order 4. */
static const double error_weight[STAGES] = {
  71./57600, 0, -71./16695, 71./1920, -17253./339200, 22./525, -1./40
};
static const double bow_weight[STAGES] = {
  -12715105075./11282082432, 0, 87487479700./32700410799, -10690763975./1880347072,
  701980252875./199316789632, -1453857185./822651844, 69997945./29380423
};

/* The controller: h is divided by error^(1/5 - 3/4 beta) / last^beta / safe, within bounds. */
static const double beta = 0.04, safe = 0.9, fastest = 10, slowest = 0.2;

static ad_var halt(ad_var x) { return ad_stop_gradient(x); }

ad_var ode_slope(ad_tape *tape, const ode *o, ad_var t, ad_var y, const ad_var p[]) {
  const ad_function *f = o->f;
  ad_var *x = vars_get(tape, (size_t)f->n_in), dy = handle_invalid(tape);
  if (!x) return dy;
  x[0] = ad_cast(t, node_type(f->body, f->in[0])->type.dtype);
  x[1] = y;
  memcpy(x + 2, p, (size_t)(f->n_in - 2)*sizeof *x);
  ad_function_apply(o->f, x, &dy);
  vars_release(tape, x, (size_t)f->n_in);
  return dy;
}

/* sum w[i] k[i] over the first n, without the zeros among w. */
static ad_var combine(int n, const double w[], const ad_var k[]) {
  ad_var sum = ad_none();
  for (int i = 0; i < n; i++)
    if (w[i] != 0) sum = ad_is_none(sum) ? ad_mul(k[i], ad_real(w[i])) : ad_fma(k[i], ad_real(w[i]), sum);
  return sum;
}

/* In the dtype of like: step sizes are f64. */
static ad_var as(ad_var x, ad_var like) { return ad_cast(x, ad_type_of(like).dtype); }

/* Root mean square of x/scale, as a number that no derivative passes; 0 for an empty y. */
static ad_var weighted_norm(ad_tape *tape, ad_var x, ad_var scale) {
  if (ad_type_count(ad_type_of(x)) == 0) return ad_full(tape, ad_type_make(AD_F64, 0, NULL), 0);
  const ad_var ratio = ad_cast(ad_div(halt(x), scale), AD_F64);
  return ad_sqrt(ad_mean(ad_square(ratio), AD_ALL_AXES, false));
}

/* absolute + relative*|y| */
static ad_var tolerance(const ode *o, ad_var y) {
  return ad_add(ad_mul(halt(y), ad_real(o->options.relative)), ad_real(o->options.absolute));
}

/* --- the first step ------------------------------------------------------------------------------------- */

/* The guess of section II.4: such that an explicit Euler step makes 1% of y, and that of the fifth order
 * an error of 1%. */
static ad_var first_size(ad_tape *tape, const ode *o, const ad_var state[], ad_var length, const ad_var p[]) {
  const ad_var y = state[ODE_Y], k = state[ODE_K], size = ad_abs(length), scale = tolerance(o, ad_abs(y));
  const ad_var d0 = weighted_norm(tape, y, scale), d1 = weighted_norm(tape, k, scale);
  const ad_var tiny = ad_logical_or(ad_less(d0, ad_real(1e-5)), ad_less(d1, ad_real(1e-5)));
  ad_var h0 = ad_select(tiny, ad_real(1e-6), ad_mul(ad_div(d0, d1), ad_real(0.01)));
  h0 = ad_min(h0, size);
  const ad_var step = ad_copysign(h0, length);
  const ad_var ahead = ad_fma(as(step, y), k, y);
  const ad_var there = ode_slope(tape, o, ad_add(state[ODE_T], step), ahead, p);
  const ad_var d2 = ad_div(weighted_norm(tape, ad_sub(there, k), scale), h0), most = ad_max(d1, d2);
  const ad_var flat = ad_less_equal(most, ad_real(1e-15));
  const ad_var h1 = ad_select(flat, ad_max(ad_real(1e-6), ad_mul(h0, ad_real(1e-3))),
                              ad_pow(ad_div(ad_real(0.01), most), ad_real(0.2)));
  return ad_min(ad_min(ad_mul(h0, ad_real(100)), h1), size);
}

void ode_begin(ad_tape *tape, const ode *o, ad_var t, ad_var y, ad_var stop, const ad_var p[],
               ad_var state[]) {
  const ad_type number = ad_type_make(AD_F64, 0, NULL);
  const ad_var length = halt(ad_sub(stop, t));
  state[ODE_T] = state[ODE_T_OLD] = t;
  state[ODE_Y] = state[ODE_Y_OLD] = y;
  state[ODE_K] = state[ODE_K_OLD] = ode_slope(tape, o, t, y, p);
  state[ODE_ERROR] = ad_full(tape, number, 1e-4);
  state[ODE_GROWTH] = ad_full(tape, number, fastest);
  state[ODE_H_OLD] = ad_full(tape, number, 1);
  state[ODE_BOW] = ad_zeros(tape, ad_type_of(y));
  const ad_var h = o->options.first_step > 0 ? ad_full(tape, number, o->options.first_step)
                                             : first_size(tape, o, state, length, p);
  state[ODE_H] = halt(ad_copysign(h, length));
}

/* --- a step --------------------------------------------------------------------------------------------- */

/* How the step ends: at the last time if that is nearly reached, where t is that time to the last bit. */
typedef struct stride { ad_var h, t; } stride;

static stride take_stride(const ode *o, const ad_var in[]) {
  const double nearly = o->options.fixed ? 1 + 1e-9 : 1.01;
  const ad_var rest = halt(ad_sub(in[ODE_STOP], in[ODE_T])), h = halt(in[ODE_H]);
  const ad_var last = ad_greater_equal(ad_mul(ad_abs(h), ad_real(nearly)), ad_abs(rest));
  stride s = { .h = ad_select(last, rest, h) };
  const ad_var t = ad_add(in[ODE_T], s.h);
  s.t = ad_add(t, halt(ad_select(last, ad_sub(in[ODE_STOP], t), ad_real(0))));
  return s;
}

/* The slopes k[1..6], and y at the end. */
static ad_var run_stages(ad_tape *tape, const ode *o, const ad_var in[], ad_var h, ad_var k[]) {
  ad_var y = in[ODE_Y];
  for (int s = 1; s < STAGES; s++) {
    y = ad_fma(as(h, in[ODE_Y]), combine(s, weight[s], k), in[ODE_Y]);
    const ad_var t = ad_add(in[ODE_T], ad_mul(h, ad_real(node[s])));
    k[s] = ode_slope(tape, o, t, y, in + ODE_PARAMETERS);
  }
  return y;
}

typedef struct judgement { ad_var good, h, error; } judgement;

/* nan is no good step, and shortens the next one most. */
static judgement judge(ad_tape *tape, const ode *o, const ad_var in[], ad_var h, ad_var y, const ad_var k[]) {
  const ad_var scale = tolerance(o, ad_max(ad_abs(halt(in[ODE_Y])), ad_abs(halt(y))));
  const ad_var estimate = ad_mul(as(h, y), combine(STAGES, error_weight, k));
  const ad_var error = weighted_norm(tape, estimate, scale);
  judgement j = { .good = ad_less_equal(error, ad_real(1)) };
  const ad_var by_error = ad_div(ad_pow(error, ad_real(0.2 - 0.75*beta)), ad_real(safe));
  const ad_var by_both = ad_mul(by_error, ad_pow(in[ODE_ERROR], ad_real(-beta)));
  const ad_var divisor = ad_select(j.good, ad_max(by_both, ad_reciprocal(in[ODE_GROWTH])), by_error);
  j.h = ad_div(h, ad_min(divisor, ad_real(1/slowest)));
  j.error = ad_select(j.good, ad_max(error, ad_real(1e-4)), in[ODE_ERROR]);
  return j;
}

void ode_step(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const ode *o = context;
  const stride s = take_stride(o, in);
  ad_var k[STAGES] = { in[ODE_K] };
  const ad_var y = run_stages(tape, o, in, s.h, k);
  out[ODE_T] = s.t, out[ODE_H] = s.h;
  out[ODE_Y] = y, out[ODE_K] = k[STAGES - 1];
  out[ODE_ERROR] = in[ODE_ERROR], out[ODE_GROWTH] = in[ODE_GROWTH];
  out[ODE_T_OLD] = in[ODE_T], out[ODE_H_OLD] = s.h;
  out[ODE_Y_OLD] = in[ODE_Y], out[ODE_K_OLD] = in[ODE_K];
  out[ODE_BOW] = ad_mul(as(s.h, y), combine(STAGES, bow_weight, k));
  if (o->options.fixed) {
    out[ODE_H] = in[ODE_H];
    return;
  }
  const judgement j = judge(tape, o, in, s.h, y, k);
  for (int i = 0; i < ODE_STATES; i++)
    if (i != ODE_H && i != ODE_ERROR && i != ODE_GROWTH) out[i] = ad_select(j.good, out[i], in[i]);
  out[ODE_H] = halt(j.h);
  out[ODE_ERROR] = halt(j.error);
  out[ODE_GROWTH] = ad_select(j.good, ad_real(fastest), ad_real(1));
}

/* --- between steps -------------------------------------------------------------------------------------- */

/* With c = (t - t_old)/h, b = 1 - c and d = y - y_old:
 *
 *   y_old + c (d + b (h k_old - d + c (2d - h (k + k_old) + b bow)))
 *
 * Times out of order are outside of the step. */
ad_var ode_interpolate(const ad_var state[], ad_var t) {
  const ad_var h = halt(state[ODE_H_OLD]), y0 = state[ODE_Y_OLD];
  const ad_var c64 = ad_div(ad_sub(t, state[ODE_T_OLD]), h);
  const ad_var inside = ad_less_equal(ad_abs(ad_sub(halt(c64), ad_real(0.5))), ad_real(0.501));
  const ad_var c = as(ad_select(inside, c64, ad_real(NAN)), y0), b = ad_sub(ad_real(1), c), hy = as(h, y0);
  const ad_var d = ad_sub(state[ODE_Y], y0), before = ad_sub(ad_mul(hy, state[ODE_K_OLD]), d);
  const ad_var after = ad_sub(ad_sub(d, ad_mul(hy, state[ODE_K])), before);
  ad_var z = ad_fma(b, state[ODE_BOW], after);
  z = ad_fma(c, z, before);
  z = ad_fma(b, z, d);
  return ad_fma(c, z, y0);
}
