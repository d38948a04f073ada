/* lazy_graph.c -- a graph is recorded once and evaluated when asked; a changed input asks again; an
 * operation of one's own.
 *
 * ad_set changes an input. Whatever depends on it is computed again when somebody next asks for it, and
 * only that.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

/* bump(x) = exp(-x^2). block computes n elements; the rule is the derivative as text: x is the operand, z
 * the result, g what is propagated (the tangent of x forwards, the adjoint of z backwards). Being text it
 * can be recorded, and so it has derivatives itself. */
static void bump_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  for (size_t i = 0; i < n; i++) z[i] = exp(-x[i]*x[i]);
}

static const ad_primitive bump_primitive = {
  .name = "bump", .doc = "exp(-x^2)",
  .traits = AD_TRAIT_ELEMENTWISE, .arity = 1, .block = bump_block, .rule = { "-2*g*(x*z)" },
};

static ad_var bump(ad_var x) { return ad_record(NULL, &bump_primitive, 1, &x, NULL, 0); }

static void print_at(ad_var x0, ad_var x1, ad_var y) {
  ad_backward(y);
  printf("x0 = %g, x1 = %g: y = %.6g, ", ad_value(x0), ad_value(x1), ad_value(y));
  printf("dy/dx0 = %.6g, dy/dx1 = %.6g\n", ad_adjoint(x0), ad_adjoint(x1));
}

/* Frees the tape after one look at its status: the first error of all that was recorded stays there. */
static bool finish(ad_tape *tape) {
  bool good = ad_tape_status(tape) == AD_OK;
  if (!good) fprintf(stderr, "%s\n", ad_tape_message(tape));
  ad_tape_free(tape);
  return good;
}

static bool replay(void) {
  ad_tape *tape = ad_tape_new();
  ad_var x0 = ad_scalar(tape, 3), x1 = ad_scalar(tape, 5);
  ad_var y = ad_add(ad_mul(x0, x1), ad_div(x1, x0));
  print_at(x0, x1, y);
  ad_set_value(x0, 2);
  print_at(x0, x1, y);
  return finish(tape);
}

static bool own_operation(void) {
  ad_tape *tape = ad_tape_new();
  ad_var x = ad_scalar(tape, 0.5), first, second;
  ad_var z = bump(x);
  ad_grad(z, 1, &x, &first);
  ad_grad(first, 1, &x, &second);
  printf("bump(0.5) = %.6g, first derivative %.6g, second %.6g\n", ad_value(z), ad_value(first),
         ad_value(second));

  const double points[3] = { -1, 0, 1 };
  ad_var many = ad_array(tape, AD_F64(3), points);
  double values[3] = { 0 };
  ad_read(bump(many), values);
  printf("bump of an array: %.6g %.6g %.6g\n", values[0], values[1], values[2]);
  return finish(tape);
}

int main(void) {
  return replay() && own_operation() ? 0 : 1;
}
