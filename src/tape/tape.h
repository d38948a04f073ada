/* tape.h -- the tape inside: nodes, types, the arena, and the inline steps that passes share.
 *
 * Invariants.
 *  - Operands have smaller indices than their user, so every sweep is a loop.
 *  - Nodes move when the tape grows: hold indices across a recording call, never pointers. Types, attributes
 * and operand lists do not move.
 *  - A node with NODE_KNOWN has its value in place: scalars in value[i], arrays behind value[i].data. Values
 *    lie apart from the nodes: sweeps read those of operands, which are anywhere, and eight share a line of
 *    the cache. On tapes that trace only leaves have one; value[i] of another node is not even set.
 *  - Type number 0 is the f64 scalar, so "known f64 scalar" is one mask and one comparison.
 */
#ifndef ADIT_TAPE_TAPE_H
#define ADIT_TAPE_TAPE_H

#include "adit/derive.h"
#include "adit/primitive.h"
#include "base/memory.h"
#include "primitives/elementwise.h"

typedef union scalar {
  double f64;
  float f32;
  int64_t i64;
  int32_t i32;
  uint8_t boolean;
  void *data;                       /* arrays: the elements, owned by the tape */
} scalar;

/* One operation. head: primitive (11 bits), flags and operand count (5 bits), type (16 bits). x and y are its
 * operands; without a second one, y is where the attribute is in the arena (0: none). NODE_WIDE: x is where a
 * list is in the arena, y the number of operands; the list is a word for the place of the attribute (0: none)
 * and the operands. */
typedef struct tape_node {
  uint32_t head, x, y;
} tape_node;

enum {
  NODE_PRIMITIVE = 0x7FF,
  NODE_KNOWN = 1 << 11,
  NODE_OBSERVED = 1 << 12,          /* its value was read while recording */
  NODE_WIDE = 1 << 13,              /* more than 2 operands, or 2 and an attribute */
  NODE_COUNT_SHIFT = 14,            /* operand count 0..2 of nodes that are not wide */
  NODE_TYPE_SHIFT = 16,
  MAX_PRIMITIVES = 2048, MAX_TYPES = 65536,
  /* Leaves come right after the rows of the table; other primitives are numbered as a tape meets them. */
  PRIMITIVE_INPUT = ROW_COUNT, PRIMITIVE_CONSTANT, PRIMITIVE_FIRST_OTHER
};
#define NODE_FAST_MASK (0xFFFF0000u | NODE_KNOWN)

/* A type with what is asked of it most. */
typedef struct tape_type {
  ad_type type;
  int64_t count;
  size_t bytes;
} tape_type;

/* What a placeholder has for its first operand: there is no value, not even to come. */
enum { LEAF_WITHOUT_VALUE = 1 };

enum { ARENA_CHUNK = 1024 };        /* words of 8 bytes */

typedef struct arena {
  uint64_t **chunk;                 /* chunk[i] holds words [i*ARENA_CHUNK, (i+1)*ARENA_CHUNK) */
  size_t *owned;                    /* bytes of the block that begins at chunk i, 0: part of the one before */
  size_t chunks, chunk_capacity, owned_capacity;
  uint32_t used;                    /* words */
} arena;

/* Which handles are still good: a handle of epoch <= entry.epoch is good below entry.limit. */
typedef struct epoch_limit { uint32_t epoch, limit; } epoch_limit;
/* Memory of an array that a rewind forgot, kept for the next one of that size. */
typedef struct spare_block { void *data; size_t bytes; } spare_block;
enum { TAPE_SPARES = 32 };

/* An object that nodes from `node` on refer to. */
typedef struct held_object { void *object; void (*release)(void *); uint32_t node; } held_object;
/* A variable of the tape further out, and the hidden input that stands for it here. */
typedef struct captured_variable { uint32_t outer, inner; } captured_variable;

/* A value that was read at a time when the tape had `size` nodes; print tells whether it has changed since.
 */
typedef struct observation { uint32_t node, size; uint64_t print; } observation;

typedef struct value_numbers {      /* open addressing over node indices, for tapes that trace */
  uint32_t *slot;                   /* index + 1; 0: free */
  size_t capacity, used;
} value_numbers;

