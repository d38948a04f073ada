/* implicit.c -- recording roots, fixed points, minima: each becomes a residual, its Jacobian, and a node. */
#include "function/implicit.h"
#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/elementwise.h"
#include "adit/implicit.h"
#include "function/derived.h"
#include "function/wrt.h"

#include <stdio.h>
#include <string.h>

/* --- functions that are kept ---------------------------------------------------------------------------- */

ad_tape *function_tape(const ad_function *f, const ad_var in[]) {
  ad_tape *t = ad_tape_of(function_visible(f), in);
  return f->outer && (!t || f->outer->level > t->level) ? f->outer : t;
}

static ad_function *trace_on(ad_tape *t, ad_function *f, const char *suffix, ad_body *body, void *context,
                             int n_in, const ad_type in[], int n_out) {
  char name[128];
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  snprintf(name, sizeof name, "%.100s%s", f->name, suffix);
  ad_function *d = ad_function_trace_with(&f->body->allocator, name, body, context, n_in, in, n_out, &report);
  if (!d) tape_fail(t, report.status, "%s", report.message);
  return d;
}

ad_function *function_kept(ad_tape *t, ad_function *f, int kind, int64_t number, const char *suffix,
                           ad_body *body, void *context, int n_in, const ad_type in[], int n_out) {
  const ad_allocator *a = &f->body->allocator;
  const size_t flags = (size_t)f->n_in + (size_t)f->n_out + 1;
  bool *none = memory_get_zeroed(a, flags, 1);
  ad_function *kept = none ? derived_find(f, (derived_kind)kind, number, none, none) : NULL;
  if (!none) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (none && !kept) {
    ad_function *d = trace_on(t, f, suffix, body, context, n_in, in, n_out);
    kept = d ? derived_keep(f, (derived_kind)kind, number, none, none, d) : NULL;
    if (d && !kept) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  }
  memory_release(a, none, flags);
  return kept;
}

/* The types of all inputs of f, the first one replaced where x is not NULL; memory of n_in types. */
static ad_type *all_types(ad_tape *t, const ad_function *f, const ad_type *x) {
  ad_type *type = memory_get(&t->allocator, (size_t)f->n_in*sizeof *type + 1);
  if (!type) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; type && k < f->n_in; k++)
    type[k] = k == 0 && x ? *x : node_type(f->body, f->in[k])->type;
  return type;
}

static void free_types(ad_tape *t, const ad_function *f, ad_type *type) {
  memory_release(&t->allocator, type, (size_t)f->n_in*sizeof *type + 1);
}

/* Which of the functions that belong to f, or to its residual. */
enum { KEPT_CLOSED, KEPT_ROOT, KEPT_FIXED_POINT, KEPT_MINIMUM, KEPT_VALUE, KEPT_JACOBIAN };

static void closed_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  function_apply_all(t, context, in, out);
}

ad_function *function_closed(ad_tape *t, ad_function *f) {
  ad_type *type = all_types(t, f, NULL);
  ad_function *g = type ? function_kept(t, f, DERIVED_IMPLICIT, KEPT_CLOSED, "_closed", closed_body, f,
                                        f->n_in, type, f->n_out) : NULL;
  if (type) free_types(t, f, type);
  return g;
}

static void retain(void *f) { ad_function_retain(f); }
static void release(void *f) { ad_function_free(f); }

ad_status function_hold(ad_tape *t, ad_function *f) {
  if (!f) return AD_OK;
  if (f->depth > t->depth) t->depth = f->depth;
  return ad_tape_hold(t, f, retain, release);
}

/* --- residuals ------------------------------------------------------------------------------------------ */

static ad_var reshaped(ad_var x, const ad_type *type) {
  return ad_type_of(x).rank == type->rank ? x : ad_reshape(x, type->rank, type->dim);
}

static ad_type flat_type(const ad_type *x) {
  const int64_t n = ad_type_count(*x);
  return ad_type_make(x->dtype, x->rank > 0, &n);
}

