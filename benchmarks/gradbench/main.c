/* main.c -- adit as a tool for GradBench: messages on standard input, answers on standard output.
 *
 *     adit-gradbench [--backend interpreter|native] [--threads N]
 */
#define _POSIX_C_SOURCE 200809L
#include "protocol.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { MOST_THREADS = 1024 };

static int usage(const char *program) {
  fprintf(stderr, "usage: %s [--backend interpreter|native] [--threads N]\n", program);
  return 2;
}

static bool read_options(int argc, char **argv, settings *how) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    const bool backend = !strcmp(argv[i], "--backend");
    const long threads = strtol(argv[i + 1], NULL, 10);
    if (backend && !strcmp(argv[i + 1], "interpreter")) how->interpreter = true;
    else if (backend && !strcmp(argv[i + 1], "native")) how->interpreter = false;
    else if (!strcmp(argv[i], "--threads") && threads > 0 && threads <= MOST_THREADS)
      how->threads = (int)threads;
    else return false;
  }
  return true;
}

/* Three quarters of the machine's memory: past that, allocations fail and the question is refused; the
 * system would end the program otherwise. AddressSanitizer wants room for its shadow. */
static void limit_memory(void) {
#ifndef __SANITIZE_ADDRESS__
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  struct rlimit limit;
  if (pages <= 0 || page <= 0 || getrlimit(RLIMIT_DATA, &limit)) return;
  const rlim_t most = (rlim_t)pages/4*3*(rlim_t)page;
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= most) return;
  limit.rlim_cur = most;
  setrlimit(RLIMIT_DATA, &limit);
#endif
}

/* Lines may be megabytes long. False when nobody reads the answers any more. */
static bool answer_lines(const settings *how) {
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  bool written = true;
  while (written && (length = getline(&line, &size, stdin)) > 0) {
    if (strspn(line, " \t\r\n") == (size_t)length) continue;
    written = protocol_answer(how, line, (size_t)length, stdout);
    line = NULL;
    size = 0;
  }
  free(line);
  return written;
}

int main(int argc, char **argv) {
  settings how = { .threads = 1 };
  if (!read_options(argc, argv, &how)) return usage(argv[0]);
  limit_memory();
#ifdef _OPENMP
  omp_set_num_threads(how.threads);
#endif
  return answer_lines(&how) ? 0 : 1;
}
