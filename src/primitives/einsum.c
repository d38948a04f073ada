/* einsum.c -- Einstein sums, recorded as compositions of other operations, so that derivatives of any
 * order come for free.
 *
 * Each operand is first made plain: diagonals taken where a label is repeated, axes of size 1 dropped
 * where they are broadcast, labels that nothing else needs summed out. Then pairs are contracted, the pair
 * first whose result grows least over its operands, until one array is left. A pair with labels B in both
 * and still needed, K in both and not needed, M in x only, N in y only is one batched product (B, M, K)
 * (B, K, N), whose flags save most transposes.
 */
#include "primitives/einsum.h"
#include "primitives/axes.h"
#include "primitives/matmul.h"
#include "adit/elementwise.h"
#include "base/memory.h"

#include <string.h>

enum { PAIRS_FROM = 24 };           /* pairs are sought among this many operands: the search stays linear */

typedef struct operand {
  ad_var x;
  einsum_axes axes;                 /* its labels in order */
  uint64_t set;                     /* the same as a set */
} operand;

/* --- sets and lists of labels --------------------------------------------------------------------------- */

static uint64_t set_of(const einsum_axes *a) {
  uint64_t set = 0;
  for (int i = 0; i < a->rank; i++) set |= einsum_bit(a->label[i]);
  return set;
}

static bool contains(uint64_t set, int label) { return (set >> label & 1) != 0; }

/* The labels of a that are in set, in their order. */
static einsum_axes select_labels(const einsum_axes *a, uint64_t set) {
  einsum_axes chosen = { 0 };
  for (int i = 0; i < a->rank; i++)
    if (contains(set, a->label[i])) chosen.label[chosen.rank++] = a->label[i];
  return chosen;
}

static bool same_axes(const einsum_axes *a, const einsum_axes *b) {
  return a->rank == b->rank && !memcmp(a->label, b->label, (size_t)a->rank);
}

/* Lists one after the other; they are subsets of one array's labels, so they fit. */
static einsum_axes join(const einsum_axes *a, const einsum_axes *b, const einsum_axes *c) {
  const einsum_axes *part[3] = { a, b, c };
  einsum_axes all = { 0 };
  for (int p = 0; p < 3; p++)
    for (int i = 0; i < part[p]->rank; i++) all.label[all.rank++] = part[p]->label[i];
  return all;
}

static int set_count(uint64_t set) {
  int count = 0;
  for (; set; set &= set - 1) count++;
  return count;
}

/* Number of elements, as a double: only compared. */
static double set_size(const einsum_equation *e, uint64_t set) {
  double size = 1;
  for (int label = 0; label < EINSUM_LABELS; label++)
    if (contains(set, label)) size *= (double)e->dim[label];
  return size;
}

static int64_t list_size(const einsum_equation *e, const einsum_axes *a) {
  int64_t size = 1;
  for (int i = 0; i < a->rank; i++) size *= e->dim[a->label[i]];
  return size;
}

/* --- one operand ---------------------------------------------------------------------------------------- */

/* x with its axes in the order of want, which names the same labels. */
static void reorder(operand *o, const einsum_axes *want) {
  int perm[AD_MAX_RANK];
  if (same_axes(&o->axes, want)) return;
  for (int i = 0; i < want->rank; i++)
    for (int j = 0; j < o->axes.rank; j++)
      if (o->axes.label[j] == want->label[i]) perm[i] = j;
  o->x = ad_transpose(o->x, perm);
  o->axes = *want;
}

/* Takes the diagonal over axes i < j, which have the same label: they go to the end, and come back as one,
   the last. */
static void take_diagonal(operand *o, int i, int j) {
  int perm[AD_MAX_RANK], n = 0;
  uint8_t label = o->axes.label[i];
  einsum_axes rest = { 0 };
  for (int a = 0; a < o->axes.rank; a++) {
    if (a == i || a == j) continue;
    perm[n++] = a;
    rest.label[rest.rank++] = o->axes.label[a];
  }
  perm[n] = i;
  perm[n + 1] = j;
  if (j != n + 1 || i != n) o->x = ad_transpose(o->x, perm);
  o->x = ad_diag(o->x, 0);
  rest.label[rest.rank++] = label;
  o->axes = rest;
}

