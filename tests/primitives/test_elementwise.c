/* test_elementwise.c -- every row of elementwise.def: values, derivatives and block kernels against MPFR.
 *
 *     test_elementwise [file]        the table of worst errors goes to standard output and into the file
 *
 * Errors are counted in units in the last place of the exact result. What is allowed grows with the
 * condition number, sum |x_k df/dx_k|/|f|: no function can be better than the rounding of its operands. */
#include "elementwise_oracle.h"

#include "adit/derive.h"
#include "adit/elementwise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int passed, failed;

static void check(bool ok, const char *row, const char *what, double x, double y, double w, double got,
                  double want) {
  if (ok) { passed++; return; }
  if (failed++ < 200)
    printf("FAILED %s: %s at (%.17g, %.17g, %.17g): %.17g, expected %.17g\n", row, what, x, y, w, got, want);
}

/* --- numbers -------------------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static double uniform(double lo, double hi) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return lo + (hi - lo)*((double)(random_state >> 11)*0x1p-53);
}

/* |got - want| in units in the last place of a type with these bits, and least exponent; 0 where both are
 * nan or the same infinity, infinity where only one of them is. */
static double ulps(double got, mpfr_srcptr want, int bits, int least) {
  const double rounded = bits == 24 ? (double)mpfr_get_flt(want, MPFR_RNDN) : mpfr_get_d(want, MPFR_RNDN);
  if (got == rounded || (got != got && rounded != rounded)) return 0;
  if (!isfinite(got) || !isfinite(rounded)) return INFINITY;
  mpfr_t d; mpfr_init2(d, PRECISION);
  mpfr_sub_d(d, want, got, MPFR_RNDN);
  long exponent = mpfr_zero_p(want) ? least : (long)mpfr_get_exp(want) - bits;
  mpfr_mul_2si(d, d, -(exponent < least ? least : exponent), MPFR_RNDN);
  const double u = fabs(mpfr_get_d(d, MPFR_RNDN));
  mpfr_clear(d);
  return u;
}
static double ulps_f64(double got, mpfr_srcptr want) { return ulps(got, want, 53, -1074); }
static double ulps_f32(float got, mpfr_srcptr want) { return ulps((double)got, want, 24, -149); }

/* --- exact values and derivatives ----------------------------------------------------------------- */

typedef struct point { mpfr_t x[3]; } point;

static void point_set(point *p, const double x[3]) {
  for (int k = 0; k < 3; k++) { mpfr_init2(p->x[k], PRECISION); mpfr_set_d(p->x[k], x[k], MPFR_RNDN); }
}
static void point_clear(point *p) { for (int k = 0; k < 3; k++) mpfr_clear(p->x[k]); }
static void exact(mpfr_ptr z, const elementwise_row *r, const point *p) {
  oracles[r - elementwise_rows](z, p->x[0], p->x[1], p->x[2], r->attribute);
}

/* (f(.., x_k + h, ..) - f(.., x_k - h, ..))/2h with h = 2^-90 |x_k|, again for every operand in
 * k[0..order). */
static void exact_derivative(mpfr_ptr z, const elementwise_row *r, point *p, int order, const int k[]) {
  if (order == 0) { exact(z, r, p); return; }
  mpfr_t h, center, other;
  mpfr_init2(h, PRECISION); mpfr_init2(center, PRECISION); mpfr_init2(other, PRECISION);
  mpfr_set(center, p->x[k[0]], MPFR_RNDN);
  mpfr_abs(h, center, MPFR_RNDN);
  mpfr_mul_2si(h, h, -90, MPFR_RNDN);
  mpfr_add(p->x[k[0]], center, h, MPFR_RNDN);
  exact_derivative(z, r, p, order - 1, k + 1);
  mpfr_sub(p->x[k[0]], center, h, MPFR_RNDN);
  exact_derivative(other, r, p, order - 1, k + 1);
  mpfr_set(p->x[k[0]], center, MPFR_RNDN);
  mpfr_sub(z, z, other, MPFR_RNDN);
  mpfr_div(z, z, h, MPFR_RNDN);
  mpfr_div_2ui(z, z, 1, MPFR_RNDN);
  mpfr_clear(h); mpfr_clear(center); mpfr_clear(other);
}

/* The condition number of f (order 0) or of its derivative by k[0] (order 1) at p; f is its value there. */
static double condition(const elementwise_row *r, point *p, int order, int k0, mpfr_srcptr f) {
  double sum = 0;
  mpfr_t d; mpfr_init2(d, PRECISION);
  for (int j = 0; j < r->arity; j++) {
    const int k[2] = { j, k0 };
    exact_derivative(d, r, p, order + 1, k);
    mpfr_mul(d, d, p->x[j], MPFR_RNDN);
    mpfr_div(d, d, f, MPFR_RNDN);
    const double c = fabs(mpfr_get_d(d, MPFR_RNDN));
    if (isfinite(c)) sum += c;
  }
  mpfr_clear(d);
  return sum;
}

/* --- errors over the sampling ranges -------------------------------------------------------------- */

enum { SAMPLES = 256, TABLES = 4 };

/* Worst error of a row, by way of computing it: evaluate first, then the kernel tables. */
typedef struct worst { double value[TABLES + 1][2], derivative; } worst;
static worst worsts[ROW_COUNT];

static void grow(double *worst_so_far, double u) { if (u > *worst_so_far) *worst_so_far = u; }

static void sample(const elementwise_row *r, double x[3]) {
  for (int k = 0; k < 3; k++) x[k] = uniform(r->lo[k], r->hi[k]);
  if (r->kind == CLASS_CHOICE) x[0] = x[0] < 0.5 ? 0 : 1;
}

