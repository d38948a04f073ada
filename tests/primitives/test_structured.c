/* test_structured.c -- properties of the derivatives of every structured primitive, from one table of cases.
 *
 * For a case y = f(x), direction v and cotangent u, in f64 and f32, on random shapes with rank 0, empty and
 * size 1 among them:
 *   order 1   J v against central differences of f; <u, J v> = <J^T u, v>; ad_backward against J^T u
 *   order 2   H v, H the Hessian of <u, f>: forward over reverse, reverse over forward and reverse over
 *             reverse against differences of J^T u; forward over forward against differences of J v
 *   order 3   the derivative of H v along v, forward and reverse, against differences of H v
 *   taylor    coefficients 1 to 3 of f(x + t v) against J v, (J v)' v/2, ((J v)' v)' v/6
 * Each case runs plain, and wrapped as post(f(pre(x))) with polynomials, so that linear operations have
 * higher derivatives too. Differences have order 8 (coefficients 4/5 -1/5 4/105 -1/280), exact for
 * polynomials up to degree 8; f32 is compared with f64 at the same point. Steps are far smaller than the
 * gaps between elements where order matters.
 */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/linear.h"
#include "adit/primitive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 10, MAX_INPUTS = 4, MAX_VALUES = 4096 };

/* --- random choices ------------------------------------------------------------------------------------- */

typedef struct options { uint64_t state; } options;

static uint64_t next_bits(options *o) {
  uint64_t z = o->state += 0x9E3779B97F4A7C15u;         /* SplitMix64 */
  z = (z ^ z >> 30)*0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27)*0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static int below(options *o, int n) { return n > 0 ? (int)(next_bits(o)%(uint64_t)n) : 0; }
static double uniform(options *o, double lo, double hi) {
  return lo + (hi - lo)*(double)(next_bits(o) >> 11)/9007199254740992.0;
}

static int any_axis(options *o, int rank) { return below(o, 2) ? below(o, rank) : below(o, rank) - rank; }

static ad_axes any_axes(options *o, int rank) {
  ad_axes a = { 0 };
  if (below(o, 4) == 0) return AD_ALL_AXES;
  for (int i = 0; i < rank; i++)
    if (below(o, 2)) a.axis[a.count++] = below(o, 2) ? i : i - rank;
  return a;
}

/* Indices into [0, n), negative ones too, as a constant of a random integer dtype. */
static ad_var any_index(ad_tape *t, options *o, int rank, const int64_t dim[], int64_t n) {
  int64_t wide[MAX_VALUES];
  int32_t narrow[MAX_VALUES];
  ad_type type = ad_type_make(below(o, 2) ? AD_I32 : AD_I64, rank, dim);
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    wide[i] = below(o, (int)n) - (below(o, 4) ? 0 : n);
    narrow[i] = (int32_t)wide[i];
  }
  return ad_constant(t, type, type.dtype == AD_I32 ? (const void *)narrow : wide);
}

/* --- the cases: f records an operation from its inputs -------------------------------------------------- */

#define CASE(name) static ad_var case_##name(const ad_var x[], options *o)
#define PLAIN(name, expression) CASE(name) { (void)o; return expression; }
#define REDUCTION(name, call) CASE(name) { \
    ad_axes axes = any_axes(o, ad_type_of(x[0]).rank); \
    bool keep = below(o, 2) != 0; \
    return call; }
#define ALONG(name, call) CASE(name) { \
    ad_type type = ad_type_of(x[0]); \
    int axis = any_axis(o, type.rank), plain = axis < 0 ? axis + type.rank : axis; \
    int64_t size = type.dim[plain]; \
    (void)size; \
    return call; }

REDUCTION(sum, ad_sum(x[0], axes, keep))
REDUCTION(prod, ad_prod(x[0], axes, keep))
REDUCTION(mean, ad_mean(x[0], axes, keep))
REDUCTION(variance, ad_variance(x[0], axes, keep, 0))
REDUCTION(reduce_min, ad_reduce_min(x[0], axes, keep))
REDUCTION(reduce_max, ad_reduce_max(x[0], axes, keep))
REDUCTION(logsumexp, ad_logsumexp(x[0], axes, keep))
REDUCTION(norm, ad_norm(x[0], axes, keep))
ALONG(cumsum, ad_cumsum(x[0], axis))
ALONG(cumprod, ad_cumprod(x[0], axis))

CASE(sample_variance) {             /* ddof 1 needs two elements */
  (void)o;
  return ad_variance(x[0], AD_AXES(-1), false, 1);
}

