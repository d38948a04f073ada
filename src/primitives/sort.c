/* sort.c -- order along an axis: argsort, sort, topk.
 *
 * argsort maps each element to an unsigned key whose order is the wanted one, and sorts (key, position)
 * pairs: by insertion when there are few, else by radix, least significant byte first (Knuth, The Art of
 * Computer Programming, vol. 3, 5.2.5), leaving out bytes in which all keys agree. Both are stable. nan gets
 * the largest key in either direction, -0 that of 0.
 *
 * sort(x) is x gathered by argsort(x). The order is an operand of its own: value, tangents and adjoints of
 * any order share one argsort, and sort itself is linear, a permutation.
 */
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"
#include "primitives/strided_write.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

static const ad_primitive argsort_primitive, sort_primitive;

typedef struct entry { uint64_t key; int64_t position; } entry;

/* --- keys ----------------------------------------------------------------------------------------------- */

/* Order of IEEE numbers as unsigned integers: the sign bit flipped when clear, all bits flipped when set. */
static uint64_t key_f64(const void *x, int64_t i, bool descending) {
  const double v = ((const double *)x)[i];
  uint64_t bits = 0;
  if (v != v) return UINT64_MAX;
  if (v != 0) memcpy(&bits, &v, sizeof bits);
  bits = bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
  return descending ? ~bits : bits;
}

static uint64_t key_f32(const void *x, int64_t i, bool descending) {
  const float v = ((const float *)x)[i];
  uint32_t bits = 0;
  if (v != v) return UINT32_MAX;
  if (v != 0) memcpy(&bits, &v, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | (uint32_t)1 << 31;
  return descending ? ~bits : bits;
}

static uint64_t key_i64(const void *x, int64_t i, bool descending) {
  const uint64_t bits = (uint64_t)((const int64_t *)x)[i] ^ (uint64_t)1 << 63;
  return descending ? ~bits : bits;
}

static uint64_t key_i32(const void *x, int64_t i, bool descending) {
  const uint32_t bits = (uint32_t)((const int32_t *)x)[i] ^ (uint32_t)1 << 31;
  return descending ? ~bits : bits;
}

static uint64_t key_bool(const void *x, int64_t i, bool descending) {
  const bool v = ((const uint8_t *)x)[i] != 0;
  return v != descending;
}

/* Inlined once per dtype, so that each loop has its own key and no call. */
#define FILL(dtype)                                                                                          \
  static void fill_##dtype(entry *e, int64_t n, const void *x, int64_t step, bool descending) {              \
    for (int64_t i = 0; i < n; i++) e[i] = (entry){ key_##dtype(x, i*step, descending), i };                 \
  }
FILL(bool)
FILL(i32)
FILL(i64)
FILL(f32)
FILL(f64)

typedef void fill_function(entry *e, int64_t n, const void *x, int64_t step, bool descending);
static fill_function *const fill[AD_DTYPES] = { fill_bool, fill_i32, fill_i64, fill_f32, fill_f64 };

/* --- sorting pairs -------------------------------------------------------------------------------------- */

static void insertion_sort(entry *e, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    const entry moved = e[i];
    int64_t k = i;
    for (; k > 0 && e[k - 1].key > moved.key; k--) e[k] = e[k - 1];
    e[k] = moved;
  }
}

/* One pass by the byte at shift, with count[b] keys that have byte b there. */
static void scatter_by_byte(const entry *e, entry *to, int64_t n, int shift, int64_t count[256]) {
  int64_t begin = 0;
  for (int b = 0; b < 256; b++) {
    int64_t of_byte = count[b];
    count[b] = begin;
    begin += of_byte;
  }
  for (int64_t i = 0; i < n; i++) to[count[e[i].key >> shift & 255]++] = e[i];
}

/* Sorts e; the result is in e or in other, whichever is returned. */
static entry *radix_sort(entry *e, entry *other, int64_t n) {
  int64_t count[8][256] = { { 0 } };
  for (int64_t i = 0; i < n; i++)
    for (int byte = 0; byte < 8; byte++) count[byte][e[i].key >> 8*byte & 255]++;
  for (int byte = 0; byte < 8; byte++) {
    if (count[byte][e[0].key >> 8*byte & 255] == n) continue;
    scatter_by_byte(e, other, n, 8*byte, count[byte]);
    entry *sorted = other;
    other = e;
    e = sorted;
  }
  return e;
}

static void argsort_line(ad_dtype dtype, int64_t n, const void *x, int64_t *z, int64_t step, bool descending,
                         entry *room) {
  enum { FEW = 96 };
  entry *e = room;
  fill[dtype](e, n, x, step, descending);
  if (n <= FEW) insertion_sort(e, n);
  else e = radix_sort(e, room + n, n);
  for (int64_t i = 0; i < n; i++) z[i*step] = e[i].position;
}

/* --- argsort -------------------------------------------------------------------------------------------- */

typedef struct order { int64_t axis, descending; } order;

