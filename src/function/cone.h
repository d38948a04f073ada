/* cone.h -- between nodes of a tape that are to be copied together, at the first of them: does one need
 * another, and what has to be there before.
 *
 * needed: of each node 1 if it is needed, with 2 where it is given; what is given needs nothing. */
#ifndef ADIT_FUNCTION_CONE_H
#define ADIT_FUNCTION_CONE_H

#include "tape/tape.h"

/* Which nodes from first to last need one whose reached[node] is 1: theirs becomes 1. Those before `first` are
 * known. */
void cone_reach(const ad_tape *src, const unsigned char *needed, uint32_t first, uint32_t last,
                unsigned char *reached);
/* Marks, in cone[i - node[0]], all zero, what is behind node[0] and needed by node[0] .. node[n - 1], which
 * rise; they themselves are not marked. */
void cone_mark(const ad_tape *src, const unsigned char *needed, int n, const uint32_t node[],
               unsigned char cone[]);

#endif
