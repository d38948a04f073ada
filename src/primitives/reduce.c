/* reduce.c -- reductions over axes: their attribute, their derivative rules' shapes, and the walk over the
 * elements. */
#include "primitives/reduce.h"

#include "base/parallel.h"
#include "primitives/axes.h"
#include "primitives/batching.h"
#include "primitives/operands.h"

#include <string.h>

/* --- recording ------------------------------------------------------------------------------------------ */

static unsigned mask_of(const ad_operation *op) { return ((const reduction *)op->attribute)->mask; }

ad_status reduction_type(ad_operation *op, ad_dtype dtype) {
  const reduction *a = op->attribute;
  op->z = axes_reduce(*op->x[0], a->mask, a->keep != 0);
  op->z.dtype = dtype;
  return AD_OK;
}

/* Leaves "sum: axis 3 is not in f64(2,4)" on the tape. */
static ad_var fail_axes(const ad_primitive *p, ad_var x, ad_axes axes, const ad_type *type) {
  unsigned seen = 0;
  char text[192];
  if (axes.count < 0 || axes.count > AD_MAX_RANK)
    return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: not a choice of axes", p->name);
  for (int i = 0; i < axes.count; i++) {
    int a = axis_resolve(axes.axis[i], type->rank);
    if (a < 0) return fail_axis(x, p->name, axes.axis[i]);
    if (seen >> a & 1) break;
    seen |= 1u << a;
  }
  return ad_fail(ad_tape_of(1, &x), AD_ERROR_ARGUMENT, "%s: an axis of %s is given twice", p->name,
                 ad_type_print(*type, text, sizeof text));
}

ad_var reduction_record(const ad_primitive *p, ad_var x, ad_axes axes, bool keep) {
  const ad_type t = ad_type_of(x);
  unsigned mask = 0;
  if (t.rank >= 0 && !axes_resolve(axes, t.rank, &mask)) return fail_axes(p, x, axes, &t);
  const reduction a = { mask, keep };
  return ad_record(NULL, p, 1, &x, &a, sizeof a);
}

bool reduction_is_reshape(ad_var x, ad_axes axes, bool keep, ad_type *z) {
  const ad_type t = ad_type_of(x);
  unsigned mask;
  if (t.rank < 0 || operand_is_literal(x) || !axes_resolve(axes, t.rank, &mask)) return false;
  *z = axes_reduce(t, mask, keep);
  return reduction_count(&t, mask) == 1;
}

int64_t reduction_count(const ad_type *x, unsigned mask) {
  int64_t count = 1;
  for (int d = 0; d < x->rank; d++)
    if (mask >> d & 1) count *= x->dim[d];
  return count;
}

ad_var reduction_batch(const ad_batch *b) {
  union { reduction r; unsigned char bytes[32]; double aligned; } a;
  const size_t size = b->op->attribute_size;
  if (size > sizeof a.bytes) return ad_none();
  memcpy(a.bytes, b->op->attribute, size);
  a.r.mask <<= 1;
  return batch_record(b, &a, size);
}

ad_var reduction_kept(const ad_rule *r, ad_var v) {
  const ad_type t = axes_reduce(*r->op->x[0], mask_of(r->op), true);
  return ad_reshape(v, t.rank, t.dim);
}

ad_var reduction_spread(const ad_rule *r, ad_var v) {
  return ad_broadcast_to(reduction_kept(r, v), r->op->x[0]->rank, r->op->x[0]->dim);
}

ad_var reduction_sum(const ad_rule *r, ad_var v) {
  const reduction *a = r->op->attribute;
  ad_axes axes = { 0, { 0 } };
  for (int d = 0; d < r->op->x[0]->rank; d++)
    if (a->mask >> d & 1) axes.axis[axes.count++] = d;
  return ad_sum(v, axes, a->keep != 0);
}

/* --- the walk ------------------------------------------------------------------------------------------- */

static void drop_outer(int *count, int64_t dim[], int64_t stride[], int64_t d, int64_t s) {
  dim[*count] = d;
  stride[(*count)++] = s;
}

/* From the last axis to the first: `run` collects neighbouring axes of one kind. The first two runs, kept
 * then reduced, are width and rows; the others are outer axes, entered innermost first. */