CASE(reshape) {
  ad_type type = ad_type_of(x[0]);
  int64_t count = ad_type_count(type), dim[3] = { 1, -1, 1 };
  if (count == 0) return ad_reshape(x[0], 2, (int64_t[]){ 0, 5 });
  if (below(o, 2) && count%2 == 0) dim[2] = 2;
  return ad_reshape(x[0], 3, dim);
}
CASE(transpose) {
  int rank = ad_type_of(x[0]).rank, perm[AD_MAX_RANK];
  if (below(o, 4) == 0) return ad_transpose(x[0], NULL);
  for (int i = 0; i < rank; i++) perm[i] = i;
  for (int i = rank - 1; i > 0; i--) {
    int j = below(o, i + 1), p = perm[i];
    perm[i] = perm[j];
    perm[j] = p;
  }
  return ad_transpose(x[0], perm);
}
CASE(broadcast_to) {
  ad_type type = ad_type_of(x[0]);
  int64_t dim[AD_MAX_RANK];
  int extra = below(o, 3), rank = type.rank + extra;
  for (int i = 0; i < extra; i++) dim[i] = below(o, 3) + (below(o, 4) > 0);
  for (int i = 0; i < type.rank; i++) dim[extra + i] = type.dim[i] == 1 ? below(o, 4) : type.dim[i];
  return ad_broadcast_to(x[0], rank, dim);
}
PLAIN(squeeze, ad_squeeze(x[0], AD_ALL_AXES))
CASE(expand) { return ad_expand(x[0], any_axis(o, ad_type_of(x[0]).rank + 1)); }

/* A slice that is inside. */
typedef struct slice { int64_t start, count, step; } slice;
static slice any_slice(options *o, int64_t size) {
  slice s = { 0, 0, below(o, 2) ? 1 + below(o, 3) : -1 - below(o, 3) };
  if (size == 0) return s;
  s.start = below(o, (int)size);
  int64_t most = s.step > 0 ? (size - 1 - s.start)/s.step + 1 : s.start/-s.step + 1;
  s.count = below(o, (int)most + 1);
  if (below(o, 3) == 0) s.start -= size;
  return s;
}
CASE(slice) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank);
  slice s = any_slice(o, type.dim[axis]);
  if (type.dim[axis] == 0) return x[0];
  return ad_slice(x[0], axis, s.start, s.count, s.step);
}
CASE(slice_add) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank);
  slice s = any_slice(o, type.dim[axis]);
  if (type.dim[axis] == 0) return ad_add(x[0], x[1]);
  ad_var part = ad_slice(x[1], axis, 0, s.count, 1);
  return ad_slice_add(x[0], part, axis, s.start, s.step);
}
CASE(at) {
  ad_type type = ad_type_of(x[0]);
  int64_t index[AD_MAX_RANK];
  int n = below(o, type.rank + 1);
  for (int i = 0; i < n; i++) index[i] = below(o, (int)type.dim[i]) - (below(o, 3) ? 0 : type.dim[i]);
  return ad_at(x[0], n, index);
}
ALONG(concat, ad_concat(3, (ad_var[]){ x[0], ad_slice(x[1], plain, 0, size/2, 1), x[0] }, axis))
CASE(stack) { return ad_stack(3, (ad_var[]){ x[0], x[1], x[0] }, any_axis(o, ad_type_of(x[0]).rank + 1)); }
CASE(split) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank);
  int64_t size[3] = { type.dim[axis]/2, 0, type.dim[axis] - type.dim[axis]/2 };
  ad_var part[3];
  ad_split(x[0], axis, 3, size, part);
  return ad_concat(3, (ad_var[]){ part[2], part[0], part[2] }, axis);
}
CASE(pad) {
  int64_t before[AD_MAX_RANK], after[AD_MAX_RANK];
  for (int i = 0; i < AD_MAX_RANK; i++) before[i] = below(o, 3), after[i] = below(o, 3);
  return ad_pad(x[0], before, after, x[1]);
}
CASE(flip) { return ad_flip(x[0], any_axes(o, ad_type_of(x[0]).rank)); }
CASE(tile) {
  int64_t reps[4];
  for (int i = 0; i < 4; i++) reps[i] = 1 + below(o, 2);
  if (below(o, 5) == 0) reps[1] = 0;
  return ad_tile(x[0], below(o, 4), reps);
}
ALONG(repeat, ad_repeat(x[0], axis, below(o, 4)))

CASE(take) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank), rank = below(o, 3);
  int64_t dim[2] = { below(o, 4), 1 + below(o, 3) };
  return ad_take(x[0], any_index(x[0].tape, o, rank, dim, type.dim[axis]),
                 axis - (below(o, 2) ? type.rank : 0));
}
CASE(scatter_add) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank), rank = below(o, 3);
  int64_t dim[2] = { below(o, 4), 1 + below(o, 3) };
  ad_var updates = ad_take(x[1], any_index(x[0].tape, o, rank, dim, type.dim[axis]), axis);
  return ad_scatter_add(x[0], any_index(x[0].tape, o, rank, dim, type.dim[axis]), updates, axis);
}
/* Rows of a sparse matrix with n entries, and their columns. */
static void any_pattern(options *o, ad_tape *t, int64_t n, int64_t rows, int64_t columns, ad_var pattern[2]) {
  int64_t start[MAX_VALUES] = { 0 }, column[MAX_VALUES];
  for (int64_t i = 1; i < rows; i++) start[i] = start[i - 1] + below(o, (int)(n - start[i - 1] + 1));
  if (rows > 0) start[rows] = n;
  for (int64_t e = 0; e < n; e++) column[e] = below(o, (int)columns);
  pattern[0] = ad_constant(t, AD_I64(rows + 1), start);
  pattern[1] = ad_constant(t, AD_I64(n), column);
}
CASE(sparse_matmul) {
  ad_var pattern[2];
  const int64_t n = ad_type_of(x[0]).dim[0];
  any_pattern(o, x[0].tape, n, 1 + below(o, 4), ad_type_of(x[1]).dim[0], pattern);
  return ad_sparse_matmul(pattern[0], pattern[1], x[0], x[1]);
}
CASE(sparse_transposed) {
  ad_var pattern[2];
  const int64_t n = ad_type_of(x[0]).dim[0], columns = 1 + below(o, 4);
  any_pattern(o, x[0].tape, n, ad_type_of(x[1]).dim[0], columns, pattern);
  return ad_sparse_matmul_transposed(pattern[0], pattern[1], x[0], x[1], columns);
}

