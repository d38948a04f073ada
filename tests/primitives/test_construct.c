/* test_construct.c -- zeros, ones, full, eye, arange, linspace: values in every dtype, what a node of them
 * costs, errors. */
#include "array_checks.h"
#include "primitives/construct.h"

static ad_type scalar(ad_dtype dtype) { return ad_type_make(dtype, 0, NULL); }

static void test_fillings(void) {
  for (int dtype = 0; dtype < AD_DTYPES; dtype++)
    for (int i = 0; i < 20; i++) {
      ad_tape *t = ad_tape_new();
      ad_type type = random_type((ad_dtype)dtype, 0, 8);
      const size_t count = (size_t)ad_type_count(type);
      double *want = calloc(count + 1, sizeof *want);
      check_values(ad_zeros(t, type), want, "zeros");
      for (size_t k = 0; k < count; k++) want[k] = 1;
      check_values(ad_ones(t, type), want, "ones");
      for (size_t k = 0; k < count; k++) want[k] = dtype == AD_BOOL ? 1 : -7;
      check_values(ad_full(t, type, -7), want, "full");
      check(ad_type_equal(ad_type_of(ad_full(t, type, 2)), type) && ad_tape_status(t) == AD_OK,
            "the type of full");
      free(want);
      ad_tape_free(t);
    }
}

static void test_conversion_of_the_filling(void) {
  ad_tape *t = ad_tape_new();
  check_values(ad_full(t, AD_I32(2), 2.9), (double[]){ 2, 2 }, "integers truncate");
  check_values(ad_full(t, AD_I32(1), 1e30), (double[]){ 2147483647 }, "and saturate");
  check_values(ad_full(t, AD_I64(1), -INFINITY), (double[]){ -9223372036854775808.0 }, "downwards too");
  check_values(ad_full(t, AD_I64(1), NAN), (double[]){ 0 }, "nan becomes 0");
  check_values(ad_full(t, scalar(AD_F32), 0.1), (double[]){ 0.1f }, "f32 rounds");
  double z;
  check(ad_read(ad_full(t, AD_F64(1), NAN), &z) == AD_OK && isnan(z), "nan stays nan in f64");
  check(ad_read(ad_full(t, AD_F64(1), -0.0), &z) == AD_OK && signbit(z), "-0 stays -0");
  ad_tape_free(t);
}

static void test_zeros_are_known_to_be_zeros(void) {
  ad_tape *t = ad_tape_new();
  check(is_zeros(ad_zeros(t, AD_F64(3))), "zeros");
  check(is_zeros(ad_full(t, AD_F32(3, 2), 0)), "full of 0");
  check(!is_zeros(ad_full(t, AD_F64(3), -0.0)), "not of -0");
  check(!is_zeros(ad_ones(t, AD_F64(3))), "not ones");
  check(!is_zeros(random_input(t, AD_F64(3))), "not an input");
  check(!is_zeros(ad_real(0)) && !is_zeros(ad_none()), "not what is no array");
  ad_tape_free(t);
}

static void test_large_fillings_cost_a_node(void) {
  ad_tape *t = ad_tape_new();
  ad_zeros(t, AD_F64(1));
  size_t before = ad_tape_bytes(t), nodes = ad_tape_size(t);
  ad_var z = ad_zeros(t, AD_F64(1 << 20, 1 << 20));
  check(ad_is_valid(z) && ad_tape_size(t) == nodes + 1 && ad_tape_bytes(t) < before + 4096,
        "8 TiB of zeros are a node");
  const ad_type type = AD_I32(300, 700);
  int32_t *data = room_for(type);
  bool good = ad_read(ad_full(t, type, 5), data) == AD_OK;
  for (int64_t i = 0; i < ad_type_count(type); i++) good = good && data[i] == 5;
  check(good, "a large array filled by threads");
  free(data);
  ad_tape_free(t);
}

static void test_eye(void) {
  for (int dtype = 0; dtype < AD_DTYPES; dtype++)
    for (int64_t n = 0; n < 5; n++)
      for (int64_t m = 0; m < 5; m++)
        for (int k = -6; k < 7; k++) {
          ad_tape *t = ad_tape_new();
          double want[16] = { 0 };
          for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < m; j++) want[i*m + j] = j - i == k;
          check_values(ad_eye(t, n, m, k, (ad_dtype)dtype), want, "eye");
          ad_tape_free(t);
        }
}

static void test_arange(void) {
  ad_tape *t = ad_tape_new();
  for (int dtype = AD_I32; dtype < AD_DTYPES; dtype++) {
    check_values(ad_arange(t, 0, 4, 1, (ad_dtype)dtype), (double[]){ 0, 1, 2, 3 }, "arange");
    check_values(ad_arange(t, 5, -1, -2, (ad_dtype)dtype), (double[]){ 5, 3, 1 }, "arange downwards");
    check(ad_type_of(ad_arange(t, 0, 4, -1, (ad_dtype)dtype)).dim[0] == 0,
          "arange away from its stop is empty");
    check(ad_type_of(ad_arange(t, 3, 3, 1, (ad_dtype)dtype)).dim[0] == 0, "arange of nothing");
  }
  check_values(ad_arange(t, 0, 1, 0.25, AD_F32), (double[]){ 0, 0.25, 0.5, 0.75 }, "arange by quarters");
  check_values(ad_arange(t, 0.5, 3, 1, AD_I32), (double[]){ 0, 1, 2 }, "elements are converted one by one");
  int64_t wide[2];
  check(ad_read(ad_arange(t, 9007199254740992.0, 9007199254740994.0, 1, AD_I64), wide) == AD_OK
        && wide[1] == 9007199254740993,
        "whole numbers beyond 2^53 are exact in i64");
  double z[1000];
  check(ad_read(ad_arange(t, 0, 100, 0.1, AD_F64), z) == AD_OK && z[999] == 999*0.1, "no error adds up");
  ad_tape_free(t);
}

