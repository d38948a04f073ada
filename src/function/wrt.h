/* wrt.h -- what the transformations share: the inputs to differentiate with respect to, and lists of
 * variables. */
#ifndef ADIT_FUNCTION_WRT_H
#define ADIT_FUNCTION_WRT_H

#include "function/function.h"

typedef struct wrt_list {
  ad_function *f;
  int n, *input;
  size_t bytes;
} wrt_list;

/* All float inputs for wrt NULL. False for inputs that do not exist or are no floats, and when memory fails.
 */
bool wrt_open(wrt_list *w, ad_function *f, int n, const int wrt[]);
void wrt_close(wrt_list *w);

/* Room for n variables; NULL with the error on the tape. */
ad_var *vars_get(ad_tape *t, size_t n);
void vars_release(ad_tape *t, ad_var *v, size_t n);

/* ad_function_apply on a tape that is given, for functions without inputs too; always inlined. Captured
 * variables come from where they were captured; function_apply_all takes them as inputs like the others. */
ad_status function_apply_on(ad_tape *t, ad_function *f, const ad_var in[], ad_var out[]);
ad_status function_apply_all(ad_tape *t, ad_function *f, const ad_var in[], ad_var out[]);
/* Input i of f from v: a number fills an array, a variable of a tape further out
 * is lifted; types must fit. */
ad_status function_argument(ad_tape *t, const ad_function *f, int i, ad_var v, ad_var *x);
/* The inputs of f followed by its captured variables, as variables of t. NULL with the error on t; n_in of
 * f, to be given back by vars_release. */
ad_var *function_arguments(ad_tape *t, ad_function *f, const ad_var in[]);
/* Body of the gradient; its context is a wrt_list. */
void gradient_body(ad_tape *t, const ad_var in[], ad_var out[], void *context);

#endif
