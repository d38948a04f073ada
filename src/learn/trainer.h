/* trainer.h -- the inside of an ad_trainer. */
#ifndef ADIT_LEARN_TRAINER_H
#define ADIT_LEARN_TRAINER_H

#include "adit/train.h"
#include "learn/dataset.h"
#include "learn/parameters.h"

/* A function of (parameters, state, key, batch) -> (parameters, state, loss, metrics), or, to evaluate, of
 * (parameters, key, batch) -> (loss, metrics), for batches of one size; the numbers come out as f64. */
typedef struct batch_function {
  ad_function *f;
  int64_t examples;
} batch_function;

typedef struct watcher { ad_train_callback *callback; void *context; } watcher;

/* Sums over the examples seen in the epoch so far: [1 + metrics], and how many there were. */
typedef struct epoch_sums { double *sum; int64_t examples; } epoch_sums;

struct ad_trainer {
  ad_allocator a;
  ad_training how;
  ad_parameters *p, *state;
  const ad_dataset *data;
  ad_workspace *workspace;
  int64_t batch, batches;           /* examples in a whole one; batches in an epoch */
  batch_function whole, last;       /* steps; last.f NULL: all batches are whole */
  batch_function judge[2];          /* to evaluate: the sizes used last */
  void **arrays;                    /* where batches are gathered, one for each array of the data */
  size_t array_room;
  const void **in;
  void **out;                       /* of a call */
  size_t pointers;
  double *number, *judged;          /* what a step, or an evaluation, gives: loss, metrics */

  /* Where the run stands. */
  int64_t step, epochs_done;
  epoch_sums sums;
  int64_t *order, order_epoch;      /* of the examples in that epoch; -1: none yet */
  double *history;                  /* (epochs_done, columns) */
  size_t history_room;
  double best_loss;
  int64_t best_epoch, waited;
  char *best;                       /* parameters of that epoch, one after the other; NULL: not kept */

  /* A copy from which a step that failed is undone: parameters, state, sums. Of the same epoch always. */
  char *copy;
  epoch_sums copy_sums;
  int64_t copy_step;

  watcher *watchers;
  size_t watcher_room;
  int watcher_count;
  text_list columns;
};

static inline int trainer_numbers(const ad_trainer *t) { return 1 + t->how.metrics; }
static inline int trainer_columns(const ad_trainer *t) {
  return trainer_numbers(t)*(t->how.validation ? 2 : 1);
}
static inline size_t trainer_bytes(const ad_parameters *p) {
  size_t bytes = 0;
  for (int i = 0; i < p->entries; i++) bytes += ad_type_bytes(p->type[i]);
  return bytes;
}

/* All entries from or to one block; returns what follows in it. */
char *trainer_pack(const ad_parameters *p, char *to);
const char *trainer_unpack(ad_parameters *p, const char *from);
/* The first entry that has a nan or an infinity, -1 if none has. */
int trainer_nonfinite(const ad_parameters *p);

/* train_step.c: tracing and running. */
ad_status trainer_trace_step(ad_trainer *t, int64_t examples, batch_function *out, ad_report *report);
/* Makes step t->step, and adds to the sums; the numbers of the batch are in t->number, *examples is its size.
 * AD_ERROR_NUMERIC for a loss that is not finite. On failure parameters and state may be anything. */
ad_status trainer_make_step(ad_trainer *t, int64_t *examples, ad_report *report);

#endif
