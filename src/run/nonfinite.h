/* nonfinite.h -- the search for the operation that makes a NaN or an infinity: in a function, and further
 * down, in the functions that its calls and loops carry. */
#ifndef ADIT_RUN_NONFINITE_H
#define ADIT_RUN_NONFINITE_H

#include "adit/debug.h"
#include "function/function.h"

/* Searches f on in[], all of its inputs (NULL: zeros). r->found says whether there was one, and then all but
 * the message is filled in; the message is written when a status is returned. */
ad_status nonfinite_examine(ad_nonfinite *r, ad_function *f, const void *const in[]);
/* The same for the function that node i of t, a tape that has values, carries: in the first step or instance
 * that gives something that is not finite. */
ad_status nonfinite_descend(ad_nonfinite *r, ad_tape *t, uint32_t i);

/* The first element that is not finite; -1: there is none. */
int64_t nonfinite_element(const ad_type *type, const void *data);

#endif
