/* steps.c -- statements: scalars one by one, elementwise operations in loops, structured
 * ones by their own rules. */
#include "write/unit.h"
#include "primitives/construct.h"
#include "primitives/library.h"
#include "primitives/matmul.h"
#include "primitives/reduce.h"
#include "run/region.h"

#include <stdio.h>
#include <string.h>

/* --- the value of an elementwise operation -------------------------------------------------------------- */

enum { OPERAND_TEXT = 160 };

typedef struct operand_texts { char of[3][OPERAND_TEXT]; const char *x[3]; } operand_texts;

static bool is_literal_node(const unit *u, uint32_t i) {
  return u->q.g.kind[i] == KIND_GIVEN && planner_input(&u->q, i) == NOWHERE && graph_type(&u->q.g, i)->rank == 0;
}

bool unit_value(unit *u, text *to, uint32_t i, const char *const x[]) {
  const run_graph *g = &u->q.g;
  const uint32_t node = g->node[i], first = g->operand[g->operand_start[i]];
  const ad_primitive *p = node_primitive(g->t, node);
  const ad_dtype from = graph_type(g, first)->dtype, type = graph_type(g, i)->dtype;
  const elementwise_row *row = p->row;
  if (row) {
    const bool tests = row->kind == CLASS_COMPARE || row->kind == CLASS_PREDICATE
                       || row->kind == CLASS_LOGICAL;
    /* 0 is an integer to C, by which it does not like to divide */
    const bool by_zero = row == &elementwise_rows[ROW_div] && !strcmp(x[1], "0");
    const char *const real[2] = { x[0], "0.0f" };
    put_row(u->w, to, row, tests ? from : type, by_zero ? real : x, node_row_attribute(g->t, node));
  } else if (p == &cast_primitive) put_cast(u->w, to, from, type, x[0]);
  else if (p->value) put_expression(u->w, to, p->value, type, x, "0");
  else return writer_fail(u->w, AD_ERROR_UNSUPPORTED,
                          "%s has no value as text: its function cannot be written", p->name);
  return true;
}

/* --- scalars -------------------------------------------------------------------------------------------- */

static void read_operands(unit *u, uint32_t i, operand_texts *o) {
  const run_graph *g = &u->q.g;
  const uint32_t first = g->operand_start[i], n = g->operand_start[i + 1] - first;
  bool literals = true;
  for (uint32_t k = 0; k < n; k++) literals &= is_literal_node(u, g->operand[first + k]);
  for (uint32_t k = 0; k < n && k < 3; k++) {
    text t = text_on(&u->w->allocator);
    put_scalar(u, &t, g->operand[first + k], !literals);
    snprintf(o->of[k], OPERAND_TEXT, "%s", text_of(&t));
    o->x[k] = o->of[k];
    u->failed |= t.failed;
    written_free(&t);
  }
}

/* Outputs are stored as soon as they are there. */
static void store_outputs(unit *u, uint32_t i) {
  const uint32_t node = u->q.g.node[i];
  for (int j = 0; j < u->f->n_out; j++)
    if (u->target[j] == node) unit_output(u, j, unit_scalar(u, i));
}

/* Text that only a compiler reads does without const: it is a fifth of a long one. */
bool unit_statement(unit *u, uint32_t i) {
  operand_texts o = { 0 };
  text t = text_on(&u->w->allocator);
  read_operands(u, i, &o);
  const bool good = unit_value(u, &t, i, o.x);
  if (u->slot_of[i] != NOWHERE) unit_line(u, "%s = %s;", unit_scalar(u, i), text_of(&t));
  else unit_line(u, "%s%s v%u = %s;", u->w->native ? "" : "const ", write_type(graph_type(&u->q.g, i)->dtype),
                 i, text_of(&t));
  if (u->q.is_target[i]) store_outputs(u, i);
  u->failed |= t.failed;
  written_free(&t);
  return good;
}

/* --- regions -------------------------------------------------------------------------------------------- */

/* The box of a region: its axes, those joined that every operand goes through as through one. */
typedef struct box {
  unit *u;
  const schedule_step *s;
  uint32_t step;
  int rank;
  int64_t dim[AD_MAX_RANK];
  bool joined[AD_MAX_RANK];         /* axis d continues axis d + 1 in all arrays */
  const ad_type *shape;
  bool padded;                      /* the last axis is run through in whole vectors */
  const row_sums *sums;             /* what becomes of its rows, or NULL */
} box;

