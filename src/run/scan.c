/* scan.c -- scans and loops forwards. Two sets of states change places from step to step; where the states
 * are recorded, each step reads them from the record and writes them to its next row. */
#include "run/scan.h"

#include <stdio.h>
#include <string.h>

/* --- lists of the body ---------------------------------------------------------------------------------- */

/* Rows of stacked operands and results lie this far apart. */
static size_t row_bytes(const ad_function *f, uint32_t node) { return node_type(f->body, node)->bytes; }

bool scan_body_open(scan_body *b, const preparation *q, ad_function *f) {
  const carrier *c = q->c;
  *b = (scan_body){ .f = f, .states = carrier_states(c) };
  b->bytes = (size_t)c->n_in*sizeof *b->row + 2*(size_t)b->states*sizeof *b->state_in
             + (size_t)b->states*sizeof *b->state_at + 1;
  b->row = memory_get_zeroed(&q->allocator, b->bytes, 1);
  if (!b->row) return false;
  b->state_at = b->row + c->n_in;
  b->state_in = (int *)(b->state_at + b->states);
  b->state_out = b->state_in + b->states;
  for (int i = 0, k = 0; i < c->n_in; i++) {
    const size_t bytes = row_bytes(c->f, c->f->in[i]);
    if (role_in(c)[i] == ROLE_EACH) b->row[i] = bytes;
    if (role_in(c)[i] != ROLE_STATE) continue;
    b->state_in[k] = i;
    b->state_at[k++] = b->state_bytes;
    b->state_bytes += round_state(bytes);
  }
  for (int j = 0, k = 0; j < c->n_out; j++)
    if (role_out(c)[j] == ROLE_STATE) b->state_out[k++] = j;
  return true;
}

void scan_body_close(scan_body *b, const ad_allocator *a) { memory_release(a, b->row, b->bytes); }

size_t scan_state_size(const scan_body *b, int k) { return row_bytes(b->f, b->f->in[b->state_in[k]]); }

ad_status scan_steps(const carrier *c, const void *const x[], int64_t *n, char *message, size_t size) {
  *n = c->n;
  if (!c->counted) return AD_OK;
  memcpy(n, x[c->n_in], sizeof *n);
  if (*n >= 0 && (c->n < 0 || *n <= c->n)) return AD_OK;
  if (message && c->n < 0) snprintf(message, size, "scan: %lld steps", (long long)*n);
  else if (message) snprintf(message, size, "scan: %lld steps, of %lld", (long long)*n, (long long)c->n);
  return AD_ERROR_LIMIT;
}

/* --- running forwards ----------------------------------------------------------------------------------- */

typedef struct scan {
  prepared base;
  const carrier *c;
  scan_body body;
  bool records;                     /* states for an adjoint */
  const plan *step, *condition;
  int outputs;                      /* of the function that runs: f, or r, which gives more */
  size_t *stack_row;                /* of outputs that are stacked: bytes of a row */
  /* in the scratch: states, addresses of inputs and outputs, the workspaces of step and condition */
  size_t in, out, work, test;
} scan;

typedef struct scan_run {
  const scan *p;
  const void *const *x;
  void *const *z;
  char *scratch;
  const void **in;
  void **out;
  char *set[2];                     /* of states */
  char *message;
  size_t size;
} scan_run;

static void *record_row(const scan_run *r, int k, int64_t i) {
  char *record = r->p->records ? r->z[r->p->c->n_out + k] : NULL;
  return record ? record + (size_t)i*scan_state_size(&r->p->body, k) : NULL;
}

