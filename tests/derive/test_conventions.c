/* test_conventions.c -- docs/conventions.md, point by point, in every mode: the numeric sweep, recorded
 * forward and reverse mode, Taylor series, functions run by the interpreter and by lanes; on scalars and
 * arrays; in f64 and f32.
 *
 * Points are the rows of conventions.def. Points of arrays (slices, ties along an axis) are below. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"

enum { OPERANDS = 3, MOST = 6 };

/* --- problems ------------------------------------------------------------------------------------------- */

/* One expression at one point. want[i*MOST + e] is the derivative of the sum of the result by element e of
 * operand i; when the result has the shape of the operands, only element e of the result counts, and
 * `other` elements are not looked at. */
typedef struct problem {
  const char *name;
  ad_body *body;
  int n;                            /* operands */
  ad_type type;
  double x[OPERANDS*MOST], want[OPERANDS*MOST];
  bool looked_at[MOST];
  bool second_is_zero;
} problem;

static double tolerance_of(const problem *p) { return p->type.dtype == AD_F32 ? 2e-6 : 1e-14; }

static void expect(const problem *p, const char *mode, int i, int64_t e, double got) {
  if (!p->looked_at[e]) return;
  const double want = p->want[i*MOST + e];
  CHECK_THAT(check_near(got, want, tolerance_of(p)), "%s, %s %s: derivative by operand %d is %g, not %g",
             p->name, mode, p->type.rank ? "of an array" : "of a scalar", i, got, want);
}

static void expect_zero(const problem *p, const char *mode, int64_t e, double got) {
  if (p->looked_at[e])
    CHECK_THAT(got == 0, "%s, %s %s: second derivative is %g, not 0", p->name, mode,
               p->type.rank ? "of an array" : "of a scalar", got);
}

/* The values of operand i as bytes of the problem's type. */
static const void *bytes_of(const problem *p, int i, double *room) {
  for (int64_t e = 0; e < ad_type_count(p->type); e++)
    check_set_element(p->type.dtype, room, e, p->x[i * MOST + e]);
  return room;
}

typedef struct recorded { ad_tape *t; ad_var x[OPERANDS], y; } recorded;

static recorded record(const problem *p) {
  recorded r = { .t = ad_tape_new() };
  double room[MOST];
  for (int i = 0; i < p->n; i++) r.x[i] = ad_array(r.t, p->type, bytes_of(p, i, room));
  p->body(r.t, r.x, &r.y, NULL);
  return r;
}

static void finish(const problem *p, const recorded *r, const char *mode) {
  CHECK_THAT(ad_tape_status(r->t) == AD_OK, "%s, %s: %s", p->name, mode, ad_tape_message(r->t));
  ad_tape_free(r->t);
}

/* Element e of v, or v itself where it is a scalar. */
static double read_one(ad_var v, int64_t e) {
  double room[MOST] = { 0 };
  const ad_type type = ad_type_of(v);
  if (ad_read(v, room) != AD_OK) return -12345;
  return check_element(type.dtype, room, type.rank ? e : 0);
}

/* The unit array along element e. */
static ad_var unit(ad_tape *t, ad_type type, int64_t e) {
  double room[MOST] = { 0 };
  check_set_element(type.dtype, room, e, 1);
  return ad_constant(t, type, room);
}

/* --- first order ---------------------------------------------------------------------------------------- */

static void test_backward(const problem *p) {
  recorded r = record(p);
  double room[MOST];
  CHECK_STATUS(ad_backward(r.y), AD_OK);
  for (int i = 0; i < p->n; i++) {
    CHECK_STATUS(ad_read_adjoint(r.x[i], room), AD_OK);
    for (int64_t e = 0; e < ad_type_count(p->type); e++)
      expect(p, "backward", i, e, check_element(p->type.dtype, room, e));
  }
  finish(p, &r, "backward");
}

static void test_vjp(const problem *p) {
  recorded r = record(p);
  ad_var dx[OPERANDS];
  CHECK_STATUS(ad_vjp(1, &r.y, NULL, p->n, r.x, dx), AD_OK);
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++) expect(p, "vjp", i, e, read_one(dx[i], e));
  finish(p, &r, "vjp");
}

