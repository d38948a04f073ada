/* test_native.c -- compiling: calls agree, the cache is shared, private and dispensable, failures leave a
 * working function and say why; in the background; from several threads and processes at once. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"
#include "heap.h"
#include "adit/arrays.h"
#include "adit/code.h"
#include "adit/control.h"
#include "adit/custom.h"
#include "adit/elementwise.h"
#include "adit/implicit.h"
#include "adit/linear.h"
#include "adit/losses.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *folder;

static const char *inside(const char *name) { return folder_path(folder, name); }

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  out[0] = ad_mul(ad_sin(ad_mul(in[0], *(const double *)context)), in[1]);
  out[1] = ad_sum(ad_exp(ad_mul(in[2], in[0])), AD_ALL_AXES, false);
}

/* Another factor is another text. */
static ad_function *make(double factor) {
  const ad_type in[3] = { AD_F64(), AD_F64(), AD_F64(7) };
  return ad_function_trace("f", body, &factor, 3, in, 2);
}

static const double x = 0.7, y = -1.5, v[7] = { 0, 1, 2, -1, 0.5, 0.25, 3 };

static void check_values(ad_function *f, double factor) {
  double a = 0, b = 0, sum = 0;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &x, &y, v }, (void *[]){ &a, &b }, NULL), AD_OK);
  for (int i = 0; i < 7; i++) sum += exp(v[i]*x);
  CHECK(fabs(a - sin(x*factor)*y) <= 1e-15*fabs(a) && fabs(b - sum) <= 1e-14*sum);
}

static int count_objects(const char *cache) { return folder_number(cache, "ls | grep -c '\\.so$'"); }

static void test_calls(void) {
  ad_report report;
  ad_function *f = make(2);
  const ad_native options = { .cache = inside("cache") };
  CHECK_STATUS(ad_function_compiled(f, false, NULL), AD_ERROR_NO_VALUE);
  CHECK_STATUS(ad_function_compile(f, &options, &report), AD_OK);
  CHECK_STATUS(ad_function_compiled(f, true, NULL), AD_OK);
  check_values(f, 2);
  double a = 5, b = 5, z = 0.7;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ NULL, &y, NULL }, (void *[]){ &a, &b }, NULL), AD_OK);
  CHECK(a == 0 && b == 7);                       /* inputs not given are zeros */
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &z, &y, v }, (void *[]){ &z, NULL }, NULL), AD_OK);
  CHECK(fabs(z - sin(1.4)*y) < 1e-15);           /* not all outputs: the interpreter */
  z = 0.7;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &z, &y, v }, (void *[]){ &z, &b }, NULL), AD_OK);
  CHECK(fabs(z - sin(1.4)*y) < 1e-15);           /* in place */
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  ad_function_free(f);
  CHECK(count_objects(options.cache) == 1);
  f = make(2);
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  check_values(f, 2);
  CHECK(count_objects(options.cache) == 1);      /* found */
  ad_function_free(f);
}

/* A callback fails with a status of its own. */
static ad_status refuse(void *context, const void *const in[], void *const out[], char *message,
                        size_t size) {
  (void)context, (void)message, (void)size;
  *(double *)out[0] = 2**(const double *)in[0];
  return *(const double *)in[0] < 0 ? AD_ERROR_NUMERIC : AD_OK;
}

static void around(ad_tape *t, const ad_var in[], ad_var out[], void *callback) {
  (void)t;
  ad_function_apply(callback, in, out);
  out[0] = ad_add(out[0], 1);
}

static void test_failing_steps(void) {
  const ad_type s = AD_F64();
  const ad_external e = { .name = "refuse", .n_in = 1, .n_out = 1, .in = &s, .out = &s, .call = refuse };
  ad_function *callback = ad_function_external(&e, NULL),
              *f = ad_function_trace("around", around, callback, 1, &s, 1);
  double in = 3, out;
  ad_workspace *w = ad_workspace_new();
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = inside("cache") }, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &in }, (void *[]){ &out }, w), AD_OK);
  CHECK(out == 7);
  in = -1;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &in }, (void *[]){ &out }, w), AD_ERROR_NUMERIC);
  in = 3;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ &in }, (void *[]){ &out }, w), AD_OK);
  CHECK(ad_workspace_message(w)[0] == 0);
  ad_workspace_free(w);
  ad_function_free(f);
  ad_function_free(callback);
}

