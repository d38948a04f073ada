/* trainer.c -- making trainers and looking at them. */
#include "learn/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- options -------------------------------------------------------------------------------------------- */

/* NULL, or what is wrong with them. */
static const char *fault(const ad_parameters *p, const ad_dataset *data, const ad_training *how) {
  if (!p || !data || !how) return "no parameters, no data, or no options";
  if (!how->loss) return "no loss";
  if (p->entries == 0) return "there are no parameters";
  if (p->report.status != AD_OK) return p->report.message;
  if (data->examples == 0) return "the data have no examples";
  if (how->epochs < 1) return "at least one epoch is needed";
  if (how->batch < 0) return "a batch has at least one example";
  if (how->drop_last && how->batch > data->examples) return "no batch is whole, and the last is dropped";
  if (how->metrics < 0 || (how->metrics && !how->metric)) return "metrics need names";
  if (how->patience < 0 || !(how->improvement >= 0)) return "patience and improvement are not negative";
  if (!(how->clip_norm >= 0 && how->clip_value >= 0)) return "limits of gradients are not negative";
  if (how->checkpoint_steps < 0) return "steps between checkpoints are not negative";
  return NULL;
}

static ad_status check_parameters(const ad_parameters *p, ad_report *report) {
  char text[192];
  for (int i = 0; i < p->entries; i++)
    if (p->type[i].dtype != AD_F32 && p->type[i].dtype != AD_F64)
      return report_fail(report, AD_ERROR_DTYPE, "training: parameter \"%.60s\" is %s, no float",
                         p->entry[i].name, ad_type_print(p->type[i], text, sizeof text));
  return AD_OK;
}

static void set_batches(ad_trainer *t) {
  const int64_t n = t->data->examples, batch = t->how.batch;
  t->batch = batch && batch < n ? batch : n;
  t->batches = n/t->batch + (!t->how.drop_last && n%t->batch);
}

/* --- memory --------------------------------------------------------------------------------------------- */

static size_t kept_bytes(const ad_trainer *t) { return trainer_bytes(t->p) + trainer_bytes(t->state) + 1; }

static bool add_columns(ad_trainer *t) {
  char name[256];
  for (int part = 0; part < 1 + (t->how.validation != NULL); part++)
    for (int k = 0; k < trainer_numbers(t); k++) {
      const int n = snprintf(name, sizeof name, "%s%.200s", part ? "validation " : "",
                             k ? t->how.metric[k - 1] : "loss");
      if (!text_list_add(&t->a, &t->columns, name, (size_t)n)) return false;
    }
  return true;
}

static bool make_batch_arrays(ad_trainer *t) {
  if (t->how.in_order) return true;
  t->order = memory_get(&t->a, (size_t)t->data->examples*sizeof *t->order);
  t->arrays = memory_get_zeroed(&t->a, (size_t)t->data->arrays, sizeof *t->arrays);
  for (int i = 0; t->arrays && i < t->data->arrays; i++) {
    t->arrays[i] = memory_get(&t->a, ad_type_bytes(ad_dataset_batch_type(t->data, i, t->batch)) + 64);
    if (!t->arrays[i]) return false;
  }
  return t->order && t->arrays;
}

static bool make_memory(ad_trainer *t) {
  const size_t numbers = (size_t)trainer_numbers(t),
               entries = (size_t)t->p->entries + (size_t)t->state->entries;
  t->pointers = entries + numbers + (size_t)t->data->arrays + 1;
  t->in = memory_get_zeroed(&t->a, t->pointers, sizeof *t->in);
  t->out = memory_get_zeroed(&t->a, t->pointers, sizeof *t->out);
  t->number = memory_get_zeroed(&t->a, 4*numbers, sizeof *t->number);
  t->copy = memory_get(&t->a, kept_bytes(t));
  t->workspace = ad_workspace_new();
  if (t->how.patience) t->best = memory_get_zeroed(&t->a, trainer_bytes(t->p) + 1, 1);
  if (!t->in || !t->out || !t->number || !t->copy || !t->workspace || (t->how.patience && !t->best))
    return false;
  t->sums.sum = t->number + numbers;
  t->copy_sums.sum = t->sums.sum + numbers;
  t->judged = t->copy_sums.sum + numbers;
  return make_batch_arrays(t) && add_columns(t);
}

void ad_trainer_free(ad_trainer *t) {
  if (!t) return;
  const ad_allocator a = t->a;
  for (int i = 0; t->arrays && i < t->data->arrays; i++)
    memory_release(&a, t->arrays[i], ad_type_bytes(ad_dataset_batch_type(t->data, i, t->batch)) + 64);
  if (t->arrays) memory_release(&a, t->arrays, (size_t)t->data->arrays*sizeof *t->arrays);
  if (t->order) memory_release(&a, t->order, (size_t)t->data->examples*sizeof *t->order);
  memory_release(&a, t->in, t->pointers*sizeof *t->in);
  memory_release(&a, t->out, t->pointers*sizeof *t->out);
  memory_release(&a, t->number, 4*(size_t)trainer_numbers(t)*sizeof *t->number);
  if (t->copy) memory_release(&a, t->copy, kept_bytes(t));
  if (t->best) memory_release(&a, t->best, trainer_bytes(t->p) + 1);
  memory_release(&a, t->history, t->history_room*sizeof *t->history);
  memory_release(&a, t->watchers, t->watcher_room*sizeof *t->watchers);
  text_list_free(&a, &t->columns);
  ad_workspace_free(t->workspace);
  ad_function_free(t->whole.f);
  ad_function_free(t->last.f);
  for (int k = 0; k < 2; k++) ad_function_free(t->judge[k].f);
  ad_parameters_free(t->state);
  memory_release(&a, t, sizeof *t);
}