static void test_values_of(const elementwise_row *r) {
  static double x[3][SAMPLES], z[SAMPLES];
  static float xf[3][SAMPLES], zf[SAMPLES];
  static uint8_t chosen[SAMPLES];
  const int id = (int)(r - elementwise_rows);
  for (int i = 0; i < SAMPLES; i++) {
    double s[3];
    sample(r, s);
    for (int k = 0; k < 3; k++) { xf[k][i] = (float)s[k]; x[k][i] = (double)xf[k][i]; }
    chosen[i] = s[0] != 0;
  }
  const void *first = r->kind == CLASS_CHOICE ? (const void *)chosen : NULL;
  for (int t = -1; t < TABLES && (t < 0 || kernels_available(t)); t++) {
    if (t >= 0) {
      const kernel_table *table = kernels_available(t);
      table->row[AD_F64][id](SAMPLES, z, first ? first : x[0], r->arity > 1 ? x[1] : NULL,
                             r->arity > 2 ? x[2] : NULL, r->attribute);
      table->row[AD_F32][id](SAMPLES, zf, first ? first : xf[0], r->arity > 1 ? xf[1] : NULL,
                             r->arity > 2 ? xf[2] : NULL, r->attribute);
    }
    for (int i = 0; i < SAMPLES; i++) {
      point p; mpfr_t f; mpfr_init2(f, PRECISION);
      point_set(&p, (double[]){ x[0][i], x[1][i], x[2][i] });
      exact(f, r, &p);
      const double c = condition(r, &p, 0, 0, f);
      const double got = t < 0 ? r->evaluate(x[0][i], x[1][i], x[2][i], r->attribute) : z[i];
      const float gotf = t < 0 ? r->evaluate_f32(xf[0][i], xf[1][i], xf[2][i], r->attribute) : zf[i];
      const double u = ulps_f64(got, f), uf = ulps_f32(gotf, f);
      const char *way = t < 0 ? "value" : kernels_available(t)->name;
      check(u <= 4*(1 + c), r->name, way, x[0][i], x[1][i], x[2][i], got, mpfr_get_d(f, MPFR_RNDN));
      check(uf <= 4*(1 + c), r->name, way, x[0][i], x[1][i], x[2][i], (double)gotf, mpfr_get_d(f, MPFR_RNDN));
      grow(&worsts[id].value[t + 1][0], u);
      grow(&worsts[id].value[t + 1][1], uf);
      mpfr_clear(f); point_clear(&p);
    }
  }
}

/* propagate against differences, and linear in g. */
static void test_derivatives_of(const elementwise_row *r) {
  for (int i = 0; i < SAMPLES/8; i++) {
    double x[3], d[3], e[3];
    sample(r, x);
    const double a = r->attribute, z = r->evaluate(x[0], x[1], x[2], a);
    r->propagate(d, x[0], x[1], x[2], z, 1, a);
    r->propagate(e, x[0], x[1], x[2], z, -0.5, a);
    for (int k = 0; k < r->arity; k++) {
      check(e[k] == -0.5*d[k], r->name, "linear in g", x[0], x[1], x[2], e[k], -0.5*d[k]);
      if (r->kind == CLASS_CHOICE && k == 0) continue;
      point p; mpfr_t f; mpfr_init2(f, PRECISION);
      point_set(&p, x);
      exact_derivative(f, r, &p, 1, &k);
      const double c = condition(r, &p, 1, k, f), u = ulps_f64(d[k], f);
      check(u <= 6*(1 + c), r->name, "derivative", x[0], x[1], x[2], d[k], mpfr_get_d(f, MPFR_RNDN));
      grow(&worsts[r - elementwise_rows].derivative, u);
      mpfr_clear(f); point_clear(&p);
    }
  }
}

static void test_samples(void) {
  for (int id = 0; id < ROW_COUNT; id++)
    if (oracles[id]) {
      test_values_of(&elementwise_rows[id]);
      test_derivatives_of(&elementwise_rows[id]);
    }
}

/* --- kernels against evaluate, far from the sampling ranges --------------------------------------- */

static const double specials[] = {
  0.0,         -0.0,  INFINITY, -INFINITY, NAN,   5e-324, -5e-324, 1e-310,  0x1p-1022,   1e-200, 1e-30,
  -1e-30,      1e-12, -1e-12,   1e-5,      0.25,  0.5,    -0.5,    0.75,    1 - 0x1p-53, 1,      -1,
  1 + 0x1p-52, 1.5,   -1.5,     2,         -2,    2.5,    -2.5,    3,       -3,          7.25,   20,
  -20,         25,    40,       -40,       88,    -88,    103,     -104,    127,         128,    -149,
  308,         700,   -700,     709.7,     710,   -708.5, -745,    -746,    1000,        -1000,  1023,
  1024,        -1074, -1075,    1e5,       -1e5,  1e10,   1e15,    0x1p52,  1e17,        -1e17,  1e22,
  1e38,        1e154, -1e154,   1e160,     1e200, -1e200, 1e300,   1.7e308, -1.7e308
};
enum { SPECIALS = sizeof specials/sizeof *specials, MANY = 16384 };

/* Units in the last place between two doubles; equal zeros, infinities and nans are 0 apart. */
static double apart(double p, double q, bool single) {
  if (p == q || (p != p && q != q)) return 0;
  if (!isfinite(p) || !isfinite(q)) return INFINITY;
  const double m = fabs(q);
  int e;
  frexp(m, &e);
  const int least = single ? -149 : -1074, bits = single ? 24 : 53;
  return fabs(p - q)/ldexp(1, e - bits < least ? least : e - bits);
}

/* Operand k of sample i: all pairs of specials come first in a row of two operands. */
static double special_operand(const elementwise_row *r, int i, int k) {
  if (r->kind == CLASS_LOGICAL || (r->kind == CLASS_CHOICE && k == 0)) return (i >> k) & 1;
  if (i >= MANY / 2)
    return i % 3 ? uniform(-30, 30) : (uniform(-1, 1) > 0 ? 1 : -1) * pow(10, uniform(-300, 300));
  return specials[k == 0 ? i % SPECIALS : k == 1 ? i/SPECIALS % SPECIALS : i*7 % SPECIALS];
}

static double load(ad_dtype dtype, const void *v, int i) {
  switch (dtype) {
    case AD_BOOL: return ((const uint8_t *)v)[i];
    case AD_I32: return ((const int32_t *)v)[i];
    case AD_I64: return (double)((const int64_t *)v)[i];
    case AD_F32: return (double)((const float *)v)[i];
    default: return ((const double *)v)[i];
  }
}
static void store(ad_dtype dtype, void *v, int i, double x) {
  switch (dtype) {
    case AD_BOOL: ((uint8_t *)v)[i] = x != 0; break;
    case AD_I32: ((int32_t *)v)[i] = (int32_t)x; break;
    case AD_I64: ((int64_t *)v)[i] = (int64_t)x; break;
    case AD_F32: ((float *)v)[i] = (float)x; break;
    default: ((double *)v)[i] = x;
  }
}
static const size_t bytes_of[AD_DTYPES] = { 1, 4, 8, 4, 8 };

static ad_dtype result_dtype(const elementwise_row *r, ad_dtype dtype) {
  return r->kind == CLASS_FLOAT || r->kind == CLASS_NUMERIC || r->kind == CLASS_CHOICE ? dtype : AD_BOOL;
}
static ad_dtype operand_dtype(const elementwise_row *r, ad_dtype dtype, int k) {
  return r->kind == CLASS_CHOICE && k == 0 ? AD_BOOL : dtype;
}

