/* jacobian.c -- Jacobians and Hessians, dense: one sweep for each element of the smaller side.
 *
 * Forward sweeps give columns, reverse sweeps rows. Either they are recorded one by one: the primal once,
 * and sweeps share what they have in common, and what is zero in one falls away. Or, where operations on
 * arrays do it all, one sweep is a function of the number of the element, and all are done at once: columns,
 * up to some dozens, by tangents with a trailing axis for the columns, others as instances of a map. */
#include "function/batch.h"
#include "function/wrt.h"
#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/elementwise.h"
#include "tape/tuple.h"

#include <string.h>

/* The e-th unit array of a type: one placed into zeros, so that the rest is not connected and 0*inf does not
 * arise. */
static ad_var unit(ad_tape *t, ad_type type, int64_t e) {
  const ad_var one = handle(t, tape_constant(t, type.dtype, 1));
  int64_t index[AD_MAX_RANK];
  for (int i = type.rank; i-- > 0; e /= type.dim[i]) index[i] = e%type.dim[i];
  return type.rank ? ad_at_add(ad_zeros(t, type), one, type.rank, index) : one;
}

static int64_t total(int n, const ad_var x[]) {
  int64_t sum = 0;
  for (int i = 0; i < n; i++) sum += ad_type_count(ad_type_of(x[i]));
  return sum;
}

/* n parts of the type of `part`, put together along a new axis in front or at the end, in the shape front +
 * back. */
static ad_var assemble(ad_tape *t, int64_t n, const ad_var parts[], ad_type front, ad_type back,
                       bool at_end) {
  const int rank = front.rank + back.rank;
  int64_t dim[2*AD_MAX_RANK];
  if (rank > AD_MAX_RANK)
    return ad_fail(t, AD_ERROR_SHAPE, "jacobian: rank %d + %d is more than %d", front.rank, back.rank,
                   AD_MAX_RANK);
  for (int i = 0; i < rank; i++) dim[i] = i < front.rank ? front.dim[i] : back.dim[i - front.rank];
  if (n == 0 || ad_type_count(front) == 0 || ad_type_count(back) == 0) {
    const ad_type empty = ad_type_make(front.dtype, rank, dim);
    return ad_zeros(t, empty);
  }
  ad_var *flat = vars_get(t, (size_t)n);
  if (!flat) return handle_invalid(t);
  const int64_t all = -1;
  for (int64_t i = 0; i < n; i++)
    flat[i] = ad_type_of(parts[i]).rank == 1 ? parts[i] : ad_reshape(parts[i], 1, &all);
  ad_var whole = ad_stack((int)n, flat, at_end ? 1 : 0);
  vars_release(t, flat, (size_t)n);
  return ad_cast(ad_reshape(whole, rank, dim), front.dtype);
}

/* Of f, whose outputs from `first` on are y, with respect to the inputs of w. */
typedef struct swept { ad_function *f; int first; const wrt_list *w; } swept;

typedef struct jacobian_lists {
  const swept *s;
  const ad_var *in;                 /* of s->f */
  int n, m;
  const ad_var *x, *y;
  ad_var *out;                      /* out[j*n + i] */
  ad_var *part;                     /* of one input or output: element e, then the other side's index */
} jacobian_lists;

/* All columns for input i: part[j*count + e] = dy[j]/dx[i][e]. */
static ad_status columns(ad_tape *t, const jacobian_lists *l, int i) {
  const ad_type type = ad_type_of(l->x[i]);
  const int64_t count = ad_type_count(type);
  ad_var *ydot = vars_get(t, (size_t)l->m);
  if (!ydot) return AD_ERROR_MEMORY;
  ad_status status = AD_OK;
  for (int64_t e = 0; e < count && status == AD_OK; e++) {
    const ad_var tangent = unit(t, type, e);
    status = ad_jvp(1, &l->x[i], &tangent, l->m, l->y, ydot);
    for (int j = 0; j < l->m && status == AD_OK; j++) l->part[j*count + e] = ydot[j];
  }
  vars_release(t, ydot, (size_t)l->m);
  for (int j = 0; j < l->m && status == AD_OK; j++)
    l->out[j*l->n + i] = assemble(t, count, l->part + j*count, ad_type_of(l->y[j]), type, true);
  return status;
}

