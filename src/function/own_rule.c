/* own_rule.c -- a derivative that a user gave: checked, completed, and applied to flows.
 *
 * Rules are linear in their tangents or cotangents, which gives the one from the other: the rule is recorded
 * on stand-ins for these and gone through backwards. The stand-ins are zeros, so what depends on them all the
 * same (the adjoint of a loop takes all of its inputs) has the value that it has for every tangent.
 */
#include "function/own_rule.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "derive/flow.h"
#include "derive/mask.h"
#include "function/derived.h"
#include "function/wrt.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void own_report(ad_report *report, ad_status status, const char *format, ...) {
  if (!report) return;
  va_list list;
  va_start(list, format);
  report->status = status;
  vsnprintf(report->message, sizeof report->message, format, list);
  va_end(list);
}

void own_record(ad_tape *t, const ad_primitive *p, const void *attribute, size_t size, int n,
                const ad_var in[], int m, ad_var out[]) {
  const size_t bytes = (size_t)n*sizeof(uint32_t) + 1;
  uint32_t *x = memory_get(&t->allocator, bytes);
  if (!x) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  for (int k = 0; k < n; k++) x[k] = in[k].at.node.index;
  const uint32_t i = tuple_record(t, p, n, x, attribute, size);
  for (int j = 0; j < m; j++) out[j] = handle(t, i == INVALID_INDEX ? i : tuple_result(t, i, j));
  memory_release(&t->allocator, x, bytes);
}

/* --- a linear rule, recorded ---------------------------------------------------------------------------- */

static ad_type input_type(const linear_rule *r, int k) { return node_type(r->f->body, r->f->in[k])->type; }
static ad_type output_type(const linear_rule *r, int j) {
  return node_type(r->f->body, r->f->out[r->skip + j])->type;
}
static bool is_float(ad_type type) { return type.dtype >= AD_F32; }

/* The lists of one passage through a rule (x[0..n), s[0..ns)) -> r[0..nr). */
typedef struct passage {
  ad_tape *t;
  const linear_rule *by;
  int n, ns, nr;
  ad_var *in, *out;                 /* what the rule is applied to, and gives */
  flow *seed, *got;                 /* of the floats among s or r, in their order */
  uint32_t *s, *r;                  /* these floats */
  int floats_s, floats_r;
  size_t bytes;
} passage;

static bool open_passage(passage *p, ad_tape *t, const linear_rule *by, int n) {
  const ad_function *f = by->f;
  *p = (passage){ .t = t, .by = by, .n = n, .ns = f->n_in - n, .nr = f->n_out - by->skip };
  const size_t most = (size_t)p->ns + (size_t)p->nr, lists = (size_t)f->n_in + (size_t)f->n_out;
  p->bytes = 2*most*sizeof *p->seed + lists*sizeof *p->in + most*sizeof *p->s + 1;
  p->seed = memory_get(&t->allocator, p->bytes);
  if (!p->seed) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  p->got = p->seed + most;
  p->in = (ad_var *)(p->got + most);
  p->out = p->in + f->n_in;
  p->s = (uint32_t *)(p->out + f->n_out);
  p->r = p->s + p->ns;
  return true;
}

static void close_passage(passage *p) { memory_release(&p->t->allocator, p->seed, p->bytes); }

static bool apply(passage *p) {
  return function_apply_all(p->t, p->by->f, p->in, p->out) == AD_OK;
}

/* The rule on stand-ins: finds the nodes of s and r. */
static bool apply_to_stand_ins(passage *p) {
  for (int k = 0; k < p->ns; k++) {
    const ad_type type = input_type(p->by, p->n + k);
    if (!is_float(type)) {
      p->in[p->n + k] = ad_zeros(p->t, type);
      continue;
    }
    const uint32_t i = tape_leaf(p->t, PRIMITIVE_INPUT, &type, NULL);
    if (i == INVALID_INDEX) return false;
    p->s[p->floats_s++] = i;
    p->in[p->n + k] = handle(p->t, i);
  }
  if (!apply(p)) return false;
  for (int j = 0; j < p->nr; j++)
    if (is_float(output_type(p->by, j))) p->r[p->floats_r++] = p->out[p->by->skip + j].at.node.index;
  return true;
}

/* Every float of s has a value everywhere. */
static bool is_plain(const passage *p, const flow s[]) {
  for (int k = 0; k < p->ns; k++)
    if (is_float(input_type(p->by, p->n + k)) && (!flow_connected(s[k]) || !ad_is_none(s[k].mask)))
      return false;
  return true;
}

