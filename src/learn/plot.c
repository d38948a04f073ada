/* plot.c -- curves as a picture: a script for gnuplot, which reads it and writes SVG.
 *
 * gnuplot gets the script as its standard input and its three streams are files without a name: no path and
 * no text of the caller's is ever part of a command, and a gnuplot that dies leaves nobody waiting at a pipe.
 */
#define _DEFAULT_SOURCE
#include "adit/plot.h"
#include "exchange/file.h"
#include "learn/dataset.h"
#include "learn/decimal.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* --- the script ----------------------------------------------------------------------------------------- */

/* In gnuplot's double quotes the quote, the backslash and the backquote (which runs commands) mean something;
 * as octal numbers they do not. */
static void put_quoted(FILE *script, const char *text) {
  fputc('"', script);
  for (; text && *text; text++) {
    if (strchr("\"\\`", *text)) fprintf(script, "\\%03o", (unsigned)*text);
    else fputc((unsigned char)*text < ' ' ? ' ' : *text, script);
  }
  fputc('"', script);
}

static void put_number(FILE *script, double x) {
  char text[DECIMAL_TEXT];
  fputs(isfinite(x) ? decimal_write(x, text) : "?", script);
}

static bool drawn(const ad_plot *p, const ad_series *s, int64_t i) {
  const double x = s->x ? s->x[i] : (double)i, y = s->y[i];
  return isfinite(x) && isfinite(y) && !(p->log_x && x <= 0) && !(p->log_y && y <= 0);
}

/* A blank line is a gap. */
static int64_t put_points(FILE *script, const ad_plot *p, const ad_series *s, int number) {
  int64_t points = 0;
  fprintf(script, "$data%d << END_OF_DATA\n", number);
  for (int64_t i = 0; i < s->count; i++) {
    if (drawn(p, s, i)) {
      put_number(script, s->x ? s->x[i] : (double)i);
      fputc(' ', script);
      put_number(script, s->y[i]);
      points++;
    }
    fputc('\n', script);
  }
  fputs("END_OF_DATA\n", script);
  return points;
}

static void put_settings(FILE *script, const ad_plot *p) {
  fprintf(script, "set encoding utf8\nset terminal svg size %d,%d noenhanced background '#ffffff'\n",
          p->width > 0 ? p->width : 720, p->height > 0 ? p->height : 480);
  fputs("set grid\nset title ", script);
  put_quoted(script, p->title);
  fputs("\nset xlabel ", script);
  put_quoted(script, p->x_label);
  fputs("\nset ylabel ", script);
  put_quoted(script, p->y_label);
  fprintf(script, "\n%s%s", p->log_x ? "set logscale x\n" : "", p->log_y ? "set logscale y\n" : "");
}

/* Returns how many points there are to be drawn. */
static int64_t put_script(FILE *script, const ad_plot *p, int n, const ad_series series[]) {
  int64_t points = 0;
  const char *separator = "plot ";
  for (int k = 0; k < n; k++) points += put_points(script, p, &series[k], k);
  put_settings(script, p);
  for (int k = 0; k < n; k++) {
    fprintf(script, "%s$data%d using 1:2 with %s linewidth 2 linetype %d ", separator, k,
            series[k].points ? "points" : "lines", k + 1);
    if (series[k].name) {
      fputs("title ", script);
      put_quoted(script, series[k].name);
    } else fputs("notitle", script);
    separator = ", ";
  }
  fputc('\n', script);
  return points;
}

/* --- gnuplot -------------------------------------------------------------------------------------------- */

typedef struct streams { FILE *script, *picture, *errors; } streams;

/* Its descriptors become 0, 1 and 2 of gnuplot. */
static int spawn(const streams *s, pid_t *child) {
  char name[] = "gnuplot";
  char *const arguments[] = { name, NULL };
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawn_file_actions_adddup2(&actions, fileno(s->script), 0);
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, fileno(s->picture), 1);
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, fileno(s->errors), 2);
  if (!error) error = posix_spawnp(child, name, &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* Its first words, on one line. */
static void first_words(FILE *errors, char text[100]) {
  rewind(errors);
  size_t n = fread(text, 1, 99, errors), begin = 0;
  text[n] = 0;
  for (size_t i = 0; i < n; i++) if (text[i] == '\n' || text[i] == '\t') text[i] = ' ';
  while (begin < n && text[begin] == ' ') begin++;
  memmove(text, text + begin, n - begin + 1);
}

static ad_status run_gnuplot(const streams *s, const char *path, ad_report *report) {
  pid_t child;
  int how = 0;
  char words[100];
  const int error = spawn(s, &child);
  if (error == ENOENT || error == EACCES)
    return report_fail(report, AD_ERROR_UNSUPPORTED, "%.120s: not drawn: gnuplot is not installed", path);
  if (error) return report_fail(report, AD_ERROR_IO, "%.120s: gnuplot cannot be run: %s", path,
                                strerror(error));
  while (waitpid(child, &how, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return AD_OK;
  first_words(s->errors, words);
  return report_fail(report, AD_ERROR_IO, "%.120s: gnuplot failed: %s", path, words);
}

/* --- the file ------------------------------------------------------------------------------------------- */

static ad_status copy_picture(FILE *picture, const char *path, ad_report *report) {
  char piece[4096];
  file_writer file;
  size_t n;
  ad_status status = file_create(&file, path, report);
  rewind(picture);
  while (status == AD_OK && (n = fread(piece, 1, sizeof piece, picture)) > 0)
    status = file_write(&file, piece, n);
  if (status == AD_OK && file.written == 0)
    status = file_fail(&file.at, AD_ERROR_IO, "gnuplot wrote nothing");
  return file_finish(&file, status);
}

static ad_status draw(const streams *s, const char *path, const ad_plot *p, int n, const ad_series series[],
                      ad_report *report) {
  if (put_script(s->script, p, n, series) == 0)
    return report_fail(report, AD_ERROR_ARGUMENT, "%.120s: there is no point to be drawn", path);
  if (fflush(s->script) || fseek(s->script, 0, SEEK_SET))
    return report_fail(report, AD_ERROR_IO, "%.120s: no room for a script for gnuplot", path);
  const ad_status status = run_gnuplot(s, path, report);
  return status == AD_OK ? copy_picture(s->picture, path, report) : status;
}

ad_status ad_plot_svg(const char *path, const ad_plot *plot, int n, const ad_series series[],
                      ad_report *report) {
  const ad_plot none = { 0 };
  ad_report own;
  report = file_report(report, &own);
  if (!path || n < 1 || !series)
    return report_fail(report, AD_ERROR_ARGUMENT, "plot: no path, or nothing to draw");
  for (int k = 0; k < n; k++)
    if (series[k].count < 0 || (series[k].count && !series[k].y))
      return report_fail(report, AD_ERROR_ARGUMENT, "plot: series %d has no values", k);
  const streams s = { tmpfile(), tmpfile(), tmpfile() };
  ad_status status;
  if (s.script && s.picture && s.errors) status = draw(&s, path, plot ? plot : &none, n, series, report);
  else status = report_fail(report, AD_ERROR_IO, "%.120s: no temporary files: %s", path, strerror(errno));
  if (s.script) fclose(s.script);
  if (s.picture) fclose(s.picture);
  if (s.errors) fclose(s.errors);
  return status;
}