/* f on an x that comes flat. */
static bool apply_flat(ad_tape *t, ad_function *f, const ad_var in[], ad_var *y) {
  ad_var *x = vars_get(t, (size_t)f->n_in);
  if (!x) return false;
  memcpy(x, in, (size_t)f->n_in*sizeof *x);
  x[0] = reshaped(in[0], &node_type(f->body, f->in[0])->type);
  t->inlines = true;
  const ad_status status = function_apply_all(t, f, x, y);
  vars_release(t, x, (size_t)f->n_in);
  return status == AD_OK;
}

static void root_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type x = ad_type_of(in[0]);
  if (apply_flat(t, context, in, out)) out[0] = reshaped(out[0], &x);
}

static void fixed_point_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type x = ad_type_of(in[0]);
  if (apply_flat(t, context, in, out)) out[0] = ad_sub(in[0], reshaped(out[0], &x));
}

static void value_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  apply_flat(t, context, in, out);
}

static void stationary_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y;
  if (apply_flat(t, context, in, &y)) ad_grad(y, 1, in, out);
}

/* --- Jacobians ------------------------------------------------------------------------------------------ */

/* Up to that size each column is written out, and what is zero in it falls away; beyond it they are instances
 * of a map. */
enum { COLUMNS_BELOW = 24 };

typedef struct columns { ad_function *tangent; ad_type x; } columns;

/* Instance i has the i-th unit vector for tangent, and so gives the i-th column. */
static void mapped_columns(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const columns *c = context;
  const int n = c->tangent->n_in;
  ad_var *v = vars_get(t, (size_t)n), both[2];
  if (!v) return;
  memcpy(v, in, (size_t)(n - 1)*sizeof *v);
  v[n - 1] = ad_eye(t, c->x.dim[0], c->x.dim[0], 0, c->x.dtype);
  if (ad_map(c->tangent, v, both) == AD_OK) out[0] = ad_transpose(both[1], NULL);
  vars_release(t, v, (size_t)n);
}

/* The e-th unit vector as one element placed into zeros, so that the rest is not connected. */
static ad_var unit(ad_tape *t, ad_type type, int64_t e) {
  const ad_type number = ad_type_make(type.dtype, 0, NULL);
  return type.rank ? ad_at_add(ad_zeros(t, type), ad_ones(t, number), 1, &e) : ad_ones(t, number);
}

static void written_columns(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type x = ad_type_of(in[0]);
  const int n = (int)ad_type_count(x);
  const int64_t square[2] = { n, n };
  ad_var r, column[COLUMNS_BELOW];
  t->inlines = true;
  if (function_apply_all(t, context, in, &r) != AD_OK) return;
  for (int e = 0; e < n; e++) {
    const ad_var tangent = unit(t, x, e);
    if (ad_jvp(1, in, &tangent, 1, &r, &column[e]) != AD_OK) return;
  }
  if (x.rank == 0) out[0] = column[0];
  else out[0] = n ? ad_stack(n, column, 1) : ad_zeros(t, ad_type_make(x.dtype, 2, square));
}

static ad_function *mapped_jacobian(ad_tape *t, ad_function *r, const ad_type in[]) {
  const size_t bytes = (size_t)r->n_in + 1;
  bool *which = memory_get_zeroed(&t->allocator, bytes, 1);
  const bool one = true;
  ad_function *kept = NULL;
  if (!which) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  else {
    which[0] = true;
    columns c = { derived_jvp(t, r, which, &one), in[0] };
    if (c.tangent)
      kept = function_kept(t, r, DERIVED_IMPLICIT, KEPT_JACOBIAN, "_jacobian", mapped_columns, &c, r->n_in,
                           in, 1);
  }
  memory_release(&t->allocator, which, bytes);
  return kept;
}

static ad_function *jacobian_of(ad_tape *t, ad_function *r, const ad_type in[]) {
  if (ad_type_count(in[0]) > COLUMNS_BELOW) return mapped_jacobian(t, r, in);
  return function_kept(t, r, DERIVED_IMPLICIT, KEPT_JACOBIAN, "_jacobian", written_columns, r, r->n_in, in,
                       1);
}

