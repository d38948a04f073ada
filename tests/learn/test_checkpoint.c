/* test_checkpoint.c -- runs that are interrupted and resumed end with the bits of the undisturbed run;
 * checkpoints that are damaged, missing, or of something else. */
#define _DEFAULT_SOURCE
#include "folder.h"
#include "training.h"

#include "adit/npy.h"

#include <fcntl.h>
#include <unistd.h>

static const char *here;
static char path[FOLDER_PATH], previous[FOLDER_PATH + 10];

/* The library's renames come through here: how many went to the checkpoint, and how many of these found none
 * there, so that a process killed just before would have left none. */
static int renamed, without;

int rename(const char *from, const char *to) {
  renamed += !strcmp(to, path);
  without += !strcmp(to, path) && access(path, F_OK) != 0;
  return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* --- a run, and the same interrupted -------------------------------------------------------------------- */

typedef struct setup {
  ad_parameters *p;
  ad_dataset *data, *validation;
  ad_training how;
  ad_trainer *t;
  int64_t stop;                     /* after that many steps of this process */
} setup;

static bool stop_after(ad_trainer *t, const ad_train_event *e, void *context) {
  setup *s = context;
  (void)t;
  return e->moment != AD_AFTER_STEP || --s->stop != 0;
}

/* Which: 0 adam in f64, 1 adamw in f32 with everything on, 2 sgd in order, full batches. */
static void open_run(setup *s, int which, const char *checkpoint) {
  const ad_dtype dtype = which == 1 ? AD_F32 : AD_F64;
  *s = (setup){ .p = network_parameters(dtype), .data = network_data(dtype, EXAMPLES, 1),
                .validation = network_data(dtype, 20, 2), .how = network_training() };
  if (which == 1) {
    s->how.optimiser = ad_adamw(0.02, 0.01);
    s->how.optimiser.schedule = ad_schedule_warmup(3, ad_schedule_cosine(20, 0.1));
    s->how.validation = s->validation;
    s->how.patience = 2;
    s->how.improvement = 0.05;
    s->how.clip_norm = 1;
    s->how.epochs = 6;
  }
  if (which == 2) s->how.optimiser = ad_sgd(0.1), s->how.in_order = true, s->how.batch = 0, s->how.epochs = 9;
  s->how.checkpoint = checkpoint;
  ad_report report = { AD_OK, "" };
  s->t = ad_trainer_new(s->p, s->data, &s->how, &report);
  CHECK_THAT(s->t, "%s", report.message);
}

static void close_run(setup *s) {
  ad_trainer_free(s->t);
  ad_dataset_free(s->data);
  ad_dataset_free(s->validation);
  ad_parameters_free(s->p);
}

static void forget_files(void) {
  remove(path);
  remove(previous);
}

/* Interrupted after every `every` steps; a new trainer each time, as in a new process. */
static void test_interrupted(int which, int64_t every) {
  setup straight, s;
  ad_report report;
  open_run(&straight, which, NULL);
  CHECK_STATUS(ad_trainer_run(straight.t, &report), AD_OK);
  forget_files();
  for (bool done = false; !done; ) {
    open_run(&s, which, path);
    s.stop = every;
    ad_trainer_watch(s.t, stop_after, &s);
    CHECK_STATUS(ad_trainer_resume(s.t, path, &report), AD_OK);
    CHECK_STATUS(ad_trainer_run(s.t, &report), AD_OK);
    done = ad_trainer_finished(s.t) || checks_failed > 20;
    if (done)
      CHECK_THAT(same_bits(s.p, straight.p) && same_bits(ad_trainer_state(s.t), ad_trainer_state(straight.t))
                 && same_history(s.t, straight.t), "run %d, every %d steps: other bits", which, (int)every);
    close_run(&s);
  }
  close_run(&straight);
}

/* --- damage --------------------------------------------------------------------------------------------- */

typedef struct bytes { unsigned char *at; size_t count; } bytes;

static bytes read_all(const char *name) {
  bytes b = { malloc(1 << 20), 0 };
  FILE *f = fopen(name, "rb");
  if (CHECK(b.at && f)) b.count = fread(b.at, 1, 1 << 20, f);
  if (f) fclose(f);
  return b;
}

static void write_all(const char *name, const unsigned char *at, size_t count) {
  FILE *f = fopen(name, "wb");
  CHECK(f && fwrite(at, 1, count, f) == count && !fclose(f));
}

/* A damaged file is refused and nothing changes, or it says the very same (bytes that mean nothing). */
static void expect_refused_or_same(setup *s, const setup *whole, const ad_parameters *untouched,
                                   const char *what,
                                   size_t at, int *refused) {
  ad_report report;
  const ad_status status = ad_trainer_resume(s->t, path, &report);
  if (status == AD_OK) {
    CHECK_THAT(same_bits(s->p, whole->p) && same_history(s->t, whole->t), "%s %zu: read, but other bits",
               what, at);
    close_run(s);
    open_run(s, 0, NULL);
    return;
  }
  ++*refused;
  CHECK_THAT(same_bits(s->p, untouched) && ad_trainer_step(s->t) == 0 && strstr(report.message, "check.npz"),
             "%s %zu: %s", what, at, report.message);
}

static void test_damage(void) {
  setup whole, s;
  ad_parameters *untouched = network_parameters(AD_F64);
  int refused = 0, cut = 0;
  forget_files();
  open_run(&whole, 0, NULL);
  CHECK_STATUS(ad_trainer_run(whole.t, NULL), AD_OK);
  CHECK_STATUS(ad_trainer_save(whole.t, path, NULL), AD_OK);
  bytes good = read_all(path);
  open_run(&s, 0, NULL);
  for (size_t i = 0; i < good.count; i += 1 + i%7) {
    good.at[i] ^= 0x20;
    write_all(path, good.at, good.count);
    expect_refused_or_same(&s, &whole, untouched, "byte", i, &refused);
    good.at[i] ^= 0x20;
  }
  for (size_t n = 0; n < good.count; n += 37) {
    write_all(path, good.at, n);
    expect_refused_or_same(&s, &whole, untouched, "length", n, &cut);
  }
  CHECK_THAT(cut == (int)((good.count + 36)/37) && (size_t)refused > good.count/6,
             "%d cut, %d flipped of %zu", cut,
             refused, good.count);
  free(good.at);
  close_run(&s);
  close_run(&whole);
  ad_parameters_free(untouched);
}

static void test_previous(void) {
  setup whole, s;
  ad_report report;
  forget_files();
  open_run(&whole, 0, path);
  renamed = without = 0;
  CHECK_STATUS(ad_trainer_run(whole.t, NULL), AD_OK);
  CHECK_THAT(renamed > 1 && without == 1, "%d checkpoints, %d of them where none was", renamed, without);
  bytes newest = read_all(path);
  newest.at[newest.count/2] ^= 1;
  write_all(path, newest.at, newest.count);
  for (int missing = 0; missing < 2; missing++) {
    open_run(&s, 0, NULL);
    CHECK_STATUS(ad_trainer_resume(s.t, path, &report), AD_OK);
    CHECK_THAT(strstr(report.message, "resumed from the one before it"), "%s", report.message);
    CHECK(ad_trainer_epoch(s.t) == whole.how.epochs - 1);
    CHECK_STATUS(ad_trainer_run(s.t, NULL), AD_OK);
    CHECK(same_bits(s.p, whole.p) && same_history(s.t, whole.t));
    close_run(&s);
    remove(path);
  }
  free(newest.at);
  close_run(&whole);
}

/* --- checkpoints of something else ---------------------------------------------------------------------- */

static void expect_other(const setup *s, const char *says) {
  ad_report report;
  const int64_t step = ad_trainer_step(s->t);
  CHECK_STATUS(ad_trainer_resume(s->t, path, &report), AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(report.message, says) && ad_trainer_step(s->t) == step, "\"%s\" does not say \"%s\"",
             report.message, says);
}

static void expect_other_settings(ad_training how, const char *says) {
  setup s;
  open_run(&s, 0, NULL);
  ad_trainer_free(s.t);
  s.t = ad_trainer_new(s.p, s.data, &how, NULL);
  expect_other(&s, says);
  close_run(&s);
}

static void test_others(void) {
  setup s;
  forget_files();
  open_run(&s, 0, path);
  CHECK_STATUS(ad_trainer_run(s.t, NULL), AD_OK);
  close_run(&s);
  ad_training how = network_training();
  how.batch = 10;
  expect_other_settings(how, "the size of a batch is 8 there, 10 here");
  how = network_training(), how.seed = 12;
  expect_other_settings(how, "the seed is 11 there, 12 here");
  how = network_training(), how.drop_last = true;
  expect_other_settings(how, "the number of batches is 7 there, 6 here");
  how = network_training(), how.optimiser = ad_sgd_momentum(0.1, 0.9, false);
  expect_other_settings(how, "has no \"optimiser/momentum/0/weight\"");
  how = network_training(), how.optimiser = ad_sgd(0.1);
  expect_other_settings(how, "has \"optimiser/mean/0/weight\"");
  how = network_training(), how.patience = 3;
  expect_other_settings(how, "has no \"best/0/weight\"");
  open_run(&s, 1, NULL);
  s.how.seed = 11;
  expect_other(&s, "training/history");
  close_run(&s);
  const double one = 1;
  const ad_named_array array = { "x", AD_F64(), (void *)(uintptr_t)&one };
  CHECK_STATUS(ad_npz_save(path, 1, &array, NULL), AD_OK);
  open_run(&s, 0, NULL);
  expect_other(&s, "is no checkpoint");
  close_run(&s);
}

static void test_unwritable(void) {
  setup s;
  ad_report report;
  char missing[FOLDER_PATH];
  forget_files();
  open_run(&s, 0, NULL);
  CHECK_STATUS(ad_trainer_resume(s.t, path, &report), AD_OK);
  CHECK(strstr(report.message, "no checkpoint yet") && ad_trainer_step(s.t) == 0);
  CHECK_STATUS(ad_trainer_save(s.t, folder_file(here, "none/check.npz", missing), &report), AD_ERROR_IO);
  CHECK(strstr(report.message, "none/check.npz"));
  CHECK_STATUS(ad_trainer_save(s.t, path, &report), AD_OK);
  *(double *)ad_parameters_data(s.p, 2) = NAN;
  CHECK_STATUS(ad_trainer_save(s.t, path, &report), AD_ERROR_NUMERIC);
  CHECK(strstr(report.message, "\"1/weight\" is not finite"));
  CHECK_STATUS(ad_trainer_resume(s.t, path, &report), AD_OK);
  CHECK(isfinite(*(double *)ad_parameters_data(s.p, 2)));
  close_run(&s);
}

int main(void) {
  if (!(here = folder_make())) return 1;
  folder_file(here, "check.npz", path);
  snprintf(previous, sizeof previous, "%s.previous", path);
  for (int which = 0; which < 3; which++)
    for (int64_t every = 1; every < 12; every += every < 3 ? 1 : 4) test_interrupted(which, every);
  test_damage();
  test_previous();
  test_others();
  test_unwritable();
  folder_remove(here);
  return check_summary();
}
