/* adit/train.h -- training: steps of an optimiser over batches of data, watched, stopped early, kept in
 * files.
 *
 * The law. A trainer changes the parameters it was given in place, and the state of the optimiser, which it
 * owns; both, and the data, must outlive it and not be changed by others meanwhile. A step (loss, gradient,
 * clipping, update) is one function, traced once for each size of batch. Where a run stands is the number of
 * steps made: the order of the examples and the keys follow from it and the seed. So a run that was
 * interrupted at any time and resumed from its checkpoint ends with the bits of the undisturbed one, on the
 * same machine and library; the order of the examples is the same on any machine.
 *
 * A step that fails changes nothing: parameters, state and position are those before it (which is found by
 * computing again from a copy some steps back). What can fail returns a status; the report (may be NULL) says
 * what, and in which step. One thread uses a trainer at a time.
 */
#ifndef ADIT_TRAIN_H
#define ADIT_TRAIN_H

#include <stdio.h>

#include "data.h"
#include "optimisers.h"
#include "parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_trainer ad_trainer;

/* --- what is trained -------------------------------------------------------------------------------- */

/* What a loss is recorded from: parameter[i] is entry i of the parameters, data[j] the batch of array j of
 * the dataset, with a leading axis of `examples`. */
typedef struct ad_loss_inputs {
  const ad_var *parameter, *data;
  int64_t examples;
  ad_var key;                       /* adit/random.h: another one at each step */
  bool training;                    /* false: for evaluation (dropout is off) */
} ad_loss_inputs;

/* Records the loss of a batch, out[0], a float scalar, and the metrics, out[1 ..], scalars of any dtype:
 * means over the examples of the batch. */
typedef void ad_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context);

/* How to train; zeros and NULLs where nothing is said. Strings, context and validation must outlive the
 * trainer. */
typedef struct ad_training {
  ad_loss *loss;
  void *context;
  ad_optimiser optimiser;           /* its numbers are literals */
  double clip_norm, clip_value;     /* of gradients, the norm first; 0: not */
  int metrics;
  const char *const *metric;        /* their names */
  int64_t epochs;                   /* at least 1 */
  int64_t batch;                    /* examples in a batch; 0: all */
  bool drop_last;                   /* leave out a last batch that is smaller; otherwise it is one more */
  bool in_order;                    /* not shuffled anew in each epoch */
  uint64_t seed;                    /* of the order and of keys */
  const ad_dataset *validation;     /* evaluated after each epoch; NULL: none */
  /* Early stopping: ends after that many epochs (0: never) without a loss, of validation if there is one,
   * that is lower by more than `improvement` than the least so far. The parameters of the best epoch are
   * kept, and are the result of the run in this case and when the epochs are over. */
  int64_t patience;
  double improvement;
  /* The file for checkpoints, NULL: none. Written after each epoch and when a callback stops the run, and
   * after every checkpoint_steps steps (0: not). */
  const char *checkpoint;
  int64_t checkpoint_steps;
  bool accept_nonfinite;            /* a loss that is nan or infinite does not end the run */
} ad_training;

/* NULL on failure: options out of their range, no examples, types that the loss refuses (both functions of a
 * step, for whole batches and for a smaller last one, are traced here). Memory is that of p. */
AD_API ad_trainer *ad_trainer_new(ad_parameters *p, const ad_dataset *data, const ad_training *how,
                                  ad_report *report);
AD_API void ad_trainer_free(ad_trainer *t);              /* NULL is fine */

/* Trains until the epochs are over, early stopping ends it, or a callback does: AD_OK in all three cases. May
 * be called again, to go on. AD_ERROR_NUMERIC where a loss is not finite: the parameters are then those
 * before the first step that gave, or led to, something that is not. */
AD_API ad_status ad_trainer_run(ad_trainer *t, ad_report *report);
/* Means of loss and metrics over all examples of d, which has arrays as the data have: out[0 .. 1 +
 * metrics). */
AD_API ad_status ad_trainer_evaluate(ad_trainer *t, const ad_dataset *d, double out[], ad_report *report);

/* --- checkpoints ------------------------------------------------------------------------------------ */

/* Writes everything to path, a .npz archive that NumPy reads: aside, synchronised, renamed. What was at path
 * before is kept as "path.previous". A crash at any time leaves one of them whole. AD_ERROR_NUMERIC where a
 * parameter is not finite: the old file stays. */
