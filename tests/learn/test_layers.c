/* test_layers.c -- networks: names and types of parameters, values against loops in C, gradients against
 * differences, dropout only where training, errors that travel, memory that fails. */
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/derive.h"
#include "adit/function.h"
#include "adit/layers.h"
#include "adit/losses.h"
#include "adit/random.h"
#include "check.h"
#include "heap.h"

#include <stdlib.h>

static ad_layer *small(void) {
  return ad_sequential(3, (ad_layer *[]){ ad_linear(3, 4), ad_activation(ad_tanh), ad_linear(4, 2) });
}

static ad_layer *rich(void) {
  ad_layer *block = ad_residual(ad_sequential(3, (ad_layer *[]){ ad_linear(4, 4), ad_activation(ad_tanh),
                                                                 ad_dropout_layer(0.5) }));
  return ad_sequential(4, (ad_layer *[]){ ad_linear(3, 4), block, ad_layer_norm_layer(4), ad_linear(4, 2) });
}

/* --- parameters ----------------------------------------------------------------------------------------- */

static void test_parameters(void) {
  static const char *const names[] = { "0/weight", "0/bias", "1/0/weight", "1/0/bias", "2/weight", "2/bias",
                                       "3/weight", "3/bias" };
  const ad_type types[] = { AD_F32(3, 4), AD_F32(4), AD_F32(4, 4), AD_F32(4), AD_F32(4), AD_F32(4),
                            AD_F32(4, 2), AD_F32(2) };
  ad_layer *net = rich();
  ad_parameters *p = ad_layer_parameters(net, AD_F32, 1);
  CHECK_STATUS(ad_parameters_status(p), AD_OK);
  CHECK(ad_layer_entries(net) == 8 && ad_parameters_entries(p) == 8);
  for (int i = 0; i < ad_parameters_entries(p); i++) {
    CHECK_THAT(!strcmp(ad_parameters_name(p, i), names[i]), "%s", ad_parameters_name(p, i));
    CHECK(ad_type_equal(ad_parameters_type(p, i), types[i]));
  }
  const float *weight = ad_parameters_data(p, 0), *bias = ad_parameters_data(p, 1),
      *scale = ad_parameters_data(p, 4);
  const float bound = sqrtf(6.0f/(3 + 4));
  for (int i = 0; i < 12; i++) CHECK(weight[i] != 0 && fabsf(weight[i]) <= bound*1.0000001f);
  for (int i = 0; i < 4; i++) CHECK(bias[i] == 0 && scale[i] == 1);
  ad_parameters *both = ad_parameters_new();
  CHECK_STATUS(ad_layer_declare(net, both, "encoder", AD_F64), AD_OK);
  CHECK_STATUS(ad_layer_declare(net, both, "decoder/a", AD_F64), AD_OK);
  CHECK(ad_parameters_find(both, "encoder/1/0/bias") == 3
        && ad_parameters_find(both, "decoder/a/0/weight") == 8);
  ad_parameters_free(p);
  ad_parameters_free(both);
  ad_layer_free(net);
}

static void test_single_layer(void) {
  const ad_init ones = ad_init_constant(1);
  ad_layer *l = ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_LINEAR, .n_in = 2, .n_out = 3,
                                                     .no_bias = true,
                                                     .weight = &ones });
  ad_parameters *p = ad_layer_parameters(l, AD_F64, 1);
  CHECK(ad_parameters_entries(p) == 1 && !strcmp(ad_parameters_name(p, 0), "weight"));
  CHECK(((double *)ad_parameters_data(p, 0))[5] == 1);
  ad_parameters_free(p);
  ad_layer_free(l);
}

/* --- values --------------------------------------------------------------------------------------------- */

static void body(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  (void)tape;
  out[0] = ad_layer_apply(net, in, in[ad_layer_entries(net)], NULL);
}