/* The shape of x but for another size along axis. */
static ad_var gather_index(ad_var x, options *o, int axis, int64_t size) {
  ad_type type = ad_type_of(x);
  int64_t n = type.dim[axis];
  type.dim[axis] = size;
  return any_index(x.tape, o, type.rank, type.dim, n);
}
CASE(gather) {
  int axis = below(o, ad_type_of(x[0]).rank);
  return ad_gather(x[0], gather_index(x[0], o, axis, below(o, 5)), axis);
}
CASE(gather_broadcast) {            /* x (a,b), index (1,4) along axis 1 and (a,4) along a broadcast x */
  ad_type type = ad_type_of(x[0]);
  ad_var index = any_index(x[0].tape, o, 2, (int64_t[]){ 1, 4 }, type.dim[1]);
  ad_var tall = any_index(x[0].tape, o, 2, (int64_t[]){ 3, 4 }, type.dim[1]);
  ad_var first = ad_slice(x[0], 0, 0, 1, 1);
  return ad_concat(2, (ad_var[]){ ad_gather(x[0], index, 1), ad_gather(first, tall, -1) }, 0);
}
CASE(gather_add) {
  int axis = below(o, ad_type_of(x[0]).rank);
  int64_t size = below(o, 5);
  ad_var updates = ad_gather(x[1], gather_index(x[1], o, axis, size), axis);
  return ad_gather_add(x[0], gather_index(x[0], o, axis, size), updates, axis);
}
ALONG(sort, ad_sort(x[0], axis, below(o, 2) != 0))
CASE(topk) {
  ad_type type = ad_type_of(x[0]);
  int axis = below(o, type.rank);
  ad_var values = ad_none();
  ad_topk(x[0], below(o, (int)type.dim[axis] + 1), axis, &values, NULL);
  return values;
}

CASE(diag) { return ad_diag(x[0], below(o, 5) - 2); }
CASE(tril) { return ad_tril(x[0], below(o, 5) - 2); }
CASE(triu) { return ad_triu(x[0], below(o, 5) - 2); }
PLAIN(trace, ad_trace(x[0]))
PLAIN(matmul, ad_matmul(x[0], x[1]))
PLAIN(matmul_self, ad_matmul(x[0], x[0]))
PLAIN(dot, ad_dot(x[0], x[1]))
PLAIN(dot_self, ad_dot(x[0], x[0]))
PLAIN(outer, ad_outer(x[0], x[1]))
PLAIN(einsum_chain, ad_einsum("ij,jk,kl->il", 3, x))
PLAIN(einsum_bilinear, ad_einsum("i,ij,j->", 3, x))
PLAIN(einsum_diagonal, ad_einsum("bii,ij->jb", 2, x))
PLAIN(einsum_rows, ad_einsum("ij,ij->j", 2, x))
PLAIN(einsum_turned, ad_einsum("bji,bkj->bik", 2, x))
PLAIN(einsum_outer, ad_einsum("bi,bj->bij", 2, x))
PLAIN(einsum_scale, ad_einsum("ij,i->ij", 2, x))
PLAIN(einsum_broadcast, ad_einsum("...ij,...jk->k...i", 2, x))
PLAIN(einsum_attention, ad_einsum("bqhd,bkhd->bhqk", 2, x))
PLAIN(linspace, ad_linspace(x[0], x[1], below(o, 6)))

/* A matrix far from singular ones. */
static ad_var regular(ad_var x) {
  const int64_t n = ad_type_of(x).dim[ad_type_of(x).rank - 1];
  return ad_add(x, ad_mul(ad_eye(x.tape, n, n, 0, ad_type_of(x).dtype), 6));
}
PLAIN(solve, ad_solve(regular(x[0]), x[1]))
PLAIN(solve_self, ad_solve(regular(x[0]), x[0]))
PLAIN(inv, ad_inv(regular(x[0])))
PLAIN(det, ad_det(ad_mul(regular(x[0]), .25)))
PLAIN(logabsdet, ad_logabsdet(regular(x[0])))
PLAIN(triangular_low, ad_solve_triangular(regular(x[0]), x[1], true, false))
PLAIN(triangular_up, ad_solve_triangular(regular(x[0]), x[1], false, true))
PLAIN(cholesky, ad_cholesky(regular(x[0])))

