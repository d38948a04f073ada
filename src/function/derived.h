/* derived.h -- functions that belong to another one: its jvp and vjp for some of its inputs and outputs, its
 * Taylor expansion. Each is made once and kept by the function it comes from.
 *
 * Inputs and outputs are all of the function's, captured ones included. What is returned belongs to f; NULL
 * with the error on t, the tape on whose behalf it was asked for.
 */
#ifndef ADIT_FUNCTION_DERIVED_H
#define ADIT_FUNCTION_DERIVED_H

#include "function/function.h"

typedef enum derived_kind {
  DERIVED_JVP, DERIVED_VJP, DERIVED_TAYLOR, DERIVED_BATCH, DERIVED_EARLY, DERIVED_LATE,
  DERIVED_IMPLICIT, DERIVED_ODE, DERIVED_SCALARS, DERIVED_STEP, DERIVED_OPENED
} derived_kind;

/* out[j]: does output j depend on one of the inputs with in[i], as far as the recording
 * tells? False when memory fails. */
bool derived_reached(ad_function *f, const bool in[], bool out[]);

/* in[i]: does one of the outputs with out[j] depend on input i? */
bool derived_reaching(ad_function *f, const bool out[], bool in[]);

/* (x.., xdot of each in[i]) -> (y.., ydot of each out[j]) */
ad_function *derived_jvp(ad_tape *t, ad_function *f, const bool in[], const bool out[]);
/* (x.., ybar of each out[j].., sum of each sums[i]) -> xbar of each in[i], added to its sum where sums[i] */
ad_function *derived_vjp(ad_tape *t, ad_function *f, const bool in[], const bool out[], const bool sums[]);
/* (x.., coefficients 1 of each in[i].., .., coefficients of that order) -> the same of y and out[j] */
ad_function *derived_taylor(ad_tape *t, ad_function *f, int order, const bool in[], const bool out[]);

/* f with the calls in it opened, but for checkpoints and very big ones: f itself where there are none. */
ad_function *derived_opened(ad_tape *t, ad_function *f);

/* derived_vjp in two parts: *early is f with the values behind its outputs that the other part uses and that
 * do not depend on cotangents or sums; *late is the vjp, with those values as its last inputs. */
bool derived_split(ad_tape *t, ad_function *f, const bool in[], const bool out[], const bool sums[],
                   ad_function **early, ad_function **late);

/* For other floors that derive functions: the one kept under kind, number and flags (one byte for each input
 * and output), and keeping one, which returns what is kept under that key: f, or what another thread kept
 * first (then f is let go). NULL when memory fails. */
ad_function *derived_find(ad_function *of, derived_kind kind, int64_t number, const bool in[],
                          const bool out[]);
ad_function *derived_keep(ad_function *of, derived_kind kind, int64_t number, const bool in[],
                          const bool out[], ad_function *f);

#endif