static void test_linspace(void) {
  ad_tape *t = ad_tape_new();
  ad_var a = ad_scalar(t, 1), b = ad_scalar(t, 3), z = ad_linspace(a, b, 5), bar[2], ends[2] = { a, b };
  check_values(z, (double[]){ 1, 1.5, 2, 2.5, 3 }, "linspace");
  check(ad_vjp(1, &z, NULL, 2, ends, bar) == AD_OK && has_values(bar[0], (double[]){ 2.5 })
        && has_values(bar[1], (double[]){ 2.5 }),
        "adjoints of the ends");
  ad_var tangent[2] = { ad_none(), ad_constant(t, scalar(AD_F64), &(double){ 4 }) }, zdot;
  check(ad_jvp(2, ends, tangent, 1, &z, &zdot) == AD_OK && has_values(zdot, (double[]){ 0, 1, 2, 3, 4 }),
        "tangent of the stop");
  check_values(ad_linspace(a, b, 1), (double[]){ 1 }, "one point is the start");
  check(ad_type_of(ad_linspace(a, b, 0)).dim[0] == 0, "no points");
  const double low = -1.0/3, high = 1e17/7;
  double forth[101], back[101];
  ad_var l = ad_scalar(t, low), h = ad_scalar(t, high);
  check(ad_read(ad_linspace(l, h, 101), forth) == AD_OK && ad_read(ad_linspace(h, l, 101), back) == AD_OK,
        "linspace of 101");
  bool mirrored = forth[0] == low && forth[100] == high;
  for (int i = 0; i < 101; i++) mirrored = mirrored && forth[i] == back[100 - i];
  check(mirrored, "exact ends, and the same backwards");
  ad_var f = ad_array(t, scalar(AD_F32), &(float){ 2 });
  check(ad_type_of(ad_linspace(f, ad_real(0.1), 4)).dtype == AD_F32, "f32 ends give f32");
  check_values(ad_linspace(ad_integer(0), ad_constant(t, scalar(AD_I32), &(int32_t){ 3 }), 3),
               (double[]){ 0, 1.5, 3 }, "integers give f64");
  check(ad_tape_status(t) == AD_OK, "linspace");
  ad_tape_free(t);
}

static void test_errors(void) {
  ad_tape *t = ad_tape_new();
  ad_var a = ad_scalar(t, 1), v = ad_zeros(t, AD_F64(2));
  check_error(t, ad_zeros(t, AD_F64(-1)), AD_ERROR_SIZE, "zeros: not a type adit can hold");
  check_error(t, ad_ones(t, AD_F64(INT64_MAX, 2)), AD_ERROR_SIZE, "ones: not a type adit can hold");
  check_error(t, ad_full(t, ad_type_make(AD_F64, 9, NULL), 1), AD_ERROR_SIZE,
              "full: not a type adit can hold");
  check_error(t, ad_eye(t, -1, 2, 0, AD_F64), AD_ERROR_ARGUMENT, "eye: a negative size, (-1,2)");
  check_error(t, ad_eye(t, INT64_MAX/2, 8, 0, AD_F64), AD_ERROR_SIZE, "eye: the result is too big");
  check_error(t, ad_eye(t, 2, 2, 0, (ad_dtype)7), AD_ERROR_DTYPE, "eye: no such data type");
  check_error(t, ad_arange(t, 0, 1, 0, AD_F64), AD_ERROR_ARGUMENT,
              "arange: no such numbers, from 0 to 1 by 0");
  check_error(t, ad_arange(t, 0, INFINITY, 1, AD_F64), AD_ERROR_ARGUMENT, "arange: no such numbers");
  check_error(t, ad_arange(t, NAN, 1, 1, AD_F64), AD_ERROR_ARGUMENT, "arange: no such numbers");
  check_error(t, ad_arange(t, 0, 1e300, 1e-10, AD_F64), AD_ERROR_SIZE, "arange: too many numbers");
  check_error(t, ad_arange(t, 0, 1, 1e-19, AD_F64), AD_ERROR_SIZE, "arange: too many numbers");
  check_error(t, ad_arange(t, 0, 1, 2e-19, AD_F64), AD_ERROR_SIZE, "arange: the result is too big");
  check_error(t, ad_arange(t, 0, 5e9, 1e9, AD_I32), AD_ERROR_ARGUMENT,
              "arange: numbers from 0 to 5e+09 do not fit into i32");
  check_error(t, ad_arange(t, 0, 2, 1, AD_BOOL), AD_ERROR_DTYPE, "arange: bool is not a type of numbers");
  check_error(t, ad_linspace(a, v, 3), AD_ERROR_SHAPE, "linspace: the ends must be scalars");
  check_error(t, ad_linspace(a, a, -1), AD_ERROR_ARGUMENT, "linspace: -1 points");
  check_error(t, ad_linspace(a, a, INT64_MAX), AD_ERROR_SIZE, "linspace: not a type adit can hold");
  check(!ad_is_valid(ad_linspace(ad_real(0), ad_real(1), 3)), "linspace of two numbers has no tape");
  check(!ad_is_valid(ad_zeros(NULL, AD_F64(2))) && !ad_is_valid(ad_eye(NULL, 2, 2, 0, AD_F64)), "no tape");
  ad_tape_free(t);
}

int main(void) {
  test_fillings();
  test_conversion_of_the_filling();
  test_zeros_are_known_to_be_zeros();
  test_large_fillings_cost_a_node();
  test_eye();
  test_arange();
  test_linspace();
  test_errors();
  return report();
}
