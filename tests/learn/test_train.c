/* test_train.c -- a run against the same run by hand, batches, early stopping, steps that fail, logs and
 * pictures. */
#define _DEFAULT_SOURCE
#include "folder.h"
#include "training.h"

#include "adit/derive.h"
#include "adit/losses.h"
#include "adit/plot.h"
#include "adit/primitive.h"

static const char *here;
static char path[2][FOLDER_PATH];

static const char *file_named(int which, const char *name) { return folder_file(here, name, path[which]); }

/* --- the same by hand ----------------------------------------------------------------------------------- */

/* sgd on the mean of (w x - y)^2: w -= rate 2 mean((w x - y) x). */
static void line_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  (void)tape, (void)context;
  const ad_var error = ad_sub(ad_mul(in->parameter[0], in->data[0]), in->data[1]);
  out[0] = ad_mean(ad_square(error), AD_ALL_AXES, false);
}

typedef struct seen { int64_t steps, epochs, ends, examples; double last_loss; } seen;

static bool count(ad_trainer *t, const ad_train_event *e, void *context) {
  seen *s = context;
  CHECK(e->step == ad_trainer_step(t));
  if (e->moment == AD_AFTER_STEP) {
    s->steps++, s->examples += e->examples;
    s->last_loss = e->value[0];
    CHECK(e->step == e->epoch*e->batches + e->batch + 1);
  } else if (e->moment == AD_AFTER_EPOCH) s->epochs++;
  else s->ends++;
  return true;
}

enum { POINTS = 7 };

/* The steps of two epochs in C, on batches of 3, 3 and 1, or on whole ones alone. */
static double by_hand(int64_t order[2][POINTS], const double x[], const double y[], bool drop,
                      double mean[2]) {
  double w = 0.5;
  for (int epoch = 0; epoch < 2; epoch++) {
    double sum = 0;
    const int last = drop ? 6 : POINTS;
    for (int first = 0; first < last; first += 3) {
      const int n = POINTS - first < 3 ? POINTS - first : 3;
      double loss = 0, slope = 0;
      for (int i = first; i < first + n; i++) {
        const double error = w*x[order[epoch][i]] - y[order[epoch][i]];
        loss += error*error/n, slope += 2*error*x[order[epoch][i]]/n;
      }
      sum += loss*n;
      w -= 0.1*slope;
    }
    mean[epoch] = sum/last;
  }
  return w;
}

static void test_by_hand(bool in_order, bool drop) {
  double x[POINTS], y[POINTS], mean[2];
  int64_t order[2][POINTS], rows;
  int columns;
  const ad_type type[2] = { AD_F64(POINTS), AD_F64(POINTS) };
  for (int i = 0; i < POINTS; i++) x[i] = 0.3*i - 1, y[i] = 2*x[i] + 0.01*i*i;
  ad_parameters *p = ad_parameters_new();
  ad_parameters_add(p, "w", AD_F64(), ad_init_constant(0.5));
  ad_parameters_initialise(p, 0);
  ad_dataset *d = ad_dataset_new(2, type, (const void *[]){ x, y }, NULL, NULL);
  const ad_training how = { .loss = line_loss, .optimiser = ad_sgd(0.1), .epochs = 2, .batch = 3, .seed = 3,
                            .in_order = in_order, .drop_last = drop };
  ad_report report = { AD_OK, "" };
  ad_trainer *t = ad_trainer_new(p, d, &how, &report);
  if (!CHECK_THAT(t, "%s", report.message)) return;
  for (int epoch = 0; epoch < 2; epoch++) {
    ad_random_fill_permutation(ad_seed_fold(3, 0), (uint64_t)epoch, POINTS, order[epoch]);
    for (int i = 0; i < POINTS && in_order; i++) order[epoch][i] = i;
  }
  seen s = { 0 };
  CHECK_STATUS(ad_trainer_watch(t, count, &s), AD_OK);
  CHECK_STATUS(ad_trainer_run(t, &report), AD_OK);
  const double w = by_hand(order, x, y, drop, mean), *history = ad_trainer_history(t, &rows, &columns);
  CHECK_NUMBER(*(double *)ad_parameters_data(p, 0), w, 1e-14);
  CHECK(rows == 2 && columns == 1 && !strcmp(ad_trainer_column(t, 0), "loss") && !ad_trainer_column(t, 1));
  for (int epoch = 0; epoch < 2; epoch++) CHECK_NUMBER(history[epoch], mean[epoch], 1e-14);
  CHECK(s.steps == (drop ? 4 : 6) && s.epochs == 2 && s.ends == 1 && s.examples == (drop ? 12 : 14));
  CHECK(*(int64_t *)ad_parameters_data(ad_trainer_state(t), 0) == s.steps && ad_trainer_finished(t));
  ad_trainer_free(t);
  ad_dataset_free(d);
  ad_parameters_free(p);
}

