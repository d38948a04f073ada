/* checkpoint_file.c -- checkpoints: where a run stands, in a .npz file, and the one before it.
 *
 *   model/NAME       the parameters            training/position   (POSITIONS), i64
 *   optimiser/NAME   the optimiser's state     training/sums       (1 + metrics), of the epoch so far
 *   best/NAME        of the best epoch         training/history    (epochs, columns)
 *                                              training/best_loss  a scalar
 *
 * The checksums of the archive tell of damage. */
#define _DEFAULT_SOURCE
#include "adit/npy.h"
#include "exchange/file.h"
#include "learn/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What training/position has. All up to SEED must be those of the trainer that reads it. */
enum { VERSION, EXAMPLES, BATCH, BATCHES, IN_ORDER, SEED, STEP, EPOCHS_DONE, SEEN, BEST_EPOCH, WAITED,
       POSITIONS };
static const char *const position_name[] = { "the format's version", "the number of examples",
                                             "the size of a batch",
                                             "the number of batches", "the order", "the seed" };

static void write_position(const ad_trainer *t, int64_t position[POSITIONS]) {
  memcpy(&position[SEED], &t->how.seed, sizeof t->how.seed);
  position[VERSION] = 1;
  position[EXAMPLES] = t->data->examples;
  position[BATCH] = t->batch;
  position[BATCHES] = t->batches;
  position[IN_ORDER] = t->how.in_order;
  position[STEP] = t->step;
  position[EPOCHS_DONE] = t->epochs_done;
  position[SEEN] = t->sums.examples;
  position[BEST_EPOCH] = t->best_epoch;
  position[WAITED] = t->waited;
}

/* --- the list of arrays --------------------------------------------------------------------------------- */

/* The arrays of a checkpoint and their names, which belong to the list. */
typedef struct checkpoint {
  const ad_allocator *a;
  ad_named_array *array;
  int count;
  size_t room;
  text_list names;
  int64_t position[POSITIONS];
  bool good;
} checkpoint;

static void add(checkpoint *c, const char *folder, const char *name, ad_type type, const void *data) {
  char full[512];
  const int n = snprintf(full, sizeof full, "%s/%s", folder, name);
  c->good = c->good && text_list_add(c->a, &c->names, full, (size_t)n);
  c->good = c->good && memory_reserve(c->a, &c->array, &c->room, (size_t)c->count + 1, sizeof *c->array);
  if (c->good) c->array[c->count++] = (ad_named_array){ NULL, type, (void *)(uintptr_t)data };
}

/* The entries of p; their data from block on where that is not NULL. */
static void add_all(checkpoint *c, const char *folder, const ad_parameters *p, const char *block) {
  for (int i = 0; i < p->entries; i++) {
    add(c, folder, p->entry[i].name, p->type[i], block ? block : p->data[i]);
    if (block) block += ad_type_bytes(p->type[i]);
  }
}

/* All arrays of t with `rows` rows of history. */
static void list_arrays(checkpoint *c, const ad_trainer *t, int64_t rows) {
  *c = (checkpoint){ .a = &t->a, .good = true };
  write_position(t, c->position);
  add(c, "training", "position", AD_I64(POSITIONS), c->position);
  add(c, "training", "sums", AD_F64(trainer_numbers(t)), t->sums.sum);
  add(c, "training", "history", AD_F64(rows, trainer_columns(t)), t->history);
  add(c, "training", "best_loss", AD_F64(), &t->best_loss);
  add_all(c, "model", t->p, NULL);
  add_all(c, "optimiser", t->state, NULL);
  if (t->best) add_all(c, "best", t->p, t->best);
  for (int i = 0; i < c->count && c->good; i++) c->array[i].name = c->names.text[i];
}

static void release(checkpoint *c) {
  memory_release(c->a, c->array, c->room*sizeof *c->array);
  text_list_free(c->a, &c->names);
}

/* --- writing -------------------------------------------------------------------------------------------- */