/* --- recording ------------------------------------------------------------------------------------------ */

typedef struct method {
  const ad_primitive *primitive;
  ad_body *residual;
  int kept;
  bool scalar;                      /* f gives a scalar, not something of the type of x */
  int64_t iterations;
  double relative[2];               /* f32, f64 */
} method;

static ad_type result_type(const ad_operation *op, int j) {
  (void)j;
  return *op->x[0];
}
static int one_result(const ad_operation *op) {
  (void)op;
  return 1;
}

static ad_status hold(ad_tape *t, const void *attribute) {
  const implicit *a = attribute;
  ad_status status = function_hold(t, a->residual);
  if (status == AD_OK) status = function_hold(t, a->jacobian);
  return status == AD_OK ? function_hold(t, a->value) : status;
}

static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "is recorded by the functions of adit/implicit.h");
}

#define RULES(run, parts) \
  { one_result, one_result, result_type, implicit_forward, implicit_reverse, implicit_taylor, run, parts }
#define IMPLICIT(title, text, rules) \
  { .name = title, .doc = text, .traits = AD_TRAIT_NO_FOLD, .not_connected = 1, .type = refuse_type, \
    .hold = hold, .tuple = &rules }
static const tuple_rules root_rules = RULES(root_run, newton_parts),
                         fixed_point_rules = RULES(fixed_point_run, fixed_point_parts),
                         minimize_rules = RULES(minimize_run, newton_parts);
static const ad_primitive root_primitive = IMPLICIT("root", "the zero of a function", root_rules),
                          fixed_point_primitive = IMPLICIT("fixed_point", "the fixed point of a function",
                                                           fixed_point_rules),
                          minimize_primitive = IMPLICIT("minimize", "the place where a function is least",
                                                        minimize_rules);

/* The elements of the Jacobian are counted in int. */
enum { MOST_UNKNOWNS = 46340 };

static ad_status check_types(ad_tape *t, const method *m, const ad_function *f) {
  const char *name = m->primitive->name;
  char p[192], q[192];
  if (function_visible(f) < 1 || f->n_out != 1)
    return tape_fail(t, AD_ERROR_ARGUMENT,
                     "%s: %s has %d inputs and %d outputs, not the unknown first and one "
                     "output", name, f->name, function_visible(f), f->n_out);
  const ad_type x = ad_function_input_type(f, 0), y = ad_function_output_type(f, 0);
  if (x.dtype < AD_F32 || y.dtype < AD_F32)
    return tape_fail(t, AD_ERROR_DTYPE, "%s: %s takes %s to %s: both must be floats", name, f->name,
                     ad_type_print(x, p, sizeof p), ad_type_print(y, q, sizeof q));
  if (m->scalar ? y.rank == 0 : ad_type_equal(x, y))
    return ad_type_count(x) <= MOST_UNKNOWNS ? AD_OK
             : tape_fail(t, AD_ERROR_SIZE, "%s: too many unknowns", name);
  return tape_fail(t, AD_ERROR_SHAPE, m->scalar ? "%s: %s of %s gives %s, which is no scalar"
                                                : "%s: %s takes %s to %s: both must be of one type", name,
                   f->name, ad_type_print(x, p, sizeof p), ad_type_print(y, q, sizeof q));
}

static ad_status set_options(ad_tape *t, const method *m, const ad_solver *o, const ad_function *f,
                             implicit *a) {
  static const ad_solver defaults;
  if (!o) o = &defaults;
  if (!(o->relative >= 0) || !(o->absolute >= 0) || o->iterations < 0 || o->mixing > 20)
    return tape_fail(t, AD_ERROR_ARGUMENT, "%s: an option is out of range", m->primitive->name);
  const ad_dtype x = ad_function_input_type(f, 0).dtype, y = ad_function_output_type(f, 0).dtype;
  a->exact = y < x ? y : x;
  a->relative = o->relative > 0 ? o->relative : m->relative[a->exact == AD_F64];
  a->absolute = o->absolute;
  a->iterations = o->iterations ? o->iterations : m->iterations;
  a->mixing = o->mixing < 0 ? 0 : o->mixing ? o->mixing : 5;
  return AD_OK;
}