AD_API ad_status ad_trainer_save(ad_trainer *t, const char *path, ad_report *report);
/* Reads everything back from path, or from "path.previous" where path is missing or damaged (the report has
 * AD_OK then, and its message says so). Where neither file is there it starts from the beginning: AD_OK, the
 * message says so. Otherwise, on failure, nothing is changed: AD_ERROR_IO for what is damaged,
 * AD_ERROR_ARGUMENT for a checkpoint of another model, data, batch or seed, with what differs. */
AD_API ad_status ad_trainer_resume(ad_trainer *t, const char *path, ad_report *report);

/* --- looking ---------------------------------------------------------------------------------------- */

AD_API int64_t ad_trainer_step(const ad_trainer *t);     /* steps made */
AD_API int64_t ad_trainer_epoch(const ad_trainer *t);    /* epochs completed */
AD_API bool ad_trainer_finished(const ad_trainer *t);    /* epochs over, or stopped early */
AD_API int64_t ad_trainer_best_epoch(const ad_trainer *t);       /* from 0; -1: none, or without patience */
/* The state of the optimiser; its entry "step" counts steps. Belongs to the trainer. */
AD_API const ad_parameters *ad_trainer_state(const ad_trainer *t);
/* One row for each epoch completed: means of the loss and metrics during the epoch, then, with validation,
 * those after it. Their names: "loss", metrics, "validation loss", "validation ..". NULL where c is out of
 * range. */
AD_API const double *ad_trainer_history(const ad_trainer *t, int64_t *rows, int *columns);
AD_API const char *ad_trainer_column(const ad_trainer *t, int c);
/* The history as csv, with a header and the epoch, from 1, in front; written as a whole or not at all. */
AD_API ad_status ad_trainer_write_history(const ad_trainer *t, const char *path, ad_report *report);
/* Its losses as a picture (adit/plot.h), with a logarithmic axis where all are positive. */
AD_API ad_status ad_trainer_plot(const ad_trainer *t, const char *path, ad_report *report);

/* --- callbacks -------------------------------------------------------------------------------------- */

typedef enum ad_train_moment { AD_AFTER_STEP, AD_AFTER_EPOCH, AD_AFTER_TRAINING } ad_train_moment;

typedef struct ad_train_event {
  ad_train_moment moment;
  int64_t epoch, epochs;            /* of this step or epoch, from 0; how many there will be at most */
  int64_t batch, batches;           /* of this step, from 0; how many an epoch has */
  int64_t step;                     /* steps made so far */
  int64_t examples;                 /* in this batch, or this epoch */
  /* After a step: its loss and metrics. Later: the last row of the history. */
  const double *value;
  int values;
  bool best;                        /* after an epoch: the best so far (with patience) */
} ad_train_event;

/* False ends the run after this event. A callback may look at everything, evaluate and save, but not run or
 * free the trainer. */
typedef bool ad_train_callback(ad_trainer *t, const ad_train_event *event, void *context);

/* Calls callback after each step, epoch and at the end, in the order in which they were added. */
AD_API ad_status ad_trainer_watch(ad_trainer *t, ad_train_callback *callback, void *context);

/* How far it is, written to an open file of the caller's: on a terminal a bar with rate and remaining time
 * that rewrites itself, elsewhere a line for each epoch, and every ten seconds. Set file, and the rest to
 * zeros; watch with ad_progress_show and the struct as context. Write errors of file are left for the caller
 * to find. */
typedef enum ad_progress_mode { AD_PROGRESS_AUTOMATIC, AD_PROGRESS_BAR, AD_PROGRESS_LINES } ad_progress_mode;
typedef struct ad_progress {
  FILE *file;
  ad_progress_mode mode;
  /* The library's own. */
  struct { double began, shown, epoch_began; int64_t first_step, examples; int width, state; } own;
} ad_progress;
AD_API bool ad_progress_show(ad_trainer *t, const ad_train_event *event, void *progress);

/* The history as csv, while it grows: a line is added to path after each epoch. The first event writes what
 * there is already, so that after a crash and a resume no line is missing or twice. An error ends the run;
 * see status. */
typedef struct ad_csv_log {
  const char *path;
  ad_status status;
  char message[256];
  int64_t own_rows;                 /* the library's own: 0 */
} ad_csv_log;
AD_API bool ad_csv_log_write(ad_trainer *t, const ad_train_event *event, void *log);

#ifdef __cplusplus
}
#endif
#endif