static void take_diagonals(operand *o) {
  for (int i = 0; i < o->axes.rank; i++)
    for (int j = i + 1; j < o->axes.rank; j++)
      if (o->axes.label[i] == o->axes.label[j]) {
        take_diagonal(o, i, j);
        i = -1;                     /* the axes moved: begin again */
        break;
      }
}

/* Drops axes of size 1 that are broadcast against a bigger one elsewhere. */
static void drop_broadcast(const einsum_equation *e, operand *o) {
  ad_type t = ad_type_of(o->x);
  einsum_axes kept = { 0 };
  int64_t dim[AD_MAX_RANK];
  for (int i = 0; i < o->axes.rank && i < t.rank; i++) {
    if (t.dim[i] != e->dim[o->axes.label[i]]) continue;
    dim[kept.rank] = t.dim[i];
    kept.label[kept.rank++] = o->axes.label[i];
  }
  if (kept.rank == o->axes.rank) return;
  o->x = ad_reshape(o->x, kept.rank, dim);
  o->axes = kept;
}

/* Sums over the labels outside `needed`. */
static void sum_others(operand *o, uint64_t needed) {
  ad_axes axes = { 0 };
  for (int i = 0; i < o->axes.rank; i++)
    if (!contains(needed, o->axes.label[i])) axes.axis[axes.count++] = i;
  if (axes.count == 0) return;
  ad_dtype dtype = ad_type_of(o->x).dtype;
  o->x = cast_to(ad_sum(o->x, axes, false), dtype);     /* integers are summed in i64 */
  o->axes = select_labels(&o->axes, needed);
  o->set = set_of(&o->axes);
}

/* Labels that an operand other than `except` or the result has. */
static uint64_t needed_by_others(const einsum_equation *e, const operand *o, int except, int also_except) {
  uint64_t set = set_of(&e->out);
  for (int i = 0; i < e->n; i++)
    if (i != except && i != also_except) set |= o[i].set;
  return set;
}

static void make_plain(const einsum_equation *e, operand *o) {
  for (int i = 0; i < e->n; i++) {
    take_diagonals(&o[i]);
    drop_broadcast(e, &o[i]);
    o[i].set = set_of(&o[i].axes);
  }
  uint64_t once = 0, more = 0;
  for (int i = 0; i < e->n; i++) {
    more |= once & o[i].set;
    once |= o[i].set;
  }
  for (int i = 0; i < e->n; i++) sum_others(&o[i], more | set_of(&e->out));
}

/* --- one pair ------------------------------------------------------------------------------------------- */

/* How a pair is multiplied: lists of labels, x (b, m, k) or (b, k, m), y (b, k, n) or (b, n, k). */
typedef struct contraction { einsum_axes b, m, k, n; } contraction;

/* What it costs to bring an operand to (b, p, q) or (b, q, p): its size, or nothing if it is there. */
static double reorder_cost(const einsum_equation *e, const operand *o, const einsum_axes *b,
                           const einsum_axes *p, const einsum_axes *q) {
  einsum_axes straight = join(b, p, q), turned = join(b, q, p);
  return same_axes(&o->axes, &straight) || same_axes(&o->axes, &turned) ? 0 : set_size(e, o->set);
}

static double contraction_cost(const einsum_equation *e, const operand *x, const operand *y,
                               const contraction *c) {
  return reorder_cost(e, x, &c->b, &c->m, &c->k) + reorder_cost(e, y, &c->b, &c->k, &c->n);
}

