/* transform.c -- the derivatives of a function as functions: jvp, vjp, gradient, Hessian-vector product.
 *
 * Each traces a new function that applies f and differentiates what that recorded; value and derivative share
 * the primal because equal nodes are one node while tracing.
 */
#include "function/wrt.h"
#include "adit/arrays.h"
#include "tape/tuple.h"

#include <string.h>

ad_status function_argument(ad_tape *t, const ad_function *f, int i, ad_var v, ad_var *x) {
  const ad_type want = node_type(f->body, f->in[i])->type;
  char a[192], b[192];
  *x = is_literal(v) ? ad_full(t, want, literal_value(v)) : v;
  if (!handle_check(*x, f->name)) return tape_fail(t, AD_ERROR_HANDLE, "%s: input %d is invalid", f->name, i);
  if (x->tape != t) {
    const uint32_t lifted = tape_lift(t, *x, f->name);
    if (lifted == INVALID_INDEX) return AD_ERROR_TAPES;
    *x = handle(t, lifted);
  }
  const ad_type *have = &node_type(t, x->at.node.index)->type;
  if (ad_type_equal(*have, want)) return AD_OK;
  return tape_fail(t, have->dtype == want.dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                   "%s: input %d is %s, not %s", f->name, i, ad_type_print(*have, a, sizeof a),
                   ad_type_print(want, b, sizeof b));
}

ad_var *function_arguments(ad_tape *t, ad_function *f, const ad_var in[]) {
  ad_var *x = vars_get(t, (size_t)f->n_in);
  if (!x) return NULL;
  const int visible = function_visible(f);
  ad_status status = tape_settle(t);
  for (int i = 0; i < f->n_in && status == AD_OK; i++)
    status = function_argument(t, f, i, i < visible ? in[i] : f->captured[i - visible], &x[i]);
  if (status == AD_OK) return x;
  vars_release(t, x, (size_t)f->n_in);
  return NULL;
}

ad_status function_apply_all(ad_tape *t, ad_function *f, const ad_var in[], ad_var out[]) {
  return function_copy(t, f->body, f->n_in, f->in, in, f->n_out, f->out, out);
}

ad_status function_apply_on(ad_tape *t, ad_function *f, const ad_var in[], ad_var out[]) {
  for (int j = 0; j < f->n_out; j++) out[j] = handle_invalid(t);
  ad_var *x = function_arguments(t, f, in);
  if (!x) return t->status == AD_OK ? AD_ERROR_MEMORY : t->status;
  const ad_status status = function_apply_all(t, f, x, out);
  vars_release(t, x, (size_t)f->n_in);
  return status;
}

/* --- which inputs --------------------------------------------------------------------------------- */

static bool is_float(const ad_function *f, int i) { return ad_function_input_type(f, i).dtype >= AD_F32; }

bool wrt_open(wrt_list *w, ad_function *f, int n, const int wrt[]) {
  *w = (wrt_list){ .f = f };
  if (!f || (wrt && n < 0)) return false;
  const size_t room = (size_t)(wrt ? n : function_visible(f));
  w->bytes = room*sizeof *w->input + 1;
  w->input = memory_get(&f->body->allocator, w->bytes);
  for (int i = 0; w->input && i < (int)room; i++) {
    const int input = wrt ? wrt[i] : i;
    if (input < 0 || input >= function_visible(f)) break;
    if (is_float(f, input)) w->input[w->n++] = input;
    else if (wrt) break;
    if (i + 1 == (int)room) return true;
  }
  if (w->input && room == 0) return true;
  wrt_close(w);
  return false;
}

void wrt_close(wrt_list *w) {
  if (w->f) memory_release(&w->f->body->allocator, w->input, w->bytes);
  w->input = NULL;
}

/* --- lists on a tape ------------------------------------------------------------------------------ */

ad_var *vars_get(ad_tape *t, size_t n) {
  ad_var *v = memory_get(&t->allocator, n*sizeof *v + 1);
  if (!v) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  return v;
}

void vars_release(ad_tape *t, ad_var *v, size_t n) { memory_release(&t->allocator, v, n*sizeof *v + 1); }

/* The float ones among y[0..n), with their seeds, to the front of the second lists. */
static int keep_floats(int n, const ad_var y[], const ad_var seed[], ad_var kept[], ad_var kept_seed[],
                       int place[]) {
  int count = 0;
  for (int j = 0; j < n; j++) {
    if (!ad_is_valid(y[j]) || ad_type_of(y[j]).dtype < AD_F32) continue;
    kept[count] = y[j];
    if (seed) kept_seed[count] = seed[j];
    place[count++] = j;
  }
  return count;
}

/* --- jvp and vjp ---------------------------------------------------------------------------------- */

typedef struct product {            /* lists for a jvp or vjp over all floats of both sides */
  ad_tape *t;
  ad_var *x, *xs, *y, *ys;
  int *xp, *yp;
  size_t n, bytes;
} product;

static bool open_product(product *p, ad_tape *t, const ad_function *f) {
  p->t = t;
  p->n = (size_t)function_visible(f) + (size_t)f->n_out;
  p->bytes = p->n*(2*sizeof *p->x + sizeof *p->xp) + 1;
  p->x = memory_get(&t->allocator, p->bytes);
  if (!p->x) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  p->xs = p->x + function_visible(f);
  p->y = p->xs + function_visible(f);
  p->ys = p->y + f->n_out;
  p->xp = (int *)(p->ys + f->n_out);
  p->yp = p->xp + function_visible(f);
  return true;
}

