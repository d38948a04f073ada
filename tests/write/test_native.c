/* test_native.c -- compiling: calls agree, the cache is shared, private and dispensable, failures leave a
 * working function and say why; in the background; from several threads and processes at once. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "adit/arrays.h"
#include "adit/code.h"
#include "adit/control.h"
#include "adit/custom.h"
#include "adit/elementwise.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/adit-native-XXXXXX";

static const char *inside(const char *name) {
  static _Thread_local char path[4][128];
  static _Thread_local unsigned next;
  char *to = path[next++ % 4];
  snprintf(to, sizeof path[0], "%s/%s", folder, name);
  return to;
}

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

static int count_objects(const char *cache) {
  char command[200];
  int n = -1;
  snprintf(command, sizeof command, "ls %s | grep -c '\\.so$'", cache);
  FILE *p = popen(command, "r");
  if (p && fscanf(p, "%d", &n) != 1) n = -1;
  if (p) pclose(p);
  return n;
}

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
  CHECK(strstr(ad_workspace_message(w), "around") != NULL);
  ad_workspace_free(w);
  ad_function_free(f);
  ad_function_free(callback);
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
  char command[300];
  const ad_native options = { .cache = inside("damaged") };
  ad_function *f = make(4);
  CHECK_STATUS(ad_function_compile(f, &options, NULL), AD_OK);
  ad_function_free(f);
  snprintf(command, sizeof command, "for f in %s/*.so; do echo broken >$f.new; mv $f.new $f; done",
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

int main(void) {
  char command[100];
  if (!mkdtemp(folder)) return 1;
  test_calls();
  test_failing_steps();
  test_refusals();
  test_damaged_object();
  test_background();
  test_races();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  CHECK(system(command) == 0);
  return check_summary();
}
