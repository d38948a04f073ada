/* test_properties.c -- derivatives of every elementwise primitive, of order 1 to 3, in every mode and data
 * type.
 *
 *     test_properties [file]        the table of worst errors goes into the file
 *
 * Reference: nested central differences in MPFR of the primitive's definition
 * (primitives/elementwise_oracle.h). Against it, at a few points of each row's range, every partial
 * derivative: by all mixes of ad_jvp and ad_vjp, on scalars and on arrays; by Taylor series; by functions
 * traced from those, on arrays and through lanes. Then shapes: J v and u^T J over broadcast, empty and
 * scalar operands against each other, tape against function, numeric sweep against recorded one.
 *
 * Errors are measured in units in the last place of the exact derivative D. What is allowed grows with its
 * condition number, 1 + sum |x_j dD/dx_j|/|D|, and with the order. */
#include "check.h"
#include "primitives/elementwise_oracle.h"
#undef N

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"
#include "primitives/library.h"

#include <float.h>
#include <stdlib.h>

enum { POINTS = 5, ROUNDS = 6, ORDERS = 3, OPERANDS = 3 };

typedef enum mode { FORWARD, REVERSE, MIXED, TAYLOR, INTERPRETER, LANES, MODES } mode;
static const char *const mode_names[MODES] = { "jvp", "vjp", "mixed", "taylor", "function", "lanes" };

/* --- the reference -------------------------------------------------------------------------------------- */

/* partial[a][b][c]: the derivative a times by x, b times by y, c times by w, at each point. */
typedef struct reference {
  const elementwise_row *row;
  int id;
  double x[OPERANDS][POINTS];
  double partial[ORDERS + 2][ORDERS + 2][ORDERS + 2][POINTS];
} reference;

typedef struct place { int times[OPERANDS]; } place;

static int order_of(place d) { return d.times[0] + d.times[1] + d.times[2]; }
static double *partials(reference *r, place d) { return r->partial[d.times[0]][d.times[1]][d.times[2]]; }
static place after(place d, int k) {
  d.times[k]++;
  return d;
}
static bool differentiable(const elementwise_row *row, int k) {
  return k < row->arity && !(row->kind == CLASS_CHOICE && k == 0);
}

/* (f(.., x_k + h, ..) - f(.., x_k - h, ..))/2h, h = 2^-45 |x_k|, for each operand as often as d says. */
static void difference(mpfr_ptr z, const reference *r, mpfr_t x[OPERANDS], place d) {
  int k = 0;
  while (k < OPERANDS && d.times[k] == 0) k++;
  if (k == OPERANDS) {
    oracles[r->id](z, x[0], x[1], x[2], r->row->attribute);
    return;
  }
  d.times[k]--;
  mpfr_t h, center, other;
  mpfr_inits2(PRECISION, h, center, other, (mpfr_ptr)0);
  mpfr_set(center, x[k], MPFR_RNDN);
  mpfr_abs(h, center, MPFR_RNDN);
  mpfr_mul_2si(h, h, -45, MPFR_RNDN);
  mpfr_add(x[k], center, h, MPFR_RNDN);
  difference(z, r, x, d);
  mpfr_sub(x[k], center, h, MPFR_RNDN);
  difference(other, r, x, d);
  mpfr_set(x[k], center, MPFR_RNDN);
  mpfr_sub(z, z, other, MPFR_RNDN);
  mpfr_div(z, z, h, MPFR_RNDN);
  mpfr_div_2ui(z, z, 1, MPFR_RNDN);
  mpfr_clears(h, center, other, (mpfr_ptr)0);
}

static double reference_at(const reference *r, int p, place d) {
  mpfr_t x[OPERANDS], z;
  mpfr_init2(z, PRECISION);
  for (int k = 0; k < OPERANDS; k++) {
    mpfr_init2(x[k], PRECISION);
    mpfr_set_d(x[k], r->x[k][p], MPFR_RNDN);
  }
  difference(z, r, x, d);
  /* Differences of linear pieces leave roundings in place of zeros. */
  const double v = mpfr_get_d(z, MPFR_RNDN);
  for (int k = 0; k < OPERANDS; k++) mpfr_clear(x[k]);
  mpfr_clear(z);
  return fabs(v) < 1e-40 ? 0 : v;
}

