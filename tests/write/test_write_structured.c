/* test_write_structured.c -- structured operations written as C give what the interpreter gives.
 *
 * One operation after the other, over shapes, dtypes and attributes: values, tangents, cotangents and second
 * derivatives go into one file, which the system's compiler takes without a warning, with double and with
 * float as its real numbers. It is loaded and compared with ad_function_call.
 */
#define _POSIX_C_SOURCE 200809L
#include "adit/arrays.h"
#include "adit/code.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/losses.h"
#include "check.h"
#include "folder.h"

#include <dlfcn.h>
#include <stdlib.h>

/* --- the cases ------------------------------------------------------------------------------------------ */

/* What the numbers are like: quarters among others, for ties and zeros; nan, infinities and zeros of both
 * signs; powers of ten that overflow when multiplied. */
typedef enum numbers { PLAIN, SPECIAL, HUGE_AND_TINY } numbers;

typedef struct test_case {
  const char *name;
  ad_body *body;
  numbers kind;
  int lo, hi;                       /* of integers */
  int n;
  ad_type in[4];
} test_case;

#define T0(d)             { AD_##d, 0, { 0 } }
#define T1(d, a)          { AD_##d, 1, { a } }
#define T2(d, a, b)       { AD_##d, 2, { a, b } }
#define T3(d, a, b, c)    { AD_##d, 3, { a, b, c } }
#define T4(d, a, b, c, e) { AD_##d, 4, { a, b, c, e } }
#define T5(d, a, b, c, e, f) { AD_##d, 5, { a, b, c, e, f } }
#define SOME(...) __VA_ARGS__

/* Three rows of six entries. */
#define CSR_ROWS ad_constant(tape, type(AD_I64, 4), (const int64_t[]){ 0, 5, 5, 6 })

/* Of the sum of z^2. */
static ad_var adjoint_of(ad_var z, ad_var x) {
  ad_var g = x;
  ad_grad(ad_sum(ad_square(z), AD_ALL_AXES, false), 1, &x, &g);
  return g;
}