/* --- messages of failures ------------------------------------------------------------------------------- */

static ad_status complain(void *context, const void *const in[], void *const out[], char *message,
                          size_t size) {
  (void)context, (void)in, (void)out;
  snprintf(message, size, "out of %d%% \"coffee\"", 100);
  return AD_ERROR_NUMERIC;
}

static ad_var whole(ad_var a) { return ad_sum(a, AD_ALL_AXES, false); }

/* x^2 + a = 0, x = x^2 + a + 2, and the minimum of -a x^2. */
static void no_root(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_square(in[0]), in[1]);
}
static void no_fixed_point(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  no_root(t, in, out, context);
  out[0] = ad_add(out[0], 2);
}
static void no_minimum(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_neg(whole(ad_mul(ad_square(in[0]), in[1])));
}
static void undefined(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_log(ad_sub(in[0], ad_add(in[1], 5)));
}
static void undefined_sum(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  undefined(t, in, out, context);
  out[0] = whole(out[0]);
}

typedef struct solved { int kind; ad_body *body; ad_solver how; int64_t n; ad_function *f; } solved;

static void solve(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const solved *s = context;
  (void)t;
  if (s->kind == 0) ad_root(s->f, &s->how, in, out);
  else if (s->kind == 1) ad_fixed_point(s->f, &s->how, in, out);
  else ad_minimize(s->f, &s->how, in, out);
}

/* (guess, a), of n elements each or scalars. */
static ad_function *solving(solved s) {
  const ad_type number = s.n < 0 ? AD_F64() : AD_F64(s.n), type[2] = { number, number };
  s.f = ad_function_trace("equation", s.body, NULL, 2, type, 1);
  ad_function *f = ad_function_trace("solve", solve, &s, 2, type, 1);
  ad_function_free(s.f);
  return f;
}

static void each_row(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  (void)t;
  ad_map(f, in, out);
}
static void again(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_var state;
  (void)t;
  if (ad_fold(f, 1, &(ad_loop){ .steps = 3 }, in, &state) == AD_OK) out[0] = state;
}
static void singular_system(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_solve(ad_mul(ad_expand(in[0], -1), in[1]), in[0]);
}
static void not_definite(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_cholesky(ad_neg(ad_mul(ad_expand(in[0], -1), in[1])));
}
static void out_of_range(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_take(in[0], ad_cast(ad_mul(in[1], 100), AD_I64), 0);
}
static void no_class(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var logits = ad_mul(ad_expand(in[0], -1), in[1]);
  out[0] = ad_cross_entropy(logits, ad_cast(ad_mul(in[1], 100), AD_I64), AD_MEAN);
}
static void goes_on(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(0, whole(in[0]));
}
static void counted_up(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(in[0], in[1]);
}
static void without_end(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  ad_function *const *both = f;
  ad_var state[2];
  (void)t;
  if (ad_while(both[0], both[1], &(ad_loop){ .limit = 7 }, in, state) == AD_OK) out[0] = state[0];
}
static void many_steps(ad_tape *t, const ad_var in[], ad_var out[], void *f) {
  const ad_loop how = { .steps = 4, .count = ad_cast(ad_mul(whole(in[1]), 100), AD_I64), .counted = true };
  ad_var state;
  (void)t;
  if (ad_fold(f, 1, &how, in, &state) == AD_OK) out[0] = state;
}

/* (x, a) of n elements each: what the interpreter says, native code says. f is taken over. */
static void check_message(ad_function *f, const char *about) {
  double in[2][64], out[64*64];
  char said[2][200];
  ad_status status[2];
  ad_report report;
  if (!CHECK_THAT(f != NULL, "%s: no function", about)) return;
  for (int e = 0; e < 64; e++) in[0][e] = 1.5 + 0.01*e, in[1][e] = 0.75 - 0.001*e;
  for (int side = 0; side < 2; side++) {
    ad_workspace *w = ad_workspace_new();
    if (side)
      CHECK_THAT(ad_function_compile(f, &(ad_native){ .cache = inside("cache") }, &report) == AD_OK, "%s: %s",
                 about, report.message);
    status[side] = ad_function_call(f, (const void *[]){ in[0], in[1] }, (void *[]){ out }, w);
    snprintf(said[side], sizeof said[side], "%s", ad_workspace_message(w));
    ad_workspace_free(w);
  }
  CHECK_THAT(status[0] != AD_OK && status[0] == status[1], "%s: %d and %d", about, (int)status[0],
             (int)status[1]);
  CHECK_THAT(said[0][0] && !strcmp(said[0], said[1]), "%s: \"%s\" and \"%s\"", about, said[0], said[1]);
  CHECK_THAT(strstr(said[0], about) != NULL, "\"%s\" does not say \"%s\"", said[0], about);
  ad_function_free(f);
}

