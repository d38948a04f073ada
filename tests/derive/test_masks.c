/* test_masks.c -- which elements are connected behind array operations, in every mode.
 *
 * A gate lets the derivative through at some elements only; a wall multiplies by 1/0, which makes inf or nan
 * of every element that is connected, be it zero, and leaves 0 of the others. Between the two stands an array
 * operation. Which of its results depend on which operands is read off its Jacobian at a point in general
 * position, element by element and without gates: an element behind the operation is connected when one of
 * those that it depends on is, whatever the numbers are. */
#include "check.h"
#include "failing.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"
#include "derive/flow.h"
#include "derive/mask.h"

#include <float.h>

enum { ROWS = 3, COLUMNS = 4, N = ROWS*COLUMNS, MOST = 64 };

/* --- gates and walls ------------------------------------------------------------------------------------ */

static void copy_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i];
}

static const ad_primitive gate_primitive = { .name = "gate",
                                             .doc = "x, connected where y is not 0",
                                             .arity = 2,
                                             .block = copy_block,
                                             .rule = { "y != 0 ? g : NONE", "NONE" } };
static const ad_primitive wall_primitive = {
  .name = "wall", .doc = "x with an infinite slope", .arity = 1, .block = copy_block, .rule = { "g/(x - x)" }
};

static ad_var gate(ad_var x, ad_var open) {
  return ad_record(NULL, &gate_primitive, 2, (const ad_var[]){ x, open }, NULL, 0);
}
static ad_var wall(ad_var x) { return ad_record(NULL, &wall_primitive, 1, &x, NULL, 0); }

/* --- primitives of a user's own ------------------------------------------------------------------------- */

static ad_status own_type(ad_operation *op) {
  op->z = *op->x[0];
  return op->n == 1 ? AD_OK : ad_refuse(op, AD_ERROR_ARGUMENT, "takes one operand");
}

static ad_status cube_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const double *p = x[0];
  (void)scratch;
  for (int64_t i = 0; i < ad_type_count(op->z); i++) ((double *)z)[i] = p[i]*p[i]*p[i];
  return AD_OK;
}

static ad_var cube_rule(ad_rule *r, int k) {
  (void)k;
  return ad_mul(r->g, ad_mul(3, ad_square(r->x[0])));
}

static ad_status twice_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const double *p = x[0];
  (void)scratch;
  for (int64_t i = 0; i < ad_type_count(op->z); i++) ((double *)z)[i] = 2*p[i];
  return AD_OK;
}

static ad_var twice_rule(ad_rule *r, int k) {
  (void)k;
  return ad_record(NULL, r->op->primitive, 1, &r->g, NULL, 0);
}

static const ad_primitive cube_by_jvp = {
  .name = "cube", .type = own_type, .run = cube_run, .jvp = cube_rule
};
static const ad_primitive cube_by_vjp = {
  .name = "cube", .type = own_type, .run = cube_run, .vjp = cube_rule
};
/* Linear, and says so, but not which elements it joins. */
static const ad_primitive twice = {
  .name = "twice", .traits = AD_TRAIT_LINEAR, .type = own_type, .run = twice_run, .vjp = twice_rule
};
/* Linear without saying so: its rule is itself. */
static const ad_primitive twice_silently = {
  .name = "twice", .type = own_type, .run = twice_run, .jvp = twice_rule, .vjp = twice_rule
};

static ad_var own(const ad_primitive *p, ad_var x) { return ad_record(NULL, p, 1, &x, NULL, 0); }

/* --- operations ----------------------------------------------------------------------------------------- */

/* Other operands: numbers in general position, or many zeros among them. */
static const double *others;
static const double general[] = { 0.7, -1.3, 0.9, 1.9, -0.6, 1.1, 0.4, -2.1, 1.6, -0.8, 0.5, 1.2,
                                  -0.9, 1.7, 0.3, -1.4, 2.3, 0.8, -0.2, 1.5, -1.1, 0.6, 1.3, -0.4 };
static const double sparse[24] = { 0, 1, 0, 0, 0, 0, -1, 0, 2, 0, 0, 0, 0, 0, 3 };

