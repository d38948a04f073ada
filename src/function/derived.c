/* derived.c -- functions that belong to another one, made once each. */
#include "function/derived.h"
#include "function/carrier.h"
#include "function/wrt.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "derive/flow.h"
#include "primitives/library.h"
#include "primitives/reduce.h"

#include <stdio.h>
#include <string.h>

/* --- what is kept --------------------------------------------------------------------------------------- */

typedef struct derived_entry {
  struct derived_entry *next;
  ad_function *f;
  derived_kind kind;
  int64_t number;
  size_t flags;                     /* bytes in flag[] */
  bool flag[];                      /* of inputs, then of outputs */
} derived_entry;

static size_t entry_bytes(const derived_entry *e) { return sizeof *e + e->flags; }

static bool fits(const derived_entry *e, const ad_function *of, derived_kind kind, int64_t number,
                 const bool in[], const bool out[]) {
  return e->kind == kind && e->number == number && !memcmp(e->flag, in, (size_t)of->n_in)
         && !memcmp(e->flag + of->n_in, out, (size_t)of->n_out);
}

static ad_function *find_from(derived_entry *e, const derived_entry *end, const ad_function *of,
                              derived_kind kind, int64_t number, const bool in[], const bool out[]) {
  while (e != end && !fits(e, of, kind, number, in, out)) e = e->next;
  return e == end ? NULL : e->f;
}

ad_function *derived_find(ad_function *of, derived_kind kind, int64_t number, const bool in[],
                          const bool out[]) {
  derived_entry *head = atomic_load_explicit(&of->derived, memory_order_acquire);
  return find_from(head, NULL, of, kind, number, in, out);
}

ad_function *derived_keep(ad_function *of, derived_kind kind, int64_t number, const bool in[],
                          const bool out[], ad_function *f) {
  const size_t flags = (size_t)of->n_in + (size_t)of->n_out;
  derived_entry *e = memory_get(&of->body->allocator, sizeof *e + flags);
  if (!e) {
    ad_function_free(f);
    return NULL;
  }
  *e = (derived_entry){ NULL, f, kind, number, flags };
  memcpy(e->flag, in, (size_t)of->n_in);
  memcpy(e->flag + of->n_in, out, (size_t)of->n_out);
  void *head = atomic_load_explicit(&of->derived, memory_order_acquire);
  derived_entry *checked = NULL;
  do {
    ad_function *first = find_from(head, checked, of, kind, number, in, out);
    if (first) {
      memory_release(&of->body->allocator, e, entry_bytes(e));
      ad_function_free(f);
      return first;
    }
    checked = e->next = head;
  } while (!atomic_compare_exchange_weak_explicit(&of->derived, &head, e, memory_order_acq_rel,
                                                  memory_order_acquire));
  return f;
}

void function_free_derived(ad_function *f) {
  for (derived_entry *e = f->derived, *next; e; e = next) {
    next = e->next;
    ad_function_free(e->f);
    memory_release(&f->body->allocator, e, entry_bytes(e));
  }
}

/* --- what depends on what ------------------------------------------------------------------------------- */

bool derived_reached(ad_function *f, const bool in[], bool out[]) {
  const ad_tape *t = f->body;
  unsigned char *reached = memory_get_zeroed(&t->allocator, t->count + 1, 1);
  if (!reached) return false;
  for (int i = 0; i < f->n_in; i++) reached[f->in[i]] = in[i];
  for (uint32_t i = 0; i < t->count; i++) {
    int n;
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n && !reached[i]; k++) reached[i] = reached[x[k]] && flow_passes(t, i, k);
  }
  for (int j = 0; j < f->n_out; j++) out[j] = reached[f->out[j]] && node_is_float(t, f->out[j]);
  memory_release(&t->allocator, reached, t->count + 1);
  return true;
}