static void test_messages_of_iterations(void) {
  static const struct { solved how; const char *about; } wrong[] = {
    { { 0, no_root, { .iterations = 2 }, -1, NULL }, "root: no convergence after 2 iterations, residual" },
    { { 0, no_root, { .iterations = 0 }, 3, NULL }, "root: " },
    { { 0, undefined, { .iterations = 0 }, 3, NULL }, "root: the residual is not finite after 0 iterations" },
    { { 0, no_root, { .iterations = 2 }, 40, NULL }, "root: no convergence after 2 iterations, residual" },
    { { 1, no_fixed_point, { .mixing = -1 }, 3, NULL }, "fixed_point: the residual is not finite after" },
    { { 1, no_fixed_point, { .iterations = 2 }, 3, NULL }, "fixed_point: no convergence after 2 iterations" },
    { { 2, no_minimum, { .iterations = 4 }, 3, NULL }, "minimize: no convergence after 4 iterations" },
    { { 2, undefined_sum, { .iterations = 0 }, 3, NULL }, "minimize: the function is not finite after 0" }
  };
  const ad_type rows[2] = { AD_F64(4, 3), AD_F64(4, 3) }, row[2] = { AD_F64(3), AD_F64(3) };
  for (size_t i = 0; i < sizeof wrong/sizeof *wrong; i++)
    check_message(solving(wrong[i].how), wrong[i].about);
  ad_function *f = solving(wrong[1].how);
  check_message(ad_function_trace("rows", each_row, f, 2, rows, 1), "root: ");
  check_message(ad_function_trace("again", again, f, 2, row, 1), "root: ");
  ad_function_free(f);
}

static void test_messages(void) {
  const ad_type type[2] = { AD_F64(3), AD_F64(3) };
  const ad_external e = { .name = "machine", .n_in = 2, .n_out = 1, .in = type, .out = type,
                          .call = complain };
  ad_function *while_parts[2] = { ad_function_trace("\"so?\" 5%d \\", goes_on, NULL, 2, type, 1),
                                  ad_function_trace("step", counted_up, NULL, 2, type, 1) };
  check_message(ad_function_trace("f", singular_system, NULL, 2, type, 1), "solve: ");
  check_message(ad_function_trace("f", not_definite, NULL, 2, type, 1), "cholesky: ");
  check_message(ad_function_trace("f", out_of_range, NULL, 2, type, 1), "take: ");
  check_message(ad_function_trace("f", no_class, NULL, 2, type, 1), "class 75");
  check_message(ad_function_trace("f", without_end, while_parts, 2, type, 1),
                "while: \"so?\" 5%d \\ still holds after 7 steps");
  check_message(ad_function_trace("f", many_steps, while_parts[1], 2, type, 1), "scan: 224 steps, of 4");
  check_message(ad_function_external(&e, NULL), "out of 100% \"coffee\"");
  ad_function_free(while_parts[0]);
  ad_function_free(while_parts[1]);
}

/* Whatever goes wrong: a status, a message with that in it, right answers. */
static void check_refusal(const ad_native *options, ad_status status, const char *about) {
  ad_report report;
  ad_function *f = make(3);
  CHECK_STATUS(ad_function_compile(f, options, &report), status);
  CHECK_THAT(strstr(report.message, about) != NULL, "%s", report.message);
  check_values(f, 3);
  ad_function_free(f);
}

static void write_compiler(const char *name, const char *script) {
  FILE *f = fopen(inside(name), "w");
  if (!f) return;
  fputs(script, f);
  fclose(f);
  CHECK(chmod(inside(name), 0755) == 0);
}