/* Operands are floats, so that both data types have the same reference. */
static void sample(reference *r, uint64_t *state) {
  for (int p = 0; p < POINTS; p++)
    for (int k = 0; k < OPERANDS; k++) {
      r->x[k][p] = (double)(float)check_uniform(state, r->row->lo[k], r->row->hi[k]);
      if (r->row->kind == CLASS_CHOICE && k == 0) r->x[k][p] = p%2;
    }
}

static void fill_reference(reference *r) {
  for (int a = 0; a <= ORDERS + 1; a++)
    for (int b = 0; a + b <= ORDERS + 1; b++)
      for (int c = 0; a + b + c <= ORDERS + 1; c++) {
        const place d = { { a, b, c } };
        bool exists = true;
        for (int k = 0; k < OPERANDS; k++) exists &= d.times[k] == 0 || differentiable(r->row, k);
        for (int p = 0; p < POINTS && exists; p++) partials(r, d)[p] = reference_at(r, p, d);
      }
}

/* --- counting ------------------------------------------------------------------------------------------- */

static bool covered[ROW_COUNT][ORDERS][MODES][2];
static double worst[ROW_COUNT][ORDERS][2];      /* ulps */
static double worst_allowed[2];                 /* the largest part of what is allowed that was used */

static double ulp_of(double v, bool single) {
  int e;
  frexp(v, &e);
  const int bits = single ? FLT_MANT_DIG : DBL_MANT_DIG, least = single ? -149 : -1074;
  return ldexp(1, e - bits < least ? least : e - bits);
}

/* Derivative d at point p by some mode. */
static void expect(reference *r, place d, int p, mode m, bool single, double got) {
  const double want = partials(r, d)[p], eps = single ? FLT_EPSILON : DBL_EPSILON;
  const int order = order_of(d);
  double scale = fabs(want);
  for (int k = 0; k < OPERANDS; k++)
    if (differentiable(r->row, k)) scale += fabs(r->x[k][p]*partials(r, after(d, k))[p]);
  for (int k = 0; k < OPERANDS; k++) { /* terms that cancel are as large as the lower derivatives are steep */
    place lower = d;
    double power = 1;
    while (lower.times[k]-- > 0 && r->x[k][p] != 0)
      scale += fabs(partials(r, lower)[p] / (power *= r->x[k][p]));
  }
  const double error = fabs(got - want), allowed = 4*order*eps*scale + (single ? 1e-44 : 0);
  covered[r->id][order - 1][m][single] = true;
  CHECK_THAT(
      error <= allowed,
      "%s, %s of %s, derivative (%d,%d,%d) at (%.9g, %.9g, %.9g): %.17g, not %.17g: %.3g of what is allowed",
      r->row->name, mode_names[m], single ? "f32" : "f64", d.times[0], d.times[1], d.times[2], r->x[0][p],
      r->x[1][p], r->x[2][p], got, want, error / allowed);
  if (want != 0 && isfinite(got)) {
    const double ulps = error/ulp_of(want, single);
    if (ulps > worst[r->id][order - 1][single]) worst[r->id][order - 1][single] = ulps;
    if (error/allowed > worst_allowed[single]) worst_allowed[single] = error/allowed;
  }
}

/* --- recording ------------------------------------------------------------------------------------------ */

static ad_var record_row(ad_tape *t, const elementwise_row *row, const ad_var x[]) {
  const double a = row->attribute;
  return ad_record(t, &elementwise_primitives[row - elementwise_rows], row->arity, x,
                   row->attributed ? &a : NULL, row->attributed ? sizeof a : 0);
}

