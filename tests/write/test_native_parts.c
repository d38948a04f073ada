/* test_native_parts.c -- parts added into large arrays: loops in the native code where the array is only
 * touched there, the library where all of it is copied; arrays put side by side. Values by hand, and the
 * interpreter's bits. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"

#include "adit.h"
#include "adit/code.h"

#include <stdio.h>
#include <stdlib.h>

/* GIVEN: the array is an input. LOOKED_AT: an output is the array without the parts. INDEX: by at_add. */
enum { GIVEN = 1, LOOKED_AT = 2, INDEX = 4, MOST_PARTS = 9 };

/* Part k, of one less axis than the array, belongs at start + k step of the axis. */
typedef struct setting {
  ad_dtype dtype;
  int64_t dim[3];
  int axis, parts;
  int64_t start, step;
  unsigned how;
} setting;

static ad_type part_type(const setting *s) {
  int64_t dim[2];
  for (int d = 0, e = 0; d < 3; d++)
    if (d != s->axis) dim[e++] = s->dim[d];
  return ad_type_make(s->dtype, 2, dim);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  (void)t;
  ad_var base = in[0];
  if (!(s->how & GIVEN)) base = s->dtype == AD_BOOL ? ad_logical_not(base) : ad_neg(base);
  out[1] = s->how & LOOKED_AT ? base : ad_sum(in[1], AD_ALL_AXES, false);
  if (s->how & INDEX) out[0] = ad_at_add(base, in[1], 1, &s->start);
  else out[0] = ad_slice_add(base, ad_stack(s->parts, in + 1, s->axis), s->axis, s->start, s->step);
}

static ad_function *traced(setting *s) {
  ad_type in[MOST_PARTS + 1] = { ad_type_make(s->dtype, 3, s->dim) };
  for (int k = 0; k < s->parts; k++) in[k + 1] = part_type(s);
  return ad_function_trace("parts", body, s, s->parts + 1, in, 2);
}

/* How often the text of the one function in the folder calls the library. */
static int count_calls(const char *folder) {
  return folder_number(folder, "cat *.c | grep -c 'host->run(host, '");
}

/* Whole numbers, of which some are -0. */
static double number(const setting *s, int array, int64_t i) {
  const int64_t k = (i*7 + array*5)%19 - 9;
  if (s->dtype == AD_BOOL) return k > 3;
  return k == 0 && array > 0 ? -0.0 : (double)k;
}

static double sum_by_hand(const setting *s, int64_t i) {
  const int64_t at[3] = { i/s->dim[2]/s->dim[1], i/s->dim[2]%s->dim[1], i%s->dim[2] };
  double z = number(s, 0, i);
  int64_t j = 0;
  if (!(s->how & GIVEN)) z = s->dtype == AD_BOOL ? !(z != 0) : -z;
  for (int d = 0; d < 3; d++)
    if (d != s->axis) j = j*s->dim[d] + at[d];
  for (int k = 0; k < s->parts; k++)
    if (at[s->axis] == s->start + k*s->step)
      z = s->dtype == AD_BOOL ? z != 0 || number(s, k + 1, j) != 0 : z + number(s, k + 1, j);
  return z;
}

enum { MOST = 1 << 17 };
static double numbers[MOST_PARTS + 1][MOST], want[MOST], got[MOST], other[MOST];

static void fill(const setting *s) {
  const int64_t all = s->dim[0]*s->dim[1]*s->dim[2];
  for (int k = 0; k <= s->parts; k++)
    for (int64_t i = 0; i < (k ? ad_type_count(part_type(s)) : all); i++)
      check_set_element(s->dtype, numbers[k], i, number(s, k, i));
  for (int64_t i = 0; i < all; i++) check_set_element(s->dtype, want, i, sum_by_hand(s, i));
}

static void check_parts(setting s, int calls) {
  const void *in[MOST_PARTS + 1];
  void *const out[2] = { got, other };
  const char *folder = folder_make();
  ad_function *f = traced(&s), *g = traced(&s);
  if (!CHECK(folder && f && g)) exit(1);
  const size_t bytes = (size_t)(s.dim[0]*s.dim[1]*s.dim[2])*ad_dtype_bytes(s.dtype);
  fill(&s);
  for (int k = 0; k <= s.parts; k++) in[k] = numbers[k];
  CHECK_STATUS(ad_function_compile(g, &(ad_native){ .cache = folder }, NULL), AD_OK);
  for (int native = 0; native < 2; native++) {
    memset(got, 0x55, bytes);
    CHECK_STATUS(ad_function_call(native ? g : f, in, out, NULL), AD_OK);
    CHECK_THAT(!memcmp(got, want, bytes), "type %d, axis %d, %d parts, step %d, how %u, native %d", s.dtype,
               s.axis, s.parts, (int)s.step, s.how, native);
  }
  CHECK_THAT(count_calls(folder) == calls, "%d calls: axis %d, %d parts, how %u", count_calls(folder), s.axis,
             s.parts, s.how);
  ad_function_free(f);
  ad_function_free(g);
  folder_remove(folder);
}

/* The array has more elements than are moved in line, the parts have not. */
static void test_parts(void) {
  static const ad_dtype dtypes[] = { AD_F64, AD_F32, AD_I64, AD_I32, AD_BOOL };
  for (int d = 0; d < 5; d++)
    for (int axis = 0; axis < 3; axis++) {
      const bool back = (d + axis)%2;
      check_parts((setting){ dtypes[d], { 40, 30, 28 }, axis, 2 + axis, back ? 22 : 1, back ? -7 : 1, 0 }, 0);
    }
  check_parts((setting){ AD_F64, { 30, 40, 30 }, 2, 8, 2, 3, 0 }, 0);
  check_parts((setting){ AD_F64, { 30, 40, 30 }, 2, 9, 2, 3, 0 }, 0);
  check_parts((setting){ AD_F32, { 30, 40, 30 }, 0, 1, 29, 1, INDEX }, 0);
}

/* All of the array is copied, or the parts are large themselves; their sum over all elements is in line. */
static void test_calls(void) {
  for (int axis = 0; axis < 3; axis++) {
    check_parts((setting){ AD_F64, { 40, 30, 28 }, axis, 2, 1, 1, GIVEN }, 1);
    check_parts((setting){ AD_F64, { 40, 30, 28 }, axis, 2, 1, 1, LOOKED_AT }, 1);
  }
  check_parts((setting){ AD_F64, { 100, 100, 10 }, 2, 2, 8, -5, 0 }, 2);
  check_parts((setting){ AD_F32, { 30, 40, 30 }, 0, 1, 29, 1, INDEX | GIVEN }, 1);
}

int main(void) {
  test_parts();
  test_calls();
  return check_summary();
}
