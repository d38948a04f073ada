/* test_batch.c -- functions on many instances at once against a loop of calls: every structured primitive
 * with every choice of batched operands, its derivatives, all data types, batches of batches, and what cannot
 * be batched; instances along a leading axis, and along a trailing one.
 *
 * Where the same kernel runs, the bits must be the same. Elementwise functions of scalars run through other
 * kernels than those of arrays, and a matrix product of many rows adds in another order than one of few:
 * those are compared to rounding. */
#include "check.h"
#include "failing.h"
#define main structured_main
#include "primitives/test_structured.c"
#undef main

#include "adit/control.h"
#include "function/batch.h"
#include "function/wrt.h"

enum { MAX_PORTS = 40, MAX_NAME = 200 };

/* --- comparing with a loop ------------------------------------------------------------------------------ */

/* Writes one instance of input i. */
typedef void fill_function(void *context, int i, ad_type type, options *o, void *data);
typedef struct source { fill_function *fill; void *context; } source;

/* tolerance: 0 for the same bits, else relative to the largest element of an output, or to 1. */
typedef struct comparison {
  const char *name;
  double tolerance;
  int64_t n;
  const bool *mapped;
  bool last;                        /* instances along the last axis */
} comparison;
static bool loops_expected;         /* may operations run one instance at a time? */

static double difference(ad_type type, const void *got, const void *want) {
  double scale = 1, worst_one = 0;
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    const double w = check_element(type.dtype, want, i);
    if (isfinite(w)) scale = fmax(scale, fabs(w));
  }
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    const double g = check_element(type.dtype, got, i), w = check_element(type.dtype, want, i);
    if (g == w || (isnan(g) && isnan(w))) continue;
    const double e = fabs(g - w)/scale;
    worst_one = e <= worst_one ? worst_one : e;
  }
  return worst_one;
}

static bool same_output(const comparison *c, int j, int64_t i, ad_type type, const void *got,
                        const void *want) {
  char text[192];
  const size_t bytes = ad_type_bytes(type);
  const double far = difference(type, got, want);
  const double allowed[AD_DTYPES] = { [AD_F32] = c->tolerance*0x1p29, [AD_F64] = c->tolerance };
  const bool good = c->tolerance > 0 ? far <= allowed[type.dtype] : bytes == 0 || !memcmp(got, want, bytes);
  return CHECK_THAT(good, "%s: output %d, %s, of instance %lld of %lld is off by %.3g", c->name, j,
                    ad_type_print(type, text, sizeof text), (long long)i, (long long)c->n, far);
}

static void *room_for(ad_type type, int64_t n) { return calloc(ad_type_bytes(type)*(size_t)n + 16, 1); }

/* n instances of a type, one after the other, as an array whose last axis is that of the instances; and
 * back. */
static void interleave(ad_type type, int64_t n, void *data, bool back) {
  const size_t bytes = ad_dtype_bytes(type.dtype), count = (size_t)ad_type_count(type);
  char *from = data, *to = malloc(bytes*count*(size_t)n + 1);
  for (size_t e = 0; e < count; e++)
    for (size_t i = 0; i < (size_t)n; i++) {
      const size_t instance = (i*count + e)*bytes, column = (e*(size_t)n + i)*bytes;
      memcpy(to + (back ? instance : column), from + (back ? column : instance), bytes);
    }
  if (count > 0 && n > 0) memcpy(from, to, bytes*count*(size_t)n);
  free(to);
}

/* The batched function's types are those of f with a further axis. */
static bool right_types(const comparison *c, ad_function *f, ad_function *batched) {
  bool good = ad_function_inputs(batched) == f->n_in && ad_function_outputs(batched) == f->n_out;
  for (int k = 0; good && k < f->n_in + f->n_out; k++) {
    const int j = k - f->n_in;
    const ad_type one = j < 0 ? ad_function_input_type(f, k) : ad_function_output_type(f, j);
    const ad_type all = j < 0 ? ad_function_input_type(batched, k) : ad_function_output_type(batched, j);
    ad_type want = one;
    if (j >= 0 || c->mapped[k]) {
      if (!c->last) memmove(want.dim + 1, want.dim, 7*sizeof *want.dim);
      want.dim[c->last ? want.rank : 0] = c->n;
      want.rank++;
    }
    good = ad_type_equal(all, want);
  }
  return CHECK_THAT(good, "%s: types of the batched function", c->name);
}

static void compare_calls(const comparison *c, ad_function *f, ad_function *batched, const source *s,
                          options *o) {
  void *in[MAX_PORTS], *out[MAX_PORTS], *one[MAX_PORTS];
  const void *each[MAX_PORTS];
  for (int k = 0; k < f->n_in; k++) {
    const ad_type t = ad_function_input_type(f, k);
    in[k] = room_for(t, c->n + 1);
    for (int64_t i = 0; i < (c->mapped[k] ? c->n : 1); i++)
      s->fill(s->context, k, t, o, (char *)in[k] + ad_type_bytes(t)*(size_t)i);
    if (c->last && c->mapped[k]) interleave(t, c->n, in[k], false);
  }
  for (int j = 0; j < f->n_out; j++) {
    out[j] = room_for(ad_function_output_type(f, j), c->n);
    one[j] = room_for(ad_function_output_type(f, j), 1);
  }
  bool good = CHECK_STATUS(ad_function_call(batched, (const void *const *)in, out, NULL), AD_OK);
  for (int k = 0; k < f->n_in && c->last; k++)
    if (c->mapped[k]) interleave(ad_function_input_type(f, k), c->n, in[k], true);
  for (int j = 0; j < f->n_out && c->last; j++)
    interleave(ad_function_output_type(f, j), c->n, out[j], true);
  for (int64_t i = 0; i < c->n && good; i++) {
    for (int k = 0; k < f->n_in; k++)
      each[k] = (char *)in[k] + (c->mapped[k] ? ad_type_bytes(ad_function_input_type(f, k))*(size_t)i : 0);
    good = CHECK_STATUS(ad_function_call(f, each, one, NULL), AD_OK);
    for (int j = 0; j < f->n_out && good; j++) {
      const ad_type t = ad_function_output_type(f, j);
      good = same_output(c, j, i, t, (char *)out[j] + ad_type_bytes(t)*(size_t)i, one[j]);
    }
  }
  for (int k = 0; k < f->n_in; k++) free(in[k]);
  for (int j = 0; j < f->n_out; j++) free(out[j]), free(one[j]);
}

