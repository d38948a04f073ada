/* protocol.h -- GradBench's protocol: a line of JSON in, a line of JSON out. */
#ifndef GRADBENCH_PROTOCOL_H
#define GRADBENCH_PROTOCOL_H

#include "job.h"

#include <stdio.h>

/* Writes the answer to one line, whatever that holds: one line too. False when it cannot be written. The line
 * is freed as soon as it is read. */
bool protocol_answer(const settings *how, char *line, size_t length, FILE *to);

#endif