/* --- the table ------------------------------------------------------------------------------------------ */

enum {
  NONEMPTY = 1,
  DISTINCT = 2,                     /* elements of an input differ by a quarter at least; none is 0 */
  ZEROS = 4,                        /* some elements are exactly 0 */
  AWAY = 8,                         /* elements are 0.9 at least in magnitude */
};

/* shapes: one word an input. Letters are sizes, digits are those numbers; '*' is any shape, '+' any of
 * rank 1 or more, '#' of rank 2 or more, '=' that of input 0; '.' a scalar. order: derivatives are tested
 * up to here. */
typedef struct structured_case {
  const char *name, *shapes;
  ad_var (*record)(const ad_var x[], options *o);
  int order;
  unsigned flags;
} structured_case;

#define ROW(name, shapes, order, flags) { #name, shapes, case_##name, order, flags }
static const structured_case cases[] = {
  ROW(sum, "*", 3, 0),                 ROW(prod, "*", 3, 0),               ROW(prod, "*", 3, ZEROS),
  ROW(mean, "*", 3, NONEMPTY),         ROW(variance, "*", 3, NONEMPTY),    ROW(sample_variance, "a3", 3, 0),
  ROW(reduce_min, "*", 3, NONEMPTY | DISTINCT), ROW(reduce_max, "*", 3, NONEMPTY | DISTINCT),
  ROW(logsumexp, "*", 3, NONEMPTY),    ROW(norm, "*", 3, AWAY),        ROW(cumsum, "+", 3, 0),
  ROW(cumprod, "+", 3, 0),             ROW(cumprod, "+", 3, ZEROS),
  ROW(reshape, "*", 3, 0),             ROW(transpose, "*", 3, 0),          ROW(broadcast_to, "*", 3, 0),
  ROW(squeeze, "*", 3, 0),             ROW(expand, "*", 3, 0),             ROW(slice, "+", 3, 0),
  ROW(slice_add, "+ =", 3, 0),         ROW(at, "*", 3, NONEMPTY),          ROW(concat, "+ =", 3, 0),
  ROW(stack, "* =", 3, 0),             ROW(split, "+", 3, 0),              ROW(pad, "* .", 3, 0),
  ROW(flip, "*", 3, 0),                ROW(tile, "*", 3, 0),               ROW(repeat, "+", 3, 0),
  ROW(take, "+", 3, NONEMPTY),         ROW(scatter_add, "+ =", 3, NONEMPTY), ROW(gather, "+", 3, NONEMPTY),
  ROW(gather_broadcast, "ab", 3, NONEMPTY), ROW(gather_add, "+ =", 3, NONEMPTY),
  ROW(sparse_matmul, "5 +", 3, NONEMPTY), ROW(sparse_matmul, "0 +", 3, NONEMPTY),
  ROW(sparse_matmul, "a 3b", 3, 0),    ROW(sparse_transposed, "7 +", 3, NONEMPTY),
  ROW(sparse_transposed, "a 3b", 3, 0),
  ROW(sort, "+", 3, DISTINCT),         ROW(topk, "+", 3, DISTINCT),
  ROW(diag, "a", 3, 0),                ROW(diag, "#", 3, 0),               ROW(tril, "#", 3, 0),
  ROW(triu, "#", 3, 0),                ROW(trace, "#", 3, 0),
  ROW(matmul, "ab bc", 3, 0),          ROW(matmul, "a ab", 3, 0),          ROW(matmul, "ab b", 3, 0),
  ROW(matmul, "a a", 3, 0),            ROW(matmul, "dab dbc", 3, 0),       ROW(matmul, "dab bc", 3, 0),
  ROW(matmul, "ab dbc", 3, 0),         ROW(matmul, "a dab", 3, 0),         ROW(matmul, "dab b", 3, 0),
  ROW(matmul, "e1ab dbc", 3, 0),       ROW(matmul, "1dab e1bc", 3, 0),     ROW(matmul, "e2ab 2bc", 3, 0),
  ROW(matmul_self, "aa", 3, 0),        ROW(matmul_self, "daa", 3, 0),      ROW(matmul_self, "a", 3, 0),
  ROW(dot, "a a", 3, 0),               ROW(dot_self, "a", 3, 0),           ROW(outer, "a b", 3, 0),
  ROW(einsum_chain, "ab bc cd", 3, 0), ROW(einsum_bilinear, "a ab b", 3, 0),
  ROW(einsum_diagonal, "baa ac", 3, 0),
  ROW(einsum_rows, "ab ab", 3, 0),     ROW(einsum_broadcast, "d1ab ebc", 3, 0),
  ROW(einsum_attention, "2a3c 2b3c", 3, 0),
  ROW(einsum_turned, "dba dcb", 3, 0), ROW(einsum_outer, "da db", 3, 0),   ROW(einsum_scale, "ab a", 3, 0),
  ROW(linspace, ". .", 3, 0),
  ROW(solve, "aa a", 3, 0),            ROW(solve, "aa ab", 3, 0),          ROW(solve, "daa a", 3, 0),
  ROW(solve, "daa dab", 3, 0),         ROW(solve, "daa ab", 3, 0),         ROW(solve, "aa dab", 3, 0),
  ROW(solve, "1daa e1ab", 3, 0),       ROW(solve_self, "daa", 3, 0),       ROW(inv, "aa", 3, 0),
  ROW(inv, "daa", 3, 0),               ROW(det, "aa", 3, 0),               ROW(det, "edaa", 3, 0),
  ROW(logabsdet, "aa", 3, 0),          ROW(logabsdet, "edaa", 3, 0),
  ROW(triangular_low, "aa a", 3, 0),   ROW(triangular_low, "1daa e1ab", 3, 0),
  ROW(triangular_up, "daa a", 3, 0),   ROW(triangular_up, "aa dab", 3, 0),
  ROW(cholesky, "aa", 3, 0),           ROW(cholesky, "edaa", 3, 0),
};
enum { CASES = sizeof cases/sizeof cases[0] };

