/* test_allocations.c -- data, optimisers and training with the n-th allocation failing, for n = 1, 2, ..
 * until none does: no crash, every block comes back with the size it had, and either memory is what failed or
 * the result is right. */
#define _DEFAULT_SOURCE
#include "folder.h"
#include "heap.h"
#include "training.h"

#include "adit/primitive.h"

/* --- work ----------------------------------------------------------------------------------------------- */

static const char *here;
static char csv[FOLDER_PATH], idx[FOLDER_PATH], checkpoint[FOLDER_PATH];

/* What a piece of work came to: the first status that is not AD_OK, and a number that stands for its
 * result. */
typedef struct outcome { ad_status status; double result; } outcome;

static outcome sum_of(ad_dataset *d, const ad_report *report) {
  outcome o = { d ? AD_OK : report->status, 0 };
  for (int i = 0; d && i < ad_dataset_arrays(d); i++) {
    const ad_type type = ad_dataset_type(d, i);
    for (int64_t k = 0; k < ad_type_count(type); k++)
      o.result += (double)(k + 1)*check_element(type.dtype, ad_dataset_data(d, i), k);
  }
  ad_dataset_free(d);
  return o;
}

static outcome read_csv(const ad_allocator *a) {
  const ad_csv_options how = { .header = true, .labelled = true, .label = -1 };
  ad_report report = { AD_OK, "" };
  ad_dataset *d = ad_dataset_read_csv(csv, &how, a, &report);
  if (!d) return sum_of(NULL, &report);
  const int64_t index[3] = { 2, 0, 1 };
  ad_dataset *part = ad_dataset_take(d, 3, index, &report);
  ad_dataset_free(d);
  return sum_of(part, &report);
}

static outcome read_idx(const ad_allocator *a) {
  ad_report report = { AD_OK, "" };
  const char *const both[2] = { idx, idx };
  ad_dataset *d = ad_dataset_read_idx(2, both, NULL, a, &report);
  return sum_of(d, &report);
}

static outcome step_on_tape(const ad_allocator *a) {
  outcome o = { AD_ERROR_MEMORY, 0 };
  ad_tape *t = ad_tape_new_with(a);
  if (!t) return o;
  const double x[3] = { 1, 2, 3 };
  const ad_optimiser adam = ad_adamw(0.1, 0.01);
  ad_var p = ad_array(t, AD_F64(3), x), g = ad_square(p), state[3];
  state[0] = ad_array(t, AD_I64(), NULL);
  state[1] = state[2] = ad_zeros(t, AD_F64(3));
  ad_clip_by_norm(1, &g, 1, &g);
  ad_clip_by_value(1, &g, 0.5, &g);
  ad_optimiser_step(&adam, 1, &p, &g, state, &p, state);
  o.result = ad_value(ad_sum(p, AD_ALL_AXES, false));
  o.status = ad_tape_status(t);
  ad_tape_free(t);
  return o;
}

static void bowl(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sum(ad_square(ad_sub(in[0], 3)), AD_ALL_AXES, false);
  out[1] = ad_mul(2, ad_sub(in[0], 3));
}

static outcome least(const ad_allocator *a) {
  const ad_type type = AD_F64(4);
  double x[4] = { 0 };
  ad_report report = { AD_OK, "" };
  ad_function *f = ad_function_trace_with(a, "bowl", bowl, NULL, 1, &type, 2, &report);
  ad_lbfgs_result found = { .status = report.status };
  if (f) ad_lbfgs(f, 1, (void *[]){ x }, NULL, NULL, &found);
  ad_function_free(f);
  return (outcome){ found.status, x[0] + x[3] };
}

static outcome train(const ad_allocator *a) {
  ad_parameters *p = ad_parameters_new_with(a);
  ad_dataset *d = network_data(AD_F64, EXAMPLES, 1);
  ad_training how = network_training();
  ad_report report = { AD_ERROR_MEMORY, "" };
  double out[2] = { 0 };
  ad_parameters_add(p, "0/weight", AD_F64(FEATURES, HIDDEN), ad_init_constant(0.1));
  ad_parameters_add(p, "0/bias", AD_F64(HIDDEN), ad_init_constant(0.2));
  ad_parameters_add(p, "1/weight", AD_F64(HIDDEN, 1), ad_init_constant(0.3));
  ad_parameters_add(p, "1/bias", AD_F64(1), ad_init_zeros());
  how.epochs = 1, how.batch = 20, how.patience = 1;
  how.validation = d;
  const bool good = ad_parameters_status(p) == AD_OK && ad_parameters_initialise(p, 1) == AD_OK;
  ad_trainer *t = good ? ad_trainer_new(p, d, &how, &report) : NULL;
  if (t && ad_trainer_watch(t, ad_progress_show, NULL) != AD_OK) report.status = AD_ERROR_MEMORY;
  else if (t && ad_trainer_run(t, &report) == AD_OK && ad_trainer_save(t, checkpoint, &report) == AD_OK
           && ad_trainer_resume(t, checkpoint, &report) == AD_OK)
    ad_trainer_evaluate(t, d, out, &report);
  ad_trainer_free(t);
  ad_dataset_free(d);
  ad_parameters_free(p);
  return (outcome){ report.status, out[0] };
}

/* --- the loop ------------------------------------------------------------------------------------------- */

static void test_failing(const char *name, outcome (*work)(const ad_allocator *a)) {
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  const outcome want = work(&a);
  CHECK_STATUS(want.status, AD_OK);
  const long calls = h.calls;
  CHECK(calls > 0);
  for (long n = 1; n <= calls && checks_failed == 0; n++) {
    heap_fail(&h, n, false);
    const outcome o = work(&a);
    CHECK_THAT(o.status == AD_ERROR_MEMORY || (o.status == AD_OK && o.result == want.result),
               "%s, allocation %ld of %ld: %s, %g", name, n, calls, ad_status_sentence(o.status), o.result);
    CHECK_THAT(heap_is_empty(&h), "%s, allocation %ld: %s", name, n, heap_text(&h));
  }
}

static void write_file(const char *name, char path[FOLDER_PATH], const void *bytes, size_t size) {
  FILE *f = fopen(folder_file(here, name, path), "wb");
  CHECK(f && fwrite(bytes, 1, size, f) == size && !fclose(f));
}

int main(void) {
  static const char table[] = "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n7,8,z\n";
  static const char array[] = { 0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7 };
  if (!(here = folder_make())) return 1;
  write_file("table.csv", csv, table, sizeof table - 1);
  write_file("array.idx", idx, array, sizeof array);
  folder_file(here, "check.npz", checkpoint);
  test_failing("csv", read_csv);
  test_failing("idx", read_idx);
  test_failing("optimiser", step_on_tape);
  test_failing("lbfgs", least);
  test_failing("training", train);
  folder_remove(here);
  return check_summary();
}