/* All rows for output j: part[i*count + e] = dy[j][e]/dx[i]. */
static ad_status rows(ad_tape *t, const jacobian_lists *l, int j) {
  const ad_type type = ad_type_of(l->y[j]);
  const int64_t count = ad_type_count(type);
  ad_var *xbar = vars_get(t, (size_t)l->n);
  if (!xbar) return AD_ERROR_MEMORY;
  ad_status status = AD_OK;
  for (int64_t e = 0; e < count && status == AD_OK; e++) {
    const ad_var cotangent = unit(t, type, e);
    status = ad_vjp(1, &l->y[j], &cotangent, l->n, l->x, xbar);
    for (int i = 0; i < l->n && status == AD_OK; i++) l->part[i*count + e] = xbar[i];
  }
  vars_release(t, xbar, (size_t)l->n);
  for (int i = 0; i < l->n && status == AD_OK; i++)
    l->out[j*l->n + i] = assemble(t, count, l->part + i*count, type, ad_type_of(l->x[i]), false);
  return status;
}

/* --- sweeps as instances of a map ----------------------------------------------------------------------- */

/* MAPPED_FROM: elements, and so sweeps, that are worth a map. TRAILED_FROM to TRAILED_TO: columns that are
 * worth an axis; ELEMENTS: of an operation's result, on average, where they are. */
enum { MAPPED_FROM = 32, TRAILED_FROM = 3, TRAILED_TO = 64, ELEMENTS = 8 };

/* Where the primal has more operations than there are sweeps, some of them probably are on single elements,
 * and most sweeps need few of those. */
static bool is_mapped(const jacobian_lists *l, ad_type type) {
  const ad_function *f = l->s->f;
  if (!f || f->captures || type.rank >= AD_MAX_RANK) return false;
  const int64_t count = ad_type_count(type);
  if (count < MAPPED_FROM || (int64_t)ad_function_size(f) >= count) return false;
  for (int k = 0; k < l->n + l->m; k++) {
    const ad_type other = ad_type_of(k < l->n ? l->x[k] : l->y[k - l->n]);
    if (other.rank + type.rank > AD_MAX_RANK || other.rank == AD_MAX_RANK) return false;
  }
  return true;
}

/* Elements of the results of operations, on average. Sweeps one by one pay for each operation of each sweep,
 * and leave out what is zero in one, which operations on big arrays seldom are. */
static int64_t mean_elements(const ad_function *f) {
  double elements = 0, operations = 0;
  for (uint32_t i = 0; i < f->body->count; i++) {
    if (node_is_leaf(f->body, i) || node_tuple(f->body, i)) continue;
    elements += (double)ad_type_count(node_type(f->body, i)->type);
    operations++;
  }
  return operations > 0 ? (int64_t)(elements/operations) : 0;
}

/* Which of the columns e, at most 64, reach the result of an operation that moves elements of the input: it
 * is run on one unit array after the other. */
static uint64_t columns_moved(const ad_operation *op, int64_t count) {
  const ad_primitive *p = op->primitive;
  const size_t bytes = ad_type_bytes(op->z), width = ad_dtype_bytes(op->z.dtype);
  double one[TRAILED_TO], to[TRAILED_TO];
  const void *const x[1] = { one };
  const uint64_t all = UINT64_MAX >> (64 - count);
  uint64_t reached = 0;
  if (!(p->traits & AD_TRAIT_UNIT_WEIGHTS) || op->n != 1 || p->scratch_bytes || bytes > sizeof to) return all;
  for (int64_t e = 0; e < count; e++) {
    memset(one, 0, sizeof one);
    memset((char *)one + (size_t)e*width, 1, width);
    if (p->run(op, to, x, NULL) != AD_OK) return all;
    for (size_t i = 0; i < bytes; i++) reached |= (uint64_t)(((char *)to)[i] != 0) << e;
  }
  return reached;
}

/* Does each column reach but few of the operations, and so few in all that sweeps one by one are short? A
 * parameter that is picked from the input and met by its own part of the work is alone there. What joins many
 * operands wants zeros for those that a column does not reach. */
static bool is_sparse(const ad_function *f, int input, int64_t count) {
  enum { SWEPT = 256 };
  const ad_allocator *m = &f->body->allocator;
  const ad_tape *t = f->body;
  uint64_t *reached = memory_get_zeroed(m, t->count, sizeof *reached);
  int64_t active = 0, all = 0, recorded = 0;
  for (uint32_t i = 0; reached && i < t->count; i++) {
    const ad_type *types[1];
    int n;
    if (i == f->in[input]) reached[i] = UINT64_MAX >> (64 - count);
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    const bool moves = n == 1 && x[0] == f->in[input] && !node_tuple(t, i) && !node_is_result(t, i);
    if (moves) {
      const ad_operation op = node_operation(t, i, types);
      reached[i] = columns_moved(&op, count);
    } else
      for (int k = 0; k < n; k++) reached[i] |= reached[x[k]];
    active += reached[i] != 0;
    all += __builtin_popcountll(reached[i]);
    recorded += __builtin_popcountll(reached[i])*((n + 1)/2);
  }
  memory_release(m, reached, t->count*sizeof *reached);
  return reached && recorded <= SWEPT && 2*all <= active*count;
}

