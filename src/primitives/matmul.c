/* matmul.c -- products of matrices and vectors: matmul, dot, outer.
 *
 * All three are one operation, z[b,m,n] = sum_k x[b,m,k] y[b,k,n], of which some of the axes m, k, n may
 * be missing: a vector on the left has no m, one on the right no n, an outer product no k. With the two
 * operands stored transposed where the attribute says so, that family contains its own adjoints, so
 * reverse mode of any order records products only, and no transposes. The adjoint of an operand that was
 * broadcast over b is summed over b by the product itself: the gradient of a weight that meets a batch of
 * inputs is one bigger product, not a sum of many.
 */
#include "primitives/matmul.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/elements.h"
#include "primitives/written.h"
#include "base/blas.h"
#include "primitives/work.h"

#include <stdio.h>
#include <string.h>

static const ad_primitive matmul_primitive, dot_primitive, outer_primitive;

static const ad_primitive *product_primitive(const product *a) {
  return a->no_k ? &outer_primitive : a->no_m && a->no_n ? &dot_primitive : &matmul_primitive;
}

ad_var product_record(product a, ad_var x, ad_var y) {
  if (a.no_m || a.no_k) a.tx = 0;
  if (a.no_n || a.no_k) a.ty = 0;
  ad_var operands[2] = { x, y };
  return ad_record(ad_tape_of(2, operands), product_primitive(&a), 2, operands, &a, sizeof a);
}

/* --- shapes --------------------------------------------------------------------------------------------- */

/* The sizes of a product; batch axis i has size x[i] in x, y[i] in y (1 where it is missing) and all[i] in
   both. */
typedef struct sizes {
  int64_t m, k, n;
  int batch;
  int64_t x[AD_MAX_RANK], y[AD_MAX_RANK], all[AD_MAX_RANK];
} sizes;

static int batch_rank(const ad_type *t, bool first_missing, bool second_missing) {
  return t->rank - !first_missing - !second_missing;
}

static int64_t batch_size(const ad_type *t, int rank, int i) { return i < rank ? t->dim[rank - 1 - i] : 1; }

/* The two axes of an operand after its batch axes, in logical order. */
static void matrix_sizes(const ad_type *t, bool transposed, bool no_row, bool no_column, int64_t *row,
                         int64_t *column) {
  int last = t->rank - 1;
  if (no_row || no_column) {
    *row = no_row ? 1 : t->dim[last];
    *column = no_column ? 1 : t->dim[last - !no_row];
    return;
  }
  *row = t->dim[transposed ? last : last - 1];
  *column = t->dim[transposed ? last - 1 : last];
}

static const char *shape_text(const ad_type *t, char *text, size_t size) {
  const char *shape = strchr(ad_type_print(*t, text, size), '(');
  return shape ? shape : text;
}

static ad_status refuse_shapes(ad_operation *op, const char *what) {
  char x[192], y[192];
  return ad_refuse(op, AD_ERROR_SHAPE, "%s, %s x %s", what, shape_text(op->x[0], x, sizeof x),
                   shape_text(op->x[1], y, sizeof y));
}

/* What does not fit, or NULL. */
static const char *product_sizes(const ad_operation *op, sizes *s) {
  const product *a = op->attribute;
  const ad_type *x = op->x[0], *y = op->x[1];
  int64_t inner;
  int bx = batch_rank(x, a->no_m, a->no_k), by = batch_rank(y, a->no_k, a->no_n);
  if (bx < 0 || by < 0) return "an operand has too few axes";
  matrix_sizes(x, a->tx, a->no_m, a->no_k, &s->m, &s->k);
  matrix_sizes(y, a->ty, a->no_k, a->no_n, &inner, &s->n);
  if (inner != s->k) return "inner dimensions differ";
  s->batch = bx > by ? bx : by;
  for (int i = 0; i < s->batch; i++) {
    int64_t p = s->x[i] = batch_size(x, bx, i), q = s->y[i] = batch_size(y, by, i);
    if (p != q && p != 1 && q != 1) return "batch dimensions do not broadcast";
    s->all[i] = p == 1 ? q : p;
  }
  return NULL;
}