/* --- learning, evaluation, early stopping --------------------------------------------------------------- */

/* An evaluation in a callback leaves the event alone. */
static bool evaluate_inside(ad_trainer *t, const ad_train_event *e, void *context) {
  double out[2];
  const double before = e->value[0];
  CHECK(ad_trainer_evaluate(t, context, out, NULL) == AD_OK && e->value[0] == before && out[0] != before);
  return e->moment != AD_AFTER_STEP || e->step%10;
}

static void test_callback(void) {
  ad_parameters *p = network_parameters(AD_F64), *q = network_parameters(AD_F64);
  ad_dataset *d = network_data(AD_F64, EXAMPLES, 1), *v = network_data(AD_F64, 20, 2);
  const ad_training how = network_training();
  ad_trainer *t = ad_trainer_new(p, d, &how, NULL), *alone = ad_trainer_new(q, d, &how, NULL);
  CHECK_STATUS(ad_trainer_watch(t, evaluate_inside, v), AD_OK);
  for (int k = 0; k < 3; k++) CHECK(ad_trainer_run(t, NULL) == AD_OK && ad_trainer_finished(t) == (k == 2));
  CHECK_STATUS(ad_trainer_run(alone, NULL), AD_OK);
  CHECK(same_bits(p, q) && same_history(t, alone));
  ad_trainer_free(alone);
  ad_trainer_free(t);
  ad_dataset_free(v);
  ad_dataset_free(d);
  ad_parameters_free(q);
  ad_parameters_free(p);
}

static void test_learns(ad_dtype dtype) {
  ad_parameters *p = network_parameters(dtype);
  ad_dataset *d = network_data(dtype, EXAMPLES, 1), *v = network_data(dtype, 20, 2);
  ad_training how = network_training();
  how.epochs = 150;
  how.validation = v;
  how.clip_norm = 1, how.clip_value = 0.5;
  ad_report report = { AD_OK, "" };
  ad_trainer *t = ad_trainer_new(p, d, &how, &report);
  if (!CHECK_THAT(t, "%s", report.message)) return;
  double before[2], after[2];
  int64_t rows;
  int columns;
  CHECK_STATUS(ad_trainer_evaluate(t, v, before, NULL), AD_OK);
  CHECK_STATUS(ad_trainer_run(t, &report), AD_OK);
  CHECK_STATUS(ad_trainer_evaluate(t, v, after, NULL), AD_OK);
  CHECK_THAT(after[0] < 0.1*before[0] && after[1] < 0.5*before[1], "%g, %g -> %g, %g", before[0], before[1],
             after[0],
             after[1]);
  const double *history = ad_trainer_history(t, &rows, &columns);
  CHECK(rows == 150 && columns == 4 && !strcmp(ad_trainer_column(t, 3), "validation absolute error"));
  CHECK(history[4*149 + 2] == after[0] && history[4*149 + 3] == after[1]);
  ad_trainer_free(t);
  ad_dataset_free(v);
  ad_dataset_free(d);
  ad_parameters_free(p);
}

typedef struct best { double loss; int64_t epoch; } best;

static bool remember(ad_trainer *t, const ad_train_event *e, void *context) {
  best *b = context;
  (void)t;
  if (e->moment != AD_AFTER_EPOCH) return true;
  CHECK(e->best == (e->value[2] < b->loss));
  if (!e->best) return true;
  b->loss = e->value[2], b->epoch = e->epoch;
  return true;
}