struct ad_tape {
  tape_node *node;
  scalar *value;                    /* of the nodes */
  uint32_t epoch, stable;           /* below stable no handle ever went bad */
  size_t count, capacity, value_capacity;
  size_t room;                      /* the lesser capacity; 0: the short way of recording must not be taken */
  bool plain;                       /* nothing but known f64 scalars so far */
  bool tracing;                     /* recording a function: no values, equal nodes are one node */
  bool closed;                      /* the body of a function: nobody holds handles of its inner nodes */
  bool inlines;                     /* a derivative is recorded here: calls are opened when they are copied */
  ad_allocator allocator;

  tape_type **type;
  size_t types, type_capacity;
  uint16_t *type_slot;              /* hash table of type numbers + 1 */
  size_t type_slots;
  const ad_primitive **primitive;   /* of numbers PRIMITIVE_FIRST_OTHER.. */
  size_t primitives, primitive_capacity;
  arena arena;

  uint32_t constant_cache[64];      /* recent scalar constants, by a hash of their bits */
  epoch_limit *limit;
  size_t limits, limit_capacity;
  observation *observed;
  size_t observations, observed_capacity;
  size_t rechecked;                 /* observations before this were compared since the last change */
  uint32_t *changed;                /* inputs that ad_set has changed, not yet seen by their dependents */
  size_t changes, changed_capacity;
  uint32_t stale_from;              /* nodes from here on may have been recorded on a wrong branch */
  uint32_t *array_node;             /* nodes whose value.data the tape owns */
  size_t arrays, array_capacity;
  size_t array_bytes;
  spare_block spare[TAPE_SPARES];
  unsigned next_spare;              /* which to give up when all are taken */
  value_numbers numbers;
  held_object *held;                /* by node */
  size_t helds, held_capacity;
  int depth;                        /* how deep functions are nested in what is recorded here */
  ad_tape *outer;                   /* a body traced here may use variables of that tape; NULL: none */
  int level;                        /* number of tapes further out */
  captured_variable *captured;
  size_t captures, captured_capacity;
  struct tape_note *note;           /* labels, see note.h */
  size_t notes, note_capacity;
  void *rules;                      /* parsed rules, the rule reader's */
  void (*free_rules)(struct ad_tape *);
  struct rewrite_table *rewrites;   /* the rows of rewrites.def that this tape has met, see rewrite.c */

  /* of nodes [0, adjoints) from the last ad_backward; -0.0: not connected */
  double *adjoint;
  size_t adjoints, adjoint_capacity;
  /* the last ad_backward met arrays: see array_adjoint and derive/backward.c */
  bool adjoints_on_demand;
  void **array_adjoint;             /* adjoints of inputs by node, NULL: none kept */
  size_t array_adjoints;

  ad_status status;
  char message[256];
};

/* Running is a higher floor: it defines this. Makes the n nodes known, and whatever they need. */
ad_status tape_evaluate(ad_tape *t, int n, const uint32_t index[]);
/* Forgets the nodes from the mark on, for passes that put scratch nodes on the tape: handles given out before
 * stay good. */
void tape_truncate(ad_tape *t, ad_mark m);

/* --- looking at nodes ----------------------------------------------------------------------------- */

static inline uint32_t node_primitive_number(const tape_node *n) { return n->head & NODE_PRIMITIVE; }
static inline uint32_t node_type_number(const tape_node *n) { return n->head >> NODE_TYPE_SHIFT; }
static inline bool node_known(const tape_node *n) { return (n->head & NODE_KNOWN) != 0; }
static inline const tape_type *node_type(const ad_tape *t, uint32_t i) {
  return t->type[t->node[i].head >> NODE_TYPE_SHIFT];
}
static inline bool node_is_constant(const ad_tape *t, uint32_t i) {
  return node_primitive_number(&t->node[i]) == PRIMITIVE_CONSTANT;
}
static inline bool node_is_leaf(const ad_tape *t, uint32_t i) {
  uint32_t p = node_primitive_number(&t->node[i]);
  return p == PRIMITIVE_CONSTANT || p == PRIMITIVE_INPUT;
}
static inline bool node_is_float(const ad_tape *t, uint32_t i) {
  return node_type(t, i)->type.dtype >= AD_F32;
}

/* Lets the short way of recording go as far as there is memory. */
static inline void tape_open_room(ad_tape *t) {
  t->room = t->capacity < t->value_capacity ? t->capacity : t->value_capacity;
}

