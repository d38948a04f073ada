/* scan.c -- scans and loops forwards: a C loop around the written step. States of few elements are locals,
 * others two buffers of work memory that change places. */
#include "write/carriers.h"
#include "primitives/library.h"

#include <stdio.h>
#include <string.h>

/* Element counts of the body's inputs and outputs. */
static int64_t count_in(const carrier *c, int k) { return node_type(c->f->body, c->f->in[k])->count; }
static ad_dtype dtype_in(const carrier *c, int k) { return node_type(c->f->body, c->f->in[k])->type.dtype; }

/* --- states --------------------------------------------------------------------------------------------- */

bool states_open(state_texts *s, carrier_text *c, const char *name) {
  const carrier *a = c->c;
  *s = (state_texts){ .c = c, .name = name, .n = carrier_states(a) };
  s->bytes = (size_t)s->n*2*(sizeof(int) + 1) + 1;
  s->in = memory_get_zeroed(&c->u->w->allocator, s->bytes, 1);
  if (!s->in) return writer_fail(c->u->w, AD_ERROR_MEMORY, "out of memory");
  s->out = s->in + s->n;
  s->live = (bool *)(s->out + s->n);
  s->recorded = s->live + s->n;
  for (int k = 0, i = 0; k < a->n_in; k++)
    if (role_in(a)[k] == ROLE_STATE) s->in[i++] = k;
  for (int j = 0, i = 0; j < a->n_out; j++)
    if (role_out(a)[j] == ROLE_STATE) s->out[i++] = j;
  return true;
}

void states_close(state_texts *s) { memory_release(&s->c->u->w->allocator, s->in, s->bytes); }

/* Few elements are local: compilers keep them in registers where the step is inlined. */
enum { FEW_ELEMENTS = 8 };

bool text_is_local(int64_t n) { return n > 0 && n <= FEW_ELEMENTS; }

/* "R c0[2], c0_next[2];" for few elements, "R *c0 = w + .., *c0_next = ..;" for more. */
void states_declare(const state_texts *s, const bool chosen[]) {
  unit *u = s->c->u;
  for (int k = 0; k < s->n; k++) {
    if (chosen && !chosen[k]) continue;
    const ad_dtype dtype = dtype_in(s->c->c, s->in[k]);
    const int64_t n = count_in(s->c->c, s->in[k]);
    const char *type = write_type(dtype);
    if (text_is_local(n))
      unit_line(u, "%s %s%d[%lld], %s%d_next[%lld];", type, s->name, k, (long long)n, s->name, k,
                (long long)n);
    else {
      const char *one = unit_take(u, dtype, n), *two = unit_take(u, dtype, n);
      unit_line(u, "%s *%s%d = %s, *%s%d_next = %s;", type, s->name, k, one, s->name, k, two);
    }
    unit_line(u, "(void)%s%d, (void)%s%d_next;", s->name, k, s->name, k);      /* a step may leave it alone */
  }
}

void states_set(const state_texts *s, int k, const char *from) {
  const int64_t n = count_in(s->c->c, s->in[k]);
  unit_copy(s->c->u, writer_text(s->c->u->w, "%s%d", s->name, k), from, n);
}

void states_clear(const state_texts *s, int k) {
  const int64_t n = count_in(s->c->c, s->in[k]);
  if (n == 1) unit_line(s->c->u, "%s%d[0] = 0;", s->name, k);
  else unit_line(s->c->u, "for (int64_t i = 0; i < %lld; i++) %s%d[i] = 0;", (long long)n, s->name, k);
}

void text_turn(unit *u, const char *name, int k, ad_dtype dtype, int64_t n) {
  if (text_is_local(n))
    for (int64_t i = 0; i < n; i++)
      unit_line(u, "%s%d[%lld] = %s%d_next[%lld];", name, k, (long long)i, name, k, (long long)i);
  else unit_line(u, "{ %s *const before = %s%d; %s%d = %s%d_next; %s%d_next = before; }", write_type(dtype),
                 name, k, name, k, name, k, name, k);
}

/* The next states become the states. */
void states_turn(const state_texts *s, const bool chosen[]) {
  for (int k = 0; k < s->n; k++) {
    if (chosen && !chosen[k]) continue;
    text_turn(s->c->u, s->name, k, dtype_in(s->c->c, s->in[k]), count_in(s->c->c, s->in[k]));
  }
}

void states_get(const state_texts *s, int k, const char *to) {
  unit_copy(s->c->u, to, writer_text(s->c->u->w, "%s%d", s->name, k), count_in(s->c->c, s->in[k]));
}

/* --- the number of steps -------------------------------------------------------------------------------- */

