/* check.c -- asks a tool of GradBench everything and compares its answers with references.
 *     gradbench-check [--seed N] [--scale N] [--rounds N] [--only MODULE] [--fuzz N] TOOL [ARGUMENT..]
 *
 * Each round draws a new input for each evaluation (the slow ones have one); sizes grow with the scale (1:
 * milliseconds). With --fuzz N the tool gets N spoiled messages instead, and has to answer each. The exit
 * status is 1 when something failed. */
#include "fuzz.h"
#include "hostile.h"
#include "reference.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct checks {
  tool tool;
  const char *only;                 /* a module, or NULL */
  chance chance;
  int scale, rounds, fuzz;
  long passed, failed;
} checks;

static bool check(checks *c, bool fine, const char *module, const char *what) {
  if (fine) c->passed++;
  else if (c->failed++ < 40) printf("FAILED %s: %s\n", module, what);
  return fine;
}

/* --- numbers -------------------------------------------------------------------------------------------- */

typedef struct difference { double tolerance, got, want; char where[64]; } difference;

static bool is_close(const json_t *got, const json_t *want, difference *d) {
  if (!json_is_number(got)) return false;
  d->got = json_number_value(got), d->want = json_number_value(want);
  return fabs(d->got - d->want) <= d->tolerance*(1 + fabs(d->want));
}

static bool is_same(const json_t *got, const json_t *want, difference *d);

static bool is_same_list(const json_t *got, const json_t *want, difference *d) {
  if (json_array_size(got) != json_array_size(want)) return false;
  for (size_t i = 0; i < json_array_size(want); i++)
    if (!is_same(json_array_get(got, i), json_array_get(want, i), d)) {
      if (!d->where[0]) snprintf(d->where, sizeof d->where, "[%zu]", i);
      return false;
    }
  return true;
}

static bool is_same_object(const json_t *got, const json_t *want, difference *d) {
  const char *key;
  json_t *value;
  if (!json_is_object(got) || json_object_size(got) != json_object_size(want)) return false;
  json_object_foreach((json_t *)want, key, value)
    if (!is_same(json_object_get(got, key), value, d)) {
      snprintf(d->where, sizeof d->where, "%s", key);
      return false;
    }
  return true;
}

/* The same kinds and sizes of arrays and objects, and numbers within the tolerance. */
static bool is_same(const json_t *got, const json_t *want, difference *d) {
  if (json_is_array(want)) return json_is_array(got) && is_same_list(got, want, d);
  return json_is_object(want) ? is_same_object(got, want, d) : is_close(got, want, d);
}

/* --- an evaluation -------------------------------------------------------------------------------------- */

enum { MIN_RUNS = 3 };
static const double min_seconds = 1e-3;

/* One timing "evaluate" for each run, at least so many, and so long. */
static bool times_are_right(const json_t *timings, bool with_runs) {
  double seconds = 0;
  int runs = 0;
  for (size_t i = 0; i < json_array_size(timings); i++) {
    const json_t *entry = json_array_get(timings, i), *name = json_object_get(entry, "name");
    const json_t *ns = json_object_get(entry, "nanoseconds");
    if (!json_is_string(name) || !json_is_integer(ns) || json_integer_value(ns) < 0) return false;
    if (strcmp(json_string_value(name), "evaluate")) continue;
    runs++, seconds += 1e-9*(double)json_integer_value(ns);
  }
  return with_runs ? runs >= MIN_RUNS && seconds >= min_seconds : runs == 1;
}

static void ask_function(checks *c, const reference *r, int function, const json_t *input) {
  char what[200];
  const char *name = r->functions[function];
  json_t *answer = tool_ask(&c->tool, json_pack("{s:s, s:s, s:s, s:O}", "kind", "evaluate", "module",
                                                r->module, "function", name, "input", input));
  const char *error = json_string_value(json_object_get(answer, "error"));
  snprintf(what, sizeof what, "%s: no success: %s", name, error ? error : "no answer");
  if (check(c, json_is_true(json_object_get(answer, "success")), r->module, what)) {
    difference d = { .tolerance = r->tolerance };
    json_t *want = r->answer(input, function);
    const bool same = is_same(json_object_get(answer, "output"), want, &d);
    snprintf(what, sizeof what, "%s: output%s: %.17g is not %.17g (or another shape)", name, d.where, d.got,
             d.want);
    check(c, same, r->module, what);
    json_decref(want);
    check(c, json_integer_value(json_object_get(answer, "id")) == c->tool.id, r->module,
          "the answer has another id");
    check(c, times_are_right(json_object_get(answer, "timings"), json_is_object(input)), r->module,
          "timings");
  }
  json_decref(answer);
}

static void ask_evaluation(checks *c, const reference *r) {
  json_t *answer = tool_ask(&c->tool, json_pack("{s:s, s:s}", "kind", "define", "module", r->module));
  check(c, json_is_true(json_object_get(answer, "success")), r->module, "is not known");
  json_decref(answer);
  for (int round = 0; round < (r->slow ? 1 : c->rounds); round++) {
    json_t *input = r->make(&c->chance, c->scale);
    if (json_is_object(input)) {
      json_object_set_new(input, "min_runs", json_integer(MIN_RUNS));
      json_object_set_new(input, "min_seconds", json_real(min_seconds));
    }
    for (int k = 0; r->functions[k]; k++) ask_function(c, r, k, input);
    json_decref(input);
  }
}

