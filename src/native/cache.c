/* cache.c -- compiled objects on disk. An object is written beside its place and renamed, so that it is whole
 * or not there, whoever else compiles the same; the text it came from lies next to it and is compared, so
 * that equal hashes of different texts do no harm. */
#define _XOPEN_SOURCE 700
#include "native/native.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

ad_status native_fail(const native_request *r, ad_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  if (r->size) vsnprintf(r->message, r->size, format, list);
  va_end(list);
  return status;
}

/* --- the compiler --------------------------------------------------------------------------------------- */

static bool is_program(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISREG(s.st_mode) && access(path, X_OK) == 0;
}

/* As the shell looks for it. */
static bool find_program(const char *name, char path[NATIVE_PATH]) {
  const char *at = getenv("PATH");
  if (strchr(name, '/')) return snprintf(path, NATIVE_PATH, "%s", name) < NATIVE_PATH && is_program(path);
  while (at && *at) {
    const int n = (int)strcspn(at, ":");
    if (n && snprintf(path, NATIVE_PATH, "%.*s/%s", n, at, name) < NATIVE_PATH && is_program(path))
      return true;
    at += n + (at[n] != 0);
  }
  return false;
}

/* --- the folder ----------------------------------------------------------------------------------------- */

static bool choose_folder(native_request *r, const char *given) {
  const char *from[3] = { getenv("ADIT_CACHE"), getenv("XDG_CACHE_HOME"), getenv("HOME") };
  static const char *const format[3] = { "%s", "%s/adit", "%s/.cache/adit" };
  if (given) return snprintf(r->folder, NATIVE_PATH, "%s", given) < NATIVE_PATH;
  for (int i = 0; i < 3; i++)
    if (from[i] && from[i][0] == '/')
      return snprintf(r->folder, NATIVE_PATH, i == 0 ? format[0] : i == 1 ? format[1] : format[2],
                      from[i]) < NATIVE_PATH;
  return false;
}

/* The folder and those it is in. */
static void make_folders(const char *folder) {
  char part[NATIVE_PATH];
  for (const char *at = folder + 1; (at = strchr(at, '/')) != NULL; at++) {
    memcpy(part, folder, (size_t)(at - folder));
    part[at - folder] = 0;
    mkdir(part, 0700);
  }
  mkdir(folder, 0700);
}

/* Code is run from there: nobody else may put it there. */
static ad_status check_folder(const native_request *r) {
  struct stat s;
  if (lstat(r->folder, &s))
    return native_fail(r, AD_ERROR_IO, "the cache %.150s: %s", r->folder, strerror(errno));
  if (!S_ISDIR(s.st_mode)) return native_fail(r, AD_ERROR_IO, "the cache %.150s is no folder", r->folder);
  if (s.st_uid != geteuid())
    return native_fail(r, AD_ERROR_IO, "the cache %.150s belongs to another user", r->folder);
  if (s.st_mode & (S_IWGRP | S_IWOTH))
    return native_fail(r, AD_ERROR_IO, "the cache %.150s can be written by other users", r->folder);
  return AD_OK;
}

ad_status native_find(native_request *r, const ad_native *options) {
  static char nothing[1];
  const char *name = options->compiler ? options->compiler : "cc";
  r->options = options->options ? options->options : nothing;
  char *path = memory_get(&r->allocator, NATIVE_PATH);
  if (!path) return AD_ERROR_MEMORY;
  r->compiler = path;
  if (!find_program(name, path))
    return native_fail(r, AD_ERROR_UNSUPPORTED, "there is no compiler %.100s", name);
  if (!choose_folder(r, options->cache))
    return native_fail(r, AD_ERROR_IO, "no folder is given for compiled code");
  make_folders(r->folder);
  return check_folder(r);
}

/* --- options of the compiler ---------------------------------------------------------------------------- */

/* Vectors are as wide as the processor has them, which compilers older than a processor do not choose by
 * themselves. Contraction is off, as in the interpreter; no errno and no traps, so that loops around
 * functions of <math.h> become vector code. */
static const char *const fixed[] = { "-std=gnu11", "-march=native", "-fPIC", "-shared", "-w",
                                     "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
                                     "-fopenmp-simd",
#ifdef __x86_64__
                                     "-mprefer-vector-width=512",
#endif
                                     NULL };

/* gcc would make one call of sin and cos of the same argument, which has no vector form. */
static const char *const loops[] = { "-fno-builtin-sin", "-fno-builtin-cos", "-fno-builtin-sinf",
                                     "-fno-builtin-cosf", NULL };