void write_steps_count(carrier_text *c, const char *name) {
  const carrier *a = c->c;
  unit *u = c->u;
  if (!a->counted) {
    unit_line(u, "const int64_t %s = %lld;", name, (long long)a->n);
    unit_line(u, "(void)%s;", name);
    return;
  }
  unit_line(u, "const int64_t %s = %s[0];", name, c->x[a->n_in]);
  char condition[2*WRITE_NAME + 48], format[64];
  snprintf(condition, sizeof condition, a->n < 0 ? "%s < 0" : "%s < 0 || %s > %lld", name, name,
           (long long)a->n);
  snprintf(format, sizeof format, a->n < 0 ? ": %%lld steps" : ": %%lld steps, of %lld", (long long)a->n);
  unit_fail(u, condition, AD_ERROR_LIMIT, &(failure){ "scan", format, name, NULL });
}

/* "x + at*12": the row of a stacked array. */
const char *text_row(carrier_text *c, const char *base, int64_t count) {
  if (count == 0) return writer_text(c->u->w, "%s", base);
  if (count == 1) return writer_text(c->u->w, "(%s + at)", base);
  return writer_text(c->u->w, "(%s + at*%lld)", base, (long long)count);
}

/* --- arguments of a step -------------------------------------------------------------------------------- */

bool arguments_open(argument_texts *a, ad_writer *w, int n, int m) {
  *a = (argument_texts){ .w = w, .n = n, .m = m };
  const size_t count = (size_t)n + (size_t)m + 1;
  a->bytes = count*(sizeof(char *) + WRITE_NAME) + (size_t)m + 1;
  a->in = memory_get_zeroed(&w->allocator, a->bytes, 1);
  if (!a->in) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  a->out = a->in + n;
  a->room = (char *)(a->in + count);
  a->wanted = (bool *)(a->room + count*WRITE_NAME);
  return true;
}

void arguments_close(argument_texts *a) {
  if (a->w) memory_release(&a->w->allocator, a->in, a->bytes);
}

static const char *keep(argument_texts *a, int at, const char *address) {
  char *to = a->room + (size_t)at*WRITE_NAME;
  snprintf(to, WRITE_NAME, "%s", address);
  return to;
}

void set_in(argument_texts *a, int k, const char *address) { a->in[k] = keep(a, k, address); }
void set_out(argument_texts *a, int j, const char *address) {
  a->out[j] = keep(a, a->n + j, address);
  a->wanted[j] = true;
}

/* --- scans ---------------------------------------------------------------------------------------------- */

/* Does node i read the record of state k? The steps of an adjoint take all, but may look at some only. */
static bool reads_record(carrier_text *c, const state_texts *s, uint32_t i, int k) {
  const run_graph *g = &c->u->q.g;
  const tuple_rules *rules = node_tuple(g->t, g->node[i]);
  size_t size;
  const carrier *b = rules && !rules->run ? node_attribute(g->t, g->node[i], &size) : NULL;
  return !b || !b->adjoint || !b->recorded || b->f != c->c->f || text_step_reads(c, i, s->in[k]);
}

static bool is_record_read(carrier_text *c, const state_texts *s, int k) {
  const run_graph *g = &c->u->q.g;
  const int j = c->c->n_out + k;
  if (!carrier_has_record(c->c) || j >= c->results || !c->z[j]) return false;
  for (uint32_t e = g->user_start[c->node]; e < g->user_start[c->node + 1]; e++) {
    const uint32_t x = g->user[e];
    if (result_number(g->t, g->node[x]) != j) continue;
    if (c->u->q.is_target[x]) return true;
    for (uint32_t i = g->user_start[x]; i < g->user_start[x + 1]; i++)
      if (reads_record(c, s, g->user[i], k)) return true;
  }
  return false;
}

/* reads[k]: do those outputs depend on input k? */
static bool find_readings(carrier_text *c, const ad_function *f, const bool out[], bool reads[]) {
  const ad_tape *t = f->body;
  const ad_allocator *m = &c->u->w->allocator;
  bool *mark = memory_get_zeroed(m, t->count + 1, 1);
  if (!mark) return writer_fail(c->u->w, AD_ERROR_MEMORY, "out of memory");
  for (int j = 0; j < f->n_out; j++) mark[f->out[j]] |= out[j];
  for (uint32_t i = (uint32_t)t->count; i-- > 0;) {
    int n;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n && mark[i] && !node_is_leaf(t, i); k++) mark[x[k]] = true;
  }
  for (int k = 0; k < f->n_in; k++) reads[k] = mark[f->in[k]];
  memory_release(m, mark, t->count + 1);
  return true;
}

/* May an operation of a step fail? The interpreter computes all states, and says so. */
static bool may_fail(const ad_function *f) {
  for (uint32_t i = 0; i < f->body->count; i++) {
    const ad_primitive *p = node_is_leaf(f->body, i) ? &cast_primitive : node_primitive(f->body, i);
    if (!p->row && p != &cast_primitive && !(p->traits & AD_TRAIT_NEVER_FAILS)) return true;
  }
  return false;
}

