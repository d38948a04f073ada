/* tape.c -- the life of a tape: made, marked, rewound, freed; its first error. */
#include "tape/tape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ad_tape *ad_tape_new(void) { return ad_tape_new_with(NULL); }

ad_tape *ad_tape_new_with(const ad_allocator *allocator) {
  static const ad_type scalar_type = { AD_F64, 0, { 0 } };
  const ad_allocator *a = allocator ? allocator : &memory_standard;
  ad_tape *t = memory_get_zeroed(a, 1, sizeof *t);
  if (!t) return NULL;
  t->allocator = *a;
  t->stale_from = t->stable = UINT32_MAX;
  t->plain = true;
  memset(t->constant_cache, 0xFF, sizeof t->constant_cache);
  uint32_t number, word;
  if (!tape_intern_type(t, &scalar_type, &number) || !arena_reserve(t, 2, &word)) {
    ad_tape_free(t);
    return NULL;
  }
  return t;
}

const ad_allocator *memory_of_tape(const ad_tape *tape) { return tape ? &tape->allocator : &memory_standard; }

/* --- memory of arrays: what a rewind frees is mostly wanted again, page by fresh page ------------- */

static void free_spare(ad_tape *t, spare_block *s) {
  memory_release(&t->allocator, s->data, s->bytes);
  t->array_bytes -= s->bytes;
  *s = (spare_block){ NULL, 0 };
}

static void keep_spare(ad_tape *t, void *data, size_t bytes) {
  spare_block *s = &t->spare[t->next_spare++%TAPE_SPARES];
  free_spare(t, s);
  *s = (spare_block){ data, bytes };
}

static void *take_block(ad_tape *t, size_t bytes) {
  for (int i = 0; i < TAPE_SPARES; i++) {
    void *data = t->spare[i].data;
    if (t->spare[i].bytes != bytes) continue;
    t->spare[i] = (spare_block){ NULL, 0 };
    return data;
  }
  void *data = memory_get(&t->allocator, bytes);
  if (data) t->array_bytes += bytes;
  return data;
}

static void free_array_values(ad_tape *t, uint32_t from) {
  size_t kept = 0;
  for (size_t i = 0; i < t->arrays; i++) {
    uint32_t n = t->array_node[i];
    if (n < from) {
      t->array_node[kept++] = n;
      continue;
    }
    size_t bytes = node_type(t, n)->bytes;
    keep_spare(t, t->value[n].data, bytes);
  }
  t->arrays = kept;
}

void ad_tape_free(ad_tape *t) {
  if (!t) return;
  const ad_allocator a = t->allocator;
  free_array_values(t, 0);
  tape_release_held(t, 0);
  for (int i = 0; i < TAPE_SPARES; i++) free_spare(t, &t->spare[i]);
  tape_drop_adjoints(t);
  tape_forget_numbers(t);
  if (t->free_rules) t->free_rules(t);
  tape_free_rewrites(t);
  tape_free_notes(t);
  arena_free(t);
  for (size_t i = 0; i < t->types; i++) memory_release(&a, t->type[i], sizeof *t->type[i]);
  memory_release(&a, t->type, t->type_capacity*sizeof *t->type);
  memory_release(&a, t->type_slot, t->type_slots*sizeof *t->type_slot);
  memory_release(&a, t->primitive, t->primitive_capacity*sizeof *t->primitive);
  memory_release(&a, t->held, t->held_capacity*sizeof *t->held);
  memory_release(&a, t->captured, t->captured_capacity*sizeof *t->captured);
  memory_release(&a, t->limit, t->limit_capacity*sizeof *t->limit);
  memory_release(&a, t->observed, t->observed_capacity*sizeof *t->observed);
  memory_release(&a, t->changed, t->changed_capacity*sizeof *t->changed);
  memory_release(&a, t->array_node, t->array_capacity*sizeof *t->array_node);
  memory_release(&a, t->adjoint, t->adjoint_capacity*sizeof *t->adjoint);
  memory_release(&a, t->node, t->capacity*sizeof *t->node);
  memory_release(&a, t->value, t->value_capacity*sizeof *t->value);
  memory_release(&a, t, sizeof *t);
}

