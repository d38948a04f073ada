/* adit/report.h -- what a function costs, before it runs.
 *
 * The law. What is counted is what the interpreter would do for a call that wants all outputs: the
 * function is made ready to run (its plan is made, as the first call would, and is kept for calls), and
 * nothing is run. Native code of a function does the same arithmetic, in other pieces. Any number of
 * threads may ask at once.
 *
 * How it is counted. Arithmetic and calls of elementary functions are counted apart, because how many
 * additions an exp is worth depends on the processor:
 *
 *   flops   1 for each + - * / square, negation, comparison, choice, |x|, floor, .. of an element, whatever
 *           its type; 2 for fma. Reductions and cumulative sums: 1 for each element; norm 2, variance 4,
 *           logsumexp 3. Products of matrices 2 m k n; LU 2/3 n^3, Cholesky 1/3 n^3, for each right hand side
 *           2 n^2 with the factors of LU and n^2 with a triangle. Sorting: n ceil(log2 n).
 *   calls   1 for each sqrt, exp, log, pow, powi, sin, tanh, sigmoid, gelu, .. of an element, and for each
 *           random number
 *   bytes   of arrays that steps read and write. Values inside a fused region stay in registers and blocks of
 *           the cache and are not counted, nor are scalars inside a scalar program; copies and other movement
 *           of elements are bytes without flops.
 *
 * Loops count as often as they run: steps of scans, instances of maps, what a reverse sweep computes
 * again. Where that is known only when they run (while, root, ..), ONE step is counted, and `open` says
 * how many such operations there are. Callbacks and primitives without a rule for it (ad_primitive.work)
 * count as `unknown`.
 */
#ifndef ADIT_REPORT_H
#define ADIT_REPORT_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_cost {
  /* Work of one call. */
  double flops, calls;
  double bytes_read, bytes_written;
  double runs;                      /* operations that are run; one on an array is one */
  /* The program: operations of the function and of those it runs, each function once; how many functions that
   * are (itself included), batches and derivatives that are run for it among them. */
  int64_t operations, functions;
  int64_t scalars;                  /* operations in scalar programs */
  int64_t regions, fused;           /* fused elementwise regions, and the operations in them */
  int64_t structured;               /* the others: reductions, products, movement, loops, .. */
  /* Memory: arrays that the function itself holds between its steps, and the bytes they would take if none
   * shared memory with another; what a call takes for everything, functions inside and loops' states
   * included, but for what an open operation takes when it runs. */
  int64_t buffers, buffer_bytes, workspace_bytes;
  /* Loops and maps, and their steps and instances in all. */
  int64_t loops;
  double steps;
  /* Reverse sweeps: steps of loops computed again, and bytes of states and values kept for them. */
  double again, stored_bytes;
  /* What the figures leave out. */
  int64_t open;                     /* operations whose number of steps is known only when they run */
  int64_t at_most;                  /* branches, counted at their dearer side; loops that may be shorter */
  int64_t unknown;                  /* operations whose cost nobody can tell */
} ad_cost;

/* AD_ERROR_ARGUMENT for NULL and for functions with captured variables; else what making the plan gave. *cost
 * is zero on failure. */
AD_API ad_status ad_function_cost(ad_function *f, ad_cost *cost);

/* What a report is about, as the functions of adit/function.h make it of f; each is a column of the table. */
enum {
  AD_REPORT_VALUE = 1, AD_REPORT_JVP = 2, AD_REPORT_VJP = 4, AD_REPORT_GRADIENT = 8, AD_REPORT_JACOBIAN = 16,
  AD_REPORT_HESSIAN = 32,
  /* and for each of these, behind the table: operations by kind, regions, loops, functions inside */
  AD_REPORT_DETAILS = 64
};

/* Writes the costs of f and of its derivatives, side by side, as text; what = 0: value, jvp and vjp.
 * out[size] is always terminated (size 0: not touched); *needed (may be NULL) receives the size that is
 * enough, and too small a buffer is AD_ERROR_SIZE. AD_ERROR_DERIVATIVE for what f does not have, other
 * errors as ad_function_cost; report (may be NULL) says which. The derivatives are made, and let go again. */
AD_API ad_status ad_function_report(ad_function *f, unsigned what, char *out, size_t size, size_t *needed,
                                    ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
