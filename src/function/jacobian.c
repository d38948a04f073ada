/* jacobian.c -- Jacobians and Hessians, dense: one sweep for each element of the smaller side.
 *
 * Forward sweeps give columns, reverse sweeps rows; the primal is recorded once, and sweeps share what they
 * have in common.
 */
#include "function/wrt.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"

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

typedef struct jacobian_lists {
  int n, m;
  const ad_var *x, *y;
  ad_var *out;                      /* out[j*n + i] */
  ad_var *part;                     /* of one input or output: element e, then the other side's index */
  ad_var *seed;
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

/* out[j*n + i] = dy[j]/dx[i], by the mode that needs fewer sweeps. */
static ad_status jacobian(ad_tape *t, int n, const ad_var x[], int m, const ad_var y[], bool forward,
                          ad_var out[]) {
  const int64_t side = forward ? total(n, x)*m : total(m, y)*n;
  jacobian_lists l = { n, m, x, y, out, vars_get(t, (size_t)side), NULL };
  ad_status status = l.part ? AD_OK : AD_ERROR_MEMORY;
  for (int i = 0; i < n && forward && status == AD_OK; i++) status = columns(t, &l, i);
  for (int j = 0; j < m && !forward && status == AD_OK; j++) status = rows(t, &l, j);
  vars_release(t, l.part, (size_t)side);
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
  if (function_apply_on(t, w->f, in, y) == AD_OK)
    jacobian(t, w->n, x, (int)m, y, total(w->n, x) <= total((int)m, y), out);
  vars_release(t, x, n + m);
}

/* Forward over reverse: the Jacobian of the gradient, whose columns cost one sweep each. */
static void hessian_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const wrt_list *w = context;
  const size_t n = (size_t)w->n;
  ad_var *x = vars_get(t, 2*n + 1);
  if (!x) return;
  ad_var *y = x + n;
  for (int i = 0; i < w->n; i++) x[i] = in[w->input[i]];
  gradient_body(t, in, y, context);
  if (t->status == AD_OK) jacobian(t, w->n, x, w->n, y + 1, true, out);
  vars_release(t, x, 2*n + 1);
}

static ad_function *derive(ad_function *f, const char *suffix, ad_body *body, wrt_list *w, int n_out) {
  const ad_allocator *a = &f->body->allocator;
  const size_t bytes = (size_t)function_visible(f)*sizeof(ad_type) + 1;
  ad_type *in = memory_get(a, bytes);
  ad_function *d = NULL;
  for (int i = 0; in && i < function_visible(f); i++) in[i] = ad_function_input_type(f, i);
  if (in) d = function_derive(f, suffix, body, w, function_visible(f), in, n_out);
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
  ad_function *d = __builtin_mul_overflow(w.n, w.n, &n_out) ? NULL
                                                            : derive(f, "_hessian", hessian_body, &w, n_out);
  wrt_close(&w);
  return d;
}
