/* program_run.h -- a program in two ways: with the operations that carry functions, and unrolled: every loop
 * a loop in C, every branch an if, on the value that the condition has now. */
#ifndef ADIT_TESTS_PROGRAM_RUN_H
#define ADIT_TESTS_PROGRAM_RUN_H

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/linear.h"
#include "adit/primitive.h"
#include "function/program.h"

typedef struct machine {
  const program *p;
  const liveness *live;
  bool unrolled;
  int policy;                       /* an ad_keep for all loops; -1: each its own */
  int64_t k;
  bool wrong_type;                  /* a value is not of the type that the program says */
  long *count;                      /* by operation, what was recorded; may be NULL */
  char error[256];                  /* the first body that could not be traced */
} machine;

/* A body while it runs. */
typedef struct frame {
  const struct frame *outer;
  machine *m;
  ad_tape *t;
  int b;
  ad_var value[MOST_VALUES];
} frame;

static void run_statements(frame *f);

static ad_var look(const frame *f, reference r, double c) {
  if (r.up < 0) return f->m->unrolled ? ad_full(f->t, scalar_type(AD_F64), c) : ad_real(c);
  for (int up = r.up; up > 0; up--) f = f->outer;
  return f->value[r.value];
}

/* --- plain operations ----------------------------------------------------------------------------------- */

static ad_var cycle(ad_var i, long long n) { return ad_fmod(ad_add(ad_fmod(i, n), n), n); }

/* Several hundred operations: more than what calls copy in place. */
static ad_var long_chain(ad_var x) {
  for (int i = 0; i < 100; i++) x = ad_add(ad_mul(ad_sin(x), 0.9), 0.002*(i%7));
  return x;
}

static ad_var run_unary(const statement *s, ad_var x) {
  switch (s->op) {
    case OP_SIN:        return ad_sin(x);
    case OP_COS:        return ad_cos(x);
    case OP_TANH:       return ad_tanh(x);
    case OP_ATAN:       return ad_atan(x);
    case OP_SIGMOID:    return ad_sigmoid(x);
    case OP_SOFTPLUS:   return ad_softplus(x);
    case OP_ROOT:       return ad_sqrt(ad_add(1, ad_mul(x, x)));
    case OP_LOG:        return ad_log(ad_add(2, ad_sin(x)));
    case OP_EXP:        return ad_exp(ad_mul(0.5, ad_tanh(x)));
    case OP_RECIPROCAL: return ad_div(1, ad_add(2, ad_cos(x)));
    case OP_AFFINE:     return ad_add(ad_mul(s->c, x), s->d);
    case OP_ABS:        return ad_abs(ad_add(x, s->c));
    case OP_RELU:       return ad_relu(ad_add(x, s->c));
    case OP_STOP:       return ad_stop_gradient(x);
    case OP_LONG:       return long_chain(x);
    default:            return ad_none();
  }
}

static ad_var run_binary(const statement *s, ad_var x, ad_var y) {
  switch (s->op) {
    case OP_LINEAR: return ad_add(ad_mul(s->c, x), ad_mul(s->d, y));
    case OP_TIMES:  return ad_mul(x, ad_sin(y));
    case OP_OVER:   return ad_div(x, ad_add(1, ad_mul(y, y)));
    case OP_MAX:    return ad_max(x, ad_add(ad_mul(s->c, y), s->d));
    case OP_MIN:    return ad_min(x, ad_add(ad_mul(s->c, y), s->d));
    case OP_CHOOSE: return ad_select(ad_less(x, ad_add(ad_mul(s->c, y), s->d)), ad_sin(x), y);
    case OP_LESS:   return ad_less(x, ad_add(ad_mul(s->c, y), s->d));
    case OP_TICK:   return ad_add(ad_add(x, 0.6), ad_mul(0.4, ad_tanh(y)));
    case OP_BELOW:  return ad_less(x, ad_add(ad_tanh(y), s->c));
    default:        return ad_none();
  }
}

/* Its ties are accidents, where two ways of computing an element would order equal ones differently. */
static ad_var sorted(ad_tape *t, ad_var x) {
  const ad_type type = ad_type_of(x);
  int64_t dim[AD_MAX_RANK] = { type.dim[0], 1, 1, 1, 1, 1, 1, 1 };
  const ad_var i = ad_arange(t, 0, (double)type.dim[0], 1, type.dtype);
  return ad_sort(ad_add(x, ad_mul(0.37, ad_reshape(i, type.rank, dim))), 0, false);
}

