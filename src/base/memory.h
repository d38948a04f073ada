/* memory.h -- every allocation of the library goes through here, to the caller's hook or the standard one. */
#ifndef ADIT_BASE_MEMORY_H
#define ADIT_BASE_MEMORY_H

#include "adit/tape.h"

/* realloc and free behind the hook's interface; big blocks ask for huge pages. Constant. */
extern const ad_allocator memory_standard;

/* The hook of a tape, the standard one for NULL. Defined by the tape. */
const ad_allocator *memory_of_tape(const ad_tape *tape);

/* NULL on failure, and for size 0. */
void *memory_get(const ad_allocator *a, size_t size);
/* The same, zeroed; count*size is checked. */
void *memory_get_zeroed(const ad_allocator *a, size_t count, size_t size);
/* NULL on failure: the old block is then as it was. new_size > 0. */
void *memory_resize(const ad_allocator *a, void *pointer, size_t old_size, size_t new_size);
void memory_release(const ad_allocator *a, void *pointer, size_t size);

/* Makes room for need elements in the array *items of *capacity elements of size bytes, growing by half.
 * False on failure, which leaves both as they were. */
bool memory_reserve(const ad_allocator *a, void *items, size_t *capacity, size_t need, size_t size);

#endif
