/* ode_adjoint.c -- the continuous adjoint of an integration, as a function; and the node that has it for its
 * reverse rule.
 *
 * Between times t_i-1 and t_i the vector z = (y, lambda, pbar) goes backwards by
 *
 *   y' = f(t, y, p),   lambda' = -(df/dy)^T lambda,   pbar' = -(df/dp)^T lambda
 *
 * beginning with y_i and lambda + ybar_i. With lambda_0 what arrives at t_0,
 *
 *   y0bar = lambda_0 + ybar_0,   tbar_i = <ybar_i, f(t_i, y_i)>,   tbar_0 = -<lambda_0, f(t_0, y_0)>
 *
 * Source: Chen, Rubanova, Bettencourt, Duvenaud, Neural Ordinary Differential Equations, 2018, appendix B.
 */
#include "function/ode.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "derive/flow.h"
#include "function/derived.h"
#include "function/implicit.h"
#include "function/wrt.h"

#include <string.h>

/* --- the equation of z ---------------------------------------------------------------------------------- */

typedef struct augmented {
  const ode *o;                     /* of y */
  ad_function *vjp;                 /* (t, y, p.., lambda) -> cotangents of y and of the float parameters */
  ad_function *flow;                /* of z, for two times */
  ad_type y;
  int64_t n, all;                   /* elements of y, of z */
} augmented;

static int parameters(const augmented *w) { return w->o->f->n_in - 2; }
static ad_type parameter_type(const augmented *w, int k) {
  return node_type(w->o->f->body, w->o->f->in[k + 2])->type;
}
static bool is_active(const augmented *w, int k) { return parameter_type(w, k).dtype >= AD_F32; }

/* The parts of z, in the dtype of y. */
static ad_var flat(const augmented *w, ad_var x) {
  const int64_t all = ad_type_count(ad_type_of(x));
  return ad_cast(ad_reshape(x, 1, &all), w->y.dtype);
}
static ad_var part(ad_var z, int64_t *at, const ad_type *type) {
  const int64_t n = ad_type_count(*type);
  const ad_var x = ad_reshape(ad_slice(z, 0, *at, n, 1), type->rank, type->dim);
  *at += n;
  return ad_cast(x, type->dtype);
}

/* (t, z, p..) -> z' */
static void augmented_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const augmented *w = context;
  const int n = parameters(w);
  int64_t at = 0;
  ad_var *v = vars_get(t, 2*(size_t)n + 6);
  if (!v) return;
  ad_var *z = v + n + 3;
  v[0] = in[0];
  v[1] = part(in[1], &at, &w->y);
  memcpy(v + 2, in + 2, (size_t)n*sizeof *v);
  v[n + 2] = part(in[1], &at, &w->y);
  if (ad_function_apply(w->o->f, v, z) == AD_OK && ad_function_apply(w->vjp, v, z + 1) == AD_OK) {
    const int parts = 1 + w->vjp->n_out;
    for (int k = 0; k < parts; k++) z[k] = flat(w, k ? ad_neg(z[k]) : z[k]);
    out[0] = ad_concat(parts, z, 0);
  }
  vars_release(t, v, 2*(size_t)n + 6);
}

/* --- backwards over the times --------------------------------------------------------------------------- */

/* (lambda, pbar as one vector, t_i, t_i-1, y_i, ybar_i, p..) -> (lambda, pbar) an interval earlier. */
static void interval_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const augmented *w = context;
  const int n = parameters(w);
  ad_var *v = vars_get(t, (size_t)n + 2), y;
  if (!v) return;
  const ad_var start[3] = { flat(w, in[4]), flat(w, ad_add(in[0], in[5])), in[1] };
  const ad_var times[2] = { in[2], in[3] };
  v[0] = ad_concat(3, start, 0);
  v[1] = ad_stack(2, times, 0);
  memcpy(v + 2, in + 6, (size_t)n*sizeof *v);
  if (ad_function_apply(w->flow, v, &y) == AD_OK) {
    const int64_t last = 1;
    int64_t at = w->n;
    const ad_var z = ad_at(y, 1, &last);
    out[0] = part(z, &at, &w->y);
    out[1] = ad_slice(z, 0, at, w->all - at, 1);
  }
  vars_release(t, v, (size_t)n + 2);
}