static ad_var matrix(ad_tape *t, int64_t m, int64_t n) { return ad_constant(t, AD_F64(m, n), others); }
static ad_var box(ad_tape *t, int64_t b, int64_t m, int64_t n) {
  return ad_constant(t, AD_F64(b, m, n), others);
}
static ad_var vector(ad_tape *t, int64_t n) { return ad_constant(t, AD_F64(n), others + 1); }
static ad_var indices(ad_tape *t, int64_t i, int64_t j) {
  return ad_constant(t, AD_I64(2), (const int64_t[]){ i, j });
}
static ad_var turned(ad_var v) { return ad_transpose(v, NULL); }
static ad_var line(ad_var v) { return ad_reshape(v, 1, (const int64_t[]){ N }); }
static ad_var folded(ad_var v) { return ad_reshape(v, 3, (const int64_t[]){ 2, 3, 2 }); }
static ad_var all(ad_var v) { return ad_sum(v, AD_ALL_AXES, false); }
static ad_var rows(ad_var v) { return ad_sum(v, AD_AXES(1), false); }
static ad_var columns(ad_var v) { return ad_sum(v, AD_AXES(0), false); }
static ad_var part(ad_var v, int axis, int64_t first, int64_t n) { return ad_slice(v, axis, first, n, 1); }

static ad_var einsum2(const char *equation, ad_var x, ad_var y) {
  return ad_einsum(equation, 2, (const ad_var[]){ x, y });
}
static ad_var two_slices(ad_var v) {
  const ad_var first = part(v, 1, 0, 2), second = part(v, 1, 1, 2);
  return ad_add(ad_matmul(first, matrix(v.tape, 2, 2)), second);
}
static ad_var used_twice(ad_tape *t, ad_var v) {
  const ad_var product = ad_matmul(part(v, 0, 0, 2), matrix(t, 4, 2));
  return ad_add(product, part(part(v, 0, 1, 2), 1, 2, 2));
}

typedef ad_var operation(ad_tape *t, ad_var v);          /* of f64(3, 4) */

