/* protocol.c -- messages: start, define, evaluate and analysis, as GradBench's CONTRIBUTING.md,
 * "Protocol", has them. */
#define _POSIX_C_SOURCE 200809L
#include "protocol.h"

#include <ctype.h>
#ifdef __GLIBC__
#  include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const evaluation *const evaluations[] = {
  &evaluation_hello, &evaluation_llsq, &evaluation_lse, &evaluation_det, &evaluation_ode, &evaluation_gmm,
  &evaluation_ba, &evaluation_lstm, &evaluation_ht, &evaluation_kmeans, &evaluation_particle,
  &evaluation_saddle
};
enum { EVALUATIONS = sizeof evaluations/sizeof *evaluations };

static const evaluation *find_module(const char *name) {
  for (int i = 0; name && i < EVALUATIONS; i++)
    if (!strcmp(evaluations[i]->module, name)) return evaluations[i];
  return NULL;
}

static int find_function(const evaluation *e, const char *name) {
  for (int i = 0; name && e->functions[i]; i++)
    if (!strcmp(e->functions[i], name)) return i;
  return -1;
}

/* --- timing --------------------------------------------------------------------------------------------- */

/* An answer names every run: of more, readers of JSON would make gigabytes. */
enum { MOST_RUNS = 1000000 };

/* Nanoseconds of prepare and of every run. */
typedef struct timings { int64_t prepare, *runs; size_t count, room; } timings;

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec*1000000000 + t.tv_nsec;
}

static bool add_run(job *j, timings *all, int64_t taken) {
  if (all->count == all->room) {
    const size_t room = 2*all->room + 16;
    int64_t *runs = realloc(all->runs, room*sizeof *runs);
    if (!runs) return job_refuse(j, "out of memory");
    all->runs = runs, all->room = room;
  }
  all->runs[all->count++] = taken;
  return true;
}

/* --- one evaluation ------------------------------------------------------------------------------------- */

/* Is that status of the function good? Else the message is left. */
static bool is_good(job *j, ad_status status) {
  const char *more = ad_workspace_message(j->workspace);
  return status == AD_OK || job_refuse(j, "%s", *more ? more : ad_status_sentence(status));
}

static bool run_once(job *j) {
  return is_good(j, ad_function_call(j->f, (const void *const *)j->in, j->out, j->workspace));
}

/* min_runs and min_seconds; an input without these fields: once. */
typedef struct effort { double runs, seconds; } effort;

static bool read_effort(job *j, const json_t *input, effort *of) {
  *of = (effort){ 1, 0 };
  const bool runs = json_object_get(input, "min_runs"), seconds = json_object_get(input, "min_seconds");
  if (runs && !read_number(j, input, "min_runs", &of->runs)) return false;
  if (seconds && !read_number(j, input, "min_seconds", &of->seconds)) return false;
  if (!(of->runs <= MOST_RUNS && of->seconds <= 1e6))
    return job_refuse(j, "min_runs or min_seconds is too large");
  return true;
}

/* At least so many times, and until so many seconds have passed or there are MOST_RUNS. */
static bool run(job *j, effort least, timings *all) {
  double elapsed = 0;
  for (int64_t i = 0; i == 0 || (double)i < least.runs || (elapsed < least.seconds && i < MOST_RUNS); i++) {
    const int64_t start = nanoseconds();
    if (!run_once(j)) return false;
    const int64_t taken = nanoseconds() - start;
    elapsed += 1e-9*(double)taken;
    if (!add_run(j, all, taken)) return false;
  }
  return true;
}

