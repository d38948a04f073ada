/* hyperparameter.h -- numbers that are literals or variables, in the formulas of optimisers. */
#ifndef ADIT_LEARN_HYPERPARAMETER_H
#define ADIT_LEARN_HYPERPARAMETER_H

#include "adit/elementwise.h"
#include "tape/tape.h"

static inline bool is_number(ad_var x, double value) { return is_literal(x) && literal_value(x) == value; }

/* Literals as real ones: quotients of integers would truncate. */
static inline ad_var as_real(ad_var x) { return is_literal(x) ? ad_real(literal_value(x)) : x; }

/* x where it meets arrays of dtype: a variable of f64 would make f64 of them, a literal does not. */
static inline ad_var beside(ad_var x, ad_dtype dtype) {
  return is_literal(x) || ad_type_of(x).dtype == dtype ? x : ad_cast(x, dtype);
}

#endif