#define OPERATIONS(OF) \
  /* matrices */ \
  OF(matmul_left, ALWAYS, ad_matmul(v, matrix(t, 4, 2))) \
  OF(matmul_right, ALWAYS, ad_matmul(matrix(t, 2, 3), v)) \
  OF(matmul_vector, ALWAYS, ad_matmul(v, vector(t, 4))) \
  OF(vector_matmul, ALWAYS, ad_matmul(vector(t, 3), v)) \
  OF(matmul_batch, ALWAYS, ad_matmul(v, box(t, 2, 4, 2))) \
  OF(batch_matmul, ALWAYS, ad_matmul(box(t, 2, 2, 3), v)) \
  OF(matmul_of_batch, ALWAYS, ad_matmul(folded(v), matrix(t, 2, 3))) \
  OF(matmul_on_batch, ALWAYS, ad_matmul(matrix(t, 3, 3), folded(v))) \
  OF(batch_of_two, ALWAYS, ad_matmul(folded(v), box(t, 2, 2, 1))) \
  OF(matmul_twice, ALWAYS, ad_matmul(matrix(t, 2, 3), ad_matmul(v, matrix(t, 4, 2)))) \
  OF(matmul_self, ALWAYS, ad_matmul(v, turned(v))) \
  OF(self_matmul, ALWAYS, ad_matmul(turned(v), v)) \
  OF(dot, ALWAYS, ad_dot(line(v), vector(t, N))) \
  OF(dot_self, ALWAYS, ad_dot(line(v), line(v))) \
  OF(outer_left, ALWAYS, ad_outer(rows(v), vector(t, 5))) \
  OF(outer_right, ALWAYS, ad_outer(vector(t, 5), columns(v))) \
  OF(outer_self, ALWAYS, ad_outer(columns(v), rows(v))) \
  OF(einsum, ALWAYS, einsum2("ij,kj->ik", v, matrix(t, 2, 4))) \
  OF(einsum_turned, ALWAYS, einsum2("ij,ik->kj", v, matrix(t, 3, 2))) \
  OF(einsum_diagonal, ALWAYS, einsum2("ij,ij->i", v, matrix(t, 3, 4))) \
  OF(einsum_batch, ALWAYS, einsum2("bij,bjk->bki", folded(v), box(t, 2, 2, 3))) \
  OF(einsum_three, ALWAYS, \
     ad_einsum("ij,kj,k->ik", 3, (const ad_var[]){ v, matrix(t, 2, 4), vector(t, 2) })) \
  OF(einsum_alone, ALWAYS, ad_einsum("ij->j", 1, &v)) \
  /* sums and movement */ \
  OF(sum, ALWAYS, all(v)) \
  OF(sum_of_rows, ALWAYS, rows(v)) \
  OF(mean, ALWAYS, ad_mean(v, AD_AXES(0), true)) \
  OF(cumsum, ALWAYS, ad_cumsum(v, 1)) \
  OF(transpose, ALWAYS, turned(v)) \
  OF(reshape, ALWAYS, folded(v)) \
  OF(broadcast, ALWAYS, ad_broadcast_to(columns(v), 2, (const int64_t[]){ 2, 4 })) \
  OF(added_to_rows, ALWAYS, ad_add(rows(v), box(t, 2, 2, 3))) \
  OF(times_rows, ALWAYS, ad_mul(ad_sum(v, AD_AXES(1), true), matrix(t, 3, 2))) \
  OF(flip, ALWAYS, ad_flip(v, AD_AXES(0))) \
  OF(slice, ALWAYS, ad_slice(v, 1, 3, 2, -2)) \
  OF(slice_add, ALWAYS, ad_slice_add(v, part(v, 0, 1, 1), 0, 0, 1)) \
  OF(two_slices, ALWAYS, two_slices(v)) \
  OF(used_twice, ALWAYS, used_twice(t, v)) \
  OF(at, ALWAYS, ad_at(v, 1, (const int64_t[]){ 1 })) \
  OF(pad, ALWAYS, ad_pad(v, (const int64_t[]){ 1, 0 }, (const int64_t[]){ 0, 1 }, AD_VAR(0.5))) \
  OF(concat, ALWAYS, ad_concat(2, (const ad_var[]){ v, matrix(t, 3, 2) }, 1)) \
  OF(stack, ALWAYS, ad_stack(2, (const ad_var[]){ columns(v), ad_at(v, 1, (const int64_t[]){ 0 }) }, 0)) \
  OF(take, ALWAYS, ad_take(v, indices(t, 2, 2), 0)) \
  OF(scatter_add, ALWAYS, ad_scatter_add(v, indices(t, 2, 0), part(v, 0, 0, 2), 0)) \
  OF(gather, ALWAYS, ad_gather(ad_reshape(v, 2, (const int64_t[]){ 6, 2 }), ad_reshape(indices(t, 5, 1), 2, \
                               (const int64_t[]){ 1, 2 }), 0)) \
  OF(tril, ALWAYS, ad_tril(v, 0)) \
  OF(triu, ALWAYS, ad_triu(v, 1)) \
  OF(diag, ALWAYS, ad_diag(v, 0)) \
  OF(trace, ALWAYS, ad_trace(part(v, 1, 0, 3))) \
  OF(narrow, ALWAYS, ad_cast(ad_cast(v, AD_F32), AD_F64)) \
  /* not linear */ \
  OF(prod, ALWAYS, ad_prod(v, AD_ALL_AXES, false)) \
  OF(prod_of_rows, ALWAYS, ad_prod(v, AD_AXES(1), false)) \
  OF(prod_of_some, ALWAYS, ad_prod(folded(v), AD_AXES(0, 2), true)) \
  OF(cumprod, ALWAYS, ad_cumprod(v, 0)) \
  OF(norm, GENERAL, ad_norm(v, AD_ALL_AXES, false)) \
  OF(norm_of_rows, GENERAL, ad_norm(v, AD_AXES(1), true)) \
  OF(variance, ALWAYS, ad_variance(v, AD_AXES(1), false, 1)) \
  OF(logsumexp, ALWAYS, ad_logsumexp(v, AD_AXES(0), false)) \
  OF(softmax, ALWAYS, ad_exp(ad_sub(v, ad_logsumexp(v, AD_AXES(1), true)))) \
  OF(largest, GENERAL, ad_reduce_max(v, AD_AXES(1), false)) \
  OF(smallest, GENERAL, ad_reduce_min(v, AD_ALL_AXES, false)) \
  OF(sort, GENERAL, ad_sort(v, 1, false)) \
  OF(product_of_sums, ALWAYS, ad_prod(ad_matmul(v, matrix(t, 4, 2)), AD_AXES(1), false)) \
  OF(matmul_of_squares, ALWAYS, ad_matmul(ad_exp(v), matrix(t, 4, 2))) \
  OF(norm_of_product, GENERAL, ad_norm(ad_matmul(v, matrix(t, 4, 2)), AD_AXES(1), false)) \
  OF(layers, GENERAL, ad_matmul(ad_tanh(ad_matmul(v, matrix(t, 4, 2))), matrix(t, 2, 3))) \
  /* a user's own */ \
  OF(own_by_jvp, ALWAYS, own(&cube_by_jvp, v)) \
  OF(own_by_vjp, ALWAYS, own(&cube_by_vjp, v)) \
  OF(own_linear, UNTOLD, own(&twice, v)) \
  OF(own_silent, UNTOLD, own(&twice_silently, v))

