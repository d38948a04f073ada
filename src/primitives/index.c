/* index.c -- elements chosen by an index array: take and gather, their transposes scatter_add and gather_add,
 * one_hot.
 *
 * take and gather are linear in x with weights 0 and 1; the index never has a derivative. All four run
 * through one kernel: a strided box in which one side moves on with the index as well. Reverse mode records
 * the transposes on zeros, which the sweep chains into one buffer (AD_TRAIT_ADDS_INTO).
 */
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/construct.h"
#include "primitives/operands.h"
#include "primitives/rows.h"
#include "primitives/strided_write.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

enum {
  CHOOSES = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS,
  ADDS = CHOOSES | AD_TRAIT_IN_PLACE | AD_TRAIT_ADDS_INTO,
  INDEX_OPERAND = 1u << 1
};

static const ad_primitive take_primitive, scatter_add_primitive, gather_primitive, gather_add_primitive;
static const ad_primitive one_hot_primitive;

/* --- the kernel ----------------------------------------------------------------------------------------- */

/* z[sum i_d*to[d] + k*step_to] = x[sum i_d*from[d] + k*step_from], or +=, with
 * k = index[sum i_d*index[d]], which counts from the end of `length` when negative. One of the steps is 0. */
typedef struct indexed {
  strided box;
  int64_t index[AD_MAX_RANK];
  int64_t step_to, step_from, length;
  bool wide;                        /* i64 indices */
} indexed;

/* Does the last axis. False when an index is out of range. */
typedef bool indexed_line(const indexed *s, void *z, const void *x, const void *index);

typedef uint32_t __attribute__((may_alias)) word_4;
typedef uint64_t __attribute__((may_alias)) word_8;

#define INDEXED_LINE(name, T, I, PUT)                                                                        \
  static bool name(const indexed *s, void *z_array, const void *x_array, const void *index_array) {          \
    T *z = z_array;                                                                                          \
    const T *x = x_array;                                                                                    \
    const I *index = index_array;                                                                            \
    const int last = s->box.rank - 1;                                                                        \
    const int64_t n = s->box.dim[last], to = s->box.to[last], from = s->box.from[last];                      \
    const int64_t next = s->index[last];                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      int64_t k = index[i*next];                                                                             \
      if (k < 0) k += s->length;                                                                             \
      if (k < 0 || k >= s->length) return false;                                                             \
      T *into = z + i*to + k*s->step_to;                                                                     \
      const T element = x[i*from + k*s->step_from];                                                          \
      PUT;                                                                                                   \
    }                                                                                                        \
    return true;                                                                                             \
  }