/* name, numbers, range of integers, number of inputs, their types, the result of a and b, c */
#define CASES(C)                                                                                             \
  C(zeros, PLAIN, 0, 1, 1, SOME(T1(F64, 4)),                                                                 \
    ad_concat(2, (ad_var[]){ ad_zeros(tape, type(AD_F64, 3)), a }, 0))                                       \
  C(full, PLAIN, 0, 1, 1, SOME(T1(F64, 4)),                                                                  \
    ad_concat(2, (ad_var[]){ ad_full(tape, type(AD_F64, 3), 0.1), a }, 0))                                   \
  C(full_f32, PLAIN, 0, 1, 1, SOME(T1(F32, 4)),                                                              \
    ad_concat(2, (ad_var[]){ ad_full(tape, type(AD_F32, 3), -2), a }, 0))                                    \
  C(full_i64, PLAIN, -9, 9, 1, SOME(T1(I64, 4)),                                                             \
    ad_concat(2, (ad_var[]){ ad_full(tape, type(AD_I64, 3), -7e10), a }, 0))                                 \
  C(full_bool, PLAIN, 0, 2, 1, SOME(T1(BOOL, 4)),                                                            \
    ad_concat(2, (ad_var[]){ ad_ones(tape, type(AD_BOOL, 3)), a }, 0))                                       \
  C(ones_empty, PLAIN, 0, 1, 1, SOME(T1(F64, 0)),                                                            \
    ad_concat(2, (ad_var[]){ ad_ones(tape, type(AD_F64, 0)), a }, 0))                                        \
  C(eye, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 5)), ad_slice_add(ad_eye(tape, 4, 5, 1, AD_F64), a, 0, 1, 1))       \
  C(eye_below, PLAIN, -9, 9, 1, SOME(T2(I32, 3, 2)),                                                         \
    ad_slice_add(ad_eye(tape, 5, 2, -2, AD_I32), a, 0, 0, 1))                                                \
  C(eye_missed, PLAIN, -9, 9, 1, SOME(T2(I32, 3, 2)),                                                        \
    ad_slice_add(ad_eye(tape, 3, 2, 7, AD_I32), a, 0, 0, 1))                                                 \
  C(arange, PLAIN, 0, 1, 1, SOME(T1(F64, 2)),                                                                \
    ad_concat(2, (ad_var[]){ ad_arange(tape, 0.1, 1, 0.3, AD_F64), a }, 0))                                  \
  C(arange_f32, PLAIN, 0, 1, 1, SOME(T1(F32, 2)),                                                            \
    ad_concat(2, (ad_var[]){ ad_arange(tape, 3, -5, -2, AD_F32), a }, 0))                                    \
  C(arange_i64, PLAIN, -9, 9, 1, SOME(T1(I64, 2)),                                                           \
    ad_concat(2, (ad_var[]){ ad_arange(tape, 3, -50, -7, AD_I64), a }, 0))                                   \
  C(arange_i32, PLAIN, -9, 9, 1, SOME(T1(I32, 2)),                                                           \
    ad_concat(2, (ad_var[]){ ad_arange(tape, 0.5, 9, 1.7, AD_I32), a }, 0))                                  \
  C(cumsum, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 5, 3)), ad_cumsum(a, 1))                                         \
  C(cumsum_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 4, 70)), ad_cumsum(a, -1))                                      \
  C(cumsum_i32, PLAIN, -9, 9, 1, SOME(T2(I32, 4, 3)), ad_cumsum(a, 0))                                       \
  C(cumsum_bool, PLAIN, 0, 2, 1, SOME(T1(BOOL, 9)), ad_cumsum(a, 0))                                         \
  C(cumsum_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 0, 3)), ad_cumsum(a, 0))                                      \
  C(cumprod, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 5, 3)), ad_cumprod(a, -2))                                      \
  C(cumprod_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 3, 6)), ad_cumprod(a, 0))                                      \
  C(cumprod_i64, PLAIN, -9, 9, 1, SOME(T2(I64, 3, 30)), ad_cumprod(a, 1))                                    \
  C(take, PLAIN, -5, 5, 2, SOME(T3(F64, 2, 5, 3), T2(I64, 4, 2)), ad_take(a, b, 1))                          \
  C(take_scalar, PLAIN, -5, 5, 2, SOME(T1(F32, 5), T0(I32)), ad_take(a, b, 0))                               \
  C(take_rows, PLAIN, -5, 5, 2, SOME(T2(I32, 5, 4), T1(I32, 3)), ad_take(a, b, 0))                           \
  C(take_none, PLAIN, -5, 5, 2, SOME(T2(F64, 5, 4), T1(I64, 0)), ad_take(a, b, -1))                          \
  C(scatter_add, PLAIN, -5, 5, 3, SOME(T2(F64, 3, 5), T1(I64, 8), T2(F64, 3, 8)),                            \
    ad_scatter_add(a, b, c, 1))                                                                              \
  C(scatter_rows, PLAIN, -5, 5, 3, SOME(T2(F32, 5, 3), T1(I32, 8), T2(F32, 8, 3)),                           \
    ad_scatter_add(a, b, c, 0))                                                                              \
  C(scatter_i32, PLAIN, -5, 5, 3, SOME(T1(I32, 5), T1(I64, 8), T1(I32, 8)), ad_scatter_add(a, b, c, 0))      \
  C(scatter_bool, PLAIN, -5, 5, 3, SOME(T1(BOOL, 5), T1(I64, 8), T1(BOOL, 8)), ad_scatter_add(a, b, c, 0))   \
  C(scatter_in_parts, PLAIN, -5, 5, 3, SOME(T2(F64, 5, 4), T1(I64, 17001), T2(F64, 17001, 4)),               \
    ad_scatter_add(a, b, c, 0))                                                                              \
  C(scatter_parts_f32, PLAIN, -5, 5, 3, SOME(T1(F32, 5), T1(I32, 70000), T1(F32, 70000)),                    \
    ad_scatter_add(a, b, c, 0))                                                                              \
  C(scatter_parts_zero, PLAIN, -5, 5, 3, SOME(T2(F64, 12, 4), T1(I64, 3001), T2(F64, 3001, 4)),              \
    ad_copysign(1, ad_scatter_add(ad_mul(ad_square(a), -0.0), b, c, 0)))                                     \
  C(gather, PLAIN, -4, 4, 2, SOME(T3(F64, 2, 4, 3), T3(I64, 2, 6, 3)), ad_gather(a, b, 1))                   \
  C(gather_broadcast, PLAIN, -4, 4, 2, SOME(T3(F64, 2, 4, 1), T3(I32, 1, 6, 3)), ad_gather(a, b, 1))         \
  C(gather_bool, PLAIN, -4, 4, 2, SOME(T2(BOOL, 2, 4), T2(I32, 2, 2)), ad_gather(a, b, -1))                  \
  C(gather_add, PLAIN, -4, 4, 3, SOME(T2(F64, 4, 3), T2(I64, 6, 3), T2(F64, 6, 3)),                          \
    ad_gather_add(a, b, c, 0))                                                                               \
  C(gather_add_i64, PLAIN, -4, 4, 3, SOME(T2(I64, 4, 3), T2(I64, 6, 1), T2(I64, 6, 3)),                      \
    ad_gather_add(a, b, c, 0))                                                                               \
  C(sparse_matmul, PLAIN, 0, 4, 3, SOME(T1(F64, 6), T1(I64, 6), T2(F64, 4, 9)),                              \
    ad_sparse_matmul(CSR_ROWS, b, a, c))                                                                     \
  C(sparse_matmul_f32, PLAIN, 0, 4, 3, SOME(T1(F32, 6), T1(I64, 6), T1(F32, 4)),                             \
    ad_sparse_matmul(CSR_ROWS, b, a, c))                                                                     \
  C(sparse_window, PLAIN, 0, 4, 3, SOME(T1(F64, 6), T1(I64, 6), T2(F64, 4, 9)),                              \
    ad_sparse_matmul(CSR_ROWS, b, a, ad_slice(c, 1, 2, 5, 1)))                                               \
  C(sparse_transposed, PLAIN, 0, 4, 3, SOME(T1(F64, 6), T1(I64, 6), T3(F64, 3, 5, 2)),                       \
    ad_sparse_matmul_transposed(CSR_ROWS, b, a, c, 4))                                                       \
  C(sparse_sampled, PLAIN, 0, 4, 3, SOME(T1(F64, 6), T1(I64, 6), T2(F64, 4, 11)),                            \
    adjoint_of(ad_sparse_matmul(CSR_ROWS, b, a, c), a))                                                      \
  C(one_hot, PLAIN, -1, 6, 1, SOME(T2(I64, 3, 2)), ad_one_hot(a, 5, AD_F64))                                 \
  C(one_hot_bool, PLAIN, -1, 6, 1, SOME(T0(I32)), ad_one_hot(a, 5, AD_BOOL))                                 \
  C(concat, PLAIN, 0, 1, 3, SOME(T2(F64, 2, 3), T2(F64, 2, 1), T2(F64, 2, 4)), ad_concat(3, in, -1))         \
  C(concat_rows, PLAIN, 0, 1, 3, SOME(T2(F32, 2, 3), T2(F32, 0, 3), T2(F32, 1, 3)), ad_concat(3, in, 0))     \
  C(stack, PLAIN, 0, 1, 3, SOME(T2(F64, 2, 3), T2(F64, 2, 3), T2(F64, 2, 3)), ad_stack(3, in, 1))            \
  C(stack_last, PLAIN, -5, 5, 2, SOME(T1(I32, 3), T1(I32, 3)), ad_stack(2, in, -1))                          \
  C(stack_scalars, PLAIN, 0, 1, 3, SOME(T0(F64), T0(F64), T0(F64)),                                          \
    ad_stack(4, (ad_var[]){ a, ad_mul(b, c), ad_sin(c), b }, 0))                                             \
  C(diag, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 3, 4)), ad_diag(a, 0))                                             \
  C(diag_above, PLAIN, 0, 1, 1, SOME(T2(F32, 3, 4)), ad_diag(a, 2))                                          \
  C(diag_missed, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 4)), ad_diag(a, -3))                                        \
  C(diag_embed, PLAIN, 0, 1, 1, SOME(T1(F64, 3)), ad_diag(a, -1))                                            \
  C(diag_embed_i32, PLAIN, -5, 5, 1, SOME(T1(I32, 3)), ad_diag(a, 2))                                        \
  C(trace, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 3, 4)), ad_trace(a))                                              \
  C(tril, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 3, 4)), ad_tril(a, -1))                                            \
  C(tril_far, PLAIN, 0, 2, 1, SOME(T2(BOOL, 4, 2)), ad_tril(a, 3))                                           \
  C(triu, PLAIN, 0, 1, 1, SOME(T3(F32, 2, 4, 3)), ad_triu(ad_sin(a), 1))                                     \
  C(triu_i64, PLAIN, -5, 5, 1, SOME(T2(I64, 3, 3)), ad_triu(a, -1))                                          \
  C(reshape, PLAIN, 0, 1, 1, SOME(T2(F64, 2, 6)), ad_reshape(a, 3, (const int64_t[]){ 3, 2, 2 }))            \
  C(reshape_scalar, PLAIN, 0, 1, 1, SOME(T1(F64, 1)), ad_sin(ad_reshape(a, 0, NULL)))                        \
  C(transpose, PLAIN, 0, 1, 1, SOME(T4(F64, 2, 3, 4, 2)), ad_transpose(a, (const int[]){ 2, 0, -1, 1 }))     \
  C(transpose_bool, PLAIN, 0, 2, 1, SOME(T2(BOOL, 3, 5)), ad_transpose(a, NULL))                             \
  C(transpose_many, PLAIN, 0, 1, 1, SOME(T5(F32, 2, 3, 2, 1, 4)),                                            \
    ad_transpose(a, (const int[]){ 4, 1, 3, 0, 2 }))                                                         \
  C(transpose_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 0)), ad_transpose(a, NULL))                             \
  C(broadcast_to, PLAIN, 0, 1, 1, SOME(T3(F64, 3, 1, 2)),                                                    \
    ad_broadcast_to(a, 4, (const int64_t[]){ 2, 3, 4, 2 }))                                                  \
  C(broadcast_scalar, PLAIN, -5, 5, 1, SOME(T0(I32)), ad_broadcast_to(a, 2, (const int64_t[]){ 2, 3 }))      \
  C(flip, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 3, 4)), ad_flip(a, AD_AXES(0, -1)))                                \
  C(flip_all, PLAIN, -5, 5, 1, SOME(T2(I64, 3, 4)), ad_flip(a, AD_ALL_AXES))                                 \
  C(slice, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 7, 3)), ad_slice(a, 1, -2, 3, -2))                                \
  C(slice_twice, PLAIN, 0, 1, 1, SOME(T2(F32, 6, 7)), ad_slice(ad_slice(a, 0, 1, 2, 3), 1, 6, 7, -1))        \
  C(slice_none, PLAIN, 0, 1, 1, SOME(T2(F64, 6, 7)), ad_slice(a, 0, 2, 0, 1))                                \
  C(slice_add, PLAIN, 0, 1, 2, SOME(T2(F64, 3, 7), T2(F64, 3, 3)), ad_slice_add(a, b, 1, 6, -3))             \
  C(slice_add_i32, PLAIN, -5, 5, 2, SOME(T2(I32, 5, 2), T2(I32, 2, 2)), ad_slice_add(a, b, 0, 1, 2))         \
  C(at, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 3, 4)), ad_at(a, 2, (const int64_t[]){ 1, -2 }))                     \
  C(at_element, PLAIN, 0, 1, 1, SOME(T2(F64, 2, 3)), ad_exp(ad_at(a, 2, (const int64_t[]){ 1, -1 })))        \
  C(at_add, PLAIN, 0, 1, 2, SOME(T2(F64, 3, 4), T1(F64, 4)), ad_at_add(a, b, 1, (const int64_t[]){ 1 }))     \
  C(at_add_element, PLAIN, 0, 1, 2, SOME(T2(F32, 3, 4), T0(F32)),                                            \
    ad_at_add(a, b, 2, (const int64_t[]){ 1, 3 }))                                                           \
  C(pad, PLAIN, 0, 1, 2, SOME(T2(F64, 3, 2), T0(F64)),                                                       \
    ad_pad(a, (const int64_t[]){ 1, 0 }, (const int64_t[]){ 0, 2 }, b))                                      \
  C(pad_i64, PLAIN, -5, 5, 1, SOME(T1(I64, 3)),                                                              \
    ad_pad(a, (const int64_t[]){ 2 }, (const int64_t[]){ 1 }, ad_integer(7)))                                \
  C(stop_gradient, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 2)),                                                      \
    ad_mul(ad_flip(ad_stop_gradient(a), AD_AXES(0)), a))                                                     \
  C(sum, PLAIN, 0, 1, 1, SOME(T3(F64, 3, 4, 5)), ad_sum(a, AD_AXES(1), false))                               \
  C(sum_all, PLAIN, 0, 1, 1, SOME(T2(F64, 40, 50)), ad_sum(a, AD_ALL_AXES, false))                           \
  C(sum_keep, PLAIN, 0, 1, 1, SOME(T2(F32, 30, 5)), ad_sum(a, AD_AXES(-2), true))                            \
  C(sum_apart, PLAIN, 0, 1, 1, SOME(T5(F64, 3, 2, 4, 2, 5)), ad_sum(a, AD_AXES(0, 2, 4), false))             \
  C(sum_apart_inner, PLAIN, 0, 1, 1, SOME(T4(F64, 3, 2, 4, 2)), ad_sum(a, AD_AXES(0, 2), true))              \
  C(sum_i32, PLAIN, -9, 9, 1, SOME(T2(I32, 3, 4)), ad_sum(a, AD_AXES(0), false))                             \
  C(sum_i64, PLAIN, -9, 9, 1, SOME(T2(I64, 3, 4)), ad_sum(a, AD_AXES(1), true))                              \
  C(sum_bool, PLAIN, 0, 2, 1, SOME(T1(BOOL, 900)), ad_sum(a, AD_ALL_AXES, false))                            \
  C(sum_columns, PLAIN, 0, 1, 1, SOME(T2(F64, 1300, 10)), ad_sum(a, AD_AXES(0), false))                      \
  C(sum_columns_f32, PLAIN, 0, 1, 1, SOME(T3(F32, 2, 512, 5)), ad_sum(a, AD_AXES(1), true))                  \
  C(sum_columns_wide, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 25, 150)), ad_sum(a, AD_AXES(1), false))               \
  C(sum_columns_tiles, PLAIN, 0, 1, 1, SOME(T2(F64, 1040, 128)), ad_sum(a, AD_AXES(0), false))               \
  C(sum_columns_few, PLAIN, 0, 1, 1, SOME(T2(F64, 13, 12)), ad_sum(a, AD_AXES(0), false))                    \
  C(sum_columns_i32, PLAIN, -9, 9, 1, SOME(T2(I32, 600, 7)), ad_sum(a, AD_AXES(0), false))                   \
  C(sum_columns_bool, PLAIN, 0, 2, 1, SOME(T2(BOOL, 40, 70)), ad_sum(a, AD_AXES(0), false))                  \
  C(sum_columns_steps, PLAIN, 0, 1, 2, SOME(T2(F64, 25, 5), T2(F64, 25, 69)),                                \
    ad_concat(2, (ad_var[]){ ad_sum(a, AD_AXES(0), false), ad_sum(b, AD_AXES(0), false) }, 0))               \
  C(sum_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 0, 3)), ad_sum(a, AD_AXES(0), false))                            \
  C(sum_of_none, PLAIN, 0, 1, 1, SOME(T2(F64, 0, 3)), ad_sum(a, AD_AXES(1), false))                          \
  C(mean, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 4)), ad_mean(a, AD_AXES(0), false))                                \
  C(prod, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 4, 3)), ad_prod(a, AD_AXES(1), false))                             \
  C(prod_apart, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 4, 3)), ad_prod(a, AD_AXES(0, 2), true))                     \
  C(prod_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 2, 5)), ad_prod(a, AD_ALL_AXES, false))                           \
  C(prod_huge, HUGE_AND_TINY, 0, 1, 1, SOME(T2(F64, 6, 12)), ad_prod(a, AD_AXES(1), false))                  \
  C(prod_special, SPECIAL, 0, 1, 1, SOME(T2(F64, 6, 3)), ad_prod(a, AD_AXES(1), false))                      \
  C(prod_i32, PLAIN, -9, 9, 1, SOME(T2(I32, 3, 30)), ad_prod(a, AD_AXES(1), false))                          \
  C(prod_bool, PLAIN, 0, 2, 1, SOME(T2(BOOL, 3, 2)), ad_prod(a, AD_AXES(1), false))                          \
  C(prod_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 0)), ad_prod(a, AD_AXES(1), false))                          \
  C(variance, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 9, 3)), ad_variance(a, AD_AXES(1), false, 1))                  \
  C(variance_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 8, 3)), ad_variance(a, AD_ALL_AXES, false, 0))                \
  C(variance_apart, PLAIN, 0, 1, 1, SOME(T3(F64, 4, 3, 5)), ad_variance(a, AD_AXES(0, 2), true, 2))          \
  C(variance_none, PLAIN, 0, 1, 1, SOME(T2(F64, 0, 3)), ad_variance(a, AD_AXES(0), false, 0))                \
  C(variance_all_free, PLAIN, 0, 1, 1, SOME(T1(F64, 2)), ad_variance(a, AD_AXES(0), false, 2))               \
  C(norm, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 9, 3)), ad_norm(a, AD_AXES(1), false))                             \
  C(norm_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 8, 3)), ad_norm(a, AD_ALL_AXES, false))                           \
  C(norm_huge, HUGE_AND_TINY, 0, 1, 1, SOME(T2(F64, 7, 2)), ad_norm(a, AD_AXES(1), false))                   \
  C(norm_special, SPECIAL, 0, 1, 1, SOME(T2(F64, 8, 2)), ad_norm(a, AD_AXES(1), true))                       \
  C(norm_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 0)), ad_norm(a, AD_AXES(1), true))                           \
  C(min, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 9, 3)), ad_reduce_min(a, AD_AXES(1), false))                        \
  C(max, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 9, 3)), ad_reduce_max(a, AD_AXES(0, 2), true))                      \
  C(min_special, SPECIAL, 0, 1, 1, SOME(T2(F32, 9, 3)), ad_reduce_min(a, AD_AXES(1), false))                 \
  C(max_special, SPECIAL, 0, 1, 1, SOME(T2(F64, 9, 3)), ad_reduce_max(a, AD_AXES(1), false))                 \
  C(min_i32, PLAIN, -99, 99, 1, SOME(T2(I32, 20, 3)), ad_reduce_min(a, AD_AXES(0), false))                   \
  C(max_i64, PLAIN, -99, 99, 1, SOME(T2(I64, 20, 3)), ad_reduce_max(a, AD_ALL_AXES, false))                  \
  C(max_columns, SPECIAL, 0, 1, 1, SOME(T2(F64, 600, 6)), ad_reduce_max(a, AD_AXES(0), false))               \
  C(min_columns, SPECIAL, 0, 1, 1, SOME(T3(F32, 2, 30, 66)), ad_reduce_min(a, AD_AXES(1), false))            \
  C(min_columns_i64, PLAIN, -99, 99, 1, SOME(T2(I64, 30, 66)), ad_reduce_min(a, AD_AXES(0), false))          \
  C(max_columns_zero, PLAIN, 0, 1, 1, SOME(T2(F64, 1300, 9)),                                                \
    ad_copysign(1, ad_reduce_max(ad_mul(a, 0.0), AD_AXES(0), false)))                                        \
  C(max_bool, PLAIN, 0, 2, 1, SOME(T2(BOOL, 5, 3)), ad_reduce_max(a, AD_AXES(1), false))                     \
  C(min_of_none, PLAIN, 0, 1, 1, SOME(T2(F64, 0, 3)), ad_reduce_min(a, AD_AXES(1), false))                   \
  C(argmin, SPECIAL, 0, 1, 1, SOME(T3(F64, 4, 5, 3)), ad_argmin(a, 1, false))                                \
  C(argmax, SPECIAL, 0, 1, 1, SOME(T2(F32, 9, 3)), ad_argmax(a, -1, true))                                   \
  C(argmax_i32, PLAIN, -5, 5, 1, SOME(T2(I32, 9, 3)), ad_argmax(a, 0, false))                                \
  C(argmin_bool, PLAIN, 0, 2, 1, SOME(T1(BOOL, 9)), ad_argmin(a, 0, false))                                  \
  C(any, PLAIN, 0, 2, 1, SOME(T2(BOOL, 9, 2)), ad_any(a, AD_AXES(1), false))                                 \
  C(all, PLAIN, 0, 2, 1, SOME(T2(BOOL, 2, 9)), ad_all(a, AD_AXES(0), true))                                  \
  C(all_empty, PLAIN, 0, 2, 1, SOME(T2(BOOL, 2, 0)), ad_all(a, AD_AXES(1), false))                           \
  C(any_empty, PLAIN, 0, 2, 1, SOME(T2(BOOL, 2, 0)), ad_any(a, AD_AXES(1), false))                           \
  C(any_of_floats, PLAIN, 0, 2, 1, SOME(T2(F64, 5, 2)), ad_any(ad_greater(a, 1), AD_AXES(1), false))         \
  C(logsumexp, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 9, 3)), ad_logsumexp(a, AD_AXES(1), false))                   \
  C(logsumexp_f32, PLAIN, 0, 1, 1, SOME(T2(F32, 8, 3)), ad_logsumexp(a, AD_ALL_AXES, false))                 \
  C(logsumexp_apart, PLAIN, 0, 1, 1, SOME(T3(F64, 4, 3, 5)), ad_logsumexp(a, AD_AXES(0, 2), true))           \
  C(logsumexp_special, SPECIAL, 0, 1, 1, SOME(T2(F64, 12, 2)), ad_logsumexp(a, AD_AXES(1), false))           \
  C(logsumexp_huge, HUGE_AND_TINY, 0, 1, 1, SOME(T2(F64, 12, 2)), ad_logsumexp(a, AD_AXES(1), false))        \
  C(logsumexp_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 0)), ad_logsumexp(a, AD_AXES(1), false))                \
  C(argsort, SPECIAL, 0, 1, 1, SOME(T3(F64, 2, 11, 3)), ad_argsort(a, 1, false))                             \
  C(argsort_down, SPECIAL, 0, 1, 1, SOME(T2(F32, 3, 17)), ad_argsort(a, 1, true))                            \
  C(argsort_i64, PLAIN, -5, 5, 1, SOME(T2(I64, 33, 2)), ad_argsort(a, 0, true))                              \
  C(argsort_bool, PLAIN, 0, 2, 1, SOME(T1(BOOL, 9)), ad_argsort(a, 0, false))                                \
  C(argsort_one, PLAIN, 0, 2, 1, SOME(T1(F64, 1)), ad_argsort(a, 0, false))                                  \
  C(sort, PLAIN, 0, 1, 1, SOME(T3(F64, 2, 13, 3)), ad_sort(a, 1, false))                                     \
  C(sort_down, PLAIN, 0, 1, 1, SOME(T2(F32, 3, 200)), ad_sort(a, 1, true))                                   \
  C(sort_i32, PLAIN, -99, 99, 1, SOME(T1(I32, 200)), ad_sort(a, 0, false))                                   \
  C(sort_empty, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 0)), ad_sort(a, 1, true))                                    \
  C(blocks, PLAIN, 0, 1, 1, SOME(T2(F64, 3, 3000)),                                                          \
    ad_sum(ad_norm(a, AD_AXES(1), false), AD_ALL_AXES, false))                                               \
  C(blocks_down, PLAIN, 0, 1, 1, SOME(T2(F32, 2500, 2)), ad_logsumexp(a, AD_AXES(0), false))                 \
  C(cross_entropy, PLAIN, 0, 5, 2, SOME(T2(F64, 4, 5), T1(I64, 4)), ad_cross_entropy(a, b, AD_MEAN))

