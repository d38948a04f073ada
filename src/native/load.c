/* load.c -- compiled code in this process: loading, calling, and what it calls back. */
#define _POSIX_C_SOURCE 200809L
#include "native/native.h"
#include "run/carrier.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- loaded code ---------------------------------------------------------------------------------------- */

typedef struct loaded {
  native_code base;
  ad_function *f;                   /* not held: it holds this */
  void *object;
  native_entry *entry;
  host_step *step;
  size_t steps, step_capacity;
  const void **fixed;               /* constants of f and of what it calls */
  size_t fixed_capacity;
  size_t work;                      /* bytes, before zeros and outputs that are computed aside */
} loaded;

/* One call: what its code is given. Nothing that fails or calls back runs in more than one thread of it. */
typedef struct call_of {
  struct host base;
  const loaded *code;
  char *message;
  size_t size;
} call_of;

/* The status of a step that failed becomes that of the call, its message too. */
static int run_step(const struct host *h, uint64_t step, void *const z[], const void *const x[],
                    void *scratch) {
  const call_of *c = (const call_of *)h;
  const ad_operation *op = &c->code->step[step].op;
  const ad_primitive *p = op->primitive;
  char *message = c->size ? c->message : NULL;
  const ad_status status = p->tuple ? p->tuple->run(op, x, z, message, c->size)
                                    : p->run(op, z[0], x, scratch);
  return (int)(status == AD_OK ? status : explain_failure(op, x, status, message, c->size));
}

static int fail_here(const struct host *h, int status, const char *format, int64_t count, double number) {
  const call_of *c = (const call_of *)h;
  if (c->size) snprintf(c->message, c->size, format, (long long)count, number);
  return status;
}

static size_t rounded(size_t bytes) { return (bytes + 63)/64*64; }
static size_t bytes_of(const ad_function *f, uint32_t node) { return node_type(f->body, node)->bytes; }

/* Lists of addresses, zeros for inputs that are not given, room for outputs that are inputs, in this order
 * behind the work memory. */
static size_t extra_bytes(const ad_function *f) {
  size_t most = 0, all = rounded(((size_t)f->n_in + (size_t)f->n_out)*sizeof(void *));
  for (int k = 0; k < f->n_in; k++)
    if (bytes_of(f, f->in[k]) > most) most = bytes_of(f, f->in[k]);
  for (int j = 0; j < f->n_out; j++) all += rounded(bytes_of(f, f->out[j]));
  return all + rounded(most);
}

static bool is_input(const ad_function *f, const void *const in[], const void *out) {
  for (int k = 0; k < f->n_in; k++)
    if (in[k] == out) return true;
  return false;
}

static ad_status call_loaded(const native_code *n, const void *const in[], void *const out[], void *memory,
                             char *message, size_t size) {
  const loaded *p = (const loaded *)n;
  const ad_function *f = p->f;
  const void **x = (const void **)(void *)((char *)memory + p->work);
  void **z = (void **)(uintptr_t)(x + f->n_in);
  char *room = (char *)x + rounded(((size_t)f->n_in + (size_t)f->n_out)*sizeof(void *));
  for (int j = 0; j < f->n_out; j++) {
    z[j] = is_input(f, in, out[j]) ? room : out[j];
    room += rounded(bytes_of(f, f->out[j]));
  }
  for (int k = 0; k < f->n_in; k++) {
    x[k] = in[k] ? in[k] : room;
    if (!in[k] && bytes_of(f, f->in[k])) memset(room, 0, bytes_of(f, f->in[k]));
  }
  const call_of call = { { run_step, fail_here, p->fixed }, p, message, size };
  if (size) message[0] = 0;
  const ad_status status = (ad_status)p->entry(x, z, memory, &call.base);
  for (int j = 0; j < f->n_out && status == AD_OK; j++)
    if (z[j] != out[j]) memcpy(out[j], z[j], bytes_of(f, f->out[j]));
  if (status != AD_OK && size && !message[0])
    snprintf(message, size, "%s: %s", f->name, ad_status_sentence(status));
  return status;
}