reduction_plan reduction_plan_of(const ad_type *x, unsigned mask) {
  reduction_plan p = { .rows = 1, .width = 1, .outer = 1, .segments = 1, .elements = ad_type_count(*x) };
  int64_t stride = 1;
  int stage = 0;                    /* 0: in width, 1: in rows, 2: outer */
  bool last = false;                /* the kind of the last outer axis */
  for (int d = x->rank - 1; d >= 0; d--) {
    const int64_t n = x->dim[d];
    const bool reduced = mask >> d & 1;
    if (n == 1) continue;
    if (stage == 0 && reduced) stage = 1;
    else if (stage == 1 && !reduced) stage = 2, last = true;
    if (stage == 0) p.width *= n;
    else if (stage == 1) p.rows *= n;
    else if (reduced == last && reduced && p.reduced) p.reduced_dim[p.reduced - 1] *= n;
    else if (reduced == last && !reduced && p.kept) p.kept_dim[p.kept - 1] *= n;
    else if (reduced) drop_outer(&p.reduced, p.reduced_dim, p.reduced_stride, n, stride);
    else drop_outer(&p.kept, p.kept_dim, p.kept_stride, n, stride);
    if (stage == 2) last = reduced;
    stride *= n;
  }
  for (int i = 0; i < p.kept; i++) p.outer *= p.kept_dim[i];
  for (int i = 0; i < p.reduced; i++) p.segments *= p.reduced_dim[i];
  return p;
}

static int64_t offset_of(int count, const int64_t dim[], const int64_t stride[], int64_t i) {
  int64_t offset = 0;
  for (int d = 0; d < count; d++) {
    offset += i%dim[d]*stride[d];
    i /= dim[d];
  }
  return offset;
}

int64_t reduction_kept_offset(const reduction_plan *plan, int64_t i) {
  return offset_of(plan->kept, plan->kept_dim, plan->kept_stride, i);
}
int64_t reduction_segment_offset(const reduction_plan *plan, int64_t i) {
  return offset_of(plan->reduced, plan->reduced_dim, plan->reduced_stride, i);
}

/* --- running -------------------------------------------------------------------------------------------- */

/* One reduction: the plan, the fold, and the arrays as bytes. */
typedef struct job {
  reduction_plan plan;
  const reduction_kernel *kernel;
  const void *attribute;
  const char *x;
  char *z;
  size_t x_size, z_size;
  int64_t tiles;                    /* of the width */
} job;

static job job_of(const ad_operation *op, void *z, const void *x) {
  job j = { .plan = reduction_plan_of(op->x[0], mask_of(op)), .kernel = reduction_kernel_of(op),
            .attribute = op->attribute, .x = x, .z = z, .x_size = ad_dtype_bytes(op->x[0]->dtype),
            .z_size = ad_dtype_bytes(op->z.dtype) };
  j.tiles = (j.plan.width + REDUCE_COLUMNS - 1)/REDUCE_COLUMNS;
  return j;
}

/* Some columns of one element of the outer kept axes: where they begin in x, and their results. */
typedef struct tile { int64_t columns, base; char *z; } tile;

static tile tile_of(const job *j, int64_t i) {
  const reduction_plan *plan = &j->plan;
  const int64_t outer = i/j->tiles, first = i%j->tiles*REDUCE_COLUMNS, left = plan->width - first;
  return (tile){ left < REDUCE_COLUMNS ? left : REDUCE_COLUMNS, reduction_kept_offset(plan, outer) + first,
                 j->z + (size_t)(outer*plan->width + first)*j->z_size };
}

static void run_tile(const void *context, int64_t i) {
  const job *j = context;
  const reduction_plan *plan = &j->plan;
  const tile at = tile_of(j, i);
  reduction_partial p;
  p.pass = 0;
  p.attribute = j->attribute;
  do {
    j->kernel->begin(&p, at.columns);
    for (int64_t s = 0; s < plan->segments; s++) {
      const int64_t from = at.base + reduction_segment_offset(plan, s);
      j->kernel->rows(&p, plan->rows, j->x + (size_t)from*j->x_size, plan->width);
    }
  } while (j->kernel->end(&p, at.z));
}

/* Few elements of z, many rows: the rows are cut into a fixed number of parts of 2^k blocks. */
static int64_t part_rows(const reduction_plan *plan) {
  int64_t rows = REDUCE_BLOCK;
  while (rows*PARALLEL_PARTS < plan->rows) rows *= 2;
  return rows;
}

