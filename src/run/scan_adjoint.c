/* scan_adjoint.c -- cotangents through scans and loops: the steps backwards, each with the state it began
 * with, which comes from the scan's record, or is computed again by the schedule that the policy asks for. */
#include "run/revolve.h"
#include "adit/control.h"
#include "run/scan.h"

#include <stdio.h>
#include <string.h>

typedef struct scan_adjoint {
  prepared base;
  const carrier *c;
  scan_body body;
  const plan *step;                 /* the vjp of the body, with sums for shared inputs */
  const plan *advance;              /* the body, states alone */
  int inputs, outputs;              /* of the vjp */
  int states_given;                 /* operands: where the record begins, states and then values */
  int values, first_value;          /* values kept of each step; which input of the vjp the first one is */
  size_t *value_row;                /* bytes of a row of each */
  /* of each output of the body: which input of the vjp its cotangent is, and which operand that is at first
   * (-1: none, zero) */
  int *seed, *operand;
  /* of each input of the body: which output of the vjp its cotangent is, which result of the adjoint, and
   * which input of the vjp its sum is (-1: none) */
  int *bar, *result, *sum;
  size_t *out_row, lists;
  size_t next_bytes;                /* bytes of one set of state cotangents */
  size_t *bar_at;                   /* of each state, in that set */
  size_t at_bars, at_in, at_out, at_sets, at_step, at_advance, at_rows;
  int64_t rows;                     /* of the scratch, for states; -1: taken when it runs */
} scan_adjoint;

typedef struct adjoint_run {
  const scan_adjoint *p;
  const void *const *x;
  void *const *z;
  char *scratch, *row;              /* memory for states */
  const void **in;
  void **out;
  int64_t n, done;                  /* steps in all, and backwards until now */
  char *message;
  size_t size;
} adjoint_run;

/* --- steps ---------------------------------------------------------------------------------------------- */

/* Stacked inputs of step i. */
static void aim(const adjoint_run *r, int64_t i) {
  const scan_adjoint *p = r->p;
  const int64_t at = p->c->backwards ? r->n - 1 - i : i;
  for (int k = 0; k < p->c->n_in; k++)
    if (p->body.row[k]) r->in[k] = (const char *)r->x[k] + (size_t)at*p->body.row[k];
}

static void use_states(const adjoint_run *r, const char *states) {
  const scan_body *b = &r->p->body;
  for (int k = 0; k < b->states; k++) r->in[b->state_in[k]] = states + b->state_at[k];
}

/* Computes states from those at `from`, steps i to j, to `to`; from and to may be the same. */
static ad_status advance(const adjoint_run *r, const char *from, char *to, int64_t i, int64_t j) {
  const scan_adjoint *p = r->p;
  const scan_body *b = &p->body;
  char *set[2] = { r->scratch + p->at_sets, r->scratch + p->at_sets + b->state_bytes };
  if (i == j && from != to) memcpy(to, from, b->state_bytes);
  for (int64_t k = i; k < j; k++) {
    char *out = k + 1 == j && from != to ? to : set[k&1];
    aim(r, k);
    use_states(r, from);
    for (int o = 0; o < p->c->n_out; o++) r->out[o] = NULL;
    for (int s = 0; s < b->states; s++) r->out[b->state_out[s]] = out + b->state_at[s];
    const ad_status status = plan_continue(p->advance, r->in, r->out, r->scratch + p->at_advance, r->message,
                                           r->size);
    if (status != AD_OK) return status;
    from = out;
  }
  if (i < j && from != to) memcpy(to, from, b->state_bytes);
  return AD_OK;
}

/* Where the state cotangents are that came out of the last step, and where those of the next one go. */
static char *bars(const adjoint_run *r, int64_t done) {
  return r->scratch + r->p->at_bars + (size_t)(done&1)*r->p->next_bytes;
}

