/* kepler.c -- Kepler's equation E - e sin E = M, solved for E by ad_root, and derivatives of the solution up
 * to the third order beside their closed forms: with c = 1 - e cos E, s = e sin E,
 *
 *   E' = 1/c,   E'' = -s/c^3,   E''' = (3 s^2 - c e cos E)/c^5          by M
 *
 * Nothing differentiates Newton's steps: the derivative of a root follows from the equation alone.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

/* in: E, M, e; out: what must become 0. */
static void equation(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_sub(ad_sub(in[0], ad_mul(in[2], ad_sin(in[0]))), in[1]);
}

static void print(const char *name, double got, double closed) {
  printf("%-10s %12.8f  closed form %12.8f\n", name, got, closed);
}

static void print_derivatives(ad_tape *tape, ad_function *f, double anomaly, double eccentricity) {
  ad_var m = ad_scalar(tape, anomaly), e = ad_scalar(tape, eccentricity), x, d[3], by_e;
  ad_root(f, NULL, (const ad_var[]){ m, m, e }, &x);           /* the guess for E is M */
  ad_grad(x, 1, &m, &d[0]);
  ad_grad(d[0], 1, &m, &d[1]);
  ad_grad(d[1], 1, &m, &d[2]);
  ad_grad(x, 1, &e, &by_e);

  double v = ad_value(x), c = 1 - eccentricity*cos(v), s = eccentricity*sin(v);
  printf("M = %g, e = %g: E = %.8f, residual below 1e-14: %s\n", anomaly, eccentricity, v,
         fabs(v - s - anomaly) < 1e-14 ? "yes" : "no");
  print("dE/dM", ad_value(d[0]), 1/c);
  print("d2E/dM2", ad_value(d[1]), -s/pow(c, 3));
  print("d3E/dM3", ad_value(d[2]), (3*s*s - c*eccentricity*cos(v))/pow(c, 5));
  print("dE/de", ad_value(by_e), sin(v)/c);
}

int main(void) {
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_report report;
  ad_function *f = ad_function_trace_report("kepler", equation, NULL, 3, type, 1, &report);
  if (!f) {
    fprintf(stderr, "%s\n", report.message);
    return 1;
  }
  ad_tape *tape = ad_tape_new();
  print_derivatives(tape, f, 1, 0.3);
  print_derivatives(tape, f, 0.2, 0.8);
  const bool good = ad_tape_status(tape) == AD_OK;
  if (!good) fprintf(stderr, "%s\n", ad_tape_message(tape));
  ad_tape_free(tape);
  ad_function_free(f);
  return !good;
}
