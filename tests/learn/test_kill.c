/* test_kill.c -- training runs that are killed at random moments (SIGKILL), in the middle of a checkpoint
 * too: each resumes, and the last one ends with the bits of an undisturbed run. ADIT_KILLS says how many
 * kills; 6 if not. */
#define _DEFAULT_SOURCE
#include "folder.h"
#include "training.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static const char *here;
static char checkpoint[FOLDER_PATH], previous[FOLDER_PATH], log_file[FOLDER_PATH], result[FOLDER_PATH],
            want[FOLDER_PATH], want_log[FOLDER_PATH];

/* --- the run, in a process of its own ------------------------------------------------------------------- */

/* All that a process does: resumes, trains, writes its log and at the end its result. */
static int train(bool undisturbed) {
  ad_parameters *p = network_parameters(AD_F32);
  ad_dataset *data = network_data(AD_F32, EXAMPLES, 1), *validation = network_data(AD_F32, 20, 2);
  ad_training how = network_training();
  how.validation = validation;
  how.epochs = 30;
  how.patience = 30;
  how.checkpoint = undisturbed ? NULL : checkpoint;
  how.checkpoint_steps = 1;
  ad_trainer *t = ad_trainer_new(p, data, &how, NULL);
  ad_csv_log log = { .path = undisturbed ? want_log : log_file };
  if (!t || ad_trainer_watch(t, ad_csv_log_write, &log) != AD_OK) return 2;
  if (!undisturbed && ad_trainer_resume(t, checkpoint, NULL) != AD_OK) return 3;
  if (ad_trainer_run(t, NULL) != AD_OK) return 4;
  const ad_status status = ad_parameters_save(p, undisturbed ? want : result);
  ad_trainer_free(t);
  ad_dataset_free(validation);
  ad_dataset_free(data);
  ad_parameters_free(p);
  return status == AD_OK ? 0 : 5;
}

static pid_t start(bool undisturbed) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) _exit(train(undisturbed));
  return child;
}

static int wait_for(pid_t child) {
  int how = 0;
  while (waitpid(child, &how, 0) < 0 && errno == EINTR) continue;
  return how;
}

/* --- killing -------------------------------------------------------------------------------------------- */

static void pause_for(double seconds) {
  const time_t whole = (time_t)seconds;
  const struct timespec t = { whole, (long)(1e9*(seconds - (double)whole)) };
  nanosleep(&t, NULL);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

/* Whether the process was killed before its end. Any other end is that of the whole run. */
static bool kill_after(double seconds, bool *finished) {
  const pid_t child = start(false);
  if (!CHECK(child > 0)) return true;
  pause_for(seconds);
  kill(child, SIGKILL);
  const int how = wait_for(child);
  if (WIFSIGNALED(how)) return true;
  CHECK_THAT(WIFEXITED(how) && WEXITSTATUS(how) == 0, "a resumed run ended with %d", WEXITSTATUS(how));
  *finished = true;
  return false;
}

static bool same_parameters(void) {
  ad_parameters *a = ad_parameters_read(result, NULL, NULL), *b = ad_parameters_read(want, NULL, NULL);
  const bool same = a && b && same_bits(a, b);
  ad_parameters_free(a);
  ad_parameters_free(b);
  return same;
}

static bool same_text(void) {
  static char a[1 << 14], b[1 << 14];
  FILE *f = fopen(log_file, "rb"), *g = fopen(want_log, "rb");
  const size_t m = f ? fread(a, 1, sizeof a, f) : 0, n = g ? fread(b, 1, sizeof b, g) : 1;
  if (f) fclose(f);
  if (g) fclose(g);
  return m == n && !memcmp(a, b, n);
}

static void forget_files(void) {
  remove(checkpoint);
  remove(previous);
  remove(result);
  remove(log_file);
}

/* One run to its end, with at most `most` kills on the way; returns how many there were. */
static int killed_run(int most, double whole, uint64_t *state) {
  int kills = 0;
  bool finished = false;
  forget_files();
  while (!finished && kills < most && checks_failed == 0)
    kills += kill_after(check_uniform(state, 0.002, 0.3*whole), &finished);
  if (!finished) CHECK(wait_for(start(false)) == 0);
  CHECK_THAT(same_parameters() && same_text(), "after %d kills: other bits, or another log", kills);
  return kills;
}

int main(void) {
  const char *number = getenv("ADIT_KILLS");
  const int wanted = number ? atoi(number) : 6;
  uint64_t state = (uint64_t)(1e6*now());
  if (!(here = folder_make())) return 1;
  folder_file(here, "check.npz", checkpoint), folder_file(here, "check.npz.previous", previous);
  folder_file(here, "log.csv", log_file), folder_file(here, "want.csv", want_log);
  folder_file(here, "result.npz", result), folder_file(here, "want.npz", want);
  CHECK(wait_for(start(true)) == 0);
  const double began = now();
  forget_files();
  CHECK(wait_for(start(false)) == 0 && same_parameters() && same_text());
  const double whole = now() - began;
  int kills = 0, runs = 0;
  for (; kills < wanted && checks_failed == 0; runs++) kills += killed_run(wanted - kills, whole, &state);
  printf("%d kills in %d runs of %.2f s\n", kills, runs, whole);
  folder_remove(here);
  return check_summary();
}
