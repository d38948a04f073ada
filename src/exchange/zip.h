/* zip.h -- zip archives: entries read one after the other, stored or deflated, and written stored.
 *
 * Source: PKWARE, APPNOTE 6.3. An entry is a local header and its bytes; the central directory at the end of
 * the file says where entries are and how long; the end record says where the directory is. Sizes beyond 32
 * bits are in extra fields and records called zip64.
 */
#ifndef ADIT_EXCHANGE_ZIP_H
#define ADIT_EXCHANGE_ZIP_H

#include "exchange/npy.h"

enum { ZIP_NAME = 1016 };

/* The CRC-32 of what crc (0: nothing) stands for, followed by size bytes of data. */
uint32_t zip_crc(uint32_t crc, const void *data, size_t size);

/* --- reading ------------------------------------------------------------------------------------------ */

typedef struct zip_reader {
  file_reader *file;
  uint64_t entries, begin, end;     /* the central directory: how many, where it is */
  uint64_t at;                      /* the next one of them */
} zip_reader;

typedef struct zip_entry {
  char name[ZIP_NAME];
  uint64_t compressed, size, header;
  uint32_t crc;
  bool deflated;
} zip_entry;

/* Finds the central directory. */
ad_status zip_open(zip_reader *z, file_reader *file);
/* The next entry, entries of them. */
ad_status zip_next(zip_reader *z, zip_entry *e);
/* Reads the array that the entry is, and compares its checksum. The caller has cut .npy off its name. */
ad_status zip_read_array(zip_reader *z, const zip_entry *e, const ad_allocator *a, ad_type *type,
                         void **data);

/* --- writing ------------------------------------------------------------------------------------------ */

typedef struct zip_record {
  uint64_t size, header;
  uint32_t crc;
  const char *name;                 /* the caller's; ".npy" is added */
} zip_record;

typedef struct zip_writer {
  file_writer *file;
  uint64_t narrow;                  /* sizes and places from here on are zip64: UINT32_MAX */
} zip_writer;

/* The header of an entry, r->size bytes of which the caller writes next; sets r->header. */
ad_status zip_begin(zip_writer *z, zip_record *r);
/* The directory and the end record. */
ad_status zip_end(zip_writer *z, size_t count, const zip_record record[]);

#endif
