/* record.h -- what the recording of distributions shares. */
#ifndef ADIT_RANDOM_RECORD_H
#define ADIT_RANDOM_RECORD_H

#include "adit/random.h"
#include "random/philox.h"

/* Records standard samples (uniform on [0, 1), mean 0 and scale 1, ..). name: whose error it is. */
ad_var random_standard(ad_tape *tape, const char *name, random_purpose purpose, ad_var key, ad_type type);
/* A parameter in the dtype of type, checked to broadcast to its shape; numbers stay numbers. Invalid with an
 * error on the tape where it does not fit. Records. */
ad_var random_parameter(ad_tape *tape, const char *name, const char *what, ad_var x, ad_type type);
/* False, with the error on the tape, where type is not one of floats. */
bool random_is_float(ad_tape *tape, const char *name, ad_type type);
/* True for a literal of this value. */
bool random_is_number(ad_var x, double value);
/* An invalid handle of this tape; its error is there already. */
ad_var random_failed(ad_tape *tape);

#endif
