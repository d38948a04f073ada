/* nonfinite_carrier.c -- going down into calls, branches, maps and loops, forwards and in their adjoints: the
 * first run of the function inside that gives something that is not finite is looked at, operation by
 * operation. */
#include "run/nonfinite.h"
#include "function/derived.h"
#include "run/carrier.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- runs of one function ------------------------------------------------------------------------------- */

typedef struct stage {
  ad_function *f;
  const plan *p;
  ad_allocator allocator;
  const void **in;
  void **out;                       /* memory of the stage's own */
  char *block, *work;
  size_t bytes;
  char message[160];
} stage;

static const tape_type *input(const ad_function *f, int k) { return node_type(f->body, f->in[k]); }
static const tape_type *output(const ad_function *f, int j) { return node_type(f->body, f->out[j]); }

static ad_status open_stage(stage *s, ad_function *f) {
  *s = (stage){ .f = f, .allocator = f->body->allocator };
  ad_status status = function_plan(f, NULL, &s->p);
  if (status != AD_OK) return status;
  const size_t lists = round_up(((size_t)f->n_in + (size_t)f->n_out)*sizeof(void *));
  size_t outputs = 0;
  for (int j = 0; j < f->n_out; j++) outputs += round_up(output(f, j)->bytes);
  s->bytes = 64 + lists + outputs + s->p->workspace;
  s->block = memory_get_zeroed(&s->allocator, s->bytes, 1);
  if (!s->block) return AD_ERROR_MEMORY;
  char *at = s->block + (64 - (uintptr_t)s->block%64)%64;
  s->in = (const void **)(void *)at;
  s->out = (void **)(void *)(at + (size_t)f->n_in*sizeof(void *));
  at += lists;
  for (int j = 0; j < f->n_out; j++) {
    s->out[j] = at;
    at += round_up(output(f, j)->bytes);
  }
  s->work = at;
  return AD_OK;
}

static void close_stage(stage *s) { memory_release(&s->allocator, s->block, s->bytes); }

static ad_status run(stage *s) {
  return plan_run(s->p, s->in, s->out, s->work, s->message, sizeof s->message);
}

static bool is_finite(const stage *s) {
  for (int j = 0; j < s->f->n_out; j++)
    if (nonfinite_element(&output(s->f, j)->type, s->out[j]) >= 0) return false;
  return true;
}

/* Looks at this run of the function; the path goes on with text. */
__attribute__((format(printf, 5, 6)))
static ad_status enter(ad_nonfinite *r, ad_function *f, const void *const in[], int64_t step,
                       const char *format, ...) {
  const size_t length = strlen(r->path);
  const int64_t outer = r->step;
  va_list list;
  va_start(list, format);
  vsnprintf(r->path + length, sizeof r->path - length, format, list);
  va_end(list);
  if (step >= 0) r->step = step;
  const ad_status status = nonfinite_examine(r, f, in);
  if (r->found) return status;
  r->path[length] = 0;
  r->step = outer;
  return status;
}

/* --- the carrier at hand -------------------------------------------------------------------------------- */

typedef struct descent {
  ad_nonfinite *r;
  const carrier *c;
  const void **x;                   /* values of the operands */
  int n;
  ad_allocator allocator;
  ad_function *f;                   /* what it runs: the function, or its vjp */
  ad_tape *t;                       /* where deriving that leaves its errors */
  bool *in, *out, *sums;            /* of an adjoint: inputs and outputs that take part */
  size_t flags;
} descent;

/* Which operand is input k of what is run: selectors stand between the inputs and the cotangents. */
static const void *operand(const descent *d, int k) {
  return d->x[k < d->c->n_in ? k : k + selectors(d->c)];
}

static bool second_side(const descent *d) {
  return d->c->kind == CARRIER_BRANCH && !*(const unsigned char *)d->x[d->c->n_in];
}

/* An adjoint's vjp is derived from f whatever part of it the carrier was made to run; a scan that keeps
 * values for its adjoint computes them, too. */
static ad_status choose_function(descent *d) {
  const carrier *c = d->c;
  d->f = second_side(d) ? c->g : c->r && !c->adjoint ? c->r : c->f;
  if (!c->adjoint) return AD_OK;
  const size_t n = (size_t)c->n_in, m = (size_t)c->n_out;
  d->flags = 2*n + m + 1;
  d->in = memory_get_zeroed(&d->allocator, d->flags, 1);
  d->t = ad_tape_new_with(&d->allocator);
  if (!d->in || !d->t) return AD_ERROR_MEMORY;
  d->sums = d->in + n;
  d->out = d->sums + n;
  if (c->kind == CARRIER_SCAN) carrier_step_flags(c, d->in, d->out, d->sums);
  else {
    memcpy(d->in, active_in(c), n);
    memcpy(d->out, active_out(c), m);
  }
  memset(d->sums, 0, n);
  d->f = derived_vjp(d->t, d->f, d->in, d->out, d->sums);
  return d->f ? AD_OK : ad_tape_status(d->t);
}