#define COPY *into = element
#define OR   *into = (uint8_t)(*into | element)
#define ADD  *into += element
#define BOTH_INDEX_TYPES(name, T, PUT)                                                                       \
  INDEXED_LINE(name##_by_i32, T, int32_t, PUT)                                                               \
  INDEXED_LINE(name##_by_i64, T, int64_t, PUT)
BOTH_INDEX_TYPES(copy_1, uint8_t, COPY)
BOTH_INDEX_TYPES(copy_4, word_4, COPY)
BOTH_INDEX_TYPES(copy_8, word_8, COPY)
BOTH_INDEX_TYPES(add_bool, uint8_t, OR)
BOTH_INDEX_TYPES(add_i32, uint32_t, ADD)
BOTH_INDEX_TYPES(add_i64, uint64_t, ADD)
BOTH_INDEX_TYPES(add_f32, float, ADD)
BOTH_INDEX_TYPES(add_f64, double, ADD)

static indexed_line *copy_line(size_t bytes, bool wide) {
  if (bytes == 8) return wide ? copy_8_by_i64 : copy_8_by_i32;
  if (bytes == 4) return wide ? copy_4_by_i64 : copy_4_by_i32;
  return wide ? copy_1_by_i64 : copy_1_by_i32;
}

static indexed_line *add_line(ad_dtype dtype, bool wide) {
  static indexed_line *const line[AD_DTYPES][2] = {
    { add_bool_by_i32, add_bool_by_i64 }, { add_i32_by_i32, add_i32_by_i64 },
    { add_i64_by_i32, add_i64_by_i64 }, { add_f32_by_i32, add_f32_by_i64 },
    { add_f64_by_i32, add_f64_by_i64 } };
  return line[dtype][wide];
}

typedef struct arrays {
  strided_line *run;                /* for lines along which the index stays */
  indexed_line *each;
  rows_kernel *rows;                /* for such lines one after the other, or NULL */
  size_t bytes;
  char *z;
  const char *x, *index;
} arrays;

static bool run_line(const indexed *s, const arrays *a, int64_t z, int64_t x, int64_t index) {
  const int last = s->box.rank - 1;
  const int64_t bytes = (int64_t)a->bytes, index_bytes = s->wide ? 8 : 4;
  char *to = a->z + z*bytes;
  const char *from = a->x + x*bytes, *at = a->index + index*index_bytes;
  if (s->index[last]) return a->each(s, to, from, at);
  int64_t k = s->wide ? *(const int64_t *)(const void *)at : *(const int32_t *)(const void *)at;
  if (k < 0) k += s->length;
  if (k < 0 || k >= s->length) return false;
  a->run(s->box.dim[last], to + k*s->step_to*bytes, s->box.to[last], from + k*s->step_from*bytes,
         s->box.from[last]);
  return true;
}

/* One row, or one element, for each index, and nothing else? */
static bool is_rows(const indexed *s) {
  const strided *b = &s->box;
  const int64_t beside = s->step_to ? b->to[0] : b->from[0];
  if (b->rank > 2 || s->index[0] != 1 || beside != 0) return false;
  return b->rank == 1 || (s->index[1] == 0 && b->to[1] == 1 && b->from[1] == 1);
}

static int64_t row_length(const indexed *s) { return s->box.rank == 2 ? s->box.dim[1] : 1; }
static int64_t step_of(int64_t chosen, int64_t along) { return chosen ? chosen : along; }

static bool run_serial(const indexed *s, const arrays *a) {
  const strided *b = &s->box;
  if (a->rows && is_rows(s))
    return a->rows(b->dim[0], row_length(s), step_of(s->step_to, b->to[0]), step_of(s->step_from, b->from[0]),
                   s->length, a->z, a->x, a->index);
  int64_t i[AD_MAX_RANK] = { 0 }, z = 0, x = 0, index = 0;
  int d;
  do {
    if (!run_line(s, a, z, x, index)) return false;
    for (d = b->rank - 2; d >= 0; d--) {
      z += b->to[d], x += b->from[d], index += s->index[d];
      if (++i[d] < b->dim[d]) break;
      z -= b->to[d]*b->dim[d], x -= b->from[d]*b->dim[d], index -= s->index[d]*b->dim[d];
      i[d] = 0;
    }
  } while (d >= 0);
  return true;
}

/* Axes of size 1 go, and neighbours that continue each other in all three arrays become one. Rank 1 at
 * least. */
static void merge_axes(indexed *s) {
  strided *b = &s->box;
  int rank = 0;
  for (int d = 0; d < b->rank; d++) {
    const int64_t dim = b->dim[d], to = b->to[d], from = b->from[d], index = s->index[d];
    if (dim == 1) continue;
    bool goes_on = rank && b->to[rank - 1] == to*dim && b->from[rank - 1] == from*dim
        && s->index[rank - 1] == index*dim;
    if (goes_on) rank--;
    b->dim[rank] = goes_on ? b->dim[rank]*dim : dim;
    b->to[rank] = to, b->from[rank] = from, s->index[rank++] = index;
  }
  if (rank == 0) {
    b->dim[0] = 1;
    b->to[0] = b->from[0] = s->index[0] = 0;
    rank = 1;
  }
  b->rank = rank;
}

/* Positions of an axis that a part has at least: whole lines of the cache where they are neighbours. */
static int64_t least_positions(const indexed *s, int d) { return s->box.to[d] == 1 ? 8 : 1; }

/* Into how many parts axis d can be cut, no two of which meet in z: any axis when z is written, one that z
 * has when it is added to. */
static int64_t most_parts(const indexed *s, int d) {
  const int64_t parts = s->box.to[d] ? s->box.dim[d]/least_positions(s, d) : 0;
  return parts < PARALLEL_PARTS ? parts : PARALLEL_PARTS;
}

static int axis_to_split(const indexed *s) {
  int best = 0;
  for (int d = 1; d < s->box.rank; d++)
    if (most_parts(s, d) > most_parts(s, best)) best = d;
  return best;
}

/* Positions [begin, end) of axis d, adding into z. */
static bool run_positions(const indexed *s, int d, int64_t begin, int64_t end, char *z, const arrays *a) {
  indexed piece = *s;
  arrays moved = *a;
  piece.box.dim[d] = end - begin;
  moved.z = z + begin*s->box.to[d]*(int64_t)a->bytes;
  moved.x += begin*s->box.from[d]*(int64_t)a->bytes;
  moved.index += begin*s->index[d]*(s->wide ? 8 : 4);
  return piece.box.dim[d] <= 0 || run_serial(&piece, &moved);
}

static ad_status all_good(const bool good[], int parts) {
  for (int part = 0; part < parts; part++)
    if (!good[part]) return AD_ERROR_ARGUMENT;
  return AD_OK;
}

static ad_status run(const indexed *given, const arrays *a) {
  indexed s = *given;
  bool good[PARALLEL_PARTS];
  int64_t count = 1;
  for (int d = 0; d < s.box.rank; d++) count *= s.box.dim[d];
  if (count == 0) return AD_OK;
  merge_axes(&s);
  const int split = axis_to_split(&s), parts = (int)most_parts(&s, split);
  if (count < PARALLEL_ELEMENTS || parts < 2) return run_serial(&s, a) ? AD_OK : AD_ERROR_ARGUMENT;
  const int64_t dim = s.box.dim[split];
  PARALLEL_FOR
  for (int part = 0; part < parts; part++)
    good[part] = run_positions(&s, split, part_begin(dim, part, parts), part_begin(dim, part + 1, parts),
                               a->z, a);
  return all_good(good, parts);
}

/* --- sums by themselves --------------------------------------------------------------------------------- */

/* Where many updates meet in few elements, they are added up in parts, each but the first one by itself from
 * -0 on, which are then added in order: z = ((base + part 0) + part 1) + .. . Shapes alone say how many
 * parts, so the bits do not depend on threads. Parts side by side are faster on one thread, too, as a sum
 * waits for its last update. PARTS_UPDATES: from how many on; PARALLEL_UPDATES: on threads. */
enum { PARTS_UPDATES = 1 << 11, PARALLEL_UPDATES = 1 << 16, PARTS_MOST = 32 };

/* Parts along the first axis, of a box whose axes are merged: sums are few against their updates. */
static int parts_of_sums(const indexed *s, ad_dtype dtype, int64_t sums, int64_t updates) {
  if (dtype < AD_F32 || updates < PARTS_UPDATES || sums < 1 || s->box.to[0] || s->box.rank > 2) return 1;
  const int64_t parts = updates/4/sums, most = s->box.dim[0] < PARTS_MOST ? s->box.dim[0] : PARTS_MOST;
  const int64_t n = parts < most ? parts : most;
  return (int)(n < 1 ? 1 : n < ROWS_STREAMS ? n : n/ROWS_STREAMS*ROWS_STREAMS);
}

/* Positions of a part: the last one has what is left. */
static int64_t part_length(const indexed *s, int parts) { return (s->box.dim[0] + parts - 1)/parts; }

static void fill_with_nothing(ad_dtype dtype, int64_t n, char *z) {
  static const double none = -0.0;
  static const float none_f32 = -0.0f;
  const bool wide = dtype == AD_F64;
  strided_fill(n, wide ? sizeof none : sizeof none_f32, z, wide ? (const void *)&none : &none_f32);
}

typedef struct sums_job {
  const indexed *s;
  const arrays *a;
  ad_dtype dtype;
  int64_t sums;                     /* elements of z */
  int parts;
  char *scratch;                    /* the sums of parts 1, 2, .. */
} sums_job;

static char *sums_of(const sums_job *j, int part) {
  return part ? j->scratch + (size_t)(part - 1)*(size_t)j->sums*j->a->bytes : j->a->z;
}

/* Positions [from, to) of a part, none where it lies behind the end. */
static bool run_part(const sums_job *j, int part, int64_t from, int64_t to) {
  const int64_t begin = part*part_length(j->s, j->parts), left = j->s->box.dim[0] - begin;
  if (left <= from) return true;
  return run_positions(j->s, 0, begin + from, begin + (to < left ? to : left), sums_of(j, part), j->a);
}

/* ROWS_STREAMS parts from `first` on side by side, as far as the shortest goes, which is the last. */
static bool run_streams(const sums_job *j, int first) {
  const indexed *s = j->s;
  const int64_t length = part_length(s, j->parts), from = step_of(s->step_from, s->box.from[0]);
  const int64_t left = s->box.dim[0] - (first + ROWS_STREAMS - 1)*length;
  const int64_t n = left < 0 ? 0 : left < length ? left : length;
  bool good = true;
  void *z[ROWS_STREAMS];
  const void *x[ROWS_STREAMS], *index[ROWS_STREAMS];
  for (int k = 0; k < ROWS_STREAMS && n; k++) {
    const int64_t begin = (first + k)*length;
    z[k] = sums_of(j, first + k);
    x[k] = j->a->x + begin*from*(int64_t)j->a->bytes;
    index[k] = j->a->index + begin*(s->wide ? 8 : 4);
  }
  if (n) good = rows_sums(j->dtype, s->wide)(n, row_length(s), s->step_to, from, s->length, z, x, index);
  for (int k = 0; k < ROWS_STREAMS; k++) good = good && run_part(j, first + k, n, length);
  return good;
}

/* Parts [first, first + count). */
static bool run_some(const sums_job *j, int first, int count) {
  bool good = true;
  for (int part = first; part < first + count; part++)
    if (part) fill_with_nothing(j->dtype, j->sums, sums_of(j, part));
  if (count == ROWS_STREAMS && is_rows(j->s)) return run_streams(j, first);
  for (int part = first; part < first + count; part++)
    good = run_part(j, part, 0, part_length(j->s, j->parts)) && good;
  return good;
}

/* As many parts at once as leave something for each thread. */
static ad_status run_sums(const sums_job *j) {
  const bool together = j->parts%ROWS_STREAMS == 0 && parallel_threads() <= j->parts/ROWS_STREAMS;
  const int at_once = together ? ROWS_STREAMS : 1, groups = j->parts/at_once;
  bool good[PARTS_MOST];
  if (j->s->box.dim[0]*row_length(j->s) < PARALLEL_UPDATES)
    for (int g = 0; g < groups; g++) good[g] = run_some(j, g*at_once, at_once);
  else {
    PARALLEL_FOR
    for (int g = 0; g < groups; g++) good[g] = run_some(j, g*at_once, at_once);
  }
  for (int part = 1; part < j->parts; part++) j->a->run(j->sums, j->a->z, 1, sums_of(j, part), 1);
  return all_good(good, groups);
}

/* --- the kernel, written -------------------------------------------------------------------------------- */

/* "sum of strides + k*step". */
static void written_place(char to[2*WRITTEN_INDEX], const char *array, int rank, const int64_t stride[],
                          int64_t step) {
  char at[WRITTEN_INDEX];
  written_index(at, rank, stride, 0);
  if (step == 0) snprintf(to, 2*WRITTEN_INDEX, "%s[%s]", array, at);
  else if (!strcmp(at, "0")) snprintf(to, 2*WRITTEN_INDEX, "%s[k*%lld]", array, (long long)step);
  else snprintf(to, 2*WRITTEN_INDEX, "%s[%s + k*%lld]", array, at, (long long)step);
}

/* Are the indices known when C is written, and none out of range? */
static bool all_in_range(const ad_writer *w, const ad_operation *op, const indexed *s) {
  const void *index = ad_write_operand(w, 1);
  const int64_t n = ad_type_count(*op->x[1]);
  for (int64_t i = 0; index && i < n; i++) {
    const int64_t k = s->wide ? ((const int64_t *)index)[i] : ((const int32_t *)index)[i];
    if (k < -s->length || k >= s->length) return false;
  }
  return index != NULL;
}

/* Loops over the axes [0, depth), the first one over part p of them where it is written in parts. */
static void open_outer_loops(ad_writer *w, const indexed *s, int depth, int parts) {
  const long long length = part_length(s, parts), dim = s->box.dim[0];
  if (parts > 1)
    ad_write(w, "for (int64_t i0 = p*%lld; i0 < %lld && i0 < (p + 1)*%lld; i0++) {", length, dim, length);
  write_open_loops(w, s->box.dim, parts > 1, depth);
}

/* The index is read as far out as it can be. */
static ad_status write_indexed(ad_writer *w, const ad_operation *op, const indexed *given, bool add,
                               int parts, const char *z, const char *x, const char *index) {
  indexed s = *given;
  const strided *b = &s.box;
  char at[WRITTEN_INDEX], to[2*WRITTEN_INDEX], from[2*WRITTEN_INDEX];
  int depth = 0;
  for (int d = 0; d < b->rank; d++)
    if (b->dim[d] == 0) return AD_OK;
  merge_axes(&s);
  for (int d = 0; d < b->rank; d++)
    if (s.index[d]) depth = d + 1;
  open_outer_loops(w, &s, depth, parts);
  ad_write(w, "int64_t k = %s[%s];", index, written_index(at, b->rank, s.index, 0));
  ad_write(w, "if (k < 0) k += %lld;", (long long)s.length);
  if (!all_in_range(w, op, given)) {
    ad_write(w, "if (k < 0 || k >= %lld) {", (long long)s.length);
    ad_write_failure(w, AD_ERROR_ARGUMENT);
    ad_write(w, "}");
  }
  write_open_loops(w, b->dim, depth, b->rank);
  written_place(to, z, b->rank, b->to, s.step_to);
  written_place(from, x, b->rank, b->from, s.step_from);
  if (add) write_addition(w, op->z.dtype, to, from);
  else ad_write(w, "%s = %s;", to, from);
  write_close_loops(w, b->rank);
  return AD_OK;
}

/* --- what all four share -------------------------------------------------------------------------------- */

/* The type of the choice from x by index along axis, or what is wrong. */
typedef const char *choice_rule(const ad_type *x, const ad_type *index, int64_t axis, ad_type *z);

static int64_t choice_axis(const ad_operation *op) { return *(const int64_t *)op->attribute; }

static ad_status choice_type(ad_operation *op, choice_rule *rule, ad_type *z) {
  const int64_t axis = choice_axis(op);
  char x[192], index[192];
  if (op->x[1]->dtype != AD_I32 && op->x[1]->dtype != AD_I64)
    return ad_refuse(op, AD_ERROR_DTYPE, "the index is %s, it must be i32 or i64",
                     ad_dtype_name(op->x[1]->dtype));
  if (axis < 0 || axis >= op->x[0]->rank) return refuse_axis(op, axis, op->x[0]);
  const char *wrong = rule(op->x[0], op->x[1], axis, z);
  if (wrong) return ad_refuse(op, AD_ERROR_SHAPE, "%s, %s by %s along axis %d", wrong,
                              ad_type_print(*op->x[0], x, sizeof x),
                              ad_type_print(*op->x[1], index, sizeof index), (int)axis);
  return z->rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

/* --- what is chosen ------------------------------------------------------------------------------------- */

/* take: the axis of x is replaced by those of the index. */
static const char *take_rule(const ad_type *x, const ad_type *index, int64_t axis, ad_type *z) {
  const int rank = x->rank - 1 + index->rank;
  int64_t dim[AD_MAX_RANK];
  if (rank > AD_MAX_RANK) return "the result has too many axes";
  for (int d = 0; d < rank; d++)
    dim[d] = d < axis ? x->dim[d]
           : d < axis + index->rank ? index->dim[d - axis] : x->dim[d - index->rank + 1];
  *z = ad_type_make(x->dtype, rank, dim);
  return NULL;
}

/* The box (outer, number of indices, inner). */
static indexed take_box(const ad_operation *op) {
  const ad_type *x = op->x[0];
  const int axis = (int)choice_axis(op);
  const int64_t outer = axes_product(x, 0, axis), inner = axes_product(x, axis + 1, x->rank);
  const int64_t length = x->dim[axis], count = ad_type_count(*op->x[1]);
  return (indexed){ .box = { 3, { outer, count, inner }, { count*inner, inner, 1 }, { length*inner, 0, 1 } },
                    .index = { 0, 1, 0 }, .step_from = inner, .length = length };
}

/* gather: other axes are equal or broadcast. */
static const char *gather_rule(const ad_type *x, const ad_type *index, int64_t axis, ad_type *z) {
  int64_t dim[AD_MAX_RANK];
  if (x->rank != index->rank) return "array and index differ in rank";
  for (int d = 0; d < x->rank; d++) {
    const int64_t m = x->dim[d], n = index->dim[d];
    if (d != axis && m != n && m != 1 && n != 1) return "array and index do not broadcast";
    dim[d] = d == axis || m == 1 ? n : m;
  }
  *z = ad_type_make(x->dtype, x->rank, dim);
  return NULL;
}

/* A box of the shape of the choice. */
static indexed gather_box(const ad_operation *op) {
  const ad_type *x = op->x[0], *index = op->x[1], *chosen = op->n == 3 ? op->x[2] : &op->z;
  const int axis = (int)choice_axis(op);
  indexed s = { .box = { .rank = x->rank }, .length = x->dim[axis] };
  memcpy(s.box.dim, chosen->dim, sizeof s.box.dim);
  dense_strides(x->rank, chosen->dim, s.box.to);
  dense_strides(x->rank, x->dim, s.box.from);
  dense_strides(x->rank, index->dim, s.index);
  s.step_from = s.box.from[axis];
  for (int d = 0; d < x->rank; d++) {
    if (d == axis || x->dim[d] == 1) s.box.from[d] = 0;
    if (index->dim[d] == 1) s.index[d] = 0;
  }
  return s;
}

/* As for the choice whose transpose an addition is. */
static indexed box_of(const ad_operation *op) {
  const bool slices = op->primitive == &take_primitive || op->primitive == &scatter_add_primitive;
  indexed s = slices ? take_box(op) : gather_box(op);
  s.wide = op->x[1]->dtype == AD_I64;
  return s;
}

/* What was read there is written here. */
static indexed transposed_box_of(const ad_operation *op) {
  indexed s = box_of(op);
  for (int d = 0; d < s.box.rank; d++) {
    const int64_t to = s.box.to[d];
    s.box.to[d] = s.box.from[d];
    s.box.from[d] = to;
  }
  s.step_to = s.step_from;
  s.step_from = 0;
  return s;
}

/* --- choices: z = x[index] ------------------------------------------------------------------------------ */

static ad_status choice_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  const indexed s = box_of(op);
  const size_t width = ad_dtype_bytes(op->z.dtype);
  const arrays a = { strided_copy_line(width), copy_line(width, s.wide), rows_copy(width, s.wide), width, z,
                     x[0], x[1] };
  return run(&s, &a);
}

static ad_status choice_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const indexed s = box_of(op);
  return write_indexed(w, op, &s, false, 1, z, x[0], x[1]);
}

static ad_var choice_vjp(ad_rule *r, int k) {
  const ad_primitive *p = r->op->primitive == &take_primitive
      ? &scatter_add_primitive : &gather_add_primitive;
  ad_var x[3] = { zeros_like_cotangent(r, r->op->x[k]), r->x[1], r->g };
  return ad_record(r->tape, p, 3, x, r->op->attribute, r->op->attribute_size);
}

/* --- additions, their transposes: z = base, z[index] += updates ----------------------------------------- */

static ad_status addition_type(ad_operation *op, choice_rule *rule) {
  ad_type chosen;
  char want[192], given[192];
  ad_status status = choice_type(op, rule, &chosen);
  if (status != AD_OK) return status;
  op->z = *op->x[0];
  if (ad_type_equal(chosen, *op->x[2])) return AD_OK;
  return ad_refuse(op, chosen.dtype == op->x[2]->dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE,
                   "updates are %s, not %s",
                   ad_type_print(*op->x[2], given, sizeof given), ad_type_print(chosen, want, sizeof want));
}

/* As how many parts an addition runs; merged: its box. */
static int addition_parts(const ad_operation *op, indexed *merged) {
  *merged = transposed_box_of(op);
  merge_axes(merged);
  return parts_of_sums(merged, op->z.dtype, ad_type_count(op->z), ad_type_count(*op->x[2]));
}

int scatter_parts(const ad_operation *op) {
  indexed s;
  return addition_parts(op, &s);
}

static size_t addition_scratch(const ad_operation *op) {
  indexed s;
  return (size_t)(addition_parts(op, &s) - 1)*ad_type_bytes(op->z);
}

static ad_status addition_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  indexed merged;
  const indexed s = transposed_box_of(op);
  const int parts = addition_parts(op, &merged);
  const ad_dtype dtype = op->z.dtype;
  const size_t bytes = ad_type_bytes(op->z);
  if (z != x[0] && bytes) memcpy(z, x[0], bytes);
  const arrays a = { strided_add_line(dtype), add_line(dtype, s.wide), rows_add(dtype, s.wide),
                     ad_dtype_bytes(dtype), z, x[2], x[1] };
  const sums_job j = { &merged, &a, dtype, ad_type_count(op->z), parts, scratch };
  return parts > 1 ? run_sums(&j) : run(&s, &a);
}

