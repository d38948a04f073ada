/* tuple.c -- operations with several results, what nodes hold on to, and variables from further out. */
#include "tape/tuple.h"

#include <string.h>

/* --- results -------------------------------------------------------------------------------------------- */

/* Results are recorded by tuple_result alone, which knows their types. */
static ad_status refuse_type(ad_operation *op) {
  return ad_refuse(op, AD_ERROR_ARGUMENT, "results are recorded by the library");
}

const ad_primitive result_primitive = {
  .name = "result", .doc = "one result of an operation that has several", .traits = AD_TRAIT_NO_FOLD,
  .type = refuse_type
};

int result_number(const ad_tape *t, uint32_t i) {
  size_t size;
  const int64_t *j = node_attribute(t, i, &size);
  return j ? (int)*j : 0;
}

/* Calls f with node i's description; the operand types live on the heap only for long lists. */
enum { FEW = 16 };
typedef struct described { ad_operation op; const ad_type *few[FEW], **types; size_t bytes; } described;

static bool describe(ad_tape *t, uint32_t i, described *d) {
  int n;
  node_operands(t, i, &n);
  d->bytes = n > FEW ? (size_t)n*sizeof *d->types : 0;
  d->types = n > FEW ? memory_get(&t->allocator, d->bytes) : d->few;
  if (!d->types) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return false;
  }
  d->op = node_operation(t, i, d->types);
  return true;
}

static void forget(ad_tape *t, described *d) {
  if (d->bytes) memory_release(&t->allocator, d->types, d->bytes);
}

static int count(ad_tape *t, uint32_t i, int (*number)(const ad_operation *op)) {
  described d;
  if (!describe(t, i, &d)) return 0;
  const int n = number(&d.op);
  forget(t, &d);
  return n;
}

int tuple_results(ad_tape *t, uint32_t i) { return count(t, i, node_tuple(t, i)->results); }
int tuple_visible(ad_tape *t, uint32_t i) { return count(t, i, node_tuple(t, i)->visible); }

static uint32_t record_result(ad_tape *t, uint32_t i, int j) {
  const int64_t number = j;
  uint32_t primitive, type;
  described d;
  if (!describe(t, i, &d)) return INVALID_INDEX;
  const ad_type z = node_tuple(t, i)->result_type(&d.op, j);
  forget(t, &d);
  if (!ad_type_valid(z)) {
    tape_fail(t, AD_ERROR_SIZE, "%s: result %d is more than adit can hold", node_primitive(t, i)->name, j);
    return INVALID_INDEX;
  }
  if (!tape_number_primitive(t, &result_primitive, &primitive) || !tape_intern_type(t, &z, &type))
    return INVALID_INDEX;
  return tape_append(t, primitive, type, 1, &i, &number, sizeof number);
}

uint32_t tuple_record(ad_tape *t, const ad_primitive *p, int n, const uint32_t x[], const void *attribute,
                      size_t size) {
  const ad_type marker = { AD_BOOL, 1, { 0 } };
  uint32_t primitive, type;
  if (!tape_number_primitive(t, p, &primitive) || !tape_intern_type(t, &marker, &type)) return INVALID_INDEX;
  const uint32_t i = tape_append(t, primitive, type, n, x, attribute, size);
  if (i == INVALID_INDEX || t->tracing) return i;
  const int results = tuple_results(t, i);
  for (int j = 0; j < results; j++)
    if (record_result(t, i, j) == INVALID_INDEX) return INVALID_INDEX;
  return i;
}

uint32_t tuple_result(ad_tape *t, uint32_t i, int j) {
  return t->tracing ? record_result(t, i, j) : i + 1 + (uint32_t)j;
}

/* --- what nodes hold on to ------------------------------------------------------------------------------ */

ad_status ad_tape_hold(ad_tape *t, void *object, void (*retain)(void *), void (*release)(void *)) {
  if (!t || !object || !release) return AD_ERROR_ARGUMENT;
  /* Most often it is one of the last: a loop's body and its derivatives. */
  for (size_t k = t->helds; k-- > 0 && k + 8 >= t->helds;)
    if (t->held[k].object == object) return AD_OK;
  if (!memory_reserve(&t->allocator, &t->held, &t->held_capacity, t->helds + 1, sizeof *t->held))
    return tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  if (retain) retain(object);
  t->held[t->helds++] = (held_object){ object, release, (uint32_t)(t->count ? t->count - 1 : 0) };
  return AD_OK;
}

/* --- variables from further out ------------------------------------------------------------------------- */

uint32_t tape_lift(ad_tape *t, ad_var v, const char *what) {
  if (!t->outer || is_literal(v) || v.tape == NO_TAPE) {
    tape_fail(t, AD_ERROR_TAPES, "%s: operands from two tapes%s", what,
              t->tracing || (v.tape != NO_TAPE && v.tape->tracing)
                ? " (a traced body gets outer variables as inputs, or is traced inside their tape)" : "");
    return INVALID_INDEX;
  }
  if (v.tape != t->outer) {
    const uint32_t i = tape_lift(t->outer, v, what);
    if (i == INVALID_INDEX) {
      tape_fail(t, t->outer->status == AD_OK ? AD_ERROR_TAPES : t->outer->status, "%s", t->outer->message);
      return i;
    }
    v = handle(t->outer, i);
  }
  for (size_t k = 0; k < t->captures; k++)
    if (t->captured[k].outer == v.at.node.index) return t->captured[k].inner;
  if (!memory_reserve(&t->allocator, &t->captured, &t->captured_capacity, t->captures + 1,
                      sizeof *t->captured)) {
    tape_fail(t, AD_ERROR_MEMORY, "out of memory");
    return INVALID_INDEX;
  }
  const ad_type type = node_type(v.tape, v.at.node.index)->type;
  const uint32_t i = tape_placeholder(t, &type);
  if (i != INVALID_INDEX) t->captured[t->captures++] = (captured_variable){ v.at.node.index, i };
  return i;
}
