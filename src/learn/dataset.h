/* dataset.h -- the inside of an ad_dataset. */
#ifndef ADIT_LEARN_DATASET_H
#define ADIT_LEARN_DATASET_H

#include "adit/data.h"
#include "base/memory.h"

/* Texts that are owned. */
typedef struct text_list {
  char **text;
  int count;
  size_t room;
} text_list;

struct ad_dataset {
  ad_allocator allocator;
  int arrays;
  int64_t examples;
  ad_type *type;                    /* [arrays] */
  void **data, **block;             /* [arrays]; data begin at the next multiple of 64 in their block */
  text_list columns, classes;
};

/* Arrays of zeros; all with the leading axis of the first. On failure NULL, with the report set (not
 * NULL). */
ad_dataset *dataset_make(int arrays, const ad_type type[], const ad_allocator *a, ad_report *report);

/* Sets the report and returns status; report may be NULL. */
ad_status report_fail(ad_report *report, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;

/* Appends a copy of length bytes; false when memory fails. */
bool text_list_add(const ad_allocator *a, text_list *list, const char *text, size_t length);
void text_list_free(const ad_allocator *a, text_list *list);

#endif
