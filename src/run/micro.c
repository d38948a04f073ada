/* micro.c -- running micro programs: each instruction ends in a jump of its own to the next one's, which
 * processors foresee better than one jump for all. */
#include "run/micro.h"
#include "run/kernels/plain_rows.h"

#include <math.h>
#include <string.h>

#define C(k) ((REAL)k)
#define SECOND_(a, b, ...) b
#define SECOND(...) SECOND_(__VA_ARGS__)

#define REAL float
#define MATH(name) name##f
#define HELPER(name) name##_in_f32
#include "primitives/helpers.h"
#undef REAL
#undef MATH
#undef HELPER
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#define ELEMENT int32_t
#define UNSIGNED uint32_t
#define TYPED(prefix) prefix##i32
#include "run/kernels/integer_rows.inc"
#undef ELEMENT
#undef UNSIGNED
#undef TYPED
#define ELEMENT int64_t
#define UNSIGNED uint64_t
#define TYPED(prefix) prefix##i64
#include "run/kernels/integer_rows.inc"
#undef ELEMENT
#undef UNSIGNED
#undef TYPED
#include "primitives/row_names.h"
#include "primitives/scalar_tanh.h"
#undef REAL
#undef MATH
#undef HELPER

/* --- instructions that are calls ------------------------------------------------------------------------ */

/* An operand of one element, repeated. */
static const void *spread(char *to, const char *from, size_t size, size_t n) {
  for (size_t i = 0; i < n; i++) memcpy(to + i*size, from, size);
  return to;
}

static void run_call(const micro_call *c, const micro *i, char *frame) {
  char x[8*MICRO_MOST], y[8*MICRO_MOST];
  const char *px = frame + i->x, *py = frame + i->y;
  const bool spread_x = i->n > 1 && !i->sx, spread_y = i->n > 1 && c->y_size && !i->sy;
  c->kernel(i->n, frame + i->z, spread_x ? spread(x, px, c->x_size, i->n) : px,
            spread_y ? spread(y, py, c->y_size, i->n) : c->y_size ? py : NULL, NULL, c->attribute);
}

static ad_status run_operation(const micro_operation *k, char *frame) {
  const void **x = (const void **)(void *)(frame + k->list);
  for (int j = 0; j < k->op.n; j++) x[j] = frame + k->x[j];
  return k->op.primitive->run(&k->op, frame + k->z, x, frame + k->scratch);
}

/* PLAIN, ALL and NOTHING are what rows say of themselves. */
#define PLAIN(...) __VA_ARGS__
#define ALL(...) __VA_ARGS__
#define NOTHING(...)

/* --- rows of many elements ------------------------------------------------------------------------------ */

/* Functions of their own, which keep the loop below short: vectors where operands are arrays, or one of two
 * is a number. Results are where an operand is, or where none is. */
#if defined(__GNUC__)
#  define NOINLINE __attribute__((noinline))
#else
#  define NOINLINE
#endif
#ifdef __clang__                    /* it looks for vectors by itself, and would warn where there are none */
#  define INDEPENDENT
#else
#  define INDEPENDENT _Pragma("omp simd")
#endif
#define MANY_(dtype, row) many_##dtype##_##row
#define MANY(dtype, row)  MANY_(dtype, row)
#define HERE(type, letter) ((type *)(void *)(frame + i->letter))
#define EACH(result, operands, value) \
  INDEPENDENT \
  for (size_t k = 0; k < n; k++) { operands pz[k] = (result)(value); }
#define MANY_BEGIN(dtype, row, result) \
  static NOINLINE void MANY(dtype, row)(const micro *i, char *frame) { \
    const size_t n = i->n; \
    result *pz = HERE(result, z); \
    const ELEMENT *px = HERE(const ELEMENT, x);
#define FUNCTION_1_ONE(...)
#define FUNCTION_1_TWO(...)
#define FUNCTION_1_MANY(dtype, row, result, value) \
  MANY_BEGIN(dtype, row, result) \
    EACH(result, const ELEMENT x = px[k];, value) \
  }
#define FUNCTION_2_ONE(...)
#define FUNCTION_2_TWO(...)
#define FUNCTION_2_MANY(dtype, row, result, value) \
  MANY_BEGIN(dtype, row, result) \
    const ELEMENT *py = HERE(const ELEMENT, y); \
    if (i->sx && i->sy) EACH(result, const ELEMENT x = px[k]; const ELEMENT y = py[k];, value) \
    else if (i->sx) { const ELEMENT y = *py; EACH(result, const ELEMENT x = px[k];, value) } \
    else { const ELEMENT x = *px; EACH(result, const ELEMENT y = py[k];, value) } \
  }
