/* batch_carrier.c -- calls and loops on a batch.
 *
 * A call, or a branch that all instances take alike, calls batched functions; a branch of elementwise sides
 * runs both and lets each instance choose. A map over m becomes a map over n m
 * instances. A scan steps through all instances at once: what is stacked has its steps in front of the
 * instances while it runs. Cotangents of what is one value for all instances must stay apart, for the map to
 * sum: an adjoint takes such inputs repeated.
 */
#include "function/batch_carrier.h"
#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "function/batch.h"
#include "function/derived.h"
#include "function/wrt.h"

#include <string.h>

/* --- putting it together -------------------------------------------------------------------------------- */

typedef struct assembly {
  const carrier_batch *b;
  carrier *c;                       /* being made */
  uint32_t *x;                      /* its operands */
  bool *mapped;                     /* inputs of the functions that are batched: of f's, cotangents, sums */
  int count;
  size_t bytes;
  bool failed, impossible;
} assembly;

static bool open_assembly(assembly *a, const carrier_batch *b) {
  const carrier *c = b->c;
  const size_t made = (carrier_bytes(c->n_in, c->n_out) + 15) & ~(size_t)15;
  /* of a vjp: inputs, cotangents, sums, and kept values, which are operands */
  const size_t inputs = 2*(size_t)c->n_in + (size_t)c->n_out + (size_t)b->operands + 1;
  *a = (assembly){ .b = b, .bytes = made + (size_t)b->operands*sizeof *a->x + inputs };
  a->c = memory_get_zeroed(&b->t->allocator, a->bytes, 1);
  if (!a->c) {
    tape_fail(b->t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  memcpy(a->c, c, carrier_bytes(c->n_in, c->n_out));
  a->x = (uint32_t *)(void *)((char *)a->c + made);
  a->mapped = (bool *)(a->x + b->operands);
  return true;
}

static void close_assembly(assembly *a) { memory_release(&a->b->t->allocator, a->c, a->bytes); }

static void put(assembly *a, ad_var v) {
  a->failed |= !ad_is_valid(v);
  if (!a->failed) a->x[a->count++] = v.at.node.index;
}

static ad_var exchange(ad_var v) {
  int perm[AD_MAX_RANK];
  const int rank = ad_type_of(v).rank;
  for (int i = 0; i < rank; i++) perm[i] = i < 2 ? 1 - i : i;
  return ad_transpose(v, perm);
}

static ad_type exchanged_type(ad_type type) {
  const int64_t first = type.dim[0];
  type.dim[0] = type.dim[1];
  type.dim[1] = first;
  return type;
}

/* v with its first two axes exchanged; of what has been exchanged already, what it was. Equal operations are
 * one node where a function is traced, so the same exchange of v's operand says whether v is that. */
static ad_var exchanged(ad_var v) {
  const ad_tape *t = v.tape;
  const uint32_t i = v.at.node.index;
  int n = 0;
  const uint32_t *x = node_is_leaf(t, i) || node_tuple(t, i) ? NULL : node_operands(t, i, &n);
  if (n != 1 || !ad_type_equal(node_type(t, x[0])->type, exchanged_type(ad_type_of(v)))) return exchange(v);
  const ad_var u = handle(v.tape, x[0]), again = exchange(u);
  return ad_is_valid(again) && again.at.node.index == i ? u : exchange(v);
}

/* Operand k with a leading axis of n: as it comes, or repeated. */
static ad_var spread(const carrier_batch *b, int k) {
  if (b->batched[k]) return b->x[k];
  ad_type type = ad_type_of(b->x[k]);
  if (type.rank == AD_MAX_RANK) return ad_fail(b->t, AD_ERROR_SIZE, "batch: more than %d axes", AD_MAX_RANK);
  memmove(type.dim + 1, type.dim, sizeof type.dim - sizeof type.dim[0]);
  type.dim[0] = b->n;
  return ad_broadcast_to(b->x[k], type.rank + 1, type.dim);
}

static ad_function *batched(assembly *a, ad_function *f, const bool mapped[]) {
  ad_status status = AD_OK;
  ad_function *g = f ? function_batched(f, a->b->n, mapped, &status) : NULL;
  a->impossible |= f && !g && status == AD_OK;
  if (status != AD_OK) tape_fail(a->b->t, status, "%s: cannot be batched", f->name);
  a->failed |= f && !g;
  return g;
}

/* The functions on a batch: f and g, or the vjp that an adjoint runs. The carrier holds on to them once it is
 * recorded. */
static void batch_functions(assembly *a, ad_function *v) {
  const carrier *c = a->b->c;
  a->c->f = batched(a, c->f, a->mapped);
  a->c->g = c->kind == CARRIER_BRANCH ? batched(a, c->g, a->mapped) : NULL;
  a->c->v = batched(a, v, a->mapped);
  a->c->r = batched(a, c->r, a->mapped);
}

static uint32_t record(assembly *a) {
  carrier *c = a->c;
  const uint32_t i = a->failed ? INVALID_INDEX : carrier_record(a->b->t, c, a->count, a->x);
  ad_function_free(c->f);
  ad_function_free(c->g);
  ad_function_free(c->v);
  ad_function_free(c->r);
  a->failed |= i == INVALID_INDEX;
  return i;
}

static ad_var result(assembly *a, uint32_t i, int j) {
  const uint32_t k = a->failed ? INVALID_INDEX : tuple_result(a->b->t, i, j);
  a->failed |= k == INVALID_INDEX;
  return handle(a->b->t, k);
}

/* --- calls and scans ------------------------------------------------------------------------------------ */

/* Which inputs are batched inside: those that come batched, all states, and of an adjoint those whose
 * cotangents are asked for. */
static void choose_inputs(assembly *a) {
  const carrier *c = a->b->c;
  for (int k = 0; k < c->n_in; k++)
    a->mapped[k] = a->b->batched[k] || role_in(c)[k] == ROLE_STATE || (c->adjoint && active_in(c)[k]);
}

/* An operand as it is inside: steps in front of instances. */
static void put_operand(assembly *a, int k, bool mapped, bool each) {
  ad_var v = mapped ? spread(a->b, k) : a->b->x[k];
  if (mapped && each && ad_is_valid(v)) v = exchanged(v);
  put(a, v);
}

/* The vjp that the adjoint of a call, a branch or a scan runs: scan_adjoint.c and carrier.c say of what. */
static ad_function *vjp_of(assembly *a, int *inputs) {
  const carrier *c = a->b->c;
  const size_t n = (size_t)c->n_in, m = (size_t)c->n_out, bytes = 2*n + m + 1;
  bool *in = memory_get_zeroed(&a->b->t->allocator, bytes, 1);
  ad_function *v = NULL;
  if (in) {
    bool *sums = in + n, *out = sums + n;
    carrier_step_flags(c, in, out, sums);
    v = c->v ? c->v : derived_vjp(a->b->t, c->f, in, out, sums);
    *inputs = v ? v->n_in : 0;
  } else tape_fail(a->b->t, AD_ERROR_MEMORY, "out of memory");
  a->failed |= !v;
  memory_release(&a->b->t->allocator, in, bytes);
  return v;
}

/* A result that has its steps in front of the instances, the other way round. */
static ad_var stacked_result(assembly *a, uint32_t i, int j) {
  const ad_var v = result(a, i, j);
  return a->failed ? v : exchanged(v);
}

/* A budget of bytes is that of each instance. */
static int64_t budget_of_all(const carrier_batch *b) {
  const int64_t n = b->n > 0 ? b->n : 1, bytes = b->c->bytes;
  return bytes > INT64_MAX/n ? INT64_MAX : bytes*n;
}

static bool record_steps(assembly *a, ad_var z[]) {
  const carrier *c = a->b->c;
  const int cotangents = c->adjoint ? carrier_count(c->n_out, active_out(c)) : 0;
  ad_function *v = NULL;
  int inputs = c->n_in, k = 0;
  a->c->bytes = budget_of_all(a->b);
  choose_inputs(a);
  if (c->adjoint) v = vjp_of(a, &inputs);
  for (int i = c->n_in; i < inputs; i++) a->mapped[i] = true;
  if (!a->failed) batch_functions(a, v);
  for (; k < c->n_in; k++) put_operand(a, k, a->mapped[k], role_in(c)[k] == ROLE_EACH);
  for (; k < c->n_in + selectors(c); k++) put(a, a->b->x[k]);
  for (int j = 0; j < c->n_out && cotangents; j++)
    if (active_out(c)[j]) put_operand(a, k++, true, role_out(c)[j] == ROLE_EACH);
  for (; k < a->b->operands; k++) put_operand(a, k, true, true);      /* what is kept, which is stacked */
  const uint32_t node = record(a);
  for (int j = 0, i = 0; j < c->n_out && !c->adjoint && !a->failed; j++) {
    z[j] = role_out(c)[j] == ROLE_EACH ? stacked_result(a, node, j) : result(a, node, j);
    if (role_out(c)[j] != ROLE_STATE || !carrier_has_record(c)) continue;
    z[c->n_out + i] = stacked_result(a, node, c->n_out + i);
    i++;
  }
  for (int j = c->n_out; c->r && j < c->r->n_out && !a->failed; j++)
    z[carrier_states(c) + j] = stacked_result(a, node, carrier_states(c) + j);
  for (int i = 0, j = 0; i < c->n_in && c->adjoint && !a->failed; i++) {
    if (!active_in(c)[i]) continue;
    z[j] = role_in(c)[i] == ROLE_EACH ? stacked_result(a, node, j) : result(a, node, j);
    j++;
  }
  return !a->failed;
}

/* --- maps ----------------------------------------------------------------------------------------------- */

/* (n, m, ..) as (n m, ..), and back. */
static ad_var merged(ad_var v) {
  if (!ad_is_valid(v)) return v;
  ad_type type = ad_type_of(v);
  type.dim[1] *= type.dim[0];
  return ad_reshape(v, type.rank - 1, type.dim + 1);
}

static ad_var parted(ad_var v, int64_t n, int64_t m) {
  if (!ad_is_valid(v)) return v;
  ad_type type = ad_type_of(v);
  int64_t dim[AD_MAX_RANK + 1];
  if (type.rank == AD_MAX_RANK)
    return ad_fail(v.tape, AD_ERROR_SIZE, "batch: more than %d axes", AD_MAX_RANK);
  memcpy(dim + 1, type.dim, sizeof type.dim);
  dim[0] = n, dim[1] = m;
  return ad_reshape(v, type.rank + 1, dim);
}

/* (n, ..) repeated along a second axis of m. */
static ad_var repeated(ad_var v, int64_t m) {
  if (!ad_is_valid(v)) return v;
  ad_type type = ad_type_of(v);
  if (type.rank == AD_MAX_RANK)
    return ad_fail(v.tape, AD_ERROR_SIZE, "batch: more than %d axes", AD_MAX_RANK);
  memmove(type.dim + 2, type.dim + 1, sizeof type.dim - 2*sizeof type.dim[0]);
  type.dim[1] = m;
  return ad_broadcast_to(ad_expand(v, 1), type.rank + 1, type.dim);
}

/* A map over all instances of all instances. */
static bool record_map(assembly *a, ad_var z[]) {
  const carrier_batch *b = a->b;
  const carrier *c = b->c;
  const int64_t n = b->n, m = c->n;
  unsigned char *role = a->c->flag;
  for (int k = 0; k < c->n_in; k++) {
    const bool each = role_in(c)[k] == ROLE_EACH;
    const bool apart = each || b->batched[k] || (c->adjoint && active_in(c)[k]);
    role[k] = apart ? ROLE_EACH : ROLE_SHARED;
    put(a, !apart ? b->x[k] : merged(each ? spread(b, k) : repeated(spread(b, k), m)));
  }
  for (int k = c->n_in; k < b->operands; k++) put(a, merged(spread(b, k)));
  a->c->n = n*m;
  ad_function_retain(a->c->f);
  ad_function_retain(a->c->v);
  const uint32_t node = record(a);
  const int results = c->adjoint ? carrier_count(c->n_in, active_in(c)) : c->n_out;
  for (int j = 0; j < results && !a->failed; j++) z[j] = parted(result(a, node, j), n, m);
  for (int i = 0, j = 0; i < c->n_in && c->adjoint && !a->failed; i++)
    if (active_in(c)[i]) {
      if (role_in(c)[i] != ROLE_EACH) z[j] = ad_sum(z[j], AD_AXES(1), false);
      j++;
    }
  return !a->failed;
}

/* --- branches that instances take differently ----------------------------------------------------------- */

/* Elementwise operations cannot fail and take no time to speak of: both sides run, and each instance chooses.
 * This happens after differentiation, so that what was not chosen has no say in any derivative. */
static bool is_elementwise(const ad_function *f) {
  for (uint32_t i = 0; i < f->body->count; i++) {
    const ad_primitive *p = node_primitive(f->body, i);
    if (!node_is_leaf(f->body, i) && !p->row && p->type) return false;
  }
  return true;
}

static ad_function *side_vjp(assembly *a, ad_function *f, bool none[]) {
  const carrier *c = a->b->c;
  ad_function *v = derived_vjp(a->b->t, f, (const bool *)active_in(c), (const bool *)active_out(c), none);
  a->failed |= !v;
  return v;
}

/* The results of f, which is made for a batch and given back, on the operands in x. */
static bool apply_side(assembly *a, ad_function *f, const ad_var x[], ad_var z[]) {
  const bool good = f && function_apply_all(a->b->t, f, x, z) == AD_OK;
  ad_function_free(f);
  a->failed |= !good;
  return good;
}

static ad_var chosen(ad_var p, ad_var f, ad_var g) {
  if (!ad_is_valid(f) || !ad_is_valid(g)) return handle_invalid(p.tape);
  int64_t dim[AD_MAX_RANK];
  const ad_type type = ad_type_of(f);
  for (int i = 0; i < type.rank; i++) dim[i] = i ? 1 : type.dim[0];
  return ad_select(ad_type_of(p).rank ? ad_reshape(p, type.rank, dim) : p, f, g);
}

/* Operands of both sides: the condition is not among them. */
static bool run_both(assembly *a, ad_function *f, ad_function *g, ad_var x[], ad_var z[]) {
  const carrier_batch *b = a->b;
  const carrier *c = b->c;
  const int n = b->operands - 1;
  for (int k = 0; k < n; k++) {
    const int from = k < c->n_in ? k : k + 1;
    a->mapped[k] = k >= c->n_in || b->batched[k] || (c->adjoint && active_in(c)[k]);
    x[k] = a->mapped[k] ? spread(b, from) : b->x[from];
  }
  ad_var *zf = x + n, *zg = zf + f->n_out;
  if (!apply_side(a, batched(a, f, a->mapped), x, zf) || !apply_side(a, batched(a, g, a->mapped), x, zg))
    return false;
  for (int j = 0; j < f->n_out; j++) z[j] = chosen(b->x[c->n_in], zf[j], zg[j]);
  return true;
}

static bool record_choice(assembly *a, ad_var z[]) {
  const carrier *c = a->b->c;
  const size_t room = (size_t)a->b->operands + 2*((size_t)c->n_in + (size_t)c->n_out);
  ad_var *x = vars_get(a->b->t, room);
  ad_function *f = c->f, *g = c->g;
  bool good = x != NULL;
  if (good && c->adjoint) {
    f = side_vjp(a, c->f, a->mapped);
    g = side_vjp(a, c->g, a->mapped);
    good = f && g;
  }
  if (good) good = run_both(a, f, g, x, z);
  vars_release(a->b->t, x, room);
  a->failed |= !good;
  return good;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static bool is_choice(const carrier_batch *b) {
  const carrier *c = b->c;
  return c->kind == CARRIER_BRANCH && (b->batched[c->n_in] || c->adjoint) && is_elementwise(c->f)
         && is_elementwise(c->g);
}

static bool all_alike(const carrier_batch *b) {
  const carrier *c = b->c;
  if (c->kind == CARRIER_LOOP || (c->kind == CARRIER_BRANCH && c->adjoint)) return false;
  return !selectors(c) || !b->batched[c->n_in];
}

bool batch_carrier(const carrier_batch *b, ad_var z[], bool *possible) {
  assembly a;
  const bool choice = is_choice(b);
  *possible = choice || all_alike(b);
  if (!*possible || !open_assembly(&a, b)) return false;
  const bool good = choice ? record_choice(&a, z) : b->c->kind == CARRIER_MAP ? record_map(&a, z)
                                                                              : record_steps(&a, z);
  *possible = !a.impossible;
  close_assembly(&a);
  if (good) return true;
  if (*possible && b->t->status == AD_OK) tape_fail(b->t, AD_ERROR_MEMORY, "out of memory");
  return false;
}
