/* sparse_groups.c -- see sparse_groups.h. */
#include "function/sparse_groups.h"
#include "adit/arrays.h"
#include "function/cone.h"
#include "primitives/construct.h"
#include "primitives/sparse.h"

#include <string.h>

/* Products behind one that are looked at for its group. */
enum { CANDIDATES_MOST = 64, LINE = 64 };

/* Columns that a node reads of its array, all: as one row after the other. */
typedef struct reading { int64_t first, count; bool all, often; } reading;

static bool is_product(const ad_tape *t, uint32_t i, reading *r) {
  const ad_type *types[SPARSE_OPERANDS];
  int n;
  if (node_is_leaf(t, i)) return false;
  node_operands(t, i, &n);
  if (n != SPARSE_OPERANDS) return false;
  const ad_operation op = node_operation(t, i, types);
  if (!sparse_is_product(&op, &r->first, &r->count, &r->all) || ad_type_count(op.z) == 0) return false;
  r->often = sparse_reads_often(&op);
  return true;
}

bool sparse_groups_product(const ad_tape *src, uint32_t i) {
  reading r;
  return is_product(src, i, &r);
}

static int64_t width_of(const ad_tape *t, uint32_t i) {
  const ad_type *z = &node_type(t, i)->type;
  return z->rank > 0 && z->dim[0] ? ad_type_count(*z)/z->dim[0] : 0;
}

/* --- which products ------------------------------------------------------------------------------------- */

/* Is node i some columns of a matrix? */
static bool is_columns(const ad_tape *t, uint32_t i, reading *r) {
  const ad_type *types[1];
  int n, axis;
  int64_t step;
  node_operands(t, i, &n);
  if (n != 1) return false;
  const ad_operation op = node_operation(t, i, types);
  r->count = op.z.rank == 2 ? op.z.dim[1] : 0;
  return op.z.rank == 2 && slice_along(&op, &axis, &r->first, &step) && axis == 1 && step == 1;
}

static void look(sparse_groups *g, uint32_t x, int64_t columns) {
  if (g->used[x] >= 0 && (columns < 0 || columns > g->used[x])) g->used[x] = columns;
}

/* From the last node down, so that all readers of a node have been seen before it. A product whose own result
 * goes into a group has its array put together, and reads no columns. */
