/* iterations.c -- Newton's method for roots and minima, and Anderson's mixing for fixed points, as C: see
 * src/run/root.c, minimize.c and fixed_point.c for the methods and their sources.
 */
#include "write/implicit.h"
#include "primitives/written.h"

#include <stdio.h>
#include <string.h>

/* Calls of the routines that all have, as statements. */
static void declare_largest(iteration_text *s, const char *name, const char *of, int64_t n) {
  unit_line(s->c->u, "const R %s = %s(%lld, %s);", name, s->largest, (long long)n, of);
}

/* "if (step_is_small(..)) {" for a whole step; the next close ends it. */
static void open_if_small(iteration_text *s, const char *also, const char *relative) {
  unit_open(s->c->u, "if (%s%s(%lld, at, met, epsilon, length, %s)) ", also, s->small, (long long)s->n,
            relative);
}

static void fail_after(iteration_text *s) {
  char condition[48];
  snprintf(condition, sizeof condition, "k == INT64_C(%lld)", (long long)s->a->iterations);
  iteration_failure(s, condition, AD_ERROR_CONVERGENCE, "no convergence");
}

/* A whole Newton step that is small is the last one. */
static void end_at_small_step(iteration_text *s, const char *also) {
  open_if_small(s, also, "relative");
  iteration_advance(s, "at", "at", "1", "step");
  unit_line(s->c->u, "break;");
  unit_close(s->c->u);
}

/* Where no step was accepted: converged to rounding, or stuck. */
static void end_where_stuck(iteration_text *s, const char *also, const char *why) {
  unit *u = s->c->u;
  unit_open(u, "if (!moved) ");
  unit_line(u, "if (%s%s(%lld, at, met, epsilon, length, M(sqrt)(epsilon))) break;", also, s->small,
            (long long)s->n);
  iteration_failure(s, NULL, AD_ERROR_CONVERGENCE, why);
  unit_close(u);
}

/* --- roots ---------------------------------------------------------------------------------------------- */

static void declare_root(iteration_text *s) {
  const int64_t n = s->n;
  iteration_vector(s, "r", n);
  iteration_vector(s, "step", n);
  iteration_vector(s, "trial", n);
  iteration_vector(s, "r_trial", n);
  iteration_vector(s, "slopes", n*n);
  iteration_vector(s, "factors", n*n + n);
}

/* step = -J^-1 r */
static bool newton_step(iteration_text *s) {
  unit *u = s->c->u;
  char factorise[WRITE_NAME], solve[WRITE_NAME], condition[2*WRITE_NAME];
  const long long n = (long long)s->n;
  snprintf(factorise, sizeof factorise, "%s", written_factorise(u->w, AD_F64));
  snprintf(solve, sizeof solve, "%s", written_solve(u->w, AD_F64));
  if (!iteration_value(s, s->a->jacobian, "at", "slopes", s->n*s->n)) return false;
  iteration_failure(s, "!isfinite(residual)", AD_ERROR_CONVERGENCE, "the residual is not finite");
  unit_line(u, "%s(%lld, slopes, factors);", factorise, n);
  unit_line(u, "for (int64_t i = 0; i < %lld; i++) step[i] = -r[i];", n);
  snprintf(condition, sizeof condition, "%s(0, %lld, 1, factors, step)", solve, n);
  iteration_failure(s, condition, AD_ERROR_SINGULAR, "the Jacobian is singular");
  declare_largest(s, "length", "step", s->n);
  iteration_failure(s, "!isfinite(length)", AD_ERROR_CONVERGENCE, "the step is not finite");
  return true;
}

/* Goes along the step as far as the residual gets smaller. */
static bool search_root(iteration_text *s) {
  unit *u = s->c->u;
  unit_line(u, "const R before = %s(%lld, r);", s->norm, (long long)s->n);
  unit_line(u, "int moved = 0;");
  unit_open(u, "for (R a = 1; a >= (R)0x1p-40 && !moved; a /= 2) ");
  iteration_advance(s, "trial", "at", "a", "step");
  const bool good = iteration_value(s, s->a->residual, "trial", "r_trial", s->n);
  unit_line(u, "moved = %s(%lld, r_trial) <= (1 - (R)1e-4*a)*before;", s->norm, (long long)s->n);
  unit_close(u);
  return good;
}

