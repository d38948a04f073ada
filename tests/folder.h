/* folder.h -- folders for the files of a test, under TMPDIR or /tmp.
 *
 * A folder is gone with all in it at folder_remove, else when the program ends: by return, exit, abort or a
 * signal that asks it to end. A child of a fork leaves its parent's folders alone. With ADIT_TEST_KEEP set,
 * all of them stay. Needs _POSIX_C_SOURCE 200809L or more. */
#ifndef ADIT_TESTS_FOLDER_H
#define ADIT_TESTS_FOLDER_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FOLDER_MOST = 8, FOLDER_PATH = 320 };

static struct { char path[FOLDER_MOST][FOLDER_PATH - 100]; pid_t owner; } folders;

/* Only what a handler of signals may call. */
static inline void folder_delete(const char *path) {
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/rm", "rm", "-rf", path, (char *)NULL);
    _exit(127);
  }
  if (child > 0) waitpid(child, NULL, 0);
}

/* The folder of folder_make, or NULL. */
static inline void folder_remove(const char *folder) {
  for (int i = 0; i < FOLDER_MOST; i++) {
    if (folder != folders.path[i] || !*folder) continue;
    if (!getenv("ADIT_TEST_KEEP")) folder_delete(folder);
    folders.path[i][0] = 0;
  }
}

static inline void folder_remove_all(void) {
  if (getpid() != folders.owner) return;
  for (int i = 0; i < FOLDER_MOST; i++) folder_remove(folders.path[i]);
}

static inline void folder_at_signal(int number) {
  folder_remove_all();
  raise(number);                          /* its handler is the default one again */
}

static inline void folder_begin(void) {
  static const int ends[] = { SIGABRT, SIGHUP, SIGINT, SIGTERM };
  const struct sigaction action = { .sa_handler = folder_at_signal, .sa_flags = (int)SA_RESETHAND };
  folders.owner = getpid();
  atexit(folder_remove_all);
  for (int i = 0; i < 4; i++) sigaction(ends[i], &action, NULL);
}

/* A new folder's path, which is valid until folder_remove; NULL where there can be none. */
static inline const char *folder_make(void) {
  const char *where = getenv("TMPDIR");
  int i = 0;
  if (!folders.owner) folder_begin();
  if (!where || !*where) where = "/tmp";
  while (i < FOLDER_MOST && folders.path[i][0]) i++;
  if (i == FOLDER_MOST || strlen(where) + sizeof "/adit-XXXXXX" > sizeof folders.path[0]) return NULL;
  snprintf(folders.path[i], sizeof folders.path[i], "%s/adit-XXXXXX", where);
  if (mkdtemp(folders.path[i])) return folders.path[i];
  folders.path[i][0] = 0;
  return NULL;
}

/* folder/name in `path`, which is returned. */
static inline char *folder_file(const char *folder, const char *name, char path[FOLDER_PATH]) {
  snprintf(path, FOLDER_PATH, "%s/%s", folder, name);
  return path;
}

/* folder/name, valid until this thread's eighth call from now. */
static inline const char *folder_path(const char *folder, const char *name) {
  static _Thread_local char path[8][FOLDER_PATH];
  static _Thread_local unsigned next;
  return folder_file(folder, name, path[next++%8]);
}

/* The number that a command prints in a folder; -1 where it prints none. */
static inline int folder_number(const char *folder, const char *command) {
  char all[FOLDER_PATH + 200];
  int n = -1;
  snprintf(all, sizeof all, "cd '%s' && %s", folder, command);
  FILE *p = popen(all, "r");
  if (p && fscanf(p, "%d", &n) != 1) n = -1;
  if (p) pclose(p);
  return n;
}

#endif
