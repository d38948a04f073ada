/* evaluate.c -- temporary: node by node. */
#include "tape/tape.h"
#include "primitives/library.h"
#include "run/region.h"
#include <stdlib.h>
#include <string.h>

static ad_status one(ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  int n;
  const uint32_t *x = node_operands(t, i, &n);
  if (node_type(t, i)->type.rank && !tape_own_value(t, i)) return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  void *z = node_type(t, i)->type.rank ? t->node[i].value.data : &t->node[i].value;
  const ad_type **types = malloc((size_t)(n + 1)*sizeof *types);
  const void **data = malloc((size_t)(n + 1)*sizeof *data);
  for (int k = 0; k < n; k++) data[k] = node_data(t, x[k]);
  ad_operation op = node_operation(t, i, types);
  ad_status s = AD_OK;
  if (p->row || !p->type) {
    region_slot slot[4] = {{0}};
    region_step step = { .z = (uint32_t)n, .x = 0, .y = n > 1 ? 1 : UINT32_MAX, .w = n > 2 ? 2 : UINT32_MAX };
    region r = { .count = ad_type_count(op.z), .rank = op.z.rank, .slot = slot, .step = &step, .slots = (uint32_t)n + 1, .steps = 1, .buffers = (uint32_t)n + 1 };
    void *memory[4];
    memcpy(r.dim, op.z.dim, sizeof r.dim);
    for (int k = 0; k < n; k++) {
      slot[k].kind = region_classify(types[k], &op.z, slot[k].stride);
      slot[k].place = slot[k].buffer = (uint32_t)k;
      slot[k].size = ad_dtype_bytes(types[k]->dtype);
      memory[k] = (void *)(uintptr_t)data[k];
    }
    slot[n] = (region_slot){ .kind = SLOT_OUTPUT, .place = (uint32_t)n, .buffer = (uint32_t)n, .size = ad_dtype_bytes(op.z.dtype) };
    memory[n] = z;
    step.attribute = node_row_attribute(t, i);
    if (p->row) step.kernel = kernels_best()->row[types[n == 3 ? 1 : 0]->dtype][node_primitive_number(&t->node[i])];
    else step.own = p->block;
    void *scratch = malloc(region_scratch(&r, 1) + 64);
    region_run(&r, r.count, memory, scratch, 1);
    free(scratch);
  } else {
    size_t bytes = p->scratch_bytes ? p->scratch_bytes(&op) : 0;
    void *scratch = aligned_alloc(64, (bytes + 127)/64*64);
    s = p->run(&op, z, data, scratch);
    free(scratch);
    if (s) tape_fail(t, s, "%s: %s", p->name, ad_status_sentence(s));
  }
  free(types); free(data);
  if (!s) t->node[i].head |= NODE_KNOWN;
  return s;
}

ad_status tape_evaluate(ad_tape *t, uint32_t index) {
  unsigned char *need = calloc(index + 1, 1);
  need[index] = 1;
  for (uint32_t i = index + 1; i-- > 0;) {
    if (!need[i] || node_known(&t->node[i])) continue;
    int n;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++) need[x[k]] = 1;
  }
  ad_status s = AD_OK;
  for (uint32_t i = 0; i <= index && !s; i++) if (need[i] && !node_known(&t->node[i])) s = one(t, i);
  free(need);
  return s;
}