/* Records, differentiates and compiles. Without a compiler the interpreter serves. */
static bool prepare(const evaluation *e, job *j, const json_t *input, timings *all) {
  const int64_t start = nanoseconds();
  j->workspace = ad_workspace_new();
  if (!j->workspace) return job_refuse(j, "out of memory");
  if (!e->prepare(j, input)) return job_refuse(j, "the input cannot be used");
  if (!j->how->interpreter) ad_function_compile(j->f, NULL, NULL);
  if (!is_good(j, ad_function_prepare(j->f, NULL, j->workspace))) return false;
  all->prepare = nanoseconds() - start;
  return true;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static bool write_value(FILE *to, const json_t *value) {
  return !json_dumpf(value, to, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

/* {"id":7 without the end. What was not a message has no id to give back: 0. */
static bool write_id(FILE *to, const json_t *id) {
  return fputs("{\"id\":", to) >= 0 && (json_is_number(id) ? write_value(to, id) : putc('0', to) != EOF);
}

/* Messages of the JSON reader quote what they were given, perhaps half a character of it. */
static bool write_failure(FILE *to, const json_t *id, const char *why) {
  char plain[JOB_MESSAGE];
  size_t n = 0;
  for (; why[n] && n + 1 < sizeof plain; n++) plain[n] = why[n];
  plain[n] = 0;
  for (size_t i = 0; i < n; i++)
    if (!isprint((unsigned char)plain[i]) || plain[i] == '"' || plain[i] == '\\') plain[i] = '?';
  return write_id(to, id) && fprintf(to, ",\"success\":false,\"error\":\"%s\"}\n", plain) > 0;
}

static bool write_timings(FILE *to, const timings *all) {
  const char *const one = "{\"name\":\"%s\",\"nanoseconds\":%lld}";
  bool fine = fputs(",\"timings\":[", to) >= 0 && fprintf(to, one, "prepare", (long long)all->prepare) > 0;
  for (size_t i = 0; fine && i < all->count; i++)
    fine = putc(',', to) != EOF && fprintf(to, one, "evaluate", (long long)all->runs[i]) > 0;
  return fine && putc(']', to) != EOF;
}

static bool write_result(FILE *to, const json_t *id, const json_t *output, const timings *all) {
  return write_id(to, id) && fputs(",\"success\":true,\"output\":", to) >= 0 && write_value(to, output)
         && write_timings(to, all) && fputs("}\n", to) >= 0;
}

/* --- messages ------------------------------------------------------------------------------------------- */

/* What was read, forty bytes a number, need not be there when the function runs. */
static void forget(json_t *input) {
  json_object_clear(input);
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

static bool evaluate(const settings *how, FILE *to, const json_t *id, const evaluation *e, int function,
                     json_t *input) {
  job j = { .how = how, .function = function };
  timings all = { .runs = NULL };
  json_t *output = NULL;
  effort least;
  bool fine = prepare(e, &j, input, &all) && read_effort(&j, input, &least);
  forget(input);
  if (fine && run(&j, least, &all)) {
    output = e->answer(&j);
    if (!output)
      job_refuse(&j, job_finite(&j) ? "out of memory" : "the result is not finite; JSON has no such numbers");
  }
  const bool written = output ? write_result(to, id, output, &all) : write_failure(to, id, j.message);
  json_decref(output);
  free(all.runs);
  job_close(&j);
  return written;
}

static bool answer_evaluate(const settings *how, FILE *to, const json_t *id, const json_t *message) {
  const evaluation *e = find_module(json_string_value(json_object_get(message, "module")));
  const int function = e ? find_function(e, json_string_value(json_object_get(message, "function"))) : -1;
  if (!e) return write_failure(to, id, "unknown module");
  if (function < 0) return write_failure(to, id, "unknown function");
  return evaluate(how, to, id, e, function, json_object_get(message, "input"));
}

static bool answer_define(FILE *to, const json_t *id, const json_t *message) {
  if (!find_module(json_string_value(json_object_get(message, "module"))))
    return write_failure(to, id, "unknown module");
  return write_id(to, id) && fputs(",\"success\":true}\n", to) >= 0;
}

static bool answer_message(const settings *how, FILE *to, const json_t *message) {
  const json_t *id = json_object_get(message, "id");
  const char *kind = json_string_value(json_object_get(message, "kind"));
  if (!json_is_number(id)) return write_failure(to, NULL, "not a message with an id");
  if (kind && !strcmp(kind, "define")) return answer_define(to, id, message);
  if (kind && !strcmp(kind, "evaluate")) return answer_evaluate(how, to, id, message);
  const bool start = kind && !strcmp(kind, "start");
  return write_id(to, id) && fputs(start ? ",\"tool\":\"adit\"}\n" : "}\n", to) >= 0;
}

bool protocol_answer(const settings *how, char *line, size_t length, FILE *to) {
  json_error_t error;
  json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
  free(line);
  const bool written = message ? answer_message(how, to, message) : write_failure(to, NULL, error.text);
  json_decref(message);
  return written && !fflush(to);
}