static bool summed(const product *a, int axis) { return (a->sum >> axis & 1) != 0; }

static ad_status product_type(ad_operation *op) {
  const product *a = op->attribute;
  ad_dtype dtype = op->x[0]->dtype;
  if (dtype != op->x[1]->dtype || dtype == AD_BOOL)
    return ad_refuse(op, AD_ERROR_DTYPE, "operands of type %s and %s", ad_dtype_name(dtype),
                     ad_dtype_name(op->x[1]->dtype));
  sizes s;
  const char *wrong = product_sizes(op, &s);
  if (wrong) return refuse_shapes(op, wrong);
  int rank = a->rank + !a->no_m + !a->no_n;
  if (rank > AD_MAX_RANK) return refuse_shapes(op, "the product has too many axes");
  int64_t dim[AD_MAX_RANK];
  for (int i = 0; i < a->rank; i++) dim[a->rank - 1 - i] = i >= s.batch || summed(a, i) ? 1 : s.all[i];
  if (!a->no_m) dim[a->rank] = s.m;
  if (!a->no_n) dim[rank - 1] = s.n;
  op->z = ad_type_make(dtype, rank, dim);
  return op->z.rank < 0 ? ad_refuse(op, AD_ERROR_SIZE, "the product is too big") : AD_OK;
}

/* --- sums of products ----------------------------------------------------------------------------------- */

/* x.y over n contiguous elements in a fixed shape, so that the bits depend on n alone: blocks of BLOCK
 * elements, each a product of the seam, added in double in pairs, as a binary counter carries. The seam
 * sums a block in 8 chains at least, so the error is at most about (BLOCK/8 + 3) eps |x|.|y| however long
 * the vectors are, Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2; plus
 * log2(n/BLOCK) times that of double. */
enum { BLOCK = 1024 };

#define DOT(suffix, T)                                                                                       \
  static T dot_##suffix(int64_t n, const T *x, const T *y) {                                                 \
    double level[64];           /* level[i]: the sum of 2^i blocks, there if bit i of count is set */        \
    uint64_t count = 0;                                                                                      \
    for (int64_t i = 0; i < n; i += BLOCK, count++) {                                                        \
      int64_t size = n - i < BLOCK ? n - i : BLOCK;                                                          \
      T block;                                                                                               \
      gemm_##suffix(false, true, 1, 1, size, x + i, size, y + i, size, &block, 1);                           \
      double s = (double)block;                                                                              \
      int carry = 0;                                                                                         \
      for (; count >> carry & 1; carry++) s = level[carry] + s;                                              \
      level[carry] = s;                                                                                      \
    }                                                                                                        \
    double s = 0;                                                                                            \
    for (int i = 0; count >> i; i++)                                                                         \
      if (count >> i & 1) s = level[i] + s;                                                                  \
    return (T)s;                                                                                             \
  }
DOT(f64, double)
DOT(f32, float)

/* --- one product of two matrices ------------------------------------------------------------------------ */

/* Operands without batch, dense. Where m, k or n is 1 an operand is a vector, stored alike transposed or
   not. */
typedef struct matrices {
  int64_t m, k, n;
  bool tx, ty;
} matrices;

/* z = x y, or z += x y. A single float is a dot product, which is summed more accurately than the entries
   of a matrix. */
#define MULTIPLY(suffix, T, DOT_IF_NUMBER)                                                                   \
  static void multiply_##suffix(const matrices *a, const void *x, const void *y, bool add, void *result) {   \
    T *z = result;                                                                                           \
    DOT_IF_NUMBER                                                                                            \
    (add ? gemm_add_##suffix : gemm_##suffix)(a->tx, a->ty, a->m, a->n, a->k, x, a->tx ? a->m : a->k,        \
                                              y, a->ty ? a->k : a->n, z, a->n);                              \
  }
#define NUMBER(dot)                                                                                          \
    if (a->m == 1 && a->n == 1) {                                                                            \
      *z = add ? *z + dot(a->k, x, y) : dot(a->k, x, y);                                                     \
      return;                                                                                                \
    }
