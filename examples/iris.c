/* iris.c -- which iris is it? Logistic regression and a small network on a table of 150 flowers.
 *
 *   iris [TABLE]        the table, with a header; data/iris.csv if it is not given
 *
 * Four lengths of each flower are known, and which of three species it is (Fisher, "The use of multiple
 * measurements in taxonomic problems", Annals of Eugenics 7, 1936). Every third flower is set aside for
 * testing; the others are learnt from. Columns are shifted and scaled to mean 0 and variance 1, by what the
 * flowers to learn from say. Logistic regression is one linear layer with softmax, trained with all flowers
 * at once and some decay; the network has 16 hidden units and learns from batches of 20. Both are saved to
 * files, and what is read back into other parameters must say the same of every flower, to the last bit. The
 * loss curves are drawn too: iris_logistic.npz, iris_network.npz, and .svg.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 4, CLASSES = 3, FLOWERS = 150, TESTS = FLOWERS/3, MAX_ARRAYS = 4 };

typedef struct flowers { ad_dataset *training, *test; } flowers;

/* --- the table ------------------------------------------------------------------------------------------ */

/* Both parts lose the mean and are divided by the deviation of the first, column by column. */
static void standardise(const flowers *f) {
  const int64_t n = ad_dataset_examples(f->training);
  const double *x = ad_dataset_data(f->training, 0);
  double mean[COLUMNS] = { 0 }, variance[COLUMNS] = { 0 };
  for (int64_t i = 0; i < n*COLUMNS; i++) mean[i%COLUMNS] += x[i]/(double)n;
  for (int64_t i = 0; i < n*COLUMNS; i++) variance[i%COLUMNS] += pow(x[i] - mean[i%COLUMNS], 2)/(double)n;
  ad_dataset *const part[2] = { f->training, f->test };
  for (int k = 0; k < 2; k++) {
    double *data = ad_dataset_data(part[k], 0);
    for (int64_t i = 0; i < ad_dataset_examples(part[k])*COLUMNS; i++)
      data[i] = (data[i] - mean[i%COLUMNS])/sqrt(variance[i%COLUMNS]);
  }
}

/* Every third flower of the table is for testing. */
static flowers split(const ad_dataset *table, ad_report *report) {
  int64_t index[2][FLOWERS], count[2] = { 0, 0 };
  for (int64_t i = 0; i < FLOWERS; i++) {
    const int part = i%3 == 2;
    index[part][count[part]++] = i;
  }
  return (flowers){ ad_dataset_take(table, count[0], index[0], report),
                    ad_dataset_take(table, count[1], index[1], report) };
}

/* What is read must be 150 rows of 4 numbers and a class, 0 to 2. */
static bool read_flowers(const char *path, flowers *f, ad_report *report) {
  const ad_csv_options options = { .header = true, .labelled = true, .label = -1 };
  ad_dataset *table = ad_dataset_read_csv(path, &options, NULL, report);
  if (!table) return false;
  if (ad_type_equal(ad_dataset_type(table, 0), AD_F64(FLOWERS, COLUMNS))
      && ad_dataset_check_labels(table, 1, CLASSES, report) == AD_OK) {
    *f = split(table, report);
    printf("%d flowers: ", FLOWERS);
    for (int k = 0; k < COLUMNS; k++) printf("%s%s", k ? ", " : "", ad_dataset_column(table, k));
    printf("\n");
  } else snprintf(report->message, sizeof report->message, "%s: not the table of irises", path);
  ad_dataset_free(table);
  if (!f->training || !f->test) return false;
  standardise(f);
  return true;
}

/* --- learning ------------------------------------------------------------------------------------------- */

typedef struct model {
  const char *name, *file, *picture;
  ad_layer *net;
  ad_optimiser optimiser;
  int64_t epochs, batch;
} model;

/* The mean cross entropy, and the part of the batch that is classified rightly. */
static void loss(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *net) {
  (void)tape;
  ad_var logits = ad_layer_apply(net, in->parameter, in->data[0], NULL);
  out[0] = ad_cross_entropy(logits, in->data[1], AD_MEAN);
  out[1] = ad_mean(ad_equal(ad_argmax(logits, 1, false), in->data[1]), AD_ALL_AXES, false);
}

static ad_status train(const model *m, ad_parameters *p, const flowers *f, ad_report *report) {
  const ad_training how = { .loss = loss, .context = m->net, .optimiser = m->optimiser, .epochs = m->epochs,
                            .batch = m->batch, .seed = 1, .metrics = 1,
                            .metric = (const char *const[]){ "accuracy" } };
  ad_trainer *t = ad_trainer_new(p, f->training, &how, report);
  if (!t) return report->status;
  double learnt[2], test[2];
  ad_status status = ad_trainer_run(t, report);
  if (!status) status = ad_trainer_evaluate(t, f->training, learnt, report);
  if (!status) status = ad_trainer_evaluate(t, f->test, test, report);
  if (!status)
    printf("%d steps\n  loss below 0.1: %s, accuracy above 0.97: %s; of new flowers %.2f\n",
           (int)ad_trainer_step(t), learnt[0] < 0.1 ? "yes" : "no", learnt[1] > 0.97 ? "yes" : "no", test[1]);
  if (!status) status = ad_trainer_plot(t, m->picture, report);
  ad_trainer_free(t);
  return status;
}