/* --- one point: inputs, a direction, a cotangent -------------------------------------------------------- */

typedef struct values { int64_t n; double at[MAX_VALUES]; } values;

typedef struct point {
  int n;
  ad_type type[MAX_INPUTS];         /* f64 */
  int64_t count;                    /* elements of all inputs */
  values x, v;                      /* inputs one after the other, and a direction; all are floats exactly */
  uint64_t seed;                    /* of the case's own choices, and of u */
} point;

static ad_type any_shape(options *o, int least_rank, bool nonempty) {
  int64_t dim[AD_MAX_RANK];
  int rank = least_rank + below(o, 5 - least_rank);
  for (int i = 0; i < rank; i++) {
    int r = below(o, 10);
    dim[i] = r == 0 && !nonempty ? 0 : r < 4 ? 1 : r < 7 ? 2 : 3;
  }
  return ad_type_make(AD_F64, rank, dim);
}

static ad_type shape_from(options *o, const char *word, const int64_t letters[26], const ad_type *first,
                          bool nonempty) {
  int64_t dim[AD_MAX_RANK];
  int rank = 0;
  if (*word == '.') return AD_F64();
  if (*word == '=') return *first;
  if (*word == '*') return any_shape(o, 0, nonempty);
  if (*word == '+') return any_shape(o, 1, nonempty);
  if (*word == '#') return any_shape(o, 2, nonempty);
  for (; *word && *word != ' '; word++)
    dim[rank++] = *word >= '0' && *word <= '9' ? *word - '0' : letters[*word - 'a'];
  return ad_type_make(AD_F64, rank, dim);
}

/* A shuffled grid, jittered: neighbours differ by 0.25 to 0.35, and 0 is between two of them. */
static void fill_distinct(options *o, int64_t n, double *x) {
  for (int64_t i = 0; i < n; i++) x[i] = 0.3*((double)i - floor((double)n/2) + 0.5) + uniform(o, -.025, .025);
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = below(o, (int)i + 1);
    double t = x[i];
    x[i] = x[j];
    x[j] = t;
  }
}

static double any_element(options *o, unsigned flags) {
  if (flags & ZEROS && below(o, 3) == 0) return 0;
  if (flags & AWAY) return (below(o, 2) ? 1 : -1)*uniform(o, .9, 1.5);
  return uniform(o, -1.2, 1.2);
}

static void make_point(const structured_case *c, int trial, point *p) {
  options o = { (uint64_t)(c - cases)*1000003u + (uint64_t)trial };
  int64_t letters[26];
  const char *word = c->shapes;
  for (int i = 0; i < 26; i++) {
    int r = below(&o, 12);
    letters[i] = r == 0 && !(c->flags & NONEMPTY) ? 0 : r < 3 ? 1 : r < 8 ? 2 : 3;
  }
  p->n = 0;
  p->count = 0;
  for (;;) {
    ad_type type = shape_from(&o, word, letters, &p->type[0], (c->flags & NONEMPTY) != 0);
    int64_t n = ad_type_count(type);
    double *x = p->x.at + p->count;
    p->type[p->n++] = type;
    if (c->flags & DISTINCT) fill_distinct(&o, n, x);
    else for (int64_t i = 0; i < n; i++) x[i] = any_element(&o, c->flags);
    p->count += n;
    word = strchr(word, ' ');
    if (!word) break;
    word++;
  }
  p->x.n = p->v.n = p->count;
  for (int64_t i = 0; i < p->count; i++) {
    p->x.at[i] = (float)p->x.at[i];
    p->v.at[i] = (float)uniform(&o, -1, 1);
  }
  p->seed = next_bits(&o);
}

/* --- one recording of everything ------------------------------------------------------------------------ */

typedef struct program {
  ad_tape *t;
  int n, order;
  ad_dtype dtype;
  ad_var x[MAX_INPUTS], v[MAX_INPUTS], u, y;
  ad_var jv, vj[MAX_INPUTS];                                      /* J v, J^T u */
  ad_var ff, fr[MAX_INPUTS], rf[MAX_INPUTS], rr[MAX_INPUTS];  /* forward over forward, over reverse, .. */
  ad_var fff, tf[MAX_INPUTS], tr[MAX_INPUTS];                     /* third order */
  ad_var yc[4];                                                   /* Taylor coefficients of y(x + t v) */
  ad_var s;                                                       /* <u, y> */
} program;

