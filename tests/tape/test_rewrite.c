/* test_rewrite.c -- simplification while tracing: both sides of every row of rewrites.def, compiled by C
 * and run by the library, values and gradients; folding; what must not be simplified. */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "function/function.h"
#include "heap.h"
#include "primitives/library.h"
#include "primitives/rule.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static void check(bool good, const char *what, const char *of) {
  if (good) passed++;
  else if (failed++ < 40) printf("FAILED: %s: %s\n", what, of);
}

static bool same(double a, double b) { return a == b || (a != a && b != b); }
static bool close_to(double a, double b, double epsilon) {
  return same(a, b) || fabs(a - b) <= 4*epsilon*fabs(b);
}

/* --- both sides in C ------------------------------------------------------------------------------------ */

/* Letters of the rows stand as conditions, whatever their type. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wfloat-conversion"

/* Rows whose names C does not have. */
static double row_value(elementwise_id row, double x) {
  return elementwise_rows[row].evaluate(x, 0, 0, 0);
}
static float row_valuef(elementwise_id row, float x) {
  return elementwise_rows[row].evaluate_f32(x, 0, 0, 0);
}
#define square(x)     MATH(row_value)(ROW_square, x)
#define reciprocal(x) MATH(row_value)(ROW_reciprocal, x)
#define relu(x)       MATH(row_value)(ROW_relu, x)
#define sign(x)       MATH(row_value)(ROW_sign, x)

#define C(k) ((REAL)k)
#define REAL float
#define MATH(name) name##f
#define HELPER(name) name##_in_f32
#include "primitives/helpers.h"
#include "primitives/row_names.h"

enum { PLAIN, FLOATS, BOOLS, FINITE };

#define SIDES(function, left, right) \
  static void function(double side[2], REAL x, REAL y, REAL w) { \
    (void)x, (void)y, (void)w; \
    side[0] = (double)(left); \
    side[1] = (double)(right); \
  }
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define REWRITE(root, left, right)        SIDES(JOIN(sides_f32_, __LINE__), left, right)
#define REWRITE_FLOAT(root, left, right)  SIDES(JOIN(sides_f32_, __LINE__), left, right)
#define REWRITE_BOOL(root, left, right)   SIDES(JOIN(sides_f32_, __LINE__), left, right)
#define REWRITE_FINITE(root, left, right) SIDES(JOIN(sides_f32_, __LINE__), left, right)
#include "primitives/rewrites.def"

#undef REAL
#undef MATH
#undef HELPER
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#define REWRITE(root, left, right)        SIDES(JOIN(sides_f64_, __LINE__), left, right)
#define REWRITE_FLOAT(root, left, right)  SIDES(JOIN(sides_f64_, __LINE__), left, right)
#define REWRITE_BOOL(root, left, right)   SIDES(JOIN(sides_f64_, __LINE__), left, right)
#define REWRITE_FINITE(root, left, right) SIDES(JOIN(sides_f64_, __LINE__), left, right)
#include "primitives/rewrites.def"

#pragma GCC diagnostic pop

typedef struct row {
  elementwise_id root;
  int kind;
  const char *text, *left, *right;
  void (*f64)(double side[2], double x, double y, double w);
  void (*f32)(double side[2], float x, float y, float w);
} row;

static const row rows[] = {
#define REWRITE(root, left, right) \
  { ROW_##root, PLAIN, #left " -> " #right, #left, #right, JOIN(sides_f64_, __LINE__), \
    JOIN(sides_f32_, __LINE__) },
#define REWRITE_FLOAT(root, left, right) \
  { ROW_##root, FLOATS, #left " -> " #right, #left, #right, JOIN(sides_f64_, __LINE__), \
    JOIN(sides_f32_, __LINE__) },
#define REWRITE_BOOL(root, left, right) \
  { ROW_##root, BOOLS, #left " -> " #right, #left, #right, JOIN(sides_f64_, __LINE__), \
    JOIN(sides_f32_, __LINE__) },
#define REWRITE_FINITE(root, left, right) \
  { ROW_##root, FINITE, #left " -> " #right, #left, #right, JOIN(sides_f64_, __LINE__), \
    JOIN(sides_f32_, __LINE__) },
#include "primitives/rewrites.def"
};
enum { ROWS = sizeof rows/sizeof *rows };