static bool is_inside(const box *b, uint32_t i) { return b->u->q.s.step_of[i] == b->step; }

/* Strides of an operand in the region, 0 where it is broadcast. */
static void operand_strides(const box *b, uint32_t i, int64_t stride[]) {
  const ad_type *x = graph_type(&b->u->q.g, i);
  int64_t step = 1;
  for (int d = b->shape->rank; d-- > 0;) {
    const int e = d - (b->shape->rank - x->rank);
    const int64_t dim = e < 0 ? 1 : x->dim[e];
    stride[d] = dim == 1 ? 0 : step;
    step *= dim;
  }
}

/* Calls f for each operand that comes from outside. */
static void find_joins(box *b) {
  const run_graph *g = &b->u->q.g;
  int64_t stride[AD_MAX_RANK];
  for (int d = 0; d + 1 < b->shape->rank; d++) b->joined[d] = true;
  for (uint32_t k = 0; k < b->s->count; k++) {
    const uint32_t node = b->u->q.s.order[b->s->first + k];
    for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++) {
      if (is_inside(b, g->operand[e])) continue;
      operand_strides(b, g->operand[e], stride);
      for (int d = 0; d + 1 < b->shape->rank; d++)
        b->joined[d] &= b->shape->dim[d] == 1 || stride[d] == stride[d + 1]*b->shape->dim[d + 1];
    }
  }
}

/* "i0*12 + i1" for an array with those strides, or "" if it has but one element for all. */
static void put_index(const box *b, text *to, const int64_t stride[]) {
  const char *plus = "";
  for (int d = 0, axis = 0; d < b->shape->rank; d++) {
    if (d + 1 < b->shape->rank && b->joined[d]) continue;
    if (stride[d] && b->shape->dim[d] > 0) {
      if (stride[d] == 1) text_put(to, "%si%d", plus, axis);
      else text_put(to, "%si%d*%lld", plus, axis, (long long)stride[d]);
      plus = " + ";
    }
    axis++;
  }
  if (!*plus) text_put(to, "0");
}

/* Behind the end of a row, where vectors go on, a number stands in that is special to no function. */
static void put_element(const box *b, text *to, uint32_t i) {
  static const double half = 0.5;
  static const float half_f32 = 0.5f;
  unit *u = b->u;
  const ad_dtype dtype = graph_type(&u->q.g, i)->dtype;
  int64_t stride[AD_MAX_RANK];
  if (is_inside(b, i)) text_put(to, "v%u", i);
  else if (b->sums && is_row_of_sums(u, i)) {
    put_pointer(u, to, u->q.g.operand[u->q.g.operand_start[i]]);
    text_put(to, "[k*%lld + i1]", (long long)b->sums->m);
  } else if (graph_type(&u->q.g, i)->rank == 0) put_scalar(u, to, i, true);
  else {
    operand_strides(b, i, stride);
    const bool guarded = b->padded && stride[b->shape->rank - 1] != 0;
    text_put(to, guarded ? "(live ? " : "");
    put_pointer(u, to, i);
    text_put(to, "[");
    put_index(b, to, stride);
    text_put(to, "]");
    if (!guarded) return;
    text_put(to, " : ");
    put_literal(to, dtype, dtype == AD_F32 ? (const void *)&half_f32 : &half, false);
    text_put(to, ")");
  }
}

/* --- rows that end within a vector */

/* A call of a vector function does a whole vector at the price of few scalar calls, so native code runs
 * through a row of 14 numbers in two vectors of 8, and looks at and stores those that are there: compilers
 * make loads and stores under a mask of that. PADDED_MOST: elements of a row, beyond which its end does not
 * matter. */
enum { PADDED_LEAST = 3, PADDED_MOST = 512, VECTOR_BYTES = 64 };

