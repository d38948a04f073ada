/* parallel.c -- tasks on several threads, or here. */
#include "base/parallel.h"
#ifdef _OPENMP
#  include <omp.h>
#endif

int parallel_threads(void) {
#ifdef _OPENMP
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

void parallel_tasks(int64_t elements, int64_t tasks, int at_once, parallel_task *task, const void *context) {
  if (elements < PARALLEL_ELEMENTS || tasks < 2) {
    for (int64_t i = 0; i < tasks; i++) task(context, i);
    return;
  }
  (void)at_once;
#ifdef _OPENMP
  #pragma omp parallel for schedule(dynamic, at_once)
#endif
  for (int64_t i = 0; i < tasks; i++) task(context, i);
}
