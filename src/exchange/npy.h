/* npy.h -- the format of one array: a header that says its type in the notation of Python, then its
 * elements. */
#ifndef ADIT_EXCHANGE_NPY_H
#define ADIT_EXCHANGE_NPY_H

#include "adit/npy.h"
#include "base/memory.h"
#include "exchange/file.h"

/* Bytes that come one after the other, `left` of them. */
typedef struct byte_source {
  ad_status (*read)(struct byte_source *s, void *to, size_t size);     /* size <= left */
  const file_place *at;
  uint64_t left;
} byte_source;

/* size bytes; AD_ERROR_IO where fewer are left. */
ad_status source_read(byte_source *s, void *to, size_t size);

enum { NPY_HEADER = 384 };
/* The header of version 1.0 for a type; returns its length, a multiple of 64. */
size_t npy_header(ad_type type, char header[NPY_HEADER]);
/* Reads an array, which must be all that is left. *data has npy_bytes(*type) bytes of a, row-major. */
ad_status npy_read(byte_source *s, const ad_allocator *a, ad_type *type, void **data);
size_t npy_bytes(ad_type type);     /* at least 1 */

/* An archive with room for as many arrays; NULL when memory fails. */
ad_archive *archive_new(const ad_allocator *a, size_t room);
/* Adds an array whose data it then owns; the name is copied. False when memory fails, or there is no room. */
bool archive_add(ad_archive *archive, const char *name, ad_type type, void *data);

#endif