static ad_dtype operand_dtype(const elementwise_row *row, int k, bool single) {
  return row->kind == CLASS_CHOICE && k == 0 ? AD_BOOL : single ? AD_F32 : AD_F64;
}

/* Operand k of points [first, first + n) as an array, or as a scalar for n = 1. */
static ad_var operand(ad_tape *t, const reference *r, int k, int first, int n, bool single) {
  double room[POINTS] = { 0 };
  const ad_dtype dtype = operand_dtype(r->row, k, single);
  const int64_t dim = n;
  for (int i = 0; i < n; i++) check_set_element(dtype, room, i, r->x[k][first + i]);
  return ad_array(t, ad_type_make(dtype, n > 1, &dim), room);
}

/* dy/dx_k of an elementwise y, by a tangent or a cotangent of ones. */
static ad_var derive(ad_tape *t, ad_var y, ad_var x, bool reverse) {
  const ad_var ones = ad_ones(t, ad_type_of(reverse ? y : x));
  ad_var d = ad_none();
  if (reverse) ad_vjp(1, &y, &ones, 1, &x, &d);
  else ad_jvp(1, &x, &ones, 1, &y, &d);
  return d;
}

static void expect_values(reference *r, place d, int first, int n, mode m, bool single, ad_var v) {
  double room[POINTS] = { 0 };
  CHECK_STATUS(ad_read(v, room), AD_OK);
  for (int i = 0; i < n; i++)
    expect(r, d, first + i, m, single, check_element(single ? AD_F32 : AD_F64, room, i));
}

/* All derivatives from y on, which is derivative d: a tree of choices of operand and mode. used: bit 0
 * forward, bit 1 reverse. */
static void test_tree(reference *r, ad_tape *t, const ad_var x[], ad_var y, place d, int first, int n,
                      bool single, int used) {
  if (order_of(d) == ORDERS) return;
  for (int k = 0; k < r->row->arity; k++)
    for (int reverse = 0; reverse < 2 && differentiable(r->row, k); reverse++) {
      const ad_var z = derive(t, y, x[k], reverse);
      const int now = used | 1 << reverse;
      expect_values(r, after(d, k), first, n, now == 1 ? FORWARD : now == 2 ? REVERSE : MIXED, single, z);
      test_tree(r, t, x, z, after(d, k), first, n, single, now);
    }
}

static void test_taylor(reference *r, ad_tape *t, const ad_var x[], ad_var y, int first, int n, bool single) {
  for (int k = 0; k < r->row->arity; k++) {
    if (!differentiable(r->row, k)) continue;
    ad_var c[ORDERS + 1];
    const ad_var xc[ORDERS] = { ad_ones(t, ad_type_of(x[k])), ad_none(), ad_none() };
    CHECK_STATUS(ad_taylor(ORDERS, 1, &x[k], xc, 1, &y, c), AD_OK);
    place d = { { 0 } };
    double factorial = 1;
    for (int order = 1; order <= ORDERS; order++) {
      d = after(d, k);
      expect_values(r, d, first, n, TAYLOR, single, ad_mul(c[order], factorial *= order));
    }
  }
}

static void test_on_tape(reference *r, int first, int n, bool single) {
  ad_tape *t = ad_tape_new();
  ad_var x[OPERANDS];
  for (int k = 0; k < r->row->arity; k++) x[k] = operand(t, r, k, first, n, single);
  const ad_var y = record_row(t, r->row, x);
  test_tree(r, t, x, y, (place){ { 0 } }, first, n, single, 0);
  test_taylor(r, t, x, y, first, n, single);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s: %s", r->row->name, ad_tape_message(t));
  ad_tape_free(t);
}

/* --- functions ------------------------------------------------------------------------------------------ */

/* A derivative as a function: along[i] is the operand of step i, reverse bit i its mode. */
typedef struct path { const reference *r; int order, along[ORDERS]; unsigned reverse; } path;