/* A kernel may differ from evaluate by a few units in the last place; by more where the function is badly
 * conditioned, which MPFR decides. */
static bool close_enough(const elementwise_row *r, double got, double want, const double x[3], bool single) {
  if (apart(got, want, single) <= 8) return true;
  if (!isfinite(got) || !isfinite(want) || !oracles[r - elementwise_rows]) return false;
  point p; mpfr_t f; mpfr_init2(f, PRECISION);
  point_set(&p, x);
  exact(f, r, &p);
  const double u = single ? ulps_f32((float)got, f) : ulps_f64(got, f);
  const bool close = u <= 4*(1 + condition(r, &p, 0, 0, f));
  mpfr_clear(f); point_clear(&p);
  return close;
}

static void compare_with_evaluate(const kernel_table *table, const elementwise_row *r, ad_dtype dtype) {
  static double operand[3][MANY], out[MANY];
  const int id = (int)(r - elementwise_rows);
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < MANY; i++) store(operand_dtype(r, dtype, k), operand[k], i, special_operand(r, i, k));
  table->row[dtype][id](MANY, out, operand[0], r->arity > 1 ? operand[1] : NULL,
                        r->arity > 2 ? operand[2] : NULL, r->attribute);
  for (int i = 0; i < MANY; i++) {
    double x[3];
    for (int k = 0; k < 3; k++) x[k] = load(operand_dtype(r, dtype, k), operand[k], i);
    const double want = dtype == AD_F32
                            ? (double)r->evaluate_f32((float)x[0], (float)x[1], (float)x[2], r->attribute)
                            : r->evaluate(x[0], x[1], x[2], r->attribute);
    const double got = load(result_dtype(r, dtype), out, i);
    check(close_enough(r, got, want, x, dtype == AD_F32), r->name, table->name, x[0], x[1], x[2], got, want);
  }
}

static void test_kernels_far_out(void) {
  for (int t = 0; kernels_available(t); t++)
    for (int id = 0; id < ROW_COUNT; id++)
      for (int dtype = AD_BOOL; dtype < AD_DTYPES; dtype++)
        if (kernels_available(t)->row[dtype][id] && dtype != AD_I32 && dtype != AD_I64)
          compare_with_evaluate(kernels_available(t), &elementwise_rows[id], (ad_dtype)dtype);
}

/* The kernel of powi and evaluate give the same bits for small integer exponents; the rest is pow. */
static void test_constant_powers(void) {
  enum { COUNT = 19 };
  static const double exponents[] = { 0.5, -0.5, 70, -70, 1000, 2.25 };
  double x[COUNT], z[COUNT];
  for (int i = 0; i < COUNT; i++) x[i] = uniform(-2, 2);
  for (int t = 0; kernels_available(t); t++)
    for (int n = -66; n < 72; n++) {
      const double a = n < 66 ? n : exponents[n - 66];
      kernels_available(t)->row[AD_F64][ROW_powi](COUNT, z, x, NULL, NULL, a);
      for (int i = 0; i < COUNT; i++) {
        const double want = elementwise_rows[ROW_powi].evaluate(x[i], 0, 0, a);
        check(apart(z[i], want, false) <= (fabs(a) < 64 && a == trunc(a) ? 0 : 4), "powi",
              kernels_available(t)->name, x[i], a, 0, z[i], want);
      }
    }
}

/* Each kernel for each n up to 40: no element beyond n is written, z may be x, and the bits of an element
 * do not depend on n or its place. */
static void test_kernel_lengths(void) {
  enum { TOP = 40 };
  static double operand[3][TOP + 1], whole[TOP + 1], part[TOP + 1];
  for (int t = 0; kernels_available(t); t++)
    for (int id = 0; id < ROW_COUNT; id++)
      for (int dtype = AD_BOOL; dtype < AD_DTYPES; dtype++) {
        const elementwise_row *r = &elementwise_rows[id];
        block_kernel *kernel = kernels_available(t)->row[dtype][id];
        if (!kernel) continue;
        const ad_dtype in = (ad_dtype)dtype, out = result_dtype(r, in);
        const size_t size = bytes_of[out];
        for (int k = 0; k < 3; k++)
          for (int i = 0; i < TOP; i++) {
            double s[3];
            sample(r, s);
            store(operand_dtype(r, in, k), operand[k], i, s[k]);
          }
        kernel(TOP, whole, operand[0], operand[1], operand[2], r->attribute);
        for (size_t n = 0; n <= TOP; n++) {
          memset(part, 90, sizeof part);
          kernel(n, part, operand[0], operand[1], operand[2], r->attribute);
          check(!memcmp(part, whole, n * size), r->name, "same bits for every n", (double)n, (double)dtype, 0,
                0, 0);
          check(((char *)part)[n * size] == 90, r->name, "nothing written beyond n", (double)n, (double)dtype,
                0, 0, 0);
        }
        /* the last operand has the dtype of the row */
        const int alias = r->arity - 1;
        if (out != in) continue;
        const void *v[3] = { operand[0], operand[1], operand[2] };
        memcpy(part, operand[alias], sizeof part);
        v[alias] = part;
        kernel(TOP, part, v[0], v[1], v[2], r->attribute);
        check(!memcmp(part, whole, TOP*size), r->name, "z is an operand", (double)dtype, 0, 0, 0, 0);
      }
}

/* --- the points that docs/conventions.md names ---------------------------------------------------- */

typedef struct named_point { elementwise_id id; double x, y, w, a; int k; double derivative; } named_point;