static ad_type type(ad_dtype dtype, int64_t n) { return ad_type_make(dtype, 1, &n); }

#define BODY(name, kind, lo, hi, n, types, result)                                                           \
  static void body_##name(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {                   \
    const ad_var a = in[0], b = in[(n) > 1 ? 1 : 0], c = in[(n) > 2 ? 2 : 0];                                \
    (void)tape, (void)context, (void)a, (void)b, (void)c;                                                    \
    out[0] = result;                                                                                         \
  }
CASES(BODY)

#define ENTRY(name, kind, lo, hi, n, types, result) { #name, body_##name, kind, lo, hi, n, { types } },
static const test_case cases[] = { CASES(ENTRY) };
enum { COUNT = sizeof cases/sizeof *cases, ORDERS = 4, MOST = 12 };

/* --- functions ------------------------------------------------------------------------------------------ */

typedef struct program {
  const test_case *from;
  char name[40];
  ad_function *f;
} program;

static bool is_float(ad_type t) { return t.dtype >= AD_F32; }

static bool has_derivative(const ad_function *f) {
  bool in = false, out = false;
  for (int i = 0; i < ad_function_inputs(f); i++) in |= is_float(ad_function_input_type(f, i));
  for (int j = 0; j < ad_function_outputs(f); j++) out |= is_float(ad_function_output_type(f, j));
  return in && out;
}