static ad_status descend_call(descent *d) {
  for (int k = 0; k < d->f->n_in; k++) d->x[k] = operand(d, k);
  return enter(d->r, d->f, d->x, -1, " > %s", d->f->name);
}

/* The next of a stage's runs is looked at when it fails, or gives what is not finite. */
static ad_status run_and_look(descent *d, stage *s, int64_t step, const char *what) {
  const ad_status status = run(s);
  if (status == AD_OK && is_finite(s)) return AD_OK;
  const ad_status inside = enter(d->r, s->f, s->in, step, " > %s %lld of %s", what, (long long)step,
                                 s->f->name);
  return status == AD_OK || d->r->found ? inside : status;
}

static ad_status descend_map(descent *d) {
  stage s;
  const carrier *c = d->c;
  ad_status status = open_stage(&s, d->f);
  for (int64_t i = 0; i < c->n && status == AD_OK && !d->r->found; i++) {
    for (int k = 0; k < d->f->n_in; k++) {
      const bool each = k >= c->n_in || role_in(c)[k] == ROLE_EACH;
      s.in[k] = (const char *)operand(d, k) + (each ? (size_t)i*input(d->f, k)->bytes : 0);
    }
    status = run_and_look(d, &s, i, "instance");
  }
  close_stage(&s);
  return status;
}

/* --- loops ---------------------------------------------------------------------------------------------- */

/* The states of one moment, each where it belongs among the body's inputs. */
static size_t states_bytes(const carrier *c) {
  size_t bytes = 0;
  for (int k = 0; k < c->n_in; k++)
    if (role_in(c)[k] == ROLE_STATE) bytes += round_up(input(c->f, k)->bytes);
  return bytes;
}

static void aim_states(const carrier *c, const char *states, const void *in[]) {
  for (int k = 0; k < c->n_in; k++) {
    if (role_in(c)[k] != ROLE_STATE) continue;
    in[k] = states;
    states += round_up(input(c->f, k)->bytes);
  }
}

static void save_inputs(const carrier *c, const void *const in[], char *states) {
  for (int k = 0; k < c->n_in; k++) {
    if (role_in(c)[k] != ROLE_STATE) continue;
    const size_t bytes = input(c->f, k)->bytes;
    if (bytes) memcpy(states, in[k], bytes);
    states += round_up(bytes);
  }
}

static void save_outputs(const carrier *c, void *const out[], char *states) {
  for (int j = 0; j < c->n_out; j++) {
    if (role_out(c)[j] != ROLE_STATE) continue;
    const size_t bytes = output(c->f, j)->bytes;
    if (bytes) memcpy(states, out[j], bytes);
    states += round_up(bytes);
  }
}

static void aim_rows(const descent *d, int64_t row, const void *in[]) {
  for (int k = 0; k < d->c->n_in; k++)
    if (role_in(d->c)[k] == ROLE_EACH)
      in[k] = (const char *)operand(d, k) + (size_t)row * input(d->c->f, k)->bytes;
}

static int64_t steps_of(const descent *d) {
  int64_t n = d->c->n;
  if (d->c->counted) memcpy(&n, d->x[d->c->n_in], sizeof n);
  return n < 0 ? 0 : n;
}

static int64_t row_of(const carrier *c, int64_t i, int64_t n) { return c->backwards ? n - 1 - i : i; }

/* Does a loop go on? Its condition is looked at, too. */
static ad_status condition(descent *d, stage *test, const void *const in[], int64_t i, bool *on) {
  for (int k = 0; k < test->f->n_in; k++) test->in[k] = in[k];
  const ad_status status = run_and_look(d, test, i, "condition of step");
  const tape_type *type = output(test->f, 0);
  *on = false;
  if (status != AD_OK || d->r->found) return status;
  static const unsigned char zero[8] = { 0 };
  *on = memcmp(test->out[0], zero, type->bytes) != 0;
  if (type->type.dtype == AD_F64) *on = *(const double *)test->out[0] != 0;
  if (type->type.dtype == AD_F32) *on = *(const float *)test->out[0] != 0;
  return AD_OK;
}

static ad_status run_steps(descent *d, stage *s, stage *test, char *states) {
  const carrier *c = d->c;
  const int64_t n = test ? c->limit : steps_of(d);
  ad_status status = AD_OK;
  bool on = true;
  for (int k = 0; k < c->n_in; k++) s->in[k] = d->x[k];
  for (int64_t i = 0; i < n && status == AD_OK && !d->r->found; i++) {
    if (test) status = condition(d, test, s->in, i, &on);
    if (status != AD_OK || d->r->found || !on) break;
    aim_rows(d, row_of(c, i, n), s->in);
    status = run_and_look(d, s, i, "step");
    save_outputs(c, s->out, states);
    aim_states(c, states, s->in);
  }
  return status;
}

