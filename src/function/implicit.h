/* implicit.h -- solutions of equations as nodes: root, fixed point and minimum differ in how they run alone.
 *
 * x, the unknown, is a scalar or a vector here; whoever records flattens it. Operands: the guess, then the
 * parameters, captured variables last. One result: the solution.
 */
#ifndef ADIT_FUNCTION_IMPLICIT_H
#define ADIT_FUNCTION_IMPLICIT_H

#include "function/function.h"
#include "tape/tuple.h"

/* The attribute. The functions take (x, p..) and have no captured variables. */
typedef struct implicit {
  ad_function *residual;            /* of the type of x: f itself, x - g, or the gradient of f */
  ad_function *jacobian;            /* its derivative by x: a scalar, or (n, n) */
  ad_function *value;               /* what is minimized; else NULL */
  ad_dtype exact;                   /* the narrower of the types of x and of f: what rounding is that of */
  double relative, absolute;
  int64_t iterations, mixing;
} implicit;

/* The rules that tuple.h describes. */
bool implicit_forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]);
bool implicit_reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]);
bool implicit_taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]);

/* Running is a higher floor: it defines these. As tuple_rules.run. */
ad_status root_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                   size_t size);
ad_status fixed_point_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                          size_t size);
ad_status minimize_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                       size_t size);

/* As tuple_rules.parts, for one iteration. */
ad_status newton_parts(const ad_operation *op, struct plan_parts *parts);
ad_status fixed_point_parts(const ad_operation *op, struct plan_parts *parts);

/* --- for operations that carry functions ---------------------------------------------------------------- */

/* The innermost tape of the inputs' and of the one f is inside of; NULL if there is none. */
ad_tape *function_tape(const ad_function *f, const ad_var in[]);
/* A function that belongs to f and is made once, as those of derived.h: traced by body on f's memory, kept
 * under kind and number. It must not refer to f, which holds on to it. NULL with the error on t. */
ad_function *function_kept(ad_tape *t, ad_function *f, int kind, int64_t number, const char *suffix,
                           ad_body *body, void *context, int n_in, const ad_type in[], int n_out);
/* f with its captured variables as inputs, a copy: what is derived of that may be held by what f keeps. */
ad_function *function_closed(ad_tape *t, ad_function *f);
/* Keeps a function alive that a node of t refers to; for hold rules. */
ad_status function_hold(ad_tape *t, ad_function *f);

#endif