static ad_status argsort_type(ad_operation *op) {
  const order *a = op->attribute;
  const ad_type *x = op->x[0];
  if (a->axis < 0 || a->axis >= x->rank) return refuse_axis(op, a->axis, x);
  op->z = ad_type_make(AD_I64, x->rank, x->dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

/* Lines are shared out among this many workers, each with its own room for two lists of pairs. */
static int workers(const ad_operation *op) {
  enum { MOST = 8 };
  const int64_t count = ad_type_count(op->z), length = op->z.dim[((const order *)op->attribute)->axis];
  if (count < PARALLEL_ELEMENTS || length == 0) return 1;
  return count/length < MOST ? (int)(count/length) : MOST;
}

static size_t argsort_scratch(const ad_operation *op) {
  const int64_t length = op->z.dim[((const order *)op->attribute)->axis];
  return (size_t)workers(op)*(size_t)length*2*sizeof(entry);
}

static void argsort_lines(const ad_operation *op, int64_t begin, int64_t end, void *z, const void *x,
                          entry *room) {
  const order *a = op->attribute;
  const int axis = (int)a->axis;
  const int64_t length = op->z.dim[axis], inner = axes_product(&op->z, axis + 1, op->z.rank);
  const size_t width = ad_dtype_bytes(op->x[0]->dtype);
  for (int64_t l = begin; l < end; l++) {
    const int64_t first = l/inner*length*inner + l%inner;
    argsort_line(op->x[0]->dtype, length, (const char *)x + (size_t)first*width, (int64_t *)z + first, inner,
                 a->descending != 0, room);
  }
}

static ad_status argsort_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  const int64_t count = ad_type_count(op->z), length = op->z.dim[((const order *)op->attribute)->axis];
  const int n = workers(op);
  if (count == 0) return AD_OK;
  const int64_t lines = count/length;
  if (n == 1) {
    argsort_lines(op, 0, lines, z, x[0], scratch);
    return AD_OK;
  }
  PARALLEL_FOR
  for (int w = 0; w < n; w++)
    argsort_lines(op, part_begin(lines, w, n), part_begin(lines, w + 1, n), z, x[0],
                  (entry *)scratch + w*2*length);
  return AD_OK;
}

/* Written: merging, from runs of one element on. */
static const char argsort_text[] =
  "/* The places of n elements, step apart, in their order: in y, step apart too. room: 2*n numbers. */\n"
  "static void HELPER(%s)(int64_t *y, const REAL *x, int64_t n, int64_t step, int64_t *room) {\n"
  "  int64_t *from = room, *to = room + n, *other;\n"
  "  int64_t i, j, k, half, middle, end, begin;\n"
  "  for (i = 0; i < n; i++) from[i] = i;\n"
  "  for (half = 1; half < n; half *= 2) {\n"
  "    for (begin = 0; begin < n; begin = end) {\n"
  "      middle = n - begin < half ? n : begin + half;\n"
  "      end = n - middle < half ? n : middle + half;\n"
  "      for (i = begin, j = middle, k = begin; k < end; k++) {\n"
  "        int right = i == middle;\n"
  "        if (!right && j < end) {\n"
  "          const REAL a = x[from[i]*step], b = x[from[j]*step];\n"
  "          right = b %s a%s;\n"
  "        }\n"
  "        to[k] = right ? from[j++] : from[i++];\n"
  "      }\n"
  "    }\n"
  "    other = from, from = to, to = other;\n"
  "  }\n"
  "  for (i = 0; i < n; i++) y[i*step] = from[i];\n"
  "}\n";

static ad_status argsort_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const order *a = op->attribute;
  const ad_dtype dtype = op->x[0]->dtype;
  const int axis = (int)a->axis;
  const long long n = op->z.dim[axis], inner = axes_product(&op->z, axis + 1, op->z.rank);
  const long long count = ad_type_count(op->z);
  char text[sizeof argsort_text + 80], room[WRITTEN_INDEX];
  const char *name = a->descending ? "argsort_down" : "argsort_up";
  if (count == 0) return AD_OK;
  snprintf(text, sizeof text, argsort_text, name, a->descending ? ">" : "<",
           dtype < AD_F32 ? "" : " || (a != a && b == b)");
  snprintf(room, sizeof room, "%s", ad_write_scratch(w, AD_I64, 2*n));
  ad_write(w, "for (int64_t k = 0; k < %lld; k += %lld) {", count, n*inner);
  ad_write(w, "for (int64_t j = 0; j < %lld; j++) {", inner);
  ad_write(w, "%s(%s + k + j, %s + k + j, %lld, %lld, %s);", ad_write_routine(w, dtype, name, text), z, x[0],
           n, inner, room);
  write_close_loops(w, 2);
  return AD_OK;
}

/* ceil(log2 n) comparisons for each element of an axis of n. */
static void argsort_work(const ad_operation *op, ad_work *w) {
  const order *a = op->attribute;
  int64_t levels = 0;
  while (op->x[0]->rank && levels < 62 && (int64_t)1 << levels < op->x[0]->dim[a->axis]) levels++;
  w->flops = (double)ad_type_count(op->z)*(double)levels;
}

static const ad_primitive argsort_primitive = {
  .name = "argsort", .doc = "the positions of the elements in their order along an axis", .not_connected = 1,
  .type = argsort_type, .run = argsort_run, .work = argsort_work,
  .scratch_bytes = argsort_scratch, .batch = batch_along, .trail = trail_alike,
  .write = argsort_write };