/* As is_mapped. */
static bool is_trailed(const jacobian_lists *l, int i) {
  const ad_function *f = l->s->f;
  const ad_type type = ad_type_of(l->x[i]);
  if (!f || f->captures || type.rank == 0 || type.rank == AD_MAX_RANK) return false;
  const int64_t count = ad_type_count(type);
  for (int j = 0; j < l->m; j++)
    if (ad_type_of(l->y[j]).rank + type.rank > AD_MAX_RANK) return false;
  if (count < TRAILED_FROM || count > TRAILED_TO || mean_elements(f) < ELEMENTS) return false;
  return !is_sparse(f, l->s->w->input[i], count);
}

/* unit(t, type, e), with the number e a variable. */
static ad_var unit_at(ad_tape *t, ad_type type, ad_var e) {
  const int64_t one[1] = { 1 }, count[1] = { ad_type_count(type) };
  const ad_var base = ad_zeros(t, ad_type_make(type.dtype, 1, count));
  const ad_var ones = ad_ones(t, ad_type_make(type.dtype, 1, one));
  return ad_reshape(ad_scatter_add(base, ad_reshape(e, 1, one), ones, 0), type.rank, type.dim);
}

/* One sweep, from element e of input or output `at`. */
typedef struct sweep { const swept *s; int at; bool forward; } sweep;

/* (x.., e) -> ydot.., or xbar.. */
static void sweep_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sweep *c = context;
  const swept *s = c->s;
  const int m = s->f->n_out - s->first;
  const size_t n = (size_t)s->w->n, all = (size_t)s->f->n_out + n;
  ad_var *y = vars_get(t, all);
  if (!y) return;
  ad_var *x = y + s->f->n_out;
  for (int i = 0; i < s->w->n; i++) x[i] = in[s->w->input[i]];
  t->inlines = true;
  if (function_apply_on(t, s->f, in, y) == AD_OK) {
    y += s->first;
    const ad_var *from = c->forward ? &x[c->at] : &y[c->at];
    const ad_var seed = unit_at(t, ad_type_of(*from), in[s->f->n_in]);
    if (c->forward) ad_jvp(1, from, &seed, m, y, out);
    else ad_vjp(1, from, &seed, (int)n, x, out);
    y -= s->first;
  }
  vars_release(t, y, all);
}

static ad_function *sweep_function(ad_tape *t, const sweep *c) {
  ad_function *f = c->s->f;
  const size_t n = (size_t)f->n_in + 1;
  ad_type *in = memory_get(&t->allocator, n*sizeof *in);
  ad_function *d = NULL;
  for (int i = 0; in && i < f->n_in; i++) in[i] = ad_function_input_type(f, i);
  if (in) {
    in[f->n_in] = ad_type_make(AD_I64, 0, NULL);
    const int results = c->forward ? f->n_out - c->s->first : c->s->w->n;
    sweep own = *c;
    d = function_derive(f, "_sweep", sweep_body, &own, f->n_in + 1, in, results);
  }
  memory_release(&t->allocator, in, n*sizeof *in);
  if (!d) tape_fail(t, AD_ERROR_DERIVATIVE, "jacobian: %s has no derivative", f->name);
  return d;
}

/* z[k], k < results, of all sweeps from element e = 0, 1, .. of a variable with so many. */
static ad_status map_sweeps(ad_tape *t, const jacobian_lists *l, const sweep *c, int64_t count, ad_var z[]) {
  const size_t n = (size_t)c->s->f->n_in + 1;
  ad_function *d = sweep_function(t, c);
  ad_var *v = d ? vars_get(t, n) : NULL;
  if (v) {
    memcpy(v, l->in, (n - 1)*sizeof *v);
    v[n - 1] = ad_arange(t, 0, (double)count, 1, AD_I64);
    ad_map(d, v, z);
  }
  vars_release(t, v, n);
  ad_function_free(d);
  return t->status;
}

