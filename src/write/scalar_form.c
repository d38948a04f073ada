/* scalar_form.c -- small arrays as scalars: the same function, element by element.
 *
 * Bodies of maps and loops over small vectors and matrices (rotations, states of a few numbers) become
 * statements on scalars so, which compilers keep in registers, and across instances of a map in vectors. Long
 * arrays are better off in loops, and so are products that have many more terms than elements: where those
 * are, there is no scalar form.
 */
#include "function/derived.h"
#include "primitives/axes.h"
#include "primitives/elements.h"
#include "primitives/library.h"
#include "tape/tuple.h"
#include "write/writer.h"

#include <stdio.h>
#include <string.h>

/* LONGEST: elements of an array; LONGEST_ROW: of the result of an elementwise operation in the body of
 * a map, where instances make the vectors; SHORT_ROW, SHORT_CALL: elsewhere, where elements do, of
 * functions like exp, too; VECTOR: elements from which on a vector is better than numbers where there is
 * much to do, so that numbers would become MANY more than rows; GROWTH: operations for each element of an
 * array; MOST: operations more than the function has. */
enum {
  SCALARS_LONGEST = 144, SCALARS_LONGEST_ROW = 36, SCALARS_SHORT_ROW = 9, SCALARS_SHORT_CALL = 3,
  SCALARS_VECTOR = 5, SCALARS_MANY = 256, SCALARS_GROWTH = 6, SCALARS_MOST = 4000
};

typedef struct scalars {
  const ad_function *f;
  const ad_allocator *allocator;
  size_t *start;                    /* of the elements of each node in element */
  ad_var *element;
  uint32_t nodes;
  size_t count;
  size_t more;                      /* operations that elementwise ones become, beside themselves */
  bool lanes;
  int room;                         /* operands of a node, at most */
  const ad_type **types;
  const ad_var **x;
  int n_in, n_out;
  ad_type *in;                      /* scalars */
  bool failed;
} scalars;

static int64_t count_of(const ad_tape *t, uint32_t i) { return node_type(t, i)->count; }

/* --- is it worth it? ------------------------------------------------------------------------------------ */

static bool is_elementwise(const ad_primitive *p) {
  return (p->traits & AD_TRAIT_ELEMENTWISE) != 0 || p == &cast_primitive;
}

static int64_t longest_row(const scalars *s, const ad_primitive *p) {
  const elementwise_row *row = p->row;
  if (s->lanes) return SCALARS_LONGEST_ROW;
  return !row || row->kind == CLASS_FLOAT ? SCALARS_SHORT_CALL : SCALARS_SHORT_ROW;
}

/* May node i be taken apart? *arrays: is there an array at all? */
static bool is_possible(const scalars *s, uint32_t i, bool *arrays) {
  const ad_tape *t = s->f->body;
  const int64_t n = count_of(t, i);
  *arrays |= node_type(t, i)->type.rank > 0;
  if (n > SCALARS_LONGEST || node_is_result(t, i) || node_tuple(t, i)) return false;
  if (node_is_leaf(t, i)) return true;
  const ad_primitive *p = node_primitive(t, i);
  if (is_elementwise(p)) return n <= longest_row(s, p);
  return p->elements || (p->traits & AD_TRAIT_ALIAS);
}

static bool measure(scalars *s) {
  const ad_tape *t = s->f->body;
  bool arrays = false, vectors = false;
  s->nodes = (uint32_t)t->count;
  for (uint32_t i = 0; i < s->nodes; i++) {
    int n = 0;
    if (!is_possible(s, i, &arrays)) return false;
    s->count += (size_t)count_of(t, i);
    if (node_is_leaf(t, i)) continue;
    if (is_elementwise(node_primitive(t, i)) && count_of(t, i) > 1) {
      s->more += (size_t)count_of(t, i) - 1;
      vectors |= !s->lanes && count_of(t, i) >= SCALARS_VECTOR;
    }
    if (s->more > (vectors ? SCALARS_MANY : SCALARS_MOST)) return false;
    node_operands(t, i, &n);
    if (n > s->room) s->room = n;
  }
  for (int k = 0; k < s->f->n_in; k++) s->n_in += (int)count_of(t, s->f->in[k]);
  for (int j = 0; j < s->f->n_out; j++) s->n_out += (int)count_of(t, s->f->out[j]);
  return arrays && s->n_out > 0;
}

/* --- memory --------------------------------------------------------------------------------------------- */

static size_t operand_bytes(const scalars *s) {
  return (size_t)s->room*(sizeof *s->types + sizeof *s->x) + 1;
}

