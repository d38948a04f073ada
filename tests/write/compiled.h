/* compiled.h -- many functions written as C into one file, compiled and loaded: for tests that call them with
 * lists of addresses.
 *
 * A thunk beside the written file gives every entry point the same interface, and says how much work memory
 * it wants; that is given exactly, with guards behind it. */
#ifndef ADIT_TESTS_COMPILED_H
#define ADIT_TESTS_COMPILED_H

#include "adit/code.h"
#include "folder.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPILED_MOST = 256, COMPILED_POOLS = 5, COMPILED_GUARD = 64 };

typedef int compiled_call(const void *const in[], void *const out[], void *const work[]);

typedef struct compiled {
  const char *folder;
  int n;
  ad_function *f[COMPILED_MOST];
  char name[COMPILED_MOST][16];
  void *object;
  char error[400];
} compiled;

static const size_t compiled_size[COMPILED_POOLS] = { 8, 4, 8, 4, 1 };

static bool compiled_fail(compiled *w, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(w->error, sizeof w->error, format, list);
  va_end(list);
  return false;
}

/* Functions are added before the file is written; f is not held. */
static void compiled_add(compiled *w, ad_function *f) {
  snprintf(w->name[w->n], sizeof w->name[0], "f%d", w->n);
  w->f[w->n++] = f;
}

static void compiled_thunk(FILE *to, const ad_function *f, const char *name) {
  static const char *const pool[COMPILED_POOLS] = { "WORK", "WORK_F32", "WORK_I64", "WORK_I32", "WORK_BOOL" };
  fprintf(to, "int call_%s(const void *const *in, void *const *out, void *const *w) {\n"
              "  (void)in, (void)w;\n  return p_%s(",
          name, name);
  for (int k = 0; k < ad_function_inputs(f); k++) fprintf(to, "in[%d], ", k);
  for (int j = 0; j < ad_function_outputs(f); j++) fprintf(to, "out[%d], ", j);
  fprintf(to, "w[0]\n");
  for (int d = 1; d < COMPILED_POOLS; d++) fprintf(to, "#ifdef p_%s_%s\n, w[%d]\n#endif\n", name, pool[d], d);
  fprintf(to, ");\n}\n");
  for (int d = 0; d < COMPILED_POOLS; d++)
    fprintf(to, "#ifndef p_%s_%s\n#define p_%s_%s 0\n#endif\n", name, pool[d], name, pool[d]);
  fprintf(to, "const unsigned long long size_%s[5] = { ", name);
  for (int d = 0; d < COMPILED_POOLS; d++) fprintf(to, "p_%s_%s, ", name, pool[d]);
  fprintf(to, "};\n");
}

static FILE *compiled_file(compiled *w, const char *name, const char *mode) {
  const char *const path = folder_path(w->folder, name);
  FILE *f = fopen(path, mode);
  if (!f) compiled_fail(w, "%s cannot be opened", path);
  return f;
}

/* Writes p.c, p.h and thunk.c into a new folder. */
static bool compiled_write(compiled *w, const ad_code *options) {
  const char *names[COMPILED_MOST];
  ad_report report;
  ad_code code = options ? *options : (ad_code){ 0 };
  code.name = "p";
  for (int i = 0; i < w->n; i++) names[i] = w->name[i];
  if (!(w->folder = folder_make())) return compiled_fail(w, "no folder");
  FILE *c = compiled_file(w, "p.c", "w"), *h = compiled_file(w, "p.h", "w"),
       *t = compiled_file(w, "thunk.c", "w");
  if (!c || !h || !t) return false;
  const ad_status status = ad_functions_emit_c(w->n, w->f, names, c, h, &code, &report);
  fprintf(t, "#include \"p.h\"\n");
  for (int i = 0; i < w->n; i++) compiled_thunk(t, w->f[i], w->name[i]);
  fclose(c), fclose(h), fclose(t);
  return status == AD_OK || compiled_fail(w, "%s", report.message);
}

/* Compiles p.c strictly, and loads it. */
static bool compiled_build(compiled *w, const char *compiler, const char *flags) {
  char command[1000], line[300] = "";
  snprintf(command, sizeof command,
           "cd '%s' && %s -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fPIC %s -c p.c "
           ">log 2>&1 && %s -w -fPIC -shared %s thunk.c p.o -o p.so -lm >>log 2>&1",
           w->folder, compiler, flags, compiler, flags);
  if (system(command)) {
    FILE *log = compiled_file(w, "log", "r");
    while (log && fgets(line, sizeof line, log) && !strstr(line, "error")) { }
    if (log) fclose(log);
    return compiled_fail(w, "%s %s: %s", compiler, flags, line);
  }
  w->object = dlopen(folder_path(w->folder, "p.so"), RTLD_NOW | RTLD_LOCAL);
  return w->object || compiled_fail(w, "%s", dlerror());
}

static void compiled_unload(compiled *w) {
  if (w->object) dlclose(w->object);
  w->object = NULL;
}

static void compiled_close(compiled *w) {
  compiled_unload(w);
  folder_remove(w->folder);
}

/* Calls entry i; -1 where it wrote behind its work memory. */
static int compiled_run(const compiled *w, int i, const void *const in[], void *const out[]) {
  char name[32];
  void *work[COMPILED_POOLS];
  snprintf(name, sizeof name, "size_%s", w->name[i]);
  const unsigned long long *size = dlsym(w->object, name);
  snprintf(name, sizeof name, "call_%s", w->name[i]);
  void *symbol = dlsym(w->object, name);
  compiled_call *call;
  memcpy(&call, &symbol, sizeof symbol);
  if (!size || !symbol) return -2;
  for (int d = 0; d < COMPILED_POOLS; d++) {
    const size_t bytes = (size_t)size[d]*compiled_size[d];
    work[d] = malloc(bytes + COMPILED_GUARD);
    if (!work[d]) abort();
    memset(work[d], 0xA5, bytes + COMPILED_GUARD);
  }
  int status = call(in, out, work);
  for (int d = 0; d < COMPILED_POOLS; d++) {
    const unsigned char *guard = (unsigned char *)work[d] + (size_t)size[d]*compiled_size[d];
    for (int k = 0; k < COMPILED_GUARD; k++)
      if (guard[k] != 0xA5) status = -1;
    free(work[d]);
  }
  return status;
}

#endif