static void test_jvp(const problem *p) {
  recorded r = record(p);
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++) {
      ad_var ydot;
      const ad_var xdot = unit(r.t, p->type, e);
      CHECK_STATUS(ad_jvp(1, &r.x[i], &xdot, 1, &r.y, &ydot), AD_OK);
      expect(p, "jvp", i, e, read_one(ydot, e));
    }
  finish(p, &r, "jvp");
}

static void test_taylor(const problem *p) {
  recorded r = record(p);
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++) {
      ad_var c[3];
      const ad_var xc[2] = { unit(r.t, p->type, e), ad_none() };
      CHECK_STATUS(ad_taylor(1, 1, &r.x[i], xc, 1, &r.y, c), AD_OK);
      expect(p, "taylor", i, e, read_one(c[1], e));
      if (!p->second_is_zero) continue;
      CHECK_STATUS(ad_taylor(2, 1, &r.x[i], xc, 1, &r.y, c), AD_OK);
      expect(p, "taylor of order 2", i, e, read_one(c[1], e));
      expect_zero(p, "taylor", e, read_one(c[2], e));
    }
  finish(p, &r, "taylor");
}

/* --- second order, where it is zero --------------------------------------------------------------------- */

static void test_reverse_twice(const problem *p, bool forward_after) {
  const char *mode = forward_after ? "jvp of vjp" : "vjp of vjp";
  recorded r = record(p);
  ad_var dx[OPERANDS], second[OPERANDS];
  CHECK_STATUS(ad_vjp(1, &r.y, NULL, p->n, r.x, dx), AD_OK);
  for (int i = 0; i < p->n; i++) {
    for (int64_t e = 0; e < ad_type_count(p->type); e++) {
      const ad_var seed = unit(r.t, p->type, e);
      if (forward_after) {
        CHECK_STATUS(ad_jvp(1, &r.x[i], &seed, p->n, dx, second), AD_OK);
      } else {
        CHECK_STATUS(ad_vjp(1, &dx[i], &seed, p->n, r.x, second), AD_OK);
      }
      for (int k = 0; k < p->n; k++) expect_zero(p, mode, e, read_one(second[k], e));
    }
  }
  finish(p, &r, mode);
}

static void test_forward_twice(const problem *p, bool reverse_after) {
  const char *mode = reverse_after ? "vjp of jvp" : "jvp of jvp";
  recorded r = record(p);
  ad_var ydot, second[OPERANDS];
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++) {
      const ad_var xdot = unit(r.t, p->type, e);
      CHECK_STATUS(ad_jvp(1, &r.x[i], &xdot, 1, &r.y, &ydot), AD_OK);
      if (reverse_after) {
        CHECK_STATUS(ad_vjp(1, &ydot, NULL, p->n, r.x, second), AD_OK);
      } else {
        for (int k = 0; k < p->n; k++) CHECK_STATUS(ad_jvp(1, &r.x[k], &xdot, 1, &ydot, &second[k]), AD_OK);
      }
      for (int k = 0; k < p->n; k++) expect_zero(p, mode, e, read_one(second[k], e));
    }
  finish(p, &r, mode);
}

/* --- functions ------------------------------------------------------------------------------------------ */

typedef struct call_room {
  double x[OPERANDS][MOST], out[1 + OPERANDS][MOST];
  const void *in[2 * OPERANDS];
  void *to[1 + OPERANDS];
} call_room;

static void fill_call(const problem *p, call_room *c) {
  memset(c, 0, sizeof *c);
  for (int i = 0; i < p->n; i++) c->in[i] = bytes_of(p, i, c->x[i]);
  for (int j = 0; j <= p->n; j++) c->to[j] = c->out[j];
}