#define UP INFINITY
static const named_point named_points[] = {
  /* 1. outside the domain */
  { ROW_log, -1, 0, 0, 0, 0, NAN }, { ROW_log2, -1, 0, 0, 0, 0, NAN }, { ROW_log10, -1, 0, 0, 0, 0, NAN },
  { ROW_log1p, -2, 0, 0, 0, 0, NAN }, { ROW_sqrt, -1, 0, 0, 0, 0, NAN }, { ROW_rsqrt, -1, 0, 0, 0, 0, NAN },
  { ROW_acos, 2, 0, 0, 0, 0, NAN }, { ROW_asin, -2, 0, 0, 0, 0, NAN }, { ROW_acosh, 0.5, 0, 0, 0, 0, NAN },
  { ROW_acosh, -2, 0, 0, 0, 0, NAN }, { ROW_atanh, 2, 0, 0, 0, 0, NAN }, { ROW_erfinv, 1.5, 0, 0, 0, 0, NAN },
  { ROW_pow, -2, 0.5, 0, 0, 0, NAN }, { ROW_pow, -2, 0.5, 0, 0, 1, NAN }, { ROW_xlogy, 1, -1, 0, 0, 1, NAN },
  { ROW_xlog1py, 1, -2, 0, 0, 1, NAN }, { ROW_fmod, 1, 0, 0, 0, 0, NAN },
  /* 2. at the edge of the domain, and at poles */
  { ROW_sqrt, 0, 0, 0, 0, 0, UP }, { ROW_log, 0, 0, 0, 0, 0, UP }, { ROW_log1p, -1, 0, 0, 0, 0, UP },
  { ROW_asin, 1, 0, 0, 0, 0, UP }, { ROW_asin, -1, 0, 0, 0, 0, UP }, { ROW_acos, 1, 0, 0, 0, 0, -UP },
  { ROW_acosh, 1, 0, 0, 0, 0, UP }, { ROW_atanh, 1, 0, 0, 0, 0, UP }, { ROW_cbrt, 0, 0, 0, 0, 0, UP },
  { ROW_reciprocal, 0, 0, 0, 0, 0, -UP }, { ROW_div, 1, 0, 0, 0, 1, -UP }, { ROW_powi, 0, 0, 0, -1, 0, -UP },
  { ROW_pow, 0, -1, 0, 0, 0, -UP }, { ROW_pow, 0, 0.5, 0, 0, 0, UP }, { ROW_rsqrt, 0, 0, 0, 0, 0, -UP },
  { ROW_lgamma, 0, 0, 0, 0, 0, -UP }, { ROW_digamma, 0, 0, 0, 0, 0, UP }, { ROW_tgamma, 0, 0, 0, 0, 0, -UP },
  { ROW_lgamma, -2, 0, 0, 0, 0, NAN }, { ROW_digamma, -1, 0, 0, 0, 0, NAN },
  { ROW_erfinv, 1, 0, 0, 0, 0, UP },
  { ROW_log2, 0, 0, 0, 0, 0, UP }, { ROW_log10, 0, 0, 0, 0, 0, UP }, { ROW_tgamma, -3, 0, 0, 0, 0, NAN },
  /* 3. kinks */
  { ROW_abs, 0, 0, 0, 0, 0, 0 }, { ROW_abs, -0.0, 0, 0, 0, 0, 0 }, { ROW_max, 2, 2, 0, 0, 0, 0.5 },
  { ROW_max, 2, 2, 0, 0, 1, 0.5 }, { ROW_min, 2, 2, 0, 0, 0, 0.5 }, { ROW_min, 2, 2, 0, 0, 1, 0.5 },
  { ROW_max, 0, 0, 0, 0, 0, 0.5 }, { ROW_max, 0, -0.0, 0, 0, 0, 0.5 }, { ROW_clamp, -1, -1, 1, 0, 0, 0.5 },
  { ROW_clamp, -1, -1, 1, 0, 1, 0.5 }, { ROW_clamp, -1, -1, 1, 0, 2, 0 }, { ROW_clamp, 1, -1, 1, 0, 0, 0.5 },
  { ROW_clamp, 1, -1, 1, 0, 2, 0.5 }, { ROW_clamp, 1, -1, 1, 0, 1, 0 }, { ROW_clamp, 5, -1, 1, 0, 0, 0 },
  { ROW_clamp, 5, -1, 1, 0, 2, 1 }, { ROW_clamp, -5, -1, 1, 0, 1, 1 }, { ROW_clamp, 0, -1, 1, 0, 0, 1 },
  { ROW_clamp, 0, 2, 1, 0, 2, 1 }, { ROW_clamp, 0, 2, 1, 0, 1, 0 }, { ROW_clamp, 3, 3, 3, 0, 0, 0.5 },
  { ROW_clamp, 3, 3, 3, 0, 1, 0.5 }, { ROW_clamp, 3, 3, 3, 0, 2, 0 }, { ROW_clamp, NAN, -1, 1, 0, 0, NAN },
  { ROW_hypot, 0, 0, 0, 0, 0, 0 }, { ROW_hypot, 0, 0, 0, 0, 1, 0 }, { ROW_copysign, 0, -1, 0, 0, 0, 0 },
  { ROW_copysign, -3, 2, 0, 0, 0, -1 }, { ROW_copysign, -3, -2, 0, 0, 0, 1 },
  { ROW_copysign, 3, -2, 0, 0, 0, -1 },
  { ROW_relu, 0, 0, 0, 0, 0, 0 }, { ROW_relu, -0.0, 0, 0, 0, 0, 0 },
  { ROW_leaky_relu, 0, 0, 0, 0.125, 0, 0.125 },
  /* 4. steps */
  { ROW_sign, 0, 0, 0, 0, 0, 0 }, { ROW_sign, 2, 0, 0, 0, 0, 0 }, { ROW_floor, 1, 0, 0, 0, 0, 0 },
  { ROW_ceil, 1.5, 0, 0, 0, 0, 0 }, { ROW_round, 0.5, 0, 0, 0, 0, 0 }, { ROW_trunc, 1, 0, 0, 0, 0, 0 },
  { ROW_less, 1, 1, 0, 0, 0, 0 }, { ROW_equal, 1, 1, 0, 0, 1, 0 }, { ROW_is_nan, NAN, 0, 0, 0, 0, 0 },
  { ROW_atan2, 0, 0, 0, 0, 0, NAN }, { ROW_atan2, 0, 0, 0, 0, 1, NAN },
  /* 5. what is not chosen, and nan */
  { ROW_max, 1, NAN, 0, 0, 0, 1 }, { ROW_max, 1, NAN, 0, 0, 1, 0 }, { ROW_max, NAN, 1, 0, 0, 0, 0 },
  { ROW_max, NAN, 1, 0, 0, 1, 1 }, { ROW_max, NAN, NAN, 0, 0, 0, 0.5 }, { ROW_min, 1, NAN, 0, 0, 0, 1 },
  { ROW_min, NAN, NAN, 0, 0, 1, 0.5 }, { ROW_relu, NAN, 0, 0, 0, 0, NAN }, { ROW_abs, NAN, 0, 0, 0, 0, NAN },
  { ROW_select, 1, 5, 6, 0, 1, 1 }, { ROW_select, 1, 5, 6, 0, 2, 0 }, { ROW_select, 0, 5, 6, 0, 2, 1 },
  { ROW_select, NAN, 5, 6, 0, 1, 1 }, { ROW_relu, -UP, 0, 0, 0, 0, 0 },
  /* 6. powers */
  { ROW_powi, 0, 0, 0, 0, 0, 0 }, { ROW_powi, 0, 0, 0, 1, 0, 1 }, { ROW_powi, 0, 0, 0, 2, 0, 0 },
  { ROW_powi, -2, 0, 0, 3, 0, 12 }, { ROW_powi, -2, 0, 0, 4, 0, -32 }, { ROW_powi, 0, 0, 0, 3, 0, 0 },
  { ROW_powi, NAN, 0, 0, 0, 0, 0 }, { ROW_powi, 0, 0, 0, 0.5, 0, UP },
  { ROW_pow, 0, 0, 0, 0, 0, 0 }, { ROW_pow, 0, 1, 0, 0, 0, 1 }, { ROW_pow, 0, 2, 0, 0, 0, 0 },
  { ROW_pow, 0, 1.5, 0, 0, 0, 0 }, { ROW_pow, 0, -3, 0, 0, 0, -UP }, { ROW_pow, -2, 3, 0, 0, 0, 12 },
  { ROW_pow, -2, -1, 0, 0, 0, -0.25 }, { ROW_pow, 3, 0, 0, 0, 0, 0 }, { ROW_pow, 0, 0, 0, 0, 1, 0 },
  { ROW_pow, 0, 2, 0, 0, 1, 0 }, { ROW_pow, -2, 3, 0, 0, 1, NAN }, { ROW_pow, 1, 5, 0, 0, 1, 0 },
  { ROW_pow, INFINITY, -1, 0, 0, 1, 0 },
  /* limits at infinity, and no cancellation */
  { ROW_tanh, UP, 0, 0, 0, 0, 0 }, { ROW_tanh, -UP, 0, 0, 0, 0, 0 },
  { ROW_tanh, 20, 0, 0, 0, 0, 1.6993417021166355e-17 },
  { ROW_sigmoid, -1000, 0, 0, 0, 0, 0 }, { ROW_sigmoid, UP, 0, 0, 0, 0, 0 },
  { ROW_sigmoid, 40, 0, 0, 0, 0, 4.248354255291589e-18 },
  { ROW_sigmoid, -40, 0, 0, 0, 0, 4.248354255291589e-18 },
  { ROW_softplus, 1000, 0, 0, 0, 0, 1 }, { ROW_softplus, -1000, 0, 0, 0, 0, 0 },
  { ROW_exp, -UP, 0, 0, 0, 0, 0 },
  { ROW_softplus, UP, 0, 0, 0, 0, 1 }, { ROW_softplus, -UP, 0, 0, 0, 0, 0 }, { ROW_erf, UP, 0, 0, 0, 0, 0 },
  { ROW_expm1, -40, 0, 0, 0, 0, 4.248354255291589e-18 }, { ROW_log1p, 1e-12, 0, 0, 0, 0, 0.999999999999 },
  { ROW_acos, 1 - 0x1p-53, 0, 0, 0, 0, -67108864.000000002 }, { ROW_hypot, 3e200, 4e200, 0, 0, 0, 0.6 },
  { ROW_hypot, 3e-200, 4e-200, 0, 0, 1, 0.8 }, { ROW_atan, 1e200, 0, 0, 0, 0, 0 },
  { ROW_atan, UP, 0, 0, 0, 0, 0 },
  { ROW_asinh, 1e200, 0, 0, 0, 0, 1e-200 }, { ROW_acosh, 1e200, 0, 0, 0, 0, 1e-200 },
  { ROW_atan2, 3e200, 4e200, 0, 0, 0, 1.6e-201 }, { ROW_atan2, 3e-200, 4e-200, 0, 0, 1, -1.2e199 },
  { ROW_atan2, 1, UP, 0, 0, 0, 0 }, { ROW_atan2, UP, 1, 0, 0, 1, 0 }, { ROW_reciprocal, UP, 0, 0, 0, 0, 0 },
  { ROW_erfc, 25, 0, 0, 0, 0, -4.1534010636398967e-272 }, { ROW_sub, UP, UP, 0, 0, 0, 1 },
  { ROW_sqrt, UP, 0, 0, 0, 0, 0 },
  { ROW_logaddexp, -UP, -UP, 0, 0, 0, 0.5 }, { ROW_logaddexp, -UP, 1, 0, 0, 0, 0 },
  { ROW_logaddexp, 1, -UP, 0, 0, 0, 1 },
  { ROW_silu, -UP, 0, 0, 0, 0, 0 }, { ROW_silu, UP, 0, 0, 0, 0, 1 }, { ROW_gelu, -UP, 0, 0, 0, 0, 0 },
  { ROW_gelu, UP, 0, 0, 0, 0, 1 }, { ROW_xlogy, 0, 0, 0, 0, 1, 0 },
  { ROW_xlogy, 0, 2, 0, 0, 0, 0.6931471805599453 },
  { ROW_xlogy, 0, 0, 0, 0, 0, -UP }, { ROW_xlog1py, 0, -1, 0, 0, 1, 0 }, { ROW_div, 1, UP, 0, 0, 1, 0 },
  { ROW_elu, -UP, 0, 0, 0.75, 0, 0 }, { ROW_fmod, 7, UP, 0, 0, 1, 0 }, { ROW_fmod, 7, 2, 0, 0, 1, -3 },
  { ROW_logsigmoid, -1000, 0, 0, 0, 0, 1 }, { ROW_lgamma, UP, 0, 0, 0, 0, UP },
};

