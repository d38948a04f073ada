/* test_in_place.c -- memory that inputs and outputs share, values that are several outputs, and every choice
 * of wanted outputs. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/losses.h"
#include "adit/primitive.h"

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

/* --- random programs: called over their inputs, the bits of a call beside them ------------------------- */

enum { ARRAYS = 4, OPERATIONS = 14 };

typedef struct program { uint32_t seed; int64_t rows, columns; } program;

static uint32_t draw(uint32_t *state, uint32_t n) {
  *state = *state*1664525u + 1013904223u;
  return (*state >> 8)%n;
}

/* The running sums of y as one vector: a view, and what is made of it. */
static ad_var running(ad_var y) {
  const ad_type type = ad_type_of(y);
  return ad_reshape(ad_cumsum(ad_reshape(y, 1, (int64_t[]){ ad_type_count(type) }), 0), type.rank, type.dim);
}

/* The rows from the second on, and then the first: both are parts of y. */
static ad_var rotated(ad_var y) {
  const int64_t rows = ad_type_of(y).dim[0];
  const ad_var rest = ad_slice(y, 0, rows > 1, rows - 1, 1);
  return ad_concat(2, (ad_var[]){ rest, ad_slice(y, 0, 0, 1, 1) }, 0);
}

/* z[i] = y[i] + z[i + 1]/10, by a loop from the last row to the first; and tanh of each row and the sum of
 * its elements, by a map. */
static void row_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = out[1] = ad_add(in[1], ad_mul(0.1, in[0]));
}
static void each_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_tanh(in[0]), ad_sum(in[0], AD_ALL_AXES, false));
}
static ad_var by_rows(ad_var y, bool loop) {
  const ad_type type = ad_type_of(y), row = AD_F32(type.dim[1]), types[2] = { row, row };
  const int n = loop ? 2 : 1;
  ad_function *f = ad_function_trace("row", loop ? row_body : each_body, NULL, n, types, n);
  ad_var z[2] = { ad_none(), ad_none() };
  const ad_var in[2] = { ad_zeros(ad_tape_of(1, &y), row), y };
  if (loop) ad_scan(f, 1, &(ad_loop){ .backwards = true }, in, z);
  else ad_map(f, &y, &z[1]);
  ad_function_free(f);
  return z[1];
}

/* One of the operations that read element by element, as a whole, along an axis, or backwards; or that fails,
 * where index says so. */
static ad_var grow(uint32_t *state, ad_var x, ad_var y, ad_var index) {
  switch (draw(state, 17)) {
    case 0: return ad_add(x, ad_mul(0.5, y));
    case 1: return ad_mul(x, ad_tanh(y));
    case 2: return ad_sub(ad_tanh(x), y);
    case 3: return ad_add(y, ad_mean(x, AD_AXES(0), true));
    case 4: return ad_sub(y, ad_mean(x, AD_AXES(1), true));
    case 5: return ad_mul(y, ad_mean(x, AD_ALL_AXES, false));
    case 6: return ad_select(ad_less(x, y), x, ad_mul(0.25, y));
    case 7: return ad_add(x, ad_flip(y, AD_AXES(1)));
    case 8: return ad_flip(y, AD_AXES(0));
    case 9: return ad_slice_add(x, ad_slice(y, 0, 0, 1, 1), 0, 0, 1);
    case 10: return ad_add(x, ad_take(y, index, 0));
    case 11: return ad_mul(0.1, running(y));
    case 12: return rotated(y);
    case 14: return by_rows(y, true);
    case 15: return by_rows(y, false);
    case 13: return ad_mul(ad_slice(rotated(y), 0, 0, ad_type_of(y).dim[0], 1), x);
    default: return ad_tanh(ad_slice_add(ad_mul(x, 0.5), ad_slice(y, 0, 0, 1, 1), 0, 0, 1));
  }
}

static void program_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const program *p = context;
  uint32_t state = p->seed;
  ad_var v[ARRAYS + OPERATIONS];
  (void)t;
  memcpy(v, in, ARRAYS*sizeof *v);
  for (int k = 0; k < OPERATIONS; k++) {
    const uint32_t n = (uint32_t)(ARRAYS + k), i = draw(&state, n), j = draw(&state, n);
    v[n] = grow(&state, v[i], v[j], in[ARRAYS]);
  }
  /* An output is another one's input now and then, and sometimes an early result. */
  for (int j = 0; j < ARRAYS; j++) out[j] = v[draw(&state, ARRAYS + OPERATIONS)];
}

