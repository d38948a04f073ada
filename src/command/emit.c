/* emit.c -- adit emit: the formula and its derivatives as C to take away.
 *
 * Variables are the names of the formula in the order of their first use; a value is only needed where a
 * variable is an array, for its shape.
 */
#include "command/command.h"

#include <stdlib.h>
#include <string.h>

#include "adit/code.h"
#include "adit/function.h"

enum { MOST_NAMES = 256, FILE_NAME = 1024 };

/* The command line with a value for every name of the formula, in its order. names: room for the list. */
static int bind_all(const options *o, options *all, char *names) {
  static const char any[] = "1";
  char *at = names;
  while (*at) {
    const size_t length = strcspn(at, " ");
    char *next = at + length + (at[length] != 0);
    at[length] = 0;
    if (all->bindings == MOST_NAMES) return complain(o, NULL, 0, "more than %d names", MOST_NAMES);
    binding *b = &all->binding[all->bindings++];
    *b = (binding){ at, any, any };
    for (int i = 0; i < o->bindings; i++)
      if (!strcmp(o->binding[i].name, at)) *b = o->binding[i];
    at = next;
  }
  return DONE;
}

static int find_names(const options *o, char **names) {
  ad_formula_report report;
  const size_t size = strlen(o->expression) + 2;
  *names = malloc(size);
  if (!*names) return out_of_memory(o);
  if (!ad_formula_names(o->expression, *names, size, NULL, &report)) return DONE;
  return complain(o, o->expression, report.position, "%s", report.message);
}

/* "f" of "dir/f.c"; false where that is no name in C, or the file is no .c. */
static bool name_of_file(const char *path, char name[64]) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  const size_t length = strlen(base);
  if (length < 3 || length > 62 || strcmp(base + length - 2, ".c") || strlen(path) >= FILE_NAME) return false;
  for (size_t i = 0; i < length - 2; i++) {
    const char c = base[i];
    if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (i && c >= '0' && c <= '9')))
      return false;
  }
  memcpy(name, base, length - 2);
  name[length - 2] = 0;
  return true;
}

static int write_files(const options *o, ad_function *f, const ad_code *code, FILE *out) {
  char header[FILE_NAME];
  ad_report report;
  FILE *c = o->output ? fopen(o->output, "w") : out, *h = NULL;
  if (!c) return complain(o, NULL, 0, "cannot write %s", o->output), FAILED;
  if (o->output) {
    strcpy(header, o->output);
    header[strlen(header) - 1] = 'h';
    h = fopen(header, "w");
  }
  ad_status status = o->output && !h ? AD_ERROR_IO : ad_function_emit_c(f, c, h, code, &report);
  bool closed = !o->output || fclose(c) == 0;
  if (h && fclose(h)) closed = false;
  if (o->output && !h) return complain(o, NULL, 0, "cannot write %s", header), FAILED;
  if (status == AD_OK && !closed) return complain(o, NULL, 0, "cannot write %s", o->output), FAILED;
  if (status == AD_OK) return DONE;
  if (o->output) remove(o->output), remove(header);
  return complain(o, NULL, 0, "%s", report.message);
}

static int write_problem(const options *o, problem *p, FILE *out) {
  char name[64] = "f";
  if (o->output && !name_of_file(o->output, name))
    return complain(o, o->output, 0,
                    "-o takes the name of a .c file, a name in C: it becomes that of the function");
  if (o->entries & (AD_CODE_GRADIENT | AD_CODE_HESSIAN)) {
    if (p->outputs != 1) return complain(o, NULL, 0, "--gradient and --hessian take a single expression");
    if (!need_scalar_outputs(p, o)) return BAD_INPUT;
  }
  ad_function *f = ad_function_new(name, p->n, p->vars, p->outputs, p->out);
  if (!f) return complain_tape(o, p->tape);
  const ad_code code = { .name = name, .entries = o->entries | AD_CODE_VALUE,
                         .convention = (ad_convention)o->convention };
  const int status = write_files(o, f, &code, out);
  ad_function_free(f);
  return status;
}

int with_all_names(const options *o, int (*use)(const options *o, problem *p, FILE *out), FILE *out) {
  options all = *o;
  problem p = { 0 };
  char *names = NULL;
  all.bindings = 0;
  all.binding = calloc(MOST_NAMES, sizeof *all.binding);
  int status = all.binding ? find_names(o, &names) : out_of_memory(o);
  if (!status) status = bind_all(o, &all, names);
  if (!status) {
    status = problem_open(&p, &all);
    if (!status) status = use(o, &p, out);
    problem_close(&p);
  }
  free(names);
  free(all.binding);
  return status;
}

int command_emit(const options *o, FILE *out) { return with_all_names(o, write_problem, out); }
