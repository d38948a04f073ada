/* learn.c -- steps of learning and small derivatives in f32, against PyTorch (learn_pytorch.py, which this
 * program starts) and, where it is small, the same written by hand in C. Interpreted and compiled
 * natively. One thread.
 *
 * In every round each entrant makes a number of runs from the same start, one entrant after the other;
 * PyTorch's processor time is measured by its own process. Before that the results of a few runs are
 * compared.
 *
 *   learn [CASE..]        all cases, or those named
 */
#include "measure.h"

#include <adit.h>
#include <adit/code.h>
#include <signal.h>
#include <string.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

/* WARM: runs before the clock starts, as in learn_pytorch.py. */
enum { MOST = 40, ROUNDS = 11, WARM = 2 };

/* --- what is measured ---------------------------------------------------------------------------------- */

/* A function of n_in arrays. A learner writes its outputs over its first inputs, as many as there are; the
 * first n_result of them are what is compared. Otherwise all outputs are. */
typedef struct workload {
  const char *name, *what;
  void (*body)(ad_tape *tape, const ad_var in[], ad_var out[], void *context);
  void (*make)(struct workload *w);                      /* inputs and outputs */
  ad_function *(*derive)(ad_function *f);                /* NULL: the body itself */
  int primal_in, primal_out;                             /* of the body where there is a derivative */
  void (*by_hand)(float *const in[], float *const out[]);
  double goal, tolerance;                                /* us; negative: times PyTorch's */
  bool learner;
  int n_in, n_out, n_result;
  ad_type type[MOST];
  void *start[MOST];
  int steps;                                             /* whose result is compared */
} workload;

/* One way to run a workload. f NULL: by hand. */
typedef struct runner {
  const workload *w;
  ad_function *f;
  ad_workspace *workspace;
  void *in[MOST], *out[MOST];
} runner;

static ad_type output_type(const workload *w, ad_function *f, int j) {
  return w->learner ? w->type[j] : ad_function_output_type(f, j);
}

static runner make_runner(const workload *w, ad_function *f, bool by_hand) {
  runner r = { .w = w, .f = by_hand ? NULL : f, .workspace = need(ad_workspace_new()) };
  for (int i = 0; i < w->n_in; i++) r.in[i] = doubles(ad_type_bytes(w->type[i])/8 + 8);
  for (int j = 0; j < w->n_out; j++)
    r.out[j] = w->learner ? r.in[j] : doubles(ad_type_bytes(output_type(w, f, j))/8 + 8);
  return r;
}

static void reset(runner *r) {
  const workload *w = r->w;
  for (int i = 0; i < w->n_in; i++) memcpy(r->in[i], w->start[i], ad_type_bytes(w->type[i]));
}

static void run(runner *r) {
  if (!r->f) {
    r->w->by_hand((float *const *)(void *)r->in, (float *const *)(void *)r->out);
    return;
  }
  if (ad_function_call(r->f, (const void *const *)r->in, r->out, r->workspace) == AD_OK) return;
  fprintf(stderr, "benchmark: %s: %s\n", r->w->name, ad_workspace_message(r->workspace));
  exit(1);
}

static double time_runner(runner *r, long runs) {
  reset(r);
  for (long i = 0; i < WARM; i++) run(r);
  const double start = cpu_seconds();
  for (long i = 0; i < runs; i++) run(r);
  return (cpu_seconds() - start)/(double)runs;
}

static void free_runner(runner *r) {
  for (int i = 0; i < r->w->n_in; i++) free(r->in[i]);
  for (int j = 0; j < r->w->n_out && !r->w->learner; j++) free(r->out[j]);
  ad_workspace_free(r->workspace);
  ad_function_free(r->f);
}

