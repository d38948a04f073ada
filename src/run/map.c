/* map.c -- maps and their adjoints: the instances in chunks, each chunk one run of the batched function, so
 * that instances are the lanes of its kernels and intermediate values stay in the cache. Cotangents of shared
 * inputs are summed over a chunk by the batched function, over chunks in groups, and over groups in order:
 * neither chunks nor groups depend on the number of threads, so neither do the bits. A function that cannot
 * be batched runs instance by instance, as chunks of one. */
#include "function/batch.h"
#include "function/derived.h"
#include "function/wrt.h"
#include "run/carrier.h"

#include <stdio.h>
#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum {
  CHUNK_MOST = 4096,                /* instances */
  CHUNK_BYTES = 1 << 20,            /* of arrays inside: what fits into a core's own cache */
  CHUNK_ROUND = 256,                /* a block of the interpreter */
  GROUPS_MOST = 16,
  MESSAGE_BYTES = 200,
  WORK_FOR_THREADS = 40000          /* operations */
};

/* --- the batched function ------------------------------------------------------------------------------- */

typedef struct summing { ad_function *batched; const bool *summed; } summing;

static void summing_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const summing *s = context;
  if (function_apply_all(t, s->batched, in, out) != AD_OK) return;
  for (int j = 0; j < s->batched->n_out; j++)
    if (s->summed[j]) out[j] = batch_sum(out[j]);
}

static ad_function *add_sums(ad_function *batched, const bool summed[]) {
  const ad_allocator *a = &batched->body->allocator;
  const size_t bytes = (size_t)batched->n_in*sizeof(ad_type) + 1;
  summing s = { batched, summed };
  ad_type *in = memory_get(a, bytes);
  if (!in) return NULL;
  for (int i = 0; i < batched->n_in; i++) in[i] = node_type(batched->body, batched->in[i])->type;
  ad_function *f = ad_function_trace_with(a, batched->name, summing_body, &s, batched->n_in, in,
                                          batched->n_out, NULL);
  memory_release(a, in, bytes);
  return f;
}

/* f on n instances, outputs with summed[j] added up over them; kept by f. NULL with AD_OK: not to be had. */
static ad_function *chunk_function(ad_function *f, int64_t n, const bool mapped[], const bool summed[],
                                   ad_status *status) {
  *status = AD_OK;
  ad_function *found = derived_find(f, DERIVED_BATCH, n, mapped, summed);
  if (found) return found;
  ad_function *batched = function_batched(f, n, mapped, status);
  if (!batched) return NULL;
  ad_function *whole = add_sums(batched, summed);
  ad_function_free(batched);
  if (whole) whole = derived_keep(f, DERIVED_BATCH, n, mapped, summed, whole);
  if (!whole) *status = AD_ERROR_MEMORY;
  return whole;
}

/* --- running -------------------------------------------------------------------------------------------- */

typedef struct map {
  prepared base;
  const carrier *c;
  int inputs, outputs;              /* of the function that runs: f or its vjp */
  const plan *chunk, *rest;
  int64_t size, chunks, groups;     /* instances of a chunk, number of whole chunks, of groups of chunks */
  size_t *in_row, *out_row;         /* bytes between instances; 0: shared, summed */
  size_t *sum_at, *sum_bytes;       /* of each summed output, in a set of sums */
  ad_dtype *dtype;
  size_t sums, lists;
  int threads;
  size_t at_lists, at_work, thread_bytes, at_groups;
} map;

typedef struct map_run {
  const map *p;
  const void *const *x;
  void *const *z;
  char *scratch;
} map_run;

static void add_to(ad_dtype dtype, void *sum, const void *part, size_t bytes) {
  if (dtype == AD_F64) {
    double *s = sum;
    const double *p = part;
    for (size_t i = 0; i < bytes/sizeof *s; i++) s[i] += p[i];
  } else {
    float *s = sum;
    const float *p = part;
    for (size_t i = 0; i < bytes/sizeof *s; i++) s[i] += p[i];
  }
}

static char *group_sums(const map_run *r, int64_t g) {
  return r->scratch + r->p->at_groups + (size_t)g*r->p->sums;
}