static void path_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const path *p = context;
  out[0] = record_row(t, p->r->row, in);
  for (int i = 0; i < p->order; i++) out[0] = derive(t, out[0], in[p->along[i]], p->reverse >> i & 1);
}

static void call_path(reference *r, path *p, place d, bool single, bool lanes) {
  double in[OPERANDS][POINTS] = { { 0 } }, z[POINTS] = { 0 };
  ad_type types[OPERANDS];
  ad_report report;
  const int64_t n = POINTS;
  for (int k = 0; k < OPERANDS; k++) {
    types[k] = ad_type_make(operand_dtype(r->row, k, single), !lanes, &n);
    for (int i = 0; i < POINTS; i++) check_set_element(types[k].dtype, in[k], i, r->x[k][i]);
  }
  const void *const from[] = { in[0], in[1], in[2] };
  void *const to[] = { z };
  ad_function *f = ad_function_trace_report("derivative", path_body, p, r->row->arity, types, 1, &report);
  if (!CHECK_THAT(f, "%s: %s", r->row->name, report.message)) return;
  if (lanes) CHECK_STATUS(ad_function_call_lanes(f, POINTS, from, to, NULL), AD_OK);
  else CHECK_STATUS(ad_function_call(f, from, to, NULL), AD_OK);
  for (int i = 0; i < POINTS; i++)
    expect(r, d, i, lanes ? LANES : INTERPRETER, single, check_element(single ? AD_F32 : AD_F64, z, i));
  ad_function_free(f);
}

/* Reverse mode first, forward mode after it, as Hessians are made; and its mirror. */
static void test_functions(reference *r, path *p, place d, bool single) {
  if (p->order) {
    p->reverse = 1;
    call_path(r, p, d, single, false);
    p->reverse = 6;
    call_path(r, p, d, single, true);
  }
  if (p->order == ORDERS) return;
  p->order++;
  for (int k = 0; k < r->row->arity; k++)
    if (differentiable(r->row, k)) {
      p->along[p->order - 1] = k;
      test_functions(r, p, after(d, k), single);
    }
  p->order--;
}

/* --- shapes: two modes, tape and function, numeric and recorded ----------------------------------------- */

typedef struct shapes { int rank[OPERANDS]; int64_t dim[OPERANDS][2]; } shapes;
static const shapes shape_rows[] = {
  { { 0, 0, 0 }, { { 0 } } },
  { { 1, 1, 1 }, { { 7 }, { 7 }, { 7 } } },
  { { 2, 1, 0 }, { { 3, 1 }, { 4 }, { 0 } } },
  { { 1, 2, 2 }, { { 4 }, { 3, 4 }, { 3, 1 } } },
  { { 0, 2, 1 }, { { 0 }, { 2, 3 }, { 1 } } },
  { { 1, 1, 1 }, { { 0 }, { 1 }, { 0 } } },
  { { 2, 2, 2 }, { { 0, 3 }, { 1, 3 }, { 1, 1 } } },
};
enum { SHAPES = sizeof shape_rows/sizeof *shape_rows, MOST = 16 };

typedef struct arrays { ad_type type; double x[MOST], xdot[MOST]; } arrays;

static double dot(ad_type type, const double *u, const double *v) {
  double sum = 0;
  for (int64_t i = 0; i < ad_type_count(type); i++)
    sum += check_element(type.dtype, u, i) * check_element(type.dtype, v, i);
  return sum;
}
static double size_of(ad_type type, const double *u, const double *v) {
  double sum = 0;
  for (int64_t i = 0; i < ad_type_count(type); i++)
    sum += fabs(check_element(type.dtype, u, i) * check_element(type.dtype, v, i));
  return sum;
}