static ad_function *make_function(const workload *w) {
  ad_report report;
  const int n = w->derive ? w->primal_in : w->n_in, m = w->derive ? w->primal_out : w->n_out;
  ad_function *f = ad_function_trace_report(w->name, w->body, NULL, n, w->type, m, &report);
  if (!f) {
    fprintf(stderr, "benchmark: %s: %s\n", w->name, report.message);
    exit(1);
  }
  if (!w->derive) return f;
  ad_function *derived = need(w->derive(f));
  ad_function_free(f);
  return derived;
}

/* --- PyTorch, in a process of its own ------------------------------------------------------------------ */

typedef struct other { FILE *to, *from; pid_t process; } other;

/* PyTorch's best settings, whatever the caller's are: OpenBLAS does not know every processor by itself;
 * vectors as wide as the processor has them; freed memory is kept instead of given back to the system at
 * every step. */
static void set_environment(void) {
  const bool wide = __builtin_cpu_supports("avx512f");
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("OPENBLAS_CORETYPE", wide ? "SkylakeX" : "Haswell", 1);
  setenv("ATEN_CPU_CAPABILITY", wide ? "avx512" : "avx2", 1);
  unsetenv("OPENBLAS_L2_SIZE");
  setenv("MALLOC_MMAP_THRESHOLD_", "1000000000", 1);
  setenv("MALLOC_TRIM_THRESHOLD_", "1000000000", 1);
}

static other start_pytorch(const char *program) {
  int there[2], back[2];
  if (pipe(there) || pipe(back)) exit(1);
  const pid_t process = fork();
  if (process == 0) {
    dup2(there[0], 0), dup2(back[1], 1);
    for (int k = 0; k < 2; k++) close(there[k]), close(back[k]);
    set_environment();
    execl("/usr/bin/python3", "python3", program, (char *)NULL);
    _exit(127);
  }
  close(there[0]), close(back[1]);
  return (other){ fdopen(there[1], "w"), fdopen(back[0], "r"), process };
}

/* One line; false when the process has ended. */
static bool ask(other *o, const char *question, const char *name, long n, char *answer, int size) {
  if (!o->to || fprintf(o->to, "%s %s %ld\n", question, name, n) < 0 || fflush(o->to)) return false;
  if (answer && !fgets(answer, size, o->from)) return false;
  if (answer) answer[strcspn(answer, "\n")] = 0;
  return true;
}

static double time_pytorch(other *o, const char *name, long runs) {
  char answer[80];
  if (!ask(o, "time", name, runs, answer, sizeof answer)) exit(1);
  return atof(answer)/(double)runs;
}

/* --- results ------------------------------------------------------------------------------------------- */

/* |a - b|/|b|, norms over all results; of a learner the distance from the start takes the place of b. */
typedef struct difference { double error, size; } difference;

static void add_difference(difference *d, int64_t n, const float a[], const float b[], const float start[]) {
  for (int64_t i = 0; i < n; i++) {
    const double e = (double)a[i] - (double)b[i], s = (double)b[i] - (start ? (double)start[i] : 0);
    d->error += e*e, d->size += s*s;
  }
}

static double relative(const workload *w, const char *side, difference d) {
  const double error = sqrt(d.error/d.size);
  if (error <= w->tolerance) return error;
  fprintf(stderr, "benchmark: %s: %s differs from adit by %g\n", w->name, side, error);
  exit(1);
}

static void make_result(runner *r) {
  reset(r);
  for (int k = 0; k < r->w->steps; k++) run(r);
}

/* How far two runners are apart after some steps. */
static double compare_runners(const char *side, runner *a, runner *b, ad_function *f) {
  const workload *w = a->w;
  difference d = { 0, 0 };
  make_result(a), make_result(b);
  for (int j = 0; j < w->n_result; j++)
    add_difference(&d, ad_type_count(output_type(w, f, j)), a->out[j], b->out[j],
                   w->learner ? w->start[j] : NULL);
  return relative(w, side, d);
}