/* The value, and where there are floats the tangent, the cotangents, and those of the cotangents. */
static int make_programs(const test_case *c, program p[ORDERS]) {
  static const char *const order[ORDERS] = { "value", "jvp", "vjp", "vjp2" };
  ad_report report;
  int n = 1;
  p[0].f = ad_function_trace_report(c->name, c->body, NULL, c->n, c->in, 1, &report);
  if (!CHECK_THAT(p[0].f, "%s: %s", c->name, report.message)) return 0;
  if (has_derivative(p[0].f)) {
    p[1].f = ad_function_jvp(p[0].f);
    p[2].f = ad_function_vjp(p[0].f);
    p[3].f = p[2].f ? ad_function_vjp(p[2].f) : NULL;
    n = ORDERS;
  }
  for (int k = 0; k < n; k++) {
    p[k].from = c;
    snprintf(p[k].name, sizeof p[k].name, "%.24s_%s", c->name, order[k]);
    CHECK_THAT(p[k].f, "%s has no %s", c->name, order[k]);
  }
  return n;
}

/* --- the file ------------------------------------------------------------------------------------------- */

/* int call_p_NAME(in, out): the entry point with work memory of the sizes that the header says. */
static void put_caller(FILE *to, const program *p) {
  static const char *const pool[] = { "", "_F32", "_I64", "_I32", "_BOOL" };
  static const char *const element[] = { "p_real", "float", "int64_t", "int32_t", "unsigned char" };
  fprintf(to, "int call_p_%s(const void *const in[], void *const out[]);\n", p->name);
  fprintf(to, "int call_p_%s(const void *const in[], void *const out[]) {\n", p->name);
  for (int d = 0; d < 5; d++)
    fprintf(to, "#ifdef p_%s_WORK%s\n  static %s work%d[p_%s_WORK%s + 1];\n#endif\n", p->name, pool[d],
            element[d], d, p->name, pool[d]);
  fprintf(to, "  return p_%s(", p->name);
  for (int i = 0; i < ad_function_inputs(p->f); i++) fprintf(to, "in[%d], ", i);
  for (int j = 0; j < ad_function_outputs(p->f); j++) fprintf(to, "out[%d], ", j);
  fprintf(to, "work0\n");
  for (int d = 1; d < 5; d++) fprintf(to, "#ifdef p_%s_WORK%s\n  , work%d\n#endif\n", p->name, pool[d], d);
  fprintf(to, "  );\n}\n");
}