MULTIPLY(i32, int32_t, )
MULTIPLY(i64, int64_t, )
MULTIPLY(f32, float, NUMBER(dot_f32))
MULTIPLY(f64, double, NUMBER(dot_f64))

typedef void multiply_function(const matrices *a, const void *x, const void *y, bool add, void *z);
static multiply_function *const multiply[AD_DTYPES] = {
  [AD_I32] = multiply_i32, [AD_I64] = multiply_i64, [AD_F32] = multiply_f32, [AD_F64] = multiply_f64,
};

/* --- the batch ------------------------------------------------------------------------------------------ */

/* One batch axis: size, and the distance in elements from one matrix to the next; 0 where an operand is
 * broadcast, and for z where the axis is summed. */
typedef struct batch_axis { int64_t size, x, y, z; } batch_axis;

typedef struct batch_plan {
  matrices a;
  int axes;
  batch_axis axis[AD_MAX_RANK];     /* innermost first */
} batch_plan;

static void batch_axes(const product *a, const sizes *s, batch_plan *b) {
  b->a = (matrices){ s->m, s->k, s->n, a->tx && s->m > 1 && s->k > 1, a->ty && s->k > 1 && s->n > 1 };
  b->axes = 0;
  int64_t x = s->m*s->k, y = s->k*s->n, z = s->m*s->n;
  for (int i = 0; i < s->batch; i++) {
    if (s->all[i] != 1)
      b->axis[b->axes++] = (batch_axis){ s->all[i], s->x[i] == 1 ? 0 : x, s->y[i] == 1 ? 0 : y,
                                         summed(a, i) ? 0 : z };
    x *= s->x[i];
    y *= s->y[i];
    if (!summed(a, i)) z *= s->all[i];
  }
}

/* Two neighbours of which the outer goes on where the inner ends, in all three arrays, are one. */
static void merge_axes(batch_plan *b) {
  int kept = 0;
  for (int i = 0; i < b->axes; i++) {
    batch_axis next = b->axis[i], *last = kept ? &b->axis[kept - 1] : NULL;
    if (last && next.x == last->x*last->size && next.y == last->y*last->size && next.z == last->z*last->size)
      last->size *= next.size;
    else b->axis[kept++] = next;
  }
  b->axes = kept;
}

/* Takes a batch axis into the matrices where they lie one below the other, so that many small products are
 * a big one: into m where y is broadcast, into n where x is, into k where the axis is summed. */
static bool fold_axis(matrices *a, batch_axis c) {
  int64_t x = a->m*a->k, y = a->k*a->n, z = a->m*a->n;
  bool vector_x = a->m == 1 || a->k == 1, vector_y = a->n == 1 || a->k == 1;
  if (c.x == x && c.y == 0 && c.z == z && (!a->tx || vector_x)) {
    a->m *= c.size;                 /* x (c, m, k) is (c m, k) */
    a->tx = false;
    return true;
  }
  if (c.x == 0 && c.y == y && c.z == z && a->m == 1 && (a->ty || vector_y)) {
    a->ty = a->k > 1;               /* y (c, n, k) is (c n, k) */
    a->n *= c.size;
    return true;
  }
  if (c.x == x && c.y == y && c.z == 0 && (a->tx || vector_x) && (!a->ty || vector_y)) {
    a->tx = a->m > 1;               /* x (c, k, m) is (c k, m), y (c, k, n) is (c k, n) */
    a->ty = false;
    a->k *= c.size;
    return true;
  }
  return false;
}

static void fold_axes(batch_plan *b) {
  for (int i = 0; i < b->axes;) {
    if (!fold_axis(&b->a, b->axis[i])) {
      i++;
      continue;
    }
    b->axes--;
    memmove(&b->axis[i], &b->axis[i + 1], (size_t)(b->axes - i)*sizeof b->axis[0]);
    i = 0;                          /* bigger matrices may make another axis fit */
  }
}

/* Products along the innermost axis, z not summed over it, which the seam shares out to threads; false
 * where it has no call for that. */