static double compare_pytorch(other *o, runner *a, ad_function *f) {
  const workload *w = a->w;
  difference d = { 0, 0 };
  make_result(a);
  if (!ask(o, "result", w->name, w->steps, NULL, 0)) exit(1);
  for (int j = 0; j < w->n_result; j++) {
    const size_t count = (size_t)ad_type_count(output_type(w, f, j));
    float *b = (float *)(void *)doubles(count/2 + 8);
    if (fread(b, sizeof *b, count, o->from) != count) exit(1);
    add_difference(&d, (int64_t)count, a->out[j], b, w->learner ? w->start[j] : NULL);
    free(b);
  }
  return relative(w, "PyTorch", d);
}

/* --- a contest ----------------------------------------------------------------------------------------- */

enum { INTERPRETER, NATIVE, BY_HAND, PYTORCH, SIDES };

/* As many runs as take 10 ms, but 5 to 2000. */
static long runs_for(double seconds) {
  return seconds < 5e-6 ? 2000 : seconds < 2e-3 ? (long)(1e-2/seconds) : 5;
}

static void print_time(const double t[ROUNDS], bool there) {
  if (there) printf(" %.3g (%.3g) |", 1e6*t[ROUNDS/2], 1e6*t[0]);
  else printf(" – |");
}

static void measure(const workload *w, runner r[BY_HAND + 1], other *o, double seen[SIDES][ROUNDS]) {
  long runs[SIDES];
  for (int s = 0; s < SIDES; s++) {
    if (s == BY_HAND && !w->by_hand) continue;
    if (s == PYTORCH && !o->to) continue;
    const double once = s == PYTORCH ? time_pytorch(o, w->name, 3) : time_runner(&r[s], 3);
    runs[s] = runs_for(once);
  }
  for (int k = 0; k < ROUNDS; k++)
    for (int s = 0; s < SIDES; s++) {
      if ((s == BY_HAND && !w->by_hand) || (s == PYTORCH && !o->to)) continue;
      seen[s][k] = s == PYTORCH ? time_pytorch(o, w->name, runs[s]) : time_runner(&r[s], runs[s]);
    }
  for (int s = 0; s < SIDES; s++) qsort(seen[s], ROUNDS, sizeof seen[s][0], compare_times);
}

static void print_row(const workload *w, double seen[SIDES][ROUNDS], bool pytorch, const char *way,
                      double error) {
  const double best = fmin(seen[NATIVE][ROUNDS/2], seen[INTERPRETER][ROUNDS/2]);
  const double theirs = seen[PYTORCH][ROUNDS/2];
  printf("| %s |", w->what);
  print_time(seen[INTERPRETER], true);
  print_time(seen[NATIVE], true);
  print_time(seen[BY_HAND], w->by_hand);
  print_time(seen[PYTORCH], pytorch);
  if (pytorch) printf(" **%.2g** | %.2g |", best/theirs, seen[INTERPRETER][ROUNDS/2]/theirs);
  else printf(" – | – |");
  if (w->goal > 0) printf(" %g us |", w->goal);
  else printf(" %g x |", -w->goal);
  if (pytorch) printf(" %s | %.1g |\n", way, error);
  else printf(" – | – |\n");
  fflush(stdout);
}

static void compile(ad_function *f) {
  ad_report report;
  if (ad_function_compile(f, &(ad_native){ .cache = own_folder() }, &report) == AD_OK) return;
  fprintf(stderr, "benchmark: %s\n", report.message);
  exit(1);
}

