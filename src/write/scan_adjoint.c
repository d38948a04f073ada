/* scan_adjoint.c -- cotangents through scans and loops: C loops over the steps backwards, the states
 * from the record of the scan, or computed again by the schedule that the policy asks for
 * (run/scan_adjoint.c has the same). */
#include "write/carriers.h"

#include <stdio.h>
#include <string.h>

typedef struct adjoint_text {
  carrier_text *c;
  state_texts state, bar;           /* the states while they advance; their cotangents */
  ad_function *v;
  bool *in, *out, *sums, *chosen;   /* flags of the vjp; which states have cotangents */
  size_t bytes;
  argument_texts back, forth;
  char (*row)[WRITE_NAME];          /* rows of states that are kept, by state */
  int64_t bound;                    /* steps there is memory for */
} adjoint_text;

static int64_t count_in(const carrier *c, int k) { return node_type(c->f->body, c->f->in[k])->count; }
static ad_dtype dtype_in(const carrier *c, int k) { return node_type(c->f->body, c->f->in[k])->type.dtype; }

static bool open_adjoint(adjoint_text *p, carrier_text *c) {
  const carrier *a = c->c;
  ad_writer *w = c->u->w;
  const size_t n = (size_t)a->n_in, m = (size_t)a->n_out;
  *p = (adjoint_text){ .c = c };
  if (!states_open(&p->state, c, "c") || !states_open(&p->bar, c, "b")) return false;
  const size_t rows = (size_t)p->state.n*WRITE_NAME;
  p->bytes = rows + 3*n + m + 1;
  p->row = memory_get_zeroed(&w->allocator, p->bytes, 1);
  if (!p->row) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  p->in = (bool *)p->row + rows;
  p->sums = p->in + n;
  p->chosen = p->sums + n;
  p->out = p->chosen + n;
  carrier_step_flags(a, p->in, p->out, p->sums);
  for (int k = 0; k < p->state.n; k++) p->chosen[k] = p->in[p->state.in[k]];
  p->v = text_vjp(c, a->f, p->sums, p->in, p->out);
  return p->v && arguments_open(&p->back, w, p->v->n_in, p->v->n_out)
         && arguments_open(&p->forth, w, a->n_in, a->n_out);
}

static bool node_has_operand(const ad_tape *t, uint32_t i, uint32_t x) {
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n && !node_is_leaf(t, i); k++)
    if (operand[k] == x) return true;
  return false;
}

static void close_adjoint(adjoint_text *p) {
  ad_writer *w = p->c->u->w;
  if (p->forth.w) arguments_close(&p->forth);
  if (p->back.w) arguments_close(&p->back);
  memory_release(&w->allocator, p->row, p->bytes);
  if (p->bar.c) states_close(&p->bar);
  if (p->state.c) states_close(&p->state);
}

bool text_step_reads(carrier_text *c, uint32_t i, int k) {
  const run_graph *g = &c->u->q.g;
  size_t size;
  carrier_text adjoint = { .u = c->u, .node = i, .c = node_attribute(g->t, g->node[i], &size) };
  adjoint_text p;
  const bool good = open_adjoint(&p, &adjoint);
  bool reads = !good;
  if (good) {
    const ad_tape *t = p.v->body;
    const uint32_t x = p.v->in[k];
    for (int j = 0; j < p.v->n_out; j++) reads |= p.v->out[j] == x;
    for (uint32_t e = x + 1; e < t->count && !reads; e++) reads = node_has_operand(t, e, x);
  }
  close_adjoint(&p);
  return reads;
}

/* --- one step ------------------------------------------------------------------------------------------- */

static const char *result_of(const adjoint_text *p, int k) {
  const carrier *a = p->c->c;
  int result = 0;
  for (int i = 0; i < k; i++) result += active_in(a)[i] != 0;
  return active_in(a)[k] && result < p->c->results ? p->c->z[result] : NULL;
}

/* The sum for shared input k: two buffers that change places, the first of them the result; few elements are
 * locals. */
static bool is_sum(const adjoint_text *p, int k) {
  return role_in(p->c->c)[k] == ROLE_SHARED && p->in[k] && result_of(p, k);
}

