/* dataset.c -- examples in memory: the container, choosing examples, checking labels. */
#include "learn/dataset.h"
#include "adit/losses.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 };

ad_status report_fail(ad_report *report, ad_status status, const char *format, ...) {
  va_list list;
  if (!report) return status;
  va_start(list, format);
  vsnprintf(report->message, sizeof report->message, format, list);
  va_end(list);
  return report->status = status;
}

/* --- texts ---------------------------------------------------------------------------------------------- */

bool text_list_add(const ad_allocator *a, text_list *list, const char *text, size_t length) {
  if (list->count == INT32_MAX) return false;
  if (!memory_reserve(a, &list->text, &list->room, (size_t)list->count + 1, sizeof *list->text)) return false;
  char *copy = memory_get(a, length + 1);
  if (!copy) return false;
  memcpy(copy, text, length);
  copy[length] = 0;
  list->text[list->count++] = copy;
  return true;
}

void text_list_free(const ad_allocator *a, text_list *list) {
  for (int i = 0; i < list->count; i++) memory_release(a, list->text[i], strlen(list->text[i]) + 1);
  memory_release(a, list->text, list->room*sizeof *list->text);
  *list = (text_list){ 0 };
}

static const char *text_at(const text_list *list, int i) {
  return i >= 0 && i < list->count ? list->text[i] : NULL;
}

const char *ad_dataset_column(const ad_dataset *d, int i) { return d ? text_at(&d->columns, i) : NULL; }
int ad_dataset_classes(const ad_dataset *d) { return d ? d->classes.count : 0; }
const char *ad_dataset_class(const ad_dataset *d, int i) { return d ? text_at(&d->classes, i) : NULL; }

/* --- the container -------------------------------------------------------------------------------------- */

void ad_dataset_free(ad_dataset *d) {
  if (!d) return;
  const ad_allocator a = d->allocator;
  const size_t n = (size_t)d->arrays;
  for (int i = 0; d->type && d->block && i < d->arrays; i++)
    memory_release(&a, d->block[i], ad_type_bytes(d->type[i]) + ALIGNMENT);
  memory_release(&a, d->type, n*sizeof *d->type);
  memory_release(&a, d->data, n*sizeof *d->data);
  memory_release(&a, d->block, n*sizeof *d->block);
  text_list_free(&a, &d->columns);
  text_list_free(&a, &d->classes);
  memory_release(&a, d, sizeof *d);
}

static bool add_blocks(ad_dataset *d, const ad_type type[]) {
  for (int i = 0; i < d->arrays; i++) {
    d->type[i] = type[i];
    d->block[i] = memory_get_zeroed(&d->allocator, ad_type_bytes(type[i]) + ALIGNMENT, 1);
    if (!d->block[i]) return false;
    d->data[i] = (char *)d->block[i] + (ALIGNMENT - (uintptr_t)d->block[i]%ALIGNMENT)%ALIGNMENT;
  }
  return true;
}

static ad_status check_types(int arrays, const ad_type type[], ad_report *report) {
  char text[192];
  if (arrays < 1 || !type) return report_fail(report, AD_ERROR_ARGUMENT, "data: no arrays");
  for (int i = 0; i < arrays; i++) {
    if (!ad_type_valid(type[i])) return report_fail(report, AD_ERROR_SIZE, "data: array %d has no type", i);
    if (type[i].rank == 0)
      return report_fail(report, AD_ERROR_SHAPE, "data: array %d is a scalar, with no axis of examples", i);
    if (type[i].dim[0] != type[0].dim[0])
      return report_fail(report, AD_ERROR_SHAPE, "data: array %d is %s, but array 0 has %lld examples", i,
                         ad_type_print(type[i], text, sizeof text), (long long)type[0].dim[0]);
  }
  return AD_OK;
}

ad_dataset *dataset_make(int arrays, const ad_type type[], const ad_allocator *a, ad_report *report) {
  if (check_types(arrays, type, report) != AD_OK) return NULL;
  if (!a) a = &memory_standard;
  ad_dataset *d = memory_get_zeroed(a, 1, sizeof *d);
  const size_t n = (size_t)arrays;
  if (d) {
    d->allocator = *a;
    d->arrays = arrays;
    d->examples = type[0].dim[0];
    d->type = memory_get_zeroed(a, n, sizeof *d->type);
    d->data = memory_get_zeroed(a, n, sizeof *d->data);
    d->block = memory_get_zeroed(a, n, sizeof *d->block);
    if (d->type && d->data && d->block && add_blocks(d, type)) return d;
  }
  ad_dataset_free(d);
  report_fail(report, AD_ERROR_MEMORY, "data: out of memory");
  return NULL;
}

