/* parallel.h -- work that is shared among threads where there is enough of it, always cut in the same way: no
 * result depends on the number of threads. */
#ifndef ADIT_BASE_PARALLEL_H
#define ADIT_BASE_PARALLEL_H

#include "adit/types.h"

/* Work is shared among threads from this many elements on; what cannot be cut anywhere, in so many parts. */
enum { PARALLEL_ELEMENTS = 100000, PARALLEL_PARTS = 16 };

/* An axis of dim elements in `parts` equal pieces: where one begins. */
static inline int64_t part_begin(int64_t dim, int part, int parts) {
  return dim/parts*part + dim%parts*part/parts;
}

/* Before a loop over parts. */
#ifdef _OPENMP
#  define PARALLEL_FOR _Pragma("omp parallel for schedule(dynamic)")
#else
#  define PARALLEL_FOR
#endif

/* Threads that a loop over parts would run on. */
int parallel_threads(void);

typedef void parallel_task(const void *context, int64_t i);

/* task(context, i) for all 0 <= i < tasks, in any order. Threads take `at_once` tasks at a time; less work
 * than PARALLEL_ELEMENTS elements is done here, and never enters the runtime of the threads. */
void parallel_tasks(int64_t elements, int64_t tasks, int at_once, parallel_task *task, const void *context);

#endif
