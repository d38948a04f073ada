/* symbolic.h -- formulas as terms of the algebra, and their derivatives. */
#ifndef ADIT_FORMULA_SYMBOLIC_H
#define ADIT_FORMULA_SYMBOLIC_H

#include "adit/formula.h"
#include "formula/algebra.h"
#include "primitives/expression.h"

/* The outputs of a formula as terms, into *out (freed by the caller). The names wrt[0 .. n) are variables
 * even if they are called pi or e. The text of e must outlive the algebra. */
ad_status symbolic_read(algebra *a, const expression *e, int n, const char *const wrt[], part_list *out,
                        ad_formula_report *report);
/* df/dx for a SYMBOL x. */
int symbolic_derivative(algebra *a, int f, int x);

#endif