/* Operations that a batch runs one instance at a time. */
static int loops_of(const ad_function *f) {
  int loops = 0;
  for (uint32_t i = 0; i < f->body->count; i++)
    loops += !node_is_leaf(f->body, i) && !strcmp(node_primitive(f->body, i)->name, "each");
  return loops;
}

static ad_function *check_along(const comparison *c, ad_function *f, const source *s, options *o) {
  ad_status status = AD_ERROR_ARGUMENT;
  ad_function *batched = (c->last ? function_trailed : function_batched)(f, c->n, c->mapped, &status);
  CHECK_THAT(batched && status == AD_OK, "%s: not batched, %s", c->name, ad_status_sentence(status));
  if (batched && right_types(c, f, batched)) compare_calls(c, f, batched, s, o);
  if (batched && !loops_expected) CHECK_THAT(!loops_of(batched), "%s: instances one by one", c->name);
  return batched;
}

/* The batched function, compared with f; to be freed by the caller. The one with a trailing axis, too, which
 * adds what it multiplies in the order of other products. */
static ad_function *check_batched(const char *name, ad_function *f, int64_t n, const bool mapped[],
                                  const source *s, double tolerance_of, options *o) {
  char text[MAX_NAME + 20];
  snprintf(text, sizeof text, "%s, trailing", name);
  options own = *o;
  const double room = tolerance_of > 0 ? fmax(tolerance_of, 1e-14) : 0;
  ad_function_free(check_along(&(comparison){ text, room, n, mapped, true }, f, s, &own));
  return check_along(&(comparison){ name, tolerance_of, n, mapped, false }, f, s, o);
}

/* Every choice of batched inputs (some choices, where there are many) with 0, 1 and 3 instances, and a batch
 * of batches. */
static void check_function(const char *name, ad_function *f, const source *s, double tolerance_of,
                           uint64_t seed) {
  static const int64_t sizes_of_batches[3] = { 3, 1, 0 };
  options o = { seed };
  bool mapped[MAX_PORTS], outer[MAX_PORTS];
  char text[MAX_NAME];
  if (!CHECK_THAT(f != NULL, "%s: no function", name)) return;
  const int all = f->n_in <= 4 ? (1 << f->n_in) - 1 : 12;
  for (int choice = 1; choice <= all; choice++) {
    unsigned bits = f->n_in <= 4 ? (unsigned)choice : (unsigned)next_bits(&o);
    if (choice == all) bits = ~0u;
    for (int k = 0; k < f->n_in; k++) {
      mapped[k] = bits >> k & 1;
      outer[k] = below(&o, 2) != 0;
    }
    for (int i = 0; i < (choice == 1 || choice == all ? 3 : 1); i++) {
      snprintf(text, sizeof text, "%s, inputs %x", name, bits & ((1u << f->n_in) - 1));
      ad_function *one = check_batched(text, f, sizes_of_batches[i], mapped, s, tolerance_of, &o);
      snprintf(text, sizeof text, "%s, inputs %x, twice", name, bits & ((1u << f->n_in) - 1));
      if (one && i == 0) ad_function_free(check_batched(text, one, 2, outer, s, tolerance_of, &o));
      ad_function_free(one);
    }
  }
}

/* --- every structured primitive, and its derivatives ---------------------------------------------------- */

typedef struct recording { const structured_case *c; uint64_t seed; int n; } recording;

static void fill_case(void *context_of, int i, ad_type type, options *o, void *data) {
  const recording *r = context_of;
  static double x[1 << 16];
  const int64_t count = ad_type_count(type);
  if (r->c->flags & DISTINCT && i < r->n) fill_distinct(o, count, x);
  else for (int64_t k = 0; k < count; k++) x[k] = any_element(o, r->c->flags);
  to_dtype(type.dtype, count, x, data);
}

static void plain_body(ad_tape *t, const ad_var in[], ad_var out[], void *context_of) {
  const recording *r = context_of;
  options o = { r->seed };
  (void)t;
  out[0] = r->c->record(in, &o);
}

/* y = f(x), J v, J^T u and the derivative of J^T u along v, with u = y + 0.3. Inputs x.., v.. */
static void derivative_body(ad_tape *t, const ad_var in[], ad_var out[], void *context_of) {
  const recording *r = context_of;
  options o = { r->seed };
  ad_var x[MAX_INPUTS];
  (void)t;
  for (int i = 0; i < r->n; i++) x[i] = pre(in[i]);
  out[0] = post(r->c->record(x, &o));
  const ad_var u = ad_add(out[0], ad_real(.3));
  ad_jvp(r->n, in, in + r->n, 1, out, out + 1);
  ad_vjp(1, out, &u, r->n, in, out + 2);
  ad_jvp(r->n, in, in + r->n, r->n, out + 2, out + 2 + r->n);
}

/* Operations whose kernels add in another order where there are more rows, or columns, at once. */
static bool is_product(const char *name) {
  return !strncmp(name, "matmul", 6) || !strncmp(name, "dot", 3) || !strncmp(name, "einsum", 6)
      || !strncmp(name, "solve", 5);
}