/* Step i backwards; its states are in r->in. */
static ad_status step_back(adjoint_run *r, int64_t i) {
  const scan_adjoint *p = r->p;
  const carrier *c = p->c;
  const scan_body *b = &p->body;
  const int64_t at = c->backwards ? r->n - 1 - i : i;
  aim(r, i);
  for (int j = 0; j < c->n_out; j++)
    if (role_out(c)[j] == ROLE_EACH && p->operand[j] >= 0)
      r->in[p->seed[j]] = (const char *)r->x[p->operand[j]] + (size_t)at*p->out_row[j];
  for (int k = 0; k < p->values; k++)
    r->in[p->first_value + k] = (const char *)r->x[p->states_given + b->states + k]
        + (size_t)at*p->value_row[k];
  for (int k = 0; k < p->outputs; k++) r->out[k] = NULL;
  for (int k = 0; k < c->n_in; k++) {
    if (p->result[k] < 0 || !r->z[p->result[k]] || role_in(c)[k] == ROLE_STATE) continue;
    char *z = r->z[p->result[k]];
    r->out[p->bar[k]] = role_in(c)[k] == ROLE_EACH ? z + (size_t)at*b->row[k] : z;
    if (p->sum[k] >= 0) r->in[p->sum[k]] = z;
  }
  for (int k = 0; k < b->states; k++) {
    if (p->seed[b->state_out[k]] < 0) continue;
    r->in[p->seed[b->state_out[k]]] = bars(r, r->done) + p->bar_at[k];
    r->out[p->bar[b->state_in[k]]] = bars(r, r->done + 1) + p->bar_at[k];
  }
  r->done++;
  return plan_continue(p->step, r->in, r->out, r->scratch + p->at_step, r->message, r->size);
}

/* The start: what the caller gave for the end states, and empty sums. */
static void begin(adjoint_run *r) {
  const scan_adjoint *p = r->p;
  const carrier *c = p->c;
  const scan_body *b = &p->body;
  for (int k = 0; k < b->states; k++) {
    const int j = b->state_out[k];
    if (p->seed[j] < 0) continue;
    char *to = bars(r, 0) + p->bar_at[k];
    if (p->operand[j] >= 0) copy_state(to, r->x[p->operand[j]], scan_state_size(b, k));
    else memset(to, 0, scan_state_size(b, k));
  }
  for (int k = 0; k < c->n_in; k++) {
    if (p->result[k] < 0 || !r->z[p->result[k]] || role_in(c)[k] == ROLE_STATE) continue;
    const size_t bytes = node_type(c->f->body, c->f->in[k])->bytes;
    char *z = r->z[p->result[k]];
    if (role_in(c)[k] == ROLE_SHARED) memset(z, 0, bytes);
    else if (r->n < c->n) memset(z + (size_t)r->n*bytes, 0, (size_t)(c->n - r->n)*bytes);
  }
}

static void finish(const adjoint_run *r) {
  const scan_adjoint *p = r->p;
  const scan_body *b = &p->body;
  for (int k = 0; k < b->states; k++) {
    const int i = b->state_in[k];
    if (p->result[i] >= 0 && r->z[p->result[i]])
      copy_state(r->z[p->result[i]], bars(r, r->done) + p->bar_at[k], scan_state_size(b, k));
  }
}

/* --- schedules ------------------------------------------------------------------------------------------ */

static ad_status run_recorded(adjoint_run *r) {
  const scan_adjoint *p = r->p;
  const scan_body *b = &p->body;
  ad_status status = AD_OK;
  for (int64_t i = r->n; i-- > 0 && status == AD_OK;) {
    const int64_t at = p->c->backwards ? r->n - 1 - i : i;
    for (int k = 0; k < b->states; k++)
      r->in[b->state_in[k]] = (const char *)r->x[p->states_given + k] + (size_t)at*scan_state_size(b, k);
    status = step_back(r, i);
  }
  return status;
}

static char *row(const adjoint_run *r, int64_t k) { return r->row + (size_t)k*r->p->body.state_bytes; }

static void gather_start(const adjoint_run *r, char *to) {
  const scan_body *b = &r->p->body;
  for (int k = 0; k < b->states; k++)
    copy_state(to + b->state_at[k], r->x[b->state_in[k]], scan_state_size(b, k));
}

/* Steps [from, to) backwards, their first states in row 0 of `rows`, which has room for all of them. */
static ad_status run_stored(adjoint_run *r, int64_t from, int64_t to, int64_t rows) {
  ad_status status = AD_OK;
  for (int64_t i = from; i + 1 < to && status == AD_OK; i++)
    status = advance(r, row(r, rows + i - from), row(r, rows + i + 1 - from), i, i + 1);
  for (int64_t i = to; i-- > from && status == AD_OK;) {
    use_states(r, row(r, rows + i - from));
    status = step_back(r, i);
  }
  return status;
}