/* --- making --------------------------------------------------------------------------------------------- */

static ad_status trace_steps(ad_trainer *t, ad_report *report) {
  const int64_t rest = t->data->examples%t->batch;
  ad_status status = trainer_trace_step(t, t->batch, &t->whole, report);
  if (status == AD_OK && rest && !t->how.drop_last) status = trainer_trace_step(t, rest, &t->last, report);
  return status;
}

ad_trainer *ad_trainer_new(ad_parameters *p, const ad_dataset *data, const ad_training *how,
                           ad_report *report) {
  const char *wrong = fault(p, data, how);
  if (wrong) {
    report_fail(report, AD_ERROR_ARGUMENT, "training: %s", wrong);
    return NULL;
  }
  if (check_parameters(p, report) != AD_OK) return NULL;
  ad_trainer *t = memory_get_zeroed(&p->allocator, 1, sizeof *t);
  if (t) {
    *t = (ad_trainer){ .a = p->allocator, .how = *how, .p = p, .data = data, .order_epoch = -1,
                       .best_epoch = -1, .best_loss = INFINITY, .copy_step = -1 };
    set_batches(t);
    t->state = ad_optimiser_state(&how->optimiser, p);
  }
  if (!t || !t->state || !make_memory(t))
    report_fail(report, AD_ERROR_MEMORY, "training: out of memory, or a parameter's name is too long");
  else if (trace_steps(t, report) == AD_OK) return t;
  ad_trainer_free(t);
  return NULL;
}

ad_status ad_trainer_watch(ad_trainer *t, ad_train_callback *callback, void *context) {
  if (!t || !callback) return AD_ERROR_ARGUMENT;
  const size_t need = (size_t)t->watcher_count + 1;
  if (!memory_reserve(&t->a, &t->watchers, &t->watcher_room, need, sizeof *t->watchers))
    return AD_ERROR_MEMORY;
  t->watchers[t->watcher_count++] = (watcher){ callback, context };
  return AD_OK;
}

/* --- looking -------------------------------------------------------------------------------------------- */

int64_t ad_trainer_step(const ad_trainer *t) { return t ? t->step : 0; }
int64_t ad_trainer_epoch(const ad_trainer *t) { return t ? t->epochs_done : 0; }
int64_t ad_trainer_best_epoch(const ad_trainer *t) { return t ? t->best_epoch : -1; }
const ad_parameters *ad_trainer_state(const ad_trainer *t) { return t ? t->state : NULL; }

bool ad_trainer_finished(const ad_trainer *t) {
  if (!t) return false;
  return t->epochs_done >= t->how.epochs || (t->how.patience && t->waited >= t->how.patience);
}

const double *ad_trainer_history(const ad_trainer *t, int64_t *rows, int *columns) {
  if (rows) *rows = t ? t->epochs_done : 0;
  if (columns) *columns = t ? trainer_columns(t) : 0;
  return t ? t->history : NULL;
}

const char *ad_trainer_column(const ad_trainer *t, int c) {
  return t && c >= 0 && c < t->columns.count ? t->columns.text[c] : NULL;
}

/* --- all parameters at once ----------------------------------------------------------------------------- */

char *trainer_pack(const ad_parameters *p, char *to) {
  for (int i = 0; i < p->entries; to += ad_type_bytes(p->type[i]), i++)
    memcpy(to, p->data[i], ad_type_bytes(p->type[i]));
  return to;
}

const char *trainer_unpack(ad_parameters *p, const char *from) {
  for (int i = 0; i < p->entries; from += ad_type_bytes(p->type[i]), i++)
    memcpy(p->data[i], from, ad_type_bytes(p->type[i]));
  return from;
}

/* x - x is 0 for finite x only; the sum of zeros tells of all. */
int trainer_nonfinite(const ad_parameters *p) {
  for (int i = 0; i < p->entries; i++) {
    const int64_t count = ad_type_count(p->type[i]);
    const float *narrow = p->data[i];
    const double *wide = p->data[i];
    double sum = 0;
    if (p->type[i].dtype == AD_F32)
      for (int64_t k = 0; k < count; k++) sum += (double)(narrow[k] - narrow[k]);
    else if (p->type[i].dtype == AD_F64)
      for (int64_t k = 0; k < count; k++) sum += wide[k] - wide[k];
    if (sum != 0) return i;
  }
  return -1;
}