static void declare_sums(adjoint_text *p) {
  unit *u = p->c->u;
  const carrier *a = p->c->c;
  for (int k = 0; k < a->n_in; k++) {
    const long long n = count_in(a, k);
    if (!is_sum(p, k)) continue;
    const char *type = write_type(dtype_in(a, k));
    if (text_is_local(n)) unit_line(u, "%s a%d[%lld] = { 0 }, a%d_next[%lld];", type, k, n, k, n);
    else {
      const char *next = unit_take(u, dtype_in(a, k), n);
      unit_line(u, "%s *a%d = %s, *a%d_next = %s;", type, k, result_of(p, k), k, next);
      unit_line(u, "for (int64_t i = 0; i < %lld; i++) a%d[i] = 0;", n, k);
    }
    unit_line(u, "(void)a%d_next;", k);         /* nothing is added to it by a loop without steps */
  }
}

static void turn_sums(adjoint_text *p) {
  for (int k = 0; k < p->c->c->n_in; k++) {
    if (is_sum(p, k)) text_turn(p->c->u, "a", k, dtype_in(p->c->c, k), count_in(p->c->c, k));
  }
}

static void get_sums(adjoint_text *p) {
  for (int k = 0; k < p->c->c->n_in; k++) {
    if (!is_sum(p, k)) continue;
    const char *z = result_of(p, k);
    const long long n = count_in(p->c->c, k);
    if (text_is_local(n)) unit_copy(p->c->u, z, writer_text(p->c->u->w, "a%d", k), n);
    else unit_line(p->c->u, "for (int64_t i = 0; i < %lld && a%d != %s; i++) %s[i] = a%d[i];", n, k, z, z, k);
  }
}

static int state_of_output(const adjoint_text *p, int j) {
  int k = 0;
  while (p->state.out[k] != j) k++;
  return k;
}

/* The arguments of the vjp but for the states. */
static void set_back(adjoint_text *p) {
  carrier_text *c = p->c;
  const carrier *a = c->c;
  int input = a->n_in, operand = a->n_in + selectors(a), output = 0;
  for (int k = 0; k < a->n_in; k++)
    if (role_in(a)[k] != ROLE_STATE)
      set_in(&p->back, k, role_in(a)[k] == ROLE_EACH ? text_row(c, c->x[k], count_in(a, k)) : c->x[k]);
  for (int j = 0; j < a->n_out; j++) {
    const char *given = active_out(a)[j] ? c->x[operand++] : NULL;
    if (!p->out[j]) continue;
    if (role_out(a)[j] == ROLE_STATE)
      set_in(&p->back, input, writer_text(c->u->w, "b%d", state_of_output(p, j)));
    else set_in(&p->back, input, text_row(c, given, node_type(a->f->body, a->f->out[j])->count));
    input++;
  }
  for (int k = 0; k < a->n_in; k++)
    if (p->sums[k]) set_in(&p->back, input++, is_sum(p, k) ? writer_text(c->u->w, "a%d", k) : "0");
  for (int k = 0; input + k < p->v->n_in; k++)
    set_in(&p->back, input + k, text_kept_row(c, false, operand + p->state.n + k));
  for (int k = 0, s = 0; k < a->n_in; k++) {
    const bool state = role_in(a)[k] == ROLE_STATE;
    if (p->in[k]) {
      const char *z = result_of(p, k);
      if (state) set_out(&p->back, output, writer_text(c->u->w, "b%d_next", s));
      else if (z && role_in(a)[k] == ROLE_EACH) set_out(&p->back, output, text_row(c, z, count_in(a, k)));
      else if (z) set_out(&p->back, output, writer_text(c->u->w, "a%d_next", k));
      output++;
    }
    s += state;
  }
}

static bool write_back(adjoint_text *p) {
  carrier_text *c = p->c;
  const unit_info *callee = text_unit(c, p->v, p->back.wanted);
  if (!callee) return false;
  unit_call(c->u, callee, p->back.in, p->back.out);
  turn_sums(p);
  states_turn(&p->bar, p->chosen);
  return true;
}

/* Texts that outlive others that are made meanwhile. */
typedef struct kept_text { char room[WRITE_NAME]; const char *at; } kept_text;

