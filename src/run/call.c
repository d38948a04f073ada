/* call.c -- calling functions: a plan for each set of wanted outputs, made once, and a workspace for each
 * caller. */
#include "run/carrier.h"

#include <stdio.h>
#include <string.h>

struct ad_workspace {
  ad_allocator allocator;
  char *block;
  size_t bytes;
  char message[200];                /* why the last call failed */
};

/* Plans of one function: a list that only grows, published by its head. */
typedef struct plan_entry {
  struct plan_entry *next;
  plan plan;
  bool lanes;
  unsigned char wanted[];           /* one for each output */
} plan_entry;

/* --- workspaces ----------------------------------------------------------------------------------- */

static ad_workspace *workspace_on(const ad_allocator *a) {
  ad_workspace *w = memory_get_zeroed(a, 1, sizeof *w);
  if (w) w->allocator = *a;
  return w;
}

ad_workspace *ad_workspace_new(void) { return workspace_on(&memory_standard); }

void ad_workspace_free(ad_workspace *w) {
  if (!w) return;
  const ad_allocator a = w->allocator;
  memory_release(&a, w->block, w->bytes);
  memory_release(&a, w, sizeof *w);
}

const char *ad_workspace_message(const ad_workspace *w) { return w ? w->message : ""; }

/* The block, at least that large, aligned to a cache line. Its contents are not kept. */
static void *workspace_memory(ad_workspace *w, size_t bytes) {
  bytes += 64;
  if (w->bytes < bytes) {
    memory_release(&w->allocator, w->block, w->bytes);
    w->block = memory_get(&w->allocator, bytes);
    w->bytes = w->block ? bytes : 0;
    if (!w->block) return NULL;
  }
  return w->block + (64 - (uintptr_t)w->block%64)%64;
}

static ad_workspace *take_spare(ad_function *f) {
  for (int i = 0; i < FUNCTION_SPARES; i++) {
    ad_workspace *w = atomic_exchange_explicit(&f->spare[i], NULL, memory_order_acquire);
    if (w) return w;
  }
  return workspace_on(&f->body->allocator);
}

static void put_spare(ad_function *f, ad_workspace *w) {
  for (int i = 0; i < FUNCTION_SPARES; i++) {
    ad_workspace *empty = NULL;
    if (atomic_compare_exchange_strong_explicit(&f->spare[i], &empty, w, memory_order_release,
                                                memory_order_relaxed))
      return;
  }
  ad_workspace_free(w);
}

/* --- plans ---------------------------------------------------------------------------------------- */

static size_t entry_bytes(const ad_function *f) { return sizeof(plan_entry) + (size_t)f->n_out; }

static void free_entry(const ad_function *f, plan_entry *e) {
  plan_free(&e->plan);
  memory_release(&f->body->allocator, e, entry_bytes(f));
}

void function_free_plans(ad_function *f) {
  native_end_job(f);
  native_code *code = f->native;
  if (code) code->free(code);
  for (plan_entry *e = f->plans, *next; e; e = next) {
    next = e->next;
    free_entry(f, e);
  }
  for (int i = 0; i < FUNCTION_SPARES; i++) ad_workspace_free(f->spare[i]);
}

static bool fits(const ad_function *f, const plan_entry *e, void *const out[], bool lanes) {
  if (e->lanes != lanes) return false;
  for (int j = 0; j < f->n_out; j++)
    if (e->wanted[j] != (out[j] != NULL)) return false;
  return true;
}

static ad_status make_plan(ad_function *f, plan_entry *e, void *const out[], bool lanes, char *message,
                           size_t size) {
  const ad_allocator *a = &f->body->allocator;
  const size_t bytes = (size_t)f->n_out*sizeof(uint32_t) + 1;
  uint32_t *target = memory_get(a, bytes);
  if (!target) return AD_ERROR_MEMORY;
  for (int j = 0; j < f->n_out; j++) {
    e->wanted[j] = out[j] != NULL;
    target[j] = out[j] ? f->out[j] : INVALID_INDEX;
  }
  e->lanes = lanes;
  const plan_request request = {
    .t = f->body, .n_in = f->n_in, .in = f->in, .n_out = f->n_out, .out = target, .lanes = lanes,
    .message = message, .size = size
  };
  ad_status status = plan_make(&e->plan, &request);
  memory_release(a, target, bytes);
  return status;
}

