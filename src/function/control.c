/* control.c -- recording carriers: arguments checked, roles found, captured variables supplied. */
#include "adit/control.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "function/carrier.h"
#include "function/invariant.h"
#include "function/wrt.h"

#include <string.h>

/* --- one operation being put together ------------------------------------------------------------------- */

typedef struct building {
  ad_tape *t;
  carrier *c;
  uint32_t *x;
  int n, room;
  size_t bytes;
  bool failed;                      /* with the error on t, which may hold an earlier one */
} building;

static ad_status fail_all(ad_tape *t, int n, ad_var out[], ad_status status) {
  for (int j = 0; j < n; j++) out[j] = handle_invalid(t);
  return status;
}

/* A call that lacks its function, or the inputs of it: the n_out results (1 where nobody knows) are invalid,
 * and the error is on the tape of the first input. */
static ad_status incomplete(const char *what, const ad_var in[], int n_out, ad_var out[]) {
  ad_tape *t = in ? ad_tape_of(1, in) : NULL;
  if (out) fail_all(t, n_out, out, AD_ERROR_ARGUMENT);
  return tape_fail(t, AD_ERROR_ARGUMENT, "%s: no %s", what,
                   !in ? "inputs" : out ? "function" : "place for results");
}

static bool is_complete(const ad_function *f, const ad_var in[], const ad_var out[]) {
  return f && out && (in || function_visible(f) == 0);
}

/* The tape to record on: the innermost of the inputs' and of what the functions have captured. */
static ad_tape *tape_for(const ad_function *f, const ad_function *g, const ad_var in[]) {
  ad_tape *t = ad_tape_of(function_visible(f), in);
  const ad_function *const both[2] = { f, g };
  for (int k = 0; k < 2; k++)
    if (both[k] && both[k]->outer && (!t || both[k]->outer->level > t->level)) t = both[k]->outer;
  return t;
}

static bool open_building(building *b, ad_tape *t, ad_function *f, ad_function *g, int n_in,
                          carrier_kind kind) {
  const size_t made = (carrier_bytes(n_in, f->n_out) + 15) & ~(size_t)15;
  *b = (building){ .t = t, .room = n_in + 1 };
  b->bytes = made + (size_t)b->room*sizeof *b->x;
  b->c = memory_get_zeroed(&t->allocator, b->bytes, 1);
  if (!b->c) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  b->x = (uint32_t *)(void *)((char *)b->c + made);
  b->c->f = f, b->c->g = g;
  b->c->n = -1;
  b->c->n_in = n_in, b->c->n_out = f->n_out;
  b->c->kind = (int32_t)kind;
  return true;
}

/* The same operation on the step that is left when v is moved out; false without memory. */
static bool put_step(building *b, const invariants *v, const uint32_t moved[]) {
  const carrier *c = b->c;
  building s;
  const int n = v->inputs, all = n + v->count;
  if (!open_building(&s, b->t, v->step, NULL, all, (carrier_kind)c->kind)) return false;
  carrier *d = s.c;
  *d = (carrier){ .f = v->step, .n = c->n, .limit = c->limit, .keep = c->keep, .bytes = c->bytes, .n_in = all,
                  .n_out = c->n_out, .kind = c->kind, .policy = c->policy, .backwards = c->backwards,
                  .counted = c->counted };
  for (int k = 0; k < n; k++) d->flag[k] = c->flag[v->input[k]], s.x[k] = b->x[v->input[k]];
  memcpy(d->flag + all, c->flag + c->n_in, (size_t)c->n_out);
  memcpy(s.x + n, moved, (size_t)v->count*sizeof *s.x);
  for (s.n = all; s.n - all < b->n - c->n_in; s.n++) s.x[s.n] = b->x[c->n_in + s.n - all];
  memory_release(&b->t->allocator, b->c, b->bytes);
  *b = s;
  return true;
}

/* What does not change from step to step goes before the loop. */
static void move_out(building *b, const invariants *v, const bool shared[]) {
  ad_tape *t = b->t;
  const size_t room = (size_t)b->c->n_in + (size_t)v->count, bytes = (size_t)v->count*sizeof(uint32_t);
  ad_var *x = vars_get(t, room);
  uint32_t *moved = memory_get(&t->allocator, bytes);
  int n = 0;
  b->failed |= !x || !moved;
  for (int k = 0; k < b->c->n_in && !b->failed; k++)
    if (shared[k]) x[n++] = handle(t, b->x[k]);
  if (!b->failed) b->failed = invariants_record(v, t, b->c->f, shared, x, x + b->c->n_in) != AD_OK;
  for (int i = 0; i < v->count && !b->failed; i++) moved[i] = x[b->c->n_in + i].at.node.index;
  if (!b->failed) b->failed = !put_step(b, v, moved);
  memory_release(&t->allocator, moved, bytes);
  if (x) vars_release(t, x, room);
}