static ad_status addition_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const indexed s = transposed_box_of(op);
  indexed merged;
  const int parts = addition_parts(op, &merged);
  const long long n = ad_type_count(op->z);
  write_copy(w, n, z, x[0]);
  if (parts == 1) return write_indexed(w, op, &s, true, 1, z, x[2], x[1]);
  const char *type = ad_write_type(op->z.dtype);
  char own[WRITTEN_INDEX];
  snprintf(own, sizeof own, "%s", ad_write_scratch(w, op->z.dtype, n));
  ad_write(w, "for (int64_t p = 0; p < %d; p++) {", parts);
  ad_write(w, "%s *const own = p ? %s : %s;", type, own, z);
  ad_write(w, "for (int64_t i = 0; i < %lld && p; i++) own[i] = -(%s)0;", n, type);
  const ad_status status = write_indexed(w, op, &s, true, parts, "own", x[2], x[1]);
  ad_write(w, "for (int64_t i = 0; i < %lld && p; i++) %s[i] += own[i];", n, z);
  ad_write(w, "}");
  return status;
}

static ad_var addition_vjp(ad_rule *r, int k) {
  const ad_primitive *p = r->op->primitive == &scatter_add_primitive ? &take_primitive : &gather_primitive;
  ad_var x[2] = { r->g, r->x[1] };
  return k == 0 ? r->g : ad_record(r->tape, p, 2, x, r->op->attribute, r->op->attribute_size);
}