static void test_named_points(void) {
  for (size_t i = 0; i < sizeof named_points/sizeof *named_points; i++) {
    const named_point *p = &named_points[i];
    const elementwise_row *r = &elementwise_rows[p->id];
    double d[3];
    const double z = r->evaluate(p->x, p->y, p->w, p->a);
    r->propagate(d, p->x, p->y, p->w, z, 1, p->a);
    check(apart(d[p->k], p->derivative, false) <= 16, r->name, "derivative at a named point", p->x, p->y,
          p->w, d[p->k], p->derivative);
  }
}

/* Rows whose operand is not connected say so by -0.0, and nothing else is ever -0.0. */
static void test_not_connected(void) {
  static const struct { named_point p; bool connected; } cases[] = {
    { { ROW_abs, 0, 0, 0, 0, 0, 0 }, false }, { { ROW_relu, -1, 0, 0, 0, 0, 0 }, false },
    { { ROW_relu, 1, 0, 0, 0, 0, 0 }, true }, { { ROW_floor, 0.5, 0, 0, 0, 0, 0 }, false },
    { { ROW_max, 1, 2, 0, 0, 0, 0 }, false }, { { ROW_max, 1, 2, 0, 0, 1, 0 }, true },
    { { ROW_select, 1, 2, 3, 0, 0, 0 }, false }, { { ROW_select, 1, 2, 3, 0, 2, 0 }, false },
    { { ROW_select, 1, 2, 3, 0, 1, 0 }, true }, { { ROW_neg, 1, 0, 0, 0, 0, 0 }, true },
    { { ROW_mul, 1, -2, 0, 0, 0, 0 }, true }, { { ROW_abs, -1, 0, 0, 0, 0, 0 }, true },
    { { ROW_powi, 3, 0, 0, 0, 0, 0 }, false }, { { ROW_powi, 3, 0, 0, 2, 0, 0 }, true },
    { { ROW_hypot, 0, 0, 0, 0, 0, 0 }, false }, { { ROW_clamp, 9, 0, 1, 0, 0, 0 }, false },
  };
  static const double seeds[] = { 0.0, -0.0, -5e-324 };
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++)
    for (size_t j = 0; j < 3; j++) {
      const named_point *p = &cases[i].p;
      const elementwise_row *r = &elementwise_rows[p->id];
      double d[3];
      r->propagate(d, p->x, p->y, p->w, r->evaluate(p->x, p->y, p->w, p->a), seeds[j], p->a);
      const bool none = d[p->k] == 0 && signbit(d[p->k]);
      check(none != cases[i].connected, r->name, "connected", p->x, p->y, p->w, d[p->k], seeds[j]);
    }
}

