/* lbfgs.c -- minima by L-BFGS: the two-loop recursion over the last pairs of steps and changes of the
 * gradient. */
#include "adit/optimisers.h"
#include "base/memory.h"
#include "function/function.h"
#include "learn/line_search.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- the function, as one of a vector of doubles -------------------------------------------------------- */

typedef struct objective {
  ad_function *f;
  ad_workspace *workspace;
  int n_x;
  size_t n;                         /* elements of all x */
  double unit;                      /* of rounding of the narrowest dtype */
  int64_t evaluations;
  const void **in;
  void **out;                       /* the arrays that f reads and writes; in[0..n_x), out[1..n_x] are ours */
  char *room;
  size_t pointer_bytes, room_bytes;
} objective;

static const ad_allocator *memory_of(const objective *o) { return &o->f->body->allocator; }

/* Elements of x[i] to or from the vector; returns what follows in it. Narrow ones are rounded in both. */
static double *exchange(ad_type type, void *array, double *vector, bool to_array) {
  const size_t count = (size_t)ad_type_count(type);
  float *narrow = array;
  const bool wide = type.dtype == AD_F64;
  if (wide && count) memcpy(to_array ? array : vector, to_array ? vector : array, count*sizeof *vector);
  for (size_t i = 0; i < count && !wide; i++) {
    if (to_array) narrow[i] = (float)vector[i];
    vector[i] = (double)narrow[i];
  }
  return vector + count;
}

static ad_status evaluate(objective *o, double *x, double *f, double *g) {
  const ad_dtype dtype = ad_function_output_type(o->f, 0).dtype;
  float narrow;
  for (int i = 0; i < o->n_x; i++)
    x = exchange(ad_function_input_type(o->f, i), (void *)(uintptr_t)o->in[i], x, true);
  o->out[0] = dtype == AD_F32 ? (void *)&narrow : f;
  o->evaluations++;
  const ad_status status = ad_function_call(o->f, o->in, o->out, o->workspace);
  if (dtype == AD_F32) *f = (double)narrow;
  for (int i = 0; i < o->n_x; i++) g = exchange(ad_function_input_type(o->f, i), o->out[1 + i], g, false);
  return status;
}

/* --- the state ------------------------------------------------------------------------------------------ */

typedef struct pairs {
  int room, used, newest;
  double *s, *y, *sy, *weight;      /* (room, n) (room, n) (room) (room) */
} pairs;

typedef struct lbfgs {
  objective o;
  ad_lbfgs_options how;
  ad_lbfgs_result *result;
  double f, f_trial;
  double *x, *g, *d, *trial, *g_trial;
  pairs kept;
  double *number;
  size_t number_bytes;
} lbfgs;

static ad_status end(lbfgs *w, ad_status status, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 3, 4)))
#endif
  ;
static ad_status end(lbfgs *w, ad_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(w->result->message, sizeof w->result->message, format, list);
  va_end(list);
  return w->result->status = status;
}

static double dot(size_t n, const double *x, const double *y) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i]*y[i];
  return sum;
}

static double largest(size_t n, const double *x) {
  double most = 0;
  for (size_t i = 0; i < n; i++) most = fabs(x[i]) <= most ? most : fabs(x[i]);       /* nan comes through */
  return most;
}

static void add(size_t n, double a, const double *x, double *y) {
  for (size_t i = 0; i < n; i++) y[i] += a*x[i];
}

/* --- directions ----------------------------------------------------------------------------------------- */

/* Pair k of those kept, 0 the newest. */
static int pair_at(const pairs *p, int k) { return (p->newest - k + p->room)%p->room; }