/* Loads and stores under a mask look like branches before they are such: passes that copy the code between
 * two of them, for each way through, would double calls. And where vectors of statements read an array
 * backwards behind such a loop, in a function put in line, gcc 12 takes what was there before the loop: there
 * are none. */
static const char *const masks[] = { "-fno-thread-jumps", "-fno-tree-pre", "-fno-tree-slp-vectorize", NULL };

/* --- keys ----------------------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t h, const char *s) { return text_hash(h, s, strlen(s) + 1); }

static uint64_t hash_options(uint64_t h, const char *const option[]) {
  for (int k = 0; option[k]; k++) h = hash_text(h, option[k]);
  return h;
}

/* Compiler, options and processor: /proc/cpuinfo's flags say what -march=native means. */
static uint64_t hash_surroundings(const native_request *r, int how) {
  struct stat s = { 0 };
  char line[4096];
  uint64_t h = hash_text(hash_text(TEXT_HASH, r->compiler), r->options);
  h = hash_options(hash_options(hash_options(h, fixed), loops), masks);
  if (stat(r->compiler, &s) == 0) {
    h = text_hash(h, &s.st_size, sizeof s.st_size);
    h = text_hash(h, &s.st_mtime, sizeof s.st_mtime);
  }
  FILE *f = fopen("/proc/cpuinfo", "r");
  for (int found = 0; f && found < 2 && fgets(line, sizeof line, f);)
    if (!strncmp(line, "flags", 5) || !strncmp(line, "model name", 10)) h = hash_text(h, line), found++;
  if (f) fclose(f);
  return text_hash(h, &how, sizeof how);
}

static uint64_t hash_source(const native_source *s) {
  uint64_t h = TEXT_HASH;
  for (int k = 0; k < NATIVE_PIECES; k++) h = text_hash(h, text_of(s->piece[k]), s->piece[k]->length);
  return h;
}

/* Does the file go on with that piece? */
static bool goes_on(FILE *f, const text *piece) {
  char block[4096];
  for (size_t at = 0, n; at < piece->length; at += n) {
    n = piece->length - at < sizeof block ? piece->length - at : sizeof block;
    if (fread(block, 1, n, f) != n || memcmp(block, text_of(piece) + at, n)) return false;
  }
  return true;
}

static bool same_file(const char *path, const native_source *source) {
  FILE *f = fopen(path, "rb");
  bool same = f != NULL;
  for (int k = 0; same && k < NATIVE_PIECES; k++) same = goes_on(f, source->piece[k]);
  same = same && getc(f) == EOF && feof(f);
  if (f) fclose(f);
  return same;
}

/* --- compiling ------------------------------------------------------------------------------------------ */

enum { MOST_ARGUMENTS = 64, COMPLAINT = 160 };

/* Splits the user's options at spaces, in place. */
static int add_options(char **argument, int n, char *options) {
  for (char *rest = options, *at; (at = strtok_r(rest, " ", &rest)) != NULL && n < MOST_ARGUMENTS - 8;)
    argument[n++] = at;
  return n;
}

/* "ld returned 1 exit status": only the linker's own lines, which come before it, say why. */
static bool is_summary(const char *line) {
  return !strncmp(line, "collect2:", 9) || strstr(line, "linker command failed");
}

/* The first line that speaks of an error; where none does, or another language is spoken, the last one. */
static void find_complaint(const char *log, char found[COMPLAINT]) {
  char line[COMPLAINT];
  FILE *f = fopen(log, "r");
  found[0] = 0;
  while (f && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    if (!*line || (*found && is_summary(line))) continue;
    strcpy(found, line);
    if (!is_summary(line) && strstr(line, "error")) break;
  }
  if (f) fclose(f);
}