/* The order of shared labels is that of x or that of y, whichever transposes less. */
static contraction plan_contraction(const einsum_equation *e, const operand *x, const operand *y,
                                    uint64_t summed) {
  uint64_t both = x->set & y->set;
  contraction best = { .m = select_labels(&x->axes, ~both), .n = select_labels(&y->axes, ~both) };
  double least = -1;
  for (int i = 0; i < 4; i++) {
    contraction c = best;
    c.b = select_labels(i & 1 ? &y->axes : &x->axes, both & ~summed);
    c.k = select_labels(i & 2 ? &y->axes : &x->axes, both & summed);
    double cost = contraction_cost(e, x, y, &c);
    if (least >= 0 && cost >= least) continue;
    least = cost;
    best = c;
  }
  return best;
}

/* x y elementwise, where the labels of one are among the other's. The result has the axes of the wider
   one. */
static operand multiply_elementwise(const einsum_equation *e, operand *x, operand *y) {
  operand *wide = (y->set & ~x->set) ? y : x, *narrow = wide == x ? y : x;
  einsum_axes order = select_labels(&wide->axes, narrow->set);
  int64_t dim[AD_MAX_RANK];
  int rank = 0;
  reorder(narrow, &order);
  for (int i = 0; i < wide->axes.rank; i++) {
    int label = wide->axes.label[i];
    if (rank || contains(narrow->set, label)) dim[rank++] = contains(narrow->set, label) ? e->dim[label] : 1;
  }
  if (rank > narrow->axes.rank) narrow->x = ad_reshape(narrow->x, rank, dim);
  operand z = *wide;
  z.x = ad_mul(x->x, y->x);
  return z;
}

/* Brings an operand to rank 3 or less: b, p, q or, turned, b, q, p, each list one axis, or none if it is
   empty. */
static void group_axes(const einsum_equation *e, operand *o, const einsum_axes *b, const einsum_axes *p,
                       const einsum_axes *q, uint8_t *turned) {
  einsum_axes straight = join(b, p, q), other = join(b, q, p);
  *turned = !same_axes(&o->axes, &straight) && same_axes(&o->axes, &other);
  if (!*turned) reorder(o, &straight);
  const einsum_axes *group[3] = { b, *turned ? q : p, *turned ? p : q };
  int64_t dim[3];
  int rank = 0;
  for (int i = 0; i < 3; i++)
    if (group[i]->rank) dim[rank++] = list_size(e, group[i]);
  if (rank != o->axes.rank) o->x = ad_reshape(o->x, rank, dim);
}

/* The product (b, m, n) of a pair, as one call. */
static operand multiply_matrices(const einsum_equation *e, operand *x, operand *y, const contraction *c) {
  product a = { .no_m = !c->m.rank, .no_k = !c->k.rank, .no_n = !c->n.rank, .rank = c->b.rank > 0 };
  group_axes(e, x, &c->b, &c->m, &c->k, &a.tx);
  group_axes(e, y, &c->b, &c->k, &c->n, &a.ty);
  const einsum_axes axes = join(&c->b, &c->m, &c->n);
  operand z = { product_record(a, x->x, y->x), axes, set_of(&axes) };
  int64_t dim[AD_MAX_RANK];
  for (int i = 0; i < z.axes.rank; i++) dim[i] = e->dim[z.axes.label[i]];
  if (z.axes.rank != (c->b.rank > 0) + (c->m.rank > 0) + (c->n.rank > 0))
    z.x = ad_reshape(z.x, z.axes.rank, dim);
  return z;
}

/* The pair summed over its shared labels outside `needed`. Elementwise products where there is no matrix
 * in it: nothing is summed and one operand adds no axis, or nothing but the batch is left and it does not
 * come first. */
static operand contract(const einsum_equation *e, operand *x, operand *y, uint64_t needed) {
  contraction c = plan_contraction(e, x, y, ~needed);
  bool no_m = c.m.rank == 0, no_n = c.n.rank == 0, nothing_summed = c.k.rank == 0;
  bool batch_inside = c.b.rank > 0 && contraction_cost(e, x, y, &c) > 0;
  if ((nothing_summed && (no_m || no_n)) || (no_m && no_n && batch_inside)) {
    operand z = multiply_elementwise(e, x, y);
    sum_others(&z, needed);
    return z;
  }
  return multiply_matrices(e, x, y, &c);
}

