/* test_dual.c -- every row of the table through adit/dual.h: one direction, three directions, float, second
 * order.
 *
 * References: the numbers of the table itself (elementwise_row.evaluate and .propagate), differences of
 * eighth order, and the families against one another. Points are random within the row's range, and all
 * combinations of special numbers.
 */
#include <adit/dual.h>
#define AD_DUAL_N 3
#include <adit/dual.h>
#define AD_DUAL_REAL float
#include <adit/dual.h>
#define AD_DUAL_REAL float
#define AD_DUAL_N 2
#include <adit/dual.h>
#define AD_DUAL_ORDER 2
#include <adit/dual.h>

#include "primitives/elementwise.h"

#include <stdint.h>
#include <stdio.h>

enum { POINTS = 200 };

/* --- every function of the header behind one signature ------------------------------------------------ */

/* v operands, d their tangents (direction i of operand k: d[i][k]), a the attribute. out: the value, then
 * tangents. For second order the seeds are d[0] in .d and d[1] in .v.d, and out is f, f.v.d, f.d.v, f.d.d. */
typedef void wrapper(const double v[3], double d[3][3], double a, double out[4]);

static void put_bool(double *out, bool z) { out[0] = z; }
static void put_plain(double *out, ad_dual z) { out[0] = z.v, out[1] = z.d; }
static void put_single(double *out, ad_dualf z) { out[0] = (double)z.v, out[1] = (double)z.d; }
static void put_pair(double *out, ad_dual2f z) {
  out[0] = (double)z.v;
  for (int i = 0; i < 2; i++) out[i + 1] = (double)z.d[i];
}
static void put_three(double *out, ad_dual3 z) {
  out[0] = z.v;
  for (int i = 0; i < 3; i++) out[i + 1] = z.d[i];
}
static void put_second(double *out, ad_dual_dual z) {
  out[0] = z.v.v, out[1] = z.v.d;
  out[2] = z.d.v, out[3] = z.d.d;
}
#define PUT(z) _Generic((z), bool: put_bool, ad_dual: put_plain, ad_dualf: put_single, ad_dual2f: put_pair, \
                        ad_dual3: put_three, ad_dual_dual: put_second)(out, z)

static ad_dual plain_operand(const double v[3], double d[3][3], int k) { return ad_dual_make(v[k], d[0][k]); }
static ad_dualf single_operand(const double v[3], double d[3][3], int k) {
  return ad_dualf_make((float)v[k], (float)d[0][k]);
}
static ad_dual2f pair_operand(const double v[3], double d[3][3], int k) {
  return ad_dual2f_make((float)v[k], (const float[]){ (float)d[0][k], (float)d[1][k] });
}
static ad_dual3 three_operand(const double v[3], double d[3][3], int k) {
  return ad_dual3_make(v[k], (const double[]){ d[0][k], d[1][k], d[2][k] });
}
static ad_dual_dual second_operand(const double v[3], double d[3][3], int k) {
  return ad_dual_dual_make(ad_dual_make(v[k], d[1][k]), ad_dual_of(d[0][k]));
}

/* The first operand is a dual number, but of select. */
#define FIRST_FLOAT(family)     family##_operand(v, d, 0)
#define FIRST_NUMERIC(family)   family##_operand(v, d, 0)
#define FIRST_COMPARE(family)   family##_operand(v, d, 0)
#define FIRST_PREDICATE(family) family##_operand(v, d, 0)
#define FIRST_LOGICAL(family)   family##_operand(v, d, 0)
#define FIRST_CHOICE(family)    (v[0] != 0)

#define WRAPPER(name, family) \
  static void name##_##family(const double v[3], double d[3][3], double a, double out[4])
