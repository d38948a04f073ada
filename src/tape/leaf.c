/* leaf.c -- inputs and constants, and what can be asked of a handle without computing. */
#include "tape/tape.h"
#include "primitives/library.h"

ad_var ad_scalar(ad_tape *t, double value) {
  if (!t) return handle_invalid(NULL);
  if (t->count < t->room) {
    uint32_t i = (uint32_t)t->count++;
    t->node[i] = (tape_node){ .head = PRIMITIVE_INPUT | NODE_KNOWN };
    t->value[i].f64 = value;
    return handle(t, i);
  }
  static const ad_type type = { AD_F64, 0, { 0 } };
  uint32_t i = tape_leaf(t, PRIMITIVE_INPUT, &type, &value);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

static ad_var leaf(ad_tape *t, uint32_t primitive, const char *what, const ad_type *type, const void *data) {
  if (!t) return handle_invalid(NULL);
  if (!ad_type_valid(*type))
    return ad_fail(t, AD_ERROR_SIZE,
                   "%s: not a type adit can hold (rank 0 to %d, no negative sizes, no overflow)", what,
                   AD_MAX_RANK);
  uint32_t i = tape_leaf(t, primitive, type, data);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

ad_var ad_array(ad_tape *t, ad_type type, const void *data) {
  return leaf(t, PRIMITIVE_INPUT, "array", &type, data);
}
ad_var ad_constant(ad_tape *t, ad_type type, const void *data) {
  return leaf(t, PRIMITIVE_CONSTANT, "constant", &type, data);
}

ad_type ad_type_of(ad_var x) {
  static const ad_type invalid = { AD_F64, -1, { 0 } };
  if (is_literal(x)) return (ad_type){ x.tape ? AD_I64 : AD_F64, 0, { 0 } };
  return ad_is_valid(x) ? node_type(x.tape, x.at.node.index)->type : invalid;
}


const char *ad_operation_name(ad_var x) {
  if (is_literal(x)) return "literal";
  return ad_is_valid(x) ? node_primitive(x.tape, x.at.node.index)->name : "";
}
