/* train_step.c -- loss, gradient and update as one function, and its calls batch by batch. */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "learn/trainer.h"
#include "tape/tape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- tracing -------------------------------------------------------------------------------------------- */

typedef struct trace { ad_trainer *t; int64_t examples; bool training; } trace;

/* The number k of the loss as an f64 scalar. */
static ad_var number_of(ad_tape *tape, const ad_trainer *t, int k, ad_var x) {
  char text[192];
  const char *name = k ? t->how.metric[k - 1] : "loss";
  if (is_literal(x)) return k ? ad_constant(tape, AD_F64(), &(double){ literal_value(x) })
                              : ad_fail(tape, AD_ERROR_ARGUMENT, "the loss is a number, no variable");
  if (!ad_is_valid(x)) return ad_fail(tape, AD_ERROR_HANDLE, "\"%.60s\" was not recorded", name);
  const ad_type type = ad_type_of(x);
  if (type.rank) return ad_fail(tape, AD_ERROR_SHAPE, "\"%.60s\" is %s, no scalar", name,
                                ad_type_print(type, text, sizeof text));
  if (!k && type.dtype != AD_F32 && type.dtype != AD_F64)
    return ad_fail(tape, AD_ERROR_DTYPE, "the loss is %s, no float", ad_dtype_name(type.dtype));
  return type.dtype == AD_F64 ? x : ad_cast(x, AD_F64);
}

/* Records the loss; out[0 .. 1 + metrics) are f64, *loss is what it was recorded as. */
static bool record_loss(ad_tape *tape, const trace *c, const ad_var parameter[], ad_var key,
                        const ad_var data[], ad_var out[], ad_var *loss) {
  const ad_trainer *t = c->t;
  const ad_loss_inputs in = { parameter, data, c->examples, key, c->training };
  for (int k = 0; k < trainer_numbers(t); k++) out[k] = ad_none();
  t->how.loss(tape, &in, out, t->how.context);
  *loss = out[0];
  for (int k = 0; k < trainer_numbers(t) && ad_tape_status(tape) == AD_OK; k++)
    out[k] = number_of(tape, t, k, out[k]);
  return ad_tape_status(tape) == AD_OK;
}

static bool record_gradient(const ad_trainer *t, ad_var loss, int n, const ad_var parameter[], ad_var g[]) {
  ad_status status = ad_grad(loss, n, parameter, g);
  if (status == AD_OK && t->how.clip_norm > 0) status = ad_clip_by_norm(n, g, t->how.clip_norm, g);
  if (status == AD_OK && t->how.clip_value > 0) status = ad_clip_by_value(n, g, t->how.clip_value, g);
  return status == AD_OK;
}

static void step_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const trace *c = context;
  const ad_trainer *t = c->t;
  const int n = t->p->entries, m = t->state->entries;
  const size_t bytes = (size_t)n*sizeof(ad_var) + 1;
  ad_var loss, *g = memory_get(&t->a, bytes);
  for (int i = 0; i < n + m; i++) out[i] = ad_none();
  if (!g) {
    ad_fail(tape, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  if (record_loss(tape, c, in, in[n + m], in + n + m + 1, out + n + m, &loss)
      && record_gradient(t, loss, n, in, g))
    ad_optimiser_step(&t->how.optimiser, n, in, g, in + n, out, out + n);
  memory_release(&t->a, g, bytes);
}

static void judge_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const trace *c = context;
  const int n = c->t->p->entries;
  ad_var loss;
  record_loss(tape, c, in, in[n], in + n + 1, out, &loss);
}