static void compete(const workload *w, other *o) {
  static double seen[SIDES][ROUNDS];
  char way[120] = "";
  runner r[BY_HAND + 1];
  for (int s = 0; s <= BY_HAND; s++) {
    ad_function *f = make_function(w);
    r[s] = make_runner(w, f, s == BY_HAND);
    if (s == NATIVE) compile(f);
    if (s == BY_HAND) ad_function_free(f);
  }
  if (o->to && !ask(o, "pick", w->name, 0, way, sizeof way)) {
    fprintf(stderr, "learn: no PyTorch (Debian's python3-torch): adit alone\n");
    fclose(o->to), fclose(o->from);
    *o = (other){ NULL, NULL, o->process };
  }
  double error = compare_runners("native", &r[INTERPRETER], &r[NATIVE], r[INTERPRETER].f);
  if (w->by_hand) compare_runners("by hand", &r[INTERPRETER], &r[BY_HAND], r[INTERPRETER].f);
  if (o->to) error = compare_pytorch(o, &r[INTERPRETER], r[INTERPRETER].f);
  measure(w, r, o, seen);
  print_row(w, seen, o->to, way, error);
  for (int s = 0; s <= BY_HAND; s++) free_runner(&r[s]);
}

/* --- numbers ------------------------------------------------------------------------------------------- */

/* The same numbers as fill() of learn_pytorch.py: a hash of the index, uniform in [-scale, scale). */
static void fill(uint32_t key, int64_t n, double scale, float x[]) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t h = (uint32_t)i*0x9E3779B1u + key*0x85EBCA77u;
    h = (h ^ (h >> 15))*0x2C1B3C6Du;
    h = (h ^ (h >> 12))*0x297A2D39u;
    h ^= h >> 15;
    x[i] = (float)(scale*((double)h/2147483648.0 - 1));
  }
}

/* Room for another input, zeros. */
static void *add_input(workload *w, ad_type type) {
  const size_t bytes = ad_type_bytes(type);
  w->type[w->n_in] = type;
  return w->start[w->n_in++] = memset(doubles(bytes/8 + 8), 0, bytes);
}
static float *add_filled(workload *w, ad_type type, uint32_t key, double scale) {
  float *x = add_input(w, type);
  fill(key, ad_type_count(type), scale, x);
  return x;
}

/* Weights (in, out) and biases of a network. */
static void add_network(workload *w, int layers, const int64_t size[]) {
  for (int k = 0; k < layers; k++) {
    const double scale = sqrt(6./(double)(size[k] + size[k + 1]));
    add_filled(w, AD_F32(size[k], size[k + 1]), (uint32_t)(2*k + 1), scale);
    add_filled(w, AD_F32(size[k + 1]), (uint32_t)(2*k + 2), 0.1);
  }
  w->n_result = w->n_out = 2*layers;
}

static void add_state(workload *w, const ad_optimiser *o) {
  ad_type type[MOST];
  const int n = w->n_result, m = ad_optimiser_state_count(o, n);
  ad_optimiser_state_types(o, n, w->type, type);
  for (int k = 0; k < m; k++) add_input(w, type[k]);
  w->n_out = n + m;
}

/* --- the cases ----------------------------------------------------------------------------------------- */

static ad_var layer(ad_var x, const ad_var p[2]) { return ad_add(ad_matmul(x, p[0]), p[1]); }

/* A step of an optimiser on parameters in[0 .. n), its state after them. */
static void step(const ad_optimiser *o, ad_var loss, int n, const ad_var in[], ad_var out[]) {
  ad_var g[MOST];
  ad_grad(loss, n, in, g);
  ad_optimiser_step(o, n, in, g, in + n, out, out + n);
}

/* 10-5-1 with relu, 100 samples, mean square error, gradient descent. */
static void small_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  const ad_optimiser sgd = ad_sgd(0.01);
  const ad_var y = layer(ad_relu(layer(in[5], in)), in + 2);
  step(&sgd, ad_mse(y, in[6], AD_MEAN), 4, in, out);
}