static const double points[] = { 0.0, -0.0, 1, -1, 0.5, -2.5, 3, 2.5, INFINITY, -INFINITY, NAN, 5e-324,
                                 -1e-310, DBL_MAX, -DBL_MAX,
                                 1e-40, -1e30, 20, FLT_MAX, 0x1p53 + 2 };
enum { POINTS = sizeof points/sizeof *points };

/* The letters of a row, as bits. */
static unsigned letters_of(const row *r) {
  rule left, right;
  if (rule_read(&memory_standard, r->left, &left, NULL, 0) != AD_OK) return 0;
  if (rule_read(&memory_standard, r->right, &right, NULL, 0) != AD_OK) return 0;
  return left.letters | right.letters;
}

typedef void visit(const row *r, const double at[3], void *context);

static bool is_sample(const row *r, double v) {
  if (r->kind == BOOLS) return (v == 0 && !signbit(v)) || v == 1;
  return r->kind != FINITE || ((float)v != 0 && isfinite((float)v));
}

/* Calls v at every combination of points for the letters that occur. Those of BOOL rows are 0 and 1, those of
 * FINITE rows finite and not 0 in f32 too. */
static void at_points(const row *r, visit *v, void *context) {
  const unsigned letters = letters_of(r);
  const int n[3] = { letters & 1 ? POINTS : 1, letters & 2 ? POINTS : 1, letters & 4 ? POINTS : 1 };
  for (int i = 0; i < n[0]; i++)
    for (int j = 0; j < n[1]; j++)
      for (int k = 0; k < n[2]; k++) {
        const double at[3] = { points[i], points[j], points[k] };
        bool fits = true;
        for (int l = 0; l < 3; l++)
          if (n[l] > 1) fits &= is_sample(r, at[l]);
        if (fits) v(r, at, context);
      }
}

static void compare_sides(const row *r, const double at[3], void *context) {
  bool *good = context;
  double side[2];
  r->f64(side, at[0], at[1], at[2]);
  *good &= same(side[0], side[1]);
  r->f32(side, (float)at[0], (float)at[1], (float)at[2]);
  *good &= same(side[0], side[1]);
}

static void test_both_sides_agree_in_c(void) {
  for (int i = 0; i < ROWS; i++) {
    bool good = true;
    at_points(&rows[i], compare_sides, &good);
    check(good, "both sides compiled by C", rows[i].text);
  }
}

/* --- both sides in the library -------------------------------------------------------------------------- */

/* Records a text on letters. Numbers of rows on bools are bools. */
static ad_var record(ad_tape *t, const char *text, const ad_var letter[3], bool bools) {
  rule r;
  ad_var out[RULE_STEPS];
  if (rule_read(&memory_standard, text, &r, NULL, 0) != AD_OK) return ad_none();
  for (int i = 0; i < r.count; i++) {
    const rule_step *s = &r.step[i];
    const uint8_t truth = s->number != 0;
    if (s->kind == RULE_LETTER) out[i] = letter[s->letter];
    else if (s->kind == RULE_NUMBER)
      out[i] = bools ? ad_constant(t, AD_BOOL(), &truth) : ad_integer((long long)s->number);
    else {
      ad_var x[3];
      const int n = elementwise_rows[s->row].arity;
      for (int k = 0; k < n; k++) x[k] = out[s->operand[k]];
      const ad_var a = s->attribute < 0 ? ad_integer(0) : out[s->attribute];
      out[i] = tape_record_row(s->row, n, x, (double)a.at.integer);
    }
  }
  return out[r.count - 1];
}

static void body_of_left(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const row *r = context;
  out[0] = record(t, r->left, in, r->kind == BOOLS);
}

static void body_of_both(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const row *r = context;
  const bool bools = r->kind == BOOLS;
  out[0] = record(t, r->left, in, bools);
  out[1] = record(t, r->right, in, bools);
  const bool number = !strcmp(r->right, "0") || !strcmp(r->right, "1");
  if (number) out[1] = ad_full(t, ad_type_of(out[0]), r->right[0] - '0');
}

static bool in_dtype(const row *r, ad_dtype dtype) {
  if (r->kind == BOOLS) return dtype == AD_BOOL;
  return dtype >= AD_F32 || (r->kind == PLAIN && dtype != AD_BOOL);
}

