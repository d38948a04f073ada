/* native.h -- a function as machine code: its text, the compiler, the cache, the loaded object.
 *
 * The written text goes through the system's compiler into a shared object; what it cannot or should not do
 * itself (big products, sorting, callbacks) it calls back, by number, through the list of host steps.
 */
#ifndef ADIT_NATIVE_NATIVE_H
#define ADIT_NATIVE_NATIVE_H

#include "write/writer.h"

enum { NATIVE_PATH = 1024 };

/* What the text is made of and where its object is. */
typedef struct native_request {
  ad_allocator allocator;
  const char *compiler;             /* a path */
  const char *options;
  char folder[NATIVE_PATH];
  char object[NATIVE_PATH];         /* in the folder */
  char *message;
  size_t size;
} native_request;

/* As the loaded code sees it; native_text.c writes the same declaration. */
struct host {
  /* Runs a step of the list. */
  int (*run)(const struct host *h, uint64_t step, void *const z[], const void *const x[], void *scratch);
  /* Leaves the message that format makes of count and number; returns the status. */
  int (*fail)(const struct host *h, int status, const char *format, int64_t count, double number);
  const void *const *fixed;         /* large constants */
};

typedef int native_entry(const void *const in[], void *const out[], void *memory, const struct host *host);

/* The text for f in pieces, one behind the other: what is common to all, the routines and functions where the
 * writer has them (they may be megabytes), and the entry. */
enum { NATIVE_PIECES = 4 };
typedef struct native_source { text head, tail; const text *piece[NATIVE_PIECES]; } native_source;

/* bytes: of work memory. s lasts as long as w, and is to be closed either way. */
bool native_text(ad_writer *w, ad_function *f, native_source *s, size_t *bytes);
void native_source_close(native_source *s);

/* The compiler's path, the folder, made and found safe. */
ad_status native_find(native_request *r, const ad_native *options);
/* The object for that text, from the cache or compiled: its path is in r->object. how: a short text is
 * compiled with all optimisation, a long one quickly; loops shall become vector code. */
enum { NATIVE_SHORT = 1, NATIVE_LOOPS = 2, NATIVE_THREADS = 4, NATIVE_MASKS = 8 };
ad_status native_build(native_request *r, const native_source *source, int how);

/* Says why and returns status. */
ad_status native_fail(const native_request *r, ad_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
