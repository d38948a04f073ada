/* record.c -- appending: checks, literals, and the last step that every recording call ends in. */
#include "tape/tuple.h"
#include "primitives/library.h"

#include <string.h>

const ad_primitive *node_primitive(const ad_tape *t, uint32_t i) {
  uint32_t p = node_primitive_number(&t->node[i]);
  if (p < ROW_COUNT) return &elementwise_primitives[p];
  if (p == PRIMITIVE_INPUT) return &input_primitive;
  if (p == PRIMITIVE_CONSTANT) return &constant_primitive;
  return t->primitive[p - PRIMITIVE_FIRST_OTHER];
}

ad_operation node_operation(const ad_tape *t, uint32_t i, const ad_type **x) {
  int n;
  const uint32_t *operand = node_operands(t, i, &n);
  for (int k = 0; k < n; k++) x[k] = &node_type(t, operand[k])->type;
  ad_operation op = { .primitive = node_primitive(t, i), .n = n, .x = x, .z = node_type(t, i)->type };
  op.attribute = node_attribute(t, i, &op.attribute_size);
  return op;
}

/* --- the last step -------------------------------------------------------------------------------- */

/* For how many nodes to have room next. Blocks of the standard allocator that are this big are pages which
 * cost nothing until they are touched, while the small ones before them are touched and left behind. */
static size_t next_capacity(const ad_tape *t) {
  enum { FEW = 512, MANY = 16384 };
  if (t->count < FEW/2) return FEW;
  const size_t half_more = t->count + t->count/2;
  return t->allocator.reallocate == memory_standard.reallocate && half_more < MANY ? MANY : half_more;
}

static bool make_room(ad_tape *t) {
  if (t->count < t->capacity && t->count < t->value_capacity) return true;
  if (t->count >= NONE_INDEX - 1) {
    tape_fail(t, AD_ERROR_LIMIT, "more than 2^32 - 3 operations on one tape");
    return false;
  }
  const size_t need = next_capacity(t);
  if (memory_reserve(&t->allocator, &t->node, &t->capacity, need, sizeof *t->node)
      && memory_reserve(&t->allocator, &t->value, &t->value_capacity, need, sizeof *t->value)) {
    if (!t->tracing && !t->changes) tape_open_room(t);
    return true;
  }
  tape_fail(t, AD_ERROR_MEMORY, "out of memory at %zu operations", t->count);
  return false;
}

static bool put_attribute(ad_tape *t, const void *attribute, size_t size, uint32_t *at) {
  size_t words = (size + 7)/8;
  if (!arena_reserve(t, words + 2, at)) return false;
  uint64_t *record = arena_at(&t->arena, *at);
  record[0] = size;
  record[1] = 0;
  if (words) record[words + 1] = 0;
  memcpy(record + 2, attribute, size);
  return true;
}

static bool put_list(ad_tape *t, tape_node *e, int n, const uint32_t x[], uint32_t attribute) {
  if (!arena_reserve(t, 1 + ((size_t)n + 1)/2, &e->x)) return false;
  uint64_t *list = arena_at(&t->arena, e->x);
  list[0] = attribute;
  memcpy(list + 1, x, (size_t)n*sizeof *x);
  e->y = (uint32_t)n;
  e->head |= NODE_WIDE;
  return true;
}

static bool fill_node(ad_tape *t, tape_node *e, int n, const uint32_t x[], const void *attribute,
                      size_t size) {
  uint32_t at = 0;
  if (size && !put_attribute(t, attribute, size, &at)) return false;
  if (n > 2 || (n == 2 && size)) return put_list(t, e, n, x, at);
  e->head |= (uint32_t)n << NODE_COUNT_SHIFT;
  e->x = n > 0 ? x[0] : 0;
  e->y = n > 1 ? x[1] : at;
  return true;
}

/* There is room. A function's operations never have a value: their places in the list are left untouched, as
 * the pages are that nothing else lies in. */
static void put_node(ad_tape *t, tape_node e, scalar value) {
  const uint32_t p = node_primitive_number(&e);
  const bool leaf = p == PRIMITIVE_INPUT || p == PRIMITIVE_CONSTANT;
  t->node[t->count] = e;
  if (leaf || !t->tracing) t->value[t->count] = value;
  t->count++;
}

