/* poisson_network.c -- a network that solves a partial differential equation.
 *
 *   -(u_xx + u_yy) = f on the unit square, u = 0 on its boundary
 *
 * for f = 5 pi^2 sin(pi x) sin(2 pi y), of which the solution is sin(pi x) sin(2 pi y). The network is
 * 2-20-20-1 with tanh, and u = x (1 - x) y (1 - y) N(x, y) is zero on the boundary whatever N is (Lagaris,
 * Likas, Fotiadis, IEEE TNN 9, 1998). The mean square residual at 25 x 25 points is made small by L-BFGS,
 * with the gradient of all points at once. There are more points than parameters (501): with fewer, a
 * network may satisfy the equation there and nowhere else. u_xx and u_yy are second Taylor coefficients
 * along x and y. The solution is judged at 41 x 41 points, and the program writes poisson_network.svg: u
 * along y.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 25, POINTS = SIDE*SIDE, FINE_SIDE = 41, FINE = FINE_SIDE*FINE_SIDE, HIDDEN = 20, W = 6 };
static const double pi = 3.14159265358979323846;

/* u at points (n, 2), as (n) */
static ad_var solution(const ad_layer *net, const ad_var w[W], ad_var points) {
  ad_var n = ad_squeeze(ad_layer_apply(net, w, points, NULL), AD_AXES(1));
  ad_var bubble = ad_prod(ad_mul(points, ad_sub(1, points)), AD_AXES(1), false);
  return ad_mul(bubble, n);
}

/* (w.., points) -> u */
static void evaluate(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  (void)tape;
  out[0] = solution(net, in, in[W]);
}

/* The second derivative of u along coordinate k of all points. */
static ad_var second(ad_var u, ad_var points, int k) {
  const double unit[2] = { k == 0, k == 1 };
  ad_var axis = ad_constant(points.tape, AD_F64(2), unit), coefficient[3];
  ad_var direction[2] = { ad_broadcast_to(axis, 2, ad_type_of(points).dim), ad_none() };
  ad_taylor(2, 1, &points, direction, 1, &u, coefficient);
  return ad_mul(2, coefficient[2]);
}

/* (w.., points, f) -> the mean square of u_xx + u_yy + f */
static void residual(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  (void)tape;
  ad_var u = solution(net, in, in[W]);
  ad_var laplacian = ad_add(second(u, in[W], 0), second(u, in[W], 1));
  out[0] = ad_mean(ad_square(ad_add(laplacian, in[W + 1])), AD_ALL_AXES, false);
}

static double exact(const double point[2]) { return sin(pi*point[0])*sin(2*pi*point[1]); }

/* side x side points: from `margin` to 1 - margin in both coordinates. */
static void lattice(int side, double margin, double point[][2]) {
  for (int i = 0; i < side*side; i++) {
    point[i][0] = margin + (1 - 2*margin)*(i/side)/(side - 1);
    point[i][1] = margin + (1 - 2*margin)*(i%side)/(side - 1);
  }
}

static ad_status train(ad_layer *net, ad_parameters *w, ad_lbfgs_result *result) {
  double point[POINTS][2], f[POINTS];
  lattice(SIDE, 0.5/SIDE, point);
  for (int i = 0; i < POINTS; i++) f[i] = 5*pi*pi*exact(point[i]);
  ad_type type[W + 2];
  memcpy(type, ad_parameters_types(w), W*sizeof type[0]);
  type[W] = AD_F64(POINTS, 2), type[W + 1] = AD_F64(POINTS);
  ad_function *loss = ad_function_trace("residual", residual, net, W + 2, type, 1);
  ad_function *gradient = ad_function_gradient(loss, W, (const int[]){ 0, 1, 2, 3, 4, 5 });
  const ad_lbfgs_options options = { .memory = 20, .iterations = 800, .gradient = 1e-3 };
  const void *const fixed[2] = { point, f };
  ad_status status = ad_lbfgs(gradient, W, ad_parameters_all(w), fixed, &options, result);
  ad_function_free(gradient);
  ad_function_free(loss);
  return status;
}