static void test_case(const structured_case *c, int trial) {
  static point p;
  ad_type type[2*MAX_INPUTS];
  char name[MAX_NAME], shape[192];
  make_point(c, trial, &p);
  for (int d = 0; d < 2; d++) {
    recording r = { c, p.seed, p.n };
    source s = { fill_case, &r };
    for (int i = 0; i < 2*p.n; i++) {
      type[i] = p.type[i%p.n];
      type[i].dtype = d ? AD_F32 : AD_F64;
    }
    snprintf(name, sizeof name, "%s %s", c->name, ad_type_print(type[0], shape, sizeof shape));
    ad_function *f = ad_function_trace("plain", plain_body, &r, p.n, type, 1);
    check_function(name, f, &s, is_product(c->name) ? 1e-15 : 0, p.seed + 7);
    ad_function_free(f);
    snprintf(name, sizeof name, "derivatives of %s %s", c->name, ad_type_print(type[0], shape, sizeof shape));
    f = ad_function_trace("derivatives", derivative_body, &r, 2*p.n, type, 2 + 2*p.n);
    check_function(name, f, &s, 1e-13, p.seed + 8);
    ad_function_free(f);
  }
}

static void test_structured_table(void) {
  for (int i = 0; i < CASES; i++)
    for (int trial = 0; trial < 3; trial++) test_case(&cases[i], trial);
}

/* --- other operations, other types ---------------------------------------------------------------------- */

/* Integers are within -2 and 1: indices into every axis of size 2 and more. */
static void fill_any(void *context_of, int i, ad_type type, options *o, void *data) {
  (void)context_of, (void)i;
  for (int64_t k = 0; k < ad_type_count(type); k++)
    check_set_element(type.dtype, data, k,
                      type.dtype >= AD_F32 ? (double)(float)uniform(o, -2, 2) : below(o, 4) - 2);
}

#define BODY(name) static void name##_body(ad_tape *t, const ad_var in[], ad_var out[], void *context_of)
#define UNUSED (void)t, (void)context_of

