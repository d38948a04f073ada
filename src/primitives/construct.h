/* construct.h -- what passes ask about arrays that were made, not computed. */
#ifndef ADIT_PRIMITIVES_CONSTRUCT_H
#define ADIT_PRIMITIVES_CONSTRUCT_H

#include "adit/arrays.h"

/* True when x is known to be all zeros from how it was recorded (ad_zeros, ad_full of 0). False means "cannot tell". */
bool is_zeros(ad_var x);

#endif
