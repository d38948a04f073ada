/* evaluate.c -- values on a tape, when somebody asks: what is needed and not known yet is planned, run, and
 * kept. */
#include "run/plan.h"

#include <string.h>

static void publish(ad_tape *t, const plan *p, const char *memory) {
  for (uint32_t i = 0; i < p->results; i++) {
    const plan_result *r = &p->result[i];
    scalar *value = &t->value[r->node];
    const tape_type *type = node_type(t, r->node);
    if (r->form == RESULT_NUMBER) {
      double v;
      memcpy(&v, memory + r->offset, sizeof v);
      if (type->type.dtype == AD_BOOL) value->boolean = v != 0; else value->f64 = v;
    } else if (r->form == RESULT_BYTES) memcpy(value, memory + r->offset, type->bytes);
    t->node[r->node].head |= NODE_KNOWN;
  }
}

ad_status tape_evaluate(ad_tape *t, int n, const uint32_t index[]) {
  plan p;
  char message[200] = "";
  const plan_request request = { .t = t, .n_out = n, .out = index, .keep = true, .message = message,
                                 .size = sizeof message };
  ad_status status = plan_make(&p, &request);
  if (status != AD_OK) return tape_fail(t, status, "%s", message[0] ? message : ad_status_sentence(status));
  const size_t bytes = p.workspace + 64;
  char *block = memory_get(&t->allocator, bytes);
  if (!block) status = tape_fail(t, AD_ERROR_MEMORY, "out of memory for a workspace of %zu bytes", bytes);
  else {
    char *memory = block + (64 - (uintptr_t)block%64)%64;
    status = plan_run(&p, NULL, NULL, memory, message, sizeof message);
    if (status == AD_OK) publish(t, &p, memory);
    else tape_fail(t, status, "%s", message);
    memory_release(&t->allocator, block, bytes);
  }
  plan_free(&p);
  return status;
}