typedef struct named_value { elementwise_id id; double x, y, w, a, value; } named_value;
static const named_value named_values[] = {
  { ROW_digamma, 1.4616321449683623, 0, 0, 0, -9.2412655217294275e-17 },
  { ROW_digamma, 1.4616321449683625, 0, 0, 0, 1.2245374622004069e-16 },
  { ROW_erfc, 25, 0, 0, 0, 8.300172571196522e-274 },
  { ROW_softplus, 1000, 0, 0, 0, 1000 }, { ROW_softplus, -1000, 0, 0, 0, 0 },
  { ROW_sigmoid, -1000, 0, 0, 0, 0 },
  { ROW_sinpi, 1e15, 0, 0, 0, 0 }, { ROW_sinpi, 4503599627370495.5, 0, 0, 0, -1 },
  { ROW_cospi, 1e22, 0, 0, 0, 1 },
  { ROW_cospi, 0.5, 0, 0, 0, 0 }, { ROW_cospi, 1.5, 0, 0, 0, 0 }, { ROW_sinpi, INFINITY, 0, 0, 0, NAN },
  { ROW_hypot, 3e200, 4e200, 0, 0, 5e200 }, { ROW_hypot, 3e-200, 4e-200, 0, 0, 5e-200 },
  { ROW_hypot, UP, NAN, 0, 0, UP },
  { ROW_logaddexp, -UP, -UP, 0, 0, -UP }, { ROW_logaddexp, UP, UP, 0, 0, UP },
  { ROW_logaddexp, -UP, 3, 0, 0, 3 },
  { ROW_xlogy, 0, 0, 0, 0, 0 }, { ROW_xlogy, 0, NAN, 0, 0, NAN }, { ROW_xlog1py, 0, -1, 0, 0, 0 },
  { ROW_erfinv, 1, 0, 0, 0, UP }, { ROW_erfinv, -1, 0, 0, 0, -UP }, { ROW_erfinv, 1.1, 0, 0, 0, NAN },
  { ROW_erfinv, 0, 0, 0, 0, 0 }, { ROW_erfinv, 1 - 0x1p-53, 0, 0, 0, 5.8635847487551679 },
  { ROW_erfinv, 1e-300, 0, 0, 0, 8.862269254527580e-301 }, { ROW_silu, -UP, 0, 0, 0, 0 },
  { ROW_gelu, -UP, 0, 0, 0, 0 },
  { ROW_gelu, UP, 0, 0, 0, UP }, { ROW_relu, NAN, 0, 0, 0, NAN }, { ROW_max, NAN, 1, 0, 0, 1 },
  { ROW_max, 1, NAN, 0, 0, 1 }, { ROW_min, NAN, NAN, 0, 0, NAN }, { ROW_clamp, NAN, 0, 1, 0, NAN },
  { ROW_clamp, 0, 2, 1, 0, 1 }, { ROW_powi, 0, 0, 0, 0, 1 }, { ROW_powi, NAN, 0, 0, 0, 1 },
  { ROW_powi, -3, 0, 0, 3, -27 },
  { ROW_powi, 2, 0, 0, -2, 0.25 }, { ROW_powi, 1.0000001, 0, 0, 1000, 1.0001000049952246 },
  { ROW_trigamma, 0, 0, 0, 0, UP }, { ROW_trigamma, -1.5, 0, 0, 0, 9.3792466449891238 },
  { ROW_digamma, -1.5, 0, 0, 0, 0.70315664064524319 }, { ROW_polygamma, 1.5, 0, 0, 0, 0.03648997397857652 },
  { ROW_polygamma, -1.3, 0, 0, 2, 68.549413471162138 }, { ROW_polygamma, -1.3, 0, 0, 3, 768.72065719904286 },
  { ROW_polygamma, 30, 0, 0, 25, 1.0808587375381876e-13 }, { ROW_polygamma, UP, 0, 0, 4, 0 },
  { ROW_polygamma, 3, 0, 0, 1.5, NAN }, { ROW_lgamma, -2, 0, 0, 0, UP }, { ROW_sign, NAN, 0, 0, 0, NAN },
  { ROW_logical_xor, 1, 2, 0, 0, 0 }, { ROW_logical_and, NAN, 2, 0, 0, 1 }, { ROW_is_inf, -UP, 0, 0, 0, 1 },
  { ROW_is_finite, NAN, 0, 0, 0, 0 }, { ROW_is_finite, 1e308, 0, 0, 0, 1 }, { ROW_select, 0, 1, 2, 0, 2 },
};

static void test_named_values(void) {
  for (size_t i = 0; i < sizeof named_values/sizeof *named_values; i++) {
    const named_value *p = &named_values[i];
    const elementwise_row *r = &elementwise_rows[p->id];
    const double z = r->evaluate(p->x, p->y, p->w, p->a);
    check(apart(z, p->value, false) <= 8, r->name, "value at a named point", p->x, p->y, p->w, z, p->value);
  }
}

/* --- integers, logic, casts ----------------------------------------------------------------------- */