/* --- the whole ------------------------------------------------------------------------------------------ */

/* The next pair: its result grows least over its operands. False if no result has a rank that is possible. */
static bool choose_pair(const einsum_equation *e, const operand *o, int *first, int *second) {
  int reach = e->n < PAIRS_FROM ? e->n : PAIRS_FROM;
  double least = 0;
  bool found = false;
  for (int i = 0; i < reach; i++)
    for (int j = i + 1; j < reach; j++) {
      uint64_t set = (o[i].set | o[j].set) & needed_by_others(e, o, i, j);
      if (set_count(set) > AD_MAX_RANK) continue;
      double growth = set_size(e, set) - set_size(e, o[i].set) - set_size(e, o[j].set);
      if (found && growth >= least) continue;
      found = true;
      least = growth;
      *first = i;
      *second = j;
    }
  return found;
}

/* Contracts operands o[0..n) to one. */
static ad_var contract_all(einsum_equation *e, operand *o, ad_tape *tape) {
  while (e->n > 1) {
    int i = 0, j = 1;
    if (!choose_pair(e, o, &i, &j))
      return ad_fail(tape, AD_ERROR_SHAPE,
                     "einsum: every pair of operands has a product of more than %d axes", AD_MAX_RANK);
    o[i] = contract(e, &o[i], &o[j], needed_by_others(e, o, i, j));
    e->n--;
    memmove(&o[j], &o[j + 1], (size_t)(e->n - j)*sizeof *o);
  }
  reorder(&o[0], &e->out);
  return o[0].x;
}

static bool is_number(ad_var x) { return x.tape == NULL || x.tape == AD_INTEGER_LITERAL_; }

/* Operands brought to one dtype; numbers stay weak. */
static void promote(int n, operand o[], const ad_type types[]) {
  ad_dtype dtype = AD_BOOL;
  for (int i = 0; i < n; i++)
    if (!is_number(o[i].x)) dtype = ad_dtype_promote(dtype, types[i].dtype);
  for (int i = 0; i < n; i++)
    if (!is_number(o[i].x)) o[i].x = cast_to(o[i].x, dtype);
}

/* Memory of one call: operands and their types. */
typedef struct workspace {
  operand *o;
  ad_type *types;
  einsum_axes *axes;
} workspace;

static ad_var einsum_in(workspace *w, ad_tape *tape, const char *text, int n, const ad_var x[]) {
  einsum_equation e;
  for (int i = 0; i < n; i++) {
    w->types[i] = ad_type_of(x[i]);
    if (w->types[i].rank < 0) return ad_fail(tape, AD_ERROR_HANDLE, "einsum: operand %d is invalid", i);
  }
  if (!einsum_read(tape, text, n, w->types, w->axes, &e)) return ad_fail(tape, AD_ERROR_SYNTAX, "einsum");
  for (int i = 0; i < n; i++) w->o[i] = (operand){ x[i], w->axes[i], 0 };
  promote(n, w->o, w->types);
  make_plain(&e, w->o);
  return contract_all(&e, w->o, tape);
}

ad_var ad_einsum(const char *equation, int n, const ad_var x[]) {
  ad_tape *tape = n > 0 && x ? ad_tape_of(n, x) : NULL;
  if (!equation || n < 1 || !x)
    return ad_fail(tape, AD_ERROR_ARGUMENT, "einsum: an equation and one operand at least are needed");
  size_t count = (size_t)n, bytes = count*(sizeof(operand) + sizeof(ad_type) + sizeof(einsum_axes));
  const ad_allocator *m = memory_of_tape(tape);
  operand *memory = memory_get(m, bytes);
  if (!memory) return ad_fail(tape, AD_ERROR_MEMORY, "einsum: out of memory");
  ad_type *types = (ad_type *)(void *)(memory + count);
  workspace w = { memory, types, (einsum_axes *)(void *)(types + count) };
  ad_var z = einsum_in(&w, tape, equation, n, x);
  memory_release(m, memory, bytes);
  return z;
}