#define WRAP1(name, kind, prefix, family) \
  WRAPPER(name, family) { (void)a; PUT(prefix##_##name(FIRST_##kind(family))); }
#define WRAPA(name, kind, prefix, family) \
  WRAPPER(name, family) { PUT(prefix##_##name(FIRST_##kind(family), a)); }
#define WRAP2(name, kind, prefix, family) \
  WRAPPER(name, family) { (void)a; PUT(prefix##_##name(FIRST_##kind(family), family##_operand(v, d, 1))); }
#define WRAP3(name, kind, prefix, family) \
  WRAPPER(name, family) { \
    (void)a; \
    PUT(prefix##_##name(FIRST_##kind(family), family##_operand(v, d, 1), family##_operand(v, d, 2))); \
  }
#define ALL(wrap, name, kind) \
  wrap(name, kind, ad_dual, plain) wrap(name, kind, ad_dualf, single) wrap(name, kind, ad_dual2f, pair) \
  wrap(name, kind, ad_dual3, three) wrap(name, kind, ad_dual_dual, second)
#define UNARY(name, kind, ...)           ALL(WRAP1, name, kind)
#define UNARY_ATTRIBUTE(name, kind, ...) ALL(WRAPA, name, kind)
#define BINARY(name, kind, ...)          ALL(WRAP2, name, kind)
#define TERNARY(name, kind, ...)         ALL(WRAP3, name, kind)
#include "primitives/elementwise.def"

static const struct { wrapper *plain, *single, *pair, *three, *second; } functions[ROW_COUNT] = {
#define ENTRY(name) { name##_plain, name##_single, name##_pair, name##_three, name##_second },
#define UNARY(name, ...)           ENTRY(name)
#define UNARY_ATTRIBUTE(name, ...) ENTRY(name)
#define BINARY(name, ...)          ENTRY(name)
#define TERNARY(name, ...)         ENTRY(name)
#include "primitives/elementwise.def"
};

/* --- checking ----------------------------------------------------------------------------------------- */

static int failures;
static long comparisons;

static bool near(double got, double want, double tolerance) {
  if (got == want || (got != got && want != want)) return true;
  return fabs(got - want) <= tolerance;
}

static void check(const char *what, const elementwise_row *r, const double v[3], double got, double want,
                  double tolerance) {
  comparisons++;
  if (near(got, want, tolerance)) return;
  if (failures++ < 40)
    printf("FAIL %s of %s at (%.17g, %.17g, %.17g): %.17g, want %.17g\n", what, r->name, v[0], v[1], v[2],
           got, want);
}

static uint64_t state = 20261121;
static double uniform(double lo, double hi) {
  state = state*6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo)*(double)(state >> 11)*0x1p-53;
}

static bool has_tangent(const elementwise_row *r) {
  return r->kind == CLASS_FLOAT || r->kind == CLASS_NUMERIC || r->kind == CLASS_CHOICE;
}

/* A random point in the row's range, rounded to float so that all families see the same, and random
 * directions. */
static void sample(const elementwise_row *r, double v[3], double d[3][3]) {
  for (int k = 0; k < 3; k++) {
    v[k] = k < r->arity ? (double)(float)uniform(r->lo[k], r->hi[k]) : 0;
    for (int i = 0; i < 3; i++) d[i][k] = k < r->arity ? (double)(float)uniform(-2, 2) : 0;
  }
  if (r->kind == CLASS_CHOICE || r->kind == CLASS_LOGICAL) v[0] = v[0] > 0.5;
}

/* The tangent by the table: sum of the rules at the operands' tangents. scale: the sum of magnitudes. */
static double by_table(const elementwise_row *r, const double v[3], const double d[3], double *scale) {
  double z = r->evaluate(v[0], v[1], v[2], r->attribute), sum = 0;
  *scale = 0;
  for (int k = 0; k < r->arity; k++) {
    double part[3] = { 0, 0, 0 };
    r->propagate(part, v[0], v[1], v[2], z, d[k], r->attribute);
    sum += part[k];
    *scale += fabs(part[k]);
  }
  return sum;
}

/* How far the tangent moves with the last bit of an operand. Near its root no two ways to compute it agree
 * better: the table's tanh is not the C library's. */
static double by_last_bit(const elementwise_row *r, const double v[3], const double d[3]) {
  double scale, worst = 0;
  for (int k = 0; k < r->arity && r->kind == CLASS_FLOAT; k++) {
    double moved[3] = { v[0], v[1], v[2] };
    moved[k] = nextafter(v[k], 2*v[k]);
    worst = fmax(worst, fabs(by_table(r, moved, d, &scale) - by_table(r, v, d, &scale)));
  }
  return worst;
}

static void test_against_table(int id) {
  const elementwise_row *r = &elementwise_rows[id];
  double v[3], d[3][3], plain[4], three[4], single[4], pair[4], scale;
  for (int i = 0; i < POINTS; i++) {
    sample(r, v, d);
    double z = r->evaluate(v[0], v[1], v[2], r->attribute);
    functions[id].plain(v, d, r->attribute, plain);
    functions[id].three(v, d, r->attribute, three);
    functions[id].single(v, d, r->attribute, single);
    functions[id].pair(v, d, r->attribute, pair);
    check("value", r, v, plain[0], z, 4e-16*fabs(z));
    check("value, three directions", r, v, three[0], plain[0], 4e-16*fabs(z));
    check("value, float", r, v, single[0], plain[0], 1e-7*fabs(z) + 1e-37);
    if (!has_tangent(r)) continue;
    double tangent = by_table(r, v, d[0], &scale);
    check("tangent", r, v, plain[1], tangent, 1e-14*scale + by_last_bit(r, v, d[0]));
    check("tangent, float", r, v, single[1], tangent, 2e-6*scale + 3e-7*fabs(d[0][0]));
    for (int k = 0; k < 3; k++) {
      tangent = by_table(r, v, d[k], &scale);
      check("tangent, three directions", r, v, three[k + 1], tangent, 1e-14*scale + by_last_bit(r, v, d[k]));
      double rounding = 2e-6*scale + 3e-7*fabs(d[k][0]);
      if (k < 2) check("tangent, float, two directions", r, v, pair[k + 1], tangent, rounding);
    }
  }
}

/* At zeros, infinities and nan, with all tangents 1, the header does what the table says. */
static void test_special_points(int id) {
  static const double special[] = { -INFINITY, -2.5, -2, -1, -0.0, 0, 0.5, 1, 2, 1e300, INFINITY, NAN };
  enum { S = sizeof special/sizeof *special };
  const elementwise_row *r = &elementwise_rows[id];
  for (int i = 0; i < S; i++)
    for (int j = 0; j < (r->arity > 1 ? S : 1); j++)
      for (int k = 0; k < (r->arity > 2 ? S : 1); k++) {
        double v[3] = { special[i], special[j], special[k] }, plain[4], three[4], scale;
        double d[3][3] = { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 } };
        if (r->kind == CLASS_CHOICE) v[0] = v[0] != 0;
        functions[id].plain(v, d, r->attribute, plain);
        functions[id].three(v, d, r->attribute, three);
        double z = r->evaluate(v[0], v[1], v[2], r->attribute);
        check("special value", r, v, plain[0], z, 4e-16*fabs(z));
        if (!has_tangent(r)) continue;
        double tangent = by_table(r, v, d[0], &scale);
        check("special tangent", r, v, plain[1], tangent, 1e-14*scale);
        check("special tangent, three directions", r, v, three[2], tangent, 1e-14*scale);
      }
}

/* --- differences -------------------------------------------------------------------------------------- */

/* Derivative of output out[which] of f at v along d[along], by the central difference of eighth order with
 * step h. */
static double difference(wrapper *f, const elementwise_row *r, const double v[3], double d[3][3],
                         int along, int which, double h) {
  static const double weight[] = { 4.0/5, -1.0/5, 4.0/105, -1.0/280 };
  double sum = 0;
  for (int j = 1; j <= 4; j++) {
    double up[3], down[3], above[4], below[4];
    for (int k = 0; k < 3; k++) {
      up[k] = v[k] + j*h*d[along][k];
      down[k] = v[k] - j*h*d[along][k];
    }
    f(up, d, r->attribute, above);
    f(down, d, r->attribute, below);
    sum += weight[j - 1]*(above[which] - below[which]);
  }
  return sum/h;
}

/* got against differences at two steps. Where these differ from each other the function is not smooth
 * nearby: false, no verdict. */
static bool check_difference(const char *what, wrapper *f, const elementwise_row *r, const double v[3],
                             double d[3][3], int along, int which, double got) {
  double coarse = difference(f, r, v, d, along, which, 0x1p-9);
  double fine = difference(f, r, v, d, along, which, 0x1p-10);
  double size = 1 + fabs(got);
  if (!(fabs(coarse - fine) <= 1e-8*size)) return false;
  check(what, r, v, got, fine, 1e-7*size);
  return true;
}

/* First derivatives against differences of values, second against differences of first, in two directions. */
static void test_against_differences(int id) {
  const elementwise_row *r = &elementwise_rows[id];
  int judged = 0;
  double v[3], d[3][3], plain[4], second[4], swapped[4];
  for (int i = 0; i < POINTS; i++) {
    sample(r, v, d);
    functions[id].plain(v, d, r->attribute, plain);
    functions[id].second(v, d, r->attribute, second);
    check("value, second order", r, v, second[0], plain[0], 0);
    if (!has_tangent(r)) continue;
    if (r->kind == CLASS_CHOICE) d[0][0] = d[1][0] = 0;
    double other[3][3] = { { d[1][0], d[1][1], d[1][2] }, { d[0][0], d[0][1], d[0][2] }, { 0, 0, 0 } };
    double size = fabs(plain[1]);
    check("first derivative, second order", r, v, second[2], plain[1], 1e-14*(1 + size));
    functions[id].second(v, other, r->attribute, swapped);
    check("symmetry of the second derivative", r, v, second[3], swapped[3], 1e-11*(1 + fabs(second[3])));
    bool smooth = check_difference("difference", functions[id].plain, r, v, d, 0, 0, plain[1])
               && check_difference("second difference", functions[id].plain, r, v, d, 1, 1, second[3]);
    judged += smooth;
  }
  if (has_tangent(r) && judged < POINTS/2) {
    printf("FAIL %s: only %d of %d points could be judged by differences\n", r->name, judged, POINTS);
    failures++;
  }
}

/* --- single cases ------------------------------------------------------------------------------------- */

static void check_case(const char *what, double got, double want) {
  comparisons++;
  if (near(got, want, 1e-14*(1 + fabs(want)))) return;
  printf("FAIL %s: %.17g, want %.17g\n", what, got, want);
  failures++;
}

static void test_constants_in_powers(void) {
  ad_dual x = ad_dual_variable(-2);
  check_case("(x^2)' at -2", ad_dual_pow(x, ad_dual_of(2)).d, -4);
  check_case("(x^3)' at -2 by powi", ad_dual_powi(x, 3).d, 12);
  check_case("(2^y)' at 3", ad_dual_pow(ad_dual_of(2), ad_dual_variable(3)).d, 8*log(2));
  check_case("(0^y)' at 2", ad_dual_pow(ad_dual_of(0), ad_dual_variable(2)).d, 0);
  check_case("(x^0.5)' at 0", ad_dual_pow(ad_dual_variable(0), ad_dual_of(0.5)).d, INFINITY);
  ad_dual_dual w = ad_dual_dual_pow(ad_dual_dual_variable(-2), ad_dual_dual_of(3));
  check_case("(x^3)'' at -2", w.d.d, -12);
  ad_dual_dual zero = ad_dual_dual_variable(0);
  check_case("(x^1)'' at 0", ad_dual_dual_pow(zero, ad_dual_dual_of(1)).d.d, 0);
  check_case("(x^2)'' at 0", ad_dual_dual_pow(zero, ad_dual_dual_of(2)).d.d, 2);
  check_case("(x^3)'' at 0", ad_dual_dual_pow(zero, ad_dual_dual_of(3)).d.d, 0);
  check_case("(x^2)'' at 0 by powi", ad_dual_dual_powi(zero, 2).d.d, 2);
  check_case("pow in three directions", ad_dual3_pow(ad_dual3_variable(-2, 1), ad_dual3_of(3)).d[1], 12);
}

static void test_conventions(void) {
  ad_dual zero = ad_dual_variable(0), x = ad_dual_variable(3);
  check_case("abs' at 0", ad_dual_abs(zero).d, 0);
  check_case("max(x, x)'", ad_dual_max(x, x).d, 1);
  check_case("max(x, 0)' at 0", ad_dual_max(zero, ad_dual_of(0)).d, 0.5);
  check_case("relu' at 0", ad_dual_relu(zero).d, 0);
  check_case("sqrt' at 0", ad_dual_sqrt(zero).d, INFINITY);
  check_case("hypot(x, 0)' at 0", ad_dual_hypot(zero, ad_dual_of(0)).d, 0);
  check_case("log' at -1", ad_dual_log(ad_dual_variable(-1)).d, NAN);
  check_case("fmax(sqrt(x), 1)' at 0", ad_dual_max(ad_dual_sqrt(zero), ad_dual_of(1)).d, 0);
  ad_dual below = ad_dual_relu(ad_dual_variable(-1));
  check_case("sqrt(relu(x))' at -1, the stated exemption", ad_dual_sqrt(below).d, NAN);
  check_case("(x - x)' at inf", ad_dual_sub(ad_dual_variable(INFINITY), ad_dual_variable(INFINITY)).d, 0);
}

/* f = sin(x + y^2)/sqrt(x) at (2, 1), all of its first and second derivatives against the closed form. */
static void test_composition(void) {
  double s = sin(3), c = cos(3), q = sqrt(2);
  ad_dual3 x = ad_dual3_variable(2, 0), y = ad_dual3_variable(1, 1);
  ad_dual3 f = ad_dual3_div(ad_dual3_sin(ad_dual3_add(x, ad_dual3_square(y))), ad_dual3_sqrt(x));
  check_case("f", f.v, s/q);
  check_case("df/dx", f.d[0], c/q - s/(4*q));
  check_case("df/dy", f.d[1], 2*c/q);
  check_case("df/d(nothing)", f.d[2], 0);
  ad_dual_dual xx = ad_dual_dual_make(ad_dual_variable(2), ad_dual_of(0));
  ad_dual_dual yy = ad_dual_dual_make(ad_dual_of(1), ad_dual_of(1));
  ad_dual_dual sine = ad_dual_dual_sin(ad_dual_dual_add(xx, ad_dual_dual_square(yy)));
  ad_dual_dual g = ad_dual_dual_div(sine, ad_dual_dual_sqrt(xx));
  check_case("d2f/dxdy", g.d.d, -2*s/q - c/(2*q));
}

static void test_numbers(void) {
  ad_dual x = ad_dual_variable(3);
  check_case("scale", ad_dual_scale(x, 2).d, 2);
  check_case("shift", ad_dual_shift(x, 2).v, 5);
  check_case("make", ad_dual_make(1, 7).d, 7);
  check_case("scale, float", (double)ad_dualf_scale(ad_dualf_variable(3), 2).d, 2);
  check_case("shift, three", ad_dual3_shift(ad_dual3_variable(3, 2), 2).d[2], 1);
  check_case("scale, second", ad_dual_dual_scale(ad_dual_dual_square(ad_dual_dual_variable(3)), 2).d.d, 4);
  check_case("shift, second", ad_dual_dual_shift(ad_dual_dual_variable(3), 2).d.v, 1);
  check_case("less", ad_dual_less(x, ad_dual_of(4)), 1);
  check_case("select", ad_dual_select(ad_dual_less(x, ad_dual_of(4)), x, ad_dual_of(0)).d, 1);
}

int main(void) {
  for (int id = 0; id < ROW_COUNT; id++) {
    test_against_table(id);
    test_special_points(id);
    test_against_differences(id);
  }
  test_constants_in_powers();
  test_conventions();
  test_composition();
  test_numbers();
  printf("dual: %d rows, 5 families, %ld comparisons, %d failures\n", (int)ROW_COUNT, comparisons, failures);
  return failures != 0;
}