/* Functions that have a vector form, by libmvec, or by formulas on such. */
static bool is_vector_call(const elementwise_row *row) {
  static const unsigned char has_form[ROW_COUNT] = {
    [ROW_exp] = 1, [ROW_exp2] = 1, [ROW_expm1] = 1, [ROW_log] = 1, [ROW_log2] = 1, [ROW_log10] = 1,
    [ROW_log1p] = 1, [ROW_logaddexp] = 1, [ROW_share] = 1, [ROW_sin] = 1, [ROW_cos] = 1, [ROW_tan] = 1,
    [ROW_asin] = 1, [ROW_acos] = 1, [ROW_atan] = 1, [ROW_atan2] = 1, [ROW_sinpi] = 1, [ROW_cospi] = 1,
    [ROW_sinh] = 1, [ROW_cosh] = 1, [ROW_tanh] = 1, [ROW_sech2] = 1, [ROW_asinh] = 1, [ROW_acosh] = 1,
    [ROW_atanh] = 1, [ROW_cbrt] = 1, [ROW_pow] = 1, [ROW_hypot] = 1, [ROW_erf] = 1, [ROW_erfc] = 1,
    [ROW_sigmoid] = 1, [ROW_logsigmoid] = 1, [ROW_softplus] = 1, [ROW_silu] = 1, [ROW_silu_slope] = 1,
    [ROW_gelu] = 1, [ROW_gelu_slope] = 1, [ROW_normal_density] = 1
  };
  return row && has_form[row - elementwise_rows];
}

/* Instructions of the processor, or few of them. */
static bool is_arithmetic(const elementwise_row *row) {
  static const elementwise_id plain[] = {
    ROW_add, ROW_sub, ROW_mul, ROW_div, ROW_neg, ROW_square, ROW_reciprocal, ROW_sqrt, ROW_rsqrt, ROW_abs,
    ROW_relu, ROW_max, ROW_min, ROW_over_norm2
  };
  for (size_t k = 0; k < sizeof plain/sizeof *plain; k++)
    if (row == &elementwise_rows[plain[k]]) return true;
  return false;
}

/* All of one type, with a call, and with a rest that does not fill half a vector. */
static bool is_padded(const box *b) {
  const run_graph *g = &b->u->q.g;
  const ad_dtype dtype = graph_type(g, b->u->q.s.order[b->s->first])->dtype;
  bool calls = false;
  if (!b->u->w->native || b->rank == 0 || dtype < AD_F32) return false;
  const int64_t n = b->dim[b->rank - 1], lanes = VECTOR_BYTES/(int64_t)ad_dtype_bytes(dtype);
  if (n < PADDED_LEAST || n > PADDED_MOST || n%(lanes/2) == 0) return false;
  for (uint32_t k = 0; k < b->s->count; k++) {
    const uint32_t node = b->u->q.s.order[b->s->first + k];
    const elementwise_row *row = node_primitive(g->t, g->node[node])->row;
    calls |= is_vector_call(row);
    if (!is_vector_call(row) && !is_arithmetic(row)) return false;
    if (graph_type(g, node)->dtype != dtype) return false;
    for (uint32_t e = g->operand_start[node]; e < g->operand_start[node + 1]; e++)
      if (graph_type(g, g->operand[e])->dtype != dtype) return false;
  }
  return calls;
}

/* Operations from which on native code shares a region among threads, and parts of the first axis there
 * must be. */
enum { PARALLEL_WORK = 1 << 18, PARALLEL_PARTS = 64 };

/* How loop k begins: the last one is for the compiler's vectors, the first one for threads. */
static const char *loop_word(const box *b, int k) {
  const double work = (double)ad_type_count(*b->shape)*b->s->count;
  const bool parallel = b->u->w->native && k == 0 && work >= PARALLEL_WORK && b->dim[0] >= PARALLEL_PARTS;
  if (k + 1 == b->rank) return parallel ? "ADIT_PARALLEL_SIMD " : "ADIT_SIMD ";
  return parallel ? "ADIT_PARALLEL " : "";
}

static void find_axes(box *b) {
  int64_t count = 1;
  for (int d = 0; d < b->shape->rank; d++) {
    count *= b->shape->dim[d];
    if (d + 1 < b->shape->rank && b->joined[d]) continue;
    b->dim[b->rank++] = count;
    count = 1;
  }
}