static void test_every_row_applies(void) {
  for (int i = 0; i < ROWS; i++) {
    rule r;
    const bool readable = rule_read(&memory_standard, rows[i].left, &r, NULL, 0) == AD_OK;
    const rule_step *last = &r.step[readable ? r.count - 1 : 0];
    check(readable && last->kind == RULE_ROW && last->row == rows[i].root,
          "the root is what the left side ends in", rows[i].text);
    for (ad_dtype d = AD_BOOL; d < AD_DTYPES; d++)
      for (int rank = 0; rank < 2; rank++) {
        if (!in_dtype(&rows[i], d)) continue;
        const ad_type type = ad_type_make(d, rank, (const int64_t[]){ 3 }), in[3] = { type, type, type };
        row copy = rows[i];
        ad_function *f = ad_function_trace("f", body_of_both, &copy, 3, in, 2);
        check(f && (f->out[0] == f->out[1]) == (rows[i].kind != FINITE), ad_dtype_name(d), rows[i].text);
        ad_function_free(f);
      }
  }
}

static void put(ad_dtype d, double v, void *to) { kernels_best()->cast[AD_F64][d](1, to, &v, NULL, NULL, 0); }

typedef struct library_case {
  ad_dtype dtype;
  ad_function *f, *gradient;
  ad_tape *eager;
  bool values, gradients;
} library_case;

static double get(ad_dtype d, const void *from) {
  double v;
  kernels_best()->cast[d][AD_F64](1, &v, from, NULL, NULL, 0);
  return v;
}

static bool call(ad_function *f, const void *const in[], void *z) {
  return ad_function_call(f, in, (void *[]){ z }, NULL) == AD_OK;
}

static bool same_gradients(library_case *c, const uint64_t in[3], const ad_var dx[3], double epsilon) {
  uint64_t d[4] = { 0 };
  bool good = ad_function_call(c->gradient, (const void *[]){ &in[0], &in[1], &in[2] },
                               (void *[]){ &d[0], &d[1], &d[2], &d[3] }, NULL) == AD_OK;
  for (int k = 0; k < 3; k++) {
    uint64_t slope = 0;
    good &= ad_read(dx[k], &slope) == AD_OK
        && close_to(get(c->dtype, &d[k + 1]), get(c->dtype, &slope), epsilon);
  }
  return good;
}

/* The traced function against the same recorded without tracing, where nothing is rewritten. */
static void compare_with_eager(const row *r, const double at[3], void *context) {
  library_case *c = context;
  const ad_mark mark = ad_tape_mark(c->eager);
  const ad_type type = ad_type_make(c->dtype, 0, NULL);
  uint64_t in[3] = { 0 }, z = 0, want = 0;
  ad_var x[3], dx[3];
  for (int k = 0; k < 3; k++) {
    put(c->dtype, at[k], &in[k]);
    x[k] = ad_array(c->eager, type, &in[k]);
  }
  const ad_var y = record(c->eager, r->left, x, r->kind == BOOLS);
  const ad_dtype result = ad_type_of(y).dtype;
  const void *data[3] = { &in[0], &in[1], &in[2] };
  const bool run = ad_read(y, &want) == AD_OK && call(c->f, data, &z);
  /* Kernels and scalar evaluation may call different libraries for sin and the like. */
  const double epsilon = c->dtype == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
  const double a = get(result, &z), b = get(result, &want);
  c->values &= run && (c->dtype >= AD_F32 ? close_to(a, b, epsilon) : a == b);
  if (c->gradient) c->gradients &= ad_grad(y, 3, x, dx) == AD_OK && same_gradients(c, in, dx, epsilon);
  ad_tape_rewind(c->eager, mark);
}