static void small_by_hand(float *const in[], float *const out[]) {
  enum { N = 100, F = 10, H = 5 };
  float *A = in[0], *a = in[1], *B = in[2], *b = in[3], h[H][N], e[N];
  float gA[F][H] = { { 0 } }, ga[H], gB[H], gb = 0;
  const float *x = in[5], *target = in[6];
  (void)out;
  for (int n = 0; n < N; n++) e[n] = b[0] - target[n];
  for (int k = 0; k < H; k++) {
    for (int n = 0; n < N; n++) h[k][n] = a[k];
    for (int i = 0; i < F; i++)
      for (int n = 0; n < N; n++) h[k][n] += A[i*H + k]*x[n*F + i];
    for (int n = 0; n < N; n++) h[k][n] = h[k][n] > 0 ? h[k][n] : 0, e[n] += B[k]*h[k][n];
  }
  for (int n = 0; n < N; n++) e[n] *= 2.f/N, gb += e[n];
  for (int k = 0; k < H; k++) {
    float d[N];
    gB[k] = ga[k] = 0;
    for (int n = 0; n < N; n++) gB[k] += e[n]*h[k][n], d[n] = h[k][n] > 0 ? e[n]*B[k] : 0, ga[k] += d[n];
    for (int n = 0; n < N; n++)
      for (int i = 0; i < F; i++) gA[i][k] += d[n]*x[n*F + i];
  }
  for (int k = 0; k < H; k++) {
    for (int i = 0; i < F; i++) A[i*H + k] -= 0.01f*gA[i][k];
    a[k] -= 0.01f*ga[k], B[k] -= 0.01f*gB[k];
  }
  b[0] -= 0.01f*gb;
}

static void make_small(workload *w) {
  const ad_optimiser sgd = ad_sgd(0.01);
  add_network(w, 2, (const int64_t[]){ 10, 5, 1 });
  add_state(w, &sgd);
  add_filled(w, AD_F32(100, 10), 11, 1);
  add_filled(w, AD_F32(100, 1), 12, 1);
}

/* u'' + u = 0, u(0) = 0, u(1) = sin 1 by a network 1-20-20-1 with tanh at 100 points; u'' is twice the second
 * Taylor coefficient. */
static void equation_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  const ad_optimiser adam = ad_adam(1e-3);
  const ad_var x = in[6 + 13];
  ad_var u = layer(ad_tanh(layer(ad_tanh(layer(x, in)), in + 2)), in + 4), coefficient[3];
  const ad_var direction[2] = { ad_ones(tape, ad_type_of(x)), ad_none() };
  ad_taylor(2, 1, &x, direction, 1, &u, coefficient);
  const ad_var left = ad_at(u, 2, (const int64_t[]){ 0, 0 }), right = ad_at(u, 2, (const int64_t[]){ 99, 0 });
  const ad_var rest = ad_mean(ad_square(ad_add(ad_mul(2, coefficient[2]), u)), AD_ALL_AXES, false);
  step(&adam, ad_add(rest, ad_add(ad_square(left), ad_square(ad_sub(right, sin(1))))), 6, in, out);
}

static void make_equation(workload *w) {
  const ad_optimiser adam = ad_adam(1e-3);
  add_network(w, 3, (const int64_t[]){ 1, 20, 20, 1 });
  add_state(w, &adam);
  float *x = add_input(w, AD_F32(100, 1));
  for (int i = 0; i < 100; i++) x[i] = (float)(i/99.0);
}

/* Five tasks y = a . x + b, five inner steps on ten points each by a network 5-20-1 with tanh, the loss at
 * ten others, and its gradient of second order. in: parameters, state, then x, y, query x, query y with a
 * leading axis of tasks. */
enum { TASKS = 5, POINTS = 10, FEATURES = 5 };

static ad_var error_of(const ad_var w[4], ad_var x, ad_var y) {
  return ad_mse(layer(ad_tanh(layer(x, w)), w + 2), y, AD_MEAN);
}

static void task_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  ad_var fast[4], g[4];
  (void)tape, (void)context;
  memcpy(fast, in, sizeof fast);
  for (int k = 0; k < 5; k++) {
    ad_grad(error_of(fast, in[4], in[5]), 4, fast, g);
    for (int i = 0; i < 4; i++) fast[i] = ad_sub(fast[i], ad_mul(0.1, g[i]));
  }
  out[0] = error_of(fast, in[6], in[7]);
}