#define ROW_1(dtype, length, row, result, value) FUNCTION_1_##length(dtype, row, result, value)
#define ROW_2(dtype, length, row, result, value) FUNCTION_2_##length(dtype, row, result, value)
#define ROW_A(...)
#define ROW_3(...)
#define CHOOSE(...)
#include "run/micro_rows.inc"
#undef ROW_1
#undef ROW_2
#undef ROW_A
#undef ROW_3
#undef CHOOSE

/* --- which rows there are ------------------------------------------------------------------------------- */

bool micro_has_row(ad_dtype dtype, unsigned length, elementwise_id row) {
  static const bool has[AD_DTYPES][MICRO_LENGTHS][ROW_COUNT] = {
#define AT_ENTRY(dtype, length, row) [AD_##dtype][MICRO_##length][row] = true,
#define ENTRY(dtype, length, row)    AT_ENTRY(dtype, length, row)
#define ROW_1(dtype, length, row, result, value) ENTRY(dtype, length, row)
#define ROW_A(dtype, length, row, result, value) ENTRY(dtype, length, row)
#define ROW_2(dtype, length, row, result, value) ENTRY(dtype, length, row)
#define ROW_3(dtype, length, row, result, value) ENTRY(dtype, length, row)
#define CHOOSE(dtype, length, row)               ENTRY(dtype, length, row)
#include "run/micro_rows.inc"
  };
  return has[dtype][length][row];
}
#undef AT_ENTRY

/* --- the loop ------------------------------------------------------------------------------------------- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

#define NEXT { \
    i++; \
    goto *label[i->code]; \
  }
#define TO(number) { \
    i = p->code + (number); \
    goto *label[i->code]; \
  }
#define AT(type, letter) ((type *)(void *)(frame + i->letter))
#define LABEL_(dtype, length, row) at_##dtype##_##length##_##row
#define LABEL(dtype, length, row)  LABEL_(dtype, length, row)
#define AT_ENTRY(dtype, length, row) \
  [MICRO_ROW(AD_##dtype, MICRO_##length, row)] = &&LABEL(dtype, length, row),

ad_status micro_run(const micro_program *p, uint32_t first, char *frame, micro_failure *failure) {
  static const void *const label[MICRO_CODES] = {
#include "run/micro_rows.inc"
    [MICRO_END] = &&end, [MICRO_COPY_1] = &&copy_1, [MICRO_COPY_8] = &&copy_8, [MICRO_COPY_16] = &&copy_16,
    [MICRO_COPY] = &&copy, [MICRO_REAL_OF_BOOL] = &&real_of_bool, [MICRO_BOOL_OF_REAL] = &&bool_of_real,
    [MICRO_CALL] = &&call, [MICRO_RUN] = &&run, [MICRO_GO] = &&go, [MICRO_UNLESS] = &&unless,
    [MICRO_WHILE] = &&go_while, [MICRO_AGAIN] = &&again
  };
  const micro *i = p->code + first;
  ad_status status;
  goto *label[i->code];

#undef ROW_1
#undef ROW_A
#undef ROW_2
#undef ROW_3
#undef CHOOSE
/* Elements of operands for element k. Both of two are read before the first is written. */
#define X const ELEMENT x = px[k*i->sx];
#define Y const ELEMENT y = py[k*i->sy];
#define W const ELEMENT w = pw[k*i->sw];
#define EACH_ONE(result, operands, value) { const size_t k = 0; operands pz[k] = (result)(value); }
#define EACH_TWO(result, operands, value) { \
    result z0, z1; \
    { const size_t k = 0; operands z0 = (result)(value); } \
    { const size_t k = 1; operands z1 = (result)(value); } \
    pz[0] = z0, pz[1] = z1; \
  }
#define EACH_MANY(result, operands, value) \
  for (size_t k = 0; k < i->n; k++) { operands pz[k] = (result)(value); }
#define ROW_BEGIN(dtype, length, row, result) LABEL(dtype, length, row): { result *pz = AT(result, z);
#define POINTER(letter) const ELEMENT *p##letter = AT(const ELEMENT, letter);
#define IN_PLACE_1(dtype, length, row, result, value) \
  ROW_BEGIN(dtype, length, row, result) POINTER(x) EACH_##length(result, X, value) NEXT }
