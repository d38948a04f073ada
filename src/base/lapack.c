/* lapack.c -- finding LAPACK: where the build says what its libraries are called (ADIT_LAPACK, a list of
 * names), they are loaded when it is first needed; else it is linked. */
#include "base/lapack.h"

#ifdef ADIT_LAPACK

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#define ROUTINE(prefix, name) { #prefix #name "_", offsetof(lapack, prefix##name) }
#define ROUTINES(prefix)                                                                                     \
  ROUTINE(prefix, getrf), ROUTINE(prefix, getrs), ROUTINE(prefix, potrf), ROUTINE(prefix, trsm)

/* Written once, before anybody is given its address. */
static lapack found;
static const lapack *whole;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Libraries stay open: their threads and memory could not be taken from them. */
static void load(void) {
  static const char *const library[] = { ADIT_LAPACK };
  static const struct { const char *name; size_t at; } routine[] = { ROUTINES(s), ROUTINES(d) };
  enum { LIBRARIES = sizeof library/sizeof *library, ALL = sizeof routine/sizeof *routine };
  void *open[LIBRARIES];
  size_t count = 0;
  for (int k = 0; k < LIBRARIES; k++) open[k] = dlopen(library[k], RTLD_LAZY | RTLD_LOCAL);
  for (int i = 0; i < ALL; i++) {
    void *address = NULL;
    for (int k = 0; k < LIBRARIES && !address; k++) address = open[k] ? dlsym(open[k], routine[i].name) : NULL;
    memcpy((char *)&found + routine[i].at, &address, sizeof address);
    count += address != NULL;
  }
  if (count == ALL) whole = &found;
}

const lapack *lapack_find(void) { return pthread_once(&once, load) == 0 ? whole : NULL; }

#else

#define ROUTINES(T, p)                                                                                       \
  void p##getrf_(const int *, const int *, T *, const int *, int *, int *);                                  \
  void p##getrs_(const char *, const int *, const int *, const T *, const int *, const int *, T *,           \
                 const int *, int *, size_t);                                                                \
  void p##potrf_(const char *, const int *, T *, const int *, int *, size_t);                                \
  void p##trsm_(const char *, const char *, const char *, const char *, const int *, const int *, const T *, \
                const T *, const int *, T *, const int *, size_t, size_t, size_t, size_t);
ROUTINES(float, s)
ROUTINES(double, d)

const lapack *lapack_find(void) {
  static const lapack linked = { sgetrf_, sgetrs_, spotrf_, strsm_, dgetrf_, dgetrs_, dpotrf_, dtrsm_ };
  return &linked;
}

#endif