/* Updates that broadcast to what the rule asks for, numbers for example, are broadcast. */
static ad_var record_addition(const ad_primitive *p, choice_rule *rule, ad_var base, ad_var index,
                              ad_var updates, int axis) {
  ad_var x[3] = { base, index, updates }, added[2] = { base, updates };
  ad_tape *tape = ad_tape_of(3, x);
  const ad_dtype dtype = operands_dtype(2, added);
  x[0] = operand_with_dtype(tape, base, dtype);
  x[2] = operand_with_dtype(tape, updates, dtype);
  ad_type b = ad_type_of(x[0]), i = ad_type_of(index), chosen;
  const int64_t a = axis_or_given(axis, b.rank);
  const bool known = a >= 0 && a < b.rank && i.rank >= 0 && !rule(&b, &i, a, &chosen);
  if (known) x[2] = operand_with_shape(x[2], &chosen);
  return ad_record(tape, p, 3, x, &a, sizeof a);
}

/* --- take: z[o, j.., i] = x[o, index[j..], i] ----------------------------------------------------------- */

static ad_status take_type(ad_operation *op) { return choice_type(op, take_rule, &op->z); }

/* Operand k as (n or 1, outer, length, inner), where axes [from, to) of an instance are `length`. */
static ad_var batch_box(const ad_batch *b, int k, int from, int to) {
  const ad_type *t = b->op->x[k];
  const int64_t dim[4] = { b->batched[k] ? b->n : 1, axes_product(t, 0, from), axes_product(t, from, to),
                           axes_product(t, to, t->rank) };
  return ad_reshape(b->x[k], 4, dim);
}

