/* cart_pole.c -- code to take away: one Runge-Kutta step of a cart with a pole, and its sensitivities, as C
 * for a controller.
 *
 * The state is (position, angle, speed, angular speed), angle 0 is upright; the force pushes the cart.
 * Written are the step and its Jacobian by state and force: cart_pole.c and cart_pole.h, which need <math.h>
 * alone and allocate nothing. Any C compiler makes firmware of them; here they are only written, and what
 * they will compute is shown by the interpreter. */
#include <adit.h>
#include <stdio.h>

/* Masses in kg, length in m, a step in s. */
enum { STATES = 4 };
static const double cart = 1.0, pole = 0.1, length = 0.5, gravity = 9.81, step = 0.02;

/* Time derivatives. Source: Barto, Sutton, Anderson, IEEE Trans. SMC 13 (1983), without friction. */
static void motion(const ad_var x[STATES], ad_var force, ad_var rate[STATES]) {
  const ad_var s = ad_sin(x[1]), c = ad_cos(x[1]), mass = ad_real(cart + pole);
  const ad_var push = ad_div(ad_add(force, ad_mul(ad_mul(pole*length, ad_square(x[3])), s)), mass);
  const ad_var lever = ad_mul(length, ad_sub(4.0/3, ad_div(ad_mul(pole, ad_square(c)), mass)));
  rate[0] = x[2];
  rate[1] = x[3];
  rate[3] = ad_div(ad_sub(ad_mul(gravity, s), ad_mul(c, push)), lever);
  rate[2] = ad_sub(push, ad_div(ad_mul(ad_mul(pole*length, rate[3]), c), mass));
}

/* The classical method of order four; in: state (4), force; out: the state a step later. */
static void runge_kutta(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  static const double at[4] = { 0, 0.5, 0.5, 1 }, weight[4] = { 1, 2, 2, 1 };
  ad_var x[STATES], next[STATES], rate[STATES] = { ad_real(0), ad_real(0), ad_real(0), ad_real(0) };
  (void)t, (void)context;
  for (int64_t i = 0; i < STATES; i++) next[i] = x[i] = ad_at(in[0], 1, &i);
  for (int stage = 0; stage < 4; stage++) {
    ad_var y[STATES];
    for (int i = 0; i < STATES; i++) y[i] = stage ? ad_add(x[i], ad_mul(at[stage]*step, rate[i])) : x[i];
    motion(y, in[1], rate);
    for (int i = 0; i < STATES; i++) next[i] = ad_add(next[i], ad_mul(weight[stage]*step/6, rate[i]));
  }
  out[0] = ad_stack(STATES, next, 0);
}

int main(void) {
  const ad_type in[2] = { AD_F64(STATES), AD_F64() };
  ad_function *f = ad_function_trace("cart_pole", runge_kutta, NULL, 2, in, 1);
  ad_function *jacobian = ad_function_jacobian(f, 0, NULL);
  const ad_code code = { .name = "cart_pole", .entries = AD_CODE_VALUE | AD_CODE_JACOBIAN };
  ad_report report = { AD_ERROR_IO, "no file" };
  FILE *c = fopen("cart_pole.c", "w"), *h = fopen("cart_pole.h", "w");
  if (c && h) ad_function_emit_c(f, c, h, &code, &report);
  printf("cart_pole.c and cart_pole.h: %s\n", ad_status_sentence(report.status));
  if (c) fclose(c);
  if (h) fclose(h);

  double x[STATES] = { 0, 0.1, 0, 0 }, force = 1, y[STATES], by_state[STATES][STATES], by_force[STATES];
  ad_function_call(f, (const void *[]){ x, &force }, (void *[]){ y }, NULL);
  ad_function_call(jacobian, (const void *[]){ x, &force }, (void *[]){ by_state, by_force }, NULL);
  printf("a step later: %.6f %.6f %.6f %.6f\n", y[0], y[1], y[2], y[3]);
  for (int i = 0; i < STATES; i++)
    printf("%9.6f %9.6f %9.6f %9.6f   %9.6f\n", by_state[i][0], by_state[i][1], by_state[i][2],
           by_state[i][3], by_force[i]);
  ad_function_free(jacobian);
  ad_function_free(f);
  return 0;
}