#define OF(name, where, expression) \
  static ad_var name##_of(ad_tape *t, ad_var v) { (void)t; return expression; }
OPERATIONS(OF)
#undef OF

/* ALWAYS: what depends on what does not depend on the numbers. UNTOLD: everything counts as depending on
 * everything. */
enum { ALWAYS, GENERAL, UNTOLD };
static const struct subject { const char *name; operation *f; int where; } subjects[] = {
#define OF(name, where, expression) { #name, name##_of, where },
  OPERATIONS(OF)
#undef OF
};

/* --- what is expected ----------------------------------------------------------------------------------- */

typedef struct dependence { int results; bool on[MOST][N]; } dependence;

static const double general_point[N] = { 0.31, -0.72, 1.13, 0.46, 2.24, -1.35, 0.97, 1.78, -0.29, 0.64, -1.91,
                                         0.83 };
static const double zero_point[N] = { 0, 0, 1.5, 0, -2, 0, 0, 1, 0, 0, 0, 0 };

static void find_dependence(const struct subject *s, dependence *d) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), general_point), z = s->f(t, v), zdot;
  double tangent[MOST];
  others = general;
  d->results = (int)ad_type_count(ad_type_of(z));
  if (!CHECK_THAT(ad_tape_status(t) == AD_OK && d->results <= MOST, "%s: %s", s->name, ad_tape_message(t)))
    d->results = 0;
  for (int i = 0; i < N && d->results; i++) {
    double e[N] = { 0 };
    e[i] = 1;
    const ad_var vdot = ad_constant(t, AD_F64(ROWS, COLUMNS), e);
    CHECK_STATUS(ad_jvp(1, &v, &vdot, 1, &z, &zdot), AD_OK);
    CHECK_STATUS(ad_read(zdot, tangent), AD_OK);
    for (int j = 0; j < d->results; j++) d->on[j][i] = tangent[j] != 0 || s->where == UNTOLD;
  }
  ad_tape_free(t);
}

/* One question: a subject, the point, the elements that the gate lets through. */
typedef struct question {
  const struct subject *s;
  const dependence *d;
  const double *point;
  double open[MOST];
  bool reached[MOST];               /* results forwards, operands backwards */
} question;

static void ask_forward(question *q) {
  for (int j = 0; j < q->d->results; j++) {
    q->reached[j] = false;
    for (int i = 0; i < N; i++) q->reached[j] |= q->open[i] != 0 && q->d->on[j][i];
  }
}

static void ask_reverse(question *q) {
  for (int i = 0; i < N; i++) {
    q->reached[i] = false;
    for (int j = 0; j < q->d->results; j++) q->reached[i] |= q->open[j] != 0 && q->d->on[j][i];
  }
}

