/* soft_sort.c -- sorting that has a useful derivative everywhere.
 *
 * Sorting only moves numbers: the derivative of the k-th largest is 1 by the one that is there now and 0 by
 * all others, however close they are, and at a tie it is a matter of which came first. The soft sort puts a
 * weighted mean of all values in place k instead (NeuralSort: Grover, Wang, Zweig, Ermon, ICLR 2019):
 *
 *   p[k] = softmax over j of ((n - 1 - 2k) x[j] - sum_i |x[j] - x[i]|)/t,      y[k] = sum_j p[k][j] x[j]
 *
 * Since the largest of those is at the k-th largest x (k = 0, .., n-1), y goes to the sorted values as the
 * temperature t goes to 0, and all y go to the mean as t grows. Which place a value goes to is the mean
 * sum_k k p[k][j]/sum_k p[k][j]; equal values share their places. It holds for every t that
 *
 *   sum_j dy[k]/dx[j] = 1                                 a shift of x shifts y
 *   sum_j x[j] dy[k]/dx[j] + t dy[k]/dt = y[k]            scaling x and t scales y
 *
 * A simpler way takes one value after the other: p = softmax(x/t), y[k] = p . x, and what was taken is scaled
 * away, x[j] becomes (1 - p[j]) x[j]. That is right for positive values that are all different. But 0, which
 * is left of a value that was taken, is more than a negative one; and of two equal values half is taken of
 * each, and half is left.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { N = 7 };

/* (k, x, crowd, t) -> p[k], where crowd[j] = sum_i |x[j] - x[i]| */
static void place(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  ad_var factor = ad_sub(N - 1, ad_mul(2, in[0]));
  (void)tape, (void)context;
  out[0] = ad_softmax(ad_div(ad_sub(ad_mul(factor, in[1]), in[2]), in[3]), 0);
}

/* (x, t) -> y, places: p[k] for all k at once. What has no leading axis is the same for all. */
static void soft_sort(ad_tape *tape, const ad_var in[], ad_var out[], void *place_function) {
  ad_var gap = ad_abs(ad_sub(ad_expand(in[0], 1), ad_expand(in[0], 0)));
  ad_var k = ad_arange(tape, 0, N, 1, AD_F64), p;
  ad_map(place_function, (const ad_var[]){ k, in[0], ad_sum(gap, AD_AXES(1), false), in[1] }, &p);
  out[0] = ad_matmul(p, in[0]);
  out[1] = ad_div(ad_matmul(k, p), ad_sum(p, AD_AXES(0), false));
}

/* (x, t) -> y, the simpler way */
static void peel(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  ad_var x = in[0], y[N];
  (void)tape, (void)context;
  for (int k = 0; k < N; k++) {
    ad_var p = ad_softmax(ad_div(x, in[1]), 0);
    y[k] = ad_dot(p, x);
    x = ad_sub(x, ad_mul(p, x));
  }
  out[0] = ad_stack(N, y, 0);
}

/* x -> y, places: the order of the order. Equal values have places in the order in which they came. */
static void sort(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_sort(in[0], 0, true);
  out[1] = ad_cast(ad_argsort(ad_argsort(in[0], 0, true), 0, false), AD_F64);
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
  double y[N], places[N], xbar[N], tbar;
  void *out[4] = { y, places, xbar, &tbar };
  char name[32];
  ad_status status = ad_function_call(vjp, (const void *[]){ x, &t, weight, NULL }, out, NULL);
  if (status) return status;
  snprintf(name, sizeof name, "t = %g", t);
  print_row(name, y);
  print_row("  places of x", places);
  print_row("  gradient", xbar);
  double shift = dot(xbar, ones) - dot(weight, ones), scale = dot(x, xbar) + t*tbar - dot(weight, y);
  double worst = fmax(fabs(shift), fabs(scale));
  printf("  shift and scale hold to 1e-11: %s\n", worst < 1e-11 ? "yes" : "no");
  return AD_OK;
}

static ad_status print_hard(ad_function *vjp) {
  double y[N], places[N], xbar[N];
  void *out[3] = { y, places, xbar };
  ad_status status = ad_function_call(vjp, (const void *[]){ x, weight, NULL }, out, NULL);
  if (status) return status;
  print_row("ad_sort", y);
  print_row("  places of x", places);
  print_row("  gradient", xbar);
  return AD_OK;
}

/* One value after the other, where that is right and where it is not. */
static ad_status print_peeled(ad_function *f) {
  static const double different[N] = { 3, 1, 0.5, 2, 4, 0.75, 2.5 }, tie[N] = { 3, 1, 0.5, 3, 4, 0.75, 2.5 };
  const double *const row[3] = { different, tie, x }, t = 0.001;
  printf("one after the other, t = %g\n", t);
  for (int i = 0; i < 3; i++) {
    double y[N];
    ad_status status = ad_function_call(f, (const void *[]){ row[i], &t }, (void *[]){ y }, NULL);
    if (status) return status;
    print_row("x", row[i]);
    print_row("  y", y);
  }
  return AD_OK;
}

int main(void) {
  const double temperature[5] = { 1000, 10, 1, 0.1, 0.01 };
  const ad_type vector = AD_F64(N), scalar = AD_F64();
  ad_report report = { AD_OK, "out of memory" };
  const ad_type place_in[4] = { scalar, vector, vector, scalar }, soft_in[2] = { vector, scalar };
  ad_function *one = ad_function_trace("place", place, NULL, 4, place_in, 1);
  ad_function *soft = ad_function_trace_report("soft_sort", soft_sort, one, 2, soft_in, 2, &report);
  ad_function *simple = ad_function_trace("peel", peel, NULL, 2, soft_in, 1);
  ad_function *hard = ad_function_trace("sort", sort, NULL, 1, &vector, 2);
  ad_function *soft_vjp = ad_function_vjp(soft), *hard_vjp = ad_function_vjp(hard);
  bool good = soft_vjp && hard_vjp && simple;
  print_row("x", x);
  for (int i = 0; i < 5 && good; i++) good = !print_soft(soft_vjp, temperature[i]);
  good = good && !print_hard(hard_vjp) && !print_peeled(simple);
  if (!good) fprintf(stderr, "%s\n", report.message);
  ad_function_free(hard_vjp);
  ad_function_free(soft_vjp);
  ad_function_free(hard);
  ad_function_free(simple);
  ad_function_free(soft);
  ad_function_free(one);
  return good ? 0 : 1;
}