static void to_dtype(ad_dtype dtype, int64_t n, const double *from, void *to) {
  float *single = to;
  if (dtype == AD_F64) memcpy(to, from, (size_t)n*sizeof *from);
  else for (int64_t i = 0; i < n; i++) single[i] = (float)from[i];
}

static ad_var new_input(ad_tape *t, ad_type type, ad_dtype dtype, const double *x) {
  double data[MAX_VALUES];
  to_dtype(dtype, ad_type_count(type), x, data);
  type.dtype = dtype;
  return ad_array(t, type, data);
}

/* pre(x) = x + x^2/20 rises for x > -10; post(z) = z + z^2/10 + z^3/50. */
static ad_var pre(ad_var x) { return ad_add(x, ad_mul(ad_mul(x, x), ad_real(.05))); }
static ad_var post(ad_var z) {
  ad_var square = ad_mul(z, z), cube = ad_mul(square, z);
  return ad_add(ad_add(z, ad_mul(square, ad_real(.1))), ad_mul(cube, ad_real(.02)));
}

static ad_var record_value(const structured_case *c, const point *p, const program *r, bool wrapped) {
  options o = { p->seed };
  ad_var x[MAX_INPUTS];
  for (int i = 0; i < MAX_INPUTS; i++)
    x[i] = i >= p->n ? ad_none() : wrapped ? pre(r->x[i]) : r->x[i];
  ad_var y = c->record(x, &o);
  return wrapped ? post(y) : y;
}

static ad_var any_cotangent(const point *p, const program *r) {
  options o = { p->seed + 1 };
  double u[MAX_VALUES];
  ad_type type = ad_type_of(r->y);
  int64_t n = type.rank < 0 ? 0 : ad_type_count(type);
  for (int64_t i = 0; i < n && i < MAX_VALUES; i++) u[i] = (float)uniform(&o, -1, 1);
  return n > MAX_VALUES ? ad_none() : new_input(r->t, type, r->dtype, u);
}

static bool record_program(const structured_case *c, const point *p, ad_dtype dtype, bool wrapped,
                           program *r) {
  *r = (program){ .t = ad_tape_new(), .n = p->n, .order = c->order, .dtype = dtype };
  int64_t at = 0;
  for (int i = 0; i < p->n; at += ad_type_count(p->type[i]), i++) {
    r->x[i] = new_input(r->t, p->type[i], dtype, p->x.at + at);
    r->v[i] = new_input(r->t, p->type[i], dtype, p->v.at + at);
  }
  r->y = record_value(c, p, r, wrapped);
  r->u = any_cotangent(p, r);
  r->s = ad_sum(ad_mul(r->u, r->y), AD_ALL_AXES, false);
  ad_jvp(r->n, r->x, r->v, 1, &r->y, &r->jv);
  ad_vjp(1, &r->y, &r->u, r->n, r->x, r->vj);
  if (r->order >= 2) {
    ad_jvp(r->n, r->x, r->v, 1, &r->jv, &r->ff);
    ad_jvp(r->n, r->x, r->v, r->n, r->vj, r->fr);
    ad_vjp(1, &r->jv, &r->u, r->n, r->x, r->rf);
    ad_vjp(r->n, r->vj, r->v, r->n, r->x, r->rr);
  }
  if (r->order >= 3) {
    ad_var xc[3*MAX_INPUTS];
    ad_jvp(r->n, r->x, r->v, r->n, r->fr, r->tf);
    ad_vjp(r->n, r->rr, r->v, r->n, r->x, r->tr);
    ad_jvp(r->n, r->x, r->v, 1, &r->ff, &r->fff);
    for (int i = 0; i < 3*r->n; i++) xc[i] = i%3 == 0 ? r->v[i/3] : ad_none();
    ad_taylor(3, r->n, r->x, xc, 1, &r->y, r->yc);
  }
  return ad_tape_status(r->t) == AD_OK;
}

/* Reads n variables one after the other. */
static void read_values(int n, const ad_var x[], values *out) {
  double buffer[MAX_VALUES];
  out->n = 0;
  for (int k = 0; k < n; k++) {
    ad_type type = ad_type_of(x[k]);
    int64_t count = type.rank < 0 ? 0 : ad_type_count(type);
    if (out->n + count > MAX_VALUES || ad_read(x[k], buffer) != AD_OK) {
      out->n = -1;
      return;
    }
    const float *single = (const float *)(const void *)buffer;
    for (int64_t i = 0; i < count; i++)
      out->at[out->n++] = type.dtype == AD_F32 ? (double)single[i] : buffer[i];
  }
}

/* Moves the inputs to x + step v. */
static void move_inputs(const program *r, const point *p, double step) {
  double x[MAX_VALUES];
  int64_t at = 0;
  for (int k = 0; k < r->n; k++) {
    int64_t count = ad_type_count(p->type[k]);
    for (int64_t i = 0; i < count; i++) x[i] = p->x.at[at + i] + step*p->v.at[at + i];
    ad_set(r->x[k], x);
    at += count;
  }
}

