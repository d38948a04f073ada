/* loop.c -- a run: steps, ends of epochs, early stopping, and going back over a step that failed. */
#include "learn/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* How many steps are computed again at most to undo one. */
enum { COPY_STEPS = 100 };

/* --- undoing -------------------------------------------------------------------------------------------- */

static void copy_sums(const ad_trainer *t, epoch_sums *to, const epoch_sums *from) {
  memcpy(to->sum, from->sum, (size_t)trainer_numbers(t)*sizeof *to->sum);
  to->examples = from->examples;
}

static void keep_copy(ad_trainer *t) {
  trainer_pack(t->state, trainer_pack(t->p, t->copy));
  copy_sums(t, &t->copy_sums, &t->sums);
  t->copy_step = t->step;
}

/* Computes the state at step `to` again, or at the first step before that fails or makes a parameter
 * something that is not finite: each round goes less far. */
static void go_back(ad_trainer *t, int64_t to) {
  for (bool again = t->copy_step >= 0; again; ) {
    int64_t examples;
    again = false;
    trainer_unpack(t->state, trainer_unpack(t->p, t->copy));
    copy_sums(t, &t->sums, &t->copy_sums);
    t->step = t->copy_step;
    while (t->step < to && !again) {
      const int64_t here = t->step;
      again = trainer_make_step(t, &examples, NULL) != AD_OK
              || (!t->how.accept_nonfinite && trainer_nonfinite(t->p) >= 0);
      if (again) to = here;
    }
  }
}

/* A gradient that is not finite shows in the parameters, and only later in the loss. */
static ad_status check_finite(ad_trainer *t, ad_report *report) {
  const int bad = t->how.accept_nonfinite ? -1 : trainer_nonfinite(t->p);
  if (bad < 0) return AD_OK;
  go_back(t, t->step);
  return report_fail(report, AD_ERROR_NUMERIC,
                     "step %lld (epoch %lld, batch %lld): parameter \"%.60s\" is not finite after it",
                     (long long)t->step + 1, (long long)(t->step/t->batches) + 1,
                     (long long)(t->step%t->batches) + 1, t->p->entry[bad].name);
}

/* Copies are made at the beginning of every epoch, so that no end of an epoch is between the copy and a
 * step. */
static ad_status keep_copy_if_due(ad_trainer *t, ad_report *report) {
  if (t->copy_step >= 0 && t->step - t->copy_step < COPY_STEPS) return AD_OK;
  const ad_status status = check_finite(t, report);
  if (status == AD_OK) keep_copy(t);
  return status;
}

/* --- events --------------------------------------------------------------------------------------------- */

static bool tell(ad_trainer *t, const ad_train_event *event) {
  bool goes_on = true;
  for (int i = 0; i < t->watcher_count; i++)
    if (!t->watchers[i].callback(t, event, t->watchers[i].context)) goes_on = false;
  return goes_on;
}

static const double *last_row(const ad_trainer *t) {
  return t->epochs_done ? t->history + (size_t)(t->epochs_done - 1)*(size_t)trainer_columns(t) : NULL;
}

static ad_train_event event_of(const ad_trainer *t, ad_train_moment moment) {
  return (ad_train_event){ .moment = moment, .epochs = t->how.epochs, .batches = t->batches, .step = t->step,
                           .epoch = t->epochs_done ? t->epochs_done - 1 : 0, .batch = t->batches - 1,
                           .value = last_row(t), .values = t->epochs_done ? trainer_columns(t) : 0 };
}

/* --- one step ------------------------------------------------------------------------------------------- */

static ad_status save_if(ad_trainer *t, bool due, ad_report *report) {
  return due && t->how.checkpoint ? ad_trainer_save(t, t->how.checkpoint, report) : AD_OK;
}

/* Where the run stands after an error that an earlier step has led to. */
static void add_place(const ad_trainer *t, ad_report *report) {
  const size_t used = strlen(report->message);
  snprintf(report->message + used, sizeof report->message - used,
           "; the parameters are those before step %lld",
           (long long)t->step + 1);
}

