/* merge.c -- see merge.h. */
#include "function/merge.h"

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

static bool is_loop(const ad_tape *t, uint32_t i) {
  if (node_is_leaf(t, i)) return false;
  const ad_primitive *p = node_primitive(t, i);
  return p == &carrier_primitives[CARRIER_SCAN] || p == &carrier_primitives[CARRIER_LOOP];
}

/* --- which loops ---------------------------------------------------------------------------------------- */

/* Are results beyond the outputs looked at, but for a loop's number of steps? */
static bool is_recorded(const merge *m, uint32_t i) {
  const carrier *c = carrier_at(m->src, i);
  if (c->kind == CARRIER_LOOP) return false;
  for (uint32_t k = i + 1; k <= m->highest; k++) {
    int n;
    if ((m->needed[k] & 3) == 1 && node_is_result(m->src, k) && *node_operands(m->src, k, &n) == i
        && result_number(m->src, k) >= c->n_out) return true;
  }
  return false;
}

static bool same_schedule(const merge *m, uint32_t i, uint32_t j) {
  const carrier *a = carrier_at(m->src, i), *b = carrier_at(m->src, j);
  int n;
  if (a->kind != b->kind || a->g != b->g || a->n != b->n || a->limit != b->limit || a->keep != b->keep
      || a->bytes != b->bytes || a->policy != b->policy || a->backwards != b->backwards
      || a->counted != b->counted) return false;
  return !a->counted
         || node_operands(m->src, i, &n)[a->n_in] == node_operands(m->src, j, &n)[b->n_in];
}

/* Do the first inputs have the same operands: all that a loop's condition looks at, or most of a scan's? */
static bool same_beginning(const merge *m, uint32_t i, uint32_t j) {
  const carrier *a = carrier_at(m->src, i), *b = carrier_at(m->src, j);
  int n, same = 0;
  const uint32_t *x = node_operands(m->src, i, &n), *y = node_operands(m->src, j, &n);
  const int fewer = a->n_in < b->n_in ? a->n_in : b->n_in;
  while (same < fewer && x[same] == y[same] && role_in(a)[same] == role_in(b)[same]) same++;
  return same > 0 && (a->g ? same >= a->g->n_in : 2*same >= fewer);
}

/* Marks what the operands of node j need, down to node i. */
static void mark_cone(const merge *m, uint32_t i, uint32_t j, unsigned char cone[]) {
  int n;
  cone[j - i] = 1;
  for (uint32_t k = j; k > i; k--) {
    if (!cone[k - i] || node_is_leaf(m->src, k) || m->needed[k] & 2) continue;
    const uint32_t *x = node_operands(m->src, k, &n);
    for (int e = 0; e < n; e++)
      if (x[e] >= i) cone[x[e] - i] = 1;
  }
}

/* May node j be computed where the first member is, without any other? */
static bool is_independent(const merge *m, uint32_t j, unsigned char cone[]) {
  const uint32_t i = m->node[0];
  memset(cone, 0, (size_t)(j - i) + 1);
  mark_cone(m, i, j, cone);
  for (int k = 0; k < m->members; k++)
    if (cone[m->node[k] - i]) return false;
  return true;
}

static bool add_member(merge *m, uint32_t i) {
  const size_t count = (size_t)m->members + 1;
  if (!memory_reserve(&m->dst->allocator, &m->node, &m->room, count, sizeof *m->node)) return fail(m);
  m->node[m->members++] = i;
  return true;
}

static bool find_members(merge *m, uint32_t i, unsigned char cone[]) {
  bool good = add_member(m, i);
  for (uint32_t j = i + 1; j <= m->highest && good; j++) {
    if (m->needed[j] != 1 || !is_loop(m->src, j) || carrier_at(m->src, j)->r) continue;
    if (!same_schedule(m, i, j) || !same_beginning(m, i, j) || is_recorded(m, j)) continue;
    if (is_independent(m, j, cone)) good = add_member(m, j);
  }
  return good;
}

void merge_cone(const merge *m, unsigned char cone[]) {
  const uint32_t i = m->node[0];
  for (int k = m->members; k-- > 1;) mark_cone(m, i, m->node[k], cone);
  for (int k = 0; k < m->members; k++) cone[m->node[k] - i] = 0;
}

/* --- lists ---------------------------------------------------------------------------------------------- */

static void count_all(merge *m) {
  m->inputs = m->outputs = 0;
  for (int k = 0; k < m->members; k++) m->inputs += member(m, k)->n_in, m->outputs += member(m, k)->n_out;
}

static bool open_lists(merge *m) {
  count_all(m);
  const size_t n = (size_t)m->inputs, o = (size_t)m->outputs;
  m->bytes = (3*n + o)*sizeof(int) + n + o + 1;
  m->class_of = memory_get_zeroed(&m->dst->allocator, m->bytes, 1);
  if (!m->class_of) return fail(m);
  m->place = m->class_of + n;
  m->next = m->place + n;
  m->result_of = m->next + n;
  m->used = (bool *)(m->result_of + o);
  m->live = m->used + o;
  return true;
}

static void mark_used(const merge *m) {
  memset(m->used, 0, (size_t)m->outputs);
  for (uint32_t i = m->node[0] + 1; i <= m->highest; i++) {
    int n, first = 0;
    if ((m->needed[i] & 3) != 1 || !node_is_result(m->src, i)) continue;
    const uint32_t owner = *node_operands(m->src, i, &n);
    for (int k = 0; k < m->members; first += member(m, k++)->n_out) {
      const int j = result_number(m->src, i);
      if (m->node[k] == owner && j < member(m, k)->n_out) m->used[first + j] = true;
    }
  }
}