bool derived_reaching(ad_function *f, const bool out[], bool in[]) {
  const ad_tape *t = f->body;
  unsigned char *reaching = memory_get_zeroed(&t->allocator, t->count + 1, 1);
  if (!reaching) return false;
  for (int j = 0; j < f->n_out; j++) reaching[f->out[j]] |= out[j] && node_is_float(t, f->out[j]);
  for (uint32_t i = (uint32_t)t->count; i-- > 0;) {
    int n;
    if (!reaching[i] || node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) reaching[x[k]] |= flow_passes(t, i, k);
  }
  for (int i = 0; i < f->n_in; i++) in[i] = reaching[f->in[i]] && node_is_float(t, f->in[i]);
  memory_release(&t->allocator, reaching, t->count + 1);
  return true;
}

/* --- traces --------------------------------------------------------------------------------------------- */

typedef struct request {
  ad_function *f;
  int order, n, m, sums;            /* how many inputs, outputs and sums are flagged */
  const bool *in, *out, *sum;
} request;

static int count(int n, const bool flag[]) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += flag[i];
  return sum;
}

static int select_flagged(int n, const bool flag[], const ad_var x[], ad_var chosen[]) {
  int k = 0;
  for (int i = 0; i < n; i++)
    if (flag[i]) chosen[k++] = x[i];
  return k;
}

static void jvp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const request *r = context;
  const ad_function *f = r->f;
  const size_t room = (size_t)r->n + (size_t)r->m;
  ad_var *x = vars_get(t, room);
  if (!x) return;
  ad_var *y = x + r->n;
  t->inlines = true;
  if (function_apply_all(t, r->f, in, out) == AD_OK) {
    select_flagged(f->n_in, r->in, in, x);
    select_flagged(f->n_out, r->out, out, y);
    if (r->m) ad_jvp(r->n, x, in + f->n_in, r->m, y, out + f->n_out);
  }
  vars_release(t, x, room);
}

static void vjp_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const request *r = context;
  const ad_function *f = r->f;
  const size_t room = (size_t)r->n + (size_t)r->m + (size_t)f->n_out;
  ad_var *x = vars_get(t, room);
  if (!x) return;
  ad_var *y = x + r->n, *all = y + r->m;
  t->inlines = true;
  if (function_apply_all(t, r->f, in, all) == AD_OK) {
    select_flagged(f->n_in, r->in, in, x);
    select_flagged(f->n_out, r->out, all, y);
    if (r->n) ad_vjp(r->m, y, in + f->n_in, r->n, x, out);
    const ad_var *sum = in + f->n_in + r->m;
    for (int i = 0, k = 0; i < f->n_in; i++) {
      if (r->sum[i] && r->in[i]) out[k] = ad_add(*sum++, out[k]);
      k += r->in[i];
    }
  }
  vars_release(t, x, room);
}

/* Coefficient k of input i stands at (k - 1)*n + i among the inputs, and so for outputs. */
static void taylor_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const request *r = context;
  const ad_function *f = r->f;
  const size_t n = (size_t)r->n, m = (size_t)r->m, order = (size_t)r->order,
               room = n + m + n*order + m*(order + 1);
  ad_var *x = vars_get(t, room);
  if (!x) return;
  ad_var *y = x + n, *xc = y + m, *yc = xc + n*order;
  t->inlines = true;
  if (function_apply_all(t, r->f, in, out) == AD_OK) {
    select_flagged(f->n_in, r->in, in, x);
    select_flagged(f->n_out, r->out, out, y);
    for (size_t i = 0; i < n; i++)
      for (size_t k = 0; k < order; k++) xc[i*order + k] = in[(size_t)f->n_in + k*n + i];
    if (m && ad_taylor(r->order, r->n, x, xc, r->m, y, yc) == AD_OK)
      for (size_t j = 0; j < m; j++)
        for (size_t k = 0; k < order; k++) out[(size_t)f->n_out + k*m + j] = yc[j*(order + 1) + k + 1];
  }
  vars_release(t, x, room);
}