static ad_status descend_scan(descent *d) {
  stage s, test = { 0 };
  const bool loop = d->c->kind == CARRIER_LOOP;
  const size_t bytes = states_bytes(d->c) + 1;
  char *states = memory_get(&d->allocator, bytes);
  ad_status status = open_stage(&s, d->f);
  if (status == AD_OK && loop) status = open_stage(&test, d->c->g);
  if (!states) status = AD_ERROR_MEMORY;
  if (status == AD_OK) status = run_steps(d, &s, loop ? &test : NULL, states);
  close_stage(&s);
  if (loop && test.f) close_stage(&test);
  memory_release(&d->allocator, states, bytes);
  return status;
}

/* All states, one set behind the other, from the start to before the last step. */
static ad_status store_states(descent *d, int64_t n, char *states) {
  const carrier *c = d->c;
  const size_t set = states_bytes(c);
  stage s;
  ad_status status = open_stage(&s, c->f);
  for (int k = 0; k < c->n_in && status == AD_OK; k++) s.in[k] = d->x[k];
  if (status == AD_OK && n) save_inputs(c, s.in, states);
  for (int64_t i = 0; i + 1 < n && status == AD_OK; i++) {
    aim_states(c, states + (size_t)i*set, s.in);
    aim_rows(d, row_of(c, i, n), s.in);
    status = run(&s);
    save_outputs(c, s.out, states + (size_t)(i + 1)*set);
  }
  close_stage(&s);
  return status;
}

/* Cotangents of the outputs of step i: of states what the step behind it gave, bars; of rows what the adjoint
 * was given. first: the step is the last one, whose states' cotangents were given, too. */
static void aim_cotangents(const descent *d, int64_t row, bool first, const char *bars, const void *in[]) {
  const carrier *c = d->c;
  int input_at = c->n_in, given = c->n_in + selectors(c);
  for (int j = 0; j < c->n_out; j++) {
    const bool active = active_out(c)[j], state = role_out(c)[j] == ROLE_STATE;
    const char *x = active ? d->x[given++] : NULL;
    if (x && !state) x += (size_t)row*output(c->f, j)->bytes;
    if (d->out[j]) in[input_at++] = state && !first ? bars : x;
    if (state) bars += round_up(output(c->f, j)->bytes);
  }
}

/* Cotangents of states that came out of a step, in the order of states. */
static void save_bars(const descent *d, void *const out[], char *bars) {
  const carrier *c = d->c;
  for (int k = 0, b = 0; k < c->n_in; k++) {
    const size_t bytes = input(c->f, k)->bytes;
    if (role_in(c)[k] == ROLE_STATE) {
      if (d->in[k] && bytes) memcpy(bars, out[b], bytes);
      bars += round_up(bytes);
    }
    b += d->in[k];
  }
}

static ad_status descend_scan_adjoint(descent *d) {
  const carrier *c = d->c;
  const int64_t n = steps_of(d);
  const size_t set = states_bytes(c);
  stage s;
  ad_status status = open_stage(&s, d->f);
  char *states = memory_get_zeroed(&d->allocator, (size_t)n + 2, set + 1),
       *bars = states ? states + (size_t)n * set : NULL;
  if (!states) status = AD_ERROR_MEMORY;
  if (status == AD_OK) status = store_states(d, n, states);
  for (int k = 0; k < c->n_in && status == AD_OK; k++) s.in[k] = d->x[k];
  for (int64_t i = n; i-- > 0 && status == AD_OK && !d->r->found;) {
    aim_states(c, states + (size_t)i*set, s.in);
    aim_rows(d, row_of(c, i, n), s.in);
    aim_cotangents(d, row_of(c, i, n), i + 1 == n, bars, s.in);
    status = run_and_look(d, &s, i, "step");
    save_bars(d, s.out, bars);
  }
  close_stage(&s);
  memory_release(&d->allocator, states, ((size_t)n + 2)*(set + 1));
  return status;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static ad_status descend(descent *d) {
  const ad_status status = choose_function(d);
  if (status != AD_OK) return status;
  switch (d->c->kind) {
    case CARRIER_MAP:  return descend_map(d);
    case CARRIER_SCAN:
    case CARRIER_LOOP: return d->c->adjoint ? descend_scan_adjoint(d) : descend_scan(d);
    default:           return descend_call(d);
  }
}

ad_status nonfinite_descend(ad_nonfinite *r, ad_tape *t, uint32_t i) {
  descent d = { .r = r, .allocator = t->allocator };
  size_t size;
  const uint32_t *x = node_operands(t, i, &d.n);
  d.c = node_attribute(t, i, &size);
  const size_t bytes = (size_t)d.n*sizeof *d.x + 1;
  d.x = memory_get(&d.allocator, bytes);
  ad_status status = AD_ERROR_MEMORY;
  if (d.x) {
    for (int k = 0; k < d.n; k++) d.x[k] = node_data(t, x[k]);
    status = descend(&d);
  }
  if (status != AD_OK && !r->message[0])
    snprintf(r->message, sizeof r->message, "%s: %s", d.c->f->name,
             d.t && ad_tape_status(d.t) != AD_OK ? ad_tape_message(d.t) : ad_status_sentence(status));
  memory_release(&d.allocator, d.x, bytes);
  memory_release(&d.allocator, d.in, d.flags);
  ad_tape_free(d.t);
  return status;
}