static void free_loaded(native_code *n) {
  loaded *p = (loaded *)n;
  const ad_allocator a = p->f->body->allocator;
  if (p->object) dlclose(p->object);
  for (size_t i = 0; i < p->steps; i++)
    memory_release(&a, p->step[i].types, (size_t)p->step[i].op.n*sizeof *p->step[i].types + 1);
  memory_release(&a, p->step, p->step_capacity*sizeof *p->step);
  memory_release(&a, p->fixed, p->fixed_capacity*sizeof *p->fixed);
  memory_release(&a, p, sizeof *p);
}

static ad_status load(native_request *r, ad_writer *w, ad_function *f, size_t bytes, loaded **result) {
  loaded *p = memory_get_zeroed(&r->allocator, 1, sizeof *p);
  if (!p) return AD_ERROR_MEMORY;
  *p = (loaded){ .base = { call_loaded, free_loaded, bytes + extra_bytes(f) }, .f = f, .work = bytes,
                 .step = w->step, .steps = w->steps, .step_capacity = w->step_capacity,
                 .fixed = w->fixed, .fixed_capacity = w->fixed_capacity };
  w->step = NULL;
  w->fixed = NULL;
  w->steps = w->step_capacity = w->fixed_count = w->fixed_capacity = 0;
  p->object = dlopen(r->object, RTLD_NOW | RTLD_LOCAL);
  void *symbol = p->object ? dlsym(p->object, "adit_entry") : NULL;
  memcpy(&p->entry, &symbol, sizeof symbol);
  *result = p;
  if (symbol) return AD_OK;
  const char *why = dlerror();
  const ad_status status = native_fail(r, AD_ERROR_IO, "loading: %.200s", why ? why : "no entry");
  free_loaded(&p->base);
  return status;
}

/* --- compiling ------------------------------------------------------------------------------------------ */

enum { LONG_TEXT = 400000, NATIVE_CHUNK = 1000 };

static ad_status publish(ad_function *f, loaded *p) {
  native_code *none = NULL;
  if (!atomic_compare_exchange_strong_explicit(&f->native, &none, &p->base, memory_order_release,
                                               memory_order_relaxed))
    free_loaded(&p->base);
  return AD_OK;
}

static bool has(const native_source *s, const char *words) {
  for (int k = 0; k < NATIVE_PIECES; k++)
    if (strstr(text_of(s->piece[k]), words)) return true;
  return false;
}

static int how_to_build(const native_source *s) {
  const bool both = has(s, "ADIT_PARALLEL_SIMD for");
  size_t length = 0;
  for (int k = 0; k < NATIVE_PIECES; k++) length += s->piece[k]->length;
  return (length < LONG_TEXT ? NATIVE_SHORT : 0) | (both || has(s, "ADIT_SIMD for") ? NATIVE_LOOPS : 0)
         | (has(s, "< ADIT_LANES(") ? NATIVE_MASKS : 0)
         | (both || has(s, "ADIT_PARALLEL for") || has(s, "for num_threads(") ? NATIVE_THREADS : 0);
}

/* Writes, builds and loads f; r->message has what failed. */
static ad_status compile_now(ad_function *f, native_request *r) {
  const ad_code code = { .chunk = NATIVE_CHUNK };
  ad_writer w;
  native_source source;
  size_t bytes = 0;
  loaded *p = NULL;
  writer_open(&w, &r->allocator, &code, "f", true);
  ad_status status = native_text(&w, f, &source, &bytes) ? AD_OK : w.status;
  if (status != AD_OK) native_fail(r, status, "%s", w.message);
  else status = native_build(r, &source, how_to_build(&source));
  native_source_close(&source);
  if (status == AD_OK) status = load(r, &w, f, bytes, &p);
  if (status == AD_OK) status = publish(f, p);
  writer_close(&w);
  return status;
}

