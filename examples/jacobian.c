/* jacobian.c -- vjp, jvp, Jacobian and Hessians of the map R^2 -> R^3
 *   y = (x0^2 + x1^2, x0 x1, sin x0 + cos x1)
 * at (2, 3), beside the closed form. A traced function can be called any number of times, from any thread,
 * and its derivatives are functions again.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

static const double at[2] = { 2, 3 };

/* in: x (2), out: y (3). */
static void map(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  ad_var x0 = ad_at(in[0], 1, (const int64_t[]){ 0 }), x1 = ad_at(in[0], 1, (const int64_t[]){ 1 });
  ad_var y[3];
  y[0] = ad_add(ad_square(x0), ad_square(x1));
  y[1] = ad_mul(x0, x1);
  y[2] = ad_add(ad_sin(x0), ad_cos(x1));
  out[0] = ad_stack(3, y, 0);
}

/* out: component *context of y, a scalar. */
static void component(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  map(tape, in, out, NULL);
  out[0] = ad_at(out[0], 1, context);
}

static void print_vector(const char *name, int n, const double v[]) {
  printf("%-18s", name);
  for (int i = 0; i < n; i++) printf(" %9.6f", v[i] + 0.0);         /* -0 prints as 0 */
  printf("\n");
}

/* (x, ybar) -> (y, xbar = J^T ybar), and (x, xdot) -> (y, ydot = J xdot). NULL outputs are not wanted. */
static ad_status print_products(ad_function *f) {
  const double ybar[3] = { 1, 2, 3 }, xdot[2] = { 1, 0.5 }, c = cos(2), s = sin(3);
  double xbar[2] = { 0 }, ydot[3] = { 0 };
  ad_function *vjp = ad_function_vjp(f), *jvp = ad_function_jvp(f);
  ad_status status = vjp && jvp ? AD_OK : AD_ERROR_MEMORY;
  if (!status) status = ad_function_call(vjp, (const void *[]){ at, ybar }, (void *[]){ NULL, xbar }, NULL);
  if (!status) status = ad_function_call(jvp, (const void *[]){ at, xdot }, (void *[]){ NULL, ydot }, NULL);
  print_vector("vjp with (1, 2, 3)", 2, xbar);
  print_vector("  closed form", 2, (const double[]){ 2*2 + 2*3 + 3*c, 2*3 + 2*2 - 3*s });
  print_vector("jvp with (1, 0.5)", 3, ydot);
  print_vector("  closed form", 3, (const double[]){ 2*2 + 3, 3 + 1, c - 0.5*s });
  ad_function_free(vjp);
  ad_function_free(jvp);
  return status;
}

static ad_status print_jacobian(ad_function *f) {
  double j[6] = { 0 };
  ad_function *jacobian = ad_function_jacobian(f, 0, NULL);
  ad_status status = AD_ERROR_MEMORY;
  if (jacobian) status = ad_function_call(jacobian, (const void *[]){ at }, (void *[]){ j }, NULL);
  print_vector("Jacobian by rows", 6, j);
  print_vector("  closed form", 6, (const double[]){ 4, 6, 3, 2, cos(2), -sin(3) });
  ad_function_free(jacobian);
  return status;
}

static ad_status print_hessian(int64_t which) {
  const double closed[3][4] = { { 2, 0, 0, 2 }, { 0, 1, 1, 0 }, { -sin(2), 0, 0, -cos(3) } };
  double h[4] = { 0 };
  ad_function *f = ad_function_trace("component", component, &which, 1, (const ad_type[]){ AD_F64(2) }, 1);
  ad_function *hessian = f ? ad_function_hessian(f, 0, NULL) : NULL;
  ad_status status = AD_ERROR_MEMORY;
  if (hessian) status = ad_function_call(hessian, (const void *[]){ at }, (void *[]){ h }, NULL);
  printf("Hessian of y%d\n", (int)which);
  print_vector("  by rows", 4, h);
  print_vector("  closed form", 4, closed[which]);
  ad_function_free(hessian);
  ad_function_free(f);
  return status;
}

int main(void) {
  ad_report report;
  ad_function *f = ad_function_trace_report("map", map, NULL, 1, (const ad_type[]){ AD_F64(2) }, 1, &report);
  if (!f) {
    fprintf(stderr, "%s\n", report.message);
    return 1;
  }
  ad_status status = print_products(f);
  if (!status) status = print_jacobian(f);
  for (int64_t i = 0; i < 3 && !status; i++) status = print_hessian(i);
  if (status) fprintf(stderr, "%s\n", ad_status_sentence(status));
  ad_function_free(f);
  return status != AD_OK;
}
