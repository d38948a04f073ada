/* merge.c -- see merge.h. */
#include "function/merge.h"
#include "function/cone.h"

#include <string.h>

static const carrier *carrier_at(const ad_tape *t, uint32_t i) {
  size_t size;
  return node_attribute(t, i, &size);
}

static bool fail(const merge *m) {
  tape_fail(m->dst, AD_ERROR_MEMORY, "out of memory");
  return false;
}

static const carrier *member(const merge *m, int k) { return carrier_at(m->src, m->node[k]); }

/* --- which loops ---------------------------------------------------------------------------------------- */

/* Do the first inputs have the same operands: all that a loop's condition looks at, or most of a scan's? */
static bool same_beginning(const merge *m, uint32_t i, uint32_t j) {
  const carrier *a = carrier_at(m->src, i), *b = carrier_at(m->src, j);
  int n, same = 0;
  const uint32_t *x = node_operands(m->src, i, &n), *y = node_operands(m->src, j, &n);
  const int fewer = a->n_in < b->n_in ? a->n_in : b->n_in;
  while (same < fewer && x[same] == y[same] && role_in(a)[same] == role_in(b)[same]) same++;
  return same > 0 && (a->g ? same >= a->g->n_in : 2*same >= fewer);
}

static bool add_member(merge *m, uint32_t i) {
  const size_t count = (size_t)m->members + 1;
  if (!memory_reserve(&m->dst->allocator, &m->node, &m->room, count, sizeof *m->node)) return fail(m);
  m->node[m->members++] = i;
  return true;
}

/* Loops that may be computed where the first one is, since none of them needs another. */
static bool find_members(merge *m, uint32_t i) {
  const loop_index *x = m->loops;
  uint32_t seen = i;
  bool good = add_member(m, i);
  x->reached[i] = 1;
  for (uint32_t l = x->loop[loop_find(x, i)].next; l != NO_LOOP && good; l = x->loop[l].next) {
    const uint32_t j = x->loop[l].node;
    if (m->needed[j] != 1 || x->loop[l].recorded || !same_beginning(m, i, j)) continue;
    cone_reach(m->src, m->needed, seen + 1, j, x->reached);
    seen = j;
    if (x->reached[j]) continue;
    good = add_member(m, j);
    x->reached[j] = 1;
  }
  memset(x->reached + i, 0, (size_t)(seen - i) + 1);
  return good;
}

/* --- lists ---------------------------------------------------------------------------------------------- */

static void count_all(merge *m) {
  m->inputs = m->outputs = 0;
  for (int k = 0; k < m->members; k++) {
    const carrier *c = member(m, k);
    m->first_in[k] = m->inputs, m->first_out[k] = m->outputs;
    for (int i = 0; i < c->n_in; i++) m->owner[m->inputs + i] = k;
    m->inputs += c->n_in, m->outputs += c->n_out;
  }
}

static bool open_lists(merge *m) {
  size_t n = 0, o = 0, slots = 4;
  const size_t members = (size_t)m->members;
  for (int k = 0; k < m->members; k++) n += (size_t)member(m, k)->n_in, o += (size_t)member(m, k)->n_out;
  while (slots < 2*n) slots *= 2;
  m->slots = (unsigned)slots;
  m->bytes = (4*n + o + 2*members + slots)*sizeof(int) + n + o + 1;
  m->class_of = memory_get_zeroed(&m->dst->allocator, m->bytes, 1);
  if (!m->class_of) return fail(m);
  m->place = m->class_of + n;
  m->next = m->place + n;
  m->owner = m->next + n;
  m->result_of = m->owner + n;
  m->first_in = m->result_of + o;
  m->first_out = m->first_in + members;
  m->table = m->first_out + members;
  m->used = (bool *)(m->table + slots);
  m->live = m->used + o;
  count_all(m);
  return true;
}

static void mark_used(const merge *m) {
  const loop_index *x = m->loops;
  memset(m->used, 0, (size_t)m->outputs);
  for (int k = 0; k < m->members; k++) {
    const loop_entry *e = &x->loop[loop_find(x, m->node[k])];
    for (uint32_t r = 0; r < e->results; r++) {
      const uint32_t j = x->result[e->first + r];
      if (j < (uint32_t)member(m, k)->n_out) m->used[m->first_out[k] + (int)j] = true;
    }
  }
}