static inline uint64_t *arena_at(const arena *a, uint32_t word) {
  return a->chunk[word / ARENA_CHUNK] + word % ARENA_CHUNK;
}

/* Operands of node i, and how many. The pointer is good until the next recording call. */
static inline const uint32_t *node_operands(const ad_tape *t, uint32_t i, int *n) {
  const tape_node *e = &t->node[i];
  if (e->head & NODE_WIDE) {
    *n = (int)e->y;
    return (const uint32_t *)(arena_at(&t->arena, e->x) + 1);
  }
  *n = (int)(e->head >> NODE_COUNT_SHIFT & 3);
  return &e->x;
}

/* Attribute of node i: NULL and 0 if it has none. It does not move. */
static inline const void *node_attribute(const ad_tape *t, uint32_t i, size_t *size) {
  const tape_node *e = &t->node[i];
  const bool wide = e->head & NODE_WIDE, second = (e->head >> NODE_COUNT_SHIFT & 3) == 2;
  const uint32_t at = wide ? (uint32_t)*arena_at(&t->arena, e->x) : second ? 0 : e->y;
  *size = 0;
  if (at == 0) return NULL;
  const uint64_t *word = arena_at(&t->arena, at);
  *size = (size_t)word[0];
  return word + 2;
}
/* The attribute a of a table row. */
static inline double node_row_attribute(const ad_tape *t, uint32_t i) {
  size_t size;
  const double *a = node_attribute(t, i, &size);
  return a ? *a : 0;
}

const ad_primitive *node_primitive(const ad_tape *t, uint32_t i);
/* The value of a known node: the scalar inside the node, or the array. */
const void *node_data(const ad_tape *t, uint32_t i);

/* --- handles -------------------------------------------------------------------------------------- */

static inline bool is_literal(ad_var v) { return v.tape == NULL || v.tape == AD_INTEGER_LITERAL_; }
static inline double literal_value(ad_var v) { return v.tape == NULL ? v.at.real : (double)v.at.integer; }
#define INVALID_INDEX UINT32_MAX
#define NONE_INDEX (UINT32_MAX - 1)
/* A handle without a tape that is no literal either. */
#define NO_TAPE ((ad_tape *)(uintptr_t)32)

bool handle_survived(const ad_tape *t, ad_var v);
static inline bool handle_good(const ad_tape *t, ad_var v) {
  return v.at.node.index < t->count
      && (v.at.node.epoch == t->epoch || v.at.node.index < t->stable || handle_survived(t, v));
}
/* INVALID_INDEX gives an invalid handle: the epoch that no tape reaches is what the short way of recording
 * looks at. */
static inline ad_var handle(ad_tape *t, uint32_t index) {
  ad_var v = { t, { .node = { index, index == INVALID_INDEX ? UINT32_MAX : t->epoch } } };
  return v;
}
ad_var handle_invalid(ad_tape *t);
/* The tape of v if v is a good handle; otherwise leaves the error on its tape, if it has one, and returns
 * NULL. what: the calling function. */
ad_tape *handle_check(ad_var v, const char *what);

/* --- recording ------------------------------------------------------------------------------------ */