/* Every k-th state in the first rows, those of k steps at a time behind them. */
static ad_status run_every(adjoint_run *r, int64_t k) {
  const int64_t parts = (r->n + k - 1)/k;
  ad_status status = AD_OK;
  gather_start(r, row(r, 0));
  for (int64_t i = 0; i + 1 < parts && status == AD_OK; i++)
    status = advance(r, row(r, i), row(r, i + 1), i*k, (i + 1)*k);
  for (int64_t i = parts; i-- > 0 && status == AD_OK;) {
    memcpy(row(r, parts), row(r, i), r->p->body.state_bytes);
    status = run_stored(r, i*k, (i + 1)*k < r->n ? (i + 1)*k : r->n, parts);
  }
  return status;
}

/* Rows [0, s) are snapshots, row s is where the sweep is. */
static ad_status run_binomial(adjoint_run *r, int64_t s, int64_t *stack) {
  revolve v;
  revolve_action a;
  ad_status status = AD_OK;
  revolve_begin(&v, r->n, s, stack);
  gather_start(r, row(r, s));
  while (status == AD_OK && (a = revolve_next(&v)).kind != REVOLVE_DONE) switch (a.kind) {
    case REVOLVE_STORE:   memcpy(row(r, a.slot), row(r, s), r->p->body.state_bytes); break;
    case REVOLVE_RESTORE: memcpy(row(r, s), row(r, a.slot), r->p->body.state_bytes); break;
    case REVOLVE_ADVANCE: status = advance(r, row(r, s), row(r, s), a.from, a.to); break;
    default:
      use_states(r, row(r, s));
      status = step_back(r, a.from);
  }
  return status;
}

/* How many sets of states the schedule needs for n steps, and snapshots for the binomial one. */
static int64_t rows_for(const scan_adjoint *p, int64_t n, int64_t *snapshots) {
  const carrier *c = p->c;
  *snapshots = 0;
  if (c->recorded || n == 0) return 0;
  if (c->policy == KEEP_STATES || c->policy == KEEP_ALL) return n;
  if (c->policy == KEEP_EVERY) return (n + c->keep - 1)/c->keep + (c->keep < n ? c->keep : n);
  const int64_t size = p->body.state_bytes ? (int64_t)p->body.state_bytes : 1, most = c->bytes/size;
  int64_t s = c->keep && (c->bytes == 0 || c->keep < most) ? c->keep : most;
  if (s < 1) s = 1;
  *snapshots = s < n ? s : n;
  return *snapshots + 1;
}

static ad_status run_schedule(adjoint_run *r, int64_t rows, int64_t snapshots) {
  const scan_adjoint *p = r->p;
  const carrier *c = p->c;
  if (r->n == 0) return AD_OK;
  if (c->recorded) return run_recorded(r);
  if (c->policy == KEEP_EVERY) return run_every(r, c->keep);
  if (c->policy == KEEP_BINOMIAL)
    return run_binomial(r, snapshots, (int64_t *)(void *)(r->row + (size_t)rows*p->body.state_bytes));
  gather_start(r, row(r, 0));
  return run_stored(r, 0, r->n, 0);
}

static size_t bytes_for(const scan_adjoint *p, int64_t rows, int64_t snapshots) {
  const size_t each = p->body.state_bytes;
  if (each && (uint64_t)rows > (uint64_t)PTRDIFF_MAX/2/each) return SIZE_MAX;
  return (size_t)rows*each + round_up(revolve_stack_bytes(snapshots));
}

/* Do the states kept, the scan's own record or those computed again, fit into the caller's budget? */
static bool within_budget(const adjoint_run *r, int64_t rows) {
  const scan_adjoint *p = r->p;
  const carrier *c = p->c;
  const size_t bytes = bytes_for(p, c->recorded ? r->n : rows, 0);
  if (c->bytes == 0 || c->policy == KEEP_BINOMIAL || bytes <= (size_t)c->bytes) return true;
  if (r->message) snprintf(r->message, r->size, "%s: the states of %lld steps take %zu bytes, of %lld",
                           c->f->name, (long long)r->n, bytes, (long long)c->bytes);
  return false;
}