static void test_function_reverse(const problem *p, ad_function *f) {
  double ones[MOST];
  call_room c;
  ad_function *g = ad_function_vjp(f);
  for (int64_t e = 0; e < MOST; e++) check_set_element(p->type.dtype, ones, e, 1);
  fill_call(p, &c);
  c.in[p->n] = ones;
  CHECK_STATUS(ad_function_call(g, c.in, c.to, NULL), AD_OK);
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++)
      expect(p, "function's vjp", i, e, check_element(p->type.dtype, c.out[1 + i], e));
  ad_function_free(g);
}

/* The tangent along one operand. (The whole function's jvp would take zeros for the tangents of the
 * others, and 0*inf is nan.) */
typedef struct direction { const problem *p; int operand; } direction;
static void tangent_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const direction *d = context;
  ad_var y;
  d->p->body(t, in, &y, NULL);
  ad_jvp(1, &in[d->operand], &in[d->p->n], 1, &y, out);
}

static void test_function_forward(const problem *p) {
  const ad_type types[OPERANDS + 1] = { p->type, p->type, p->type, p->type };
  for (int i = 0; i < p->n; i++) {
    direction d = { p, i };
    ad_function *g = ad_function_trace("tangent", tangent_body, &d, p->n + 1, types, 1);
    for (int64_t e = 0; e < ad_type_count(p->type); e++) {
      double xdot[MOST] = { 0 };
      call_room c;
      fill_call(p, &c);
      check_set_element(p->type.dtype, xdot, e, 1);
      c.in[p->n] = xdot;
      CHECK_STATUS(ad_function_call(g, c.in, c.to, NULL), AD_OK);
      expect(p, "function's jvp", i, e,
             check_element(p->type.dtype, c.out[0], ad_function_output_type(g, 0).rank ? e : 0));
    }
    ad_function_free(g);
  }
}

static void test_function_gradient(const problem *p, ad_function *f) {
  ad_function *g = ad_function_gradient(f, 0, NULL);
  call_room c;
  fill_call(p, &c);
  CHECK_STATUS(ad_function_call(g, c.in, c.to, NULL), AD_OK);
  for (int i = 0; i < p->n; i++)
    for (int64_t e = 0; e < ad_type_count(p->type); e++)
      expect(p, "function's gradient", i, e, check_element(p->type.dtype, c.out[1 + i], e));
  ad_function_free(g);
}

/* The gradient at many copies of the point at once. */
static void test_lanes(const problem *p, ad_function *f) {
  enum { LANES = 19 };
  double x[OPERANDS][LANES], d[OPERANDS][LANES];
  const void *in[OPERANDS] = { x[0], x[1], x[2] };
  void *out[1 + OPERANDS] = { NULL, d[0], d[1], d[2] };
  ad_function *g = ad_function_gradient(f, 0, NULL);
  for (int i = 0; i < p->n; i++)
    for (int l = 0; l < LANES; l++) check_set_element(p->type.dtype, x[i], l, p->x[i*MOST]);
  CHECK_STATUS(ad_function_call_lanes(g, LANES, in, out, NULL), AD_OK);
  for (int i = 0; i < p->n; i++) {
    expect(p, "lanes", i, 0, check_element(p->type.dtype, d[i], 0));
    expect(p, "lanes", i, 0, check_element(p->type.dtype, d[i], LANES - 1));
  }
  ad_function_free(g);
}

static void test_hessian(const problem *p, ad_function *f) {
  static double h[OPERANDS*OPERANDS][MOST*MOST];
  void *out[OPERANDS*OPERANDS];
  call_room c;
  ad_function *g = ad_function_hessian(f, 0, NULL);
  const int64_t n = ad_type_count(p->type);
  fill_call(p, &c);
  for (int k = 0; k < p->n*p->n; k++) out[k] = h[k];
  CHECK_STATUS(ad_function_call(g, c.in, out, NULL), AD_OK);
  for (int k = 0; k < p->n*p->n; k++)
    for (int64_t e = 0; e < n * n; e++)
      expect_zero(p, "function's hessian", 0, check_element(p->type.dtype, h[k], e));
  ad_function_free(g);
}

