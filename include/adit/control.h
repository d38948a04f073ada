/* adit/control.h -- functions inside functions: calls, branches, maps and loops as single operations.
 *
 * The law. A loop is recorded once, whatever its length, and differentiated without being unrolled: its
 * derivative is a loop again, of any order and in any mix of modes. The functions given are kept alive by the
 * tape; what they captured (ad_function_trace_inside) comes along by itself. Calls here record on the tape of
 * in[] (and of captured variables) and write invalid variables to out[] on failure, with the error on that
 * tape. A number fills an input of any type. What goes wrong when the operation runs (a limit reached, a
 * singular matrix) is the status of the call or reading that ran it.
 *
 * Structural zeros (docs/conventions.md, rule 5) reach to the operation's edge: a branch connects only what
 * the side taken connects; inside a loop's cotangents an unconnected element counts as zero.
 */
#ifndef ADIT_CONTROL_H
#define ADIT_CONTROL_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- bodies that use variables from outside ------------------------------------------------------- */

/* ad_function_trace, of a body that may use variables of outer, and of the tapes that outer's own trace is
 * inside of. They become hidden inputs, which the calls in this header supply; ad_function_call cannot
 * (AD_ERROR_ARGUMENT). Derivatives flow into them. The function must not be used after outer is freed or
 * rewound behind them. report may be NULL. */
AD_API ad_function *ad_function_trace_inside(ad_tape *outer, const char *name, ad_body *body, void *context,
                                             int n_in, const ad_type in[], int n_out, ad_report *report);

/* --- calls ---------------------------------------------------------------------------------------- */

/* y = f(x) as one operation whose reverse sweep keeps x alone and computes f again: memory for time.
 * ad_function_apply (adit/function.h) is the plain call. Source: Griewank and Walther 2008, ch. 12. */
AD_API ad_status ad_checkpoint(ad_function *f, const ad_var in[], ad_var out[]);

/* y = p ? f(x) : g(x), where p is a scalar (bool, or any number: nonzero is true). f and g have the same
 * inputs and outputs. Only the side taken runs, forwards and backwards: NaN, infinity or an endless loop in
 * the other one never matter. Elementwise choice is ad_select. */
AD_API ad_status ad_cond(ad_var p, ad_function *f, ad_function *g, const ad_var in[], ad_var out[]);

/* --- maps ----------------------------------------------------------------------------------------- */

/* y[i] = f(x[i]) for i = 0..n-1. in[k] is either of the type of f's input k, and the same for all instances,
 * or has a leading axis of n more; at least one has. out[j] gets a leading axis of n. The cotangent of a
 * shared input is the sum over the instances. Instances are lanes of the block interpreter, and blocks of
 * them run in parallel; they must not depend on each other. AD_ERROR_SHAPE for other types. */
AD_API ad_status ad_map(ad_function *f, const ad_var in[], ad_var out[]);
/* The function that maps f over n instances; mapped[k]: input k gets the leading axis (NULL: all do). NULL as
 * in adit/function.h. */
AD_API ad_function *ad_function_map(ad_function *f, int64_t n, const bool mapped[]);

/* --- loops ---------------------------------------------------------------------------------------- */

/* What the reverse sweep over a loop of n steps keeps of the states, and so how many steps it computes again
 * (beside the forward sweep and the n steps backwards, each of which computes its step):
 *
 *   AD_KEEP_STATES    all n states                                         none
 *   AD_KEEP_ALL       and the values inside that the steps backwards use,  none, nor do those compute theirs
 *                     but for sums and products of two of them, and where
 *                     all are cheap (elementwise) more than 16 MB; on a
 *                     tape that does not trace as AD_KEEP_STATES
 *   AD_KEEP_EVERY     every k-th state, and k states at a time             less than n
 *   AD_KEEP_BINOMIAL  k states at any time (bytes/size of a state, for     the least possible: about
 *                     k = 0)                                               r n, with (k + r)! / (k! r!) >= n
 *
 * The first two need to know n when the scan is recorded. A loop whose number of steps is known only when it
 * runs (while, count) has no record to keep: its reverse sweep goes forward once more, n - 1 steps, and keeps
 * the states then. The last is Algorithm 799 (revolve) of Griewank and Walther, ACM TOMS 26 (2000). */
typedef enum ad_keep { AD_KEEP_STATES, AD_KEEP_EVERY, AD_KEEP_BINOMIAL, AD_KEEP_ALL } ad_keep;

/* How many steps AD_KEEP_BINOMIAL computes again in all for n steps and k states, the least possible: r n -
 * (k + r)!/((k + 1)! (r - 1)!) with r the least for which (k + r)!/(k! r!) >= n; the first way forward is
 * counted, the steps backwards are not. INT64_MAX when it is more than that; 0 for n <= 1 or k < 1. */
AD_API int64_t ad_binomial_cost(int64_t n, int64_t k);

typedef struct ad_loop {
  ad_keep keep;
  int64_t k;                        /* see ad_keep; at least 1 */
  /* Memory for the states of a reverse sweep, at most: AD_KEEP_BINOMIAL makes do with it (one state it always
   * keeps; with k as well the lesser number of states counts), the others fail with AD_ERROR_LIMIT when they
   * run. Of a loop in a map: for each instance. 0: no limit. */
  int64_t bytes;
  /* scan: number of steps where no input has an axis of them. 0 is none at all; with no options it is
   * AD_ERROR_ARGUMENT that nothing gives the number. */
  int64_t steps;
  /* scan: an integer scalar, how many steps to make, known when it runs: 0 <= count <= n, else
   * AD_ERROR_LIMIT. Rows of outputs beyond it are zero. Without stacked inputs or outputs and with steps 0
   * there is no upper bound. Not set: ad_none(), or counted false. */
  ad_var count;
  bool counted;                     /* count is set */
  bool backwards;                   /* scan: from the last step to the first */
  int64_t limit;                    /* while: AD_ERROR_LIMIT beyond that many steps; 0: 2^62 */
} ad_loop;

/* f(state.., x.., shared..) -> (state.., y..). The first `states` inputs are the state: in[] gives its start,
 * out[] receives its end. Of the other inputs, those given with a leading axis of n more are taken apart, one
 * x for each step; those of f's own type are the same at every step. The other outputs are stacked along a
 * new leading axis, in the order of the x. options NULL: AD_KEEP_STATES. */
AD_API ad_status ad_scan(ad_function *f, int states, const ad_loop *options, const ad_var in[], ad_var out[]);
/* The same for functions of (state.., x.., shared..) -> state..: the end state. */
AD_API ad_status ad_fold(ad_function *f, int states, const ad_loop *options, const ad_var in[], ad_var out[]);
/* f(.. f(f(x[0], x[1]), x[2]) .., x[n-1]) for f(a, b, shared..) -> a: in[0] is x, with a leading axis of
 * n >= 1; the rest is shared. */
AD_API ad_status ad_reduce(ad_function *f, const ad_loop *options, const ad_var in[], ad_var *out);

/* while (condition(state.., shared..)) state = body(state.., shared..). condition gives one scalar; it may
 * take fewer inputs than body: its first ones. The state is as many inputs as body has outputs. */
AD_API ad_status ad_while(ad_function *condition, ad_function *body, const ad_loop *options,
                          const ad_var in[], ad_var out[]);

#ifdef __cplusplus
}
#endif
#endif