void tape_drop_adjoints(ad_tape *t) {
  for (size_t i = 0; i < t->array_adjoints; i++)
    if (t->array_adjoint[i])
      memory_release(&t->allocator, t->array_adjoint[i], node_type(t, (uint32_t)i)->bytes);
  memory_release(&t->allocator, t->array_adjoint, t->array_adjoints*sizeof *t->array_adjoint);
  t->array_adjoint = NULL;
  t->array_adjoints = t->adjoints = 0;
  t->adjoints_on_demand = false;
}

void tape_release_held(ad_tape *t, uint32_t from) {
  while (t->helds && t->held[t->helds - 1].node >= from) {
    const held_object h = t->held[--t->helds];
    h.release(h.object);
  }
}

/* --- errors --------------------------------------------------------------------------------------- */

static void keep_first(ad_tape *t, ad_status status, const char *format, va_list list) {
  if (!t || t->status != AD_OK) return;
  t->status = status;
  vsnprintf(t->message, sizeof t->message, format, list);
}

ad_status tape_fail(ad_tape *t, ad_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  keep_first(t, status, format, list);
  va_end(list);
  return status;
}

ad_var ad_fail(ad_tape *t, ad_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  keep_first(t, status, format, list);
  va_end(list);
  return handle_invalid(t);
}

ad_status ad_refuse(ad_operation *op, ad_status status, const char *format, ...) {
  if (!op->message || op->message_size == 0) return status;
  int used = snprintf(op->message, op->message_size, "%s: ", op->primitive->name);
  if (used < 0 || (size_t)used >= op->message_size) return status;
  va_list list;
  va_start(list, format);
  vsnprintf(op->message + used, op->message_size - (size_t)used, format, list);
  va_end(list);
  return status;
}

ad_status ad_tape_status(const ad_tape *t) { return t ? t->status : AD_ERROR_ARGUMENT; }
const char *ad_tape_message(const ad_tape *t) { return t ? t->message : "no tape"; }

void ad_tape_clear(ad_tape *t) {
  if (!t) return;
  t->status = AD_OK;
  t->message[0] = 0;
}

/* --- marks and handles ---------------------------------------------------------------------------- */

ad_mark ad_tape_mark(const ad_tape *t) {
  ad_mark m = { 0, 0, 0 };
  if (t) m = (ad_mark){ (uint32_t)t->count, t->arena.used, t->epoch };
  return m;
}

/* Entries stand in order of epoch and limit. A rewind to `limit` makes all entries with higher limits
 * pointless: their epochs are covered by the new one. */
static bool note_limit(ad_tape *t, uint32_t limit) {
  while (t->limits && t->limit[t->limits - 1].limit >= limit) t->limits--;
  if (!memory_reserve(&t->allocator, &t->limit, &t->limit_capacity, t->limits + 1, sizeof *t->limit))
    return false;
  t->limit[t->limits++] = (epoch_limit){ t->epoch, limit };
  return true;
}

/* The lowest limit set since the handle's epoch is that of the first entry at or after it. */
static uint32_t limit_of_epoch(const ad_tape *t, uint32_t epoch) {
  size_t low = 0, high = t->limits;
  while (low < high) {
    size_t middle = low + (high - low)/2;
    if (t->limit[middle].epoch < epoch) low = middle + 1; else high = middle;
  }
  return low < t->limits ? t->limit[low].limit : UINT32_MAX;
}

bool handle_survived(const ad_tape *t, ad_var v) {
  return v.at.node.epoch <= t->epoch && v.at.node.index < limit_of_epoch(t, v.at.node.epoch);
}

static void forget_observations(ad_tape *t, uint32_t size) {
  while (t->observations && t->observed[t->observations - 1].size > size) {
    uint32_t i = t->observed[--t->observations].node;
    if (i < size) t->node[i].head &= ~(uint32_t)NODE_OBSERVED;
  }
  if (t->rechecked > t->observations) t->rechecked = t->observations;
}

void tape_truncate(ad_tape *t, ad_mark m) {
  size_t kept = 0;
  free_array_values(t, m.nodes);
  tape_release_held(t, m.nodes);
  tape_forget_notes(t, m.words);
  tape_forget_numbers(t);
  t->count = m.nodes;
  t->arena.used = m.words;
  if (m.nodes <= t->stale_from) t->stale_from = UINT32_MAX;
  forget_observations(t, m.nodes);
  for (size_t i = 0; i < t->changes; i++)
    if (t->changed[i] < m.nodes) t->changed[kept++] = t->changed[i];
  t->changes = kept;
  if (kept == 0 && !t->tracing) tape_open_room(t);
}