/* d = -H g, algorithm 7.4, with H_0 = (s.y/y.y) I of the newest pair (7.20). */
static void find_direction(lbfgs *w) {
  const size_t n = w->o.n;
  pairs *p = &w->kept;
  for (size_t i = 0; i < n; i++) w->d[i] = -w->g[i];
  for (int k = 0; k < p->used; k++) {
    const int j = pair_at(p, k);
    p->weight[j] = dot(n, p->s + (size_t)j*n, w->d)/p->sy[j];
    add(n, -p->weight[j], p->y + (size_t)j*n, w->d);
  }
  if (p->used) {
    const double *y = p->y + (size_t)p->newest*n, scale = p->sy[p->newest]/dot(n, y, y);
    for (size_t i = 0; i < n; i++) w->d[i] *= scale;
  }
  for (int k = p->used - 1; k >= 0; k--) {
    const int j = pair_at(p, k);
    add(n, p->weight[j] - dot(n, p->y + (size_t)j*n, w->d)/p->sy[j], p->s + (size_t)j*n, w->d);
  }
}

/* Takes the trial point; its pair is kept where s.y is positive beyond rounding, so that H stays definite. */
static void accept(lbfgs *w) {
  const size_t n = w->o.n;
  pairs *p = &w->kept;
  const int j = p->used ? (p->newest + 1)%p->room : 0;
  double *s = p->s + (size_t)j*n, *y = p->y + (size_t)j*n;
  for (size_t i = 0; i < n; i++) s[i] = w->trial[i] - w->x[i], y[i] = w->g_trial[i] - w->g[i];
  p->sy[j] = dot(n, s, y);
  if (p->sy[j] > w->o.unit*sqrt(dot(n, s, s))*sqrt(dot(n, y, y))) {
    p->newest = j;
    if (p->used < p->room) p->used++;
  }
  memcpy(w->x, w->trial, n*sizeof *w->x);
  memcpy(w->g, w->g_trial, n*sizeof *w->g);
  w->f = w->f_trial;
}

static ad_status on_line(void *context, double a, double *f, double *slope) {
  lbfgs *w = context;
  const size_t n = w->o.n;
  for (size_t i = 0; i < n; i++) w->trial[i] = w->x[i] + a*w->d[i];
  const ad_status status = evaluate(&w->o, w->trial, f, w->g_trial);
  *slope = dot(n, w->g_trial, w->d);
  w->f_trial = *f;
  return status;
}

/* One search along d; *step is 0 where it found nothing. */
static ad_status search(lbfgs *w, double *step) {
  const line_search line = { .at = on_line, .context = w, .f = w->f, .slope = dot(w->o.n, w->g, w->d),
                             .sufficient = w->how.sufficient, .curvature = w->how.curvature,
                             .rounding = 8*w->o.unit*fabs(w->f) };
  const double length = sqrt(dot(w->o.n, w->g, w->g));
  *step = 0;
  if (!(line.slope < 0) || !isfinite(line.slope)) return AD_OK;
  return line_search_run(&line, w->kept.used ? 1 : fmin(1, 1/length), step);
}

/* --- the iteration -------------------------------------------------------------------------------------- */

static bool watch(lbfgs *w) {
  ad_lbfgs_result *r = w->result;
  r->last.evaluations = w->o.evaluations;
  r->last.value = w->f;
  r->last.gradient = largest(w->o.n, w->g);
  if (r->recorded < w->how.room && w->how.history) w->how.history[r->recorded++] = w->f;
  return !w->how.watch || w->how.watch(&r->last, w->how.context);
}

/* Where the last pairs lead nowhere, the steepest descent is tried once. */
static ad_status make_step(lbfgs *w) {
  double *step = &w->result->last.step;
  find_direction(w);
  ad_status status = search(w, step);
  if (status == AD_OK && *step == 0 && w->kept.used) {
    w->kept.used = 0;
    find_direction(w);
    status = search(w, step);
  }
  if (status != AD_OK) return end(w, status, "the function: %s", ad_workspace_message(w->o.workspace));
  if (*step == 0)
    return end(w, AD_ERROR_CONVERGENCE, "no step makes the function smaller, after %lld iterations: the "
               "largest element of the gradient is %g", (long long)w->result->last.iteration,
               w->result->last.gradient);
  return AD_OK;
}

