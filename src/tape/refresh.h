/* refresh.h -- see refresh.c. */
#ifndef ADIT_TAPE_REFRESH_H
#define ADIT_TAPE_REFRESH_H

#include "tape/tape.h"

/* Goes up the tape from the changed inputs: what depends on one of them is old, and is computed now or
 * becomes unknown. There must be a change. */
ad_status refresh_dependents(ad_tape *t);

#endif