BODY(broadcast) {                   /* f64(2,3), f64(), f64(3), f32(2,1), i64(3), bool(2,3) */
  UNUSED;
  out[0] = ad_add(ad_mul(in[0], in[1]), in[2]);
  out[1] = ad_select(in[5], in[1], in[2]);
  out[2] = ad_mul(in[3], in[4]);
  out[3] = ad_max(ad_sub(in[3], 1), in[1]);
  out[4] = ad_logical_and(ad_less(in[1], in[2]), in[5]);
  out[5] = ad_select(ad_less(in[1], 0), in[4], in[5]);
}
BODY(functions) {                   /* f64(), f32(), f64(3) */
  UNUSED;
  out[0] = ad_sin(ad_mul(in[0], in[1]));
  out[1] = ad_exp(in[1]);
  out[2] = ad_atan2(in[2], in[0]);
  out[3] = ad_powi(ad_tanh(in[0]), 3);
}
BODY(casts) {                       /* f64(3), i64(), bool(2) */
  UNUSED;
  static const ad_dtype to[5] = { AD_BOOL, AD_I32, AD_I64, AD_F32, AD_F64 };
  for (int d = 0; d < 5; d++)
    for (int k = 0; k < 3; k++) out[3*d + k] = ad_cast(ad_stop_gradient(in[k]), to[d]);
}
BODY(order) {                       /* f64(3,4), i32(3,4), bool(3,4) */
  UNUSED;
  for (int k = 0; k < 3; k++) {
    ad_var *z = out + 8*k;
    z[0] = ad_argmin(in[k], 0, k == 1), z[1] = ad_argmax(in[k], -1, false);
    z[2] = ad_argsort(in[k], 0, k == 2), z[3] = ad_sort(in[k], 1, k == 0);
    z[4] = ad_reduce_min(in[k], AD_AXES(1), true), z[5] = ad_reduce_max(in[k], AD_ALL_AXES, false);
    ad_topk(in[k], 2, 1, &z[6], &z[7]);
  }
}
BODY(logic) {                       /* bool(2,3), f32(2,3) */
  UNUSED;
  out[0] = ad_any(in[0], AD_AXES(0), false), out[1] = ad_all(in[0], AD_ALL_AXES, true);
  out[2] = ad_any(in[1], AD_AXES(1), true), out[3] = ad_all(ad_greater(in[1], -1), AD_AXES(0), false);
}
BODY(integer_sums) {                /* bool(2,3), i32(2,3), i64(2,3) */
  UNUSED;
  for (int k = 0; k < 3; k++) {
    ad_var *z = out + 5*k;
    z[0] = ad_sum(in[k], AD_AXES(0), false), z[1] = ad_prod(in[k], AD_AXES(1), true);
    z[2] = ad_cumsum(in[k], 1), z[3] = ad_cumprod(in[k], 0);
    z[4] = ad_mean(in[k], AD_ALL_AXES, false);
  }
}
BODY(hot) {                         /* i32(), i64(2,2) */
  UNUSED;
  out[0] = ad_one_hot(in[0], 2, AD_F64), out[1] = ad_one_hot(in[1], 2, AD_BOOL);
  out[2] = ad_one_hot(in[1], 0, AD_I32);
}
BODY(takes) {                       /* f64(2,3,4), i64(2,3), i32(), bool(3,2) */
  UNUSED;
  for (int axis = 0; axis < 3; axis++) {
    out[2*axis] = ad_take(in[0], in[1], axis);
    out[2*axis + 1] = ad_take(in[0], in[2], axis);
  }
  out[6] = ad_take(in[3], in[1], 1);
}
BODY(scatters) {                    /* f32(3,2,4), i64(2), i32(), f32(2), i64(3,2), bool(3,2) */
  UNUSED;
  for (int axis = 0; axis < 3; axis++)
    out[axis] = ad_scatter_add(in[0], in[1], ad_take(ad_sin(in[0]), in[1], axis), axis);
  out[3] = ad_scatter_add(in[0], in[2], ad_real(1.5), 1);
  out[4] = ad_scatter_add(in[3], in[1], in[3], 0);
  out[5] = ad_scatter_add(in[4], in[1], ad_integer(3), 1);
  out[6] = ad_scatter_add(in[5], in[2], ad_integer(1), 0);
}
BODY(gathers) {                     /* f64(3,2), i64(3,2), i32(1,4), i64(3,1) */
  UNUSED;
  out[0] = ad_gather(in[0], in[1], 0), out[1] = ad_gather(in[0], in[1], 1);
  out[2] = ad_gather(in[0], in[2], 1), out[3] = ad_gather(in[0], in[3], 1);
  out[4] = ad_gather_add(in[0], in[1], in[0], 0);
  out[5] = ad_gather_add(in[0], in[2], ad_real(2.5), 1);
  out[6] = ad_gather_add(ad_slice(in[0], 0, 0, 1, 1), in[3], ad_gather(in[0], in[3], 1), 1);
}
BODY(pads) {                        /* i64(2,3), i64(), bool(2), bool(), f32(), f32() */
  UNUSED;
  const int64_t before[2] = { 1, 0 }, after[2] = { 0, 2 };
  out[0] = ad_pad(in[0], before, after, in[1]), out[1] = ad_pad(in[2], before, after, in[3]);
  out[2] = ad_pad(in[4], NULL, NULL, in[5]), out[3] = ad_pad(in[0], before, after, ad_integer(7));
}
BODY(parts) {                       /* i64(3,4,2), i64(4,2), bool(4) */
  UNUSED;
  out[0] = ad_at(in[0], 1, (int64_t[]){ -1 }), out[1] = ad_at(in[0], 3, (int64_t[]){ 1, 2, 0 });
  out[2] = ad_at_add(in[0], in[1], 1, (int64_t[]){ 2 });
  out[3] = ad_at_add(in[0], ad_integer(5), 3, (int64_t[]){ 0, 3, 1 });
  out[4] = ad_at_add(in[2], ad_at(in[2], 1, (int64_t[]){ 1 }), 1, (int64_t[]){ 2 });
  out[5] = ad_slice_add(in[0], ad_reshape(in[1], 3, (int64_t[]){ 1, 4, 2 }), 0, 1, 1);
  out[6] = ad_slice(in[1], 0, 3, 2, -2), out[7] = ad_slice(in[2], 0, 4, 0, 1);
  out[8] = ad_flip(in[0], AD_AXES(0, 2)), out[9] = ad_transpose(in[0], (int[]){ 1, 2, 0 });
  out[10] = ad_tile(in[2], 2, (int64_t[]){ 2, 3 }), out[11] = ad_repeat(in[0], 1, 2);
}
BODY(integer_products) {            /* i64(2,3), i64(3,2), i32(3), i32(3), i64(4,3,2) */
  UNUSED;
  out[0] = ad_matmul(in[0], in[1]), out[1] = ad_matmul(in[0], in[2]), out[2] = ad_matmul(in[3], in[1]);
  out[3] = ad_dot(in[2], in[3]), out[4] = ad_outer(in[2], in[3]), out[5] = ad_matmul(in[0], in[4]);
  out[6] = ad_einsum("bij,jk->bk", 2, (ad_var[]){ in[4], ad_transpose(in[1], NULL) });
  ad_var row = ad_at(in[1], 1, (int64_t[]){ 0 });
  out[7] = ad_einsum("ij,jk,k,l->il", 4, (ad_var[]){ in[0], in[1], row, in[2] });
}
BODY(joins) {                       /* bool(2,3), i32(2,3), f32() */
  UNUSED;
  ad_var many[20];
  for (int k = 0; k < 20; k++) many[k] = k%3 ? ad_mul(in[2], k) : in[2];
  out[0] = ad_concat(3, (ad_var[]){ in[0], in[1], in[0] }, 1), out[1] = ad_stack(2, in, 2);
  out[2] = ad_stack(20, many, 0), out[3] = ad_stack(2, (ad_var[]){ in[0], in[0] }, 0);
}
BODY(matrices) {                    /* i32(3,4), bool(3) */
  UNUSED;
  out[0] = ad_diag(in[0], 1), out[1] = ad_diag(in[1], -1), out[2] = ad_tril(in[0], 0);
  out[3] = ad_triu(in[0], 1), out[4] = ad_trace(in[0]);
}
BODY(constants) {                   /* f64(2,3), f64(4) unused, i32(2) */
  (void)context_of;
  const double table[6] = { 1, 2, 3, 4, 5, 6 };
  out[0] = ad_mul(in[0], ad_constant(t, AD_F64(2, 3), table));
  out[1] = ad_matmul(ad_eye(t, 3, 2, 1, AD_F64), in[0]);
  out[2] = ad_sin(ad_arange(t, 0, 4, 1, AD_F32)), out[3] = in[2], out[4] = in[2];
  out[5] = ad_integer(3);
  out[6] = ad_concat(2, (ad_var[]){ ad_zeros(t, AD_F64(1, 3)), in[0] }, 0);
}

/* --- primitives of a user's own ------------------------------------------------------------------------- */

static void cube_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i]*x[i]*x[i] - y[i];
}
static const ad_primitive cube_primitive = {
  .name = "cube", .arity = 2, .block = cube_block, .rule = { "3*square(x)*g", "-g" } };

