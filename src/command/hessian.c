/* hessian.c -- adit hessian: value, gradient and second derivatives; the gradient is recorded and
 * differentiated again. */
#include "command/derivatives.h"
#include "command/json.h"

#include <stdlib.h>

/* The second derivatives of one output: block[i*n + k] = d2y/dx_i dx_k. */
static int read_hessian(const options *o, const problem *p, ad_var y, numbers gradient[], numbers block[]) {
  const int n = p->n_wrt;
  ad_var *x = calloc((size_t)n + 1, sizeof *x), *dx = calloc((size_t)n + 1, sizeof *dx);
  int status = x && dx ? DONE : out_of_memory(o);
  for (int i = 0; i < n && !status; i++) x[i] = p->vars[p->wrt[i]];
  if (ad_type_of(y).dtype < AD_F32) y = ad_cast(y, AD_F64);
  if (!status && ad_grad(y, n, x, dx)) status = complain_tape(o, p->tape);
  for (int i = 0; i < n && !status; i++) status = read_numbers(o, dx[i], &gradient[i]);
  for (int i = 0; i < n && !status; i++) status = read_jacobian(o, p, dx[i], block + (size_t)i*(size_t)n);
  free(x);
  free(dx);
  return status;
}

static void write_json(const problem *p, const numbers gradient[], const numbers block[], FILE *out,
                       bool hessian) {
  if (!hessian) {
    write_blocks_json(p, gradient, out);
    return;
  }
  fputc('{', out);
  for (int i = 0; i < p->n_wrt; i++) {
    if (i) fputs(", ", out);
    json_string(out, p->names[p->wrt[i]]);
    fputs(": ", out);
    write_blocks_json(p, block + (size_t)i*(size_t)p->n_wrt, out);
  }
  fputc('}', out);
}

static int write_plain(const options *o, const problem *p, int j, const numbers gradient[],
                       const numbers block[], FILE *out) {
  char output[24], name[512];
  const int n = p->n_wrt;
  int width = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) {
      int length = snprintf(name, sizeof name, "d2%s/d%s d%s", output_name(p, j, output),
                            p->names[p->wrt[i]], p->names[p->wrt[k]]);
      if (length > width) width = length;
    }
  int status = write_value_line(o, out, output_name(p, j, output), width, p->out[j]);
  for (int i = 0; i < n; i++) {
    snprintf(name, sizeof name, "d%s/d%s", output_name(p, j, output), p->names[p->wrt[i]]);
    write_line(out, name, width, &gradient[i]);
  }
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) {
      snprintf(name, sizeof name, "d2%s/d%s d%s", output_name(p, j, output), p->names[p->wrt[i]],
               p->names[p->wrt[k]]);
      write_line(out, name, width, &block[(size_t)i*(size_t)n + (size_t)k]);
    }
  return status;
}

/* Everything about all outputs is read first: JSON lists gradients and Hessians one after the other. */
static int write_all(const options *o, const problem *p, FILE *out, numbers gradient[], numbers block[]) {
  const size_t n = (size_t)p->n_wrt;
  int status = DONE;
  for (int j = 0; j < p->outputs && !status; j++)
    status = read_hessian(o, p, p->out[j], gradient + (size_t)j*n, block + (size_t)j*n*n);
  if (status) return status;
  if (!o->json) {
    for (int j = 0; j < p->outputs && !status; j++)
      status = write_plain(o, p, j, gradient + (size_t)j*n, block + (size_t)j*n*n, out);
    return status;
  }
  fputc('{', out);
  status = write_values_json(o, p, out);
  for (int hessian = 0; hessian < 2; hessian++) {
    fputs(hessian ? ", \"hessian\": " : p->outputs > 1 ? ", \"jacobian\": " : ", \"gradient\": ", out);
    if (p->outputs > 1) fputc('[', out);
    for (int j = 0; j < p->outputs; j++) {
      if (j) fputs(", ", out);
      write_json(p, gradient + (size_t)j*n, block + (size_t)j*n*n, out, hessian);
    }
    if (p->outputs > 1) fputc(']', out);
  }
  fputs("}\n", out);
  return status;
}

int command_hessian(const options *o, FILE *out) {
  problem p;
  numbers *gradient = NULL, *block = NULL;
  int status = problem_open(&p, o);
  if (!status && !need_scalar_outputs(&p, o)) status = BAD_INPUT;
  const size_t n = status ? 0 : (size_t)p.n_wrt, m = status ? 0 : (size_t)p.outputs;
  if (!status) {
    gradient = calloc(n*m + 1, sizeof *gradient);
    block = calloc(n*n*m + 1, sizeof *block);
    status = gradient && block ? write_all(o, &p, out, gradient, block) : out_of_memory(o);
  }
  if (gradient) free_numbers(gradient, (int)(n*m));
  if (block) free_numbers(block, (int)(n*n*m));
  free(gradient);
  free(block);
  problem_close(&p);
  return status;
}
