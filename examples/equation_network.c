/* equation_network.c -- a network that solves a differential equation.
 *
 *   u'' + u = 0 on [0, 1],  u(0) = 0,  u(1) = sin 1;  the solution is sin x
 *
 * N is a network 1-20-20-1 with tanh. What is made small, by 1000 steps of Adam, is the mean of (u'' + u)^2
 * at 100 points; nothing is given of the solution between the ends. u'' is twice the second Taylor
 * coefficient of the recorded network along x; the gradient by the weights goes through that. There are two
 * ways to meet the conditions at the ends:
 *
 *   u = sin(1) x + x (1 - x) N(x)        whatever N is (Lagaris, Likas, Fotiadis, IEEE TNN 9, 1998)
 *   u = N(x), with the squares of what is missing at the ends added to the loss
 *
 * In the second, equation and conditions pull at the same weights, and after as many steps it is not as far.
 * The program writes equation_network.svg: sin x, and u from the first way.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 100, HIDDEN = 20, EPOCHS = 1000, SEEDS = 10 };
enum { W = 6, STATE = 1 + 2*W };         /* arrays of parameters, and of the state of Adam */

/* What the functions are recorded from. */
typedef struct problem { ad_layer *net; bool exact_ends; } problem;

static ad_var solution(const problem *p, const ad_var w[W], ad_var x) {
  ad_var n = ad_layer_apply(p->net, w, x, NULL);
  return p->exact_ends ? ad_add(ad_mul(sin(1), x), ad_mul(ad_mul(x, ad_sub(1, x)), n)) : n;
}

/* (w.., x) -> u */
static void evaluate(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape;
  out[0] = solution(context, in, in[W]);
}

static ad_var missing_at_ends(ad_var u) {
  ad_var left = ad_at(u, 2, (const int64_t[]){ 0, 0 });
  ad_var right = ad_at(u, 2, (const int64_t[]){ POINTS - 1, 0 });
  return ad_add(ad_square(left), ad_square(ad_sub(right, sin(1))));
}

/* (w.., state.., x) -> (w.., state..) after a step */
static void learn(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  const ad_optimiser adam = ad_adam(1e-3);
  ad_var x = in[W + STATE], u = solution(p, in, x), g[W];
  ad_var direction[2] = { ad_ones(tape, ad_type_of(x)), ad_none() }, coefficient[3];
  ad_taylor(2, 1, &x, direction, 1, &u, coefficient);
  ad_var second = ad_mul(2, coefficient[2]);
  ad_var loss = ad_mean(ad_square(ad_add(second, u)), AD_ALL_AXES, false);
  if (!p->exact_ends) loss = ad_add(loss, missing_at_ends(u));
  ad_grad(loss, W, in, g);
  ad_optimiser_step(&adam, W, in, g, in + W, out, out + W);
}

/* Trains from what w is; u becomes the solution at the points x. */
static ad_status solve(problem *p, ad_parameters *w, const double x[POINTS], double u[POINTS]) {
  const ad_optimiser adam = ad_adam(1e-3);
  ad_parameters *state = ad_optimiser_state(&adam, w);
  ad_type type[W + STATE + 1];
  const void *in[W + STATE + 1];
  void *out[W + STATE];
  if (!state) return AD_ERROR_MEMORY;
  memcpy(type, ad_parameters_types(w), W*sizeof type[0]);
  memcpy(type + W, ad_parameters_types(state), STATE*sizeof type[0]);
  memcpy(out, ad_parameters_all(w), W*sizeof out[0]);
  memcpy(out + W, ad_parameters_all(state), STATE*sizeof out[0]);
  for (int i = 0; i < W + STATE; i++) in[i] = out[i];
  in[W + STATE] = x, type[W + STATE] = AD_F64(POINTS, 1);

  ad_report report;
  ad_function *step = ad_function_trace_report("learn", learn, p, W + STATE + 1, type, W + STATE, &report);
  ad_status status = step ? AD_OK : report.status;
  for (int i = 0; i < EPOCHS && !status; i++) status = ad_function_call(step, in, out, NULL);
  ad_function_free(step);
  ad_parameters_free(state);

  in[W] = x, type[W] = AD_F64(POINTS, 1);
  ad_function *f = ad_function_trace_report("u", evaluate, p, W + 1, type, 1, &report);
  if (!status) status = f ? ad_function_call(f, in, (void *[]){ u }, NULL) : report.status;
  ad_function_free(f);
  return status;
}

static double largest_error(const double x[POINTS], const double u[POINTS]) {
  double worst = 0;
  for (int i = 0; i < POINTS; i++) {
    double error = fabs(u[i] - sin(x[i]));
    worst = error <= worst ? worst : error;              /* nan stays */
  }
  return worst;
}

static ad_status draw(const double x[POINTS], const double u[POINTS]) {
  double exact[POINTS];
  for (int i = 0; i < POINTS; i++) exact[i] = sin(x[i]);
  const ad_series curve[2] = { { .name = "sin x", .count = POINTS, .x = x, .y = exact },
                               { .name = "network", .count = POINTS, .x = x, .y = u, .points = true } };
  const ad_plot plot = { .title = "u'' + u = 0", .x_label = "x", .y_label = "u" };
  return ad_plot_svg("equation_network.svg", &plot, 2, curve, NULL);
}

/* The network from each seed in turn: how many have all errors below a limit. u is left as the last one. */
static ad_status compare(problem *p, const double x[POINTS], double u[POINTS]) {
  static const double limit[2] = { 1e-3, 1e-2 };
  int below[2] = { 0, 0 };
  ad_status status = AD_OK;
  for (uint64_t seed = 1; seed <= SEEDS && !status; seed++) {
    ad_parameters *w = ad_layer_parameters(p->net, AD_F64, seed);
    status = solve(p, w, x, u);
    for (int k = 0; k < 2; k++) below[k] += !status && largest_error(x, u) < limit[k];
    ad_parameters_free(w);
  }
  printf("%-11s", p->exact_ends ? "exact" : "in the loss");
  for (int k = 0; k < 2; k++) {
    const char *all = below[k] == SEEDS ? "all" : below[k] ? "some" : "none";
    printf("  below %g: %s%s", limit[k], all, k ? "\n" : "");
  }
  return status;
}

int main(void) {
  double x[POINTS], u[POINTS];
  for (int i = 0; i < POINTS; i++) x[i] = i/(POINTS - 1.0);
  problem p = { .net = ad_sequential(5, (ad_layer *[]){
    ad_linear(1, HIDDEN), ad_activation(ad_tanh), ad_linear(HIDDEN, HIDDEN), ad_activation(ad_tanh),
    ad_linear(HIDDEN, 1) }) };
  printf("largest error against sin x of %d networks, ends\n", SEEDS);
  ad_status status = compare(&p, x, u);
  p.exact_ends = true;
  if (!status) status = compare(&p, x, u);
  if (!status) printf("picture written: %s\n", draw(x, u) == AD_OK ? "yes" : "no");
  if (status) fprintf(stderr, "%s\n", ad_status_sentence(status));
  ad_layer_free(p.net);
  return status ? 1 : 0;
}