/* Along the same axis of all instances where they share the index, else one element for each index: a gather
 * from (n, outer, length, inner) by (n, 1, count, 1). */
static ad_var take_batch(const ad_batch *b) {
  const int axis = (int)choice_axis(b->op);
  const int64_t along = axis + 1, middle = 2;
  if (!b->batched[1]) return ad_record(b->tape, &take_primitive, 2, b->x, &along, sizeof along);
  if (!b->batched[0] && axis == 0)
    return ad_record(b->tape, &take_primitive, 2, b->x, b->op->attribute, b->op->attribute_size);
  ad_var x[2] = { batch_box(b, 0, axis, axis + 1), batch_box(b, 1, 0, b->op->x[1]->rank) };
  return batch_result(b, ad_record(b->tape, &gather_primitive, 2, x, &middle, sizeof middle));
}

/* Of take and scatter_add: the index is the same for all columns. */
static ad_var slices_trail(const ad_batch *b) {
  if (b->batched[1]) return ad_none();
  const ad_var x[3] = { trail_spread(b, 0), b->x[1], b->op->n == 3 ? trail_spread(b, 2) : ad_none() };
  return ad_record(b->tape, b->op->primitive, b->op->n, x, b->op->attribute, b->op->attribute_size);
}

static const ad_primitive take_primitive = {
  .name = "take", .doc = "slices at an array of indices along an axis", .traits = CHOOSES,
  .not_connected = INDEX_OPERAND,
  .type = take_type, .run = choice_run, .work = work_part, .vjp = choice_vjp, .batch = take_batch,
  .trail = slices_trail,
  .write = choice_write };