/* Where step i finds its inputs and leaves its outputs; row: of stacked ones. */
static void aim(scan_run *r, int64_t i, int64_t row) {
  const scan *p = r->p;
  const carrier *c = p->c;
  for (int k = 0; k < c->n_in; k++)
    if (p->body.row[k]) r->in[k] = (const char *)r->x[k] + (size_t)row*p->body.row[k];
  for (int j = 0; j < c->n_out; j++)
    if (role_out(c)[j] == ROLE_EACH && r->z[j]) r->out[j] = (char *)r->z[j] + (size_t)row*p->stack_row[j];
  for (int j = c->n_out; j < p->outputs; j++) {
    char *z = r->z[j + p->body.states];
    if (z) r->out[j] = z + (size_t)row*p->stack_row[j];
  }
  for (int k = 0; k < p->body.states; k++)
    r->out[p->body.state_out[k]] = r->set[(i + 1)&1] + p->body.state_at[k];
}

static void keep_states(scan_run *r, int64_t at) {
  const scan *p = r->p;
  for (int k = 0; k < p->body.states; k++) {
    void *row = record_row(r, k, at);
    if (row) copy_state(row, r->in[p->body.state_in[k]], scan_state_size(&p->body, k));
  }
}

static void turn(scan_run *r) {
  const scan_body *b = &r->p->body;
  for (int k = 0; k < b->states; k++) r->in[b->state_in[k]] = r->out[b->state_out[k]];
}

static ad_status run_steps(scan_run *r, int64_t n) {
  const carrier *c = r->p->c;
  for (int64_t i = 0; i < n; i++) {
    const int64_t row = c->backwards ? n - 1 - i : i;
    aim(r, i, row);
    keep_states(r, row);
    const ad_status status = plan_continue(r->p->step, r->in, r->out, r->scratch + r->p->work, r->message,
                                           r->size);
    if (status != AD_OK) return status;
    turn(r);
  }
  return AD_OK;
}

static bool is_true(ad_dtype dtype, const void *v) {
  switch (dtype) {
    case AD_F64: return *(const double *)v != 0;
    case AD_F32: return *(const float *)v != 0;
    case AD_I64: return *(const int64_t *)v != 0;
    case AD_I32: return *(const int32_t *)v != 0;
    default:     return *(const unsigned char *)v != 0;
  }
}

static ad_status run_while(scan_run *r, int64_t *steps) {
  const scan *p = r->p;
  const carrier *c = p->c;
  const ad_dtype dtype = node_type(c->g->body, c->g->out[0])->type.dtype;
  double value = 0;
  void *condition = &value;
  for (int64_t i = 0;; i++) {
    ad_status status = plan_continue(p->condition, r->in, &condition, r->scratch + p->test, r->message,
                                     r->size);
    if (status != AD_OK) return status;
    *steps = i;
    if (!is_true(dtype, condition)) return AD_OK;
    if (i == c->limit) return explain_limit(c->g->name, i, r->message, r->size);
    aim(r, i, i);
    status = plan_continue(p->step, r->in, r->out, r->scratch + p->work, r->message, r->size);
    if (status != AD_OK) return status;
    turn(r);
  }
}

/* Rows that no step has written. */
static void clear_rest(scan_run *r, int64_t n) {
  const carrier *c = r->p->c;
  for (int j = 0; j < c->n_out && n < c->n; j++)
    if (role_out(c)[j] == ROLE_EACH && r->z[j])
      memset((char *)r->z[j] + (size_t)n*r->p->stack_row[j], 0, (size_t)(c->n - n)*r->p->stack_row[j]);
}

static ad_status run_scan(const prepared *base, const void *const x[], void *const z[], char *scratch,
                          char *message, size_t size) {
  const scan *p = (const scan *)base;
  const carrier *c = p->c;
  scan_run r = { .p = p, .x = x, .z = z, .scratch = scratch, .message = message, .size = size };
  r.in = (const void **)(void *)(scratch + p->in);
  r.out = (void **)(void *)(scratch + p->out);
  r.set[0] = scratch, r.set[1] = scratch + p->body.state_bytes;
  plan_begin(p->step, scratch + p->work);
  if (p->condition) plan_begin(p->condition, scratch + p->test);
  for (int k = 0; k < c->n_in; k++) r.in[k] = x[k];
  for (int j = 0; j < p->outputs; j++) r.out[j] = NULL;
  int64_t n = 0;
  ad_status status = c->kind == CARRIER_LOOP ? AD_OK : scan_steps(c, x, &n, message, size);
  if (status == AD_OK) status = c->kind == CARRIER_LOOP ? run_while(&r, &n) : run_steps(&r, n);
  if (status != AD_OK) return status;
  for (int k = 0; k < p->body.states; k++)
    if (z[p->body.state_out[k]])
      copy_state(z[p->body.state_out[k]], r.in[p->body.state_in[k]], scan_state_size(&p->body, k));
  if (c->counted) clear_rest(&r, n);
  if (c->kind == CARRIER_LOOP && z[c->n_out]) memcpy(z[c->n_out], &n, sizeof n);
  return AD_OK;
}