/* One loop for each axis that is left. */
static void open_loops(box *b) {
  unit *u = b->u;
  for (int k = 0; k < b->rank; k++) {
    const long long n = (long long)b->dim[k];
    if (k + 1 < b->rank || !b->padded) {
      unit_open(u, "%sfor (int64_t i%d = 0; i%d < %lld; i%d++) ", loop_word(b, k), k, k, n, k);
      continue;
    }
    unit_open(u, "%sfor (int64_t i%d = 0; i%d < ADIT_LANES(%lld, %d); i%d++) ", loop_word(b, k), k, k, n,
              (int)ad_dtype_bytes(b->shape->dtype), k);
    unit_line(u, "const int live = i%d < %lld;", k, n);
  }
}

static bool region_statement(const box *b, uint32_t i) {
  unit *u = b->u;
  const run_graph *g = &u->q.g;
  operand_texts o = { 0 };
  text t = text_on(&u->w->allocator);
  const uint32_t first = g->operand_start[i], n = g->operand_start[i + 1] - first;
  for (uint32_t k = 0; k < n && k < 3; k++) {
    put_element(b, &t, g->operand[first + k]);
    snprintf(o.of[k], OPERAND_TEXT, "%s", text_of(&t));
    o.x[k] = o.of[k];
    t.length = 0;
  }
  u->w->in_loop = u->w->native;
  const bool good = unit_value(u, &t, i, o.x);
  u->w->in_loop = false;
  unit_line(u, "const %s v%u = %s;", write_type(graph_type(g, i)->dtype), i, text_of(&t));
  if (b->sums && i == b->sums->rows)
    unit_line(u, "sums[k*%lld + i1] += v%u%s;", (long long)b->sums->m, i, u->q.zero_added[i] ? " + 0" : "");
  else if (u->q.place_of[i] != NOWHERE) {
    int64_t stride[AD_MAX_RANK];
    text z = text_on(&u->w->allocator);
    operand_strides(b, i, stride);
    put_pointer(u, &z, i);
    text_put(&z, "[");
    put_index(b, &z, stride);
    unit_line(u, "%s%s] = v%u%s;", b->padded ? "if (live) " : "", text_of(&z), i,
              u->q.zero_added[i] ? " + 0" : "");
    u->failed |= z.failed;
    written_free(&z);
  }
  u->failed |= t.failed;
  written_free(&t);
  return good;
}

bool unit_region(unit *u, const schedule_step *s) {
  const uint32_t *node = u->q.s.order + s->first;
  box b = { .u = u, .s = s, .step = u->q.s.step_of[node[0]], .shape = graph_type(&u->q.g, node[0]) };
  bool good = true;
  if (ad_type_count(*b.shape) == 0) return true;
  find_joins(&b);
  find_axes(&b);
  b.padded = is_padded(&b);
  open_loops(&b);
  for (uint32_t k = 0; k < s->count && good; k++) good = region_statement(&b, node[k]);
  for (int k = 0; k < b.rank; k++) unit_close(u);
  return good;
}

/* --- rows that an index adds up ------------------------------------------------------------------------- */

/* ROWS_LEAST: elements from which on it pays; ROWS_THREADS: on threads. */
enum { ROWS_LEAST = 1 << 9, ROWS_THREADS = 1 << 16 };

/* Does nobody else look at what the region computes? */
static bool is_only_result(const unit *u, uint32_t step, uint32_t rows) {
  const schedule_step *s = &u->q.s.step[step];
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t node = u->q.s.order[s->first + k];
    if (node != rows && u->q.place_of[node] != NOWHERE) return false;
  }
  return !u->q.is_target[rows] && u->q.g.user_start[rows + 1] - u->q.g.user_start[rows] == 1;
}

/* Is node i where x is, element by element? */
static bool lies_on(const planner *q, uint32_t i, uint32_t x) {
  return q->place_of[i] != NOWHERE && q->place_of[i] == q->place_of[x] && q->begin[i] == q->begin[x]
         && ad_type_equal(*graph_type(&q->g, i), *graph_type(&q->g, x));
}