bool take_along(const ad_operation *op, int *axis) {
  if (op->primitive != &take_primitive) return false;
  *axis = (int)choice_axis(op);
  return true;
}

bool scatter_along(const ad_operation *op, int *axis) {
  if (op->primitive != &scatter_add_primitive) return false;
  *axis = (int)choice_axis(op);
  return true;
}

bool take_is_rows(const ad_operation *op) {
  return op->primitive == &take_primitive && choice_axis(op) == 0 && op->x[1]->rank == 1
         && op->x[0]->dim[0] > 0;
}

ad_var ad_take(ad_var x, ad_var index, int axis) {
  ad_var operands[2] = { x, index };
  const int64_t a = axis_or_given(axis, ad_type_of(x).rank);
  return ad_record(NULL, &take_primitive, 2, operands, &a, sizeof a);
}

/* scatter_add: z = base, z[o, index[j..], i] += updates[o, j.., i] */
static ad_status scatter_add_type(ad_operation *op) { return addition_type(op, take_rule); }

/* As take_batch, with gather_add. */
static ad_var scatter_add_batch(const ad_batch *b) {
  const int axis = (int)choice_axis(b->op);
  const int64_t along = axis + 1, middle = 2;
  const bool all[3] = { true, b->batched[1], true };
  const ad_var spread[3] = { batch_spread(b, 0), b->x[1], batch_spread(b, 2) };
  const ad_batch whole = { b->op, b->tape, b->n, spread, all };
  if (!b->batched[1]) return ad_record(b->tape, &scatter_add_primitive, 3, spread, &along, sizeof along);
  const int count = b->op->x[1]->rank;
  ad_var x[3] = { batch_box(&whole, 0, axis, axis + 1), batch_box(&whole, 1, 0, count),
                  batch_box(&whole, 2, axis, axis + count) };
  return batch_result(b, ad_record(b->tape, &gather_add_primitive, 3, x, &middle, sizeof middle));
}