static ad_status trace_function(const trace *c, const ad_dataset *d, batch_function *out, ad_report *report) {
  ad_trainer *t = c->t;
  const int n = t->p->entries, m = c->training ? t->state->entries : 0, k = ad_dataset_arrays(d);
  const size_t bytes = (size_t)(n + m + 1 + k)*sizeof(ad_type);
  ad_type *type = memory_get(&t->a, bytes);
  ad_report why = { AD_ERROR_MEMORY, "out of memory" };
  if (!type) return report_fail(report, AD_ERROR_MEMORY, "training: out of memory");
  for (int i = 0; i < n; i++) type[i] = t->p->type[i];
  for (int i = 0; i < m; i++) type[n + i] = t->state->type[i];
  type[n + m] = AD_I64();
  for (int i = 0; i < k; i++) type[n + m + 1 + i] = ad_dataset_batch_type(d, i, c->examples);
  out->f = ad_function_trace_with(&t->a, c->training ? "training_step" : "evaluation",
                                  c->training ? step_body : judge_body, (void *)(uintptr_t)c, n + m + 1 + k,
                                  type, (c->training ? n + m : 0) + trainer_numbers(t), &why);
  out->examples = c->examples;
  memory_release(&t->a, type, bytes);
  if (out->f) return AD_OK;
  return report_fail(report, why.status, "%s of %lld examples: %.190s",
                     c->training ? "a training step" : "the evaluation", (long long)c->examples, why.message);
}

ad_status trainer_trace_step(ad_trainer *t, int64_t examples, batch_function *out, ad_report *report) {
  return trace_function(&(trace){ t, examples, true }, t->data, out, report);
}

/* --- batches -------------------------------------------------------------------------------------------- */

/* Streams of keys that have nothing to do with each other. */
enum { STREAM_ORDER, STREAM_STEPS, STREAM_EVALUATION };

static int64_t key_of(const ad_trainer *t, uint64_t stream, int64_t counter) {
  const uint64_t key = ad_seed_fold(ad_seed_fold(t->how.seed, stream), (uint64_t)counter);
  int64_t same_bits;
  memcpy(&same_bits, &key, sizeof key);
  return same_bits;
}

static ad_status find_order(ad_trainer *t, int64_t epoch) {
  if (t->how.in_order || t->order_epoch == epoch) return AD_OK;
  t->order_epoch = epoch;
  return ad_random_fill_permutation(ad_seed_fold(t->how.seed, STREAM_ORDER), (uint64_t)epoch,
                                    t->data->examples, t->order);
}

/* The examples [first, first + count) of d where they are. */
static void point_at(const ad_dataset *d, int64_t first, const void *in[]) {
  for (int i = 0; i < d->arrays; i++) {
    const size_t bytes = d->examples ? ad_type_bytes(d->type[i])/(size_t)d->examples : 0;
    in[i] = (const char *)d->data[i] + (size_t)first*bytes;
  }
}

/* "step 17 (epoch 2, batch 3): text", counted from 1 */
static ad_status fail_step(const ad_trainer *t, ad_report *report, ad_status status, const char *text) {
  return report_fail(report, status, "step %lld (epoch %lld, batch %lld): %.180s", (long long)t->step + 1,
                     (long long)(t->step/t->batches) + 1, (long long)(t->step%t->batches) + 1,
                     *text ? text : ad_status_sentence(status));
}

static void add_numbers(const ad_trainer *t, epoch_sums *s, int64_t examples) {
  for (int k = 0; k < trainer_numbers(t); k++) s->sum[k] += t->number[k]*(double)examples;
  s->examples += examples;
}