static void test_functions(const problem *p) {
  ad_type types[OPERANDS] = { p->type, p->type, p->type };
  ad_report report;
  ad_function *f = ad_function_trace_report(p->name, p->body, NULL, p->n, types, 1, &report);
  if (!CHECK_THAT(f, "%s: %s", p->name, report.message)) return;
  test_function_reverse(p, f);
  test_function_forward(p);
  if (ad_function_output_type(f, 0).rank == 0) {
    test_function_gradient(p, f);
    if (p->type.rank == 0) test_lanes(p, f);
    if (p->second_is_zero) test_hessian(p, f);
  }
  ad_function_free(f);
}

static void test_problem(const problem *p) {
  test_backward(p);
  test_vjp(p);
  test_jvp(p);
  test_taylor(p);
  test_functions(p);
  if (!p->second_is_zero) return;
  test_reverse_twice(p, false);
  test_reverse_twice(p, true);
  test_forward_twice(p, false);
  test_forward_twice(p, true);
}

/* --- points of elementwise operations ------------------------------------------------------------------- */

#define POINT(name, expression, ...) \
  static void body_##name(ad_tape *t, const ad_var in[], ad_var out[], void *context) { \
    const ad_var x = in[0], y = in[1], w = in[2]; \
    (void)t, (void)context, (void)x, (void)y, (void)w; \
    out[0] = expression; \
  }
#define CHOSEN POINT
#if defined(__GNUC__)
#  pragma GCC diagnostic ignored "-Wunused-value"
#endif
#include "conventions.def"

