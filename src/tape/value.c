/* value.c -- reading and changing values: ad_value, ad_read, ad_set, and who may have relied on what was
 * read. */
#include "tape/refresh.h"

#include <math.h>
#include <string.h>

static double as_double(ad_dtype dtype, const scalar *v) {
  switch (dtype) {
    case AD_F64: return v->f64;
    case AD_F32: return v->f32;
    case AD_I64: return (double)v->i64;
    case AD_I32: return v->i32;
    default:     return v->boolean;
  }
}

/* --- observations --------------------------------------------------------------------------------- */

static uint64_t fingerprint(const ad_tape *t, uint32_t i) {
  const unsigned char *data = node_data(t, i);
  size_t bytes = node_type(t, i)->bytes;
  uint64_t h = 0;
  for (size_t k = 0; k < bytes; k += 8) {
    uint64_t word = 0;
    memcpy(&word, data + k, bytes - k < 8 ? bytes - k : 8);
    h = (h ^ word)*0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  return h;
}

/* Remembers that the caller saw this value at this length of the tape. Inputs are the caller's own: who
 * changes one knows. */
static ad_status observe(ad_tape *t, uint32_t i) {
  if (t->node[i].head & NODE_OBSERVED || node_is_leaf(t, i)) return AD_OK;
  if (!memory_reserve(&t->allocator, &t->observed, &t->observed_capacity, t->observations + 1,
                      sizeof *t->observed))
    return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (t->rechecked == t->observations) t->rechecked++;
  t->observed[t->observations++] = (observation){ i, (uint32_t)t->count, fingerprint(t, i) };
  t->node[i].head |= NODE_OBSERVED;
  return AD_OK;
}

/* Node i may have been recorded because of values read before it. If one of them is different now, say so. */
static ad_status recheck(ad_tape *t, uint32_t i) {
  for (; t->rechecked < t->observations && t->observed[t->rechecked].size <= i; t->rechecked++) {
    const observation *o = &t->observed[t->rechecked];
    ad_status status = node_known(&t->node[o->node]) ? AD_OK : tape_evaluate(t, 1, &o->node);
    if (status != AD_OK) return status;
    if (fingerprint(t, o->node) != o->print && o->size < t->stale_from) t->stale_from = o->size;
  }
  if (i < t->stale_from) return AD_OK;
  return tape_fail(t, AD_STALE, "%s", ad_status_sentence(AD_STALE));
}

void tape_forget_readings(ad_tape *t) {
  size_t k = t->observations;
  while (k && t->observed[k - 1].size == t->count) k--;
  size_t kept = k;
  for (; k < t->observations; k++) {
    const observation o = t->observed[k];
    if (node_known(&t->node[o.node]) && fingerprint(t, o.node) == o.print) t->observed[kept++] = o;
    else t->node[o.node].head &= ~(uint32_t)NODE_OBSERVED;
  }
  t->observations = kept;
  if (t->rechecked > kept) t->rechecked = kept;
}

/* --- changing inputs ------------------------------------------------------------------------------ */

ad_status tape_settle(ad_tape *t) {
  if (t->changes == 0) return AD_OK;
  ad_status status = refresh_dependents(t);
  if (status != AD_OK) return status;
  t->changes = t->rechecked = 0;
  tape_open_room(t);
  t->stale_from = UINT32_MAX;
  tape_forget_readings(t);
  return AD_OK;
}

/* For f64 scalars sizes are known to the compiler: a program may have thousands of inputs. */
static inline ad_status change(ad_tape *t, uint32_t i, const void *data) {
  const tape_node *e = &t->node[i];
  scalar *value = &t->value[i];
  if (node_primitive_number(e) != PRIMITIVE_INPUT || t->tracing)
    return tape_fail(t, AD_ERROR_ARGUMENT, "set: only inputs can be set, this is a \"%s\"",
                     ad_operation_name(handle(t, i)));
  const bool f64 = node_type_number(e) == 0;
  const size_t bytes = f64 ? sizeof(double) : node_type(t, i)->bytes;
  void *old = f64 || !node_type(t, i)->type.rank ? value : value->data;
  if (bytes == 0 || !(f64 ? memcmp(value, data, sizeof(double)) : memcmp(old, data, bytes))) return AD_OK;
  if (t->changes == t->changed_capacity
      && !memory_reserve(&t->allocator, &t->changed, &t->changed_capacity, t->changes + 1,
                         sizeof *t->changed))
    return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (f64) memcpy(value, data, sizeof(double));
  else memcpy(old, data, bytes);
  t->changed[t->changes++] = i;
  t->room = 0;
  return AD_OK;
}

ad_status ad_set(ad_var x, const void *data) {
  ad_tape *t = handle_check(x, "set");
  if (!t) return is_literal(x) ? AD_ERROR_ARGUMENT : AD_ERROR_HANDLE;
  if (!data) return tape_fail(t, AD_ERROR_ARGUMENT, "set: no data");
  return change(t, x.at.node.index, data);
}

ad_status ad_set_value(ad_var x, double value) {
  const bool good = (uintptr_t)x.tape > (uintptr_t)NO_TAPE && handle_good(x.tape, x);
  ad_tape *t = good ? x.tape : handle_check(x, "set");
  if (!t) return is_literal(x) ? AD_ERROR_ARGUMENT : AD_ERROR_HANDLE;
  const uint32_t i = x.at.node.index;
  if (node_type_number(&t->node[i]) == 0) return change(t, i, &value);
  const ad_type *type = &node_type(t, i)->type;
  if (type->rank) return tape_fail(t, AD_ERROR_SHAPE, "set_value: the variable is an array");
  scalar v = { .i64 = 0 };
  kernels_best()->cast[AD_F64][type->dtype](1, &v, &value, NULL, NULL, 0);
  return change(t, i, &v);
}

/* --- reading -------------------------------------------------------------------------------------- */

/* Node i known and rechecked, or why not. AD_STALE comes with the value in place. */
static ad_status make_known(ad_tape *t, uint32_t i) {
  if (t->tracing)
    return tape_fail(t, AD_ERROR_NO_VALUE, "value: %s", ad_status_sentence(AD_ERROR_NO_VALUE));
  ad_status status = tape_settle(t);
  if (status == AD_OK && !node_known(&t->node[i])) status = tape_evaluate(t, 1, &i);
  if (status != AD_OK) return status;
  status = recheck(t, i);
  ad_status observed = observe(t, i);
  return status != AD_OK ? status : observed;
}

double ad_value(ad_var x) {
  if (is_literal(x)) return literal_value(x);
  ad_tape *t = handle_check(x, "value");
  if (!t) return NAN;
  uint32_t i = x.at.node.index;
  const ad_type *type = &node_type(t, i)->type;
  if (type->rank) {
    tape_fail(t, AD_ERROR_SHAPE, "value: the variable is an array; ad_read reads arrays");
    return NAN;
  }
  ad_status status = make_known(t, i);
  return status == AD_OK || status == AD_STALE ? as_double(type->dtype, &t->value[i]) : NAN;
}

ad_status ad_read(ad_var x, void *out) {
  if (!out) return AD_ERROR_ARGUMENT;
  if (is_literal(x)) {
    memcpy(out, &x.at, 8);
    return AD_OK;
  }
  ad_tape *t = handle_check(x, "read");
  if (!t) return AD_ERROR_HANDLE;
  uint32_t i = x.at.node.index;
  ad_status status = make_known(t, i);
  size_t bytes = node_type(t, i)->bytes;
  if (bytes && (status == AD_OK || status == AD_STALE)) memcpy(out, node_data(t, i), bytes);
  return status;
}
