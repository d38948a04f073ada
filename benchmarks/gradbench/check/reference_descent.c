/* reference_descent.c -- particle, saddle: the same descent in long double. The force is written out, the
 * derivative of the path is a complex step, that of the payoff a closed form. */
#include "reference.h"

#include <math.h>

/* A function of two numbers at most, and its gradient. */
typedef void (*slope)(const long double x[2], long double *value, long double gradient[2]);

static long double length(const long double x[2]) { return sqrtl(x[0]*x[0] + x[1]*x[1]); }

/* x goes to a least value: the rate doubles after ten steps that help and halves after one that does not; the
 * end is a gradient or a step no longer than 1e-5. */
static void descend(slope f, long double x[2]) {
  long double value, gradient[2], rate = 1e-5;
  f(x, &value, gradient);
  for (int helped = 0; length(gradient) > 1e-5;) {
    if (helped == 10) {
      rate *= 2, helped = 0;
      continue;
    }
    const long double step[2] = { -rate*gradient[0], -rate*gradient[1] };
    const long double next[2] = { x[0] + step[0], x[1] + step[1] };
    long double next_value, next_gradient[2];
    if (length(step) <= 1e-5) return;
    f(next, &next_value, next_gradient);
    if (next_value < value) {
      value = next_value, helped++;
      for (int i = 0; i < 2; i++) x[i] = next[i], gradient[i] = next_gradient[i];
    } else rate /= 2, helped = 0;
  }
}

/* --- particle ------------------------------------------------------------------------------------------- */

/* Below w = -0.37 the charges throw the particle back, and it never falls. */
static json_t *make_particle(chance *r, int scale) {
  (void)scale;
  return json_pack("{s:f}", "w", chance_uniform(r, 0, 0.5));
}

/* Minus the gradient of 1/|x - a|, for a charge at (10, height). */
static void push(cplx x, cplx y, cplx height, cplx force[2]) {
  const cplx square = (x - 10)*(x - 10) + (y - height)*(y - height), cube = square*csqrtl(square);
  force[0] += (x - 10)/cube, force[1] += (y - height)/cube;
}

/* The square of where the path meets the axis; the time step is 1/10. */
static cplx crossing(cplx w) {
  cplx x = 0, y = 8, u = 0.75, v = 0;
  for (;;) {
    cplx force[2] = { 0, 0 };
    push(x, y, 10 - w, force), push(x, y, 0, force);
    if (creall(y + 0.1L*v) < 0) break;
    x += 0.1L*u, y += 0.1L*v;
    u += 0.1L*force[0], v += 0.1L*force[1];
  }
  return (x - y/v*u)*(x - y/v*u);
}

static void miss(const long double w[2], long double *value, long double gradient[2]) {
  const long double h = 0x1p-200L;
  const cplx y = crossing(w[0] + I*h);
  *value = creall(y), gradient[0] = cimagl(y)/h, gradient[1] = 0;
}

static json_t *answer_particle(const json_t *input, int function) {
  long double w[2] = { member_number(input, "w"), 0 };
  (void)function;
  descend(miss, w);
  return json_real((double)w[0]);
}

const reference reference_particle = { "particle", { "ff", "fr", "rf", "rr" }, 1e-8, true, make_particle,
                                       answer_particle };

/* --- saddle: the best y does not depend on x, so both descents are those of a sum of squares ------------ */

/* From |x| < 0.5 the first step would be shorter than 1e-5, and the last. */
static json_t *make_saddle(chance *r, int scale) {
  (void)scale;
  return json_pack("{s:o}", "start", chance_row(r, 2, 0.6, 1));
}

static void bowl(const long double x[2], long double *value, long double gradient[2]) {
  *value = x[0]*x[0] + x[1]*x[1], gradient[0] = 2*x[0], gradient[1] = 2*x[1];
}

static json_t *answer_saddle(const json_t *input, int function) {
  const json_t *start = json_object_get(input, "start");
  long double x[2] = { json_number_value(json_array_get(start, 0)),
                       json_number_value(json_array_get(start, 1)) };
  (void)function;
  descend(bowl, x);
  return json_pack("[f, f, f, f]", (double)x[0], (double)x[1], (double)x[0], (double)x[1]);
}

const reference reference_saddle = { "saddle", { "ff", "fr", "rf", "rr" }, 1e-9, true, make_saddle,
                                     answer_saddle };
