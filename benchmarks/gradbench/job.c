/* job.c -- reading inputs, owning arrays, writing answers. */
#include "job.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool job_refuse(job *j, const char *format, ...) {
  va_list list;
  if (j->message[0]) return false;
  va_start(list, format);
  vsnprintf(j->message, sizeof j->message, format, list);
  va_end(list);
  return false;
}

/* --- reading -------------------------------------------------------------------------------------------- */

bool read_number(job *j, const json_t *input, const char *name, double *value) {
  const json_t *v = json_object_get(input, name);
  if (!json_is_number(v)) return job_refuse(j, "%s is not a number", name);
  *value = json_number_value(v);
  return true;
}

bool read_integer(job *j, const json_t *input, const char *name, int64_t low, int64_t high, int64_t *value) {
  double v = 0;
  if (!read_number(j, input, name, &v)) return false;
  if (!(v >= (double)low && v <= (double)high) || v != (double)(int64_t)v)
    return job_refuse(j, "%s is not an integer from %lld to %lld", name, (long long)low, (long long)high);
  *value = (int64_t)v;
  return true;
}

/* The lengths along the first elements; what does not have them is found when it is read. */
static bool measure(const json_t *value, int rank, int64_t dim[], int64_t *count) {
  *count = 1;
  for (int r = 0; r < rank; r++) {
    if (!json_is_array(value)) return false;
    dim[r] = (int64_t)json_array_size(value);
    *count *= dim[r];
    if (dim[r] == 0) {
      for (int k = r + 1; k < rank; k++) dim[k] = 0;
      return true;
    }
    value = json_array_get(value, 0);
  }
  return true;
}

/* Ranks are at most 3. */
static bool copy_numbers(const json_t *value, int rank, const int64_t dim[], double **to) {
  if (rank == 0) {
    if (!json_is_number(value)) return false;
    *(*to)++ = json_number_value(value);
    return true;
  }
  if (!json_is_array(value) || (int64_t)json_array_size(value) != dim[0]) return false;
  for (size_t i = 0; i < (size_t)dim[0]; i++)
    if (!copy_numbers(json_array_get(value, i), rank - 1, dim + 1, to)) return false;
  return true;
}

double *read_numbers(job *j, const json_t *value, const char *name, int rank, int64_t dim[]) {
  int64_t count;
  if (!measure(value, rank, dim, &count)) {
    job_refuse(j, "%s is not an array of rank %d", name, rank);
    return NULL;
  }
  double *data = malloc(((size_t)count + 1)*sizeof *data), *to = data;
  if (data && copy_numbers(value, rank, dim, &to)) return data;
  job_refuse(j, data ? "%s is not an array of numbers in rows of equal length" : "%s: out of memory", name);
  free(data);
  return NULL;
}

static bool keep(job *j, void *data, void *list[], int *count) {
  if (data && *count < JOB_ARRAYS) {
    list[(*count)++] = data;
    return true;
  }
  free(data);
  return job_refuse(j, "out of memory");
}

bool read_array(job *j, const json_t *input, const char *name, int rank, int64_t dim[]) {
  double *data = read_numbers(j, json_object_get(input, name), name, rank, dim);
  return data && keep(j, data, j->in, &j->inputs);
}

static void *add(job *j, ad_type type, void *list[], int *count) {
  void *data = ad_type_valid(type) ? calloc(ad_type_bytes(type) + 8, 1) : NULL;
  return keep(j, data, list, count) ? data : NULL;
}

void *add_input(job *j, ad_type type) { return add(j, type, j->in, &j->inputs); }

bool place_output(job *j, void *data) {
  if (j->outputs == JOB_ARRAYS) return job_refuse(j, "too many outputs");
  j->placed[j->outputs] = true;
  j->out[j->outputs++] = data;
  return true;
}

/* --- the function --------------------------------------------------------------------------------------- */

bool job_take(job *j, ad_function *f) {
  if (!f) return job_refuse(j, "the function cannot be recorded");
  ad_function_free(j->f);
  j->f = f;
  for (int k = j->outputs; k < ad_function_outputs(f); k++)
    if (!add(j, ad_function_output_type(f, k), j->out, &j->outputs)) return false;
  return true;
}

typedef struct slopes { ad_function *f; int n; const int *inputs; } slopes;

static void record_slopes(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const slopes *s = context;
  ad_var y = ad_none(), by[JOB_ARRAYS];
  (void)t;
  ad_function_apply(s->f, in, &y);
  for (int k = 0; k < s->n; k++) by[k] = in[s->inputs[k]];
  ad_grad(y, s->n, by, out);
}

bool job_take_gradient(job *j, ad_function *f, int n, const int inputs[]) {
  ad_type types[JOB_ARRAYS];
  slopes s = { f, n, inputs };
  if (!f) return job_refuse(j, "the function cannot be recorded");
  for (int i = 0; i < ad_function_inputs(f); i++) types[i] = ad_function_input_type(f, i);
  ad_function *gradient = ad_function_trace("gradient", record_slopes, &s, ad_function_inputs(f), types, n);
  ad_function_free(f);
  return gradient ? job_take(j, gradient) : job_refuse(j, "the gradient cannot be recorded");
}

/* --- answers -------------------------------------------------------------------------------------------- */

bool job_finite(const job *j) {
  for (int k = 0; k < j->outputs; k++) {
    const ad_type type = ad_function_output_type(j->f, k);
    const double *data = j->out[k];
    for (int64_t i = 0; type.dtype == AD_F64 && i < ad_type_count(type); i++)
      if (!isfinite(data[i])) return false;
  }
  return true;
}

json_t *answer_number(const job *j, int k) { return json_real(*(const double *)j->out[k]); }

static json_t *answer_part(const double **data, int rank, const int64_t dim[]) {
  if (rank == 0) return json_real(*(*data)++);
  json_t *list = json_array();
  for (int64_t i = 0; list && i < dim[0]; i++)
    if (json_array_append_new(list, answer_part(data, rank - 1, dim + 1))) {
      json_decref(list);
      return NULL;
    }
  return list;
}

json_t *answer_array(const double *data, int rank, const int64_t dim[]) {
  return answer_part(&data, rank, dim);
}

void job_close(job *j) {
  for (int k = 0; k < j->inputs; k++) free(j->in[k]);
  for (int k = 0; k < j->outputs; k++)
    if (!j->placed[k]) free(j->out[k]);
  ad_workspace_free(j->workspace);
  ad_function_free(j->f);
  free(j->more);
}