bool write_root(iteration_text *s) {
  unit *u = s->c->u;
  s->residual = "residual";
  declare_root(s);
  bool good = iteration_value(s, s->a->residual, "at", "r", s->n);
  unit_open(u, "for (int64_t k = 0;; k++) ");
  declare_largest(s, "residual", "r", s->n);
  unit_line(u, "if (residual <= absolute) break;");
  fail_after(s);
  good = good && newton_step(s);
  end_at_small_step(s, "");
  good = good && search_root(s);
  end_where_stuck(s, "", "no step makes the residual smaller");
  iteration_goto(s, "trial");
  unit_copy(u, "r", "r_trial", s->n);
  unit_close(u);
  iteration_result(s, "at");
  return good;
}

/* --- minima --------------------------------------------------------------------------------------------- */

/* Of H's own transpose, as the library gives it to LAPACK. */
static const char definite_text[] =
  "/* Cholesky's factor of h + shift; 1: that is not positive definite. */\n"
  "static int HELPER(factorise_shifted)(int64_t n, const REAL *h, REAL shift, REAL *factor) {\n"
  "  for (int64_t i = 0; i < n; i++)\n"
  "    for (int64_t j = 0; j < n; j++) factor[i*n + j] = h[j*n + i] + (i == j ? shift : 0);\n"
  "  return HELPER(cholesky_factor)(n, factor);\n"
  "}\n";

static const char shift_text[] =
  "/* The shift that makes h positive definite, 0 if it is; -1: none, h is not finite. */\n"
  "static REAL HELPER(make_definite)(int64_t n, const REAL *h, REAL *factor) {\n"
  "  REAL size = HELPER(largest_magnitude)(n*n, h), lowest = (REAL)INFINITY;\n"
  "  if (!isfinite(size)) return -1;\n"
  "  if (!HELPER(factorise_shifted)(n, h, 0, factor)) return 0;\n"
  "  if (size == 0) size = 1;\n"
  "  for (int64_t i = 0; i < n; i++) lowest = MATH(fmin)(lowest, h[i*n + i]);\n"
  "  for (REAL shift = (lowest > 0 ? 0 : -lowest) + (REAL)1e-3*size; isfinite(shift); shift *= 4)\n"
  "    if (!HELPER(factorise_shifted)(n, h, shift, factor)) return shift;\n"
  "  return -1;\n"
  "}\n";

/* Rounding of f is some units in its last place. */
static const char better_text[] =
  "/* Is the value lower enough, or, where rounding hides that, the gradient g smaller? */\n"
  "static int HELPER(descends)(int64_t n, REAL a, REAL slope, REAL epsilon, REAL value, const REAL *g,\n"
  "                            REAL value_trial, const REAL *g_trial) {\n"
  "  const REAL norm = HELPER(euclidean_norm)(n, g_trial);\n"
  "  if (value_trial <= value + (REAL)1e-4*a*slope) return isfinite(norm) != 0;\n"
  "  return value_trial <= value + 16*epsilon*MATH(fabs)(value)\n"
  "         && norm <= (REAL)0.9*HELPER(euclidean_norm)(n, g);\n"
  "}\n";

typedef struct descent_names {
  char factorise[WRITE_NAME], definite[WRITE_NAME], substitute[WRITE_NAME], better[WRITE_NAME];
} descent_names;

static void declare_minimize(iteration_text *s, descent_names *name) {
  const int64_t n = s->n;
  iteration_vector(s, "value", 1);
  iteration_vector(s, "value_trial", 1);
  iteration_vector(s, "g", n);
  iteration_vector(s, "g_trial", n);
  iteration_vector(s, "step", n);
  iteration_vector(s, "trial", n);
  iteration_vector(s, "h", n*n);
  iteration_vector(s, "factor", n*n);
  written_cholesky(s->c->u->w, AD_F64);
  iteration_routine(s, name->factorise, "factorise_shifted", definite_text);
  iteration_routine(s, name->definite, "make_definite", shift_text);
  iteration_routine(s, name->better, "descends", better_text);
  snprintf(name->substitute, WRITE_NAME, "%s", written_substitute(s->c->u->w, AD_F64));
}

static bool evaluate(iteration_text *s, const char *at, const char *value, const char *gradient) {
  return iteration_value(s, s->a->value, at, value, 1)
         && iteration_value(s, s->a->residual, at, gradient, s->n);
}

/* Where the gradient is zero: a minimum, unless the Hessian is indefinite beyond rounding. */
static void end_where_stationary(iteration_text *s, const descent_names *name) {
  unit *u = s->c->u;
  unit_open(u, "if (gradient <= absolute) ");
  declare_largest(s, "size", "h", s->n*s->n);
  unit_line(u, "if (size == 0 || !%s(%lld, h, M(sqrt)(epsilon)*size, factor)) break;", name->factorise,
            (long long)s->n);
  iteration_failure(s, NULL, AD_ERROR_CONVERGENCE, "the point is stationary, but no minimum,");
  unit_close(u);
}