ad_dataset *ad_dataset_new(int arrays, const ad_type type[], const void *const data[],
                           const ad_allocator *allocator, ad_report *report) {
  if (!data) {
    report_fail(report, AD_ERROR_ARGUMENT, "data: no arrays");
    return NULL;
  }
  ad_dataset *d = dataset_make(arrays, type, allocator, report);
  for (int i = 0; d && i < arrays; i++)
    if (ad_type_bytes(type[i])) memcpy(d->data[i], data[i], ad_type_bytes(type[i]));
  return d;
}

/* --- looking -------------------------------------------------------------------------------------------- */

int ad_dataset_arrays(const ad_dataset *d) { return d ? d->arrays : 0; }
int64_t ad_dataset_examples(const ad_dataset *d) { return d ? d->examples : 0; }

ad_type ad_dataset_type(const ad_dataset *d, int i) {
  return d && i >= 0 && i < d->arrays ? d->type[i] : (ad_type){ .rank = -1 };
}

void *ad_dataset_data(const ad_dataset *d, int i) { return d && i >= 0 && i < d->arrays ? d->data[i] : NULL; }

ad_type ad_dataset_batch_type(const ad_dataset *d, int i, int64_t count) {
  ad_type type = ad_dataset_type(d, i);
  if (type.rank < 0 || count < 0) return (ad_type){ .rank = -1 };
  type.dim[0] = count;
  return ad_type_make(type.dtype, type.rank, type.dim);
}

static size_t example_bytes(const ad_dataset *d, int i) {
  return d->examples ? ad_type_bytes(d->type[i])/(size_t)d->examples : 0;
}

ad_status ad_dataset_gather(const ad_dataset *d, int64_t count, const int64_t index[], void *const out[]) {
  if (!d || count < 0 || (count && (!index || !out))) return AD_ERROR_ARGUMENT;
  for (int64_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= d->examples) return AD_ERROR_ARGUMENT;
  for (int i = 0; i < d->arrays; i++) {
    const size_t bytes = example_bytes(d, i);
    for (int64_t k = 0; k < count && bytes; k++)
      memcpy((char *)out[i] + (size_t)k*bytes, (const char *)d->data[i] + (size_t)index[k]*bytes, bytes);
  }
  return AD_OK;
}

static bool copy_texts(const ad_allocator *a, text_list *to, const text_list *from) {
  for (int i = 0; i < from->count; i++)
    if (!text_list_add(a, to, from->text[i], strlen(from->text[i]))) return false;
  return true;
}

/* An empty dataset with the arrays, names and memory of d. */
static ad_dataset *make_like(const ad_dataset *d, int64_t count, ad_report *report) {
  const size_t bytes = (size_t)d->arrays*sizeof(ad_type);
  ad_type *type = memory_get(&d->allocator, bytes);
  for (int i = 0; type && i < d->arrays; i++) type[i] = ad_dataset_batch_type(d, i, count);
  ad_dataset *part = type ? dataset_make(d->arrays, type, &d->allocator, report) : NULL;
  if (!type || (part && !(copy_texts(&d->allocator, &part->columns, &d->columns)
                          && copy_texts(&d->allocator, &part->classes, &d->classes)))) {
    report_fail(report, AD_ERROR_MEMORY, "data: out of memory");
    ad_dataset_free(part);
    part = NULL;
  }
  memory_release(&d->allocator, type, bytes);
  return part;
}

ad_dataset *ad_dataset_take(const ad_dataset *d, int64_t count, const int64_t index[], ad_report *report) {
  const int64_t n = ad_dataset_examples(d);
  if (!d || count < 0 || (!index && count > n)) {
    report_fail(report, AD_ERROR_ARGUMENT, "data: %lld examples of %lld", (long long)count, (long long)n);
    return NULL;
  }
  for (int64_t k = 0; index && k < count; k++)
    if (index[k] < 0 || index[k] >= n) {
      report_fail(report, AD_ERROR_ARGUMENT, "data: index %lld of example %lld is not in [0, %lld)",
                  (long long)index[k], (long long)k, (long long)n);
      return NULL;
    }
  ad_dataset *part = make_like(d, count, report);
  if (part && index) ad_dataset_gather(d, count, index, part->data);
  for (int i = 0; part && !index && i < d->arrays; i++)
    memcpy(part->data[i], d->data[i], (size_t)count*example_bytes(d, i));
  return part;
}

/* --- labels --------------------------------------------------------------------------------------------- */

ad_status ad_dataset_check_labels(const ad_dataset *d, int i, int64_t classes, ad_report *report) {
  const ad_type type = ad_dataset_type(d, i);
  ad_report found;
  if (type.rank < 0) return report_fail(report, AD_ERROR_ARGUMENT, "labels: there is no array %d", i);
  const ad_status status = ad_check_classes(type, d->data[i], classes, &found);
  if (status == AD_OK) return AD_OK;
  return report_fail(report, status, "labels in array %d: %.200s", i, found.message);
}