/* Of maps and scans in functions; what is recorded as it runs stays as it was recorded. */
static void simplify_step(building *b) {
  ad_function *f = b->c->f;
  const size_t bytes = (size_t)f->n_in + 1;
  bool *shared = b->failed || !b->t->tracing ? NULL : memory_get(&b->t->allocator, bytes);
  invariants v;
  if (!shared) return;
  for (int k = 0; k < f->n_in; k++) shared[k] = role_in(b->c)[k] == ROLE_SHARED;
  if (invariants_open(&v, f, shared, b->c->n)) {
    move_out(b, &v, shared);
    invariants_close(&v, f);
  }
  memory_release(&b->t->allocator, shared, bytes);
}

static ad_status close_building(building *b, int n_out, ad_var out[]) {
  if (b->c->kind == CARRIER_MAP || b->c->kind == CARRIER_SCAN) simplify_step(b);
  uint32_t i = b->failed ? INVALID_INDEX : carrier_record(b->t, b->c, b->n, b->x);
  for (int j = 0; j < n_out && i != INVALID_INDEX; j++) {
    const uint32_t k = tuple_result(b->t, i, j);
    if (k == INVALID_INDEX) i = k;
    else out[j] = handle(b->t, k);
  }
  memory_release(&b->t->allocator, b->c, b->bytes);
  if (i != INVALID_INDEX) return AD_OK;
  return fail_all(b->t, n_out, out, b->t->status == AD_OK ? AD_ERROR_MEMORY : b->t->status);
}

static void put(building *b, ad_var v) {
  b->failed |= is_literal(v) || !ad_is_valid(v);
  if (!b->failed) b->x[b->n++] = v.at.node.index;
}

/* Input i of f, whatever tape further out it comes from. */
static void put_argument(building *b, ad_function *f, int i, ad_var v) {
  ad_var x = handle_invalid(b->t);
  b->failed |= function_argument(b->t, f, i, v, &x) != AD_OK;
  put(b, x);
}

/* A variable of t: numbers become constants, variables from further out are lifted. */
static bool take(ad_tape *t, const char *what, ad_var v, ad_var *x) {
  if (is_literal(v)) *x = handle(t, tape_constant(t, v.tape ? AD_I64 : AD_F64, literal_value(v)));
  else if (!handle_check(v, what)) tape_fail(t, AD_ERROR_HANDLE, "%s: an input is invalid", what);
  else {
    *x = v.tape == t ? v : handle(t, tape_lift(t, v, what));
    return ad_is_valid(*x);
  }
  return is_literal(v) && ad_is_valid(*x);
}

/* Input k of f: of its own type, or with a leading axis of n more, which it sets if it was -1. */
static void put_each(building *b, const char *what, int k, ad_var v, int64_t *n) {
  ad_var x;
  const ad_type want = ad_function_input_type(b->c->f, k);
  if (is_literal(v) || ad_type_of(v).rank == want.rank) {
    put_argument(b, b->c->f, k, v);
    return;
  }
  if (!take(b->t, what, v, &x)) {
    b->failed = true;
    return;
  }
  const ad_type have = ad_type_of(x);
  char p[192], q[192];
  bool good = have.rank == want.rank + 1 && have.dtype == want.dtype;
  for (int i = 0; i < want.rank && good; i++) good = have.dim[i + 1] == want.dim[i];
  if (!good)
    tape_fail(b->t, AD_ERROR_SHAPE, "%s: input %d of %s is %s, not %s or with one leading axis more", what, k,
              b->c->f->name, ad_type_print(have, p, sizeof p), ad_type_print(want, q, sizeof q));
  else if (*n >= 0 && *n != have.dim[0])
    tape_fail(b->t, AD_ERROR_SHAPE, "%s: input %d has %lld along its first axis, others have %lld", what, k,
              (long long)have.dim[0], (long long)*n);
  b->failed |= !good || (*n >= 0 && *n != have.dim[0]);
  if (*n < 0) *n = have.dim[0];
  b->c->flag[k] = ROLE_EACH;
  put(b, x);
}

