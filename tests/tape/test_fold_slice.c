/* test_fold_slice.c -- slices of arrays put together, in the bodies of functions: what is cut out of one part
 * is cut out of that alone; against plain C for every slice of every axis, steps backwards, empty parts. */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "check.h"
#include "failing.h"
#include "function/count.h"

/* Parts of 2, 0, 3 and 1 along an axis of (2, 6, 3), or of its own. */
enum { PARTS = 4, ALL = 6, ROWS = 2, LAST = 3 };
static const int64_t lengths[PARTS] = { 2, 0, 3, 1 };

typedef struct setting { int axis, cut; int64_t start, count, step; } setting;

static ad_type part_type(int axis, int64_t length) {
  int64_t dim[3] = { ROWS, ROWS, LAST };
  dim[axis] = length;
  return AD_F64(dim[0], dim[1], dim[2]);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  (void)t;
  out[0] = ad_square(ad_slice(ad_concat(PARTS, in, s->axis), s->cut, s->start, s->count, s->step));
}

static ad_function *traced(const ad_allocator *a, setting *s) {
  ad_type in[PARTS];
  for (int k = 0; k < PARTS; k++) in[k] = part_type(s->axis, lengths[k]);
  return ad_function_trace_with(a, "slice", body, s, PARTS, in, 1, NULL);
}

static int part_of(int64_t i) { return i < 2 ? 0 : i < 5 ? 2 : 3; }

static double at(int axis, const int64_t index[3]) {
  return (double)(index[0] + 10*index[1] + 100*index[2] + 1000*axis);
}

/* All elements of the parts by their places in the whole. */
static void fill(int axis, double x[PARTS][ALL*ROWS*LAST]) {
  int64_t begin = 0;
  for (int k = 0; k < PARTS; k++) {
    const ad_type type = part_type(axis, lengths[k]);
    for (int64_t e = 0; e < ad_type_count(type); e++) {
      int64_t index[3] = { e/type.dim[2]/type.dim[1], e/type.dim[2]%type.dim[1], e%type.dim[2] };
      index[axis] += begin;
      x[k][e] = at(axis, index);
    }
    begin += lengths[k];
  }
}

static void check(setting s) {
  static double x[PARTS][ALL*ROWS*LAST], z[ALL*ROWS*LAST], slope[PARTS][ALL*ROWS*LAST];
  const int64_t last = s.start + (s.count - 1)*s.step;
  const bool one = s.cut == s.axis && part_of(s.start) == part_of(last);
  ad_function *f = traced(NULL, &s), *v = ad_function_vjp(f);
  if (!CHECK(f && v)) return;
  CHECK_THAT(count_named(f, "concat") == !one, "axis %d, slice of %d: %lld, %lld, %lld", s.axis, s.cut,
             (long long)s.start, (long long)s.count, (long long)s.step);
  fill(s.axis, x);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x[0], x[1], x[2], x[3] }, (void *[]){ z }, NULL), AD_OK);
  int64_t dim[3] = { ROWS, ROWS, LAST };
  dim[s.axis] = ALL, dim[s.cut] = s.count;
  bool good = true;
  double sum[2] = { 0, 0 };
  for (int64_t e = 0; e < dim[0]*dim[1]*dim[2]; e++) {
    int64_t index[3] = { e/dim[2]/dim[1], e/dim[2]%dim[1], e%dim[2] };
    index[s.cut] = s.start + index[s.cut]*s.step;
    const double value = at(s.axis, index);
    good &= z[e] == value*value;
    sum[0] += 2*value;
    z[e] = 1;
  }
  CHECK_THAT(good, "values along axis %d, slice of %d", s.axis, s.cut);
  CHECK_STATUS(ad_function_call(v, (const void *[]){ x[0], x[1], x[2], x[3], z },
                                (void *[]){ NULL, slope[0], slope[1], slope[2], slope[3] }, NULL), AD_OK);
  for (int k = 0; k < PARTS; k++)
    for (int64_t e = 0; e < ad_type_count(part_type(s.axis, lengths[k])); e++) sum[1] += slope[k][e];
  CHECK_NUMBER(sum[1], sum[0], 0);
  ad_function_free(v);
  ad_function_free(f);
}

static void test_slices(void) {
  for (int axis = 0; axis < 3; axis++)
    for (int64_t start = 0; start < ALL; start++)
      for (int64_t step = -2; step <= 2; step++)
        for (int64_t count = 1; count <= ALL && step; count++)
          if (start + (count - 1)*step >= 0 && start + (count - 1)*step < ALL)
            check((setting){ axis, axis, start, count, step });
  for (int axis = 0; axis < 3; axis++)
    for (int cut = 0; cut < 3; cut++)
      if (cut != axis) check((setting){ axis, cut, 1, 1, 1 });
}

/* A slice of nothing, and of all, is not of a part. */
static void test_empty(void) {
  ad_function *f = traced(NULL, &(setting){ 1, 1, 3, 0, 1 });
  CHECK(f && ad_type_count(ad_function_output_type(f, 0)) == 0);
  CHECK_STATUS(ad_function_call(f, (const void *[PARTS]){ 0 }, (void *[]){ NULL }, NULL), AD_OK);
  ad_function_free(f);
}

/* Concatenations in one another, as deep as a loop is long, of which the first and a late element are cut out;
 * slices in one another. */
enum { DEEP = 20000 };

static void deep_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var all = in[0], cut;
  (void)t, (void)context;
  for (int k = 0; k < DEEP; k++) {
    const ad_var parts[2] = { all, in[1] };
    all = ad_concat(2, parts, 0);
  }
  out[0] = ad_slice(all, 0, 0, 1, 1);
  out[1] = ad_slice(all, 0, 3, 1, 1);
  cut = in[2];
  for (int k = 0; k < DEEP/2; k++) cut = ad_slice(cut, 1, 1, DEEP/2 - k, 1);
  const int64_t start[2] = { 0, 1 }, column = 0;
  const double one = 1;
  out[2] = ad_sparse_matmul(ad_constant(t, AD_I64(2), start), ad_constant(t, AD_I64(1), &column),
                            ad_constant(t, AD_F64(1), &one), cut);
}

static void test_deep(void) {
  static double x[DEEP/2 + 1];
  double z[3] = { 0, 0, 0 };
  const double first = 5, more = 7;
  for (int i = 0; i <= DEEP/2; i++) x[i] = i;
  ad_function *f = ad_function_trace("deep", deep_body, NULL, 3,
                                     (const ad_type[]){ AD_F64(1), AD_F64(1), AD_F64(1, DEEP/2 + 1) }, 3);
  if (!CHECK(f)) return;
  CHECK(count_named(f, "concat") == 0 && count_named(f, "slice") == 0);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &first, &more, x }, (void *[]){ &z[0], &z[1], &z[2] },
                                NULL), AD_OK);
  CHECK(z[0] == 5 && z[1] == 7 && z[2] == DEEP/2);
  ad_function_free(f);
}

static bool trace_with(const ad_allocator *a, void *context) {
  ad_function *f = traced(a, context);
  const bool good = f && count_named(f, "concat") == 0;
  ad_function_free(f);
  return good;
}

int main(void) {
  test_slices();
  test_empty();
  test_deep();
  CHECK(failing_calls(trace_with, &(setting){ 1, 1, 3, 2, 1 }, true) > 10);
  return check_summary();
}
