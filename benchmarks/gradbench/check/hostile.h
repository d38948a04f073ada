/* hostile.h -- lines that no evaluation would send. */
#ifndef GRADBENCH_HOSTILE_H
#define GRADBENCH_HOSTILE_H

#include "reference.h"
#include "tool.h"

typedef struct hostile_counts { long passed, failed; } hostile_counts;

/* Bounds what a tool started later may allocate, so that taking whatever is asked for fails on big
 * machines too. */
void hostile_limit_memory(void);
/* Sends lines that must be refused and odd ones that need not be. Each must get one answer, and the tool
 * answers a proper message afterwards; failures are printed. */
hostile_counts hostile_lines(tool *t);

#endif