/* Do the sums grow where the base is, of which the region reads nothing itself? */
static bool is_in_place(const unit *u, const schedule_step *s, uint32_t sums, uint32_t base) {
  const planner *q = &u->q;
  const uint32_t at = q->place_of[base];
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t node = q->s.order[s->first + k];
    for (uint32_t e = q->g.operand_start[node]; e < q->g.operand_start[node + 1]; e++)
      if (q->place_of[q->g.operand[e]] == at) return false;
  }
  return lies_on(q, sums, base);
}

bool find_row_sums(const unit *u, uint32_t step, row_sums *r) {
  const schedule *s = &u->q.s;
  const run_graph *g = &u->q.g;
  const ad_type *types[3];
  int axis;
  if (!u->w->native || u->shape->lanes || step + 1 >= s->steps) return false;
  if (s->step[step].kind != KIND_ELEMENTWISE || s->step[step + 1].kind != KIND_STRUCTURED) return false;
  const uint32_t sums = s->order[s->step[step + 1].first], *x = g->operand + g->operand_start[sums];
  if (g->operand_start[sums + 1] - g->operand_start[sums] != 3 || s->step_of[x[2]] != step) return false;
  const ad_operation op = node_operation(g->t, g->node[sums], types);
  if (!scatter_along(&op, &axis) || axis != 0 || op.z.dtype < AD_F32) return false;
  if (op.z.rank != 2 || types[1]->rank != 1 || ad_type_count(*types[2]) < ROWS_LEAST) return false;
  if (!is_only_result(u, step, x[2]) || !is_in_place(u, &s->step[step], sums, x[0])) return false;
  *r = (row_sums){ step, sums, x[2], x[1], types[2]->dim[0], op.z.dim[1], op.z.dim[0], scatter_parts(&op) };
  return u->part_of[sums] == u->part_of[x[2]];
}

bool is_row_of_sums(const unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  const ad_type *types[2];
  row_sums r;
  if (g->kind[i] != KIND_STRUCTURED || g->operand_start[i + 1] - g->operand_start[i] != 2) return false;
  if (g->user_start[i + 1] == g->user_start[i] || u->q.is_target[i]) return false;
  const uint32_t *x = g->operand + g->operand_start[i], step = u->q.s.step_of[g->user[g->user_start[i]]];
  const ad_operation op = node_operation(g->t, g->node[i], types);
  if (!take_is_rows(&op) || g->kind[x[0]] != KIND_GIVEN || step == NOWHERE) return false;
  if (!find_row_sums(u, step, &r)) return false;
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++)
    if (u->q.s.step_of[g->user[k]] != step) return false;
  return x[1] == r.index && types[0]->rank == 2 && types[0]->dim[0] == r.length && types[0]->dim[1] == r.m;
}

/* Does a take of the region say what is wrong with the index? */
static bool any_takes(const unit *u, const row_sums *r) {
  const run_graph *g = &u->q.g;
  for (uint32_t k = g->user_start[r->index]; k < g->user_start[r->index + 1]; k++)
    if (is_row_of_sums(u, g->user[k])) return true;
  return false;
}

/* Row i of part p + stream. */
static bool write_row(unit *u, const row_sums *r, int stream, long long length) {
  const uint32_t *node = u->q.s.order + u->q.s.step[r->region].first;
  box b = { .u = u, .s = &u->q.s.step[r->region], .step = r->region, .rank = 2, .sums = r,
            .shape = graph_type(&u->q.g, r->rows) };
  bool good = true;
  text index = text_on(&u->w->allocator);
  put_pointer(u, &index, r->index);
  unit_line(u, "const int64_t i0 = (p + %d)*%lld + i;", stream, length);
  unit_open(u, "if (i0 < %lld) ", (long long)r->n);
  unit_line(u, "%s *const sums = own[%d];", write_type(graph_type(&u->q.g, r->sums)->dtype), stream);
  unit_line(u, "int64_t k = %s[i0];", text_of(&index));
  unit_line(u, "if (k < 0) k += %lld;", (long long)r->length);
  unit_line(u, "if (k < 0 || k >= %lld) { bad[p] = 1; break; }", (long long)r->length);
  unit_open(u, "ADIT_SIMD for (int64_t i1 = 0; i1 < %lld; i1++) ", (long long)r->m);
  for (uint32_t k = 0; k < b.s->count && good; k++) good = region_statement(&b, node[k]);
  unit_close(u);
  unit_close(u);
  u->failed |= index.failed;
  written_free(&index);
  return good;
}