/* 0 where there is no connection, anything but 0 elsewhere. */
static void expect(const question *q, const char *mode, int n, const double got[]) {
  for (int i = 0; i < n; i++)
    CHECK_THAT((got[i] != 0) == q->reached[i], "%s%s, %s: element %d is %g, %s connected", q->s->name,
               q->point == zero_point ? " at zeros" : "", mode, i, got[i], q->reached[i] ? "but" : "but not");
}

static void expect_zeros(const question *q, const char *mode, int n, const double got[], int element) {
  for (int i = 0; i < n; i++)
    if (element < 0 ? !q->reached[i] : !q->reached[element])
      CHECK_THAT(got[i] == 0, "%s%s, %s: element %d is %g, not 0", q->s->name,
                 q->point == zero_point ? " at zeros" : "", mode, i, got[i]);
}

static void read(ad_var v, double out[]) {
  for (int i = 0; i < MOST; i++) out[i] = -12345;
  CHECK_STATUS(ad_read(v, out), AD_OK);
}

static void finish(const question *q, ad_tape *t) {
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s: %s", q->s->name, ad_tape_message(t));
  ad_tape_free(t);
}

/* --- forward modes -------------------------------------------------------------------------------------- */

static ad_var forward_problem(const question *q, ad_tape *t, ad_var v) {
  return wall(q->s->f(t, gate(v, ad_constant(t, AD_F64(ROWS, COLUMNS), q->open))));
}

static ad_var ones(ad_tape *t, ad_type type) { return ad_ones(t, type); }

static void test_jvp(const question *q, bool second) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), z = forward_problem(q, t, v), zdot, zdotdot;
  const ad_var one = ones(t, AD_F64(ROWS, COLUMNS));
  double got[MOST];
  CHECK_STATUS(ad_jvp(1, &v, &one, 1, &z, &zdot), AD_OK);
  read(zdot, got);
  expect(q, "jvp", q->d->results, got);
  if (second) {
    CHECK_STATUS(ad_jvp(1, &v, &one, 1, &zdot, &zdotdot), AD_OK);
    read(zdotdot, got);
    expect_zeros(q, "jvp of jvp", q->d->results, got, -1);
  }
  finish(q, t);
}

/* The gradient of one element of the tangent. */
static void test_vjp_of_jvp(const question *q, int j) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), z = forward_problem(q, t, v), zdot, vbar;
  const ad_var one = ones(t, AD_F64(ROWS, COLUMNS));
  double got[MOST];
  CHECK_STATUS(ad_jvp(1, &v, &one, 1, &z, &zdot), AD_OK);
  const ad_var element = ad_at(ad_reshape(zdot, 1, (const int64_t[]){ q->d->results }), 1,
                               (const int64_t[]){ j });
  CHECK_STATUS(ad_vjp(1, &element, NULL, 1, &v, &vbar), AD_OK);
  read(vbar, got);
  expect_zeros(q, "vjp of jvp", N, got, j);
  finish(q, t);
}

static void test_taylor(const question *q) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), z = forward_problem(q, t, v), c[4];
  const ad_var one = ones(t, AD_F64(ROWS, COLUMNS)), vc[3] = { one, one, ad_none() };
  double got[MOST];
  for (int order = 1; order <= 3; order += 2) {
    CHECK_STATUS(ad_taylor(order, 1, &v, vc, 1, &z, c), AD_OK);
    for (int k = 1; k <= order; k++) {
      read(c[k], got);
      if (k == 1) expect(q, "taylor", q->d->results, got);
      else expect_zeros(q, "taylor of high order", q->d->results, got, -1);
    }
  }
  finish(q, t);
}

static void forward_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const question *q = context;
  ad_var z = forward_problem(q, t, in[0]);
  const ad_var one = ones(t, AD_F64(ROWS, COLUMNS));
  ad_jvp(1, in, &one, 1, &z, out);
}

static void test_traced_jvp(question *q) {
  double got[MOST];
  void *out[] = { got };
  ad_function *f = ad_function_trace("forward", forward_body, q, 1, (ad_type[]){ AD_F64(ROWS, COLUMNS) }, 1);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ q->point }, out, NULL), AD_OK);
  expect(q, "function's jvp", q->d->results, got);
  ad_function_free(f);
}

/* --- reverse modes -------------------------------------------------------------------------------------- */