static const char *keep_text(kept_text *k, const char *s) {
  if (s) snprintf(k->room, sizeof k->room, "%s", s);
  return k->at = s ? k->room : NULL;
}

static void set_states(adjoint_text *p, argument_texts *call, const char *row) {
  kept_text kept;
  const char *from = keep_text(&kept, row);
  ad_writer *w = p->c->u->w;
  const carrier *a = p->c->c;
  for (int k = 0; k < p->state.n; k++)
    set_in(call, p->state.in[k], from ? writer_text(w, "(%s + (%s)*%lld)", p->row[k], from,
                                                    (long long)count_in(a, p->state.in[k]))
                                      : writer_text(w, "c%d", k));
}

/* The body with its states alone, from the rows at from to those at to, NULL: the
 * current ones to the next. */
static bool write_forth(adjoint_text *p, const char *from_row, const char *to_row) {
  kept_text kept[2];
  const char *from = keep_text(&kept[0], from_row), *to = keep_text(&kept[1], to_row);
  carrier_text *c = p->c;
  const carrier *a = c->c;
  for (int k = 0; k < a->n_in; k++)
    if (role_in(a)[k] != ROLE_STATE)
      set_in(&p->forth, k, role_in(a)[k] == ROLE_EACH ? text_row(c, c->x[k], count_in(a, k)) : c->x[k]);
  set_states(p, &p->forth, from);
  for (int k = 0; k < p->state.n; k++)
    set_out(&p->forth, p->state.out[k],
            to ? writer_text(c->u->w, "(%s + (%s)*%lld)", p->row[k], to,
                             (long long)count_in(a, p->state.in[k]))
               : writer_text(c->u->w, "c%d_next", k));
  const unit_info *callee = text_unit(c, a->f, p->forth.wanted);
  if (callee) unit_call(c->u, callee, p->forth.in, p->forth.out);
  if (callee && !to) states_turn(&p->state, NULL);
  return callee != NULL;
}

static void open_step(adjoint_text *p, const char *loop) {
  unit *u = p->c->u;
  unit_open(u, "%s ", loop);
  unit_line(u, p->c->c->backwards ? "const int64_t at = steps - 1 - step;" : "const int64_t at = step;");
  unit_line(u, "(void)at;");
}

/* --- schedules ------------------------------------------------------------------------------------------ */

static bool write_recorded(adjoint_text *p) {
  carrier_text *c = p->c;
  const int first = c->c->n_in + selectors(c->c) + carrier_count(c->c->n_out, active_out(c->c));
  open_step(p, "for (int64_t step = steps; step-- > 0;)");
  for (int k = 0; k < p->state.n; k++)
    set_in(&p->back, p->state.in[k], text_kept_row(c, false, first + k));
  const bool good = write_back(p);
  unit_close(c->u);
  return good;
}

static void take_rows(adjoint_text *p, int64_t rows) {
  for (int k = 0; k < p->state.n; k++)
    strcpy(p->row[k],
           unit_take(p->c->u, dtype_in(p->c->c, p->state.in[k]), rows*count_in(p->c->c, p->state.in[k])));
}

static void copy_row(adjoint_text *p, const char *to_row, const char *from_row) {
  kept_text kept[2];
  const char *from = keep_text(&kept[0], from_row), *to = keep_text(&kept[1], to_row);
  ad_writer *w = p->c->u->w;
  for (int k = 0; k < p->state.n; k++) {
    const long long n = count_in(p->c->c, p->state.in[k]);
    const char *z = to ? writer_text(w, "(%s + (%s)*%lld)", p->row[k], to, n) : writer_text(w, "c%d", k);
    const char *x = from ? writer_text(w, "(%s + (%s)*%lld)", p->row[k], from, n) : writer_text(w, "c%d", k);
    unit_copy(p->c->u, z, x, n);
  }
}

static void start_states(adjoint_text *p) {
  states_declare(&p->state, NULL);
  for (int k = 0; k < p->state.n; k++) states_set(&p->state, k, p->c->x[p->state.in[k]]);
}