static bool multiply_along(const batch_plan *b, ad_dtype dtype, const void *x, const void *y, void *z) {
  const matrices *a = &b->a;
  const batch_axis *c = &b->axis[0];
  int64_t lx = a->tx ? a->m : a->k, ly = a->ty ? a->k : a->n;
  if (a->m == 1 && a->n == 1) return false;
  if (dtype == AD_F64)
    gemm_batch_f64(a->tx, a->ty, c->size, a->m, a->n, a->k, x, lx, c->x, y, ly, c->y, z, a->n, c->z);
  else if (dtype == AD_F32)
    gemm_batch_f32(a->tx, a->ty, c->size, a->m, a->n, a->k, x, lx, c->x, y, ly, c->y, z, a->n, c->z);
  else return false;
  return true;
}

/* The products that are left, in lexicographic order: a matrix of z is first met with all summed axes at
 * 0, and added to afterwards. */
static void multiply_batch(const batch_plan *b, ad_dtype dtype, const char *x, const char *y, char *z) {
  int64_t width = (int64_t)ad_dtype_bytes(dtype), index[AD_MAX_RANK] = { 0 };
  bool any_sum = false;
  for (int i = 0; i < b->axes; i++) any_sum |= b->axis[i].z == 0;
  int axis;
  do {
    bool add = false;
    int first = b->axes > 0 && !any_sum && multiply_along(b, dtype, x, y, z);
    for (int i = 0; i < b->axes; i++) add |= b->axis[i].z == 0 && index[i] > 0;
    if (!first) multiply[dtype](&b->a, x, y, add, z);
    for (axis = first; axis < b->axes; axis++) {
      const batch_axis *c = &b->axis[axis];
      int64_t step = index[axis] + 1 < c->size ? 1 : 1 - c->size;
      index[axis] += step;
      x += step*c->x*width;
      y += step*c->y*width;
      z += step*c->z*width;
      if (step == 1) break;
    }
  } while (axis < b->axes);
}

static ad_status product_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  (void)scratch;
  sizes s;
  batch_plan b;
  size_t bytes = ad_type_bytes(op->z);
  if (bytes == 0) return AD_OK;
  product_sizes(op, &s);
  bool empty = s.k == 0;
  for (int i = 0; i < s.batch; i++) empty |= s.all[i] == 0;
  if (empty) {                      /* a sum of nothing */
    memset(z, 0, bytes);
    return AD_OK;
  }
  batch_axes(op->attribute, &s, &b);
  merge_axes(&b);
  fold_axes(&b);
  multiply_batch(&b, op->z.dtype, x[0], x[1], z);
  return AD_OK;
}

/* --- as C ----------------------------------------------------------------------------------------------- */

/* "x + i0*12", or x itself. */
static void put_address(char *to, size_t size, const char *x, const char *offset) {
  if (!strcmp(offset, "0")) snprintf(to, size, "%s", x);
  else snprintf(to, size, "%s + %s", x, offset);
}

static ad_status product_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]);

static void write_products(ad_writer *w, ad_dtype dtype, const batch_plan *b, const char *z,
                           const char *const x[], bool add) {
  const char *const base[3] = { x[0], x[1], z };
  char at[3][WRITTEN_OFFSET + 112];
  written_loops loops = { .w = w, .axes = b->axes, .arrays = 3 };
  for (int i = 0; i < b->axes; i++) {
    loops.axis[i].size = b->axis[i].size;
    loops.axis[i].step[0] = b->axis[i].x;
    loops.axis[i].step[1] = b->axis[i].y;
    loops.axis[i].step[2] = b->axis[i].z;
  }
  written_loops_open(&loops);
  for (int k = 0; k < 3; k++) put_address(at[k], sizeof at[k], base[k], loops.offset[k]);
  const matrices *a = &b->a;
  write_product(w, dtype, &(written_product){ a->m, a->k, a->n, a->tx, a->ty, add, at[0], at[1], at[2] });
  written_loops_close(&loops);
}