static bool is_split(const job *j) {
  const reduction_plan *plan = &j->plan;
  return plan->elements >= PARALLEL_ELEMENTS && plan->outer*j->tiles < PARALLEL_PARTS && plan->segments == 1
         && plan->rows > 2*REDUCE_BLOCK;
}

static void fold_part(const job *j, const reduction_partial *p, reduction_partial *part, int64_t begin,
                      int64_t rows, int64_t base) {
  part->pass = p->pass;
  part->attribute = p->attribute;
  memcpy(part->shift, p->shift, (size_t)p->columns*sizeof *p->shift);
  j->kernel->begin(part, p->columns);
  j->kernel->rows(part, rows, j->x + (size_t)(base + begin*j->plan.width)*j->x_size, j->plan.width);
}

static void run_split(const job *j, int64_t i, reduction_partial part[]) {
  const reduction_plan *plan = &j->plan;
  const tile at = tile_of(j, i);
  reduction_partial p;
  p.pass = 0;
  p.attribute = j->attribute;
  memset(p.shift, 0, sizeof p.shift);
  do {
    const int64_t size = p.pass && j->kernel->in_order ? plan->rows : part_rows(plan);
    const int64_t parts = (plan->rows + size - 1)/size;
    j->kernel->begin(&p, at.columns);
    PARALLEL_FOR
    for (int64_t k = 0; k < parts; k++) {
      const int64_t rest = plan->rows - k*size;
      fold_part(j, &p, &part[k], k*size, rest < size ? rest : size, at.base);
    }
    for (int64_t k = 0; k < parts; k++) j->kernel->join(&p, &part[k]);
  } while (j->kernel->end(&p, at.z));
}

/* Elements of z whose elements, at most a block, lie one after the other: so many of them are a task. */
static int64_t lines_at_once(const reduction_plan *plan) { return 1 + PARALLEL_ELEMENTS/8/(plan->rows + 1); }

static void run_lines(const void *context, int64_t task) {
  const job *j = context;
  const reduction_plan *plan = &j->plan;
  const int64_t most = lines_at_once(plan), i = task*most, rest = plan->outer - i;
  j->kernel->lines(rest < most ? rest : most, plan->rows, j->x + (size_t)(i*plan->rows)*j->x_size,
                   j->z + (size_t)i*j->z_size);
}

/* All of an array that is a block at most: what is left of the walk. */
static bool run_block(const ad_operation *op, void *z, const void *x) {
  const ad_type *t = op->x[0];
  const int64_t n = ad_type_count(*t);
  if (ad_type_count(op->z) != 1 || n < 1 || n > REDUCE_BLOCK) return false;
  const reduction_kernel *kernel = reduction_kernel_of(op);
  if (kernel->lines) kernel->lines(1, n, x, z);
  return kernel->lines != NULL;
}

ad_status reduction_run(const ad_operation *op, void *z, const void *const x[], void *scratch) {
  if (run_block(op, z, x[0])) return AD_OK;
  const job j = job_of(op, z, x[0]);
  const reduction_plan *plan = &j.plan;
  const int64_t tasks = plan->outer*j.tiles, most = lines_at_once(plan);
  const bool dense = plan->width == 1 && plan->segments == 1 && plan->kept <= 1;
  if (dense && j.kernel->lines && plan->rows <= REDUCE_BLOCK)
    parallel_tasks(plan->elements, (plan->outer + most - 1)/most, 1, run_lines, &j);
  else if (is_split(&j))
    for (int64_t i = 0; i < tasks; i++) run_split(&j, i, scratch);
  else parallel_tasks(plan->elements, tasks, 16, run_tile, &j);
  return AD_OK;
}

size_t reduction_scratch(const ad_operation *op) {
  const job j = job_of(op, NULL, NULL);
  return is_split(&j) ? PARALLEL_PARTS*sizeof(reduction_partial) : 0;
}

const reduction_kernel *reduction_kernel_of(const ad_operation *op) {
  const reduction_kernel *(*const files[])(const ad_operation *) = { sum_kernel,      product_kernel,
                                                                     extremum_kernel, logic_kernel,
                                                                     norm_kernel,     logsumexp_kernel };
  for (size_t i = 0; i < sizeof files/sizeof files[0]; i++) {
    const reduction_kernel *k = files[i](op);
    if (k) return k;
  }
  return NULL;
}
