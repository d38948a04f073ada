/* reference.h -- GradBench's evaluations once more, without adit: inputs drawn at random, and what they
 * should give, in long double and by other ways than the tool's (closed forms, definitions, complex steps).
 *
 * Source of the definitions: evals/<name>/README.md and the protocol of github.com/gradbench/gradbench. */
#ifndef GRADBENCH_REFERENCE_H
#define GRADBENCH_REFERENCE_H

#include <complex.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef long double complex cplx;

/* --- chance: splitmix64 (Steele, Lea, Flood 2014), the same numbers everywhere -------------------------- */

typedef struct chance { uint64_t state; } chance;

uint64_t chance_bits(chance *r);
double chance_uniform(chance *r, double low, double high);
/* From low to high, both included. */
int64_t chance_integer(chance *r, int64_t low, int64_t high);
/* Arrays of uniform numbers. */
json_t *chance_row(chance *r, int64_t n, double low, double high);
json_t *chance_rows(chance *r, int64_t rows, int64_t n, double low, double high);

/* --- an evaluation -------------------------------------------------------------------------------------- */

typedef struct reference {
  const char *module, *functions[5];                     /* functions end with NULL */
  double tolerance;                                      /* relative to 1 + |want| */
  bool slow;                                             /* seconds, whatever the scale */
  json_t *(*make)(chance *r, int scale);                 /* an input; sizes grow with scale = 1, 2, .. */
  json_t *(*answer)(const json_t *input, int function);  /* what the tool should say */
} reference;

extern const reference reference_hello, reference_llsq, reference_lse, reference_det, reference_ode,
    reference_kmeans, reference_gmm, reference_ba, reference_lstm, reference_ht, reference_particle,
    reference_saddle;

enum { REFERENCES = 12 };
extern const reference *const references[REFERENCES];

/* --- help for writing one ------------------------------------------------------------------------------- */

/* Zeroed memory; the program ends where there is none. */
void *take_memory(size_t n, size_t size);

/* All numbers below a value, in order; the caller frees them. `count` may be NULL. */
double *flat_numbers(const json_t *value, int64_t *count);
double *flat_member(const json_t *input, const char *name, int64_t *count);
int64_t member_integer(const json_t *input, const char *name);
double member_number(const json_t *input, const char *name);

json_t *number_list(const double *x, int64_t n);
json_t *number_rows(const double *x, int64_t rows, int64_t n);

/* y = f(x) for complex numbers, holomorphic near real x. */
typedef struct mapping {
  void (*run)(const void *problem, const cplx x[], cplx y[]);
  const void *problem;
  int64_t inputs, outputs;
} mapping;

void mapping_value(const mapping *f, const double x[], double y[]);
/* slopes[k*outputs + i] = dy[i]/dx[k] = Im y[i](x + i h e[k])/h, exact to rounding with a tiny h (Squire,
 * Trapp 1998). */
void mapping_slopes(const mapping *f, const double x[], double slopes[]);

#endif