int64_t product_size(const ad_operation *op) {
  sizes s;
  batch_plan b;
  if (op->primitive->write != product_write) return 0;
  product_sizes(op, &s);
  if (s.k == 0 || ad_type_count(op->z) == 0) return 1;
  batch_axes(op->attribute, &s, &b);
  merge_axes(&b);
  fold_axes(&b);
  const double work = (double)b.a.m*(double)b.a.k*(double)b.a.n;
  return work < 1e18 ? (int64_t)work : INT64_MAX;
}

/* Where batch axes are summed, products are added to zeros. */
static ad_status product_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  sizes s;
  batch_plan b;
  product_sizes(op, &s);
  const int64_t count = ad_type_count(op->z);
  bool empty = s.k == 0, add = false;
  for (int i = 0; i < s.batch; i++) empty |= s.all[i] == 0;
  batch_axes(op->attribute, &s, &b);
  merge_axes(&b);
  if (!empty) fold_axes(&b);
  for (int i = 0; i < b.axes; i++) add |= b.axis[i].z == 0;
  if (empty || add) write_elements(w, z, NULL, count);
  if (count > 0 && !empty) write_products(w, op->z.dtype, &b, z, x, add);
  return AD_OK;
}

/* --- on scalars ----------------------------------------------------------------------------------------- */

/* z += x y for one pair of matrices; elements of z that have no term yet are ad_none(). */
static bool multiply_elements(const matrices *a, const ad_var *x, const ad_var *y, ad_var *z) {
  const int64_t xi = a->tx ? 1 : a->k, xp = a->tx ? a->m : 1, yp = a->ty ? 1 : a->n, yj = a->ty ? a->k : 1;
  for (int64_t i = 0; i < a->m; i++)
    for (int64_t j = 0; j < a->n; j++) {
      ad_var *to = &z[i*a->n + j];
      for (int64_t p = 0; p < a->k; p++) {
        const ad_var term = ad_mul(x[i*xi + p*xp], y[p*yp + j*yj]);
        *to = ad_is_none(*to) ? term : ad_add(*to, term);
        if (!ad_is_valid(*to)) return false;
      }
    }
  return true;
}

static bool product_elements(const ad_operation *op, ad_tape *tape, const ad_var *const x[], ad_var z[]) {
  sizes s;
  batch_plan b;
  const int64_t count = ad_type_count(op->z);
  int64_t all = 1;
  bool good = true;
  product_sizes(op, &s);
  batch_axes(op->attribute, &s, &b);
  for (int64_t e = 0; e < count; e++) z[e] = ad_none();
  for (int i = 0; i < s.batch; i++) all *= s.all[i];
  for (int64_t e = 0; e < all && good; e++) {
    int64_t left = e, at[3] = { 0 };
    for (int i = 0; i < b.axes; left /= b.axis[i++].size) {
      const int64_t index = left%b.axis[i].size;
      at[0] += index*b.axis[i].x;
      at[1] += index*b.axis[i].y;
      at[2] += index*b.axis[i].z;
    }
    good = multiply_elements(&b.a, x[0] + at[0], x[1] + at[1], z + at[2]);
  }
  for (int64_t e = 0; e < count && good; e++)
    if (ad_is_none(z[e])) z[e] = zero_element(tape, op->z.dtype);
  return good;
}

/* --- adjoints ------------------------------------------------------------------------------------------- */

/* The batch of the adjoint of an operand with the given shape: summed where the operand was broadcast. z
 * had z->rank batch axes and was summed over z->sum; the other operand has `other`. */
static void adjoint_batch(product *a, const product *z, const sizes *s, const int64_t *own,
                          const int64_t *other, int rank) {
  a->rank = (uint8_t)rank;
  for (int i = 0; i < s->batch; i++) {
    int64_t g = i >= z->rank || summed(z, i) ? 1 : s->all[i];
    int64_t both = g == 1 ? other[i] : g;
    if (own[i] == 1 && both != 1) a->sum = (uint8_t)(a->sum | 1u << i);
  }
}

/* z = x y:  xbar = zbar y^T, ybar = x^T zbar; a stored transpose turns the product around: xbar^T = y zbar^T,
 * ybar^T = zbar^T x. */