/* The network as a function of its parameters and x. */
static ad_function *function_of(ad_layer *net, const ad_parameters *p, ad_type x) {
  ad_type types[32];
  const int n = ad_parameters_entries(p);
  for (int i = 0; i < n; i++) types[i] = ad_parameters_type(p, i);
  types[n] = x;
  return ad_function_trace("net", body, net, n + 1, types, 1);
}

static ad_status call(ad_function *f, const ad_parameters *p, const void *x, void *y) {
  const void *in[32];
  const int n = ad_parameters_entries(p);
  for (int i = 0; i < n; i++) in[i] = ad_parameters_data(p, i);
  in[n] = x;
  return ad_function_call(f, in, (void *[]){ y }, NULL);
}

static const double *data(const ad_parameters *p, const char *name) {
  return ad_parameters_data(p, ad_parameters_find(p, name));
}

/* y = x W + b */
static void linear(const ad_parameters *p, const char *weight, const char *bias, int n, int m,
                   const double *x, double *y) {
  for (int j = 0; j < m; j++) {
    y[j] = data(p, bias)[j];
    for (int i = 0; i < n; i++) y[j] += x[i]*data(p, weight)[i*m + j];
  }
}

static void disturb(ad_parameters *p) {
  uint64_t state = 4;
  for (int i = 0; i < ad_parameters_entries(p); i++) {
    double *x = ad_parameters_data(p, i);
    for (int64_t k = 0; k < ad_type_count(ad_parameters_type(p, i)); k++)
      x[k] += check_uniform(&state, -0.5, 0.5);
  }
}

static void forward(const ad_parameters *p, const double x[3], double y[2]) {
  double h[4], inside[4], mean = 0, variance = 0;
  linear(p, "0/weight", "0/bias", 3, 4, x, h);
  linear(p, "1/0/weight", "1/0/bias", 4, 4, h, inside);
  for (int i = 0; i < 4; i++) h[i] += tanh(inside[i]), mean += h[i]/4;
  for (int i = 0; i < 4; i++) variance += (h[i] - mean)*(h[i] - mean)/4;
  for (int i = 0; i < 4; i++)
    h[i] = (h[i] - mean)/sqrt(variance + 1e-5)*data(p, "2/weight")[i] + data(p, "2/bias")[i];
  linear(p, "3/weight", "3/bias", 4, 2, h, y);
}

static void test_values(void) {
  ad_layer *net = rich();
  ad_parameters *p = ad_layer_parameters(net, AD_F64, 3);
  double x[15], y[10], want[2];
  for (int i = 0; i < 15; i++) x[i] = sin(i + 1);
  disturb(p);
  ad_function *batch = function_of(net, p, AD_F64(5, 3)), *one = function_of(net, p, AD_F64(3));
  ad_function *deep = function_of(net, p, AD_F64(1, 5, 3));
  CHECK(ad_type_equal(ad_function_output_type(deep, 0), AD_F64(1, 5, 2)));
  CHECK_STATUS(call(batch, p, x, y), AD_OK);
  for (int row = 0; row < 5; row++) {
    double single[2];
    forward(p, x + 3*row, want);
    CHECK_STATUS(call(one, p, x + 3*row, single), AD_OK);
    for (int k = 0; k < 2; k++) {
      CHECK_NUMBER(y[2*row + k], want[k], 1e-13);
      CHECK_NUMBER(single[k], want[k], 1e-13);
    }
  }
  ad_check_result r = { .error = INFINITY };
  const void *in[9];
  for (int i = 0; i < 8; i++) in[i] = ad_parameters_data(p, i);
  in[8] = x;
  CHECK_STATUS(ad_check(batch, in, &r), AD_OK);
  CHECK_THAT(r.error < 1e-8 && r.transpose_error < 1e-12, "%g, %g", r.error, r.transpose_error);
  ad_function_free(batch);
  ad_function_free(one);
  ad_function_free(deep);
  ad_parameters_free(p);
  ad_layer_free(net);
}

