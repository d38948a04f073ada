/* ode.c -- integration through all times: a loop of steps from one time to the next, in a scan over times.
 *
 * A flow is one function, (y0, times, p..) -> (m, y), for an equation, options and a number of times; it is
 * made once and kept by the function of the equation.
 */
#include "function/ode.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "function/derived.h"
#include "function/implicit.h"
#include "function/wrt.h"

#include <math.h>
#include <string.h>

/* --- the keeper ----------------------------------------------------------------------------------------- */

enum { WORDS = 8 };

static uint64_t bits_of(double x) {
  uint64_t word;
  memcpy(&word, &x, sizeof word);
  return word;
}

static void to_words(const ad_ode *p, uint64_t word[WORDS]) {
  const uint64_t choices = (uint64_t)p->fixed | (uint64_t)p->adjoint << 8 | (uint64_t)p->keep << 16;
  const uint64_t all[WORDS] = { bits_of(p->relative), bits_of(p->absolute), bits_of(p->first_step), choices,
                                (uint64_t)p->steps, (uint64_t)p->k, (uint64_t)p->bytes };
  memcpy(word, all, sizeof all);
}

static uint64_t hash(const uint64_t word[WORDS]) {
  uint64_t h = 0;
  for (int i = 0; i < WORDS; i++) {
    h = (h ^ word[i])*0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  return h;
}

static void words_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)in;
  out[0] = ad_constant(t, AD_I64(WORDS), context);
}

/* The hash finds it, and the words decide: another keeper in its place sends us to the next one. */
ad_function *ode_keeper(ad_tape *t, ad_function *f, const ode *o) {
  uint64_t word[WORDS];
  to_words(&o->options, word);
  for (uint64_t h = hash(word);; h++) {
    ad_function *k = function_kept(t, f, DERIVED_ODE, (int64_t)h, "", words_body, word, 0, NULL, 1);
    if (!k || !memcmp(node_data(k->body, k->out[0]), word, sizeof word)) return k;
  }
}

int64_t ode_number(ode_kept which, int64_t times) { return times*ODE_KINDS + (int64_t)which; }

/* --- from one time to the next -------------------------------------------------------------------------- */

/* What a trace of a step needs to know: types of its inputs, which are the states, two times, parameters. */
typedef struct integrator {
  const ode *o;
  ad_tape *t;                       /* where errors go */
  ad_function *step, *wanting;      /* the loop's body and condition */
  int n_in;
  ad_type *in;
  size_t bytes;
} integrator;

static int parameters(const ode *o) { return o->f->n_in - 2; }

/* Is the target still ahead, and the last time too? A size that came down to 0 has its direction still. */
static void wanting_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  const ad_var direction = ad_copysign(ad_real(1), in[ODE_H]), t = in[ODE_T];
  const ad_var short_of_target = ad_greater(ad_mul(ad_sub(in[ODE_TARGET], t), direction), ad_real(0));
  out[0] = ad_logical_and(short_of_target,
                          ad_greater(ad_mul(ad_sub(in[ODE_STOP], t), direction), ad_real(0)));
}

static ad_function *trace(ad_tape *t, const ode *o, const char *name, ad_body *body, void *context, int n_in,
                          const ad_type in[], int n_out) {
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_function *f = ad_function_trace_with(&o->f->body->allocator, name, body, context, n_in, in, n_out,
                                          &report);
  if (!f) tape_fail(t, report.status, "%s", report.message);
  return f;
}

static bool open_integrator(integrator *w, ad_tape *t, const ode *o) {
  const ad_function *f = o->f;
  const ad_type y = node_type(f->body, f->in[1])->type, number = ad_type_make(AD_F64, 0, NULL);
  *w = (integrator){ .o = o, .t = t, .n_in = ODE_PARAMETERS + parameters(o) };
  w->bytes = ((size_t)w->n_in + 1)*sizeof *w->in;
  w->in = memory_get(&t->allocator, w->bytes);
  if (!w->in) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  for (int i = 0; i < ODE_PARAMETERS; i++) w->in[i] = number;
  w->in[ODE_Y] = w->in[ODE_K] = w->in[ODE_Y_OLD] = w->in[ODE_K_OLD] = w->in[ODE_BOW] = y;
  for (int k = 0; k < parameters(o); k++) w->in[ODE_PARAMETERS + k] = node_type(f->body, f->in[k + 2])->type;
  w->step = trace(t, o, "ode_step", ode_step, (void *)(uintptr_t)o, w->n_in, w->in, ODE_STATES);
  /* Its name is what the message says of a limit that is reached. */
  if (w->step)
    w->wanting = trace(t, o, "odeint_not_at_the_next_time", wanting_body, NULL, ODE_STOP + 1, w->in, 1);
  return w->wanting != NULL;
}