static bool write_file(int n, const program p[], const char *folder, int chunk) {
  ad_function **f = malloc((size_t)n*sizeof *f);
  const char **name = malloc((size_t)n*sizeof *name);
  char path[512];
  const ad_code options = { .name = "p", .chunk = chunk };
  ad_report report = { AD_OK, "" };
  for (int k = 0; k < n && f && name; k++) f[k] = p[k].f, name[k] = p[k].name;
  snprintf(path, sizeof path, "%s/p.c", folder);
  FILE *source = fopen(path, "w");
  snprintf(path, sizeof path, "%s/p.h", folder);
  FILE *header = fopen(path, "w");
  bool good = CHECK(f && name && source && header);
  if (good) {
    ad_functions_emit_c(n, f, name, source, header, &options, &report);
    good = CHECK_THAT(report.status == AD_OK, "emit: %s", report.message);
    for (int k = 0; k < n; k++) put_caller(source, &p[k]);
  }
  if (source) fclose(source);
  if (header) fclose(header);
  free(name);
  free(f);
  return good;
}

static bool run_compiler(const char *folder, const char *options) {
  char command[1400];
  const char *compiler = getenv("CC");
  snprintf(command, sizeof command,
           "cd '%s' && %s -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror %s p.c -lm", folder,
           compiler && *compiler ? compiler : "cc", options);
  return CHECK_THAT(system(command) == 0, "%s", command);
}

