/* network_by_hand.c -- a network, its gradient and its training with nothing but functions.
 *
 *   y = relu(x A + a) B + b,  x of 10 numbers, 5 hidden units, one result
 *
 * on 100 random samples: x is normal, and what is to be learnt is |x1| + |x2|/2. The loss is the mean of the
 * squares of the errors; ad_function_gradient makes one function of loss and gradient. The loop below, in C,
 * calls it and takes every number of A, a, B and b by 0.01 times its derivative downhill, 100 times. adit has
 * layers, optimisers and trainers for all that (adit/layers.h, adit/train.h); this program shows that they
 * are a convenience. It writes the loss curve to network_by_hand.svg.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { SAMPLES = 100, FEATURES = 10, HIDDEN = 5, ITERATIONS = 100, ARRAYS = 4 };
static const double rate = 0.01;

/* (A, a, B, b, x, target) -> the mean square error */
static void loss(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  ad_var hidden = ad_relu(ad_add(ad_matmul(in[4], in[0]), in[1]));
  ad_var y = ad_add(ad_matmul(hidden, in[2]), in[3]);
  out[0] = ad_mean(ad_square(ad_sub(y, in[5])), AD_ALL_AXES, false);
}

typedef struct network { double A[FEATURES][HIDDEN], a[HIDDEN], B[HIDDEN], b; } network;
enum { NUMBERS = sizeof(network)/sizeof(double) };

typedef struct samples { double x[SAMPLES][FEATURES], target[SAMPLES]; } samples;

/* Normal weights of variance 2/(numbers that come in), as relu wants them; no biases. */
static void initialise(network *net) {
  ad_random_fill_normal(1, AD_F64, FEATURES*HIDDEN, net->A);
  ad_random_fill_normal(2, AD_F64, HIDDEN, net->B);
  for (int i = 0; i < FEATURES; i++)
    for (int j = 0; j < HIDDEN; j++) net->A[i][j] *= sqrt(2./FEATURES);
  for (int j = 0; j < HIDDEN; j++) net->B[j] *= sqrt(2./HIDDEN), net->a[j] = 0;
  net->b = 0;
}

static void draw_samples(samples *s) {
  ad_random_fill_normal(3, AD_F64, SAMPLES*FEATURES, s->x);
  for (int i = 0; i < SAMPLES; i++) s->target[i] = fabs(s->x[i][0]) + fabs(s->x[i][1])/2;
}

/* The loss, and its gradient if g is not NULL. */
static double evaluate(ad_function *gradient, const network *net, const samples *s, network *g) {
  const void *in[ARRAYS + 2] = { net->A, net->a, net->B, &net->b, s->x, s->target };
  double value = NAN;
  void *out[ARRAYS + 1] = { &value };
  if (g) out[1] = g->A, out[2] = g->a, out[3] = g->B, out[4] = &g->b;
  if (ad_function_call(gradient, in, out, NULL) != AD_OK) return NAN;
  return value;
}

/* Does each of the 61 derivatives agree with a difference of two losses? A unit that passes its kink between
 * them would make an error of the order of the step; none does here. */
static bool gradient_is_right(ad_function *gradient, const network *net, const samples *s) {
  network g, moved[2];
  const double *derivative = (const double *)&g, step = 1e-6;
  bool right = isfinite(evaluate(gradient, net, s, &g));
  for (int i = 0; i < NUMBERS && right; i++) {
    double side[2];
    for (int k = 0; k < 2; k++) {
      moved[k] = *net;
      ((double *)&moved[k])[i] += k ? step : -step;
      side[k] = evaluate(gradient, &moved[k], s, NULL);
    }
    right = fabs(derivative[i] - (side[1] - side[0])/(2*step)) < 1e-7;
  }
  return right;
}

static void train(ad_function *gradient, network *net, const samples *s, double curve[ITERATIONS + 1]) {
  network g;
  for (int k = 0; k < ITERATIONS; k++) {
    curve[k] = evaluate(gradient, net, s, &g);
    for (int i = 0; i < FEATURES; i++)
      for (int j = 0; j < HIDDEN; j++) net->A[i][j] -= rate*g.A[i][j];
    for (int j = 0; j < HIDDEN; j++) {
      net->a[j] -= rate*g.a[j];
      net->B[j] -= rate*g.B[j];
    }
    net->b -= rate*g.b;
  }
  curve[ITERATIONS] = evaluate(gradient, net, s, NULL);
}

static bool draw_curve(const double curve[ITERATIONS + 1]) {
  const ad_series series = { .count = ITERATIONS + 1, .y = curve };
  const ad_plot plot = { .title = "a network 10-5-1", .x_label = "iterations", .y_label = "loss",
                         .log_y = true };
  return ad_plot_svg("network_by_hand.svg", &plot, 1, &series, NULL) == AD_OK;
}

int main(void) {
  static samples s;
  static network net;
  double curve[ITERATIONS + 1];
  const ad_type type[ARRAYS + 2] = { AD_F64(FEATURES, HIDDEN), AD_F64(HIDDEN), AD_F64(HIDDEN), AD_F64(),
                                     AD_F64(SAMPLES, FEATURES), AD_F64(SAMPLES) };
  ad_report report;
  ad_function *f = ad_function_trace_report("loss", loss, NULL, ARRAYS + 2, type, 1, &report);
  if (!f) return fprintf(stderr, "%s\n", report.message), 1;
  ad_function *gradient = ad_function_gradient(f, ARRAYS, (const int[]){ 0, 1, 2, 3 });
  draw_samples(&s);
  initialise(&net);

  printf("%d parameters, gradient as by differences: %s\n", (int)NUMBERS,
         gradient_is_right(gradient, &net, &s) ? "yes" : "no");
  train(gradient, &net, &s, curve);
  bool falls = true;
  for (int k = 1; k <= ITERATIONS; k++) falls = falls && curve[k] < curve[k - 1];
  for (int k = 0; k <= ITERATIONS; k += 25) printf("after %3d iterations: loss %.4f\n", k, curve[k]);
  printf("it falls in every iteration: %s\n", falls ? "yes" : "no");
  printf("picture written: %s\n", draw_curve(curve) ? "yes" : "no");
  ad_function_free(gradient);
  ad_function_free(f);
  return falls ? 0 : 1;
}
