/* scalar_calls.h -- calls of the table's rows in formulas. */
#ifndef ADIT_FORMULA_SCALAR_CALLS_H
#define ADIT_FORMULA_SCALAR_CALLS_H

#include "formula/calls.h"
#include "primitives/elementwise.h"

/* A row as a formula calls it. */
typedef struct scalar_call {
  elementwise_id row;
  bool folds;                         /* max and min take two or more */
} scalar_call;

/* The row of that name (of C's names too: fabs, fmin, fmax), -1 if there is none. *out may be NULL. */
int scalar_call_find(const char *name, int length, scalar_call *out);
/* Records a call of it. Numbers among themselves are computed at once, as reals: 1/2 is one half. */
ad_var scalar_call_record(formula_run *f, int node, const scalar_call *s);

#endif
