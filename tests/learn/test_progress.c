/* test_progress.c -- what progress writes: lines into a file, a bar that rewrites itself on a terminal. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#include "training.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static bool slow(ad_trainer *t, const ad_train_event *e, void *context) {
  (void)t, (void)context;
  if (e->moment == AD_AFTER_STEP) usleep(20000);
  return true;
}

static void run_with(ad_progress *progress, bool with_pauses, int64_t patience) {
  ad_parameters *p = network_parameters(AD_F64);
  ad_dataset *d = network_data(AD_F64, EXAMPLES, 1);
  ad_training how = network_training();
  how.patience = patience;
  how.improvement = patience ? 1e9 : 0;
  ad_trainer *t = ad_trainer_new(p, d, &how, NULL);
  if (with_pauses) ad_trainer_watch(t, slow, NULL);
  ad_trainer_watch(t, ad_progress_show, progress);
  CHECK_STATUS(ad_trainer_run(t, NULL), AD_OK);
  ad_trainer_free(t);
  ad_dataset_free(d);
  ad_parameters_free(p);
}

static size_t text_of(FILE *f, char *text, size_t size) {
  rewind(f);
  const size_t n = fread(text, 1, size - 1, f);
  text[n] = 0;
  return n;
}

static int count_of(const char *text, const char *what) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, what)) != NULL; at++) n++;
  return n;
}

static void test_lines(void) {
  char text[4096];
  ad_progress progress = { .file = tmpfile() };
  if (!CHECK(progress.file != NULL)) return;
  run_with(&progress, false, 0);
  text_of(progress.file, text, sizeof text);
  CHECK_THAT(count_of(text, "\n") == 5 && count_of(text, "\r") == 0 && count_of(text, "examples/s") == 4,
             "%s", text);
  CHECK(!strncmp(text, "epoch 1/4  loss ", 16) && strstr(text, "\nepoch 4/4  loss ")
        && strstr(text, "absolute error"));
  CHECK(strstr(text, "\ndone after 4 of 4 epochs, 0:0"));
  fclose(progress.file);
}

static void test_early_end(void) {
  char text[4096];
  ad_progress progress = { .file = tmpfile() };
  run_with(&progress, false, 2);
  text_of(progress.file, text, sizeof text);
  CHECK_THAT(strstr(text, "stopped early after 3 of 4 epochs") && strstr(text, "those of epoch 1"), "%s",
             text);
  CHECK(count_of(text, "  best") == 1);
  fclose(progress.file);
}

/* No line is longer than the terminal is wide, and each rewriting covers what was there before. */
static void check_bar(const char *text) {
  size_t longest = 0, column = 0;
  for (const char *c = text; *c; c++) {
    column = *c == '\r' || *c == '\n' ? 0 : column + 1;
    if (column > longest) longest = column;
  }
  CHECK_THAT(longest <= 79, "%zu columns", longest);
  CHECK_THAT(count_of(text, "\n") == 5 && count_of(text, "\r") > 8, "%s", text);
  CHECK(strstr(text, "epoch 1/4  [") && strstr(text, "=>") && strstr(text, "\repoch 4/4  loss"));
}

static void test_bar(void) {
  static char text[1 << 16];
  ad_progress progress = { .file = tmpfile(), .mode = AD_PROGRESS_BAR };
  run_with(&progress, true, 0);
  text_of(progress.file, text, sizeof text);
  check_bar(text);
  fclose(progress.file);
}

/* A terminal is recognised: the other side of a pseudo-terminal reads the bar. */
static void test_terminal(void) {
  static char text[1 << 16];
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) || unlockpt(master)) return;         /* no pseudo-terminals here */
  FILE *terminal = fopen(ptsname(master), "r+");
  if (!CHECK(terminal != NULL)) return;
  ad_progress progress = { .file = terminal };
  run_with(&progress, true, 0);
  fcntl(master, F_SETFL, O_NONBLOCK);
  size_t n = 0;
  for (ssize_t got = 1; got > 0 && n < sizeof text - 1; n += got > 0 ? (size_t)got : 0)
    got = read(master, text + n, sizeof text - 1 - n);
  text[n] = 0;
  CHECK_THAT(count_of(text, "\r") > 8 && strstr(text, "epoch 1/4  ["), "%s", text);
  fclose(terminal);
  close(master);
}

int main(void) {
  test_lines();
  test_early_end();
  test_bar();
  test_terminal();
  return check_summary();
}