typedef struct point {
  const char *name;
  ad_body *body;
  bool chosen;
  double x[OPERANDS], want[OPERANDS];
} point;
static const point points[] = {
#define POINT(name, expression, x, y, w, dx, dy, dw)                                                         \
  { #name, body_##name, false, { x, y, w }, { dx, dy, dw } },
#define CHOSEN(name, expression, x, y, w, dx, dy, dw)                                                        \
  { #name, body_##name, true, { x, y, w }, { dx, dy, dw } },
#include "conventions.def"
};

/* The point alone, and between harmless neighbours. Denormals and sizes that f32 does not have are left
 * out there. */
static void test_point(const point *c, ad_dtype dtype) {
  static const double neighbour[OPERANDS] = { 0.6, 0.7, 0.9 };
  problem p = { .name = c->name, .body = c->body, .n = OPERANDS, .second_is_zero = c->chosen };
  p.type = ad_type_make(dtype, 0, NULL);
  p.looked_at[0] = true;
  for (int i = 0; i < OPERANDS; i++) p.x[i*MOST] = c->x[i], p.want[i*MOST] = c->want[i];
  test_problem(&p);
  const int64_t three = 3;
  p.type = ad_type_make(dtype, 1, &three);
  p.looked_at[0] = false, p.looked_at[1] = true;
  for (int i = 0; i < OPERANDS; i++) {
    p.x[i*MOST] = p.x[i*MOST + 2] = neighbour[i];
    p.x[i*MOST + 1] = c->x[i], p.want[i*MOST + 1] = c->want[i];
  }
  test_problem(&p);
}

/* --- points of arrays ----------------------------------------------------------------------------------- */

#define BODY(name, expression) \
  static void array_##name(ad_tape *t, const ad_var in[], ad_var out[], void *context) { \
    const ad_var v = in[0]; \
    (void)t, (void)context; \
    out[0] = expression; \
  }

static ad_var at(ad_var v, int64_t i) { return ad_at(v, 1, &i); }
static ad_var all(ad_var v) { return ad_sum(v, AD_ALL_AXES, false); }
static ad_var indices(ad_tape *t, int64_t i, int64_t j) {
  return ad_constant(t, AD_I64(2), (const int64_t[]){ i, j });
}
static ad_var square_matrix(ad_var v) { return ad_reshape(v, 2, (const int64_t[]){ 2, 2 }); }
static ad_var part(ad_var v, int64_t start, int64_t count) { return ad_slice(v, 0, start, count, 1); }

static ad_var first_of_concat(ad_var v) {
  const ad_var parts[] = { ad_sqrt(part(v, 0, 1)), ad_reciprocal(part(v, 1, 1)) };
  return at(ad_concat(2, parts, 0), 0);
}
static ad_var first_of_stack(ad_var v) {
  const ad_var parts[] = { ad_sqrt(at(v, 0)), ad_log(at(v, 1)) };
  return at(ad_stack(2, parts, 0), 0);
}
static ad_var first_of_split(ad_var v) {
  ad_var parts[2];
  ad_split(ad_sqrt(v), 0, 2, NULL, parts);
  return all(parts[0]);
}
static ad_var first_of_padded(ad_var v) {
  const int64_t one = 1;
  return at(ad_pad(ad_sqrt(v), &one, &one, AD_VAR(0.0)), 1);
}

BODY(first_root, at(ad_sqrt(v), 0))
BODY(sliced_root, all(part(ad_sqrt(v), 0, 1)))
BODY(reversed_root, at(ad_slice(ad_sqrt(v), 0, -1, 2, -1), 1))
BODY(flipped_root, at(ad_flip(ad_sqrt(v), AD_ALL_AXES), 1))
BODY(taken_root, all(ad_take(ad_sqrt(v), indices(t, 0, 0), 0)))
BODY(gathered_root, all(ad_gather(ad_sqrt(v), indices(t, 0, 0), 0)))
BODY(two_slices, ad_add(at(ad_sqrt(v), 0), ad_mul(3, at(ad_sqrt(v), 0))))
BODY(slice_times_other, ad_mul(at(ad_sqrt(v), 0), at(v, 1)))
BODY(concat, first_of_concat(v))
BODY(stack, first_of_stack(v))
BODY(split, first_of_split(v))
BODY(pad, first_of_padded(v))
BODY(reshaped, at(at(ad_reshape(ad_sqrt(v), 2, (const int64_t[]){ 2, 1 }), 0), 0))
BODY(tiled, at(ad_tile(ad_sqrt(v), 1, (const int64_t[]){ 2 }), 2))
BODY(triangle, all(ad_tril(ad_sqrt(square_matrix(v)), 0)))
BODY(diagonal, all(ad_diag(ad_sqrt(square_matrix(v)), 0)))
BODY(trace, ad_trace(ad_sqrt(square_matrix(v))))
BODY(transposed, at(at(ad_transpose(ad_sqrt(square_matrix(v)), NULL), 1), 0))
BODY(masked_log, all(ad_select(ad_greater(v, 0), ad_log(v), 0.0)))
BODY(max_of_roots, all(ad_max(ad_sqrt(v), 1)))
BODY(roots_of_relu, all(ad_sqrt(ad_relu(v))))
BODY(mean_root_of_relu, ad_mean(ad_sqrt(ad_relu(v)), AD_ALL_AXES, false))
BODY(root_of_relu_of_sum, ad_sqrt(ad_relu(all(v))))
BODY(largest, ad_reduce_max(v, AD_ALL_AXES, false))
BODY(largest_root, ad_reduce_max(ad_sqrt(v), AD_ALL_AXES, false))
BODY(smallest, ad_reduce_min(v, AD_ALL_AXES, false))
BODY(smallest_reciprocal, ad_reduce_min(ad_reciprocal(v), AD_ALL_AXES, false))
BODY(sorted_root, at(ad_sort(ad_sqrt(v), 0, false), 1))
BODY(norm, ad_norm(v, AD_ALL_AXES, false))
BODY(prod, ad_prod(v, AD_ALL_AXES, false))
BODY(last_cumprod, at(ad_cumprod(v, 0), 2))
BODY(logsumexp, ad_logsumexp(v, AD_ALL_AXES, false))
BODY(relu_of_mean_of_roots, ad_relu(ad_mean(ad_sqrt(v), AD_ALL_AXES, false)))
BODY(relu_of_sum_of_roots, ad_relu(ad_sum(ad_sqrt(v), AD_ALL_AXES, false)))
BODY(relu_of_product_of_roots, ad_relu(ad_prod(ad_sqrt(v), AD_ALL_AXES, false)))
BODY(relu_of_dot_of_roots, ad_relu(ad_neg(ad_dot(ad_sqrt(v), ad_sqrt(v)))))
BODY(relu_of_largest_root, ad_relu(ad_reduce_max(ad_sqrt(v), AD_ALL_AXES, false)))
BODY(one_select_of_logs, all(ad_select(ad_greater(all(v), 0), ad_log(v), ad_mul(3, v))))
/* Behind operations with weights of either sign; v is two rows of two. */
static ad_var weights(ad_var v) {
  static const double w[] = { 1, -2, 0, 3 };
  return ad_cast(ad_constant(v.tape, AD_F64(2, 2), w), ad_type_of(v).dtype);
}
static ad_var row_sums(ad_var v) { return ad_sum(v, AD_AXES(1), false); }
static ad_var layer(ad_var v) { return ad_relu(ad_matmul(square_matrix(v), weights(v))); }
static ad_var squared(ad_var v) { return ad_einsum("ij,kj->ik", 2, (const ad_var[]){ v, v }); }

BODY(roots_of_product_of_relu, all(ad_sqrt(ad_square(ad_matmul(ad_relu(square_matrix(v)), weights(v))))))
BODY(roots_of_turned_product, all(ad_sqrt(ad_abs(ad_matmul(weights(v), ad_relu(v))))))
BODY(roots_of_two_products,
     all(ad_sqrt(ad_neg(ad_matmul(ad_matmul(weights(v), weights(v)), ad_neg(ad_relu(v)))))))
BODY(logs_of_dot_of_relu, ad_log(ad_dot(ad_relu(v), v)))
BODY(roots_of_outer_of_relu, all(ad_sqrt(ad_outer(ad_relu(v), ad_relu(v)))))
BODY(roots_of_einsum_of_relu, all(ad_sqrt(squared(ad_relu(square_matrix(v))))))
BODY(roots_of_products_of_relu, all(ad_sqrt(ad_prod(ad_relu(square_matrix(v)), AD_AXES(1), false))))
BODY(roots_of_cumprods_of_relu, all(ad_sqrt(ad_cumprod(ad_relu(square_matrix(v)), 1))))
BODY(logs_of_norms_of_relu, all(ad_cbrt(ad_norm(ad_relu(square_matrix(v)), AD_AXES(1), false))))
BODY(roots_of_variances_of_relu, all(ad_sqrt(ad_variance(ad_relu(square_matrix(v)), AD_AXES(1), false, 1))))
BODY(roots_of_logsumexp_of_relu,
     all(ad_sqrt(ad_sub(ad_logsumexp(ad_relu(square_matrix(v)), AD_AXES(1), false), 0.69314718055994530942))))
BODY(roots_of_narrowed_relu, all(ad_sqrt(ad_cast(ad_relu(v), AD_F32))))
BODY(relu_of_product_of_matrix_of_roots, all(layer(ad_sqrt(v))))
BODY(relu_of_product_of_roots_of_rows,
     all(ad_relu(ad_neg(ad_prod(ad_sqrt(square_matrix(v)), AD_AXES(1), false)))))
BODY(relu_of_norms_of_roots, all(ad_relu(ad_neg(ad_norm(ad_sqrt(square_matrix(v)), AD_AXES(1), false)))))
BODY(relu_of_outer_of_roots, all(ad_relu(ad_neg(ad_outer(ad_sqrt(v), ad_sqrt(v))))))
BODY(layer_of_layer_of_roots, all(layer(layer(ad_sqrt(v)))))
BODY(root_of_one_row, all(ad_sqrt(row_sums(layer(v)))))
BODY(one_of_products, at(ad_mul(v, ad_log(v)), 0))
BODY(some_of_products, all(part(ad_neg(ad_mul(3, ad_mul(v, ad_log(v)))), 0, 1)))
BODY(honest, all(ad_sqrt(ad_square(v))))

typedef struct array_point {
  const char *name;
  ad_body *body;
  bool chosen;
  int count;
  double x[MOST], want[MOST];
} array_point;
#define AT(name, chosen, count, ...) { #name, array_##name, chosen, count, __VA_ARGS__ },
static const array_point array_points[] = {
  AT(first_root, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(sliced_root, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(reversed_root, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(flipped_root, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(taken_root, false, 2, { 1, 0 }, { 1, 0 })
  AT(gathered_root, false, 2, { 1, 0 }, { 1, 0 })
  AT(two_slices, false, 2, { 1, 0 }, { 2, 0 })
  AT(slice_times_other, false, 2, { 1, 0 }, { 0, 1 })
  AT(concat, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(stack, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(split, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(pad, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(reshaped, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(tiled, false, 2, { 1, 0 }, { 0.5, 0 })
  AT(triangle, false, 4, { 1, 0, 4, 1 }, { 0.5, 0, 0.25, 0.5 })
  AT(diagonal, false, 4, { 1, 0, 0, 4 }, { 0.5, 0, 0, 0.25 })
  AT(trace, false, 4, { 1, 0, 0, 4 }, { 0.5, 0, 0, 0.25 })
  AT(transposed, false, 4, { 0, 4, 0, 0 }, { 0, 0.25, 0, 0 })
  AT(masked_log, false, 3, { 1, 0, -1 }, { 1, 0, 0 })
  AT(max_of_roots, true, 2, { 0, 0 }, { 0, 0 })
  AT(max_of_roots, false, 3, { 0, 0.5, 4 }, { 0, 0, 0.25 })
  AT(roots_of_relu, true, 3, { -1, -2, -3 }, { 0, 0, 0 })
  AT(roots_of_relu, false, 3, { -1, 4, -3 }, { 0, 0.25, 0 })
  AT(mean_root_of_relu, false, 2, { -1, 4 }, { 0, 0.125 })
  AT(root_of_relu_of_sum, true, 3, { -1, -2, 1 }, { 0, 0, 0 })
  AT(largest, false, 3, { 1, 3, 3 }, { 0, 0.5, 0.5 })
  AT(largest, false, 4, { 2, 2, 2, 2 }, { 0.25, 0.25, 0.25, 0.25 })
  AT(largest_root, false, 2, { 0, 4 }, { 0, 0.25 })
  AT(smallest, false, 3, { 1, 3, 1 }, { 0.5, 0, 0.5 })
  AT(smallest_reciprocal, false, 2, { 0, 2 }, { 0, -0.25 })
  AT(sorted_root, false, 2, { 4, 0 }, { 0.25, 0 })
  AT(norm, false, 3, { 0, 0, 0 }, { 0, 0, 0 })
  AT(norm, false, 2, { 3e-30, 4e-30 }, { 0.6, 0.8 })
  AT(prod, false, 3, { 0, 3, 2 }, { 6, 0, 0 })
  AT(prod, false, 3, { 0, 3, 0 }, { 0, 0, 0 })
  AT(last_cumprod, false, 3, { 0, 3, 2 }, { 6, 0, 0 })
  AT(logsumexp, false, 2, { -INFINITY, 0 }, { 0, 1 })
  AT(relu_of_mean_of_roots, true, 2, { 0, 0 }, { 0, 0 })
  AT(relu_of_sum_of_roots, true, 2, { 0, 0 }, { 0, 0 })
  AT(relu_of_product_of_roots, true, 2, { 0, 0 }, { 0, 0 })
  AT(relu_of_dot_of_roots, true, 2, { 0, 4 }, { 0, 0 })
  AT(relu_of_largest_root, true, 2, { 0, 0 }, { 0, 0 })
  AT(one_select_of_logs, true, 2, { 0, -1 }, { 3, 3 })
  AT(roots_of_turned_product, true, 2, { -1, -4 }, { 0, 0 })
  AT(roots_of_two_products, true, 2, { -1, -4 }, { 0, 0 })
  AT(logs_of_dot_of_relu, false, 2, { 2, -1 }, { 1, 0 })
  AT(roots_of_outer_of_relu, true, 2, { -1, -4 }, { 0, 0 })
  AT(roots_of_product_of_relu, false, 4, { -1, -2, 1, 1 }, { 0, 0, -1, 3 })
  AT(roots_of_einsum_of_relu, true, 4, { -1, -4, -1, -2 }, { 0, 0, 0, 0 })
  AT(root_of_one_row, false, 4, { -1, -1, 1, 1 }, { 0, 0, -0.35355339059327376, 1.0606601717798212 })
  AT(roots_of_products_of_relu, true, 4, { -1, -4, -1, -2 }, { 0, 0, 0, 0 })
  AT(roots_of_products_of_relu, false, 4, { -1, -4, 1, 4 }, { 0, 0, 1, 0.25 })
  AT(roots_of_cumprods_of_relu, false, 4, { -1, -4, 4, 1 }, { 0, 0, 0.5, 1 })
  AT(logs_of_norms_of_relu, true, 4, { -1, -4, -1, -2 }, { 0, 0, 0, 0 })
  AT(roots_of_variances_of_relu, true, 4, { -1, -4, -1, -2 }, { 0, 0, 0, 0 })
  AT(roots_of_logsumexp_of_relu, false, 4, { -1, -4, -1, -2 }, { 0, 0, 0, 0 })
  AT(relu_of_product_of_matrix_of_roots, true, 4, { 0, 0, 0, 0 }, { 0, 0, 0, 0 })
  AT(relu_of_product_of_roots_of_rows, true, 4, { 0, 4, 0, 0 }, { 0, 0, 0, 0 })
  AT(relu_of_norms_of_roots, true, 4, { 0, 4, 0, 0 }, { 0, 0, 0, 0 })
  AT(relu_of_outer_of_roots, true, 3, { 0, 4, 0 }, { 0, 0, 0 })
  AT(layer_of_layer_of_roots, true, 4, { 0, 0, 0, 0 }, { 0, 0, 0, 0 })
  AT(roots_of_narrowed_relu, true, 3, { -1, -2, -3 }, { 0, 0, 0 })
  AT(one_of_products, false, 2, { 1, 0 }, { 1, 0 })
  AT(some_of_products, false, 2, { 1, 0 }, { -3, 0 })
  AT(honest, false, 1, { 0 }, { NAN })
};

static void test_array_point(const array_point *c, ad_dtype dtype) {
  const int64_t count = c->count;
  problem p = { .name = c->name,
                .body = c->body,
                .n = 1,
                .type = ad_type_make(dtype, 1, &count),
                .second_is_zero = c->chosen };
  for (int64_t e = 0; e < count; e++) p.x[e] = c->x[e], p.want[e] = c->want[e], p.looked_at[e] = true;
  test_problem(&p);
}

/* In forward mode a given zero tangent meets an infinite slope: 0*inf is nan by rule 6. These look at one
 * mode of one problem. */
static void test_jvp_of_masked_arrays(void) {
  ad_tape *t = ad_tape_new();
  const ad_var v = ad_array(t, AD_F64(3), (const double[]){ 1, 0, -1 }),
               one = ad_constant(t, AD_F64(3), (const double[]){ 1, 1, 1 });
  const ad_var y = ad_select(ad_greater(v, 0), ad_log(v), ad_mul(2, v));
  ad_var ydot;
  double d[3];
  CHECK_STATUS(ad_jvp(1, &v, &one, 1, &y, &ydot), AD_OK);
  CHECK_STATUS(ad_read(ydot, d), AD_OK);
  CHECK(d[0] == 1 && d[1] == 2 && d[2] == 2);
  ad_tape_free(t);
}

int main(void) {
  static const ad_dtype dtypes[] = { AD_F64, AD_F32 };
  for (int d = 0; d < 2; d++) {
    for (size_t i = 0; i < sizeof points/sizeof *points; i++) test_point(&points[i], dtypes[d]);
    for (size_t i = 0; i < sizeof array_points / sizeof *array_points; i++)
      test_array_point(&array_points[i], dtypes[d]);
  }
  test_jvp_of_masked_arrays();
  return check_summary();
}