static void put_captured(building *b, ad_function *f) {
  const int seen = function_visible(f);
  for (int k = 0; k < f->captures; k++) put_argument(b, f, seen + k, f->captured[k]);
}

/* --- calls ---------------------------------------------------------------------------------------------- */

/* Inlining is worth most for small functions, and costs time and memory for big ones. */
enum { INLINE_BELOW = 512 };

static ad_status record_call(ad_tape *t, ad_function *f, bool checkpoint, const ad_var in[], ad_var out[]) {
  building b;
  ad_var *x = function_arguments(t, f, in);
  if (!x || !open_building(&b, t, f, NULL, f->n_in, CARRIER_CALL)) {
    if (x) vars_release(t, x, (size_t)f->n_in);
    return fail_all(t, f->n_out, out, t->status == AD_OK ? AD_ERROR_MEMORY : t->status);
  }
  b.c->checkpoint = checkpoint;
  for (int i = 0; i < f->n_in; i++) put(&b, x[i]);
  vars_release(t, x, (size_t)f->n_in);
  return close_building(&b, f->n_out, out);
}

ad_status ad_function_apply(ad_function *f, const ad_var in[], ad_var out[]) {
  if (!is_complete(f, in, out)) return incomplete("call", in, f ? f->n_out : 1, out);
  ad_tape *t = tape_for(f, NULL, in);
  if (!t) return fail_all(t, f->n_out, out, AD_ERROR_ARGUMENT);
  return f->size < INLINE_BELOW ? function_apply_on(t, f, in, out) : record_call(t, f, false, in, out);
}

ad_status ad_checkpoint(ad_function *f, const ad_var in[], ad_var out[]) {
  if (!is_complete(f, in, out)) return incomplete("checkpoint", in, f ? f->n_out : 1, out);
  ad_tape *t = tape_for(f, NULL, in);
  if (!t) return fail_all(t, f->n_out, out, AD_ERROR_ARGUMENT);
  return record_call(t, f, true, in, out);
}

/* --- branches ------------------------------------------------------------------------------------------- */

static ad_status check_sides(ad_tape *t, const ad_function *f, const ad_function *g) {
  char p[192], q[192];
  if (function_visible(f) != function_visible(g) || f->n_out != g->n_out)
    return tape_fail(t, AD_ERROR_ARGUMENT, "cond: %s has %d inputs and %d outputs, %s has %d and %d", f->name,
                     function_visible(f), f->n_out, g->name, function_visible(g), g->n_out);
  for (int i = 0; i < function_visible(f) + f->n_out; i++) {
    const int j = i - function_visible(f);
    const ad_type a = j < 0 ? ad_function_input_type(f, i) : ad_function_output_type(f, j),
                  b = j < 0 ? ad_function_input_type(g, i) : ad_function_output_type(g, j);
    if (!ad_type_equal(a, b))
      return tape_fail(t, AD_ERROR_SHAPE, "cond: %s %d is %s in one branch and %s in the other",
                       j < 0 ? "input" : "output", j < 0 ? i : j, ad_type_print(a, p, sizeof p),
                       ad_type_print(b, q, sizeof q));
  }
  return AD_OK;
}

/* f among more inputs: its own first, its captured ones from captured_at on. */
typedef struct widened { ad_function *f; int captured_at; } widened;

static void widened_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const widened *w = context;
  const int visible = function_visible(w->f);
  ad_var *x = vars_get(t, (size_t)w->f->n_in);
  if (!x) return;
  for (int i = 0; i < w->f->n_in; i++) x[i] = in[i < visible ? i : w->captured_at + i - visible];
  function_apply_all(t, w->f, x, out);
  vars_release(t, x, (size_t)w->f->n_in);
}

/* f with the inputs of both functions: first's own, what first and what second has captured. */
static ad_function *widen(ad_tape *t, ad_function *f, const ad_function *first, const ad_function *second) {
  const int visible = function_visible(first), n = first->n_in + second->captures;
  widened w = { f, f == first ? visible : first->n_in };
  ad_type *type = memory_get(&t->allocator, (size_t)n*sizeof *type + 1);
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  ad_function *wide = NULL;
  if (type) {
    for (int k = 0; k < n; k++) {
      const ad_function *from = k < first->n_in ? first : second;
      const int i = k < first->n_in ? k : function_visible(second) + k - first->n_in;
      type[k] = node_type(from->body, from->in[i])->type;
    }
    wide = ad_function_trace_with(&t->allocator, f->name, widened_body, &w, n, type, f->n_out, &report);
  }
  if (!wide) tape_fail(t, report.status, "%s", report.message);
  memory_release(&t->allocator, type, (size_t)n*sizeof *type + 1);
  return wide;
}