static bool pass_values(passage *p, const flow s[], flow r[]) {
  for (int k = 0; k < p->ns; k++) {
    const ad_type type = input_type(p->by, p->n + k);
    p->in[p->n + k] = flow_value(p->t, is_float(type) ? s[k] : flow_none(), &type);
    if (!ad_is_valid(p->in[p->n + k])) return false;
  }
  if (!apply(p)) return false;
  for (int j = 0; j < p->nr; j++)
    r[j] = is_float(output_type(p->by, j)) ? flow_of(p->out[p->by->skip + j]) : flow_none();
  return true;
}

/* As a seed of a sweep. */
static flow shaped(flow f, ad_type type) {
  if (flow_connected(f)) f.value = mask_shaped(f.value, &type);
  return f;
}

/* What is not connected in s stays so in what the rule records of it. */
static bool pass_flows(passage *p, const flow s[], flow r[]) {
  if (!apply_to_stand_ins(p)) return false;
  for (int k = 0, a = 0; k < p->ns; k++)
    if (is_float(input_type(p->by, p->n + k))) p->seed[a++] = shaped(s[k], input_type(p->by, p->n + k));
  if (sweep_forward(p->t, p->floats_s, p->s, p->seed, p->floats_r, p->r, p->got, FLOW_IN_RULE) != AD_OK)
    return false;
  for (int j = 0, a = 0; j < p->nr; j++)
    r[j] = is_float(output_type(p->by, j)) ? p->got[a++] : flow_none();
  return true;
}

/* From flows r back to flows s. */
static bool pass_transposed(passage *p, const flow r[], flow s[]) {
  if (!apply_to_stand_ins(p)) return false;
  for (int j = 0, a = 0; j < p->nr; j++)
    if (is_float(output_type(p->by, j))) p->seed[a++] = shaped(r[j], output_type(p->by, j));
  if (sweep_reverse(p->t, p->floats_r, p->r, p->seed, p->floats_s, p->s, p->got, FLOW_IN_RULE) != AD_OK)
    return false;
  for (int k = 0, a = 0; k < p->ns; k++)
    s[k] = is_float(input_type(p->by, p->n + k)) ? p->got[a++] : flow_none();
  return true;
}

/* --- completing: traced functions ----------------------------------------------------------------------- */

/* What is being made of what: the transpose of `from`, or the contraction of a Jacobian. */
typedef struct completion {
  const own_rule *o;
  linear_rule from;
  ad_function *derivative;
  const ad_type *in, *out;
} completion;

static void put_values(ad_tape *t, int n, const flow f[], const ad_type type[], ad_var out[]) {
  for (int i = 0; i < n; i++) out[i] = flow_value(t, is_float(type[i]) ? f[i] : flow_none(), &type[i]);
}

/* (x.., rbar..) -> sbar.. */
static void transposed_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const completion *c = context;
  passage p;
  t->inlines = true;
  if (!open_passage(&p, t, &c->from, c->o->n)) return;
  const size_t lists = (size_t)p.ns + (size_t)p.nr, bytes = lists*sizeof(flow) + 1;
  flow *r = memory_get(&t->allocator, bytes);
  if (r) {
    flow *s = r + p.nr;
    memcpy(p.in, in, (size_t)p.n*sizeof *in);
    for (int j = 0; j < p.nr; j++) r[j] = flow_of(in[p.n + j]);
    if (pass_transposed(&p, r, s)) put_values(t, p.ns, s, c->from.f == c->o->jvp.f ? c->in : c->out, out);
  } else tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  memory_release(&t->allocator, r, bytes);
  close_passage(&p);
}

/* The block d, of y's shape followed by x's, times v: over x, or over y when transposed. */
static ad_var contract(ad_var d, ad_var v, const ad_type *y, const ad_type *x, bool transposed) {
  const ad_type *z = transposed ? x : y;
  const int64_t matrix[2] = { ad_type_count(*y), ad_type_count(*x) },
                flat = transposed ? matrix[0] : matrix[1];
  if (y->rank + x->rank == 0) return ad_cast(ad_mul(d, v), z->dtype);
  const ad_var a = ad_reshape(d, 2, matrix), b = ad_reshape(v, 1, &flat);
  return ad_cast(ad_reshape(transposed ? ad_matmul(b, a) : ad_matmul(a, b), z->rank, z->dim), z->dtype);
}