static ad_status iterate(lbfgs *w) {
  ad_lbfgs_iteration *now = &w->result->last;
  ad_status status = evaluate(&w->o, w->x, &w->f, w->g);
  if (status != AD_OK) return end(w, status, "the function: %s", ad_workspace_message(w->o.workspace));
  if (!isfinite(w->f) || !isfinite(largest(w->o.n, w->g)))
    return end(w, AD_ERROR_NUMERIC, "the function or its gradient is not finite at the start");
  for (bool goes_on = watch(w);; goes_on = watch(w)) {
    const double before = w->f;
    if (now->gradient <= w->how.gradient)
      return end(w, AD_OK, "converged after %lld iterations: the largest element of the gradient is %g",
                 (long long)now->iteration, now->gradient);
    if (!goes_on) return end(w, AD_OK, "stopped after %lld iterations", (long long)now->iteration);
    if (now->iteration == w->how.iterations)
      return end(w, AD_ERROR_CONVERGENCE, "no convergence after %lld iterations: the largest element of the "
                 "gradient is %g", (long long)now->iteration, now->gradient);
    if ((status = make_step(w)) != AD_OK) return status;
    accept(w);
    now->iteration++;
    if (w->how.decrease > 0 && before - w->f <= w->how.decrease*fmax(fabs(before), fabs(w->f))) {
      watch(w);
      return end(w, AD_OK, "converged after %lld iterations: the function changed by %g",
                 (long long)now->iteration, before - w->f);
    }
  }
}

/* --- what is checked, and memory ------------------------------------------------------------------------ */

static bool is_float(ad_type type) { return type.dtype == AD_F32 || type.dtype == AD_F64; }

static ad_status check_types(lbfgs *w, int n_x) {
  ad_function *f = w->o.f;
  const ad_type value = ad_function_output_type(f, 0);
  char is[192], want[192];
  if (ad_function_inputs(f) < n_x || ad_function_outputs(f) != 1 + n_x)
    return end(w, AD_ERROR_ARGUMENT, "%d inputs and %d outputs are no function and gradient of %d arrays",
               ad_function_inputs(f), ad_function_outputs(f), n_x);
  if (!is_float(value)) return end(w, AD_ERROR_DTYPE, "the value is no float");
  if (value.rank) return end(w, AD_ERROR_SHAPE, "the value is %s, no scalar",
                             ad_type_print(value, is, sizeof is));
  for (int i = 0; i < n_x; i++) {
    const ad_type x = ad_function_input_type(f, i), g = ad_function_output_type(f, 1 + i);
    if (!is_float(x)) return end(w, AD_ERROR_DTYPE, "input %d is %s, no float", i,
                                 ad_type_print(x, is, sizeof is));
    if (!ad_type_equal(x, g))
      return end(w, AD_ERROR_SHAPE, "output %d is %s, but the gradient by input %d is %s", 1 + i,
                 ad_type_print(g, is, sizeof is), i, ad_type_print(x, want, sizeof want));
  }
  return AD_OK;
}

static ad_status settle_options(lbfgs *w) {
  ad_lbfgs_options *how = &w->how;
  if (how->memory < 0 || how->iterations < 0 || how->decrease < 0 || isnan(how->gradient) || how->room < 0)
    return end(w, AD_ERROR_ARGUMENT, "an option is out of its range");
  if (!how->memory) how->memory = 10;
  if (!how->iterations) how->iterations = 1000;
  if (how->gradient == 0) how->gradient = w->o.unit > DBL_EPSILON ? 1e-4 : 1e-8;
  if (how->sufficient == 0) how->sufficient = 1e-4;
  if (how->curvature == 0) how->curvature = 0.9;
  if (!(how->sufficient > 0 && how->sufficient < how->curvature && how->curvature < 1))
    return end(w, AD_ERROR_ARGUMENT, "the conditions need 0 < sufficient < curvature < 1");
  return AD_OK;
}

/* Every array begins at a multiple of 64 bytes. */
static size_t place_of(ad_type type) { return (ad_type_bytes(type) + 63)/64*64; }

