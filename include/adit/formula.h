/* adit/formula.h -- formulas as text: "sin(x + y^2)/sqrt(x)" recorded on a tape, and what was recorded as
 * text again.
 *
 * The law. A formula is a list of statements separated by semicolons: `name = expression` binds an
 * intermediate from there on, every bare expression is an output. Errors say where: the position is an offset
 * in bytes, for a caret; they also stay on the tape like those of every recording call. Texts and names are
 * only read during the call.
 *
 * Numbers, names (letters, digits, _, any UTF-8 letter; not beginning with a digit) and, from loose to tight:
 *     c ? a : b     ||     &&     == !=     < <= > >=     + -     * / @     unary - + !     ^
 * ^ is right associative and binds tighter than unary minus; a literal integer exponent is the exact power
 * (ad_powi); / is the quotient of the reals for integers too; @ is ad_matmul. pi, e, inf and nan are
 * constants unless bound.
 *
 * Functions are those of adit/elementwise.h without ad_, under C's names too (fabs fmin fmax), max and min of
 * two or more; leaky_relu(x, a), elu(x, a), polygamma(n, x), powi(n, x) take a literal number; and those of
 * adit/arrays.h, whose arguments may be named as in sum(x, axis=(0, 1), keep=1):
 *   sum prod mean max min any all logsumexp norm (x, axis, keep)      variance (x, axis, keep, ddof)
 *                                                                     all axes if axis is left out
 *   argmin argmax (x, axis=-1, keep)      sort argsort (x, axis=-1, descending)    topk (x, k, axis=-1)
 *   cumsum cumprod (x, axis=-1)           expand (x, axis)      squeeze flip (x, axis)    transpose (x, perm)
 *   reshape broadcast_to (x, shape)       tile (x, reps)        repeat (x, times, axis=0)
 *   concat stack (x, y, ..., axis=0)      pad (x, before, after, value=0)
 *   at (x, i, j, ...)     slice (x, axis, start, count, step=1)   slice_add (base, part, axis, start, step=1)
 *   take gather (x, index, axis=0)        scatter_add gather_add (base, index, updates, axis=0)
 *   matmul dot outer (x, y)               einsum ("ij,jk->ik", x, y)
 *   diag tril triu (x, k=0)               trace stop_gradient f32 f64 i32 i64 bool (x)
 *   zeros ones (shape)                    full (shape, value)         eye (n, m=n, k=0)
 *   arange (start, stop, step=1)          linspace (start, stop, n)   one_hot (index, depth)
 * [1, 2, 3] and [[a, b], [c, d]] make arrays; (0, 1) and [0, 1] are lists of axes and shapes where those are
 * expected.
 */
#ifndef ADIT_FORMULA_H
#define ADIT_FORMULA_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What was wrong with a text, and where in it (offset in bytes). */
typedef struct ad_formula_report {
  ad_status status;
  int position;
  char message[256];
} ad_formula_report;

/* Records text and returns its last output. names[i] stands for vars[i], i < n; the variables keep their
 * handles, so ad_grad(f, n, vars, ..) works afterwards. A formula without an output is AD_ERROR_SYNTAX. */
AD_API ad_var ad_formula(ad_tape *tape, const char *text, int n, const char *const names[],
                         const ad_var vars[]);

/* Records text and writes its outputs in order to out[0 .. capacity); *count (not NULL) receives their
 * number, also when it is more than capacity, which is AD_ERROR_ARGUMENT. out may be NULL when capacity is 0.
 * report may be NULL. */
AD_API ad_status ad_formula_all(ad_tape *tape, const char *text, int n, const char *const names[],
                                const ad_var vars[], int capacity, ad_var out[], int *count,
                                ad_formula_report *report);

/* Writes the free names of text, those that it uses and does not bind itself, pi, e, inf, nan left out, in
 * the order of their first use, separated by single spaces, into names[size], always terminated (size may be
 * 0). *needed (may be NULL) receives the size that is enough. Too small a buffer is AD_ERROR_SIZE. report may
 * be NULL. */
AD_API ad_status ad_formula_names(const char *text, char *names, size_t size, size_t *needed,
                                  ad_formula_report *report);

/* How expressions are written out. */
typedef enum ad_notation { AD_TEXT, AD_LATEX } ad_notation;

/* Writes what y was computed from as an expression in names: vars[i] is written as names[i], inputs that are
 * not listed as v0, v1, ... by their place on the tape. AD_TEXT is what ad_formula reads. Into out[size],
 * always terminated; *needed as above. A variable used many times is written out each time: more than 1 MiB
 * is AD_ERROR_LIMIT. What structured operations have besides their operands (axes, shapes) is not shown. */
AD_API ad_status ad_formula_text(ad_var y, ad_notation notation, int n, const char *const names[],
                                 const ad_var vars[],
                                 char *out, size_t size, size_t *needed);

/* The derivatives of text's outputs by the names wrt[0 .. n), simplified and written in the notation: for
 * output j and name i, "dj by i" in order j*n + i, each terminated by a zero byte, into out[size]; *needed
 * and *count (outputs; may be NULL) as above. Scalars only: functions of arrays are AD_ERROR_UNSUPPORTED.
 * Domains are not kept: x/x becomes 1. */
AD_API ad_status ad_formula_derive(const char *text, ad_notation notation, int n, const char *const wrt[],
                                   char *out, size_t size, size_t *needed, int *count,
                                       ad_formula_report *report);

#ifdef __cplusplus
}
#endif
#endif