/* sequential of nothing is the identity; residual of it doubles. Forty residuals inside each other: 2^40. */
static void test_structure(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 3);
  ad_layer *nothing = ad_sequential(0, NULL), *deep = ad_residual(ad_sequential(0, NULL));
  CHECK(ad_value(ad_layer_apply(nothing, NULL, x, NULL)) == 3);
  for (int i = 1; i < 40; i++)
    deep = ad_residual(ad_sequential(2, (ad_layer *[]){ deep, ad_activation(ad_stop_gradient) }));
  CHECK(ad_layer_entries(deep) == 0);
  double want = 3;
  for (int i = 0; i < 40; i++) want = i == 0 ? 6 : 3 + want;
  CHECK_NUMBER(ad_value(ad_layer_apply(deep, NULL, x, NULL)), want, 0);
  ad_layer_free(nothing);
  ad_layer_free(deep);
  ad_tape_free(t);
}

/* --- dropout and layers of one's own -------------------------------------------------------------------- */

/* Two dropouts of one network drop different elements; not training nothing is dropped. */
static void test_dropout(void) {
  enum { N = 400 };
  ad_layer *twice = ad_sequential(2, (ad_layer *[]){ ad_dropout_layer(0.5), ad_dropout_layer(0.5) });
  ad_layer *once = ad_dropout_layer(0.5);
  ad_tape *t = ad_tape_new();
  ad_var x = ad_ones(t, AD_F64(N));
  const ad_layer_mode training = { true, ad_key(t, 8) };
  double got[N];
  int kept = 0, full = 0;
  CHECK_STATUS(ad_read(ad_layer_apply(twice, NULL, x, &training), got), AD_OK);
  for (int i = 0; i < N; i++) kept += got[i] == 4, full += got[i] == 0;
  CHECK(kept + full == N);
  CHECK_THAT(abs(kept - N/4) < 5*sqrt(N*3./16), "%d kept of %d", kept, N);
  CHECK_STATUS(ad_read(ad_layer_apply(twice, NULL, x, &(ad_layer_mode){ false, training.key }), got), AD_OK);
  for (int i = 0; i < N; i++) CHECK(got[i] == 1);
  CHECK_STATUS(ad_read(ad_layer_apply(once, NULL, x, NULL), got), AD_OK);
  CHECK(got[0] == 1);
  CHECK(!ad_is_valid(ad_layer_apply(once, NULL, x, &(ad_layer_mode){ .training = true })));
  CHECK_THAT(!strcmp(ad_tape_message(t), "layer: dropout needs a key of i64 where training"), "%s",
             ad_tape_message(t));
  ad_layer_free(twice);
  ad_layer_free(once);
  ad_tape_free(t);
}

/* y = x*scale^2 + count, count an integer that stays one */
static ad_var own_apply(void *context, const ad_var parameters[], ad_var x, const ad_layer_mode *mode) {
  *(bool *)context = mode && mode->training;
  return ad_add(ad_mul(x, ad_square(parameters[0])), parameters[1]);
}

static void test_own_layer(void) {
  bool trained = false;
  const char *const names[] = { "scale", "count" };
  const ad_type types[] = { { AD_F64, 1, { 2 } }, { AD_I32, 0, { 0 } } };
  const ad_init init[] = { ad_init_constant(3), ad_init_constant(7) };
  const ad_layer_own own = { 2, names, types, init, own_apply, &trained };
  ad_layer *mine = ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_OWN, .own = &own });
  ad_layer *net = ad_sequential(2, (ad_layer *[]){ mine, ad_linear(2, 1) });
  ad_parameters *p = ad_layer_parameters(net, AD_F32, 1);
  CHECK(ad_type_equal(ad_parameters_type(p, 0), AD_F32(2))
        && ad_type_equal(ad_parameters_type(p, 1), AD_I32()));
  CHECK(ad_parameters_find(p, "0/count") == 1 && ad_parameters_find(p, "1/weight") == 2);
  ad_tape *t = ad_tape_new();
  ad_var v[4];
  CHECK_STATUS(ad_parameters_record(p, t, v), AD_OK);
  ad_var y = ad_layer_apply(net, v, ad_array(t, AD_F32(2), (float[]){ 1, -1 }),
                            &(ad_layer_mode){ true, ad_key(t, 1) });
  const float *w = ad_parameters_data(p, 2);
  float got;
  CHECK_STATUS(ad_read(y, &got), AD_OK);
  CHECK_NUMBER(got, 16*(double)w[0] - 2*(double)w[1], 1e-6);
  CHECK(trained && ad_type_of(y).dtype == AD_F32);
  ad_tape_free(t);
  ad_parameters_free(p);
  ad_layer_free(net);
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void refused(ad_layer *net, const char *says) {
  ad_tape *t = ad_tape_new();
  ad_parameters *p = ad_layer_parameters(net, AD_F64, 1);
  CHECK(net && ad_parameters_status(p) == AD_ERROR_ARGUMENT && ad_layer_entries(net) == 0);
  CHECK_THAT(!strcmp(ad_parameters_message(p), says), "%s", ad_parameters_message(p));
  CHECK(!ad_is_valid(ad_layer_apply(net, NULL, ad_scalar(t, 1), NULL)) && !strcmp(ad_tape_message(t), says));
  ad_parameters_free(p);
  ad_layer_free(net);
  ad_tape_free(t);
}