/* --- comparing ------------------------------------------------------------------------------------------ */

static double draw(const test_case *c, uint64_t *state) {
  static const double special[] = { NAN, INFINITY, -INFINITY, 0.0, -0.0, 1, -1, 3 };
  if (c->kind == SPECIAL) return special[check_below(state, 8)];
  if (c->kind == HUGE_AND_TINY) return check_uniform(state, 1, 2)*pow(10, 150*(check_below(state, 5) - 2));
  const double v = check_uniform(state, -2, 2);
  return check_below(state, 2) ? v : round(4*v)/4;
}

static void *array_of(ad_type t) { return calloc((size_t)ad_type_count(t) + 1, 8); }

static void fill(const test_case *c, ad_type t, void *data, uint64_t *state) {
  for (int64_t i = 0; i < ad_type_count(t); i++) {
    const double whole = c->lo + check_below(state, c->hi - c->lo);
    check_set_element(t.dtype, data, i, is_float(t) ? draw(c, state) : whole);
  }
}

/* Sums are of the same terms in the same order, but for products that the compiler may contract: those of
 * columns have the same bits. */
static void compare(const program *p, int j, ad_type t, const void *got, const void *want) {
  const bool exact = t.dtype < AD_F32 || strstr(p->name, "_columns");
  const double tolerance = exact ? 0 : t.dtype == AD_F64 ? 1e-13 : 3e-7;
  for (int64_t i = 0; i < ad_type_count(t); i++) {
    const double g = check_element(t.dtype, got, i), w = check_element(t.dtype, want, i);
    if (!CHECK_THAT(check_near(g, w, tolerance), "%s: output %d[%lld] is %.17g, not %.17g", p->name, j,
                    (long long)i, g, w))
      return;
  }
}