/* The validation data are of another function, so that it soon gets worse. */
static void test_early_stopping(void) {
  ad_parameters *p = network_parameters(AD_F64);
  ad_dataset *d = network_data(AD_F64, EXAMPLES, 1), *v = network_data(AD_F64, 20, 2);
  double *y = ad_dataset_data(v, 1), now[2];
  for (int i = 0; i < 20; i++) y[i] = 0.3*y[i] + 0.4;
  ad_training how = network_training();
  how.epochs = 500;
  how.validation = v;
  how.patience = 5;
  ad_trainer *t = ad_trainer_new(p, d, &how, NULL);
  best b = { .loss = INFINITY };
  ad_trainer_watch(t, remember, &b);
  CHECK_STATUS(ad_trainer_run(t, NULL), AD_OK);
  CHECK_THAT(ad_trainer_epoch(t) == b.epoch + 6 && ad_trainer_epoch(t) < 500, "stopped after %d, best %d",
             (int)ad_trainer_epoch(t), (int)b.epoch);
  CHECK(ad_trainer_best_epoch(t) == b.epoch && ad_trainer_finished(t));
  CHECK_STATUS(ad_trainer_evaluate(t, v, now, NULL), AD_OK);
  CHECK(now[0] == b.loss);
  CHECK_STATUS(ad_trainer_run(t, NULL), AD_OK);          /* finished: nothing happens */
  CHECK(ad_trainer_epoch(t) == b.epoch + 6);
  ad_trainer_free(t);
  ad_dataset_free(v);
  ad_dataset_free(d);
  ad_parameters_free(p);
}

/* --- steps that fail ------------------------------------------------------------------------------------ */

/* w log(x): not finite for the example whose x is 0. The key and the momentum make every step different. */
static void log_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  const bool only_gradient = *(bool *)context;
  const ad_var w = in->parameter[0], x = in->data[0];
  const ad_var noise = ad_random_normal(in->key, 0, 1, ad_type_of(w));
  (void)tape;
  /* sqrt at 0: finite itself, but its slope is not */
  const ad_var edge = only_gradient ? ad_sqrt(ad_mul(x, ad_square(w))) : ad_mul(w, ad_log(x));
  out[0] = ad_mean(ad_add(ad_square(ad_sub(w, noise)), edge), AD_ALL_AXES, false);
}

/* A run to a step that fails ends where a run of so many steps ends. The bad example comes third or later. */
static bool stop_at(ad_trainer *t, const ad_train_event *e, void *context) {
  (void)t;
  return e->moment != AD_AFTER_STEP || e->step < *(int64_t *)context;
}

static ad_trainer *fragile(ad_parameters **p, ad_dataset **d, int64_t examples, int64_t bad,
                           bool *only_gradient,
                           int64_t batch) {
  double *x = malloc((size_t)examples*sizeof *x);
  const ad_type type = AD_F64(examples);
  for (int64_t i = 0; i < examples; i++) x[i] = i == bad ? 0 : 1 + 0.01*(double)i;
  *p = ad_parameters_new();
  ad_parameters_add(*p, "w", AD_F64(), ad_init_constant(0.5));
  ad_parameters_initialise(*p, 0);
  *d = ad_dataset_new(1, &type, (const void *[]){ x }, NULL, NULL);
  const ad_training how = { .loss = log_loss, .context = only_gradient,
                            .optimiser = ad_sgd_momentum(0.01, 0.9, false),
                            .epochs = 1, .batch = batch, .seed = 3, .in_order = true };
  ad_trainer *t = ad_trainer_new(*p, *d, &how, NULL);
  free(x);
  return t;
}