/* One chunk from instance `first` on; sums go to the thread's own set. */
static ad_status run_chunk(const map_run *r, const plan *code, int64_t first, char *mine, char *message,
                           size_t size) {
  const map *p = r->p;
  const void **in = (const void **)(void *)(mine + p->at_lists);
  void **out = (void **)(void *)(in + p->inputs);
  for (int k = 0; k < p->inputs; k++) in[k] = (const char *)r->x[k] + (size_t)first*p->in_row[k];
  for (int j = 0; j < p->outputs; j++) {
    out[j] = NULL;
    if (r->z[j]) out[j] = p->out_row[j] ? (char *)r->z[j] + (size_t)first*p->out_row[j] : mine + p->sum_at[j];
  }
  return plan_run(code, in, out, mine + p->at_work, message, size);
}

static void add_sets(const map_run *r, char *sum, const char *part, bool begin) {
  const map *p = r->p;
  for (int j = 0; j < p->outputs; j++) {
    if (p->out_row[j] || !r->z[j]) continue;
    if (begin) memcpy(sum + p->sum_at[j], part + p->sum_at[j], p->sum_bytes[j]);
    else add_to(p->dtype[j], sum + p->sum_at[j], part + p->sum_at[j], p->sum_bytes[j]);
  }
}

/* The chunks of one group, the incomplete one with the last. */
static ad_status run_group(const map_run *r, int64_t g, char *mine, char *message, size_t size) {
  const map *p = r->p;
  const int64_t from = g*p->chunks/p->groups, to = (g + 1)*p->chunks/p->groups;
  ad_status status = AD_OK;
  bool begin = true;
  for (int64_t k = from; k < to && status == AD_OK; k++, begin = false) {
    status = run_chunk(r, p->chunk, k*p->size, mine, message, size);
    add_sets(r, group_sums(r, g), mine, begin);
  }
  if (g + 1 < p->groups || !p->rest || status != AD_OK) return status;
  status = run_chunk(r, p->rest, p->chunks*p->size, mine, message, size);
  add_sets(r, group_sums(r, g), mine, begin);
  return status;
}

/* Of several groups that fail the first one is reported, whichever came first. */
static ad_status run_groups(const map_run *r, char *message, size_t size) {
  const map *p = r->p;
#ifdef _OPENMP
  if (p->threads > 1 && !omp_in_parallel()) {
    ad_status seen[GROUPS_MOST];
    char text[GROUPS_MOST][MESSAGE_BYTES];
#pragma omp parallel for schedule(dynamic) num_threads(p->threads)
    for (int64_t g = 0; g < p->groups; g++)
      seen[g] = run_group(r, g, r->scratch + (size_t)omp_get_thread_num()*p->thread_bytes, text[g],
                          sizeof *text);
    for (int64_t g = 0; g < p->groups; g++) {
      if (seen[g] == AD_OK) continue;
      if (message) snprintf(message, size, "%s", text[g]);
      return seen[g];
    }
    return AD_OK;
  }
#endif
  ad_status status = AD_OK;
  for (int64_t g = 0; g < p->groups && status == AD_OK; g++)
    status = run_group(r, g, r->scratch, message, size);
  return status;
}

static ad_status run_map(const prepared *base, const void *const x[], void *const z[], char *scratch,
                         char *message, size_t size) {
  const map *p = (const map *)base;
  const map_run r = { p, x, z, scratch };
  const ad_status status = run_groups(&r, message, size);
  if (status != AD_OK) return status;
  const int64_t groups = p->c->n ? p->groups : 0;
  for (int j = 0; j < p->outputs; j++) {
    if (p->out_row[j] || !z[j] || !p->sums) continue;
    memset(z[j], 0, p->sum_bytes[j]);
    for (int64_t g = 0; g < groups; g++)
      if (g == 0) memcpy(z[j], group_sums(&r, g) + p->sum_at[j], p->sum_bytes[j]);
      else add_to(p->dtype[j], z[j], group_sums(&r, g) + p->sum_at[j], p->sum_bytes[j]);
  }
  return AD_OK;
}

/* --- making ready --------------------------------------------------------------------------------------- */

