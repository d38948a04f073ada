/* adit/custom.h -- derivatives of one's own: functions whose value is a C callback, and recorded functions
 * with another derivative than their own.
 *
 * The law. What is given is believed, not checked (ad_check compares it with differences). What is not given
 * is derived from what is: a jvp and a vjp are each other's transpose in the tangents, and both come from a
 * Jacobian. Rules are ordinary functions, so higher derivatives are derivatives of the rules, and Taylor
 * series come from the jvp. A primitive with one result and rules that record operations is an ad_primitive
 * (adit/primitive.h); ad_stop_gradient (adit/derive.h) is the rule "zero".
 */
#ifndef ADIT_CUSTOM_H
#define ADIT_CUSTOM_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The derivative of a function x[0..n) -> y[0..m). All members may be NULL; functions are retained, depends
 * is copied.
 *
 *   jvp         (x.., xdot..) -> ydot..          as ad_function_jvp makes it, with or without the y in front
 *   vjp         (x.., ybar..) -> xbar..          as ad_function_vjp, with or without the y in front
 *   derivative  (x..) -> dy[j]/dx[i]             as ad_function_jacobian makes it with wrt NULL: all y floats
 *   depends     depends[j*n + i] false: y[j] does not depend on x[i], a structural zero. NULL: all on all
 *
 * jvp and vjp must be linear in xdot and ybar. What they give for variables that are no floats is ignored.
 * Where several are given, tangents come from jvp, cotangents from vjp, and what is left from derivative.
 * Functions that have captured variables (ad_function_trace_inside) cannot be rules. */
typedef struct ad_custom_rule {
  ad_function *jvp, *vjp, *derivative;
  const bool *depends;
} ad_custom_rule;

/* The value of f with the derivative of rule, whatever f is made of; f's own where the rule (which may be
 * NULL) has no function. NULL on failure, with the reason in *report (may be NULL): AD_ERROR_ARGUMENT for
 * functions with captured variables, AD_ERROR_SHAPE or AD_ERROR_DTYPE for rules that do not fit. */
AD_API ad_function *ad_custom(ad_function *f, const ad_custom_rule *rule, ad_report *report);

/* Computes out[] from in[], dense arrays of the types given; of an empty array the address may be NULL. A
 * status other than AD_OK stops the call that runs the function and becomes its status, with what was
 * written to message (size bytes, "" on entry) behind the function's name. Must be a pure function of in[],
 * and may be called from several threads at once. */
typedef ad_status ad_external_call(void *context, const void *const in[], void *const out[], char *message,
                                   size_t size);

/* A function whose value is a callback. Arrays and strings are copied. */
typedef struct ad_external {
  const char *name;
  int n_in, n_out;                  /* at least one output */
  const ad_type *in, *out;
  ad_external_call *call;
  void *context;
  /* Called once, when nothing uses the callback any more: functions derived from this one and tapes may
   * outlive it. NULL: nothing to do. Not called when ad_function_external fails. */
  void (*release)(void *context);
  /* call takes out[j] == NULL for "not wanted". Otherwise all are given, at the cost of an allocation in
   * calls that do not want some. */
  bool partial;
  ad_custom_rule rule;
  const ad_allocator *allocator;    /* NULL: the standard one */
} ad_external;

/* The function that calls e->call. A derivative that the rule neither has nor gives is AD_ERROR_DERIVATIVE
 * where it is asked for, naming the function and the rule. NULL on failure as ad_custom; then release is not
 * called. */
AD_API ad_function *ad_function_external(const ad_external *e, ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
