/* test_types.c -- data types and shapes as recording sees them: weak literals, promotion, integer
 * arithmetic, casts, broadcasting, empty arrays, sizes that no memory holds. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"

#include <limits.h>

static const ad_dtype dtypes[] = { AD_BOOL, AD_I32, AD_I64, AD_F32, AD_F64 };

static ad_var number_of(ad_tape *t, ad_dtype dtype, double value) {
  double room = 0;
  check_set_element(dtype, &room, 0, value);
  return ad_array(t, ad_type_make(dtype, 0, NULL), &room);
}
static ad_dtype dtype_of(ad_var x) { return ad_type_of(x).dtype; }

#define CHECK_DTYPE(x, want) \
  CHECK_THAT(dtype_of(x) == (want), "%s is %s, not %s", #x, ad_dtype_name(dtype_of(x)), ad_dtype_name(want))

/* --- literals ------------------------------------------------------------------------------------------- */

static void test_weak_literals(void) {
  ad_tape *t = ad_tape_new();
  const ad_var b = number_of(t, AD_BOOL, 1), i = number_of(t, AD_I32, 3), l = number_of(t, AD_I64, 3),
               f = number_of(t, AD_F32, 3), d = number_of(t, AD_F64, 3), v = ad_array(t, AD_F32(2), NULL);
  CHECK_DTYPE(ad_mul(0.5, f), AD_F32);
  CHECK_DTYPE(ad_mul(f, 0.5f), AD_F32);
  CHECK_DTYPE(ad_mul(2, f), AD_F32);
  CHECK_DTYPE(ad_mul(0.5, v), AD_F32);
  CHECK_DTYPE(ad_mul(0.5, d), AD_F64);
  CHECK_DTYPE(ad_mul(2, l), AD_I64);
  CHECK_DTYPE(ad_mul(2, i), AD_I32);
  CHECK_DTYPE(ad_mul(2L, i), AD_I32);
  CHECK_DTYPE(ad_mul(2, b), AD_I32);
  CHECK_DTYPE(ad_mul(0.5, i), AD_F64);
  CHECK_DTYPE(ad_mul(0.5, l), AD_F64);
  CHECK_DTYPE(ad_mul(3000000000, i), AD_I64);
  CHECK_DTYPE(ad_mul(2.0, l), AD_F64);
  CHECK_DTYPE(ad_select(b, 1, 2), AD_I64);
  CHECK_DTYPE(ad_select(b, 1, 2.5), AD_F64);
  CHECK_DTYPE(ad_select(b, f, 0), AD_F32);
  CHECK_DTYPE(ad_fma(f, 2, 0.5), AD_F32);
  CHECK_DTYPE(ad_clamp(i, 0, 1), AD_I32);
  CHECK_DTYPE(ad_clamp(i, 0, 0.5), AD_F64);
  CHECK_NUMBER(ad_value(ad_mul(0.1, f)), (double)(0.1f*3), 0);
  CHECK_NUMBER(ad_value(ad_mul(3000000000, i)), 9e9, 0);
  CHECK_NUMBER(ad_value(ad_add(18446744073709551615u, d)), 18446744073709551615.0 + 3, 0);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* Arithmetic of literals alone is a literal: of no tape, and weak again. */
static void test_arithmetic_of_literals(void) {
  ad_tape *t = ad_tape_new();
  const ad_var i = number_of(t, AD_I32, 3), f = number_of(t, AD_F32, 3);
  CHECK_NUMBER(ad_value(ad_add(1, 2)), 3.0, 0);
  CHECK_NUMBER(ad_value(ad_div(1, 2)), 0.0, 0);
  CHECK_NUMBER(ad_value(ad_div(1.0, 2)), 0.5, 0);
  CHECK_NUMBER(ad_value(ad_sqrt(AD_VAR(2))), sqrt(2), 0);
  CHECK_NUMBER(ad_value(ad_pow(2, 0.5)), sqrt(2), 0);
  CHECK_NUMBER(ad_value(ad_max(2, 3)), 3.0, 0);
  CHECK(ad_is_valid(ad_add(1, 2)));
  CHECK_DTYPE(ad_mul(ad_add(1, 2), i), AD_I32);
  CHECK_DTYPE(ad_mul(ad_add(1, 0.5), f), AD_F32);
  double out = 0;
  CHECK_STATUS(ad_read(ad_add(1, 0.5), &out), AD_OK);
  CHECK_NUMBER(out, 1.5, 0);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* --- promotion ------------------------------------------------------------------------------------------ */

/* The dtype of arithmetic: rows and columns in the order of dtypes. */
static const ad_dtype arithmetic[AD_DTYPES][AD_DTYPES] = {
  { AD_I32, AD_I32, AD_I64, AD_F32, AD_F64 },
  { AD_I32, AD_I32, AD_I64, AD_F32, AD_F64 },
  { AD_I64, AD_I64, AD_I64, AD_F32, AD_F64 },
  { AD_F32, AD_F32, AD_F32, AD_F32, AD_F64 },
  { AD_F64, AD_F64, AD_F64, AD_F64, AD_F64 },
};
static ad_dtype real_of(ad_dtype d) { return d < AD_F32 ? AD_F64 : d; }

static void test_promotion_of(ad_tape *t, ad_dtype p, ad_dtype q) {
  const ad_var x = number_of(t, p, 7), y = number_of(t, q, 2);
  const double vx = p == AD_BOOL ? 1 : 7, vy = q == AD_BOOL ? 1 : 2;
  const ad_dtype common = arithmetic[p][q];
  CHECK(ad_dtype_promote(p, q) == common);
  CHECK_DTYPE(ad_add(x, y), common);
  CHECK_DTYPE(ad_max(x, y), common);
  CHECK_DTYPE(ad_atan2(x, y), real_of(common));
  CHECK_DTYPE(ad_less(x, y), AD_BOOL);
  CHECK_DTYPE(ad_logical_and(x, y), AD_BOOL);
  CHECK_DTYPE(ad_select(x, x, y), p == AD_BOOL && q == AD_BOOL ? AD_BOOL : common);
  CHECK_NUMBER(ad_value(ad_add(x, y)), vx + vy, 0);
  CHECK_NUMBER(ad_value(ad_mul(x, y)), vx*vy, 0);
  CHECK_NUMBER(ad_value(ad_div(x, y)), common < AD_F32 ? trunc(vx/vy) : vx/vy, 1e-7);
  CHECK_NUMBER(ad_value(ad_less(y, x)), vy < vx ? 1.0 : 0.0, 0);
  CHECK_NUMBER(ad_value(ad_select(ad_less(x, 0), x, y)), vy, 0);
  CHECK_NUMBER(ad_value(ad_hypot(x, y)), hypot(vx, vy), 1e-6);
}

static void test_promotion(void) {
  ad_tape *t = ad_tape_new();
  for (int p = 0; p < AD_DTYPES; p++)
    for (int q = 0; q < AD_DTYPES; q++) test_promotion_of(t, dtypes[p], dtypes[q]);
  for (int p = 0; p < AD_DTYPES; p++) {
    const ad_var x = number_of(t, dtypes[p], 1);
    CHECK_DTYPE(ad_neg(x), arithmetic[dtypes[p]][AD_BOOL]);
    CHECK_DTYPE(ad_exp(x), real_of(dtypes[p]));
    CHECK_DTYPE(ad_is_nan(x), AD_BOOL);
    CHECK_DTYPE(ad_logical_not(x), AD_BOOL);
    CHECK_DTYPE(ad_square(x), arithmetic[dtypes[p]][AD_BOOL]);
    CHECK_DTYPE(ad_pow(x, -1), real_of(dtypes[p]));
  }
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* Derivatives pass conversions between floats, and end at integers. */
static void test_derivatives_through_promotion(void) {
  ad_tape *t = ad_tape_new();
  const ad_var f = number_of(t, AD_F32, 3), d = number_of(t, AD_F64, 5), i = number_of(t, AD_I64, 2);
  const ad_var z = ad_mul(ad_mul(f, d), i);
  CHECK_DTYPE(z, AD_F64);
  ad_backward(z);
  CHECK_NUMBER(ad_adjoint(f), 10.0, 0);
  CHECK_NUMBER(ad_adjoint(d), 6.0, 0);
  CHECK_NUMBER(ad_adjoint(i), 0.0, 0);
  ad_var g[2];
  CHECK_STATUS(ad_grad(z, 2, (const ad_var[]){ f, d }, g), AD_OK);
  CHECK_DTYPE(g[0], AD_F32);
  CHECK_DTYPE(g[1], AD_F64);
  CHECK_NUMBER(ad_value(g[0]), 10.0, 0);
  CHECK_NUMBER(ad_value(g[1]), 6.0, 0);
  ad_backward(ad_mul(ad_cast(ad_cast(d, AD_I32), AD_F64), d));
  CHECK_NUMBER(ad_adjoint(d), 5.0, 0);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* --- integers ------------------------------------------------------------------------------------------- */

typedef ad_var binary(ad_var x, ad_var y);
typedef struct integer_row { const char *name; binary *call; int64_t x, y, want32, want64; } integer_row;
#define LEAST32 ((int64_t)INT32_MIN)
static const integer_row integer_rows[] = {
  { "add", ad_add, 7, -9, -2, -2 },
  { "add", ad_add, INT32_MAX, 1, INT32_MIN, (int64_t)INT32_MAX + 1 },
  { "sub", ad_sub, INT32_MIN, 1, INT32_MAX, LEAST32 - 1 },
  { "mul", ad_mul, 65536, 65536, 0, 4294967296 },
  { "mul", ad_mul, -7, 3, -21, -21 },
  { "div", ad_div, 7, 2, 3, 3 },
  { "div", ad_div, -7, 2, -3, -3 },
  { "div", ad_div, 7, 0, 0, 0 },
  { "div", ad_div, 0, 0, 0, 0 },
  { "div", ad_div, INT32_MIN, -1, INT32_MIN, -LEAST32 },
  { "fmod", ad_fmod, 7, 3, 1, 1 },
  { "fmod", ad_fmod, -7, 3, -1, -1 },
  { "fmod", ad_fmod, 7, 0, 0, 0 },
  { "fmod", ad_fmod, INT32_MIN, -1, 0, 0 },
  { "max", ad_max, -3, 2, 2, 2 },
  { "min", ad_min, -3, 2, -3, -3 },
};

static void pair_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = (*(binary *const *)context)(in[0], in[1]);
}

/* As scalars, in arrays, and in a function. */
static void test_integer_row(const integer_row *r, ad_dtype dtype) {
  enum { COUNT = 37 };
  const int64_t want = dtype == AD_I32 ? r->want32 : r->want64, n = COUNT;
  int64_t x[COUNT] = { 0 }, y[COUNT] = { 0 }, z[COUNT] = { 0 };
  const ad_type type = ad_type_make(dtype, 1, &n), types[] = { type, type };
  for (int i = 0; i < COUNT; i++) {
    check_set_element(dtype, x, i, (double)r->x);
    check_set_element(dtype, y, i, (double)r->y);
  }
  ad_tape *t = ad_tape_new();
  const ad_type scalar = ad_type_make(dtype, 0, NULL);
  const ad_var sz = r->call(ad_array(t, scalar, x), ad_array(t, scalar, y)),
               vz = r->call(ad_array(t, type, x), ad_array(t, type, y));
  CHECK_DTYPE(sz, dtype);
  CHECK_THAT(ad_value(sz) == (double)want, "%s(%lld, %lld) is %g", r->name, (long long)r->x, (long long)r->y,
             ad_value(sz));
  CHECK_STATUS(ad_read(vz, z), AD_OK);
  for (int i = 0; i < COUNT; i += 9) CHECK(check_element(dtype, z, i) == (double)want);
  binary *call = r->call;
  ad_function *f = ad_function_trace(r->name, pair_body, &call, 2, types, 1);
  memset(z, 0, sizeof z);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ x, y }, (void *const[]){ z }, NULL), AD_OK);
  for (int i = 0; i < COUNT; i += 9) CHECK(check_element(dtype, z, i) == (double)want);
  ad_function_free(f);
  ad_tape_free(t);
}