static ad_status solve(ad_layer *net, ad_parameters *w, double point[FINE][2], double u[FINE]) {
  const void *in[W + 1];
  ad_type type[W + 1];
  memcpy(type, ad_parameters_types(w), W*sizeof type[0]);
  memcpy(in, ad_parameters_all(w), W*sizeof in[0]);
  lattice(FINE_SIDE, 0, point);
  in[W] = point, type[W] = AD_F64(FINE, 2);
  ad_function *f = ad_function_trace("u", evaluate, net, W + 1, type, 1);
  ad_status status = ad_function_call(f, in, (void *[]){ u }, NULL);
  ad_function_free(f);
  return status;
}

static double largest_error(double point[FINE][2], const double u[FINE]) {
  double worst = 0;
  for (int i = 0; i < FINE; i++) {
    double error = fabs(u[i] - exact(point[i]));
    worst = error <= worst ? worst : error;              /* nan stays */
  }
  return worst;
}

/* u along y at two places x, marks over the exact curves. */
static ad_status draw(double point[FINE][2], const double u[FINE]) {
  static double y[FINE_SIDE], curve[2][FINE_SIDE];
  static const int place[2] = { FINE_SIDE/2, FINE_SIDE/4 };
  for (int i = 0; i < FINE_SIDE; i++) {
    y[i] = point[i][1];
    for (int k = 0; k < 2; k++) curve[k][i] = exact(point[place[k]*FINE_SIDE + i]);
  }
  const ad_series series[4] = {
    { .name = "exact, x = 1/2", .count = FINE_SIDE, .x = y, .y = curve[0] },
    { .name = "network", .count = FINE_SIDE, .x = y, .y = u + place[0]*FINE_SIDE, .points = true },
    { .name = "exact, x = 1/4", .count = FINE_SIDE, .x = y, .y = curve[1] },
    { .name = "network", .count = FINE_SIDE, .x = y, .y = u + place[1]*FINE_SIDE, .points = true } };
  const ad_plot plot = { .title = "-(u_xx + u_yy) = f", .x_label = "y", .y_label = "u" };
  return ad_plot_svg("poisson_network.svg", &plot, 4, series, NULL);
}

/* Trains, judges and draws one network. */
static ad_status run(ad_layer *net, ad_parameters *w) {
  static double point[FINE][2], u[FINE];
  ad_lbfgs_result result;
  ad_status status = solve(net, w, point, u);
  if (status) return status;
  printf("before: largest error above 0.5: %s\n", largest_error(point, u) > 0.5 ? "yes" : "no");
  status = train(net, w, &result);
  if (status && status != AD_ERROR_CONVERGENCE) return status;      /* some more iterations would not hurt */
  printf("after:  mean square residual below 1e-2: %s\n", result.last.value < 1e-2 ? "yes" : "no");
  status = solve(net, w, point, u);
  if (status) return status;
  printf("        largest error below 1e-3: %s\n", largest_error(point, u) < 1e-3 ? "yes" : "no");
  printf("picture written: %s\n", draw(point, u) == AD_OK ? "yes" : "no");
  return AD_OK;
}

int main(void) {
  ad_layer *net = ad_sequential(5, (ad_layer *[]){
    ad_linear(2, HIDDEN), ad_activation(ad_tanh), ad_linear(HIDDEN, HIDDEN), ad_activation(ad_tanh),
    ad_linear(HIDDEN, 1) });
  ad_parameters *w = ad_layer_parameters(net, AD_F64, 1);
  ad_status status = ad_parameters_status(w);
  if (!status) status = run(net, w);
  if (status) fprintf(stderr, "%s\n", ad_status_sentence(status));
  ad_parameters_free(w);
  ad_layer_free(net);
  return status ? 1 : 0;
}