static void test_failing_step(int64_t bad, bool only_gradient) {
  enum { MANY = 350 };
  ad_parameters *p[2];
  ad_dataset *d[2];
  ad_trainer *t[2];
  ad_report report;
  int64_t stop = bad;
  for (int k = 0; k < 2; k++) t[k] = fragile(&p[k], &d[k], MANY, bad, &only_gradient, 1);
  ad_trainer_watch(t[1], stop_at, &stop);
  CHECK_STATUS(ad_trainer_run(t[0], &report), AD_ERROR_NUMERIC);
  if (bad) CHECK_STATUS(ad_trainer_run(t[1], NULL), AD_OK);
  char place[64];
  snprintf(place, sizeof place, only_gradient ? "before step %d" : "step %d (epoch 1, batch %d)",
           (int)bad + 1,
           (int)bad + 1);
  if (only_gradient && bad == MANY - 1) snprintf(place, sizeof place, "step %d (", (int)bad + 1);
  CHECK_THAT(strstr(report.message, place), "%s, not %s", report.message, place);
  CHECK_THAT(ad_trainer_step(t[0]) == bad && same_bits(p[0], p[1])
             && same_bits(ad_trainer_state(t[0]), ad_trainer_state(t[1])), "step %d",
               (int)ad_trainer_step(t[0]));
  for (int k = 0; k < 2; k++) {
    ad_trainer_free(t[k]);
    ad_dataset_free(d[k]);
    ad_parameters_free(p[k]);
  }
}

/* A class that is out of range fails the step; what was trained before stays. */
static void class_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  (void)tape, (void)context;
  const ad_var scores = ad_add(ad_matmul(in->data[0], in->parameter[0]), in->parameter[1]);
  out[0] = ad_cross_entropy(scores, in->data[1], AD_MEAN);
}

static void test_bad_class(void) {
  enum { MANY = 40, BAD = 33 };
  double x[MANY][2];
  int32_t label[MANY];
  const ad_type type[2] = { AD_F64(MANY, 2), AD_I32(MANY) };
  for (int i = 0; i < MANY; i++) x[i][0] = i%7 - 3, x[i][1] = i%5 - 2, label[i] = i%3;
  ad_parameters *p[2];
  ad_trainer *t[2];
  ad_dataset *d[2];
  ad_report report;
  int64_t stop = BAD/4;
  for (int k = 0; k < 2; k++) {
    const ad_training how = { .loss = class_loss, .optimiser = ad_adam(0.1), .epochs = 1, .batch = 4,
                              .in_order = true };
    p[k] = ad_parameters_new();
    ad_parameters_add(p[k], "weight", AD_F64(2, 3), ad_init_glorot_uniform());
    ad_parameters_add(p[k], "bias", AD_F64(3), ad_init_zeros());
    ad_parameters_initialise(p[k], 1);
    d[k] = ad_dataset_new(2, type, (const void *[]){ x, label }, NULL, NULL);
    t[k] = ad_trainer_new(p[k], d[k], &how, NULL);
    label[BAD] = 3;
  }
  ad_trainer_watch(t[0], stop_at, &stop);
  CHECK_STATUS(ad_trainer_run(t[0], NULL), AD_OK);
  CHECK_STATUS(ad_trainer_run(t[1], &report), AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(report.message, "step 9 (epoch 1, batch 9)") && strstr(report.message, "class 3 at [1]"),
             "%s", report.message);
  CHECK(ad_trainer_step(t[1]) == stop && same_bits(p[0], p[1]));
  CHECK(same_bits(ad_trainer_state(t[0]), ad_trainer_state(t[1])));
  for (int k = 0; k < 2; k++) {
    ad_trainer_free(t[k]);
    ad_dataset_free(d[k]);
    ad_parameters_free(p[k]);
  }
}

/* --- logs and pictures ---------------------------------------------------------------------------------- */

static size_t read_file(const char *name, char *text, size_t size) {
  FILE *f = fopen(name, "rb");
  const size_t n = f ? fread(text, 1, size - 1, f) : 0;
  if (f) fclose(f);
  text[n] = 0;
  return n;
}