static ad_function *interval(ad_tape *t, augmented *w) {
  const int n = parameters(w), n_in = n + 6;
  const int64_t rest = w->all - 2*w->n;
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_type *in = memory_get(&t->allocator, (size_t)n_in*sizeof *in);
  if (in) {
    in[0] = in[4] = in[5] = w->y;
    in[1] = ad_type_make(w->y.dtype, 1, &rest);
    in[2] = in[3] = ad_type_make(AD_F64, 0, NULL);
    for (int k = 0; k < n; k++) in[6 + k] = parameter_type(w, k);
  }
  ad_function *f = NULL;
  if (in)
    f = ad_function_trace_with(&t->allocator, "ode_interval", interval_body, w, n_in, in, 2, &report);
  if (!f) tape_fail(t, report.status, "%s", report.message);
  memory_release(&t->allocator, in, (size_t)n_in*sizeof *in);
  return f;
}

/* What the scan comes to: lambda and pbar at the first time. */
static bool go_back(ad_tape *t, augmented *w, const ad_var in[], ad_var z[2]) {
  const int n = parameters(w);
  const int64_t m = ad_type_of(in[1]).dim[0], rest = w->all - 2*w->n;
  const ad_loop options = { .keep = w->o->options.keep, .k = w->o->options.k, .bytes = w->o->options.bytes,
                            .backwards = true };
  ad_function *f = interval(t, w);
  ad_var *v = f ? vars_get(t, (size_t)n + 6) : NULL;
  bool good = v != NULL;
  if (good) {
    v[0] = ad_zeros(t, w->y);
    v[1] = ad_zeros(t, ad_type_make(w->y.dtype, 1, &rest));
    v[2] = ad_slice(in[1], 0, 1, m - 1, 1);
    v[3] = ad_slice(in[1], 0, 0, m - 1, 1);
    v[4] = ad_slice(in[n + 2], 0, 1, m - 1, 1);
    v[5] = ad_slice(in[n + 3], 0, 1, m - 1, 1);
    memcpy(v + 6, in + 2, (size_t)n*sizeof *v);
    good = ad_scan(f, 2, &options, v, z) == AD_OK;
    vars_release(t, v, (size_t)n + 6);
  }
  ad_function_free(f);
  return good;
}

static ad_var inner(ad_var x, ad_var y) { return ad_cast(ad_sum(ad_mul(x, y), AD_ALL_AXES, false), AD_F64); }

/* (t, y, ybar, p..) -> <ybar, f(t, y, p..)>, for all times at once. */
static void rate_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const augmented *w = context;
  out[0] = inner(in[2], ode_slope(t, w->o, in[0], in[1], in + 3));
}

static ad_var rates(ad_tape *t, augmented *w, const ad_var in[], ad_var lambda) {
  const int n = parameters(w), n_in = n + 3;
  const int64_t m = ad_type_of(in[1]).dim[0];
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_type *type = memory_get(&t->allocator, (size_t)n_in*sizeof *type);
  ad_var *v = type ? vars_get(t, (size_t)n_in) : NULL, tbar = handle_invalid(t);
  for (int k = 0; k < n && v; k++) type[3 + k] = parameter_type(w, k), v[3 + k] = in[2 + k];
  if (v) type[0] = ad_type_make(AD_F64, 0, NULL), type[1] = type[2] = w->y;
  ad_function *f = NULL;
  if (v) f = ad_function_trace_with(&t->allocator, "ode_rate", rate_body, w, n_in, type, 1, &report);
  if (!f) tape_fail(t, report.status, "%s", report.message);
  if (f) {
    const ad_var first = ad_expand(ad_neg(lambda), 0), others = ad_slice(in[n + 3], 0, 1, m - 1, 1);
    const ad_var both[2] = { first, others };
    v[0] = in[1], v[1] = in[n + 2], v[2] = ad_concat(2, both, 0);
    ad_map(f, v, &tbar);
  }
  ad_function_free(f);
  if (v) vars_release(t, v, (size_t)n_in);
  memory_release(&t->allocator, type, (size_t)n_in*sizeof *type);
  return tbar;
}