/* --- judging -------------------------------------------------------------------------------------------- */

/* (parameters.., x) -> probabilities */
static void classify(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  (void)tape;
  out[0] = ad_softmax(ad_layer_apply(net, in, in[ad_layer_entries(net)], NULL), 1);
}

static ad_status probabilities(const model *m, const ad_parameters *p, const ad_dataset *d,
                               double out[TESTS][CLASSES]) {
  const int n = ad_parameters_entries(p);
  const void *in[MAX_ARRAYS + 1];
  ad_type type[MAX_ARRAYS + 1];
  for (int i = 0; i < n; i++) in[i] = ad_parameters_data(p, i), type[i] = ad_parameters_type(p, i);
  in[n] = ad_dataset_data(d, 0), type[n] = ad_dataset_type(d, 0);
  ad_function *f = ad_function_trace("classify", classify, m->net, n + 1, type, 1);
  ad_status status = f ? ad_function_call(f, in, (void *[]){ out }, NULL) : AD_ERROR_MEMORY;
  ad_function_free(f);
  return status;
}

/* How many flowers of each species (row) are taken for which one (column). */
static void print_confusion(const ad_dataset *d, double probability[TESTS][CLASSES]) {
  const int64_t *species = ad_dataset_data(d, 1);
  int taken[CLASSES][CLASSES] = { { 0 } };
  for (int i = 0; i < TESTS; i++) {
    int most = 0;
    for (int k = 1; k < CLASSES; k++)
      if (probability[i][k] > probability[i][most]) most = k;
    taken[species[i]][most]++;
  }
  for (int s = 0; s < CLASSES; s++) {
    printf("  %-11s", ad_dataset_class(d, s));
    for (int k = 0; k < CLASSES; k++) printf(" %3d", taken[s][k]);
    printf("\n");
  }
}

/* Saves p, and loads the file into parameters that began with other numbers. */
static ad_status save_and_load(const model *m, ad_parameters *p, const ad_dataset *d,
                               double probability[TESTS][CLASSES]) {
  double before[TESTS][CLASSES], after[TESTS][CLASSES];
  const size_t bytes = sizeof before;
  ad_parameters *loaded = ad_layer_parameters(m->net, AD_F64, 99);
  ad_status status = ad_parameters_status(loaded);
  if (!status) status = ad_parameters_save(p, m->file);
  if (!status) status = probabilities(m, loaded, d, before);
  if (!status) status = ad_parameters_load(loaded, m->file);
  if (!status) status = probabilities(m, loaded, d, after);
  if (!status)
    printf("saved; the same bits elsewhere before loading: %s, after: %s\n",
           memcmp(before, probability, bytes) ? "no" : "yes",
           memcmp(after, probability, bytes) ? "no" : "yes");
  ad_parameters_free(loaded);
  return status;
}

static ad_status run(const model *m, const flowers *f, ad_report *report) {
  double probability[TESTS][CLASSES];
  ad_parameters *p = ad_layer_parameters(m->net, AD_F64, 1);
  printf("\n%s, %d parameters, ", m->name, (int)ad_parameters_count(p));
  ad_status status = ad_parameters_status(p);
  if (!status) status = train(m, p, f, report);
  if (!status) status = probabilities(m, p, f->test, probability);
  if (!status) {
    print_confusion(f->test, probability);
    status = save_and_load(m, p, f->test, probability);
  }
  ad_parameters_free(p);
  return status;
}

int main(int argc, char **argv) {
  ad_report report = { AD_OK, "" };
  flowers f = { NULL, NULL };
  model m[2] = {
    { "logistic regression", "iris_logistic.npz", "iris_logistic.svg", ad_linear(COLUMNS, CLASSES),
      ad_sgd_momentum(0.5, 0.9, true), 500, 0 },
    { "network", "iris_network.npz", "iris_network.svg", ad_sequential(3, (ad_layer *[]){
      ad_linear(COLUMNS, 16), ad_activation(ad_relu), ad_linear(16, CLASSES) }), ad_adam(0.01), 100, 20 } };
  const char *path = argc > 1 ? argv[1] : "data/iris.csv";
  ad_status status = read_flowers(path, &f, &report) ? AD_OK : AD_ERROR_IO;
  for (int i = 0; i < 2; i++) {
    m[i].optimiser.decay = ad_real(1e-3);
    if (!status) status = run(&m[i], &f, &report);
    ad_layer_free(m[i].net);
  }
  if (status) fprintf(stderr, "%s\n", report.message[0] ? report.message : ad_status_sentence(status));
  ad_dataset_free(f.test);
  ad_dataset_free(f.training);
  return status ? 1 : 0;
}
