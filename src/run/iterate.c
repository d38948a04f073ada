/* iterate.c -- see iterate.h. */
#include "run/iterate.h"
#include "run/carrier.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

double largest(int n, const double x[]) {
  double max = 0;
  for (int i = 0; i < n; i++) {
    if (isnan(x[i])) return x[i];
    max = fmax(max, fabs(x[i]));
  }
  return max;
}

double euclidean(int n, const double x[]) {
  const double max = largest(n, x);
  double sum = 0;
  if (!(max > 0) || isinf(max)) return max;
  for (int i = 0; i < n; i++) sum += (x[i]/max)*(x[i]/max);
  return max*sqrt(sum);
}

double product_of(int n, const double x[], const double y[]) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += x[i]*y[i];
  return sum;
}

static void widen(ad_dtype dtype, size_t n, const void *from, double to[]) {
  if (dtype == AD_F64) memcpy(to, from, n*sizeof *to);
  else for (size_t i = 0; i < n; i++) to[i] = (double)((const float *)from)[i];
}

static void narrow(ad_dtype dtype, size_t n, const double from[], void *to) {
  if (dtype == AD_F64) memcpy(to, from, n*sizeof *from);
  else for (size_t i = 0; i < n; i++) ((float *)to)[i] = (float)from[i];
}

/* --- the block ------------------------------------------------------------------------------------------ */

static ad_status make_plans(iteration *s) {
  const implicit *a = s->how;
  ad_status status = function_plan(a->residual, NULL, &s->residual);
  if (status == AD_OK) status = function_plan(a->jacobian, NULL, &s->jacobian);
  if (status == AD_OK && a->value) status = function_plan(a->value, NULL, &s->value);
  return status;
}

/* The factors of the Jacobian cost 2/3 n^3, a solution with them 2 n^2. */
ad_status newton_parts(const ad_operation *op, plan_parts *parts) {
  iteration s = { .how = op->attribute };
  const double n = (double)ad_type_count(*op->x[0]);
  const ad_status status = make_plans(&s);
  parts->open = true;
  parts->flops = 2*n*n*n/3 + 2*n*n;
  parts_add(parts, s.residual, PART_RESIDUAL, 1);
  parts_add(parts, s.jacobian, PART_JACOBIAN, 1);
  parts_add(parts, s.value, PART_VALUE, 1);
  return status;
}

ad_status fixed_point_parts(const ad_operation *op, plan_parts *parts) {
  const implicit *a = op->attribute;
  const plan *residual = NULL;
  const ad_status status = function_plan(a->residual, NULL, &residual);
  parts->open = true;
  parts_add(parts, residual, PART_RESIDUAL, 1);
  return status;
}

static size_t most_memory(const iteration *s) {
  const plan *const p[3] = { s->residual, s->jacobian, s->value };
  size_t most = 0;
  for (int i = 0; i < 3; i++)
    if (p[i] && p[i]->workspace > most) most = p[i]->workspace;
  return most;
}

/* Plans' memory first, 64-byte aligned; the answer is a Jacobian at most. */
static bool take_block(iteration *s, int operands, size_t numbers) {
  const size_t n = (size_t)s->n, memory = round_up(most_memory(s));
  const size_t lists = round_up((size_t)operands*sizeof *s->in), doubles = (numbers + n)*sizeof(double);
  const size_t native = s->how->exact == AD_F64 ? 0 : (n + n*n)*sizeof(float);
  s->bytes = memory + lists + doubles + native + 64;
  s->block = memory_get_zeroed(&s->allocator, s->bytes, 1);
  if (!s->block) return false;
  s->memory = s->block + (64 - (uintptr_t)s->block%64)%64;
  s->in = (const void **)(void *)((char *)s->memory + memory);
  s->x = (double *)(void *)((char *)s->in + lists);
  s->number = s->x + n;
  s->point = s->number + numbers;
  s->answer = (float *)s->point + n;
  return true;
}

ad_status iteration_open(iteration *s, const ad_operation *op, const void *const x[], size_t numbers,
                         char *message, size_t size) {
  const implicit *a = op->attribute;
  *s = (iteration){
    .how = a, .name = op->primitive->name, .dtype = op->x[0]->dtype, .n = (int)ad_type_count(*op->x[0]),
    .allocator = a->residual->body->allocator, .message = message, .size = message ? size : 0
  };
  ad_status status = make_plans(s);
  if (status == AD_OK && !take_block(s, op->n, numbers)) status = AD_ERROR_MEMORY;
  if (status != AD_OK) return status;
  memcpy(s->in, x, (size_t)op->n*sizeof *x);
  widen(s->dtype, (size_t)s->n, x[0], s->x);
  s->largest_met = largest(s->n, s->x);
  return AD_OK;
}

ad_status iteration_close(iteration *s, ad_status status, void *z) {
  if (status == AD_OK) narrow(s->dtype, (size_t)s->n, s->x, z);
  memory_release(&s->allocator, s->block, s->bytes);
  return status;
}

/* --- steps ---------------------------------------------------------------------------------------------- */

ad_status iteration_call(iteration *s, const plan *f, const double x[], size_t count, double y[]) {
  const ad_function *value = s->how->value;
  const ad_dtype type = f == s->value ? node_type(value->body, value->out[0])->type.dtype : s->dtype;
  void *out = type == AD_F64 ? y : s->answer;
  s->in[0] = s->dtype == AD_F64 ? (const void *)x : s->point;
  if (s->dtype != AD_F64) narrow(s->dtype, (size_t)s->n, x, s->point);
  const ad_status status = plan_run(f, s->in, &out, s->memory, s->message, s->size);
  if (status == AD_OK && type != AD_F64) widen(type, count, s->answer, y);
  return status;
}

void iteration_step(const iteration *s, double x[], const double y[], double a, const double z[]) {
  for (int i = 0; i < s->n; i++) {
    const double sum = y[i] + a*z[i];
    x[i] = s->dtype == AD_F64 ? sum : (double)(float)sum;
  }
}

void iteration_move(iteration *s, const double x[]) {
  memmove(s->x, x, (size_t)s->n*sizeof *x);
  s->largest_met = fmax(s->largest_met, largest(s->n, x));
}

bool iteration_small(const iteration *s, double length, double relative) {
  const double size = largest(s->n, s->x), zero = 1024*precision(s)*s->largest_met;
  return length <= relative*size || (size <= zero && length <= zero);
}

ad_status iteration_fail(const iteration *s, int64_t k, double residual, const char *text) {
  if (s->size)
    snprintf(s->message, s->size, "%s: %s after %lld iterations, residual %.3g", s->name, text, (long long)k,
             residual);
  return AD_ERROR_CONVERGENCE;
}