static ad_var reverse_problem(const question *q, ad_tape *t, ad_var v) {
  const ad_var z = q->s->f(t, wall(v));
  return all(gate(z, ad_constant(t, ad_type_of(z), q->open)));
}

static void test_backward(const question *q) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), y = reverse_problem(q, t, v);
  double got[MOST];
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_STATUS(ad_read_adjoint(v, got), AD_OK);
  expect(q, "backward", N, got);
  finish(q, t);
}

static void test_vjp(const question *q, bool second) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), y = reverse_problem(q, t, v), vbar, vbardot;
  const ad_var one = ones(t, AD_F64(ROWS, COLUMNS));
  double got[MOST];
  CHECK_STATUS(ad_vjp(1, &y, NULL, 1, &v, &vbar), AD_OK);
  read(vbar, got);
  expect(q, "vjp", N, got);
  if (second) {
    CHECK_STATUS(ad_jvp(1, &v, &one, 1, &vbar, &vbardot), AD_OK);
    read(vbardot, got);
    expect_zeros(q, "jvp of vjp", N, got, -1);
  }
  finish(q, t);
}

static void test_vjp_of_vjp(const question *q, int i) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), q->point), y = reverse_problem(q, t, v), vbar, vbarbar;
  double got[MOST];
  CHECK_STATUS(ad_vjp(1, &y, NULL, 1, &v, &vbar), AD_OK);
  const ad_var element = ad_at(line(vbar), 1, (const int64_t[]){ i });
  CHECK_STATUS(ad_vjp(1, &element, NULL, 1, &v, &vbarbar), AD_OK);
  read(vbarbar, got);
  expect_zeros(q, "vjp of vjp", N, got, i);
  finish(q, t);
}

static void reverse_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  out[0] = reverse_problem(context, t, in[0]);
}

static void test_function_gradient(question *q) {
  double y, got[MOST];
  void *out[] = { &y, got };
  ad_function *f = ad_function_trace("reverse", reverse_body, q, 1, (ad_type[]){ AD_F64(ROWS, COLUMNS) }, 1);
  ad_function *g = ad_function_gradient(f, 0, NULL);
  CHECK_STATUS(ad_function_call(g, (const void *[]){ q->point }, out, NULL), AD_OK);
  expect(q, "function's gradient", N, got);
  ad_function_free(g);
  ad_function_free(f);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static void test_question(question *q, bool thorough) {
  ask_forward(q);
  test_jvp(q, thorough);
  test_taylor(q);
  test_traced_jvp(q);
  for (int j = 0; j < q->d->results && thorough; j++)
    if (!q->reached[j]) test_vjp_of_jvp(q, j);
  ask_reverse(q);
  test_vjp(q, thorough);
  test_backward(q);
  test_function_gradient(q);
  for (int i = 0; i < N && thorough; i++)
    if (!q->reached[i]) test_vjp_of_vjp(q, i);
}

/* Nothing, everything, one element, half of them, most of them. */
static void test_subject(const struct subject *s, const double *point, uint64_t *state) {
  enum { PATTERNS = 8 };
  dependence d;
  find_dependence(s, &d);
  others = point == zero_point ? sparse : general;
  for (int p = 0; p < PATTERNS && d.results; p++) {
    static const double share[PATTERNS] = { 0, 1, 0.08, 0.08, 0.15, 0.3, 0.5, 0.8 };
    question q = { .s = s, .d = &d, .point = point };
    for (int i = 0; i < MOST; i++) q.open[i] = check_uniform(state, 0, 1) < share[p];
    if (p == 2) q.open[check_below(state, N)] = 1;
    test_question(&q, p >= 3 && p <= 5);
  }
}

/* --- empty arrays, failing memory ----------------------------------------------------------------------- */

static void test_empty(int64_t m, int64_t k, int64_t n) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(m, k), NULL), y = ad_array(t, AD_F64(k, n), NULL), c[3], d[2];
  ad_var z = wall(ad_matmul(gate(x, ad_zeros(t, AD_F64(m, k))), wall(y)));
  ad_var s = all(gate(z, ad_zeros(t, AD_F64(m, n))));
  const ad_var one = ad_ones(t, AD_F64(m, k));
  CHECK_STATUS(ad_jvp(1, &x, &one, 1, &s, d), AD_OK);
  CHECK(ad_value(d[0]) == 0);
  CHECK_STATUS(ad_taylor(2, 1, &x, (const ad_var[]){ one, one }, 1, &z, c), AD_OK);
  CHECK(ad_value(all(c[1])) == 0 && ad_value(all(c[2])) == 0);
  CHECK_STATUS(ad_vjp(1, &s, NULL, 2, (const ad_var[]){ x, y }, d), AD_OK);
  CHECK(ad_value(all(d[0])) == 0 && ad_value(all(d[1])) == 0);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s", ad_tape_message(t));
  ad_tape_free(t);
}