static bool all_known_scalars(const ad_tape *t, int n, const uint32_t x[]) {
  for (int k = 0; k < n; k++)
    if (!node_known(&t->node[x[k]]) || node_type(t, x[k])->type.rank) return false;
  return true;
}

/* The value of a scalar row from its operands' nodes. */
scalar tape_compute_row(const ad_tape *t, uint32_t row, uint32_t type, int n, const uint32_t x[],
                        double attribute) {
  scalar z = { .i64 = 0 };
  const scalar *v[3] = { NULL, NULL, NULL };
  for (int k = 0; k < n; k++) v[k] = &t->value[x[k]];
  ad_dtype dtype = node_type(t, x[n == 3 ? 1 : 0])->type.dtype;
  const elementwise_row *r = &elementwise_rows[row];
  if (dtype == AD_F64 && t->type[type]->type.dtype == AD_F64 && r->kind != CLASS_CHOICE)
    z.f64 = r->evaluate(v[0]->f64, n > 1 ? v[1]->f64 : 0, n > 2 ? v[2]->f64 : 0, attribute);
  else if (dtype == AD_F32 && t->type[type]->type.dtype == AD_F32 && r->kind != CLASS_CHOICE)
    z.f32 = r->evaluate_f32(v[0]->f32, n > 1 ? v[1]->f32 : 0, n > 2 ? v[2]->f32 : 0, attribute);
  else kernels_best()->row[dtype][row](1, &z, v[0], v[1], v[2], attribute);
  return z;
}

static bool hold_objects(ad_tape *t, uint32_t i) {
  const ad_primitive *p = node_primitive(t, i);
  size_t size;
  if (!p->hold || p->hold(t, node_attribute(t, i, &size)) == AD_OK) return true;
  tape_fail(t, AD_ERROR_MEMORY, "out of memory");
  return false;
}

uint32_t tape_append(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                     const void *attribute, size_t size) {
  if (!make_room(t) || tape_settle(t) != AD_OK) return INVALID_INDEX;
  tape_node e = { .head = primitive | type << NODE_TYPE_SHIFT };
  const uint32_t words = t->arena.used;
  if (!fill_node(t, &e, n, x, attribute, size)) return INVALID_INDEX;
  scalar value = { .i64 = 0 };
  double a = 0;
  if (size == sizeof a) memcpy(&a, attribute, sizeof a);
  if (!t->tracing && primitive < ROW_COUNT && t->type[type]->type.rank == 0 && all_known_scalars(t, n, x)) {
    value = tape_compute_row(t, primitive, type, n, x, a);
    e.head |= NODE_KNOWN;
  }
  put_node(t, e, value);
  t->plain = t->plain && (e.head & NODE_FAST_MASK) == NODE_KNOWN;
  const uint32_t i = t->tracing ? tape_number_last(t) : (uint32_t)t->count - 1;
  if (i == t->count - 1 && (primitive < PRIMITIVE_FIRST_OTHER || hold_objects(t, i))) return i;
  t->count--;
  t->arena.used = words;
  return i == t->count ? INVALID_INDEX : i;
}

/* --- constants ------------------------------------------------------------------------------------ */

static scalar scalar_of(ad_dtype dtype, double value) {
  scalar v = { .i64 = 0 };
  if (dtype == AD_F64) v.f64 = value;
  else kernels_best()->cast[AD_F64][dtype](1, &v, &value, NULL, NULL, 0);
  return v;
}

uint32_t tape_constant(ad_tape *t, ad_dtype dtype, double value) {
  return tape_constant_bits(t, dtype, scalar_of(dtype, value));
}

uint32_t tape_constant_bits(ad_tape *t, ad_dtype dtype, scalar v) {
  uint64_t bits = (uint64_t)v.i64;
  uint32_t *cached = &t->constant_cache[((bits ^ (uint64_t)dtype)*0x9E3779B97F4A7C15u) >> 58];
  uint32_t head = PRIMITIVE_CONSTANT | (t->tracing ? 0 : (uint32_t)NODE_KNOWN);
  uint32_t number = 0;
  const ad_type type = { dtype, 0, { 0 } };
  if (dtype != AD_F64 && !tape_intern_type(t, &type, &number)) return INVALID_INDEX;
  t->plain = t->plain && number == 0;
  head |= number << NODE_TYPE_SHIFT;
  if (*cached < t->count && (t->node[*cached].head & ~(uint32_t)NODE_OBSERVED) == head
      && t->value[*cached].i64 == v.i64) return *cached;
  if (!make_room(t)) return INVALID_INDEX;
  put_node(t, (tape_node){ .head = head }, v);
  uint32_t i = (uint32_t)t->count - 1;
  if (t->tracing && (i = tape_number_last(t)) != t->count - 1) t->count--;
  return *cached = i;
}