/* --- the adjoint as a function -------------------------------------------------------------------------- */

static void adjoint_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  augmented *w = context;
  const int n = parameters(w);
  const int64_t first = 0;
  int64_t at = 0;
  ad_var z[2];
  if (!go_back(t, w, in, z)) return;
  *out++ = ad_add(z[0], ad_at(in[n + 3], 1, &first));
  *out++ = rates(t, w, in, z[0]);
  for (int k = 0; k < n; k++) {
    const ad_type type = parameter_type(w, k);
    if (is_active(w, k)) *out++ = part(z[1], &at, &type);
  }
}

/* The cotangents of y and of the float parameters along the way. */
static ad_function *slope_vjp(ad_tape *t, const augmented *w) {
  const ad_function *f = w->o->f;
  const size_t bytes = 2*(size_t)f->n_in;
  const bool one = true;
  bool *in = memory_get_zeroed(&t->allocator, bytes, 1);
  if (!in) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  in[1] = true;
  for (int k = 0; k < parameters(w); k++) in[k + 2] = is_active(w, k);
  ad_function *v = derived_vjp(t, w->o->f, in, &one, in + f->n_in);
  memory_release(&t->allocator, in, bytes);
  return v;
}

/* The types of the inputs of f, (t, y, p..), with another one for y; n_in + more of them. */
static ad_type *types_with(ad_tape *t, const ad_function *f, const ad_type *y, int more) {
  ad_type *in = memory_get(&t->allocator, (size_t)(f->n_in + more)*sizeof *in);
  if (!in) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < f->n_in && in; k++) in[k] = k == 1 ? *y : node_type(f->body, f->in[k])->type;
  return in;
}

static void free_types(ad_tape *t, const ad_function *f, ad_type *in, int more) {
  memory_release(&t->allocator, in, (size_t)(f->n_in + more)*sizeof *in);
}

/* z has the options of y, and two times. */
static ad_function *augmented_flow(ad_tape *t, ad_function *keeper, augmented *w) {
  const ad_function *f = w->o->f;
  const ad_type type = ad_type_make(w->y.dtype, 1, &w->all);
  ad_type *in = types_with(t, f, &type, 0);
  ode z = *w->o;
  z.f = in ? function_kept(t, keeper, DERIVED_ODE, ode_number(ODE_AUGMENTED, 0), "_augmented", augmented_body,
                           w, f->n_in, in, 1) : NULL;
  free_types(t, f, in, 0);
  return z.f ? ode_flow(t, keeper, &z, ODE_AUGMENTED_FLOW, 2) : NULL;
}

static int count_all(augmented *w) {
  int active = 0;
  w->all = 2*w->n;
  for (int k = 0; k < parameters(w); k++) {
    if (!is_active(w, k)) continue;
    active++;
    w->all += ad_type_count(parameter_type(w, k));
  }
  return active;
}

ad_function *ode_adjoint(ad_tape *t, ad_function *keeper, const ode *o, int64_t times) {
  augmented w = { .o = o, .y = node_type(o->f->body, o->f->in[1])->type };
  w.n = ad_type_count(w.y);
  const int n = o->f->n_in, outputs = 2 + count_all(&w);
  w.vjp = slope_vjp(t, &w);
  w.flow = w.vjp ? augmented_flow(t, keeper, &w) : NULL;
  ad_type *in = w.flow ? types_with(t, o->f, &w.y, 2) : NULL;
  if (!in) return NULL;
  ad_type path = w.y;
  memmove(path.dim + 1, path.dim, sizeof path.dim - sizeof path.dim[0]);
  path.rank++;
  path.dim[0] = times;
  in[0] = w.y;
  in[1] = ad_type_make(AD_F64, 1, &times);
  in[n] = in[n + 1] = path;
  ad_function *f = function_kept(t, keeper, DERIVED_ODE, ode_number(ODE_ADJOINT, times), "_adjoint",
                                 adjoint_body, &w, n + 2, in, outputs);
  free_types(t, o->f, in, 2);
  return f;
}
