/* adit/layers.h -- networks put together from layers.
 *
 * The law. A layer is built once, declares its parameters in an ad_parameters, and records what it does to a
 * variable; it holds no numbers, and after it is built any thread may use it. What is put into another layer
 * belongs to that layer, success or not; ad_layer_free frees the outermost one. So a network is one
 * expression and needs one check:
 *
 *   ad_layer *net = ad_sequential(3, (ad_layer *[]){
 *     ad_linear(784, 512), ad_activation(ad_relu), ad_linear(512, 10) });
 *   ad_parameters *p = ad_layer_parameters(net, AD_F32, seed);
 *
 * Constructors return NULL when memory fails, or where a layer inside is NULL: every other layer inside is
 * freed then. Arguments that make no sense give a layer that carries the error: ad_layer_parameters and
 * ad_layer_apply report it.
 */
#ifndef ADIT_LAYERS_H
#define ADIT_LAYERS_H

#include "parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_layer ad_layer;

/* How a network is applied. NULL in its place: not training. */
typedef struct ad_layer_mode {
  bool training;
  ad_var key;                       /* where training: for dropout (adit/random.h), i64 () */
} ad_layer_mode;

/* x W + b along the last axis, (.., n_in) -> (.., n_out): W "weight" (n_in, n_out), Glorot uniform; b "bias"
 * (n_out), zeros. */
AD_API ad_layer *ad_linear(int64_t n_in, int64_t n_out);
/* f(x): any unary operation, ad_activation(ad_relu), or a function of the caller's that records. */
AD_API ad_layer *ad_activation(ad_var (*f)(ad_var x));
/* ad_dropout where training, each with a key of its own made from the mode's, else the identity. */
AD_API ad_layer *ad_dropout_layer(double rate);
/* ad_layer_norm over the last axis, of size n, times "weight" (n), ones, plus "bias" (n), zeros; epsilon
 * 1e-5. */
AD_API ad_layer *ad_layer_norm_layer(int64_t n);
/* One after the other. Parameters of layer[i] are named "i/..". n = 0: the identity. */
AD_API ad_layer *ad_sequential(int n, ad_layer *const layer[]);
/* x + inside(x), of one type. Adds nothing to names. */
AD_API ad_layer *ad_residual(ad_layer *inside);

/* A layer of the caller's own: parameters in this order, and what it does with them. */
typedef struct ad_layer_own {
  int parameters;
  const char *const *name;
  const ad_type *type;              /* floats get the dtype of the network */
  const ad_init *init;
  ad_var (*apply)(void *context, const ad_var parameters[], ad_var x, const ad_layer_mode *mode);
  void *context;
} ad_layer_own;

typedef enum ad_layer_kind {
  AD_LAYER_LINEAR, AD_LAYER_ACTIVATION, AD_LAYER_DROPOUT, AD_LAYER_NORM, AD_LAYER_SEQUENTIAL,
      AD_LAYER_RESIDUAL,
  AD_LAYER_OWN
} ad_layer_kind;

/* All that can be said about a layer; what its kind has no use for is not looked at. */
typedef struct ad_layer_spec {
  ad_layer_kind kind;
  int64_t n_in, n_out;              /* linear; norm: n_in */
  bool no_bias;                     /* linear, norm */
  const ad_init *weight, *bias;     /* linear, norm; NULL: as above. Read at once */
  double epsilon;                   /* norm; 0: 1e-5 */
  ad_var (*f)(ad_var x);            /* activation */
  double rate;                      /* dropout */
  int count;                        /* sequential; residual has one */
  ad_layer *const *layer;
  const ad_layer_own *own;          /* must outlive the layer, with all it points to */
} ad_layer_spec;

/* Any layer, on the caller's memory (copied; NULL: the standard one). */
AD_API ad_layer *ad_layer_new(const ad_allocator *allocator, const ad_layer_spec *spec);
AD_API void ad_layer_free(ad_layer *layer);              /* NULL is fine */

/* The parameters of the network, of that dtype (f32 or f64), initialised from the seed. NULL when memory
 * fails or layer is NULL; other errors stay in what is returned (ad_parameters_status). Uses the layer's
 * allocator. */
AD_API ad_parameters *ad_layer_parameters(const ad_layer *layer, ad_dtype dtype, uint64_t seed);
/* Adds them to p, in the order that ad_layer_apply takes, each named "prefix/name" ("name" if prefix is NULL
 * or ""), not initialised: several networks in one tree. Errors are in p too. */
AD_API ad_status ad_layer_declare(const ad_layer *layer, ad_parameters *p, const char *prefix,
                                  ad_dtype dtype);
/* How many arrays these are; 0 for NULL. */
AD_API int ad_layer_entries(const ad_layer *layer);

/* Records the network: parameters[0 .. entries) as they were declared, input x. A training step takes the
 * parameters as the first inputs of its function (ad_parameters_types). */
AD_API ad_var ad_layer_apply(const ad_layer *layer, const ad_var parameters[], ad_var x,
                             const ad_layer_mode *mode);

#ifdef __cplusplus
}
#endif
#endif