/* The types of f's inputs, then `times` those of the flagged inputs or outputs, then those of the sums. */
static ad_type *input_types(const request *r, bool cotangents, int times, int *n) {
  const ad_function *f = r->f;
  *n = f->n_in + times*(cotangents ? r->m : r->n) + r->sums;
  ad_type *type = memory_get(&f->body->allocator, (size_t)*n*sizeof *type + 1);
  if (!type) return NULL;
  int k = 0;
  for (int i = 0; i < f->n_in; i++) type[k++] = node_type(f->body, f->in[i])->type;
  for (int o = 0; o < times; o++) {
    for (int i = 0; i < f->n_in && !cotangents; i++)
      if (r->in[i]) type[k++] = type[i];
    for (int j = 0; j < f->n_out && cotangents; j++)
      if (r->out[j]) type[k++] = node_type(f->body, f->out[j])->type;
  }
  for (int i = 0; i < f->n_in && r->sums; i++)
    if (r->sum[i] && r->in[i]) type[k++] = type[i];
  return type;
}

static ad_function *trace(ad_tape *t, request *r, const char *suffix, ad_body *body, bool cotangents,
                          int times, int n_out) {
  const ad_allocator *a = &r->f->body->allocator;
  char name[128];
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  int n;
  ad_type *in = input_types(r, cotangents, times, &n);
  snprintf(name, sizeof name, "%.100s%s", r->f->name, suffix);
  ad_function *d = in ? ad_function_trace_with(a, name, body, r, n, in, n_out, &report) : NULL;
  memory_release(a, in, (size_t)n*sizeof *in + 1);
  if (!d) tape_fail(t, report.status, "%s", report.message);
  return d;
}

static ad_function *keep(ad_tape *t, const request *r, derived_kind kind, int64_t number, ad_function *d) {
  ad_function *kept = d ? derived_keep(r->f, kind, number, r->in, r->out, d) : NULL;
  if (d && !kept) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  return kept;
}

static void opened_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const request *r = context;
  t->inlines = true;
  function_apply_all(t, r->f, in, out);
}

static bool has_calls(const ad_function *f) {
  for (uint32_t i = 0; i < f->body->count; i++) {
    size_t size;
    if (!node_tuple(f->body, i)) continue;
    const carrier *c = node_attribute(f->body, i, &size);
    if (node_primitive(f->body, i) == &carrier_primitives[CARRIER_CALL] && !c->checkpoint) return true;
  }
  return false;
}

ad_function *derived_opened(ad_tape *t, ad_function *f) {
  if (!has_calls(f)) return f;
  const size_t bytes = (size_t)f->n_in + (size_t)f->n_out + 1;
  bool *none = memory_get_zeroed(&f->body->allocator, bytes, 1);
  if (!none) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  request r = { .f = f, .in = none, .out = none };
  ad_function *found = derived_find(f, DERIVED_OPENED, 0, none, none);
  if (!found) found = keep(t, &r, DERIVED_OPENED, 0, trace(t, &r, "", opened_body, false, 0, f->n_out));
  memory_release(&f->body->allocator, none, bytes);
  return found;
}

ad_function *derived_jvp(ad_tape *t, ad_function *f, const bool in[], const bool out[]) {
  ad_function *found = derived_find(f, DERIVED_JVP, 0, in, out);
  if (found) return found;
  request r = { .f = f, .n = count(f->n_in, in), .m = count(f->n_out, out), .in = in, .out = out };
  return keep(t, &r, DERIVED_JVP, 0, trace(t, &r, "_jvp", jvp_body, false, 1, f->n_out + r.m));
}

/* Which inputs are summed goes into the key as a number. */
static int64_t hash_flags(int n, const bool flag[]) {
  uint64_t h = 0;
  for (int i = 0; i < n; i++) h = h*0x9E3779B97F4A7C15u + (flag[i] ? 2 : 1);
  return (int64_t)h;
}