static bool add_suffix(char to[FILE_PATH], const char *path, const char *suffix) {
  return snprintf(to, FILE_PATH, "%s%s", path, suffix) < FILE_PATH;
}

/* The file at path gets a second name, so that there is a whole one under `path` at any moment; where the
 * file system has no second names, it is moved. */
static ad_status keep_previous(const char *path, const char *previous, ad_report *report) {
  if (unlink(previous) && errno != ENOENT)
    return report_fail(report, AD_ERROR_IO, "%.120s: cannot be replaced: %s", previous, strerror(errno));
  if (!link(path, previous) || errno == ENOENT || !rename(path, previous)) return AD_OK;
  return report_fail(report, AD_ERROR_IO, "%.120s: cannot be kept: %s", path, strerror(errno));
}

ad_status ad_trainer_save(ad_trainer *t, const char *path, ad_report *report) {
  char previous[FILE_PATH], next[FILE_PATH];
  checkpoint c;
  if (!t || !path || !add_suffix(previous, path, ".previous") || !add_suffix(next, path, ".next"))
    return report_fail(report, AD_ERROR_ARGUMENT, "checkpoint: no trainer, or no path, or a very long one");
  const int bad = t->how.accept_nonfinite ? -1 : trainer_nonfinite(t->p);
  if (bad >= 0) return report_fail(report, AD_ERROR_NUMERIC,
                                   "%.100s: not written: parameter \"%.60s\" is not finite",
                                   path, t->p->entry[bad].name);
  list_arrays(&c, t, t->epochs_done);
  ad_status status = c.good ? ad_npz_save(next, c.count, c.array, report)
                            : report_fail(report, AD_ERROR_MEMORY, "checkpoint: out of memory");
  release(&c);
  if (status == AD_OK) status = keep_previous(path, previous, report);
  if (status == AD_OK && rename(next, path))
    status = report_fail(report, AD_ERROR_IO, "%.120s: cannot be replaced: %s", path, strerror(errno));
  if (status == AD_OK) file_sync_name(path);
  return status;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static const ad_named_array *find(const ad_archive *from, const char *name) {
  const int k = ad_archive_find(from, name);
  return k < 0 ? NULL : &from->array[k];
}

/* Where the run stood, if its settings are those of t and the numbers make sense. */
static ad_status read_position(const ad_trainer *t, const ad_archive *from, int64_t position[POSITIONS],
                               const file_place *at) {
  int64_t mine[POSITIONS];
  const ad_named_array *x = find(from, "training/position");
  if (!x || !ad_type_equal(x->type, AD_I64(POSITIONS)))
    return file_fail(at, AD_ERROR_ARGUMENT, "is no checkpoint");
  memcpy(position, x->data, POSITIONS*sizeof *position);
  write_position(t, mine);
  for (int k = 0; k <= SEED; k++)
    if (position[k] != mine[k])
      return file_fail(at, AD_ERROR_ARGUMENT, "%s is %lld there, %lld here", position_name[k],
                       (long long)position[k], (long long)mine[k]);
  const int64_t step = position[STEP], epochs = position[EPOCHS_DONE], behind = step - epochs*t->batches;
  const bool good = epochs >= 0 && epochs <= step && behind >= 0 && behind <= t->batches
                    && position[BEST_EPOCH] >= -1 && position[BEST_EPOCH] < (epochs > 0 ? epochs : 1)
                    && position[WAITED] >= 0 && position[SEEN] >= 0;
  if (good) return AD_OK;
  return file_fail(at, AD_ERROR_IO, "says where the run stood, but not in a way that makes sense");
}

/* Every array of the list is in the archive, with its type. What else is there, is of another model. */
static ad_status compare(const checkpoint *c, const ad_archive *from, const file_place *at) {
  char is[192], want[192];
  for (int i = 0; i < c->count; i++) {
    const ad_named_array *x = find(from, c->array[i].name);
    if (!x) return file_fail(at, AD_ERROR_ARGUMENT, "has no \"%s\"", c->array[i].name);
    if (!ad_type_equal(x->type, c->array[i].type))
      return file_fail(at, AD_ERROR_ARGUMENT, "\"%.60s\" is %s, not %s", c->array[i].name,
                       ad_type_print(x->type, is, sizeof is),
                       ad_type_print(c->array[i].type, want, sizeof want));
  }
  for (int k = 0; k < from->count; k++)
    if (!strncmp(from->array[k].name, "model/", 6) || !strncmp(from->array[k].name, "optimiser/", 10)) {
      bool known = false;
      for (int i = 0; i < c->count && !known; i++) known = !strcmp(c->array[i].name, from->array[k].name);
      if (!known) return file_fail(at, AD_ERROR_ARGUMENT, "has \"%.60s\", which is not there here",
                                   from->array[k].name);
    }
  return AD_OK;
}

static void take_over(ad_trainer *t, const checkpoint *c, const ad_archive *from, const int64_t position[]) {
  for (int i = 1; i < c->count; i++) {
    const size_t bytes = ad_type_bytes(c->array[i].type);
    if (bytes) memcpy(c->array[i].data, find(from, c->array[i].name)->data, bytes);
  }
  t->step = position[STEP];
  t->epochs_done = position[EPOCHS_DONE];
  t->sums.examples = position[SEEN];
  t->best_epoch = position[BEST_EPOCH];
  t->waited = position[WAITED];
  t->copy_step = -1;
}

/* Changes t only after everything was found to fit. */
static ad_status load(ad_trainer *t, const char *path, ad_report *report) {
  const file_place at = { report, path, NULL };
  int64_t position[POSITIONS];
  ad_archive *from = ad_npz_load(path, &t->a, report);
  if (!from) return report->status;
  ad_status status = read_position(t, from, position, &at);
  const ad_named_array *history = find(from, "training/history");
  const int64_t rows = status == AD_OK && history ? history->type.dim[0] : 0;
  if (status == AD_OK && rows != position[EPOCHS_DONE])
    status = file_fail(&at, AD_ERROR_IO, "has %lld rows of history for %lld epochs", (long long)rows,
                       (long long)position[EPOCHS_DONE]);
  if (status == AD_OK && !memory_reserve(&t->a, &t->history, &t->history_room,
                                         (size_t)rows*(size_t)trainer_columns(t) + 1, sizeof *t->history))
    status = file_fail(&at, AD_ERROR_MEMORY, "out of memory");
  if (status == AD_OK) {
    checkpoint c;
    list_arrays(&c, t, rows);
    status = c.good ? compare(&c, from, &at) : file_fail(&at, AD_ERROR_MEMORY, "out of memory");
    if (status == AD_OK) take_over(t, &c, from, position);
    release(&c);
  }
  ad_archive_free(from);
  return status;
}

static bool exists(const char *path) { return access(path, F_OK) == 0 || errno != ENOENT; }

/* The message of why the newest one was not taken stays, with status AD_OK. */
static ad_status load_previous(ad_trainer *t, const char *path, ad_report *report) {
  ad_report second = { AD_OK, "" };
  const ad_status status = load(t, path, &second);
  if (status != AD_OK) return report->status;
  const size_t used = strlen(report->message);
  snprintf(report->message + used, sizeof report->message - used, "; resumed from the one before it");
  return report->status = AD_OK;
}

ad_status ad_trainer_resume(ad_trainer *t, const char *path, ad_report *report) {
  ad_report own;
  char previous[FILE_PATH];
  if (!report) report = &own;
  *report = (ad_report){ AD_OK, "" };
  if (!t || !path || !add_suffix(previous, path, ".previous"))
    return report_fail(report, AD_ERROR_ARGUMENT, "checkpoint: no trainer, or no path, or a very long one");
  if (!exists(path) && !exists(previous)) {
    snprintf(report->message, sizeof report->message, "%.160s: there is no checkpoint yet", path);
    return AD_OK;
  }
  const ad_status status = load(t, path, report);
  return status == AD_ERROR_IO && exists(previous) ? load_previous(t, previous, report) : status;
}