static bool depends(const own_rule *o, int j, int i) {
  return !o->depends || o->depends[(size_t)j*(size_t)o->n + (size_t)i];
}

static void contract_all(const completion *c, ad_tape *t, const ad_var block[], const ad_var v[],
                         ad_var out[], bool transposed) {
  const own_rule *o = c->o;
  const int results = transposed ? o->n : o->m;
  const ad_type *type = transposed ? c->in : c->out;
  for (int k = 0; k < results; k++) out[k] = ad_none();
  for (int j = 0, b = 0; j < o->m; j++)
    for (int i = 0; i < o->n; i++) {
      if (!is_float(c->in[i])) continue;
      const ad_var d = block[b++];
      if (!depends(o, j, i)) continue;
      const int to = transposed ? i : j;
      const ad_var part = contract(d, v[transposed ? j : i], &c->out[j], &c->in[i], transposed);
      out[to] = ad_is_none(out[to]) ? part : ad_add(out[to], part);
    }
  for (int k = 0; k < results; k++)
    if (ad_is_none(out[k])) out[k] = ad_zeros(t, type[k]);
}

static void contraction(ad_tape *t, const ad_var in[], ad_var out[], const completion *c, bool transposed) {
  const size_t blocks = (size_t)c->derivative->n_out;
  ad_var *block = vars_get(t, blocks);
  t->inlines = true;
  if (!block) return;
  if (function_apply_all(t, c->derivative, in, block) == AD_OK)
    contract_all(c, t, block, in + c->o->n, out, transposed);
  vars_release(t, block, blocks);
}

static void jvp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  contraction(t, in, out, context, false);
}

static void vjp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  contraction(t, in, out, context, true);
}