/* Parts p, p + 1, .. side by side: a sum waits for its last row, sums of other parts do not. */
static bool write_parts_of_sums(unit *u, const row_sums *r, int streams, const char *z, const char *scratch) {
  const long long all = r->length*r->m, length = (r->n + r->parts - 1)/r->parts;
  const char *type = write_type(graph_type(&u->q.g, r->sums)->dtype);
  bool good = true;
  unit_line(u, "%s *own[%d] = { %s };", type, streams, z);
  if (r->parts > 1) {
    unit_open(u, "for (int s = 0; s < %d; s++) if (p + s) ", streams);
    unit_line(u, "own[s] = %s + (p + s - 1)*%lld;", scratch, all);
    unit_line(u, "for (int64_t i = 0; i < %lld; i++) own[s][i] = -(%s)0;", all, type);
    unit_close(u);
  }
  unit_open(u, "for (int64_t i = 0; i < %lld; i++) ", length);
  for (int s = 0; s < streams && good; s++) {
    unit_open(u, "%s", "");
    good = write_row(u, r, s, length);
    unit_close(u);
  }
  unit_close(u);
  return good;
}

/* In the order, and the parts, of the library's kernel. */
bool unit_row_sums(unit *u, const row_sums *r) {
  char z[WRITE_NAME], scratch[WRITE_NAME] = "0";
  const int64_t all = r->length*r->m;
  const bool threads = r->parts > 1 && r->n*r->m >= ROWS_THREADS;
  snprintf(z, sizeof z, "%s", unit_pointer(u, r->sums));
  if (r->parts > 1)
    snprintf(scratch, sizeof scratch, "%s",
             unit_take(u, graph_type(&u->q.g, r->sums)->dtype, (r->parts - 1)*all));
  unit_open(u, "%s", "");
  const int streams = r->parts%4 == 0 ? 4 : 1;
  unit_line(u, "int bad[%d] = { 0 }, failed = 0;", r->parts);
  unit_open(u, "%sfor (int64_t p = 0; p < %d; p += %d) ", threads ? "ADIT_PARALLEL " : "", r->parts, streams);
  const bool good = write_parts_of_sums(u, r, streams, z, scratch);
  unit_close(u);
  unit_line(u, "for (int64_t p = 0; p < %d; p++) failed |= bad[p];", r->parts);
  unit_fail(u, "failed", AD_ERROR_ARGUMENT,
            &(failure){ any_takes(u, r) ? "take" : "scatter_add", ": an argument is out of its range", NULL,
                        NULL });
  if (r->parts > 1) {
    unit_open(u, "for (int64_t p = 0; p < %d; p++) ", r->parts - 1);
    unit_line(u, "ADIT_SIMD for (int64_t i = 0; i < %lld; i++) %s[i] += %s[p*%lld + i];", (long long)all, z,
              scratch, (long long)all);
    unit_close(u);
  }
  unit_close(u);
  return good;
}

/* --- structured operations ------------------------------------------------------------------------------ */

static bool by_rule(unit *u, uint32_t i, const ad_operation *op) {
  ad_writer *w = u->w;
  const run_graph *g = &u->q.g;
  const uint32_t first = g->operand_start[i], n = g->operand_start[i + 1] - first;
  const size_t bytes = n*sizeof(char *) + (n + 1u)*WRITE_NAME;
  const char **x = memory_get(&w->allocator, bytes);
  if (!x) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  char *of = (char *)(x + n), *z = of + n*WRITE_NAME;
  for (uint32_t k = 0; k < n; k++) {
    snprintf(of + k*WRITE_NAME, WRITE_NAME, "%s", unit_pointer(u, g->operand[first + k]));
    x[k] = of + k*WRITE_NAME;
  }
  snprintf(z, WRITE_NAME, "%s", unit_pointer(u, i));
  unit_open(u, "%s", "");
  const ad_status status = op->primitive->write(w, op, z, x);
  unit_close(u);
  memory_release(&w->allocator, x, bytes);
  return status == AD_OK || writer_fail(w, status, "%s: %s", op->primitive->name, ad_status_sentence(status));
}

