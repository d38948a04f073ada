/* soft_sort.c -- sorting that has a useful derivative everywhere.
 *
 * Sorting only moves numbers: the derivative of the k-th largest is 1 by the one that is there now and 0 by
 * all others, however close they are, and at a tie it is a matter of which came first. The soft sort puts a
 * weighted mean of all values in place k instead (NeuralSort: Grover, Wang, Zweig, Ermon, ICLR 2019):
 *
 *   p = softmax over j of ((n - 1 - 2k) x[j] - sum_i |x[j] - x[i]|)/t,      y[k] = sum_j p[j] x[j]
 *
 * Since the largest of those is at the k-th largest x (k = 0, .., n-1), y goes to the sorted values as the
 * temperature t goes to 0, and all y go to the mean as t grows. It holds for every t that
 *
 *   sum_j dy[k]/dx[j] = 1                                 a shift of x shifts y
 *   sum_j x[j] dy[k]/dx[j] + t dy[k]/dt = y[k]            scaling x and t scales y
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { N = 7 };

/* (k, x, crowd, t) -> y[k], where crowd[j] = sum_i |x[j] - x[i]| */
static void place(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  ad_var factor = ad_sub(N - 1, ad_mul(2, in[0]));
  ad_var score = ad_div(ad_sub(ad_mul(factor, in[1]), in[2]), in[3]);
  /* A factor common to all e cancels; with this one no exp overflows. */
  ad_var largest = ad_stop_gradient(ad_reduce_max(score, AD_ALL_AXES, false));
  ad_var e = ad_exp(ad_sub(score, largest));
  (void)tape, (void)context;
  out[0] = ad_div(ad_dot(e, in[1]), ad_sum(e, AD_ALL_AXES, false));
}

/* (x, t) -> y: place for all k at once. What has no leading axis is the same for all. */
static void soft_sort(ad_tape *tape, const ad_var in[], ad_var out[], void *place_function) {
  ad_var gap = ad_abs(ad_sub(ad_expand(in[0], 1), ad_expand(in[0], 0)));
  ad_var k = ad_arange(tape, 0, N, 1, AD_F64);
  ad_map(place_function, (const ad_var[]){ k, in[0], ad_sum(gap, AD_AXES(1), false), in[1] }, out);
}

static void sort(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_sort(in[0], 0, true);
}

static void print_row(const char *name, const double v[N]) {
  printf("%-14s", name);
  for (int i = 0; i < N; i++) printf(" %8.4f", v[i] + 0.0);           /* -0 prints as 0 */
  printf("\n");
}

static double dot(const double a[N], const double b[N]) {
  double sum = 0;
  for (int i = 0; i < N; i++) sum += a[i]*b[i];
  return sum;
}

static const double x[N] = { 3, -1, 0.5, -1, 4, 0, -2.5 }, ones[N] = { 1, 1, 1, 1, 1, 1, 1 };
static const double weight[N] = { 1, 2, 3, 4, 5, 6, 7 };       /* the gradient is that of weight . y */

static ad_status print_soft(ad_function *vjp, double t) {
  double y[N], xbar[N], tbar;
  void *out[3] = { y, xbar, &tbar };
  char name[32];
  ad_status status = ad_function_call(vjp, (const void *[]){ x, &t, weight }, out, NULL);
  if (status) return status;
  snprintf(name, sizeof name, "t = %g", t);
  print_row(name, y);
  print_row("  gradient", xbar);
  double shift = dot(xbar, ones) - dot(weight, ones), scale = dot(x, xbar) + t*tbar - dot(weight, y);
  double worst = fmax(fabs(shift), fabs(scale));
  printf("  shift and scale hold to 1e-11: %s\n", worst < 1e-11 ? "yes" : "no");
  return AD_OK;
}

static ad_status print_hard(ad_function *vjp) {
  double y[N], xbar[N];
  ad_status status = ad_function_call(vjp, (const void *[]){ x, weight }, (void *[]){ y, xbar }, NULL);
  if (status) return status;
  print_row("ad_sort", y);
  print_row("  gradient", xbar);
  return AD_OK;
}

int main(void) {
  const double temperature[5] = { 1000, 10, 1, 0.1, 0.01 };
  const ad_type vector = AD_F64(N), scalar = AD_F64();
  ad_report report = { AD_OK, "out of memory" };
  const ad_type place_in[4] = { scalar, vector, vector, scalar }, soft_in[2] = { vector, scalar };
  ad_function *one = ad_function_trace("place", place, NULL, 4, place_in, 1);
  ad_function *soft = ad_function_trace_report("soft_sort", soft_sort, one, 2, soft_in, 1, &report);
  ad_function *hard = ad_function_trace("sort", sort, NULL, 1, &vector, 1);
  ad_function *soft_vjp = ad_function_vjp(soft), *hard_vjp = ad_function_vjp(hard);
  bool good = soft_vjp && hard_vjp;
  print_row("x", x);
  for (int i = 0; i < 5 && good; i++) good = !print_soft(soft_vjp, temperature[i]);
  good = good && !print_hard(hard_vjp);
  if (!good) fprintf(stderr, "%s\n", report.message);
  ad_function_free(hard_vjp);
  ad_function_free(soft_vjp);
  ad_function_free(hard);
  ad_function_free(soft);
  ad_function_free(one);
  return good ? 0 : 1;
}
