/* folder.h -- a folder for the files of a test, removed with all in it at the end. Needs _DEFAULT_SOURCE. */
#ifndef ADIT_TESTS_FOLDER_H
#define ADIT_TESTS_FOLDER_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct folder { char path[32]; } folder;

static inline bool folder_make(folder *f) {
  strcpy(f->path, "/tmp/adit-learn-XXXXXX");
  return mkdtemp(f->path) != NULL;
}

static inline char *folder_file(const folder *f, const char *name, char path[128]) {
  snprintf(path, 128, "%s/%.80s", f->path, name);
  return path;
}

static inline void folder_remove(const folder *f) {
  DIR *files = opendir(f->path);
  char path[128];
  for (struct dirent *e = files ? readdir(files) : NULL; e; e = readdir(files))
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) remove(folder_file(f, e->d_name, path));
  if (files) closedir(files);
  rmdir(f->path);
}

#endif