ad_status trainer_make_step(ad_trainer *t, int64_t *examples, ad_report *report) {
  const int n = t->p->entries, m = t->state->entries;
  const int64_t epoch = t->step/t->batches, first = t->step%t->batches*t->batch;
  const batch_function *f = t->last.f && t->step%t->batches == t->batches - 1 ? &t->last : &t->whole;
  const int64_t key = key_of(t, STREAM_STEPS, t->step);
  ad_status status = find_order(t, epoch);
  for (int i = 0; i < n; i++) t->in[i] = t->out[i] = t->p->data[i];
  for (int i = 0; i < m; i++) t->in[n + i] = t->out[n + i] = t->state->data[i];
  t->in[n + m] = &key;
  for (int k = 0; k < trainer_numbers(t); k++) t->out[n + m + k] = &t->number[k];
  if (t->how.in_order) point_at(t->data, first, t->in + n + m + 1);
  else {
    for (int i = 0; i < t->data->arrays; i++) t->in[n + m + 1 + i] = t->arrays[i];
    if (status == AD_OK) status = ad_dataset_gather(t->data, f->examples, t->order + first, t->arrays);
  }
  if (status == AD_OK) status = ad_function_call(f->f, t->in, t->out, t->workspace);
  if (status != AD_OK) return fail_step(t, report, status, ad_workspace_message(t->workspace));
  if (!isfinite(t->number[0]) && !t->how.accept_nonfinite) {
    char text[40];
    snprintf(text, sizeof text, "the loss is %g", t->number[0]);
    return fail_step(t, report, AD_ERROR_NUMERIC, text);
  }
  add_numbers(t, &t->sums, f->examples);
  t->step++;
  *examples = f->examples;
  return AD_OK;
}

/* --- evaluation ----------------------------------------------------------------------------------------- */

static ad_status find_judge(ad_trainer *t, const ad_dataset *d, int slot, int64_t examples,
                            ad_report *report) {
  batch_function *f = &t->judge[slot];
  if (f->f && f->examples == examples) return AD_OK;
  ad_function_free(f->f);
  f->f = NULL;
  return trace_function(&(trace){ t, examples, false }, d, f, report);
}

static ad_status judge_batch(ad_trainer *t, const ad_dataset *d, const batch_function *f, int64_t first) {
  const int n = t->p->entries;
  const int64_t key = key_of(t, STREAM_EVALUATION, first);
  for (int i = 0; i < n; i++) t->in[i] = t->p->data[i];
  t->in[n] = &key;
  point_at(d, first, t->in + n + 1);
  for (int k = 0; k < trainer_numbers(t); k++) t->out[k] = &t->judged[k];
  return ad_function_call(f->f, t->in, t->out, t->workspace);
}

static ad_status check_arrays(const ad_trainer *t, const ad_dataset *d, ad_report *report) {
  char is[192], want[192];
  if (!d || d->arrays != t->data->arrays || d->examples == 0)
    return report_fail(report, AD_ERROR_ARGUMENT, "evaluation: %s", d && d->examples == 0 ? "no examples"
                       : "not as many arrays as the training data have");
  for (int i = 0; i < d->arrays; i++) {
    const ad_type a = ad_dataset_batch_type(d, i, 1), b = ad_dataset_batch_type(t->data, i, 1);
    if (!ad_type_equal(a, b))
      return report_fail(report, a.dtype == b.dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                         "evaluation: an example of array %d is %s, not %s", i,
                         ad_type_print(a, is, sizeof is), ad_type_print(b, want, sizeof want));
  }
  return AD_OK;
}

ad_status ad_trainer_evaluate(ad_trainer *t, const ad_dataset *d, double out[], ad_report *report) {
  if (!t || !out)
    return report_fail(report, AD_ERROR_ARGUMENT, "evaluation: no trainer, or nowhere to write");
  ad_status status = check_arrays(t, d, report);
  for (int k = 0; k < trainer_numbers(t); k++) out[k] = 0;
  for (int64_t first = 0; status == AD_OK && first < d->examples; first += t->batch) {
    const int64_t left = d->examples - first, count = left < t->batch ? left : t->batch;
    const int slot = count < t->batch;
    status = find_judge(t, d, slot, count, report);
    if (status != AD_OK) break;
    status = judge_batch(t, d, &t->judge[slot], first);
    if (status != AD_OK)
      report_fail(report, status, "evaluation, from example %lld on: %.180s", (long long)first + 1,
                  *ad_workspace_message(t->workspace) ? ad_workspace_message(t->workspace)
                                                      : ad_status_sentence(status));
    for (int k = 0; k < trainer_numbers(t); k++) out[k] += t->judged[k]*(double)count;
  }
  for (int k = 0; k < trainer_numbers(t) && status == AD_OK; k++) out[k] /= (double)d->examples;
  return status;
}
