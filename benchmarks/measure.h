/* measure.h -- what the benchmarks share: clocks, medians of interleaved repeats, memory, work in a fresh
 * process.
 *
 * Include it before any system header. One thread is timed by the processor time of the process, page faults
 * included, which other programs on the machine disturb least; several threads by the wall clock.
 */
#ifndef ADIT_BENCHMARKS_MEASURE_H
#define ADIT_BENCHMARKS_MEASURE_H

#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline double read_clock(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}
static inline double cpu_seconds(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }
static inline double wall_seconds(void) { return read_clock(CLOCK_MONOTONIC); }

static inline int compare_times(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts v. */
static inline double median(int n, double v[]) {
  qsort(v, (size_t)n, sizeof *v, compare_times);
  return n % 2 ? v[n/2] : (v[n/2 - 1] + v[n/2])/2;
}

/* The most memory this process ever had resident, in bytes. */
static inline double peak_bytes(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return 1024*(double)u.ru_maxrss;
}

static inline void *need(void *p) {
  if (p) return p;
  fprintf(stderr, "benchmark: out of memory\n");
  exit(1);
}
static inline double *doubles(size_t n) {
  return (double *)need(aligned_alloc(64, (n*sizeof(double) + 63)/64*64));
}

/* Stops the benchmark when a result is wrong: |a - b| > tolerance (1 + |b|), or nan. */
static inline void expect(const char *what, double a, double b, double tolerance) {
  if (fabs(a - b) <= tolerance*(1 + fabs(b))) return;
  fprintf(stderr, "benchmark: %s gives %.17g instead of %.17g\n", what, a, b);
  exit(1);
}

/* --- files ------------------------------------------------------------------------------------------ */

typedef struct folder_place { char path[512]; pid_t owner; } folder_place;

static inline folder_place *own_place(void) {
  static folder_place place;
  return &place;
}

/* Children of the process leave it where it is. */
static inline void remove_own_folder(void) {
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'", own_place()->path);
  if (own_place()->owner == getpid() && system(command)) fprintf(stderr, "%s stays\n", own_place()->path);
}

/* A folder below $TMPDIR for what the process writes, made when it is first asked for, removed when the
 * process ends. */
static inline const char *own_folder(void) {
  folder_place *p = own_place();
  const char *under = getenv("TMPDIR");
  if (p->path[0]) return p->path;
  const int length = snprintf(p->path, sizeof p->path, "%s/adit-bench-XXXXXX",
                              under && *under ? under : "/tmp");
  if (length >= (int)sizeof p->path || !mkdtemp(p->path)) {
    fprintf(stderr, "benchmark: no folder can be made below %s\n", under ? under : "/tmp");
    exit(1);
  }
  p->owner = getpid();
  atexit(remove_own_folder);
  return p->path;
}

/* --- contests: several ways to do one thing ------------------------------------------------------- */

typedef struct entrant {
  void (*run)(void *data);
  void *data;
} entrant;

typedef struct timing { double median, best; } timing;    /* seconds for one run */

enum { MOST_ENTRANTS = 8, MOST_ROUNDS = 101 };

static inline double time_of(const entrant *e, long repeats, double (*clock_of)(void)) {
  const double start = clock_of();
  for (long i = 0; i < repeats; i++) e->run(e->data);
  return (clock_of() - start)/(double)repeats;
}

/* Every round times every entrant once, over as many runs as take about 2 ms. */
static inline void contest(int n, const entrant e[], int rounds, double (*clock_of)(void), timing out[]) {
  static double seen[MOST_ENTRANTS][MOST_ROUNDS];
  long repeats[MOST_ENTRANTS];
  for (int i = 0; i < n; i++) {
    e[i].run(e[i].data);
    for (repeats[i] = 1; time_of(&e[i], repeats[i], clock_of)*(double)repeats[i] < 2e-3; repeats[i] *= 2) {}
  }
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < n; i++) seen[i][r] = time_of(&e[i], repeats[i], clock_of);
  for (int i = 0; i < n; i++) {
    out[i].median = median(rounds, seen[i]);
    out[i].best = seen[i][0];
  }
}

/* --- fresh processes ------------------------------------------------------------------------------ */

/* Runs work(data, result) in a child, whose memory is as fresh as a program's at its start; hands its n
 * results over. */
static inline void in_child(void (*work)(const void *data, double result[]), const void *data, int n,
                            double result[]) {
  int ends[2], status = 1;
  fflush(stdout);
  if (pipe(ends)) exit(1);
  const pid_t child = fork();
  if (child < 0) exit(1);
  if (child == 0) {
    close(ends[0]);
    work(data, result);
    const ssize_t size = (ssize_t)((size_t)n*sizeof *result);
    _exit(write(ends[1], result, (size_t)size) == size ? 0 : 1);
  }
  close(ends[1]);
  size_t got = 0;
  for (ssize_t more = 1; more > 0 && got < (size_t)n*sizeof *result; got += more > 0 ? (size_t)more : 0)
    more = read(ends[0], (char *)result + got, (size_t)n*sizeof *result - got);
  close(ends[0]);
  waitpid(child, &status, 0);
  if (got == (size_t)n*sizeof *result && status == 0) return;
  fprintf(stderr, "benchmark: a measurement failed\n");
  exit(1);
}

#endif
