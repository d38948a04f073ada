/* parameters.h -- the inside of an ad_parameters. */
#ifndef ADIT_LEARN_PARAMETERS_H
#define ADIT_LEARN_PARAMETERS_H

#include "adit/parameters.h"
#include "base/memory.h"

typedef struct parameters_entry {
  char *name;
  ad_init init;
  void *block;                      /* what was allocated; the data begin at the next multiple of 64 */
} parameters_entry;

/* Three arrays of one length: types and addresses are handed out as they are. */
struct ad_parameters {
  ad_allocator allocator;
  int entries;
  size_t entry_room, type_room, data_room;
  parameters_entry *entry;
  ad_type *type;
  void **data;
  ad_report report;
};

/* Leaves the error, unless there is one already, and returns status. p may be NULL. */
ad_status parameters_fail(ad_parameters *p, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;

#endif