static void test_functions_agree_with_eager_tapes(void) {
  for (int i = 0; i < ROWS; i++)
    for (ad_dtype d = AD_BOOL; d < AD_DTYPES; d++) {
      if (!in_dtype(&rows[i], d)) continue;
      const ad_type type = ad_type_make(d, 0, NULL), in[3] = { type, type, type };
      row copy = rows[i];
      library_case c = { .dtype = d, .f = ad_function_trace("f", body_of_left, &copy, 3, in, 1),
                         .eager = ad_tape_new(),
                         .values = true, .gradients = true };
      if (d >= AD_F32 && ad_function_output_type(c.f, 0).dtype == d)
        c.gradient = ad_function_gradient(c.f, 0, NULL);
      at_points(&rows[i], compare_with_eager, &c);
      check(c.values, "values of traced and eager", rows[i].text);
      if (c.gradient) check(c.gradients, "gradients of traced and eager", rows[i].text);
      ad_function_free(c.f);
      ad_function_free(c.gradient);
      ad_tape_free(c.eager);
    }
}

/* --- what must stay as it is ---------------------------------------------------------------------------- */

/* Whether output 0 of a body is the same node as output 1. */
static bool simplifies(ad_body *body, ad_type x, ad_type y) {
  const ad_type in[2] = { x, y };
  ad_function *f = ad_function_trace("f", body, NULL, 2, in, 2);
  const bool one = f && f->out[0] == f->out[1];
  check(f != NULL, "traces", "simplifies");
  ad_function_free(f);
  return one;
}

#define BODY(name, z0, z1) \
  static void name(ad_tape *t, const ad_var in[], ad_var out[], void *context) { \
    const ad_var x = in[0], y = in[1]; \
    (void)context, (void)t, (void)x, (void)y; \
    out[0] = z0; \
    out[1] = z1; \
  }
BODY(max_with_0, ad_max(x, 0), ad_relu(x))
BODY(root_of_square, ad_sqrt(ad_square(x)), ad_abs(x))
BODY(square_of_abs, ad_square(ad_abs(x)), ad_square(x))
BODY(plus_scalar_zero, ad_add(x, 0), x)
BODY(plus_zeros, ad_add(x, ad_zeros(t, AD_F64(3))), x)
BODY(times_ones, ad_mul(ad_ones(t, AD_F64(2, 3)), x), x)
BODY(equal_chosen, ad_select(y, x, x), x)
BODY(same_shape, ad_reshape(x, 1, (const int64_t[]){ 3 }), x)
BODY(other_shape, ad_reshape(x, 2, (const int64_t[]){ 3, 1 }), x)
BODY(there_and_back, ad_reshape(ad_reshape(x, 2, (const int64_t[]){ 3, 1 }), 1, (const int64_t[]){ 3 }), x)
BODY(stopped, ad_stop_gradient(x), x)
BODY(swapped_sum, ad_add(x, y), ad_add(y, x))
BODY(swapped_difference, ad_sub(x, y), ad_sub(y, x))
BODY(swapped_maximum, ad_max(x, y), ad_max(y, x))
BODY(wide_and_back, ad_cast(ad_cast(x, AD_F64), AD_F32), x)
BODY(narrow_and_back, ad_cast(ad_cast(x, AD_F32), AD_F64), x)
BODY(truth_as_number, ad_cast(ad_cast(x, AD_I32), AD_F32), ad_cast(x, AD_F32))
BODY(not_of_less, ad_logical_not(ad_less(x, y)), ad_greater_equal(x, y))
BODY(equal_itself, ad_logical_not(ad_not_equal(x, x)), ad_equal(x, x))

static void test_what_stays(void) {
  const ad_type s = AD_F64(), v = AD_F64(3), m = AD_F64(2, 3), single = AD_F32();
  check(!simplifies(max_with_0, s, s), "stays", "max(x, 0) is not relu(x)");
  check(!simplifies(root_of_square, s, s), "stays", "sqrt(square(x)) is not abs(x)");
  check(!simplifies(square_of_abs, s, s), "stays", "square(abs(x)) is not square(x)");
  check(!simplifies(not_of_less, s, s), "stays", "!(x < y) is not x >= y");
  check(simplifies(equal_itself, s, s), "goes", "!(x != x) is x == x");
  check(simplifies(plus_scalar_zero, v, s), "goes", "x + 0");
  check(simplifies(plus_zeros, v, s) && simplifies(plus_zeros, m, s), "goes", "x + zeros of its shape");
  check(!simplifies(plus_zeros, s, s), "stays", "x + zeros of another shape");
  check(simplifies(times_ones, m, s) && !simplifies(times_ones, v, s), "shape decides", "x*ones");
  check(simplifies(equal_chosen, v, AD_BOOL()) && !simplifies(equal_chosen, v, AD_BOOL(2, 1)),
        "shape decides", "y ? x : x");
  check(simplifies(same_shape, v, s) && !simplifies(other_shape, v, s), "shape decides", "reshape");
  check(simplifies(there_and_back, v, s), "goes", "reshape of reshape");
  check(!simplifies(stopped, s, s), "stays", "stop_gradient");
  check(simplifies(swapped_sum, s, s) && simplifies(swapped_sum, v, m), "one node", "x + y and y + x");
  check(!simplifies(swapped_difference, s, s), "two nodes", "x - y and y - x");
  check(!simplifies(swapped_maximum, s, s), "two nodes", "max is not stated to commute");
  check(simplifies(wide_and_back, single, s), "goes", "f32 to f64 to f32");
  check(!simplifies(narrow_and_back, s, s), "stays", "f64 to f32 to f64");
  check(simplifies(truth_as_number, AD_BOOL(4), s), "goes", "bool to i32 to f32");
}