/* The factor is regular: what substitution says needs no look. */
static void descent_step(iteration_text *s, const descent_names *name) {
  unit *u = s->c->u;
  const long long n = (long long)s->n;
  unit_line(u, "const R shift = %s(%lld, h, factor);", name->definite, n);
  iteration_failure(s, "shift < 0", AD_ERROR_CONVERGENCE, "the Hessian is not finite");
  unit_line(u, "for (int64_t i = 0; i < %lld; i++) step[i] = -g[i];", n);
  unit_line(u, "(void)%s(1, 0, %lld, 1, factor, step);", name->substitute, n);
  unit_line(u, "(void)%s(1, 1, %lld, 1, factor, step);", name->substitute, n);
  declare_largest(s, "length", "step", s->n);
}

static bool search_minimum(iteration_text *s, const descent_names *name) {
  unit *u = s->c->u;
  const long long n = (long long)s->n;
  unit_line(u, "R slope = 0;");
  unit_line(u, "for (int64_t i = 0; i < %lld; i++) slope += g[i]*step[i];", n);
  unit_line(u, "int moved = 0;");
  unit_open(u, "for (R a = 1; a >= (R)0x1p-60 && !moved; a /= 2) ");
  iteration_advance(s, "trial", "at", "a", "step");
  const bool good = evaluate(s, "trial", "value_trial", "g_trial");
  unit_line(u, "moved = %s(%lld, a, slope, epsilon, value[0], g, value_trial[0], g_trial);", name->better, n);
  unit_close(u);
  return good;
}

bool write_minimize(iteration_text *s) {
  unit *u = s->c->u;
  descent_names name;
  s->residual = "gradient";
  declare_minimize(s, &name);
  bool good = evaluate(s, "at", "value", "g");
  unit_open(u, "for (int64_t k = 0;; k++) ");
  declare_largest(s, "gradient", "g", s->n);
  iteration_failure(s, "!isfinite(gradient) || isnan(value[0])", AD_ERROR_CONVERGENCE,
                    "the function is not finite");
  good = good && iteration_value(s, s->a->jacobian, "at", "h", s->n*s->n);
  end_where_stationary(s, &name);
  fail_after(s);
  descent_step(s, &name);
  end_at_small_step(s, "shift == 0 && ");
  good = good && search_minimum(s, &name);
  end_where_stuck(s, "shift == 0 && ", "no step makes the function smaller");
  iteration_goto(s, "trial");
  unit_copy(u, "value", "value_trial", 1);
  unit_copy(u, "g", "g_trial", s->n);
  unit_close(u);
  iteration_result(s, "at");
  return good;
}

/* --- fixed points --------------------------------------------------------------------------------------- */

static const char mix_text[] =
  "/* next = g - sum c_i dg_i, c the least squares solution of sum c_i df_i = f: the differences are made\n"
  " * orthonormal, newest first, in qf and qg; returns how many were left. Walker and Ni, SIAM J. Numer.\n"
  " * Anal. 49 (2011). */\n"
  "static int64_t HELPER(anderson_mix)(int64_t n, int64_t depth, int64_t count, int64_t newest,\n"
  "                                    const REAL *f, const REAL *g, const REAL *df, const REAL *dg,\n"
  "                                    REAL *qf, REAL *qg, REAL *next) {\n"
  "  int64_t made = 0;\n"
  "  for (int64_t i = 0; i < n; i++) next[i] = g[i];\n"
  "  for (int64_t age = 0; age < count; age++) {\n"
  "    const int64_t from = (newest + depth - age)%depth*n;\n"
  "    REAL *own = qf + made*n, *other = qg + made*n, c = 0;\n"
  "    for (int64_t i = 0; i < n; i++) own[i] = df[from + i], other[i] = dg[from + i];\n"
  "    const REAL before = HELPER(euclidean_norm)(n, own);\n"
  "    for (int64_t q = 0; q < made; q++) {\n"
  "      c = 0;\n"
  "      for (int64_t i = 0; i < n; i++) c += own[i]*qf[q*n + i];\n"
  "      for (int64_t i = 0; i < n; i++) own[i] -= c*qf[q*n + i];\n"
  "      for (int64_t i = 0; i < n; i++) other[i] -= c*qg[q*n + i];\n"
  "    }\n"
  "    const REAL after = HELPER(euclidean_norm)(n, own);\n"
  "    if (!(after > (REAL)1e-8*before)) continue;\n"
  "    for (int64_t i = 0; i < n; i++) own[i] /= after, other[i] /= after;\n"
  "    c = 0;\n"
  "    for (int64_t i = 0; i < n; i++) c += f[i]*own[i];\n"
  "    for (int64_t i = 0; i < n; i++) next[i] -= c*other[i];\n"
  "    made++;\n"
  "  }\n"
  "  return made;\n"
  "}\n";

