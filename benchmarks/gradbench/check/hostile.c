/* hostile.c -- malformed lines, values of wrong kinds, sizes that do not fit or that are beyond memory. */
#define _POSIX_C_SOURCE 200809L
#include "hostile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { SHOWN = 300, LINE = 4000, DEEP = 100000, MOST_FAILURES = 20 };

/* AddressSanitizer needs address space for itself, and ends a program whose allocation fails, unless told. */
void hostile_limit_memory(void) {
#ifdef __SANITIZE_ADDRESS__
  setenv("ASAN_OPTIONS", "allocator_may_return_null=1:max_allocation_size_mb=2048", 0);
#else
  const struct rlimit limit = { (rlim_t)2 << 30, (rlim_t)2 << 30 };
  setrlimit(RLIMIT_DATA, &limit);
#endif
}

/* --- one line ------------------------------------------------------------------------------------------- */

typedef struct hostile { tool *tool; hostile_counts counts; } hostile;

static bool note(hostile *h, bool fine, const char *what, const char *line, size_t length) {
  if (fine) h->counts.passed++;
  else if (h->counts.failed++ < MOST_FAILURES)
    printf("FAILED %s: %.*s\n", what, (int)(length < SHOWN ? length : SHOWN), line);
  return fine;
}

static json_t *answer_to_bytes(tool *t, const char *line, size_t length) {
  char *text = NULL;
  size_t size = 0;
  if (fwrite(line, 1, length, t->to) != length || putc('\n', t->to) == EOF || fflush(t->to)) return NULL;
  const ssize_t n = getline(&text, &size, t->from);
  json_t *answer = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
  free(text);
  return answer;
}

/* An id, and an error where there is no success. */
static bool is_answer(const json_t *answer) {
  const json_t *success = json_object_get(answer, "success");
  if (!json_is_number(json_object_get(answer, "id"))) return false;
  if (json_is_false(success)) return json_is_string(json_object_get(answer, "error"));
  return !success || json_is_true(success);
}

/* A second answer to the line, or none, would stand where the answer to the next message belongs. */
static void send_line(hostile *h, const char *line, size_t length, bool refused) {
  json_t *answer = answer_to_bytes(h->tool, line, length);
  const bool success = json_is_true(json_object_get(answer, "success"));
  note(h, is_answer(answer), "no answer", line, length);
  if (refused) note(h, answer && !success, "not refused", line, length);
  json_decref(answer);
  answer = tool_ask(h->tool, json_pack("{s:s}", "kind", "start"));
  note(h, json_integer_value(json_object_get(answer, "id")) == h->tool->id, "not one answer", line, length);
  json_decref(answer);
}