static void test_extreme_integers(void) {
  ad_tape *t = ad_tape_new();
  const int64_t least = INT64_MIN, most = INT64_MAX, odd = 9007199254740993;   /* 2^53 + 1: no double */
  const ad_var x = ad_array(t, AD_I64(), &least), y = ad_array(t, AD_I64(), &most),
               z = ad_array(t, AD_I64(), &odd);
  int64_t out = 0;
  ad_read(ad_div(x, -1), &out);
  CHECK(out == INT64_MIN);
  ad_read(ad_neg(x), &out);
  CHECK(out == INT64_MIN);
  ad_read(ad_abs(x), &out);
  CHECK(out == INT64_MIN);
  ad_read(ad_add(y, 1), &out);
  CHECK(out == INT64_MIN);
  ad_read(ad_fmod(x, -1), &out);
  CHECK(out == 0);
  ad_read(ad_add(z, 0), &out);
  CHECK(out == odd);
  ad_read(ad_mul(z, 1), &out);
  CHECK(out == odd);
  ad_read(ad_add(z, odd), &out);
  CHECK_THAT(out == 2*odd, "a literal of 2^53 + 1 lost its last bit: %lld", (long long)out);
  ad_read(ad_square(ad_array(t, AD_I64(), &(int64_t){ 3037000500 })), &out);
  CHECK(out == (int64_t)(3037000500u*(uint64_t)3037000500u));
  CHECK(ad_value(ad_less(ad_sub(z, 1), z)) == 1);
  CHECK(ad_value(ad_equal(ad_sub(z, 1), z)) == 0);
  CHECK(ad_value(ad_max(ad_sub(y, 1), y)) == (double)INT64_MAX);
  ad_read(ad_max(ad_sub(y, 1), y), &out);
  CHECK(out == INT64_MAX);
  ad_read(ad_select(ad_greater(y, 0), z, y), &out);
  CHECK(out == odd);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

static void test_bool_arithmetic(void) {
  ad_tape *t = ad_tape_new();
  const ad_var yes = number_of(t, AD_BOOL, 1), no = number_of(t, AD_BOOL, 0),
               v = ad_array(t, AD_BOOL(3), (const uint8_t[]){ 1, 0, 1 });
  CHECK_NUMBER(ad_value(ad_add(yes, yes)), 2.0, 0);
  CHECK_NUMBER(ad_value(ad_neg(yes)), -1.0, 0);
  CHECK_NUMBER(ad_value(ad_mul(0.5, yes)), 0.5, 0);
  CHECK_NUMBER(ad_value(ad_logical_xor(yes, no)), 1.0, 0);
  CHECK_NUMBER(ad_value(ad_logical_or(no, no)), 0.0, 0);
  CHECK_NUMBER(ad_value(ad_logical_not(number_of(t, AD_F64, 0.25))), 0.0, 0);
  CHECK_NUMBER(ad_value(ad_sum(v, AD_ALL_AXES, false)), 2.0, 0);
  CHECK_DTYPE(ad_sum(v, AD_ALL_AXES, false), AD_I64);
  CHECK_DTYPE(ad_select(v, v, no), AD_BOOL);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

/* --- casts ---------------------------------------------------------------------------------------------- */

typedef struct cast_row { ad_dtype from, to; double x, want; } cast_row;
static const cast_row cast_rows[] = {
  { AD_F64, AD_I32, 2.9, 2 },
  { AD_F64, AD_I32, -2.9, -2 },
  { AD_F64, AD_I32, 1e20, INT32_MAX },
  { AD_F64, AD_I32, -1e20, INT32_MIN },
  { AD_F64, AD_I32, NAN, 0 },
  { AD_F64, AD_I32, INFINITY, INT32_MAX },
  { AD_F64, AD_I64, 1e30, 9223372036854775807.0 },
  { AD_F64, AD_I64, -INFINITY, -9223372036854775808.0 },
  { AD_F64, AD_I64, NAN, 0 },
  { AD_F64, AD_I64, -7.5, -7 },
  { AD_F32, AD_I32, 3e9, INT32_MAX },
  { AD_F32, AD_I64, NAN, 0 },
  { AD_F32, AD_I64, 1e19, 9223372036854775807.0 },
  { AD_F64, AD_F32, 1e300, INFINITY },
  { AD_F64, AD_F32, NAN, NAN },
  { AD_F32, AD_F64, 0.5, 0.5 },
  { AD_F64, AD_BOOL, 0.25, 1 },
  { AD_F64, AD_BOOL, -0.0, 0 },
  { AD_F64, AD_BOOL, NAN, 1 },
  { AD_I64, AD_BOOL, 4294967296.0, 1 },
  { AD_I32, AD_BOOL, 256, 1 },
  { AD_BOOL, AD_F64, 1, 1 },
  { AD_BOOL, AD_I32, 1, 1 },
  { AD_I32, AD_I64, -5, -5 },
  { AD_I64, AD_I32, -5, -5 },
  { AD_I64, AD_F64, 9007199254740992.0, 9007199254740992.0 },
  { AD_I32, AD_F32, -16777216, -16777216 },
};

static void test_cast(const cast_row *r) {
  ad_tape *t = ad_tape_new();
  int64_t room[3] = { 0 }, out[3] = { 0 };
  for (int i = 0; i < 3; i++) check_set_element(r->from, room, i, r->x);
  const ad_type vector = ad_type_make(r->from, 1, (const int64_t[]){ 3 });
  const ad_var s = ad_cast(ad_array(t, ad_type_make(r->from, 0, NULL), room), r->to),
               v = ad_cast(ad_array(t, vector, room), r->to);
  CHECK_DTYPE(s, r->to);
  CHECK_THAT(check_near(ad_value(s), r->want, 0), "%s to %s of %g is %g", ad_dtype_name(r->from),
             ad_dtype_name(r->to), r->x, ad_value(s));
  CHECK_STATUS(ad_read(v, out), AD_OK);
  for (int i = 0; i < 3; i++) CHECK(check_near(check_element(r->to, out, i), r->want, 0));
  ad_tape_free(t);
}

/* --- shapes --------------------------------------------------------------------------------------------- */

static void test_types_that_cannot_be(void) {
  const int64_t nine[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, negative = -1, huge[] = { INT64_MAX, 2 },
                large[] = { 1 << 30, 1 << 30, 8 };
  CHECK(ad_type_make(AD_F64, 8, nine).rank == 8);
  CHECK(ad_type_make(AD_F64, 9, nine).rank == -1);
  CHECK(ad_type_make(AD_F64, -1, nine).rank == -1);
  CHECK(ad_type_make(AD_F64, 1, &negative).rank == -1);
  CHECK(ad_type_make(AD_F64, 2, huge).rank == -1);
  CHECK(ad_type_make(AD_F64, 3, large).rank == -1);
  CHECK(AD_F64(1, 1, 1, 1, 1, 1, 1, 1, 1).rank == -1);
  CHECK(!ad_type_valid(AD_F64(-3)));
  CHECK(ad_type_valid(AD_F64(0, 5)) && ad_type_count(AD_F64(0, 5)) == 0 && ad_type_bytes(AD_F32(2, 3)) == 24);
  CHECK(ad_type_count(AD_F64()) == 1 && ad_type_bytes(AD_BOOL(7)) == 7);
  ad_tape *t = ad_tape_new();
  CHECK(!ad_is_valid(ad_array(t, ad_type_make(AD_F64, 9, nine), NULL)));
  CHECK(ad_tape_status(t) == AD_ERROR_SIZE && strstr(ad_tape_message(t), "array"));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_array(t, (ad_type){ AD_F64, 2, { INT64_MAX, INT64_MAX } }, NULL)));
  CHECK(ad_tape_status(t) == AD_ERROR_SIZE);
  ad_tape_free(t);
}

static void test_sizes_that_overflow(void) {
  ad_tape *t = ad_tape_new();
  const int64_t side = (int64_t)1 << 31, square[] = { side, side };
  const ad_var x = ad_scalar(t, 1);
  CHECK(!ad_is_valid(ad_broadcast_to(x, 2, square)));
  CHECK(ad_tape_status(t) == AD_ERROR_SIZE);
  ad_tape_clear(t);
  const ad_var row = ad_broadcast_to(x, 2, (const int64_t[]){ 1, side }),
               column = ad_broadcast_to(x, 2, (const int64_t[]){ side, 1 });
  CHECK(ad_is_valid(row) && ad_is_valid(column));
  CHECK(!ad_is_valid(ad_add(row, column)));
  CHECK(ad_tape_status(t) == AD_ERROR_SIZE && strstr(ad_tape_message(t), "add"));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_matmul(column, row)));
  CHECK(ad_tape_status(t) == AD_ERROR_SIZE);
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_expand(ad_array(t, AD_F64(1, 1, 1, 1, 1, 1, 1, 1), NULL), 0)));
  CHECK(ad_tape_status(t) != AD_OK);
  ad_tape_free(t);
}