static void map_parts(const prepared *base, plan_parts *parts) {
  const map *p = (const map *)base;
  const part_role role = p->c->adjoint ? PART_COTANGENTS : PART_VALUE;
  parts->loop = true;
  parts->steps = p->c->n;
  parts_add(parts, p->chunk, role, (double)p->chunks);
  parts_add(parts, p->rest, role, 1);
}

static void free_map(prepared *base) {
  map *p = (map *)base;
  const ad_allocator a = base->allocator;
  memory_release(&a, p->in_row, p->lists);
  memory_release(&a, p, sizeof *p);
}

static bool open_lists(map *p) {
  const size_t n = (size_t)p->inputs, m = (size_t)p->outputs;
  p->lists = (n + 3*m)*sizeof(size_t) + m*sizeof *p->dtype + 1;
  p->in_row = memory_get_zeroed(&p->base.allocator, p->lists, 1);
  if (!p->in_row) return false;
  p->out_row = p->in_row + n;
  p->sum_at = p->out_row + m;
  p->sum_bytes = p->sum_at + m;
  p->dtype = (ad_dtype *)(p->sum_bytes + m);
  return true;
}

static void measure(map *p, const ad_function *f, const bool mapped[], const bool summed[]) {
  for (int k = 0; k < p->inputs; k++) p->in_row[k] = mapped[k] ? node_type(f->body, f->in[k])->bytes : 0;
  for (int j = 0; j < p->outputs; j++) {
    const tape_type *type = node_type(f->body, f->out[j]);
    p->dtype[j] = type->type.dtype;
    p->out_row[j] = summed[j] ? 0 : type->bytes;
    p->sum_at[j] = p->sums;
    p->sum_bytes[j] = summed[j] ? type->bytes : 0;
    p->sums += round_up(p->sum_bytes[j]);
  }
}

/* The most bytes that arrays inside f need at a time when it runs in the order of its recording and each is
 * given up, to the result of the operation, at its last use. False: out of memory. */
static bool most_live(const ad_function *f, size_t *most) {
  const ad_tape *t = f->body;
  const size_t list = t->count*sizeof(uint32_t) + 1;
  uint32_t *last = memory_get_zeroed(&t->allocator, list, 1);
  size_t live = 0;
  if (!last) return false;
  for (uint32_t i = 0; i < t->count; i++) {
    int n;
    const uint32_t *x = node_is_leaf(t, i) ? NULL : node_operands(t, i, &n);
    for (int k = 0; x && k < n; k++) last[x[k]] = i;
  }
  for (int j = 0; j < f->n_out; j++) last[f->out[j]] = UINT32_MAX;
  *most = 0;
  for (uint32_t i = 0; i < t->count; i++) {
    int n;
    const uint32_t *x = node_is_leaf(t, i) ? NULL : node_operands(t, i, &n);
    for (int k = 0; x && k < n; k++) {
      if (last[x[k]] != i) continue;
      live -= node_type(t, x[k])->type.rank ? node_type(t, x[k])->bytes : 0;
      last[x[k]] = 0;               /* once, if it is an operand twice */
    }
    if (node_type(t, i)->type.rank) live += node_type(t, i)->bytes;
    if (live > *most) *most = live;
  }
  memory_release(&t->allocator, last, list);
  return true;
}

/* Small enough for what is inside to stay in the cache, large enough for the kernels; 0: out of memory. */
static int64_t chunk_size(const ad_function *f, int64_t n) {
  size_t bytes;
  if (!most_live(f, &bytes)) return 0;
  int64_t size = bytes ? (int64_t)(CHUNK_BYTES/(bytes + 1)) : CHUNK_MOST;
  const int64_t fair = (n/8/CHUNK_ROUND + 1)*CHUNK_ROUND;
  if (size > fair) size = fair;
  if (size > CHUNK_MOST) size = CHUNK_MOST;
  if (size < 1) size = 1;
  return size < n ? size : n;
}

