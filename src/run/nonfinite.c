/* nonfinite.c -- replaying a function one operation at a time, on a tape that keeps every value, and then its
 * derivative: the reverse rule of one operation after the other, recorded behind, evaluated and looked at. */
#include "run/nonfinite.h"
#include "adit/arrays.h"
#include "derive/flow.h"
#include "function/own_rule.h"
#include "primitives/library.h"
#include "tape/note.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- values --------------------------------------------------------------------------------------------- */

static double element_of(ad_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case AD_F64: return ((const double *)data)[i];
    case AD_F32: return (double)((const float *)data)[i];
    case AD_I64: return (double)((const int64_t *)data)[i];
    case AD_I32: return ((const int32_t *)data)[i];
    default:     return ((const uint8_t *)data)[i];
  }
}

int64_t nonfinite_element(const ad_type *type, const void *data) {
  const int64_t count = type->dtype < AD_F32 ? 0 : ad_type_count(*type);
  for (int64_t e = 0; e < count; e++)
    if (!isfinite(element_of(type->dtype, data, e))) return e;
  return -1;
}

static int64_t node_nonfinite(const ad_tape *t, uint32_t i) {
  return nonfinite_element(&node_type(t, i)->type, node_data(t, i));
}

/* Which element of x meets element e of z, x being broadcast to z. */
static int64_t broadcast_element(const ad_type *z, const ad_type *x, int64_t e) {
  int64_t at = 0, stride = 1;
  for (int i = 1; i <= x->rank; i++) {
    const int64_t along = z->dim[z->rank - i], size = x->dim[x->rank - i];
    if (size != 1) at += e%along*stride;
    stride *= size;
    e /= along;
  }
  return at;
}

static int64_t largest_element(const ad_type *type, const void *data) {
  int64_t best = 0;
  for (int64_t e = 1; e < ad_type_count(*type); e++)
    if (fabs(element_of(type->dtype, data, e)) > fabs(element_of(type->dtype, data, best))) best = e;
  return best;
}

/* --- one operation -------------------------------------------------------------------------------------- */

/* Of a result, the operation that has it. */
static uint32_t operation_of(const ad_tape *t, uint32_t i) {
  int n;
  return node_is_result(t, i) ? node_operands(t, i, &n)[0] : i;
}

static bool is_elementwise(const ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  return p->row || !p->type || p == &cast_primitive;
}

static bool finite_at(const ad_tape *t, uint32_t i, int64_t e) {
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  const ad_type *z = &node_type(t, i)->type;
  for (int k = 0; k < n; k++) {
    const ad_type *type = &node_type(t, x[k])->type;
    if (!isfinite(element_of(type->dtype, node_data(t, x[k]), broadcast_element(z, type, e)))) return false;
  }
  return true;
}

/* The first element that node i makes NaN or infinite of finite operands; -1: none. */
static int64_t breaks(const ad_tape *t, uint32_t i) {
  int n;
  const ad_type *z = &node_type(t, i)->type;
  int64_t e = node_nonfinite(t, i);
  if (e < 0) return e;
  if (is_elementwise(t, i)) {
    for (; e < ad_type_count(*z); e++)
      if (!isfinite(element_of(z->dtype, node_data(t, i), e)) && finite_at(t, i, e)) return e;
    return -1;
  }
  const uint32_t *x = node_operands(t, operation_of(t, i), &n);
  for (int k = 0; k < n; k++)
    if (node_nonfinite(t, x[k]) >= 0) return -1;
  return e;
}

static const char *name_of(const ad_tape *t, uint32_t i) {
  const char *name = external_name(t, i);
  return name ? name : node_primitive(t, i)->name;
}

static int64_t number_of(const ad_tape *t, uint32_t i) {
  int64_t number = 0;
  for (uint32_t k = 0; k < i; k++) number += !node_is_leaf(t, k) && !node_is_result(t, k);
  return number;
}