static void test_refusals(void) {
  refused(ad_sequential(2, (ad_layer *[]){ ad_linear(2, 3), ad_residual(ad_linear(-1, 3)) }),
          "linear: a size is negative");
  refused(ad_dropout_layer(2), "dropout: the rate is not in [0, 1]");
  refused(ad_activation(NULL), "activation: no function");
  refused(ad_layer_norm_layer(0), "layer_norm: of nothing");
  refused(ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_OWN }),
          "own layer: no function, or no names, types and rules");
  refused(ad_layer_new(NULL, &(ad_layer_spec){ .kind = (ad_layer_kind)99 }), "no such kind of layer");
  ad_layer *twice = ad_linear(1, 1);
  refused(ad_sequential(2, (ad_layer *[]){ twice, twice }), "sequential: one layer is in it twice");
}

static void test_shapes_that_do_not_fit(void) {
  ad_layer *net = rich();
  ad_parameters *p = ad_layer_parameters(net, AD_F64, 1);
  ad_tape *t = ad_tape_new();
  ad_var v[8];
  CHECK_STATUS(ad_parameters_record(p, t, v), AD_OK);
  CHECK(!ad_is_valid(ad_layer_apply(net, v, ad_zeros(t, AD_F64(5, 4)), NULL)));
  CHECK_THAT(!strcmp(ad_tape_message(t), "layer 0: linear takes (.., 3), not f64(5,4)"), "%s",
             ad_tape_message(t));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_layer_apply(net, NULL, ad_zeros(t, AD_F64(5, 3)), NULL))
        && ad_tape_status(t) == AD_ERROR_ARGUMENT);
  ad_tape_clear(t);
  ad_layer *odd = ad_sequential(1, (ad_layer *[]){ ad_residual(ad_linear(3, 4)) });
  CHECK(!ad_is_valid(ad_layer_apply(odd, v, ad_zeros(t, AD_F64(5, 3)), NULL)));
  CHECK_THAT(!strcmp(ad_tape_message(t), "layer 0: residual: f64(5,3) became f64(5,4)"), "%s",
             ad_tape_message(t));
  ad_tape_free(t);
  ad_parameters_free(p);
  p = ad_layer_parameters(net, AD_I32, 1);
  CHECK_STATUS(ad_parameters_status(p), AD_ERROR_DTYPE);
  ad_parameters_free(p);
  ad_layer_free(odd);
  ad_layer_free(net);
  CHECK(!ad_layer_parameters(NULL, AD_F32, 1) && ad_layer_entries(NULL) == 0);
  ad_layer_free(NULL);
}

/* --- memory that fails ---------------------------------------------------------------------------------- */

static ad_layer *on(const ad_allocator *a, ad_layer_spec spec) { return ad_layer_new(a, &spec); }