static void test_logs(void) {
  static char grown[4096], whole[4096], picture[1 << 17];
  ad_parameters *p = network_parameters(AD_F32);
  ad_dataset *d = network_data(AD_F32, EXAMPLES, 1);
  ad_training how = network_training();
  how.validation = d;
  ad_trainer *t = ad_trainer_new(p, d, &how, NULL);
  ad_csv_log log = { .path = file_named(0, "log.csv") };
  ad_report report = { AD_OK, "" };
  const ad_csv_options csv = { .header = true };
  int64_t rows;
  int columns;
  ad_trainer_watch(t, ad_csv_log_write, &log);
  CHECK_STATUS(ad_trainer_run(t, &report), AD_OK);
  CHECK_STATUS(log.status, AD_OK);
  CHECK_STATUS(ad_trainer_write_history(t, file_named(1, "history.csv"), &report), AD_OK);
  read_file(path[0], grown, sizeof grown);
  read_file(path[1], whole, sizeof whole);
  CHECK_THAT(!strcmp(grown, whole), "%s\n---\n%s", grown, whole);
  CHECK(!strncmp(whole, "epoch,loss,absolute error,validation loss,validation absolute error\n1,", 70));
  ad_dataset *table = ad_dataset_read_csv(path[1], &csv, NULL, &report);
  const double *history = ad_trainer_history(t, &rows, &columns), *read = ad_dataset_data(table, 0);
  CHECK(rows == 4 && ad_type_equal(ad_dataset_type(table, 0), AD_F64(4, 5)));
  for (int i = 0; i < 4; i++)
    for (int c = 0; c < 4; c++) CHECK(read[5*i + 1 + c] == history[4*i + c]);
  const ad_status drawn = ad_trainer_plot(t, file_named(0, "loss.svg"), &report);
  if (drawn == AD_OK) {
    CHECK(read_file(path[0], picture, sizeof picture) > 1000 && strstr(picture, "<svg")
          && strstr(picture, "</svg>"));
    CHECK(strstr(picture, "validation loss"));
  } else CHECK_THAT(drawn == AD_ERROR_UNSUPPORTED && strstr(report.message, "gnuplot"), "%s", report.message);
  ad_dataset_free(table);
  ad_trainer_free(t);
  ad_dataset_free(d);
  ad_parameters_free(p);
}

/* Without gnuplot, without points, with names that mean something to it, to a path that is not there. */
static void test_pictures(void) {
  const double y[4] = { 1, -2, NAN, 4 };
  const ad_series one = { "it's $x; \"a\"\n`date`", 4, NULL, y, true },
                  none = { NULL, 2, NULL, y + 2, false };
  const ad_plot log_y = { .title = "'quoted'", .log_y = true };
  ad_report report = { AD_OK, "" };
  const ad_series hidden = { NULL, 1, NULL, y + 1, false };
  CHECK_STATUS(ad_plot_svg(file_named(0, "none.svg"), &log_y, 1, &hidden, &report), AD_ERROR_ARGUMENT);
  CHECK(access(path[0], F_OK) != 0);
  const ad_status drawn = ad_plot_svg(file_named(0, "one.svg"), &log_y, 1, &one, &report);
  CHECK_THAT(drawn == AD_OK || drawn == AD_ERROR_UNSUPPORTED, "%s", report.message);
  if (drawn == AD_OK) {
    static char picture[1 << 16];
    read_file(path[0], picture, sizeof picture);
    CHECK(strstr(picture, "it&apos;s $x; &quot;a&quot; `date`") || strstr(picture, "it's $x; \"a\" `date`"));
    CHECK_STATUS(ad_plot_svg(path[0], NULL, 1, &none, &report), AD_OK);
    CHECK_STATUS(ad_plot_svg("/nonexistent/a.svg", NULL, 1, &one, &report), AD_ERROR_IO);
    CHECK(strstr(report.message, "/nonexistent/a.svg"));
  }
  char *old = strdup(getenv("PATH") ? getenv("PATH") : "");
  setenv("PATH", here, 1);
  CHECK_STATUS(ad_plot_svg(file_named(1, "two.svg"), NULL, 1, &one, &report), AD_ERROR_UNSUPPORTED);
  CHECK(strstr(report.message, "gnuplot is not installed") && access(path[1], F_OK) != 0);
  setenv("PATH", old, 1);
  free(old);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void wrong_loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  switch (*(int *)context) {
    case 0: out[0] = ad_square(in->data[0]); break;
    case 1: out[0] = ad_mean(ad_matmul(in->data[0], in->parameter[2]), AD_ALL_AXES, false); break;
    case 2: break;
    case 3: out[0] = ad_real(1); break;
    default: out[0] = ad_array(tape, AD_I64(), NULL);
  }
}