static ad_var solved(ad_tape *t, ad_var x) {
  const ad_type type = ad_type_of(x);
  const ad_var five = ad_mul(5, ad_eye(t, type.dim[0], type.dim[0], 0, type.dtype));
  return ad_solve(ad_add(five, ad_outer(ad_sin(x), ad_cos(x))), x);
}

static ad_var run_shape(const frame *f, const statement *s, const ad_var a[], ad_type result) {
  const int64_t dim = s->op == OP_TAKE ? ad_type_of(a[0]).dim[0] : 0;
  switch (s->op) {
    case OP_FILL:       return ad_full(f->t, result, result.dtype == AD_I64 ? trunc(5*s->c) : s->c);
    case OP_SUM:        return ad_sum(a[0], AD_ALL_AXES, false);
    case OP_LOGSUMEXP:  return ad_logsumexp(a[0], AD_ALL_AXES, false);
    case OP_AT:         return ad_at(a[0], 1, &s->n);
    case OP_FLIP:       return ad_flip(a[0], AD_AXES(0));
    case OP_CUMSUM:     return ad_cumsum(a[0], 0);
    case OP_SORT:       return sorted(f->t, a[0]);
    case OP_CUMPROD:    return ad_cumprod(ad_tanh(a[0]), 0);
    case OP_SOLVE:      return solved(f->t, a[0]);
    case OP_STACK:      return ad_stack(2, a, 0);
    case OP_BROADCAST:  return ad_broadcast_to(a[0], result.rank, result.dim);
    case OP_MATMUL:     return ad_matmul(a[0], a[1]);
    case OP_TAKE:       return ad_take(a[0], cycle(a[1], dim), 0);
    case OP_TO_F64:     return ad_cast(a[0], AD_F64);
    case OP_TO_F32:     return ad_cast(a[0], AD_F32);
    case OP_TO_I64:     return ad_cast(ad_floor(ad_mul(2.5, ad_sin(a[0]))), AD_I64);
    case OP_CYCLE:      return cycle(ad_add(ad_mul(a[0], (long long)s->c), (long long)s->d), 7);
    case OP_TOCK:       return ad_add(a[0], 1);
    case OP_BELOW_INTEGER: return ad_less(a[0], cycle(a[1], (long long)s->c));
    case OP_NOT:        return ad_logical_not(a[0]);
    case OP_SELECT:     return ad_select(a[0], a[1], a[2]);
    default:            return ad_none();
  }
}

static ad_var run_plain(const frame *f, const statement *s, const ad_var a[], ad_type result) {
  if (s->op >= OP_SIN && s->op <= OP_LONG) return run_unary(s, a[0]);
  const bool binary = (s->op >= OP_LINEAR && s->op <= OP_CHOOSE) || s->op == OP_LESS || s->op == OP_TICK
                      || s->op == OP_BELOW;
  return binary ? run_binary(s, a[0], a[1]) : run_shape(f, s, a, result);
}

/* The number of steps of a counted scan. */
static ad_var steps_of(const statement *s, ad_var i) { return cycle(i, s->n < 0 ? 5 : s->n + 1); }

/* --- unrolled ------------------------------------------------------------------------------------------- */

static void run_inline(frame *f, int b, const ad_var in[], ad_var out[]) {
  frame g = { .outer = f, .m = f->m, .t = f->t, .b = b };
  const body *own = &f->m->p->b[b];
  for (int k = 0; k < own->n_params; k++) g.value[k] = in[k];
  run_statements(&g);
  for (int j = 0; j < own->n_outputs; j++) out[j] = look(&g, own->out[j], 0);
}

/* Rows of results, set one by one: those that no step sets are zero. */
typedef struct rows { ad_var at[MOST_LIST][MOST_ELEMENTS]; } rows;

static void stack_rows(const frame *f, const statement *s, const rows *r, int from, const bool set[],
                       ad_var out[]) {
  const body *own = &f->m->p->b[f->b];
  for (int j = from; j < s->n_results; j++) {
    const ad_type type = own->type[s->first + j];
    ad_var all[MOST_ELEMENTS];
    for (int64_t i = 0; i < s->n; i++) all[i] = set[i] ? r->at[j][i] : ad_zeros(f->t, without_axis(type));
    out[j] = s->n ? ad_stack((int)s->n, all, 0) : ad_zeros(f->t, type);
  }
}