/* The functions of the attribute; each is made once for f. */
static bool set_functions(ad_tape *t, const method *m, ad_function *f, implicit *a) {
  const ad_type x = flat_type(&node_type(f->body, f->in[0])->type);
  ad_type *in = all_types(t, f, &x);
  if (!in) return false;
  a->residual = function_kept(t, f, DERIVED_IMPLICIT, m->kept, "_residual", m->residual, f, f->n_in, in, 1);
  if (a->residual) a->jacobian = jacobian_of(t, a->residual, in);
  if (a->jacobian && m->scalar)
    a->value = function_kept(t, f, DERIVED_IMPLICIT, KEPT_VALUE, "_value", value_body, f, f->n_in, in, 1);
  free_types(t, f, in);
  return a->jacobian && (a->value || !m->scalar);
}

static ad_var record_node(ad_tape *t, const method *m, ad_function *f, const implicit *a, const ad_var in[]) {
  const ad_type type = ad_function_input_type(f, 0), flat = flat_type(&type);
  const size_t n = (size_t)f->n_in;
  ad_var *x = function_arguments(t, f, in);
  uint32_t *node = x ? memory_get(&t->allocator, n*sizeof *node) : NULL, i = INVALID_INDEX;
  if (x && !node) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (node) {
    x[0] = reshaped(x[0], &flat);
    for (size_t k = 0; k < n; k++) node[k] = x[k].at.node.index;
    if (ad_is_valid(x[0])) i = tuple_record(t, m->primitive, f->n_in, node, a, sizeof *a);
    if (i != INVALID_INDEX) i = tuple_result(t, i, 0);
    memory_release(&t->allocator, node, n*sizeof *node);
  }
  if (x) vars_release(t, x, n);
  return i == INVALID_INDEX ? handle_invalid(t) : reshaped(handle(t, i), &type);
}

static ad_status record(const method *m, ad_function *f, const ad_solver *o, const ad_var in[], ad_var *x) {
  ad_tape *t = f && in && x ? function_tape(f, in) : NULL;
  implicit a = { 0 };
  if (!f && in) t = ad_tape_of(1, in);
  if (x) *x = handle_invalid(t);
  if (!f) return tape_fail(t, AD_ERROR_ARGUMENT, "%s: no function", m->primitive->name);
  if (!t) return AD_ERROR_ARGUMENT;
  ad_status status = check_types(t, m, f);
  if (status == AD_OK) status = set_options(t, m, o, f, &a);
  if (status != AD_OK) return status;
  if (set_functions(t, m, f, &a)) *x = record_node(t, m, f, &a, in);
  if (ad_is_valid(*x)) return AD_OK;
  return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
}

ad_status ad_root(ad_function *f, const ad_solver *o, const ad_var in[], ad_var *x) {
  static const method newton = { &root_primitive, root_body, KEPT_ROOT, false, 100, { 1e-4, 1e-10 } };
  return record(&newton, f, o, in, x);
}

ad_status ad_fixed_point(ad_function *g, const ad_solver *o, const ad_var in[], ad_var *x) {
  static const method mixing = { &fixed_point_primitive, fixed_point_body, KEPT_FIXED_POINT, false, 1000,
                                 { 1e-6, 1e-13 } };
  return record(&mixing, g, o, in, x);
}

ad_status ad_minimize(ad_function *f, const ad_solver *o, const ad_var in[], ad_var *x) {
  static const method newton = { &minimize_primitive, stationary_body, KEPT_MINIMUM, true, 100,
                                 { 1e-4, 1e-10 } };
  return record(&newton, f, o, in, x);
}