/* z[i] = a x[i] + sum of the other operands' elements, through scratch. */
static ad_status blend_type(ad_operation *op) {
  if (op->x[0]->rank != 1) return ad_refuse(op, AD_ERROR_SHAPE, "takes a vector");
  op->z = *op->x[0];
  return AD_OK;
}
static ad_status blend_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  double *sum = scratch, *to = z;
  *sum = 0;
  for (int k = 1; k < op->n; k++)
    for (int64_t i = 0; i < ad_type_count(*op->x[k]); i++) *sum += ((const double *)x[k])[i];
  for (int64_t i = 0; i < op->z.dim[0]; i++)
    to[i] = *(const double *)op->attribute*((const double *)x[0])[i] + *sum;
  return AD_OK;
}
static size_t blend_scratch(const ad_operation *op) {
  (void)op;
  return sizeof(double);
}
static ad_var no_batch(const ad_batch *b) {
  (void)b;
  return ad_none();
}
static ad_var wrong_batch(const ad_batch *b) { return b->x[0]; }
static ad_var number_batch(const ad_batch *b) {
  (void)b;
  return ad_real(1);
}
static const ad_primitive blend_primitive = {
  .name = "blend", .type = blend_type, .run = blend_run, .scratch_bytes = blend_scratch };
static const ad_primitive hesitant_primitive = {
  .name = "hesitant", .type = blend_type, .run = blend_run, .scratch_bytes = blend_scratch,
  .batch = no_batch };
static const ad_primitive wrong_primitive = {
  .name = "wrong", .type = blend_type, .run = blend_run, .scratch_bytes = blend_scratch,
  .batch = wrong_batch };
static const ad_primitive number_primitive = {
  .name = "number", .type = blend_type, .run = blend_run, .scratch_bytes = blend_scratch,
  .batch = number_batch };

BODY(own) {                         /* f64(3), f64(2,2), f64(0), f64() */
  (void)context_of;
  const double a = 1.5, b = -2;
  ad_var many[20];
  out[0] = ad_record(t, &blend_primitive, 2, in, &a, sizeof a);
  out[1] = ad_record(t, &hesitant_primitive, 3, (ad_var[]){ in[0], in[2], in[3] }, &b, sizeof b);
  out[2] = ad_record(t, &cube_primitive, 2, (ad_var[]){ in[1], in[3] }, NULL, 0);
  for (int k = 0; k < 20; k++) many[k] = k ? in[1 + k%3] : in[0];
  out[3] = ad_record(t, &blend_primitive, 20, many, &b, sizeof b);
  out[4] = ad_record(t, &blend_primitive, 1, &in[2], &b, sizeof b);
}

typedef struct plain_case {
  const char *name;
  ad_body *body;
  int n_in, n_out;
  double tolerance;
  ad_type in[6];
} plain_case;

static void test_plain_table(void) {
#define PLAIN_ROW(name, ins, outs, off, ...) { #name, name##_body, ins, outs, off, { __VA_ARGS__ } }
  const plain_case table[] = {
    PLAIN_ROW(broadcast, 6, 6, 0, AD_F64(2, 3), AD_F64(), AD_F64(3), AD_F32(2, 1), AD_I64(3), AD_BOOL(2, 3)),
    PLAIN_ROW(functions, 3, 4, 1e-15, AD_F64(), AD_F32(), AD_F64(3)),
    PLAIN_ROW(casts, 3, 15, 0, AD_F64(3), AD_I64(), AD_BOOL(2)),
    PLAIN_ROW(order, 3, 24, 0, AD_F64(3, 4), AD_I32(3, 4), AD_BOOL(3, 4)),
    PLAIN_ROW(logic, 2, 4, 0, AD_BOOL(2, 3), AD_F32(2, 3)),
    PLAIN_ROW(integer_sums, 3, 15, 0, AD_BOOL(2, 3), AD_I32(2, 3), AD_I64(2, 3)),
    PLAIN_ROW(hot, 2, 3, 0, AD_I32(), AD_I64(2, 2)),
    PLAIN_ROW(takes, 4, 7, 0, AD_F64(2, 3, 4), AD_I64(2, 3), AD_I32(), AD_BOOL(3, 2)),
    PLAIN_ROW(scatters, 6, 7, 0, AD_F32(3, 2, 4), AD_I64(2), AD_I32(), AD_F32(2), AD_I64(3, 2),
              AD_BOOL(3, 2)),
    PLAIN_ROW(gathers, 4, 7, 0, AD_F64(3, 2), AD_I64(3, 2), AD_I32(1, 4), AD_I64(3, 1)),
    PLAIN_ROW(pads, 6, 4, 0, AD_I64(2, 3), AD_I64(), AD_BOOL(2), AD_BOOL(), AD_F32(), AD_F32()),
    PLAIN_ROW(parts, 3, 12, 0, AD_I64(3, 4, 2), AD_I64(4, 2), AD_BOOL(4)),
    PLAIN_ROW(integer_products, 5, 8, 0, AD_I64(2, 3), AD_I64(3, 2), AD_I32(3), AD_I32(3), AD_I64(4, 3, 2)),
    PLAIN_ROW(joins, 3, 4, 0, AD_BOOL(2, 3), AD_I32(2, 3), AD_F32()),
    PLAIN_ROW(matrices, 2, 5, 0, AD_I32(3, 4), AD_BOOL(3)),
    PLAIN_ROW(constants, 3, 7, 1e-15, AD_F64(2, 3), AD_F64(4), AD_I32(2)),
    PLAIN_ROW(own, 4, 5, 0, AD_F64(3), AD_F64(2, 2), AD_F64(0), AD_F64()),
  };
  const source s = { fill_any, NULL };
  for (size_t i = 0; i < sizeof table/sizeof *table; i++) {
    ad_report report;
    const plain_case *c = &table[i];
    ad_function *f = ad_function_trace_report(c->name, c->body, NULL, c->n_in, c->in, c->n_out, &report);
    CHECK_THAT(f != NULL, "%s: %s", c->name, report.message);
    loops_expected = c->body == own_body;
    if (f) check_function(c->name, f, &s, c->tolerance, i);
    ad_function_free(f);
  }
  loops_expected = false;
}