static void tasks_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const ad_optimiser adam = ad_adam(1e-2);
  const ad_type points = AD_F32(POINTS, FEATURES), values = AD_F32(POINTS, 1);
  const ad_type type[8] = { ad_type_of(in[0]), ad_type_of(in[1]), ad_type_of(in[2]), ad_type_of(in[3]),
                            points, values, points, values };
  ad_function *task = need(ad_function_trace("task", task_body, context, 8, type, 1));
  ad_var all[8], losses;
  (void)tape;
  memcpy(all, in, 4*sizeof *all);
  memcpy(all + 4, in + 4 + 9, 4*sizeof *all);
  ad_map(task, all, &losses);
  step(&adam, ad_mean(losses, AD_ALL_AXES, false), 4, in, out);
  ad_function_free(task);
}

static void make_tasks(workload *w) {
  const ad_optimiser adam = ad_adam(1e-2);
  float a[TASKS*FEATURES], b[TASKS];
  fill(21, TASKS*FEATURES, 1, a), fill(22, TASKS, 1, b);
  add_network(w, 2, (const int64_t[]){ FEATURES, 20, 1 });
  add_state(w, &adam);
  for (int part = 0; part < 2; part++) {
    const float *x = add_filled(w, AD_F32(TASKS, POINTS, FEATURES), (uint32_t)(23 + part), 1);
    float *y = add_input(w, AD_F32(TASKS, POINTS, 1));
    for (int i = 0; i < TASKS*POINTS; i++) {
      double sum = (double)b[i/POINTS];
      for (int k = 0; k < FEATURES; k++) sum += (double)a[i/POINTS*FEATURES + k]*(double)x[i*FEATURES + k];
      y[i] = (float)sum;
    }
  }
}

/* y[k] = sum_j p[k][j] x[j], p[k] = softmax over j of (n - 1 - 2k) x[j] - sum_i |x[j] - x[i]| (Grover et al.,
 * ICLR 2019) */
static void sort_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  static const float places[3] = { 2, 0, -2 };
  (void)context;
  const ad_var crowd = ad_sum(ad_abs(ad_sub(ad_expand(in[0], 1), ad_expand(in[0], 0))), AD_AXES(1), false);
  const ad_var factor = ad_constant(tape, AD_F32(3, 1), places);
  out[0] = ad_matmul(ad_softmax(ad_sub(ad_mul(factor, in[0]), crowd), 1), in[0]);
}

static void sort_by_hand(float *const in[], float *const out[]) {
  enum { N = 3 };
  const float *x = in[0], *w = in[1];
  float *y = out[0], *g = out[1], crowd[N] = { 0 }, by_crowd[N] = { 0 };
  for (int j = 0; j < N; j++)
    for (int i = 0; i < N; i++) crowd[j] += fabsf(x[j] - x[i]);
  for (int j = 0; j < N; j++) g[j] = 0;
  for (int k = 0; k < N; k++) {
    float p[N], most = -INFINITY, sum = 0, mean = 0;
    for (int j = 0; j < N; j++) p[j] = (float)(N - 1 - 2*k)*x[j] - crowd[j], most = p[j] > most ? p[j] : most;
    for (int j = 0; j < N; j++) p[j] = expf(p[j] - most), sum += p[j];
    for (int j = 0; j < N; j++) p[j] /= sum, mean += p[j]*x[j];
    y[k] = mean;
    for (int j = 0; j < N; j++) {
      const float d = w[k]*p[j]*(x[j] - mean);
      g[j] += w[k]*p[j] + (float)(N - 1 - 2*k)*d, by_crowd[j] -= d;
    }
  }
  for (int j = 0; j < N; j++)
    for (int i = 0; i < N; i++) {
      const float s = x[j] > x[i] ? 1.f : x[j] < x[i] ? -1.f : 0.f;
      g[j] += s*by_crowd[j], g[i] -= s*by_crowd[j];
    }
}