static ad_status open_objective(objective *o, int n_x, const void *const fixed[]) {
  const size_t n_in = (size_t)ad_function_inputs(o->f), n_out = (size_t)n_x + 1;
  o->n_x = n_x;
  o->unit = ad_function_output_type(o->f, 0).dtype == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
  o->room_bytes = 64;
  for (int i = 0; i < n_x; i++) {
    const ad_type x = ad_function_input_type(o->f, i);
    o->n += (size_t)ad_type_count(x);
    o->room_bytes += 2*place_of(x);
    if (x.dtype == AD_F32) o->unit = FLT_EPSILON;
  }
  o->pointer_bytes = (n_in + n_out)*sizeof(void *);
  o->in = memory_get_zeroed(memory_of(o), 1, o->pointer_bytes);
  o->room = memory_get(memory_of(o), o->room_bytes);
  o->workspace = ad_workspace_new();
  if (!o->in || !o->room || !o->workspace) return AD_ERROR_MEMORY;
  o->out = (void **)(uintptr_t)(o->in + n_in);
  char *at = o->room + (64 - (uintptr_t)o->room%64)%64;
  for (int i = 0; i < n_x; i++) {
    const size_t bytes = place_of(ad_function_input_type(o->f, i));
    o->in[i] = at, o->out[1 + i] = at + bytes;
    at += 2*bytes;
  }
  for (size_t i = (size_t)n_x; i < n_in; i++) o->in[i] = fixed ? fixed[i - (size_t)n_x] : NULL;
  return AD_OK;
}

static ad_status open_vectors(lbfgs *w) {
  const size_t n = w->o.n, m = (size_t)w->how.memory;
  pairs *p = &w->kept;
  if (n > SIZE_MAX/sizeof(double)/(2*m + 8)) return AD_ERROR_SIZE;
  w->number_bytes = (5*n + 2*m*n + 2*m)*sizeof(double);
  w->number = memory_get(memory_of(&w->o), w->number_bytes);
  if (!w->number) return AD_ERROR_MEMORY;
  w->x = w->number, w->g = w->x + n, w->d = w->g + n, w->trial = w->d + n, w->g_trial = w->trial + n;
  p->s = w->g_trial + n, p->y = p->s + m*n, p->sy = p->y + m*n, p->weight = p->sy + m;
  p->room = w->how.memory;
  return AD_OK;
}

static void release(lbfgs *w) {
  const ad_allocator *a = memory_of(&w->o);
  memory_release(a, w->number, w->number_bytes);
  memory_release(a, w->o.room, w->o.room_bytes);
  memory_release(a, w->o.in, w->o.pointer_bytes);
  ad_workspace_free(w->o.workspace);
}

static void exchange_all(lbfgs *w, void *const x[], bool to_arrays) {
  double *at = w->x;
  for (int i = 0; i < w->o.n_x; i++) at = exchange(ad_function_input_type(w->o.f, i), x[i], at, to_arrays);
}

ad_status ad_lbfgs(ad_function *f, int n_x, void *const x[], const void *const fixed[],
                   const ad_lbfgs_options *options, ad_lbfgs_result *result) {
  ad_lbfgs_result own;
  lbfgs w = { .o = { .f = f }, .result = result ? result : &own };
  if (options) w.how = *options;
  *w.result = (ad_lbfgs_result){ 0 };
  if (!f || n_x < 1 || !x) return end(&w, AD_ERROR_ARGUMENT, "no function or no arrays");
  ad_status status = check_types(&w, n_x);
  if (status == AD_OK) status = open_objective(&w.o, n_x, fixed);
  if (status == AD_OK) status = settle_options(&w);
  if (status == AD_OK) status = open_vectors(&w);
  if (status == AD_OK) {
    exchange_all(&w, x, false);
    status = iterate(&w);
    exchange_all(&w, x, true);
  } else if (!w.result->message[0]) end(&w, status, "%s", ad_status_sentence(status));
  release(&w);
  return status;
}
