/* test_joined.c -- arrays put together in written C: by axis, number of parts, who makes them and who looks
 * at them besides, for all types and ranks, with the bits of the interpreter.
 *
 * Written code makes parts where they go, as far as they have no other readers in the way; the interpreter
 * copies all of them. All numbers are small integers, whose products and sums are exact. */
#define _POSIX_C_SOURCE 200809L
#include "failing.h"
#include "written_all.h"

#include "adit.h"

static const double exact[2] = { 0, 0 };

/* Who makes a part. */
typedef enum maker {
  BY_REGION, BY_OTHER_REGION, BY_BROADCAST, BY_PRODUCT, BY_SUM, BY_ADDING, BY_INPUT, BY_CONSTANT, BY_FILL,
  BY_RESHAPE, BY_SLICE, BY_SCAN, BY_REGION_AGAIN, MAKERS
} maker;

/* Who looks at the join, and at its first part besides. */
typedef enum readers {
  REGION_READS, IS_OUTPUT, PART_IS_OUTPUT, PART_READ_LATER, TWICE_THE_SAME, JOINED_AGAIN, JOINED_TWICE,
  ADDED_TO, OUTPUT_AND_READ, VIEW_IS_READ, READERS
} readers;

enum { PARTS_MOST = 17 };

typedef struct joined {
  ad_dtype dtype;
  bool stack;
  int axis, n;
  ad_type part[PARTS_MOST];
  maker by[PARTS_MOST];
  readers reader;
} joined;

/* --- parts ---------------------------------------------------------------------------------------------- */

/* x^2 + x, or not x. */
static ad_var region(ad_var x) {
  return ad_type_of(x).dtype == AD_BOOL ? ad_logical_not(x) : ad_add(ad_square(x), x);
}

/* 2 x, or x, in another region: behind a flip, which is a step of its own. */
static ad_var other_region(ad_var x) {
  if (ad_type_of(x).rank) x = ad_flip(x, AD_AXES(0));
  return ad_type_of(x).dtype == AD_BOOL ? ad_logical_not(x) : ad_add(x, x);
}

/* x + its first row, which goes along the first axis. */
static ad_var broadcast(ad_var x) {
  const ad_type type = ad_type_of(x);
  if (type.rank == 0 || type.dim[0] == 0 || type.dtype == AD_BOOL) return region(x);
  return ad_mul(ad_slice(x, 0, 0, 1, 1), ad_add(x, x));
}

/* Of matrices, with a constant one; without zeros, whose sums have either sign. */
static ad_var product(ad_tape *t, ad_var x) {
  const ad_type type = ad_type_of(x);
  double a[64];
  if (type.rank < 2 || type.dtype != AD_F64 || type.dim[type.rank - 2] > 8) return region(x);
  const int64_t m = type.dim[type.rank - 2];
  for (int k = 0; k < 64; k++) a[k] = k%5 + 1;
  return ad_matmul(ad_constant(t, AD_F64(m, m), a), ad_add(x, 20));
}

static ad_var sum(ad_var x) {
  const ad_type type = ad_type_of(x);
  if (type.rank == AD_MAX_RANK || type.dtype < AD_I64) return region(x);
  return ad_sum(ad_stack(2, (const ad_var[]){ x, ad_add(x, x) }, type.rank), AD_AXES(type.rank), false);
}

/* x with 2 x's first row added to its last, in place of a copy. */
static ad_var adding(ad_var x) {
  const ad_type type = ad_type_of(x);
  if (type.rank == 0 || type.dim[0] == 0 || type.dtype == AD_BOOL) return region(x);
  return ad_slice_add(ad_add(x, x), ad_slice(ad_mul(3, x), 0, 0, 1, 1), 0, type.dim[0] - 1, 1);
}

static ad_var constant(ad_tape *t, ad_type type) {
  double data[600] = { 0 };
  for (int64_t e = 0; e < ad_type_count(type) && e < 600; e++)
    check_set_element(type.dtype, data, e, type.dtype == AD_BOOL ? (double)(e%2) : (double)(7*e%13));
  return ad_constant(t, type, data);
}

/* Made flat. */
static ad_var reshaped(ad_var x) {
  const ad_type type = ad_type_of(x);
  const int64_t n = ad_type_count(type);
  return ad_reshape(region(ad_reshape(x, 1, &n)), type.rank, type.dim);
}

/* A part of a longer one. */
static ad_var slice(ad_var x) {
  if (ad_type_of(x).rank == 0) return region(x);
  const int64_t n = ad_type_of(x).dim[0];
  return ad_slice(region(ad_concat(2, (const ad_var[]){ x, x }, 0)), 0, n > 0, n, 1);
}

static void twice(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = region(region(in[0]));
}

static ad_var scan(ad_var x) {
  const ad_type type = ad_type_of(x);
  ad_function *f = ad_function_trace("twice", twice, NULL, 1, &type, 1);
  ad_var z;
  ad_scan(f, 1, &(ad_loop){ .steps = 2 }, &x, &z);
  ad_function_free(f);
  return z;
}