static void make_sort(workload *w) {
  memcpy(add_input(w, AD_F32(3)), (const float[]){ 0.3f, -0.5f, 0.9f }, 3*sizeof(float));
  memcpy(add_input(w, AD_F32(3)), (const float[]){ 1, 2, 3 }, 3*sizeof(float));
  w->n_out = w->n_result = 2;
}

/* sum over i of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2 */
enum { N = 100 };
static void rosenbrock_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const ad_var a = ad_slice(in[0], 0, 0, N - 1, 1), b = ad_slice(in[0], 0, 1, N - 1, 1);
  (void)tape, (void)context;
  const ad_var r = ad_sub(b, ad_square(a)), s = ad_sub(1, a);
  out[0] = ad_sum(ad_add(ad_mul(100, ad_square(r)), ad_square(s)), AD_ALL_AXES, false);
}
static void rosenbrock_by_hand(float *const in[], float *const out[]) {
  const float *x = in[0];
  float *h = out[0];
  memset(h, 0, N*N*sizeof *h);
  for (int i = 0; i + 1 < N; i++) {
    h[i*N + i] += 1200*x[i]*x[i] - 400*x[i + 1] + 2;
    h[(i + 1)*N + i + 1] += 200;
    h[i*N + i + 1] = h[(i + 1)*N + i] = -400*x[i];
  }
}
static void make_rosenbrock(workload *w) {
  float *x = add_input(w, AD_F32(N));
  for (int i = 0; i < N; i++) x[i] = (float)(0.5 + 0.01*i);
  w->n_out = w->n_result = 1;
}
static ad_function *hessian(ad_function *f) { return ad_function_hessian(f, 0, NULL); }

/* R^2 -> R^3: (x0^2 + x1^2, x0 x1, sin x0 + cos x1) */
static void three_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_add(ad_mul(in[0], in[0]), ad_mul(in[1], in[1]));
  out[1] = ad_mul(in[0], in[1]);
  out[2] = ad_add(ad_sin(in[0]), ad_cos(in[1]));
}
static void jvp_by_hand(float *const in[], float *const out[]) {
  const float a = *in[0], b = *in[1], da = *in[2], db = *in[3];
  *out[0] = a*a + b*b, *out[1] = a*b, *out[2] = sinf(a) + cosf(b);
  *out[3] = 2*a*da + 2*b*db, *out[4] = da*b + a*db, *out[5] = cosf(a)*da - sinf(b)*db;
}
static void vjp_by_hand(float *const in[], float *const out[]) {
  const float a = *in[0], b = *in[1], u = *in[2], v = *in[3], w = *in[4];
  *out[0] = a*a + b*b, *out[1] = a*b, *out[2] = sinf(a) + cosf(b);
  *out[3] = 2*a*u + b*v + cosf(a)*w, *out[4] = 2*b*u + a*v - sinf(b)*w;
}
static void make_tangents(workload *w) {
  static const float x[4] = { 2, 3, 1, 0.5f };
  for (int i = 0; i < 4; i++) *(float *)add_input(w, AD_F32()) = x[i];
  w->n_out = w->n_result = 6;
}
static void make_cotangents(workload *w) {
  static const float x[5] = { 2, 3, 1, 2, 3 };
  for (int i = 0; i < 5; i++) *(float *)add_input(w, AD_F32()) = x[i];
  w->n_out = w->n_result = 5;
}

