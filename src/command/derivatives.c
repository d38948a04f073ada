/* derivatives.c -- values and Jacobian blocks by reverse mode, one sweep for each element of the output. */
#include "command/derivatives.h"
#include "command/json.h"

#include <stdlib.h>
#include <string.h>

static int allocate(const options *o, ad_type type, numbers *z) {
  int64_t count = ad_type_count(type);
  z->type = type;
  z->value = calloc(count > 0 ? (size_t)count : 1, sizeof *z->value);
  return z->value ? DONE : out_of_memory(o);
}

static ad_var as_double(ad_var x) { return ad_type_of(x).dtype == AD_F64 ? x : ad_cast(x, AD_F64); }

int read_numbers(const options *o, ad_var x, numbers *z) {
  *z = (numbers){ .value = NULL };
  if (!ad_is_valid(x)) return complain_tape(o, x.tape);
  x = as_double(x);
  int status = allocate(o, ad_type_of(x), z);
  if (!status && ad_read(x, z->value)) status = complain_tape(o, x.tape);
  return status;
}

void free_numbers(numbers z[], int n) {
  for (int i = 0; i < n; i++) free(z[i].value);
}

/* Room for the block dy/dx; its shape is that of y followed by that of x. */
static int allocate_block(const options *o, ad_type y, ad_type x, numbers *z) {
  int64_t dim[2*AD_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < y.rank; i++) dim[rank++] = y.dim[i];
  for (int i = 0; i < x.rank; i++) dim[rank++] = x.dim[i];
  ad_type type = ad_type_make(AD_F64, rank <= AD_MAX_RANK ? rank : -1, dim);
  if (type.rank < 0)
    return complain(o, NULL, 0, "a block of the derivative has more than %d axes or is too large",
                    AD_MAX_RANK);
  return allocate(o, type, z);
}

/* Row `row` of every block: the cotangent is one there and zero elsewhere. What is recorded for it is
 * forgotten again. */
static int read_row(const options *o, const problem *p, ad_var y, int64_t row, double *seed,
                    const ad_var x[], ad_var dx[],
                    numbers block[]) {
  const ad_mark mark = ad_tape_mark(p->tape);
  seed[row] = 1;
  const ad_var cotangent = ad_constant(p->tape, ad_type_of(y), seed);
  seed[row] = 0;
  int status = ad_vjp(1, &y, &cotangent, p->n_wrt, x, dx) ? complain_tape(o, p->tape) : DONE;
  for (int k = 0; k < p->n_wrt && !status; k++) {
    double *at = block[k].value + row*ad_type_count(ad_type_of(x[k]));
    if (ad_read(dx[k], at)) status = complain_tape(o, p->tape);
  }
  ad_tape_rewind(p->tape, mark);
  return status;
}

int read_jacobian(const options *o, const problem *p, ad_var y, numbers block[]) {
  y = as_double(y);
  const ad_type type = ad_type_of(y);
  const int64_t rows = ad_type_count(type);
  ad_var *x = calloc((size_t)p->n_wrt + 1, sizeof *x), *dx = calloc((size_t)p->n_wrt + 1, sizeof *dx);
  double *seed = calloc((size_t)rows + 1, sizeof *seed);
  int status = x && dx && seed ? DONE : out_of_memory(o);
  memset(block, 0, (size_t)p->n_wrt*sizeof *block);
  for (int k = 0; k < p->n_wrt && !status; k++) {
    x[k] = p->vars[p->wrt[k]];
    status = allocate_block(o, type, ad_type_of(x[k]), &block[k]);
  }
  for (int64_t row = 0; row < rows && !status; row++) status = read_row(o, p, y, row, seed, x, dx, block);
  free(x);
  free(dx);
  free(seed);
  return status;
}

/* --- printing --------------------------------------------------------------------------------- */

int write_values_json(const options *o, const problem *p, FILE *out) {
  fputs("\"value\": ", out);
  if (p->outputs > 1) fputc('[', out);
  for (int j = 0; j < p->outputs; j++) {
    numbers z;
    int status = read_numbers(o, p->out[j], &z);
    if (j) fputs(", ", out);
    if (!status) json_array(out, z.type, z.value);
    free_numbers(&z, 1);
    if (status) return status;
  }
  if (p->outputs > 1) fputc(']', out);
  return DONE;
}

void write_blocks_json(const problem *p, const numbers block[], FILE *out) {
  fputc('{', out);
  for (int k = 0; k < p->n_wrt; k++) {
    if (k) fputs(", ", out);
    json_string(out, p->names[p->wrt[k]]);
    fputs(": ", out);
    json_array(out, block[k].type, block[k].value);
  }
  fputc('}', out);
}

void write_line(FILE *out, const char *name, int width, const numbers *z) {
  fprintf(out, "%-*s  ", width, name);
  plain_array(out, z->type, z->value);
  fputc('\n', out);
}

int write_value_line(const options *o, FILE *out, const char *name, int width, ad_var y) {
  numbers z;
  int status = read_numbers(o, y, &z);
  if (!status) write_line(out, name, width, &z);
  free_numbers(&z, 1);
  return status;
}