static void test_refusals(void) {
  check_refusal(&(ad_native){ .compiler = "no-such-compiler", .cache = inside("cache") },
                AD_ERROR_UNSUPPORTED, "no-such-compiler");
  write_compiler("bad", "#!/bin/sh\necho 'internal error: out of coffee'\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("bad"), .cache = inside("cache") }, AD_ERROR_IO, "coffee");
  write_compiler("full", "#!/bin/sh\necho 'f.c: In function f:'\n"
                         "echo '/usr/bin/ld: warning: x.o: something else'\n"
                         "echo '/usr/bin/ld: final link failed: No space left on device'\n"
                         "echo 'collect2: error: ld returned 1 exit status'\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("full"), .cache = inside("cache") }, AD_ERROR_IO,
                "No space left on device");
  write_compiler("lld", "#!/bin/sh\necho 'ld: error: undefined symbol: g'\necho\n"
                        "echo 'cc: error: linker command failed with exit code 1'\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("lld"), .cache = inside("cache") }, AD_ERROR_IO,
                "undefined symbol: g");
  write_compiler("alone", "#!/bin/sh\necho 'collect2: error: ld died'\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("alone"), .cache = inside("cache") }, AD_ERROR_IO,
                "ld died");
  write_compiler("foreign", "#!/bin/sh\necho 'f.c: Warnung'\necho 'f.c:1: Fehler: kein Kaffee'\n"
                            "echo 'collect2: Fehler'\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("foreign"), .cache = inside("cache") }, AD_ERROR_IO,
                "kein Kaffee");
  write_compiler("mute", "#!/bin/sh\nexit 1\n");
  check_refusal(&(ad_native){ .compiler = inside("mute"), .cache = inside("cache") }, AD_ERROR_IO,
                "it says nothing");
  write_compiler("empty", "#!/bin/sh\nexit 0\n");
  check_refusal(&(ad_native){ .compiler = inside("empty"), .cache = inside("cache") }, AD_ERROR_IO, "cache");
  check_refusal(&(ad_native){ .options = "-no-such-option", .cache = inside("cache") }, AD_ERROR_IO,
                "no-such-option");
  CHECK(mkdir(inside("open"), 0777) == 0 && chmod(inside("open"), 0777) == 0);
  check_refusal(&(ad_native){ .cache = inside("open") }, AD_ERROR_IO, "other users");
  check_refusal(&(ad_native){ .cache = inside("bad") }, AD_ERROR_IO, "no folder");
  check_refusal(&(ad_native){ .cache = "/proc/adit" }, AD_ERROR_IO, "/proc/adit");
  if (access("/dev/full", W_OK) == 0 && geteuid() != 0) {
    CHECK(mkdir(inside("closed"), 0500) == 0);
    check_refusal(&(ad_native){ .cache = inside("closed") }, AD_ERROR_IO, "closed");
  }
  CHECK_STATUS(ad_function_compile(NULL, NULL, NULL), AD_ERROR_ARGUMENT);
}

/* An object that is damaged is refused by the loader. */
static void test_damaged_object(void) {
  char command[FOLDER_PATH + 100];
  const ad_native options = { .cache = inside("damaged") };
  ad_function *f = make(4);
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  ad_function_free(f);
  snprintf(command, sizeof command, "cd '%s' && for f in *.so; do echo broken >$f.new; mv $f.new $f; done",
           options.cache);
  CHECK(system(command) == 0);
  ad_report report;
  f = make(4);
  CHECK_STATUS(ad_function_compile(f, &options, &report), AD_ERROR_IO);
  check_values(f, 4);
  ad_function_free(f);
}

static void test_background(void) {
  ad_function *f = make(5), *g = make(6);
  const ad_native options = { .cache = inside("cache"), .background = true };
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  check_values(f, 5);                            /* by whichever is there */
  CHECK_STATUS(ad_function_compiled(f, true, NULL), AD_OK);
  check_values(f, 5);
  CHECK_STATUS(ad_function_compile(g, &options, NULL), AD_OK);
  ad_function_free(g);                           /* while it is compiled */
  ad_function_free(f);
  ad_report report;
  write_compiler("bad", "#!/bin/sh\necho 'internal error: out of coffee'\nexit 1\n");
  f = make(7);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .compiler = inside("bad"), .cache = inside("cache"),
                                                    .background = true }, NULL), AD_OK);
  CHECK_STATUS(ad_function_compiled(f, true, &report), AD_ERROR_IO);
  CHECK(strstr(report.message, "coffee") != NULL);
  check_values(f, 7);
  ad_function_free(f);
}