static ad_status derive_all(ad_tape *t) {
  others = general;
  ad_var v = ad_array(t, AD_F64(ROWS, COLUMNS), general_point), c[3], d;
  ad_var open = ad_constant(t, AD_F64(ROWS, COLUMNS), sparse);
  ad_var z = wall(ad_matmul(ad_prod(gate(v, open), AD_AXES(1), true), matrix(t, 1, 2)));
  ad_var y = all(gate(ad_matmul(own(&cube_by_jvp, wall(v)), matrix(t, 4, 4)), open));
  const ad_var one = ad_ones(t, AD_F64(ROWS, COLUMNS));
  ad_status status = ad_jvp(1, &v, &one, 1, &z, &d);
  if (status == AD_OK) status = ad_taylor(2, 1, &v, (const ad_var[]){ one, one }, 1, &z, c);
  if (status == AD_OK) status = ad_vjp(1, &y, NULL, 1, &v, &d);
  return status == AD_OK ? ad_backward(y) : status;
}

static bool derive_with(const ad_allocator *a, void *context) {
  ad_tape *t = ad_tape_new_with(a);
  const ad_status status = t ? derive_all(t) : AD_ERROR_MEMORY;
  (void)context;
  CHECK(status != AD_OK || ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
  return status == AD_OK;
}

/* --- rows and the masks that they ask for --------------------------------------------------------------- */

/* A row that does not ask at all has slopes that are finite at every point; one that has no pole, wherever
 * operands and value are finite. */
static void test_row(elementwise_id row, double attribute, int k, bool at_infinity) {
  static const double points[] = { 0,   -0.0, 5e-324, 1,    -1,     0.5,    -0.5,    2,        -3,
                                   40,  -40,  1e10, 1e-200, -1e200, DBL_MAX, -DBL_MAX, INFINITY, -INFINITY };
  enum { ALL = sizeof points/sizeof *points };
  const elementwise_row *r = &elementwise_rows[row];
  const int n = at_infinity ? ALL : ALL - 2;
  for (int p = 0; p < n*n*(r->arity > 2 ? n : 1); p++) {
    const double x = points[p%n], y = points[p/n%n], w = points[p/n/n];
    const double z = r->evaluate(x, y, w, attribute);
    double d[3] = { 0, 0, 0 };
    r->propagate(d, x, y, w, z, 1, attribute);
    CHECK_THAT(isfinite(d[k]) || (!at_infinity && !isfinite(z)),
               "%s: slope by operand %d is %g at %g, %g, %g", r->name, k, d[k], x, y, w);
  }
}

static void test_rows(void) {
  ad_tape *t = ad_tape_new();
  int count[4] = { 0, 0, 0, 0 };
  for (int row = 0; row < ROW_COUNT; row++) {
    const elementwise_row *r = &elementwise_rows[row];
    ad_var x[3];
    for (int k = 0; k < 3; k++) x[k] = ad_array(t, AD_F64(2), NULL);
    if (row == ROW_select) x[0] = ad_cast(x[0], AD_BOOL);
    const ad_var z = tape_record_row((elementwise_id)row, r->arity, x, r->attribute);
    if (ad_type_of(z).dtype != AD_F64) continue;
    for (int k = row == ROW_select; k < r->arity; k++) {
      const unsigned asks = mask_counts(t, z.at.node.index, k);
      count[asks & 3]++;
      if (!(asks & FLOW_POLE)) test_row((elementwise_id)row, r->attribute, k, asks == 0);
    }
  }
  CHECK_THAT(count[0] > 20 && count[FLOW_MASK] > 15 && count[FLOW_POLE] == 0 && count[FLOW_ASKED] > 20,
             "%d, %d, %d, %d rows", count[0], count[1], count[2], count[3]);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s", ad_tape_message(t));
  ad_tape_free(t);
}

/* Slopes of powers depend on the exponent. */
static void test_powers(void) {
  ad_tape *t = ad_tape_new();
  int without_poles = 0;
  for (int exponent = -3; exponent < 6; exponent++) {
    const ad_var x = ad_array(t, AD_F64(2), NULL);
    const ad_var z = tape_record_row(ROW_powi, 1, &x, exponent);
    if (node_is_leaf(t, z.at.node.index) || node_primitive_number(&t->node[z.at.node.index]) != ROW_powi)
      continue;
    const unsigned asks = mask_counts(t, z.at.node.index, 0);
    if (asks & FLOW_POLE) continue;
    test_row(ROW_powi, exponent, 0, asks == 0);
    without_poles++;
  }
  CHECK(without_poles > 0);
  ad_tape_free(t);
}

/* x + c, x - c, c - x, x c, x/c: the derivative g, of that value, as the rule passes it on. */
enum { LINEAR = 5 };
static ad_var linear(int which, ad_var x, ad_var c) {
  switch (which) {
    case 0:  return ad_add(x, c);
    case 1:  return ad_sub(x, c);
    case 2:  return ad_sub(c, x);
    case 3:  return ad_mul(x, c);
    default: return ad_div(x, c);
  }
}
static double passed(int which, double g, double c) {
  return which < 2 ? g : which == 2 ? -g : which == 3 ? g*c : g/c;
}

/* A zero that becomes nan asks for a mask; one that is said to stay the same zero keeps its sign, too. */
static void test_linear(void) {
  static const double numbers[] = { 0, -0.0, 0.5, 3, -0.5, -3, 1e300, 5e-324, INFINITY, -INFINITY, NAN };
  ad_tape *t = ad_tape_new();
  int unasked = 0, kept = 0;
  for (size_t i = 0; i < LINEAR*sizeof numbers/sizeof *numbers; i++) {
    const int which = (int)(i%LINEAR), k = which == 2;
    const double c = numbers[i/LINEAR];
    const ad_var x = ad_array(t, AD_F64(2), NULL), z = linear(which, x, ad_constant(t, AD_F64(), &c));
    if (!ad_is_valid(z) || node_is_leaf(t, z.at.node.index)) continue;
    int n;
    const uint32_t *operand = node_operands(t, z.at.node.index, &n);
    if (n != 2 || operand[k] != x.at.node.index) continue;         /* simplified: another operation */
    for (int sign = 0; sign < 2; sign++) {
      const double g = sign ? -0.0 : 0, to = passed(which, g, c);
      if (to == 0) unasked += mask_counts(t, z.at.node.index, k) == 0;
      else CHECK_THAT(mask_counts(t, z.at.node.index, k) != 0, "%d, %g: 0 becomes %g", which, c, to);
      if (!mask_keeps_zeros(t, z.at.node.index, k)) continue;
      CHECK_THAT(to == 0 && signbit(to) == signbit(g), "%d, %g: %g becomes %g", which, c, g, to);
      kept++;
    }
  }
  CHECK_THAT(unasked > 20 && kept > 20, "%d unasked, %d kept", unasked, kept);
  ad_tape_free(t);
}

int main(void) {
  uint64_t state = 20;
  test_rows();
  test_powers();
  test_linear();
  for (int64_t m = 0; m < 3; m++)
    for (int64_t k = 0; k < 3; k++)
      for (int64_t n = 0; n < 3; n++) test_empty(m, k, n);
  CHECK(failing_calls(derive_with, NULL, false) > 100);
  for (size_t i = 0; i < sizeof subjects/sizeof *subjects; i++) {
    others = general;
    test_subject(&subjects[i], general_point, &state);
    if (subjects[i].where == ALWAYS) test_subject(&subjects[i], zero_point, &state);
  }
  return check_summary();
}