/* --- comparing ------------------------------------------------------------------------------------------ */

enum { FIRST, SECOND, THIRD, TAYLOR, SINGLE, COLUMNS };
static const char *const column_name[COLUMNS] = { "order 1", "order 2", "order 3", "taylor", "f32" };
static const double tolerance[COLUMNS] = { 2e-12, 5e-12, 5e-12, 1e-13, 2e-5 };
static double worst[COLUMNS];
static long passed, failed;
static char context[160];

/* Largest difference, relative to the largest of want, or to 1 where that is smaller. */
static void check_values(int column, const char *what, const values *got, const values *want) {
  double scale = 1, error = 0;
  bool good = got->n == want->n && want->n >= 0;
  for (int64_t i = 0; good && i < want->n; i++) scale = fmax(scale, fabs(want->at[i]));
  for (int64_t i = 0; good && i < want->n; i++) {
    double e = fabs(got->at[i] - want->at[i])/scale;
    if (!(e <= error)) error = e;
    good = e <= tolerance[column];
  }
  if (good && error > worst[column]) worst[column] = error;
  if (good) passed++;
  else {
    failed++;
    printf("FAIL %s: %s, %lld values against %lld, error %.3g\n", context, what, (long long)got->n,
           (long long)want->n, error);
  }
}

static double product_of(const values *a, const values *b) {
  double s = 0;
  for (int64_t i = 0; i < a->n && i < b->n; i++) s += a->at[i]*b->at[i];
  return s;
}

static void check_numbers(int column, const char *what, double got, double want, double scale) {
  values a = { 1, { got/scale } }, b = { 1, { want/scale } };
  check_values(column, what, &a, &b);
}

/* d/dt at t = 0 of all four at once, x moving along v. */
typedef struct differences { values y, jv, vj, fr; } differences;

static void add_scaled(double f, const values *from, values *to) {
  if (from->n < 0 || to->n < 0 || (to->n > 0 && to->n != from->n)) to->n = -1;
  else to->n = from->n;
  for (int64_t i = 0; i < to->n; i++) to->at[i] += f*from->at[i];
}

static void central_differences(const program *r, const point *p, differences *d) {
  static const double weight[5] = { 0, 4./5, -1./5, 4./105, -1./280 };
  const double h = 1./64;
  memset(d, 0, sizeof *d);
  for (int k = -4; k <= 4; k++) {
    values now;
    if (k == 0) continue;
    double f = (k < 0 ? -1 : 1)*weight[abs(k)]/h;
    move_inputs(r, p, k*h);
    read_values(1, &r->y, &now), add_scaled(f, &now, &d->y);
    if (r->order >= 2) {
      read_values(1, &r->jv, &now), add_scaled(f, &now, &d->jv);
      read_values(r->n, r->vj, &now), add_scaled(f, &now, &d->vj);
    }
    if (r->order >= 3) read_values(r->n, r->fr, &now), add_scaled(f, &now, &d->fr);
  }
  move_inputs(r, p, 0);
}

/* Everything there is to read, at the point. */
typedef struct results { values u, v, y, jv, vj, back, ff, fr, rf, rr, fff, tf, tr, yc[4]; } results;

static void read_results(const program *r, results *q) {
  memset(q, 0, sizeof *q);
  read_values(1, &r->u, &q->u);
  read_values(r->n, r->v, &q->v);
  read_values(1, &r->y, &q->y);
  read_values(1, &r->jv, &q->jv);
  read_values(r->n, r->vj, &q->vj);
  if (r->order >= 2) {
    read_values(1, &r->ff, &q->ff);
    read_values(r->n, r->fr, &q->fr);
    read_values(r->n, r->rf, &q->rf);
    read_values(r->n, r->rr, &q->rr);
  }
  if (r->order >= 3) {
    read_values(r->n, r->tf, &q->tf);
    read_values(r->n, r->tr, &q->tr);
    read_values(1, &r->fff, &q->fff);
    for (int k = 0; k < 4; k++) read_values(1, &r->yc[k], &q->yc[k]);
  }
}

static void read_backward(const program *r, values *out) {
  double buffer[MAX_VALUES];
  const float *single = (const float *)(const void *)buffer;
  out->n = ad_backward(r->s) == AD_OK ? 0 : -1;
  for (int k = 0; k < r->n && out->n >= 0; k++) {
    ad_type type = ad_type_of(r->x[k]);
    if (ad_read_adjoint(r->x[k], buffer) != AD_OK) {
      out->n = -1;
      return;
    }
    for (int64_t i = 0; i < ad_type_count(type); i++)
      out->at[out->n++] = type.dtype == AD_F32 ? (double)single[i] : buffer[i];
  }
}