/* Leaves the first error on the tape and returns the status. t may be NULL. */
ad_status tape_fail(ad_tape *t, ad_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool tape_intern_type(ad_tape *t, const ad_type *type, uint32_t *number);
bool tape_number_primitive(ad_tape *t, const ad_primitive *p, uint32_t *number);
bool arena_reserve(ad_tape *t, size_t words, uint32_t *at);
void arena_free(ad_tape *t);

/* The description of an operation for its primitive's callbacks; x (room for n pointers) receives the operand
 * types. */
ad_operation node_operation(const ad_tape *t, uint32_t i, const ad_type **x);

/* A constant scalar node; on tapes that trace equal constants are one node. INVALID_INDEX on failure. */
uint32_t tape_constant(ad_tape *t, ad_dtype dtype, double value);
/* The same from the bits of a value of that type; unused bytes are zero. */
uint32_t tape_constant_bits(ad_tape *t, ad_dtype dtype, scalar value);
/* Appends a node (already checked): primitive number, type number, operands, attribute. Finds an equal node
 * while tracing; computes scalars whose operands are known otherwise. INVALID_INDEX on failure. */
uint32_t tape_append(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                     const void *attribute, size_t size);
/* The same for a row of the table on any operands: literals, promotion, broadcasting. */
ad_var tape_record_row(elementwise_id row, int n, const ad_var x[], double attribute);
ad_var tape_record_own(ad_tape *t, const ad_primitive *p, int n, const ad_var x[], const void *attribute,
                       size_t size);
/* tape_append after trying to simplify, where the tape is tracing. */
uint32_t tape_append_simplified(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                                const void *attribute, size_t size);
/* While tracing: the node that stands for this operation after folding constants and applying a rewrite, or
 * INVALID_INDEX when it stays as it is. */
uint32_t tape_rewrite(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                      const void *attribute, size_t size);
void tape_free_rewrites(ad_tape *t);
/* The same in the body of a function, for arrays: what depends on constants alone; an elementwise operation
 * on what its operands are broadcasts of. */
uint32_t tape_fold_array(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                         const void *attribute, size_t size);
uint32_t tape_skip_broadcasts(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                              const void *attribute, size_t size);
/* What an index chooses from arrays of one number, or adds of them; products of transposed matrices, and of
 * sparse ones with columns; slices of concatenations. */
uint32_t tape_fold_structured(ad_tape *t, uint32_t primitive, uint32_t type, int n, const uint32_t x[],
                         const void *attribute, size_t size);
/* A product of matrices that are stored transposed; op: on nodes x. */
uint32_t tape_fold_product(ad_tape *t, const ad_operation *op, const uint32_t x[]);
/* A slice of arrays put together, op: on node i; a product of a sparse matrix and columns of an array. */
uint32_t tape_fold_slice(ad_tape *t, const ad_operation *op, uint32_t i);
uint32_t tape_fold_sparse(ad_tape *t, const ad_operation *op, const uint32_t x[]);
/* Is node i its operand in another shape? What it is another shape of in the end. */
bool tape_keeps_bytes(const ad_tape *t, uint32_t i);
uint32_t tape_origin(const ad_tape *t, uint32_t i);
/* The one number that node i consists of, as bits of its dtype with unused bytes zero. In the body of a
 * function arrays may consist of one, else scalars alone. */
bool tape_is_filled(const ad_tape *t, uint32_t i, scalar *bits);
/* Those bits as a double. */
double tape_number(ad_dtype dtype, scalar v);
/* An array filled with one number; INVALID_INDEX for zeros of floats, and where a double does not hold the
 * number. */
uint32_t tape_filled(ad_tape *t, uint32_t type, scalar v);
/* The value of a row of the table on known scalars. */
scalar tape_compute_row(const ad_tape *t, uint32_t row, uint32_t type, int n, const uint32_t x[],
                        double attribute);
/* An input or a constant; data NULL means zeros. On a tape that traces, an input that the body makes keeps
 * its value: it becomes a constant of the function. A placeholder has no value at all: the function's own
 * inputs. */
uint32_t tape_placeholder(ad_tape *t, const ad_type *type);
uint32_t tape_leaf(ad_tape *t, uint32_t primitive, const ad_type *type, const void *data);
/* Value numbering. Finds the node equal to the one just appended (index count-1), or enters it. */
uint32_t tape_number_last(ad_tape *t);
void tape_forget_numbers(ad_tape *t);

/* Lets dependents of changed inputs know that their values are old. Every pass that reads values begins with
 * it. */
ad_status tape_settle(ad_tape *t);

/* Lets go of what only nodes from `from` on refer to. */
void tape_release_held(ad_tape *t, uint32_t from);

/* Lets go of labels made when the arena had that many words or more; of all of them. */
void tape_forget_notes(ad_tape *t, uint32_t words);
void tape_free_notes(ad_tape *t);

/* What was read, with nothing recorded since, has decided nothing yet: forgets readings at the end of the
 * tape whose value is another by now. */
void tape_forget_readings(ad_tape *t);

/* Memory for the value of array node i, not yet known; false when there is none. Frees it: tape_drop_value.
 */
bool tape_own_value(ad_tape *t, uint32_t i);
/* Takes back the last node, a leaf that nothing refers to. */
void tape_drop_last(ad_tape *t);
void tape_drop_adjoints(ad_tape *t);

#endif