static ad_var product_vjp(ad_rule *r, int k) {
  const product *z = r->op->attribute;
  sizes s;
  product_sizes(r->op, &s);
  product a = { 0 };
  if (k == 0) {
    a.no_m = z->tx ? z->no_k : z->no_m;
    a.no_k = z->no_n;
    a.no_n = z->tx ? z->no_m : z->no_k;
    adjoint_batch(&a, z, &s, s.x, s.y, batch_rank(r->op->x[0], z->no_m, z->no_k));
    a.tx = z->tx && z->ty;
    a.ty = z->tx || !z->ty;
    return z->tx ? product_record(a, r->x[1], r->g) : product_record(a, r->g, r->x[1]);
  }
  a.no_m = z->ty ? z->no_n : z->no_k;
  a.no_k = z->no_m;
  a.no_n = z->ty ? z->no_k : z->no_n;
  adjoint_batch(&a, z, &s, s.y, s.x, batch_rank(r->op->x[1], z->no_k, z->no_n));
  a.tx = z->ty || !z->tx;
  a.ty = z->ty && z->tx;
  return z->ty ? product_record(a, r->g, r->x[0]) : product_record(a, r->x[0], r->g);
}

/* An element of an operand has terms in a whole row, or column, of z. The product with ones tells which; they
 * have one column, or row, and no batch: it broadcasts to z. */
static ad_var product_reach(ad_rule *r, int k) {
  const product *a = r->op->attribute;
  ad_type thin = *r->op->x[1 - k];
  const int last = thin.rank - 1;
  const bool alone = k == 0 ? a->no_n : a->no_m, at_end = k == 0 ? a->ty : !a->tx;
  const int summed_axis = a->no_k ? -1 : alone || at_end ? last : last - 1;
  for (int i = 0; i < thin.rank; i++)
    if (i != summed_axis) thin.dim[i] = 1;
  ad_var g = ad_cast(r->g, thin.dtype), ones = ad_ones(r->tape, thin);
  return ad_greater(k == 0 ? product_record(*a, g, ones) : product_record(*a, ones, g), 0);
}

bool product_of_matrices(const ad_operation *op, product *a) {
  if (op->primitive != &matmul_primitive) return false;
  *a = *(const product *)op->attribute;
  return !a->no_m && !a->no_k && !a->no_n;
}

/* --- batches -------------------------------------------------------------------------------------------- */

/* A shared matrix times a vector of each instance: the vectors are rows of one matrix, which is multiplied by
 * the transpose. z[i,m] = sum_k y[i,k] x[m,k]. */
static ad_var vectors_times_matrix(const ad_batch *b) {
  const product *a = b->op->attribute;
  return product_record((product){ .ty = !a->tx }, b->x[1], b->x[0]);
}

ad_var product_sum_first(const ad_operation *op, const ad_var x[]) {
  const ad_primitive *p = op->primitive;
  sizes s;
  if (p != &matmul_primitive && p != &dot_primitive && p != &outer_primitive) return ad_none();
  product a = *(const product *)op->attribute;
  product_sizes(op, &s);
  const int first = a.rank - 1;
  if (first < 0 || first >= s.batch || summed(&a, first) || s.x[first] != s.y[first]) return ad_none();
  a.rank = (uint8_t)first;
  a.sum = (uint8_t)(a.sum | 1u << first);
  return product_record(a, x[0], x[1]);
}

ad_var product_sum_rows(const ad_operation *op, const ad_var x[]) {
  product a;
  if (!product_of_matrices(op, &a)) return ad_none();
  const ad_var rows = ad_sum(x[0], a.tx ? AD_AXES(-1) : AD_AXES(-2), false);
  a.no_m = 1;
  return product_record(a, rows, x[1]);
}

/* One more batch axis, the outermost: operand k gets axes of size 1 between it and its own where the other
 * one has more. The kernel makes one product of many where a matrix is shared. */