/* The memory for states is part of the workspace when the number of steps is known beforehand. */
static ad_status run_with_memory(adjoint_run *r) {
  const scan_adjoint *p = r->p;
  int64_t snapshots;
  const int64_t rows = rows_for(p, r->n, &snapshots);
  const size_t bytes = bytes_for(p, rows, snapshots);
  if (!within_budget(r, rows)) return AD_ERROR_LIMIT;
  if (p->rows >= 0) {
    r->row = r->scratch + p->at_rows;
    return run_schedule(r, rows, snapshots);
  }
  if (bytes == SIZE_MAX) return AD_ERROR_SIZE;
  char *block = memory_get(&p->base.allocator, bytes + 64);
  if (!block) return AD_ERROR_MEMORY;
  r->row = block + (64 - (uintptr_t)block%64)%64;
  const ad_status status = run_schedule(r, rows, snapshots);
  memory_release(&p->base.allocator, block, bytes + 64);
  return status;
}

static ad_status run_adjoint(const prepared *base, const void *const x[], void *const z[], char *scratch,
                             char *message, size_t size) {
  const scan_adjoint *p = (const scan_adjoint *)base;
  adjoint_run r = { .p = p, .x = x, .z = z, .scratch = scratch, .message = message, .size = size };
  r.in = (const void **)(void *)(scratch + p->at_in);
  r.out = (void **)(void *)(scratch + p->at_out);
  for (int k = 0; k < p->inputs; k++) r.in[k] = k < p->c->n_in ? x[k] : NULL;
  ad_status status = scan_steps(p->c, x, &r.n, message, size);
  if (status != AD_OK) return status;
  plan_begin(p->step, scratch + p->at_step);
  plan_begin(p->advance, scratch + p->at_advance);
  begin(&r);
  status = run_with_memory(&r);
  if (status == AD_OK) finish(&r);
  return status;
}

/* --- making ready --------------------------------------------------------------------------------------- */

/* Steps that the schedules above compute again. */
static int64_t steps_again(const carrier *c, int64_t n, int64_t snapshots) {
  if (c->recorded || n <= 1) return 0;
  if (c->policy == KEEP_BINOMIAL) return ad_binomial_cost(n, snapshots);
  if (c->policy != KEEP_EVERY) return n - 1;
  const int64_t parts = (n + c->keep - 1)/c->keep;
  return (parts - 1)*c->keep + n - parts;
}

static void adjoint_parts(const prepared *base, plan_parts *parts) {
  const scan_adjoint *p = (const scan_adjoint *)base;
  const carrier *c = p->c;
  int64_t snapshots = 0;
  parts->loop = true;
  parts->open = c->n < 0;
  parts->at_most = c->counted && !parts->open;
  parts->steps = parts->open ? -1 : c->n;
  parts->policy = c->policy;
  parts->recorded = c->recorded;
  if (!parts->open) parts->states = rows_for(p, c->n, &snapshots);
  parts->stored = (double)parts->states*(double)p->body.state_bytes;
  parts->again = parts->open ? -1 : steps_again(c, c->n, snapshots);
  parts_add(parts, p->step, PART_COTANGENTS, parts->open ? 1 : (double)c->n);
  parts_add(parts, p->advance, PART_AGAIN, parts->open ? 1 : (double)parts->again);
}

static void free_adjoint(prepared *base) {
  scan_adjoint *p = (scan_adjoint *)base;
  const ad_allocator a = base->allocator;
  memory_release(&a, p->out_row, p->lists);
  memory_release(&a, p->value_row, (size_t)p->values*sizeof *p->value_row + 1);
  scan_body_close(&p->body, &a);
  memory_release(&a, p, sizeof *p);
}

static bool open_lists(scan_adjoint *p, const preparation *q) {
  const size_t n = (size_t)p->c->n_in, m = (size_t)p->c->n_out, s = (size_t)p->body.states;
  p->lists = m*sizeof *p->out_row + s*sizeof *p->bar_at + (2*m + 3*n)*sizeof(int) + 1;
  p->out_row = memory_get(&q->allocator, p->lists);
  if (!p->out_row) return false;
  p->bar_at = p->out_row + m;
  p->seed = (int *)(p->bar_at + s);
  p->operand = p->seed + m;
  p->bar = p->operand + m;
  p->result = p->bar + n;
  p->sum = p->result + n;
  return true;
}

static void number_all(scan_adjoint *p, const bool in[], const bool out[], const bool sums[]) {
  const carrier *c = p->c;
  int input = c->n_in, operand = c->n_in + selectors(c), output = 0, result = 0;
  for (int j = 0; j < c->n_out; j++) {
    p->out_row[j] = node_type(c->f->body, c->f->out[j])->bytes;
    p->seed[j] = out[j] ? input++ : -1;
    p->operand[j] = active_out(c)[j] ? operand++ : -1;
  }
  for (int k = 0; k < c->n_in; k++) {
    p->bar[k] = in[k] ? output++ : -1;
    p->result[k] = active_in(c)[k] ? result++ : -1;
    p->sum[k] = sums[k] ? input++ : -1;
  }
  p->inputs = input;
  p->outputs = output;
  p->states_given = operand;
  for (int k = 0; k < p->body.states; k++) {
    p->bar_at[k] = p->next_bytes;
    p->next_bytes += round_up(scan_state_size(&p->body, k));
  }
}