static void make_operands(const elementwise_row *row, const shapes *s, bool single, uint64_t *state,
                          arrays a[OPERANDS]) {
  for (int k = 0; k < OPERANDS; k++) {
    a[k].type = ad_type_make(operand_dtype(row, k, single), s->rank[k], s->dim[k]);
    for (int64_t i = 0; i < ad_type_count(a[k].type); i++) {
      const double v = check_uniform(state, row->lo[k], row->hi[k]);
      check_set_element(a[k].type.dtype, a[k].x, i, row->kind == CLASS_CHOICE && k == 0 ? v > 0.5 : v);
      check_set_element(a[k].type.dtype, a[k].xdot, i,
                        a[k].type.dtype == AD_BOOL ? 0 : check_uniform(state, -1, 1));
    }
  }
}

static void row_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  out[0] = record_row(t, context, in);
}

static void compare(const char *what, const elementwise_row *row, ad_type type, const double *got,
                    const double *want, double tolerance) {
  int64_t i = 0;
  while (i < ad_type_count(type)
         && check_near(check_element(type.dtype, got, i), check_element(type.dtype, want, i), tolerance))
    i++;
  char text[192];
  CHECK_THAT(i == ad_type_count(type), "%s: %s, %s, element %lld: %.17g, not %.17g", row->name, what,
             ad_type_print(type, text, sizeof text), (long long)i, check_element(type.dtype, got, i),
             check_element(type.dtype, want, i));
}

/* ydot = J v and xbar = J^T u on a tape: <u, J v> = <J^T u, v>; the same by functions; and with u = 1 by
 * ad_backward. */
static void test_shapes(const elementwise_row *row, const shapes *s, bool single, uint64_t *state) {
  arrays a[OPERANDS];
  double u[MOST] = { 0 }, ones[MOST] = { 0 }, ydot[MOST], xbar[OPERANDS][MOST], other[OPERANDS + 1][MOST],
         numeric[MOST];
  const double tolerance = single ? 1e-5 : 1e-13;
  make_operands(row, s, single, state, a);
  ad_tape *t = ad_tape_new();
  ad_var x[OPERANDS], floats[OPERANDS], tangents[OPERANDS], d[OPERANDS], y, ydot_var;
  int n = 0, which[OPERANDS];
  for (int k = 0; k < row->arity; k++) {
    x[k] = ad_array(t, a[k].type, a[k].x);
    if (!differentiable(row, k)) continue;
    which[n] = k, floats[n] = x[k], tangents[n++] = ad_array(t, a[k].type, a[k].xdot);
  }
  y = record_row(t, row, x);
  const ad_type z = ad_type_of(y);
  for (int64_t i = 0; i < ad_type_count(z); i++) {
    check_set_element(z.dtype, u, i, check_uniform(state, -1, 1));
    check_set_element(z.dtype, ones, i, 1);
  }
  const ad_var cotangent = ad_array(t, z, u);
  CHECK_STATUS(ad_jvp(n, floats, tangents, 1, &y, &ydot_var), AD_OK);
  CHECK_STATUS(ad_vjp(1, &y, &cotangent, n, floats, d), AD_OK);
  CHECK(ad_type_equal(ad_type_of(ydot_var), z));
  CHECK_STATUS(ad_read(ydot_var, ydot), AD_OK);
  double left = dot(z, u, ydot), right = 0, size = size_of(z, u, ydot);
  for (int i = 0; i < n; i++) {
    CHECK(ad_type_equal(ad_type_of(d[i]), a[which[i]].type));
    CHECK_STATUS(ad_read(d[i], xbar[i]), AD_OK);
    right += dot(a[which[i]].type, xbar[i], a[which[i]].xdot);
    size += size_of(a[which[i]].type, xbar[i], a[which[i]].xdot);
  }
  CHECK_THAT(fabs(left - right) <= tolerance * (1 + size), "%s: <u, J v> = %.17g, <J^T u, v> = %.17g",
             row->name, left, right);
  ad_type types[OPERANDS] = { a[0].type, a[1].type, a[2].type };
  ad_function *f = ad_function_trace("row", row_body, (void *)(uintptr_t)row, row->arity, types, 1),
              *jvp = ad_function_jvp(f), *vjp = ad_function_vjp(f);
  const void *in[2*OPERANDS];
  void *out[OPERANDS + 1] = { NULL };
  for (int k = 0; k < row->arity; k++) in[k] = a[k].x, in[row->arity + k] = a[k].xdot;
  out[1] = other[0];
  CHECK_STATUS(ad_function_call(jvp, in, out, NULL), AD_OK);
  compare("function's jvp", row, z, other[0], ydot, tolerance);
  in[row->arity] = u;
  for (int k = 0; k < row->arity; k++) out[1 + k] = other[k];
  CHECK_STATUS(ad_function_call(vjp, in, out, NULL), AD_OK);
  for (int i = 0; i < n; i++)
    compare("function's vjp", row, a[which[i]].type, other[which[i]], xbar[i], tolerance);
  in[row->arity] = ones;
  CHECK_STATUS(ad_function_call(vjp, in, out, NULL), AD_OK);
  CHECK_STATUS(ad_backward(y), AD_OK);
  for (int i = 0; i < n; i++) {
    CHECK_STATUS(ad_read_adjoint(floats[i], numeric), AD_OK);
    compare("ad_backward", row, a[which[i]].type, numeric, other[which[i]], tolerance);
  }
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s: %s", row->name, ad_tape_message(t));
  ad_function_free(f);
  ad_function_free(jvp);
  ad_function_free(vjp);
  ad_tape_free(t);
}