/* Which of its member's inputs number `at` among all is. */
static int input_of(const merge *m, int at) { return at - m->first_in[m->owner[at]]; }

static uint32_t operand_of(const merge *m, int at) {
  int n;
  return node_operands(m->src, m->node[m->owner[at]], &n)[input_of(m, at)];
}

static int role_of(const merge *m, int at) { return role_in(member(m, m->owner[at]))[input_of(m, at)]; }

static ad_type type_of(const merge *m, int at) {
  const ad_function *f = member(m, m->owner[at])->f;
  return node_type(f->body, f->in[input_of(m, at)])->type;
}

/* --- which inputs are the same -------------------------------------------------------------------------- */

static bool same_input(const merge *m, int at, int other) {
  return input_of(m, at) == input_of(m, other) && operand_of(m, at) == operand_of(m, other)
         && role_of(m, at) == role_of(m, other);
}

/* Where in the table the class is, or would be, with that input of an earlier member at the same position. */
static int *find_class(const merge *m, int at) {
  const unsigned hash = (operand_of(m, at)*31u + (unsigned)input_of(m, at))*2654435761u;
  unsigned slot = (hash ^ hash >> 15) & (m->slots - 1);
  while (m->table[slot] >= 0 && !same_input(m, at, m->place[m->table[slot]]))
    slot = (slot + 1) & (m->slots - 1);
  return &m->table[slot];
}

static int new_class(merge *m, int at) {
  const carrier *c = member(m, m->owner[at]);
  const int k = input_of(m, at), state = role_in(c)[k] == ROLE_STATE;
  m->place[m->classes] = at;
  m->next[m->classes] = state ? m->first_out[m->owner[at]] + carrier_next(c, k) : -1;
  return m->classes++;
}

/* apart[at]: the input is known not to be the same as others. */
static void find_classes(merge *m, const bool apart[]) {
  m->classes = 0;
  memset(m->table, 0xFF, m->slots*sizeof *m->table);
  for (int at = 0; at < m->inputs; at++) {
    int *found = apart[at] ? NULL : find_class(m, at);
    const int c = found && *found >= 0 ? *found : new_class(m, at);
    if (found) *found = c;
    m->class_of[at] = c;
  }
}

/* A step of all members, one after the other. */
static void all_steps(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const merge *m = context;
  const size_t n = (size_t)m->inputs;
  ad_var *x = memory_get(&t->allocator, n*sizeof *x + 1);
  if (!x) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  for (int at = 0; at < m->inputs; at++) x[at] = in[m->class_of[at]];
  for (int i = 0; i < m->members; i++) {
    ad_function *f = member(m, i)->f;
    function_copy(t, f->body, f->n_in, f->in, x + m->first_in[i], f->n_out, f->out, out + m->first_out[i]);
  }
  memory_release(&t->allocator, x, n*sizeof *x + 1);
}

static ad_function *trace(const merge *m, ad_body *body, void *context, const int input[], int n, int n_out) {
  const ad_allocator *a = &m->dst->allocator;
  ad_type *in = memory_get(a, (size_t)n*sizeof *in + 1);
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_function *f = NULL;
  for (int c = 0; c < n && in; c++) in[c] = type_of(m, m->place[input ? input[c] : c]);
  if (in) f = ad_function_trace_with(a, member(m, 0)->f->name, body, context, n, in, n_out, &report);
  if (!f) tape_fail(m->dst, report.status, "%s", report.message);
  memory_release(a, in, (size_t)n*sizeof *in + 1);
  return f;
}

/* Which of all outputs is the next value of a state. */
static int next_of(const merge *m, int at) {
  const int i = m->owner[at];
  return m->first_out[i] + carrier_next(member(m, i), input_of(m, at));
}

/* Separates states that one step of m->f makes different; true if there were some. */
static bool separate(const merge *m, bool apart[]) {
  bool any = false;
  for (int at = 0; at < m->inputs; at++) {
    const int c = m->class_of[at];
    if (m->place[c] == at || role_of(m, at) != ROLE_STATE) continue;
    if (m->f->out[m->next[c]] != m->f->out[next_of(m, at)]) any = apart[at] = true;
  }
  return any;
}

/* May member i not go on for as long as the first one? */
static bool is_stray(const merge *m, int i) {
  const ad_function *g = member(m, i)->g;
  for (int k = 0; g && k < g->n_in; k++)
    if (m->class_of[m->first_in[i] + k] != k) return true;
  return false;
}