static void close_product(product *p) { memory_release(&p->t->allocator, p->x, p->bytes); }

static void zeros_like(ad_tape *t, int n, const ad_var like[], ad_var out[]) {
  for (int i = 0; i < n; i++) out[i] = ad_zeros(t, ad_type_of(like[i]));
}

static void jvp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *f = context;
  product p;
  t->inlines = true;
  if (function_apply_on(t, f, in, out) != AD_OK || !open_product(&p, t, f)) return;
  int n = keep_floats(function_visible(f), in, in + function_visible(f), p.x, p.xs, p.xp);
  int m = keep_floats(f->n_out, out, NULL, p.y, NULL, p.yp);
  zeros_like(t, f->n_out, out, out + f->n_out);
  if (m == 0 || n == 0 || ad_jvp(n, p.x, p.xs, m, p.y, p.ys) == AD_OK)
    for (int j = 0; j < m && n > 0; j++) out[f->n_out + p.yp[j]] = p.ys[j];
  close_product(&p);
}

static void vjp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *f = context;
  product p;
  t->inlines = true;
  if (function_apply_on(t, f, in, out) != AD_OK || !open_product(&p, t, f)) return;
  int n = keep_floats(function_visible(f), in, NULL, p.x, NULL, p.xp);
  int m = keep_floats(f->n_out, out, in + function_visible(f), p.y, p.ys, p.yp);
  zeros_like(t, function_visible(f), in, out + f->n_out);
  if (m == 0 || n == 0 || ad_vjp(m, p.y, p.ys, n, p.x, p.xs) == AD_OK)
    for (int i = 0; i < n && m > 0; i++) out[f->n_out + p.xp[i]] = p.xs[i];
  close_product(&p);
}

/* A trace whose inputs are those of f followed by one for each of the extra types. */
static ad_function *derive_with(ad_function *f, const char *suffix, ad_body *body, void *context, int extra,
                                ad_type (*type)(const void *, int), const void *from, int n_out) {
  const ad_allocator *a = &f->body->allocator;
  const int n = function_visible(f) + extra;
  ad_type *in = memory_get(a, (size_t)n*sizeof *in + 1);
  if (!in) return NULL;
  for (int i = 0; i < n; i++)
    in[i] = i < function_visible(f) ? ad_function_input_type(f, i) : type(from, i - function_visible(f));
  ad_function *d = function_derive(f, suffix, body, context, n, in, n_out);
  memory_release(a, in, (size_t)n*sizeof *in + 1);
  return d;
}

static ad_type type_of_input(const void *f, int i) { return ad_function_input_type(f, i); }
static ad_type type_of_output(const void *f, int i) { return ad_function_output_type(f, i); }

ad_function *ad_function_jvp(ad_function *f) {
  return f ? derive_with(f, "_jvp", jvp_body, f, function_visible(f), type_of_input, f, 2*f->n_out) : NULL;
}

ad_function *ad_function_vjp(ad_function *f) {
  return f ? derive_with(f, "_vjp", vjp_body, f, f->n_out, type_of_output, f,
                         f->n_out + function_visible(f)) : NULL;
}

/* --- gradient ------------------------------------------------------------------------------------- */

static bool is_scalar_function(const ad_function *f) {
  return f && f->n_out == 1 && ad_function_output_type(f, 0).rank == 0
         && ad_function_output_type(f, 0).dtype >= AD_F32;
}

void gradient_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const wrt_list *w = context;
  t->inlines = true;
  if (function_apply_on(t, w->f, in, out) != AD_OK) return;
  ad_var *x = vars_get(t, (size_t)w->n);
  if (!x) return;
  for (int i = 0; i < w->n; i++) x[i] = in[w->input[i]];
  if (w->n) ad_grad(out[0], w->n, x, out + 1);
  vars_release(t, x, (size_t)w->n);
}

static ad_type no_extra(const void *from, int i) {
  (void)from, (void)i;
  return ad_type_make(AD_F64, 0, NULL);
}

ad_function *ad_function_gradient(ad_function *f, int n_wrt, const int wrt[]) {
  wrt_list w;
  if (!is_scalar_function(f) || !wrt_open(&w, f, n_wrt, wrt)) return NULL;
  ad_function *d = derive_with(f, "_gradient", gradient_body, &w, 0, no_extra, NULL, 1 + w.n);
  wrt_close(&w);
  return d;
}

/* --- Hessian-vector product: forward over reverse ------------------------------------------------- */

static void hvp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const wrt_list *w = context;
  gradient_body(t, in, out, context);
  ad_var *x = t->status == AD_OK ? vars_get(t, (size_t)w->n) : NULL;
  if (!x) return;
  for (int i = 0; i < w->n; i++) x[i] = in[w->input[i]];
  if (w->n) ad_jvp(w->n, x, in + function_visible(w->f), w->n, out + 1, out + 1 + w->n);
  vars_release(t, x, (size_t)w->n);
}

static ad_type type_of_wrt(const void *from, int i) {
  const wrt_list *w = from;
  return ad_function_input_type(w->f, w->input[i]);
}

ad_function *ad_function_hvp(ad_function *f, int n_wrt, const int wrt[]) {
  wrt_list w;
  if (!is_scalar_function(f) || !wrt_open(&w, f, n_wrt, wrt)) return NULL;
  ad_function *d = derive_with(f, "_hvp", hvp_body, &w, w.n, type_of_wrt, &w, 1 + 2*w.n);
  wrt_close(&w);
  return d;
}