static void check_against_differences(const results *q, const differences *d, int order) {
  check_values(FIRST, "jvp", &q->jv, &d->y);
  if (order < 2) return;
  check_values(SECOND, "forward over forward", &q->ff, &d->jv);
  check_values(SECOND, "forward over reverse", &q->fr, &d->vj);
  check_values(SECOND, "reverse over forward", &q->rf, &d->vj);
  check_values(SECOND, "reverse over reverse", &q->rr, &d->vj);
  if (order < 3) return;
  check_values(THIRD, "third order, forward", &q->tf, &d->fr);
  check_values(THIRD, "third order, reverse", &q->tr, &d->fr);
}

static void check_reverse(const results *q, int column) {
  double left = product_of(&q->u, &q->jv), right = product_of(&q->vj, &q->v), scale = 1;
  for (int64_t i = 0; i < q->jv.n; i++) scale += fabs(q->jv.at[i]*q->u.at[i]);
  check_numbers(column, "<u, J v> = <J^T u, v>", right, left, scale);
  check_values(column, "backward", &q->back, &q->vj);
}

/* Coefficient k is the k-th derivative along v over k!. */
static void check_taylor(const results *q, int column) {
  static const double factorial[4] = { 1, 1, 2, 6 };
  static values scaled;
  const values *derivative[4] = { &q->y, &q->jv, &q->ff, &q->fff };
  static const char *const what[4] = { "taylor 0", "taylor 1", "taylor 2", "taylor 3" };
  for (int k = 0; k < 4; k++) {
    scaled.n = derivative[k]->n;
    for (int64_t i = 0; i < scaled.n; i++) scaled.at[i] = derivative[k]->at[i]/factorial[k];
    check_values(column, what[k], &q->yc[k], &scaled);
  }
}

static void check_single(const results *q, const results *exact, int order) {
  check_values(SINGLE, "f32 value", &q->y, &exact->y);
  check_values(SINGLE, "f32 jvp", &q->jv, &exact->jv);
  check_values(SINGLE, "f32 vjp", &q->vj, &exact->vj);
  if (order < 2) return;
  check_values(SINGLE, "f32 forward over forward", &q->ff, &exact->ff);
  check_values(SINGLE, "f32 forward over reverse", &q->fr, &exact->fr);
  check_values(SINGLE, "f32 reverse over forward", &q->rf, &exact->rf);
  check_values(SINGLE, "f32 reverse over reverse", &q->rr, &exact->rr);
  if (order < 3) return;
  check_values(SINGLE, "f32 third order, forward", &q->tf, &exact->tf);
  check_values(SINGLE, "f32 third order, reverse", &q->tr, &exact->tr);
}

/* --- running -------------------------------------------------------------------------------------------- */

static bool record_or_fail(const structured_case *c, const point *p, ad_dtype dtype, bool wrapped,
                           program *r) {
  if (record_program(c, p, dtype, wrapped, r)) return true;
  failed++;
  printf("FAIL %s: %s\n", context, ad_tape_message(r->t));
  return false;
}

static void run_trial(const structured_case *c, int trial, bool wrapped) {
  static point p;
  static results exact, single;
  static differences d;
  program r64 = { 0 }, r32 = { 0 };
  char shape[192];
  make_point(c, trial, &p);
  snprintf(context, sizeof context, "%s trial %d%s %s", c->name, trial, wrapped ? " wrapped" : "",
           ad_type_print(p.type[0], shape, sizeof shape));
  if (record_or_fail(c, &p, AD_F64, wrapped, &r64)) {
    read_results(&r64, &exact);
    read_backward(&r64, &exact.back);
    central_differences(&r64, &p, &d);
    check_against_differences(&exact, &d, c->order);
    check_reverse(&exact, FIRST);
    if (c->order >= 3) check_taylor(&exact, TAYLOR);
    if (record_or_fail(c, &p, AD_F32, wrapped, &r32)) {
      read_results(&r32, &single);
      read_backward(&r32, &single.back);
      check_single(&single, &exact, c->order);
      check_reverse(&single, SINGLE);
      if (c->order >= 3) check_taylor(&single, SINGLE);
    }
  }
  for (int i = 0; i < 2; i++) {
    program *r = i ? &r32 : &r64;
    if (r->t && ad_tape_status(r->t) != AD_OK) printf("     %s: %s\n", context, ad_tape_message(r->t));
    ad_tape_free(r->t);
  }
}

static void run_case(const structured_case *c) {
  memset(worst, 0, sizeof worst);
  for (int trial = 0; trial < TRIALS; trial++) {
    run_trial(c, trial, false);
    run_trial(c, trial, true);
  }
  printf("%-18s %-12s", c->name, c->shapes);
  for (int i = 0; i < COLUMNS; i++) printf(" %9.1e", worst[i]);
  printf("\n");
}

/* With names: only the cases of these names. */
int main(int argc, char **argv) {
  printf("%-18s %-12s", "worst error", "shapes");
  for (int i = 0; i < COLUMNS; i++) printf(" %9s", column_name[i]);
  printf("\n");
  for (int i = 0; i < CASES; i++) {
    bool wanted = argc < 2;
    for (int k = 1; k < argc; k++) wanted |= !strcmp(argv[k], cases[i].name);
    if (wanted) run_case(&cases[i]);
  }
  printf("%ld passed, %ld failed\n", passed, failed);
  return failed > 0;
}