static ad_status wait_for(const native_request *r, pid_t child, const char *log) {
  int status;
  char line[COMPLAINT];
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return native_fail(r, AD_ERROR_IO, "the compiler was lost: %s", strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return AD_OK;
  find_complaint(log, line);
  return native_fail(r, AD_ERROR_IO, "%.60s failed: %s", r->compiler, *line ? line : "it says nothing");
}

static ad_status run_compiler(const native_request *r, char *const argument[], const char *log) {
  posix_spawn_file_actions_t actions;
  pid_t child;
  if (posix_spawn_file_actions_init(&actions)) return AD_ERROR_MEMORY;
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const int error = posix_spawn(&child, r->compiler, &actions, NULL, argument, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error) return native_fail(r, AD_ERROR_IO, "%.100s cannot be started: %s", r->compiler, strerror(error));
  return wait_for(r, child, log);
}

static bool is_clang(const native_request *r) {
  char path[PATH_MAX];
  return realpath(r->compiler, path) && strstr(path, "clang");
}

/* Two runtimes of OpenMP in one process would share the processor badly: gcc's goes with gcc's. */
static bool has_threads(const native_request *r) {
#if defined(_OPENMP) && !defined(__clang__)
  char path[PATH_MAX];
  return realpath(r->compiler, path) && !strstr(path, "clang");
#else
  (void)r;
  return false;
#endif
}

/* how: see native.h. */
static ad_status compile(const native_request *r, const char *source, const char *object, const char *log,
                         int how) {
  static char level[2][4] = { "-O1", "-O3" }, threads[] = "-fopenmp";
  char *argument[MOST_ARGUMENTS], *copy = memory_get(&r->allocator, strlen(r->options) + 1);
  int n = 0;
  if (!copy) return AD_ERROR_MEMORY;
  strcpy(copy, r->options);
  argument[n++] = (char *)(uintptr_t)r->compiler;
  argument[n++] = level[how & NATIVE_SHORT ? 1 : 0];
  for (int k = 0; loops[k] && how & NATIVE_LOOPS; k++) argument[n++] = (char *)(uintptr_t)loops[k];
  for (int k = 0; masks[k] && how & NATIVE_MASKS && !is_clang(r); k++)
    argument[n++] = (char *)(uintptr_t)masks[k];
  if (how & NATIVE_THREADS && has_threads(r)) argument[n++] = threads;
  for (int k = 0; fixed[k]; k++) argument[n++] = (char *)(uintptr_t)fixed[k];
  n = add_options(argument, n, copy);
  const char *last[] = { "-o", object, source, "-lmvec", "-lm", NULL };
  for (int k = 0; k < 6; k++) argument[n++] = (char *)(uintptr_t)last[k];
  const ad_status status = run_compiler(r, argument, log);
  memory_release(&r->allocator, copy, strlen(r->options) + 1);
  return status;
}

static ad_status write_source(const native_request *r, const char *path, const native_source *source) {
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  FILE *f = file < 0 ? NULL : fdopen(file, "wb");
  if (!f) {
    if (file >= 0) close(file);
    return native_fail(r, AD_ERROR_IO, "the cache %.150s: %s", r->folder, strerror(errno));
  }
  bool good = true;
  for (int k = 0; good && k < NATIVE_PIECES; k++) {
    const text *piece = source->piece[k];
    good = fwrite(text_of(piece), 1, piece->length, f) == piece->length;
  }
  good = good && fflush(f) == 0;
  const int error = errno;
  if (fclose(f) == 0 && good) return AD_OK;
  return native_fail(r, AD_ERROR_IO, "the cache %.150s: %s", r->folder, strerror(error));
}

/* The object takes its place before its source does: a source that is there has its object. */
static ad_status build_at(const native_request *r, const native_source *source, const char *name, int how) {
  char path[4][NATIVE_PATH + 64], place[NATIVE_PATH + 64];
  static const char *const ending[3] = { "c", "so", "log" };
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  for (int k = 0; k < 3; k++)
    snprintf(path[k], sizeof path[k], "%s/part-%ld-%lld-%llx.%s", r->folder, (long)getpid(),
             (long long)now.tv_sec*1000000000 + now.tv_nsec, (unsigned long long)(uintptr_t)r, ending[k]);
  ad_status status = write_source(r, path[0], source);
  if (status == AD_OK) status = compile(r, path[0], path[1], path[2], how);
  snprintf(place, sizeof place, "%s/%s.c", r->folder, name);
  if (status == AD_OK && (rename(path[1], r->object) || rename(path[0], place)))
    status = native_fail(r, AD_ERROR_IO, "the cache %.150s: %s", r->folder, strerror(errno));
  for (int k = 0; k < 3; k++) unlink(path[k]);
  return status;
}

ad_status native_build(native_request *r, const native_source *source, int how) {
  char name[48], place[NATIVE_PATH + 64];
  const uint64_t h = hash_surroundings(r, how);
  snprintf(name, sizeof name, "adit-%016llx-%016llx", (unsigned long long)h,
           (unsigned long long)hash_source(source));
  snprintf(place, sizeof place, "%s/%s.c", r->folder, name);
  if (snprintf(r->object, NATIVE_PATH, "%s/%s.so", r->folder, name) >= NATIVE_PATH)
    return native_fail(r, AD_ERROR_IO, "the name of the cache is too long");
  if (same_file(place, source) && access(r->object, R_OK) == 0) return AD_OK;
  return build_at(r, source, name, how);
}