/* All states, which the loop has written, or a way forwards. */
static bool write_all(adjoint_text *p) {
  unit *u = p->c->u;
  bool good = true;
  if (text_is_kept(p->c))
    for (int k = 0; k < p->state.n; k++) strcpy(p->row[k], text_kept(p->c, p->state.in[k]));
  else {
    take_rows(p, p->bound);
    for (int k = 0; k < p->state.n; k++)
      unit_copy(u, p->row[k], p->c->x[p->state.in[k]], count_in(p->c->c, p->state.in[k]));
    if (p->bound > 1) {
      open_step(p, "for (int64_t step = 0; step + 1 < steps; step++)");
      good = write_forth(p, "step", "step + 1");
      unit_close(u);
    }
  }
  open_step(p, "for (int64_t step = steps; step-- > 0;)");
  set_states(p, &p->back, "step");
  good = good && write_back(p);
  unit_close(u);
  return good;
}

/* Every k-th state first, then those of k steps at a time. */
static bool write_every(adjoint_text *p, int64_t k) {
  unit *u = p->c->u;
  const int64_t parts = (p->bound + k - 1)/k;
  take_rows(p, parts + k);
  start_states(p);
  unit_open(u, "for (int64_t part = 0; part*%lld < steps; part++) ", (long long)k);
  copy_row(p, "part", NULL);
  open_step(p, writer_text(u->w, "for (int64_t step = part*%lld; step < (part + 1)*%lld && step < steps; "
                           "step++)", (long long)k, (long long)k));
  bool good = write_forth(p, NULL, NULL);
  unit_close(u);
  unit_close(u);
  unit_open(u, "for (int64_t part = (steps + %lld)/%lld; part-- > 0;) ", (long long)k - 1, (long long)k);
  unit_line(u, "const int64_t first = part*%lld, last = first + %lld < steps ? first + %lld : steps;",
            (long long)k, (long long)k, (long long)k);
  copy_row(p, writer_text(u->w, "%lld", (long long)parts), "part");
  open_step(p, "for (int64_t step = first; step + 1 < last; step++)");
  good = good && write_forth(p, writer_text(u->w, "%lld + step - first", (long long)parts),
                             writer_text(u->w, "%lld + step + 1 - first", (long long)parts));
  unit_close(u);
  open_step(p, "for (int64_t step = last; step-- > first;)");
  set_states(p, &p->back, writer_text(u->w, "%lld + step - first", (long long)parts));
  good = good && write_back(p);
  unit_close(u);
  unit_close(u);
  return good;
}

/* How far to go from a kept state: run/revolve.c explains it. */
static const char stride_text[] =
  "static int64_t HELPER(binomial)(int64_t s, int64_t r) {\n"
  "  const int64_t more = s > r ? s : r, less = s > r ? r : s;\n"
  "  int64_t product = 1;\n"
  "  if (r < 0) return 0;\n"
  "  for (int64_t i = 1; i <= less; i++) {\n"
  "    int64_t a = product, b = i;\n"
  "    while (b) { const int64_t rest = a%b; a = b; b = rest; }\n"
  "    const int64_t factor = (more + i)/(i/a);\n"
  "    if (product/a > INT64_MAX/factor) return INT64_MAX;\n"
  "    product = product/a*factor;\n"
  "  }\n"
  "  return product;\n"
  "}\n\n"
  "static int64_t HELPER(stride)(int64_t l, int64_t s) {\n"
  "  int64_t low = -1, high = 1;\n"
  "  if (s == 1) return l - 1;\n"
  "  if (s > l) s = l;\n"
  "  while (HELPER(binomial)(s, high) < l) { low = high; high = high > l/2 ? l : 2*high; }\n"
  "  while (high - low > 1) {\n"
  "    const int64_t middle = low + (high - low)/2;\n"
  "    if (HELPER(binomial)(s, middle) < l) low = middle;\n"
  "    else high = middle;\n"
  "  }\n"
  "  const int64_t longest = HELPER(binomial)(s, high - 1), rest = l - HELPER(binomial)(s - 1, high - 1);\n"
  "  return longest < rest ? longest : rest;\n"
  "}\n";

