/* calls.h -- the functions a formula may call: from a call's arguments to the recording call behind it. */
#ifndef ADIT_FORMULA_CALLS_H
#define ADIT_FORMULA_CALLS_H

#include "adit/arrays.h"
#include "adit/formula.h"
#include "primitives/expression.h"

/* What a node of the expression came to: a variable, or for lists and quoted texts the node itself (var is
 * then none). */
typedef struct formula_value {
  ad_var var;
  int list;                           /* the LIST or TEXT node, -1: a variable */
} formula_value;

/* A formula while it is recorded. */
typedef struct formula_run {
  ad_tape *tape;
  const char *text;
  const expression *e;
  formula_value *value;               /* of every node that was reached */
  ad_formula_report *report;
} formula_run;

/* Leaves the first error at the place of node; returns the invalid handle of the tape. */
ad_var formula_refuse(formula_run *f, int node, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 4, 5)))
#endif
  ;
/* The node's value as a variable: a list becomes an array. */
ad_var formula_variable(formula_run *f, int node);
/* Records the call node, whose arguments have their values. */
ad_var formula_call(formula_run *f, int node);
/* True if a formula can call this name. */
bool formula_has_function(const char *name, int length);

#endif