static ad_var make(ad_tape *t, maker by, ad_var x, ad_var last) {
  switch (by) {
    case BY_REGION: return region(x);
    case BY_OTHER_REGION: return other_region(x);
    case BY_BROADCAST: return broadcast(x);
    case BY_PRODUCT: return product(t, x);
    case BY_SUM: return sum(x);
    case BY_ADDING: return adding(x);
    case BY_CONSTANT: return constant(t, ad_type_of(x));
    case BY_FILL: return ad_full(t, ad_type_of(x), 1);
    case BY_RESHAPE: return reshaped(x);
    case BY_SLICE: return slice(x);
    case BY_SCAN: return scan(x);
    case BY_REGION_AGAIN: return ad_type_equal(ad_type_of(last), ad_type_of(x)) ? region(last) : region(x);
    default: return x;
  }
}

static ad_var join(const joined *s, const ad_var x[]) {
  return s->stack ? ad_stack(s->n, x, s->axis) : ad_concat(s->n, x, s->axis);
}

/* Behind z, as it needs a number of it. */
static ad_var behind(ad_var x, ad_var z) {
  const int64_t n = ad_type_count(ad_type_of(z));
  if (n == 0) return region(x);
  const ad_var first = ad_at(ad_reshape(z, 1, &n), 1, (const int64_t[]){ n - 1 });
  return ad_type_of(x).dtype == AD_BOOL ? ad_logical_and(x, first) : ad_add(x, first);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const joined *s = context;
  ad_var x[PARTS_MOST];
  for (int k = 0; k < s->n; k++) x[k] = make(t, s->by[k], in[k], k ? x[k - 1] : in[k]);
  if (s->reader == TWICE_THE_SAME && ad_type_equal(s->part[0], s->part[s->n - 1])) x[s->n - 1] = x[0];
  const ad_var z = join(s, x), flat = ad_reshape(z, 1, (const int64_t[]){ ad_type_count(ad_type_of(z)) });
  out[1] = in[0];
  switch (s->reader) {
    case REGION_READS: case TWICE_THE_SAME: out[0] = region(z); break;
    case IS_OUTPUT: out[0] = z; break;
    case PART_IS_OUTPUT: out[0] = region(z), out[1] = x[0]; break;
    case PART_READ_LATER: out[0] = region(z), out[1] = behind(x[0], z); break;
    case JOINED_AGAIN: out[0] = region(ad_concat(3, (const ad_var[]){ flat, region(flat), flat }, 0)); break;
    case JOINED_TWICE: out[0] = z, out[1] = ad_concat(2, (const ad_var[]){ region(region(z)), z }, s->axis);
      break;
    case ADDED_TO:
      out[0] = s->dtype == AD_BOOL ? region(flat) : ad_slice_add(region(flat), flat, 0, 0, 1); break;
    case OUTPUT_AND_READ: out[0] = z, out[1] = behind(region(x[0]), region(z)); break;
    default: out[0] = region(flat), out[1] = ad_flip(flat, AD_AXES(0));
  }
}

/* Named by what it is: concat or stack, rank, axis, number of parts, their makers, who reads. */
static ad_function *trace(joined *s) {
  char name[80];
  ad_report report = { 0 };
  int at = snprintf(name, sizeof name, "%s_%d_%d_%d_", s->stack ? "stack" : "concat", s->part[0].rank,
                    s->axis, s->n);
  for (int k = 0; k < s->n; k++)
    at += snprintf(name + at, sizeof name - (size_t)at, "%c", 'a' + (int)s->by[k]);
  snprintf(name + at, sizeof name - (size_t)at, "_%d", (int)s->reader);
  ad_function *f = ad_function_trace_report(name, body, s, s->n, s->part, 2, &report);
  CHECK_THAT(f != NULL, "%s: %s", name, report.message);
  return f;
}

/* --- the table ------------------------------------------------------------------------------------------ */

/* Numbers from -9 to 9 but for 0, among which the negative zero is the only zero. */
static void fill(int i, int trial, int k, ad_type type, void *to) {
  uint64_t seed = (uint64_t)(1000*i + 100*trial + k + 1);
  for (int64_t e = 0; e < ad_type_count(type); e++) {
    const int value = check_below(&seed, 19) - 9;
    check_set_element(type.dtype, to, e, type.dtype == AD_BOOL ? value > 0 : value ? value : -0.0);
  }
}

/* Dimensions to choose from: small ones, and rows that are worth being written where they go. */
static const int64_t small_dims[] = { 3, 2, 1, 4, 5 }, long_dims[] = { 22, 28, 3, 40, 17 };

static ad_type choose_type(uint64_t *seed, const joined *s, int rank, bool is_long) {
  ad_type type = { s->dtype, rank, { 0 } };
  int64_t most = 600;
  for (int d = rank; d-- > 0;) {
    const int64_t dim = (is_long && most > 300 ? long_dims : small_dims)[check_below(seed, 5)];
    type.dim[d] = dim <= most ? dim : 1;
    most /= type.dim[d];
  }
  return type;
}