static void close_integrator(integrator *w) {
  ad_function_free(w->step);
  ad_function_free(w->wanting);
  memory_release(&w->t->allocator, w->in, w->bytes);
}

static ad_loop loop_options(const ode *o, bool steps) {
  const ad_ode *p = &o->options;
  return (ad_loop){ .keep = p->keep, .k = p->k, .bytes = p->bytes, .limit = steps ? p->steps : 0 };
}

/* The body of the scan, and all there is for two times: (states, target, stop, p..) -> (states, y). */
static void advance_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const integrator *w = context;
  const ad_loop options = loop_options(w->o, true);
  (void)t;
  if (ad_while(w->wanting, w->step, &options, in, out) == AD_OK)
    out[ODE_STATES] = ode_interpolate(out, in[ODE_TARGET]);
}

/* --- the flow ------------------------------------------------------------------------------------------- */

static ad_var time_at(ad_var times, int64_t i) { return ad_at(times, 1, &i); }

/* y at the times behind the first one, (m - 1, y). v: the scan's operands, states first. */
static ad_var later(ad_tape *t, integrator *w, int64_t m, ad_var times, ad_var v[]) {
  ad_var out[ODE_STATES + 1], y = handle_invalid(t);
  if (m == 2) {
    v[ODE_TARGET] = v[ODE_STOP];
    out[ODE_STATES] = y;
    advance_body(t, v, out, w);
    return ad_expand(out[ODE_STATES], 0);
  }
  const ad_loop options = loop_options(w->o, false);
  v[ODE_TARGET] = ad_slice(times, 0, 1, m - 1, 1);
  ad_function *f = trace(t, w->o, "ode_advance", advance_body, w, w->n_in, w->in, ODE_STATES + 1);
  if (f && ad_scan(f, ODE_STATES, &options, v, out) == AD_OK) y = out[ODE_STATES];
  ad_function_free(f);
  return y;
}

/* Are the times in order, from the first to the last? */
static ad_var in_order(ad_var times, int64_t m) {
  const ad_var length = ad_sub(time_at(times, m - 1), time_at(times, 0));
  const ad_var gap = ad_sub(ad_slice(times, 0, 1, m - 1, 1), ad_slice(times, 0, 0, m - 1, 1));
  return ad_all(ad_greater_equal(ad_mul(gap, ad_sign(length)), ad_real(0)), AD_ALL_AXES, false);
}

static void flow_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ode *o = context;
  const int64_t m = ad_type_of(in[1]).dim[0];
  out[0] = ad_expand(in[0], 0);
  if (m == 1) return;
  integrator w;
  const size_t n = (size_t)(ODE_PARAMETERS + parameters(o));
  ad_var *v = vars_get(t, n);
  if (!v) return;
  if (open_integrator(&w, t, o)) {
    memcpy(v + ODE_PARAMETERS, in + 2, (size_t)parameters(o)*sizeof *v);
    v[ODE_STOP] = time_at(in[1], m - 1);
    ode_begin(t, o, time_at(in[1], 0), in[0], v[ODE_STOP], v + ODE_PARAMETERS, v);
    const ad_var both[2] = { out[0], later(t, &w, m, in[1], v) };
    out[0] = ad_concat(2, both, 0);
    if (m > 2) out[0] = ad_select(in_order(in[1], m), out[0], ad_real(NAN));
  }
  close_integrator(&w);
  vars_release(t, v, n);
}

ad_function *ode_flow(ad_tape *t, ad_function *keeper, const ode *o, ode_kept which, int64_t times) {
  const int n = o->f->n_in;
  const size_t bytes = (size_t)n*sizeof(ad_type);
  ad_type *in = memory_get(&t->allocator, bytes);
  if (!in) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  for (int k = 0; k < n; k++) in[k] = node_type(o->f->body, o->f->in[k])->type;
  in[0] = in[1];
  in[1] = ad_type_make(AD_F64, 1, &times);
  ad_function *kept = function_kept(t, keeper, DERIVED_ODE, ode_number(which, times), "_flow", flow_body,
                                    (void *)(uintptr_t)o, n, in, 1);
  memory_release(&t->allocator, in, bytes);
  return kept;
}

/* --- recording ------------------------------------------------------------------------------------------ */

static bool is_time(ad_type type) { return type.rank == 0 && type.dtype >= AD_F32; }