static const ad_primitive scatter_add_primitive = {
  .name = "scatter_add", .doc = "an array with updates added at an array of indices along an axis",
  .traits = ADDS,
  .not_connected = INDEX_OPERAND, .type = scatter_add_type, .run = addition_run, .work = work_add_into,
  .scratch_bytes = addition_scratch,
  .vjp = addition_vjp, .batch = scatter_add_batch, .trail = slices_trail, .write = addition_write };

ad_var ad_scatter_add(ad_var base, ad_var index, ad_var updates, int axis) {
  return record_addition(&scatter_add_primitive, take_rule, base, index, updates, axis);
}

/* --- gather: z[.., i, ..] = x[.., index[.., i, ..], ..], other axes equal or broadcast ------------------ */

static ad_status gather_type(ad_operation *op) { return choice_type(op, gather_rule, &op->z); }

static ad_var gather_batch(const ad_batch *b) {
  const int64_t along = choice_axis(b->op) + 1;
  const ad_var x[2] = { batch_lift(b, 0), batch_lift(b, 1) };
  return ad_record(b->tape, &gather_primitive, 2, x, &along, sizeof along);
}

static ad_var gather_trail(const ad_batch *b) {
  const ad_var x[2] = { trail_lift(b, 0), trail_lift(b, 1) };
  return ad_record(b->tape, &gather_primitive, 2, x, b->op->attribute, b->op->attribute_size);
}

static const ad_primitive gather_primitive = {
  .name = "gather", .doc = "one element for each index along an axis", .traits = CHOOSES,
  .not_connected = INDEX_OPERAND,
  .type = gather_type, .run = choice_run, .work = work_part, .vjp = choice_vjp, .batch = gather_batch,
  .trail = gather_trail,
  .write = choice_write };