/* 784-512-512-10, relu, a batch of 128, cross entropy, Adam. */
static void big_body(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  const ad_optimiser adam = ad_adam(1e-3);
  const ad_var h = ad_relu(layer(ad_relu(layer(in[19], in)), in + 2));
  step(&adam, ad_cross_entropy(layer(h, in + 4), in[20], AD_MEAN), 6, in, out);
}
static void make_big(workload *w) {
  const ad_optimiser adam = ad_adam(1e-3);
  add_network(w, 3, (const int64_t[]){ 784, 512, 512, 10 });
  add_state(w, &adam);
  add_filled(w, AD_F32(128, 784), 31, 1);
  int32_t *class = add_input(w, AD_I32(128));
  for (int i = 0; i < 128; i++) class[i] = i*7%10;
}

/* --- all of them --------------------------------------------------------------------------------------- */

static workload cases[] = {
  { .name = "small_network", .what = "MLP 10-5-1, 100 samples, sgd", .body = small_body, .make = make_small,
    .by_hand = small_by_hand, .goal = 5, .tolerance = 1e-5, .learner = true, .steps = 5 },
  { .name = "equation_network", .what = "u'' + u = 0, 1-20-20-1, 100 points, Adam", .body = equation_body,
    .make = make_equation, .goal = 45, .tolerance = 1e-3, .learner = true, .steps = 5 },
  { .name = "learning_to_learn", .what = "learning to learn, 5 tasks, 5 inner steps, Adam",
    .body = tasks_body, .make = make_tasks, .goal = 100, .tolerance = 1e-3, .learner = true, .steps = 5 },
  { .name = "soft_sort", .what = "soft sort of 3, with vjp", .body = sort_body, .make = make_sort,
    .derive = ad_function_vjp, .primal_in = 1, .primal_out = 1, .by_hand = sort_by_hand, .goal = 3,
    .tolerance = 1e-6, .steps = 2 },
  { .name = "rosenbrock", .what = "Hessian of Rosenbrock, 100 variables", .body = rosenbrock_body,
    .make = make_rosenbrock, .derive = hessian, .primal_in = 1, .primal_out = 1,
    .by_hand = rosenbrock_by_hand, .goal = 30, .tolerance = 1e-6, .steps = 2 },
  { .name = "tangents", .what = "R^2 -> R^3: jvp", .body = three_body, .make = make_tangents,
    .derive = ad_function_jvp, .primal_in = 2, .primal_out = 3, .by_hand = jvp_by_hand, .goal = 0.5,
    .tolerance = 1e-6, .steps = 2 },
  { .name = "cotangents", .what = "R^2 -> R^3: vjp", .body = three_body, .make = make_cotangents,
    .derive = ad_function_vjp, .primal_in = 2, .primal_out = 3, .by_hand = vjp_by_hand, .goal = 0.5,
    .tolerance = 1e-6, .steps = 2 },
  { .name = "big_network", .what = "MLP 784-512-512-10, batch 128, Adam", .body = big_body, .make = make_big,
    .goal = -0.65, .tolerance = 1e-2, .learner = true, .steps = 3 },
};

static bool chosen(const char *name, int argc, char *argv[]) {
  for (int k = 1; k < argc; k++)
    if (strcmp(argv[k], name) == 0) return true;
  return argc < 2;
}

int main(int argc, char *argv[]) {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
  signal(SIGPIPE, SIG_IGN);
  other pytorch = start_pytorch(LEARN_PYTORCH);
  printf("us of processor time for a step or call: medians (best) of %d rounds; ratios to PyTorch: of the\n"
         "faster of both ways of adit, and of the interpreter\n\n"
         "| | interpreter | native | by hand | PyTorch | ratio | interpreter's | goal "
         "| PyTorch's fastest way | differ by |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n", ROUNDS);
  for (size_t k = 0; k < sizeof cases/sizeof *cases; k++) {
    if (!chosen(cases[k].name, argc, argv)) continue;
    cases[k].make(&cases[k]);
    compete(&cases[k], &pytorch);
    for (int i = 0; i < cases[k].n_in; i++) free(cases[k].start[i]);
  }
  if (pytorch.to) ask(&pytorch, "quit", "", 0, NULL, 0);
  waitpid(pytorch.process, NULL, 0);
  return 0;
}