/* --- the table ------------------------------------------------------------------------------------------ */

static void test_row(int id, uint64_t *state) {
  static reference r;
  memset(&r, 0, sizeof r);
  r.row = &elementwise_rows[id];
  r.id = id;
  sample(&r, state);
  fill_reference(&r);
  for (int single = 0; single < 2; single++) {
    test_on_tape(&r, 0, POINTS, single);
    for (int p = 0; p < POINTS; p++) test_on_tape(&r, p, 1, single);
    path p = { .r = &r };
    test_functions(&r, &p, (place){ { 0 } }, single);
    for (int s = 0; s < SHAPES; s++) test_shapes(r.row, &shape_rows[s], single, state);
  }
}

static void write_table(FILE *file) {
  fprintf(file,
          "worst error of derivatives in units in the last place, against MPFR\n\n%-16s %31s %31s\n%-16s", "",
          "f64", "f32", "primitive");
  for (int i = 0; i < 2*ORDERS; i++) fprintf(file, "    order %d", i%ORDERS + 1);
  fprintf(file, "\n");
  for (int id = 0; id < ROW_COUNT; id++) {
    if (!oracles[id]) continue;
    fprintf(file, "%-16s", elementwise_rows[id].name);
    for (int i = 0; i < 2*ORDERS; i++) fprintf(file, " %10.2f", worst[id][i%ORDERS][i/ORDERS]);
    fprintf(file, "\n");
  }
}

int main(int count, char *argument[]) {
  uint64_t state = 20;
  long combinations = 0;
  int rows = 0;
  for (int id = 0; id < ROW_COUNT; id++) {
    for (int round = 0; round < ROUNDS && oracles[id]; round++) test_row(id, &state);
    rows += oracles[id] != NULL;
  }
  for (int id = 0; id < ROW_COUNT; id++)
    for (int i = 0; i < ORDERS*MODES*2; i++) combinations += covered[id][i/(2*MODES)][i/2%MODES][i%2];
  printf("primitives x orders x modes x dtypes: %ld combinations (%d primitives, orders 1 to %d, ",
         combinations, rows, ORDERS);
  for (int m = 0; m < MODES; m++) printf("%s%s", mode_names[m], m + 1 < MODES ? " " : ", f64 f32)\n");
  printf("largest part of what is allowed: %.2f in f64, %.2f in f32\n", worst_allowed[0], worst_allowed[1]);
  FILE *file = count > 1 ? fopen(argument[1], "w") : NULL;
  if (count > 1 && !file) CHECK_THAT(false, "cannot write %s", argument[1]);
  if (file) {
    write_table(file);
    fclose(file);
  }
  return check_summary();
}