/* Small integers, where doubles are exact: truncated evaluate is the reference. x/0 and fmod(x, 0) are 0. */
static void test_small_integers(const kernel_table *table, int id, ad_dtype dtype) {
  enum { SIDE = 9, COUNT = SIDE*SIDE };
  static int64_t operand[3][COUNT], out[COUNT];
  const elementwise_row *r = &elementwise_rows[id];
  for (int i = 0; i < COUNT; i++) {
    store(operand_dtype(r, dtype, 0), operand[0], i, i % SIDE - 4);
    store(dtype, operand[1], i, i/SIDE - 4);
    store(dtype, operand[2], i, (i*5) % 7 - 3);
  }
  table->row[dtype][id](COUNT, out, operand[0], operand[1], operand[2], r->attribute);
  for (int i = 0; i < COUNT; i++) {
    const double x = load(operand_dtype(r, dtype, 0), operand[0], i), y = load(dtype, operand[1], i);
    const double w = load(dtype, operand[2], i), got = load(result_dtype(r, dtype), out, i);
    const bool by_zero = (id == ROW_div || id == ROW_fmod) && y == 0;
    const double want = by_zero ? 0 : trunc(r->evaluate(x, y, w, r->attribute));
    check(got == want, r->name, dtype == AD_I32 ? "i32" : "i64", x, y, w, got, want);
  }
}

typedef struct integer_case { elementwise_id id; int64_t x, y, i32, i64; } integer_case;
static const integer_case integer_cases[] = {
  { ROW_add, INT32_MAX, 1, INT32_MIN, (int64_t)INT32_MAX + 1 },
  { ROW_sub, INT32_MIN, 1, INT32_MAX, (int64_t)INT32_MIN - 1 },
  { ROW_mul, INT32_MIN, -1, INT32_MIN, -(int64_t)INT32_MIN }, { ROW_mul, 65536, 65536, 0, 4294967296 },
  { ROW_div, INT32_MIN, -1, INT32_MIN, -(int64_t)INT32_MIN }, { ROW_div, 7, -2, -3, -3 },
  { ROW_div, -7, 2, -3, -3 },
  { ROW_div, 7, 0, 0, 0 }, { ROW_fmod, INT32_MIN, -1, 0, 0 }, { ROW_fmod, -7, 3, -1, -1 },
  { ROW_fmod, 7, 0, 0, 0 },
  { ROW_neg, INT32_MIN, 0, INT32_MIN, -(int64_t)INT32_MIN },
  { ROW_abs, INT32_MIN, 0, INT32_MIN, -(int64_t)INT32_MIN },
  { ROW_square, 65536, 0, 0, 4294967296 }, { ROW_max, INT32_MIN, INT32_MAX, INT32_MAX, INT32_MAX },
  { ROW_min, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MIN }, { ROW_relu, INT32_MIN, 0, 0, 0 },
  { ROW_sign, INT32_MIN, 0, -1, -1 }, { ROW_less, INT32_MIN, INT32_MAX, 1, 1 },
  { ROW_equal, INT32_MAX, INT32_MIN, 0, 0 },
  { ROW_floor, INT32_MAX, 0, INT32_MAX, INT32_MAX },
};
static const integer_case wide_cases[] = {                            /* i64 alone */
  { ROW_add, INT64_MAX, 1, 0, INT64_MIN }, { ROW_mul, INT64_MIN, -1, 0, INT64_MIN },
  { ROW_div, INT64_MIN, -1, 0, INT64_MIN }, { ROW_fmod, INT64_MIN, -1, 0, 0 },
  { ROW_neg, INT64_MIN, 0, 0, INT64_MIN },
  { ROW_abs, INT64_MIN, 0, 0, INT64_MIN }, { ROW_less, 9007199254740992, 9007199254740993, 0, 1 },
  { ROW_add, 9007199254740992, 1, 0, 9007199254740993 },
};

static void check_integer(const kernel_table *table, const integer_case *c, ad_dtype dtype) {
  const elementwise_row *r = &elementwise_rows[c->id];
  const int32_t x32 = (int32_t)c->x, y32 = (int32_t)c->y;
  int32_t z32 = 0;
  int64_t z64 = 0, got, want = dtype == AD_I32 ? c->i32 : c->i64;
  if (dtype == AD_I32) table->row[dtype][c->id](1, &z32, &x32, &y32, NULL, 0);
  else table->row[dtype][c->id](1, &z64, &c->x, &c->y, NULL, 0);
  got = dtype == AD_I32 ? z32 : z64;
  if (r->kind == CLASS_COMPARE) got = dtype == AD_I32 ? *(uint8_t *)&z32 : *(uint8_t *)&z64;
  check(got == want, r->name, "integer edge", (double)c->x, (double)c->y, (double)dtype, (double)got,
        (double)want);
}

/* 3^n and (-1)^n, wrapping, in both integer types. */
static void check_integer_powers(const kernel_table *table) {
  static const struct { int64_t x, n, i32, i64;
  } cases[] = {
    { 3, 4, 81, 81 }, { -2, 3, -8, -8 }, { 2, 32, 0, 4294967296 }, { 5, 0, 1, 1 },   { 0, 0, 1, 1 },
    { 2, -1, 0, 0 },  { 1, -3, 1, 1 },   { -1, -3, -1, -1 },       { -1, -2, 1, 1 }, { 0, -1, 0, 0 },
  };
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    const int32_t x32 = (int32_t)cases[i].x;
    int32_t z32;
    int64_t z64;
    table->row[AD_I32][ROW_powi](1, &z32, &x32, NULL, NULL, (double)cases[i].n);
    table->row[AD_I64][ROW_powi](1, &z64, &cases[i].x, NULL, NULL, (double)cases[i].n);
    check(z32 == cases[i].i32 && z64 == cases[i].i64, "powi", "integers", (double)x32, (double)cases[i].n, 0,
          (double)z64, (double)cases[i].i64);
  }
}

static void test_integers(void) {
  for (int t = 0; kernels_available(t); t++) {
    const kernel_table *table = kernels_available(t);
    for (int id = 0; id < ROW_COUNT; id++) {
      if (table->row[AD_I32][id]) test_small_integers(table, id, AD_I32);
      if (table->row[AD_I64][id]) test_small_integers(table, id, AD_I64);
    }
    for (size_t i = 0; i < sizeof integer_cases/sizeof *integer_cases; i++) {
      check_integer(table, &integer_cases[i], AD_I32);
      check_integer(table, &integer_cases[i], AD_I64);
    }
    for (size_t i = 0; i < sizeof wide_cases / sizeof *wide_cases; i++)
      check_integer(table, &wide_cases[i], AD_I64);
    check_integer_powers(table);
  }
}