static void describe_operands(ad_nonfinite *r, const ad_tape *t, uint32_t i, int64_t e) {
  const uint32_t *x = node_operands(t, operation_of(t, i), &r->operands);
  for (int k = 0; k < r->operands && k < AD_NONFINITE_OPERANDS; k++) {
    const ad_type *type = &node_type(t, x[k])->type;
    const void *data = node_data(t, x[k]);
    const int64_t at = is_elementwise(t, i) ? broadcast_element(&node_type(t, i)->type, type, e)
                                            : largest_element(type, data);
    r->operand[k] = ad_type_count(*type) ? element_of(type->dtype, data, at) : 0;
  }
  if (r->operands > AD_NONFINITE_OPERANDS) r->operands = AD_NONFINITE_OPERANDS;
}

/* Node i made element e; where says which operation of f that belongs to: i's own, or the one it is the
 * derivative of. */
static void describe(ad_nonfinite *r, const ad_function *f, const ad_tape *t, uint32_t i, int64_t e,
                     uint32_t where) {
  const ad_type *z = &node_type(t, i)->type;
  r->found = true;
  snprintf(r->operation, sizeof r->operation, "%s", name_of(t, operation_of(t, i)));
  snprintf(r->function, sizeof r->function, "%s", f->name);
  snprintf(r->note, sizeof r->note, "%s", tape_note_at(t, where));
  r->number = number_of(t, where);
  r->element = e;
  r->value = element_of(z->dtype, node_data(t, i), e);
  describe_operands(r, t, i, e);
}

/* --- a replay ------------------------------------------------------------------------------------------- */

typedef struct replay {
  ad_nonfinite *r;
  ad_function *f;
  ad_allocator allocator;
  ad_tape *t;
  ad_var *x, *y;
  size_t variables;
  uint32_t nodes;                   /* of f; those of its derivative follow */
  unsigned char *needed;            /* a byte for each node */
  size_t room;
} replay;

/* A callback has said its name already. */
static ad_status failed(const replay *p, ad_status status) {
  const char *text = p->t ? p->t->message : "", *name = p->f->name;
  const size_t length = strlen(name);
  const bool named = !strncmp(text, name, length) && text[length] == ':';
  snprintf(p->r->message, sizeof p->r->message, "%s%s%s", named ? "" : name, named ? "" : ": ",
           text[0] ? text : ad_status_sentence(status));
  return status;
}

static bool open_lists(replay *p) {
  const ad_function *f = p->f;
  p->variables = ((size_t)f->n_in + (size_t)f->n_out)*sizeof *p->x + 1;
  p->x = memory_get(&p->allocator, p->variables);
  p->y = p->x ? p->x + f->n_in : NULL;
  p->t = ad_tape_new_with(&p->allocator);
  return p->x && p->t;
}

static ad_status open_replay(replay *p, ad_nonfinite *r, ad_function *f, const void *const in[]) {
  *p = (replay){ .r = r, .f = f, .allocator = f->body->allocator };
  if (!open_lists(p)) return failed(p, AD_ERROR_MEMORY);
  for (int i = 0; i < f->n_in; i++) {
    const ad_type type = node_type(f->body, f->in[i])->type;
    const uint32_t at = tape_leaf(p->t, PRIMITIVE_INPUT, &type, in[i]);
    if (at == INVALID_INDEX) return failed(p, AD_ERROR_MEMORY);
    p->x[i] = handle(p->t, at);
  }
  const ad_status status = function_copy(p->t, f->body, f->n_in, f->in, p->x, f->n_out, f->out, p->y);
  p->nodes = (uint32_t)p->t->count;
  return status == AD_OK ? status : failed(p, status);
}

static void close_replay(replay *p) {
  memory_release(&p->allocator, p->x, p->variables);
  memory_release(&p->allocator, p->needed, p->room);
  ad_tape_free(p->t);
}

