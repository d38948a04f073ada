/* parameters_file.c -- parameters in .npz files. */
#include "exchange/npz.h"
#include "learn/parameters.h"

#include <string.h>

/* What went wrong with a file, on p. */
static ad_status fail_as(ad_parameters *p, const ad_report *report) {
  return parameters_fail(p, report->status, "%s", report->message);
}

ad_status ad_parameters_save(ad_parameters *p, const char *path) {
  if (!p) return AD_ERROR_ARGUMENT;
  const size_t bytes = ((size_t)p->entries + 1)*sizeof(ad_named_array);
  ad_named_array *array = memory_get(&p->allocator, bytes);
  if (!array) return parameters_fail(p, AD_ERROR_MEMORY, "out of memory");
  for (int i = 0; i < p->entries; i++)
    array[i] = (ad_named_array){ p->entry[i].name, p->type[i], p->data[i] };
  ad_report report;
  const ad_status status = npz_save(path, p->entries, array, &p->allocator, UINT32_MAX, &report);
  memory_release(&p->allocator, array, bytes);
  return status == AD_OK ? AD_OK : fail_as(p, &report);
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* All entries are in the archive, with their types, and nothing else is. */
static ad_status compare(ad_parameters *p, const ad_archive *from, const file_place *at) {
  char is[192], want[192];
  for (int i = 0; i < p->entries; i++) {
    const int k = ad_archive_find(from, p->entry[i].name);
    if (k < 0) return file_fail(at, AD_ERROR_ARGUMENT, "has no \"%s\"", p->entry[i].name);
    const ad_type type = from->array[k].type;
    if (!ad_type_equal(type, p->type[i]))
      return file_fail(at, type.dtype == p->type[i].dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                       "\"%.60s\" is %s, not %s",
                       p->entry[i].name, ad_type_print(type, is, sizeof is),
                       ad_type_print(p->type[i], want, sizeof want));
  }
  for (int k = 0; k < from->count; k++)
    if (ad_parameters_find(p, from->array[k].name) < 0)
      return file_fail(at, AD_ERROR_ARGUMENT, "has \"%s\", which is not among the parameters",
                       from->array[k].name);
  return AD_OK;
}

ad_status ad_parameters_load(ad_parameters *p, const char *path) {
  ad_report report;
  if (!p) return AD_ERROR_ARGUMENT;
  ad_archive *from = ad_npz_load(path, &p->allocator, &report);
  if (!from) return fail_as(p, &report);
  const file_place at = { &report, path, NULL };
  if (compare(p, from, &at) == AD_OK)
    for (int i = 0; i < p->entries; i++) {
      const int k = ad_archive_find(from, p->entry[i].name);
      memcpy(p->data[i], from->array[k].data, ad_type_bytes(p->type[i]));
    }
  ad_archive_free(from);
  return report.status == AD_OK ? AD_OK : fail_as(p, &report);
}

static ad_status add_all(ad_parameters *p, const ad_archive *from) {
  for (int k = 0; k < from->count; k++) {
    const ad_named_array *x = &from->array[k];
    const int i = ad_parameters_add(p, x->name, x->type, ad_init_zeros());
    if (i < 0) return p->report.status;
    memcpy(p->data[i], x->data, ad_type_bytes(x->type));
  }
  return AD_OK;
}

ad_parameters *ad_parameters_read(const char *path, const ad_allocator *allocator, ad_report *report) {
  ad_report own;
  report = file_report(report, &own);
  ad_archive *from = ad_npz_load(path, allocator, report);
  if (!from) return NULL;
  ad_parameters *p = ad_parameters_new_with(allocator);
  const ad_status status = p ? add_all(p, from) : AD_ERROR_MEMORY;
  const file_place at = { report, path, NULL };
  if (status != AD_OK) file_fail(&at, status, "%s", ad_parameters_message(p));
  ad_archive_free(from);
  if (status == AD_OK) return p;
  ad_parameters_free(p);
  return NULL;
}
