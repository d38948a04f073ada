/* npz.c -- .npz files: zip archives whose entries "name.npy" are arrays. */
#include "exchange/npz.h"

#include <stdio.h>
#include <string.h>

/* --- writing -------------------------------------------------------------------------------------------- */

static bool good_name(const char *name) {
  const size_t length = name ? strlen(name) : 0;
  return length > 0 && length <= 1000;
}

static ad_status check(const file_place *at, int count, const ad_named_array array[]) {
  for (int i = 0; i < count; i++) {
    const ad_named_array *x = &array[i];
    if (!good_name(x->name))
      return file_fail(at, AD_ERROR_ARGUMENT, "array %d: a name has 1 to 1000 bytes", i);
    if (!ad_type_valid(x->type) || (!x->data && ad_type_bytes(x->type)))
      return file_fail(at, AD_ERROR_ARGUMENT, "array %d: no valid type or no data", i);
    for (int k = 0; k < i; k++)
      if (!strcmp(array[k].name, x->name))
        return file_fail(at, AD_ERROR_ARGUMENT, "arrays %d and %d have one name", k, i);
  }
  return AD_OK;
}

static ad_status write_array(zip_writer *z, const ad_named_array *x, zip_record *r) {
  char header[NPY_HEADER];
  const size_t length = npy_header(x->type, header), bytes = ad_type_bytes(x->type);
  r->name = x->name;
  r->size = length + bytes;
  r->crc = zip_crc(0, header, length);
  if (bytes) r->crc = zip_crc(r->crc, x->data, bytes);
  ad_status status = zip_begin(z, r);
  if (status == AD_OK) status = file_write(z->file, header, length);
  return status == AD_OK ? file_write(z->file, x->data, bytes) : status;
}

static ad_status write_all(zip_writer *z, int count, const ad_named_array array[], zip_record record[]) {
  ad_status status = AD_OK;
  for (int i = 0; i < count && status == AD_OK; i++) status = write_array(z, &array[i], &record[i]);
  return status == AD_OK ? zip_end(z, (size_t)count, record) : status;
}

ad_status npz_save(const char *path, int count, const ad_named_array array[], const ad_allocator *a,
                   uint64_t narrow, ad_report *report) {
  ad_report own;
  report = file_report(report, &own);
  const file_place at = { report, path ? path : "(no path)", NULL };
  if (!path || count < 0 || (count && !array))
    return file_fail(&at, AD_ERROR_ARGUMENT, "no path or no arrays");
  ad_status status = check(&at, count, array);
  if (status != AD_OK) return status;
  const size_t bytes = ((size_t)count + 1)*sizeof(zip_record);
  zip_record *record = memory_get(a, bytes);
  if (!record) return file_fail(&at, AD_ERROR_MEMORY, "no memory to write it");
  file_writer f;
  status = file_create(&f, path, report);
  zip_writer z = { &f, narrow };
  if (status == AD_OK) status = file_finish(&f, write_all(&z, count, array, record));
  memory_release(a, record, bytes);
  return status;
}

ad_status ad_npz_save(const char *path, int count, const ad_named_array array[], ad_report *report) {
  return npz_save(path, count, array, &memory_standard, UINT32_MAX, report);
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* Reads an entry into the archive; what is no array but a folder is passed over. */
static ad_status read_entry(zip_reader *z, zip_entry *e, const ad_allocator *a, ad_archive *archive) {
  const size_t length = strlen(e->name);
  ad_type type;
  void *data;
  if (length && e->name[length - 1] == '/') return AD_OK;
  if (length <= 4 || strcmp(e->name + length - 4, ".npy"))
    return file_fail(&z->file->at, AD_ERROR_UNSUPPORTED, "is no array: its name does not end in .npy");
  e->name[length - 4] = 0;
  if (ad_archive_find(archive, e->name) >= 0)
    return file_fail(&z->file->at, AD_ERROR_IO, "is in the archive twice");
  const ad_status status = zip_read_array(z, e, a, &type, &data);
  if (status != AD_OK || archive_add(archive, e->name, type, data)) return status;
  memory_release(a, data, npy_bytes(type));
  return file_fail(&z->file->at, AD_ERROR_MEMORY, "no memory for it");
}

static ad_status read_entries(zip_reader *z, const ad_allocator *a, ad_archive *archive) {
  ad_status status = AD_OK;
  zip_entry e;
  for (uint64_t i = 0; i < z->entries && status == AD_OK; i++) {
    z->file->at.inside = NULL;
    e.name[0] = 0;
    status = zip_next(z, &e);
    z->file->at.inside = e.name;
    if (status == AD_OK) status = read_entry(z, &e, a, archive);
  }
  z->file->at.inside = NULL;
  if (status == AD_OK && z->at != z->end)
    return file_fail(&z->file->at, AD_ERROR_IO, "is damaged: its directory has more entries than it says");
  return status;
}

static ad_archive *read_archive(file_reader *f, const ad_allocator *a) {
  zip_reader z;
  if (zip_open(&z, f) != AD_OK) return NULL;
  if (z.entries > INT32_MAX) {
    file_fail(&f->at, AD_ERROR_UNSUPPORTED, "has too many entries");
    return NULL;
  }
  ad_archive *archive = archive_new(a, (size_t)z.entries);
  if (!archive) {
    file_fail(&f->at, AD_ERROR_MEMORY, "no memory for it");
    return NULL;
  }
  if (read_entries(&z, a, archive) == AD_OK) return archive;
  ad_archive_free(archive);
  return NULL;
}

ad_archive *ad_npz_load(const char *path, const ad_allocator *allocator, ad_report *report) {
  ad_report own;
  report = file_report(report, &own);
  const file_place at = { report, "(no path)", NULL };
  if (!path) {
    file_fail(&at, AD_ERROR_ARGUMENT, "no path");
    return NULL;
  }
  file_reader f;
  ad_archive *archive = NULL;
  if (file_open(&f, path, report) == AD_OK)
    archive = read_archive(&f, allocator ? allocator : &memory_standard);
  file_close(&f);
  return archive;
}