static void unroll_map(frame *f, const statement *s, const ad_var a[], ad_var out[]) {
  rows *r = malloc(sizeof *r);
  bool set[MOST_ELEMENTS];
  if (!r) abort();
  for (int64_t i = 0; i < s->n; i++) {
    ad_var in[MOST_LIST], z[MOST_LIST];
    for (int k = 0; k < s->n_args; k++) in[k] = s->each[k] ? ad_at(a[k], 1, &i) : a[k];
    run_inline(f, s->body, in, z);
    for (int j = 0; j < s->n_results; j++) r->at[j][i] = z[j];
    set[i] = true;
  }
  stack_rows(f, s, r, 0, set, out);
  free(r);
}

static void unroll_scan(frame *f, const statement *s, const ad_var a[], ad_var selector, ad_var out[]) {
  rows *r = malloc(sizeof *r);
  if (!r) abort();
  bool set[MOST_ELEMENTS] = { false };
  ad_var in[MOST_LIST], z[MOST_LIST];
  const int64_t n = s->counted ? (int64_t)ad_value(steps_of(s, selector)) : s->n;
  for (int k = 0; k < s->states; k++) in[k] = a[k];
  for (int64_t i = 0; i < n; i++) {
    const int64_t row = s->backwards ? n - 1 - i : i;
    for (int k = s->states; k < s->n_args; k++) in[k] = s->each[k] ? ad_at(a[k], 1, &row) : a[k];
    run_inline(f, s->body, in, z);
    for (int k = 0; k < s->states; k++) in[k] = z[k];
    for (int j = s->states; j < s->n_results; j++) r->at[j][row] = z[j];
    if (s->n >= 0) set[row] = true;
  }
  for (int k = 0; k < s->states; k++) out[k] = in[k];
  stack_rows(f, s, r, s->states, set, out);
  free(r);
}

static void unroll_reduce(frame *f, const statement *s, const ad_var a[], ad_var out[]) {
  ad_var in[MOST_LIST + 1];
  const int64_t first = 0;
  in[0] = ad_at(a[0], 1, &first);
  for (int k = 1; k < s->n_args; k++) in[k + 1] = a[k];
  for (int64_t step = 1; step < s->n; step++) {
    const int64_t i = s->backwards ? s->n - step : step;
    in[1] = ad_at(a[0], 1, &i);
    run_inline(f, s->body, in, in);
  }
  out[0] = in[0];
}

enum { MOST_STEPS = 1000 };

static void unroll_while(frame *f, const statement *s, const ad_var a[], ad_var out[]) {
  ad_var in[MOST_LIST], z[MOST_LIST];
  for (int k = 0; k < s->n_args; k++) in[k] = a[k];
  for (int steps = 0; steps < MOST_STEPS; steps++) {
    run_inline(f, s->other, in, z);
    if (!(ad_value(z[0]) != 0)) break;
    run_inline(f, s->body, in, z);
    for (int k = 0; k < s->n_results; k++) in[k] = z[k];
  }
  for (int k = 0; k < s->n_results; k++) out[k] = in[k];
}

static void unroll(frame *f, const statement *s, const ad_var a[], ad_var selector, ad_var out[]) {
  switch (s->op) {
    case OP_COND:   run_inline(f, ad_value(selector) != 0 ? s->body : s->other, a, out); break;
    case OP_MAP:    unroll_map(f, s, a, out); break;
    case OP_SCAN:
    case OP_FOLD:   unroll_scan(f, s, a, selector, out); break;
    case OP_REDUCE: unroll_reduce(f, s, a, out); break;
    case OP_WHILE:  unroll_while(f, s, a, out); break;
    default:        run_inline(f, s->body, a, out);
  }
}

/* --- with carriers -------------------------------------------------------------------------------------- */

typedef struct traced { frame *outer; int b; } traced;

static void traced_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const traced *c = context;
  frame g = { .outer = c->outer, .m = c->outer->m, .t = t, .b = c->b };
  const body *own = &g.m->p->b[c->b];
  for (int k = 0; k < own->n_params; k++) g.value[k] = in[k];
  run_statements(&g);
  for (int j = 0; j < own->n_outputs; j++) out[j] = look(&g, own->out[j], 0);
}

