/* failing.h -- work with an allocator that fails at its first call, its second, .., until there are no more:
 * each time every block comes back, and the work succeeds where nothing has failed.
 *
 *     static bool work(const ad_allocator *a, void *context) { .. }
 *     CHECK(failing_calls(work, &context, false) > 100);
 */
#ifndef ADIT_TESTS_FAILING_H
#define ADIT_TESTS_FAILING_H

#include "check.h"
#include "heap.h"

enum { FAILING_MOST = 1000000 };

/* Takes all memory from a, and gives it back; false: it has failed. What else an error has to look like, it
 * checks itself. */
typedef bool failing_work(const ad_allocator *a, void *context);

/* keep: every call after the one that fails, too. How many calls there are without a failure. */
static inline long failing_calls(failing_work *work, void *context, bool keep) {
  for (long k = 1; k < FAILING_MOST; k++) {
    heap h = { .fail_at = k, .keep_failing = keep };
    const ad_allocator a = heap_allocator(&h);
    const bool good = work(&a, context), served = heap_has_served(&h);
    CHECK_THAT(good || !served, "it fails without a failure, at allocation %ld", k);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", k, heap_text(&h));
    if (served) return h.calls;
  }
  CHECK_THAT(false, "%d allocations are not enough", FAILING_MOST);
  return 0;
}

#endif