#define IN_PLACE_2(dtype, length, row, result, value) \
  ROW_BEGIN(dtype, length, row, result) POINTER(x) POINTER(y) EACH_##length(result, X Y, value) NEXT }
#define BY_FUNCTION(dtype, length, row) LABEL(dtype, length, row): MANY(dtype, row)(i, frame); NEXT
#define AT_1_ONE(...)  IN_PLACE_1(__VA_ARGS__)
#define AT_1_TWO(...)  IN_PLACE_1(__VA_ARGS__)
#define AT_1_MANY(dtype, length, row, result, value) BY_FUNCTION(dtype, length, row)
#define AT_2_ONE(...)  IN_PLACE_2(__VA_ARGS__)
#define AT_2_TWO(...)  IN_PLACE_2(__VA_ARGS__)
#define AT_2_MANY(dtype, length, row, result, value) BY_FUNCTION(dtype, length, row)
#define ROW_1(dtype, length, row, result, value) AT_1_##length(dtype, length, row, result, value)
#define ROW_A(dtype, length, row, result, value) \
  ROW_BEGIN(dtype, length, row, result) POINTER(x) \
  const ELEMENT a = (ELEMENT)*AT(const double, y); \
  EACH_##length(result, X, value) NEXT }
#define ROW_2(dtype, length, row, result, value) AT_2_##length(dtype, length, row, result, value)
#define ROW_3(dtype, length, row, result, value) \
  ROW_BEGIN(dtype, length, row, result) POINTER(x) POINTER(y) POINTER(w) \
  EACH_##length(result, X Y W, value) NEXT }
#define CHOOSE(dtype, length, row) \
  ROW_BEGIN(dtype, length, row, ELEMENT) POINTER(y) POINTER(w) \
  const unsigned char *px = AT(const unsigned char, x); \
  EACH_##length(ELEMENT, const unsigned char x = px[k*i->sx]; Y W, x ? y : w) NEXT }
#include "run/micro_rows.inc"

copy_1:
  frame[i->z] = frame[i->x];
  NEXT
copy_8:
  memcpy(frame + i->z, frame + i->x, 8);
  NEXT
copy_16:
  memcpy(frame + i->z, frame + i->x, 16);
  NEXT
copy:
  memmove(frame + i->z, frame + i->x, i->n);
  NEXT
real_of_bool:
  *AT(double, z) = *AT(unsigned char, x);
  NEXT
bool_of_real:
  *AT(unsigned char, z) = *AT(double, x) != 0;
  NEXT
call:
  run_call(&p->call[i->to], i, frame);
  NEXT
run:
  status = run_operation(&p->operation[i->to], frame);
  if (status == AD_OK) NEXT
  failure->operation = &p->operation[i->to];
  return status;
go:
  TO(i->to)
unless:
  if (!*AT(unsigned char, x)) TO(i->to)
  NEXT
go_while:
  if (!*AT(unsigned char, x)) TO(i->to)
  if (*AT(int64_t, z) == p->loop[i->n].limit) goto limit;
  ++*AT(int64_t, z);
  NEXT
again:
  if (!*AT(unsigned char, x)) NEXT
  if (*AT(int64_t, z) == p->loop[i->n].limit) goto limit;
  ++*AT(int64_t, z);
  TO(i->to)
limit:
  failure->loop = &p->loop[i->n];
  return AD_ERROR_LIMIT;
end:
  return AD_OK;
}
#pragma GCC diagnostic pop

void micro_free(const ad_allocator *a, micro_program *p) {
  for (uint32_t k = 0; k < p->operations; k++) {
    const size_t n = (size_t)p->operation[k].op.n;
    memory_release(a, p->operation[k].types, n*sizeof *p->operation[k].types + 1);
    memory_release(a, p->operation[k].x, n*sizeof *p->operation[k].x + 1);
  }
  memory_release(a, p->code, p->code_capacity*sizeof *p->code);
  memory_release(a, p->call, p->call_capacity*sizeof *p->call);
  memory_release(a, p->loop, p->loop_capacity*sizeof *p->loop);
  memory_release(a, p->operation, p->operation_capacity*sizeof *p->operation);
  memory_release(a, p->image, p->image_capacity);
}