/* Nodes [from, count) that the marked ones need. */
static bool reserve_marks(replay *p) {
  const size_t old = p->room;
  if (!memory_reserve(&p->allocator, &p->needed, &p->room, p->t->count, 1)) return false;
  memset(p->needed + old, 0, p->room - old);
  return true;
}

static void mark_needed(replay *p, uint32_t from) {
  for (uint32_t i = (uint32_t)p->t->count; i-- > from;) {
    int n;
    if (!p->needed[i] || node_is_leaf(p->t, i)) continue;
    const uint32_t *x = node_operands(p->t, i, &n);
    for (int k = 0; k < n; k++) p->needed[x[k]] = 1;
  }
}

/* Node i computed and looked at; `of` is the operation it belongs to. */
static ad_status look(replay *p, uint32_t i, uint32_t of) {
  ad_tape *t = p->t;
  const uint32_t owner = operation_of(t, i);
  const bool carries = node_tuple(t, owner) && !node_tuple(t, owner)->run;
  ad_status status = node_known(&t->node[i]) ? AD_OK : tape_evaluate(t, 1, &i);
  if (status != AD_OK) {
    failed(p, status);
    const ad_status inside = carries ? nonfinite_descend(p->r, t, owner) : AD_OK;
    return p->r->found && inside == AD_OK ? AD_OK : status;
  }
  const int64_t e = breaks(t, i);
  if (e < 0) return AD_OK;
  if (carries) status = nonfinite_descend(p->r, t, owner);
  if (status == AD_OK && !p->r->found) describe(p->r, p->f, t, i, e, of);
  return status;
}

static bool has_value(const ad_tape *t, uint32_t i) { return !node_is_leaf(t, i) && !node_tuple(t, i); }

static ad_status forwards(replay *p) {
  if (!reserve_marks(p)) return failed(p, AD_ERROR_MEMORY);
  for (int j = 0; j < p->f->n_out; j++) p->needed[p->y[j].at.node.index] = 1;
  mark_needed(p, 0);
  ad_status status = AD_OK;
  for (uint32_t i = 0; i < p->nodes && status == AD_OK && !p->r->found; i++)
    if (p->needed[i] && has_value(p->t, i)) status = look(p, i, i);
  return status;
}

ad_status nonfinite_examine(ad_nonfinite *r, ad_function *f, const void *const in[]) {
  replay p;
  ad_status status = open_replay(&p, r, f, in);
  if (status == AD_OK) status = forwards(&p);
  close_replay(&p);
  return status;
}

/* --- the derivative ------------------------------------------------------------------------------------- */

/* Adjoints of the function's nodes, and lists for one of them. */
typedef struct adjoints {
  replay *p;
  flow *bar;
  bool *moves;                      /* depends on a float input */
  uint32_t *x;                      /* operands, their flows, which are asked for */
  flow *xbar;
  bool *wanted;
  size_t bytes;
} adjoints;

static bool open_adjoints(adjoints *a, replay *p) {
  int n, most = 1;
  for (uint32_t i = 0; i < p->nodes; i++) {
    node_operands(p->t, i, &n);
    if (!node_is_leaf(p->t, i) && n > most) most = n;
  }
  const size_t nodes = p->nodes, operands = (size_t)most;
  a->p = p;
  a->bytes = (nodes + operands)*sizeof(flow) + operands*sizeof *a->x + nodes + operands + 1;
  a->bar = memory_get_zeroed(&p->allocator, a->bytes, 1);
  if (!a->bar) return false;
  a->xbar = a->bar + nodes;
  a->x = (uint32_t *)(a->xbar + operands);
  a->moves = (bool *)(a->x + operands);
  a->wanted = a->moves + nodes;
  for (size_t i = 0; i < nodes; i++) a->bar[i] = flow_none();
  return true;
}