static ad_function *choose(uint64_t *seed, joined *s, int rank, bool is_long) {
  const ad_type first = choose_type(seed, s, rank, is_long);
  s->n = check_below(seed, 12) == 0 ? PARTS_MOST : 1 + check_below(seed, 5);
  const bool alike = check_below(seed, 3) > 0;
  for (int k = 0; k < s->n; k++) {
    s->part[k] = first;
    if (!s->stack && k && check_below(seed, 2)) s->part[k].dim[s->axis] = check_below(seed, 4);
    s->by[k] = (maker)(alike && k ? s->by[0] : (maker)check_below(seed, MAKERS));
  }
  return trace(s);
}

static void test_table(ad_dtype dtype, bool is_long) {
  const int draws = dtype == AD_F64 ? 3 : 1;
  uint64_t seed = 77 + (uint64_t)dtype + 10*(uint64_t)is_long;
  compiled w = { .n = 0 };
  int reader = 0;
  for (int rank = 0; rank <= 4; rank++)
    for (int stack = 0; stack < 2; stack++)
      for (int axis = 0; axis < rank + stack; axis++)
        for (int k = 0; k < draws; k++) {
          joined s = { .dtype = dtype, .stack = stack, .axis = axis };
          s.reader = (readers)(reader++%READERS);
          compiled_add(&w, choose(&seed, &s, rank, is_long));
        }
  all_run_by(2, &w, 2, exact, fill);
}

/* Every maker under every axis of rank 3, beside a region, for one reader after the other. */
static void test_makers(void) {
  compiled w = { .n = 0 };
  for (int by = 0; by < MAKERS; by++)
    for (int reader = 0; reader < READERS; reader++) {
      const int axis = (by + reader)%3;
      joined s = { .dtype = AD_F64, .stack = (by + reader)/3%2, .axis = axis, .n = 3 };
      s.reader = (readers)reader;
      for (int k = 0; k < 3; k++) s.part[k] = AD_F64(4, 5, 18), s.by[k] = k == 1 ? BY_REGION : (maker)by;
      compiled_add(&w, trace(&s));
    }
  all_run_by(2, &w, 2, exact, fill);
}

static void test_empty(void) {
  compiled w = { .n = 0 };
  for (int reader = 0; reader < READERS; reader++)
    for (int axis = 0; axis < 2; axis++)
      for (int where = 0; where < 2; where++) {
        joined s = { .dtype = AD_F32, .axis = axis, .n = 3, .reader = (readers)reader };
        for (int k = 0; k < 3; k++) s.part[k] = AD_F32(4, 20), s.by[k] = BY_REGION;
        if (where) s.part[reader%3].dim[axis] = 0;
        else for (int k = 0; k < 3; k++) s.part[k].dim[!axis] = 0;
        compiled_add(&w, trace(&s));
      }
  all_run_by(2, &w, 2, exact, fill);
}

/* --- native code, and memory that fails ----------------------------------------------------------------- */

static joined example(readers reader, int axis, int64_t rows) {
  joined s = { .dtype = AD_F64, .axis = axis, .n = 4, .reader = reader };
  const maker by[4] = { BY_REGION, BY_PRODUCT, BY_ADDING, BY_BROADCAST };
  for (int k = 0; k < 4; k++) s.part[k] = AD_F64(rows, 4, 28), s.by[k] = by[k];
  return s;
}

/* Joins of few elements, and of so many that the library's own kernels copy them else. */
static void test_native(void) {
  const char *const cache = folder_make();
  if (!CHECK(cache != NULL)) return;
  for (int axis = 0; axis < 3; axis++)
    for (int64_t rows = 6; rows < 300; rows += 200) {
      joined s = example(axis == 1 ? IS_OUTPUT : PART_READ_LATER, axis, rows);
      all_native(trace(&s), cache, exact, fill);
    }
  folder_remove(cache);
}

static bool emit(const ad_allocator *a, void *context) {
  joined *s = context;
  ad_function *f = ad_function_trace_with(a, "joined", body, s, s->n, s->part, 2, NULL);
  FILE *to = fopen("/dev/null", "w");
  const ad_status status = f && to ? ad_function_emit_c(f, to, NULL, &(ad_code){ .name = "p" }, NULL)
                                   : AD_ERROR_MEMORY;
  CHECK(status == AD_OK || status == AD_ERROR_MEMORY);
  if (to) fclose(to);
  ad_function_free(f);
  return status == AD_OK;
}

static void test_memory(void) {
  for (int axis = 0; axis < 2; axis++) {
    joined s = example(OUTPUT_AND_READ, axis, 3);
    CHECK(failing_calls(emit, &s, axis) > 50);
  }
}

int main(void) {
  test_makers();
  for (int is_long = 0; is_long < 2; is_long++) {
    test_table(AD_F64, is_long);
    test_table(AD_F32, is_long);
    test_table(AD_I64, is_long);
    test_table(AD_BOOL, is_long);
  }
  test_empty();
  test_native();
  test_memory();
  return check_summary();
}
