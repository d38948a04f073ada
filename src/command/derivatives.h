/* derivatives.h -- numbers out of a recorded problem: values, gradients, Jacobian blocks; and how the
 * commands print them. */
#ifndef ADIT_COMMAND_DERIVATIVES_H
#define ADIT_COMMAND_DERIVATIVES_H

#include "command/command.h"

/* Numbers with a shape; freed with free(value). */
typedef struct numbers {
  ad_type type;
  double *value;
} numbers;

/* The value of x as doubles. */
int read_numbers(const options *o, ad_var x, numbers *z);
/* block[k] = dy/dx for the k-th variable that derivatives are taken by: shape of y, then shape of x. */
int read_jacobian(const options *o, const problem *p, ad_var y, numbers block[]);
void free_numbers(numbers z[], int n);

/* "value": v, or the list of all outputs' values. */
int write_values_json(const options *o, const problem *p, FILE *out);
/* {"x": .., "y": ..} */
void write_blocks_json(const problem *p, const numbers block[], FILE *out);
/* One line: name, two blanks or more, the numbers. */
void write_line(FILE *out, const char *name, int width, const numbers *z);
int write_value_line(const options *o, FILE *out, const char *name, int width, ad_var y);

#endif
