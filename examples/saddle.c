/* saddle.c -- an optimisation inside an optimisation, and the derivative of what comes out.
 *
 *   V(p) = min over x of max over y of  x y - exp(y) - p x
 *
 * A loop climbs to the maximum over y by gradient steps; another loop goes down in x along the gradient of
 * what the first one arrives at; and that whole is differentiated by p. Nobody knows how many steps the loops
 * make before they run. Each of the two gradients may be taken forwards or backwards, which gives four
 * programs. All must come to the closed form, which follows from y = log x and y = p:
 *
 *   x = exp(p),   V = -exp(p),   dV/dp = -exp(p),   dx/dp = exp(p)
 *
 * Last, the same by ad_minimize, which takes Newton steps, and differentiates not them but the equation that
 * its result solves.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

static ad_var payoff(ad_var x, ad_var y, ad_var p) {
  return ad_sub(ad_sub(ad_mul(x, y), ad_exp(y)), ad_mul(p, x));
}

typedef enum mode { FORWARD, REVERSE } mode;

/* df/dx. For a scalar x one sweep does either way. */
static ad_var slope(mode how, ad_tape *tape, ad_var f, ad_var x) {
  ad_var g, one = ad_constant(tape, AD_F64(), &(double){ 1 });
  if (how == REVERSE) ad_grad(f, 1, &x, &g);
  else ad_jvp(1, &x, &one, 1, &f, &g);
  return g;
}

/* --- by loops --- */

typedef struct game {
  mode inner, outer;
  ad_function *moving, *climb, *descend;
} game;

/* (z, step, ..) -> whether the last step was longer than 1e-12 */
static void moving(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_greater(ad_abs(in[1]), 1e-12);
}

/* (y, step, x, p) -> (y, step): uphill in y */
static void climb(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const game *g = context;
  out[1] = ad_mul(0.5, slope(g->inner, tape, payoff(in[2], in[0], in[3]), in[0]));
  out[0] = ad_add(in[0], out[1]);
}

/* The payoff where y is the best answer to x. The state of the loop is (y, step), from (0, 1). */
static ad_var worst_case(const game *g, ad_var x, ad_var p) {
  ad_var y[2];
  ad_while(g->moving, g->climb, NULL, (const ad_var[]){ ad_real(0), ad_real(1), x, p }, y);
  return payoff(x, y[0], p);
}

/* (x, step, p) -> (x, step): downhill in x */
static void descend(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const game *g = context;
  out[1] = ad_neg(slope(g->outer, tape, worst_case(g, in[0], in[2]), in[0]));
  out[0] = ad_add(in[0], out[1]);
}

/* p -> (V, x) */
static void by_loops(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const game *g = context;
  ad_var x[2];
  (void)tape;
  ad_while(g->moving, g->descend, NULL, (const ad_var[]){ ad_real(1), ad_real(1), in[0] }, x);
  out[0] = worst_case(g, x[0], in[0]);
  out[1] = x[0];
}

/* --- by ad_minimize --- */

/* (y, x, p) -> what y makes as small as it can */
static void loss(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_neg(payoff(in[1], in[0], in[2]));
}

/* (x, p) -> the payoff where y is the best answer */
static void implicit_worst_case(ad_tape *tape, const ad_var in[], ad_var out[], void *loss_function) {
  ad_var y;
  (void)tape;
  ad_minimize(loss_function, NULL, (const ad_var[]){ ad_real(0), in[0], in[1] }, &y);
  out[0] = payoff(in[0], y, in[1]);
}

/* p -> (V, x) */
static void implicitly(ad_tape *tape, const ad_var in[], ad_var out[], void *worst_case_function) {
  (void)tape;
  ad_minimize(worst_case_function, NULL, (const ad_var[]){ ad_real(1), in[0] }, &out[1]);
  ad_function_apply(worst_case_function, (const ad_var[]){ out[1], in[0] }, &out[0]);
}

/* --- results at p = 1/2 --- */

static void print_result(const char *name, double v, double x, double dv, double dx) {
  printf("%-24s V = %.9f, x = %.9f, dV/dp = %.9f, dx/dp = %.9f\n", name, v, x, dv, dx);
}

static ad_status print_saddle(const char *name, ad_body *body, void *context) {
  const double p = 0.5;
  const void *const in[1] = { &p };
  double v, x, dv, dx;
  ad_workspace *workspace = ad_workspace_new();
  ad_function *f = ad_function_trace("saddle", body, context, 1, (const ad_type[]){ AD_F64() }, 2);
  ad_function *derivative = ad_function_jacobian(f, 0, NULL);
  ad_status status = ad_function_call(f, in, (void *[]){ &v, &x }, workspace);
  if (!status) status = ad_function_call(derivative, in, (void *[]){ &dv, &dx }, workspace);
  if (!status) print_result(name, v, x, dv, dx);
  else fprintf(stderr, "%s: %s %s\n", name, ad_status_sentence(status), ad_workspace_message(workspace));
  ad_function_free(derivative);
  ad_function_free(f);
  ad_workspace_free(workspace);
  return status;
}

static ad_status print_loops(const char *name, mode inner, mode outer) {
  const ad_type real[4] = { AD_F64(), AD_F64(), AD_F64(), AD_F64() };
  game g = { .inner = inner, .outer = outer };
  g.moving = ad_function_trace("moving", moving, NULL, 2, real, 1);
  g.climb = ad_function_trace("climb", climb, &g, 4, real, 2);
  g.descend = ad_function_trace("descend", descend, &g, 3, real, 2);
  ad_status status = print_saddle(name, by_loops, &g);
  ad_function_free(g.descend);
  ad_function_free(g.climb);
  ad_function_free(g.moving);
  return status;
}

static ad_status print_implicit(void) {
  const ad_type real[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_function *lost = ad_function_trace("loss", loss, NULL, 3, real, 1);
  ad_function *worst = ad_function_trace("worst_case", implicit_worst_case, lost, 2, real, 1);
  ad_status status = print_saddle("ad_minimize", implicitly, worst);
  ad_function_free(worst);
  ad_function_free(lost);
  return status;
}

int main(void) {
  ad_status status = print_loops("forward over forward", FORWARD, FORWARD);
  if (!status) status = print_loops("forward over reverse", REVERSE, FORWARD);
  if (!status) status = print_loops("reverse over forward", FORWARD, REVERSE);
  if (!status) status = print_loops("reverse over reverse", REVERSE, REVERSE);
  if (!status) status = print_implicit();
  print_result("closed form", -exp(0.5), exp(0.5), -exp(0.5), exp(0.5));
  return status != AD_OK;
}
