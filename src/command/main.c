/* main.c -- the adit command: a table of subcommands, help, and the buffer between them and stdout. */
#define _POSIX_C_SOURCE 200809L
#include "command/command.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "adit/version.h"

/* Options that not every subcommand takes. */
enum { JSON = 1, WRT = 2, ORDER = 4, LATEX = 8, OUTPUT = 16, VERBOSE = 32 };

static const struct subcommand {
  const char *name;
  int (*run)(const options *o, FILE *out);
  unsigned takes;
  const char *arguments, *summary;
} subcommands[] = {
  { "eval", command_eval, JSON,
    "'EXPR' [NAME=VALUE ...]", "value of every output" },
  { "grad", command_grad, JSON | WRT,
    "'EXPR' NAME=VALUE ... [--wrt x,y]", "value and gradient" },
  { "jacobian", command_jacobian, JSON | WRT,
    "'E1; E2' NAME=VALUE ... [--wrt x,y]", "values and Jacobian of several outputs" },
  { "hessian", command_hessian, JSON | WRT,
    "'EXPR' NAME=VALUE ... [--wrt x,y]", "value, gradient and Hessian" },
  { "taylor", command_taylor, JSON | WRT | ORDER,
    "'EXPR' x=VALUE [--order N] [--wrt x]", "Taylor coefficients in one variable" },
  { "derive", command_derive, JSON | WRT | ORDER | LATEX,
    "'EXPR' [--wrt x,y] [--latex] [--order N]", "the derivative as a simplified expression" },
  { "trace", command_trace, JSON | WRT,
    "'EXPR' NAME=VALUE ... [--wrt x,y]", "the Wengert list and both sweeps, step by step" },
  { "check", command_check, JSON | WRT,
    "'EXPR' NAME=VALUE ... [--wrt x,y]", "differences, symbolic, forward and reverse compared" },
  { "draw", command_draw, OUTPUT,
    "'EXPR' NAME=VALUE ... [-o FILE.svg|dot|html]", "the computational graph with values and adjoints" },
  { "emit", command_emit, OUTPUT,
    "'EXPR' [--gradient] [--jacobian] [--hessian] [--casadi] [-o f.c]", "self-contained C" },
  { "report", command_report, JSON | WRT | VERBOSE,
    "'EXPR' [NAME=VALUE ...] [--gradient] [--jacobian] [--hessian] [--wrt x,y] [--verbose]",
    "what value and derivatives cost" },
};
enum { SUBCOMMANDS = sizeof subcommands/sizeof *subcommands };

static void print_help(FILE *out) {
  fputs("adit - automatic differentiation of formulas\n\n"
        "usage: adit COMMAND 'EXPR' NAME=VALUE ... [OPTION ...]\n\n", out);
  for (int i = 0; i < SUBCOMMANDS; i++)
    fprintf(out, "  %-9s %s\n", subcommands[i].name, subcommands[i].summary);
  fputs("\n"
        "EXPR     + - * / ^, parentheses, comparisons, c ? a : b, pi, e,\n"
        "         calls (sqrt, log1p, atan2, fmin, lgamma, sigmoid, sum, ...);\n"
        "         statements are separated by semicolons: `name = expr` binds a name,\n"
        "         every other expression is an output\n"
        "VALUE    a number such as 2 or pi/4, or an array such as [1,2,3] or [[1,2],[3,4]]\n"
        "OPTION   --json        one JSON object with 17 significant digits\n"
        "         --wrt x,y     differentiate by these variables only\n"
        "         --order N     order of taylor (8) and derive (1)\n"
        "         --latex       derive: LaTeX instead of text\n"
        "         -o FILE       draw: where to, .svg .dot or .html; emit: f.c, with f.h beside it\n"
        "         --gradient --jacobian --hessian --jvp --vjp   emit, report: these too\n"
        "         --verbose     report: by operation, region, function inside\n"
        "         --casadi[=int]   emit: with the calling convention of CasADi, and its integer type\n"
        "         --help, --version\n\n"
        "example: adit grad 'sin(x + y^2)/sqrt(x)' x=2 y=1\n", out);
}

static const struct subcommand *find(const char *name) {
  for (int i = 0; i < SUBCOMMANDS; i++) if (!strcmp(name, subcommands[i].name)) return &subcommands[i];
  return NULL;
}

static int print_subcommand_help(const struct subcommand *s) {
  printf("usage: adit %s %s%s\n\n%s\n", s->name, s->arguments, s->takes & JSON ? " [--json]" : "",
         s->summary);
  return DONE;
}

/* An option that would be ignored is a mistake. */
static int refuse_others(const struct subcommand *s, const options *o) {
  const struct { unsigned option; bool given; const char *name; } all[] = {
    { JSON, o->json, "--json" },           { WRT, o->wrt != NULL, "--wrt" },
    { ORDER, o->order >= 0, "--order" },   { LATEX, o->latex, "--latex" },
    { OUTPUT, o->output != NULL, "-o" },   { VERBOSE, o->verbose, "--verbose" }
  };
  for (size_t k = 0; k < sizeof all/sizeof *all; k++)
    if (all[k].given && !(s->takes & all[k].option))
      return complain(o, NULL, 0, "%s is no option of adit %s; see: adit %s --help", all[k].name, s->name,
                      s->name);
  return DONE;
}

/* Runs with a buffer for stdout, which is printed only if all went well. */
static int run(const struct subcommand *s, const options *o) {
  char *text = NULL;
  size_t size = 0;
  FILE *buffer = open_memstream(&text, &size);
  if (!buffer) return out_of_memory(o);
  int status = s->run(o, buffer);
  if (fclose(buffer) && !status) status = out_of_memory(o);
  if (!status && size && (fwrite(text, 1, size, stdout) != size || fflush(stdout))) {
    complain(o, NULL, 0, "cannot write the result");
    status = FAILED;
  }
  free(text);
  return status;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc < 2) {
    print_help(stderr);
    return BAD_INPUT;
  }
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
    const struct subcommand *topic = argc > 2 ? find(argv[2]) : NULL;
    if (topic) return print_subcommand_help(topic);
    print_help(stdout);
    return DONE;
  }
  if (!strcmp(argv[1], "--version")) {
    printf("adit %d.%d.%d\n", AD_VERSION_MAJOR, AD_VERSION_MINOR, AD_VERSION_PATCH);
    return DONE;
  }
  const struct subcommand *s = find(argv[1]);
  if (!s) return complain(NULL, NULL, 0, "there is no command '%s'; try: adit --help", argv[1]);
  options o;
  int status = options_read(&o, argc - 1, argv + 1);
  if (!status && !o.help) status = refuse_others(s, &o);
  if (!status) status = o.help ? print_subcommand_help(s) : run(s, &o);
  options_free(&o);
  return status;
}