/* Plans for whole chunks and for what is left, batched where that can be, else f itself for each instance. */
static ad_status make_plans(map *p, const preparation *q, ad_function *f, const bool mapped[],
                            const bool summed[]) {
  const int64_t n = q->c->n;
  ad_status status;
  p->size = chunk_size(f, n);
  if (!p->size && n) return AD_ERROR_MEMORY;
  ad_function *chunk = chunk_function(f, p->size, mapped, summed, &status);
  if (status != AD_OK) return status;
  if (!chunk) p->size = 1;
  p->chunks = n/p->size;
  if (p->chunks) status = function_plan(chunk ? chunk : f, q->wanted, &p->chunk);
  if (status != AD_OK || n%p->size == 0) return status;
  ad_function *rest = chunk_function(f, n%p->size, mapped, summed, &status);
  return rest ? function_plan(rest, q->wanted, &p->rest) : status == AD_OK ? AD_ERROR_MEMORY : status;
}

static void lay_out(map *p, const preparation *q, const ad_function *f) {
  const size_t a = p->chunk ? p->chunk->workspace : 0, b = p->rest ? p->rest->workspace : 0;
  const int64_t pieces = p->chunks + (p->rest != NULL);
  p->groups = p->chunks < GROUPS_MOST ? p->chunks : GROUPS_MOST;
  if (p->groups < 1) p->groups = 1;
  p->threads = pieces > 1 && (double)q->c->n*(double)f->size > WORK_FOR_THREADS ? q->threads : 1;
  p->at_lists = p->sums;
  p->at_work = p->at_lists + round_up(((size_t)p->inputs + (size_t)p->outputs)*sizeof(void *));
  p->thread_bytes = p->at_work + round_up(a > b ? a : b);
  p->at_groups = p->thread_bytes*(size_t)p->threads;
  p->base.scratch = p->at_groups + (size_t)p->groups*p->sums;
}

static ad_status prepare(const preparation *q, ad_function *f, const bool mapped[], const bool summed[],
                         prepared **result) {
  map *p = memory_get_zeroed(&q->allocator, 1, sizeof *p);
  if (!p) return AD_ERROR_MEMORY;
  p->base = (prepared){ run_map, free_map, map_parts, q->allocator, 0 };
  p->c = q->c;
  p->inputs = f->n_in;
  p->outputs = f->n_out;
  ad_status status = AD_ERROR_MEMORY;
  if (open_lists(p)) {
    measure(p, f, mapped, summed);
    status = q->c->n ? make_plans(p, q, f, mapped, summed) : AD_OK;
  }
  if (status == AD_OK) {
    lay_out(p, q, f);
    *result = &p->base;
  } else free_map(&p->base);
  return status;
}

ad_status prepare_map(const preparation *q, prepared **result) {
  const carrier *c = q->c;
  const size_t bytes = (size_t)c->n_in + (size_t)c->n_out + 1;
  bool *mapped = memory_get_zeroed(&q->allocator, bytes, 1);
  if (!mapped) return AD_ERROR_MEMORY;
  for (int k = 0; k < c->n_in; k++) mapped[k] = role_in(c)[k] == ROLE_EACH;
  ad_status status;
  ad_function *f = prepare_opened(q, c->f, &status);
  if (f) status = prepare(q, f, mapped, mapped + c->n_in, result);
  memory_release(&q->allocator, mapped, bytes);
  return status;
}

/* Inputs of the vjp: those of f, then the cotangents, which are all mapped. Of its outputs those of shared
 * inputs are summed. */
ad_status prepare_map_adjoint(const preparation *q, prepared **result) {
  const carrier *c = q->c;
  const size_t n = (size_t)c->n_in, bytes = 3*n + (size_t)c->n_out + 1;
  ad_status status;
  bool *none = memory_get_zeroed(&q->allocator, bytes, 1);
  if (!none) return AD_ERROR_MEMORY;
  bool *summed = none + n, *mapped = summed + n;
  ad_function *v = prepare_vjp(q, c->f, (const bool *)active_in(c), (const bool *)active_out(c), none,
                               &status);
  for (int k = 0, j = 0; k < c->n_in; k++) {
    mapped[k] = role_in(c)[k] == ROLE_EACH;
    if (active_in(c)[k]) summed[j++] = !mapped[k];
  }
  for (int k = c->n_in; v && k < v->n_in; k++) mapped[k] = true;
  if (v) status = prepare(q, v, mapped, summed, result);
  memory_release(&q->allocator, none, bytes);
  return status;
}