/* With ' for ", which spares this file its backslashes. */
static void send_text(hostile *h, const char *text, bool refused) {
  char line[LINE];
  const size_t length = strlen(text);
  for (size_t i = 0; i < length && i < LINE; i++) line[i] = text[i] == '\'' ? '"' : text[i];
  send_line(h, line, length, refused);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

static const char *const refused_lines[] = {
  "{", "}", "[]", "null", "17", "''", "nonsense", "{'id':1", "{'id':1,}", "{'kind':'start'}",
  "{'id':'1','kind':'start'}",
  "{'id':null,'kind':'define','module':'gmm'}", "{'id':1,'id':2,'kind':'start'}",
  "{'id':1,'kind':'start'} {'id':2}",
  "{'id':1,'kind':'define'}", "{'id':1,'kind':'define','module':7}", "{'id':1,'kind':'define','module':''}",
  "{'id':1,'kind':'define','module':'gmm\\u0000'}", "{'id':1,'kind':'define','module':'\\ud800'}",
  "{'id':1,'kind':'define','module':'\xff\xfe'}", "{'id':1,'kind':'define','module':'\xc3",
  "\xef\xbb\xbf{'id':1}",
  "{'id':99999999999999999999999999,'kind':'start'}", "{'id':1e999,'kind':'start'}",
  "{'id':1,'kind':'evaluate'}", "{'id':1,'kind':'evaluate','module':'hello'}",
  "{'id':1,'kind':'evaluate','module':'hello','function':'square'}",
  "{'id':1,'kind':'evaluate','module':'hello','function':['square'],'input':1}",
  "{'id':1,'kind':'evaluate','module':'hello','function':'square','input':NaN}",
  "{'id':1,'kind':'evaluate','module':'hello','function':'square','input':Infinity}",
  "{'id':1,'kind':'evaluate','module':'hello','function':'square','input':-Infinity}",
  "{'id':1,'kind':'evaluate','module':'hello','function':'square','input':1e999}"
};

/* What the tool may answer as it likes, but once. */
static const char *const odd_lines[] = {
  "{'id':-1,'kind':'start'}", "{'id':0}", "{'id':1.5,'kind':'start'}", "{'id':1,'kind':7}",
  "{'id':1,'kind':'evaluat'}",
  "{'id':9223372036854775807,'kind':'start'}", "{'id':1,'kind':'analysis','of':1e300,'valid':'no'}",
  "  {'id':1,'kind':'start','eval':'\xc3\xa9\\n\\u20ac'}  "
};

typedef struct bad_input { const char *module, *function, *input; } bad_input;

static const bad_input bad_inputs[] = {
  { "hello", "square", "'2'" }, { "hello", "double", "[2]" }, { "hello", "double", "{}" },
  { "hello", "square", "1e200" },
  { "llsq", "primal", "{}" }, { "llsq", "primal", "[1,2]" }, { "llsq", "primal", "{'x':[],'n':4}" },
  { "llsq", "gradient", "{'x':[1],'n':0}" }, { "llsq", "gradient", "{'x':[1],'n':-3}" },
  { "llsq", "gradient", "{'x':[1],'n':1e18}" }, { "llsq", "gradient", "{'x':[1],'n':2.5}" },
  { "llsq", "primal", "{'x':[[1]],'n':3}" }, { "llsq", "primal", "{'x':[1e308,1e308],'n':9}" },
  { "llsq", "primal", "{'x':[1,true],'n':3}" }, { "llsq", "primal", "{'x':[1],'n':9223372036854775807}" },
  { "lse", "primal", "{'x':[]}" }, { "lse", "gradient", "{'x':5}" }, { "lse", "gradient", "{'x':[1,'2']}" },
  { "lse", "gradient", "{'x':[1],'min_runs':1e18}" }, { "lse", "gradient", "{'x':[1],'min_runs':'3'}" },
  { "lse", "gradient", "{'x':[1],'min_seconds':1e300}" },
  { "lse", "gradient", "{'x':[1],'min_seconds':null}" },
  { "det", "primal", "{'A':[1,2,3],'ell':2}" }, { "det", "primal", "{'A':[],'ell':0}" },
  { "det", "gradient", "{'A':[1],'ell':-1}" }, { "det", "gradient", "{'A':[1],'ell':1e18}" },
  { "ode", "primal", "{'x':[],'s':3}" }, { "ode", "primal", "{'x':[1],'s':0}" },
  { "ode", "gradient", "{'x':[1],'s':1e18}" }, { "ode", "gradient", "{'x':[1]}" },
  { "ode", "primal", "{'x':[1e300,1e300],'s':3}" },
  { "gmm", "objective", "{'d':1,'k':1,'n':1,'m':0,'gamma':1}" },
  { "gmm", "objective",
    "{'d':1e18,'k':1e18,'n':1e18,'m':0,'gamma':1,'alpha':[0],'mu':[[0]],'q':[[0]],'l':[[]],'x':[[0]]}" },
  { "gmm", "jacobian",
    "{'d':2,'k':1,'n':1,'m':0,'gamma':1,'alpha':[0],'mu':[[0,0]],'q':[[0,0]],'l':[[]],'x':[[0,0]]}" },
  { "gmm", "jacobian",
    "{'d':1,'k':1,'n':1,'m':0,'gamma':1,'alpha':[0],'mu':[[0]],'q':[[900]],'l':[[]],'x':[[1]]}" },
  { "gmm", "objective",
    "{'d':1,'k':1,'n':1,'m':-1,'gamma':1,'alpha':[0],'mu':[[0]],'q':[[0]],'l':[[]],'x':[[1]]}" },
  { "gmm", "jacobian", "{'d':1,'k':0,'n':1,'m':0,'gamma':1,'alpha':[],'mu':[],'q':[],'l':[],'x':[[1]]}" },
  { "ba", "objective",
    "{'n':1,'m':1,'p':1e18,'cam':[1,2,3,4,5,6,7,8,9,1,1],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "ba", "jacobian",
    "{'n':1,'m':1,'p':250000000,'cam':[1,2,3,4,5,6,7,8,9,1,1],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "ba", "jacobian",
    "{'n':250000000,'m':1,'p':1,'cam':[1,2,3,4,5,6,7,8,9,1,1],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "ba", "jacobian", "{'n':0,'m':1,'p':1,'cam':[1,2,3,4,5,6,7,8,9,1,1],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "ba", "jacobian", "{'n':1,'m':1,'p':1,'cam':[1,2,3,4,5,6,7,8,9,1],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "ba", "jacobian", "{'n':1,'m':1,'p':1,'cam':[1,2,3,4,5,6,7,8,9,1,1],'x':[],'w':[1],'feat':[1,2]}" },
  { "ba", "objective", "{'n':1,'m':1,'p':1,'cam':[0,0,0,1,2,3,1,0,0,0,0],'x':[1,2,3],'w':1,'feat':[1,2]}" },
  { "lstm", "objective", "{'main_params':[],'extra_params':[],'state':[],'sequence':[]}" },
  { "lstm", "objective",
    "{'main_params':[[1,2,3,4]],'extra_params':[[1],[1],[1]],'state':[[1],[1]],'sequence':[[1],[0]]}" },
  { "lstm", "jacobian",
    "{'main_params':[[1,2,3,4],[1,2,3,4]],'extra_params':[[1],[1],[1]],'state':[[1],[1]],'sequence':[[1]]}" },
  { "lstm", "jacobian",
    "{'main_params':[[1,2,3,4],[1,2,3]],'extra_params':[[1],[1],[1]],'state':[[1],[1]],"
    "'sequence':[[1],[0]]}" },
  { "lstm", "jacobian",
    "{'main_params':[[1,2,3,4],[1,2,3,4]],'extra_params':[[1],[1],[1e308]],'state':[[1],[1]],"
    "'sequence':[[1],[1e308]]}" },
  { "ht", "objective", "{'theta':[],'data':{},'us':[]}" }, { "ht", "jacobian", "{'theta':[1,2,3],'us':[]}" },
  { "ht", "objective", "7" },
  { "kmeans", "cost", "{'points':[],'centroids':[]}" },
  { "kmeans", "dir", "{'points':[[1,2]],'centroids':[[1]]}" },
  { "kmeans", "dir", "{'points':[[1,2],[3]],'centroids':[[1,2]]}" },
  { "kmeans", "dir", "{'points':[[]],'centroids':[[]]}" },
  { "kmeans", "dir", "{'points':[[1],[2]],'centroids':[[1],[9]]}" },
  { "kmeans", "cost", "{'points':{},'centroids':[[1]]}" },
  { "particle", "ff", "{}" }, { "particle", "rr", "{'w':[0]}" }, { "saddle", "rf", "{'start':[1]}" },
  { "saddle", "ff", "{'start':[1,2,3]}" }, { "saddle", "fr", "{'start':1}" }
};

static void send_lists(hostile *h) {
  char line[LINE];
  for (size_t i = 0; i < sizeof refused_lines/sizeof *refused_lines; i++)
    send_text(h, refused_lines[i], true);
  for (size_t i = 0; i < sizeof odd_lines/sizeof *odd_lines; i++) send_text(h, odd_lines[i], false);
  for (size_t i = 0; i < sizeof bad_inputs/sizeof *bad_inputs; i++) {
    const bad_input *b = &bad_inputs[i];
    snprintf(line, sizeof line, "{'id':1,'kind':'evaluate','module':'%s','function':'%s','input':%s}",
             b->module, b->function, b->input);
    send_text(h, line, true);
  }
}

/* Brackets without end, and a byte of zero. */
static void send_deep(hostile *h, const char *unit) {
  const size_t n = strlen(unit);
  char *line = take_memory(DEEP, n);
  for (size_t i = 0; i < DEEP; i++) memcpy(line + i*n, unit, n);
  send_line(h, line, DEEP*n, true);
  free(line);
}

hostile_counts hostile_lines(tool *t) {
  hostile h = { .tool = t };
  send_lists(&h);
  send_deep(&h, "["), send_deep(&h, "{\"a\":");
  send_line(&h, "{\"id\":1\0}", 9, true), send_line(&h, "\0", 1, true);
  return h.counts;
}