/* Two threads may make the same plan at once: both are published, the first found is used. */
static ad_status add_plan(ad_function *f, void *const out[], bool lanes, plan_entry **result, char *message,
                          size_t size) {
  plan_entry *e = memory_get_zeroed(&f->body->allocator, 1, entry_bytes(f));
  ad_status status = e ? make_plan(f, e, out, lanes, message, size) : AD_ERROR_MEMORY;
  if (status != AD_OK) {
    memory_release(&f->body->allocator, e, entry_bytes(f));
    return status;
  }
  void *head = atomic_load_explicit(&f->plans, memory_order_relaxed);
  do e->next = head;
  while (!atomic_compare_exchange_weak_explicit(&f->plans, &head, e, memory_order_release,
                                                memory_order_relaxed));
  *result = e;
  return AD_OK;
}

static ad_status find_plan(ad_function *f, void *const out[], bool lanes, const plan **result, char *message,
                           size_t size) {
  plan_entry *e = atomic_load_explicit(&f->plans, memory_order_acquire);
  while (e && !fits(f, e, out, lanes)) e = e->next;
  ad_status status = e ? AD_OK : add_plan(f, out, lanes, &e, message, size);
  if (status == AD_OK) *result = &e->plan;
  return status;
}

static ad_status plan_of(ad_function *f, const bool wanted[], const plan **p, char *message, size_t size) {
  static char somewhere;
  const size_t bytes = (size_t)f->n_out*sizeof(void *) + 1;
  void **out = memory_get(&f->body->allocator, bytes);
  if (!out) return AD_ERROR_MEMORY;
  for (int j = 0; j < f->n_out; j++) out[j] = !wanted || wanted[j] ? &somewhere : NULL;
  const ad_status status = find_plan(f, out, false, p, message, size);
  memory_release(&f->body->allocator, out, bytes);
  return status;
}

ad_status function_plan(ad_function *f, const bool wanted[], const plan **p) {
  return plan_of(f, wanted, p, NULL, 0);
}

/* --- calls ---------------------------------------------------------------------------------------- */

static bool wants_all(const ad_function *f, void *const out[]) {
  for (int j = 0; j < f->n_out; j++)
    if (!out[j]) return false;
  return true;
}

static ad_status run_in(ad_function *f, const void *const in[], void *const out[], ad_workspace *w) {
  const plan *p = NULL;
  w->message[0] = 0;
  const native_code *code = atomic_load_explicit(&f->native, memory_order_acquire);
  if (code && wants_all(f, out)) {
    void *room = workspace_memory(w, code->bytes);
    if (!room) return AD_ERROR_MEMORY;
    const ad_status status = code->call(code, in, out, room, w->message, sizeof w->message);
    /* Compiled loops have room for so many kept states; here it grows with the steps. Nothing is written over
     * by a call that fails. */
    if (status != AD_ERROR_LIMIT) return status;
    w->message[0] = 0;
  }
  ad_status status = find_plan(f, out, false, &p, w->message, sizeof w->message);
  if (status != AD_OK) return status;
  void *memory = workspace_memory(w, p->workspace);
  return memory ? plan_run(p, in, out, memory, w->message, sizeof w->message) : AD_ERROR_MEMORY;
}

/* Why a function cannot be called, and what a call cannot do without: NULL if all is there. */
static const char *unfit(const ad_function *f) {
  if (!f) return "no function";
  return f->captures ? "has captured variables, which no call supplies" : NULL;
}
static const char *missing(const ad_function *f, const void *const in[], void *const out[]) {
  const char *wrong = unfit(f);
  if (wrong) return wrong;
  return f->n_in && !in ? "no inputs" : f->n_out && !out ? "no outputs" : NULL;
}

static ad_status refuse(const ad_function *f, const char *text, ad_workspace *w) {
  if (w) snprintf(w->message, sizeof w->message, "%s%s%s", f ? f->name : "", f ? ": " : "", text);
  return AD_ERROR_ARGUMENT;
}

ad_status ad_function_call(ad_function *f, const void *const in[], void *const out[], ad_workspace *w) {
  const char *wrong = missing(f, in, out);
  if (wrong) return refuse(f, wrong, w);
  if (w) return run_in(f, in, out, w);
  if (!(w = take_spare(f))) return AD_ERROR_MEMORY;
  ad_status status = run_in(f, in, out, w);
  put_spare(f, w);
  return status;
}