/* Two functions that run on the same inputs: as they are, or widened. What comes back is released by the
 * caller. */
static bool widen_both(ad_tape *t, ad_function *f, ad_function *g, ad_function *wide[2]) {
  const bool plain = f->captures + g->captures == 0;
  wide[0] = plain ? ad_function_retain(f) : widen(t, f, f, g);
  wide[1] = plain ? ad_function_retain(g) : widen(t, g, f, g);
  return wide[0] && wide[1];
}

/* The inputs that f has of its own, then what f and g have captured. */
static void put_both(building *b, ad_function *f, ad_function *g, const ad_var in[]) {
  for (int i = 0; i < function_visible(f); i++) put_argument(b, f, i, in[i]);
  put_captured(b, f);
  put_captured(b, g);
}

ad_status ad_cond(ad_var p, ad_function *f, ad_function *g, const ad_var in[], ad_var out[]) {
  if (!is_complete(f, in, out) || !g) return incomplete("cond", in, f ? f->n_out : g ? g->n_out : 1, out);
  ad_tape *t = tape_for(f, g, in), *own = ad_tape_of(1, &p);
  if (own && (!t || own->level > t->level)) t = own;
  if (!t) return fail_all(t, f->n_out, out, AD_ERROR_ARGUMENT);
  ad_var condition;
  ad_function *side[2] = { NULL, NULL };
  building b;
  if (check_sides(t, f, g) != AD_OK || !take(t, "cond", p, &condition))
    return fail_all(t, f->n_out, out, t->status);
  if (ad_type_of(condition).rank)
    return fail_all(t, f->n_out, out, tape_fail(t, AD_ERROR_SHAPE, "cond: the condition is no scalar"));
  condition = ad_cast(condition, AD_BOOL);
  ad_status status = AD_ERROR_MEMORY;
  if (widen_both(t, f, g, side) && open_building(&b, t, side[0], side[1], side[0]->n_in, CARRIER_BRANCH)) {
    put_both(&b, f, g, in);
    put(&b, condition);
    status = close_building(&b, f->n_out, out);
  } else status = fail_all(t, f->n_out, out, t->status == AD_OK ? AD_ERROR_MEMORY : t->status);
  ad_function_free(side[0]);
  ad_function_free(side[1]);
  return status;
}

/* --- maps ----------------------------------------------------------------------------------------------- */

ad_status ad_map(ad_function *f, const ad_var in[], ad_var out[]) {
  if (!is_complete(f, in, out)) return incomplete("map", in, f ? f->n_out : 1, out);
  ad_tape *t = tape_for(f, NULL, in);
  building b;
  if (!t || !open_building(&b, t, f, NULL, f->n_in, CARRIER_MAP))
    return fail_all(t, f->n_out, out, t ? t->status : AD_ERROR_ARGUMENT);
  for (int k = 0; k < function_visible(f); k++) put_each(&b, "map", k, in[k], &b.c->n);
  if (b.c->n < 0 && !b.failed)
    b.failed = tape_fail(t, AD_ERROR_SHAPE, "map: no input of %s has a leading axis of instances", f->name)
        != AD_OK;
  put_captured(&b, f);
  memset(b.c->flag + b.c->n_in, ROLE_EACH, (size_t)b.c->n_out);
  return close_building(&b, f->n_out, out);
}

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  if (tape_settle(t) == AD_OK) ad_map(context, in, out);
}

ad_function *ad_function_map(ad_function *f, int64_t n, const bool mapped[]) {
  if (!f || n < 0) return NULL;
  const int visible = function_visible(f);
  const ad_allocator *a = &f->body->allocator;
  ad_type *in = memory_get(a, (size_t)visible*sizeof *in + 1);
  bool good = in != NULL;
  for (int i = 0; i < visible && good; i++) {
    in[i] = ad_function_input_type(f, i);
    if (mapped && !mapped[i]) continue;
    good = in[i].rank < AD_MAX_RANK;
    if (!good) break;
    memmove(in[i].dim + 1, in[i].dim, sizeof in[i].dim - sizeof in[i].dim[0]);
    in[i].dim[0] = n;
    in[i].rank++;
  }
  ad_function *m = good ? function_derive(f, "_map", map_body, f, visible, in, f->n_out) : NULL;
  memory_release(a, in, (size_t)visible*sizeof *in + 1);
  return m;
}