/* --- back into the library ------------------------------------------------------------------------------ */

/* Written loops win where arrays are small; from here on the library's own kernels do: elements of an
 * array, the same where elements are only moved or added up, though not in parts that need memory, where they
 * are summed over axes (kernels share that among threads), multiplications in a product of matrices. */
enum { HOST_ELEMENTS = 512, HOST_MOVED = 16384, HOST_SUMMED = 1 << 18, HOST_PRODUCT = 4096 };

/* in_place: the result is the first operand with something added to it, of which no more is touched. */
static bool is_large(const ad_operation *op, bool in_place) {
  const unsigned moves = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS;
  const int64_t work = product_size(op);
  if (work) return work > HOST_PRODUCT;
  int64_t most = in_place ? 0 : ad_type_count(op->z);
  for (int k = in_place; k < op->n; k++)
    if (ad_type_count(*op->x[k]) > most) most = ad_type_count(*op->x[k]);
  if ((op->primitive->traits & moves) != moves) return most > HOST_ELEMENTS;
  if (reduction_kernel_of(op)) return most > HOST_SUMMED;
  const bool in_parts = op->primitive->scratch_bytes && op->primitive->scratch_bytes(op);
  return most > (in_parts ? HOST_ELEMENTS : HOST_MOVED);
}

/* Keeps the operation for calls; its types are the tape's, the list of them is copied. */
static bool add_host_step(ad_writer *w, const ad_operation *op) {
  if (!memory_reserve(&w->allocator, &w->step, &w->step_capacity, w->steps + 1, sizeof *w->step))
    return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  host_step *s = &w->step[w->steps];
  *s = (host_step){ .op = *op };
  s->types = memory_get(&w->allocator, (size_t)op->n*sizeof *s->types + 1);
  if (!s->types) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  if (op->n) memcpy(s->types, op->x, (size_t)op->n*sizeof *s->types);
  s->op.x = s->types;
  s->op.message = NULL;
  s->op.message_size = 0;
  w->steps++;
  return true;
}

/* z: names of the results, "0": not wanted. */
static bool write_host_call(unit *u, uint32_t i, const ad_operation *op, const char *z) {
  const run_graph *g = &u->q.g;
  text x = text_on(&u->w->allocator);
  const size_t scratch = op->primitive->scratch_bytes ? op->primitive->scratch_bytes(op) : 0;
  if (!add_host_step(u->w, op)) return false;
  for (uint32_t e = g->operand_start[i]; e < g->operand_start[i + 1]; e++) {
    put_pointer(u, &x, g->operand[e]);
    text_put(&x, ", ");
  }
  unit_open(u, "%s", "");
  unit_line(u, "const void *const from[] = { %s0 };", text_of(&x));
  unit_line(u, "void *const to[] = { %s };", z);
  if (scratch) unit_line(u, "void *const room = (void *)(((uintptr_t)%s + 63)/64*64);",
                         unit_take(u, AD_BOOL, (int64_t)scratch + 64));
  const bool sure = planner_sure(&u->q, i, op);
  u->w->step[u->w->steps - 1].op.sure = sure;
  unit_line(u, "%shost->run(host, %zu, to, from, %s);", sure ? "" : "const int failed = ", u->w->steps - 1,
            scratch ? "room" : "0");
  if (!sure) unit_line(u, "if (failed) return failed;");
  unit_close(u);
  u->info->fails |= !sure;
  u->failed |= x.failed;
  written_free(&x);
  return true;
}

static bool host_operation(unit *u, uint32_t i, const ad_operation *op) {
  text z = text_on(&u->w->allocator);
  put_pointer(u, &z, i);
  const bool good = write_host_call(u, i, op, text_of(&z));
  u->failed |= z.failed;
  written_free(&z);
  return good;
}

bool unit_host_results(unit *u, uint32_t i, const ad_operation *op) {
  const run_graph *g = &u->q.g;
  text z = text_on(&u->w->allocator);
  const int results = op->primitive->tuple->results(op);
  for (int j = 0; j < results; j++) {
    uint32_t user = NOWHERE;
    for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++)
      if (result_number(g->t, g->node[g->user[k]]) == j) user = g->user[k];
    if (user == NOWHERE) text_put(&z, "0");
    else put_pointer(u, &z, user);
    text_put(&z, ", ");
  }
  text_put(&z, "0");
  const bool good = write_host_call(u, i, op, text_of(&z));
  u->failed |= z.failed;
  written_free(&z);
  return good;
}