/* --- gradients ------------------------------------------------------------------------------------------ */

/* |W2 tanh(W1 x + b1) + b2 - y|^2 */
BODY(network) {
  UNUSED;
  ad_var hidden = ad_tanh(ad_add(ad_matmul(in[0], in[4]), in[1]));
  ad_var error = ad_sub(ad_add(ad_matmul(in[2], hidden), in[3]), in[5]);
  out[0] = ad_dot(error, error);
}

/* Many operations on two scalars; the derivatives of each step are below 1. */
BODY(chain) {
  UNUSED;
  ad_var x = in[0], y = in[1];
  for (int i = 0; i < 40; i++) {
    ad_var next = ad_add(ad_mul(ad_sin(x), .3), ad_div(x, ad_add(ad_square(y), 2)));
    y = ad_mul(ad_log(ad_add(ad_square(x), ad_real(1.5 + .1*i))), ad_tanh(y));
    x = next;
  }
  out[0] = ad_mul(x, y);
}

static void check_gradients(const char *name, ad_function *f) {
  const source s = { fill_any, NULL };
  ad_function *gradient = ad_function_gradient(f, -1, NULL), *hvp = ad_function_hvp(f, -1, NULL);
  check_function(name, gradient, &s, 1e-13, 5);
  check_function(name, hvp, &s, 1e-12, 6);
  ad_function_free(gradient), ad_function_free(hvp), ad_function_free(f);
}

static void test_gradients(void) {
  const ad_type weights[6] = { AD_F64(4, 3), AD_F64(4), AD_F64(2, 4), AD_F64(2), AD_F64(3), AD_F64(2) };
  const ad_type single[6] = { AD_F32(4, 3), AD_F32(4), AD_F32(2, 4), AD_F32(2), AD_F32(3), AD_F32(2) };
  const ad_type scalars[2] = { AD_F64(), AD_F64() };
  check_gradients("network", ad_function_trace("network", network_body, NULL, 6, weights, 1));
  check_gradients("network in f32", ad_function_trace("network", network_body, NULL, 6, single, 1));
  check_gradients("chain", ad_function_trace("chain", chain_body, NULL, 2, scalars, 1));
}

/* Instances of a shared matrix times vectors are one product, whatever the operands' order. */
BODY(shared) {
  UNUSED;
  out[0] = ad_matmul(in[0], in[1]), out[1] = ad_matmul(in[1], ad_transpose(in[0], NULL));
}

static void test_shared_matrix(void) {
  const ad_type type[2] = { AD_F64(70, 90), AD_F64(90) };
  const source s = { fill_any, NULL };
  ad_function *f = ad_function_trace("shared", shared_body, NULL, 2, type, 2);
  check_function("shared", f, &s, 1e-14, 9);
  ad_status status;
  ad_function *batched = function_batched(f, 50, (bool[]){ false, true }, &status);
  CHECK(batched && ad_type_equal(ad_function_output_type(batched, 0), AD_F64(50, 70)));
  ad_function_free(batched);
  ad_function_free(f);
}

/* The gradient of the network, summed over the instances. */
typedef struct summing { ad_function *batched; bool plain; } summing;

BODY(summed) {
  const summing *s = context_of;
  function_apply_all(t, s->batched, in, out);
  for (int j = 0; j < s->batched->n_out; j++)
    out[j] = s->plain ? ad_sum(out[j], AD_AXES(0), false) : batch_sum(out[j]);
}

/* Both parts of a cotangent are products for one shared matrix. i32 is summed in i64, not by products. */
BODY(twice) {
  UNUSED;
  ad_var hidden = ad_tanh(ad_matmul(in[0], in[1]));
  ad_var y = ad_matmul(in[0], hidden), s = ad_dot(y, y);
  out[0] = s, out[1] = ad_matmul(ad_transpose(in[2], NULL), in[2]);
  ad_vjp(1, &s, (ad_var[]){ ad_real(1) }, 2, in, out + 2);
  ad_var whole = ad_cast(ad_mul(in[2], 9), AD_I32);
  out[4] = ad_matmul(whole, whole);
}

static int matrices_of_instances(const ad_function *f, int64_t n) {
  int count = 0;
  for (uint32_t i = 0; i < f->body->count; i++) {
    const ad_type type = node_type(f->body, i)->type;
    count += !node_is_leaf(f->body, i) && type.rank == 3 && type.dim[0] == n && ad_type_count(type) > 4*n;
  }
  return count;
}

static void check_sums(const char *name, ad_function *f, const bool mapped[], int matrices) {
  enum { N = 7 };
  ad_status status;
  ad_type in[8];
  double x[8][256], z[2][8][64];
  void *inputs[8], *outputs[2][8];
  options o = { 3 };
  if (!CHECK(f != NULL)) return;
  summing s = { function_batched(f, N, mapped, &status), false };
  ad_function *sums[2] = { NULL, NULL };
  if (!CHECK(s.batched != NULL)) return;
  for (int k = 0; k < f->n_in; k++) {
    in[k] = ad_function_input_type(s.batched, k);
    inputs[k] = x[k];
    for (int i = 0; i < 256; i++) x[k][i] = uniform(&o, -1, 1);
  }
  for (int p = 0; p < 2; p++, s.plain = true) {
    for (int j = 0; j < f->n_out; j++) outputs[p][j] = z[p][j];
    sums[p] = ad_function_trace("sums", summed_body, &s, f->n_in, in, f->n_out);
    CHECK_STATUS(ad_function_call(sums[p], (const void *const *)inputs, outputs[p], NULL), AD_OK);
  }
  CHECK_THAT(matrices_of_instances(sums[0], N) == matrices, "%s: %d matrices for each instance", name,
             matrices_of_instances(sums[0], N));
  CHECK(matrices_of_instances(sums[1], N) > matrices);
  for (int j = 0; j < f->n_out; j++) {
    const double off = difference(ad_function_output_type(sums[0], j), z[0][j], z[1][j]);
    CHECK_THAT(off <= 1e-14, "%s: sum %d is off by %.3g", name, j, off);
  }
  ad_function_free(sums[0]), ad_function_free(sums[1]), ad_function_free(s.batched), ad_function_free(f);
}

