/* ode.h -- the integrator as functions: a step, the way through all times, and the way back.
 */
#ifndef ADIT_FUNCTION_ODE_H
#define ADIT_FUNCTION_ODE_H

#include "adit/ode.h"
#include "function/function.h"

struct plan_parts;

/* --- steps: ode_step.c ---------------------------------------------------------------------------------- */

/* What goes from step to step, in the order of the loop's states. */
enum {
  ODE_T, ODE_H,                     /* where we are, and the next step's size, with its sign */
  ODE_Y, ODE_K,                     /* y and f(t, y) there */
  ODE_ERROR, ODE_GROWTH,            /* the controller's memory: the last error; by how much h may grow */
  ODE_T_OLD, ODE_H_OLD,             /* where the last step began, and its size */
  ODE_Y_OLD, ODE_K_OLD, ODE_BOW,    /* y and f there, and what the interpolant needs besides */
  ODE_STATES
};
/* Inputs of a step behind the states: the time to reach, the last time, the parameters. */
enum { ODE_TARGET = ODE_STATES, ODE_STOP, ODE_PARAMETERS };

/* f: (t, y, p..) -> dy/dt, without captured variables. */
typedef struct ode {
  ad_function *f;
  ad_ode options;                   /* with the defaults filled in */
} ode;

/* f at (t, y), recorded on t's tape; p: its parameters. */
ad_var ode_slope(ad_tape *tape, const ode *o, ad_var t, ad_var y, const ad_var p[]);
/* The states before the first step. */
void ode_begin(ad_tape *tape, const ode *o, ad_var t, ad_var y, ad_var stop, const ad_var p[],
               ad_var state[]);
/* One try at a step, as the body of a loop. context: an ode. */
void ode_step(ad_tape *tape, const ad_var in[], ad_var out[], void *context);
/* y at a time within the last step. */
ad_var ode_interpolate(const ad_var state[], ad_var t);

/* --- all times: ode.c ----------------------------------------------------------------------------------- */

/* What is made of an equation, options and a number of times is kept by a function that stands for the first
 * two: () -> the options as words. f, the equation as given, keeps that one. NULL with the error on t. */
ad_function *ode_keeper(ad_tape *t, ad_function *f, const ode *o);
/* What a keeper keeps, and the number under which it does. */
typedef enum ode_kept { ODE_FLOW, ODE_AUGMENTED, ODE_AUGMENTED_FLOW, ODE_ADJOINT, ODE_KINDS } ode_kept;
int64_t ode_number(ode_kept which, int64_t times);

/* (y0, times, p..) -> y at the times, for o->f; kept by the keeper. NULL with the error on t. */
ad_function *ode_flow(ad_tape *t, ad_function *keeper, const ode *o, ode_kept which, int64_t times);

/* --- the continuous adjoint: ode_adjoint.c, ode_node.c -------------------------------------------------- */

/* (y0, times, p.., y at the times, its cotangent) -> cotangents of y0, of the times and of the float
 * parameters; kept by the keeper. NULL with the error on t. */
ad_function *ode_adjoint(ad_tape *t, ad_function *keeper, const ode *o, int64_t times);

/* The attribute of an integration whose cotangents are the adjoint's business. */
typedef struct ode_pair { ad_function *flow, *adjoint; } ode_pair;
/* Records flow on x[0..n). */
ad_var ode_record(ad_tape *t, ode_pair pair, int n, const ad_var x[]);
/* Running is a higher floor: it defines this. As tuple_rules.run. */
ad_status ode_run(const ad_operation *op, const void *const x[], void *const z[], char *message, size_t size);
/* As tuple_rules.parts. */
ad_status ode_parts(const ad_operation *op, struct plan_parts *parts);

#endif