/* --- loops ---------------------------------------------------------------------------------------------- */

static const ad_loop no_options = { .keep = AD_KEEP_STATES };

static bool set_policy(building *b, const char *what, const ad_loop *o) {
  carrier *c = b->c;
  if (o->keep < AD_KEEP_STATES || o->keep > AD_KEEP_ALL || o->k < 0 || o->bytes < 0 || o->steps < 0
      || o->limit < 0)
    return tape_fail(b->t, AD_ERROR_ARGUMENT, "%s: an option is out of range", what) == AD_OK;
  if (o->k == 0 && (o->keep == AD_KEEP_EVERY || (o->keep == AD_KEEP_BINOMIAL && o->bytes == 0)))
    return tape_fail(b->t, AD_ERROR_ARGUMENT, "%s: how many states are kept is not given", what) == AD_OK;
  c->policy = (int32_t)o->keep;
  c->keep = o->k < (int64_t)1 << 62 ? o->k : (int64_t)1 << 62;             /* so that n + k is a number */
  c->bytes = o->bytes;
  c->limit = o->limit ? o->limit : (int64_t)1 << 62;
  c->backwards = o->backwards;
  return true;
}

static bool put_count(building *b, const ad_loop *o, bool stacks) {
  ad_var count;
  if (!o->counted || ad_is_none(o->count)) return true;
  if (!take(b->t, "scan", o->count, &count)) return false;
  if (ad_type_of(count).rank || ad_type_of(count).dtype > AD_I64)
    return tape_fail(b->t, AD_ERROR_DTYPE, "scan: the number of steps is no integer scalar") == AD_OK;
  if (b->c->n < 0 && stacks)
    return tape_fail(b->t, AD_ERROR_ARGUMENT, "scan: stacked outputs need a number of steps at most")
           == AD_OK;
  b->c->counted = true;
  put(b, ad_cast(count, AD_I64));
  return true;
}

/* State k is the same type before and after a step. */
static bool check_state(ad_tape *t, const char *what, const ad_function *f, int k) {
  char p[192], q[192];
  if (ad_type_equal(ad_function_input_type(f, k), ad_function_output_type(f, k))) return true;
  tape_fail(t, AD_ERROR_SHAPE, "%s: state %d of %s is %s before a step and %s after it", what, k, f->name,
            ad_type_print(ad_function_input_type(f, k), p, sizeof p),
            ad_type_print(ad_function_output_type(f, k), q, sizeof q));
  return false;
}

static bool set_states(building *b, const char *what, int states) {
  const ad_function *f = b->c->f;
  if (states < 0 || states > function_visible(f) || states > f->n_out)
    return tape_fail(b->t, AD_ERROR_ARGUMENT, "%s: %s has no %d states", what, f->name, states) == AD_OK;
  for (int k = 0; k < states; k++) {
    if (!check_state(b->t, what, f, k)) return false;
    b->c->flag[k] = b->c->flag[b->c->n_in + k] = ROLE_STATE;
  }
  memset(b->c->flag + b->c->n_in + states, ROLE_EACH, (size_t)(f->n_out - states));
  return true;
}

static void put_scan(building *b, const char *what, int states, const ad_loop *o, const ad_var in[]) {
  int64_t n = -1;
  b->failed |= !set_policy(b, what, o) || !set_states(b, what, states);
  for (int k = 0; k < function_visible(b->c->f) && !b->failed; k++) {
    if (k >= states) put_each(b, what, k, in[k], &n);
    else put_argument(b, b->c->f, k, in[k]);
  }
  if (b->failed) return;
  put_captured(b, b->c->f);
  if (n >= 0 && o->steps && o->steps != n)
    b->failed |= tape_fail(b->t, AD_ERROR_SHAPE, "%s: %lld steps, but inputs for %lld", what,
                           (long long)o->steps, (long long)n) != AD_OK;
  if (n < 0 && o == &no_options)
    b->failed |= tape_fail(b->t, AD_ERROR_ARGUMENT,
                           "%s: no input has an axis of steps, and no option says how many", what) != AD_OK;
  const bool bounded = n >= 0 || o->steps || !o->counted;
  b->c->n = n >= 0 ? n : bounded ? o->steps : -1;
  b->failed |= !put_count(b, o, b->c->n_out > states);
}