/* --- the protocol --------------------------------------------------------------------------------------- */

/* The answer to the message has this id and, unless it is NULL, this word for "success". */
static void expect_answer(checks *c, json_t *answer, json_int_t id, const bool *success, const char *what) {
  const json_t *said = json_object_get(answer, "success");
  check(c, json_integer_value(json_object_get(answer, "id")) == id, "protocol", what);
  if (success) check(c, json_is_boolean(said) && json_is_true(said) == *success, "protocol", what);
  json_decref(answer);
}

static void ask_protocol(checks *c) {
  static const bool no = false;
  tool *t = &c->tool;
  json_t *answer = tool_ask(t, json_pack("{s:s}", "kind", "start"));
  check(c, json_is_string(json_object_get(answer, "tool")), "protocol", "start: the tool has no name");
  expect_answer(c, answer, t->id, NULL, "start");
  answer = tool_ask(t, json_pack("{s:s, s:s}", "kind", "define", "module", "no such module"));
  expect_answer(c, answer, t->id, &no, "define of an unknown module");
  answer = tool_ask(t, json_pack("{s:s, s:s, s:s, s:f}", "kind", "evaluate", "module", "no", "function", "no",
                                 "input", 1.));
  expect_answer(c, answer, t->id, &no, "evaluate of an unknown module");
  answer = tool_ask(t, json_pack("{s:s, s:s, s:s, s:f}", "kind", "evaluate", "module", "hello", "function",
                                 "no", "input", 1.));
  expect_answer(c, answer, t->id, &no, "evaluate of an unknown function");
  answer = tool_ask(t, json_pack("{s:s, s:i, s:b}", "kind", "analysis", "of", 1, "valid", 1));
  expect_answer(c, answer, t->id, NULL, "analysis");
  answer = tool_ask(t, json_pack("{s:s}", "kind", "something new"));
  expect_answer(c, answer, t->id, NULL, "another kind");
  expect_answer(c, tool_answer_to_line(t, "{\"id\": 1, \"kind\""), 0, &no, "half a message");
}

/* --- spoiled messages ----------------------------------------------------------------------------------- */

/* An object with an id; where there is no success, it says why. */
static bool is_answer(const json_t *answer) {
  const json_t *success = json_object_get(answer, "success"), *error = json_object_get(answer, "error");
  if (!json_is_number(json_object_get(answer, "id"))) return false;
  if (json_is_true(success)) return json_object_get(answer, "output") != NULL;
  return !success || (json_is_string(error) && json_string_length(error) > 0);
}

static void ask_spoiled(checks *c) {
  long refused = 0;
  for (int i = 0; i < c->fuzz; i++) {
    char *line = fuzz_line(&c->chance);
    const time_t start = time(NULL);
    json_t *answer = tool_answer_to_line(&c->tool, line);
    if (!check(c, is_answer(answer), "no answer to a spoiled message", "")) printf("  %.3000s\n", line);
    if (time(NULL) - start > 10) printf("%ld s for %.300s\n", (long)(time(NULL) - start), line);
    refused += json_is_false(json_object_get(answer, "success"));
    json_decref(answer);
    free(line);
    if (!answer) break;
  }
  printf("%ld of %d spoiled messages refused\n", refused, c->fuzz);
}

static void ask_hostile(checks *c) {
  const hostile_counts counts = hostile_lines(&c->tool);
  c->passed += counts.passed, c->failed += counts.failed;
}

/* --- the program ---------------------------------------------------------------------------------------- */

/* The index of the tool among the arguments, 0 when the options are wrong. */
static int read_options(int argc, char **argv, checks *c) {
  int i = 1;
  for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
    if (!strcmp(argv[i], "--seed")) c->chance.state = strtoull(argv[i + 1], NULL, 10);
    else if (!strcmp(argv[i], "--scale")) c->scale = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--rounds")) c->rounds = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--fuzz")) c->fuzz = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--only")) c->only = argv[i + 1];
    else return 0;
  }
  return i < argc && c->scale > 0 ? i : 0;
}

int main(int argc, char **argv) {
  checks c = { .scale = 1, .rounds = 1, .chance = { 1 } };
  const int program = read_options(argc, argv, &c);
  if (!program) {
    fprintf(stderr, "usage: %s [--seed N] [--scale N] [--rounds N] [--only MODULE] [--fuzz N] "
                    "TOOL [ARGUMENT..]\n", argv[0]);
    return 2;
  }
  if (c.fuzz) hostile_limit_memory();
  if (!tool_start(&c.tool, argv + program)) return 2;
  if (c.fuzz) ask_hostile(&c), ask_spoiled(&c);
  else ask_protocol(&c);
  for (int i = 0; i < REFERENCES && !c.fuzz; i++)
    if (!c.only || !strcmp(c.only, references[i]->module)) ask_evaluation(&c, references[i]);
  check(&c, tool_end(&c.tool) == 0, "protocol", "the tool did not end well");
  printf("%ld passed, %ld failed\n", c.passed, c.failed);
  return c.failed != 0;
}
