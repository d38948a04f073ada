/* metrics.c -- the history of a run: as csv, as a log that grows, as a picture. */
#include "adit/plot.h"
#include "exchange/file.h"
#include "learn/decimal.h"
#include "learn/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- csv ------------------------------------------------------------------------------------------------ */

/* A line of text that grows to what it needs. */
typedef struct line { const ad_allocator *a; char *text; size_t length, room; bool good; } line;

static void put(line *l, const char *text, size_t length) {
  l->good = l->good && memory_reserve(l->a, &l->text, &l->room, l->length + length + 1, 1);
  if (!l->good) return;
  memcpy(l->text + l->length, text, length);
  l->length += length;
}

/* Quoted, with quotes twice, where that is needed. */
static void put_name(line *l, const char *name) {
  if (!strpbrk(name, ",\"\n\r")) {
    put(l, name, strlen(name));
    return;
  }
  put(l, "\"", 1);
  for (; *name; name++) {
    if (*name == '"') put(l, "\"", 1);
    put(l, name, 1);
  }
  put(l, "\"", 1);
}

static void put_header(line *l, const ad_trainer *t) {
  put(l, "epoch", 5);
  for (int c = 0; c < trainer_columns(t); c++) put(l, ",", 1), put_name(l, t->columns.text[c]);
  put(l, "\n", 1);
}

static void put_row(line *l, const ad_trainer *t, int64_t row) {
  char text[DECIMAL_TEXT];
  const double *value = t->history + (size_t)row*(size_t)trainer_columns(t);
  put(l, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)row + 1));
  for (int c = 0; c < trainer_columns(t); c++) {
    decimal_write(value[c], text);
    put(l, ",", 1);
    put(l, text, strlen(text));
  }
  put(l, "\n", 1);
}

/* The header, and all rows. */
static line whole_table(const ad_trainer *t) {
  line l = { .a = &t->a, .good = true };
  put_header(&l, t);
  for (int64_t row = 0; row < t->epochs_done; row++) put_row(&l, t, row);
  return l;
}

static void release(line *l) { memory_release(l->a, l->text, l->room); }

ad_status ad_trainer_write_history(const ad_trainer *t, const char *path, ad_report *report) {
  ad_report own;
  file_writer file;
  if (!t || !path) return report_fail(report, AD_ERROR_ARGUMENT, "history: no trainer, or no path");
  report = file_report(report, &own);
  line l = whole_table(t);
  ad_status status = l.good ? file_create(&file, path, report)
                            : report_fail(report, AD_ERROR_MEMORY, "history: out of memory");
  if (status == AD_OK) status = file_finish(&file, file_write(&file, l.text, l.length));
  release(&l);
  return status;
}

/* --- the log -------------------------------------------------------------------------------------------- */

static ad_status append(const ad_trainer *t, const char *path, int64_t from, ad_report *report) {
  line l = { .a = &t->a, .good = true };
  for (int64_t row = from; row < t->epochs_done; row++) put_row(&l, t, row);
  FILE *file = l.good ? fopen(path, "a") : NULL;
  bool good = file && fwrite(l.text, 1, l.length, file) == l.length;
  if (file && fclose(file)) good = false;
  release(&l);
  return good ? AD_OK : report_fail(report, AD_ERROR_IO, "%.160s: cannot be written", path);
}

bool ad_csv_log_write(ad_trainer *t, const ad_train_event *event, void *context) {
  ad_csv_log *log = context;
  ad_report report = { AD_OK, "" };
  if (!log || !log->path) return false;
  if (log->own_rows && event->moment != AD_AFTER_EPOCH) return true;
  if (!log->own_rows) ad_trainer_write_history(t, log->path, &report);
  else if (log->own_rows < t->epochs_done + 1) append(t, log->path, log->own_rows - 1, &report);
  log->own_rows = t->epochs_done + 1;                    /* 0 is before the first event */
  log->status = report.status;
  memcpy(log->message, report.message, sizeof log->message);
  return report.status == AD_OK;
}

/* --- the picture ---------------------------------------------------------------------------------------- */

ad_status ad_trainer_plot(const ad_trainer *t, const char *path, ad_report *report) {
  if (!t || !path) return report_fail(report, AD_ERROR_ARGUMENT, "history: no trainer, or no path");
  const int columns = trainer_columns(t), numbers = trainer_numbers(t), curves = columns/numbers;
  const size_t rows = (size_t)t->epochs_done, bytes = 3*(rows + 1)*sizeof(double);
  double *number = memory_get(&t->a, bytes);
  bool positive = true;
  if (!number) return report_fail(report, AD_ERROR_MEMORY, "history: out of memory");
  for (size_t row = 0; row < rows; row++) {
    number[row] = (double)row + 1;
    for (int k = 0; k < curves; k++) {
      const double y = t->history[row*(size_t)columns + (size_t)(k*numbers)];
      number[(size_t)(k + 1)*rows + row] = y;
      positive = positive && !(y <= 0);
    }
  }
  const ad_series series[2] = { { t->columns.text[0], t->epochs_done, number, number + rows, false },
                                { t->columns.text[numbers*(curves - 1)], t->epochs_done, number,
                                  number + 2*rows, false } };
  const ad_plot plot = { .title = "loss", .x_label = "epoch", .log_y = positive };
  const ad_status status = ad_plot_svg(path, &plot, curves, series, report);
  memory_release(&t->a, number, bytes);
  return status;
}