static ad_var product_batch(const ad_batch *b) {
  product a = *(const product *)b->op->attribute;
  sizes s;
  product_sizes(b->op, &s);
  if (!b->batched[0] && s.batch == 0 && a.rank == 0 && a.no_n && !a.no_m && !a.no_k)
    return vectors_times_matrix(b);
  const int own[2] = { batch_rank(b->op->x[0], a.no_m, a.no_k), batch_rank(b->op->x[1], a.no_k, a.no_n) };
  const int axis = s.batch > a.rank ? s.batch : a.rank;
  ad_var x[2];
  for (int k = 0; k < 2; k++) {
    const int rank = b->op->x[k]->rank + axis - own[k];
    if (b->batched[k] && rank >= AD_MAX_RANK) return ad_none();
    x[k] = b->batched[k] ? batch_align(b, k, rank) : b->x[k];
  }
  a.rank = (uint8_t)(axis + 1);
  if (a.rank + !a.no_m + !a.no_n > AD_MAX_RANK) return ad_none();
  return batch_result(b, product_record(a, x[0], x[1]));
}

/* --- columns: instances along a trailing axis ----------------------------------------------------------- */

/* Operand k as an array with that many axes more between its batch and its own last `own`. */
static ad_var with_inner_axes(ad_var x, int own, int more) {
  ad_type t = ad_type_of(x);
  if (more == 0) return x;
  memmove(t.dim + t.rank - own + more, t.dim + t.rank - own, (size_t)own*sizeof *t.dim);
  for (int d = 0; d < more; d++) t.dim[t.rank - own + d] = 1;
  return ad_reshape(x, t.rank + more, t.dim);
}

/* The last two axes as one. */
static ad_var joined(ad_var x) {
  ad_type t = ad_type_of(x);
  t.dim[t.rank - 2] *= t.dim[t.rank - 1];
  return ad_reshape(x, t.rank - 1, t.dim);
}

/* Axes i and j, counted from the last one, exchanged. */
static ad_var exchanged(ad_var x, int i, int j) {
  const int rank = ad_type_of(x).rank;
  int perm[AD_MAX_RANK];
  for (int d = 0; d < rank; d++) perm[d] = d;
  perm[rank - 1 - i] = rank - 1 - j;
  perm[rank - 1 - j] = rank - 1 - i;
  return ad_transpose(x, perm);
}

/* z[m,(n c)] = sum_k x[m,k] y[k,(n c)]: the columns are further columns of y. */
static ad_var columns_of_second(product a, const ad_batch *b) {
  ad_var y = b->x[1];
  if (a.ty) y = exchanged(y, 1, 2), a.ty = 0;
  if (!a.no_n) y = joined(y);
  a.no_n = 0;
  return trail_result(b, product_record(a, b->x[0], y));
}

/* z[m,(n,c)] = sum_k y[k,n] x[m,(k,c)]: m is one more axis of the batch, and y, transposed, the first
 * operand. Where x is stored (k, m), it is z[n,(m c)] = sum_k y[k,n] x[k,(m c)]. */
static ad_var columns_of_first(product a, const ad_batch *b) {
  product p = { .tx = !a.ty, .no_m = a.no_n, .rank = a.rank, .sum = a.sum };
  if (a.tx) {
    const ad_type t = ad_type_of(b->x[0]);
    ad_var z = product_record(p, b->x[1], joined(b->x[0]));
    ad_type apart = ad_type_of(z);
    apart.dim[apart.rank] = t.dim[t.rank - 1];
    apart.dim[apart.rank - 1] = t.dim[t.rank - 2];
    z = ad_reshape(z, apart.rank + 1, apart.dim);
    return a.no_n ? z : exchanged(z, 1, 2);
  }
  p.rank = (uint8_t)(p.rank + !a.no_m);
  p.sum = (uint8_t)(p.sum << !a.no_m);
  return product_record(p, with_inner_axes(b->x[1], 2 - a.no_n, !a.no_m), b->x[0]);
}