static bool write_binomial(adjoint_text *p) {
  unit *u = p->c->u;
  const carrier *a = p->c->c;
  size_t bytes = 1;
  for (int k = 0; k < p->state.n; k++)
    bytes += (size_t)count_in(a, p->state.in[k])*write_size(dtype_in(a, p->state.in[k]));
  int64_t s = a->keep ? a->keep : a->bytes/(int64_t)bytes;
  if (s < 1) s = 1;
  if (p->bound >= 0 && s > p->bound) s = p->bound > 0 ? p->bound : 1;
  const char *stride = writer_text(u->w, "%s", ad_write_routine(u->w, AD_I64, "stride", stride_text));
  char name[WRITE_NAME];
  strcpy(name, stride);
  take_rows(p, s);
  unit_line(u, "int64_t *kept = %s, have = 0, now = 0;", unit_take(u, AD_I64, s));
  start_states(p);
  unit_open(u, "for (int64_t left = steps; left > 0;) ");
  unit_open(u, "if (now == left - 1) ");
  unit_line(u, "const int64_t step = now;");
  unit_line(u, p->c->c->backwards ? "const int64_t at = steps - 1 - step;" : "const int64_t at = step;");
  unit_line(u, "(void)at;");
  set_states(p, &p->back, NULL);
  bool good = write_back(p);
  unit_line(u, "left--;");
  unit_line(u, "if (have > 0 && kept[have - 1] == now) have--;");
  unit_line(u, "if (left == 0) break;");
  unit_line(u, "now = kept[have - 1];");
  copy_row(p, NULL, "have - 1");
  u->w->indent--;
  unit_open(u, "} else ");
  unit_open(u, "if (have == 0 || kept[have - 1] != now) ");
  copy_row(p, "have", NULL);
  unit_line(u, "kept[have++] = now;");
  unit_close(u);
  unit_line(u, "const int64_t to = now + %s(left - now, %lld - have + 1);", name, (long long)s);
  open_step(p, "for (int64_t step = now; step < to; step++)");
  good = good && write_forth(p, NULL, NULL);
  unit_close(u);
  unit_line(u, "now = to;");
  unit_close(u);
  unit_close(u);
  return good;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static void begin(adjoint_text *p) {
  carrier_text *c = p->c;
  const carrier *a = c->c;
  int operand = a->n_in + selectors(a);
  states_declare(&p->bar, p->chosen);
  for (int j = 0; j < a->n_out; j++) {
    const char *given = active_out(a)[j] ? c->x[operand++] : NULL;
    if (role_out(a)[j] != ROLE_STATE) continue;
    const int k = state_of_output(p, j);
    if (!p->chosen[k]) continue;
    if (given) states_set(&p->bar, k, given);
    else states_clear(&p->bar, k);
  }
  for (int k = 0; k < a->n_in; k++) {
    const char *z = result_of(p, k);
    const long long n = count_in(a, k);
    if (z && role_in(a)[k] == ROLE_EACH && a->counted)
      unit_line(c->u, "for (int64_t i = steps*%lld; i < %lld; i++) %s[i] = 0;", n, n*(long long)a->n, z);
  }
}

static bool write_schedule(adjoint_text *p) {
  const carrier *a = p->c->c;
  if (a->recorded) return write_recorded(p);
  if (a->policy == KEEP_BINOMIAL) return write_binomial(p);
  if (a->n < 0) {
    char condition[48];
    snprintf(condition, sizeof condition, "steps > %lld", (long long)p->bound);
    unit_fail(p->c->u, condition, AD_ERROR_LIMIT,
              &(failure){ a->f->name, ": the states of %lld steps take more memory than there is", "steps",
                          NULL });
  }
  if (p->bound == 0) return true;
  return text_keeps_all(p->c->u->w, a) ? write_all(p) : write_every(p, a->keep);
}

bool write_scan_adjoint(carrier_text *c) {
  adjoint_text p;
  const carrier *a = c->c;
  bool good = open_adjoint(&p, c);
  if (good) {
    p.bound = text_bound(c->u->w, a);
    write_steps_count(c, "steps");
    begin(&p);
    declare_sums(&p);
    set_back(&p);
    good = write_schedule(&p);
    get_sums(&p);
    for (int k = 0; k < p.bar.n; k++) {
      const char *z = result_of(&p, p.bar.in[k]);
      if (p.chosen[k] && z) states_get(&p.bar, k, z);
    }
  }
  close_adjoint(&p);
  return good;
}