/* z[j], with a trailing axis for the elements e of input i. *possible is false where f has operations that
 * cannot be batched. */
static ad_status trail_sweeps(ad_tape *t, const jacobian_lists *l, int i, int64_t count, ad_var z[],
                              bool *possible) {
  const size_t n = (size_t)l->s->f->n_in + 1;
  const ad_allocator *m = &t->allocator;
  const sweep c = { l->s, i, true };
  ad_status status = AD_ERROR_MEMORY;
  ad_function *d = sweep_function(t, &c), *all = NULL;
  ad_var *v = d ? vars_get(t, n) : NULL;
  bool *mapped = v ? memory_get_zeroed(m, n, sizeof *mapped) : NULL;
  *possible = false;
  if (mapped) {
    mapped[n - 1] = true;
    all = function_trailed(d, count, mapped, &status);
    memcpy(v, l->in, (n - 1)*sizeof *v);
    v[n - 1] = ad_arange(t, 0, (double)count, 1, AD_I64);
  }
  if (all) *possible = function_apply_on(t, all, v, z) == AD_OK;
  else if (status != AD_OK) tape_fail(t, status, "jacobian: %s", l->s->f->name);
  memory_release(m, mapped, n*sizeof *mapped);
  vars_release(t, v, n);
  ad_function_free(all);
  ad_function_free(d);
  return t->status;
}

/* z, with the axis of the sweeps in front, in the shape front + back. */
static ad_var put_in_shape(ad_var z, ad_type front, ad_type back, bool at_end) {
  const int rank = front.rank + back.rank, sweeps = at_end ? front.rank : 0;
  int perm[AD_MAX_RANK + 1] = { 0 };
  int64_t dim[AD_MAX_RANK];
  for (int i = 0; i < rank; i++) dim[i] = i < front.rank ? front.dim[i] : back.dim[i - front.rank];
  for (int i = 0; i < sweeps; i++) perm[i] = i + 1;
  if (sweeps) z = ad_transpose(z, perm);
  return ad_cast(ad_reshape(z, rank, dim), front.dtype);
}

static ad_status mapped_columns(ad_tape *t, const jacobian_lists *l, int i) {
  const ad_type type = ad_type_of(l->x[i]);
  ad_var *z = vars_get(t, (size_t)l->m);
  if (!z) return AD_ERROR_MEMORY;
  const ad_status status = map_sweeps(t, l, &(sweep){ l->s, i, true }, ad_type_count(type), z);
  for (int j = 0; j < l->m && status == AD_OK; j++)
    l->out[j*l->n + i] = put_in_shape(z[j], ad_type_of(l->y[j]), type, true);
  vars_release(t, z, (size_t)l->m);
  return status;
}

/* Falls back on sweeps one by one. */
static ad_status trailed_columns(ad_tape *t, const jacobian_lists *l, int i) {
  const ad_type type = ad_type_of(l->x[i]);
  ad_var *z = vars_get(t, (size_t)l->m);
  if (!z) return AD_ERROR_MEMORY;
  bool possible;
  ad_status status = trail_sweeps(t, l, i, ad_type_count(type), z, &possible);
  for (int j = 0; j < l->m && possible; j++) {
    ad_type whole = ad_type_of(l->y[j]);
    memcpy(whole.dim + whole.rank, type.dim, (size_t)type.rank*sizeof *type.dim);
    l->out[j*l->n + i] = ad_cast(ad_reshape(z[j], whole.rank + type.rank, whole.dim), whole.dtype);
  }
  if (!possible && status == AD_OK) status = columns(t, l, i);
  vars_release(t, z, (size_t)l->m);
  return status;
}

static ad_status column_block(ad_tape *t, const jacobian_lists *l, int i) {
  const ad_type type = ad_type_of(l->x[i]);
  if (is_trailed(l, i)) return trailed_columns(t, l, i);
  return is_mapped(l, type) ? mapped_columns(t, l, i) : columns(t, l, i);
}

static ad_status mapped_rows(ad_tape *t, const jacobian_lists *l, int j) {
  const ad_type type = ad_type_of(l->y[j]);
  ad_var *z = vars_get(t, (size_t)l->n);
  if (!z) return AD_ERROR_MEMORY;
  const ad_status status = map_sweeps(t, l, &(sweep){ l->s, j, false }, ad_type_count(type), z);
  for (int i = 0; i < l->n && status == AD_OK; i++)
    l->out[j*l->n + i] = put_in_shape(z[i], type, ad_type_of(l->x[i]), false);
  vars_release(t, z, (size_t)l->n);
  return status;
}