/* The user differentiates by nodes in the middle of what is traced: rewrites must not go past them. */
static void inner_derivatives(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  ad_var h = ad_neg(in[0]), r = ad_sub(in[0], in[1]), zeros = ad_zeros(t, AD_F64(2)), d;
  ad_grad(ad_add(in[1], h), 1, &h, &out[0]);
  ad_grad(ad_exp(ad_neg(r)), 1, &r, &out[1]);
  ad_var shifted = ad_add(ad_broadcast_to(in[0], 1, (const int64_t[]){ 2 }), zeros);
  ad_grad(ad_sum(ad_square(shifted), AD_ALL_AXES, false), 1, &zeros, &d);
  out[2] = d;
}

static void test_derivatives_by_inner_nodes(void) {
  const ad_type in[2] = { AD_F64(), AD_F64() };
  const double x = 3, y = 1;
  double a = 0, b = 0, c[2] = { 0 };
  ad_function *f = ad_function_trace("f", inner_derivatives, NULL, 2, in, 3);
  const bool run = ad_function_call(f, (const void *[]){ &x, &y }, (void *[]){ &a, &b, c }, NULL) == AD_OK;
  check(run && a == 1, "derivative by an inner node", "y + h, h = -x");
  check(run && fabs(b + exp(-2)) < 1e-15, "derivative by an inner node", "exp(-r), r = x - y");
  check(run && c[0] == 6 && c[1] == 6, "derivative by an inner node", "sum((x + zeros)^2)");
  ad_function_free(f);
}

/* --- constants ------------------------------------------------------------------------------------------ */

static ad_var constant_f32(ad_tape *t, float v) { return ad_constant(t, AD_F32(), &v); }
static ad_var constant_i32(ad_tape *t, int32_t v) { return ad_constant(t, AD_I32(), &v); }

static void only_constants(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)in, (void)context;
  ad_var third = ad_div(constant_f32(t, 1), constant_f32(t, 3));
  ad_var big = constant_i32(t, INT32_MAX), zero = constant_i32(t, 0);
  out[0] = ad_add(third, constant_f32(t, 0.1f));
  out[1] = ad_add(big, constant_i32(t, 1));
  out[2] = ad_div(big, zero);
  out[3] = ad_less(big, zero);
  out[4] = ad_cast(ad_sqrt(ad_constant(t, AD_F64(), &(double){ 7 })), AD_F32);
  out[5] = ad_mul(ad_full(t, AD_F64(4), 3), ad_full(t, AD_F64(4), 0.5));
  out[6] = ad_powi(constant_f32(t, 3), 3);
}

static void test_folding(void) {
  ad_function *f = ad_function_trace("f", only_constants, NULL, 0, NULL, 7);
  float a = 0, e = 0, g = 0;
  int32_t b = 0, c = 1;
  uint8_t d = 1;
  double array[4] = { 0 };
  check(f != NULL, "folding", "traces");
  if (!f) return;
  for (int j = 0; j < 7; j++)
    check(j == 5 || node_is_constant(f->body, f->out[j]), "folding", "scalars become constants");
  check(!strcmp(node_primitive(f->body, f->out[5])->name, "full"), "folding", "a filled array stays one");
  const bool run = ad_function_call(f, NULL, (void *[]){ &a, &b, &c, &d, &e, array, &g }, NULL) == AD_OK;
  check(run && a == 1.0f/3.0f + 0.1f, "folding", "f32 arithmetic is float's");
  check(run && b == INT32_MIN && c == 0 && d == 0, "folding", "integers wrap, x/0 is 0");
  check(run && e == (float)sqrt(7), "folding", "casts");
  check(run && array[0] == 1.5 && array[3] == 1.5, "folding", "filled arrays");
  check(run && g == 27, "folding", "attributes");
  ad_function_free(f);
}

