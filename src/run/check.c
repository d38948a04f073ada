/* check.c -- ad_check: the derivatives of a function against differences of its values, and its two modes
 * against each other.
 *
 *   J v      against  sum_k c_k (f(x + k h v) - f(x - k h v))/h,  k = 1..4
 *   <u, J v> against  <J^T u, v>
 *
 * The differences are of 8th order (Fornberg 1988, table 1).
 */
#include "function/function.h"

#include <math.h>
#include <string.h>

/* One array for each input or each output: pointers, and behind them what they point to. */
typedef struct array_set {
  ad_allocator allocator;
  size_t bytes;
  int n;
  void *at[];
} array_set;

typedef ad_type type_at(const ad_function *f, int i);

static size_t rounded(size_t bytes) { return (bytes + 15) & ~(size_t)15; }

static double get(const void *data, ad_dtype dtype, int64_t i) {
  return dtype == AD_F64 ? ((const double *)data)[i] : ((const float *)data)[i];
}

static void set(void *data, ad_dtype dtype, int64_t i, double value) {
  if (dtype == AD_F64) ((double *)data)[i] = value;
  else ((float *)data)[i] = (float)value;
}

/* A fixed sequence in [-1, 1] (splitmix64). */
static double next_random(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30)*0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27)*0x94D049BB133111EBu;
  return (double)(int64_t)(z ^ z >> 31)/9223372036854775808.0;
}

static void fill_random(void *data, ad_type type, uint64_t *state) {
  if (type.dtype < AD_F32) memset(data, 0, ad_type_bytes(type));
  else for (int64_t i = 0; i < ad_type_count(type); i++) set(data, type.dtype, i, next_random(state));
}

/* --- sets of arrays ------------------------------------------------------------------------------- */

static array_set *set_new(const ad_function *f, int n, type_at *type) {
  const size_t head = rounded(sizeof(array_set) + (size_t)n*sizeof(void *));
  size_t bytes = head;
  for (int i = 0; i < n; i++) bytes += rounded(ad_type_bytes(type(f, i)));
  array_set *s = memory_get_zeroed(&f->body->allocator, bytes, 1);
  if (!s) return NULL;
  s->allocator = f->body->allocator;
  s->bytes = bytes;
  s->n = n;
  char *next = (char *)s + head;
  for (int i = 0; i < n; i++) {
    s->at[i] = next;
    next += rounded(ad_type_bytes(type(f, i)));
  }
  return s;
}

static void set_free(array_set *s) {
  if (!s) return;
  const ad_allocator a = s->allocator;
  memory_release(&a, s, s->bytes);
}

/* sum_i <a[i], b[i]> over float arrays, and the same of absolute values. */
static double inner(const ad_function *f, const array_set *a, const array_set *b, type_at *type,
                    double *size) {
  double sum = 0;
  for (int i = 0; i < a->n; i++) {
    const ad_type t = type(f, i);
    for (int64_t k = 0; t.dtype >= AD_F32 && k < ad_type_count(t); k++) {
      const double term = get(a->at[i], t.dtype, k)*get(b->at[i], t.dtype, k);
      sum += term;
      *size += fabs(term);
    }
  }
  return sum;
}

/* --- the check ------------------------------------------------------------------------------------ */

typedef struct check {
  ad_function *f, *jvp, *vjp;
  const void *const *in;
  array_set *x, *v, *jtu;           /* like the inputs: shifted point, direction, J^T u */
  array_set *y, *u, *jv, *sum;      /* like the outputs: values, direction, J v, differences */
  ad_check_result *result;
} check;

/* f at x + step*v, times weight, added to the differences. */
static ad_status add_value(check *c, double step, double weight) {
  for (int i = 0; i < c->f->n_in; i++) {
    const ad_type t = ad_function_input_type(c->f, i);
    if (c->in[i]) memcpy(c->x->at[i], c->in[i], ad_type_bytes(t));
    else memset(c->x->at[i], 0, ad_type_bytes(t));
    for (int64_t k = 0; t.dtype >= AD_F32 && k < ad_type_count(t); k++)
      set(c->x->at[i], t.dtype, k, get(c->x->at[i], t.dtype, k) + step*get(c->v->at[i], t.dtype, k));
  }
  ad_status status = ad_function_call(c->f, (const void *const *)c->x->at, c->y->at, NULL);
  for (int j = 0; j < c->f->n_out && status == AD_OK; j++) {
    const ad_type t = ad_function_output_type(c->f, j);
    double *sum = c->sum->at[j];
    for (int64_t k = 0; t.dtype >= AD_F32 && k < ad_type_count(t); k++)
      sum[k] += weight * get(c->y->at[j], t.dtype, k);
  }
  return status;
}

static ad_type out_as_f64(const ad_function *f, int j) {
  ad_type t = ad_function_output_type(f, j);
  t.dtype = AD_F64;
  return t;
}

static bool any_f32(const ad_function *f) {
  for (int i = 0; i < f->n_in; i++)
    if (ad_function_input_type(f, i).dtype == AD_F32) return true;
  return false;
}

