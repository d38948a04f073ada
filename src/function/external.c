/* external.c -- functions whose value is a C callback: one operation that calls it. */
#include "function/own_rule.h"

#include <stdio.h>
#include <string.h>

/* In one block with the types behind it. */
typedef struct external {
  own_rule rule;
  ad_external_call *call;
  void *context;
  void (*release)(void *context);
  bool partial;
  size_t bytes;
  ad_type type[];                   /* of inputs, then of outputs */
} external;

static const ad_type *output_types(const external *e) { return e->type + e->rule.n; }

static external *external_of(const void *attribute) {
  external *e;
  memcpy(&e, attribute, sizeof e);
  return e;
}

static external *external_of_node(const ad_tape *t, uint32_t i) {
  size_t size;
  return external_of(node_attribute(t, i, &size));
}

/* --- running -------------------------------------------------------------------------------------------- */

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/* Addresses for all outputs, and memory for those that nobody wants, in one block. */
static void **all_outputs(const external *e, void *const z[], size_t *bytes) {
  const int m = e->rule.m;
  const size_t list = rounded((size_t)m*sizeof(void *));
  *bytes = list;
  for (int j = 0; j < m; j++)
    if (!z[j]) *bytes += rounded(ad_type_bytes(output_types(e)[j]));
  char *block = memory_get(&e->rule.allocator, *bytes), *next = block + list;
  void **out = (void **)(void *)block;
  for (int j = 0; j < m && block; j++) {
    out[j] = z[j] ? z[j] : next;
    if (!z[j]) next += rounded(ad_type_bytes(output_types(e)[j]));
  }
  return out;
}

static ad_status call(const external *e, const void *const x[], void *const z[], char *text, size_t size) {
  bool missing = false;
  for (int j = 0; j < e->rule.m; j++) missing |= !z[j] && ad_type_bytes(output_types(e)[j]);
  if (!missing || e->partial) return e->call(e->context, x, z, text, size);
  size_t bytes;
  void **out = all_outputs(e, z, &bytes);
  if (!out) return AD_ERROR_MEMORY;
  const ad_status status = e->call(e->context, x, out, text, size);
  memory_release(&e->rule.allocator, out, bytes);
  return status;
}

static ad_status run(const ad_operation *op, const void *const x[], void *const z[], char *message,
                     size_t size) {
  const external *e = external_of(op->attribute);
  char text[160] = "";
  const ad_status status = call(e, x, z, text, sizeof text);
  if (status == AD_OK) return status;
  text[sizeof text - 1] = 0;
  if (message && size)
    snprintf(message, size, "%s: %s", e->rule.name, text[0] ? text : ad_status_sentence(status));
  return status;
}

/* --- the operation -------------------------------------------------------------------------------------- */

static int results(const ad_operation *op) { return external_of(op->attribute)->rule.m; }

static ad_type result_type(const ad_operation *op, int j) {
  return output_types(external_of(op->attribute))[j];
}

static bool forward(ad_tape *t, uint32_t i, const flow xdot[], flow zdot[]) {
  return own_rule_forward(t, &external_of_node(t, i)->rule, i, xdot, zdot);
}

static bool reverse(ad_tape *t, uint32_t i, const flow zbar[], const bool wanted[], flow xbar[]) {
  return own_rule_reverse(t, &external_of_node(t, i)->rule, i, zbar, wanted, xbar);
}

static bool taylor(ad_tape *t, uint32_t i, int order, const ad_var x[], ad_var z[]) {
  return own_rule_taylor(t, &external_of_node(t, i)->rule, i, order, x, z);
}

static const tuple_rules external_rules = { results, results, result_type, forward, reverse, taylor, run,
                                            NULL };

static ad_status hold(ad_tape *t, const void *attribute) {
  return ad_tape_hold(t, external_of(attribute), own_rule_retain, own_rule_release);
}

static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "is recorded by ad_function_external");
}

static const ad_primitive external_primitive = {
  .name = "external", .doc = "a C callback", .traits = AD_TRAIT_NO_FOLD, .type = refuse_type, .hold = hold,
  .tuple = &external_rules
};

const char *external_name(const ad_tape *t, uint32_t i) {
  return node_primitive(t, i) == &external_primitive ? external_of_node(t, i)->rule.name : NULL;
}

/* --- making one ----------------------------------------------------------------------------------------- */

static void free_external(own_rule *o) {
  external *e = (external *)o;
  const ad_allocator a = o->allocator;
  if (e->release) e->release(e->context);
  memory_release(&a, e, e->bytes);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  external *e = context;
  own_record(t, &external_primitive, &e, sizeof e, e->rule.n, in, e->rule.m, out);
}

static bool check(const ad_external *e, ad_report *report) {
  const bool counts = e && e->call && e->n_in >= 0 && e->n_out > 0 && (e->in || !e->n_in) && e->out;
  const char *name = e && e->name ? e->name : "external";
  if (!counts)
    own_report(report, AD_ERROR_ARGUMENT, "%s: needs a callback, types and at least one output", name);
  for (int i = 0; counts && i < e->n_in + e->n_out; i++) {
    if (ad_type_valid(i < e->n_in ? e->in[i] : e->out[i - e->n_in])) continue;
    own_report(report, AD_ERROR_SIZE, "%s: %s %d is no type that adit can hold", name,
               i < e->n_in ? "input" : "output", i < e->n_in ? i : i - e->n_in);
    return false;
  }
  return counts;
}

static external *allocate(const ad_allocator *a, const ad_external *given, ad_report *report) {
  const size_t types = (size_t)given->n_in + (size_t)given->n_out;
  const size_t bytes = sizeof(external) + types*sizeof(ad_type);
  external *e = memory_get_zeroed(a, bytes, 1);
  if (!e) {
    own_report(report, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  e->bytes = bytes;
  e->call = given->call;
  e->context = given->context;
  e->partial = given->partial;
  if (given->n_in) memcpy(e->type, given->in, (size_t)given->n_in*sizeof *e->type);
  memcpy(e->type + given->n_in, given->out, (size_t)given->n_out*sizeof *e->type);
  return e;
}

ad_function *ad_function_external(const ad_external *given, ad_report *report) {
  if (report) *report = (ad_report){ AD_OK, "" };
  if (!check(given, report)) return NULL;
  const ad_allocator *a = given->allocator ? given->allocator : &memory_standard;
  const char *name = given->name ? given->name : "external";
  external *e = allocate(a, given, report);
  if (!e) return NULL;
  if (!own_rule_open(&e->rule, a, name, given->n_in, e->type, given->n_out, e->type + given->n_in,
                     &given->rule, NULL, report)) {
    memory_release(a, e, e->bytes);
    return NULL;
  }
  e->rule.free = free_external;
  ad_function *f = ad_function_trace_with(a, name, body, e, given->n_in, e->type, given->n_out, report);
  if (f) e->release = given->release;           /* the caller's own until now */
  own_rule_release(e);
  return f;
}