static bool open_scalars(scalars *s) {
  const ad_allocator *m = s->allocator;
  s->start = memory_get_zeroed(m, (size_t)s->nodes + 1, sizeof *s->start);
  s->element = memory_get_zeroed(m, s->count + 1, sizeof *s->element);
  s->types = memory_get(m, operand_bytes(s));
  s->in = memory_get(m, (size_t)s->n_in*sizeof *s->in + 1);
  if (!s->start || !s->element || !s->types || !s->in) return false;
  s->x = (const ad_var **)(void *)(s->types + s->room);
  for (uint32_t i = 0; i < s->nodes; i++) s->start[i + 1] = s->start[i] + (size_t)count_of(s->f->body, i);
  for (int k = 0, e = 0; k < s->f->n_in; k++) {
    const tape_type *type = node_type(s->f->body, s->f->in[k]);
    for (int64_t left = type->count; left > 0; left--) s->in[e++] = ad_type_make(type->type.dtype, 0, NULL);
  }
  return true;
}

/* What is needed while elements are recorded, not when the function is made of them. */
static void forget_elements(scalars *s) {
  memory_release(s->allocator, s->start, ((size_t)s->nodes + 1)*sizeof *s->start);
  memory_release(s->allocator, s->element, (s->count + 1)*sizeof *s->element);
  s->start = NULL;
  s->element = NULL;
}

static void close_scalars(scalars *s) {
  forget_elements(s);
  memory_release(s->allocator, s->types, operand_bytes(s));
  memory_release(s->allocator, s->in, (size_t)s->n_in*sizeof *s->in + 1);
}

/* --- recording ------------------------------------------------------------------------------------------ */

static void record_constants(const scalars *s, ad_tape *t, uint32_t i, ad_var z[]) {
  const ad_type *type = &node_type(s->f->body, i)->type, one = ad_type_make(type->dtype, 0, NULL);
  const char *data = node_data(s->f->body, i);
  for (int64_t e = 0; e < count_of(s->f->body, i); e++)
    z[e] = ad_constant(t, one, data + (size_t)e*ad_dtype_bytes(type->dtype));
}

static void record_elementwise(const scalars *s, ad_tape *t, const ad_operation *op, ad_var z[]) {
  ad_var x[8];
  for (int64_t e = 0; e < ad_type_count(op->z); e++) {
    for (int k = 0; k < op->n && k < 8; k++) x[k] = s->x[k][axes_met_element(op->x[k], &op->z, e)];
    z[e] = ad_record(t, op->primitive, op->n, x, op->attribute, op->attribute_size);
  }
}

static bool record_node(const scalars *s, ad_tape *t, uint32_t i) {
  ad_tape *src = s->f->body;
  ad_var *z = s->element + s->start[i];
  int n;
  const uint32_t *operand = node_operands(src, i, &n);
  const ad_operation op = node_operation(src, i, s->types);
  for (int k = 0; k < n; k++) s->x[k] = s->element + s->start[operand[k]];
  const ad_primitive *p = op.primitive;
  if (is_elementwise(p)) record_elementwise(s, t, &op, z);
  else if (p->elements) return p->elements(&op, t, s->x, z);
  else memcpy(z, s->x[0], (size_t)count_of(src, i)*sizeof *z);
  return true;
}

static void scalars_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  scalars *s = context;
  const ad_tape *src = s->f->body;
  for (int k = 0; k < s->f->n_in; k++) {
    const int64_t n = count_of(src, s->f->in[k]);
    for (int64_t e = 0; e < n; e++) s->element[s->start[s->f->in[k]] + (size_t)e] = *in++;
  }
  for (uint32_t i = 0; i < s->nodes && !s->failed; i++) {
    if (node_is_constant(src, i)) record_constants(s, t, i, s->element + s->start[i]);
    else if (!node_is_leaf(src, i)) s->failed = !record_node(s, t, i);
  }
  for (int j = 0; j < s->f->n_out; j++) {
    const int64_t n = count_of(src, s->f->out[j]);
    for (int64_t e = 0; e < n; e++)
      *out++ = s->failed ? ad_none() : s->element[s->start[s->f->out[j]] + (size_t)e];
  }
  forget_elements(s);
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static ad_function *trace(scalars *s) {
  char name[WRITE_NAME];
  ad_report report;
  snprintf(name, sizeof name, "%.60s_scalars", s->f->name);
  ad_function *f = ad_function_trace_with(s->allocator, name, scalars_body, s, s->n_in, s->in, s->n_out,
                                          &report);
  if (!f || (f->size <= SCALARS_MOST + s->f->size && f->size <= SCALARS_GROWTH*s->count)) return f;
  ad_function_free(f);
  return NULL;
}

ad_function *write_scalar_form(ad_function *f, bool lanes) {
  scalars s = { .f = f, .allocator = &f->body->allocator, .lanes = lanes };
  if (!measure(&s)) return NULL;
  const size_t bytes = (size_t)f->n_in + (size_t)f->n_out + 1;
  bool *none = memory_get_zeroed(s.allocator, bytes, 1);
  ad_function *form = none ? derived_find(f, DERIVED_SCALARS, lanes, none, none) : NULL;
  if (none && !form) {
    if (open_scalars(&s)) form = trace(&s);
    if (form) form = derived_keep(f, DERIVED_SCALARS, lanes, none, none, form);
    close_scalars(&s);
  }
  memory_release(s.allocator, none, bytes);
  return form;
}