ad_status ad_tape_rewind(ad_tape *t, ad_mark m) {
  if (!t) return AD_ERROR_ARGUMENT;
  if (m.nodes > t->count || m.epoch > t->epoch || m.nodes > limit_of_epoch(t, m.epoch))
    return tape_fail(t, AD_ERROR_ARGUMENT, "rewind: the mark was forgotten by an earlier rewind");
  if (t->epoch == UINT32_MAX - 1)
    return tape_fail(t, AD_ERROR_LIMIT, "rewind: more than 2^32 rewinds of one tape");
  if (!note_limit(t, m.nodes)) return tape_fail(t, AD_ERROR_MEMORY, "rewind: out of memory");
  const bool replayed = t->rechecked < t->observations || t->stale_from != UINT32_MAX;
  tape_drop_adjoints(t);
  tape_truncate(t, m);
  if (replayed) tape_forget_readings(t);
  t->epoch++;
  if (m.nodes < t->stable) t->stable = m.nodes;
  return AD_OK;
}

ad_var handle_invalid(ad_tape *t) {
  ad_var v = { t ? t : NO_TAPE, { .node = { INVALID_INDEX, UINT32_MAX } } };
  return v;
}

ad_var ad_none(void) {
  ad_var v = { NO_TAPE, { .node = { NONE_INDEX, 0 } } };
  return v;
}

bool ad_is_none(ad_var x) { return x.tape == NO_TAPE && x.at.node.index == NONE_INDEX; }

bool ad_is_valid(ad_var v) { return is_literal(v) || (v.tape != NO_TAPE && handle_good(v.tape, v)); }

ad_tape *handle_check(ad_var v, const char *what) {
  if (is_literal(v) || v.tape == NO_TAPE) return NULL;
  if (handle_good(v.tape, v)) return v.tape;
  if (v.at.node.index == INVALID_INDEX)
    tape_fail(v.tape, AD_ERROR_HANDLE, "%s: the variable is invalid, it came from a failed call", what);
  else tape_fail(v.tape, AD_ERROR_HANDLE, "%s: the variable is from before a rewind of its tape", what);
  return NULL;
}

/* Inside a body the tape of the body, whatever outer variables are among the operands. */
ad_tape *ad_tape_of(int n, const ad_var x[]) {
  ad_tape *t = NULL;
  for (int i = 0; i < n; i++)
    if (!is_literal(x[i]) && x[i].tape != NO_TAPE && (!t || x[i].tape->level > t->level)) t = x[i].tape;
  return t;
}

size_t ad_tape_size(const ad_tape *t) { return t ? t->count : 0; }

size_t ad_tape_bytes(const ad_tape *t) {
  if (!t) return 0;
  size_t bytes = sizeof *t + t->capacity * sizeof *t->node + t->value_capacity * sizeof *t->value
                 + t->adjoint_capacity * sizeof *t->adjoint + t->array_bytes + t->types * sizeof **t->type
                 + t->numbers.capacity * sizeof *t->numbers.slot;
  for (size_t i = 0; i < t->arena.chunks; i++) bytes += t->arena.owned[i];
  return bytes;
}

/* --- values --------------------------------------------------------------------------------------- */

bool tape_own_value(ad_tape *t, uint32_t i) {
  size_t bytes = node_type(t, i)->bytes;
  if (bytes == 0 || t->value[i].data) return true;
  if (!memory_reserve(&t->allocator, &t->array_node, &t->array_capacity, t->arrays + 1,
                      sizeof *t->array_node))
    return false;
  void *data = take_block(t, bytes);
  if (!data) return false;
  t->value[i].data = data;
  t->array_node[t->arrays++] = i;
  return true;
}

void tape_drop_last(ad_tape *t) {
  const uint32_t i = (uint32_t)--t->count;
  if (!t->arrays || t->array_node[t->arrays - 1] != i) return;
  keep_spare(t, t->value[i].data, node_type(t, i)->bytes);
  t->arrays--;
}

const void *node_data(const ad_tape *t, uint32_t i) {
  return node_type(t, i)->type.rank ? t->value[i].data : &t->value[i];
}