/* From every type to every type: values that fit both stay; floats truncate, saturate, and nan gives 0. */
static void test_casts(void) {
  static const double small[] = { 0, 1, 2, 3.75, 100, -1, -3.75, -100 };
  static const struct { double x; int32_t i32; int64_t i64; } hard[] = {
    { NAN, 0, 0 }, { INFINITY, INT32_MAX, INT64_MAX }, { -INFINITY, INT32_MIN, INT64_MIN },
    { 3e9, INT32_MAX, 3000000000 }, { -3e9, INT32_MIN, -3000000000 }, { 0x1p31, INT32_MAX, 2147483648 },
    { -0x1p31, INT32_MIN, -2147483648 }, { 1e30, INT32_MAX, INT64_MAX }, { -1e30, INT32_MIN, INT64_MIN },
    { 0x1p63, INT32_MAX, INT64_MAX }, { -0x1p63, INT32_MIN, INT64_MIN }, { 0.99, 0, 0 }, { -0.99, 0, 0 },
  };
  for (int t = 0; kernels_available(t); t++) {
    const kernel_table *table = kernels_available(t);
    for (int from = 0; from < AD_DTYPES; from++)
      for (int to = 0; to < AD_DTYPES; to++)
        for (int i = 0; i < 8; i++) {
          double x = 0, z = 0;
          store((ad_dtype)from, &x, 0, small[i]);
          const double held = load((ad_dtype)from, &x, 0);
          const double want = to == AD_BOOL ? held != 0 : to == AD_I32 || to == AD_I64 ? trunc(held) : held;
          table->cast[from][to](1, &z, &x, NULL, NULL, 0);
          const double got = load((ad_dtype)to, &z, 0);
          check(got == want, "cast", table->name, small[i], from, to, got, want);
        }
    for (size_t i = 0; i < sizeof hard/sizeof *hard; i++)
      for (int from = AD_F32; from <= AD_F64; from++) {
        double x = 0;
        int32_t z32;
        int64_t z64;
        uint8_t truth;
        store((ad_dtype)from, &x, 0, hard[i].x);
        table->cast[from][AD_I32](1, &z32, &x, NULL, NULL, 0);
        table->cast[from][AD_I64](1, &z64, &x, NULL, NULL, 0);
        table->cast[from][AD_BOOL](1, &truth, &x, NULL, NULL, 0);
        check(z32 == hard[i].i32, "cast", "f to i32", hard[i].x, from, 0, z32, hard[i].i32);
        check(z64 == hard[i].i64, "cast", "f to i64", hard[i].x, from, 0, (double)z64, (double)hard[i].i64);
        check(truth == 1, "cast", "f to bool", hard[i].x, from, 0, truth, 1);
      }
  }
}

/* --- the table's own consistency ------------------------------------------------------------------ */

static void test_table(void) {
  for (int id = 0; id < ROW_COUNT; id++) {
    const elementwise_row *r = &elementwise_rows[id];
    check(r->name && r->doc && r->value && r->arity >= 1 && r->arity <= 3, r->name, "row is complete", id, 0,
          0, 0, 0);
    for (int k = 0; k < 3; k++)
      check((k < r->arity) == (r->rule[k] != NULL), r->name, "a rule for each operand", id, k, 0, 0, 0);
    for (int k = 0; k < r->arity; k++)
      check(r->lo[k] < r->hi[k], r->name, "a range to sample", id, k, 0, 0, 0);
    for (int other = 0; other < id; other++)
      check(strcmp(r->name, elementwise_rows[other].name) != 0, r->name, "names differ", id, other, 0, 0, 0);
    for (int t = 0; kernels_available(t); t++) {
      const bool in_f64 = kernels_available(t)->row[AD_F64][id] != NULL, logic = r->kind == CLASS_LOGICAL;
      const bool in_i32 = kernels_available(t)->row[AD_I32][id] != NULL;
      const bool integer = r->kind == CLASS_NUMERIC || r->kind == CLASS_COMPARE || r->kind == CLASS_CHOICE;
      check(in_f64 != logic && in_i32 == integer, r->name, "kernels as the class says", id, t, 0, 0, 0);
    }
  }
}

static void print_table(FILE *out) {
  fprintf(out, "Worst error in units in the last place, in the sampling range of the row;\n"
               "0 is correctly rounded. d/dx: propagate. Then the block kernels of each instruction set, f64 "
               "and f32.\n");
  fprintf(out, "%-16s %8s %8s %8s", "row", "f64", "f32", "d/dx f64");
  for (int t = 0; kernels_available(t); t++)
    fprintf(out, " %8.8s %8.8s", kernels_available(t)->name, "(f32)");
  fprintf(out, "\n");
  for (int id = 0; id < ROW_COUNT; id++) {
    if (!oracles[id]) continue;
    const worst *v = &worsts[id];
    fprintf(out, "%-16s %8.2f %8.2f %8.2f", elementwise_rows[id].name, v->value[0][0], v->value[0][1],
            v->derivative);
    for (int t = 0; kernels_available(t); t++)
      fprintf(out, " %8.2f %8.2f", v->value[t + 1][0], v->value[t + 1][1]);
    fprintf(out, "\n");
  }
}

/* Far out silu and gelu are x or 0, to all digits: slope 1 or 0, and no higher derivatives, though rules
 * multiply by squares of x, which are infinite there. */
static void test_far_derivatives(void) {
  static const double far[] = { 1e3, 1e100, 1e154, 1e155, 1e200, 1e250, 1e300, 1.7e308 };
  for (size_t i = 0; i < 2*sizeof far/sizeof *far; i++)
    for (int k = 0; k < 2; k++) {
      const double at = (i%2 ? -1 : 1)*far[i/2];
      ad_tape *t = ad_tape_new();
      ad_var x = ad_scalar(t, at), d = k ? ad_silu(x) : ad_gelu(x);
      for (int order = 1; order <= 4; order++) {
        ad_grad(d, 1, &x, &d);
        const double want = order == 1 && at > 0 ? 1 : 0, got = ad_value(d);
        check(got == want, k ? "silu" : "gelu", "derivative far out", at, order, 0, got, want);
      }
      ad_tape_free(t);
    }
}

int main(int argc, char **argv) {
  test_table();
  test_far_derivatives();
  test_named_values();
  test_named_points();
  test_not_connected();
  test_integers();
  test_casts();
  test_constant_powers();
  test_kernel_lengths();
  test_kernels_far_out();
  test_samples();
  print_table(stdout);
  FILE *file = argc > 1 ? fopen(argv[1], "w") : NULL;
  if (file) print_table(file);
  check(argc < 2 || (file && fclose(file) == 0), "table", "written to the file", 0, 0, 0, 0, 0);
  mpfr_free_cache();
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