/* Inputs of the vjp beyond those of any vjp are values that the scan has kept. */
static bool find_values(scan_adjoint *p, const ad_function *g) {
  p->first_value = p->inputs;
  const int values = g->n_in - p->inputs;
  p->value_row = memory_get(&p->base.allocator, (size_t)values*sizeof *p->value_row + 1);
  if (!p->value_row) return false;
  p->values = values;
  for (int k = 0; k < values; k++) p->value_row[k] = node_type(g->body, g->in[p->inputs + k])->bytes;
  p->inputs = g->n_in;
  return true;
}

/* Of what comes out of a step all states are wanted, and the rest if the result is. */
static ad_status plan_steps(scan_adjoint *p, const preparation *q, const bool in[], const bool out[],
                            const bool sums[], bool wanted[]) {
  const carrier *c = q->c;
  ad_status status;
  ad_function *g = prepare_vjp(q, c->f, in, out, sums, &status);
  if (!g) return status;
  if (!find_values(p, g)) return AD_ERROR_MEMORY;
  for (int k = 0; k < c->n_in; k++)
    if (p->bar[k] >= 0)
      wanted[p->bar[k]] = role_in(c)[k] == ROLE_STATE || (p->result[k] >= 0 && q->wanted[p->result[k]]);
  status = function_plan(g, wanted, &p->step);
  for (int j = 0; j < c->n_out; j++) wanted[j] = role_out(c)[j] == ROLE_STATE;
  return status == AD_OK ? function_plan(c->f, wanted, &p->advance) : status;
}

static void lay_out(scan_adjoint *p) {
  const carrier *c = p->c;
  const int outputs = p->outputs > c->n_out ? p->outputs : c->n_out;
  p->at_in = 2*p->next_bytes;
  p->at_out = p->at_in + round_up((size_t)p->inputs*sizeof(void *));
  p->at_sets = p->at_out + round_up((size_t)outputs*sizeof(void *));
  p->at_step = p->at_sets + round_up(2*p->body.state_bytes);
  p->at_advance = p->at_step + round_up(p->step->workspace);
  p->at_rows = p->at_advance + round_up(p->advance->workspace);
  p->base.scratch = p->at_rows;
  p->rows = -1;
  if (c->n < 0 || (c->counted && c->policy != KEEP_BINOMIAL)) return;
  int64_t snapshots;
  const int64_t rows = rows_for(p, c->n, &snapshots);
  const size_t bytes = bytes_for(p, rows, snapshots);
  if (bytes > PTRDIFF_MAX/4) return;
  p->rows = rows;
  p->base.scratch += round_up(bytes);
}

ad_status prepare_scan_adjoint(const preparation *q, prepared **result) {
  const carrier *c = q->c;
  const size_t n = (size_t)c->n_in, m = (size_t)c->n_out, flags = 3*n + 2*m + 1;
  scan_adjoint *p = memory_get_zeroed(&q->allocator, 1, sizeof *p);
  bool *in = memory_get_zeroed(&q->allocator, flags, 1);
  ad_status status = AD_ERROR_MEMORY;
  if (p) {
    p->base = (prepared){ run_adjoint, free_adjoint, adjoint_parts, q->allocator, 0 };
    p->c = c;
  }
  if (p && in && scan_body_open(&p->body, q, c->f) && open_lists(p, q)) {
    bool *sums = in + n, *out = sums + n, *wanted = out + m;
    carrier_step_flags(c, in, out, sums);
    number_all(p, in, out, sums);
    status = plan_steps(p, q, in, out, sums, wanted);
  }
  memory_release(&q->allocator, in, flags);
  if (status == AD_OK) {
    lay_out(p);
    *result = &p->base;
  } else if (p) free_adjoint(&p->base);
  return status;
}

int64_t ad_binomial_cost(int64_t n, int64_t k) {
  return n <= 1 || k < 1 ? 0 : k >= n ? n - 1 : revolve_cost(n, k);
}
