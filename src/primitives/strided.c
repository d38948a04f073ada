/* strided.c -- strided boxes, walked in an order that suits the caches.
 *
 * A box is first made smaller (axes of size 1 go, neighbours that continue each other become one), then two
 * axes are chosen for the inner loops: one for the lines, one for the tiles of lines. Where z and x are
 * contiguous in different axes (a transpose) the tiles are squares of 32, so that each cache line of either
 * is used up while it is there.
 */
#include "primitives/strided.h"

#include <string.h>

/* Words that may hold any dtype of their size. */
typedef uint8_t word_1;
typedef uint32_t __attribute__((may_alias)) word_4;
typedef uint64_t __attribute__((may_alias)) word_8;

#define COPY_LINE(bytes)                                                                                     \
  static void copy_##bytes(int64_t n, void *to_array, int64_t to, const void *from_array, int64_t from) {    \
    word_##bytes *restrict z = to_array;                                                                     \
    const word_##bytes *restrict x = from_array;                                                             \
    if (to != 1) for (int64_t i = 0; i < n; i++) z[i*to] = x[i*from];                                        \
    else if (from == 1) memcpy(z, x, (size_t)n*sizeof *z);                                                   \
    else if (from == -1) for (int64_t i = 0; i < n; i++) z[i] = x[-i];                                       \
    else if (from != 0) for (int64_t i = 0; i < n; i++) z[i] = x[i*from];                                    \
    else {                                                                                                   \
      const word_##bytes value = *x;                                                                         \
      for (int64_t i = 0; i < n; i++) z[i] = value;                                                          \
    }                                                                                                        \
  }
COPY_LINE(1)
COPY_LINE(4)
COPY_LINE(8)

#define ADD_LINE(name, T, SUM)                                                                               \
  static void add_##name(int64_t n, void *to_array, int64_t to, const void *from_array, int64_t from) {      \
    T *restrict z = to_array;                                                                                \
    const T *restrict x = from_array;                                                                        \
    if (to == 1 && from == 1) for (int64_t i = 0; i < n; i++) z[i] = (T)(z[i] SUM x[i]);                     \
    else for (int64_t i = 0; i < n; i++) z[i*to] = (T)(z[i*to] SUM x[i*from]);                               \
  }
ADD_LINE(bool, uint8_t, |)
ADD_LINE(i32, uint32_t, +)
ADD_LINE(i64, uint64_t, +)
ADD_LINE(f32, float, +)
ADD_LINE(f64, double, +)

strided_line *strided_copy_line(size_t bytes) { return bytes == 8 ? copy_8 : bytes == 4 ? copy_4 : copy_1; }

strided_line *strided_add_line(ad_dtype dtype) {
  static strided_line *const line[AD_DTYPES] = { add_bool, add_i32, add_i64, add_f32, add_f64 };
  return line[dtype];
}

void dense_strides(int rank, const int64_t dim[], int64_t stride[]) {
  int64_t s = 1;
  for (int d = rank - 1; d >= 0; d--) {
    stride[d] = s;
    s *= dim[d];
  }
}

/* --- the order of the loops ----------------------------------------------------------------------------- */

typedef struct axis { int64_t dim, to, from; } axis;

static axis axis_of(const strided *s, int d) { return (axis){ s->dim[d], s->to[d], s->from[d] }; }
static void put_axis(strided *s, int d, axis a) { s->dim[d] = a.dim, s->to[d] = a.to, s->from[d] = a.from; }

