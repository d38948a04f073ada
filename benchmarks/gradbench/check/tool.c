/* tool.c -- two pipes and a process. */
#define _POSIX_C_SOURCE 200809L
#include "tool.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(char *const argv[], int in, int out) {
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  execvp(argv[0], argv);
  perror(argv[0]);
  _exit(127);
}

bool tool_start(tool *t, char *const argv[]) {
  int there[2], back[2];
  signal(SIGPIPE, SIG_IGN);
  if (pipe(there) || pipe(back)) return false;
  t->process = fork();
  if (t->process < 0) return false;
  if (t->process == 0) {
    close(there[1]), close(back[0]);
    become(argv, there[0], back[1]);
  }
  close(there[0]), close(back[1]);
  t->to = fdopen(there[1], "w"), t->from = fdopen(back[0], "r"), t->id = 0;
  return t->to && t->from;
}

json_t *tool_answer_to_line(tool *t, const char *line) {
  char *text = NULL;
  size_t size = 0;
  if (fprintf(t->to, "%s\n", line) < 0 || fflush(t->to)) return NULL;
  const ssize_t length = getline(&text, &size, t->from);
  json_t *answer = length > 0 ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
  free(text);
  return answer;
}

json_t *tool_ask(tool *t, json_t *message) {
  json_object_set_new(message, "id", json_integer(++t->id));
  char *line = json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_t *answer = line ? tool_answer_to_line(t, line) : NULL;
  free(line);
  json_decref(message);
  return answer;
}

int tool_end(tool *t) {
  int status = -1;
  fclose(t->to);
  fclose(t->from);
  waitpid(t->process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
