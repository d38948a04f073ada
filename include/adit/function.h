/* adit/function.h -- functions: immutable programs with inputs and outputs, closed under differentiation.
 *
 * The law. A function never changes to its callers; it is reference counted; any number of threads may call
 * one at once. What makes a function returns NULL on failure: ad_function_trace_report says why,
 * ad_function_new leaves the error on the tape of its variables. A function owns all it needs: tapes it came
 * from may be freed.
 */
#ifndef ADIT_FUNCTION_H
#define ADIT_FUNCTION_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_function ad_function;
typedef struct ad_workspace ad_workspace;

/* What went wrong, for calls that return NULL. */
typedef struct ad_report { ad_status status; char message[256]; } ad_report;

/* Records outputs from inputs on the tape it is given. */
typedef void ad_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context);

/* Traces body once and makes a function of what it recorded. name is copied. report may be NULL. While
 * tracing there are no values yet: ad_value is an error. Equal operations are one variable then, so a
 * derivative by an inner variable sees all of its uses. An input that the body itself makes (ad_scalar)
 * becomes a constant of the function. */
AD_API ad_function *ad_function_trace(const char *name, ad_body *body, void *context, int n_in,
                                      const ad_type in[], int n_out);
AD_API ad_function *ad_function_trace_report(const char *name, ad_body *body, void *context, int n_in,
                                             const ad_type in[], int n_out, ad_report *report);
/* The same on the caller's memory, which everything derived from the function uses too; NULL means the
 * standard allocator. */
AD_API ad_function *ad_function_trace_with(const ad_allocator *allocator, const char *name, ad_body *body,
                                           void *context, int n_in, const ad_type in[], int n_out,
                                           ad_report *report);
/* Cuts out[] as a function of in[] from what is on their tape. Other inputs of the tape become constants with
 * the value they have now; while tracing, those of the body that is traced have none (AD_ERROR_NO_VALUE).
 * in[] may be inner variables too. */
AD_API ad_function *ad_function_new(const char *name, int n_in, const ad_var in[], int n_out,
                                    const ad_var out[]);

/* One more reference, to be given back by ad_function_free; returns f. NULL gives NULL. */
AD_API ad_function *ad_function_retain(ad_function *f);
AD_API void ad_function_free(ad_function *f);            /* drops one reference; NULL is fine */

AD_API const char *ad_function_name(const ad_function *f);
AD_API int ad_function_inputs(const ad_function *f);
AD_API int ad_function_outputs(const ad_function *f);
AD_API ad_type ad_function_input_type(const ad_function *f, int i);      /* rank -1 when i is out of range */
AD_API ad_type ad_function_output_type(const ad_function *f, int i);
AD_API size_t ad_function_size(const ad_function *f);                    /* number of operations */

/* Runs f. in[i] points to an array of input i's type, NULL means zeros; out[j] receives output j, NULL means
 * not wanted (and what only it needs is not computed). Outputs may be the same memory as inputs only where
 * the pointers are equal and the types are equal; other overlap is undefined. A call that fails leaves its
 * inputs as they were. workspace holds the intermediate values, one thread at a time each; NULL takes one
 * from the function's pool. Where a workspace and a set of outputs have been used before, a call allocates
 * nothing. */
AD_API ad_status ad_function_call(ad_function *f, const void *const in[], void *const out[],
                                  ad_workspace *workspace);
/* Makes now what the first call would make, so that it allocates nothing either: how the wanted outputs are
 * computed (wanted: one for each output; NULL: all of them), and room in the workspace (NULL: in one of the
 * function's pool). For loops that must not wait. After ad_function_compile, whose code wants room of its
 * own. Several threads may do so at once, each with its own workspace. Fails as the call would. */