/* Without members that may not; true if there were some. Whether one may is a matter of it and the first. */
static bool drop_strays(merge *m) {
  int kept = 0;
  for (int i = 0; i < m->members; i++)
    if (!is_stray(m, i)) m->node[kept++] = m->node[i];
  if (kept == m->members) return false;
  m->members = kept;
  count_all(m);
  mark_used(m);
  return true;
}

/* The step of all members, once those states that are the same are known. */
static bool join_steps(merge *m, bool apart[]) {
  bool again = true;
  memset(apart, 0, (size_t)m->inputs);
  while (again) {
    find_classes(m, apart);
    ad_function_free(m->f);
    m->f = m->members == 1 ? ad_function_retain(member(m, 0)->f)
                           : trace(m, all_steps, m, NULL, m->classes, m->outputs);
    again = m->f && separate(m, apart);
  }
  return m->f != NULL;
}

/* Of all members that go on together. */
static bool join_members(merge *m) {
  const size_t bytes = (size_t)m->inputs + 1;
  bool *apart = memory_get(&m->dst->allocator, bytes);
  if (!apart) return fail(m);
  bool good = join_steps(m, apart);
  while (good && drop_strays(m)) good = join_steps(m, apart);
  memory_release(&m->dst->allocator, apart, bytes);
  return good;
}

/* --- which states are looked at ------------------------------------------------------------------------- */

/* Classes that live outputs depend on. True if one more state is alive. */
static bool spread_life(const merge *m, unsigned char alive[]) {
  const ad_tape *t = m->f->body;
  bool more = false;
  memset(alive, 0, t->count);
  for (int j = 0; j < m->outputs; j++)
    if (m->used[j]) alive[m->f->out[j]] = 1;
  for (int c = 0; c < m->classes; c++)
    if (m->live[c] && m->next[c] >= 0) alive[m->f->out[m->next[c]]] = 1;
  for (uint32_t i = (uint32_t)t->count; i-- > 0;) {
    int n;
    if (!alive[i] || node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) alive[x[k]] = 1;
  }
  for (int c = 0; c < m->classes; c++)
    if (alive[m->f->in[c]] && !m->live[c]) m->live[c] = more = true;
  return more;
}

static bool find_life(merge *m) {
  const carrier *c = member(m, 0);
  const size_t bytes = m->f->body->count + 1;
  unsigned char *alive = memory_get(&m->dst->allocator, bytes);
  if (!alive) return fail(m);
  for (int k = 0; c->g && k < c->g->n_in; k++) m->live[k] = true;
  for (int at = 0; at < m->inputs; at++)
    if (role_of(m, at) == ROLE_STATE && m->used[next_of(m, at)]) m->live[m->class_of[at]] = true;
  while (spread_life(m, alive)) { }
  memory_release(&m->dst->allocator, alive, bytes);
  return true;
}

/* --- the new step --------------------------------------------------------------------------------------- */

/* The live classes, and their number. */
static int list_live(const merge *m, int input[]) {
  int n = 0;
  for (int c = 0; c < m->classes; c++)
    if (m->live[c]) input[n++] = c;
  return n;
}

/* The outputs of the new step among all, and their number: live states by class, then what is stacked. */
static int list_outputs(const merge *m, int output[]) {
  int n = 0;
  for (int c = 0; c < m->classes; c++)
    if (m->live[c] && m->next[c] >= 0) output[n++] = m->next[c];
  for (int i = 0, at = 0; i < m->members; i++)
    for (int j = 0; j < member(m, i)->n_out; j++, at++)
      if (role_out(member(m, i))[j] == ROLE_EACH && m->used[at]) output[n++] = at;
  return n;
}

/* Which output of the new step each one is. */
static void number_results(merge *m, const int output[], int n) {
  for (int j = 0; j < m->outputs; j++) m->result_of[j] = -1;
  for (int o = 0; o < n; o++) m->result_of[output[o]] = o;
  for (int at = 0; at < m->inputs; at++)
    if (role_of(m, at) == ROLE_STATE)
      m->result_of[next_of(m, at)] = m->result_of[m->next[m->class_of[at]]];
}

typedef struct selection { const merge *m; const int *input, *output; int n, n_out; } selection;

