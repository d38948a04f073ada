/* unrolled_descent.c -- how the result of gradient descent depends on the length of its steps.
 *
 * x_{i+1} = x_i - h grad f(x_i), k steps of it as one recorded loop, whose body differentiates f: the
 * derivative of the loop is a derivative of second order inside a loop, and takes no more code for 10^5 steps
 * than for one. How many steps is an input, so everything here is recorded once for each f.
 *
 * For f = x^T A x/2 with A = Q diag(a) Q^T the result is known: x_k = Q diag((1 - h a)^k) Q^T x_0, and
 *
 *   d/dh f(x_k) = -k sum_i a_i^2 (1 - h a_i)^(2k-1) (Q^T x_0)_i^2
 *
 * Rosenbrock's valley has no such formula: there reverse mode stands beside forward mode and a difference.
 * At last the derivative is put to use: it finds the h that makes f(x_k) least.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

/* A = Q diag(a) Q, with the reflection Q = I - 2 v v^T/(v^T v), v = (1, 2, 2): Q = (9 I - 2 v v^T)/9. */
static const double eigenvalue[3] = { 1, 1e-2, 1e-4 };
static const double q[3][3] = { { 7./9, -4./9, -4./9 }, { -4./9, 1./9, -8./9 }, { -4./9, -8./9, 1./9 } };

static ad_var quadratic(ad_tape *tape, ad_var x) {
  ad_var y = ad_matmul(ad_constant(tape, AD_F64(3, 3), q), x);
  return ad_mul(0.5, ad_dot(ad_constant(tape, AD_F64(3), eigenvalue), ad_square(y)));
}

static ad_var rosenbrock(ad_tape *tape, ad_var x) {
  ad_var u = ad_at(x, 1, (const int64_t[]){ 0 }), v = ad_at(x, 1, (const int64_t[]){ 1 });
  (void)tape;
  return ad_add(ad_mul(100, ad_square(ad_sub(v, ad_square(u)))), ad_square(ad_sub(1, u)));
}

typedef struct problem {
  ad_var (*f)(ad_tape *tape, ad_var x);
  int n;
  const double *start;
  ad_function *step;            /* x, h -> x - h grad f(x) */
  ad_function *descent;         /* k, h -> f(x_k) */
  ad_function *vjp, *jvp;       /* of that */
} problem;

static void step(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  ad_var g;
  ad_grad(p->f(tape, in[0]), 1, in, &g);
  out[0] = ad_sub(in[0], ad_mul(in[1], g));
}

/* Of all states 1000 are kept at any time; what is between them is computed again. */
static void descent(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const problem *p = context;
  const ad_loop options = { .count = in[0], .counted = true, .keep = AD_KEEP_BINOMIAL, .k = 1000 };
  ad_var x;
  ad_fold(p->step, 1, &options, (const ad_var[]){ ad_constant(tape, AD_F64(p->n), p->start), in[1] }, &x);
  out[0] = p->f(tape, x);
}

static bool make(problem *p) {
  const ad_type step_in[2] = { AD_F64(p->n), AD_F64() }, descent_in[2] = { AD_I64(), AD_F64() };
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  p->step = ad_function_trace_report("step", step, p, 2, step_in, 1, &report);
  if (p->step) p->descent = ad_function_trace_report("descent", descent, p, 2, descent_in, 1, &report);
  p->vjp = ad_function_vjp(p->descent);
  p->jvp = ad_function_jvp(p->descent);
  if (!p->vjp || !p->jvp) fprintf(stderr, "%s\n", report.message);
  return p->vjp && p->jvp;
}

static void release(problem *p) {
  ad_function_free(p->jvp);
  ad_function_free(p->vjp);
  ad_function_free(p->descent);
  ad_function_free(p->step);
}

static double value(const problem *p, int64_t k, double h) {
  double f = NAN;
  ad_function_call(p->descent, (const void *[]){ &k, &h }, (void *[]){ &f }, NULL);
  return f;
}

static double reverse(const problem *p, int64_t k, double h) {
  double one = 1, slope = NAN;
  ad_function_call(p->vjp, (const void *[]){ &k, &h, &one }, (void *[]){ NULL, NULL, &slope }, NULL);
  return slope;
}

static double forward(const problem *p, int64_t k, double h) {
  double one = 1, slope = NAN;
  ad_function_call(p->jvp, (const void *[]){ &k, &h, NULL, &one }, (void *[]){ NULL, &slope }, NULL);
  return slope;
}

/* of f = x^T A x/2 after k steps, as above */
static double closed_form(const double start[3], int64_t k, double h) {
  double sum = 0;
  for (int i = 0; i < 3; i++) {
    double a = eigenvalue[i], y = q[i][0]*start[0] + q[i][1]*start[1] + q[i][2]*start[2];
    sum += a*a*pow(1 - h*a, (double)(2*k - 1))*y*y;
  }
  return -(double)k*sum;
}

static double difference(const problem *p, int64_t k, double h) {
  double d = 1e-5*h;
  return (value(p, k, h + d) - value(p, k, h - d))/(2*d);
}

/* The h between low and high where df/dh = 0, and f least, for f that falls and then rises. */
static double best_step(const problem *p, int64_t k, double low, double high) {
  for (int i = 0; i < 40; i++) {
    double middle = (low + high)/2;
    if (reverse(p, k, middle) < 0) low = middle;
    else high = middle;
  }
  return low;
}

int main(void) {
  static const double start[3] = { 1, 1, 1 }, valley[2] = { -1.2, 1 };
  problem bowl = { .f = quadratic, .n = 3, .start = start };
  problem bend = { .f = rosenbrock, .n = 2, .start = valley };
  bool good = make(&bowl) && make(&bend);
  for (int64_t k = 10; k <= 100000 && good; k *= 10)
    printf("quadratic, %6d steps of 0.5: f = %.3e, df/dh = %.6e, closed form %.6e\n", (int)k,
           value(&bowl, k, 0.5), reverse(&bowl, k, 0.5), closed_form(start, k, 0.5));
  for (int64_t k = 10; k <= 10000 && good; k *= 10)
    printf("Rosenbrock, %5d steps of 0.001: f = %.6f, df/dh = %.4f, forward %.4f, difference %.4f\n", (int)k,
           value(&bend, k, 0.001), reverse(&bend, k, 0.001), forward(&bend, k, 0.001),
           difference(&bend, k, 0.001));
  if (good) {
    double h = best_step(&bowl, 1000, 0, 2);
    bool least = fabs(closed_form(start, 1000, h)) < 1e-9;
    printf("the best h for 1000 steps on the quadratic: %.6f, f = %.3e, ", h, value(&bowl, 1000, h));
    printf("closed form of df/dh there below 1e-9: %s\n", least ? "yes" : "no");
  }
  release(&bend);
  release(&bowl);
  return good ? 0 : 1;
}
