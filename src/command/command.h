/* command.h -- what the subcommands of `adit` share: options, complaints, the recorded problem.
 *
 * A subcommand writes what it prints into a buffer that reaches stdout only if it returns DONE: bad input
 * leaves nothing there. Its complaint goes to stderr, with a caret under the spot where there is one.
 */
#ifndef ADIT_COMMAND_COMMAND_H
#define ADIT_COMMAND_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/formula.h"
#include "adit/primitive.h"

/* Exit statuses. */
enum { DONE = 0, FAILED = 1, BAD_INPUT = 2 };

/* One "name=value" of the command line. */
typedef struct binding {
  char *name;
  const char *value;                  /* points behind the = */
  const char *argument;               /* the whole argument, for carets */
} binding;

typedef struct options {
  const char *command;                /* "grad" */
  const char *expression;
  binding *binding;
  int bindings;
  char **wrt;                         /* names after --wrt, NULL: not given */
  int n_wrt;
  bool json, latex, verbose, help;
  unsigned entries;                   /* emit, report: AD_CODE_GRADIENT and others */
  int convention;                     /* emit: ad_convention */
  int order;                          /* -1: not given */
  const char *output;                 /* -o */
} options;

/* DONE, or BAD_INPUT after a complaint. argv[0] is the subcommand's name. */
int options_read(options *o, int argc, char **argv);
void options_free(options *o);

/* Prints "adit grad: message"; with text also the line around byte `position` and a caret. Returns
 * BAD_INPUT. */
int complain(const options *o, const char *text, int position, const char *format, ...)
#if defined(__GNUC__)
  __attribute__((format(printf, 4, 5)))
#endif
  ;
int out_of_memory(const options *o);
/* What the tape says went wrong, as a complaint. */
int complain_tape(const options *o, const ad_tape *tape);

/* A formula recorded at the values of the command line. */
typedef struct problem {
  ad_tape *tape;
  int n;                              /* variables, in the order of the command line */
  const char **names;
  ad_var *vars;
  int outputs;
  ad_var *out;
  int n_wrt;                          /* what derivatives are taken by: indices into vars */
  int *wrt;
} problem;

/* Records o's expression. DONE, or another status after a complaint; *p is to be closed in every case. */
int problem_open(problem *p, const options *o);
void problem_close(problem *p);
/* The name of output j: "f", or "f1", "f2", .. */
const char *output_name(const problem *p, int j, char name[24]);
/* Complains and returns false unless all outputs are scalars. */
bool need_scalar_outputs(const problem *p, const options *o);
/* The same for outputs and all variables. */
bool need_scalars(const problem *p, const options *o);

/* Records o's expression with the number 1 for every variable that has no value, variables in the order of
 * their first use, and calls use. Its status, or another one after a complaint. */
int with_all_names(const options *o, int (*use)(const options *o, problem *p, FILE *out), FILE *out);

/* The subcommands. */
int command_eval(const options *o, FILE *out);
int command_grad(const options *o, FILE *out);
int command_jacobian(const options *o, FILE *out);
int command_hessian(const options *o, FILE *out);
int command_taylor(const options *o, FILE *out);
int command_derive(const options *o, FILE *out);
int command_trace(const options *o, FILE *out);
int command_check(const options *o, FILE *out);
int command_draw(const options *o, FILE *out);
int command_emit(const options *o, FILE *out);
int command_report(const options *o, FILE *out);

#endif
