/* files.h -- a folder for the whole program, and files as bytes. */
#ifndef ADIT_TESTS_FILES_H
#define ADIT_TESTS_FILES_H

#include "folder.h"

static const char *folder;

static inline void files_begin(void) {
  folder = folder_make();
  if (!folder) exit(2);
}

static inline const char *path_of(const char *name) { return folder_path(folder, name); }

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