static bool everything(const ad_allocator *a) {
  ad_layer *pair[2] = { on(a, (ad_layer_spec){ .kind = AD_LAYER_LINEAR, .n_in = 2, .n_out = 2 }),
                        on(a, (ad_layer_spec){ .kind = AD_LAYER_ACTIVATION, .f = ad_relu }) };
  ad_layer *inside = on(a, (ad_layer_spec){ .kind = AD_LAYER_SEQUENTIAL, .count = 2, .layer = pair });
  ad_layer *deep = on(a, (ad_layer_spec){ .kind = AD_LAYER_RESIDUAL, .count = 1, .layer = &inside });
  ad_layer *outer[2] = { deep, on(a, (ad_layer_spec){ .kind = AD_LAYER_NORM, .n_in = 2 }) };
  ad_layer *net = on(a, (ad_layer_spec){ .kind = AD_LAYER_SEQUENTIAL, .count = 2, .layer = outer });
  for (int i = 0; i < 20; i++)
    net = on(a, (ad_layer_spec){ .kind = AD_LAYER_RESIDUAL, .count = 1, .layer = &net });
  ad_parameters *p = ad_layer_parameters(net, AD_F32, 1);
  bool done = ad_parameters_status(p) == AD_OK && ad_parameters_entries(p) == 4;
  ad_tape *t = ad_tape_new();
  ad_var v[4];
  if (done) {
    ad_parameters_record(p, t, v);
    done = ad_is_valid(ad_layer_apply(net, v, ad_ones(t, AD_F32(3, 2)), NULL));
    CHECK(done || ad_tape_status(t) == AD_ERROR_MEMORY);
  }
  ad_tape_free(t);
  ad_parameters_free(p);
  ad_layer_free(net);
  return done;
}

static void test_memory(void) {
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  bool done = false;
  for (long n = 1; !done && n <= 1000; n++) {
    heap_fail(&h, n, true);
    done = everything(&a);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", n, heap_text(&h));
  }
  CHECK(done);
}

/* --- all together: twenty steps of gradient descent lower the loss -------------------------------------- */

static void step_body(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  const int n = ad_layer_entries(net);
  const ad_var loss = ad_cross_entropy(ad_layer_apply(net, in, in[n], NULL), in[n + 1], AD_MEAN);
  (void)tape;
  out[0] = loss;
  if (ad_grad(loss, n, in, out + 1) != AD_OK) return;
  for (int i = 0; i < n; i++) out[1 + i] = ad_sub(in[i], ad_mul(0.5, out[1 + i]));
}

static void test_training(void) {
  ad_layer *net = small();
  ad_parameters *p = ad_layer_parameters(net, AD_F32, 1);
  float x[60];
  int32_t classes[20];
  double first = 0, last = 0;
  for (int i = 0; i < 20; i++) {
    for (int k = 0; k < 3; k++) x[3*i + k] = sinf((float)(3*i + k));
    classes[i] = x[3*i]*x[3*i + 1] > 0;
  }
  ad_type types[6];
  for (int i = 0; i < 4; i++) types[i] = ad_parameters_types(p)[i];
  types[4] = AD_F32(20, 3), types[5] = AD_I32(20);
  ad_function *f = ad_function_trace("step", step_body, net, 6, types, 5);
  void *const *w = ad_parameters_all(p);
  for (int i = 0; i < 200; i++) {
    float loss = NAN;
    CHECK_STATUS(ad_function_call(f, (const void *[]){ w[0], w[1], w[2], w[3], x, classes },
                                  (void *[]){ &loss, w[0], w[1], w[2], w[3] }, NULL), AD_OK);
    if (i == 0) first = loss;
    last = loss;
  }
  CHECK_THAT(last < 0.5*first, "%g, then %g", first, last);
  ad_function_free(f);
  ad_parameters_free(p);
  ad_layer_free(net);
}

int main(void) {
  test_parameters();
  test_single_layer();
  test_values();
  test_structure();
  test_dropout();
  test_own_layer();
  test_refusals();
  test_shapes_that_do_not_fit();
  test_memory();
  test_training();
  return check_summary();
}
