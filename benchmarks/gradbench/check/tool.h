/* tool.h -- a program that speaks GradBench's protocol, run beside this one. */
#ifndef GRADBENCH_TOOL_H
#define GRADBENCH_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct tool {
  pid_t process;
  FILE *to, *from;
  json_int_t id;                    /* of the last message */
} tool;

/* Starts argv[0], found as the shell finds it. */
bool tool_start(tool *t, char *const argv[]);
/* Sends a line as it is; the answer as a new reference, NULL when there is none or it is no JSON. */
json_t *tool_answer_to_line(tool *t, const char *line);
/* Gives the message, which is taken over, the next id, and sends it. */
json_t *tool_ask(tool *t, json_t *message);
/* Closes its input and waits: the exit status, -1 when it was killed. */
int tool_end(tool *t);

#endif
