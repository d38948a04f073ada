/* ode.c -- an integration that runs by itself: the plan of its flow. */
#include "function/ode.h"
#include "run/carrier.h"

ad_status ode_run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                  size_t size) {
  const ode_pair *p = op->attribute;
  const ad_allocator *a = &p->flow->body->allocator;
  const plan *way;
  ad_status status = z[0] ? function_plan(p->flow, NULL, &way) : AD_OK;
  if (status != AD_OK || !z[0]) return status;
  const size_t bytes = way->workspace + 64;
  char *block = memory_get(a, bytes);
  if (!block) return AD_ERROR_MEMORY;
  status = plan_run(way, x, z, block + (64 - (uintptr_t)block%64)%64, message, size);
  memory_release(a, block, bytes);
  return status;
}

ad_status ode_parts(const ad_operation *op, plan_parts *parts) {
  const ode_pair *p = op->attribute;
  const plan *way = NULL;
  const ad_status status = function_plan(p->flow, NULL, &way);
  parts_add(parts, way, PART_VALUE, 1);
  return status;
}
