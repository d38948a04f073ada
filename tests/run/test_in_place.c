/* test_in_place.c -- memory that inputs and outputs share, values that are several outputs, and every choice
 * of wanted outputs. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/function.h"

/* --- (x, y) -> (y, x) over (x, y) ----------------------------------------------------------------------- */

static void swap_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = in[1], out[1] = in[0];
}

static void products_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(in[0], in[1]), out[1] = ad_mul(in[0], in[1]);
}

enum { COUNT = 600 };

static void expect(const char *what, const double *x, const double *y, bool swapped) {
  for (int i = 0; i < COUNT; i++) {
    const double a = i, b = 1000 - i, first = swapped ? b : a + b, second = swapped ? a : a*b;
    CHECK_THAT(x[i] == first && y[i] == second, "%s: element %d: %g, %g", what, i, x[i], y[i]);
  }
}

static void test_over_inputs(ad_body *body, bool lanes) {
  static double x[COUNT], y[COUNT];
  for (int i = 0; i < COUNT; i++) x[i] = i, y[i] = 1000 - i;
  const ad_type array = AD_F64(COUNT), scalar = AD_F64(),
                in[2] = { lanes ? scalar : array, lanes ? scalar : array };
  ad_function *f = ad_function_trace("f", body, NULL, 2, in, 2);
  void *both[2] = { x, y };
  const void *const from[2] = { x, y };
  CHECK_STATUS(lanes ? ad_function_call_lanes(f, COUNT, from, both, NULL)
                     : ad_function_call(f, from, both, NULL),
               AD_OK);
  expect(lanes ? "lanes" : "arrays", x, y, body == swap_body);
  ad_function_free(f);
}

/* --- one value under several names ---------------------------------------------------------------- */

enum { OUTPUTS = 7, N = 4 };

/* z, z, sum z, x, z as a matrix, its running sums, x */
static void names_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const int64_t square[2] = { 2, 2 };
  const ad_var z = ad_mul(in[0], 2);
  out[0] = out[1] = z;
  out[2] = ad_sum(z, AD_ALL_AXES, false);
  out[3] = out[6] = in[0];
  out[4] = ad_reshape(z, 2, square);
  out[5] = ad_cumsum(z, 0);
}

static double wanted(int output, int i) {
  const double x = i + 1;
  return output == 2 ? N*(N + 1) : output == 3 || output == 6 ? x : output == 5 ? x*(x + 1) : 2*x;
}

static void check_outputs(unsigned set, double room[OUTPUTS][N], void *const out[]) {
  for (int j = 0; j < OUTPUTS; j++)
    for (int i = 0; i < (j == 2 ? 1 : N); i++)
      CHECK_THAT(!out[j] || ((double *)out[j])[i] == wanted(j, i), "outputs %x: %d[%d] = %g", set, j, i,
                 room[j][i]);
}

/* over: which output goes over the input; -1: none */
static void test_names(ad_function *f, unsigned set, int over) {
  double x[N] = { 1, 2, 3, 4 }, room[OUTPUTS][N];
  const void *const in[1] = { x };
  void *out[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) out[j] = set >> j & 1 ? room[j] : NULL;
  if (over >= 0) out[over] = x;
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  check_outputs(set, room, out);
}

/* v + reversed v: the base of an addition in place must not be its own part. */
static void fold_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var v = ad_cumsum(in[0], 0);
  out[0] = ad_slice_add(v, v, 0, -1, -1);
}

static void test_part_is_base(void) {
  const ad_type type = AD_F64(4);
  const double x[4] = { 1, 2, 4, 8 };
  double z[4];
  ad_function *f = ad_function_trace("fold", fold_body, NULL, 1, &type, 1);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ x }, (void *const[]){ z }, NULL), AD_OK);
  CHECK(z[0] == 16 && z[1] == 10 && z[2] == 10 && z[3] == 16);
  ad_function_free(f);
}

int main(void) {
  test_part_is_base();
  test_over_inputs(swap_body, false);
  test_over_inputs(swap_body, true);
  test_over_inputs(products_body, false);
  test_over_inputs(products_body, true);
  const ad_type type = AD_F64(N);
  ad_function *f = ad_function_trace("names", names_body, NULL, 1, &type, OUTPUTS);
  for (unsigned set = 0; set < 1u << OUTPUTS; set++)
    for (int over = -1; over < OUTPUTS; over++)
      if (over < 0 || (over != 2 && set >> over & 1)) test_names(f, set, over);
  ad_function_free(f);
  return check_summary();
}