typedef int caller(const void *const in[], void *const out[]);

static void check_program(const program *p, void *library, uint64_t *state) {
  char name[64];
  void *in[MOST] = { NULL }, *got[MOST] = { NULL }, *want[MOST] = { NULL };
  const int n = ad_function_inputs(p->f), m = ad_function_outputs(p->f);
  caller *call = NULL;
  snprintf(name, sizeof name, "call_p_%s", p->name);
  *(void **)&call = dlsym(library, name);
  if (!CHECK_THAT(call && n <= MOST && m <= MOST, "%s is not there", name)) return;
  for (int j = 0; j < m; j++) {
    got[j] = array_of(ad_function_output_type(p->f, j));
    want[j] = array_of(ad_function_output_type(p->f, j));
  }
  for (int i = 0; i < n; i++) {
    in[i] = array_of(ad_function_input_type(p->f, i));
    fill(p->from, ad_function_input_type(p->f, i), in[i], state);
  }
  CHECK_STATUS(ad_function_call(p->f, (const void *const *)in, want, NULL), AD_OK);
  CHECK_THAT(call((const void *const *)in, got) == 0, "%s fails", p->name);
  for (int j = 0; j < m; j++) compare(p, j, ad_function_output_type(p->f, j), got[j], want[j]);
  for (int i = 0; i < n; i++) free(in[i]);
  for (int j = 0; j < m; j++) free(got[j]), free(want[j]);
}