/* Returns whether the program can fail. */
static bool test_program(const program *p) {
  enum { ROOM = 40000 };
  static float x[ARRAYS][ROOM], over[ARRAYS][ROOM], beside[ARRAYS][ROOM];
  const int64_t count = p->rows*p->columns;
  const ad_type type = AD_F32(p->rows, p->columns), in[ARRAYS + 1] = { type, type, type, type, AD_I64(1) };
  int64_t index = 0;
  program own = *p;
  uint32_t state = p->seed + 7;
  for (int k = 0; k < ARRAYS; k++)
    for (int64_t i = 0; i < count; i++) over[k][i] = x[k][i] = (float)draw(&state, 2000)/1000 - 1;
  ad_function *f = ad_function_trace("program", program_body, &own, ARRAYS + 1, in, ARRAYS);
  const void *from[ARRAYS + 1], *mine[ARRAYS + 1];
  void *to[ARRAYS], *there[ARRAYS];
  for (int k = 0; k < ARRAYS; k++) {
    from[k] = x[k], to[k] = beside[k], mine[k] = over[k];
    there[k] = over[(k + (int)draw(&state, 2)*(int)(p->seed%3))%ARRAYS];  /* mostly its own input's memory */
  }
  from[ARRAYS] = mine[ARRAYS] = &index;
  for (int k = 0; k < ARRAYS; k++)
    for (int j = 0; j < k; j++)
      if (there[k] == there[j]) there[k] = NULL;                         /* never two outputs in one place */
  CHECK_STATUS(ad_function_call(f, from, to, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, mine, there, NULL), AD_OK);
  for (int k = 0; k < ARRAYS; k++)
    CHECK_THAT(!there[k] || !memcmp(there[k], beside[k], (size_t)count*sizeof(float)),
               "program %u of %lld x %lld: output %d", p->seed, (long long)p->rows, (long long)p->columns, k);
  index = p->rows;
  memcpy(over, x, sizeof x);
  const bool fails = ad_function_call(f, mine, there, NULL) == AD_ERROR_ARGUMENT;
  for (int k = 0; k < ARRAYS && fails; k++)
    CHECK_THAT(!memcmp(over[k], x[k], (size_t)count*sizeof(float)),
               "program %u of %lld x %lld: input %d is changed", p->seed, (long long)p->rows,
               (long long)p->columns, k);
  ad_function_free(f);
  return fails;
}

static void test_programs(void) {
  static const int64_t shape[5][2] = { { 3, 5 }, { 1, 1 }, { 16, 16 }, { 37, 29 }, { 199, 201 } };
  int failures = 0;
  for (uint32_t seed = 1; seed <= 400; seed++)
    failures += test_program(&(program){ seed, shape[seed%5][0], shape[seed%5][1] });
  CHECK_THAT(failures > 100, "%d programs fail", failures);
}

/* A kernel that reads its operand in another order than it writes. */
static void turn_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_flip(in[0], AD_AXES(0));
}

static void test_turned(void) {
  static double x[COUNT];
  const ad_type type = AD_F64(COUNT);
  ad_function *f = ad_function_trace("turn", turn_body, NULL, 1, &type, 1);
  for (int i = 0; i < COUNT; i++) x[i] = i;
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ x }, (void *const[]){ x }, NULL), AD_OK);
  for (int i = 0; i < COUNT; i++) CHECK_NUMBER(x[i], COUNT - 1 - i, 0);
  ad_function_free(f);
}

/* --- a call that fails leaves its inputs as they were --------------------------------------------------- */

/* (x, logits, classes) -> x/2, the cross entropy of twice the logits and classes: nothing orders the one
 * after the other. */
static void failing_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(0.5, in[0]);
  out[1] = ad_cross_entropy(ad_mul(2, in[1]), ad_mul(2, in[2]), AD_NONE);
}

static void test_failing(void) {
  enum { CLASSES = 3, EXAMPLES = 50 };
  static double x[COUNT], logits[EXAMPLES][CLASSES], losses[EXAMPLES];
  static int32_t class[EXAMPLES];
  const ad_type in[3] = { AD_F64(COUNT), AD_F64(EXAMPLES, CLASSES), AD_I32(EXAMPLES) };
  ad_function *f = ad_function_trace("failing", failing_body, NULL, 3, in, 2);
  for (int i = 0; i < COUNT; i++) x[i] = i;
  class[EXAMPLES - 1] = CLASSES;
  const void *const from[3] = { x, logits, class };
  void *const to[2] = { x, losses };
  CHECK_STATUS(ad_function_call(f, from, to, NULL), AD_ERROR_ARGUMENT);
  for (int i = 0; i < COUNT; i++) CHECK_NUMBER(x[i], i, 0);
  class[EXAMPLES - 1] = 0;
  CHECK_STATUS(ad_function_call(f, from, to, NULL), AD_OK);
  for (int i = 0; i < COUNT; i++) CHECK_NUMBER(x[i], 0.5*i, 0);
  for (int i = 0; i < EXAMPLES; i++) CHECK_NUMBER(losses[i], log(3), 1e-15);
  ad_function_free(f);
}

int main(void) {
  test_part_is_base();
  test_programs();
  test_turned();
  test_failing();
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
