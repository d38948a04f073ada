/* problem.c -- from the command line to a tape: values, the formula, what derivatives are taken by. */
#include "command/command.h"

#include <stdlib.h>
#include <string.h>

/* Reads a value, an expression of numbers such as 2, pi/4 or [[1,2],[3,4]], as an input of the problem's
 * tape. */
static int read_value(problem *p, const options *o, const binding *b) {
  ad_tape *scratch = ad_tape_new();
  ad_formula_report report;
  ad_var v;
  int count;
  if (!scratch) return out_of_memory(o);
  int status = DONE;
  if (ad_formula_all(scratch, b->value, 0, NULL, NULL, 1, &v, &count, &report)) {
    int offset = (int)(b->value - b->argument);
    status = complain(o, b->argument, offset + report.position, "%s",
                      count > 1 ? "one value is needed" : report.message);
  } else {
    ad_type type = ad_type_of(v);
    size_t bytes = ad_type_bytes(type);
    void *data = malloc(bytes ? bytes : 1);
    if (!data || ad_read(v, data)) status = out_of_memory(o);
    else p->vars[p->n] = ad_array(p->tape, type, data);
    free(data);
  }
  ad_tape_free(scratch);
  p->names[p->n] = b->name;
  p->n++;
  return status;
}

static int find_name(const problem *p, const char *name) {
  for (int i = 0; i < p->n; i++) if (!strcmp(p->names[i], name)) return i;
  return -1;
}

static int choose_wrt(problem *p, const options *o) {
  p->n_wrt = o->wrt ? o->n_wrt : p->n;
  p->wrt = calloc((size_t)p->n_wrt + 1, sizeof *p->wrt);
  if (!p->wrt) return out_of_memory(o);
  for (int i = 0; i < p->n_wrt; i++) {
    p->wrt[i] = o->wrt ? find_name(p, o->wrt[i]) : i;
    if (p->wrt[i] < 0)
      return complain(o, NULL, 0, "--wrt %s: %s has no value; give one: %s=...", o->wrt[i], o->wrt[i],
                      o->wrt[i]);
  }
  return DONE;
}

static int record(problem *p, const options *o) {
  ad_formula_report report;
  int capacity = 1;
  for (const char *s = o->expression; *s; s++) capacity += *s == ';';
  p->out = calloc((size_t)capacity, sizeof *p->out);
  if (!p->out) return out_of_memory(o);
  if (!ad_formula_all(p->tape, o->expression, p->n, p->names, p->vars, capacity, p->out, &p->outputs,
                      &report)) return DONE;
  const bool unbound = strstr(report.message, "has no value") != NULL;
  return complain(o, o->expression, report.position, "%s%s", report.message,
                  unbound ? "; values follow the expression, as in x=2" : "");
}

int problem_open(problem *p, const options *o) {
  *p = (problem){ .tape = ad_tape_new() };
  p->names = calloc((size_t)o->bindings + 1, sizeof *p->names);
  p->vars = calloc((size_t)o->bindings + 1, sizeof *p->vars);
  if (!p->tape || !p->names || !p->vars) return out_of_memory(o);
  for (int i = 0; i < o->bindings; i++) {
    int status = read_value(p, o, &o->binding[i]);
    if (status) return status;
  }
  int status = record(p, o);
  return status ? status : choose_wrt(p, o);
}

void problem_close(problem *p) {
  ad_tape_free(p->tape);
  free(p->names);
  free(p->vars);
  free(p->out);
  free(p->wrt);
}

const char *output_name(const problem *p, int j, char name[24]) {
  if (p->outputs == 1) return "f";
  snprintf(name, 24, "f%d", j + 1);
  return name;
}

bool need_scalar_outputs(const problem *p, const options *o) {
  char name[24];
  for (int j = 0; j < p->outputs; j++) {
    ad_type type = ad_type_of(p->out[j]);
    char text[192];
    if (type.rank == 0) continue;
    complain(o, NULL, 0, "%s is an array, %s; a scalar is needed (sum, mean, ... make one)",
             output_name(p, j, name),
             ad_type_print(type, text, sizeof text));
    return false;
  }
  return true;
}

bool need_scalars(const problem *p, const options *o) {
  for (int i = 0; i < p->n; i++)
    if (ad_type_of(p->vars[i]).rank) {
      complain(o, o->binding[i].argument, 0, "%s is an array; %s works on scalars", p->names[i], o->command);
      return false;
    }
  return need_scalar_outputs(p, o);
}