static ad_status scan(const char *what, ad_function *f, int states, const ad_loop *o, const ad_var in[],
                      ad_var out[]) {
  if (!is_complete(f, in, out)) return incomplete(what, in, f ? f->n_out : 1, out);
  ad_tape *t = tape_for(f, NULL, in), *own = o && o->counted ? ad_tape_of(1, &o->count) : NULL;
  if (own && (!t || own->level > t->level)) t = own;
  building b;
  if (!t || !open_building(&b, t, f, NULL, f->n_in, CARRIER_SCAN))
    return fail_all(t, f->n_out, out, t ? t->status : AD_ERROR_ARGUMENT);
  put_scan(&b, what, states, o ? o : &no_options, in);
  return close_building(&b, f->n_out, out);
}

ad_status ad_scan(ad_function *f, int states, const ad_loop *o, const ad_var in[], ad_var out[]) {
  return scan("scan", f, states, o, in, out);
}

ad_status ad_fold(ad_function *f, int states, const ad_loop *o, const ad_var in[], ad_var out[]) {
  if (!is_complete(f, in, out) || f->n_out == states) return scan("fold", f, states, o, in, out);
  ad_tape *t = tape_for(f, NULL, in);
  return fail_all(t, f->n_out, out,
                  tape_fail(t, AD_ERROR_ARGUMENT, "fold: %s has outputs besides its %d states", f->name,
                            states));
}

/* The first element is the start, the others are the steps. */
ad_status ad_reduce(ad_function *f, const ad_loop *o, const ad_var in[], ad_var *out) {
  if (!f || !in || !out) return incomplete("reduce", in, 1, out);
  ad_tape *t = ad_tape_of(1, in);
  const ad_type type = t ? ad_type_of(in[0]) : ad_type_make(AD_F64, 0, NULL);
  const int n = function_visible(f);
  if (!t || n < 2 || f->n_out != 1 || type.rank < 1 || type.dim[0] < 1)
    return fail_all(t, 1, out, tape_fail(t, AD_ERROR_ARGUMENT,
                                         "reduce: needs f(a, b, ..) -> a, and elements along a first axis"));
  const int64_t first = 0;
  ad_var *x = vars_get(t, (size_t)n);
  if (!x) return fail_all(t, 1, out, AD_ERROR_MEMORY);
  x[0] = ad_at(in[0], 1, &first);
  x[1] = ad_slice(in[0], 0, 1, type.dim[0] - 1, 1);
  for (int k = 2; k < n; k++) x[k] = in[k - 1];
  const ad_status status = scan("reduce", f, 1, o, x, out);
  vars_release(t, x, (size_t)n);
  return status;
}

static bool check_condition(ad_tape *t, const ad_function *g, const ad_function *f) {
  const ad_type type = ad_function_output_type(g, 0);
  bool good = g->n_out == 1 && type.rank == 0 && function_visible(g) <= function_visible(f);
  for (int k = 0; k < function_visible(g) && good; k++)
    good = ad_type_equal(ad_function_input_type(g, k), ad_function_input_type(f, k));
  if (!good) tape_fail(t, AD_ERROR_ARGUMENT,
                       "while: %s is no condition, one scalar from the first inputs of %s", g->name, f->name);
  return good;
}

ad_status ad_while(ad_function *condition, ad_function *body, const ad_loop *o, const ad_var in[],
                   ad_var out[]) {
  if (!condition || !is_complete(body, in, out)) return incomplete("while", in, body ? body->n_out : 1, out);
  ad_tape *t = tape_for(body, condition, in);
  ad_function *wide[2] = { NULL, NULL };
  building b;
  if (!t || !check_condition(t, condition, body) || !widen_both(t, body, condition, wide)
      || !open_building(&b, t, wide[0], wide[1], wide[0]->n_in, CARRIER_LOOP)) {
    ad_function_free(wide[0]);
    ad_function_free(wide[1]);
    return fail_all(t, body->n_out, out, t ? t->status : AD_ERROR_ARGUMENT);
  }
  b.failed |= !set_policy(&b, "while", o ? o : &no_options) || !set_states(&b, "while", body->n_out);
  put_both(&b, body, condition, in);
  const ad_status status = close_building(&b, body->n_out, out);
  ad_function_free(wide[0]);
  ad_function_free(wide[1]);
  return status;
}