/* Compiled code computes all outputs, or is not used. */
static ad_status prepare_in(ad_function *f, const bool wanted[], ad_workspace *w) {
  const plan *p = NULL;
  const native_code *code = atomic_load_explicit(&f->native, memory_order_acquire);
  for (int j = 0; j < f->n_out && wanted; j++)
    if (!wanted[j]) code = NULL;
  w->message[0] = 0;
  const ad_status status = code ? AD_OK : plan_of(f, wanted, &p, w->message, sizeof w->message);
  if (status != AD_OK) return status;
  return workspace_memory(w, code ? code->bytes : p->workspace) ? AD_OK : AD_ERROR_MEMORY;
}

ad_status ad_function_prepare(ad_function *f, const bool wanted[], ad_workspace *w) {
  const char *wrong = unfit(f);
  if (wrong) return refuse(f, wrong, w);
  if (w) return prepare_in(f, wanted, w);
  if (!(w = take_spare(f))) return AD_ERROR_MEMORY;
  const ad_status status = prepare_in(f, wanted, w);
  put_spare(f, w);
  return status;
}

/* --- lanes ---------------------------------------------------------------------------------------- */

static bool all_scalars(const ad_function *f) {
  for (int i = 0; i < f->n_in; i++)
    if (node_type(f->body, f->in[i])->type.rank) return false;
  for (int j = 0; j < f->n_out; j++)
    if (node_type(f->body, f->out[j])->type.rank) return false;
  return true;
}

static size_t scalar_bytes(const ad_function *f, uint32_t node) { return node_type(f->body, node)->bytes; }

/* Point by point, for functions that use arrays inside. */
static ad_status run_points(ad_function *f, size_t n, const void *const in[], void *const out[],
                            ad_workspace *w) {
  const size_t count = (size_t)f->n_in + (size_t)f->n_out;
  const void **x = memory_get(&f->body->allocator, count*sizeof *x + 1);
  if (!x) return AD_ERROR_MEMORY;
  void **y = (void **)(uintptr_t)(x + f->n_in);
  ad_status status = AD_OK;
  for (size_t k = 0; k < n && status == AD_OK; k++) {
    for (int i = 0; i < f->n_in; i++) x[i] = in[i] ? (const char *)in[i] + k*scalar_bytes(f, f->in[i]) : NULL;
    for (int j = 0; j < f->n_out; j++) y[j] = out[j] ? (char *)out[j] + k*scalar_bytes(f, f->out[j]) : NULL;
    status = run_in(f, x, y, w);
  }
  memory_release(&f->body->allocator, x, count*sizeof *x + 1);
  return status;
}

/* Blocks of lanes write one output before they have read every input. */
static bool share_memory(const ad_function *f, const void *const in[], void *const out[]) {
  for (int j = 0; j < f->n_out; j++)
    for (int i = 0; i < f->n_in && out[j]; i++)
      if (out[j] == in[i]) return true;
  return false;
}

static ad_status run_lanes(ad_function *f, size_t n, const void *const in[], void *const out[],
                           ad_workspace *w) {
  const plan *p = NULL;
  if (share_memory(f, in, out)) return run_points(f, n, in, out, w);
  ad_status status = find_plan(f, out, true, &p, w->message, sizeof w->message);
  if (status != AD_OK) return status;
  size_t zeros = 0;
  for (int i = 0; i < f->n_in; i++)
    if (!in[i]) zeros = n*sizeof(double);
  void *memory = workspace_memory(w, p->workspace + zeros);
  if (!memory) return AD_ERROR_MEMORY;
  if (zeros) memset((char *)memory + p->workspace, 0, zeros);
  status = plan_run_lanes(p, (int64_t)n, in, out, memory);
  return status == AD_ERROR_UNSUPPORTED ? run_points(f, n, in, out, w) : status;
}

ad_status ad_function_call_lanes(ad_function *f, size_t n, const void *const in[], void *const out[],
                                 ad_workspace *w) {
  const char *wrong = missing(f, in, out);
  if (!wrong && !all_scalars(f)) wrong = "has inputs or outputs that are arrays";
  if (wrong) return refuse(f, wrong, w);
  if (n > PTRDIFF_MAX/16) return AD_ERROR_SIZE;
  if (w) return run_lanes(f, n, in, out, w);
  if (!(w = take_spare(f))) return AD_ERROR_MEMORY;
  ad_status status = run_lanes(f, n, in, out, w);
  put_spare(f, w);
  return status;
}