static ad_status take_differences(check *c) {
  static const double weight[4] = { 4.0/5, -1.0/5, 4.0/105, -1.0/280 };
  /* Where the error of the formula, h^8, meets that of the values, eps/h. */
  const double h = any_f32(c->f) ? 0.125 : 0.015625;
  ad_status status = AD_OK;
  for (int k = 0; k < 4 && status == AD_OK; k++) {
    status = add_value(c, (k + 1)*h, weight[k]/h);
    if (status == AD_OK) status = add_value(c, -(k + 1)*h, -weight[k]/h);
  }
  return status;
}

/* Runs a derivative whose inputs are in[] and then more, and whose outputs follow f's own. */
static ad_status run_product(const check *c, ad_function *d, const array_set *more, array_set *out) {
  const size_t inputs = (size_t)d->n_in, outputs = (size_t)d->n_out,
               bytes = (inputs + outputs) * sizeof(void *) + 1;
  void **list = memory_get_zeroed(&c->f->body->allocator, bytes, 1);
  if (!list) return AD_ERROR_MEMORY;
  for (int i = 0; i < d->n_in; i++)
    list[i] = i < c->f->n_in ? (void *)(uintptr_t)c->in[i] : more->at[i - c->f->n_in];
  for (int j = c->f->n_out; j < d->n_out; j++) list[d->n_in + j] = out->at[j - c->f->n_out];
  ad_status status = ad_function_call(d, (const void *const *)list, list + d->n_in, NULL);
  memory_release(&c->f->body->allocator, list, bytes);
  return status;
}

static void compare(check *c) {
  ad_check_result *r = c->result;
  for (int j = 0; j < c->f->n_out; j++) {
    const ad_type t = ad_function_output_type(c->f, j);
    const double *difference = c->sum->at[j];
    for (int64_t k = 0; t.dtype >= AD_F32 && k < ad_type_count(t); k++) {
      const double derivative = get(c->jv->at[j], t.dtype, k);
      const double error = fabs(derivative - difference[k])/(1 + fabs(difference[k]));
      if (error <= r->error) continue;
      *r = (ad_check_result){
        isnan(error) ? INFINITY : error, r->transpose_error, j, k, derivative, difference[k]
      };
    }
  }
  double size = 0;
  const double forward = inner(c->f, c->u, c->jv, ad_function_output_type, &size);
  const double reverse = inner(c->f, c->v, c->jtu, ad_function_input_type, &size);
  const double error = size > 0 ? fabs(forward - reverse)/size : 0;
  if (!(error <= r->transpose_error)) r->transpose_error = isnan(error) ? INFINITY : error;
}

static ad_status check_direction(check *c, uint64_t *state) {
  for (int i = 0; i < c->f->n_in; i++) fill_random(c->v->at[i], ad_function_input_type(c->f, i), state);
  for (int j = 0; j < c->f->n_out; j++) {
    fill_random(c->u->at[j], ad_function_output_type(c->f, j), state);
    memset(c->sum->at[j], 0, ad_type_bytes(out_as_f64(c->f, j)));
  }
  ad_status status = take_differences(c);
  if (status == AD_OK) status = run_product(c, c->jvp, c->v, c->jv);
  if (status == AD_OK) status = run_product(c, c->vjp, c->u, c->jtu);
  if (status == AD_OK) compare(c);
  return status;
}

static bool open_check(check *c) {
  ad_function *f = c->f;
  c->jvp = ad_function_jvp(f);
  c->vjp = ad_function_vjp(f);
  c->x = set_new(f, f->n_in, ad_function_input_type);
  c->v = set_new(f, f->n_in, ad_function_input_type);
  c->jtu = set_new(f, f->n_in, ad_function_input_type);
  c->y = set_new(f, f->n_out, ad_function_output_type);
  c->u = set_new(f, f->n_out, ad_function_output_type);
  c->jv = set_new(f, f->n_out, ad_function_output_type);
  c->sum = set_new(f, f->n_out, out_as_f64);
  return c->x && c->v && c->jtu && c->y && c->u && c->jv && c->sum;
}

static void close_check(check *c) {
  array_set *const sets[] = { c->x, c->v, c->jtu, c->y, c->u, c->jv, c->sum };
  for (size_t i = 0; i < sizeof sets/sizeof *sets; i++) set_free(sets[i]);
  ad_function_free(c->jvp);
  ad_function_free(c->vjp);
}

ad_status ad_check(ad_function *f, const void *const in[], ad_check_result *result) {
  enum { DIRECTIONS = 3 };
  if (!f || !result || (f->n_in && !in)) return AD_ERROR_ARGUMENT;
  check c = { .f = f, .in = in, .result = result };
  uint64_t state = 20261121;
  *result = (ad_check_result){ .output = -1, .element = -1 };
  ad_status status = open_check(&c) ? AD_OK : AD_ERROR_MEMORY;
  if (status == AD_OK && (!c.jvp || !c.vjp)) status = AD_ERROR_DERIVATIVE;
  for (int k = 0; k < DIRECTIONS && status == AD_OK; k++) status = check_direction(&c, &state);
  close_check(&c);
  return status;
}