static ad_status finish(native_request *r, ad_status status, ad_report *report) {
  memory_release(&r->allocator, (void *)(uintptr_t)r->compiler, NATIVE_PATH);
  if (report) {
    report->status = status;
    if (status == AD_OK) report->message[0] = 0;
    else if (!report->message[0])
      snprintf(report->message, sizeof report->message, "%s", ad_status_sentence(status));
  }
  return status;
}

/* --- in the background ---------------------------------------------------------------------------------- */

/* One compilation that a thread does; the function keeps it until it is freed. */
typedef struct native_job {
  ad_function *f;
  native_request request;
  char options[512];
  ad_report report;
  pthread_t thread;
  _Atomic int done;
} native_job;

static void *do_job(void *at) {
  native_job *j = at;
  j->report.status = compile_now(j->f, &j->request);
  memory_release(&j->request.allocator, (void *)(uintptr_t)j->request.compiler, NATIVE_PATH);
  atomic_store_explicit(&j->done, 1, memory_order_release);
  return NULL;
}

void native_end_job(ad_function *f) {
  native_job *j = atomic_exchange_explicit(&f->job, NULL, memory_order_acq_rel);
  if (!j) return;
  const ad_allocator a = f->body->allocator;
  pthread_join(j->thread, NULL);
  memory_release(&a, j, sizeof *j);
}

static ad_status start_job(ad_function *f, const native_request *r) {
  native_job *j = memory_get_zeroed(&r->allocator, 1, sizeof *j), *none = NULL;
  if (!j) return AD_ERROR_MEMORY;
  j->f = f;
  j->request = *r;
  snprintf(j->options, sizeof j->options, "%s", r->options);
  j->request.options = j->options;
  j->request.message = j->report.message;
  j->request.size = sizeof j->report.message;
  /* published by its thread only: two that ask at once make two jobs, of which one is given up */
  if (pthread_create(&j->thread, NULL, do_job, j)) {
    memory_release(&r->allocator, j, sizeof *j);
    return AD_ERROR_UNSUPPORTED;
  }
  if (!atomic_compare_exchange_strong(&f->job, &none, j)) {
    pthread_join(j->thread, NULL);
    memory_release(&r->allocator, j, sizeof *j);
  }
  return AD_OK;
}

/* --- the public calls ----------------------------------------------------------------------------------- */

ad_status ad_function_compile(ad_function *f, const ad_native *options, ad_report *report) {
  static const ad_native defaults;
  char message[256] = "";
  if (report) *report = (ad_report){ AD_OK, "" };
  if (!f || f->captures) return report ? report->status = AD_ERROR_ARGUMENT : AD_ERROR_ARGUMENT;
  if (!options) options = &defaults;
  if (atomic_load_explicit(&f->native, memory_order_acquire)) return AD_OK;
  native_request r = { .allocator = f->body->allocator, .message = report ? report->message : message,
                       .size = sizeof message };
  ad_status status = native_find(&r, options);
  if (status == AD_OK && options->background) {
    status = start_job(f, &r);
    if (status == AD_OK) return AD_OK;
  }
  if (status == AD_OK) status = compile_now(f, &r);
  return finish(&r, status, report);
}

ad_status ad_function_compiled(ad_function *f, bool wait, ad_report *report) {
  if (report) *report = (ad_report){ AD_OK, "" };
  if (!f) return AD_ERROR_ARGUMENT;
  native_job *j = atomic_load_explicit(&f->job, memory_order_acquire);
  while (j && wait && !atomic_load_explicit(&j->done, memory_order_acquire)) {
    const struct timespec pause = { 0, 1000000 };
    nanosleep(&pause, NULL);
  }
  if (atomic_load_explicit(&f->native, memory_order_acquire)) return AD_OK;
  const bool failed = j && atomic_load_explicit(&j->done, memory_order_acquire);
  if (failed && report) *report = j->report;
  return failed ? j->report.status : AD_ERROR_NO_VALUE;
}