ad_function *derived_vjp(ad_tape *t, ad_function *f, const bool in[], const bool out[], const bool sums[]) {
  const int64_t number = hash_flags(f->n_in, sums);
  ad_function *found = derived_find(f, DERIVED_VJP, number, in, out);
  if (found) return found;
  request r = { .f = f, .n = count(f->n_in, in), .m = count(f->n_out, out), .in = in, .out = out,
                .sum = sums };
  for (int i = 0; i < f->n_in; i++) r.sums += in[i] && sums[i];
  return keep(t, &r, DERIVED_VJP, number, trace(t, &r, "_vjp", vjp_body, true, 1, r.n));
}

/* --- a vjp in two parts --------------------------------------------------------------------------------- */

typedef struct split {
  ad_function *f, *vjp;
  uint32_t *node;                   /* of vjp's body: the values that go from one part to the other */
  int count;
  size_t bytes;
} split;

enum { LATE = 1, WANTED = 2, CHOSEN = 4, AGAIN = 8 };

/* What depends on cotangents or sums is late; early operands of late nodes are chosen, and early outputs. */
static void choose_values(const ad_function *v, int early_inputs, unsigned char mark[]) {
  const ad_tape *t = v->body;
  int n;
  for (int i = early_inputs; i < v->n_in; i++) mark[v->in[i]] |= LATE;
  for (uint32_t i = 0; i < t->count; i++) {
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) mark[i] |= mark[x[k]] & LATE;
  }
  for (int j = 0; j < v->n_out; j++) mark[v->out[j]] |= mark[v->out[j]] & LATE ? WANTED : CHOSEN;
  for (uint32_t i = (uint32_t)t->count; i-- > 0;) {
    if ((mark[i] & (LATE | WANTED)) != (LATE | WANTED) || node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) mark[x[k]] |= mark[x[k]] & LATE ? WANTED : CHOSEN;
  }
}

/* Is node i a part of its operand, or an instruction or two for each element? Computing it again costs less
 * than writing and reading its value. */
static bool is_cheap(const ad_tape *t, uint32_t i) {
  static const elementwise_id cheap[] = { ROW_add, ROW_sub, ROW_mul, ROW_neg, ROW_square, ROW_abs, ROW_relu };
  const unsigned moves = AD_TRAIT_LINEAR | AD_TRAIT_UNIT_WEIGHTS;
  const ad_type *types[1];
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  const ad_primitive *p = node_primitive(t, i);
  for (size_t k = 0; k < sizeof cheap/sizeof *cheap; k++)
    if (p->row == &elementwise_rows[cheap[k]]) return true;
  if (n != 1) return n == 0;
  if (p == &cast_primitive || (p->traits & AD_TRAIT_ALIAS)) return true;
  const ad_operation op = node_operation(t, i, types);
  return (p->traits & moves) == moves && !reduction_kernel_of(&op)
         && ad_type_count(op.z) <= node_type(t, x[0])->count;
}

