/* reference.h -- derivatives of a recorded scalar problem in extended precision, to measure errors
 * against. */
#ifndef ADIT_COMMAND_REFERENCE_H
#define ADIT_COMMAND_REFERENCE_H

#include "command/wengert.h"

/* The list's values and their derivatives by the variable at place `variable`, in long double, by the forward
 * rules of the table. *doubles receives the name of a function that is known in double only (and so is the
 * result), NULL if there was none. */
int reference_forward(const wengert *w, const options *o, int variable, long double *value,
                      long double *derivative,
                      const char **doubles);
/* A row's value in long double; false when it was computed in double. */
bool reference_row(elementwise_id row, const long double x[3], long double a, long double *z);

#endif