ad_var ad_gather(ad_var x, ad_var index, int axis) {
  ad_var operands[2] = { x, index };
  const int64_t a = axis_or_given(axis, ad_type_of(x).rank);
  return ad_record(NULL, &gather_primitive, 2, operands, &a, sizeof a);
}

/* gather_add: z = base, z[.., index[.., i, ..], ..] += updates[.., i, ..] */
static ad_status gather_add_type(ad_operation *op) { return addition_type(op, gather_rule); }

static ad_var gather_add_batch(const ad_batch *b) {
  const int64_t along = choice_axis(b->op) + 1;
  const ad_var x[3] = { batch_spread(b, 0), batch_lift(b, 1), batch_spread(b, 2) };
  return ad_record(b->tape, &gather_add_primitive, 3, x, &along, sizeof along);
}

static ad_var gather_add_trail(const ad_batch *b) {
  const ad_var x[3] = { trail_spread(b, 0), trail_lift(b, 1), trail_spread(b, 2) };
  return ad_record(b->tape, &gather_add_primitive, 3, x, b->op->attribute, b->op->attribute_size);
}

static const ad_primitive gather_add_primitive = {
  .name = "gather_add", .doc = "an array with one update added for each index along an axis", .traits = ADDS,
  .not_connected = INDEX_OPERAND, .type = gather_add_type, .run = addition_run, .work = work_add_into,
  .scratch_bytes = addition_scratch,
  .vjp = addition_vjp, .batch = gather_add_batch, .trail = gather_add_trail, .write = addition_write };

ad_var ad_gather_add(ad_var base, ad_var index, ad_var updates, int axis) {
  return record_addition(&gather_add_primitive, gather_rule, base, index, updates, axis);
}

/* --- one_hot: z[j.., i] = 1 where i = index[j..], else 0. Negative indices are out of range here -------- */

typedef struct hot { int64_t depth, dtype; } hot;

static ad_status one_hot_type(ad_operation *op) {
  const hot *a = op->attribute;
  const ad_type *x = op->x[0];
  int64_t dim[AD_MAX_RANK];
  if (x->dtype != AD_I32 && x->dtype != AD_I64)
    return ad_refuse(op, AD_ERROR_DTYPE, "the index is %s, it must be i32 or i64", ad_dtype_name(x->dtype));
  if (ad_dtype_bytes((ad_dtype)a->dtype) == 0) return ad_refuse(op, AD_ERROR_DTYPE, "no such data type");
  if (a->depth < 0) return ad_refuse(op, AD_ERROR_ARGUMENT, "a negative depth, %lld", (long long)a->depth);
  if (x->rank == AD_MAX_RANK)
    return ad_refuse(op, AD_ERROR_SHAPE, "the index has %d axes already", AD_MAX_RANK);
  memcpy(dim, x->dim, sizeof dim);
  dim[x->rank] = a->depth;
  op->z = ad_type_make((ad_dtype)a->dtype, x->rank + 1, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the result is too big") : AD_OK;
}

static ad_status one_hot_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  static const uint8_t truth = 1;
  static const int32_t half = 1;
  static const int64_t whole = 1;
  static const float single = 1;
  static const double real = 1;
  static const void *const one[AD_DTYPES] = { &truth, &half, &whole, &single, &real };
  const int64_t depth = ((const hot *)op->attribute)->depth, count = ad_type_count(*op->x[0]);
  const size_t width = ad_dtype_bytes(op->z.dtype), bytes = ad_type_bytes(op->z);
  if (bytes) memset(z, 0, bytes);
  for (int64_t i = 0; i < count; i++) {
    int64_t k = op->x[0]->dtype == AD_I64 ? ((const int64_t *)x[0])[i] : ((const int32_t *)x[0])[i];
    if (k >= 0 && k < depth) memcpy((char *)z + (size_t)(i*depth + k)*width, one[op->z.dtype], width);
  }
  return AD_OK;
}

static ad_status one_hot_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const long long depth = ((const hot *)op->attribute)->depth, count = ad_type_count(*op->x[0]);
  write_fill(w, ad_type_count(op->z), z, "0");
  if (depth == 0 || count == 0) return AD_OK;
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", count);
  ad_write(w, "const int64_t k = %s[i];", x[0]);
  ad_write(w, "if (k >= 0 && k < %lld) %s[i*%lld + k] = 1;", depth, z, depth);
  ad_write(w, "}");
  return AD_OK;
}

static const ad_primitive one_hot_primitive = {
  .name = "one_hot", .doc = "a 1 at each index along a new last axis", .not_connected = 1,
  .type = one_hot_type, .run = one_hot_run, .work = work_move,
  .batch = batch_leading, .write = one_hot_write };

ad_var ad_one_hot(ad_var index, int64_t depth, ad_dtype dtype) {
  const hot a = { depth, (int64_t)dtype };
  return ad_record(NULL, &one_hot_primitive, 1, &index, &a, sizeof a);
}
