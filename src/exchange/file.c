/* file.c -- reading by position; writing aside, synchronising, renaming. */
#define _DEFAULT_SOURCE
#define _FILE_OFFSET_BITS 64
#include "exchange/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What one read or write is asked for at most: Linux moves no more than 2 GB at once. */
enum { PIECE = 1 << 30 };

/* The end of a text that is too long for a message. */
static const char *end_of(const char *text, size_t most) {
  const size_t length = strlen(text);
  return length > most ? text + length - most : text;
}

ad_status file_fail(const file_place *at, ad_status status, const char *format, ...) {
  const char *inside = at->inside ? at->inside : "";
  char text[sizeof at->report->message];
  va_list list;
  if (at->report->status != AD_OK) return status;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  snprintf(at->report->message, sizeof at->report->message, "%s: %s%s%.110s", end_of(at->path, 80),
           end_of(inside, 50), *inside ? ": " : "", text);
  return at->report->status = status;
}

/* What the system says, in its own words. */
static ad_status fail_system(const file_place *at, const char *what, int error) {
  char said[80] = "";
  if (strerror_r(error, said, sizeof said)) snprintf(said, sizeof said, "error %d", error);
  return file_fail(at, AD_ERROR_IO, "%s: %s", what, said);
}

/* --- reading ------------------------------------------------------------------------------------------ */

ad_status file_open(file_reader *f, const char *path, ad_report *report) {
  struct stat is;
  *f = (file_reader){ .at = { report, path, NULL }, .descriptor = -1 };
  do f->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  while (f->descriptor < 0 && errno == EINTR);
  if (f->descriptor < 0) return fail_system(&f->at, "cannot be opened", errno);
  if (fstat(f->descriptor, &is)) return fail_system(&f->at, "cannot be read", errno);
  if (!S_ISREG(is.st_mode)) return file_fail(&f->at, AD_ERROR_IO, "is no regular file");
  f->size = (uint64_t)is.st_size;
  return AD_OK;
}

void file_close(file_reader *f) {
  if (f->descriptor >= 0) close(f->descriptor);
  f->descriptor = -1;
}

ad_status file_read(file_reader *f, uint64_t offset, void *to, size_t size) {
  char *at = to;
  if (offset > f->size || size > f->size - offset)
    return file_fail(&f->at, AD_ERROR_IO, "is cut off: it ends at byte %llu", (unsigned long long)f->size);
  while (size) {
    const ssize_t got = pread(f->descriptor, at, size < PIECE ? size : PIECE, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_system(&f->at, "cannot be read", errno);
    if (got == 0) return file_fail(&f->at, AD_ERROR_IO, "became shorter while it was read");
    at += got, offset += (uint64_t)got, size -= (size_t)got;
  }
  return AD_OK;
}

/* --- writing ------------------------------------------------------------------------------------------ */

/* The path that is to be replaced: where a link leads to, or path itself if there is nothing yet. */
static ad_status resolve(file_writer *f, const char *path, struct stat *old, bool *exists) {
  *exists = stat(path, old) == 0;
  if (*exists && !S_ISREG(old->st_mode)) return file_fail(&f->at, AD_ERROR_IO, "is no regular file");
  if (*exists && !realpath(path, f->path)) return fail_system(&f->at, "cannot be found", errno);
  if (!*exists && snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path)
    return fail_system(&f->at, "cannot be written", ENAMETOOLONG);
  snprintf(f->part, sizeof f->part, "%s.part", f->path);
  return AD_OK;
}

/* Opens the part and locks it. Whoever held the lock before may have renamed or removed the file that was
 * opened: it must still be the one of that name. */
static ad_status open_part(file_writer *f) {
  for (int attempt = 0; attempt < 100; attempt++) {
    struct stat mine, named;
    f->descriptor = open(f->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (f->descriptor < 0 && errno == EINTR) continue;
    if (f->descriptor < 0) return fail_system(&f->at, "cannot be written", errno);
    if (flock(f->descriptor, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
      return file_fail(&f->at, AD_ERROR_IO, "somebody else is writing it");
    if (!fstat(f->descriptor, &mine) && !stat(f->part, &named) && mine.st_ino == named.st_ino
        && mine.st_dev == named.st_dev) return AD_OK;
    close(f->descriptor);
    f->descriptor = -1;
  }
  return file_fail(&f->at, AD_ERROR_IO, "somebody else is writing it");
}

static void close_part(file_writer *f) {
  if (f->descriptor >= 0) close(f->descriptor);
  f->descriptor = -1;
}

ad_status file_create(file_writer *f, const char *path, ad_report *report) {
  struct stat old;
  bool exists;
  f->at = (file_place){ report, path, NULL };
  f->descriptor = -1;
  f->written = 0;
  ad_status status = resolve(f, path, &old, &exists);
  if (status == AD_OK) status = open_part(f);
  if (status == AD_OK && ftruncate(f->descriptor, 0))
    status = fail_system(&f->at, "cannot be written", errno);
  if (status == AD_OK && exists) (void)!fchmod(f->descriptor, old.st_mode & 07777);
  if (status != AD_OK) close_part(f);
  return status;
}

ad_status file_write(file_writer *f, const void *data, size_t size) {
  const char *from = data;
  while (size) {
    const ssize_t put = write(f->descriptor, from, size < PIECE ? size : PIECE);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_system(&f->at, "cannot be written", errno);
    from += put, size -= (size_t)put, f->written += (uint64_t)put;
  }
  return AD_OK;
}

void file_sync_name(const char *path) {
  char folder[FILE_PATH];
  const char *slash = strrchr(path, '/');
  const int length = slash ? (int)(slash - path) : 1;
  snprintf(folder, sizeof folder, "%.*s", length ? length : 1, slash ? path : ".");
  const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  (void)!fsync(descriptor);
  close(descriptor);
}

ad_status file_finish(file_writer *f, ad_status status) {
  if (f->descriptor < 0) return status;
  if (status == AD_OK && fsync(f->descriptor))
    status = fail_system(&f->at, "cannot be written", errno);
  if (status == AD_OK && rename(f->part, f->path))
    status = fail_system(&f->at, "cannot be replaced", errno);
  if (status != AD_OK) unlink(f->part);
  close_part(f);
  if (status == AD_OK) file_sync_name(f->path);
  return status;
}