/* Which states are wanted at the end, or recorded, or go into what is: others (a loss that is summed, where
 * its gradient is all that is wanted) are left out. */
static bool find_live(carrier_text *c, state_texts *s, const ad_function *f, const argument_texts *p) {
  const bool all = c->c->kind == CARRIER_LOOP || may_fail(f);
  const size_t bytes = (size_t)f->n_in + (size_t)f->n_out + 1;
  bool *reads = memory_get_zeroed(&c->u->w->allocator, bytes, 1), *out = reads + f->n_in, more = true;
  if (!reads) return writer_fail(c->u->w, AD_ERROR_MEMORY, "out of memory");
  memcpy(out, p->wanted, (size_t)f->n_out);
  for (int k = 0; k < s->n; k++) {
    s->recorded[k] = is_record_read(c, s, k);
    s->live[k] = all || (s->out[k] < c->results && c->z[s->out[k]]) || s->recorded[k];
    out[s->out[k]] = s->live[k];
  }
  while (more) {
    more = false;
    if (!find_readings(c, f, out, reads)) break;
    for (int k = 0; k < s->n; k++)
      if (!s->live[k] && reads[s->in[k]]) more = s->live[k] = out[s->out[k]] = true;
  }
  memory_release(&c->u->w->allocator, reads, bytes);
  return c->u->w->status == AD_OK;
}

/* The record of state k, of which the scan keeps what every step begins with; NULL: none. */
static const char *record_of(const carrier_text *c, const state_texts *s, int k) {
  return s->recorded[k] ? c->z[c->c->n_out + k] : NULL;
}

/* States that are not local are computed where they are kept, each in the row of the step it is for, the last
 * one in the second buffer. */
static const char *rows_of(const carrier_text *c, const state_texts *s, int k) {
  return text_is_local(count_in(c->c, s->in[k])) ? NULL : record_of(c, s, k);
}

static void begin_rows(carrier_text *c, const state_texts *s) {
  unit *u = c->u;
  for (int k = 0; k < s->n; k++) {
    const char *rows = rows_of(c, s, k);
    if (!rows) continue;
    const long long n = text_row_step(c, true, c->c->n_out + k);
    unit_line(u, "%s *const c%d_last = c%d_next;", write_type(dtype_in(c->c, s->in[k])), k, k);
    if (c->c->backwards) unit_line(u, "if (steps > 0) c%d = %s + (steps - 1)*%lld;", k, rows, n);
    else unit_line(u, "if (steps > 0) c%d = %s;", k, rows);
    states_set(s, k, c->x[s->in[k]]);
  }
}

static void write_record(carrier_text *c, const state_texts *s) {
  const carrier *a = c->c;
  for (int k = 0; k < s->n; k++) {
    const int j = a->n_out + k;
    if (rows_of(c, s, k))
      unit_line(c->u, "c%d_next = step + 1 < steps ? c%d %c %lld : c%d_last;", k, k, a->backwards ? '-' : '+',
                (long long)text_row_step(c, true, j), k);
    else if (s->recorded[k])
      unit_copy(c->u, text_kept_row(c, true, j), writer_text(c->u->w, "%s%d", s->name, k),
                count_in(a, s->in[k]));
  }
}

static void turn_states(carrier_text *c, const state_texts *s) {
  for (int k = 0; k < s->n; k++)
    if (rows_of(c, s, k)) unit_line(c->u, "c%d = c%d_next;", k, k);
    else if (s->live[k])
      text_turn(c->u, s->name, k, dtype_in(c->c, s->in[k]), count_in(c->c, s->in[k]));
}

/* Rows that no step writes. */
static void write_rest(carrier_text *c, const ad_function *f, const char *steps) {
  const carrier *a = c->c;
  for (int j = 0; j < a->n_out && a->counted && a->n >= 0; j++) {
    if (role_out(a)[j] != ROLE_EACH || j >= c->results || !c->z[j]) continue;
    const int64_t n = node_type(f->body, f->out[j])->count;
    unit_line(c->u, "for (int64_t i = %s*%lld; i < %lld; i++) %s[i] = 0;", steps, (long long)n,
              (long long)(n*a->n), c->z[j]);
  }
}

