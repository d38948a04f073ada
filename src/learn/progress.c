/* progress.c -- how far a run is: a bar that rewrites itself on a terminal, lines elsewhere. */
#define _DEFAULT_SOURCE
#include "learn/trainer.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 1, LINES = 2, TEXT = 512 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

/* --- pieces of a line ----------------------------------------------------------------------------------- */

typedef struct line { char text[TEXT]; size_t length; } line;

static void put(line *l, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 2, 3)))
#endif
  ;
static void put(line *l, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const int n = vsnprintf(l->text + l->length, sizeof l->text - l->length, format, list);
  va_end(list);
  if (n > 0) l->length += (size_t)n;
  if (l->length >= sizeof l->text) l->length = sizeof l->text - 1;
}

/* 0:07, 12:34, 1:02:03 */
static void put_time(line *l, double seconds) {
  const long long s = seconds < 1e9 ? (long long)(seconds + 0.5) : 999999999;
  if (s >= 3600) put(l, "%lld:%02lld:%02lld", s/3600, s/60%60, s%60);
  else put(l, "%lld:%02lld", s/60, s%60);
}

/* 12.3, 45.6k, 7.89M */
static void put_rate(line *l, double rate) {
  if (rate >= 1e6) put(l, "%.3gM", rate/1e6);
  else if (rate >= 1e3) put(l, "%.3gk", rate/1e3);
  else put(l, "%.3g", rate);
}

static void put_values(line *l, const ad_trainer *t, const ad_train_event *e) {
  for (int k = 0; k < e->values; k++) put(l, "  %.40s %.4g", ad_trainer_column(t, k), e->value[k]);
}

/* Rate and remaining time, from what this process has done. */
static void put_speed(line *l, const ad_progress *p, const ad_train_event *e) {
  const double spent = now() - p->own.began, left = (double)(e->epochs*e->batches - e->step);
  const double made = (double)(e->step - p->own.first_step);
  if (!(spent > 0) || made <= 0) return;
  put(l, "  ");
  put_rate(l, (double)p->own.examples/spent);
  put(l, " examples/s  ");
  put_time(l, left*spent/made);
  put(l, " left");
}

/* --- output --------------------------------------------------------------------------------------------- */

/* Columns of the terminal; 80 where it does not say. */
static int terminal_width(FILE *file) {
  struct winsize size;
  const int descriptor = fileno(file);
  if (descriptor < 0 || ioctl(descriptor, TIOCGWINSZ, &size) || size.ws_col < 20) return 80;
  return size.ws_col < TEXT ? size.ws_col : TEXT - 1;
}

/* Over the line before, which may have been longer; one column stays free, so that nothing wraps. */
static void rewrite(ad_progress *p, line *l, bool last) {
  const int most = terminal_width(p->file) - 1, length = (int)l->length < most ? (int)l->length : most;
  const int rest = p->own.width > length ? p->own.width - length : 0;
  fprintf(p->file, "\r%.*s%*s%s", length, l->text, rest, "", last ? "\n" : "");
  p->own.width = last ? 0 : length;
  fflush(p->file);
}

static void write_line(ad_progress *p, const line *l) {
  fprintf(p->file, "%s\n", l->text);
  fflush(p->file);
}

/* --- moments -------------------------------------------------------------------------------------------- */

static void begin(ad_progress *p, const ad_train_event *e) {
  const bool made = e->moment == AD_AFTER_STEP;
  const bool bar = p->mode == AD_PROGRESS_BAR
                   || (p->mode == AD_PROGRESS_AUTOMATIC && isatty(fileno(p->file)));
  p->own.state = bar ? BAR : LINES;
  p->own.began = p->own.shown = p->own.epoch_began = now();
  /* The time of the first step is not known: it does not count. */
  p->own.first_step = e->step;
  p->own.examples = made ? -e->examples : 0;
}

static void after_step(ad_trainer *t, ad_progress *p, const ad_train_event *e) {
  const double time = now(), pause = p->own.state == BAR ? 0.1 : 10;
  if (time - p->own.shown < pause) return;
  line l = { .length = 0 };
  p->own.shown = time;
  put(&l, "epoch %lld/%lld  ", (long long)e->epoch + 1, (long long)e->epochs);
  if (p->own.state == BAR) {
    enum { CELLS = 20 };
    const int full = (int)((e->batch + 1)*CELLS/e->batches);
    const int empty = full < CELLS ? CELLS - full - 1 : 0;
    put(&l, "[%.*s%s%*s] ", full, "====================", full < CELLS ? ">" : "", empty, "");
  }
  put(&l, "%lld/%lld", (long long)e->batch + 1, (long long)e->batches);
  put_values(&l, t, e);
  put_speed(&l, p, e);
  if (p->own.state == BAR) rewrite(p, &l, false);
  else write_line(p, &l);
}

static void after_epoch(ad_trainer *t, ad_progress *p, const ad_train_event *e) {
  line l = { .length = 0 };
  const double time = now();
  put(&l, "epoch %lld/%lld", (long long)e->epoch + 1, (long long)e->epochs);
  put_values(&l, t, e);
  put(&l, "  %.3g s%s", time - p->own.epoch_began, e->best ? "  best" : "");
  put_speed(&l, p, e);
  p->own.epoch_began = p->own.shown = time;
  if (p->own.state == BAR) rewrite(p, &l, true);
  else write_line(p, &l);
}

static void after_training(ad_trainer *t, ad_progress *p, const ad_train_event *e) {
  line l = { .length = 0 };
  put(&l, "%s after %lld of %lld epochs, ", e->epoch + 1 < e->epochs ? "stopped early" : "done",
      (long long)e->epoch + 1, (long long)e->epochs);
  put_time(&l, now() - p->own.began);
  if (ad_trainer_best_epoch(t) >= 0)
    put(&l, ", the parameters are those of epoch %lld", (long long)ad_trainer_best_epoch(t) + 1);
  if (p->own.state == BAR) rewrite(p, &l, true);
  else write_line(p, &l);
}

bool ad_progress_show(ad_trainer *t, const ad_train_event *e, void *context) {
  ad_progress *p = context;
  if (!p || !p->file) return true;
  if (!p->own.state) begin(p, e);
  if (e->moment == AD_AFTER_STEP) {
    p->own.examples += e->examples;
    after_step(t, p, e);
  } else if (e->moment == AD_AFTER_EPOCH) after_epoch(t, p, e);
  else after_training(t, p, e);
  return true;
}