static void find_moving(adjoints *a) {
  const ad_tape *t = a->p->t;
  for (int i = 0; i < a->p->f->n_in; i++) {
    const uint32_t x = a->p->x[i].at.node.index;
    a->moves[x] = node_is_float(t, x);
  }
  for (uint32_t i = 0; i < a->p->nodes; i++) {
    int n;
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n && !a->moves[i]; k++) a->moves[i] = a->moves[x[k]] && flow_passes(t, i, k);
  }
}

/* What was recorded from `from` on for operation i, and comes to f: looks for the first that is at fault
 * where f is not finite. */
static ad_status look_behind(adjoints *a, uint32_t from, uint32_t i, flow f) {
  replay *p = a->p;
  ad_tape *t = p->t;
  if (!flow_connected(f) || p->r->found) return AD_OK;
  const ad_var v = flow_settle(f);
  if (!ad_is_valid(v)) return failed(p, t->status == AD_OK ? AD_ERROR_MEMORY : t->status);
  const uint32_t end = v.at.node.index;
  ad_status status = node_known(&t->node[end]) ? AD_OK : tape_evaluate(t, 1, &end);
  if (status == AD_OK && node_nonfinite(t, end) < 0) return AD_OK;
  if (!reserve_marks(p)) return failed(p, AD_ERROR_MEMORY);
  memset(p->needed, 0, p->room);
  p->needed[end] = 1;
  mark_needed(p, from);
  p->r->derivative = true;
  const uint32_t last = (uint32_t)t->count;
  status = AD_OK;
  for (uint32_t k = from; k < last && status == AD_OK && !p->r->found; k++)
    if (p->needed[k] && has_value(t, k)) status = look(p, k, i);
  if (status == AD_OK && !p->r->found) describe(p->r, p->f, t, end, node_nonfinite(t, end), i);
  if (p->r->found) snprintf(p->r->of, sizeof p->r->of, "%s", name_of(t, i));
  else p->r->derivative = false;
  return status;
}

static bool any_result(const adjoints *a, uint32_t i, int n) {
  for (int j = 0; j < n; j++)
    if (flow_connected(a->bar[i + 1 + (uint32_t)j])) return true;
  return false;
}

/* Records the reverse rule of node i. False when there is nothing to do, or something is wrong with the tape.
 */
static bool record_rule(adjoints *a, uint32_t i, int n) {
  ad_tape *t = a->p->t;
  bool any = false;
  for (int k = 0; k < n; k++) {
    any |= a->wanted[k] = a->moves[a->x[k]] && flow_passes(t, i, k);
    a->xbar[k] = flow_none();
  }
  const tuple_rules *several = node_tuple(t, i);
  if (!any || !(several ? any_result(a, i, tuple_results(t, i)) : flow_connected(a->bar[i]))) return false;
  if (several) return several->reverse(t, i, &a->bar[i + 1], a->wanted, a->xbar);
  flow_reverse(t, i, a->bar[i], a->wanted, a->xbar, FLOW_ASKED);
  return true;
}

static ad_status reverse_node(adjoints *a, uint32_t i) {
  ad_tape *t = a->p->t;
  int n;
  const uint32_t *x = node_operands(t, i, &n), from = (uint32_t)t->count;
  memcpy(a->x, x, (size_t)n*sizeof *x);
  const bool any = record_rule(a, i, n);
  if (t->status != AD_OK) return failed(a->p, t->status);
  ad_status status = AD_OK;
  for (int k = 0; k < n && any && status == AD_OK && !a->p->r->found; k++) {
    if (!a->wanted[k]) continue;
    status = look_behind(a, from, i, a->xbar[k]);
    if (status != AD_OK || a->p->r->found) break;
    const uint32_t before = (uint32_t)t->count;
    a->bar[a->x[k]] = flow_add(t, a->bar[a->x[k]], a->xbar[k], FLOW_ASKED);
    status = look_behind(a, before, i, a->bar[a->x[k]]);
  }
  return status;
}

