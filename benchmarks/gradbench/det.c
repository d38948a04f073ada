/* det.c -- the determinant of a matrix by expansion by minors. */
#include "job.h"

enum { PRIMAL, GRADIENT, MOST_ROWS = 12 };

/* The determinant of rows `row` .. n-1 and the columns that are bits of `columns`. */
static ad_var expansion(const ad_var *a, int n, int row, unsigned columns) {
  ad_var sum = ad_none();
  bool minus = false;
  for (int c = 0; c < n; c++) {
    if (!(columns >> c & 1)) continue;
    const ad_var element = a[row*n + c];
    if (row == n - 1) return element;
    const ad_var term = ad_mul(element, expansion(a, n, row + 1, columns & ~(1u << c)));
    sum = ad_is_none(sum) ? term : minus ? ad_sub(sum, term) : ad_add(sum, term);
    minus = !minus;
  }
  return sum;
}

static void determinant(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const int n = *(const int *)context;
  ad_var a[MOST_ROWS*MOST_ROWS];
  (void)t;
  for (int64_t i = 0; i < n*n; i++) a[i] = ad_at(in[0], 1, &i);
  out[0] = expansion(a, n, 0, (1u << n) - 1);
}

static bool prepare(job *j, const json_t *input) {
  int64_t rows, count;
  if (!read_array(j, input, "A", 1, &count) || !read_integer(j, input, "ell", 1, MOST_ROWS, &rows))
    return false;
  if (count != rows*rows) return job_refuse(j, "A does not have ell^2 elements");
  const ad_type a = AD_F64(count);
  int n = (int)rows;
  ad_function *f = ad_function_trace("det", determinant, &n, 1, &a, 1);
  return j->function == PRIMAL ? job_take(j, f) : job_take_gradient(j, f, 1, (const int[]){ 0 });
}

static json_t *answer(const job *j) {
  const int64_t n = ad_function_input_type(j->f, 0).dim[0];
  return j->function == PRIMAL ? answer_number(j, 0) : answer_array(j->out[0], 1, &n);
}

const evaluation evaluation_det = { "det", { "primal", "gradient" }, prepare, answer };