/* Indices out of range are the status of the interpreter. */
static void check_failure(void *library, const char *name, const test_case *c, const void *const in[]) {
  char full[64];
  double got[64], want[64];
  caller *call = NULL;
  ad_function *f = ad_function_trace(c->name, c->body, NULL, c->n, c->in, 1);
  snprintf(full, sizeof full, "call_p_%s_value", name);
  *(void **)&call = dlsym(library, full);
  if (!CHECK(f && call)) return;
  CHECK_STATUS(ad_function_call(f, in, (void *const[]){ want }, NULL), AD_ERROR_ARGUMENT);
  CHECK_STATUS((ad_status)call(in, (void *const[]){ got }), AD_ERROR_ARGUMENT);
  ad_function_free(f);
}

static void check_failures(void *library) {
  static const double x[64] = { 1, 2, 3 };
  static const int64_t high[8] = { 0, 1, 5 }, low[8] = { 0, -6 };
  for (int k = 0; k < (int)COUNT; k++) {
    const char *name = cases[k].name;
    if (strcmp(name, "take") && strcmp(name, "scatter_add") && strcmp(name, "cross_entropy")
        && strncmp(name, "sparse", 6))
      continue;
    check_failure(library, name, &cases[k], (const void *const[]){ x, high, x });
    check_failure(library, name, &cases[k], (const void *const[]){ x, low, x });
  }
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static void check_programs(int n, const program p[], const char *folder, int chunk) {
  char path[512], options[64];
  uint64_t state = 20;
  snprintf(path, sizeof path, "%s/p%d.so", folder, chunk);
  snprintf(options, sizeof options, "-O1 -shared -fPIC -o p%d.so", chunk);
  if (!write_file(n, p, folder, chunk) || !run_compiler(folder, options)) return;
  run_compiler(folder, "-Dp_FLOAT -fsyntax-only");
  void *library = dlopen(path, RTLD_NOW);
  if (!CHECK_THAT(library, "%s", dlerror())) return;
  for (int k = 0; k < n; k++)
    for (int round = 0; round < 3; round++) check_program(&p[k], library, &state);
  check_failures(library);
  dlclose(library);
}

int main(void) {
  const char *const folder = folder_make();
  program *p = calloc(ORDERS*COUNT, sizeof *p);
  int n = 0;
  if (!CHECK(p && folder)) return check_summary();
  for (int k = 0; k < (int)COUNT; k++) n += make_programs(&cases[k], p + n);
  check_programs(n, p, folder, 0);
  check_programs(n, p, folder, 2);            /* operations in functions of their own */
  folder_remove(folder);
  for (int k = 0; k < n; k++) ad_function_free(p[k].f);
  free(p);
  return check_summary();
}