static ad_status make_step(ad_trainer *t, bool *goes_on, ad_report *report) {
  const int64_t step = t->step, every = t->how.checkpoint_steps;
  int64_t examples = 0;
  ad_status status = keep_copy_if_due(t, report);
  if (status != AD_OK) return status;
  status = trainer_make_step(t, &examples, report);
  if (status != AD_OK) {
    go_back(t, step);
    if (t->step < step) add_place(t, report);
    return status;
  }
  status = save_if(t, every && t->step%every == 0 && t->step%t->batches, report);
  ad_train_event event = event_of(t, AD_AFTER_STEP);
  event.epoch = step/t->batches, event.batch = step%t->batches;
  event.examples = examples;
  event.value = t->number, event.values = trainer_numbers(t);
  if (!tell(t, &event)) *goes_on = false;
  return status;
}

/* --- the end of an epoch -------------------------------------------------------------------------------- */

static bool epoch_ends(const ad_trainer *t) { return t->step/t->batches > t->epochs_done; }

/* The row of the epoch, not yet counted: it is complete before anything changes. */
static ad_status write_row(ad_trainer *t, double **row, ad_report *report) {
  const size_t columns = (size_t)trainer_columns(t), done = (size_t)t->epochs_done;
  if (!memory_reserve(&t->a, &t->history, &t->history_room, (done + 1)*columns, sizeof *t->history))
    return report_fail(report, AD_ERROR_MEMORY, "training: out of memory");
  *row = t->history + done*columns;
  for (int k = 0; k < trainer_numbers(t); k++) (*row)[k] = t->sums.sum[k]/(double)t->sums.examples;
  if (!t->how.validation) return AD_OK;
  return ad_trainer_evaluate(t, t->how.validation, *row + trainer_numbers(t), report);
}

/* Whether this epoch is the best one; its parameters are kept then. */
static bool judge(ad_trainer *t, const double *row) {
  const double loss = row[t->how.validation ? trainer_numbers(t) : 0];
  if (!t->how.patience) return false;
  const bool better = loss < t->best_loss - t->how.improvement || (t->best_epoch < 0 && !isnan(loss));
  if (!better) {
    t->waited++;
    return false;
  }
  trainer_pack(t->p, t->best);
  t->best_loss = loss;
  t->best_epoch = t->epochs_done;
  t->waited = 0;
  return true;
}

static ad_status end_epoch(ad_trainer *t, bool *goes_on, ad_report *report) {
  double *row = NULL;
  ad_status status = check_finite(t, report);
  if (status == AD_OK) status = write_row(t, &row, report);
  if (status != AD_OK) return status;
  const bool best = judge(t, row);
  const int64_t examples = t->sums.examples;
  t->epochs_done++;
  memset(t->sums.sum, 0, (size_t)trainer_numbers(t)*sizeof *t->sums.sum);
  t->sums.examples = 0;
  t->copy_step = -1;
  status = save_if(t, true, report);
  ad_train_event event = event_of(t, AD_AFTER_EPOCH);
  event.examples = examples;
  event.best = best;
  if (!tell(t, &event)) *goes_on = false;
  return status;
}

/* --- a run ---------------------------------------------------------------------------------------------- */

static void finish(ad_trainer *t) {
  if (t->best && t->best_epoch >= 0) trainer_unpack(t->p, t->best);
}

ad_status ad_trainer_run(ad_trainer *t, ad_report *report) {
  ad_report own;
  ad_status status = AD_OK;
  bool goes_on = true, stopped = false;
  if (!report) report = &own;
  *report = (ad_report){ AD_OK, "" };
  if (!t) return report_fail(report, AD_ERROR_ARGUMENT, "training: no trainer");
  t->copy_step = -1;
  while (goes_on && status == AD_OK && (epoch_ends(t) || !ad_trainer_finished(t))) {
    if (epoch_ends(t)) status = end_epoch(t, &goes_on, report);
    else status = make_step(t, &goes_on, report);
    stopped = !goes_on && (epoch_ends(t) || t->step%t->batches);
  }
  if (status == AD_OK && stopped) status = save_if(t, true, report);
  if (status == AD_OK && !epoch_ends(t) && ad_trainer_finished(t)) {
    finish(t);
    const ad_train_event event = event_of(t, AD_AFTER_TRAINING);
    tell(t, &event);
  }
  return status;
}
