/* hello.c -- the square of a number, and its derivative. */
#include "job.h"

static void square(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_square(in[0]);
}

enum { SQUARE, DOUBLE };

static bool prepare(job *j, const json_t *input) {
  const ad_type scalar = AD_F64();
  double *x = add_input(j, scalar);
  if (!x) return false;
  if (!json_is_number(input)) return job_refuse(j, "the input is not a number");
  *x = json_number_value(input);
  ad_function *f = ad_function_trace("square", square, NULL, 1, &scalar, 1);
  return j->function == SQUARE ? job_take(j, f) : job_take_gradient(j, f, 1, (const int[]){ 0 });
}

static json_t *answer(const job *j) { return answer_number(j, 0); }

const evaluation evaluation_hello = { "hello", { "square", "double" }, prepare, answer };