static ad_status backwards(replay *p) {
  adjoints a;
  ad_tape *t = p->t;
  if (!open_adjoints(&a, p)) return failed(p, AD_ERROR_MEMORY);
  find_moving(&a);
  for (int j = 0; j < p->f->n_out; j++) {
    const uint32_t y = p->y[j].at.node.index;
    if (node_is_float(t, y)) a.bar[y] = flow_add(t, a.bar[y], flow_of(ad_ones(t, node_type(t, y)->type)), 0);
  }
  ad_status status = t->status == AD_OK ? AD_OK : failed(p, t->status);
  for (uint32_t i = p->nodes; i-- > 0 && status == AD_OK && !p->r->found;)
    if (!node_is_leaf(t, i) && !node_is_result(t, i)) status = reverse_node(&a, i);
  memory_release(&p->allocator, a.bar, a.bytes);
  return status;
}

/* --- the text ------------------------------------------------------------------------------------------- */

typedef struct text { char *at; size_t left; } text;

__attribute__((format(printf, 2, 3)))
static void say(text *s, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const int n = vsnprintf(s->at, s->left, format, list);
  va_end(list);
  const size_t used = n < 0 ? 0 : (size_t)n < s->left ? (size_t)n : s->left - (s->left > 0);
  s->at += used;
  s->left -= used;
}

static void compose(ad_nonfinite *r, const ad_function *f) {
  text s = { r->message, sizeof r->message };
  r->message[0] = 0;
  if (r->input >= 0) say(&s, "%s: input %d is not finite at element %lld. ", f->name, r->input,
                         (long long)r->input_element);
  if (!r->found) {
    say(&s, r->input >= 0 ? "No operation makes a NaN or an infinity of finite operands."
                          : "%s: no operation makes a NaN or an infinity, nor does the derivative.", f->name);
    return;
  }
  say(&s, "%s: ", r->path);
  if (r->derivative) say(&s, "in the derivative of %s, ", r->of);
  say(&s, "%s makes ", r->operation);
  if (isnan(r->value)) say(&s, "nan");
  else say(&s, "%g", r->value);
  say(&s, " at element %lld", (long long)r->element);
  for (int k = 0; k < r->operands; k++) say(&s, "%s%.17g", k ? ", " : " of ", r->operand[k]);
  say(&s, "; operation %lld of %s", (long long)r->number, r->function);
  if (r->note[0]) say(&s, ", noted \"%s\"", r->note);
}

/* --- the call ------------------------------------------------------------------------------------------- */

static void look_at_inputs(ad_nonfinite *r, const ad_function *f, const void *const in[]) {
  for (int i = 0; i < f->n_in && r->input < 0; i++) {
    if (!in[i]) continue;
    const ad_type type = ad_function_input_type(f, i);
    const int64_t e = nonfinite_element(&type, in[i]);
    if (e >= 0) r->input = i, r->input_element = e;
  }
}

ad_status ad_find_nonfinite(ad_function *f, const void *const in[], ad_nonfinite *r) {
  if (!r) return AD_ERROR_ARGUMENT;
  *r = (ad_nonfinite){ .step = -1, .input = -1, .input_element = -1, .element = -1, .number = -1 };
  if (!f || f->captures || (f->n_in && !in)) {
    if (f && f->captures)
      snprintf(r->message, sizeof r->message, "%s: has captured variables, which no call supplies", f->name);
    else snprintf(r->message, sizeof r->message, "no %s", f ? "inputs" : "function");
    return AD_ERROR_ARGUMENT;
  }
  snprintf(r->path, sizeof r->path, "%s", f->name);
  look_at_inputs(r, f, in);
  replay p;
  ad_status status = open_replay(&p, r, f, in);
  if (status == AD_OK) status = forwards(&p);
  if (status == AD_OK && !r->found) status = backwards(&p);
  close_replay(&p);
  if (status == AD_OK) compose(r, f);
  else r->found = r->derivative = false;
  return status;
}