AD_API ad_status ad_function_prepare(ad_function *f, const bool wanted[], ad_workspace *workspace);
/* Runs f, all of whose inputs and outputs are scalars, at n points: in[i] and out[j] are arrays of n. The
 * points are the lanes of the interpreter. NULL and shared memory as in ad_function_call, but outputs in the
 * memory of inputs cost the lanes: the points run one by one. AD_ERROR_ARGUMENT if an input or output is an
 * array. */
AD_API ad_status ad_function_call_lanes(ad_function *f, size_t n, const void *const in[], void *const out[],
                                        ad_workspace *workspace);
/* Memory for calls, of any functions; grows as needed. NULL when memory fails. NULL may be freed. */
AD_API ad_workspace *ad_workspace_new(void);
AD_API void ad_workspace_free(ad_workspace *workspace);
/* What the last call with this workspace that failed says about it ("while: .. still holds after 100 steps"),
 * until the next call; "" if nothing. */
AD_API const char *ad_workspace_message(const ad_workspace *workspace);

/* Records a call of f on in[], results in out[], on the tape of the first variable among in[]: numbers fill
 * an array, but one must be a variable. AD_ERROR_SHAPE, AD_ERROR_DTYPE or AD_ERROR_TAPES, also on the tape,
 * where in[i] does not fit. */
AD_API ad_status ad_function_apply(ad_function *f, const ad_var in[], ad_var out[]);

/* Derivatives as functions. f: x[0..n) -> y[0..m). Inputs and outputs that are not floats keep their places
 * among tangents and cotangents: what is given there is ignored, what comes out is zero.
 *
 *   jvp       (x.., xdot..) -> (y.., ydot..)
 *   vjp       (x.., ybar..) -> (y.., xbar..)
 *   gradient  (x..)         -> (y, dy/dx[wrt[0]], dy/dx[wrt[1]], ..)          m = 1, y a scalar
 *   jacobian  (x..)         -> dy[j]/dx[i] at j*n_wrt + i                     shape of y[j], then of x[i]
 *   hessian   (x..)         -> d2y/dx[i]dx[k] at i*n_wrt + k                  shape of x[i], then of x[k]
 *   hvp       (x.., v..)    -> (y, gradient.., H v..)                         v[i] like x[wrt[i]]
 *
 * Jacobians have the dtype of y[j], Hessians that of x[i]. wrt lists inputs (i and k above count in it);
 * NULL, with n_wrt ignored, means all float inputs. Outputs that are not wanted cost nothing (out[j] NULL in
 * the call). NULL when f cannot be differentiated so (an output that is no float scalar for gradient, hessian
 * and hvp; a wrt that is no float input; an operation without a rule), or without memory. The caller owns
 * what is returned; f may be freed before it. */
AD_API ad_function *ad_function_jvp(ad_function *f);
AD_API ad_function *ad_function_vjp(ad_function *f);
AD_API ad_function *ad_function_gradient(ad_function *f, int n_wrt, const int wrt[]);
AD_API ad_function *ad_function_jacobian(ad_function *f, int n_wrt, const int wrt[]);
AD_API ad_function *ad_function_hessian(ad_function *f, int n_wrt, const int wrt[]);
AD_API ad_function *ad_function_hvp(ad_function *f, int n_wrt, const int wrt[]);

/* What ad_check found: the worst entry over all comparisons. */
typedef struct ad_check_result {
  double error;                 /* |a - b|/(1 + |b|), the largest, of jvp against differences */
  double transpose_error;       /* of <u, J v> against <J^T u, v>, relative */
  int output; int64_t element;  /* where the error is */
  double derivative, difference;
} ad_check_result;
/* Compares jvp, vjp and differences of 8th order of every float output with respect to all float inputs at
 * in[], in three fixed directions. AD_ERROR_ARGUMENT for NULL, AD_ERROR_DERIVATIVE where f has no jvp or vjp,
 * else what calling f gave. result is written in every case but the first. Meant for
 * points where f is smooth. */
AD_API ad_status ad_check(ad_function *f, const void *const in[], ad_check_result *result);

#ifdef __cplusplus
}
#endif
#endif