/* The member that number `at` among all inputs belongs to; *k: which of its inputs. */
static int owner_of(const merge *m, int at, int *k) {
  int i = 0;
  for (; at >= member(m, i)->n_in; i++) at -= member(m, i)->n_in;
  *k = at;
  return i;
}

static uint32_t operand_of(const merge *m, int at) {
  int k, n;
  const int i = owner_of(m, at, &k);
  return node_operands(m->src, m->node[i], &n)[k];
}

static int role_of(const merge *m, int at) {
  int k;
  const int i = owner_of(m, at, &k);
  return role_in(member(m, i))[k];
}

static ad_type type_of(const merge *m, int at) {
  int k;
  const ad_function *f = member(m, owner_of(m, at, &k))->f;
  return node_type(f->body, f->in[k])->type;
}

/* --- which inputs are the same -------------------------------------------------------------------------- */

/* The class with that input of an earlier member at the same position, -1: none. */
static int find_class(const merge *m, int at, int k) {
  for (int c = 0; c < m->classes; c++) {
    const int first = m->place[c];
    int other;
    owner_of(m, first, &other);
    if (other != k || operand_of(m, first) != operand_of(m, at)) continue;
    if (role_of(m, first) == role_of(m, at)) return c;
  }
  return -1;
}

static void new_class(merge *m, int at, int next) {
  m->place[m->classes] = at;
  m->next[m->classes] = next;
  m->class_of[at] = m->classes++;
}

/* apart[at]: the input is known not to be the same as others. */
static void find_classes(merge *m, const bool apart[]) {
  m->classes = 0;
  for (int i = 0, at = 0, first = 0; i < m->members; first += member(m, i++)->n_out)
    for (int k = 0; k < member(m, i)->n_in; k++, at++) {
      const bool state = role_in(member(m, i))[k] == ROLE_STATE;
      const int found = i && !apart[at] ? find_class(m, at, k) : -1;
      if (found >= 0) m->class_of[at] = found;
      else new_class(m, at, state ? first + carrier_next(member(m, i), k) : -1);
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
  for (int i = 0, at = 0, first = 0; i < m->members; i++) {
    ad_function *f = member(m, i)->f;
    function_copy(t, f->body, f->n_in, f->in, x + at, f->n_out, f->out, out + first);
    at += f->n_in, first += f->n_out;
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

/* Separates states that one step of m->f makes different; true if there were some. */
static bool separate(const merge *m, bool apart[]) {
  bool any = false;
  for (int i = 0, at = 0, first = 0; i < m->members; first += member(m, i++)->n_out)
    for (int k = 0; k < member(m, i)->n_in; k++, at++) {
      const int c = m->class_of[at];
      if (m->place[c] == at || role_in(member(m, i))[k] != ROLE_STATE) continue;
      if (m->f->out[m->next[c]] != m->f->out[first + carrier_next(member(m, i), k)]) any = apart[at] = true;
    }
  return any;
}

/* A member that may not go on for as long as the first one; 0: none. */
static int stray_member(const merge *m) {
  const carrier *c = member(m, 0);
  for (int i = 0, at = 0; i < m->members; at += member(m, i++)->n_in)
    for (int k = 0; c->g && k < c->g->n_in; k++)
      if (m->class_of[at + k] != k) return i;
  return 0;
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
  for (int k; good && (k = stray_member(m)) != 0; good = join_steps(m, apart)) {
    memmove(m->node + k, m->node + k + 1, (size_t)(--m->members - k)*sizeof *m->node);
    count_all(m);
    mark_used(m);
  }
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
  for (int i = 0, at = 0, first = 0; i < m->members; first += member(m, i++)->n_out)
    for (int k = 0; k < member(m, i)->n_in; k++, at++)
      if (role_of(m, at) == ROLE_STATE && m->used[first + carrier_next(member(m, i), k)])
        m->live[m->class_of[at]] = true;
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
  for (int j = 0; j < m->outputs; j++) {
    m->result_of[j] = -1;
    for (int o = 0; o < n; o++)
      if (output[o] == j) m->result_of[j] = o;
  }
  for (int i = 0, at = 0, first = 0; i < m->members; first += member(m, i++)->n_out)
    for (int k = 0; k < member(m, i)->n_in; k++, at++)
      if (role_of(m, at) == ROLE_STATE)
        m->result_of[first + carrier_next(member(m, i), k)] = m->result_of[m->next[m->class_of[at]]];
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

static bool list_members(merge *m, uint32_t i) {
  const size_t bytes = (size_t)(m->highest - i) + 2;
  unsigned char *cone = memory_get(&m->dst->allocator, bytes);
  if (!cone) return fail(m);
  const bool good = find_members(m, i, cone);
  memory_release(&m->dst->allocator, cone, bytes);
  return good;
}

bool merge_open(merge *m, ad_tape *dst, ad_tape *src, uint32_t i, const unsigned char *needed,
                uint32_t highest) {
  *m = (merge){ .dst = dst, .src = src, .needed = needed, .highest = highest };
  if (!is_loop(src, i) || carrier_at(src, i)->r || is_recorded(m, i)) return false;
  bool good = list_members(m, i) && open_lists(m);
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
  int first = 0;
  for (int i = 0; i < k; i++) first += member(m, i)->n_out;
  return j < member(m, k)->n_out ? m->result_of[first + j] : m->f->n_out + j - member(m, k)->n_out;
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