static void *compile_shared(void *f) {
  ad_function_compile(f, &(ad_native){ .cache = inside("race") }, NULL);
  double a, b;
  for (int k = 0; k < 100; k++)
    ad_function_call(f, (const void *[]){ &x, &y, v }, (void *[]){ &a, &b }, NULL);
  return NULL;
}

static void test_races(void) {
  pthread_t thread[4];
  ad_function *f = make(8);
  inside("race");
  for (int k = 0; k < 4; k++) CHECK(pthread_create(&thread[k], NULL, compile_shared, f) == 0);
  for (int k = 0; k < 4; k++) pthread_join(thread[k], NULL);
  check_values(f, 8);
  ad_function_free(f);
  pid_t child[3];
  for (int k = 0; k < 3; k++)
    if ((child[k] = fork()) == 0) {
      f = make(9);
      const ad_status status = ad_function_compile(f, &(ad_native){ .cache = inside("race") }, NULL);
      double a, b;
      ad_function_call(f, (const void *[]){ &x, &y, v }, (void *[]){ &a, &b }, NULL);
      _exit(status == AD_OK && fabs(a - sin(9*x)*y) < 1e-14 ? 0 : 1);
    }
  for (int k = 0; k < 3; k++) {
    int status = 1;
    CHECK(waitpid(child[k], &status, 0) == child[k] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  CHECK(count_objects(inside("race")) == 2);
}

/* Compiled code computes all outputs, the interpreter some of them; each is prepared for itself. */
static void test_prepared(void) {
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  const ad_type in[3] = { AD_F64(), AD_F64(), AD_F64(7) };
  const ad_native options = { .cache = inside("cache") };
  double factor = 2, z[2] = { 0 };
  ad_function *f = ad_function_trace_with(&a, "f", body, &factor, 3, in, 2, NULL);
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  for (int some = 0; some < 2; some++) {
    CHECK_STATUS(ad_function_prepare(f, some ? (const bool[]){ true, false } : NULL, NULL), AD_OK);
    const long calls = h.calls;
    CHECK_STATUS(ad_function_call(f, (const void *[]){ &x, &y, v }, (void *[]){ &z[0], some ? NULL : &z[1] },
                                  NULL), AD_OK);
    CHECK_THAT(h.calls == calls, "%ld allocations", h.calls - calls);
    CHECK(fabs(z[0] - sin(x*factor)*y) <= 1e-15);
  }
  ad_function_free(f);
  CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
}

/* Large constants of the function itself, of the body of a map and of indices: the code finds them in a
 * table, so that functions that differ in nothing else have the same code. */
enum { TABLE = 700, INSTANCES = 40 };
typedef struct tables { double number[TABLE]; float small[TABLE]; int64_t index[TABLE]; } tables;

static void weighted(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const tables *c = context;
  out[0] = whole(ad_sin(ad_mul(ad_constant(t, AD_F64(TABLE), c->number), in[0])));
}

static void by_tables(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const tables *c = context;
  const ad_type type = AD_F64();
  ad_function *f = ad_function_trace("weighted", weighted, context, 1, &type, 1);
  const ad_var picked = ad_take(ad_constant(t, AD_F64(TABLE), c->number),
                                ad_constant(t, AD_I64(TABLE), c->index), 0);
  ad_map(f, in, &out[0]);
  out[1] = whole(ad_mul(picked, ad_exp(ad_mul(ad_constant(t, AD_F32(TABLE), c->small), in[1]))));
  ad_function_free(f);
}

static void check_tables(int which) {
  static tables c;
  const ad_type type[2] = { AD_F64(INSTANCES), AD_F64() };
  const ad_native options = { .cache = inside("tables") };
  double at[INSTANCES], z[INSTANCES], sum, want = 0;
  for (int i = 0; i < TABLE; i++) {
    c.number[i] = sin(i + which);
    c.small[i] = (float)cos(i*(which + 1));
    c.index[i] = (i*(3 + which))%TABLE;
  }
  for (int k = 0; k < INSTANCES; k++) at[k] = 0.1*k;
  ad_function *f = ad_function_trace("tables", by_tables, &c, 2, type, 2);
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  CHECK_STATUS(ad_function_prepare(f, NULL, NULL), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ at, &y }, (void *[]){ z, &sum }, NULL), AD_OK);
  for (int k = 0; k < INSTANCES; k++) {
    double one = 0;
    for (int i = 0; i < TABLE; i++) one += sin(c.number[i]*at[k]);
    CHECK(fabs(z[k] - one) <= 1e-11);
  }
  for (int i = 0; i < TABLE; i++) want += c.number[c.index[i]]*exp(c.small[i]*y);
  CHECK_THAT(fabs(sum - want) <= 1e-11, "%.17g, not %.17g", sum, want);
  ad_function_free(f);
}