/* --- all of it ------------------------------------------------------------------------------------------ */

/* out[j*n + i] = dy[j]/dx[i], by the mode that needs fewer sweeps. */
static ad_status jacobian(ad_tape *t, jacobian_lists *l, bool forward) {
  const int64_t side = forward ? total(l->n, l->x)*l->m : total(l->m, l->y)*l->n;
  ad_status status = AD_OK;
  l->part = vars_get(t, (size_t)side);
  if (!l->part) return AD_ERROR_MEMORY;
  for (int i = 0; i < l->n && forward && status == AD_OK; i++)
    status = column_block(t, l, i);
  for (int j = 0; j < l->m && !forward && status == AD_OK; j++)
    status = is_mapped(l, ad_type_of(l->y[j])) ? mapped_rows(t, l, j) : rows(t, l, j);
  vars_release(t, l->part, (size_t)side);
  return status;
}

/* The inputs that are asked for, and all outputs, which must be floats. */
static void jacobian_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const wrt_list *w = context;
  const size_t n = (size_t)w->n, m = (size_t)w->f->n_out;
  ad_var *x = vars_get(t, n + m);
  if (!x) return;
  ad_var *y = x + n;
  for (int i = 0; i < w->n; i++) x[i] = in[w->input[i]];
  t->inlines = true;
  const swept s = { w->f, 0, w };
  jacobian_lists l = { .s = &s, .in = in, .n = w->n, .m = (int)m, .x = x, .y = y, .out = out };
  if (function_apply_on(t, w->f, in, y) == AD_OK) jacobian(t, &l, total(w->n, x) <= total((int)m, y));
  vars_release(t, x, n + m);
}

/* Forward over reverse: the Jacobian of the gradient, whose columns cost one sweep each. */
static void hessian_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const swept *s = context;
  const wrt_list *w = s->w;
  const size_t n = (size_t)w->n;
  ad_var *x = vars_get(t, 2*n + 1);
  if (!x) return;
  ad_var *y = x + n;
  for (int i = 0; i < w->n; i++) x[i] = in[w->input[i]];
  gradient_body(t, in, y, (void *)(uintptr_t)w);
  jacobian_lists l = { .s = s, .in = in, .n = w->n, .m = w->n, .x = x, .y = y + 1, .out = out };
  if (t->status == AD_OK) jacobian(t, &l, true);
  vars_release(t, x, 2*n + 1);
}

static ad_function *derive(ad_function *f, const char *suffix, ad_body *body, void *context, int n_out) {
  const ad_allocator *a = &f->body->allocator;
  const size_t bytes = (size_t)function_visible(f)*sizeof(ad_type) + 1;
  ad_type *in = memory_get(a, bytes);
  ad_function *d = NULL;
  for (int i = 0; in && i < function_visible(f); i++) in[i] = ad_function_input_type(f, i);
  if (in) d = function_derive(f, suffix, body, context, function_visible(f), in, n_out);
  memory_release(a, in, bytes);
  return d;
}

ad_function *ad_function_jacobian(ad_function *f, int n_wrt, const int wrt[]) {
  wrt_list w;
  for (int j = 0; f && j < f->n_out; j++)
    if (ad_function_output_type(f, j).dtype < AD_F32) return NULL;
  if (!wrt_open(&w, f, n_wrt, wrt)) return NULL;
  int n_out;
  ad_function *d = __builtin_mul_overflow(f->n_out, w.n, &n_out)
                       ? NULL
                       : derive(f, "_jacobian", jacobian_body, &w, n_out);
  wrt_close(&w);
  return d;
}

ad_function *ad_function_hessian(ad_function *f, int n_wrt, const int wrt[]) {
  wrt_list w;
  if (!f || f->n_out != 1 || ad_function_output_type(f, 0).rank
      || ad_function_output_type(f, 0).dtype < AD_F32)
    return NULL;
  if (!wrt_open(&w, f, n_wrt, wrt)) return NULL;
  int n_out;
  ad_function *d = NULL;
  /* The gradient as a function is for the sweeps of a map; without it they are recorded one by one. */
  swept s = { ad_function_gradient(f, w.n, w.input), 1, &w };
  if (!__builtin_mul_overflow(w.n, w.n, &n_out)) d = derive(f, "_hessian", hessian_body, &s, n_out);
  ad_function_free(s.f);
  wrt_close(&w);
  return d;
}
