/* jacobian.c -- adit grad and adit jacobian: values and first derivatives. */
#include "command/derivatives.h"
#include "command/json.h"

#include <stdlib.h>
#include <string.h>

/* "df/dx" */
static void derivative_name(const problem *p, int j, int k, char *name, size_t size) {
  char output[24];
  snprintf(name, size, "d%s/d%s", output_name(p, j, output), p->names[p->wrt[k]]);
}

static int name_width(const problem *p) {
  int width = 1;
  for (int j = 0; j < p->outputs; j++)
    for (int k = 0; k < p->n_wrt; k++) {
      char name[256];
      derivative_name(p, j, k, name, sizeof name);
      if ((int)strlen(name) > width) width = (int)strlen(name);
    }
  return width;
}

static int write_plain(const options *o, const problem *p, FILE *out, numbers block[]) {
  const int width = name_width(p);
  char name[256];
  for (int j = 0; j < p->outputs; j++) {
    int status = write_value_line(o, out, output_name(p, j, name), width, p->out[j]);
    if (!status) status = read_jacobian(o, p, p->out[j], block);
    for (int k = 0; k < p->n_wrt && !status; k++) {
      derivative_name(p, j, k, name, sizeof name);
      write_line(out, name, width, &block[k]);
    }
    if (!status) free_numbers(block, p->n_wrt);
    if (status) return status;
  }
  return DONE;
}

/* One output of `grad`: "gradient": {..}. Otherwise "jacobian": [{..}, ..], and the values as a list. */
static int write_json(const options *o, const problem *p, FILE *out, numbers block[], bool gradient) {
  fputs(gradient || p->outputs > 1 ? "{" : "{\"value\": [", out);
  int status = DONE;
  if (gradient || p->outputs > 1) status = write_values_json(o, p, out);
  else {
    numbers z;
    status = read_numbers(o, p->out[0], &z);
    if (!status) json_array(out, z.type, z.value);
    fputc(']', out);
    free_numbers(&z, 1);
  }
  fputs(gradient ? ", \"gradient\": " : ", \"jacobian\": [", out);
  for (int j = 0; j < p->outputs && !status; j++) {
    if (j) fputs(", ", out);
    status = read_jacobian(o, p, p->out[j], block);
    if (status) break;
    write_blocks_json(p, block, out);
    free_numbers(block, p->n_wrt);
  }
  fputs(gradient ? "}\n" : "]}\n", out);
  return status;
}

static int run(const options *o, FILE *out, bool gradient) {
  problem p;
  int status = problem_open(&p, o);
  if (!status && gradient && !need_scalar_outputs(&p, o)) status = BAD_INPUT;
  numbers *block = status ? NULL : calloc((size_t)p.n_wrt + 1, sizeof *block);
  if (!status && !block) status = out_of_memory(o);
  if (!status)
    status = o->json ? write_json(o, &p, out, block, gradient && p.outputs == 1)
        : write_plain(o, &p, out, block);
  free(block);
  problem_close(&p);
  return status;
}

int command_grad(const options *o, FILE *out) { return run(o, out, true); }
int command_jacobian(const options *o, FILE *out) { return run(o, out, false); }
