/* custom.c -- a recorded function with another derivative than its own: one operation that runs as a call. */
#include "function/carrier.h"
#include "function/own_rule.h"
#include "function/wrt.h"

#include <string.h>

/* The attribute: a carrier of a call, by which it runs and is batched, and behind it the rule. */
static size_t rule_at(const carrier *c) { return (carrier_bytes(c->n_in, c->n_out) + 7) & ~(size_t)7; }

static own_rule *rule_of(const void *attribute) {
  own_rule *o;
  memcpy(&o, (const char *)attribute + rule_at(attribute), sizeof o);
  return o;
}

static own_rule *rule_of_node(const ad_tape *t, uint32_t i) {
  size_t size;
  return rule_of(node_attribute(t, i, &size));
}

static int results(const ad_operation *op) { return ((const carrier *)op->attribute)->n_out; }

static ad_type result_type(const ad_operation *op, int j) {
  const ad_function *f = ((const carrier *)op->attribute)->f;
  return node_type(f->body, f->out[j])->type;
}

static bool forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]) {
  return own_rule_forward(t, rule_of_node(t, i), i, xdot, zdot);
}

static bool reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  return own_rule_reverse(t, rule_of_node(t, i), i, zbar, wanted, xbar);
}

static bool taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  return own_rule_taylor(t, rule_of_node(t, i), i, order, x, z);
}

static const tuple_rules custom_rules = { results, results, result_type, forward, reverse, taylor, NULL,
                                          NULL };

static ad_status hold(ad_tape *t, const void *attribute) {
  const carrier *c = attribute;
  if (c->f->depth > t->depth) t->depth = c->f->depth;
  return ad_tape_hold(t, rule_of(attribute), own_rule_retain, own_rule_release);
}

static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "is recorded by ad_custom");
}

static const ad_primitive custom_primitive = {
  .name = "custom", .doc = "a function with a derivative of its own", .traits = AD_TRAIT_NO_FOLD,
  .type = refuse_type, .hold = hold, .tuple = &custom_rules
};

/* --- making one ----------------------------------------------------------------------------------------- */

typedef struct custom {
  own_rule rule;
  ad_function *f;
} custom;

static void free_custom(own_rule *o) {
  custom *c = (custom *)o;
  const ad_allocator a = o->allocator;
  ad_function_free(c->f);
  memory_release(&a, c, sizeof *c);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  custom *c = context;
  ad_function *f = c->f;
  own_rule *o = &c->rule;
  const carrier head = { .f = f, .n = -1, .n_in = f->n_in, .n_out = f->n_out, .kind = CARRIER_CALL };
  const size_t at = rule_at(&head), size = at + sizeof o;
  char *attribute = memory_get_zeroed(&t->allocator, size, 1);
  if (!attribute) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  memcpy(attribute, &head, sizeof head);
  memcpy(attribute + at, &o, sizeof o);
  own_record(t, &custom_primitive, attribute, size, f->n_in, in, f->n_out, out);
  memory_release(&t->allocator, attribute, size);
}

static void take_types(const ad_function *f, ad_type in[], ad_type out[]) {
  for (int i = 0; i < f->n_in; i++) in[i] = ad_function_input_type(f, i);
  for (int j = 0; j < f->n_out; j++) out[j] = ad_function_output_type(f, j);
}

static ad_function *trace_custom(const ad_allocator *a, ad_function *f, const ad_type in[],
                                 const ad_type out[], const ad_custom_rule *given, ad_report *report) {
  custom *c = memory_get_zeroed(a, 1, sizeof *c);
  if (!c) {
    own_report(report, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  if (!own_rule_open(&c->rule, a, f->name, f->n_in, in, f->n_out, out, given, f, report)) {
    memory_release(a, c, sizeof *c);
    return NULL;
  }
  c->rule.free = free_custom;
  c->f = ad_function_retain(f);
  ad_function *g = ad_function_trace_with(a, f->name, body, c, f->n_in, in, f->n_out, report);
  own_rule_release(c);
  return g;
}

ad_function *ad_custom(ad_function *f, const ad_custom_rule *given, ad_report *report) {
  if (report) *report = (ad_report){ AD_OK, "" };
  if (!f || f->captures) {
    own_report(report, AD_ERROR_ARGUMENT, "custom: %s", !f ? "no function"
               : "the function has captured variables, which its rule cannot see");
    return NULL;
  }
  const ad_allocator a = f->body->allocator;
  const size_t bytes = ((size_t)f->n_in + (size_t)f->n_out)*sizeof(ad_type) + 1;
  ad_type *in = memory_get(&a, bytes);
  if (!in) {
    own_report(report, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  take_types(f, in, in + f->n_in);
  ad_function *g = trace_custom(&a, f, in, in + f->n_in, given, report);
  memory_release(&a, in, bytes);
  return g;
}
