/* adit/debug.h -- finding where a NaN or an infinity comes from.
 *
 * The law. ad_find_nonfinite replays a function one operation at a time: it is slow, takes memory for all
 * values in between, and changes nothing. Nothing is printed: the result holds a text that is ready to be
 * shown, and its parts.
 */
#ifndef ADIT_DEBUG_H
#define ADIT_DEBUG_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A label for what is recorded on the tape from here on, until the next one; "" or NULL ends it. At most 59
 * bytes of text are kept. Labels go along into functions that are made of what is recorded, and from
 * operations to their derivatives. While tracing, an operation equal to an earlier one is that one, under its
 * label. */
AD_API ad_status ad_note(ad_tape *tape, const char *text);

enum { AD_NONFINITE_OPERANDS = 4 };

typedef struct ad_nonfinite {
  /* An operation makes a NaN or an infinity of finite operands; the rest of this describes it. */
  bool found;
  /* It is the derivative of this operation: of the sum of all float outputs by the float inputs, in reverse.
   * The function itself is finite then. */
  bool derivative;
  char operation[40];               /* "log"; of a callback its name */
  char of[40];                      /* derivative: which operation it is the derivative of */
  /* How many operations come before it in the function it is in (before `of`, unless the derivative's
   * operation is inside a call or a loop). */
  int64_t number;
  char function[64];                /* that function's name */
  char note[60];                    /* the last ad_note before it, "" if none */
  /* Steps of loops and instances of maps on the way: "f > step 7 of g > instance 3 of h". */
  char path[200];
  int64_t step;                     /* the innermost of them; -1: none */
  int64_t element;                  /* the first such element of the result, row-major, and its value */
  double value;
  /* Operands, the first four: the element there where the operation works element by element,
   * otherwise the element of largest magnitude. */
  int operands;
  double operand[AD_NONFINITE_OPERANDS];
  /* The first input that is not finite, and its first such element; -1: none. An operation is looked for all
   * the same. */
  int input;
  int64_t input_element;
  char message[512];                /* all of this as a sentence or two */
} ad_nonfinite;

/* Calls f on in[] (as ad_function_call) and then its vjp with ones, and describes the first operation, in
 * the order of recording, that makes a NaN or an infinity of finite operands; if there is none, message says
 * so. Inside calls, branches, maps and loops operations are looked at where the result of the whole is not
 * finite. What a callback or another operation fails with is returned, with message; so is
 * AD_ERROR_DERIVATIVE where an operation has no derivative, found being false then. */
AD_API ad_status ad_find_nonfinite(ad_function *f, const void *const in[], ad_nonfinite *result);

#ifdef __cplusplus
}
#endif
#endif