/* A function (x.., tangents or cotangents..) -> the others. */
static ad_function *trace(const completion *c, bool vjp, ad_body *body, ad_report *report) {
  const own_rule *o = c->o;
  const size_t n = (size_t)o->n, more = (size_t)(vjp ? o->m : o->n), bytes = (n + more)*sizeof(ad_type) + 1;
  char name[80];
  ad_type *type = memory_get(&o->allocator, bytes);
  if (!type) {
    own_report(report, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  if (n) memcpy(type, c->in, n*sizeof *type);
  if (more) memcpy(type + n, vjp ? c->out : c->in, more*sizeof *type);
  snprintf(name, sizeof name, "%s_%s", o->name, vjp ? "vjp" : "jvp");
  ad_function *f = ad_function_trace_with(&o->allocator, name, body, (void *)(uintptr_t)c, (int)(n + more),
                                          type, vjp ? o->n : o->m, report);
  memory_release(&o->allocator, type, bytes);
  return f;
}

/* --- checking ------------------------------------------------------------------------------------------- */

typedef struct expectation {
  const char *function, *rule;
  ad_report *report;
} expectation;

static bool expect(const expectation *e, const char *what, int k, ad_type have, ad_type want) {
  char a[160], b[160];
  if (ad_type_equal(have, want)) return true;
  own_report(e->report, have.dtype == want.dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
             "%.40s: %s %d of its %s is %.60s, not %.60s", e->function, what, k, e->rule,
             ad_type_print(have, a, sizeof a), ad_type_print(want, b, sizeof b));
  return false;
}

static bool expect_counts(const expectation *e, const ad_function *f, int n_in, int n_out, int alternative) {
  if (f->captures) {
    own_report(e->report, AD_ERROR_ARGUMENT, "%.60s: its %s has captured variables", e->function, e->rule);
    return false;
  }
  if (f->n_in == n_in && (f->n_out == n_out || f->n_out == alternative)) return true;
  own_report(e->report, AD_ERROR_SHAPE, "%.60s: its %s has %d inputs and %d outputs, not %d and %d",
             e->function, e->rule, f->n_in, f->n_out, n_in, n_out);
  return false;
}

/* (x.., s..) -> r.., or (y.., r..). */
static bool check_linear(const own_rule *o, const expectation *e, ad_function *f, const ad_type in[],
                         const ad_type out[], bool vjp, linear_rule *by) {
  const int ns = vjp ? o->m : o->n, nr = vjp ? o->n : o->m;
  const ad_type *s = vjp ? out : in, *r = vjp ? in : out;
  if (!expect_counts(e, f, o->n + ns, nr, o->m + nr)) return false;
  *by = (linear_rule){ f, f->n_out - nr };
  for (int k = 0; k < f->n_in; k++)
    if (!expect(e, "input", k, input_type(by, k), k < o->n ? in[k] : s[k - o->n])) return false;
  for (int k = 0; k < nr; k++)
    if (!expect(e, "output", by->skip + k, output_type(by, k), r[k])) return false;
  return true;
}

/* The shape of y followed by that of x; rank -1 where that is too much. */
static ad_type block_type(const ad_type *y, const ad_type *x) {
  int64_t dim[2*AD_MAX_RANK];
  for (int i = 0; i < y->rank; i++) dim[i] = y->dim[i];
  for (int i = 0; i < x->rank; i++) dim[y->rank + i] = x->dim[i];
  return ad_type_make(y->dtype, y->rank + x->rank, dim);
}

static bool check_derivative(const own_rule *o, const expectation *e, ad_function *f, const ad_type in[],
                             const ad_type out[]) {
  int floats = 0;
  for (int i = 0; i < o->n; i++) floats += is_float(in[i]);
  for (int j = 0; j < o->m; j++)
    if (!is_float(out[j])) {
      own_report(e->report, AD_ERROR_DTYPE, "%.60s: has a derivative, but output %d is no float", e->function,
                 j);
      return false;
    }
  if (!expect_counts(e, f, o->n, o->m*floats, o->m*floats)) return false;
  const linear_rule whole = { f, 0 };
  for (int i = 0; i < o->n; i++)
    if (!expect(e, "input", i, input_type(&whole, i), in[i])) return false;
  for (int j = 0, b = 0; j < o->m; j++)
    for (int i = 0; i < o->n; i++)
      if (is_float(in[i])) {
        if (!expect(e, "output", b, output_type(&whole, b), block_type(&out[j], &in[i]))) return false;
        b++;
      }
  return true;
}

static bool check(own_rule *o, const ad_custom_rule *g, const ad_type in[], const ad_type out[],
                  ad_report *report) {
  expectation e = { o->name, "jvp", report };
  if (g->jvp && !check_linear(o, &e, g->jvp, in, out, false, &o->jvp)) return false;
  e.rule = "vjp";
  if (g->vjp && !check_linear(o, &e, g->vjp, in, out, true, &o->vjp)) return false;
  e.rule = "derivative";
  return !g->derivative || check_derivative(o, &e, g->derivative, in, out);
}

/* --- opening -------------------------------------------------------------------------------------------- */

/* What cannot be derived is an error for who asks for it; without memory there is no rule at all. */
static bool complete_one(own_rule *o, completion *c, bool vjp, ad_report *report) {
  linear_rule *made = vjp ? &o->vjp : &o->jvp;
  const linear_rule other = vjp ? o->jvp : o->vjp;
  ad_report why = { AD_ERROR_DERIVATIVE, "" };
  c->from = other;
  if (c->derivative) made->f = trace(c, vjp, vjp ? vjp_body : jvp_body, &why);
  else made->f = trace(c, vjp, transposed_body, &why);
  if (made->f) return true;
  snprintf(o->why, sizeof o->why, "%.159s", why.message);
  if (why.status == AD_ERROR_MEMORY) own_report(report, why.status, "%s", why.message);
  return why.status != AD_ERROR_MEMORY;
}

static bool complete(own_rule *o, const ad_custom_rule *given, const ad_type in[], const ad_type out[],
                     ad_function *own, ad_report *report) {
  completion c = { .o = o, .derivative = given->derivative, .in = in, .out = out };
  const bool jvp = o->jvp.f != NULL, vjp = o->vjp.f != NULL;
  if (jvp || vjp || c.derivative)
    return (jvp || complete_one(o, &c, false, report)) && (vjp || complete_one(o, &c, true, report));
  o->jvp = (linear_rule){ ad_function_jvp(own), o->m };
  o->vjp = (linear_rule){ ad_function_vjp(own), o->m };
  return true;
}

static bool copy_pattern(own_rule *o, const bool *pattern, ad_report *report) {
  const size_t n = (size_t)o->n*(size_t)o->m;
  if (!pattern || !n) return true;
  o->depends = memory_get(&o->allocator, n);
  if (o->depends) memcpy(o->depends, pattern, n);
  else own_report(report, AD_ERROR_MEMORY, "out of memory");
  return o->depends != NULL;
}

bool own_rule_open(own_rule *o, const ad_allocator *a, const char *name, int n, const ad_type in[], int m,
                   const ad_type out[], const ad_custom_rule *given, ad_function *own, ad_report *report) {
  static const ad_custom_rule none = { NULL, NULL, NULL, NULL };
  if (!given) given = &none;
  atomic_init(&o->references, 1);
  o->allocator = *a;
  o->n = n, o->m = m;
  snprintf(o->name, sizeof o->name, "%s", name);
  if (!check(o, given, in, out, report)) return false;
  ad_function_retain(o->jvp.f);
  ad_function_retain(o->vjp.f);
  if (copy_pattern(o, given->depends, report) && complete(o, given, in, out, own, report)) return true;
  own_rule_close(o);
  return false;
}

void own_rule_close(own_rule *o) {
  ad_function_free(o->jvp.f);
  ad_function_free(o->vjp.f);
  memory_release(&o->allocator, o->depends, (size_t)o->n*(size_t)o->m);
}

void own_rule_retain(void *o) {
  atomic_fetch_add_explicit(&((own_rule *)o)->references, 1, memory_order_relaxed);
}

void own_rule_release(void *p) {
  own_rule *o = p;
  if (atomic_fetch_sub_explicit(&o->references, 1, memory_order_acq_rel) != 1) return;
  own_rule_close(o);
  o->free(o);
}

/* --- at work -------------------------------------------------------------------------------------------- */

static bool missing(ad_tape *t, const own_rule *o, const char *what) {
  if (o->why[0]) tape_fail(t, AD_ERROR_DERIVATIVE, "%s: has no %s: %s", o->name, what, o->why);
  else tape_fail(t, AD_ERROR_DERIVATIVE, "%s: has no %s, nor a rule that gives one", o->name, what);
  return false;
}

/* Applies the rule to node i's operands and to flows s; r receives what comes out. */
static bool pass(ad_tape *t, const linear_rule *by, int n, uint32_t i, const flow s[], flow r[]) {
  passage p;
  int count;
  if (!open_passage(&p, t, by, n)) return false;
  for (int k = 0; k < n; k++) p.in[k] = handle(t, node_operands(t, i, &count)[k]);
  const bool good = is_plain(&p, s) ? pass_values(&p, s, r) : pass_flows(&p, s, r);
  close_passage(&p);
  return good;
}

static bool reached(const own_rule *o, int j, const flow xdot[]) {
  for (int k = 0; k < o->n; k++)
    if (flow_connected(xdot[k]) && depends(o, j, k)) return true;
  return false;
}

bool own_rule_forward(ad_tape *t, const own_rule *o, uint32_t i, const flow xdot[], flow zdot[]) {
  bool any = false;
  for (int j = 0; j < o->m; j++) any |= reached(o, j, xdot);
  if (!any) return true;
  if (!o->jvp.f) return missing(t, o, "jvp");
  if (!pass(t, &o->jvp, o->n, i, xdot, zdot)) return false;
  for (int j = 0; j < o->m; j++)
    if (!reached(o, j, xdot)) zdot[j] = flow_none();
  return true;
}

static bool reaches(const own_rule *o, int k, const flow zbar[]) {
  for (int j = 0; j < o->m; j++)
    if (flow_connected(zbar[j]) && depends(o, j, k)) return true;
  return false;
}

bool own_rule_reverse(ad_tape *t, const own_rule *o, uint32_t i, const flow zbar[], const bool wanted[],
                      flow xbar[]) {
  bool any = false;
  for (int k = 0; k < o->n; k++) any |= wanted[k] && reaches(o, k, zbar);
  if (!any) return true;
  if (!o->vjp.f) return missing(t, o, "vjp");
  if (!pass(t, &o->vjp, o->n, i, zbar, xbar)) return false;
  for (int k = 0; k < o->n; k++)
    if (!wanted[k] || !reaches(o, k, zbar)) xbar[k] = flow_none();
  return true;
}

/* --- Taylor ---------------------------------------------------------------------------------------------
 *
 * z'(s) = J(x(s)) x'(s), so k z_k is coefficient k - 1 of the jvp along (x(s), x'(s)): one expansion, of the
 * jvp, to one order less. */

typedef struct expansion {
  ad_tape *t;
  const own_rule *o;
  int order;
  const ad_var *x;                  /* coefficients of the operands, as in tuple.h */
  bool *in, *out;                   /* of the jvp: which inputs move, which outputs are tangents of floats */
  flow *xdot;                       /* the first coefficients */
  size_t bytes;
} expansion;

static ad_var coefficient(const expansion *e, int k, int m) {
  return e->x[(size_t)k*(size_t)e->order + (size_t)m - 1];
}

static bool open_expansion(expansion *e) {
  const ad_function *f = e->o->jvp.f;
  const size_t n = (size_t)e->o->n;
  e->bytes = n*sizeof *e->xdot + (size_t)f->n_in + (size_t)f->n_out + 1;
  e->xdot = memory_get_zeroed(&e->t->allocator, e->bytes, 1);
  if (!e->xdot) {
    tape_fail(e->t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  e->in = (bool *)(e->xdot + n);
  e->out = e->in + f->n_in;
  for (int k = 0; k < e->o->n; k++) {
    e->xdot[k] = ad_is_none(coefficient(e, k, 1)) ? flow_none() : flow_of(coefficient(e, k, 1));
    for (int m = 1; m <= e->order && is_float(input_type(&e->o->jvp, k)); m++)
      if (!ad_is_none(coefficient(e, k, m))) e->in[k] = e->in[e->o->n + k] = true;
  }
  for (int j = 0; j < e->o->m; j++)
    for (int k = 0; k < e->o->n && is_float(output_type(&e->o->jvp, j)); k++)
      if (e->in[k] && depends(e->o, j, k)) e->out[e->o->jvp.skip + j] = true;
  return true;
}

static ad_var scaled(const expansion *e, int k, int m) {
  const ad_type type = input_type(&e->o->jvp, k);
  const ad_var v = coefficient(e, k, m);
  return ad_mul(flow_value(e->t, ad_is_none(v) ? flow_none() : flow_of(v), &type), ad_integer(m));
}

/* Inputs of the expanded jvp: x, x'(0), then coefficients 1, 2, .. of both where they move. */
static void put_curve(const expansion *e, uint32_t i, ad_var in[]) {
  int count;
  const int n = e->o->n;
  for (int k = 0; k < n; k++) in[k] = handle(e->t, node_operands(e->t, i, &count)[k]);
  for (int k = 0; k < n; k++) {
    const ad_type type = input_type(&e->o->jvp, k);
    in[n + k] = flow_value(e->t, e->in[k] ? e->xdot[k] : flow_none(), &type);
  }
  ad_var *next = in + 2*n;
  for (int m = 1; m < e->order; m++) {
    for (int k = 0; k < n; k++) {
      const ad_type type = input_type(&e->o->jvp, k);
      const ad_var v = coefficient(e, k, m);
      if (e->in[k]) *next++ = flow_value(e->t, ad_is_none(v) ? flow_none() : flow_of(v), &type);
    }
    for (int k = 0; k < n; k++)
      if (e->in[k]) *next++ = scaled(e, k, m + 1);
  }
}

static void take_series(const expansion *e, const ad_var out[], ad_var z[]) {
  const ad_function *f = e->o->jvp.f;
  const int skip = e->o->jvp.skip;
  int active = 0;
  for (int j = 0; j < f->n_out; j++) active += e->out[j];
  for (int j = 0, a = 0; j < e->o->m; j++) {
    if (!e->out[skip + j]) continue;
    ad_var *row = z + (size_t)j*(size_t)e->order;
    row[0] = out[skip + j];
    for (int m = 2; m <= e->order; m++)
      row[m - 1] = ad_div(out[f->n_out + (m - 2) * active + a], ad_integer(m));
    a++;
  }
}

static bool expand(const expansion *e, uint32_t i, ad_var z[]) {
  ad_function *f = e->o->jvp.f;
  ad_function *d = e->order == 1 ? f : derived_taylor(e->t, f, e->order - 1, e->in, e->out);
  const size_t room = d ? (size_t)d->n_in + (size_t)d->n_out : 0;
  ad_var *in = d ? vars_get(e->t, room) : NULL;
  if (!in) return false;
  put_curve(e, i, in);
  const bool good = e->t->status == AD_OK && function_apply_all(e->t, d, in, in + d->n_in) == AD_OK;
  if (good) take_series(e, in + d->n_in, z);
  vars_release(e->t, in, room);
  return good;
}

bool own_rule_taylor(ad_tape *t, const own_rule *o, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  if (!o->jvp.f) return missing(t, o, "jvp");
  expansion e = { .t = t, .o = o, .order = order, .x = x };
  if (!open_expansion(&e)) return false;
  const bool good = expand(&e, i, z);
  memory_release(&t->allocator, e.xdot, e.bytes);
  return good;
}
