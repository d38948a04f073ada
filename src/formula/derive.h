/* derive.h -- ad_formula_derive on the caller's memory. */
#ifndef ADIT_FORMULA_DERIVE_H
#define ADIT_FORMULA_DERIVE_H

#include "adit/formula.h"

/* As ad_formula_derive; report is not NULL, and the arguments were checked. */
ad_status derive_with(const ad_allocator *allocator, const char *formula, ad_notation notation, int n,
                      const char *const wrt[],
                      char *out, size_t size, size_t *needed, int *count, ad_formula_report *report);

#endif
