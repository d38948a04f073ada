/* reference.c -- chance, numbers in and out of JSON, complex steps. */
#include "reference.h"

#include <stdio.h>
#include <stdlib.h>

const reference *const references[REFERENCES] = {
  &reference_hello, &reference_llsq, &reference_lse, &reference_det, &reference_ode, &reference_kmeans,
  &reference_gmm, &reference_ba, &reference_lstm, &reference_ht, &reference_particle, &reference_saddle
};

void *take_memory(size_t n, size_t size) {
  void *memory = calloc(n + 1, size);
  if (memory) return memory;
  fprintf(stderr, "out of memory\n");
  exit(2);
}

/* --- chance --------------------------------------------------------------------------------------------- */

uint64_t chance_bits(chance *r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30)*0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27)*0x94d049bb133111ebu;
  return z ^ z >> 31;
}

double chance_uniform(chance *r, double low, double high) {
  return low + (high - low)*((double)(chance_bits(r) >> 11)*0x1p-53);
}

int64_t chance_integer(chance *r, int64_t low, int64_t high) {
  return low + (int64_t)(chance_bits(r)%(uint64_t)(high - low + 1));
}

json_t *chance_row(chance *r, int64_t n, double low, double high) {
  json_t *list = json_array();
  for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_real(chance_uniform(r, low, high)));
  return list;
}

json_t *chance_rows(chance *r, int64_t rows, int64_t n, double low, double high) {
  json_t *list = json_array();
  for (int64_t i = 0; i < rows; i++) json_array_append_new(list, chance_row(r, n, low, high));
  return list;
}

/* --- numbers -------------------------------------------------------------------------------------------- */

static int64_t count_numbers(const json_t *value) {
  if (!json_is_array(value)) return json_is_number(value);
  int64_t count = 0;
  for (size_t i = 0; i < json_array_size(value); i++) count += count_numbers(json_array_get(value, i));
  return count;
}

static void copy_numbers(const json_t *value, double **to) {
  if (json_is_number(value)) *(*to)++ = json_number_value(value);
  for (size_t i = 0; i < json_array_size(value); i++) copy_numbers(json_array_get(value, i), to);
}

double *flat_numbers(const json_t *value, int64_t *count) {
  const int64_t n = count_numbers(value);
  double *data = take_memory((size_t)n, sizeof *data), *to = data;
  copy_numbers(value, &to);
  if (count) *count = n;
  return data;
}

double *flat_member(const json_t *input, const char *name, int64_t *count) {
  return flat_numbers(json_object_get(input, name), count);
}

double member_number(const json_t *input, const char *name) {
  return json_number_value(json_object_get(input, name));
}

int64_t member_integer(const json_t *input, const char *name) { return (int64_t)member_number(input, name); }

json_t *number_list(const double *x, int64_t n) {
  json_t *list = json_array();
  for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_real(x[i]));
  return list;
}

json_t *number_rows(const double *x, int64_t rows, int64_t n) {
  json_t *list = json_array();
  for (int64_t i = 0; i < rows; i++) json_array_append_new(list, number_list(x + i*n, n));
  return list;
}

/* --- complex steps -------------------------------------------------------------------------------------- */

/* y at x + i h e[k]; k = -1: at x. */
static void run_at(const mapping *f, const double x[], int64_t k, long double h, cplx y[]) {
  cplx *z = take_memory((size_t)f->inputs, sizeof *z);
  for (int64_t i = 0; i < f->inputs; i++) z[i] = x[i];
  if (k >= 0) z[k] += I*h;
  f->run(f->problem, z, y);
  free(z);
}

void mapping_value(const mapping *f, const double x[], double y[]) {
  cplx *z = take_memory((size_t)f->outputs, sizeof *z);
  run_at(f, x, -1, 0, z);
  for (int64_t i = 0; i < f->outputs; i++) y[i] = (double)creall(z[i]);
  free(z);
}

void mapping_slopes(const mapping *f, const double x[], double slopes[]) {
  const long double h = 0x1p-200L;
  cplx *z = take_memory((size_t)f->outputs, sizeof *z);
  for (int64_t k = 0; k < f->inputs; k++) {
    run_at(f, x, k, h, z);
    for (int64_t i = 0; i < f->outputs; i++) slopes[k*f->outputs + i] = (double)(cimagl(z[i])/h);
  }
  free(z);
}