static int64_t mixing_depth(const iteration_text *s) { return s->a->mixing < s->n ? s->a->mixing : s->n; }

static void declare_fixed_point(iteration_text *s) {
  static const char *const vector[] = { "f", "g", "f_old", "g_old", "next", "plain" };
  static const char *const matrix[] = { "df", "dg", "qf", "qg" };
  unit *u = s->c->u;
  const int64_t depth = mixing_depth(s);
  for (int k = 0; k < (depth ? 6 : 2); k++) iteration_vector(s, vector[k], s->n);
  for (int k = 0; k < 4 && depth; k++) iteration_vector(s, matrix[k], s->n*depth);
  if (!depth) return;
  unit_line(u, "int64_t count = 0, newest = 0;");
  unit_line(u, "int mixed = 0, compared = 0;");
  unit_line(u, "R before = (R)INFINITY;");
}

/* A mixed point where the function is undefined, or much worse than before: the plain one instead. */
static void go_back(iteration_text *s) {
  unit *u = s->c->u;
  unit_line(u, "const R now = %s(%lld, f);", s->norm, (long long)s->n);
  unit_open(u, "if (mixed && !(now <= 10*before)) ");
  iteration_goto(s, "plain");
  unit_line(u, "mixed = compared = 0;");
  unit_line(u, "count = 0;");
  unit_line(u, "continue;");
  unit_close(u);
}

static void remember(iteration_text *s) {
  unit *u = s->c->u;
  const long long n = (long long)s->n, depth = (long long)mixing_depth(s);
  unit_open(u, "if (compared) ");
  unit_line(u, "newest = (newest + 1)%%%lld;", depth);
  unit_line(u, "if (count < %lld) count++;", depth);
  unit_open(u, "for (int64_t i = 0; i < %lld; i++) ", n);
  unit_line(u, "df[newest*%lld + i] = f[i] - f_old[i];", n);
  unit_line(u, "dg[newest*%lld + i] = g[i] - g_old[i];", n);
  unit_close(u);
  unit_close(u);
}

static void advance_mixed(iteration_text *s) {
  unit *u = s->c->u;
  char mix[WRITE_NAME];
  const long long n = (long long)s->n;
  iteration_routine(s, mix, "anderson_mix", mix_text);
  unit_line(u, "before = now;");
  unit_line(u, "mixed = %s(%lld, %lld, count, newest, f, g, df, dg, qf, qg, next) > 0;", mix, n,
            (long long)mixing_depth(s));
  unit_open(u, "if (!isfinite(%s(%lld, next))) ", s->largest, n);
  unit_copy(u, "next", "g", s->n);
  unit_line(u, "mixed = 0;");
  unit_line(u, "count = 0;");
  unit_close(u);
  unit_copy(u, "plain", "g", s->n);
  unit_copy(u, "f_old", "f", s->n);
  unit_copy(u, "g_old", "g", s->n);
  iteration_advance(s, "next", "next", NULL, NULL);
  iteration_goto(s, "next");
  unit_line(u, "compared = 1;");
}

/* The residual of the operation is x - g: f is minus that, and g = x + f. */
bool write_fixed_point(iteration_text *s) {
  unit *u = s->c->u;
  const bool mixing = mixing_depth(s) > 0;
  s->residual = "length";
  declare_fixed_point(s);
  unit_open(u, "for (int64_t k = 0;; k++) ");
  const bool good = iteration_value(s, s->a->residual, "at", "f", s->n);
  unit_line(u, "for (int64_t i = 0; i < %lld; i++) f[i] = -f[i];", (long long)s->n);
  iteration_advance(s, "g", "at", "1", "f");
  declare_largest(s, "length", "f", s->n);
  unit_line(u, "if (length <= absolute || %s(%lld, at, met, epsilon, length, relative)) break;", s->small,
            (long long)s->n);
  fail_after(s);
  if (mixing) go_back(s);
  iteration_failure(s, "!isfinite(length)", AD_ERROR_CONVERGENCE, "the residual is not finite");
  if (mixing) remember(s), advance_mixed(s);
  else iteration_goto(s, "g");
  unit_close(u);
  iteration_result(s, "g");
  return good;
}