/* The columns of one operand; both are left to batch, and so is an outer product's first. */
static ad_var product_trail(const ad_batch *b) {
  const product a = *(const product *)b->op->attribute;
  const int rank = (a.rank > b->op->x[1]->rank ? a.rank : b->op->x[1]->rank) + 3;
  if (b->batched[0] == b->batched[1] || rank > AD_MAX_RANK || (a.no_k && b->batched[0])) return ad_none();
  return b->batched[1] ? columns_of_second(a, b) : columns_of_first(a, b);
}

/* 2 m k n for each matrix of the batch; m n where there is nothing to add up. */
static void product_work(const ad_operation *op, ad_work *w) {
  const product *a = op->attribute;
  sizes s;
  if (product_sizes(op, &s)) return;
  w->flops = (a->no_k && !a->sum ? 1.0 : 2.0)*(double)s.m*(double)s.k*(double)s.n;
  for (int i = 0; i < s.batch; i++) w->flops *= (double)s.all[i];
}

static const ad_primitive matmul_primitive = {
  .name = "matmul", .doc = "product of matrices, over a batch", .linear_in = 3,
  .traits = AD_TRAIT_NEVER_FAILS,
  .type = product_type, .run = product_run, .work = product_work, .vjp = product_vjp, .reach = product_reach,
  .batch = product_batch, .trail = product_trail, .write = product_write, .elements = product_elements,
};
static const ad_primitive dot_primitive = {
  .name = "dot", .doc = "sum of the products of the elements of two vectors", .linear_in = 3,
  .traits = AD_TRAIT_NEVER_FAILS,
  .type = product_type, .run = product_run, .work = product_work, .vjp = product_vjp, .reach = product_reach,
  .batch = product_batch, .trail = product_trail, .write = product_write, .elements = product_elements,
};
static const ad_primitive outer_primitive = {
  .name = "outer", .doc = "products of each element of one vector with each of another", .linear_in = 3,
  .traits = AD_TRAIT_NEVER_FAILS,
  .type = product_type, .run = product_run, .work = product_work, .vjp = product_vjp, .reach = product_reach,
  .batch = product_batch, .trail = product_trail, .write = product_write, .elements = product_elements,
};

/* --- recording ------------------------------------------------------------------------------------------ */

/* Records the product of operands brought to one dtype. An invalid operand is left to ad_record. */
static ad_var record_promoted(product a, ad_var x, ad_var y) {
  ad_type tx = ad_type_of(x), ty = ad_type_of(y);
  if (tx.rank > 0 && ty.rank > 0) {
    ad_dtype dtype = ad_dtype_promote(tx.dtype, ty.dtype);
    x = cast_to(x, dtype);
    y = cast_to(y, dtype);
  }
  return product_record(a, x, y);
}

ad_var ad_matmul(ad_var x, ad_var y) {
  int rx = ad_type_of(x).rank, ry = ad_type_of(y).rank;
  ad_var operands[2] = { x, y };
  if (rx == 0 || ry == 0)
    return ad_fail(ad_tape_of(2, operands), AD_ERROR_SHAPE,
                   "matmul: an operand is a scalar; mul multiplies by a number");
  product a = { .no_m = rx == 1, .no_n = ry == 1 };
  int batch = rx > ry ? rx : ry;
  if (batch > 2) a.rank = (uint8_t)(batch - 2);
  return record_promoted(a, x, y);
}

/* Both operands must be vectors. */
static ad_var record_vectors(const char *name, product a, ad_var x, ad_var y) {
  ad_type tx = ad_type_of(x), ty = ad_type_of(y);
  ad_var operands[2] = { x, y };
  if (tx.rank < 0 || ty.rank < 0 || (tx.rank == 1 && ty.rank == 1)) return record_promoted(a, x, y);
  char p[192], q[192];
  return ad_fail(ad_tape_of(2, operands), AD_ERROR_SHAPE, "%s: operands must be vectors, %s x %s", name,
                 shape_text(&tx, p, sizeof p), shape_text(&ty, q, sizeof q));
}

ad_var ad_dot(ad_var x, ad_var y) { return record_vectors("dot", (product){ .no_m = 1, .no_n = 1 }, x, y); }
ad_var ad_outer(ad_var x, ad_var y) { return record_vectors("outer", (product){ .no_k = 1 }, x, y); }
