/* files.h -- a folder that is gone at the end, and files as bytes. */
#ifndef ADIT_TESTS_FILES_H
#define ADIT_TESTS_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256];

static inline void folder_make(void) {
  const char *where = getenv("TMPDIR");
  if (!where) where = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";  /* in memory, where that is possible */
  snprintf(folder, sizeof folder, "%.200s/adit-XXXXXX", where);
  if (!mkdtemp(folder)) exit(2);
}

static inline void folder_remove(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command)) exit(2);
}

/* folder/name, valid until the eighth call from now. */
static inline const char *path_of(const char *name) {
  static char path[8][300];
  static int next;
  next = (next + 1)%8;
  snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
  return path[next];
}

static inline void put_file(const char *path, const void *bytes, size_t size) {
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) exit(2);
}

/* The whole file, to be freed. */
static inline unsigned char *get_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) exit(2);
  *size = (size_t)ftell(f);
  unsigned char *bytes = malloc(*size + 1);
  rewind(f);
  if (!bytes || fread(bytes, 1, *size, f) != *size) exit(2);
  fclose(f);
  return bytes;
}

#endif