static void test_sums(void) {
  const ad_type weights[6] = { AD_F64(4, 3), AD_F64(4), AD_F64(2, 4), AD_F64(2), AD_F64(3), AD_F64(2) };
  const ad_type matrix[3] = { AD_F64(3, 3), AD_F64(3), AD_F64(3, 3) };
  ad_function *loss = ad_function_trace("network", network_body, NULL, 6, weights, 1);
  check_sums("network", ad_function_gradient(loss, 4, (int[]){ 0, 1, 2, 3 }),
             (bool[]){ false, false, false, false, true, true }, 0);
  ad_function_free(loss);
  check_sums("twice", ad_function_trace("twice", twice_body, NULL, 3, matrix, 5),
             (bool[]){ false, true, true }, 4);         /* a transpose, and those of i32 */
}

/* --- limits --------------------------------------------------------------------------------------------- */

BODY(negate) {
  UNUSED;
  out[0] = ad_neg(in[0]);
}
BODY(pick) {
  UNUSED;
  out[0] = ad_take(in[0], in[1], 0);
}
BODY(grow) {                        /* has rank 8 on the way */
  UNUSED;
  out[0] = ad_sum(ad_exp(ad_reshape(in[0], 8, (int64_t[]){ 1, 1, 1, 1, 1, 1, 1, 2 })), AD_ALL_AXES, false);
}
BODY(wide_adjoint) {                /* the adjoint of w is summed over five batch axes */
  UNUSED;
  ad_var y = ad_matmul(in[0], in[1]), z = ad_einsum("abcdefi,j->abcdefj", 2, (ad_var[]){ in[0], in[2] });
  out[0] = y;
  ad_vjp(1, &y, &y, 2, in, out + 1);
  out[3] = ad_sum(z, AD_ALL_AXES, false);
}

/* NULL with AD_OK: there is no such batch, and nothing is wrong. */
static void check_unbatchable(const char *name, ad_body *body, int n_in, const ad_type in[],
                              const bool mapped[]) {
  ad_status status = AD_ERROR_ARGUMENT;
  ad_function *f = ad_function_trace(name, body, NULL, n_in, in, 1);
  ad_function *batched = f ? function_batched(f, 3, mapped, &status) : NULL;
  CHECK_THAT(f && !batched && status == AD_OK, "%s: batched, or status %s", name, ad_status_sentence(status));
  ad_function_free(batched);
  status = AD_ERROR_ARGUMENT;
  ad_function *trailed = f ? function_trailed(f, 3, mapped, &status) : NULL;
  CHECK_THAT(f && !trailed && status == AD_OK, "%s: trailed, or status %s", name, ad_status_sentence(status));
  ad_function_free(trailed);
  ad_function_free(f);
}

static void test_limits(void) {
  loops_expected = true;
  const ad_type eight = AD_F64(1, 2, 1, 2, 1, 1, 1, 3), two = AD_F64(2);
  const ad_type wide[3] = { AD_F64(1, 2, 1, 2, 1, 2, 3), AD_F64(3, 2), AD_F64(2) };
  const ad_type taking[2] = { AD_F64(2, 1, 1, 1, 2, 1, 1, 2), AD_I64() };
  const source s = { fill_any, NULL };
  options o = { 4 };
  check_unbatchable("rank 8", negate_body, 1, &eight, (bool[]){ true });
  check_unbatchable("rank 8, single", negate_body, 1, &eight, (bool[]){ false });
  check_unbatchable("rank 8 inside", grow_body, 1, &two, (bool[]){ true });
  ad_function *f = ad_function_trace("grow", grow_body, NULL, 1, &two, 1);
  ad_function_free(check_batched("rank 8 inside, single", f, 3, (bool[]){ false }, &s, 0, &o));
  ad_function_free(f);
  f = ad_function_trace("pick", pick_body, NULL, 2, taking, 1);
  ad_function *batched = check_batched("take from rank 8", f, 3, (bool[]){ false, true }, &s, 0, &o);
  CHECK(batched && loops_of(batched) == 1);
  ad_function_free(batched);
  ad_function_free(f);
  f = ad_function_trace("wide", wide_adjoint_body, NULL, 3, wide, 4);
  for (unsigned bits = 1; bits < 8; bits++)
    ad_function_free(check_batched("rank 7", f, 3, (bool[]){ bits & 1, bits & 2, bits & 4 }, &s, 1e-14, &o));
  ad_function_free(f);
  loops_expected = false;
}

static ad_status status_of_batch(const ad_primitive *p) {
  const double a = 1;
  ad_status status = AD_OK;
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(3), NULL), y = ad_array(t, AD_F64(2), NULL);
  ad_var z = ad_record(t, p, 2, (ad_var[]){ x, y }, &a, sizeof a);
  ad_function *f = ad_function_new("f", 2, (ad_var[]){ x, y }, 1, &z);
  ad_function *batched = f ? function_batched(f, 2, (bool[]){ false, true }, &status) : NULL;
  CHECK(f && !batched);
  ad_function_free(batched);
  ad_function_free(f);
  ad_tape_free(t);
  return status;
}