static void expect_refusal(ad_parameters *p, const ad_dataset *d, const ad_training *how, ad_status status,
                           const char *says) {
  ad_report report = { AD_OK, "" };
  ad_trainer *t = ad_trainer_new(p, d, how, &report);
  CHECK_THAT(!t && report.status == status && strstr(report.message, says), "%s: \"%s\" does not say \"%s\"",
             ad_status_sentence(report.status), report.message, says);
  ad_trainer_free(t);
}

static void test_refusals(void) {
  ad_parameters *p = network_parameters(AD_F64), *whole = ad_parameters_new(), *none = ad_parameters_new();
  ad_dataset *d = network_data(AD_F64, EXAMPLES, 1), *empty = ad_dataset_take(d, 0, NULL, NULL);
  ad_training how = network_training(), wrong = how;
  static const char *const says[] = { "\"loss\" is f64(8,3), no scalar", "(8,3)", "\"loss\" was not recorded",
                                      "a number, no variable", "the loss is i64, no float" };
  static const ad_status status[] = { AD_ERROR_SHAPE, AD_ERROR_SHAPE, AD_ERROR_HANDLE, AD_ERROR_ARGUMENT,
                                      AD_ERROR_DTYPE };
  ad_parameters_add(whole, "count", AD_I64(), ad_init_zeros());
  expect_refusal(p, empty, &how, AD_ERROR_ARGUMENT, "no examples");
  expect_refusal(whole, d, &how, AD_ERROR_DTYPE, "\"count\" is i64");
  expect_refusal(none, d, &how, AD_ERROR_ARGUMENT, "no parameters");
  for (int k = 0; k < 5; k++) {
    wrong = (ad_training){ .loss = wrong_loss, .context = &k, .optimiser = ad_sgd(1), .epochs = 1,
                           .batch = 8 };
    expect_refusal(p, d, &wrong, status[k], says[k]);
  }
  wrong = how, wrong.epochs = 0;
  expect_refusal(p, d, &wrong, AD_ERROR_ARGUMENT, "one epoch");
  wrong = how, wrong.batch = 99, wrong.drop_last = true;
  expect_refusal(p, d, &wrong, AD_ERROR_ARGUMENT, "no batch is whole");
  wrong = how, wrong.optimiser = ad_adam(-1);
  expect_refusal(p, d, &wrong, AD_ERROR_ARGUMENT, "the rate is -1");
  wrong = how, wrong.clip_norm = -1;
  expect_refusal(p, d, &wrong, AD_ERROR_ARGUMENT, "limits");
  ad_trainer *t = ad_trainer_new(p, d, &how, NULL);
  ad_dataset *other = network_data(AD_F32, 5, 1);
  double out[2];
  ad_report report;
  CHECK_STATUS(ad_trainer_evaluate(t, other, out, &report), AD_ERROR_DTYPE);
  CHECK_STATUS(ad_trainer_evaluate(t, empty, out, &report), AD_ERROR_ARGUMENT);
  ad_trainer_free(t);
  ad_dataset_free(other);
  ad_dataset_free(empty);
  ad_dataset_free(d);
  ad_parameters_free(none);
  ad_parameters_free(whole);
  ad_parameters_free(p);
}

int main(void) {
  if (!(here = folder_make())) return 1;
  for (int k = 0; k < 4; k++) test_by_hand(k & 1, k >> 1);
  test_learns(AD_F64);
  test_learns(AD_F32);
  test_callback();
  test_early_stopping();
  for (int k = 0; k < 2; k++) {
    test_failing_step(0, k);
    test_failing_step(7, k);
    test_failing_step(230, k);
    test_failing_step(349, k);
  }
  test_bad_class();
  test_logs();
  test_pictures();
  test_refusals();
  folder_remove(here);
  return check_summary();
}