static void test_broadcast(void) {
  ad_type z;
  CHECK_STATUS(ad_type_broadcast(AD_F64(3, 1), AD_F64(4), &z), AD_OK);
  CHECK(ad_type_equal(z, AD_F64(3, 4)));
  CHECK_STATUS(ad_type_broadcast(AD_F64(), AD_F32(0, 2), &z), AD_OK);
  CHECK(ad_type_equal(z, AD_F64(0, 2)));
  CHECK_STATUS(ad_type_broadcast(AD_F64(0), AD_F64(1), &z), AD_OK);
  CHECK(ad_type_equal(z, AD_F64(0)));
  CHECK_STATUS(ad_type_broadcast(AD_F64(0), AD_F64(2), &z), AD_ERROR_SHAPE);
  CHECK_STATUS(ad_type_broadcast(AD_F64(3), AD_F64(4), &z), AD_ERROR_SHAPE);
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_array(t, AD_F64(3, 1), (const double[]){ 1, 2, 3 }),
               y = ad_array(t, AD_F64(4), (const double[]){ 10, 20, 30, 40 });
  const ad_var z2 = ad_mul(x, y);
  double v[12], dx[3], dy[4];
  CHECK_STATUS(ad_read(z2, v), AD_OK);
  for (int i = 0; i < 12; i++) CHECK(v[i] == (i/4 + 1)*10*(i%4 + 1));
  CHECK_STATUS(ad_backward(z2), AD_OK);
  CHECK_STATUS(ad_read_adjoint(x, dx), AD_OK);
  CHECK_STATUS(ad_read_adjoint(y, dy), AD_OK);
  for (int i = 0; i < 3; i++) CHECK(dx[i] == 100);
  for (int i = 0; i < 4; i++) CHECK(dy[i] == 6);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

static void test_empty_arrays(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_array(t, AD_F64(0), NULL), m = ad_array(t, AD_F64(3, 0), NULL), a = ad_scalar(t, 2);
  const ad_var y = ad_sum(ad_mul(ad_exp(x), a), AD_ALL_AXES, false), rows = ad_sum(m, AD_AXES(1), false);
  double out[3] = { 9, 9, 9 };
  ad_var g[2];
  CHECK_STATUS(ad_read(ad_sin(x), out), AD_OK);
  CHECK(out[0] == 9);
  CHECK_NUMBER(ad_value(y), 0.0, 0);
  CHECK_STATUS(ad_read(rows, out), AD_OK);
  CHECK(out[0] == 0 && out[1] == 0 && out[2] == 0);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_NUMBER(ad_adjoint(a), 0.0, 0);
  CHECK_STATUS(ad_read_adjoint(x, out), AD_OK);
  CHECK_STATUS(ad_grad(y, 2, (const ad_var[]){ x, a }, g), AD_OK);
  CHECK(ad_type_equal(ad_type_of(g[0]), AD_F64(0)));
  CHECK_NUMBER(ad_value(g[1]), 0.0, 0);
  CHECK_STATUS(ad_jvp(1, &x, &x, 1, &y, g), AD_OK);
  CHECK_NUMBER(ad_value(g[0]), 0.0, 0);
  CHECK_STATUS(ad_set(x, out), AD_OK);
  CHECK(ad_type_equal(ad_type_of(ad_matmul(ad_transpose(m, NULL), m)), AD_F64(0, 0)));
  double product[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
  CHECK_STATUS(ad_read(ad_matmul(m, ad_transpose(m, NULL)), product), AD_OK);
  for (int i = 0; i < 9; i++) CHECK(product[i] == 0);
  CHECK(ad_tape_status(t) == AD_OK);
  ad_tape_free(t);
}

int main(void) {
  test_weak_literals();
  test_arithmetic_of_literals();
  test_promotion();
  test_derivatives_through_promotion();
  for (size_t i = 0; i < sizeof integer_rows/sizeof *integer_rows; i++) {
    test_integer_row(&integer_rows[i], AD_I32);
    test_integer_row(&integer_rows[i], AD_I64);
  }
  test_extreme_integers();
  test_bool_arithmetic();
  for (size_t i = 0; i < sizeof cast_rows/sizeof *cast_rows; i++) test_cast(&cast_rows[i]);
  test_types_that_cannot_be();
  test_sizes_that_overflow();
  test_broadcast();
  test_empty_arrays();
  return check_summary();
}