/* --- size ----------------------------------------------------------------------------------------------- */

/* The determinant of the rows from `row` on in the columns that are set, by expansion along the first of
 * them. */
static ad_var minor(const ad_var x[], int n, int row_index, unsigned columns) {
  ad_var sum = ad_none();
  int sign = 1;
  for (int j = 0; j < n; j++) {
    if (!(columns >> j & 1)) continue;
    if (row_index == n - 1) return x[row_index*n + j];
    ad_var rest = minor(x, n, row_index + 1, columns & ~(1u << j));
    ad_var term = ad_mul(x[row_index*n + j], rest);
    sum = ad_is_none(sum) ? term : sign > 0 ? ad_add(sum, term) : ad_sub(sum, term);
    sign = -sign;
  }
  return sum;
}

static void determinant(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int n = *(const int *)context;
  (void)t;
  out[0] = minor(in, n, 0, (1u << n) - 1);
}

/* Every set of k columns has one minor, of k products and k - 1 sums: the sum over k = 2..n of
 * binomial(n, k) (2k - 1). */
static void test_minors_of_a_determinant(void) {
  enum { MOST = 8 };
  for (int n = 2; n <= MOST; n++) {
    ad_type in[MOST*MOST];
    double a[MOST*MOST], z = 0, binomial = n, most = 0;
    const void *x[MOST*MOST];
    for (int i = 0; i < n*n; i++) {
      in[i] = AD_F64();
      a[i] = i%n <= i/n ? 1 + i%3 : 0;      /* lower triangular: the product of the diagonal */
      x[i] = &a[i];
    }
    double want = 1;
    for (int i = 0; i < n; i++) want *= a[i*n + i];
    for (int k = 2; k <= n; k++) {
      binomial = binomial*(n - k + 1)/k;
      most += binomial*(2*k - 1);
    }
    ad_function *f = ad_function_trace("determinant", determinant, &n, n*n, in, 1);
    const bool run = ad_function_call(f, x, (void *[]){ &z }, NULL) == AD_OK;
    check(f && (double)ad_function_size(f) == most, "one node a minor", "determinant");
    check(run && z == want, "value", "determinant");
    ad_function_free(f);
  }
}

/* --- memory that runs out ------------------------------------------------------------------------------- */

static void test_failing_allocator(void) {
  bool served = false;
  for (long n = 1; n < 1000 && !served; n++) {
    heap h = { .fail_at = n, .keep_failing = true };
    const ad_allocator a = heap_allocator(&h);
    ad_tape *t = ad_tape_new_with(&a);
    if (t) {
      t->tracing = t->closed = true;
      t->room = 0;
      ad_var x = ad_scalar(t, 2), y = ad_scalar(t, 3);
      for (int i = 0; i < 40; i++) {
        ad_var u = ad_sub(ad_mul(ad_neg(x), y), ad_neg(ad_div(y, 1)));
        y = ad_select(ad_greater(u, x), ad_sin(ad_neg(u)), ad_add(ad_max(u, u), i));
      }
      check(ad_is_valid(y) == (ad_tape_status(t) == AD_OK), "an error or a result", "failing allocator");
    }
    served = heap_has_served(&h);
    check(!served || ad_tape_status(t) == AD_OK, "no error without a failure", "failing allocator");
    ad_tape_free(t);
    check(heap_is_empty(&h), heap_text(&h), "failing allocator");
  }
  check(served, "every allocation failed once", "failing allocator");
}

int main(void) {
  test_both_sides_agree_in_c();
  test_every_row_applies();
  test_functions_agree_with_eager_tapes();
  test_what_stays();
  test_derivatives_by_inner_nodes();
  test_folding();
  test_minors_of_a_determinant();
  test_failing_allocator();
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
