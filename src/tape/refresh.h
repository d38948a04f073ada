/* refresh.h -- see refresh.c. */
#ifndef ADIT_TAPE_REFRESH_H
#define ADIT_TAPE_REFRESH_H

#include "tape/tape.h"

/* old[k]: node from + k has changed. Goes up from there: what depends on a changed node is old as well, and
 * is computed now or becomes unknown. */
void refresh_dependents(ad_tape *t, uint32_t from, size_t n, unsigned char old[]);

#endif
