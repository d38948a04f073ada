/* taylor.c -- adit taylor: the Taylor coefficients of every output in one variable, the others constant. */
#include "command/command.h"
#include "command/json.h"

#include <stdlib.h>

enum { USUAL_ORDER = 8 };

static int record(const options *o, const problem *p, int order, ad_var yc[]) {
  const ad_var x = p->vars[p->wrt[0]];
  ad_var *xc = calloc((size_t)order + 1, sizeof *xc);
  if (!xc) return out_of_memory(o);
  for (int k = 0; k < order; k++) xc[k] = k ? ad_none() : ad_real(1);
  ad_status status = ad_taylor(order, 1, &x, xc, p->outputs, p->out, yc);
  free(xc);
  return status ? complain_tape(o, p->tape) : DONE;
}

static void write_json(const problem *p, int order, const ad_var yc[], FILE *out) {
  fputs("{\"taylor\": ", out);
  if (p->outputs > 1) fputc('[', out);
  for (int j = 0; j < p->outputs; j++) {
    fputs(j ? ", [" : "[", out);
    for (int k = 0; k <= order; k++) {
      if (k) fputs(", ", out);
      json_number(out, ad_value(yc[(size_t)j*((size_t)order + 1) + (size_t)k]));
    }
    fputc(']', out);
  }
  fputs(p->outputs > 1 ? "]}\n" : "}\n", out);
}

static void write_plain(const problem *p, int order, const ad_var yc[], FILE *out) {
  char name[24];
  for (int j = 0; j < p->outputs; j++) {
    if (p->outputs > 1) fprintf(out, "%s\n", output_name(p, j, name));
    for (int k = 0; k <= order; k++) {
      fprintf(out, "c%-4d  ", k);
      plain_number(out, ad_value(yc[(size_t)j*((size_t)order + 1) + (size_t)k]));
      fputc('\n', out);
    }
  }
}

int command_taylor(const options *o, FILE *out) {
  problem p;
  const int order = o->order < 0 ? USUAL_ORDER : o->order;
  ad_var *yc = NULL;
  int status = problem_open(&p, o);
  if (!status && !need_scalars(&p, o)) status = BAD_INPUT;
  if (!status && p.n_wrt != 1) status = complain(o, NULL, 0, "one variable is needed: --wrt says which");
  if (!status) {
    yc = calloc((size_t)p.outputs*((size_t)order + 1), sizeof *yc);
    status = yc ? record(o, &p, order, yc) : out_of_memory(o);
  }
  if (!status && o->json) write_json(&p, order, yc, out);
  else if (!status) write_plain(&p, order, yc, out);
  if (!status && ad_tape_status(p.tape)) status = complain_tape(o, p.tape);
  free(yc);
  problem_close(&p);
  return status;
}