uint32_t tape_placeholder(ad_tape *t, const ad_type *type) {
  uint32_t number;
  if (!make_room(t) || !tape_intern_type(t, type, &number)) return INVALID_INDEX;
  t->plain = t->plain && number == 0;
  const tape_node e = { .head = PRIMITIVE_INPUT | number << NODE_TYPE_SHIFT, .x = LEAF_WITHOUT_VALUE };
  put_node(t, e, (scalar){ .i64 = 0 });
  return (uint32_t)t->count - 1;
}

uint32_t tape_leaf(ad_tape *t, uint32_t primitive, const ad_type *type, const void *data) {
  const uint32_t i = tape_placeholder(t, type);
  if (i == INVALID_INDEX) return i;
  tape_node *e = &t->node[i];
  const size_t bytes = node_type(t, i)->bytes;
  e->head = (e->head & ~(uint32_t)NODE_PRIMITIVE) | primitive;
  e->x = 0;
  if (type->rank && !tape_own_value(t, i)) {
    t->count--;
    tape_fail(t, AD_ERROR_MEMORY, "out of memory for an array of %zu bytes", bytes);
    return INVALID_INDEX;
  }
  void *value = type->rank ? t->value[i].data : &t->value[i];
  if (bytes && data) memcpy(value, data, bytes);
  else if (bytes) memset(value, 0, bytes);
  if (!t->tracing) e->head |= NODE_KNOWN;
  const bool numbered = t->tracing && primitive == PRIMITIVE_CONSTANT && type->rank;
  const uint32_t same = numbered ? tape_number_last(t) : i;
  if (same != i) tape_drop_last(t);
  return same;
}

/* --- any primitive on any operands ---------------------------------------------------------------- */

/* A literal as a constant of that dtype; not every i64 is a double. */
static uint32_t literal_node(ad_tape *t, ad_var v, ad_dtype d) {
  if (v.tape && d == AD_I64) return tape_constant_bits(t, d, (scalar){ .i64 = v.at.integer });
  return tape_constant(t, d, literal_value(v));
}

/* Index of an operand; literals become f64 or i64 scalars. INVALID_INDEX with the error left on the tape. */
static uint32_t operand_index(ad_tape *t, ad_var v, const char *what) {
  if (is_literal(v)) return literal_node(t, v, v.tape ? AD_I64 : AD_F64);
  if (!handle_check(v, what)) return INVALID_INDEX;
  return v.tape == t ? v.at.node.index : tape_lift(t, v, what);
}

