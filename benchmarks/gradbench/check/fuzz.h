/* fuzz.h -- messages that are not as they should be. */
#ifndef GRADBENCH_FUZZ_H
#define GRADBENCH_FUZZ_H

#include "reference.h"

/* A line, without its end, of a message that asks for an evaluation and was spoiled: mostly by one to three
 * parts that do not belong where they are, and sometimes by up to four changes of its bytes. Neither blank
 * nor of several lines; the caller frees it. */
char *fuzz_line(chance *r);

#endif