void strided_merge(strided *s) {
  int rank = 0;
  for (int d = 0; d < s->rank; d++) {
    axis a = axis_of(s, d);
    if (a.dim == 1) continue;
    if (rank && s->to[rank - 1] == a.to*a.dim && s->from[rank - 1] == a.from*a.dim) {
      a.dim *= s->dim[rank - 1];
      rank--;
    }
    put_axis(s, rank++, a);
  }
  s->rank = rank;
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

/* The axis along which x is read most densely, if that is not the last one. */
static int denser_axis(const strided *s) {
  int best = s->rank - 1;
  for (int d = 0; d < s->rank - 1; d++)
    if (s->from[d] && s->dim[d] >= 4 && distance(s->from[d]) < distance(s->from[best])) best = d;
  return best;
}

typedef struct loops {
  strided box;                      /* rank >= 2: tiles along the last axis but one, lines along the last */
  int64_t tile, line;               /* longest piece of those axes */
} loops;

static loops order_loops(const strided *s) {
  enum { SQUARE = 32, SHORT = 8, LONG = 512 };
  loops l = { *s, INT64_MAX, INT64_MAX };
  strided *b = &l.box;
  while (b->rank < 2) {
    put_axis(b, 1, b->rank ? axis_of(b, 0) : (axis){ 1, 1, 1 });
    put_axis(b, 0, (axis){ 1, 0, 0 });
    b->rank = b->rank ? 2 : 1;
  }
  int last = b->rank - 1, dense = denser_axis(b);
  if (dense != last) {
    axis a = axis_of(b, dense);
    for (int d = dense; d < last - 1; d++) put_axis(b, d, axis_of(b, d + 1));
    put_axis(b, last - 1, a);
    l.tile = l.line = SQUARE;
  } else if (b->dim[last] < SHORT && b->dim[last - 1] > b->dim[last]) {
    axis a = axis_of(b, last);
    put_axis(b, last, axis_of(b, last - 1));
    put_axis(b, last - 1, a);
    l.line = LONG;
  }
  return l;
}

typedef struct arrays { strided_line *line; size_t bytes; char *z; const char *x; } arrays;

static int64_t shorter(int64_t a, int64_t b) { return a < b ? a : b; }

/* The two inner axes, from element offsets z and x on. */
static void run_inner(const loops *l, const arrays *a, int64_t z, int64_t x) {
  const int last = l->box.rank - 1;
  const axis t = axis_of(&l->box, last - 1), c = axis_of(&l->box, last);
  const int64_t bytes = (int64_t)a->bytes;
  for (int64_t t0 = 0; t0 < t.dim; t0 += shorter(l->tile, t.dim - t0))
    for (int64_t c0 = 0; c0 < c.dim; c0 += shorter(l->line, c.dim - c0)) {
      const int64_t n = shorter(l->line, c.dim - c0), end = t0 + shorter(l->tile, t.dim - t0);
      for (int64_t i = t0; i < end; i++)
        a->line(n, a->z + (z + i*t.to + c0*c.to)*bytes, c.to, a->x + (x + i*t.from + c0*c.from)*bytes,
                c.from);
    }
}

static void run_serial(const strided *s, const arrays *a) {
  const loops l = order_loops(s);
  const strided *b = &l.box;
  int64_t i[AD_MAX_RANK] = { 0 }, z = 0, x = 0;
  int d;
  do {
    run_inner(&l, a, z, x);
    for (d = b->rank - 3; d >= 0; d--) {
      z += b->to[d], x += b->from[d];
      if (++i[d] < b->dim[d]) break;
      z -= b->to[d]*b->dim[d], x -= b->from[d]*b->dim[d];
      i[d] = 0;
    }
  } while (d >= 0);
}

/* --- threads -------------------------------------------------------------------------------------------- */

static int axis_to_split(const strided *s) {
  int longest = 0;
  for (int d = 0; d < s->rank; d++) {
    if (s->dim[d] >= PARALLEL_PARTS) return d;
    if (s->dim[d] > s->dim[longest]) longest = d;
  }
  return longest;
}

static void run_part(const strided *s, int d, int part, const arrays *a) {
  strided piece = *s;
  arrays moved = *a;
  int64_t begin = part_begin(s->dim[d], part, PARALLEL_PARTS);
  piece.dim[d] = part_begin(s->dim[d], part + 1, PARALLEL_PARTS) - begin;
  moved.z += begin*s->to[d]*(int64_t)a->bytes;
  moved.x += begin*s->from[d]*(int64_t)a->bytes;
  if (piece.dim[d]) run_serial(&piece, &moved);
}

static void run(const strided *given, strided_line *line, size_t bytes, void *z, const void *x) {
  strided s = *given;
  const arrays a = { line, bytes, z, x };
  int64_t count = 1;
  for (int d = 0; d < s.rank; d++) count *= s.dim[d];
  if (count == 0) return;
  strided_merge(&s);
  if (count < PARALLEL_ELEMENTS) {
    run_serial(&s, &a);
    return;
  }
  const int d = axis_to_split(&s);
  PARALLEL_FOR
  for (int part = 0; part < PARALLEL_PARTS; part++) run_part(&s, d, part, &a);
}

void strided_copy(const strided *s, size_t bytes, void *z, const void *x) {
  run(s, strided_copy_line(bytes), bytes, z, x);
}

void strided_add(const strided *s, ad_dtype dtype, void *z, const void *x) {
  run(s, strided_add_line(dtype), ad_dtype_bytes(dtype), z, x);
}

void strided_fill(int64_t n, size_t bytes, void *z, const void *value) {
  const strided s = { 1, { n }, { 1 }, { 0 } };
  strided_copy(&s, bytes, z, value);
}
