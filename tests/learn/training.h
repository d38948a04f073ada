/* training.h -- a small network to train: 3-8-1 with tanh and dropout, data that it can learn. */
#ifndef ADIT_TESTS_TRAINING_H
#define ADIT_TESTS_TRAINING_H

#include "check.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/random.h"
#include "adit/train.h"

#include <math.h>

enum { EXAMPLES = 50, FEATURES = 3, HIDDEN = 8 };

static inline ad_parameters *network_parameters(ad_dtype dtype) {
  const int64_t w0[2] = { FEATURES, HIDDEN }, w1[2] = { HIDDEN, 1 }, b0 = HIDDEN, b1 = 1;
  ad_parameters *p = ad_parameters_new();
  ad_parameters_add(p, "0/weight", ad_type_make(dtype, 2, w0), ad_init_glorot_uniform());
  ad_parameters_add(p, "0/bias", ad_type_make(dtype, 1, &b0), ad_init_zeros());
  ad_parameters_add(p, "1/weight", ad_type_make(dtype, 2, w1), ad_init_glorot_uniform());
  ad_parameters_add(p, "1/bias", ad_type_make(dtype, 1, &b1), ad_init_zeros());
  ad_parameters_initialise(p, 5);
  return p;
}

/* y = sin(x0 + 2 x1) - x2 on examples in [-1, 1]^3. */
static inline ad_dataset *network_data(ad_dtype dtype, int64_t examples, uint64_t seed) {
  static double wide[2*EXAMPLES*(FEATURES + 1)];
  static float narrow[2*EXAMPLES*(FEATURES + 1)];
  const int64_t shape[2] = { examples, FEATURES }, one[2] = { examples, 1 };
  const ad_type type[2] = { ad_type_make(dtype, 2, shape), ad_type_make(dtype, 2, one) };
  void *const numbers = dtype == AD_F32 ? (void *)narrow : (void *)wide;
  void *const y = (char *)numbers + ad_type_bytes(type[0]);
  for (int64_t i = 0; i < examples; i++) {
    double x[FEATURES];
    for (int k = 0; k < FEATURES; k++) {
      x[k] = check_uniform(&seed, -1, 1);
      check_set_element(dtype, numbers, FEATURES*i + k, x[k]);
    }
    check_set_element(dtype, y, i, sin(x[0] + 2*x[1]) - x[2]);
  }
  return ad_dataset_new(2, type, (const void *[]){ numbers, y }, NULL, NULL);
}

/* The mean of squares of errors, with dropout of 1/10 in training; the metric is the mean absolute error. */
static inline void network_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  const ad_var *p = in->parameter;
  const ad_dtype dtype = ad_type_of(p[0]).dtype;
  const int64_t shape[2] = { in->examples, HIDDEN };
  ad_var h = ad_tanh(ad_add(ad_matmul(in->data[0], p[0]), p[1]));
  (void)tape, (void)context;
  if (in->training) {
    const ad_var kept = ad_random_bernoulli(in->key, 0.9, ad_type_make(dtype, 2, shape));
    h = ad_mul(h, ad_div(kept, 0.9));
  }
  const ad_var error = ad_sub(ad_add(ad_matmul(h, p[2]), p[3]), in->data[1]);
  out[0] = ad_mean(ad_square(error), AD_ALL_AXES, false);
  out[1] = ad_mean(ad_abs(error), AD_ALL_AXES, false);
}

static const char *const network_metric[1] = { "absolute error" };

static inline ad_training network_training(void) {
  return (ad_training){ .loss = network_loss, .optimiser = ad_adam(0.02), .metrics = 1,
                        .metric = network_metric,
                        .epochs = 4, .batch = 8, .seed = 11 };
}

/* All bytes of parameters and optimiser state are those of the other trainer. */
static inline bool same_bits(const ad_parameters *a, const ad_parameters *b) {
  bool same = ad_parameters_entries(a) == ad_parameters_entries(b);
  for (int i = 0; same && i < ad_parameters_entries(a); i++)
    same = !memcmp(ad_parameters_data(a, i), ad_parameters_data(b, i),
                   ad_type_bytes(ad_parameters_type(a, i)));
  return same;
}

static inline bool same_history(const ad_trainer *a, const ad_trainer *b) {
  int64_t rows, others;
  int columns;
  const double *x = ad_trainer_history(a, &rows, &columns), *y = ad_trainer_history(b, &others, &columns);
  return rows == others && (rows == 0 || !memcmp(x, y, (size_t)rows*(size_t)columns*sizeof *x));
}

#endif