/* --- making ready --------------------------------------------------------------------------------------- */

/* A condition that fails ends the loop, so it is looked at once more than there are steps. */
static void scan_parts(const prepared *base, plan_parts *parts) {
  const scan *p = (const scan *)base;
  const carrier *c = p->c;
  parts->loop = true;
  parts->open = c->kind == CARRIER_LOOP || c->n < 0;
  parts->at_most = c->counted && !parts->open;
  parts->steps = parts->open ? -1 : c->n;
  parts_add(parts, p->step, PART_VALUE, parts->open ? 1 : (double)c->n);
  parts_add(parts, p->condition, PART_SECOND, 1);
}

static void free_scan(prepared *base) {
  scan *p = (scan *)base;
  const ad_allocator a = base->allocator;
  memory_release(&a, p->stack_row, (size_t)p->outputs*sizeof *p->stack_row + 1);
  scan_body_close(&p->body, &a);
  memory_release(&a, p, sizeof *p);
}

/* All states go on, and those outputs that somebody wants. */
static ad_status plan_step_of(scan *p, const preparation *q) {
  const carrier *c = q->c;
  ad_function *f = c->r ? c->r : c->f;
  bool *wanted = memory_get(&q->allocator, (size_t)p->outputs + 1);
  if (!wanted) return AD_ERROR_MEMORY;
  for (int j = 0; j < p->outputs; j++) {
    const bool stacked = j >= c->n_out || role_out(c)[j] == ROLE_EACH;
    wanted[j] = !stacked || q->wanted[j < c->n_out ? j : j + p->body.states];
    if (stacked) p->stack_row[j] = row_bytes(f, f->out[j]);
  }
  ad_status status = function_plan(f, wanted, &p->step);
  memory_release(&q->allocator, wanted, (size_t)p->outputs + 1);
  if (status == AD_OK && c->kind == CARRIER_LOOP) status = function_plan(c->g, NULL, &p->condition);
  return status;
}

ad_status prepare_scan(const preparation *q, prepared **result) {
  const carrier *c = q->c;
  scan *p = memory_get_zeroed(&q->allocator, 1, sizeof *p);
  if (!p) return AD_ERROR_MEMORY;
  p->base = (prepared){ run_scan, free_scan, scan_parts, q->allocator, 0 };
  p->c = c;
  p->records = carrier_has_record(c);
  p->outputs = c->r ? c->r->n_out : c->n_out;
  p->stack_row = memory_get_zeroed(&q->allocator, (size_t)p->outputs*sizeof *p->stack_row + 1, 1);
  ad_status status = p->stack_row && scan_body_open(&p->body, q, c->f) ? plan_step_of(p, q) : AD_ERROR_MEMORY;
  if (status != AD_OK) {
    free_scan(&p->base);
    return status;
  }
  p->in = round_up(2*p->body.state_bytes);
  p->out = p->in + round_up((size_t)c->n_in*sizeof(void *));
  p->work = p->out + round_up((size_t)p->outputs*sizeof(void *));
  p->test = p->work + round_up(p->step->workspace);
  p->base.scratch = p->test + (p->condition ? p->condition->workspace : 0);
  *result = &p->base;
  return AD_OK;
}
