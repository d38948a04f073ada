/* adit/code.h -- functions as C: text to take away, and native code.
 *
 * The law. Written code is C11, needs <math.h> and <stdint.h> only, allocates nothing, does not recurse and
 * has no memory of its own: it may run in any number of threads, each with its own work memory. Recorded
 * loops are loops in it. The same function and options give the same text, byte for byte.
 */
#ifndef ADIT_CODE_H
#define ADIT_CODE_H

#include <stdio.h>

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is written of a function f, as the functions of adit/function.h make it: its value and others. */
enum {
  AD_CODE_VALUE = 1, AD_CODE_JVP = 2, AD_CODE_VJP = 4, AD_CODE_GRADIENT = 8, AD_CODE_JACOBIAN = 16,
  AD_CODE_HESSIAN = 32
};

/* How entry points are called: as ad_function_emit_c says; or as CasADi's generated functions are,
 * which solvers such as acados load. The two last differ in the integer type, long long int (CasADi
 * itself) or int (acados). */
typedef enum ad_convention { AD_CODE_PLAIN, AD_CODE_CASADI, AD_CODE_CASADI_INT } ad_convention;

/* Zeros mean the defaults. */
typedef struct ad_code {
  const char *name;                 /* of the entry point, and what all other names begin with; NULL: f's */
  unsigned entries;                 /* 0: AD_CODE_VALUE; the others are called name_jvp and so on */
  const char *header;               /* what the .c includes; NULL: name.h */
  bool cblas;                       /* matrix products are calls of CBLAS */
  bool no_restrict;
  bool make_static;                 /* entry points are static: to be included in another file */
  int chunk;                        /* statements of a function, about: longer ones are cut; default 2000 */
  int64_t most_steps;               /* of loops without a limit whose states are kept; default 1000 */
  ad_convention convention;
} ad_code;

/* Writes f as the pair of a .c and a .h. An entry point is
 *
 *   int name(const double *x0, .., double *y0, .., double *w)
 *
 * with the inputs and outputs in order, dense and row-major, none of them NULL, none overlapping; types are
 * double (name_real, which is float if name_FLOAT is defined), float, int64_t, int32_t and unsigned char. w
 * has name_WORK elements, and may be NULL if that is 0; work memory of other types follows if there is any
 * (name_WORK_F32, ..). It returns 0, or the ad_status that the operation which failed gives. header NULL: the
 * declarations are written to source. NULL options: the defaults.
 *
 * With the CasADi convention an entry point is
 *
 *   int name(const double **arg, double **res, casadi_int *iw, double *w, int mem)
 *
 * and has the companions name_n_in, _n_out, _name_in, _name_out (x0, .., z0, ..), _default_in (0),
 * _sparsity_in, _sparsity_out (dense: rows, columns, 1), _work, _work_bytes, _alloc_mem, _init_mem,
 * _free_mem, _checkout, _release, _incref and _decref; the last seven have nothing to do. arg[k] NULL
 * means zeros, res[j] NULL that the result is not wanted. Scalars are 1 x 1, arrays of rank 1 columns,
 * those of rank 2 matrices by columns; arrays of higher rank are columns too, of their elements in
 * row-major order. All numbers are doubles (name_real): inputs of other types are converted as ad_cast
 * does, so that i64 beyond 2^53 are not had exactly. w has name_SZ_W elements, iw and mem are not looked
 * at. The compiler's -Dcasadi_int=int or another type takes the place of the integer type chosen, and
 * CASADI_SYMBOL_EXPORT that of the attribute that makes symbols visible. (CasADi user guide, Generating
 * C-code, API of the generated code.)
 *
 * Random numbers have the bits of the library where double and float are IEEE's and the compiler does not
 * contract (-ffp-contract=off, or -std=c11 with gcc); those of truncated normal variables depend on <math.h>.
 * With name_FLOAT they are rounded, and uniform ones made of 24 bits. Solutions of equations are iterated as
 * adit/implicit.h says, in name_real: values agree to the tolerance asked for, and with name_FLOAT to 1e-4
 * (fixed points: 1e-6) at best.
 *
 * AD_ERROR_UNSUPPORTED for what has no C: callbacks, and primitives without `write` and `value`, which report
 * names; AD_ERROR_DERIVATIVE for entries that do not exist; AD_ERROR_SIZE for sizes that int does not hold,
 * where that is the integer type; AD_ERROR_IO when writing fails. report (may be NULL) says more. */
AD_API ad_status ad_function_emit_c(ad_function *f, FILE *source, FILE *header, const ad_code *options,
                                    ad_report *report);
/* The same for n functions, which share what they have in common: f[i] becomes options->name_names[i]. */
AD_API ad_status ad_functions_emit_c(int n, ad_function *const f[], const char *const names[], FILE *source,
                                     FILE *header, const ad_code *options, ad_report *report);

/* --- native code ---------------------------------------------------------------------------------------- */

/* Zeros mean the defaults. */
typedef struct ad_native {
  const char *compiler;             /* a C compiler that takes gcc's options, found in PATH; NULL: "cc" */
  const char *options;              /* added to the compiler's, separated by spaces; NULL: none */
  /* The folder where compiled code is kept from run to run; NULL: $ADIT_CACHE,
   * $XDG_CACHE_HOME/adit or $HOME/.cache/adit. It is made if it is not there, and must belong to
   * the user and be writable by nobody else. */
  const char *cache;
  /* Returns at once and compiles in a thread; calls use the interpreter until that is done. What went wrong
   * then is what ad_function_compiled says. */
  bool background;
} ad_native;

/* Lets calls of f that want all outputs (ad_function_call) run as native code: f is written as C for this
 * processor, compiled by the system's compiler and loaded, or found in the cache, under a hash of its text,
 * compiler, options and processor. Results agree with the interpreter's within the errors of elementary
 * functions. Functions derived from f are functions of their own. Compiling a function again does nothing.
 *
 * AD_ERROR_UNSUPPORTED without a compiler; AD_ERROR_IO when the cache cannot be used, or the compiler
 * fails; report (may be NULL) says more. In any case f goes on working. Any number of threads and
 * processes may compile at once. */
AD_API ad_status ad_function_compile(ad_function *f, const ad_native *options, ad_report *report);
/* AD_OK where calls of f run natively; AD_ERROR_NO_VALUE where they do not, or not yet; else what the
 * compilation in the background came to. wait: until that is done. */
AD_API ad_status ad_function_compiled(ad_function *f, bool wait, ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