/* The body is f, or r, whose outputs behind those of f are stacked too. */
static bool set_arguments(carrier_text *c, state_texts *s, const ad_function *f, argument_texts *p) {
  const carrier *a = c->c;
  for (int k = 0; k < f->n_in; k++)
    if (role_in(a)[k] == ROLE_EACH) set_in(p, k, text_row(c, c->x[k], count_in(a, k)));
    else if (role_in(a)[k] == ROLE_SHARED) set_in(p, k, c->x[k]);
  for (int j = 0; j < f->n_out; j++) {
    const int result = j < a->n_out ? j : j + s->n;
    if (j < a->n_out && role_out(a)[j] == ROLE_STATE) continue;
    if (result >= c->results || !c->z[result]) continue;
    set_out(p, j, text_kept_row(c, true, result));
  }
  if (!find_live(c, s, f, p)) return false;
  for (int k = 0; k < s->n; k++) {
    set_in(p, s->in[k], s->live[k] ? writer_text(c->u->w, "%s%d", s->name, k) : "0");
    if (s->live[k]) set_out(p, s->out[k], writer_text(c->u->w, "%s%d_next", s->name, k));
  }
  return true;
}

static bool write_step_call(carrier_text *c, ad_function *f, const argument_texts *p) {
  const unit_info *step = text_unit(c, f, p->wanted);
  if (step) unit_call(c->u, step, p->in, p->out);
  return step != NULL;
}

static bool write_counted(carrier_text *c, const state_texts *s, ad_function *f, const argument_texts *p) {
  unit *u = c->u;
  write_steps_count(c, "steps");
  write_rest(c, f, "steps");
  begin_rows(c, s);
  unit_open(u, "for (int64_t step = 0; step < steps; step++) ");
  unit_line(u, c->c->backwards ? "const int64_t at = steps - 1 - step;" : "const int64_t at = step;");
  unit_line(u, "(void)at;");
  write_record(c, s);
  const bool good = write_step_call(c, f, p);
  turn_states(c, s);
  unit_close(u);
  return good;
}

/* condition: the states that the loop goes through, or inputs that stay. */
static bool write_condition(carrier_text *c, const argument_texts *p) {
  unit *u = c->u;
  ad_function *g = c->c->g;
  const ad_dtype dtype = node_type(g->body, g->out[0])->type.dtype;
  const char *out[1] = { "go" };
  unit_line(u, "%s go[1];", write_type(dtype));
  const unit_info *test = text_unit(c, g, NULL);
  if (!test) return false;
  unit_call(u, test, p->in, out);
  unit_line(u, "if (go[0] == 0) break;");
  return true;
}

/* The states that the step begins with, for the adjoint. */
static void write_kept(carrier_text *c, const state_texts *s) {
  for (int k = 0; k < s->n && text_is_kept(c); k++) {
    const int64_t n = count_in(c->c, s->in[k]);
    const char *row = writer_text(c->u->w, "(%s + steps*%lld)", text_kept(c, s->in[k]), (long long)n);
    unit_copy(c->u, row, writer_text(c->u->w, "%s%d", s->name, k), n);
  }
}

/* One step more is too many: for the loop, or for the memory of states that it keeps. */
static void write_limit(carrier_text *c) {
  const carrier *a = c->c;
  const int64_t bound = text_bound(c->u->w, a);
  const bool memory = text_is_kept(c) && bound < a->limit;
  char condition[48], name[160];
  snprintf(condition, sizeof condition, "steps == INT64_C(%lld)", (long long)(memory ? bound : a->limit));
  snprintf(name, sizeof name, memory ? "%s" : "while: %s", memory ? a->f->name : a->g->name);
  unit_fail(c->u, condition, AD_ERROR_LIMIT,
            &(failure){ name, memory ? ": the states of more than %lld steps take more memory than there is"
                                     : " still holds after %lld steps", "steps", NULL });
}

static bool write_while(carrier_text *c, const state_texts *s, ad_function *f, const argument_texts *p) {
  unit *u = c->u;
  unit_line(u, "int64_t steps = 0;");
  unit_open(u, "for (;; steps++) ");
  bool good = write_condition(c, p);
  write_limit(c);
  write_kept(c, s);
  good = good && write_step_call(c, f, p);
  states_turn(s, NULL);
  unit_close(u);
  if (c->c->n_out < c->results && c->z[c->c->n_out]) unit_line(u, "%s[0] = steps;", c->z[c->c->n_out]);
  return good;
}

bool write_scan(carrier_text *c) {
  const carrier *a = c->c;
  ad_function *f = a->r ? a->r : a->f;
  state_texts s;
  argument_texts p;
  if (!states_open(&s, c, "c")) return false;
  bool good = arguments_open(&p, c->u->w, f->n_in, f->n_out) && set_arguments(c, &s, f, &p);
  states_declare(&s, s.live);
  for (int k = 0; k < s.n; k++)
    if (s.live[k] && !rows_of(c, &s, k)) states_set(&s, k, c->x[s.in[k]]);
  if (good) good = a->kind == CARRIER_LOOP ? write_while(c, &s, f, &p) : write_counted(c, &s, f, &p);
  for (int k = 0; k < s.n; k++)
    if (s.out[k] < c->results && c->z[s.out[k]]) states_get(&s, k, c->z[s.out[k]]);
  arguments_close(&p);
  states_close(&s);
  return good;
}