static ad_var record_indices(ad_tape *t, const ad_primitive *p, int n, const uint32_t x[],
                             const ad_type **types, const void *attribute, size_t size) {
  char message[200] = "";
  for (int k = 0; k < n; k++) types[k] = &node_type(t, x[k])->type;
  ad_operation op = { .primitive = p, .n = n, .x = types, .z = { AD_F64, -1, { 0 } }, .attribute = attribute,
                      .attribute_size = size, .message = message, .message_size = sizeof message };
  ad_status status = p->type(&op);
  if (status == AD_OK && !ad_type_valid(op.z)) status = AD_ERROR_SIZE;
  if (status != AD_OK) {
    if (message[0]) tape_fail(t, status, "%s", message);
    else tape_fail(t, status, "%s: %s", p->name, ad_status_sentence(status));
    return handle_invalid(t);
  }
  uint32_t primitive, type;
  if (!tape_number_primitive(t, p, &primitive) || !tape_intern_type(t, &op.z, &type))
    return handle_invalid(t);
  uint32_t i = tape_append_simplified(t, primitive, type, n, x, attribute, size);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

ad_var ad_record(ad_tape *t, const ad_primitive *p, int n, const ad_var x[], const void *attribute,
                 size_t size) {
  if (!t) t = ad_tape_of(n, x);
  if (!p || !t || n < 0 || n > INT32_MAX / 16)
    return ad_fail(t, AD_ERROR_ARGUMENT, "%s: no tape to record on", p ? p->name : "record");
  if (p->row) {
    double a = 0;
    if (size == sizeof a) memcpy(&a, attribute, sizeof a);
    return tape_record_row((elementwise_id)((const elementwise_row *)p->row - elementwise_rows), n, x, a);
  }
  if (!p->type) return tape_record_own(t, p, n, x, attribute, size);
  uint32_t few[8], *index = few;
  const ad_type *few_types[8], **types = few_types;
  size_t bytes = (size_t)n*(sizeof *types + sizeof *index);
  if (n > 8) {
    types = memory_get(&t->allocator, bytes);
    if (!types) return ad_fail(t, AD_ERROR_MEMORY, "out of memory");
    index = (uint32_t *)(types + n);
  }
  ad_var z = handle_invalid(t);
  int good = 0;
  while (good < n && (index[good] = operand_index(t, x[good], p->name)) != INVALID_INDEX) good++;
  if (good == n) z = record_indices(t, p, n, index, types, attribute, size);
  if (n > 8) memory_release(&t->allocator, types, bytes);
  return z;
}

/* --- rows of the table ---------------------------------------------------------------------------- */

/* The dtype that a row's operands come to (those that are converted alike). Literals are weak. */
static ad_dtype common_dtype(const elementwise_row *row, int n, const ad_var x[],
                             const ad_type *const types[]) {
  bool strong = false, real = false, integer = false, wide = false;
  ad_dtype d = AD_BOOL;
  for (int k = row->kind == CLASS_CHOICE; k < n; k++) {
    if (!is_literal(x[k])) {
      if (types[k]->dtype > d) d = types[k]->dtype;
      strong = true;
    } else if (x[k].tape == NULL) real = true;
    else integer = true, wide |= x[k].at.integer > INT32_MAX || x[k].at.integer < INT32_MIN;
  }
  if (real && d < AD_F32) d = AD_F64;
  if (integer && d == AD_BOOL) d = strong ? AD_I32 : AD_I64;
  if (wide && d == AD_I32) d = AD_I64;
  if (row->kind == CLASS_LOGICAL) return AD_BOOL;
  if ((row->kind == CLASS_NUMERIC || row->kind == CLASS_COMPARE) && d == AD_BOOL) return AD_I32;
  if ((row->kind == CLASS_FLOAT || row->kind == CLASS_PREDICATE) && d < AD_F32) return AD_F64;
  return d;
}

static ad_dtype result_dtype(const elementwise_row *row, ad_dtype common) {
  return row->kind == CLASS_COMPARE || row->kind == CLASS_PREDICATE || row->kind == CLASS_LOGICAL ? AD_BOOL
                                                                                                  : common;
}

/* Operand k as a node of dtype d. */
static uint32_t converted(ad_tape *t, ad_var v, const ad_type *type, ad_dtype d) {
  if (is_literal(v)) return literal_node(t, v, d);
  if (type->dtype == d) return v.at.node.index;
  ad_var c = ad_cast(v, d);
  return c.at.node.index;
}

/* Arithmetic of literals alone: a literal again, an integer one where all were and the row keeps integers. */
static ad_var fold_literals(const elementwise_row *row, int n, const ad_var x[], double a) {
  double v[3] = { 0, 0, 0 };
  bool integers = row->kind != CLASS_FLOAT;
  for (int k = 0; k < n; k++) {
    v[k] = literal_value(x[k]);
    if (row->kind == CLASS_NUMERIC || (row->kind == CLASS_CHOICE && k > 0)) integers &= x[k].tape != NULL;
  }
  /* not every integer is a double */
  if (row->kind == CLASS_CHOICE && integers) return v[0] != 0 ? x[1] : x[2];
  if (row->kind == CLASS_NUMERIC && integers) {
    scalar z = { .i64 = 0 };
    int64_t i[3] = { x[0].at.integer, n > 1 ? x[1].at.integer : 0, n > 2 ? x[2].at.integer : 0 };
    block_kernel *kernel = kernels_best()->row[AD_I64][row - elementwise_rows];
    if (kernel) {
      kernel(1, &z, &i[0], &i[1], &i[2], a);
      return ad_integer(z.i64);
    }
  }
  double z = row->evaluate(v[0], v[1], v[2], a);
  return integers ? ad_integer((long long)z) : ad_real(z);
}

static ad_status broadcast_all(ad_tape *t, const char *name, int n, const ad_var x[],
                               const ad_type *const types[], ad_type *z) {
  for (int k = 0; k < n; k++) {
    if (is_literal(x[k])) continue;
    ad_status status = ad_type_broadcast(*z, *types[k], z);
    if (status == AD_OK) continue;
    char a[192], b[192];
    return tape_fail(t, status, "%s: %s, %s and %s", name,
                     status == AD_ERROR_SHAPE ? "shapes do not broadcast" : "the result is too big",
                     ad_type_print(*z, a, sizeof a), ad_type_print(*types[k], b, sizeof b));
  }
  return AD_OK;
}

uint32_t tape_append_simplified(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                                const void *attribute, size_t size) {
  uint32_t i = t->tracing ? tape_rewrite(t, primitive, type, n, x, attribute, size) : INVALID_INDEX;
  return i != INVALID_INDEX ? i : tape_append(t, primitive, type, n, x, attribute, size);
}

static ad_var record_converted(ad_tape *t, uint32_t primitive, int n, const ad_var x[],
                               const ad_type *const types[], const ad_dtype want[], ad_type z,
                               const void *attribute, size_t size) {
  uint32_t index[3], type;
  for (int k = 0; k < n; k++)
    if ((index[k] = converted(t, x[k], types[k], want[k])) == INVALID_INDEX) return handle_invalid(t);
  if (!tape_intern_type(t, &z, &type)) return handle_invalid(t);
  const uint32_t i = tape_append_simplified(t, primitive, type, n, index, attribute, size);
  return i == INVALID_INDEX ? handle_invalid(t) : handle(t, i);
}

/* The operands as variables of t, with the types of those that are no literals; false, with the error on the
 * tape, if one cannot be used. */
static bool take_operands(ad_tape *t, const char *name, int n, const ad_var given[], ad_var x[],
                          const ad_type *types[]) {
  for (int k = 0; k < n; k++) {
    types[k] = NULL;
    x[k] = given[k];
    if (is_literal(x[k])) continue;
    uint32_t i = operand_index(t, x[k], name);
    if (i == INVALID_INDEX) return false;
    x[k] = handle(t, i);
    types[k] = &node_type(t, i)->type;
  }
  return true;
}

ad_var tape_record_row(elementwise_id id, int n, const ad_var given[], double attribute) {
  const elementwise_row *row = &elementwise_rows[id];
  ad_tape *t = ad_tape_of(n, given);
  const ad_type *types[3];
  ad_var x[3];
  if (n != row->arity)
    return ad_fail(t, AD_ERROR_ARGUMENT, "%s: takes %d operands, not %d", row->name, row->arity, n);
  if (!t) {
    for (int k = 0; k < n; k++)
      if (!is_literal(given[k])) return handle_invalid(NULL);
    return fold_literals(row, n, given, attribute);
  }
  if (!take_operands(t, row->name, n, given, x, types)) return handle_invalid(t);
  ad_dtype common = common_dtype(row, n, x, types);
  ad_type z = { result_dtype(row, common), 0, { 0 } };
  if (broadcast_all(t, row->name, n, x, types, &z) != AD_OK) return handle_invalid(t);
  const ad_dtype want[3] = { row->kind == CLASS_CHOICE ? AD_BOOL : common, common, common };
  return record_converted(t, id, n, x, types, want, z, row->attributed ? &attribute : NULL,
                          row->attributed ? sizeof attribute : 0);
}

/* A user's elementwise primitive: f64 operands, broadcast. */
ad_var tape_record_own(ad_tape *t, const ad_primitive *p, int n, const ad_var given[], const void *attribute,
                       size_t size) {
  const ad_type *types[3];
  ad_var x[3];
  static const ad_dtype want[3] = { AD_F64, AD_F64, AD_F64 };
  uint32_t primitive;
  if (p->arity < 1 || p->arity > 3 || n != p->arity || !p->block)
    return ad_fail(t, AD_ERROR_ARGUMENT,
                   "%s: an elementwise primitive needs a block function and 1 to 3 operands", p->name);
  if (!take_operands(t, p->name, n, given, x, types)) return handle_invalid(t);
  ad_type z = { AD_F64, 0, { 0 } };
  if (broadcast_all(t, p->name, n, x, types, &z) != AD_OK) return handle_invalid(t);
  if (!tape_number_primitive(t, p, &primitive)) return handle_invalid(t);
  return record_converted(t, primitive, n, x, types, want, z, attribute, size);
}
