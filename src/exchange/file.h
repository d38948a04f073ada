/* file.h -- files read piece by piece, and files written so that a crash leaves the old one or the new
 * one. */
#ifndef ADIT_EXCHANGE_FILE_H
#define ADIT_EXCHANGE_FILE_H

#include "adit/function.h"

/* Where errors are told, and the file and the array in it that they are about ("" or NULL: none). */
typedef struct file_place {
  ad_report *report;
  const char *path, *inside;
} file_place;

/* Writes status and "path: inside: text" to the report, unless it has an error, and returns status. */
ad_status file_fail(const file_place *at, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;

/* The report to write to, without an error: the caller's, or own where that is NULL. */
static inline ad_report *file_report(ad_report *given, ad_report *own) {
  ad_report *report = given ? given : own;
  report->status = AD_OK;
  report->message[0] = 0;
  return report;
}

/* --- reading ------------------------------------------------------------------------------------------ */

typedef struct file_reader {
  file_place at;
  int descriptor;
  uint64_t size;
} file_reader;

/* Only regular files: others have no size. */
ad_status file_open(file_reader *f, const char *path, ad_report *report);
void file_close(file_reader *f);
/* Exactly size bytes from offset; AD_ERROR_IO where the file ends before. */
ad_status file_read(file_reader *f, uint64_t offset, void *to, size_t size);

/* --- writing ------------------------------------------------------------------------------------------ */

enum { FILE_PATH = 4096 };

/* The bytes go to "path.part", which is locked meanwhile and is left over by a crash: the next writer of the
 * same path takes it over. */
typedef struct file_writer {
  char path[FILE_PATH], part[FILE_PATH + 8];      /* links resolved */
  file_place at;
  int descriptor;
  uint64_t written;
} file_writer;

/* AD_ERROR_IO where it cannot be made, where path is something else than a regular file, and where another
 * writer is at it. */
ad_status file_create(file_writer *f, const char *path, ad_report *report);
ad_status file_write(file_writer *f, const void *data, size_t size);
/* If status is AD_OK: synchronises, and gives the file its name. Otherwise, or if that fails, removes it.
 * Returns the status. */
ad_status file_finish(file_writer *f, ad_status status);
/* Synchronises the folder of path: a new name is on the disk when its folder is. Folders that cannot be
 * synchronised are left to the system. */
void file_sync_name(const char *path);

#endif
