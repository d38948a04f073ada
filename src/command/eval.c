/* eval.c -- adit eval: the value of every output. */
#include "command/derivatives.h"
#include "command/json.h"

static int write_plain(const options *o, const problem *p, FILE *out) {
  char name[24];
  for (int j = 0; j < p->outputs; j++) {
    numbers z;
    int status = read_numbers(o, p->out[j], &z);
    if (!status && p->outputs > 1) fprintf(out, "%s = ", output_name(p, j, name));
    if (!status) plain_array(out, z.type, z.value);
    fputc('\n', out);
    free_numbers(&z, 1);
    if (status) return status;
  }
  return DONE;
}

int command_eval(const options *o, FILE *out) {
  problem p;
  int status = problem_open(&p, o);
  if (!status && o->json) {
    fputc('{', out);
    status = write_values_json(o, &p, out);
    fputs("}\n", out);
  } else if (!status) status = write_plain(o, &p, out);
  problem_close(&p);
  return status;
}