static void test_large_constants(void) {
  for (int which = 0; which < 3; which++) check_tables(which);
  CHECK_THAT(count_objects(inside("tables")) == 1, "%d objects", count_objects(inside("tables")));
}

/* Arrays of one shape and several types, each of which is read for the last time where the next one is made:
 * memory belongs to a type. */
static void types_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var narrow = ad_cast(ad_mul(ad_cumsum(in[0], 0), 0.5), AD_F32);
  const ad_var wide = ad_cast(ad_mul(ad_cumsum(narrow, 0), 2), AD_F64);
  const ad_var whole_numbers = ad_cast(ad_add(ad_cumsum(wide, 0), 1), AD_I64);
  (void)t, (void)context;
  out[0] = ad_cumsum(ad_cast(ad_cumsum(whole_numbers, 0), AD_F32), 0);
}

static void test_types(void) {
  enum { LENGTH = 20 };
  const ad_type type = AD_F64(LENGTH);
  double from[LENGTH], sum[5] = { 0 };
  float z[LENGTH];
  ad_function *f = ad_function_trace("types", types_body, NULL, 1, &type, 1);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = inside("types") }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) from[i] = i%5;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ from }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) {
    sum[0] += from[i], sum[1] += 0.5*sum[0], sum[2] += 2*sum[1], sum[3] += sum[2] + 1, sum[4] += sum[3];
    CHECK((double)z[i] == sum[4]);
  }
  ad_function_free(f);
}

/* Sums that a loop over a matrix reads after one over a vector, which is recorded behind it, but runs before:
 * it cannot have their memory. */
static void readers_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var sums = ad_cumsum(in[0], 0), rows = ad_mul(in[1], sums);
  (void)t, (void)context;
  out[0] = ad_cumsum(ad_mul(sums, 2), 0);
  out[1] = ad_cumsum(rows, 0);
}

static void test_readers(void) {
  enum { ROWS = 3, LENGTH = 20 };
  const ad_type types[2] = { AD_F64(LENGTH), AD_F64(ROWS, LENGTH) };
  double from[LENGTH], factor[ROWS*LENGTH], z[LENGTH], rows[ROWS*LENGTH], sum = 0, twice = 0;
  ad_function *f = ad_function_trace("readers", readers_body, NULL, 2, types, 2);
  CHECK_STATUS(ad_function_compile(f, &(ad_native){ .cache = inside("readers") }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) from[i] = i%5;
  for (int i = 0; i < ROWS*LENGTH; i++) factor[i] = i%7;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ from, factor }, (void *[]){ z, rows }, NULL), AD_OK);
  for (int i = 0; i < LENGTH; i++) {
    sum += from[i], twice += 2*sum;
    CHECK(z[i] == twice);
    for (int k = 0; k < ROWS; k++)
      CHECK(rows[k*LENGTH + i] == (k ? rows[(k - 1)*LENGTH + i] : 0) + factor[k*LENGTH + i]*sum);
  }
  ad_function_free(f);
}

int main(void) {
  if (!CHECK((folder = folder_make()) != NULL)) return 1;
  test_calls();
  test_prepared();
  test_large_constants();
  test_types();
  test_readers();
  test_failing_steps();
  test_messages_of_iterations();
  test_messages();
  test_refusals();
  test_damaged_object();
  test_background();
  test_races();
  folder_remove(folder);
  return check_summary();
}