/* Values that are cheap to make of what is there anyway (inputs, constants, other values) are not kept. */
static void drop_cheap(const ad_function *v, unsigned char mark[]) {
  const ad_tape *t = v->body;
  int n;
  for (uint32_t i = 0; i < t->count; i++) {
    if (!(mark[i] & CHOSEN) || node_is_leaf(t, i) || node_is_result(t, i) || node_tuple(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    bool there = is_cheap(t, i);
    for (int k = 0; k < n; k++) there &= node_is_leaf(t, x[k]) || (mark[x[k]] & (CHOSEN | AGAIN)) != 0;
    if (there) mark[i] = (unsigned char)((mark[i] & ~CHOSEN) | AGAIN);
  }
}

static bool open_split(split *s, ad_function *f, ad_function *vjp) {
  const ad_tape *t = vjp->body;
  unsigned char *mark = memory_get_zeroed(&t->allocator, t->count + 1, 1);
  *s = (split){ .f = f, .vjp = vjp, .bytes = (t->count + 1)*sizeof *s->node };
  s->node = mark ? memory_get(&t->allocator, s->bytes) : NULL;
  if (s->node) {
    choose_values(vjp, f->n_in, mark);
    drop_cheap(vjp, mark);
  }
  for (uint32_t i = 0; i < t->count && s->node; i++)
    if (mark[i] & CHOSEN && !node_is_leaf(t, i)) s->node[s->count++] = i;
  memory_release(&t->allocator, mark, t->count + 1);
  return s->node != NULL;
}

static void early_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const split *s = context;
  if (function_apply_all(t, s->f, in, out) != AD_OK || s->count == 0) return;
  function_copy(t, s->vjp->body, s->f->n_in, s->vjp->in, in, s->count, s->node, out + s->f->n_out);
}

static void late_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const split *s = context;
  const size_t n = (size_t)s->vjp->n_in + (size_t)s->count, bytes = n*sizeof(uint32_t) + 1;
  uint32_t *node = memory_get(&t->allocator, bytes);
  if (!node) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  memcpy(node, s->vjp->in, (size_t)s->vjp->n_in*sizeof *node);
  memcpy(node + s->vjp->n_in, s->node, (size_t)s->count*sizeof *node);
  function_copy(t, s->vjp->body, (int)n, node, in, s->vjp->n_out, s->vjp->out, out);
  memory_release(&t->allocator, node, bytes);
}

/* One part: inputs are those of `like`, and of the late part the values. */
static ad_function *trace_part(ad_tape *t, split *s, const ad_function *like, bool late, int n_out) {
  const ad_allocator *a = &s->f->body->allocator;
  const int n = like->n_in + (late ? s->count : 0);
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_type *in = memory_get(a, (size_t)n*sizeof *in + 1);
  ad_function *part = NULL;
  for (int i = 0; i < n && in; i++)
    in[i] = i < like->n_in ? node_type(like->body, like->in[i])->type
                           : node_type(s->vjp->body, s->node[i - like->n_in])->type;
  if (in) part = ad_function_trace_with(a, like->name, late ? late_body : early_body, s, n, in, n_out,
                                        &report);
  if (!part) tape_fail(t, report.status, "%s", report.message);
  memory_release(a, in, (size_t)n*sizeof *in + 1);
  return part;
}

bool derived_split(ad_tape *t, ad_function *f, const bool in[], const bool out[], const bool sums[],
                   ad_function **early, ad_function **late) {
  const int64_t number = hash_flags(f->n_in, sums);
  const request r = { .f = f, .in = in, .out = out };
  *early = derived_find(f, DERIVED_EARLY, number, in, out);
  *late = derived_find(f, DERIVED_LATE, number, in, out);
  if (*early && *late) return true;
  ad_function *vjp = derived_vjp(t, f, in, out, sums);
  split s = { 0 };
  if (vjp && open_split(&s, f, vjp)) {
    *early = keep(t, &r, DERIVED_EARLY, number, trace_part(t, &s, f, false, f->n_out + s.count));
    *late = *early ? keep(t, &r, DERIVED_LATE, number, trace_part(t, &s, vjp, true, vjp->n_out)) : NULL;
  } else if (vjp) tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (vjp) memory_release(&vjp->body->allocator, s.node, s.bytes);
  return *early && *late;
}

/* --- Taylor --------------------------------------------------------------------------------------------- */

ad_function *derived_taylor(ad_tape *t, ad_function *f, int order, const bool in[], const bool out[]) {
  ad_function *found = derived_find(f, DERIVED_TAYLOR, order, in, out);
  if (found) return found;
  request r = { .f = f, .order = order, .n = count(f->n_in, in), .m = count(f->n_out, out), .in = in,
                .out = out };
  return keep(t, &r, DERIVED_TAYLOR, order,
              trace(t, &r, "_taylor", taylor_body, false, order, f->n_out + order*r.m));
}