static void selected_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const selection *s = context;
  ad_function *f = s->m->f;
  const size_t bytes = ((size_t)s->n + (size_t)s->n_out)*sizeof(uint32_t) + 1;
  uint32_t *x = memory_get(&t->allocator, bytes), *y = x ? x + s->n : NULL;
  if (!x) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  for (int k = 0; k < s->n; k++) x[k] = f->in[s->input[k]];
  for (int j = 0; j < s->n_out; j++) y[j] = f->out[s->output[j]];
  function_copy(t, f->body, s->n, x, in, s->n_out, y, out);
  memory_release(&t->allocator, x, bytes);
}

/* The step without what nobody looks at; nothing to do for a single loop that is all looked at. */
static bool select_step(merge *m) {
  const size_t n = (size_t)m->classes + (size_t)m->outputs, bytes = n*sizeof(int) + 1;
  int *input = memory_get(&m->dst->allocator, bytes), *output = input ? input + m->classes : NULL;
  if (!input) return fail(m);
  selection s = { m, input, output, list_live(m, input), list_outputs(m, output) };
  bool good = m->members > 1 || s.n < m->classes || s.n_out < m->outputs;
  if (good && s.n_out) {
    number_results(m, output, s.n_out);
    ad_function *f = trace(m, selected_step, &s, input, s.n, s.n_out);
    ad_function_free(m->f);
    m->f = f;
    good = f != NULL;
  } else good = false;
  memory_release(&m->dst->allocator, input, bytes);
  return good;
}

/* --- the new loop --------------------------------------------------------------------------------------- */

/* Is anything to be gained from a loop on its own? */
static bool is_all_used(const merge *m) {
  for (int j = 0; j < m->outputs; j++)
    if (!m->used[j]) return false;
  return true;
}

bool merge_open(merge *m, ad_tape *dst, ad_tape *src, const loop_index *loops, uint32_t i,
                const unsigned char *needed) {
  *m = (merge){ .dst = dst, .src = src, .loops = loops, .needed = needed };
  if (carrier_at(src, i)->r || loops->loop[loop_find(loops, i)].recorded) return false;
  bool good = find_members(m, i) && open_lists(m);
  if (good) mark_used(m);
  good = good && (m->members > 1 || !is_all_used(m)) && join_members(m) && find_life(m) && select_step(m);
  if (!good) merge_close(m);
  return good;
}

void merge_close(merge *m) {
  const ad_allocator *a = &m->dst->allocator;
  ad_function_free(m->f);
  memory_release(a, m->class_of, m->bytes);
  memory_release(a, m->node, m->room*sizeof *m->node);
  m->f = NULL, m->class_of = NULL, m->node = NULL;
}

int merge_result(const merge *m, int k, int j) {
  return j < member(m, k)->n_out ? m->result_of[m->first_out[k] + j] : m->f->n_out + j - member(m, k)->n_out;
}

/* The carrier: roles of live inputs, of states and of what is stacked. */
static void fill(const merge *m, carrier *c) {
  const carrier *first = member(m, 0);
  *c = *first;
  c->f = m->f;
  c->n_in = m->f->n_in, c->n_out = m->f->n_out;
  int n = 0, states = 0;
  for (int k = 0; k < m->classes; k++)
    if (m->live[k]) {
      c->flag[n] = (unsigned char)role_of(m, m->place[k]);
      states += c->flag[n++] == ROLE_STATE;
    }
  for (int j = 0; j < c->n_out; j++) c->flag[n + j] = j < states ? ROLE_STATE : ROLE_EACH;
}

uint32_t merge_record(const merge *m, const uint32_t map[]) {
  const carrier *first = member(m, 0);
  const size_t made = (carrier_bytes(m->f->n_in, m->f->n_out) + 15) & ~(size_t)15;
  const size_t bytes = made + ((size_t)m->f->n_in + 1)*sizeof(uint32_t);
  carrier *c = memory_get_zeroed(&m->dst->allocator, bytes, 1);
  uint32_t *x = c ? (uint32_t *)(void *)((char *)c + made) : NULL, i = INVALID_INDEX;
  int n = 0, operands;
  if (c) {
    fill(m, c);
    for (int k = 0; k < m->classes; k++)
      if (m->live[k]) x[n++] = map[operand_of(m, m->place[k])];
    if (first->counted) x[n++] = map[node_operands(m->src, m->node[0], &operands)[first->n_in]];
    i = carrier_record(m->dst, c, n, x);
  } else fail(m);
  memory_release(&m->dst->allocator, c, bytes);
  return i;
}