static void find_readers(sparse_groups *g, uint32_t highest) {
  const ad_tape *t = g->src;
  for (uint32_t i = highest + 1; i-- > 0;) {
    int n;
    reading r;
    if (g->needed[i] != 1 || node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    const bool product = is_product(t, i, &r), columns = !product && is_columns(t, i, &r);
    const bool shape = !product && !columns && tape_keeps_bytes(t, i);
    for (int k = 0; k < n; k++) {
      const bool reads = product ? k == SPARSE_ARRAY && g->used[i] < 0 : (columns || shape) && g->used[i] > 0;
      look(g, x[k], !reads ? -1 : shape ? width_of(t, x[k]) : r.first + r.count);
    }
    if (!product && !columns && !shape) g->used[i] = -1;
  }
}

bool sparse_groups_open(sparse_groups *g, const ad_allocator *a, const ad_tape *src,
                        const unsigned char *needed, uint32_t highest, int n_out, const uint32_t out[]) {
  const size_t n = (size_t)highest + 1;
  *g = (sparse_groups){ .src = src, .needed = needed, .nodes = highest + 1 };
  g->used = memory_get_zeroed(a, n, sizeof *g->used + 1);
  if (!g->used) return false;
  g->reached = (unsigned char *)(g->used + n);
  for (int j = 0; j < n_out; j++) g->used[out[j]] = -1;
  find_readers(g, highest);
  return true;
}

void sparse_groups_close(sparse_groups *g, const ad_allocator *a) {
  memory_release(a, g->used, (size_t)g->nodes*(sizeof *g->used + 1));
}

/* Constants are one node where the same text records them, and several where functions are copied. */
static bool same_operand(const ad_tape *t, uint32_t x, uint32_t y) {
  if (x == y) return true;
  return node_is_constant(t, x) && node_is_constant(t, y)
         && ad_type_equal(node_type(t, x)->type, node_type(t, y)->type)
         && !memcmp(node_data(t, x), node_data(t, y), node_type(t, x)->bytes);
}

static bool same_matrix(const ad_tape *t, uint32_t i, uint32_t j) {
  int n;
  const uint32_t *x = node_operands(t, i, &n), *y = node_operands(t, j, &n);
  for (int k = 0; k < SPARSE_ARRAY; k++)
    if (!same_operand(t, x[k], y[k])) return false;
  return true;
}

/* May node i be in a group? */
static bool is_open(const sparse_groups *g, uint32_t i) {
  reading r;
  return g->needed[i] == 1 && g->used[i] > 0 && is_product(g->src, i, &r) && r.all;
}

/* Elements behind those of a row of all, up to the end of a line: a few, if any. */
static int64_t rest_of(const ad_type *z, int64_t width) {
  const int64_t line = LINE/(int64_t)ad_dtype_bytes(z->dtype), rest = (line - width%line)%line;
  return width > line && rest <= width/8 ? rest : 0;
}

/* Is a product on its own worth a copy of its array in other rows? */
static bool is_worth(const sparse_groups *g, uint32_t i) {
  reading r;
  return is_product(g->src, i, &r) && r.often && rest_of(&node_type(g->src, i)->type, width_of(g->src, i)) > 0;
}

int sparse_groups_find(const sparse_groups *g, uint32_t i, uint32_t node[SPARSE_GROUP_MOST]) {
  uint32_t seen = i;
  int members = 1;
  if (!is_open(g, i)) return 0;
  node[0] = i;
  g->reached[i] = 1;
  for (uint32_t j = i + 1, candidates = 0; j < g->nodes && members < SPARSE_GROUP_MOST; j++) {
    if (!is_open(g, j)) continue;
    if (candidates++ == CANDIDATES_MOST) break;
    if (!same_matrix(g->src, i, j)) continue;
    cone_reach(g->src, g->needed, seen + 1, j, g->reached);
    seen = j;
    if (g->reached[j]) continue;
    node[members++] = j;
    g->reached[j] = 1;
  }
  memset(g->reached + i, 0, (size_t)(seen - i) + 1);
  return members > 1 || is_worth(g, i) ? members : 0;
}

/* --- the product ---------------------------------------------------------------------------------------- */

/* Those columns of a member's array that count. */
static ad_var columns_of(const sparse_groups *g, ad_tape *dst, uint32_t i, const uint32_t map[]) {
  int n;
  const uint32_t x = node_operands(g->src, i, &n)[SPARSE_ARRAY];
  const ad_var all = ad_reshape(handle(dst, map[x]), 2, (const int64_t[]){ node_type(g->src, x)->type.dim[0],
                                                                           width_of(g->src, i) });
  return ad_slice(all, 1, 0, g->used[i], 1);
}

static ad_var record_all(const sparse_groups *g, ad_tape *dst, int n, const uint32_t node[],
                         const uint32_t map[]) {
  ad_var part[SPARSE_GROUP_MOST + 1];
  int operands;
  const uint32_t *x = node_operands(g->src, node[0], &operands);
  const ad_type *z = &node_type(g->src, node[0])->type;
  int64_t width = 0;
  for (int k = 0; k < n; k++) {
    part[k] = columns_of(g, dst, node[k], map);
    width += g->used[node[k]];
  }
  const int64_t dim[2] = { node_type(g->src, x[SPARSE_ARRAY])->type.dim[0], rest_of(z, width) };
  if (dim[1]) part[n] = ad_zeros(dst, ad_type_make(z->dtype, 2, dim));
  return ad_sparse_matmul(handle(dst, map[x[SPARSE_START]]), handle(dst, map[x[SPARSE_COLUMN]]),
                          handle(dst, map[x[SPARSE_VALUE]]), ad_concat(n + (dim[1] > 0), part, 1));
}

/* A result of which not all is used is columns as they are: its readers are products that say which. */
bool sparse_groups_record(const sparse_groups *g, ad_tape *dst, int n, const uint32_t node[], uint32_t map[]) {
  const ad_var all = record_all(g, dst, n, node, map);
  int64_t first = 0;
  for (int k = 0; k < n; k++) {
    const ad_type *z = &node_type(g->src, node[k])->type;
    const int64_t used = g->used[node[k]];
    ad_var v = ad_slice(all, 1, first, used, 1);
    if (used == width_of(g->src, node[k])) v = ad_reshape(v, z->rank, z->dim);
    if (!ad_is_valid(v)) return false;
    map[node[k]] = v.at.node.index;
    first += used;
  }
  return true;
}