static ad_function *trace(frame *f, int b, bool inside) {
  const program *p = f->m->p;
  const body *own = &p->b[b];
  traced c = { f, b };
  char name[16];
  snprintf(name, sizeof name, "f%d", b);
  ad_report report;
  ad_function *made = inside || captures(p, b)
    ? ad_function_trace_inside(f->t, name, traced_body, &c, own->n_params, own->type, own->n_outputs, &report)
    : ad_function_trace_report(name, traced_body, &c, own->n_params, own->type, own->n_outputs, &report);
  if (!made && !f->m->error[0]) snprintf(f->m->error, sizeof f->m->error, "%s: %.200s", name, report.message);
  return made;
}

static ad_loop loop_options(const machine *m, const statement *s, ad_var count) {
  ad_loop o = { .keep = s->keep, .k = s->k, .bytes = s->keep == AD_KEEP_BINOMIAL ? s->bytes : 0,
                .backwards = s->backwards, .counted = s->counted, .count = count };
  if (s->op == OP_SCAN || s->op == OP_FOLD) o.steps = s->n < 0 ? 0 : s->n;
  if (m->policy >= 0) o.keep = (ad_keep)m->policy, o.k = m->k, o.bytes = 0;
  return o;
}

static void carry(frame *f, const statement *s, const ad_var a[], ad_var selector, ad_var out[]) {
  const ad_loop o = loop_options(f->m, s, s->counted ? steps_of(s, selector) : ad_none());
  ad_function *fun = trace(f, s->body, s->inside), *other = NULL;
  if (s->op == OP_COND || s->op == OP_WHILE) other = trace(f, s->other, s->inside);
  switch (s->op) {
    case OP_CALL:       ad_function_apply(fun, a, out); break;
    case OP_CHECKPOINT: ad_checkpoint(fun, a, out); break;
    case OP_COND:       ad_cond(selector, fun, other, a, out); break;
    case OP_MAP:        ad_map(fun, a, out); break;
    case OP_SCAN:       ad_scan(fun, s->states, &o, a, out); break;
    case OP_FOLD:       ad_fold(fun, s->states, &o, a, out); break;
    case OP_REDUCE:     ad_reduce(fun, &o, a, out); break;
    default:            ad_while(other, fun, &o, a, out);
  }
  ad_function_free(fun);
  ad_function_free(other);
}

/* --- both ----------------------------------------------------------------------------------------------- */

static void run_statement(frame *f, const statement *s) {
  const body *own = &f->m->p->b[f->b];
  ad_var a[MOST_LIST], out[MOST_LIST], selector = ad_none();
  for (int k = 0; k < s->n_args; k++) a[k] = look(f, s->arg[k], s->c);
  if (s->op == OP_COND || s->counted) selector = look(f, s->selector, 0);
  if (f->m->count) f->m->count[s->op]++;
  if (!is_carrier(s->op)) out[0] = run_plain(f, s, a, own->type[s->first]);
  else if (f->m->unrolled) unroll(f, s, a, selector, out);
  else carry(f, s, a, selector, out);
  for (int j = 0; j < s->n_results; j++) {
    f->value[s->first + j] = out[j];
    if (ad_is_valid(out[j]) && !ad_type_equal(ad_type_of(out[j]), own->type[s->first + j]))
      f->m->wrong_type = true;
  }
}

static void run_statements(frame *f) {
  const body *own = &f->m->p->b[f->b];
  for (int i = 0; i < own->n_statements; i++)
    if (statement_lives(f->m->live, f->b, &own->s[i])) run_statement(f, &own->s[i]);
}

/* The program's outputs from its inputs, on tape t. */
static void run_program(machine *m, ad_tape *t, const ad_var in[], ad_var out[]) {
  frame top = { .m = m, .t = t, .b = 0 };
  const body *own = &m->p->b[0];
  for (int k = 0; k < own->n_params; k++) top.value[k] = in[k];
  run_statements(&top);
  for (int j = 0; j < own->n_outputs; j++) out[j] = look(&top, own->out[j], 0);
}

/* One number from all outputs: sum_j w_j sum(out[j]), w_j = 1, -1/2, 1/3, .. */
static ad_var sum_up(ad_tape *t, int n, const ad_var out[]) {
  ad_var y = ad_full(t, scalar_type(AD_F64), 0);
  for (int j = 0; j < n; j++) {
    const ad_var s = ad_sum(ad_cast(out[j], AD_F64), AD_ALL_AXES, false);
    y = ad_add(y, ad_mul((j%2 ? -1.0 : 1.0)/(j + 1), s));
  }
  return y;
}

#endif