ad_var ad_argsort(ad_var x, int axis, bool descending) {
  const order a = { axis_or_given(axis, ad_type_of(x).rank), descending };
  return ad_record(NULL, &argsort_primitive, 1, &x, &a, sizeof a);
}

/* --- sort: z[.., i, ..] = x[.., order[.., i, ..], ..], order a permutation of each line ----------------- */

static ad_status sort_type(ad_operation *op) {
  op->z = *op->x[0];
  return AD_OK;
}

#define SORT_LINE(T)                                                                                         \
  static void permute_##T(int64_t n, int64_t step, void *to, const void *from, const int64_t *position) {    \
    T *z = to;                                                                                               \
    const T *x = from;                                                                                       \
    for (int64_t i = 0; i < n; i++) z[i*step] = x[position[i*step]*step];                                    \
  }
typedef uint8_t word_1;
typedef uint32_t __attribute__((may_alias)) word_4;
typedef uint64_t __attribute__((may_alias)) word_8;
SORT_LINE(word_1)
SORT_LINE(word_4)
SORT_LINE(word_8)

static ad_status sort_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const int axis = (int)*(const int64_t *)op->attribute;
  const int64_t length = op->z.dim[axis], inner = axes_product(&op->z, axis + 1, op->z.rank);
  const size_t width = ad_dtype_bytes(op->z.dtype);
  const int64_t lines = ad_type_count(op->z) ? ad_type_count(op->z)/length : 0;
  for (int64_t l = 0; l < lines; l++) {
    const int64_t first = l/inner*length*inner + l%inner;
    (width == 8 ? permute_word_8 : width == 4 ? permute_word_4 : permute_word_1)
      (length, inner, (char *)z + (size_t)first*width, (const char *)x[0] + (size_t)first*width,
       (const int64_t *)x[1] + first);
  }
  return AD_OK;
}

static ad_status sort_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const int axis = (int)*(const int64_t *)op->attribute;
  const long long n = op->z.dim[axis], inner = axes_product(&op->z, axis + 1, op->z.rank);
  const long long count = ad_type_count(op->z);
  if (count == 0) return AD_OK;
  ad_write(w, "for (int64_t k = 0; k < %lld; k += %lld) {", count, n*inner);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", n);
  ad_write(w, "for (int64_t j = k; j < k + %lld; j++)", inner);
  ad_write(w, "  %s[j + i*%lld] = %s[j + %s[j + i*%lld]*%lld];", z, inner, x[0], x[1], inner, inner);
  write_close_loops(w, 2);
  return AD_OK;
}

/* The transpose of a permutation: each cotangent goes back to where its element came from. */
static ad_var sort_vjp(ad_rule *r, int k) {
  const int axis = (int)*(const int64_t *)r->op->attribute;
  return ad_gather_add(zeros_like_cotangent(r, r->op->x[k]), r->x[1], r->g, axis);
}

static const ad_primitive sort_primitive = {
  .name = "sort", .doc = "the elements in their order along an axis",
  .traits = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS,
  .not_connected = 1u << 1, .type = sort_type, .run = sort_run, .work = work_move,
  .vjp = sort_vjp, .batch = batch_along, .trail = trail_alike,
  .write = sort_write };

ad_var ad_sort(ad_var x, int axis, bool descending) {
  const int64_t a = axis_or_given(axis, ad_type_of(x).rank);
  ad_type t = ad_type_of(x);
  if (t.rank >= 0 && axis_resolve(axis, t.rank) < 0) return fail_axis(x, "sort", axis);
  ad_var operands[2] = { x, ad_argsort(x, axis, descending) };
  return ad_record(NULL, &sort_primitive, 2, operands, &a, sizeof a);
}

/* --- topk ----------------------------------------------------------------------------------------------- */

ad_status ad_topk(ad_var x, int64_t k, int axis, ad_var *values, ad_var *indices) {
  ad_tape *tape = ad_tape_of(1, &x);
  ad_type t = ad_type_of(x);
  const int a = axis_resolve(axis, t.rank);
  ad_var best, chosen;
  char text[192];
  if (t.rank < 0) best = chosen = ad_record(tape, &argsort_primitive, 1, &x, NULL, 0);
  else if (a < 0) best = chosen = fail_axis(x, "topk", axis);
  else if (k < 0 || k > t.dim[a])
    best = chosen = ad_fail(tape, AD_ERROR_ARGUMENT, "topk: %lld of the elements along axis %d of %s",
                            (long long)k, a,
                            ad_type_print(t, text, sizeof text));
  else {
    best = ad_slice(ad_argsort(x, axis, true), axis, 0, k, 1);
    chosen = values ? ad_gather(x, best, axis) : best;
  }
  if (values) *values = chosen;
  if (indices) *indices = best;
  if (ad_is_valid(best) && ad_is_valid(chosen)) return AD_OK;
  return ad_tape_status(tape) == AD_OK ? AD_ERROR_HANDLE : ad_tape_status(tape);
}