static void test_errors(void) {
  const ad_type type[2] = { AD_F64(2), AD_I64() };
  const int64_t good[2] = { 1, -2 }, bad[2] = { 1, 2 };
  const double x[2] = { 5, 6 };
  double z[2] = { 0, 0 };
  ad_status status;
  CHECK_STATUS(status_of_batch(&wrong_primitive), AD_ERROR_SHAPE);
  CHECK_STATUS(status_of_batch(&number_primitive), AD_ERROR_HANDLE);
  ad_function *f = ad_function_trace("pick", pick_body, NULL, 2, type, 1);
  ad_function *batched = function_batched(f, 2, (bool[]){ false, true }, &status);
  CHECK_STATUS(ad_function_call(batched, (const void *[]){ x, good }, (void *[]){ z }, NULL), AD_OK);
  CHECK(z[0] == 6 && z[1] == 5);
  CHECK_STATUS(ad_function_call(batched, (const void *[]){ x, bad }, (void *[]){ z }, NULL),
               AD_ERROR_ARGUMENT);
  ad_function_free(batched);
  CHECK(!function_batched(f, -1, (bool[]){ false, true }, &status) && status == AD_ERROR_SIZE);
  CHECK(!function_batched(f, INT64_MAX/2, (bool[]){ false, true }, &status) && status == AD_ERROR_SIZE);
  ad_function_free(f);
}

/* A call on what is not batched stays one call; on what is, there is a rule, or no batch. */
BODY(calling) {
  (void)t;
  ad_checkpoint(context_of, in, out);
  out[1] = ad_mul(out[0], in[2]);
}

static void test_calls(void) {
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64(2) };
  const source s = { fill_any, NULL };
  options o = { 8 };
  ad_function *inner = ad_function_trace("chain", chain_body, NULL, 2, type, 1);
  ad_function *f = ad_function_trace("calling", calling_body, inner, 3, type, 2);
  ad_function_free(inner);
  if (!CHECK(f != NULL)) return;
  ad_function_free(check_batched("single call", f, 3, (bool[]){ false, false, true }, &s, 1e-14, &o));
  ad_status status = AD_ERROR_ARGUMENT;
  ad_function *batched = function_batched(f, 3, (bool[]){ true, false, false }, &status);
  CHECK_STATUS(status, AD_OK);
  if (batched) ad_function_free(check_batched("call", f, 3, (bool[]){ true, false, false }, &s, 1e-12, &o));
  ad_function_free(batched);
  ad_function_free(f);
}

/* --- memory --------------------------------------------------------------------------------------------- */

/* With the k-th allocation failing, for every k: no batch and the status says why, or all is well. */
static void test_memory(void) {
  const ad_type type[4] = { AD_F64(3), AD_F64(2, 2), AD_F64(0), AD_F64() };
  heap h = { 0 };
  const ad_allocator allocator = heap_allocator(&h);
  ad_function *f = ad_function_trace_with(&allocator, "own", own_body, NULL, 4, type, 5, NULL);
  const long blocks = h.blocks;
  const size_t live = h.live;
  bool done = false;
  for (long k = 1; f && !done && k < 10000; k++) {
    ad_status status = AD_ERROR_ARGUMENT;
    heap_fail(&h, k, false);
    ad_function *batched = function_batched(f, 3, (bool[]){ true, true, false, true }, &status);
    done = heap_has_served(&h);
    CHECK_THAT(batched ? status == AD_OK : status == AD_ERROR_MEMORY && !done, "allocation %ld: %s", k,
               ad_status_sentence(status));
    ad_function_free(batched);
    CHECK_THAT(h.blocks == blocks && h.live == live && h.wrong_sizes == 0, "allocation %ld: %s", k,
               heap_text(&h));
  }
  CHECK(done);
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
}

/* A map of several chunks and an incomplete one, its plans and its workspace: with the k-th allocation
 * failing, for every k, the call says that memory failed, or gives what it should. */
enum { INSTANCES = 5000 };

BODY(bump) {                        /* f64(2), f64() */
  (void)t, (void)context_of;
  out[0] = ad_mul(ad_sum(ad_exp(in[0]), AD_ALL_AXES, false), in[1]);
}
BODY(bumps) {
  ad_var z;
  (void)t;
  if (ad_map(context_of, in, &z) == AD_OK) out[0] = ad_sum(z, AD_ALL_AXES, false);
}

static ad_status call_map(const ad_allocator *a, const double x[], double pbar[1]) {
  const ad_type one[2] = { AD_F64(2), AD_F64() }, many[2] = { AD_F64(INSTANCES, 2), AD_F64() };
  const double p = 0.5;
  double y = 0;
  ad_function *f = ad_function_trace_with(a, "bump", bump_body, NULL, 2, one, 1, NULL);
  ad_function *g = f ? ad_function_trace_with(a, "bumps", bumps_body, f, 2, many, 1, NULL) : NULL;
  ad_function *d = g ? ad_function_gradient(g, 1, (const int[]){ 1 }) : NULL;
  const ad_status status = d ? ad_function_call(d, (const void *[]){ x, &p }, (void *[]){ &y, pbar }, NULL)
                             : AD_ERROR_MEMORY;
  ad_function_free(d), ad_function_free(g), ad_function_free(f);
  return status;
}

static bool map_with(const ad_allocator *a, void *none) {
  static double x[2*INSTANCES];
  double want = 0, pbar = 0;
  (void)none;
  for (int i = 0; i < 2*INSTANCES; i++) want += exp(x[i] = sin((double)i));
  const ad_status status = call_map(a, x, &pbar);
  CHECK_THAT(status == AD_OK || status == AD_ERROR_MEMORY, "%s", ad_status_sentence(status));
  CHECK_THAT(status != AD_OK || check_near(pbar, want, 1e-13), "%g, not %g", pbar, want);
  return status == AD_OK;
}

int main(void) {
  test_structured_table();
  test_plain_table();
  test_gradients();
  test_shared_matrix();
  test_sums();
  test_limits();
  test_errors();
  test_calls();
  test_memory();
  CHECK(failing_calls(map_with, NULL, false) > 50);
  return check_summary();
}