void unit_rest(unit *u, uint32_t i, const glued_rest *r) {
  for (int k = 0; k < r->n; k++) {
    const struct glued_part *p = &r->part[k];
    const char *to = unit_part(u, i, p->first);
    if (p->x != NOWHERE) unit_copy(u, to, unit_pointer(u, p->x), p->count);
    else if (p->count == 1) unit_line(u, "%s[0] = 0;", to);
    else unit_line(u, "for (int64_t i = 0; i < %lld; i++) %s[i] = 0;", (long long)p->count, to);
  }
}

/* Locals are declared where nothing else has: scalars that this step makes. */
static void declare(unit *u, uint32_t i) {
  const uint32_t at = u->q.place_of[i];
  if (u->slot_of[i] == NOWHERE && at != NOWHERE && u->q.p->place[at].kind == PLACE_WORK
      && u->q.life[at].scalar)
    unit_line(u, "%s s%u;", write_type(graph_type(&u->q.g, i)->dtype), at);
}

bool unit_structured(unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  const uint32_t n = g->operand_start[i + 1] - g->operand_start[i];
  const ad_primitive *p = node_primitive(g->t, g->node[i]);
  const ad_type *small[4], **types = n <= 4 ? small : memory_get(&u->w->allocator, n*sizeof *types);
  if (!types) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  const ad_operation op = node_operation(g->t, g->node[i], types);
  bool good = true;
  int64_t part;
  glued_rest rest;
  if (p->tuple) {
    for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++) declare(u, g->user[k]);
    good = unit_tuple(u, i, &op);
  } else if (find_rest(&u->q, i, &rest)) {
    unit_rest(u, i, &rest);
  } else if (!unit_view(u, i, &part)) {
    declare(u, i);
    u->step = p, u->step_node = i;
    const bool in_place = p->traits & AD_TRAIT_ADDS_INTO
                          && lies_on(&u->q, i, g->operand[g->operand_start[i]]);
    if (u->w->native && (!p->write || p->explain || is_large(&op, in_place)))
      good = host_operation(u, i, &op);
    else good = p->write ? by_rule(u, i, &op)
                         : writer_fail(u->w, AD_ERROR_UNSUPPORTED, "%s cannot be written as C", p->name);
  }
  if (types != small) memory_release(&u->w->allocator, types, n*sizeof *types);
  return good;
}

/* --- the public words of write rules -------------------------------------------------------------------- */

void ad_write(ad_writer *w, const char *format, ...) {
  text t = text_on(&w->allocator);
  va_list list;
  va_start(list, format);
  text_put_list(&t, format, list);
  va_end(list);
  const char *line = text_of(&t);
  if (line[0] == '}') w->indent--;
  unit_line(w->current, "%s", line);
  if (t.length && line[t.length - 1] == '{') w->indent++;
  if (t.failed) w->current->failed = true;
  written_free(&t);
}

const char *ad_write_type(ad_dtype dtype) { return write_type(dtype); }

void ad_write_failure(ad_writer *w, ad_status status) {
  char format[160];
  snprintf(format, sizeof format, ": %s", ad_status_sentence(status));
  unit_fail(w->current, NULL, status, &(failure){ w->current->step->name, format, NULL, NULL });
}

const char *ad_write_scratch(ad_writer *w, ad_dtype dtype, int64_t n) {
  return unit_take(w->current, dtype, n);
}

const char *ad_write_constants(ad_writer *w, ad_dtype dtype, const void *data, int64_t n) {
  return write_constants(w, dtype, data, n);
}

const void *ad_write_operand(const ad_writer *w, int k) {
  const unit *u = w->current;
  const run_graph *g = &u->q.g;
  const uint32_t at = g->operand_start[u->step_node] + (uint32_t)k;
  if (k < 0 || at >= g->operand_start[u->step_node + 1]) return NULL;
  return planner_constant(&u->q, g->operand[at]);
}

bool ad_write_cblas(const ad_writer *w) { return w->options.cblas; }