static ad_status check_types(ad_tape *t, const ad_function *f, const ad_var in[]) {
  char p[192], q[192];
  if (function_visible(f) < 2 || f->n_out != 1 || !is_time(ad_function_input_type(f, 0)))
    return tape_fail(t, AD_ERROR_ARGUMENT, "odeint: %s is no f(t, y, ..) -> dy/dt with a float scalar t",
                     f->name);
  const ad_type y = ad_function_input_type(f, 1), dy = ad_function_output_type(f, 0);
  if (y.dtype < AD_F32 || !ad_type_equal(y, dy))
    return tape_fail(t, y.dtype < AD_F32 ? AD_ERROR_DTYPE : AD_ERROR_SHAPE,
                     "odeint: %s takes a y of %s to %s: both must be of one type, floats", f->name,
                     ad_type_print(y, p, sizeof p), ad_type_print(dy, q, sizeof q));
  if (y.rank == AD_MAX_RANK) return tape_fail(t, AD_ERROR_SHAPE, "odeint: y has too many axes");
  const ad_type times = is_literal(in[1]) ? ad_type_make(AD_F64, 0, NULL) : ad_type_of(in[1]);
  if (times.rank == 1 && times.dtype == AD_F64 && times.dim[0] >= 1) return AD_OK;
  if (times.rank < 0) return tape_fail(t, AD_ERROR_HANDLE, "odeint: the times are invalid");
  return tape_fail(t, times.dtype == AD_F64 ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                   "odeint: times are f64(m) with m >= 1, not %s", ad_type_print(times, p, sizeof p));
}

static ad_status set_options(ad_tape *t, const ad_ode *given, ode *o) {
  static const ad_ode defaults;
  o->options = given ? *given : defaults;
  ad_ode *p = &o->options;
  bool good = p->relative >= 0 && p->absolute >= 0 && p->first_step >= 0 && p->steps >= 0
              && (p->adjoint == AD_ADJOINT_DISCRETE || p->adjoint == AD_ADJOINT_CONTINUOUS)
              && p->keep >= AD_KEEP_STATES && p->keep <= AD_KEEP_ALL && p->k >= 0 && p->bytes >= 0;
  good &= p->keep == AD_KEEP_STATES || p->keep == AD_KEEP_ALL || p->k > 0
          || (p->keep == AD_KEEP_BINOMIAL && p->bytes > 0);
  if (!good) return tape_fail(t, AD_ERROR_ARGUMENT, "odeint: an option is out of range");
  if (p->fixed && p->first_step == 0)
    return tape_fail(t, AD_ERROR_ARGUMENT, "odeint: fixed steps need first_step");
  if (p->relative == 0) p->relative = 1e-6;
  if (p->absolute == 0) p->absolute = 1e-6;
  if (p->steps == 0) p->steps = 100000;
  return AD_OK;
}

/* Operands: y0, the times, the parameters and captured variables. */
static ad_var *operands(ad_tape *t, ad_function *f, const ad_var in[]) {
  ad_var *v = vars_get(t, (size_t)f->n_in), *x = NULL;
  if (!v) return NULL;
  memcpy(v, in, (size_t)function_visible(f)*sizeof *v);
  v[0] = ad_real(0);
  v[1] = in[0];
  x = function_arguments(t, f, v);
  vars_release(t, v, (size_t)f->n_in);
  if (!x) return NULL;
  x[0] = x[1];
  x[1] = in[1].tape == t ? in[1] : handle(t, tape_lift(t, in[1], "odeint"));
  return x;
}

static ad_var integrate(ad_tape *t, ad_function *f, ode *o, const ad_var in[]) {
  const int64_t m = ad_type_of(in[1]).dim[0];
  ad_var *x = operands(t, f, in), y = handle_invalid(t);
  o->f = x ? function_closed(t, f) : NULL;
  ad_function *keeper = o->f ? ode_keeper(t, f, o) : NULL;
  ad_function *way = keeper ? ode_flow(t, keeper, o, ODE_FLOW, m) : NULL;
  const bool continuous = o->options.adjoint == AD_ADJOINT_CONTINUOUS && m > 1;
  ad_function *back = way && continuous ? ode_adjoint(t, keeper, o, m) : NULL;
  if (way && !continuous) ad_function_apply(way, x, &y);
  if (back) y = ode_record(t, (ode_pair){ way, back }, f->n_in, x);
  if (x) vars_release(t, x, (size_t)f->n_in);
  return y;
}

ad_status ad_odeint(ad_function *f, const ad_ode *options, const ad_var in[], ad_var *out) {
  ad_tape *t = f && in && out ? function_tape(f, in) : NULL;
  ode o;
  if (!f && in) t = ad_tape_of(1, in);
  if (out) *out = handle_invalid(t);
  if (!f) return tape_fail(t, AD_ERROR_ARGUMENT, "odeint: no function");
  if (!t) return AD_ERROR_ARGUMENT;
  ad_status status = check_types(t, f, in);
  if (status == AD_OK) status = set_options(t, options, &o);
  if (status != AD_OK) return status;
  *out = integrate(t, f, &o, in);
  if (ad_is_valid(*out)) return AD_OK;
  return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
}
